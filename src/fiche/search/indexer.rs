//! The thread that keeps the index up to date. It reads the change feed from where the index stands,
//! looks up how each changed card stands now, and commits, at most a few times a second. When the
//! index is missing, damaged or not of these cards, it makes it anew from the records.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tantivy::indexer::IndexWriterOptions;
use tantivy::{IndexWriter, TantivyDocument, Term};

use super::index::{INDEX_FAILED, Live, failed, mark};
use crate::fiche::model::CardKey;
use crate::fiche::plan::CARD_SAVED;
use crate::fiche::store::{self, Filter};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::feed::{self, Event};
use crate::kernel::records::SharedRecords;

/// The shortest time between two commits: each costs some twenty syncs.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest: a card is found within a second.
const PAUSE_MAX: Duration = Duration::from_millis(600);
/// How many times as long as a commit took the next one waits: under load they are fewer and larger.
const BREATH: u32 = 4;
/// How long the writer is kept when nothing changes.
const IDLE: Duration = Duration::from_secs(30);
/// How many events one step reads.
const STEP: usize = 1000;
/// How many events one commit takes in at most.
const COMMIT_MAX: usize = 20_000;
/// How often a failing index is tried again before it is made anew.
const PATIENCE: u32 = 3;

/// What searches and the thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the newest change.
    newest: u64,
    /// The number of the last change that a search finds.
    reached: u64,
    live: Option<Arc<Live>>,
    /// A search met damage: the index is to be made anew.
    damaged: bool,
    closing: bool,
    /// Why the index cannot be used, where it cannot.
    trouble: Option<String>,
}

/// Keeps the index. Dropping it ends the thread.
pub(in crate::fiche) struct Indexer {
    pub(super) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Indexer {
    /// Starts the thread; `folder` is the index's own, none for one in memory.
    pub(in crate::fiche) fn start(
        records: SharedRecords,
        folder: Option<PathBuf>,
        newest: u64,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { newest, ..State::default() }),
            changed: Condvar::new(),
        });
        let keeper = Keeper { shared: shared.clone(), records, folder };
        let thread = std::thread::Builder::new()
            .name("fiche-index".into())
            .spawn(move || keeper.run())
            .map_err(|source| Error::io("start the index thread", source))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Tells that there is a newer change.
    pub(in crate::fiche) fn wake(&self, number: u64) {
        let mut state = self.shared.lock();
        // Where it is behind already, it is at work or will be after a pause.
        let rests = state.newest <= state.reached;
        state.newest = state.newest.max(number);
        if rests {
            self.shared.changed.notify_all();
        }
    }

    /// Waits until searches find change `number`; answers whether they do.
    pub(in crate::fiche) fn wait(&self, number: u64, time: Duration) -> bool {
        let state = self.shared.lock();
        let waits = |state: &mut State| state.reached < number && !state.closing;
        let outcome = self.shared.changed.wait_timeout_while(state, time, waits);
        let (state, _) = outcome.unwrap_or_else(PoisonError::into_inner);
        state.reached >= number
    }

    /// Ends the thread. What it has not taken in, it takes in when it is started again.
    pub(in crate::fiche) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: a panic leaves nothing half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, as soon as it is open; and how many changes it has yet to take in.
    pub(super) fn live(&self, time: Duration) -> Result<(Arc<Live>, u64), String> {
        let waits =
            |state: &mut State| state.live.is_none() && state.trouble.is_none() && !state.closing;
        let outcome = self.changed.wait_timeout_while(self.lock(), time, waits);
        let (state, _) = outcome.unwrap_or_else(PoisonError::into_inner);
        match &state.live {
            Some(live) => Ok((live.clone(), state.newest.saturating_sub(state.reached))),
            None if state.closing => Err("it is closed".to_owned()),
            None => Err(state.trouble.clone().unwrap_or_else(|| "it is being opened".to_owned())),
        }
    }

    /// Tells that the index gave wrong bytes: it will be made anew.
    pub(super) fn report_damage(&self) {
        self.lock().damaged = true;
        self.changed.notify_all();
    }
}

/// What the thread found to do.
enum Task {
    Close,
    Mend,
    CatchUp,
    Rest,
}

struct Keeper {
    shared: Arc<Shared>,
    records: SharedRecords,
    folder: Option<PathBuf>,
}

