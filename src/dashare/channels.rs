//! Channels: kept, read, listed, deleted.

use serde_json::json;

use super::error;
use super::format::{ChannelRow, channel_key, grants_of, key_parts};
use super::model::{Channel, ChannelSpec, Unit};
use super::{Dashare, may_ask, may_write};
use crate::kernel::access::{Caller, Role};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::nearest;
use crate::kernel::records::{ChangeSet, Expect, Scan};
use crate::kernel::table::{Column, ColumnType};
use crate::kernel::{Fault, Name, Result};

/// The group that the paths of Drip 0.1 use for accounts.
const RESERVED: &str = "user";

/// On which revision a change depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard {
    /// Only when the current revision is this one.
    pub revision: Option<u64>,
    /// Only when there is none yet.
    pub create_only: bool,
}

/// A channel as it is kept, with its revision.
pub(super) struct Kept {
    pub(super) row: ChannelRow,
    pub(super) revision: u64,
}

impl Dashare {
    pub(super) fn kept(&self, group: &str, name: &str) -> Result<Option<Kept>> {
        let row = self.records().get(&channel_key(group, name))?;
        row.map(|row| Ok(Kept { row: decode(&row.value)?, revision: row.revision })).transpose()
    }

    /// Makes or changes a channel; answers it and whether it is new. The same again changes nothing.
    pub fn put_channel(
        &self,
        caller: &Caller,
        (group, name): (&Name, &Name),
        spec: ChannelSpec,
        guard: Guard,
    ) -> Result<(Channel, bool)> {
        may_write(caller)?;
        if group.as_str() == RESERVED {
            return Err(error::group_reserved());
        }
        self.check_channel(&spec)?;
        let _alone = self.one_at_a_time();
        let (group, name) = (group.as_str(), name.as_str());
        let channel = format!("{group}/{name}");
        let found = self.kept(group, name)?;
        check_guard(&channel, found.as_ref(), guard)?;
        let now = self.clock().now();
        if let Some(found) = &found
            && found.row.spec() == spec
        {
            return Ok((found.row.clone().shown(group, name, found.revision), false));
        }
        let created = found.as_ref().map_or(now, |found| found.row.created_at);
        let revision = found.as_ref().map_or(0, |found| found.revision);
        let expect = if found.is_some() { Expect::Revision(revision) } else { Expect::Absent };
        let row = ChannelRow::new(spec, created, now, &caller.name);
        let set = ChangeSet::new().put(channel_key(group, name), expect, encode(&row)?);
        let shown = row.shown(group, name, revision + 1);
        self.commit(set, caller, "channel.saved", &channel, json!(shown))?;
        Ok((shown, found.is_none()))
    }

    /// A channel. A consumer sees those that it was granted.
    pub fn channel(&self, caller: &Caller, group: &str, name: &str) -> Result<Channel> {
        may_ask(caller)?;
        self.must_see(caller, group, name)?;
        let kept = self.kept(group, name)?;
        let kept = kept.ok_or_else(|| error::no_channel(&format!("{group}/{name}")))?;
        Ok(kept.row.shown(group, name, kept.revision))
    }

