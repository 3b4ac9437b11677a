//! Time, in one place: a [`Clock`] that tests can set, and [`Time`], microseconds since 1970 in
//! UTC, written as RFC 3339 with six decimals.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bincode::{Decode, Encode};
use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{Error, Kind, Result};

/// A point in time: microseconds since 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Time(pub i64);

impl Time {
    /// Reads RFC 3339. A text without a zone is taken as UTC; a bare date is its midnight.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.with_timezone(&Utc).into());
        }
        for shape in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
            if let Ok(time) = chrono::NaiveDateTime::parse_from_str(text, shape) {
                return Ok(time.and_utc().into());
            }
        }
        if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%:z") {
            return Ok(time.with_timezone(&Utc).into());
        }
        if let Some(midnight) = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|date| date.and_hms_opt(0, 0, 0))
        {
            return Ok(midnight.and_utc().into());
        }
        Err(Error::new(
            Kind::Malformed,
            "bad_time",
            format!("`{text}` is not a time: write RFC 3339, such as 2014-03-30T01:00:00Z"),
        ))
    }

    /// The same point as a `chrono` value; the far past where it lies outside chrono's years.
    pub fn to_chrono(self) -> DateTime<Utc> {
        Utc.timestamp_micros(self.0).single().unwrap_or_default()
    }

    /// ISO 8601 without a zone, as Drip 0.1 wrote times; in UTC.
    pub fn without_zone(self) -> String {
        self.to_chrono().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
    }

    /// This time moved by `by`.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; nothing when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Time {
        Utc::now().into()
    }
}

/// A clock that stands still until it is moved: for tests, and for planning ahead.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `time`.
    pub fn at(time: Time) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time.0)))
    }

    /// Puts the hands at `time`, forward or back.
    pub fn set(&self, time: Time) {
        self.0.store(time.0, Ordering::SeqCst);
    }

    /// Moves the hands forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

/// Reads a duration as people write it: `15s`, `10m`, `12h`, `90d`, `250ms`.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        "w" => Some(7 * 86_400_000_u64),
        _ => None,
    };
    let millis = number.parse::<u64>().ok().zip(scale_ms).and_then(|(n, s)| n.checked_mul(s));
    millis.map(Duration::from_millis).ok_or_else(|| {
        Error::new(
            Kind::Malformed,
            "bad_duration",
            format!(
                "`{text}` is not a duration: write a number and ms, s, m, h, d or w, such as 15s"
            ),
        )
    })
}

/// Writes a duration the way [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (scale, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms >= scale && ms.is_multiple_of(scale) {
            return format!("{}{unit}", ms / scale);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_usual_shape_and_written_in_one() {
        let same = "2014-03-30T01:00:00.000000Z";
        for text in [
            "2014-03-30T01:00:00Z",
            "2014-03-30T03:00:00+02:00",
            "2014-03-30 01:00:00",
            "2014-03-30 03:00:00+02:00",
        ] {
            assert_eq!(Time::parse(text).unwrap().to_string(), same, "{text}");
        }
        assert_eq!(Time::parse("2014-03-30").unwrap().to_string(), "2014-03-30T00:00:00.000000Z");
        assert!(Time::parse("yesterday").is_err());
    }

    #[test]
    fn durations_go_both_ways() {
        for text in ["15s", "10m", "12h", "90d", "250ms"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for wrong in ["", "s", "10", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
