//! Data channels as a library: share a table with a user who sees some columns, and meter it.
//!
//! `cargo run --example dashare --no-default-features --features redb,dashare`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use drip::dashare::{
    ChannelSpec, Config, Dashare, DataQuery, GrantSpec, Guard, Parts, QuotaSpec, RowSource,
};
use drip::kernel::access::{Caller, Role};
use drip::kernel::records::MemoryRecords;
use drip::kernel::table::{SqlTable, Table};
use drip::kernel::{Bus, Error, Kind, Name, Result, SystemClock};
use serde_json::{Value, json};

/// One table at hand, where a daemon has its datasets.
struct Scada(Table);

impl RowSource for Scada {
    fn open(&self, dataset: &str) -> Result<Option<Arc<dyn SqlTable>>> {
        Ok((dataset == "scada").then(|| Arc::new(self.0.clone()) as Arc<dyn SqlTable>))
    }

    fn sql(&self, _query: &str, _params: &Value, _max_rows: usize) -> Result<Table> {
        Err(Error::new(Kind::Invalid, "no_sql", "this example has no SQL"))
    }
}

fn main() -> Result<()> {
    let table = Table::from_rows(&[
        json!({"time": "2014-01-01T00:00:00Z", "turbine": "T1", "speed": 7.5, "power": 410.0}),
        json!({"time": "2014-01-01T01:00:00Z", "turbine": "T1", "speed": 9.0, "power": 800.0}),
        json!({"time": "2014-01-01T01:00:00Z", "turbine": "T2", "speed": 8.0, "power": 520.0}),
    ])?;
    let dashare = Dashare::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        source: Arc::new(Scada(table)),
        accounts: None,
        config: Config::default(),
    });
    let (owner, bob) = (Caller::system(), Caller::new("bob", Role::Consumer));

    let spec = ChannelSpec::read(json!({
        "dataset": "scada", "time_column": "time", "entity_column": "turbine", "unit": "rows",
    }))?;
    let key = (&Name::new("wind")?, &Name::new("scada")?);
    dashare.put_channel(&owner, key, spec, Guard::default())?;
    let grant = GrantSpec::read(json!({"columns": ["speed"]}))?;
    dashare.put_grant(&owner, ("wind", "scada"), &Name::new("bob")?, grant)?;
    let quota = QuotaSpec::read(json!({"channel": "wind/scada", "limit": 3, "period": "day"}))?;
    dashare.put_quota(&owner, &Name::new("bob")?, &quota)?;

    let query = DataQuery { entities: vec!["T1".into()], ..DataQuery::default() };
    let answer = dashare.data(&bob, ("wind", "scada"), &query)?;
    let body = String::from_utf8_lossy(&answer.body);
    println!("{body}");
    let left = answer.quota.as_ref().map(|quota| quota.remaining);
    println!("{} rows; {left:?} left of today's quota", answer.rows);
    let refused = dashare.data(&bob, ("wind", "scada"), &query);
    println!("again: {:?}", refused.as_ref().map(|answer| answer.rows).map_err(Error::code));

    assert_eq!(answer.rows, 2);
    assert!(!body.contains("power"), "what was not granted is not answered");
    assert_eq!(left, Some(1));
    assert!(refused.is_err(), "two rows do not fit into one");
    Ok(())
}
