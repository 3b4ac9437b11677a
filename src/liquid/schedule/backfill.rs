//! Backfill: firings of the past that have no run.

use super::super::model::Run;
use super::super::{Liquid, error, lost_race};
use super::rows::slot_origin;
use super::slots::Before;
use crate::kernel::access::Caller;
use crate::kernel::clock::Time;
use crate::kernel::error::{Fault, Result};
use crate::kernel::feed;
use crate::kernel::name::Name;

/// The most firings of one backfill.
const MOST: usize = 1_000;

impl Liquid {
    /// Runs every firing of `[from, to)` that has no run yet, one after the other, on behalf of
    /// `caller`. Answers the new runs, and how many firings had one.
    pub fn backfill(
        &self,
        name: &Name,
        from: Time,
        to: Time,
        caller: &Caller,
    ) -> Result<(Vec<Run>, usize)> {
        let name = name.as_str();
        let read = self.schedule_read(name)?;
        let mut faults = Vec::new();
        if from >= to {
            faults.push(Fault::new("/to", "must be after `from`"));
        }
        if to > self.now() {
            faults.push(Fault::new("/to", "lies in the future: only past firings are made up"));
        }
        if !faults.is_empty() {
            return Err(error::bad_body("bad_backfill", "backfill", faults));
        }
        let before = |at: Time| Time(at.0.saturating_sub(1));
        let slots = read.spec.parsed()?.latest(before(from), before(to), MOST + 1);
        if slots.len() > MOST {
            return Err(error::too_many_slots(MOST));
        }
        let (mut runs, mut had) = (Vec::new(), 0);
        for slot in slots {
            let found = self.slot(name, slot)?;
            if found == Before::Taken {
                had += 1;
                continue;
            }
            let mut origin = slot_origin(name, slot, Some(name));
            origin.cause = format!("backfill:{name}");
            let begun = self.slot_run(&read, caller, slot, origin)?;
            let audit = self.audited(&caller.name, "schedule.backfill", &format!("{name}/{slot}"));
            let set = feed::audit(self.take_slot(name, slot, found, &begun)?, &audit)?;
            match self.0.records.apply(set) {
                Ok(_) => {
                    self.enqueue(&begun);
                    runs.push(self.run(&begun.id)?);
                }
                // The ticker or another backfill took it at the same moment.
                Err(refused) if lost_race(&refused) => had += 1,
                Err(refused) => return Err(refused),
            }
        }
        Ok((runs, had))
    }
}
