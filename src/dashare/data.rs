//! A request for data, answered: found, cut, written, charged, in this order. Nothing leaves before
//! it was charged, and nothing is charged that cannot be answered.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::channels::{missing, plain_sql};
use super::error;
use super::format::{Amounts, ChannelRow};
use super::meter::{day_number, days_between};
use super::model::{GrantSpec, QuotaState};
use super::query::DataQuery;
use super::rate::RateState;
use super::{Dashare, may_ask};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::table::write::{chunks, to_bytes};
use crate::kernel::table::{Cell, Format, Scan, SqlTable, Table};
use crate::kernel::{Error, Fault, Result, Time};

/// An answer that was charged and may be sent.
#[derive(Debug)]
pub struct Answer {
    /// The rows, written.
    pub body: Vec<u8>,
    /// How they are written.
    pub format: Format,
    /// How many there are.
    pub rows: usize,
    /// Where it goes on; none when this is all.
    pub next_cursor: Option<String>,
    /// How the quota stands after this, where there is one.
    pub quota: Option<QuotaState>,
    /// How the rate stands, where there is one.
    pub rate: Option<RateState>,
}

/// What of a channel a caller asked for and may see.
struct Cut {
    columns: Vec<String>,
    start: Option<Time>,
    end: Option<Time>,
}

impl Dashare {
    /// Answers a request for data of a channel.
    pub fn data(
        &self,
        caller: &Caller,
        (group, name): (&str, &str),
        query: &DataQuery,
    ) -> Result<Answer> {
        may_ask(caller)?;
        let channel = format!("{group}/{name}");
        let grant = self.must_see(caller, group, name)?;
        let kept = self.kept(group, name)?.ok_or_else(|| error::no_channel(&channel))?.row;
        let rate = match kept.rate {
            Some(rate) => self.inner.rates.ask(&channel, &caller.name, rate, kept.burst)?,
            None => None,
        };
        let rows = self.cut_sql(&kept, query, grant.as_ref())?;
        let rows = match rows {
            Some(rows) => rows,
            None => self.rows_of(&kept)?.ok_or_else(|| gone(&channel, &kept))?,
        };
        let cut = cut(&channel, &kept, rows.as_ref(), query, grant.as_ref())?;
        let total = rows.rows();
        let offset = query.offset(&channel, &caller.name, total)?;
        let (table, more) = self.read(rows.as_ref(), &kept, query, &cut, offset)?;
        let next_cursor =
            more.then(|| query.cursor_at(offset + table.rows(), &channel, &caller.name, total));
        let body = self.write(&table, query.format, next_cursor.as_deref())?;
        let whole = !more && query.cursor.is_none();
        let cost = Amounts {
            days: days(&table, &kept, &cut, whole)?,
            rows: table.rows() as u64,
            bytes: body.len() as u64,
            requests: 1,
        };
        let quota = self.inner.meter.charge(&caller.name, (group, name), cost)?;
        let rows = table.rows();
        Ok(Answer { body, format: query.format, rows, next_cursor, quota, rate })
    }

    /// The rows that a channel shares, to be scanned; none when its dataset is gone.
    pub(super) fn rows_of(&self, channel: &ChannelRow) -> Result<Option<Arc<dyn SqlTable>>> {
        match (&channel.dataset, &channel.sql) {
            (Some(dataset), _) => self.source().open(dataset),
            (None, Some(sql)) => {
                let table = self.source().sql(sql, &Value::Null, self.config().max_rows)?;
                Ok(Some(Arc::new(table)))
            }
            (None, None) => Ok(None),
        }
    }

    /// The rows of a channel over SQL, with the range put into the query so that the database need
    /// not answer what is not asked for.
    fn cut_sql(
        &self,
        channel: &ChannelRow,
        query: &DataQuery,
        grant: Option<&GrantSpec>,
    ) -> Result<Option<Arc<dyn SqlTable>>> {
        let (Some(sql), Some(column)) = (&channel.sql, &channel.time_column) else {
            return Ok(None);
        };
        let (start, end) = range(query, grant);
        let column = column.replace('"', "\"\"");
        let mut conditions = Vec::new();
        let mut params = Vec::new();
        for (bound, sign) in [(start, ">="), (end, "<")] {
            if let Some(bound) = bound {
                conditions.push(format!("\"{column}\" {sign} ?"));
                params.push(json!(bound));
            }
        }
        if conditions.is_empty() {
            return Ok(None);
        }
        // The line break ends a comment that the query may end with.
        let sql = plain_sql(sql);
        let sql = format!("SELECT * FROM (\n{sql}\n) WHERE {}", conditions.join(" AND "));
        let rows = self.source().sql(&sql, &Value::Array(params), self.config().max_rows)?;
        Ok(Some(Arc::new(rows)))
    }

    /// The rows of the answer, and whether there are more.
    fn read(
        &self,
        rows: &dyn SqlTable,
        channel: &ChannelRow,
        query: &DataQuery,
        cut: &Cut,
        offset: usize,
    ) -> Result<(Table, bool)> {
        let most = self.config().max_rows;
        // One row more than is answered tells whether there are more.
        let limit = query.limit.unwrap_or(usize::MAX).min(most);
        let mut scan = Scan::all().columns(cut.columns.clone()).offset(offset).limit(limit + 1);
        if let Some(column) = &channel.time_column {
            scan = scan.time(column, cut.start, cut.end);
        }
        if let Some(column) = &channel.entity_column
            && !query.entities.is_empty()
        {
            scan = scan.entity(column, query.entities.iter().map(|name| Cell::from(name.as_str())));
        }
        let table = rows.scan(&scan)?.collect_table()?;
        let more = table.rows() > limit;
        if more && query.limit.is_none_or(|wanted| wanted > most) {
            return Err(error::too_large("rows", most));
        }
        let table = if more { table.slice(0, limit)? } else { table };
        Ok((table, more))
    }

