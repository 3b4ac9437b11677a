//! Finding cards by words, and an index that mends itself.

use std::path::Path;
use std::sync::Arc;

use drip::fiche::{Fiche, Filter, Search, Sort, Stage};
use drip::kernel::access::Caller;
use drip::kernel::records::MemoryRecords;
use serde_json::{Value, json};

use super::{Api, PATIENCE, find, key, ok, open, open_over, save, settle, small};

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
        ("预测功率", vec![]),
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
        json!({"kind": {"dataset": 1, "model": 5}, "stage": {"experiment": 5, "testing": 1}})
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
        filter: Filter { stage: Some(Stage::Experiment), ..Filter::default() },
        sort: Sort::Name,
        limit: 10,
        ..Search::default()
    };
    assert_eq!(fiche.search(&experiment).unwrap().items, []);
}

/// Opens the index over the same records again after `harm` was done to its folder, and expects
/// every card to be found.
fn mends_after(harm: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let fiche = open_over(records.clone(), Some(folder.path()));
    for n in 0..20 {
        save(&fiche, small(&format!("m{n}"))).unwrap();
    }
    settle(&fiche);
    fiche.close();
    drop(fiche);
    harm(&folder.path().join("index"));
    for _ in 0..2 {
        let fiche = open_over(records.clone(), Some(folder.path()));
        settle(&fiche);
        assert_eq!(find(&fiche, "").len(), 20);
        assert_eq!(find(&fiche, "m7"), ["m7@1"]);
        fiche.close();
    }
}

fn files(index: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(index).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    assert!(!found.is_empty(), "no .{extension} in the index");
    found
}

#[test]
fn an_index_that_is_whole_is_used_as_it_is() {
    mends_after(|_| {});
}

#[test]
fn a_deleted_index_is_made_anew() {
    mends_after(|index| std::fs::remove_dir_all(index).unwrap());
}

#[test]
fn a_torn_index_is_made_anew() {
    mends_after(|index| std::fs::write(index.join("meta.json"), "{").unwrap());
    mends_after(|index| std::fs::write(index.join("meta.json"), "").unwrap());
    mends_after(|index| {
        for file in files(index, "term") {
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }
    });
    mends_after(|index| {
        for file in files(index, "store") {
            std::fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn an_index_with_turned_bytes_is_made_anew() {
    mends_after(|index| {
        for file in files(index, "idx") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 0xFF;
            std::fs::write(file, bytes).unwrap();
        }
    });
}

#[test]
fn an_index_catches_up_with_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let fiche = open_over(records.clone(), Some(folder.path()));
    save(&fiche, small("a")).unwrap();
    settle(&fiche);
    fiche.close();
    save(&fiche, small("b")).unwrap();
    fiche
        .delete(&Caller::system(), &key("model", "a", "1"), drip::fiche::Conditions::default())
        .unwrap();
    drop(fiche);
    let fiche = open_over(records, Some(folder.path()));
    settle(&fiche);
    assert_eq!(find(&fiche, ""), ["b@1"]);
}

#[test]
fn an_index_of_other_records_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
        save(&fiche, small(name)).unwrap();
        save(&fiche, small(&format!("{name}-more"))).unwrap();
        settle(&fiche);
        assert_eq!(find(&fiche, ""), [format!("{name}-more@1"), format!("{name}@1")]);
        fiche.close();
    }
    let empty = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    assert_eq!(find(&empty, ""), [""; 0]);
}

#[test]
fn an_index_folder_that_cannot_be_made_is_told_and_cards_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "x").unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(&file));
    save(&fiche, small("a")).unwrap();
    assert!(!fiche.wait_indexed(1, std::time::Duration::from_millis(300)));
    let refused = fiche.search(&Search { limit: 1, ..Search::default() }).unwrap_err();
    assert_eq!(refused.code(), "index_unavailable");
    assert_eq!(fiche.list(&Filter::default(), None, 10).unwrap().len(), 1);
    std::fs::remove_file(&file).unwrap();
    assert!(fiche.wait_indexed(1, PATIENCE), "it is tried again until it can be made");
    assert_eq!(find(&fiche, ""), ["a@1"]);
}

#[test]
fn an_index_that_vanishes_while_it_is_used_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    save(&fiche, small("a")).unwrap();
    settle(&fiche);
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    save(&fiche, small("b")).unwrap();
    settle(&fiche);
    assert_eq!(find(&fiche, ""), ["a@1", "b@1"]);
}

#[cfg(feature = "redb")]
#[test]
fn cards_are_there_and_found_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let path = folder.path().join("fiche.redb");
        let records = drip::kernel::records::open(path.to_str().unwrap()).unwrap();
        open_over(records, Some(folder.path()))
    };
    let fiche = open();
    save(&fiche, small("a")).unwrap();
    drop(fiche);
    let fiche = open();
    settle(&fiche);
    assert_eq!(find(&fiche, "a"), ["a@1"]);
    assert_eq!(fiche.changes(0, 10).unwrap()[0].card.key, key("model", "a", "1"));
}
