//! How far one observer has come and how its messages fared, written in batches: at most every fifth
//! of a second while all goes well, and after every failure.

use std::time::{Duration, Instant};

use super::format::{DeliveryV1, ObserverStateV1, ReplayV1, log_row, replay_row, state_row};
use crate::kernel::feed::Event;
use crate::kernel::format::{decode, encode};
use crate::kernel::push::Answer;
use crate::kernel::records::{ChangeSet, Expect, Receipt, Records};
use crate::kernel::{Result, Time};

/// How many entries of the log are kept.
pub(super) const LOG_MAX: u64 = 1000;
/// How many entries wait to be written.
const WAITING_MAX: usize = 100;
/// How long they wait.
const WAITING_TIME: Duration = Duration::from_millis(200);
/// How many changes may be passed over before the place is written for that alone: so many are looked
/// at again after a crash.
const PASSED_MAX: u64 = 10_000;

/// The books of one observer.
#[derive(Debug)]
pub(super) struct Ledger {
    id: String,
    pub(super) state: ObserverStateV1,
    /// The state's row as it was read or written last.
    revision: u64,
    /// The message that failed and will be tried again.
    open: Option<(u64, DeliveryV1)>,
    /// Entries to be written.
    fresh: Vec<(u64, DeliveryV1)>,
    /// The order for a replay that was taken in, by its row's revision.
    taken: Option<u64>,
    changed_at: Option<Instant>,
    passed: u64,
}

impl Ledger {
    /// Reads the books of the observer `id`, and takes in what it is to be told again. None when there
    /// are no such books any more.
    pub(super) fn read(records: &dyn Records, id: &str) -> Result<Option<Self>> {
        let Some(row) = records.get(&state_row(id))? else {
            return Ok(None);
        };
        let mut ledger = Self {
            id: id.to_owned(),
            state: decode(&row.value)?,
            revision: row.revision,
            open: None,
            fresh: Vec::new(),
            taken: None,
            changed_at: None,
            passed: 0,
        };
        if let Some(entry) = ledger.state.open_entry
            && let Some(row) = records.get(&log_row(id, entry))?
        {
            ledger.open = Some((entry, decode(&row.value)?));
        }
        if let Some(row) = records.get(&replay_row(id))? {
            ledger.take(decode(&row.value)?, row.revision);
        }
        Ok(Some(ledger))
    }

    fn take(&mut self, order: ReplayV1, revision: u64) {
        let (after, to) = self.state.replay.unwrap_or((u64::MAX, 0));
        self.state.replay = Some((after.min(order.after), to.max(order.to)));
        self.taken = Some(revision);
        self.touch();
    }

    /// Whether an order to tell changes again was taken in just now.
    pub(super) fn has_order(&self) -> bool {
        self.taken.is_some()
    }

    /// After which number to go on, and up to which when that is a replay.
    pub(super) fn position(&self) -> (u64, Option<u64>) {
        match self.state.replay {
            Some((after, to)) => (after, Some(to)),
            None => (self.state.cursor, None),
        }
    }

    /// A replay is at its end.
    pub(super) fn end_replay(&mut self) {
        self.state.replay = None;
        self.touch();
    }

    /// A change that is not wanted.
    pub(super) fn pass(&mut self, number: u64) {
        self.advance(number);
        self.passed += 1;
        if self.passed >= PASSED_MAX {
            self.touch();
        }
    }

    fn advance(&mut self, number: u64) {
        match &mut self.state.replay {
            Some((after, _)) => *after = number,
            None => self.state.cursor = number,
        }
    }

    fn touch(&mut self) {
        self.changed_at.get_or_insert_with(Instant::now);
    }

    /// Nothing failed yet, as far as the next wait is concerned.
    pub(super) fn forgive(&mut self) {
        if self.state.failures > 0 || self.state.stopped {
            (self.state.failures, self.state.next_try_at) = (0, None);
            self.state.stopped = false;
            self.touch();
        }
    }

    /// Another daemon may tell this observer.
    pub(super) fn give_way(&mut self, holder: Option<&str>) {
        let lease = self.state.lease.as_ref().map(|(who, _)| who.as_str());
        if lease.is_some() && lease == holder {
            self.state.lease = None;
            self.touch();
        }
    }

