#![cfg(test)]
//! The calls: saving, showing, the log, and telling again.

use axum::http::StatusCode;
use drip::fiche::Status;
use drip::kernel::feed;
use serde_json::{Value, json};

use super::receiver::{Mode, Receiver};
use super::{SECRET, open, quick, save_many, wait_log, wait_until};
use crate::fiche::{Api, ok};

fn api() -> Api {
    Api::over(open(quick()))
}

/// An address that leads nowhere.
const NOWHERE: &str = "http://nowhere.invalid/hook";

#[tokio::test]
async fn an_observer_is_saved_shown_and_deleted_and_its_secret_never_comes_back() {
    let api = api();
    let body = json!({
        "version": "1", "url": NOWHERE, "kinds": ["model"], "events": ["card.saved"],
        "names": ["wind-*"], "stages": ["testing"], "secret": SECRET, "summary": "the centre",
        "config": {"a": [1]}, "remark": "r",
    });
    let made = api.put("/observers/hq", body.clone()).await.expect(StatusCode::CREATED);
    assert_eq!(made.headers["etag"], "\"1\"");
    for (field, value) in body.as_object().unwrap() {
        if field != "secret" {
            assert_eq!(&made.body[field], value, "{field}");
        }
    }
    assert_eq!(made.body["has_secret"], true);
    assert_eq!((&made.body["name"], &made.body["saved_by"]), (&json!("hq"), &json!("ada")));
    // The same again changes nothing; what was answered can be sent back, and the secret stays.
    assert_eq!(api.put("/observers/hq", body).await.expect(StatusCode::OK).body["revision"], 1);
    let mut answered = made.body.clone();
    assert_eq!(ok(api.put("/observers/hq", answered.clone()).await)["revision"], 1);
    answered["remark"] = "another".into();
    let changed = ok(api.put("/observers/hq", answered.clone()).await);
    assert_eq!((&changed["revision"], &changed["has_secret"]), (&json!(2), &json!(true)));
    answered["secret"] = "".into();
    let bare = ok(api.put("/observers/hq", answered).await);
    assert_eq!((&bare["revision"], &bare["has_secret"]), (&json!(3), &json!(false)));

    let stale = api.send("PUT", "/observers/hq", &[("if-match", "\"2\"")], made.text.clone()).await;
    stale.problem(412, "stale_revision");
    let exists = api.send("PUT", "/observers/hq", &[("if-none-match", "*")], made.text).await;
    exists.problem(412, "observer_exists");
    let known = api.send("GET", "/observers/hq", &[("if-none-match", "\"3\"")], "").await;
    assert_eq!(known.status, 304);
    api.put("/observers/风电", json!({"url": NOWHERE})).await.expect(StatusCode::CREATED);
    let page = ok(api.get("/observers?limit=1").await);
    assert_eq!(page["items"][0]["name"], "hq");
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("/observers?limit=1&cursor={cursor}")).await);
    assert_eq!((&rest["items"][0]["name"], &rest["next_cursor"]), (&json!("风电"), &Value::Null));

    let removed = api.send("DELETE", "/observers/hq", &[("if-match", "\"1\"")], "").await;
    removed.problem(412, "stale_revision");
    api.send("DELETE", "/observers/hq", &[], "").await.expect(StatusCode::NO_CONTENT);
    for path in ["/observers/hq", "/observers/hq/deliveries"] {
        api.get(path).await.problem(404, "observer_not_found");
    }
    api.send("DELETE", "/observers/hq", &[], "").await.problem(404, "observer_not_found");
    let again = api.post("/observers/hq/redeliver", json!({"from": 1})).await;
    again.problem(404, "observer_not_found");
}

