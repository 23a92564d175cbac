//! The names and texts that libuv gives to the operating system's errors.

use std::io::{self, ErrorKind};

/// Code and text for an error that has no name in libuv's table.
const UNKNOWN: (&str, &str) = ("UNKNOWN", "unknown error");

/// What libuv calls `error`: its code (`ECONNREFUSED`) and its text (`connection refused`).
///
/// The number is asked first, since some share a kind; the kind, which std knows on every platform,
/// tells what the tables here don't.
pub(crate) fn name(error: &io::Error) -> (&'static str, &'static str) {
    let by_number = error.raw_os_error().and_then(by_number);
    by_number
        .or_else(|| by_kind(error.kind()))
        .unwrap_or(UNKNOWN)
}

fn by_kind(kind: ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::AddrInUse => ("EADDRINUSE", "address already in use"),
        ErrorKind::AddrNotAvailable => ("EADDRNOTAVAIL", "address not available"),
        ErrorKind::AlreadyExists => ("EEXIST", "file already exists"),
        ErrorKind::BrokenPipe => ("EPIPE", "broken pipe"),
        ErrorKind::ConnectionAborted => ("ECONNABORTED", "software caused connection abort"),
        ErrorKind::ConnectionRefused => ("ECONNREFUSED", "connection refused"),
        ErrorKind::ConnectionReset => ("ECONNRESET", "connection reset by peer"),
        ErrorKind::HostUnreachable => ("EHOSTUNREACH", "host is unreachable"),
        ErrorKind::Interrupted => ("EINTR", "interrupted system call"),
        ErrorKind::InvalidInput => ("EINVAL", "invalid argument"),
        ErrorKind::IsADirectory => ("EISDIR", "illegal operation on a directory"),
        ErrorKind::NetworkDown => ("ENETDOWN", "network is down"),
        ErrorKind::NetworkUnreachable => ("ENETUNREACH", "network is unreachable"),
        ErrorKind::NotADirectory => ("ENOTDIR", "not a directory"),
        ErrorKind::NotConnected => ("ENOTCONN", "socket is not connected"),
        ErrorKind::NotFound => ("ENOENT", "no such file or directory"),
        ErrorKind::OutOfMemory => ("ENOMEM", "not enough memory"),
        ErrorKind::ReadOnlyFilesystem => ("EROFS", "read-only file system"),
        ErrorKind::ResourceBusy => ("EBUSY", "resource busy or locked"),
        ErrorKind::StorageFull => ("ENOSPC", "no space left on device"),
        ErrorKind::TimedOut => ("ETIMEDOUT", "connection timed out"),
        ErrorKind::Unsupported => ("ENOTSUP", "operation not supported on socket"),
        ErrorKind::WouldBlock => ("EAGAIN", "resource temporarily unavailable"),
        _ => return None,
    })
}

/// Whether Linux has other numbers here.
const HAS_OWN_NUMBERS: bool = cfg!(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "sparc",
    target_arch = "sparc64",
));

/// Numbers whose kind std does not tell apart (EACCES and EPERM share one, ENOSYS and ENOTSUP), leaves
/// unstable or does not have.
fn by_number(number: i32) -> Option<(&'static str, &'static str)> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        // Some architectures have numbers of their own, above those of the first Unix.
        return match HAS_OWN_NUMBERS {
            true => of_every_unix(number),
            false => of_linux(number),
        };
    }
    if cfg!(windows) {
        return of_windows(number);
    }
    let is_of_the_bsds = cfg!(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
    ));
    of_every_unix(number).or_else(|| of_the_bsds(number).filter(|_| is_of_the_bsds))
}

