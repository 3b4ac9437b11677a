//! The desk: which runs wait, which run, and who waits for their end. In memory only; what it knows
//! is made anew from the records at the next start.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::runner::Stopper;

/// A run that waits for its turn.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) id: String,
    /// The schedule that it counts for.
    pub(super) schedule: Option<String>,
    /// Runs of one lane run one after the other.
    pub(super) lane: Option<String>,
}

/// A run that has its turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) waiting: Waiting,
    pub(super) stopper: Stopper,
    /// Whether it is stopped because the daemon ends.
    pub(super) closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Rows {
    waiting: VecDeque<Waiting>,
    running: HashMap<String, Arc<Turn>>,
    closed: bool,
}

/// See the module's first line.
#[derive(Debug)]
pub(super) struct Desk {
    rows: Mutex<Rows>,
    bell: Condvar,
    ended: watch::Sender<u64>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { rows: Mutex::default(), bell: Condvar::new(), ended: watch::channel(0).0 }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a run at the end of the queue.
    pub(super) fn queue(&self, run: Waiting) {
        self.lock().waiting.push_back(run);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The next run that may begin, when fewer than `most` run.
    pub(super) fn next(&self, most: usize) -> Option<Arc<Turn>> {
        let mut rows = self.lock();
        if rows.closed || rows.running.len() >= most {
            return None;
        }
        let taken: HashSet<&String> =
            rows.running.values().filter_map(|turn| turn.waiting.lane.as_ref()).collect();
        // A run that was resumed waits until its earlier attempt has left.
        let free = |run: &Waiting| {
            run.lane.as_ref().is_none_or(|lane| !taken.contains(lane))
                && !rows.running.contains_key(&run.id)
        };
        let place = rows.waiting.iter().position(free)?;
        let waiting = rows.waiting.remove(place)?;
        let turn = Arc::new(Turn {
            waiting: waiting.clone(),
            stopper: Stopper::default(),
            closing: AtomicBool::new(false),
        });
        rows.running.insert(waiting.id, turn.clone());
        Some(turn)
    }

    /// A run could not begin: it waits again, in front.
    pub(super) fn give_back(&self, turn: &Turn) {
        let mut rows = self.lock();
        rows.running.remove(&turn.waiting.id);
        rows.waiting.push_front(turn.waiting.clone());
    }

    /// A run is over.
    pub(super) fn done(&self, id: &str) {
        self.lock().running.remove(id);
        self.ring();
    }

    fn ring(&self) {
        self.bell.notify_all();
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes a run out of the queue.
    pub(super) fn withdraw(&self, id: &str) -> Option<Waiting> {
        let mut rows = self.lock();
        let place = rows.waiting.iter().position(|run| run.id == id)?;
        rows.waiting.remove(place)
    }

    /// Tells who waits that a run which was withdrawn has its last state.
    pub(super) fn withdrawn(&self) {
        self.ring();
    }

    /// The run, if it has its turn.
    pub(super) fn running(&self, id: &str) -> Option<Arc<Turn>> {
        self.lock().running.get(id).cloned()
    }

    /// Whether the run waits or runs.
    pub(super) fn is_active(&self, id: &str) -> bool {
        let rows = self.lock();
        rows.running.contains_key(id) || rows.waiting.iter().any(|run| run.id == id)
    }

    /// The runs of a schedule that wait or run.
    pub(super) fn of_schedule(&self, name: &str) -> Vec<String> {
        let rows = self.lock();
        let running = rows.running.values().map(|turn| &turn.waiting);
        let all = running.chain(&rows.waiting);
        all.filter(|run| run.schedule.as_deref() == Some(name)).map(|run| run.id.clone()).collect()
    }

    /// Rings for async waiters whenever a run ends.
    pub(super) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Waits until the run is over; answers whether it is.
    pub(super) fn wait(&self, id: &str, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut rows = self.lock();
        loop {
            let active =
                rows.running.contains_key(id) || rows.waiting.iter().any(|run| run.id == id);
            if !active {
                return true;
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return false;
            };
            let woken = self.bell.wait_timeout(rows, left);
            rows = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing more begins, and what runs is stopped. Waits at most `time` for its end; answers
    /// whether all ended.
    pub(super) fn close(&self, time: Duration) -> bool {
        let mut rows = self.lock();
        rows.closed = true;
        for turn in rows.running.values() {
            turn.closing.store(true, Ordering::SeqCst);
            turn.stopper.stop();
        }
        let busy = |rows: &mut Rows| !rows.running.is_empty();
        let woken = self.bell.wait_timeout_while(rows, time, busy);
        woken.unwrap_or_else(PoisonError::into_inner).0.running.is_empty()
    }
}