#[tokio::test]
async fn a_secret_is_in_no_answer_and_in_no_line_of_the_audit() {
    let api = api();
    let body = json!({"url": NOWHERE, "secret": SECRET});
    let mut texts = vec![api.put("/observers/hq", body).await.text];
    for path in ["/observers", "/observers/hq", "/observers/hq/deliveries"] {
        texts.push(api.get(path).await.text);
    }
    let refused = json!({"url": "ftp://x/", "secret": SECRET, "kinds": "x"});
    texts.push(api.put("/observers/hq", refused).await.text);
    api.send("DELETE", "/observers/hq", &[], "").await;
    let audit = feed::read_audit(api.fiche.records().as_ref(), None, 10).unwrap();
    let actions: Vec<_> = audit.iter().map(|(_, line)| line.action.as_str()).collect();
    assert_eq!(actions, ["observer.deleted", "observer.saved"]);
    assert_eq!((audit[0].1.who.as_str(), audit[0].1.subject.as_str()), ("ada", "observer/hq"));
    texts.push(format!("{audit:?}"));
    for text in texts {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let api = api();
    let body = json!({
        "url": "ftp://x/", "kinds": ["modell"], "events": ["card.stage"], "stages": ["live"],
        "enabled": 1, "urls": [],
    });
    let refused = api.put("/observers/hq", body).await;
    refused.problem(422, "bad_observer");
    assert_eq!(
        refused.places(),
        ["/url", "/kinds/0", "/events/0", "/stages/0", "/enabled", "/urls"]
    );
    assert!(refused.text.contains("did you mean `model`?"), "{}", refused.text);
    assert!(refused.text.contains("did you mean `card.staged`?"), "{}", refused.text);
    api.put("/observers/hq", json!([])).await.problem(422, "bad_body");
    let deep = "[".repeat(1000);
    api.send("PUT", "/observers/hq", &[], deep).await.problem(422, "json_too_deep");
    let bad = api.put("/observers/.hidden", json!({"url": NOWHERE})).await;
    bad.problem(422, "bad_observer");
    assert_eq!(bad.places(), ["/name"]);
    api.put("/observers/hq", json!({"url": NOWHERE, "enabled": false})).await;
    for state in ["done", "x"] {
        let path = format!("/observers/hq/deliveries?state={state}");
        api.get(&path).await.problem(422, "bad_state");
    }
    api.get("/observers/hq/deliveries?cursor=x").await.problem(400, "bad_cursor");
    for body in [json!({}), json!({"from": -1}), json!({"from": 1, "too": 2}), json!({"from": "x"})]
    {
        api.post("/observers/hq/redeliver", body).await.problem(422, "bad_body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_can_be_told_again() {
    let api = api();
    let receiver = Receiver::new(Mode::Answers(200));
    let filter = json!({"url": receiver.url(), "secret": SECRET, "names": ["m?"]});
    api.put("/observers/hq", filter).await.expect(StatusCode::CREATED);
    save_many(&api.fiche, 1..=12);
    wait_until(&api.fiche, "hq", "all is told", |hq| hq.state.status == Status::Current);
    assert_eq!(receiver.taken(), (1..=9).collect::<Vec<_>>());
    let ids = |from: usize, to: usize| -> Vec<String> {
        let seen = receiver.seen();
        seen[from..to].iter().map(|s| s.header("drip-delivery").unwrap().to_owned()).collect()
    };

    let again = ok(api.post("/observers/hq/redeliver", json!({"from": 3, "to": 5})).await);
    assert_eq!(again, json!({"from": 3, "to": 5, "events": 3}));
    receiver.wait("three again", |seen| seen.len() == 12);
    wait_until(&api.fiche, "hq", "all is told", |hq| hq.state.status == Status::Current);
    assert_eq!(receiver.taken()[9..], [3, 4, 5]);
    assert_eq!(ids(9, 12), ids(2, 5), "a repeat has the id of the first time");
    assert!(receiver.seen().iter().all(|seen| seen.is_signed_with(SECRET)));

    let key = [("idempotency-key", "once")];
    let body = json!({"from": 8}).to_string();
    for _ in 0..2 {
        let again = api.send("POST", "/observers/hq/redeliver", &key, body.clone()).await;
        assert_eq!(ok(again), json!({"from": 8, "to": 12, "events": 2}));
    }
    receiver.wait("two again", |seen| seen.len() == 14);
    wait_until(&api.fiche, "hq", "all is told", |hq| hq.state.status == Status::Current);
    save_many(&api.fiche, 1..=1); // It is as it was: no event.
    api.put("/cards/model/m1/2", json!({})).await.expect(StatusCode::CREATED);
    receiver.wait_taken(13);
    assert_eq!(receiver.taken()[12..], [8, 9, 13]);

    let log = wait_log(&api.fiche, "hq", |log| log.len() == 15);
    let told: Vec<_> = log.iter().rev().map(|found| (found.number, found.again)).collect();
    assert_eq!(told[8..13], [(9, false), (3, true), (4, true), (5, true), (8, true)]);
    for (from, to, place) in [(14, None, "/from"), (5, Some(4), "/to")] {
        let refused = api.post("/observers/hq/redeliver", json!({"from": from, "to": to})).await;
        refused.problem(422, "bad_redelivery");
        assert_eq!(refused.places(), [place]);
    }
    let all = ok(api.post("/observers/hq/redeliver", json!({"from": 0})).await);
    assert_eq!((&all["from"], &all["events"]), (&json!(1), &json!(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_in_pages_and_by_state() {
    let api = api();
    let receiver = Receiver::new(Mode::Answers(200));
    api.put("/observers/hq", json!({"url": receiver.url()})).await.expect(StatusCode::CREATED);
    save_many(&api.fiche, 1..=5);
    receiver.wait_taken(5);
    receiver.behave(Mode::Answers(500));
    save_many(&api.fiche, 6..=9);
    wait_until(&api.fiche, "hq", "it fails", |hq| hq.state.failures > 1);
    let hq = ok(api.get("/observers/hq").await);
    let state = &hq["state"];
    assert_eq!((&state["status"], &state["cursor"]), (&json!("failing"), &json!(5)));
    assert_eq!((&state["behind"], &state["delivered"]), (&json!(4), &json!(5)));
    assert!(state["next_try_at"].is_string() && state["failing_since"].is_string());
    assert!(state["last_error"].as_str().unwrap().contains("it answered 500"));
    wait_log(&api.fiche, "hq", |log| log.len() == 6);

    let numbers = |page: &Value| -> Vec<u64> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["number"].as_u64().unwrap()).collect()
    };
    let path = "/observers/hq/deliveries";
    let page = ok(api.get(&format!("{path}?limit=4")).await);
    assert_eq!(numbers(&page), [6, 5, 4, 3]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("{path}?limit=4&cursor={cursor}")).await);
    assert_eq!((numbers(&rest), &rest["next_cursor"]), (vec![2, 1], &Value::Null));
    let failed = ok(api.get(&format!("{path}?state=failed")).await);
    assert_eq!((numbers(&failed), &failed["items"][0]["status"]), (vec![6], &json!(500)));
    assert!(failed["items"][0]["next_try_at"].is_string());
    let delivered = ok(api.get(&format!("{path}?state=delivered&limit=2")).await);
    assert_eq!(numbers(&delivered), [5, 4]);
    assert_eq!(delivered["items"][0]["card"], "model:m5@1");
    let pending = ok(api.get(&format!("{path}?state=pending&limit=2")).await);
    assert_eq!(numbers(&pending), [7, 8]);
    let cursor = pending["next_cursor"].as_str().unwrap();
    let rest = ok(api.get(&format!("{path}?state=pending&limit=2&cursor={cursor}")).await);
    assert_eq!((numbers(&rest), &rest["items"][0]["state"]), (vec![9], &json!("pending")));
}

#[tokio::test]
async fn there_is_an_end_to_how_many_observers_may_be() {
    let api = api();
    for n in 0..drip::fiche::OBSERVERS_MAX {
        let body = json!({"url": NOWHERE, "enabled": false});
        api.put(&format!("/observers/o{n}"), body).await.expect(StatusCode::CREATED);
    }
    let refused = api.put("/observers/more", json!({"url": NOWHERE})).await;
    refused.problem(409, "too_many_observers");
    api.put("/observers/o1", json!({"url": NOWHERE, "enabled": true})).await.expect(StatusCode::OK);
}
