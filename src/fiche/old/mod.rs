//! What Drip 0.1 kept of a card: a few texts for each kind. Here they become a card, and a card
//! becomes them again, whoever asks: the old paths, or an import of the old collections.
//!
//! A text that 0.1 took for references and that does not read as such is not lost: the card refers
//! to what can be read, and keeps the whole text under `as_written`.

#[cfg(feature = "cli")]
pub(super) mod merge;

use serde_json::{Map, Value};

use super::draft::CardDraft;
use super::kinds::Kinds;
use super::model::{Card, CardKey, CardKind};
use super::refs::{self, Reference};
use crate::kernel::Result;

/// Where a card keeps texts of 0.1 that its own fields cannot give back.
const AS_WRITTEN: &str = "as_written";
/// Where an imported card keeps the time that 0.1 wrote beside it.
pub(super) const IMPORTED_TIME: &str = "imported_time";

/// The fields that 0.1 had for a kind, beside name and version, in its order.
pub(super) fn fields(kind: CardKind) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match kind.as_str() {
        "algorithm" => &["homepage", "author", "authoremail", "license", "requires", "requiredby"],
        "model" => &["requires", "data", "algorithm"],
        "parameter" => &["datatype", "requiredby"],
        "application" => &["requires", "project"],
        "dataset" => &["requiredby", "datatype", "project"],
        _ => &[],
    };
    ["summary", "config", "remark"].into_iter().chain(own.iter().copied())
}

/// The card after 0.1 saved these texts: what 0.1 did not know of it stays, and so does a field
/// whose text is the one that 0.1 would have been shown.
#[cfg(feature = "http")]
pub(super) fn saved(
    key: &CardKey,
    before: Option<&Card>,
    texts: &[(&'static str, String)],
) -> Result<CardDraft> {
    let mut content = before.map(|card| card.fields.clone()).unwrap_or_default();
    let mut is_changed = false;
    for (field, text) in texts {
        if before.is_none_or(|card| shown(&card.fields, key.kind, field) != *text) {
            put(&mut content, key.kind, field, text);
            is_changed = true;
        }
    }
    if is_changed {
        content.remove(IMPORTED_TIME);
    }
    let (name, version) = (key.name.as_str(), key.version.as_str());
    CardDraft::named(Value::Object(content), key.kind, name, version)
}

/// Sets a field to a text of 0.1.
pub(super) fn put(content: &mut Map<String, Value>, kind: CardKind, field: &str, text: &str) {
    if refs::kinds_meant(kind, field).is_none() {
        content.insert(field.to_owned(), text.into());
        return;
    }
    let references = readable(text);
    let is_whole = references == text;
    if references.is_empty() {
        content.remove(field);
    } else {
        content.insert(field.to_owned(), references.into());
    }
    keep_as_written(content, field, (!is_whole).then_some(text));
}

/// The references in a text, as 0.1 would have written them.
fn readable(text: &str) -> String {
    let words = text.split([',', '，']).map(str::trim);
    let words: Vec<&str> =
        words.filter(|word| Reference::parse(&Kinds::default(), word).is_ok()).collect();
    words.join(",")
}

fn keep_as_written(content: &mut Map<String, Value>, field: &str, text: Option<&str>) {
    let mut kept = match content.remove(AS_WRITTEN) {
        Some(Value::Object(kept)) => kept,
        _ => Map::new(),
    };
    match text {
        Some(text) => drop(kept.insert(field.to_owned(), text.into())),
        None => drop(kept.remove(field)),
    }
    if !kept.is_empty() {
        content.insert(AS_WRITTEN.to_owned(), Value::Object(kept));
    }
}

/// A field as 0.1 showed it: a text, whatever the card holds.
#[cfg(feature = "http")]
pub(super) fn shown(content: &Map<String, Value>, kind: CardKind, field: &str) -> String {
    let held = match content.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if refs::kinds_meant(kind, field).is_some() => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            texts.join(",")
        }
        // A card that says nothing has an empty object there.
        Some(Value::Object(none)) if field == "config" && none.is_empty() => String::new(),
        Some(other) => other.to_string(),
    };
    // The text as it was written holds for as long as the card refers to what it says.
    let written = content.get(AS_WRITTEN).and_then(|kept| kept.get(field)).and_then(Value::as_str);
    match written {
        Some(text) if readable(text) == held => text.to_owned(),
        _ => held,
    }
}

