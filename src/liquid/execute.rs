//! Carrying out a run: it gets a thread when its turn comes, and its state is written as it goes.
//!
//! That it runs is durable before its first node begins, and its last state is durable before
//! anyone is told. In between the states of nodes are written together, a few times a second: a
//! crash may lose the last of them, and the run is `interrupted` then anyway. Every write expects
//! the revision that the one before it left: a run that someone else moved on is not touched.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rhai::{Dynamic, FnPtr};
use serde_json::{Map, Value, json};

use super::desk::Turn;
use super::format::{NodeRow, RunRow, RunStateRow, object};
use super::model::{NodeState, RunState, Runner};
use super::plan::Plan;
use super::runner::{Ended, Job, Stopper, Told};
use super::store::{self, Held};
use super::{Liquid, error, lock, lost_race};
use crate::kernel::access::Caller;
use crate::kernel::error::{Error, Result};
use crate::kernel::script::{ScriptContext, from_dynamic, to_dynamic};

/// Between two writes of the states of nodes.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of JSON that the outputs of a run may take.
const OUTPUTS_MAX: usize = 16 << 20;
/// How often the last state of a run is tried to be written, a second apart.
const LAST_TRIES: usize = 60;

type Outcome = std::result::Result<Map<String, Value>, Ended>;

/// The state of a run while it runs.
struct Book {
    page: Mutex<Page>,
    bell: Condvar,
}

struct Page {
    held: Held,
    state: RunStateRow,
    dirty: bool,
    closed: bool,
    /// Someone else moved the run on.
    lost: bool,
}

/// Leaves the desk when the run is over, however it ended.
struct Leave<'a>(&'a Liquid, &'a str);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.0.desk.done(self.1);
        self.0.pump();
    }
}

impl Liquid {
    /// Gives a thread to every waiting run that may begin now.
    pub fn pump(&self) {
        while let Some(turn) = self.0.desk.next(self.0.config.max_runs) {
            let (liquid, given) = (self.clone(), turn.clone());
            let thread = std::thread::Builder::new().name("drip-run".into());
            if let Err(error) = thread.spawn(move || liquid.turn(&given)) {
                tracing::error!(%error, "no thread for a run: it waits");
                self.0.desk.give_back(&turn);
                return;
            }
        }
    }

    fn turn(&self, turn: &Turn) {
        let id = &turn.waiting.id;
        match self.begin(id) {
            Ok(Some((row, book))) => {
                let _leave = Leave(self, id);
                self.carry_out(turn, &row, &book);
            }
            Ok(None) => drop(Leave(self, id)),
            Err(error) => {
                tracing::error!(run = %id, %error, "a run cannot begin: it waits");
                turn.stopper.pause(Duration::from_secs(1));
                self.0.desk.give_back(turn);
            }
        }
    }

    /// Makes it durable that the run runs; nothing when it is not waiting any more.
    fn begin(&self, id: &str) -> Result<Option<(RunRow, Book)>> {
        let row = store::run_row(&*self.0.records, id)?;
        let mut held = store::held(&*self.0.records, id)?;
        if held.state.state != RunState::Queued {
            return Ok(None);
        }
        let mut state = held.state.clone();
        state.state = RunState::Running;
        state.epoch = self.0.epoch;
        state.started_at = Some(self.now());
        held.revision = match store::advance(&*self.0.records, id, &held, &state, None) {
            Err(refused) if lost_race(&refused) => return Ok(None),
            written => written?,
        };
        held.state = state.clone();
        let page = Page { held, state, dirty: false, closed: false, lost: false };
        Ok(Some((row, Book { page: Mutex::new(page), bell: Condvar::new() })))
    }

    fn carry_out(&self, turn: &Turn, row: &RunRow, book: &Book) {
        let id = &turn.waiting.id;
        self.log(
            id,
            "INFO",
            &format!("the run of `{}` began", row.pipeline),
            json!({
                "pipeline": row.pipeline, "revision": row.revision, "cause": row.cause,
            }),
        );
        let outcome = std::thread::scope(|scope| {
            let recorder = std::thread::Builder::new()
                .name("drip-run-record".into())
                .spawn_scoped(scope, || self.record(id, book, &turn.stopper));
            if let Err(error) = recorder {
                tracing::warn!(run = %id, %error, "the nodes of a run are not written as it goes");
            }
            let outcome = self.nodes(turn, row, book);
            book.close();
            outcome
        });
        self.finish(turn, row, book, outcome);
    }

    /// Writes what changed, together, until the book is closed.
    fn record(&self, id: &str, book: &Book, stopper: &Stopper) {
        while let Some((held, state)) = book.changed() {
            match store::advance(&*self.0.records, id, &held, &state, None) {
                Ok(revision) => lock(&book.page).held = Held { state, revision },
                Err(refused) if lost_race(&refused) => {
                    lock(&book.page).lost = true;
                    stopper.stop();
                    return;
                }
                Err(error) => {
                    tracing::warn!(run = %id, %error, "the state of a run was not written");
                    lock(&book.page).dirty = true;
                }
            }
        }
    }

