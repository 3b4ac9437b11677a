//! Every integration test, linked once.
#![cfg(test)]

#[cfg(all(feature = "http", feature = "redb"))]
mod access;
mod architecture;
#[cfg(feature = "atom")]
mod atom;
#[cfg(feature = "cask")]
mod cask;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod cli;
mod crash;
#[cfg(feature = "dashare")]
mod dashare;
#[cfg(feature = "fiche")]
mod fiche;
mod kernel;
#[cfg(feature = "liquid")]
mod liquid;
#[cfg(all(feature = "demo", feature = "web"))]
mod real;
#[cfg(all(feature = "demo", feature = "redb"))]
mod story;
mod support;
#[cfg(feature = "trajectory")]
mod trajectory;

/// The tests run under the memory meter, as the program does.
#[cfg(feature = "script")]
#[global_allocator]
static METERED: drip::kernel::script::MeteredAllocator =
    drip::kernel::script::MeteredAllocator::new();
