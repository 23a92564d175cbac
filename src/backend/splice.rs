//! Bytes that pass from one descriptor to another within the kernel, by `splice`.
//!
//! `splice` wants a pipe of the kernel's in between. The loop has one for its sockets. It is empty
//! between two calls into this module from outside, so all sockets share it and none has a state here.
//! Linux only, with the feature `splice`; elsewhere [`Splicer::is_off`] says so from the beginning.

use std::io;

use bytes::Bytes;
use mio::net::TcpStream;

use super::os::Os;

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "splice"))]
use linux as system;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "splice")))]
use none as system;

/// What a loop splices with.
#[derive(Default)]
pub(super) struct Splicer {
    /// The kernel's pipe; made when it is needed.
    pipe: Option<system::Pipe>,
    /// The system does not splice.
    off: bool,
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

    /// Closes the pipe, until there is need of it again.
    pub(super) fn close(&mut self) {
        self.pipe = None;
    }
}

impl Os {
    /// Takes up to `size` bytes from a socket into the kernel's pipe. None if they have to be read.
    pub(super) fn splice_in(&mut self, from: &TcpStream, size: usize) -> Option<io::Result<usize>> {
        if self.splicer.is_off() {
            return None;
        }
        if self.forced.refuse_splices {
            self.splicer.off = true;
            return None;
        }
        if self.splicer.pipe.is_none() {
            match system::Pipe::new() {
                Ok(pipe) => self.splicer.pipe = Some(pipe),
                Err(error) => {
                    // Out of descriptors it may work again.
                    self.splicer.off = is_unsupported(&error);
                    return None;
                }
            }
        }
        let size = self.read_room(size);
        let pipe = self.splicer.pipe.as_ref()?;
        let result = repeated(&mut self.counts.splices, || pipe.fill(from, size));
        match result {
            Err(error) if is_unsupported(&error) => {
                self.splicer.off = true;
                self.splicer.close();
                None
            }
            result => Some(result),
        }
    }

    /// Gives the `size` bytes that are in the kernel's pipe to a socket. The pipe is empty afterwards.
    pub(super) fn splice_out(&mut self, to: &TcpStream, size: usize) -> Spliced {
        let limit = self.write_room(size);
        let Some(pipe) = &self.splicer.pipe else {
            return Spliced::Failed(io::ErrorKind::BrokenPipe.into());
        };
        let result = repeated(&mut self.counts.splices, || pipe.give(to, limit));
        let taken = match result {
            Ok(taken) if taken == size => return Spliced::Whole,
            Ok(taken) => Some(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(error) if is_unsupported(&error) => None,
            Err(error) => {
                // What is left in it is nobody's.
                self.splicer.close();
                return Spliced::Failed(error);
            }
        };
        let rest = pipe.drain(size - taken.unwrap_or(0), &mut self.counts.reads);
        match (rest, taken) {
            (Ok(rest), Some(taken)) => Spliced::Part(taken, rest),
            (Ok(rest), None) => {
                self.splicer.off = true;
                self.splicer.close();
                Spliced::Refused(rest)
            }
            (Err(error), _) => {
                self.splicer.close();
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
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether an error says that the kernel, or who guards it, does not let us do this: EPERM, EINVAL,
/// ENOSYS.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(1 | 22 | 38)) || error.kind() == io::ErrorKind::Unsupported
}

#[cfg(all(any(target_os = "linux", target_os = "android"), feature = "splice"))]
mod linux {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::AsFd;

    use bytes::{Bytes, BytesMut};
    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

    pub(super) const SPLICES: bool = true;

    /// A pipe of the kernel's, of the usual 16 places: one for each page, or piece of a packet, that is in
    /// it. A larger one saves nothing (`benches/README.md`), and the kernel sends up to 16 pieces with one
    /// inner call: of several the last would swallow the error of a peer that has reset meanwhile.
    pub(in super::super) struct Pipe {
        out: File,
        into: File,
    }

    impl Pipe {
        pub(super) fn new() -> io::Result<Pipe> {
            if !is_pipe_signal_ignored() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
            Ok(Pipe {
                out: File::from(out),
                into: File::from(into),
            })
        }

        /// Takes bytes in.
        pub(super) fn fill(&self, from: impl AsFd, size: usize) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(from, None, &self.into, None, size, flags)?)
        }

        /// Gives bytes away.
        pub(super) fn give(&self, to: impl AsFd, size: usize) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
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

    /// Whether SIGPIPE does nothing, as the standard library has it in every program that begins with a
    /// `main` of Rust's. A splice into a socket whose peer is gone sends it, and unlike `send` it can't be
    /// told not to.
    fn is_pipe_signal_ignored() -> bool {
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

    /// Never there.
    pub(in super::super) enum Pipe {}

    impl Pipe {
        pub(super) fn new() -> io::Result<Pipe> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn fill<F>(&self, _from: F, _size: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn give<F>(&self, _to: F, _size: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn drain(&self, _size: usize, _reads: &mut u64) -> io::Result<Bytes> {
            match *self {}
        }
    }
}
