//! Finding cards by words. The index is derived from the records and trusted with nothing: what it
//! finds is read from the records and shown as it stands there, and what it lost is made anew.

mod build;
mod collect;
mod highlight;
mod index;
mod indexer;
mod query;
mod relax;
mod traditional;
mod words;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tantivy::collector::{Collector, Count, TopDocs};
use tantivy::{DocAddress, Order, Searcher, TantivyDocument};

pub(super) use indexer::Indexer;

use super::error;
use super::model::Card;
use super::store::{self, Filter};
use crate::kernel::Result;
use crate::kernel::records::Records;
use collect::{CountWords, Counted, Counts};
use highlight::Marker;
use index::{CREATED, LABEL_KEY, LABEL_PAIR, Live, ORDER, UPDATED};
use query::Query;
use relax::Instead;

/// The longest query, in bytes.
pub const QUERY_MAX_BYTES: usize = 4 << 10;
/// The most words of a query.
const WORDS_MAX: usize = 256;
/// How far into the results one may page.
pub const DEPTH_MAX: usize = 10_000;
/// How long a search waits for an index that is being opened.
const OPENING: Duration = Duration::from_secs(5);
/// What is counted, and as what it is told.
const FACETS: [Counted; 4] = [
    Counted { field: "kind", most: 50 },
    Counted { field: "stage", most: 50 },
    Counted { field: LABEL_KEY, most: 20 },
    Counted { field: LABEL_PAIR, most: 50 },
];
const FACET_NAMES: [&str; 4] = ["kind", "stage", "label_key", "label"];

/// In which order cards are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// What fits best first; the newest first where no words were given.
    #[default]
    Relevance,
    /// What was changed last first.
    Newest,
    /// What was changed longest ago first.
    Oldest,
    /// What was made last first.
    LastMade,
    /// What was made longest ago first.
    FirstMade,
    /// By name.
    Name,
    /// By name, backwards.
    NameBackwards,
}

impl Sort {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::Newest => "-updated",
            Self::Oldest => "updated",
            Self::LastMade => "-created",
            Self::FirstMade => "created",
            Self::Name => "name",
            Self::NameBackwards => "-name",
        }
    }
}

impl std::str::FromStr for Sort {
    type Err = crate::kernel::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "relevance" => Ok(Self::Relevance),
            "-updated" => Ok(Self::Newest),
            "updated" => Ok(Self::Oldest),
            "-created" => Ok(Self::LastMade),
            "created" => Ok(Self::FirstMade),
            "name" => Ok(Self::Name),
            "-name" => Ok(Self::NameBackwards),
            _ => Err(error::bad_parameter(
                "bad_sort",
                "sort",
                "relevance, name, -name, updated, -updated, created or -created",
            )),
        }
    }
}

/// What to search for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words, phrases, `field:word`, `word*`, `word~`, `AND`, `OR`, `NOT`, brackets; empty for all
    /// cards.
    pub q: String,
    /// Only these cards.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// From which place on.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// A card that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The card as it stands now.
    pub card: Card,
    /// How well it fits; 0 where it was not asked.
    pub score: f32,
    /// By field, the passage that fits, with `<mark>` around the words and HTML escaped.
    pub highlights: BTreeMap<String, String>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The cards of this page.
    pub items: Vec<Hit>,
    /// How many there are.
    pub total: usize,
    /// How many there are of each kind, in each stage, and with the most frequent labels: by their
    /// keys as `label_key`, as `key:value` as `label`.
    pub facets: BTreeMap<String, BTreeMap<String, u64>>,
    /// Where nothing was found as it was typed: the words that found nothing, and what was looked
    /// for instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instead: BTreeMap<String, Vec<String>>,
    /// How many changes the index has yet to take in; 0 when it is up to date.
    pub behind: u64,
    /// Whether there are more on the next page.
    #[serde(skip)]
    pub has_more: bool,
}

