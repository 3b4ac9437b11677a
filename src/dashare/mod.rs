//! DaShare: data channels. A dataset, or SQL over datasets, shared by name, cut by entity and time,
//! measured by quotas and slowed by rates.
//!
//! It keeps no data: rows come through the port [`RowSource`]. It knows no accounts: names of users
//! are what the caller's credential says, and [`Accounts`] may be asked whether one exists.
//!
//! What it promises after a crash: a channel, grant or quota that was acknowledged is there. What a
//! request used is durable before its first byte is sent, so a crash never gives data that was not
//! charged; an answer that was cut off in the middle is charged. Rates live in memory and start
//! afresh.

mod channels;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod data;
mod error;
mod format;
mod grants;
#[cfg(feature = "http")]
mod http;
mod meter;
mod model;
mod port;
mod query;
mod rate;
mod usage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::access::{Caller, Needs};
use crate::kernel::feed::{self, Audit, Event};
use crate::kernel::records::{ChangeSet, SharedRecords};
use crate::kernel::{Bus, Clock, Result};

pub use channels::Guard;
pub use config::{Config, KEYS};
pub use data::Answer;
#[cfg(feature = "http")]
pub use http::routes;
pub use model::{
    Channel, ChannelSpec, Grant, GrantSpec, Period, QuotaSpec, QuotaState, Rate, Unit, Used,
};
pub use port::{Accounts, RowSource};
pub use query::DataQuery;
pub use rate::RateState;
pub use usage::UsageQuery;

/// The module's name, in routes and scopes.
pub const MODULE: &str = "dashare";

/// What DaShare is opened over.
pub struct Parts {
    /// Where channels, grants, quotas and usage are kept.
    pub records: SharedRecords,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told of changes.
    pub bus: Bus,
    /// Where rows come from.
    pub source: Arc<dyn RowSource>,
    /// Who knows the accounts; without it every name is taken as one.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// The settings.
    pub config: Config,
}

/// Data channels. Cheap to clone.
#[derive(Clone)]
pub struct Dashare {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    meter: meter::Meter,
    rates: rate::Rates,
    /// Changes of channels and grants are made one at a time: a grant never lands on a channel that
    /// is being deleted.
    changes: Mutex<()>,
    /// How many answers are built at once.
    #[cfg(feature = "http")]
    answers: Arc<tokio::sync::Semaphore>,
}

impl std::fmt::Debug for Dashare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dashare")
    }
}

impl Dashare {
    /// Opens DaShare over its parts.
    pub fn open(parts: Parts) -> Self {
        let meter = meter::Meter::new(parts.records.clone(), parts.clock.clone());
        Self {
            inner: Arc::new(Inner {
                meter,
                rates: rate::Rates::default(),
                changes: Mutex::new(()),
                #[cfg(feature = "http")]
                answers: Arc::new(tokio::sync::Semaphore::new(parts.config.answers)),
                parts,
            }),
        }
    }

    /// The store of channels, grants, quotas and usage, with the feed and the audit.
    pub fn records(&self) -> &SharedRecords {
        &self.inner.parts.records
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.parts.config
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.parts.clock.as_ref()
    }

    fn source(&self) -> &dyn RowSource {
        self.inner.parts.source.as_ref()
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.inner.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change durable together with its event and its line of audit, then tells the bus.
    fn commit(
        &self,
        set: ChangeSet,
        caller: &Caller,
        event: &str,
        subject: &str,
        payload: serde_json::Value,
    ) -> Result<()> {
        let at = self.clock().now();
        let mut event = Event::new(event, subject, at, payload);
        let line = Audit {
            at,
            who: caller.name.clone(),
            action: event.event.clone(),
            subject: subject.to_owned(),
            outcome: "done".to_owned(),
        };
        let set = feed::audit(feed::tell(set, &event)?, &line)?;
        let receipt = self.records().apply(set)?;
        event.number = receipt.numbers.last().copied().unwrap_or(0);
        self.inner.parts.bus.publish(&event);
        Ok(())
    }

    /// Whether a user may be granted something: unknown ones may not.
    fn known_user(&self, user: &str) -> Result<()> {
        match &self.inner.parts.accounts {
            Some(accounts) if !accounts.exists(user)? => Err(error::no_user(user)),
            _ => Ok(()),
        }
    }
}

fn may_write(caller: &Caller) -> Result<()> {
    caller.must(Needs::Write(MODULE))
}

fn may_ask(caller: &Caller) -> Result<()> {
    caller.must(Needs::Granted(MODULE))
}
