//! Atom through its routes: datasets and operators.

mod datasets;
mod operators;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use drip::atom::{Atom, Config, DatasetListener, Parts, routes};
use drip::kernel::access::{Caller, Role};
use drip::kernel::blobs::Blobs;
use drip::kernel::clock::ManualClock;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Bus, Time};
use serde_json::Value;
use tower::ServiceExt as _;

/// An Atom over memory, and what it stands on.
struct Stand {
    atom: Atom,
    records: SharedRecords,
    blobs: Blobs,
    clock: Arc<ManualClock>,
}

fn parts(records: SharedRecords, blobs: Blobs, clock: Arc<ManualClock>) -> Parts {
    Parts {
        records,
        blobs,
        clock,
        bus: Bus::new(),
        listener: None,
        modules: std::collections::BTreeMap::new(),
        config: Config::default(),
    }
}

impl Stand {
    fn new() -> Self {
        Self::with(|_parts| {})
    }

    fn with(change: impl FnOnce(&mut Parts)) -> Self {
        let records: SharedRecords = Arc::new(MemoryRecords::new());
        let blobs = Blobs::memory();
        let clock = ManualClock::at(Time::parse("2014-03-30T10:00:00Z").unwrap());
        let mut parts = parts(records.clone(), blobs.clone(), clock.clone());
        change(&mut parts);
        Self { atom: Atom::open(parts).unwrap(), records, blobs, clock }
    }

    /// The same stores, opened anew.
    fn reopened(&self) -> Self {
        let parts = parts(self.records.clone(), self.blobs.clone(), self.clock.clone());
        Self {
            atom: Atom::open(parts).unwrap(),
            records: self.records.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
        }
    }

    async fn send(&self, who: Caller, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(who);
        let response = routes(self.atom.clone()).into_router().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body: body.to_vec() }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_as(publisher(), method, path, body).await
    }

    async fn call_as(
        &self,
        who: Caller,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(who, request.body(body).unwrap()).await
    }

    async fn put_csv(&self, path: &str, csv: &str) -> Answer {
        self.put_bytes(path, "text/csv", csv.as_bytes().to_vec()).await
    }

    async fn put_bytes(&self, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
        let request = Request::put(format!("/api/v1/datasets/{path}"))
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body));
        self.send(publisher(), request.unwrap()).await
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The status and the code word of a refusal.
    fn refusal(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }

    fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

fn publisher() -> Caller {
    Caller::new("pia", Role::Publisher)
}

fn consumer() -> Caller {
    Caller::new("ada", Role::Consumer)
}

fn viewer() -> Caller {
    Caller::new("vic", Role::Viewer)
}

/// Notes who was told of what.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl DatasetListener for Notes {
    fn put(&self, caller: &Caller, info: &drip::atom::DatasetInfo) -> drip::kernel::Result<()> {
        let note = format!("{} {}@{} {}", caller.name, info.name, info.version, info.revision);
        self.0.lock().unwrap().push(note);
        Ok(())
    }
}
