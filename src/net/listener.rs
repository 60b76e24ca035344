//! The listening socket.
//!
//! Promises: accepted sockets are non-blocking, closed on exec and without Nagle's delay. Leaves to the
//! caller: how many to accept.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{self, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::socket::{self, Socket};

/// Connections the kernel completes and keeps for us before we accept them; the kernel lowers it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address` and listens; port 0 takes a free one, see [`Listener::address`].
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (ports below 1024), or no descriptor left.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket::unconnected(address)?;
        // So that a restart need not wait for the connections of the run before to leave TIME_WAIT.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        let address = SocketAddr::try_from(net::getsockname(&socket)?)?;
        Ok(Self { socket, address })
    }

    /// Takes a listening TCP socket that another process made, such as a service manager.
    ///
    /// # Errors
    /// When it is no TCP socket or does not listen.
    pub fn inherit(socket: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&socket)? != SocketType::STREAM || !sockopt::socket_acceptconn(&socket)? {
            let text = "it is no listening stream socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        let address = SocketAddr::try_from(net::getsockname(&socket)?)?;
        Ok(Self { socket, address })
    }

    /// The address in force.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, or `None` when none is waiting.
    ///
    /// # Errors
    /// When descriptors or memory ran out. A connection that was reset while it waited is passed over.
    pub fn accept(&self) -> io::Result<Option<(Socket, SocketAddr)>> {
        use rustix::io::Errno;
        loop {
            match net::acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, peer)) => {
                    let Some(Ok(peer)) = peer.map(SocketAddr::try_from) else {
                        continue;
                    };
                    // The peer may be gone already, which reading will say.
                    let _ = sockopt::set_tcp_nodelay(&socket, true);
                    return Ok(Some((Socket::new(socket), peer)));
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Raises the soft limit of open files to the hard one and answers with the limit now in force.
#[must_use]
pub fn raise_open_files_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum;
    if limit.current != wanted {
        let before = limit.current;
        limit.current = wanted;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = before;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn accepts_who_connects_and_no_more() {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        assert!(listener.accept().expect("accept").is_none());
        let client = TcpStream::connect(listener.address()).expect("connect");
        let (_, peer) = listener.accept().expect("accept").expect("one waits");
        assert_eq!(peer, client.local_addr().expect("address"));
        assert!(listener.accept().expect("accept").is_none());
    }

    #[test]
    fn a_socket_of_another_maker_is_taken_when_it_listens() {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let listener = Listener::inherit(theirs.try_clone().expect("clone").into()).expect("it listens");
        assert_eq!(listener.address(), theirs.local_addr().expect("address"));
        assert!(listener.accept().expect("it does not block").is_none());
        let client = TcpStream::connect(listener.address()).expect("connect");
        assert!(listener.accept().expect("accept").is_some());
        assert!(Listener::inherit(client.into()).is_err(), "it does not listen");
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        assert!(Listener::inherit(datagrams.into()).is_err());
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let first = Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
        let second = Listener::bind(first.address()).expect_err("the port is taken");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    }
}
