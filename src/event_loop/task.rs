//! Tasks: what runs as a tick, and the steps of which a loop callback consists.
//!
//! Node nests calls: a write's completion emits 'drain', calls back, ends the stream. Here each of
//! these is a task in a queue, so that nothing is lost when one of them panics, and no user code
//! ever runs inside another's call. The names of Node's functions stand beside what mirrors them.

use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::rc::Rc;

use super::connect::Start;
use super::connect_request::ConnectRequest;
use super::connected::{self, Awaiting};
use super::core::Core;
use super::datagram;
use super::datagram_entry::DatagramTask;
use super::extension::WorkOf;
use super::handle::{Id, LoopHandle, Server, Socket};
use super::look_up::Answer;
use super::server::{self, ListenRequest};
use super::socket;
use super::{readable, writable};
use crate::ground::error::{Completion, Error, Result};
use crate::ground::listeners::Listener;

/// A closure of a user's tick.
pub(crate) type TickCall = Box<dyn FnOnce(LoopHandle)>;

/// One task.
pub(crate) enum Task {
    /// A user's tick, with the line that queued it.
    User(TickCall, &'static Location<'static>),
    /// Tells a completion what became of its call.
    Complete(Completion, Result<()>),
    /// The same, as a step of a stream: what it leaves as steps comes next.
    CompleteWithin(Completion, Result<()>),
    /// Emits an event of a socket that has no arguments.
    Emit(Id, SocketEvent),
    /// Emits a socket's 'error'.
    EmitError(Id, Error),
    /// Emits the 'close' of a socket that had no descriptor, its last event.
    EmitClose(Id),
    /// Emits a server's 'listening', if it still listens.
    EmitListening(Id),
    /// Emits a server's 'close'.
    EmitServerClose(Id),
    /// Emits a server's 'error'.
    EmitServerError(Id, Error),

    /// Emits a socket's 'connectionAttempt'.
    EmitAttempt(Id, SocketAddr),
    /// Emits a socket's 'connectionAttemptFailed'.
    EmitAttemptFailed(Id, SocketAddr, Error),
    /// Emits a socket's 'connectionAttemptTimeout'.
    EmitAttemptTimeout(Id, SocketAddr),
    /// Emits a socket's 'lookup', if it is connecting.
    EmitLookup(Id, Result<IpAddr>, Rc<str>),
    /// Emits 'connect': to all, or to the listeners that were there before something waited for it.
    EmitConnect(Id),
    /// It goes on, to those that were there behind.
    EmitConnectRest(Id, Vec<Listener<dyn FnMut(Socket)>>),

    /// Of a UDP socket.
    Datagram(Id, DatagramTask),
    /// Of an object of a floor above.
    Extension(Id, WorkOf),

    /// Connects to an address.
    Connect(Id, u32, Box<ConnectRequest>),
    /// Asks a user's function for a name.
    AskUser(Id, u32, Box<ConnectRequest>),
    /// A look-up has failed before it began.
    LookedUp(Id, u64, Answer),
    /// Connects to what a look-up has found.
    AfterLookUp(Id, Box<ConnectRequest>, Answer),
    /// Tries the next of several addresses.
    NextAttempt(Id, u32),
    /// Begins to wait for an attempt, with its number and timeout.
    TimeAttempt(Id, u32, u32, u64),
    /// The system call of an attempt to connect.
    StartConnect(Id, u32, Box<Start>),
    /// Does what waited for the connection: sends what was written, or resets.
    Connected(Id, Awaiting),
    /// After 'connect': an end that waited for it.
    AfterConnect(Id),
    /// After 'ready': reading starts.
    AfterReady(Id),
    /// Listens at a host that is an address.
    Listen(Id, u32, Box<ListenRequest>),
    /// Listens at what a look-up has found.
    ListenAnswer(Id, u32, Box<ListenRequest>, Answer),
    /// Delivers what was buffered while the socket flows (Node's flow).
    Flow(Id),
    /// Emits 'resume' and lets flow (resume_).
    Resume(Id),
    /// Emits 'end' if everything was consumed (endReadableNT).
    EndReadable(Id),
    /// After 'end': ends the other side too, or destroys.
    AfterEnd(Id),
    /// Ends the writable side because the peer has ended (endWritableNT).
    EndWritable(Id),
    /// 'drain' if it is owed, and a write's callback (afterWrite).
    AfterWrite(Id, Option<Completion>),
    /// After the callbacks of writes: goes on to end, or fails what is left.
    AfterWrites(Id),
    /// A write failed at once, or several that were handed down in one go (onwriteError).
    WriteError(Id, Error, Vec<Completion>),
    /// What was handed down in one go failed at once.
    FailInFlight(Id, Error),
    /// Fails what still waits in a destroyed socket (errorBuffer).
    ErrorBuffer(Id),
    /// Destroys a socket with an error.
    Destroy(Id, Error),
    /// Emits 'error' if there was one, and notes that 'close' comes (emitErrorCloseNT).
    Destroyed(Id, Option<Error>),
    /// The completions of `end`, then 'finish' (finish).
    Finish(Id),
    /// After 'finish': destroys if the other side has ended too.
    AfterFinish(Id),
}

