//! Runs: asked for, read, listed, cancelled. How one is carried out is in [`super::execute`].

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::desk::Waiting;
use super::format::{NodeRow, PipelineRow, RunRow, RunStateRow};
use super::model::{NodeState, Run, RunRequest, RunState, Runner};
use super::params::Parameter;
use super::plan::Plan;
use super::store::{self, Changed, Held};
use super::{Liquid, error, lost_race};
use crate::kernel::access::Caller;
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Fault, Result};
use crate::kernel::feed::{self, Idempotency};
use crate::kernel::name::{Name, nearest, new_id};
use crate::kernel::records::{ChangeSet, Scan};

/// How often a run may go on by itself.
const RESUMES_MAX: u32 = 10;

/// Which runs a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
}

/// Where a run comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) cause: String,
    pub(super) scheduled_at: Option<Time>,
    pub(super) schedule: Option<String>,
    pub(super) lane: Option<String>,
}

impl Origin {
    fn manual() -> Self {
        Self { cause: "manual".into(), scheduled_at: None, schedule: None, lane: None }
    }
}

/// A run that was written and can be queued.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) row: RunRow,
    pub(super) state: RunStateRow,
}

impl Liquid {
    /// Starts a run on behalf of `caller`. What is missing is refused before anything is written.
    /// A retry with the same key answers the run that the first call started.
    pub fn start(
        &self,
        pipeline: &Name,
        request: RunRequest,
        caller: &Caller,
        retry: Option<&Idempotency>,
    ) -> Result<Run> {
        let now = self.now();
        if let Some(answer) = feed::answered(&*self.0.records, retry, now)? {
            return self.run(answer.get("id").and_then(Value::as_str).unwrap_or_default());
        }
        let limit = self.0.config.max_queued;
        if self.0.desk.waiting() >= limit {
            return Err(error::too_many_queued(limit));
        }
        let row = self.pipeline_row(pipeline.as_str(), None)?;
        let begun = self.prepare(pipeline.as_str(), &row, request, caller, Origin::manual())?;
        let audit = self.audited(&caller.name, "run.start", &format!("{pipeline}/{}", begun.id));
        let set = store::begin(ChangeSet::new(), &begun.id, &begun.row, &begun.state)?;
        let set = feed::audit(set, &audit)?;
        let answer = serde_json::json!({ "id": begun.id });
        self.0.records.apply(feed::remember(set, retry, &answer, now)?)?;
        self.enqueue(&begun);
        self.run(&begun.id)
    }

    /// A run that was made durable waits for its turn from here on.
    pub(super) fn enqueue(&self, begun: &Begun) {
        let Begun { id, row, state } = begun;
        if state.state.is_over() {
            self.publish(&store::event("run.finished", id, row, state, row.created_at));
            return;
        }
        self.0.desk.queue(waiting(id, row));
        self.publish(&store::event("run.queued", id, row, state, row.created_at));
        self.pump();
    }

    /// Checks a request against its pipeline and makes the rows of its run; nothing is written.
    pub(super) fn prepare(
        &self,
        name: &str,
        pipeline: &PipelineRow,
        mut request: RunRequest,
        caller: &Caller,
        origin: Origin,
    ) -> Result<Begun> {
        let ready = self.ready(name, pipeline)?;
        let plan = ready.plan.slice(&request.slice).map_err(|f| error::bad_run(name, f))?;
        let unfit = fill(&ready.parameters, &plan, &mut request.inputs);
        fits(name, &ready.plan, &plan, &request, unfit)?;
        let nodes = plan.steps.iter().map(|step| {
            let outputs = step.node.outputs.values().into_iter().map(str::to_owned).collect();
            NodeRow::pending(step.node.name.clone(), outputs)
        });
        let state = RunStateRow::queued(self.0.epoch, nodes.collect());
        let row = self.head(name, pipeline.revision, request, caller, origin);
        Ok(Begun { id: new_id(), row, state })
    }

