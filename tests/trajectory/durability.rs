//! What the log promises of what it acknowledged.

use std::time::Duration;

use drip::kernel::feed::Idempotency;
use drip::kernel::{Digest, Kind, Time};
use drip::trajectory::{Level, Record};

use super::disk::{Dice, SimDisk};
use super::{NOW, Rig, all, messages, query, record};

const FIRST: &str = "00000000000000000001.log";

fn retry(key: &str, body: &str) -> Idempotency {
    Idempotency { key: key.into(), request: Digest::of(body.as_bytes()) }
}

#[test]
fn what_was_acknowledged_is_there_after_opening_again() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let mut full = Record {
        module: Some("pitch".into()),
        file: Some("pitch.rs".into()),
        line: Some(7),
        run_id: Some("r1".into()),
        ..record(0, "a")
    };
    full.fields.insert("turbine".into(), "R80711".into());
    let receipt = log.append(vec![full.clone(), record(1, "b")]).unwrap();
    assert_eq!((receipt.first_seq, receipt.count), (1, 2));
    log.append(vec![record(2, &"long ".repeat(2000))]).unwrap();
    drop(log);
    let log = rig.open().unwrap();
    let kept = all(&log);
    assert_eq!(kept[0].record, full);
    assert_eq!(kept.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log.append(vec![record(3, "c")]).unwrap().first_seq, 4);
    assert!(log.check().unwrap().is_empty());
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_opening_twice_is_opening_once() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let mut ends = Vec::new();
    for message in ["one", "two", "three"] {
        log.append(vec![record(0, message), record(1, message)]).unwrap();
        ends.push(rig.disk.bytes(FIRST).len());
    }
    drop(log);
    let whole = rig.disk.bytes(FIRST);
    for cut in ends[0]..whole.len() {
        let rig = Rig::on(rig.disk.with(FIRST, whole[..cut].to_vec()));
        let frames = ends.iter().filter(|end| **end <= cut).count();
        let expected = &["one", "one", "two", "two", "three", "three"][..frames * 2];
        let log = rig.open().unwrap();
        assert_eq!(messages(&log), expected, "cut at {cut}");
        assert_eq!(log.stats().dropped_bytes, (cut - ends[frames - 1]) as u64);
        assert!(log.damage().is_empty());
        drop(log);
        let once = rig.disk.bytes(FIRST);
        let log = rig.open().unwrap();
        assert_eq!(
            (messages(&log), log.stats().dropped_bytes),
            (expected.iter().map(ToString::to_string).collect(), 0)
        );
        assert_eq!(rig.disk.bytes(FIRST), once);
        log.append(vec![record(2, "more")]).unwrap();
        assert_eq!(messages(&log).last().unwrap(), "more");
    }
}

#[test]
fn every_flipped_byte_is_detected_and_the_rest_is_served() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    for n in 0..3 {
        log.append(vec![record(n, &format!("message {n}"))]).unwrap();
    }
    log.rotate().unwrap();
    drop(log);
    let whole = rig.disk.bytes(FIRST);
    let sound = messages(&rig.open().unwrap());
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        // With its index, and where the index has to be made again from what is there.
        let index = FIRST.replace(".log", ".idx");
        let disk = rig.disk.with(FIRST, flipped);
        for disk in [disk.copy(), disk.without(&index)] {
            let rig = Rig::on(disk);
            let log = rig.open().unwrap();
            assert!(!log.check().unwrap().is_empty(), "byte {at}");
            let served = messages(&log);
            assert!(served.iter().all(|message| sound.contains(message)), "byte {at}");
            assert!(served.len() >= 2, "byte {at}");
            let page = log.query(&query(&[])).unwrap();
            assert_eq!(page.incomplete, served.len() < 3, "byte {at}");
            assert_eq!(log.append(vec![record(9, "more")]).unwrap().count, 1);
        }
    }
}

