//! `dripctl trajectory …`

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client;
use super::{Histogram, Ingested, Kept, Level, write_out};
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::new_id;

/// A batch is sent when it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// How often a batch that the daemon has no room for is sent again.
const TRIES: u32 = 10;
const BAR: usize = 50;

/// What can be done with logs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send records from standard input: one JSON record per line, or plain lines of text
    Push(Push),
    /// Find records, the newest first
    Query(Search),
    /// Show records as they come in
    Tail(Follow),
    /// List the streams and what they hold
    Streams,
    /// Count records by time and level
    Histogram(Bars),
}

/// What to send.
#[derive(Debug, Args)]
pub struct Push {
    /// The file to read; standard input when left out
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// The stream of records that name none
    #[arg(long)]
    stream: Option<String>,
    /// The level of records that have none
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// The run of records that name none
    #[arg(long)]
    run_id: Option<String>,
}

/// Which records.
#[derive(Debug, Args)]
pub struct Which {
    /// Words to find: word, "exact text", word*, /regex/, AND OR NOT ( )
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// From this time on, such as 2014-03-30T01:00:00Z
    #[arg(long)]
    from: Option<String>,
    /// Before this time
    #[arg(long)]
    to: Option<String>,
    /// Of this level and above
    #[arg(long, value_parser = level)]
    level: Option<Level>,
    /// Of this stream
    #[arg(long)]
    stream: Option<String>,
    /// Of this run
    #[arg(long)]
    run_id: Option<String>,
    /// With this value of a field: --field turbine=R80711
    #[arg(long = "field", value_name = "NAME=VALUE")]
    fields: Vec<String>,
}

/// Which records, how many, and in which order.
#[derive(Debug, Args)]
pub struct Search {
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
    /// The oldest first
    #[arg(long)]
    oldest: bool,
}

/// Which records to follow.
#[derive(Debug, Args)]
pub struct Follow {
    #[command(flatten)]
    which: Which,
    /// Go on until interrupted; without it, show the last records and end
    #[arg(long = "follow", short)]
    live: bool,
    /// How many of the last records to show first
    #[arg(long, short = 'n', default_value_t = 10)]
    lines: usize,
}

/// Which records to count.
#[derive(Debug, Args)]
pub struct Bars {
    #[command(flatten)]
    which: Which,
    /// In at most so many stretches of time
    #[arg(long, default_value_t = 20)]
    buckets: usize,
}

fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| "DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned())
}

/// Runs a command against a daemon.
pub async fn run(command: Command, client: &Client, output: Output) -> Result<()> {
    match command {
        Command::Push(push) => send_all(push, client, output).await,
        Command::Query(search) => query(search, client, output).await,
        Command::Tail(follow) => tail(follow, client, output).await,
        Command::Streams => {
            let streams = client::streams(client).await?;
            let fields = ["name", "records", "first", "last", "levels", "keep", "retention"];
            output.rows(
                &streams,
                &fields,
                "no streams yet: send records with `dripctl trajectory push`",
            )
        }
        Command::Histogram(bars) => {
            let mut params = bars.which.params()?;
            params.push(("buckets".into(), bars.buckets.to_string()));
            draw(&client::histogram(client, &params).await?, output)
        }
    }
}

impl Which {
    fn params(&self) -> Result<Vec<(String, String)>> {
        let mut params = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            params.extend(value.map(|value| (name.to_owned(), value)));
        };
        add("from", self.from.clone());
        add("to", self.to.clone());
        add("level", self.level.map(|level| level.to_string()));
        add("stream", self.stream.clone());
        add("run_id", self.run_id.clone());
        add("q", (!self.text.is_empty()).then(|| self.text.join(" ")));
        for pair in &self.fields {
            let Some((name, value)) = pair.split_once('=') else {
                let detail = format!("`{pair}` is no pair: write --field name=value");
                return Err(Error::new(Kind::Usage, "bad_pair", detail));
            };
            add(&format!("field.{name}"), Some(value.to_owned()));
        }
        Ok(params)
    }
}

