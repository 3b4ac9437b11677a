#![cfg(test)]
//! The kill loop: work against a real daemon, `kill -9` at a random moment, start again, ask the
//! oracle; and again on the same folder.
//!
//! `CRASH_CYCLES` says how often, `CRASH_SEED` repeats the moments of a run that failed. Moments are
//! in time, so a repeated run is like the first, not equal to it.

use std::time::Duration;

use super::daemon::{Daemon, Home};
use super::oracle::{Counts, Oracle, Visible};
use super::rng::Rng;
use super::{number_from_env, pause};

/// What a kill loop drives.
pub(crate) trait Work: Sync {
    /// Works until the daemon is gone. `lane` tells the threads apart: no two may touch one key.
    fn work(&self, daemon: &Daemon, lane: usize, rng: &mut Rng, oracle: &Oracle);
    /// Everything there is that the oracle knows of.
    fn look(&self, daemon: &Daemon) -> Visible;
    /// What must hold beside what is visible; each broken promise as a sentence.
    fn also(&self, _daemon: &Daemon) -> Vec<String> {
        Vec::new()
    }
}

/// How a loop goes.
pub(crate) struct KillLoop {
    pub(crate) cycles: usize,
    /// How many threads work side by side.
    pub(crate) lanes: usize,
    /// The longest life between ready and the kill.
    pub(crate) life: Duration,
}

impl Default for KillLoop {
    fn default() -> Self {
        Self {
            cycles: number_from_env("CRASH_CYCLES", 3),
            lanes: 2,
            life: Duration::from_millis(400),
        }
    }
}

impl KillLoop {
    /// Runs it on `home`. Fails with the seed and every broken promise.
    pub(crate) fn run(&self, home: &Home, work: &dyn Work) -> Counts {
        let seed = Rng::seed_from_env("CRASH_SEED");
        let mut rng = Rng::new(seed);
        let oracle = Oracle::open(&home.path().join("journal"));
        for cycle in 1..=self.cycles {
            let daemon = home.serve();
            let life = usize::try_from(self.life.as_micros()).unwrap();
            // The first life is a full one: it is sure to get something acknowledged.
            let micros = if cycle == 1 { life } else { rng.below(life) };
            std::thread::scope(|scope| {
                for lane in 0..self.lanes {
                    let mut rng = Rng::new(rng.next());
                    let (daemon, oracle) = (&daemon, &oracle);
                    scope.spawn(move || work.work(daemon, lane, &mut rng, oracle));
                }
                pause(Duration::from_micros(micros as u64));
                daemon.kill_now();
            });
            daemon.kill();
            let broken = look_twice(home, work, &oracle);
            assert!(
                broken.is_empty(),
                "CRASH_SEED={seed}, cycle {cycle}, killed after {micros} us:\n{}",
                broken.join("\n")
            );
        }
        oracle.counts()
    }
}

/// Starts again, twice: the second time must show what the first did. The first ends by `kill -9`
/// too, so that a recovery that was never ended gracefully is one of those seen.
pub(crate) fn look_twice(home: &Home, work: &dyn Work, oracle: &Oracle) -> Vec<String> {
    let mut broken = Vec::new();
    for _ in 0..2 {
        let daemon = home.serve();
        broken.extend(oracle.judge(&work.look(&daemon)));
        broken.extend(work.also(&daemon));
        daemon.kill();
    }
    broken
}
