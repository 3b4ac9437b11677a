//! Names that people give: checked once, when they come in, so that nothing behind the door has to
//! ask again. User names never become file names; the rules keep them printable and unambiguous.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::error::{Error, Fault, Kind, Result};

/// The longest name, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 255;
/// The longest object key, in bytes of UTF-8, as S3 has it.
pub const KEY_MAX_BYTES: usize = 1024;

/// One name: a card, a version, a bucket, a stream, a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Checks `text` and brings it into NFC. The error names every fault.
    pub fn new(text: &str) -> Result<Self> {
        let mut wrong = segment_faults(text);
        if text.contains('/') {
            wrong.push("contains `/`");
        }
        if text.len() > NAME_MAX_BYTES {
            wrong.push("is longer than 255 bytes");
        }
        refuse("bad_name", "name", text, &wrong)?;
        Ok(Self(to_nfc(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key of an object: names joined by `/`, as in `wind/2014/model.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks every segment of `text`. Keys are kept byte for byte, as S3 clients expect: they are
    /// not brought into NFC, so what was put is what is listed.
    pub fn new(text: &str) -> Result<Self> {
        let mut wrong = Vec::new();
        if text.is_empty() {
            wrong.push("is empty");
        }
        if text.len() > KEY_MAX_BYTES {
            wrong.push("is longer than 1024 bytes");
        }
        if text.chars().any(char::is_control) {
            wrong.push("contains a control character");
        }
        if text.split('/').any(|segment| segment == "." || segment == "..") {
            wrong.push("has a segment `.` or `..`");
        }
        if text.starts_with('/') {
            wrong.push("starts with `/`");
        }
        refuse("bad_key", "key", text, &wrong)?;
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn segment_faults(text: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if text.trim().is_empty() {
        wrong.push("is empty");
    }
    if text.trim() != text {
        wrong.push("starts or ends with a space");
    }
    if text.starts_with('.') {
        wrong.push("starts with a dot");
    }
    if text.contains('\\') {
        wrong.push("contains `\\`");
    }
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        wrong.push("contains a control or an invisible character");
    }
    wrong
}

/// Characters that show nothing or turn the reading order: two names that look alike must be alike.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

fn to_nfc(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

fn refuse(code: &'static str, what: &str, text: &str, wrong: &[&str]) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    let shown: String = text.chars().take(60).collect();
    let detail = format!("the {what} {shown:?} {}", wrong.join(" and "));
    let faults = wrong.iter().map(|why| Fault::new(format!("/{what}"), *why)).collect::<Vec<_>>();
    Err(Error::new(Kind::Invalid, code, detail).with_faults(faults))
}

macro_rules! text_type {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
text_type!(Name);
text_type!(ObjectKey);

/// The SHA-256 of some bytes, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits, in either case.
    pub fn parse(text: &str) -> Result<Self> {
        let bad =
            || Error::new(Kind::Malformed, "bad_digest", "a SHA-256 is 64 hexadecimal digits");
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            return Err(bad());
        }
        let mut out = [0_u8; 32];
        for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            let digit =
                |at: usize| pair.get(at).and_then(|c| char::from(*c).to_digit(16)).ok_or_else(bad);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_over| bad())?;
        }
        Ok(Self(out))
    }

    /// The 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// A new id: UUIDv7, so ids sort by the time they were made.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The known word nearest to a mistyped one, if one is near enough to suggest.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass_in_every_script() {
        for good in ["scada", "LSTM-v2", "GBDT_功率预测", "wind power", "1.2.0", "a%b", "-x"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        assert_eq!(Name::new("e\u{301}").unwrap().as_str(), "é");
    }

    #[test]
    fn bad_names_are_refused_with_every_reason() {
        for bad in
            ["", " ", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", ".hidden", " a", "a\u{202E}b"]
        {
            assert_eq!(Name::new(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        assert!(Name::new(&"x".repeat(10_000)).is_err());
        assert_eq!(Name::new("../\n").unwrap_err().faults().len(), 4);
    }

    #[test]
    fn keys_keep_their_slashes_and_refuse_escapes() {
        assert!(ObjectKey::new("wind/2014/model.json").is_ok());
        for bad in ["", "/abs", "a/../b", "./a", "a/\u{7}", &"k".repeat(1025)] {
            assert!(ObjectKey::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn digests_read_what_they_write() {
        let digest = Digest::of(b"drip");
        assert_eq!(Digest::parse(&digest.to_hex()).unwrap(), digest);
        assert!(Digest::parse("zz").is_err());
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("lisen", ["listen", "data"]), Some("listen"));
        assert_eq!(nearest("colour", ["listen", "data"]), None);
    }
}
