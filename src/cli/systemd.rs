//! What a service manager tells a service and is told by it: sd_notify(3), sd_watchdog_enabled(3),
//! sd_listen_fds(3), without its library.
//!
//! Promises: without the variables of a service manager nothing here does anything. A message that cannot be
//! sent is no reason not to serve: that is logged once, when the socket is opened.
//! Leaves to the caller: the order of the messages.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;

use crate::clock;
use crate::net::Listener;

/// The name (`FileDescriptorName=`) by which the socket is found among several.
const SOCKET_NAME: &str = "http";

/// The line to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// The line that `NOTIFY_SOCKET` names; without it, one that says nothing.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket) },
            Err(error) => {
                tracing::warn!(?name, %error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// The server takes requests.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; [`Notifier::ready`] ends it. The moment is what `Type=notify-reload` asks for.
    pub fn reloading(&self) {
        let now = clock::monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
    }

    /// The server stops.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=finishing what is in flight");
    }

    /// The server makes progress.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// What `systemctl status` shows; one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.socket.is_some()
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // Never waits; what a busy manager misses it is told again or does not need.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A path, or a name in the abstract namespace after an `@` (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            let text = "NOTIFY_SOCKET is neither a path nor an abstract name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// How often the service manager wants to hear of progress, if it does; a longer silence ends the process.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let text = |name| env::var(name).ok();
    watchdog_of(
        text("WATCHDOG_USEC").as_deref(),
        text("WATCHDOG_PID").as_deref(),
        std::process::id(),
    )
}

fn watchdog_of(micros: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let is_for_us = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    is_for_us.then(|| Duration::from_micros(micros))
}

/// The listening socket that the service manager passed, if it passed one.
///
/// # Errors
/// What is wrong with what it passed, with what to change in the unit.
pub fn activated_listener() -> Result<Option<Listener>, String> {
    // First, because it takes the variables out of the environment; the names it leaves.
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    let index = index_of_socket(passed.len(), &names)?;
    let listener = passed
        .take_tcp_listener(index)
        .map_err(|error| format!("the socket passed by the service manager is no TCP socket: {error}"))?
        .ok_or("the socket passed by the service manager is gone")?;
    Listener::inherit(listener.into())
        .map(Some)
        .map_err(|error| format!("the socket passed by the service manager cannot be used: {error}"))
}

/// Which of `count` sockets to take, whose names are `names` with colons between.
fn index_of_socket(count: usize, names: &str) -> Result<usize, String> {
    if count == 1 {
        return Ok(0);
    }
    let mut named = (0..count)
        .zip(names.split(':'))
        .filter(|(_, name)| *name == SOCKET_NAME);
    match (named.next(), named.next()) {
        (Some((index, _)), None) => Ok(index),
        _ => Err(format!(
            "the service manager passed {count} sockets named {names:?}; \
             the one to listen on is to be named {SOCKET_NAME} (FileDescriptorName={SOCKET_NAME})"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog_of(Some("1000000"), None, 7), second);
        assert_eq!(watchdog_of(Some("1000000"), Some("7"), 7), second);
        for (micros, pid) in [
            (None, None),
            (Some("0"), None),
            (Some("soon"), None),
            (Some("1000000"), Some("8")),
            (Some("1000000"), Some("")),
        ] {
            assert_eq!(watchdog_of(micros, pid, 7), None, "{micros:?} {pid:?}");
        }
    }

    #[test]
    fn one_socket_needs_no_name_and_several_need_one() {
        assert_eq!(index_of_socket(1, ""), Ok(0));
        assert_eq!(index_of_socket(1, "metricstream.socket"), Ok(0));
        assert_eq!(index_of_socket(3, "a:http:b"), Ok(1));
        for names in ["", "a:b", "http:http", "b:c:http"] {
            let refusal = index_of_socket(2, names).unwrap_err();
            assert!(refusal.contains("FileDescriptorName=http"), "{refusal}");
        }
    }

    #[test]
    fn a_message_arrives_by_path_and_by_abstract_name() {
        let dir = env::temp_dir().join(format!("metricstream-notify-{}", std::process::id()));
        let abstract_name = format!("@metricstream-notify-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&abstract_name.as_bytes()[1..]).unwrap();
        for (address, name) in [
            (SocketAddr::from_pathname(&dir).unwrap(), dir.as_os_str()),
            (named, OsStr::new(&abstract_name)),
        ] {
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            let notifier = Notifier {
                socket: Some(connect(name).unwrap()),
            };
            notifier.ready("serving");
            let mut message = [0; 64];
            let length = manager.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1\nSTATUS=serving");
        }
        std::fs::remove_file(&dir).unwrap();
        assert!(connect(OsStr::new("relative")).is_err());
        assert!(!Notifier::default().is_heard());
    }
}
