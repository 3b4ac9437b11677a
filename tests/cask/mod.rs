//! Cask from outside: through its handle, its routes, and its package format.

#![cfg(test)]

mod archives;
mod care;
#[cfg(feature = "cli")]
mod commands;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_packages;
#[cfg(feature = "http")]
mod objects;
mod packages;
#[cfg(feature = "script")]
mod script;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drip::cask::package::{Metadata, Parcel, Section};
use drip::cask::{Cask, PackageInfo, PackageListener, Parts};
use drip::kernel::access::{Caller, Role};
use drip::kernel::blobs::Blobs;
use drip::kernel::clock::ManualClock;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Bus, Clock as _, Error, Kind, Result, SystemClock};

/// A cask in memory and what a test may want to reach into.
struct Store {
    cask: Cask,
    records: SharedRecords,
    blobs: Blobs,
    clock: Arc<ManualClock>,
    bus: Bus,
    heard: Arc<Heard>,
}

/// Remembers packages, and refuses them when told to.
#[derive(Default)]
struct Heard {
    packages: Mutex<Vec<PackageInfo>>,
    refuse: Mutex<bool>,
}

impl PackageListener for Heard {
    fn pushed(&self, _caller: &Caller, package: &PackageInfo) -> Result<()> {
        if *self.refuse.lock().unwrap() {
            return Err(Error::new(Kind::Unavailable, "no_cards", "the cards are away"));
        }
        self.packages.lock().unwrap().push(package.clone());
        Ok(())
    }
}

impl Store {
    fn new() -> Self {
        Self::over(Blobs::memory())
    }

    fn over(blobs: Blobs) -> Self {
        Self::with(Arc::new(MemoryRecords::new()), blobs)
    }

    fn with(records: SharedRecords, blobs: Blobs) -> Self {
        // Chunks carry the machine's own time.
        let clock = ManualClock::at(SystemClock.now());
        let heard = Arc::new(Heard::default());
        let bus = Bus::new();
        let cask = Cask::open(Parts {
            records: records.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            bus: bus.clone(),
            listener: Some(heard.clone()),
        })
        .unwrap();
        Self { cask, records, blobs, clock, bus, heard }
    }

    fn put(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) {
        self.try_put(bucket, key, bytes).unwrap();
    }

    fn try_put(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) -> Result<bool> {
        let options = drip::cask::PutOptions::default();
        let kept = self.cask.put_now(&ada(), bucket, key, options, bytes.into())?;
        Ok(kept.created)
    }

    fn later(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn ada() -> Caller {
    Caller::new("ada", Role::Publisher)
}

/// Bytes that do not repeat, so that no two chunks are equal.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u8::try_from(state >> 56).unwrap()
        })
        .collect()
}

fn parcel(name: &str, version: &str) -> Vec<u8> {
    let metadata = Metadata {
        summary: format!("the summary of {name}"),
        requires: vec!["power-curve@1.0.0".into()],
        ..Metadata::new(name, version)
    };
    let mut parcel = Parcel::new(metadata);
    let script = format!("fn main() {{ \"{name}\" }}").into_bytes();
    parcel.add_bytes(Section::Scripts, "main.rhai", script).unwrap();
    parcel.add_bytes(Section::Objects, "deep/model.bin", noise(50_000, 7)).unwrap();
    parcel.to_bytes().unwrap()
}
