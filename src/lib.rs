//! Drip carries an algorithm through its whole life on one machine.

#[cfg(feature = "fiche")]
pub mod fiche;
pub mod kernel;
