//! Channels, grants, quotas and rates, as people write and read them.

use std::fmt;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use crate::kernel::fields::Fields;
use crate::kernel::{Name, Result, Time};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
        #[serde(rename_all = "lowercase")]
        #[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
        pub enum $type {
            $($(#[$variant_doc])* $variant),+
        }

        impl $type {
            /// Reads the word.
            pub fn parse(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(error::no_such_word($what, other, &[$($word),+])),
                }
            }

            /// The word.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words!(
    /// What a quota counts.
    Unit, "unit",
    /// Days of data: the distinct days in UTC that the requested range touches. A range within one
    /// day is one. Where a bound is missing or the answer is cut, the days of the rows answered.
    Days = "days",
    /// Rows answered.
    Rows = "rows",
    /// Bytes of the answer's body.
    Bytes = "bytes",
    /// Answers.
    Requests = "requests"
);

words!(
    /// How long a quota lasts before it is new again. Days and months are those of UTC.
    Period, "period",
    /// A day.
    Day = "day",
    /// A month.
    Month = "month",
    /// For ever.
    Total = "total"
);

/// So many requests in a stretch of time, as in `10/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how many seconds.
    pub seconds: u32,
}

impl Rate {
    /// Reads `10/s`, `600/m`, `1000/h` or `5000/d`.
    pub fn parse(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let seconds = match unit.trim() {
                "s" => 1,
                "m" | "min" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            let count =
                count.trim().parse::<u32>().ok().filter(|count| (1..=1_000_000).contains(count))?;
            Some(Self { count, seconds })
        });
        parsed.ok_or_else(|| error::bad_rate(text))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.seconds {
            1 => "s",
            60 => "m",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// What a channel shares, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSpec {
    /// The dataset: `scada@2014`, or `scada` for the latest version at each request.
    pub dataset: Option<String>,
    /// Or a query over datasets.
    pub sql: Option<String>,
    /// The column that `start` and `end` cut.
    pub time_column: Option<String>,
    /// The column that `entity` picks from.
    pub entity_column: Option<String>,
    /// The columns that are shared, besides those two; every one when none are named.
    pub columns: Option<Vec<String>>,
    /// What quotas of this channel count unless they say otherwise.
    pub unit: Unit,
    /// How often each user may ask.
    pub rate: Option<Rate>,
    /// How many requests may come at once.
    pub burst: Option<u32>,
}

/// What an answer has and a body may repeat.
const ANSWERED: &[&str] = &["group", "name", "revision", "created_at", "updated_at", "saved_by"];

impl ChannelSpec {
    /// Reads a body; names every fault in it.
    pub fn read(body: Value) -> Result<Self> {
        let mut fields = Fields::of(body)?.ignore(ANSWERED);
        let spec = Self {
            dataset: fields.text("dataset"),
            sql: fields.text("sql"),
            time_column: fields.text("time_column"),
            entity_column: fields.text("entity_column"),
            columns: fields.texts("columns"),
            unit: fields.parsed("unit", Unit::parse).unwrap_or(Unit::Rows),
            rate: fields.parsed("rate", Rate::parse),
            burst: burst(&mut fields),
        };
        if spec.dataset.is_some() == spec.sql.is_some() {
            fields.fault("dataset", "give either `dataset` or `sql`, exactly one of them");
        }
        if spec.unit == Unit::Days && spec.time_column.is_none() {
            fields.fault("time_column", "is needed where the unit is days");
        }
        if spec.burst.is_some() && spec.rate.is_none() {
            fields.fault("burst", "needs a `rate` beside it");
        }
        if spec.columns.as_ref().is_some_and(Vec::is_empty) {
            fields.fault("columns", "is empty: leave it out to share every column");
        }
        fields.finish("bad_channel", "the channel")?;
        Ok(spec)
    }
}

fn burst(fields: &mut Fields) -> Option<u32> {
    let burst = fields.whole("burst")?;
    match u32::try_from(burst) {
        Ok(burst) if (1..=1_000_000).contains(&burst) => Some(burst),
        _ => {
            fields.fault("burst", "is a number from 1 to 1000000");
            None
        }
    }
}

/// A channel as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Channel {
    /// The group.
    pub group: String,
    /// The name within the group.
    pub name: String,
    /// The dataset, where it shares one.
    pub dataset: Option<String>,
    /// The query, where it shares one.
    pub sql: Option<String>,
    /// The column of times.
    pub time_column: Option<String>,
    /// The column of entities.
    pub entity_column: Option<String>,
    /// The columns that are shared besides; every one when none are named.
    pub columns: Option<Vec<String>>,
    /// What quotas count unless they say otherwise.
    pub unit: Unit,
    /// How often each user may ask.
    pub rate: Option<String>,
    /// How many requests may come at once.
    pub burst: Option<u32>,
    /// How often it was changed.
    pub revision: u64,
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// When it was changed last.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_at: Time,
    /// Who changed it last.
    pub saved_by: String,
}

/// What a user may see of a channel, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantSpec {
    /// Only these columns, besides time and entity.
    pub columns: Option<Vec<String>>,
    /// Only rows from this time on.
    pub from: Option<Time>,
    /// Only rows before this time.
    pub to: Option<Time>,
}

