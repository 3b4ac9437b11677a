//! Schedules: when pipelines run by themselves.
//!
//! A schedule is a cron expression in a time zone and what to do with its firings. Each firing, a
//! *slot*, is a row that is made once, in the same set as its run: not a crash, not a clock that
//! jumps back, not a second daemon makes another one.

mod backfill;
mod rows;
mod slots;
mod spec;
mod tick;

pub use spec::{Catchup, Overlap, ScheduleSpec};
pub(super) use tick::Timetable;

use serde::Serialize;

use crate::kernel::clock::Time;

/// A schedule as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// What it says.
    #[serde(flatten)]
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub spec: ScheduleSpec,
    /// How often it was changed.
    pub revision: u64,
    /// Its next firing; none when it is not enabled.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub next_at: Option<Time>,
    /// When it was saved.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub saved_at: Time,
    /// On whose behalf its runs act.
    pub saved_by: String,
}

/// A firing to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Firing {
    /// The instant, in UTC.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub at: Time,
    /// The same on the wall of the schedule's time zone, with its offset.
    pub local: String,
}
