#![cfg(test)]
//! Accounts, over HTTP.

use serde_json::{Value, json};

use super::{Ask, PASSWORD, Rig};

const ADA: &str = "/api/v1/users/ada";

#[tokio::test]
async fn an_account_is_made_changed_listed_and_removed() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let body = json!({"password": PASSWORD, "role": "consumer"});
    let put = |body: &Value| Ask::new("PUT", ADA).bearer(&admin).json(body);
    let made = put(&body).of(&rig).await.expect(201);
    assert_eq!(made.header("etag"), Some("\"1\""));
    let again = put(&body).header("if-none-match", "*").of(&rig).await;
    again.refused(412, "user_exists");
    let stale = put(&json!({"role": "viewer"})).header("if-match", "\"7\"");
    assert_eq!(stale.of(&rig).await.status, 412);
    let fresh = put(&json!({"role": "viewer"})).header("if-match", "\"1\"");
    let changed = fresh.of(&rig).await.expect(200);
    let read = Ask::new("GET", ADA).bearer(&admin).of(&rig).await.expect(200);
    assert_eq!(read.value(), changed.value());
    assert_eq!(read.value()["role"], "viewer");
    let listed = Ask::new("GET", "/api/v1/users").bearer(&admin).of(&rig).await;
    let text = String::from_utf8(listed.expect(200).body).unwrap();
    assert!(text.contains("\"ada\"") && !text.contains("argon2"), "{text}");
    let gone = Ask::new("DELETE", ADA).bearer(&admin).of(&rig).await;
    gone.expect(204);
    let read = Ask::new("GET", ADA).bearer(&admin).of(&rig).await;
    read.refused(404, "user_not_found");
    assert_eq!(rig.try_login("ada", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn every_fault_of_an_account_is_named_at_once() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let body = json!({"password": "ada", "role": "queen"});
    let answer = Ask::new("PUT", ADA).bearer(&admin).json(&body).of(&rig).await;
    let problem = answer.refused(422, "bad_user").value();
    let faults = problem["errors"].as_array().unwrap();
    let named = |pointer| faults.iter().any(|fault| fault["pointer"] == pointer);
    assert!(named("/password") && named("/role"), "{problem}");
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let body = json!({"password": PASSWORD, "role": "viewer"});
    let long = "a".repeat(10_000);
    for name in ["..", "%2e%2e", "a%2Fb", "a%00b", "a%0Ab", "%20", &long] {
        let ask = Ask::new("PUT", &format!("/api/v1/users/{name}"));
        let answer = ask.bearer(&admin).json(&body).of(&rig).await;
        assert!(answer.status.is_client_error(), "{name}: {}", answer.status);
    }
    let users = Ask::new("GET", "/api/v1/users").bearer(&admin).of(&rig).await;
    assert_eq!(users.value()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let rig = Rig::new();
    rig.make("ada", "viewer");
    let admin = rig.token(&rig.login("admin").await, &["access:write"]).await;
    let path = "/api/v1/users/admin";
    let delete = || Ask::new("DELETE", path).bearer(&admin);
    let demote = || Ask::new("PUT", path).bearer(&admin).json(&json!({"role": "viewer"}));
    delete().of(&rig).await.refused(409, "last_admin");
    demote().of(&rig).await.refused(409, "last_admin");
    rig.make("ada", "admin");
    demote().of(&rig).await.expect(200);
    // And now it is no admin any more.
    demote().of(&rig).await.refused(403, "not_allowed");
}

#[tokio::test]
async fn what_was_done_to_accounts_is_in_the_audit_without_secrets() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let body = json!({"password": PASSWORD, "role": "consumer"});
    Ask::new("PUT", ADA).bearer(&admin).json(&body).of(&rig).await.expect(201);
    let token = rig.token(&admin, &["fiche:read"]).await;
    assert_eq!(rig.try_login("ada", "not the passphrase").await.status, 401);
    let audit = Ask::new("GET", "/api/v1/audit").bearer(&admin).of(&rig).await.expect(200);
    let lines = audit.value()["items"].as_array().unwrap().clone();
    let of = |action: &str| lines.iter().find(|line| line["action"] == action).unwrap();
    assert_eq!(
        (&of("user.put")["who"], &of("user.put")["subject"]),
        (&json!("admin"), &json!("ada"))
    );
    assert_eq!(of("token.make")["who"], "admin");
    assert_eq!(of("login")["outcome"], "bad_login");
    let text = String::from_utf8(audit.body).unwrap();
    assert!(!text.contains(PASSWORD) && !text.contains(&token), "{text}");
}
