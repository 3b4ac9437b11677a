//! How text becomes the words that are found: Chinese and its neighbours as single characters and
//! pairs, English in lower case and by its stem, and identifiers whole and in parts.
//!
//! Every character of Chinese has a position of its own, and so has every part of an identifier and
//! every run of digits in it, so a phrase is found across all of them: `GBDT_功率预测` is `gbdt` at 0,
//! `功率` at 1, `率预` at 2, `预测` at 3; `10min`, `10 min` and `10-min` are `10` and `min`. What is
//! written in `CamelCase` stands at one position, whole and in its parts, because most people type
//! it in one case. No dictionary is needed, and none has to be loaded.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::str::CharIndices;

use tantivy::tokenizer::{RawTokenizer, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization as _;

use super::traditional::simplified;

/// The longest word that is kept, in bytes: what is longer is data, not language.
const WORD_MAX: usize = 200;

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// As it is looked up.
    pub(super) text: String,
    /// Where it stands among the others.
    pub(super) position: usize,
    /// From which byte of the text.
    pub(super) from: usize,
    /// To which.
    pub(super) to: usize,
}

/// Whether a character is of a script that is written without spaces.
pub(super) fn is_dense(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3134F}' | '々' | '〇')
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_dense(c)
}

pub(super) fn is_joint(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '－' | '＿' | '．')
}

/// Whether a character is a unified ideograph: those are their own normal form and have no case.
fn is_plain(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}')
}

/// Full-width letters as plain ones, upper case as lower case, traditional characters as simplified.
pub(super) fn fold(text: &str) -> String {
    // Most words are one of these two, and to look each character up in the tables of Unicode takes
    // ten times as long.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    if text.chars().all(is_plain) {
        return text.chars().map(simplified).collect();
    }
    text.nfkc().flat_map(char::to_lowercase).map(simplified).collect()
}

/// Finds the stem of English words.
#[derive(Clone)]
pub(super) struct Stems(TextAnalyzer);

impl Default for Stems {
    fn default() -> Self {
        let stemmer = Stemmer::default();
        Self(TextAnalyzer::builder(RawTokenizer::default()).filter(stemmer).build())
    }
}

impl Stems {
    /// The stem of a folded word; the word itself where it is no English word.
    pub(super) fn of(&mut self, word: &str) -> String {
        if word.len() < 3 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return word.to_owned();
        }
        let mut stream = self.0.token_stream(word);
        match stream.next() {
            Some(token) => token.text.clone(),
            None => word.to_owned(),
        }
    }
}

