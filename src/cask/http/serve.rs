//! Answering with bytes: whole, in part, or not again.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::headers::{
    Wanted, add_meta, changed_since, etag, guard, has_it, http_date, range, shield,
};
use crate::cask::error;
use crate::cask::model::{Guard, ObjectInfo, PackageInfo};
use crate::cask::package::{MEDIA_TYPE, file_name};
use crate::cask::reading::Opened;
use crate::kernel::{Digest, Error, Result, Time};

/// What an answer with bytes says of them.
pub(super) struct Face {
    file: String,
    content_type: String,
    digest: Digest,
    modified: Time,
    meta: std::collections::BTreeMap<String, String>,
}

impl From<&ObjectInfo> for Face {
    fn from(object: &ObjectInfo) -> Self {
        Self {
            file: object.key.clone(),
            content_type: object.content_type.clone(),
            digest: object.sha256,
            modified: object.updated_at,
            meta: object.meta.clone(),
        }
    }
}

impl From<&PackageInfo> for Face {
    fn from(package: &PackageInfo) -> Self {
        Self {
            file: file_name(&package.item.name, &package.item.version),
            content_type: MEDIA_TYPE.to_owned(),
            digest: package.item.sha256,
            modified: package.item.pushed_at,
            meta: std::collections::BTreeMap::new(),
        }
    }
}

/// Answers a `GET` or `HEAD` for something that was found.
pub(super) fn serve<T>(
    method: &Method,
    asked: &HeaderMap,
    face: Face,
    found: Opened<T>,
) -> Result<Response> {
    if let Guard::Digest(any) = if_match(asked)?
        && !any.contains(&face.digest)
    {
        return Err(error::condition_failed("the object has other bytes by now"));
    }
    let unmodified_since = header::IF_UNMODIFIED_SINCE;
    // RFC 9110, section 13.2.2: tags, where they are sent, go before times.
    if !asked.contains_key(header::IF_MATCH)
        && changed_since(asked, unmodified_since, face.modified) == Some(true)
    {
        return Err(error::condition_failed("the object has changed since"));
    }
    let size = found.size();
    let mut headers = face.headers()?;
    let is_known = if asked.contains_key(header::IF_NONE_MATCH) {
        has_it(asked, face.digest)
    } else {
        changed_since(asked, header::IF_MODIFIED_SINCE, face.modified) == Some(false)
    };
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let wanted =
        if method == Method::HEAD { Wanted::Whole } else { range(asked, size, face.digest) };
    let (status, part) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0..size),
        Wanted::Outside => return Ok(outside(size)),
        Wanted::Part(part) => {
            let said = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            headers.insert(header::CONTENT_RANGE, value(&said)?);
            (StatusCode::PARTIAL_CONTENT, part)
        }
    };
    let length = part.end.saturating_sub(part.start);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::from_stream(found.stream(part)) };
    Ok((status, headers, body).into_response())
}

/// Only `If-Match` guards a read; `If-None-Match` asks whether to send it at all.
fn if_match(asked: &HeaderMap) -> Result<Guard> {
    if asked.contains_key(header::IF_MATCH) { guard(asked) } else { Ok(Guard::None) }
}

fn outside(size: u64) -> Response {
    let mut response = error::range_outside(size).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

impl Face {
    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value(&self.content_type)?);
        headers.insert(header::ETAG, value(&etag(self.digest))?);
        headers.insert("drip-sha256", value(&self.digest.to_hex())?);
        headers.insert(header::LAST_MODIFIED, value(&http_date(self.modified))?);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        shield(&mut headers, &self.file);
        add_meta(&mut headers, &self.meta);
        Ok(headers)
    }
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|source| Error::internal(format!("a header {text:?}: {source}")))
}
