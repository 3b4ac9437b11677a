//! Drip carries an algorithm through its whole life on one machine.

pub mod kernel;
#[cfg(feature = "http")]
pub mod server;