/// The words of a text, one after the other, in memory that does not grow with the text.
pub(super) struct Words<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    stems: &'a mut Stems,
    waiting: VecDeque<Word>,
    position: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a str, stems: &'a mut Stems) -> Self {
        Self {
            text,
            chars: text.char_indices().peekable(),
            stems,
            waiting: VecDeque::new(),
            position: 0,
        }
    }

    fn push(&mut self, text: String, position: usize, from: usize, to: usize) {
        if !text.is_empty() && text.len() <= WORD_MAX {
            self.waiting.push_back(Word { text, position, from, to });
        }
    }

    /// A dense character: by itself, and as a pair with the next.
    fn dense(&mut self, from: usize, c: char) {
        let to = from + c.len_utf8();
        self.push(fold(c.encode_utf8(&mut [0; 4])), self.position, from, to);
        if let Some((_, next)) = self.chars.peek().copied().filter(|(_, next)| is_dense(*next)) {
            let pair: String = [c, next].iter().collect();
            self.push(fold(&pair), self.position, from, to + next.len_utf8());
        }
        self.position += 1;
    }

    /// An identifier or a plain word: whole, then part by part.
    fn letters(&mut self, from: usize) {
        let mut parts = vec![(from, from)];
        let mut end = from;
        while let Some((at, c)) = self.chars.peek().copied() {
            if is_letter(c) {
                end = at + c.len_utf8();
            } else if is_joint(c) && self.joins(at + c.len_utf8()) {
                parts.push((at + c.len_utf8(), at + c.len_utf8()));
                end = at + c.len_utf8();
            } else {
                break;
            }
            self.chars.next();
            if let Some(last) = parts.last_mut() {
                last.1 = end;
            }
        }
        if parts.len() > 1 {
            let whole = fold(self.slice(from, end));
            self.push(whole, self.position, from, end);
        }
        for (from, to) in parts {
            self.part(from, to);
        }
    }

    /// Whether the text goes on with a letter at `at`.
    fn joins(&self, at: usize) -> bool {
        self.text.get(at..).and_then(|rest| rest.chars().next()).is_some_and(is_letter)
    }

    /// A part: whole, then by its runs of letters and digits, each at a position of its own.
    fn part(&mut self, from: usize, to: usize) {
        let runs = runs(self.slice(from, to));
        if runs.len() > 1 {
            self.word(self.slice(from, to), from, to);
        }
        for (at, (start, end)) in runs.iter().enumerate() {
            let (start, end) = (from + start, from + end);
            self.word(self.slice(start, end), start, end);
            self.humps(start, end);
            if let Some((_, after)) = runs.get(at + 1) {
                self.version(start, end, from + after);
            }
            self.position += 1;
        }
    }

    /// The parts of what is written in `CamelCase`, all where the whole stands.
    fn humps(&mut self, from: usize, to: usize) {
        let humps = humps(self.slice(from, to));
        if humps.len() > 1 {
            for (start, end) in humps {
                self.word(self.slice(from + start, from + end), from + start, from + end);
            }
        }
    }

    /// A name with its version stuck to it: `LSTMv2` is `lstm` and `v2` as well.
    fn version(&mut self, from: usize, to: usize, after: usize) {
        let name = self.slice(from, to).strip_suffix('v').unwrap_or_default();
        if name.ends_with(char::is_uppercase) {
            let at = from + name.len();
            self.word(name, from, at);
            self.word(self.slice(at, after), at, after);
        }
    }

    fn word(&mut self, text: &str, from: usize, to: usize) {
        let exact = fold(text);
        let stem = self.stems.of(&exact);
        if stem != exact {
            self.push(stem, self.position, from, to);
        }
        self.push(exact, self.position, from, to);
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            if let Some(word) = self.waiting.pop_front() {
                return Some(word);
            }
            let (at, c) = self.chars.peek().copied()?;
            if is_letter(c) {
                self.letters(at);
            } else {
                self.chars.next();
                if is_dense(c) {
                    self.dense(at, c);
                }
            }
        }
    }
}

/// The runs of digits and of anything else in a part: `10min` has two.
fn runs(text: &str) -> Vec<(usize, usize)> {
    pieces(text, |before, c| before.is_numeric() != c.is_numeric())
}

/// The parts of `WindPower`.
pub(super) fn humps(text: &str) -> Vec<(usize, usize)> {
    pieces(text, |before, c| before.is_lowercase() && c.is_uppercase())
}

/// Where a text falls into pieces, cut between two characters for which `breaks` holds.
fn pieces(text: &str, breaks: impl Fn(char, char) -> bool) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let (mut start, mut before) = (0, None::<char>);
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| breaks(before, c)) {
            pieces.push((start, at));
            start = at;
        }
        before = Some(c);
    }
    pieces.push((start, text.len()));
    pieces
}

/// What a word of a query must match, in order: each is looked up at its distance from the first.
pub(super) fn wanted(text: &str, stems: &mut Stems) -> Vec<(usize, String)> {
    spelled(text).into_iter().map(|(at, word)| (at, stems.of(&word))).collect()
}

/// The same as it is spelled, before the stems are found.
pub(super) fn spelled(text: &str) -> Vec<(usize, String)> {
    let mut wanted = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut position = 0;
    while let Some((from, c)) = chars.next() {
        if is_dense(c) {
            let mut run = vec![c];
            while let Some((_, next)) = chars.next_if(|(_, next)| is_dense(*next)) {
                run.push(next);
            }
            if let [only] = run.as_slice() {
                wanted.push((position, fold(&only.to_string())));
            }
            for (at, pair) in run.windows(2).enumerate() {
                wanted.push((position + at, fold(&pair.iter().collect::<String>())));
            }
            position += run.len();
        } else if is_letter(c) {
            let mut to = from + c.len_utf8();
            while let Some((at, next)) = chars.next_if(|(_, next)| is_letter(*next)) {
                to = at + next.len_utf8();
            }
            let letters = text.get(from..to).unwrap_or_default();
            for (start, end) in runs(letters) {
                let word = fold(letters.get(start..end).unwrap_or_default());
                if word.len() <= WORD_MAX {
                    wanted.push((position, word));
                }
                position += 1;
            }
        }
    }
    wanted
}

