//! One at a time: nodes that share a word wait for each other, whatever their run.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock;
use super::runner::Stopper;

/// How often one that waits looks whether its run was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// See the module's first line.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    taken: Mutex<HashSet<String>>,
    bell: Condvar,
}

/// Who is in; leaving lets the next one in.
#[derive(Debug)]
pub(super) struct Inside<'t>(&'t Turnstile, String);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.0.taken).remove(&self.1);
        self.0.bell.notify_all();
    }
}

impl Turnstile {
    /// Waits until nobody else with this word is in; nothing when the run is stopped before.
    pub(super) fn enter(&self, word: &str, stopper: &Stopper) -> Option<Inside<'_>> {
        let mut taken = lock(&self.taken);
        while taken.contains(word) {
            if stopper.is_stopped() {
                return None;
            }
            let waited = self.bell.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.insert(word.to_owned());
        Some(Inside(self, word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_is_in_at_a_time_and_a_stopped_one_goes() {
        let (turnstile, stopper) = (Turnstile::default(), Stopper::default());
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _in = turnstile.enter("gpu", &stopper).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
        let _in = turnstile.enter("gpu", &stopper).unwrap();
        assert!(turnstile.enter("cpu", &stopper).is_some());
        stopper.stop();
        assert!(turnstile.enter("gpu", &stopper).is_none());
    }
}
