//! What changed between two revisions, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::draft::pointer_part;
use super::model::Card;

/// What changed between two revisions of a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// The earlier revision.
    pub from: u64,
    /// The later one.
    pub to: u64,
    /// Every field that differs.
    pub changes: Vec<Changed>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Where: an RFC 6901 pointer such as `/config/hidden`.
    pub path: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// What was there; null where there was nothing.
    pub from: Value,
    /// What is there now; null where there is nothing.
    pub to: Value,
}

/// What differs in stage and content between two states of a card.
pub fn between(from: &Card, to: &Card) -> Vec<Changed> {
    let mut changes = Vec::new();
    let content = |card: &Card| {
        let mut fields = card.fields.clone();
        fields.insert("stage".to_owned(), card.stage.as_str().into());
        Value::Object(fields)
    };
    compare("", Some(&content(from)), Some(&content(to)), &mut changes);
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn compare(path: &str, from: Option<&Value>, to: Option<&Value>, changes: &mut Vec<Changed>) {
    match (from, to) {
        (Some(from), Some(to)) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            for (key, old) in from {
                let inner = format!("{path}/{}", pointer_part(key));
                compare(&inner, Some(old), to.get(key), changes);
            }
            for (key, new) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
                let inner = format!("{path}/{}", pointer_part(key));
                compare(&inner, None, Some(new), changes);
            }
        }
        // Lists of one length are told item by item; where items came or went, the list as a whole.
        (Some(Value::Array(from)), Some(Value::Array(to))) if from.len() == to.len() => {
            for (at, (old, new)) in from.iter().zip(to).enumerate() {
                compare(&format!("{path}/{at}"), Some(old), Some(new), changes);
            }
        }
        _ => changes.push(Changed {
            path: path.to_owned(),
            change: match (from, to) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            }
            .to_owned(),
            from: from.cloned().unwrap_or_default(),
            to: to.cloned().unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_diff_names_the_innermost_field() {
        let mut changes = Vec::new();
        compare(
            "",
            Some(&json!({"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": true, "l": [1]})),
            Some(&json!({"a": 1, "b": {"c": [1, 3], "d": "x"}, "n/w": null, "l": [1, 2]})),
            &mut changes,
        );
        let told: Vec<_> = changes
            .iter()
            .map(|c| (c.path.as_str(), c.change.as_str(), c.from.clone(), c.to.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("/b/c/1", "changed", json!(2), json!(3)),
                ("/gone", "removed", json!(true), Value::Null),
                ("/l", "changed", json!([1]), json!([1, 2])),
                ("/n~1w", "added", Value::Null, Value::Null),
            ]
        );
    }
}
