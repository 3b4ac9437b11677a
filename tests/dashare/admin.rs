//! Channels, grants and accounts through their routes.

use axum::body::Body;
use axum::http::{Method, Request};
use drip::kernel::feed;
use serde_json::json;

use super::{CHANNEL, GRANT, QUOTA, Stand, ada, bob, channel, publisher, viewer};

#[tokio::test]
async fn a_channel_is_kept_as_it_was_put() {
    let stand = Stand::new();
    let mut body = channel();
    body["rate"] = json!("10/s");
    body["burst"] = json!(20);
    let first = stand.put(CHANNEL, body.clone()).await.expect(201);
    assert_eq!(
        (&first["group"], &first["name"], &first["dataset"], &first["sql"]),
        (&json!("wind"), &json!("scada"), &json!("scada@2014"), &json!(null))
    );
    assert_eq!(
        (&first["columns"], &first["unit"], &first["rate"], &first["burst"]),
        (&json!(["power", "wind"]), &json!("rows"), &json!("10/s"), &json!(20))
    );
    assert_eq!(stand.put(CHANNEL, body.clone()).await.expect(200), first);
    assert_eq!(stand.put(CHANNEL, first.clone()).await.expect(200), first);
    let got = stand.get(CHANNEL).await;
    assert_eq!((got.header("etag"), got.expect(200)), (Some("\"1\""), first));
    body["unit"] = json!("days");
    assert_eq!(stand.put(CHANNEL, body).await.expect(200)["revision"], 2);
    let gone = stand.call_as(publisher(), Method::DELETE, CHANNEL, None).await;
    assert_eq!(gone.status.as_u16(), 204);
    assert_eq!(stand.get(CHANNEL).await.refusal(), (404, "channel_not_found".to_owned()));
    let events: Vec<_> = feed::read(stand.dashare.records().as_ref(), 0, 10).unwrap();
    let events: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(events, ["channel.saved", "channel.saved", "channel.deleted"]);
}

#[tokio::test]
async fn what_a_channel_names_is_checked_all_at_once() {
    let stand = Stand::new();
    let body = json!({
        "dataset": "scada@2014", "time_column": "power", "entity_column": "turbin",
        "columns": ["power", "wnd"],
    });
    let answer = stand.put(CHANNEL, body).await;
    assert_eq!(answer.refusal(), (422, "bad_channel".to_owned()));
    assert_eq!(answer.pointers(), ["/time_column", "/entity_column", "/columns/1"]);
    for (body, code) in [
        (json!({"dataset": "scada@2015"}), "dataset_not_found"),
        (json!({}), "bad_channel"),
        (json!({"dataset": "scada@2014", "sql": "select 1"}), "bad_channel"),
        (json!({"dataset": "scada@2014", "rate": "fast"}), "bad_channel"),
        (json!([]), "bad_body"),
    ] {
        assert_eq!(stand.put(CHANNEL, body).await.refusal(), (422, code.to_owned()));
    }
    let reserved = stand.put("/api/v1/channels/user/x", channel()).await;
    assert_eq!(reserved.refusal(), (422, "group_reserved".to_owned()));
    let name = stand.put("/api/v1/channels/wind/a%2Fb", channel()).await;
    assert_eq!(name.refusal(), (422, "bad_name".to_owned()));
    let cut = Request::put(CHANNEL).body(Body::from("{\"dataset\": ")).unwrap();
    assert_eq!(stand.send(publisher(), cut).await.refusal(), (400, "bad_json".to_owned()));
}

