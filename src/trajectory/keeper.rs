//! The one that tidies up behind the writer: it seals files of frames that are written no more, and
//! puts small segments together, within a share of one processor.
//!
//! What it replaces is replaced for readers at once: a query sees the old or the new, never both and
//! never neither. What cannot be replaced (no space, damage) stays as it is.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::active::batches::KEPT;
use super::active::payload::BatchId;
use super::active::poison::Door;
use super::active::segment::Segment;
use super::disk::Disk;
use super::error;
use super::recovery;
use super::sealed::Sealed;
use super::sealed::layout::BlockV1;
use super::sealed::seal::{HARD, Stopped, from_frames, from_sealed};
use super::shelf::{Part, Shelf};
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::Result;

/// A segment of this size is large enough to be left alone.
const LARGE: u64 = 16 << 20;
/// What is put together becomes no larger.
const LARGEST: u64 = 128 << 20;
/// So many small neighbours are put together.
const NEIGHBOURS: Range<usize> = 8..65;
/// So many files of frames may wait to be sealed before the writer waits, too.
const WAITING_MAX: usize = 8;
/// The share of one processor that putting together may take.
const SHARE: u32 = 10;
/// After a failure it tries again so much later.
const LATER: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    rung: bool,
    ended: bool,
    /// The last try failed: nobody waits for the next one.
    is_failing: bool,
    /// The names of what someone works on.
    claimed: HashSet<String>,
}

/// See the module's first line.
pub(crate) struct Keeper {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) door: Arc<Door>,
    pub(crate) clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What someone works on, until it is dropped.
struct Claim<'k> {
    keeper: &'k Keeper,
    names: Vec<String>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.keeper.state();
        for name in &self.names {
            state.claimed.remove(name);
        }
    }
}

