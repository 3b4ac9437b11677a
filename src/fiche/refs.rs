//! References between cards: `kind:name@version`, `name@version`, `name`, and what each field of
//! each kind may refer to.

use std::fmt;

use serde_json::{Map, Value};

use super::kinds::Kinds;
use super::model::{CardKey, CardKind};
use crate::kernel::{Fault, Name};

/// The fields that hold references, in every kind.
pub(super) const REFERENCE_FIELDS: [&str; 4] = ["requires", "requiredby", "data", "algorithm"];

/// The field whose references point the other way: what is made from this card.
pub(super) const REQUIRED_BY: &str = "requiredby";

/// The kinds that a plain name in `field` may mean, the likeliest first; none when `kind` has no
/// such field of its own.
pub(super) fn kinds_meant(kind: CardKind, field: &str) -> Option<&'static [CardKind]> {
    const A: CardKind = CardKind::ALGORITHM;
    const M: CardKind = CardKind::MODEL;
    const P: CardKind = CardKind::PARAMETER;
    const S: CardKind = CardKind::APPLICATION;
    const D: CardKind = CardKind::DATASET;
    match (kind.as_str(), field) {
        ("algorithm" | "model", "requires") => Some(&[A, P, D, M, S]),
        ("application", "requires") => Some(&[M, A, P, D, S]),
        ("algorithm" | "parameter" | "dataset", REQUIRED_BY) => Some(&[M, A, S, P, D]),
        ("model", "data") => Some(&[D]),
        ("model", "algorithm") => Some(&[A]),
        _ => None,
    }
}

/// One reference, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reference {
    /// The kind, where it was written.
    pub(super) kind: Option<CardKind>,
    pub(super) name: Name,
    /// The version, where one was written; `latest` counts as none.
    pub(super) version: Option<Name>,
}

impl Reference {
    /// Reads one reference; the error says what is wrong with it.
    pub(super) fn parse(kinds: &Kinds, text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (kind, rest) = match text.split_once(':') {
            None => (None, text),
            Some((word, rest)) => match kinds.known(word) {
                Some(kind) => (Some(kind), rest),
                None => {
                    return Err(format!(
                        "`{}` begins with no kind of card: write kind:name@version, name@version or name; the kinds are {}",
                        shown(text),
                        kinds.list()
                    ));
                }
            },
        };
        let (name, version) = match rest.rsplit_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (rest, None),
        };
        let named = |what: &str, part: &str| {
            Name::new(part).map_err(|bad| {
                format!(
                    "`{}`: as a {what}, {}",
                    shown(text),
                    bad.detail().trim_start_matches("the ")
                )
            })
        };
        let version = version.map(|version| named("version", version)).transpose()?;
        Ok(Self {
            kind,
            name: named("name", name)?,
            version: version.filter(|version| version.as_str() != "latest"),
        })
    }

    /// Whether this reference, found in a field that may mean `meant`, could mean this card. One
    /// without a version means whichever is the latest, which is not asked here.
    pub(super) fn may_mean(&self, meant: &[CardKind], key: &CardKey) -> bool {
        let kind_fits =
            self.kind.map_or_else(|| meant.contains(&key.kind), |kind| kind == key.kind);
        kind_fits
            && self.name == key.name
            && self.version.as_ref().is_none_or(|version| *version == key.version)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind {
            write!(f, "{kind}:")?;
        }
        f.write_str(self.name.as_str())?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Brings a reference field of its kind into one shape: a list of texts, and a lone `algorithm` a
/// text; nothing when it names nothing. Faults are added where they are found.
pub(super) fn tidy(
    kinds: &Kinds,
    field: &str,
    value: &Value,
    faults: &mut Vec<Fault>,
) -> Option<Value> {
    let texts: Vec<&str> = match value {
        Value::Null => return None,
        Value::String(text) => text.split([',', '，']).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| {
                if item.as_str().is_none() {
                    faults.push(Fault::new(format!("/{field}/{at}"), "a reference is text"));
                }
                item.as_str()
            })
            .collect(),
        _ => {
            faults.push(Fault::new(
                format!("/{field}"),
                "a list of references, or one text with commas between them",
            ));
            return None;
        }
    };
    let is_list = value.is_array();
    let mut tidied = Vec::new();
    for (at, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        match Reference::parse(kinds, text) {
            Ok(_) => tidied.push(Value::from(text.trim())),
            Err(why) if is_list => faults.push(Fault::new(format!("/{field}/{at}"), why)),
            Err(why) => faults.push(Fault::new(format!("/{field}"), why)),
        }
    }
    match tidied.len() {
        0 if is_list => Some(Value::Array(tidied)),
        0 => None,
        1 if field == "algorithm" && !is_list => tidied.pop(),
        _ => Some(Value::Array(tidied)),
    }
}

/// The references that a card's content holds, with the field and the kinds it may mean. In a field
/// that is not of the card's kind only references that name their kind are meant as such.
pub(super) fn of_fields<'a>(
    kinds: &'a Kinds,
    kind: CardKind,
    fields: &'a Map<String, Value>,
) -> Vec<(&'a str, Reference, &'a [CardKind])> {
    let own = kinds.reference_fields(kind).filter(|field| !REFERENCE_FIELDS.contains(field));
    let mut found = Vec::new();
    for field in REFERENCE_FIELDS.into_iter().chain(own) {
        let Some(value) = fields.get(field) else {
            continue;
        };
        let texts: Vec<&str> = match value {
            Value::String(text) => text.split([',', '，']).collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let meant = kinds.meant(kind, field);
        for reference in texts.into_iter().filter_map(|text| Reference::parse(kinds, text).ok()) {
            if meant.is_some() || reference.kind.is_some() {
                found.push((field, reference, meant.unwrap_or_default()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_read_in_every_form() {
        for (text, shown) in [
            ("algorithm:power-curve@1.0.0", "algorithm:power-curve@1.0.0"),
            ("power-curve@1.0.0", "power-curve@1.0.0"),
            (" power-curve ", "power-curve"),
            ("dataset:风电@latest", "dataset:风电"),
            ("a@b@2", "a@b@2"),
        ] {
            assert_eq!(Reference::parse(&Kinds::default(), text).unwrap().to_string(), shown);
        }
        for wrong in ["", "model:", "@1", "x@", "disk:x@1", "a/b", "model:x@../y"] {
            assert!(Reference::parse(&Kinds::default(), wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_text_with_commas_is_a_list() {
        let kinds = Kinds::default();
        let mut faults = Vec::new();
        assert_eq!(
            tidy(&kinds, "requires", &json!("a@1, b，c"), &mut faults),
            Some(json!(["a@1", "b", "c"]))
        );
        assert_eq!(tidy(&kinds, "requires", &json!(""), &mut faults), None);
        assert_eq!(tidy(&kinds, "algorithm", &json!("a@1"), &mut faults), Some(json!("a@1")));
        assert!(faults.is_empty());
        tidy(&kinds, "requires", &json!(["a/b", 7, "ok"]), &mut faults);
        let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/requires/1", "/requires/0"]);
    }
}