    /// Writes an answer, unless it grows too large.
    fn write(&self, table: &Table, format: Format, next_cursor: Option<&str>) -> Result<Vec<u8>> {
        let most = self.config().max_answer;
        let mut body = Vec::new();
        for piece in chunks(format, table.batches_of(&Scan::all())?)? {
            body.extend_from_slice(&piece?);
            if body.len() as u64 > most {
                return Err(error::too_large("bytes", most));
            }
        }
        if format == Format::Json {
            // The document ends with the brace that the cursor goes in front of.
            if body.pop() != Some(b'}') {
                return Err(Error::internal("a JSON answer that does not end as one"));
            }
            body.extend_from_slice(format!(",\"next_cursor\":{}}}", json!(next_cursor)).as_bytes());
        }
        Ok(body)
    }

    /// Answers a query over datasets, written in a format. For viewers and above.
    pub fn sql(
        &self,
        caller: &Caller,
        query: &str,
        params: &Value,
        format: Format,
    ) -> Result<Vec<u8>> {
        caller.must(Needs::Read(super::MODULE))?;
        let table = self.source().sql(query, params, self.config().max_rows)?;
        let body = to_bytes(&table, format)?;
        if body.len() as u64 > self.config().max_answer {
            return Err(error::too_large("bytes", self.config().max_answer));
        }
        Ok(body)
    }
}

fn gone(channel: &str, kept: &ChannelRow) -> Error {
    error::dataset_gone(channel, kept.dataset.as_deref().unwrap_or_default())
}

/// The range that is asked for, within the one that was granted.
fn range(query: &DataQuery, grant: Option<&GrantSpec>) -> (Option<Time>, Option<Time>) {
    let from = grant.and_then(|grant| grant.from);
    let to = grant.and_then(|grant| grant.to);
    let start = match (query.start, from) {
        (Some(start), Some(from)) => Some(start.max(from)),
        (start, from) => start.or(from),
    };
    let end = match (query.end, to) {
        (Some(end), Some(to)) => Some(end.min(to)),
        (end, to) => end.or(to),
    };
    (start, end)
}

/// Which columns and times are answered; names every fault of the request.
fn cut(
    channel: &str,
    kept: &ChannelRow,
    rows: &dyn SqlTable,
    query: &DataQuery,
    grant: Option<&GrantSpec>,
) -> Result<Cut> {
    let mut faults = Vec::new();
    if kept.time_column.is_none() {
        for (name, bound) in [("start", query.start), ("end", query.end)] {
            if bound.is_some() {
                faults.push(Fault::new(name, "the channel has no time column to cut by"));
            }
        }
    }
    if kept.entity_column.is_none() && !query.entities.is_empty() {
        faults.push(Fault::new("entity", "the channel has no entity column to pick from"));
    }
    let there = rows.columns();
    let always: Vec<&String> = kept.time_column.iter().chain(&kept.entity_column).collect();
    let granted = grant.and_then(|grant| grant.columns.as_ref());
    let visible: Vec<_> = there
        .iter()
        .filter(|column| {
            let shared = kept.columns.as_ref().is_none_or(|shared| shared.contains(&column.name));
            let granted = granted.is_none_or(|granted| granted.contains(&column.name));
            always.contains(&&column.name) || (shared && granted)
        })
        .cloned()
        .collect();
    for name in always.iter().copied().chain(kept.columns.iter().flatten()) {
        if !there.iter().any(|column| column.name == *name) {
            return Err(error::channel_broken(channel, name));
        }
    }
    for name in query.columns.iter().flatten() {
        if !visible.iter().any(|column| column.name == *name) {
            faults.push(missing("columns", name, &visible));
        }
    }
    if !faults.is_empty() {
        return Err(error::bad_data_query(faults));
    }
    let mut columns: Vec<String> = always.into_iter().cloned().collect();
    let in_order = kept.columns.iter().flatten().cloned();
    let wanted: Vec<String> = match (&query.columns, &kept.columns) {
        (Some(wanted), _) => wanted.clone(),
        (None, Some(_)) => {
            in_order.filter(|name| visible.iter().any(|column| column.name == *name)).collect()
        }
        (None, None) => visible.iter().map(|column| column.name.clone()).collect(),
    };
    for name in wanted {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let (start, end) = range(query, grant);
    Ok(Cut { columns, start, end })
}

/// How many days an answer counts: those that the range touches where it has both bounds and is
/// answered as a whole, else those that the answered rows lie on.
fn days(table: &Table, kept: &ChannelRow, cut: &Cut, whole: bool) -> Result<u64> {
    let Some(column) = &kept.time_column else {
        return Ok(0);
    };
    if let (Some(start), Some(end), true) = (cut.start, cut.end, whole) {
        return Ok(days_between(start, end));
    }
    let days: HashSet<i64> = table
        .column(column)?
        .into_iter()
        .filter_map(|cell| match cell {
            Cell::Time(time) => Some(day_number(time)),
            _ => None,
        })
        .collect();
    Ok(days.len() as u64)
}
