//! Reads collections, leaves out what is there already, and sends the rest in batches.

use std::collections::{BTreeMap, HashSet};

use mongodb::Database;
use mongodb::bson::{Document, doc};
use serde::Serialize;
use serde_json::Value;

use super::super::super::client;
use super::super::super::intake::line::stream_like;
use super::super::push;
use super::Import;
use super::old::{self, FROM, ID, Taken, Zone};
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::mongo::bson::extended;
use crate::kernel::mongo::{Mongo, Password};
use crate::kernel::name::Name;

/// So many documents are compared and sent in one go.
const BATCH: usize = 1000;
/// A push is sent when it has so many bytes: a batch of long records is several.
const PUSH_BYTES: usize = 4 << 20;
/// How many refused documents are told one by one.
const TOLD: usize = 100;
/// The database where the original's web pages looked.
const DATABASE: &str = "drip";

/// What became of the documents of one collection.
#[derive(Debug, Default, Serialize)]
struct Row {
    collection: String,
    read: u64,
    taken: u64,
    already_there: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct Rejected {
    collection: String,
    id: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Report {
    from: String,
    dry_run: bool,
    collections: Vec<Row>,
    rejected: Vec<Rejected>,
}

/// What every collection is read with.
struct Importer<'i> {
    asked: &'i Import,
    mongo: &'i Mongo,
    client: &'i Client,
    zone: Zone,
    output: Output,
    rejected: Vec<Rejected>,
}

pub(super) async fn import(asked: Import, client: &Client, output: Output) -> Result<()> {
    let zone = zone(asked.timezone.as_deref())?;
    if let Some(stream) = &asked.stream {
        Name::new(stream)?;
    }
    let mongo = Mongo::open(&asked.source, "dripctl", Password::Asked).await?;
    let database = mongo.client().database(mongo.database().unwrap_or(DATABASE));
    let names = collections(&asked, &mongo, &database).await?;
    let from = format!("{}/{}", mongo.place(), database.name());
    let mut importer =
        Importer { asked: &asked, mongo: &mongo, client, zone, output, rejected: Vec::new() };
    let mut rows = Vec::new();
    for name in names {
        rows.push(importer.take(&database, &name).await?);
    }
    let rejected = importer.rejected;
    show(&Report { from, dry_run: asked.dry_run, collections: rows, rejected }, output)
}

fn zone(name: Option<&str>) -> Result<Zone> {
    let Some(name) = name else { return Ok(Zone::Here) };
    name.parse().map(Zone::Named).map_err(|_unknown| {
        let detail = format!("`{name}` is no zone: write it as in Asia/Shanghai or UTC");
        Error::new(Kind::Usage, "bad_zone", detail)
    })
}

/// The collections that were asked for, or those that hold lines of a log.
async fn collections(asked: &Import, mongo: &Mongo, database: &Database) -> Result<Vec<String>> {
    let mut there = mongo.wait(async { database.list_collection_names().await }).await?;
    there.sort();
    let missing: Vec<&str> =
        asked.collections.iter().filter(|name| !there.contains(name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let detail =
            format!("the database {} has no collection {}", database.name(), missing.join(", "));
        return Err(Error::new(Kind::NotFound, "no_collections", detail));
    }
    if !asked.collections.is_empty() {
        return Ok(asked.collections.clone());
    }
    let mut found = Vec::new();
    for name in there {
        let first = database.collection::<Document>(&name);
        let first = mongo.wait(async { first.find_one(doc! {}).await }).await?;
        let first = first.and_then(|first| raw(&first).ok());
        if first.is_some_and(|first| old::is_line(&first)) {
            found.push(name);
        }
    }
    if found.is_empty() {
        let detail = format!(
            "no collection of the database {} holds lines of a log (documents with `msg`, `levelname` and `time`): name another database in the URL, or the collections with --collection",
            database.name()
        );
        return Err(Error::new(Kind::NotFound, "no_collections", detail));
    }
    Ok(found)
}

fn raw(document: &Document) -> Result<Value> {
    let bytes = document.to_vec().map_err(crate::kernel::mongo::damaged)?;
    let raw = mongodb::bson::RawDocument::from_bytes(&bytes);
    extended(raw.map_err(crate::kernel::mongo::damaged)?)
}

impl Importer<'_> {
    /// Takes in one collection, in the order of its ids.
    async fn take(&mut self, database: &Database, name: &str) -> Result<Row> {
        let from = format!("{}.{name}", database.name());
        let like_it = stream_like(name.into()).into_owned();
        let stream = match &self.asked.stream {
            Some(stream) => (stream.clone(), true),
            None => (like_it, false),
        };
        let documents = database.collection::<Document>(name);
        let mongo = self.mongo;
        let count = mongo.wait(async { documents.estimated_document_count().await }).await?;
        let bar = self.output.counting(name, count);
        let sorted = documents.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(1000);
        let mut cursor = mongo.wait(async { sorted.await }).await?;
        let mut row = Row { collection: name.to_owned(), ..Row::default() };
        let mut batch = Vec::new();
        while mongo.wait(cursor.advance()).await? {
            row.read += 1;
            bar.inc(1);
            let document = extended(cursor.current()).map_err(|error| error.detail().to_owned());
            let place = document.as_ref().map_or_else(
                |_| format!("document {}", row.read),
                |document| crate::kernel::mongo::extended::id(document.get("_id")),
            );
            let stream = (stream.0.as_str(), stream.1);
            match document.and_then(|document| old::read(document, &from, stream, self.zone)) {
                Ok(taken) => batch.push(taken),
                Err(reason) => self.reject(&mut row, place, reason),
            }
            if batch.len() >= BATCH {
                self.send(std::mem::take(&mut batch), &from, &mut row).await?;
            }
        }
        self.send(batch, &from, &mut row).await?;
        bar.finish_and_clear();
        Ok(row)
    }

    fn reject(&mut self, row: &mut Row, id: String, reason: String) {
        row.rejected += 1;
        if self.rejected.len() < TOLD {
            self.rejected.push(Rejected { collection: row.collection.clone(), id, reason });
        }
    }

    /// Sends what is not there yet.
    async fn send(&mut self, batch: Vec<Taken>, from: &str, row: &mut Row) -> Result<()> {
        let there = self.there(&batch, from).await?;
        let (old, new): (Vec<Taken>, Vec<Taken>) =
            batch.into_iter().partition(|taken| there.contains(&taken.id));
        row.already_there += old.len() as u64;
        if self.asked.dry_run || new.is_empty() {
            row.taken += new.len() as u64;
            return Ok(());
        }
        let (mut lines, mut first) = (String::new(), 0);
        for (place, taken) in new.iter().enumerate() {
            lines.push_str(&taken.record.to_string());
            lines.push('\n');
            if lines.len() >= PUSH_BYTES || place + 1 == new.len() {
                let sent = new.get(first..=place).unwrap_or_default();
                self.push(std::mem::take(&mut lines), sent, row).await?;
                first = place + 1;
            }
        }
        Ok(())
    }

    async fn push(&mut self, lines: String, sent: &[Taken], row: &mut Row) -> Result<()> {
        let outcome = push::send(self.client, lines.into_bytes()).await?;
        row.taken += outcome.accepted;
        for rejected in &outcome.rejected {
            let at = usize::try_from(rejected.index).unwrap_or(usize::MAX);
            let id = sent.get(at).map(|taken| taken.id.clone()).unwrap_or_default();
            self.reject(row, id, rejected.reason.clone());
        }
        row.rejected += outcome.more_rejected;
        Ok(())
    }

    /// The ids among those of a batch that an import before took in: looked for by stream, where
    /// they came from and when they were.
    async fn there(&self, batch: &[Taken], from: &str) -> Result<HashSet<String>> {
        let mut spans = BTreeMap::new();
        for taken in batch {
            let span = spans.entry(taken.stream.as_str()).or_insert((taken.time, taken.time));
            *span = (span.0.min(taken.time), span.1.max(taken.time));
        }
        let mut found = HashSet::new();
        for (stream, (first, last)) in spans {
            let until = last.after(std::time::Duration::from_micros(1));
            let params = [
                ("stream", stream.to_owned()),
                ("from", first.to_string()),
                ("to", until.to_string()),
                (&*format!("field.{FROM}"), from.to_owned()),
            ];
            let params: Vec<_> =
                params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let mut cursor = None;
            loop {
                let mut params = params.clone();
                params.push(("limit".into(), super::super::super::LIMIT_MAX.to_string()));
                params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
                let page = client::query(self.client, &params).await?;
                if page.incomplete {
                    let detail = "the daemon could not look through all of its log for what an import before took in";
                    return Err(Error::new(Kind::TimedOut, "incomplete", detail));
                }
                let id = |kept: &super::super::super::Kept| {
                    kept.record.fields.get(ID).and_then(Value::as_str).map(str::to_owned)
                };
                found.extend(page.items.iter().filter_map(id));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }
}

fn show(report: &Report, output: Output) -> Result<()> {
    if output.is_json() {
        output.object(report)?;
    } else {
        let fields = ["collection", "read", "taken", "already_there", "rejected"];
        output.rows(&report.collections, &fields, "nothing was read")?;
        for rejected in &report.rejected {
            let Rejected { collection, id, reason } = rejected;
            output.line(&format!("{collection} {id} was rejected: {reason}"))?;
        }
        if report.dry_run {
            output.line("nothing was kept: this was a dry run")?;
        }
    }
    let bad: u64 = report.collections.iter().map(|row| row.rejected).sum();
    if bad == 0 {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "records_rejected", format!("{bad} documents were rejected")))
}