/// An event of a socket that has no arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SocketEvent {
    Connect,
    Drain,
    End,
    Finish,
    Pause,
    Ready,
    Resume,
    Timeout,
}

impl Core {
    /// Does one task. User code runs, unborrowed, in those above the blank line only.
    pub(crate) fn perform(&self, task: Task) {
        match task {
            Task::User(call, _) => call(self.handle()),
            Task::Complete(done, result) => done(result),
            Task::CompleteWithin(done, result) => self.within(|| done(result)),
            Task::Emit(id, event) => {
                let socket = Socket(self.raw(id));
                self.emit(id, socket::slot_of(event), |listener| listener(socket));
            }
            Task::EmitError(id, error) => socket::emit_error(self, id, error),
            Task::Destroyed(id, error) => socket::destroyed_on_tick(self, id, error),
            Task::EmitClose(id) => socket::emit_close(self, id, false),
            Task::EmitListening(id) => {
                let server = Server(self.raw(id));
                if self.with(|state| server::is_listening(state, id)) {
                    self.emit(id, server::listening_slot, |listener| listener(server));
                }
            }
            Task::EmitServerClose(id) => {
                let server = Server(self.raw(id));
                self.tell(|| log::debug!(target: "nodeloop::net", "{server:?} closed"));
                self.with(|state| server::close_emission(state, id));
                self.emit(id, server::close_slot, |listener| listener(server));
            }
            Task::EmitServerError(id, error) => {
                let server = Server(self.raw(id));
                if !self.emit(id, server::error_slot, |listener| listener(server, &error)) {
                    self.uncaught(error);
                }
            }
            Task::EmitAttempt(id, address) => {
                let socket = Socket(self.raw(id));
                self.emit(id, socket::attempt_slot, |listener| {
                    listener(socket, address)
                });
            }
            Task::EmitAttemptFailed(id, address, error) => {
                let socket = Socket(self.raw(id));
                self.emit(id, socket::attempt_failed_slot, |listener| {
                    listener(socket, address, &error);
                });
            }
            Task::EmitAttemptTimeout(id, address) => {
                let socket = Socket(self.raw(id));
                self.emit(id, socket::attempt_timeout_slot, |listener| {
                    listener(socket, address);
                });
            }
            Task::EmitLookup(id, found, host) => {
                if self.with(|state| state.is_connecting_now(id)) {
                    let socket = Socket(self.raw(id));
                    self.emit(id, socket::lookup_slot, |listener| {
                        listener(socket, found.as_ref().copied(), &host);
                    });
                }
            }
            Task::AskUser(id, life, mut request) => {
                // User code from here on, to its end.
                let lookup = request.lookup.take();
                let host = request.host_name().to_string();
                let socket = Socket(self.raw(id));
                let question = self.with(|state| state.ask_user(id, life, request, socket));
                if let (Some(lookup), Some((options, answer))) = (lookup, question) {
                    lookup(&host, options, answer);
                }
            }
            Task::EmitConnect(id) => connected::emit_connect(self, id),
            Task::EmitConnectRest(id, rest) => connected::emit_rest_of_connect(self, id, rest),
            Task::Flow(id) => readable::flow(self, id),
            Task::Datagram(id, task) => datagram::perform(self, id, task),
            Task::Extension(id, work) => self.perform_work(id, work),

            Task::Connect(id, life, request) => {
                self.with(|state| state.connect_on_tick(id, life, &request));
            }
            Task::LookedUp(id, number, answer) => {
                self.with(|state| state.looked_up(id, number, answer));
            }
            Task::AfterLookUp(id, request, answer) => {
                self.with(|state| state.after_look_up(id, request, answer));
            }
            Task::NextAttempt(id, life) => self.with(|state| state.next_attempt(id, life)),
            Task::TimeAttempt(id, life, number, timeout_ms) => {
                self.with(|state| state.time_attempt(id, life, number, timeout_ms));
            }
            Task::StartConnect(id, life, start) => {
                self.with(|state| state.start_connect(id, life, *start));
            }
            Task::Connected(id, Awaiting::Write) => self.with(|state| state.flush_pending(id)),
            Task::Connected(id, Awaiting::Reset) => {
                self.with(|state| state.reset_and_destroy(id));
            }
            Task::AfterConnect(id) => self.with(|state| state.after_connect(id)),
            Task::AfterReady(id) => self.with(|state| state.after_ready(id)),
            Task::Listen(id, listening_id, request) => {
                self.with(|state| state.listen_on_tick(id, listening_id, *request));
            }
            Task::ListenAnswer(id, listening_id, request, answer) => {
                self.with(|state| state.listen_answered(id, listening_id, *request, answer));
            }
            Task::Resume(id) => self.with(|state| state.resume_on_tick(id)),
            Task::EndReadable(id) => self.with(|state| state.end_readable(id)),
            Task::AfterEnd(id) => self.with(|state| state.after_end(id)),
            Task::EndWritable(id) => self.with(|state| state.end_writable(id)),
            Task::AfterWrite(id, done) => self.with(|state| state.after_write(id, done)),
            Task::AfterWrites(id) => self.with(|state| state.after_writes(id)),
            Task::WriteError(id, error, told) => {
                self.with(|state| writable::fail_writes(state, id, error, told));
            }
            Task::FailInFlight(id, error) => {
                self.with(|state| state.fail_in_flight(id, error, true));
            }
            Task::ErrorBuffer(id) => self.with(|state| state.error_buffer(id)),
            Task::Destroy(id, error) => self.with(|state| state.destroy(id, Some(error))),
            Task::Finish(id) => self.with(|state| state.finish(id)),
            Task::AfterFinish(id) => self.with(|state| state.after_finish(id)),
        }
    }
}

