//! Finding cards by words, by what they are, and by time.

use std::sync::Arc;

use drip::fiche::{Config, Fiche, Filter, Parts, Search, Sort, Stage};
use drip::kernel::Bus;
use drip::kernel::access::Caller;
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::records::MemoryRecords;
use serde_json::{Value, json};

use super::{Api, find, key, ok, open, save, settle, small};

fn library() -> Fiche {
    let fiche = open();
    for (kind, name, version, fields) in [
        (
            "model",
            "LSTM-v2",
            "2.1.0",
            json!({"summary": "短期风电功率预测模型", "labels": {"site": "XJJX"}, "config": {"hidden_units": 128}}),
        ),
        ("model", "GBDT_功率预测", "1.0.0", json!({"summary": "梯度提升树", "remark": "光伏电站"})),
        (
            "algorithm",
            "wind-power-curve",
            "1.2.0",
            json!({"summary": "Fits a binned power curve per turbine", "author": "Grace Hopper"}),
        ),
        (
            "algorithm",
            "SolarForecast",
            "0.9",
            json!({"summary": "forecasting solar irradiance", "own": {"turbine": "R80711"}}),
        ),
        (
            "dataset",
            "scada",
            "2014",
            json!({"summary": "Measured power of four turbines", "project": "La Haute Borne"}),
        ),
    ] {
        let mut card = fields;
        card["kind"] = json!(kind);
        card["name"] = json!(name);
        card["version"] = json!(version);
        save(&fiche, card).unwrap();
    }
    settle(&fiche);
    fiche
}

#[test]
fn words_are_found_in_chinese_and_english() {
    let fiche = library();
    let (lstm, gbdt, curve) = ("LSTM-v2@2.1.0", "GBDT_功率预测@1.0.0", "wind-power-curve@1.2.0");
    let (solar, scada) = ("SolarForecast@0.9", "scada@2014");
    for (q, found) in [
        ("风", vec![lstm]),
        ("电", vec![gbdt, lstm]),
        ("功率", vec![gbdt, lstm]),
        ("功率预测", vec![gbdt, lstm]),
        ("\"预测功率\"", vec![]),
        ("预测功率", vec![gbdt, lstm]),
        ("风电 功率", vec![lstm]),
        ("lstm", vec![lstm]),
        ("LSTM-v2", vec![lstm]),
        ("v2", vec![lstm]),
        ("GBDT_功率预测", vec![gbdt]),
        ("gbdt", vec![gbdt]),
        ("2.1.0", vec![lstm]),
        ("2.1", vec![lstm]),
        ("hidden_units", vec![lstm]),
        ("hidden", vec![lstm]),
        ("128", vec![lstm]),
        ("forecasts", vec![solar]),
        ("solar", vec![solar]),
        ("turbine", vec![solar, scada, curve]),
        ("power", vec![scada, curve]),
        ("power curve", vec![curve]),
        ("\"power curve\"", vec![curve]),
        ("\"curve power\"", vec![]),
        ("power AND NOT curve", vec![scada]),
        ("solar OR gbdt", vec![gbdt, solar]),
        ("(solar OR lstm) AND summary:功率", vec![lstm]),
        ("name:power", vec![curve]),
        ("author:hopper", vec![curve]),
        ("summary:hopper", vec![]),
        ("label:XJJX", vec![lstm]),
        ("labels:site", vec![lstm]),
        ("kind:dataset", vec![scada]),
        ("stage:experiment kind:algorithm", vec![solar, curve]),
        ("turb*", vec![solar, scada, curve]),
        ("LSTM-*", vec![lstm]),
        ("功*", vec![gbdt, lstm]),
        ("R80711", vec![solar]),
        ("turbine:R80711", vec![solar]),
        ("nothing", vec![]),
    ] {
        let mut found: Vec<String> = found.into_iter().map(str::to_owned).collect();
        found.sort();
        assert_eq!(find(&fiche, q), found, "{q}");
    }
    assert_eq!(find(&fiche, "").len(), 5);
    assert_eq!(find(&fiche, "*").len(), 5);
    assert_eq!(find(&fiche, "NOT power").len(), 3);
}

#[test]
fn odd_queries_are_no_errors() {
    let fiche = library();
    for q in [
        "AND AND (",
        "*",
        "((((",
        "\"",
        "name:",
        ":",
        "a:b:c",
        "\\",
        "NOT NOT NOT",
        "-",
        "^~[]{}",
        "\u{0}",
        "name:*",
        "x^2~3",
        "[a TO b]",
    ] {
        let search = Search { q: q.to_owned(), limit: 10, ..Search::default() };
        assert!(fiche.search(&search).is_ok(), "{q:?}");
    }
    let long = |q: String| fiche.search(&Search { q, limit: 10, ..Search::default() });
    assert_eq!(long("x".repeat(5000)).unwrap_err().code(), "query_too_long");
    assert_eq!(long("a ".repeat(2000)).unwrap_err().code(), "query_too_long");
    assert!(long("风".repeat(1300)).is_ok());
}

