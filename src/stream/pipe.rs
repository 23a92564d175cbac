//! `pipe` and `unpipe`: Node's `Readable.prototype.pipe`, whose inner functions' names stand beside
//! what mirrors them.
//!
//! A pipe is a handful of listeners, added to its two ends like anybody's. What its ends know of their
//! pipes is an attachment of theirs, so streams of every kind can be piped.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use super::handles::{Duplex, Writable};
use super::traits::{DataChunk, ReadableStream, StreamEvent, StreamId, WritableStream};
use crate::event_loop::core::{Core, SlotOf};
use crate::event_loop::diversion::{DIVERTS_FROM, Diverter};
use crate::event_loop::extension::{Attachment, Work, add_listener, told};
use crate::event_loop::handle::{Id, Raw};
use crate::event_loop::state::State;
use crate::event_loop::table;
use crate::ground::listeners::{ListenerId, Slot, shared};

/// The options of a pipe.
#[derive(Debug, Clone, Copy)]
#[must_use = "options do nothing by themselves"]
pub struct PipeOptions {
    end: bool,
}

impl Default for PipeOptions {
    fn default() -> PipeOptions {
        PipeOptions::new()
    }
}

impl PipeOptions {
    /// The default options.
    pub fn new() -> PipeOptions {
        PipeOptions { end: true }
    }

    /// Whether the destination ends when the source has ended; true by default. Node's `end`.
    pub fn end(mut self, yes: bool) -> PipeOptions {
        self.end = yes;
        self
    }
}

/// A destination: a stream, or a reference to one.
pub trait Destination {
    /// The stream.
    fn stream(&self) -> &dyn WritableStream;
}

/// Has a handle be a destination, and a reference to one.
macro_rules! destinations {
    ($($name:ident),+) => {
        $(
            impl $crate::stream::Destination for $name {
                fn stream(&self) -> &dyn $crate::stream::WritableStream {
                    self
                }
            }

            impl $crate::stream::Destination for &$name {
                fn stream(&self) -> &dyn $crate::stream::WritableStream {
                    *self
                }
            }
        )+
    };
}
pub(crate) use destinations;

destinations!(Writable, Duplex);

impl Destination for &dyn WritableStream {
    fn stream(&self) -> &dyn WritableStream {
        *self
    }
}

/// A listener of 'pipe' or 'unpipe'.
type PipeListener = dyn FnMut(Raw, &dyn ReadableStream);

