//! Carrying out a run: it gets a thread when its turn comes, and its state is written as it goes.
//!
//! That it runs is durable before its first node begins, that a node begins before it does (see
//! [`Book`]), and the run's last state before anyone is told. Every write expects the revision that
//! the one before it left: a run that someone else moved on is not touched.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rhai::Dynamic;
use serde_json::{Map, Value, json};

use super::book::{Batch, Book, Last};
use super::desk::Turn;
use super::format::{RunRow, RunStateRow, object};
use super::leftover::Left;
use super::model::{NodeState, RunState, Runner};
use super::node::{Node, Task};
use super::plan::{Plan, Step};
use super::runner::{Ended, Job, Made, Stopper, Told, deep_thread, share_out};
use super::scripts::Ready;
use super::store::{self, Changed};
use super::{Liquid, cache, error, lost_race, process, values};
use crate::kernel::access::Caller;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::script::{ScriptContext, from_dynamic, mark_stack, to_dynamic};

/// After this time a state that could not be written is written again.
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes of JSON that the outputs of a run may take.
const OUTPUTS_MAX: usize = 16 << 20;
/// How often the last state of a run is tried to be written, a second apart.
const LAST_TRIES: usize = 60;

type Outcome = std::result::Result<Map<String, Value>, Ended>;

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
            let stack = self.0.scripts.stack();
            let thread = deep_thread("drip-run".into(), stack);
            let work = move || {
                mark_stack(stack);
                liquid.turn(&given);
            };
            if let Err(error) = thread.spawn(work) {
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
        let (before, changed) = (held.as_it_was(), held.changed());
        held.state.state = RunState::Running;
        held.state.epoch = self.0.epoch;
        held.state.started_at.get_or_insert(self.now());
        let head = held.state.head();
        held.revision = match store::advance(&*self.0.records, id, before, &head, changed, None) {
            Err(refused) if lost_race(&refused) => return Ok(None),
            written => written?,
        };
        Ok(Some((row, Book::open(held))))
    }

    fn carry_out(&self, turn: &Turn, row: &RunRow, book: &Book) {
        let id = &turn.waiting.id;
        let resumes = book.look(|state| state.resumes);
        let words = if resumes == 0 { "began" } else { "goes on" };
        self.log(
            id,
            "INFO",
            &format!("the run of `{}` {words}", row.pipeline),
            json!({
                "pipeline": row.pipeline, "revision": row.revision, "cause": row.cause,
                "resumes": resumes,
            }),
        );
        let outcome = std::thread::scope(|scope| {
            let recorder = std::thread::Builder::new()
                .name("drip-run-record".into())
                .spawn_scoped(scope, || self.record(id, book, &turn.stopper));
            let outcome = match recorder {
                Ok(_thread) => self.nodes(turn, row, book),
                Err(source) => {
                    let error = Error::io("start a thread for the state of a run", source);
                    Err(Ended::Failed { node: None, error })
                }
            };
            book.close();
            outcome
        });
        self.finish(turn, row, book, outcome);
    }

    /// Writes what nobody waits for, until the book is closed.
    fn record(&self, id: &str, book: &Book, stopper: &Stopper) {
        while let Some(batch) = book.next() {
            self.write(id, book, stopper, batch);
        }
    }

    fn write(&self, id: &str, book: &Book, stopper: &Stopper, batch: Batch) {
        let changed = batch.changed.clone();
        match store::advance(&*self.0.records, id, batch.held, &batch.head, changed, None) {
            Ok(revision) => book.written(&batch, revision),
            Err(refused) if lost_race(&refused) => {
                book.lose();
                stopper.stop();
            }
            Err(error) => {
                tracing::warn!(run = %id, %error, "the state of a run was not written");
                book.not_written(batch);
                stopper.pause(AGAIN);
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
        let keep: HashSet<String> = wanted(&plan, row).into_iter().collect();
        let Left { done, mut values } = self.left(id, &plan, &keep, book).map_err(failed)?;
        let inputs = object(&row.inputs_json);
        values.extend(inputs.iter().map(|(name, value)| (name.clone(), to_dynamic(value))));
        let taken = plan.taken();
        let needed = |name: &str| keep.contains(name) || taken.contains(name);
        let job = Job {
            plan: &plan,
            width: if row.runner == Runner::Parallel { self.0.config.width() } else { 1 },
            stack: self.0.scripts.stack(),
            done,
            keep: keep.clone(),
            stopper: &turn.stopper,
            work: &|step, arguments| self.work(turn, &ready, book, step, arguments, &context),
            tell: &|index, told| {
                let begins = matches!(told, Told::Started(_));
                self.told(id, book, index, &told, &needed);
                !begins
                    || book.keep(&turn.stopper, |batch| self.write(id, book, &turn.stopper, batch))
            },
        };
        let kept = job.run(values)?;
        outputs(&wanted(&plan, row), |name| kept.get(name)).map_err(failed)
    }

    /// Does the work of one node, unless it was done before.
    fn work(
        &self,
        turn: &Turn,
        ready: &Ready,
        book: &Book,
        step: &Step,
        arguments: Vec<Dynamic>,
        context: &ScriptContext,
    ) -> Result<Made> {
        let (node, stopper) = (&step.node, &turn.stopper);
        let digest = cache::digest(ready, node, &arguments, &context.caller);
        if let Some(digest) = &digest
            && let Some(values) = self.cached(node, digest)
        {
            return Ok(Made::Values(values, true));
        }
        let _inside = match &node.concurrency {
            Some(word) => Some(self.0.turnstile.enter(word, stopper).ok_or_else(stopped)?),
            None => None,
        };
        let value = match &node.task {
            Task::Function => self.call(turn, ready, step, arguments, context)?,
            Task::Sql(_) | Task::Operator(_) => {
                self.0.scripts.ask(step, arguments, context, stopper.flag())?
            }
            Task::Process(command) => {
                self.process(turn, book, node, command, arguments, &context.caller)?
            }
        };
        let Some(digest) = digest else { return Ok(Made::Returned(value)) };
        let values = share_out(&node.name, &node.outputs, value)?;
        self.cache(node, &digest, &values);
        Ok(Made::Values(values, false))
    }

    fn call(
        &self,
        turn: &Turn,
        ready: &Ready,
        step: &Step,
        arguments: Vec<Dynamic>,
        context: &ScriptContext,
    ) -> Result<Dynamic> {
        let (liquid, run, name) = (self.clone(), turn.waiting.id.clone(), step.node.name.clone());
        let print = move |printed: crate::kernel::script::Printed<'_>| {
            let fields = json!({ "node": name, "line": printed.line });
            liquid.log(&run, "INFO", printed.text, fields);
        };
        self.0.scripts.call(ready, step, arguments, context, turn.stopper.flag(), print)
    }

    fn process(
        &self,
        turn: &Turn,
        book: &Book,
        node: &Node,
        command: &[String],
        values: Vec<Dynamic>,
        caller: &Caller,
    ) -> Result<Dynamic> {
        let run = &turn.waiting.id;
        let fields = json!({ "node": node.name });
        let attempt = book.look(|state| {
            let row = state.nodes.iter().find(|row| row.name == node.name);
            row.map_or(1, |row| row.tries)
        });
        self.0.scripts.processes()?.run(process::Task {
            run,
            node,
            command,
            values,
            caller,
            attempt,
            stopper: &turn.stopper,
            log: &|lines| {
                if let Some(log) = &self.0.log {
                    log.lines(run, lines, &fields);
                }
            },
        })
    }

    /// Notes what happened to a node, and what it made of values that are `needed`.
    fn told(
        &self,
        id: &str,
        book: &Book,
        index: usize,
        told: &Told<'_>,
        needed: &dyn Fn(&str) -> bool,
    ) {
        let now = self.now();
        let (mut made, mut kept) = (Map::new(), Vec::new());
        if let Told::Done(values, _) = told {
            for (output, (name, value)) in values.iter().enumerate() {
                made.insert(name.clone(), values::summary(value));
                if needed(name) {
                    kept.extend(values::keep(value).map(|row| (output, row)));
                }
            }
        }
        let name = book.note(index, kept, |node| {
            match told {
                Told::Started(_) => {
                    node.state = NodeState::Running;
                    node.tries = node.tries.saturating_add(1);
                    node.started_at.get_or_insert(now);
                }
                Told::Again(error) => node.error = Some(error::in_words(error)),
                Told::Done(_, cached) => {
                    node.state = NodeState::Succeeded;
                    node.cached = *cached;
                    node.made_json = Value::Object(made).to_string();
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
            Told::Done(_, true) => {
                ("INFO", format!("the node `{name}` is done: nothing changed since it was"))
            }
            Told::Done(_, false) => ("INFO", format!("the node `{name}` is done")),
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
        let Last { held, mut state, mut changed, lost } = book.last();
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
        // Every node may have changed its state now; the rows of those that did not are the same.
        changed.nodes = Changed::all(&state).nodes;
        if state.state == RunState::Succeeded {
            changed.values.clear();
            changed.gone = store::value_keys(&*self.0.records, id).unwrap_or_else(|error| {
                tracing::warn!(run = %id, %error, "the values of a run stay until it is forgotten");
                Vec::new()
            });
        }
        self.write_last(id, row, held, &state, &changed);
    }

    /// A full disk may have room again soon: the last state is tried for a while. If it cannot be
    /// written, the run is `interrupted` at the next opening.
    fn write_last(
        &self,
        id: &str,
        row: &RunRow,
        held: (RunState, u64),
        state: &RunStateRow,
        changed: &Changed,
    ) {
        let head = state.head();
        let event = store::event("run.finished", id, row, state, self.now());
        let quiet = Stopper::default();
        for _try in 0..LAST_TRIES {
            let changed = changed.clone();
            match store::advance(&*self.0.records, id, held, &head, changed, Some(&event)) {
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

fn stopped() -> Error {
    Error::new(Kind::Conflict, "run_stopped", "the run was stopped while the node waited")
}

/// The values that a run answers: those that no node takes, then those asked for.
fn wanted(plan: &Plan, row: &RunRow) -> Vec<String> {
    let mut seen = HashSet::new();
    let all = plan.outputs.iter().chain(&row.outputs);
    all.filter(|name| seen.insert(*name)).cloned().collect()
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
            Err(why) => values::opaque(&value).ok_or_else(|| error::output_not_kept(name, &why))?,
        };
        bytes = bytes.saturating_add(kept.to_string().len());
        if bytes > OUTPUTS_MAX {
            return Err(error::outputs_too_large(bytes, OUTPUTS_MAX));
        }
        all.insert(name.clone(), kept);
    }
    Ok(all)
}
