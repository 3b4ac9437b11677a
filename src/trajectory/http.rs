//! The routes of the log.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::BATCH_MAX;
use super::intake::form;
use super::intake::json::Take;
use super::{
    BUCKETS_DEFAULT, BUCKETS_MAX, CONTEXT_DEFAULT, CONTEXT_MAX, Context, Filter, Histogram,
    Ingested, Page, Query, Stream, StreamSettings, Tail, TailEvent, TopValues, Trajectory,
    VALUES_DEFAULT, VALUES_MAX, error, received,
};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::http::{
    JsonBody, List, PageParams, Params, Parted, Route, Routes, delete, get, idempotency,
    off_thread, post, put, text_of,
};
use crate::kernel::name::Name;
use crate::kernel::work::Shutdown;

const LOGS: &str = "/api/v1/logs";
const READ: Needs = Needs::Read("trajectory");
const WRITE: Needs = Needs::Write("trajectory");
/// So many events wait for a follower before it is no longer read for.
const WAITING: usize = 64;

type Pairs = Params<Vec<(String, String)>>;

/// What the handlers have.
#[derive(Clone)]
pub(super) struct Logs {
    pub(super) log: Trajectory,
    shutdown: Shutdown,
}

/// The routes of `log`. Followers are let go when `shutdown` begins.
pub fn routes(log: Trajectory, shutdown: Shutdown) -> Routes {
    with_streams(with_questions(with_intake(Routes::new("trajectory"))))
        .with_state(Logs { log, shutdown })
}

/// What takes records in.
fn with_intake(routes: Routes<Logs>) -> Routes<Logs> {
    routes
        .add(
            post(LOGS, WRITE, ingest)
                .says("Keep records: NDJSON or a JSON array, plain, gzip or zstd; or the form of a Python handler")
                .query("stream", "where the record of a form goes; else its logger names the stream")
                .takes_bytes("application/x-ndjson")
                .answers::<Ingested>(200),
        )
        .add(
            post("/v1/logs", WRITE, received::otlp)
                .says("Keep records sent by OpenTelemetry: OTLP/HTTP in protobuf or JSON, plain or gzip")
                .takes_bytes("application/x-protobuf")
                .answers_bytes(200, "application/x-protobuf"),
        )
        .add(
            post("/otlp/v1/logs", WRITE, received::otlp)
                .says("The same, where collectors expect it beside Loki")
                .takes_bytes("application/x-protobuf")
                .answers_bytes(200, "application/x-protobuf"),
        )
        .add(
            post("/loki/api/v1/push", WRITE, received::push)
                .says("Keep records sent by Loki's clients: protobuf in a Snappy block, or JSON")
                .takes_bytes("application/x-protobuf")
                .answers::<()>(204),
        )
}

/// What finds, counts and follows them.
fn with_questions(routes: Routes<Logs>) -> Routes<Logs> {
    let query = get(LOGS, READ, query).says("Find records, the newest first");
    let histogram = get("/api/v1/logs/histogram", READ, histogram)
        .says("Count records by time and level")
        .query("buckets", "in at most so many stretches; 60 unless told, 1000 at most");
    let values = get("/api/v1/logs/values", READ, values)
        .says("Count the values of a field, the most frequent first")
        .query("field", "the field; a dot leads inwards")
        .query("top", "so many values; 20 unless told, 1000 at most");
    let context = get("/api/v1/logs/context/{seq}", READ, context)
        .says("The records around one, in the order they came in")
        .query("around", "so many before it and behind it; 10 unless told, 200 at most")
        .query("alone", "`true` for those of its stream alone");
    let tail = get("/api/v1/logs/tail", READ, tail)
        .says("Follow the log as it grows, as server-sent events; Last-Event-ID resumes")
        .query(
            "after",
            "from the record after this number; for those who cannot send Last-Event-ID",
        );
    routes
        .add(
            filtered(query)
                .query("order", "`desc` or `asc`")
                .query("format", "`json`, or `text`: each record as its stream's template has it, the cursor in `Drip-Cursor`")
                .paged()
                .answers::<Page>(200),
        )
        .add(filtered(histogram).answers::<Histogram>(200))
        .add(filtered(values).answers::<TopValues>(200))
        .add(context.answers::<Context>(200))
        .add(filtered(tail).answers_bytes(200, "text/event-stream"))
}

/// What the streams keep.
fn with_streams(routes: Routes<Logs>) -> Routes<Logs> {
    routes
        .add(
            get("/api/v1/streams", READ, streams)
                .says("List the streams")
                .paged()
                .answers::<List<Stream>>(200),
        )
        .add(
            get("/api/v1/streams/{stream}", READ, stream)
                .says("What a stream holds and keeps")
                .answers::<Stream>(200),
        )
        .add(
            put("/api/v1/streams/{stream}", WRITE, set_stream)
                .says("Set what a stream keeps")
                .takes::<StreamSettings>()
                .answers::<Stream>(200)
                .answers::<Stream>(201),
        )
        .add(
            delete("/api/v1/streams/{stream}", WRITE, delete_stream)
                .says("Forget what a stream keeps; its records stay")
                .answers::<()>(204),
        )
}

