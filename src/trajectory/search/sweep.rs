//! Counting over everything that a filter may take, on a few threads: each counts for itself, and
//! the sums are added at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::active::payload::Raw;
use super::super::active::segment::Damage;
use super::super::error;
use super::super::sealed::Sealed;
use super::super::sealed::block::Failed;
use super::super::sealed::layout::BlockV1;
use super::super::shelf::Shelf;
use super::chunk::{Chunk, block};
use super::filter::Filter;
use super::query::{Budget, THREADS_MAX};
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Error, Result};

/// What is counted.
pub(crate) trait Counting: Sync {
    /// What one thread has counted.
    type Sum: Default + Send;
    /// Counts a record of a file of frames.
    fn count(&self, raw: &Raw<'_>, sum: &mut Self::Sum);
    /// Counts the rows of a block that the filter takes; what is damaged and could be done without
    /// goes to `damage`.
    fn count_block(
        &self,
        sealed: &Sealed,
        info: &BlockV1,
        sum: &mut Self::Sum,
        damage: &mut Vec<Damage>,
    ) -> Result<(), Failed>;
    /// Adds what another thread has counted.
    fn add(into: &mut Self::Sum, other: Self::Sum);
}

/// What the threads share.
struct Sweep<'q, C: Counting> {
    counting: &'q C,
    filter: &'q Filter,
    shelf: &'q Shelf,
    budget: Budget,
    deadline: Time,
    clock: &'q dyn Clock,
    chunks: &'q [Chunk],
    next: AtomicUsize,
    rows: AtomicU64,
    is_incomplete: AtomicBool,
    sum: Mutex<C::Sum>,
    failed: Mutex<Option<Error>>,
}

/// Counts; answers the sum and whether something was left out.
pub(crate) fn sweep<C: Counting>(
    counting: &C,
    filter: &Filter,
    chunks: &[Chunk],
    shelf: &Shelf,
    budget: Budget,
    clock: &dyn Clock,
) -> Result<(C::Sum, bool)> {
    let sweep = Sweep {
        counting,
        filter,
        shelf,
        budget,
        deadline: clock.now().after(budget.time),
        clock,
        chunks,
        next: AtomicUsize::new(0),
        rows: AtomicU64::new(0),
        is_incomplete: AtomicBool::new(filter.meets_damage(shelf)),
        sum: Mutex::default(),
        failed: Mutex::new(None),
    };
    together(chunks.len(), &|| sweep.work());
    if let Some(error) = sweep.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let sum = sweep.sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sum, sweep.is_incomplete.into_inner()))
}

impl<C: Counting> Sweep<'_, C> {
    fn work(&self) {
        let mut sum = C::Sum::default();
        while let Some(chunk) = self.chunks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let spent = self.rows.load(Ordering::Relaxed) >= self.budget.rows
                || self.clock.now() > self.deadline;
            if spent {
                self.is_incomplete.store(true, Ordering::Relaxed);
                break;
            }
            match self.chunk(chunk, &mut sum) {
                Ok(damage) if damage.is_empty() => {}
                Ok(damage) => {
                    self.is_incomplete.store(true, Ordering::Relaxed);
                    self.shelf.report(damage);
                }
                Err(error) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    break;
                }
            }
        }
        C::add(&mut self.sum.lock().unwrap_or_else(PoisonError::into_inner), sum);
    }

    fn chunk(&self, chunk: &Chunk, sum: &mut C::Sum) -> Result<Vec<Damage>> {
        self.rows.fetch_add(chunk.tally().count, Ordering::Relaxed);
        let mut damage = Vec::new();
        let (name, counted) = match chunk {
            Chunk::Frames(segment, extent) => {
                let may_be_in = |payload: &[u8]| self.filter.may_be_in(payload);
                let visited = segment.visit_where(extent, may_be_in, |_, raw| {
                    if self.filter.takes(raw) {
                        self.counting.count(raw, sum);
                    }
                    true
                });
                let visited = visited.map(|found| damage = found).map_err(Failed::Io);
                (&segment.name, visited)
            }
            Chunk::Block(sealed, number) => {
                let info = block(sealed, *number);
                (&sealed.name, self.counting.count_block(sealed, info, sum, &mut damage))
            }
        };
        match counted {
            Ok(()) => {}
            Err(Failed::Damaged(found)) => damage.push(*found),
            Err(Failed::Io(source)) => {
                return Err(error::io(format!("read {name}"), source));
            }
        }
        Ok(damage)
    }
}

/// Runs a piece of work on as many threads as there are processors, a few at most, and no more than
/// there is to do.
pub(crate) fn together(pieces: usize, work: &(dyn Fn() + Sync)) {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..processors.min(THREADS_MAX).min(pieces) {
            scope.spawn(work);
        }
        work();
    });
}
