//! Reading and changing the rows of runs: every change of state is one set that holds together.

use super::error;
use super::format::{RunRow, RunStateRow, shown};
use super::model::{Run, RunState};
use crate::kernel::clock::Time;
use crate::kernel::error::Result;
use crate::kernel::feed::{self, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Records, Scan};

/// A run's state, and the revision that a change of it expects.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) state: RunStateRow,
    pub(super) revision: u64,
}

pub(super) fn run_key(id: &str) -> String {
    format!("run/{id}")
}

fn state_key(id: &str) -> String {
    format!("run-state/{id}")
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
    Ok(Held { state: decode(&row.value)?, revision: row.revision })
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
        .put(state_key(id), Expect::Absent, encode(state)?)
        .put(format!("{}{id}", of_pipeline(&row.pipeline)), Expect::Any, Vec::new())
        .put(format!("{}{id}", in_state(state.state)), Expect::Any, Vec::new());
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
    held: &Held,
    state: &RunStateRow,
    told: Option<&Event>,
) -> Result<u64> {
    let mut set =
        ChangeSet::new().put(state_key(id), Expect::Revision(held.revision), encode(state)?);
    if held.state.state != state.state {
        set = set.delete(format!("{}{id}", in_state(held.state.state)), Expect::Any).put(
            format!("{}{id}", in_state(state.state)),
            Expect::Any,
            Vec::new(),
        );
    }
    if let Some(told) = told {
        set = feed::tell(set, told)?;
    }
    let receipt = records.apply(set)?;
    Ok(receipt.revisions.first().copied().unwrap_or_default())
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
