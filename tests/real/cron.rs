#![cfg(test)]
//! A year of firings of twenty expressions in five time zones, beside croniter and Python's own
//! time zones (`cron.py` says how the two are put together).

use std::process::Command;

use drip::kernel::Time;
use drip::liquid::cron::{Cron, parse_zone};
use serde_json::{Value, json};

use crate::support::real_venv;

const ZONES: [&str; 5] =
    ["Europe/Paris", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "UTC"];
const EXPRESSIONS: [&str; 20] = [
    "0 * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "15 1,2,3 * * *",
    "0 0 * * *",
    "45 23 28-31 * *",
    "0 9 * * 1-5",
    "0 12 29 2 *",
    "5 4 * * sun",
    "0 0 1 1 *",
    "*/15 */6 * * *",
    "0 2 * 3,11 *",
    "0 22 * * 1,3,5",
    "23 0-20/2 * * *",
    "0 0 13 * 5",
    "10 3 31 * *",
    "59 1 * * 0",
    "*/20 2 * * *",
    "0 6 1-7 * *",
    "17 5 * jan-mar,oct mon",
];

#[test]
fn a_year_of_firings_is_that_of_croniter() {
    let Some(venv) = real_venv("cron") else { return };
    // A leap year, with both changes of the clocks.
    let (from, until) = (1_704_067_200_i64, 1_735_689_600_i64);
    let mut asked = Vec::new();
    for zone in ZONES {
        for expression in EXPRESSIONS {
            let cron = Cron::parse(expression, parse_zone(zone).unwrap()).unwrap();
            let mut fired = Vec::new();
            let mut at = Time((from - 1) * 1_000_000);
            while let Some(next) = cron.next(at).filter(|next| next.0 < until * 1_000_000) {
                assert_eq!(next.0 % 1_000_000, 0);
                fired.push(next.0 / 1_000_000);
                at = next;
            }
            asked.push(json!({"zone": zone, "cron": expression, "fired": fired}));
        }
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("firings.json");
    std::fs::write(&file, json!({"from": from, "until": until, "asked": asked}).to_string())
        .unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/cron.py");
    let run = Command::new(venv.join("bin/python")).arg(script).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(report["differences"], json!([]));
    assert_eq!(report["compared"], json!(ZONES.len() * EXPRESSIONS.len()));
    assert!(report["firings"].as_u64().unwrap() > 500_000, "{report}");
}
