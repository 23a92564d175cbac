//! Text: what a socket reads, decoded.
//!
//! `set_encoding` gives a socket a decoder, in a box of its own. From then on each chunk that is
//! delivered goes to the listeners of 'data' as bytes and to those of text decoded. What a chunk
//! cuts off waits in the decoder; at the end of the stream it is delivered as it is, before 'end'.

use super::core::Core;
use super::entry::{Entry, Stream, flag};
use super::handle::{Id, Socket};
use super::socket;
use super::state::State;
use crate::ground::encoding::Encoding;
use crate::ground::listeners::Slot;
use crate::ground::string_decoder::StringDecoder;

/// A socket's decoder, and who gets what it makes.
pub(crate) struct Text {
    pub(crate) decoder: StringDecoder,
    /// The end was read before it came: what is buffered is the last chunk.
    is_late: bool,
    /// Listeners of text.
    pub(crate) listeners: Slot<dyn FnMut(Socket, &str)>,
}

impl Text {
    fn new(encoding: Encoding) -> Text {
        Text {
            decoder: StringDecoder::new(encoding),
            is_late: false,
            listeners: Slot::Empty,
        }
    }
}

impl Stream {
    /// Its decoder, if it has one.
    fn text(&mut self) -> Option<&mut Text> {
        self.extra.as_mut()?.text.as_deref_mut()
    }

    /// Whether its decoder holds something that comes out at the end of the stream.
    pub(crate) fn has_rest(&self) -> bool {
        let text = self.extra.as_ref().and_then(|extra| extra.text.as_ref());
        self.common.flags.any(flag::DECODES) && text.is_some_and(|text| text.decoder.has_rest())
    }

    /// Whether its decoder holds the beginning of a character for somebody who listens to text.
    #[cfg(unix)]
    pub(crate) fn holds_text(&self) -> bool {
        self.has_rest() && self.has_text_listeners()
    }

    /// What its decoder holds is wanted by nobody.
    pub(crate) fn drop_rest(&mut self) {
        if let Some(text) = self.text() {
            text.decoder.end();
        }
    }

    /// Whether anybody takes what it reads, as bytes or as text.
    #[inline]
    pub(crate) fn is_listened_to(&self) -> bool {
        !self.data.is_empty() || self.common.flags.any(flag::DECODES) && self.has_text_listeners()
    }

    fn has_text_listeners(&self) -> bool {
        let text = self.extra.as_ref().and_then(|extra| extra.text.as_ref());
        text.is_some_and(|text| !text.listeners.is_empty())
    }
}

impl State {
    /// `setEncoding`: a new decoder. What is buffered becomes one chunk, as in Node, where it becomes
    /// one text.
    pub(crate) fn set_encoding(&mut self, id: Id, encoding: Encoding) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        stream.common.flags.set(flag::DECODES);
        let is_late = stream.common.flags.any(flag::READ_ENDED);
        let extra = stream.extra();
        let text = extra
            .text
            .get_or_insert_with(|| Box::new(Text::new(encoding)));
        text.decoder = StringDecoder::new(encoding);
        text.is_late = is_late;
        extra.reads.join();
    }

    /// The encoding, if one is set.
    pub(crate) fn encoding(&mut self, id: Id) -> Option<Encoding> {
        Some(self.stream(id)?.text()?.decoder.encoding())
    }

    /// Decodes a chunk that is about to be delivered, into the loop's text.
    fn decode(&mut self, id: Id, bytes: &[u8]) -> String {
        let mut made = std::mem::take(&mut self.text);
        made.clear();
        if let Some(text) = self.stream(id).and_then(Stream::text) {
            text.decoder.write_into(bytes, &mut made);
            if text.is_late {
                made.push_str(&text.decoder.end());
            }
        }
        made
    }

    /// What the decoder holds once everything else was delivered, if the end was read (onEofChunk).
    pub(crate) fn take_rest(&mut self, id: Id) -> Option<String> {
        let stream = self.stream(id)?;
        let flags = stream.common.flags;
        let is_next = flags.all(flag::FLOWING | flag::READ_ENDED) && stream.read_length() == 0;
        if !is_next || !stream.has_rest() {
            return None;
        }
        Some(stream.text()?.decoder.end())
    }
}

/// The loop's text, lent to whoever listens; given back when it is dropped, also by a panic.
struct Lent<'a> {
    core: &'a Core,
    text: String,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.core.with(|state| state.text = text);
    }
}

/// Delivers a chunk of a socket that decodes: its bytes, then its text, unless that is empty.
pub(crate) fn deliver(core: &Core, id: Id, bytes: &[u8]) {
    // Decoded first: what a listener does, or if it panics, changes nothing about the text.
    let lent = Lent {
        core,
        text: core.with(|state| state.decode(id, bytes)),
    };
    let socket = Socket(core.raw(id));
    core.emit(id, socket::data_slot, |listener| listener(socket, bytes));
    if !lent.text.is_empty() {
        emit(core, id, &lent.text);
    }
}

/// Emits text.
pub(crate) fn emit(core: &Core, id: Id, text: &str) {
    let socket = Socket(core.raw(id));
    core.emit(id, text_slot, |listener| listener(socket, text));
}

/// The slot of text. The first listener sets UTF-8, unless an encoding is set.
pub(crate) fn text_slot(
    entry: &mut Entry,
    create: bool,
) -> Option<&mut Slot<dyn FnMut(Socket, &str)>> {
    let Entry::Stream(stream) = entry else {
        return None;
    };
    if create && stream.text().is_none() {
        stream.common.flags.set(flag::DECODES);
        let extra = stream.extra();
        extra.text = Some(Box::new(Text::new(Encoding::Utf8)));
        extra.reads.join();
    }
    Some(&mut stream.text()?.listeners)
}
