#![cfg(test)]
//! The story over HTTP, call by call, against a real daemon on a free port.

use serde_json::{Value, json};

use super::{demo, inventory};
use crate::support::daemon::Home;

#[test]
fn the_whole_story_is_told_over_http() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let admin = daemon.http().with_token(&daemon.login());
    let wind = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/wind");
    let csv = |name: &str| std::fs::read(wind.join(name)).unwrap();

    // Datasets, which become cards.
    for (path, file) in [("scada/2014q1", "scada-2014q1.csv"), ("era5/2014", "era5-2014.csv")] {
        let path = format!("/api/v1/datasets/{path}?tag=wind&belong=test");
        let put = admin.send("PUT", &path, Some("text/csv"), &csv(file)).unwrap();
        assert!(put.expect(201).json()["rows"].as_u64().unwrap() > 8_000);
        let again = admin.send("PUT", &path, Some("text/csv"), &csv(file)).unwrap();
        again.expect(200);
    }
    let card = admin.get("/api/v1/cards/dataset/scada/2014q1").unwrap().expect(200).json();
    assert_eq!(card["config"]["rows"], 51_816);

    // An operator, served at once.
    let operator = json!({
        "source": "fn compute(a, b) { a + b * 2 + 1 }",
        "inputs": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}],
        "output": {"type": "float"},
    });
    admin.put("/api/v1/operators/linear/1.0.0", &operator).unwrap().expect(201);
    let asked = json!({"inputs": {"a": 78, "b": 9}});
    let computed = admin.post("/api/v1/operators/linear/latest/compute", &asked).unwrap();
    assert_eq!(computed.expect(200).json(), json!({"output": 97.0, "version": "1.0.0"}));

    // The pipeline, in two runs of the same inputs: the same figures.
    let source = include_bytes!("../../scripts/pipelines/wind-power.rhai");
    let path = "/api/v1/pipelines/wind-power";
    admin.send("PUT", path, Some("text/plain"), source).unwrap().expect(201);
    let inputs = json!({
        "scada": "scada@2014q1", "era5": "era5@2014", "version": "9.0.0",
        "train_from": "2014-01-01", "train_to": "2014-02-01",
        "test_from": "2014-02-01", "test_to": "2014-03-01",
    });
    let run = |runner: &str| -> Value {
        let body = json!({"inputs": inputs, "runner": runner, "outputs": ["figures"]});
        let path = "/api/v1/pipelines/wind-power/runs?wait=120s";
        admin.post(path, &body).unwrap().expect(200).json()
    };
    let (first, second) = (run("parallel"), run("sequential"));
    assert_eq!(first["state"], "succeeded", "{first}");
    assert_eq!(first["outputs"]["figures"], second["outputs"]["figures"]);
    assert!(first["outputs"]["figures"]["measured"]["R80711"]["rmse_pct"].is_f64());

    // What it kept, and what it logged with the run's id.
    let model = admin.get("/api/v1/objects/models/wind-power/9.0.0/model.json").unwrap();
    assert_eq!(model.expect(200).json()["trained"]["to"], "2014-02-01");
    let path = "/api/v1/cards/model/wind-power/9.0.0/lineage?direction=up&depth=2";
    let lineage = admin.get(path).unwrap().expect(200).json();
    assert!(lineage["edges"].as_array().unwrap().len() >= 6, "{lineage}");
    let lines = format!("/api/v1/logs?run_id={}", first["id"].as_str().unwrap());
    let lines = admin.get(&lines).unwrap().expect(200).json();
    assert!(lines["items"].as_array().unwrap().len() > 10, "{lines}");

    // A channel for one consumer, until the quota says no.
    let channel = json!({
        "dataset": "scada@2014q1", "time_column": "Date_time", "entity_column": "Wind_turbine_name",
        "columns": ["P_avg"], "unit": "rows", "rate": "100/s", "burst": 100,
    });
    admin.put("/api/v1/channels/wind/scada", &channel).unwrap().expect(201);
    let account = json!({"role": "consumer", "password": "kites over the ridge"});
    admin.put("/api/v1/users/ada", &account).unwrap().expect(201);
    admin.put("/api/v1/channels/wind/scada/grants/ada", &json!({})).unwrap().expect(201);
    let quota = json!({"channel": "wind/scada", "unit": "rows", "limit": 10, "period": "total"});
    admin.put("/api/v1/users/ada/quota", &quota).unwrap();
    let token = json!({"name": "t", "user": "ada", "scopes": ["dashare:read"], "expires_in": "1h"});
    let token = admin.post("/api/v1/tokens", &token).unwrap().expect(201).json();
    let ada = daemon.http().with_token(token["token"].as_str().unwrap());
    let hour = "/api/v1/channels/wind/scada/data?entity=R80711&start=2014-02-01T00:00:00Z&end=2014-02-01T01:00:00Z";
    let data = ada.get(hour).unwrap().expect(200);
    assert_eq!(data.header("drip-quota-remaining"), Some("4"));
    assert_eq!(data.json()["items"].as_array().unwrap().len(), 6);
    let refused = ada.get(hour).unwrap().expect(429);
    assert_eq!(refused.json()["code"], "quota_exhausted");
    ada.get("/api/v1/cards/model").unwrap().expect(403);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_second_demo_changes_nothing_that_need_not_change() {
    let home = Home::new();
    let first = demo(&home, &[]);
    let before = inventory(&home);
    assert!(before.len() > 20, "{:?}", before.keys());
    let second = demo(&home, &[]);
    assert_eq!(inventory(&home), before);
    assert_eq!(super::figures(&first), super::figures(&second));
}
