//! Operators: calls within their fence beside calls of a bare Rhai engine.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use drip::atom::{Atom, Cancel, Config, Guard, OperatorSpec, Parts, Port, PortType};
use drip::kernel::access::Caller;
use drip::kernel::blobs::Blobs;
use drip::kernel::records::MemoryRecords;
use drip::kernel::script::{Call, Fence, MeteredAllocator, ScriptEngine};
use drip::kernel::{Bus, Error, Name, Result, SystemClock};
use rhai::Dynamic;
use serde_json::{Value, json};

mod support;
use support::{Plan, Sample, keep_doing, median};

/// As in `dripctl`: without it scripts have no memory limit, and calls would look cheaper.
#[global_allocator]
static METERED: MeteredAllocator = MeteredAllocator::new();

const SOURCE: &str = "
fn compute(u, v) {
    let speed = sqrt(u * u + v * v);
    if speed < 3.0 { return 0.0; }
    if speed > 12.5 { return 2050.0; }
    2050.0 * ((speed - 3.0) / 9.5) ** 3.0
}
";
const ROWS: u32 = 1000;

/// What one round found; every sample counts rows.
struct Round {
    bare: Sample,
    many: Sample,
    rows: Sample,
    one: Sample,
}

/// What a line of the answer is called, and where it is found in a round.
type Line = (&'static str, fn(&Round) -> Sample);

fn main() -> Result<()> {
    let plan = Plan::from_args();
    let caller = Caller::system();
    let atom = atom(&caller)?;
    let engine = ScriptEngine::builder().fence(Fence::operator()).build()?;
    let program = engine.compile(SOURCE)?;
    let bare = rhai::Engine::new();
    let ast = bare.compile(SOURCE).map_err(|source| Error::internal(source.to_string()))?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(Round {
            bare: by_row(keep_doing(1, plan.time, |_| call_bare(&bare, &ast))?),
            many: by_row(keep_doing(1, plan.time, |_| {
                let answers = engine.call_many(&program, "compute", arguments(), &Call::new())?;
                answers.into_iter().try_for_each(|answer| answer.map(drop))
            })?),
            rows: by_row(keep_doing(1, plan.time, |_| {
                let rows = (0..ROWS).map(inputs).collect();
                let cancel = Cancel::default();
                atom.compute_rows(&caller, "power", "1.0.0", rows, &cancel)
                    .map(|computed| drop(black_box(computed)))
            })?),
            one: keep_doing(1, plan.time, |_| {
                atom.compute(&caller, "power", "1.0.0", inputs(300))
                    .map(|computed| drop(black_box(computed)))
            })?,
        });
    }
    tell(&rounds);
    single(&engine, &program, &atom, &caller);
    Ok(())
}

fn atom(caller: &Caller) -> Result<Atom> {
    let atom = Atom::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        blobs: Blobs::memory(),
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        listener: None,
        modules: BTreeMap::new(),
        config: Config::default(),
    })?;
    let spec = OperatorSpec {
        source: SOURCE.to_owned(),
        inputs: Some(vec![Port::new("u", PortType::Float), Port::new("v", PortType::Float)]),
        output: Port::new("power_kw", PortType::Float),
        datasets: Vec::new(),
        label: drip::atom::Label::default(),
    };
    let key = (&Name::new("power")?, &Name::new("1.0.0")?);
    atom.put_operator(caller, key, spec, Guard::default())?;
    Ok(atom)
}

fn wind(row: u32) -> (f64, f64) {
    (f64::from(row % 170) / 10.0, f64::from(row % 7))
}

fn inputs(row: u32) -> Value {
    let (u, v) = wind(row);
    json!({ "u": u, "v": v })
}

fn arguments() -> impl Iterator<Item = Vec<Dynamic>> + Send {
    (0..ROWS).map(|row| {
        let (u, v) = wind(row);
        vec![u.into(), v.into()]
    })
}

fn call_bare(engine: &rhai::Engine, ast: &rhai::AST) -> Result<()> {
    let mut scope = rhai::Scope::new();
    for row in 0..ROWS {
        let power: f64 = engine
            .call_fn(&mut scope, ast, "compute", wind(row))
            .map_err(|source| Error::internal(source.to_string()))?;
        black_box(power);
    }
    Ok(())
}

fn by_row(sample: Sample) -> Sample {
    Sample { count: sample.count * f64::from(ROWS), ..sample }
}

fn tell(rounds: &[Round]) {
    println!("medians of {} rounds", rounds.len());
    let lines: [Line; 4] = [
        ("bare Rhai engine, no limits", |r| r.bare),
        ("script::call_many, 1000 rows", |r| r.many),
        ("Atom::compute_rows, 1000 rows", |r| r.rows),
        ("Atom::compute, one row", |r| r.one),
    ];
    for (name, of) in lines {
        let rate = median(rounds.iter().map(|r| of(r).per_second()));
        let cpu = median(rounds.iter().map(|r| of(r).cpu_each()));
        let ratio = median(rounds.iter().map(|r| of(r).cpu_each() / r.bare.cpu_each()));
        println!(
            "{name:<30} {rate:>9.0} rows/s  {cpu:>6.2} us CPU a row  {ratio:>5.1} times the bare engine's"
        );
    }
}

/// One call each, as a request makes it.
fn single(
    engine: &ScriptEngine,
    program: &drip::kernel::script::Program,
    atom: &Atom,
    caller: &Caller,
) {
    let call = Call::new();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("operators/script::call", |bench| {
        bench.iter(|| engine.call(program, "compute", vec![7.0.into(), 1.0.into()], &call));
    });
    criterion.bench_function("operators/Atom::compute", |bench| {
        bench.iter(|| atom.compute(caller, "power", "1.0.0", black_box(inputs(70))));
    });
    criterion.final_summary();
}
