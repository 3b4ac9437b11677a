//! Verifying over HTTP: what was looked at, line by line, and what is wrong at the end.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::cask::{Cask, error};
use crate::kernel::Result;
use crate::kernel::http::off_thread;

/// So many lines wait for a slow reader.
const WAITING: usize = 256;

/// First `{"objects", "bytes"}` of all there is, then `{"owner", "size"}` of each thing that was
/// read, then `{"count", "bytes", "damaged"}`.
pub(super) async fn verify(State(cask): State<Cask>) -> Result<Response> {
    let (tell, told) = mpsc::channel::<String>(WAITING);
    let buckets = {
        let cask = cask.clone();
        off_thread(move || cask.buckets(None, 0)).await?
    };
    let objects: u64 = buckets.iter().map(|bucket| bucket.objects).sum();
    let bytes: u64 = buckets.iter().map(|bucket| bucket.used_bytes).sum();
    tokio::task::spawn_blocking(move || {
        // Whoever asked has gone: so may we.
        let send = |line: Value| {
            tell.blocking_send(format!("{line}\n")).map_err(|_gone| error::nobody_listens())
        };
        let work = || {
            send(json!({"objects": objects, "bytes": bytes}))?;
            let report =
                cask.verify_telling(|seen| send(json!({"owner": seen.owner, "size": seen.bytes})))?;
            send(json!(report))
        };
        if let Err(error) = work() {
            let _gone = send(json!({"error": error.detail(), "code": error.code()}));
        }
    });
    let lines = ReceiverStream::new(told).map(Ok::<_, std::convert::Infallible>);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}
