//! A log as a library: append records, query them, and find them again after opening anew.
//!
//! `cargo run --example trajectory --no-default-features --features redb,trajectory`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::sync::Arc;

use drip::kernel::records::MemoryRecords;
use drip::kernel::{Clock, Error, Result, SystemClock};
use drip::trajectory::{Config, Filter, Folder, Level, Parts, Query, Record, Trajectory};
use serde_json::json;

fn open(folder: &Path) -> Result<Trajectory> {
    Trajectory::open(Parts {
        disk: Arc::new(Folder::open(folder)?),
        records: Arc::new(MemoryRecords::new()),
        clock: Arc::new(SystemClock),
        config: Config::default(),
    })
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|source| Error::io("make a folder", source))?;
    let log = open(folder.path())?;

    let now = SystemClock.now();
    let mut gust = Record::new(now, Level::Warning, "turbine-7", "gust of 24 m/s");
    gust.fields.insert("speed".into(), json!(24.1));
    gust.fields.insert("site".into(), json!("XJJX"));
    let calm = Record::new(now, Level::Info, "turbine-7", "wind fell below 3 m/s");
    let receipt = log.append(vec![gust, calm])?;
    println!("kept {} records from number {}", receipt.count, receipt.first_seq);

    let lines = b"{\"message\":\"anemometer stands still\",\"level\":\"ERROR\",\"stream\":\"turbine-8\"}\nnot JSON\n";
    let ingested = log.ingest(lines, None)?;
    println!("took {} lines, rejected {}", ingested.accepted, ingested.rejected.len());

    let pairs = [("q", "gust"), ("level", "WARNING")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let page = log.query(&Query::from_pairs(&pairs)?)?;
    for kept in &page.items {
        println!(
            "{} {} {} {}",
            kept.seq, kept.record.level, kept.record.stream, kept.record.message
        );
    }
    let histogram = log.histogram(&Filter::default(), 10)?;
    println!("{} records in {} stretches of time", histogram.total, histogram.items.len());

    drop(log);
    let log = open(folder.path())?;

    assert_eq!(page.items.len(), 1);
    assert_eq!((ingested.accepted, ingested.rejected.len()), (1, 1));
    assert_eq!(log.stats().records, 3, "what was acknowledged is there again");
    Ok(())
}