fn of_linux(number: i32) -> Option<(&'static str, &'static str)> {
    Some(match number {
        1 => ("EPERM", "operation not permitted"),
        3 => ("ESRCH", "no such process"),
        5 => ("EIO", "i/o error"),
        6 => ("ENXIO", "no such device or address"),
        7 => ("E2BIG", "argument list too long"),
        8 => ("ENOEXEC", "exec format error"),
        9 => ("EBADF", "bad file descriptor"),
        13 => ("EACCES", "permission denied"),
        14 => ("EFAULT", "bad address in system call argument"),
        16 => ("EBUSY", "resource busy or locked"),
        18 => ("EXDEV", "cross-device link not permitted"),
        19 => ("ENODEV", "no such device"),
        23 => ("ENFILE", "file table overflow"),
        24 => ("EMFILE", "too many open files"),
        25 => ("ENOTTY", "inappropriate ioctl for device"),
        26 => ("ETXTBSY", "text file is busy"),
        27 => ("EFBIG", "file too large"),
        28 => ("ENOSPC", "no space left on device"),
        29 => ("ESPIPE", "invalid seek"),
        31 => ("EMLINK", "too many links"),
        34 => ("ERANGE", "result too large"),
        36 => ("ENAMETOOLONG", "name too long"),
        38 => ("ENOSYS", "function not implemented"),
        39 => ("ENOTEMPTY", "directory not empty"),
        40 => ("ELOOP", "too many symbolic links encountered"),
        49 => ("EUNATCH", "protocol driver not attached"),
        61 => ("ENODATA", "no data available"),
        64 => ("ENONET", "machine is not on the network"),
        71 => ("EPROTO", "protocol error"),
        75 => ("EOVERFLOW", "value too large for defined data type"),
        84 => ("EILSEQ", "illegal byte sequence"),
        88 => ("ENOTSOCK", "socket operation on non-socket"),
        89 => ("EDESTADDRREQ", "destination address required"),
        90 => ("EMSGSIZE", "message too long"),
        91 => ("EPROTOTYPE", "protocol wrong type for socket"),
        92 => ("ENOPROTOOPT", "protocol not available"),
        93 => ("EPROTONOSUPPORT", "protocol not supported"),
        94 => ("ESOCKTNOSUPPORT", "socket type not supported"),
        97 => ("EAFNOSUPPORT", "address family not supported"),
        105 => ("ENOBUFS", "no buffer space available"),
        106 => ("EISCONN", "socket is already connected"),
        108 => ("ESHUTDOWN", "cannot send after transport endpoint shutdown"),
        112 => ("EHOSTDOWN", "host is down"),
        114 => ("EALREADY", "connection already in progress"),
        121 => ("EREMOTEIO", "remote I/O error"),
        125 => ("ECANCELED", "operation canceled"),
        _ => return None,
    })
}

/// The numbers that every Unix shares: all that the first one had, but 11, which is not in the table.
fn of_every_unix(number: i32) -> Option<(&'static str, &'static str)> {
    match number {
        1..=34 => of_linux(number),
        _ => None,
    }
}

/// The numbers that macOS and the BSDs share beyond these, in Linux's.
fn of_the_bsds(number: i32) -> Option<(&'static str, &'static str)> {
    of_linux(match number {
        37 => 114,
        38 => 88,
        39 => 89,
        40 => 90,
        41 => 91,
        42 => 92,
        43 => 93,
        44 => 94,
        47 => 97,
        55 => 105,
        56 => 106,
        58 => 108,
        62 => 40,
        63 => 36,
        64 => 112,
        66 => 39,
        78 => 38,
        _ => return None,
    })
}

