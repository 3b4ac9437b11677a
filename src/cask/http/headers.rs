//! What the headers of a request ask for, and what those of an answer say.

use std::collections::BTreeMap;
use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::cask::model::{Guard, PutOptions};
use crate::cask::{error, seal};
use crate::kernel::http::text_of;
use crate::kernel::{Digest, Fault, Result, Time};

const META: &str = "drip-meta-";

/// What a `PUT` says of the bytes it brings.
pub(super) fn put_options(headers: &HeaderMap) -> Result<PutOptions> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(PutOptions {
        content_type: text_of(headers, header::CONTENT_TYPE.as_str()).map(str::to_owned),
        meta: meta_of(headers)?,
        sha256: text_of(headers, "drip-sha256").map(Digest::parse).transpose()?,
        md5: text_of(headers, "content-md5").map(seal::parse_md5).transpose()?,
        length,
        guard: guard(headers)?,
        ..PutOptions::default()
    })
}

fn meta_of(headers: &HeaderMap) -> Result<BTreeMap<String, String>> {
    let mut faults = Vec::new();
    let mut meta = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META) else {
            continue;
        };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) if !meta.contains_key(name) => {
                meta.insert(name.to_owned(), text.to_owned());
            }
            Ok(_) => faults.push(Fault::new(format!("Drip-Meta-{name}"), "is there twice")),
            Err(_) => faults.push(Fault::new(format!("Drip-Meta-{name}"), "is not UTF-8")),
        }
    }
    if faults.is_empty() { Ok(meta) } else { Err(error::bad_meta(faults)) }
}

/// What `If-Match` and `If-None-Match` ask of the object that is there.
pub(super) fn guard(headers: &HeaderMap) -> Result<Guard> {
    if let Some(text) = text_of(headers, header::IF_MATCH.as_str()) {
        return Ok(match text.trim() {
            "*" => Guard::Present,
            list => Guard::Digest(etags(list).filter_map(|tag| Digest::parse(tag).ok()).collect()),
        });
    }
    match text_of(headers, header::IF_NONE_MATCH.as_str()).map(str::trim) {
        None => Ok(Guard::None),
        Some("*") => Ok(Guard::Absent),
        Some(_) => Err(error::condition_failed("`If-None-Match` of a write is `*` or nothing")),
    }
}

/// The tags of a list, without quotes and weakness.
fn etags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
    })
}

/// The tag of an object: its digest.
pub(super) fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the reader has these bytes already.
pub(super) fn has_it(headers: &HeaderMap, digest: Digest) -> bool {
    text_of(headers, header::IF_NONE_MATCH.as_str()).is_some_and(|list| {
        list.trim() == "*" || etags(list).any(|tag| Digest::parse(tag).ok() == Some(digest))
    })
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: there is no range, or one that is to be ignored.
    Whole,
    /// A part.
    Part(Range<u64>),
    /// A part that lies behind the end.
    Outside,
}

/// Reads a single range. What is not understood is ignored, as RFC 9110 has it, and so is a range
/// whose `If-Range` names other bytes.
pub(super) fn range(headers: &HeaderMap, size: u64, digest: Digest) -> Wanted {
    let Some(text) = text_of(headers, header::RANGE.as_str()) else {
        return Wanted::Whole;
    };
    let unchanged =
        text_of(headers, header::IF_RANGE.as_str()).is_none_or(|tag| tag.trim() == etag(digest));
    if !unchanged {
        return Wanted::Whole;
    }
    parse_range(text, size).unwrap_or(Wanted::Whole)
}

fn parse_range(text: &str, size: u64) -> Option<Wanted> {
    let (unit, spec) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // More digits than a u64 has is more bytes than there are.
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?;
        let start = size.saturating_sub(suffix);
        return Some(part(start..size));
    }
    let start = number(first)?;
    let end = if last.is_empty() {
        size
    } else {
        let last = number(last)?;
        if last < start {
            return None;
        }
        last.saturating_add(1).min(size)
    };
    Some(part(start..end))
}

fn part(range: Range<u64>) -> Wanted {
    if range.is_empty() { Wanted::Outside } else { Wanted::Part(range) }
}

/// Whether it changed after the time that `name` says; none where no time is said.
pub(super) fn changed_since(headers: &HeaderMap, name: HeaderName, time: Time) -> Option<bool> {
    let said = text_of(headers, name.as_str())?;
    let said = chrono::DateTime::parse_from_rfc2822(&said.replace("GMT", "+0000")).ok()?;
    // The header has no parts of a second.
    Some(time.to_chrono().timestamp() > said.timestamp())
}

/// A time as HTTP writes it.
pub(super) fn http_date(time: Time) -> String {
    time.to_chrono().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The headers that keep a browser from taking what people stored for a page of ours.
pub(super) fn shield(headers: &mut HeaderMap, file: &str) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let name = file.rsplit('/').next().unwrap_or(file);
    let encoded = encode(name);
    let value = format!("attachment; filename*=UTF-8''{encoded}");
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

/// As RFC 8187 has it.
fn encode(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// What was kept in `Drip-Meta-…` headers goes out in them again.
pub(super) fn add_meta(headers: &mut HeaderMap, meta: &BTreeMap<String, String>) {
    for (name, value) in meta {
        let name = HeaderName::try_from(format!("{META}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_headers_are_compared_by_the_second() {
        let time = Time::from(chrono::DateTime::from_timestamp_millis(1_700_000_000_900).unwrap());
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MODIFIED_SINCE, text.parse().unwrap());
            changed_since(&headers, header::IF_MODIFIED_SINCE, time)
        };
        assert_eq!(asked(&http_date(time)), Some(false));
        assert_eq!(asked("Tue, 14 Nov 2023 22:13:19 GMT"), Some(true));
        assert_eq!(asked("yesterday"), None);
        assert_eq!(changed_since(&HeaderMap::new(), header::IF_MODIFIED_SINCE, time), None);
    }

    fn asked(text: &str, size: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, text.parse().unwrap());
        range(&headers, size, Digest([0; 32]))
    }

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(asked("bytes=0-4", 10), Wanted::Part(0..5));
        assert_eq!(asked("bytes=4-", 10), Wanted::Part(4..10));
        assert_eq!(asked("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(asked("bytes=-30", 10), Wanted::Part(0..10));
        assert_eq!(asked("bytes=9-99999999999999999999999", 10), Wanted::Part(9..10));
        assert_eq!(asked("Bytes = 0-0".replace(" = ", "=").as_str(), 10), Wanted::Part(0..1));
    }

    #[test]
    fn ranges_behind_the_end_are_outside_and_nonsense_is_ignored() {
        for outside in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=18446744073709551615-"] {
            assert_eq!(asked(outside, 10), Wanted::Outside, "{outside}");
        }
        assert_eq!(asked("bytes=0-", 0), Wanted::Outside);
        for ignored in [
            "bytes=5-4",
            "bytes=a-b",
            "bytes=-",
            "bytes=+1-2",
            "lines=0-1",
            "bytes=0-1,3-4",
            "bytes",
        ] {
            assert_eq!(asked(ignored, 10), Wanted::Whole, "{ignored}");
        }
    }

    #[test]
    fn a_range_of_other_bytes_is_the_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-1".parse().unwrap());
        let digest = Digest([7; 32]);
        headers.insert(header::IF_RANGE, etag(digest).parse().unwrap());
        assert_eq!(range(&headers, 10, digest), Wanted::Part(0..2));
        assert_eq!(range(&headers, 10, Digest([8; 32])), Wanted::Whole);
    }
}
