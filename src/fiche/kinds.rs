//! The kinds of cards: five that are always there, and kinds of one's own that `drip.toml` declares:
//!
//! ```toml
//! [fiche.kinds.site]
//! fields = ["region", "timezone"]                             # texts
//! references = { turbines = ["dataset"], requires = ["site", "application"] }
//! ```
//!
//! A field of `references` holds references, and a plain name in it means a card of these kinds, the
//! likeliest first; `requiredby` among them points the other way, as it does everywhere. A kind that
//! is no longer declared keeps its cards: they are read, found and deleted, and no more are saved.

use super::model::{CardKind, SYSTEM_FIELDS};
use super::refs;
use crate::kernel::{Error, Fault, Kind, Result};

/// The fields that every card has, whatever its kind.
const COMMON_FIELDS: [&str; 8] =
    ["kind", "name", "version", "stage", "summary", "config", "remark", "labels"];
/// How many kinds of one's own there may be.
const OWN_MAX: usize = 100;
/// How many fields of one sort a kind may declare.
const FIELDS_MAX: usize = 100;

/// The kinds that a store of cards knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    own: Vec<Own>,
    /// Kinds of which there are cards, and which are not declared.
    former: Vec<CardKind>,
    /// Whether any word may be a kind, because someone else will judge it.
    is_open: bool,
}

/// A kind of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    kind: CardKind,
    texts: Vec<String>,
    references: Vec<(String, Vec<CardKind>)>,
}

impl Kinds {
    /// For a client that does not know which kinds the daemon has: any word may be one.
    pub fn of_a_daemon() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// Reads `[fiche.kinds]`. The error names every fault.
    pub(super) fn read(table: &toml::Table) -> Result<Self> {
        let mut faults = Vec::new();
        let mut kinds = Self::default();
        if table.len() > OWN_MAX {
            faults.push(fault("", format!("declares {} kinds and may {OWN_MAX}", table.len())));
        }
        // All names first: a kind may refer to one that is declared after it.
        for word in table.keys() {
            match CardKind::stored(word) {
                Some(kind) if CardKind::known(word).is_none() => {
                    kinds.own.push(Own { kind, texts: Vec::new(), references: Vec::new() });
                }
                Some(_) => faults.push(fault(word, "is a kind that is always there")),
                None => faults.push(fault(
                    word,
                    "must be a word of small letters, digits, - and _, at most 32, a letter first",
                )),
            }
        }
        kinds.own.sort_by_key(|own| own.kind);
        for (word, given) in table {
            let Some(at) = kinds.own.iter().position(|own| own.kind.as_str() == word) else {
                continue;
            };
            let (texts, references) = kinds.read_own(word, given, &mut faults);
            if let Some(own) = kinds.own.get_mut(at) {
                (own.texts, own.references) = (texts, references);
            }
        }
        if faults.is_empty() {
            return Ok(kinds);
        }
        Err(Error::new(Kind::Config, "config_bad_value", "[fiche.kinds] cannot be used as it is")
            .with_faults(faults))
    }

    fn read_own(
        &self,
        word: &str,
        given: &toml::Value,
        faults: &mut Vec<Fault>,
    ) -> (Vec<String>, Vec<(String, Vec<CardKind>)>) {
        let (mut texts, mut references) = (Vec::new(), Vec::new());
        let Some(table) = given.as_table() else {
            faults.push(fault(word, "must be a table, such as { fields = [\"region\"] }"));
            return (texts, references);
        };
        for (key, value) in table {
            let place = format!("{word}.{key}");
            match (key.as_str(), value) {
                ("fields", value) => texts = list(&place, value, faults),
                ("references", toml::Value::Table(given)) => {
                    for (field, meant) in given {
                        let meant = self.meant_by(&format!("{place}.{field}"), meant, faults);
                        references.push((field.clone(), meant));
                    }
                }
                ("references", _) => {
                    faults
                        .push(fault(&place, "must be a table, such as { requires = [\"model\"] }"));
                }
                _ => faults.push(fault(&place, "is not known: write fields and references")),
            }
        }
        check_fields(word, &texts, &references, faults);
        (texts, references)
    }

    fn meant_by(&self, place: &str, given: &toml::Value, faults: &mut Vec<Fault>) -> Vec<CardKind> {
        let words = list(place, given, faults);
        if words.is_empty() {
            faults.push(fault(place, "must name the kinds that a plain name may mean"));
        }
        let mut kinds = Vec::new();
        for word in words {
            match self.declared(&word) {
                Some(kind) => kinds.push(kind),
                None => faults.push(fault(
                    place,
                    format!("names `{word}`, which is no kind: use {}", self.list()),
                )),
            }
        }
        kinds
    }

    /// The same, which also knows kinds that have cards and are not declared.
    pub(super) fn with_former(mut self, kinds: impl IntoIterator<Item = CardKind>) -> Self {
        let former = kinds.into_iter().filter(|kind| self.declared(kind.as_str()).is_none());
        self.former = former.collect();
        self
    }

    /// Every kind of which cards can be saved.
    pub fn all(&self) -> impl Iterator<Item = CardKind> {
        CardKind::ALL.into_iter().chain(self.own.iter().map(|own| own.kind))
    }

    /// The kind that a word stands for, if cards of it can be saved.
    pub fn declared(&self, word: &str) -> Option<CardKind> {
        if self.is_open {
            return word.parse().ok();
        }
        self.all().find(|kind| kind.as_str() == word)
    }

