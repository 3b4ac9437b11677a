//! Schedules as rows: saved, read, listed, deleted.

use super::super::format::{CallerRow, ScheduleRow, ScheduleStateRow, object};
use super::super::model::{Expected, RunRequest};
use super::super::runs::Origin;
use super::super::{Liquid, error, lost_race};
use super::spec::ScheduleSpec;
use super::{Firing, Schedule};
use crate::kernel::access::Caller;
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::feed::{self, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::Name;
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};

/// How often a save is tried when others save at the same time.
const TRIES: usize = 8;

pub(super) fn key(name: &str) -> String {
    format!("schedule/{name}")
}

pub(super) fn state_key(name: &str) -> String {
    format!("schedule-state/{name}")
}

/// A schedule as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) row: ScheduleRow,
    pub(super) spec: ScheduleSpec,
    revision: u64,
}

impl Read {
    pub(super) fn of(row: &Row) -> Result<Self> {
        let revision = row.revision;
        let row: ScheduleRow = decode(&row.value)?;
        let spec = ScheduleSpec::read(&object(&row.spec_json))?;
        Ok(Self { row, spec, revision })
    }
}

impl Liquid {
    /// Saves a schedule; its runs act on behalf of `caller`. Answers it, and whether it is new.
    pub fn save_schedule(
        &self,
        name: &Name,
        spec: &ScheduleSpec,
        caller: &Caller,
        expected: Expected,
    ) -> Result<(Schedule, bool)> {
        let name = name.as_str();
        self.can_run(name, spec, caller)?;
        for _try in 0..TRIES {
            let found = self.0.records.get(&key(name))?.map(|row| Read::of(&row)).transpose()?;
            meets(name, found.as_ref(), expected)?;
            let same = |found: &Read| found.spec == *spec && found.row.caller.name() == caller.name;
            if found.as_ref().is_some_and(same) {
                return Ok((self.read_schedule(name)?, false));
            }
            match self.keep_schedule(name, spec, caller, found.as_ref()) {
                Ok(()) => {
                    self.arm(name)?;
                    return Ok((self.read_schedule(name)?, found.is_none()));
                }
                Err(refused) if lost_race(&refused) => {}
                Err(refused) => return Err(refused),
            }
        }
        Err(error::busy("schedule", name))
    }

    fn keep_schedule(
        &self,
        name: &str,
        spec: &ScheduleSpec,
        caller: &Caller,
        found: Option<&Read>,
    ) -> Result<()> {
        let now = self.now();
        let row = ScheduleRow {
            revision: found.map_or(0, |found| found.row.revision) + 1,
            spec_json: spec_json(spec)?,
            saved_at: now,
            caller: CallerRow::from(caller),
        };
        let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
        // Other times, or a pause that ends, count from now on; other inputs change nothing in
        // what was looked at.
        let goes_on = found.is_some_and(|found| {
            let old = &found.spec;
            (&old.cron, &old.timezone) == (&spec.cron, &spec.timezone) && old.enabled
        });
        let old = self.0.records.get(&state_key(name))?;
        let old = old.map(|row| decode::<ScheduleStateRow>(&row.value)).transpose()?;
        let cursor = old.filter(|_| goes_on).map_or(now, |state| state.cursor);
        let event = Event::new(
            "schedule.saved",
            name,
            now,
            serde_json::json!({ "name": name, "revision": row.revision }),
        );
        let set = ChangeSet::new()
            .put(key(name), expect, encode(&row)?)
            // Written in any case, so that a tick which read the old schedule writes nothing.
            .put(state_key(name), Expect::Any, encode(&ScheduleStateRow { cursor })?);
        let set = feed::tell(set, &event)?;
        let set = feed::audit(set, &self.audited(&caller.name, "schedule.save", name))?;
        self.0.records.apply(set)?;
        self.publish(&event);
        Ok(())
    }

    /// Whether the pipeline is there and is given what it needs.
    fn can_run(&self, name: &str, spec: &ScheduleSpec, caller: &Caller) -> Result<()> {
        let row = match self.pipeline_row(&spec.pipeline, None) {
            Err(missing) if missing.kind() == Kind::NotFound => {
                let fault = Fault::new("/pipeline", missing.detail());
                return Err(error::bad_body("bad_schedule", "schedule", vec![fault]));
            }
            row => row?,
        };
        let request = self.request(spec, self.now(), &row)?;
        let origin = slot_origin(name, self.now(), None);
        self.prepare(&spec.pipeline, &row, request, caller, origin).map(drop)
    }

