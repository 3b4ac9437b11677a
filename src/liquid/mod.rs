//! Liquid: pipelines, their runs, and the schedules that start them.
//!
//! A pipeline is a Rhai script that ends in `pipeline([ node(function, inputs, outputs, name), … ])`.
//! Inputs and outputs are names; they make the graph. A script is checked before it is kept, and
//! every revision of it stays. A run takes the current revision, the values it is given and the
//! rights of whoever started it; a schedule starts runs at times of a cron expression in a time
//! zone.
//!
//! # What it is not
//!
//! It has no modules of its own: what scripts may reach, and which programs may be started, is given
//! to [`Liquid::open`].
//!
//! # What it promises after a crash
//!
//! - A pipeline, a schedule or a queued run that was acknowledged is there.
//! - A run is in one state. A run that was running when the daemon ended becomes `interrupted` at the
//!   next opening, or goes on by itself where its pipeline says `resume: true`; a queued one runs then.
//! - A node that is known as done is done: its end and its values are durable before a node that takes
//!   them begins. [`Liquid::resume`] goes on from there. A node runs again only where it was not done, or
//!   where its value could not be kept (a function, something very large) and is needed.
//! - A firing of a schedule has one run, never two: both are written in one set.
//! - A node is known as begun before it begins.

mod book;
mod cache;
mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
pub mod cron;
mod declare;
mod desk;
#[cfg(feature = "cli")]
mod diff;
#[cfg(feature = "cli")]
mod draw;
mod error;
mod execute;
mod fields;
mod format;
#[cfg(feature = "http")]
mod http;
mod leftover;
mod model;
pub mod node;
mod params;
mod pipelines;
pub mod plan;
pub mod process;
mod runner;
mod runs;
mod schedule;
mod scripts;
mod store;
mod turnstile;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rhai::{Module, Shared};
use serde_json::Value;

use crate::kernel::access::Caller;
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Error, Result};
use crate::kernel::events::Bus;
use crate::kernel::feed::Event;
use crate::kernel::format::{decode, encode};
use crate::kernel::records::{ChangeSet, Expect, SharedRecords};
use crate::kernel::script::Fence;

pub use config::{Config, KEYS};
#[cfg(feature = "http")]
pub use http::routes;
pub use model::{Expected, Graph, NodeRun, NodeState, Pipeline, Run, RunRequest, RunState, Runner};
pub use node::NodeInfo;
pub use params::{Parameter, ParameterType};
pub use plan::{Edge, Slice};
pub use runs::RunFilter;
pub use schedule::{Catchup, Firing, Overlap, Schedule, ScheduleSpec};

/// Where the lines of a run go. A line can never fail a run.
pub trait RunLog: Send + Sync {
    /// One line: of the run itself, of a node, or what a script printed.
    fn line(&self, run_id: &str, level: &str, message: &str, fields: Value);

