//! The settings of cask.

use std::path::PathBuf;
use std::time::Duration;

use crate::kernel::Result;
use crate::kernel::blobs::Blobs;
#[cfg(feature = "s3-store")]
use crate::kernel::blobs::S3Place;
use crate::kernel::config::{Key, KeyKind, Rule, Secret, Settings};
#[cfg(not(feature = "s3-store"))]
use crate::kernel::{Error, Kind};

/// What `drip.toml` may say under `[cask]`.
pub const KEYS: &[Key] = &[
    Key::new(
        "cask.tidy_every",
        KeyKind::Duration,
        r#""10m""#,
        "How often expired objects and unnamed chunks are looked for.",
    )
    .must(Rule::Between(1000, 30 * 24 * 3_600_000)),
    Key::new(
        "cask.grace",
        KeyKind::Duration,
        r#""1h""#,
        "How long a chunk that nothing names is kept, for uploads under way.",
    )
    .must(Rule::Between(60_000, 365 * 24 * 3_600_000)),
    Key::secret(
        "cask.records",
        "Where the records are kept, when not in the data folder: \"mongodb://user:password@host/database\".",
    ),
    Key::optional(
        "cask.blobs",
        KeyKind::Text,
        "Where the bytes are kept, when not in the data folder: \"s3://bucket/prefix\" of any S3 store.",
    ),
    Key::optional(
        "cask.store.endpoint",
        KeyKind::Text,
        "The address of that S3 store, such as \"http://127.0.0.1:9000\"; Amazon's unless it is set.",
    ),
    Key::new(
        "cask.store.region",
        KeyKind::Text,
        r#""us-east-1""#,
        "The region that requests to it are signed for.",
    ),
    Key::optional(
        "cask.store.access_key",
        KeyKind::Text,
        "The access key; AWS_ACCESS_KEY_ID unless it is set.",
    ),
    Key::secret("cask.store.secret_key", "The secret key; AWS_SECRET_ACCESS_KEY unless it is set."),
    Key::new(
        "cask.store.timeout",
        KeyKind::Duration,
        r#""30s""#,
        "How long one request to it may take, with all its bytes.",
    )
    .must(Rule::Between(1000, 3_600_000)),
    Key::optional(
        "cask.s3.listen",
        KeyKind::Text,
        "Where S3 clients find the same objects, such as \"127.0.0.1:9000\"; nowhere unless it is set.",
    )
    .must(Rule::Address),
    Key::optional(
        "cask.s3.access_key",
        KeyKind::Text,
        "The access key that S3 clients sign with; `dripctl cask key add` makes further ones.",
    ),
    Key::secret("cask.s3.secret_key", "The secret key that belongs to it."),
];

/// The settings, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How often [`Cask::tidy`](super::Cask::tidy) is due.
    pub tidy_every: Duration,
    /// The grace period to give it.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { tidy_every: Duration::from_mins(10), grace: Duration::from_hours(1) }
    }
}

/// Where rows and bytes are kept.
#[derive(Debug, Clone, Default)]
pub struct Stores {
    /// The URL of the store for the records; none for one in the data folder.
    pub records: Option<Secret>,
    /// The S3 store for the bytes; none for the data folder.
    #[cfg(feature = "s3-store")]
    pub blobs: Option<S3Place>,
}

impl Stores {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        let records = settings.given("cask.records", Settings::secret)?.cloned();
        let blobs = settings.given("cask.blobs", Settings::text)?;
        if records.is_some() && blobs.is_none() {
            tracing::warn!(
                "cask.records is shared and cask.blobs is not: other daemons on these records will not find the bytes"
            );
        }
        #[cfg(not(feature = "s3-store"))]
        if let Some(url) = blobs {
            let detail = format!("cask.blobs = `{url}`, and this build leaves S3 stores out");
            return Err(Error::new(Kind::Config, "s3_store_not_built", detail));
        }
        Ok(Self {
            records,
            #[cfg(feature = "s3-store")]
            blobs: blobs.map(|url| s3_place(url, settings)).transpose()?,
        })
    }
}

impl Stores {
    /// Opens the store of the bytes; `folder` is asked for one in the data folder.
    pub fn open_blobs(&self, folder: impl FnOnce() -> Result<PathBuf>) -> Result<Blobs> {
        #[cfg(feature = "s3-store")]
        if let Some(place) = &self.blobs {
            return Blobs::s3(place);
        }
        Blobs::folder(&folder()?)
    }
}

#[cfg(feature = "s3-store")]
fn s3_place(url: &str, settings: &Settings) -> Result<S3Place> {
    let text = |key: &str| -> Result<Option<String>> {
        Ok(settings.given(key, Settings::text)?.map(str::to_owned))
    };
    Ok(S3Place {
        url: url.to_owned(),
        endpoint: text("cask.store.endpoint")?,
        region: settings.text("cask.store.region")?.to_owned(),
        access_key: text("cask.store.access_key")?,
        secret_key: settings.given("cask.store.secret_key", Settings::secret)?.cloned(),
        timeout: settings.duration("cask.store.timeout")?,
    })
}

impl Config {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            tidy_every: settings.duration("cask.tidy_every")?,
            grace: settings.duration("cask.grace")?,
        })
    }
}
