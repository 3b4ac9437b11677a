//! Trajectory keeps logs: records go in, are durable when that is acknowledged, and are found again
//! by time, level, stream, run, field and text.
//!
//! It is not a search engine for documents, not a metrics store, and knows one machine only.
//!
//! After a crash or a power cut, every acknowledged record is there, once and in order; an
//! unacknowledged batch is there wholly or not at all; a batch that its client sends again under the
//! same id is written once. Damage is told, never passed over in silence. After a failed sync nothing
//! is taken any more until the log is opened anew.
//!
//! ```
//! use std::sync::Arc;
//! use drip::kernel::records::MemoryRecords;
//! use drip::kernel::{Clock, SystemClock};
//! use drip::trajectory::{Config, Folder, Level, Parts, Query, Record, Trajectory};
//!
//! # fn main() -> drip::kernel::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("drip-trajectory-{}", std::process::id()));
//! let log = Trajectory::open(Parts {
//!     disk: Arc::new(Folder::open(&folder)?),
//!     records: Arc::new(MemoryRecords::new()),
//!     clock: Arc::new(SystemClock),
//!     config: Config::default(),
//! })?;
//! log.append(vec![Record::new(SystemClock.now(), Level::Warning, "wind", "the anemometer stands still")])?;
//! let query = Query::from_pairs(&[("q".into(), "anemometer".into())])?;
//! assert_eq!(log.query(&query)?.items[0].record.stream, "wind");
//! # drop(log);
//! # std::fs::remove_dir_all(folder).ok();
//! # Ok(())
//! # }
//! ```

mod active;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod copies;
mod disk;
mod error;
mod figures;
mod forward;
#[cfg(feature = "http")]
mod http;
mod intake;
mod keeper;
mod model;
#[cfg(feature = "http")]
mod received;
mod recovery;
mod retention;
mod scalar;
#[cfg(feature = "script")]
pub mod script;
mod sealed;
mod search;
mod shelf;
mod streams;
mod syslog;
mod tail;
mod template;
mod tokens;
mod varint;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use serde::Serialize;

pub use active::segment::Damage;
pub use config::{Config, KEYS};
pub use disk::{Disk, DiskFile, Folder};
pub use error::{BATCH_MAX, FIELDS_MAX, RECORD_MAX};
pub use forward::Forwarded;
#[cfg(feature = "mongo")]
pub use forward::Forwarder;
#[cfg(feature = "http")]
pub use http::routes;
pub use intake::outcome::{Ingested, Rejected};
pub use model::{DEFAULT_STREAM, Kept, Level, OTHER_STREAM, Receipt, Record};
pub use search::filter::Filter;
pub use search::histogram::{BUCKETS_DEFAULT, BUCKETS_MAX, Bucket, Histogram};
pub use search::query::{LIMIT_DEFAULT, LIMIT_MAX, Order, Page, Query};
pub use search::values::{TopValues, VALUES_DEFAULT, VALUES_MAX, ValueCount};
pub use streams::{Settings as StreamSettings, Stream};
pub use syslog::Syslog;
pub use tail::{CONTEXT_DEFAULT, CONTEXT_MAX, Context, Event as TailEvent, Tail};
pub use template::write_out;

use crate::kernel::access::Caller;
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Fault, Result};
use crate::kernel::feed::{Audit, Idempotency};
use crate::kernel::name::{Digest, Name};
use crate::kernel::records::SharedRecords;
use active::batches::Batches;
use active::frame;
use active::payload::{Batch, BatchId, Tally};
use active::poison::Door;
use active::writer::{Job, Queue, Writer};
use intake::json::Take;
use intake::line::Line;
use keeper::Keeper;
use retention::{Limits, Plan};
use search::query::Budget;
use shelf::{Part, Shelf};
use streams::{Gate, Streams};

/// What a log is opened over.
pub struct Parts {
    /// Where its segments are; nobody else writes there.
    pub disk: Arc<dyn Disk>,
    /// Where the settings of its streams are.
    pub records: SharedRecords,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How it is set up.
    pub config: Config,
}

