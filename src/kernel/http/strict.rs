//! Every fault of a JSON body at once, in the words of JSON.
//!
//! Serde stops at the first fault, and takes a list for an object. So a body is read over and over,
//! and where one reading stopped the next one meets a hole that is whatever is wanted there; what a
//! reading cannot get past in that way ends the search.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::kernel::error::Fault;
use crate::kernel::name::nearest;

/// The most faults that are listed.
const LISTED: usize = 100;

/// What is wrong with `body` as a `T`.
pub(super) fn faults<T: DeserializeOwned>(body: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut holes = Holes::new();
    while faults.len() < LISTED {
        let node = Node { value: Some(body), at: String::new(), holes: &holes };
        let Err(wrong) = T::deserialize(node) else {
            break;
        };
        let at = wrong.at.unwrap_or_default();
        // A hole that does not do either: what lies behind it is not found.
        if holes.insert(at.clone(), wrong.hole).is_some() {
            break;
        }
        faults.push(Fault::new(at, wrong.said));
    }
    faults
}

/// What stands where a fault was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    /// Whatever is wanted.
    Filled,
    /// Nothing: not even the name of the field.
    Gone,
}

type Holes = BTreeMap<String, Hole>;

/// A fault, and where it is once that is known.
#[derive(Debug)]
struct Wrong {
    said: String,
    at: Option<String>,
    /// A field that is missing: it lies below where this is found.
    field: Option<&'static str>,
    hole: Hole,
}

impl Wrong {
    fn said(said: impl Display) -> Self {
        Self { said: said.to_string(), at: None, field: None, hole: Hole::Filled }
    }

    /// Places it, unless something further inside did.
    fn at(mut self, place: &str) -> Self {
        self.at.get_or_insert_with(|| match self.field {
            Some(field) => below(place, field),
            None => place.to_owned(),
        });
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(said: T) -> Self {
        Self::said(said)
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::said(format_args!("is {}, not {wanted}", found_name(found)))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let word = word.chars().take(60).collect::<String>();
        Self::said(format_args!("`{word}` is none of the words `{}`", known.join("`, `")))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let hint = nearest(field, known.iter().copied())
            .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        Self { hole: Hole::Gone, ..Self::said(format_args!("is not a field of this{hint}")) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { field: Some(field), ..Self::said("is missing") }
    }
}

/// What was found, as JSON calls it.
fn found_name(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Str(text) => {
            format!("the text `{}`", text.chars().take(60).collect::<String>())
        }
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        other => other.to_string(),
    }
}

/// A pointer of RFC 6901, one step further.
fn below(place: &str, step: impl Display) -> String {
    let step = step.to_string().replace('~', "~0").replace('/', "~1");
    format!("{place}/{step}")
}

/// A value and where it is; none where there is a hole.
struct Node<'a> {
    value: Option<&'a Value>,
    at: String,
    holes: &'a Holes,
}

impl<'a> Node<'a> {
    fn child(&self, step: impl Display, value: Option<&'a Value>) -> Self {
        let at = below(&self.at, step);
        let value = value.filter(|_| !self.holes.contains_key(&at));
        Self { value, at, holes: self.holes }
    }
}

