#![cfg(test)]
//! API tokens, over HTTP.

use std::collections::BTreeSet;
use std::time::Duration;

use drip::kernel::access::{MODULES, Scope};
use proptest::prelude::{Strategy, prop};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::{Ask, Rig};

fn scopes() -> impl Strategy<Value = BTreeSet<Scope>> {
    let modules: Vec<&str> = MODULES.iter().copied().chain(["*"]).collect();
    let scope = (prop::sample::select(modules), prop::bool::ANY)
        .prop_map(|(module, write)| Scope { module: module.to_owned(), write });
    prop::collection::btree_set(scope, 1..5)
}

/// What a set of scopes allows, module by module: said here without the code under test.
fn allowed(scopes: &BTreeSet<Scope>) -> BTreeSet<(&'static str, bool)> {
    let mut all = BTreeSet::new();
    for module in MODULES.iter().copied().chain(["a module to come"]) {
        for scope in scopes.iter().filter(|s| s.module == "*" || s.module == module) {
            all.insert((module, false));
            if scope.write {
                all.insert((module, true));
            }
        }
    }
    all
}

fn texts(scopes: &BTreeSet<Scope>) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_token_never_exceeds_its_maker() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rig = Rig::new();
    let admin = runtime.block_on(rig.login("admin"));
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(scopes(), scopes()), |(has, wants)| {
        runtime.block_on(async {
            let has_texts = texts(&has);
            let has_texts: Vec<&str> = has_texts.iter().map(String::as_str).collect();
            let maker = rig.token(&admin, &has_texts).await;
            let body = json!({"name": "child", "scopes": texts(&wants)});
            let ask = Ask::new("POST", "/api/v1/tokens").bearer(&maker).json(&body);
            let answer = ask.of(&rig).await;
            if allowed(&wants).is_subset(&allowed(&has)) {
                let child = answer.expect(201).text_at("token");
                let who = Ask::new("GET", "/api/v1/whoami").bearer(&child).of(&rig).await;
                assert_eq!(who.value()["scopes"], json!(texts(&wants)));
            } else {
                answer.refused(422, "bad_token");
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_token_does_not_outgrow_the_role_of_its_account() {
    let rig = Rig::new();
    rig.make("ada", "viewer");
    let token = rig.token(&rig.login("ada").await, &["*:write"]).await;
    let ask =
        || Ask::new("PUT", "/api/v1/users/eve").bearer(&token).json(&json!({"role": "admin"}));
    ask().of(&rig).await.refused(403, "not_allowed");
    let for_another = json!({"name": "t", "scopes": ["fiche:read"], "user": "admin"});
    let ask = Ask::new("POST", "/api/v1/tokens").bearer(&token).json(&for_another);
    ask.of(&rig).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_or_its_time_is_over_or_its_account_goes() {
    let rig = Rig::new();
    rig.make("ada", "viewer");
    let (admin, ada) = (rig.login("admin").await, rig.login("ada").await);
    let make = |credential: &str, life: &str| {
        let body = json!({"name": "ci", "scopes": ["fiche:read"], "expires_in": life});
        Ask::new("POST", "/api/v1/tokens").bearer(credential).json(&body)
    };
    let revoked = make(&ada, "1h").of(&rig).await.expect(201);
    assert!(revoked.text_at("token").starts_with("drip_"));
    assert_eq!(revoked.text_at("expires_at"), "2014-03-30T01:00:00.000000Z");
    let timed = make(&ada, "1h").of(&rig).await.text_at("token");
    let orphan = make(&ada, "90d").of(&rig).await.text_at("token");
    for token in [&revoked.text_at("token"), &timed, &orphan] {
        assert!(rig.knows(token).await);
    }
    let path = format!("/api/v1/tokens/{}", revoked.text_at("id"));
    Ask::new("DELETE", &path).bearer(&ada).of(&rig).await.expect(204);
    assert!(!rig.knows(&revoked.text_at("token")).await);
    rig.clock.advance(Duration::from_mins(59));
    assert!(rig.knows(&timed).await);
    rig.clock.advance(Duration::from_mins(1));
    assert!(!rig.knows(&timed).await && rig.knows(&orphan).await);
    Ask::new("DELETE", "/api/v1/users/ada").bearer(&admin).of(&rig).await.expect(204);
    assert!(!rig.knows(&orphan).await);
    // Whoever gets the name next does not get the tokens.
    rig.make("ada", "admin");
    assert!(!rig.knows(&orphan).await && !rig.knows(&ada).await);
}

#[tokio::test]
async fn only_its_owner_and_an_admin_see_and_end_a_token_and_no_one_sees_its_text() {
    let rig = Rig::new();
    rig.make("ada", "viewer");
    rig.make("eve", "publisher");
    let (admin, ada, eve) =
        (rig.login("admin").await, rig.login("ada").await, rig.login("eve").await);
    let body = json!({"name": "ci", "scopes": ["fiche:read"]});
    let made =
        Ask::new("POST", "/api/v1/tokens").bearer(&ada).json(&body).of(&rig).await.expect(201);
    for (who, sees) in [(&admin, 1), (&ada, 1), (&eve, 0)] {
        let list = Ask::new("GET", "/api/v1/tokens").bearer(who).of(&rig).await.expect(200);
        assert_eq!(list.value()["items"].as_array().unwrap().len(), sees);
        let text = String::from_utf8(list.body).unwrap();
        assert!(!text.contains(&made.text_at("token")), "{text}");
    }
    let path = format!("/api/v1/tokens/{}", made.text_at("id"));
    let by = |who: &str| Ask::new("DELETE", &path).bearer(who);
    by(&eve).of(&rig).await.refused(404, "token_not_found");
    assert!(rig.knows(&made.text_at("token")).await);
    by(&admin).of(&rig).await.expect(204);
    assert!(!rig.knows(&made.text_at("token")).await);
}

#[tokio::test]
async fn every_fault_of_a_token_is_named() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let body = json!({"name": "t", "scopes": ["fiche:delete", "nothing:read", "cask:read"], "expires_in": "soon"});
    let ask = Ask::new("POST", "/api/v1/tokens").bearer(&admin).json(&body);
    let problem = ask.of(&rig).await.refused(422, "bad_token").value();
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/scopes/0", "/scopes/1", "/expires_in"]);
    for body in [
        json!({"name": "t", "scopes": []}),
        json!({"name": "t", "scopes": ["*:read"], "expires_in": "0s"}),
    ] {
        let ask = Ask::new("POST", "/api/v1/tokens").bearer(&admin).json(&body);
        ask.of(&rig).await.refused(422, "bad_token");
    }
}