async fn send_all(push: Push, client: &Client, output: Output) -> Result<()> {
    let (sender, mut batches) = tokio::sync::mpsc::channel(2);
    let file = push.file.clone();
    let reader = tokio::task::spawn_blocking(move || read_batches(&file, &push, &sender));
    let mut sum = Ingested::default();
    let mut lines = 0;
    while let Some((batch, count)) = batches.recv().await {
        let mut outcome = send(client, batch).await?;
        sum.accepted += outcome.accepted;
        sum.more_rejected += outcome.more_rejected;
        for rejected in &mut outcome.rejected {
            rejected.index += lines;
        }
        sum.rejected.append(&mut outcome.rejected);
        lines += count;
    }
    reader.await.map_err(|failed| Error::internal(format!("reading panicked: {failed}")))??;
    if !output.is_json() {
        for rejected in &sum.rejected {
            output.line(&format!(
                "record {} was rejected: {}",
                rejected.index + 1,
                rejected.reason
            ))?;
        }
    }
    let bad = sum.rejected.len() as u64 + sum.more_rejected;
    output.done(&format!("{} records kept, {bad} rejected", sum.accepted), &sum)?;
    if bad == 0 {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "records_rejected", format!("{bad} records were rejected")))
}

/// Sends one batch, and again where the daemon is busy: its id keeps it from being kept twice.
async fn send(client: &Client, batch: Vec<u8>) -> Result<Ingested> {
    let id = new_id();
    let batch = bytes::Bytes::from(batch);
    let mut tries = 0;
    loop {
        tries += 1;
        match client::push(client, batch.clone(), Some(&id)).await {
            Err(error) if tries < TRIES && error.kind() == Kind::Limited => {
                tokio::time::sleep(error.wait().unwrap_or(Duration::from_secs(1))).await;
            }
            done => return done,
        }
    }
}

type Batches = tokio::sync::mpsc::Sender<(Vec<u8>, u64)>;

