//! The batches that clients may send again: remembered for a day, and at most so many of them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::payload::BatchId;
use crate::kernel::clock::Time;

/// How long a batch is remembered.
pub(crate) const KEPT: Duration = Duration::from_hours(24);
/// How many are remembered at most; the oldest are forgotten first.
const MAX: usize = 500_000;

/// See the module's first line. It is rebuilt from the frames.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    known: HashMap<[u8; 16], BatchId>,
    order: VecDeque<(i64, [u8; 16])>,
}

impl Batches {
    pub(crate) fn rebuild(mut ids: Vec<(i64, BatchId)>, now: Time) -> Self {
        ids.sort_by_key(|(written, _)| *written);
        let mut batches = Self::default();
        for (written, id) in ids {
            batches.remember(id, Time(written));
        }
        batches.forget_old(now);
        batches
    }

    pub(crate) fn get(&self, key: &[u8; 16]) -> Option<BatchId> {
        self.known.get(key).copied()
    }

    pub(crate) fn remember(&mut self, id: BatchId, at: Time) {
        if self.known.insert(id.key, id).is_none() {
            self.order.push_back((at.0, id.key));
        }
        self.forget_old(at);
    }

    pub(crate) fn forget_old(&mut self, now: Time) {
        while let Some((at, key)) = self.order.front().copied() {
            if self.order.len() <= MAX && now.since(Time(at)) <= KEPT {
                break;
            }
            self.order.pop_front();
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_forgotten_after_a_day() {
        let id = BatchId { key: [1; 16], request: 2, count: 3, accepted: 4 };
        let mut batches = Batches::rebuild(vec![(0, id)], Time(5));
        assert_eq!(batches.get(&[1; 16]), Some(id));
        batches.forget_old(Time(0).after(KEPT));
        assert_eq!(batches.get(&[1; 16]), Some(id));
        batches.forget_old(Time(1).after(KEPT));
        assert_eq!(batches.get(&[1; 16]), None);
    }
}
