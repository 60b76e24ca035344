//! Readiness: which sockets can be read or written now.
//!
//! Promises: a registered socket is reported at most once until it is armed again (`EPOLLONESHOT`, epoll(7)),
//! whichever thread arms it; data that arrived before the arming is reported (readiness is level-triggered).
//! An edge-triggered one (`EPOLLET`) is reported again whenever something has arrived since the last report,
//! and needs no arming for that.
//! [`Poller::wake`] ends a wait from any thread and is never lost.
//! Leaves to the caller: to take what a token stands for before anyone else does. Closing a socket
//! deregisters it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// What the caller registered a socket under. `u64::MAX` is the poller's own.
pub type Token = u64;

const WAKE: Token = Token::MAX;

/// Most events taken from the kernel by one wait.
const EVENTS_MAX: usize = 256;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, the peer's end of stream, or an error.
    Readable,
    /// Room to write, or an error.
    Writable,
    /// Either of the two.
    Any,
}

impl Interest {
    const fn flags(self) -> EventFlags {
        match self {
            Self::Readable => EventFlags::IN.union(EventFlags::RDHUP),
            Self::Writable => EventFlags::OUT,
            Self::Any => Self::Readable.flags().union(Self::Writable.flags()),
        }
    }
}

const EDGE: EventFlags = Interest::Readable.flags().union(EventFlags::ET);

/// With these nothing more comes from the peer.
const END: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// A socket that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What it was added under.
    pub token: Token,
    /// The peer has finished sending, or the connection is broken. An edge-triggered socket may not be
    /// reported again after this.
    pub end: bool,
}

/// An epoll set with a wake-up line.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self { epoll, wake })
    }

    /// Adds a socket and arms it once for `interest`.
    ///
    /// # Errors
    /// When the kernel's limit of watched descriptors is reached.
    pub fn add(&self, socket: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        debug_assert_ne!(token, WAKE, "the largest token is the poller's own");
        let flags = interest.flags() | EventFlags::ONESHOT;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// Adds a socket of which every arrival is reported: bytes, the peer's end of stream, an error. Several
    /// may share a report; what was reported and not read is not reported again.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_edge(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), EDGE)?)
    }

    /// Has an added socket reported as [`Poller::add_edge`] does, and once now if it is readable.
    ///
    /// # Errors
    /// As [`Poller::arm`].
    pub fn arm_edge(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            EDGE,
        )?)
    }

    /// Adds a socket that is reported as often as it is readable (a listener).
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_repeating(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            EventFlags::IN,
        )?)
    }

    /// Arms a socket once more, from any thread.
    ///
    /// # Errors
    /// When the socket was never added.
    pub fn arm(&self, socket: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let flags = interest.flags() | EventFlags::ONESHOT;
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            flags,
        )?)
    }

    /// Has an added socket reported by every wait as long as `interest` holds, until it is armed otherwise.
    ///
    /// # Errors
    /// As [`Poller::arm`].
    pub fn arm_repeating(&self, socket: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// Takes a socket out of the set.
    ///
    /// # Errors
    /// When the socket was never added.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Waits for events, a wake-up or the end of `timeout`, and puts the tokens of the events into `ready`.
    ///
    /// # Errors
    /// None that a caller could mend; an interrupted wait is an empty answer.
    pub fn wait(&self, ready: &mut Ready, timeout: Duration) -> io::Result<()> {
        ready.events.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut ready.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let before = ready.events.len();
        ready.events.retain(|event| event.data.u64() != WAKE);
        if ready.events.len() != before {
            // Reading resets the line; a wake-up that comes after it ends the next wait.
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        }
        Ok(())
    }

    /// Ends the wait that is under way, or the next one.
    pub fn wake(&self) {
        // The only failure is a counter at its maximum: then a wake-up is pending already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The tokens of one wait; reused from wait to wait.
pub struct Ready {
    events: Vec<Event>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tokens()).finish()
    }
}

