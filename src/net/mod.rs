//! Sockets and readiness: the few system calls the server makes, behind small safe types.
//!
//! Promises: nothing here blocks but [`Poller::wait`]; no call allocates. Leaves to the caller: what the
//! bytes mean, and every deadline.
//!
//! Linux only: readiness is epoll's, one-shot, so that a socket reported readable is reported once and then
//! belongs to whoever took it until it is armed again.

mod listener;
mod poller;
mod socket;

pub use listener::{Listener, raise_open_files_limit};
pub use poller::{Interest, Poller, Ready, Token};
pub use socket::{Socket, Transfer};
