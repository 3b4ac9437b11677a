//! The one writer: it takes everything that waits, writes it as one frame, syncs once, and only then
//! answers everyone. While it syncs, the next frame gathers; under load batches grow by themselves.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::disk::Disk;
use super::super::error;
use super::super::figures;
use super::super::keeper::Keeper;
use super::super::model::Receipt;
use super::super::recovery;
use super::super::shelf::{Fresh, Part, Shelf};
use super::batches::Batches;
use super::frame::{self, Head};
use super::patience::Patience;
use super::payload::{Batch, BatchId, Summary, put_ids};
use super::poison::Door;
use super::segment::Segment;
use crate::kernel::clock::{Clock, Time};
use crate::kernel::error::{Error, Result};

/// The most bytes that wait.
pub(crate) const QUEUE_BYTES: usize = 8 << 20;
/// The most records that wait.
pub(crate) const QUEUE_RECORDS: u64 = 64 << 10;

/// How long the writer waits for batches that are being read, or for as many as came together the
/// last times: one sync for many is cheaper for all.
const MOMENT: Duration = Duration::from_millis(2);
/// With so many bytes at hand it does not wait.
const ENOUGH: usize = 256 << 10;

/// Who waits for a batch.
pub(crate) type Answer = Box<dyn FnOnce(Result<(Receipt, u64)>) + Send>;

/// Who waits for a new segment.
pub(crate) type Rotated = Box<dyn FnOnce() + Send>;

/// A batch on its way: its records, its id, how many lines were accepted, who waits.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) id: Option<BatchId>,
    pub(crate) answer: Answer,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    bytes: usize,
    records: u64,
    /// Who asked for a new segment.
    rotations: Vec<Rotated>,
    ended: bool,
    patience: Patience,
}

/// Where batches wait for the writer. Bounded: what does not fit is refused, not kept.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    some: Condvar,
    /// How many batches are being read and will be put in line.
    arriving: AtomicUsize,
}

/// A batch that is being read. While there are some, the writer waits a moment for them.
#[cfg(feature = "http")]
pub(crate) struct Arriving<'q>(&'q Queue);

#[cfg(feature = "http")]
impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if self.0.arriving.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.some.notify_one();
        }
    }
}

impl Queue {
    /// Tells that a batch will be put in line soon.
    #[cfg(feature = "http")]
    pub(crate) fn expect_one(&self) -> Arriving<'_> {
        self.arriving.fetch_add(1, Ordering::AcqRel);
        Arriving(self)
    }

    /// Puts a batch in line. A batch that is alone is taken whatever its size.
    pub(crate) fn push(&self, job: Job) -> Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.ended {
            return Err(error::ended());
        }
        let bytes = waiting.bytes + job.batch.bytes.len();
        let records = waiting.records + job.batch.count();
        if !waiting.jobs.is_empty() && (bytes > QUEUE_BYTES || records > QUEUE_RECORDS) {
            return Err(error::busy());
        }
        (waiting.bytes, waiting.records) = (bytes, records);
        waiting.jobs.push(job);
        self.some.notify_one();
        Ok(())
    }

    /// Asks for a new segment behind what waits now.
    pub(crate) fn rotate(&self, rotated: Rotated) -> Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.ended {
            return Err(error::ended());
        }
        waiting.rotations.push(rotated);
        self.some.notify_one();
        Ok(())
    }

    /// Everything that waits; nothing at the end.
    fn take(&self) -> Option<(Vec<Job>, Vec<Rotated>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.jobs.is_empty() && waiting.rotations.is_empty() {
            if waiting.ended {
                return None;
            }
            waiting = self.some.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let arriving = || self.arriving.load(Ordering::Acquire) > 0;
        let expecting = |waiting: &mut Waiting| {
            let wanted = waiting.jobs.len() < waiting.patience.wanted();
            !waiting.ended
                && waiting.rotations.is_empty()
                && waiting.bytes < ENOUGH
                && (wanted || arriving())
        };
        let waited = self.some.wait_timeout_while(waiting, MOMENT, expecting);
        waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        let came = waiting.jobs.len();
        if waiting.bytes < ENOUGH && waiting.rotations.is_empty() {
            waiting.patience.came(came, arriving());
        }
        (waiting.bytes, waiting.records) = (0, 0);
        let rotations = std::mem::take(&mut waiting.rotations);
        Some((std::mem::take(&mut waiting.jobs), rotations))
    }

    /// Takes no more; the writer ends when it has written what waits.
    pub(crate) fn end(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.some.notify_all();
    }
}

/// What the writer has to itself.
pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) door: Arc<Door>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) batches: Batches,
    pub(crate) next_seq: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) builder: frame::Builder,
    /// Who seals what is written no more, where there is someone.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

/// The batches of one frame, put together.
#[derive(Default)]
struct Group {
    ids: Vec<BatchId>,
    records: Vec<u8>,
    summary: Summary,
    waiting: Vec<Waiter>,
}

/// Who waits for a frame, and what to answer when it is durable.
struct Waiter {
    answer: Answer,
    receipt: Receipt,
    accepted: u64,
    /// Whether it needs this frame at all.
    needs: bool,
}

