//! Which cards a command is about.

use clap::Args;

use crate::fiche::store::{Filter, Span};
use crate::kernel::clock::{Clock as _, SystemClock, parse_duration};
use crate::kernel::{Error, Fault, Kind, Result, Time};

/// Which cards.
#[derive(Debug, Args)]
pub struct Only {
    /// Only cards in this stage; more than once for several
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
    /// Only cards with this label; more than once for several
    #[arg(long = "label", value_name = "KEY:VALUE")]
    labels: Vec<String>,
    /// Only cards changed since: a time, a date, or how long ago, such as 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only cards last changed before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only cards first made since
    #[arg(long, value_name = "TIME")]
    created_since: Option<String>,
    /// Only cards first made before this time
    #[arg(long, value_name = "TIME")]
    created_until: Option<String>,
}

impl Only {
    pub(super) fn filter(self, kinds: &[String], name: Option<String>) -> Result<Filter> {
        let now = SystemClock.now();
        Ok(Filter {
            kinds: kinds.iter().map(|kind| kind.parse()).collect::<Result<_>>()?,
            name,
            stages: self.stages.iter().map(|stage| stage.parse()).collect::<Result<_>>()?,
            labels: self.labels,
            updated: Span {
                from: time("since", self.since.as_deref(), now)?,
                until: time("until", self.until.as_deref(), now)?,
            },
            created: Span {
                from: time("created-since", self.created_since.as_deref(), now)?,
                until: time("created-until", self.created_until.as_deref(), now)?,
            },
        })
    }
}

/// A time, or how long before `now` it was.
fn time(flag: &str, given: Option<&str>, now: Time) -> Result<Option<Time>> {
    let Some(text) = given else {
        return Ok(None);
    };
    if let Ok(time) = Time::parse(text) {
        return Ok(Some(time));
    }
    let Ok(ago) = parse_duration(text) else {
        let why = format!("`{text}` is no time: write 2026-01-31, RFC 3339, or how long ago: 7d");
        return Err(Error::new(Kind::Usage, "bad_time", format!("--{flag}: {why}"))
            .with_faults([Fault::new(flag, why)]));
    };
    let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
    Ok(Some(Time(now.0.saturating_sub(micros))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        let now = Time::parse("2026-03-08T12:00:00Z").unwrap();
        let read = |text| time("since", Some(text), now).unwrap().unwrap().to_string();
        assert_eq!(read("2026-03-01"), "2026-03-01T00:00:00.000000Z");
        assert_eq!(read("7d"), "2026-03-01T12:00:00.000000Z");
        let refused = time("since", Some("yesterday"), now).unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("bad_time", Kind::Usage));
    }
}
