//! Times as text, read and written by the million: the shapes that CSV files use, and the one
//! canonical shape that leaves, `2014-01-01T00:00:00.000000Z`.

use super::super::clock::Time;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;
const SECOND: i64 = 1_000_000;

/// A time that was read, and whether the text said which zone it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub micros: i64,
    pub zoned: bool,
}

/// Reads a date or a time, year first. What has no zone is taken as UTC; `None` is not a time.
pub(super) fn parse(text: &str) -> Option<Stamp> {
    Scanner::new(text).stamp(false)
}

/// As [`parse`], and also the beginnings `2014`, `2014-03` and `2014-03-01T05`, which stand for their
/// first moment.
pub(super) fn parse_partial(text: &str) -> Option<i64> {
    Scanner::new(text).stamp(true).map(|stamp| stamp.micros)
}

/// Reads only the canonical shape.
pub(super) fn parse_canonical(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 27
        && bytes.get(10) == Some(&b'T')
        && bytes.get(19) == Some(&b'.')
        && bytes.get(26) == Some(&b'Z');
    if shaped { parse(text).map(|stamp| stamp.micros) } else { None }
}

struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.trim().as_bytes())
    }

    fn stamp(mut self, partial: bool) -> Option<Stamp> {
        let date = self.date(partial)?;
        if self.0.is_empty() {
            return Some(Stamp { micros: date, zoned: false });
        }
        if !self.eat(b"Tt ") {
            return None;
        }
        let clock = self.clock(partial)?;
        while self.eat(b" ") {}
        let offset = self.zone()?;
        let micros = date.checked_add(clock)?.checked_sub(offset.unwrap_or(0))?;
        Some(Stamp { micros, zoned: offset.is_some() })
    }

    /// Year, month and day. With slashes the month and the day may have one digit.
    fn date(&mut self, partial: bool) -> Option<i64> {
        let year = self.digits(4, 4)?;
        let slashes = self.0.first() == Some(&b'/');
        if !self.eat(b"-/") {
            return (partial && self.0.is_empty()).then(|| date_micros(year, 1, 1)).flatten();
        }
        let least = if slashes { 1 } else { 2 };
        let month = self.digits(least, 2)?;
        if partial && self.0.is_empty() {
            return date_micros(year, month, 1);
        }
        if !self.eat(if slashes { b"/" } else { b"-" }) {
            return None;
        }
        let day = self.digits(least, 2)?;
        date_micros(year, month, day)
    }

    fn clock(&mut self, partial: bool) -> Option<i64> {
        let hour = self.digits(1, 2)?;
        if partial && self.0.is_empty() && hour < 24 {
            return Some(hour * HOUR);
        }
        if !self.eat(b":") {
            return None;
        }
        let minute = self.digits(2, 2)?;
        let second = if self.eat(b":") { self.digits(2, 2)? } else { 0 };
        let fraction = if self.eat(b".,") { self.fraction()? } else { 0 };
        let valid = hour < 24 && minute < 60 && second < 60;
        valid.then_some(hour * HOUR + minute * MINUTE + second * SECOND + fraction)
    }

    /// Decimals of a second, cut to microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let (mut micros, mut scale, mut count) = (0, 100_000, 0);
        while let Some(digit) = self.digit() {
            micros += digit * scale;
            scale /= 10;
            count += 1;
        }
        (1..=12).contains(&count).then_some(micros)
    }

    /// The offset from UTC; inside, nothing where the text ends without one.
    #[expect(clippy::option_option, reason = "no zone at all is not the same as a bad one")]
    fn zone(&mut self) -> Option<Option<i64>> {
        if self.0.is_empty() {
            return Some(None);
        }
        if self.0.eq_ignore_ascii_case(b"z") || self.0.eq_ignore_ascii_case(b"utc") {
            return Some(Some(0));
        }
        let west = self.0.first() == Some(&b'-');
        if !self.eat(b"+-") {
            return None;
        }
        let hours = self.digits(2, 2)?;
        let colon = self.eat(b":");
        let minutes = if self.0.is_empty() && !colon { 0 } else { self.digits(2, 2)? };
        let offset = hours * HOUR + minutes * MINUTE;
        let valid = self.0.is_empty() && hours < 24 && minutes < 60;
        valid.then_some(Some(if west { -offset } else { offset }))
    }

    fn eat(&mut self, any: &[u8]) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if any.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        first.is_ascii_digit().then(|| {
            self.0 = rest;
            i64::from(first - b'0')
        })
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let (mut number, mut count) = (0, 0);
        while count < most {
            let Some(digit) = self.digit() else { break };
            number = number * 10 + digit;
            count += 1;
        }
        (count >= least).then_some(number)
    }
}

