//! The index on disk: its fields, how a card becomes a document, and how it is opened, with the
//! proof that it belongs to these records.

use std::path::Path;

use serde_json::{Map, Value};
use tantivy::directory::MmapDirectory;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
    Value as _,
};
use tantivy::tokenizer::{RAW_TOKENIZER_NAME, TextAnalyzer};
use tantivy::{Index, IndexReader, ReloadPolicy, TantivyDocument};

use super::query::Field as Asked;
use super::words::{WordTokenizer, fold};
use crate::fiche::model::{Card, CardKey};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::feed;
use crate::kernel::name::Digest;
use crate::kernel::records::Records;

/// What the index is made of. Another number, and every index is made anew.
const SCHEMA: u32 = 2;
const TOKENIZER: &str = "drip";

/// The fields of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) id: Field,
    pub(super) kind: Field,
    pub(super) stage: Field,
    pub(super) label: Field,
    pub(super) name: Field,
    pub(super) version: Field,
    pub(super) summary: Field,
    pub(super) remark: Field,
    pub(super) config: Field,
    pub(super) author: Field,
    pub(super) labels: Field,
    pub(super) all: Field,
    pub(super) exact_name: Field,
    pub(super) whole_name: Field,
    pub(super) updated: Field,
    pub(super) created: Field,
    order: Field,
    label_key: Field,
    label_pair: Field,
}

impl Fields {
    /// Where a field that can be asked for by name is kept.
    pub(super) const fn of(&self, field: Asked) -> Field {
        match field {
            Asked::Kind => self.kind,
            Asked::Stage => self.stage,
            Asked::Name => self.name,
            Asked::Version => self.version,
            Asked::Summary => self.summary,
            Asked::Remark => self.remark,
            Asked::Config => self.config,
            Asked::Author => self.author,
            Asked::Labels => self.labels,
        }
    }
}

/// The name of the field that a search by name is sorted by.
pub(super) const ORDER: &str = "order";
/// The names of the fields that a search by time is sorted by.
pub(super) const UPDATED: &str = "updated";
pub(super) const CREATED: &str = "created";
/// The names of the fields that labels are counted by: the keys, and the keys with their values.
pub(super) const LABEL_KEY: &str = "label_key";
pub(super) const LABEL_PAIR: &str = "label_pair";

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let words = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions),
    );
    let mut text = |name: &str| schema.add_text_field(name, words.clone());
    let (name, version, summary) = (text("name"), text("version"), text("summary"));
    let (remark, config, author) = (text("remark"), text("config"), text("author"));
    let (labels, all) = (text("labels"), text("all"));
    let raw = TextOptions::default().set_fast(RAW_TOKENIZER_NAME);
    let fields = Fields {
        id: schema.add_text_field("id", STRING | STORED),
        kind: schema.add_text_field("kind", STRING | FAST),
        stage: schema.add_text_field("stage", STRING | FAST),
        label: schema.add_text_field("label", STRING),
        name,
        version,
        summary,
        remark,
        config,
        author,
        labels,
        all,
        exact_name: schema.add_text_field("exact_name", STRING),
        whole_name: schema.add_text_field("whole_name", STRING),
        updated: schema.add_i64_field(UPDATED, FAST),
        created: schema.add_i64_field(CREATED, FAST),
        order: schema.add_text_field(ORDER, raw.clone()),
        label_key: schema.add_text_field(LABEL_KEY, raw.clone()),
        label_pair: schema.add_text_field(LABEL_PAIR, raw),
    };
    (schema.build(), fields)
}

/// An index that is open. Searches keep it for as long as they need it.
pub(super) struct Live {
    pub(super) index: Index,
    pub(super) reader: IndexReader,
    pub(super) fields: Fields,
}

impl Live {
    fn over(index: Index, fields: Fields) -> Result<Self> {
        let analyzer = TextAnalyzer::builder(WordTokenizer::default()).build();
        index.tokenizers().register(TOKENIZER, analyzer);
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()
            .map_err(failed)?;
        Ok(Self { index, reader, fields })
    }

    /// An empty index, in `folder` or in memory. What is in the folder is removed.
    pub(super) fn new(folder: Option<&Path>) -> Result<Self> {
        let (schema, fields) = schema();
        let index = match folder {
            None => Index::create_in_ram(schema),
            Some(folder) => {
                if folder.exists() {
                    std::fs::remove_dir_all(folder)
                        .map_err(|source| Error::io("remove the old search index", source))?;
                }
                crate::kernel::disk::make_folder(folder)?;
                Index::create_in_dir(folder, schema).map_err(failed)?
            }
        };
        Self::over(index, fields)
    }

    /// The index in a folder and the number of the last change that it holds; none when it is
    /// missing, damaged, of another schema, or belongs to other records.
    pub(super) fn open(folder: &Path, records: &dyn Records) -> Result<Option<(Self, u64)>> {
        let (schema, fields) = schema();
        if !folder.join("meta.json").exists() {
            return Ok(None);
        }
        let opened =
            MmapDirectory::open(folder).map_err(tantivy::TantivyError::from).and_then(Index::open);
        let index = match opened {
            Ok(index) if index.schema() == schema => index,
            Ok(_) => return Ok(None),
            Err(why) => {
                tracing::warn!(%why, "the search index cannot be opened and is made anew");
                return Ok(None);
            }
        };
        let is_whole = index.validate_checksum().is_ok_and(|damaged| damaged.is_empty());
        let mark = index.load_metas().ok().and_then(|metas| metas.payload);
        let reached = match mark.as_deref().and_then(read_mark) {
            Some((number, proof)) if is_whole && proof_of(records, number)? == proof => number,
            _ => {
                tracing::warn!(
                    "the search index is damaged or not of these cards and is made anew"
                );
                return Ok(None);
            }
        };
        match Self::over(index, fields) {
            Ok(live) => Ok(Some((live, reached))),
            Err(why) => {
                tracing::warn!(%why, "the search index cannot be read and is made anew");
                Ok(None)
            }
        }
    }

