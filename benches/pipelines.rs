//! Pipelines: what a run costs for each of its nodes, in memory and on a disk, beside Kedro where
//! `KEDRO_PYTHON` names a Python that has it.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use drip::kernel::access::Caller;
use drip::kernel::records::{MemoryRecords, RedbRecords};
use drip::kernel::script::MeteredAllocator;
use drip::kernel::{Error, Name, Result, SystemClock};
use drip::liquid::{Expected, Liquid, Parts, Run, RunRequest, RunState};
use serde_json::json;

mod support;
use support::{Plan, Sample, folder, keep_doing, median, number};

/// As in `dripctl`: without it scripts have no memory limit, and calls would look cheaper.
#[global_allocator]
static METERED: MeteredAllocator = MeteredAllocator::new();

/// Lengths of the chains.
const LENGTHS: [u64; 3] = [3, 100, 1000];
/// A node that has something to do: some 20 ms of it.
const BUSY: &str = "fn busy(a) { let s = 0; for i in 0..200000 { s += i % 7; } s + a }\n";

fn main() -> Result<()> {
    let plan = Plan::from_args();
    let home = folder()?;
    let memory = open(Parts::new(Arc::new(MemoryRecords::new()), Arc::new(SystemClock)))?;
    let records = RedbRecords::open(&home.path().join("records.redb"))?;
    let disk = open(Parts::new(Arc::new(records), Arc::new(SystemClock)))?;
    println!("medians of {} rounds", plan.rounds);
    for length in LENGTHS {
        chain(plan, &memory, "in memory", length)?;
        chain(plan, &disk, "on a disk", length)?;
    }
    waves(plan, &disk)?;
    speed_up(plan, &memory)?;
    planning(plan, &memory)?;
    many_runs(plan, &disk)?;
    kedro()
}

fn open(parts: Parts) -> Result<Liquid> {
    let liquid = Liquid::open(parts)?;
    let save = |name: String, source: &str| -> Result<()> {
        liquid.save_pipeline(&Name::new(&name)?, source, &Caller::system(), Expected::default())?;
        Ok(())
    };
    for length in LENGTHS {
        save(format!("chain-{length}"), &chain_of(length))?;
    }
    save("wide".into(), &wide(10, 10))?;
    let pair = "pipeline([node(busy, \"a\", \"b\", \"one\"), node(busy, \"a\", \"c\", \"two\")])";
    save("pair".into(), &format!("{BUSY}{pair}"))?;
    Ok(liquid)
}

/// Each node takes what the one before it made.
fn chain_of(length: u64) -> String {
    let mut source = "fn next(v) { v + 1 }\npipeline([\n".to_owned();
    for place in 0..length {
        let _ = writeln!(source, "node(next, \"v{place}\", \"v{}\", \"n{place}\"),", place + 1);
    }
    source + "])"
}

/// Layers of nodes, each of which takes two values of the layer before.
fn wide(layers: u64, width: u64) -> String {
    let mut source = "fn next(v) { v + 1 }\nfn add(v, w) { v + w }\npipeline([\n".to_owned();
    for place in 0..width {
        let _ = writeln!(source, "node(next, \"v0\", \"v0_{place}\", \"n0_{place}\"),");
    }
    for layer in 1..layers {
        let above = layer - 1;
        for place in 0..width {
            let other = (place + 1) % width;
            let _ = writeln!(
                source,
                "node(add, [\"v{above}_{place}\", \"v{above}_{other}\"], \"v{layer}_{place}\", \"n{layer}_{place}\"),"
            );
        }
    }
    source + "])"
}

fn run(liquid: &Liquid, name: &str, inputs: &str, runner: &str) -> Result<Run> {
    let body = json!({ "inputs": { inputs: 0 }, "runner": runner });
    let request = RunRequest::read(body.as_object().ok_or_else(|| Error::internal("no body"))?)?;
    let begun = liquid.start(&Name::new(name)?, request, &Caller::system(), None)?;
    let run = liquid.wait(&begun.id, Duration::from_mins(1))?;
    if run.state == RunState::Succeeded {
        Ok(run)
    } else {
        Err(Error::internal(format!("the run {}: {:?}", run.state, run.error)))
    }
}

fn rounds(plan: Plan, work: impl Fn(u64) -> Result<()> + Sync) -> Result<Vec<Sample>> {
    (0..plan.rounds).map(|_| keep_doing(1, plan.time, &work)).collect()
}

fn chain(plan: Plan, liquid: &Liquid, place: &str, length: u64) -> Result<()> {
    let name = format!("chain-{length}");
    let samples = rounds(plan, |_| run(liquid, &name, "v0", "sequential").map(drop))?;
    tell_nodes(&format!("a chain of {length} nodes {place}"), &samples, length);
    Ok(())
}

fn tell_nodes(what: &str, samples: &[Sample], nodes: u64) {
    let wall = median(samples.iter().map(|sample| 1e6 / sample.per_second() / number(nodes)));
    let cpu = median(samples.iter().map(|sample| sample.cpu_each() / number(nodes)));
    println!("{what:<44} {wall:>9.1} µs a node {cpu:>9.1} µs CPU");
}

/// Ten layers of ten nodes: one commit for a layer, not for a node.
fn waves(plan: Plan, disk: &Liquid) -> Result<()> {
    for runner in ["sequential", "parallel"] {
        let samples = rounds(plan, |_| run(disk, "wide", "v0", runner).map(drop))?;
        tell_nodes(&format!("10 layers of 10 nodes on a disk, {runner}"), &samples, 100);
    }
    Ok(())
}

fn speed_up(plan: Plan, memory: &Liquid) -> Result<()> {
    let mut ratios = Vec::new();
    for _ in 0..plan.rounds {
        let one = |runner| keep_doing(1, plan.time, |_| run(memory, "pair", "a", runner).map(drop));
        let (after, beside) = (one("sequential")?, one("parallel")?);
        ratios.push(beside.per_second() / after.per_second());
    }
    println!("two busy nodes, parallel beside sequential   {:>9.2} times", median(ratios));
    Ok(())
}

fn planning(plan: Plan, liquid: &Liquid) -> Result<()> {
    let source = chain_of(1000);
    // Another text each time: one that was read before is not read again.
    let samples = rounds(plan, |number| liquid.check(&format!("{source}\n// {number}")).map(drop))?;
    let each = median(samples.iter().map(|sample| 1e3 / sample.per_second()));
    println!("reading and planning 1000 nodes              {each:>9.2} ms");
    Ok(())
}

/// Whole runs of three nodes, started by as many threads as run at a time: what schedules do.
fn many_runs(plan: Plan, disk: &Liquid) -> Result<()> {
    let one = || keep_doing(4, plan.time, |_| run(disk, "chain-3", "v0", "sequential").map(drop));
    let samples = (0..plan.rounds).map(|_| one()).collect::<Result<Vec<Sample>>>()?;
    let rate = median(samples.iter().map(|sample| sample.per_second()));
    let cpu = median(samples.iter().map(|sample| sample.cpu_each()));
    println!("runs of three nodes on a disk, 4 at a time   {rate:>9.0} /s {cpu:>13.0} µs CPU");
    Ok(())
}

fn kedro() -> Result<()> {
    let Some(python) = std::env::var_os("KEDRO_PYTHON") else {
        println!("Kedro: not measured, KEDRO_PYTHON names no Python");
        return Ok(());
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/kedro_chains.py");
    let mut run = Command::new(python);
    run.arg(script).args(LENGTHS.map(|length| length.to_string()));
    let said = run.output().map_err(|source| Error::io("start Kedro", source))?;
    print!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    Ok(())
}
