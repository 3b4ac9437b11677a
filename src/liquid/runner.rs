//! Runs the steps of a plan: one after the other, or several at a time. It knows no store; whoever
//! starts it is told of every change.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rhai::{Dynamic, Map};

use super::catalog::Catalog;
use super::error;
use super::node::Outputs;
use super::plan::{Plan, Step};
use crate::kernel::error::{Error, Result};
use crate::kernel::script::mark_stack;

/// The first wait before another try; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait before another try.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Stack beyond what a thread is promised to have.
const SPARE: usize = 256 << 10;

/// Ends a run from outside.
#[derive(Debug, Default)]
pub(super) struct Stopper {
    flag: Arc<AtomicBool>,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Stopper {
    /// The flag that a script looks at.
    pub(super) fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    pub(super) fn stop(&self) {
        let _ringing = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.flag.store(true, Ordering::SeqCst);
        self.bell.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Waits; a stop may cut it short, and it waits even after one.
    pub(super) fn wait_at_most(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.bell.wait_timeout(guard, time));
    }

    /// Waits, or until it is stopped.
    pub(super) fn pause(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |(): &mut ()| !self.is_stopped();
        drop(self.bell.wait_timeout_while(guard, time, waiting));
    }
}

/// What happened to a step.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// A try is about to begin; the first is 1.
    Started(u32),
    /// A try failed, and there will be another.
    Again(&'a Error),
    /// It is done: the values that it made, and whether they were taken from an earlier run.
    Done(&'a [(String, Dynamic)], bool),
    /// The last try failed.
    Failed(&'a Error),
    /// It was told to end.
    Cancelled,
}

/// How a run ended that did not succeed.
#[derive(Debug)]
pub(super) enum Ended {
    /// A step failed for good.
    Failed { node: Option<String>, error: Error },
    /// It was told to end.
    Cancelled,
}

/// What the work of a step made.
#[derive(Debug)]
pub(super) enum Made {
    /// What its function returned.
    Returned(Dynamic),
    /// The values, by their names, and whether they are those of an earlier run.
    Values(Vec<(String, Dynamic)>, bool),
}

/// Calls the function of a step.
pub(super) type Work<'a> = dyn Fn(&Step, Vec<Dynamic>) -> Result<Made> + Sync + 'a;
/// Is told what happened to a step; answers whether the run goes on.
pub(super) type Tell<'a> = dyn Fn(usize, Told<'_>) -> bool + Sync + 'a;

/// What to run.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    /// How many steps may run at the same time.
    pub(super) width: usize,
    /// The stack that the work of a step may need.
    pub(super) stack: usize,
    /// The steps that are done already: their values are among the inputs, as far as needed.
    pub(super) done: HashSet<usize>,
    /// The values to answer in the end.
    pub(super) keep: HashSet<String>,
    pub(super) stopper: &'a Stopper,
    pub(super) work: &'a Work<'a>,
    pub(super) tell: &'a Tell<'a>,
}

struct Board {
    ready: BTreeSet<usize>,
    open: Vec<usize>,
    left: usize,
    catalog: Catalog,
    failed: Option<Ended>,
}

struct Floor<'a> {
    job: &'a Job<'a>,
    board: Mutex<Board>,
    bell: Condvar,
}

impl Job<'_> {
    /// Runs to the end and answers the values to keep. After a failure nothing more is started;
    /// what runs already is let finish.
    pub(super) fn run(
        &self,
        inputs: Vec<(String, Dynamic)>,
    ) -> std::result::Result<HashMap<String, Dynamic>, Ended> {
        let mut catalog = Catalog::new(self.plan, &self.done, self.keep.clone());
        for (name, value) in inputs {
            catalog.put(name, value);
        }
        let is_open = |index: &usize| !self.done.contains(index);
        let waits_for = |step: &Step| step.needs.iter().filter(|need| is_open(need)).count();
        let open: Vec<usize> = self.plan.steps.iter().map(waits_for).collect();
        let ready = open.iter().enumerate().filter(|(index, open)| **open == 0 && is_open(index));
        let ready: BTreeSet<usize> = ready.map(|(index, _)| index).collect();
        let left = self.plan.steps.len() - self.done.len();
        let board = Board { ready, open, left, catalog, failed: None };
        let floor = Floor { job: self, board: Mutex::new(board), bell: Condvar::new() };
        let width = self.width.clamp(1, left.max(1));
        std::thread::scope(|scope| {
            for number in 1..width {
                let name = format!("drip-node-{number}");
                let started = deep_thread(name, self.stack).spawn_scoped(scope, || {
                    mark_stack(self.stack);
                    floor.work();
                });
                // Fewer hands do the same work.
                if let Err(error) = started {
                    tracing::warn!(%error, "no thread for another node");
                    break;
                }
            }
            floor.work();
        });
        let board = floor.board.into_inner().unwrap_or_else(PoisonError::into_inner);
        match board.failed {
            Some(ended) => Err(ended),
            None if board.left > 0 => Err(Ended::Cancelled),
            None => Ok(board.catalog.into_kept()),
        }
    }
}

