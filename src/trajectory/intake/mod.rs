//! From what clients send to records.

pub(super) mod json;
pub(super) mod line;
pub(super) mod outcome;
pub(super) mod time;
#[cfg(feature = "http")]
pub(super) mod unpack;
