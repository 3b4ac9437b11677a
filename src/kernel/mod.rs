//! What two slices need, or it moves back into the one that does. Small, boring, shared; it knows
//! no slice.

pub mod clock;
pub mod error;
pub mod format;
pub mod name;
#[cfg(feature = "table")]
pub mod table;

pub use clock::{Clock, Time};
pub use error::{Error, Fault, Kind, Result};
pub use name::{Digest, Name, ObjectKey};
