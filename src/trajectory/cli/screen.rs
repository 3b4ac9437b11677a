//! How records, counts and values look.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::client;
use super::super::{Context, Histogram, Kept, Level, TopValues, ValueCount, write_out};
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::Result;

/// How wide the longest bar is.
const BAR: usize = 50;

/// Where records are shown, and how each stream wants its own.
pub(super) struct Screen {
    output: Output,
    templates: BTreeMap<String, String>,
    numbers: bool,
}

impl Screen {
    /// Asks the daemon for the streams' templates. Whoever may not ask sees all records alike.
    pub(super) async fn open(client: &Client, output: Output) -> Self {
        let text = |stream: &Value, name: &str| stream.get(name)?.as_str().map(str::to_owned);
        let streams = if output.is_json() {
            Vec::new()
        } else {
            client::streams(client).await.unwrap_or_default()
        };
        let templates = streams
            .iter()
            .filter_map(|stream| Some((text(stream, "name")?, text(stream, "template")?)))
            .collect();
        Self { output, templates, numbers: false }
    }

    /// With each record's number, which `dripctl trajectory context` asks for.
    pub(super) fn with_numbers(mut self, numbers: bool) -> Self {
        self.numbers = numbers;
        self
    }

    /// Shows one event; answers the number of the last record that was shown.
    pub(super) fn show_event(&self, event: &[u8], seen: u64) -> Result<u64> {
        let text = String::from_utf8_lossy(event);
        let part =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(data) = part("data:") else {
            return Ok(seen);
        };
        if part("event:") == Some("gap") {
            let gap: Value = serde_json::from_str(data).unwrap_or_default();
            let skipped = gap.get("skipped").and_then(Value::as_u64).unwrap_or(0);
            if self.output.is_json() {
                self.output.line(&json!({ "gap": skipped }).to_string())?;
            } else {
                let told = format!("… {skipped} records were not shown");
                self.output.line(&self.output.paint("33", &told))?;
            }
            return Ok(seen);
        }
        match serde_json::from_str::<Kept>(data) {
            Ok(kept) if kept.seq > seen => {
                self.print(&kept)?;
                Ok(kept.seq)
            }
            _ => Ok(seen),
        }
    }

    pub(super) fn print(&self, kept: &Kept) -> Result<()> {
        if self.output.is_json() {
            return self.output.line(&json!(kept).to_string());
        }
        let text = self.text(kept);
        if self.numbers {
            return self.output.line(&format!("{:>10}  {text}", kept.seq));
        }
        self.output.line(&text)
    }

    fn text(&self, kept: &Kept) -> String {
        match self.templates.get(&kept.record.stream) {
            Some(template) => write_out(template, kept),
            None => show(kept, self.output),
        }
    }

    /// Shows the records around the one with the number `seq`, which is marked.
    pub(super) fn print_around(&self, context: &Context, seq: u64) -> Result<()> {
        if self.output.is_json() {
            return self.output.done("", context);
        }
        for kept in &context.items {
            let mark = if kept.seq == seq { ">" } else { " " };
            let text = self.text(kept);
            self.output.line(&format!("{mark} {:>10}  {text}", kept.seq))?;
        }
        if context.incomplete {
            self.output.line("… there may be more: what is farther away was not looked at")?;
        }
        Ok(())
    }
}

/// A record as one line.
fn show(kept: &Kept, output: Output) -> String {
    let record = &kept.record;
    let style = match record.level {
        Level::Debug => "2",
        Level::Info => "32",
        Level::Warning => "33",
        Level::Error => "31",
        Level::Critical => "1;31",
    };
    let level = output.paint(style, &format!("{:8}", record.level));
    let mut fields = String::new();
    for (name, value) in &record.fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fields.extend([" ", name, "=", &value]);
    }
    format!(
        "{} {level} {} {}{}",
        output.paint("2", &record.time.to_string()),
        output.paint("36", &clean(&record.stream)),
        clean(&record.message),
        output.paint("2", &clean(&fields)),
    )
}

/// Draws the counts as bars.
pub(super) fn draw(histogram: &Histogram, output: Output) -> Result<()> {
    if output.is_json() {
        return output.done("", histogram);
    }
    let most = histogram.items.iter().map(|bucket| bucket.total).max().unwrap_or(0);
    if most == 0 {
        return output.line("nothing to count: `dripctl trajectory streams` shows what there is");
    }
    for bucket in &histogram.items {
        let mut bar = String::new();
        for (level, style) in [
            ("CRITICAL", "1;31"),
            ("ERROR", "31"),
            ("WARNING", "33"),
            ("INFO", "32"),
            ("DEBUG", "2"),
        ] {
            let count = bucket.counts.get(level).copied().unwrap_or(0);
            let width = usize::try_from((count * BAR as u64).div_ceil(most)).unwrap_or(0);
            bar.push_str(&output.paint(style, &"█".repeat(width)));
        }
        output.line(&format!("{} {:>9} {bar}", bucket.time, bucket.total))?;
    }
    if histogram.incomplete {
        output.line("… the count ended at its bound: narrow it with --from, --to or --stream")?;
    }
    output.line(&format!("{} records", histogram.total))
}

/// Lists the values of a field, each with its share as a bar.
pub(super) fn rank(values: &TopValues, output: Output) -> Result<()> {
    if output.is_json() {
        return output.done("", values);
    }
    if values.items.is_empty() {
        let field = &values.field;
        return output.line(&format!(
            "no record has the field `{field}`: `dripctl --json trajectory query -n 1` shows the fields of one"
        ));
    }
    let most = values.items.iter().map(|item| item.count).max().unwrap_or(1).max(1);
    let wide = values.items.iter().map(|item| item.value.chars().count()).max().unwrap_or(0);
    for ValueCount { value, count } in &values.items {
        let width = usize::try_from((count * BAR as u64).div_ceil(most)).unwrap_or(0);
        let bar = output.paint("36", &"█".repeat(width));
        output.line(&format!("{count:>9}  {:wide$}  {bar}", clean(value), wide = wide.min(BAR)))?;
    }
    if values.incomplete {
        output.line("… the count ended at its bound: narrow it with --from, --to or --stream")?;
    }
    let TopValues { distinct, total, without, .. } = values;
    output.line(&format!(
        "{distinct} different values in {total} records; {without} more do not have the field"
    ))
}

/// Control characters are shown, not obeyed.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c })
        .collect()
}
