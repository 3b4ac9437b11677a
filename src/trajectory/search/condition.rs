//! What a field must be: equal, different, like a pattern, or on one side of a bound.

use std::cmp::Ordering;

use serde_json::Value;

use super::super::scalar::Scalar;
use super::super::tokens::field_hash;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    /// Not equal, or not there.
    Different,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// One condition on one field; a dot in its name leads inwards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) name: String,
    op: Op,
    wanted: String,
    number: Option<f64>,
    /// The pieces between the stars, where there are any.
    pieces: Option<Vec<String>>,
}

impl Condition {
    /// Reads a parameter: its name behind `field.`, with the sign at its end, and its value.
    /// `temp>` and `30` is `temp>=30`; `temp>30` and nothing is that.
    pub(crate) fn read(name: &str, value: &str) -> Option<Self> {
        let signs = [("!", Op::Different), (">", Op::AtLeast), ("<", Op::AtMost)];
        let strict = [(">", Op::More), ("<", Op::Less)];
        let (name, op, wanted) = if let Some((name, op)) =
            signs.iter().find_map(|(sign, op)| Some((name.strip_suffix(sign)?, *op)))
        {
            (name, op, value)
        } else if let Some((name, op, bound)) = strict
            .iter()
            .filter(|_| value.is_empty())
            .find_map(|(sign, op)| name.split_once(sign).map(|(name, bound)| (name, *op, bound)))
        {
            (name, op, bound)
        } else {
            (name, Op::Equal, value)
        };
        if name.is_empty() {
            return None;
        }
        let is_pattern = matches!(op, Op::Equal | Op::Different);
        let pieces = if is_pattern { pieces(wanted) } else { None };
        let wanted = match &pieces {
            // A star that was written `\*` is one.
            Some(pieces) if pieces.len() == 1 => pieces.concat(),
            _ => wanted.to_owned(),
        };
        Some(Self {
            name: name.to_owned(),
            op,
            number: wanted.trim().parse().ok(),
            wanted,
            pieces: pieces.filter(|pieces| pieces.len() > 1),
        })
    }

    /// A field by its name, whatever signs are in it.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            op: Op::Equal,
            wanted: String::new(),
            number: None,
            pieces: None,
        }
    }

    /// Whether a record with this value has what is wanted.
    pub(crate) fn holds(&self, value: Option<&Scalar<'_>>) -> bool {
        let Some(value) = value else { return self.op == Op::Different };
        match self.op {
            Op::Equal => self.is_like(&value.shown()),
            Op::Different => !self.is_like(&value.shown()),
            Op::Less => self.compare(value).is_some_and(Ordering::is_lt),
            Op::AtMost => self.compare(value).is_some_and(Ordering::is_le),
            Op::More => self.compare(value).is_some_and(Ordering::is_gt),
            Op::AtLeast => self.compare(value).is_some_and(Ordering::is_ge),
        }
    }

    fn is_like(&self, shown: &str) -> bool {
        match &self.pieces {
            None => shown == self.wanted,
            Some(pieces) => is_like(shown, pieces),
        }
    }

    /// Numbers are compared as numbers, also where a text holds one; else texts as texts.
    #[expect(clippy::cast_precision_loss, reason = "a bound on a number is no exact thing")]
    fn compare(&self, value: &Scalar<'_>) -> Option<Ordering> {
        let number = match value {
            Scalar::Int(number) => Some(*number as f64),
            Scalar::Uint(number) => Some(*number as f64),
            Scalar::Float(number) => Some(*number),
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => return None,
        };
        match (number, self.number, value) {
            (Some(number), Some(wanted), _) => number.partial_cmp(&wanted),
            (None, None, Scalar::Text(text)) => Some(text.as_ref().cmp(&self.wanted)),
            _ => None,
        }
    }

    /// The hash that a block must hold where a record in it is to have this value under this very
    /// name, and whether it is that of an integer; none where no hash tells.
    pub(crate) fn hash(&self) -> Option<(u64, bool)> {
        if self.op != Op::Equal || self.pieces.is_some() {
            return None;
        }
        let is_int = self.wanted.parse::<i64>().is_ok();
        // What is shown of a number with a point is in no filter.
        (is_int || self.number.is_none()).then(|| (field_hash(&self.name, &self.wanted), is_int))
    }

    /// The names of the fields that may lead to it: `a`, `a.b` for `a.b.c`.
    pub(crate) fn outer_names(&self) -> impl Iterator<Item = &str> {
        self.name.match_indices('.').filter_map(|(dot, _)| self.name.get(..dot))
    }

    /// The value that a record has for it, given how to ask for a field by its whole name.
    pub(crate) fn value_of<'v>(
        &self,
        get: &dyn Fn(&str) -> Option<Scalar<'v>>,
    ) -> Option<Scalar<'v>> {
        if let Some(value) = get(&self.name) {
            return Some(value);
        }
        self.outer_names().find_map(|outer| match get(outer) {
            Some(Scalar::Json(text)) => {
                let inner = self.name.get(outer.len() + 1..)?;
                inside(&serde_json::from_str(&text).ok()?, inner)
            }
            _ => None,
        })
    }
}

