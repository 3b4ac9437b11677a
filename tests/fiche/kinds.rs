//! Kinds of one's own, and the moves between stages that `drip.toml` allows.

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use drip::fiche::{Config, Fiche, KEYS, Parts};
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::config::{LoadOptions, Settings};
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Bus, Result};
use serde_json::json;

use super::{Api, find, key, ok, save, settle};

const KINDS: &str = r#"
[fiche.kinds.site]
fields = ["region", "timezone"]
references = { turbines = ["dataset"], requires = ["site", "application"] }
[fiche.kinds.campaign]
references = { sites = ["site"], requiredby = ["model"] }
"#;

fn config(toml: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drip.toml");
    std::fs::write(&file, toml).unwrap();
    Config::read(&Settings::load(LoadOptions::new(&[KEYS]).file(Some(file)))?)
}

fn open(records: &SharedRecords, folder: Option<&Path>, toml: &str) -> Fiche {
    Fiche::open(Parts {
        records: records.clone(),
        clock: ManualClock::at(Time(1_700_000_000_000_000)),
        bus: Bus::new(),
        folder: folder.map(Path::to_owned),
        config: config(toml).unwrap(),
    })
    .unwrap()
}

/// Cards in memory with these settings.
pub(super) fn open_with(toml: &str) -> Fiche {
    let records: SharedRecords = Arc::new(MemoryRecords::new());
    open(&records, None, toml)
}

fn api(toml: &str) -> Api {
    Api::over(open_with(toml))
}

#[tokio::test]
async fn cards_of_a_kind_of_ones_own_go_through_every_route() {
    let api = api(KINDS);
    let site = "/cards/site/xjjx/1";
    let body = json!({"region": "新疆", "turbines": "scada@2014", "requires": "application:desk@1", "own": [1]});
    let card = api.put(site, body).await.expect(StatusCode::CREATED).body;
    assert_eq!((&card["kind"], &card["turbines"]), (&json!("site"), &json!(["scada@2014"])));
    assert_eq!(ok(api.get(site).await), card);
    assert_eq!(ok(api.put(site, json!({"region": "b"})).await)["revision"], 2);
    ok(api.post(&format!("{site}/stage"), json!({"stage": "testing"})).await);
    assert_eq!(ok(api.get(&format!("{site}/diff?from=1")).await)["to"], 3);
    assert_eq!(ok(api.get(&format!("{site}/history")).await)["items"][2]["stage"], "testing");
    assert_eq!(ok(api.get("/cards/site?stage=testing").await)["items"][0]["name"], "xjjx");
    let batch = json!([{"kind": "campaign", "name": "autumn", "version": "1", "sites": ["xjjx"]}]);
    assert_eq!(ok(api.post("/cards:batch", batch).await)["created"], 1);
    let fiche = api.fiche.clone();
    tokio::task::spawn_blocking(move || settle(&fiche)).await.unwrap();
    let found = ok(api.get("/cards?kind=site,campaign&sort=name").await);
    assert_eq!(found["facets"]["kind"], json!({"site": 1, "campaign": 1}));
    assert_eq!(ok(api.get("/cards?q=kind:site").await)["total"], 1);
    let export = api.get("/cards:export?kind=site").await.expect(StatusCode::OK).text;
    assert_eq!(export.lines().count(), 1);
    api.send("DELETE", site, &[], "").await.expect(StatusCode::NO_CONTENT);
    let done = ok(api.send("POST", "/cards:import", &[], export).await);
    assert_eq!((&done["created"], &done["refused"]), (&json!(1), &json!(0)));
    assert_eq!(ok(api.get(site).await)["stage"], "testing");
}

#[tokio::test]
async fn fields_of_a_kind_of_ones_own_are_checked() {
    let api = api(KINDS);
    let bad = json!({"region": 3, "turbines": ["a/b", "nobody:x"], "requires": 7});
    let answer = api.put("/cards/site/xjjx/1", bad).await;
    answer.problem(422, "bad_card");
    assert_eq!(answer.places(), ["/region", "/turbines/0", "/turbines/1", "/requires"]);
    let answer = api.put("/cards/gadget/a/1", json!({})).await;
    answer.problem(422, "unknown_kind");
    assert!(answer.text.contains("dataset, campaign, site"), "{}", answer.text);
    api.get("/cards/gadget/a/1").await.problem(404, "unknown_kind");
    api.get("/cards?kind=gadget").await.problem(422, "unknown_kind");
}

