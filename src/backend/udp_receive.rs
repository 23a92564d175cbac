//! Receiving datagrams: many with one system call where the system can.
//!
//! What was received is a [`Catch`]: a buffer cut into slots, one per read of the system. A read
//! may bring one datagram, or a train of datagrams of equal size from one sender that the kernel
//! has coalesced; [`Catch::advance`] takes them apart.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::is_interrupted;
use super::os::Os;
use super::udp::OsDatagram;

/// Datagrams of one socket in one turn, as Node (N12), and so reads in one call.
pub(crate) const RECEIVE_BUDGET: u32 = 32;

/// The room for one read. A datagram has at most 65,527 bytes; a coalesced train less than 64 KiB,
/// so nothing is ever cut off.
const SLOT: usize = 64 * 1024;

/// From one slot to the next. A little more than a slot: at distances of 64 KiB the beginnings of
/// all slots would fight for the same few lines of the processor's caches.
const STRIDE: usize = SLOT + 192;

/// Slots of a buffer. The memory is the system's until it is written to.
const SLOTS: usize = match CAN_BATCH {
    true => RECEIVE_BUDGET as usize,
    false => 1,
};

/// Whether one call can bring several datagrams, and tell that there are no more.
const CAN_BATCH: bool = cfg!(all(
    any(target_os = "linux", target_os = "android"),
    feature = "full-udp"
));

/// One read of the system.
#[derive(Debug, Clone, Copy)]
struct Caught {
    /// Where it begins in the buffer.
    start: usize,
    /// Its bytes.
    size: usize,
    /// The bytes of each datagram in it, but for the last, which may be shorter.
    each: usize,
    /// Who sent it.
    from: SocketAddr,
}

/// What was received and not delivered yet.
#[derive(Debug)]
pub(crate) struct Catch {
    buffer: Box<[u8]>,
    reads: Reads,
    /// The read behind the one that datagrams are taken from.
    next: usize,
    /// Where in the buffer the rest of that one is, and the bytes of each datagram in it.
    rest: Range<usize>,
    each: usize,
    /// The datagram that was taken last, and who sent it.
    place: Range<usize>,
    from: SocketAddr,
}

/// What the last receive has brought.
#[derive(Debug)]
struct Reads {
    list: Vec<Caught>,
    /// Whether one of them is a train.
    has_trains: bool,
}

impl Reads {
    #[inline]
    fn push(&mut self, read: Caught) {
        self.has_trains |= read.each < read.size;
        self.list.push(read);
    }

    #[inline]
    fn clear(&mut self) {
        self.list.clear();
        self.has_trains = false;
    }

    /// How many datagrams they are.
    #[inline]
    fn count(&self) -> u64 {
        match self.has_trains {
            true => self.count_in_trains(),
            false => self.list.len() as u64,
        }
    }

    #[inline(never)]
    fn count_in_trains(&self) -> u64 {
        // An empty datagram is one too.
        let counts = self.list.iter().map(|read| match read.size {
            0 => 1,
            size => size.div_ceil(read.each) as u64,
        });
        counts.sum()
    }
}

impl Catch {
    /// The bytes of each.
    pub(crate) const CAPACITY: usize = SLOTS * STRIDE;

    /// Room for a full batch.
    pub(crate) fn with_room() -> Catch {
        Catch {
            buffer: vec![0; Catch::CAPACITY].into_boxed_slice(),
            reads: Reads {
                list: Vec::with_capacity(SLOTS),
                has_trains: false,
            },
            next: 0,
            rest: 0..0,
            each: 0,
            place: 0..0,
            from: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// Takes the next datagram, which is [`current`](Catch::current) then. False if there is none.
    #[inline]
    pub(crate) fn advance(&mut self) -> bool {
        if self.rest.is_empty() {
            // An empty datagram is one too.
            let Some(read) = self.reads.list.get(self.next) else {
                return false;
            };
            self.next += 1;
            self.rest = read.start..read.start + read.size;
            self.each = read.each;
            self.from = read.from;
        }
        self.place.start = self.rest.start;
        self.place.end = (self.rest.start + self.each).min(self.rest.end);
        self.rest.start = self.place.end;
        true
    }

    /// The datagram that was taken last, and its sender.
    #[inline]
    pub(crate) fn current(&self) -> (&[u8], SocketAddr) {
        (&self.buffer[self.place.clone()], self.from)
    }

    /// Whether everything was taken out.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.next >= self.reads.list.len()
    }

    /// Whether the last receive has brought a train.
    pub(crate) fn has_trains(&self) -> bool {
        self.reads.has_trains
    }

    /// How many reads the last receive has brought.
    pub(crate) fn reads(&self) -> usize {
        self.reads.list.len()
    }

    /// Forgets what was in it.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.reads.clear();
        self.next = 0;
        self.rest = 0..0;
    }

    /// Puts datagrams of `size` bytes into it: for the null backend.
    #[inline(never)]
    pub(super) fn fill(&mut self, count: usize, size: usize, from: SocketAddr) {
        self.clear();
        let size = size.min(SLOT);
        for slot in 0..count.min(SLOTS) {
            let start = slot * STRIDE;
            self.buffer[start..start + size].fill(b'x');
            self.reads.push(Caught {
                start,
                size,
                each: size.max(1),
                from,
            });
        }
    }
}

