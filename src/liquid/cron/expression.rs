//! The text of a cron expression, in the words of a crontab, brought into those of the `cron` crate:
//! it wants a second in front, counts weekdays from Sunday as 1, and asks for the day of the month
//! *and* the weekday where a crontab asks for either.

use std::str::FromStr;

use chrono::{NaiveDateTime, Utc};
use cron::Schedule;

use crate::kernel::error::Fault;
use crate::kernel::name::nearest;

const FIELDS: [&str; 6] = ["second", "minute", "hour", "day of month", "month", "weekday"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The longest expression that is read.
const LONGEST: usize = 256;

/// An expression that was read: the wall times it stands for are those of any of `either`.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    either: Vec<Schedule>,
    /// Whether the hour began with `*`.
    pub(super) every_real_hour: bool,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let whole = |why: String| vec![Fault::new("/cron", why)];
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(whole(format!("is longer than {LONGEST} bytes")));
        }
        let text = if text.starts_with('@') { word(text).map_err(whole)? } else { text };
        let given: Vec<&str> = text.split_whitespace().collect();
        let fields: [&str; 6] = match given.as_slice() {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => {
                [second, minute, hour, day, month, weekday]
            }
            other => {
                let count = other.len();
                return Err(whole(format!(
                    "has {count} fields: write five (minute hour day month weekday), six with the \
                     second first, or a word such as @daily"
                )));
            }
        };
        let fields = check(fields)?;
        let [second, minute, hour, day, month, weekday] = &fields;
        let schedule = |day: &str, weekday: &str| {
            Schedule::from_str(&format!("{second} {minute} {hour} {day} {month} {weekday}"))
                .map_err(|error| whole(error.to_string()))
        };
        let either = if is_any(day) || is_any(weekday) {
            vec![schedule(day, weekday)?]
        } else {
            vec![schedule(day, "*")?, schedule("*", weekday)?]
        };
        Ok(Self { either, every_real_hour: hour.starts_with('*') })
    }

    /// The first wall time after `wall`.
    pub(super) fn next(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let wall = wall.and_utc();
        let next = |schedule: &Schedule| schedule.after::<Utc>(&wall).next();
        self.either.iter().filter_map(next).min().map(|at| at.naive_utc())
    }
}

fn is_any(field: &str) -> bool {
    field.starts_with('*')
}

fn word(text: &str) -> Result<&'static str, String> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, meaning)) = WORDS.iter().find(|(word, _)| *word == lower) {
        return Ok(meaning);
    }
    if lower == "@reboot" {
        return Err("`@reboot` is not supported: a schedule has times".into());
    }
    let known = WORDS.map(|(word, _)| word);
    let hint = nearest(&lower, known).map_or_else(
        || format!("use {}", known.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(format!("`{text}` is no word for a time: {hint}"))
}

/// Checks every field alone, so that each wrong one is named; answers them in the crate's words.
fn check(fields: [&str; 6]) -> Result<[String; 6], Vec<Fault>> {
    let mut faults = Vec::new();
    let mut out = fields.map(|field| field.replace('?', "*"));
    for (index, field) in out.iter_mut().enumerate() {
        let name = FIELDS.get(index).copied().unwrap_or_default();
        let read = if name == "weekday" { weekdays(field) } else { alone(index, field) };
        match read {
            Ok(text) => *field = text,
            Err(why) => {
                faults.push(Fault::new("/cron", format!("the {name} `{field}` {why}")));
            }
        }
    }
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

fn alone(index: usize, field: &str) -> Result<String, String> {
    if let Some(letter) = field.chars().find(|c| "LWC#".contains(c.to_ascii_uppercase()))
        && index == 3
    {
        return Err(format!("has `{letter}`, which is not supported"));
    }
    if field.split(['/', ',', '-']).any(str::is_empty) {
        return Err("has an empty part".into());
    }
    if field.split(',').any(|item| item.rsplit_once('/').is_some_and(|(_, step)| is_zero(step))) {
        return Err("has a step of 0".into());
    }
    let mut probe = ["0", "0", "0", "*", "*", "*"];
    if let Some(place) = probe.get_mut(index) {
        *place = field;
    }
    let range = match index {
        0 | 1 => "0 to 59",
        2 => "0 to 23",
        3 => "1 to 31",
        _ => "1 to 12, or a name such as JAN",
    };
    match Schedule::from_str(&probe.join(" ")) {
        Ok(_) => Ok(field.to_owned()),
        Err(_why) => Err(format!("is not {range}, a list, a range or a step of these")),
    }
}

fn is_zero(number: &str) -> bool {
    !number.is_empty() && number.bytes().all(|digit| digit == b'0')
}

/// A weekday field as a list of names, which every counting agrees on.
fn weekdays(field: &str) -> Result<String, String> {
    if field == "*" {
        return Ok("*".into());
    }
    let mut on = [false; 7];
    for item in field.split(',') {
        for day in item_days(item)? {
            if let Some(flag) = on.get_mut(day % 7) {
                *flag = true;
            }
        }
    }
    if on == [true; 7] {
        return Ok("*".into());
    }
    let names = DAYS.iter().zip(on).filter(|(_, on)| *on).map(|(name, _)| *name);
    Ok(names.collect::<Vec<_>>().join(","))
}

fn item_days(item: &str) -> Result<Vec<usize>, String> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(number(step)?)),
        None => (item, None),
    };
    if step == Some(0) {
        return Err("has a step of 0".into());
    }
    let (low, high) = match range.split_once('-') {
        _ if range == "*" => (0, 6),
        Some((low, high)) => (day(low)?, day(high)?),
        None if step.is_some() => (day(range)?, 6),
        None => (day(range)?, day(range)?),
    };
    // Sunday is 0 and 7, so `sat-sun` goes over the end of the week.
    let high = if high == 0 && low > 0 { 7 } else { high };
    if low > high {
        return Err(format!("has the range `{range}`, which ends before it begins"));
    }
    Ok((low..=high).step_by(step.unwrap_or(1)).collect())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_bad| format!("has `{text}` where a number is expected"))
}

