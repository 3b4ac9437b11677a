//! The log through its routes.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use drip::kernel::access::{Caller, Role};
use drip::kernel::work::Shutdown;
use drip::trajectory::{Trajectory, routes};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::Rig;

struct Api {
    log: Trajectory,
    shutdown: Shutdown,
}

impl Api {
    fn new() -> Self {
        Self { log: Rig::new().open().unwrap(), shutdown: Shutdown::new() }
    }

    async fn send(&self, role: Role, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Caller::new("ada", role));
        let router = routes(self.log.clone(), self.shutdown.clone()).into_router();
        router.oneshot(Request::from_parts(parts, body)).await.unwrap()
    }

    async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        read(self.send(Role::Admin, request).await).await
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn records_go_in_and_are_found() {
    let api = Api::new();
    let body = "{\"time\":\"2014-03-30T01:00:00Z\",\"level\":\"warn\",\"stream\":\"wind\",\"msg\":\"hot bearing\",\"filename\":\"a.py\",\"lineno\":3,\"fields\":{\"turbine\":\"R80711\"}}\nnonsense\n";
    let (status, answer) = api.call("POST", "/api/v1/logs", body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["accepted"], 1);
    assert_eq!(answer["rejected"][0]["index"], 1);
    let (_, page) = api
        .call("GET", "/api/v1/logs?level=WARNING&stream=wind&q=bearing&field.turbine=R80711", "")
        .await;
    let expected = json!({
        "items": [{"seq": 1, "time": "2014-03-30T01:00:00.000000Z", "level": "WARNING", "stream": "wind", "message": "hot bearing",
            "module": null, "file": "a.py", "line": 3, "run_id": null, "fields": {"turbine": "R80711"}}],
        "next_cursor": null, "incomplete": false
    });
    assert_eq!(page, expected);
    let (_, histogram) = api.call("GET", "/api/v1/logs/histogram?buckets=5", "").await;
    assert_eq!(
        (&histogram["total"], &histogram["items"][0]["counts"]),
        (&json!(1), &json!({"WARNING": 1}))
    );
}

#[tokio::test]
async fn every_fault_of_a_query_is_named() {
    let api = Api::new();
    let (status, problem) = api
        .call(
            "GET",
            "/api/v1/logs?level=loud&from=soon&limit=0&order=up&q=(&nonsense=1&to=2014&to=2015",
            "",
        )
        .await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("bad_log_query")));
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["from", "level", "limit", "nonsense", "order", "q", "to"]);
    let (status, problem) = api.call("GET", "/api/v1/logs?cursor=abc", "").await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("bad_cursor")));
    let (status, _) = api.call("GET", "/api/v1/logs/histogram?buckets=0", "").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_batch_of_any_size_up_to_its_bound_is_taken_whatever_the_server_allows_elsewhere() {
    let api = Api::new();
    let line = format!("{{\"msg\":\"{}\"}}\n", "x".repeat(100_000));
    let (status, answer) = api.call("POST", "/api/v1/logs", line.repeat(150)).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (200, &json!(150)));
    let (status, problem) = api.call("POST", "/api/v1/logs", line.repeat(170)).await;
    assert_eq!((status.as_u16(), &problem["code"]), (413, &json!("batch_too_large")));
}

#[tokio::test]
async fn a_batch_with_an_id_is_kept_once() {
    let api = Api::new();
    for _ in 0..3 {
        let request = Request::post("/api/v1/logs")
            .header("idempotency-key", "b1")
            .body(Body::from("[{\"msg\":\"a\"},{\"msg\":\"b\"},7]"))
            .unwrap();
        let (status, answer) = read(api.send(Role::Publisher, request).await).await;
        assert_eq!(
            (status.as_u16(), &answer["accepted"], &answer["rejected"][0]["index"]),
            (200, &json!(2), &json!(2))
        );
    }
    assert_eq!(api.log.stats().records, 2);
    let other = Request::post("/api/v1/logs")
        .header("idempotency-key", "b1")
        .body(Body::from("{\"msg\":\"c\"}"))
        .unwrap();
    assert_eq!(api.send(Role::Publisher, other).await.status(), 409);
}

