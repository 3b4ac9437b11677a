//! The daemon: a listener, the middleware in one visible order, and what is mounted behind it.
//!
//! The caller gives the listener and the end, so a test binds port zero and owns both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;

mod bodies;
mod compat;
mod connections;
mod health;
mod listening;
mod metrics;
mod middleware;
mod network;
mod openapi;
#[cfg(feature = "s3")]
mod s3;
mod wire;

pub use compat::Compat;
pub use connections::Limits;
pub use health::Health;
pub use listening::Listening;
pub use openapi::describe;
#[cfg(feature = "s3")]
pub use s3::listen_s3;

use crate::app::App;
use crate::kernel::access::Access;
use crate::kernel::config::Settings;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::http::{RouteInfo, Routes};
use crate::kernel::work::Shutdown;

/// What the daemon is made of.
pub struct Server {
    /// Every route of every enabled module.
    pub routes: Routes,
    /// Pages, which are no part of the API and have their own table; none in a build without them.
    pub pages: Option<Routes>,
    /// Who is who.
    pub access: Access,
    /// Whether the stores are open, by name.
    pub health: Health,
    /// Settings.
    pub config: Config,
}

/// The settings of the daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// The largest body of a call that sets no limit of its own.
    pub max_body: usize,
    /// Host names beside those of the loopback that requests may be sent to.
    pub allowed_hosts: Vec<String>,
    /// Whether a proxy in front ends TLS and tells who is calling.
    pub behind_proxy: bool,
    /// How long requests may go on after the end was asked for.
    pub grace: Duration,
    /// How many connections there may be, and how long they may stand still.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body: 10 << 20,
            allowed_hosts: Vec::new(),
            behind_proxy: false,
            grace: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// As the settings say.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            max_body: usize::try_from(settings.bytes("server.max_body")?).unwrap_or(usize::MAX),
            allowed_hosts: settings.list("server.allowed_hosts")?.to_vec(),
            behind_proxy: settings.bool("server.behind_proxy")?,
            grace: settings.duration("server.shutdown_grace")?,
            limits: Limits::read(settings)?,
        })
    }
}

impl Server {
    /// The daemon over what is open, without pages.
    pub fn over(app: &App, config: Config) -> Self {
        Self {
            routes: app.routes(),
            pages: None,
            access: app.access.clone(),
            health: Health::of(app),
            config,
        }
    }

    /// The same daemon with pages beside the API.
    pub fn with_pages(self, pages: Routes) -> Self {
        Self { pages: Some(pages), ..self }
    }

    /// What every route of the API says of itself; pages are no part of it.
    pub fn table(&self) -> Vec<RouteInfo> {
        let before = health::routes(self.health.clone());
        let after = openapi::routes(Arc::default());
        [before.table(), self.routes.table(), after.table()].concat()
    }

    /// The whole router, in the order that a request meets it.
    pub fn into_router(self) -> Router {
        let routes = health::routes(self.health).and(self.routes);
        let description = Arc::new(describe(routes.table()));
        let routes = routes.and(openapi::routes(description));
        let router = match self.pages {
            Some(pages) => routes.into_router().merge(pages.into_router()),
            None => routes.into_router(),
        };
        let gate = middleware::Gate::new(self.access, &self.config);
        let stall = self.config.limits.stall;
        // The last layer is the first that a request meets.
        router
            .fallback(middleware::no_such_path)
            .method_not_allowed_fallback(middleware::no_such_method)
            .layer(from_fn_with_state(gate.clone(), middleware::authenticate))
            .layer(DefaultBodyLimit::max(self.config.max_body))
            .layer(from_fn_with_state(gate, middleware::check_host_and_origin))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(middleware::panicked))
            .layer(from_fn_with_state(stall, bodies::watch))
            .layer(from_fn(middleware::safe_headers))
            .layer(from_fn(middleware::count_and_trace))
    }

    /// Serves on `listener` until `shutdown` begins, then lets requests end for the grace period.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) -> Result<()> {
        let bounds = (self.config.grace, self.config.limits);
        connections::serve_until(self.into_router(), listener, shutdown, bounds).await
    }
}

/// Listens on `address`; a port in use is told as such.
pub async fn listen(address: &str, behind_proxy: bool) -> Result<TcpListener> {
    let addresses = resolve(address).await?;
    if !behind_proxy && is_open(&addresses) {
        return Err(not_loopback(address));
    }
    bind(address, &addresses, "choose another with --listen").await
}

fn not_loopback(address: &str) -> Error {
    Error::new(
        Kind::Config,
        "not_loopback",
        format!(
            "`{address}` can be reached from outside, and Drip speaks plain HTTP: put a proxy \
             with TLS in front and set server.behind_proxy = true, or listen on 127.0.0.1"
        ),
    )
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host(address).await;
    Ok(found.map_err(|source| bad_address(address, &source))?.collect())
}

/// Whether other machines can reach one of these.
fn is_open(addresses: &[SocketAddr]) -> bool {
    addresses.iter().any(|address| !address.ip().is_loopback())
}

/// Takes a port; `cure` says what to do when another has it.
async fn bind(address: &str, addresses: &[SocketAddr], cure: &str) -> Result<TcpListener> {
    TcpListener::bind(addresses).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::new(
            Kind::Conflict,
            "port_in_use",
            format!("{address} is in use by another program: {cure}"),
        ),
        _ => bad_address(address, &source),
    })
}

fn bad_address(address: &str, source: &std::io::Error) -> Error {
    Error::new(
        Kind::Config,
        "bad_address",
        format!(
            "cannot listen on `{address}`: {source}; write an address and a port, such as 127.0.0.1:22315"
        ),
    )
}
