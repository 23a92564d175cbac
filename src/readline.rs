//! Lines of text: Node's `readline`.
//!
//! ```no_run
//! use nodeloop::{readline, stdio, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let lines = readline::create_interface_with(&stdio::stdin(&lp), &stdio::stdout(&lp));
//! lines.question("Who are you? ", move |name| {
//!     println!("Hello {name}, what else?");
//!     lines.prompt();
//!     lines.on_line(|lines, line| match line {
//!         "quit" => lines.close(),
//!         line => {
//!             println!("You said {line}.");
//!             lines.prompt();
//!         }
//!     });
//! })?;
//! lines.on_close(|_| println!("bye"));
//! lp.run()
//! # }
//! ```
//!
//! A line ends with `\n`, `\r\n`, `\r`, U+2028 or U+2029, however the input is cut into chunks;
//! text after the last line end is a line, too. The text is UTF-8; invalid bytes become U+FFFD.
//!
//! # Lines of a socket
//!
//! ```
//! use nodeloop::{net, readline, Loop};
//!
//! # fn main() -> nodeloop::Result<()> {
//! let lp = Loop::new()?;
//! let server = net::create_server(&lp, |socket| {
//!     let lines = readline::create_interface_with(&socket, &socket);
//!     lines.on_line(move |lines, line| {
//!         socket.write(format!("{} bytes\n", line.len()));
//!         lines.prompt();
//!     });
//!     // The socket's error is the interface's too: each wants a listener.
//!     socket.on_error(|_, error| eprintln!("{error}"));
//!     lines.on_error(|_, _| ());
//!     socket.on_close(|_, _| println!("gone"));
//! });
//! server.listen(("127.0.0.1", 0))?;
//! # server.close();
//! lp.run()
//! # }
//! ```
//!
//! An error of the input is also an error of the interface, whether or not the input has a listener
//! for it. Unless the interface has one, too, a peer that resets its connection ends
//! [`run`](crate::Loop::run), and with it a server, as in Node.
//!
//! The interface's 'close' follows the input's 'end', so it does not come when a socket fails or is
//! destroyed: to notice that, listen to 'close' of the socket.
//!
//! A line may be as long as the peer likes, and is held until it ends. If you don't trust the
//! peers, split lines yourself in 'data', with a limit.
//!
//! # Terminals
//!
//! A terminal keeps its mode: input comes line by line, edited by the terminal. (Node's `readline`
//! puts the terminal into raw mode and does the editing itself, with a history and completion.)

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::event_loop::api::AsLoop;
use crate::event_loop::core::SlotOf;
use crate::event_loop::entry::{Entry, flag};
use crate::event_loop::extension::{
    Extension, Object, Work, WorkOf, add_listener, quiet, remove_listener, told,
};
use crate::event_loop::handle::{Id, LoopHandle, Raw};
use crate::event_loop::info::HandleKind;
use crate::event_loop::state::State;
use crate::event_loop::table;
use crate::ground::error::{Error, Result};
use crate::ground::lines::Lines;
use crate::ground::listeners::{ListenerId, Slot, shared};
use crate::ground::millis::Millis;
use crate::ground::spare::give_back;
use crate::stream::{ReadableStream, StreamEvent, WritableStream};

/// The default prompt: Node's.
pub const DEFAULT_PROMPT: &str = "> ";

/// Lines of a stream: Node's `readline.Interface`.
///
/// It belongs to its loop; the handle is a `Copy` name for it, of 16 bytes. Dropping it does nothing, and
/// a call on one that is closed does nothing.
///
/// As in Node, an input that closes before its end, such as a connection that was reset, does not
/// close the interface. The interface is gone on the next tick.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interface(Raw);

/// The state of an interface.
struct InterfaceState {
    lines: Lines,
    input: Rc<dyn ReadableStream>,
    prompts: Option<Rc<dyn WritableStream>>,
    prompt: String,
    /// Who waits for the next line.
    question: Option<Question>,
    /// What is told next.
    told: VecDeque<Told>,
    /// Its listeners at the input.
    at_input: Vec<ListenerId>,
    paused: bool,
    closed: bool,
    /// 'close' was emitted.
    over: bool,
    line: Slot<dyn FnMut(Raw, &str)>,
    close: Slot<dyn FnMut(Raw)>,
    pause: Slot<dyn FnMut(Raw)>,
    resume: Slot<dyn FnMut(Raw)>,
    error: Slot<dyn FnMut(Raw, &Error)>,
}

/// A question that was asked.
struct Question {
    call: Box<dyn FnOnce(&str)>,
    /// The prompt that is back when it is answered.
    prompt: String,
}

/// What an interface tells.
enum Told {
    Line(String),
    Error(Error),
    /// The input has ended: it closes.
    End,
}

