//! The calls over HTTP: shapes, statuses, refusals.

use super::*;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use drip::liquid::routes;
use serde_json::json;
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    etag: Option<String>,
    body: Value,
}

async fn call(router: &Router, request: Request<Body>) -> Answer {
    let mut request = request;
    request.extensions_mut().insert(ada());
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let etag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status, etag, body }
}

fn with(method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    request.body(body.into()).unwrap()
}

fn json_body(method: &str, path: &str, body: &Value) -> Request<Body> {
    with(method, path, "application/json", body.to_string())
}

fn get(path: &str) -> Request<Body> {
    with("GET", path, "text/plain", Body::empty())
}

/// The shape of the finished README run, ids and times aside.
fn has_the_shape_of_a_run(run: &Value) {
    let mut shown = run.clone();
    for (pointer, found) in
        [("/id", "id"), ("/created_at", "t"), ("/started_at", "t"), ("/finished_at", "t")]
    {
        assert!(shown.pointer(pointer).unwrap().is_string());
        *shown.pointer_mut(pointer).unwrap() = json!(found);
    }
    shown["nodes"] = json!(
        shown["nodes"].as_array().unwrap().iter().map(|node| &node["state"]).collect::<Vec<_>>()
    );
    assert_eq!(
        shown,
        json!({
            "id": "id", "pipeline": "readme", "revision": 1, "state": "succeeded",
            "inputs": {"a": 5, "b": 6, "d": 7}, "outputs": {"f": 78},
            "nodes": ["succeeded", "succeeded", "succeeded"], "scheduled_at": null,
            "cause": "manual", "error": null, "runner": "parallel", "resumes": 0, "from": [], "to": [], "tags": [],
            "started_by": "ada", "created_at": "t", "started_at": "t", "finished_at": "t",
        })
    );
}

#[tokio::test]
async fn a_pipeline_is_put_run_and_read_over_http() {
    let router = routes(open()).into_router();
    let put = |source: &'static str| with("PUT", "/api/v1/pipelines/readme", "text/plain", source);
    let saved = call(&router, put(README)).await;
    assert_eq!((saved.status, saved.etag.as_deref()), (StatusCode::CREATED, Some("\"1\"")));
    assert_eq!(saved.body["inputs"], json!(["a", "b", "d"]));
    assert_eq!(saved.body["nodes"][0]["name"], json!("firstfunc"));
    assert_eq!(call(&router, put(README)).await.status, StatusCode::OK);
    let body = json!({"inputs": {"a": 5, "b": 6, "d": 7}, "runner": "parallel"});
    let path = "/api/v1/pipelines/readme/runs";
    let run = call(&router, json_body("POST", &format!("{path}?wait=30s"), &body)).await;
    assert_eq!(run.status, StatusCode::OK, "{}", run.body);
    has_the_shape_of_a_run(&run.body);
    for field in ["name", "state", "started_at", "finished_at", "tries", "cached", "error"] {
        assert!(run.body["nodes"][0].get(field).is_some(), "{field}");
    }
    let id = run.body["id"].as_str().unwrap();
    assert_eq!(call(&router, get(&format!("/api/v1/runs/{id}"))).await.body, run.body);
    let listed = call(&router, get("/api/v1/runs?pipeline=readme&state=succeeded&limit=1")).await;
    assert_eq!(
        (&listed.body["items"][0]["id"], &listed.body["next_cursor"]),
        (&json!(id), &Value::Null)
    );
    let accepted = call(&router, json_body("POST", path, &body)).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let over = json_body("POST", &format!("/api/v1/runs/{id}/cancel"), &json!({}));
    assert_eq!(call(&router, over).await.status, StatusCode::CONFLICT);
}

