//! Observers as rows: saved, read, listed, deleted, and told again.

use super::draft::ObserverDraft;
use super::format::{
    OBSERVERS, ObserverStateV1, ObserverV1, ReplayV1, log_of, observer_row, replay_row, state_row,
};
use super::model::{Observer, Redelivery, Standing, Status};
use super::office::Office;
use crate::fiche::model::{CardKey, Conditions};
use crate::fiche::which::Which;
use crate::fiche::{Fiche, Replayed, TRIES, as_json, changes, error};
use crate::kernel::access::Caller;
use crate::kernel::feed::{self, Audit, Idempotency};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::new_id;
use crate::kernel::records::{ChangeSet, Expect, Records, Scan};
use crate::kernel::{Error, Fault, Name, Result, Time};

/// The most observers. Each may hold one message and one connection.
pub const OBSERVERS_MAX: u64 = 256;
/// How many events are read at a time.
const PAGE: usize = 1000;

/// An observer as it was read, and its row's revision.
pub(super) struct Found {
    pub(super) row: ObserverV1,
    revision: u64,
}

impl Fiche {
    /// Saves an observer: a new revision when it differs, none when it does not; either way it is
    /// tried again at once. A new one hears of what happens from now on. Answers it, and whether it
    /// is new.
    pub fn observe(
        &self,
        caller: &Caller,
        draft: &ObserverDraft,
        conditions: Conditions,
    ) -> Result<(Observer, bool)> {
        draft.target.check(self.office().terms.allow_private).map_err(refused_address)?;
        let name = draft.name.as_str();
        let is_new = contend(name, || {
            let found = find(self.records().as_ref(), name)?;
            check(name, conditions, found.as_ref().map(|found| found.row.revision))?;
            let now = self.inner.clock.now();
            let row = plan(draft, found.as_ref().map(|found| &found.row), caller, now);
            let expect = match &found {
                Some(found) if found.row == row => return Ok(Some(false)),
                Some(found) => Expect::Revision(found.revision),
                None => Expect::Absent,
            };
            let mut set = ChangeSet::new().put(observer_row(name), expect, encode(&row)?);
            if found.is_none() {
                set = self.begin(set, &row)?;
            }
            let set = feed::audit(set, &line(caller, "observer.saved", name, now))?;
            self.apply(set).map(|done| done.then_some(found.is_none()))
        })?;
        self.office().call(name)?;
        Ok((self.observer(&draft.name)?, is_new))
    }

    /// A new observer's books: they begin with the newest change.
    fn begin(&self, set: ChangeSet, row: &ObserverV1) -> Result<ChangeSet> {
        let records = self.records().as_ref();
        if records.count(OBSERVERS)? >= OBSERVERS_MAX {
            return Err(error::too_many_observers(OBSERVERS_MAX));
        }
        let state =
            ObserverStateV1 { cursor: feed::last_number(records)?, ..ObserverStateV1::default() };
        Ok(set.put(state_row(&row.id), Expect::Absent, encode(&state)?))
    }

    /// An observer, and how it stands.
    pub fn observer(&self, name: &Name) -> Result<Observer> {
        let row = must_find(self.records().as_ref(), name.as_str())?.row;
        self.shown(name.as_str(), row, self.last_number()?)
    }

    /// Up to `limit + 1` observers beyond the name `after`, by name.
    pub fn observers(&self, after: Option<&str>, limit: usize) -> Result<Vec<Observer>> {
        let mut scan = Scan::prefix(OBSERVERS).limit(limit + 1);
        scan.after = after.map(observer_row);
        let newest = self.last_number()?;
        let rows = self.records().scan(&scan)?;
        rows.iter()
            .map(|row| {
                let name = row.key.trim_start_matches(OBSERVERS);
                self.shown(name, decode(&row.value)?, newest)
            })
            .collect()
    }

    fn shown(&self, name: &str, row: ObserverV1, newest: u64) -> Result<Observer> {
        let state = state_of(self.records().as_ref(), self.office(), &row.id)?;
        Ok(Observer {
            name: name.to_owned(),
            version: row.version.clone(),
            url: row.url.clone(),
            which: row.which(),
            enabled: row.enabled,
            summary: row.summary.clone(),
            config: row.config(),
            remark: row.remark.clone(),
            has_secret: row.secret.is_some(),
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
            saved_by: row.saved_by,
            state: standing(state, row.enabled, newest),
        })
    }

