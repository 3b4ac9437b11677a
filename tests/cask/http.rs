//! Buckets and objects over HTTP.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use drip::kernel::access::{Caller, Role};
use drip::kernel::{Digest, feed};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Store, ada, noise};

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn code(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }
}

pub(super) struct Web(pub(super) Router);

impl Web {
    pub(super) fn over(store: &Store) -> Self {
        Self(drip::cask::http::routes(store.cask.clone()).into_router())
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.ask_as(Some(ada()), method, path, headers, body.into()).await
    }

    async fn ask_as(
        &self,
        caller: Option<Caller>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let mut request = request.body(body).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let response: Response<Body> = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    async fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask("PUT", path, &[], body).await
    }

    async fn status(&self, method: &str, path: &str) -> u16 {
        self.ask(method, path, &[], Body::empty()).await.status.as_u16()
    }
}

const A: &str = "/api/v1/objects/models/wind/a.bin";

#[tokio::test]
async fn an_object_comes_back_with_all_that_was_said_of_it() {
    let web = Web::over(&Store::new());
    let bytes = noise(100_000, 1);
    let digest = Digest::of(&bytes).to_hex();
    let headers = [
        ("content-type", "text/html"),
        ("drip-sha256", digest.as_str()),
        ("drip-meta-site", "XJJX 风场"),
    ];
    let first = web.ask("PUT", A, &headers, bytes.clone()).await;
    assert_eq!(first.status, 201);
    let said = first.json();
    for (field, value) in [
        ("bucket", json!("models")),
        ("key", json!("wind/a.bin")),
        ("size", json!(100_000)),
        ("sha256", json!(digest)),
        ("content_type", json!("text/html")),
    ] {
        assert_eq!(said[field], value, "{field}");
    }
    assert!(said["updated_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(web.ask("PUT", A, &headers, bytes.clone()).await.status, 200);

    let got = web.get(A).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (200, &bytes[..]));
    assert_eq!(got.header("etag"), format!("\"{digest}\""));
    assert_eq!(got.header("content-length"), "100000");
    assert_eq!(got.header("content-type"), "text/html");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert!(got.header("content-security-policy").contains("sandbox"));
    assert!(got.header("content-disposition").starts_with("attachment"));
    assert_eq!(got.headers["drip-meta-site"].as_bytes(), "XJJX 风场".as_bytes());

    let head = web.ask("HEAD", A, &[], Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "100000");
    assert_eq!(head.header("etag"), got.header("etag"));
}

#[tokio::test]
async fn ranges_and_conditions_of_a_read_hold() {
    let web = Web::over(&Store::new());
    let tag = web.put(A, "0123456789").await.header("etag").to_owned();
    let ask = async |name: &str, value: &str| {
        let answer = web.ask("GET", A, &[(name, value)], Body::empty()).await;
        let range = answer.header("content-range").to_owned();
        (answer.status.as_u16(), range, answer.body)
    };
    let part = |range: &str, body: &'static str| (206, range.to_owned(), Bytes::from(body));
    assert_eq!(ask("range", "bytes=2-4").await, part("bytes 2-4/10", "234"));
    assert_eq!(ask("range", "bytes=7-").await, part("bytes 7-9/10", "789"));
    assert_eq!(ask("range", "bytes=-2").await, part("bytes 8-9/10", "89"));
    assert_eq!(ask("range", "bytes=8-99").await, part("bytes 8-9/10", "89"));
    assert_eq!(ask("range", "bytes=1-2,4-5").await.0, 200);
    let outside = ask("range", "bytes=10-").await;
    assert_eq!((outside.0, outside.1.as_str()), (416, "bytes */10"));
    assert_eq!(ask("if-none-match", &tag).await.0, 304);
    assert_eq!(ask("if-none-match", &format!("\"x\", W/{tag}")).await.0, 304);
    assert_eq!(ask("if-none-match", "\"other\"").await.0, 200);
    assert_eq!(ask("if-match", &tag).await.0, 200);
    assert_eq!(ask("if-match", "\"other\"").await.0, 412);
    assert_eq!(ask("if-match", "*").await.0, 200);
}

#[tokio::test]
async fn conditions_of_a_write_hold() {
    let web = Web::over(&Store::new());
    let put = async |name: &str, value: &str, body: &'static str| {
        web.ask("PUT", A, &[(name, value)], body).await
    };
    assert_eq!(put("if-match", "*", "x").await.code(), (412, "condition_failed".into()));
    let first = put("if-none-match", "*", "one").await;
    assert_eq!(first.status, 201);
    assert_eq!(put("if-none-match", "*", "two").await.status, 412);
    let tag = first.header("etag").to_owned();
    assert_eq!(put("if-match", &tag, "two").await.status, 200);
    assert_eq!(put("if-match", &tag, "three").await.status, 412);
    assert_eq!(web.get(A).await.body, "two");
    let delete = |value: String| {
        let web = &web;
        async move { web.ask("DELETE", A, &[("if-match", &value)], Body::empty()).await.status }
    };
    assert_eq!(delete(tag).await, 412);
    assert_eq!(delete("*".into()).await, 204);
    assert_eq!(web.status("DELETE", A).await, 404);
}

