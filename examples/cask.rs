//! Artifacts and packages as a library: put an object, read it back, pack a package and push it.
//!
//! `cargo run --example cask --no-default-features --features redb,cask`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use drip::cask::package::{Metadata, Parcel, Section, verify};
use drip::cask::{Cask, Guard, Parts, PutOptions};
use drip::kernel::access::Caller;
use drip::kernel::blobs::Blobs;
use drip::kernel::records::MemoryRecords;
use drip::kernel::{Bus, Result, SystemClock, wait_for};

fn main() -> Result<()> {
    let cask = Cask::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        blobs: Blobs::memory(),
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        listener: None,
    })?;
    let ada = Caller::system();

    let options = PutOptions {
        content_type: Some("application/json".into()),
        guard: Guard::Absent,
        ..PutOptions::default()
    };
    let weights = r#"{"w":[0.1,0.9]}"#;
    let kept = cask.put_now(&ada, "models", "wind/2014/model.json", options, weights.into())?;
    println!("put {} bytes, SHA-256 {}", kept.item.size, kept.item.sha256);
    let read = wait_for(cask.get("models", "wind/2014/model.json")?.bytes())?;

    let mut parcel = Parcel::new(Metadata::new("wind-power", "1.0.0"));
    parcel.add_bytes(Section::Objects, "model.json", weights.into())?;
    parcel.add_bytes(Section::Scripts, "compute.rhai", b"fn compute(v) { v * v * v }".to_vec())?;
    let package = parcel.to_bytes()?;
    let contents = verify(package.as_slice())?;
    println!("packed {} files into {} bytes", contents.files.len(), package.len());

    let pushed = cask.push_now(&ada, "wind-power", "1.0.0", package.clone().into())?;
    println!("pushed {}@{}", pushed.item.item.name, pushed.item.item.version);
    let again = cask.push_now(&ada, "wind-power", "1.0.0", package.into())?;
    parcel.add_bytes(Section::Configs, "site.toml", b"code = \"XJJX\"".to_vec())?;
    let other = cask.push_now(&ada, "wind-power", "1.0.0", parcel.to_bytes()?.into());

    assert_eq!(read, weights);
    assert!(pushed.created && !again.created, "the same package again is no other one");
    assert!(other.is_err(), "a pushed version never changes");
    Ok(())
}
