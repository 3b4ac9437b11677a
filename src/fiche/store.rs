//! Reading: a card, its revisions, lists of cards, and which version is the latest.

use semver::Version;

use super::error;
use super::format::{CardV2, card_row, read_card, revision_row};
use super::model::{Card, CardKey, CardKind, Revision, Stage};
use crate::kernel::records::{Records, Scan};
use crate::kernel::{Name, Result, Time};

/// Rows that one step of a long scan takes.
const STEP: usize = 256;

/// The newest revision of a card, deleted or not.
pub(super) fn newest(records: &dyn Records, key: &CardKey) -> Result<CardV2> {
    let row = records.get(&card_row(key))?;
    let row = row.ok_or_else(|| error::card_not_found(key))?;
    read_card(&row.value)
}

/// A card that is there; none when it never was or was deleted.
pub(super) fn find(records: &dyn Records, key: &CardKey) -> Result<Option<Card>> {
    let Some(row) = records.get(&card_row(key))? else {
        return Ok(None);
    };
    let row = read_card(&row.value)?;
    if row.is_alive() {
        return Ok(Some(row.read()?.card));
    }
    Ok(None)
}

/// A card that must be there.
pub(super) fn get(records: &dyn Records, key: &CardKey) -> Result<Card> {
    let row = newest(records, key)?;
    if row.is_alive() {
        return Ok(row.read()?.card);
    }
    Err(error::card_deleted(key))
}

/// One revision, also of a deleted card.
pub(super) fn revision(records: &dyn Records, key: &CardKey, revision: u64) -> Result<Revision> {
    row_of(records, key, revision)?.read()
}

/// The row of one revision.
pub(super) fn row_of(records: &dyn Records, key: &CardKey, revision: u64) -> Result<CardV2> {
    let newest = newest(records, key)?;
    if newest.revision == revision {
        return Ok(newest);
    }
    match records.get(&revision_row(key, revision))? {
        Some(row) => read_card(&row.value),
        None => Err(error::revision_not_found(key, revision, newest.revision)),
    }
}

/// Up to `limit + 1` revisions after number `after`, oldest first.
pub(super) fn history(
    records: &dyn Records,
    key: &CardKey,
    after: u64,
    limit: usize,
) -> Result<Vec<Revision>> {
    let newest = newest(records, key)?;
    let scan = Scan::prefix(format!("rev/{key}/")).after(revision_row(key, after)).limit(limit + 1);
    let mut found = Vec::new();
    for row in records.scan(&scan)? {
        let row = read_card(&row.value)?;
        // The card may have moved on since its newest revision was read.
        if row.revision < newest.revision {
            found.push(row.read()?);
        }
    }
    if found.len() <= limit && newest.revision > after {
        found.push(newest.read()?);
    }
    Ok(found)
}

/// A span of time: from a point on, and until before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// This point or later.
    pub from: Option<Time>,
    /// Earlier than this point.
    pub until: Option<Time>,
}

impl Span {
    fn holds(self, time: Time) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// Which cards a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these kinds; all where none is named.
    pub kinds: Vec<CardKind>,
    /// Only this name.
    pub name: Option<String>,
    /// Only these stages; all where none is named.
    pub stages: Vec<Stage>,
    /// Only with these labels: `key:value`, or `key` for any value. Several values of one key are
    /// alternatives, as no card has two of them; several keys must all be there.
    pub labels: Vec<String>,
    /// Only cards that were changed in this time.
    pub updated: Span,
    /// Only cards whose first revision was made in this time.
    pub created: Span,
}

impl Filter {
    /// Whether a card belongs to the list.
    pub fn holds(&self, card: &Card) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&card.key.kind))
            && self.name.as_deref().is_none_or(|name| card.key.name.as_str() == name)
            && (self.stages.is_empty() || self.stages.contains(&card.stage))
            && self.label_groups().all(|mut labels| labels.any(|label| card.has_label(label)))
            && self.updated.holds(card.updated_at)
            && self.created.holds(card.created_at)
    }

    /// The labels, those of one key together. A key alone is a group of its own.
    pub(super) fn label_groups(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        fn group(label: &str) -> &str {
            label.split_once(':').map_or(label, |(key, _)| key)
        }
        let is_first = |at: usize, label: &str| {
            let mut before = self.labels.iter().take(at);
            !before.any(|other| other.contains(':') && group(other) == group(label))
        };
        let firsts = self
            .labels
            .iter()
            .enumerate()
            .filter(move |(at, label)| !label.contains(':') || is_first(*at, label));
        firsts.map(|(_, first)| {
            self.labels.iter().map(String::as_str).filter(move |label| {
                *label == first
                    || (label.contains(':') && first.contains(':') && group(label) == group(first))
            })
        })
    }

    fn prefix(&self) -> String {
        match (self.kinds.as_slice(), &self.name) {
            ([kind], Some(name)) => format!("card/{kind}/{name}/"),
            ([kind], None) => format!("card/{kind}/"),
            _ => "card/".to_owned(),
        }
    }
}

