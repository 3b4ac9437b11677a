//! Datasets and operators as a library: keep a table, look at it, and compute with a checked function.
//!
//! `cargo run --example atom --no-default-features --features redb,atom`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::sync::Arc;

use drip::atom::{Atom, Cancel, Config, DatasetMeta, Guard, OperatorSpec, Parts};
use drip::kernel::access::Caller;
use drip::kernel::blobs::Blobs;
use drip::kernel::records::MemoryRecords;
use drip::kernel::script::MeteredAllocator;
use drip::kernel::table::Format;
use drip::kernel::{Bus, Name, Result, SystemClock};
use serde_json::json;

/// Gives operators their memory limit.
#[global_allocator]
static METERED: MeteredAllocator = MeteredAllocator::new();

fn main() -> Result<()> {
    let atom = Atom::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        blobs: Blobs::memory(),
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        listener: None,
        modules: BTreeMap::new(),
        config: Config::default(),
    })?;
    let ada = Caller::system();

    let csv = "time,turbine,speed\n2014-01-01T00:00:00Z,T1,7.5\n2014-01-01T01:00:00Z,T1,9.0\n";
    let meta = DatasetMeta::read(vec![
        ("tag".into(), "wind".into()),
        ("unit.speed".into(), "m/s".into()),
    ])?;
    let key = (&Name::new("scada")?, &Name::new("2014")?);
    let (dataset, _) =
        atom.put_dataset(&ada, key, meta, (Format::Csv, csv.into()), Guard::default())?;
    println!("kept {} rows in {} bytes of Parquet", dataset.rows, dataset.bytes);
    for row in atom.preview(&ada, "scada", "latest", 10)?.to_rows() {
        println!("{row}");
    }

    let spec = OperatorSpec::read(json!({
        "source": "fn compute(speed) { 0.5 * 1.225 * speed * speed * speed }",
        "inputs": [{"name": "speed", "type": "float", "unit": "m/s"}],
        "output": {"type": "float", "unit": "W/m2"},
    }))?;
    let key = (&Name::new("power-density")?, &Name::new("1.0.0")?);
    atom.put_operator(&ada, key, spec, Guard::default())?;
    let (one, version) = atom.compute(&ada, "power-density", "latest", json!({"speed": 10}))?;
    println!("version {version} says {one} W/m2 at 10 m/s");
    let rows = vec![json!({"speed": 0}), json!({"speed": 2.0})];
    let many = atom.compute_rows(&ada, "power-density", "1.0.0", rows, &Cancel::default())?;
    let wrong = atom.compute(&ada, "power-density", "1.0.0", json!({"sped": 10}));

    assert_eq!(dataset.rows, 2);
    assert_eq!(one, json!(612.5));
    assert_eq!(many.values, [json!(0.0), json!(4.9)]);
    assert_eq!(wrong.map_err(|error| error.faults().len()), Err(2), "both faults are named");
    Ok(())
}
