//! Counting what was found: by kind, by stage, by label.

use std::collections::BTreeMap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{RowId, StrColumn};
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// How often each word of a field was found, field by field.
pub(super) type Counts = Vec<BTreeMap<String, u64>>;

/// How many words of one segment are told, the most frequent first: of a label that every card has
/// with a value of its own, nobody reads more.
const SEGMENT_MAX: usize = 2000;

/// How many documents are counted at a time.
const BLOCK: usize = 512;

/// A field whose words are counted, and how many of them are told.
pub(super) struct Counted {
    pub(super) field: &'static str,
    pub(super) most: usize,
}

/// Counts the words of some fields over everything that was found.
pub(super) struct CountWords(pub(super) &'static [Counted]);

impl Collector for CountWords {
    type Fruit = Counts;
    type Child = CountSegment;

    fn for_segment(
        &self,
        _segment: SegmentOrdinal,
        reader: &SegmentReader,
    ) -> tantivy::Result<CountSegment> {
        let count = |counted: &Counted| -> tantivy::Result<_> {
            let column = reader.fast_fields().str(counted.field)?;
            let words = column.as_ref().map_or(0, |column| column.num_terms());
            Ok((column, vec![0; words]))
        };
        let columns = self.0.iter().map(count).collect::<tantivy::Result<_>>()?;
        Ok(CountSegment {
            columns,
            waiting: Vec::with_capacity(BLOCK),
            buffers: Buffers::default(),
        })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<Counts>) -> tantivy::Result<Counts> {
        let mut all = vec![BTreeMap::<String, u64>::new(); self.0.len()];
        for segment in segments {
            for (sum, counts) in all.iter_mut().zip(segment) {
                for (word, count) in counts {
                    *sum.entry(word).or_insert(0) += count;
                }
            }
        }
        let cut =
            |(counts, counted): (BTreeMap<_, _>, &Counted)| most_frequent(counts, counted.most);
        Ok(all.into_iter().zip(self.0).map(cut).collect())
    }
}

/// The most frequent words; of those that are equally frequent the first by name.
fn most_frequent(counts: BTreeMap<String, u64>, most: usize) -> BTreeMap<String, u64> {
    if counts.len() <= most {
        return counts;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    // Stable, and so by name among equals.
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.truncate(most);
    sorted.into_iter().collect()
}

/// The counts of one segment, by the number that each word has there.
pub(super) struct CountSegment {
    columns: Vec<(Option<StrColumn>, Vec<u64>)>,
    /// Documents that are not counted yet: a block at a time costs much less than one by one.
    waiting: Vec<DocId>,
    buffers: Buffers,
}

/// What is found for a block of documents: kept, so that nothing is allocated for each.
#[derive(Default)]
struct Buffers {
    documents: Vec<DocId>,
    rows: Vec<RowId>,
    words: Vec<u64>,
}

impl CountSegment {
    fn count(&mut self) {
        let Buffers { documents, rows, words } = &mut self.buffers;
        for (column, counts) in &mut self.columns {
            let Some(column) = column else { continue };
            documents.clear();
            rows.clear();
            column.ords().row_ids_for_docs(&self.waiting, documents, rows);
            words.clear();
            words.resize(rows.len(), 0);
            column.ords().values.get_vals(rows, words);
            for word in words.iter() {
                let count = usize::try_from(*word).ok().and_then(|at| counts.get_mut(at));
                if let Some(count) = count {
                    *count += 1;
                }
            }
        }
        self.waiting.clear();
    }
}

impl SegmentCollector for CountSegment {
    type Fruit = Counts;

    fn collect(&mut self, document: DocId, _score: Score) {
        self.waiting.push(document);
        if self.waiting.len() >= BLOCK {
            self.count();
        }
    }

    fn harvest(mut self) -> Counts {
        self.count();
        self.columns.into_iter().map(|(column, counts)| words(column.as_ref(), &counts)).collect()
    }
}

fn words(column: Option<&StrColumn>, counts: &[u64]) -> BTreeMap<String, u64> {
    let mut found: Vec<(u64, u64)> =
        (0..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
    if found.len() > SEGMENT_MAX {
        found.select_nth_unstable_by_key(SEGMENT_MAX, |(_, count)| std::cmp::Reverse(*count));
        found.truncate(SEGMENT_MAX);
    }
    let mut words = BTreeMap::new();
    for (number, count) in found {
        let mut word = String::new();
        let known = column.map(|column| column.ord_to_str(number, &mut word));
        if matches!(known, Some(Ok(true))) {
            words.insert(word, count);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_told_and_equals_by_name() {
        let counts: BTreeMap<String, u64> = [("a", 1), ("b", 3), ("c", 1), ("d", 2)]
            .map(|(word, count)| (word.into(), count))
            .into();
        let told: Vec<_> = most_frequent(counts.clone(), 3).into_iter().collect();
        assert_eq!(told, [("a".into(), 1), ("b".into(), 3), ("d".into(), 2)]);
        assert_eq!(most_frequent(counts.clone(), 4), counts);
    }
}
