//! Files as streams: the other half of `tests/oracle/files.cjs`.

use std::rc::Rc;

use nodeloop::ListenerId;
use nodeloop::fs::{self, ReadOptions, ReadStream, WriteOptions, WriteStream};
use nodeloop::stream::{ReadableStream, Stream, StreamEvent, WritableStream};

use super::net::label_of;
use super::paths::{path_of, shown};
use super::{Handle, Object, World, fail, say, show};
use crate::oracle::data::{Piece, bytes_of};
use crate::oracle::scenario::Action;

impl World {
    pub(super) fn read_file(self: &Rc<World>, name: &str, action: &Action) {
        let number = |key: &str| action.options.get(key).and_then(|it| it.parse().ok());
        let mut options = ReadOptions::new()
            .auto_close(!action.options.contains_key("keep_open"))
            .emit_close(!action.options.contains_key("silent_close"));
        if let Some(start) = number("start") {
            options = options.start(start);
        }
        if let Some(end) = number("end") {
            options = options.end(end);
        }
        if let Some(mark) = number("mark") {
            options = options.high_water_mark(mark as usize);
        }
        if let Some(flags) = action.options.get("flags") {
            options = options.flags(flags.parse().expect("the parser knows them"));
        }
        let path = path_of(&action.words[1]);
        let made = match action.options.contains_key("fd") {
            true => match std::fs::File::open(&path) {
                Ok(file) => ReadStream::from_file(&self.lp, file, options),
                Err(error) => fail(action, &error.to_string()),
            },
            false => fs::create_read_stream_with(&self.lp, path, options),
        };
        let stream = match made {
            Ok(stream) => stream,
            Err(error) => {
                return say(&format!("={name}\tthrows {}", show::error(&error)));
            }
        };
        let object = self.add_file(name, Handle::ReadFile(stream), action);
        let events = ["open", "ready", "data", "end", "resume", "error", "close"];
        self.follow_file(&object, &events);
    }

    pub(super) fn write_file(self: &Rc<World>, name: &str, action: &Action) {
        let number = |key: &str| action.options.get(key).and_then(|it| it.parse().ok());
        let mut options = WriteOptions::new()
            .flush(action.options.contains_key("flush"))
            .auto_close(!action.options.contains_key("keep_open"))
            .emit_close(!action.options.contains_key("silent_close"));
        if let Some(start) = number("start") {
            options = options.start(start);
        }
        if let Some(mark) = number("mark") {
            options = options.high_water_mark(mark as usize);
        }
        if let Some(flags) = action.options.get("flags") {
            options = options.flags(flags.parse().expect("the parser knows them"));
        }
        let path = path_of(&action.words[1]);
        let stream = match action.options.get("fd").map(String::as_str) {
            Some(flags) => {
                let file = std::fs::File::options()
                    .write(true)
                    .append(flags == "a")
                    .create(flags != "r+")
                    .truncate(flags == "w")
                    .open(&path);
                match file {
                    Ok(file) => WriteStream::from_file(&self.lp, file, options),
                    Err(error) => fail(action, &error.to_string()),
                }
            }
            None => fs::create_write_stream_with(&self.lp, path, options),
        };
        let object = self.add_file(name, Handle::WriteFile(stream), action);
        let events = ["open", "ready", "drain", "finish", "error", "close"];
        self.follow_file(&object, &events);
    }

    fn add_file(&self, name: &str, handle: Handle, action: &Action) -> Rc<Object> {
        let object = Rc::new(Object {
            options: action.options.clone(),
            ..Object::plain(name, handle)
        });
        self.add(&object);
        object
    }

    fn follow_file(self: &Rc<World>, object: &Rc<Object>, events: &[&str]) {
        for event in events {
            let off = [format!("{event}s"), event.to_string()];
            if !off.iter().any(|key| object.options.contains_key(key)) {
                self.listen_to_file(object, event, None);
            }
        }
    }

    fn listen_to_file(self: &Rc<World>, object: &Rc<Object>, event: &str, label: Option<&str>) {
        let (world, own) = (self.clone(), object.clone());
        let named = label.map(str::to_string);
        let name = event.to_string();
        let plain = move |text: Option<String>| {
            world.plain(&own, &name, named.as_deref(), text.as_deref());
        };
        let (world, own) = (self.clone(), object.clone());
        let named = label.map(str::to_string);
        let data = move |bytes: &[u8]| world.data(&own, "data", named.as_deref(), bytes);
        let world = self.clone();
        let name_of = move |from: &dyn ReadableStream| Some(world.name_of(from.stream_id()));
        let stream: Rc<dyn Stream> = match object.handle {
            Handle::ReadFile(file) => Rc::new(file),
            Handle::WriteFile(file) => Rc::new(file),
            _ => return,
        };
        let simple = match event {
            "readable" => Some(StreamEvent::Readable),
            "end" => Some(StreamEvent::End),
            "drain" => Some(StreamEvent::Drain),
            "finish" => Some(StreamEvent::Finish),
            "pause" => Some(StreamEvent::Pause),
            "resume" => Some(StreamEvent::Resume),
            "close" => Some(StreamEvent::Close),
            _ => None,
        };
        let id = match (event, object.handle) {
            ("open", Handle::ReadFile(file)) => file.on_open(move |_| plain(None)),
            ("open", Handle::WriteFile(file)) => file.on_open(move |_| plain(None)),
            ("ready", Handle::ReadFile(file)) => file.on_ready(move |_| plain(None)),
            ("ready", Handle::WriteFile(file)) => file.on_ready(move |_| plain(None)),
            ("data", Handle::ReadFile(file)) => file.listen_data(Box::new(data)),
            ("pipe", Handle::WriteFile(file)) => file.on_pipe(move |_, from| plain(name_of(from))),
            ("unpipe", Handle::WriteFile(file)) => {
                file.on_unpipe(move |_, from| plain(name_of(from)))
            }
            ("error", _) => {
                stream.listen_error(Box::new(move |error| plain(Some(show::error(error)))))
            }
            _ => match simple {
                Some(simple) => stream.listen(simple, Box::new(move || plain(None))),
                None => return,
            },
        };
        if let Some(label) = label {
            object.labels.borrow_mut().insert(label.into(), id);
        }
    }

