//! What a card is made from, and what is made from it.
//!
//! Edges point from what was made to what it was made from. A card's own references and the rows
//! under `ref/` that lead back to it are all that is asked, so a walk costs what it shows; a card
//! that was seen is not walked again, so circles end.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::error;
use super::format::RefsV1;
use super::kinds::Kinds;
use super::model::{Card, CardKey, CardKind, Stage};
use super::refs::{self, REQUIRED_BY, Reference};
use super::store;
use crate::kernel::format::decode;
use crate::kernel::records::{Records, Scan};
use crate::kernel::{Error, Name, Result};

/// The most cards that one answer shows.
pub(super) const NODES_MAX: usize = 10_000;
/// How far a walk goes unless it is told.
const DEPTH_DEFAULT: usize = 100;

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// To what the card is made from.
    Up,
    /// To what is made from the card.
    Down,
    /// Both ways.
    #[default]
    Both,
}

impl Direction {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        }
    }
}

impl std::str::FromStr for Direction {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            "both" => Ok(Self::Both),
            _ => Err(error::bad_parameter("bad_direction", "direction", "up, down or both")),
        }
    }
}

/// One card of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its kind.
    pub kind: CardKind,
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: Name,
    /// How far it has come.
    pub stage: Stage,
}

impl Node {
    pub(super) fn of(card: &Card) -> Self {
        let CardKey { kind, name, version } = card.key.clone();
        Self { kind, name, version, stage: card.stage }
    }

    /// What names the card.
    pub fn key(&self) -> CardKey {
        CardKey { kind: self.kind, name: self.name.clone(), version: self.version.clone() }
    }

    /// How other cards refer to it.
    pub fn reference(&self) -> String {
        self.key().reference()
    }
}

/// That one card is made from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// What was made: `model:wind-power@1.2.0`.
    pub from: String,
    /// What it was made from.
    pub to: String,
    /// The field that says so.
    pub field: String,
    /// Whether one of the two ends is not there.
    pub missing: bool,
}

/// Cards and what they are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The cards, the one that was asked for first.
    pub nodes: Vec<Node>,
    /// What is made from what.
    pub edges: Vec<Edge>,
    /// Whether there is more than one answer shows.
    #[serde(default)]
    pub truncated: bool,
}

/// Walks from a card, at most `depth` steps far.
pub(super) fn walk(
    records: &dyn Records,
    kinds: &Kinds,
    key: &CardKey,
    direction: Direction,
    depth: Option<usize>,
) -> Result<Lineage> {
    let root = store::get(records, key)?;
    let mut walk = Walk::from(records, kinds, key, root);
    let depth = depth.unwrap_or(DEPTH_DEFAULT);
    if direction != Direction::Down {
        walk.one_way(key, depth, Way::Up)?;
    }
    if direction != Direction::Up {
        walk.one_way(key, depth, Way::Down)?;
    }
    Ok(walk.finish())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// The other end of a reference: a card, or what was written where there is none.
enum End {
    Card(CardKey),
    Missing(String),
}

pub(super) struct Walk<'a> {
    records: &'a dyn Records,
    pub(super) kinds: &'a Kinds,
    cards: HashMap<CardKey, Option<Card>>,
    latest: HashMap<(CardKind, Name), Option<CardKey>>,
    nodes: Vec<CardKey>,
    shown: HashSet<CardKey>,
    edges: BTreeSet<Edge>,
    truncated: bool,
}

impl<'a> Walk<'a> {
    /// A walk that begins at a card.
    pub(super) fn from(
        records: &'a dyn Records,
        kinds: &'a Kinds,
        key: &CardKey,
        card: Card,
    ) -> Self {
        Self {
            records,
            kinds,
            cards: HashMap::from([(key.clone(), Some(card))]),
            latest: HashMap::new(),
            nodes: vec![key.clone()],
            shown: HashSet::from([key.clone()]),
            edges: BTreeSet::new(),
            truncated: false,
        }
    }

    /// The cards that are made from one, with the field that says so.
    pub(super) fn made_from(&mut self, at: &CardKey) -> Result<Vec<(String, CardKey)>> {
        let steps = self.steps(at, Way::Down)?;
        let there = steps.into_iter().filter_map(|(field, end)| match end {
            End::Card(key) => Some((field, key)),
            End::Missing(_) => None,
        });
        Ok(there.collect())
    }

    fn one_way(&mut self, root: &CardKey, depth: usize, way: Way) -> Result<()> {
        let mut seen = HashSet::from([root.clone()]);
        let mut queue = VecDeque::from([(root.clone(), 0)]);
        while let Some((at, steps)) = queue.pop_front() {
            if steps >= depth {
                continue;
            }
            for (field, end) in self.steps(&at, way)? {
                self.add_edge(&at, &field, &end, way);
                let End::Card(next) = end else { continue };
                if !seen.insert(next.clone()) {
                    continue;
                }
                if self.nodes.len() >= NODES_MAX {
                    self.truncated = true;
                    continue;
                }
                if self.shown.insert(next.clone()) {
                    self.nodes.push(next.clone());
                }
                queue.push_back((next, steps + 1));
            }
        }
        Ok(())
    }

