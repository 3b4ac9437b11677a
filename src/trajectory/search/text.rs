//! The text of a query: words, exact texts, beginnings, regular expressions, and how they combine.
//!
//! ```text
//! or   = and ( OR and )*
//! and  = not ( AND? not )*
//! not  = NOT not | ( or ) | term
//! term = "exact text" | /regular expression/ | word | word*
//! ```
//!
//! A word is a whole token in any case; a token is a run of letters, digits and `_`, and each Chinese
//! or Japanese character is one of its own. A word with other characters in it (`a-b`, `10.0.0.1`)
//! must stand there as it is, with no token running on at either end.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::iter::Peekable;
use std::vec::IntoIter;

use regex::{Regex, RegexBuilder};

use super::super::error::bad_text;
use super::super::tokens::{is_ideograph, joins};
use crate::kernel::error::Result;

const LENGTH_MAX: usize = 8 << 10;
const TERMS_MAX: usize = 200;
const DEPTH_MAX: usize = 50;
const REGEX_BYTES: usize = 1 << 20;
const NEST_MAX: u32 = 100;

/// What a message must be like.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// `lower` stands there in any case; no token runs on before it, nor behind it when `whole`.
    Word {
        lower: String,
        whole: bool,
    },
    Text(String),
    Regex(Regex),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// A message that is asked about; lower case is made once, and only when a word asks.
pub(crate) struct Message<'a> {
    text: &'a str,
    lower: OnceCell<String>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, lower: OnceCell::new() }
    }

    fn lower(&self) -> &str {
        self.lower.get_or_init(|| self.text.to_lowercase())
    }
}

impl Expr {
    pub(crate) fn matches(&self, message: &Message<'_>) -> bool {
        match self {
            Self::Word { lower, whole } => has_word(message.lower(), lower, *whole),
            Self::Text(text) => message.text.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message.text),
            Self::Not(inner) => !inner.matches(message),
            Self::And(all) => all.iter().all(|one| one.matches(message)),
            Self::Or(any) => any.iter().any(|one| one.matches(message)),
        }
    }
}

/// A text that every message that is looked for has in it, as far as one is plain: what stands in
/// none of the messages of a block is found out by one pass over all of them.
#[derive(Debug, Clone)]
pub(crate) struct Literal {
    pub(crate) finder: memchr::memmem::Finder<'static>,
    pub(crate) length: usize,
    /// It stands there in any case, and is given in lower case, ASCII only.
    pub(crate) any_case: bool,
    /// Nothing else is looked for.
    pub(crate) is_all: bool,
}

/// The two characters beyond ASCII that have a letter of ASCII in their lower case: the Kelvin sign and
/// the dotted capital I.
const FOREIGN: [&[u8]; 2] = ["\u{212A}".as_bytes(), "\u{130}".as_bytes()];

impl Literal {
    /// Bytes in which to look for it: as they are, or in lower case. None where that cannot tell.
    pub(crate) fn hay<'h>(&self, bytes: &'h [u8]) -> Option<Cow<'h, [u8]>> {
        if !self.any_case {
            return Some(Cow::Borrowed(bytes));
        }
        let is_foreign = !bytes.is_ascii()
            && FOREIGN.iter().any(|foreign| memchr::memmem::find(bytes, foreign).is_some());
        (!is_foreign).then(|| Cow::Owned(bytes.to_ascii_lowercase()))
    }

    /// Whether it may stand somewhere in these bytes.
    pub(crate) fn may_be_in(&self, bytes: &[u8]) -> bool {
        self.hay(bytes).is_none_or(|hay| self.finder.find(&hay).is_some())
    }

    /// The longest that an expression has.
    pub(crate) fn of(expr: &Expr) -> Option<Self> {
        let mut found = Vec::new();
        required(expr, &mut found);
        let (text, any_case) = found.into_iter().max_by_key(|(text, _)| text.len())?;
        Some(Self {
            finder: memchr::memmem::Finder::new(text.as_bytes()).into_owned(),
            length: text.len(),
            any_case,
            is_all: matches!(expr, Expr::Text(_)),
        })
    }
}

/// The texts that must stand there, and whether in any case.
fn required(expr: &Expr, found: &mut Vec<(String, bool)>) {
    match expr {
        Expr::Word { lower, .. } if lower.is_ascii() => found.push((lower.clone(), true)),
        // Ideographs have no case.
        Expr::Word { lower, .. } if lower.chars().all(is_ideograph) => {
            found.push((lower.clone(), false));
        }
        Expr::Text(text) => found.push((text.clone(), false)),
        Expr::Regex(regex) => {
            let longest = literals_of(regex.as_str()).into_iter().max_by_key(String::len);
            found.extend(longest.map(|text| (text, false)));
        }
        Expr::And(all) => all.iter().for_each(|one| required(one, found)),
        Expr::Word { .. } | Expr::Not(_) | Expr::Or(_) => {}
    }
}

