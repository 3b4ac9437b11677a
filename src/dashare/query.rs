//! A request for data, read from the parameters after the `?`.

use super::error;
use crate::kernel::name::nearest;
use crate::kernel::table::Format;
use crate::kernel::{Digest, Error, Fault, Result, Time};

const KNOWN: &[&str] = &["entity", "start", "end", "columns", "limit", "format", "cursor"];

/// What is asked of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataQuery {
    /// Only these entities; every one when none are named.
    pub entities: Vec<String>,
    /// Only rows from this time on.
    pub start: Option<Time>,
    /// Only rows before this time.
    pub end: Option<Time>,
    /// Only these columns besides time and entity.
    pub columns: Option<Vec<String>>,
    /// At most so many rows.
    pub limit: Option<usize>,
    /// How the rows are written.
    pub format: Format,
    /// Where an answer that was cut goes on.
    pub cursor: Option<String>,
}

impl Default for DataQuery {
    fn default() -> Self {
        Self {
            entities: Vec::new(),
            start: None,
            end: None,
            columns: None,
            limit: None,
            format: Format::Json,
            cursor: None,
        }
    }
}

impl DataQuery {
    /// Reads parameters; names every fault in them. `entity` and `columns` may come more than once
    /// or with commas; anything that is not known is a fault, for a mistyped `start` would open
    /// everything.
    pub fn read(params: &[(String, String)]) -> Result<Self> {
        let mut query = Self::default();
        let mut faults = Vec::new();
        for (name, value) in params {
            if let Err(fault) = query.set(name, value) {
                faults.push(fault);
            }
        }
        if let (Some(start), Some(end)) = (query.start, query.end)
            && start >= end
        {
            faults.push(Fault::new("start", "must be before `end`"));
        }
        if faults.is_empty() { Ok(query) } else { Err(error::bad_data_query(faults)) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        let told = |error: Error| Fault::new(name, error.detail());
        match name {
            "entity" => self.entities.extend(listed(value)),
            "start" => self.start = Some(time(value).map_err(told)?),
            "end" => self.end = Some(time(value).map_err(told)?),
            "columns" => self.columns.get_or_insert_default().extend(listed(value)),
            "limit" => {
                let limit = value.parse::<usize>().ok().filter(|limit| *limit > 0);
                self.limit = Some(limit.ok_or_else(|| {
                    Fault::new(name, format!("is a number from 1 on, not `{}`", short(value)))
                })?);
            }
            "format" => self.format = Format::from_name(value).map_err(told)?,
            "cursor" => self.cursor = Some(value.to_owned()).filter(|cursor| !cursor.is_empty()),
            other => {
                let hint = nearest(other, KNOWN.iter().copied())
                    .map_or_else(|| KNOWN.join(", "), |near| format!("did you mean `{near}`?"));
                return Err(Fault::new(short(other), format!("is not known here: {hint}")));
            }
        }
        Ok(())
    }

    /// A text that is the same for requests that a cursor may go on with.
    fn fingerprint(&self, channel: &str, user: &str, rows: u64) -> String {
        format!(
            "{channel}\n{user}\n{rows}\n{:?}\n{:?}\n{:?}\n{:?}",
            self.entities, self.start, self.end, self.columns
        )
    }

    /// The cursor that goes on after `offset` rows of this request.
    pub(super) fn cursor_at(&self, offset: usize, channel: &str, user: &str, rows: u64) -> String {
        let check =
            Digest::of(format!("{offset}\n{}", self.fingerprint(channel, user, rows)).as_bytes());
        let check: String = check.to_hex().chars().take(16).collect();
        format!("{offset}-{check}")
    }

    /// How many rows the cursor says were answered before. A cursor of another request, or of data
    /// that have changed, is refused.
    pub(super) fn offset(&self, channel: &str, user: &str, rows: u64) -> Result<usize> {
        let Some(cursor) = &self.cursor else {
            return Ok(0);
        };
        let offset = cursor
            .split_once('-')
            .and_then(|(offset, _)| offset.parse::<usize>().ok())
            .ok_or_else(error::bad_cursor)?;
        if self.cursor_at(offset, channel, user, rows) == *cursor {
            Ok(offset)
        } else {
            Err(error::bad_cursor())
        }
    }
}

/// A time. The `+` of an offset that was not encoded arrives as a space: `…00:00 01:00`.
fn time(text: &str) -> Result<Time> {
    Time::parse(text).or_else(|error| match text.rsplit_once(' ') {
        Some((before, offset)) if before.contains(':') => {
            Time::parse(&format!("{before}+{offset}")).map_err(|_again| error)
        }
        _ => Err(error),
    })
}

fn listed(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned)
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(params: &[(&str, &str)]) -> Result<DataQuery> {
        let params: Vec<_> =
            params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DataQuery::read(&params)
    }

    #[test]
    fn parameters_are_read_with_commas_and_offsets() {
        let query = read(&[
            ("entity", "R80711,R80721"),
            ("entity", "R80736"),
            ("start", "2014-01-01T01:00:00 01:00"),
            ("end", "2014-01-02"),
            ("columns", "P_avg, Ws_avg"),
            ("limit", "10"),
            ("format", "csv"),
        ])
        .unwrap();
        assert_eq!(query.entities, ["R80711", "R80721", "R80736"]);
        assert_eq!(query.start, Some(Time::parse("2014-01-01").unwrap()));
        assert_eq!(query.columns.unwrap(), ["P_avg", "Ws_avg"]);
        assert_eq!((query.limit, query.format), (Some(10), Format::Csv));
    }

    #[test]
    fn every_fault_is_named() {
        let error = read(&[
            ("start", "tomorrow"),
            ("limit", "0"),
            ("format", "xlsx"),
            ("strat", "2014-01-01"),
        ])
        .unwrap_err();
        let at: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(at, ["start", "limit", "format", "strat"]);
        assert!(error.faults()[3].detail.contains("`start`"));
        let error = read(&[("start", "2014-01-02"), ("end", "2014-01-02")]).unwrap_err();
        assert_eq!(error.faults()[0].pointer, "start");
    }

    #[test]
    fn a_cursor_belongs_to_its_request() {
        let first = read(&[("entity", "R80711")]).unwrap();
        let cursor = first.cursor_at(7, "wind/scada", "ada", 100);
        let next = DataQuery { cursor: Some(cursor), limit: Some(3), ..first };
        assert_eq!(next.offset("wind/scada", "ada", 100).unwrap(), 7);
        for (channel, user, rows) in
            [("wind/other", "ada", 100), ("wind/scada", "bob", 100), ("wind/scada", "ada", 101)]
        {
            assert_eq!(next.offset(channel, user, rows).unwrap_err().code(), "bad_cursor");
        }
        for made_up in ["", "7", "7-abc", "x-y", "99999999999999999999-0"] {
            let made_up = DataQuery { cursor: Some(made_up.to_owned()), ..next.clone() };
            assert!(made_up.offset("wind/scada", "ada", 100).is_err());
        }
    }
}
