//! Many cards at once.

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::find::Wanted;
use crate::fiche::bundle::read_batch;
use crate::fiche::draft::{CARD_MAX_DEPTH, read_json};
use crate::fiche::{Fiche, Filter};
use crate::kernel::access::Caller;
use crate::kernel::http::{Params, idempotency, off_thread};
use crate::kernel::{Error, Kind, Result};

/// The media type of one JSON document a line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// The most bytes of one batch or one import; a client sends more in several.
pub(super) const BODY_MAX: usize = 64 << 20;
/// How many cards an export reads at a time.
const EXPORT_STEP: usize = 200;

/// The whole body of a call that takes more than the server lets others take.
pub(super) async fn large_body(request: Request) -> Result<(HeaderMap, String, Bytes)> {
    let headers = request.headers().clone();
    let path = request.uri().path().to_owned();
    let bytes = to_bytes(request.into_body(), BODY_MAX).await.map_err(|source| {
        let too_large = source.to_string().contains("length limit");
        if too_large {
            return Error::new(
                Kind::TooLarge,
                "body_too_large",
                format!("the body may have {BODY_MAX} bytes: send it in several parts"),
            );
        }
        Error::new(Kind::Malformed, "body_cut_off", "the body ended before it was complete")
    })?;
    Ok((headers, path, bytes))
}

/// `POST /api/v1/cards:batch`
pub(super) async fn batch(
    State(fiche): State<Fiche>,
    caller: Caller,
    request: Request,
) -> Result<Response> {
    let (headers, path, body) = large_body(request).await?;
    let retry = idempotency(&headers, &caller, &path, &body)?;
    let done = off_thread(move || {
        // The batch itself is up to two levels around its cards.
        let drafts = read_batch(fiche.kinds(), read_json(&body, BODY_MAX, CARD_MAX_DEPTH + 2)?)?;
        fiche.batch(&caller, &drafts, retry.as_ref())
    })
    .await?;
    Ok(Json(done.answer).into_response())
}

/// `POST /api/v1/cards:import`
pub(super) async fn import(
    State(fiche): State<Fiche>,
    caller: Caller,
    request: Request,
) -> Result<Response> {
    let (headers, path, body) = large_body(request).await?;
    let retry = idempotency(&headers, &caller, &path, &body)?;
    let done = off_thread(move || fiche.import(&caller, &body, retry.as_ref())).await?;
    Ok(Json(done.answer).into_response())
}

/// `GET /api/v1/cards:export`: in steps, so that memory stays flat. Each card is whole; the export
/// is not one moment of all of them.
pub(super) async fn export(
    State(fiche): State<Fiche>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Response> {
    let filter = Wanted::read(&fiche, pairs)?.filter;
    let first = step(fiche.clone(), filter.clone(), None).await?;
    let steps = stream::unfold(Some(first), move |part| {
        let (fiche, filter) = (fiche.clone(), filter.clone());
        async move {
            let Step { lines, after } = part?;
            let next = match after {
                Some(after) => match step(fiche, filter, Some(after)).await {
                    Ok(next) => Some(next),
                    // A body that is cut off is how a stream says that it failed.
                    Err(failed) => return Some((Err(failed), None)),
                },
                None => None,
            };
            Some((Ok(lines), next))
        }
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(steps)).into_response())
}

struct Step {
    lines: Bytes,
    after: Option<String>,
}

async fn step(fiche: Fiche, filter: Filter, after: Option<String>) -> Result<Step> {
    off_thread(move || {
        let mut cards = fiche.list(&filter, after.as_deref(), EXPORT_STEP)?;
        let more = cards.len() > EXPORT_STEP;
        cards.truncate(EXPORT_STEP);
        let mut lines = String::new();
        for card in &cards {
            lines.push_str(&card.document().to_string());
            lines.push('\n');
        }
        let last = cards.last().map(|card| card.key.to_string());
        Ok(Step { lines: Bytes::from(lines), after: last.filter(|_| more) })
    })
    .await
}