#[tokio::test]
async fn a_search_answers_cards_scores_passages_and_counts() {
    let api = Api::new();
    for n in 0..5 {
        let mut card = small(&format!("m{n}"));
        card["summary"] = json!(format!("风电 <b>模型</b> {n}"));
        card["labels"] = json!({"n": n.to_string(), "parity": (n % 2).to_string()});
        save(&api.fiche, card).unwrap();
    }
    save(&api.fiche, json!({"kind": "dataset", "name": "风电", "version": "1"})).unwrap();
    let stage = json!({"stage": "testing"});
    ok(api.post("/cards/model/m4/1/stage", stage).await);
    let fiche = api.fiche.clone();
    tokio::task::spawn_blocking(move || settle(&fiche)).await.unwrap();
    let found = ok(api.get("/cards?q=%E9%A3%8E%E7%94%B5").await);
    assert_eq!(found["total"], 6);
    assert_eq!(
        found["facets"],
        json!({
            "kind": {"dataset": 1, "model": 5},
            "stage": {"experiment": 5, "testing": 1},
            "label_key": {"n": 5, "parity": 5},
            "label": {"n:0": 1, "n:1": 1, "n:2": 1, "n:3": 1, "n:4": 1, "parity:0": 3, "parity:1": 2},
        })
    );
    assert_eq!(found["items"][0]["card"]["kind"], "dataset", "a name counts more than a summary");
    assert!(
        found["items"][0]["score"].as_f64().unwrap() > found["items"][1]["score"].as_f64().unwrap()
    );
    let passage = found["items"][1]["highlights"]["summary"].as_str().unwrap();
    assert!(passage.starts_with("<mark>风电</mark> &lt;b&gt;模型"), "{passage}");
    assert_eq!(found["behind"], 0);

    let names = async |query: &str| -> Vec<String> {
        let found = ok(api.get(&format!("/cards?{query}")).await);
        let items = found["items"].as_array().unwrap();
        items.iter().map(|hit| hit["card"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("kind=dataset").await, ["风电"]);
    assert_eq!(names("stage=testing").await, ["m4"]);
    assert_eq!(names("label=parity:1&sort=name").await, ["m1", "m3"]);
    assert_eq!(names("label=parity:1&label=n:3").await, ["m3"]);
    assert_eq!(names("kind=model&sort=-name").await, ["m4", "m3", "m2", "m1", "m0"]);
    let first = ok(api.get("/cards?kind=model&sort=name&limit=3").await);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("/cards?kind=model&sort=name&limit=3&cursor={cursor}")).await);
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    assert_eq!((&rest["total"], &rest["next_cursor"]), (&json!(5), &Value::Null));
    api.get("/cards?sort=size").await.problem(422, "bad_sort");
    api.get("/cards?kind=gadget").await.problem(422, "unknown_kind");
    api.get(&format!("/cards?q={}", "x".repeat(5000))).await.problem(422, "query_too_long");
}

fn at(text: &str) -> Time {
    Time::parse(text).unwrap()
}

/// Five cards, one a day from 1 March 2026, the first changed again on 5 March.
fn calendar() -> Api {
    let clock = ManualClock::at(at("2026-03-01T12:00:00Z"));
    let fiche = Fiche::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        clock: clock.clone(),
        bus: Bus::new(),
        folder: None,
        config: Config::default(),
    })
    .unwrap();
    for day in 1..=5 {
        clock.set(at(&format!("2026-03-0{day}T12:00:00Z")));
        let mut card = small(&format!("d{day}"));
        card["labels"] = json!({"day": day.to_string(), "parity": (day % 2).to_string()});
        card["kind"] = ["dataset", "model"][day % 2].into();
        save(&fiche, card).unwrap();
    }
    save(&fiche, json!({"kind": "model", "name": "d1", "version": "1", "labels": {"day": "1"}}))
        .unwrap();
    settle(&fiche);
    Api::over(fiche)
}

