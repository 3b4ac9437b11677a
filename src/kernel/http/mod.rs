//! HTTP, said once: problem documents, what handlers take, and the table that builds the router.

mod extract;
mod problem;
mod routes;
mod strict;

pub use extract::{
    Conditions, JsonBody, LIMIT_DEFAULT, LIMIT_MAX, List, PageParams, Params, Parted, RequestId,
    Whole, etag, idempotency, parse_json, seal_cursor, text_of,
};
pub use problem::{PROBLEM_JSON, Problem};
pub use routes::{Route, RouteInfo, Routes, delete, get, post, put, unauthenticated};

pub use super::work::off_thread;
