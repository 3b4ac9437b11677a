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
use crate::cask::{Cask, Listing, error};
use crate::kernel::access::Caller;
use crate::kernel::http::{PageParams, Params, Parted, off_thread, seal_cursor};
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
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    ObjectKey::new(&path.key)?;
    let found = off_thread(move || cask.get(&path.bucket, &path.key)).await?;
    serve::serve(&method, &headers, (&found.info).into(), found)
}

pub(super) async fn delete(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(path): Parted<ObjectPath>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    let key = ObjectKey::new(&path.key)?;
    let guard = guard(&headers)?;
    off_thread(move || cask.delete(&caller, &path.bucket, key.as_str(), &guard)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The pieces of a body as they come. One that breaks off is an error, not an end.
pub(super) fn pieces(body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    body.into_data_stream().map(|piece| piece.map_err(error::body_cut_off))
}
