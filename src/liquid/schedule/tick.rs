//! The ticker: looks at the time and starts what is due.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::super::cron::Cron;
use super::super::{Liquid, lock, lost_race};
use super::rows::{Read, key, slot_origin};
use super::slots::{Before, Cursor};
use super::spec::{Catchup, Overlap, ScheduleSpec};
use crate::kernel::access::Caller;
use crate::kernel::clock::Time;
use crate::kernel::error::{Kind, Result};
use crate::kernel::records::{ChangeSet, Scan};

/// A firing that is seen this much after its time was missed.
const LATE: Duration = Duration::from_mins(1);
/// Runs of one schedule that may wait; further firings are left out.
const WAITING_MAX: usize = 100;
/// Firings of one schedule that one tick looks at beyond those it makes up.
const AT_ONCE: usize = 1_000;

/// When each schedule is due next. In memory; made from the rows at the opening.
#[derive(Debug, Default)]
pub(in super::super) struct Timetable(Mutex<Hands>);

#[derive(Debug, Default)]
struct Hands {
    due: BTreeMap<String, Option<Time>>,
    last: Option<Time>,
}

impl Liquid {
    /// Starts every firing that is due at `now`; answers how many runs that made. To be called at
    /// least as often as [`Liquid::next_wake`] says.
    pub fn tick(&self, now: Time) -> Result<usize> {
        self.pump();
        if self.went_back(now) {
            self.arm_all()?;
        }
        let mut made = 0;
        let mut failed = None;
        for name in self.due(now) {
            let fired = self.fire(&name, now);
            made += fired.as_ref().copied().unwrap_or(0);
            match fired.and_then(|_made| self.arm_at(&name, now)) {
                Ok(()) => {}
                // Someone else moved it on, or it was deleted: the next tick looks again.
                Err(refused) if lost_race(&refused) => {}
                Err(refused) => {
                    let refused = refused.context(format!("the schedule `{name}`"));
                    tracing::error!(schedule = %name, error = %refused, "a schedule could not fire");
                    failed = Some(refused);
                }
            }
        }
        // One schedule that cannot fire does not hold up the others.
        failed.map_or(Ok(made), Err)
    }

    /// When [`Liquid::tick`] has something to do next, if nothing changes.
    pub fn next_wake(&self) -> Option<Time> {
        lock(&self.0.timetable.0).due.values().flatten().min().copied()
    }

    fn due(&self, now: Time) -> Vec<String> {
        let hands = lock(&self.0.timetable.0);
        let due = hands.due.iter().filter(|(_, due)| due.is_some_and(|due| due <= now));
        due.map(|(name, _)| name.clone()).collect()
    }

    fn went_back(&self, now: Time) -> bool {
        let mut hands = lock(&self.0.timetable.0);
        hands.last.replace(now).is_some_and(|last| now < last)
    }

    /// Reads every schedule and finds its next time.
    pub(in super::super) fn arm_all(&self) -> Result<()> {
        for row in self.0.records.scan(&Scan::prefix(key("")))? {
            let name = row.key.trim_start_matches("schedule/").to_owned();
            if let Err(error) = self.arm(&name) {
                // A zone that was renamed must not keep the others from firing.
                tracing::error!(schedule = %name, %error, "a schedule cannot be read");
            }
        }
        Ok(())
    }

    pub(super) fn arm(&self, name: &str) -> Result<()> {
        self.arm_at(name, self.now())
    }

    fn arm_at(&self, name: &str, now: Time) -> Result<()> {
        let read = match self.schedule_read(name) {
            Err(gone) if gone.kind() == Kind::NotFound => {
                self.disarm(name);
                return Ok(());
            }
            read => read?,
        };
        let mut due = None;
        if read.spec.enabled
            && let Some(mut cursor) = self.cursor(name)?
        {
            if cursor.at > now {
                // The clock went back: from here on firings count again that have no slot yet.
                self.apply_at(name, &mut cursor, now, ChangeSet::new())?;
            }
            let next = read.spec.parsed()?.next(cursor.at);
            due = next.map(|slot| read.spec.due(name, slot));
        }
        lock(&self.0.timetable.0).due.insert(name.to_owned(), due);
        Ok(())
    }

    pub(super) fn disarm(&self, name: &str) {
        lock(&self.0.timetable.0).due.remove(name);
    }

