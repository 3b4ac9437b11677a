//! What is sealed is what was written: the same records, found the same way, once, whatever happens
//! while it is sealed.

use std::collections::BTreeSet;
use std::time::Duration;

use drip::kernel::Time;
use drip::kernel::access::{Caller, Role};
use drip::trajectory::{Filter, Kept, Level, Record, StreamSettings, TailEvent, Trajectory};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::disk::{Dice, SimDisk};
use super::{NOW, Rig, all, messages, query, record};
use crate::support::number_from_env;

const FIRST: &str = "00000000000000000001.seg";

fn seal(log: &Trajectory) {
    log.rotate().unwrap();
    log.seal().unwrap();
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..50_i64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 8.0)),
        (-1000..1000_i32).prop_map(|n| json!(f64::from(n) / 100.0)),
        any::<f64>()
            .prop_filter("JSON has no other numbers", |n| n.is_finite())
            .prop_map(Value::from),
        "[a-c风]{0,6}".prop_map(Value::from),
        Just(json!(-0.0)),
        Just(json!({"deep": [1, {"x": "y"}]})),
        Just(json!([])),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let names = prop::sample::select(vec!["a", "b", "c.d", "风", "e"]);
    let fields = prop::collection::vec((names, values()), 0..5);
    let some = || prop::option::of(prop::sample::select(vec!["x", "yy", ""]));
    let texts = (some(), some(), some(), prop::option::of(any::<u64>()));
    let head = (any::<i32>(), 0..5_usize, 0..3_usize, "[ -~风机ü\\n]{0,30}");
    (head, texts, fields).prop_map(
        |((time, level, stream, message), (module, file, run, line), fields)| Record {
            module: module.map(str::to_owned),
            file: file.map(str::to_owned),
            run_id: run.map(str::to_owned),
            line,
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Record::new(
                Time(NOW.0 + i64::from(time)),
                Level::ALL[level],
                ["default", "a", "b"][stream],
                message,
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn records_come_back_as_they_were(records in prop::collection::vec(any_record(), 1..120), cut in 1..40_usize) {
        let rig = Rig::new();
        let log = rig.open().unwrap();
        for chunk in records.chunks(cut) {
            log.append(chunk.to_vec()).unwrap();
            log.rotate().unwrap();
        }
        let before = all(&log);
        prop_assert_eq!(before.iter().map(|kept| &kept.record).collect::<Vec<_>>(), records.iter().collect::<Vec<_>>());
        log.seal().unwrap();
        prop_assert_eq!(log.stats().sealed, log.stats().segments - 1);
        prop_assert_eq!(&all(&log), &before);
        prop_assert!(log.check().unwrap().is_empty());
        drop(log);
        let log = rig.open().unwrap();
        prop_assert_eq!(&all(&log), &before);
    }
}

#[test]
fn more_names_than_a_block_takes_are_kept_too() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let mut records = Vec::new();
    for n in 0..400 {
        let mut fields = Map::new();
        for at in 0..3 {
            fields.insert(format!("name {n} {at}"), json!({"deep": n}));
        }
        fields.insert("same".into(), json!(n % 7));
        records.push(Record { fields, ..record(n, "x") });
    }
    log.append(records.clone()).unwrap();
    seal(&log);
    assert_eq!(all(&log).into_iter().map(|kept| kept.record).collect::<Vec<_>>(), records);
    for (name, value, count) in [
        ("field.same", "3", 57),
        ("field.name 399 0.deep", "399", 1),
        ("field.name 399 0.deep", "398", 0),
    ] {
        let page = log.query(&query(&[(name, value), ("limit", "1000")])).unwrap();
        assert_eq!(page.items.len(), count, "{name}");
    }
}

/// A log of three streams in one sealed segment of several blocks.
fn sealed_log() -> (Rig, Vec<Kept>) {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    for n in 0..60 {
        let mut one = Record {
            stream: ["wind", "sun", "default"][usize::try_from(n % 3).unwrap()].into(),
            run_id: Some(format!("run-{}", n % 2)),
            ..record(n, &format!("message {n} of turbine R{}", n * 7919))
        };
        one.fields.insert("power".into(), json!(f64::from(i32::try_from(n).unwrap()) * 1.25));
        one.fields.insert("trace".into(), json!(format!("{:032x}", n * 104_729)));
        log.append(vec![one]).unwrap();
    }
    seal(&log);
    let kept = all(&log);
    drop(log);
    (rig, kept)
}

#[test]
fn every_flipped_byte_is_detected_and_the_rest_is_served() {
    let (rig, kept) = sealed_log();
    let whole = rig.disk.bytes(FIRST);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        let rig = Rig::on(rig.disk.with(FIRST, flipped));
        let log = rig.open().unwrap();
        let damage = log.check().unwrap();
        assert!(!damage.is_empty(), "byte {at}");
        let served = all(&log);
        assert!(served.iter().all(|one| kept.contains(one)), "byte {at}");
        let page = log.query(&query(&[])).unwrap();
        assert_eq!(page.incomplete, served.len() < 60, "byte {at}");
        // One block of three at most is lost, and the report names it.
        assert!(served.len() >= 40, "byte {at}: {}", served.len());
        if served.len() < 60 {
            assert!(damage[0].what.starts_with("block "), "byte {at}: {}", damage[0].what);
        }
        // A damaged filter costs nothing but time.
        if damage[0].what.contains("filter") {
            for word in ["59", "R467221", "\"of turbine R467221\""] {
                let page = log.query(&query(&[("q", word)])).unwrap();
                assert_eq!(page.items.len(), 1, "byte {at}: {word}");
            }
        }
        assert_eq!(log.append(vec![record(9, "more")]).unwrap().count, 1);
    }
}

