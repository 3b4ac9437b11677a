#![cfg(test)]
//! What a request meets before anyone asks who sent it: its host, its origin, a retry.

use serde_json::json;

use super::{Ask, PASSWORD, Rig};

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused() {
    let rig = Rig::new();
    let to = |host: &str| Ask::new("GET", "/livez").header("host", host);
    for ours in ["localhost", "localhost:22315", "127.0.0.1:1", "[::1]:22315", "LOCALHOST"] {
        to(ours).of(&rig).await.expect(200);
    }
    for other in ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:80", "10.0.0.1", ""] {
        to(other).of(&rig).await.refused(403, "unknown_host");
    }
}

/// The cookie of a web session.
#[cfg(feature = "web")]
async fn cookie(rig: &Rig) -> String {
    let form = format!("username=admin&password={}", PASSWORD.replace(' ', "+"));
    let ask = Ask::new("POST", "/").body("application/x-www-form-urlencoded", form);
    let answer = ask.of(rig).await.expect(303);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[cfg(feature = "web")]
#[tokio::test]
async fn a_web_session_reads_from_anywhere_and_writes_from_our_own_pages_alone() {
    let rig = Rig::new();
    let cookie = cookie(&rig).await;
    let with = |method, path| {
        Ask::new(method, path).header("cookie", &cookie).header("host", "localhost:22315")
    };
    with("GET", "/api/v1/users").of(&rig).await.expect(200);
    let body = json!({"password": PASSWORD, "role": "viewer"});
    let put = || with("PUT", "/api/v1/users/ada").json(&body);
    put().of(&rig).await.refused(403, "cross_site");
    for (name, value) in [
        ("origin", "http://evil.test"),
        ("origin", "null"),
        ("origin", "http://localhost:22316"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
    ] {
        put().header(name, value).of(&rig).await.refused(403, "cross_site");
    }
    put().header("origin", "http://localhost:22315").of(&rig).await.expect(201);
    put().header("sec-fetch-site", "same-origin").of(&rig).await.expect(200);
}

#[cfg(feature = "web")]
#[tokio::test]
async fn a_page_of_another_site_cannot_sign_a_browser_in() {
    let rig = Rig::new();
    let form = format!("username=admin&password={}", PASSWORD.replace(' ', "+"));
    let ask = Ask::new("POST", "/").body("application/x-www-form-urlencoded", form);
    let ask = ask.header("sec-fetch-site", "cross-site").header("origin", "http://evil.test");
    ask.of(&rig).await.refused(403, "cross_site");
}

#[cfg(feature = "web")]
#[tokio::test]
async fn signing_out_ends_the_web_session_at_the_daemon() {
    let rig = Rig::new();
    let cookie = cookie(&rig).await;
    let who = || Ask::new("GET", "/api/v1/whoami").header("cookie", &cookie);
    who().of(&rig).await.expect(200);
    // The cookie is a secret of its own and no bearer's.
    assert!(!rig.knows(cookie.split_once('=').unwrap().1).await);
    let out = Ask::new("POST", "/logout")
        .header("cookie", &cookie)
        .header("sec-fetch-site", "same-origin");
    out.of(&rig).await.expect(303);
    who().of(&rig).await.refused(401, "unauthenticated");
}

#[cfg(feature = "web")]
#[tokio::test]
async fn a_wrong_token_is_not_made_good_by_a_cookie() {
    let rig = Rig::new();
    let cookie = cookie(&rig).await;
    let ask = Ask::new("GET", "/api/v1/whoami").header("cookie", &cookie).bearer("drip_wrong");
    ask.of(&rig).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn every_answer_keeps_browsers_from_guessing_framing_and_storing() {
    let rig = Rig::new();
    for path in ["/livez", "/api/v1/users", "/nothing"] {
        let answer = Ask::new("GET", path).of(&rig).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            answer.header("content-security-policy").unwrap().starts_with("default-src 'none'")
        );
        assert!(answer.header("x-request-id").is_some());
    }
}

#[cfg(feature = "trajectory")]
#[tokio::test]
async fn a_retry_with_its_key_has_one_effect_and_the_same_answer() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let post = |key: &str, line: &'static str| {
        let ask = Ask::new("POST", "/api/v1/logs").bearer(&admin);
        ask.header("idempotency-key", key).body("application/x-ndjson", line)
    };
    let line = "{\"message\": \"once\"}\n";
    let first = post("k1", line).of(&rig).await.expect(200);
    let again = post("k1", line).of(&rig).await.expect(200);
    assert_eq!(first.value(), again.value());
    let other = post("k1", "{\"message\": \"another\"}\n").of(&rig).await;
    assert_eq!(other.value()["code"], "idempotency_key_reused");
    post("", line).of(&rig).await.refused(422, "bad_idempotency_key");
    post("k2", line).of(&rig).await.expect(200);
    let found = Ask::new("GET", "/api/v1/logs").bearer(&admin).of(&rig).await;
    assert_eq!(found.value()["items"].as_array().unwrap().len(), 2);
}

#[cfg(feature = "trajectory")]
#[tokio::test]
async fn one_accounts_retry_key_means_nothing_for_another() {
    let rig = Rig::new();
    rig.make("ada", "publisher");
    let line = "{\"message\": \"mine\"}\n";
    for who in ["admin", "ada"] {
        let credential = rig.login(who).await;
        let ask = Ask::new("POST", "/api/v1/logs").bearer(&credential);
        let ask = ask.header("idempotency-key", "k").body("application/x-ndjson", line);
        ask.of(&rig).await.expect(200);
    }
    let admin = rig.login("admin").await;
    let found = Ask::new("GET", "/api/v1/logs").bearer(&admin).of(&rig).await;
    assert_eq!(found.value()["items"].as_array().unwrap().len(), 2);
}
