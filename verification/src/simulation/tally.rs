//! What many executions showed, added up.

use super::Outcome;
use super::register::PLACES;
use std::collections::BTreeMap;
use std::fmt;

/// Sums over executions.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Executions.
    pub executions: u64,
    /// Steps of all of them.
    pub steps: u64,
    /// Steps of the longest.
    pub steps_most: u64,
    /// How often each place was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// Executions with a violation: the seed, and what it was.
    pub failures: Vec<(u64, Vec<String>)>,
}

impl Tally {
    /// Adds the execution of `seed`.
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.executions += 1;
        self.steps += outcome.trace.steps;
        self.steps_most = self.steps_most.max(outcome.trace.steps);
        for (place, count) in outcome.reached {
            *self.reached.entry(place).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            self.failures.push((seed, outcome.violations));
        }
    }

    /// The places that were not reached.
    #[must_use]
    pub fn unreached(&self) -> Vec<&'static str> {
        let places = PLACES.iter().copied();
        places.filter(|place| !self.reached.contains_key(place)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} executions, {} steps, {} in the longest; {} with a violation",
            self.executions,
            self.steps,
            self.steps_most,
            self.failures.len()
        )?;
        for (place, count) in &self.reached {
            writeln!(f, "  {place:<28} {count}")?;
        }
        writeln!(f, "places not reached: {:?}", self.unreached())
    }
}
