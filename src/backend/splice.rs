//! Bytes that pass from one descriptor to another within the kernel, by `splice`.
//!
//! `splice` wants a pipe of the kernel's in between. The loop has one for its sockets: what is taken in is
//! given away before the loop goes on, so it is empty otherwise, all sockets share it and none has a state
//! here. A worker that takes from a file has one for itself, since that may block. Linux only, with the
//! feature `splice`; elsewhere [`Splicer::is_off`] says so from the beginning.

use std::fs::File;
use std::io;

use bytes::Bytes;
use mio::net::TcpStream;

use super::os::Os;
use super::{Backend, Stream};

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "splice"))]
use linux as system;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "splice")))]
use none as system;

/// Bytes of a file that a worker takes at a time: eight chunks of Node's. Each time is a round between loop and
/// worker. Half and twice as many cost the same (`benches/README.md`).
pub(crate) const FILE_PIPE_SIZE: usize = 512 * 1024;

/// Files that are sent in this way at a time; further ones are read. Each has up to two pipes, of two
/// descriptors each, and more than the usual number of workers is rarely of use.
const MAX_FILLING: usize = 8;

/// Pipes that are kept for them, beside one for each that is at it.
const MAX_KEPT: usize = 2;

/// What a loop splices with.
#[derive(Default)]
pub(super) struct Splicer {
    /// The sockets' pipe; made when it is needed.
    pipe: Option<KernelPipe>,
    /// Empty pipes for workers.
    kept: Vec<KernelPipe>,
    /// How many files are at it.
    filling: usize,
    /// The system does not splice.
    off: bool,
    /// SIGPIPE was seen to do nothing.
    is_safe: bool,
}

/// A pipe of the kernel's.
pub(crate) struct KernelPipe(system::Pipe);

impl KernelPipe {
    /// Takes up to `size` bytes of a file in, from a position or from where the descriptor stands; none are
    /// its end. Blocks as a read does. Only a regular file's are taken: the error is
    /// [`Unsupported`](io::ErrorKind::Unsupported) otherwise.
    pub(crate) fn fill(
        &self,
        from: &File,
        position: Option<u64>,
        size: usize,
    ) -> io::Result<usize> {
        let result = match from.metadata()?.is_file() {
            true => repeated(&mut 0, || self.0.fill(from, position, size)),
            false => Err(io::ErrorKind::Unsupported.into()),
        };
        match result {
            Err(error) if is_unsupported(&error) => Err(io::ErrorKind::Unsupported.into()),
            result => result,
        }
    }

    /// Reads `size` bytes that are in it.
    pub(crate) fn drain(&self, size: usize) -> io::Result<Bytes> {
        self.0.drain(size, &mut 0)
    }
}

/// What became of bytes in the kernel's pipe that a socket was to take.
pub(crate) enum Spliced {
    /// It has taken all.
    Whole,
    /// It has taken so many; here is the rest.
    Part(usize, Bytes),
    /// It has failed.
    Failed(io::Error),
    /// It does not take them this way; here they are.
    Refused(Bytes),
}

impl Splicer {
    pub(super) fn is_off(&self) -> bool {
        self.off || !system::SPLICES
    }

    /// Closes what is kept, until there is need of it again.
    pub(super) fn close(&mut self) {
        self.pipe = None;
        self.kept.clear();
    }

    /// The sockets' pipe, with what was taken in.
    pub(super) fn take(&mut self) -> Option<KernelPipe> {
        self.pipe.take()
    }

    /// And back, empty.
    pub(super) fn put_back(&mut self, pipe: Option<KernelPipe>) {
        self.pipe = pipe;
    }

    /// Keeps an empty pipe, and no more than are likely to be of use.
    fn keep(&mut self, pipe: Option<KernelPipe>) {
        self.kept.extend(pipe);
        self.kept.truncate(self.filling + MAX_KEPT);
    }