/// When one receive brings this many datagrams it is a flood, which had better come in trains. Before that a
/// socket is spared what trains cost each receive: a place for their sizes.
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
const FLOOD: usize = 8;

/// Has trains of datagrams delivered as they are, or no more.
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
pub(super) fn coalesce(socket: &mio::net::UdpSocket, yes: bool) {
    // Kernels before 5.0 refuse; then every datagram comes by itself.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::UdpGroSegment, &yes);
}

impl Os {
    /// Receives into an empty catch with one system call of up to `wanted` reads. Returns whether
    /// that proves that nothing was left.
    pub(crate) fn receive(
        &mut self,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
    ) -> io::Result<bool> {
        catch.clear();
        loop {
            self.counts.receives += 1;
            match receive_once(&mut self.headers, io, catch, wanted.clamp(1, SLOTS)) {
                Err(error) if is_interrupted(&error) => {}
                Err(error) => return Err(error),
                Ok(drained) => {
                    self.counts.datagrams_received += catch.reads.count();
                    return Ok(drained && Os::HAS_EDGES);
                }
            }
        }
    }

    /// Receives one datagram into an empty catch, where it is the current one. What lies behind it stays.
    #[inline]
    pub(crate) fn receive_one(&mut self, io: &OsDatagram, catch: &mut Catch) -> io::Result<()> {
        catch.clear();
        let (size, from) = loop {
            self.counts.receives += 1;
            match io.socket.recv_from(&mut catch.buffer[..SLOT]) {
                Err(error) if is_interrupted(&error) => {}
                result => break result?,
            }
        };
        self.counts.datagrams_received += 1;
        catch.place = 0..size;
        catch.from = from;
        Ok(())
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
fn receive_once(
    headers: &mut Headers,
    io: &OsDatagram,
    catch: &mut Catch,
    wanted: usize,
) -> io::Result<bool> {
    use std::net::{SocketAddrV4, SocketAddrV6};
    let drained = match io.is_ipv6 {
        false => batch::receive(&mut headers.v4, io, catch, wanted, |from| {
            SocketAddrV4::from(from).into()
        }),
        true => batch::receive(&mut headers.v6, io, catch, wanted, |from| {
            SocketAddrV6::from(from).into()
        }),
    };
    if catch.reads() >= FLOOD && !io.shared && !io.coalesces.replace(true) {
        coalesce(&io.socket, true);
    }
    drained
}

/// What the system is handed to receive several datagrams.
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
#[derive(Default)]
pub(super) struct Headers {
    v4: batch::Headers<nix::sys::socket::SockaddrIn>,
    v6: batch::Headers<nix::sys::socket::SockaddrIn6>,
}

/// Nothing: datagrams are received one by one.
#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
#[derive(Default)]
pub(super) struct Headers {}

/// One datagram per call; only a call that would block tells that there are no more.
#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
fn receive_once(
    _headers: &mut Headers,
    io: &OsDatagram,
    catch: &mut Catch,
    _wanted: usize,
) -> io::Result<bool> {
    let (size, from) = io.socket.recv_from(&mut catch.buffer[..SLOT])?;
    catch.reads.push(Caught {
        start: 0,
        size,
        each: size.max(1),
        from,
    });
    Ok(false)
}

/// recvmmsg, with the sizes of coalesced datagrams.
#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
mod batch {
    use std::io::{self, IoSliceMut};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;

    use nix::cmsg_space;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, recvmmsg};

    use super::{Catch, Caught, SLOT, SLOTS, STRIDE};
    use crate::backend::udp::OsDatagram;

    /// Room for all that Linux says of a datagram in messages of a fixed size: time stamps, where it arrived, how it
    /// came. Each receive clears it, so it has none for headers of any length, which nobody asks for.
    type AllMessages = [u8; 480];

    /// What the system is handed for one family.
    pub(super) struct Headers<A> {
        /// For datagrams that come one by one.
        single: Option<MultiHeaders<A>>,
        /// For trains, with room for their sizes; and for how many reads.
        trains: Option<Box<(MultiHeaders<A>, usize)>>,
    }

    impl<A> Default for Headers<A> {
        fn default() -> Headers<A> {
            Headers {
                single: None,
                trains: None,
            }
        }
    }

    // One function for each family, each without what is rare: it runs cold, once after each sleep.
    #[inline(never)]
    pub(super) fn receive<A: Copy + SockaddrLike>(
        headers: &mut Headers<A>,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
        address: impl Fn(A) -> SocketAddr,
    ) -> io::Result<bool> {
        match io.coalesces.get() {
            true => receive_trains(&mut headers.trains, io, catch, wanted, address)?,
            false => {
                // Used again: the one length that the kernel writes, that of the address, is what it was.
                let make = || MultiHeaders::preallocate(SLOTS, None);
                let headers = headers.single.get_or_insert_with(make);
                receive_some::<A, false>(headers, io, catch, wanted, address)?;
            }
        }
        // Where the kernel stops before the batch is full nothing is left, or an error, of which it will
        // tell.
        Ok(catch.reads() < wanted)
    }

    #[inline(never)]
    fn receive_trains<A: Copy + SockaddrLike>(
        kept: &mut Option<Box<(MultiHeaders<A>, usize)>>,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
        address: impl Fn(A) -> SocketAddr,
    ) -> io::Result<()> {
        if io.shared {
            // Others may have asked for other messages, and where one finds no room the size is lost too.
            let mut headers = MultiHeaders::preallocate(wanted, Some(cmsg_space!(AllMessages)));
            receive_some::<A, true>(&mut headers, io, catch, wanted, address)?;
            return Ok(());
        }
        let enough = kept.take().filter(|headers| headers.1 >= wanted);
        let mut headers = enough.unwrap_or_else(|| {
            let made = MultiHeaders::preallocate(wanted, Some(cmsg_space!(i32)));
            Box::new((made, wanted))
        });
        let trains = receive_some::<A, true>(&mut headers.0, io, catch, wanted, address)?;
        // The kernel writes the lengths of the messages over those of the room for them, and these headers
        // don't set them again. Each train comes with one message, which fills its room; what comes
        // alone has none, and would leave no room for the next.
        if trains == catch.reads() {
            *kept = Some(headers);
        }
        Ok(())
    }

    /// Each buffer costs a little to name, and most receives ask for few.
    fn receive_some<A: Copy + SockaddrLike, const TRAINS: bool>(
        headers: &mut MultiHeaders<A>,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
        address: impl Fn(A) -> SocketAddr,
    ) -> io::Result<usize> {
        match wanted {
            ..=2 => receive_up_to::<A, 2, TRAINS>(headers, io, catch, wanted, address),
            _ => receive_many::<A, TRAINS>(headers, io, catch, wanted, address),
        }
    }

    #[inline(never)]
    fn receive_many<A: Copy + SockaddrLike, const TRAINS: bool>(
        headers: &mut MultiHeaders<A>,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
        address: impl Fn(A) -> SocketAddr,
    ) -> io::Result<usize> {
        receive_up_to::<A, SLOTS, TRAINS>(headers, io, catch, wanted, address)
    }

    /// Up to `N` reads. Only where trains come do messages say how large each datagram is. Returns of how
    /// many they did.
    #[inline]
    fn receive_up_to<A: Copy + SockaddrLike, const N: usize, const TRAINS: bool>(
        headers: &mut MultiHeaders<A>,
        io: &OsDatagram,
        catch: &mut Catch,
        wanted: usize,
        address: impl Fn(A) -> SocketAddr,
    ) -> io::Result<usize> {
        let mut slots = catch.buffer.chunks_mut(STRIDE);
        let mut buffers: [[IoSliceMut<'_>; 1]; N] = std::array::from_fn(|_| {
            let slot = slots.next().unwrap_or_default();
            let end = SLOT.min(slot.len());
            [IoSliceMut::new(&mut slot[..end])]
        });
        let received = recvmmsg(
            io.socket.as_raw_fd(),
            headers,
            buffers[..wanted.min(N)].iter_mut(),
            MsgFlags::empty(),
            None,
        )?;
        let mut trains = 0;
        for (slot, message) in received.enumerate() {
            let messages = TRAINS.then(|| message.cmsgs().ok()).flatten();
            let each = messages.and_then(|mut messages| {
                messages.find_map(|message| match message {
                    ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                    _ => None,
                })
            });
            trains += usize::from(each.is_some());
            let size = message.bytes;
            let Some(from) = message.address else {
                continue;
            };
            catch.reads.push(Caught {
                start: slot * STRIDE,
                size,
                each: each.filter(|&each| each > 0).unwrap_or(size.max(1)),
                from: address(from),
            });
        }
        Ok(trains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catch(reads: &[(usize, usize)]) -> Catch {
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut catch = Catch::with_room();
        for (slot, &(size, each)) in reads.iter().enumerate() {
            let start = slot * STRIDE;
            catch.reads.push(Caught {
                start,
                size,
                each,
                from,
            });
        }
        catch
    }

    fn sizes(mut catch: Catch) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut last = 0;
        while catch.advance() {
            assert!(catch.place.start >= last, "in order");
            last = catch.place.start;
            sizes.push(catch.place.len());
        }
        assert!(catch.is_empty());
        sizes
    }

    #[test]
    fn trains_are_taken_apart() {
        let caught = catch(&[(10, 4), (0, 1), (7, 7), (6, 3), (3, 100)]);
        assert_eq!(caught.reads.count(), 3 + 1 + 1 + 2 + 1);
        assert_eq!(sizes(caught), [4, 4, 2, 0, 7, 3, 3, 3]);
        assert_eq!(sizes(catch(&[])), []);
    }

    #[test]
    fn trains_are_noticed() {
        assert!(catch(&[(10, 4)]).has_trains());
        assert!(!catch(&[(4, 4), (0, 1), (5, 9)]).has_trains());
    }
}
