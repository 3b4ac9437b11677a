//! `drip.toml` as text with lines: read with a bound, and taken apart into leaves that remember the
//! line they stand on.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error;
use crate::kernel::error::{Fault, Result};

/// The largest file that is read as settings.
const MAX_BYTES: u64 = 1 << 20;

/// A file of settings, read.
pub(super) struct ConfigFile {
    /// As it was named.
    pub(super) path: PathBuf,
    text: String,
    mode: Option<u32>,
    lines: Vec<usize>,
}

/// One value in the file and where it stands.
pub(super) struct Leaf {
    /// Dotted: `server.listen`. A key that is not a plain word stands in quotes.
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) value: toml::Value,
}

impl ConfigFile {
    /// Reads a file that must be there.
    pub(super) fn named(path: &Path) -> Result<Self> {
        read_bounded(path, MAX_BYTES)
            .map(|(text, mode)| Self::new(path, text, mode))
            .map_err(|why| error::missing(path, why.sentence))
    }

    /// Reads a file that may be absent. A dangling link is not absence: someone meant a file.
    pub(super) fn if_there(path: &Path) -> Result<Option<Self>> {
        match read_bounded(path, MAX_BYTES) {
            Ok((text, mode)) => Ok(Some(Self::new(path, text, mode))),
            Err(why) if why.absent && path.symlink_metadata().is_err() => Ok(None),
            Err(why) => Err(error::missing(path, why.sentence)),
        }
    }

    fn new(path: &Path, text: String, mode: Option<u32>) -> Self {
        let lines = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { path: path.to_owned(), text, mode, lines }
    }

    /// `drip.toml:12`, as faults and `config show` name a place.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// Every leaf, in order, stopping at tables that `is_value` says are values themselves, and
    /// every fault of the file. Where the syntax is broken there are no leaves: what the rest means
    /// is a guess.
    pub(super) fn leaves(&self, is_value: &dyn Fn(&str) -> bool) -> (Vec<Leaf>, Vec<Fault>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            let fault = |error: &toml::de::Error| {
                let line = error.span().map_or(1, |span| self.line(&span));
                Fault::new(self.place(line), error.message().trim())
            };
            return (Vec::new(), errors.iter().map(fault).collect());
        }
        let mut leaves = Vec::new();
        let mut faults = Vec::new();
        self.walk("", table.get_ref(), is_value, &mut leaves, &mut faults);
        leaves.sort_by_key(|leaf| leaf.line);
        (leaves, faults)
    }

    /// The permissions when others than the owner may read or write the file.
    pub(super) fn open_to_others(&self) -> Option<u32> {
        self.mode.filter(|mode| mode & 0o077 != 0).map(|mode| mode & 0o777)
    }

    /// The parser bounds how deep tables nest, so this recursion is bounded too.
    fn walk(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        is_value: &dyn Fn(&str) -> bool,
        leaves: &mut Vec<Leaf>,
        faults: &mut Vec<Fault>,
    ) {
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            let line = self.line(&key.span());
            match value.get_ref() {
                DeValue::Table(inner) if !is_value(&path) && !inner.is_empty() => {
                    self.walk(&path, inner, is_value, leaves, faults);
                }
                other => match owned(other) {
                    Ok(value) => leaves.push(Leaf { path, line, value }),
                    Err(why) => {
                        faults.push(Fault::new(self.place(line), format!("`{path}`: {why}")));
                    }
                },
            }
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.lines.partition_point(|newline| *newline < span.start) + 1
    }
}

/// Why a file could not be read.
pub(super) struct Unreadable {
    pub(super) sentence: String,
    absent: bool,
}

/// The text of a file that is at most `limit` bytes long, and its permissions where there are any.
/// A pipe without a writer would hold us for ever, so only files and devices are opened.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<(String, Option<u32>), Unreadable> {
    let other = |sentence: String| Unreadable { sentence, absent: false };
    let io = |source: std::io::Error| Unreadable {
        sentence: source.to_string(),
        absent: source.kind() == ErrorKind::NotFound,
    };
    let before = path.metadata().map_err(io)?;
    if before.is_dir() {
        return Err(other("it is a folder".into()));
    }
    if is_pipe(&before) {
        return Err(other("it is a pipe or a socket, not a file".into()));
    }
    let file = File::open(path).map_err(io)?;
    let mode = permissions(&file.metadata().map_err(io)?);
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(other(format!("it is larger than {limit} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|source| {
        let at = source.utf8_error().valid_up_to();
        let before = source.as_bytes().get(..at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        other(format!("it is not UTF-8 (line {line})"))
    })?;
    Ok((text, mode))
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo() || metadata.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_metadata: &std::fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there are none")]
fn permissions(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(metadata.permissions().mode())
}

#[cfg(not(unix))]
fn permissions(_metadata: &std::fs::Metadata) -> Option<u32> {
    None
}

/// A key with a dot in it must not look like two keys.
fn join(prefix: &str, key: &str) -> String {
    let plain =
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if prefix.is_empty() { key } else { format!("{prefix}.{key}") }
}

fn owned(value: &DeValue<'_>) -> Result<toml::Value, String> {
    Ok(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(toml::Value::Integer)
            .map_err(|_range| {
                format!("the number {} is too large", super::value::short(number.as_str()))
            })?,
        DeValue::Float(number) => {
            number.as_str().parse().map(toml::Value::Float).map_err(|_form| {
                format!("{} is not a number", super::value::short(number.as_str()))
            })?
        }
        DeValue::Boolean(on) => toml::Value::Boolean(*on),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(
            items.iter().map(|item| owned(item.get_ref())).collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| Ok((key.get_ref().to_string(), owned(value.get_ref())?)))
                .collect::<Result<_, String>>()?,
        ),
    })
}