/// A log. Cheap to clone; it ends with its last clone, once everything that waited is written.
#[derive(Clone)]
pub struct Trajectory(Arc<Engine>);

struct Engine {
    shelf: Arc<Shelf>,
    queue: Arc<Queue>,
    door: Arc<Door>,
    streams: Streams,
    clock: Arc<dyn Clock>,
    config: Config,
    #[cfg(feature = "mongo")]
    disk: Arc<dyn Disk>,
    forwards: forward::Progress,
    dropped: u64,
    filtered: AtomicU64,
    keeper: Arc<Keeper>,
    /// The writer's, and the keeper's where it has one.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Figures of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// How many records it holds.
    pub records: u64,
    /// How many bytes its segments have.
    pub bytes: u64,
    /// How many segments it has.
    pub segments: usize,
    /// How many of them are sealed.
    pub sealed: usize,
    /// The number of its newest record.
    pub last_seq: u64,
    /// How many bytes of unfinished frames were cut off when it was opened.
    pub dropped_bytes: u64,
    /// How many records their streams did not keep, since it was opened.
    pub filtered: u64,
    /// How many places of damage are known.
    pub damaged: usize,
}

/// Bodies up to this size are read where they arrive.
#[cfg(feature = "http")]
const SMALL: usize = 16 << 10;

/// A batch that was read and waits to be written.
struct Prepared {
    batch: Batch,
    outcome: Ingested,
    id: Option<BatchId>,
}

impl Trajectory {
    /// Opens a log: reads its last segment, cuts off what was never finished, and starts its writer.
    pub fn open(parts: Parts) -> Result<Self> {
        let Parts { disk, records, clock, config } = parts;
        let found = recovery::recover(&disk)?;
        let last_seq = found.next_seq - 1;
        let shelf = Arc::new(Shelf::new(found.parts, found.damage, last_seq));
        let known: HashSet<String> = shelf.streams().into_keys().collect();
        let streams = Streams::open(records, known, config.max_streams)?;
        let (queue, door) = (Arc::new(Queue::default()), Arc::new(Door::default()));
        let keeper =
            Arc::new(Keeper::new(disk.clone(), shelf.clone(), door.clone(), clock.clone()));
        #[cfg(feature = "mongo")]
        let ledgers = disk.clone();
        let writer = Writer {
            disk,
            shelf: shelf.clone(),
            queue: queue.clone(),
            door: door.clone(),
            clock: clock.clone(),
            batches: Batches::rebuild(found.ids, clock.now()),
            next_seq: found.next_seq,
            segment_bytes: config.segment_bytes,
            builder: frame::Builder::new()?,
            keeper: config.seals.then(|| keeper.clone()),
        };
        let mut threads = vec![writer.start()?];
        if config.seals {
            threads.push(keeper.start()?);
        }
        Ok(Self(Arc::new(Engine {
            shelf,
            queue,
            door,
            streams,
            clock,
            config,
            #[cfg(feature = "mongo")]
            disk: ledgers,
            forwards: forward::Progress::default(),
            dropped: found.dropped,
            filtered: AtomicU64::new(0),
            keeper,
            threads: Mutex::new(threads),
        })))
    }

    /// Keeps records: all of them, durably, or none. Blocks until that is so; an async caller goes
    /// off its thread. Records that their stream filters out are not kept and are no failure.
    pub fn append(&self, records: Vec<Record>) -> Result<Receipt> {
        let mut faults = Vec::new();
        let mut batch = Batch::default();
        let mut gate = self.0.streams.gate();
        for (index, record) in records.iter().enumerate() {
            match checked(Line::of(record)) {
                Err(why) => faults.push(Fault::new(format!("/{index}"), why)),
                Ok(line) if faults.is_empty() => self.admit(&mut gate, &mut batch, line),
                Ok(_) => {}
            }
        }
        if !faults.is_empty() {
            return Err(error::bad_records(faults));
        }
        if batch.bytes.len() > BATCH_MAX {
            return Err(error::batch_too_large());
        }
        self.write(batch)
    }

