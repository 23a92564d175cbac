//! Options of sockets.

use super::options;
use crate::backend::{KeepAlive, SockRef};
use crate::event_loop::handle::Socket;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};
use crate::ground::millis::Millis;

/// Options.
impl Socket {
    /// Switches Nagle's algorithm off, or on again: Node's `socket.setNoDelay`. Before the
    /// connection is made the value is remembered. Setting the same value again costs no system
    /// call, and a failure is not reported.
    pub fn set_no_delay(self, no_delay: bool) {
        table::with(self.0, |state, id| state.set_no_delay(id, no_delay));
    }

    /// Switches keep-alive on or off: Node's `socket.setKeepAlive`. Probing begins after `initial_delay`
    /// without traffic (milliseconds or a `Duration`; whole seconds count; 0 leaves the system's).
    /// Before the connection is made the value is remembered. A failure is not reported.
    pub fn set_keep_alive(self, yes: bool, initial_delay: impl Into<Millis>) {
        let keep_alive = options::keep_alive(yes, initial_delay.into());
        table::with(self.0, |state, id| state.set_keep_alive(id, keep_alive));
    }

    /// As [`set_keep_alive`](Socket::set_keep_alive) when it is on, with the time between probes (whole seconds
    /// count, at least one) and how many may stay unanswered: Node's `setKeepAlive(true, delay, interval,
    /// count)`. Without a delay of a second both are the system's.
    pub fn set_keep_alive_probes(
        self,
        initial_delay: impl Into<Millis>,
        interval: impl Into<Millis>,
        count: u32,
    ) {
        let keep_alive = KeepAlive {
            delay_s: options::seconds(initial_delay.into()),
            interval_s: Some(options::seconds(interval.into()).max(1)),
            count: Some(count),
        };
        table::with(self.0, |state, id| {
            state.set_keep_alive(id, Some(keep_alive))
        });
    }

    /// Emits 'timeout' after this much inactivity (milliseconds or a `Duration`): Node's
    /// `socket.setTimeout`. 0 switches it off. Nothing else happens to the socket, and 'timeout'
    /// comes only once until it is active again (N202, N203).
    ///
    /// Activity is: `connect`, 'connect', every read from the kernel, every write that is handed to
    /// it, and the completion of one that waited (N204). The timeout begins at once, also on a socket
    /// that is not connected, does not keep the loop alive, and ends with `destroy`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.set_timeout(Duration::from_secs(30));
    ///     socket.on_timeout(|socket| socket.end_with("too slow\n"));
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn set_timeout(self, time: impl Into<Millis>) {
        let ms = time.into().get();
        table::with(self.0, |state, id| state.set_idle_timeout(id, ms));
    }

    /// The last [`set_timeout`](Socket::set_timeout), in milliseconds; None before: Node's
    /// `socket.timeout`.
    pub fn timeout(self) -> Option<u64> {
        table::with(self.0, |state, id| {
            state.stream(id)?.extra.as_ref()?.timeout_ms
        })
        .flatten()
    }

    /// Sets the type of service (IPv4) or traffic class (IPv6): Node's `socket.setTypeOfService`.
    /// Before the connection stands it is remembered.
    ///
    /// # Errors
    /// What the system says, with the system call `setTypeOfService`; `ERR_HANDLE_GONE`.
    pub fn set_type_of_service(self, tos: u8) -> Result<()> {
        table::with(self.0, |state, id| state.set_type_of_service(id, tos))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// The type of service as the system has it (Linux masks the two ECN bits), or as it was set
    /// while the socket is not connected: Node's `socket.getTypeOfService`.
    ///
    /// # Errors
    /// What the system says, with the system call `getTypeOfService`; `ERR_HANDLE_GONE`.
    pub fn type_of_service(self) -> Result<u8> {
        table::with(self.0, |state, id| state.type_of_service(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }

    /// Sets the size in bytes of the kernel's receive buffer (SO_RCVBUF; Linux doubles it).
    ///
    /// # Errors
    /// `ERR_SOCKET_CLOSED` without a descriptor, `ERR_HANDLE_GONE`, or what the system says.
    pub fn set_recv_buffer_size(self, bytes: usize) -> Result<()> {
        self.option(|socket| socket.set_recv_buffer_size(as_c_int(bytes)))
    }

    /// The size in bytes of the kernel's receive buffer.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn recv_buffer_size(self) -> Result<usize> {
        self.option_by("getsockopt", |socket| socket.recv_buffer_size())
    }

    /// Sets the size in bytes of the kernel's send buffer (SO_SNDBUF; Linux doubles it).
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn set_send_buffer_size(self, bytes: usize) -> Result<()> {
        self.option(|socket| socket.set_send_buffer_size(as_c_int(bytes)))
    }

    /// The size in bytes of the kernel's send buffer.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    pub fn send_buffer_size(self) -> Result<usize> {
        self.option_by("getsockopt", |socket| socket.send_buffer_size())
    }

    /// How long sent data may stay unacknowledged before the connection is given up (TCP_USER_TIMEOUT):
    /// milliseconds or a `Duration`; 0 leaves it to the system. Linux takes up to 24 days.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn set_user_timeout(self, time: impl Into<Millis>) -> Result<()> {
        let ms = time.into().get();
        let timeout = (ms > 0).then(|| std::time::Duration::from_millis(ms));
        self.option(|socket| socket.set_tcp_user_timeout(timeout))
    }

