//! What must hold after an execution: the promises of the server as its clients and its disk saw them.
//!
//! | promise | function |
//! |---|---|
//! | every whole request on a connection that stays is answered, in order, with the right status | `judge_conversation` |
//! | a reload takes hold as a whole, and at the latest for what is sent after it | `judge_rules` |
//! | a 503 has a cause, a 429 is exact | `judge_causes`, `judge_rates` |
//! | acknowledged lines are there exactly once as far as their level promises, refused ones are not, all in order, and no other | `judge_lines` |
//! | a stop drains, ends in time and leaves nothing behind | `judge_stop` |
//! | the log can be opened again and goes on | `judge_reopening` |

use super::BEGIN_NANOS;
use super::client::{Conversation, Ending, Exchange};
use super::plan::{End, PANICS, TURN_LINES_BYTES_MAX};
use super::reply::Reply;
use super::request::Kind;
use super::world::World;
use metricstream::app::StopReport;
use metricstream::clock::Instant;
use metricstream::config::AckLevel;
use metricstream::limits::RATE_WINDOW;
use metricstream::log::{self, Level, Log, Operation, Status};
use metricstream::sync::shim::{seeded, time};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How much later than its deadline a stop may end: a wait of the reactor, and of the housekeeper.
const STOP_SLACK: Duration = Duration::from_millis(50);

/// What an execution left behind.
#[derive(Debug)]
pub struct Facts {
    /// What the stop said.
    pub report: StopReport,
    /// How long it took.
    pub stopped_after: Duration,
    /// How the log was after it.
    pub status: Status,
    /// The process had ended before.
    pub crashed: bool,
    /// The places reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// What the clients saw.
    pub conversations: Vec<Conversation>,
}

impl Facts {
    /// The places reached, those of the checks included.
    #[must_use]
    pub fn all_reached(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.reached.clone();
        for (place, count) in seeded::end() {
            *all.entry(place).or_default() += count;
        }
        all
    }

    fn panicked(&self) -> bool {
        PANICS.iter().any(|place| self.reached.contains_key(place))
    }

    fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.conversations
            .iter()
            .flat_map(|conversation| &conversation.exchanges)
    }

    fn count_code(&self, code: &str) -> u64 {
        let replies = self.exchanges().filter_map(|exchange| exchange.reply.as_ref());
        replies.filter(|reply| reply.code == code).count() as u64
    }

    /// Bytes in the file may be those of a group that could not be cut off.
    fn is_file_doubtful(&self) -> bool {
        self.crashed
            || self
                .status
                .progress
                .last_failure
                .is_some_and(|failure| failure.operation == Operation::Truncate)
    }
}

/// Every promise; what is broken, in words.
#[must_use]
pub fn judge(world: &World, facts: &Facts) -> Vec<String> {
    let mut broken = Vec::new();
    for conversation in &facts.conversations {
        judge_conversation(world, facts, conversation, &mut |what| {
            broken.push(format!("connection {}: {what}", conversation.name));
        });
    }
    judge_rules(world, facts, &mut broken);
    judge_causes(world, facts, &mut broken);
    judge_rates(world, facts, &mut broken);
    judge_stop(world, facts, &mut broken);
    judge_disk(world, facts, &mut broken);
    broken
}

/// Whether the server may have given up on a client by `nanos`.
fn is_late(world: &World, nanos: u64) -> bool {
    Duration::from_nanos(nanos - BEGIN_NANOS) >= world.plan.patience()
}