/// The numbers of Windows' sockets, in Linux's.
fn of_windows(number: i32) -> Option<(&'static str, &'static str)> {
    of_linux(match number {
        10009 => 9,
        10013 => 13,
        10024 => 24,
        10037 => 114,
        10038 => 88,
        10039 => 89,
        10040 => 90,
        10042 => 92,
        10043 => 93,
        10047 => 97,
        10055 => 105,
        10056 => 106,
        10058 => 108,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_libuvs_names() {
        let error = io::Error::from(ErrorKind::ConnectionReset);
        assert_eq!(name(&error), ("ECONNRESET", "connection reset by peer"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn numbers_decide_where_a_kind_is_shared() {
        assert_eq!(name(&io::Error::from_raw_os_error(13)).0, "EACCES");
        assert_eq!(name(&io::Error::from_raw_os_error(1)).0, "EPERM");
        assert_eq!(name(&io::Error::from_raw_os_error(24)).0, "EMFILE");
        assert_eq!(name(&io::Error::from_raw_os_error(98)).0, "EADDRINUSE");
        assert_eq!(name(&io::Error::from_raw_os_error(38)).0, "ENOSYS");
        assert_eq!(name(&io::Error::from_raw_os_error(95)).0, "ENOTSUP");
    }

    /// These were UNKNOWN, and ENOSYS was ENOTSUP.
    #[test]
    #[cfg(target_os = "linux")]
    fn every_number_that_libuv_names_has_that_name() {
        // Node's `util.getSystemErrorMap()`.
        const CODES: &str = "1 EPERM 2 ENOENT 3 ESRCH 4 EINTR 5 EIO 6 ENXIO 7 E2BIG 8 ENOEXEC 9 EBADF 11 EAGAIN \
            12 ENOMEM 13 EACCES 14 EFAULT 16 EBUSY 17 EEXIST 18 EXDEV 19 ENODEV 20 ENOTDIR 21 EISDIR \
            22 EINVAL 23 ENFILE 24 EMFILE 25 ENOTTY 26 ETXTBSY 27 EFBIG 28 ENOSPC 29 ESPIPE 30 EROFS \
            31 EMLINK 32 EPIPE 34 ERANGE 36 ENAMETOOLONG 38 ENOSYS 39 ENOTEMPTY 40 ELOOP 49 EUNATCH \
            61 ENODATA 64 ENONET 71 EPROTO 75 EOVERFLOW 84 EILSEQ 88 ENOTSOCK 89 EDESTADDRREQ \
            90 EMSGSIZE 91 EPROTOTYPE 92 ENOPROTOOPT 93 EPROTONOSUPPORT 94 ESOCKTNOSUPPORT \
            95 ENOTSUP 97 EAFNOSUPPORT 98 EADDRINUSE 99 EADDRNOTAVAIL 100 ENETDOWN 101 ENETUNREACH \
            103 ECONNABORTED 104 ECONNRESET 105 ENOBUFS 106 EISCONN 107 ENOTCONN 108 ESHUTDOWN \
            110 ETIMEDOUT 111 ECONNREFUSED 112 EHOSTDOWN 113 EHOSTUNREACH 114 EALREADY 121 EREMOTEIO \
            125 ECANCELED";
        let mut words = CODES.split_ascii_whitespace();
        while let (Some(number), Some(code)) = (words.next(), words.next()) {
            let error = io::Error::from_raw_os_error(number.parse().unwrap());
            assert_eq!(name(&error).0, code, "{number}");
        }
        assert_eq!(name(&ErrorKind::Unsupported.into()).0, "ENOTSUP");
    }

    #[test]
    fn other_systems_have_other_numbers() {
        type Table = fn(i32) -> Option<(&'static str, &'static str)>;
        let codes = |table: Table, numbers: std::ops::Range<i32>| -> Vec<&str> {
            let codes = numbers.filter_map(|number| table(number).map(|(code, _)| code));
            codes.collect()
        };
        // Each number stands for something, and each for something else.
        let of_the_bsds = codes(of_the_bsds, 0..200);
        assert_eq!(
            of_the_bsds[0..4],
            ["EALREADY", "ENOTSOCK", "EDESTADDRREQ", "EMSGSIZE"]
        );
        assert_eq!(of_the_bsds.len(), 17);
        let of_windows = codes(of_windows, 10_000..10_200);
        assert_eq!(
            of_windows[3..7],
            ["EALREADY", "ENOTSOCK", "EDESTADDRREQ", "EMSGSIZE"]
        );
        assert_eq!(of_windows.len(), 13);
        let of_every_unix = codes(of_every_unix, 0..200);
        assert_eq!(of_every_unix.len(), 21);
    }

    #[test]
    fn what_has_no_name_is_unknown() {
        assert_eq!(name(&io::Error::other("odd")), UNKNOWN);
    }
}
