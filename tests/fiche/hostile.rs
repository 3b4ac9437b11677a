//! What nobody should send, sent to the real daemon: each call has its status and its word, every
//! fault is named, and the daemon goes on.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::support::daemon::Home;
use crate::support::http::{Answer, Http};
use crate::support::pause;

const CARD: &str = "/api/v1/cards/model/hostile/1";

/// The places of the faults of a problem document with this status and this word.
#[track_caller]
fn problem(answer: &Answer, status: u16, code: &str) -> Vec<String> {
    let body = answer.json();
    assert_eq!((answer.status, &body["code"]), (status, &json!(code)), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

fn bad_cards(http: &Http) {
    let put = |body: &Value| http.put(CARD, body).unwrap();
    problem(&put(&json!({"config": "x".repeat(2 << 20)})), 413, "card_too_large");
    // The connection may be closed while it is still being sent.
    if let Ok(answer) = http.put(CARD, &json!({"config": "x".repeat(11 << 20)})) {
        problem(&answer, 413, "body_too_large");
    }
    let labels: Map<String, Value> = (0..10_000).map(|n| (n.to_string(), "x".into())).collect();
    assert_eq!(problem(&put(&json!({"labels": labels})), 422, "bad_card"), ["/labels"]);
    let wrong: Map<String, Value> = (0..900).map(|n| (format!("l{n:03}"), json!(n))).collect();
    let places = problem(&put(&json!({"labels": wrong, "summary": 7})), 422, "bad_card");
    assert_eq!((places.len(), places[0].as_str()), (101, "/summary"), "the first hundred");
    let deep = format!("{{\"config\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    let send = |body: &[u8]| http.send("PUT", CARD, Some("application/json"), body).unwrap();
    problem(&send(deep.as_bytes()), 422, "json_too_deep");
    problem(&send(b"{\"config\": \"\xff\xfe\"}"), 400, "bad_json");
    problem(&send(b""), 400, "bad_json");
    problem(&send(&b"[".repeat(100_000)), 422, "json_too_deep");
    problem(&send(b"[]"), 422, "bad_card");
    for name in ["a%00b", "a%0Ab", "%E2%80%AEabc", "%1B%5B31m", "%20", "..", "a%2Fb"] {
        let path = format!("/api/v1/cards/model/{name}/1");
        let answer = http.put(&path, &json!({})).unwrap();
        assert!(problem(&answer, 422, "bad_card").contains(&"/name".to_owned()), "{name}");
    }
    let answer = http.put("/api/v1/cards/model/%FF%FE/1", &json!({})).unwrap();
    assert_eq!(answer.status, 422, "{}", answer.text());
    problem(&http.get("/api/v1/cards/gadget%00/x/1").unwrap(), 404, "unknown_kind");
}

fn names_of_other_scripts(http: &Http) {
    for name in
        ["Прогноз", "توقع-الرياح", "พยากรณ์", "पवन", "需要予測", "풍력", "🌬", "Ǖber", "a b", "a:b@c"]
    {
        let path = format!("/api/v1/cards/model/{}/1", percent(name));
        let card = http.put(&path, &json!({"summary": name})).unwrap().expect(201).json();
        assert_eq!(card["name"], name);
        assert_eq!(http.get(&path).unwrap().expect(200).json(), card);
        http.get(&format!("{path}/lineage")).unwrap().expect(200);
    }
}

fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut path, byte| {
        write!(path, "%{byte:02X}").unwrap();
        path
    })
}

fn a_card_that_refers_to_itself(http: &Http) {
    let card = json!({"requires": ["model:hostile@1", "hostile@1", "model:hostile", "hostile"],
        "algorithm": "hostile", "requiredby": "model:hostile@1"});
    http.put(CARD, &card).unwrap().expect(201);
    let lineage = http.get(&format!("{CARD}/lineage")).unwrap().expect(200).json();
    let edges = lineage["edges"].as_array().unwrap();
    let to_itself = edges.iter().filter(|edge| edge["from"] == edge["to"]).count();
    assert!(to_itself >= 1, "{lineage}");
    assert_eq!(lineage["nodes"].as_array().unwrap().len(), 1);
    let impact = http.get(&format!("{CARD}/impact")).unwrap().expect(200).json();
    assert_eq!(impact["directly"], json!([]));
}

/// Waits until the index has taken in what was saved.
fn settle(http: &Http) {
    let start = Instant::now();
    while http.get("/api/v1/cards").unwrap().expect(200).json()["behind"] != 0 {
        assert!(start.elapsed() < super::PATIENCE, "the index does not catch up");
        pause(Duration::from_millis(20));
    }
}

fn bad_queries(http: &Http) {
    settle(http);
    let get = |query: &str| http.get(&format!("/api/v1/cards?{query}")).unwrap();
    assert_eq!(get("q=AND%20AND%20(").expect(200).json()["total"], 0);
    assert!(get("q=*").expect(200).json()["total"].as_u64().unwrap() > 5);
    for q in ["((((((", "%22", "name:", "*:*", "~", "%00", "a~~~", "NOT", "%F0%9F%8C%AC*", "-_.~*"]
    {
        get(&format!("q={q}")).expect(200);
    }
    assert_eq!(problem(&get(&format!("q={}", "x".repeat(5000))), 422, "query_too_long"), ["q"]);
    problem(&get(&format!("q={}", "a+".repeat(2000))), 422, "query_too_long");
    // What is longer than a line of a request may be is refused before it is a query; the
    // connection may be closed while it is still being sent.
    if let Ok(answer) = http.get(&format!("/api/v1/cards?q={}", "x".repeat(1 << 20))) {
        assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    }
    let all = get("kind=gadget&stage=paused&updated_after=yesterday&created_before=13");
    let places = problem(&all, 422, "bad_query");
    assert_eq!(places, ["kind", "stage", "updated_after", "created_before"]);
    assert_eq!(problem(&get("updated_after=x"), 422, "bad_time"), ["updated_after"]);
    problem(&get("sort=size"), 422, "bad_sort");
    problem(&get("limit=1001"), 422, "bad_limit");
    problem(&get(&"label=x&".repeat(40)), 422, "bad_label");
}

fn cursors_and_revisions_that_never_were(http: &Http) {
    let get = |path: &str| http.get(path).unwrap();
    for cursor in ["made-up", "%00", "%E4%B8%AD", "AAAAAAAA"] {
        problem(&get(&format!("/api/v1/cards?cursor={cursor}")), 400, "bad_cursor");
        problem(&get(&format!("/api/v1/cards/model?cursor={cursor}")), 400, "bad_cursor");
        problem(&get(&format!("{CARD}/history?cursor={cursor}")), 400, "bad_cursor");
        problem(&get(&format!("/api/v1/changes?cursor={cursor}")), 400, "bad_cursor");
    }
    for revision in ["0", "99", "18446744073709551615"] {
        problem(&get(&format!("{CARD}?revision={revision}")), 404, "revision_not_found");
        problem(&get(&format!("{CARD}/diff?from={revision}")), 404, "revision_not_found");
    }
    for revision in ["-1", "one", "18446744073709551616", "1.5"] {
        problem(&get(&format!("{CARD}?revision={revision}")), 422, "bad_query");
    }
    problem(&get("/api/v1/cards/model/never/1?revision=1"), 404, "card_not_found");
    problem(&get("/api/v1/changes?after=-1"), 422, "bad_after");
    problem(&get(&format!("{CARD}/lineage?depth=-1")), 422, "bad_query");
    problem(&get(&format!("{CARD}/lineage?direction=%00")), 422, "bad_direction");
}

#[test]
fn what_nobody_should_send_is_refused_by_name_and_the_daemon_goes_on() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let http = daemon.http().with_token(&daemon.login());
    bad_cards(&http);
    http.get(CARD).unwrap().expect(404);
    names_of_other_scripts(&http);
    a_card_that_refers_to_itself(&http);
    bad_queries(&http);
    cursors_and_revisions_that_never_were(&http);
    http.get("/readyz").unwrap().expect(200);
    http.put("/api/v1/cards/model/after/1", &json!({})).unwrap().expect(201);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    assert!(daemon.stop().status.success());
}
