//! Cards as a library: save a model and the data it was trained on, move it on, find it, and ask what
//! it is made from.
//!
//! `cargo run --example fiche --no-default-features --features redb,fiche`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use drip::fiche::{
    CardDraft, CardKind, Conditions, Config, Direction, Fiche, Parts, Search, Stage,
};
use drip::kernel::access::Caller;
use drip::kernel::records::MemoryRecords;
use drip::kernel::{Bus, Result, SystemClock};
use serde_json::json;

fn main() -> Result<()> {
    let fiche = Fiche::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        folder: None,
        config: Config::default(),
    })?;
    let ada = Caller::system();

    let data =
        CardDraft::new(CardKind::DATASET, "scada", "2014")?.with("summary", "风机运行数据")?;
    fiche.save(&ada, &data, Conditions::default())?;
    let model = CardDraft::parse(json!({
        "kind": "model", "name": "wind-power", "version": "1.0.0",
        "summary": "风电功率预测, an hour ahead",
        "data": ["scada@2014"],
    }))?;
    let saved = fiche.save(&ada, &model, Conditions::default())?;
    println!("saved {} at revision {}", saved.card.key.reference(), saved.card.revision);

    let moved = fiche.stage(&ada, model.key(), Stage::Testing, "ready for a look")?;
    println!("moved to {}", moved.stage);

    fiche.wait_indexed(fiche.last_number()?, Duration::from_secs(10));
    let found = fiche.search(&Search { q: "功率".into(), limit: 10, ..Search::default() })?;
    for hit in &found.items {
        println!("found {}: {:?}", hit.card.key, hit.highlights.get("summary"));
    }

    let lineage = fiche.lineage(model.key(), Direction::Up, None)?;
    println!("it is made from {} other card", lineage.nodes.len() - 1);

    assert_eq!(saved.card.revision, 1);
    assert_eq!(found.total, 1);
    assert_eq!(lineage.edges.len(), 1);
    assert_eq!(fiche.get(CardKind::MODEL, "wind-power", "latest")?.stage, Stage::Testing);
    Ok(())
}