#[tokio::test]
async fn what_arrives_otherwise_than_announced_is_not_kept() {
    let store = Store::new();
    let web = Web::over(&store);
    let wrong = Digest::of(b"other").to_hex();
    let answer = web.ask("PUT", A, &[("drip-sha256", &wrong)], "bytes").await;
    assert_eq!(answer.code(), (422, "digest_mismatch".into()));
    let answer = web.ask("PUT", A, &[("drip-sha256", "zz")], "bytes").await;
    assert_eq!(answer.code(), (400, "bad_digest".into()));
    let answer = web.ask("PUT", A, &[("content-length", "100")], "short").await;
    assert_eq!(answer.code(), (400, "body_cut_off".into()));
    let broken = futures::stream::iter([
        Ok(Bytes::from("first")),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let answer = web.put(A, Body::from_stream(broken)).await;
    assert_eq!(answer.code(), (400, "body_cut_off".into()));
    assert_eq!(web.get(A).await.code(), (404, "object_not_found".into()));
    assert_eq!(store.cask.bucket("models").unwrap().used_bytes, 0);
    assert_eq!(feed::last_number(store.records.as_ref()).unwrap(), 0);
}

#[tokio::test]
async fn bad_headers_are_all_named() {
    let web = Web::over(&Store::new());
    let long = "x".repeat(9000);
    let headers = [("drip-meta-a", "x\u{1}".as_bytes()), ("drip-meta-b", long.as_bytes())];
    let mut request = Request::put(A);
    for (name, value) in headers {
        // Tab is the one control character that a header may carry.
        let value: Vec<u8> = value.iter().map(|b| if *b == 1 { 9 } else { *b }).collect();
        request = request.header(name, value);
    }
    let mut request = request.body(Body::from("x")).unwrap();
    request.extensions_mut().insert(ada());
    let response = web.0.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 422);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "bad_meta");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn keys_are_kept_byte_for_byte_and_escapes_are_refused() {
    let web = Web::over(&Store::new());
    for (path, key) in [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("100%25", "100%"),
        ("x//y", "x//y"),
        ("folder/", "folder/"),
        ("%E9%A3%8E.json", "风.json"),
        ("e%CC%81", "e\u{301}"),
        ("%C3%A9", "\u{e9}"),
        ("a%2Fb", "a/b"),
        ("%2e%2e%2e", "..."),
        (".hidden", ".hidden"),
        ("a?q".replace('?', "%3F").as_str(), "a?q"),
        ("%2561", "%61"),
    ] {
        let path = format!("/api/v1/objects/cache/{path}");
        let answer = web.put(&path, key.to_owned()).await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(answer.json()["key"], key);
        assert_eq!(web.get(&path).await.body, key);
    }
}

#[tokio::test]
async fn keys_that_lead_elsewhere_are_refused() {
    let web = Web::over(&Store::new());
    let long = "k".repeat(1025);
    for bad in [
        "..",
        "%2e%2e",
        "a/../b",
        "a/%2e%2e/b",
        "a%2F..%2Fb",
        "./a",
        "%2e/a",
        "%2Fabs",
        "a%00b",
        "a%0Ab",
        "a/%7F",
        long.as_str(),
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let answer = web.status(method, &format!("/api/v1/objects/cache/{bad}")).await;
            assert_eq!(answer, 422, "{method} {bad}");
        }
    }
    let bad_utf8 = web.status("PUT", "/api/v1/objects/cache/%FF").await;
    assert!((400..500).contains(&bad_utf8), "{bad_utf8}");
    assert_eq!(web.status("PUT", "/api/v1/objects/none/a").await, 404);
}