/// What a stream knows of its pipes.
#[derive(Default)]
struct Ends {
    /// Where it is piped to, in the order of the calls.
    pipes: Vec<Rc<Pipe>>,
    /// Destinations whose 'drain' it waits for.
    await_drain: HashSet<StreamId>,
    /// Whether there was a second pipe (Node's kMultiAwaitDrain).
    awaits_several: bool,
    /// Listeners of 'pipe'.
    pipe: Slot<PipeListener>,
    /// Listeners of 'unpipe'.
    unpipe: Slot<PipeListener>,
    /// What is to be emitted, in its order: a step that ends a pipe may come before the tick that was to
    /// tell of its beginning.
    told: VecDeque<(PipeEvent, Rc<dyn ReadableStream>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum PipeEvent {
    Pipe,
    Unpipe,
}

/// Who is the cause: a call of the program, or the library itself, from a task.
#[derive(Clone, Copy, PartialEq)]
enum Cause {
    Call,
    Task,
}

impl Attachment for Ends {
    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
        if let Some(removed) = self.pipe.remove(id) {
            return Some(Box::new(removed));
        }
        Some(Box::new(self.unpipe.remove(id)?))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

const PIPE: SlotOf<PipeListener> =
    |entry, create| Some(&mut entry.attachment::<Ends>(create)?.pipe);
const UNPIPE: SlotOf<PipeListener> =
    |entry, create| Some(&mut entry.attachment::<Ends>(create)?.unpipe);

static TELL_ON_TICK: Work = told("'pipe' or 'unpipe'", tell);
static TELL_ON_STEP: Work = told("'unpipe'", tell);

/// Emits 'pipe' or 'unpipe'.
fn tell(core: &Core, id: Id) {
    let next = core.with(|state| {
        let ends = state.entry(id)?.attachment::<Ends>(false)?;
        ends.told.pop_front()
    });
    let Some((event, source)) = next else { return };
    let slot = match event {
        PipeEvent::Pipe => PIPE,
        PipeEvent::Unpipe => UNPIPE,
    };
    let raw = core.raw(id);
    core.emit(id, slot, |listener| listener(raw, &*source));
}

/// One pipe.
struct Pipe {
    source: Rc<dyn ReadableStream>,
    destination: Rc<dyn WritableStream>,
    /// Its listener of 'data'.
    data: Cell<ListenerId>,
    /// Its listeners at either end.
    at_source: RefCell<Vec<ListenerId>>,
    at_destination: RefCell<Vec<ListenerId>>,
    /// Whether it listens to 'drain'.
    listens_to_drain: Cell<bool>,
    /// Whether it is gone.
    cleaned_up: Cell<bool>,
}

/// Does something with what a stream knows of its pipes. None if the stream is gone.
fn with_ends<R>(stream: StreamId, act: impl FnOnce(&mut State, Id) -> Option<R>) -> Option<R> {
    table::with(stream.0, act).flatten()
}

fn ends(state: &mut State, id: Id) -> Option<&mut Ends> {
    state.entry(id)?.attachment::<Ends>(true)
}

/// Lays a pipe: what the program asks for with [`pipe`](super::pipe()), which says what it does, and what a
/// pipeline consists of.
pub fn pipe(source: &dyn ReadableStream, destination: &dyn WritableStream, options: PipeOptions) {
    let (from, to) = (source.stream_id(), destination.stream_id());
    let pipe = Rc::new(Pipe {
        source: source.to_readable(),
        destination: destination.to_writable(),
        data: Cell::new(ListenerId(0)),
        at_source: RefCell::default(),
        at_destination: RefCell::default(),
        listens_to_drain: Cell::new(false),
        cleaned_up: Cell::new(false),
    });
    let entered = with_ends(from, |state, id| {
        let ends = ends(state, id)?;
        ends.awaits_several |= ends.pipes.len() == 1;
        ends.pipes.push(pipe.clone());
        Some(())
    });
    if entered.is_none() {
        return;
    }
    pipe.at_end(options.end);
    let at_destination = [
        destination.watch_error(pipe.unpiping()),
        destination.listen(StreamEvent::Close, pipe.unpiping()),
        destination.listen(StreamEvent::Finish, pipe.unpiping()),
    ];
    pipe.at_destination.borrow_mut().extend(at_destination);
    // Before anybody listens to 'data': the tick that has it flow comes behind this one, as in Node, where
    // 'pipe' comes within the call.
    emit(to, PipeEvent::Pipe, pipe.source.clone(), Cause::Call);
    let it = pipe.clone();
    let data = source.listen_bytes(Box::new(move |chunk| it.on_data(chunk)));
    pipe.data.set(data);
    pipe.at_source.borrow_mut().push(data);
    if destination.writable_need_drain() {
        pipe.pause();
    } else if source.readable_flowing() != Some(true) {
        source.resume();
    }
}

/// Ends a pipe: Node's `source.unpipe(destination)`. Does nothing if there is no such pipe. The
/// source is paused if this was its last. The destination's 'unpipe' comes on the next tick.
pub fn unpipe(source: &dyn ReadableStream, destination: &dyn WritableStream) {
    unpipe_for(source, destination.stream_id(), Cause::Call);
}

/// Ends every pipe of a source, and pauses it: Node's `source.unpipe()`.
pub fn unpipe_all(source: &dyn ReadableStream) {
    let pipes = with_ends(source.stream_id(), |state, id| {
        let ends = state.entry(id)?.attachment::<Ends>(false)?;
        Some(std::mem::take(&mut ends.pipes))
    });
    let Some(pipes) = pipes.filter(|pipes| !pipes.is_empty()) else {
        return;
    };
    source.pause();
    for pipe in pipes {
        pipe.clean_up();
        let to = pipe.destination.stream_id();
        emit(to, PipeEvent::Unpipe, pipe.source.clone(), Cause::Call);
    }
}

fn unpipe_for(source: &dyn ReadableStream, to: StreamId, cause: Cause) {
    let found = with_ends(source.stream_id(), |state, id| {
        let ends = state.entry(id)?.attachment::<Ends>(false)?;
        let at = ends
            .pipes
            .iter()
            .position(|it| it.destination.stream_id() == to)?;
        let pipe = ends.pipes.remove(at);
        Some((pipe, ends.pipes.is_empty()))
    });
    let Some((pipe, was_last)) = found else {
        return;
    };
    if was_last {
        source.pause();
    }
    pipe.clean_up();
    emit(to, PipeEvent::Unpipe, pipe.source.clone(), cause);
}

/// Has 'pipe' or 'unpipe' emitted: what the program causes on a tick, what a task causes as its next
/// step.
fn emit(to: StreamId, event: PipeEvent, source: Rc<dyn ReadableStream>, cause: Cause) {
    with_ends(to, |state, id| {
        ends(state, id)?.told.push_back((event, source));
        match cause {
            Cause::Call => state.tick(id, &TELL_ON_TICK),
            Cause::Task => state.step(id, &TELL_ON_STEP),
        }
        Some(())
    });
}

pub(crate) fn on_pipe(
    stream: StreamId,
    mut listener: Box<dyn FnMut(&dyn ReadableStream)>,
) -> ListenerId {
    let call = shared(move |_: Raw, source: &dyn ReadableStream| listener(source));
    add_listener(stream.0, PIPE, call, false)
}

pub(crate) fn on_unpipe(
    stream: StreamId,
    mut listener: Box<dyn FnMut(&dyn ReadableStream)>,
) -> ListenerId {
    let call = shared(move |_: Raw, source: &dyn ReadableStream| listener(source));
    add_listener(stream.0, UNPIPE, call, false)
}

impl Diverter for Pipe {
    fn passed(self: Rc<Pipe>, more: bool) {
        self.forget_waits();
        if !more {
            self.pause();
        }
    }
}

impl Pipe {
    /// What happens when the source has ended (onend).
    fn at_end(self: &Rc<Pipe>, ends_destination: bool) {
        let pipe = self.clone();
        let at_end = move || {
            if pipe.cleaned_up.get() {
                return;
            }
            match ends_destination {
                true => pipe.destination.end_piped(),
                false => unpipe_for(&*pipe.source, pipe.destination.stream_id(), Cause::Task),
            }
        };
        if self.source.readable_ended() {
            self.source.event_loop().next_tick(move |_| at_end());
            return;
        }
        let mut ended = false;
        let end = Box::new(move || {
            if !std::mem::replace(&mut ended, true) {
                at_end();
            }
        });
        let id = self.source.listen(StreamEvent::End, end);
        self.at_source.borrow_mut().push(id);
    }

    /// A listener that ends the pipe.
    fn unpiping(self: &Rc<Pipe>) -> Box<dyn FnMut()> {
        let pipe = self.clone();
        Box::new(move || {
            if !pipe.cleaned_up.get() {
                let to = pipe.destination.stream_id();
                unpipe_for(&*pipe.source, to, Cause::Task);
                if !pipe.cleaned_up.get() {
                    // The source is gone.
                    pipe.clean_up();
                    emit(to, PipeEvent::Unpipe, pipe.source.clone(), Cause::Task);
                }
            }
        })
    }

    /// A chunk of the source (ondata).
    fn on_data(self: &Rc<Pipe>, chunk: DataChunk<'_>) {
        // One that was unpiped by this very chunk's listeners still gets it, as in Node.
        self.forget_waits();
        let is_large = chunk.as_slice().len() >= DIVERTS_FROM;
        if !self.destination.write_piped(chunk) {
            self.pause();
        }
        if is_large
            && !self.cleaned_up.get()
            && let Some(to) = self.destination.raw_end()
        {
            self.source.divert(self.data.get(), to, self.clone());
        }
    }

    /// Node forgets whom it waits for in front of each 'data'; the first pipe is called first.
    fn forget_waits(self: &Rc<Pipe>) {
        with_ends(self.source.stream_id(), |state, id| {
            let ends = state.entry(id)?.attachment::<Ends>(false)?;
            if ends.pipes.first().is_some_and(|it| Rc::ptr_eq(it, self)) {
                ends.await_drain.clear();
            }
            Some(())
        });
    }

    /// The destination has enough (pause).
    fn pause(self: &Rc<Pipe>) {
        if !self.cleaned_up.get() {
            let to = self.destination.stream_id();
            with_ends(self.source.stream_id(), |state, id| {
                let ends = ends(state, id)?;
                if ends.pipes.len() == 1 {
                    ends.await_drain.clear();
                    ends.awaits_several = false;
                }
                ends.await_drain.insert(to);
                Some(())
            });
            self.source.pause();
            if !self.listens_to_drain.replace(true) {
                let pipe = self.clone();
                let drained = Box::new(move || pipe.on_drain());
                let id = self.destination.listen(StreamEvent::Drain, drained);
                self.at_destination.borrow_mut().push(id);
            }
        }
    }

    /// The destination takes more: if no other is waited for the source flows (pipeOnDrain).
    fn on_drain(&self) {
        let to = self.destination.stream_id();
        let waits = with_ends(self.source.stream_id(), |state, id| {
            let waits = &mut state.entry(id)?.attachment::<Ends>(false)?.await_drain;
            waits.remove(&to);
            Some(!waits.is_empty())
        });
        if waits == Some(false) && self.source.is_listened_to() {
            self.source.resume();
        }
    }

    /// Its listeners go (cleanup).
    fn clean_up(&self) {
        self.cleaned_up.set(true);
        for id in self.at_source.take() {
            self.source.off(id);
        }
        for id in self.at_destination.take() {
            self.destination.off(id);
        }
        if self.listens_to_drain.get() {
            let awaits = with_ends(self.source.stream_id(), |state, id| {
                let ends = state.entry(id)?.attachment::<Ends>(false)?;
                Some(ends.awaits_several || !ends.await_drain.is_empty())
            });
            if awaits == Some(true) {
                // Nobody else should wait for it.
                self.on_drain();
            }
        }
    }
}
