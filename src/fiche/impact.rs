//! What breaks if a card is retired or deleted: everything that is made from it, nearest first, with
//! what is in use before what is not, and whether something else would take the card's place.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::kinds::Kinds;
use super::lineage::{NODES_MAX, Node, Walk};
use super::model::{Card, CardKey, Stage};
use super::refs::{self, REQUIRED_BY, Reference};
use super::store;
use crate::kernel::records::Records;
use crate::kernel::{Name, Result};

/// What depends on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// The card itself.
    pub card: Node,
    /// The other versions of it that are there.
    pub other_versions: Vec<Name>,
    /// How many of the cards below are deployed or accepted, and break.
    pub in_use: usize,
    /// What refers to the card itself; deployed and accepted cards first.
    pub directly: Vec<Affected>,
    /// What is made from those, through however many steps; deployed and accepted cards first.
    pub indirectly: Vec<Affected>,
    /// Whether there is more than one answer shows.
    #[serde(default)]
    pub truncated: bool,
}

/// A card that depends on another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The card.
    #[serde(flatten)]
    pub node: Node,
    /// The card through which it depends: `model:wind-power@1.2.0`.
    pub through: String,
    /// The field that says so.
    pub field: String,
    /// What stands there.
    pub reference: String,
    /// The card that the reference would mean without the one that was asked for.
    #[serde(default)]
    pub instead: Option<String>,
    /// Whether nothing would take its place; of an indirect one, whether what it is made from breaks.
    pub breaks: bool,
}

impl Affected {
    /// Whether it is deployed or accepted.
    pub fn is_in_use(&self) -> bool {
        is_in_use(self.node.stage)
    }
}

fn is_in_use(stage: Stage) -> bool {
    matches!(stage, Stage::Deployed | Stage::Accepted)
}

/// What depends on a card.
pub(super) fn of(records: &dyn Records, kinds: &Kinds, key: &CardKey) -> Result<Impact> {
    let card = store::get(records, key)?;
    let other_versions = store::versions(records, key.kind, &key.name)?
        .into_iter()
        .map(|(_, other)| other.version)
        .filter(|version| *version != key.version)
        .collect();
    let mut search = Reach {
        walk: Walk::from(records, kinds, key, card.clone()),
        root: key.clone(),
        seen: HashSet::from([key.clone()]),
        truncated: false,
    };
    let mut directly = search.directly()?;
    let indirectly = search.indirectly(&mut directly)?;
    let (directly, indirectly) = (in_order(directly), in_order(indirectly));
    let all = directly.iter().chain(&indirectly);
    Ok(Impact {
        card: Node::of(&card),
        other_versions,
        in_use: all.filter(|affected| affected.breaks && affected.is_in_use()).count(),
        directly,
        indirectly,
        truncated: search.truncated,
    })
}

/// What is in use first, what is retired last.
fn in_order(mut affected: Vec<Affected>) -> Vec<Affected> {
    let rank = |affected: &Affected| match affected.node.stage {
        stage if is_in_use(stage) => 0,
        Stage::Retired => 2,
        _ => 1,
    };
    affected.sort_by_key(|affected| (rank(affected), affected.node.reference()));
    affected
}

struct Reach<'a> {
    walk: Walk<'a>,
    root: CardKey,
    seen: HashSet<CardKey>,
    truncated: bool,
}

impl Reach<'_> {
    fn directly(&mut self) -> Result<Vec<Affected>> {
        let root = self.root.clone();
        let mut affected = Vec::<Affected>::new();
        for (field, source) in self.walk.made_from(&root)? {
            if source == root {
                continue;
            }
            let Some(card) = self.walk.card(&source)? else { continue };
            let one = self.by_reference(&card, &field)?;
            if self.seen.insert(source) {
                affected.push(one);
            } else if let Some(known) =
                affected.iter_mut().find(|known| known.node == one.node && !known.breaks)
            {
                // It refers to the card more than once: the reference that breaks is told.
                *known = one;
            }
        }
        Ok(affected)
    }

    /// How a card refers to the one that was asked for, and what else it would mean.
    fn by_reference(&mut self, card: &Card, field: &str) -> Result<Affected> {
        let mut affected = Affected {
            node: Node::of(card),
            through: self.root.reference(),
            field: field.to_owned(),
            reference: card.key.reference(),
            instead: None,
            breaks: true,
        };
        if field == REQUIRED_BY {
            // The card itself says who needs it: nobody else can say it in its place.
            return Ok(affected);
        }
        let kinds = self.walk.kinds;
        let references: Vec<(Reference, Vec<_>)> =
            refs::of_fields(kinds, card.key.kind, &card.fields)
                .into_iter()
                .filter(|(name, _, _)| *name == field)
                .map(|(_, reference, meant)| (reference, meant.to_vec()))
                .collect();
        for (reference, meant) in references {
            if self.walk.find(&reference, &meant)?.as_ref() == Some(&self.root) {
                affected.reference = reference.to_string();
                let instead = self.walk.find_but(&reference, &meant, &self.root)?;
                affected.breaks = instead.is_none();
                affected.instead = instead.map(|key| key.reference());
            }
        }
        Ok(affected)
    }

    /// Everything beyond. What breaks is walked first, so that a card that is reached both ways is
    /// told as one that breaks.
    fn indirectly(&mut self, directly: &mut [Affected]) -> Result<Vec<Affected>> {
        let mut found = Vec::new();
        for breaks in [true, false] {
            let starts = directly.iter().filter(|affected| affected.breaks == breaks);
            let mut queue: VecDeque<CardKey> = starts.map(|affected| affected.node.key()).collect();
            while let Some(at) = queue.pop_front() {
                for (field, source) in self.walk.made_from(&at)? {
                    if breaks && breaks_all_the_same(directly, &source, &at) {
                        queue.push_back(source);
                        continue;
                    }
                    if !self.seen.insert(source.clone()) {
                        continue;
                    }
                    if self.seen.len() > NODES_MAX {
                        self.truncated = true;
                        return Ok(found);
                    }
                    let Some(card) = self.walk.card(&source)? else { continue };
                    found.push(Affected {
                        node: Node::of(&card),
                        through: at.reference(),
                        field,
                        reference: at.reference(),
                        instead: None,
                        breaks,
                    });
                    queue.push_back(source);
                }
            }
        }
        Ok(found)
    }
}

/// A direct one that keeps its own reference may still be made from one that breaks. Answers whether
/// it was taken for one that goes on until now.
fn breaks_all_the_same(directly: &mut [Affected], source: &CardKey, through: &CardKey) -> bool {
    let known = directly.iter_mut().find(|known| !known.breaks && known.node.key() == *source);
    let was_taken_so = known.is_some();
    if let Some(known) = known {
        (known.breaks, known.instead) = (true, None);
        known.through = through.reference();
    }
    was_taken_so
}
