//! Drip carries an algorithm through its whole life on one machine.

#[cfg(feature = "http")]
pub mod app;
#[cfg(feature = "atom")]
pub mod atom;
#[cfg(feature = "cask")]
pub mod cask;
#[cfg(all(feature = "cli", feature = "http"))]
pub mod cli;
#[cfg(feature = "dashare")]
pub mod dashare;
#[cfg(feature = "fiche")]
pub mod fiche;
pub mod kernel;
#[cfg(feature = "liquid")]
pub mod liquid;
#[cfg(feature = "http")]
pub mod server;
#[cfg(feature = "trajectory")]
pub mod trajectory;
#[cfg(feature = "web")]
pub mod web;

/// The library's own tests run under the memory meter, as the program does.
#[cfg(all(test, feature = "script"))]
#[global_allocator]
static METERED: kernel::script::MeteredAllocator = kernel::script::MeteredAllocator::new();
