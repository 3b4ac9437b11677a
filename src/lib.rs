//! Drip carries an algorithm through its whole life on one machine.

#[cfg(feature = "atom")]
pub mod atom;
#[cfg(feature = "dashare")]
pub mod dashare;
pub mod kernel;
