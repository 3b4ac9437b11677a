use serde_json::json;

use super::*;

const MODELS: Collection = Collection { name: "model_info", kind: Some(CardKind::MODEL) };

fn merged(documents: &[Value]) -> Merge {
    let mut merge = Merge::default();
    for (at, document) in documents.iter().enumerate() {
        merge.take(MODELS, &format!("document {at}"), Ok(document.clone()));
    }
    merge
}

fn model(id: &str, time: Value, summary: &str) -> Value {
    json!({
        "_id": {"$oid": id}, "name": "wind", "version": "1", "summary": summary, "time": time,
    })
}

fn summary(merge: &Merge) -> String {
    let cards: Vec<_> = merge.cards(CardKind::MODEL).collect();
    assert_eq!(cards.len(), 1);
    cards[0].draft.fields()["summary"].as_str().unwrap().to_owned()
}

#[test]
fn the_newest_document_of_a_card_counts_wherever_it_stands() {
    let date = |day: u32| json!({"$date": format!("2022-05-{day:02}T00:00:00Z")});
    let text = json!("2022-05-30 08:00:00.000");
    let newest = model("b", text.clone(), "newest");
    let others =
        [model("c", date(1), "old"), model("d", json!(null), "no time"), model("e", date(29), "x")];
    for at in 0..=others.len() {
        let mut documents = others.to_vec();
        documents.insert(at, newest.clone());
        let merge = merged(&documents);
        assert_eq!(summary(&merge), "newest", "at {at}");
        let tally = merge.tallies()[&MODELS];
        assert_eq!(tally, Tally { read: 4, merged: 3, rejected: 0 });
    }
    // The same moment: the later id; the same id, or none: the later place.
    assert_eq!(summary(&merged(&[model("b", text.clone(), "b"), model("a", text, "a")])), "b");
    let bare = |summary: &str| json!({"name": "wind", "version": "1", "summary": summary});
    assert_eq!(summary(&merged(&[bare("first"), bare("second")])), "second");
}

#[test]
fn what_is_no_card_is_told_with_its_id_or_its_place_and_stops_nothing() {
    let mut merge = merged(&[
        json!({"_id": {"$oid": "a1"}, "name": "a/b", "version": "1"}),
        json!({"_id": 7, "version": "1"}),
        json!({"name": "x", "version": 1.5}),
        json!({"_id": "s", "name": "x", "version": "1", "summary": {"no": "text"}}),
        json!(["no document"]),
        json!({"_id": "l", "name": "x", "version": "latest"}),
        json!({"_id": "r", "name": "x", "version": "1", "requires": [7]}),
        json!({"_id": "good", "name": "x", "version": "1"}),
    ]);
    let broken = Error::invalid("bad_bson", "the document is damaged", Vec::new());
    merge.take(MODELS, "byte 90", Err(broken));
    let told: Vec<_> = merge
        .rejected()
        .iter()
        .map(|r| (r.id.as_str(), r.errors.first().map_or("", |fault| fault.pointer.as_str())))
        .collect();
    assert_eq!(
        told,
        [
            ("a1", "/name"),
            ("7", "/name"),
            ("document 2", "/version"),
            ("s", "/summary"),
            ("document 4", ""),
            ("l", "/version"),
            ("r", "/requires/0"),
            ("byte 90", ""),
        ]
    );
    assert_eq!(merge.tallies()[&MODELS], Tally { read: 9, merged: 0, rejected: 8 });
    assert_eq!(merge.cards(CardKind::MODEL).count(), 1);
}

#[test]
fn a_refused_document_takes_the_place_of_none() {
    let good = model("a", json!({"$date": 1000}), "good");
    let mut bad = model("b", json!({"$date": 2000}), "");
    bad["summary"] = json!(5);
    assert_eq!(summary(&merged(&[good, bad])), "good");
}

#[test]
fn a_document_with_little_in_it_becomes_a_card_with_everything_it_says() {
    let merge = merged(&[json!({
        "_id": {"$oid": "62942f00"}, "_cls": "ModelInfo", "name": "风电", "version": "1.0.0",
        "config": {"depth": {"$numberInt": "3"}, "since": {"$date": 0}},
        "requires": ["a@1", "见 https://example.org"], "data": null, "algorithm": "pc@1",
        "own": {"$numberLong": "9"}, "time": {"$date": {"$numberLong": "1653897600123"}},
    })]);
    let newest = merge.cards(CardKind::MODEL).next().unwrap();
    assert_eq!(newest.id, "62942f00");
    assert_eq!(
        Value::Object(newest.draft.fields().clone()),
        json!({
            "summary": "", "config": {"depth": 3, "since": "1970-01-01T00:00:00.000000"},
            "remark": "", "labels": {}, "requires": ["a@1"], "algorithm": "pc@1", "own": 9,
            "as_written": {"requires": "a@1,见 https://example.org"},
            "imported_time": "2022-05-30T08:00:00.123000",
        })
    );
}

#[test]
fn a_time_that_cannot_be_read_is_kept_as_it_was_written() {
    let merge = merged(&[model("a", json!("yesterday"), "s")]);
    let newest = merge.cards(CardKind::MODEL).next().unwrap();
    assert_eq!(newest.draft.fields()["imported_time"], "yesterday");
    let merge = merged(&[model("a", json!(17), "s")]);
    let newest = merge.cards(CardKind::MODEL).next().unwrap();
    assert_eq!(newest.draft.fields().get("imported_time"), None);
}

#[test]
fn observers_are_counted_and_checked() {
    let observers = Collection::known("observer_info").unwrap();
    let mut merge = Merge::default();
    for document in [
        json!({"name": "hq", "version": "1"}),
        json!({"name": "hq", "version": "1"}),
        json!({"name": "hq/2", "version": 1}),
    ] {
        merge.take(observers, "x", Ok(document));
    }
    assert_eq!(merge.observers(), 1);
    assert_eq!(merge.tallies()[&observers], Tally { read: 3, merged: 1, rejected: 1 });
    assert_eq!(merge.rejected()[0].errors.len(), 2);
    assert_eq!(Collection::known("run_info"), None);
}
