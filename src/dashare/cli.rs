//! `dripctl dashare`: channels, who may read them, how much, and the data themselves.

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::DashareClient;
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::{Error, Kind, Result};

/// Data channels
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Channels: data shared by name
    #[command(subcommand)]
    Channel(Channel),
    /// Who may read a channel
    #[command(subcommand)]
    Consumer(Consumer),
    /// How much a user may take from a channel
    #[command(subcommand)]
    Quota(Quota),
    /// What a user used, by channel and day
    Usage {
        /// The account's name
        user: String,
    },
    /// Fetch data of a channel
    Get(Get),
    /// Ask datasets in SQL
    Sql {
        /// One SELECT; `scada` is the latest version, `"scada@2014"` that one
        query: String,
        /// A value for a `?`, in order; JSON is taken as such
        #[arg(long = "param")]
        params: Vec<String>,
        /// json, csv, ndjson, parquet or arrow; a table for people unless told
        #[arg(long)]
        format: Option<String>,
        /// Write to this file instead of the terminal
        #[arg(long)]
        out: Option<String>,
    },
}

/// What can be done with channels.
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// Make or change a channel
    Put(Box<ChannelPut>),
    /// Show a channel
    Get {
        /// The channel: group/name
        channel: String,
    },
    /// List channels
    List,
    /// Delete a channel and its grants
    Delete {
        /// The channel: group/name
        channel: String,
    },
}

/// What a channel is made of.
#[derive(Debug, Args)]
pub struct ChannelPut {
    /// The channel: group/name
    channel: String,
    /// The dataset to share: scada@2014, or scada for its latest version
    #[arg(long, conflicts_with = "sql", required_unless_present = "sql")]
    dataset: Option<String>,
    /// A query over datasets to share
    #[arg(long)]
    sql: Option<String>,
    /// The column of times
    #[arg(long)]
    time: Option<String>,
    /// The column of entities
    #[arg(long)]
    entity: Option<String>,
    /// The columns to share besides, with commas; every one if not given
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// What quotas count: days, rows, bytes or requests
    #[arg(long, default_value = "rows")]
    unit: String,
    /// How often each user may ask, such as 10/s
    #[arg(long)]
    rate: Option<String>,
    /// How many requests may come at once
    #[arg(long)]
    burst: Option<u32>,
}

/// What can be done with grants.
#[derive(Debug, Subcommand)]
pub enum Consumer {
    /// Let a user read a channel
    Grant {
        /// The channel: group/name
        channel: String,
        /// The account's name
        user: String,
        /// Only these columns, with commas
        #[arg(long, value_delimiter = ',')]
        columns: Vec<String>,
        /// Only rows from this time on
        #[arg(long)]
        from: Option<String>,
        /// Only rows before this time
        #[arg(long)]
        to: Option<String>,
    },
    /// Take a grant back
    Revoke {
        /// The channel: group/name
        channel: String,
        /// The account's name
        user: String,
    },
    /// Who may read a channel
    List {
        /// The channel: group/name
        channel: String,
    },
}