/// Fills a hole with the plainest value of what is wanted.
macro_rules! fill {
    ($($method:ident => $visit:ident($plain:expr))*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.value {
                None => visitor.$visit($plain),
                Some(_) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'a> Deserializer<'a> for Node<'a> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let at = self.at.clone();
        let found = match self.value {
            None | Some(Value::Null) => visitor.visit_unit(),
            Some(Value::Bool(value)) => visitor.visit_bool(*value),
            Some(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Some(Value::String(text)) => visitor.visit_borrowed_str(text),
            Some(Value::Array(items)) => visitor.visit_seq(Items { of: self, all: items, next: 0 }),
            Some(Value::Object(fields)) => visitor.visit_map(Members::of(self, fields)),
        };
        found.map_err(|wrong| wrong.at(&at))
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            None | Some(Value::Null) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// An object, and no list that happens to have as many items.
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value {
            Some(Value::Object(_)) => self.deserialize_any(visitor),
            Some(other) => {
                let said = format!("is {}, not an object", kind(other));
                Err(Wrong::said(said).at(&self.at))
            }
            None => Err(Wrong::said("").at(&self.at)),
        }
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let at = self.at.clone();
        let word = match self.value {
            Some(Value::String(word)) => word.as_str(),
            None => words.first().copied().unwrap_or_default(),
            Some(_) => {
                let words = words.join("`, `");
                return Err(Wrong::said(format!("is none of the words `{words}`")).at(&at));
            }
        };
        let word: StringDeserializer<Wrong> = word.to_owned().into_deserializer();
        visitor.visit_enum(word).map_err(|wrong| wrong.at(&at))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            None => visitor.visit_seq(Items { of: self, all: &[], next: 0 }),
            Some(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            None => visitor.visit_map(Members::none(self)),
            Some(_) => self.deserialize_any(visitor),
        }
    }

    fill! {
        deserialize_str => visit_str("")
        deserialize_string => visit_str("")
        deserialize_bool => visit_bool(false)
        deserialize_u8 => visit_u64(0)
        deserialize_u16 => visit_u64(0)
        deserialize_u32 => visit_u64(0)
        deserialize_u64 => visit_u64(0)
        deserialize_i8 => visit_u64(0)
        deserialize_i16 => visit_u64(0)
        deserialize_i32 => visit_u64(0)
        deserialize_i64 => visit_u64(0)
        deserialize_f32 => visit_f64(0.0)
        deserialize_f64 => visit_f64(0.0)
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The items of a list.
struct Items<'a> {
    of: Node<'a>,
    all: &'a [Value],
    next: usize,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some(item) = self.all.get(self.next) else {
            return Ok(None);
        };
        let node = self.of.child(self.next, Some(item));
        self.next += 1;
        let at = node.at.clone();
        seed.deserialize(node).map(Some).map_err(|wrong| wrong.at(&at))
    }
}

/// The members of an object, with those that are missing and were given a hole.
struct Members<'a> {
    of: Node<'a>,
    left: std::vec::IntoIter<(String, Option<&'a Value>)>,
    value: Option<Node<'a>>,
}

impl<'a> Members<'a> {
    fn none(of: Node<'a>) -> Self {
        Self { of, left: Vec::new().into_iter(), value: None }
    }

    fn of(of: Node<'a>, fields: &'a serde_json::Map<String, Value>) -> Self {
        let mut members: Vec<_> = fields
            .iter()
            .filter(|(name, _)| of.holes.get(&below(&of.at, name)) != Some(&Hole::Gone))
            .map(|(name, value)| (name.clone(), Some(value)))
            .collect();
        let filled = of.holes.iter().filter(|(_, hole)| **hole == Hole::Filled);
        let missing = filled.filter_map(|(at, _)| at.strip_prefix(&of.at)?.strip_prefix('/'));
        // The names of fields in Rust need no escapes, and what lies deeper is no member.
        let missing = missing.filter(|name| !name.contains(['/', '~']));
        let missing = missing.filter(|name| !fields.contains_key(*name));
        members.extend(missing.map(|name| (name.to_owned(), None)));
        Self { of, left: members.into_iter(), value: None }
    }
}

impl<'a> MapAccess<'a> for Members<'a> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((name, value)) = self.left.next() else {
            return Ok(None);
        };
        let node = self.of.child(&name, value);
        let at = node.at.clone();
        self.value = Some(node);
        let name: StringDeserializer<Wrong> = name.into_deserializer();
        seed.deserialize(name).map(Some).map_err(|wrong| wrong.at(&at))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some(node) = self.value.take() else {
            return Err(Wrong::said("a value was read before its name"));
        };
        let at = node.at.clone();
        seed.deserialize(node).map_err(|wrong| wrong.at(&at))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters here")]
    struct Draft {
        name: String,
        role: Role,
        tags: Option<Vec<String>>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Admin,
        Viewer,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its shape matters here")]
    struct Inner {
        count: u8,
        labels: BTreeMap<String, String>,
    }

    fn places(body: Value) -> Vec<String> {
        let mut places: Vec<_> =
            faults::<Draft>(&body).into_iter().map(|fault| fault.pointer).collect();
        places.sort();
        places
    }

    #[test]
    fn what_fits_has_no_fault() {
        let inner = json!({"count": 3, "labels": {"a": "b"}, "more": [1]});
        let body = json!({"name": "x", "role": "admin", "tags": ["a"], "inner": inner});
        assert_eq!(faults::<Draft>(&body), []);
        assert_eq!(faults::<Value>(&json!([1, {"a": null}])), []);
    }

    #[test]
    fn a_list_is_no_object() {
        let at_the_top = faults::<Draft>(&json!(["x", "admin", null, null]));
        assert_eq!(at_the_top.len(), 1);
        assert_eq!(at_the_top[0].pointer, "");
        assert_eq!(at_the_top[0].detail, "is a list, not an object");
        let body = json!({"name": "x", "role": "admin", "inner": [1, {}]});
        assert_eq!(places(body), ["/inner"]);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let body = json!({
            "role": "god", "tags": ["a", 1, null], "pasword": 1, "a/b": 2,
            "inner": {"count": 300, "labels": {"k": 1}},
        });
        assert_eq!(
            places(body),
            [
                "/a~1b",
                "/inner/count",
                "/inner/labels/k",
                "/name",
                "/pasword",
                "/role",
                "/tags/1",
                "/tags/2"
            ]
        );
    }

    #[test]
    fn nothing_of_rust_is_told() {
        for body in [json!([]), json!(null), json!(5), json!({"name": [], "role": {}, "x": 1})] {
            let said = format!("{:?}", faults::<Draft>(&body));
            for word in ["struct", "Draft", "sequence", "unit", "elements", "variant"] {
                assert!(!said.contains(word), "{said}");
            }
        }
    }
}
