//! What Drip says of itself goes into the stream `drip` of its own log, besides stderr.
//!
//! Lines wait in a queue of bounded length and are written once a second, so that nobody waits for
//! the disk to say something. What the log says of itself stays on stderr alone, and so does what is
//! said while lines are written: it would go round in circles.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::app::App;
use crate::kernel::clock::{Clock as _, SystemClock};
use crate::trajectory::{Level, Record, Trajectory};

/// The stream.
const STREAM: &str = "drip";
/// How often lines are written.
const PAUSE: Duration = Duration::from_secs(1);
/// So many lines wait at most; further ones stand on stderr alone.
const WAITING_MAX: usize = 1024;
/// So many bytes of one text are kept.
const TEXT_MAX: usize = 8 << 10;
/// The module that takes the lines.
const LOG: &str = "drip::trajectory";

/// The process has one subscriber, and so one queue.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { lines: Vec::new(), left_out: 0 });

thread_local! {
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

struct Queue {
    lines: Vec<Record>,
    left_out: u64,
}

impl Queue {
    fn push(&mut self, line: Record) {
        if self.lines.len() < WAITING_MAX {
            self.lines.push(line);
        } else {
            self.left_out += 1;
        }
    }

    /// What waits, and how much was left out before it.
    fn take(&mut self) -> (Vec<Record>, u64) {
        (std::mem::take(&mut self.lines), std::mem::take(&mut self.left_out))
    }
}

fn queue<T>(work: impl FnOnce(&mut Queue) -> T) -> T {
    work(&mut QUEUE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Puts what is said into the queue.
pub(super) struct Tee;

impl<S: Subscriber> Layer<S> for Tee {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if about.target().starts_with(LOG) || IS_WRITING.get() {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let level = level(*about.level());
        let mut line = Record::new(SystemClock.now(), level, STREAM, said.message);
        line.module = Some(about.target().to_owned());
        line.file = about.file().map(str::to_owned);
        line.line = about.line().map(u64::from);
        line.fields = said.fields;
        queue(|queue| queue.push(line));
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// The parts of an event.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn keep_text(&mut self, field: &Field, mut text: String) {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.keep(field, text);
        }
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep_text(field, format!("{value:?}"));
    }
}

/// Writes what is said from now on, and what waits already, where the log is open.
pub(super) fn keep(app: &App) {
    let Some(log) = app.trajectory.clone() else { return };
    app.workers.every("trajectory.own_log", PAUSE, move || {
        write(&log);
        Ok(false)
    });
}

/// Writes what waits, and says how much could not be kept before.
pub(super) fn write(log: &Trajectory) {
    let (mut lines, left_out) = queue(Queue::take);
    let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    if left_out > 0 {
        let said = format!("{left_out} lines could not be kept here and stand on stderr alone");
        lines.push(Record::new(SystemClock.now(), Level::Warning, STREAM, said));
    }
    if lines.is_empty() {
        return;
    }
    IS_WRITING.set(true);
    let is_kept = log.append(lines).is_ok();
    IS_WRITING.set(false);
    if !is_kept {
        // A log that is busy says so later; one that takes nothing is told of by its health.
        queue(|queue| queue.left_out += left_out + count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_what_it_leaves_out() {
        let mut queue = Queue { lines: Vec::new(), left_out: 0 };
        for n in 0..WAITING_MAX + 5 {
            let line = Record::new(SystemClock.now(), Level::Info, STREAM, n.to_string());
            queue.push(line);
        }
        let (lines, left_out) = queue.take();
        assert_eq!((lines.len(), left_out), (WAITING_MAX, 5));
        assert_eq!(lines.last().unwrap().message, (WAITING_MAX - 1).to_string());
        assert_eq!(queue.take(), (Vec::new(), 0));
    }

    #[test]
    fn what_is_said_is_kept_with_its_parts_but_for_what_would_go_round_in_circles() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let subscriber = tracing_subscriber::registry().with(Tee);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(turbine = "R80711", tries = 3, share = 0.5, "it stands {}", "still");
            tracing::error!(target: "drip::trajectory::active", "a sync failed");
            IS_WRITING.set(true);
            tracing::error!("said while lines are written");
            IS_WRITING.set(false);
            tracing::info!(text = "风".repeat(TEXT_MAX), "long");
        });
        let (lines, _) = queue(Queue::take);
        let said: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(said, ["it stands still", "long"]);
        assert_eq!((lines[0].level, lines[0].stream.as_str()), (Level::Warning, STREAM));
        let fields = serde_json::json!({"turbine": "R80711", "tries": 3, "share": 0.5});
        assert_eq!(Value::Object(lines[0].fields.clone()), fields);
        assert!(lines[0].module.as_ref().unwrap().ends_with("own_log::tests"));
        let kept = lines[1].fields["text"].as_str().unwrap();
        assert!(kept.len() <= TEXT_MAX && kept.len() > TEXT_MAX - 4);
        what_a_log_refuses_is_told_once_it_takes_lines_again(lines);
    }

    /// One queue, one test at a time.
    fn what_a_log_refuses_is_told_once_it_takes_lines_again(lines: Vec<Record>) {
        use std::sync::Arc;

        use crate::kernel::records::MemoryRecords;
        use crate::trajectory::{Config, Folder, Parts, Query};
        let folder = tempfile::tempdir().unwrap();
        let log = Trajectory::open(Parts {
            disk: Arc::new(Folder::open(folder.path()).unwrap()),
            records: Arc::new(MemoryRecords::new()),
            clock: Arc::new(SystemClock),
            config: Config::default(),
        })
        .unwrap();
        let mut refused = lines.clone();
        refused[0].stream = "no/stream of this name\0".to_owned();
        queue(|queue| queue.lines = refused);
        write(&log);
        queue(|queue| queue.lines = lines);
        write(&log);
        write(&log);
        let found = log.query(&Query::from_pairs(&[("order".into(), "asc".into())]).unwrap());
        let said: Vec<_> =
            found.unwrap().items.into_iter().map(|kept| kept.record.message).collect();
        let told = "2 lines could not be kept here and stand on stderr alone";
        assert_eq!(said, ["it stands still", "long", told]);
    }
}
