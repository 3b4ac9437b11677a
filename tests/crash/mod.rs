#![cfg(test)]
//! What must survive a crash: of the stores on a disk that loses, of the daemon under `kill -9` and
//! under a disk that fails.

#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod accounts;
#[cfg(all(feature = "cli", feature = "http", feature = "redb", feature = "fiche"))]
mod cards;
#[cfg(all(feature = "cli", feature = "http", feature = "redb", feature = "fiche"))]
mod catalogue;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod daemon;
#[cfg(all(feature = "demo", feature = "redb"))]
mod demo;
#[cfg(all(feature = "cli", feature = "http", feature = "redb", feature = "trajectory"))]
mod logs;
#[cfg(all(feature = "cli", feature = "s3", feature = "redb"))]
mod objects;
#[cfg(feature = "redb")]
mod power;
#[cfg(all(feature = "cask", feature = "redb"))]
mod power_objects;
#[cfg(all(
    feature = "cli",
    feature = "http",
    feature = "liquid",
    feature = "redb",
    feature = "trajectory"
))]
mod runs;
#[cfg(all(feature = "cli", feature = "fiche", feature = "http", feature = "redb"))]
mod upstream;