fn filtered<S: Clone + Send + Sync + 'static>(route: Route<S>) -> Route<S> {
    route
        .query("from", "from this time on")
        .query("to", "before this time")
        .query("level", "of this level and above")
        .query("stream", "of this stream")
        .query("run_id", "of this run")
        .query("q", "word, \"exact text\", word*, /regex/, AND OR NOT ( )")
        .query("field.NAME", "with this value in the field NAME; `*` stands for anything; also `field.NAME!=`, `>=`, `<=`, `>`, `<`")
}

/// Where a form's record goes.
#[derive(serde::Deserialize)]
struct Place {
    stream: Option<String>,
}

async fn ingest(
    State(logs): State<Logs>,
    caller: Caller,
    headers: HeaderMap,
    Params(place): Params<Place>,
    body: Body,
) -> Result<Json<Ingested>> {
    // A batch has a bound of its own, whatever the other calls take.
    let body = to_bytes(body, BATCH_MAX).await.map_err(|why| unread(&why))?;
    let retry = idempotency(&headers, &caller, LOGS, &body)?;
    let coding = text_of(&headers, "content-encoding").map(str::to_owned);
    // curl says so of everything that it is not told about: what begins as JSON is JSON.
    let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if !is_json && received::media_type(&headers) == "application/x-www-form-urlencoded" {
        let read = move |body: &[u8], now, take: &mut Take<'_>| {
            form::read(body, place.stream.as_deref(), now, take)
        };
        return logs.log.ingest_soon(read, body, coding, retry).await.map(Json);
    }
    logs.log.ingest_soon(super::intake::json::read, body, coding, retry).await.map(Json)
}

pub(super) fn unread(why: &axum::Error) -> Error {
    let mut cause = Some(why as &dyn std::error::Error);
    while let Some(one) = cause {
        // The type of the limit's error belongs to a crate that we do not name.
        if one.to_string().contains("length limit exceeded") {
            return error::batch_too_large();
        }
        cause = one.source();
    }
    Error::new(Kind::Malformed, "body_cut_off", "the body ended before it was complete")
}

async fn query(State(logs): State<Logs>, Params(mut pairs): Pairs) -> Result<Response> {
    let as_text = takes_text(&mut pairs)?;
    let query = Query::from_pairs(&pairs)?;
    off_thread(move || {
        let page = logs.log.query(&query)?;
        if !as_text {
            return Ok(Json(page).into_response());
        }
        let mut answer = logs.log.write_out(&page.items).into_response();
        let headers = answer.headers_mut();
        if let Some(cursor) = page.next_cursor.as_deref().and_then(|text| text.parse().ok()) {
            headers.insert("drip-cursor", cursor);
        }
        if page.incomplete {
            headers.insert("drip-incomplete", HeaderValue::from_static("true"));
        }
        Ok(answer)
    })
    .await
}

/// Takes the parameter `format` from the others; answers whether it asks for text.
fn takes_text(pairs: &mut Vec<(String, String)>) -> Result<bool> {
    let mut as_text = false;
    let mut faults = Vec::new();
    pairs.retain(|(name, value)| {
        if name != "format" {
            return true;
        }
        match value.as_str() {
            "json" => as_text = false,
            "text" => as_text = true,
            _ => faults.push(Fault::new("format", "is `json` or `text`")),
        }
        false
    });
    if faults.is_empty() { Ok(as_text) } else { Err(error::bad_query(faults)) }
}

async fn histogram(State(logs): State<Logs>, Params(pairs): Pairs) -> Result<Json<Histogram>> {
    let (filter, rest) = Filter::from_pairs(&pairs, &["buckets"])?;
    let buckets = match rest.get("buckets").map(|text| text.parse()) {
        None => BUCKETS_DEFAULT,
        Some(Ok(buckets)) if (1..=BUCKETS_MAX).contains(&buckets) => buckets,
        Some(_) => {
            let detail = format!("is a number from 1 to {BUCKETS_MAX}");
            return Err(error::bad_query(vec![Fault::new("buckets", detail)]));
        }
    };
    off_thread(move || logs.log.histogram(&filter, buckets)).await.map(Json)
}