    /// What lies one step from a card: by its own fields, and by those of others.
    fn steps(&mut self, at: &CardKey, way: Way) -> Result<Vec<(String, End)>> {
        let Some(card) = self.card(at)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (field, reference, meant) in refs::of_fields(self.kinds, at.kind, &card.fields) {
            if (field == REQUIRED_BY) == (way == Way::Down) {
                let end = match self.find(&reference, meant)? {
                    Some(key) => End::Card(key),
                    None => End::Missing(missing(&reference, meant)),
                };
                found.push((field.to_owned(), end));
            }
        }
        for to_kind in [at.kind.as_str(), "*"] {
            let prefix = format!("ref/{to_kind}/{}/", at.name);
            for row in self.records.scan(&Scan::prefix(prefix.as_str()))? {
                let source = row.key.strip_prefix(&prefix).and_then(CardKey::from_subject);
                let Some(source) = source else { continue };
                let links: RefsV1 = decode(&row.value)?;
                let kind = (to_kind != "*").then_some(at.kind);
                self.steps_back(at, kind, source, links, way, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The references of `source` that lead back to `at`.
    fn steps_back(
        &mut self,
        at: &CardKey,
        kind: Option<CardKind>,
        source: CardKey,
        links: RefsV1,
        way: Way,
        found: &mut Vec<(String, End)>,
    ) -> Result<()> {
        for (field, version) in links.links {
            if (field == REQUIRED_BY) != (way == Way::Up) {
                continue;
            }
            let reference = Reference {
                kind,
                name: at.name.clone(),
                version: version.as_deref().map(Name::new).transpose()?,
            };
            let meant = self.kinds.meant(source.kind, &field).unwrap_or_default();
            let is_here = reference.may_mean(meant, at)
                && self.find(&reference, meant)?.as_ref() == Some(at)
                && self.says(&source, &field, &reference)?;
            if is_here {
                found.push((field, End::Card(source.clone())));
            }
        }
        Ok(())
    }

    /// Whether a card is there and its field holds a reference. The rows that lead back are those of
    /// the time of its save: what a field of a kind of one's own means may have changed since.
    fn says(&mut self, source: &CardKey, field: &str, reference: &Reference) -> Result<bool> {
        let Some(card) = self.card(source)? else {
            return Ok(false);
        };
        let said = refs::of_fields(self.kinds, source.kind, &card.fields);
        Ok(said.iter().any(|(name, said, _)| {
            *name == field && said.name == reference.name && said.version == reference.version
        }))
    }

    /// The same without one card.
    pub(super) fn find_but(
        &mut self,
        reference: &Reference,
        meant: &[CardKind],
        gone: &CardKey,
    ) -> Result<Option<CardKey>> {
        let mut without = Walk {
            cards: HashMap::from([(gone.clone(), None)]),
            latest: HashMap::new(),
            nodes: Vec::new(),
            shown: HashSet::new(),
            edges: BTreeSet::new(),
            ..*self
        };
        let latest = store::latest_but(self.records, gone.kind, &gone.name, Some(gone))?;
        without.latest.insert((gone.kind, gone.name.clone()), latest);
        without.find(reference, meant)
    }

    /// The card that a reference means, if it is there.
    pub(super) fn find(
        &mut self,
        reference: &Reference,
        meant: &[CardKind],
    ) -> Result<Option<CardKey>> {
        let named = reference.kind.map(|kind| [kind]);
        for kind in named.as_ref().map_or(meant, |kind| kind.as_slice()) {
            let found = match &reference.version {
                Some(version) => {
                    let key = CardKey {
                        kind: *kind,
                        name: reference.name.clone(),
                        version: version.clone(),
                    };
                    self.card(&key)?.map(|_there| key)
                }
                None => self.latest(*kind, &reference.name)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub(super) fn card(&mut self, key: &CardKey) -> Result<Option<Card>> {
        if let Some(known) = self.cards.get(key) {
            return Ok(known.clone());
        }
        let card = store::find(self.records, key)?;
        self.cards.insert(key.clone(), card.clone());
        Ok(card)
    }

    fn latest(&mut self, kind: CardKind, name: &Name) -> Result<Option<CardKey>> {
        let asked = (kind, name.clone());
        if let Some(known) = self.latest.get(&asked) {
            return Ok(known.clone());
        }
        let found = store::latest(self.records, kind, name)?;
        self.latest.insert(asked, found.clone());
        Ok(found)
    }

    fn add_edge(&mut self, at: &CardKey, field: &str, end: &End, way: Way) {
        let here = at.reference();
        let (there, missing) = match end {
            End::Card(key) => (key.reference(), false),
            End::Missing(text) => (text.clone(), true),
        };
        let (from, to) = match way {
            Way::Up => (here, there),
            Way::Down => (there, here),
        };
        self.edges.insert(Edge { from, to, field: field.to_owned(), missing });
    }

    fn finish(mut self) -> Lineage {
        // Said from both ends it is one edge, and the maker's word stands for it.
        let said: HashSet<(String, String)> = self
            .edges
            .iter()
            .filter(|edge| edge.field != REQUIRED_BY)
            .map(|edge| (edge.from.clone(), edge.to.clone()))
            .collect();
        let edges = std::mem::take(&mut self.edges)
            .into_iter()
            .filter(|edge| {
                edge.field != REQUIRED_BY || !said.contains(&(edge.from.clone(), edge.to.clone()))
            })
            .collect();
        let nodes = self.nodes.iter().filter_map(|key| self.cards.get(key)?.as_ref().map(Node::of));
        Lineage { nodes: nodes.collect(), edges, truncated: self.truncated }
    }
}

/// How an end that is not there is shown: with its kind, where only one can be meant.
fn missing(reference: &Reference, meant: &[CardKind]) -> String {
    match (reference.kind, meant) {
        (None, [only]) => format!("{only}:{reference}"),
        _ => reference.to_string(),
    }
}
