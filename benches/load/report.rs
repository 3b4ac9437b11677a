//! Telling what was found.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::time::Duration;

use super::daemon::Cost;

/// What some saves cost.
pub(crate) struct Sample {
    /// How long each took, as its client saw it.
    pub(crate) times: Vec<Duration>,
    /// How long all took, side by side.
    pub(crate) wall: Duration,
    /// The daemon's CPU time until the last was answered, in seconds.
    pub(crate) answered: f64,
    /// And until the index held them.
    pub(crate) cpu: f64,
    /// How long the index took after the last answer.
    pub(crate) behind: Duration,
}

impl Sample {
    pub(crate) fn tell(self, what: &str) {
        let count = super::number(self.times.len() as u64);
        println!(
            "{what}: {count} saves, {:.0} /s, {:.3} ms CPU each, {:.3} until answered; \
             index whole {} later",
            count / self.wall.as_secs_f64(),
            self.cpu / count * 1e3,
            self.answered / count * 1e3,
            ms(self.behind)
        );
        tell_times("  as a client sees it", self.times);
    }
}

pub(crate) fn tell_times(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| {
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
    };
    let [middle, late, last] =
        [50, 99, 100].map(|percent| at(percent).copied().unwrap_or_default());
    println!("{what}: median {}, p99 {}, slowest {}", ms(middle), ms(late), ms(last));
}

pub(crate) fn tell_memory(when: &str, cost: Cost) {
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "memory {when}: {} MiB resident ({} its own, the rest files), {} at most",
        mib(cost.resident),
        mib(cost.own),
        mib(cost.peak)
    );
}

pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