/// The texts that stand in everything that a regular expression matches.
pub(crate) fn literals_of(pattern: &str) -> Vec<String> {
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(NEST_MAX).build();
    let mut found = Vec::new();
    if let Ok(hir) = parser.parse(pattern) {
        gather(&hir, &mut found);
    }
    found
}

fn gather(hir: &regex_syntax::hir::Hir, found: &mut Vec<String>) {
    use regex_syntax::hir::HirKind;
    match hir.kind() {
        HirKind::Literal(literal) => {
            found.extend(std::str::from_utf8(&literal.0).ok().map(str::to_owned));
        }
        HirKind::Concat(parts) => parts.iter().for_each(|part| gather(part, found)),
        HirKind::Capture(capture) => gather(&capture.sub, found),
        HirKind::Repetition(repetition) if repetition.min > 0 => gather(&repetition.sub, found),
        _ => {}
    }
}

fn has_word(text: &str, word: &str, whole: bool) -> bool {
    let (Some(first), Some(last)) = (word.chars().next(), word.chars().next_back()) else {
        return false;
    };
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let Some(found) = rest.find(word) else {
            return false;
        };
        let at = from + found;
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
        let begins = before.is_none_or(|before| !joins(before, first));
        let ends = !whole || after.is_none_or(|after| !joins(last, after));
        if begins && ends {
            return true;
        }
        from = at + first.len_utf8();
    }
    false
}

#[derive(Debug)]
enum Piece {
    Open,
    Close,
    And,
    Or,
    Not,
    Term(Expr),
}

type Pieces = Peekable<IntoIter<(usize, Piece)>>;

/// Reads a query; nothing when it is blank. An error tells the position, counted from 1.
pub(crate) fn parse(text: &str) -> Result<Option<Expr>> {
    if text.len() > LENGTH_MAX {
        return Err(bad_text(LENGTH_MAX, "the query is longer than 8 KiB"));
    }
    let end = text.chars().count() + 1;
    let pieces = split(text)?;
    if pieces.is_empty() {
        return Ok(None);
    }
    if pieces.len() > TERMS_MAX {
        return Err(bad_text(end, "the query has more than 200 parts"));
    }
    let mut pieces = pieces.into_iter().peekable();
    let expr = any(&mut pieces, end, 0)?;
    match pieces.next() {
        Some((at, _)) => Err(bad_text(at, "this `)` closes nothing")),
        None => Ok(Some(expr)),
    }
}

fn any(pieces: &mut Pieces, end: usize, depth: usize) -> Result<Expr> {
    let mut all = vec![every(pieces, end, depth)?];
    while pieces.next_if(|(_, piece)| matches!(piece, Piece::Or)).is_some() {
        all.push(every(pieces, end, depth)?);
    }
    Ok(one_or(all, Expr::Or))
}

fn every(pieces: &mut Pieces, end: usize, depth: usize) -> Result<Expr> {
    let mut all = vec![one(pieces, end, depth)?];
    loop {
        let explicit = pieces.next_if(|(_, piece)| matches!(piece, Piece::And)).is_some();
        let more = matches!(pieces.peek(), Some((_, Piece::Open | Piece::Not | Piece::Term(_))));
        if !explicit && !more {
            return Ok(one_or(all, Expr::And));
        }
        all.push(one(pieces, end, depth)?);
    }
}

fn one(pieces: &mut Pieces, end: usize, depth: usize) -> Result<Expr> {
    let Some((at, piece)) = pieces.next() else {
        return Err(bad_text(end, "the query ends where a word is expected"));
    };
    if depth > DEPTH_MAX {
        return Err(bad_text(at, "more than 50 levels of `(` and NOT"));
    }
    match piece {
        Piece::Term(term) => Ok(term),
        Piece::Not => Ok(Expr::Not(Box::new(one(pieces, end, depth + 1)?))),
        Piece::Open => {
            let inner = any(pieces, end, depth + 1)?;
            match pieces.next() {
                Some((_, Piece::Close)) => Ok(inner),
                _ => Err(bad_text(at, "this `(` is not closed")),
            }
        }
        Piece::Close => Err(bad_text(at, "`)` where a word is expected")),
        Piece::And => {
            Err(bad_text(at, "`AND` where a word is expected; quote it to search for it"))
        }
        Piece::Or => Err(bad_text(at, "`OR` where a word is expected; quote it to search for it")),
    }
}

fn one_or(mut all: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            all.extend(last);
            many(all)
        }
    }
}