#[test]
fn random_flips_in_a_large_segment_are_detected() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let mut dice = Dice(11);
    for n in 0..40 {
        let many = (0..100).map(|at| {
            let mut one = Record {
                stream: format!("s{}", dice.roll(5)),
                run_id: Some(format!("run-{}", dice.roll(3))),
                ..record(
                    n * 100 + at,
                    &format!("message {} of R{}", dice.roll(9_000), dice.roll(90)),
                )
            };
            one.fields.insert("power".into(), json!(dice.roll(100_000)));
            one.fields.insert("trace".into(), json!(format!("{:016x}", dice.roll(usize::MAX))));
            one
        });
        log.append(many.collect()).unwrap();
    }
    seal(&log);
    drop(log);
    let whole = rig.disk.bytes(FIRST);
    let mut least = usize::MAX;
    for _ in 0..number_from_env("FLIPS", 150) {
        let at = dice.roll(whole.len());
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << dice.roll(8);
        let log = Rig::on(rig.disk.with(FIRST, flipped)).open().unwrap();
        let damage = log.check().unwrap();
        assert!(!damage.is_empty(), "byte {at}");
        let is_there = |one: &&drip::trajectory::Damage| {
            (one.offset..one.offset + one.bytes.max(1)).contains(&(at as u64))
        };
        assert!(damage.iter().any(|one| is_there(&one)), "byte {at}: {damage:?}");
        let served = usize::try_from(log.histogram(&Filter::default(), 1).unwrap().total).unwrap();
        least = least.min(served);
        let page = log.query(&query(&[("q", "message"), ("limit", "1000")])).unwrap();
        assert!(!page.items.is_empty(), "byte {at}");
    }
    assert!(least >= 4_000 - 4_000 / 3, "{least} of 4000 served");
}

#[test]
fn a_segment_whose_ends_are_lost_is_set_aside_and_told() {
    let (rig, _) = sealed_log();
    let whole = rig.disk.bytes(FIRST);
    for bytes in
        [Vec::new(), whole[..64].to_vec(), whole[..whole.len() - 1].to_vec(), vec![0; whole.len()]]
    {
        // The last byte belongs to the second trailer: the first one serves from where it is.
        let rig = Rig::on(rig.disk.with(FIRST, bytes));
        for _ in 0..2 {
            let log = rig.open().unwrap();
            assert_eq!(log.damage().len(), 1);
            assert!(messages(&log).is_empty());
        }
        assert!(rig.disk.names().contains(&format!("{FIRST}.damaged")));
    }
}

