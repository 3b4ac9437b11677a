#![cfg(test)]
//! The whole story, told by the real program and looked at over HTTP.

use std::collections::BTreeMap;

use drip::kernel::Digest;
use serde_json::{Value, json};

use crate::support::daemon::Home;
use crate::support::http::Http;

mod figures;
mod whole;

/// The account that looks at what a demo left behind: made while the daemon is stopped.
const CHECKER: &str = "checker";

/// Runs `demo --once --json` to its end and answers what it told.
pub(crate) fn demo(home: &Home, more: &[&str]) -> Value {
    let mut arguments =
        vec!["--json", "demo", "--once", "--data", "data", "--listen", "127.0.0.1:0"];
    arguments.extend(more);
    let output = home.run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the demo ended with {:?}:\n{complained}", output.status);
    let told = said.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(told.unwrap_or_else(|| panic!("no story in:\n{said}"))).unwrap()
}

/// The figures that the pipeline's run left, as the demo told them.
pub(crate) fn figures(told: &Value) -> Value {
    let steps = told["steps"].as_array().unwrap();
    let run = steps.iter().find(|step| step["figures"]["figures"].is_object());
    run.unwrap_or_else(|| panic!("no figures in {told}"))["figures"]["figures"].clone()
}

/// What there is after the demo, as an admin sees it, without times and ids: equal for two demos
/// that came as far.
pub(crate) fn inventory(home: &Home) -> BTreeMap<String, Value> {
    home.make_admin(CHECKER);
    let daemon = home.serve();
    let http = daemon.http().with_token(&daemon.login_as(CHECKER));
    let mut found = BTreeMap::new();
    for path in [
        "datasets/scada/2014q1",
        "datasets/era5/2014",
        "datasets/wind-forecast/1.0.0",
        "packages/wind-power/1.0.0/metadata",
        "operators/air-density/1.0.0",
        "operators/wind-speed/1.0.0",
        "operators/wind-direction/1.0.0",
        "operators/power-curve/1.0.0",
        "operators/wind-forecast/1.0.0",
        "pipelines/wind-power",
        "schedules/wind-power-hourly",
        "channels/wind/forecast",
        "users/grid-desk/quota",
    ] {
        let answer = http.get(&format!("/api/v1/{path}")).unwrap();
        if answer.status == 200 {
            found.insert(path.to_owned(), timeless(answer.json()));
        }
    }
    let model = http.get("/api/v1/objects/models/wind-power/1.0.0/model.json").unwrap();
    if model.status == 200 {
        found.insert("model".into(), json!(Digest::of(&model.body).to_hex()));
    }
    for kind in ["algorithm", "dataset", "model", "parameter"] {
        cards(&http, kind, &mut found);
    }
    daemon.stop();
    found
}

fn cards(http: &Http, kind: &str, found: &mut BTreeMap<String, Value>) {
    let list = http.get(&format!("/api/v1/cards/{kind}?limit=100")).unwrap().expect(200).json();
    for card in list["items"].as_array().unwrap() {
        let name = format!("{kind}:{}@{}", card["name"], card["version"]);
        found.insert(name, timeless(card.clone()));
    }
}

/// Leaves out what differs between two equal runs: when, by which id, how often it was tried.
fn timeless(value: Value) -> Value {
    const CHANGING: &[&str] = &[
        "created_at",
        "updated_at",
        "pushed_at",
        "saved_at",
        "revision",
        "last",
        "next",
        "next_at",
        "saved_by",
        "pushed_by",
        "owner",
        "resets_at",
        "armed_at",
        "since",
        "last_fired_at",
    ];
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !CHANGING.contains(&name.as_str()))
            .map(|(name, value)| (name, timeless(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(timeless).collect(),
        other => other,
    }
}
