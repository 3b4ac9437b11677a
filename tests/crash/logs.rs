#![cfg(test)]
//! The log under `kill -9` while it takes records in, seals, puts together and forgets: what was
//! acknowledged is there once and in order, and a batch is there wholly or not at all.
//!
//! Each lane writes to a stream of its own, in batches of consecutive numbers under keys, and sends a
//! batch again whose answer was lost: it must be there once.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::start;
use crate::support::daemon::Daemon;
use crate::support::http::Http;
use crate::support::rng::Rng;
use crate::support::shim::{Class, Fault, Shim};
use crate::support::sync_walk::walk;
use crate::support::{number_from_env, pause};

/// So many threads write.
const LANES: usize = 4;

/// What a lane has written, and the batch whose answer it never saw.
#[derive(Default, Clone)]
struct Lane {
    acknowledged: u64,
    /// The first number, how many, and the key.
    open: Option<(u64, u64, String)>,
}

fn batch(lane: usize, first: u64, count: u64) -> String {
    let line = |number: u64| {
        let filler = "x".repeat(usize::try_from(number % 200).unwrap());
        json!({"message": format!("{number} of {count} {filler}"), "stream": format!("lane-{lane}"), "number": number, "first": first})
            .to_string()
    };
    (first..first + count).map(line).collect::<Vec<_>>().join("\n")
}

fn post(http: &Http, key: &str, body: &str) -> Option<u16> {
    let answer = http.with_retry_key(key).send(
        "POST",
        "/api/v1/logs",
        Some("application/x-ndjson"),
        body.as_bytes(),
    );
    Some(answer.ok()?.status)
}

/// Writes until the daemon is gone.
fn work(http: &Http, lane: usize, state: &mut Lane, rng: &mut Rng) {
    loop {
        let (first, count, key) = state.open.clone().unwrap_or_else(|| {
            let count = 1 + rng.below(60) as u64;
            let first = state.acknowledged;
            (first, count, format!("{lane}-{first}-{}", rng.next()))
        });
        state.open = Some((first, count, key.clone()));
        match post(http, &key, &batch(lane, first, count)) {
            Some(200) => {
                state.acknowledged = first + count;
                state.open = None;
            }
            Some(429) => pause(Duration::from_millis(5)),
            Some(status) => panic!("status {status}"),
            None => return,
        }
    }
}

