//! Observers.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{READ, WRITE};
use crate::fiche::draft::read_json;
use crate::fiche::{Delivery, DeliveryState, Fiche, Observer, ObserverDraft};
use crate::kernel::access::Caller;
use crate::kernel::http::{
    self as drip, List, PageParams, Params, Parted, Routes, Whole, delete, etag, get, idempotency,
    off_thread, parse_json, post, put, text_of,
};
use crate::kernel::{Name, Result};

/// The most bytes of a body, and how deep it may be nested.
const BODY_MAX: usize = 256 << 10;
const BODY_DEPTH: usize = 64;

/// The table of observers.
pub(super) fn routes(table: Routes<Fiche>) -> Routes<Fiche> {
    const OBSERVER: &str = "/api/v1/observers/{name}";
    table
        .add(
            put(OBSERVER, WRITE, save)
                .says("Save an observer: it is told of changes by signed pushes, from now on")
                .takes::<ObserverShape>()
                .answers::<ObserverShape>(200)
                .answers::<ObserverShape>(201),
        )
        .add(
            get(OBSERVER, READ, read)
                .says("An observer, and how it stands; its secret is never shown")
                .answers::<ObserverShape>(200),
        )
        .add(
            delete(OBSERVER, WRITE, remove)
                .says("Delete an observer, with its log")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/observers", READ, list)
                .says("List the observers, and how they stand")
                .paged()
                .answers::<List<ObserverShape>>(200),
        )
        .add(
            get("/api/v1/observers/{name}/deliveries", READ, deliveries)
                .says("What was sent to an observer and what failed, newest first; what waits, in order")
                .query("state", "delivered, failed or pending; the first two unless told")
                .paged()
                .answers::<List<DeliveryShape>>(200),
        )
        .add(
            post("/api/v1/observers/{name}/redeliver", WRITE, redeliver)
                .says("Tell an observer again what it was told from a number on")
                .takes::<RedeliverBody>()
                .answers::<RedeliveryShape>(200),
        )
}

fn answer(observer: &Observer) -> Response {
    (etag(observer.revision), Json(observer)).into_response()
}

async fn save(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(name): Parted<String>,
    conditions: drip::Conditions,
    Whole(body): Whole,
) -> Result<Response> {
    let (observer, is_new) = off_thread(move || {
        let body = read_json(&body, BODY_MAX, BODY_DEPTH)?;
        let draft = ObserverDraft::read(&name, body, fiche.kinds())?;
        fiche.observe(&caller, &draft, conditions.into())
    })
    .await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(&observer)).into_response())
}

async fn read(
    State(fiche): State<Fiche>,
    Parted(name): Parted<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let observer = off_thread(move || fiche.observer(&Name::new(&name)?)).await?;
    let known = text_of(&headers, header::IF_NONE_MATCH.as_str());
    if known.is_some_and(|known| known == format!("\"{}\"", observer.revision)) {
        return Ok((StatusCode::NOT_MODIFIED, etag(observer.revision)).into_response());
    }
    Ok(answer(&observer))
}

