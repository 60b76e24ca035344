//! The data path of a request that brings metrics, as one function that reads top to bottom.
//!
//! ```text
//! credential, peer, now --admit--> Admitted --decode--> Draft --validate--> Batch --encode--> lines
//! ```
//!
//! Each step consumes what the step before produced (only what was [`Admitted`] can be decoded, only a
//! validated batch has an encoder), so no step can be skipped or done in another order and still compile.
//! Promises: on an error nothing is added to the lines. Leaves to the caller: appending the lines to the log
//! and replying only when they are at the configured level.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::admission::auth::{Authenticator, Client, ClientId, Unauthenticated};
use crate::admission::rate_limit::{Decision, RateLimiter, RateLimits};
use crate::clock::{Instant, WallTime};
use crate::metric::{self, Draft, Scratch};

/// A request that brings metrics.
#[derive(Clone, Copy)]
pub struct Submission<'a> {
    /// The value of Authorization. A secret.
    pub credential: Option<&'a [u8]>,
    /// Who is at the other end.
    pub peer: IpAddr,
    /// The body.
    pub body: &'a [u8],
    /// When it arrived: what the limiter counts by.
    pub now: Instant,
    /// When it arrived: the timestamp of metrics that bring none.
    pub arrival: WallTime,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Nobody we know.
    Unauthenticated(Unauthenticated),
    /// The client used up its second.
    RateLimited {
        /// Requests it may make in a second.
        limit: u32,
        /// When the next one is allowed.
        retry_after: Duration,
    },
    /// A new client, and all that may be tracked are in use.
    ClientsFull {
        /// `clients_max`
        limit: usize,
        /// When a place can be free.
        retry_after: Duration,
    },
    /// The body is not what it must be.
    Metrics(metric::Error),
}

/// Who is admitted and how often: what of the data path can change while it runs.
#[derive(Debug)]
pub struct Admission {
    /// Names the clients.
    pub authenticator: Authenticator,
    /// Requests a client may make in any one second that has no limit of its own; `None` is no limit.
    ///
    /// A change decides from the next request on, by what was counted before: the request is allowed if and
    /// only if fewer than the new limit were allowed in the last second. While there is no limit nothing is
    /// counted, so the first second after one is set forgets what came before it.
    pub requests_max: Option<NonZeroU32>,
}

/// What the data path makes of a submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Who it is from, unless that is why it is refused.
    pub client: Option<ClientId>,
    /// The number of metrics whose lines were added, or why none were.
    pub result: Result<u32, Refusal>,
}

/// The data path with its state.
#[derive(Debug)]
pub struct Ingest {
    limiter: RateLimiter,
    clients_max: usize,
    limits: metric::Limits,
}

/// The proof that a submission was admitted, and all that is left of it to be read.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    body: &'a [u8],
    arrival: WallTime,
}

impl Ingest {
    /// A data path that tracks clients by `rate` and takes metrics within `limits`. The limit of requests is
    /// that of the [`Admission`] a submission comes with.
    #[must_use]
    pub fn new(rate: RateLimits, limits: metric::Limits) -> Self {
        Self {
            limiter: RateLimiter::new(rate),
            clients_max: rate.clients_max,
            limits,
        }
    }

    /// The whole path: adds the lines of `submission`, if `admission` admits it, to `lines`; when it is
    /// refused, by the first step that refuses, `lines` is as it was.
    pub fn run(
        &self,
        admission: &Admission,
        submission: &Submission<'_>,
        scratch: &mut Scratch,
        lines: &mut Vec<u8>,
    ) -> Answer {
        match admission.identify(submission.credential, submission.peer) {
            Ok(Client { id, requests_max }) => {
                let requests_max = match requests_max {
                    Some(own) => NonZeroU32::new(own),
                    None => admission.requests_max,
                };
                Answer {
                    client: Some(id),
                    result: self.run_as(id, requests_max, submission, scratch, lines),
                }
            }
            Err(refusal) => Answer {
                client: None,
                result: Err(refusal),
            },
        }
    }

    fn run_as(
        &self,
        client: ClientId,
        requests_max: Option<NonZeroU32>,
        submission: &Submission<'_>,
        scratch: &mut Scratch,
        lines: &mut Vec<u8>,
    ) -> Result<u32, Refusal> {
        let admitted = self.admit(client, requests_max, submission)?;
        let draft = admitted.decode(&self.limits, scratch)?;
        let batch = draft.validate().map_err(Refusal::Metrics)?;
        batch.encode(admitted.arrival, lines);
        Ok(u32::try_from(batch.len()).unwrap_or(u32::MAX))
    }

    /// Admits a submission of `client`, which counts it.
    fn admit<'a>(
        &self,
        client: ClientId,
        requests_max: Option<NonZeroU32>,
        submission: &Submission<'a>,
    ) -> Result<Admitted<'a>, Refusal> {
        match self.limiter.allow_up_to(requests_max, client, submission.now) {
            Decision::Allowed => Ok(Admitted {
                body: submission.body,
                arrival: submission.arrival,
            }),
            Decision::Refused { retry_after } => {
                let limit = requests_max.map_or(u32::MAX, NonZeroU32::get);
                Err(Refusal::RateLimited { limit, retry_after })
            }
            Decision::TableFull { retry_after } => Err(Refusal::ClientsFull {
                limit: self.clients_max,
                retry_after,
            }),
        }
    }

    /// Forgets clients that made no request in the last second; changes no decision.
    pub fn sweep(&self, now: Instant) {
        self.limiter.sweep(now);
    }

    /// Clients tracked now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.limiter.clients()
    }

    /// Clients that may be tracked.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.clients_max
    }
}

impl Admission {
    /// Who a request is from, without counting it.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`].
    pub fn identify(&self, credential: Option<&[u8]>, peer: IpAddr) -> Result<Client, Refusal> {
        self.authenticator
            .recognise(credential, peer)
            .map_err(Refusal::Unauthenticated)
    }
}

impl<'a> Admitted<'a> {
    fn decode<'d>(self, limits: &metric::Limits, scratch: &'d mut Scratch) -> Result<Draft<'d>, Refusal>
    where
        'a: 'd,
    {
        metric::decode(self.body, limits, scratch).map_err(Refusal::Metrics)
    }
}