/// Reads lines and hands them on in batches, without waiting for a whole batch where lines come
/// slowly: the buffer tells when nothing more is at hand.
fn read_batches(file: &str, push: &Push, batches: &Batches) -> Result<()> {
    let failed = |source| Error::io(format!("read `{file}`"), source);
    let source: Box<dyn std::io::Read> = if file == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(failed)?)
    };
    let mut reader = std::io::BufReader::new(source);
    let (mut batch, mut count, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
        let text = line.trim_ascii();
        if !text.is_empty() {
            batch.extend_from_slice(record(text, push).as_bytes());
            batch.push(b'\n');
            count += 1;
        }
        let idle = reader.buffer().is_empty();
        if !batch.is_empty() && (read == 0 || idle || batch.len() > BATCH_BYTES) {
            let gone = batches.blocking_send((std::mem::take(&mut batch), count)).is_err();
            count = 0;
            if gone {
                return Ok(());
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// A line as a record: JSON objects as they are, other lines as messages.
fn record(line: &[u8], push: &Push) -> String {
    let mut record = if let Ok(Value::Object(record)) = serde_json::from_slice(line) {
        record
    } else {
        let mut record = serde_json::Map::new();
        record.insert("message".into(), String::from_utf8_lossy(line).into());
        record
    };
    let level = push.level.map(|level| level.to_string());
    for (names, value) in [
        (&["stream"][..], &push.stream),
        (&["level", "levelname"][..], &level),
        (&["run_id"][..], &push.run_id),
    ] {
        if let (Some(value), false) = (value, names.iter().any(|name| record.contains_key(*name))) {
            record.insert(names.first().copied().unwrap_or_default().into(), json!(value));
        }
    }
    Value::Object(record).to_string()
}

async fn query(search: Search, client: &Client, output: Output) -> Result<()> {
    let mut params = search.which.params()?;
    if search.oldest {
        params.push(("order".into(), "asc".into()));
    }
    let (mut found, incomplete) = pages(client, &params, search.limit).await?;
    if output.is_json() {
        let items = std::mem::take(&mut found);
        return output.done("", &json!({ "items": items, "incomplete": incomplete }));
    }
    if found.is_empty() {
        output.line("nothing found: `dripctl trajectory streams` shows what there is")?;
    }
    let screen = Screen::open(client, output).await;
    for kept in &found {
        screen.print(kept)?;
    }
    if incomplete {
        output.line("… the search ended at its bound: narrow it with --from, --to or --stream")?;
    }
    Ok(())
}

async fn pages(
    client: &Client,
    params: &[(String, String)],
    limit: usize,
) -> Result<(Vec<Kept>, bool)> {
    let (mut found, mut incomplete) = (Vec::new(), false);
    let mut cursor = None;
    while found.len() < limit {
        let mut params = params.to_vec();
        params.push(("limit".into(), (limit - found.len()).min(super::LIMIT_MAX).to_string()));
        params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let page = client::query(client, &params).await?;
        found.extend(page.items);
        incomplete |= page.incomplete;
        cursor = page.next_cursor;
        if cursor.is_none() || page.incomplete {
            break;
        }
    }
    Ok((found, incomplete))
}

async fn tail(follow: Follow, client: &Client, output: Output) -> Result<()> {
    let params = follow.which.params()?;
    // The stream is opened first, so that nothing falls between the last records and the new ones.
    let live = if follow.live {
        let mut params = params.clone();
        params.retain(|(name, _)| name != "to");
        Some(client::tail(client, &params, None).await?)
    } else {
        None
    };
    let (mut last, _) = pages(client, &params, follow.lines).await?;
    last.reverse();
    let mut seen = last.iter().map(|kept| kept.seq).max().unwrap_or(0);
    let screen = Screen::open(client, output).await;
    for kept in &last {
        screen.print(kept)?;
    }
    let Some(mut live) = live else { return Ok(()) };
    let mut buffer = Vec::new();
    loop {
        let chunk = tokio::select! {
            chunk = live.chunk() => chunk,
            _interrupted = tokio::signal::ctrl_c() => return Ok(()),
        };
        let lost = |why| {
            Error::new(Kind::Unavailable, "connection_lost", format!("the daemon went away: {why}"))
        };
        let Some(chunk) = chunk.map_err(lost)? else {
            return Err(Error::new(Kind::Unavailable, "tail_ended", "the daemon ended the stream"));
        };
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            seen = screen.show_event(&event, seen)?;
        }
    }
}

/// Where records are shown, and how each stream wants its own.
struct Screen {
    output: Output,
    templates: BTreeMap<String, String>,
}

impl Screen {
    /// Asks the daemon for the streams' templates. Whoever may not ask sees all records alike.
    async fn open(client: &Client, output: Output) -> Self {
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
        Self { output, templates }
    }

    /// Shows one event; answers the number of the last record that was shown.
    fn show_event(&self, event: &[u8], seen: u64) -> Result<u64> {
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

    fn print(&self, kept: &Kept) -> Result<()> {
        if self.output.is_json() {
            return self.output.line(&json!(kept).to_string());
        }
        match self.templates.get(&kept.record.stream) {
            Some(template) => self.output.line(&write_out(template, kept)),
            None => self.output.line(&show(kept, self.output)),
        }
    }
}

/// A record as one line. Control characters are shown, not obeyed.
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
    let clean = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c })
            .collect()
    };
    format!(
        "{} {level} {} {}{}",
        output.paint("2", &record.time.to_string()),
        output.paint("36", &clean(&record.stream)),
        clean(&record.message),
        output.paint("2", &clean(&fields)),
    )
}

fn draw(histogram: &Histogram, output: Output) -> Result<()> {
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
