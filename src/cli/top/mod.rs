//! `metricstream top`: how a running server is, in a terminal.
//!
//! Promises: the terminal is as it was when the program ends, also by a signal or a panic; a server that does
//! not answer is said and asked again. `--once` prints one frame as plain text. `model` is what is known,
//! `view` how it looks.
//! Leaves to the caller: nothing.

mod model;
mod view;

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock::{Instant, SystemClock};
use crate::net::client::{self, Request, Url};

use model::{Model, Stats};

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest answer, in bytes: a hundred times what a server has to say.
const STATS_BYTES_MAX: usize = 4 << 20;

/// Time between two looks at the signals.
const LOOK: Duration = Duration::from_millis(100);

/// Size of the frame of `--once` without a terminal.
const FRAME: (u16, u16) = (80, 24);

/// Show how a running server is: rates, latency, queues, clients, limits, alerts
///
/// Keys: q quits, p pauses, + and - change the interval. Exit code: 0, 1 when the server does not answer
/// (with --once) or the terminal cannot be used, 2 for flags that cannot be used.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// The server: a port, HOST:PORT or http://HOST:PORT
    #[arg(value_name = "SERVER", default_value = "8080", value_parser = parse_server)]
    server: Url,

    /// Token to send with each question
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = parse_token)]
    token: Option<String>,

    /// File that holds nothing but the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Time between two questions, in ms
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    interval_ms: u64,

    /// Print one frame as plain text and end
    #[arg(long)]
    once: bool,
}

fn parse_server(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("http://127.0.0.1:{text}")
    } else {
        format!("http://{text}")
    };
    let url: Url = url.parse().map_err(|error: client::UrlError| error.to_string())?;
    Ok(url.at("/stats"))
}

fn parse_token(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token is visible ASCII characters".to_owned());
    }
    Ok(text.to_owned())
}

/// The server to ask.
struct Source {
    url: Url,
    fields: String,
    clock: SystemClock,
}

impl Source {
    fn ask(&self) -> Result<Stats, String> {
        let request = Request {
            method: "GET",
            fields: &self.fields,
            body: b"",
            timeout: PATIENCE,
            reply_bytes_max: STATS_BYTES_MAX,
        };
        let reply = client::call(&self.url, &request, &self.clock).map_err(|error| error.to_string())?;
        if reply.status != 200 {
            return Err(format!("it answers {} to GET /stats", reply.status));
        }
        serde_json::from_slice(&reply.body).map_err(|error| format!("its statistics cannot be read: {error}"))
    }
}

/// Runs the command.
#[must_use]
pub fn run(args: &TopArgs) -> ExitCode {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            match text.and_then(|text| parse_token(&text)) {
                Ok(token) => Some(token),
                Err(error) => {
                    eprintln!("metricstream: --token-file {}: {error}", path.display());
                    return ExitCode::from(super::BAD_USAGE);
                }
            }
        }
        (None, None) => None,
    };
    let source = Source {
        fields: token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n")),
        url: args.server.clone(),
        clock: SystemClock::new(),
    };
    let interval = Duration::from_millis(args.interval_ms);
    let result = if args.once {
        once(&source, interval)
    } else {
        watch(&source, interval).map_err(|error| format!("cannot use the terminal: {error}"))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metricstream: {error}");
            ExitCode::from(1)
        }
    }
}

fn once(source: &Source, interval: Duration) -> Result<(), String> {
    let stats = source
        .ask()
        .map_err(|error| format!("no answer from {}: {error}", source.url.authority()))?;
    let mut model = Model::new(source.url.authority(), interval);
    model.take(Ok(stats));
    let (width, height) = ratatui::crossterm::terminal::size().unwrap_or(FRAME);
    let frame = plain(&model, width.max(FRAME.0), height.max(FRAME.1));
    let _ = super::print(&frame);
    Ok(())
}

/// A frame as lines of text.
fn plain(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    let view = view::View {
        colors: false,
        interactive: false,
    };
    let _ = terminal.draw(|frame| view.draw(frame, model));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    // What is not used of the screen is not printed.
    let used = text.trim_end().len();
    text.truncate(used);
    text.push('\n');
    text
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Pause,
    Faster,
    Slower,
    Redraw,
}

fn wish(event: &Event) -> Option<Wish> {
    match event {
        Event::Resize(..) => Some(Wish::Redraw),
        Event::Key(KeyEvent {
            code,
            modifiers,
            kind: KeyEventKind::Press,
            ..
        }) => match code {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
            KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
            KeyCode::Char('p' | ' ') => Some(Wish::Pause),
            KeyCode::Char('+') => Some(Wish::Faster),
            KeyCode::Char('-') => Some(Wish::Slower),
            _ => None,
        },
        _ => None,
    }
}

fn watch(source: &Source, interval: Duration) -> io::Result<()> {
    let mut signals = Signals::new()?;
    // Restores the terminal when the program panics, too.
    let mut terminal = ratatui::try_init()?;
    let mut model = Model::new(source.url.authority(), interval);
    let view = view::View {
        colors: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        interactive: true,
    };
    let result = (|| {
        let mut due = Instant::ZERO;
        loop {
            if !model.paused && source.clock.now() >= due {
                model.take(source.ask());
                due = source.clock.now().after(model.interval);
            }
            terminal.draw(|frame| view.draw(frame, &model))?;
            loop {
                if signals.came() {
                    return Ok(());
                }
                let left = due.since(source.clock.now());
                let patience = if model.paused { LOOK } else { left.min(LOOK) };
                if event::poll(patience)? {
                    match wish(&event::read()?) {
                        Some(Wish::Quit) => return Ok(()),
                        Some(wish) => {
                            model.heed(wish);
                            break;
                        }
                        None => {}
                    }
                } else if !model.paused && source.clock.now() >= due {
                    break;
                }
            }
        }
    })();
    ratatui::restore();
    result
}

/// The signals that end the program, as bytes in a pipe.
struct Signals(UnixStream);

impl Signals {
    fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, far.try_clone()?)?;
        }
        Ok(Self(near))
    }

    fn came(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(1..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_port_an_address_or_a_url() {
        for (text, url) in [
            ("8080", "http://127.0.0.1:8080/stats"),
            ("a.b:81", "http://a.b:81/stats"),
            ("[::1]:82", "http://[::1]:82/stats"),
            ("http://a/x", "http://a:80/stats"),
        ] {
            assert_eq!(parse_server(text).unwrap().to_string(), url, "{text}");
        }
        for text in ["", "99999", "https://a", "a:b"] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_heeded() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert_eq!(wish(&key(KeyCode::Char('q'), none)), Some(Wish::Quit));
        assert_eq!(wish(&key(KeyCode::Char('c'), none)), None);
        assert_eq!(
            wish(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)),
            Some(Wish::Quit)
        );
        assert_eq!(wish(&Event::Resize(1, 1)), Some(Wish::Redraw));
        let mut model = Model::new(String::new(), Duration::from_secs(1));
        model.heed(Wish::Slower);
        assert_eq!(model.interval, Duration::from_secs(2));
        for _ in 0..20 {
            model.heed(Wish::Faster);
        }
        assert_eq!(model.interval, Duration::from_millis(100));
        model.heed(Wish::Pause);
        assert!(model.paused);
    }
}
