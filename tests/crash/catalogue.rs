#![cfg(test)]
//! Cards over HTTP, as work for crashes: saves, moves, deletions, batches and retries go through the
//! oracle, with the revision that each must give.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::cards::whole;
use crate::support::daemon::Daemon;
use crate::support::http::Http;
use crate::support::kill_loop::Work;
use crate::support::oracle::{Oracle, Visible};
use crate::support::rng::Rng;

/// What is not `Some` came to nothing because the daemon is gone.
pub(super) type Alive<T> = Option<T>;

/// The cards of one folder, seen by one admin.
pub(super) struct Catalogue {
    pub(super) admin: String,
    /// Calls that carried a retry key.
    calls: Mutex<Vec<Call>>,
    /// The feed as it was read last.
    pub(super) feed: Mutex<Vec<Value>>,
    /// The longest that the index took to hold what the records hold.
    pub(super) slowest: Mutex<Duration>,
}

/// A call with a retry key: it has one effect, however often it is sent.
#[derive(Clone)]
struct Call {
    lane: usize,
    key: String,
    path: String,
    body: Value,
    subject: String,
    /// What it makes of its subject.
    value: Value,
    /// What it was answered, as far as that came.
    answer: Option<Value>,
}

/// What the oracle knows of a card.
pub(super) fn shape(card: &Value) -> Value {
    json!({
        "revision": card["revision"], "stage": card["stage"],
        "summary": card["summary"], "requires": card["requires"],
    })
}

/// Where the oracle keeps a card: by itself, or with the others of its batch.
pub(super) fn subject_of(card: &Value) -> String {
    let (kind, name) = (card["kind"].as_str().unwrap(), card["name"].as_str().unwrap());
    match name.strip_prefix('b').and_then(|name| name.rsplit_once('.')) {
        Some((batch, _)) => format!("batch/{batch}"),
        None => format!("card/{kind}/{name}"),
    }
}

/// The path of a card that is kept by itself.
fn path_of(subject: &str) -> String {
    format!("/api/v1/cards/{}/1", subject.strip_prefix("card/").unwrap())
}

impl Catalogue {
    pub(super) fn new(admin: String) -> Self {
        Self { admin, calls: Mutex::default(), feed: Mutex::default(), slowest: Mutex::default() }
    }

    pub(super) fn http(&self, daemon: &Daemon) -> Http {
        daemon.http().with_token(&self.admin)
    }

    /// How a subject stands now, and the last revision that it ever had.
    fn see(http: &Http, subject: &str) -> Alive<(Option<Value>, u64)> {
        if let Some(batch) = subject.strip_prefix("batch/") {
            let members = (0..3).map(|at| http.get(&member_path(batch, at)).ok());
            let members: Option<Vec<_>> = members.collect();
            let members = members?.into_iter().filter(|answer| answer.status == 200);
            let members: Vec<_> = members.map(|answer| shape(&answer.json())).collect();
            return Some(((!members.is_empty()).then(|| Value::Array(members)), 0));
        }
        let path = path_of(subject);
        let history = whole(http, &format!("{path}/history"))?;
        let last = history.last().and_then(|revision| revision["revision"].as_u64()).unwrap_or(0);
        let answer = http.get(&path).ok()?;
        Some(((answer.status == 200).then(|| shape(&answer.json())), last))
    }

    /// Saves a card of this lane with new content; one that another may require, or one that does.
    pub(super) fn save(http: &Http, oracle: &Oracle, subject: &str, card: &Value) -> Alive<()> {
        let (now, last) = Self::see(http, subject)?;
        let stage = now.map_or_else(|| json!("experiment"), |now| now["stage"].clone());
        let made = json!({
            "revision": last + 1, "stage": stage,
            "summary": card["summary"], "requires": card["requires"],
        });
        let sent = oracle.invoke(subject, Some(made));
        let status = http.put(&path_of(subject), card).ok().map(|answer| answer.status);
        oracle.answered(sent, status);
        status.filter(|status| *status < 500).map(drop)
    }

    pub(super) fn delete(http: &Http, oracle: &Oracle, subject: &str) -> Alive<()> {
        let sent = oracle.invoke(subject, None);
        let status = http.delete(&path_of(subject)).ok().map(|answer| answer.status);
        oracle.answered(sent, status);
        status.filter(|status| *status < 500).map(drop)
    }

