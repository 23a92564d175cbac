//! What telnet mixes into the text, taken out.
//!
//! The pattern: a filter in front of a decoder, with a state that outlives the read, since a
//! sequence may be split anywhere.
//!
//! The byte 255, "interpret as command" (IAC), begins a sequence (RFC 854): IAC and a command; IAC,
//! one of WILL, WON'T, DO, DON'T and an option; IAC SB … IAC SE with any bytes between. IAC twice
//! is one byte 255 of the text. In UTF-8 that byte does not occur, so nobody else is disturbed.

const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// Where in the stream it is.
#[derive(Debug, Default)]
pub enum Telnet {
    /// In the text.
    #[default]
    Text,
    /// Behind IAC.
    Command,
    /// Behind IAC and WILL, WON'T, DO or DON'T.
    Option,
    /// Between IAC SB and IAC SE.
    Sub,
    /// Behind an IAC there.
    SubCommand,
}

impl Telnet {
    /// At the beginning of the stream.
    pub fn new() -> Telnet {
        Telnet::default()
    }

    /// The text of the next bytes of the stream.
    pub fn text(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            *self = match (&self, byte) {
                (Telnet::Text, IAC) => Telnet::Command,
                (Telnet::Text, _) | (Telnet::Command, IAC) => {
                    text.push(byte);
                    Telnet::Text
                }
                (Telnet::Command, SB) => Telnet::Sub,
                (Telnet::Command, WILL..=DONT) => Telnet::Option,
                (Telnet::Command | Telnet::Option, _) => Telnet::Text,
                (Telnet::Sub, IAC) => Telnet::SubCommand,
                (Telnet::SubCommand, SE) => Telnet::Text,
                (Telnet::Sub | Telnet::SubCommand, _) => Telnet::Sub,
            };
        }
        text
    }
}