fn judge_conversation(
    world: &World,
    facts: &Facts,
    conversation: &Conversation,
    complain: &mut dyn FnMut(String),
) {
    let late = is_late(world, conversation.ended_nanos);
    for (index, exchange) in conversation.exchanges.iter().enumerate() {
        if let Some(reply) = &exchange.reply
            && let Err(what) = judge_reply(world, facts, exchange, reply, index == 0, late)
        {
            complain(format!("{:?} {index}: {what}: {reply:?}", exchange.request.kind));
        }
    }
    let closed_by_reply = conversation
        .exchanges
        .iter()
        .filter_map(|exchange| exchange.reply.as_ref())
        .any(|reply| reply.close);
    let unanswered = conversation
        .exchanges
        .iter()
        .any(|exchange| exchange.whole && exchange.reply.is_none());
    let excused = late || facts.panicked() || facts.crashed || conversation.past_deadline;
    let lost = (unanswered && !closed_by_reply) || conversation.leftover > 0;
    match conversation.ending {
        Ending::Refused if !conversation.stopping && !facts.crashed => complain("refused".to_owned()),
        Ending::Closed if lost && !excused => complain(format!(
            "closed with a request unanswered ({unanswered}) or a reply cut off ({} bytes)",
            conversation.leftover
        )),
        Ending::Closed
            if !closed_by_reply && !conversation.finished && !excused && !conversation.stopping =>
        {
            complain("closed for no reason".to_owned());
        }
        Ending::Reset if !closed_by_reply && !excused && !conversation.stopping => {
            let refused = world.server.stats.connections_refused.get() > 0;
            if !(refused && conversation.exchanges[0].reply.is_none()) {
                complain("reset for no reason".to_owned());
            }
        }
        _ => {}
    }
}

/// Whether `reply` may be the answer to its request.
fn judge_reply(
    world: &World,
    facts: &Facts,
    exchange: &Exchange,
    reply: &Reply,
    first: bool,
    late: bool,
) -> Result<(), &'static str> {
    let request = &exchange.request;
    let kind = request.kind;
    let config = &world.plan.config;
    let trouble = facts.crashed || facts.status.progress.failures > 0;
    let ends_connection = match (reply.status, reply.code.as_str()) {
        (503, "connections_full") if first => true,
        (503, "connections_full") => return Err("a place was taken already"),
        (408, _) if late => true,
        (408, _) => return Err("too early"),
        (503, "buffers_full") if config.request_buffer_bytes_max < 10_000 => true,
        _ => false,
    };
    let expected = ends_connection
        || match (kind, reply.status, reply.code.as_str()) {
            (Kind::Metrics, 200, "") => {
                if !exchange.whole {
                    return Err("a success before the request was whole");
                }
                reply.metrics == Some(request.metrics.len() as u64)
            }
            (Kind::Metrics, 503, "log_queue_full") => true,
            (Kind::Metrics, 413, "batch_too_large") => config.log_queue_bytes_max < TURN_LINES_BYTES_MAX,
            (Kind::Metrics, 503, "log_failed" | "log_resting") => trouble,
            (Kind::Metrics, 503, "stopping") => exchange.stopping_at_reply,
            (Kind::Metrics | Kind::BadJson | Kind::BadMetrics, 429, "rate_limited") => {
                config.client_requests_per_second_max.is_some()
            }
            (Kind::Metrics | Kind::BadJson | Kind::BadMetrics, 503, "queue_full") => true,
            (Kind::Metrics | Kind::BadJson | Kind::BadMetrics, 401, "unauthenticated")
            | (Kind::Statistics, 403, "forbidden") => world.plan.reload.is_some(),
            (Kind::Page | Kind::Statistics | Kind::Ready, 200, "") => true,
            (Kind::Ready, 503, "") => exchange.stopping_at_reply || trouble,
            (Kind::BadJson, 400, "bad_json") | (Kind::BadMetrics, 400, "bad_metrics") => true,
            (Kind::NotFound, 404, _) | (Kind::BadMethod, 405, _) | (Kind::NoLength, 411, _) => true,
            (Kind::Malformed, 400, "bad_request") | (Kind::TooLarge, 413, "body_too_large") => true,
            _ => false,
        };
    if !expected {
        return Err("not an answer to this");
    }
    let ends = ends_connection || matches!(kind, Kind::Malformed | Kind::TooLarge);
    let must_close = ends || request.close || exchange.stopping_before_end;
    // What is refused for its head alone ends the connection when its body is still to come.
    let early = matches!(kind, Kind::NotFound | Kind::BadMethod | Kind::NoLength) || reply.status == 401;
    let may_close = must_close || exchange.stopping_at_reply || early;
    match reply.close {
        false if must_close => Err("does not say that the connection ends"),
        true if !may_close => Err("ends the connection for no reason"),
        _ => Ok(()),
    }
}

