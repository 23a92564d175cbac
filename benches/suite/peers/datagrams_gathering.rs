//! UDP by hand on mio with all that Linux has for it: several datagrams per call (recvmmsg, sendmmsg) for an
//! echo, trains of them to a sink (UDP_GRO), from a burst, and from an echo to one peer (UDP_SEGMENT).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, recvmsg,
    sendmmsg, sendmsg, setsockopt, sockopt,
};

use super::Mode;
use super::datagrams::{BUDGET, BURST, LARGEST, QUESTION, serve};

/// Room for a datagram of an echo: it knows how large they are.
const ROOM: usize = 2048;

/// Datagrams of a train: as many as the system cuts, and as fit into its largest piece.
pub fn train_of(size: usize) -> usize {
    (65_000 / size.max(1)).clamp(1, 64)
}

/// One system call for datagrams of `size` bytes (UDP_SEGMENT), to a peer or whom the socket is connected to.
pub fn send_train(
    socket: &impl AsRawFd,
    parts: &[IoSlice<'_>],
    size: u16,
    to: Option<&SockaddrIn>,
) -> io::Result<()> {
    let cut = [ControlMessage::UdpGsoSegments(&size)];
    sendmsg(socket.as_raw_fd(), parts, &cut, MsgFlags::empty(), to)?;
    Ok(())
}

/// Serves at an IPv4 address.
pub fn by_hand(mode: Mode, address: SocketAddrV4) -> io::Result<()> {
    let socket = UdpSocket::bind(address.into())?;
    match mode {
        Mode::UdpEcho => {
            let mut echo = Echo::new();
            serve(socket, |socket| echo.some(socket))
        }
        Mode::UdpSink => {
            setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
            let mut sink = Sink::new();
            serve(socket, |socket| sink.some(socket))
        }
        _ => serve(socket, burst),
    }
}

/// Sends back what comes.
struct Echo {
    buffer: Vec<u8>,
    received: MultiHeaders<SockaddrIn>,
    sent: MultiHeaders<SockaddrIn>,
}

impl Echo {
    fn new() -> Echo {
        Echo {
            buffer: vec![0; BUDGET * ROOM],
            received: MultiHeaders::preallocate(BUDGET, None),
            sent: MultiHeaders::preallocate(BUDGET, None),
        }
    }

    fn some(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        let mut sizes = [0; BUDGET];
        let mut senders = [None; BUDGET];
        let mut count = 0;
        let mut slots = self.buffer.chunks_mut(ROOM);
        let mut slots: [_; BUDGET] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        match recvmmsg(fd, &mut self.received, slots.iter_mut(), flags, None) {
            Ok(messages) => {
                for message in messages {
                    (sizes[count], senders[count]) = (message.bytes, message.address);
                    count += 1;
                }
            }
            Err(Errno::EAGAIN) => return Ok(false),
            Err(Errno::EINTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let slots = self.buffer.chunks(ROOM).zip(sizes).take(count);
        let answers = slots.map(|(slot, size)| IoSlice::new(&slot[..size]));
        let are_alike = senders[..count].iter().all(|from| *from == senders[0])
            && sizes[..count].iter().all(|size| *size == sizes[0]);
        // What the kernel has no room for is lost, as datagrams are.
        if are_alike && count > 1 {
            let train: Vec<_> = answers.collect();
            let _ = send_train(socket, &train, sizes[0] as u16, senders[0].as_ref());
        } else {
            let each: Vec<_> = answers.map(|answer| [answer]).collect();
            let _ = sendmmsg(fd, &mut self.sent, &each, senders, [], flags);
        }
        Ok(count == BUDGET)
    }
}

/// Counts what comes, and tells how much that was.
struct Sink {
    buffer: Vec<u8>,
    count: u64,
}

impl Sink {
    fn new() -> Sink {
        Sink {
            buffer: vec![0; LARGEST],
            count: 0,
        }
    }

    fn some(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        let mut space = cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::empty());
        let message = match recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut space), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(false),
            Err(Errno::EINTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let (size, from) = (message.bytes, message.address);
        let each = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
            _ => None,
        });
        for datagram in self.buffer[..size].chunks(each.unwrap_or(size).max(1)) {
            match (datagram.len(), from) {
                (QUESTION, Some(from)) => {
                    let answer = self.count.to_le_bytes();
                    let _ = sendmsg(fd, &[IoSlice::new(&answer)], &[], flags, Some(&from));
                }
                _ => self.count += 1,
            }
        }
        Ok(true)
    }
}

/// Answers a number of two bytes with many datagrams of so many bytes.
fn burst(socket: &UdpSocket) -> io::Result<bool> {
    let mut request = [0; 2];
    let from = match socket.recv_from(&mut request) {
        Ok((_, from)) => from,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error),
    };
    let std::net::SocketAddr::V4(from) = from else {
        return Ok(true);
    };
    let size = u16::from_le_bytes(request);
    let train = train_of(size.into());
    let bytes = vec![b'b'; train * usize::from(size)];
    let mut left = BURST;
    while left > 0 {
        let some = train.min(left);
        let parts = [IoSlice::new(&bytes[..some * usize::from(size)])];
        let _ = send_train(socket, &parts, size, Some(&SockaddrIn::from(from)));
        left -= some;
    }
    Ok(true)
}
