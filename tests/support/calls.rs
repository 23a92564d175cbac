//! Every call of a handle, by name: for tests that do something around each of them.

use std::rc::Rc;

use nodeloop::dgram;
use nodeloop::net::{Server, Socket};

/// What the listeners and completions that the calls hand in do.
pub type Touch = Rc<dyn Fn()>;

/// A call, by its name.
pub type Call<H> = (&'static str, fn(H, &Touch));

macro_rules! calls {
    ($handle:ident, $touch:ident; $($name:ident => $call:expr),+ $(,)?) => {
        &[$((stringify!($name), |$handle, $touch| {
            let $touch = $touch.clone();
            // Not every call hands something in.
            let _ = &$touch;
            let _ = $call;
        })),+]
    };
}

/// Every call of a socket.
pub const SOCKET: &[Call<Socket>] = calls! { socket, touch;
    on_data => socket.on_data(move |_, _| touch()),
    once_data => socket.once_data(move |_, _| touch()),
    on_end => socket.on_end(move |_| touch()),
    once_end => socket.once_end(move |_| touch()),
    on_drain => socket.on_drain(move |_| touch()),
    once_drain => socket.once_drain(move |_| touch()),
    on_finish => socket.on_finish(move |_| touch()),
    once_finish => socket.once_finish(move |_| touch()),
    on_pause => socket.on_pause(move |_| touch()),
    on_resume => socket.on_resume(move |_| touch()),
    on_error => socket.on_error(move |_, _| touch()),
    once_error => socket.once_error(move |_, _| touch()),
    on_close => socket.on_close(move |_, _| touch()),
    once_close => socket.once_close(move |_, _| touch()),
    on_connection_attempt => socket.on_connection_attempt(move |_, _| touch()),
    on_connection_attempt_failed => socket.on_connection_attempt_failed(move |_, _, _| touch()),
    on_connect => socket.on_connect(move |_| touch()),
    once_connect => socket.once_connect(move |_| touch()),
    on_ready => socket.on_ready(move |_| touch()),
    once_ready => socket.once_ready(move |_| touch()),
    off => socket.off(socket.on_close(move |_, _| touch())),
    write => socket.write("text"),
    write_nothing => socket.write(""),
    write_then => socket.write_then("text", move |_| touch()),
    write_large => socket.write_then(vec![0; 8 << 20], move |_| touch()),
    end => socket.end(),
    end_then => socket.end_then(move |_| touch()),
    end_with => socket.end_with("text"),
    end_with_then => socket.end_with_then("text", move |_| touch()),
    pause => socket.pause(),
    resume => socket.resume(),
    is_paused => socket.is_paused(),
    readable_flowing => socket.readable_flowing(),
    bytes_read => socket.bytes_read(),
    bytes_written => socket.bytes_written(),
    writable_length => socket.writable_length(),
    readable_length => socket.readable_length(),
    writable_need_drain => socket.writable_need_drain(),
    connecting => socket.connecting(),
    pending => socket.pending(),
    closed => socket.closed(),
    set_no_delay => socket.set_no_delay(true),
    set_keep_alive => socket.set_keep_alive(true, 1000),
    readable => socket.readable(),
    writable => socket.writable(),
    readable_ended => socket.readable_ended(),
    writable_ended => socket.writable_ended(),
    writable_finished => socket.writable_finished(),
    destroyed => socket.destroyed(),
    errored => socket.errored(),
    ready_state => socket.ready_state(),
    allow_half_open => socket.allow_half_open(),
    remote_address => socket.remote_address(),
    local_address => socket.local_address(),
    address => socket.address(),
    server => socket.server(),
    event_loop => socket.event_loop().is_alive(),
    set_ref => socket.set_ref(),
    unref => socket.unref(),
    has_ref => socket.has_ref(),
    keep => socket.keep(),
    release => socket.release(),
    connect_in_vain => socket.connect(("192.0.2.1.5", 9)),
    destroy_soon => socket.destroy_soon(),
    reset_and_destroy => socket.reset_and_destroy(),
    connect_then_in_vain => socket.connect_then(("not an address", 9), move |_| touch()),
    destroy => socket.destroy(),
    destroy_with => socket.destroy_with("reason"),
};

/// Every call of a server.
pub const SERVER: &[Call<Server>] = calls! { server, touch;
    on_listening => server.on_listening(move |_| touch()),
    once_listening => server.once_listening(move |_| touch()),
    on_connection => server.on_connection(move |_, _| touch()),
    once_connection => server.once_connection(move |_, _| touch()),
    on_close => server.on_close(move |_| touch()),
    once_close => server.once_close(move |_| touch()),
    on_error => server.on_error(move |_, _| touch()),
    once_error => server.once_error(move |_, _| touch()),
    off => server.off(server.on_close(move |_| touch())),
    listen => server.listen(("127.0.0.1", 0)),
    listen_then => server.listen_then(("127.0.0.1", 0), move |_| touch()),
    listen_at_once => server.listen(std::net::SocketAddr::from(([127, 0, 0, 1], 0))),
    listen_in_vain => server.listen(std::net::SocketAddr::from(([192, 0, 2, 1], 9))),
    listening => server.listening(),
    address => server.address(),
    connections => server.connections(),
    event_loop => server.event_loop().is_alive(),
    set_ref => server.set_ref(),
    unref => server.unref(),
    has_ref => server.has_ref(),
    keep => server.keep(),
    release => server.release(),
    close => server.close(),
    close_then => server.close_then(move |_| touch()),
    close_all => server.close_all(),
};

/// Every call of a UDP socket.
pub const UDP: &[Call<dgram::Socket>] = calls! { socket, touch;
    on_message => socket.on_message(move |_, _, _| touch()),
    once_message => socket.once_message(move |_, _, _| touch()),
    on_listening => socket.on_listening(move |_| touch()),
    once_listening => socket.once_listening(move |_| touch()),
    on_connect => socket.on_connect(move |_| touch()),
    once_connect => socket.once_connect(move |_| touch()),
    on_error => socket.on_error(move |_, _| touch()),
    once_error => socket.once_error(move |_, _| touch()),
    on_close => socket.on_close(move |_| touch()),
    once_close => socket.once_close(move |_| touch()),
    off => socket.off(socket.on_message(move |_, _, _| touch())),
    bind => socket.bind(()),
    bind_then => socket.bind_then(("127.0.0.1", 0), move |_| touch()),
    bind_sync => socket.bind_sync(("127.0.0.1", 0)),
    address => socket.address(),
    socket_type => socket.socket_type(),
    send_to => socket.send_to("text", 9),
    send_to_then => socket.send_to_then(vec![1, 2, 3], ("127.0.0.1", 9), move |_| touch()),
    send_list => socket.send_to(dgram::Payload::list(["a", "list"]), 9),
    send => socket.send("text"),
    send_then => socket.send_then("text", move |_| touch()),
    flush => socket.flush(),
    send_queue_size => socket.send_queue_size(),
    send_queue_count => socket.send_queue_count(),
    connect_then => socket.connect_then(9, move |_| touch()),
    connect => socket.connect(9),
    connect_sync => socket.connect_sync(9),
    remote_address => socket.remote_address(),
    disconnect => socket.disconnect(),
    set_broadcast => socket.set_broadcast(true),
    set_ttl => socket.set_ttl(1),
    set_multicast_ttl => socket.set_multicast_ttl(1),
    set_multicast_loopback => socket.set_multicast_loopback(true),
    set_multicast_interface => socket.set_multicast_interface("127.0.0.1"),
    set_recv_buffer_size => socket.set_recv_buffer_size(10_000),
    recv_buffer_size => socket.recv_buffer_size(),
    set_send_buffer_size => socket.set_send_buffer_size(10_000),
    send_buffer_size => socket.send_buffer_size(),
    add_membership => socket.add_membership("224.0.0.114", Some("127.0.0.1")),
    drop_membership => socket.drop_membership("224.0.0.114", Some("127.0.0.1")),
    add_source => socket.add_source_specific_membership("127.0.0.1", "232.1.1.1", None),
    drop_source => socket.drop_source_specific_membership("127.0.0.1", "232.1.1.1", None),
    keep => socket.keep(),
    release => socket.release(),
    set_ref => socket.set_ref(),
    unref => socket.unref(),
    has_ref => socket.has_ref(),
    event_loop => socket.event_loop(),
    close_then => socket.close_then(move |_| touch()),
    close => socket.close(),
};
