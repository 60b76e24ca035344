//! How `top` looks: everything fits 80 columns and 24 rows; a larger terminal shows more of it.
//!
//! Promises: drawing any model in any size does not panic. Text of the server is drawn without its control
//! characters. Colours only add to what the text says.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table};

use super::model::{self, Alert, Limit, Model, Stats};

const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;

/// Alerts shown, at most.
const ALERTS_MAX: usize = 4;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Whether the terminal has colours and the user wants them.
    pub(super) colors: bool,
    /// Whether keys do something.
    pub(super) interactive: bool,
}

impl View {
    pub(super) fn draw(self, frame: &mut Frame<'_>, model: &Model) {
        let area = frame.area();
        if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
            let text = format!("{WIDTH_MIN} columns and {HEIGHT_MIN} rows are needed");
            return frame.render_widget(Paragraph::new(text), area);
        }
        let Some(stats) = &model.stats else {
            let problem = model.problem.as_deref().unwrap_or("asking");
            let text = format!("{}: {problem}\n\n{}", model.server, self.keys(model));
            return frame.render_widget(Paragraph::new(text), area);
        };
        let alerts = alert_rows(stats);
        let endpoints = stats.latencies().count();
        let height = |rows: usize| Constraint::Length(u16::try_from(rows).unwrap_or(u16::MAX));
        let [title, alerts_area, middle, latency, clients, keys] = Layout::vertical([
            height(1),
            height(alerts.len().clamp(1, ALERTS_MAX) + 1),
            height(stats.limits.len().max(6) + 2),
            height(endpoints.max(1) + 2),
            Constraint::Min(0),
            height(usize::from(self.interactive)),
        ])
        .areas(area);
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(52), Constraint::Percentage(48)]).areas(middle);
        self.title(frame, title, model, stats);
        self.alerts(frame, alerts_area, stats, &alerts);
        self.rates(frame, left, model);
        self.limits(frame, right, &stats.limits);
        self.latency(frame, latency, stats);
        self.clients(frame, clients, stats);
        frame.render_widget(Paragraph::new(self.keys(model)).style(self.dim()), keys);
    }

    fn keys(self, model: &Model) -> String {
        if !self.interactive {
            return String::new();
        }
        let paused = if model.paused { "  PAUSED" } else { "" };
        let every = model.interval.as_secs_f64();
        format!("q quit  p pause  +/- every {every} s{paused}")
    }

    fn color(self, color: Color) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn heading(self, frame: &mut Frame<'_>, area: Rect, text: &str) -> Rect {
        let [line, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        frame.render_widget(Paragraph::new(text).style(self.bold()), line);
        rest
    }

    fn title(self, frame: &mut Frame<'_>, area: Rect, model: &Model, stats: &Stats) {
        let state = match (&model.problem, stats.ready, &stats.not_ready_because) {
            (Some(problem), ..) => Span::styled(format!("NO ANSWER: {problem}"), self.color(Color::Red)),
            (None, true, _) => Span::styled("ready", self.color(Color::Green)),
            (None, false, reason) => {
                let reason = reason.as_deref().unwrap_or("unknown");
                Span::styled(format!("NOT READY: {reason}"), self.color(Color::Red))
            }
        };
        let about = format!(
            "metricstream {} at {}  up {}  {}  ",
            stats.version,
            model.server,
            time(stats.uptime_s),
            bytes(stats.gauge("resident_memory_bytes")),
        );
        frame.render_widget(Line::from(vec![Span::styled(about, self.bold()), state]), area);
    }

    fn alerts(self, frame: &mut Frame<'_>, area: Rect, stats: &Stats, rows: &[&Alert]) {
        if rows.is_empty() {
            let text = format!("alerts: {} rules, all ok", stats.alerts.len());
            return frame.render_widget(Paragraph::new(text).style(self.color(Color::Green)), area);
        }
        let left_out = rows.len().saturating_sub(ALERTS_MAX);
        let lines = rows.iter().take(ALERTS_MAX).enumerate().map(|(place, alert)| {
            let style = match alert.state.as_str() {
                "firing" => self.color(Color::Red).add_modifier(Modifier::BOLD),
                "pending" => self.color(Color::Yellow),
                _ => self.dim(),
            };
            let since = alert.since_s.map_or_else(String::new, time);
            let mut text = format!(
                "{} {} ({}) {}, now {}, {since}",
                alert.state.to_uppercase(),
                alert.name,
                alert.severity,
                alert.condition,
                number(alert.value),
            );
            if place + 1 == ALERTS_MAX && left_out > 0 {
                text = format!("and {left_out} more; {text}");
            }
            Line::styled(text, style)
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    }

    fn rates(self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let area = self.heading(frame, area, "now");
        let rows: [(&str, &model::Line, Unit, Color); 5] = [
            ("requests/s", &model.requests_per_s, count, Color::Cyan),
            ("metrics/s", &model.metrics_per_s, count, Color::Cyan),
            ("refused/s", &model.refused_per_s, count, Color::Yellow),
            ("ingest p99", &model.p99_us, micros, Color::Magenta),
            ("log queue", &model.log_queue_bytes, size, Color::Blue),
        ];
        for ((name, line, unit, color), row) in rows.into_iter().zip(area.rows()) {
            let [label, value, plot] =
                Layout::horizontal([Constraint::Length(11), Constraint::Length(10), Constraint::Min(0)])
                    .areas(row);
            let plot = Rect {
                x: plot.x.saturating_add(1),
                width: plot.width.saturating_sub(3),
                ..plot
            };
            frame.render_widget(Paragraph::new(name), label);
            let now = line
                .back()
                .copied()
                .flatten()
                .map_or_else(|| "-".to_owned(), unit);
            frame.render_widget(Paragraph::new(now).right_aligned(), value);
            let shown = line.len().saturating_sub(usize::from(plot.width));
            let points = line.iter().skip(shown).copied();
            let sparkline = Sparkline::default().data(points).absent_value_symbol(" ");
            frame.render_widget(sparkline.style(self.color(color)), plot);
        }
    }

    fn limits(self, frame: &mut Frame<'_>, area: Rect, limits: &[Limit]) {
        let area = self.heading(frame, area, "limits");
        for (limit, row) in limits.iter().zip(area.rows()) {
            let style = match limit.ratio {
                ratio if ratio >= 0.95 => self.color(Color::Red),
                ratio if ratio >= 0.8 => self.color(Color::Yellow),
                _ => Style::new(),
            };
            let [label, percent, use_of] =
                Layout::horizontal([Constraint::Length(21), Constraint::Length(6), Constraint::Min(0)])
                    .areas(row);
            let is_bytes = limit.limit.ends_with("_bytes");
            let max = if is_bytes {
                bytes(limit.max)
            } else {
                number(limit.max)
            };
            let value = if is_bytes {
                bytes(limit.value)
            } else {
                number(limit.value)
            };
            let detail = if use_of.width >= 20 {
                format!(" {value} of {max}")
            } else {
                format!(" {max}")
            };
            frame.render_widget(Paragraph::new(limit.limit.as_str()).style(style), label);
            let share = format!("{:.1}%", limit.ratio * 100.0);
            frame.render_widget(Paragraph::new(share).right_aligned().style(style), percent);
            frame.render_widget(Paragraph::new(detail).style(self.dim()), use_of);
        }
    }

    fn latency(self, frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
        let heads = ["latency, last 10 s", "count", "p50", "p95", "p99", "p99.9", "max"];
        let rows = stats.latencies().map(|(name, recent)| {
            let times = [
                recent.p50_us,
                recent.p95_us,
                recent.p99_us,
                recent.p999_us,
                recent.max_us,
            ];
            let mut cells = vec![name.to_owned(), recent.count.to_string()];
            cells.extend(times.map(micros));
            cells
        });
        self.table(frame, area, &heads, rows.collect(), 19);
    }

    fn clients(self, frame: &mut Frame<'_>, area: Rect, stats: &Stats) {
        let heads = ["clients", "allowed/s", "refused/s", "allowed", "refused"];
        let rows = stats.clients.top.iter().map(|client| {
            vec![
                client.client.clone(),
                number(client.allowed_per_s),
                number(client.refused_per_s),
                client.allowed.to_string(),
                client.refused.to_string(),
            ]
        });
        self.table(frame, area, &heads, rows.collect(), 24);
    }

    /// The first column is text, the others are numbers.
    fn table(self, frame: &mut Frame<'_>, area: Rect, heads: &[&str], rows: Vec<Vec<String>>, first: u16) {
        let line = |cells: Vec<String>| {
            let cells = cells.into_iter().enumerate().map(|(column, cell)| {
                let text = Line::from(cell);
                if column == 0 { text } else { text.right_aligned() }
            });
            Row::new(cells.collect::<Vec<_>>())
        };
        let mut widths = vec![Constraint::Min(first)];
        widths.extend(heads.iter().skip(1).map(|_| Constraint::Length(10)));
        if heads.len() > 5 {
            widths = vec![Constraint::Min(first)];
            widths.extend(heads.iter().skip(1).map(|_| Constraint::Length(8)));
        }
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        let table = Table::new(rows.into_iter().map(line), widths).header(line(heads).style(self.bold()));
        frame.render_widget(table, area);
    }
}

/// The alerts that are not simply ok, the worst first.
fn alert_rows(stats: &Stats) -> Vec<&Alert> {
    let rank = |alert: &Alert| match alert.state.as_str() {
        "firing" => 0,
        "pending" => 1,
        _ => 2,
    };
    let mut rows: Vec<_> = stats.alerts.iter().filter(|alert| alert.state != "ok").collect();
    rows.sort_by_key(|alert| rank(alert));
    rows
}

/// How a number of a sparkline is written.
type Unit = fn(u64) -> String;

#[allow(clippy::cast_precision_loss, reason = "for the eye")]
fn count(value: u64) -> String {
    number(value as f64)
}

#[allow(clippy::cast_precision_loss, reason = "for the eye")]
fn size(value: u64) -> String {
    bytes(value as f64)
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2}G", value / 1e9),
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[allow(clippy::cast_precision_loss, reason = "for the eye")]
fn micros(value: u64) -> String {
    match value {
        0..1_000 => format!("{value}us"),
        1_000..1_000_000 => format!("{:.1}ms", value as f64 / 1e3),
        _ => format!("{:.2}s", value as f64 / 1e6),
    }
}

fn time(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0))
        .unwrap_or(Duration::MAX)
        .as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{minutes}m{:02}s", whole % 60),
        3600..86_400 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    const SAMPLE: &str = include_str!("sample.json");

    fn model() -> Model {
        let mut model = Model::new("127.0.0.1:8080".to_owned(), Duration::from_secs(1));
        let mut stats: Stats = serde_json::from_str(SAMPLE).expect("a sample");
        for second in 0..60_u32 {
            stats.uptime_s += 1.0;
            let requests = stats.counts.get_mut("requests").expect("a count");
            *requests += f64::from(second * 100);
            model.take(Ok(stats.clone()));
        }
        model
    }

    fn drawn(model: &Model, width: u16, height: u16) -> Vec<String> {
        let view = View {
            colors: true,
            interactive: true,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("never fails");
        terminal
            .draw(|frame| view.draw(frame, model))
            .expect("never fails");
        let content = terminal.backend().buffer().content().to_vec();
        let rows = content.chunks(usize::from(width));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
            .collect()
    }

    #[test]
    fn all_of_it_fits_80_columns_and_24_rows() {
        let lines = drawn(&model(), 80, 24);
        let text = lines.join("\n");
        for part in [
            "metricstream 0.1.0 at 127.0.0.1:8080  up ",
            "ready",
            "FIRING refusing (warning) refused_unavailable_per_s > 1 for 10 s, now 42.5, 12s",
            "requests/s       5900",
            "log_queue_batches",
            "open_files",
            "ingest",
            "p99.9",
            "flush to disk",
            "10.0.0.7",
            "q quit",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.contains('█'), "a sparkline\n{text}");
    }

    #[test]
    fn any_size_and_any_model_can_be_drawn() {
        let mut gone = model();
        gone.take(Err("connection refused".to_owned()));
        let empty = Model::new("x".to_owned(), Duration::from_secs(1));
        for model in [&model(), &gone, &empty] {
            for (width, height) in [
                (1, 1),
                (40, 10),
                (41, 11),
                (80, 24),
                (200, 60),
                (500, 3),
                (20, 200),
            ] {
                drawn(model, width, height);
            }
        }
        assert!(
            drawn(&gone, 80, 24)[0].contains("NO ANSWER"),
            "{:?}",
            drawn(&gone, 80, 24)
        );
        assert!(drawn(&empty, 80, 24)[0].contains("asking"));
        assert!(drawn(&empty, 20, 5)[0].contains("40 columns"));
    }

    #[test]
    fn control_characters_of_the_server_are_not_drawn() {
        let mut model = model();
        let stats = model.stats.as_mut().expect("a sample");
        stats.clients.top[0].client = "a\u{1b}[2Jb\u{7}".to_owned();
        let text = drawn(&model, 80, 24).join("\n");
        assert!(text.contains("a[2Jb") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(
            [number(0.0), number(12.34), number(12_345.0)],
            ["0", "12.3", "12.3k"]
        );
        assert_eq!(
            [bytes(0.0), bytes(1536.0), bytes(3e9)],
            ["0 B", "1.5 KiB", "2.8 GiB"]
        );
        assert_eq!(
            [micros(999), micros(1500), micros(2_000_000)],
            ["999us", "1.5ms", "2.00s"]
        );
        assert_eq!(
            [time(5.9), time(61.0), time(7300.0), time(90_000.0)],
            ["5s", "1m01s", "2h01m", "1d01h"]
        );
    }
}
