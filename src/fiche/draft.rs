//! A card as it comes in: checked once, with every fault named, and brought into one shape, so that
//! equal content is equal.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error;
use super::kinds::Kinds;
use super::model::{Card, CardKey, CardKind, SYSTEM_FIELDS, Stage};
use super::refs;
use crate::kernel::{Error, Fault, Kind, Name, Result};

/// The most bytes of JSON that one card may have.
pub const CARD_MAX_BYTES: usize = 1 << 20;
/// How deep a card's JSON may be nested.
pub const CARD_MAX_DEPTH: usize = 64;
/// How many labels a card may have.
pub const LABELS_MAX: usize = 1000;
/// How many faults are named; a card can have more of them than anyone would read.
const FAULTS_MAX: usize = 100;

/// A card to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct CardDraft {
    pub(super) key: CardKey,
    pub(super) fields: Map<String, Value>,
    /// The same as text, as it will be kept.
    pub(super) fields_json: String,
    pub(super) stage: Option<Stage>,
}

impl CardDraft {
    /// A card with no content yet.
    pub fn new(kind: CardKind, name: &str, version: &str) -> Result<Self> {
        Self::read(json!({}), Some((kind, name, version)), &Kinds::default())
    }

    /// Reads a document that names its kind, its name and its version. Only the kinds that are always
    /// there are known: [`Fiche::draft`](super::Fiche::draft) knows those of `drip.toml` as well.
    pub fn parse(document: Value) -> Result<Self> {
        Self::read(document, None, &Kinds::default())
    }

    /// Reads a document for a daemon, which will judge its kind and what its fields mean.
    pub fn for_daemon(document: Value) -> Result<Self> {
        Self::read(document, None, &Kinds::of_a_daemon())
    }

    /// Reads a document for the card that a path names; what the document says of its own name is
    /// not read.
    pub fn named(document: Value, kind: CardKind, name: &str, version: &str) -> Result<Self> {
        Self::read(document, Some((kind, name, version)), &Kinds::default())
    }

    /// The same with one more field of content, checked with all others.
    pub fn with(self, field: &str, value: impl Into<Value>) -> Result<Self> {
        let mut fields = self.fields;
        fields.insert(field.to_owned(), value.into());
        let key = self.key;
        let draft =
            Self::named(Value::Object(fields), key.kind, key.name.as_str(), key.version.as_str())?;
        Ok(Self { stage: draft.stage.or(self.stage), ..draft })
    }

    /// What names the card.
    pub fn key(&self) -> &CardKey {
        &self.key
    }

    /// The content as it will be kept.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The document that reads as this.
    pub fn document(&self) -> Value {
        let mut document = Map::new();
        let key = &self.key;
        let mut put = |field: &str, text: &str| document.insert(field.to_owned(), text.into());
        put("kind", key.kind.as_str());
        put("name", key.name.as_str());
        put("version", key.version.as_str());
        if let Some(stage) = self.stage {
            put("stage", stage.as_str());
        }
        document.extend(self.fields.clone());
        Value::Object(document)
    }

    /// Whether saving this would change the card.
    pub(super) fn differs(&self, card: &Card) -> bool {
        self.fields != card.fields
    }

    /// Reads a document, for the card that a path names where it came by one.
    pub(super) fn read(
        document: Value,
        path: Option<(CardKind, &str, &str)>,
        kinds: &Kinds,
    ) -> Result<Self> {
        let Value::Object(mut given) = document else {
            return Err(error::bad_card(vec![Fault::new("", "a card is a JSON object")]));
        };
        if is_deeper(&given, CARD_MAX_DEPTH) {
            return Err(error::too_deep(CARD_MAX_DEPTH));
        }
        let mut faults = Vec::new();
        // The kind says what the fields mean, also where the name is wrong.
        let kind = match path {
            Some((kind, _, _)) => Some(kind),
            None => read_kind(given.get("kind"), kinds, &mut faults),
        };
        let names = path.map(|(_, name, version)| (name, version));
        let key = read_key(&mut given, kind, names, &mut faults);
        let stage = read_stage(given.remove("stage"), &mut faults);
        for field in SYSTEM_FIELDS {
            given.remove(field);
        }
        let fields = read_fields(kind, given, kinds, &mut faults);
        let (Some(key), true) = (key, faults.is_empty()) else {
            return Err(error::bad_card(cut(faults)));
        };
        let fields_json = serde_json::to_string(&fields)
            .map_err(|source| Error::internal(format!("write a card: {source}")))?;
        if fields_json.len() > CARD_MAX_BYTES {
            return Err(error::card_too_large(fields_json.len(), CARD_MAX_BYTES));
        }
        Ok(Self { key, fields, fields_json, stage })
    }
}

fn cut(mut faults: Vec<Fault>) -> Vec<Fault> {
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(Fault::new("", format!("and {more} faults more")));
    }
    faults
}

