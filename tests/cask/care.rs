//! Sweeping, expiring, verifying, and many writers at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drip::cask::{BucketSettings, Guard, PutOptions};
use drip::kernel::blobs::Blobs;
use drip::kernel::records::{ChangeSet, MemoryRecords, Receipt, Records, Row, Scan};
use drip::kernel::{Kind, Result};
use futures::StreamExt as _;

use super::{Store, ada, noise, parcel};

const HOUR: Duration = Duration::from_hours(1);

fn settings(max_bytes: Option<u64>, ttl: Option<&str>) -> BucketSettings {
    BucketSettings { max_bytes, ttl: ttl.map(str::to_owned), ..Default::default() }
}

fn read(store: &Store, bucket: &str, key: &str) -> bytes::Bytes {
    let found = store.cask.get(bucket, key).unwrap();
    futures::executor::block_on(found.bytes()).unwrap()
}

#[test]
fn equal_bytes_are_kept_once_and_go_with_their_last_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::over(Blobs::folder(folder.path()).unwrap());
    let bytes = noise(100_000, 1);
    store.put("models", "a", bytes.clone());
    store.put("cache", "b", bytes.clone());
    store.put("models", "a", noise(100_000, 2));
    store.later(2 * HOUR);
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 0);
    assert_eq!(read(&store, "cache", "b"), bytes);
    store.cask.delete(&ada(), "cache", "b", &Guard::None).unwrap();
    let swept = store.cask.sweep(HOUR).unwrap();
    assert_eq!((swept.removed, swept.bytes), (1, 100_000));
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 0);
    assert_eq!(read(&store, "models", "a"), noise(100_000, 2));
}

#[test]
fn what_a_refused_upload_left_goes_after_its_grace() {
    let store = Store::new();
    let mut options =
        PutOptions { sha256: Some(drip::kernel::Digest::of(b"other")), ..Default::default() };
    let bytes = bytes::Bytes::from(noise(100_000, 1));
    let refused = store.cask.put_now(&ada(), "models", "a", options.clone(), bytes.clone());
    assert_eq!(refused.unwrap_err().code(), "digest_mismatch");
    assert_eq!(store.cask.sweep(HOUR).unwrap().waiting, 1);
    store.later(2 * HOUR);
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 1);
    options.sha256 = None;
    store.cask.put_now(&ada(), "models", "a", options, bytes).unwrap();
    assert!(store.cask.verify(|_| {}).unwrap().damaged.is_empty());
}

#[test]
fn a_reader_finishes_while_its_object_is_deleted_and_swept() {
    let store = Store::new();
    let bytes = noise(20 << 20, 1);
    store.put("models", "a", bytes.clone());
    let found = store.cask.get("models", "a").unwrap();
    let size = found.size();
    let mut pieces = found.stream(0..size);
    let first = futures::executor::block_on(pieces.next()).unwrap().unwrap();
    store.cask.delete(&ada(), "models", "a", &Guard::None).unwrap();
    store.later(2 * HOUR);
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 0);
    let rest = futures::executor::block_on(pieces.next()).unwrap().unwrap();
    assert_eq!([first, rest].concat(), bytes);
    drop(pieces);
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 2);
}

/// Rows that let something happen right after the sweeper heard that nothing names a chunk.
#[derive(Default)]
struct Meddling {
    rows: MemoryRecords,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Records for Meddling {
    fn get(&self, key: &str) -> Result<Option<Row>> {
        self.rows.get(key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>> {
        let found = self.rows.scan(scan)?;
        if scan.prefix.starts_with("ref/") && found.is_empty() {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile();
            }
        }
        Ok(found)
    }

    fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        self.rows.apply(set)
    }
}

#[test]
fn a_chunk_that_is_named_right_after_the_sweeper_asked_stays() {
    let records = Arc::new(Meddling::default());
    let store = Store::with(records.clone(), Blobs::memory());
    store.put("models", "old", noise(40_000, 1));
    store.cask.delete(&ada(), "models", "old", &Guard::None).unwrap();
    store.later(2 * HOUR);
    let cask = store.cask.clone();
    *records.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let put = move || {
            let bytes = noise(40_000, 1).into();
            cask.put_now(&ada(), "models", "new", PutOptions::default(), bytes).unwrap();
        };
        std::thread::spawn(put).join().unwrap();
    }));
    let swept = store.cask.sweep(HOUR).unwrap();
    assert_eq!((swept.removed, swept.waiting), (0, 1));
    assert!(records.meanwhile.lock().unwrap().is_none(), "it did happen");
    assert_eq!(read(&store, "models", "new"), noise(40_000, 1));
    assert_eq!(store.cask.sweep(HOUR).unwrap().removed, 0);
}

#[test]
fn a_sweeper_never_takes_what_is_named() {
    let store = Store::new();
    store.later(2 * HOUR);
    let over = AtomicBool::new(false);
    // Four writers put and delete the same three contents under keys of their own, so chunks lose
    // their last name and get a new one all the time.
    std::thread::scope(|scope| {
        let write = |writer: usize| {
            let store = &store;
            scope.spawn(move || {
                for turn in 0..40 {
                    let key = format!("{writer}");
                    store.put("models", &key, noise(40_000, turn % 3));
                    assert_eq!(read(store, "models", &key), noise(40_000, turn % 3));
                    if turn % 2 == 0 {
                        store.cask.delete(&ada(), "models", &key, &Guard::None).unwrap();
                    }
                }
            })
        };
        let writers: Vec<_> = (0..4).map(write).collect();
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                store.cask.sweep(HOUR).unwrap();
                std::thread::yield_now();
            }
        });
        let ended: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(std::result::Result::is_ok));
    });
    let report = store.cask.verify(|_| {}).unwrap();
    assert_eq!((report.count, report.damaged), (4, Vec::new()));
    let bucket = store.cask.bucket("models").unwrap();
    assert_eq!((bucket.objects, bucket.used_bytes), (4, 160_000));
}