#[tokio::test]
async fn a_list_is_in_key_order_with_prefixes_and_pages() {
    let web = Web::over(&Store::new());
    for key in ["a", "b/1", "b/2/x", "b/3", "b0", "c/x/y", "c/x/z", "d"] {
        assert_eq!(web.put(&format!("/api/v1/objects/datasets/{key}"), key).await.status, 201);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
    };
    let list =
        async |query: &str| web.get(&format!("/api/v1/objects/datasets?{query}")).await.json();
    let all = list("").await;
    assert_eq!(names(&all), ["a", "b/1", "b/2/x", "b/3", "b0", "c/x/y", "c/x/z", "d"]);
    assert_eq!(all["next_cursor"], Value::Null);
    let item = &all["items"][0];
    for field in ["key", "size", "sha256", "content_type", "updated_at", "meta"] {
        assert!(item.get(field).is_some(), "{field}");
    }
    let top = list("delimiter=/").await;
    assert_eq!(names(&top), ["a", "b0", "d"]);
    assert_eq!(top["prefixes"], json!(["b/", "c/"]));
    let inside = list("prefix=b/&delimiter=/").await;
    assert_eq!(
        (names(&inside), &inside["prefixes"]),
        (vec!["b/1".into(), "b/3".into()], &json!(["b/2/"]))
    );
    assert_eq!(names(&list("prefix=c/x/z").await), ["c/x/z"]);

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("delimiter=/&limit=1&cursor={cursor}")).await;
        seen.extend(names(&page));
        seen.extend(
            page["prefixes"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b/", "b0", "c/", "d"]);
    assert_eq!(web.get("/api/v1/objects/datasets?cursor=rubbish").await.status, 400);
    assert_eq!(web.get("/api/v1/objects/datasets?limit=0").await.status, 422);
    assert_eq!(web.get("/api/v1/objects/none").await.status, 404);
}

#[tokio::test]
async fn buckets_are_made_set_listed_and_deleted_when_empty() {
    let web = Web::over(&Store::new());
    let list = web.get("/api/v1/buckets").await.json();
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|b| &b["name"]).collect();
    assert_eq!(names, ["cache", "components", "datasets", "models", "packages"]);
    let path = "/api/v1/buckets/mine";
    assert_eq!(web.get(path).await.code(), (404, "bucket_not_found".into()));
    let made = web.put(path, r#"{"max_bytes": 10, "ttl": "2h"}"#).await;
    assert_eq!(made.status, 201);
    assert_eq!((&made.json()["max_bytes"], &made.json()["ttl"]), (&json!(10), &json!("2h")));
    assert_eq!(web.put(path, "{}").await.status, 200);
    assert_eq!(web.get(path).await.json()["max_bytes"], Value::Null);
    for (body, status) in [
        (r#"{"ttl": "soon"}"#, 422),
        (r#"{"ttl": "0s"}"#, 422),
        (r#"{"max_bytes": -1}"#, 422),
        (r#"{"maxbytes": 1}"#, 422),
        ("{", 400),
    ] {
        assert_eq!(web.put(path, body).await.status.as_u16(), status, "{body}");
    }
    assert_eq!(web.put("/api/v1/buckets/%2e%2e", "{}").await.status, 422);
    assert_eq!(web.put("/api/v1/objects/mine/a", "x").await.status, 201);
    assert_eq!(web.get(path).await.json()["used_bytes"], 1);
    let refused = web.ask("DELETE", path, &[], Body::empty()).await;
    assert_eq!(refused.code(), (409, "bucket_not_empty".into()));
    assert_eq!(web.status("DELETE", "/api/v1/objects/mine/a").await, 204);
    assert_eq!(web.status("DELETE", path).await, 204);
    assert_eq!(web.status("DELETE", path).await, 404);
    let built_in = web.ask("DELETE", "/api/v1/buckets/models", &[], Body::empty()).await;
    assert_eq!(built_in.code(), (409, "bucket_built_in".into()));
}

#[tokio::test]
async fn a_full_bucket_refuses_more_and_still_reads_and_deletes() {
    let store = Store::new();
    let web = Web::over(&store);
    web.put("/api/v1/buckets/small", r#"{"max_bytes": 100}"#).await;
    let put = async |key: &str, size: usize| {
        web.put(&format!("/api/v1/objects/small/{key}"), noise(size, 3)).await.status.as_u16()
    };
    assert_eq!(put("a", 60).await, 201);
    assert_eq!(put("b", 41).await, 507);
    assert_eq!(put("b", 40).await, 201);
    assert_eq!(put("c", 1).await, 507);
    assert_eq!(put("a", 60).await, 200, "as large as before");
    assert_eq!(put("a", 61).await, 507);
    // Without an announced length the quota ends the stream itself.
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 50])));
    let answer = web.put("/api/v1/objects/small/endless", Body::from_stream(pieces)).await;
    assert_eq!(answer.code(), (507, "quota_reached".into()));
    assert_eq!(web.get("/api/v1/objects/small/a").await.body.len(), 60);
    assert_eq!(web.status("DELETE", "/api/v1/objects/small/a").await, 204);
    assert_eq!(put("c", 60).await, 201);
    assert_eq!(store.cask.bucket("small").unwrap().used_bytes, 100);
}

#[tokio::test]
async fn every_route_asks_for_a_caller_with_the_right_role() {
    let store = Store::new();
    let web = Web::over(&store);
    let table = drip::cask::http::routes(store.cask.clone());
    assert_eq!(table.table().len(), if cfg!(feature = "s3") { 20 } else { 17 });
    for route in table.table() {
        let path = route.path.replace("{bucket}", "models").replace("{*key}", "k");
        let path = path.replace("{name}", "n").replace("{version}", "1");
        let path = path.replace("{access_key}", "k");
        let ask = |caller| web.ask_as(caller, route.method.as_str(), &path, &[], Body::empty());
        assert_eq!(ask(None).await.status, 401, "{} {path}", route.method);
        let viewer = ask(Some(Caller::new("eve", Role::Viewer))).await.status;
        let is_for_admins = matches!(route.needs, drip::kernel::access::Needs::Admin(_));
        let may_not = route.method != Method::GET || is_for_admins;
        assert_eq!(viewer == 403, may_not, "{} {path}: {viewer}", route.method);
        let consumer = ask(Some(Caller::new("eve", Role::Consumer))).await.status;
        assert_eq!(consumer, 403);
        assert!(!route.summary.is_empty());
    }
}

#[tokio::test]
async fn every_change_is_told_and_audited() {
    let store = Store::new();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let ears = heard.clone();
    store.bus.hear("artifact.", move |event| {
        ears.lock().unwrap().push(event.number);
    });
    let web = Web::over(&store);
    web.put(A, "x").await;
    web.status("DELETE", A).await;
    let events = feed::read(store.records.as_ref(), 0, 10).unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.event.as_str(), e.subject.as_str())).collect();
    assert_eq!(
        told,
        [("artifact.pushed", "models/wind/a.bin"), ("artifact.deleted", "models/wind/a.bin")]
    );
    assert_eq!(events[0].payload["size"], 1);
    assert_eq!(*heard.lock().unwrap(), [1, 2]);
    let audit = feed::read_audit(store.records.as_ref(), None, 10).unwrap();
    let lines: Vec<_> = audit.iter().map(|(_, l)| (l.who.as_str(), l.action.as_str())).collect();
    assert_eq!(lines, [("ada", "artifact.delete"), ("ada", "artifact.put")]);
}

#[tokio::test]
async fn a_body_beyond_the_servers_limit_streams() {
    let store = Store::new();
    let limited = Web::over(&store).0.layer(axum::extract::DefaultBodyLimit::max(1000));
    let web = Web(limited);
    assert_eq!(web.put(A, noise(20 << 20, 5)).await.status, 201);
    assert_eq!(web.get(A).await.body, noise(20 << 20, 5));
    let part = web.ask("GET", A, &[("range", "bytes=16777214-16777217")], Body::empty()).await;
    assert_eq!(part.body, noise(20 << 20, 5)[16_777_214..=16_777_217], "across two chunks");
    assert_eq!(web.put("/api/v1/buckets/x", " ".repeat(2000)).await.status, 413);
}
