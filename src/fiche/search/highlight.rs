//! The passage of a card that a search found, with the words marked.

use std::collections::{BTreeMap, HashSet};

use super::query::{How, Leaf, Query};
use super::words::{Stems, Words, fold, is_dense, wanted, whole};

/// How many bytes of text a passage shows before and after the first word that was found.
const BEFORE: usize = 60;
const AFTER: usize = 180;

/// What to mark.
pub(super) struct Marker {
    words: HashSet<String>,
    starts: Vec<String>,
    stems: Stems,
}

impl Marker {
    /// Marks what a query looks for.
    pub(super) fn of(query: &Query) -> Self {
        let mut stems = Stems::default();
        let (mut words, mut starts) = (HashSet::new(), Vec::new());
        for Leaf { text, how, .. } in query.leaves() {
            match how {
                How::Start if !text.ends_with(is_dense) => starts.push(fold(text)),
                How::AnyOf(meant) => words.extend(meant.iter().cloned()),
                _ => {
                    words.extend(wanted(text, &mut stems).into_iter().map(|(_, word)| word));
                    words.extend(whole(text));
                }
            }
        }
        Self { words, starts, stems }
    }

    /// The passages of the fields in which there is something to mark, as HTML.
    pub(super) fn mark<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> BTreeMap<String, String> {
        if self.words.is_empty() && self.starts.is_empty() {
            return BTreeMap::new();
        }
        fields
            .into_iter()
            .filter_map(|(field, text)| Some((field.to_owned(), self.passage(text)?)))
            .collect()
    }

    fn passage(&mut self, text: &str) -> Option<String> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut end = text.len();
        for word in Words::of(text, &mut self.stems) {
            if word.from >= end {
                break;
            }
            let fits = self.words.contains(&word.text)
                || self.starts.iter().any(|start| word.text.starts_with(start.as_str()));
            if !fits {
                continue;
            }
            if found.is_empty() {
                end = boundary(text, word.from.saturating_add(AFTER));
            }
            match found.last_mut() {
                Some(last) if word.from <= last.1 => last.1 = last.1.max(word.to),
                _ => found.push((word.from, word.to)),
            }
        }
        let start = boundary(text, found.first()?.0.saturating_sub(BEFORE));
        Some(marked(text, start, end, &found))
    }
}

/// The next place at or after `at` where a character begins; the end of the text beyond it.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

fn marked(text: &str, start: usize, end: usize, found: &[(usize, usize)]) -> String {
    let mut html = String::from(if start > 0 { "…" } else { "" });
    let mut at = start;
    let slice = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    for (from, to) in found {
        escape(slice(at, *from), &mut html);
        html.push_str("<mark>");
        escape(slice(*from, *to), &mut html);
        html.push_str("</mark>");
        at = *to;
    }
    escape(slice(at, end), &mut html);
    if end < text.len() {
        html.push('…');
    }
    html
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(query: &str, text: &str) -> Option<String> {
        Marker::of(&Query::read(query)).passage(text)
    }

    #[test]
    fn the_words_are_marked_and_the_rest_is_harmless() {
        assert_eq!(
            mark("功率预测 NOT x", "风电<功率预测>x").unwrap(),
            "风电&lt;<mark>功率预测</mark>&gt;x"
        );
        assert_eq!(
            mark("forecasts lstm*", "Forecasting by LSTM-v2").unwrap(),
            "<mark>Forecasting</mark> by <mark>LSTM-v2</mark>"
        );
        assert_eq!(mark("sun", "wind"), None);
    }

    #[test]
    fn a_long_text_is_cut_around_the_first_word() {
        let text = format!("{}wind{}", "风".repeat(500), "电".repeat(500));
        let passage = mark("wind", &text).unwrap();
        assert!(passage.starts_with("…风") && passage.ends_with("电…"));
        assert!(passage.contains("<mark>wind</mark>") && passage.len() < 400);
    }
}
