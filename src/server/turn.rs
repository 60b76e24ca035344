//! What a worker decided in one turn on a connection, before it may be said.
//!
//! A turn answers every whole request that had arrived. The replies go out in order, and a success must not
//! go out before its lines are at the configured level. So a turn is a list of decisions; only
//! [`Turn::settle`], which takes the log's outcome, makes bytes of it.
//!
//! Promises: no reply of success exists as bytes before the outcome is known; replies keep the order of the
//! requests. Leaves to the caller: to settle each turn exactly once.

use crate::admission::auth::ClientId;
use crate::clock::Instant;
use crate::log;
use crate::monitor::{Endpoint, Event, Recorder};

use super::reply::{self, Form, Refusal, Said};
use super::request_id::{self, RequestIds};

/// The log's word on a turn's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are at the configured level, or there were none.
    Stored,
    /// They were not accepted.
    Refused(log::Refusal),
    /// They were accepted and could not be stored.
    Failed(log::Failure),
}

/// The decisions of one turn.
#[derive(Debug, Default)]
pub struct Turn {
    decisions: Vec<Decision>,
    /// The list of a few, while a longer one is in its place.
    few: Vec<Decision>,
    bytes: Vec<u8>,
    /// The clients' own names of the requests whose success hangs on the log, one after the other.
    ids: Vec<u8>,
    stored_metrics: u64,
    stored_requests: u64,
    level: Option<log::Level>,
    /// When the connection is read again, if a request was refused for want of a worker.
    shed_until: Option<Instant>,
}

/// What was decided on one request, or an interim reply.
#[derive(Debug)]
pub struct Decision {
    arrived: Instant,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// So many of the ready bytes go out whatever the log says; an interim reply has no event.
    Ready {
        length: usize,
        event: Option<(Endpoint, Said, Option<ClientId>)>,
    },
    /// A success once the lines are stored; its name is that many of the ready ids.
    Ingested {
        metrics: u32,
        form: Form,
        client: Option<ClientId>,
        id_bytes: u8,
    },
}

impl Turn {
    /// Whether nothing was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Requests and interim replies decided so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Whether the next decision would take more memory than an idle connection may keep.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.decisions.len() >= KEPT_DECISIONS && self.decisions.capacity() <= KEPT_DECISIONS
    }

    /// Goes on in `longer`, an empty list, until [`Turn::take_longer`].
    pub fn go_on_in(&mut self, mut longer: Vec<Decision>) {
        longer.reserve(2 * KEPT_DECISIONS);
        longer.append(&mut self.decisions);
        self.few = std::mem::replace(&mut self.decisions, longer);
    }

    /// Gives up the list that it went on in, if it did and is settled.
    pub fn take_longer(&mut self) -> Vec<Decision> {
        debug_assert!(self.is_empty(), "a list in use is not given up");
        if self.decisions.capacity() <= KEPT_DECISIONS {
            return Vec::new();
        }
        std::mem::replace(&mut self.decisions, std::mem::take(&mut self.few))
    }

    /// Bytes of the replies that are true already.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Metrics whose success hangs on the log.
    #[must_use]
    pub fn stored_metrics(&self) -> u64 {
        self.stored_metrics
    }

    /// Requests whose success hangs on the log.
    #[must_use]
    pub fn stored_requests(&self) -> u64 {
        self.stored_requests
    }

    /// The strongest level that its successes were promised at: the lines of a turn are one batch.
    #[must_use]
    pub fn level(&self) -> Option<log::Level> {
        self.level
    }

    /// A success of it is promised at `level`.
    pub fn promise(&mut self, level: log::Level) {
        if crate::seeded!(LEVEL_OF_LAST_REQUEST) {
            self.level = None;
        }
        self.level = self.level.max(Some(level));
    }

    /// A request of it is refused for want of a worker: the connection is to be read again at `until`, or
    /// when it was settled before.
    pub fn shed(&mut self, until: impl FnOnce() -> Instant) -> Instant {
        *self.shed_until.get_or_insert_with(until)
    }

    /// When the connection is to be read again, if one was.
    #[must_use]
    pub fn shed_until(&self) -> Option<Instant> {
        self.shed_until
    }

    /// A reply to `client` that is true already, written by `write`, which answers with what it says.
    pub fn reply(
        &mut self,
        arrived: Instant,
        endpoint: Endpoint,
        client: Option<ClientId>,
        write: impl FnOnce(&mut Vec<u8>) -> Said,
    ) {
        let before = self.bytes.len();
        let said = write(&mut self.bytes);
        let kind = Kind::Ready {
            length: self.bytes.len() - before,
            event: Some((endpoint, said, client)),
        };
        self.decisions.push(Decision { arrived, kind });
    }

    /// An interim reply (`100 Continue`).
    pub fn interim(&mut self, arrived: Instant, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.decisions.push(Decision {
            arrived,
            kind: Kind::Ready {
                length: bytes.len(),
                event: None,
            },
        });
    }

    /// A success for `client`, once the log says so; the client calls its request `request_id`.
    pub fn ingested(
        &mut self,
        arrived: Instant,
        metrics: u32,
        form: Form,
        client: Option<ClientId>,
        request_id: Option<&[u8]>,
    ) {
        self.stored_metrics += u64::from(metrics);
        self.stored_requests += 1;
        let id = request_id::given(request_id).unwrap_or_default();
        self.ids.extend_from_slice(id);
        let kind = Kind::Ingested {
            metrics,
            form,
            client,
            id_bytes: u8::try_from(id.len()).expect("a name that is taken is short"),
        };
        self.decisions.push(Decision { arrived, kind });
    }

    /// Turns the decisions into the bytes to send, appended to `out`, and records their events. `ids` names
    /// the requests that are refused now. The turn is empty afterwards and keeps a little memory, or all that
    /// [`Turn::take_longer`] takes.
    pub fn settle(
        &mut self,
        outcome: Outcome,
        now: Instant,
        recorder: &mut Recorder,
        ids: &mut RequestIds,
        out: &mut Vec<u8>,
    ) {
        if crate::seeded!(REPLIES_OUT_OF_ORDER) {
            self.decisions
                .sort_by_key(|decision| matches!(decision.kind, Kind::Ingested { .. }));
        }
        let (mut ready, mut names) = (self.bytes.as_slice(), self.ids.as_slice());
        for Decision { arrived, kind } in self.decisions.drain(..) {
            let event = match kind {
                Kind::Ready { length, event } => {
                    let (bytes, rest) = ready.split_at(length);
                    out.extend_from_slice(bytes);
                    ready = rest;
                    event
                }
                Kind::Ingested {
                    metrics,
                    form,
                    client,
                    id_bytes,
                } => {
                    let (name, rest) = names.split_at(usize::from(id_bytes));
                    names = rest;
                    let refusal = match outcome {
                        Outcome::Stored => None,
                        Outcome::Refused(refusal) => Some(Refusal::LogRefused(refusal)),
                        Outcome::Failed(failure) => Some(Refusal::LogFailed(failure)),
                    };
                    let said = match refusal {
                        None => reply::ingested(metrics, form, out),
                        Some(refusal) => reply::refuse(&refusal, form, &ids.name(Some(name)), out),
                    };
                    Some((Endpoint::Ingest, said, client))
                }
            };
            if let Some((endpoint, Said { status, reason }, client)) = event {
                recorder.record(Event {
                    endpoint,
                    status,
                    reason,
                    client,
                    latency: now.since(arrived),
                });
            }
        }
        debug_assert!(ready.is_empty(), "every ready byte belongs to a decision");
        debug_assert!(names.is_empty(), "every name belongs to a decision");
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.ids.clear();
        self.ids.shrink_to(KEPT_BYTES);
        self.stored_metrics = 0;
        self.stored_requests = 0;
        self.level = None;
        self.shed_until = None;
    }
}

