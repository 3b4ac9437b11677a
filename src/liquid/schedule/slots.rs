//! Slots: one row for each firing, made in the same set as its run.

use super::super::error;
use super::super::format::{RunRow, RunStateRow, ScheduleStateRow, SlotRow};
use super::super::model::{NodeState, RunRequest, RunState};
use super::super::runs::{Begun, Origin};
use super::super::{Liquid, store};
use super::rows::{Read, state_key};
use crate::kernel::access::Caller;
use crate::kernel::clock::Time;
use crate::kernel::error::Result;
use crate::kernel::feed::{self, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::new_id;
use crate::kernel::records::{ChangeSet, Expect};

/// How far a schedule was looked at, as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) at: Time,
    pub(super) revision: u64,
}

/// What became of a firing before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing: it is free.
    Free,
    /// It was left out; the row's revision.
    LeftOut(u64),
    /// It has a run.
    Taken,
}

/// Instants are written so that byte order is their order, also before 1970.
pub(super) fn slot_key(name: &str, slot: Time) -> String {
    let shifted = i128::from(slot.0) - i128::from(i64::MIN);
    format!("slot/{name}/{shifted:020}")
}

impl Liquid {
    pub(super) fn slot(&self, name: &str, slot: Time) -> Result<Before> {
        let Some(row) = self.0.records.get(&slot_key(name, slot))? else {
            return Ok(Before::Free);
        };
        let kept: SlotRow = decode(&row.value)?;
        Ok(if kept.run.is_some() { Before::Taken } else { Before::LeftOut(row.revision) })
    }

    /// The run of a firing. What it cannot have makes it a failed run, not a silent nothing.
    pub(super) fn slot_run(
        &self,
        read: &Read,
        caller: &Caller,
        slot: Time,
        origin: Origin,
    ) -> Result<Begun> {
        let spec = &read.spec;
        let made = self.pipeline_row(&spec.pipeline, None).and_then(|row| {
            let request = self.request(spec, slot, &row)?;
            self.prepare(&spec.pipeline, &row, request, caller, origin.clone())
        });
        made.or_else(|refused| {
            if refused.kind().status() >= 500 {
                return Err(refused);
            }
            Ok(self.stillborn(read, caller, origin, error::in_words(&refused)))
        })
    }

    /// A run that failed before it began.
    fn stillborn(&self, read: &Read, caller: &Caller, origin: Origin, why: String) -> Begun {
        let request = RunRequest {
            inputs: read.spec.inputs.clone(),
            runner: Some(read.spec.runner),
            ..RunRequest::default()
        };
        let row: RunRow = self.head(&read.spec.pipeline, 0, request, caller, origin);
        let mut state = RunStateRow::queued(self.0.epoch, Vec::new());
        state.error = Some(why);
        state.end(RunState::Failed, self.now(), NodeState::Failed);
        Begun { id: new_id(), row, state }
    }

    /// The set that takes a firing for a run.
    pub(super) fn take_slot(
        &self,
        name: &str,
        slot: Time,
        before: Before,
        begun: &Begun,
    ) -> Result<ChangeSet> {
        let expect = match before {
            Before::LeftOut(revision) => Expect::Revision(revision),
            Before::Free | Before::Taken => Expect::Absent,
        };
        let row = SlotRow { run: Some(begun.id.clone()), at: self.now() };
        let set = ChangeSet::new().put(slot_key(name, slot), expect, encode(&row)?);
        store::begin(set, &begun.id, &begun.row, &begun.state)
    }

    /// The set that leaves a firing out.
    pub(super) fn leave_slot_out(&self, name: &str, slot: Time) -> Result<ChangeSet> {
        let row = SlotRow { run: None, at: self.now() };
        let set = ChangeSet::new().put(slot_key(name, slot), Expect::Absent, encode(&row)?);
        let payload = serde_json::json!({ "schedule": name, "scheduled_at": slot });
        feed::tell(set, &Event::new("slot.skipped", name, self.now(), payload))
    }

    /// Reads how far a schedule was looked at.
    pub(super) fn cursor(&self, name: &str) -> Result<Option<Cursor>> {
        let Some(row) = self.0.records.get(&state_key(name))? else {
            return Ok(None);
        };
        let state: ScheduleStateRow = decode(&row.value)?;
        Ok(Some(Cursor { at: state.cursor, revision: row.revision }))
    }

    /// Applies a set and moves the cursor in it; the set fails when someone else moved it.
    pub(super) fn apply_at(
        &self,
        name: &str,
        cursor: &mut Cursor,
        at: Time,
        set: ChangeSet,
    ) -> Result<()> {
        let moved = ChangeSet::new().put(
            state_key(name),
            Expect::Revision(cursor.revision),
            encode(&ScheduleStateRow { cursor: at })?,
        );
        let receipt = self.0.records.apply(moved.and(set))?;
        cursor.at = at;
        cursor.revision = receipt.revisions.first().copied().unwrap_or_default();
        Ok(())
    }
}
