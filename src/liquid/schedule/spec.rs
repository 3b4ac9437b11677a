//! What a schedule says.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::super::cron::{Cron, parse_zone};
use super::super::fields::Fields;
use super::super::model::Runner;
use crate::kernel::clock::{Time, show_duration};
use crate::kernel::error::Result;
use crate::kernel::name::{Digest, Name};

/// How far back missed firings are made up, unless told.
const WINDOW: Duration = Duration::from_hours(24);
/// How many missed firings are made up at once, unless told.
const MISSED: u64 = 100;
/// How many may be asked for.
const MISSED_MAX: u64 = 10_000;
const RUNS_MAX: u64 = 1_000;
const FIELDS: [&str; 12] = [
    "name",
    "pipeline",
    "cron",
    "timezone",
    "inputs",
    "runner",
    "catchup",
    "catchup_window",
    "catchup_max",
    "overlap",
    "jitter",
    "enabled",
];

/// What becomes of firings that were missed while the daemon did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Catchup {
    /// They are gone.
    None,
    /// The last one runs.
    Last,
    /// All of them run, one after the other, within the window and the maximum.
    All,
}

/// What becomes of a firing while an earlier run of the schedule is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    Skip,
    /// It waits.
    Queue,
    /// The earlier run is cancelled.
    Cancel,
    /// It runs beside it, up to so many at a time.
    Allow(u64),
}

impl Serialize for Overlap {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Skip => to.serialize_str("skip"),
            Self::Queue => to.serialize_str("queue"),
            Self::Cancel => to.serialize_str("cancel"),
            Self::Allow(count) => to.collect_map([("allow", count)]),
        }
    }
}

/// What a schedule says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleSpec {
    /// The pipeline that runs.
    pub pipeline: String,
    /// When: five fields, six with the second first, or a word such as `@daily`.
    pub cron: String,
    /// In which time zone.
    pub timezone: String,
    /// What its runs are given.
    pub inputs: Map<String, Value>,
    /// How the nodes of its runs are taken.
    pub runner: Runner,
    /// What becomes of missed firings.
    pub catchup: Catchup,
    /// How far back missed firings are made up.
    #[serde(serialize_with = "write_duration")]
    pub catchup_window: Duration,
    /// How many missed firings are made up, the latest first.
    pub catchup_max: u64,
    /// What becomes of a firing while an earlier run is not over.
    pub overlap: Overlap,
    /// The longest time by which a firing is put off, differently for each.
    #[serde(serialize_with = "write_duration")]
    pub jitter: Duration,
    /// Whether it fires.
    pub enabled: bool,
}

fn write_duration<S: Serializer>(time: &Duration, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&show_duration(*time))
}

impl ScheduleSpec {
    /// Reads a body; the error names every fault.
    pub fn read(body: &Map<String, Value>) -> Result<Self> {
        let mut fields = Fields::of(body, &FIELDS);
        let pipeline = fields.text("pipeline");
        match pipeline.as_deref().map(Name::new) {
            Some(Err(bad)) => fields.wrong("pipeline", bad.detail().to_owned()),
            None if fields.get("pipeline").is_none() => {
                fields.wrong("pipeline", "is missing: the name of a pipeline");
            }
            _ => {}
        }
        let cron = fields.text("cron");
        if fields.get("cron").is_none() {
            fields.wrong("cron", "is missing: such as `0 * * * *`, or @daily");
        }
        let timezone = fields.text("timezone").unwrap_or_else(|| "UTC".into());
        match parse_zone(&timezone) {
            Ok(zone) => {
                let faults = cron.as_deref().and_then(|cron| Cron::parse(cron, zone).err());
                fields.add(faults.into_iter().flatten());
            }
            Err(fault) => fields.add([fault]),
        }
        let words = [("none", Catchup::None), ("last", Catchup::Last), ("all", Catchup::All)];
        let spec = Self {
            pipeline: pipeline.unwrap_or_default(),
            cron: cron.unwrap_or_default(),
            timezone,
            inputs: fields.object("inputs"),
            runner: fields.word("runner", Runner::WORDS).unwrap_or(Runner::Sequential),
            catchup: fields.word("catchup", &words).unwrap_or(Catchup::Last),
            catchup_window: fields.duration("catchup_window").unwrap_or(WINDOW),
            catchup_max: fields.whole("catchup_max", 1, MISSED_MAX).unwrap_or(MISSED),
            overlap: overlap(&mut fields),
            jitter: fields.duration("jitter").unwrap_or_default(),
            enabled: fields.flag("enabled").unwrap_or(true),
        };
        fields.finish("bad_schedule", "schedule")?;
        Ok(spec)
    }

