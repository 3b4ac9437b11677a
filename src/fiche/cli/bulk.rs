//! Many cards at once: import, export, and following what changes.

use std::io::Write as _;
use std::path::Path;

use super::{Filter, show};
use crate::fiche::Change;
use crate::fiche::client::{FicheClient, lines_of};
use crate::kernel::cli::{Output, read_input};
use crate::kernel::{Error, Kind, Result};

/// The longest event that is read, in bytes.
const EVENT_MAX: usize = 16 << 20;

pub(super) async fn import(fiche: &FicheClient, file: &str, out: Output) -> Result<()> {
    let done = fiche.import(&read_input(file)?).await?;
    let said = format!(
        "{} cards: {} new, {} updated, {} as they were; {} lines refused",
        done.accepted, done.created, done.updated, done.unchanged, done.refused
    );
    out.done(&said, &done)?;
    if done.refused == 0 {
        return Ok(());
    }
    let first = done.rejected.iter().take(20);
    let lines: Vec<_> =
        first.map(|rejected| format!("line {}: {}", rejected.line, rejected.reason)).collect();
    Err(Error::new(
        Kind::Invalid,
        "lines_refused",
        format!("{} lines are no cards:\n{}", done.refused, lines.join("\n")),
    ))
}

pub(super) async fn export(
    fiche: &FicheClient,
    filter: &Filter,
    to: Option<&Path>,
    out: Output,
) -> Result<()> {
    let mut coming = fiche.export(filter).await?;
    let mut file: Box<dyn std::io::Write + Send> = match to {
        Some(path) => Box::new(
            std::fs::File::create(path)
                .map_err(|source| Error::io(format!("write {}", path.display()), source))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    let mut cards = 0;
    while let Some(piece) = coming.chunk().await.map_err(cut_off)? {
        cards += lines_of(&piece);
        match file.write_all(&piece) {
            // A reader that went away (`| head`) is no failure.
            Err(gone) if gone.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|source| Error::io("write the export", source))?,
        }
    }
    file.flush().map_err(|source| Error::io("write the export", source))?;
    match to {
        Some(path) => out.done(
            &format!("wrote {cards} cards to {}", path.display()),
            &serde_json::json!({"cards": cards, "file": path.display().to_string()}),
        ),
        None => Ok(()),
    }
}

pub(super) fn cut_off(source: reqwest::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        "connection_lost",
        format!("the daemon's answer was cut off: {source}"),
    )
}

/// Shows what changes until the daemon ends the stream.
pub(super) async fn follow(fiche: &FicheClient, after: Option<u64>, out: Output) -> Result<()> {
    let mut coming = fiche.follow(after).await?;
    let mut waiting = Vec::new();
    while let Some(piece) = coming.chunk().await.map_err(cut_off)? {
        waiting.extend_from_slice(&piece);
        while let Some(end) = waiting.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = waiting.drain(..end + 2).collect();
            show_event(&event, out)?;
        }
        if waiting.len() > EVENT_MAX {
            return Err(Error::new(Kind::TooLarge, "event_too_large", "an event is too large"));
        }
    }
    Err(Error::new(
        Kind::Unavailable,
        "stream_ended",
        "the daemon ended the stream: it is stopping",
    ))
}

fn show_event(event: &[u8], out: Output) -> Result<()> {
    let text = String::from_utf8_lossy(event);
    let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    if data.is_empty() {
        return Ok(());
    }
    let data = data.join("\n");
    if out.is_json() {
        return out.line(data.trim());
    }
    let change: Change = serde_json::from_str(data.trim())
        .map_err(|source| Error::internal(format!("an event of the daemon: {source}")))?;
    let row = show::change_row(&change);
    let word = |field: &str| match row.get(field) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let words = ["number", "at", "event", "card", "stage", "by"].map(word);
    out.line(&words.join("  "))
}
