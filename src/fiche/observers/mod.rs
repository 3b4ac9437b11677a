//! Observers: others who are told of changes by push, from the moment they are made.
//!
//! An observer is a row; a courier of its own ([`courier`]) follows the feed for it, in order, and
//! posts what it wants to hear of. How far it has come is a row, too, written at most every fifth of a
//! second ([`ledger`]): after a crash the last few messages may be sent again, and none is left out.
//! A receiver that is dead or slow keeps its own courier waiting and no other.
//!
//! Couriers run on one thread with a runtime of its own, which is there only while there are
//! observers. They hold no handle of fiche, so they end with it.

mod courier;
mod draft;
mod format;
mod ledger;
mod log;
mod model;
mod office;
mod store;

pub use draft::{ObserverDraft, SECRET_MAX_BYTES};
pub use model::{Delivery, DeliveryState, Observer, Redelivery, Standing, Status};
pub(super) use office::Office;
pub use store::OBSERVERS_MAX;
