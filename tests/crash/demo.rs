#![cfg(test)]
//! The demo, killed: at random moments, and at every so manieth sync. Run again it completes, and what
//! it said it had done is there, equal.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::story::{demo, inventory};
use crate::support::daemon::Home;
use crate::support::rng::Rng;
use crate::support::shim::{Class, Fault, Shim};
use crate::support::{number_from_env, pause};

/// What is there once a step was told, by the step's number.
const AFTER_STEP: &[(usize, &[&str])] = &[
    (1, &["datasets/scada/2014q1", "datasets/era5/2014"]),
    (2, &["packages/wind-power/1.0.0/metadata"]),
    (3, &["operators/air-density/1.0.0", "operators/power-curve/1.0.0"]),
    (4, &["pipelines/wind-power", "model"]),
    (5, &["schedules/wind-power-hourly"]),
    (6, &["channels/wind/forecast", "users/grid-desk/quota"]),
    (7, &["operators/wind-forecast/1.0.0"]),
];

/// An undisturbed demo: what it leaves, how long it takes, how often it syncs.
struct Reference {
    inventory: BTreeMap<String, Value>,
    took: Duration,
    syncs: u64,
}

fn reference() -> &'static Reference {
    static REFERENCE: OnceLock<Reference> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let home = Home::new();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let mut command = once(&home);
        shim.put_on(&mut command);
        let begun = Instant::now();
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        let (took, syncs) = (begun.elapsed(), shim.count(Class::Sync));
        Reference { inventory: inventory(&home), took, syncs }
    })
}

fn once(home: &Home) -> Command {
    home.dripctl(&["demo", "--once", "--data", "data", "--listen", "127.0.0.1:0"])
}

/// How many steps a demo told before it was killed.
fn steps_told(said: &str) -> usize {
    let number = |line: &str| line.split_whitespace().next()?.parse::<usize>().ok();
    let steps = said.lines().filter(|line| line.starts_with(' ') && !line.starts_with("   "));
    steps.filter_map(number).max().unwrap_or(0)
}

/// Looks at what a killed demo left, and runs it to its end.
fn look_and_complete(home: &Home, said: &str, moment: &str) {
    let expected = &reference().inventory;
    let left = inventory(home);
    let told = steps_told(said);
    for (step, things) in AFTER_STEP.iter().filter(|(step, _)| *step <= told) {
        for thing in *things {
            let same = left.get(*thing) == expected.get(*thing);
            assert!(same, "{moment}: step {step} was told, and {thing} is {:?}", left.get(*thing));
        }
    }
    demo(home, &[]);
    let complete = inventory(home);
    let differ: Vec<_> =
        expected.iter().filter(|(name, value)| complete.get(*name) != Some(value)).collect();
    assert!(differ.is_empty(), "{moment}: after completing, these differ: {differ:#?}");
}

#[test]
fn a_demo_killed_at_random_moments_completes_with_all_it_told() {
    let seed = Rng::seed_from_env("CRASH_SEED");
    let mut rng = Rng::new(seed);
    let longest = usize::try_from(reference().took.as_micros()).unwrap();
    for cycle in 0..number_from_env("CRASH_CYCLES", 2) {
        let home = Home::new();
        let mut child = once(&home).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let after = Duration::from_micros(rng.below(longest) as u64);
        pause(after);
        // It may have come to its end before; then there was nothing to kill.
        let _ended = child.kill();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        look_and_complete(&home, &said, &format!("CRASH_SEED={seed}, cycle {cycle}, {after:?}"));
    }
}

#[test]
fn a_demo_killed_at_its_syncs_completes_with_all_it_told() {
    // Every tenth in the long suite; a few of them in a quick one.
    let syncs = reference().syncs;
    let step = if std::env::var_os("CRASH_CYCLES").is_some() { 10 } else { syncs / 2 + 1 };
    for at in (step..=syncs).step_by(usize::try_from(step).unwrap()) {
        let home = Home::new();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        let mut command = once(&home);
        shim.put_on(&mut command);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        look_and_complete(&home, &said, &format!("killed at sync {at} of {syncs}"));
    }
}
