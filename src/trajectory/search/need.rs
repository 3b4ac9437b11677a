//! What a block must hold for a text to be found in it, as far as its filter can tell.
//!
//! A filter knows whole tokens. Of a text that may stand inside a word, the first and the last piece
//! may be parts of longer tokens: only what has a delimiter on both sides is asked for.

use super::super::tokens::inner_tokens;
use super::text::{Expr, literals_of};

/// See the module's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Every one of these hashes; none of them is asked where there are none.
    All(Vec<u64>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Need {
    pub(crate) fn of(expr: &Expr) -> Self {
        match expr {
            // A word begins where a token begins, and a whole one ends where a token ends.
            Expr::Word { lower, whole } => Self::All(inner_tokens(lower, (false, !whole))),
            Expr::Text(text) => Self::All(inner_tokens(text, (true, true))),
            Expr::Regex(regex) => Self::All(
                literals_of(regex.as_str())
                    .iter()
                    .flat_map(|literal| inner_tokens(literal, (true, true)))
                    .collect(),
            ),
            Expr::Not(_) => Self::All(Vec::new()),
            Expr::And(all) => Self::And(all.iter().map(Self::of).collect()),
            Expr::Or(any) => Self::Or(any.iter().map(Self::of).collect()),
        }
    }

    /// Whether a block may hold it, given how to ask for one hash.
    pub(crate) fn is_met<E>(
        &self,
        holds: &mut dyn FnMut(u64) -> Result<bool, E>,
    ) -> Result<bool, E> {
        match self {
            Self::All(hashes) => all(hashes, &mut |hash| holds(*hash)),
            Self::And(needs) => all(needs, &mut |need| need.is_met(holds)),
            Self::Or(needs) => {
                for need in needs {
                    if need.is_met(holds)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn all<T, E>(items: &[T], is: &mut dyn FnMut(&T) -> Result<bool, E>) -> Result<bool, E> {
    for item in items {
        if !is(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::super::tokens::each_token;
    use super::super::text;
    use super::*;
    use std::collections::HashSet;

    fn may(query: &str, message: &str) -> bool {
        let mut there = HashSet::new();
        each_token(message, |hash| {
            there.insert(hash);
        });
        let need = Need::of(&text::parse(query).unwrap().unwrap());
        need.is_met::<()>(&mut |hash| Ok(there.contains(&hash))).unwrap()
    }

    #[test]
    fn what_may_stand_inside_a_word_is_not_asked_for() {
        assert!(may("\"Exception\"", "java.io.IOException"));
        assert!(may("\"read failed\"", "unread failedly"));
        assert!(
            !may("\"a read failed\"", "a write failed")
                && may("\"a read failed\"", "a read failed")
        );
        assert!(
            may("/conn\\w+ from/", "reconnected from")
                && !may("/x ab y/", "x y")
                && may("/x (ab) y/", "x y")
        );
        assert!(may("err*", "errors") && !may("error", "errors") && may("error", "An ERROR"));
        assert!(
            may("NOT a", "a") && !may("a AND b", "a") && may("a OR b", "b") && !may("a OR b", "c")
        );
        assert!(may("风机", "风机停机") && !may("风机", "风"));
    }
}
