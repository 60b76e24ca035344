//! What can change while the server runs, replaced as a whole.
//!
//! Promises: a thread that asks after it was told of a replacement acts by the new rules (RULES-TOLD), and by
//! all of them (RULES-WHOLE); what it does until it asks again is by one set of rules. Asking costs one load
//! while nothing changes. Nobody waits for a replacement but for the time of copying a pointer.
//! Leaves to the caller: to make rules that are right before it replaces the ones in force.
//!
//! # Why a count and a lock are enough
//! [`Latest::replace`] raises the count while it holds the lock. A thread that sees the new count therefore
//! locks after that replacement and finds its rules or later ones. A thread that the replacement happened
//! before (it was told of it) cannot read an older count: a load never goes back behind one that is ordered
//! before it. So the count needs no ordering of its own, and is a [`Counter`] like the others.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use crate::admission::addresses::AddressList;
use crate::ingest::Admission;
use crate::net::tls::Identity;
use crate::stats::Counter;
use crate::sync::shim::{Arc, Mutex};

use super::routes::Page;

/// The rules of a server.
#[derive(Debug)]
pub struct Rules {
    /// Who is admitted, and how often.
    pub admission: Admission,
    /// Who may read the statistics; `None` is everyone.
    pub admin_addresses: Option<AddressList>,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// What new connections are under; `None` is plain HTTP.
    pub tls: Option<Identity>,
}

impl Rules {
    /// Whether who is at `peer` may read `page`.
    #[must_use]
    pub fn may_read(&self, page: Page, peer: IpAddr) -> bool {
        let Some(addresses) = &self.admin_addresses else {
            return true;
        };
        match page {
            // Probes come from anywhere, and learn no more than whether the server is well.
            Page::Health | Page::Ready => true,
            Page::Stats | Page::Exposition | Page::Dashboard => addresses.contains(peer),
        }
    }
}

/// How long clients may take, each a setting of the same name. A connection's deadline is set when it is
/// laid to rest, so a change takes hold of it at its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// A request must be whole this long after its first byte, and a TLS handshake done this long after the
    /// connection came.
    pub request_timeout: Duration,
    /// A client must take some of its reply within this.
    pub write_timeout: Duration,
    /// A graceful stop lets what is in flight finish for at most this.
    pub stop_timeout: Duration,
}

/// A value that is replaced now and then and read all the time.
#[derive(Debug)]
pub struct Latest<T> {
    /// Replacements so far.
    replacements: Counter,
    value: Mutex<Arc<T>>,
}

/// One thread's view of a [`Latest`].
#[derive(Debug)]
pub struct View<T> {
    seen: u64,
    value: Arc<T>,
}

impl<T> Latest<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            replacements: Counter::default(),
            value: Mutex::new(Arc::new(value)),
        }
    }

    /// Puts `value` in force; what was in force lives on in the views that have not looked since.
    pub fn replace(&self, value: T) {
        let value = Arc::new(value);
        let before = {
            let mut in_force = self.value.lock();
            self.replacements.add(1);
            std::mem::replace(&mut *in_force, value)
        };
        // Outside the lock: this may be the last of it, with all its tokens.
        drop(before);
    }

    /// What is in force, for those who ask rarely.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.value.lock())
    }

    /// A view of its own for one thread.
    #[must_use]
    pub fn view(&self) -> View<T> {
        let value = self.value.lock();
        View {
            seen: self.replacements.get(),
            value: Arc::clone(&value),
        }
    }
}

impl<T> View<T> {
    /// Looks again: what is in force from here on, until the next look.
    #[inline]
    pub fn refresh(&mut self, latest: &Latest<T>) {
        if latest.replacements.get() != self.seen && !crate::seeded!(RULES_NOT_LOOKED_AT) {
            crate::reached!(RULES_RENEWED);
            *self = latest.view();
        }
    }
}

impl<T> Deref for View<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::shim::thread;
    use crate::sync::stop::Stop;

    #[test]
    fn a_view_stays_until_it_looks_again() {
        let latest = Latest::new(1);
        let mut view = latest.view();
        latest.replace(2);
        assert_eq!((*view, *latest.get()), (1, 2));
        view.refresh(&latest);
        assert_eq!(*view, 2);
        latest.replace(3);
        latest.replace(4);
        view.refresh(&latest);
        assert_eq!(*view, 4);
    }

    #[test]
    fn what_was_replaced_is_dropped_with_its_last_view() {
        let first = Arc::new(());
        let latest = Latest::new(Arc::clone(&first));
        let mut view = latest.view();
        latest.replace(Arc::new(()));
        assert_eq!(Arc::strong_count(&first), 2);
        view.refresh(&latest);
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn who_was_told_of_a_replacement_sees_it_and_nobody_sees_time_go_back() {
        let latest = Arc::new(Latest::new(0_u64));
        let told = Arc::new(Stop::new());
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (latest, told) = (Arc::clone(&latest), Arc::clone(&told));
                thread::spawn("reader", move || {
                    let mut view = latest.view();
                    loop {
                        let was_told = told.is_requested();
                        let before = *view;
                        view.refresh(&latest);
                        assert!(*view >= before, "{} after {before}", *view);
                        if was_told {
                            return assert_eq!(*view, 10_000);
                        }
                    }
                })
                .expect("a thread")
            })
            .collect();
        (1..=10_000).for_each(|value| latest.replace(value));
        told.request();
        for reader in readers {
            reader.join().expect("no assertion failed");
        }
    }
}
