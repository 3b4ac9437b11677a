//! Sending records: lines are read from a file or a pipe and go out in batches.

use std::io::BufRead as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Ingested;
use super::super::client;
use super::Push;
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::new_id;

/// A batch is sent when it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// How often a batch that the daemon has no room for is sent again.
const TRIES: u32 = 10;

/// Sends what a file has, and tells which records were rejected.
pub(super) async fn send_all(push: Push, client: &Client, output: Output) -> Result<()> {
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
pub(super) async fn send(client: &Client, batch: Vec<u8>) -> Result<Ingested> {
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