/// What can be done with quotas.
#[derive(Debug, Subcommand)]
pub enum Quota {
    /// Set a quota; what was used stays used
    Set {
        /// The account's name
        user: String,
        /// The channel: group/name
        channel: String,
        /// How much may be used in a period
        limit: u64,
        /// days, rows, bytes or requests; the channel's unit if not given
        #[arg(long)]
        unit: Option<String>,
        /// day, month or total
        #[arg(long, default_value = "day")]
        period: String,
    },
    /// How the quotas of a user stand
    Show {
        /// The account's name
        user: String,
    },
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct Get {
    /// The channel: group/name
    channel: String,
    /// Only these entities, with commas
    #[arg(long)]
    entity: Option<String>,
    /// Only rows from this time on
    #[arg(long)]
    start: Option<String>,
    /// Only rows before this time
    #[arg(long)]
    end: Option<String>,
    /// Only these columns besides time and entity, with commas
    #[arg(long)]
    columns: Option<String>,
    /// At most so many rows
    #[arg(long)]
    limit: Option<u64>,
    /// Go on where an answer was cut
    #[arg(long)]
    cursor: Option<String>,
    /// json, csv, ndjson, parquet or arrow
    #[arg(long, default_value = "csv")]
    format: String,
    /// Write to this file instead of the terminal
    #[arg(long)]
    out: Option<String>,
}

/// Does what a command says.
pub async fn run(command: Command, client: &Client, out: Output) -> Result<()> {
    let dashare = DashareClient::new(client.clone());
    match command {
        Command::Channel(command) => channel(command, &dashare, out).await,
        Command::Consumer(command) => consumer(command, &dashare, out).await,
        Command::Quota(command) => quota(command, &dashare, out).await,
        Command::Usage { user } => {
            let empty = format!("`{user}` has used nothing yet");
            let fields = ["channel", "day", "requests", "rows", "bytes", "days"];
            out.rows(&dashare.usage(&user).await?, &fields, &empty)
        }
        Command::Get(get) => fetch(get, &dashare, out).await,
        Command::Sql { query, params, format, out: file } => {
            let params: Vec<Value> = params
                .iter()
                .map(|text| serde_json::from_str(text).unwrap_or_else(|_text| json!(text)))
                .collect();
            let wants_table = format.is_none() && file.is_none() && !out.is_json();
            let format = format.unwrap_or_else(|| "json".into());
            let body = dashare.sql(&query, &json!(params), &format).await?;
            if wants_table {
                return table(&body, out);
            }
            deliver(&body, file.as_deref(), out, &json!({ "bytes": body.len() }))
        }
    }
}

/// Adds a field when it was given.
fn with(body: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    let value = value.into();
    if !value.is_null() && value != json!([]) {
        body.insert(name.to_owned(), value);
    }
}

async fn channel(command: Channel, dashare: &DashareClient, out: Output) -> Result<()> {
    match command {
        Channel::Put(put) => {
            let mut body = Map::new();
            with(&mut body, "dataset", put.dataset);
            with(&mut body, "sql", put.sql);
            with(&mut body, "time_column", put.time);
            with(&mut body, "entity_column", put.entity);
            with(&mut body, "columns", put.columns);
            with(&mut body, "unit", put.unit);
            with(&mut body, "rate", put.rate);
            with(&mut body, "burst", put.burst);
            let channel = dashare.put_channel(&put.channel, &Value::Object(body)).await?;
            out.done(&format!("the channel `{}` is open", put.channel), &channel)
        }
        Channel::Get { channel } => out.object(&dashare.channel(&channel).await?),
        Channel::List => {
            let fields = ["group", "name", "dataset", "unit", "rate", "updated_at"];
            let empty = "no channels yet: open one with `dripctl dashare channel put GROUP/NAME --dataset NAME`";
            out.rows(&dashare.channels().await?, &fields, empty)
        }
        Channel::Delete { channel } => {
            dashare.delete_channel(&channel).await?;
            out.done(&format!("the channel `{channel}` is gone"), &json!({ "deleted": channel }))
        }
    }
}

async fn consumer(command: Consumer, dashare: &DashareClient, out: Output) -> Result<()> {
    match command {
        Consumer::Grant { channel, user, columns, from, to } => {
            let mut body = Map::new();
            with(&mut body, "columns", columns);
            with(&mut body, "from", from);
            with(&mut body, "to", to);
            let grant = dashare.grant(&channel, &user, &Value::Object(body)).await?;
            out.done(&format!("`{user}` may read the channel `{channel}`"), &grant)
        }
        Consumer::Revoke { channel, user } => {
            dashare.revoke(&channel, &user).await?;
            let gone = json!({ "channel": channel, "user": user });
            out.done(&format!("`{user}` may not read the channel `{channel}` any more"), &gone)
        }
        Consumer::List { channel } => {
            let fields = ["user", "columns", "from", "to", "granted_at", "granted_by"];
            let empty = "no grants yet: `dripctl dashare consumer grant GROUP/NAME USER`";
            out.rows(&dashare.grants(&channel).await?, &fields, empty)
        }
    }
}

async fn quota(command: Quota, dashare: &DashareClient, out: Output) -> Result<()> {
    let (user, answer) = match command {
        Quota::Set { user, channel, limit, unit, period } => {
            let mut body = Map::new();
            with(&mut body, "channel", channel);
            with(&mut body, "limit", limit);
            with(&mut body, "unit", unit);
            with(&mut body, "period", period);
            let answer = dashare.put_quota(&user, &Value::Object(body)).await?;
            (user, answer)
        }
        Quota::Show { user } => {
            let answer = dashare.quotas(&user).await?;
            (user, answer)
        }
    };
    let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = ["channel", "unit", "limit", "period", "used", "remaining", "resets_at"];
    out.rows(&items, &fields, &format!("`{user}` has no quotas: what was granted is unlimited"))
}

async fn fetch(get: Get, dashare: &DashareClient, out: Output) -> Result<()> {
    let limit = get.limit.map(|limit| limit.to_string());
    let given = [
        ("entity", get.entity),
        ("start", get.start),
        ("end", get.end),
        ("columns", get.columns),
        ("limit", limit),
        ("cursor", get.cursor),
        ("format", Some(get.format)),
    ];
    let params: Vec<_> =
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let data = dashare.data(&get.channel, &params).await?;
    let told = json!({
        "rows": data.rows, "bytes": data.body.len(), "cursor": data.cursor,
        "quota_remaining": data.quota_remaining,
    });
    deliver(&data.body, get.out.as_deref(), out, &told)
}

/// Writes data to a file, or to the terminal as they are.
/// Rows as a table for people.
fn table(body: &[u8], out: Output) -> Result<()> {
    let answer: Value = serde_json::from_slice(body).map_err(|source| {
        Error::new(Kind::Internal, "bad_answer", format!("the daemon's answer: {source}"))
    })?;
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice);
    let rows: Vec<_> = items.unwrap_or_default().iter().filter_map(Value::as_object).collect();
    let Some(first) = rows.first() else {
        return out.line("no rows");
    };
    let columns: Vec<&String> = first.keys().collect();
    out.table(&columns, rows.iter().map(|row| row.values().collect()))
}

fn deliver(body: &[u8], file: Option<&str>, out: Output, told: &Value) -> Result<()> {
    let Some(file) = file else {
        let mut stdout = std::io::stdout().lock();
        // Text ends with a line end, or it runs into the prompt.
        let end: &[u8] = if body.ends_with(b"}") { b"\n" } else { b"" };
        let written = stdout.write_all(body).and_then(|()| stdout.write_all(end));
        return match written.and_then(|()| stdout.flush()) {
            // A reader that went away (`| head`) is no failure.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::io("write to the terminal", error))
            }
            _ => Ok(()),
        };
    };
    std::fs::write(file, body).map_err(|error| {
        Error::new(Kind::Io, "file_unwritable", format!("cannot write `{file}`: {error}"))
    })?;
    let rows = told.get("rows").filter(|rows| !rows.is_null());
    let rows = rows.map_or_else(String::new, |rows| format!("{rows} rows, "));
    out.done(&format!("{rows}{} bytes in `{file}`", body.len()), told)
}
