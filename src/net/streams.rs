//! A socket is a stream: what [`crate::stream`] wants of it.

use std::rc::Rc;

use crate::event_loop::diversion::{Diversion, Diverter};
use crate::event_loop::entry::{Entry, flag};
use crate::event_loop::extension::add_listener;
use crate::event_loop::handle::Socket;
use crate::event_loop::socket as state;
use crate::event_loop::table;
use crate::ground::chunk::Chunk;
use crate::ground::error::{Error, Result};
use crate::ground::listeners::{ListenerId, shared};
use crate::stream::pipe::{destinations, on_pipe, on_unpipe};
use crate::stream::traits::sealed::Sealed;
use crate::stream::traits::{
    DataChunk, ReadableStream, Stream, StreamEvent, StreamId, WritableStream,
};
use crate::stream::{self, Destination, PipeOptions};

impl Sealed for Socket {
    fn watch_error(&self, mut listener: Box<dyn FnMut()>) -> ListenerId {
        let call = shared(move |_: Socket, _: &Error| listener());
        add_listener(self.0, state::error_watch_slot, call, false)
    }

    fn to_stream(&self) -> Rc<dyn Stream> {
        Rc::new(*self)
    }

    fn is_duplex(&self) -> bool {
        true
    }

    fn will_emit_close(&self) -> bool {
        // Its 'close' is the handle's, as Node's.
        false
    }

    fn error_emitted(&self) -> bool {
        self.has(flag::ERROR_EMITTED)
    }

    fn is_drained(&self) -> bool {
        self.has(flag::READ_ENDED) && self.readable_length() == 0
    }

    fn source_has_ended(&self) -> bool {
        self.has(flag::READ_ENDED)
    }

    fn has_unwritten(&self) -> bool {
        self.writable_length() > 0
    }

    fn has_writes(&self) -> bool {
        // Node counts the end that waits for the connection, or for the kernel, as well.
        self.writable_length() > 0 || (self.writable_ended() && !self.writable_finished())
    }

    fn raw_end(&self) -> Option<StreamId> {
        Some(self.stream_id())
    }

    fn divert(&self, listener: ListenerId, to: StreamId, pipe: Rc<dyn Diverter>) {
        let to = to.0;
        if to.index != self.0.index {
            return;
        }
        let diversion = Diversion {
            listener,
            to: to.id(),
            pipe,
            doubts: 0,
        };
        table::with(self.0, |state, id| state.divert(id, diversion));
    }
}

impl Stream for Socket {
    fn stream_id(&self) -> StreamId {
        StreamId(self.0)
    }

    fn destroy(&self) {
        (*self).destroy();
    }

    fn destroy_for(&self, error: Error) {
        (*self).destroy_with(error);
    }

    fn destroyed(&self) -> bool {
        (*self).destroyed()
    }

    fn closed(&self) -> bool {
        (*self).closed()
    }

    fn errored(&self) -> Option<Error> {
        (*self).errored()
    }

    fn listen(&self, event: StreamEvent, mut listener: Box<dyn FnMut()>) -> ListenerId {
        match event {
            StreamEvent::Close => self.on_close(move |_, _| listener()),
            StreamEvent::Drain => self.on_drain(move |_| listener()),
            StreamEvent::End => self.on_end(move |_| listener()),
            StreamEvent::Finish => self.on_finish(move |_| listener()),
            StreamEvent::Pause => self.on_pause(move |_| listener()),
            StreamEvent::Readable => self.on_readable(move |_| listener()),
            StreamEvent::Resume => self.on_resume(move |_| listener()),
        }
    }

    fn listen_error(&self, mut listener: Box<dyn FnMut(&Error)>) -> ListenerId {
        self.on_error(move |_, error| listener(error))
    }

    fn off(&self, listener: ListenerId) {
        (*self).off(listener);
    }

    fn has_readable_side(&self) -> bool {
        true
    }

    fn has_writable_side(&self) -> bool {
        true
    }

    fn is_readable(&self) -> bool {
        (*self).readable()
    }

    fn is_writable(&self) -> bool {
        (*self).writable()
    }

    fn readable_ended(&self) -> bool {
        (*self).readable_ended()
    }

    fn writable_ended(&self) -> bool {
        (*self).writable_ended()
    }

    fn writable_finished(&self) -> bool {
        (*self).writable_finished()
    }
}

destinations!(Socket);

impl Socket {
    fn has(self, flags: u64) -> bool {
        let has = table::with(self.0, |state, id| {
            Some(state.stream(id)?.common.flags.any(flags))
        });
        has.flatten() == Some(true)
    }
}

