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
use crate::kernel::{Error, Fault, Kind, Result, Time};

/// How many labels one call may ask for.
const LABELS_MAX: usize = 32;

/// What the parameters of a list or a search ask for. Some may be given more than once, which is why
/// they are read by hand; every fault is named.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) q: String,
    pub(super) sort: Option<String>,
    pub(super) page: PageParams,
}

impl Wanted {
    pub(super) fn read(fiche: &Fiche, pairs: Vec<(String, String)>) -> Result<Self> {
        let mut wanted = Self::default();
        let (mut limit, mut cursor) = (None, None);
        let mut faults = Vec::new();
        for (name, value) in pairs {
            // An empty field of a form asks for nothing.
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "q" => wanted.q = value,
                "sort" => wanted.sort = Some(value),
                "limit" => limit = Some(value),
                "cursor" => cursor = Some(value),
                _ => {
                    if let Err(why) = wanted.only(fiche, &name, value) {
                        faults.push((name, why));
                    }
                }
            }
        }
        if wanted.filter.labels.len() > LABELS_MAX {
            let why = format!("at most {LABELS_MAX} of them");
            faults.push(("label".to_owned(), error::bad_parameter("bad_label", "label", why)));
        }
        refuse(faults)?;
        wanted.page = serde_json::from_value(json!({"limit": limit, "cursor": cursor}))
            .map_err(|source| Error::internal(format!("page parameters: {source}")))?;
        Ok(wanted)
    }

    /// One parameter of the filter. What is not known is not read.
    fn only(&mut self, fiche: &Fiche, name: &str, value: String) -> Result<()> {
        let time = || Time::parse(&value).map(Some);
        let filter = &mut self.filter;
        match name {
            "name" => filter.name = Some(value),
            "kind" => filter.kinds.append(&mut kinds(fiche, &value)?),
            "stage" => {
                let stages = words(&value).map(str::parse);
                filter.stages.append(&mut stages.collect::<Result<_>>()?);
            }
            "label" => filter.labels.push(value),
            "updated_after" => filter.updated.from = time()?,
            "updated_before" => filter.updated.until = time()?,
            "created_after" => filter.created.from = time()?,
            "created_before" => filter.created.until = time()?,
            _ => {}
        }
        Ok(())
    }
}

/// Several words in one parameter have commas between them.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn kinds(fiche: &Fiche, value: &str) -> Result<Vec<CardKind>> {
    let kind = |word| fiche.kind(word).map_err(|_unknown| error::bad_kind(word, fiche.kinds()));
    words(value).map(kind).collect()
}

/// One fault is told as it is; several under one code, each with its place.
fn refuse(mut faults: Vec<(String, Error)>) -> Result<()> {
    let place = |(name, why): &(String, Error)| Fault::new(name.as_str(), why.detail());
    let places: Vec<_> = faults.iter().map(place).collect();
    match (faults.pop(), faults.is_empty()) {
        (None, _) => Ok(()),
        // A time that is none is a parameter like any other, not a broken request.
        (Some((_, why)), true) if why.kind() == Kind::Invalid => Err(why),
        (Some((name, why)), true) => Err(error::bad_parameter("bad_time", &name, why.detail())),
        (Some(_), false) => {
            let detail = format!("{} parameters are not valid", places.len());
            Err(Error::invalid("bad_query", detail, places))
        }
    }
}

/// `GET /api/v1/cards/{kind}`
pub(super) async fn list(
    State(fiche): State<Fiche>,
    Parted(kind): Parted<String>,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Json<List<Card>>> {
    let wanted = Wanted::read(&fiche, pairs)?;
    let (limit, after) = (wanted.page.limit()?, wanted.page.after()?);
    let filter = Filter { kinds: vec![fiche.kind(&kind)?], ..wanted.filter };
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
    let wanted = Wanted::read(&fiche, pairs)?;
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
