//! What was sent, what failed, and what waits.

use super::format::{DeliveryV1, log_of, log_row, reference};
use super::model::{Delivery, DeliveryState};
use super::store::{must_find, state_of, wants};
use crate::fiche::Fiche;
use crate::fiche::which::Which;
use crate::kernel::feed::{self, Event};
use crate::kernel::format::decode;
use crate::kernel::records::{Records, Scan};
use crate::kernel::{Name, Result};

/// How many events are read at a time.
const PAGE: usize = 1000;

impl Fiche {
    /// Up to `limit + 1` entries of an observer's log, newest first, before entry `before`; those in
    /// `state` alone, if one is given. What waits to be sent is no entry yet: it comes in the order of
    /// the feed, after number `before`.
    pub fn deliveries(
        &self,
        name: &Name,
        state: Option<DeliveryState>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let records = self.records().as_ref();
        let row = must_find(records, name.as_str())?.row;
        if state == Some(DeliveryState::Pending) {
            let books = state_of(records, self.office(), &row.id)?;
            // A message that failed is no longer one that was not tried.
            let failed = match books.open_entry {
                Some(entry) => records.get(&log_row(&row.id, entry))?,
                None => None,
            };
            let failed = failed.map(|row| decode::<DeliveryV1>(&row.value)).transpose()?;
            let after = before.unwrap_or(books.cursor).max(books.cursor);
            let failed = failed.map(|row| row.number);
            return waiting(records, &row.which(), after, failed, limit);
        }
        entries(records, &row.id, state, before, limit)
    }
}

fn entries(
    records: &dyn Records,
    id: &str,
    state: Option<DeliveryState>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Delivery>> {
    let mut scan = Scan::prefix(log_of(id)).reverse();
    scan.after = before.map(|entry| log_row(id, entry));
    let mut found = Vec::new();
    for row in records.scan(&scan)? {
        let kept: DeliveryV1 = decode(&row.value)?;
        let delivery = kept.read(entry_number(&row.key));
        if state.is_none_or(|state| delivery.state == state) {
            found.push(delivery);
        }
        if found.len() > limit {
            break;
        }
    }
    Ok(found)
}

fn entry_number(key: &str) -> u64 {
    crate::kernel::records::log_number(key).unwrap_or(0)
}

fn waiting(
    records: &dyn Records,
    which: &Which,
    mut after: u64,
    failed: Option<u64>,
    limit: usize,
) -> Result<Vec<Delivery>> {
    let mut found = Vec::new();
    loop {
        let events = feed::read(records, after, PAGE)?;
        let Some(last) = events.last() else {
            return Ok(found);
        };
        after = last.number;
        for event in events {
            if Some(event.number) == failed || !wants(records, which, event.clone())? {
                continue;
            }
            found.push(pending(event));
            if found.len() > limit {
                return Ok(found);
            }
        }
    }
}

fn pending(event: Event) -> Delivery {
    Delivery {
        entry: None,
        number: event.number,
        card: reference(&event.subject),
        event: event.event,
        state: DeliveryState::Pending,
        tries: 0,
        first_at: None,
        at: None,
        status: None,
        error: None,
        duration_ms: None,
        next_try_at: None,
        again: false,
    }
}