#[test]
fn damage_in_the_last_segment_is_kept_apart_and_told_each_time() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    for message in ["one", "two", "three"] {
        log.append(vec![record(0, message)]).unwrap();
    }
    drop(log);
    let mut bytes = rig.disk.bytes(FIRST);
    let second = 64 + (bytes.len() - 64) / 3;
    bytes[second + 45] ^= 1;
    let rig = Rig::on(rig.disk.with(FIRST, bytes.clone()));
    let mut told = Vec::new();
    for _ in 0..3 {
        let log = rig.open().unwrap();
        assert_eq!(messages(&log)[..2], ["one", "three"]);
        told.push(log.damage());
        assert_eq!(log.stats().dropped_bytes, 0);
        assert_eq!(log.append(vec![record(1, "more")]).unwrap().count, 1);
        drop(log);
        assert_eq!(rig.disk.bytes(FIRST), bytes, "nothing is written behind damage");
    }
    assert_eq!(told[0].len(), 1);
    assert_eq!((&told[0], &told[0]), (&told[1], &told[2]));
}

#[test]
fn a_lost_header_sets_the_segment_aside_and_numbers_go_on() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    log.append(vec![record(0, "one")]).unwrap();
    drop(log);
    let mut bytes = rig.disk.bytes(FIRST);
    bytes[..64].fill(0);
    let rig = Rig::on(rig.disk.with(FIRST, bytes));
    for _ in 0..2 {
        let log = rig.open().unwrap();
        assert_eq!(log.damage().len(), 1);
        assert!(log.append(vec![record(0, "new")]).unwrap().first_seq > 1 << 32);
    }
    assert!(rig.disk.names().iter().any(|name| name.ends_with(".damaged")));
}

#[test]
fn a_newer_segment_is_refused_untouched() {
    let rig = Rig::new();
    drop(rig.open().unwrap());
    let mut bytes = rig.disk.bytes(FIRST);
    for copy in [0, 32] {
        bytes[copy + 8] = 9;
        let crc = crc32c::crc32c(&bytes[copy..copy + 28]);
        bytes[copy + 28..copy + 32].copy_from_slice(&crc.to_le_bytes());
    }
    let rig = Rig::on(rig.disk.with(FIRST, bytes.clone()));
    assert_eq!(rig.open().unwrap_err().kind(), Kind::Newer);
    assert_eq!(rig.disk.bytes(FIRST), bytes);
}

#[test]
fn nobody_is_answered_before_the_sync_and_one_sync_answers_many() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    rig.disk.hold_syncs(true);
    let before = rig.disk.syncs();
    let (sender, answers) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (log, sender) = (log.clone(), sender.clone());
            scope.spawn(move || sender.send(log.append(vec![record(n, "x")])).unwrap());
        }
        rig.disk.wait_for_sync();
        assert!(answers.recv_timeout(Duration::from_millis(30)).is_err());
        assert!(messages(&log).is_empty(), "what is not durable is not shown");
        rig.disk.hold_syncs(false);
        for _ in 0..16 {
            answers.recv().unwrap().unwrap();
        }
    });
    let syncs = rig.disk.syncs() - before;
    assert!((1..16).contains(&syncs), "{syncs} syncs for 16 appends");
    assert_eq!(all(&log).len(), 16);
}

#[test]
fn more_than_may_wait_is_refused_and_told_when_to_come_again() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    rig.disk.hold_syncs(true);
    let (sender, answers) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| log.append(vec![record(0, "first")]).unwrap());
        rig.disk.wait_for_sync();
        for _ in 0..2 {
            let (log, sender) = (log.clone(), sender.clone());
            scope.spawn(move || {
                let many = (0..40_000).map(|n| record(n, "")).collect();
                sender.send(log.append(many)).unwrap();
            });
        }
        let refused = answers.recv().unwrap().unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (Kind::Limited, "log_queue_full"));
        assert!(refused.wait().is_some());
        rig.disk.hold_syncs(false);
        assert_eq!(answers.recv().unwrap().unwrap().count, 40_000);
    });
}