#[test]
fn small_segments_are_put_together_and_everything_is_found_as_before() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    let body = "{\"msg\":\"once\",\"stream\":\"other\"}";
    let retry = drip::kernel::feed::Idempotency {
        key: "ada/1".into(),
        request: drip::kernel::Digest::of(body.as_bytes()),
    };
    log.ingest(body.as_bytes(), Some(&retry)).unwrap();
    for n in 0..30 {
        log.append(vec![record(n, &format!("m{n} word")), record(n, "even")]).unwrap();
        log.rotate().unwrap();
    }
    let before = all(&log);
    log.seal().unwrap();
    let stats = log.stats();
    assert!(stats.sealed <= 8, "{stats:?}");
    assert_eq!(all(&log), before);
    assert_eq!(log.query(&query(&[("q", "m17 word")])).unwrap().items.len(), 1);
    assert_eq!(
        rig.disk.names().iter().filter(|name| name.strip_suffix(".log").is_some()).count(),
        1
    );
    drop(log);
    let log = rig.open().unwrap();
    assert_eq!(all(&log), before);
    log.ingest(body.as_bytes(), Some(&retry)).unwrap();
    assert_eq!(all(&log), before, "the batch is remembered where its segment went");
}

#[test]
fn a_follower_reads_sealed_segments_in_order_and_is_told_what_is_gone() {
    let mut rig = Rig::new();
    let admin = Caller::new("ada", Role::Admin);
    rig.config.retention = Some(Duration::from_hours(1000));
    let log = rig.open().unwrap();
    let long = "x".repeat(200);
    for n in 0..900 {
        let stream = if n % 3 == 0 { "kept" } else { "noise" };
        log.append(vec![Record { stream: stream.into(), ..record(n, &long) }]).unwrap();
    }
    seal(&log);
    drop(log);
    // Opened again, so that nothing is at hand in memory.
    let log = rig.open().unwrap();
    let follow = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut tail = log.tail(Filter::from_pairs(&pairs, &[]).unwrap().0, Some(100));
        let (mut seqs, mut gone) = (Vec::new(), 0);
        while tail.seen() < 900 {
            for event in tail.step().unwrap() {
                match event {
                    TailEvent::Record(kept) => seqs.push(kept.seq),
                    TailEvent::Gap { skipped, .. } => gone += skipped,
                }
            }
        }
        (seqs, gone)
    };
    assert_eq!(follow(&[]), ((101..=900).collect(), 0));
    let kept: Vec<u64> = (101..=900).filter(|seq| seq % 3 == 1).collect();
    assert_eq!(follow(&[("stream", "kept")]), (kept.clone(), 0));
    let settings = StreamSettings::read(&json!({"retention": "1h"})).unwrap();
    log.set_stream(&admin, &"noise".parse().unwrap(), settings).unwrap();
    rig.clock.advance(Duration::from_hours(2));
    let before = log.stats();
    assert_eq!(log.tidy().unwrap(), 0, "the segment is written anew, without the noise");
    let after = log.stats();
    assert!(after.bytes < before.bytes && after.records == 300, "{after:?}");
    let (there, gone) = follow(&[]);
    assert_eq!((there.len(), gone), (266, 534));
    assert_eq!(there, kept);
    drop(log);
    let log = rig.open().unwrap();
    assert_eq!((log.stats().records, log.stats().last_seq), (300, 900));
    assert!(log.check().unwrap().is_empty());
}

#[test]
fn streams_and_the_log_are_bounded_by_size() {
    let mut rig = Rig::new();
    let admin = Caller::new("ada", Role::Admin);
    let log = rig.open().unwrap();
    let mut dice = Dice(7);
    let mut noise = || {
        (0..400)
            .map(|_| char::from(b'a' + u8::try_from(dice.roll(26)).unwrap()))
            .collect::<String>()
    };
    for _ in 0..7 {
        for n in 0..20 {
            log.append(vec![
                record(n, &noise()),
                Record { stream: "loud".into(), ..record(n, &noise()) },
            ])
            .unwrap();
        }
        log.rotate().unwrap();
    }
    log.seal().unwrap();
    let whole = log.stats().bytes;
    let count =
        |log: &Trajectory, stream: &str| log.stream(stream).map_or(0, |stream| stream.records);
    let settings = StreamSettings::read(&json!({"max_bytes": whole / 6})).unwrap();
    log.set_stream(&admin, &"loud".parse().unwrap(), settings).unwrap();
    log.tidy().unwrap();
    assert_eq!(count(&log, "default"), 140, "only the loud one pays");
    assert!((20..100).contains(&count(&log, "loud")), "{}", count(&log, "loud"));
    drop(log);
    rig.config.max_bytes = Some(whole / 3);
    let log = rig.open().unwrap();
    assert!(log.tidy().unwrap() > 0);
    let stats = log.stats();
    assert!(stats.bytes <= whole / 3 + 100 && stats.records > 0, "{stats:?}");
    assert_eq!(messages(&log).len() as u64, stats.records);
}

