//! The calls of liquid over HTTP.

use std::time::Duration;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::{Expected, Graph, Pipeline, Run, RunRequest};
use super::schedule::{Firing, Schedule, ScheduleSpec};
use super::{Liquid, RunFilter, error};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::clock::{Time, parse_duration};
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::http::{
    Conditions, List, PageParams, Params, Parted, Routes, Whole, delete, etag, get, idempotency,
    off_thread, parse_json, post, put, text_of,
};
use crate::kernel::name::Name;

const READ: Needs = Needs::Read("liquid");
const WRITE: Needs = Needs::Write("liquid");
/// The longest that a call waits for a run.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// The most firings of one look ahead.
const NEXT_MAX: usize = 1_000;

/// The table of liquid.
pub fn routes(liquid: Liquid) -> Routes {
    let table = pipeline_routes(Routes::new("liquid"));
    schedule_routes(run_routes(table)).with_state(liquid)
}

fn pipeline_routes(table: Routes<Liquid>) -> Routes<Liquid> {
    table
        .add(
            get("/api/v1/pipelines", READ, list_pipelines)
                .says("List pipelines")
                .paged()
                .answers::<List<Pipeline>>(200),
        )
        .add(
            get("/api/v1/pipelines/{name}", READ, get_pipeline)
                .says("One pipeline, with its script")
                .query("revision", "an earlier revision")
                .answers::<Pipeline>(200),
        )
        .add(
            put("/api/v1/pipelines/{name}", WRITE, put_pipeline)
                .says("Check and save a pipeline: a script as text, or {source}")
                .takes_bytes("text/plain")
                .answers::<Pipeline>(200)
                .answers::<Pipeline>(201),
        )
        .add(
            delete("/api/v1/pipelines/{name}", WRITE, delete_pipeline)
                .says("Forget a pipeline; its revisions stay")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/pipelines/{name}/graph", READ, graph)
                .says("Nodes and edges")
                .answers::<Graph>(200),
        )
}

fn run_routes(table: Routes<Liquid>) -> Routes<Liquid> {
    table
        .add(
            post("/api/v1/pipelines/{name}/runs", WRITE, start)
                .says("Start a run; 200 when it is over within `wait`")
                .query("wait", "how long to wait for its end, such as 30s")
                .takes::<RunBody>()
                .answers::<Run>(200)
                .answers::<Run>(202),
        )
        .add(
            get("/api/v1/runs", READ, list_runs)
                .says("List runs, newest first")
                .query("pipeline", "runs of this pipeline")
                .query("state", "queued, running, succeeded, failed, cancelled or interrupted")
                .paged()
                .answers::<List<Run>>(200),
        )
        .add(
            get("/api/v1/runs/{id}", READ, get_run)
                .says("One run")
                .query("wait", "how long to wait for its end, such as 30s")
                .answers::<Run>(200),
        )
        .add(post("/api/v1/runs/{id}/cancel", WRITE, cancel).says("End a run").answers::<Run>(200))
        .add(
            post("/api/v1/runs/{id}/resume", WRITE, resume)
                .says("Go on with a run that failed, was cancelled or interrupted: nodes that are done stay done")
                .query("wait", "how long to wait for its end, such as 30s")
                .answers::<Run>(200)
                .answers::<Run>(202),
        )
}

fn schedule_routes(table: Routes<Liquid>) -> Routes<Liquid> {
    table
        .add(
            get("/api/v1/schedules", READ, list_schedules)
                .says("List schedules")
                .paged()
                .answers::<List<Schedule>>(200),
        )
        .add(
            get("/api/v1/schedules/{name}", READ, get_schedule)
                .says("One schedule")
                .answers::<Schedule>(200),
        )
        .add(
            put("/api/v1/schedules/{name}", WRITE, put_schedule)
                .says("Make or change a schedule")
                .takes::<ScheduleBody>()
                .answers::<Schedule>(200)
                .answers::<Schedule>(201),
        )
        .add(
            delete("/api/v1/schedules/{name}", WRITE, delete_schedule)
                .says("Forget a schedule; its runs stay")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/schedules/{name}/next", READ, next)
                .says("The next firings")
                .query("n", "how many; 5 unless told, 1000 at most")
                .query("after", "firings after this time; now unless told")
                .answers::<Firings>(200),
        )
        .add(
            post("/api/v1/schedules/{name}/backfill", WRITE, backfill)
                .says("Run past firings that have no run, one after the other")
                .takes::<BackfillBody>()
                .answers::<Backfilled>(202),
        )
}

/// What a run is asked for.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape for the API's description; read field by field")]
struct RunBody {
    /// Values for the pipeline's inputs.
    #[schema(value_type = Option<Object>)]
    inputs: Option<Map<String, Value>>,
    /// `sequential` or `parallel`.
    runner: Option<String>,
    /// These nodes and all that come after them.
    from: Option<Vec<String>>,
    /// These nodes and all that come before them.
    to: Option<Vec<String>>,
    /// The nodes with any of these tags.
    tags: Option<Vec<String>>,
    /// Values to answer besides those that no node takes.
    outputs: Option<Vec<String>>,
}