fn split(text: &str) -> Result<Vec<(usize, Piece)>> {
    let mut chars = text.chars().zip(1_usize..).peekable();
    let mut pieces = Vec::new();
    while let Some((c, at)) = chars.next() {
        let piece = match c {
            c if c.is_whitespace() => continue,
            '(' => Piece::Open,
            ')' => Piece::Close,
            '"' => {
                let inner = delimited(&mut chars, '"')
                    .ok_or_else(|| bad_text(at, "this `\"` is not closed"))?;
                if inner.is_empty() {
                    return Err(bad_text(at, "an empty text is nothing to look for"));
                }
                Piece::Term(Expr::Text(inner))
            }
            '/' => {
                let inner = delimited(&mut chars, '/')
                    .ok_or_else(|| bad_text(at, "this `/` begins a regular expression and no `/` ends it; quote a path: \"/var/log\""))?;
                if let Some((_, beyond)) =
                    chars.peek().filter(|(c, _)| !c.is_whitespace() && *c != ')')
                {
                    return Err(bad_text(
                        *beyond,
                        "a regular expression ended before this; quote a path: \"/var/log\"",
                    ));
                }
                Piece::Term(regex(&inner, at)?)
            }
            first => {
                let mut word = String::from(first);
                while let Some((c, _)) =
                    chars.next_if(|(c, _)| !c.is_whitespace() && !matches!(c, '(' | ')' | '"'))
                {
                    word.push(c);
                }
                word_piece(&word, at)?
            }
        };
        pieces.push((at, piece));
    }
    Ok(pieces)
}

fn word_piece(word: &str, at: usize) -> Result<Piece> {
    Ok(match word {
        "AND" => Piece::And,
        "OR" => Piece::Or,
        "NOT" => Piece::Not,
        _ => {
            let (stem, whole) = match word.strip_suffix('*') {
                Some(stem) => (stem, false),
                None => (word, true),
            };
            if stem.is_empty() || stem.contains('*') {
                return Err(bad_text(at, "`*` stands once, behind the beginning of a word"));
            }
            let lower = stem.to_lowercase();
            Piece::Term(Expr::Word { lower, whole })
        }
    })
}

/// What stands up to `end`. Before `end` and `\` a `\` takes their meaning away; elsewhere, and in
/// a regular expression always but before `/`, it stays.
fn delimited(
    chars: &mut Peekable<impl Iterator<Item = (char, usize)>>,
    end: char,
) -> Option<String> {
    let mut inner = String::new();
    loop {
        let (c, _) = chars.next()?;
        if c == end {
            return Some(inner);
        }
        inner.push(c);
        if c == '\\' {
            let (next, _) = chars.next()?;
            if next == end || (next == '\\' && end == '"') {
                inner.pop();
            }
            inner.push(next);
        }
    }
}

fn regex(pattern: &str, at: usize) -> Result<Expr> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .nest_limit(NEST_MAX)
        .build()
        .map(Expr::Regex)
        .map_err(|why| {
            let why = why.to_string();
            let reason = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            bad_text(at, format!("not a regular expression: {reason}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, message: &str) -> bool {
        parse(query).unwrap().unwrap().matches(&Message::new(message))
    }

    #[test]
    fn a_word_is_a_whole_token_in_any_case() {
        assert!(found("error", "An ERROR: disk"));
        assert!(!found("error", "errors and IOError"));
        assert!(found("a-a", "xa-a-a"));
        assert!(found("10.0.0.1", "from 10.0.0.1:80"));
        assert!(!found("10.0.0.1", "from 10.0.0.11"));
        assert!(found("停", "风机停机") && found("风机", "风机停机"));
        assert!(found("ÜBER", "das über alles"));
    }

    #[test]
    fn a_text_is_exact_and_a_beginning_is_open_at_its_end() {
        assert!(found("\"Error\"", "IOErrors"));
        assert!(!found("\"error\"", "IOErrors"));
        assert!(found(r#""a \"b\" \\ c""#, r#"x a "b" \ c"#));
        assert!(found("err*", "Errors") && !found("err*", "IOErrors"));
        assert!(found(r"/a\/b\d+/", "a/b42") && !found(r"/a\/b\d+/", "a/b"));
    }

    #[test]
    fn words_combine_with_the_usual_precedence() {
        assert!(found("a OR b AND c", "a"));
        assert!(!found("(a OR b) AND c", "a"));
        assert!(found("a NOT b", "a c") && !found("a NOT b", "a b"));
        assert!(found("NOT (a b)", "a") && found("NOT NOT a", "a"));
        assert!(parse("  ").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_placed() {
        for (query, at) in [
            ("(a", 1),
            ("a)", 2),
            ("a AND", 6),
            ("OR a", 1),
            ("a \"b", 3),
            ("风 /b", 3),
            ("/(/", 1),
            ("/var/log", 6),
            ("\"\"", 1),
            ("*", 1),
            ("a*b*", 1),
            ("NOT", 4),
            ("()", 2),
        ] {
            let error = parse(query).unwrap_err();
            let fault = &error.faults()[0];
            assert!(fault.detail.starts_with(&format!("position {at}:")), "{query}: {error}");
        }
    }

    #[test]
    fn nothing_explodes() {
        assert!(parse(&"(".repeat(5000)).is_err());
        assert!(parse(&"NOT ".repeat(150)).is_err());
        assert!(parse(r"/(\w{200}){200}{200}/").is_err());
        assert!(parse(&"x".repeat(9000)).is_err());
    }
}