#[test]
fn sealing_on_a_full_disk_leaves_the_frames_and_is_done_later() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    for n in 0..50 {
        log.append(vec![record(n, &format!("message {n}"))]).unwrap();
    }
    log.rotate().unwrap();
    for space in [0, 10, 70, 500] {
        rig.disk.set_space(Some(space));
        assert!(log.seal().is_err());
        assert_eq!(messages(&log).len(), 50);
    }
    rig.disk.set_space(None);
    log.append(vec![record(50, "more")]).unwrap();
    assert_eq!(log.seal().unwrap(), 1);
    assert_eq!(messages(&log).len(), 51);
    assert!(rig.disk.names().iter().all(|name| !name.ends_with(".staged")));
}

/// One life of a log that also seals, puts together and forgets, on a disk that dies after `steps`
/// changes. Answers how many of the numbered records were acknowledged.
fn live_and_die(disk: &SimDisk, from: usize, steps: usize, dice: &mut Dice) -> usize {
    let rig = Rig::on(disk.clone());
    disk.die_after(steps);
    let Ok(log) = rig.open() else { return from };
    let mut acked = from;
    for n in from..from + 14 {
        let time = i64::try_from(n).unwrap();
        let other = Record { stream: "other".into(), ..record(0, &format!("{n}b")) };
        if log.append(vec![record(time, &n.to_string()), other]).is_err() {
            break;
        }
        acked = n + 1;
        if dice.roll(3) > 0 {
            let _died = log.rotate().is_err() || (dice.roll(2) == 0 && log.seal().is_err());
        }
    }
    let _died = log.seal().is_err();
    acked
}

fn check_life(left: &SimDisk, acked: usize, told: &str) -> usize {
    let log = Rig::on(left.clone()).open().unwrap();
    let found = all(&log);
    let seqs: BTreeSet<u64> = found.iter().map(|kept| kept.seq).collect();
    assert_eq!(seqs.len(), found.len(), "{told}: a record is there twice");
    let whole = found.len() / 2;
    let expected: Vec<String> = (0..whole).flat_map(|n| [n.to_string(), format!("{n}b")]).collect();
    assert!(whole >= acked && whole <= acked + 1, "{told}: {acked} acknowledged, {whole} there");
    assert_eq!(messages(&log), expected, "{told}");
    assert!(log.check().unwrap().is_empty(), "{told}: {:?}", log.damage());
    whole
}

#[test]
fn a_power_cut_while_sealing_loses_nothing_and_doubles_nothing() {
    for seed in 0..number_from_env("CRASH_SEEDS", 300) as u64 {
        let mut dice = Dice(seed);
        let (mut disk, mut next) = (SimDisk::default(), 0);
        for life in 0..4 {
            let steps = dice.roll(260);
            let acked = live_and_die(&disk, next, steps, &mut dice);
            let left = disk.crash(seed * 10 + life);
            let told = format!("seed {seed}, life {life}, {steps} steps");
            // Opening is cut short as well, and then opened again.
            let cut = left.copy();
            cut.die_after(dice.roll(8));
            drop(Rig::on(cut.clone()).open());
            let again = cut.crash(seed + 1);
            check_life(&again, acked, &format!("{told}, opened twice"));
            next = check_life(&left, acked, &told);
            disk = left;
        }
    }
}