/// Up to `limit + 1` cards beyond the key `after`, in byte order of their keys.
pub(super) fn list(
    records: &dyn Records,
    filter: &Filter,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Card>> {
    let mut found = Vec::new();
    each(records, filter, after, |card| {
        found.push(card);
        Ok(found.len() <= limit)
    })?;
    Ok(found)
}

/// Hands over every card that a filter holds, until it is told to stop.
pub(super) fn each(
    records: &dyn Records,
    filter: &Filter,
    after: Option<&str>,
    mut take: impl FnMut(Card) -> Result<bool>,
) -> Result<()> {
    let mut scan = Scan::prefix(filter.prefix()).limit(STEP);
    scan.after = after.map(|subject| format!("card/{subject}"));
    loop {
        let rows = records.scan(&scan)?;
        for row in &rows {
            let row = read_card(&row.value)?;
            if !row.is_alive() {
                continue;
            }
            let card = row.read()?.card;
            if filter.holds(&card) && !take(card)? {
                return Ok(());
            }
        }
        match rows.last() {
            Some(last) if rows.len() == STEP => scan.after = Some(last.key.clone()),
            _ => return Ok(()),
        }
    }
}

/// The latest version of a name: the highest by semver, else the newest; none when there is none.
pub(super) fn latest(
    records: &dyn Records,
    kind: CardKind,
    name: &Name,
) -> Result<Option<CardKey>> {
    latest_but(records, kind, name, None)
}

/// The same as if one card were not there.
pub(super) fn latest_but(
    records: &dyn Records,
    kind: CardKind,
    name: &Name,
    gone: Option<&CardKey>,
) -> Result<Option<CardKey>> {
    let there = versions(records, kind, name)?.into_iter();
    // `None` is less than any version, so one that is semver wins over all that are not.
    let ranks = there.map(|(made, key)| (semver_of(key.version.as_str()), made, key));
    Ok(ranks.filter(|(_, _, key)| Some(key) != gone).max().map(|(_, _, key)| key))
}

/// The versions of a name that are there, each with the time when it was first made.
pub(super) fn versions(
    records: &dyn Records,
    kind: CardKind,
    name: &Name,
) -> Result<Vec<(i64, CardKey)>> {
    let mut there = Vec::new();
    for row in records.scan(&Scan::prefix(format!("card/{kind}/{name}/")))? {
        let row = read_card(&row.value)?;
        if row.is_alive() {
            there.push((row.created_at.0, row.key()?));
        }
    }
    Ok(there)
}

fn semver_of(version: &str) -> Option<Version> {
    let digits = version.strip_prefix(['v', 'V']).unwrap_or(version);
    Version::parse(digits).ok()
}

/// The card that a path names, in which `latest` may stand for a version.
pub(super) fn resolve(
    records: &dyn Records,
    kind: CardKind,
    name: &str,
    version: &str,
) -> Result<CardKey> {
    let name = Name::new(name)?;
    if version == "latest" {
        return latest(records, kind, &name)?
            .ok_or_else(|| error::no_versions(kind, name.as_str()));
    }
    let version = Name::new(version)?;
    Ok(CardKey { kind, name, version })
}

/// Every kind of which there is a card, deleted or not.
pub(super) fn kinds(records: &dyn Records) -> Result<Vec<CardKind>> {
    let mut kinds = Vec::new();
    let mut scan = Scan::prefix("card/").limit(1);
    while let Some(row) = records.scan(&scan)?.pop() {
        let word = row.key.split('/').nth(1).unwrap_or_default();
        kinds.extend(CardKind::stored(word));
        // Past every card of this kind: `0` is what follows `/`.
        scan.after = Some(format!("card/{word}0"));
    }
    Ok(kinds)
}

/// Whether there is or was a card of a kind.
pub(super) fn has_kind(records: &dyn Records, word: &str) -> Result<bool> {
    let is_plain = !word.is_empty() && !word.contains('/');
    Ok(is_plain && !records.scan(&Scan::prefix(format!("card/{word}/")).limit(1))?.is_empty())
}