    /// Acknowledges received data at once rather than together with outgoing data (TCP_QUICKACK).
    /// The system falls back by itself.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn set_quick_ack(self, yes: bool) -> Result<()> {
        self.option(|socket| socket.set_tcp_quickack(yes))
    }

    /// How many unsent bytes the kernel keeps before it counts as full (TCP_NOTSENT_LOWAT): a small
    /// value leaves more for the program to decide late.
    ///
    /// # Errors
    /// As [`set_recv_buffer_size`](Socket::set_recv_buffer_size).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn set_notsent_lowat(self, bytes: u32) -> Result<()> {
        self.option(|socket| socket.set_tcp_notsent_lowat(bytes))
    }

    /// Lends the socket to `act`, for every option that has no method here. It is a second
    /// descriptor of the same socket, closed afterwards; don't read from it or write to it.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     let _ = socket.with_sock_ref(|socket| socket.set_linger(None));
    /// });
    /// # lp.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `ERR_SOCKET_CLOSED` without a descriptor, `ERR_HANDLE_GONE`, or that it can't be duplicated.
    pub fn with_sock_ref<R>(self, act: impl FnOnce(SockRef<'_>) -> R) -> Result<R> {
        let duplicate = table::with(self.0, |state, id| state.duplicate(id))
            .unwrap_or_else(|| Err(Error::handle_gone()))?;
        Ok(act(SockRef::from(&duplicate)))
    }

    fn option<R>(self, act: impl FnOnce(SockRef<'_>) -> std::io::Result<R>) -> Result<R> {
        self.option_by("setsockopt", act)
    }

    fn option_by<R>(
        self,
        call: &'static str,
        act: impl FnOnce(SockRef<'_>) -> std::io::Result<R>,
    ) -> Result<R> {
        table::with(self.0, |state, id| state.socket_option(id, call, act))
            .unwrap_or_else(|| Err(Error::handle_gone()))
    }
}

/// A size that the system can be told. socket2 takes the lower 32 bits: of 4 GiB, the smallest buffer.
fn as_c_int(bytes: usize) -> usize {
    bytes.min(i32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::null::NullOptions;
    use crate::event_loop::api::Loop;
    use crate::net::{self, SocketOptions};

    fn entries(lp: &Loop) -> Vec<u64> {
        let times = lp.handle().with(|state| state.deadlines.times());
        times.expect("it lives")
    }

    #[test]
    fn reads_and_writes_do_no_work_in_the_queue() {
        const SOCKETS: u32 = 10;
        let options = NullOptions {
            connections: SOCKETS,
            events_per_wait: SOCKETS,
            waits: 1000,
            ..NullOptions::default()
        };
        let lp = Loop::builder().null(options).build().expect("in memory");
        let server = net::create_server(&lp, |socket: Socket| {
            socket.on_data(|socket, chunk| {
                socket.write_then(chunk, |_| {});
            });
            socket.set_timeout(60_000);
        });
        server.listen(1).expect("in memory");
        for _ in 0..SOCKETS {
            lp.run_nowait().expect("in memory");
        }
        let before = entries(&lp);
        assert_eq!(before.len(), SOCKETS as usize);
        let reads = lp.counts().reads;
        for _ in 0..100 {
            lp.run_nowait().expect("in memory");
        }
        assert!(lp.counts().reads - reads >= 100 * u64::from(SOCKETS));
        assert_eq!(entries(&lp), before);
    }

    #[test]
    fn a_timeout_set_again_and_again_has_one_entry() {
        let lp = Loop::builder().null(NullOptions::default()).build();
        let lp = lp.expect("in memory");
        let socket = Socket::new(&lp, SocketOptions::new());
        for _ in 0..100 {
            socket.set_timeout(60_000);
            socket.set_timeout(0);
        }
        assert_eq!(entries(&lp).len(), 1);
    }

    #[test]
    fn sockets_that_are_gone_leave_few_entries() {
        let lp = Loop::builder().null(NullOptions::default()).build();
        let lp = lp.expect("in memory");
        let stays = Socket::new(&lp, SocketOptions::new());
        stays.set_timeout(60_000);
        let at_ms = entries(&lp);
        for _ in 0..10_000 {
            let socket = Socket::new(&lp, SocketOptions::new());
            socket.set_timeout(120_000);
            socket.destroy();
        }
        let left = entries(&lp);
        assert!(left.len() < 200, "{}", left.len());
        assert_eq!(left[0], at_ms[0]);
        // Those that are needed stay, however many.
        let many: Vec<_> = (0..1000)
            .map(|_| Socket::new(&lp, SocketOptions::new()))
            .collect();
        for socket in &many {
            socket.set_timeout(60_000);
        }
        assert!(entries(&lp).len() > many.len());
    }
}
