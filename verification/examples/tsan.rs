//! The second judge of the lock-free module: ThreadSanitizer on the ring, with real threads.
//!
//! Built by a nightly compiler with `--cfg metricstream_tsan`; PROOFS.md has the command. The standard
//! library is not rebuilt, so its locks show false races, and so does the channel of the test harness: this
//! is a program of its own that uses the ring and nothing else. It runs itself once as it is, which has to
//! be clean, and once for each weakened site, which has to be reported.

#[cfg(not(metricstream_tsan))]
fn main() -> std::process::ExitCode {
    eprintln!("build with --cfg metricstream_tsan and -Zsanitizer=thread; see PROOFS.md");
    std::process::ExitCode::from(2)
}

#[cfg(metricstream_tsan)]
fn main() {
    if std::env::var_os(gate::TRANSFER).is_some() {
        gate::transfer();
    } else {
        gate::judge();
    }
}

#[cfg(metricstream_tsan)]
mod gate {
    use metricstream::sync::ring::ring;
    use metricstream::sync::shim::mutation;
    use std::process::Command;

    /// The environment variable that makes this process the one that is watched.
    pub(crate) const TRANSFER: &str = "METRICSTREAM_TSAN_TRANSFER";

    /// The ring's sites and their one weaker ordering.
    const MUTANTS: [&str; 4] = [
        "RING_PUBLISH=Relaxed",
        "RING_OBSERVE=Relaxed",
        "RING_RELEASE=Relaxed",
        "RING_RECLAIM=Relaxed",
    ];

    const ITEMS: u64 = 100_000;

    /// Sends items through a small ring, so that both sides run into the other's end all the time.
    pub(crate) fn transfer() {
        // The variable is read by this thread, before there is another: the lock around it is not understood.
        let _ = mutation::at("");
        let (mut producer, mut consumer) = ring::<u64>(4);
        let pushing = std::thread::spawn(move || {
            for item in 0..ITEMS {
                while producer.push(item).is_err() {
                    std::thread::yield_now();
                }
            }
            // The end of an `Arc` is ordered by a fence, which the sanitizer does not understand.
            std::mem::forget(producer);
        });
        for item in 0..ITEMS {
            let popped = loop {
                match consumer.pop() {
                    Some(popped) => break popped,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(popped, item, "[RING-FIFO]");
        }
        std::mem::forget(consumer);
        pushing.join().expect("the producer does not panic");
    }

    pub(crate) fn judge() {
        assert!(!is_racy(None), "[RING-HB] ThreadSanitizer reports a race");
        println!("the ring: clean");
        for mutant in MUTANTS {
            assert!(is_racy(Some(mutant)), "[HONEST-MUTATION] {mutant} is not noticed");
            println!("{mutant}: data race, as it should be");
        }
        println!("{} passed, 0 failed", 1 + MUTANTS.len());
    }

    /// Whether the sanitizer reports a race in [`transfer`] with this site weakened.
    fn is_racy(mutant: Option<&str>) -> bool {
        let own = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(own);
        command
            .env(TRANSFER, "1")
            .env("TSAN_OPTIONS", "halt_on_error=0 exitcode=66");
        if let Some(mutant) = mutant {
            command.env(mutation::VARIABLE, mutant);
        }
        let output = command.output().expect("this program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let racy = stderr.contains("ThreadSanitizer: data race");
        // A race is exit code 66; anything else that went wrong is no verdict.
        let code = output.status.code();
        assert_eq!(code, Some(if racy { 66 } else { 0 }), "{stderr}");
        racy
    }
}
