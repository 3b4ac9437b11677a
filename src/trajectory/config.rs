//! How a log is set up.

use std::time::Duration;

use crate::kernel::config::{Key, KeyKind, Rule, Secret, Settings};
use crate::kernel::error::Result;

/// The settings of this module.
pub const KEYS: &[Key] = &[
    Key::secret(
        "trajectory.records",
        "Where the settings of streams are kept, when not in the data folder.",
    ),
    Key::secret(
        "trajectory.forward",
        "The MongoDB that streams are forwarded to, such as \"mongodb://drip:secret@db:27017/drip\"; each stream names its collection.",
    ),
    Key::optional(
        "trajectory.retention",
        KeyKind::Duration,
        "How long log records are kept, such as \"90d\", where their stream says nothing else. Without it they are kept for ever.",
    ),
    Key::optional(
        "trajectory.max_bytes",
        KeyKind::Bytes,
        "How many bytes the whole log may take on the disk, such as \"20GiB\"; the oldest records go. Without it only their age counts.",
    ),
    Key::new(
        "trajectory.segment_bytes",
        KeyKind::Bytes,
        "\"16MiB\"",
        "How many bytes of log records, unpacked, go into one file before it is sealed and the next one begun.",
    )
    .must(Rule::Between(1 << 10, 1 << 30)),
    Key::optional(
        "trajectory.syslog.listen",
        KeyKind::Text,
        "Where syslog is taken in over UDP, such as \"127.0.0.1:5514\". It knows no credential: give an address that only those reach who may write logs.",
    ),
    Key::new(
        "trajectory.query_time",
        KeyKind::Duration,
        "\"10s\"",
        "How long one search of the log may take before it answers what it has, marked incomplete.",
    )
    .must(Rule::Between(10, 600_000)),
];

/// See the module's first line.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the settings of streams are kept, when not in the data folder.
    pub records: Option<Secret>,
    /// The MongoDB that streams are forwarded to.
    pub forward: Option<Secret>,
    /// How long records are kept where their stream says nothing else.
    pub retention: Option<Duration>,
    /// How large a segment becomes.
    pub segment_bytes: u64,
    /// How long one search may take.
    pub query_time: Duration,
    /// How many bytes the whole log may take on the disk; the oldest segments go.
    pub max_bytes: Option<u64>,
    /// Where syslog is taken in over UDP.
    pub syslog: Option<String>,
    /// Whether a thread seals what is written no more; without it [`Trajectory::seal`] does.
    ///
    /// [`Trajectory::seal`]: super::Trajectory::seal
    pub seals: bool,
    /// How many records one search may look at.
    pub query_rows: u64,
    /// How many streams there may be; records of further ones share a stream.
    pub max_streams: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            records: None,
            forward: None,
            retention: None,
            segment_bytes: 16 << 20,
            query_time: Duration::from_secs(10),
            max_bytes: None,
            syslog: None,
            seals: true,
            query_rows: 50_000_000,
            max_streams: 4096,
        }
    }
}

impl Config {
    /// Reads it from the settings.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            records: settings.given("trajectory.records", Settings::secret)?.cloned(),
            forward: settings.given("trajectory.forward", Settings::secret)?.cloned(),
            retention: settings.given("trajectory.retention", Settings::duration)?,
            max_bytes: settings.given("trajectory.max_bytes", Settings::bytes)?,
            syslog: settings.given("trajectory.syslog.listen", Settings::text)?.map(str::to_owned),
            segment_bytes: settings.bytes("trajectory.segment_bytes")?,
            query_time: settings.duration("trajectory.query_time")?,
            ..Self::default()
        })
    }
}
