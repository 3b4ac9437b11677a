//! Edge to centre over a real socket: what a node sees of its centre, and what the centre lets a node
//! do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use clap::Parser;
use drip::fiche::cli::Command;
use drip::fiche::upstream::{ConflictFilter, Pusher, Standing};
use drip::fiche::{CardKind, Conditions, Config, Fiche, Parts, Upstream};
use drip::kernel::access::{Caller, Role};
use drip::kernel::cli::Output;
use drip::kernel::client::Client;
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::config::Secret;
use drip::kernel::name::Digest;
use drip::kernel::records::{ChangeSet, Expect, MemoryRecords};
use drip::kernel::{Bus, Name, Result};
use serde_json::{Value, json};

use super::{Api, key, ok, save};

fn open(node: &str, url: Option<&str>) -> Fiche {
    let upstream = Upstream {
        url: url.map(str::to_owned),
        token: Some(Secret::new("drip_secret")),
        node: Some(Name::new(node).unwrap()),
    };
    Fiche::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        clock: ManualClock::at(Time(1_700_000_000_000_000)),
        bus: Bus::new(),
        folder: None,
        config: Config { upstream, ..Config::default() },
    })
    .unwrap()
}

async fn listen(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn routes(fiche: &Fiche) -> Router {
    let caller = Caller::new("edge-token", Role::Publisher);
    drip::fiche::http::routes(fiche.clone()).into_router().layer(Extension(caller))
}

/// A centre and a node that pushes to it.
struct Pair {
    centre: Fiche,
    url: String,
    edge: Fiche,
    pusher: Pusher,
}

impl Pair {
    async fn new() -> Self {
        let centre = open("centre", None);
        let url = listen(routes(&centre)).await;
        let edge = open("edge", Some(&url));
        let pusher = Pusher::new(&edge).unwrap().unwrap();
        Self { centre, url, edge, pusher }
    }

    async fn push(&mut self) -> Standing {
        self.pusher.push_all().await.unwrap();
        self.edge.upstream().unwrap()
    }

    async fn run(&self, line: &[&str]) -> Result<()> {
        #[derive(Parser)]
        struct Line {
            #[command(subcommand)]
            command: Command,
        }
        let words = std::iter::once("fiche").chain(line.iter().copied());
        let parsed = Line::try_parse_from(words).unwrap_or_else(|why| panic!("{line:?}: {why}"));
        let client = Client::new(&self.url, None).unwrap();
        drip::fiche::cli::run(parsed.command, &client, Output::new(false)).await
    }
}

fn model(name: &str, text: &str) -> Value {
    json!({"kind": "model", "name": name, "version": "1", "summary": text})
}

fn summary(fiche: &Fiche, name: &str) -> Option<String> {
    let card = fiche.get(CardKind::MODEL, name, "1").ok()?;
    Some(card.text("summary").to_owned())
}

fn conflicts(fiche: &Fiche) -> Vec<(String, &'static str)> {
    let all = fiche.conflicts(&ConflictFilter::default(), None, 100).unwrap();
    all.iter().map(|conflict| (conflict.name.to_string(), conflict.reason.as_str())).collect()
}

#[tokio::test]
async fn a_conflict_is_kept_on_both_sides_and_counted_until_it_ends() {
    let mut pair = Pair::new().await;
    for name in ["mine", "theirs", "equal", "taken", "gone", "away"] {
        save(&pair.edge, model(name, "start")).unwrap();
    }
    assert_eq!(pair.push().await.conflicts, 0);
    for name in ["mine", "theirs", "equal", "taken", "away"] {
        save(&pair.centre, model(name, "centre")).unwrap();
    }
    let ada = Caller::new("ada", Role::Publisher);
    pair.centre.delete(&ada, &key("model", "gone", "1"), Conditions::default()).unwrap();
    for name in ["mine", "theirs", "equal", "taken", "gone"] {
        save(&pair.edge, model(name, "edge")).unwrap();
    }
    pair.edge.delete(&ada, &key("model", "away", "1"), Conditions::default()).unwrap();
    save(&pair.centre, model("other", "centre")).unwrap();
    save(&pair.edge, model("other", "edge")).unwrap();
    let standing = pair.push().await;
    assert_eq!((standing.conflicts, standing.behind), (7, 0));
    let expected = [
        ("away", "deleted_there"),
        ("equal", "changed_here"),
        ("gone", "deleted_here"),
        ("mine", "changed_here"),
        ("other", "exists_here"),
        ("taken", "changed_here"),
        ("theirs", "changed_here"),
    ];
    assert_eq!(conflicts(&pair.centre), expected.map(|(name, why)| (name.to_owned(), why)));
    assert_eq!(standing.conflicting[0].card, "model/away/1");
    let events = pair.centre.changes(0, 100).unwrap();
    assert_eq!(events.iter().filter(|event| event.event == "card.conflicted").count(), 7);
    assert_eq!(summary(&pair.centre, "mine").as_deref(), Some("centre"));
    assert_eq!(summary(&pair.edge, "mine").as_deref(), Some("edge"));

    // Each ends in its own way.
    for line in [
        vec!["conflicts"],
        vec!["conflicts", "list", "--node", "edge", "--kind", "model"],
        vec!["conflicts", "show", "model", "mine", "1"],
        vec!["conflicts", "show", "model:gone@1", "--node", "edge"],
        vec!["conflicts", "resolve", "model:mine@1", "--keep", "mine"],
        vec!["conflicts", "resolve", "model:theirs@1", "--keep", "theirs", "--node", "edge"],
        vec!["conflicts", "resolve", "model:gone@1", "--keep", "theirs"],
        vec!["conflicts", "resolve", "model:away@1", "--keep", "theirs"],
        vec!["upstream"],
    ] {
        pair.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    let missing = pair.run(&["conflicts", "show", "model:mine@1"]).await.unwrap_err();
    assert_eq!(missing.code(), "conflict_not_found");
    save(&pair.centre, model("taken", "edge")).unwrap();
    save(&pair.edge, model("equal", "centre")).unwrap();
    let standing = pair.push().await;
    assert_eq!(standing.conflicts, 1, "{standing:?}");
    assert_eq!(conflicts(&pair.centre), [("other".to_owned(), "exists_here")]);
    assert_eq!(standing.conflicting[0].card, "model/other/1");
    for (name, text) in
        [("mine", "centre"), ("theirs", "edge"), ("gone", "edge"), ("taken", "edge")]
    {
        assert_eq!(summary(&pair.centre, name).as_deref(), Some(text), "{name}");
    }
    assert_eq!(summary(&pair.centre, "away"), None);
    let theirs = pair.centre.get(CardKind::MODEL, "theirs", "1").unwrap();
    assert_eq!((theirs.node.as_deref(), theirs.saved_by.as_str()), (Some("edge"), "ada"));
    // What the centre took over is known again: the next change goes through.
    save(&pair.edge, model("theirs", "edge 2")).unwrap();
    save(&pair.edge, model("mine", "edge 2")).unwrap();
    let standing = pair.push().await;
    assert_eq!(summary(&pair.centre, "theirs").as_deref(), Some("edge 2"));
    assert_eq!(summary(&pair.centre, "mine").as_deref(), Some("centre"));
    assert_eq!(standing.conflicts, 2);
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_a_large_backlog_goes_in_batches() {
    let mut pair = Pair::new().await;
    for n in 0..450 {
        // Now and then one that is a batch by itself.
        let config = "x".repeat(if n % 100 == 0 { (1 << 20) - 200 } else { 10 });
        let card =
            json!({"kind": "model", "name": format!("m{n}"), "version": "1", "config": config});
        save(&pair.edge, card).unwrap();
    }
    let standing = pair.push().await;
    assert_eq!((standing.cursor, standing.behind, standing.conflicts), (450, 0, 0));
    assert_eq!(pair.centre.last_number().unwrap(), 450);
    let mut again = Pusher::new(&pair.edge).unwrap().unwrap();
    again.push_all().await.unwrap();
    assert_eq!(pair.centre.last_number().unwrap(), 450);
    assert_eq!(pair.edge.upstream().unwrap(), standing);
}

/// Lets every push through to the centre and, when told to, loses its answer.
async fn losing(lose: Arc<AtomicBool>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    if lose.swap(false, Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    answer
}

#[tokio::test]
async fn an_answer_that_is_lost_loses_no_conflict_and_makes_nothing_twice() {
    let centre = open("centre", None);
    let lose = Arc::new(AtomicBool::new(false));
    let losing_now = lose.clone();
    let router = routes(&centre)
        .layer(from_fn(move |request, next| losing(losing_now.clone(), request, next)));
    let edge = open("edge", Some(&listen(router).await));
    let mut pusher = Pusher::new(&edge).unwrap().unwrap();
    pusher.push_all().await.unwrap();
    save(&centre, model("a", "centre")).unwrap();
    save(&edge, model("a", "edge")).unwrap();
    save(&edge, model("b", "edge")).unwrap();
    lose.store(true, Ordering::SeqCst);
    assert_eq!(pusher.push_all().await.unwrap_err().code(), "upstream_away");
    let newest = centre.last_number().unwrap();
    assert_eq!(conflicts(&centre).len(), 1);
    let standing = edge.upstream().unwrap();
    assert_eq!((standing.conflicts, standing.behind), (0, 2));
    pusher.push_all().await.unwrap();
    let standing = edge.upstream().unwrap();
    assert_eq!((standing.conflicts, standing.behind, standing.cursor), (1, 0, 2));
    assert_eq!(centre.last_number().unwrap(), newest);
}

#[tokio::test]
async fn every_way_to_fail_says_what_to_do_and_leaves_the_cards_waiting() {
    let away = "http://127.0.0.1:9".to_owned();
    let fixed = |status: u16, kind: &'static str, body: &'static str| async move {
        let answer = move || async move {
            (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body)
        };
        listen(Router::new().fallback(answer)).await
    };
    let problem = "application/problem+json";
    let twin = open("edge", None);
    let cases = [
        (away, "upstream_away"),
        (fixed(401, problem, r#"{"code": "unauthenticated"}"#).await, "upstream_token_refused"),
        (
            fixed(403, problem, r#"{"code": "no_scope", "detail": "needs fiche:write"}"#).await,
            "upstream_denied",
        ),
        (fixed(404, problem, r#"{"code": "no_such_path"}"#).await, "upstream_too_old"),
        (fixed(404, "text/html", "<html>nothing</html>").await, "upstream_no_drip"),
        (fixed(200, "text/html", "<html>hello</html>").await, "upstream_no_drip"),
        (fixed(302, "text/html", "").await, "upstream_away"),
        (fixed(503, problem, r#"{"code": "store_closed", "detail": "x"}"#).await, "store_closed"),
        (listen(routes(&twin)).await, "same_node_name"),
    ];
    for (url, code) in cases {
        let edge = open("edge", Some(&url));
        save(&edge, model("a", "edge")).unwrap();
        let failed = Pusher::new(&edge).unwrap().unwrap().push_all().await.unwrap_err();
        assert_eq!(failed.code(), code, "{url}: {failed}");
        let standing = edge.upstream().unwrap();
        let told = standing.last_error.unwrap();
        assert_eq!((told.code.as_str(), standing.behind), (code, 1));
        assert!(standing.next_try_at.is_some() && standing.last_success_at.is_none());
        assert!(!told.detail.contains("drip_secret"));
    }
    // Its own address.
    let own = Arc::new(Mutex::new(None::<Router>));
    let late = own.clone();
    let relay = move |request: Request| {
        let router = late.lock().unwrap().clone().unwrap();
        async move { tower::ServiceExt::oneshot(router, request).await }
    };
    let url = listen(Router::new().fallback(relay)).await;
    let edge = open("edge", Some(&url));
    *own.lock().unwrap() = Some(routes(&edge));
    let failed = Pusher::new(&edge).unwrap().unwrap().push_all().await.unwrap_err();
    assert_eq!(failed.code(), "own_upstream");
}

#[tokio::test]
async fn a_data_folder_that_was_put_back_pushes_everything_again_and_nothing_is_lost() {
    let mut pair = Pair::new().await;
    for text in ["one", "two", "three"] {
        save(&pair.edge, model("a", text)).unwrap();
    }
    pair.push().await;
    // The same folder as it was after the first save: the id is the same, what follows is another.
    let old = open("edge", Some(&pair.url));
    let id = pair.edge.store().get("upstream/self").unwrap().unwrap();
    old.store().apply(ChangeSet::new().put("upstream/self", Expect::Any, id.value)).unwrap();
    save(&old, model("a", "one")).unwrap();
    for text in ["other", "b", "c"] {
        save(&old, model("b", text)).unwrap();
    }
    let mut pusher = Pusher::new(&old).unwrap().unwrap();
    pusher.push_all().await.unwrap();
    let standing = old.upstream().unwrap();
    assert_eq!((standing.behind, standing.cursor, standing.conflicts), (0, 4, 1));
    assert_eq!(summary(&pair.centre, "a").as_deref(), Some("three"));
    assert_eq!(summary(&pair.centre, "b").as_deref(), Some("c"));
    assert_eq!(conflicts(&pair.centre), [("a".to_owned(), "exists_here")]);
}

#[tokio::test]
async fn a_centre_that_was_put_back_or_is_new_is_given_all_that_it_lacks() {
    let centre = Arc::new(Mutex::new(open("centre", None)));
    let now = centre.clone();
    let relay = move |request: Request| {
        let router = routes(&now.lock().unwrap().clone());
        async move { tower::ServiceExt::oneshot(router, request).await }
    };
    let edge = open("edge", Some(&listen(Router::new().fallback(relay)).await));
    let mut pusher = Pusher::new(&edge).unwrap().unwrap();
    save(&edge, model("a", "one")).unwrap();
    pusher.push_all().await.unwrap();
    *centre.lock().unwrap() = open("centre", None);
    save(&edge, model("a", "two")).unwrap();
    pusher.push_all().await.unwrap();
    let centre = centre.lock().unwrap().clone();
    assert_eq!(centre.history(&key("model", "a", "1"), 0, 10).unwrap().len(), 2);
    assert_eq!(edge.upstream().unwrap().conflicts, 0);
}

/// Refuses cards named `odd`, as a centre does that does not know their kind.
async fn picky(is_picky: Arc<AtomicBool>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 64 << 20).await.unwrap();
    let push: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let none = Vec::new();
    let events = push["events"].as_array().unwrap_or(&none);
    let odd: Vec<_> = (0..events.len()).filter(|at| events[*at]["card"]["name"] == "odd").collect();
    if odd.is_empty() || !is_picky.load(Ordering::SeqCst) {
        return next.run(Request::from_parts(parts, Body::from(bytes))).await;
    }
    let fault = |at| json!({"pointer": format!("/events/{at}/card/kind"), "detail": "unknown"});
    let faults: Vec<_> = odd.into_iter().map(fault).collect();
    let problem = json!({"code": "bad_push", "detail": "x", "errors": faults});
    (StatusCode::UNPROCESSABLE_ENTITY, problem.to_string()).into_response()
}

#[tokio::test]
async fn a_card_that_the_centre_refuses_waits_and_the_others_go_on() {
    let centre = open("centre", None);
    let is_picky = Arc::new(AtomicBool::new(true));
    let still = is_picky.clone();
    let router =
        routes(&centre).layer(from_fn(move |request, next| picky(still.clone(), request, next)));
    let edge = open("edge", Some(&listen(router).await));
    for name in ["a", "odd", "b", "odd"] {
        save(&edge, model(name, &format!("{name} {}", edge.last_number().unwrap()))).unwrap();
    }
    Pusher::new(&edge).unwrap().unwrap().push_all().await.unwrap();
    let standing = edge.upstream().unwrap();
    assert_eq!((standing.behind, standing.refused.len()), (0, 1));
    assert_eq!(standing.refused[0].reason, "card/kind: unknown");
    assert_eq!(centre.last_number().unwrap(), 2);
    // Another life tries it again: refused still, and then no more.
    Pusher::new(&edge).unwrap().unwrap().push_all().await.unwrap();
    assert_eq!(edge.upstream().unwrap().refused, standing.refused);
    is_picky.store(false, Ordering::SeqCst);
    Pusher::new(&edge).unwrap().unwrap().push_all().await.unwrap();
    assert_eq!(edge.upstream().unwrap().refused, []);
    assert_eq!(summary(&centre, "odd").as_deref(), Some("odd 3"));
}

fn pushed(after: u64, to: u64, events: Vec<Value>) -> Value {
    json!({"node": "edge", "feed": "0197f1d2-7c1e-7000-8000-000000000001", "after": after, "to": to,
           "mark": Digest::of(b"m"), "events": events})
}

fn event(number: u64, card: Value) -> Value {
    json!({"number": number, "event": "card.saved", "revision": 1, "by": "li", "card": card,
           "digest": Digest::of(number.to_string().as_bytes()), "base": null})
}

#[tokio::test]
async fn a_push_with_one_fault_is_refused_whole_and_every_fault_is_named() {
    let api = Api::new();
    let good = event(1, model("a", "x"));
    let mut large = model("b", "x");
    large["config"] = json!("x".repeat(2 << 20));
    let strange = json!({"kind": "gadget", "name": "a\u{7}", "version": "1"});
    let body = pushed(
        0,
        9,
        vec![good.clone(), event(2, large), event(3, strange), event(2, model("c", "x"))],
    );
    let refused = api.post("/cards:push", body).await;
    refused.problem(422, "bad_push");
    assert_eq!(
        refused.places(),
        ["/events/1/card", "/events/2/card/kind", "/events/2/card/name", "/events/3/number"]
    );
    let mut nameless = pushed(0, 1, vec![good.clone()]);
    nameless["node"] = json!("a\u{1}b\u{202E}");
    api.post("/cards:push", nameless).await.problem(422, "bad_push");
    let many = (1..=100_000).map(|n| event(n, model("a", "x"))).collect();
    let refused = api.post("/cards:push", pushed(0, 100_000, many)).await;
    refused.problem(422, "bad_push");
    assert_eq!(refused.places(), ["/events"]);
    api.send("POST", "/cards:push", &[], "{").await.problem(400, "bad_json");
    let deep = format!("{{\"node\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
    api.send("POST", "/cards:push", &[], deep).await.problem(422, "json_too_deep");
    assert_eq!(api.fiche.last_number().unwrap(), 0);
    assert_eq!(ok(api.post("/cards:push", pushed(0, 1, vec![good.clone()])).await)["cursor"], 1);
    api.post("/cards:push", pushed(0, 1, vec![good])).await.problem(409, "push_out_of_step");
    // A base for a card that never was here is no conflict: there is nothing to lose.
    let mut late = event(2, model("late", "x"));
    late["base"] = json!({"stage": "testing", "digest": Digest::of(b"y")});
    let answer = ok(api.post("/cards:push", pushed(1, 2, vec![late])).await);
    assert_eq!(answer["outcomes"][0]["outcome"], "applied");
    assert_eq!(api.fiche.last_number().unwrap(), 2);
}

#[tokio::test]
async fn conflicts_are_listed_in_pages_and_resolved_once() {
    let api = Api::new();
    for name in ["a", "b", "c"] {
        save(&api.fiche, model(name, "here")).unwrap();
    }
    let events = ["a", "b", "c"].into_iter().zip(1..);
    let events = events.map(|(name, n)| event(n, model(name, "there"))).collect();
    let answer = ok(api.post("/cards:push", pushed(0, 3, events)).await);
    assert_eq!(
        (&answer["conflicts"], &answer["outcomes"][2]["reason"]),
        (&json!(3), &json!("exists_here"))
    );
    let page = ok(api.get("/cards:conflicts?limit=2&node=edge&kind=model").await);
    assert_eq!(page["items"][1]["name"], "b");
    assert_eq!(page["items"][0]["mine"]["summary"], "here");
    assert_eq!(page["items"][0]["theirs"]["summary"], "there");
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("/cards:conflicts?limit=2&cursor={cursor}")).await);
    assert_eq!((&rest["items"][0]["name"], &rest["next_cursor"]), (&json!("c"), &Value::Null));
    let brief = ok(api.get("/cards:conflicts?brief=true&name=c").await);
    assert_eq!(
        (&brief["items"][0]["theirs"], brief["items"].as_array().unwrap().len()),
        (&Value::Null, 1)
    );
    assert_eq!(ok(api.get("/cards:conflicts?node=nobody").await)["items"], json!([]));

    let about = |keep: &str, number: u64| json!({"kind": "model", "name": "a", "version": "1", "node": "edge", "keep": keep, "number": number});
    api.post("/cards:resolve", about("both", 1)).await.problem(422, "bad_side");
    api.post("/cards:resolve", about("theirs", 7)).await.problem(412, "conflict_moved_on");
    let body = about("theirs", 1).to_string();
    let retry = [("idempotency-key", "r1")];
    let first = ok(api.send("POST", "/cards:resolve", &retry, body.clone()).await);
    assert_eq!((&first["kept"], &first["card"]["summary"]), (&json!("theirs"), &json!("there")));
    assert_eq!(first["card"]["node"], "edge");
    assert_eq!(ok(api.send("POST", "/cards:resolve", &retry, body).await), first);
    api.post("/cards:resolve", about("theirs", 1)).await.problem(404, "conflict_not_found");
    assert_eq!(ok(api.get("/upstream").await)["url"], Value::Null);
}
