//! Buffers that are as large as a caller says.
//!
//! Where there is no memory for one, Rust ends the process. Node tells the caller, and so can whoever asks here
//! first.

use std::hint::black_box;

use super::error::Error;

/// Up to this many bytes it is not asked whether there is memory.
const LARGE: usize = 64 << 20;

/// Whether there is memory for a buffer of so many bytes.
pub(crate) fn is_possible(bytes: usize) -> bool {
    if bytes <= LARGE {
        return true;
    }
    let mut buffer = Vec::<u8>::new();
    let is_possible = buffer.try_reserve_exact(bytes).is_ok();
    // Otherwise the compiler sees that nobody needs it, and leaves it out.
    black_box(&buffer);
    is_possible
}

/// What the caller is told where there is none.
pub(crate) fn no_memory() -> Error {
    Error::library("ERR_MEMORY_ALLOCATION_FAILED", "Failed to allocate memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_machine_has_memory_for_everything() {
        assert!(is_possible(0) && is_possible(LARGE) && is_possible(LARGE + 1));
        assert!(!is_possible(isize::MAX as usize) && !is_possible(usize::MAX));
    }
}