    /// Puts a batch in line and waits until it is durable.
    fn write(&self, batch: Batch) -> Result<Receipt> {
        let (answer, answered) = mpsc::channel();
        let answer = Box::new(move |outcome| drop(answer.send(outcome)));
        self.submit(Job { batch, id: None, answer })?;
        let (receipt, _) = answered.recv().map_err(|_gone| error::ended())??;
        Ok(receipt)
    }

    /// Keeps what a client sent: NDJSON or a JSON array. Bad records are rejected one by one. With a
    /// `retry` the same batch is written once, however often it is sent.
    pub fn ingest(&self, body: &[u8], retry: Option<&Idempotency>) -> Result<Ingested> {
        let Prepared { batch, mut outcome, id } = self.prepare(intake::json::read, body, retry)?;
        let (answer, answered) = mpsc::channel();
        let answer = Box::new(move |written| drop(answer.send(written)));
        self.submit(Job { batch, id, answer })?;
        let (_, accepted) = answered.recv().map_err(|_gone| error::ended())??;
        if id.is_some() {
            outcome.accepted = accepted;
        }
        Ok(outcome)
    }

    /// As [`Self::ingest`], without blocking a thread while the batch is written.
    #[cfg(feature = "http")]
    async fn ingest_soon(
        &self,
        read: impl Fn(&[u8], Time, &mut Take<'_>) -> Result<Ingested> + Send + 'static,
        body: bytes::Bytes,
        coding: Option<String>,
        retry: Option<Idempotency>,
    ) -> Result<Ingested> {
        let arriving = self.0.queue.expect_one();
        let prepared = if body.len() <= SMALL && coding.is_none() {
            // A few lines are read sooner than another thread is woken.
            self.prepare(read, &body, retry.as_ref())
        } else {
            let log = self.clone();
            crate::kernel::off_thread(move || {
                let body = intake::unpack::unpack(&body, coding.as_deref())?;
                log.prepare(read, &body, retry.as_ref())
            })
            .await
        };
        let Prepared { batch, mut outcome, id } = prepared?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        // Whoever waited may be gone; the batch is written all the same.
        let answer = Box::new(move |written| drop(answer.send(written)));
        self.submit(Job { batch, id, answer })?;
        drop(arriving);
        let (_, accepted) = answered.await.map_err(|_gone| error::ended())??;
        if id.is_some() {
            outcome.accepted = accepted;
        }
        Ok(outcome)
    }

    fn prepare(
        &self,
        read: impl Fn(&[u8], Time, &mut Take<'_>) -> Result<Ingested>,
        body: &[u8],
        retry: Option<&Idempotency>,
    ) -> Result<Prepared> {
        if body.len() > BATCH_MAX {
            return Err(error::batch_too_large());
        }
        self.0.door.pass()?;
        let mut batch = Batch::default();
        let mut gate = self.0.streams.gate();
        let outcome = read(body, self.0.clock.now(), &mut |line| {
            self.admit(&mut gate, &mut batch, line);
        })?;
        let id = retry.map(|retry| BatchId {
            key: first_bytes(&Digest::of(retry.key.as_bytes())),
            request: u64::from_le_bytes(first_bytes(&retry.request)),
            count: batch.count(),
            accepted: outcome.accepted,
        });
        Ok(Prepared { batch, outcome, id })
    }

    fn admit(&self, gate: &mut Gate<'_>, batch: &mut Batch, mut line: Line<'_>) {
        if gate.admit(&mut line) {
            batch.push(&line);
        } else {
            self.0.filtered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn submit(&self, job: Job) -> Result<()> {
        self.0.door.pass()?;
        self.0.queue.push(job)
    }

    /// Finds records.
    pub fn query(&self, query: &Query) -> Result<Page> {
        search::query::run(&self.0.shelf, query, self.budget(), self.0.clock.as_ref())
    }

    /// Records as lines of text, each as the template of its stream says.
    pub fn write_out(&self, items: &[Kept]) -> String {
        let settings = self.0.streams.all();
        let mut text = String::new();
        for kept in items {
            let own = settings.get(&kept.record.stream).and_then(|own| own.template.as_deref());
            text.push_str(&write_out(own.unwrap_or(template::PLAIN), kept));
            text.push('\n');
        }
        text
    }

    /// Counts records by time and level, in at most `buckets` stretches.
    pub fn histogram(&self, filter: &Filter, buckets: usize) -> Result<Histogram> {
        let buckets = buckets.clamp(1, BUCKETS_MAX);
        search::histogram::run(&self.0.shelf, filter, buckets, self.budget(), self.0.clock.as_ref())
    }

    /// Counts the values of a field, and lists the `limit` most frequent.
    pub fn values(&self, filter: &Filter, field: &str, limit: usize) -> Result<TopValues> {
        let limit = limit.clamp(1, VALUES_MAX);
        let clock = self.0.clock.as_ref();
        search::values::run(&self.0.shelf, filter, field, limit, self.budget(), clock)
    }

    /// The records around one, in the order they came in: so many before it and behind it, of its
    /// stream alone when `alone`.
    pub fn context(&self, seq: u64, around: usize, alone: bool) -> Result<Context> {
        tail::context(&self.0.shelf, seq, around.clamp(1, CONTEXT_MAX), alone)
    }

    /// Follows what comes in, after the record with this number or from now on.
    pub fn tail(&self, filter: Filter, after: Option<u64>) -> Tail {
        Tail::new(self.0.shelf.clone(), filter, after)
    }

    fn budget(&self) -> Budget {
        Budget { rows: self.0.config.query_rows, time: self.0.config.query_time }
    }

    /// Every stream that has records or settings, by name.
    pub fn streams(&self) -> Vec<Stream> {
        let mut tallies = self.0.shelf.streams();
        let settings = self.0.streams.all();
        for name in settings.keys() {
            tallies.entry(name.clone()).or_insert(Tally::EMPTY);
        }
        tallies
            .into_iter()
            .map(|(name, tally)| {
                let settings = settings.get(&name).map(|kept| (**kept).clone());
                self.describe(name, settings.unwrap_or_default(), &tally)
            })
            .collect()
    }

    /// One stream.
    pub fn stream(&self, name: &str) -> Result<Stream> {
        let tally = self.0.shelf.streams().remove(name);
        let settings = self.0.streams.get(name);
        if tally.is_none() && settings.is_none() {
            return Err(error::no_stream(name));
        }
        let settings = settings.map(|kept| (*kept).clone()).unwrap_or_default();
        Ok(self.describe(name.to_owned(), settings, &tally.unwrap_or(Tally::EMPTY)))
    }

    fn describe(&self, name: String, settings: StreamSettings, tally: &Tally) -> Stream {
        let some = tally.count > 0;
        Stream {
            forwarded: self.0.forwards.of(&name),
            name,
            settings,
            records: tally.count,
            first: some.then_some(Time(tally.min)),
            last: some.then_some(Time(tally.max)),
        }
    }

    /// Sets what a stream keeps, from now on; answers it and whether it had no settings before.
    pub fn set_stream(
        &self,
        caller: &Caller,
        name: &Name,
        settings: StreamSettings,
    ) -> Result<(Stream, bool)> {
        let has_url = self.0.config.forward.is_some();
        if let Some(fault) = forward::fault(settings.forward.as_deref(), has_url) {
            return Err(error::bad_stream(vec![fault]));
        }
        let audit = self.audit(caller, "stream.save", name.as_str());
        let is_new = self.0.streams.put(name, settings, &audit)?;
        Ok((self.stream(name.as_str())?, is_new))
    }

    /// Forgets what a stream keeps: everything again. Its records stay until they are too old.
    pub fn delete_stream(&self, caller: &Caller, name: &Name) -> Result<()> {
        let audit = self.audit(caller, "stream.delete", name.as_str());
        if self.0.streams.delete(name.as_str(), &audit)? {
            return Ok(());
        }
        Err(error::no_stream(name.as_str()))
    }

    fn audit(&self, caller: &Caller, action: &str, subject: &str) -> Audit {
        Audit {
            at: self.0.clock.now(),
            who: caller.name.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: "done".to_owned(),
        }
    }

    /// Removes what is older than its stream keeps it, or more than it may have: whole segments, so
    /// that a query sees one wholly or not at all. Answers how many went.
    pub fn tidy(&self) -> Result<usize> {
        let settings = self.0.streams.all();
        let config = &self.0.config;
        let limits = Limits { retention: config.retention, max_bytes: config.max_bytes };
        let plan = || Plan::new(self.0.clock.now(), limits, &settings, &self.0.shelf.parts());
        let active = self.0.shelf.active().map(Part::Frames);
        if active.is_some_and(|active| active.count() > 0 && plan().drops(&active)) {
            self.rotate()?;
        }
        let plan = plan();
        let mut parts = self.0.shelf.parts();
        parts.pop();
        let mut gone = 0;
        for part in &parts {
            gone += usize::from(plan.apply(&self.0.keeper, part)?);
        }
        if gone > 0 {
            self.0.streams.know(self.0.shelf.streams().into_keys().collect());
        }
        Ok(gone)
    }

    /// Seals every file that is written no more, and puts small segments together: what the keeper
    /// does by itself where `seals` is on. Answers how often it did.
    pub fn seal(&self) -> Result<usize> {
        let mut done = 0;
        let failed = |source| error::io("seal a segment", source);
        while self.0.keeper.seal_next(&mut || true).map_err(failed)?
            || self.0.keeper.merge_next(&mut || true).map_err(failed)?
        {
            done += 1;
        }
        Ok(done)
    }

    /// Begins a new segment, if there is anything in the one that is written to.
    pub fn rotate(&self) -> Result<()> {
        let (done, rotated) = mpsc::channel();
        self.0.queue.rotate(Box::new(move || {
            let _nobody_waits = done.send(());
        }))?;
        rotated.recv().map_err(|_gone| error::ended())
    }

    /// Reads everything and tells all damage, also what was known before.
    pub fn check(&self) -> Result<Vec<Damage>> {
        for part in self.0.shelf.parts() {
            let found = match &part {
                Part::Frames(segment) => {
                    let extents = segment.with(|contents| contents.extents.clone());
                    let all = extents.iter().map(|extent| segment.visit(extent, |_, _| true));
                    all.collect::<std::io::Result<Vec<_>>>().map(|found| found.concat())
                }
                Part::Sealed(sealed) => sealed.check(),
            };
            let found =
                found.map_err(|source| error::io(format!("read {}", part.name()), source))?;
            self.0.shelf.report(found);
        }
        Ok(self.damage())
    }

    /// Every place of damage that is known.
    pub fn damage(&self) -> Vec<Damage> {
        self.0.shelf.damage()
    }

    /// The store of the streams' settings and of the audit.
    pub fn records(&self) -> &SharedRecords {
        self.0.streams.records()
    }

    /// Whether records are taken, and why not.
    pub fn health(&self) -> Result<()> {
        self.0.door.pass()?;
        self.0.streams.health()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        let parts = self.0.shelf.parts();
        Stats {
            records: parts.iter().map(Part::count).sum(),
            bytes: parts.iter().map(Part::bytes).sum(),
            segments: parts.len(),
            sealed: parts.iter().filter(|part| matches!(part, Part::Sealed(_))).count(),
            last_seq: self.0.shelf.last_seq(),
            dropped_bytes: self.0.dropped,
            filtered: self.0.filtered.load(Ordering::Relaxed),
            damaged: self.0.shelf.damage().len(),
        }
    }

    /// Takes the address where syslog comes in, if the settings give one.
    pub fn listen_for_syslog(&self) -> Result<Option<Syslog>> {
        let address = self.0.config.syslog.as_deref();
        address.map(|address| Syslog::listen(self.clone(), address)).transpose()
    }

    /// The clock it goes by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

impl std::fmt::Debug for Trajectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trajectory({} records)", self.stats().records)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.end();
        self.keeper.end();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }
}

/// Checks a record that a program made, and its stream's name.
fn checked(mut line: Line<'_>) -> Result<Line<'_>, String> {
    line.stream = intake::line::stream_name(line.stream)?;
    line.check_size()?;
    Ok(line)
}

fn first_bytes<const N: usize>(digest: &Digest) -> [u8; N] {
    digest.0.first_chunk().copied().unwrap_or([0; N])
}