/// Before the reload nobody is answered by the new rules; who begins to send after it, or after anybody had
/// an answer by them, is, in everything; and nobody goes back.
fn judge_rules(world: &World, facts: &Facts, broken: &mut Vec<String>) {
    let Some(reload) = &world.plan.reload else { return };
    for conversation in &facts.conversations {
        let mut by_new_before = false;
        for exchange in &conversation.exchanges {
            let Some(strict) = exchange.is_by_strict_rules() else {
                continue;
            };
            let by_new = strict == reload.to_strict;
            let what = match by_new {
                true if !exchange.reloading_at_reply => "by rules that are not in force yet",
                false if exchange.reloaded_before_begin => {
                    "by the old rules, and sent when the new ones were in force"
                }
                false if by_new_before => "by the old rules, and an earlier one by the new",
                _ => {
                    by_new_before |= by_new;
                    continue;
                }
            };
            broken.push(format!("connection {}: {what}: {exchange:?}", conversation.name));
        }
    }
}

/// Refusals against the server's own counters, and against what can have been full at all.
fn judge_causes(world: &World, facts: &Facts, broken: &mut Vec<String>) {
    let stats = &world.server.stats;
    let config = &world.plan.config;
    let mut check = |code: &str, counted: u64, possible: bool| {
        let seen = facts.count_code(code);
        if seen > counted || (seen > 0 && !possible) {
            broken.push(format!(
                "{seen} replies {code}, {counted} counted, possible: {possible}"
            ));
        }
    };
    let connections = world.plan.connections();
    let metrics = facts.exchanges().map(|exchange| exchange.request.metrics.len());
    let lines_bytes = 130 * metrics.sum::<usize>();
    let mut levels = facts.exchanges().map(|exchange| level_of(world, exchange));
    let one_batch_each = levels.all(|level| level != AckLevel::Queued);
    let log_can_be_full = lines_bytes > config.log_queue_bytes_max
        || connections > config.log_queue_batches_max
        || !one_batch_each;
    check(
        "queue_full",
        stats.refused_queue_full.get(),
        connections > config.queue_jobs_max,
    );
    check("log_queue_full", stats.refused_log_full.get(), log_can_be_full);
    check(
        "connections_full",
        stats.connections_refused.get(),
        connections > config.connections_max,
    );
    check("rate_limited", stats.refused_rate_limited.get(), true);
    let log_failed = stats.refused_log_failed.get();
    check("log_failed", log_failed, log_failed > 0);
    check("log_resting", log_failed, config.breaker_failures_max > 0);
    let acknowledged = facts.exchanges().filter(|exchange| is_acknowledged(exchange));
    let acknowledged: u64 = acknowledged
        .map(|exchange| exchange.request.metrics.len() as u64)
        .sum();
    let unknown = facts
        .exchanges()
        .filter(|exchange| exchange.reply.is_none() || !exchange.whole);
    let unknown: u64 = unknown
        .map(|exchange| exchange.request.metrics.len() as u64)
        .sum();
    let counted = stats.metrics_acknowledged.get();
    if counted < acknowledged || counted > acknowledged + unknown {
        broken.push(format!(
            "{acknowledged} metrics acknowledged, {unknown} unknown, {counted} counted"
        ));
    }
}

fn level_of(world: &World, exchange: &Exchange) -> AckLevel {
    exchange.request.level.unwrap_or(world.plan.config.ack_level)
}

fn is_acknowledged(exchange: &Exchange) -> bool {
    exchange.request.kind == Kind::Metrics && exchange.reply.as_ref().is_some_and(|reply| reply.status == 200)
}

