//! MongoDB as a place that others read and write: its documents as JSON, and a connection that waits
//! for nothing for ever and shows no password. What Drip keeps of its own there is
//! [`records`](super::records).

#[cfg(feature = "mongo")]
pub mod bson;
pub mod extended;
#[cfg(feature = "mongo")]
mod server;

#[cfg(feature = "mongo")]
pub use server::{Mongo, Password};

use super::error::{Error, Kind};

/// Whether a source is the URL of a MongoDB.
pub fn is_url(source: &str) -> bool {
    source.starts_with("mongodb://") || source.starts_with("mongodb+srv://")
}

/// What a document of MongoDB says that cannot be read.
pub fn damaged(why: impl std::fmt::Display) -> Error {
    Error::invalid("bad_document", format!("the document cannot be read: {why}"), Vec::new())
}

/// What a build without MongoDB says of its URL; `instead` is what to do.
pub fn not_built(instead: &str) -> Error {
    let detail = format!("this build leaves MongoDB out: {instead}");
    Error::new(Kind::Usage, "mongo_not_built", detail)
}