/// A schedule as it is given.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape for the API's description; read field by field")]
struct ScheduleBody {
    pipeline: String,
    cron: String,
    timezone: Option<String>,
    #[schema(value_type = Option<Object>)]
    inputs: Option<Map<String, Value>>,
    runner: Option<String>,
    /// `none`, `last` or `all`.
    catchup: Option<String>,
    catchup_window: Option<String>,
    catchup_max: Option<u64>,
    /// `skip`, `queue`, `cancel` or `{"allow": n}`.
    #[schema(value_type = Option<Value>)]
    overlap: Option<Value>,
    jitter: Option<String>,
    enabled: Option<bool>,
}

/// Which firings to make up.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape for the API's description; read field by field")]
struct BackfillBody {
    /// The first instant.
    from: String,
    /// The instant after the last.
    to: String,
}

/// Firings to come.
#[derive(Serialize, utoipa::ToSchema)]
struct Firings {
    items: Vec<Firing>,
}

/// The runs of a backfill.
#[derive(Serialize, utoipa::ToSchema)]
struct Backfilled {
    items: Vec<Run>,
    /// Firings that had a run already.
    already: usize,
}

#[derive(Debug, Deserialize)]
struct RevisionQuery {
    revision: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WaitQuery {
    wait: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RunsQuery {
    pipeline: Option<String>,
    state: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

#[derive(Debug, Deserialize)]
struct NextQuery {
    n: Option<usize>,
    after: Option<String>,
}

type Named = Parted<String>;

fn expected(conditions: Conditions) -> Expected {
    Expected { revision: conditions.revision, create_only: conditions.create_only }
}

fn status(new: bool) -> StatusCode {
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

async fn list_pipelines(
    State(liquid): State<Liquid>,
    Params(page): Params<PageParams>,
) -> Result<Json<List<Pipeline>>> {
    let (limit, after) = (page.limit()?, page.after()?);
    let found = off_thread(move || liquid.pipelines(after.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(found, limit, |pipeline| pipeline.name.clone())))
}

async fn get_pipeline(
    State(liquid): State<Liquid>,
    Parted(name): Named,
    Params(query): Params<RevisionQuery>,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let found = off_thread(move || liquid.pipeline(&name, query.revision)).await?;
    Ok((etag(found.revision), Json(found)))
}

async fn put_pipeline(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
    conditions: Conditions,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let source = source(&headers, &body)?;
    let work = move || liquid.save_pipeline(&name, &source, &caller, expected(conditions));
    let (saved, new) = off_thread(work).await?;
    Ok((status(new), etag(saved.revision), Json(saved)))
}

/// The script of a body: text, or JSON with `source`.
fn source(headers: &HeaderMap, body: &[u8]) -> Result<String> {
    let kind = text_of(headers, header::CONTENT_TYPE.as_str()).unwrap_or("text/plain");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => {
            let body: Map<String, Value> = parse_json(body)?;
            let mut fields = super::fields::Fields::of(&body, &["name", "source"]);
            let source = fields.text("source");
            if fields.get("source").is_none() {
                fields.wrong("source", "is missing: the script");
            }
            fields.finish("bad_body", "pipeline")?;
            Ok(source.unwrap_or_default())
        }
        "text/plain" | "application/octet-stream" | "application/x-rhai" | "text/x-rhai" => {
            let text = std::str::from_utf8(body).map_err(|bad| {
                let detail = format!("the script is not UTF-8 after {} bytes", bad.valid_up_to());
                Error::new(Kind::Malformed, "bad_text", detail)
            })?;
            Ok(text.trim_start_matches('\u{FEFF}').to_owned())
        }
        other => {
            let detail = format!("a pipeline is text/plain or application/json, not `{other}`");
            Err(Error::new(Kind::Unsupported, "bad_media_type", detail))
        }
    }
}

async fn delete_pipeline(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
) -> Result<StatusCode> {
    let name = Name::new(&name)?;
    off_thread(move || liquid.delete_pipeline(&name, &caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn graph(State(liquid): State<Liquid>, Parted(name): Named) -> Result<Json<Graph>> {
    let name = Name::new(&name)?;
    off_thread(move || liquid.graph(&name)).await.map(Json)
}

async fn start(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
    Params(query): Params<WaitQuery>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let wait = wait(query.wait.as_deref())?;
    let retry = idempotency(&headers, &caller, uri.path(), &body)?;
    let request = RunRequest::read(&object(&body)?)?;
    let work = {
        let liquid = liquid.clone();
        move || liquid.start(&name, request, &caller, retry.as_ref())
    };
    let run = off_thread(work).await?;
    let run = waited(&liquid, run, wait).await?;
    let status = if run.state.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(run)))
}

/// A body of JSON; none at all is an empty object.
fn object(body: &[u8]) -> Result<Map<String, Value>> {
    if body.trim_ascii().is_empty() { Ok(Map::new()) } else { parse_json(body) }
}

fn wait(given: Option<&str>) -> Result<Duration> {
    let Some(text) = given else {
        return Ok(Duration::ZERO);
    };
    let bad = |why: String| Error::invalid("bad_query", why.clone(), vec![Fault::new("wait", why)]);
    let time = parse_duration(text).map_err(|why| bad(why.detail().to_owned()))?;
    if time > WAIT_MAX {
        return Err(bad("`wait` is at most 10m".into()));
    }
    Ok(time)
}

/// Waits for the end of a run without holding a thread.
async fn waited(liquid: &Liquid, run: Run, time: Duration) -> Result<Run> {
    if run.state.is_over() || time.is_zero() {
        return Ok(run);
    }
    let id = run.id;
    let over = async {
        loop {
            let (active, mut bell) = liquid.watch(&id);
            if !active || bell.changed().await.is_err() {
                return;
            }
        }
    };
    // Whether it ended or the time is up, the answer is how the run stands.
    let _over_or_not = tokio::time::timeout(time, over).await;
    let liquid = liquid.clone();
    off_thread(move || liquid.run(&id)).await
}

async fn list_runs(
    State(liquid): State<Liquid>,
    Params(query): Params<RunsQuery>,
) -> Result<Json<List<Run>>> {
    let (limit, after) = (query.page.limit()?, query.page.after()?);
    let state =
        query.state.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose()?;
    let pipeline = query.pipeline.filter(|text| !text.is_empty());
    let pipeline = pipeline.map(|name| Name::new(&name)).transpose()?;
    let filter = RunFilter { pipeline: pipeline.map(|name| name.as_str().to_owned()), state };
    let found = off_thread(move || liquid.runs(&filter, after.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(found, limit, |run| run.id.clone())))
}

async fn get_run(
    State(liquid): State<Liquid>,
    Parted(id): Named,
    Params(query): Params<WaitQuery>,
) -> Result<Json<Run>> {
    let wait = wait(query.wait.as_deref())?;
    let reader = liquid.clone();
    let run = off_thread(move || reader.run(&id)).await?;
    waited(&liquid, run, wait).await.map(Json)
}

async fn cancel(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(id): Named,
) -> Result<Json<Run>> {
    off_thread(move || liquid.cancel(&id, &caller)).await.map(Json)
}

async fn resume(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(id): Named,
    Params(query): Params<WaitQuery>,
) -> Result<impl IntoResponse> {
    let wait = wait(query.wait.as_deref())?;
    let worker = liquid.clone();
    let run = off_thread(move || worker.resume(&id, &caller)).await?;
    let run = waited(&liquid, run, wait).await?;
    let status = if run.state.is_over() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(run)))
}

async fn list_schedules(
    State(liquid): State<Liquid>,
    Params(page): Params<PageParams>,
) -> Result<Json<List<Schedule>>> {
    let (limit, after) = (page.limit()?, page.after()?);
    let found = off_thread(move || liquid.schedules(after.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(found, limit, |schedule| schedule.name.clone())))
}

async fn get_schedule(
    State(liquid): State<Liquid>,
    Parted(name): Named,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let found = off_thread(move || liquid.schedule(&name)).await?;
    Ok((etag(found.revision), Json(found)))
}

async fn put_schedule(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
    conditions: Conditions,
    Whole(body): Whole,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let spec = ScheduleSpec::read(&object(&body)?)?;
    let work = move || liquid.save_schedule(&name, &spec, &caller, expected(conditions));
    let (saved, new) = off_thread(work).await?;
    Ok((status(new), etag(saved.revision), Json(saved)))
}

async fn delete_schedule(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
) -> Result<StatusCode> {
    let name = Name::new(&name)?;
    off_thread(move || liquid.delete_schedule(&name, &caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn next(
    State(liquid): State<Liquid>,
    Parted(name): Named,
    Params(query): Params<NextQuery>,
) -> Result<Json<Firings>> {
    let name = Name::new(&name)?;
    let count = query.n.unwrap_or(5);
    if !(1..=NEXT_MAX).contains(&count) {
        let why = format!("`n` is a number from 1 to {NEXT_MAX}");
        return Err(Error::invalid("bad_query", why.clone(), vec![Fault::new("n", why)]));
    }
    let after = query.after.as_deref().map(Time::parse).transpose()?;
    let items = off_thread(move || liquid.next_firings(&name, after, count)).await?;
    Ok(Json(Firings { items }))
}

async fn backfill(
    State(liquid): State<Liquid>,
    caller: Caller,
    Parted(name): Named,
    Whole(body): Whole,
) -> Result<impl IntoResponse> {
    let name = Name::new(&name)?;
    let body = object(&body)?;
    let mut fields = super::fields::Fields::of(&body, &["from", "to"]);
    let (from, to) = (fields.time("from"), fields.time("to"));
    for field in ["from", "to"] {
        if fields.get(field).is_none() {
            fields.wrong(field, "is missing: a time such as 2014-03-30T01:00:00Z");
        }
    }
    fields.finish("bad_backfill", "backfill")?;
    let (Some(from), Some(to)) = (from, to) else {
        return Err(error::bad_body("bad_backfill", "backfill", Vec::new()));
    };
    let (items, already) = off_thread(move || liquid.backfill(&name, from, to, &caller)).await?;
    Ok((StatusCode::ACCEPTED, Json(Backfilled { items, already })))
}