#[test]
fn racing_writers_cannot_pass_the_quota() {
    let store = Store::new();
    store.cask.save_bucket(&ada(), "small", &settings(Some(1000), None)).unwrap();
    let kept: usize = std::thread::scope(|scope| {
        let put = |writer: usize| {
            let store = &store;
            scope.spawn(move || {
                match store.try_put("small", &format!("k{writer}"), noise(100, 1)) {
                    Ok(_) => 1,
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Full);
                        0
                    }
                }
            })
        };
        let writers: Vec<_> = (0..32).map(put).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let used = store.cask.bucket("small").unwrap().used_bytes;
    assert_eq!(used, 100 * kept as u64);
    assert!((1..=10).contains(&kept), "{kept}");
    // Whatever a race refused for room that was only reserved, there is room for now.
    for n in kept..10 {
        store.put("small", &format!("later{n}"), noise(100, 1));
    }
    assert_eq!(store.try_put("small", "more", vec![1]).unwrap_err().code(), "quota_reached");
}

#[test]
fn two_writers_of_one_key_leave_one_whole_object() {
    let store = Store::new();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || store.put("models", "one", noise(40_000, writer)));
        }
    });
    let bytes = read(&store, "models", "one");
    assert!((0..8).any(|writer| bytes == noise(40_000, writer)));
    store.later(2 * HOUR);
    store.cask.sweep(HOUR).unwrap();
    assert_eq!(read(&store, "models", "one"), bytes);
    let bucket = store.cask.bucket("models").unwrap();
    assert_eq!((bucket.objects, bucket.used_bytes), (1, 40_000));
}

#[test]
fn a_bucket_that_is_written_to_is_not_deleted() {
    for _ in 0..20 {
        let store = Store::new();
        store.cask.save_bucket(&ada(), "mine", &settings(None, None)).unwrap();
        let (put, deleted) = std::thread::scope(|scope| {
            let put = scope.spawn(|| store.try_put("mine", "a", vec![1]));
            let delete = scope.spawn(|| store.cask.delete_bucket(&ada(), "mine"));
            (put.join().unwrap(), delete.join().unwrap())
        });
        assert!(put.is_ok() != deleted.is_ok(), "{put:?} {deleted:?}");
        assert_eq!(put.is_ok(), store.cask.get("mine", "a").is_ok());
    }
}

#[test]
fn objects_beyond_their_age_are_gone_and_then_removed() {
    let store = Store::new();
    store.cask.save_bucket(&ada(), "short", &settings(None, Some("2h"))).unwrap();
    store.put("short", "old", noise(40_000, 1));
    store.later(HOUR);
    store.put("short", "young", vec![2]);
    store.later(HOUR);
    assert_eq!(store.cask.get("short", "old").err().unwrap().code(), "object_not_found");
    let listing = drip::cask::Listing { limit: 10, ..Default::default() };
    let listed = store.cask.list("short", &listing).unwrap().0;
    assert_eq!(listed.items.len(), 1);
    assert!(store.try_put("short", "old", vec![3]).unwrap(), "as if it were new");
    store.later(HOUR);
    assert_eq!(store.cask.expire().unwrap(), 1);
    let bucket = store.cask.bucket("short").unwrap();
    assert_eq!((bucket.objects, bucket.used_bytes), (1, 1));
    assert_eq!(store.cask.tidy(HOUR).unwrap().swept.removed, 1);
}

#[test]
fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::over(Blobs::folder(folder.path()).unwrap());
    store.put("models", "good", noise(40_000, 1));
    store.put("models", "bad", noise(50_000, 2));
    store.put("models", "inline", vec![1, 2, 3]);
    store.cask.push_now(&ada(), "p", "1.0.0", parcel("p", "1.0.0").into()).unwrap();
    let mut seen = 0;
    let clean = store.cask.verify(|_| seen += 1).unwrap();
    assert_eq!((clean.count, clean.damaged.len(), seen), (4, 0, 4));
    let found = store.cask.get("models", "bad").unwrap();
    let digest = found.sha256().to_hex();
    let (shard, rest) = digest.split_at(2);
    let path = folder.path().join(shard).join(rest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = store.cask.verify(|_| {}).unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].owner, "object/models/bad");
    assert_eq!(report.damaged[0].code, "damaged_blob");
}

#[test]
fn what_was_acknowledged_is_there_after_a_new_start() {
    let store = Store::new();
    store.put("models", "a", noise(40_000, 1));
    store.cask.push_now(&ada(), "p", "1.0.0", parcel("p", "1.0.0").into()).unwrap();
    let again = drip::cask::Cask::open(drip::cask::Parts {
        records: store.records.clone(),
        blobs: store.blobs.clone(),
        clock: store.clock.clone(),
        bus: store.bus.clone(),
        listener: None,
    })
    .unwrap();
    assert_eq!(again.get("models", "a").unwrap().size(), 40_000);
    assert_eq!(again.package("p", "latest").unwrap().item.version, "1.0.0");
    assert_eq!(again.buckets(None, 100).unwrap().len(), 5);
}
