//! System calls, counted by kind.

/// How often the loop asked the operating system for something, by kind of call.
///
/// A steady echo of one message costs one wait, one read and one write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Waits for events (`epoll_wait`).
    pub waits: u64,
    /// Reads from sockets (`recv`), and of what a splice could not hand on (`read`).
    pub reads: u64,
    /// Writes to sockets (`send`, `writev`).
    pub writes: u64,
    /// Bytes taken from one descriptor or given to another within the kernel (`splice`): of what is
    /// piped into a socket.
    pub splices: u64,
    /// Looks how much of that there is (`ioctl`).
    pub looks: u64,
    /// Connections taken from listeners (`accept4`), failed ones included.
    pub accepts: u64,
    /// Listening sockets made (each is `socket`, `bind`, `listen`, and options).
    pub listens: u64,
    /// First registrations with the poller (`epoll_ctl` ADD).
    pub registrations: u64,
    /// Changed registrations (`epoll_ctl` MOD): one per listening socket where it is watched by level
    /// (feature `level`), otherwise one per accepted connection; one when bytes of a socket begin to stay in
    /// the kernel, and one if it then has to wait for room to write; two when a UDP socket's send has to
    /// wait for the kernel, or a server for a descriptor; and one by level per UDP socket whose datagrams
    /// come one by one.
    pub rearms: u64,
    /// Half-closes (`shutdown`).
    pub shutdowns: u64,
    /// Connections begun (`socket`, `connect`, and `bind` if asked for).
    pub connects: u64,
    /// UDP sockets made (`socket`; `bind` and options follow).
    pub datagram_sockets: u64,
    /// Receives from UDP sockets (`recvmmsg`, or `recvfrom`), each of one datagram or of many.
    pub receives: u64,
    /// Datagrams that they brought.
    pub datagrams_received: u64,
    /// Sends from UDP sockets (`sendto`, `sendmsg`), each of one datagram or of a run.
    pub sends: u64,
    /// Datagrams that they took.
    pub datagrams_sent: u64,
    /// Socket options set or read (`setsockopt`, `getsockopt`) as the program asks for it, without those of
    /// listening sockets. Keep-alive with its times is one, though the system takes each time by a call of its
    /// own, and so is whatever is done with a lent socket.
    pub options: u64,
    /// Closed sockets (`close`).
    pub closes: u64,
    /// Registrations that were ended before the close (`epoll_ctl` DEL): of descriptors that others
    /// hold too, and only of these.
    pub deregistrations: u64,
    /// Addresses asked for (`getsockname`, `getpeername`).
    pub addresses: u64,
    /// Clock reads.
    pub clock_reads: u64,
    /// Connections closed at once because the process was out of descriptors (N93).
    pub shed: u64,
    /// Jobs given to worker threads.
    pub jobs: u64,
    /// Wake-ups by other threads: one for many messages.
    pub wakes: u64,
}
