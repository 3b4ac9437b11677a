//! What saving a card costs: CPU time of the whole process, with the search index taking each card in.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use drip::fiche::{CardDraft, CardKind, Conditions, Config, Fiche, Parts};
use drip::kernel::access::Caller;
use drip::kernel::{Bus, Result, SystemClock, records};
use serde_json::json;

mod support;
use support::{Plan, Sample, bare_syncs, cpu_time, folder, keep_doing, median};

/// What one round found.
struct Round {
    bare: Sample,
    alone: Sample,
    crowd: Sample,
}

/// What a line of the answer is called, and where it is found in a round.
type Line = (&'static str, fn(&Round) -> Sample);

fn main() -> Result<()> {
    let plan = Plan::from_args();
    let folder = folder()?;
    let store = folder.path().join("fiche.redb");
    let fiche = Fiche::open(Parts {
        records: records::open(&store.display().to_string())?,
        clock: Arc::new(SystemClock),
        bus: Bus::new(),
        folder: Some(folder.path().to_owned()),
        config: Config::default(),
    })?;
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        rounds.push(Round {
            bare: bare_syncs(folder.path(), plan.time)?,
            alone: saves(&fiche, 1, plan.time)?,
            crowd: saves(&fiche, 32, plan.time)?,
        });
    }
    tell(&rounds);
    reads(&fiche);
    Ok(())
}

fn draft(number: u64) -> Result<CardDraft> {
    let card = json!({
        "summary": "风电功率预测: mean power of a turbine from wind speed at hub height",
        "author": "wind-team",
        "labels": {"site": "XJJX", "season": "winter"},
        "config": {"rated_kw": 2050, "cut_in": 3.0, "cut_out": 25.0, "hours": [1, 6, 24]},
        "evaluation": {"rmse_pct": 11.4, "bias_pct": -0.3},
    });
    CardDraft::named(card, CardKind::MODEL, &format!("wind-power-{number}"), "1.0.0")
}

/// Saves new cards; the CPU time includes the search index's, until it has taken in the last one.
fn saves(fiche: &Fiche, threads: usize, time: Duration) -> Result<Sample> {
    let caller = Caller::system();
    let begun = cpu_time()?;
    let mut sample = keep_doing(threads, time, |number| {
        fiche.save(&caller, &draft(number)?, Conditions::default()).map(drop)
    })?;
    let indexed = fiche.wait_indexed(fiche.last_number()?, Duration::from_mins(1));
    assert!(indexed, "the index lags by a minute");
    sample.cpu = cpu_time()? - begun;
    Ok(sample)
}

fn tell(rounds: &[Round]) {
    let rate = |of: fn(&Round) -> Sample| median(rounds.iter().map(|r| of(r).per_second()));
    println!("medians of {} rounds", rounds.len());
    println!("append 4 KiB + fdatasync  {:>7.0} /s", rate(|r| r.bare));
    let lines: [Line; 2] = [("1 thread", |r| r.alone), ("32 threads", |r| r.crowd)];
    for (name, of) in lines {
        let cpu = median(rounds.iter().map(|r| of(r).cpu_each()));
        let ratio = median(rounds.iter().map(|r| of(r).per_second() / r.bare.per_second()));
        println!(
            "card saves, {name:<12}  {:>7.0} /s  {ratio:>6.2} of bare  {cpu:>7.0} us CPU each",
            rate(of)
        );
    }
}

/// Reading one card as it stands.
fn reads(fiche: &Fiche) {
    let known = fiche.list(&drip::fiche::Filter::default(), None, 1);
    let name =
        known.ok().and_then(|cards| Some(cards.first()?.key.name.to_string())).unwrap_or_default();
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("cards/get", |bench| {
        bench.iter(|| fiche.get(CardKind::MODEL, black_box(&name), "1.0.0"));
    });
    criterion.final_summary();
}