    /// A message was taken.
    pub(super) fn delivered(&mut self, event: &Event, answer: &Answer, at: Time) {
        let (entry, mut row) = self.entry(event, answer, at);
        row.delivered = true;
        self.fresh.push((entry, row));
        self.advance(event.number);
        let state = &mut self.state;
        state.delivered += 1;
        state.last_success_at = Some(at);
        (state.failures, state.failing_since, state.last_error) = (0, None, None);
        (state.next_try_at, state.open_entry) = (None, None);
        self.touch();
    }

    /// A message was not taken; the next try is due after `wait`, if there is to be one.
    pub(super) fn failed(
        &mut self,
        event: &Event,
        answer: &Answer,
        at: Time,
        next_try_at: Option<Time>,
    ) {
        let (entry, mut row) = self.entry(event, answer, at);
        row.next_try_at = next_try_at;
        self.open = Some((entry, row));
        let state = &mut self.state;
        state.failures = state.failures.saturating_add(1);
        state.failing_since.get_or_insert(at);
        state.last_error.clone_from(&answer.error);
        state.next_try_at = next_try_at;
        state.open_entry = Some(entry);
        state.stopped = next_try_at.is_none();
        self.touch();
    }

    /// The entry of this message after one more try: the one that is open, or a new one.
    fn entry(&mut self, event: &Event, answer: &Answer, at: Time) -> (u64, DeliveryV1) {
        let again = self.state.replay.is_some();
        let (entry, mut row) = match self.open.take() {
            Some((entry, row)) if row.number == event.number && row.again == again => (entry, row),
            other => {
                // It had its turn before a replay; it will have another one, as another entry.
                if let Some((entry, row)) = other {
                    self.fresh.push((entry, DeliveryV1 { next_try_at: None, ..row }));
                }
                self.state.last_entry += 1;
                (self.state.last_entry, opened(event, again, at))
            }
        };
        row.tries = row.tries.saturating_add(1);
        (row.at, row.status, row.next_try_at) = (at, answer.status, None);
        // A message that was taken at last still says what it met before.
        if answer.error.is_some() {
            row.error.clone_from(&answer.error);
        }
        row.duration_ms = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
        (entry, row)
    }

    /// When it is time to write, if there is anything to write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.changed_at.map(|since| since + WAITING_TIME)
    }

    /// Whether it is time to write.
    pub(super) fn is_due(&self) -> bool {
        self.fresh.len() >= WAITING_MAX || self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Whether anything is to be written, be it only the place after what was passed over.
    pub(super) fn is_open(&self) -> bool {
        self.changed_at.is_some() || self.passed > 0
    }

    /// What is to be written. Only the one who wrote last may write again.
    pub(super) fn set(&self) -> Result<ChangeSet> {
        let mut set = ChangeSet::new().put(
            state_row(&self.id),
            Expect::Revision(self.revision),
            encode(&self.state)?,
        );
        for (entry, row) in self.fresh.iter().chain(&self.open) {
            set = set.put(log_row(&self.id, *entry), Expect::Any, encode(row)?);
            if let Some(old) = entry.checked_sub(LOG_MAX) {
                set = set.delete(log_row(&self.id, old), Expect::Any);
            }
        }
        if let Some(order) = self.taken {
            set = set.delete(replay_row(&self.id), Expect::Revision(order));
        }
        Ok(set)
    }

    /// It was written.
    pub(super) fn written(&mut self, receipt: &Receipt) {
        self.revision = receipt.revisions.first().copied().unwrap_or(self.revision + 1);
        self.fresh.clear();
        (self.taken, self.changed_at, self.passed) = (None, None, 0);
    }
}

