#![cfg(test)]
//! Group commit: many writers, one durable transaction, and no answer before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drip::kernel::records::{ChangeSet, Expect, Records, RedbRecords, Scan};
use drip::kernel::{Kind, Result};

use crate::support::pause;
use crate::support::rng::Rng;
use crate::support::sim_disk::{Call, Keeps, SimDisk};

const WRITERS: usize = 16;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn open(disk: &SimDisk) -> Arc<RedbRecords> {
    let store = RedbRecords::with_backend(disk.open("records/rows.redb")).unwrap();
    disk.sync_folder("records").unwrap();
    Arc::new(store)
}

fn put(store: &dyn Records, key: &str) -> Result<()> {
    let set = ChangeSet::new().put(key, Expect::Absent, b"value".to_vec());
    store.apply(set).map(drop)
}

fn keys(disk: &SimDisk) -> Vec<String> {
    let store = RedbRecords::with_backend(disk.open("records/rows.redb")).unwrap();
    let rows = store.scan(&Scan::default()).unwrap();
    rows.into_iter().map(|row| row.key).collect()
}

/// What a power cut right now would leave.
fn durable(disk: &SimDisk) -> Vec<String> {
    keys(&disk.crash(Keeps::Nothing, &mut Rng::new(1)).disk)
}

/// Has every writer put its row while `during` runs; answers what each was told.
fn write_all(
    store: &Arc<RedbRecords>,
    told: &AtomicUsize,
    during: impl FnOnce(),
) -> Vec<Result<()>> {
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let begun = &begun;
                scope.spawn(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let answer = put(store.as_ref(), &format!("row/{writer:02}"));
                    told.fetch_add(1, Ordering::SeqCst);
                    answer
                })
            })
            .collect();
        while begun.load(Ordering::SeqCst) < WRITERS {
            std::thread::yield_now();
        }
        during();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn no_writer_is_answered_before_its_commit_is_durable() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let syncs = disk.syncs();
    disk.hold_syncs();
    let told = AtomicUsize::new(0);
    let answers = write_all(&store, &told, || {
        disk.wait_for_held_sync();
        // Time for one who does not wait to show itself.
        pause(Duration::from_millis(100));
        assert_eq!(told.load(Ordering::SeqCst), 0, "answered while the sync was held");
        assert_eq!(durable(&disk), [""; 0]);
        disk.release_syncs();
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let all: Vec<_> = (0..WRITERS).map(|n| format!("row/{n:02}")).collect();
    assert_eq!(durable(&disk), all, "acknowledged is durable");
    let paid = disk.syncs() - syncs;
    assert!(paid < WRITERS as u64, "{paid} syncs for {WRITERS} writers: none was shared");
}

#[test]
fn a_failed_sync_answers_everyone_with_an_error_and_closes_the_door() {
    for forever in [false, true] {
        let disk = SimDisk::new();
        let store = open(&disk);
        put(store.as_ref(), "before").unwrap();
        disk.hold_syncs();
        disk.fail(Call::Sync, 0, EIO, forever);
        let told = AtomicUsize::new(0);
        let answers = write_all(&store, &told, || {
            disk.wait_for_held_sync();
            disk.release_syncs();
        });
        let refused: Vec<_> = answers.into_iter().map(Result::unwrap_err).collect();
        assert!(refused.iter().all(|e| e.kind() == Kind::Unavailable), "{refused:?}");
        let later = put(store.as_ref(), "later").unwrap_err();
        assert_eq!((later.kind(), later.code()), (Kind::Unavailable, "store_closed"));
        assert_eq!(store.health().unwrap_err().code(), "store_closed");
        assert!(store.get("before").unwrap().is_some(), "reading goes on");
        for (seed, keeps) in [(1, Keeps::Nothing), (2, Keeps::Any), (3, Keeps::All)] {
            let image = disk.crash(keeps, &mut Rng::new(seed));
            let found = keys(&image.disk);
            assert!(found.contains(&"before".to_owned()), "{keeps:?}: {found:?}");
            assert!(!found.contains(&"later".to_owned()), "{keeps:?}: {found:?}");
        }
    }
}

#[test]
fn a_full_disk_refuses_and_keeps_what_was_acknowledged() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(store.as_ref(), "before").unwrap();
    disk.fail(Call::Write, 0, ENOSPC, true);
    let refused = put(store.as_ref(), "refused").unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Full, "disk_full"));
    assert!(put(store.as_ref(), "again").is_err());
    assert_eq!(durable(&disk), ["before"]);
    drop(store);
    assert_eq!(durable(&disk), ["before"]);
}