    /// What a run of this schedule is asked for. A pipeline that takes `scheduled_at` is given it.
    pub(super) fn request(
        &self,
        spec: &ScheduleSpec,
        slot: Time,
        pipeline: &super::super::format::PipelineRow,
    ) -> Result<RunRequest> {
        let mut inputs = spec.inputs.clone();
        let ready = self.ready(&spec.pipeline, pipeline)?;
        if ready.plan.inputs.iter().any(|input| input == "scheduled_at") {
            inputs.entry("scheduled_at").or_insert_with(|| slot.to_string().into());
        }
        Ok(RunRequest { inputs, runner: Some(spec.runner), ..RunRequest::default() })
    }

    /// A schedule.
    pub fn schedule(&self, name: &Name) -> Result<Schedule> {
        self.read_schedule(name.as_str())
    }

    fn read_schedule(&self, name: &str) -> Result<Schedule> {
        self.shown(name, self.schedule_read(name)?)
    }

    pub(super) fn schedule_read(&self, name: &str) -> Result<Read> {
        let row = self.0.records.get(&key(name))?;
        Read::of(&row.ok_or_else(|| error::schedule_not_found(name))?)
    }

    fn shown(&self, name: &str, read: Read) -> Result<Schedule> {
        let next = if read.spec.enabled { read.spec.parsed()?.next(self.now()) } else { None };
        Ok(Schedule {
            name: name.to_owned(),
            revision: read.row.revision,
            next_at: next,
            saved_at: read.row.saved_at,
            saved_by: read.row.caller.name().to_owned(),
            spec: read.spec,
        })
    }

    /// Schedules by name, after `after`.
    pub fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<Schedule>> {
        let mut scan = Scan::prefix(key("")).limit(limit);
        scan.after = after.map(key);
        let rows = self.0.records.scan(&scan)?;
        let name = |row: &Row| row.key.trim_start_matches("schedule/").to_owned();
        rows.iter().map(|row| self.shown(&name(row), Read::of(row)?)).collect()
    }

    /// Forgets a schedule. Its runs stay, and what fired does not fire again under the same name.
    pub fn delete_schedule(&self, name: &Name, caller: &Caller) -> Result<()> {
        let name = name.as_str();
        let payload = serde_json::json!({ "name": name });
        let event = Event::new("schedule.deleted", name, self.now(), payload);
        let set = ChangeSet::new()
            .delete(key(name), Expect::Present)
            .delete(state_key(name), Expect::Any);
        let set = feed::tell(set, &event)?;
        let set = feed::audit(set, &self.audited(&caller.name, "schedule.delete", name))?;
        match self.0.records.apply(set) {
            Err(refused) if lost_race(&refused) => return Err(error::schedule_not_found(name)),
            outcome => outcome?,
        };
        self.disarm(name);
        self.publish(&event);
        Ok(())
    }

    /// The next `count` firings after `after`.
    pub fn next_firings(
        &self,
        name: &Name,
        after: Option<Time>,
        count: usize,
    ) -> Result<Vec<Firing>> {
        let cron = self.schedule_read(name.as_str())?.spec.parsed()?;
        let mut at = after.unwrap_or_else(|| self.now());
        let mut firings = Vec::new();
        while firings.len() < count {
            let Some(next) = cron.next(at) else { break };
            firings.push(Firing { at: next, local: cron.local(next) });
            at = next;
        }
        Ok(firings)
    }
}

/// Where the run of a firing comes from.
pub(super) fn slot_origin(name: &str, slot: Time, lane: Option<&str>) -> Origin {
    Origin {
        cause: format!("schedule:{name}"),
        scheduled_at: Some(slot),
        schedule: Some(name.to_owned()),
        lane: lane.map(str::to_owned),
    }
}

fn spec_json(spec: &ScheduleSpec) -> Result<String> {
    serde_json::to_string(spec).map_err(|why| Error::internal(format!("schedule: {why}")))
}

fn meets(name: &str, found: Option<&Read>, expected: Expected) -> Result<()> {
    if expected.create_only && found.is_some() {
        return Err(error::exists("schedule", name));
    }
    let current = found.map_or(0, |found| found.row.revision);
    match expected.revision {
        Some(wanted) if wanted != current => Err(error::stale("schedule", name, wanted, current)),
        _ => Ok(()),
    }
}
