//! One connected socket, never blocking.
//!
//! Promises: a call moves what can be moved now and says how it ended; an interrupted call is repeated.
//! Leaves to the caller: when to try again.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};

/// How a read or a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// So many bytes were moved; never 0.
    Moved(usize),
    /// Nothing can be moved now.
    WouldBlock,
    /// The peer has finished sending (reads only).
    End,
    /// The connection is broken.
    Broken(io::ErrorKind),
}

/// A connected, non-blocking stream socket; closed when dropped.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Begins to connect to `address`. The socket becomes writable when that has ended, one way or the other;
    /// [`Socket::connect_result`] says which.
    ///
    /// # Errors
    /// When descriptors ran out, or `AddrNotAvailable` when local ports did, or the failure itself where the
    /// kernel knows it at once.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = unconnected(address)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Self(socket)),
            Err(error) => Err(error.into()),
        }
    }

    /// How connecting ended, once the socket was reported writable.
    ///
    /// # Errors
    /// The failure.
    pub fn connect_result(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.0)??)
    }

    /// Reads once into the spare capacity of `buffer`, which must not be empty.
    pub fn read(&self, buffer: &mut Vec<u8>) -> Transfer {
        debug_assert!(buffer.capacity() > buffer.len(), "a read needs room");
        loop {
            return match net::recv(&self.0, spare_capacity(buffer), RecvFlags::empty()) {
                Ok((_, 0)) => Transfer::End,
                Ok((_, count)) => Transfer::Moved(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Transfer::WouldBlock,
                Err(error) => Transfer::Broken(error.kind()),
            };
        }
    }

    /// Reads once into `bytes`, which must not be empty.
    pub fn read_into(&self, bytes: &mut [u8]) -> Transfer {
        debug_assert!(!bytes.is_empty(), "a read needs room");
        loop {
            return match net::recv(&self.0, &mut *bytes, RecvFlags::empty()) {
                Ok((0, _)) => Transfer::End,
                Ok((count, _)) => Transfer::Moved(count),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Transfer::WouldBlock,
                Err(error) => Transfer::Broken(error.kind()),
            };
        }
    }

    /// Writes once from `bytes`, which must not be empty.
    pub fn write(&self, bytes: &[u8]) -> Transfer {
        debug_assert!(!bytes.is_empty(), "a write needs bytes");
        loop {
            return match net::send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(0) | Err(Errno::AGAIN) => Transfer::WouldBlock,
                Ok(count) => Transfer::Moved(count),
                Err(Errno::INTR) => continue,
                Err(error) => Transfer::Broken(error.kind()),
            };
        }
    }

    /// Tells the peer that nothing more will be sent; it can still be read from.
    pub fn finish_sending(&self) {
        // The peer may be gone, which is as good.
        let _ = net::shutdown(&self.0, Shutdown::Write);
    }
}

/// A stream socket of the family of `address`, neither bound nor connected: non-blocking, closed on exec.
pub(super) fn unconnected(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(family, SocketType::STREAM, flags, None)?)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, Socket) {
        let (near, far) = UnixStream::pair().expect("pair");
        far.set_nonblocking(true).expect("non-blocking");
        (near, Socket::new(far.into()))
    }

    #[test]
    fn reads_what_is_there_then_would_block_then_sees_the_end() {
        let (mut near, socket) = pair();
        let mut buffer = Vec::with_capacity(16);
        assert_eq!(socket.read(&mut buffer), Transfer::WouldBlock);
        near.write_all(b"hello").expect("write");
        assert_eq!(socket.read(&mut buffer), Transfer::Moved(5));
        assert_eq!(buffer, b"hello");
        drop(near);
        assert_eq!(socket.read(&mut buffer), Transfer::End);
    }

    #[test]
    fn writes_until_the_peer_is_slow_and_says_when_it_is_gone() {
        let (mut near, socket) = pair();
        let block = [7_u8; 4096];
        let mut sent = 0;
        while let Transfer::Moved(count) = socket.write(&block) {
            sent += count;
        }
        assert_eq!(socket.write(&block), Transfer::WouldBlock);
        let mut received = vec![0; sent];
        near.read_exact(&mut received).expect("read");
        assert!(received.iter().all(|byte| *byte == 7));
        drop(near);
        assert_eq!(socket.write(&block), Transfer::Broken(io::ErrorKind::BrokenPipe));
    }

    fn connect_and_wait(address: SocketAddr) -> io::Result<Socket> {
        let poller = crate::net::system::Poller::new()?;
        let socket = Socket::connect(address)?;
        poller.add(&socket, 1, crate::net::system::Interest::Writable)?;
        let mut ready = crate::net::system::Ready::new();
        poller.wait(&mut ready, std::time::Duration::from_secs(10))?;
        assert_eq!(ready.tokens().count(), 1, "connecting ended");
        socket.connect_result()?;
        Ok(socket)
    }

    #[test]
    fn connects_and_says_when_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let socket = connect_and_wait(address).expect("connected");
        assert_eq!(socket.write(b"x"), Transfer::Moved(1));
        let (mut far, _) = listener.accept().expect("accept");
        far.read_exact(&mut [0]).expect("read");
        drop(listener);
        let error = connect_and_wait(address).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn finishing_is_the_end_of_stream_for_the_peer() {
        let (mut near, socket) = pair();
        socket.finish_sending();
        assert_eq!(near.read(&mut [0; 1]).expect("read"), 0);
    }
}