/// How something is emitted: by [`State::tick`] for a call of the program, by [`State::step`] for the end of the
/// input, so that whoever listens may still write before a socket ends itself (N123).
type Emit = fn(&mut State, Id, WorkOf);

macro_rules! slots {
    ($($slot:ident: $field:ident, $listener:ty;)+) => {
        $(const $slot: SlotOf<$listener> = |entry, _| match entry {
            Entry::Extension(it) => Some(&mut it.downcast::<InterfaceState>()?.$field),
            _ => None,
        };)+
    };
}

slots! {
    LINE: line, dyn FnMut(Raw, &str);
    CLOSE: close, dyn FnMut(Raw);
    PAUSE: pause, dyn FnMut(Raw);
    RESUME: resume, dyn FnMut(Raw);
    ERROR: error, dyn FnMut(Raw, &Error);
}

impl Object for InterfaceState {
    fn is_over(&self) -> bool {
        self.over && self.told.is_empty()
    }

    fn remove_listener(&mut self, id: ListenerId) -> Option<Box<dyn Any>> {
        macro_rules! remove {
            ($($slot:expr),+) => {
                $(if let Some(removed) = $slot.remove(id) {
                    return Some(Box::new(removed));
                })+
            };
        }
        remove!(self.line, self.close, self.pause, self.resume, self.error);
        None
    }

