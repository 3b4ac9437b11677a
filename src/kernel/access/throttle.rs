//! How long a sign-in has to wait after failures: pure arithmetic. A few are free, then the wait
//! doubles to fifteen minutes; nobody is ever locked out for good, so nobody can lock others out.

use std::time::Duration;

use super::rows::FailuresRow;
use crate::kernel::clock::Time;

const LONGEST: Duration = Duration::from_mins(15);
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// How long from `now` until the next try is looked at; nothing when it may be now.
pub(super) fn wait(failures: FailuresRow, free: u32, now: Time) -> Option<Duration> {
    let beyond = failures.count.checked_sub(free)?;
    let pause = Duration::from_secs(1_u64 << beyond.min(20)).min(LONGEST);
    let until = failures.last.after(pause);
    (until > now).then(|| until.since(now))
}

/// The failures after one more.
pub(super) fn one_more(failures: FailuresRow, now: Time) -> FailuresRow {
    let forgotten = now.since(failures.last) > FORGOTTEN_AFTER;
    FailuresRow { count: if forgotten { 1 } else { failures.count.saturating_add(1) }, last: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_twenty_guesses_an_hour_are_looked_at() {
        let mut failures = FailuresRow::default();
        let mut looked_at = 0;
        for second in 0..3600 {
            let now = Time(second * 1_000_000);
            if wait(failures, 5, now).is_none() {
                looked_at += 1;
                failures = one_more(failures, now);
            }
        }
        assert!((15..=20).contains(&looked_at), "{looked_at}");
        let tomorrow = Time(100_000 * 1_000_000);
        assert_eq!(one_more(failures, tomorrow).count, 1);
    }
}
