//! Objects over HTTP. Bodies stream both ways; nothing but a quota limits them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde::Deserialize;

use super::headers::{etag, guard, put_options};
use super::{kept, serve};
use crate::cask::{Cask, CopyOptions, Listing, Place, error};
use crate::kernel::access::Caller;
use crate::kernel::http::{JsonBody, PageParams, Params, Parted, off_thread, seal_cursor};
use crate::kernel::{ObjectKey, Result};

#[derive(Deserialize)]
pub(super) struct ObjectPath {
    bucket: String,
    key: String,
}

#[derive(Deserialize)]
pub(super) struct ListParams {
    #[serde(default)]
    prefix: String,
    delimiter: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

#[derive(Deserialize)]
pub(super) struct VersionParams {
    version: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct VersionsParams {
    #[serde(default)]
    prefix: String,
    #[serde(flatten)]
    page: PageParams,
}

/// An object, and where it goes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FromTo {
    /// The object.
    from: Place,
    /// Where it goes; a version there means nothing.
    to: Place,
}

pub(super) async fn list(
    State(cask): State<Cask>,
    Parted(bucket): Parted<String>,
    Params(params): Params<ListParams>,
) -> Result<impl IntoResponse> {
    let listing = Listing {
        limit: params.page.limit()?,
        after: params.page.after()?,
        prefix: params.prefix,
        delimiter: params.delimiter,
    };
    let (mut list, end) = off_thread(move || cask.list(&bucket, &listing)).await?;
    list.next_cursor = end.map(|key| seal_cursor(&key));
    Ok(Json(list))
}

pub(super) async fn put(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<ObjectPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse> {
    let options = put_options(&headers)?;
    let outcome = cask.put(&caller, &path.bucket, &path.key, options, pieces(body));
    let outcome = outcome.await?;
    let tag = etag(outcome.item.sha256);
    Ok(([(header::ETAG, tag)], kept(outcome)))
}

pub(super) async fn get(
    State(cask): State<Cask>,
    Parted(path): Parted<ObjectPath>,
    Params(params): Params<VersionParams>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    ObjectKey::new(&path.key)?;
    let find = move || cask.get_version(&path.bucket, &path.key, params.version.as_deref());
    let found = off_thread(find).await?;
    serve::serve(&method, &headers, (&found.info).into(), found)
}

pub(super) async fn delete(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<ObjectPath>,
    Params(params): Params<VersionParams>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    let key = ObjectKey::new(&path.key)?;
    let guard = guard(&headers)?;
    off_thread(move || match &params.version {
        Some(version) => cask.delete_version(&caller, &path.bucket, key.as_str(), version),
        None => cask.delete(&caller, &path.bucket, key.as_str(), &guard),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn copy(
    State(cask): State<Cask>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(ways): JsonBody<FromTo>,
) -> Result<impl IntoResponse> {
    let how = CopyOptions { target: guard(&headers)?, ..CopyOptions::default() };
    Ok(kept(off_thread(move || cask.copy(&caller, &ways.from, &ways.to, &how)).await?))
}

pub(super) async fn relocate(
    State(cask): State<Cask>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(ways): JsonBody<FromTo>,
) -> Result<impl IntoResponse> {
    let how = CopyOptions { target: guard(&headers)?, ..CopyOptions::default() };
    Ok(kept(off_thread(move || cask.relocate(&caller, &ways.from, &ways.to, &how)).await?))
}

pub(super) async fn versions(
    State(cask): State<Cask>,
    Parted(bucket): Parted<String>,
    Params(params): Params<VersionsParams>,
) -> Result<impl IntoResponse> {
    let listing = Listing {
        limit: params.page.limit()?,
        after: params.page.after()?,
        prefix: params.prefix,
        delimiter: None,
    };
    let (mut list, end) = off_thread(move || cask.versions(&bucket, &listing)).await?;
    list.next_cursor = end.map(|key| seal_cursor(&key));
    Ok(Json(list))
}

/// The pieces of a body as they come. One that breaks off is an error, not an end.
pub(super) fn pieces(body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    body.into_data_stream().map(|piece| piece.map_err(error::body_cut_off))
}