    fn activity(&self) -> String {
        "reading lines".to_string()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// The next thing that it has to tell.
static TELL: Work = told("'line'", |core, id| {
    let raw = core.raw(id);
    let next = core.with(|state| {
        let it = interface(state, id)?;
        let told = it.told.pop_front()?;
        give_back(&mut it.told);
        let question = match told {
            Told::Line(_) => it.question.take(),
            Told::Error(_) | Told::End => None,
        };
        Some((told, question))
    });
    match next {
        Some((Told::Line(line), Some(question))) => {
            Interface(raw).set_prompt(&question.prompt);
            (question.call)(&line);
        }
        Some((Told::Line(line), None)) => {
            core.emit(id, LINE, |listener| listener(raw, &line));
        }
        Some((Told::Error(error), _)) => {
            let heard = core.emit(id, ERROR, |listener| listener(raw, &error));
            if !heard {
                core.uncaught(error);
            }
        }
        Some((Told::End, _)) => Interface(raw).close_by(State::step),
        None => {}
    }
});

static EMIT_PAUSE: Work = told("'pause'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, PAUSE, |listener| listener(raw));
});

static EMIT_RESUME: Work = told("'resume'", |core, id| {
    let raw = core.raw(id);
    core.emit(id, RESUME, |listener| listener(raw));
});

static EMIT_CLOSE: Work = told("'close'", |core, id| {
    let raw = core.raw(id);
    core.with(|state| {
        if let Some(it) = interface(state, id) {
            it.over = true;
        }
        state.reap(id);
    });
    core.emit(id, CLOSE, |listener| listener(raw));
});

/// Nothing is to come: it is gone, without a 'close', unless that is on its way.
static GONE: Work = quiet("an interface whose input was closed", |core, id| {
    core.with(|state| {
        if let Some(it) = interface(state, id)
            && !it.closed
        {
            it.over = true;
            state.reap(id);
        }
    });
});

fn interface(state: &mut State, id: Id) -> Option<&mut InterfaceState> {
    state.extension(id)
}

fn with<R>(raw: Raw, act: impl FnOnce(&mut InterfaceState) -> R) -> Option<R> {
    table::with(raw, |state, id| Some(act(interface(state, id)?))).flatten()
}

/// Reads lines: Node's `readline.createInterface({input})`. The input flows from now on.
///
/// ```
/// use nodeloop::{fs, readline, Loop};
///
/// # fn main() -> nodeloop::Result<()> {
/// let lp = Loop::new()?;
/// let lines = readline::create_interface(&fs::create_read_stream(&lp, "Cargo.toml"));
/// lines.once_line(|_, line| assert_eq!(line, "[package]"));
/// lp.run()
/// # }
/// ```
#[track_caller]
pub fn create_interface(input: &(impl ReadableStream + ?Sized)) -> Interface {
    create(input.to_readable(), None, Location::caller())
}

/// Reads lines, and writes prompts to an output: Node's `readline.createInterface({input,
/// output})`.
#[track_caller]
pub fn create_interface_with(
    input: &(impl ReadableStream + ?Sized),
    output: &(impl WritableStream + ?Sized),
) -> Interface {
    let output = output.to_writable();
    create(input.to_readable(), Some(output), Location::caller())
}

fn create(
    input: Rc<dyn ReadableStream>,
    prompts: Option<Rc<dyn WritableStream>>,
    origin: &'static Location<'static>,
) -> Interface {
    let lp = input.event_loop();
    let mut object = Some(InterfaceState {
        lines: Lines::new(0),
        input: input.clone(),
        prompts,
        prompt: DEFAULT_PROMPT.to_string(),
        question: None,
        told: VecDeque::new(),
        at_input: Vec::new(),
        paused: false,
        closed: false,
        over: false,
        line: Slot::Empty,
        close: Slot::Empty,
        pause: Slot::Empty,
        resume: Slot::Empty,
        error: Slot::Empty,
    });
    let id = lp.with(|state| {
        let object = Box::new(object.take()?);
        Some(state.insert(flag::REFERENCED, origin, |common| {
            Entry::Extension(Box::new(Extension {
                common,
                kind: HandleKind::Interface,
                requests: 0,
                attached: None,
                object,
            }))
        }))
    });
    let raw = lp.raw(id.flatten());
    let at_input = vec![
        input.listen_error(Box::new(move |error| {
            tell(raw, [Told::Error(error.clone())])
        })),
        input.listen_data(Box::new(move |bytes| feed(raw, bytes))),
        input.listen(StreamEvent::End, Box::new(move || end(raw))),
        input.listen(StreamEvent::Close, Box::new(move || input_closed(raw))),
    ];
    with(raw, |it| it.at_input = at_input);
    if input.closed() {
        input_closed(raw);
    }
    // It flows, even if it was paused.
    input.resume();
    Interface(raw)
}

/// Bytes have come.
fn feed(raw: Raw, bytes: &[u8]) {
    let lines = table::with(raw, |state, id| {
        let now_ms = state.now_ms();
        Some(interface(state, id)?.lines.push(bytes, now_ms))
    });
    tell(
        raw,
        lines
            .flatten()
            .unwrap_or_default()
            .into_iter()
            .map(Told::Line),
    );
}

/// The input has ended.
fn end(raw: Raw) {
    let last = with(raw, |it| it.lines.finish()).flatten();
    tell(raw, last.map(Told::Line));
    tell(raw, [Told::End]);
}

/// The input was closed. Who closes the interface for that, in a listener of the same event, still gets its
/// 'close'.
fn input_closed(raw: Raw) {
    table::with(raw, |state, id| state.tick(id, &GONE));
}

/// Has something told when the input's listener has returned.
fn tell(raw: Raw, told: impl IntoIterator<Item = Told>) {
    table::with(raw, |state, id| {
        for told in told {
            if let Some(it) = interface(state, id) {
                it.told.push_back(told);
                state.step(id, &TELL);
            }
        }
    });
}

impl Interface {
    /// Asks a question: Node's `rl.question`.
    ///
    /// Writes `query` to the output, and calls `answer` with the next line, which is not emitted as
    /// 'line'. While another question waits, that one is asked again and this one is dropped, as in
    /// Node.
    ///
    /// # Errors
    /// - `ERR_USE_AFTER_CLOSE` if it is closed.
    pub fn question(self, query: &str, answer: impl FnOnce(&str) + 'static) -> Result<()> {
        let mut call: Option<Box<dyn FnOnce(&str)>> = Some(Box::new(answer));
        let asked = with(self.0, |it| {
            if it.closed {
                return false;
            }
            if it.question.is_none()
                && let Some(call) = call.take()
            {
                let prompt = std::mem::replace(&mut it.prompt, query.to_string());
                it.question = Some(Question { call, prompt });
            }
            true
        });
        match asked {
            Some(true) => {
                self.prompt();
                Ok(())
            }
            _ => Err(Error::library("ERR_USE_AFTER_CLOSE", "readline was closed")),
        }
    }

    /// Writes the prompt to the output, and lets the input flow: Node's `rl.prompt`.
    pub fn prompt(self) {
        self.resume();
        let written = with(self.0, |it| {
            (!it.closed).then(|| (it.prompts.clone(), it.prompt.clone()))
        });
        if let Some((Some(prompts), prompt)) = written.flatten() {
            prompts.write_chunk(prompt.into(), None);
        }
    }

    /// Sets the prompt: Node's `rl.setPrompt`. It is [`DEFAULT_PROMPT`] at first.
    pub fn set_prompt(self, prompt: &str) {
        with(self.0, |it| it.prompt = prompt.to_string());
    }

    /// The prompt: Node's `rl.getPrompt`. While a question waits it is the question.
    pub fn get_prompt(self) -> String {
        with(self.0, |it| it.prompt.clone()).unwrap_or_default()
    }

    /// Sets how long after a `\r` a `\n` in the next chunk still belongs to it (milliseconds or a
    /// `Duration`; at least 100 ms): Node's `crlfDelay`.
    pub fn set_crlf_delay(self, time: impl Into<Millis>) {
        let ms = time.into().get();
        with(self.0, |it| it.lines.set_crlf_delay(ms));
    }