    /// A save that must be refused: it would move the card to another stage.
    fn save_wrongly(http: &Http, oracle: &Oracle, subject: &str) -> Alive<()> {
        let sent = oracle.invoke(subject, Some(json!("never")));
        let wrong = json!({"summary": "wrong", "stage": "no such stage"});
        let status = http.put(&path_of(subject), &wrong).ok().map(|answer| answer.status);
        assert!(matches!(status, Some(422) | None), "{status:?}");
        oracle.answered(sent, status);
        status.map(drop)
    }

    /// Moves a card to another stage, under a retry key.
    pub(super) fn stage(
        &self,
        http: &Http,
        oracle: &Oracle,
        lane: usize,
        subject: &str,
        key: &str,
    ) -> Alive<()> {
        let (Some(mut card), _) = Self::see(http, subject)? else {
            return Some(());
        };
        // From each of these to the next, and round again.
        let stages = ["experiment", "testing", "deployed", "retired", "experiment"];
        let at = stages.iter().position(|stage| card["stage"] == *stage).unwrap();
        let to = stages[at + 1];
        card["stage"] = json!(to);
        card["revision"] = json!(card["revision"].as_u64().unwrap() + 1);
        let call = Call {
            lane,
            key: key.to_owned(),
            path: format!("{}/stage", path_of(subject)),
            body: json!({"stage": to, "comment": key}),
            subject: subject.to_owned(),
            value: card,
            answer: None,
        };
        self.calls.lock().unwrap().push(call.clone());
        self.send(http, oracle, &call)
    }

    /// Saves three new cards at once, under a retry key.
    pub(super) fn batch(
        &self,
        http: &Http,
        oracle: &Oracle,
        lane: usize,
        batch: &str,
    ) -> Alive<()> {
        let member = |at: usize| {
            json!({"kind": "model", "name": format!("b{batch}.{at}"), "version": "1",
                   "summary": format!("batch{batch}"), "requires": [algorithm(lane, at % 2)]})
        };
        let cards: Vec<_> = (0..3).map(member).collect();
        let made = cards.iter().map(|card| {
            json!({"revision": 1, "stage": "experiment",
                   "summary": card["summary"], "requires": card["requires"]})
        });
        let call = Call {
            lane,
            key: format!("batch-{batch}"),
            path: "/api/v1/cards:batch".to_owned(),
            subject: format!("batch/{batch}"),
            value: made.collect(),
            body: Value::Array(cards),
            answer: None,
        };
        self.calls.lock().unwrap().push(call.clone());
        self.send(http, oracle, &call)
    }

    /// Sends a call for the first time, or again because no answer came: both must give the same.
    fn send(&self, http: &Http, oracle: &Oracle, call: &Call) -> Alive<()> {
        let sent = oracle.invoke(&call.subject, Some(call.value.clone()));
        let answer = http.with_retry_key(&call.key).post(&call.path, &call.body).ok();
        let status = answer.as_ref().map(|answer| answer.status);
        oracle.answered(sent, status);
        let answer = answer.filter(|answer| answer.status < 500)?.expect(200).json();
        // A batch that was forgotten would find its cards there already, and a move would not count.
        match call.body {
            Value::Array(_) => assert_eq!(answer["created"], 3, "{answer}"),
            _ => assert_eq!(answer["revision"], call.value["revision"], "{answer}"),
        }
        let mut calls = self.calls.lock().unwrap();
        let known = calls.iter_mut().find(|known| known.key == call.key).unwrap();
        known.answer = Some(answer);
        Some(())
    }

    /// Sends a call again that was answered, whatever became of its cards since: it is answered the
    /// same, and nothing changes.
    pub(super) fn repeat(
        &self,
        http: &Http,
        oracle: &Oracle,
        lane: usize,
        rng: &mut Rng,
    ) -> Alive<()> {
        let calls = self.calls.lock().unwrap().clone();
        let calls: Vec<_> = calls.iter().filter(|call| call.lane == lane).collect();
        let Some(call) = (!calls.is_empty()).then(|| calls[rng.below(calls.len())]) else {
            return Some(());
        };
        let (now, _) = Self::see(http, &call.subject)?;
        let sent = oracle.invoke(&call.subject, now);
        let answer = http.with_retry_key(&call.key).post(&call.path, &call.body).ok();
        oracle.answered(sent, answer.as_ref().map(|answer| answer.status));
        let answer = answer.filter(|answer| answer.status < 500)?.expect(200).json();
        assert_eq!(Some(&answer), call.answer.as_ref(), "{} was done twice", call.key);
        Some(())
    }