/// Searches, and reports an index that turns out to be damaged.
pub(super) fn search(records: &dyn Records, indexer: &Indexer, search: &Search) -> Result<Found> {
    if search.q.len() > QUERY_MAX_BYTES {
        let why = format!("a query has at most {QUERY_MAX_BYTES} bytes");
        return Err(error::bad_parameter("query_too_long", "q", why));
    }
    if search.offset >= DEPTH_MAX {
        let why =
            format!("only the first {DEPTH_MAX} results can be paged through: narrow the search");
        return Err(error::bad_parameter("search_too_deep", "cursor", why));
    }
    let query = Query::read(&search.q);
    if query.size() > WORDS_MAX {
        let why = format!("a query has at most {WORDS_MAX} words");
        return Err(error::bad_parameter("query_too_long", "q", why));
    }
    let opened = indexer.shared.live(OPENING);
    let (live, behind) = opened.map_err(|why| error::index_unavailable(&why))?;
    // A damaged segment can make the index panic as well as fail.
    let outcome = catch_unwind(AssertUnwindSafe(|| ask(&live, &query, search)));
    let why = match outcome {
        Ok(Ok(answer)) => return show(records, &live, search, answer, behind),
        Ok(Err(why)) => why.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    tracing::warn!(%why, "a search met a damaged index");
    indexer.shared.report_damage();
    Err(error::index_unavailable(&why))
}

/// What the index answers: documents, and counts over all of them.
struct Answer {
    documents: Vec<(f32, TantivyDocument)>,
    total: usize,
    counts: Counts,
    /// What was looked for in the end, and what of it in the place of what was typed.
    query: Query,
    instead: Instead,
}

fn ask(live: &Live, query: &Query, search: &Search) -> tantivy::Result<Answer> {
    let searcher = live.reader.searcher();
    let query = relax::spell(&searcher, &live.fields, query)?;
    let answer = look(&searcher, live, query, search)?;
    if answer.total > 0 {
        return Ok(answer);
    }
    match relax::relax(&searcher, &live.fields, &answer.query)? {
        Some((wider, instead)) => {
            let wider = look(&searcher, live, wider, search)?;
            Ok(if wider.total > 0 { Answer { instead, ..wider } } else { answer })
        }
        None => Ok(answer),
    }
}

fn look(
    searcher: &Searcher,
    live: &Live,
    query: Query,
    search: &Search,
) -> tantivy::Result<Answer> {
    let built = build::search(&live.fields, &query, &search.filter);
    let top = || TopDocs::with_limit(search.limit.max(1)).and_offset(search.offset);
    let ask = Ask { searcher, query: built.as_ref() };
    let by_time = |field, order| ask.with(top().order_by_fast_field::<i64>(field, order), |_| 0.0);
    let (documents, total, counts) = match search.sort {
        Sort::Relevance if query != Query::All => ask.with(top().order_by_score(), |score| *score),
        Sort::Relevance | Sort::Newest => by_time(UPDATED, Order::Desc),
        Sort::Oldest => by_time(UPDATED, Order::Asc),
        Sort::LastMade => by_time(CREATED, Order::Desc),
        Sort::FirstMade => by_time(CREATED, Order::Asc),
        Sort::Name => ask.with(top().order_by_string_fast_field(ORDER, Order::Asc), |_| 0.0),
        Sort::NameBackwards => {
            ask.with(top().order_by_string_fast_field(ORDER, Order::Desc), |_| 0.0)
        }
    }?;
    Ok(Answer { documents, total, counts, query, instead: Instead::new() })
}

/// Documents with their scores, how many there are in all, and counts over them.
type Looked = (Vec<(f32, TantivyDocument)>, usize, Counts);

struct Ask<'a> {
    searcher: &'a Searcher,
    query: &'a dyn tantivy::query::Query,
}

impl Ask<'_> {
    fn with<K>(
        &self,
        top: impl Collector<Fruit = Vec<(K, DocAddress)>>,
        score: impl Fn(&K) -> f32,
    ) -> tantivy::Result<Looked> {
        let collect = (Count, CountWords(&FACETS), top);
        let (total, counts, top) = self.searcher.search(self.query, &collect)?;
        let documents = top
            .iter()
            .map(|(key, address)| Ok((score(key), self.searcher.doc(*address)?)))
            .collect::<tantivy::Result<_>>()?;
        Ok((documents, total, counts))
    }
}

/// The cards as they stand in the records: what is gone, or no longer passes the filter, is not
/// shown, however little the index knows of it yet.
fn show(
    records: &dyn Records,
    live: &Live,
    search: &Search,
    answer: Answer,
    behind: u64,
) -> Result<Found> {
    let mut marker = Marker::of(&answer.query);
    let mut total = answer.total;
    let seen = search.offset + answer.documents.len();
    let mut items = Vec::new();
    for (score, document) in answer.documents {
        let key = live.key_of(&document);
        let card = key.map(|key| store::find(records, &key)).transpose()?.flatten();
        match card.filter(|card| search.filter.holds(card)) {
            Some(card) => {
                let highlights = highlights(&mut marker, &card);
                items.push(Hit { card, score, highlights });
            }
            None => total = total.saturating_sub(1),
        }
    }
    let facets = FACET_NAMES.iter().map(|field| (*field).to_owned()).zip(answer.counts);
    Ok(Found {
        items,
        total,
        facets: facets.collect(),
        instead: answer.instead,
        behind,
        has_more: seen < answer.total.min(DEPTH_MAX),
    })
}

fn highlights(marker: &mut Marker, card: &Card) -> BTreeMap<String, String> {
    let texts: Vec<(&str, String)> =
        card.fields.iter().map(|(field, value)| (field.as_str(), plain(value))).collect();
    let key = [("name", card.key.name.as_str()), ("version", card.key.version.as_str())];
    marker.mark(key.into_iter().chain(texts.iter().map(|(field, text)| (*field, text.as_str()))))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => index::text_of(other),
    }
}
