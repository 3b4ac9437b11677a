//! What is used is counted here: once, durably, before the data leave.
//!
//! The quota's row and the day's usage row change in one set, each expected at the revision it was
//! read at. Of two requests that race, one finds the other's revision and counts again, so together
//! they never pass the limit; a set that failed has counted nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{Datelike, NaiveDate};

use super::error;
use super::format::{Amounts, QuotaRow, UsageRow, quota_key, usage_key, usage_of};
use super::model::{Period, QuotaSpec, QuotaState, Unit};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Row, Scan, SharedRecords};
use crate::kernel::{Clock, Kind, Result, Time};

/// How often a count is tried again when other daemons change the same rows.
const TRIES: usize = 1_000;
/// So many locks spread the users and channels of this process.
const LOCKS: usize = 64;

const DAY: i64 = 86_400_000_000;

/// The day in UTC that a time lies on, counted from 1970-01-01.
pub(super) fn day_number(time: Time) -> i64 {
    time.0.div_euclid(DAY)
}

/// How many days in UTC the times from `start` until before `end` touch.
pub(super) fn days_between(start: Time, end: Time) -> u64 {
    if end <= start {
        return 0;
    }
    let last = Time(end.0.saturating_sub(1));
    u64::try_from(day_number(last) - day_number(start) + 1).unwrap_or(0)
}

/// The day as text: `2014-03-30`.
fn day_text(time: Time) -> String {
    time.to_chrono().format("%Y-%m-%d").to_string()
}

/// When the period began that `now` lies in.
fn began(period: Period, now: Time) -> Time {
    let date = now.to_chrono().date_naive();
    match period {
        Period::Day => midnight(date),
        Period::Month => midnight(date.with_day(1).unwrap_or(date)),
        Period::Total => Time(0),
    }
}

/// When the period after the one that began at `began` begins.
fn resets(period: Period, began: Time) -> Option<Time> {
    let date = began.to_chrono().date_naive();
    match period {
        Period::Day => date.succ_opt().map(midnight),
        Period::Month => date.checked_add_months(chrono::Months::new(1)).map(midnight),
        Period::Total => None,
    }
}

fn midnight(date: NaiveDate) -> Time {
    date.and_hms_opt(0, 0, 0).map_or(Time(0), |midnight| midnight.and_utc().into())
}

/// Counts what is used. See the file's first lines.
pub(super) struct Meter {
    records: SharedRecords,
    clock: Arc<dyn Clock>,
    /// Spares requests of this process the races among themselves; the revisions decide.
    locks: Vec<Mutex<()>>,
}

impl Meter {
    pub(super) fn new(records: SharedRecords, clock: Arc<dyn Clock>) -> Self {
        Self { records, clock, locks: (0..LOCKS).map(|_| Mutex::new(())).collect() }
    }

