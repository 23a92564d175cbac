//! Streams of a program's own, and pipes between streams of every kind. The other half of
//! `tests/oracle/streams.cjs`.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use nodeloop::LoopHandle;
use nodeloop::net::Socket;
use nodeloop::stream::{
    self, Done, Duplex, DuplexStream, FinishedOptions, PipeOptions, Readable, ReadableOptions,
    ReadableStream, Stream, StreamEvent, TransformDone, TransformOptions, Writable,
    WritableOptions, WritableStream,
};

use super::net::label_of;
use super::{Handle, Object, World, fail, say, show};
use crate::oracle::data::{Piece, bytes_of};
use crate::oracle::scenario::Action;

/// A stream of any kind but a socket.
#[derive(Clone, Copy)]
pub enum Any {
    Readable(Readable),
    Writable(Writable),
    Duplex(Duplex),
}

/// An answer that a sink or a transform owes.
pub enum Owed {
    Done(Done),
    Out(TransformDone, Vec<u8>),
}

impl Owed {
    fn give(self, failure: Option<&str>) {
        match (self, failure) {
            (Owed::Done(done), None) => done.ok(),
            (Owed::Done(done), Some(why)) => done.fail(why),
            (Owed::Out(done, out), None) => done.push(out),
            (Owed::Out(done, _), Some(why)) => done.fail(why),
        }
    }
}

/// Does something with a stream that has a readable side, or one that has a writable side.
macro_rules! on_side {
    (readable, $stream:expr, $it:ident => $act:expr) => {
        match $stream {
            Any::Readable($it) => Some($act),
            Any::Duplex($it) => Some($act),
            Any::Writable(_) => None,
        }
    };
    (writable, $stream:expr, $it:ident => $act:expr) => {
        match $stream {
            Any::Writable($it) => Some($act),
            Any::Duplex($it) => Some($act),
            Any::Readable(_) => None,
        }
    };
}

macro_rules! on_any {
    ($stream:expr, $it:ident => $act:expr) => {
        match $stream {
            Any::Readable($it) => $act,
            Any::Writable($it) => $act,
            Any::Duplex($it) => $act,
        }
    };
}

type Options = HashMap<String, String>;

fn mark(options: &Options) -> usize {
    let mark = options.get("mark").and_then(|mark| mark.parse().ok());
    mark.unwrap_or(stream::DEFAULT_HIGH_WATER_MARK)
}

fn now(lp: LoopHandle, options: &Options, act: impl FnOnce() + 'static) {
    match options.contains_key("later") {
        true => drop(lp.set_immediate(move |_| act())),
        false => act(),
    }
}

