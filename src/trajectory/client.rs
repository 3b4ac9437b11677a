//! The log of a daemon elsewhere, call by call.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use super::{Context, Histogram, Ingested, Page, Stream, StreamSettings, TopValues};
use crate::kernel::client::{Client, segment};
use crate::kernel::error::Result;

const LOGS: &str = "/api/v1/logs";

/// Sends a batch, NDJSON or a JSON array; `id` makes sending it again harmless.
pub async fn push(client: &Client, body: impl Into<Bytes>, id: Option<&str>) -> Result<Ingested> {
    let mut request = client
        .request(Method::POST, LOGS)
        .header("content-type", "application/x-ndjson")
        .body(body.into());
    if let Some(id) = id {
        request = request.header("idempotency-key", id);
    }
    client.json(request).await
}

/// Finds records; the parameters are those of the call.
pub async fn query(client: &Client, params: &[(String, String)]) -> Result<Page> {
    client.json(client.request(Method::GET, LOGS).query(params)).await
}

/// Counts records by time and level.
pub async fn histogram(client: &Client, params: &[(String, String)]) -> Result<Histogram> {
    let request = client.request(Method::GET, "/api/v1/logs/histogram");
    client.json(request.query(params)).await
}

/// Counts the values of a field.
pub async fn values(client: &Client, params: &[(String, String)]) -> Result<TopValues> {
    let request = client.request(Method::GET, "/api/v1/logs/values");
    client.json(request.query(params)).await
}

/// The records around the one with the number `seq`.
pub async fn context(client: &Client, seq: u64, around: usize, alone: bool) -> Result<Context> {
    let request = client.request(Method::GET, &format!("/api/v1/logs/context/{seq}"));
    let params = [("around", around.to_string()), ("alone", alone.to_string())];
    client.json(request.query(&params)).await
}

/// Follows the log; the answer is a stream of server-sent events.
pub async fn tail(
    client: &Client,
    params: &[(String, String)],
    after: Option<u64>,
) -> Result<reqwest::Response> {
    let mut request = client.request(Method::GET, "/api/v1/logs/tail").query(params);
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    client.send(request).await
}

/// All streams.
pub async fn streams(client: &Client) -> Result<Vec<Value>> {
    client.all("/api/v1/streams").await
}

/// Sets what a stream keeps.
pub async fn set_stream(client: &Client, name: &str, settings: &StreamSettings) -> Result<Stream> {
    let path = format!("/api/v1/streams/{}", segment(name));
    client.put(&path, settings).await
}

/// Forgets what a stream keeps.
pub async fn delete_stream(client: &Client, name: &str) -> Result<()> {
    client.delete(&format!("/api/v1/streams/{}", segment(name))).await
}
