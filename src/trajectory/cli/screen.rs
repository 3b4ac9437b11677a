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
    if most == 0 && !histogram.incomplete {
        return output.line("nothing to count: `dripctl trajectory streams` shows what there is");
    }
    for bucket in &histogram.items {
        let mut bars = String::new();
        for (level, style) in [
            ("CRITICAL", "1;31"),
            ("ERROR", "31"),
            ("WARNING", "33"),
            ("INFO", "32"),
            ("DEBUG", "2"),
        ] {
            let count = bucket.counts.get(level).copied().unwrap_or(0);
            bars.push_str(&output.paint(style, &bar(count, most)));
        }
        output.line(&format!("{} {:>9} {bars}", bucket.time, bucket.total))?;
    }
    say_incomplete(histogram.incomplete, output)?;
    output.line(&format!("{} records", histogram.total))
}

/// Lists the values of a field, each with its share and as a bar.
pub(super) fn rank(values: &TopValues, output: Output) -> Result<()> {
    if output.is_json() {
        return output.done("", values);
    }
    let TopValues { field, items, distinct, total, without, incomplete } = values;
    let most = items.iter().map(|item| item.count).max().unwrap_or(0);
    if most == 0 && !incomplete {
        return output.line(&format!(
            "no record has the field `{field}`: `dripctl --json trajectory query -n 1` shows the fields of one"
        ));
    }
    let cells: Vec<[Value; 4]> = items
        .iter()
        .map(|ValueCount { value, count }| {
            let share = format!("{} %", count * 100 / (*total).max(1));
            [json!(count), json!(value), json!(share), json!(bar(*count, most))]
        })
        .collect();
    output.table(&["COUNT", "VALUE", "SHARE", ""], cells.iter().map(|row| row.iter().collect()))?;
    say_incomplete(*incomplete, output)?;
    output.line(&format!(
        "{distinct} different values in {total} records; {without} more do not have the field"
    ))
}

/// A bar, of which the most has the full width.
fn bar(count: u64, most: u64) -> String {
    "█".repeat(usize::try_from((count * BAR as u64).div_ceil(most.max(1))).unwrap_or(0))
}

/// Says that not everything was looked at.
pub(super) fn say_incomplete(incomplete: bool, output: Output) -> Result<()> {
    if !incomplete {
        return Ok(());
    }
    output.line("… not everything was looked at: narrow it with --from, --to or --stream")
}

/// Control characters are shown, not obeyed.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c })
        .collect()
}
