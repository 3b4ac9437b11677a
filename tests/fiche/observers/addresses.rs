#![cfg(test)]
//! Addresses that lead into the house are refused, when they are given and when they are used.

use std::sync::Arc;

use drip::fiche::{Conditions, ObserverDraft, Status};
use drip::kernel::push::Terms;
use drip::kernel::records::MemoryRecords;
use serde_json::json;

use super::receiver::{Mode, Receiver};
use super::{ada, observe, open, open_over, quick, save_many, wait_until};
use crate::fiche::Api;

#[tokio::test]
async fn an_address_inside_is_refused_when_it_is_given() {
    let strict = Terms { allow_private: false, ..quick() };
    let api = Api::over(open(strict));
    for url in [
        "http://127.0.0.1:9999/hook",
        "http://127.1/hook",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://localhost:9999/hook",
        "http://LocalHost./",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[ff02::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
    ] {
        let refused = api.put("/observers/hq", json!({ "url": url })).await;
        let problem = refused.problem(422, "address_refused");
        assert_eq!(refused.places(), ["/url"], "{url}");
        assert!(problem["detail"].as_str().unwrap().contains("allow_private"), "{url}");
    }
    for url in ["gopher://x/", "http://ada:secret@1.1.1.1/", "/hook", "http://"] {
        let refused = api.put("/observers/hq", json!({ "url": url })).await;
        refused.problem(422, "bad_observer");
        assert_eq!(refused.places(), ["/url"], "{url}");
    }
    let none = api.get("/observers/hq").await;
    none.problem(404, "observer_not_found");
}

#[test]
fn an_address_inside_is_refused_again_when_it_is_used() {
    let strict = Terms { allow_private: false, ..quick() };
    let receiver = Receiver::new(Mode::Answers(200));
    let by_name = format!("http://localhost:{}/hook", receiver.port());
    for (url, why) in
        [(receiver.url(), "127.0.0.1 is a loopback address"), (by_name, "`localhost` leads inside")]
    {
        // What was allowed once is not any more, as when a name is made to lead elsewhere.
        let records = Arc::new(MemoryRecords::new());
        let fiche = open_over(records.clone(), quick());
        observe(&fiche, "hq", &url, json!({}));
        save_many(&fiche, 1..=1);
        receiver.wait("the first message", |seen| !seen.is_empty());
        wait_until(&fiche, "hq", "it is told", |hq| hq.state.status == Status::Current);
        let told = receiver.seen().len();
        fiche.close();
        drop(fiche);
        let fiche = open_over(records, strict);
        save_many(&fiche, 2..=2);
        let failing = wait_until(&fiche, "hq", "it fails", |hq| hq.state.failures > 1);
        let error = failing.state.last_error.unwrap();
        assert!(error.contains(why), "{error}");
        assert_eq!(receiver.seen().len(), told, "nothing reached the receiver");
        let draft = ObserverDraft::read("hq", json!({ "url": url }), fiche.kinds()).unwrap();
        let refused = fiche.observe(&ada(), &draft, Conditions::default()).unwrap_err();
        assert_eq!(refused.code(), "address_refused");
    }
}
