//! Following the log as it grows.

use drip::trajectory::{Filter, Record, TailEvent};

use super::{Rig, record};

fn seqs(events: Vec<TailEvent>) -> Vec<u64> {
    events
        .into_iter()
        .map(|event| match event {
            TailEvent::Record(kept) => kept.seq,
            TailEvent::Gap { until, .. } => until + 1_000_000_000,
        })
        .collect()
}

fn filter(pairs: &[(&str, &str)]) -> Filter {
    let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Filter::from_pairs(&pairs, &[]).unwrap().0
}

#[test]
fn a_follower_sees_what_comes_and_one_that_returns_sees_what_it_missed() {
    let rig = Rig::new().small_segments();
    let log = rig.open().unwrap();
    log.append(vec![record(0, "before")]).unwrap();
    let mut tail = log.tail(filter(&[("q", "yes")]), None);
    assert!(tail.step().unwrap().is_empty());
    for n in 0..20 {
        log.append(vec![record(n, "yes"), record(n, "no")]).unwrap();
    }
    assert_eq!(seqs(tail.step().unwrap()), (1..=20).map(|n| n * 2).collect::<Vec<_>>());
    assert!(tail.step().unwrap().is_empty());
    // From the segments, after opening again: nothing is at hand any more.
    drop((tail, log));
    let log = rig.open().unwrap();
    let mut back = log.tail(filter(&[]), Some(30));
    let mut found = Vec::new();
    while back.seen() < 41 {
        found.extend(seqs(back.step().unwrap()));
    }
    assert_eq!(found, (31..=41).collect::<Vec<_>>());
}

#[test]
fn a_follower_that_falls_too_far_behind_is_told_what_it_missed() {
    let log = Rig::new().open().unwrap();
    let mut live = log.tail(filter(&[]), None);
    let mut patient = log.tail(filter(&[]), Some(0));
    log.append(vec![record(0, "first")]).unwrap();
    let mut returning = log.tail(filter(&[("q", "last")]), Some(0));
    for _ in 0..3 {
        let many: Vec<Record> = (0..40_000).map(|n| record(n, "x")).collect();
        log.append(many).unwrap();
    }
    log.append(vec![record(0, "last")]).unwrap();
    let missed = live.step().unwrap();
    assert_eq!(missed, [TailEvent::Gap { skipped: 120_002, until: 120_002 }]);
    assert_eq!(patient.step().unwrap(), missed, "it had seen everything there was, so it was live");
    let mut found = Vec::new();
    while returning.seen() < 120_002 {
        found.extend(seqs(returning.step().unwrap()));
    }
    assert_eq!(found, [120_002]);
}

#[test]
fn a_step_is_bounded_and_nothing_is_left_out() {
    let log = Rig::new().open().unwrap();
    log.append((0..2_000).map(|n| record(n, "x")).collect()).unwrap();
    let mut tail = log.tail(filter(&[]), Some(5));
    let (mut found, mut most) = (Vec::new(), 0);
    while tail.seen() < 2_000 {
        let step = seqs(tail.step().unwrap());
        most = most.max(step.len());
        found.extend(step);
    }
    assert_eq!(found, (6..=2_000).collect::<Vec<_>>());
    assert!(most <= 500, "{most}");
}

#[test]
fn what_is_gone_is_a_gap() {
    let mut rig = Rig::new();
    rig.config.retention = Some(std::time::Duration::from_secs(1));
    let log = rig.open().unwrap();
    log.append(vec![record(0, "a"), record(0, "b")]).unwrap();
    rig.clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(log.tidy().unwrap(), 1);
    log.append(vec![record(60_000_000, "c")]).unwrap();
    drop(log);
    let log = rig.open().unwrap();
    let events = log.tail(filter(&[]), Some(0)).step().unwrap();
    assert_eq!(seqs(events), [1_000_000_002, 3]);
}