    fn make(&mut self, size: usize) -> Option<KernelPipe> {
        if !self.is_safe {
            self.is_safe = system::is_pipe_signal_ignored();
            self.off = !self.is_safe;
        }
        if self.off {
            return None;
        }
        match system::Pipe::new(size) {
            Ok(pipe) => Some(KernelPipe(pipe)),
            Err(error) => {
                // Out of descriptors it may work again.
                self.off = is_unsupported(&error);
                None
            }
        }
    }
}

impl Backend {
    /// Whether bytes may pass from socket to socket within the kernel.
    pub(crate) fn may_splice(&self) -> bool {
        match self {
            Backend::Os(os) => !os.splicer.is_off(),
            Backend::Null(_) => false,
        }
    }

    /// Takes up to `size` bytes from a socket without reading them, into the
    /// [sockets' pipe](Backend::take_pipe), which has to be emptied next. None if they have to be read.
    pub(crate) fn splice_in(&mut self, from: &Stream, size: usize) -> Option<io::Result<usize>> {
        match (self, from) {
            (Backend::Os(os), Stream::Os(from)) => os.splice_in(from, size),
            _ => None,
        }
    }

    /// How many bytes a socket has that were not read. None if it does not say.
    pub(crate) fn unread(&mut self, from: &Stream) -> Option<usize> {
        match (self, from) {
            (Backend::Os(os), Stream::Os(from)) => {
                os.counts.looks += 1;
                system::unread(from)
            }
            _ => None,
        }
    }

    /// Gives the first `size` bytes that are in a pipe to a socket. They are in it no more afterwards; it
    /// may be closed. With `more` further bytes follow at once, so an incomplete segment waits for them.
    pub(crate) fn splice_out(
        &mut self,
        to: &Stream,
        from: &mut Option<KernelPipe>,
        size: usize,
        more: bool,
    ) -> Spliced {
        match (self, to) {
            (Backend::Os(os), Stream::Os(to)) => os.splice_out(to, from, size, more),
            _ => unreachable!("a stream of another backend"),
        }
    }

    /// The sockets' pipe, with what was taken in.
    pub(crate) fn take_pipe(&mut self) -> Option<KernelPipe> {
        match self {
            Backend::Os(os) => os.splicer.take(),
            Backend::Null(_) => None,
        }
    }

    /// And back, empty.
    pub(crate) fn put_back_pipe(&mut self, pipe: Option<KernelPipe>) {
        if let Backend::Os(os) = self {
            os.splicer.put_back(pipe);
        }
    }

    /// Another file is sent by way of pipes, until it has [finished](Backend::finish_filling). Gives the first
    /// of them, for a worker. None if it has to be read.
    pub(crate) fn begin_filling(&mut self) -> Option<KernelPipe> {
        if self.filling() >= MAX_FILLING {
            return None;
        }
        let pipe = self.lend_pipe()?;
        if let Backend::Os(os) = self {
            os.splicer.filling += 1;
        }
        Some(pipe)
    }

    /// One of them is through.
    pub(crate) fn finish_filling(&mut self) {
        if let Backend::Os(os) = self {
            os.splicer.filling = os.splicer.filling.saturating_sub(1);
            os.splicer.keep(None);
        }
    }

    /// How many there are.
    pub(crate) fn filling(&self) -> usize {
        match self {
            Backend::Os(os) => os.splicer.filling,
            Backend::Null(_) => 0,
        }
    }

    /// A pipe for a worker.
    pub(crate) fn lend_pipe(&mut self) -> Option<KernelPipe> {
        match self {
            Backend::Os(os) => os.lend_pipe(),
            Backend::Null(_) => None,
        }
    }

    /// A worker's pipe comes back, if it is empty; else it was closed.
    pub(crate) fn give_back_pipe(&mut self, pipe: Option<KernelPipe>) {
        if let Backend::Os(os) = self {
            os.splicer.keep(pipe);
        }
    }