/// Memory for ready bytes that an idle connection may keep.
const KEPT_BYTES: usize = 256;

/// Room for decisions that an idle connection may keep: more than one only when requests are pipelined.
const KEPT_DECISIONS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Monitor;
    use crate::server::date::DateCache;
    use crate::stats::Stats;
    use crate::sync::shim::Arc;
    use std::time::Duration;

    fn form() -> Form {
        Form {
            keep_alive: true,
            ..Form::close(DateCache::default().at(crate::clock::WallTime::default()))
        }
    }

    fn statuses(out: &[u8]) -> Vec<u16> {
        let text = String::from_utf8_lossy(out);
        text.split("HTTP/1.1 ")
            .skip(1)
            .map(|reply| reply[..3].parse().expect("a status"))
            .collect()
    }

    /// A turn of a page, two successes with a refusal between, and an interim reply.
    fn turn() -> Turn {
        let mut turn = Turn::default();
        let at = Instant::from_nanos(1_000);
        turn.reply(at, Endpoint::Health, None, |out| {
            reply::page(reply::JSON, b"{}", form(), out)
        });
        turn.ingested(at, 3, form(), None, Some(b"first"));
        let id = RequestIds::default().name(None);
        turn.reply(at, Endpoint::Other, None, |out| {
            reply::refuse(&Refusal::NotFound, form(), &id, out)
        });
        turn.ingested(at, 4, form(), None, Some(b"not sane"));
        turn.interim(at, b"HTTP/1.1 100 Continue\r\n\r\n");
        turn
    }

    const NOW: Instant = Instant::from_nanos(6_000);

    fn settle(turn: &mut Turn, outcome: Outcome) -> (Vec<u16>, Vec<(Endpoint, u16, u64)>) {
        let (monitor, mut recorders) = Monitor::new(1, &Arc::new(Stats::default()));
        let mut out = Vec::new();
        turn.settle(
            outcome,
            NOW,
            &mut recorders[0],
            &mut RequestIds::default(),
            &mut out,
        );
        let rows = monitor.summary(NOW).responses.into_iter();
        (
            statuses(&out),
            rows.map(|row| (row.endpoint, row.status, row.count)).collect(),
        )
    }

    #[test]
    fn replies_keep_the_order_of_the_requests() {
        let mut turn = turn();
        assert_eq!(
            (turn.len(), turn.stored_metrics(), turn.stored_requests()),
            (5, 7, 2)
        );
        let (statuses, events) = settle(&mut turn, Outcome::Stored);
        assert_eq!(statuses, [200, 200, 404, 200, 100]);
        let expected = [
            (Endpoint::Ingest, 200, 2),
            (Endpoint::Health, 200, 1),
            (Endpoint::Other, 404, 1),
        ];
        assert_eq!(events, expected, "an interim reply is no event");
        assert!(turn.is_empty() && turn.stored_metrics() == 0 && turn.stored_requests() == 0);
    }

    #[test]
    fn without_the_logs_word_there_is_no_success() {
        let full = log::Refusal::FullOfBatches { limit: 1, waiting: 1 };
        let failure = log::Failure::new(log::Operation::Write, &std::io::Error::from_raw_os_error(28));
        for outcome in [Outcome::Refused(full), Outcome::Failed(failure)] {
            let (statuses, _) = settle(&mut turn(), outcome);
            assert_eq!(statuses, [200, 503, 404, 503, 100]);
        }
        let too_large = Outcome::Refused(log::Refusal::TooLarge { limit: 1, seen: 2 });
        assert_eq!(
            settle(&mut turn(), too_large).0,
            [200, 413, 404, 413, 100],
            "overload it is not"
        );
    }

    #[test]
    fn latency_is_from_arrival_to_settling() {
        let (monitor, mut recorders) = Monitor::new(1, &Arc::new(Stats::default()));
        turn().settle(
            Outcome::Stored,
            NOW,
            &mut recorders[0],
            &mut RequestIds::default(),
            &mut Vec::new(),
        );
        let summary = monitor.summary(NOW);
        assert!(
            summary
                .endpoints
                .iter()
                .all(|endpoint| endpoint.recent.max_us == 5),
            "{summary:?}"
        );
        assert_eq!(summary.endpoints[0].sum, Duration::from_micros(10));
    }

    #[test]
    fn a_refusal_by_the_log_names_the_request_as_its_client_did() {
        let (_, mut recorders) = Monitor::new(1, &Arc::new(Stats::default()));
        let mut out = Vec::new();
        let full = log::Refusal::FullOfBatches { limit: 1, waiting: 1 };
        let mut ids = RequestIds::default();
        turn().settle(Outcome::Refused(full), NOW, &mut recorders[0], &mut ids, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let names: Vec<_> = text
            .split("X-Request-Id: ")
            .skip(1)
            .map(|rest| rest.lines().next())
            .collect();
        assert_eq!(names.len(), 3, "each refusal has one: {text}");
        assert_eq!(names[0], Some("first"));
        assert!(
            names[1..]
                .iter()
                .all(|name| name.is_some_and(|name| name.len() == 16))
        );
        assert!(text.contains("\"request_id\":\"first\""), "{text}");
    }

    #[test]
    fn the_strongest_level_of_a_turn_holds_for_all_of_it() {
        let mut turn = Turn::default();
        assert_eq!(turn.level(), None);
        for (level, strongest) in [
            (log::Level::Queued, log::Level::Queued),
            (log::Level::Synced, log::Level::Synced),
            (log::Level::Written, log::Level::Synced),
        ] {
            turn.promise(level);
            assert_eq!(turn.level(), Some(strongest));
        }
    }

    #[test]
    fn a_long_turn_goes_on_in_a_list_that_it_gives_up() {
        let mut turn = Turn::default();
        for room in [0, 100] {
            let longer: Vec<Decision> = Vec::with_capacity(room);
            for metrics in 1..=4 {
                assert!(!turn.is_crowded());
                turn.ingested(Instant::ZERO, metrics, form(), None, None);
            }
            let few = turn.decisions.as_ptr();
            assert!(turn.is_crowded());
            turn.go_on_in(longer);
            turn.ingested(Instant::ZERO, 5, form(), None, None);
            assert!(!turn.is_crowded());
            assert_eq!(settle(&mut turn, Outcome::Stored).0, [200; 5]);
            assert!(turn.take_longer().capacity() > room.max(KEPT_DECISIONS) - 1);
            assert_eq!((turn.decisions.as_ptr(), turn.decisions.capacity()), (few, 4));
            assert_eq!(turn.take_longer().capacity(), 0, "it is given up once");
        }
    }

    #[test]
    fn a_settled_turn_can_be_used_again() {
        let mut turn = turn();
        turn.promise(log::Level::Synced);
        let until = turn.shed(|| NOW);
        assert_eq!(turn.shed(|| unreachable!("it is settled")), until);
        assert_eq!(turn.shed_until(), Some(NOW));
        settle(&mut turn, Outcome::Stored);
        assert_eq!((turn.level(), turn.shed_until()), (None, None));
        turn.ingested(Instant::ZERO, 1, form(), None, None);
        assert_eq!(settle(&mut turn, Outcome::Stored).0, [200]);
    }
}