    /// Its cron expression in its zone.
    pub(super) fn parsed(&self) -> Result<Cron> {
        let bad = |faults| super::super::error::bad_body("bad_schedule", "schedule", faults);
        let zone = parse_zone(&self.timezone).map_err(|fault| bad(vec![fault]))?;
        Cron::parse(&self.cron, zone).map_err(bad)
    }

    /// When the firing `slot` of the schedule `name` is due: the same for the same firing, so that
    /// a restart does not throw the dice again.
    pub(super) fn due(&self, name: &str, slot: Time) -> Time {
        let micros = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 {
            return slot;
        }
        let digest = Digest::of(format!("{name}/{}", slot.0).as_bytes());
        let dice = digest.0.iter().take(8).fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        slot.after(Duration::from_micros(dice % micros))
    }
}

fn overlap(fields: &mut Fields<'_>) -> Overlap {
    let Some(given) = fields.get("overlap") else {
        return Overlap::Skip;
    };
    let found = match given {
        Value::String(word) => match word.as_str() {
            "skip" => Some(Overlap::Skip),
            "queue" => Some(Overlap::Queue),
            "cancel" => Some(Overlap::Cancel),
            _ => None,
        },
        Value::Object(map) if map.len() == 1 => map
            .get("allow")
            .and_then(Value::as_u64)
            .filter(|count| (1..=RUNS_MAX).contains(count))
            .map(Overlap::Allow),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let what =
            format!("must be skip, queue, cancel or {{\"allow\": n}} with n from 1 to {RUNS_MAX}");
        fields.wrong("overlap", what);
        Overlap::Skip
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<ScheduleSpec> {
        ScheduleSpec::read(body.as_object().unwrap())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let spec = read(json!({
            "pipeline": "readme", "cron": "0 * * * *", "timezone": "Europe/Paris",
            "inputs": {"a": 5}, "catchup": "all", "catchup_window": "3h", "catchup_max": 7,
            "overlap": {"allow": 3}, "jitter": "30s", "enabled": false, "runner": "parallel",
        }))
        .unwrap();
        let again = read(serde_json::to_value(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
        assert_eq!(spec.overlap, Overlap::Allow(3));
    }

    #[test]
    fn every_fault_of_a_schedule_is_named() {
        let refused = read(json!({
            "pipeline": "a/b", "cron": "61 * * * *", "timezone": "Europe/Pari", "inputs": [],
            "catchup": "some", "overlap": {"allow": 0}, "jitter": "soon", "enabled": "yes",
            "catchup_max": 0, "crontab": 1,
        }))
        .unwrap_err();
        let mut named: Vec<_> = refused.faults().iter().map(|f| f.pointer.as_str()).collect();
        named.sort_unstable();
        assert_eq!(
            named,
            [
                "/catchup",
                "/catchup_max",
                "/crontab",
                "/enabled",
                "/inputs",
                "/jitter",
                "/overlap",
                "/pipeline",
                "/timezone"
            ]
        );
        let wrong = read(json!({"pipeline": "p", "cron": "61 25 * * *"})).unwrap_err();
        assert_eq!(wrong.faults().len(), 2, "{wrong}");
        assert!(read(json!({})).unwrap_err().faults().len() == 2);
    }

    #[test]
    fn jitter_is_the_same_for_the_same_firing_and_within_bounds() {
        let spec = read(json!({"pipeline": "p", "cron": "@daily", "jitter": "10s"})).unwrap();
        let slot = Time(1_000_000);
        assert_eq!(spec.due("a", slot), spec.due("a", slot));
        assert_ne!(spec.due("a", slot), spec.due("b", slot));
        for n in 0..100 {
            let slot = Time(n * 60_000_000);
            let late = spec.due("a", slot).since(slot);
            assert!(spec.due("a", slot) >= slot && late < Duration::from_secs(10));
        }
    }
}
