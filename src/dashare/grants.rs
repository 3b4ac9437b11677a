//! Grants: which users may read a channel, and how much of it.

use serde_json::json;

use super::channels::missing;
use super::error;
use super::format::{GrantRow, grant_key, grants_of};
use super::model::{Grant, GrantSpec};
use super::{Dashare, may_ask, may_write};
use crate::kernel::access::{Caller, Role};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Scan};
use crate::kernel::table::{Column, ColumnType};
use crate::kernel::{Fault, Name, Result};

impl Dashare {
    pub(super) fn grant_row(
        &self,
        group: &str,
        name: &str,
        user: &str,
    ) -> Result<Option<GrantRow>> {
        let row = self.records().get(&grant_key(group, name, user))?;
        row.map(|row| decode(&row.value)).transpose()
    }

    /// Refuses a consumer that was not granted the channel, whether it exists or not; answers the
    /// grant where the caller is held to one.
    pub(super) fn must_see(
        &self,
        caller: &Caller,
        group: &str,
        name: &str,
    ) -> Result<Option<GrantSpec>> {
        if caller.role != Role::Consumer {
            return Ok(None);
        }
        let grant = self.grant_row(group, name, &caller.name)?;
        let grant =
            grant.ok_or_else(|| error::not_granted(&format!("{group}/{name}"), &caller.name))?;
        Ok(Some(grant.spec()))
    }

    /// Lets a user read a channel; answers the grant and whether it is new.
    pub fn put_grant(
        &self,
        caller: &Caller,
        (group, name): (&str, &str),
        user: &Name,
        spec: GrantSpec,
    ) -> Result<(Grant, bool)> {
        may_write(caller)?;
        self.known_user(user.as_str())?;
        let _alone = self.one_at_a_time();
        let channel = format!("{group}/{name}");
        let kept = self.kept(group, name)?.ok_or_else(|| error::no_channel(&channel))?;
        self.check_grant(&kept.row, &spec)?;
        let found = self.grant_row(group, name, user.as_str())?;
        let is_new = found.is_none();
        if let Some(found) = found
            && found.spec() == spec
        {
            return Ok((found.shown(channel, user.as_str()), false));
        }
        let row = GrantRow {
            columns: spec.columns,
            from: spec.from,
            to: spec.to,
            granted_at: self.clock().now(),
            granted_by: caller.name.clone(),
        };
        let key = grant_key(group, name, user.as_str());
        let set = ChangeSet::new().put(key, Expect::Any, encode(&row)?);
        let shown = row.shown(channel.clone(), user.as_str());
        let subject = format!("{channel}/{user}");
        self.commit(set, caller, "channel.granted", &subject, json!(shown))?;
        Ok((shown, is_new))
    }

    fn check_grant(&self, channel: &super::format::ChannelRow, spec: &GrantSpec) -> Result<()> {
        let mut faults = Vec::new();
        if channel.time_column.is_none() && (spec.from.is_some() || spec.to.is_some()) {
            faults.push(Fault::new("/from", "the channel has no time column to cut by"));
        }
        if let Some(columns) = &spec.columns {
            let shared = match &channel.columns {
                Some(shared) => shared
                    .iter()
                    .chain(&channel.time_column)
                    .chain(&channel.entity_column)
                    .map(|name| Column::new(name, ColumnType::Text))
                    .collect(),
                None => self.rows_of(channel)?.map(|rows| rows.columns()).unwrap_or_default(),
            };
            for (at, name) in columns.iter().enumerate() {
                if !shared.iter().any(|column| column.name == *name) {
                    faults.push(missing(&format!("/columns/{at}"), name, &shared));
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(error::bad_grant(faults)) }
    }

    /// A grant; a user may read its own.
    pub fn grant(&self, caller: &Caller, group: &str, name: &str, user: &str) -> Result<Grant> {
        may_ask(caller)?;
        if caller.role == Role::Consumer && caller.name != user {
            return Err(error::not_yours(user));
        }
        let channel = format!("{group}/{name}");
        let row = self.grant_row(group, name, user)?;
        let row = row.ok_or_else(|| error::no_grant(&channel, user))?;
        Ok(row.shown(channel, user))
    }

    /// The grants of a channel by user, after one of them.
    pub fn grants(
        &self,
        caller: &Caller,
        (group, name): (&str, &str),
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Grant>> {
        may_write(caller)?;
        let channel = format!("{group}/{name}");
        if self.kept(group, name)?.is_none() {
            return Err(error::no_channel(&channel));
        }
        let prefix = grants_of(group, name);
        let mut scan = Scan::prefix(prefix.clone()).limit(limit);
        scan.after = after.map(|user| format!("{prefix}{user}"));
        self.records()
            .scan(&scan)?
            .iter()
            .map(|row| {
                let user = row.key.rsplit('/').next().unwrap_or_default();
                Ok(decode::<GrantRow>(&row.value)?.shown(channel.clone(), user))
            })
            .collect()
    }

    /// Takes a grant back. What was used stays on record.
    pub fn delete_grant(&self, caller: &Caller, group: &str, name: &str, user: &str) -> Result<()> {
        may_write(caller)?;
        let _alone = self.one_at_a_time();
        let channel = format!("{group}/{name}");
        if self.grant_row(group, name, user)?.is_none() {
            return Err(error::no_grant(&channel, user));
        }
        let set = ChangeSet::new().delete(grant_key(group, name, user), Expect::Any);
        let payload = json!({ "channel": channel, "user": user });
        self.commit(set, caller, "channel.revoked", &format!("{channel}/{user}"), payload)
    }
}