impl Ready {
    /// Room for the events of one wait.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: Vec::with_capacity(EVENTS_MAX),
        }
    }

    /// The tokens that are ready.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.sockets().map(|socket| socket.token)
    }

    /// The sockets that are ready.
    pub fn sockets(&self) -> impl ExactSizeIterator<Item = Readiness> + '_ {
        self.events.iter().map(|event| Readiness {
            token: event.data.u64(),
            // A field of a packed structure: copied before it is looked at.
            end: { event.flags }.intersects(END),
        })
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    fn tokens(poller: &Poller, timeout: Duration) -> Vec<Token> {
        let mut ready = Ready::new();
        poller.wait(&mut ready, timeout).expect("wait");
        ready.tokens().collect()
    }

    #[test]
    fn a_readable_socket_is_reported_once_until_it_is_armed_again() {
        let poller = Poller::new().expect("poller");
        let (mut near, far) = UnixStream::pair().expect("pair");
        poller.add(&far, 7, Interest::Readable).expect("add");
        assert!(tokens(&poller, Duration::ZERO).is_empty());
        near.write_all(b"x").expect("write");
        assert_eq!(tokens(&poller, LONG), [7]);
        near.write_all(b"y").expect("write");
        assert!(tokens(&poller, SHORT).is_empty(), "one-shot");
        poller.arm(&far, 7, Interest::Readable).expect("arm");
        assert_eq!(
            tokens(&poller, LONG),
            [7],
            "what came before the arming is reported"
        );
    }

    #[test]
    fn a_repeating_socket_is_reported_while_its_interest_holds() {
        let poller = Poller::new().expect("poller");
        let (mut near, mut far) = UnixStream::pair().expect("pair");
        poller.add(&far, 7, Interest::Writable).expect("add");
        assert_eq!(tokens(&poller, LONG), [7]);
        poller.arm_repeating(&far, 7, Interest::Readable).expect("arm");
        assert!(tokens(&poller, Duration::ZERO).is_empty());
        near.write_all(b"x").expect("write");
        assert_eq!(tokens(&poller, LONG), [7]);
        assert_eq!(tokens(&poller, LONG), [7], "not one-shot");
        far.read_exact(&mut [0]).expect("read");
        assert!(tokens(&poller, SHORT).is_empty());
        poller.arm_repeating(&far, 7, Interest::Any).expect("arm");
        assert_eq!(tokens(&poller, LONG), [7], "there is room to write");
    }

    #[test]
    fn an_edge_is_reported_for_each_arrival_and_its_end() {
        let poller = Poller::new().expect("poller");
        let (mut near, mut far) = UnixStream::pair().expect("pair");
        poller.add_edge(&far, 7).expect("add");
        assert!(tokens(&poller, Duration::ZERO).is_empty());
        near.write_all(b"x").expect("write");
        assert_eq!(tokens(&poller, LONG), [7]);
        assert!(tokens(&poller, SHORT).is_empty(), "it is unread, and no news");
        poller.arm_edge(&far, 7).expect("arm");
        assert_eq!(tokens(&poller, LONG), [7], "armed anew, it is news once more");
        near.write_all(b"y").expect("write");
        assert_eq!(tokens(&poller, LONG), [7], "without arming");
        far.read_exact(&mut [0; 2]).expect("read");
        drop(near);
        let mut ready = Ready::new();
        poller.wait(&mut ready, LONG).expect("wait");
        let ended = Readiness { token: 7, end: true };
        assert!(ready.sockets().eq([ended]));
    }

    #[test]
    fn a_wake_up_is_not_lost_and_is_not_repeated() {
        let poller = Poller::new().expect("poller");
        poller.wake();
        poller.wake();
        let begun = crate::clock::SystemClock::new();
        assert!(tokens(&poller, LONG).is_empty());
        assert!(
            begun.now().since(crate::clock::Instant::ZERO) < LONG,
            "the wait ended early"
        );
        assert!(tokens(&poller, SHORT).is_empty());
        assert!(
            begun.now().since(crate::clock::Instant::ZERO) >= SHORT,
            "the second wait ran its time"
        );
    }
}
