//! A YAML file as a flat list of names and texts, with a bound on everything that can grow.

use std::fmt;

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserialize as _, Deserializer};

use super::super::value::short;
use crate::kernel::error::{Error, Kind, Result};

/// How many values a file may hold once its aliases are followed.
const MAX_NODES: usize = 10_000;
/// How many bytes of text they may hold together.
const MAX_TEXT: usize = 1 << 20;

/// How many brackets and braces may open in a file. The parser looks at all that are open for every
/// word it reads: 127,000 of them took it twenty seconds.
const MAX_BRACKETS: usize = 1_000;

/// One value and the keys that lead to it.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Given,
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    One(String),
    Many(Vec<String>),
}

enum Node {
    Scalar(Option<String>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Every value of a YAML file, in its order.
pub(super) fn leaves(file: &str, text: &str) -> Result<Vec<Leaf>> {
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets > MAX_BRACKETS {
        let detail = format!("`{file}` has {brackets} brackets: that is no file of settings");
        return Err(Error::new(Kind::Invalid, "config_bad_yaml", detail));
    }
    let mut budget = Budget { nodes: MAX_NODES, text: MAX_TEXT };
    let parser = serde_yaml_ng::Deserializer::from_str(text);
    let node = Seed(&mut budget).deserialize(parser).map_err(|source| {
        let detail = format!("`{file}` cannot be read as YAML: {}", short(&source.to_string()));
        Error::new(Kind::Invalid, "config_bad_yaml", detail)
    })?;
    let Node::Map(entries) = node else {
        let detail = format!("`{file}` holds no settings: it is not a mapping of names to values");
        return Err(Error::new(Kind::Invalid, "config_bad_yaml", detail));
    };
    let mut leaves = Vec::new();
    flatten(&mut Vec::new(), Node::Map(entries), &mut leaves);
    Ok(leaves)
}

/// The parser bounds how deep values nest, so this recursion is bounded too.
fn flatten(path: &mut Vec<String>, node: Node, leaves: &mut Vec<Leaf>) {
    let mut leaf = |path: &[String], value| {
        let path = path.to_vec();
        leaves.push(Leaf { path, value });
    };
    match node {
        Node::Scalar(text) => leaf(path, text.map_or(Given::Nothing, Given::One)),
        Node::Map(entries) if entries.is_empty() => leaf(path, Given::Nothing),
        Node::List(items) if items.iter().all(|item| matches!(item, Node::Scalar(Some(_)))) => {
            let texts = items.into_iter().filter_map(|item| match item {
                Node::Scalar(text) => text,
                Node::List(_) | Node::Map(_) => None,
            });
            let texts: Vec<String> = texts.collect();
            leaf(path, if texts.is_empty() { Given::Nothing } else { Given::Many(texts) });
        }
        Node::List(items) => {
            for (at, item) in items.into_iter().enumerate() {
                path.push(at.to_string());
                flatten(path, item, leaves);
                path.pop();
            }
        }
        Node::Map(entries) => {
            for (key, value) in entries {
                // A merge key only says that the values below it are ours too.
                let named = key != "<<";
                if named {
                    path.push(key);
                }
                flatten(path, value, leaves);
                if named {
                    path.pop();
                }
            }
        }
    }
}

struct Budget {
    nodes: usize,
    text: usize,
}

impl Budget {
    fn node<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.nodes = self
            .nodes
            .checked_sub(1)
            .ok_or_else(|| E::custom(format!("it holds more than {MAX_NODES} values")))?;
        Ok(())
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<String, E> {
        self.text = self
            .text
            .checked_sub(text.len())
            .ok_or_else(|| E::custom(format!("it holds more than {MAX_TEXT} bytes of text")))?;
        Ok(text.to_owned())
    }
}

struct Seed<'b>(&'b mut Budget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        self.0.node()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(None))
    }
    fn visit_bool<E>(self, on: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Some(on.to_string())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Some(number.to_string())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Some(number.to_string())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Some(number.to_string())))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Node, E> {
        self.0.text(text).map(|text| Node::Scalar(Some(text)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0))? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Seed(self.0))? {
            let Node::Scalar(key) = key else {
                return Err(A::Error::custom("a name is itself a list or a mapping"));
            };
            let value = entries.next_value_seed(Seed(self.0))?;
            map.push((key.unwrap_or_default(), value));
        }
        Ok(Node::Map(map))
    }
    /// A tag such as `!secret` says nothing to us; what it stands before does.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (_tag, value) = tagged.variant_seed(Tag)?;
        value.newtype_variant_seed(self)
    }
}

struct Tag;

impl<'de> DeserializeSeed<'de> for Tag {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}