impl Floor<'_> {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes steps until there are none.
    fn work(&self) {
        while let Some((index, arguments)) = self.next() {
            let Some(step) = self.job.plan.steps.get(index) else {
                return;
            };
            let outcome = self.step(index, step, arguments);
            self.settle(index, step, outcome);
        }
        self.bell.notify_all();
    }

    fn next(&self) -> Option<(usize, Vec<Dynamic>)> {
        let mut board = self.lock();
        loop {
            if board.failed.is_some() || board.left == 0 || self.job.stopper.is_stopped() {
                return None;
            }
            if let Some(index) = board.ready.pop_first() {
                let step = self.job.plan.steps.get(index)?;
                let catalog = &mut board.catalog;
                let take = |name: &String| catalog.take(name).unwrap_or_default();
                return Some((index, step.arguments.iter().map(take).collect()));
            }
            // A step that ends rings; a stop is seen when the running steps end on its account.
            board = self.bell.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tries a step as often as it may be tried.
    fn step(
        &self,
        index: usize,
        step: &Step,
        arguments: Vec<Dynamic>,
    ) -> std::result::Result<Vec<(String, Dynamic)>, Ended> {
        let Job { stopper, work, tell, .. } = self.job;
        let last = step.node.retries.saturating_add(1);
        let mut wait = step.node.backoff.unwrap_or(FIRST_WAIT);
        let mut arguments = Some(arguments);
        for number in 1..=last {
            if !tell(index, Told::Started(number)) {
                return Err(Ended::Cancelled);
            }
            let given = if number == last { arguments.take() } else { arguments.clone() };
            let made = work(step, given.unwrap_or_default()).and_then(|made| match made {
                Made::Values(values, cached) => Ok((values, cached)),
                Made::Returned(value) => {
                    share_out(&step.node.name, &step.node.outputs, value).map(|made| (made, false))
                }
            });
            match made {
                Ok((values, cached)) => {
                    tell(index, Told::Done(&values, cached));
                    return Ok(values);
                }
                Err(_) if stopper.is_stopped() => {
                    tell(index, Told::Cancelled);
                    return Err(Ended::Cancelled);
                }
                Err(error) if number == last => {
                    tell(index, Told::Failed(&error));
                    return Err(Ended::Failed { node: Some(step.node.name.clone()), error });
                }
                Err(error) => {
                    tell(index, Told::Again(&error));
                }
            }
            stopper.pause(shaken(wait, step.node.jitter));
            if stopper.is_stopped() {
                tell(index, Told::Cancelled);
                return Err(Ended::Cancelled);
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
        Err(Ended::Cancelled)
    }

    fn settle(
        &self,
        index: usize,
        step: &Step,
        outcome: std::result::Result<Vec<(String, Dynamic)>, Ended>,
    ) {
        let mut board = self.lock();
        match outcome {
            Ok(values) => {
                for (name, value) in values {
                    board.catalog.put(name, value);
                }
                board.left = board.left.saturating_sub(1);
                for next in &step.feeds {
                    let open = board.open.get_mut(*next).map(|open| {
                        *open = open.saturating_sub(1);
                        *open
                    });
                    if open == Some(0) {
                        board.ready.insert(*next);
                    }
                }
            }
            // The first failure is the one that people are told of.
            Err(ended) => {
                board.failed.get_or_insert(ended);
            }
        }
        drop(board);
        tracing::trace!(index, "a step ended");
        self.bell.notify_all();
    }
}

/// A thread on which scripts run, without another thread for each call: starting one with such a
/// stack costs more than a small node. Its stack is a little larger than it is promised to be.
pub(super) fn deep_thread(name: String, stack: usize) -> std::thread::Builder {
    std::thread::Builder::new().name(name).stack_size(stack.saturating_add(SPARE))
}

/// A wait made shorter or longer by chance, so that those who failed together do not come back
/// together.
fn shaken(wait: Duration, jitter: f64) -> Duration {
    let by = rand::random_range(-1.0..=1.0) * jitter.clamp(0.0, 1.0);
    wait.mul_f64(1.0 + by)
}

/// From what a function returned to the values that its node makes.
pub(super) fn share_out(
    node: &str,
    outputs: &Outputs,
    value: Dynamic,
) -> Result<Vec<(String, Dynamic)>> {
    match outputs {
        Outputs::Whole(None) => Ok(Vec::new()),
        Outputs::Whole(Some(name)) => Ok(vec![(name.clone(), value)]),
        Outputs::Several(names) if value.is_array() => {
            let items = value.cast::<rhai::Array>();
            if items.len() != names.len() {
                return Err(error::wrong_count(node, names.len(), items.len()));
            }
            Ok(names.iter().cloned().zip(items).collect())
        }
        Outputs::Several(names) => {
            let pairs: Vec<_> = names.iter().map(|name| (name.clone(), name.clone())).collect();
            fields(node, &pairs, value)
        }
        Outputs::ByField(pairs) => fields(node, pairs, value),
    }
}

fn fields(
    node: &str,
    pairs: &[(String, String)],
    value: Dynamic,
) -> Result<Vec<(String, Dynamic)>> {
    let kind = value.type_name();
    let Some(mut map) = value.try_cast::<Map>() else {
        return Err(error::not_several(node, pairs, kind));
    };
    let missing: Vec<&str> = pairs
        .iter()
        .map(|(field, _)| field.as_str())
        .filter(|field| !map.contains_key(*field))
        .collect();
    if !missing.is_empty() {
        return Err(error::missing_fields(node, &missing));
    }
    let mut take = |field: &str| map.remove(field).unwrap_or_default();
    Ok(pairs.iter().map(|(field, name)| (name.clone(), take(field))).collect())
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