#[test]
fn a_kill_at_every_single_change_loses_nothing() {
    // Enough records, rotations and seals that segments are put together in the end.
    let script = |disk: &SimDisk, steps: usize| live_and_die(disk, 0, steps, &mut Dice(3));
    let whole = SimDisk::default();
    script(&whole, usize::MAX);
    assert!(whole.names().iter().any(|name| name.strip_suffix(".seg").is_some()));
    for steps in 0..420 {
        let disk = SimDisk::default();
        let acked = script(&disk, steps);
        // What was written is there, synced or not: the process died, not the machine.
        check_life(&disk.copy(), acked, &format!("killed after {steps} changes"));
        check_life(&disk.crash(steps as u64), acked, &format!("power cut after {steps} changes"));
    }
}

/// A file of frames as builds wrote them before fields had types: a header of version 1, and frames
/// whose records have the length as a varint and the fields as one JSON text.
fn file_of_before() -> Vec<u8> {
    let salt = 77_u64;
    let mut copy = b"DRIPSEG\0".to_vec();
    copy.extend([1, 0, 0, 0]);
    copy.extend(1_u64.to_le_bytes());
    copy.extend(salt.to_le_bytes());
    copy.extend(crc32c::crc32c(&copy).to_le_bytes());
    let mut file = [copy.clone(), copy].concat();
    let text = |to: &mut Vec<u8>, text: &str| {
        to.push(u8::try_from(text.len()).unwrap());
        to.extend(text.as_bytes());
    };
    for n in 0..3_u64 {
        let mut record = (NOW.0 + i64::try_from(n).unwrap()).to_le_bytes().to_vec();
        // WARNING; a line and fields.
        record.extend([2, 4 | 16]);
        text(&mut record, "wind");
        text(&mut record, &format!("old {n}"));
        record.push(7);
        text(&mut record, r#"{"t":91.5,"deep":{"x":1}}"#);
        let mut payload = vec![0, u8::try_from(record.len()).unwrap()];
        payload.extend(record);
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let mut frame = b"FRM1".to_vec();
        frame.extend(length);
        frame.extend([0; 8]);
        frame.extend((n + 1).to_le_bytes());
        frame.extend(1_u32.to_le_bytes());
        frame.extend(length);
        frame.extend(NOW.0.to_le_bytes());
        frame.extend(payload);
        let seed = crc32c::crc32c(&salt.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &frame[4..8]), &frame[12..]);
        frame[8..12].copy_from_slice(&crc.to_le_bytes());
        file.extend(frame);
    }
    file
}

#[test]
fn a_file_of_an_earlier_build_is_opened_left_as_it_is_and_sealed() {
    use drip::trajectory::Disk as _;
    let rig = Rig::new();
    let old = rig.disk.open("00000000000000000001.log", true).unwrap();
    old.append(&file_of_before()).unwrap();
    let log = rig.open().unwrap();
    let before = all(&log);
    assert_eq!(messages(&log), ["old 0", "old 1", "old 2"]);
    assert_eq!((before[0].record.level, before[0].record.line), (Level::Warning, Some(7)));
    assert_eq!(json!(before[0].record.fields), json!({"t": 91.5, "deep": {"x": 1}}));
    // Nothing is written behind what an earlier build would read.
    assert_eq!(log.append(vec![record(9, "new")]).unwrap().first_seq, 4);
    assert_eq!(rig.disk.bytes("00000000000000000001.log"), file_of_before());
    assert_eq!(log.query(&query(&[("field.deep.x", "1")])).unwrap().items.len(), 3);
    log.seal().unwrap();
    assert_eq!(log.stats().sealed, 1);
    assert_eq!(all(&log)[..3], before);
    drop(log);
    let log = rig.open().unwrap();
    assert_eq!(messages(&log), ["old 0", "old 1", "old 2", "new"]);
    assert!(log.check().unwrap().is_empty());
}

#[test]
fn two_that_seal_at_once_seal_each_file_once() {
    let rig = Rig::new();
    let log = rig.open().unwrap();
    for n in 0..60 {
        log.append(vec![record(n, &format!("m{n}"))]).unwrap();
        log.rotate().unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| log.seal().unwrap());
        }
    });
    log.seal().unwrap();
    assert_eq!(messages(&log), (0..60).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert_eq!(all(&log).len(), 60);
}
