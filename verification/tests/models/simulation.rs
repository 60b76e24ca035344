//! The simulation of the whole server: clean seeds pass, each seeded bug is noticed, the rare ways were gone.
//!
//! Every bug is looked for in the seeds from 0 on; the clean run goes over the same ones and more, so each
//! has its twin without the bug.

use metricstream_verification::simulation::register::BUGS;
use metricstream_verification::simulation::run;
use metricstream_verification::simulation::tally::Tally;

/// Seeds of the clean run.
const CLEAN_EXECUTIONS: u64 = 4_000;

#[test]
fn without_a_bug_nothing_is_noticed() {
    let mut tally = Tally::default();
    for seed in 0..CLEAN_EXECUTIONS {
        tally.add(seed, run(seed, None));
    }
    println!("{tally}");
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert!(
        tally.unreached().is_empty(),
        "places not reached: {:?}",
        tally.unreached()
    );
}

#[test]
fn a_seed_is_one_execution() {
    for seed in 0..50 {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.reached, second.reached, "seed {seed}");
    }
    assert_ne!(run(0, None).trace, run(1, None).trace);
}

fn is_noticed(name: &str) {
    let bug = BUGS
        .iter()
        .find(|bug| bug.name == name)
        .expect("it is registered");
    assert!(bug.within <= CLEAN_EXECUTIONS, "the clean run is its twin");
    for seed in 0..bug.within {
        let violations = run(seed, Some(bug.name)).violations;
        if let Some(violation) = violations.first() {
            return println!("{name} after {} executions: {violation}", seed + 1);
        }
    }
    panic!("{name} was not noticed in {} executions", bug.within);
}

#[test]
fn accept_never_resumed() {
    is_noticed("ACCEPT_NEVER_RESUMED");
}

#[test]
fn ack_before_write() {
    is_noticed("ACK_BEFORE_WRITE");
}

#[test]
fn armed_before_rest() {
    is_noticed("ARMED_BEFORE_REST");
}

#[test]
fn budget_leaked() {
    is_noticed("BUDGET_LEAKED");
}

#[test]
fn close_not_said_at_stop() {
    is_noticed("CLOSE_NOT_SAID_AT_STOP");
}

#[test]
fn directory_not_synced() {
    is_noticed("DIRECTORY_NOT_SYNCED");
}

#[test]
fn drain_not_flushed() {
    is_noticed("DRAIN_NOT_FLUSHED");
}

#[test]
fn end_forgotten() {
    is_noticed("END_FORGOTTEN");
}

#[test]
fn event_forgotten() {
    is_noticed("EVENT_FORGOTTEN");
}

#[test]
fn failed_group_not_cut() {
    is_noticed("FAILED_GROUP_NOT_CUT");
}

#[test]
fn lease_leaked() {
    is_noticed("LEASE_LEAKED");
}

#[test]
fn lines_kept_after_panic() {
    is_noticed("LINES_KEPT_AFTER_PANIC");
}

#[test]
fn linger_skipped() {
    is_noticed("LINGER_SKIPPED");
}

#[test]
fn log_queue_dropped_at_stop() {
    is_noticed("LOG_QUEUE_DROPPED_AT_STOP");
}

#[test]
fn log_timer_for_wake() {
    is_noticed("LOG_TIMER_FOR_WAKE");
}

#[test]
fn partial_lost() {
    is_noticed("PARTIAL_LOST");
}

#[test]
fn partial_not_armed() {
    is_noticed("PARTIAL_NOT_ARMED");
}

#[test]
fn pause_not_woken() {
    is_noticed("PAUSE_NOT_WOKEN");
}

#[test]
fn pool_wake_on_old_count() {
    is_noticed("POOL_WAKE_ON_OLD_COUNT");
}

#[test]
fn queue_bound_off_by_one() {
    is_noticed("QUEUE_BOUND_OFF_BY_ONE");
}

#[test]
fn rate_limit_off_by_one() {
    is_noticed("RATE_LIMIT_OFF_BY_ONE");
}

#[test]
fn replies_out_of_order() {
    is_noticed("REPLIES_OUT_OF_ORDER");
}

#[test]
fn rules_in_parts() {
    is_noticed("RULES_IN_PARTS");
}

#[test]
fn rules_not_looked_at() {
    is_noticed("RULES_NOT_LOOKED_AT");
}

#[test]
fn short_write_repeated() {
    is_noticed("SHORT_WRITE_REPEATED");
}

#[test]
fn stop_cuts_unfinished() {
    is_noticed("STOP_CUTS_UNFINISHED");
}

#[test]
fn stop_not_woken() {
    is_noticed("STOP_NOT_WOKEN");
}

#[test]
fn stop_without_wait() {
    is_noticed("STOP_WITHOUT_WAIT");
}

#[test]
fn synced_as_written() {
    is_noticed("SYNCED_AS_WRITTEN");
}

#[test]
fn sync_failure_forgotten() {
    is_noticed("SYNC_FAILURE_FORGOTTEN");
}

#[test]
fn tokens_dropped_on_failure() {
    is_noticed("TOKENS_DROPPED_ON_FAILURE");
}

#[test]
fn torn_line_kept() {
    is_noticed("TORN_LINE_KEPT");
}

#[test]
fn unsent_dropped() {
    is_noticed("UNSENT_DROPPED");
}

#[test]
fn unsent_waits_for_readable() {
    is_noticed("UNSENT_WAITS_FOR_READABLE");
}

#[test]
fn cut_not_flushed() {
    is_noticed("CUT_NOT_FLUSHED");
}

#[test]
fn level_of_last_request() {
    is_noticed("LEVEL_OF_LAST_REQUEST");
}

#[test]
fn new_segment_not_named() {
    is_noticed("NEW_SEGMENT_NOT_NAMED");
}

#[test]
fn sealed_unflushed() {
    is_noticed("SEALED_UNFLUSHED");
}