#[tokio::test]
async fn a_stream_is_set_shown_listed_and_forgotten() {
    let api = Api::new();
    let (status, stream) = api
        .call(
            "PUT",
            "/api/v1/streams/wind",
            r#"{"levels":["ERROR"],"keep":["turbine"],"retention":"30d"}"#,
        )
        .await;
    assert_eq!(
        (status.as_u16(), &stream["name"], &stream["records"]),
        (201, &json!("wind"), &json!(0))
    );
    let (status, again) = api.call("PUT", "/api/v1/streams/wind", stream.to_string()).await;
    assert_eq!((status.as_u16(), &again), (200, &stream));
    api.call("POST", "/api/v1/logs", "{\"msg\":\"a\"}\n{\"msg\":\"b\",\"stream\":\"wind\"}").await;
    let (_, list) = api.call("GET", "/api/v1/streams?limit=1", "").await;
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][0]["records"]),
        (&json!("default"), &json!(1))
    );
    let next = list["next_cursor"].as_str().unwrap();
    let (_, rest) = api.call("GET", &format!("/api/v1/streams?cursor={next}"), "").await;
    assert_eq!((&rest["items"][0]["name"], &rest["next_cursor"]), (&json!("wind"), &Value::Null));
    let (status, _) = api.call("DELETE", "/api/v1/streams/wind", "").await;
    assert_eq!(status, 204);
    assert_eq!(api.call("GET", "/api/v1/streams/wind", "").await.0, 404);
    let (status, problem) = api
        .call("PUT", "/api/v1/streams/wind", r#"{"forward":{},"template":"{","max_bytes":0}"#)
        .await;
    assert_eq!((status.as_u16(), problem["errors"].as_array().unwrap().len()), (422, 3));
    let (status, problem) =
        api.call("PUT", "/api/v1/streams/wind", r#"{"forward":"drip.logs"}"#).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/forward")));
}

#[tokio::test]
async fn records_are_written_out_as_their_streams_have_it() {
    let api = Api::new();
    api.call("PUT", "/api/v1/streams/wind", r#"{"template":"{level}|{turbine}|{message}"}"#).await;
    let lines = "{\"msg\":\"hot\\nfire\",\"stream\":\"wind\",\"turbine\":\"R1\",\"time\":1}\n{\"msg\":\"b\",\"time\":2,\"n\":3}";
    api.call("POST", "/api/v1/logs", lines).await;
    let ask = async |parameters: &str| {
        let request = Request::builder().uri(format!("/api/v1/logs?{parameters}"));
        let answer = api.send(Role::Viewer, request.body(Body::empty()).unwrap()).await;
        let header =
            |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let told = (answer.status().as_u16(), header("content-type"), header("drip-cursor"));
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (told, String::from_utf8(body.to_vec()).unwrap())
    };
    let (told, text) = ask("format=text&order=asc").await;
    assert_eq!(text, "INFO    |R1|hot␊fire\n1970-01-01T00:00:02.000000Z INFO     default b n=3\n");
    assert_eq!(told, (200, Some("text/plain; charset=utf-8".into()), None));
    let (told, first) = ask("format=text&order=asc&limit=1").await;
    let (_, second) = ask(&format!("format=text&order=asc&cursor={}", told.2.unwrap())).await;
    assert_eq!(format!("{first}{second}"), text);
    assert_eq!(ask("format=xml").await.0.0, 422);
}

/// A call of another system's client.
async fn sent(api: &Api, path: &str, media_type: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let request = Request::post(path).header("content-type", media_type);
    let response =
        api.send(Role::Publisher, request.body(Body::from(body.to_vec())).unwrap()).await;
    let status = response.status().as_u16();
    let told =
        response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    (status, told.unwrap_or_default(), body)
}

#[tokio::test]
async fn clients_of_others_are_answered_as_they_expect_also_when_something_is_wrong() {
    let api = Api::new();
    let protobuf = "application/x-protobuf";
    assert_eq!(sent(&api, "/v1/logs", protobuf, b"").await, (200, protobuf.into(), vec![]));
    let (status, told, body) = sent(&api, "/v1/logs", protobuf, b"\xff\xff").await;
    // A google.rpc.Status: code 3, and a message.
    assert_eq!((status, told.as_str(), &body[..3]), (400, protobuf, &[8, 3, 18][..]));
    assert_eq!(sent(&api, "/v1/logs", "text/plain", b"x").await.0, 415);
    let (status, told, body) = sent(&api, "/otlp/v1/logs", "application/json", b"{").await;
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, told.as_str(), &said["code"]), (400, "application/json", &json!(3)));
    let partly =
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},3]}]}]}"#;
    let (status, _, body) = sent(&api, "/v1/logs", "application/json", partly).await;
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &said["partialSuccess"]["rejectedLogRecords"]), (200, &json!("1")));
    let push = br#"{"streams":[{"stream":{"job":"j"},"values":[["1700000000000000000","b"]]}]}"#;
    assert_eq!(sent(&api, "/loki/api/v1/push", "application/json", push).await.0, 204);
    let (status, told, body) = sent(&api, "/loki/api/v1/push", protobuf, b"no snappy").await;
    assert_eq!((status, told.starts_with("text/plain")), (400, true), "{body:?}");
    let form = "application/x-www-form-urlencoded";
    let (status, ..) =
        sent(&api, "/api/v1/logs?stream=py", form, b"msg=%25s&args=%28%27c%27%2C%29").await;
    assert_eq!(status, 200);
    assert_eq!(
        sent(&api, "/api/v1/logs", form, b"{\"msg\":\"d\"}").await.0,
        200,
        "as curl sends it"
    );
    let found = super::all(&api.log);
    let found: Vec<_> = found
        .iter()
        .map(|kept| (kept.record.stream.as_str(), kept.record.message.as_str()))
        .collect();
    assert_eq!(found, [("default", "a"), ("j", "b"), ("py", "c"), ("default", "d")]);
}

