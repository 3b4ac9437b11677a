//! What people type into the search, as a tree. Nothing that can be typed is an error: what makes no
//! sense is left out.
//!
//! ```text
//! query  = either { "OR" either }
//! either = part { [ "AND" ] part }
//! part   = "NOT" part | "(" query ")" | [ field ":" ] ( word | word"*" | word"~" | '"' phrase '"' )
//! ```

/// The fields that can be asked for by name, and the fields that they mean.
const FIELDS: [(&str, Field); 14] = [
    ("name", Field::Name),
    ("version", Field::Version),
    ("summary", Field::Summary),
    ("remark", Field::Remark),
    ("remarks", Field::Remark),
    ("config", Field::Config),
    ("author", Field::Author),
    ("label", Field::Labels),
    ("labels", Field::Labels),
    ("kind", Field::Kind),
    ("stage", Field::Stage),
    ("名称", Field::Name),
    ("摘要", Field::Summary),
    ("标签", Field::Labels),
];

/// How deep brackets are taken; deeper ones are as if they were not there.
const DEPTH_MAX: usize = 32;

/// A field that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Version,
    Summary,
    Remark,
    Config,
    Author,
    Labels,
    Kind,
    Stage,
}

/// How what was typed is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// As a word, or as the words that it is made of, side by side.
    Word,
    /// Exactly in this order.
    Phrase,
    /// As the beginning of a word.
    Start,
    /// As a word that is spelled nearly so.
    Near,
    /// As one of these words of the index.
    AnyOf(Vec<String>),
    /// As most of its pairs of characters.
    Most,
}

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// In which field; none for all of them.
    pub(super) field: Option<Field>,
    /// What was typed, without quotes and star.
    pub(super) text: String,
    /// How it is to be there.
    pub(super) how: How,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    /// Everything.
    All,
    /// Nothing: something was typed and no word was in it.
    Nothing,
    Leaf(Leaf),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

impl Query {
    /// Reads what was typed.
    pub(super) fn read(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::All;
        }
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut parts = Vec::new();
        // A closing bracket too many ends nothing: what follows still counts.
        while parser.at < parser.tokens.len() {
            parts.extend(parser.query(0));
            parser.skip(&Token::Close);
        }
        all_of(parts).unwrap_or(Self::Nothing)
    }

    /// Everything that is looked for, not what is ruled out.
    pub(super) fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Self::Leaf(leaf) => vec![leaf],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::leaves).collect(),
            Self::All | Self::Nothing | Self::Not(_) => Vec::new(),
        }
    }

    /// The same with everything that is looked for changed as `change` says; what is ruled out stays.
    pub(super) fn map(&self, change: &mut impl FnMut(&Leaf) -> Leaf) -> Self {
        let mut each = |parts: &[Self]| parts.iter().map(|part| part.map(change)).collect();
        match self {
            Self::Leaf(leaf) => Self::Leaf(change(leaf)),
            Self::And(parts) => Self::And(each(parts)),
            Self::Or(parts) => Self::Or(each(parts)),
            Self::All | Self::Nothing | Self::Not(_) => self.clone(),
        }
    }

    /// How many things are looked for or ruled out.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::All | Self::Nothing | Self::Leaf(_) => 1,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::size).sum(),
            Self::Not(part) => part.size(),
        }
    }
}

fn all_of(mut parts: Vec<Query>) -> Option<Query> {
    if parts.len() > 1 {
        return Some(Query::And(parts));
    }
    parts.pop()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A field in front of a bracket or a phrase.
    Field(Field),
    Word(String),
    Phrase(String),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '(' | '（' => found.push(Token::Open),
            ')' | '）' => found.push(Token::Close),
            '"' | '“' | '”' => {
                // A phrase that is not ended goes on to the end.
                let phrase: String =
                    chars.by_ref().take_while(|c| !matches!(c, '"' | '“' | '”')).collect();
                found.push(Token::Phrase(phrase));
            }
            c if parts(c) => {}
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| {
                    !parts(*c) && !matches!(c, '(' | ')' | '（' | '）' | '"' | '“' | '”')
                }) {
                    word.push(c);
                }
                found.push(word_token(word));
            }
        }
    }
    found
}

/// Whether a character stands between words, as a space does: the commas of a list, and the marks
/// that Chinese writes without a space after them.
fn parts(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '，' | '；' | '、' | '。' | '！' | '？')
}

fn word_token(word: String) -> Token {
    match word.as_str() {
        "AND" | "&&" => return Token::And,
        "OR" | "||" => return Token::Or,
        "NOT" => return Token::Not,
        _ => {}
    }
    match word.strip_suffix([':', '：']).and_then(field) {
        Some(field) => Token::Field(field),
        None => Token::Word(word),
    }
}

