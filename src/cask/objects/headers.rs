//! What is said of an object beside its bytes: whether it can be kept and sent again.

use std::collections::BTreeMap;

use crate::cask::error;
use crate::cask::model::PutOptions;
use crate::kernel::{Fault, Result};

/// The most bytes of an object's own headers.
const META_MAX: usize = 8 << 10;
/// The most headers of its own.
const META_COUNT: usize = 64;
/// The headers that may be kept to be sent with an object.
const SENT: [&str; 5] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "expires"];
/// The most tags of an object, and the longest key and value of one, in characters, as S3 has them.
const TAGS: (usize, usize, usize) = (10, 128, 256);

/// Refuses what cannot be kept; the error names every fault.
pub(in crate::cask) fn check_headers(options: &PutOptions) -> Result<()> {
    let mut faults = Vec::new();
    let bad = |text: &str| text.chars().any(char::is_control);
    if let Some(kind) = &options.content_type
        && (kind.len() > 255 || kind.is_empty() || !kind.is_ascii() || bad(kind))
    {
        faults.push(Fault::new("Content-Type", "1 to 255 printable ASCII characters"));
    }
    let size: usize = options.meta.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > META_MAX || options.meta.len() > META_COUNT {
        let most = format!("at most {META_COUNT} headers and {META_MAX} bytes together");
        faults.push(Fault::new("Drip-Meta", most));
    }
    for (name, value) in &options.meta {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let shown: String = name.chars().take(60).collect();
            faults.push(Fault::new(
                format!("Drip-Meta-{shown:?}"),
                "a name has letters, digits, `-`, `_` and `.`",
            ));
        } else if bad(value) {
            faults.push(Fault::new(format!("Drip-Meta-{name}"), "contains a control character"));
        }
    }
    for (name, value) in &options.headers {
        if !SENT.contains(&name.as_str()) {
            faults.push(Fault::new(name, "is no header that is kept with an object"));
        } else if value.len() > 1024 || !value.is_ascii() || bad(value) {
            faults.push(Fault::new(name, "at most 1024 printable ASCII characters"));
        }
    }
    faults.extend(tag_faults(&options.tags));
    if faults.is_empty() { Ok(()) } else { Err(error::bad_meta(faults)) }
}

/// Refuses tags that cannot be kept; the error names every fault.
pub(in crate::cask) fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    let faults = tag_faults(tags);
    if faults.is_empty() { Ok(()) } else { Err(error::bad_meta(faults)) }
}

fn tag_faults(tags: &BTreeMap<String, String>) -> Vec<Fault> {
    let (most, key_most, value_most) = TAGS;
    let mut faults = Vec::new();
    if tags.len() > most {
        faults.push(Fault::new("/tags", format!("at most {most}")));
    }
    for (key, value) in tags {
        let length = key.chars().count();
        if length == 0 || length > key_most || value.chars().count() > value_most {
            let shown: String = key.chars().take(60).collect();
            let why = format!("a key of 1 to {key_most} characters, a value of up to {value_most}");
            faults.push(Fault::new(format!("/tags/{shown:?}"), why));
        }
    }
    faults
}
