//! The digest of a card's content: the same for equal content, however its fields are ordered.

use serde_json::{Map, Value};

use super::decide::{Here, Stand};
use crate::fiche::format::CardV2;
use crate::fiche::model::Stage;
use crate::kernel::name::Digest;
use crate::kernel::{Error, Result};

/// The digest of content.
pub(super) fn digest_of(fields: &Map<String, Value>) -> Digest {
    let mut text = String::new();
    write_object(fields, &mut text);
    Digest::of(text.as_bytes())
}

fn write_object(fields: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    text.push('{');
    for (name, value) in sorted {
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        write(value, text);
        text.push(',');
    }
    text.push('}');
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_object(fields, text),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// How a card stands in this revision. Content that came from a node keeps the digest that the node
/// gave it: a number with many digits may lose the last one when it is read again.
pub(super) fn stand_of(row: &CardV2) -> Result<Stand> {
    let damaged = || Error::internal(format!("the record of {}/{} is damaged", row.kind, row.name));
    let digest = if let Some(digest) = row.content {
        digest
    } else {
        let fields = serde_json::from_str(&row.fields_json);
        digest_of(&fields.map_err(|source| damaged().caused_by(source))?)
    };
    Ok(Stand { stage: Stage::known(&row.stage).ok_or_else(damaged)?, digest })
}

/// What stands under a name.
pub(super) fn here(newest: Option<&CardV2>) -> Result<Here> {
    Ok(match newest {
        None => Here::Never,
        Some(row) if row.is_alive() => Here::There(stand_of(row)?),
        Some(_) => Here::Gone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(json: &str) -> Digest {
        digest_of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let one = digest(r#"{"a": 1, "b": {"c": [1, 2], "d": "x"}}"#);
        assert_eq!(one, digest(r#"{"b": {"d": "x", "c": [1, 2]}, "a": 1}"#));
        for other in [
            r#"{"a": 1, "b": {"c": [2, 1], "d": "x"}}"#,
            r#"{"a": "1", "b": {"c": [1, 2], "d": "x"}}"#,
            r#"{"a": 1, "b": {"c": [1, 2]}, "d": "x"}"#,
            r#"{"a": 1, "b": {"c": [1, 2], "d": "x", "e": null}}"#,
        ] {
            assert_ne!(one, digest(other), "{other}");
        }
    }
}