fn field(name: &str) -> Option<Field> {
    let name = name.to_lowercase();
    FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn skip(&mut self, token: &Token) -> bool {
        let is_there = self.peek() == Some(token);
        self.at += usize::from(is_there);
        is_there
    }

    fn query(&mut self, depth: usize) -> Option<Query> {
        let mut parts = Vec::new();
        loop {
            parts.extend(self.either(depth));
            if !self.skip(&Token::Or) {
                break;
            }
        }
        if parts.len() > 1 {
            return Some(Query::Or(parts));
        }
        parts.pop()
    }

    fn either(&mut self, depth: usize) -> Option<Query> {
        let mut parts = Vec::new();
        loop {
            while self.skip(&Token::And) {}
            match self.peek() {
                None | Some(Token::Or | Token::Close) => break,
                Some(_) => parts.extend(self.part(None, depth)),
            }
        }
        all_of(parts)
    }

    fn part(&mut self, field: Option<Field>, depth: usize) -> Option<Query> {
        let token = self.peek().cloned()?;
        self.at += 1;
        match token {
            Token::Not => {
                while self.skip(&Token::And) {}
                if matches!(self.peek(), None | Some(Token::Or | Token::Close)) {
                    return None;
                }
                // `NOT NOT NOT …` goes in circles no deeper than brackets do.
                let inner = if depth < DEPTH_MAX { self.part(field, depth + 1) } else { None };
                inner.map(|inner| match inner {
                    Query::Not(twice) => *twice,
                    other => Query::Not(Box::new(other)),
                })
            }
            Token::Open if depth < DEPTH_MAX => {
                let inner = self.query(depth + 1);
                self.skip(&Token::Close);
                inner.map(|inner| within(inner, field))
            }
            Token::Field(field) if depth < DEPTH_MAX => self.part(Some(field), depth + 1),
            Token::Phrase(text) => leaf(field, text, How::Phrase),
            Token::Word(word) => word_leaf(field, word),
            Token::Open | Token::Close | Token::And | Token::Or | Token::Field(_) => None,
        }
    }
}

/// Looks for all of it in one field, where it does not say another itself.
fn within(query: Query, field: Option<Field>) -> Query {
    let each = |parts: Vec<Query>| parts.into_iter().map(|part| within(part, field)).collect();
    match query {
        Query::Leaf(leaf) => Query::Leaf(Leaf { field: leaf.field.or(field), ..leaf }),
        Query::And(parts) => Query::And(each(parts)),
        Query::Or(parts) => Query::Or(each(parts)),
        Query::Not(part) => Query::Not(Box::new(within(*part, field))),
        other => other,
    }
}

fn word_leaf(outer: Option<Field>, word: String) -> Option<Query> {
    if matches!(word.as_str(), "*" | "＊") {
        return Some(Query::All);
    }
    let named = word.split_once([':', '：']).and_then(|(name, rest)| Some((field(name)?, rest)));
    let (own, text) = match named {
        Some((field, rest)) => (Some(field), rest.to_owned()),
        None => (outer, word),
    };
    if let Some(start) = text.strip_suffix(['*', '＊']) {
        return leaf(own, start.to_owned(), How::Start);
    }
    match text.strip_suffix(['~', '～']) {
        Some(near) => leaf(own, near.to_owned(), How::Near),
        None => leaf(own, text, How::Word),
    }
}

/// A leaf, where there is a word in it.
fn leaf(field: Option<Field>, text: String, how: How) -> Option<Query> {
    text.chars().any(char::is_alphanumeric).then_some(Query::Leaf(Leaf { field, text, how }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Query {
        Query::Leaf(Leaf { field: None, text: text.into(), how: How::Word })
    }

    fn in_field(field: Field, text: &str) -> Query {
        Query::Leaf(Leaf { field: Some(field), text: text.into(), how: How::Word })
    }

    #[test]
    fn what_is_meant_is_read() {
        assert_eq!(Query::read("wind power"), Query::And(vec![word("wind"), word("power")]));
        assert_eq!(
            Query::read("a AND (b OR NOT c)"),
            Query::And(vec![
                word("a"),
                Query::Or(vec![word("b"), Query::Not(Box::new(word("c")))])
            ])
        );
        assert_eq!(Query::read("name:风电"), in_field(Field::Name, "风电"));
        let phrase = Leaf { field: Some(Field::Summary), text: "a b".into(), how: How::Phrase };
        assert_eq!(Query::read("summary:\"a b\""), Query::Leaf(phrase));
        let start = Leaf { field: None, text: "fore".into(), how: How::Start };
        assert_eq!(Query::read("fore*"), Query::Leaf(start));
        let near = Leaf { field: None, text: "forcast".into(), how: How::Near };
        assert_eq!(Query::read("forcast~"), Query::Leaf(near));
        assert_eq!(Query::read("风电，光伏"), Query::And(vec![word("风电"), word("光伏")]));
        assert_eq!(Query::read("label:site:XJJX"), in_field(Field::Labels, "site:XJJX"));
        assert_eq!(Query::read("power:curve"), word("power:curve"));
        assert_eq!(
            Query::read("name:(a b)"),
            Query::And(vec![in_field(Field::Name, "a"), in_field(Field::Name, "b")])
        );
        assert_eq!(Query::read("*"), Query::All);
        assert_eq!(Query::read("  "), Query::All);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for nothing in
            ["AND AND (", "!!!", "()", "OR", "NOT", "\"\"", "name:", "((((", "))))", "NOT )"]
        {
            assert_eq!(Query::read(nothing), Query::Nothing, "{nothing}");
        }
        for lenient in ["wind )", "( wind", "wind AND", "OR wind", "wind (", "wind,"] {
            assert_eq!(Query::read(lenient), word("wind"), "{lenient}");
        }
        let phrase = Leaf { field: None, text: "wind".into(), how: How::Phrase };
        assert_eq!(Query::read("\"wind"), Query::Leaf(phrase));
        let deep = format!("{}wind{}", "(".repeat(4000), ")".repeat(4000));
        assert_eq!(Query::read(&deep), word("wind"));
        assert_eq!(Query::read(&"NOT ".repeat(1000)), Query::Nothing);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_can_be_typed_is_an_error(text in "\\PC*") {
            Query::read(&text);
        }

        #[test]
        fn nor_is_any_order_of_signs(parts in proptest::collection::vec(
            proptest::sample::select(vec!["AND", "OR", "NOT", "(", ")", "\"", "name:", "*", "风", "x*", "x~", ","]), 0..40)) {
            Query::read(&parts.join(" "));
        }
    }
}
