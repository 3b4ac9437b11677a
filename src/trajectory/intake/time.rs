//! Times as clients write them: RFC 3339, or a number of seconds, milliseconds, microseconds or
//! nanoseconds since 1970, told apart by its size.

use super::super::scalar::Scalar;
use crate::kernel::clock::Time;

/// The years 1 to 9999, in microseconds.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// A time as a client sent it.
pub(crate) fn time_from(value: &Scalar<'_>) -> Result<Time, String> {
    let time = match value {
        Scalar::Text(text) => time_from_text(text),
        Scalar::Int(whole) => time_from_whole(*whole),
        Scalar::Float(number) => time_from_float(*number),
        _ => None,
    };
    time.ok_or_else(|| {
        let shown: String = value.shown().chars().take(40).collect();
        format!("`time` is RFC 3339, or a number of seconds, ms, µs or ns since 1970, in the years 1 to 9999, not {shown}")
    })
}

/// A time as RFC 3339 or as a number.
pub(crate) fn time_from_text(text: &str) -> Option<Time> {
    if let Some(time) = plain(text.as_bytes()) {
        return Some(time);
    }
    let text = text.trim();
    if let Ok(whole) = text.parse() {
        return time_from_whole(whole);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && let Ok(number) = text.parse()
    {
        return time_from_float(number);
    }
    Time::parse(text).ok().filter(|time| TIMES.contains(&time.0))
}

/// The shape that nearly all clients send, `2014-03-30T01:00:00.123456Z`, read by hand; none for
/// anything else.
fn plain(text: &[u8]) -> Option<Time> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0_i64, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let sign = |at: usize, sign: u8| (text.get(at) == Some(&sign)).then_some(());
    let (body, fraction) = (19, text.len().checked_sub(20)?);
    sign(4, b'-')?;
    sign(7, b'-')?;
    sign(10, b'T')?;
    sign(13, b':')?;
    sign(16, b':')?;
    sign(text.len() - 1, b'Z')?;
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let micros = match fraction {
        0 => 0,
        2..=7 => {
            sign(body, b'.')?;
            let digits = u32::try_from(fraction - 1).ok()?;
            number(body + 1, body + fraction)? * 10_i64.pow(6 - digits)
        }
        _ => return None,
    };
    let whole = year >= 1 && day >= 1 && day <= days_of(year, month)?;
    if !whole || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Time(seconds * 1_000_000 + micros))
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    })
}

/// Days since 1970 of a date of the Gregorian calendar; its year begins in March, so that the leap
/// day is its last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The size tells the unit: seconds up to the year 5138, milliseconds and microseconds as far.
pub(crate) fn time_from_whole(number: i64) -> Option<Time> {
    let micros = match number.unsigned_abs() {
        0..100_000_000_000 => number.checked_mul(1_000_000),
        100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000),
        100_000_000_000_000..100_000_000_000_000_000 => Some(number),
        _ => Some(number.div_euclid(1_000)),
    };
    micros.filter(|micros| TIMES.contains(micros)).map(Time)
}

/// Nanoseconds since 1970.
#[cfg(feature = "http")]
pub(crate) fn time_from_nanos(nanos: u64) -> Option<Time> {
    i64::try_from(nanos / 1000).ok().map(Time).filter(|time| is_possible(*time))
}

/// Whether a time lies in the years 1 to 9999.
#[cfg(feature = "http")]
pub(crate) fn is_possible(time: Time) -> bool {
    TIMES.contains(&time.0)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn time_from_float(number: f64) -> Option<Time> {
    let size = number.abs();
    let micros = if size < 1e11 {
        number * 1e6
    } else if size < 1e14 {
        number * 1e3
    } else if size < 1e17 {
        number
    } else {
        number / 1e3
    };
    (micros.abs() < 1e18)
        .then(|| Time(micros.round() as i64))
        .filter(|time| TIMES.contains(&time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Result<Time, String> {
        time_from(&Scalar::of(value))
    }

    #[test]
    fn times_are_read_in_every_unit() {
        let want = Some(Time(1_400_000_000_000_000));
        for text in [
            "1400000000",
            "1400000000000",
            "1400000000000000",
            "1400000000000000000",
            "1400000000.0",
            "2014-05-13T16:53:20Z",
            "2014-05-13T16:53:20.000Z",
            "2014-05-13T16:53:20.000000000Z",
            "2014-05-13T18:53:20+02:00",
        ] {
            assert_eq!(time_from_text(text), want, "{text}");
            if let Ok(number) = text.parse::<i64>() {
                assert_eq!(read(&json!(number)).ok(), want);
            }
        }
        assert!(read(&json!("0001-01-01T00:00:00Z")).is_ok());
        assert!(read(&json!("9999-12-31T23:59:59Z")).is_ok());
        for wrong in [
            json!("yesterday"),
            json!("2014-02-30T00:00:00Z"),
            json!("2014-13-01T00:00:00Z"),
            json!("2014-01-01T24:00:00Z"),
            json!("0000-01-01T00:00:00Z"),
            json!(true),
            json!(1e300),
            json!([1]),
            json!(-9_000_000_000_000_i64 * 10_000),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_plain_shape_is_read_as_the_kernel_reads_it(micros in TIMES) {
            let text = Time(micros).to_string();
            prop_assert_eq!(plain(text.as_bytes()), Some(Time(micros)), "{}", text);
        }

        #[test]
        fn any_text_is_read_as_before_or_not_at_all(text in "[0-9T:.Z+-]{0,30}") {
            if let Some(time) = plain(text.as_bytes()) {
                prop_assert_eq!(Time::parse(&text).ok(), Some(time), "{}", text);
            }
        }
    }
}