impl Keeper {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        shelf: Arc<Shelf>,
        door: Arc<Door>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { disk, shelf, door, clock, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts its thread.
    pub(crate) fn start(self: &Arc<Self>) -> Result<JoinHandle<()>> {
        let keeper = self.clone();
        std::thread::Builder::new()
            .name("trajectory-keeper".into())
            .spawn(move || keeper.work())
            .map_err(|source| error::io("start the keeper", source))
    }

    /// There may be something to do.
    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    /// It ends with what it is doing, or before.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Waits while so many files wait to be sealed that the next one should not be begun.
    pub(crate) fn wait_for_room(&self) {
        self.ring();
        let mut state = self.state();
        while !state.ended && !state.is_failing && self.shelf.closed().len() >= WAITING_MAX {
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn work(&self) {
        loop {
            let outcome = match self.seal_next(&mut || !self.state().ended) {
                Ok(false) => self.merge_next(&mut self.within_share()),
                other => other,
            };
            let pause = match outcome {
                Ok(true) => continue,
                Ok(false) => Duration::MAX,
                Err(source) => {
                    tracing::warn!(error = %source, "the log could not be sealed or put together; it stays as it is");
                    LATER
                }
            };
            if self.pause(pause) {
                return;
            }
        }
    }

    /// Waits until there may be something to do; answers whether it is over.
    fn pause(&self, pause: Duration) -> bool {
        let mut state = self.state();
        state.is_failing = pause == LATER;
        self.changed.notify_all();
        let idle = |state: &mut State| !state.ended && (!state.rung || state.is_failing);
        state = if pause == Duration::MAX {
            self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = self.changed.wait_timeout_while(state, pause, idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        (state.rung, state.is_failing) = (false, false);
        state.ended
    }

    /// Lets work go on for its share of the time, and sleeps for the rest. What is closed meanwhile is
    /// sealed first: the writer waits for that, and for nothing else.
    fn within_share(&self) -> impl FnMut() -> bool + '_ {
        let mut since = Instant::now();
        move || {
            let until = Instant::now() + since.elapsed() * (100 / SHARE - 1);
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let idle = |state: &mut State| !state.ended && !state.rung;
                let waited = self.changed.wait_timeout_while(self.state(), left, idle);
                let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
                if state.ended {
                    return false;
                }
                if !std::mem::take(&mut state.rung) {
                    break;
                }
                drop(state);
                loop {
                    match self.seal_next(&mut || !self.state().ended) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(_told_when_it_is_tried_again) => {
                            // What waits to be sealed comes first, also in failing.
                            self.state().rung = true;
                            return false;
                        }
                    }
                }
            }
            since = Instant::now();
            true
        }
    }

    /// Claims parts; none when someone works on one of them, or has replaced or removed it since it was
    /// looked at.
    fn claim(&self, parts: &[Part]) -> Option<Claim<'_>> {
        let names: Vec<String> = parts.iter().map(|part| part.name().to_owned()).collect();
        {
            let mut state = self.state();
            if names.iter().any(|name| state.claimed.contains(name)) {
                return None;
            }
            state.claimed.extend(names.iter().cloned());
        }
        let claim = Claim { keeper: self, names };
        let there = self.shelf.parts();
        let is_there = |part: &Part| there.iter().any(|one| is_same(one, part));
        parts.iter().all(is_there).then_some(claim)
    }

    /// Seals the oldest file of frames that can be; answers whether there was one.
    pub(crate) fn seal_next(&self, pace: &mut dyn FnMut() -> bool) -> io::Result<bool> {
        let can = |segment: &&Arc<Segment>| {
            !self.shelf.is_damaged(&segment.name)
                && segment.with(|contents| contents.damage.is_empty() && contents.count() > 0)
        };
        let closed = self.shelf.closed();
        let Some(segment) = closed.iter().find(can) else { return Ok(false) };
        let part = Part::Frames(segment.clone());
        let Some(_claim) = self.claim(std::slice::from_ref(&part)) else { return Ok(false) };
        let ids = segment.with(|contents| contents.ids.clone());
        let sealed = from_frames(self.disk.as_ref(), segment, self.recent(ids), pace);
        let Some(sealed) = self.settle(sealed)? else { return Ok(false) };
        self.put(sealed, &[part])?;
        Ok(true)
    }

    /// Puts the oldest small neighbours together; answers whether there were any.
    pub(crate) fn merge_next(&self, pace: &mut dyn FnMut() -> bool) -> io::Result<bool> {
        let parts = self.shelf.parts();
        let sizes: Vec<Option<u64>> = parts
            .iter()
            .map(|part| match part {
                Part::Sealed(sealed) if !self.shelf.is_damaged(&sealed.name) => Some(sealed.bytes),
                _ => None,
            })
            .collect();
        let Some(run) = neighbours(&sizes) else { return Ok(false) };
        let sealed: Vec<Arc<Sealed>> = parts
            .get(run)
            .unwrap_or_default()
            .iter()
            .filter_map(|part| match part {
                Part::Sealed(sealed) => Some(sealed.clone()),
                Part::Frames(_) => None,
            })
            .collect();
        self.rewrite(&sealed, &|_, _| true, HARD, pace)
    }

    /// Puts a segment in the place of others, without the blocks that are not to be kept; answers
    /// whether it did.
    pub(crate) fn rewrite(
        &self,
        parts: &[Arc<Sealed>],
        keeps: &dyn Fn(&Sealed, &BlockV1) -> bool,
        level: i32,
        pace: &mut dyn FnMut() -> bool,
    ) -> io::Result<bool> {
        let replaced: Vec<Part> = parts.iter().cloned().map(Part::Sealed).collect();
        let Some(_claim) = self.claim(&replaced) else { return Ok(false) };
        let mut ids = Vec::new();
        for part in parts {
            ids.extend(part.read_ids()?);
        }
        let ids = self.recent(ids);
        let sealed = from_sealed(self.disk.as_ref(), parts, keeps, ids, level, pace);
        let Some(sealed) = self.settle(sealed)? else { return Ok(false) };
        self.put(sealed, &replaced)?;
        Ok(true)
    }

    /// The ids of batches that may still come again.
    fn recent(&self, mut ids: Vec<(i64, BatchId)>) -> Vec<(i64, BatchId)> {
        let now = self.clock.now();
        ids.retain(|(written, _)| now.since(Time(*written)) <= KEPT);
        ids
    }

    fn settle(&self, sealed: std::result::Result<Sealed, Stopped>) -> io::Result<Option<Sealed>> {
        match sealed {
            Ok(sealed) => Ok(Some(sealed)),
            Err(Stopped::Ended) => Ok(None),
            Err(Stopped::Damaged(damage)) => {
                self.shelf.report(damage);
                Ok(None)
            }
            Err(Stopped::Io(source)) => Err(source),
            Err(Stopped::Unsynced(source)) => {
                self.door.close(format!("syncing a sealed segment failed: {source}"));
                Err(source)
            }
        }
    }

    /// Shows a new segment in the place of others, and removes their files.
    fn put(&self, sealed: Sealed, replaced: &[Part]) -> io::Result<()> {
        let names: Vec<&str> = replaced.iter().map(Part::name).collect();
        let name = sealed.name.clone();
        self.shelf.replace(&names, Part::Sealed(Arc::new(sealed)));
        self.changed.notify_all();
        for part in replaced.iter().filter(|part| part.name() != name) {
            recovery::remove(self.disk.as_ref(), part).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Removes a part whose records are all too old; false when someone works on it.
    pub(crate) fn drop_part(&self, part: &Part) -> Result<bool> {
        let Some(_claim) = self.claim(std::slice::from_ref(part)) else { return Ok(false) };
        recovery::remove(self.disk.as_ref(), part)?;
        self.shelf.change_parts(|all| all.retain(|one| one.name() != part.name()));
        self.shelf.forget_damage(part.name());
        tracing::info!(segment = %part.name(), "a segment of the log was too old and is gone");
        Ok(true)
    }
}

fn is_same(left: &Part, right: &Part) -> bool {
    match (left, right) {
        (Part::Frames(left), Part::Frames(right)) => Arc::ptr_eq(left, right),
        (Part::Sealed(left), Part::Sealed(right)) => Arc::ptr_eq(left, right),
        _ => false,
    }
}

/// Which neighbours to put together, given the sizes of those that can be.
fn neighbours(sizes: &[Option<u64>]) -> Option<Range<usize>> {
    let mut run = 0..0;
    let mut bytes = 0;
    for (at, size) in sizes.iter().enumerate() {
        let small = size.filter(|size| *size < LARGE);
        let fits = small.is_some_and(|size| bytes + size <= LARGEST);
        if fits && run.len() < NEIGHBOURS.end - 1 {
            run.end = at + 1;
            bytes += small.unwrap_or(0);
        } else if run.len() >= NEIGHBOURS.start {
            break;
        } else {
            (run, bytes) = (at + 1..at + 1, 0);
        }
    }
    (run.len() >= NEIGHBOURS.start).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_neighbours_are_put_together_and_large_ones_left_alone() {
        let small = |count| vec![Some(1 << 20); count];
        assert_eq!(neighbours(&small(7)), None);
        assert_eq!(neighbours(&small(8)), Some(0..8));
        assert_eq!(neighbours(&small(200)), Some(0..64));
        assert_eq!(neighbours(&[vec![Some(LARGE)], small(9)].concat()), Some(1..10));
        assert_eq!(neighbours(&[small(5), vec![None], small(7)].concat()), None);
        assert_eq!(neighbours(&vec![Some(LARGE - 1); 20]), Some(0..8));
        assert_eq!(neighbours(&[]), None);
    }
}