#[test]
fn after_a_failed_sync_nothing_is_taken_until_it_is_opened_anew() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    log.append(vec![record(0, "kept")]).unwrap();
    rig.disk.fail_syncs(true);
    let failed = log.append(vec![record(1, "lost")]).unwrap_err();
    assert_eq!((failed.kind(), failed.code()), (Kind::Unavailable, "log_closed"));
    rig.disk.fail_syncs(false);
    assert_eq!(log.append(vec![record(2, "x")]).unwrap_err().code(), "log_closed");
    assert_eq!(log.health().unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(messages(&log), ["kept"], "reading goes on");
    drop(log);
    let log = Rig::on(rig.disk.crash(3)).open().unwrap();
    assert_eq!(messages(&log)[0], "kept");
    log.append(vec![record(3, "again")]).unwrap();
}

#[test]
fn a_full_disk_refuses_a_batch_whole_and_goes_on_when_there_is_space() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    log.append(vec![record(0, "before")]).unwrap();
    for space in 0..60 {
        rig.disk.set_space(Some(space));
        let full = log.append(vec![record(1, "refused")]).unwrap_err();
        assert_eq!((full.kind(), full.kind().status()), (Kind::Full, 507));
    }
    assert_eq!(messages(&log), ["before"]);
    rig.disk.set_space(None);
    log.append(vec![record(2, "after")]).unwrap();
    drop(log);
    let log = rig.open().unwrap();
    assert_eq!(messages(&log), ["before", "after"]);
    assert!(log.check().unwrap().is_empty());
    assert_eq!(log.stats().dropped_bytes, 0);
}

#[test]
fn a_full_disk_at_rotation_leaves_the_old_segment_in_use() {
    let rig = Rig::new().small_segments();
    let log = rig.open().unwrap();
    let mut written = Vec::new();
    for n in 0..40 {
        rig.disk.set_space(if n % 3 == 0 { Some(140) } else { None });
        if log.append(vec![record(n, &format!("m{n}"))]).is_ok() {
            written.push(format!("m{n}"));
        }
        rig.disk.set_space(None);
    }
    assert_eq!(messages(&log), written);
    assert!(log.stats().segments > 2);
    drop(log);
    assert_eq!(messages(&rig.open().unwrap()), written);
}

#[test]
fn a_batch_that_is_sent_again_is_kept_once_also_after_opening_again() {
    let rig = Rig::new();
    let body = "{\"msg\":\"a\"}\nbad\n{\"msg\":\"b\"}";
    let again = retry("ada/1", body);
    let log = rig.open().unwrap();
    let first = log.ingest(body.as_bytes(), Some(&again)).unwrap();
    assert_eq!((first.accepted, first.rejected.len()), (2, 1));
    assert_eq!(log.ingest(body.as_bytes(), Some(&again)).unwrap(), first);
    let other = log.ingest(b"{\"msg\":\"c\"}", Some(&retry("ada/1", "c"))).unwrap_err();
    assert_eq!(other.code(), "idempotency_key_reused");
    drop(log);
    // From the frames, from the index, and from the frames of a segment that lost its index.
    let log = rig.open().unwrap();
    assert_eq!(log.ingest(body.as_bytes(), Some(&again)).unwrap(), first);
    log.rotate().unwrap();
    drop(log);
    let index = FIRST.replace(".log", ".idx");
    assert!(rig.disk.names().contains(&index));
    for disk in [rig.disk.copy(), rig.disk.without(&index)] {
        let log = Rig::on(disk).open().unwrap();
        assert_eq!(log.ingest(body.as_bytes(), Some(&again)).unwrap(), first);
        assert_eq!(messages(&log), ["a", "b"]);
    }
    rig.clock.advance(Duration::from_hours(25));
    let log = rig.open().unwrap();
    log.ingest(body.as_bytes(), Some(&again)).unwrap();
    assert_eq!(messages(&log).len(), 4, "after a day it is a new batch");
}

