//! The state of a run while it runs, on its way to the disk.
//!
//! Hands note what happens to their nodes. A hand that begins a node waits until that is durable, and
//! with it everything before: what the node takes was made by nodes whose end and whose values are in
//! the same set or an earlier one. The first hand that waits writes for all of them, in one set; those
//! that come meanwhile are in the next. So a run costs one commit for each wave of nodes, nothing is
//! handed from thread to thread, and after a crash every node that is done is known as such, with its
//! values. What nobody waits for is written by a recorder, a moment later.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::format::{NodeRow, RunStateRow, StateV2, ValueRow};
use super::lock;
use super::model::RunState;
use super::runner::Stopper;
use super::store::{Changed, Held};

/// What nobody waits for is written together with what comes within this time.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a hand that waits looks whether the run was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// See the module's first line.
pub(super) struct Book {
    page: Mutex<Page>,
    /// Rings for hands: something was written.
    bell: Condvar,
    /// Rings for the recorder: there is something to write, or nothing ever again.
    alarm: Condvar,
}

struct Page {
    /// What the last write left.
    held: (RunState, u64),
    state: RunStateRow,
    changed: BTreeSet<usize>,
    values: Vec<(usize, usize, ValueRow)>,
    /// The number of the last change, and of the last one that is durable.
    noted: u64,
    durable: u64,
    /// Whether someone writes.
    writing: bool,
    /// Whether the recorder waits for something to write.
    idle: bool,
    over: Over,
}

/// Whether anything more is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Not,
    /// The end of the run writes the rest.
    Closed,
    /// Someone else moved the run on.
    Lost,
}

/// What is written in one set.
pub(super) struct Batch {
    pub(super) held: (RunState, u64),
    pub(super) head: StateV2,
    pub(super) changed: Changed,
    until: u64,
}

/// What is left to write when the run is over.
pub(super) struct Last {
    pub(super) held: (RunState, u64),
    pub(super) state: RunStateRow,
    pub(super) changed: Changed,
    /// Someone else moved the run on.
    pub(super) lost: bool,
}

impl Book {
    /// The book of a run that stands as `held` says.
    pub(super) fn open(held: Held) -> Self {
        let page = Page {
            held: (held.state.state, held.revision),
            state: held.state,
            changed: BTreeSet::new(),
            values: Vec::new(),
            noted: 0,
            durable: 0,
            writing: false,
            idle: false,
            over: Over::Not,
        };
        Self { page: Mutex::new(page), bell: Condvar::new(), alarm: Condvar::new() }
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&RunStateRow) -> T) -> T {
        look(&lock(&self.page).state)
    }

    /// Changes a node's row, and adds values that it made; answers what `change` does.
    pub(super) fn note<T>(
        &self,
        place: usize,
        values: Vec<(usize, ValueRow)>,
        change: impl FnOnce(&mut NodeRow) -> T,
    ) -> Option<T> {
        let mut page = lock(&self.page);
        let answer = page.state.nodes.get_mut(place).map(change);
        page.changed.insert(place);
        page.values.extend(values.into_iter().map(|(output, value)| (place, output, value)));
        page.noted += 1;
        if std::mem::take(&mut page.idle) {
            self.alarm.notify_one();
        }
        answer
    }

    /// Has everything that was noted made durable by `write`, or waits for who does it already;
    /// answers whether the run goes on. `write` tells what became of the batch.
    pub(super) fn keep(&self, stopper: &Stopper, write: impl Fn(Batch)) -> bool {
        let mut page = lock(&self.page);
        let wanted = page.noted;
        while page.durable < wanted && page.over == Over::Not && !stopper.is_stopped() {
            if page.writing {
                let waited = self.bell.wait_timeout(page, LOOK);
                page = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let batch = page.batch();
            drop(page);
            write(batch);
            page = lock(&self.page);
        }
        page.durable >= wanted && page.over != Over::Lost
    }

    /// Nothing more is written as the run goes: its end writes the rest.
    pub(super) fn close(&self) {
        let mut page = lock(&self.page);
        if page.over == Over::Not {
            page.over = Over::Closed;
        }
        drop(page);
        self.bell.notify_all();
        self.alarm.notify_all();
    }

    /// For the recorder: waits for something that nobody writes; nothing once the book is closed.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut page = lock(&self.page);
        loop {
            let quiet = |page: &mut Page| {
                page.idle = page.durable == page.noted && page.over == Over::Not;
                page.idle
            };
            page = self.alarm.wait_while(page, quiet).unwrap_or_else(PoisonError::into_inner);
            let waited = self.alarm.wait_timeout_while(page, PAUSE, |page| page.over == Over::Not);
            page = waited.unwrap_or_else(PoisonError::into_inner).0;
            if page.over != Over::Not {
                return None;
            }
            if !page.writing && page.durable < page.noted {
                return Some(page.batch());
            }
        }
    }

    /// A batch is durable.
    pub(super) fn written(&self, batch: &Batch, revision: u64) {
        let mut page = lock(&self.page);
        page.held = (batch.head.state, revision);
        page.durable = batch.until;
        page.writing = false;
        drop(page);
        self.bell.notify_all();
    }

    /// A batch could not be written: it is tried again with what comes.
    pub(super) fn not_written(&self, batch: Batch) {
        let mut page = lock(&self.page);
        page.changed.extend(batch.changed.nodes.into_iter().map(|(place, _)| place));
        let newer = std::mem::take(&mut page.values);
        page.values = batch.changed.values;
        page.values.extend(newer);
        page.writing = false;
        drop(page);
        self.bell.notify_all();
    }

    /// Someone else moved the run on.
    pub(super) fn lose(&self) {
        let mut page = lock(&self.page);
        page.over = Over::Lost;
        page.writing = false;
        drop(page);
        self.bell.notify_all();
        self.alarm.notify_all();
    }

    /// What is left to write.
    pub(super) fn last(&self) -> Last {
        let mut page = lock(&self.page);
        let changed = page.take();
        Last { held: page.held, state: page.state.clone(), changed, lost: page.over == Over::Lost }
    }
}

impl Page {
    /// Everything that is not written, for someone who writes it now.
    fn batch(&mut self) -> Batch {
        self.writing = true;
        let changed = self.take();
        Batch { held: self.held, head: self.state.head(), changed, until: self.noted }
    }

    /// What changed since the last time.
    fn take(&mut self) -> Changed {
        let places = std::mem::take(&mut self.changed);
        let row = |place: usize| Some((place, self.state.nodes.get(place)?.clone()));
        let nodes = places.into_iter().filter_map(row).collect();
        Changed { nodes, values: std::mem::take(&mut self.values), gone: Vec::new() }
    }
}