#[tokio::test]
async fn references_of_a_kind_of_ones_own_are_lineage() {
    let api = api(KINDS);
    for card in [
        json!({"kind": "dataset", "name": "scada", "version": "1"}),
        json!({"kind": "site", "name": "xjjx", "version": "1", "turbines": "scada"}),
        json!({"kind": "model", "name": "wind", "version": "1", "requires": ["site:xjjx@1"]}),
        json!({"kind": "campaign", "name": "autumn", "version": "1", "sites": "xjjx@1", "requiredby": "wind@1"}),
    ] {
        let draft = api.fiche.draft(card).unwrap();
        api.fiche.save(&api.caller, &draft, drip::fiche::Conditions::default()).unwrap();
    }
    let lineage = ok(api.get("/cards/dataset/scada/1/lineage?direction=down").await);
    let edges: Vec<String> = lineage["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {} {}", e["from"], e["field"], e["to"]).replace('"', ""))
        .collect();
    assert_eq!(
        edges,
        [
            "campaign:autumn@1 sites site:xjjx@1",
            "model:wind@1 requiredby campaign:autumn@1",
            "model:wind@1 requires site:xjjx@1",
            "site:xjjx@1 turbines dataset:scada@1",
        ]
    );
    let impact = ok(api.get("/cards/site/xjjx/1/impact").await);
    assert_eq!(impact["directly"].as_array().unwrap().len(), 2);
}

#[test]
fn a_kind_that_is_no_longer_declared_keeps_its_cards_and_takes_no_more() {
    let records: SharedRecords = Arc::new(MemoryRecords::new());
    let folder = tempfile::tempdir().unwrap();
    let site = json!({"kind": "site", "name": "xjjx", "version": "1", "turbines": "scada@1"});
    let with = open(&records, Some(folder.path()), KINDS);
    let system = drip::kernel::access::Caller::system();
    let conditions = drip::fiche::Conditions::default();
    with.save(&system, &with.draft(site.clone()).unwrap(), conditions).unwrap();
    save(&with, json!({"kind": "dataset", "name": "scada", "version": "1"})).unwrap();
    settle(&with);
    with.close();
    // Two handles with different kinds at once: each goes by its own.
    let without = open(&records, Some(folder.path()), "");
    assert_eq!(without.draft(site.clone()).unwrap_err().code(), "bad_card");
    let draft = with.draft(site.clone()).unwrap();
    let refused = without.save(&system, &draft, conditions).unwrap_err();
    assert_eq!(refused.code(), "unknown_kind");
    assert!(refused.detail().contains("algorithm, model, parameter, application, dataset"));
    assert_eq!(with.save(&system, &draft, conditions).unwrap().card.revision, 1);
    let kind = without.kind("site").unwrap();
    assert_eq!(without.get(kind, "xjjx", "latest").unwrap().fields["turbines"], json!(["scada@1"]));
    settle(&without);
    assert_eq!(find(&without, "xjjx"), ["xjjx@1"]);
    let xjjx = key("site", "xjjx", "1");
    without.stage(&system, &xjjx, drip::fiche::Stage::Retired, "").unwrap();
    let scada = key("dataset", "scada", "1");
    let down = drip::fiche::Direction::Down;
    assert_eq!(without.lineage(&scada, down, None).unwrap().nodes.len(), 1, "not known any more");
    without.delete(&system, &xjjx, conditions).unwrap();
    assert_eq!(without.history(&xjjx, 0, 9).unwrap().len(), 2);
    // Declared again, the old card's references do not come back from the dead.
    let again = open(&records, None, KINDS);
    assert_eq!(again.lineage(&scada, down, None).unwrap().nodes.len(), 1);
    assert_eq!(without.kind("gadget").unwrap_err().code(), "unknown_kind");
}

#[tokio::test]
async fn moves_are_those_of_the_settings() {
    let api = api("[fiche.stages]\nexperiment = [\"development\"]\nretired = []\n");
    let card = "/cards/model/a/1";
    let stage = format!("{card}/stage");
    api.put(card, json!({})).await.expect(StatusCode::CREATED);
    let refused = api.post(&stage, json!({"stage": "deployed"})).await;
    let detail = refused.problem(409, "stage_move_not_allowed")["detail"].clone();
    assert!(detail.as_str().unwrap().ends_with("it may go to development"), "{detail}");
    ok(api.post(&stage, json!({"stage": "development"})).await);
    ok(api.post(&stage, json!({"stage": "deployed"})).await);
    ok(api.post(&stage, json!({"stage": "retired"})).await);
    let refused = api.post(&stage, json!({"stage": "experiment"})).await;
    assert!(refused.text.contains("it may go to nowhere"), "{}", refused.text);
}

#[test]
fn settings_that_mean_nothing_are_refused_with_every_fault() {
    let refused = config("[fiche.stages]\npaused = []\ntesting = [\"live\"]\n").unwrap_err();
    assert_eq!((refused.code(), refused.faults().len()), ("config_bad_value", 2));
    let refused = config("[fiche.kinds]\nmodel = {}\nX = 1\n").unwrap_err();
    assert_eq!((refused.code(), refused.faults().len()), ("config_bad_value", 2));
}
