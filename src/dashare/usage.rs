//! Quotas as they stand and what was used, by user.

use serde_json::json;

use super::error;
use super::format::{QuotaRow, UsageRow, key_parts, quotas_of, usage_of};
use super::model::{QuotaSpec, QuotaState, Used};
use super::{Dashare, may_ask, may_write};
use crate::kernel::access::{Caller, Role};
use crate::kernel::feed::{self, Audit, Event};
use crate::kernel::format::decode;
use crate::kernel::records::Scan;
use crate::kernel::{Name, Result};

/// Which usage to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// Only of this channel: `group/name`.
    pub channel: Option<String>,
    /// Only from this day on: `2014-03-30`.
    pub from: Option<String>,
    /// Only before this day.
    pub to: Option<String>,
    /// After this key: `group/name/day`.
    pub after: Option<String>,
}

impl Dashare {
    /// Sets how much a user may take from a channel; answers how the quota stands and whether it is
    /// new. What was used stays used.
    pub fn put_quota(
        &self,
        caller: &Caller,
        user: &Name,
        spec: &QuotaSpec,
    ) -> Result<(QuotaState, bool)> {
        may_write(caller)?;
        self.known_user(user.as_str())?;
        let unit = match spec.unit {
            Some(unit) => {
                self.unit_of(spec.group.as_str(), spec.name.as_str())?;
                unit
            }
            None => self.unit_of(spec.group.as_str(), spec.name.as_str())?,
        };
        let subject = format!("{user}/{}/{}", spec.group, spec.name);
        let at = self.clock().now();
        self.inner.meter.set(user.as_str(), spec, unit, |set, state| {
            let event = Event::new("quota.set", subject.clone(), at, json!(state));
            let line = Audit {
                at,
                who: caller.name.clone(),
                action: event.event.clone(),
                subject: subject.clone(),
                outcome: "done".to_owned(),
            };
            feed::audit(feed::tell(set, &event)?, &line)
        })
    }

    /// The quotas of a user; anyone may read their own.
    pub fn quotas(&self, caller: &Caller, user: &str) -> Result<Vec<QuotaState>> {
        may_read_of(caller, user)?;
        let mut quotas = Vec::new();
        for row in self.records().scan(&Scan::prefix(quotas_of(user)))? {
            let _known: QuotaRow = decode(&row.value)?;
            if let Some([_, group, name]) = key_parts::<3>(&row) {
                quotas.extend(self.inner.meter.quota(user, group, name)?);
            }
        }
        Ok(quotas)
    }

    /// What a user used, by channel and day; anyone may read their own.
    pub fn usage(
        &self,
        caller: &Caller,
        user: &str,
        query: &UsageQuery,
        limit: usize,
    ) -> Result<Vec<Used>> {
        may_read_of(caller, user)?;
        let all = usage_of(user);
        let prefix = match &query.channel {
            Some(channel) => format!("{all}{channel}/"),
            None => all.clone(),
        };
        let mut found = Vec::new();
        let mut after = query.after.as_ref().map(|after| format!("{all}{after}"));
        while found.len() < limit {
            let mut scan = Scan::prefix(prefix.clone()).limit(500);
            scan.after = after.take();
            let rows = self.records().scan(&scan)?;
            for row in &rows {
                let Some([_, group, name, day]) = key_parts::<4>(row) else {
                    continue;
                };
                let early = query.from.as_deref().is_some_and(|from| day < from);
                let late = query.to.as_deref().is_some_and(|to| day >= to);
                if !early && !late {
                    let used = decode::<UsageRow>(&row.value)?.used;
                    found.push(Used {
                        channel: format!("{group}/{name}"),
                        day: day.to_owned(),
                        requests: used.requests,
                        rows: used.rows,
                        bytes: used.bytes,
                        days: used.days,
                    });
                }
            }
            after = rows.last().map(|row| row.key.clone());
            if after.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn may_read_of(caller: &Caller, user: &str) -> Result<()> {
    may_ask(caller)?;
    if caller.role == Role::Consumer && caller.name != user {
        return Err(error::not_yours(user));
    }
    Ok(())
}
