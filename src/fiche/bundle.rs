//! Many cards at once: all or none, as NDJSON out, as NDJSON in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::draft::{CARD_MAX_BYTES, CARD_MAX_DEPTH, CardDraft, read_json};
use super::error;
use super::kinds::Kinds;
use super::model::{Conditions, Outcome, Saved};
use super::plan::Plan;
use crate::kernel::access::Caller;
use crate::kernel::feed::Idempotency;
use crate::kernel::{Error, Fault, Result};

use super::{Fiche, Replayed, Written};

/// How many cards one batch may have.
pub const BATCH_MAX: usize = 10_000;
/// How many lines of an import become durable together.
const IMPORT_STEP: usize = 500;
/// How many refused lines are told of one by one.
const REJECTED_MAX: usize = 1000;

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Batch {
    /// The cards as they stand now, in the order they were sent.
    pub items: Vec<Value>,
    /// How many were new.
    pub created: usize,
    /// How many had other content.
    pub updated: usize,
    /// How many were as they were.
    pub unchanged: usize,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many lines hold a card that now stands as the line says.
    pub accepted: usize,
    /// How many of them were new.
    pub created: usize,
    /// How many had other content.
    pub updated: usize,
    /// How many were as they were.
    pub unchanged: usize,
    /// How many lines were refused.
    pub refused: usize,
    /// The refused lines; the first thousand, where there are more.
    pub rejected: Vec<Rejected>,
}

/// A line of an import that is no card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which line, counted from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
    /// Every fault in it.
    pub errors: Vec<Fault>,
}

/// Reads the body of a batch: an array, or an object with `items` or `cards`. Every fault of every
/// card is named, with its place in the array in front.
pub(super) fn read_batch(kinds: &Kinds, body: Value) -> Result<Vec<CardDraft>> {
    let items = match body {
        Value::Array(items) => Some(items),
        Value::Object(mut fields) => {
            match fields.remove("items").or_else(|| fields.remove("cards")) {
                Some(Value::Array(items)) => Some(items),
                _ => None,
            }
        }
        _ => None,
    };
    let items = items.ok_or_else(|| {
        error::bad_card(vec![Fault::new(
            "",
            "a batch is an array of cards, or an object with `items`",
        )])
    })?;
    if items.len() > BATCH_MAX {
        let why = format!("has {} cards and may have {BATCH_MAX}", items.len());
        return Err(error::bad_card(vec![Fault::new("", why)]));
    }
    let mut faults = Vec::new();
    let mut drafts = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        match CardDraft::read(item, None, kinds) {
            Ok(draft) => drafts.push(draft),
            Err(refused) => faults.extend(placed(at, &refused)),
        }
    }
    if faults.is_empty() {
        return Ok(drafts);
    }
    faults.truncate(1000);
    Err(error::bad_card(faults))
}

/// The faults of one card of a batch, with its place in front; a refusal without faults is one.
fn placed(at: usize, refused: &Error) -> Vec<Fault> {
    if refused.faults().is_empty() {
        return vec![Fault::new(format!("/{at}"), refused.detail())];
    }
    let place = |fault: &Fault| Fault::new(format!("/{at}{}", fault.pointer), &fault.detail);
    refused.faults().iter().map(place).collect()
}

impl Batch {
    fn add(&mut self, saved: &Saved) {
        match saved.outcome {
            Outcome::Created => self.created += 1,
            Outcome::Updated => self.updated += 1,
            Outcome::Unchanged => self.unchanged += 1,
        }
        self.items.push(saved.card.document());
    }
}

impl Fiche {
    /// Saves many cards, all or none.
    pub fn batch(
        &self,
        caller: &Caller,
        drafts: &[CardDraft],
        retry: Option<&Idempotency>,
    ) -> Result<Replayed> {
        self.write(caller, retry, |plan| {
            let mut batch = Batch::default();
            for (at, draft) in drafts.iter().enumerate() {
                let saved = plan
                    .save(draft, Conditions::default(), false)
                    .map_err(|refused| in_batch(at, draft, refused))?;
                batch.add(&saved);
            }
            Ok(batch)
        })?
        .into_answer()
    }

    /// Takes in NDJSON, one card a line, with the stages they have. Good lines are kept whatever
    /// stands in the others; taking the same in again changes nothing.
    pub fn import(
        &self,
        caller: &Caller,
        ndjson: &[u8],
        retry: Option<&Idempotency>,
    ) -> Result<Replayed> {
        if let Some(answer) = self.answered(retry)? {
            return Written::<Imported>::Before(answer).into_answer();
        }
        let mut done = Imported::default();
        let lines = ndjson.split(|byte| *byte == b'\n').enumerate();
        let mut lines = lines
            .map(|(at, line)| (at + 1, line.trim_ascii()))
            .filter(|(_, line)| !line.is_empty())
            .peekable();
        loop {
            let mut step = Vec::with_capacity(IMPORT_STEP);
            while step.len() < IMPORT_STEP {
                let Some((number, line)) = lines.next() else {
                    break;
                };
                match read_json(line, CARD_MAX_BYTES * 2, CARD_MAX_DEPTH)
                    .and_then(|card| self.draft(card))
                {
                    Ok(draft) => step.push(draft),
                    Err(refused) => done.reject(number, &refused),
                }
            }
            let is_last = lines.peek().is_none();
            // The answer is remembered with the last step: a retry after a crash begins anew, and
            // finds the steps that were done as they should be.
            let written = self.write(caller, retry.filter(|_| is_last), |plan| {
                import_step(plan, &step, done.clone())
            })?;
            match written {
                Written::Now(so_far) if !is_last => done = so_far,
                end => return end.into_answer(),
            }
        }
    }
}

fn import_step(plan: &mut Plan<'_>, step: &[CardDraft], mut done: Imported) -> Result<Imported> {
    for draft in step {
        let saved = plan.save(draft, Conditions::default(), true)?;
        done.accepted += 1;
        match saved.outcome {
            Outcome::Created => done.created += 1,
            Outcome::Updated => done.updated += 1,
            Outcome::Unchanged => done.unchanged += 1,
        }
    }
    Ok(done)
}

impl Imported {
    /// Takes over what another import did.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
        self.rejected.extend(other.rejected);
    }

    fn reject(&mut self, line: usize, refused: &Error) {
        self.refused += 1;
        if self.rejected.len() < REJECTED_MAX {
            self.rejected.push(Rejected {
                line,
                reason: refused.detail().to_owned(),
                errors: refused.faults().to_vec(),
            });
        }
    }
}

fn in_batch(at: usize, draft: &CardDraft, refused: Error) -> Error {
    let faults = placed(at, &refused);
    Error::new(refused.kind(), refused.code(), refused.detail())
        .context(format!("nothing was saved: card {at} (`{}`)", draft.key()))
        .with_faults(faults)
}