impl World {
    /// Gives a stream's options its own destroy, if the scenario wants one.
    fn make_stream(self: &Rc<World>, verb: &str, action: &Action) {
        let name = action.words[0].as_str();
        let options = action.options.clone();
        let named = name.to_string();
        let given = Rc::new((name.to_string(), options.clone()));
        let own_destroy = options.contains_key("own_destroy");
        let destroys = move |error: Option<nodeloop::Error>, done: Done| {
            let shown = error.as_ref().map_or("ok".into(), show::error);
            say(&format!("={named}_own\tdestroy {shown}"));
            done.result(error.map_or(Ok(()), Err));
        };
        let stream = match verb {
            "source" => {
                let words = action.words[1..].iter();
                let mut chunks: VecDeque<Vec<u8>> = words.map(|word| bytes_of(word)).collect();
                let opts = ReadableOptions::new().high_water_mark(mark(&options)).read(
                    move |stream, _| {
                        if chunks.is_empty() && options.contains_key("open") {
                            return;
                        }
                        let chunk = chunks.pop_front();
                        now(stream.event_loop(), &options, move || match chunk {
                            Some(chunk) => drop(stream.push(chunk)),
                            None => stream.push_end(),
                        });
                    },
                );
                let opts = match own_destroy {
                    true => opts.destroy(move |_, error, done| destroys(error, done)),
                    false => opts,
                };
                Any::Readable(opts.create(&self.lp))
            }
            "sink" => {
                let opts = WritableOptions::new().high_water_mark(mark(&options));
                let (world, own) = (self.clone(), given.clone());
                let mut opts = opts.write(move |_, chunk, done| {
                    let object = world.find_named(&own.0);
                    bytes_line(&format!("{}_own", object.name), "takes", &chunk);
                    world.happen(&object, "takes", &object, 0);
                    world.owe(&object, &own.1, Owed::Done(done));
                });
                if options.contains_key("writev") {
                    let (world, own) = (self.clone(), given.clone());
                    opts = opts.writev(move |_, chunks: Vec<Bytes>, done| {
                        let object = world.find_named(&own.0);
                        say(&format!(
                            "={}_own\ttakes {} chunks",
                            object.name,
                            chunks.len()
                        ));
                        world.happen(&object, "takes", &object, 0);
                        world.owe(&object, &own.1, Owed::Done(done));
                    });
                }
                if options.contains_key("final") {
                    let (world, own) = (self.clone(), given.clone());
                    opts = opts.finalize(move |_, done| {
                        let object = world.find_named(&own.0);
                        say(&format!("={}_own\tfinal", object.name));
                        world.owe(&object, &own.1, Owed::Done(done));
                    });
                }
                if own_destroy {
                    opts = opts.destroy(move |_, error, done| destroys(error, done));
                }
                Any::Writable(opts.create(&self.lp))
            }
            _ => {
                let opts = TransformOptions::new()
                    .high_water_mark(mark(&options))
                    .allow_half_open(!options.contains_key("closes"));
                let (world, own) = (self.clone(), given.clone());
                let mut opts = opts.transform(move |_, chunk, done| {
                    let object = world.find_named(&own.0);
                    let out = match own.1.contains_key("upper") {
                        true => chunk.to_ascii_uppercase(),
                        false => chunk.to_vec(),
                    };
                    world.owe(&object, &own.1, Owed::Out(done, out));
                });
                if let Some(flush) = options.get("flush").cloned() {
                    opts = opts.flush(move |_, done| done.push(flush.as_str()));
                }
                if own_destroy {
                    opts = opts.destroy(move |_, error, done| destroys(error, done));
                }
                Any::Duplex(opts.create(&self.lp))
            }
        };
        let object = Object::new(name, Handle::Stream(stream));
        self.add(&object);
        let mut always = Vec::new();
        if !matches!(stream, Any::Writable(_)) {
            always.extend(["end", "resume"]);
        }
        if !matches!(stream, Any::Readable(_)) {
            always.extend(["drain", "finish", "pipe", "unpipe"]);
        }
        always.push("close");
        if !action.options.contains_key("errors") {
            always.push("error");
        }
        for event in always {
            self.listen_to_stream(&object, stream, event, None, false);
        }
    }

    fn find_named(&self, name: &str) -> Rc<Object> {
        self.objects.borrow()[name].clone()
    }

    /// A sink or a transform has something: it answers, or owes the answer.
    fn owe(&self, object: &Rc<Object>, options: &Options, owed: Owed) {
        if options.contains_key("hold") {
            object.owed.borrow_mut().push_back(owed);
            return;
        }
        let failure = options.get("fail").cloned();
        now(self.lp, options, move || owed.give(failure.as_deref()));
    }

    pub(super) fn stream_loop_verb(self: &Rc<World>, action: &Action, it: &Rc<Object>) {
        let then = action.options.get("then");
        match action.verb.as_str() {
            "pipeline" => {
                let found = action.words.iter().map(|name| self.find(action, name, it));
                let objects: Vec<_> = found.collect();
                let done = self.completion(&objects[0], then.map_or("done", String::as_str));
                let [first, middle @ .., last] = objects.as_slice() else {
                    fail(action, "a pipeline has two streams at least");
                };
                let middle: Vec<_> = middle.iter().map(|it| duplex(action, it.handle)).collect();
                let middle: Vec<&dyn DuplexStream> = middle.iter().map(|it| &**it).collect();
                let first = readable(action, first.handle);
                let last = writable(action, last.handle);
                stream::pipeline(&*first, &middle, &*last, done);
            }
            "finished" => {
                let object = self.find(action, &action.words[0], it);
                let mut options = FinishedOptions::new();
                if action.options.contains_key("readable") {
                    options = options.readable(false);
                }
                if action.options.contains_key("writable") {
                    options = options.writable(false);
                }
                let done = self.completion(&object, then.map_or("done", String::as_str));
                stream::finished(&*any(action, object.handle), options, done);
            }
            verb => self.make_stream(verb, action),
        }
    }

