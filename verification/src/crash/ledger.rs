//! What was sent and what was answered, compared with what is stored.
//!
//! A line is known by its client (its name), its request and its place in it (its value: the request times
//! [`PLACES`] plus the place).
//!
//! Promises: [`Ledger::compare`] looks at every line of every segment, each held to be one JSON object of the
//! five members by serde_json. Leaves to the caller: that nothing is being written.

use super::{Error, Loss};
use metricstream::log::fs::SystemDisk;
use metricstream::log::reader::{Bounds, Form, Piece, Snapshot};
use serde_json::Value;
use std::path::Path;

/// More lines than a request has.
pub const PLACES: u64 = 1000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No answer came.
    Undecided,
    /// 200.
    Acknowledged,
    /// 503.
    Refused,
}

/// A request that was sent, or was about to be.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its lines.
    pub lines: u16,
    /// What became of it.
    pub fate: Fate,
    /// How many of its lines, from the first on, an earlier comparison found.
    kept: Option<u16>,
}

impl Request {
    /// One of `lines` lines without an answer.
    #[must_use]
    pub const fn new(lines: u16) -> Self {
        Self {
            lines,
            fate: Fate::Undecided,
            kept: None,
        }
    }
}

/// All requests of all clients, by client.
#[derive(Debug, Default)]
pub struct Ledger {
    clients: Vec<Vec<Request>>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Lines acknowledged since the comparison before.
    pub acknowledged: u64,
    /// Lines refused since.
    pub refused: u64,
    /// Lines without an answer since.
    pub undecided: u64,
    /// Of these, stored.
    pub undecided_stored: u64,
    /// Lines acknowledged since and not there.
    pub lost: u64,
    /// Segments.
    pub segments: u32,
    /// What is wrong besides, the first few.
    wrong: Vec<String>,
    wrong_count: u64,
}

impl Comparison {
    /// Whether all is as promised.
    ///
    /// # Errors
    /// [`Error::Broken`] with what is not.
    pub fn check(&self, loss: Loss) -> Result<(), Error> {
        if self.lost > 0 && loss == Loss::Forbidden {
            let (lost, acknowledged) = (self.lost, self.acknowledged);
            return Err(Error::Broken(format!(
                "{lost} of {acknowledged} lines acknowledged are not there: {}",
                self.wrong.join("; ")
            )));
        }
        if self.wrong_count > 0 {
            let count = self.wrong_count;
            return Err(Error::Broken(format!("{count} times: {}", self.wrong.join("; "))));
        }
        Ok(())
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.len() < 5 {
            self.wrong.push(what());
        }
    }

    fn complain(&mut self, what: impl FnOnce() -> String) {
        self.wrong_count += 1;
        self.note(what);
    }
}

impl Ledger {
    /// Nothing sent yet.
    #[must_use]
    pub fn new(clients: u32) -> Self {
        Self {
            clients: (0..clients).map(|_| Vec::new()).collect(),
        }
    }

    /// Gives the accounts to the clients.
    pub fn take(&mut self) -> Vec<Vec<Request>> {
        std::mem::take(&mut self.clients)
    }

    /// Takes them back, in the order of the clients.
    pub fn put(&mut self, clients: Vec<Vec<Request>>) {
        self.clients = clients;
    }

    /// Compares with the log in `data`.
    ///
    /// # Errors
    /// [`Error::Setup`] when it cannot be read.
    pub fn compare(&mut self, data: &Path) -> Result<Comparison, Error> {
        let mut comparison = Comparison::default();
        let mut seen: Vec<_> = self
            .clients
            .iter()
            .map(|requests| vec![0; requests.len()])
            .collect();
        let mut last = vec![None; self.clients.len()];
        let bounds = Bounds {
            line_bytes_max: 1024 * 1024,
            record_start: b"{",
        };
        let mut snapshot = Snapshot::take(&SystemDisk, data)?;
        let mut segments = Vec::new();
        for &sealed in &snapshot.sealed {
            segments.extend(snapshot.open(sealed)?);
        }
        segments.extend(snapshot.active.take());
        for segment in segments {
            comparison.segments += 1;
            let name = segment.name;
            let mut reader = segment.lines(bounds)?;
            while let Some(piece) = reader.next_piece()? {
                let found = identity(piece).filter(|(line, _)| self.knows(*line));
                let Some((line, value)) = found else {
                    let text = String::from_utf8_lossy(piece.bytes).into_owned();
                    let offset = piece.offset;
                    comparison.complain(|| format!("{name} at byte {offset} has no line of ours: {text:?}"));
                    continue;
                };
                if last[line.client] >= Some(value) {
                    comparison.complain(|| format!("{line:?} comes twice or late"));
                }
                last[line.client] = Some(value);
                let count: &mut u16 = &mut seen[line.client][line.request];
                if *count != line.place {
                    comparison.note(|| format!("{line:?} comes without the line before it"));
                }
                *count += 1;
            }
        }
        self.judge(&seen, &mut comparison);
        Ok(comparison)
    }

    fn knows(&self, line: Line) -> bool {
        let requests = self.clients.get(line.client);
        let request = requests.and_then(|requests| requests.get(line.request));
        request.is_some_and(|request| line.place < request.lines)
    }

