//! What processes may take, as the settings say.

use std::path::PathBuf;
use std::time::Duration;

use crate::kernel::config::{Key, KeyKind, Rule, Settings};
use crate::kernel::error::{Error, Kind, Result};

/// The settings of processes, within section `liquid`.
pub const KEYS: &[Key] = &[
    Key::new(
        "liquid.allow_process",
        KeyKind::List,
        "[]",
        "Programs that process nodes may start: names such as \"python3\", or whole paths. Without any there are no process nodes.",
    ),
    Key::new(
        "liquid.process_read",
        KeyKind::List,
        "[]",
        "Folders that processes may read besides those of the system and of their program. Whole paths.",
    ),
    Key::new(
        "liquid.process_memory",
        KeyKind::Bytes,
        "\"4GiB\"",
        "How much address space one process of a node may take.",
    )
    // The keeper itself needs some.
    .must(Rule::Between(64 << 20, 1 << 44)),
    Key::new(
        "liquid.process_time",
        KeyKind::Duration,
        "\"1h\"",
        "How long a process may run where its node says nothing else.",
    )
    .must(Rule::Between(100, 30 * 24 * 3_600_000)),
    Key::new(
        "liquid.process_file",
        KeyKind::Bytes,
        "\"1GiB\"",
        "How large a file of a process may become.",
    )
    .must(Rule::Between(1 << 10, 1 << 44)),
    Key::new("liquid.process_output", KeyKind::Bytes, "\"64MiB\"", "How much a process may print.")
        .must(Rule::Between(1 << 10, 1 << 40)),
    Key::new(
        "liquid.process_count",
        KeyKind::Integer,
        "256",
        "How many processes a node may have at the same time.",
    )
    .must(Rule::Between(1, 100_000)),
    Key::new(
        "liquid.sandbox",
        KeyKind::Text,
        "\"required\"",
        "`required`: a process is not started where the kernel cannot fence it in. `best-effort`: it is, and the run says what was missing.",
    ),
];

/// Whether a process is started where the kernel cannot fence it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// It is not.
    Required,
    /// It is.
    BestEffort,
}

/// See the module's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The programs that may be started.
    pub allow: Vec<String>,
    /// What processes may read besides what every program needs.
    pub read: Vec<PathBuf>,
    /// Bytes of address space.
    pub memory: u64,
    /// How long one attempt may take.
    pub time: Duration,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes that may be printed.
    pub output: u64,
    /// Processes at the same time.
    pub processes: usize,
    /// Whether the kernel must fence it in.
    pub sandbox: Sandbox,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            read: Vec::new(),
            memory: 4 << 30,
            time: Duration::from_hours(1),
            file: 1 << 30,
            output: 64 << 20,
            processes: 256,
            sandbox: Sandbox::Required,
        }
    }
}

impl Limits {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        let sandbox = match settings.text("liquid.sandbox")? {
            "required" => Sandbox::Required,
            "best-effort" => Sandbox::BestEffort,
            other => {
                let detail =
                    format!("`liquid.sandbox` is `required` or `best-effort`, not `{other}`");
                return Err(Error::new(Kind::Config, "bad_setting", detail));
            }
        };
        let read: Vec<PathBuf> =
            settings.list("liquid.process_read")?.iter().map(PathBuf::from).collect();
        if let Some(path) = read.iter().find(|path| !path.is_absolute()) {
            let detail = format!("`liquid.process_read`: `{}` is no whole path", path.display());
            return Err(Error::new(Kind::Config, "bad_setting", detail));
        }
        Ok(Self {
            allow: settings.list("liquid.allow_process")?.to_vec(),
            read,
            memory: settings.bytes("liquid.process_memory")?,
            time: settings.duration("liquid.process_time")?,
            file: settings.bytes("liquid.process_file")?,
            output: settings.bytes("liquid.process_output")?,
            processes: settings.integer("liquid.process_count")?,
            sandbox,
        })
    }
}