    /// Channels by name, after a key `group/name`; a consumer sees those that it was granted.
    pub fn channels(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Channel>> {
        may_ask(caller)?;
        let mut found = Vec::new();
        let mut after = after.map(|after| format!("channel/{after}"));
        while found.len() < limit {
            let mut scan = Scan::prefix("channel/").limit(200);
            scan.after = after.take();
            let rows = self.records().scan(&scan)?;
            for row in &rows {
                let Some([group, name]) = key_parts::<2>(row) else {
                    continue;
                };
                if caller.role == Role::Consumer
                    && self.grant_row(group, name, &caller.name)?.is_none()
                {
                    continue;
                }
                let kept: ChannelRow = decode(&row.value)?;
                found.push(kept.shown(group, name, row.revision));
            }
            after = rows.last().map(|row| row.key.clone());
            if after.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Deletes a channel and its grants. What was used of it stays on record, and so do quotas: a
    /// channel made anew under the name does not begin at nothing.
    pub fn delete_channel(
        &self,
        caller: &Caller,
        group: &str,
        name: &str,
        guard: Guard,
    ) -> Result<()> {
        may_write(caller)?;
        let _alone = self.one_at_a_time();
        let channel = format!("{group}/{name}");
        let found = self.kept(group, name)?.ok_or_else(|| error::no_channel(&channel))?;
        check_guard(&channel, Some(&found), Guard { create_only: false, ..guard })?;
        let mut set =
            ChangeSet::new().delete(channel_key(group, name), Expect::Revision(found.revision));
        for grant in self.records().scan(&Scan::prefix(grants_of(group, name)))? {
            set = set.delete(grant.key, Expect::Any);
        }
        self.commit(set, caller, "channel.deleted", &channel, json!({ "channel": channel }))?;
        self.inner.rates.forget(&channel);
        Ok(())
    }

    /// Compares what a channel names with the data that it shares.
    fn check_channel(&self, spec: &ChannelSpec) -> Result<()> {
        let (columns, typed) = match (&spec.dataset, &spec.sql) {
            (Some(dataset), _) => {
                let table = self.source().open(dataset)?;
                let table =
                    table.ok_or_else(|| error::no_dataset(dataset, &self.source().names()))?;
                (table.columns(), true)
            }
            (None, Some(sql)) => {
                // Run as it will be run: what does not fit into another query shows now.
                let sql = format!("SELECT * FROM (\n{}\n) LIMIT 1", plain_sql(sql));
                let rows = self.source().sql(&sql, &serde_json::Value::Null, 1)?;
                // A query's column is what its values are: without a row it is nothing yet.
                (rows.schema().to_vec(), rows.rows() > 0)
            }
            (None, None) => (Vec::new(), false),
        };
        let mut faults = Vec::new();
        if let Some(name) = &spec.time_column {
            match columns.iter().find(|column| column.name == *name) {
                Some(column) if typed && column.kind != ColumnType::Time => {
                    faults.push(Fault::new(
                        "/time_column",
                        format!("`{name}` holds {}, not times", column.kind.name()),
                    ));
                }
                Some(_) => {}
                None => faults.push(missing("/time_column", name, &columns)),
            }
        }
        if let Some(name) = &spec.entity_column
            && !columns.iter().any(|column| column.name == *name)
        {
            faults.push(missing("/entity_column", name, &columns));
        }
        for (at, name) in spec.columns.iter().flatten().enumerate() {
            if !columns.iter().any(|column| column.name == *name) {
                faults.push(missing(&format!("/columns/{at}"), name, &columns));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(error::bad_channel(faults)) }
    }

    /// The unit that quotas of a channel count unless they say otherwise.
    pub(super) fn unit_of(&self, group: &str, name: &str) -> Result<Unit> {
        let kept = self.kept(group, name)?;
        Ok(kept.ok_or_else(|| error::no_channel(&format!("{group}/{name}")))?.row.unit)
    }
}

/// A query as it stands inside another one.
pub(super) fn plain_sql(sql: &str) -> &str {
    sql.trim().trim_end_matches([';', ' ', '\n'])
}

pub(super) fn missing(pointer: &str, name: &str, columns: &[Column]) -> Fault {
    let known = columns.iter().map(|column| column.name.as_str());
    let hint = if let Some(near) = nearest(name, known.clone()) {
        format!("did you mean `{near}`?")
    } else {
        let names: Vec<_> = known.take(20).map(|name| format!("`{name}`")).collect();
        format!("there are {}", names.join(", "))
    };
    let shown: String = name.chars().take(60).collect();
    Fault::new(pointer, format!("there is no column `{shown}`: {hint}"))
}

fn check_guard(channel: &str, found: Option<&Kept>, guard: Guard) -> Result<()> {
    match (found, guard) {
        (Some(_), Guard { create_only: true, .. }) => Err(error::channel_exists(channel)),
        (Some(found), Guard { revision: Some(wanted), .. }) if wanted != found.revision => {
            Err(error::stale(channel, wanted, found.revision))
        }
        (None, Guard { revision: Some(wanted), .. }) => Err(error::stale(channel, wanted, 0)),
        _ => Ok(()),
    }
}