fn opened(event: &Event, again: bool, at: Time) -> DeliveryV1 {
    DeliveryV1 {
        number: event.number,
        event: event.event.clone(),
        subject: event.subject.clone(),
        delivered: false,
        again,
        tries: 0,
        first_at: at,
        at,
        status: None,
        error: None,
        duration_ms: 0,
        next_try_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::push::Verdict;
    use crate::kernel::records::{MemoryRecords, Scan};

    fn answer(verdict: Verdict) -> Answer {
        let error = (verdict != Verdict::Delivered).then(|| "it answered 500".to_owned());
        Answer { verdict, status: Some(500), error, took: Duration::ZERO, retry_after: None }
    }

    fn event(number: u64) -> Event {
        Event { number, ..Event::new("card.saved", "model/a/1", Time(0), serde_json::Value::Null) }
    }

    fn fresh(records: &MemoryRecords) -> Ledger {
        let state = encode(&ObserverStateV1::default()).unwrap();
        records.apply(ChangeSet::new().put(state_row("o"), Expect::Absent, state)).unwrap();
        Ledger::read(records, "o").unwrap().unwrap()
    }

    fn write(records: &MemoryRecords, ledger: &mut Ledger) {
        let receipt = records.apply(ledger.set().unwrap()).unwrap();
        ledger.written(&receipt);
    }

    fn entries(records: &MemoryRecords) -> Vec<(u64, u32, bool, bool)> {
        let rows = records.scan(&Scan::prefix("observer-log/o/")).unwrap();
        let row = |row: &crate::kernel::records::Row| {
            let row: DeliveryV1 = decode(&row.value).unwrap();
            (row.number, row.tries, row.delivered, row.again)
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn all_tries_of_a_message_are_one_entry_also_across_a_restart() {
        let records = MemoryRecords::new();
        let mut ledger = fresh(&records);
        for n in 0..3 {
            ledger.failed(&event(1), &answer(Verdict::Failed), Time(n), Some(Time(n + 1)));
            write(&records, &mut ledger);
        }
        let mut ledger = Ledger::read(&records, "o").unwrap().unwrap();
        assert_eq!((ledger.state.failures, ledger.state.failing_since), (3, Some(Time(0))));
        assert_eq!(ledger.position(), (0, None));
        ledger.delivered(&event(1), &answer(Verdict::Delivered), Time(9));
        write(&records, &mut ledger);
        assert_eq!(entries(&records), [(1, 4, true, false)]);
        let ledger = Ledger::read(&records, "o").unwrap().unwrap();
        assert_eq!((ledger.position(), ledger.state.failures), ((1, None), 0));
        assert!(!ledger.is_open());
    }

    #[test]
    fn the_log_keeps_the_newest_entries() {
        let records = MemoryRecords::new();
        let mut ledger = fresh(&records);
        for number in 1..=LOG_MAX + 7 {
            ledger.delivered(&event(number), &answer(Verdict::Delivered), Time(0));
            if number % 50 == 0 {
                write(&records, &mut ledger);
            }
        }
        write(&records, &mut ledger);
        let kept = entries(&records);
        assert_eq!((kept.len() as u64, kept[0].0), (LOG_MAX, 8));
    }

    #[test]
    fn an_order_to_tell_again_is_taken_in_once_and_orders_are_joined() {
        let records = MemoryRecords::new();
        let mut ledger = fresh(&records);
        for number in 1..=9 {
            ledger.delivered(&event(number), &answer(Verdict::Delivered), Time(0));
        }
        ledger.failed(&event(10), &answer(Verdict::Failed), Time(1), Some(Time(2)));
        write(&records, &mut ledger);
        let order = |after, to| {
            let order = encode(&ReplayV1 { after, to }).unwrap();
            records.apply(ChangeSet::new().put(replay_row("o"), Expect::Any, order)).unwrap();
        };
        order(4, 6);
        let mut ledger = Ledger::read(&records, "o").unwrap().unwrap();
        assert_eq!(ledger.position(), (4, Some(6)));
        ledger.delivered(&event(5), &answer(Verdict::Delivered), Time(3));
        // An order that was widened while the first is not written yet is not lost.
        order(4, 8);
        let lost = records.apply(ledger.set().unwrap()).unwrap_err();
        assert_eq!(lost.code(), "stale_revision");
        let mut ledger = Ledger::read(&records, "o").unwrap().unwrap();
        assert_eq!(ledger.position(), (4, Some(8)));
        ledger.delivered(&event(8), &answer(Verdict::Delivered), Time(3));
        ledger.end_replay();
        assert_eq!(ledger.position(), (9, None));
        write(&records, &mut ledger);
        assert!(records.get(&replay_row("o")).unwrap().is_none());
        ledger.delivered(&event(10), &answer(Verdict::Delivered), Time(4));
        write(&records, &mut ledger);
        let last: Vec<_> = entries(&records).split_off(9);
        assert_eq!(last, [(10, 1, false, false), (8, 1, true, true), (10, 1, true, false)]);
    }

    #[test]
    fn what_is_passed_over_is_not_written_for_itself() {
        let records = MemoryRecords::new();
        let mut ledger = fresh(&records);
        for number in 1..PASSED_MAX {
            ledger.pass(number);
        }
        assert_eq!((ledger.due(), ledger.is_open()), (None, true));
        ledger.pass(PASSED_MAX);
        assert!(ledger.due().is_some());
        write(&records, &mut ledger);
        assert_eq!(Ledger::read(&records, "o").unwrap().unwrap().state.cursor, PASSED_MAX);
    }
}