    /// The kind that a word stands for, if there may be cards of it.
    pub fn known(&self, word: &str) -> Option<CardKind> {
        let former = || self.former.iter().copied().find(|kind| kind.as_str() == word);
        self.declared(word).or_else(former)
    }

    /// All of them in a sentence.
    pub(super) fn list(&self) -> String {
        let words: Vec<_> = self.all().map(CardKind::as_str).collect();
        words.join(", ")
    }

    /// The kinds that a plain name in a field may mean; none where the kind has no such field.
    pub(super) fn meant(&self, kind: CardKind, field: &str) -> Option<&[CardKind]> {
        let own = self.own.iter().find(|own| own.kind == kind);
        let Some(own) = own else {
            return refs::kinds_meant(kind, field);
        };
        let found = own.references.iter().find(|(name, _)| name == field);
        found.map(|(_, meant)| meant.as_slice())
    }

    /// The fields of a kind that hold references, beside those that do in every kind.
    pub(super) fn reference_fields(&self, kind: CardKind) -> impl Iterator<Item = &str> {
        let own = self.own.iter().filter(move |own| own.kind == kind);
        own.flat_map(|own| own.references.iter().map(|(field, _)| field.as_str()))
    }

    /// Whether a field of a kind is text.
    pub(super) fn is_text(&self, kind: CardKind, field: &str) -> bool {
        match self.own.iter().find(|own| own.kind == kind) {
            Some(own) => own.texts.iter().any(|text| text == field),
            None => is_text_always(kind, field),
        }
    }
}

fn is_text_always(kind: CardKind, field: &str) -> bool {
    matches!(
        (kind.as_str(), field),
        ("algorithm", "homepage" | "author" | "authoremail" | "license")
            | ("parameter" | "dataset", "datatype")
            | ("application" | "dataset", "project")
    )
}

fn check_fields(
    word: &str,
    texts: &[String],
    references: &[(String, Vec<CardKind>)],
    faults: &mut Vec<Fault>,
) {
    let names = texts.iter().chain(references.iter().map(|(field, _)| field));
    let mut seen = Vec::new();
    for name in names {
        let is_taken =
            COMMON_FIELDS.contains(&name.as_str()) || SYSTEM_FIELDS.contains(&name.as_str());
        if is_taken {
            faults.push(fault(word, format!("declares `{name}`, which every card has")));
        } else if name.trim().is_empty() || name.len() > 255 {
            faults.push(fault(word, "declares a field whose name is empty or over 255 bytes"));
        } else if seen.contains(&name) {
            faults.push(fault(word, format!("declares `{name}` twice")));
        }
        seen.push(name);
    }
    if seen.len() > FIELDS_MAX {
        faults.push(fault(word, format!("declares {} fields and may {FIELDS_MAX}", seen.len())));
    }
}

fn list(place: &str, given: &toml::Value, faults: &mut Vec<Fault>) -> Vec<String> {
    let items = given.as_array().map(|items| items.iter().map(toml::Value::as_str));
    let texts = items.and_then(|items| items.map(|item| item.map(str::to_owned)).collect());
    texts.unwrap_or_else(|| {
        faults.push(fault(place, "must be a list of words"));
        Vec::new()
    })
}

fn fault(place: &str, why: impl Into<String>) -> Fault {
    let dot = if place.is_empty() { "" } else { "." };
    Fault::new(format!("fiche.kinds{dot}{place}"), why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Kinds> {
        Kinds::read(&text.parse().unwrap())
    }

    #[test]
    fn kinds_of_ones_own_say_what_their_fields_mean() {
        let kinds = read(
            "site = { fields = [\"region\"], references = { owner = [\"company\", \"model\"] } }\n\
             company = {}",
        )
        .unwrap();
        let (site, company) = (kinds.declared("site").unwrap(), kinds.declared("company").unwrap());
        assert_eq!(
            kinds.list(),
            "algorithm, model, parameter, application, dataset, company, site"
        );
        assert_eq!(kinds.meant(site, "owner"), Some([company, CardKind::MODEL].as_slice()));
        assert_eq!((kinds.meant(site, "requires"), kinds.meant(company, "owner")), (None, None));
        assert!(kinds.is_text(site, "region") && !kinds.is_text(site, "author"));
        assert!(kinds.is_text(CardKind::ALGORITHM, "author"));
        assert_eq!(kinds.meant(CardKind::MODEL, "data"), Some([CardKind::DATASET].as_slice()));
        assert_eq!(Kinds::default().declared("site"), None, "it is known where it is declared");
        let former = Kinds::default().with_former([site, CardKind::MODEL]);
        assert_eq!((former.declared("site"), former.known("site")), (None, Some(site)));
    }

    #[test]
    fn every_fault_of_the_declarations_is_named() {
        let refused = read(
            "model = {}\nSite = {}\nfarm = { fields = [\"name\", \"x\", \"x\"], colour = 1, \
             references = { owner = [\"nobody\"], empty = [] } }\nplain = 3",
        )
        .unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("config_bad_value", Kind::Config));
        let places: Vec<_> = refused.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        for place in [
            "fiche.kinds.model",
            "fiche.kinds.Site",
            "fiche.kinds.farm",
            "fiche.kinds.farm.colour",
            "fiche.kinds.farm.references.owner",
            "fiche.kinds.farm.references.empty",
            "fiche.kinds.plain",
        ] {
            assert!(places.contains(&place), "{place}: {places:?}");
        }
        assert_eq!(places.iter().filter(|place| **place == "fiche.kinds.farm").count(), 2);
    }
}
