//! The log, through its handle and its routes.

mod disk;
mod durability;
mod follow;
mod queries;
#[cfg(feature = "http")]
mod routes;
#[cfg(feature = "script")]
mod scripts;
mod sealed;

use std::sync::Arc;

use drip::kernel::clock::ManualClock;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Result, Time};
use drip::trajectory::{Config, Disk, Kept, Level, Parts, Query, Record, Trajectory};

use disk::SimDisk;

/// 2014-03-30T01:00:00Z.
const NOW: Time = Time(1_396_141_200_000_000);

/// A log on a simulated disk, with a clock that stands still.
struct Rig {
    disk: SimDisk,
    records: SharedRecords,
    clock: Arc<ManualClock>,
    config: Config,
}

impl Rig {
    fn new() -> Self {
        Self::on(SimDisk::default())
    }

    fn on(disk: SimDisk) -> Self {
        Self {
            disk,
            records: Arc::new(MemoryRecords::new()),
            clock: ManualClock::at(NOW),
            config: Config { seals: false, ..Config::default() },
        }
    }

    fn small_segments(mut self) -> Self {
        self.config.segment_bytes = 120;
        self
    }

    fn open(&self) -> Result<Trajectory> {
        Trajectory::open(Parts {
            disk: Arc::new(self.disk.clone()) as Arc<dyn Disk>,
            records: self.records.clone(),
            clock: self.clock.clone(),
            config: self.config.clone(),
        })
    }
}

fn record(n: i64, message: &str) -> Record {
    Record::new(Time(NOW.0 + n), Level::Info, "default", message)
}

fn query(pairs: &[(&str, &str)]) -> Query {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Query::from_pairs(&pairs).unwrap()
}

/// Every record that is there, in the order they came in.
fn all(log: &Trajectory) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = log.query(&query(&[("limit", "1000"), ("cursor", &cursor)])).unwrap();
        kept.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = next,
            None => break,
        }
    }
    kept.sort_by_key(|kept| kept.seq);
    kept
}

fn messages(log: &Trajectory) -> Vec<String> {
    all(log).into_iter().map(|kept| kept.record.message).collect()
}
