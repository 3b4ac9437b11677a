#[cfg(feature = "cask")]
mod cask;
//! Every integration test, linked once.
#![cfg(test)]

#[cfg(feature = "trajectory")]
mod trajectory;
