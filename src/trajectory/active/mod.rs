//! What is written: frames of records, one behind the other, durable when that is acknowledged.

pub(super) mod batches;
pub(super) mod frame;
pub(super) mod index;
pub(super) mod patience;
pub(super) mod payload;
pub(super) mod poison;
pub(super) mod segment;
pub(super) mod writer;
