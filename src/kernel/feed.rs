//! The numbered feed of a slice, and what stands beside it in the same commit: audit rows,
//! idempotency rows, cursors.
//!
//! A slice builds a [`ChangeSet`] for what a call changes and adds to it the event that tells of it.
//! Both become durable together, and the event's number is given out inside the commit: no gaps, no
//! repeats, never out of order. Whoever follows a feed keeps a cursor, a number, and asks for what
//! comes after it.

use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Time;
use super::error::{Error, Kind, Result};
use super::format::{Nothing, Versioned, decode, encode};
use super::name::{Digest, new_id};
use super::records::{ChangeSet, Expect, Records, Row, Scan, log_key, log_number};

/// The log that holds a slice's events.
const FEED: &str = "feed";
/// How long a used `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(24);

/// Something that happened in a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number in the slice's feed; 0 before it was given one.
    pub number: u64,
    /// What happened: `card.saved`, `artifact.pushed`, `run.finished`.
    pub event: String,
    /// To what: `model/wind-power/1.2.0`.
    pub subject: String,
    /// When.
    pub at: Time,
    /// What the event says besides.
    pub payload: Value,
}

#[derive(Debug, Encode, Decode)]
struct EventV1 {
    event: String,
    subject: String,
    at: Time,
    payload_json: String,
}

impl Versioned for EventV1 {
    const MARKER: &'static str = "event.v1";
    type Previous = Nothing;
}

impl Event {
    /// An event that has no number yet.
    pub fn new(event: &str, subject: impl Into<String>, at: Time, payload: Value) -> Self {
        Self { number: 0, event: event.to_owned(), subject: subject.into(), at, payload }
    }
}

/// Adds `event` to what `set` will do.
pub fn tell(set: ChangeSet, event: &Event) -> Result<ChangeSet> {
    let row = EventV1 {
        event: event.event.clone(),
        subject: event.subject.clone(),
        at: event.at,
        payload_json: event.payload.to_string(),
    };
    Ok(set.append(FEED, encode(&row)?))
}

/// Events after number `after`, in order.
pub fn read(records: &dyn Records, after: u64, limit: usize) -> Result<Vec<Event>> {
    let scan = Scan::prefix(format!("{FEED}/")).after(log_key(FEED, after)).limit(limit);
    records.scan(&scan)?.iter().map(event).collect()
}

/// The number of the newest event; 0 when there is none.
pub fn last_number(records: &dyn Records) -> Result<u64> {
    let newest = records.scan(&Scan::prefix(format!("{FEED}/")).reverse().limit(1))?;
    Ok(newest.first().and_then(|row| log_number(&row.key)).unwrap_or(0))
}

fn event(row: &Row) -> Result<Event> {
    let kept: EventV1 = decode(&row.value)?;
    Ok(Event {
        number: log_number(&row.key).unwrap_or(0),
        event: kept.event,
        subject: kept.subject,
        at: kept.at,
        payload: serde_json::from_str(&kept.payload_json).unwrap_or(Value::Null),
    })
}

/// How far a follower has come.
pub fn cursor(records: &dyn Records, follower: &str) -> Result<u64> {
    let row = records.get(&format!("cursor/{follower}"))?;
    Ok(row.and_then(|row| row.value.try_into().ok()).map_or(0, u64::from_le_bytes))
}

/// Adds to `set` that `follower` has come as far as `number`: what the follower did on account of
/// the event and the cursor that remembers it become durable together.
pub fn advance(set: ChangeSet, follower: &str, number: u64) -> ChangeSet {
    set.put(format!("cursor/{follower}"), Expect::Any, number.to_le_bytes().to_vec())
}

