#![cfg(test)]
//! The power goes at every sync of a cask: put, assembled, copied, moved, deleted, kept in versions,
//! pushed, swept. On each image the cask opens, holds what it held before the step or after it, and
//! every byte that it names is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drip::cask::package::{Metadata, Parcel, Section};
use drip::cask::{
    BucketSettings, Cask, CopyOptions, Guard, Listing, PART_MIN, Parts, Place, PutOptions,
};
use drip::kernel::access::{Caller, Role};
use drip::kernel::blobs::Blobs;
use drip::kernel::clock::ManualClock;
use drip::kernel::records::RedbRecords;
use drip::kernel::{Bus, Result, Time, wait_for};

use crate::support::number_from_env;
use crate::support::rng::Rng;
use crate::support::sim_disk::{Keeps, SimDisk};
use crate::support::sim_objects::{Puts, SimObjects};

/// What a cask holds: every object, version and package with its digest.
type Held = BTreeMap<String, String>;

struct World {
    cask: Cask,
}

fn ada() -> Caller {
    Caller::new("ada", Role::Publisher)
}

impl World {
    fn open(disk: &SimDisk, puts: Puts) -> Result<Self> {
        let records = RedbRecords::with_backend(disk.open("records/rows.redb"))?;
        // The simulated store's files are as old as the world; so nothing is spared for its youth.
        let clock = ManualClock::at(Time::from(chrono::DateTime::UNIX_EPOCH));
        clock.advance(Duration::from_hours(1));
        let cask = Cask::open(Parts {
            records: Arc::new(records),
            blobs: Blobs::over(Arc::new(SimObjects::new(disk, "chunks", puts))),
            clock,
            bus: Bus::new(),
            listener: None,
        })?;
        Ok(Self { cask })
    }

    fn held(&self) -> Held {
        let mut held = Held::new();
        for bucket in ["models", "kept"] {
            let listing = Listing { limit: 1000, ..Listing::default() };
            // The second one is made by the first step.
            let Ok((list, _)) = self.cask.versions(bucket, &listing) else { continue };
            for item in list.items {
                let object = item.object;
                let age = if item.is_latest { "now" } else { object.version.as_str() };
                held.insert(format!("{bucket}/{}/{age}", object.key), object.sha256.to_hex());
            }
        }
        for package in self.cask.packages("", None, 1000).unwrap() {
            held.insert(format!("package/{}", package.name), package.sha256.to_hex());
        }
        held
    }

    fn damaged(&self) -> usize {
        self.cask.verify(|_| {}).unwrap().damaged.len()
    }

    /// One step, which may be refused: what it names may not be there.
    fn step(&self, at: usize, rng: &mut Rng) {
        let bucket = ["models", "kept"][rng.below(2)];
        let key = format!("k{}", rng.below(3));
        // A few contents come again, so that chunks are shared and swept ones return.
        let content = Rng::new(rng.below(3) as u64).bytes([2000, 40_000][rng.below(2)]);
        let place = |bucket: &str, key: &str| Place::new(bucket, key);
        let other = format!("k{}", rng.below(3));
        let how = CopyOptions::default();
        let _either: Result<()> = match rng.below(12) {
            0..=2 => self.put(bucket, &key, content),
            3 => self.assemble(bucket, &key, rng),
            4..=5 => {
                let to = place("kept", &other);
                self.cask.copy(&ada(), &place(bucket, &key), &to, &how).map(drop)
            }
            6..=7 => {
                let to = place("models", &other);
                self.cask.relocate(&ada(), &place(bucket, &key), &to, &how).map(drop)
            }
            8..=9 => self.cask.delete(&ada(), bucket, &key, &Guard::None),
            10 => self.push(at),
            _ => self.cask.sweep(Duration::ZERO).map(drop),
        };
    }

    fn put(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<()> {
        let options = PutOptions::default();
        self.cask.put_now(&ada(), bucket, key, options, content.into()).map(drop)
    }

    fn assemble(&self, bucket: &str, key: &str, rng: &mut Rng) -> Result<()> {
        let options = PutOptions::default;
        let upload = self.cask.begin_upload(&ada(), bucket, key, &options())?;
        let first = Rng::new(7).bytes(usize::try_from(PART_MIN).unwrap());
        for (number, bytes) in [(1, first), (2, rng.bytes(40_000))] {
            let once = futures::stream::iter([Ok(Bytes::from(bytes))]);
            wait_for(self.cask.put_part(&upload, number, options(), once))?;
        }
        let parts = [(1, None), (2, None)];
        wait_for(self.cask.complete(&ada(), &upload, &parts, Guard::None)).map(drop)
    }

    fn push(&self, at: usize) -> Result<()> {
        let name = format!("p{at}");
        let mut parcel = Parcel::new(Metadata::new(name.as_str(), "1.0.0"));
        parcel.add_bytes(Section::Objects, "m", Rng::new(at as u64).bytes(40_000))?;
        self.cask.push_now(&ada(), &name, "1.0.0", parcel.to_bytes()?.into()).map(drop)
    }
}

/// Works and looks at an image of every sync; answers how many there were, and how many of them named
/// bytes that were not there.
fn under_power_cuts(puts: Puts, seed: u64) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new();
    let world = World::open(&disk, puts).unwrap();
    disk.sync_folder("records").unwrap();
    let kept = BucketSettings { versions: Some(2), ..BucketSettings::default() };
    world.cask.save_bucket(&ada(), "kept", &kept).unwrap();
    disk.take_images(seed);
    let (mut images, mut dangling) = (0, 0);
    let mut before = world.held();
    for at in 0..16 {
        world.step(at, &mut rng);
        assert_eq!(world.damaged(), 0, "the running process reads everything");
        let after = world.held();
        let mut taken = disk.images();
        taken.push(disk.crash(Keeps::Nothing, &mut rng));
        for image in taken {
            let found = World::open(&image.disk, puts).unwrap();
            let held = found.held();
            assert!(held == before || held == after, "seed {seed}, step {at}: {held:?}");
            images += 1;
            dangling += usize::from(found.damaged() > 0);
        }
        before = after;
    }
    (images, dangling)
}

#[test]
fn a_cask_never_names_bytes_that_are_not_there() {
    for seed in 0..number_from_env("CRASH_SEEDS", 4) as u64 {
        let (images, dangling) = under_power_cuts(Puts::Durable, seed);
        assert!(images > 20, "only {images} images were looked at");
        assert_eq!(dangling, 0, "seed {seed}");
    }
}

/// The proof that the test above can fail: the same work over puts that do not sync.
#[test]
fn a_cask_over_puts_that_do_not_sync_is_found_out() {
    let dangling: usize = (0..4).map(|seed| under_power_cuts(Puts::Lossy, seed).1).sum();
    assert!(dangling > 0);
}