    /// Has TCP send what it keeps back since more was to follow.
    pub(crate) fn push_out(&mut self, stream: &Stream) {
        if let Stream::Os(io) = stream {
            let no_delay = io.nodelay().unwrap_or(false);
            self.set_no_delay(stream, true);
            if !no_delay {
                self.set_no_delay(stream, false);
            }
        }
    }

    /// Closes what is kept for that.
    pub(crate) fn stop_splicing(&mut self) {
        if let Backend::Os(os) = self {
            os.splicer.close();
        }
    }
}

impl Os {
    /// Takes up to `size` bytes from a socket into the kernel's pipe. None if they have to be read.
    pub(super) fn splice_in(&mut self, from: &TcpStream, size: usize) -> Option<io::Result<usize>> {
        if self.splicer.is_off() {
            return None;
        }
        if self.splicer.pipe.is_none() {
            self.splicer.pipe = self.splicer.make(system::USUAL_SIZE);
        }
        let size = self.read_room(size);
        let KernelPipe(pipe) = self.splicer.pipe.as_ref()?;
        let result = match self.forced.refuse_splices {
            true => Err(io::Error::from_raw_os_error(ENOSYS)),
            false => repeated(&mut self.counts.splices, || pipe.fill(from, None, size)),
        };
        match result {
            Err(error) if is_unsupported(&error) => {
                self.splicer.off = true;
                self.splicer.close();
                None
            }
            result => Some(result),
        }
    }

    /// A pipe for a worker. None if the file has to be read.
    pub(super) fn lend_pipe(&mut self) -> Option<KernelPipe> {
        let Os {
            splicer, forced, ..
        } = self;
        if splicer.is_off() || forced.refuse_splices {
            return None;
        }
        let kept = splicer.kept.pop();
        let pipe = kept.or_else(|| splicer.make(FILE_PIPE_SIZE))?;
        self.counts.splices += 1;
        Some(pipe)
    }

    /// Gives the first `size` bytes that are in a pipe to a socket. They are in it no more afterwards; it
    /// may be closed.
    pub(super) fn splice_out(
        &mut self,
        to: &TcpStream,
        from: &mut Option<KernelPipe>,
        size: usize,
        more: bool,
    ) -> Spliced {
        let limit = self.write_room(size);
        let Some(KernelPipe(pipe)) = from else {
            return Spliced::Failed(io::ErrorKind::BrokenPipe.into());
        };
        let result = repeated(&mut self.counts.splices, || pipe.give(to, limit, more));
        let taken = match result {
            Ok(taken) if taken == size => return Spliced::Whole,
            Ok(taken) => Some(taken),
            Err(error) if super::would_block(&error) => Some(0),
            Err(error) if is_unsupported(&error) => None,
            Err(error) => {
                // What is left in it is nobody's.
                *from = None;
                return Spliced::Failed(error);
            }
        };
        let rest = pipe.drain(size - taken.unwrap_or(0), &mut self.counts.reads);
        match (rest, taken) {
            (Ok(rest), Some(taken)) => Spliced::Part(taken, rest),
            (Ok(rest), None) => {
                self.splicer.off = true;
                Spliced::Refused(rest)
            }
            (Err(error), _) => {
                *from = None;
                Spliced::Failed(error)
            }
        }
    }
}

/// A system call, repeated if it is interrupted, and counted.
fn repeated<R>(count: &mut u64, mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        *count += 1;
        match call() {
            Err(error) if super::is_interrupted(&error) => {}
            result => return result,
        }
    }
}

/// The numbers of the errors by which the kernel, or who guards it, says that it does not do this.
const EPERM: i32 = 1;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EPERM | EINVAL | ENOSYS))
        || error.kind() == io::ErrorKind::Unsupported
}

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "splice"))]
mod linux {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::AsFd;

    use bytes::{Bytes, BytesMut};
    use rustix::io::ioctl_fionread;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    pub(super) const SPLICES: bool = true;

