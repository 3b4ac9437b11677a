//! What is looked for when a word is not there as it was typed: the words of the index that are
//! spelled nearly so, and of Chinese what holds most of it.
//!
//! Only a search that finds nothing is read so, and in it only the words that find nothing alone:
//! what is spelled rightly costs nothing and is never mixed with guesses. `word~` asks for it.
//! Measured over 19 200 cards, a misspelled word costs less than two searches for it rightly spelled.

use std::collections::BTreeMap;

use tantivy::Searcher;
use tantivy::collector::Count;
use tantivy::query::FuzzyTermQuery;
use tantivy::schema::Field as Column;
use tantivy::{Result, Term};

use super::build;
use super::index::Fields;
use super::query::{Field, How, Leaf, Query};
use super::words::{Stems, fold, is_dense, is_joint};

/// How many words a misspelled one may stand for.
const MEANT_MAX: usize = 16;
/// How many words are looked at before those are chosen.
const SEEN_MAX: usize = 500;
/// How many words of a query are read more widely.
const WORDS_MAX: usize = 8;

/// What was looked for in the place of what was typed.
pub(super) type Instead = BTreeMap<String, Vec<String>>;

/// A query in which every `word~` stands for the words of the index that are spelled nearly so.
pub(super) fn spell(searcher: &Searcher, fields: &Fields, query: &Query) -> Result<Query> {
    let mut failed = None;
    let spelled = query.map(&mut |leaf| {
        if leaf.how != How::Near {
            return leaf.clone();
        }
        match near(searcher, column(fields, leaf), &fold(&leaf.text)) {
            // It is meant itself too, where it is there.
            Ok(words) if !words.is_empty() => Leaf { how: meant(&words), ..leaf.clone() },
            Ok(_) => leaf.clone(),
            Err(why) => {
                failed = Some(why);
                leaf.clone()
            }
        }
    });
    failed.map_or(Ok(spelled), Err)
}

/// The query with every word that finds nothing read more widely, and what is looked for instead;
/// none where there is no such word.
pub(super) fn relax(
    searcher: &Searcher,
    fields: &Fields,
    query: &Query,
) -> Result<Option<(Query, Instead)>> {
    let (mut instead, mut failed) = (Instead::new(), None);
    let mut tried = 0;
    let relaxed = query.map(&mut |leaf| {
        if leaf.how != How::Word || tried >= WORDS_MAX {
            return leaf.clone();
        }
        tried += 1;
        match wider(searcher, fields, leaf) {
            Ok(Some((how, words))) => {
                instead.insert(leaf.text.clone(), words);
                Leaf { how, ..leaf.clone() }
            }
            Ok(None) => leaf.clone(),
            Err(why) => {
                failed = Some(why);
                leaf.clone()
            }
        }
    });
    match failed {
        Some(why) => Err(why),
        None => Ok((!instead.is_empty()).then_some((relaxed, instead))),
    }
}

fn wider(searcher: &Searcher, fields: &Fields, leaf: &Leaf) -> Result<Option<(How, Vec<String>)>> {
    if matches!(leaf.field, Some(Field::Kind | Field::Stage)) {
        return Ok(None);
    }
    if searcher.search(build::leaf(fields, leaf).as_ref(), &Count)? > 0 {
        return Ok(None);
    }
    let dense: Vec<char> = leaf.text.chars().filter(|c| is_dense(*c)).collect();
    if dense.len() > 2 {
        let pairs = dense.windows(2).map(|pair| pair.iter().collect()).collect();
        return Ok(Some((How::Most, pairs)));
    }
    if !dense.is_empty() {
        return Ok(None);
    }
    let words = near(searcher, column(fields, leaf), &fold(&leaf.text))?;
    Ok((!words.is_empty()).then(|| (meant(&words), words)))
}

/// Any of some words, in whatever form.
fn meant(words: &[String]) -> How {
    let mut stems = Stems::default();
    let mut all: Vec<String> =
        words.iter().flat_map(|word| [word.clone(), stems.of(word)]).collect();
    all.sort_unstable();
    all.dedup();
    How::AnyOf(all)
}

fn column(fields: &Fields, leaf: &Leaf) -> Column {
    leaf.field.map_or(fields.all, |field| fields.of(field))
}

/// The words of the index that are spelled as `word` is but for one sign, or for two where none are
/// and it is long; or what `wind-power` is without its joints.
fn near(searcher: &Searcher, column: Column, word: &str) -> Result<Vec<String>> {
    let letters: String = word.chars().filter(|c| !is_joint(*c)).collect();
    if !letters.chars().all(char::is_alphanumeric) {
        return Ok(Vec::new());
    }
    if letters != word && searcher.doc_freq(&Term::from_field_text(column, &letters))? > 0 {
        return Ok(vec![letters]);
    }
    // In a short word every other word is near.
    let most = match letters.chars().count() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    for distance in 1..=most {
        let mut found = within(searcher, column, word, distance)?;
        if !found.is_empty() {
            found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            found.truncate(MEANT_MAX);
            return Ok(found.into_iter().map(|(word, _)| word).collect());
        }
    }
    Ok(Vec::new())
}

/// The words within a distance, with how often each is there. Another number is another thing, not
/// one misspelled: the digits must be the same.
fn within(
    searcher: &Searcher,
    column: Column,
    word: &str,
    distance: u8,
) -> Result<Vec<(String, u64)>> {
    let digits = |word: &str| word.chars().filter(|c| c.is_numeric()).collect::<String>();
    let wanted = digits(word);
    let fuzzy = FuzzyTermQuery::new(Term::from_field_text(column, word), distance, true);
    let mut found = BTreeMap::<String, u64>::new();
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(column)?;
        let mut words = index.terms().search(fuzzy.automaton()?).into_stream()?;
        while words.advance() && found.len() < SEEN_MAX {
            let Ok(near) = std::str::from_utf8(words.key()) else { continue };
            if digits(near) == wanted {
                *found.entry(near.to_owned()).or_insert(0) += u64::from(words.value().doc_freq);
            }
        }
    }
    Ok(found.into_iter().collect())
}