    fn nodes(&self, turn: &Turn, row: &RunRow, book: &Book) -> Outcome {
        let failed = |error: Error| Ended::Failed { node: None, error };
        let id = &turn.waiting.id;
        let caller = Caller::from(row.caller.clone());
        let caller = match &self.0.standing {
            Some(standing) => standing.today(&caller).map_err(failed)?,
            None => caller,
        };
        let pipeline = self.pipeline_row(&row.pipeline, Some(row.revision)).map_err(failed)?;
        let ready = self.ready(&row.pipeline, &pipeline).map_err(failed)?;
        let plan = ready.plan.slice(&row.slice());
        let plan = plan.map_err(|faults| failed(error::bad_run(&row.pipeline, faults)))?;
        let context = ScriptContext { caller, run_id: Some(id.clone()) };
        let work = |step: &super::plan::Step, arguments: Vec<Dynamic>| {
            let (liquid, run, node) = (self.clone(), id.clone(), step.node.name.clone());
            let print = move |printed: crate::kernel::script::Printed<'_>| {
                let fields = json!({ "node": node, "line": printed.line });
                liquid.log(&run, "INFO", printed.text, fields);
            };
            let flag = turn.stopper.flag();
            self.0.scripts.call(&ready, step, arguments, &context, flag, print)
        };
        let job = Job {
            plan: &plan,
            width: if row.runner == Runner::Parallel { self.0.config.width() } else { 1 },
            keep: wanted(&plan, row).into_iter().collect(),
            stopper: &turn.stopper,
            work: &work,
            tell: &|index, told| self.told(id, book, index, &told),
        };
        let inputs = object(&row.inputs_json);
        let inputs = inputs.iter().map(|(name, value)| (name.clone(), to_dynamic(value)));
        let kept = job.run(inputs.collect())?;
        outputs(&wanted(&plan, row), |name| kept.get(name)).map_err(failed)
    }

    /// Notes what happened to a node.
    fn told(&self, id: &str, book: &Book, index: usize, told: &Told<'_>) {
        let now = self.now();
        let name = book.change(index, |node| {
            match told {
                Told::Started(number) => {
                    node.state = NodeState::Running;
                    node.tries = *number;
                    node.started_at.get_or_insert(now);
                }
                Told::Again(error) => node.error = Some(error::in_words(error)),
                Told::Done => {
                    node.state = NodeState::Succeeded;
                    node.error = None;
                    node.finished_at = Some(now);
                }
                Told::Failed(error) => {
                    node.state = NodeState::Failed;
                    node.error = Some(error::in_words(error));
                    node.finished_at = Some(now);
                }
                Told::Cancelled => {
                    node.state = NodeState::Cancelled;
                    node.finished_at = Some(now);
                }
            }
            node.name.clone()
        });
        let name = name.unwrap_or_default();
        let (level, words) = match told {
            Told::Started(1) => ("INFO", format!("the node `{name}` began")),
            Told::Started(number) => ("INFO", format!("the node `{name}` began its try {number}")),
            Told::Again(error) => (
                "WARNING",
                format!("the node `{name}` failed and is tried again: {}", error::in_words(error)),
            ),
            Told::Done => ("INFO", format!("the node `{name}` is done")),
            Told::Failed(error) => {
                ("ERROR", format!("the node `{name}` failed: {}", error::in_words(error)))
            }
            Told::Cancelled => ("WARNING", format!("the node `{name}` was cancelled")),
        };
        self.log(id, level, &words, json!({ "node": name }));
    }

    /// Writes the last state, and tells everyone.
    fn finish(&self, turn: &Turn, row: &RunRow, book: &Book, outcome: Outcome) {
        let id = &turn.waiting.id;
        let (held, mut state, lost) = book.last();
        if lost {
            tracing::warn!(run = %id, "a run was moved on by another daemon: its end is not written");
            return;
        }
        match outcome {
            Ok(outputs) => {
                state.outputs_json = Value::Object(outputs).to_string();
                state.end(RunState::Succeeded, self.now(), NodeState::Succeeded);
            }
            Err(Ended::Failed { node, error }) => {
                let words = error::in_words(&error);
                state.error = Some(match node {
                    Some(node) => format!("the node `{node}` failed: {words}"),
                    None => words,
                });
                state.end(RunState::Failed, self.now(), NodeState::Cancelled);
            }
            Err(Ended::Cancelled) if turn.closing.load(Ordering::SeqCst) => {
                state.end(RunState::Interrupted, self.now(), NodeState::Interrupted);
            }
            Err(Ended::Cancelled) => {
                state.end(RunState::Cancelled, self.now(), NodeState::Cancelled);
            }
        }
        self.write_last(id, row, &held, &state);
    }

    /// A full disk may have room again soon: the last state is tried for a while. If it cannot be
    /// written, the run is `interrupted` at the next opening.
    fn write_last(&self, id: &str, row: &RunRow, held: &Held, state: &RunStateRow) {
        let event = store::event("run.finished", id, row, state, self.now());
        let quiet = Stopper::default();
        for _try in 0..LAST_TRIES {
            match store::advance(&*self.0.records, id, held, state, Some(&event)) {
                Ok(_) => {
                    let level = if state.error.is_some() { "ERROR" } else { "INFO" };
                    let words = match &state.error {
                        Some(error) => format!("the run {}: {error}", state.state),
                        None => format!("the run ended: {}", state.state),
                    };
                    self.log(
                        id,
                        level,
                        &words,
                        json!({ "pipeline": row.pipeline, "state": state.state }),
                    );
                    return self.publish(&event);
                }
                Err(error) if lost_race(&error) => {
                    tracing::warn!(run = %id, %error, "a run was moved on by another daemon");
                    return;
                }
                Err(error) => {
                    tracing::error!(run = %id, %error, "the end of a run was not written");
                    quiet.pause(Duration::from_secs(1));
                }
            }
        }
    }
}

