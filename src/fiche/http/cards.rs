//! One card.

use axum::Json;
use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::shapes::StageBody;
use crate::fiche::Fiche;
use crate::fiche::draft::{CARD_MAX_BYTES, CARD_MAX_DEPTH, read_json};
use crate::fiche::error;
use crate::fiche::model::{Card, CardKey, Conditions, Outcome, Revision, Stage};
use crate::kernel::access::Caller;
use crate::kernel::http::{
    self as drip, List, PageParams, Params, Parted, Whole, etag, idempotency, off_thread,
    parse_json, text_of,
};
use crate::kernel::{Name, Result};

/// The most bytes of a comment on a move.
const COMMENT_MAX: usize = 10_000;

/// What a path names.
#[derive(Debug, Deserialize)]
pub(super) struct CardPath {
    kind: String,
    name: String,
    version: String,
}

impl CardPath {
    /// The card, for reading: `latest` may stand for its version.
    fn find(&self, fiche: &Fiche) -> Result<CardKey> {
        fiche.resolve(fiche.kind(&self.kind)?, &self.name, &self.version)
    }

    /// The card, for removing: it must be named, or a retry would remove the next one.
    fn exact(&self, fiche: &Fiche) -> Result<CardKey> {
        if self.version == "latest" {
            return Err(error::latest_is_no_version("/version"));
        }
        Ok(CardKey {
            kind: fiche.kind(&self.kind)?,
            name: Name::new(&self.name)?,
            version: Name::new(&self.version)?,
        })
    }
}

impl From<drip::Conditions> for Conditions {
    fn from(sent: drip::Conditions) -> Self {
        Self { revision: sent.revision, create_only: sent.create_only }
    }
}

fn answer(card: &Card) -> Response {
    (etag(card.revision), Json(card)).into_response()
}

/// `PUT /api/v1/cards/{kind}/{name}/{version}`
pub(super) async fn save(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(path): Parted<CardPath>,
    conditions: drip::Conditions,
    Whole(body): Whole,
) -> Result<Response> {
    let saved = off_thread(move || {
        // What a card may weigh is checked on its content; the body may be more spaciously written.
        let document = read_json(&body, CARD_MAX_BYTES * 4, CARD_MAX_DEPTH)?;
        let draft = fiche.draft_named(document, &path.kind, &path.name, &path.version)?;
        fiche.save(&caller, &draft, conditions.into())
    })
    .await?;
    let status =
        if saved.outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(&saved.card)).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct AtRevision {
    revision: Option<u64>,
}

/// `GET /api/v1/cards/{kind}/{name}/{version}`
pub(super) async fn read(
    State(fiche): State<Fiche>,
    Parted(path): Parted<CardPath>,
    Params(at): Params<AtRevision>,
    headers: HeaderMap,
) -> Result<Response> {
    let card = off_thread(move || {
        let key = path.find(&fiche)?;
        match at.revision {
            Some(revision) => Ok(fiche.revision(&key, revision)?.card),
            None => fiche.get(key.kind, key.name.as_str(), key.version.as_str()),
        }
    })
    .await?;
    let known = text_of(&headers, header::IF_NONE_MATCH.as_str());
    if known.is_some_and(|known| known == format!("\"{}\"", card.revision)) {
        return Ok((StatusCode::NOT_MODIFIED, etag(card.revision)).into_response());
    }
    Ok(answer(&card))
}

/// `DELETE /api/v1/cards/{kind}/{name}/{version}`
pub(super) async fn remove(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(path): Parted<CardPath>,
    conditions: drip::Conditions,
) -> Result<StatusCode> {
    off_thread(move || fiche.delete(&caller, &path.exact(&fiche)?, conditions.into())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/cards/{kind}/{name}/{version}/stage`
pub(super) async fn stage(
    State(fiche): State<Fiche>,
    caller: Caller,
    Parted(path): Parted<CardPath>,
    conditions: drip::Conditions,
    uri: Uri,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response> {
    let path_text = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let retry = idempotency(&headers, &caller, path_text, &body)?;
    let moved = off_thread(move || {
        let body: StageBody = parse_json(&body)?;
        let to: Stage = body.stage.parse()?;
        if body.comment.len() > COMMENT_MAX {
            let why = format!("a comment has at most {COMMENT_MAX} bytes");
            return Err(error::bad_parameter("bad_comment", "/comment", why));
        }
        let key = path.find(&fiche)?;
        fiche.stage_once(&caller, &key, to, &body.comment, conditions.into(), retry.as_ref())
    })
    .await?;
    let revision = moved.answer.get("revision").and_then(Value::as_u64);
    Ok((etag(revision.unwrap_or(0)), Json(moved.answer)).into_response())
}

/// `GET /api/v1/cards/{kind}/{name}/{version}/history`
pub(super) async fn history(
    State(fiche): State<Fiche>,
    Parted(path): Parted<CardPath>,
    Params(page): Params<PageParams>,
) -> Result<Json<List<Revision>>> {
    let limit = page.limit()?;
    let after = match page.after()? {
        Some(text) => text.parse().unwrap_or(u64::MAX),
        None => 0,
    };
    let found = off_thread(move || fiche.history(&path.find(&fiche)?, after, limit)).await?;
    Ok(Json(List::page(found, limit, |revision| revision.card.revision.to_string())))
}

#[derive(Debug, Deserialize)]
pub(super) struct Between {
    from: Option<u64>,
    to: Option<u64>,
}

/// `GET /api/v1/cards/{kind}/{name}/{version}/diff`
pub(super) async fn diff(
    State(fiche): State<Fiche>,
    Parted(path): Parted<CardPath>,
    Params(between): Params<Between>,
) -> Result<impl IntoResponse> {
    off_thread(move || fiche.diff(&path.find(&fiche)?, between.from, between.to)).await.map(Json)
}

/// `GET /api/v1/cards/{kind}/{name}/{version}/impact`
pub(super) async fn impact(
    State(fiche): State<Fiche>,
    Parted(path): Parted<CardPath>,
) -> Result<impl IntoResponse> {
    off_thread(move || fiche.impact(&path.find(&fiche)?)).await.map(Json)
}

#[derive(Debug, Deserialize)]
pub(super) struct HowFar {
    direction: Option<String>,
    depth: Option<usize>,
}

/// `GET /api/v1/cards/{kind}/{name}/{version}/lineage`
pub(super) async fn lineage(
    State(fiche): State<Fiche>,
    Parted(path): Parted<CardPath>,
    Params(how): Params<HowFar>,
) -> Result<impl IntoResponse> {
    off_thread(move || {
        let direction = how.direction.as_deref().map(str::parse).transpose()?;
        fiche.lineage(&path.find(&fiche)?, direction.unwrap_or_default(), how.depth)
    })
    .await
    .map(Json)
}
