//! What is kept on disk.
//!
//! | key | value |
//! | --- | --- |
//! | `pipeline/<name>` | the current revision |
//! | `pipeline-revision/<name>/<number>` | every revision, also of deleted pipelines |
//! | `run/<id>` | what was asked for; never changes |
//! | `run-state/<id>` | how it stands; every change expects the revision it read |
//! | `run-node/<id>/<place>` | how one of its nodes stands, by its place in the order |
//! | `run-value/<id>/<place>/<output>` | a value that a node made, until the run succeeded |
//! | `run-of/<pipeline>/<id>`, `run-in/<state>/<id>` | the same runs by pipeline and by state |
//! | `cache/<digest>` | the values of a node that asked for it |
//! | `schedule/<name>` | a schedule |
//! | `schedule-state/<name>` | how far its firings were looked at |
//! | `slot/<schedule>/<instant>` | one firing: made once, with its run |
//! | `epoch` | how often this store was opened |

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use serde_json::{Map, Value};

use super::model::{NodeRun, NodeState, Run, RunState, Runner};
use super::plan::Slice;
use crate::kernel::access::{Caller, Role, Scope};
use crate::kernel::clock::Time;
use crate::kernel::format::{Nothing, Versioned};

macro_rules! versioned {
    ($type:ty, $marker:literal) => {
        impl Versioned for $type {
            const MARKER: &'static str = $marker;
            type Previous = Nothing;
        }
    };
}
versioned!(PipelineRow, "pipeline.v1");
versioned!(RunRow, "run.v1");
versioned!(StateV1, "run-state.v1");
versioned!(NodeRow, "run-node.v1");
versioned!(ValueRow, "run-value.v1");
versioned!(CacheRow, "cache.v1");
versioned!(ScheduleRow, "schedule.v1");
versioned!(ScheduleStateRow, "schedule-state.v1");
versioned!(SlotRow, "slot.v1");
versioned!(EpochRow, "epoch.v1");

/// One revision of a pipeline.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct PipelineRow {
    pub(super) revision: u64,
    pub(super) source: String,
    /// Nodes, inputs and outputs as they are shown, so that a list need not read scripts.
    pub(super) shape_json: String,
    pub(super) saved_at: Time,
    pub(super) saved_by: String,
}

/// On whose behalf something runs.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct CallerRow {
    name: String,
    role: Role,
    scopes: Option<BTreeSet<Scope>>,
}

impl From<&Caller> for CallerRow {
    fn from(caller: &Caller) -> Self {
        let Caller { name, role, scopes } = caller.clone();
        Self { name, role, scopes }
    }
}

impl From<CallerRow> for Caller {
    fn from(row: CallerRow) -> Self {
        Self { name: row.name, role: row.role, scopes: row.scopes }
    }
}

impl CallerRow {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What a run was asked for.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct RunRow {
    pub(super) pipeline: String,
    pub(super) revision: u64,
    pub(super) inputs_json: String,
    pub(super) runner: Runner,
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) cause: String,
    pub(super) scheduled_at: Option<Time>,
    /// The schedule that it counts for.
    pub(super) schedule: Option<String>,
    /// Runs of one lane run one after the other.
    pub(super) lane: Option<String>,
    pub(super) caller: CallerRow,
    pub(super) created_at: Time,
}

/// A node of a run.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) state: NodeState,
    pub(super) started_at: Option<Time>,
    pub(super) finished_at: Option<Time>,
    pub(super) tries: u32,
    pub(super) cached: bool,
    pub(super) error: Option<String>,
    pub(super) outputs: Vec<String>,
    /// What it made, in short: a JSON object by the values' names.
    pub(super) made_json: String,
}

/// A value that a node made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ValueRow {
    /// See `values`.
    pub(super) form: u8,
    pub(super) bytes: Vec<u8>,
}

/// Values that a node made, for others that would make the same.
#[derive(Debug, Encode, Decode)]
pub(super) struct CacheRow {
    pub(super) until: Time,
    /// In the order of the node's outputs.
    pub(super) values: Vec<ValueRow>,
}

/// How a run stands, with its nodes, which are rows of their own.
#[derive(Debug, Clone)]
pub(super) struct RunStateRow {
    pub(super) state: RunState,
    /// The opening of the store in which it runs.
    pub(super) epoch: u64,
    pub(super) started_at: Option<Time>,
    pub(super) finished_at: Option<Time>,
    pub(super) error: Option<String>,
    pub(super) outputs_json: String,
    /// How often it was resumed.
    pub(super) resumes: u32,
    pub(super) nodes: Vec<NodeRow>,
}

/// How a run stands, as it is kept.
#[derive(Debug, Encode, Decode)]
pub(super) struct StateV2 {
    pub(super) state: RunState,
    pub(super) epoch: u64,
    pub(super) started_at: Option<Time>,
    pub(super) finished_at: Option<Time>,
    pub(super) error: Option<String>,
    pub(super) outputs_json: String,
    pub(super) resumes: u32,
    /// Of a run that an earlier version wrote, and nobody changed since.
    pub(super) nodes: Vec<NodeV1>,
}

impl Versioned for StateV2 {
    const MARKER: &'static str = "run-state.v2";
    type Previous = StateV1;
}

/// A node within [`StateV1`].
#[derive(Debug, Encode, Decode)]
pub(super) struct NodeV1 {
    name: String,
    state: NodeState,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    tries: u32,
    error: Option<String>,
    outputs: Vec<String>,
}