impl Task {
    /// The object in the slab that it is about; none for a tick or a completion of the program's.
    pub(crate) fn subject(&self) -> Option<Id> {
        match *self {
            Task::User(..) | Task::Complete(..) | Task::CompleteWithin(..) => None,
            Task::Emit(id, _)
            | Task::EmitError(id, _)
            | Task::EmitClose(id)
            | Task::EmitListening(id)
            | Task::EmitServerClose(id)
            | Task::EmitServerError(id, _)
            | Task::EmitAttempt(id, _)
            | Task::EmitAttemptFailed(id, ..)
            | Task::EmitAttemptTimeout(id, _)
            | Task::EmitLookup(id, ..)
            | Task::AskUser(id, ..)
            | Task::LookedUp(id, ..)
            | Task::AfterLookUp(id, ..)
            | Task::NextAttempt(id, _)
            | Task::TimeAttempt(id, ..)
            | Task::ListenAnswer(id, ..)
            | Task::EmitConnect(id)
            | Task::EmitConnectRest(id, ..)
            | Task::Connect(id, ..)
            | Task::StartConnect(id, ..)
            | Task::Connected(id, _)
            | Task::AfterConnect(id)
            | Task::AfterReady(id)
            | Task::Listen(id, ..)
            | Task::Flow(id)
            | Task::Resume(id)
            | Task::EndReadable(id)
            | Task::AfterEnd(id)
            | Task::EndWritable(id)
            | Task::AfterWrite(id, _)
            | Task::AfterWrites(id)
            | Task::WriteError(id, ..)
            | Task::FailInFlight(id, _)
            | Task::ErrorBuffer(id)
            | Task::Destroy(id, _)
            | Task::Destroyed(id, _)
            | Task::Finish(id)
            | Task::AfterFinish(id)
            | Task::Datagram(id, _)
            | Task::Extension(id, _) => Some(id),
        }
    }

