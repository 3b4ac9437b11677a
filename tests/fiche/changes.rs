//! The change feed.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{Api, ok, save, small};

#[tokio::test]
async fn changes_are_numbered_and_tell_the_card_as_it_stood() {
    let api = Api::new();
    let path = "/cards/model/a/1";
    api.put(path, json!({"summary": "one"})).await;
    api.put(path, json!({"summary": "two"})).await;
    api.post(&format!("{path}/stage"), json!({"stage": "testing"})).await;
    api.send("DELETE", path, &[], "").await.expect(StatusCode::NO_CONTENT);
    api.put(path, json!({"summary": "three"})).await;
    let all = ok(api.get("/changes?after=0").await);
    let told: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            (
                c["number"].as_u64().unwrap(),
                c["event"].as_str().unwrap(),
                c["card"]["revision"].as_u64().unwrap(),
                c["card"]["summary"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "card.saved", 1, "one"),
            (2, "card.saved", 2, "two"),
            (3, "card.staged", 3, "two"),
            (4, "card.deleted", 3, "two"),
            (5, "card.saved", 4, "three"),
        ]
    );
    assert_eq!(all["items"][0]["at"], "2023-11-14T22:13:20.000000Z");
    let page = ok(api.get("/changes?after=1&limit=2").await);
    assert_eq!(page["items"][0]["number"], 2);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("/changes?limit=2&cursor={cursor}")).await);
    assert_eq!((&rest["items"][1]["number"], &rest["next_cursor"]), (&json!(5), &Value::Null));
    assert_eq!(ok(api.get("/changes?after=99").await)["items"], json!([]));
    api.get("/changes?after=x").await.problem(422, "bad_after");
}

/// The next events of a stream that tell a change, as far as they fill `count`.
async fn events(body: &mut axum::body::BodyDataStream, count: usize) -> Vec<(u64, String, Value)> {
    let mut text = String::new();
    let tells = |event: &str| event.lines().any(|line| line.starts_with("data:"));
    while text.split_terminator("\n\n").filter(|event| tells(event)).count() < count
        || !text.ends_with("\n\n")
    {
        let piece = tokio::time::timeout(Duration::from_secs(30), body.next()).await;
        text.push_str(std::str::from_utf8(&piece.unwrap().unwrap().unwrap()).unwrap());
    }
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    text.split_terminator("\n\n")
        .filter(|event| tells(event))
        .map(|event| {
            (
                field(event, "id:").parse().unwrap(),
                field(event, "event:"),
                serde_json::from_str(&field(event, "data:")).unwrap(),
            )
        })
        .collect()
}

async fn stream(api: &Api, query: &str, last: Option<&str>) -> axum::body::BodyDataStream {
    let mut request = Request::get(format!("/api/v1/changes/stream{query}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = api.raw(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

#[tokio::test]
async fn a_stream_says_where_it_begins_before_anything_changes() {
    let api = Api::new();
    save(&api.fiche, small("before")).unwrap();
    for (query, begins) in [("", "id: 1\n\n"), ("?after=0", "id: 0\n\n")] {
        let mut body = stream(&api, query, None).await;
        let piece = tokio::time::timeout(Duration::from_secs(30), body.next()).await;
        assert_eq!(piece.unwrap().unwrap().unwrap(), begins);
    }
}

#[tokio::test]
async fn a_stream_begins_now_and_goes_on_where_it_was_left() {
    let api = Api::new();
    save(&api.fiche, small("before")).unwrap();
    let mut body = stream(&api, "", None).await;
    save(&api.fiche, small("a")).unwrap();
    let seen = events(&mut body, 1).await;
    assert_eq!((seen[0].0, seen[0].1.as_str()), (2, "card.saved"));
    assert_eq!(seen[0].2["card"]["name"], "a");
    assert_eq!(seen[0].2["number"], 2);
    drop(body);
    for n in 0..250 {
        save(&api.fiche, small(&format!("m{n}"))).unwrap();
    }
    let mut body = stream(&api, "?after=9999", Some("2")).await;
    let numbers: Vec<_> = events(&mut body, 250).await.into_iter().map(|event| event.0).collect();
    assert_eq!(numbers, (3..=252).collect::<Vec<u64>>());
    api.fiche.close();
    let end = tokio::time::timeout(Duration::from_secs(30), body.next()).await.unwrap();
    assert!(end.is_none(), "a stream ends when it is over");
}

#[tokio::test]
async fn a_stream_tells_only_what_is_asked_for() {
    let api = Api::new();
    let query = "?after=0&kinds=model,dataset&names=wind-*&events=card.staged,card.deleted";
    let mut body = stream(&api, query, None).await;
    let mut deployed = stream(&api, "?after=0&stages=deployed", None).await;
    for path in ["/cards/model/solar/1", "/cards/algorithm/wind-a/1", "/cards/model/wind-p/1"] {
        api.put(path, json!({})).await.expect(StatusCode::CREATED);
    }
    for path in ["/cards/model/solar/1", "/cards/algorithm/wind-a/1", "/cards/model/wind-p/1"] {
        ok(api.post(&format!("{path}/stage"), json!({"stage": "testing"})).await);
    }
    api.send("DELETE", "/cards/model/wind-p/1", &[], "").await.expect(StatusCode::NO_CONTENT);
    let told: Vec<_> = events(&mut body, 2).await.into_iter().map(|e| (e.0, e.1)).collect();
    assert_eq!(told, [(6, "card.staged".to_owned()), (7, "card.deleted".to_owned())]);
    ok(api.post("/cards/model/solar/1/stage", json!({"stage": "deployed"})).await);
    assert_eq!(events(&mut deployed, 1).await[0].0, 8);
    let refused = api.get("/changes/stream?kinds=modle&stages=x&events=card.saved,y").await;
    refused.problem(422, "bad_filter");
    assert_eq!(refused.places(), ["kinds/0", "events/1", "stages/0"]);
    assert!(refused.text.contains("did you mean `model`?"));
}
