//! What commands print, said once: tables and colours for people, JSON for machines, progress for
//! long transfers, and exit codes that mean something.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::error::{Error, Kind, Result};

/// Where a command's answer goes.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// JSON when asked for; colours when a person looks and `NO_COLOR` is not set.
    pub fn new(json: bool) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, colour: colour && !json }
    }

    /// Whether a machine reads.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person looks at a terminal.
    pub fn is_colour(self) -> bool {
        self.colour
    }

    /// One object: as JSON, or as lines `field  value`; what is inside a field has lines of its own.
    pub fn object(self, value: &impl Serialize) -> Result<()> {
        let value = to_value(value)?;
        if self.json {
            return self.line(&pretty(&value));
        }
        let mut table = plain_table();
        for (field, text) in lines(&value) {
            table.add_row([self.bold(&field), text]);
        }
        self.line(&table.trim_fmt())
    }

    /// Rows: as a JSON array, or as a table of the named fields. A field may lead inwards with dots.
    /// Where there are none, people are told `empty`: what to try.
    pub fn rows(self, rows: &[impl Serialize], fields: &[&str], empty: &str) -> Result<()> {
        let rows: Vec<Value> = rows.iter().map(to_value).collect::<Result<_>>()?;
        if self.json {
            return self.line(&pretty(&Value::Array(rows)));
        }
        if rows.is_empty() {
            return self.line(empty);
        }
        let mut table = plain_table();
        table.set_header(fields.iter().map(|field| self.bold(&field.to_uppercase())));
        for row in &rows {
            table
                .add_row(fields.iter().map(|field| look(row, field).map(cell).unwrap_or_default()));
        }
        self.line(&table.trim_fmt())
    }

    /// A table with the columns that it came with.
    pub fn table<'a>(
        self,
        columns: &[impl AsRef<str>],
        rows: impl IntoIterator<Item = Vec<&'a Value>>,
    ) -> Result<()> {
        let mut table = plain_table();
        table.set_header(columns.iter().map(|column| self.bold(column.as_ref())));
        for row in rows {
            table.add_row(row.into_iter().map(cell));
        }
        self.line(&table.trim_fmt())
    }

    /// A sentence for people; machines get `value`.
    pub fn done(self, sentence: &str, value: &impl Serialize) -> Result<()> {
        if self.json { self.line(&pretty(&to_value(value)?)) } else { self.line(sentence) }
    }

    /// One line as it is. A reader that went away (`| head`) is no failure.
    pub fn line(self, text: &str) -> Result<()> {
        match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io("write to the terminal", error))
            }
            _ => Ok(()),
        }
    }

    /// Bold, where there are colours.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// In an ANSI style such as `31` for red, where there are colours.
    pub fn paint(self, style: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A bar for a transfer of `bytes`; hidden from machines and pipes.
    pub fn progress(self, what: &str, bytes: Option<u64>) -> ProgressBar {
        let shape = if bytes.is_some() {
            "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{msg} {spinner} {bytes} {bytes_per_sec}"
        };
        self.bar(what, bytes, shape)
    }

    /// A bar for so many things, counted; hidden from machines and pipes.
    pub fn counting(self, what: &str, total: u64) -> ProgressBar {
        self.bar(what, Some(total), "{msg} {bar:30} {pos}/{len} {eta}")
    }

    fn bar(self, what: &str, length: Option<u64>, shape: &str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar
    }
}

/// Prints a failure to stderr, as JSON when asked for, and answers the exit code.
#[expect(clippy::print_stderr, reason = "the one place where a command reports its failure")]
pub fn report(error: &Error, json: bool) -> u8 {
    if json {
        let problem = serde_json::json!({
            "status": error.kind().status(), "code": error.code(),
            "detail": error.detail(), "errors": error.faults(),
        });
        eprintln!("{problem}");
    } else {
        let red = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (on, off) = if red { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") };
        eprintln!("{on}dripctl:{off} {error}");
        if let Some(hint) = hint(error) {
            eprintln!("{hint}");
        }
    }
    error.kind().exit_code()
}

/// What to do about a refusal that the daemon words for every client.
fn hint(error: &Error) -> Option<&'static str> {
    match (error.kind(), error.code()) {
        (Kind::Unauthenticated, _) => {
            Some("Sign in with `dripctl login`, or show a token with --token or DRIP_TOKEN.")
        }
        (Kind::NotFound, "no_such_path") => Some(
            "This daemon may not serve the module: `dripctl status` lists those that it serves.",
        ),
        _ => None,
    }
}

/// Reads a whole file, or standard input for `-`.
pub fn read_input(path: &str) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    if path == "-" {
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Error::io("read standard input", error))?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(|error| {
        let kind =
            if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Io };
        Error::new(kind, "file_unreadable", format!("cannot read `{path}`: {error}"))
    })
}

/// Reads `key=value` pairs as a command line gives them; a value that is JSON is taken as such.
pub fn pairs(given: &[String]) -> Result<serde_json::Map<String, Value>> {
    given
        .iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::new(Kind::Usage, "bad_pair", format!("`{pair}` is no pair: write key=value"))
            })?;
            let value = serde_json::from_str(value).unwrap_or_else(|_text| Value::from(value));
            Ok((key.to_owned(), value))
        })
        .collect()
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// How deep an object is unfolded into lines.
const UNFOLDED: usize = 3;

/// An object as lines: `figures.rmse  9.3`.
fn lines(value: &Value) -> Vec<(String, String)> {
    fn unfold(name: &str, value: &Value, depth: usize, into: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) if depth < UNFOLDED && !fields.is_empty() => {
                for (field, value) in fields {
                    let field: String = cell(&field.as_str().into());
                    let name = if name.is_empty() { field } else { format!("{name}.{field}") };
                    unfold(&name, value, depth + 1, into);
                }
            }
            other => into.push((name.to_owned(), cell(other))),
        }
    }
    let mut found = Vec::new();
    unfold("", value, 0, &mut found);
    found
}

fn to_value(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::internal(format!("show: {error}")))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn look<'a>(row: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(row, |value, part| value.get(part))
}

/// A value as people read it. Control characters are shown, not obeyed.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let shown = |c: char| {
        if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_readable_and_cannot_steer_the_terminal() {
        assert_eq!(cell(&json!(["a", 1])), "a, 1");
        assert_eq!(cell(&json!("\u{1b}[2J")), "\u{FFFD}[2J");
        assert_eq!(look(&json!({"a": {"b": 2}}), "a.b"), Some(&json!(2)));
    }

    #[test]
    fn an_object_is_unfolded_into_lines() {
        let value = json!({"a": {"b": 1, "c": {"d": {"e": 2}}}, "f": [1, 2], "g": {}});
        let expected = [("a.b", "1"), ("a.c.d", r#"{"e":2}"#), ("f", "1, 2"), ("g", "{}")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(lines(&value), expected);
    }

    #[test]
    fn pairs_take_json_and_text() {
        let map = pairs(&["n=2".into(), "s=abc".into(), "o={\"x\":1}".into()]).unwrap();
        assert_eq!(Value::Object(map), json!({"n": 2, "s": "abc", "o": {"x": 1}}));
        assert_eq!(pairs(&["n".into()]).unwrap_err().kind(), Kind::Usage);
    }
}
