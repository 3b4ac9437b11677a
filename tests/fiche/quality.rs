//! A table of queries over a library of cards in Chinese and English, each with the cards that it
//! must find and those that it must not.
//!
//! The library and the table lie beside this file, in `corpus`, one a line.

use std::collections::{BTreeMap, BTreeSet};

use drip::fiche::{Fiche, Filter, Search};
use serde_json::{Value, json};

use super::{open, save, settle};

const CARDS: [&str; 4] = [
    include_str!("corpus/models.txt"),
    include_str!("corpus/algorithms.txt"),
    include_str!("corpus/others.txt"),
    include_str!("corpus/more.txt"),
];
const QUERIES: &str = include_str!("corpus/queries.txt");

/// The cells of every line that is no comment.
fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.split('|').map(str::trim).collect())
}

fn card(cells: &[&str]) -> Value {
    let [kind, name, version, summary, remark, author, labels, more @ ..] = cells else {
        panic!("not a card: {cells:?}");
    };
    let labels: BTreeMap<&str, &str> =
        labels.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect();
    let mut card = json!({"kind": kind, "name": name, "version": version, "summary": summary,
        "remark": remark, "author": author, "labels": labels});
    if let [more] = more {
        let more: BTreeMap<String, Value> = serde_json::from_str(more).unwrap();
        card.as_object_mut().unwrap().extend(more);
    }
    card
}

fn library() -> Fiche {
    let fiche = open();
    for cells in CARDS.into_iter().flat_map(lines) {
        save(&fiche, card(&cells)).unwrap_or_else(|why| panic!("{cells:?}: {why}"));
    }
    settle(&fiche);
    fiche
}

fn names(cell: &str) -> BTreeSet<&str> {
    cell.split(';').map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// What is wrong with the answer to one line of the table.
fn faults(fiche: &Fiche, cells: &[&str], known: &BTreeSet<&str>) -> Vec<String> {
    let [q, must, must_not, first] = cells else {
        return vec![format!("not four cells: {cells:?}")];
    };
    let search = Search { q: (*q).to_owned(), limit: 1000, ..Search::default() };
    let found = fiche.search(&search).unwrap();
    let names_found: Vec<&str> = found.items.iter().map(|hit| hit.card.key.name.as_str()).collect();
    let there: BTreeSet<&str> = names_found.iter().copied().collect();
    let (must, is_all) = match must.strip_prefix('=') {
        Some(exactly) => (names(exactly), true),
        None => (names(must), false),
    };
    let mut wrong = Vec::new();
    let mut tell = |what: &str, names: Vec<&&str>| {
        if !names.is_empty() {
            wrong.push(format!("`{q}` {what} {names:?}"));
        }
    };
    tell("does not find", must.difference(&there).collect());
    tell("finds", names(must_not).intersection(&there).collect());
    tell("is told of cards that are not there:", must.difference(known).collect());
    tell("is told of cards that are not there:", names(must_not).difference(known).collect());
    if is_all {
        tell("finds as well", there.difference(&must).collect());
    }
    if !first.is_empty() && names_found.first() != Some(first) {
        tell("finds another first:", names_found.iter().take(3).collect());
    }
    wrong
}

#[test]
fn every_query_of_the_table_finds_what_it_must_and_not_what_it_must_not() {
    let known: BTreeSet<&str> =
        CARDS.into_iter().flat_map(lines).filter_map(|cells| cells.get(1).copied()).collect();
    let fiche = library();
    let cards = fiche.list(&Filter::default(), None, 1000).unwrap().len();
    let queries: Vec<_> = lines(QUERIES).collect();
    assert!(cards >= 300 && queries.len() >= 60, "{cards} cards, {} queries", queries.len());
    let wrong: Vec<String> =
        queries.iter().flat_map(|cells| faults(&fiche, cells, &known)).collect();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}
