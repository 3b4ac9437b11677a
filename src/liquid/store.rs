//! Reading and changing the rows of runs: every change of state is one set that holds together.

use std::collections::HashMap;

use super::error;
use super::format::{NodeRow, RunRow, RunStateRow, StateV2, ValueRow, shown};
use super::model::{Run, RunState};
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Result};
use crate::kernel::feed::{self, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Records, Scan};

/// A run's state, and the revision that a change of it expects.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) state: RunStateRow,
    pub(super) revision: u64,
    /// Whether an earlier version wrote it: its nodes have no rows of their own yet.
    pub(super) is_old: bool,
}

impl Held {
    /// What a change of it expects.
    pub(super) fn as_it_was(&self) -> (RunState, u64) {
        (self.state.state, self.revision)
    }

    /// What the first change of it must write besides: every node, where they have no rows yet.
    pub(super) fn changed(&self) -> Changed {
        if self.is_old { Changed::all(&self.state) } else { Changed::default() }
    }
}

/// What a change of a run's state writes besides the run's own row.
#[derive(Debug, Default, Clone)]
pub(super) struct Changed {
    /// Nodes that changed, with their places.
    pub(super) nodes: Vec<(usize, NodeRow)>,
    /// Values that were made: the place of the node, of the output, and the value.
    pub(super) values: Vec<(usize, usize, ValueRow)>,
    /// Keys of values that are needed no more.
    pub(super) gone: Vec<String>,
}

impl Changed {
    /// Every node.
    pub(super) fn all(state: &RunStateRow) -> Self {
        Self { nodes: state.nodes.iter().cloned().enumerate().collect(), ..Self::default() }
    }
}

pub(super) fn run_key(id: &str) -> String {
    format!("run/{id}")
}

fn state_key(id: &str) -> String {
    format!("run-state/{id}")
}

fn node_key(id: &str, place: usize) -> String {
    format!("run-node/{id}/{place:05}")
}

fn value_key(id: &str, place: usize, output: usize) -> String {
    format!("run-value/{id}/{place:05}/{output:05}")
}

/// The prefix of the runs of a pipeline.
pub(super) fn of_pipeline(pipeline: &str) -> String {
    format!("run-of/{pipeline}/")
}

/// The prefix of the runs in a state.
pub(super) fn in_state(state: RunState) -> String {
    format!("run-in/{state}/")
}

/// What a run was asked for.
pub(super) fn run_row(records: &dyn Records, id: &str) -> Result<RunRow> {
    let row = records.get(&run_key(id))?.ok_or_else(|| error::run_not_found(id))?;
    decode(&row.value)
}

/// How a run stands.
pub(super) fn held(records: &dyn Records, id: &str) -> Result<Held> {
    let row = records.get(&state_key(id))?.ok_or_else(|| error::run_not_found(id))?;
    let mut head: StateV2 = decode(&row.value)?;
    let old = std::mem::take(&mut head.nodes);
    let is_old = !old.is_empty();
    let nodes = if is_old {
        old.into_iter().map(NodeRow::from).collect()
    } else {
        let rows = records.scan(&Scan::prefix(format!("run-node/{id}/")))?;
        rows.iter().map(|row| decode(&row.value)).collect::<Result<_>>()?
    };
    Ok(Held { state: RunStateRow::of(head, nodes), revision: row.revision, is_old })
}

/// The values that are kept of a run, by the places of node and output.
pub(super) fn values(records: &dyn Records, id: &str) -> Result<HashMap<(usize, usize), ValueRow>> {
    let prefix = format!("run-value/{id}/");
    let mut found = HashMap::new();
    for row in records.scan(&Scan::prefix(&prefix))? {
        let place = row.key.strip_prefix(&prefix).and_then(|place| place.split_once('/'));
        let place =
            place.and_then(|(node, output)| Some((node.parse().ok()?, output.parse().ok()?)));
        if let Some(place) = place {
            found.insert(place, decode(&row.value)?);
        }
    }
    Ok(found)
}

/// The keys of the values that are kept of a run.
pub(super) fn value_keys(records: &dyn Records, id: &str) -> Result<Vec<String>> {
    let rows = records.scan(&Scan::prefix(format!("run-value/{id}/")))?;
    Ok(rows.into_iter().map(|row| row.key).collect())
}

