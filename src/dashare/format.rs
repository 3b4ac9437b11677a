//! What DaShare keeps, and under which keys. Names hold no `/`, so keys cannot meet.

use bincode::{Decode, Encode};

use super::model::{Channel, ChannelSpec, Grant, GrantSpec, Period, Rate, Unit};
use crate::kernel::Time;
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::records::Row;

pub(super) fn channel_key(group: &str, name: &str) -> String {
    format!("channel/{group}/{name}")
}

pub(super) fn grants_of(group: &str, name: &str) -> String {
    format!("grant/{group}/{name}/")
}

pub(super) fn grant_key(group: &str, name: &str, user: &str) -> String {
    format!("grant/{group}/{name}/{user}")
}

pub(super) fn quotas_of(user: &str) -> String {
    format!("quota/{user}/")
}

pub(super) fn quota_key(user: &str, group: &str, name: &str) -> String {
    format!("quota/{user}/{group}/{name}")
}

pub(super) fn usage_of(user: &str) -> String {
    format!("usage/{user}/")
}

pub(super) fn usage_key(user: &str, group: &str, name: &str, day: &str) -> String {
    format!("usage/{user}/{group}/{name}/{day}")
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ChannelRow {
    pub(super) dataset: Option<String>,
    pub(super) sql: Option<String>,
    pub(super) time_column: Option<String>,
    pub(super) entity_column: Option<String>,
    pub(super) columns: Option<Vec<String>>,
    pub(super) unit: Unit,
    pub(super) rate: Option<Rate>,
    pub(super) burst: Option<u32>,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
}

impl Versioned for ChannelRow {
    const MARKER: &'static str = "channel.v1";
    type Previous = Nothing;
}

impl ChannelRow {
    pub(super) fn new(spec: ChannelSpec, created_at: Time, updated_at: Time, by: &str) -> Self {
        Self {
            dataset: spec.dataset,
            sql: spec.sql,
            time_column: spec.time_column,
            entity_column: spec.entity_column,
            columns: spec.columns,
            unit: spec.unit,
            rate: spec.rate,
            burst: spec.burst,
            created_at,
            updated_at,
            saved_by: by.to_owned(),
        }
    }

    pub(super) fn spec(&self) -> ChannelSpec {
        ChannelSpec {
            dataset: self.dataset.clone(),
            sql: self.sql.clone(),
            time_column: self.time_column.clone(),
            entity_column: self.entity_column.clone(),
            columns: self.columns.clone(),
            unit: self.unit,
            rate: self.rate,
            burst: self.burst,
        }
    }

    pub(super) fn shown(self, group: &str, name: &str, revision: u64) -> Channel {
        Channel {
            group: group.to_owned(),
            name: name.to_owned(),
            dataset: self.dataset,
            sql: self.sql,
            time_column: self.time_column,
            entity_column: self.entity_column,
            columns: self.columns,
            unit: self.unit,
            rate: self.rate.map(|rate| rate.to_string()),
            burst: self.burst,
            revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            saved_by: self.saved_by,
        }
    }
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct GrantRow {
    pub(super) columns: Option<Vec<String>>,
    pub(super) from: Option<Time>,
    pub(super) to: Option<Time>,
    pub(super) granted_at: Time,
    pub(super) granted_by: String,
}

impl Versioned for GrantRow {
    const MARKER: &'static str = "grant.v1";
    type Previous = Nothing;
}

impl GrantRow {
    pub(super) fn spec(&self) -> GrantSpec {
        GrantSpec { columns: self.columns.clone(), from: self.from, to: self.to }
    }

    pub(super) fn shown(self, channel: String, user: &str) -> Grant {
        Grant {
            channel,
            user: user.to_owned(),
            columns: self.columns,
            from: self.from,
            to: self.to,
            granted_at: self.granted_at,
            granted_by: self.granted_by,
        }
    }
}

/// What was used, in every unit: a quota whose unit changes knows what was used in the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Amounts {
    pub(super) days: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
}

impl Amounts {
    pub(super) fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Days => self.days,
            Unit::Rows => self.rows,
            Unit::Bytes => self.bytes,
            Unit::Requests => self.requests,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            days: self.days.saturating_add(other.days),
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

/// A quota and what was used of it since its period began.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct QuotaRow {
    pub(super) unit: Unit,
    pub(super) limit: u64,
    pub(super) period: Period,
    /// When there was a quota for this user and channel first.
    pub(super) since: Time,
    /// When the period began that `used` belongs to.
    pub(super) began: Time,
    pub(super) used: Amounts,
}

impl Versioned for QuotaRow {
    const MARKER: &'static str = "quota.v1";
    type Previous = Nothing;
}

/// What a user used of a channel on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct UsageRow {
    pub(super) used: Amounts,
}

impl Versioned for UsageRow {
    const MARKER: &'static str = "usage.v1";
    type Previous = Nothing;
}

/// The parts of a row's key after its prefix.
pub(super) fn key_parts<const N: usize>(row: &Row) -> Option<[&str; N]> {
    let parts: Vec<&str> = row.key.split('/').skip(1).collect();
    parts.try_into().ok()
}