impl Writer {
    /// Starts its thread.
    pub(crate) fn start(mut self) -> Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("trajectory-writer".into())
            .spawn(move || {
                while let Some((jobs, rotations)) = self.queue.clone().take() {
                    self.round(jobs);
                    if !rotations.is_empty() {
                        self.rotate_from(1);
                    }
                    for rotated in rotations {
                        rotated();
                    }
                }
            })
            .map_err(|source| error::io("start the writer", source))
    }

    fn round(&mut self, jobs: Vec<Job>) {
        if let Some(why) = self.door.reason() {
            for job in jobs {
                (job.answer)(Err(error::closed(why)));
            }
            return;
        }
        let now = self.clock.now();
        self.batches.forget_old(now);
        let mut group = self.gather(jobs);
        let waiting = std::mem::take(&mut group.waiting);
        if group.summary.whole.count > 0
            && let Err(failed) = self.commit(group, now)
        {
            for waiter in waiting {
                // A batch that was there before is there still, whatever became of the others.
                (waiter.answer)(if waiter.needs {
                    Err(failed.tell())
                } else {
                    Ok((waiter.receipt, waiter.accepted))
                });
            }
            return;
        }
        for waiter in waiting {
            (waiter.answer)(Ok((waiter.receipt, waiter.accepted)));
        }
        self.rotate_from(self.segment_bytes);
    }

    /// Puts batches together; those that were written before are only answered.
    fn gather(&self, jobs: Vec<Job>) -> Group {
        let mut group = Group::default();
        for Job { batch, id, answer } in jobs {
            let before = id.and_then(|id| self.known(&group, &id));
            match (id, before) {
                (Some(id), Some(before)) if before.request != id.request => {
                    answer(Err(error::retry_differs()));
                }
                (_, Some(before)) => group.waiting.push(Waiter {
                    answer,
                    receipt: Receipt { first_seq: 0, count: before.count, repeated: true },
                    accepted: before.accepted,
                    // Repeated within one frame: it becomes durable with its twin, or not at all.
                    needs: self.batches.get(&before.key).is_none(),
                }),
                (id, None) => {
                    let count = batch.count();
                    let first = self.next_seq + group.summary.whole.count;
                    let first_seq = if count == 0 { 0 } else { first };
                    group.ids.extend(id.filter(|_| count > 0));
                    group.records.extend_from_slice(&batch.bytes);
                    group.summary.add(&batch.summary);
                    group.waiting.push(Waiter {
                        answer,
                        receipt: Receipt { first_seq, count, repeated: false },
                        accepted: id.map_or(count, |id| id.accepted),
                        needs: count > 0,
                    });
                }
            }
        }
        group
    }

    fn known(&self, group: &Group, id: &BatchId) -> Option<BatchId> {
        self.batches
            .get(&id.key)
            .or_else(|| group.ids.iter().find(|other| other.key == id.key).copied())
    }

    /// Writes one frame and makes it durable; only then it can be seen.
    fn commit(&mut self, group: Group, now: Time) -> Result<(), Failed> {
        let active = self.shelf.active().ok_or(Failed::Other)?;
        let count = group.summary.whole.count;
        let mut raw = Vec::with_capacity(group.records.len() + 32 * group.ids.len() + 8);
        put_ids(&mut raw, &group.ids);
        raw.extend_from_slice(&group.records);
        let frame = self
            .builder
            .build(active.header.salt, self.next_seq, count, now, &raw)
            .map_err(|_too_large| Failed::Other)?;
        drop(raw);
        let head = Head::read(frame).ok_or(Failed::Other)?;
        let offset = active.with(|contents| contents.end);
        write(&self.door, &active, offset, frame)?;
        figures::written(count, frame.len());
        active.change(|contents| contents.add(offset, &head, &group.ids, &group.summary));
        for id in group.ids {
            self.batches.remember(id, now);
        }
        let first_seq = self.next_seq;
        self.next_seq += count;
        self.shelf.publish(Fresh { first_seq, count, records: group.records });
        Ok(())
    }

    /// Begins a new segment when the one that is written to holds `bytes` or more, unpacked.
    fn rotate_from(&mut self, bytes: u64) {
        let Some(active) = self.shelf.active() else {
            return;
        };
        if self.door.reason().is_some() || active.with(|contents| contents.raw) < bytes {
            return;
        }
        match recovery::create(self.disk.as_ref(), self.next_seq) {
            Ok(segment) => {
                self.shelf.change_parts(|all| all.push(Part::Frames(Arc::new(segment))));
                recovery::keep_index(self.disk.as_ref(), &active);
                if let Some(keeper) = &self.keeper {
                    keeper.wait_for_room();
                }
            }
            Err(source) => self.not_rotated(source),
        }
    }

    /// The old segment is written on; what the attempt left must not look like a newer one.
    fn not_rotated(&self, source: io::Error) {
        tracing::warn!(error = %source, "a new segment could not be made; the old one is written on");
        let name = super::segment::segment_name(self.next_seq);
        let removed = match self.disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_folder(),
        };
        if let Err(error) = removed {
            self.door.close(format!("making {name} failed: {source}; removing it again: {error}"));
        }
    }
}

/// Writes a frame at the end of a file and makes it durable.
fn write(door: &Door, active: &Segment, offset: u64, frame: &[u8]) -> Result<(), Failed> {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    if let Err(source) = active.file.append(frame) {
        let full = matches!(source.kind(), StorageFull | QuotaExceeded);
        // Part of the frame may be there: it must not stand before the next one.
        let cut = active.file.truncate(offset);
        if full && cut.is_ok() {
            return Err(Failed::Full(source.to_string()));
        }
        let why = format!("writing to {} failed: {source}", active.name);
        door.close(why.clone());
        return Err(Failed::Closed(why));
    }
    if let Err(source) = active.file.sync() {
        let why = format!("syncing {} failed: {source}", active.name);
        door.close(why.clone());
        return Err(Failed::Closed(why));
    }
    Ok(())
}

/// Why a frame is not there. Told to each who waits.
enum Failed {
    Full(String),
    Closed(String),
    Other,
}

impl Failed {
    fn tell(&self) -> Error {
        match self {
            Self::Full(source) => error::disk_full(io::Error::other(source.clone())),
            Self::Closed(why) => error::closed(why),
            Self::Other => Error::internal("a frame of the log could not be built"),
        }
    }
}
