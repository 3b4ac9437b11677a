//! The YAML files of Drip 0.1 (`drip_config.yaml` and those of its modules) turned into a
//! `drip.toml`.
//!
//! The files come from people's disks and are read with suspicion: bounded in size, in depth and in
//! what aliases may grow to. What is recognised becomes a setting where this Drip has one, and a
//! comment where it has none; what is not recognised becomes a comment and a note. Nothing is lost
//! in silence, and no secret is copied.

mod address;
mod plan;
mod words;
mod yaml;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error;
use super::file::read_bounded;
use super::key::{Key, KeyKind};
use super::value::short;
use crate::kernel::error::Result;
use plan::{Plan, Proposal};

/// The largest file that is read. The originals have less than two kilobytes.
const MAX_BYTES: u64 = 128 << 10;

/// What came out of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of a `drip.toml` that loads.
    pub toml: String,
    /// What its reader should know: what was left out, and why.
    pub notes: Vec<String>,
}

/// Reads the original's files and writes what they say in the settings of `schema`.
pub fn import(files: &[PathBuf], schema: &[&[Key]]) -> Result<Imported> {
    let mut plan = Plan::default();
    for path in files {
        let (text, _mode) =
            read_bounded(path, MAX_BYTES).map_err(|why| error::missing(path, why.sentence))?;
        let file = file_name(path);
        plan.add(&file, yaml::leaves(&file, &text)?);
    }
    let names: Vec<String> = files.iter().map(|path| file_name(path)).collect();
    let keys: Vec<Key> = schema.iter().copied().flatten().copied().collect();
    Ok(Writer::new(&names, keys).write(plan))
}

fn file_name(path: &Path) -> String {
    short(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// Writes full names (`server.listen = …`) and no sections, so that a comment stays right wherever
/// its `#` is taken away.
struct Writer {
    keys: Vec<Key>,
    taken: Vec<(&'static str, String, String)>,
    settings: String,
    comments: String,
    unknown: String,
    notes: Vec<String>,
    head: String,
}

impl Writer {
    fn new(files: &[String], keys: Vec<Key>) -> Self {
        let head = format!(
            "# Made by `dripctl config import` from {}.\n# A line that begins with # was not taken over; its end says why.\n",
            files.join(", ")
        );
        Self {
            keys,
            taken: Vec::new(),
            settings: String::new(),
            comments: String::new(),
            unknown: String::new(),
            notes: Vec::new(),
            head,
        }
    }

    fn write(mut self, plan: Plan) -> Imported {
        let (proposals, withheld, unknown) = plan.resolve();
        for proposal in proposals {
            self.propose(proposal);
        }
        for secret in withheld {
            self.withhold(secret.key, &secret.what, &secret.from);
        }
        for leaf in unknown {
            let from = format!("{}: {}", leaf.file, short(&leaf.path));
            let (shown, note) = match leaf.shown() {
                Some(shown) if shown.is_empty() => (shown, "it has no value".to_owned()),
                Some(shown) => {
                    let note = format!("Drip does not know it (value {})", short(&shown));
                    (format!(" = {shown}"), note)
                }
                None => (
                    String::new(),
                    "Drip does not know it; its value looks like a secret".to_owned(),
                ),
            };
            let _infallible = writeln!(self.unknown, "# {from}{shown}");
            self.notes.push(format!("{from}: not taken over: {note}"));
        }
        self.finish()
    }

    fn finish(mut self) -> Imported {
        let mut seen = HashSet::new();
        self.notes.retain(|note| seen.insert(note.clone()));
        let mut toml = self.head;
        let parts = [
            ("", &self.settings),
            ("", &self.comments),
            ("# Not known to Drip, from the files as they were:\n", &self.unknown),
        ];
        for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            let _infallible = write!(toml, "\n{title}{lines}");
        }
        Imported { toml, notes: self.notes }
    }

    fn propose(&mut self, proposal: Proposal) {
        let Proposal { key, value, from, remark, live } = proposal;
        let declared = self.keys.iter().find(|declared| declared.name == key).copied();
        let refused = match declared {
            None => Some("this Drip has no such setting".to_owned()),
            Some(_) if !live => Some("decide yourself".to_owned()),
            Some(declared) if declared.secret => Some("it may hold a secret".to_owned()),
            Some(declared) => declared.read_text(&value).err().map(|why| short(&why)),
        };
        let literal = literal(declared.map(|declared| declared.kind), &value);
        if let Some(why) = refused {
            self.comment(key, &literal, &from, &why);
        } else if let Some((_, other, place)) = self.taken.iter().find(|(name, ..)| *name == key) {
            if *other != value {
                let why = format!("`{key}` was already taken from {place}");
                self.comment(key, &literal, &from, &why);
            }
        } else {
            let _infallible = writeln!(self.settings, "{key} = {literal}  # from {from}");
            self.taken.push((key, value, from));
        }
        if let Some(remark) = remark {
            self.notes.push(format!("`{key}`: {remark}"));
        }
    }

    fn comment(&mut self, key: &str, literal: &str, from: &str, why: &str) {
        let _infallible = writeln!(self.comments, "# {key} = {literal}  # from {from}: {why}");
        self.notes.push(format!("{from}: `{key} = {literal}` is only a comment: {why}"));
    }

    fn withhold(&mut self, key: &str, what: &str, from: &str) {
        let _infallible = writeln!(self.comments, "# Not copied, for {key}: {what} (from {from})");
        let variable = format!("DRIP_{}", key.replace('.', "__").to_ascii_uppercase());
        let declared = self.keys.iter().find(|declared| declared.name == key);
        let cure = match declared {
            Some(declared) if declared.secret => {
                format!(
                    "put it into a file and name that as `{key}_file`, or give it as `{variable}`"
                )
            }
            Some(_) => format!("give the whole value as `{variable}`, not in drip.toml"),
            None => format!("this Drip has no setting `{key}` for it"),
        };
        self.notes.push(format!("{from}: {what} is a secret and was not copied: {cure}"));
    }
}

/// `value` as a TOML literal on one line.
fn literal(kind: Option<KeyKind>, value: &str) -> String {
    let plain = match kind {
        None => matches!(value, "true" | "false"),
        Some(KeyKind::Bool | KeyKind::Integer | KeyKind::Float) => {
            value.parse::<toml::Value>().is_ok_and(|given| !given.is_str())
        }
        Some(_) => false,
    };
    if plain {
        value.trim().to_owned()
    } else if kind == Some(KeyKind::List) {
        let items: Vec<String> = value.split(',').map(|item| quote(item.trim())).collect();
        format!("[{}]", items.join(", "))
    } else {
        quote(value)
    }
}

/// `text` in quotes, on one line whatever is in it: a line break would end a comment and let what
/// follows pass for a setting.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}') =>
            {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
