//! Sending datagrams: a run of equal size to one peer is one system call on Linux (generic
//! segmentation offload), others go out in batches or one by one.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use socket2::{SockAddr, SockRef};

use super::is_interrupted;
use super::os::Os;
use super::udp::OsDatagram;

/// A datagram among others: how many of the gathered bytes are its, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its size in bytes.
    pub(crate) size: usize,
    /// Where it goes; none is the connected peer.
    pub(crate) to: Option<SocketAddr>,
}

/// Whether the system can cut a run into datagrams.
const CAN_RUN: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The largest datagrams that a fresh socket tries to send in a run.
pub(super) const FIRST_RUN_LIMIT: usize = if CAN_RUN { RUN_BYTES } else { 0 };

/// The same for a socket from outside. One of another protocol, as that of ICMP's echoes, would not cut a run, and
/// send it as one datagram.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn run_limit_of(socket: &std::net::UdpSocket) -> usize {
    match SockRef::from(socket).protocol() {
        Ok(Some(socket2::Protocol::UDP)) => FIRST_RUN_LIMIT,
        _ => 0,
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(super) fn run_limit_of(_: &std::net::UdpSocket) -> usize {
    FIRST_RUN_LIMIT
}

/// Datagrams in a run: the kernel's own limit (UDP_MAX_SEGMENTS).
pub(crate) const RUN_LENGTH: usize = 64;

/// Bytes of a run: the kernel checks it as if it were one datagram, with room for headers.
pub(crate) const RUN_BYTES: usize = 65_000;

impl Os {
    /// Sends one datagram, whose bytes may be in several buffers.
    pub(crate) fn send_datagram(
        &mut self,
        io: &OsDatagram,
        parts: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        if to.is_some_and(|to| to.is_ipv6() != io.is_ipv6) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.refuse()?;
        loop {
            self.counts.sends += 1;
            let result = match (parts, to) {
                ([part], Some(to)) => io.socket.send_to(part, to),
                ([part], None) => io.socket.send(part),
                (parts, to) => io.socket.try_io(|| {
                    let socket = SockRef::from(&io.socket);
                    match to {
                        Some(to) => socket.send_to_vectored(parts, &SockAddr::from(to)),
                        None => socket.send_vectored(parts),
                    }
                }),
            };
            match result {
                Err(error) if is_interrupted(&error) => {}
                Ok(size) => {
                    self.counts.datagrams_sent += 1;
                    return Ok(size);
                }
                result => return result,
            }
        }
    }

    /// Sends datagrams whose bytes lie behind each other, in order, with as few calls as possible.
    /// Returns how many went out, and the error of the one that did not.
    pub(crate) fn send_datagrams(
        &mut self,
        io: &OsDatagram,
        bytes: &[u8],
        pieces: &[Piece],
    ) -> (usize, Option<io::Error>) {
        if let [sole] = pieces {
            let sent = self.send_datagram(io, &[IoSlice::new(bytes)], sole.to);
            return match sent {
                Ok(_) => (1, None),
                Err(error) => (0, Some(error)),
            };
        }
        let mut sent = 0;
        let mut at = 0;
        // A run that was refused: where it ends, and how large its datagrams are.
        let mut refused: Option<(usize, usize)> = None;
        while let Some(first) = pieces.get(sent) {
            let run = match refused {
                Some((end, _)) if sent < end => 1,
                _ if first.to.is_some_and(|to| to.is_ipv6() != io.is_ipv6) => 1,
                _ => run_length(&pieces[sent..], io.run_limit.get()),
            };
            if run < 2 {
                let parts = [IoSlice::new(&bytes[at..at + first.size])];
                if let Err(error) = self.send_datagram(io, &parts, first.to) {
                    return (sent, Some(error));
                }
                if let Some((_, size)) = refused {
                    // So it was the run: the way out is too narrow for such datagrams, or the
                    // device can't.
                    io.run_limit.set(io.run_limit.get().min(size - 1));
                }
                sent += 1;
                at += first.size;
                continue;
            }
            let size: usize = pieces[sent..sent + run]
                .iter()
                .map(|piece| piece.size)
                .sum();
            match self.send_run(io, &bytes[at..at + size], first.size, first.to) {
                Ok(()) => {
                    self.counts.datagrams_sent += run as u64;
                    sent += run;
                    at += size;
                }
                // One by one each gets what the system says of it.
                Err(error) if is_about_the_run(&error) => refused = Some((sent + run, first.size)),
                // It was waiting to be told, and has gone to the first of them. The rest may go out.
                Err(error) => return (sent, Some(error)),
            }
        }
        (sent, None)
    }

    /// Refuses now and then, as a full kernel does, where a test wants it.
    fn refuse(&mut self) -> io::Result<()> {
        if self.forced.send_refusals > self.refused + 1 {
            self.refused += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.refused = 0;
        Ok(())
    }

    fn send_run(
        &mut self,
        io: &OsDatagram,
        bytes: &[u8],
        each: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<()> {
        self.refuse()?;
        if self.forced.refuse_runs {
            const EIO: i32 = 5;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        loop {
            self.counts.sends += 1;
            match send_segmented(io, bytes, each, to) {
                Err(error) if is_interrupted(&error) => {}
                result => return result,
            }
        }
    }
}

/// How many datagrams from the first on go out as one run: to one peer and of one size, but for the
/// last, which may be shorter.
fn run_length(pieces: &[Piece], limit: usize) -> usize {
    let Some(first) = pieces.first() else {
        return 0;
    };
    if first.size == 0 || first.size > limit || first.to.is_some_and(goes_to_many) {
        return 1;
    }
    let mut bytes = first.size;
    let mut length = 1;
    for piece in &pieces[1..] {
        let fits = length < RUN_LENGTH && bytes + piece.size <= RUN_BYTES;
        if !fits || piece.to != first.to || piece.size > first.size || piece.size == 0 {
            break;
        }
        bytes += piece.size;
        length += 1;
        if piece.size < first.size {
            break;
        }
    }
    length
}

/// A group, or everybody: such datagrams are copied on their way, so they go one by one.
fn goes_to_many(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(address) => address.ip().is_multicast() || address.ip().is_broadcast(),
        SocketAddr::V6(address) => address.ip().is_multicast(),
    }
}

/// Whether an error says something of a run that need not hold for its datagrams: EIO, EINVAL,
/// EMSGSIZE, and what a kernel without runs may say.
fn is_about_the_run(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EINVAL: i32 = 22;
    const EMSGSIZE: i32 = 90;
    const ENOPROTOOPT: i32 = 92;
    const EOPNOTSUPP: i32 = 95;
    matches!(
        error.raw_os_error(),
        Some(EIO | EINVAL | EMSGSIZE | ENOPROTOOPT | EOPNOTSUPP)
    )
}

/// One system call for a run: the control message UDP_SEGMENT says where to cut.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_segmented(
    io: &OsDatagram,
    bytes: &[u8],
    each: usize,
    to: Option<SocketAddr>,
) -> io::Result<()> {
    let control = segment_control(each as u16);
    let to = to.map(SockAddr::from);
    let parts = [IoSlice::new(bytes)];
    let mut message = socket2::MsgHdr::new()
        .with_buffers(&parts)
        .with_control(&control.0);
    if let Some(to) = &to {
        message = message.with_addr(to);
    }
    io.socket
        .try_io(|| SockRef::from(&io.socket).sendmsg(&message, 0))
        .map(drop)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_segmented(_: &OsDatagram, _: &[u8], _: usize, _: Option<SocketAddr>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Words of a control message: the length, level and type of its header, then the payload.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CONTROL: usize = size_of::<usize>() + 4 + 4 + size_of::<usize>();

/// Bytes of a control message, where the kernel may expect it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// The control message that says how large each datagram of a run is. The kernel's `cmsghdr`
/// begins with a word for the length, whatever the C library makes of it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn segment_control(each: u16) -> Control {
    const SOL_UDP: i32 = 17;
    const UDP_SEGMENT: i32 = 103;
    const WORD: usize = size_of::<usize>();
    let mut control = [0; CONTROL];
    let length = WORD + 8 + size_of::<u16>();
    control[..WORD].copy_from_slice(&length.to_ne_bytes());
    control[WORD..WORD + 4].copy_from_slice(&SOL_UDP.to_ne_bytes());
    control[WORD + 4..WORD + 8].copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
    control[WORD + 8..WORD + 10].copy_from_slice(&each.to_ne_bytes());
    Control(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(sizes: &[usize]) -> usize {
        let to = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
        let pieces: Vec<Piece> = sizes.iter().map(|&size| Piece { size, to }).collect();
        run_length(&pieces, RUN_BYTES)
    }

    #[test]
    fn a_run_is_of_one_size_and_ends_with_a_shorter_one() {
        assert_eq!(length(&[]), 0);
        assert_eq!(length(&[5]), 1);
        assert_eq!(length(&[5, 5, 5]), 3);
        assert_eq!(length(&[5, 5, 4, 5]), 3);
        assert_eq!(length(&[5, 6]), 1);
        assert_eq!(length(&[5, 0, 5]), 1);
        assert_eq!(length(&[0, 0]), 1);
    }

    #[test]
    fn a_run_keeps_to_the_kernels_limits() {
        assert_eq!(length(&[1; 100]), RUN_LENGTH);
        assert_eq!(length(&[1200; 100]), RUN_BYTES / 1200);
        assert_eq!(length(&[40_000; 3]), 1);
        let piece = Piece { size: 9, to: None };
        assert_eq!(run_length(&[piece; 3], 8), 1);
        assert_eq!(run_length(&[piece; 3], 9), 3);
        assert_eq!(run_length(&[piece; 3], 0), 1);
    }

    #[test]
    fn a_run_has_one_peer_and_no_group() {
        let to = |last, port| Some(SocketAddr::from(([127, 0, 0, last], port)));
        let piece = |to| Piece { size: 9, to };
        assert_eq!(run_length(&[piece(to(1, 1)), piece(to(1, 2))], 9), 1);
        assert_eq!(run_length(&[piece(to(1, 1)), piece(to(2, 1))], 9), 1);
        let group = piece(Some(SocketAddr::from(([224, 0, 0, 1], 1))));
        assert_eq!(run_length(&[group, group], 9), 1);
        let all = piece(Some(SocketAddr::from(([255, 255, 255, 255], 1))));
        assert_eq!(run_length(&[all, all], 9), 1);
    }
}
