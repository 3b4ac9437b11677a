#![cfg(test)]
//! Liquid as its users see it: through the handle, and over HTTP.

#[cfg(feature = "http")]
mod calls;
mod params;
mod pipelines;
#[cfg(all(feature = "cli", feature = "http"))]
mod processes;
mod resume;
mod runs;
mod schedules;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drip::kernel::access::{Caller, Role};
use drip::kernel::clock::{Clock, ManualClock, SystemClock, Time};
use drip::kernel::name::Name;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::liquid::{Expected, Liquid, Parts, Run, RunLog, RunRequest};
use serde_json::Value;

const README: &str = r#"
fn first(a, b) { a + b }   fn second(c, d) { c * d }   fn third(e) { e + 1 }
pipeline([ node(first, ["a", "b"], "c", "firstfunc"), node(second, ["c", "d"], "e", "secondfunc"), node(third, ["e"], ["f"], "thirdfunc") ])
"#;

/// Longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_mins(1);

/// Keeps every line of every run.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl RunLog for Lines {
    fn line(&self, _run_id: &str, level: &str, message: &str, _fields: Value) {
        self.0.lock().unwrap().push(format!("{level} {message}"));
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ada() -> Caller {
    Caller::new("ada", Role::Publisher)
}

fn memory() -> SharedRecords {
    Arc::new(MemoryRecords::new())
}

fn open_over(records: &SharedRecords, clock: Arc<dyn Clock>) -> Liquid {
    Liquid::open(Parts::new(records.clone(), clock)).unwrap()
}

fn open() -> Liquid {
    open_over(&memory(), Arc::new(SystemClock))
}

fn clock_at(text: &str) -> Arc<ManualClock> {
    ManualClock::at(Time::parse(text).unwrap())
}

fn save(liquid: &Liquid, pipeline: &str, source: &str) {
    liquid.save_pipeline(&name(pipeline), source, &ada(), Expected::default()).unwrap();
}

fn request(body: Value) -> RunRequest {
    RunRequest::read(body.as_object().unwrap()).unwrap()
}

fn start(liquid: &Liquid, pipeline: &str, body: Value) -> Run {
    liquid.start(&name(pipeline), request(body), &ada(), None).unwrap()
}

/// Starts a run and waits for its end.
fn finished(liquid: &Liquid, pipeline: &str, body: Value) -> Run {
    let run = start(liquid, pipeline, body);
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert!(run.state.is_over(), "{run:?}");
    run
}

/// Saves a script under its own name and runs it.
fn run_script(liquid: &Liquid, source: &str, body: Value) -> Run {
    save(liquid, "script", source);
    finished(liquid, "script", body)
}

/// Waits until a run has begun.
fn begun(liquid: &Liquid, id: &str) {
    until(liquid, id, |run| run.started_at.is_some());
}

/// Waits until a run is over, whichever daemon carries it out.
fn over(liquid: &Liquid, id: &str) {
    until(liquid, id, |run| run.state.is_over());
}

fn until(liquid: &Liquid, id: &str, holds: impl Fn(&Run) -> bool) {
    for _ in 0..6_000 {
        if holds(&liquid.run(id).unwrap()) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{id} did not come so far");
}
