//! Fiche through its handle and its routes.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use drip::fiche::{CardDraft, CardKey, Conditions, Config, Fiche, Parts, Saved, Search};
use drip::kernel::access::{Caller, Role};
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Bus, Result};
use serde_json::{Value, json};
use tower::ServiceExt as _;

mod bundle;
mod cards;
mod changes;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod compat;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod hostile;
mod index;
mod kinds;
mod lineage;
#[cfg(feature = "client")]
mod observers;
mod quality;
#[cfg(feature = "cli")]
mod remote;
mod replay;
#[cfg(feature = "script")]
mod script;
mod search;
#[cfg(feature = "cli")]
mod upstream;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

fn open_over(records: SharedRecords, folder: Option<&Path>) -> Fiche {
    Fiche::open(Parts {
        records,
        clock: ManualClock::at(Time(1_700_000_000_000_000)),
        bus: Bus::new(),
        folder: folder.map(Path::to_owned),
        config: Config::default(),
    })
    .unwrap()
}

fn open() -> Fiche {
    open_over(Arc::new(MemoryRecords::new()), None)
}

fn save(fiche: &Fiche, card: Value) -> Result<Saved> {
    let ada = Caller::new("ada", Role::Publisher);
    fiche.save(&ada, &CardDraft::parse(card)?, Conditions::default())
}

fn key(kind: &str, name: &str, version: &str) -> CardKey {
    CardKey::new(kind, name, version).unwrap()
}

/// Waits until the index holds everything.
fn settle(fiche: &Fiche) {
    let newest = fiche.last_number().unwrap();
    assert!(fiche.wait_indexed(newest, PATIENCE), "the index does not catch up");
}

/// What a query finds, sorted: `name@version`.
fn find(fiche: &Fiche, q: &str) -> Vec<String> {
    let search = Search { q: q.to_owned(), limit: 1000, ..Search::default() };
    let found = fiche.search(&search).unwrap();
    assert_eq!(found.total, found.items.len());
    let mut names: Vec<_> = found
        .items
        .iter()
        .map(|hit| format!("{}@{}", hit.card.key.name, hit.card.key.version))
        .collect();
    names.sort();
    names
}

/// The routes, as one publisher meets them.
struct Api {
    fiche: Fiche,
    router: Router,
    caller: Caller,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Api {
    fn new() -> Self {
        Self::over(open())
    }

    fn over(fiche: Fiche) -> Self {
        Self {
            router: drip::fiche::http::routes(fiche.clone()).into_router(),
            fiche,
            caller: Caller::new("ada", Role::Publisher),
        }
    }

    async fn raw(&self, request: Request<Body>) -> axum::http::Response<Body> {
        let mut request = request;
        request.extensions_mut().insert(self.caller.clone());
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.raw(request.body(body.into()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, &[], body.to_string()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], body.to_string()).await
    }
}

impl Answer {
    /// The answer, which must have this status.
    fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status.as_u16(), "{}", self.text);
        self
    }

    /// The problem, which must have this status and this code.
    fn problem(&self, status: u16, code: &str) -> &Value {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        &self.body
    }

    fn places(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

fn ok(answer: Answer) -> Value {
    answer.expect(StatusCode::OK).body
}

fn small(name: &str) -> Value {
    json!({"kind": "model", "name": name, "version": "1"})
}