    /// What sockets and streams have in common. Returns false if the verb is another.
    pub(super) fn piping_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        it: &Rc<Object>,
    ) -> bool {
        let number = action.words.first().and_then(|word| word.parse().ok());
        match action.verb.as_str() {
            "pipe" => {
                let to = self.find(action, &action.words[0], it);
                let options = PipeOptions::new().end(!action.options.contains_key("end"));
                let (from, to) = (readable(action, object.handle), writable(action, to.handle));
                stream::pipe(&*from, &*to, options);
            }
            "unpipe" => {
                let from = readable(action, object.handle);
                match action.words.first() {
                    Some(name) => {
                        let to = self.find(action, name, it);
                        stream::unpipe(&*from, &*writable(action, to.handle));
                    }
                    None => stream::unpipe_all(&*from),
                }
            }
            "read" => match read(object.handle, number) {
                Some(chunk) => bytes_line(&object.name, "read", &chunk),
                None => self.trace(object, "read nothing"),
            },
            "read_all" => {
                while let Some(chunk) = read(object.handle, None) {
                    bytes_line(&object.name, "read", &chunk);
                }
            }
            "unshift" => {
                let bytes = bytes_of(&action.words[0]);
                match object.handle {
                    Handle::Socket(socket) => drop(socket.unshift(bytes)),
                    Handle::Stream(stream) => {
                        on_side!(readable, stream, it => it.unshift(bytes));
                    }
                    _ => {}
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn stream_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        stream: Any,
        it: &Rc<Object>,
    ) {
        if self.piping_verb(action, object, it) {
            return;
        }
        let then = action.options.get("then");
        let done = then.map(|name| self.completion(object, name));
        let data = action.words.first().map(|word| bytes_of(word));
        match (action.verb.as_str(), data) {
            ("write", data) => {
                let data = data.unwrap_or_default();
                let more = on_side!(writable, stream, it => match done {
                    Some(done) => it.write_then(data, done),
                    None => it.write(data),
                });
                self.trace(object, &format!("write returns {}", more == Some(true)));
            }
            ("end", data) => {
                on_side!(writable, stream, it => match (data, done) {
                    (None, None) => it.end(),
                    (None, Some(done)) => it.end_then(done),
                    (Some(data), None) => it.end_with(data),
                    (Some(data), Some(done)) => it.end_with_then(data, done),
                });
            }
            ("push", data) => {
                let data = data.unwrap_or_default();
                let more = on_side!(readable, stream, it => it.push(data));
                self.trace(object, &format!("push returns {}", more == Some(true)));
            }
            ("push_end", _) => drop(on_side!(readable, stream, it => it.push_end())),
            ("answer", _) => {
                let owed = object.owed.borrow_mut().pop_front();
                let failure = action.words.first().map(String::as_str);
                match owed {
                    Some(owed) => owed.give(failure),
                    None => fail(action, "nothing is to be answered"),
                }
            }
            ("pause", _) => drop(on_side!(readable, stream, it => it.pause())),
            ("resume", _) => drop(on_side!(readable, stream, it => it.resume())),
            ("cork", _) => drop(on_side!(writable, stream, it => it.cork())),
            ("uncork", _) => drop(on_side!(writable, stream, it => it.uncork())),
            ("destroy", None) => on_any!(stream, it => it.destroy()),
            ("destroy", Some(_)) => {
                on_any!(stream, it => it.destroy_with(action.words[0].as_str()));
            }
            ("keep", _) => on_any!(stream, it => it.keep()),
            ("release", _) => on_any!(stream, it => it.release()),
            ("on" | "once", _) => {
                let once = action.verb == "once";
                let label = label_of(action);
                self.listen_to_stream(object, stream, &action.words[0], Some(label), once);
            }
            ("off", _) => match object.labels.borrow().get(&action.words[0]) {
                Some(id) => on_any!(stream, it => it.off(*id)),
                None => fail(action, "no listener is called so"),
            },
            _ => fail(action, "this interpreter does not know the verb"),
        }
    }

    fn listen_to_stream(
        self: &Rc<World>,
        object: &Rc<Object>,
        stream: Any,
        event: &str,
        label: Option<&str>,
        once: bool,
    ) {
        let (world, own) = (self.clone(), object.clone());
        let named = label.map(str::to_string);
        let kind = event.to_string();
        let plain = move |text: Option<String>| {
            world.plain(&own, &kind, named.as_deref(), text.as_deref());
        };
        let (world, own) = (self.clone(), object.clone());
        let named = label.map(str::to_string);
        let data = move |bytes: &[u8]| world.data(&own, "data", named.as_deref(), bytes);
        let world = self.clone();
        let name_of = move |id| Some(world.name_of(id));
        let handle = any_of(stream);
        let id = match (event, once) {
            ("data", true) => {
                on_side!(readable, stream, it => it.once_data(move |_, bytes| data(bytes)))
            }
            ("data", false) => {
                on_side!(readable, stream, it => it.on_data(move |_, bytes| data(bytes)))
            }
            ("readable", true) => {
                on_side!(readable, stream, it => it.once_readable(move |_| plain(None)))
            }
            ("pipe", _) => {
                let told = move |from: &dyn ReadableStream| plain(name_of(from.stream_id()));
                on_side!(writable, stream, it => it.on_pipe(move |_, from| told(from)))
            }
            ("unpipe", _) => {
                let told = move |from: &dyn ReadableStream| plain(name_of(from.stream_id()));
                on_side!(writable, stream, it => it.on_unpipe(move |_, from| told(from)))
            }
            ("error", _) => Some(handle.listen_error(Box::new(move |error| {
                plain(Some(show::error(error)));
            }))),
            (event, _) => {
                let event = match event {
                    "readable" => StreamEvent::Readable,
                    "end" => StreamEvent::End,
                    "pause" => StreamEvent::Pause,
                    "resume" => StreamEvent::Resume,
                    "drain" => StreamEvent::Drain,
                    "finish" => StreamEvent::Finish,
                    _ => StreamEvent::Close,
                };
                Some(handle.listen(event, Box::new(move || plain(None))))
            }
        };
        if let (Some(label), Some(id)) = (label, id) {
            object.labels.borrow_mut().insert(label.into(), id);
        }
    }

    /// Further events of a socket. None if it is another.
    pub(super) fn listen_to_pipes(
        self: &Rc<World>,
        object: &Rc<Object>,
        socket: Socket,
        event: &str,
        label: Option<&str>,
    ) -> bool {
        let (world, own) = (self.clone(), object.clone());
        let named = label.map(str::to_string);
        let kind = event.to_string();
        let plain = move |text: Option<String>| {
            world.plain(&own, &kind, named.as_deref(), text.as_deref());
        };
        let world = self.clone();
        let name_of = move |id| Some(world.name_of(id));
        let id = match event {
            "readable" => socket.on_readable(move |_| plain(None)),
            "pipe" => socket.on_pipe(move |_, from| plain(name_of(from.stream_id()))),
            "unpipe" => socket.on_unpipe(move |_, from| plain(name_of(from.stream_id()))),
            _ => return false,
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
        true
    }

    pub(super) fn name_of(&self, id: stream::StreamId) -> String {
        let objects = self.objects.borrow();
        let is_it = |object: &&Rc<Object>| match object.handle {
            Handle::Socket(socket) => socket.stream_id() == id,
            Handle::Stream(stream) => any_of(stream).stream_id() == id,
            Handle::ReadFile(file) => file.stream_id() == id,
            Handle::WriteFile(file) => file.stream_id() == id,
            _ => false,
        };
        let found = objects.values().find(is_it);
        found.map_or("nobody".into(), |object| object.name.clone())
    }
}

/// Bytes, in a line that is not an event.
fn bytes_line(name: &str, what: &str, bytes: &[u8]) {
    let piece = Piece::of(bytes);
    let shown = piece.text.map(|text| text.replace('\n', "\\n"));
    let shown = shown.map_or(String::new(), |text| format!("\t{text}"));
    let (length, hash) = (piece.length, piece.hash);
    say(&format!("~{name}\t{what}\t{length}\t{hash}{shown}"));
}

/// A property's value.
pub fn property(stream: Any, key: &str) -> String {
    let handle = any_of(stream);
    match key {
        "destroyed" => handle.destroyed().to_string(),
        "closed" => handle.closed().to_string(),
        "readable" => handle.is_readable().to_string(),
        "writable" => handle.is_writable().to_string(),
        "errored" => handle.errored().map_or("none".into(), |error| {
            error.code().unwrap_or("error").to_string()
        }),
        "readable_ended" => handle.readable_ended().to_string(),
        "writable_ended" => handle.writable_ended().to_string(),
        "writable_finished" => handle.writable_finished().to_string(),
        "readable_length" => show_side(on_side!(readable, stream, it => it.readable_length())),
        "writable_length" => show_side(on_side!(writable, stream, it => it.writable_length())),
        "need_drain" => show_side(on_side!(writable, stream, it => it.writable_need_drain())),
        "corked" => show_side(on_side!(writable, stream, it => it.writable_corked())),
        "paused" => show_side(on_side!(readable, stream, it => it.is_paused())),
        _ => {
            let flowing = on_side!(readable, stream, it => it.readable_flowing());
            flowing
                .flatten()
                .map_or("null".into(), |flows| flows.to_string())
        }
    }
}

fn show_side<T: ToString>(value: Option<T>) -> String {
    value.map_or("undefined".into(), |value| value.to_string())
}

fn read(handle: Handle, size: Option<usize>) -> Option<Bytes> {
    match (handle, size) {
        (Handle::Socket(socket), Some(size)) => socket.read(size),
        (Handle::Socket(socket), None) => socket.read_chunk(),
        (Handle::Stream(stream), Some(size)) => {
            on_side!(readable, stream, it => it.read(size)).flatten()
        }
        (Handle::Stream(stream), None) => {
            on_side!(readable, stream, it => it.read_chunk()).flatten()
        }
        _ => None,
    }
}

fn any_of(stream: Any) -> Box<dyn Stream> {
    on_any!(stream, it => Box::new(it))
}

fn any(action: &Action, handle: Handle) -> Box<dyn Stream> {
    match handle {
        Handle::Socket(socket) => Box::new(socket),
        Handle::Stream(stream) => any_of(stream),
        Handle::ReadFile(file) => Box::new(file),
        Handle::WriteFile(file) => Box::new(file),
        _ => fail(action, "not a stream"),
    }
}

fn readable(action: &Action, handle: Handle) -> Box<dyn ReadableStream> {
    match handle {
        Handle::Socket(socket) => Box::new(socket),
        Handle::Stream(Any::Readable(stream)) => Box::new(stream),
        Handle::Stream(Any::Duplex(stream)) => Box::new(stream),
        Handle::ReadFile(file) => Box::new(file),
        _ => fail(action, "nothing can be read from it"),
    }
}

fn writable(action: &Action, handle: Handle) -> Box<dyn WritableStream> {
    match handle {
        Handle::Socket(socket) => Box::new(socket),
        Handle::Stream(Any::Writable(stream)) => Box::new(stream),
        Handle::Stream(Any::Duplex(stream)) => Box::new(stream),
        Handle::WriteFile(file) => Box::new(file),
        _ => fail(action, "nothing can be written to it"),
    }
}

fn duplex(action: &Action, handle: Handle) -> Box<dyn DuplexStream> {
    match handle {
        Handle::Socket(socket) => Box::new(socket),
        Handle::Stream(Any::Duplex(stream)) => Box::new(stream),
        _ => fail(action, "it has one side only"),
    }
}
