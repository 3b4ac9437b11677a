#![cfg(test)]
//! Rust source as words and signs with their lines: enough to find paths, not to understand them.
//! Comments, texts and characters are left out.

/// A word or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(is_word_char)
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of a source; `::` is one of them.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1, found: Vec::new() };
    while reader.step() {}
    reader.found
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token>,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    fn take(&mut self, bytes: usize) {
        let (taken, _) = self.rest.split_at(bytes);
        let token = Token { text: taken.to_owned(), line: self.line };
        self.found.push(token);
        self.skip(bytes);
    }

    /// Takes or skips one thing; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip_block_comment();
        } else if let Some(bytes) = raw_text(self.rest) {
            self.skip(bytes);
        } else if first == '"' {
            self.skip(quoted(self.rest, '"'));
        } else if first == '\'' {
            self.skip_character_or_lifetime();
        } else if is_word_char(first) {
            let end = self.rest.find(|c| !is_word_char(c));
            let (word, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            // The `b` of b"…" and the `c` of c"…" are no words.
            let is_prefix = matches!(word, "b" | "c") && after.starts_with(['"', '\'']);
            if is_prefix {
                self.skip(1);
            } else {
                self.take(word.len());
            }
        } else if self.rest.starts_with("::") {
            self.take(2);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.take(first.len_utf8());
        }
        true
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else {
                let Some(next) = self.rest.chars().next() else {
                    return;
                };
                self.skip(next.len_utf8());
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// `'a'` and `'\n'` are characters, `'a` is a lifetime.
    fn skip_character_or_lifetime(&mut self) {
        let mut chars = self.rest.char_indices().skip(1);
        let escaped = chars.next().is_some_and(|(_, c)| c == '\\');
        match chars.next() {
            Some((at, '\'')) if !escaped => self.skip(at + 1),
            _ if escaped => self.skip(quoted(self.rest, '\'')),
            _ => self.skip(1),
        }
    }
}

/// How long a text in quotes is, with them.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// How long a raw text is, if here is one: r"…", br#"…"#.
fn raw_text(text: &str) -> Option<usize> {
    let after = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix("cr"))
        .or_else(|| text.strip_prefix('r'))?;
    let quote = after.trim_start_matches('#');
    let hashes = after.len() - quote.len();
    let inside = quote.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

#[test]
fn words_in_comments_and_texts_are_no_tokens() {
    let source = r##"
// crate::no
/* crate::no /* nor */ here */
let a = "crate::no \" no"; let b = r#"crate::no " no"#; let c = '"'; let d = b"no"; let e = '\'';
fn yes<'a>(x: &'a str) { crate::yes }
"##;
    let words: Vec<_> = tokens(source)
        .into_iter()
        .filter(Token::is_word)
        .map(|token| format!("{}@{}", token.text, token.line))
        .collect();
    let expected = "let@4 a@4 let@4 b@4 let@4 c@4 let@4 d@4 let@4 e@4 \
                    fn@5 yes@5 a@5 x@5 a@5 str@5 crate@5 yes@5";
    assert_eq!(words.join(" "), expected);
}
