//! Drip carries an algorithm through its whole life on one machine.

#[cfg(feature = "cask")]
pub mod cask;
pub mod kernel;