/// Piping.
impl Socket {
    /// Writes the data of this socket to another stream, or back to itself, and returns the
    /// destination: Node's `socket.pipe`. See [`stream::pipe`](crate::stream::pipe()), which also
    /// shows how to read a header before piping the rest.
    ///
    /// ```
    /// # fn main() -> nodeloop::Result<()> {
    /// # let lp = nodeloop::Loop::new()?;
    /// // An echo server.
    /// let server = nodeloop::net::create_server(&lp, |socket| {
    ///     socket.pipe(socket);
    /// });
    /// # let _ = server;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pipe<D: Destination>(self, destination: D) -> D {
        self.pipe_with(destination, PipeOptions::new())
    }

    /// Like [`pipe`](Socket::pipe), with options.
    pub fn pipe_with<D: Destination>(self, destination: D, options: PipeOptions) -> D {
        stream::pipe(&self, destination.stream(), options);
        destination
    }

    /// Ends a pipe: Node's `socket.unpipe(destination)`. See
    /// [`crate::stream::unpipe`].
    pub fn unpipe(self, destination: impl Destination) {
        stream::unpipe(&self, destination.stream());
    }

    /// Ends every pipe: Node's `socket.unpipe()`.
    pub fn unpipe_all(self) {
        stream::unpipe_all(&self);
    }

    /// Adds a listener for 'pipe', which comes on the tick after a stream was piped to this one.
    pub fn on_pipe(
        self,
        mut listener: impl FnMut(Socket, &dyn ReadableStream) + 'static,
    ) -> ListenerId {
        on_pipe(
            self.stream_id(),
            Box::new(move |source| listener(self, source)),
        )
    }

    /// Adds a listener for 'unpipe', which comes when a pipe into this socket ends: on the tick
    /// after [`unpipe`](Socket::unpipe), or at once when this one has failed, finished or closed.
    pub fn on_unpipe(
        self,
        mut listener: impl FnMut(Socket, &dyn ReadableStream) + 'static,
    ) -> ListenerId {
        on_unpipe(
            self.stream_id(),
            Box::new(move |source| listener(self, source)),
        )
    }
}

impl ReadableStream for Socket {
    fn to_readable(&self) -> Rc<dyn ReadableStream> {
        Rc::new(*self)
    }

    fn listen_data(&self, mut listener: Box<dyn FnMut(&[u8])>) -> ListenerId {
        self.on_data(move |_, chunk| listener(chunk))
    }

    fn listen_bytes(&self, mut listener: Box<dyn FnMut(DataChunk<'_>)>) -> ListenerId {
        self.on_data(move |_, chunk| listener(DataChunk::Slice(chunk)))
    }

    fn is_listened_to(&self) -> bool {
        let listened = table::with(self.0, |state, id| match state.entry(id) {
            Some(Entry::Stream(stream)) => !stream.data.is_empty(),
            _ => false,
        });
        listened == Some(true)
    }

    fn pause(&self) {
        (*self).pause();
    }

    fn resume(&self) {
        (*self).resume();
    }

    fn is_paused(&self) -> bool {
        (*self).is_paused()
    }

    fn readable_flowing(&self) -> Option<bool> {
        (*self).readable_flowing()
    }

    fn readable_length(&self) -> usize {
        (*self).readable_length()
    }
}

impl WritableStream for Socket {
    fn to_writable(&self) -> Rc<dyn WritableStream> {
        Rc::new(*self)
    }

    fn write_chunk(&self, chunk: Chunk<'_>, done: Option<Box<dyn FnOnce(Result<()>)>>) -> bool {
        match done {
            Some(done) => self.write_then(chunk, done),
            None => self.write(chunk),
        }
    }

    fn write_piped(&self, chunk: DataChunk<'_>) -> bool {
        match chunk {
            DataChunk::Slice(slice) => self.write(slice),
            DataChunk::Bytes(bytes) => self.write(bytes.clone()),
        }
    }

    fn end_piped(&self) {
        self.end();
    }

    fn end_stream(&self, chunk: Option<Chunk<'_>>, done: Option<Box<dyn FnOnce(Result<()>)>>) {
        match (chunk, done) {
            (Some(chunk), Some(done)) => self.end_with_then(chunk, done),
            (Some(chunk), None) => self.end_with(chunk),
            (None, Some(done)) => self.end_then(done),
            (None, None) => self.end(),
        }
    }

    fn cork(&self) {
        (*self).cork();
    }

    fn uncork(&self) {
        (*self).uncork();
    }

    fn writable_length(&self) -> usize {
        (*self).writable_length()
    }

    fn writable_need_drain(&self) -> bool {
        (*self).writable_need_drain()
    }
}
