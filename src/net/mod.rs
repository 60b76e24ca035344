//! Sockets and readiness: the few system calls the server makes, behind small safe types.
//!
//! Promises: nothing here blocks but [`Poller::wait`], and no call allocates, except in [`client`], which is
//! for threads that may wait. Leaves to the caller: what the bytes mean, and every deadline.
//!
//! Linux only: readiness is epoll's, one-shot (a socket is reported once and then not until it is armed
//! again) or edge-triggered (it is reported for each arrival, and nobody has to arm it).
//!
//! `system` is always there; the names the server uses are those of `system`, or of the simulated network
//! when the whole server runs under shuttle.

pub mod client;
mod listener;
mod poller;
#[cfg(metricstream_shuttle)]
pub mod simulated;
mod socket;
pub mod tls;

/// The operating system's sockets.
pub mod system {
    pub use super::listener::Listener;
    pub use super::poller::{Interest, Poller, Readiness, Ready, Token};
    pub use super::socket::{Socket, Transfer};
}

pub use listener::raise_open_files_limit;
#[cfg(metricstream_shuttle)]
pub use simulated::{Interest, Listener, Poller, Readiness, Ready, Socket, Token, Transfer};
#[cfg(not(metricstream_shuttle))]
pub use system::{Interest, Listener, Poller, Readiness, Ready, Socket, Token, Transfer};
