//! Where a card may go from each stage: as [`Stage::next`] has it, unless `drip.toml` says otherwise.

use std::collections::BTreeMap;

use super::model::Stage;
use crate::kernel::{Error, Fault, Kind, Result};

/// The allowed moves between stages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    own: BTreeMap<Stage, Vec<Stage>>,
}

impl Moves {
    /// Reads `[fiche.stages]`: for a stage, those that a card may go to from it. A stage that is not
    /// named keeps its ways. The error names every fault.
    pub(super) fn read(table: &toml::Table) -> Result<Self> {
        let (mut own, mut faults) = (BTreeMap::new(), Vec::new());
        for (word, given) in table {
            let place = format!("fiche.stages.{word}");
            let unknown = |word: &str| super::error::unknown_stage(word);
            let from = Stage::known(word);
            if from.is_none() {
                faults.push(Fault::new(&place, unknown(word)));
            }
            let words = given.as_array().map(|items| items.iter().map(toml::Value::as_str));
            let words = words.and_then(Iterator::collect::<Option<Vec<_>>>);
            let Some(words) = words else {
                faults.push(Fault::new(&place, "must be a list of stages, which may be empty"));
                continue;
            };
            let mut next = Vec::new();
            for word in words {
                match Stage::known(word) {
                    Some(to) if Some(to) == from => {
                        faults.push(Fault::new(&place, "a card is in its own stage already"));
                    }
                    Some(to) => next.push(to),
                    None => faults.push(Fault::new(&place, unknown(word))),
                }
            }
            own.extend(from.map(|from| (from, next)));
        }
        if faults.is_empty() {
            return Ok(Self { own });
        }
        Err(Error::new(Kind::Config, "config_bad_value", "[fiche.stages] cannot be used as it is")
            .with_faults(faults))
    }

    /// Where a card may go from a stage.
    pub fn next(&self, from: Stage) -> &[Stage] {
        self.own.get(&from).map_or_else(|| from.next(), Vec::as_slice)
    }

    /// Whether a card may go from here to there.
    pub fn allow(&self, from: Stage, to: Stage) -> bool {
        self.next(from).contains(&to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_is_named_has_these_ways_and_the_others_keep_theirs() {
        let table = "experiment = [\"development\"]\nretired = []".parse().unwrap();
        let moves = Moves::read(&table).unwrap();
        assert!(moves.allow(Stage::Experiment, Stage::Development));
        assert!(!moves.allow(Stage::Experiment, Stage::Deployed));
        assert!(!moves.allow(Stage::Retired, Stage::Experiment));
        assert_eq!(moves.next(Stage::Testing), Stage::Testing.next());
        assert!(Moves::default().allow(Stage::Experiment, Stage::Deployed));
    }

    #[test]
    fn every_fault_of_the_moves_is_named() {
        let table = "paused = []\ntesting = [\"live\", \"testing\"]\nretired = 3".parse().unwrap();
        let refused = Moves::read(&table).unwrap_err();
        let places: Vec<_> = refused.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            places,
            [
                "fiche.stages.paused",
                "fiche.stages.retired",
                "fiche.stages.testing",
                "fiche.stages.testing"
            ]
        );
    }
}