/// Each client against its limit: in one second so many are allowed, and nobody below is refused.
fn judge_rates(world: &World, facts: &Facts, broken: &mut Vec<String>) {
    let Some(limit) = world.plan.config.client_requests_per_second_max else {
        return;
    };
    let limit = u64::from(limit.get());
    let seconds = (time::now_nanos() - BEGIN_NANOS) / RATE_WINDOW.as_nanos() as u64;
    for credential in 0..3 {
        let (mut allowed, mut refused, mut unknown) = (0, 0, 0);
        let counted =
            |exchange: &&Exchange| exchange.request.is_counted() && exchange.request.credential == credential;
        for exchange in facts.exchanges().filter(counted) {
            match exchange
                .reply
                .as_ref()
                .map(|reply| (reply.status, reply.code.as_str()))
            {
                None => unknown += 1,
                Some((429, _)) => refused += 1,
                Some((200 | 400 | 413, _))
                | Some((503, "log_queue_full" | "log_failed" | "log_resting" | "stopping")) => {
                    allowed += 1;
                }
                Some(_) => {}
            }
        }
        if allowed > limit * (seconds + 1) {
            broken.push(format!("{allowed} allowed in {seconds} s, the limit is {limit}"));
        }
        if refused > 0 && allowed + unknown < limit {
            broken.push(format!(
                "{refused} refused, and only {allowed} allowed of {limit}"
            ));
        }
    }
}

fn judge_stop(world: &World, facts: &Facts, broken: &mut Vec<String>) {
    let server = &world.server;
    let timers = world.plan.timers;
    if timers.stop_quiet && facts.stopped_after > world.plan.config.stop_timeout + STOP_SLACK {
        broken.push(format!("the stop took {:?}", facts.stopped_after));
    }
    let cut = facts.report.connections_cut;
    if cut > 0 && facts.stopped_after < world.plan.config.stop_timeout {
        broken.push(format!("{cut} connections cut before the deadline"));
    }
    let left = [
        ("connections", server.table.open()),
        (
            "leases",
            usize::try_from(server.stats.connections_open()).unwrap_or(usize::MAX),
        ),
        ("bytes of buffers", server.buffers.used()),
        ("bytes for the log", facts.status.queue_bytes),
        ("batches for the log", facts.status.queue_batches),
    ];
    for (what, count) in left {
        if count > 0 {
            broken.push(format!("{count} {what} left after the stop"));
        }
    }
    let poisoned = matches!(facts.status.refusing, Some(log::Refusal::Poisoned(_)));
    if facts.report.log_complete == poisoned {
        broken.push(format!("the log is complete: {}", facts.report.log_complete));
    }
}

/// The file, before and after what happens to the machine.
fn judge_disk(world: &World, facts: &Facts, broken: &mut Vec<String>) {
    let progress = facts.status.progress;
    if !facts.is_file_doubtful() {
        let content = content_of(world);
        let records = lines_of(&content).len() as u64;
        let old = lines_of(world.plan.old.as_bytes()).len() as u64;
        if records != old + progress.records {
            broken.push(format!(
                "{records} lines, {old} old ones, {} written",
                progress.records
            ));
        }
    }
    let power_cut = matches!(world.plan.end, End::PowerCut(_) | End::StopThenPowerCut);
    if power_cut {
        world.disk.cut_power(world.plan.survival);
    } else {
        world.disk.restart();
    }
    world.disk.set_space(None);
    world.disk.set_plan(|_| log::simulated::Fault::None);
    judge_reopening(world, broken);
    let flushed = !facts.crashed && progress.synced_bytes == progress.file_bytes;
    let stopped = !facts.crashed && progress.failures == 0;
    let promised = |level| match level {
        AckLevel::Queued => stopped,
        AckLevel::Written => stopped || !power_cut || flushed,
        AckLevel::Synced => true,
    };
    judge_lines(world, facts, &promised, broken);
}