fn read_key(
    given: &mut Map<String, Value>,
    kind: Option<CardKind>,
    path: Option<(&str, &str)>,
    faults: &mut Vec<Fault>,
) -> Option<CardKey> {
    given.remove("kind");
    let own = (given.remove("name"), given.remove("version"));
    let (name, version) = match path {
        Some((name, version)) => (Some(name.into()), Some(version.into())),
        None => own,
    };
    let name = read_name("name", name.as_ref(), faults);
    let version = read_name("version", version.as_ref(), faults);
    if version.as_ref().is_some_and(|version| version.as_str() == "latest") {
        faults.extend_from_slice(error::latest_is_no_version("/version").faults());
    }
    Some(CardKey { kind: kind?, name: name?, version: version? })
}

fn read_kind(given: Option<&Value>, kinds: &Kinds, faults: &mut Vec<Fault>) -> Option<CardKind> {
    let refused = match given {
        Some(Value::String(word)) => match kinds.declared(word) {
            Some(kind) => return Some(kind),
            None => error::bad_kind(word, kinds),
        },
        Some(other) => error::bad_kind(&other.to_string(), kinds),
        None => error::bad_kind("", kinds),
    };
    faults.push(Fault::new("/kind", refused.detail()));
    None
}

fn read_name(what: &str, given: Option<&Value>, faults: &mut Vec<Fault>) -> Option<Name> {
    let pointer = format!("/{what}");
    match given {
        Some(Value::String(text)) => match Name::new(text) {
            Ok(name) => return Some(name),
            Err(refused) => faults
                .extend(refused.faults().iter().map(|fault| Fault::new(&pointer, &fault.detail))),
        },
        Some(_) => faults.push(Fault::new(pointer, "must be text")),
        None => faults.push(Fault::new(pointer, "is missing")),
    }
    None
}

fn read_stage(given: Option<Value>, faults: &mut Vec<Fault>) -> Option<Stage> {
    let word = match given {
        None | Some(Value::Null) => return None,
        Some(Value::String(word)) => word,
        Some(other) => other.to_string(),
    };
    let stage = Stage::known(&word);
    if stage.is_none() {
        faults.push(Fault::new("/stage", error::unknown_stage(&word)));
    }
    stage
}

/// Checks the fields that have a meaning, and puts the common ones first, in one order.
fn read_fields(
    kind: Option<CardKind>,
    mut given: Map<String, Value>,
    kinds: &Kinds,
    faults: &mut Vec<Fault>,
) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("summary".into(), read_text("summary", given.remove("summary"), faults));
    let config = given.remove("config").filter(|config| !config.is_null());
    fields.insert("config".into(), config.unwrap_or_else(|| json!({})));
    fields.insert("remark".into(), read_text("remark", given.remove("remark"), faults));
    fields.insert("labels".into(), read_labels(given.remove("labels"), faults));
    for (field, value) in given {
        if field.is_empty() {
            faults.push(Fault::new("/", "a field needs a name"));
            continue;
        }
        let is_reference = kind.is_some_and(|kind| kinds.meant(kind, &field).is_some());
        let kept = if is_reference {
            refs::tidy(kinds, &field, &value, faults)
        } else if kind.is_some_and(|kind| kinds.is_text(kind, &field)) {
            Some(read_text(&field, Some(value), faults))
        } else {
            Some(value)
        };
        if let Some(kept) = kept {
            fields.insert(field, kept);
        }
    }
    fields
}

fn read_text(field: &str, given: Option<Value>, faults: &mut Vec<Fault>) -> Value {
    match given {
        None | Some(Value::Null) => Value::from(""),
        Some(Value::String(text)) => Value::String(text),
        Some(other) => {
            faults.push(Fault::new(format!("/{field}"), "must be text"));
            other
        }
    }
}

fn read_labels(given: Option<Value>, faults: &mut Vec<Fault>) -> Value {
    let labels = match given {
        None | Some(Value::Null) => return json!({}),
        Some(Value::Object(labels)) => labels,
        Some(_) => {
            faults.push(Fault::new("/labels", "must be an object of texts"));
            return json!({});
        }
    };
    if labels.len() > LABELS_MAX {
        let why = format!("has {} labels and may have {LABELS_MAX}", labels.len());
        faults.push(Fault::new("/labels", why));
        return json!({});
    }
    // Sorted, so that two cards with the same labels read the same.
    let mut sorted = BTreeMap::new();
    for (key, value) in labels {
        let pointer = format!("/labels/{}", pointer_part(&key));
        match value {
            _ if key.trim().is_empty() => faults.push(Fault::new(pointer, "a label needs a name")),
            _ if key.len() > 255 || key.chars().any(char::is_control) => faults.push(Fault::new(
                pointer,
                "a label's name has at most 255 bytes and no control characters",
            )),
            Value::String(text) if text.len() > 1024 => {
                faults.push(Fault::new(pointer, "a label has at most 1024 bytes"));
            }
            Value::String(text) => {
                sorted.insert(key, Value::String(text));
            }
            _ => faults.push(Fault::new(pointer, "must be text")),
        }
    }
    Value::Object(sorted.into_iter().collect())
}