    /// Pauses the input: Node's `rl.pause`. Lines of a chunk that was read already still come.
    /// 'pause' comes on the next tick.
    pub fn pause(self) {
        self.pause_by(State::tick);
    }

    fn pause_by(self, emit: Emit) {
        let input = with(self.0, |it| {
            let pauses = !it.paused && !it.closed;
            it.paused |= pauses;
            pauses.then(|| it.input.clone())
        });
        if let Some(input) = input.flatten() {
            input.pause();
            table::with(self.0, |state, id| emit(state, id, &EMIT_PAUSE));
        }
    }

    /// Lets the input flow: Node's `rl.resume`. 'resume' comes on the next tick.
    pub fn resume(self) {
        let input = with(self.0, |it| {
            let resumes = it.paused && !it.closed;
            it.paused &= !resumes;
            resumes.then(|| it.input.clone())
        });
        if let Some(input) = input.flatten() {
            input.resume();
            table::with(self.0, |state, id| state.tick(id, &EMIT_RESUME));
        }
    }

    /// Closes the interface: Node's `rl.close`. The input is paused, and free for other uses. Lines
    /// of a chunk that was read already still come, as in Node. 'close' comes on the next tick, or,
    /// if called for the last line of an input that has ended, as at the end of the input.
    pub fn close(self) {
        let ends = with(self.0, |it| matches!(it.told.back(), Some(Told::End)));
        self.close_by(match ends {
            Some(true) => State::step,
            _ => State::tick,
        });
    }

    fn close_by(self, emit: Emit) {
        self.pause_by(emit);
        let ended = with(self.0, |it| {
            if std::mem::replace(&mut it.closed, true) {
                return None;
            }
            Some((it.input.clone(), std::mem::take(&mut it.at_input)))
        });
        let Some((input, at_input)) = ended.flatten() else {
            return;
        };
        for id in at_input {
            input.off(id);
        }
        table::with(self.0, |state, id| emit(state, id, &EMIT_CLOSE));
    }

    /// Whether it is closed: Node's `rl.closed`. True once it is gone.
    pub fn closed(self) -> bool {
        with(self.0, |it| it.closed).unwrap_or(true)
    }
}

/// Listeners.
impl Interface {
    /// Adds a listener for 'line': a line without its line end. It comes in the same loop callback
    /// as the input's 'data', after that.
    pub fn on_line(self, mut listener: impl FnMut(Interface, &str) + 'static) -> ListenerId {
        let call = shared(move |raw, line: &str| listener(Interface(raw), line));
        add_listener(self.0, LINE, call, false)
    }

    /// Adds a listener for the next 'line'.
    pub fn once_line(self, listener: impl FnOnce(Interface, &str) + 'static) -> ListenerId {
        let mut listener = Some(listener);
        let call = shared(move |raw, line: &str| {
            if let Some(listener) = listener.take() {
                listener(Interface(raw), line);
            }
        });
        add_listener(self.0, LINE, call, true)
    }

    /// Adds a listener for 'close': the input has ended, or [`close`](Interface::close) was called.
    /// At the input's end it comes after the input's own listeners, and before a socket that is not
    /// half-open ends itself, so a last message can still be sent. It does not come if the input
    /// was destroyed before its end.
    pub fn on_close(self, mut listener: impl FnMut(Interface) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(Interface(raw)));
        add_listener(self.0, CLOSE, call, false)
    }

    /// Adds a listener for 'pause'.
    pub fn on_pause(self, mut listener: impl FnMut(Interface) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(Interface(raw)));
        add_listener(self.0, PAUSE, call, false)
    }

    /// Adds a listener for 'resume'.
    pub fn on_resume(self, mut listener: impl FnMut(Interface) + 'static) -> ListenerId {
        let call = shared(move |raw| listener(Interface(raw)));
        add_listener(self.0, RESUME, call, false)
    }

    /// Adds a listener for 'error': an error of the input. An 'error' without a listener ends
    /// [`run`](crate::Loop::run).
    pub fn on_error(self, mut listener: impl FnMut(Interface, &Error) + 'static) -> ListenerId {
        let call = shared(move |raw, error: &Error| listener(Interface(raw), error));
        add_listener(self.0, ERROR, call, false)
    }

    /// Removes a listener for any event: Node's `off`.
    pub fn off(self, listener: ListenerId) {
        remove_listener(self.0, listener);
    }
}

impl Interface {
    /// Its loop.
    pub fn event_loop(&self) -> LoopHandle {
        self.0.event_loop()
    }
}

impl AsLoop for Interface {
    fn event_loop(&self) -> LoopHandle {
        self.0.event_loop()
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interface({:?})", self.0)
    }
}
