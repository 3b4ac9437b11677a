//! Which type a column of texts or of JSON values has.

use super::super::cell::CellRef;
use super::super::schema::ColumnType;
use super::super::{error, time_text};

/// What one value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Look {
    /// Nothing stands there.
    Empty,
    /// A word for nothing, such as `NA`: nothing in a column of numbers, a text among texts.
    Absent,
    Int,
    Float,
    Bool,
    Zoned,
    Zoneless,
    Text,
}

/// Words for nothing, as R, pandas and databases write them.
const ABSENT: [&str; 9] = ["NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "-"];

/// What a text looks like.
pub(in super::super) fn look(text: &str) -> Look {
    let text = text.trim();
    let Some(first) = text.bytes().next() else {
        return Look::Empty;
    };
    if ABSENT.contains(&text) {
        return Look::Absent;
    }
    if first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.') {
        if text.parse::<i64>().is_ok() {
            return Look::Int;
        }
        if float(text).is_some() {
            return Look::Float;
        }
        return match time_text::parse(text) {
            Some(stamp) if stamp.zoned => Look::Zoned,
            Some(_) => Look::Zoneless,
            None => Look::Text,
        };
    }
    if truth(text).is_some() { Look::Bool } else { Look::Text }
}

/// A number with digits; the words `inf` and `nan` that Rust also reads are none.
fn float(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && text.bytes().any(|byte| byte.is_ascii_digit())).then_some(number)
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// How often each look was seen in a column.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Tally {
    ints: usize,
    floats: usize,
    bools: usize,
    zoned: usize,
    zoneless: usize,
    texts: usize,
}

/// What a column is: its type, and for times whether they name their zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Verdict {
    pub kind: ColumnType,
    pub zoned: bool,
}

impl Tally {
    pub(in super::super) fn add(&mut self, look: Look) {
        match look {
            Look::Empty | Look::Absent => {}
            Look::Int => self.ints += 1,
            Look::Float => self.floats += 1,
            Look::Bool => self.bools += 1,
            Look::Zoned => self.zoned += 1,
            Look::Zoneless => self.zoneless += 1,
            Look::Text => self.texts += 1,
        }
    }

    fn numbers(&self) -> usize {
        self.ints + self.floats
    }

    fn times(&self) -> usize {
        self.zoned + self.zoneless
    }

    fn verdict(&self, kind: ColumnType) -> Verdict {
        Verdict { kind, zoned: self.zoned >= self.zoneless }
    }

    fn numeric(&self) -> ColumnType {
        if self.floats == 0 { ColumnType::Int } else { ColumnType::Float }
    }

    /// The type of a column of texts: the one that all have, or nearly all, so that the few others
    /// are mistakes to be told rather than a reason to call everything text.
    pub(in super::super) fn of_texts(&self) -> Verdict {
        let total = self.numbers() + self.times() + self.bools + self.texts;
        let (most, kind) = [
            (self.numbers(), self.numeric()),
            (self.times(), ColumnType::Time),
            (self.bools, ColumnType::Bool),
        ]
        .into_iter()
        .max_by_key(|(count, _)| *count)
        .unwrap_or((0, ColumnType::Text));
        let kind = if most > 0 && nearly_all(most, total) { kind } else { ColumnType::Text };
        self.verdict(kind)
    }

    /// The type of a column of JSON values, which say themselves whether they are text.
    pub(in super::super) fn of_values(&self) -> Verdict {
        let strings = self.times() + self.texts;
        if strings >= self.numbers() && strings >= self.bools {
            let time = self.times() > 0 && nearly_all(self.times(), strings);
            self.verdict(if time { ColumnType::Time } else { ColumnType::Text })
        } else if self.numbers() >= self.bools {
            self.verdict(self.numeric())
        } else {
            self.verdict(ColumnType::Bool)
        }
    }

    pub(in super::super) fn as_time(&self) -> Verdict {
        self.verdict(ColumnType::Time)
    }
}

/// More than nine in ten; in a short table, where one is already a tenth, two in three.
fn nearly_all(count: usize, total: usize) -> bool {
    if total < 20 { count * 3 >= total * 2 } else { count * 10 > total * 9 }
}

/// The value of a text in a column of that type, or what is wrong with it.
pub(in super::super) fn read(text: &str, verdict: Verdict) -> Result<CellRef<'_>, String> {
    let bare = text.trim();
    if bare.is_empty() {
        return Ok(CellRef::Null);
    }
    if verdict.kind == ColumnType::Text {
        return Ok(CellRef::Text(text));
    }
    let found = match verdict.kind {
        ColumnType::Int => bare.parse().ok().map(CellRef::Int),
        ColumnType::Float => float(bare).map(CellRef::Float),
        ColumnType::Bool => truth(bare).map(CellRef::Bool),
        ColumnType::Time => return time(bare, verdict.zoned),
        ColumnType::Text => None,
    };
    match found {
        Some(cell) => Ok(cell),
        None if ABSENT.contains(&bare) => Ok(CellRef::Null),
        None => Err(format!("`{}` is not {}", error::short(bare), wanted(verdict.kind))),
    }
}

/// A time in a column whose times all name their zone, or all do not.
pub(in super::super) fn time(text: &str, zoned: bool) -> Result<CellRef<'static>, String> {
    let shown = error::short(text);
    match time_text::parse(text) {
        Some(stamp) if stamp.zoned == zoned => Ok(CellRef::Time(stamp.micros)),
        Some(_) if zoned => Err(format!(
            "`{shown}` has no time zone, and other rows have one: write Z or an offset in every row"
        )),
        Some(_) => Err(format!(
            "`{shown}` has a time zone, and other rows have none: write it in every row or in none"
        )),
        None if ABSENT.contains(&text) => Ok(CellRef::Null),
        None => Err(format!("`{shown}` is not a time")),
    }
}

fn wanted(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int | ColumnType::Float => "a number",
        ColumnType::Bool => "true or false",
        ColumnType::Time => "a time",
        ColumnType::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(values: &[&str]) -> ColumnType {
        let mut tally = Tally::default();
        for value in values {
            tally.add(look(value));
        }
        tally.of_texts().kind
    }

    #[test]
    fn a_column_is_the_narrowest_type_that_fits() {
        assert_eq!(verdict(&["1", "", "-2", "NA"]), ColumnType::Int);
        assert_eq!(verdict(&["1", "2.5e3", "+.5"]), ColumnType::Float);
        assert_eq!(verdict(&["true", "FALSE"]), ColumnType::Bool);
        assert_eq!(verdict(&["2014-01-01", "2014-01-01 01:00"]), ColumnType::Time);
        assert_eq!(verdict(&["R80711", "-", "7"]), ColumnType::Text);
        assert_eq!(verdict(&["inf", "Infinity"]), ColumnType::Text);
        assert_eq!(verdict(&["", "NA"]), ColumnType::Text);
        assert_eq!(verdict(&["99999999999999999999"]), ColumnType::Float);
    }

    #[test]
    fn a_few_strangers_do_not_make_a_column_text() {
        assert_eq!(verdict(&["1", "2", "x"]), ColumnType::Int);
        assert_eq!(verdict(&["1", "x"]), ColumnType::Text);
        let mut many = vec!["1.5"; 95];
        many.extend(["x"; 5]);
        assert_eq!(verdict(&many), ColumnType::Float);
        many.extend(["x"; 10]);
        assert_eq!(verdict(&many), ColumnType::Text);
    }
}
