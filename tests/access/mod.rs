#![cfg(test)]
//! Who may do what, over HTTP: the whole router in this process, on a folder and a clock of its own.

mod accounts;
mod description;
mod doors;
mod matrix;
mod sessions;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use drip::app::{self, App};
use drip::kernel::access::{Caller, UserDraft};
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::config::{LoadOptions, Settings};
use drip::kernel::disk::DataFolder;
use drip::kernel::http::RouteInfo;
use drip::kernel::work::Shutdown;
use drip::server::{Config, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// The password of every account here.
const PASSWORD: &str = "a long enough passphrase";

/// A daemon without a socket.
struct Rig {
    folder: TempDir,
    clock: Arc<ManualClock>,
    open: Open,
}

/// What is open of the folder.
struct Open {
    app: App,
    router: Router,
    table: Vec<RouteInfo>,
}

impl Open {
    fn of(folder: &TempDir, clock: &Arc<ManualClock>) -> Self {
        let settings = Settings::load(LoadOptions::new(&app::schema())).unwrap();
        let held = DataFolder::hold(folder.path()).unwrap();
        let app = App::open(&settings, held, clock.clone(), Shutdown::new()).unwrap();
        let server = Server::over(&app, Config::read(&settings).unwrap());
        let table = server.table();
        #[cfg(feature = "web")]
        let server =
            server.with_pages(drip::web::routes(drip::web::Web::of(&app, table.clone(), false)));
        Self { app, router: server.into_router(), table }
    }
}

impl Rig {
    /// One with the account `admin`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Time::parse("2014-03-30T00:00:00Z").unwrap());
        let rig = Self { open: Open::of(&folder, &clock), folder, clock };
        rig.make("admin", "admin");
        rig
    }

    /// Closes the folder and opens it again.
    fn reopened(self) -> Self {
        let Self { folder, clock, open } = self;
        drop(open);
        let open = Open::of(&folder, &clock);
        Self { folder, clock, open }
    }

    /// Makes an account beside HTTP.
    fn make(&self, name: &str, role: &str) {
        let draft =
            UserDraft { name: None, password: Some(PASSWORD.into()), role: Some(role.into()) };
        let access = &self.open.app.access;
        access.put_user(&Caller::system(), name, &draft, None).unwrap();
    }

    /// Signs in, with the answer that comes.
    async fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = json!({"username": name, "password": password});
        Ask::new("POST", "/api/v1/login").json(&body).of(self).await
    }

    /// Signs in and answers the JWT.
    async fn login(&self, name: &str) -> String {
        let answer = self.try_login(name, PASSWORD).await.expect(200);
        answer.text_at("token")
    }

    /// An API token with these scopes, made by `credential`.
    async fn token(&self, credential: &str, scopes: &[&str]) -> String {
        let body = json!({"name": "test", "scopes": scopes});
        let ask = Ask::new("POST", "/api/v1/tokens").json(&body);
        ask.bearer(credential).of(self).await.expect(201).text_at("token")
    }

    /// Whether the credential is one.
    async fn knows(&self, credential: &str) -> bool {
        let ask = Ask::new("GET", "/api/v1/whoami").bearer(credential);
        match ask.of(self).await.status.as_u16() {
            200 => true,
            401 => false,
            other => panic!("whoami answers {other}"),
        }
    }
}

/// A call that is being put together.
struct Ask {
    request: axum::http::request::Builder,
    body: Body,
}

impl Ask {
    fn new(method: &str, path: &str) -> Self {
        Self { request: Request::builder().method(method).uri(path), body: Body::empty() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    fn bearer(self, credential: &str) -> Self {
        self.header("authorization", &format!("Bearer {credential}"))
    }

    fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn body(mut self, media_type: &str, body: impl Into<Body>) -> Self {
        self = self.header("content-type", media_type);
        self.body = body.into();
        self
    }

    /// The answer without its body, which may be one that never ends.
    async fn head_of(self, rig: &Rig) -> axum::response::Response {
        let request = self.request.body(self.body).unwrap();
        rig.open.router.clone().oneshot(request).await.unwrap()
    }

    async fn of(self, rig: &Rig) -> Answer {
        let response = self.head_of(rig).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
    }
}

/// An answer with its whole body.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Self {
        let said = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{said}");
        self
    }

    /// A refusal: a problem document with this status and code.
    #[track_caller]
    fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let kind = answer.headers.get(header::CONTENT_TYPE);
        assert_eq!(kind.unwrap(), "application/problem+json");
        let problem = answer.value();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        answer
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text_at(&self, field: &str) -> String {
        self.value()[field].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
