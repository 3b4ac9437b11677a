#![cfg(test)]
//! `kill -9` of the real daemon while it tells an observer.

use serde_json::json;

use super::receiver::{Mode, Receiver};
use super::{SECRET, assert_in_order};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;

fn save(http: &Http, number: u64) {
    let path = format!("/api/v1/cards/model/m{number}/1");
    http.put(&path, &json!({"summary": "x"})).unwrap().expect(201);
}

#[test]
fn after_a_kill_an_observer_is_told_from_where_it_was_and_nothing_is_left_out() {
    let home = Home::with_admin();
    std::fs::write(home.path().join("drip.toml"), "[observers]\nallow_private = true\n").unwrap();
    let receiver = Receiver::new(Mode::Answers(200));
    let mut daemon: Daemon = home.serve();
    let token = daemon.make_admin_token();
    let body = json!({"url": receiver.url(), "secret": SECRET});
    let http = daemon.http().with_token(&token);
    http.put("/api/v1/observers/hq", &body).unwrap().expect(201);
    let mut last = 0;
    // It is killed while all goes well, while its receiver fails, and while it hangs.
    for mode in [Mode::Answers(200), Mode::Answers(500), Mode::Hangs] {
        let http = daemon.http().with_token(&token);
        for number in last + 1..=last + 10 {
            save(&http, number);
        }
        receiver.wait_taken(last + 3);
        receiver.behave(mode);
        for number in last + 11..=last + 20 {
            save(&http, number);
        }
        last += 20;
        daemon.kill();
        receiver.behave(Mode::Answers(200));
        daemon = home.serve();
        receiver.wait_taken(last);
    }
    assert_in_order(&receiver.taken(), 1, last);
    assert!(receiver.seen().iter().all(|seen| seen.is_signed_with(SECRET)));
    let http = daemon.http().with_token(&token);
    let hq = http.get("/api/v1/observers/hq").unwrap().expect(200).json();
    assert_eq!((&hq["state"]["cursor"], &hq["state"]["behind"]), (&json!(last), &json!(0)));
    let ended = daemon.stop();
    assert!(ended.status.success(), "{}", ended.log);
}
