//! What the page /docs says of a call's body: its fields, and an example to begin with.

use serde_json::{Map, Value};

use super::words::Words;
use crate::kernel::http::RouteInfo;

/// How deep an example goes: shapes may hold themselves.
const DEEP: usize = 4;

/// The body of a call.
pub(super) struct Body {
    pub(super) media_type: &'static str,
    pub(super) fields: Vec<Field>,
    /// Empty where the body is not JSON.
    pub(super) example: String,
}

/// One field of a body.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) required: bool,
    pub(super) meaning: String,
}

impl Body {
    /// The body that a route takes, if it takes one.
    pub(super) fn of(route: &RouteInfo, words: &Words) -> Option<Self> {
        let (media_type, schema) = route.takes.as_ref()?;
        let shapes = Shapes::of(route);
        let schema = shapes.resolve(serde_json::to_value(schema).ok()?);
        let required = required(&schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        let field = |(name, schema): (&String, &Value)| {
            let meaning = text(schema, "description");
            Field {
                name: name.clone(),
                kind: shapes.kind(schema.clone(), words),
                required: required.contains(&name.as_str()),
                // Lines of a comment in the source are none on the page.
                meaning: meaning.split_whitespace().collect::<Vec<_>>().join(" "),
            }
        };
        let fields = properties.into_iter().flatten().map(field).collect();
        let is_json = *media_type == "application/json";
        let example = is_json.then(|| shapes.example(schema.clone(), 0));
        let example = example.and_then(|value| serde_json::to_string_pretty(&value).ok());
        Some(Self { media_type, fields, example: example.unwrap_or_default() })
    }
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The type of a schema; that it may be null besides goes without saying.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::Array(types)) => {
            types.iter().filter_map(Value::as_str).find(|word| *word != "null").unwrap_or_default()
        }
        _ => text(schema, "type"),
    }
}

fn words_of(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("enum").and_then(Value::as_array)
}

/// The shapes that a route's body refers to.
struct Shapes(Map<String, Value>);

impl Shapes {
    fn of(route: &RouteInfo) -> Self {
        let shape =
            |(name, schema): &(String, _)| Some((name.clone(), serde_json::to_value(schema).ok()?));
        Self(route.schemas.iter().filter_map(shape).collect())
    }

    /// The schema itself, where this one only refers to it or adds that it may be null.
    fn resolve(&self, schema: Value) -> Value {
        let choices = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let mut real = choices.filter(|choice| text(choice, "type") != "null");
        let schema = match (real.next(), real.next()) {
            (Some(only), None) => only.clone(),
            _ => schema,
        };
        let name = text(&schema, "$ref").rsplit('/').next().unwrap_or_default();
        self.0.get(name).cloned().unwrap_or(schema)
    }

    /// What a value is, in words.
    fn kind(&self, schema: Value, words: &Words) -> String {
        let schema = self.resolve(schema);
        if let Some(choices) = words_of(&schema) {
            return choices.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
        }
        let kind = words.kind(type_of(&schema));
        match schema.get("items") {
            Some(item) => format!("{kind}: {}", self.kind(item.clone(), words)),
            None => kind.to_owned(),
        }
    }

    /// The plainest value: every field that is required, or all of them where none is.
    fn example(&self, schema: Value, depth: usize) -> Value {
        let schema = self.resolve(schema);
        if let Some(word) = words_of(&schema).and_then(|choices| choices.first()) {
            return word.clone();
        }
        match type_of(&schema) {
            "string" => "…".into(),
            "integer" | "number" => 1.into(),
            "boolean" => true.into(),
            "array" => Value::Array(Vec::new()),
            "object" => {
                let required = required(&schema);
                let wanted = |name: &str| required.is_empty() || required.contains(&name);
                let fields = schema.get("properties").and_then(Value::as_object);
                let fields = fields.into_iter().flatten().filter(|_| depth < DEEP);
                let fields = fields.filter(|(name, _)| wanted(name));
                fields
                    .map(|(name, schema)| (name.clone(), self.example(schema.clone(), depth + 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::words::Language;
    use super::*;
    use crate::kernel::access::Needs;
    use crate::kernel::http::{Routes, put};

    /// How loud.
    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "only its shape matters here")]
    #[schema(rename_all = "lowercase")]
    enum Level {
        Low,
        High,
    }

    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "only its shape matters here")]
    struct Draft {
        /// What it is
        /// called.
        name: String,
        level: Level,
        other: Option<Level>,
        tags: Option<Vec<String>>,
        count: Option<u64>,
    }

    #[test]
    fn a_body_is_shown_by_its_fields_and_an_example() {
        let route = put("/x", Needs::Public, async || "").takes::<Draft>();
        let routes = Routes::<()>::new("test").add(route);
        let body = Body::of(&routes.table()[0], Language::English.words()).unwrap();
        let shown = |field: &Field| {
            (field.name.clone(), field.kind.clone(), field.required, field.meaning.clone())
        };
        let shown: Vec<_> = body.fields.iter().map(shown).collect();
        let row = |name: &str, kind: &str, required, meaning: &str| {
            (name.to_owned(), kind.to_owned(), required, meaning.to_owned())
        };
        for expected in [
            row("name", "text", true, "What it is called."),
            row("level", "\"low\" | \"high\"", true, ""),
            row("other", "\"low\" | \"high\"", false, ""),
            row("tags", "list: text", false, ""),
            row("count", "whole number", false, ""),
        ] {
            let found = shown.iter().find(|row| row.0 == expected.0).unwrap();
            assert_eq!((&found.1, found.2), (&expected.1, expected.2));
            assert!(found.3.starts_with(&expected.3), "{found:?}");
        }
        let example: Value = serde_json::from_str(&body.example).unwrap();
        assert_eq!(example, json!({"name": "…", "level": "low"}));
    }
}
