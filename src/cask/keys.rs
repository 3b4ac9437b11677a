//! The pairs of keys that S3 clients sign their requests with. One pair may stand in `drip.toml`;
//! further ones are made and taken back by the admin.
//!
//! A signature can only be checked by whoever knows the secret, so the secret is kept as it is, in
//! the data folder that only the daemon's account may read.

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use super::format::KeyRow;
use super::store::Found;
use super::{Cask, error};
use crate::kernel::access::Caller;
use crate::kernel::config::Secret;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Scan};
use crate::kernel::{Error, Fault, Result, Time};

/// What shall be made.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The access key; one is made up unless it is given: 3 to 64 letters, digits, `-`, `_`, `.`.
    #[serde(default)]
    pub access_key: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub note: String,
    /// Whether it may only read.
    #[serde(default)]
    pub read_only: bool,
}

/// A pair of keys, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct KeyInfo {
    /// The access key.
    pub access_key: String,
    /// What it is for.
    pub note: String,
    /// Whether it may only read.
    pub read_only: bool,
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// By whom.
    pub created_by: String,
}

/// A pair of keys that was just made. The secret is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct MadeKey {
    /// The pair.
    #[serde(flatten)]
    pub key: KeyInfo,
    /// The secret key.
    pub secret_key: String,
}

/// What a signature is checked with, and what its owner may do.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The secret key.
    pub secret: Secret,
    /// Whether it may write.
    pub writes: bool,
}

fn row_key(access_key: &str) -> String {
    format!("key/{access_key}")
}

impl Cask {
    /// Makes a pair of keys.
    pub fn make_key(&self, caller: &Caller, new: NewKey) -> Result<MadeKey> {
        let access_key = match new.access_key {
            Some(given) => checked(given)?,
            None => format!("DRIP{}", random(12)?.to_ascii_uppercase().replace(['-', '_'], "X")),
        };
        if new.note.len() > 255 || new.note.chars().any(char::is_control) {
            let fault = Fault::new("/note", "at most 255 bytes, without control characters");
            return Err(Error::invalid("bad_note", "the note cannot be kept", vec![fault]));
        }
        let row = KeyRow {
            secret: random(30)?,
            note: new.note,
            writes: !new.read_only,
            created_at: self.inner.now(),
            created_by: caller.name.clone(),
        };
        let set = ChangeSet::new().put(row_key(&access_key), Expect::Absent, encode(&row)?);
        let set = self.inner.audit(set, caller, "s3_key.make", &access_key)?;
        self.inner.records.apply(set).map_err(|error| match error.code() {
            "row_exists" => error::key_exists(&access_key),
            _ => error,
        })?;
        let secret_key = row.secret.clone();
        Ok(MadeKey { key: info(access_key, row), secret_key })
    }

    /// All pairs that were made, in order of their access keys.
    pub fn keys(&self) -> Result<Vec<KeyInfo>> {
        let rows = self.inner.records.scan(&Scan::prefix("key/"))?;
        let name = |key: &str| key.trim_start_matches("key/").to_owned();
        rows.iter().map(|row| Ok(info(name(&row.key), decode(&row.value)?))).collect()
    }

    /// Takes a pair back: what is signed with it is refused from now on.
    pub fn delete_key(&self, caller: &Caller, access_key: &str) -> Result<()> {
        let set = ChangeSet::new().delete(row_key(access_key), Expect::Present);
        let set = self.inner.audit(set, caller, "s3_key.delete", access_key)?;
        self.inner.records.apply(set).map(drop).map_err(|error| match error.code() {
            "row_missing" => error::key_not_found(access_key),
            _ => error,
        })
    }

    /// What the signatures of an access key are checked with.
    pub fn signer(&self, access_key: &str) -> Result<Option<Signer>> {
        let found: Option<Found<KeyRow>> = self.inner.find(&row_key(access_key))?;
        Ok(found.map(|found| Signer {
            secret: Secret::new(found.row.secret),
            writes: found.row.writes,
        }))
    }
}

fn info(access_key: String, row: KeyRow) -> KeyInfo {
    KeyInfo {
        access_key,
        note: row.note,
        read_only: !row.writes,
        created_at: row.created_at,
        created_by: row.created_by,
    }
}

fn checked(access_key: String) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (3..=64).contains(&access_key.len()) && access_key.chars().all(plain) {
        return Ok(access_key);
    }
    let why = "3 to 64 letters, digits, `-`, `_` and `.`";
    let detail = format!("an access key has {why}");
    Err(Error::invalid("bad_access_key", detail, vec![Fault::new("/access_key", why)]))
}

/// So many random bytes as text.
fn random(bytes: usize) -> Result<String> {
    let mut random = vec![0_u8; bytes];
    getrandom::fill(&mut random)
        .map_err(|source| Error::internal(format!("no random bytes: {source}")))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}
