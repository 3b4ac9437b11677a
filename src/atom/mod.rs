//! Atom: datasets and operators, what features are made of.
//!
//! A *dataset* is a version of a table, kept as Parquet whatever it came as, with `tag`, `belong`,
//! `object_name` and `remarks`. An *operator* is a version of a Rhai function `compute`, checked when
//! it is saved and served the moment it is.
//!
//! It is not a database: a dataset is replaced as a whole, and SQL over datasets is the kernel's. It
//! knows no cards: a [`DatasetListener`] is told of each dataset before the answer, and the feed has
//! what it may have missed.
//!
//! What it promises after a crash: a dataset or operator that was acknowledged is there, with all its
//! rows; one that was not is wholly there or wholly absent, and a replaced one is the old or the new.
//! Bytes that no dataset names are swept.

mod cache;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
mod compute;
mod config;
mod datasets;
mod error;
mod format;
mod grants;
#[cfg(feature = "http")]
mod http;
mod model;
mod operators;
pub mod script;
mod version;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::kernel::access::{Caller, Needs};
use crate::kernel::blobs::{Blobs, Swept};
use crate::kernel::feed::{self, Audit, Event};
use crate::kernel::records::{ChangeSet, Scan, SharedRecords};
use crate::kernel::script::ScriptEngine;
use crate::kernel::{Bus, Clock, Result, wait_for};

pub use compute::{Cancel, Computed};
pub use config::{Config, KEYS};
pub use datasets::DatasetFilter;
pub use grants::OperatorGrant;
#[cfg(feature = "http")]
pub use http::routes;
pub use model::{
    DatasetInfo, DatasetMeta, Guard, Label, OperatorInfo, OperatorSpec, Port, PortType,
};
pub use operators::OperatorFilter;

/// The name of the event that tells of a dataset that was put.
pub const DATASET_PUT: &str = "dataset.put";

/// The module's name, in routes and scopes.
pub const MODULE: &str = "atom";

/// Who is told that a dataset was put. Called before the answer, and again when the same is put
/// again: what it does must be idempotent.
pub trait DatasetListener: Send + Sync {
    /// A dataset was put by `caller`.
    fn put(&self, caller: &Caller, info: &DatasetInfo) -> Result<()>;
}

/// What Atom is opened over.
pub struct Parts {
    /// Where datasets and operators are described.
    pub records: SharedRecords,
    /// Where the rows of datasets are.
    pub blobs: Blobs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told of changes.
    pub bus: Bus,
    /// Who makes a card of a dataset.
    pub listener: Option<Arc<dyn DatasetListener>>,
    /// The modules that operators may call, by name.
    pub modules: BTreeMap<String, Arc<rhai::Module>>,
    /// The settings.
    pub config: Config,
}

/// Datasets and operators. Cheap to clone.
#[derive(Clone)]
pub struct Atom {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    engine: ScriptEngine,
    /// Changes are made one at a time, so that what is served is what is kept.
    changes: Mutex<()>,
    served: RwLock<Arc<operators::Served>>,
    open: cache::OpenTables,
    #[cfg(feature = "http")]
    uploads: Arc<tokio::sync::Semaphore>,
}

impl std::fmt::Debug for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Atom")
    }
}

impl Atom {
    /// Opens Atom over its parts; every operator that is kept is served when this answers.
    pub fn open(parts: Parts) -> Result<Self> {
        let builder = ScriptEngine::builder().fence(parts.config.fence.clone());
        let builder = parts
            .modules
            .iter()
            .fold(builder, |builder, (name, module)| builder.module(name, module.clone()));
        let engine = builder.build()?;
        let served = operators::load(parts.records.as_ref(), &engine)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                changes: Mutex::new(()),
                served: RwLock::new(Arc::new(served)),
                open: cache::OpenTables::new(parts.blobs.clone(), parts.config.open_tables),
                #[cfg(feature = "http")]
                uploads: Arc::new(tokio::sync::Semaphore::new(parts.config.uploads)),
                parts,
            }),
        })
    }

    /// The store of datasets and operators, with the feed and the audit.
    pub fn records(&self) -> &SharedRecords {
        &self.inner.parts.records
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.parts.config
    }

    /// Removes the bytes that no dataset names and no reader holds, once they are older than `grace`.
    pub fn sweep(&self, grace: Duration) -> Result<Swept> {
        let named = |digest| {
            let scan = Scan::prefix(format::chunk_prefix(digest)).limit(1);
            Ok(self.inner.open.holds(digest) || !self.records().scan(&scan)?.is_empty())
        };
        wait_for(self.inner.parts.blobs.sweep(named, self.clock().now(), grace))
    }

    fn clock(&self) -> &dyn Clock {
        self.inner.parts.clock.as_ref()
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
}

fn may_read(caller: &Caller) -> Result<()> {
    caller.must(Needs::Read(MODULE))
}

fn may_write(caller: &Caller) -> Result<()> {
    caller.must(Needs::Write(MODULE))
}
