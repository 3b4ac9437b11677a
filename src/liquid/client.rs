//! Calls of a daemon's liquid, typed.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::kernel::client::{Client, segment};
use crate::kernel::error::Result;

/// Liquid of a daemon.
#[derive(Debug, Clone)]
pub struct LiquidClient<'a>(pub &'a Client);

fn pipeline(name: &str) -> String {
    format!("/api/v1/pipelines/{}", segment(name))
}

fn schedule(name: &str) -> String {
    format!("/api/v1/schedules/{}", segment(name))
}

impl LiquidClient<'_> {
    /// Saves a pipeline.
    pub async fn save(&self, name: &str, source: &str) -> Result<Value> {
        self.0.put_bytes(&pipeline(name), "text/plain", source.to_owned()).await
    }

    /// A pipeline, with its script.
    pub async fn pipeline(&self, name: &str) -> Result<Value> {
        self.0.get(&pipeline(name)).await
    }

    /// Every pipeline.
    pub async fn pipelines(&self) -> Result<Vec<Value>> {
        self.0.all("/api/v1/pipelines").await
    }

    /// Forgets a pipeline.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(&pipeline(name)).await
    }

    /// The graph of a pipeline.
    pub async fn graph(&self, name: &str) -> Result<Value> {
        self.0.get(&format!("{}/graph", pipeline(name))).await
    }

    /// Starts a run, and waits for its end as long as `wait` says.
    pub async fn start(&self, name: &str, request: &Value, wait: Option<&str>) -> Result<Value> {
        let call = self.0.request(Method::POST, &format!("{}/runs", pipeline(name)));
        let call = wait.into_iter().fold(call, |call, wait| call.query(&[("wait", wait)]));
        self.0.json(call.json(request)).await
    }

    /// A run.
    pub async fn run(&self, id: &str, wait: Option<&str>) -> Result<Value> {
        let call = self.0.request(Method::GET, &format!("/api/v1/runs/{}", segment(id)));
        let call = wait.into_iter().fold(call, |call, wait| call.query(&[("wait", wait)]));
        self.0.json(call).await
    }

    /// The newest runs.
    pub async fn runs(
        &self,
        pipeline: Option<&str>,
        state: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>> {
        let mut call = self.0.request(Method::GET, "/api/v1/runs").query(&[("limit", limit)]);
        for (field, value) in [("pipeline", pipeline), ("state", state)] {
            if let Some(value) = value {
                call = call.query(&[(field, value)]);
            }
        }
        self.items(call).await
    }

    /// Ends a run.
    pub async fn cancel(&self, id: &str) -> Result<Value> {
        self.0.post(&format!("/api/v1/runs/{}/cancel", segment(id)), &json!({})).await
    }

    /// Goes on with a run, and waits for its end as long as `wait` says.
    pub async fn resume(&self, id: &str, wait: Option<&str>) -> Result<Value> {
        let call = self.0.request(Method::POST, &format!("/api/v1/runs/{}/resume", segment(id)));
        let call = wait.into_iter().fold(call, |call, wait| call.query(&[("wait", wait)]));
        self.0.json(call).await
    }

    /// Makes or changes a schedule.
    pub async fn save_schedule(&self, name: &str, body: &Map<String, Value>) -> Result<Value> {
        self.0.put(&schedule(name), body).await
    }

    /// Every schedule.
    pub async fn schedules(&self) -> Result<Vec<Value>> {
        self.0.all("/api/v1/schedules").await
    }

    /// A schedule.
    pub async fn schedule(&self, name: &str) -> Result<Value> {
        self.0.get(&schedule(name)).await
    }

    /// Forgets a schedule.
    pub async fn delete_schedule(&self, name: &str) -> Result<()> {
        self.0.delete(&schedule(name)).await
    }

    /// The next firings.
    pub async fn next(&self, name: &str, n: usize, after: Option<&str>) -> Result<Vec<Value>> {
        let call = self.0.request(Method::GET, &format!("{}/next", schedule(name)));
        let call = call.query(&[("n", n)]);
        let call = after.into_iter().fold(call, |call, after| call.query(&[("after", after)]));
        self.items(call).await
    }

    /// Runs past firings.
    pub async fn backfill(&self, name: &str, from: &str, to: &str) -> Result<Value> {
        let path = format!("{}/backfill", schedule(name));
        self.0.post(&path, &json!({ "from": from, "to": to })).await
    }

    async fn items(&self, call: reqwest::RequestBuilder) -> Result<Vec<Value>> {
        let page: Value = self.0.json(call).await?;
        Ok(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}
