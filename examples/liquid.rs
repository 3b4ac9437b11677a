//! Pipelines as a library: check a script, save it, run it, and see its nodes.
//!
//! `cargo run --example liquid --no-default-features --features redb,liquid`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use drip::kernel::access::Caller;
use drip::kernel::records::MemoryRecords;
use drip::kernel::script::MeteredAllocator;
use drip::kernel::{Name, Result, SystemClock};
use drip::liquid::{Expected, Liquid, Parts, RunRequest, RunState};
use serde_json::{Map, json};

/// Gives scripts their memory limit.
#[global_allocator]
static METERED: MeteredAllocator = MeteredAllocator::new();

const SOURCE: &str = r#"
fn clean(speeds) { speeds.filter(|v| v >= 0.0) }
fn power(clean) { clean.map(|v| v * v * v) }
fn mean(power) {
    let sum = 0.0;
    for p in power { sum += p; }
    sum / power.len()
}

pipeline([
    node(clean, "speeds", "clean", "clean"),
    node(power, "clean", "power", "power"),
    node(mean, "power", "mean_power", "mean"),
])
"#;

fn main() -> Result<()> {
    let parts = Parts::new(Arc::new(MemoryRecords::new()), Arc::new(SystemClock));
    let liquid = Liquid::open(parts)?;
    let ada = Caller::system();
    let name = Name::new("mean-power")?;

    let (pipeline, is_new) = liquid.save_pipeline(&name, SOURCE, &ada, Expected::default())?;
    println!("saved revision {} with {} nodes", pipeline.revision, pipeline.nodes.len());

    let inputs = Map::from_iter([("speeds".to_owned(), json!([1.0, -99.0, 3.0]))]);
    let request = RunRequest { inputs, ..RunRequest::default() };
    let run = liquid.start(&name, request, &ada, None)?;
    let run = liquid.wait(&run.id, Duration::from_secs(30))?;
    for node in &run.nodes {
        println!("{}: {}", node.name, node.state);
    }
    println!("outputs: {}", json!(run.outputs));

    let refused = liquid.start(&name, RunRequest::default(), &ada, None);
    println!(
        "without its input: {}",
        refused.as_ref().map_or_else(ToString::to_string, |run| run.id.clone())
    );

    assert!(is_new);
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(run.outputs.get("mean_power"), Some(&json!(14.0)));
    assert!(refused.is_err(), "what is missing is refused before anything runs");
    assert!(liquid.close(Duration::from_secs(5)));
    Ok(())
}