/// What is wrong with each of these: the request, the status and the code word.
fn refused() -> Vec<(Request<Body>, u16, &'static str)> {
    const RUNS: &str = "/api/v1/pipelines/p/runs";
    const PIPELINE: &str = "/api/v1/pipelines/p";
    let post = |path: &str, body: Value| json_body("POST", path, &body);
    let put = |path: &str, body: Value| json_body("PUT", path, &body);
    let late = json!({"pipeline": "p", "cron": "* * *"});
    vec![
        (post(RUNS, json!({"inputs": {}})), 422, "missing_inputs"),
        (post(RUNS, json!({"input": 1, "runner": "fast"})), 422, "bad_run"),
        (post(&format!("{RUNS}?wait=soon"), json!({})), 422, "bad_query"),
        (with("POST", RUNS, "application/json", "{\"a\":"), 400, "bad_json"),
        (post("/api/v1/pipelines/nobody/runs", json!({})), 404, "pipeline_not_found"),
        (get("/api/v1/runs?state=done"), 422, "bad_query"),
        (get("/api/v1/runs/nobody"), 404, "run_not_found"),
        (get("/api/v1/schedules/nobody"), 404, "schedule_not_found"),
        (with("PUT", PIPELINE, "image/png", "x"), 415, "bad_media_type"),
        (with("PUT", PIPELINE, "text/plain", vec![0xFF_u8, 0xFE]), 400, "bad_text"),
        (put(PIPELINE, json!({"sauce": 1})), 422, "bad_body"),
        (put("/api/v1/schedules/s", late), 422, "bad_schedule"),
        (post("/api/v1/schedules/s/backfill", json!({"from": "x"})), 422, "bad_backfill"),
    ]
}

#[tokio::test]
async fn refusals_name_every_fault() {
    let router = routes(open()).into_router();
    let bad = with("PUT", "/api/v1/pipelines/bad", "text/plain", "pipeline([");
    let bad = call(&router, bad).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let place = bad.body["errors"][0]["pointer"].as_str().unwrap();
    assert!(place.starts_with("line 1, column"), "{}", bad.body);
    let source = json_body("PUT", "/api/v1/pipelines/p", &json!({"source": README}));
    assert_eq!(call(&router, source).await.status, StatusCode::CREATED);
    for (request, status, code) in refused() {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = call(&router, request).await;
        let found = (answer.status.as_u16(), &answer.body["code"]);
        assert_eq!(found, (status, &json!(code)), "{what}: {}", answer.body);
    }
    let other = "fn f(a) { a } pipeline([node(f, \"a\", \"b\")])";
    let mut guarded = with("PUT", "/api/v1/pipelines/p", "text/plain", other);
    guarded.headers_mut().insert("if-match", "\"7\"".parse().unwrap());
    let stale = call(&router, guarded).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_schedule_is_kept_in_the_shape_it_was_given() {
    let router = routes(open()).into_router();
    call(&router, with("PUT", "/api/v1/pipelines/readme", "text/plain", README)).await;
    let body = json!({
        "pipeline": "readme", "cron": "0 * * * *", "timezone": "Europe/Paris",
        "inputs": {"a": 5, "b": 6, "d": 7}, "catchup": "last", "overlap": "skip", "enabled": true,
    });
    let saved = call(&router, json_body("PUT", "/api/v1/schedules/hourly", &body)).await;
    assert_eq!(saved.status, StatusCode::CREATED, "{}", saved.body);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&saved.body[field], value, "{field}");
    }
    assert_eq!((&saved.body["name"], &saved.body["revision"]), (&json!("hourly"), &json!(1)));
    let again = call(&router, json_body("PUT", "/api/v1/schedules/hourly", &body)).await;
    assert_eq!((again.status, &again.body["revision"]), (StatusCode::OK, &json!(1)));
    let next =
        call(&router, get("/api/v1/schedules/hourly/next?n=2&after=2026-10-25T00:30:00Z")).await;
    assert_eq!(next.body["items"][0]["local"], json!("2026-10-25T02:00:00+01:00"));
    let listed = call(&router, get("/api/v1/schedules")).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    let gone = with("DELETE", "/api/v1/schedules/hourly", "text/plain", Body::empty());
    assert_eq!(call(&router, gone).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_idempotency_key_answers_the_same_run() {
    let router = routes(open()).into_router();
    call(&router, with("PUT", "/api/v1/pipelines/readme", "text/plain", README)).await;
    let start = |a: i64| {
        let body = json!({"inputs": {"a": a, "b": 6, "d": 7}});
        let mut request = json_body("POST", "/api/v1/pipelines/readme/runs?wait=30s", &body);
        request.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
        request
    };
    let first = call(&router, start(5)).await;
    assert_eq!(call(&router, start(5)).await.body, first.body);
    assert_eq!(call(&router, start(6)).await.status, StatusCode::CONFLICT);
}
