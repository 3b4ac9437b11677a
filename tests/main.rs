//! The behaviour tests, in one binary.

#![cfg(test)]

#[cfg(all(feature = "atom", feature = "http"))]
mod atom;
#[cfg(all(feature = "dashare", feature = "http", feature = "sql"))]
mod dashare;
