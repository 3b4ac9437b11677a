#![cfg(test)]
//! The power goes at every sync of a workload: what was acknowledged is there, what was not is there
//! wholly or not at all, and a recovery that is itself cut short changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use drip::kernel::blobs::{BlobRef, Blobs, Written};
use drip::kernel::records::{ChangeSet, Expect, Records, RedbRecords, Row, Scan};
use drip::kernel::{Digest, Time};

use crate::support::number_from_env;
use crate::support::rng::Rng;
use crate::support::sim_disk::{Image, Keeps, SimDisk};
use crate::support::sim_objects::{Puts, SimObjects};

type Rows = BTreeMap<String, (u64, Vec<u8>)>;

fn open(disk: &SimDisk) -> RedbRecords {
    RedbRecords::with_backend(disk.open("records/rows.redb")).unwrap()
}

fn rows(store: &dyn Records) -> Rows {
    let row = |row: Row| (row.key, (row.revision, row.value));
    store.scan(&Scan::default()).unwrap().into_iter().map(row).collect()
}

/// A store on a new disk, its name durable.
fn new_store(disk: &SimDisk) -> RedbRecords {
    let store = open(disk);
    disk.sync_folder("records").unwrap();
    store
}

fn any_set(rng: &mut Rng) -> ChangeSet {
    let mut set = ChangeSet::new();
    for _ in 0..=rng.below(4) {
        let key = format!("row/{}", rng.below(12));
        set = if rng.percent(25) {
            set.delete(key, Expect::Any)
        } else {
            let size = [0, 20, 600, 9000][rng.below(4)];
            set.put(key, Expect::Any, rng.bytes(size))
        };
    }
    if rng.percent(50) {
        set = set.append("feed", rng.bytes(40));
    }
    set
}

/// Opens an image, answers its rows, and shows that they are the same after a recovery that was cut
/// at each of its own syncs.
fn recover(image: &Image, seed: u64) -> Rows {
    image.disk.take_images(seed);
    let store = open(&image.disk);
    let once = rows(&store);
    drop(store);
    for cut in image.disk.images() {
        assert_eq!(rows(&open(&cut.disk)), once, "recovered twice");
    }
    assert_eq!(rows(&open(&image.disk)), once, "opened again");
    once
}

#[test]
fn records_hold_at_every_sync() {
    let mut images = 0;
    for seed in 0..number_from_env("CRASH_SEEDS", 4) as u64 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new();
        let store = new_store(&disk);
        disk.take_images(seed);
        let mut before = rows(&store);
        for step in 0..25 {
            store.apply(any_set(&mut rng)).unwrap();
            let after = rows(&store);
            let acknowledged = [Keeps::Nothing, Keeps::Any].map(|k| disk.crash(k, &mut rng));
            for image in disk.images() {
                let found = recover(&image, rng.next());
                let whole = found == before || found == after;
                let (keeps, syncs) = (image.keeps, image.syncs);
                assert!(whole, "seed {seed}, step {step}, {keeps:?}, sync {syncs}");
                images += 1;
            }
            for image in acknowledged {
                let found = recover(&image, rng.next());
                assert_eq!(found, after, "seed {seed}, step {step}, {:?}", image.keeps);
                images += 1;
            }
            before = after;
        }
    }
    assert!(images > 200, "only {images} images were looked at");
}

/// Records and the bytes they name, on one disk: the order between the two is what is tested.
struct Shelf {
    records: RedbRecords,
    blobs: Blobs,
}

impl Shelf {
    fn open(disk: &SimDisk, puts: Puts) -> Self {
        Self {
            records: open(disk),
            blobs: Blobs::over(std::sync::Arc::new(SimObjects::new(disk, "chunks", puts))),
        }
    }

    async fn keep(&self, key: &str, bytes: Vec<u8>) {
        let written: Written = self.blobs.put(bytes.into()).await.unwrap();
        let row = bincode::encode_to_vec(&written.blob, bincode::config::standard()).unwrap();
        let set = ChangeSet::new().put(key, Expect::Any, row);
        self.records.apply(set).unwrap();
    }

    fn named(&self) -> BTreeMap<String, BlobRef> {
        let blob = |row: &Row| {
            bincode::decode_from_slice(&row.value, bincode::config::standard()).unwrap().0
        };
        self.records
            .scan(&Scan::default())
            .unwrap()
            .iter()
            .map(|row| (row.key.clone(), blob(row)))
            .collect()
    }

    /// What each key's blob is, and how many of them cannot be read whole.
    async fn verify(&self) -> (BTreeMap<String, Digest>, usize) {
        let mut digests = BTreeMap::new();
        let mut broken = 0;
        for (key, blob) in self.named() {
            broken += usize::from(self.blobs.verify(&blob).await.is_err());
            digests.insert(key, blob.digest);
        }
        (digests, broken)
    }

    async fn sweep(&self) {
        let named: Vec<Digest> =
            self.named().values().flat_map(|blob| blob.chunks().collect::<Vec<_>>()).collect();
        let later = Time::from(chrono::DateTime::UNIX_EPOCH).after(Duration::from_mins(1));
        let is_named = |digest| Ok(named.contains(&digest));
        let swept = self.blobs.sweep(is_named, later, Duration::ZERO).await;
        swept.unwrap();
    }
}

/// Works on a shelf and looks at an image of every sync; answers how many images there were and how
/// many of them had a row whose bytes were not there.
async fn shelf_under_power_cuts(puts: Puts, seed: u64) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new();
    let shelf = Shelf::open(&disk, puts);
    disk.sync_folder("records").unwrap();
    disk.take_images(seed);
    let (mut images, mut dangling) = (0, 0);
    let (mut before, _) = shelf.verify().await;
    for _ in 0..12 {
        let key = format!("blob/{}", rng.below(4));
        if rng.percent(30) {
            let set = ChangeSet::new().delete(key, Expect::Any);
            shelf.records.apply(set).unwrap();
            shelf.sweep().await;
        } else {
            // A few contents come again, so that chunks are shared and swept ones return.
            let content = Rng::new(rng.below(3) as u64).bytes(40_000);
            shelf.keep(&key, content).await;
        }
        let (after, broken) = shelf.verify().await;
        assert_eq!(broken, 0, "the running process reads everything");
        let mut taken = disk.images();
        taken.push(disk.crash(Keeps::Nothing, &mut rng));
        for image in taken {
            let (found, broken) = Shelf::open(&image.disk, puts).verify().await;
            assert!(found == before || found == after, "seed {seed}");
            images += 1;
            dangling += usize::from(broken > 0);
        }
        before = after;
    }
    (images, dangling)
}

#[tokio::test]
async fn a_row_never_names_bytes_that_are_not_there() {
    for seed in 0..number_from_env("CRASH_SEEDS", 4) as u64 {
        let (images, dangling) = shelf_under_power_cuts(Puts::Durable, seed).await;
        assert!(images > 20, "only {images} images were looked at");
        assert_eq!(dangling, 0, "seed {seed}");
    }
}

/// The proof that the test above can fail: the same work over puts that do not sync.
#[tokio::test]
async fn puts_that_do_not_sync_are_found_out() {
    let (_, dangling) = shelf_under_power_cuts(Puts::Lossy, 1).await;
    assert!(dangling > 0);
}
