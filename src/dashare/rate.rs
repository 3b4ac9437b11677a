//! How often a user may ask a channel. Kept in memory: a restart lets everyone burst once more.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::error;
use super::model::Rate;
use crate::kernel::Result;

/// After so many requests the users that have been quiet are forgotten.
const SWEEP: u32 = 1_024;

type Keyed =
    RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>;

/// How the rate of a user stands, for the `RateLimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// How many requests may come at once.
    pub limit: u32,
    /// How many may come now.
    pub remaining: u32,
    /// In how many seconds all of them may come again.
    pub reset: u64,
}

struct Limiter {
    rate: Rate,
    burst: u32,
    asked: AtomicU32,
    keyed: Keyed,
}

impl Limiter {
    fn new(rate: Rate, burst: u32) -> Option<Self> {
        let each = Duration::from_secs(rate.seconds.into()).checked_div(rate.count)?;
        let quota = Quota::with_period(each)?.allow_burst(NonZeroU32::new(burst)?);
        let keyed = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Some(Self { rate, burst, asked: AtomicU32::new(0), keyed })
    }

    fn ask(&self, channel: &str, user: &str) -> Result<RateState> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.keyed.retain_recent();
        }
        match self.keyed.check_key(&user.to_owned()) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let missing = self.burst.saturating_sub(remaining);
                let each = snapshot.quota().replenish_interval();
                let reset = each.saturating_mul(missing).as_millis().div_ceil(1_000);
                let reset = u64::try_from(reset).unwrap_or(u64::MAX);
                Ok(RateState { limit: self.burst, remaining, reset })
            }
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                Err(error::too_fast(channel, &self.rate.to_string(), wait))
            }
        }
    }
}

/// The limiters of every channel that has a rate.
#[derive(Default)]
pub(super) struct Rates {
    limiters: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl Rates {
    /// Lets a request through, or says how long to wait. A channel whose rate changed starts afresh.
    pub(super) fn ask(
        &self,
        channel: &str,
        user: &str,
        rate: Rate,
        burst: Option<u32>,
    ) -> Result<Option<RateState>> {
        let burst = burst.unwrap_or(rate.count);
        let limiter = {
            let mut all = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(channel) {
                Some(known) if known.rate == rate && known.burst == burst => known.clone(),
                _ => {
                    let Some(limiter) = Limiter::new(rate, burst) else {
                        return Ok(None);
                    };
                    let limiter = Arc::new(limiter);
                    all.insert(channel.to_owned(), limiter.clone());
                    limiter
                }
            }
        };
        limiter.ask(channel, user).map(Some)
    }

    /// Forgets a channel that is gone.
    pub(super) fn forget(&self, channel: &str) {
        self.limiters.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_burst_and_then_waits() {
        let rates = Rates::default();
        let rate = Rate { count: 1, seconds: 3_600 };
        for left in [2, 1, 0] {
            let state = rates.ask("wind/scada", "ada", rate, Some(3)).unwrap().unwrap();
            assert_eq!((state.limit, state.remaining), (3, left));
            assert!(state.reset > 0);
        }
        let error = rates.ask("wind/scada", "ada", rate, Some(3)).unwrap_err();
        assert_eq!(error.code(), "rate_limited");
        let wait = error.wait().unwrap();
        assert!(wait > Duration::from_mins(50) && wait <= Duration::from_hours(1), "{wait:?}");
        assert!(rates.ask("wind/scada", "bob", rate, Some(3)).is_ok());
        assert!(rates.ask("wind/other", "ada", rate, Some(3)).is_ok());
        // A new rate counts from then on.
        assert!(rates.ask("wind/scada", "ada", Rate { count: 2, seconds: 1 }, Some(3)).is_ok());
    }
}