    /// A pipe has 16 places unless somebody asks for more: one for each page, or piece of a packet, that is
    /// in it. That is what sockets get. A larger one saves nothing (`benches/README.md`), and the kernel
    /// sends up to 16 pieces with one inner call: of several the last would swallow the error of a peer that
    /// has reset meanwhile.
    pub(super) const USUAL_SIZE: usize = 64 * 1024;

    /// A pipe of the kernel's.
    pub(in super::super) struct Pipe {
        out: File,
        into: File,
    }

    impl Pipe {
        pub(super) fn new(size: usize) -> io::Result<Pipe> {
            let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
            if size > USUAL_SIZE {
                // A user's pipes may have no more in all. Then the usual one does.
                let _ = fcntl_setpipe_size(&into, size);
            }
            Ok(Pipe {
                out: File::from(out),
                into: File::from(into),
            })
        }

        /// Takes bytes in.
        pub(super) fn fill(
            &self,
            from: impl AsFd,
            mut position: Option<u64>,
            size: usize,
        ) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let position = position.as_mut();
            Ok(splice(from, position, &self.into, None, size, flags)?)
        }

        /// Gives bytes away.
        pub(super) fn give(&self, to: impl AsFd, size: usize, more: bool) -> io::Result<usize> {
            let mut flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            flags.set(SpliceFlags::MORE, more);
            Ok(splice(&self.out, None, to, None, size, flags)?)
        }

        /// Reads the `size` bytes that are in it.
        pub(super) fn drain(&self, size: usize, reads: &mut u64) -> io::Result<Bytes> {
            let mut bytes = BytesMut::zeroed(size);
            let mut read = 0;
            while read < size {
                let result = super::repeated(reads, || (&self.out).read(&mut bytes[read..]));
                match result? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    more => read += more,
                }
            }
            Ok(bytes.freeze())
        }
    }

    /// How many bytes a socket has that were not read.
    pub(super) fn unread(from: impl AsFd) -> Option<usize> {
        usize::try_from(ioctl_fionread(from).ok()?).ok()
    }

    /// Whether SIGPIPE does nothing, as the standard library has it in every program that begins with a
    /// `main` of Rust's. A splice into a socket whose peer is gone sends it, and unlike `send` it can't be
    /// told not to.
    pub(super) fn is_pipe_signal_ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status");
        status.is_ok_and(|status| ignores_pipe_signal(&status))
    }

    /// The same, from what the system tells of a process.
    fn ignores_pipe_signal(status: &str) -> bool {
        const SIGPIPE: u32 = 13;
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & (1 << (SIGPIPE - 1)) != 0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_the_system_says_of_signals_is_understood() {
            assert!(ignores_pipe_signal("Name:\tx\nSigIgn:\t0000000000001000\n"));
            assert!(ignores_pipe_signal("SigIgn:\tfffffffe7ffbfeff\n"));
            assert!(!ignores_pipe_signal("SigIgn:\t0000000000000000\n"));
            assert!(!ignores_pipe_signal("SigIgn:\t0000000000002000\n"));
            assert!(!ignores_pipe_signal("SigCgt:\t0000000000001000\n"));
            assert!(!ignores_pipe_signal(""));
        }
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "splice")))]
mod none {
    use std::io;

    use bytes::Bytes;

    pub(super) const SPLICES: bool = false;
    pub(super) const USUAL_SIZE: usize = 0;

    pub(super) fn is_pipe_signal_ignored() -> bool {
        false
    }

    pub(super) fn unread<F>(_from: F) -> Option<usize> {
        None
    }

    /// Never there.
    pub(in super::super) enum Pipe {}

    impl Pipe {
        pub(super) fn new(_size: usize) -> io::Result<Pipe> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn fill<F>(
            &self,
            _from: F,
            _position: Option<u64>,
            _size: usize,
        ) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn give<F>(&self, _to: F, _size: usize, _more: bool) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn drain(&self, _size: usize, _reads: &mut u64) -> io::Result<Bytes> {
            match *self {}
        }
    }
}
