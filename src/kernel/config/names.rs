//! Which name means which setting, and which one was probably meant.

use std::collections::HashMap;

use super::key::Key;
use super::value::nearest_word;
use crate::kernel::error::{Error, Result};

/// Variables that are not settings.
pub(super) const NOT_SETTINGS: [&str; 3] = ["DRIP_URL", "DRIP_TOKEN", "DRIP_CONFIG"];
/// The other name of the data folder in the environment.
pub(super) const DATA_VARIABLE: &str = "DRIP_DATA";

/// What a name turns out to be.
pub(super) enum Called {
    Key(Key),
    /// The file that holds this secret.
    SecretFile(Key),
    Section,
    Nothing,
}

/// Every setting by its name.
pub(super) struct Names {
    keys: Vec<Key>,
    index: HashMap<&'static str, Key>,
}

impl Names {
    pub(super) fn new(schema: &[&[Key]]) -> Result<Self> {
        let keys: Vec<Key> = schema.iter().copied().flatten().copied().collect();
        let mut index = HashMap::new();
        for key in &keys {
            if index.insert(key.name, *key).is_some() {
                let detail = format!("the setting `{}` is declared twice", key.name);
                return Err(Error::internal(detail));
            }
        }
        Ok(Self { keys, index })
    }

    /// In the order of the schema.
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn key(&self, name: &str) -> Option<Key> {
        self.index.get(name).copied()
    }

    pub(super) fn called(&self, name: &str) -> Called {
        if let Some(key) = self.key(name) {
            return Called::Key(key);
        }
        let secret = name.strip_suffix("_file").and_then(|stem| self.key(stem));
        if let Some(key) = secret.filter(|key| key.secret) {
            return Called::SecretFile(key);
        }
        if self.inside(name).is_some() { Called::Section } else { Called::Nothing }
    }

    /// The setting that was probably meant by `name`: one of the same section that is spelled alike,
    /// else one that is spelled alike as a whole, else the only one of the same last word.
    pub(super) fn suggestion(&self, name: &str) -> Option<&'static str> {
        let (section, word) = name.rsplit_once('.').unwrap_or(("", name));
        let inside: Vec<&Key> = self.keys.iter().filter(|key| key.split().0 == section).collect();
        if !inside.is_empty() {
            let near = nearest_word(word, inside.iter().map(|key| key.split().1))?;
            return inside.into_iter().find(|key| key.split().1 == near).map(|key| key.name);
        }
        nearest_word(name, self.keys.iter().map(|key| key.name)).or_else(|| {
            let mut same = self.keys.iter().filter(|key| key.split().1 == word);
            same.next().map(|key| key.name).filter(|_| same.next().is_none())
        })
    }

    /// The variable that was probably meant by `name`, whose setting would be `path`.
    pub(super) fn variable_suggestion(&self, name: &str, path: &str) -> Option<String> {
        if let Some(key) = self.suggestion(path).and_then(|near| self.key(near)) {
            return Some(key.variable());
        }
        let extra = NOT_SETTINGS.into_iter().chain([DATA_VARIABLE]).map(str::to_owned);
        let known: Vec<String> = self.keys.iter().map(Key::variable).chain(extra).collect();
        let upper = name.to_ascii_uppercase();
        nearest_word(&upper, known.iter().map(String::as_str)).map(str::to_owned)
    }

    /// The variable of the first setting of a section.
    pub(super) fn example(&self, section: &str) -> String {
        self.inside(section).map(Key::variable).unwrap_or_default()
    }

    fn inside(&self, section: &str) -> Option<&Key> {
        let under =
            |key: &&Key| key.name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        self.keys.iter().find(under)
    }
}
