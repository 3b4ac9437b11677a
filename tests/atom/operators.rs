//! Operators through their routes.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use drip::atom::{Cancel, script};
use drip::kernel::script::{Call, Fence, ScriptContext, ScriptEngine};
use serde_json::{Value, json};

use super::{Stand, consumer, publisher, viewer};

const LINEAR: &str = "/api/v1/operators/linear/1.0.0";

fn linear() -> Value {
    json!({
        "source": "fn compute(a, b) { a + b * 2 + 1 }",
        "inputs": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}],
        "output": {"type": "float"},
    })
}

fn compute(name: &str, version: &str) -> String {
    format!("/api/v1/operators/{name}/{version}/compute")
}

async fn put(stand: &Stand, at: &str, source: &str) -> super::Answer {
    let path = format!("/api/v1/operators/{at}");
    stand.call(Method::PUT, &path, Some(json!({ "source": source }))).await
}

#[tokio::test]
async fn an_operator_is_served_the_moment_it_is_registered_and_after_a_restart() {
    let stand = Stand::new();
    let info = stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(201);
    assert_eq!(info["inputs"], linear()["inputs"]);
    assert_eq!(info["output"], json!({"type": "float"}));
    let body = json!({"inputs": {"a": 78, "b": 9}});
    let answer = stand.call(Method::POST, &compute("linear", "latest"), Some(body.clone())).await;
    assert_eq!(String::from_utf8(answer.body).unwrap(), r#"{"output":97.0,"version":"1.0.0"}"#);
    let rows = json!({"rows": [{"a": 1, "b": 2}, {"b": 0.5, "a": 0}]});
    let answer =
        stand.call(Method::POST, &compute("linear", "1.0.0"), Some(rows)).await.expect(200);
    assert_eq!(answer, json!({"outputs": [6.0, 2.0], "version": "1.0.0"}));
    let again = stand.reopened();
    let answer =
        again.call(Method::POST, &compute("linear", "latest"), Some(body)).await.expect(200);
    assert_eq!(answer["output"], 97.0);
    assert_eq!(again.call(Method::GET, LINEAR, None).await.expect(200), info);
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_a_change_is_served_at_once() {
    let stand = Stand::new();
    let first = stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(201);
    stand.clock.advance(Duration::from_secs(5));
    assert_eq!(stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(200), first);
    // What GET answers may be sent again.
    assert_eq!(stand.call(Method::PUT, LINEAR, Some(first.clone())).await.expect(200), first);
    let mut changed = linear();
    changed["source"] = json!("fn compute(a, b) { a - b }");
    let second = stand.call(Method::PUT, LINEAR, Some(changed)).await.expect(200);
    assert_eq!(second["revision"], 2);
    let body = json!({"inputs": {"a": 5, "b": 2}});
    let answer =
        stand.call(Method::POST, &compute("linear", "1.0.0"), Some(body)).await.expect(200);
    assert_eq!(answer["output"], 3.0);
}

#[tokio::test]
async fn the_latest_version_is_the_highest() {
    let stand = Stand::new();
    put(&stand, "v/1.10.0", "fn compute() { 10 }").await.expect(201);
    put(&stand, "v/1.9.0", "fn compute() { 9 }").await.expect(201);
    let answer =
        stand.call(Method::POST, &compute("v", "latest"), Some(json!({"inputs": {}}))).await;
    assert_eq!(answer.expect(200), json!({"output": 10, "version": "1.10.0"}));
    let gone = stand.call(Method::DELETE, "/api/v1/operators/v/1.10.0", None).await;
    assert_eq!(gone.status.as_u16(), 204);
    let answer =
        stand.call(Method::POST, &compute("v", "latest"), Some(json!({"inputs": {}}))).await;
    assert_eq!(answer.expect(200)["version"], "1.9.0");
    assert_eq!(put(&stand, "v/latest", "fn compute() { 9 }").await.refusal().1, "bad_version");
}

#[tokio::test]
async fn a_source_is_checked_before_it_is_kept() {
    let stand = Stand::new();
    let broken = put(&stand, "x/1", "fn compute(a) {\n a + \n}").await;
    assert_eq!(broken.refusal(), (422, "script_syntax".to_owned()));
    assert!(broken.pointers()[0].contains("line 3"), "{:?}", broken.pointers());
    for source in ["fn compte(a) { a }", "1 + 1", "fn compute(a) { a } fn compute(a, b) { a }"] {
        let answer = put(&stand, "x/1", source).await;
        assert_eq!(
            (answer.refusal().1.as_str(), answer.pointers()),
            ("bad_operator", vec!["/source".to_owned()])
        );
    }
    let mut body = linear();
    body["inputs"] = json!([{"name": "a"}, {"name": "c"}, {"name": "a"}]);
    let answer = stand.call(Method::PUT, LINEAR, Some(body)).await;
    assert_eq!(answer.refusal(), (422, "bad_operator".to_owned()));
    assert_eq!(answer.pointers(), ["/inputs/1", "/inputs/2", "/inputs"]);
    let model = json!({"model": "models/a.onnx"});
    let answer = stand.call(Method::PUT, "/api/v1/operators/m/1", Some(model)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.pointers()),
        (422, vec!["/model".to_owned(), "/source".to_owned()])
    );
    let missing = stand.call(Method::GET, "/api/v1/operators/x/1", None).await;
    assert_eq!(missing.refusal(), (404, "operator_not_found".to_owned()));
}

#[tokio::test]
async fn inputs_that_do_not_fit_are_named_all_at_once() {
    let stand = Stand::new();
    stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(201);
    let ask = |body: Value| {
        stand.call(Method::POST, "/api/v1/operators/linear/1.0.0/compute", Some(body))
    };
    let answer = ask(json!({"inputs": {"a": "seventy", "c": 1}})).await;
    assert_eq!(answer.refusal(), (422, "bad_inputs".to_owned()));
    assert_eq!(answer.pointers(), ["/inputs/a", "/inputs/b", "/inputs/c"]);
    let answer = ask(json!({"rows": [{"a": 1, "b": 2}, 7, {"a": null, "b": 1}]})).await;
    assert_eq!(answer.pointers(), ["/rows/1", "/rows/2/a"]);
    for body in [
        json!({}),
        json!({"inputs": {}, "rows": []}),
        json!({"input": {"a": 1, "b": 2}}),
        json!([]),
    ] {
        assert_eq!(ask(body.clone()).await.status.as_u16(), 422, "{body}");
    }
    assert_eq!(ask(json!({"rows": []})).await.expect(200)["outputs"], json!([]));
    let huge: Vec<Value> = vec![json!({"a": 1, "b": 2}); 100_001];
    assert_eq!(ask(json!({ "rows": huge })).await.refusal(), (422, "too_many_rows".to_owned()));
    let text = axum::http::Request::post("/api/v1/operators/linear/1.0.0/compute").body("{".into());
    assert_eq!(
        stand.send(publisher(), text.unwrap()).await.refusal(),
        (400, "bad_json".to_owned())
    );
}

#[tokio::test]
async fn a_row_that_fails_is_named_and_a_hostile_one_ends_at_its_limit() {
    let stand = Stand::new();
    put(&stand, "picky/1", "fn compute(a) { if a < 0 { throw \"negative\" } a }").await.expect(201);
    let rows = json!({"rows": [{"a": 1}, {"a": -1}, {"a": 2}, {"a": -3}]});
    let answer = stand.call(Method::POST, &compute("picky", "1"), Some(rows)).await;
    assert_eq!(answer.refusal(), (422, "script_failed".to_owned()));
    assert_eq!(answer.pointers(), ["/rows/1", "/rows/3"]);
    put(&stand, "loop/1", "fn compute() { loop { } }").await.expect(201);
    let answer = stand.call(Method::POST, &compute("loop", "1"), Some(json!({"inputs": {}}))).await;
    assert!(answer.refusal().1.starts_with("script_"), "{:?}", answer.refusal());
    let wrong = json!({"source": "fn compute() { \"x\" }", "output": "float"});
    stand.call(Method::PUT, "/api/v1/operators/wrong/1", Some(wrong)).await.expect(201);
    let answer =
        stand.call(Method::POST, &compute("wrong", "1"), Some(json!({"inputs": {}}))).await;
    assert_eq!(answer.refusal(), (422, "bad_output".to_owned()));
}

#[tokio::test]
async fn a_computation_can_be_ended_from_outside() {
    let stand = Stand::new();
    put(&stand, "slow/1", "fn compute(n) { let s = 0; for i in 0..n { s += i } s }")
        .await
        .expect(201);
    let cancel = Cancel::default();
    cancel.cancel();
    let rows = vec![json!({"n": 20_000}); 1_000];
    let atom = stand.atom.clone();
    let run = move || atom.compute_rows(&publisher(), "slow", "1", rows, &cancel);
    let error = tokio::task::spawn_blocking(run).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "script_cancelled");
}