    /// What a run was asked for, as it is kept.
    pub(super) fn head(
        &self,
        pipeline: &str,
        revision: u64,
        request: RunRequest,
        caller: &Caller,
        origin: Origin,
    ) -> RunRow {
        RunRow {
            pipeline: pipeline.to_owned(),
            revision,
            inputs_json: Value::Object(request.inputs).to_string(),
            runner: request.runner.unwrap_or(Runner::Sequential),
            from: request.slice.from,
            to: request.slice.to,
            tags: request.slice.tags,
            outputs: request.outputs,
            cause: origin.cause,
            scheduled_at: origin.scheduled_at,
            schedule: origin.schedule,
            lane: origin.lane,
            caller: caller.into(),
            created_at: self.now(),
        }
    }

    /// A run as it stands.
    pub fn run(&self, id: &str) -> Result<Run> {
        store::run(&*self.0.records, id)
    }

    /// Runs, newest first, older than `before`.
    pub fn runs(&self, filter: &RunFilter, before: Option<&str>, limit: usize) -> Result<Vec<Run>> {
        let prefix = match filter {
            RunFilter { pipeline: Some(pipeline), .. } => store::of_pipeline(pipeline),
            RunFilter { state: Some(state), .. } => store::in_state(*state),
            RunFilter { .. } => store::run_key(""),
        };
        let mut found = Vec::new();
        let mut before = before.map(str::to_owned);
        loop {
            let ids = store::newest(&*self.0.records, &prefix, before.as_deref(), limit.max(1))?;
            let Some(last) = ids.last().cloned() else {
                return Ok(found);
            };
            for id in &ids {
                // A run may change its state while it is looked for.
                let run = self.run(id)?;
                if filter.state.is_none_or(|state| run.state == state) {
                    found.push(run);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
            before = Some(last);
        }
    }

    /// Waits until the run is over, at most `time`, and answers it as it stands then.
    pub fn wait(&self, id: &str, time: Duration) -> Result<Run> {
        self.0.desk.wait(id, time);
        self.run(id)
    }

    /// Whether the run waits or runs, and a bell that rings whenever one ends.
    pub fn watch(&self, id: &str) -> (bool, watch::Receiver<u64>) {
        // The bell is taken first: an end between the two rings it.
        let bell = self.0.desk.ended();
        (self.0.desk.is_active(id), bell)
    }

    /// Ends a run: a waiting one at once, a running one as soon as its scripts can be stopped.
    /// Waits for that, at most a second.
    pub fn cancel(&self, id: &str, caller: &Caller) -> Result<Run> {
        let row = store::run_row(&*self.0.records, id)?;
        let subject = format!("{}/{id}", row.pipeline);
        let audit = self.audited(&caller.name, "run.cancel", &subject);
        if let Some(turn) = self.0.desk.running(id) {
            self.0.records.apply(feed::audit(ChangeSet::new(), &audit)?)?;
            turn.stopper.stop();
            return self.wait(id, Duration::from_secs(1));
        }
        let withdrawn = self.0.desk.withdraw(id);
        let ended = self.end_waiting(id, &row);
        match (&ended, withdrawn) {
            // It could not be written: it goes on waiting.
            (Err(_), Some(waiting)) => self.0.desk.queue(waiting),
            _ => self.0.desk.withdrawn(),
        }
        if ended? {
            self.0.records.apply(feed::audit(ChangeSet::new(), &audit)?)?;
        }
        self.run(id)
    }

    /// Cancels a run that does not run; answers whether that changed anything.
    fn end_waiting(&self, id: &str, row: &RunRow) -> Result<bool> {
        let held = store::held(&*self.0.records, id)?;
        match held.state.state {
            RunState::Cancelled => return Ok(false),
            state if state.is_over() => return Err(error::run_finished(id, state.as_str())),
            _ => {}
        }
        self.settle(id, row, &held, RunState::Cancelled, NodeState::Cancelled)?;
        Ok(true)
    }

    /// Moves a run that nothing carries out into a last state.
    fn settle(
        &self,
        id: &str,
        row: &RunRow,
        held: &Held,
        state: RunState,
        running: NodeState,
    ) -> Result<()> {
        let mut last = held.state.clone();
        last.end(state, self.now(), running);
        let event = store::event("run.finished", id, row, &last, self.now());
        let changed = Changed::all(&last);
        let before = held.as_it_was();
        store::advance(&*self.0.records, id, before, &last.head(), changed, Some(&event))?;
        self.publish(&event);
        Ok(())
    }

    /// Goes on with a run that ended without success: nodes that are done stay done, with their
    /// values. It goes on with the revision of the pipeline that it began with.
    pub fn resume(&self, id: &str, caller: &Caller) -> Result<Run> {
        let limit = self.0.config.max_queued;
        if self.0.desk.waiting() >= limit {
            return Err(error::too_many_queued(limit));
        }
        let (row, held) =
            (store::run_row(&*self.0.records, id)?, store::held(&*self.0.records, id)?);
        if !matches!(
            held.state.state,
            RunState::Failed | RunState::Cancelled | RunState::Interrupted
        ) {
            return Err(error::not_resumable(id, held.state.state.as_str()));
        }
        // What it began with must still read as it did.
        let pipeline = self.pipeline_row(&row.pipeline, Some(row.revision))?;
        let plan = self.ready(&row.pipeline, &pipeline)?.plan.slice(&row.slice());
        let plan = plan.map_err(|faults| error::bad_run(&row.pipeline, faults))?;
        let nodes = plan.steps.iter().map(|step| step.node.name.as_str());
        if !nodes.eq(held.state.nodes.iter().map(|node| node.name.as_str())) {
            return Err(error::other_nodes(id));
        }
        let mut next = held.state.clone();
        next.resume(self.0.epoch);
        let event = store::event("run.queued", id, &row, &next, self.now());
        let changed = Changed::all(&next);
        let set = store::change(id, held.as_it_was(), &next.head(), changed, Some(&event))?;
        let subject = format!("{}/{id}", row.pipeline);
        let set = feed::audit(set, &self.audited(&caller.name, "run.resume", &subject))?;
        match self.0.records.apply(set) {
            Err(refused) if lost_race(&refused) => return Err(error::busy("run", id)),
            outcome => outcome?,
        };
        self.publish(&event);
        self.0.desk.queue(waiting(id, &row));
        self.pump();
        self.run(id)
    }

    /// Runs that were cut off go on where their pipeline says so, but not for ever: one that ends the
    /// daemon each time must not.
    pub(super) fn resume_old(&self) -> Result<()> {
        for id in self.old(RunState::Interrupted)? {
            let row = store::run_row(&*self.0.records, &id)?;
            let pipeline = self.pipeline_row(&row.pipeline, Some(row.revision));
            let ready = pipeline.and_then(|found| self.ready(&row.pipeline, &found));
            if !ready.is_ok_and(|ready| ready.resumes) {
                continue;
            }
            if store::held(&*self.0.records, &id)?.state.resumes >= RESUMES_MAX {
                tracing::warn!(run = %id, "a run was cut off too often: it does not go on by itself");
                continue;
            }
            if let Err(error) = self.resume(&id, &Caller::system()) {
                tracing::warn!(run = %id, %error, "a run that was cut off does not go on");
            }
        }
        Ok(())
    }

    /// Forgets runs that ended before the settings' `retention`, and cached values that are too old.
    /// Answers how many runs went.
    pub fn tidy(&self) -> Result<usize> {
        self.forget_cached()?;
        let Some(kept) = self.0.config.retention else { return Ok(0) };
        let mut gone = 0;
        for (_, state) in RunState::WORDS.iter().filter(|(_, state)| state.is_over()) {
            // Ids begin with the time: once a run is too young, so are those behind it.
            for id in self.old(*state)? {
                let run = self.run(&id)?;
                let ended = run.finished_at.unwrap_or(run.created_at);
                if run.created_at.after(kept) > self.now() {
                    break;
                }
                if ended.after(kept) > self.now() || self.0.desk.is_active(&id) {
                    continue;
                }
                match self.0.records.apply(store::forget(&*self.0.records, &id)?) {
                    Err(refused) if lost_race(&refused) => {}
                    outcome => {
                        outcome?;
                        gone += 1;
                    }
                }
            }
        }
        Ok(gone)
    }

    /// Runs that an earlier opening left running: nothing carries them out any more.
    pub(super) fn interrupt_old(&self) -> Result<()> {
        for id in self.old(RunState::Running)? {
            let held = store::held(&*self.0.records, &id)?;
            if held.state.epoch >= self.0.epoch {
                continue;
            }
            let row = store::run_row(&*self.0.records, &id)?;
            let settled =
                self.settle(&id, &row, &held, RunState::Interrupted, NodeState::Interrupted);
            match settled {
                Err(refused) if !lost_race(&refused) => return Err(refused),
                _ => tracing::warn!(run = %id, "a run was cut off when the daemon ended"),
            }
        }
        Ok(())
    }

    /// Runs that waited when an earlier opening ended go on waiting.
    pub(super) fn queue_old(&self) -> Result<()> {
        for id in self.old(RunState::Queued)? {
            let row = store::run_row(&*self.0.records, &id)?;
            self.0.desk.queue(waiting(&id, &row));
        }
        Ok(())
    }

    /// The ids of runs in a state, oldest first.
    fn old(&self, state: RunState) -> Result<Vec<String>> {
        let prefix = store::in_state(state);
        let rows = self.0.records.scan(&Scan::prefix(&prefix))?;
        Ok(rows.into_iter().map(|row| row.key.trim_start_matches(&prefix).to_owned()).collect())
    }
}

fn waiting(id: &str, row: &RunRow) -> Waiting {
    Waiting { id: id.to_owned(), schedule: row.schedule.clone(), lane: row.lane.clone() }
}

/// Gives inputs the types and the defaults of their parameters; answers what cannot be had. A run
/// keeps what it was filled with: a later default does not change it.
fn fill(parameters: &[Parameter], part: &Plan, inputs: &mut Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for parameter in parameters {
        let name = &parameter.name;
        match (inputs.remove(name), &parameter.default) {
            (Some(value), _) => match parameter.take(value) {
                Ok(value) => drop(inputs.insert(name.clone(), value)),
                Err(why) => {
                    faults.push(Fault::new(format!("/inputs/{name}"), why));
                    // It was given: it is not told as missing too.
                    inputs.insert(name.clone(), Value::Null);
                }
            },
            (None, Some(default)) if part.inputs.contains(name) => {
                inputs.insert(name.clone(), default.clone());
            }
            (None, _) => {}
        }
    }
    faults
}

/// Whether a run can have what it needs; the error names every fault.
fn fits(
    name: &str,
    whole: &Plan,
    part: &Plan,
    request: &RunRequest,
    mut faults: Vec<Fault>,
) -> Result<()> {
    let missing: Vec<String> =
        part.inputs.iter().filter(|input| !request.inputs.contains_key(*input)).cloned().collect();
    let known = whole.values();
    let made = part.made();
    for given in request.inputs.keys() {
        let why = if made.contains(given.as_str()) {
            "is made by a node of this run: it cannot be given".to_owned()
        } else if known.contains(given) {
            continue;
        } else {
            format!("is taken by no node{}", near(given, &known))
        };
        faults.push(Fault::new(format!("/inputs/{given}"), why));
    }
    for (index, wanted) in request.outputs.iter().enumerate() {
        if !made.contains(wanted.as_str()) && !part.inputs.contains(wanted) {
            let why = format!("`{wanted}` is no value of this run{}", near(wanted, &known));
            faults.push(Fault::new(format!("/outputs/{index}"), why));
        }
    }
    match (missing.is_empty(), faults.is_empty()) {
        (true, true) => Ok(()),
        (false, true) => Err(error::missing_inputs(name, &missing)),
        _ => {
            let missing: Error = error::missing_inputs(name, &missing);
            faults.extend(missing.faults().iter().cloned());
            Err(error::bad_run(name, faults))
        }
    }
}

fn near(name: &str, known: &[String]) -> String {
    nearest(name, known.iter().map(String::as_str))
        .map(|near| format!(": did you mean `{near}`?"))
        .unwrap_or_default()
}
