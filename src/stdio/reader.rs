//! The thread that reads standard input.
//!
//! A terminal or a pipe is shared with whoever started the process: to make it non-blocking would change
//! it for them, too, and a file can't be polled at all. So standard input is read by a thread of its own,
//! whatever it is, and only when somebody asks: a program that does not read leaves everything to the
//! next one. There is one thread in a process, since there is one standard input. What it has read for
//! somebody who is gone by then, it gives to whoever asks next; what waits in a loop goes with that loop.

use std::io::{self, ErrorKind, Read};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

#[cfg(unix)]
use crate::backend::unix::{has_hung_up, wait_until_readable};
use crate::event_loop::channels::{SendError, Sender};

/// "I/O error" and "bad file descriptor" have one number on every Unix.
#[cfg(unix)]
const EIO: i32 = 5;
#[cfg(unix)]
const EBADF: i32 = 9;

/// What a read has brought; nothing at the end.
pub(super) type Answer = io::Result<Vec<u8>>;

/// A request for up to so many bytes, and who is told.
struct Ask {
    size: usize,
    answer: Sender<Answer>,
}

/// Where the thread takes requests, once it was started.
static ASKS: Mutex<Option<mpsc::Sender<Ask>>> = Mutex::new(None);

/// Asks for up to `size` bytes of standard input. The answer comes through the channel.
///
/// # Errors
/// The system's, if the thread can't be started.
pub(super) fn ask(size: usize, answer: &Sender<Answer>) -> io::Result<()> {
    let mut asks = ASKS.lock().unwrap_or_else(PoisonError::into_inner);
    let ask = Ask {
        size,
        answer: answer.clone(),
    };
    let ask = match &*asks {
        Some(asks) => match asks.send(ask) {
            Ok(()) => return Ok(()),
            // It has panicked, which it does not.
            Err(mpsc::SendError(ask)) => ask,
        },
        None => ask,
    };
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("nodeloop stdin".into());
    thread.spawn(move || serve(&receiver))?;
    let _ = sender.send(ask);
    *asks = Some(sender);
    Ok(())
}

/// What the thread does.
fn serve(asks: &mpsc::Receiver<Ask>) {
    let mut source = Source::Std;
    // What was read for somebody who was gone by then.
    let mut left: Option<Answer> = None;
    for ask in asks {
        if ask.answer.is_closed() {
            continue;
        }
        let answer = match left.take() {
            Some(answer) => answer,
            None => source.read(ask.size),
        };
        if let Err(SendError(answer)) = ask.answer.send(answer) {
            left = Some(answer);
        }
    }
}

/// From where it is read.
enum Source {
    /// Through the standard library, with whatever its buffer holds already.
    Std,
    /// Opened anew, since what the process was given does not block.
    #[cfg(unix)]
    Reopened(std::fs::File),
}

impl Source {
    fn read(&mut self, size: usize) -> Answer {
        let mut buffer = vec![0; size];
        loop {
            let result = match self {
                Source::Std => io::stdin().lock().read(&mut buffer),
                #[cfg(unix)]
                Source::Reopened(file) => file.read(&mut buffer),
            };
            match result {
                Ok(read) => {
                    if read == 0 {
                        self.check_end()?;
                    }
                    buffer.truncate(read);
                    buffer.shrink_to_fit();
                    return Ok(buffer);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(error)?,
                Err(error) if self.is_closed_terminal(&error) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The standard library takes a descriptor that is not open for reading for one that has ended. A read
    /// of nothing tells.
    fn check_end(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Source::Std = self {
            use std::os::fd::AsFd;

            let checked = io::stdin().as_fd().try_clone_to_owned();
            let checked = checked.and_then(|fd| std::fs::File::from(fd).read(&mut []));
            return match checked {
                Err(error) if error.raw_os_error() == Some(EBADF) => Err(error),
                // There may be no descriptor to spare.
                _ => Ok(()),
            };
        }
        Ok(())
    }

    /// Whether an error says that nobody holds the other end of a terminal any more. To Node, which sees
    /// that it hung up, this is the end.
    fn is_closed_terminal(&self, error: &io::Error) -> bool {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;

            error.raw_os_error() == Some(EIO)
                && match self {
                    Source::Std => has_hung_up(io::stdin().as_fd()),
                    Source::Reopened(file) => has_hung_up(file.as_fd()),
                }
        }
        #[cfg(not(unix))]
        {
            let _ = error;
            false
        }
    }

    /// Somebody has made standard input non-blocking. What is opened anew is not; what can't be opened, a
    /// socket, is waited for.
    fn wait(&mut self, error: io::Error) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;

            let waited = match self {
                Source::Std => match std::fs::File::open("/dev/stdin") {
                    Ok(file) => {
                        *self = Source::Reopened(file);
                        return Ok(());
                    }
                    Err(_) => wait_until_readable(io::stdin().as_fd()),
                },
                Source::Reopened(file) => wait_until_readable(file.as_fd()),
            };
            waited.map_err(|_| error)
        }
        #[cfg(not(unix))]
        Err(error)
    }
}