    /// What both kinds can do. Returns whether it was that.
    fn file_stream_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        file: &dyn Stream,
    ) -> bool {
        match (action.verb.as_str(), action.words.first()) {
            ("destroy", None) => file.destroy(),
            ("destroy", Some(reason)) => file.destroy_for(nodeloop::Error::new(reason.as_str())),
            ("on", Some(event)) => self.listen_to_file(object, event, Some(label_of(action))),
            ("off", Some(label)) => {
                let id: Option<ListenerId> = object.labels.borrow().get(label).copied();
                match id {
                    Some(id) => file.off(id),
                    None => fail(action, "no listener is called so"),
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn read_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        file: ReadStream,
        it: &Rc<Object>,
    ) {
        if matches!(action.verb.as_str(), "pipe" | "unpipe") {
            self.piping_verb(action, object, it);
            return;
        }
        if self.file_stream_verb(action, object, &file) {
            return;
        }
        match (action.verb.as_str(), action.words.first()) {
            ("read", size) => {
                let chunk = match size.and_then(|size| size.parse().ok()) {
                    Some(size) => file.read(size),
                    None => file.read_chunk(),
                };
                match chunk {
                    Some(chunk) => self.show_data(object, "read", &chunk),
                    None => self.trace(object, "read nothing"),
                }
            }
            ("close", _) => file.close(),
            ("pause", _) => file.pause(),
            ("resume", _) => file.resume(),
            ("keep", _) => file.keep(),
            ("release", _) => file.release(),
            _ => fail(action, "a file that is read can't do that"),
        }
    }

    pub(super) fn write_verb(
        self: &Rc<World>,
        action: &Action,
        object: &Rc<Object>,
        file: WriteStream,
    ) {
        if self.file_stream_verb(action, object, &file) {
            return;
        }
        let then = action.options.get("then");
        let done = then.map(|name| -> Box<dyn FnOnce(nodeloop::Result<()>)> {
            Box::new(self.completion(object, name))
        });
        let data = action.words.first().map(|word| bytes_of(word));
        match action.verb.as_str() {
            "write" => {
                let more = file.write_chunk(data.unwrap_or_default().into(), done);
                self.trace(object, &format!("write returns {more}"));
            }
            "end" => file.end_stream(data.map(Into::into), done),
            "close" => file.close(),
            "cork" => file.cork(),
            "uncork" => file.uncork(),
            "keep" => file.keep(),
            "release" => file.release(),
            _ => fail(action, "a file that is written can't do that"),
        }
    }

    /// Bytes as they show, without an event.
    fn show_data(&self, object: &Object, what: &str, bytes: &[u8]) {
        say(&line_of(&object.name, what, bytes));
    }

    /// What is in a file.
    pub(super) fn content(&self, word: &str) {
        match std::fs::read(path_of(word)) {
            Ok(bytes) => say(&line_of(word, "content", &bytes)),
            Err(_) => say(&format!("={word}\tcontent ENOENT")),
        }
    }
}

fn line_of(name: &str, what: &str, bytes: &[u8]) -> String {
    let piece = Piece::of(bytes);
    let shown = piece.text.map(|text| text.replace('\n', "\\n"));
    let shown = shown.map_or(String::new(), |text| format!("\t{text}"));
    format!("~{name}\t{what}\t{}\t{}{shown}", piece.length, piece.hash)
}

/// A property's value, as `probe` shows it.
pub(super) fn property(handle: Handle, key: &str) -> Option<String> {
    let path = |path: Option<std::path::PathBuf>| match path {
        Some(path) => shown(&path.to_string_lossy()),
        None => "none".into(),
    };
    let stream: &dyn Stream = match &handle {
        Handle::ReadFile(file) => file,
        Handle::WriteFile(file) => file,
        _ => return None,
    };
    let common = match key {
        "destroyed" => stream.destroyed().to_string(),
        "closed" => stream.closed().to_string(),
        "errored" => match stream.errored() {
            Some(error) => error.code().unwrap_or("error").into(),
            None => "none".into(),
        },
        _ => match handle {
            Handle::ReadFile(file) => match key {
                "pending" => file.pending().to_string(),
                "path" => path(file.path()),
                "bytes_read" => file.bytes_read().to_string(),
                "readable_length" => file.readable_length().to_string(),
                "flowing" => match file.readable_flowing() {
                    Some(flowing) => flowing.to_string(),
                    None => "null".into(),
                },
                "paused" => file.is_paused().to_string(),
                "readable" => file.readable().to_string(),
                "readable_ended" => file.readable_ended().to_string(),
                _ => return None,
            },
            Handle::WriteFile(file) => match key {
                "pending" => file.pending().to_string(),
                "path" => path(file.path()),
                "bytes_written" => file.bytes_written().to_string(),
                "writable_length" => file.writable_length().to_string(),
                "need_drain" => file.writable_need_drain().to_string(),
                "writable" => file.writable().to_string(),
                "writable_ended" => file.writable_ended().to_string(),
                "writable_finished" => file.writable_finished().to_string(),
                _ => return None,
            },
            _ => return None,
        },
    };
    Some(common)
}
