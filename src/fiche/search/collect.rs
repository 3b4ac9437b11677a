//! Counting what was found by kind and by stage.

use std::collections::BTreeMap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::StrColumn;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// How often each word of a field was found, field by field.
pub(super) type Counts = Vec<BTreeMap<String, u64>>;

/// Counts the words of some fields over everything that was found.
pub(super) struct CountWords(pub(super) &'static [&'static str]);

impl Collector for CountWords {
    type Fruit = Counts;
    type Child = CountSegment;

    fn for_segment(
        &self,
        _segment: SegmentOrdinal,
        reader: &SegmentReader,
    ) -> tantivy::Result<CountSegment> {
        let columns = self.0.iter().map(|field| reader.fast_fields().str(field));
        let columns = columns.collect::<tantivy::Result<Vec<_>>>()?;
        Ok(CountSegment(columns.into_iter().map(|column| (column, BTreeMap::new())).collect()))
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<Counts>) -> tantivy::Result<Counts> {
        let mut all = vec![BTreeMap::new(); self.0.len()];
        for segment in segments {
            for (sum, counts) in all.iter_mut().zip(segment) {
                for (word, count) in counts {
                    *sum.entry(word).or_insert(0) += count;
                }
            }
        }
        Ok(all)
    }
}

/// The counts of one segment, by the number that each word has there.
pub(super) struct CountSegment(Vec<(Option<StrColumn>, BTreeMap<u64, u64>)>);

impl SegmentCollector for CountSegment {
    type Fruit = Counts;

    fn collect(&mut self, document: DocId, _score: Score) {
        for (column, counts) in &mut self.0 {
            let Some(column) = column else { continue };
            for number in column.ords().values_for_doc(document) {
                *counts.entry(number).or_insert(0) += 1;
            }
        }
    }

    fn harvest(self) -> Counts {
        let words = |(column, counts): (Option<StrColumn>, BTreeMap<u64, u64>)| {
            let mut words = BTreeMap::new();
            for (number, count) in counts {
                let mut word = String::new();
                let known = column.as_ref().map(|column| column.ord_to_str(number, &mut word));
                if matches!(known, Some(Ok(true))) {
                    words.insert(word, count);
                }
            }
            words
        };
        self.0.into_iter().map(words).collect()
    }
}