#[tokio::test]
async fn values_and_surroundings_are_asked_for() {
    let api = Api::new();
    let lines: Vec<String> = (0..40)
        .map(|n| {
            let stream = ["a", "b"][n % 2];
            json!({"msg": format!("m{n}"), "stream": stream, "n": n % 3}).to_string()
        })
        .collect();
    api.call("POST", "/api/v1/logs", lines.join("\n")).await;
    for _ in 0..2 {
        let (_, top) = api.call("GET", "/api/v1/logs/values?field=n&top=1&stream=a", "").await;
        assert_eq!(
            (&top["items"][0]["count"], &top["distinct"], &top["total"]),
            (&json!(7), &json!(3), &json!(20))
        );
        let (_, around) = api.call("GET", "/api/v1/logs/context/20?around=2", "").await;
        let seqs: Vec<_> =
            around["items"].as_array().unwrap().iter().map(|one| &one["seq"]).collect();
        assert_eq!(seqs, [18, 19, 20, 21, 22]);
        let (_, around) = api.call("GET", "/api/v1/logs/context/20?around=2&alone=true", "").await;
        let seqs: Vec<_> =
            around["items"].as_array().unwrap().iter().map(|one| &one["seq"]).collect();
        assert_eq!(seqs, [16, 18, 20, 22, 24]);
        api.log.rotate().unwrap();
        api.log.seal().unwrap();
    }
    assert_eq!(api.call("GET", "/api/v1/logs/context/99", "").await.0, 404);
    let (status, problem) = api.call("GET", "/api/v1/logs/values?top=0", "").await;
    assert_eq!((status.as_u16(), problem["errors"].as_array().unwrap().len()), (422, 2));
}

#[tokio::test]
async fn a_viewer_reads_and_does_not_write() {
    let api = Api::new();
    for (method, path, status) in [
        ("GET", "/api/v1/logs", 200),
        ("POST", "/api/v1/logs", 403),
        ("PUT", "/api/v1/streams/a", 403),
        ("DELETE", "/api/v1/streams/a", 403),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(api.send(Role::Viewer, request).await.status(), status, "{method} {path}");
    }
}

async fn next_event(
    body: &mut (impl futures::Stream<Item = Result<Bytes, axum::Error>> + Unpin),
) -> String {
    String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_events_resumes_and_is_let_go_at_the_end() {
    let api = Api::new();
    let follow = |after: Option<&str>| {
        let mut request = Request::get("/api/v1/logs/tail?level=ERROR");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        api.send(Role::Viewer, request.body(Body::empty()).unwrap())
    };
    let response = follow(None).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut live = response.into_body().into_data_stream();
    api.call("POST", "/api/v1/logs", "{\"msg\":\"calm\"}\n{\"msg\":\"hot\",\"level\":\"ERROR\"}\n{\"msg\":\"hotter\",\"level\":50}").await;
    let event = next_event(&mut live).await;
    assert!(event.contains("id: 2") && event.contains("\"message\":\"hot\""), "{event}");
    assert!(next_event(&mut live).await.contains("hotter"));
    let mut back = follow(Some("2")).await.into_body().into_data_stream();
    assert!(next_event(&mut back).await.contains("hotter"));
    assert_eq!(follow(Some("x")).await.status(), 422);
    api.shutdown.begin();
    assert!(live.next().await.is_none());
    assert!(back.next().await.is_none());
}
