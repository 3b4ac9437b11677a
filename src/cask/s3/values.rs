//! Values of ours as S3 writes them, and the other way round.

use std::collections::BTreeMap;

use s3s::dto::{ETag, ETagCondition, Metadata, Owner, Tag, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use crate::cask::model::Guard;
use crate::kernel::Time;

/// The one owner of everything.
pub(super) fn owner() -> Owner {
    Owner { display_name: Some("drip".to_owned()), id: Some("drip".to_owned()) }
}

pub(super) fn time(time: Time) -> Timestamp {
    Timestamp::from(std::time::SystemTime::from(time.to_chrono()))
}

pub(super) fn etag(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// A size as S3 counts it.
pub(super) fn size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What a write asks of the object that is there.
pub(super) fn guard(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Guard> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Guard::None),
        (Some(ETagCondition::Any), None) => Ok(Guard::Present),
        (Some(ETagCondition::ETag(tag)), None) => Ok(Guard::Tag(vec![tag.value().to_owned()])),
        (None, Some(ETagCondition::Any)) => Ok(Guard::Absent),
        _ => Err(s3_error!(
            NotImplemented,
            "a write takes If-Match with a tag or If-None-Match with *, and not both"
        )),
    }
}

/// The conditions of a read.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the headers are called so")]
pub(super) struct Conditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    /// Whether an object may be read under them; `not_modified` is what is answered to whoever has it
    /// already. RFC 9110, section 13.2.2: tags, where they are sent, go before times.
    pub(super) fn check(
        &self,
        tag: &str,
        changed: Time,
        not_modified: fn() -> s3s::S3Error,
    ) -> S3Result<()> {
        let is_it = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(asked) => asked.value() == tag,
        };
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !is_it(condition) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if is_after(changed, since) => {
                return Err(s3_error!(PreconditionFailed));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if is_it(condition) => Err(not_modified()),
            (None, Some(since)) if !is_after(changed, since) => Err(not_modified()),
            _ => Ok(()),
        }
    }
}

/// Whether a time lies after one that a header says, which has no parts of a second.
fn is_after(time: Time, said: &Timestamp) -> bool {
    let mut text = Vec::new();
    let seconds = match said.format(TimestampFormat::EpochSeconds, &mut text) {
        Ok(()) => std::str::from_utf8(&text).ok(),
        Err(_odd) => None,
    };
    let whole = seconds.and_then(|text| text.split('.').next()?.parse::<i64>().ok());
    whole.is_none_or(|said| time.to_chrono().timestamp() > said)
}

pub(super) fn meta_of(metadata: Option<Metadata>) -> BTreeMap<String, String> {
    metadata.unwrap_or_default().into_iter().collect()
}

/// `expires` as the header says it.
pub(super) fn expires_text(expires: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    expires.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

pub(super) fn parse_expires(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

/// Tags as a header has them: `a=1&b=2`, encoded as in a query.
pub(super) fn tags_of_header(text: &str) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (decoded(key), decoded(value)) else {
            return Err(s3_error!(InvalidArgument, "x-amz-tagging is not encoded as a query is"));
        };
        if tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "a tag is there twice"));
        }
    }
    Ok(tags)
}

/// Tags as a document has them.
pub(super) fn tags_of_set(set: Vec<Tag>) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in set {
        let key = tag.key.unwrap_or_default();
        if tags.insert(key, tag.value.unwrap_or_default()).is_some() {
            return Err(s3_error!(InvalidTag, "a tag is there twice"));
        }
    }
    Ok(tags)
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A key as lists write it for whoever asks for `encoding-type=url`.
pub(super) fn encoded(text: &str, is_asked: bool) -> String {
    use std::fmt::Write as _;
    if !is_asked {
        return text.to_owned();
    }
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The numbers of pages: at most a thousand entries, as S3 has it.
pub(super) fn page(wanted: Option<i32>, what: &str) -> S3Result<usize> {
    match usize::try_from(wanted.unwrap_or(1000)) {
        Ok(wanted) => Ok(wanted.min(1000)),
        Err(_negative) => Err(s3_error!(InvalidArgument, "{what} is negative")),
    }
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header_are_decoded() {
        let tags = tags_of_header("site=XJJX&note=a%20b+c&empty=&%E9%A3%8E=1").unwrap();
        let pair = |key: &str| tags.get(key).map(String::as_str);
        assert_eq!((pair("site"), pair("note")), (Some("XJJX"), Some("a b c")));
        assert_eq!((pair("empty"), pair("风")), (Some(""), Some("1")));
        assert!(tags_of_header("a=1&a=2").is_err());
        assert!(tags_of_header("a=%zz").is_err());
        assert!(tags_of_header("a=%E9").is_err());
    }

    #[test]
    fn keys_are_encoded_for_who_asks() {
        assert_eq!(encoded("a b+c%/风", true), "a%20b%2Bc%25/%E9%A3%8E");
        assert_eq!(encoded("a b", false), "a b");
    }
}
