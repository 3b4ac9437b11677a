//! Many cards at once.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Api, ok, small};

#[tokio::test]
async fn a_batch_is_saved_as_a_whole() {
    let api = Api::new();
    ok(api.post("/cards:batch", json!([small("a")])).await);
    let mut changed = small("a");
    changed["summary"] = json!("new");
    let done =
        ok(api.post("/cards:batch", json!({"items": [changed, small("b"), small("b")]})).await);
    assert_eq!(
        (&done["created"], &done["updated"], &done["unchanged"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(done["items"][0]["revision"], 2);
    assert_eq!(api.fiche.last_number().unwrap(), 3);
    ok(api.post("/cards:batch", json!({"cards": []})).await);
}

#[tokio::test]
async fn one_bad_card_keeps_all_of_a_batch_out() {
    let api = Api::new();
    let bad = json!([small("a"), {"kind": "gadget", "name": "b"}, {"kind": "model", "name": "c", "version": "1", "labels": {"x": 1}}]);
    let answer = api.post("/cards:batch", bad).await;
    answer.problem(422, "bad_card");
    assert_eq!(answer.places(), ["/1/kind", "/1/version", "/2/labels/x"]);
    let mut staged = small("b");
    staged["stage"] = json!("deployed");
    let answer = api.post("/cards:batch", json!([small("a"), staged])).await;
    answer.problem(422, "stage_not_moved_by_save");
    assert_eq!(answer.places(), ["/1/stage"]);
    api.post("/cards:batch", json!({"nothing": 1})).await.problem(422, "bad_card");
    api.post("/cards:batch", json!("x")).await.problem(422, "bad_card");
    assert_eq!(api.fiche.last_number().unwrap(), 0);
    assert_eq!(ok(api.get("/cards/model").await)["items"], json!([]));
}

#[tokio::test]
async fn a_retried_batch_has_one_effect() {
    let api = Api::new();
    let body = json!([small("a")]).to_string();
    let headers = [("idempotency-key", "once")];
    let first = ok(api.send("POST", "/cards:batch", &headers, body.clone()).await);
    api.send("DELETE", "/cards/model/a/1", &[], "").await.expect(StatusCode::NO_CONTENT);
    assert_eq!(ok(api.send("POST", "/cards:batch", &headers, body).await), first);
    api.get("/cards/model/a/1").await.problem(404, "card_not_found");
}

#[tokio::test]
async fn an_export_taken_in_elsewhere_gives_the_same_cards() {
    let api = Api::new();
    for n in 0..450 {
        let mut card = small(&format!("m{n:03}"));
        card["config"] = json!({"n": n, "中": [0.1, 1e300]});
        super::save(&api.fiche, card).unwrap();
    }
    api.post("/cards/model/m007/1/stage", json!({"stage": "accepted"}))
        .await
        .expect(StatusCode::OK);
    super::save(&api.fiche, json!({"kind": "dataset", "name": "d", "version": "1"})).unwrap();
    let export = api.get("/cards:export").await.expect(StatusCode::OK);
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    assert_eq!(export.text.lines().count(), 451);
    assert_eq!(api.get("/cards:export?kind=dataset").await.text.lines().count(), 1);

    let other = Api::new();
    let done = ok(other.send("POST", "/cards:import", &[], export.text.clone()).await);
    assert_eq!((&done["accepted"], &done["created"]), (&json!(451), &json!(451)));
    let card = ok(other.get("/cards/model/m007/1").await);
    assert_eq!((&card["stage"], &card["config"]["n"]), (&json!("accepted"), &json!(7)));
    let again = ok(other.send("POST", "/cards:import", &[], export.text).await);
    assert_eq!((&again["unchanged"], &again["created"]), (&json!(451), &json!(0)));
    assert_eq!(other.fiche.last_number().unwrap(), 451);
}

#[tokio::test]
async fn bad_lines_of_an_import_are_told_and_good_ones_kept() {
    let api = Api::new();
    let lines = format!("{}\n\nnot json\r\n{{\"kind\": \"model\"}}\n{}", small("a"), small("b"));
    let headers = [("idempotency-key", "in")];
    let done = ok(api.send("POST", "/cards:import", &headers, lines.clone()).await);
    assert_eq!((&done["accepted"], &done["refused"]), (&json!(2), &json!(2)));
    let rejected = done["rejected"].as_array().unwrap();
    let numbers: Vec<_> = rejected.iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 4]);
    assert_eq!(rejected[1]["errors"].as_array().unwrap().len(), 2);
    assert_eq!(ok(api.send("POST", "/cards:import", &headers, lines).await), done);
    let empty = ok(api.send("POST", "/cards:import", &[], "").await);
    assert_eq!(empty["accepted"], Value::from(0));
}
