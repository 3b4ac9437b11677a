//! The routes of the log.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::BATCH_MAX;
use super::{
    BUCKETS_DEFAULT, BUCKETS_MAX, Filter, Histogram, Ingested, Page, Query, Stream, StreamSettings,
    Tail, TailEvent, Trajectory, error,
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
struct Logs {
    log: Trajectory,
    shutdown: Shutdown,
}

/// The routes of `log`. Followers are let go when `shutdown` begins.
pub fn routes(log: Trajectory, shutdown: Shutdown) -> Routes {
    let query = get(LOGS, READ, query).says("Find records, the newest first");
    let histogram = get("/api/v1/logs/histogram", READ, histogram)
        .says("Count records by time and level")
        .query("buckets", "in at most so many stretches; 60 unless told, 1000 at most");
    let tail = get("/api/v1/logs/tail", READ, tail)
        .says("Follow the log as it grows, as server-sent events; Last-Event-ID resumes")
        .query(
            "after",
            "from the record after this number; for those who cannot send Last-Event-ID",
        );
    Routes::new("trajectory")
        .add(
            post(LOGS, WRITE, ingest)
                .says("Keep records: NDJSON or a JSON array, plain, gzip or zstd")
                .takes_bytes("application/x-ndjson")
                .answers::<Ingested>(200),
        )
        .add(filtered(query).query("order", "`desc` or `asc`").paged().answers::<Page>(200))
        .add(filtered(histogram).answers::<Histogram>(200))
        .add(filtered(tail).answers_bytes(200, "text/event-stream"))
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
        .with_state(Logs { log, shutdown })
}

fn filtered<S: Clone + Send + Sync + 'static>(route: Route<S>) -> Route<S> {
    route
        .query("from", "from this time on")
        .query("to", "before this time")
        .query("level", "of this level and above")
        .query("stream", "of this stream")
        .query("run_id", "of this run")
        .query("q", "word, \"exact text\", word*, /regex/, AND OR NOT ( )")
        .query("field.NAME", "with this value in the field NAME")
}

async fn ingest(
    State(logs): State<Logs>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Ingested>> {
    // A batch has a bound of its own, whatever the other calls take.
    let body = to_bytes(body, BATCH_MAX).await.map_err(|why| unread(&why))?;
    let retry = idempotency(&headers, &caller, LOGS, &body)?;
    let coding = text_of(&headers, "content-encoding").map(str::to_owned);
    logs.log.ingest_soon(body, coding, retry).await.map(Json)
}

fn unread(why: &axum::Error) -> Error {
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

async fn query(State(logs): State<Logs>, Params(pairs): Pairs) -> Result<Json<Page>> {
    let query = Query::from_pairs(&pairs)?;
    off_thread(move || logs.log.query(&query)).await.map(Json)
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