/// Calls `hear` for every event after the last one that `follower` has heard, in order, and remembers
/// how far it came. Answers how many there were. An error of `hear` ends it, and the event is heard
/// again next time: hearing twice must be harmless.
pub fn follow(
    records: &dyn Records,
    follower: &str,
    mut hear: impl FnMut(&Event) -> Result<()>,
) -> Result<u64> {
    const PAGE: usize = 100;
    let begun = cursor(records, follower)?;
    let mut heard = begun;
    loop {
        let events = read(records, heard, PAGE)?;
        if events.is_empty() {
            return Ok(heard - begun);
        }
        let before = heard;
        let outcome = events.iter().try_for_each(|event| {
            hear(event)?;
            heard = event.number;
            Ok(())
        });
        if heard > before {
            records.apply(advance(ChangeSet::new(), follower, heard))?;
        }
        outcome?;
    }
}

/// One line of the audit: who did what to which thing, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Audit {
    /// When.
    pub at: Time,
    /// Who: the caller's name.
    pub who: String,
    /// What: `card.save`, `token.revoke`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// `done` or the code word of the refusal.
    pub outcome: String,
}

impl Versioned for Audit {
    const MARKER: &'static str = "audit.v1";
    type Previous = Nothing;
}

/// Adds a line of audit to what `set` will do.
pub fn audit(set: ChangeSet, line: &Audit) -> Result<ChangeSet> {
    Ok(set.put(format!("audit/{}", new_id()), Expect::Absent, encode(line)?))
}

/// A slice's audit lines, newest first, before `before` (the key of the oldest line seen so far).
pub fn read_audit(
    records: &dyn Records,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Audit)>> {
    let mut scan = Scan::prefix("audit/").reverse().limit(limit);
    scan.after = before.map(|id| format!("audit/{id}"));
    let id = |key: &str| key.trim_start_matches("audit/").to_owned();
    records.scan(&scan)?.iter().map(|row| Ok((id(&row.key), decode(&row.value)?))).collect()
}

/// A retry key that a client sent, and the digest of what it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller and its key: two callers never meet.
    pub key: String,
    /// The digest of the method, path and body.
    pub request: Digest,
}

#[derive(Debug, Encode, Decode)]
struct Answered {
    request: Digest,
    at: Time,
    answer_json: String,
}

impl Versioned for Answered {
    const MARKER: &'static str = "answered.v1";
    type Previous = Nothing;
}

/// The answer that was given for this key before, if it was. The same key with another request is
/// refused.
pub fn answered(
    records: &dyn Records,
    retry: Option<&Idempotency>,
    now: Time,
) -> Result<Option<Value>> {
    let Some(retry) = retry else { return Ok(None) };
    let Some(row) = records.get(&idempotency_key(retry))? else {
        return Ok(None);
    };
    let kept: Answered = decode(&row.value)?;
    if now.since(kept.at) > IDEMPOTENCY_KEPT {
        return Ok(None);
    }
    if kept.request != retry.request {
        return Err(Error::new(
            Kind::Conflict,
            "idempotency_key_reused",
            "this Idempotency-Key was used with another request: choose a new one",
        ));
    }
    Ok(serde_json::from_str(&kept.answer_json).ok())
}

/// Adds to `set` the memory of `answer`, so that a retry is given the same.
pub fn remember(
    set: ChangeSet,
    retry: Option<&Idempotency>,
    answer: &Value,
    now: Time,
) -> Result<ChangeSet> {
    let Some(retry) = retry else { return Ok(set) };
    let row = Answered { request: retry.request, at: now, answer_json: answer.to_string() };
    Ok(set.put(idempotency_key(retry), Expect::Any, encode(&row)?))
}

/// Forgets the keys that are too old to matter; answers how many.
pub fn forget_old(records: &dyn Records, now: Time) -> Result<usize> {
    let mut set = ChangeSet::new();
    for row in records.scan(&Scan::prefix("idempotency/").limit(10_000))? {
        let kept: Answered = decode(&row.value)?;
        if now.since(kept.at) > IDEMPOTENCY_KEPT {
            set = set.delete(row.key, Expect::Any);
        }
    }
    let count = set.changes.len();
    if count > 0 {
        records.apply(set)?;
    }
    Ok(count)
}