impl Keeper {
    fn run(&self) {
        let (mut failures, mut anew) = (0, false);
        loop {
            let before = self.shared.lock().reached;
            let outcome = catch_unwind(AssertUnwindSafe(|| self.session(anew)));
            let why = match outcome {
                Ok(Ok(End::Closed)) => return,
                Ok(Ok(End::Damaged)) => {
                    tracing::warn!("the search index is damaged and is made anew");
                    anew = true;
                    continue;
                }
                Ok(Err(error)) if is_of_records(&error) => {
                    // It says nothing of the index, which is as good as it was.
                    if self.rest_after(error.to_string(), 1) {
                        return;
                    }
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            failures = if self.shared.lock().reached > before { 1 } else { failures + 1 };
            // What fails again and again without getting on is taken for damaged.
            anew = failures % PATIENCE == 0;
            tracing::warn!(%why, failures, "the search index failed and is tried again");
            if self.rest_after(why, failures) {
                return;
            }
        }
    }

    /// Waits before the next try; answers whether it is over.
    fn rest_after(&self, why: String, failures: u32) -> bool {
        let mut state = self.shared.lock();
        state.trouble = Some(why);
        self.shared.changed.notify_all();
        let pause = PAUSE.saturating_mul(1 << failures.min(7));
        let waits = |state: &mut State| !state.closing;
        let outcome = self.shared.changed.wait_timeout_while(state, pause, waits);
        outcome.unwrap_or_else(PoisonError::into_inner).0.closing
    }

    /// Opens the index, or makes it, and keeps it up to date until the end.
    fn session(&self, anew: bool) -> Result<End> {
        self.shared.lock().live = None;
        let folder = self.folder.as_deref();
        let opened = match folder {
            Some(folder) if !anew => Live::open(folder, self.records.as_ref())?,
            _ => None,
        };
        let (live, reached) = match opened {
            Some((live, reached)) => (live, Some(reached)),
            None => (Live::new(folder)?, None),
        };
        let mut work = Work {
            keeper: self,
            live: Arc::new(live),
            writer: None,
            committed: None,
            pause: PAUSE,
            known: 0,
        };
        {
            let mut state = self.shared.lock();
            state.live = Some(work.live.clone());
            state.reached = reached.unwrap_or(0);
            state.damaged = false;
            state.trouble = None;
        }
        self.shared.changed.notify_all();
        if reached.is_none() && !work.fill()? {
            return Ok(End::Closed);
        }
        work.known = feed::last_number(self.records.as_ref())?;
        loop {
            match work.wait() {
                Task::Close => return Ok(End::Closed),
                Task::Mend if work.is_whole() => self.shared.lock().damaged = false,
                Task::Mend => return Ok(End::Damaged),
                Task::CatchUp => work.catch_up()?,
                Task::Rest => work.rest()?,
            }
        }
    }
}

enum End {
    Closed,
    Damaged,
}

struct Work<'a> {
    keeper: &'a Keeper,
    live: Arc<Live>,
    /// Open only while there is something to write: it holds memory and threads.
    writer: Option<IndexWriter>,
    committed: Option<Instant>,
    /// How long after a commit the next one waits.
    pause: Duration,
    /// The last event whose card may have come into the index otherwise than by the feed.
    known: u64,
}

impl Work<'_> {
    /// Waits until there is something to do.
    fn wait(&self) -> Task {
        let shared = &self.keeper.shared;
        let mut state = shared.lock();
        loop {
            if state.closing {
                return Task::Close;
            }
            if state.damaged {
                return Task::Mend;
            }
            let is_behind = state.newest > state.reached;
            let since = self.committed.map_or(Duration::MAX, |at| at.elapsed());
            let pause = match (is_behind, &self.writer) {
                (true, _) if since >= self.pause => return Task::CatchUp,
                (true, _) => self.pause.saturating_sub(since),
                (false, Some(_)) if since >= IDLE => return Task::Rest,
                (false, Some(_)) => IDLE.saturating_sub(since),
                (false, None) => Duration::from_hours(1),
            };
            let outcome = shared.changed.wait_timeout(state, pause);
            state = outcome.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the bytes are as they were written: then it was not the index that made a search
    /// fail, and making it anew would mend nothing.
    fn is_whole(&self) -> bool {
        let damaged = self.live.index.validate_checksum();
        damaged.is_ok_and(|damaged| damaged.is_empty())
    }

    fn writer(&mut self) -> Result<&mut IndexWriter> {
        if self.writer.is_none() {
            let options = IndexWriterOptions::builder()
                .num_worker_threads(1)
                .num_merge_threads(1)
                .memory_budget_per_thread(15_000_000)
                .build();
            let writer = self.live.index.writer_with_options::<TantivyDocument>(options);
            self.writer = Some(writer.map_err(failed)?);
        }
        self.writer.as_mut().ok_or_else(|| Error::internal("the index writer is gone"))
    }

    /// Lets the writer go, once it has merged what it was merging.
    fn rest(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(writer) => writer.wait_merging_threads().map_err(failed),
            None => Ok(()),
        }
    }

    /// Takes in every card there is, in steps that are found as they come. Answers whether it came
    /// to the end.
    fn fill(&mut self) -> Result<bool> {
        let records = self.keeper.records.clone();
        // What changes while it is filled comes again from the feed.
        let number = feed::last_number(records.as_ref())?;
        let (mut since, mut closing) = (0, false);
        store::each(records.as_ref(), &Filter::default(), None, |card| {
            let document = self.live.document(&card);
            self.writer()?.add_document(document).map_err(failed)?;
            since += 1;
            if since >= COMMIT_MAX {
                // A crash from here on goes on from the feed's beginning, which is slow and right.
                self.commit(0)?;
                since = 0;
            }
            closing = self.keeper.shared.lock().closing;
            Ok(!closing)
        })?;
        if !closing && number > 0 {
            self.commit(number)?;
        }
        Ok(!closing)
    }

    /// Takes in what the feed has beyond the last commit.
    fn catch_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        let records = self.keeper.records.clone();
        let start = self.keeper.shared.lock().reached;
        let mut number = start;
        let mut subjects = BTreeMap::new();
        loop {
            let events = feed::read(records.as_ref(), number, STEP)?;
            let count = events.len();
            for event in events {
                number = event.number;
                let may_be_there = !self.is_first(&event);
                subjects.entry(event.subject).or_insert(may_be_there);
            }
            let taken = usize::try_from(number - start).unwrap_or(usize::MAX);
            if count < STEP || taken >= COMMIT_MAX {
                break;
            }
        }
        if number == start {
            return Err(Error::internal("the feed ends before its newest event"));
        }
        for (subject, may_be_there) in subjects {
            let key = CardKey::from_subject(&subject);
            let card = key.map(|key| store::find(records.as_ref(), &key)).transpose()?;
            let document = card.flatten().map(|card| self.live.document(&card));
            let id = Term::from_field_text(self.live.fields.id, &subject);
            let writer = self.writer()?;
            if may_be_there {
                writer.delete_term(id);
            }
            if let Some(document) = document {
                writer.add_document(document).map_err(failed)?;
            }
        }
        self.commit(number)?;
        self.pause = begun.elapsed().saturating_mul(BREATH).clamp(PAUSE, PAUSE_MAX);
        Ok(())
    }

    /// Whether an event tells of a card that the index cannot hold yet. To look for what is not there
    /// costs a look into every segment.
    fn is_first(&self, event: &Event) -> bool {
        let revision = event.payload.get("revision").and_then(serde_json::Value::as_u64);
        event.number > self.known && event.event == CARD_SAVED && revision == Some(1)
    }

    fn commit(&mut self, number: u64) -> Result<()> {
        let mark = mark(self.keeper.records.as_ref(), number)?;
        let writer = self.writer()?;
        let mut prepared = writer.prepare_commit().map_err(failed)?;
        prepared.set_payload(&mark);
        prepared.commit().map_err(failed)?;
        sync(self.keeper.folder.as_deref())?;
        self.live.reader.reload().map_err(failed)?;
        self.committed = Some(Instant::now());
        self.keeper.shared.lock().reached = number;
        self.keeper.shared.changed.notify_all();
        Ok(())
    }
}

/// Whether the store of the cards is away, rather than the index at fault.
fn is_of_records(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.code() != INDEX_FAILED
}

fn sync(folder: Option<&Path>) -> Result<()> {
    folder.map_or(Ok(()), crate::kernel::disk::sync_folder)
}