/// The card as 0.1 answered it.
#[cfg(feature = "http")]
pub(super) fn answer(card: &Card) -> Value {
    let mut document = Map::new();
    document.insert("name".to_owned(), card.key.name.as_str().into());
    document.insert("version".to_owned(), card.key.version.as_str().into());
    for field in fields(card.key.kind) {
        document.insert(field.to_owned(), shown(&card.fields, card.key.kind, field).into());
    }
    let imported = card.fields.get(IMPORTED_TIME).and_then(Value::as_str);
    let time = imported.map_or_else(|| card.updated_at.without_zone(), str::to_owned);
    document.insert("time".to_owned(), time.into());
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Time;
    use serde_json::json;

    fn content(kind: CardKind, field: &str, text: &str) -> Map<String, Value> {
        let mut content = Map::new();
        put(&mut content, kind, field, text);
        content
    }

    #[test]
    fn every_field_of_every_kind_is_one_that_the_card_knows() {
        let all: Vec<_> = CardKind::ALL.map(|kind| fields(kind).count()).into();
        assert_eq!(all, [9, 6, 5, 5, 6]);
    }

    #[test]
    fn references_of_any_text_are_read_and_the_text_is_given_back() {
        for (text, held) in [
            ("a@1,b", json!("a@1,b")),
            ("a@1, b", json!("a@1,b")),
            ("numpy>=1.20，见 https://example.org/x", json!("numpy>=1.20")),
            ("https://example.org/x", Value::Null),
            ("", Value::Null),
            ("  ", Value::Null),
        ] {
            let content = content(CardKind::MODEL, "requires", text);
            assert_eq!(content.get("requires").cloned().unwrap_or_default(), held, "{text:?}");
            #[cfg(feature = "http")]
            assert_eq!(shown(&content, CardKind::MODEL, "requires"), text);
            let draft = CardDraft::named(Value::Object(content), CardKind::MODEL, "m", "1");
            assert!(draft.is_ok(), "{text:?}");
        }
        let plain = content(CardKind::PARAMETER, "datatype", "a/b,c");
        assert_eq!(Value::Object(plain), json!({"datatype": "a/b,c"}));
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_was_written_gives_way_to_what_the_card_says_since() {
        let mut content = content(CardKind::MODEL, "data", "scada, https://example.org/x");
        content.insert("data".to_owned(), json!(["scada", "nwp@2"]));
        assert_eq!(shown(&content, CardKind::MODEL, "data"), "scada,nwp@2");
        content.insert("config".to_owned(), json!({"depth": [1, 2.5]}));
        assert_eq!(shown(&content, CardKind::MODEL, "config"), r#"{"depth":[1,2.5]}"#);
        assert_eq!(shown(&content, CardKind::MODEL, "remark"), "");
    }

    #[cfg(feature = "http")]
    #[test]
    fn saving_what_was_shown_changes_nothing_and_keeps_what_0_1_did_not_know() {
        let key = CardKey::new("model", "m", "1").unwrap();
        let fields = json!({
            "summary": "s", "config": {"depth": 3}, "remark": "", "labels": {"site": "x"},
            "requires": ["a@1", "b"], "imported_time": "2022-05-30T08:00:00.000000",
        });
        let before = Card {
            key: key.clone(),
            stage: super::super::Stage::Testing,
            fields: fields.as_object().unwrap().clone(),
            revision: 1,
            created_at: Time(0),
            updated_at: Time(0),
            saved_by: "ada".into(),
            node: None,
        };
        let texts: Vec<_> =
            super::fields(key.kind).map(|f| (f, shown(&before.fields, key.kind, f))).collect();
        let same = saved(&key, Some(&before), &texts).unwrap();
        assert!(!same.differs(&before), "{:?}", same.fields());
        assert_eq!(answer(&before)["time"], "2022-05-30T08:00:00.000000");

        let mut other = texts.clone();
        other[0].1 = "new".to_owned();
        let changed = saved(&key, Some(&before), &other).unwrap();
        assert_eq!(changed.fields()["config"], json!({"depth": 3}));
        assert_eq!(changed.fields()["labels"], json!({"site": "x"}));
        assert_eq!(changed.fields().get(IMPORTED_TIME), None);
    }
}
