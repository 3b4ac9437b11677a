#![cfg(test)]
//! Sign-ins: JWTs, and the waits after failures.

use std::time::Duration;

use serde_json::json;

use super::{Ask, PASSWORD, Rig};

#[tokio::test]
async fn a_jwt_works_across_a_restart_and_for_twelve_hours() {
    let rig = Rig::new();
    let answer = rig.try_login("admin", PASSWORD).await.expect(200);
    assert_eq!(answer.value()["role"], "admin");
    assert_eq!(answer.text_at("expires_at"), "2014-03-30T12:00:00.000000Z");
    let jwt = answer.text_at("token");
    assert_eq!(jwt.split('.').count(), 3);
    let rig = rig.reopened();
    assert!(rig.knows(&jwt).await);
    rig.clock.advance(Duration::from_hours(12) - Duration::from_secs(1));
    assert!(rig.knows(&jwt).await);
    rig.clock.advance(Duration::from_secs(1));
    assert!(!rig.knows(&jwt).await);
}

#[tokio::test]
async fn a_jwt_ends_at_once_with_logout_a_new_password_a_new_role_and_the_account() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let change = |body| Ask::new("PUT", "/api/v1/users/ada").bearer(&admin).json(&body);
    let endings = [
        ("POST", "/api/v1/logout", None),
        ("PUT", "", Some(json!({"password": "another long passphrase"}))),
        ("PUT", "", Some(json!({"role": "publisher"}))),
        ("DELETE", "/api/v1/users/ada", None),
    ];
    for (method, path, body) in endings {
        rig.make("ada", "viewer");
        let (ada, other) = (rig.login("ada").await, rig.login("ada").await);
        assert!(rig.knows(&ada).await && rig.knows(&other).await);
        let (ask, ends_all) = match (method, body) {
            (_, Some(body)) => (change(body), true),
            ("POST", None) => (Ask::new(method, path).bearer(&ada), false),
            (_, None) => (Ask::new(method, path).bearer(&admin), true),
        };
        assert!(ask.of(&rig).await.status.is_success());
        assert!(!rig.knows(&ada).await, "{method} {path}");
        assert_eq!(rig.knows(&other).await, !ends_all, "{method} {path}");
        assert!(rig.knows(&admin).await);
    }
}

#[tokio::test]
async fn a_jwt_of_another_folder_or_with_another_signature_is_none() {
    let (here, there) = (Rig::new(), Rig::new());
    let jwt = here.login("admin").await;
    assert!(here.knows(&jwt).await && !there.knows(&jwt).await);
    let (body, signature) = jwt.rsplit_once('.').unwrap();
    let (head, claims) = body.split_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let bent = format!("{body}.{first}{}", signature.get(1..).unwrap());
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let cut = format!("{head}.{claims}.{}", signature.split_at(20).0);
    for wrong in [bent, unsigned, cut, format!("{body}."), body.to_owned()] {
        assert!(!here.knows(&wrong).await, "{wrong}");
    }
}

#[tokio::test]
async fn two_fresh_folders_share_no_key() {
    let (one, two) = (Rig::new(), Rig::new());
    let key = |rig: &Rig| {
        let records = rig.open.app.access.records();
        records.get("key/jwt").unwrap().unwrap().value
    };
    assert_eq!(key(&one).len(), 32);
    assert_ne!(key(&one), key(&two));
}

#[tokio::test]
async fn after_five_failures_the_next_try_waits_whatever_its_password() {
    let rig = Rig::new();
    for _ in 0..5 {
        let answer = rig.try_login("admin", "not the passphrase").await;
        answer.refused(401, "bad_login");
    }
    let waits = rig.try_login("admin", PASSWORD).await;
    let waits = waits.refused(429, "too_many_logins");
    let seconds: u64 = waits.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&seconds), "{seconds}");
    // The wait outlives a restart.
    let rig = rig.reopened();
    assert_eq!(rig.try_login("admin", PASSWORD).await.status, 429);
    rig.clock.advance(Duration::from_secs(seconds));
    rig.try_login("admin", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn guesses_that_come_together_are_counted_too() {
    let rig = Rig::new();
    let guesses = (0..40).map(|_| rig.try_login("admin", "not the passphrase"));
    let answers = futures::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|a| a.status == 401).count();
    assert!(looked_at <= 6, "{looked_at} of 40 guesses were looked at");
    assert!(answers.iter().all(|a| matches!(a.status.as_u16(), 401 | 429)));
}

#[tokio::test]
async fn an_account_that_is_not_there_answers_as_one_that_is() {
    let rig = Rig::new();
    let missing = rig.try_login("nobody", PASSWORD).await.refused(401, "bad_login");
    let wrong = rig.try_login("admin", "not the passphrase").await.refused(401, "bad_login");
    assert_eq!(missing.value()["detail"], wrong.value()["detail"]);
}

#[tokio::test]
async fn a_body_that_is_no_sign_in_says_what_is_wrong() {
    let rig = Rig::new();
    let post =
        |body: &'static str| Ask::new("POST", "/api/v1/login").body("application/json", body);
    post("{\"username\": \"a").of(&rig).await.refused(400, "bad_json");
    post("{\"username\": \"admin\"}").of(&rig).await.refused(422, "bad_body");
    post("").of(&rig).await.refused(400, "bad_json");
}