#[tokio::test]
async fn conditions_guard_a_channel() {
    let stand = Stand::new();
    let put = |header: &'static str, value: &'static str, unit: &str| {
        let mut body = channel();
        body["unit"] = json!(unit);
        let request =
            Request::put(CHANNEL).header(header, value).body(Body::from(body.to_string()));
        stand.send(publisher(), request.unwrap())
    };
    assert_eq!(put("if-match", "\"1\"", "rows").await.status.as_u16(), 412);
    assert_eq!(put("if-none-match", "*", "rows").await.status.as_u16(), 201);
    assert_eq!(put("if-none-match", "*", "days").await.status.as_u16(), 412);
    assert_eq!(put("if-match", "\"2\"", "days").await.status.as_u16(), 412);
    assert_eq!(put("if-match", "\"1\"", "days").await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_consumer_lists_what_it_was_granted() {
    let stand = Stand::open().await;
    for name in ["a", "b", "c"] {
        stand.put(&format!("/api/v1/channels/sun/{name}"), channel()).await.expect(201);
    }
    let page = stand.get("/api/v1/channels?limit=3").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = stand.get(&format!("/api/v1/channels?limit=3&cursor={cursor}")).await;
    assert_eq!(rest.items()[0]["name"], "scada");
    let own = stand.call_as(ada(), Method::GET, "/api/v1/channels", None).await.items();
    assert_eq!((own.len(), &own[0]["group"]), (1, &json!("wind")));
    assert!(stand.call_as(bob(), Method::GET, "/api/v1/channels", None).await.items().is_empty());
    assert_eq!(stand.call_as(ada(), Method::GET, CHANNEL, None).await.status.as_u16(), 200);
    let hidden = stand.call_as(bob(), Method::GET, CHANNEL, None).await;
    assert_eq!(hidden.refusal(), (403, "not_granted".to_owned()));
}

#[tokio::test]
async fn grants_are_made_shown_and_taken_back() {
    let stand = Stand::open().await;
    assert_eq!(stand.put(GRANT, json!({})).await.status.as_u16(), 200);
    let body = json!({"columns": ["power"], "from": "2014-01-02", "to": "2014-01-03T00:00:00Z"});
    let grant = stand.put(GRANT, body).await.expect(200);
    assert_eq!(
        (&grant["channel"], &grant["user"], &grant["from"]),
        (&json!("wind/scada"), &json!("ada"), &json!("2014-01-02T00:00:00.000000Z"))
    );
    assert_eq!(stand.call_as(ada(), Method::GET, GRANT, None).await.expect(200), grant);
    assert_eq!(stand.call_as(bob(), Method::GET, GRANT, None).await.status.as_u16(), 403);
    assert_eq!(stand.get(&format!("{CHANNEL}/grants")).await.items(), [grant]);
    for (body, at) in [
        (json!({"from": "2014-01-03", "to": "2014-01-02"}), "/from"),
        (json!({"from": "yesterday"}), "/from"),
        (json!({"columns": ["secret"]}), "/columns/0"),
        (json!({"columns": []}), "/columns"),
        (json!({"form": "2014-01-01"}), "/form"),
    ] {
        let answer = stand.put(GRANT, body).await;
        assert_eq!(
            (answer.refusal(), answer.pointers()),
            ((422, "bad_grant".to_owned()), vec![at.to_owned()])
        );
    }
    let unknown = stand.put("/api/v1/channels/wind/scada/grants/nobody", json!({})).await;
    assert_eq!(unknown.refusal(), (404, "user_not_found".to_owned()));
    let no_channel = stand.put("/api/v1/channels/wind/none/grants/ada", json!({})).await;
    assert_eq!(no_channel.refusal(), (404, "channel_not_found".to_owned()));
    let bodiless = stand
        .call_as(publisher(), Method::PUT, "/api/v1/channels/wind/scada/grants/bob", None)
        .await;
    assert_eq!(bodiless.status.as_u16(), 201);
    let revoke = || stand.call_as(publisher(), Method::DELETE, GRANT, None);
    assert_eq!(revoke().await.status.as_u16(), 204);
    assert_eq!(revoke().await.refusal(), (404, "grant_not_found".to_owned()));
    assert_eq!(stand.data("").await.refusal(), (403, "not_granted".to_owned()));
}

#[tokio::test]
async fn a_channel_made_anew_has_no_grants_of_the_old_one() {
    let stand = Stand::open().await;
    assert_eq!(
        stand.call_as(publisher(), Method::DELETE, CHANNEL, None).await.status.as_u16(),
        204
    );
    stand.put(CHANNEL, channel()).await.expect(201);
    assert_eq!(stand.data("").await.refusal(), (403, "not_granted".to_owned()));
}

#[tokio::test]
async fn only_publishers_write() {
    let stand = Stand::open().await;
    for (method, path) in [
        (Method::PUT, CHANNEL),
        (Method::DELETE, CHANNEL),
        (Method::PUT, GRANT),
        (Method::DELETE, GRANT),
        (Method::PUT, QUOTA),
        (Method::GET, "/api/v1/channels/wind/scada/grants"),
    ] {
        for who in [viewer(), ada()] {
            let answer = stand.call_as(who, method.clone(), path, Some(json!({}))).await;
            assert_eq!(answer.refusal(), (403, "not_allowed".to_owned()), "{method} {path}");
        }
    }
    let body = Some(json!({"query": "select 1"}));
    let sql = stand.call_as(ada(), Method::POST, "/api/v1/sql", body).await;
    assert_eq!(sql.refusal(), (403, "not_allowed".to_owned()));
}