/// A run as it is shown.
pub(super) fn run(records: &dyn Records, id: &str) -> Result<Run> {
    Ok(shown(id, run_row(records, id)?, held(records, id)?.state))
}

/// Adds a new run to `set`, in the state it has.
pub(super) fn begin(
    set: ChangeSet,
    id: &str,
    row: &RunRow,
    state: &RunStateRow,
) -> Result<ChangeSet> {
    let set = set
        .put(run_key(id), Expect::Absent, encode(row)?)
        .put(state_key(id), Expect::Absent, encode(&state.head())?)
        .put(format!("{}{id}", of_pipeline(&row.pipeline)), Expect::Any, Vec::new())
        .put(format!("{}{id}", in_state(state.state)), Expect::Any, Vec::new());
    let nodes = state.nodes.iter().enumerate();
    let set = nodes.into_iter().try_fold(set, |set, (place, node)| {
        Ok::<_, Error>(set.put(node_key(id, place), Expect::Absent, encode(node)?))
    })?;
    let set = feed::tell(set, &event("run.queued", id, row, state, row.created_at))?;
    if state.state.is_over() {
        return feed::tell(set, &event("run.finished", id, row, state, row.created_at));
    }
    Ok(set)
}

/// Writes how a run stands, if it still stands as `held` says. Answers the new revision.
pub(super) fn advance(
    records: &dyn Records,
    id: &str,
    held: (RunState, u64),
    head: &StateV2,
    changed: Changed,
    told: Option<&Event>,
) -> Result<u64> {
    let set = change(id, held, head, changed, told)?;
    let receipt = records.apply(set)?;
    Ok(receipt.revisions.first().copied().unwrap_or_default())
}

/// The set that [`advance`] applies.
pub(super) fn change(
    id: &str,
    held: (RunState, u64),
    head: &StateV2,
    changed: Changed,
    told: Option<&Event>,
) -> Result<ChangeSet> {
    let (before, revision) = held;
    let mut set = ChangeSet::new().put(state_key(id), Expect::Revision(revision), encode(head)?);
    if before != head.state {
        set = set.delete(format!("{}{id}", in_state(before)), Expect::Any).put(
            format!("{}{id}", in_state(head.state)),
            Expect::Any,
            Vec::new(),
        );
    }
    for (place, node) in changed.nodes {
        set = set.put(node_key(id, place), Expect::Any, encode(&node)?);
    }
    for (place, output, value) in changed.values {
        set = set.put(value_key(id, place, output), Expect::Any, encode(&value)?);
    }
    for key in changed.gone {
        set = set.delete(key, Expect::Any);
    }
    match told {
        Some(told) => feed::tell(set, told),
        None => Ok(set),
    }
}

/// The set that forgets a run and everything of it. Its firing stays: it is not fired again.
pub(super) fn forget(records: &dyn Records, id: &str) -> Result<ChangeSet> {
    let (row, held) = (run_row(records, id)?, held(records, id)?);
    let mut set = ChangeSet::new()
        .delete(state_key(id), Expect::Revision(held.revision))
        .delete(run_key(id), Expect::Any)
        .delete(format!("{}{id}", of_pipeline(&row.pipeline)), Expect::Any)
        .delete(format!("{}{id}", in_state(held.state.state)), Expect::Any);
    for prefix in ["run-node", "run-value"] {
        for row in records.scan(&Scan::prefix(format!("{prefix}/{id}/")))? {
            set = set.delete(row.key, Expect::Any);
        }
    }
    Ok(set)
}

/// The event that tells of a run.
pub(super) fn event(name: &str, id: &str, row: &RunRow, state: &RunStateRow, at: Time) -> Event {
    let payload = serde_json::json!({
        "id": id, "pipeline": row.pipeline, "revision": row.revision, "state": state.state,
        "cause": row.cause, "scheduled_at": row.scheduled_at, "error": state.error,
    });
    Event::new(name, format!("{}/{id}", row.pipeline), at, payload)
}

/// The ids under an index prefix, newest first, older than `before`.
pub(super) fn newest(
    records: &dyn Records,
    prefix: &str,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    let mut scan = Scan::prefix(prefix).reverse().limit(limit);
    scan.after = before.map(|id| format!("{prefix}{id}"));
    let rows = records.scan(&scan)?;
    Ok(rows.into_iter().map(|row| row.key.trim_start_matches(prefix).to_owned()).collect())
}
