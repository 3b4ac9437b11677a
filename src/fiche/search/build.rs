//! From what was typed to what the index understands.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, PhrasePrefixQuery,
    PhraseQuery, Query as Found, RangeQuery, TermQuery,
};
use tantivy::schema::{Field as Column, IndexRecordOption};

use super::index::Fields;
use super::query::{Field, How, Leaf, Query};
use super::words::{Stems, fold, humps, is_dense, is_joint, spelled, wanted, whole};
use crate::fiche::store::{Filter, Span};

/// How much more a word counts in these fields than anywhere.
const NAME_BOOST: f32 = 4.0;
const WHOLE_NAME_BOOST: f32 = 8.0;
const SUMMARY_BOOST: f32 = 1.5;
/// How many words the end of `LSTM-v*` may stand for.
const ENDINGS_MAX: u32 = 500;

/// The whole search: what was typed, within what is filtered.
pub(super) fn search(fields: &Fields, query: &Query, filter: &Filter) -> Box<dyn Found> {
    let mut parts = vec![(Occur::Must, build(fields, query, &mut Stems::default()))];
    let mut only = |found: Box<dyn Found>| {
        parts.push((Occur::Must, Box::new(ConstScoreQuery::new(found, 0.0)) as Box<dyn Found>));
    };
    if !filter.kinds.is_empty() {
        only(any_of(fields.kind, filter.kinds.iter().map(|kind| kind.as_str())));
    }
    if !filter.stages.is_empty() {
        only(any_of(fields.stage, filter.stages.iter().map(|stage| stage.as_str())));
    }
    if let Some(name) = &filter.name {
        only(any_of(fields.exact_name, [name.as_str()]));
    }
    for labels in filter.label_groups() {
        only(any_of(fields.label, labels));
    }
    for (column, span) in [(fields.updated, filter.updated), (fields.created, filter.created)] {
        if let Some(within) = within(column, span) {
            only(within);
        }
    }
    Box::new(BooleanQuery::new(parts))
}

fn within(column: Column, span: Span) -> Option<Box<dyn Found>> {
    if span == Span::default() {
        return None;
    }
    let time = |time: crate::kernel::Time| Term::from_field_i64(column, time.0);
    let from = span.from.map_or(Bound::Unbounded, |from| Bound::Included(time(from)));
    let until = span.until.map_or(Bound::Unbounded, |until| Bound::Excluded(time(until)));
    Some(Box::new(RangeQuery::new(from, until)))
}

/// One thing to look for, by itself.
pub(super) fn leaf(fields: &Fields, leaf: &Leaf) -> Box<dyn Found> {
    look_for(fields, leaf, &mut Stems::default())
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
    match leaf.field {
        None => {
            let anywhere = in_column(fields.all, leaf, stems);
            let named = BoostQuery::new(in_column(fields.name, leaf, stems), NAME_BOOST);
            let told = BoostQuery::new(in_column(fields.summary, leaf, stems), SUMMARY_BOOST);
            let whole = scored(fields.whole_name, &fold(&leaf.text));
            let is_it = BoostQuery::new(whole, WHOLE_NAME_BOOST);
            Box::new(BooleanQuery::new(vec![
                (Occur::Must, anywhere),
                (Occur::Should, Box::new(is_it)),
                (Occur::Should, Box::new(named)),
                (Occur::Should, Box::new(told)),
            ]))
        }
        Some(field @ (Field::Kind | Field::Stage)) => {
            let (column, word) = (fields.of(field), fold(&leaf.text));
            if leaf.how == How::Start { range(column, &word) } else { exact(column, &word) }
        }
        Some(field) => in_column(fields.of(field), leaf, stems),
    }
}

fn in_column(column: Column, leaf: &Leaf, stems: &mut Stems) -> Box<dyn Found> {
    let text = leaf.text.as_str();
    match &leaf.how {
        How::Word | How::Near => word(column, text, stems),
        How::Phrase => side_by_side(column, text, stems),
        How::Start => begins_with(column, text, stems),
        How::AnyOf(words) => any_of(column, words.iter().map(String::as_str)),
        How::Most => most(column, text, stems),
    }
}

/// A word; an identifier also as it is kept whole, and `WindPower` also as two words.
fn word(column: Column, text: &str, stems: &mut Stems) -> Box<dyn Found> {
    let mut ways = vec![side_by_side(column, text, stems)];
    ways.extend(whole(text).map(|whole| scored(column, &whole)));
    let humps = humps(text);
    if humps.len() > 1 {
        let parts: Vec<_> = humps.iter().filter_map(|(from, to)| text.get(*from..*to)).collect();
        ways.push(side_by_side(column, &parts.join(" "), stems));
    }
    one_of(ways)
}

/// The words of a text in their order.
fn side_by_side(column: Column, text: &str, stems: &mut Stems) -> Box<dyn Found> {
    let mut words = wanted(text, stems);
    if words.len() > 1 {
        let terms = words.iter().map(|(at, word)| (*at, Term::from_field_text(column, word)));
        return Box::new(PhraseQuery::new_with_offset(terms.collect()));
    }
    match words.pop() {
        Some((_, word)) => scored(column, &word),
        None => Box::new(EmptyQuery),
    }
}

fn begins_with(column: Column, text: &str, stems: &mut Stems) -> Box<dyn Found> {
    // A pair of dense characters is found inside any text: there a star says nothing new.
    if text.ends_with(is_dense) {
        return side_by_side(column, text, stems);
    }
    let mut ways = vec![range(column, &fold(text))];
    let words = spelled(text);
    if text.ends_with(is_joint) {
        // What follows may be Chinese, which is not joined: `GBDT_*`.
        ways.push(side_by_side(column, text, stems));
    } else if words.len() > 1 {
        // The last one as it was typed: the beginning of a word has no stem.
        let last = words.len() - 1;
        let words = words.iter().enumerate();
        let terms = words.map(|(place, (at, word))| {
            let word = if place == last { word.clone() } else { stems.of(word) };
            (*at, Term::from_field_text(column, &word))
        });
        let mut phrase = PhrasePrefixQuery::new_with_offset(terms.collect());
        phrase.set_max_expansions(ENDINGS_MAX);
        ways.push(Box::new(phrase));
    }
    one_of(ways)
}

/// At least half of the words of a text, and two of them.
fn most(column: Column, text: &str, stems: &mut Stems) -> Box<dyn Found> {
    let words = wanted(text, stems);
    let enough = words.len().div_ceil(2).max(2);
    let each = words.iter().map(|(_, word)| scored(column, word)).collect();
    Box::new(BooleanQuery::union_with_minimum_required_clauses(each, enough))
}

fn one_of(mut ways: Vec<Box<dyn Found>>) -> Box<dyn Found> {
    match ways.len() {
        1 => ways.pop().unwrap_or_else(|| Box::new(EmptyQuery)),
        _ => Box::new(BooleanQuery::union(ways)),
    }
}

fn any_of<'a>(column: Column, words: impl IntoIterator<Item = &'a str>) -> Box<dyn Found> {
    one_of(words.into_iter().map(|word| scored(column, word)).collect())
}

fn range(column: Column, start: &str) -> Box<dyn Found> {
    let from = Term::from_field_text(column, start);
    let to = Term::from_field_text(column, &format!("{start}{}", char::MAX));
    Box::new(RangeQuery::new(Bound::Included(from), Bound::Excluded(to)))
}

fn scored(column: Column, word: &str) -> Box<dyn Found> {
    let term = Term::from_field_text(column, word);
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn exact(column: Column, word: &str) -> Box<dyn Found> {
    let term = Term::from_field_text(column, word);
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}
