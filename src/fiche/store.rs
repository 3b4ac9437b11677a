//! Reading: a card, its revisions, lists of cards, and which version is the latest.

use semver::Version;

use super::error;
use super::format::{CardV1, card_row, read_card, revision_row};
use super::model::{Card, CardKey, CardKind, Revision, Stage};
use crate::kernel::records::{Records, Scan};
use crate::kernel::{Name, Result};

/// Rows that one step of a long scan takes.
const STEP: usize = 256;

/// The newest revision of a card, deleted or not.
pub(super) fn newest(records: &dyn Records, key: &CardKey) -> Result<CardV1> {
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
    let newest = newest(records, key)?;
    if newest.revision == revision {
        return newest.read();
    }
    match records.get(&revision_row(key, revision))? {
        Some(row) => read_card(&row.value)?.read(),
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

/// Which cards a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind.
    pub kind: Option<CardKind>,
    /// Only this name.
    pub name: Option<String>,
    /// Only this stage.
    pub stage: Option<Stage>,
    /// Only with all of these labels: `key:value`, or `key` for any value.
    pub labels: Vec<String>,
}

impl Filter {
    /// Whether a card belongs to the list.
    pub fn holds(&self, card: &Card) -> bool {
        self.kind.is_none_or(|kind| card.key.kind == kind)
            && self.name.as_deref().is_none_or(|name| card.key.name.as_str() == name)
            && self.stage.is_none_or(|stage| card.stage == stage)
            && self.labels.iter().all(|label| card.has_label(label))
    }

    fn prefix(&self) -> String {
        match (self.kind, &self.name) {
            (Some(kind), Some(name)) => format!("card/{kind}/{name}/"),
            (Some(kind), None) => format!("card/{kind}/"),
            (None, _) => "card/".to_owned(),
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
    let mut highest: Option<(Option<Version>, i64, CardKey)> = None;
    for row in records.scan(&Scan::prefix(format!("card/{kind}/{name}/")))? {
        let row = read_card(&row.value)?;
        if !row.is_alive() {
            continue;
        }
        let key = row.key()?;
        // `None` is less than any version, so one that is semver wins over all that are not.
        let rank = (semver_of(key.version.as_str()), row.created_at.0, key);
        if highest.as_ref().is_none_or(|highest| *highest < rank) {
            highest = Some(rank);
        }
    }
    Ok(highest.map(|(_, _, key)| key))
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