    /// Deletes an observer, with its log.
    pub fn forget_observer(
        &self,
        caller: &Caller,
        name: &Name,
        conditions: Conditions,
    ) -> Result<()> {
        let name = name.as_str();
        let id = contend(name, || {
            let records = self.records().as_ref();
            let found = must_find(records, name)?;
            check(name, conditions, Some(found.row.revision))?;
            let id = found.row.id;
            let mut set =
                ChangeSet::new().delete(observer_row(name), Expect::Revision(found.revision));
            // The state is the courier's: whoever deletes it knows every entry of the log.
            if let Some(state) = records.get(&state_row(&id))? {
                set = set.delete(state.key, Expect::Revision(state.revision));
            }
            set = set.delete(replay_row(&id), Expect::Any);
            for entry in records.scan(&Scan::prefix(log_of(&id)))? {
                set = set.delete(entry.key, Expect::Any);
            }
            let now = self.inner.clock.now();
            let set = feed::audit(set, &line(caller, "observer.deleted", name, now))?;
            self.apply(set).map(|done| done.then_some(id))
        })?;
        self.office().call(name)?;
        self.office().forget(&id);
        Ok(())
    }

    /// Tells an observer again what it was told from number `from` on, up to `to` or up to where it is.
    /// The answer is a [`Redelivery`].
    pub fn redeliver(
        &self,
        caller: &Caller,
        name: &Name,
        from: u64,
        to: Option<u64>,
        retry: Option<&Idempotency>,
    ) -> Result<Replayed> {
        let name = name.as_str();
        let replayed = contend(name, || {
            if let Some(answer) = self.answered(retry)? {
                return Ok(Some(Replayed { answer, is_retry: true }));
            }
            let records = self.records().as_ref();
            let row = must_find(records, name)?.row;
            let cursor = state_of(records, self.office(), &row.id)?.cursor;
            let (after, to) = range(from, to, cursor, feed::last_number(records)?)?;
            let events = count(records, &row.which(), after, to)?;
            let answer = as_json(&Redelivery { from: after + 1, to, events })?;
            let now = self.inner.clock.now();
            let mut set = ChangeSet::new();
            if after < to {
                set = order(records, set, &row.id, ReplayV1 { after, to })?;
            }
            let set = feed::audit(set, &line(caller, "observer.redelivered", name, now))?;
            let set = feed::remember(set, retry, &answer, now)?;
            self.apply(set).map(|done| done.then_some(Replayed { answer, is_retry: false }))
        })?;
        self.office().call(name)?;
        Ok(replayed)
    }

    pub(super) fn office(&self) -> &Office {
        &self.inner.office
    }

    /// Applies a set; answers whether it was: not when someone else was faster.
    fn apply(&self, set: ChangeSet) -> Result<bool> {
        match self.records().apply(set) {
            Ok(_) => Ok(true),
            Err(raced) if matches!(raced.code(), "stale_revision" | "row_exists") => Ok(false),
            Err(failed) => Err(failed),
        }
    }
}

/// Tries until nobody else was faster: `attempt` answers none when someone was.
fn contend<T>(name: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..TRIES {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
    }
    Err(error::too_busy(name))
}

/// The observer as it will be kept: as it was, when nothing of it differs.
fn plan(draft: &ObserverDraft, old: Option<&ObserverV1>, caller: &Caller, now: Time) -> ObserverV1 {
    let secret = match &draft.secret {
        None => old.and_then(|old| old.secret.clone()),
        Some(secret) => Some(secret.expose().to_owned()).filter(|secret| !secret.is_empty()),
    };
    let row = ObserverV1 {
        id: old.map_or_else(new_id, |old| old.id.clone()),
        version: draft.version.clone(),
        url: draft.url.clone(),
        kinds: draft.which.kinds.clone(),
        events: draft.which.events.clone(),
        names: draft.which.names.clone(),
        stages: draft.which.stages.clone(),
        secret,
        enabled: draft.enabled,
        summary: draft.summary.clone(),
        config_json: draft.config.to_string(),
        remark: draft.remark.clone(),
        revision: old.map_or(1, |old| old.revision),
        created_at: old.map_or(now, |old| old.created_at),
        updated_at: old.map_or(now, |old| old.updated_at),
        saved_by: old.map_or_else(|| caller.name.clone(), |old| old.saved_by.clone()),
    };
    match old {
        Some(old) if *old != row => ObserverV1 {
            revision: old.revision + 1,
            updated_at: now,
            saved_by: caller.name.clone(),
            ..row
        },
        _ => row,
    }
}

