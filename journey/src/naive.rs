//! The parser that most of us write first: look for the field's name, cut out what follows.
//!
//! It is right about the requests that its author had in mind. What is wrong with it:
//! - it scans the body from its start for each metric, and each metric once more for each of its five fields:
//!   the work grows with the square of the batch;
//! - it finds names inside of strings, ends a string at an escaped quote, takes any word for a number, lets
//!   a missing comma pass: it accepts what is no JSON and refuses some of what is;
//! - it copies every piece.
//!
//! Every byte that it looks at can be counted ([`Steps`]), so that its cost is a number and not an opinion.

use metricstream::clock::WallTime;
use metricstream::metric::time;

/// Counts the bytes looked at, or does not.
pub trait Steps {
    /// So many more.
    fn add(&mut self, bytes: usize);
}

/// No count, at no cost.
impl Steps for () {
    fn add(&mut self, _bytes: usize) {}
}

/// The count.
impl Steps for u64 {
    fn add(&mut self, bytes: usize) {
        *self += bytes as u64;
    }
}

/// One metric as text, pieces of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `name`
    pub name: String,
    /// `value`
    pub value: String,
    /// `type`
    pub kind: String,
    /// `tags`, braces included
    pub tags: String,
    /// `timestamp`, in milliseconds since 1970
    pub timestamp: Option<i64>,
}

/// The metrics of a body.
///
/// # Errors
/// What is missing, in words.
pub fn parse(body: &str, steps: &mut impl Steps) -> Result<Vec<Metric>, String> {
    let array = after(body, "\"metrics\"", steps).ok_or("no metrics in the body")?;
    let mut metrics = Vec::new();
    while let Some(object) = object(array, metrics.len(), steps) {
        metrics.push(metric(&object, steps)?);
    }
    if metrics.is_empty() {
        return Err("the batch is empty".to_owned());
    }
    Ok(metrics)
}

/// The lines to store for a body, and how many there are.
///
/// # Errors
/// What is missing, in words.
pub fn lines(body: &[u8], arrival: WallTime) -> Result<(u32, Vec<u8>), String> {
    let body = String::from_utf8(body.to_vec()).map_err(|_| "the body is no UTF-8")?;
    let metrics = parse(&body, &mut ())?;
    let mut lines = Vec::new();
    for metric in &metrics {
        let moment = time::format(metric.timestamp.unwrap_or(arrival.epoch_millis()));
        let line = format!(
            "{{\"timestamp\":\"{}\",\"name\":\"{}\",\"value\":{},\"type\":\"{}\",\"tags\":{}}}\n",
            String::from_utf8_lossy(&moment),
            metric.name,
            metric.value,
            metric.kind,
            metric.tags
        );
        lines.extend_from_slice(line.as_bytes());
    }
    Ok((u32::try_from(metrics.len()).unwrap_or(u32::MAX), lines))
}

fn metric(object: &str, steps: &mut impl Steps) -> Result<Metric, String> {
    let field = |name: &str, steps: &mut _| after(object, &format!("\"{name}\":"), steps);
    let name = field("name", steps).and_then(|rest| quoted(rest, steps));
    let value = field("value", steps).map(|rest| word(rest, steps));
    let kind = field("type", steps).and_then(|rest| quoted(rest, steps));
    let tags = field("tags", steps).and_then(|rest| braced(rest, steps));
    let timestamp = field("timestamp", steps).map(|rest| word(rest, steps));
    Ok(Metric {
        name: name.ok_or("a metric without a name")?,
        value: value.ok_or("a metric without a value")?,
        kind: kind.unwrap_or_else(|| "gauge".to_owned()),
        tags: tags.unwrap_or_else(|| "{}".to_owned()),
        timestamp: timestamp.and_then(|word| word.parse().ok()),
    })
}

/// The object number `wanted` of the array, found by counting braces from the start of it: each metric costs
/// a walk over all those before it.
fn object(array: &str, wanted: usize, steps: &mut impl Steps) -> Option<String> {
    let (mut depth, mut begin, mut seen) = (0_u32, 0, 0);
    for (at, byte) in array.bytes().enumerate() {
        steps.add(1);
        match byte {
            b'{' => {
                depth += 1;
                if depth == 1 {
                    begin = at;
                }
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && seen == wanted {
                    return Some(array[begin..=at].to_owned());
                }
                seen += usize::from(depth == 0);
            }
            b']' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// What follows `name`, wherever it stands.
fn after<'a>(text: &'a str, name: &str, steps: &mut impl Steps) -> Option<&'a str> {
    let at = text.find(name);
    steps.add(at.map_or(text.len(), |at| at + name.len()));
    at.map(|at| text[at + name.len()..].trim_start())
}

/// A string up to the next quote.
fn quoted(text: &str, steps: &mut impl Steps) -> Option<String> {
    let inner = text.strip_prefix('"')?;
    let end = inner.find('"')?;
    steps.add(end + 1);
    Some(inner[..end].to_owned())
}

/// An object up to the next closing brace.
fn braced(text: &str, steps: &mut impl Steps) -> Option<String> {
    let end = text.find('}')?;
    steps.add(end + 1);
    text.starts_with('{').then(|| text[..=end].to_owned())
}

/// Anything up to the next comma or brace.
fn word(text: &str, steps: &mut impl Steps) -> String {
    let end = text.find([',', '}']).unwrap_or(text.len());
    steps.add(end);
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"metrics":[{"name":"a","value":1.5,"tags":{"k":"v"},"timestamp":1767323045678},
        {"name":"b","value":2,"type":"counter"}]}"#;

    #[test]
    fn the_usual_request_is_read() {
        let (count, lines) = lines(BODY.as_bytes(), WallTime::from_epoch_millis(0)).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(count, 2);
        assert_eq!(
            lines,
            "{\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"name\":\"a\",\"value\":1.5,\"type\":\"gauge\",\"tags\":{\"k\":\"v\"}}\n\
             {\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"name\":\"b\",\"value\":2,\"type\":\"counter\",\"tags\":{}}\n"
        );
    }

    /// The chapters say that it is wrong in these ways; so it has to be.
    #[test]
    fn it_is_wrong_as_the_chapters_say() {
        let parsed = |body: &str| parse(body, &mut ());
        // No JSON, and accepted.
        assert!(parsed(r#"{"metrics":[{"name":"a","value":oops}]}"#).is_ok());
        assert!(parsed(r#""metrics" [{"name":"a" "value":1}"#).is_ok());
        // JSON, and misread: an escaped quote, a brace in a string.
        assert_eq!(
            parsed(r#"{"metrics":[{"name":"a\"b","value":1}]}"#).unwrap()[0].name,
            "a\\"
        );
        assert!(parsed(r#"{"metrics":[{"name":"}","value":1}]}"#).is_err());
    }

    #[test]
    fn the_work_grows_with_the_square_of_the_batch() {
        let steps = |metrics: usize| {
            let body = crate::parser_cost::body(metrics);
            let mut steps = 0_u64;
            parse(&body, &mut steps).unwrap();
            steps
        };
        let (one, two) = (steps(400), steps(800));
        assert!(two > 3 * one && two < 5 * one, "{one} steps, then {two}");
    }
}
