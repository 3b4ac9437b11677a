//! From what clients send to records.

#[cfg(feature = "http")]
pub(super) mod form;
pub(super) mod json;
pub(super) mod line;
#[cfg(feature = "http")]
pub(super) mod loki;
#[cfg(feature = "http")]
pub(super) mod otlp;
pub(super) mod outcome;
#[cfg(feature = "http")]
mod protobuf;
#[cfg(feature = "http")]
mod python;
pub(super) mod syslog;
pub(super) mod time;
#[cfg(feature = "http")]
pub(super) mod unpack;