#[test]
fn a_batch_that_failed_is_not_remembered() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let body = "{\"msg\":\"a\"}";
    rig.disk.set_space(Some(10));
    assert_eq!(
        log.ingest(body.as_bytes(), Some(&retry("k", body))).unwrap_err().kind(),
        Kind::Full
    );
    rig.disk.set_space(None);
    log.ingest(body.as_bytes(), Some(&retry("k", body))).unwrap();
    assert_eq!(messages(&log), ["a"]);
}

#[test]
fn segments_rotate_and_everything_is_found_across_them() {
    let rig = Rig::new().small_segments();
    let log = rig.open().unwrap();
    for n in 0..30 {
        log.append(vec![record(n, &format!("m{n}"))]).unwrap();
    }
    // The writer answers first and rotates then: this waits for it.
    log.rotate().unwrap();
    let stats = log.stats();
    assert!(stats.segments > 5, "{stats:?}");
    drop(log);
    let log = rig.open().unwrap();
    assert_eq!(log.stats().segments, stats.segments);
    assert_eq!(messages(&log), (0..30).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn only_whole_segments_whose_records_are_all_too_old_go() {
    let mut rig = Rig::new();
    rig.config.retention = Some(Duration::from_hours(24));
    let log = rig.open().unwrap();
    let hour = 3_600_000_000;
    log.append(vec![record(-30 * hour, "old"), record(-2 * hour, "young")]).unwrap();
    log.rotate().unwrap();
    log.append(vec![record(-40 * hour, "older")]).unwrap();
    log.rotate().unwrap();
    // A clock that ran ahead must not keep a segment for ever.
    log.append(vec![Record::new(Time(NOW.0 + 9_000 * hour), Level::Info, "default", "future")])
        .unwrap();
    assert_eq!(log.tidy().unwrap(), 1);
    assert_eq!(messages(&log), ["old", "young", "future"]);
    rig.clock.advance(Duration::from_hours(23));
    assert_eq!(log.tidy().unwrap(), 1);
    rig.clock.advance(Duration::from_hours(3));
    assert_eq!(log.tidy().unwrap(), 1, "the active segment too");
    assert!(messages(&log).is_empty());
    drop(log);
    let log = rig.open().unwrap();
    assert!(messages(&log).is_empty());
    assert_eq!(
        log.append(vec![record(0, "x")]).unwrap().first_seq,
        5,
        "numbers are not given twice"
    );
}

/// One life of a log on a disk that dies after `steps` changes. Answers how many of the numbered
/// records were acknowledged.
fn live_and_die(disk: &SimDisk, from: usize, steps: usize) -> usize {
    let rig = Rig::on(disk.clone()).small_segments();
    disk.die_after(steps);
    let Ok(log) = rig.open() else { return from };
    let mut acked = from;
    for n in from..from + 12 {
        let records =
            vec![record(i64::try_from(n).unwrap(), &n.to_string()), record(0, &format!("{n}b"))];
        if log.append(records).is_err() {
            break;
        }
        acked = n + 1;
    }
    acked
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_acknowledged() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut disk = SimDisk::default();
        let mut next = 0;
        for life in 0..3 {
            let acked = live_and_die(&disk, next, dice.roll(70));
            let left = disk.crash(seed * 10 + life);
            let log = Rig::on(left.copy()).small_segments().open().unwrap();
            let found = messages(&log);
            let whole = found.len() / 2;
            assert!(
                whole >= acked && whole <= acked + 1,
                "seed {seed}: {acked} acknowledged, {found:?}"
            );
            let expected: Vec<_> =
                (0..whole).flat_map(|n| [n.to_string(), format!("{n}b")]).collect();
            assert_eq!(found, expected, "seed {seed}");
            assert!(log.check().unwrap().is_empty(), "seed {seed}: a power cut is no damage");
            drop(log);
            (disk, next) = (left, whole);
        }
    }
}
