//! What an import did, collection by collection: a table for people, one object for machines.

use serde::Serialize;

use crate::fiche::old::merge::{Collection, Rejected, Tally};
use crate::kernel::cli::Output;
use crate::kernel::{Error, Kind, Result};

/// How many refused documents people are shown; machines get them all.
const SHOWN: usize = 20;

/// What became of one collection's documents. What was read is the sum of all that became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) collection: &'static str,
    pub(super) read: usize,
    /// Cards that now stand as they did there: new ones and changed ones.
    pub(super) taken: usize,
    pub(super) created: usize,
    pub(super) updated: usize,
    pub(super) unchanged: usize,
    /// Older documents of the same cards.
    pub(super) merged: usize,
    pub(super) rejected: usize,
    /// Observers: Drip notifies none that has no address.
    pub(super) left: usize,
}

impl Row {
    pub(super) fn new(collection: Collection, tally: Tally) -> Self {
        Self {
            collection: collection.name,
            read: tally.read,
            merged: tally.merged,
            rejected: tally.rejected,
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, created: usize, updated: usize, unchanged: usize) {
        self.taken += created + updated;
        self.created += created;
        self.updated += updated;
        self.unchanged += unchanged;
    }
}

/// The whole import.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where from, without a password.
    source: String,
    /// Whether nothing was saved.
    dry_run: bool,
    pub(super) collections: Vec<Row>,
    pub(super) rejected: Vec<Rejected>,
}

impl Report {
    pub(super) fn new(source: String, dry_run: bool) -> Self {
        Self { source, dry_run, collections: Vec::new(), rejected: Vec::new() }
    }

    pub(super) fn show(&self, out: Output) -> Result<()> {
        if out.is_json() {
            return out.object(self);
        }
        out.line(&format!("from {}", self.source))?;
        let fields =
            ["collection", "read", "created", "updated", "unchanged", "merged", "rejected"];
        out.rows(&self.collections, &fields, "none of the collections is there")?;
        if self.collections.iter().any(|row| row.left > 0) {
            let left: usize = self.collections.iter().map(|row| row.left).sum();
            out.line(&format!(
                "observers that were left: {left}; those of 0.1 have no address that could be notified"
            ))?;
        }
        for Rejected { collection, id, reason, errors } in self.rejected.iter().take(SHOWN) {
            out.line(&format!("{} {id}: {reason}", out.bold(collection)))?;
            // A single fault is part of the sentence already.
            for fault in errors.iter().filter(|_| errors.len() > 1) {
                out.line(&format!("  {}: {}", fault.pointer, fault.detail))?;
            }
        }
        let more = self.count().saturating_sub(SHOWN);
        if more > 0 {
            out.line(&format!("and {more} documents more; --json tells of each"))?;
        }
        if self.dry_run { out.line("nothing was saved") } else { Ok(()) }
    }

    /// Refused documents stop nothing, and are no success either.
    pub(super) fn outcome(&self) -> Result<()> {
        let count = self.count();
        if count == 0 {
            return Ok(());
        }
        let rest = if self.dry_run { "the others can be" } else { "the others were taken" };
        Err(Error::new(
            Kind::Invalid,
            "documents_refused",
            format!("{count} documents are no cards that Drip can hold; {rest}"),
        ))
    }

    fn count(&self) -> usize {
        self.collections.iter().map(|row| row.rejected).sum()
    }
}