    fn lock(&self, user: &str, group: &str, name: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        (user, group, name).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        self.locks.get(at).map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The quota of a user for a channel as it stands now.
    pub(super) fn quota(&self, user: &str, group: &str, name: &str) -> Result<Option<QuotaState>> {
        let row = self.records.get(&quota_key(user, group, name))?;
        let now = self.clock.now();
        row.map(|row| Ok(state(&format!("{group}/{name}"), &rolled(decode(&row.value)?, now))))
            .transpose()
    }

    /// Counts `cost`, or refuses it as a whole. When this answers, the count is durable.
    pub(super) fn charge(
        &self,
        user: &str,
        (group, name): (&str, &str),
        cost: Amounts,
    ) -> Result<Option<QuotaState>> {
        let _mine = self.lock(user, group, name);
        let channel = format!("{group}/{name}");
        for _try in 0..TRIES {
            let now = self.clock.now();
            let quota = self.records.get(&quota_key(user, group, name))?;
            let (set, quota) = charged(&channel, quota, cost, now)?;
            let usage = usage_key(user, group, name, &day_text(now));
            let found = self.records.get(&usage)?;
            let set = used(set, usage, found, cost)?;
            match self.records.apply(set) {
                Ok(_) => return Ok(quota),
                Err(error) if is_race(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::contended(&channel))
    }

    /// Sets a quota; what was used stays used. `also` joins the same commit.
    pub(super) fn set(
        &self,
        user: &str,
        spec: &QuotaSpec,
        unit: Unit,
        also: impl Fn(ChangeSet, &QuotaState) -> Result<ChangeSet>,
    ) -> Result<(QuotaState, bool)> {
        let (group, name) = (spec.group.as_str(), spec.name.as_str());
        let _mine = self.lock(user, group, name);
        let key = quota_key(user, group, name);
        let channel = format!("{group}/{name}");
        for _try in 0..TRIES {
            let now = self.clock.now();
            let found = self.records.get(&key)?;
            let old: Option<QuotaRow> = found.as_ref().map(|row| decode(&row.value)).transpose()?;
            let row = self.changed(user, spec, unit, old, now)?;
            let expect =
                found.as_ref().map_or(Expect::Absent, |row| Expect::Revision(row.revision));
            let state = state(&channel, &row);
            let set = also(ChangeSet::new().put(key.clone(), expect, encode(&row)?), &state)?;
            match self.records.apply(set) {
                Ok(_) => return Ok((state, found.is_none())),
                Err(error) if is_race(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::contended(&channel))
    }

    /// The row that a `PUT` makes of the one before it.
    fn changed(
        &self,
        user: &str,
        spec: &QuotaSpec,
        unit: Unit,
        old: Option<QuotaRow>,
        now: Time,
    ) -> Result<QuotaRow> {
        let fresh = QuotaRow {
            unit,
            limit: spec.limit,
            period: spec.period,
            since: now,
            began: began(spec.period, now),
            used: Amounts::default(),
        };
        let Some(old) = old.map(|old| rolled(old, now)) else {
            return Ok(fresh);
        };
        if old.period == spec.period {
            return Ok(QuotaRow { unit, limit: spec.limit, ..old });
        }
        let from = old.since.max(fresh.began);
        let used = self.used_since(user, spec.group.as_str(), spec.name.as_str(), from)?;
        Ok(QuotaRow { since: old.since, used, ..fresh })
    }

    /// What was used from a time's day on.
    fn used_since(&self, user: &str, group: &str, name: &str, from: Time) -> Result<Amounts> {
        let first = day_text(from);
        let rows =
            self.records.scan(&Scan::prefix(format!("{}{group}/{name}/", usage_of(user))))?;
        rows.iter()
            .filter(|row| row.key.rsplit('/').next().is_some_and(|day| day >= first.as_str()))
            .try_fold(Amounts::default(), |sum, row| {
                Ok(sum.plus(decode::<UsageRow>(&row.value)?.used))
            })
    }
}

/// Whether a set failed because someone else was quicker.
fn is_race(kind: Kind) -> bool {
    matches!(kind, Kind::Stale | Kind::Conflict)
}

/// The row in the period that `now` lies in. A clock that went back does not bring back what was
/// used: a period that began stays begun.
fn rolled(row: QuotaRow, now: Time) -> QuotaRow {
    let began = began(row.period, now);
    if began > row.began {
        return QuotaRow { began, used: Amounts::default(), ..row };
    }
    row
}

fn state(channel: &str, row: &QuotaRow) -> QuotaState {
    let used = row.used.of(row.unit);
    QuotaState {
        channel: channel.to_owned(),
        unit: row.unit,
        limit: row.limit,
        period: row.period,
        used,
        remaining: row.limit.saturating_sub(used),
        resets_at: resets(row.period, row.began),
    }
}

/// The quota's part of a count, and how the quota stands after it.
fn charged(
    channel: &str,
    found: Option<Row>,
    cost: Amounts,
    now: Time,
) -> Result<(ChangeSet, Option<QuotaState>)> {
    let Some(found) = found else {
        return Ok((ChangeSet::new(), None));
    };
    let row = rolled(decode(&found.value)?, now);
    let before = state(channel, &row);
    let needed = cost.of(row.unit);
    if needed > before.remaining {
        let wait = before.resets_at.map(|at| at.since(now).max(Duration::from_secs(1)));
        return Err(error::exhausted(&before, needed, wait));
    }
    let row = QuotaRow { used: row.used.plus(cost), ..row };
    let set = ChangeSet::new().put(found.key, Expect::Revision(found.revision), encode(&row)?);
    Ok((set, Some(state(channel, &row))))
}

/// The usage's part of a count.
fn used(set: ChangeSet, key: String, found: Option<Row>, cost: Amounts) -> Result<ChangeSet> {
    let (expect, before) = match found {
        Some(row) => (Expect::Revision(row.revision), decode::<UsageRow>(&row.value)?),
        None => (Expect::Absent, UsageRow::default()),
    };
    Ok(set.put(key, expect, encode(&UsageRow { used: before.used.plus(cost) })?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Name;
    use crate::kernel::clock::ManualClock;
    use crate::kernel::records::MemoryRecords;
    use proptest::prelude::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn spec(limit: u64, period: Period) -> QuotaSpec {
        QuotaSpec {
            group: Name::new("wind").unwrap(),
            name: Name::new("scada").unwrap(),
            unit: None,
            limit,
            period,
        }
    }

    fn cost(rows: u64) -> Amounts {
        Amounts { days: 1, rows, bytes: rows * 10, requests: 1 }
    }

    fn meter(now: &str) -> (Meter, Arc<ManualClock>) {
        let clock = ManualClock::at(at(now));
        (Meter::new(Arc::new(MemoryRecords::new()), clock.clone()), clock)
    }

    fn set(meter: &Meter, limit: u64, unit: Unit, period: Period) -> QuotaState {
        meter.set("ada", &spec(limit, period), unit, |set, _| Ok(set)).unwrap().0
    }

    const SCADA: (&str, &str) = ("wind", "scada");

    #[test]
    fn a_range_counts_every_day_that_it_touches() {
        let days = |start, end| days_between(at(start), at(end));
        assert_eq!(days("2014-01-01", "2014-01-02"), 1);
        assert_eq!(days("2014-01-01T10:00:00Z", "2014-01-01T10:10:00Z"), 1);
        assert_eq!(days("2014-01-01T23:50:00Z", "2014-01-02T00:10:00Z"), 2);
        assert_eq!(days("2014-01-01", "2015-01-01"), 365);
        assert_eq!(days("1969-12-31", "1970-01-02"), 2);
        assert_eq!(days("2014-01-02", "2014-01-01"), 0);
    }

    #[test]
    fn a_period_begins_and_ends_in_utc() {
        let now = at("2014-03-30T23:59:59Z");
        assert_eq!(began(Period::Day, now), at("2014-03-30"));
        assert_eq!(resets(Period::Day, at("2014-03-30")), Some(at("2014-03-31")));
        assert_eq!(began(Period::Month, now), at("2014-03-01"));
        assert_eq!(resets(Period::Month, at("2014-12-01")), Some(at("2015-01-01")));
        assert_eq!(resets(Period::Total, Time(0)), None);
    }

    #[test]
    fn a_request_that_is_larger_than_what_is_left_is_refused_whole() {
        let (meter, clock) = meter("2014-03-30T10:00:00Z");
        set(&meter, 100, Unit::Rows, Period::Day);
        assert_eq!(meter.charge("ada", SCADA, cost(60)).unwrap().unwrap().remaining, 40);
        let error = meter.charge("ada", SCADA, cost(41)).unwrap_err();
        assert_eq!(error.code(), "quota_exhausted");
        assert_eq!(error.wait(), Some(Duration::from_hours(14)));
        assert_eq!(meter.charge("ada", SCADA, cost(40)).unwrap().unwrap().remaining, 0);
        clock.set(at("2014-03-31T00:00:00Z"));
        assert_eq!(meter.charge("ada", SCADA, cost(100)).unwrap().unwrap().remaining, 0);
        // The clock goes back: what was used stays used.
        clock.set(at("2014-03-30T10:00:00Z"));
        assert_eq!(meter.quota("ada", "wind", "scada").unwrap().unwrap().remaining, 0);
    }

    #[test]
    fn a_new_limit_unit_or_period_does_not_reset_what_was_used() {
        let (meter, _clock) = meter("2014-03-30T10:00:00Z");
        set(&meter, 100, Unit::Rows, Period::Day);
        meter.charge("ada", SCADA, cost(60)).unwrap();
        let shape = |state: QuotaState| (state.used, state.remaining);
        assert_eq!(shape(set(&meter, 50, Unit::Rows, Period::Day)), (60, 0));
        assert_eq!(shape(set(&meter, 1_000, Unit::Bytes, Period::Day)), (600, 400));
        assert_eq!(shape(set(&meter, 10, Unit::Requests, Period::Month)), (1, 9));
        assert_eq!(shape(set(&meter, 100, Unit::Rows, Period::Total)), (60, 40));
    }

    #[test]
    fn a_quota_of_nothing_lets_nothing_through_and_a_huge_one_does_not_overflow() {
        let (meter, _clock) = meter("2014-03-30T10:00:00Z");
        set(&meter, 0, Unit::Requests, Period::Total);
        let error = meter.charge("ada", SCADA, cost(0)).unwrap_err();
        assert_eq!((error.code(), error.wait()), ("quota_exhausted", None));
        set(&meter, i64::MAX.unsigned_abs(), Unit::Rows, Period::Total);
        let most = Amounts { rows: i64::MAX.unsigned_abs(), ..Amounts::default() };
        assert_eq!(meter.charge("ada", SCADA, most).unwrap().unwrap().remaining, 0);
        assert!(meter.charge("ada", SCADA, cost(1)).is_err());
    }

    #[test]
    fn sixty_four_writers_never_pass_the_quota_and_each_is_counted_once() {
        // Two meters over one store race like two daemons: no lock is shared between them.
        let records: SharedRecords = Arc::new(MemoryRecords::new());
        let clock = ManualClock::at(at("2014-03-30T10:00:00Z"));
        let meters: Vec<_> =
            (0..2).map(|_| Arc::new(Meter::new(records.clone(), clock.clone()))).collect();
        set(&meters[0], 500, Unit::Rows, Period::Day);
        let given: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64_u64)
                .map(|n| {
                    let meter = meters[usize::try_from(n % 2).unwrap()].clone();
                    scope.spawn(move || {
                        (0..4)
                            .filter_map(|k| {
                                let rows = 1 + (n + k) % 7;
                                meter.charge("ada", SCADA, cost(rows)).ok().map(|_| rows)
                            })
                            .sum::<u64>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let state = meters[0].quota("ada", "wind", "scada").unwrap().unwrap();
        assert_eq!(state.used, given);
        assert!(given <= 500 && given > 493, "{given}");
        let used = meters[0].used_since("ada", "wind", "scada", at("2014-03-30")).unwrap();
        assert_eq!(used.rows, given);
    }

    proptest! {
        #[test]
        fn used_is_the_sum_of_what_was_let_through(
            limit in 0_u64..200,
            costs in prop::collection::vec(0_u64..60, 1..30),
        ) {
            let (meter, _clock) = meter("2014-03-30T10:00:00Z");
            set(&meter, limit, Unit::Rows, Period::Month);
            let mut model = 0;
            for rows in costs {
                let fits = model + rows <= limit;
                let outcome = meter.charge("ada", SCADA, cost(rows));
                prop_assert_eq!(outcome.is_ok(), fits);
                if fits { model += rows }
                let state = meter.quota("ada", "wind", "scada").unwrap().unwrap();
                prop_assert_eq!((state.used, state.remaining), (model, limit - model));
            }
        }
    }
}
