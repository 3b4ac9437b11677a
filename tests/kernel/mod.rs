#![cfg(test)]
//! The kernel through its front door.

mod blobs_model;
#[cfg(feature = "redb")]
mod group_commit;
#[cfg(feature = "redb")]
pub(crate) mod records_model;
