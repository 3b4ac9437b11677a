//! Typed calls of DaShare for use from afar.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kernel::Result;
use crate::kernel::client::{Client, key_path, segment};

/// Data as they came.
#[derive(Debug, Clone)]
pub struct Data {
    /// The rows, written.
    pub body: bytes::Bytes,
    /// The media type.
    pub content_type: String,
    /// How many rows there are.
    pub rows: Option<u64>,
    /// Where an answer that was cut goes on.
    pub cursor: Option<String>,
    /// How much of the quota is left, where there is one.
    pub quota_remaining: Option<u64>,
}

/// The calls of DaShare on a daemon.
#[derive(Debug, Clone)]
pub struct DashareClient(Client);

impl DashareClient {
    /// Calls through `client`.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Every channel that the caller may see.
    pub async fn channels(&self) -> Result<Vec<Value>> {
        self.0.all("/api/v1/channels").await
    }

    /// One channel; `channel` is `group/name`.
    pub async fn channel(&self, channel: &str) -> Result<Value> {
        self.0.get(&at(channel)).await
    }

    /// Makes or changes a channel.
    pub async fn put_channel(&self, channel: &str, body: &Value) -> Result<Value> {
        self.0.put(&at(channel), body).await
    }

    /// Deletes a channel.
    pub async fn delete_channel(&self, channel: &str) -> Result<()> {
        self.0.delete(&at(channel)).await
    }

    /// The grants of a channel.
    pub async fn grants(&self, channel: &str) -> Result<Vec<Value>> {
        self.0.all(&format!("{}/grants", at(channel))).await
    }

    /// Lets a user read a channel.
    pub async fn grant(&self, channel: &str, user: &str, body: &Value) -> Result<Value> {
        self.0.put(&format!("{}/grants/{}", at(channel), segment(user)), body).await
    }

    /// Takes a grant back.
    pub async fn revoke(&self, channel: &str, user: &str) -> Result<()> {
        self.0.delete(&format!("{}/grants/{}", at(channel), segment(user))).await
    }

    /// The quotas of a user.
    pub async fn quotas(&self, user: &str) -> Result<Value> {
        self.0.get(&format!("/api/v1/users/{}/quota", segment(user))).await
    }

    /// Sets a quota.
    pub async fn put_quota(&self, user: &str, body: &Value) -> Result<Value> {
        self.0.put(&format!("/api/v1/users/{}/quota", segment(user)), body).await
    }

    /// What a user used.
    pub async fn usage(&self, user: &str) -> Result<Vec<Value>> {
        self.0.all(&format!("/api/v1/users/{}/usage", segment(user))).await
    }

    /// Data of a channel. `params` are those after the `?`.
    pub async fn data(&self, channel: &str, params: &[(&str, String)]) -> Result<Data> {
        let request = self.0.request(Method::GET, &format!("{}/data", at(channel))).query(params);
        let response = self.0.send(request).await?;
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let content_type = text("content-type").unwrap_or_default();
        let (rows, cursor) = (text("drip-rows"), text("drip-cursor"));
        let quota = text("drip-quota-remaining");
        let body = response.bytes().await.map_err(|source| {
            crate::kernel::Error::new(
                crate::kernel::Kind::Unavailable,
                "connection_lost",
                format!("the answer was cut off: {source}"),
            )
        })?;
        Ok(Data {
            body,
            content_type,
            rows: rows.and_then(|rows| rows.parse().ok()),
            cursor,
            quota_remaining: quota.and_then(|left| left.parse().ok()),
        })
    }

    /// The answer of a query over datasets, as bytes in `format`.
    pub async fn sql(&self, query: &str, params: &Value, format: &str) -> Result<bytes::Bytes> {
        let body = json!({ "query": query, "params": params, "format": format });
        self.0.bytes(self.0.request(Method::POST, "/api/v1/sql").json(&body)).await
    }
}

/// `group/name` as a path.
fn at(channel: &str) -> String {
    format!("/api/v1/channels/{}", key_path(channel))
}
