//! Lesson 6.2: a circuit breaker that many threads ask. The product's (`log::breaker`) belongs to one thread.
//!
//! Whoever calls something that keeps failing waits for each failure, and keeps it from recovering. A breaker
//! counts failures; after some it is open and refuses at once; after a while it lets one call through to see
//! (half open), and what becomes of that call decides. `wrong` looks and acts in two steps, so that two calls
//! go through to see.

use std::process::ExitCode;
use std::time::Duration;

use metricstream::clock::Instant;
use metricstream::sync::shim::{Arc, Mutex, thread};
use metricstream_journey::lesson::{self, Explored, Variant};

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 3;

/// How long it stays open.
const OPEN_FOR: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through; so many have failed in a row.
    Closed(u32),
    /// Calls are refused until then.
    Open(Instant),
    /// One call is under way to see.
    HalfOpen,
}

struct Breaker(Mutex<State>);

impl Breaker {
    fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    fn state(&self) -> State {
        *self.0.lock()
    }

    /// Whether a call may go through; if so, [`Breaker::done`] follows.
    fn may_call(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        match *state {
            State::Closed(_) => true,
            State::Open(until) if now >= until => {
                *state = State::HalfOpen;
                true
            }
            State::Open(_) | State::HalfOpen => false,
        }
    }

    /// The same in two steps, and what lies between them.
    fn may_call_in_two_steps(&self, now: Instant) -> bool {
        match self.state() {
            State::Closed(_) => true,
            State::Open(until) if now >= until => {
                *self.0.lock() = State::HalfOpen;
                true
            }
            State::Open(_) | State::HalfOpen => false,
        }
    }

    fn done(&self, success: bool, now: Instant) {
        let mut state = self.0.lock();
        *state = match (*state, success) {
            (_, true) => State::Closed(0),
            (State::Closed(failures), false) if failures + 1 < FAILURES_MAX => State::Closed(failures + 1),
            (_, false) => State::Open(now.after(OPEN_FOR)),
        };
    }
}

/// A disk that fails from the second second to the tenth, asked each second.
fn one_outage() -> Explored {
    lesson::explore(|| {
        let breaker = Breaker::new(State::Closed(0));
        let mut line = String::new();
        for second in 0..20 {
            let now = Instant::ZERO.after(Duration::from_secs(second));
            if breaker.may_call(now) {
                let success = !(2..10).contains(&second);
                breaker.done(success, now);
                line.push(if success { '.' } else { 'x' });
            } else {
                line.push('-');
            }
        }
        assert_eq!(breaker.state(), State::Closed(0), "[LESSON] it closes again");
        assert_eq!(
            line, "..xxx----x----......",
            "[LESSON] four calls failed, not eight"
        );
        line
    })
}

/// The time is over, and two calls come at once.
fn two_calls(may_call: fn(&Breaker, Instant) -> bool) -> Explored {
    lesson::explore(move || {
        let breaker = Arc::new(Breaker::new(State::Open(Instant::ZERO)));
        let theirs = Arc::clone(&breaker);
        let other = thread::spawn("other", move || may_call(&theirs, Instant::ZERO)).expect("a thread");
        let mine = may_call(&breaker, Instant::ZERO);
        let let_through = [mine, other.join().expect("it ends")];
        let count = let_through.iter().filter(|went| **went).count();
        assert_eq!(count, 1, "[LESSON] one call goes through to see, not {count}");
        let_through
    })
}

fn main() -> ExitCode {
    lesson::main(
        "circuit_breaker",
        &[
            Variant {
                name: "outage",
                about: "an outage second by second: . answered, x failed, - refused at once",
                run: one_outage,
            },
            Variant {
                name: "right",
                about: "two calls when it is half open, one lock",
                run: || two_calls(Breaker::may_call),
            },
            Variant {
                name: "wrong",
                about: "two calls when it is half open, looked first and acted then",
                run: || two_calls(Breaker::may_call_in_two_steps),
            },
        ],
    )
}