fn date_micros(year: i64, month: i64, day: i64) -> Option<i64> {
    let valid = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    valid.then(|| days_since_1970(year, month, day) * DAY)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from a date of the Gregorian calendar, counted in eras of 400 years that begin in March, so
/// that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Hands the canonical text of a time to `then`, without an allocation for years of four digits.
pub(super) fn with_text<R>(micros: i64, then: impl FnOnce(&str) -> R) -> R {
    let (year, month, day) = date_of(micros.div_euclid(DAY));
    if !(0..=9_999).contains(&year) {
        return then(&Time(micros).to_string());
    }
    let of_day = micros.rem_euclid(DAY);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let parts = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, of_day / HOUR),
        (14, 2, of_day / MINUTE % 60),
        (17, 2, of_day / SECOND % 60),
        (20, 6, of_day % SECOND),
    ];
    for (at, width, mut number) in parts {
        for place in text.iter_mut().skip(at).take(width).rev() {
            *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    }
    then(std::str::from_utf8(&text).unwrap_or_default())
}

/// The canonical text of a time.
pub(super) fn to_text(micros: i64) -> String {
    with_text(micros, str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn the_usual_shapes_are_read_with_their_zone() {
        let same = "2014-03-30T01:00:00.000000Z";
        for (text, zoned) in [
            ("2014-03-30T01:00:00Z", true),
            ("2014-03-30T03:00:00+02:00", true),
            ("2014-03-29 20:00:00-0500", true),
            ("2014-03-30 03:00:00.000 +02", true),
            ("2014-03-30 01:00 UTC", true),
            ("2014-03-30 01:00:00", false),
            ("2014/3/30 1:00", false),
            ("2014-03-30T01:00:00,000000999", false),
        ] {
            let stamp = parse(text).unwrap();
            assert_eq!((to_text(stamp.micros).as_str(), stamp.zoned), (same, zoned), "{text}");
        }
        assert_eq!(to_text(parse("2014-02-28").unwrap().micros), "2014-02-28T00:00:00.000000Z");
    }

    #[test]
    fn what_is_not_a_time_is_not_guessed() {
        for wrong in [
            "",
            "R80736",
            "2014",
            "2014-03",
            "20140330",
            "2014-02-29",
            "2014-13-01",
            "2014-3-1",
            "2014-03-30T24:00:00Z",
            "2014-03-30T01:60",
            "2014-03-30T01:00:00+25:00",
            "30/03/2014",
            "2014-03-30T01:00:00Zulu",
            "2014-03-30T01:00:00.",
            "2014-03-30T",
            "1.5",
            "-2014-03-30",
            "2014-03-30T01:00:00+01:",
            "2014-03/30",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn beginnings_of_a_time_stand_for_their_first_moment() {
        assert_eq!(parse_partial("2014").map(to_text).unwrap(), "2014-01-01T00:00:00.000000Z");
        assert_eq!(parse_partial("2014-03").map(to_text).unwrap(), "2014-03-01T00:00:00.000000Z");
        assert_eq!(
            parse_partial("2014-03-02T05").map(to_text).unwrap(),
            "2014-03-02T05:00:00.000000Z"
        );
        assert_eq!(parse_partial("R80736"), None);
    }

    proptest! {
        #[test]
        fn every_time_reads_back_as_it_was_written(micros in -62_000_000_000_000_000_i64..253_000_000_000_000_000) {
            let text = to_text(micros);
            prop_assert_eq!(parse(&text), Some(Stamp { micros, zoned: true }));
            prop_assert_eq!(parse_canonical(&text), Some(micros));
            prop_assert_eq!(Time::parse(&text).unwrap(), Time(micros));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}", digits in "[0-9TZ:+. /-]{0,32}") {
            let _any = (parse(&text), parse_partial(&digits), parse(&digits));
        }
    }
}