async fn remove(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(name): Parted<String>,
    conditions: drip::Conditions,
) -> Result<StatusCode> {
    off_thread(move || fiche.forget_observer(&caller, &Name::new(&name)?, conditions.into()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(fiche): State<Fiche>,
    Params(page): Params<PageParams>,
) -> Result<Json<List<Observer>>> {
    let (limit, after) = (page.limit()?, page.after()?);
    let found = off_thread(move || fiche.observers(after.as_deref(), limit)).await?;
    Ok(Json(List::page(found, limit, |observer| observer.name.clone())))
}

#[derive(Debug, Deserialize)]
pub(super) struct WhichDeliveries {
    state: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

async fn deliveries(
    State(fiche): State<Fiche>,
    Parted(name): Parted<String>,
    Params(wanted): Params<WhichDeliveries>,
) -> Result<Json<List<Delivery>>> {
    let state = wanted.state.as_deref().filter(|word| !word.is_empty());
    let state: Option<DeliveryState> = state.map(str::parse).transpose()?;
    let limit = wanted.page.limit()?;
    // What was made up answers an empty page.
    let before = wanted.page.after()?.map(|text| text.parse().unwrap_or(0));
    let found =
        off_thread(move || fiche.deliveries(&Name::new(&name)?, state, before, limit)).await?;
    Ok(Json(List::page(found, limit, |delivery| {
        delivery.entry.unwrap_or(delivery.number).to_string()
    })))
}

async fn redeliver(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(name): Parted<String>,
    uri: Uri,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response> {
    let retry = idempotency(&headers, &caller, uri.path(), &body)?;
    let done = off_thread(move || {
        let RedeliverBody { from, to } = parse_json(&body)?;
        fiche.redeliver(&caller, &Name::new(&name)?, from, to, retry.as_ref())
    })
    .await?;
    Ok(Json(done.answer).into_response())
}

/// What is to be told again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RedeliverBody {
    /// From this number of the feed on.
    from: u64,
    /// Up to this one; up to the last that was told, unless given.
    to: Option<u64>,
}

/// An observer.
#[derive(Serialize, ToSchema)]
#[schema(as = Observer)]
struct ObserverShape {
    /// Its name; the path's wins.
    name: String,
    /// Its version, where it has one.
    version: String,
    /// Where messages are posted: http or https, no user name, no password.
    url: String,
    /// Only cards of these kinds; all unless given.
    kinds: Vec<String>,
    /// Only these of `card.saved`, `card.deleted`, `card.staged`, `card.conflicted`; all unless given.
    events: Vec<String>,
    /// Only cards whose names fit one of these patterns, such as `wind-*`; all unless given.
    names: Vec<String>,
    /// Only cards that are in one of these stages after the change; all unless given.
    stages: Vec<String>,
    /// What messages are signed with. Taken and never shown; kept when it is left out, taken away when
    /// it is empty.
    #[schema(write_only)]
    secret: Option<String>,
    /// Whether messages are signed.
    #[schema(read_only)]
    has_secret: bool,
    /// Whether it is told anything; what happens meanwhile waits for it.
    enabled: bool,
    /// What it is, in a sentence.
    summary: String,
    /// Text, or any JSON.
    #[schema(value_type = Object)]
    config: serde_json::Value,
    /// What else there is to say.
    remark: String,
    /// Counted from 1.
    revision: u64,
    created_at: String,
    updated_at: String,
    saved_by: String,
    /// How it stands.
    #[schema(read_only)]
    state: StandingShape,
}

/// How an observer stands.
#[derive(Serialize, ToSchema)]
#[schema(as = ObserverState)]
struct StandingShape {
    /// `current`, `behind`, `failing`, `stopped` (its receiver answered 410) or `disabled`.
    status: String,
    /// The last change that it heard, or does not want to hear.
    cursor: u64,
    /// How many changes there are after that.
    behind: u64,
    /// The first and the last number of what is told again.
    replaying: Option<Vec<u64>>,
    /// How many messages it took.
    delivered: u64,
    /// How many tries failed in a row.
    failures: u32,
    failing_since: Option<String>,
    last_error: Option<String>,
    last_success_at: Option<String>,
    next_try_at: Option<String>,
}

/// A message, and how it fared.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryShape {
    /// Its number in the log; none before the first try.
    entry: Option<u64>,
    /// The number of the change.
    number: u64,
    /// What happened.
    event: String,
    /// To which card.
    card: String,
    /// `delivered`, `failed` or `pending`.
    state: String,
    /// How many tries were made.
    tries: u32,
    first_at: Option<String>,
    at: Option<String>,
    /// What the receiver answered to the last try.
    status: Option<u16>,
    /// What the last try that failed met.
    error: Option<String>,
    duration_ms: Option<u64>,
    next_try_at: Option<String>,
    /// Whether it was sent again because someone asked for it.
    again: bool,
}

/// What will be told again.
#[derive(Serialize, ToSchema)]
#[schema(as = Redelivery)]
struct RedeliveryShape {
    from: u64,
    to: u64,
    /// How many changes that are.
    events: u64,
}
