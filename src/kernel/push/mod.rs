//! Telling others over HTTP: signed messages, pushed to addresses that were checked.
//!
//! Whoever has news to tell keeps them and the place it has come to; here is one try: where a message
//! may go, how it is signed, what its answer means, and how long to wait before the next try. A message
//! never goes through a proxy, follows no redirect, and ends when its time is over.
//!
//! Addresses are checked twice: when they are given ([`Target::check`]), and at every connection,
//! against the address that is connected to, so that a name cannot lead elsewhere later.

mod address;
mod post;
mod sign;
mod target;

use std::time::Duration;

pub use address::{Reach, reach};
pub use post::{Answer, Message, Pusher, Verdict};
pub use sign::signature;
pub use target::{Target, URL_MAX_BYTES};

/// The header that carries the signature.
pub const SIGNATURE: &str = "drip-signature";
/// The header that names the message: the same for every try of it.
pub const DELIVERY: &str = "drip-delivery";

/// On which terms messages are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether loopback, private and link-local addresses may be pushed to.
    pub allow_private: bool,
    /// How long one try may take, from the name to the end of the answer.
    pub time: Duration,
    /// How long to wait after the first failure; each further one doubles it.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            allow_private: false,
            time: Duration::from_secs(10),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_mins(5),
        }
    }
}

impl Terms {
    /// How long to wait after so many failures in a row.
    pub fn wait_after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
        doubled
            .and_then(|factor| self.first_wait.checked_mul(factor))
            .map_or(self.longest_wait, |wait| wait.min(self.longest_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_quarter_of_a_second_to_five_minutes() {
        let terms = Terms::default();
        let waits: Vec<_> = (1..=13).map(|n| terms.wait_after(n).as_millis()).collect();
        let doubled = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000];
        assert_eq!(waits[..11], doubled);
        assert_eq!(waits[11..], [300_000, 300_000]);
        assert_eq!(terms.wait_after(u32::MAX), Duration::from_mins(5));
        assert_eq!(terms.wait_after(0), Duration::from_millis(250));
    }
}
