//! Models of `log::flusher`: timed flushes beside a writer that flushes, too.

use metricstream::clock::WallTime;
use metricstream::log::flusher::{Flushed, Flusher, Order};
use metricstream::log::fs::LogFile;
use metricstream::sync::shim::{Arc, Mutex, thread};
use metricstream::sync::stop::Stop;
use metricstream_verification::harness::{Bounds, explore};
use std::io;

/// A file that can be flushed, and sees who does.
#[derive(Debug, Default)]
struct File(Mutex<Flushes>);

#[derive(Debug, Default)]
struct Flushes {
    under_way: bool,
    over: usize,
}

impl LogFile for File {
    fn sync(&self) -> io::Result<()> {
        let mut flushes = self.0.lock();
        assert!(!flushes.under_way, "[LOG_FLUSHER-SETTLED] two flushes at once");
        flushes.under_way = true;
        drop(flushes);
        let mut flushes = self.0.lock();
        flushes.under_way = false;
        flushes.over += 1;
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        unreachable!("flushing only")
    }

    fn read_exact_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<()> {
        unreachable!("flushing only")
    }

    fn append(&self, _bytes: &[u8]) -> io::Result<usize> {
        unreachable!("flushing only")
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        unreachable!("flushing only")
    }

    fn forget(&self, _bytes: u64) {}

    fn set_last_modified(&self, _modified: WallTime) -> io::Result<()> {
        unreachable!("flushing only")
    }
}

/// A flusher, its thread and what is flushed.
struct Scene {
    flusher: Arc<Flusher<File>>,
    file: Arc<File>,
    /// Requested when there is an outcome to hear.
    woken: Arc<Stop>,
    thread: thread::JoinHandle<()>,
}

impl Scene {
    fn begin() -> Self {
        let (flusher, woken) = (Arc::new(Flusher::new()), Arc::new(Stop::new()));
        let (theirs, wakes) = (Arc::clone(&flusher), Arc::clone(&woken));
        let life = move || theirs.run(|| wakes.request());
        Self {
            flusher,
            file: Arc::default(),
            woken,
            thread: thread::spawn("flusher", life).unwrap(),
        }
    }

    fn order(&self, bytes: u64) {
        self.flusher.order(Order {
            file: Arc::clone(&self.file),
            bytes,
            forget: false,
        });
    }

    /// Whether the flusher has carried out the order for `bytes`, and this is heard.
    fn look(&self, bytes: u64) -> bool {
        is_of(self.flusher.look(), bytes)
    }

    /// Whether the flusher has carried out the order for `bytes`; if not, it was taken back, and the writer
    /// does.
    fn settle(&self, bytes: u64) -> bool {
        let carried_out = is_of(self.flusher.settle(), bytes);
        if !carried_out {
            self.file.sync().unwrap();
        }
        carried_out
    }

    fn end(self) -> usize {
        self.flusher.end();
        self.thread.join().unwrap();
        self.file.0.lock().over
    }
}

/// Whether there is an outcome; then it is that of the order for `bytes`.
fn is_of(flushed: Option<Flushed>, bytes: u64) -> bool {
    flushed.is_some_and(|flushed| {
        flushed.outcome.unwrap();
        flushed.bytes == bytes || panic!("[LOG_FLUSHER-ONCE] of another order")
    })
}

/// LOG_FLUSHER-SETTLED and LOG_FLUSHER-ONCE: of two orders, each settled before the next, each is carried
/// out once, by the thread or, when it was taken back, by the writer.
#[test]
fn an_order_is_settled_before_the_next() {
    let report = explore(Bounds::SCENARIO, || {
        let scene = Scene::begin();
        let by_thread = [1, 2].map(|bytes| {
            scene.order(bytes);
            scene.settle(bytes)
        });
        assert_eq!(scene.end(), 2, "[LOG_FLUSHER-ONCE] flushes of two orders");
        by_thread
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    if report.exhaustive {
        let all = [[false, false], [false, true], [true, false], [true, true]];
        assert_eq!(outcomes, all, "[HONEST-OUTCOMES]");
    }
}

/// LOG_FLUSHER-ONCE for a writer that looks: it hears of the flush once, at any look or when it settles.
#[test]
fn an_outcome_is_heard_once() {
    let report = explore(Bounds::SCENARIO, || {
        let scene = Scene::begin();
        scene.order(1);
        let looks = [scene.look(1), scene.look(1)];
        let heard = looks.iter().filter(|heard| **heard).count();
        let settled = heard == 0 && scene.settle(1);
        assert!(heard < 2, "[LOG_FLUSHER-ONCE] heard twice");
        assert_eq!(scene.end(), 1, "[LOG_FLUSHER-ONCE] flushes of one order");
        (looks, settled)
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    if report.exhaustive {
        let all = [
            ([false, false], false),
            ([false, false], true),
            ([false, true], false),
            ([true, false], false),
        ];
        assert_eq!(outcomes, all, "[HONEST-OUTCOMES]");
    }
}

/// LOG_FLUSHER-WAKES: the thread carries out an order and says so without anything else having to happen.
#[test]
fn an_order_is_carried_out_by_itself() {
    let report = explore(Bounds::SCENARIO, || {
        let scene = Scene::begin();
        scene.order(1);
        scene.woken.wait();
        assert!(scene.look(1), "[LOG_FLUSHER-WAKES] woken, and nothing to hear");
        scene.end()
    });
    assert_eq!(report.outcomes.into_iter().collect::<Vec<_>>(), [1]);
}

/// LOG_FLUSHER-ONCE beside the end: what is ordered is carried out before the thread ends.
#[test]
fn an_order_before_the_end_is_carried_out() {
    let report = explore(Bounds::SCENARIO.with_dfs(), || {
        let scene = Scene::begin();
        scene.order(1);
        scene.end()
    });
    assert_eq!(report.outcomes.into_iter().collect::<Vec<_>>(), [1]);
}