    /// Gives one card of a batch other content: what a retry of the batch must not undo.
    pub(super) fn touch(http: &Http, oracle: &Oracle, batch: &str) -> Alive<()> {
        let subject = format!("batch/{batch}");
        let (Some(mut cards), _) = Self::see(http, &subject)? else {
            return Some(());
        };
        // Done again, it changes nothing: the revision is the second however often.
        cards[0] =
            json!({"revision": 2, "stage": "experiment", "summary": "touched", "requires": null});
        let sent = oracle.invoke(&subject, Some(cards));
        let touched = json!({"summary": "touched"});
        let status = http.put(&member_path(batch, 0), &touched).ok().map(|answer| answer.status);
        oracle.answered(sent, status);
        status.filter(|status| *status < 500).map(drop)
    }

    /// What a lane left without an answer when the daemon was killed is sent again first.
    pub(super) fn settle(&self, http: &Http, oracle: &Oracle, lane: usize) -> Alive<()> {
        let calls = self.calls.lock().unwrap().clone();
        let open = calls.iter().filter(|call| call.lane == lane && call.answer.is_none());
        open.into_iter().try_for_each(|call| self.send(http, oracle, call))
    }

    /// One thing or another, by chance.
    fn some(&self, http: &Http, oracle: &Oracle, lane: usize, rng: &mut Rng) -> Alive<()> {
        let word = format!("w{lane}x{:x}", rng.next());
        let model = format!("card/model/m{lane}-{}", rng.below(3));
        match rng.below(20) {
            0..=5 => {
                let requires = json!([algorithm(lane, rng.below(2))]);
                Self::save(http, oracle, &model, &json!({"summary": word, "requires": requires}))
            }
            6..=7 => {
                let subject = format!("card/algorithm/a{lane}-{}", rng.below(2));
                Self::save(http, oracle, &subject, &json!({"summary": word}))
            }
            8..=10 => self.stage(http, oracle, lane, &model, &word),
            11..=12 => Self::delete(http, oracle, &model),
            13 => Self::delete(http, oracle, &format!("card/algorithm/a{lane}-1")),
            14..=15 => {
                self.batch(http, oracle, lane, &word)?;
                if rng.percent(50) { Self::touch(http, oracle, &word) } else { Some(()) }
            }
            16 => self.repeat(http, oracle, lane, rng),
            17 => Self::save_wrongly(http, oracle, &model),
            _ => {
                let found = http.get(&format!("/api/v1/cards?q=batch{lane}+OR+w*&limit=5")).ok()?;
                found.expect(200);
                Some(())
            }
        }
    }
}

/// The reference to an algorithm of a lane.
pub(super) fn algorithm(lane: usize, at: usize) -> String {
    format!("algorithm:a{lane}-{at}@1")
}

fn member_path(batch: &str, at: usize) -> String {
    format!("/api/v1/cards/model/b{batch}.{at}/1")
}

impl Work for Catalogue {
    fn work(&self, daemon: &Daemon, lane: usize, rng: &mut Rng, oracle: &Oracle) {
        let http = self.http(daemon);
        if self.settle(&http, oracle, lane).is_some() {
            while self.some(&http, oracle, lane, rng).is_some() {}
        }
    }

    fn look(&self, daemon: &Daemon) -> Visible {
        let mut visible = Visible::new();
        for card in super::cards::export(&self.http(daemon)) {
            let (subject, card_shape) = (subject_of(&card), shape(&card));
            if subject.starts_with("batch/") {
                let members = visible.entry(subject).or_insert_with(|| json!([]));
                members.as_array_mut().unwrap().push(card_shape);
            } else {
                visible.insert(subject, card_shape);
            }
        }
        visible
    }

    fn also(&self, daemon: &Daemon) -> Vec<String> {
        super::cards::check(self, daemon)
    }
}