    /// Several lines with the same fields: what a process printed.
    fn lines(&self, run_id: &str, lines: Vec<(&'static str, String)>, fields: &Value) {
        for (level, message) in lines {
            self.line(run_id, level, &message, fields.clone());
        }
    }
}

/// What an account may do today. A run can wait, and a schedule can stand for years: they act with
/// the rights that their owner has when they run.
pub trait Standing: Send + Sync {
    /// The caller as it stands now; an error when the account may do nothing any more.
    fn today(&self, caller: &Caller) -> Result<Caller>;
}

/// What liquid stands on.
pub struct Parts {
    /// Its rows.
    pub records: SharedRecords,
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Whom it wakes.
    pub bus: Bus,
    /// The limits of its scripts.
    pub fence: Fence,
    /// What its scripts may call, as `name::function`.
    pub modules: Vec<(String, Shared<Module>)>,
    /// Where the lines of runs go.
    pub log: Option<Arc<dyn RunLog>>,
    /// Who may do what today; without it the rights of the start are kept.
    pub standing: Option<Arc<dyn Standing>>,
    /// Who starts the processes of process nodes; without it there are none.
    pub processes: Option<process::Processes>,
    /// Whether pipelines are only checked here: a program that may not be started is no fault then.
    pub only_checks: bool,
    /// How much runs at a time.
    pub config: Config,
}

impl Parts {
    /// The least it needs.
    pub fn new(records: SharedRecords, clock: Arc<dyn Clock>) -> Self {
        Self {
            records,
            clock,
            bus: Bus::new(),
            fence: Fence::pipeline(),
            modules: Vec::new(),
            log: None,
            standing: None,
            processes: None,
            only_checks: false,
            config: Config::default(),
        }
    }
}

/// Pipelines, runs and schedules. Cheap to clone.
#[derive(Clone)]
pub struct Liquid(Arc<Inner>);

struct Inner {
    records: SharedRecords,
    clock: Arc<dyn Clock>,
    bus: Bus,
    scripts: scripts::Scripts,
    log: Option<Arc<dyn RunLog>>,
    standing: Option<Arc<dyn Standing>>,
    config: Config,
    epoch: u64,
    opened_at: Time,
    desk: desk::Desk,
    timetable: schedule::Timetable,
    turnstile: turnstile::Turnstile,
    ready: Mutex<HashMap<(String, u64), Arc<scripts::Ready>>>,
}

impl fmt::Debug for Liquid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Liquid").field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}

impl Liquid {
    /// Opens the slice: runs that were cut off become `interrupted`, or go on where their pipeline
    /// says so; queued ones begin.
    pub fn open(parts: Parts) -> Result<Self> {
        let Parts { records, clock, bus, fence, modules, log, standing, .. } = parts;
        let Parts { processes, only_checks, config, .. } = parts;
        let scripts = scripts::Scripts::open(fence, modules, processes, !only_checks)?;
        let epoch = next_epoch(&records)?;
        let opened_at = clock.now();
        let liquid = Self(Arc::new(Inner {
            records,
            clock,
            bus,
            scripts,
            log,
            standing,
            config,
            epoch,
            opened_at,
            desk: desk::Desk::default(),
            timetable: schedule::Timetable::default(),
            turnstile: turnstile::Turnstile::default(),
            ready: Mutex::default(),
        }));
        liquid.interrupt_old()?;
        // Those that wait come first; what is resumed takes its place behind them, once.
        liquid.queue_old()?;
        liquid.resume_old()?;
        liquid.arm_all()?;
        liquid.pump();
        Ok(liquid)
    }

    /// The store, for whoever follows the feed or reads the audit.
    pub fn records(&self) -> &SharedRecords {
        &self.0.records
    }

    /// Ends: nothing more begins, running runs are stopped and become `interrupted`, queued ones
    /// wait for the next opening. Answers whether all ended within `time`.
    pub fn close(&self, time: Duration) -> bool {
        self.0.desk.close(time)
    }

    fn now(&self) -> Time {
        self.0.clock.now()
    }

    fn log(&self, run_id: &str, level: &str, message: &str, fields: Value) {
        if let Some(log) = &self.0.log {
            log.line(run_id, level, message, fields);
        }
    }

    fn publish(&self, event: &Event) {
        self.0.bus.publish(event);
    }
}

/// Counts the openings: what an earlier one left running is dead.
fn next_epoch(records: &SharedRecords) -> Result<u64> {
    let row = records.get("epoch")?;
    let (number, expect) = match &row {
        Some(row) => {
            (decode::<format::EpochRow>(&row.value)?.number, Expect::Revision(row.revision))
        }
        None => (0, Expect::Absent),
    };
    let number = number + 1;
    records.apply(ChangeSet::new().put("epoch", expect, encode(&format::EpochRow { number })?))?;
    Ok(number)
}

/// Whether a change lost a race that can be run again.
fn lost_race(error: &Error) -> bool {
    matches!(error.code(), "stale_revision" | "row_exists" | "row_missing")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