impl GrantSpec {
    /// Reads a body; names every fault in it. An empty body grants everything.
    pub fn read(body: Value) -> Result<Self> {
        let known = ["channel", "user", "revision", "granted_at", "granted_by"];
        let mut fields = Fields::of(body)?.ignore(&known);
        let spec = Self {
            columns: fields.texts("columns"),
            from: fields.parsed("from", Time::parse),
            to: fields.parsed("to", Time::parse),
        };
        if let (Some(from), Some(to)) = (spec.from, spec.to)
            && from >= to
        {
            fields.fault("from", "must be before `to`");
        }
        if spec.columns.as_ref().is_some_and(Vec::is_empty) {
            fields.fault("columns", "is empty: leave it out to grant every column");
        }
        fields.finish("bad_grant", "the grant")?;
        Ok(spec)
    }
}

/// A grant as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Grant {
    /// The channel: `group/name`.
    pub channel: String,
    /// Who may read it.
    pub user: String,
    /// Only these columns, besides time and entity.
    pub columns: Option<Vec<String>>,
    /// Only rows from this time on.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub from: Option<Time>,
    /// Only rows before this time.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub to: Option<Time>,
    /// When it was granted.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub granted_at: Time,
    /// By whom.
    pub granted_by: String,
}

/// A quota as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaSpec {
    /// The channel's group.
    pub group: Name,
    /// The channel's name.
    pub name: Name,
    /// What is counted; the channel's unit when none is named.
    pub unit: Option<Unit>,
    /// How much may be used in a period.
    pub limit: u64,
    /// The period; a day when none is named.
    pub period: Period,
}

/// Beyond this a JSON number is not read alike everywhere.
const LARGEST_LIMIT: u64 = i64::MAX as u64;

impl QuotaSpec {
    /// Reads a body; names every fault in it.
    pub fn read(body: Value) -> Result<Self> {
        let mut fields =
            Fields::of(body)?.ignore(&["user", "used", "remaining", "resets_at", "revision"]);
        let channel = fields.must_text("channel").and_then(|text| match split_channel(&text) {
            Ok(channel) => Some(channel),
            Err(error) => {
                fields.fault("channel", error.detail().to_owned());
                None
            }
        });
        let unit = fields.parsed("unit", Unit::parse);
        let period = fields.parsed("period", Period::parse).unwrap_or(Period::Day);
        let limit = limit(&mut fields);
        match (channel, limit) {
            (Some((group, name)), Some(limit)) => {
                fields.finish("bad_quota", "the quota")?;
                Ok(Self { group, name, unit, limit, period })
            }
            _ => Err(error::bad_quota(fields.into_faults())),
        }
    }
}

fn limit(fields: &mut Fields) -> Option<u64> {
    match fields.take("limit") {
        None => {
            fields.fault("limit", "is missing");
            None
        }
        Some(value) => match value.as_u64() {
            Some(limit) if limit <= LARGEST_LIMIT => Some(limit),
            _ => {
                fields.fault("limit", format!("is a whole number from 0 to {LARGEST_LIMIT}"));
                None
            }
        },
    }
}

/// Reads `group/name`.
pub(super) fn split_channel(text: &str) -> Result<(Name, Name)> {
    let (group, name) = text.split_once('/').ok_or_else(|| error::bad_channel_name(text))?;
    Ok((Name::new(group)?, Name::new(name)?))
}

/// A quota and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct QuotaState {
    /// The channel: `group/name`.
    pub channel: String,
    /// What is counted.
    pub unit: Unit,
    /// How much may be used in a period.
    pub limit: u64,
    /// The period.
    pub period: Period,
    /// How much was used in this one.
    pub used: u64,
    /// How much is left of it.
    pub remaining: u64,
    /// When the next one begins; never for a total.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub resets_at: Option<Time>,
}

/// What a user used of a channel on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Used {
    /// The channel: `group/name`.
    pub channel: String,
    /// The day in UTC: `2014-03-30`.
    pub day: String,
    /// Answers.
    pub requests: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Days of data.
    pub days: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(error: &crate::kernel::Error) -> Vec<&str> {
        error.faults().iter().map(|fault| fault.pointer.as_str()).collect()
    }

    #[test]
    fn rates_are_read_and_written() {
        for text in ["10/s", "600/m", "1000/h", "5/d"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "10", "0/s", "-1/s", "10/week", "99999999999/s", "1.5/s"] {
            assert_eq!(Rate::parse(wrong).unwrap_err().code(), "bad_rate", "{wrong}");
        }
    }

    #[test]
    fn a_channel_names_every_fault() {
        let body = json!({"dataset": "a", "sql": "select 1", "unit": "weeks", "rate": "x", "burst": 0, "colums": []});
        let error = ChannelSpec::read(body).unwrap_err();
        assert_eq!(pointers(&error), ["/unit", "/rate", "/burst", "/dataset", "/colums"]);
        let error = ChannelSpec::read(json!({"dataset": "a", "unit": "days"})).unwrap_err();
        assert_eq!(pointers(&error), ["/time_column"]);
    }

    #[test]
    fn a_quota_is_a_whole_number_that_fits() {
        let quota =
            |limit: Value| QuotaSpec::read(json!({"channel": "wind/scada", "limit": limit}));
        assert_eq!(quota(json!(0)).unwrap().limit, 0);
        assert_eq!(quota(json!(i64::MAX)).unwrap().limit, LARGEST_LIMIT);
        for wrong in [json!(-1), json!(1.5), json!(1e30), json!(u64::MAX), json!("10"), json!(null)]
        {
            assert_eq!(pointers(&quota(wrong).unwrap_err()), ["/limit"]);
        }
        let error = QuotaSpec::read(json!({"channel": "wind", "period": "week"})).unwrap_err();
        assert_eq!(pointers(&error), ["/channel", "/period", "/limit"]);
    }
}
