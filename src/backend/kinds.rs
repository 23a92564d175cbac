//! The two kinds of errors that a loop meets all the time, told apart in place: looking up the [`ErrorKind`]
//! of a number is a long way through code that is in no cache.

use std::io::{Error, ErrorKind};

/// Whether a call would have had to wait.
#[inline]
pub(crate) fn would_block(error: &Error) -> bool {
    const EAGAIN: i32 = 11;
    is(error, EAGAIN, ErrorKind::WouldBlock)
}

/// Whether a signal has ended a call.
#[inline]
pub(crate) fn is_interrupted(error: &Error) -> bool {
    const EINTR: i32 = 4;
    is(error, EINTR, ErrorKind::Interrupted)
}

#[inline(always)]
fn is(error: &Error, on_linux: i32, kind: ErrorKind) -> bool {
    match error.raw_os_error() {
        Some(code) if cfg!(target_os = "linux") => code == on_linux,
        _ => error.kind() == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_told_as_by_its_kind() {
        for code in 0..200 {
            let error = Error::from_raw_os_error(code);
            let kind = error.kind();
            assert_eq!(would_block(&error), kind == ErrorKind::WouldBlock, "{code}");
            assert_eq!(
                is_interrupted(&error),
                kind == ErrorKind::Interrupted,
                "{code}"
            );
        }
        assert!(would_block(&ErrorKind::WouldBlock.into()));
        assert!(is_interrupted(&ErrorKind::Interrupted.into()));
    }
}
