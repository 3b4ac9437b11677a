//! Which changes someone wants to hear of: by kind, event, name and stage. Observers and streams ask
//! in the same words.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::changes::Change;
use super::kinds::Kinds;
use super::model::{CardKey, CardKind, Stage};
use super::plan::{CARD_CONFLICTED, CARD_DELETED, CARD_SAVED, CARD_STAGED};
use crate::kernel::name::{NAME_MAX_BYTES, nearest};

/// The most items of one list.
const ITEMS_MAX: usize = 100;
/// Every event there is.
const EVENTS: [&str; 4] = [CARD_SAVED, CARD_DELETED, CARD_STAGED, CARD_CONFLICTED];

/// Which changes. An empty list asks for all; of a list one item must fit, and of the lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Which {
    /// Only cards of these kinds.
    pub kinds: Vec<String>,
    /// Only these events.
    pub events: Vec<String>,
    /// Only cards whose names fit one of these: `*` stands for anything, `?` for one character.
    pub names: Vec<String>,
    /// Only cards that are in one of these stages after the change.
    pub stages: Vec<String>,
}

impl Which {
    /// Whether a change may be wanted, as far as its event and its card's key tell.
    pub(super) fn may_hold(&self, event: &str, key: &CardKey) -> bool {
        let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|w| w == word);
        any(&self.events, event)
            && any(&self.kinds, key.kind.as_str())
            && (self.names.is_empty()
                || self.names.iter().any(|pattern| fits(pattern, key.name.as_str())))
    }

    /// Whether a change is wanted.
    pub fn holds(&self, change: &Change) -> bool {
        let stage = change.card.stage.as_str();
        self.may_hold(&change.event, &change.card.key)
            && (self.stages.is_empty() || self.stages.iter().any(|word| word == stage))
    }

    /// Brings names into the form that cards have, and answers every fault: its place and a sentence.
    pub(super) fn settle(&mut self, known: &Kinds) -> Vec<(String, String)> {
        let mut kinds: Vec<_> = known.all().map(CardKind::as_str).collect();
        // There may be cards of a kind that is not declared any more.
        kinds.extend(self.kinds.iter().filter_map(|word| known.known(word)).map(CardKind::as_str));
        let stages: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        let mut faults = Vec::new();
        faults.extend(unknown("kinds", &self.kinds, &kinds));
        faults.extend(unknown("events", &self.events, &EVENTS));
        faults.extend(unknown("stages", &self.stages, &stages));
        for (at, name) in self.names.iter_mut().enumerate() {
            *name = name.nfc().collect();
            if name.is_empty() || name.len() > NAME_MAX_BYTES {
                let why = format!("a pattern has 1 to {NAME_MAX_BYTES} bytes, such as wind-*");
                faults.push((format!("names/{at}"), why));
            }
        }
        let lists = [
            ("kinds", self.kinds.len()),
            ("events", self.events.len()),
            ("names", self.names.len()),
            ("stages", self.stages.len()),
        ];
        for (list, length) in lists {
            if length > ITEMS_MAX {
                let why = format!("has {length} items and may have {ITEMS_MAX}");
                faults.push((list.to_owned(), why));
            }
        }
        // A list that is far too long has far too many faults.
        faults.truncate(ITEMS_MAX);
        faults
    }
}

/// The words of a list that nobody knows.
fn unknown(list: &str, given: &[String], known: &[&str]) -> Vec<(String, String)> {
    let fault = |(at, word): (usize, &String)| {
        let shown: String = word.chars().take(60).collect();
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use {}", known.join(", ")),
        };
        (format!("{list}/{at}"), format!("there is no `{shown}`: {hint}"))
    };
    let is_unknown = |(_, word): &(usize, &String)| !known.contains(&word.as_str());
    given.iter().enumerate().filter(is_unknown).map(fault).collect()
}

/// Whether a name fits a pattern. Looks back at the last `*` alone, so no pattern is slow.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(here) {
        match pattern.get(at) {
            Some('*') => {
                last_star = Some((at, here));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == c => (at, here) = (at + 1, here + 1),
            _ => {
                let Some((star, taken)) = last_star else {
                    return false;
                };
                last_star = Some((star, taken + 1));
                (at, here) = (star + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        for (pattern, name, fit) in [
            ("wind-*", "wind-power", true),
            ("wind-*", "wind-", true),
            ("wind-*", "solar-wind-power", false),
            ("*", "", true),
            ("*功率*", "GBDT_功率预测", true),
            ("风?", "风电", true),
            ("风?", "风", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbYcZ", false),
            ("*.v?", "lstm.v2", true),
            ("LSTM", "lstm", false),
            ("[a]", "a", false),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
        let slow = "a*".repeat(100) + "b";
        assert!(!fits(&slow, &"a".repeat(255)));
    }

    #[test]
    fn all_lists_must_fit_and_of_each_one_item() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let which = Which {
            kinds: list(&["model", "dataset"]),
            events: list(&["card.saved"]),
            names: list(&["wind-*", "pv"]),
            stages: Vec::new(),
        };
        let key = |kind, name| CardKey::new(kind, name, "1").unwrap();
        assert!(which.may_hold("card.saved", &key("model", "wind-power")));
        assert!(which.may_hold("card.saved", &key("dataset", "pv")));
        assert!(!which.may_hold("card.staged", &key("model", "wind-power")));
        assert!(!which.may_hold("card.saved", &key("algorithm", "wind-power")));
        assert!(!which.may_hold("card.saved", &key("model", "solar")));
        assert!(Which::default().may_hold("card.deleted", &key("model", "x")));
    }

    #[test]
    fn every_unknown_word_is_named_with_what_was_meant() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut which = Which {
            kinds: list(&["model", "modle"]),
            events: list(&["card.save", "run.finished"]),
            names: list(&["", "e\u{301}*"]),
            stages: list(&["deploid"]),
        };
        let faults = which.settle(&Kinds::default());
        let places: Vec<_> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["kinds/1", "events/0", "events/1", "stages/0", "names/0"]);
        assert!(faults[0].1.contains("did you mean `model`?"));
        assert!(faults[1].1.contains("did you mean `card.saved`?"));
        assert!(faults[2].1.contains("use card.saved, card.deleted, card.staged, card.conflicted"));
        assert!(faults[3].1.contains("did you mean `deployed`?"));
        assert_eq!(which.names[1], "\u{e9}*");
        let mut long = Which { kinds: vec!["x".into(); 101], ..Which::default() };
        assert_eq!(long.settle(&Kinds::default()).len(), ITEMS_MAX);
    }
}
