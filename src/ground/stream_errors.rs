//! Errors that sockets, files and streams of a program's own have in common: Node's, in its words.

use super::error::Error;

/// A call on a stream that was destroyed, or a write that was under way then.
pub(crate) fn destroyed_before(call: &str) -> Error {
    let message = format!("Cannot call {call} after a stream was destroyed");
    Error::library("ERR_STREAM_DESTROYED", &message)
}

/// A call on a socket that has no connection, nor the promise of one.
pub(crate) fn socket_closed() -> Error {
    Error::library("ERR_SOCKET_CLOSED", "Socket is closed")
}

/// A write behind `end`.
pub(crate) fn write_after_end() -> Error {
    Error::library("ERR_STREAM_WRITE_AFTER_END", "write after end")
}

/// An `end` behind 'finish'.
pub(crate) fn already_finished() -> Error {
    Error::library(
        "ERR_STREAM_ALREADY_FINISHED",
        "Cannot call end after a stream was finished",
    )
}

/// An `unshift` behind 'end'.
pub(crate) fn unshift_after_end() -> Error {
    Error::library(
        "ERR_STREAM_UNSHIFT_AFTER_END_EVENT",
        "stream.unshift() after end event",
    )
}

/// What a stream is told that was closed before it was done.
pub(crate) fn premature_close() -> Error {
    Error::library(PREMATURE_CLOSE, "Premature close")
}

/// Whether an error says that.
pub(crate) fn is_premature_close(error: &Error) -> bool {
    error.code() == Some(PREMATURE_CLOSE)
}

const PREMATURE_CLOSE: &str = "ERR_STREAM_PREMATURE_CLOSE";
