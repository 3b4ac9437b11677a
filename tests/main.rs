//! The integration tests, in one binary.

#[cfg(all(feature = "fiche", feature = "http"))]
mod fiche;