fn inside(value: &Value, name: &str) -> Option<Scalar<'static>> {
    if let Some(found) = value.get(name) {
        return Some(Scalar::of(found).into_owned());
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (outer, inner) = (name.get(..dot)?, name.get(dot + 1..)?);
        inside(value.get(outer)?, inner)
    })
}

/// What stands between the stars of a pattern; none where it has neither a star nor a `\*`.
fn pieces(pattern: &str) -> Option<Vec<String>> {
    if !pattern.contains('*') {
        return None;
    }
    let mut pieces = vec![String::new()];
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '*' => {
                pieces.push(String::new());
                continue;
            }
            '\\' if chars.peek() == Some(&'*') => chars.next().unwrap_or('*'),
            other => other,
        };
        if let Some(last) = pieces.last_mut() {
            last.push(c);
        }
    }
    Some(pieces)
}

fn is_like(text: &str, pieces: &[String]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(name: &str, value: &str, of: &Value) -> bool {
        let condition = Condition::read(name, value).unwrap();
        let get = |name: &str| of.get(name).map(|found| Scalar::of(found).into_owned());
        condition.holds(condition.value_of(&get).as_ref())
    }

    #[test]
    fn fields_are_compared_by_every_sign() {
        let of = json!({"t": 30, "f": 2.5, "s": "R80711", "n": "17", "a": {"b": {"c": 1}}, "x.y": 4, "star": "a*b"});
        for (name, value, expected) in [
            ("t", "30", true),
            ("t", "31", false),
            ("t!", "31", true),
            ("t!", "30", false),
            ("none!", "1", true),
            ("t>", "30", true),
            ("t>30", "", false),
            ("t>29.5", "", true),
            ("t<", "30", true),
            ("t<30", "", false),
            ("f<", "2.5", true),
            ("f", "2.5", true),
            ("n>", "9", true),
            ("s>", "R8", true),
            ("s>", "5", false),
            ("none>", "1", false),
            ("s", "R807*", true),
            ("s", "*11", true),
            ("s", "R*7*1", true),
            ("s", "*12*", false),
            ("s!", "R9*", true),
            ("a.b.c", "1", true),
            ("a.b", "{\"c\":1}", true),
            ("x.y", "4", true),
            ("star", "a\\*b", true),
            ("star", "a*", true),
            ("s", "a\\*b", false),
            ("s", "*", true),
        ] {
            assert_eq!(holds(name, value, &of), expected, "{name} {value}");
        }
        assert!(Condition::read("", "1").is_none() && Condition::read("!", "1").is_none());
        assert!(!is_like("ab", &["ab".into(), "b".into()]), "pieces do not overlap");
    }
}