    fn judge(&mut self, seen: &[Vec<u16>], comparison: &mut Comparison) {
        for (client, (requests, seen)) in self.clients.iter_mut().zip(seen).enumerate() {
            for (number, (request, &seen)) in requests.iter_mut().zip(seen).enumerate() {
                let lines = request.lines;
                let named = || format!("client {client} request {number}: {seen} of {lines} lines");
                if let Some(kept) = request.kept {
                    if kept != seen {
                        comparison.complain(|| format!("{}, {kept} before", named()));
                        comparison.lost += u64::from(kept.saturating_sub(seen));
                    }
                    continue;
                }
                request.kept = Some(seen);
                match request.fate {
                    Fate::Acknowledged => {
                        comparison.acknowledged += u64::from(lines);
                        // A line that came twice has been complained of.
                        comparison.lost += u64::from(lines.saturating_sub(seen));
                        if seen < lines {
                            comparison.note(|| format!("{} acknowledged", named()));
                        }
                    }
                    Fate::Refused => {
                        comparison.refused += u64::from(lines);
                        if seen > 0 {
                            comparison.complain(|| format!("{} refused", named()));
                        }
                    }
                    Fate::Undecided => {
                        comparison.undecided += u64::from(lines);
                        comparison.undecided_stored += u64::from(seen);
                    }
                }
            }
        }
    }
}

/// Which line it is.
#[derive(Clone, Copy, Debug)]
struct Line {
    client: usize,
    request: usize,
    place: u16,
}

/// Which line a piece is, and its value; none for what is no line.
fn identity(piece: Piece<'_>) -> Option<(Line, u64)> {
    if piece.form != Form::Line {
        return None;
    }
    let Value::Object(members) = serde_json::from_slice(piece.bytes).ok()? else {
        return None;
    };
    let value = members.get("value")?.as_u64()?;
    let client = members.get("name")?.as_str()?.parse().ok()?;
    let whole = members.len() == 5
        && members.get("timestamp")?.as_str()?.len() == 24
        && members.get("type")?.as_str()? == "gauge"
        && members.get("tags")?.as_object()?.is_empty();
    let line = Line {
        client,
        request: usize::try_from(value / PLACES).ok()?,
        place: u16::try_from(value % PLACES).ok()?,
    };
    whole.then_some((line, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: u32, request: u64, place: u64) -> String {
        let value = request * PLACES + place;
        format!(
            "{{\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"name\":\"{client}\",\"value\":{value},\
             \"type\":\"gauge\",\"tags\":{{}}}}\n"
        )
    }

    /// Two requests of client 0 with two lines each, the first acknowledged, the second of the given fate.
    fn compared(content: &str, second: Fate) -> Comparison {
        let data = std::env::temp_dir().join(format!("metricstream-ledger-{}", std::process::id()));
        let data = data.join(format!(
            "{:x}",
            content.len() * 31 + content.bytes().map(usize::from).sum::<usize>()
        ));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("metrics.jsonl"), content).unwrap();
        let mut ledger = Ledger::new(1);
        let mut requests = vec![Request::new(2), Request::new(2)];
        requests[0].fate = Fate::Acknowledged;
        requests[1].fate = second;
        ledger.put(vec![requests]);
        let comparison = ledger.compare(&data).unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        comparison
    }

    #[test]
    fn what_is_not_as_promised_is_said() {
        let whole = line(0, 0, 0) + &line(0, 0, 1);
        let (third, fourth) = (line(0, 1, 0), line(0, 1, 1));
        for (content, second, part) in [
            (whole.clone(), Fate::Undecided, None),
            (whole.clone() + &third, Fate::Undecided, None),
            (whole.clone() + &third + &fourth, Fate::Acknowledged, None),
            (whole.clone() + &third, Fate::Acknowledged, Some("1 of 4 lines")),
            (whole.clone() + &third, Fate::Refused, Some("refused")),
            (
                whole.clone() + &whole,
                Fate::Undecided,
                Some("comes twice or late"),
            ),
            (
                third.clone() + &whole,
                Fate::Undecided,
                Some("comes twice or late"),
            ),
            (whole.clone() + "{}\n", Fate::Undecided, Some("no line of ours")),
            (whole.clone() + "x", Fate::Undecided, Some("no line of ours")),
            (
                whole.clone() + &line(0, 2, 0),
                Fate::Undecided,
                Some("no line of ours"),
            ),
            (
                whole.clone() + &line(1, 0, 0),
                Fate::Undecided,
                Some("no line of ours"),
            ),
            (line(0, 0, 1), Fate::Undecided, Some("1 of 2 lines")),
        ] {
            let result = compared(&content, second).check(Loss::Forbidden);
            match part {
                None => assert!(result.is_ok(), "{result:?}"),
                Some(part) => assert!(result.unwrap_err().to_string().contains(part), "{content} {part}"),
            }
        }
        assert!(
            compared(&line(0, 0, 0), Fate::Undecided)
                .check(Loss::Counted)
                .is_ok()
        );
    }
}
