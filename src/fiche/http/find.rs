//! Lists and searches.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::fiche::error;
use crate::fiche::model::{Card, CardKind};
use crate::fiche::{Fiche, Filter, Found, Search};
use crate::kernel::http::{List, PageParams, Params, Parted, off_thread, seal_cursor};
use crate::kernel::{Error, Result};

/// What the parameters of a list or a search ask for. `label` may be given more than once, which
/// is why they are read by hand.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) q: String,
    pub(super) sort: Option<String>,
    pub(super) page: PageParams,
}

impl Wanted {
    pub(super) fn read(pairs: Vec<(String, String)>) -> Result<Self> {
        let mut wanted = Self::default();
        let (mut limit, mut cursor) = (None, None);
        for (name, value) in pairs {
            // An empty field of a form asks for nothing.
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "name" => wanted.filter.name = Some(value),
                "kind" => wanted.filter.kind = Some(value.parse()?),
                "stage" => wanted.filter.stage = Some(value.parse()?),
                "label" => wanted.filter.labels.push(value),
                "q" => wanted.q = value,
                "sort" => wanted.sort = Some(value),
                "limit" => limit = Some(value),
                "cursor" => cursor = Some(value),
                _ => {}
            }
        }
        if wanted.filter.labels.len() > 32 {
            return Err(error::bad_parameter("bad_label", "label", "at most 32 of them"));
        }
        wanted.page = serde_json::from_value(json!({"limit": limit, "cursor": cursor}))
            .map_err(|source| Error::internal(format!("page parameters: {source}")))?;
        Ok(wanted)
    }
}

/// `GET /api/v1/cards/{kind}`
pub(super) async fn list(
    State(fiche): State<Fiche>,
    Parted(kind): Parted<String>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Json<List<Card>>> {
    let wanted = Wanted::read(pairs)?;
    let (limit, after) = (wanted.page.limit()?, wanted.page.after()?);
    let filter = Filter { kind: Some(CardKind::find(&kind)?), ..wanted.filter };
    let found = off_thread(move || fiche.list(&filter, after.as_deref(), limit)).await?;
    Ok(Json(List::page(found, limit, |card| card.key.to_string())))
}

/// A page of what was found.
#[derive(Serialize)]
struct Page {
    #[serde(flatten)]
    found: Found,
    next_cursor: Option<String>,
}

/// `GET /api/v1/cards`
pub(super) async fn search(
    State(fiche): State<Fiche>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Response> {
    let wanted = Wanted::read(pairs)?;
    let limit = wanted.page.limit()?;
    let offset = match wanted.page.after()? {
        Some(text) => text.parse().unwrap_or(usize::MAX),
        None => 0,
    };
    let search = Search {
        q: wanted.q,
        filter: wanted.filter,
        sort: wanted.sort.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
        offset,
        limit,
    };
    let found = off_thread(move || fiche.search(&search)).await?;
    let next_cursor = found.has_more.then(|| seal_cursor(&(offset + limit).to_string()));
    Ok(Json(Page { found, next_cursor }).into_response())
}
