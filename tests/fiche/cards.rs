//! One card: saving, reading, deleting, its history, its stages.

use axum::body::Body;
use axum::http::StatusCode;
use drip::kernel::access::{Caller, Role};
use serde_json::{Value, json};

use super::{Api, ok};

const CARD: &str = "/cards/model/wind-power/1.2.0";

#[tokio::test]
async fn a_card_is_saved_read_and_saved_again_only_when_it_differs() {
    let api = Api::new();
    let body = json!({"summary": "风电", "config": {"a": [1, 2.5]}, "labels": {"site": "XJJX"},
        "requires": "algorithm:power-curve@1.0.0, gbdt", "data": ["dataset:scada@2024"],
        "algorithm": "power-curve@1.0.0", "own": {"kept": true}});
    let first = api.put(CARD, body.clone()).await.expect(StatusCode::CREATED);
    assert_eq!(first.headers["etag"], "\"1\"");
    let card = first.body;
    assert_eq!(card["revision"], 1);
    assert_eq!(card["stage"], "experiment");
    assert_eq!(card["saved_by"], "ada");
    assert_eq!(card["created_at"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(card["requires"], json!(["algorithm:power-curve@1.0.0", "gbdt"]));
    assert_eq!(card["own"], json!({"kept": true}));
    assert_eq!(ok(api.get(CARD).await), card);
    assert_eq!(ok(api.put(CARD, body).await)["revision"], 1, "the same content");
    assert_eq!(ok(api.put(CARD, card).await)["revision"], 1, "what was read, sent back");
    let third = ok(api.put(CARD, json!({"summary": "other"})).await);
    assert_eq!(third["revision"], 2);
    assert_eq!(ok(api.get(&format!("{CARD}?revision=1")).await)["summary"], "风电");
    api.get(&format!("{CARD}?revision=9")).await.problem(404, "revision_not_found");
    api.get(&format!("{CARD}?revision=x")).await.problem(422, "bad_query");
    assert_eq!(api.fiche.last_number().unwrap(), 2);
}

#[tokio::test]
async fn the_path_names_the_card_whatever_the_body_says() {
    let api = Api::new();
    let body = json!({"kind": "dataset", "name": "x", "version": "9"});
    let card = api.put("/cards/model/%E9%A3%8E%E7%94%B5%20a/1%2B2", body).await;
    let card = card.expect(StatusCode::CREATED).body;
    assert_eq!(
        (&card["kind"], &card["name"], &card["version"]),
        (&json!("model"), &json!("风电 a"), &json!("1+2"))
    );
}

#[tokio::test]
async fn every_fault_of_a_bad_card_is_named() {
    let api = Api::new();
    let bad =
        json!({"stage": "paused", "summary": 1, "labels": {"a/b": 2}, "requires": ["disk:x"]});
    let answer = api.put("/cards/model/a%2Fb/1", bad).await;
    answer.problem(422, "bad_card");
    assert_eq!(answer.places(), ["/name", "/stage", "/summary", "/labels/a~1b", "/requires/0"]);
    let answer = api.put("/cards/gadget/a/1", json!({})).await;
    answer.problem(422, "unknown_kind");
    assert!(answer.text.contains("algorithm, model, parameter, application, dataset"));
    api.get("/cards/gadget/a/1").await.problem(404, "unknown_kind");
    api.get("/cards/gadget").await.problem(404, "unknown_kind");
    api.put("/cards/model/a/latest", json!({})).await.problem(422, "bad_card");
    let name = format!("/cards/model/{}/1", "x".repeat(10_000));
    api.put(&name, json!({})).await.problem(422, "bad_card");
    let cut = api.send("PUT", CARD, &[], "{\"a\": [1,").await;
    assert_eq!(cut.problem(400, "bad_json")["errors"][0]["pointer"], "line 1, column 9");
    let deep = format!("{{\"config\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    api.send("PUT", CARD, &[], deep).await.problem(422, "json_too_deep");
    let large = json!({"config": "x".repeat(2 << 20)});
    let refused = api.send("PUT", CARD, &[], large.to_string()).await;
    assert_eq!(refused.status, 413, "{}", refused.text);
    api.put(CARD, json!([1])).await.problem(422, "bad_card");
    assert_eq!(api.fiche.last_number().unwrap(), 0);
}

#[tokio::test]
async fn a_write_can_be_bound_to_what_was_read() {
    let api = Api::new();
    let put = |headers: &'static [(&'static str, &'static str)], text: &'static str| {
        api.send("PUT", CARD, headers, json!({"summary": text}).to_string())
    };
    put(&[("if-match", "\"1\"")], "a").await.problem(412, "stale_revision");
    put(&[("if-none-match", "*")], "a").await.expect(StatusCode::CREATED);
    put(&[("if-none-match", "*")], "b").await.problem(412, "card_exists");
    ok(put(&[("if-match", "\"1\"")], "b").await);
    put(&[("if-match", "\"1\"")], "c").await.problem(412, "stale_revision");
    put(&[("if-match", "\"1\"")], "b").await.problem(412, "stale_revision");
    let fresh = api.send("GET", CARD, &[("if-none-match", "\"2\"")], Body::empty()).await;
    assert_eq!((fresh.status, fresh.text.as_str()), (304, ""));
    let delete = |tag: &'static str| {
        let headers: &'static [(&str, &str)] =
            if tag == "1" { &[("if-match", "\"1\"")] } else { &[("if-match", "\"2\"")] };
        api.send("DELETE", CARD, headers, Body::empty())
    };
    delete("1").await.problem(412, "stale_revision");
    assert_eq!(delete("2").await.status, 204);
}

#[tokio::test]
async fn a_deleted_card_keeps_its_history_and_goes_on_from_it() {
    let api = Api::new();
    let delete = || api.send("DELETE", CARD, &[], Body::empty());
    delete().await.problem(404, "card_not_found");
    api.put(CARD, json!({"summary": "a"})).await.expect(StatusCode::CREATED);
    ok(api.post(&format!("{CARD}/stage"), json!({"stage": "deployed"})).await);
    delete().await.expect(StatusCode::NO_CONTENT);
    let gone = api.get(CARD).await;
    assert!(gone.problem(404, "card_not_found")["detail"].as_str().unwrap().contains("deleted"));
    delete().await.problem(404, "card_not_found");
    api.post(&format!("{CARD}/stage"), json!({"stage": "retired"}))
        .await
        .problem(404, "card_not_found");
    assert_eq!(ok(api.get("/cards/model").await)["items"], json!([]));
    assert_eq!(ok(api.get(&format!("{CARD}?revision=1")).await)["summary"], "a");
    let history = ok(api.get(&format!("{CARD}/history")).await);
    assert_eq!(history["items"][1]["change"]["deleted"]["by"], "ada");
    let again = api.put(CARD, json!({"summary": "a"})).await.expect(StatusCode::CREATED).body;
    assert_eq!((&again["revision"], &again["stage"]), (&json!(3), &json!("experiment")));
    let history = ok(api.get(&format!("{CARD}/history")).await);
    let revisions: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|r| r["revision"].clone()).collect();
    assert_eq!(revisions, [1, 2, 3]);
}

#[tokio::test]
async fn history_and_diff_tell_what_changed() {
    let api = Api::new();
    for n in 1..=5 {
        api.put(CARD, json!({"summary": n.to_string(), "config": {"depth": n, "same": true}}))
            .await;
    }
    let page = ok(api.get(&format!("{CARD}/history?limit=3")).await);
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert_eq!(page["items"][0]["summary"], "1");
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("{CARD}/history?limit=3&cursor={cursor}")).await);
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    assert_eq!(rest["items"][1]["change"]["event"], "card.saved");
    assert_eq!(rest["next_cursor"], Value::Null);
    api.get(&format!("{CARD}/history?cursor=made-up")).await.problem(400, "bad_cursor");
    let diff = ok(api.get(&format!("{CARD}/diff")).await);
    assert_eq!(
        diff,
        json!({"from": 4, "to": 5, "changes": [
            {"path": "/config/depth", "change": "changed", "from": 4, "to": 5},
            {"path": "/summary", "change": "changed", "from": "4", "to": "5"},
        ]})
    );
    let diff = ok(api.get(&format!("{CARD}/diff?from=5&to=1")).await);
    assert_eq!(
        diff["changes"][1],
        json!({"path": "/summary", "change": "changed", "from": "5", "to": "1"})
    );
    api.get(&format!("{CARD}/diff?from=7")).await.problem(404, "revision_not_found");
}

