//! Cron expressions in a time zone. Pure: no clock, no store.
//!
//! What an expression means when the clocks change:
//! - With an hour that begins with `*` every real hour fires: a repeated hour fires twice, a skipped
//!   one not at all, as Debian's cron has it.
//! - Anything else is a fixed time of the day. It fires once a day: a time that was skipped fires
//!   at the next instant there is, a time that came twice fires the first time.

mod expression;

use std::collections::VecDeque;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::kernel::clock::Time;
use crate::kernel::error::Fault;
use crate::kernel::name::nearest;

use expression::Expression;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: Expression,
    zone: Tz,
}

/// Reads the name of an IANA time zone.
pub fn parse_zone(name: &str) -> Result<Tz, Fault> {
    name.parse::<Tz>().map_err(|_unknown| {
        let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an IANA name such as `Europe/Paris` or `UTC`".to_owned(),
        };
        let shown: String = name.chars().take(60).collect();
        Fault::new("/timezone", format!("`{shown}` is no time zone: {hint}"))
    })
}

impl Cron {
    /// Reads an expression of five fields (minute first), of six (second first), or a word such as
    /// `@daily`. Weekdays count from Sunday as 0 or 7 in both, as in a crontab.
    pub fn parse(text: &str, zone: Tz) -> Result<Self, Vec<Fault>> {
        let expression = Expression::parse(text)?;
        let cron = Self { expression, zone };
        // An expression that never comes would be a schedule that silently does nothing.
        if cron.wall_after(DateTime::UNIX_EPOCH.naive_utc()).is_none() {
            let why = "it never comes: there is no such day";
            return Err(vec![Fault::new("/cron", why)]);
        }
        Ok(cron)
    }

    /// The first firing after `after`; none when there is none before the year 2100.
    pub fn next(&self, after: Time) -> Option<Time> {
        let after = floor(after);
        let next = if self.expression.every_real_hour {
            self.next_real(after)
        } else {
            self.next_fixed(after)
        };
        next.map(Time::from)
    }

    /// The firings in `(after, until]`, in order; of more than `most` the latest.
    pub fn latest(&self, after: Time, until: Time, most: usize) -> Vec<Time> {
        let mut width = std::time::Duration::from_mins(1);
        loop {
            // Looking back step by step finds the last firing of a rare schedule as cheaply as that
            // of one which fires every second.
            let wide = i64::try_from(width.as_micros()).unwrap_or(i64::MAX);
            let start = after.max(Time(until.0.saturating_sub(wide)));
            let found = self.last_in(start, until, most);
            if found.len() >= most || start <= after {
                return found.into();
            }
            width = width.saturating_mul(8);
        }
    }

    /// The same instant on the wall: RFC 3339 with the zone's offset.
    pub fn local(&self, at: Time) -> String {
        at.to_chrono().with_timezone(&self.zone).to_rfc3339()
    }

    fn last_in(&self, after: Time, until: Time, most: usize) -> VecDeque<Time> {
        let mut found = VecDeque::new();
        let mut at = after;
        while let Some(next) = self.next(at).filter(|next| *next <= until) {
            if found.len() >= most {
                found.pop_front();
            }
            found.push_back(next);
            at = next;
        }
        found
    }

    fn wall_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        self.expression.next(wall)
    }

    fn next_fixed(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut wall = self.wall(after);
        loop {
            wall = self.wall_after(wall)?;
            let at = self.instant(wall)?;
            if at > after {
                return Some(at);
            }
        }
    }

    fn next_real(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut from, mut wall) = (after, self.wall(after));
        loop {
            let candidate = self.wall_after(wall)?.checked_sub_signed(self.offset(from))?.and_utc();
            let Some(change) = self.first_change(from, candidate) else {
                return Some(candidate);
            };
            // From the change on the wall shows other times, its first one included.
            from = change;
            wall = self.wall(change) - Duration::seconds(1);
        }
    }

    fn offset(&self, at: DateTime<Utc>) -> Duration {
        let offset = self.zone.offset_from_utc_datetime(&at.naive_utc());
        Duration::seconds(i64::from(offset.fix().local_minus_utc()))
    }

    fn wall(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.naive_utc() + self.offset(at)
    }

    /// When the wall first shows `wall`, or the next instant when it never does.
    fn instant(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.zone.from_local_datetime(&wall) {
            LocalResult::Single(at) => Some(at.with_timezone(&Utc)),
            LocalResult::Ambiguous(one, other) => Some(one.min(other).with_timezone(&Utc)),
            LocalResult::None => {
                let day = Duration::days(1);
                let (low, high) = (wall.checked_sub_signed(day)?, wall.checked_add_signed(day)?);
                Some(first(low.and_utc(), high.and_utc(), |at| self.wall(at) > wall))
            }
        }
    }

    /// The first instant in `(from, to]` at which the zone's offset is another.
    fn first_change(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let offset = self.offset(from);
        let mut at = from;
        while at < to {
            let next = (at + Duration::hours(6)).min(to);
            if self.offset(next) != offset {
                return Some(first(at, next, |at| self.offset(at) != offset));
            }
            at = next;
        }
        None
    }
}

