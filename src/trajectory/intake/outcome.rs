//! What became of a batch: how much was taken, and why the rest was not.

use serde::{Deserialize, Serialize};

use super::json::Take;
use super::line::Line;

/// So many rejected records are listed; the others are counted.
pub(crate) const REJECTED_LISTED: usize = 1000;

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Rejected {
    /// Which one, counted from 0; blank lines do not count.
    pub index: u64,
    /// Why.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Ingested {
    /// How many records were taken, those that their stream filters out included.
    pub accepted: u64,
    /// Those that were not.
    pub rejected: Vec<Rejected>,
    /// How many more were not, beyond those listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_rejected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Ingested {
    /// How many were not taken.
    pub(crate) fn refused(&self) -> u64 {
        self.rejected.len() as u64 + self.more_rejected
    }

    /// Counts one record, and hands it on if it is good.
    pub(crate) fn note(&mut self, parsed: Result<Line<'_>, String>, take: &mut Take<'_>) {
        match parsed {
            Ok(line) => {
                self.accepted += 1;
                take(line);
            }
            Err(reason) if self.rejected.len() < REJECTED_LISTED => {
                let index = self.accepted + self.refused();
                self.rejected.push(Rejected { index, reason });
            }
            Err(_) => self.more_rejected += 1,
        }
    }
}