#[tokio::test]
async fn a_stage_is_moved_on_purpose_and_never_by_a_save() {
    let api = Api::new();
    api.put(CARD, json!({"stage": "deployed"})).await.problem(422, "stage_not_moved_by_save");
    api.put(CARD, json!({"stage": "experiment"})).await.expect(StatusCode::CREATED);
    let stage = format!("{CARD}/stage");
    let moved = api
        .post(&stage, json!({"stage": "deployed", "comment": "passed 验收"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(moved.headers["etag"], "\"2\"");
    assert_eq!((&moved.body["stage"], &moved.body["revision"]), (&json!("deployed"), &json!(2)));
    let history = ok(api.get(&format!("{CARD}/history")).await);
    let change = &history["items"][1]["change"];
    assert_eq!(change["event"], "card.staged");
    assert_eq!(change["by"], "ada");
    assert_eq!(change["comment"], "passed 验收");
    assert_eq!(change["from_stage"], "experiment");
    assert_eq!(
        ok(api.post(&stage, json!({"stage": "deployed"})).await)["revision"],
        2,
        "there already"
    );
    ok(api.put(CARD, json!({"summary": "x", "stage": "deployed"})).await);
    assert_eq!(ok(api.put(CARD, json!({"summary": "y"})).await)["stage"], "deployed");
    api.put(CARD, json!({"stage": "retired"})).await.problem(422, "stage_not_moved_by_save");
    api.post(&stage, json!({"stage": "experiment"})).await.problem(409, "stage_move_not_allowed");
    api.post(&stage, json!({"stage": "paused"})).await.problem(422, "unknown_stage");
    api.post(&stage, json!({"stage": "retired", "why": "?"})).await.problem(422, "bad_body");
    ok(api.post(&stage, json!({"stage": "retired"})).await);
    api.post(&stage, json!({"stage": "deployed"})).await.problem(409, "stage_move_not_allowed");
    let stale =
        api.send("POST", &stage, &[("if-match", "\"1\"")], "{\"stage\":\"experiment\"}").await;
    stale.problem(412, "stale_revision");
    api.post("/cards/model/none/1/stage", json!({"stage": "retired"}))
        .await
        .problem(404, "card_not_found");
}

#[tokio::test]
async fn a_retried_move_has_one_effect_and_the_same_answer() {
    let api = Api::new();
    api.put(CARD, json!({})).await;
    let stage = format!("{CARD}/stage");
    let post = |body: &'static str| api.send("POST", &stage, &[("idempotency-key", "k1")], body);
    let first = ok(post("{\"stage\":\"testing\"}").await);
    ok(api.post(&stage, json!({"stage": "deployed"})).await);
    assert_eq!(ok(post("{\"stage\":\"testing\"}").await), first);
    assert_eq!(ok(api.get(CARD).await)["stage"], "deployed", "the retry did nothing");
    post("{\"stage\":\"retired\"}").await.problem(409, "idempotency_key_reused");
}

#[tokio::test]
async fn latest_is_the_highest_version_else_the_newest() {
    let api = Api::new();
    for version in ["1.9.0", "1.10.0", "1.10.0-rc.1", "nightly"] {
        api.put(&format!("/cards/model/a/{version}"), json!({})).await;
    }
    assert_eq!(ok(api.get("/cards/model/a/latest").await)["version"], "1.10.0");
    api.send("DELETE", "/cards/model/a/1.10.0", &[], Body::empty()).await;
    assert_eq!(ok(api.get("/cards/model/a/latest").await)["version"], "1.10.0-rc.1");
    for version in ["2024", "spring"] {
        api.put(&format!("/cards/model/b/{version}"), json!({})).await;
    }
    assert_eq!(ok(api.get("/cards/model/b/latest/history").await)["items"][0]["name"], "b");
    api.get("/cards/model/none/latest").await.problem(404, "card_not_found");
    let refused = api.send("DELETE", "/cards/model/a/latest", &[], Body::empty()).await;
    refused.problem(422, "latest_is_no_version");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let api = Api::new();
    for n in 0..7 {
        let site = if n % 2 == 0 { "even" } else { "odd" };
        api.put(&format!("/cards/model/m{n}/1"), json!({"labels": {"site": site, "n:a": "b"}}))
            .await;
    }
    api.put("/cards/model/m1/2", json!({})).await;
    api.put("/cards/dataset/m1/1", json!({})).await;
    api.post("/cards/model/m3/1/stage", json!({"stage": "testing"})).await;
    let names = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .map(|card| {
                format!("{}@{}", card["name"].as_str().unwrap(), card["version"].as_str().unwrap())
            })
            .collect()
    };
    let mut seen = Vec::new();
    let mut path = "/cards/model?limit=3".to_owned();
    loop {
        let page = ok(api.get(&path).await);
        seen.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/cards/model?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["m0@1", "m1@1", "m1@2", "m2@1", "m3@1", "m4@1", "m5@1", "m6@1"]);
    let list = async |query: &str| names(&ok(api.get(&format!("/cards/model?{query}")).await));
    assert_eq!(list("name=m1").await, ["m1@1", "m1@2"]);
    assert_eq!(list("label=site:odd").await, ["m1@1", "m3@1", "m5@1"]);
    assert_eq!(list("label=site:odd&stage=testing&label=n:a:b").await, ["m3@1"]);
    assert_eq!(list("label=site:nowhere").await, [""; 0]);
    api.get("/cards/model?stage=paused").await.problem(422, "unknown_stage");
    api.get("/cards/model?limit=0").await.problem(422, "bad_limit");
}

#[tokio::test]
async fn who_may_not_write_is_refused() {
    let mut api = Api::new();
    api.caller = Caller::new("vera", Role::Viewer);
    api.put(CARD, json!({})).await.problem(403, "not_allowed");
    api.post("/cards:batch", json!([])).await.problem(403, "not_allowed");
    ok(api.get("/cards/model").await);
    api.caller = Caller::new("carl", Role::Consumer);
    api.get("/cards/model").await.problem(403, "not_allowed");
}

#[test]
fn every_write_leaves_a_line_of_audit() {
    let fiche = super::open();
    super::save(&fiche, super::small("a")).unwrap();
    super::save(&fiche, super::small("a")).unwrap();
    let ben = Caller::new("ben", Role::Publisher);
    fiche.stage(&ben, &super::key("model", "a", "1"), drip::fiche::Stage::Testing, "").unwrap();
    fiche.delete(&ben, &super::key("model", "a", "1"), drip::fiche::Conditions::default()).unwrap();
    let lines = drip::kernel::feed::read_audit(fiche.store().as_ref(), None, 10).unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|(_, l)| (l.who.as_str(), l.action.as_str(), l.subject.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("ben", "card.deleted", "model/a/1"),
            ("ben", "card.staged", "model/a/1"),
            ("ada", "card.saved", "model/a/1"),
        ]
    );
}

#[test]
fn many_writers_of_one_card_lose_nothing() {
    let fiche = super::open();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let fiche = fiche.clone();
            scope.spawn(move || {
                for n in 0..20 {
                    let mut card = super::small("a");
                    card["summary"] = format!("{writer} {n}").into();
                    super::save(&fiche, card).unwrap();
                }
            });
        }
    });
    let key = super::key("model", "a", "1");
    let history = fiche.history(&key, 0, 1000).unwrap();
    let revisions: Vec<_> = history.iter().map(|revision| revision.card.revision).collect();
    assert_eq!(revisions, (1..=160).collect::<Vec<u64>>());
    let mut texts: Vec<_> = history.iter().map(|revision| revision.card.text("summary")).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 160);
    let numbers: Vec<_> =
        fiche.changes(0, 1000).unwrap().iter().map(|change| change.number).collect();
    assert_eq!(numbers, (1..=160).collect::<Vec<u64>>());
}