fn floor(at: Time) -> DateTime<Utc> {
    let seconds = at.0.div_euclid(1_000_000);
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// The first second in `(low, high]` for which `holds`, which is false at `low`, true at `high` and
/// changes once.
fn first(
    low: DateTime<Utc>,
    high: DateTime<Utc>,
    holds: impl Fn(DateTime<Utc>) -> bool,
) -> DateTime<Utc> {
    let (mut low, mut high) = (low, high);
    while high - low > Duration::seconds(1) {
        let middle = low + Duration::seconds((high - low).num_seconds() / 2);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, Timelike};
    use proptest::prelude::*;

    fn cron(text: &str, zone: &str) -> Cron {
        Cron::parse(text, parse_zone(zone).unwrap()).unwrap()
    }

    fn walk(cron: &Cron, from: &str, count: usize) -> Vec<String> {
        let mut at = Time::parse(from).unwrap();
        let mut seen = Vec::new();
        for _ in 0..count {
            at = cron.next(at).unwrap();
            seen.push(cron.local(at));
        }
        seen
    }

    #[test]
    fn a_fixed_time_that_is_skipped_fires_at_the_next_instant_and_once() {
        let daily = cron("30 2 * * *", "Europe/Paris");
        assert_eq!(
            walk(&daily, "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
        );
        // Skipped times that fall on the same instant, also on a time of their own, fire once.
        let often = cron("0,30 2,3 * * *", "Europe/Paris");
        assert_eq!(
            walk(&often, "2026-03-28T23:00:00Z", 3),
            ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00"]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_fires_the_first_time() {
        let daily = cron("30 2 * * *", "Europe/Paris");
        assert_eq!(
            walk(&daily, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
        );
        // Also when the question is asked within the repeated hour.
        assert_eq!(walk(&daily, "2026-10-25T01:10:00Z", 1), ["2026-10-26T02:30:00+01:00"]);
    }

    #[test]
    fn with_a_wildcard_hour_every_real_hour_fires() {
        let hourly = cron("0 * * * *", "Europe/Paris");
        assert_eq!(
            walk(&hourly, "2026-10-24T23:30:00Z", 4),
            [
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T03:00:00+01:00",
                "2026-10-25T04:00:00+01:00"
            ]
        );
        assert_eq!(
            walk(&hourly, "2026-03-29T00:00:00Z", 2),
            ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]
        );
        // An island that goes back by half an hour: half past one comes twice.
        let half = cron("*/30 * * * *", "Australia/Lord_Howe");
        assert_eq!(
            walk(&half, "2026-04-04T14:29:00Z", 3),
            ["2026-04-05T01:30:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30"]
        );
    }

    #[test]
    fn a_day_that_a_zone_left_out_fires_when_the_next_begins() {
        // Samoa went over the date line: 30 December 2011 never was.
        let noon = cron("0 12 * * *", "Pacific/Apia");
        assert_eq!(
            walk(&noon, "2011-12-29T23:00:00Z", 3),
            ["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00", "2012-01-01T12:00:00+14:00"]
        );
    }

    #[test]
    fn the_latest_firings_are_found_without_walking_through_all() {
        let every_second = cron("* * * * * *", "UTC");
        let until = Time::parse("2026-06-01T00:00:00Z").unwrap();
        let long_ago = Time::parse("2001-01-01").unwrap();
        let last = every_second.latest(long_ago, until, 3);
        assert_eq!(
            last.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "2026-05-31T23:59:58.000000Z",
                "2026-05-31T23:59:59.000000Z",
                "2026-06-01T00:00:00.000000Z"
            ]
        );
        let leap = cron("0 0 29 2 *", "UTC").latest(long_ago, until, 2);
        assert_eq!(leap.iter().map(|at| at.to_chrono().year()).collect::<Vec<_>>(), [2020, 2024]);
        assert!(every_second.latest(until, until, 3).is_empty());
    }

    #[test]
    fn an_unknown_zone_is_refused_with_a_suggestion() {
        assert!(parse_zone("Europe/Pariss").unwrap_err().detail.contains("Europe/Paris"));
        assert!(parse_zone("nowhere at all").unwrap_err().detail.contains("IANA"));
        let never = Cron::parse("0 0 31 2 *", Tz::UTC).unwrap_err();
        assert!(never[0].detail.contains("never"));
    }

    proptest! {
        // The walk and a look at every single minute find the same firings.
        #[test]
        fn firings_equal_a_look_at_every_minute(
            minute in 0_u32..60, hour in 0_u32..24, weekday in 0_u32..7, start in 0_i64..400,
        ) {
            let text = format!("{minute} {hour} * * {weekday}");
            let cron = cron(&text, "UTC");
            let from = Time(1_767_225_600_000_000 + start * 86_400_000_000);
            let next = cron.next(from).unwrap();
            let mut at = from.to_chrono() + Duration::minutes(1);
            while (at.minute(), at.hour(), at.weekday().num_days_from_sunday())
                != (minute, hour, weekday)
            {
                at += Duration::minutes(1);
            }
            prop_assert_eq!(next, Time::from(at));
        }
    }
}
