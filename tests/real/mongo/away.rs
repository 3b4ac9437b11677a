#![cfg(test)]
//! The server is killed, or hangs, while many write: callers are told so in bounded time, nothing
//! that was acknowledged is lost, nothing that was refused is there, and the same store goes on when
//! the server is back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drip::kernel::Kind;
use drip::kernel::records::{ChangeSet, Expect, Records, SharedRecords};

use super::{feed, open, told};
use crate::support::mongo::MongoServer;
use crate::support::{pause, real_venv};

const WRITERS: usize = 4;
/// The longest that one call may take: a group that waits for its fate, and the one behind it.
const BOUND: Duration = Duration::from_secs(40);

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was acknowledged, with this number.
    Written(u64),
    /// It was said that nothing was written.
    Refused,
    /// It was said that it is not known.
    Unknown,
}

/// Writers that go on until they are told to end.
struct Load {
    written: AtomicUsize,
    refused: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    fn write(&self, store: &dyn Records, writer: usize) -> Vec<(String, Fate)> {
        let mut fates = Vec::new();
        for n in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let key = format!("{writer}/{n}");
            let start = Instant::now();
            let fate = match store.apply(told(&key)) {
                Ok(receipt) => {
                    self.written.fetch_add(1, Ordering::SeqCst);
                    Fate::Written(receipt.numbers[0])
                }
                Err(error) => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
                    // A client waits before it comes back.
                    pause(Duration::from_millis(50));
                    match error.code() {
                        "outcome_unknown" => Fate::Unknown,
                        _ => Fate::Refused,
                    }
                }
            };
            assert!(start.elapsed() < BOUND, "{key}: {:?}", start.elapsed());
            fates.push((key, fate));
        }
        fates
    }
}

/// Waits until a count has grown; answers how long it took.
fn wait(count: &AtomicUsize, more: usize, within: Duration) -> Duration {
    let (start, goal) = (Instant::now(), count.load(Ordering::SeqCst) + more);
    while count.load(Ordering::SeqCst) < goal {
        assert!(start.elapsed() < within, "{more} more took longer than {within:?}");
        pause(Duration::from_millis(5));
    }
    start.elapsed()
}

/// Has many write while `trouble` happens to their server; answers what became of every key.
fn under_load(store: &SharedRecords, trouble: impl FnOnce(&Load)) -> Vec<(String, Fate)> {
    let load = Load {
        written: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let load = &load;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || load.write(store.as_ref(), writer)))
            .collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trouble(load)));
        load.is_over.store(true, Ordering::SeqCst);
        let fates = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        fates
    })
}

/// The feed tells of each acknowledged key under its number, of no refused one, and of none twice.
fn check(store: &dyn Records, fates: &[(String, Fate)]) {
    let feed = feed(store);
    let mut keys = feed.clone();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), feed.len(), "a set was written twice");
    let counts = |wanted: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| wanted(fate)).count();
    println!(
        "{} written, {} refused, {} unknown",
        counts(|fate| matches!(fate, Fate::Written(_))),
        counts(|fate| *fate == Fate::Refused),
        counts(|fate| *fate == Fate::Unknown)
    );
    for (key, fate) in fates {
        match fate {
            Fate::Written(number) => {
                let at = usize::try_from(*number).unwrap() - 1;
                assert_eq!(feed.get(at), Some(key), "acknowledged as {number}");
                assert!(store.get(key).unwrap().is_some(), "{key} was acknowledged");
            }
            Fate::Refused => {
                assert!(!feed.contains(key), "{key} was refused and is there");
                assert_eq!(store.get(key).unwrap(), None, "{key} was refused and is there");
            }
            Fate::Unknown => {
                assert_eq!(store.get(key).unwrap().is_some(), feed.contains(key), "{key} is torn");
            }
        }
    }
}

fn wait_for_health(store: &dyn Records, is_good: bool) -> String {
    let start = Instant::now();
    loop {
        match store.health() {
            Ok(()) if is_good => return String::new(),
            Err(error) if !is_good => {
                assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "store_away"));
                return error.detail().to_owned();
            }
            _ => {}
        }
        assert!(start.elapsed() < Duration::from_secs(15), "health: still not {is_good}");
        pause(Duration::from_millis(20));
    }
}

#[test]
fn a_server_killed_under_load_loses_nothing_and_the_store_goes_on() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = MongoServer::start(&venv);
    let store = open(&server, "killed");
    let fates = under_load(&store, |load| {
        for _ in 0..3 {
            wait(&load.written, 150, Duration::from_mins(1));
            server.kill();
            wait(&load.refused, WRITERS, BOUND);
            let why = wait_for_health(store.as_ref(), false);
            assert!(why.contains(&server.address()), "{why}");
            let start = Instant::now();
            store.get("0/0").unwrap_err();
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
            server.start_again();
            let back = wait(&load.written, 20, Duration::from_secs(30));
            println!("writing again {back:?} after the start");
        }
    });
    wait_for_health(store.as_ref(), true);
    check(store.as_ref(), &fates);
}

#[test]
fn a_server_that_hangs_is_told_of_in_bounded_time_and_the_store_goes_on() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = MongoServer::start(&venv);
    let store = open(&server, "held");
    let fates = under_load(&store, |load| {
        for _ in 0..2 {
            wait(&load.written, 100, Duration::from_mins(1));
            server.hold();
            let told = wait(&load.refused, WRITERS, BOUND);
            let start = Instant::now();
            assert!(!wait_for_health(store.as_ref(), false).is_empty());
            println!(
                "told after {told:?}, {:?} more until it is known to be away",
                start.elapsed()
            );
            server.go_on();
            let back = wait(&load.written, 20, Duration::from_secs(30));
            println!("writing again {back:?} after it went on");
        }
    });
    wait_for_health(store.as_ref(), true);
    check(store.as_ref(), &fates);
}

#[test]
fn a_batch_cut_off_by_a_kill_is_wholly_there_or_wholly_absent() {
    const ROWS: usize = 4_000;
    let Some(venv) = real_venv("mongo") else { return };
    let server = MongoServer::start(&venv);
    let store = open(&server, "batch");
    for round in 0..4_u64 {
        let batch = (0..ROWS).fold(ChangeSet::new(), |set, n| {
            set.put(format!("{round}/{n:05}"), Expect::Absent, vec![1; 100])
        });
        let outcome = std::thread::scope(|scope| {
            let writing = scope.spawn(|| store.apply(batch.append("feed", b"batch".to_vec())));
            pause(Duration::from_millis(100 + 200 * round));
            server.kill();
            server.start_again();
            writing.join().unwrap()
        });
        wait_for_health(store.as_ref(), true);
        let found = store.count(&format!("{round}/")).unwrap();
        println!("round {round}: {:?}, {found} rows", outcome.as_ref().map(|r| &r.numbers));
        match outcome {
            Ok(_) => assert_eq!(found, ROWS as u64),
            Err(error) if error.code() == "outcome_unknown" => {
                assert!(found == 0 || found == ROWS as u64, "{found}");
            }
            Err(error) => assert_eq!((error.kind(), found), (Kind::Unavailable, 0), "{error}"),
        }
    }
    feed(store.as_ref());
}
