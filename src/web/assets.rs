//! The style and the script, built in.

use axum::http::header;
use axum::response::IntoResponse;

use crate::kernel::access::Needs;
use crate::kernel::http::{Routes, get};

const STYLE: &str = include_str!("assets/drip.css");
const SCRIPT: &str = include_str!("assets/docs.js");
const MARK: &str = include_str!("assets/drip.svg");

pub(super) fn routes() -> Routes {
    Routes::new("web")
        .add(get("/assets/drip.css", Needs::Public, style).says("The style of the pages"))
        .add(get("/assets/docs.js", Needs::Public, script).says("Tries calls on the page /docs"))
        .add(get("/assets/drip.svg", Needs::Public, mark).says("The mark"))
        .add(get("/favicon.ico", Needs::Public, mark).says("The mark"))
        .with_state(())
}

const KEPT: (header::HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=600");

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), KEPT], STYLE)
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), KEPT], SCRIPT)
}

async fn mark() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml"), KEPT], MARK)
}
