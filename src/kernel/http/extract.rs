//! What handlers take from a request. A fault becomes a problem document, never a line of text.

use std::any::TypeId;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{
    FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Query, Request,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::routes::unauthenticated;
use super::strict;
use crate::kernel::access::Caller;
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::feed::Idempotency;
use crate::kernel::name::Digest;

/// The most items of a page.
pub const LIMIT_MAX: usize = 1000;
/// The items of a page, unless told otherwise.
pub const LIMIT_DEFAULT: usize = 50;

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unauthenticated)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// The parts of the path.
#[derive(Debug, Clone)]
pub struct Parted<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parted<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let rejected =
            match <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await {
                Ok(Path(path)) => return Ok(Self(path)),
                Err(rejected) => rejected.body_text(),
            };
        let why = rejected.trim_start_matches("Invalid URL: ").replace('\n', " ");
        Err(Error::invalid("bad_path", why.clone(), vec![Fault::new("path", why)]))
    }
}

/// The parameters after the `?`.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let rejected = match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => return Ok(Self(params)),
            Err(rejected) => rejected.body_text(),
        };
        let why = rejected.trim_start_matches("Failed to deserialize query string: ").to_owned();
        Err(Error::invalid("bad_query", why.clone(), vec![Fault::new("query", why)]))
    }
}

/// The whole body, within the limit that the server sets.
#[derive(Debug, Clone)]
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejected| cut_off(&rejected))
    }
}

fn cut_off(rejected: &BytesRejection) -> Error {
    if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Error::new(
            Kind::TooLarge,
            "body_too_large",
            "the body is larger than this call takes; `server.max_body` sets the limit",
        );
    }
    Error::new(Kind::Malformed, "body_cut_off", "the body ended before it was complete")
}

/// A body of JSON.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Whole(bytes) = Whole::from_request(request, state).await?;
        parse_json(&bytes).map(Self)
    }
}

/// Reads JSON; an error tells the line and column, or every field that is wrong.
pub fn parse_json<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
    // Anything fits a `Value`: whoever asks for one looks at its fields itself.
    if TypeId::of::<T>() != TypeId::of::<Value>() {
        let body = serde_json::from_slice(bytes).map_err(|error| bad_json(&error))?;
        let faults = strict::faults::<T>(&body);
        if !faults.is_empty() {
            return Err(misfit(faults));
        }
    }
    serde_json::from_slice(bytes).map_err(|error| bad_json(&error))
}

fn misfit(faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [only] if only.pointer.is_empty() => format!("the body {}", only.detail),
        [only] => format!("`{}` of the body {}", only.pointer, only.detail),
        _ => format!("the body has {} faults", faults.len()),
    };
    Error::invalid("bad_body", detail, faults)
}

fn bad_json(error: &serde_json::Error) -> Error {
    let at = format!("line {}, column {}", error.line(), error.column());
    if error.is_data() {
        // What is left then is a field that is given twice.
        return misfit(vec![Fault::new("", format!("does not fit: {error}"))]);
    }
    Error::new(Kind::Malformed, "bad_json", format!("the body is not JSON: {error}"))
        .with_faults([Fault::new(at, error.to_string())])
}

/// Where a page of a list starts and how long it is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PageParams {
    /// At most so many items.
    #[serde(default, deserialize_with = "text_or_number")]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// `serde_urlencoded` gives text inside a flattened struct and numbers elsewhere.
fn text_or_number<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Either>::deserialize(from)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    }))
}

impl PageParams {
    /// How many items, checked.
    pub fn limit(&self) -> Result<usize> {
        let Some(text) = &self.limit else {
            return Ok(LIMIT_DEFAULT);
        };
        match text.parse::<usize>() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => Err(Error::invalid(
                "bad_limit",
                format!("`limit` is a number from 1 to {LIMIT_MAX}, not `{text}`"),
                vec![Fault::new("limit", format!("1 to {LIMIT_MAX}"))],
            )),
        }
    }

    /// The key after which the page starts.
    pub fn after(&self) -> Result<Option<String>> {
        self.cursor.as_deref().filter(|text| !text.is_empty()).map(open_cursor).transpose()
    }
}