impl Book {
    /// Changes a node's row and answers what `change` does.
    fn change<T>(&self, index: usize, change: impl FnOnce(&mut NodeRow) -> T) -> Option<T> {
        let mut page = lock(&self.page);
        let answer = page.state.nodes.get_mut(index).map(change);
        page.dirty = true;
        drop(page);
        self.bell.notify_all();
        answer
    }

    fn close(&self) {
        lock(&self.page).closed = true;
        self.bell.notify_all();
    }

    /// Waits for changes, and a little longer for more of them; nothing once the book is closed.
    fn changed(&self) -> Option<(Held, RunStateRow)> {
        let quiet = |page: &mut Page| !page.dirty && !page.closed;
        let page = self.bell.wait_while(lock(&self.page), quiet);
        let page = page.unwrap_or_else(PoisonError::into_inner);
        // The whole state is written each time, so larger runs are written more seldom.
        let pause = PAUSE + PAUSE * u32::try_from(page.state.nodes.len() / 1000).unwrap_or(0);
        let waited = self.bell.wait_timeout_while(page, pause, |page| !page.closed);
        let mut page = waited.unwrap_or_else(PoisonError::into_inner).0;
        if page.closed {
            return None;
        }
        page.dirty = false;
        Some((page.held.clone(), page.state.clone()))
    }

    fn last(&self) -> (Held, RunStateRow, bool) {
        let page = lock(&self.page);
        (page.held.clone(), page.state.clone(), page.lost)
    }
}

/// The values that a run answers: those that no node takes, then those asked for.
fn wanted(plan: &Plan, row: &RunRow) -> Vec<String> {
    let mut seen = HashSet::new();
    let all = plan.outputs.iter().chain(&row.outputs);
    all.filter(|name| seen.insert(*name)).cloned().collect()
}

/// What is kept of a value that is no data.
fn summary(value: &Dynamic) -> Value {
    #[cfg(feature = "table")]
    if let Some(table) = value.read_lock::<crate::kernel::table::Table>() {
        let columns: Vec<&str> = table.schema().iter().map(|column| column.name.as_str()).collect();
        return json!({ "type": "table", "rows": table.rows(), "columns": columns });
    }
    let kind = value.type_name().rsplit("::").next().unwrap_or_default();
    json!({ "type": kind.to_lowercase() })
}

/// Whether it is one thing of a kind that modules bring, such as a table.
fn is_opaque(value: &Dynamic) -> bool {
    !value.is_array() && !value.is_map() && !value.is::<FnPtr>()
}

/// The outputs as JSON. Of a table its size and columns are kept, of other things that are no data
/// the name of their kind; a function is refused.
fn outputs<'a>(
    names: &[String],
    value: impl Fn(&str) -> Option<&'a Dynamic>,
) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    let mut bytes = 0_usize;
    for name in names {
        let value = value(name).cloned().unwrap_or_default();
        let kept = match from_dynamic(&value) {
            Ok(json) => json,
            Err(why) if why.code() != "not_a_value" || !is_opaque(&value) => {
                return Err(error::output_not_kept(name, &why));
            }
            Err(_other) => summary(&value),
        };
        bytes = bytes.saturating_add(kept.to_string().len());
        if bytes > OUTPUTS_MAX {
            return Err(error::outputs_too_large(bytes, OUTPUTS_MAX));
        }
        all.insert(name.clone(), kept);
    }
    Ok(all)
}
