//! A segment: one file of frames, and what is known of it without reading it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use bincode::{Decode, Encode};
use serde::Serialize;

use super::super::disk::DiskFile;
use super::frame::{HEADER, Head, Header, Step, Walk};
use super::payload::{BatchId, Raw, Records, Summary, Tally, merge, split_ids};
use crate::kernel::clock::Time;

/// Frames are put together in the index until they have so many bytes.
const EXTENT: u64 = 256 << 10;

/// A run of frames without a hole, and what its records have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) tally: Tally,
    pub(crate) levels: u8,
}

impl Extent {
    /// The number after the last record's.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + self.tally.count
    }
}

/// A place that cannot be read as what was written there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Encode, Decode)]
pub struct Damage {
    /// The file.
    pub segment: String,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// What is wrong.
    pub what: String,
}

/// What is known of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) extents: Vec<Extent>,
    pub(crate) streams: BTreeMap<String, Tally>,
    /// The ids of its batches, with when they were written.
    pub(crate) ids: Vec<(i64, BatchId)>,
    pub(crate) damage: Vec<Damage>,
    /// The bytes up to the end of the last frame.
    pub(crate) end: u64,
    /// About how many bytes its records have unpacked; not known of a file that was found.
    pub(crate) raw: u64,
    /// When the last frame was written.
    pub(crate) written: i64,
}

impl Contents {
    pub(crate) fn new() -> Self {
        Self { end: HEADER as u64, ..Self::default() }
    }

    /// Takes a frame in.
    pub(crate) fn add(&mut self, offset: u64, head: &Head, ids: &[BatchId], summary: &Summary) {
        let bytes = head.total as u64;
        match self.extents.last_mut() {
            Some(last)
                if last.offset + last.bytes == offset
                    && last.next_seq() == head.first_seq
                    && last.bytes < EXTENT =>
            {
                last.bytes += bytes;
                last.tally.add(&summary.whole);
                last.levels |= summary.levels;
            }
            _ => self.extents.push(Extent {
                offset,
                bytes,
                first_seq: head.first_seq,
                tally: summary.whole,
                levels: summary.levels,
            }),
        }
        merge(&mut self.streams, &summary.streams);
        self.ids.extend(ids.iter().map(|id| (head.written.0, *id)));
        self.end = offset + bytes;
        self.raw += head.raw as u64;
        self.written = self.written.max(head.written.0);
    }

    pub(crate) fn next_seq(&self) -> Option<u64> {
        self.extents.last().map(Extent::next_seq)
    }

    pub(crate) fn count(&self) -> u64 {
        self.streams.values().map(|tally| tally.count).sum()
    }
}

/// A segment that can be read while its writer, if it still has one, goes on.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) contents: RwLock<Contents>,
}

impl Segment {
    pub(crate) fn new(name: String, header: Header, file: Arc<dyn DiskFile>) -> Self {
        Self { name, header, file, contents: RwLock::new(Contents::new()) }
    }

    /// A look at what is known of it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.contents.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.contents.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads every frame up to `end` and finds out what is in it; the bytes behind the last sound
    /// frame stay outside [`Contents::end`].
    pub(crate) fn scan(&self, end: u64) -> io::Result<Contents> {
        let mut contents = Contents::new();
        let mut walk = Walk::new(self.file.clone(), self.header.salt, HEADER as u64, end);
        while let Some(step) = walk.step()? {
            match step {
                Step::Frame { offset, head, payload } => {
                    if let Some((ids, summary)) = summarize(&head, &payload) {
                        contents.add(offset, &head, &ids, &summary);
                    } else {
                        contents.damage.push(self.nonsense(offset, &head));
                        contents.end = offset + head.total as u64;
                    }
                }
                Step::Bad { offset, next: Some(next) } => {
                    contents.damage.push(self.damage(
                        offset,
                        next - offset,
                        "no frame stands here, and sound ones follow",
                    ));
                }
                Step::Bad { next: None, .. } => break,
            }
        }
        Ok(contents)
    }

    /// Hands every record of an extent to `visit`, in the order they came in, until it answers
    /// false. Answers what could not be read.
    pub(crate) fn visit(
        &self,
        extent: &Extent,
        visit: impl FnMut(u64, &Raw<'_>) -> bool,
    ) -> io::Result<Vec<Damage>> {
        self.visit_where(extent, |_| true, visit)
    }

    /// As [`Self::visit`], passing over frames whose payload cannot hold what is looked for.
    pub(crate) fn visit_where(
        &self,
        extent: &Extent,
        may_be_in: impl Fn(&[u8]) -> bool,
        mut visit: impl FnMut(u64, &Raw<'_>) -> bool,
    ) -> io::Result<Vec<Damage>> {
        let end = extent.offset + extent.bytes;
        let mut walk = Walk::new(self.file.clone(), self.header.salt, extent.offset, end);
        let mut damage = Vec::new();
        while let Some(step) = walk.step()? {
            match step {
                Step::Frame { payload, .. } if !may_be_in(&payload) => {}
                Step::Frame { offset, head, payload } => {
                    let records = split_ids(&payload).map_or(&[][..], |(_, records)| records);
                    for (seq, raw) in (head.first_seq..).zip(Records::new(records, head.shape)) {
                        match raw {
                            Some(raw) if !visit(seq, &raw) => return Ok(damage),
                            Some(_) => {}
                            None => damage.push(self.nonsense(offset, &head)),
                        }
                    }
                }
                Step::Bad { offset, next } => {
                    let bytes = next.unwrap_or(end) - offset;
                    damage.push(self.damage(offset, bytes, "a frame is not as it was written"));
                }
            }
        }
        Ok(damage)
    }

    fn nonsense(&self, offset: u64, head: &Head) -> Damage {
        let what = "the records of a frame make no sense";
        self.damage(offset, head.total as u64, what)
    }

    pub(crate) fn damage(&self, offset: u64, bytes: u64, what: &str) -> Damage {
        Damage { segment: self.name.clone(), offset, bytes, what: what.to_owned() }
    }
}

/// The ids and the summary of a frame; nothing when its records are not as many as it says, or
/// make no sense.
fn summarize(head: &Head, payload: &[u8]) -> Option<(Vec<BatchId>, Summary)> {
    let (ids, records) = split_ids(payload)?;
    let mut summary = Summary::default();
    for raw in Records::new(records, head.shape) {
        let raw = raw?;
        summary.note(raw.time.0, raw.level, raw.stream);
    }
    (summary.whole.count == u64::from(head.count)).then_some((ids, summary))
}

/// The name of the segment whose first record has this number.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.log")
}

/// The latest time that counts for the age of a stream's records: a clock that ran ahead must not
/// keep a segment for ever.
pub(crate) fn newest(tally: &Tally, written: i64) -> Time {
    Time(tally.max.min(written))
}