#[tokio::test]
async fn a_consumer_computes_with_what_it_was_granted() {
    let stand = Stand::new();
    stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(201);
    let body = json!({"inputs": {"a": 78, "b": 9}});
    let ask = |version: &'static str| {
        let path = compute("linear", version);
        let (stand, body) = (&stand, body.clone());
        async move { stand.call_as(consumer(), Method::POST, &path, Some(body)).await }
    };
    assert_eq!(ask("1.0.0").await.refusal(), (403, "not_granted".to_owned()));
    let unknown =
        stand.call_as(consumer(), Method::POST, &compute("no", "1"), Some(body.clone())).await;
    assert_eq!(unknown.refusal(), (403, "not_granted".to_owned()));
    let grant = |method: Method, version: &str| {
        let path = format!("/api/v1/operators/linear/{version}/grants/ada");
        let stand = &stand;
        async move { stand.call(method, &path, None).await }
    };
    assert_eq!(grant(Method::PUT, "latest").await.expect(201)["user"], "ada");
    assert_eq!(grant(Method::PUT, "latest").await.status.as_u16(), 200);
    assert_eq!(ask("1.0.0").await.expect(200)["output"], 97.0);
    assert_eq!(ask("latest").await.expect(200)["output"], 97.0);
    // A grant of the latest moves on with it.
    put(&stand, "linear/2.0.0", "fn compute(a, b) { a }").await.expect(201);
    assert_eq!(ask("latest").await.expect(200)["version"], "2.0.0");
    assert_eq!(ask("1.0.0").await.status.as_u16(), 403);
    let grants =
        stand.call(Method::GET, "/api/v1/operators/linear/latest/grants", None).await.expect(200);
    assert_eq!(grants["items"][0]["user"], "ada");
    assert_eq!(grant(Method::DELETE, "latest").await.status.as_u16(), 204);
    assert_eq!(grant(Method::DELETE, "latest").await.status.as_u16(), 404);
    assert_eq!(ask("latest").await.status.as_u16(), 403);
    for (who, method, path) in [
        (consumer(), Method::GET, LINEAR),
        (consumer(), Method::GET, "/api/v1/operators"),
        (viewer(), Method::PUT, LINEAR),
        (viewer(), Method::DELETE, LINEAR),
        (viewer(), Method::PUT, "/api/v1/operators/linear/1.0.0/grants/vic"),
    ] {
        let answer = stand.call_as(who, method, path, Some(linear())).await;
        assert_eq!(answer.refusal(), (403, "not_allowed".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn operators_are_found_by_their_labels() {
    let stand = Stand::new();
    for (name, tag) in [("a", "wind"), ("b", "solar"), ("c", "wind")] {
        let mut body = linear();
        body["tag"] = json!(tag);
        body["datasets"] = json!(["scada@2014"]);
        stand
            .call(Method::PUT, &format!("/api/v1/operators/{name}/1.0.0"), Some(body))
            .await
            .expect(201);
    }
    let list = |query: &'static str| stand.call(Method::GET, query, None);
    let names = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&list("/api/v1/operators?tag=wind").await.expect(200)), ["a", "c"]);
    assert_eq!(names(&list("/api/v1/operators?object_name=b").await.expect(200)), ["b"]);
    let page = list("/api/v1/operators?limit=2&dataset=scada@2014").await.expect(200);
    assert_eq!(names(&page), ["a", "b"]);
    assert!(page["next_cursor"].is_string());
    assert_eq!(list("/api/v1/operators?limit=0").await.status.as_u16(), 422);
}

#[tokio::test]
async fn a_script_computes_as_its_caller() {
    let stand = Stand::new();
    stand.call(Method::PUT, LINEAR, Some(linear())).await.expect(201);
    let engine = ScriptEngine::builder()
        .fence(Fence::pipeline())
        .module("atom", Arc::new(script::module(stand.atom.clone())));
    let engine = engine.build().unwrap();
    let source = r#"
        let one = atom::compute("linear", #{ a: 78, b: 9 });
        let many = atom::compute_rows("linear@1.0.0", [#{ a: 1, b: 2 }, #{ a: 0, b: 0.5 }]);
        one + many[0] + many[1]
    "#;
    let program = engine.compile(source).unwrap();
    let as_caller = |caller| Call::new().tagged(ScriptContext { caller, run_id: None }.into_tag());
    let sum = engine.eval(&program, Vec::new(), &as_caller(viewer())).unwrap();
    assert_eq!(sum.as_float(), Ok(105.0));
    let refused = engine.eval(&program, Vec::new(), &as_caller(consumer())).unwrap_err();
    assert_eq!(refused.code(), "not_granted");
    let nobody = engine.eval(&program, Vec::new(), &Call::new()).unwrap_err();
    assert_eq!(nobody.code(), "script_without_caller");
}

#[tokio::test]
async fn many_callers_and_a_writer_never_meet_a_half_operator() {
    let stand = Stand::new();
    put(&stand, "swap/1", "fn compute(a) { a }").await.expect(201);
    let atom = stand.atom.clone();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let atom = atom.clone();
            tokio::task::spawn_blocking(move || {
                for _ in 0..50 {
                    let (value, _) =
                        atom.compute(&publisher(), "swap", "1", json!({"a": 4})).unwrap();
                    assert!(value == json!(4) || value == json!(8), "{value}");
                }
            })
        })
        .collect();
    for round in 0..10 {
        let source = if round % 2 == 0 { "fn compute(a) { a * 2 }" } else { "fn compute(a) { a }" };
        put(&stand, "swap/1", source).await.expect(200);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