fn day(text: &str) -> Result<usize, String> {
    let upper = text.to_ascii_uppercase();
    if let Some(found) = DAYS.iter().position(|name| upper == *name) {
        return Ok(found);
    }
    match text.parse() {
        Ok(day) if day <= 7 => Ok(day),
        _ => Err(format!("has `{text}`: a weekday is 0 to 7 (0 and 7 are Sunday) or SUN to SAT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_count_as_in_a_crontab() {
        for (given, days) in [
            ("0", "SUN"),
            ("7", "SUN"),
            ("1-5", "MON,TUE,WED,THU,FRI"),
            ("5-7", "SUN,FRI,SAT"),
            ("sat-sun", "SUN,SAT"),
            ("*/2", "SUN,TUE,THU,SAT"),
            ("mon,WED", "MON,WED"),
            ("0-6", "*"),
        ] {
            assert_eq!(weekdays(given).unwrap(), days, "{given}");
        }
        for wrong in ["8", "1-", "-1", "FRI-MON", "MONDAY", "*/0", "", "5#2", "L"] {
            assert!(weekdays(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_and_a_weekday_mean_either() {
        // The 13th, and every Friday, as a crontab has it.
        let either = Expression::parse("0 0 13 * 5").unwrap();
        let start = NaiveDateTime::parse_from_str("2026-02-09 00:00:00", "%Y-%m-%d %H:%M:%S");
        let mut at = start.unwrap();
        let mut days = Vec::new();
        for _ in 0..4 {
            at = either.next(at).unwrap();
            days.push(at.format("%m-%d").to_string());
        }
        assert_eq!(days, ["02-13", "02-20", "02-27", "03-06"]);
    }

    #[test]
    fn words_and_six_fields_are_read() {
        for good in [
            "@daily",
            "@Hourly",
            "*/5 * * * *",
            "30 */5 * * * *",
            "0 0 1 jan-mar ?",
            "5/15 * * * *",
        ] {
            assert!(Expression::parse(good).is_ok(), "{good}");
        }
        assert!(Expression::parse("0 * * * *").unwrap().every_real_hour);
        assert!(Expression::parse("@hourly").unwrap().every_real_hour);
        assert!(!Expression::parse("0 2 * * *").unwrap().every_real_hour);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let faults = Expression::parse("61 25 32 13 9").unwrap_err();
        let said: Vec<_> = faults.iter().map(|fault| fault.detail.as_str()).collect();
        assert_eq!(said.len(), 5, "{said:?}");
        for (fault, name) in said.iter().zip(["minute", "hour", "day", "month", "weekday"]) {
            assert!(fault.contains(name), "{fault}");
        }
        for wrong in [
            "",
            "* * * *",
            "* * * * * * *",
            "@reboot",
            "@dayly",
            "a b c d e",
            "0 0 L * *",
            "*/0 * * * *",
            "1,,2 * * * *",
            &"9".repeat(1000),
        ] {
            assert!(Expression::parse(wrong).is_err(), "{wrong}");
        }
    }
}
