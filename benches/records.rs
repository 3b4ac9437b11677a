//! Durable commits of records beside bare syncs of the same disk.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::hint::black_box;

use criterion::Criterion;
use drip::kernel::Result;
use drip::kernel::records::{ChangeSet, Expect, Records, RedbRecords, Scan};

mod support;
use support::{Plan, Sample, bare_syncs, folder, keep_doing, median};

/// What one round found.
struct Round {
    bare: Sample,
    alone: Sample,
    crowd: Sample,
}

fn main() -> Result<()> {
    let plan = Plan::from_args();
    let folder = folder()?;
    let records = RedbRecords::open(&folder.path().join("records.redb"))?;
    let commit = |number| {
        let set =
            ChangeSet::new().put(format!("row/{number:020}"), Expect::Absent, vec![7_u8; 200]);
        records.apply(set).map(drop)
    };
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(Round {
            bare: bare_syncs(folder.path(), plan.time)?,
            alone: keep_doing(1, plan.time, commit)?,
            crowd: keep_doing(32, plan.time, commit)?,
        });
    }
    tell(&rounds);
    reads(&records)
}

fn tell(rounds: &[Round]) {
    let rate = |of: fn(&Round) -> Sample| median(rounds.iter().map(|r| of(r).per_second()));
    let cpu = |of: fn(&Round) -> Sample| median(rounds.iter().map(|r| of(r).cpu_each()));
    let ratio = |of: fn(&Round) -> Sample| {
        median(rounds.iter().map(|r| of(r).per_second() / r.bare.per_second()))
    };
    println!("medians of {} rounds", rounds.len());
    println!("append 4 KiB + fdatasync  {:>9.0} /s", rate(|r| r.bare));
    println!(
        "commits, 1 writer         {:>9.0} /s  {:>6.2} of bare  {:>7.1} us CPU each",
        rate(|r| r.alone),
        ratio(|r| r.alone),
        cpu(|r| r.alone)
    );
    println!(
        "commits, 32 writers       {:>9.0} /s  {:>6.2} of bare  {:>7.1} us CPU each",
        rate(|r| r.crowd),
        ratio(|r| r.crowd),
        cpu(|r| r.crowd)
    );
}

/// Reading, which nobody waits for: one row, and a page of a hundred.
fn reads(records: &RedbRecords) -> Result<()> {
    let first = records.scan(&Scan::prefix("row/").limit(1))?;
    let key = first.first().map_or("row/", |row| row.key.as_str());
    let page = Scan::prefix("row/").limit(100);
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("records/get", |bench| {
        bench.iter(|| records.get(black_box(key)));
    });
    criterion.bench_function("records/scan of 100", |bench| {
        bench.iter(|| records.scan(black_box(&page)));
    });
    criterion.final_summary();
    Ok(())
}