/// Wraps a key into a cursor that clients hand back and do not look into.
pub fn seal_cursor(key: &str) -> String {
    let check = Digest::of(key.as_bytes());
    let bytes = [check.0.get(..4).unwrap_or_default(), key.as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open_cursor(text: &str) -> Result<String> {
    let made_up = || {
        Error::new(
            Kind::Malformed,
            "bad_cursor",
            "this cursor is none that was given out: use `next_cursor` of the page before",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_bad| made_up())?;
    let (check, key) = bytes.split_at_checked(4).ok_or_else(made_up)?;
    if Digest::of(key).0.get(..4) != Some(check) {
        return Err(made_up());
    }
    String::from_utf8(key.to_vec()).map_err(|_bad| made_up())
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The items.
    // Inline: nothing else would bring the shape of `T` into the API's description.
    #[schema(inline)]
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; none at the end.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that is complete.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// A page from up to `limit + 1` found items: the extra one tells that there are more. `key`
    /// gives the key after which the next page starts.
    pub fn page(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor =
            if more { items.last().map(|item| seal_cursor(&key(item))) } else { None };
        Self { items, next_cursor }
    }
}

/// The revision that `If-Match` asks for, and whether `If-None-Match: *` asks for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Only when the current revision is this one.
    pub revision: Option<u64>,
    /// Only when there is none yet.
    pub create_only: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let revision = match text_of(&parts.headers, header::IF_MATCH.as_str()) {
            None | Some("*") => None,
            Some(text) => Some(parse_etag(text)?),
        };
        let create_only = text_of(&parts.headers, header::IF_NONE_MATCH.as_str()) == Some("*");
        Ok(Self { revision, create_only })
    }
}

fn parse_etag(text: &str) -> Result<u64> {
    text.trim().trim_matches('"').parse().map_err(|_bad| {
        Error::new(
            Kind::Stale,
            "bad_if_match",
            format!("`If-Match: {text}` names no revision: send the ETag that GET answered"),
        )
    })
}

/// The value of a header, if it is there and is text.
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The retry key of a request, if it sent one. Bound to the caller, the path and the body.
pub fn idempotency(
    headers: &HeaderMap,
    caller: &Caller,
    path: &str,
    body: &[u8],
) -> Result<Option<Idempotency>> {
    let Some(key) = text_of(headers, "idempotency-key") else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 {
        return Err(Error::invalid(
            "bad_idempotency_key",
            "an Idempotency-Key has 1 to 255 characters",
            vec![Fault::new("Idempotency-Key", "1 to 255 characters")],
        ));
    }
    let request = Digest::of(&[path.as_bytes(), b"\n", body].concat());
    Ok(Some(Idempotency { key: format!("{}\n{path}\n{key}", caller.name), request }))
}

/// An `ETag` header for a revision.
pub fn etag(revision: u64) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{revision}\""))]
}

/// The id of a request: in its log lines, its answer and its problem document.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_both_ways_and_a_made_up_one_is_refused() {
        let page = |cursor: &str| PageParams { limit: None, cursor: Some(cursor.into()) };
        let sealed = seal_cursor("card/model/风电");
        assert_eq!(page(&sealed).after().unwrap().as_deref(), Some("card/model/风电"));
        for made_up in ["x", "AAAAAAAA", "中文", "!!!!"] {
            assert_eq!(page(made_up).after().unwrap_err().code(), "bad_cursor");
        }
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        let page = |limit: &str| PageParams { limit: Some(limit.into()), cursor: None };
        assert_eq!(page("1000").limit().unwrap(), 1000);
        for wrong in ["0", "1001", "-1", "ten", ""] {
            assert_eq!(page(wrong).limit().unwrap_err().code(), "bad_limit");
        }
    }

    #[test]
    fn json_faults_are_placed() {
        #[derive(Debug, Deserialize)]
        struct Card {
            #[expect(dead_code, reason = "only its type matters here")]
            labels: std::collections::BTreeMap<String, String>,
        }
        let broken = parse_json::<Card>(b"{\"labels\": {").unwrap_err();
        assert_eq!((broken.kind(), broken.code()), (Kind::Malformed, "bad_json"));
        let wrong = parse_json::<Card>(br#"{"labels": {"a": 1}}"#).unwrap_err();
        assert_eq!(wrong.faults()[0].pointer, "/labels/a");
        assert_eq!(parse_json::<Card>(b"[{}]").unwrap_err().faults()[0].pointer, "");
        let twice = parse_json::<Card>(br#"{"labels": {}, "labels": {}}"#).unwrap_err();
        assert_eq!(twice.code(), "bad_body");
        assert!(parse_json::<Card>(br#"{"labels": {}} x"#).is_err());
    }
}