/// How a run stood, with all its nodes in one row.
#[derive(Debug, Encode, Decode)]
pub(super) struct StateV1 {
    state: RunState,
    epoch: u64,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    error: Option<String>,
    outputs_json: String,
    nodes: Vec<NodeV1>,
}

impl From<StateV1> for StateV2 {
    fn from(old: StateV1) -> Self {
        let StateV1 { state, epoch, started_at, finished_at, error, outputs_json, nodes } = old;
        Self { state, epoch, started_at, finished_at, error, outputs_json, resumes: 0, nodes }
    }
}

impl From<NodeV1> for NodeRow {
    fn from(old: NodeV1) -> Self {
        let NodeV1 { name, state, started_at, finished_at, tries, error, outputs } = old;
        Self { state, started_at, finished_at, tries, error, ..Self::pending(name, outputs) }
    }
}

impl NodeRow {
    /// A node that has not begun.
    pub(super) fn pending(name: String, outputs: Vec<String>) -> Self {
        Self {
            name,
            state: NodeState::Pending,
            started_at: None,
            finished_at: None,
            tries: 0,
            cached: false,
            error: None,
            outputs,
            made_json: "{}".into(),
        }
    }

    /// Forgets what was done, but for how often it was tried: it has not begun again.
    pub(super) fn reset(&mut self) {
        let (name, outputs) = (std::mem::take(&mut self.name), std::mem::take(&mut self.outputs));
        *self = Self { tries: self.tries, ..Self::pending(name, outputs) };
    }
}

/// A schedule.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct ScheduleRow {
    pub(super) revision: u64,
    pub(super) spec_json: String,
    pub(super) saved_at: Time,
    pub(super) caller: CallerRow,
}

/// How far a schedule's firings were looked at.
#[derive(Debug, Clone, Copy, Encode, Decode)]
pub(super) struct ScheduleStateRow {
    pub(super) cursor: Time,
}

/// One firing of a schedule.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct SlotRow {
    /// Its run; none when it was left out because another one ran.
    pub(super) run: Option<String>,
    pub(super) at: Time,
}

/// How often the store was opened.
#[derive(Debug, Clone, Copy, Encode, Decode)]
pub(super) struct EpochRow {
    pub(super) number: u64,
}

impl RunRow {
    pub(super) fn slice(&self) -> Slice {
        Slice { from: self.from.clone(), to: self.to.clone(), tags: self.tags.clone() }
    }
}

impl RunStateRow {
    /// A run that waits.
    pub(super) fn queued(epoch: u64, nodes: Vec<NodeRow>) -> Self {
        Self {
            state: RunState::Queued,
            epoch,
            started_at: None,
            finished_at: None,
            error: None,
            outputs_json: "{}".into(),
            resumes: 0,
            nodes,
        }
    }

    /// It waits again; nodes that are not done begin anew.
    pub(super) fn resume(&mut self, epoch: u64) {
        self.state = RunState::Queued;
        self.epoch = epoch;
        self.finished_at = None;
        self.error = None;
        self.outputs_json = "{}".into();
        self.resumes = self.resumes.saturating_add(1);
        for node in self.nodes.iter_mut().filter(|node| node.state != NodeState::Succeeded) {
            node.reset();
        }
    }

    /// From what is kept: the run's own row, and those of its nodes.
    pub(super) fn of(kept: StateV2, nodes: Vec<NodeRow>) -> Self {
        let StateV2 { state, epoch, started_at, finished_at, error, outputs_json, resumes, .. } =
            kept;
        Self { state, epoch, started_at, finished_at, error, outputs_json, resumes, nodes }
    }

    /// The run's own row.
    pub(super) fn head(&self) -> StateV2 {
        StateV2 {
            state: self.state,
            epoch: self.epoch,
            started_at: self.started_at,
            finished_at: self.finished_at,
            error: self.error.clone(),
            outputs_json: self.outputs_json.clone(),
            resumes: self.resumes,
            nodes: Vec::new(),
        }
    }

    /// Ends it: what still ran becomes `running`'s word, what never began was skipped.
    pub(super) fn end(&mut self, state: RunState, at: Time, running: NodeState) {
        self.state = state;
        self.finished_at = Some(at);
        for node in &mut self.nodes {
            match node.state {
                NodeState::Running => {
                    node.state = running;
                    node.finished_at = Some(at);
                }
                NodeState::Pending => node.state = NodeState::Skipped,
                _ => {}
            }
        }
    }
}

/// A kept JSON object.
pub(super) fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}

/// A run as it is shown.
pub(super) fn shown(id: &str, row: RunRow, state: RunStateRow) -> Run {
    let node = |node: NodeRow| NodeRun {
        name: node.name,
        state: node.state,
        started_at: node.started_at,
        finished_at: node.finished_at,
        tries: node.tries,
        cached: node.cached,
        error: node.error,
        outputs: node.outputs,
        made: object(&node.made_json),
    };
    Run {
        id: id.to_owned(),
        slice: row.slice(),
        pipeline: row.pipeline,
        revision: row.revision,
        state: state.state,
        inputs: object(&row.inputs_json),
        outputs: object(&state.outputs_json),
        nodes: state.nodes.into_iter().map(node).collect(),
        scheduled_at: row.scheduled_at,
        cause: row.cause,
        error: state.error,
        runner: row.runner,
        resumes: state.resumes,
        started_by: row.caller.name().to_owned(),
        created_at: row.created_at,
        started_at: state.started_at,
        finished_at: state.finished_at,
    }
}