/// Every record of a stream, in the order they came in.
fn records(http: &Http, lane: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/logs?stream=lane-{lane}&limit=1000&cursor={cursor}");
        let mut page = http.get(&path).unwrap().expect(200).json();
        assert_eq!(page["incomplete"], false);
        all.append(page["items"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    all.sort_by_key(|record| record["seq"].as_u64());
    all
}

/// What must hold of a lane; answers how many of its records there are.
fn check(http: &Http, lane: usize, state: &Lane, told: &str) -> u64 {
    let found = records(http, lane);
    for (at, record) in found.iter().enumerate() {
        assert_eq!(record["fields"]["number"], at as u64, "{told}, lane {lane}");
        let expected = format!("{at} of ");
        assert!(record["message"].as_str().unwrap().starts_with(&expected), "{told}, lane {lane}");
    }
    let there = found.len() as u64;
    let open = state.open.as_ref().map_or(0, |(_, count, _)| *count);
    let whole = there == state.acknowledged || there == state.acknowledged + open;
    assert!(
        whole,
        "{told}, lane {lane}: {} acknowledged, {open} on the way, {there} there",
        state.acknowledged
    );
    there
}

/// A fixed piece of work that seals and puts together; it ends early when the daemon is gone.
fn piece(http: &Http, lane: &mut Lane) -> Option<()> {
    for round in 0..14_u64 {
        let first = lane.acknowledged;
        let key = format!("piece-{round}");
        lane.open = Some((first, 40, key.clone()));
        let status = post(http, &key, &batch(0, first, 40))?;
        assert_eq!(status, 200);
        (lane.acknowledged, lane.open) = (first + 40, None);
    }
    Some(())
}

#[test]
fn killed_at_every_sync_nothing_acknowledged_is_lost_or_doubled() {
    let (origin, token) = start();
    origin.settings("[trajectory]\nsegment_bytes = \"4KiB\"\n");
    let count = {
        let home = origin.copy();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let daemon = home.serve_under(&shim).unwrap();
        piece(&daemon.http().with_token(&token), &mut Lane::default()).unwrap();
        // What is sealed and put together behind the last answer has syncs of its own.
        pause(Duration::from_millis(700));
        daemon.kill();
        shim.count(Class::Sync)
    };
    let mut killed = 0;
    for at in walk(count) {
        let home = origin.copy();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        let mut lane = Lane::default();
        match home.serve_under(&shim) {
            Ok(daemon) => {
                let done = piece(&daemon.http().with_token(&token), &mut lane);
                pause(Duration::from_millis(if done.is_some() { 700 } else { 0 }));
                daemon.kill();
                killed += usize::from(done.is_none());
            }
            Err(ended) => {
                assert_eq!(ended.status.signal(), Some(9), "sync {at}: {}", ended.log);
                killed += 1;
            }
        }
        let mut there = None;
        for _ in 0..2 {
            let daemon = home.serve();
            let found = check(
                &daemon.http().with_token(&token),
                0,
                &lane,
                &format!("sync {at} of {count}"),
            );
            assert_eq!(*there.get_or_insert(found), found, "sync {at}");
            daemon.kill();
        }
    }
    println!("killed at {killed} of {count} syncs, nothing lost or doubled");
    assert!(killed > 2, "only {killed} of {count} syncs were hit");
}

#[test]
fn killed_at_random_while_it_seals_nothing_acknowledged_is_lost_or_doubled() {
    let cycles = number_from_env("CRASH_CYCLES", 3);
    let seed = Rng::seed_from_env("CRASH_SEED");
    let mut rng = Rng::new(seed);
    // Small files, so that many are sealed and put together within a short life.
    let (home, token) = start();
    home.settings("[trajectory]\nsegment_bytes = \"64KiB\"\n");
    let lanes: Vec<Mutex<Lane>> = (0..LANES).map(|_| Mutex::default()).collect();
    for cycle in 1..=cycles {
        let daemon = home.serve();
        let http = |daemon: &Daemon| daemon.http().with_token(&token);
        let life = if cycle == 1 { 900 } else { 50 + rng.below(900) };
        std::thread::scope(|scope| {
            for (at, lane) in lanes.iter().enumerate() {
                let (mut rng, http) = (Rng::new(rng.next()), http(&daemon));
                scope.spawn(move || work(&http, at, &mut lane.lock().unwrap(), &mut rng));
            }
            pause(Duration::from_millis(life as u64));
            daemon.kill_now();
        });
        daemon.kill();
        let mut once = BTreeMap::new();
        for round in 0..2 {
            let daemon = home.serve();
            let told = format!("CRASH_SEED={seed}, cycle {cycle}, round {round}");
            for (at, lane) in lanes.iter().enumerate() {
                let state = lane.lock().unwrap().clone();
                let there = check(&http(&daemon), at, &state, &told);
                let before = *once.entry(at).or_insert(there);
                assert_eq!(before, there, "{told}: opened twice is not opened once");
            }
            daemon.kill();
        }
    }
    let acknowledged: u64 = lanes.iter().map(|lane| lane.lock().unwrap().acknowledged).sum();
    let sealed = std::fs::read_dir(home.data().join("trajectory/segments")).unwrap();
    let sealed = sealed.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().strip_suffix(".seg").is_some()
    });
    let sealed = sealed.count();
    println!(
        "{cycles} cycles: {acknowledged} records acknowledged, none lost, {sealed} sealed segments"
    );
    assert!(acknowledged > 100 && sealed > 0);
}
