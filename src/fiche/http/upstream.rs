//! Nodes that push their cards here, the conflicts that come of it, and this node's own pushing.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::Value;

use super::bundle::{BODY_MAX, large_body};
use super::shapes::ResolveBody;
use crate::fiche::Fiche;
use crate::fiche::draft::{CARD_MAX_DEPTH, read_json};
use crate::fiche::model::CardKey;
use crate::fiche::upstream::{Conflict, ConflictFilter, Pushed, Standing, read_push};
use crate::kernel::Result;
use crate::kernel::access::Caller;
use crate::kernel::http::{List, PageParams, Params, Whole, idempotency, off_thread, parse_json};

/// `POST /api/v1/cards:push`
pub(super) async fn push(
    State(fiche): State<Fiche>,
    caller: Caller,
    request: Request,
) -> Result<Json<Pushed>> {
    let (_, _, body) = large_body(request).await?;
    off_thread(move || {
        // The push itself is three levels around its cards.
        let push = read_push(fiche.kinds(), read_json(&body, BODY_MAX, CARD_MAX_DEPTH + 3)?)?;
        fiche.receive(&caller, &push)
    })
    .await
    .map(Json)
}

/// `GET /api/v1/upstream`
pub(super) async fn standing(State(fiche): State<Fiche>) -> Result<Json<Standing>> {
    off_thread(move || fiche.upstream()).await.map(Json)
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    node: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    brief: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

impl Wanted {
    fn filter(&self) -> Result<ConflictFilter> {
        // An empty field of a form asks for nothing.
        let text = |given: &Option<String>| given.clone().filter(|text| !text.is_empty());
        Ok(ConflictFilter {
            node: text(&self.node),
            kind: text(&self.kind).as_deref().map(str::parse).transpose()?,
            name: text(&self.name),
            brief: self.brief.as_deref() == Some("true"),
        })
    }
}

/// `GET /api/v1/cards:conflicts`
pub(super) async fn conflicts(
    State(fiche): State<Fiche>,
    Params(wanted): Params<Wanted>,
) -> Result<Json<List<Conflict>>> {
    let (limit, after, filter) = (wanted.page.limit()?, wanted.page.after()?, wanted.filter()?);
    let found = off_thread(move || fiche.conflicts(&filter, after.as_deref(), limit)).await?;
    Ok(Json(List::page(found, limit, Conflict::place)))
}

/// `POST /api/v1/cards:resolve`
pub(super) async fn resolve(
    State(fiche): State<Fiche>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Value>> {
    let retry = idempotency(&headers, &caller, uri.path(), &body)?;
    off_thread(move || {
        let body: ResolveBody = parse_json(&body)?;
        let key = CardKey::new(&body.kind, &body.name, &body.version)?;
        let keep = body.keep.parse()?;
        fiche.resolve_conflict(&caller, &key, &body.node, keep, body.number, retry.as_ref())
    })
    .await
    .map(|done| Json(done.answer))
}