/// An identifier that falls into several words, as it is kept whole: `LSTM-v2`, `10min`.
pub(super) fn whole(text: &str) -> Option<String> {
    let text = text.trim_matches(|c| !is_letter(c));
    let is_one = text.chars().all(|c| is_letter(c) || is_joint(c));
    let is_made_of_parts = text.contains(is_joint) || runs(text).len() > 1;
    let folded = fold(text);
    (is_one && is_made_of_parts && folded.len() <= WORD_MAX).then_some(folded)
}

/// [`Words`] as tantivy wants them.
#[derive(Clone, Default)]
pub(super) struct WordTokenizer {
    stems: Stems,
    token: Token,
}

pub(super) struct WordStream<'a> {
    words: Words<'a>,
    token: &'a mut Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { words: Words::of(text, &mut self.stems), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else {
            return false;
        };
        self.token.position = word.position;
        self.token.offset_from = word.from;
        self.token.offset_to = word.to;
        self.token.text = word.text;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, usize)> {
        let mut stems = Stems::default();
        Words::of(text, &mut stems).map(|word| (word.text, word.position)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn chinese_is_found_by_characters_and_pairs() {
        assert_eq!(
            words("风电A场"),
            [("风", 0), ("风电", 0), ("电", 1), ("a", 2), ("场", 3)]
                .map(|(text, position)| (text.to_owned(), position))
        );
    }

    #[test]
    fn what_is_folded_by_short_cuts_is_folded_the_same() {
        let plain = ('\0'..='\u{7F}').chain('\u{4E00}'..='\u{9FFF}');
        for c in plain {
            let text = c.to_string();
            let slowly: String = text.nfkc().flat_map(char::to_lowercase).map(simplified).collect();
            assert_eq!(fold(&text), slowly, "{c:?}");
        }
        assert_eq!(fold("风电ＡB"), "风电ab");
    }

    #[test]
    fn identifiers_are_found_whole_and_in_parts() {
        assert_eq!(texts("LSTM-v2"), ["lstm-v2", "lstm", "v2", "v", "2"]);
        assert_eq!(texts("LSTMv2"), ["lstmv2", "lstmv", "lstm", "v2", "2"]);
        assert_eq!(
            words("10min 80m"),
            [("10min", 0), ("10", 0), ("min", 1), ("80m", 2), ("80", 2), ("m", 3)]
                .map(|(text, position)| (text.to_owned(), position))
        );
        assert_eq!(texts("1.2.0."), ["1.2.0", "1", "2", "0"]);
        assert_eq!(texts("WindPower"), ["windpow", "windpower", "wind", "power"]);
        assert_eq!(texts("GBDT_功率"), ["gbdt", "功", "功率", "率"]);
        assert_eq!(texts("forecasting"), ["forecast", "forecasting"]);
        assert_eq!(texts("ＬＳＴＭ－ｖ２"), texts("lstm-v2"));
        assert_eq!(texts("風電預測"), texts("风电预测"));
    }

    #[test]
    fn every_word_lies_where_it_says() {
        let text = "Wind_Power v1.0 风电场, naïve-Bayes2024!";
        let mut stems = Stems::default();
        for word in Words::of(text, &mut stems) {
            let found = fold(text.get(word.from..word.to).unwrap());
            // A stem may end otherwise than its word; it begins as the word does.
            let start: String = word.text.chars().take(2).collect();
            assert!(found.starts_with(&start), "{word:?}: {found}");
        }
    }

    #[test]
    fn what_is_wanted_is_what_is_there() {
        let mut stems = Stems::default();
        for text in [
            "LSTM-v2",
            "GBDT_功率预测",
            "风",
            "风电",
            "风电场功率",
            "1.2.0",
            "wind power forecasts",
            "10min",
            "LightGBM-v3 功率",
            "LSTMv2 10 分钟",
        ] {
            let there = words(&format!("x {text} y"));
            for (offset, wanted) in wanted(text, &mut stems) {
                assert!(there.contains(&(wanted.clone(), offset + 1)), "{text}: {wanted}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_words_within_it(text in "\\PC*") {
            let mut stems = Stems::default();
            let mut last = 0;
            for word in Words::of(&text, &mut stems) {
                assert!(text.get(word.from..word.to).is_some());
                assert!(word.position >= last && word.text.len() <= WORD_MAX);
                last = word.position;
            }
            wanted(&text, &mut stems);
        }
    }
}
