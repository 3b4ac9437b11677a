//! Logs as other systems send them: OTLP, Loki's push, the form of Python's own handler. Each is
//! answered as its clients expect, also when something is wrong.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;

use super::Ingested;
use super::error::BATCH_MAX;
use super::http::{Logs, unread};
use super::intake::{loki, otlp};
use super::varint::put_varint;
use crate::kernel::access::Caller;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::http::{idempotency, text_of};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What a body says it is, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let whole = text_of(headers, "content-type").unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim()
}

/// OTLP over HTTP, in protobuf or in JSON; the answer is in the same.
pub(super) async fn otlp(
    State(logs): State<Logs>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let is_json = media_type(&headers) == JSON;
    match take_otlp(&logs, &caller, &headers, body, is_json).await {
        Ok(outcome) if is_json => axum::Json(partial_json(&outcome)).into_response(),
        Ok(outcome) => ([(header::CONTENT_TYPE, PROTOBUF)], partial(&outcome)).into_response(),
        Err(error) => status(&error, is_json),
    }
}

async fn take_otlp(
    logs: &Logs,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
    is_json: bool,
) -> Result<Ingested> {
    if !is_json && media_type(headers) != PROTOBUF {
        return Err(Error::new(
            Kind::Unsupported,
            "unknown_media_type",
            format!("OTLP is sent as {PROTOBUF} or {JSON}"),
        ));
    }
    let (body, coding) = whole(headers, body).await?;
    let retry = idempotency(headers, caller, "/v1/logs", &body)?;
    let read = if is_json { otlp::read_json } else { otlp::read_protobuf };
    logs.log.ingest_soon(read, body, coding, retry).await
}

async fn whole(headers: &HeaderMap, body: Body) -> Result<(Bytes, Option<String>)> {
    let body = to_bytes(body, BATCH_MAX).await.map_err(|why| unread(&why))?;
    Ok((body, text_of(headers, "content-encoding").map(str::to_owned)))
}

/// Why records were not taken, in a sentence.
fn reasons(outcome: &Ingested) -> String {
    let mut listed: Vec<String> = outcome
        .rejected
        .iter()
        .take(10)
        .map(|rejected| format!("record {}: {}", rejected.index, rejected.reason))
        .collect();
    if outcome.refused() > 10 {
        listed.push(format!("and {} more", outcome.refused() - 10));
    }
    listed.join("; ")
}

/// An `ExportLogsServiceResponse`: empty when all is well.
fn partial(outcome: &Ingested) -> Vec<u8> {
    let mut partial = Vec::new();
    let mut answer = Vec::new();
    if outcome.refused() > 0 {
        partial.push(1 << 3);
        put_varint(&mut partial, outcome.refused());
        put_bytes(&mut partial, 2, reasons(outcome).as_bytes());
        put_bytes(&mut answer, 1, &partial);
    }
    answer
}

fn partial_json(outcome: &Ingested) -> serde_json::Value {
    if outcome.refused() == 0 {
        return json!({});
    }
    let refused = outcome.refused().to_string();
    json!({ "partialSuccess": { "rejectedLogRecords": refused, "errorMessage": reasons(outcome) } })
}

fn put_bytes(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// A `google.rpc.Status`, in the encoding of the request.
fn status(error: &Error, is_json: bool) -> Response {
    let code = match error.kind() {
        Kind::Limited | Kind::Full => 8,
        Kind::Unavailable => 14,
        Kind::Internal | Kind::Io => 13,
        _ => 3,
    };
    let message = error.detail().to_owned();
    let (media_type, body) = if is_json {
        (JSON, json!({ "code": code, "message": message }).to_string().into_bytes())
    } else {
        let mut body = vec![1 << 3];
        put_varint(&mut body, code);
        put_bytes(&mut body, 2, message.as_bytes());
        (PROTOBUF, body)
    };
    with_wait(error, media_type, body)
}

/// An answer that says no, and when to come again.
fn with_wait(error: &Error, media_type: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(error.kind().status());
    let mut answer =
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body.into()).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    if let Some(wait) = error.wait() {
        headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    }
    answer
}

/// Loki's push, in protobuf or in JSON: 204 when all is well, else a sentence.
pub(super) async fn push(
    State(logs): State<Logs>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = async {
        let (body, coding) = whole(&headers, body).await?;
        let retry = idempotency(&headers, &caller, "/loki/api/v1/push", &body)?;
        if media_type(&headers) == JSON {
            logs.log
                .ingest_soon(|body, _, take| loki::read_json(body, take), body, coding, retry)
                .await
        } else {
            // The block is packed by itself, whatever the header says.
            let coding = coding.filter(|coding| coding != "snappy");
            logs.log
                .ingest_soon(|body, _, take| loki::read_protobuf(body, take), body, coding, retry)
                .await
        }
    };
    match taken.await {
        Ok(outcome) if outcome.refused() == 0 => StatusCode::NO_CONTENT.into_response(),
        // As Loki does: what is good is kept, and the client is told of the rest.
        Ok(outcome) => {
            let told =
                format!("{} records were not taken: {}\n", outcome.refused(), reasons(&outcome));
            (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, PLAIN)], told).into_response()
        }
        Err(error) => with_wait(&error, PLAIN, format!("{}\n", error.detail())),
    }
}
