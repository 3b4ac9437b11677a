//! From what was typed to what the index understands.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery,
    Query as Found, RangeQuery, TermQuery,
};
use tantivy::schema::{Field as Column, IndexRecordOption};

use super::index::Fields;
use super::query::{Field, Leaf, Query};
use super::words::{Stems, fold, is_dense, wanted};
use crate::fiche::model::{CardKind, Stage};
use crate::fiche::store::Filter;

/// How much more a word counts in these fields than anywhere.
const NAME_BOOST: f32 = 4.0;
const SUMMARY_BOOST: f32 = 1.5;

/// The whole search: what was typed, within what is filtered.
pub(super) fn search(fields: &Fields, query: &Query, filter: &Filter) -> Box<dyn Found> {
    let mut stems = Stems::default();
    let mut parts = vec![(Occur::Must, build(fields, query, &mut stems))];
    let mut only = |field: Column, word: &str| {
        let exact = exact(field, word);
        parts.push((Occur::Must, Box::new(ConstScoreQuery::new(exact, 0.0)) as Box<dyn Found>));
    };
    if let Some(kind) = filter.kind {
        only(fields.kind, kind.as_str());
    }
    if let Some(stage) = filter.stage {
        only(fields.stage, stage.as_str());
    }
    for label in &filter.labels {
        only(fields.label, label);
    }
    Box::new(BooleanQuery::new(parts))
}

fn build(fields: &Fields, query: &Query, stems: &mut Stems) -> Box<dyn Found> {
    let each = |parts: &[Query], stems: &mut Stems| -> Vec<Box<dyn Found>> {
        parts.iter().map(|part| build(fields, part, stems)).collect()
    };
    match query {
        Query::All => Box::new(AllQuery),
        Query::Nothing => Box::new(EmptyQuery),
        Query::Leaf(leaf) => look_for(fields, leaf, stems),
        Query::And(parts) => Box::new(BooleanQuery::intersection(each(parts, stems))),
        Query::Or(parts) => Box::new(BooleanQuery::union(each(parts, stems))),
        // Alone, an exclusion finds nothing; everything but it is meant.
        Query::Not(part) => Box::new(BooleanQuery::new(vec![
            (Occur::Must, Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))),
            (Occur::MustNot, build(fields, part, stems)),
        ])),
    }
}

fn look_for(fields: &Fields, leaf: &Leaf, stems: &mut Stems) -> Box<dyn Found> {
    let column = match leaf.field {
        None => {
            let mut in_column = |column| words_in(column, leaf, stems);
            let anywhere = in_column(fields.all);
            let named = BoostQuery::new(in_column(fields.name), NAME_BOOST);
            let told = BoostQuery::new(in_column(fields.summary), SUMMARY_BOOST);
            return Box::new(BooleanQuery::new(vec![
                (Occur::Must, anywhere),
                (Occur::Should, Box::new(named)),
                (Occur::Should, Box::new(told)),
            ]));
        }
        Some(Field::Kind) => return exact_or_prefix(fields.kind, leaf),
        Some(Field::Stage) => return exact_or_prefix(fields.stage, leaf),
        Some(Field::Name) => fields.name,
        Some(Field::Version) => fields.version,
        Some(Field::Summary) => fields.summary,
        Some(Field::Remark) => fields.remark,
        Some(Field::Config) => fields.config,
        Some(Field::Author) => fields.author,
        Some(Field::Labels) => fields.labels,
    };
    words_in(column, leaf, stems)
}

/// The words of a leaf in one field: one as it is, several in their order.
fn words_in(column: Column, leaf: &Leaf, stems: &mut Stems) -> Box<dyn Found> {
    // A pair of dense characters is found inside any text: there a star says nothing new.
    if leaf.is_prefix && !leaf.text.ends_with(is_dense) {
        return begins_with(column, &fold(&leaf.text));
    }
    let mut words = wanted(&leaf.text, stems);
    let term = |word: &str| Term::from_field_text(column, word);
    if words.len() > 1 {
        let terms = words.iter().map(|(at, word)| (*at, term(word))).collect();
        return Box::new(PhraseQuery::new_with_offset(terms));
    }
    match words.pop() {
        Some((_, word)) => Box::new(TermQuery::new(term(&word), IndexRecordOption::WithFreqs)),
        None => Box::new(EmptyQuery),
    }
}

fn begins_with(column: Column, start: &str) -> Box<dyn Found> {
    let from = Term::from_field_text(column, start);
    let to = Term::from_field_text(column, &format!("{start}{}", char::MAX));
    Box::new(RangeQuery::new(Bound::Included(from), Bound::Excluded(to)))
}

fn exact(column: Column, word: &str) -> Box<dyn Found> {
    let term = Term::from_field_text(column, word);
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

/// Of a few known words none is mistaken for another: the star is read as leave to abbreviate.
fn exact_or_prefix(column: Column, leaf: &Leaf) -> Box<dyn Found> {
    let word = fold(&leaf.text);
    if !leaf.is_prefix {
        return exact(column, &word);
    }
    let stages = Stage::ALL.into_iter().map(Stage::as_str);
    let known = CardKind::ALL.into_iter().map(CardKind::as_str).chain(stages);
    let begun = known.filter(|known| known.starts_with(&word));
    Box::new(BooleanQuery::union(begun.map(|word| exact(column, word)).collect()))
}