/// Opens the log again, appends a line and closes it.
fn judge_reopening(world: &World, broken: &mut Vec<String>) {
    let settings = log::Settings {
        level: Level::Synced,
        segment_bytes_max: world.plan.config.segment_bytes_max,
        ..log::Settings::in_directory(&world.plan.config.data_dir)
    };
    let log = match Log::<()>::open(&world.disk, &settings, || Instant::ZERO, |(), _| {}) {
        Ok(log) => log,
        Err(error) => return broken.push(format!("the log cannot be opened again: {error}")),
    };
    if log.append(b"{\"name\":\"again\",\"value\":1}\n", 1, ()).is_err() {
        broken.push("the log takes nothing".to_owned());
    }
    log.drain();
    let content = content_of(world);
    if !content.ends_with(b"\n{\"name\":\"again\",\"value\":1}\n") && lines_of(&content).len() > 1 {
        broken.push("a line after the opening is not whole".to_owned());
    }
}

/// All segments, in the order in which they were written.
fn content_of(world: &World) -> Vec<u8> {
    let paths = world.disk.paths().into_iter();
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // By name: the numbers have as many digits each, and the active one comes after any digit.
    let mut segments: Vec<_> = paths
        .filter_map(|path| Some((name(&path)?, path)))
        .filter(|(name, _)| name.starts_with("metrics.") && name.ends_with(".jsonl"))
        .collect();
    segments.sort();
    let mut all = Vec::new();
    for (_, path) in segments {
        all.extend(world.disk.content(&path));
    }
    all
}

/// The whole lines of a file.
fn lines_of(content: &[u8]) -> Vec<&[u8]> {
    let whole = content
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    content[..whole].split_inclusive(|&byte| byte == b'\n').collect()
}

fn judge_lines(world: &World, facts: &Facts, promised: &dyn Fn(AckLevel) -> bool, broken: &mut Vec<String>) {
    let content = content_of(world);
    let mut found = Vec::new();
    for line in lines_of(&content) {
        match serde_json::from_slice::<serde_json::Value>(line) {
            Ok(line) => found.push((
                line["name"].as_str().unwrap_or_default().to_owned(),
                line["value"].as_i64(),
            )),
            Err(error) => broken.push(format!("{error}: {:?}", String::from_utf8_lossy(line))),
        }
    }
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, (name, _)) in found.iter().enumerate() {
        if places.insert(name, place).is_some() {
            broken.push(format!("{name} is there twice"));
        }
    }
    let mut known = 1 + lines_of(world.plan.old.as_bytes()).len();
    for number in 0..known - 1 {
        if !places.contains_key(format!("old.{number}").as_str()) {
            broken.push(format!("old.{number} is gone"));
        }
    }
    for conversation in &facts.conversations {
        let mut last = None;
        for exchange in &conversation.exchanges {
            let metrics = &exchange.request.metrics;
            let there: Vec<_> = metrics
                .iter()
                .filter_map(|metric| Some((metric, *places.get(metric.name.as_str())?)))
                .collect();
            known += there.len();
            for (metric, place) in &there {
                if found[*place].1 != Some(metric.value) {
                    broken.push(format!("{} has the value {:?}", metric.name, found[*place].1));
                }
                if last.is_some_and(|last| last > *place) {
                    broken.push(format!("{} is out of order", metric.name));
                }
                last = Some(*place);
            }
            let promised = promised(level_of(world, exchange));
            if let Err(what) = judge_presence(facts, exchange, there.len(), promised) {
                broken.push(format!(
                    "connection {}: of {:?} {} are there: {what}: {:?}",
                    conversation.name,
                    metrics,
                    there.len(),
                    exchange.reply
                ));
            }
        }
    }
    if known != found.len() {
        broken.push(format!("{} lines, {known} known: {found:?}", found.len()));
    }
}

/// How many of a request's lines may be there.
fn judge_presence(
    facts: &Facts,
    exchange: &Exchange,
    there: usize,
    promised: bool,
) -> Result<(), &'static str> {
    let all = exchange.request.metrics.len();
    if is_acknowledged(exchange) && promised && there < all {
        return Err("acknowledged, and not there");
    }
    let refused = match &exchange.reply {
        None => !exchange.whole,
        Some(reply) => reply.status != 200 && reply.code != "log_failed",
    };
    if refused && there > 0 {
        return Err("refused, and there");
    }
    if there != 0 && there != all && !facts.is_file_doubtful() {
        return Err("a part of them");
    }
    Ok(())
}