    /// The card of a document that was found.
    pub(super) fn key_of(&self, document: &TantivyDocument) -> Option<CardKey> {
        let id = document.get_first(self.fields.id)?;
        CardKey::from_subject(id.as_str()?)
    }

    /// A card as a document.
    pub(super) fn document(&self, card: &Card) -> TantivyDocument {
        let fields = &self.fields;
        let mut document = TantivyDocument::default();
        document.add_text(fields.id, card.key.to_string());
        document.add_text(fields.kind, card.key.kind.as_str());
        document.add_text(fields.stage, card.stage.as_str());
        document.add_text(fields.exact_name, card.key.name.as_str());
        document.add_text(fields.whole_name, fold(card.key.name.as_str()));
        document.add_i64(fields.updated, card.updated_at.0);
        document.add_i64(fields.created, card.created_at.0);
        document.add_text(fields.order, order_of(&card.key));
        for (key, value) in card.labels() {
            let pair = format!("{key}:{value}");
            document.add_text(fields.label, key);
            document.add_text(fields.label, &pair);
            document.add_text(fields.label_key, key);
            document.add_text(fields.label_pair, pair);
        }
        add_words(&mut document, fields, card);
        document
    }
}

/// The words of a card. Values that do not belong together are added one by one, so that no phrase
/// is found across two of them.
fn add_words(document: &mut TantivyDocument, fields: &Fields, card: &Card) {
    let mut add = |field: Field, text: &str| {
        if !text.is_empty() {
            document.add_text(fields.all, text);
            if field != fields.all {
                document.add_text(field, text);
            }
        }
    };
    add(fields.name, card.key.name.as_str());
    add(fields.version, card.key.version.as_str());
    for (name, value) in &card.fields {
        let field = match name.as_str() {
            "summary" => fields.summary,
            "remark" => fields.remark,
            "config" => fields.config,
            "author" => fields.author,
            "labels" => {
                for (key, value) in card.labels() {
                    add(fields.labels, &format!("{key} {value}"));
                }
                continue;
            }
            _ => {
                // A field of one's own is found by its name as well: `turbine:R80711`.
                for text in texts_of(value) {
                    add(fields.all, &format!("{name} {text}"));
                }
                continue;
            }
        };
        add(field, &text_of(value));
    }
}

/// A value's text; of a list that of each item.
fn texts_of(value: &Value) -> Vec<String> {
    let texts = match value {
        Value::Array(items) => items.iter().map(text_of).collect(),
        other => vec![text_of(other)],
    };
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// By name in any case, then by version and kind.
fn order_of(key: &CardKey) -> String {
    format!("{}\u{1}{}\u{1}{}", key.name.as_str().to_lowercase(), key.version, key.kind)
}

/// Every text, number and name in a value, one after the other.
pub(super) fn text_of(value: &Value) -> String {
    fn add(value: &Value, text: &mut String) {
        let mut word = |word: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        };
        match value {
            Value::Null => {}
            Value::Bool(given) => word(if *given { "true" } else { "false" }),
            Value::Number(number) => word(&number.to_string()),
            Value::String(given) => word(given),
            Value::Array(items) => items.iter().for_each(|item| add(item, text)),
            Value::Object(fields) => add_fields(fields, text),
        }
    }
    fn add_fields(fields: &Map<String, Value>, text: &mut String) {
        for (name, value) in fields {
            add(&Value::String(name.clone()), text);
            add(value, text);
        }
    }
    let mut text = String::new();
    add(value, &mut text);
    text
}

/// What a commit says of itself: the schema, the last change that it holds, and a proof of which
/// feed that change was of.
pub(super) fn mark(records: &dyn Records, number: u64) -> Result<String> {
    Ok(format!("fiche {SCHEMA} {number} {}", proof_of(records, number)?))
}

fn read_mark(mark: &str) -> Option<(u64, String)> {
    let mut parts = mark.split(' ');
    let is_ours = parts.next()? == "fiche" && parts.next()? == SCHEMA.to_string();
    let number = parts.next()?.parse().ok()?;
    let proof = parts.next()?.to_owned();
    is_ours.then_some((number, proof))
}

/// A digest of one event: a store that was restored or replaced gives another.
fn proof_of(records: &dyn Records, number: u64) -> Result<String> {
    let Some(before) = number.checked_sub(1) else {
        return Ok("begin".to_owned());
    };
    let found = feed::read(records, before, 1)?;
    let event = found.first().filter(|event| event.number == number);
    let text = event.map(serde_json::to_string).transpose();
    let text = text.map_err(|source| Error::internal(format!("an event: {source}")))?;
    Ok(text.map_or_else(|| "none".to_owned(), |text| Digest::of(text.as_bytes()).to_hex()))
}

/// The code of what fails in the index itself.
pub(super) const INDEX_FAILED: &str = "index_failed";

/// A failure of the index, with what a full disk means kept apart.
pub(super) fn failed(source: tantivy::TantivyError) -> Error {
    if let tantivy::TantivyError::IoError(io) = &source {
        return Error::io("the search index", std::io::Error::new(io.kind(), io.to_string()));
    }
    Error::new(Kind::Unavailable, INDEX_FAILED, format!("the search index: {source}"))
        .caused_by(source)
}
