//! How a table is scanned, as SQLite's planner decides it and carries it to the cursor.

use rusqlite::vtab::IndexConstraintOp;

/// A comparison that a scan can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    OneOf,
    Above,
    From,
    Below,
    To,
}

impl Op {
    const ALL: [(Self, char); 6] = [
        (Self::Equal, '='),
        (Self::OneOf, 'i'),
        (Self::Above, '>'),
        (Self::From, 'g'),
        (Self::Below, '<'),
        (Self::To, 'l'),
    ];

    pub(super) fn of(op: &IndexConstraintOp) -> Option<Self> {
        match op {
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Self::Equal),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Self::Above),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Self::From),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Self::Below),
            IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Self::To),
            _ => None,
        }
    }

    fn letter(self) -> char {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or('?', |(_, letter)| *letter)
    }

    fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == letter).map(|(op, _)| *op)
    }
}

/// How a table is scanned: the columns, the comparisons in the order of their values, and the order
/// of the rows. It travels through SQLite as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub columns: u64,
    pub terms: Vec<(usize, Op)>,
    pub order: Option<(usize, bool)>,
}

impl Shape {
    pub(super) fn encode(&self) -> String {
        let terms: Vec<_> =
            self.terms.iter().map(|(column, op)| format!("{column}{}", op.letter())).collect();
        let order = self.order.map_or_else(String::new, |(column, down)| {
            format!("{column}{}", if down { '-' } else { '+' })
        });
        format!("{:x}|{}|{order}", self.columns, terms.join(","))
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let columns = u64::from_str_radix(parts.next()?, 16).ok()?;
        let term = |term: &str| {
            let letter = term.chars().next_back()?;
            let column = term.strip_suffix(letter)?.parse().ok()?;
            Some((column, Op::from_letter(letter)?))
        };
        let terms = parts.next()?.split(',').filter(|term| !term.is_empty());
        let terms = terms.map(term).collect::<Option<Vec<_>>>()?;
        let order = match parts.next()? {
            "" => None,
            order => {
                let letter = order.chars().next_back()?;
                Some((order.strip_suffix(letter)?.parse().ok()?, letter == '-'))
            }
        };
        Some(Self { columns, terms, order })
    }

    pub(super) fn uses(&self, column: usize) -> bool {
        // The last bit stands for every further column.
        self.columns & (1_u64 << column.min(63)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_survives_its_journey() {
        for shape in [
            Shape::default(),
            Shape {
                columns: u64::MAX,
                terms: vec![(0, Op::Equal), (12, Op::OneOf), (3, Op::To)],
                order: Some((7, true)),
            },
        ] {
            assert_eq!(Shape::decode(&shape.encode()), Some(shape));
        }
        for wrong in ["", "1", "x||", "1|=|", "1|1?|", "1||+"] {
            assert_eq!(Shape::decode(wrong), None, "{wrong}");
        }
    }
}
