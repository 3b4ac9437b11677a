//! The pairs of keys of S3 clients, over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use crate::cask::Cask;
use crate::cask::keys::NewKey;
use crate::kernel::Result;
use crate::kernel::access::Caller;
use crate::kernel::http::{JsonBody, List, Parted, off_thread};

pub(super) async fn list(State(cask): State<Cask>) -> Result<impl IntoResponse> {
    Ok(Json(List::whole(off_thread(move || cask.keys()).await?)))
}

pub(super) async fn make(
    State(cask): State<Cask>,
    caller: Caller,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<impl IntoResponse> {
    let made = off_thread(move || cask.make_key(&caller, new)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

pub(super) async fn delete(
    State(cask): State<Cask>,
    caller: Caller,
    Parted(access_key): Parted<String>,
) -> Result<impl IntoResponse> {
    off_thread(move || cask.delete_key(&caller, &access_key)).await?;
    Ok(StatusCode::NO_CONTENT)
}
