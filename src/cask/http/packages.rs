//! Packages over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::headers::{etag, put_options};
use super::objects::pieces;
use super::{kept, serve};
use crate::cask::Cask;
use crate::kernel::Result;
use crate::kernel::access::Caller;
use crate::kernel::http::{List, PageParams, Params, Parted, off_thread};

#[derive(Deserialize)]
pub(super) struct PackagePath {
    name: String,
    version: String,
}

#[derive(Deserialize)]
pub(super) struct ListParams {
    #[serde(default)]
    q: String,
    #[serde(flatten)]
    page: PageParams,
}

pub(super) async fn list(
    State(cask): State<Cask>,
    Params(params): Params<ListParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (params.page.limit()?, params.page.after()?);
    let items = off_thread(move || {
        let after = after.as_deref().and_then(|after| after.split_once('/'));
        cask.packages(&params.q, after, limit + 1)
    });
    Ok(Json(List::page(items.await?, limit, |item| format!("{}/{}", item.name, item.version))))
}

pub(super) async fn push(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<PackagePath>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse> {
    let options = put_options(&headers)?;
    let outcome = cask.push(&caller, &path.name, &path.version, options, pieces(body));
    let outcome = outcome.await?;
    let tag = etag(outcome.item.item.sha256);
    Ok(([(header::ETAG, tag)], kept(outcome)))
}

pub(super) async fn get(
    State(cask): State<Cask>,
    Parted(path): Parted<PackagePath>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let found = off_thread(move || cask.open_package(&path.name, &path.version)).await?;
    serve::serve(&method, &headers, (&found.info).into(), found)
}

pub(super) async fn metadata(
    State(cask): State<Cask>,
    Parted(path): Parted<PackagePath>,
) -> Result<impl IntoResponse> {
    let found = off_thread(move || cask.package(&path.name, &path.version)).await?;
    Ok(Json(found.metadata))
}

pub(super) async fn delete(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<PackagePath>,
) -> Result<impl IntoResponse> {
    off_thread(move || cask.delete_package(&caller, &path.name, &path.version)).await?;
    Ok(StatusCode::NO_CONTENT)
}
