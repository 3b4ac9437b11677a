//! What is on disk remembers where it came from. A [`Versioned`] type names its marker and the type
//! it replaced; [`decode`] tries the newest and walks back, migrating forward again.
//!
//! A value is `marker (1 byte length + text) | bincode`. bincode is not self-describing, so a field
//! is never added to a type that was released: the type is copied, given a new marker, and the old
//! one becomes its `Previous`.

use bincode::config::{Configuration, standard};
use bincode::{Decode, Encode};

use super::error::{Error, Kind, Result};

const CONFIG: Configuration = standard();

/// A type that is kept on disk.
pub trait Versioned: Encode + Decode<()> + Sized {
    /// What stands in front of the bytes: `card.v1`.
    const MARKER: &'static str;
    /// The type that this one replaced, or [`Nothing`].
    type Previous: Earlier<Self>;
}

/// What came before a [`Versioned`] type: another one, or [`Nothing`].
pub trait Earlier<Newer> {
    /// Reads `bytes` if `marker` is this type's or an earlier one's, and brings it up to date.
    fn read(marker: &str, bytes: &[u8]) -> Result<Option<Newer>>;
}

/// The end of the line: there was no earlier type.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl<Newer> Earlier<Newer> for Nothing {
    fn read(_marker: &str, _bytes: &[u8]) -> Result<Option<Newer>> {
        Ok(None)
    }
}

impl<Newer, Old> Earlier<Newer> for Old
where
    Old: Versioned + Into<Newer>,
{
    fn read(marker: &str, bytes: &[u8]) -> Result<Option<Newer>> {
        if marker == Old::MARKER {
            return body::<Old>(bytes).map(|old| Some(old.into()));
        }
        Ok(Old::Previous::read(marker, bytes)?.map(Into::into))
    }
}

/// Writes `value` behind its marker.
pub fn encode<T: Versioned>(value: &T) -> Result<Vec<u8>> {
    let marker = T::MARKER.as_bytes();
    let length = u8::try_from(marker.len())
        .map_err(|_long| Error::internal(format!("the marker {} is too long", T::MARKER)))?;
    let mut bytes = Vec::with_capacity(64);
    bytes.push(length);
    bytes.extend_from_slice(marker);
    bincode::encode_into_std_write(value, &mut bytes, CONFIG)
        .map_err(|source| Error::internal(format!("encode {}: {source}", T::MARKER)))?;
    Ok(bytes)
}

/// Reads what [`encode`] wrote, now or in an earlier release.
pub fn decode<T: Versioned>(bytes: &[u8]) -> Result<T> {
    let (marker, rest) = split(bytes)?;
    if marker == T::MARKER {
        return body(rest);
    }
    T::Previous::read(marker, rest)?.ok_or_else(|| {
        Error::new(
            Kind::Newer,
            "unknown_format",
            format!("found `{marker}` where `{}` or older was expected: was it written by a newer Drip?", T::MARKER),
        )
    })
}

fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
    bytes
        .split_first()
        .and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)))
        .and_then(|(marker, rest)| Some((std::str::from_utf8(marker).ok()?, rest)))
        .ok_or_else(|| damaged("the format marker is missing"))
}

fn body<T: Versioned>(bytes: &[u8]) -> Result<T> {
    let (value, used) = bincode::decode_from_slice::<T, _>(bytes, CONFIG)
        .map_err(|source| damaged(&format!("{}: {source}", T::MARKER)))?;
    if used == bytes.len() {
        Ok(value)
    } else {
        Err(damaged(&format!("{}: {} bytes too many", T::MARKER, bytes.len() - used)))
    }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Internal, "damaged_record", format!("a record is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct CardV1 {
        name: String,
    }
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct CardV2 {
        name: String,
        stage: String,
    }
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct CardV3 {
        name: String,
        stage: String,
        revision: u64,
    }
    impl Versioned for CardV1 {
        const MARKER: &'static str = "t.v1";
        type Previous = Nothing;
    }
    impl Versioned for CardV2 {
        const MARKER: &'static str = "t.v2";
        type Previous = CardV1;
    }
    impl Versioned for CardV3 {
        const MARKER: &'static str = "t.v3";
        type Previous = CardV2;
    }
    impl From<CardV1> for CardV2 {
        fn from(old: CardV1) -> Self {
            Self { name: old.name, stage: "experiment".into() }
        }
    }
    impl From<CardV2> for CardV3 {
        fn from(old: CardV2) -> Self {
            Self { name: old.name, stage: old.stage, revision: 1 }
        }
    }

    #[test]
    fn an_old_value_is_brought_up_to_date_over_every_step() {
        let old = encode(&CardV1 { name: "a".into() }).unwrap();
        let new: CardV3 = decode(&old).unwrap();
        assert_eq!(new, CardV3 { name: "a".into(), stage: "experiment".into(), revision: 1 });
    }

    #[test]
    fn a_newer_value_is_refused_by_name_and_damage_is_told() {
        let newer = encode(&CardV3 { name: "a".into(), stage: "b".into(), revision: 2 }).unwrap();
        assert_eq!(decode::<CardV2>(&newer).unwrap_err().kind(), Kind::Newer);
        for cut in 0..newer.len() {
            assert!(decode::<CardV3>(&newer[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = newer.clone();
        longer.push(0);
        assert_eq!(decode::<CardV3>(&longer).unwrap_err().code(), "damaged_record");
    }
}
