//! Reading in other ways: as text, and into a buffer of one's own.

use crate::event_loop::extension::add_listener;
use crate::event_loop::handle::Socket;
use crate::event_loop::own_buffer::OwnBuffer;
use crate::event_loop::table;
use crate::event_loop::text;
use crate::ground::encoding::Encoding;
use crate::ground::listeners::{ListenerId, Shared, shared};

/// A buffer of one's own.
impl Socket {
    /// Reads into `buffer` without a copy: Node's `onread`. `call` runs for each read, in the poll
    /// phase, with the size of the read and the buffer, which begins with those bytes; a turn does
    /// as many reads as for any other socket. The next read overwrites them. If `call` returns
    /// false reading stops until [`resume`](Socket::resume); [`pause`](Socket::pause) stops it,
    /// too.
    ///
    /// Meanwhile there is no 'data' and no text; everything else is unchanged. `call` may keep the
    /// buffer and put another in its place. If it leaves none, the next read destroys the socket
    /// with `ENOBUFS`, as in Node. Calling `read_into` again replaces both buffer and callback.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.read_into(vec![0; 4096], |socket, size, buffer| {
    ///         socket.write(&buffer[..size]);
    ///         true // go on
    ///     });
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn read_into(
        self,
        buffer: impl Into<Vec<u8>>,
        call: impl FnMut(Socket, usize, &mut Vec<u8>) -> bool + 'static,
    ) {
        let own = OwnBuffer {
            buffer: buffer.into(),
            call: shared(call),
        };
        // What it had before is dropped here, behind the borrow.
        let _before = table::with(self.0, move |state, id| state.read_into(id, own));
    }
}

/// Text.
impl Socket {
    /// Has what is read decoded from now on: Node's `socket.setEncoding`. The listeners of
    /// [text](Socket::on_text) get it; those of 'data' get the bytes as before.
    ///
    /// Characters that two reads cut apart come out whole, with the second. What is invalid becomes
    /// U+FFFD, as a [`StringDecoder`](crate::StringDecoder) has it; what is cut off by the end of the
    /// stream is delivered before 'end'. What is buffered becomes one chunk. Set again, it begins
    /// anew, and what was cut off before is lost.
    ///
    /// ```
    /// use nodeloop::Encoding;
    ///
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.set_encoding(Encoding::Hex);
    ///     socket.on_text(|_, digits| println!("{digits}"));
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn set_encoding(self, encoding: Encoding) {
        table::with(self.0, |state, id| state.set_encoding(id, encoding));
    }

    /// How what is read is decoded: Node's `readableEncoding`. None if no encoding is set.
    pub fn encoding(self) -> Option<Encoding> {
        table::with(self.0, |state, id| state.encoding(id)).flatten()
    }

    /// Adds a listener for text: the bytes read, decoded, in the poll phase, after the listeners
    /// for 'data'. It is Node's 'data' once an encoding is set, and starts the flow likewise. It is
    /// not called for a chunk without a whole character (N225). Without
    /// [`set_encoding`](Socket::set_encoding) the encoding is UTF-8.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// nodeloop::net::create_server(&lp, |socket| {
    ///     socket.on_text(|socket, text| {
    ///         socket.write(text.to_uppercase());
    ///     });
    /// });
    /// # lp.run()
    /// # }
    /// ```
    pub fn on_text(self, listener: impl FnMut(Socket, &str) + 'static) -> ListenerId {
        self.add_text(shared(listener), false)
    }

    /// Adds a listener for the next text. Data keeps flowing afterwards, and is thrown away if there
    /// is no other listener.
    pub fn once_text(self, listener: impl FnOnce(Socket, &str) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = move |socket: Socket, text: &str| {
            if let Some(listener) = listener.take() {
                listener(socket, text);
            }
        };
        self.add_text(shared(call), true)
    }

    fn add_text(self, call: Shared<dyn FnMut(Socket, &str)>, once: bool) -> ListenerId {
        let id = add_listener(self.0, text::text_slot, call, once);
        table::with(self.0, |state, id| state.start_flow(id));
        id
    }
}