async fn values(State(logs): State<Logs>, Params(pairs): Pairs) -> Result<Json<TopValues>> {
    let (filter, rest) = Filter::from_pairs(&pairs, &["field", "top"])?;
    let mut faults = Vec::new();
    let field =
        rest.get("field").filter(|field| !field.is_empty()).map(|field| (*field).to_owned());
    if field.is_none() {
        faults.push(Fault::new("field", "is the name of a field"));
    }
    let top = match rest.get("top").map(|text| text.parse()) {
        None => VALUES_DEFAULT,
        Some(Ok(top)) if (1..=VALUES_MAX).contains(&top) => top,
        Some(_) => {
            faults.push(Fault::new("top", format!("is a number from 1 to {VALUES_MAX}")));
            VALUES_DEFAULT
        }
    };
    if !faults.is_empty() {
        return Err(error::bad_query(faults));
    }
    off_thread(move || logs.log.values(&filter, &field.unwrap_or_default(), top)).await.map(Json)
}

/// How much around a record.
#[derive(serde::Deserialize)]
struct Around {
    around: Option<usize>,
    #[serde(default)]
    alone: bool,
}

async fn context(
    State(logs): State<Logs>,
    Parted(seq): Parted<u64>,
    Params(asked): Params<Around>,
) -> Result<Json<Context>> {
    let around = asked.around.unwrap_or(CONTEXT_DEFAULT);
    if !(1..=CONTEXT_MAX).contains(&around) {
        let detail = format!("is a number from 1 to {CONTEXT_MAX}");
        return Err(error::bad_query(vec![Fault::new("around", detail)]));
    }
    off_thread(move || logs.log.context(seq, around, asked.alone)).await.map(Json)
}

async fn tail(
    State(logs): State<Logs>,
    headers: HeaderMap,
    Params(pairs): Pairs,
) -> Result<impl IntoResponse> {
    let (filter, rest) = Filter::from_pairs(&pairs, &["after"])?;
    let from = text_of(&headers, "last-event-id").or(rest.get("after").copied());
    let after = from
        .map(|text| {
            text.trim().parse().map_err(|_bad| {
                let detail = "is the `id` of an event that was received";
                error::bad_query(vec![Fault::new("Last-Event-ID", detail)])
            })
        })
        .transpose()?;
    let (events, waiting) = mpsc::channel(WAITING);
    tokio::spawn(follow(logs.log.tail(filter, after), events, logs.shutdown));
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(waiting)).keep_alive(alive))
}

/// Reads for one follower until it goes away or the daemon ends.
async fn follow(
    mut tail: Tail,
    events: mpsc::Sender<Result<Event, Infallible>>,
    shutdown: Shutdown,
) {
    loop {
        let more = tokio::select! {
            more = tail.wait() => more,
            () = events.closed() => false,
            () = shutdown.wait() => false,
        };
        if !more {
            return;
        }
        let stepped = off_thread(move || tail.step().map(|events| (tail, events))).await;
        let found = match stepped {
            Ok((back, found)) => {
                tail = back;
                found
            }
            Err(error) => {
                tracing::warn!(%error, "a follower of the log could not be read for");
                return;
            }
        };
        for event in found {
            let Some(event) = show(&event) else { return };
            let sent = tokio::select! {
                sent = events.send(Ok(event)) => sent.is_ok(),
                () = shutdown.wait() => false,
            };
            if !sent {
                return;
            }
        }
    }
}

fn show(event: &TailEvent) -> Option<Event> {
    match event {
        TailEvent::Record(kept) => {
            let data = serde_json::to_string(kept).ok()?;
            Some(Event::default().id(kept.seq.to_string()).data(data))
        }
        TailEvent::Gap { skipped, until } => {
            let data = json!({ "skipped": skipped }).to_string();
            Some(Event::default().event("gap").id(until.to_string()).data(data))
        }
    }
}

async fn streams(
    State(logs): State<Logs>,
    Params(page): Params<PageParams>,
) -> Result<Json<List<Stream>>> {
    let (limit, after) = (page.limit()?, page.after()?);
    off_thread(move || {
        let mut all = logs.log.streams();
        all.retain(|stream| after.as_ref().is_none_or(|after| stream.name > *after));
        all.truncate(limit + 1);
        Ok(Json(List::page(all, limit, |stream| stream.name.clone())))
    })
    .await
}

async fn stream(State(logs): State<Logs>, Parted(name): Parted<String>) -> Result<Json<Stream>> {
    let name = Name::new(&name)?;
    off_thread(move || logs.log.stream(name.as_str())).await.map(Json)
}

async fn set_stream(
    State(logs): State<Logs>,
    caller: Caller,
    Parted(name): Parted<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<(StatusCode, Json<Stream>)> {
    let name = Name::new(&name)?;
    let settings = StreamSettings::read(&body)?;
    off_thread(move || {
        let (stream, is_new) = logs.log.set_stream(&caller, &name, settings)?;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Json(stream)))
    })
    .await
}

async fn delete_stream(
    State(logs): State<Logs>,
    caller: Caller,
    Parted(name): Parted<String>,
) -> Result<StatusCode> {
    let name = Name::new(&name)?;
    off_thread(move || logs.log.delete_stream(&caller, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