    /// Looks at every firing of one schedule up to `now`.
    fn fire(&self, name: &str, now: Time) -> Result<usize> {
        let read = self.schedule_read(name)?;
        let Some(mut cursor) = self.cursor(name)? else {
            return Ok(0);
        };
        if !read.spec.enabled {
            return Ok(0);
        }
        let cron = read.spec.parsed()?;
        let start = cursor.at;
        let missed_until = self.missed_until(now).max(start);
        let mut made = 0;
        for slot in missed(&read.spec, &cron, start, missed_until, now) {
            made += usize::from(self.take(name, &read, slot, true, &mut cursor)?);
        }
        // Missed firings that are not made up are passed over, for good.
        if cron.next(cursor.at).is_some_and(|next| next <= missed_until) {
            self.apply_at(name, &mut cursor, missed_until, ChangeSet::new())?;
        }
        for slot in cron.latest(missed_until, now, AT_ONCE) {
            if read.spec.due(name, slot) > now {
                break;
            }
            made += usize::from(self.take(name, &read, slot, false, &mut cursor)?);
        }
        Ok(made)
    }

    /// Firings up to this time were missed: nobody was there, or came too late.
    fn missed_until(&self, now: Time) -> Time {
        let late = i64::try_from(LATE.as_micros()).unwrap_or(i64::MAX);
        let opened = Time(self.0.opened_at.0.saturating_sub(1));
        // A clock that went back may show less than the opening did.
        Time(now.0.saturating_sub(late)).max(opened).min(now)
    }

    /// Takes one firing, or leaves it out; answers whether it has a run now.
    fn take(
        &self,
        name: &str,
        read: &Read,
        slot: Time,
        missed: bool,
        cursor: &mut Cursor,
    ) -> Result<bool> {
        if self.slot(name, slot)? != Before::Free {
            self.apply_at(name, cursor, slot, ChangeSet::new())?;
            return Ok(false);
        }
        let caller = Caller::from(read.row.caller.clone());
        let active = self.0.desk.of_schedule(name);
        let Some(lane) = lane(read.spec.overlap, missed, active.len()) else {
            tracing::info!(schedule = %name, slot = %slot, "a firing is left out: an earlier run is not over");
            let set = self.leave_slot_out(name, slot)?;
            self.apply_at(name, cursor, slot, set)?;
            return Ok(false);
        };
        let origin = slot_origin(name, slot, lane.then_some(name));
        let begun = self.slot_run(read, &caller, slot, origin)?;
        let set = self.take_slot(name, slot, Before::Free, &begun)?;
        self.apply_at(name, cursor, slot, set)?;
        if read.spec.overlap == Overlap::Cancel && !missed {
            for run in &active {
                if let Err(error) = self.stop(run, &caller) {
                    tracing::info!(run = %run, %error, "an earlier run was over already");
                }
            }
        }
        self.enqueue(&begun);
        Ok(true)
    }

    /// Asks a run to end, without waiting for it.
    fn stop(&self, run: &str, caller: &Caller) -> Result<()> {
        match self.0.desk.running(run) {
            Some(turn) => {
                turn.stopper.stop();
                Ok(())
            }
            None => self.cancel(run, caller).map(drop),
        }
    }
}

/// The missed firings that are made up.
fn missed(spec: &ScheduleSpec, cron: &Cron, start: Time, until: Time, now: Time) -> Vec<Time> {
    let most = match spec.catchup {
        Catchup::None => return Vec::new(),
        Catchup::Last => 1,
        Catchup::All => usize::try_from(spec.catchup_max).unwrap_or(usize::MAX),
    };
    let window = i64::try_from(spec.catchup_window.as_micros()).unwrap_or(i64::MAX);
    cron.latest(start.max(Time(now.0.saturating_sub(window))), until, most)
}

/// Whether a firing runs: none leaves it out, `true` puts it behind the others of its schedule.
fn lane(overlap: Overlap, missed: bool, active: usize) -> Option<bool> {
    if missed {
        // What is made up runs one after the other, whatever the overlap: `skip` would leave out
        // all but the first.
        return Some(true);
    }
    match overlap {
        Overlap::Skip => (active == 0).then_some(false),
        Overlap::Queue => (active < WAITING_MAX).then_some(true),
        Overlap::Cancel => Some(false),
        Overlap::Allow(most) => {
            (active < usize::try_from(most).unwrap_or(usize::MAX)).then_some(false)
        }
    }
}
