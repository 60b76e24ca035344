//! Models of `server::rules`: a replacement reaches a thread whole, and at the latest when it was told of it.

use metricstream::server::rules::{Latest, View};
use metricstream::sync::shim::thread;
use metricstream::sync::stop::Stop;
use metricstream_verification::harness::{Bounds, explore};
use std::sync::Arc;

/// Rules of two parts, which belong together when they are alike.
pub(crate) type Pair = [u8; 2];

/// What the models need, so that the faulty ones of `must_fail` run in the same models.
pub(crate) trait Rules: Send + Sync + 'static {
    type View: Send + 'static;
    fn new(pair: Pair) -> Self;
    fn replace(&self, pair: Pair);
    fn view(&self) -> Self::View;
    fn refresh(&self, view: &mut Self::View);
    fn read(view: &Self::View) -> Pair;
}

impl Rules for Latest<Pair> {
    type View = View<Pair>;

    fn new(pair: Pair) -> Self {
        Self::new(pair)
    }

    fn replace(&self, pair: Pair) {
        self.replace(pair);
    }

    fn view(&self) -> View<Pair> {
        self.view()
    }

    fn refresh(&self, view: &mut View<Pair>) {
        view.refresh(self);
    }

    fn read(view: &View<Pair>) -> Pair {
        **view
    }
}

/// RULES-WHOLE, RULES-TOLD: one thread replaces the rules `replacements` times and then tells of it; the
/// other looks again `looks` times. What it saw each time, with whether it had been told before.
pub(crate) fn told<R: Rules>(replacements: u8, looks: usize) -> Vec<Vec<(bool, u8)>> {
    let report = explore(Bounds::SCENARIO.with_dfs(), move || {
        let rules = Arc::new(R::new([0, 0]));
        let told = Arc::new(Stop::new());
        let mut view = rules.view();
        let reloading = {
            let (rules, told) = (Arc::clone(&rules), Arc::clone(&told));
            thread::spawn("reloading", move || {
                (1..=replacements).for_each(|value| rules.replace([value, value]));
                told.request();
            })
            .unwrap()
        };
        let mut seen = Vec::new();
        for _ in 0..looks {
            let was_told = told.is_requested();
            rules.refresh(&mut view);
            let [first, second] = R::read(&view);
            assert_eq!(first, second, "[RULES-WHOLE] a mix of two rules");
            let before = seen.last().map_or(0, |(_, before)| *before);
            assert!(first >= before, "[RULES-TOLD] {first} after {before}");
            assert!(
                !was_told || first == replacements,
                "[RULES-TOLD] told, and {first}"
            );
            seen.push((was_told, first));
        }
        reloading.join().unwrap();
        seen
    });
    assert!(report.executions > 1);
    report.outcomes.into_iter().collect()
}

/// Every outcome that the promises allow: never back, and the last once told.
fn allowed(replacements: u8, looks: usize) -> Vec<Vec<(bool, u8)>> {
    let mut all = vec![vec![]];
    for _ in 0..looks {
        all = all
            .into_iter()
            .flat_map(|seen: Vec<(bool, u8)>| {
                let (told, from) = seen.last().copied().unwrap_or((false, 0));
                let next = (from..=replacements).map(|value| (false, value));
                let next = next.filter(move |_| !told).chain([(true, replacements)]);
                next.map(move |look| [seen.as_slice(), &[look]].concat())
            })
            .collect();
    }
    all.sort();
    all
}

/// RULES-TOLD and RULES-WHOLE with two replacements and two looks; every outcome that is allowed is there.
#[test]
fn who_was_told_sees_the_new_rules_whole() {
    for (replacements, looks) in [(1, 2), (2, 2)] {
        let outcomes = told::<Latest<Pair>>(replacements, looks);
        let allowed = allowed(replacements, looks);
        assert!(outcomes.iter().all(|seen| allowed.contains(seen)), "{outcomes:?}");
        if cfg!(any(metricstream_loom, metricstream_shuttle)) {
            assert_eq!(outcomes, allowed, "[HONEST-OUTCOMES]");
        }
    }
}

/// RULES-WHOLE with two threads that replace at once: all views end with the rules of one of them.
#[test]
fn two_replacements_at_once_leave_one_of_them() {
    let report = explore(Bounds::SCENARIO.with_dfs(), || {
        let rules = Arc::new(Latest::new([0, 0]));
        let mut view = rules.view();
        let other = {
            let rules = Arc::clone(&rules);
            thread::spawn("reloading", move || rules.replace([1, 1])).unwrap()
        };
        rules.replace([2, 2]);
        view.refresh(&rules);
        let between = *view;
        other.join().unwrap();
        view.refresh(&rules);
        let (seen, asked) = (*view, *rules.get());
        assert_eq!(
            seen, asked,
            "[RULES-TOLD] a view that looked again, and what is in force"
        );
        assert!(
            between[0] != 0,
            "[RULES-TOLD] its own replacement is seen at once"
        );
        [between[0], seen[0]]
    });
    let outcomes: Vec<_> = report.outcomes.into_iter().collect();
    let allowed = [[1, 1], [2, 1], [2, 2]];
    assert!(outcomes.iter().all(|seen| allowed.contains(seen)), "{outcomes:?}");
    if report.exhaustive {
        assert_eq!(outcomes, allowed, "[HONEST-OUTCOMES]");
    }
}
