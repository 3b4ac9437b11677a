//! What two slices need, or it moves back into the one that does. Small, boring, shared; it knows
//! no slice.

pub mod access;
pub mod blobs;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
pub mod disk;
pub mod error;
pub mod events;
pub mod feed;
pub mod fields;
pub mod format;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "mongo", feature = "cli"))]
pub mod mongo;
pub mod name;
#[cfg(feature = "client")]
pub mod push;
pub mod records;
#[cfg(feature = "script")]
pub mod script;
pub mod spool;
#[cfg(feature = "table")]
pub mod table;
pub mod work;

pub use clock::{Clock, SystemClock, Time};
pub use error::{Error, Fault, Kind, Result};
pub use events::Bus;
pub use feed::Event;
pub use name::{Digest, Name, ObjectKey};
pub use work::{off_thread, off_thread_or_here, wait_for};
