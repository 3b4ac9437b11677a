//! Counting what was found: by kind, by stage, by label.

use std::collections::BTreeMap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::StrColumn;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// How often each word of a field was found, field by field.
pub(super) type Counts = Vec<BTreeMap<String, u64>>;

/// How many words of one segment are told, the most frequent first: of a label that every card has
/// with a value of its own, nobody reads more.
const SEGMENT_MAX: usize = 2000;

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
        Ok(CountSegment(self.0.iter().map(count).collect::<tantivy::Result<_>>()?))
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
pub(super) struct CountSegment(Vec<(Option<StrColumn>, Vec<u64>)>);

impl SegmentCollector for CountSegment {
    type Fruit = Counts;

    fn collect(&mut self, document: DocId, _score: Score) {
        for (column, counts) in &mut self.0 {
            let Some(column) = column else { continue };
            for number in column.ords().values_for_doc(document) {
                let count = usize::try_from(number).ok().and_then(|at| counts.get_mut(at));
                if let Some(count) = count {
                    *count += 1;
                }
            }
        }
    }

    fn harvest(self) -> Counts {
        self.0.into_iter().map(|(column, counts)| words(column.as_ref(), &counts)).collect()
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