#[tokio::test]
async fn cards_are_filtered_by_time_and_by_several_kinds_stages_and_labels() {
    let api = calendar();
    api.fiche.stage(&Caller::system(), &key("dataset", "d2", "1"), Stage::Testing, "").unwrap();
    let fiche = api.fiche.clone();
    tokio::task::spawn_blocking(move || settle(&fiche)).await.unwrap();
    for (query, names) in [
        ("updated_after=2026-03-03&updated_before=2026-03-05", vec!["d3", "d4"]),
        ("updated_after=2026-03-04T12:00:00Z&created_after=2026-03-02", vec!["d2", "d4", "d5"]),
        ("updated_before=2026-03-04T20:00:00%2B08:00", vec!["d3"]),
        ("created_before=2026-03-02", vec!["d1"]),
        ("created_after=2026-03-02T12:00:00Z&created_before=2026-03-03T12:00:00Z", vec!["d2"]),
        ("updated_after=2027-01-01", vec![]),
        ("kind=model,dataset&created_before=2026-03-03", vec!["d1", "d2"]),
        ("kind=model&kind=dataset&label=day:1&label=day:2&label=day:3", vec!["d1", "d2", "d3"]),
        ("label=day:1&label=day:3&label=parity:1", vec!["d3"]),
        ("label=parity&label=day:1", vec![]),
        ("stage=testing,deployed", vec!["d2"]),
        ("stage=testing&stage=experiment&kind=dataset", vec!["d2", "d4"]),
        ("name=d4", vec!["d4"]),
        ("q=d*&updated_after=2026-03-05", vec!["d1", "d2", "d5"]),
    ] {
        let found = ok(api.get(&format!("/cards?{query}&sort=name")).await);
        let items = found["items"].as_array().unwrap();
        let told: Vec<_> = items.iter().map(|hit| hit["card"]["name"].as_str().unwrap()).collect();
        assert_eq!(told, names, "{query}");
        assert_eq!(found["total"], names.len(), "{query}");
    }
    let sorted = ok(api.get("/cards?sort=-created&limit=2").await);
    let told = [&sorted["items"][0]["card"]["name"], &sorted["items"][1]["card"]["name"]];
    assert_eq!(told, [&json!("d5"), &json!("d4")]);
    let listed = ok(api.get("/cards/model?updated_after=2026-03-05&label=day:1").await);
    assert_eq!(listed["items"][0]["name"], "d1");
    let export = api.get("/cards:export?created_after=2026-03-04").await;
    assert_eq!(export.text.lines().count(), 2);
}

#[tokio::test]
async fn of_many_labels_the_most_frequent_are_counted() {
    let api = Api::new();
    for n in 0..120 {
        let mut card = small(&format!("m{n}"));
        let site = ["a", "b", "c"][n % 3];
        card["labels"] = json!({"run": n.to_string(), "site": site});
        save(&api.fiche, card).unwrap();
    }
    let fiche = api.fiche.clone();
    tokio::task::spawn_blocking(move || settle(&fiche)).await.unwrap();
    let facets = &ok(api.get("/cards?limit=1").await)["facets"];
    assert_eq!(facets["label_key"], json!({"run": 120, "site": 120}));
    let labels = facets["label"].as_object().unwrap();
    assert_eq!((labels.len(), &labels["site:a"]), (50, &json!(40)));
}

#[tokio::test]
async fn a_misspelled_word_finds_what_was_meant_and_says_so() {
    let api = Api::over(library());
    let found = ok(api.get("/cards?q=turbnie%20power").await);
    assert_eq!(found["instead"]["turbnie"], json!(["turbine"]), "{found}");
    assert_eq!(found["total"], 2);
    let passage = found["items"][0]["highlights"]["summary"].as_str().unwrap();
    assert!(passage.contains("<mark>"), "{passage}");
    assert_eq!(ok(api.get("/cards?q=turbine").await)["instead"], Value::Null);
    // Neither a phrase nor what a filter shuts out is read more widely.
    assert_eq!(ok(api.get("/cards?q=%22turbnie%22").await)["total"], 0);
    let none = ok(api.get("/cards?q=lstm&kind=dataset").await);
    assert_eq!((&none["total"], &none["instead"]), (&json!(0), &Value::Null));
}

#[test]
fn what_changes_is_found_as_it_is_and_what_is_deleted_never() {
    let fiche = open();
    save(&fiche, small("a")).unwrap();
    save(&fiche, small("b")).unwrap();
    settle(&fiche);
    let mut card = small("a");
    card["summary"] = json!("turbine");
    save(&fiche, card).unwrap();
    settle(&fiche);
    assert_eq!(find(&fiche, "turbine"), ["a@1"]);
    let system = Caller::system();
    fiche.delete(&system, &key("model", "a", "1"), drip::fiche::Conditions::default()).unwrap();
    // At once, however far the index is.
    assert_eq!(find(&fiche, "turbine"), [""; 0]);
    settle(&fiche);
    assert_eq!(find(&fiche, ""), ["b@1"]);
    fiche.stage(&system, &key("model", "b", "1"), Stage::Testing, "").unwrap();
    let experiment = Search {
        filter: Filter { stages: vec![Stage::Experiment], ..Filter::default() },
        sort: Sort::Name,
        limit: 10,
        ..Search::default()
    };
    assert_eq!(fiche.search(&experiment).unwrap().items, []);
}
