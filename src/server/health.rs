//! Alive, ready, and which version.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::metrics;
use crate::app::{App, Check, Counts};
use crate::kernel::access::Needs;
use crate::kernel::error::Result;
use crate::kernel::http::{Routes, get, off_thread};
use crate::kernel::work::Workers;

/// What the health pages tell of.
#[derive(Clone)]
pub struct Health {
    /// The enabled modules.
    pub modules: Vec<String>,
    /// The stores, by name.
    pub checks: Vec<(&'static str, Check)>,
    /// How the workers fare.
    pub workers: Workers,
    /// What there is, by module: counted when asked.
    pub counts: Counts,
}

pub(super) fn routes(health: Health) -> Routes {
    Routes::new("system")
        .add(
            get("/livez", Needs::Public, alive)
                .says("Alive; never touches the disk")
                .answers::<Value>(200),
        )
        .add(get("/healthz", Needs::Public, alive).says("The same as /livez").answers::<Value>(200))
        .add(
            get("/readyz", Needs::Public, ready)
                .says("Ready: every store is open")
                .answers::<Value>(200)
                .answers::<Value>(503),
        )
        .add(
            get("/metrics", Needs::Read("system"), show_metrics)
                .says("Figures for Prometheus")
                .answers_bytes(200, "text/plain"),
        )
        .add(
            get("/api/v1/version", Needs::Public, version)
                .says("Name, version, modules, features")
                .answers::<Value>(200),
        )
        .add(
            get("/api/v1/status", Needs::Read("system"), status)
                .says("What there is, and how the workers fare")
                .answers::<Value>(200),
        )
        .with_state(health)
}

async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let stores = health.stores();
    let is_ready =
        stores.iter().all(|(_, why)| why.is_none()) && !health.workers.shutdown().is_over();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons: serde_json::Map<String, Value> = stores
        .into_iter()
        .map(|(name, why)| (name.to_owned(), why.map_or(json!("open"), Value::from)))
        .collect();
    (status, Json(json!({"ready": is_ready, "stores": reasons})))
}

impl Health {
    /// The health of what is open.
    pub fn of(app: &App) -> Self {
        Self {
            modules: app.modules.clone(),
            checks: app.checks(),
            workers: app.workers.clone(),
            counts: app.counts(),
        }
    }

    fn stores(&self) -> Vec<(&'static str, Option<String>)> {
        self.checks
            .iter()
            .map(|(name, check)| (*name, check().err().map(|e| e.to_string())))
            .collect()
    }
}

async fn version(State(health): State<Health>) -> Json<Value> {
    Json(json!({
        "name": "drip", "version": env!("CARGO_PKG_VERSION"),
        "modules": health.modules, "features": features(),
    }))
}

fn features() -> Vec<&'static str> {
    [
        (cfg!(feature = "redb"), "redb"),
        (cfg!(feature = "sql"), "sql"),
        (cfg!(feature = "tls"), "tls"),
        (cfg!(feature = "web"), "web"),
    ]
    .into_iter()
    .filter_map(|(is_built, name)| is_built.then_some(name))
    .collect()
}

async fn show_metrics() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render())
}

async fn status(State(health): State<Health>) -> Result<Json<Value>> {
    let counts = health.counts.clone();
    let counted = off_thread(move || counts()).await?;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"), "modules": health.modules,
        "memory_bytes": metrics::resident_bytes(), "uptime_seconds": metrics::uptime().as_secs(),
        "counts": counted, "workers": health.workers.status(),
    })))
}