    /// Whether a person who follows the loop wants to know: it calls a listener, or the system.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Task::Emit(..)
            | Task::EmitError(..)
            | Task::EmitClose(_)
            | Task::EmitListening(_)
            | Task::EmitServerClose(_)
            | Task::EmitServerError(..)
            | Task::EmitAttempt(..)
            | Task::EmitAttemptFailed(..)
            | Task::EmitAttemptTimeout(..)
            | Task::EmitLookup(..)
            | Task::AskUser(..)
            | Task::StartConnect(..)
            | Task::EmitConnect(..)
            | Task::EndWritable(_) => true,
            Task::Datagram(_, task) => task.is_told(),
            Task::Extension(_, work) => work.is_told,
            _ => false,
        }
    }

    /// What it does, for people.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Task::User(..) => "a tick of next_tick",
            Task::Complete(..) | Task::CompleteWithin(..) => "a completion",
            Task::Emit(_, event) => event.quoted(),
            Task::EmitError(..) | Task::EmitServerError(..) => "'error'",
            Task::EmitClose(_) | Task::EmitServerClose(_) => "'close'",
            Task::EmitListening(_) => "'listening'",
            Task::EmitAttempt(..) => "'connectionAttempt'",
            Task::EmitAttemptFailed(..) => "'connectionAttemptFailed'",
            Task::EmitAttemptTimeout(..) => "'connectionAttemptTimeout'",
            Task::EmitLookup(..) => "'lookup'",
            Task::AskUser(..) => "a look-up function is asked",
            Task::LookedUp(..) => "the name can't be one",
            Task::AfterLookUp(..) => "what follows 'lookup'",
            Task::NextAttempt(..) => "the next address is tried",
            Task::TimeAttempt(..) => "the next address waits for this one",
            Task::EmitConnect(..) | Task::EmitConnectRest(..) => "'connect'",
            Task::Connect(..) => "the look-up of where to connect to is over",
            Task::StartConnect(..) => "the system is asked to connect",
            Task::Connected(_, Awaiting::Write) => "what was written before 'connect' is sent",
            Task::Connected(_, Awaiting::Reset) => "it is reset, which waited for 'connect'",
            Task::AfterConnect(_) => "what waited for 'connect'",
            Task::AfterReady(_) => "reading starts",
            Task::Listen(..) | Task::ListenAnswer(..) => "the look-up of where to listen is over",
            Task::Flow(_) => "what was buffered flows",
            Task::Resume(_) => "reading goes on",
            Task::EndReadable(_) => "the end was read",
            Task::AfterEnd(_) => "what follows 'end'",
            Task::EndWritable(_) => "the peer has ended, so this side ends",
            Task::AfterWrite(..) => "a write is done",
            Task::AfterWrites(_) => "writes are done",
            Task::WriteError(..) | Task::FailInFlight(..) => "a write has failed",
            Task::ErrorBuffer(_) => "what waits in a destroyed socket fails",
            Task::Destroy(..) => "it is destroyed with an error",
            Task::Destroyed(..) => "it was destroyed",
            Task::Finish(_) => "the half-close is done",
            Task::AfterFinish(_) => "what follows 'finish'",
            Task::Datagram(_, task) => task.what(),
            Task::Extension(_, work) => work.what,
        }
    }
}

impl SocketEvent {
    fn quoted(self) -> &'static str {
        match self {
            SocketEvent::Connect => "'connect'",
            SocketEvent::Drain => "'drain'",
            SocketEvent::End => "'end'",
            SocketEvent::Finish => "'finish'",
            SocketEvent::Pause => "'pause'",
            SocketEvent::Ready => "'ready'",
            SocketEvent::Resume => "'resume'",
            SocketEvent::Timeout => "'timeout'",
        }
    }
}
