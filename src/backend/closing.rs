//! Closing a file, and what that fails with: a disk across the network, or one that is shared out, may say
//! only then that it does not have what was written. The standard library says nothing of it.

use std::fs::File;
use std::io;

/// Closes a file. Nothing is heard of a failure elsewhere than on Linux, and without the feature `full-udp`,
/// whose crate has a safe call for it.
pub(crate) fn close_file(file: File) -> io::Result<()> {
    #[cfg(all(any(target_os = "linux", target_os = "android"), feature = "full-udp"))]
    {
        use nix::errno::Errno;

        match nix::unistd::close(file) {
            // It is closed all the same, as libuv has it.
            Ok(()) | Err(Errno::EINTR | Errno::EINPROGRESS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), feature = "full-udp")))]
    {
        drop(file);
        Ok(())
    }
}
