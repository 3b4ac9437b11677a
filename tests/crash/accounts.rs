#![cfg(test)]
//! Accounts and tokens over HTTP, as work for crashes: each call goes through the oracle.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PASSWORD};
use crate::support::http::Http;
use crate::support::kill_loop::Work;
use crate::support::oracle::{Oracle, Visible};
use crate::support::rng::Rng;

/// The accounts and tokens of one folder, seen by one admin.
pub(super) struct Accounts {
    admin: String,
    /// What is known of tokens whose making was acknowledged, by their name.
    tokens: Mutex<BTreeMap<String, Token>>,
}

#[derive(Clone)]
struct Token {
    id: String,
    text: String,
    end: End,
}

/// Whether a token was revoked, as far as its user was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotAsked,
    Unknown,
    Acknowledged,
}

/// Whether the daemon still answers.
pub(super) type Alive = bool;

impl Accounts {
    pub(super) fn new(admin: String) -> Self {
        Self { admin, tokens: Mutex::default() }
    }

    pub(super) fn http(&self, daemon: &Daemon) -> Http {
        daemon.http().with_token(&self.admin)
    }

    /// Makes a token; its name is its key, for its id is known only from the answer.
    pub(super) fn make_token(&self, http: &Http, oracle: &Oracle, name: &str) -> Alive {
        let key = format!("token/{name}");
        let sent = oracle.invoke(&key, Some(json!(["fiche:read"])));
        let body = json!({"name": name, "scopes": ["fiche:read"]});
        let answer = http.post("/api/v1/tokens", &body).ok();
        if let Some(answer) = answer.as_ref().filter(|answer| answer.status == 201) {
            let made = answer.json();
            let text = |field: &str| made[field].as_str().unwrap().to_owned();
            let token = Token { id: text("id"), text: text("token"), end: End::NotAsked };
            self.tokens.lock().unwrap().insert(name.to_owned(), token);
        }
        oracle.answered(sent, answer.as_ref().map(|answer| answer.status));
        answer.is_some()
    }

    /// Revokes a token that was made and acknowledged.
    pub(super) fn revoke(&self, http: &Http, oracle: &Oracle, name: &str) -> Alive {
        let Some(token) = self.tokens.lock().unwrap().get(name).cloned() else {
            return true;
        };
        let note = |end| self.tokens.lock().unwrap().get_mut(name).unwrap().end = end;
        let sent = oracle.invoke(&format!("token/{name}"), None);
        note(End::Unknown);
        let answer = http.delete(&format!("/api/v1/tokens/{}", token.id)).ok();
        let status = answer.as_ref().map(|answer| answer.status);
        if status == Some(204) {
            note(End::Acknowledged);
            // Not even the next call may get through.
            let used = http.with_token(&token.text).get("/api/v1/whoami");
            assert!(used.is_ok_and(|a| a.status == 401) || is_gone(http));
        }
        oracle.answered(sent, status);
        answer.is_some()
    }
}

/// Gives an account a role, making it if need be. Answers the status, if one came.
pub(super) fn put_user(http: &Http, oracle: &Oracle, name: &str, body: &Value) -> Option<u16> {
    let shown = json!({"role": body["role"]});
    let sent = oracle.invoke(&format!("user/{name}"), Some(shown));
    let status = http.put(&format!("/api/v1/users/{name}"), body).map(|answer| answer.status);
    oracle.answered(sent, status.as_ref().ok().copied());
    status.ok()
}

/// Gives some account of this lane another role. Only a new one needs a password, which is slow to
/// hash on purpose.
fn some_user(http: &Http, oracle: &Oracle, lane: usize, rng: &mut Rng) -> Alive {
    let name = format!("lane{lane}-{}", rng.below(3));
    let role = ["viewer", "publisher"][rng.below(2)];
    match put_user(http, oracle, &name, &json!({"role": role})) {
        Some(422) => {
            let body = json!({"role": role, "password": PASSWORD});
            put_user(http, oracle, &name, &body).is_some()
        }
        answered => answered.is_some(),
    }
}

/// Whether no one answers any more.
fn is_gone(http: &Http) -> bool {
    http.get("/livez").is_err()
}

impl Work for Accounts {
    fn work(&self, daemon: &Daemon, lane: usize, rng: &mut Rng, oracle: &Oracle) {
        let http = self.http(daemon);
        loop {
            let name = format!("lane{lane}-{:x}", rng.next());
            let is_alive = match rng.below(10) {
                0..=4 => self.make_token(&http, oracle, &name),
                5..=6 => self.make_token(&http, oracle, &name) && self.revoke(&http, oracle, &name),
                _ => some_user(&http, oracle, lane, rng),
            };
            if !is_alive {
                return;
            }
        }
    }

    fn look(&self, daemon: &Daemon) -> Visible {
        let http = self.http(daemon);
        let mut visible = Visible::new();
        let users = http.get("/api/v1/users?limit=1000").unwrap().expect(200);
        for user in users.json()["items"].as_array().unwrap() {
            let name = user["name"].as_str().unwrap();
            if name != "admin" {
                visible.insert(format!("user/{name}"), json!({"role": user["role"]}));
            }
        }
        let tokens = http.get("/api/v1/tokens").unwrap().expect(200);
        for token in tokens.json()["items"].as_array().unwrap() {
            let name = token["name"].as_str().unwrap();
            if name != "harness" {
                visible.insert(format!("token/{name}"), token["scopes"].clone());
            }
        }
        visible
    }

    /// A revoked token never works after the answer; one that nobody revoked works.
    fn also(&self, daemon: &Daemon) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, token) in self.tokens.lock().unwrap().iter() {
            let used = daemon.http().with_token(&token.text).get("/api/v1/whoami");
            match (token.end, used.unwrap().status) {
                (End::NotAsked, 200) | (End::Acknowledged, 401) | (End::Unknown, 200 | 401) => {}
                (End::Acknowledged, status) => {
                    broken.push(format!("the revoked token `{name}` answers {status}"));
                }
                (_, status) => broken.push(format!("the token `{name}` answers {status}")),
            }
        }
        broken
    }
}