/// One part of an RFC 6901 pointer.
pub(super) fn pointer_part(key: &str) -> String {
    let shown: String = key.chars().take(100).collect();
    shown.replace('~', "~0").replace('/', "~1")
}

fn is_deeper(object: &Map<String, Value>, limit: usize) -> bool {
    fn over(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left == 0 || items.iter().any(|item| over(item, left - 1)),
            Value::Object(items) => left == 0 || items.values().any(|item| over(item, left - 1)),
            _ => false,
        }
    }
    object.values().any(|value| over(value, limit - 1))
}

/// Reads JSON that a client sent: refuses what is too large or nested too deep before it is read,
/// whatever the JSON reader's own limits are.
pub(super) fn read_json(bytes: &[u8], most_bytes: usize, most_depth: usize) -> Result<Value> {
    if bytes.len() > most_bytes {
        return Err(error::card_too_large(bytes.len(), CARD_MAX_BYTES));
    }
    if depth_of(bytes) > most_depth {
        return Err(error::too_deep(most_depth));
    }
    serde_json::from_slice(bytes).map_err(|source| {
        let at = format!("line {}, column {}", source.line(), source.column());
        Error::new(Kind::Malformed, "bad_json", format!("the body is not JSON: {source}"))
            .with_faults([Fault::new(at, source.to_string())])
    })
}

/// How deep brackets are nested, outside of texts.
fn depth_of(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(refused: &Error) -> Vec<&str> {
        refused.faults().iter().map(|fault| fault.pointer.as_str()).collect()
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let refused = CardDraft::parse(json!({
            "kind": "gadget", "name": "a/b", "stage": "paused", "summary": 7,
            "labels": {"site": 3, "ok": "x"}, "config": {"any": [1]},
        }))
        .unwrap_err();
        assert_eq!(refused.code(), "bad_card");
        assert_eq!(
            places(&refused),
            ["/kind", "/name", "/version", "/stage", "/summary", "/labels/site"]
        );
        let refused = CardDraft::named(
            json!({"requires": ["ok@1", "disk:x"], "data": {"not": "text"}}),
            CardKind::MODEL,
            "m",
            "1",
        )
        .unwrap_err();
        assert_eq!(places(&refused), ["/requires/1", "/data"]);
    }

    #[test]
    fn content_comes_into_one_shape_and_free_fields_stay() {
        let draft = CardDraft::named(
            json!({
                "name": "other", "revision": 9, "saved_by": "eve", "own": {"x": 1},
                "requires": "a@1,b", "algorithm": "pc@1", "labels": {"b": "2", "a": "1"},
            }),
            CardKind::MODEL,
            "m",
            "1",
        )
        .unwrap();
        assert_eq!(
            Value::Object(draft.fields.clone()),
            json!({
                "summary": "", "config": {}, "remark": "", "labels": {"a": "1", "b": "2"},
                "own": {"x": 1}, "requires": ["a@1", "b"], "algorithm": "pc@1",
            })
        );
        assert_eq!(draft.key.to_string(), "model/m/1");
        assert_eq!(
            CardDraft::named(json!({"data": {"free": 1}}), CardKind::DATASET, "d", "1")
                .unwrap()
                .fields["data"],
            json!({"free": 1})
        );
    }

    #[test]
    fn what_is_too_deep_too_large_or_too_much_is_refused() {
        let nested = |depth: usize| (1..depth).fold(json!([]), |inner, _| json!([inner]));
        let card =
            |config: Value| CardDraft::named(json!({"config": config}), CardKind::MODEL, "m", "1");
        assert!(card(nested(63)).is_ok());
        assert_eq!(card(nested(64)).unwrap_err().code(), "json_too_deep");
        assert_eq!(card(json!("x".repeat(CARD_MAX_BYTES))).unwrap_err().kind(), Kind::TooLarge);
        let labels: Map<String, Value> = (0..10_000).map(|n| (n.to_string(), json!(n))).collect();
        let refused =
            CardDraft::named(json!({"labels": labels}), CardKind::MODEL, "m", "1").unwrap_err();
        assert_eq!(places(&refused), ["/labels"]);
        let deep = format!("{{\"config\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
        let refused = read_json(deep.as_bytes(), 1 << 20, 64).unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("json_too_deep", Kind::Invalid));
        assert!(read_json(br#"{"a": "[[[[[["}"#, 100, 2).is_ok());
        assert_eq!(read_json(b"{", 100, 2).unwrap_err().kind(), Kind::Malformed);
    }
}