/// Adds to `set` the order to tell changes again, joined with one that waits.
fn order(records: &dyn Records, set: ChangeSet, id: &str, wanted: ReplayV1) -> Result<ChangeSet> {
    let key = replay_row(id);
    let Some(row) = records.get(&key)? else {
        return Ok(set.put(key, Expect::Absent, encode(&wanted)?));
    };
    let waits: ReplayV1 = decode(&row.value)?;
    let both = ReplayV1 { after: waits.after.min(wanted.after), to: waits.to.max(wanted.to) };
    Ok(set.put(key, Expect::Revision(row.revision), encode(&both)?))
}

/// The changes to tell again: after the first number, up to the second. What the observer has yet to
/// hear is none of them.
fn range(from: u64, to: Option<u64>, cursor: u64, newest: u64) -> Result<(u64, u64)> {
    if from > newest {
        let why = format!("{from} is no change yet: the newest is {newest}");
        return Err(error::bad_parameter("bad_redelivery", "/from", why));
    }
    if let Some(to) = to.filter(|to| *to < from) {
        let why = format!("{to} comes before `from`, which is {from}");
        return Err(error::bad_parameter("bad_redelivery", "/to", why));
    }
    let after = from.saturating_sub(1);
    Ok((after, to.unwrap_or(cursor).min(cursor)))
}

/// How many changes an observer wants to hear of.
fn count(records: &dyn Records, which: &Which, after: u64, to: u64) -> Result<u64> {
    let (mut at, mut count) = (after, 0);
    while at < to {
        let events = feed::read(records, at, PAGE)?;
        let Some(last) = events.last() else {
            break;
        };
        at = last.number;
        for event in events.into_iter().filter(|event| event.number <= to) {
            count += u64::from(wants(records, which, event)?);
        }
    }
    Ok(count)
}

/// Whether a change is wanted; the card is read only where that must be known.
pub(super) fn wants(records: &dyn Records, which: &Which, event: feed::Event) -> Result<bool> {
    let key = CardKey::from_subject(&event.subject);
    if !key.is_some_and(|key| which.may_hold(&event.event, &key)) {
        return Ok(false);
    }
    Ok(which.stages.is_empty() || which.holds(&changes::resolve(records, event)?))
}

pub(super) fn find(records: &dyn Records, name: &str) -> Result<Option<Found>> {
    let Some(row) = records.get(&observer_row(name))? else {
        return Ok(None);
    };
    Ok(Some(Found { row: decode(&row.value)?, revision: row.revision }))
}

pub(super) fn must_find(records: &dyn Records, name: &str) -> Result<Found> {
    find(records, name)?.ok_or_else(|| error::observer_not_found(name))
}

/// How far an observer is: its courier knows it first.
pub(super) fn state_of(
    records: &dyn Records,
    office: &Office,
    id: &str,
) -> Result<ObserverStateV1> {
    if let Some(live) = office.live(id) {
        return Ok(live);
    }
    match records.get(&state_row(id))? {
        Some(row) => decode(&row.value),
        None => Ok(ObserverStateV1::default()),
    }
}

fn standing(state: ObserverStateV1, enabled: bool, newest: u64) -> Standing {
    let behind = newest.saturating_sub(state.cursor);
    let status = match () {
        () if !enabled => Status::Disabled,
        () if state.stopped => Status::Stopped,
        () if state.failures > 0 => Status::Failing,
        () if behind > 0 || state.replay.is_some() => Status::Behind,
        () => Status::Current,
    };
    Standing {
        status,
        cursor: state.cursor,
        behind,
        replaying: state.replay.map(|(after, to)| (after + 1, to)),
        delivered: state.delivered,
        failures: state.failures,
        failing_since: state.failing_since,
        last_error: state.last_error,
        last_success_at: state.last_success_at,
        next_try_at: state.next_try_at,
    }
}

fn check(name: &str, conditions: Conditions, found: Option<u64>) -> Result<()> {
    match (conditions.revision, found) {
        _ if conditions.create_only && found.is_some() => Err(error::observer_exists(name)),
        (Some(expected), found) if found != Some(expected) => {
            Err(error::stale_observer(name, expected, found))
        }
        _ => Ok(()),
    }
}

fn refused_address(why: String) -> Error {
    let detail = format!(
        "{why}: messages go there only with `allow_private = true` under [observers] in drip.toml"
    );
    Error::invalid("address_refused", detail.clone(), vec![Fault::new("/url", detail)])
}

fn line(caller: &Caller, action: &str, name: &str, at: Time) -> Audit {
    Audit {
        at,
        who: caller.name.clone(),
        action: action.to_owned(),
        subject: format!("observer/{name}"),
        outcome: "done".to_owned(),
    }
}