fn idempotency_key(retry: &Idempotency) -> String {
    // A client's key may be anything; its digest is a key of ours.
    format!("idempotency/{}", Digest::of(retry.key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::records::MemoryRecords;
    use serde_json::json;

    fn saved(name: &str) -> Event {
        Event::new("card.saved", name, Time(1), json!({"n": name}))
    }

    #[test]
    fn events_are_numbered_and_read_from_a_cursor() {
        let records = MemoryRecords::new();
        for name in ["a", "b", "c"] {
            records.apply(tell(ChangeSet::new(), &saved(name)).unwrap()).unwrap();
        }
        let after: Vec<_> = read(&records, 1, 10).unwrap();
        let seen: Vec<_> = after.iter().map(|e| (e.number, e.subject.as_str())).collect();
        assert_eq!(seen, [(2, "b"), (3, "c")]);
        assert_eq!(last_number(&records).unwrap(), 3);
        records.apply(advance(ChangeSet::new(), "index", 2)).unwrap();
        assert_eq!(cursor(&records, "index").unwrap(), 2);
        assert_eq!(cursor(&records, "nobody").unwrap(), 0);
    }

    #[test]
    fn a_follower_goes_on_where_it_failed() {
        let records = MemoryRecords::new();
        for name in ["a", "b", "c"] {
            records.apply(tell(ChangeSet::new(), &saved(name)).unwrap()).unwrap();
        }
        let mut seen = Vec::new();
        let failed = follow(&records, "cards", |event| {
            if event.subject == "b" && seen.len() == 1 {
                seen.push("fault".to_owned());
                return Err(Error::internal("on purpose"));
            }
            seen.push(event.subject.clone());
            Ok(())
        });
        assert!(failed.is_err());
        assert_eq!(cursor(&records, "cards").unwrap(), 1);
        let heard = follow(&records, "cards", |event| {
            seen.push(event.subject.clone());
            Ok(())
        });
        assert_eq!((heard.unwrap(), seen.join(" ")), (2, "a fault b c".into()));
        assert_eq!(follow(&records, "cards", |_| Ok(())).unwrap(), 0);
    }

    #[test]
    fn a_retry_gets_the_first_answer_and_another_request_is_refused() {
        let records = MemoryRecords::new();
        let retry = Idempotency { key: "ada/1".into(), request: Digest::of(b"x") };
        assert_eq!(answered(&records, Some(&retry), Time(0)).unwrap(), None);
        let set = remember(ChangeSet::new(), Some(&retry), &json!({"ok": 1}), Time(0)).unwrap();
        records.apply(set).unwrap();
        assert_eq!(answered(&records, Some(&retry), Time(5)).unwrap(), Some(json!({"ok": 1})));
        let other = Idempotency { request: Digest::of(b"y"), ..retry.clone() };
        let refused = answered(&records, Some(&other), Time(5)).unwrap_err();
        assert_eq!(refused.code(), "idempotency_key_reused");
        let late = Time(0).after(IDEMPOTENCY_KEPT).after(Duration::from_secs(1));
        assert_eq!(answered(&records, Some(&retry), late).unwrap(), None);
        assert_eq!(forget_old(&records, late).unwrap(), 1);
    }

    #[test]
    fn audit_lines_come_newest_first_in_pages() {
        let records = MemoryRecords::new();
        for n in 0..3 {
            let line = Audit {
                at: Time(n),
                who: "ada".into(),
                action: "card.save".into(),
                subject: n.to_string(),
                outcome: "done".into(),
            };
            records.apply(audit(ChangeSet::new(), &line).unwrap()).unwrap();
        }
        let first = read_audit(&records, None, 2).unwrap();
        assert_eq!(first.iter().map(|(_, l)| l.subject.as_str()).collect::<Vec<_>>(), ["2", "1"]);
        let rest = read_audit(&records, Some(&first[1].0), 2).unwrap();
        assert_eq!(rest.len(), 1);
    }
}
