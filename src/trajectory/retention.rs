//! What is kept for how long, and how much of it: by age and by size, for the whole log and for each
//! stream. Only whole segments go. One of which a third or more is not to be kept is written anew
//! without it, and takes the old one's place at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::active::payload::Tally;
use super::active::segment::newest;
use super::keeper::Keeper;
use super::sealed::layout::BlockV1;
use super::sealed::{Sealed, bloom};
use super::shelf::Part;
use super::streams::Settings;
use crate::kernel::clock::{Time, parse_duration};
use crate::kernel::error::Result;

/// What is kept of the whole log, where a stream says nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) retention: Option<Duration>,
    pub(super) max_bytes: Option<u64>,
}

/// Which of the log's parts are to go, as of one moment.
pub(super) struct Plan<'p> {
    now: Time,
    limits: Limits,
    settings: &'p BTreeMap<String, Arc<Settings>>,
    /// The blocks that are more than their streams may have, by file and place.
    beyond: HashSet<(String, u64)>,
    /// The parts that are more than the log may have.
    oldest: HashSet<String>,
}

/// How many bytes a block takes on the disk.
fn size_of(block: &BlockV1) -> u64 {
    u64::from(block.bytes) + u64::from(block.lines) * bloom::LINE as u64
}

impl<'p> Plan<'p> {
    pub(super) fn new(
        now: Time,
        limits: Limits,
        settings: &'p BTreeMap<String, Arc<Settings>>,
        parts: &[Part],
    ) -> Self {
        let mut plan =
            Self { now, limits, settings, beyond: HashSet::new(), oldest: HashSet::new() };
        plan.count_streams(parts);
        plan.count_parts(parts);
        plan
    }

    /// Counts the blocks of each stream that has a bound, the newest first.
    fn count_streams(&mut self, parts: &[Part]) {
        let bound = |stream: &str| self.settings.get(stream).and_then(|kept| kept.max_bytes);
        let mut sizes: HashMap<&str, u64> = HashMap::new();
        let mut beyond = HashSet::new();
        for part in parts.iter().rev() {
            let Part::Sealed(sealed) = part else { continue };
            for block in sealed.footer.blocks.iter().rev() {
                let stream = sealed.stream_of(block);
                let Some(bound) = bound(stream) else { continue };
                let newer = sizes.entry(stream).or_default();
                // The newest block stays, whatever its size.
                if *newer > 0 && *newer + size_of(block) > bound {
                    beyond.insert((sealed.name.clone(), block.offset));
                }
                *newer += size_of(block);
            }
        }
        self.beyond = beyond;
    }

    /// Counts the parts of the log, the newest first.
    fn count_parts(&mut self, parts: &[Part]) {
        let Some(bound) = self.limits.max_bytes else { return };
        let mut size = 0;
        for (age, part) in parts.iter().rev().enumerate() {
            size += part.bytes();
            // The one that is written to stays, whatever its size.
            if size > bound && age > 0 {
                self.oldest.insert(part.name().to_owned());
            }
        }
    }

    fn is_old(&self, stream: &str, tally: &Tally, written: i64) -> bool {
        let own = self.settings.get(stream).and_then(|settings| settings.retention.as_deref());
        let kept = own.and_then(|text| parse_duration(text).ok()).or(self.limits.retention);
        kept.is_some_and(|kept| self.now.since(newest(tally, written)) > kept)
    }

    fn keeps_block(&self, sealed: &Sealed, block: &BlockV1) -> bool {
        !self.is_old(sealed.stream_of(block), &block.tally, sealed.footer.written)
            && !self.beyond.contains(&(sealed.name.clone(), block.offset))
    }

    /// Whether nothing of a part is to be kept.
    pub(super) fn drops(&self, part: &Part) -> bool {
        if self.oldest.contains(part.name()) {
            return true;
        }
        match part {
            Part::Frames(segment) => segment.with(|contents| {
                let is_old = |(stream, tally): (&String, &Tally)| {
                    self.is_old(stream, tally, contents.written)
                };
                !contents.streams.is_empty() && contents.streams.iter().all(is_old)
            }),
            Part::Sealed(sealed) => {
                !sealed.footer.blocks.iter().any(|block| self.keeps_block(sealed, block))
            }
        }
    }

    /// Whether a third of a segment or more is not to be kept: then it is worth writing anew.
    fn thins(&self, sealed: &Sealed) -> bool {
        let (mut kept, mut gone) = (0, 0);
        for block in &sealed.footer.blocks {
            let size = size_of(block);
            if self.keeps_block(sealed, block) {
                kept += size;
            } else {
                gone += size;
            }
        }
        kept > 0 && gone * 2 >= kept
    }

    /// Does what is to be done with a part that is written no more; answers whether it is gone.
    pub(super) fn apply(&self, keeper: &Keeper, part: &Part) -> Result<bool> {
        if self.drops(part) {
            return keeper.drop_part(part);
        }
        if let Part::Sealed(sealed) = part
            && self.thins(sealed)
        {
            let keeps = |sealed: &Sealed, block: &BlockV1| self.keeps_block(sealed, block);
            let level = sealed.footer.packed;
            keeper.rewrite(std::slice::from_ref(sealed), &keeps, level, &mut || true).map_err(
                |source| super::error::io(format!("write {} anew", sealed.name), source),
            )?;
        }
        Ok(false)
    }
}
