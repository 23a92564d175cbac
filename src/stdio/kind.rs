//! What a standard stream is.

use std::io::{self, IsTerminal};

use crate::ground::error::Error;

/// What standard input, output or error output is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StdioKind {
    /// A terminal.
    Terminal,
    /// A file.
    File,
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device such as `/dev/null`. A descriptor that was closed when the process began is one, too:
    /// the standard library puts `/dev/null` into its place.
    Device,
    /// A directory.
    Directory,
    /// Something else.
    Other,
}

impl StdioKind {
    /// A call about it that has failed, told as Node does: what is no stream to libuv is a file.
    pub(super) fn error(self, call: &'static str, error: io::Error) -> Error {
        match self {
            StdioKind::File | StdioKind::Device => Error::file(call, error, None),
            _ => Error::system(call, error),
        }
    }
}

/// What a descriptor is connected to.
#[cfg(unix)]
pub(super) fn kind_of(fd: &(impl std::os::fd::AsFd + IsTerminal)) -> StdioKind {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileTypeExt;

    if fd.is_terminal() {
        return StdioKind::Terminal;
    }
    // std asks for metadata of files only, so one is made for the moment.
    let fd = fd.as_fd();
    let file = fd.try_clone_to_owned().map(std::fs::File::from);
    let metadata = file
        .and_then(|file| file.metadata())
        // There may be no descriptor to spare. This way wants directories that may not be there.
        .or_else(|_| std::fs::metadata(format!("/dev/fd/{}", fd.as_raw_fd())));
    let Ok(kind) = metadata.map(|metadata| metadata.file_type()) else {
        return StdioKind::Other;
    };
    match () {
        () if kind.is_file() => StdioKind::File,
        () if kind.is_dir() => StdioKind::Directory,
        () if kind.is_fifo() => StdioKind::Pipe,
        () if kind.is_socket() => StdioKind::Socket,
        () if kind.is_char_device() || kind.is_block_device() => StdioKind::Device,
        () => StdioKind::Other,
    }
}

/// What a handle is connected to, as far as it can be told.
#[cfg(not(unix))]
pub(super) fn kind_of(handle: &impl IsTerminal) -> StdioKind {
    match handle.is_terminal() {
        true => StdioKind::Terminal,
        false => StdioKind::Other,
    }
}
