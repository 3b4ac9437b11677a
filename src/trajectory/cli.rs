//! `dripctl trajectory …`

mod import;
mod push;
mod screen;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client;
use super::{Kept, Level};
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::{Error, Kind, Result};
use screen::Screen;

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
    /// Count the values of a field, the most frequent first
    Values(Values),
    /// Take in the logs that Drip 0.1 kept in MongoDB
    Import(import::Import),
    /// Show the records around one, in the order they came in
    Context(Around),
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
    /// Show each record's number, which `context` asks for
    #[arg(long)]
    numbers: bool,
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

/// Which field to count, and of which records.
#[derive(Debug, Args)]
pub struct Values {
    /// The field, such as turbine; a dot leads inwards
    #[arg(value_name = "FIELD")]
    of: String,
    #[command(flatten)]
    which: Which,
    /// So many values
    #[arg(long, default_value_t = super::VALUES_DEFAULT)]
    top: usize,
}

/// Around which record.
#[derive(Debug, Args)]
pub struct Around {
    /// The record's number: `dripctl trajectory query --numbers` shows it
    #[arg(value_name = "NUMBER")]
    seq: u64,
    /// So many records before it and behind it
    #[arg(long, short = 'n', default_value_t = super::CONTEXT_DEFAULT)]
    lines: usize,
    /// Of its stream alone
    #[arg(long)]
    alone: bool,
}

fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| "DEBUG, INFO, WARNING, ERROR or CRITICAL".to_owned())
}

/// Runs a command against a daemon.
pub async fn run(command: Command, client: &Client, output: Output) -> Result<()> {
    match command {
        Command::Push(push) => push::send_all(push, client, output).await,
        Command::Query(search) => query(search, client, output).await,
        Command::Tail(follow) => tail(follow, client, output).await,
        Command::Streams => {
            let streams = client::streams(client).await?;
            let fields =
                ["name", "records", "first", "last", "levels", "keep", "retention", "forward"];
            output.rows(
                &streams,
                &fields,
                "no streams yet: send records with `dripctl trajectory push`",
            )
        }
        Command::Histogram(bars) => {
            let mut params = bars.which.params()?;
            params.push(("buckets".into(), bars.buckets.to_string()));
            screen::draw(&client::histogram(client, &params).await?, output)
        }
        Command::Values(values) => {
            let mut params = values.which.params()?;
            params.extend([("field".into(), values.of), ("top".into(), values.top.to_string())]);
            screen::rank(&client::values(client, &params).await?, output)
        }
        Command::Import(asked) => Box::pin(import::import(asked, client, output)).await,
        Command::Context(Around { seq, lines, alone }) => {
            let found = client::context(client, seq, lines, alone).await?;
            Screen::open(client, output).await.print_around(&found, seq)
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
    if found.is_empty() && !incomplete {
        output.line("nothing found: `dripctl trajectory streams` shows what there is")?;
    }
    let screen = Screen::open(client, output).await.with_numbers(search.numbers);
    for kept in &found {
        screen.print(kept)?;
    }
    screen::say_incomplete(incomplete, output)
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
