//! Hearing one source of a group of IPv6: a system call that socket2, rustix and nix lack.

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    feature = "ipv6-source-membership"
))]
pub(super) use linux::set_source_v6;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    feature = "ipv6-source-membership"
)))]
pub(super) use none::set_source_v6;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    feature = "ipv6-source-membership"
))]
mod linux {
    use std::io;
    use std::net::Ipv6Addr;
    use std::os::fd::AsRawFd;

    /// A `sockaddr_storage`: its bytes. It is aligned to a word.
    const ADDRESS: usize = 128;

    /// Joins or leaves a group for one source (MCAST_JOIN_SOURCE_GROUP, as libuv).
    pub(in super::super) fn set_source_v6(
        socket: &impl AsRawFd,
        source: Ipv6Addr,
        group: Ipv6Addr,
        interface: u32,
        join: bool,
    ) -> io::Result<()> {
        const IPPROTO_IPV6: i32 = 41;
        const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
        const MCAST_LEAVE_SOURCE_GROUP: i32 = 47;
        let option = match join {
            true => MCAST_JOIN_SOURCE_GROUP,
            false => MCAST_LEAVE_SOURCE_GROUP,
        };
        let request = request(source, group, interface);
        uapi::setsockopt(socket.as_raw_fd(), IPPROTO_IPV6, option, &request)
            .map_err(|error| io::Error::from_raw_os_error(error.0))
    }

    /// Linux's `struct group_source_req`: the interface in a word of its own, the group, the source.
    fn request(
        source: Ipv6Addr,
        group: Ipv6Addr,
        interface: u32,
    ) -> [u8; size_of::<usize>() + 2 * ADDRESS] {
        const AF_INET6: u16 = 10;
        // Behind the family come the port and the flow, which are nobody's.
        const HOST: usize = 8;
        let mut request = [0; size_of::<usize>() + 2 * ADDRESS];
        request[..4].copy_from_slice(&interface.to_ne_bytes());
        let addresses = request[size_of::<usize>()..].chunks_exact_mut(ADDRESS);
        for (address, of) in addresses.zip([group, source]) {
            address[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            address[HOST..HOST + 16].copy_from_slice(&of.octets());
        }
        request
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_request_is_what_the_kernel_expects() {
            let (source, group) = ("fe80::2".parse().unwrap(), "ff32::1".parse().unwrap());
            let request = request(source, group, 3);
            let word = size_of::<usize>();
            assert_eq!(request.len(), word + 256);
            assert_eq!(request[..4], 3_u32.to_ne_bytes());
            assert_eq!(request[word..word + 2], 10_u16.to_ne_bytes());
            assert_eq!(request[word + 8..word + 24], group.octets());
            assert_eq!(request[word + 128..word + 130], 10_u16.to_ne_bytes());
            assert_eq!(request[word + 136..word + 152], source.octets());
            let used = request.iter().filter(|&&byte| byte != 0).count();
            assert_eq!(used, 1 + 2 + 3 + 3, "nothing else");
        }
    }
}

#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    feature = "ipv6-source-membership"
)))]
mod none {
    use std::io;
    use std::net::Ipv6Addr;

    pub(in super::super) fn set_source_v6<S>(
        _socket: &S,
        _source: Ipv6Addr,
        _group: Ipv6Addr,
        _interface: u32,
        _join: bool,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
