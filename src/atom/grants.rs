//! Grants: which consumers may compute with an operator. A grant of `latest` is one of whichever
//! version is the latest.

use serde::Serialize;
use serde_json::json;

use super::error;
use super::format::{GrantRow, grant_key};
use super::operators::Operator;
use super::version::LATEST;
use super::{Atom, MODULE, may_write};
use crate::kernel::access::{Caller, Needs, Role};
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, Scan};
use crate::kernel::{Name, Result, Time};
use std::sync::Arc;

/// A user's leave to compute with an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct OperatorGrant {
    /// The operator's name.
    pub operator: String,
    /// Its version, or `latest`.
    pub version: String,
    /// Who may compute with it.
    pub user: String,
    /// When it was granted.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub granted_at: Time,
    /// By whom.
    pub granted_by: String,
}

impl GrantRow {
    fn shown(self, name: &str, version: &str, user: &str) -> OperatorGrant {
        OperatorGrant {
            operator: name.to_owned(),
            version: version.to_owned(),
            user: user.to_owned(),
            granted_at: self.granted_at,
            granted_by: self.granted_by,
        }
    }
}

impl Atom {
    /// The operator that a caller may compute with. A consumer that was not granted it is refused,
    /// whether it exists or not.
    pub(super) fn may_compute(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
    ) -> Result<Arc<Operator>> {
        caller.must(Needs::Granted(MODULE))?;
        if caller.role != Role::Consumer {
            return self.must_serve(name, version);
        }
        let refused = || error::not_granted(&format!("{name}@{version}"), &caller.name);
        let served = self.served();
        let operator = served.find(name, version).ok_or_else(refused)?;
        let has = |version: &str| -> Result<bool> {
            Ok(self.records().get(&grant_key(name, version, &caller.name))?.is_some())
        };
        let found = &operator.info.version;
        if has(found)? || (served.is_latest(name, found) && has(LATEST)?) {
            Ok(operator.clone())
        } else {
            Err(refused())
        }
    }

    /// Lets a user compute with an operator; answers the grant and whether it is new.
    pub fn put_operator_grant(
        &self,
        caller: &Caller,
        (name, version): (&str, &str),
        user: &Name,
    ) -> Result<(OperatorGrant, bool)> {
        may_write(caller)?;
        let _alone = self.one_at_a_time();
        self.must_serve(name, version)?;
        let key = grant_key(name, version, user.as_str());
        if let Some(row) = self.records().get(&key)? {
            let row: GrantRow = decode(&row.value)?;
            return Ok((row.shown(name, version, user.as_str()), false));
        }
        let row = GrantRow { granted_at: self.clock().now(), granted_by: caller.name.clone() };
        let set = ChangeSet::new().put(key, Expect::Any, encode(&row)?);
        let grant = row.shown(name, version, user.as_str());
        let subject = format!("{name}@{version}/{user}");
        self.commit(set, caller, "operator.granted", &subject, json!(grant))?;
        Ok((grant, true))
    }

    /// The grants of an operator's version by user, after one of them.
    pub fn operator_grants(
        &self,
        caller: &Caller,
        (name, version): (&str, &str),
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<OperatorGrant>> {
        may_write(caller)?;
        self.must_serve(name, version)?;
        let prefix = format!("grant/{name}/{version}/");
        let mut scan = Scan::prefix(prefix.clone()).limit(limit);
        scan.after = after.map(|user| format!("{prefix}{user}"));
        self.records()
            .scan(&scan)?
            .iter()
            .map(|row| {
                let user = row.key.rsplit('/').next().unwrap_or_default();
                Ok(decode::<GrantRow>(&row.value)?.shown(name, version, user))
            })
            .collect()
    }

    /// Takes a grant back.
    pub fn delete_operator_grant(
        &self,
        caller: &Caller,
        (name, version): (&str, &str),
        user: &str,
    ) -> Result<()> {
        may_write(caller)?;
        let _alone = self.one_at_a_time();
        let key = grant_key(name, version, user);
        if self.records().get(&key)?.is_none() {
            return Err(error::no_grant(&format!("{name}@{version}"), user));
        }
        let set = ChangeSet::new().delete(key, Expect::Any);
        let payload = json!({ "operator": name, "version": version, "user": user });
        self.commit(set, caller, "operator.revoked", &format!("{name}@{version}/{user}"), payload)
    }
}
