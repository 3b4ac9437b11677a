//! Writing a sealed segment, from a file of frames or from segments that are sealed already.
//!
//! It is written beside what it replaces, synced, renamed, and the folder synced; only then what it
//! replaces may go. A crash in between leaves both, and opening tells which one counts: the one whose
//! numbers hold the other's.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use super::super::active::payload::{BatchId, Raw, Tally};
use super::super::active::segment::{Damage, Extent, Segment};
use super::super::disk::{Disk, DiskFile};
use super::block::{Block, Failed, Whole};
use super::column::{Column, Directory};
use super::encode::{Encoded, Encoder};
use super::layout::{BlockV1, FooterV1, HEADER, Header, Trailer, VERSION};
use super::rows::{BLOCK_BYTES, BLOCK_ROWS, Rows};
use super::{Opened, Sealed, bloom, sealed_name};

/// Rows of so many bytes wait in all for their blocks to fill; then the largest goes.
const PENDING_BYTES: usize = 24 << 20;
/// What is written is handed on in pieces of so many bytes.
const PIECE: usize = 256 << 10;
/// So many names of fields are kept.
const NAMES_MAX: usize = 1000;
/// A block that is nearly full is taken over as it is when segments are merged.
const LARGE: u64 = BLOCK_BYTES as u64 / 2;

/// How hard a file of frames is packed when it is sealed.
pub(crate) const FAST: i32 = 1;
/// How hard segments are packed when they are merged.
pub(crate) const HARD: i32 = 9;

/// Why nothing was sealed.
#[derive(Debug)]
pub(crate) enum Stopped {
    Io(io::Error),
    /// A sync failed: nothing that this disk says can be relied on any more.
    Unsynced(io::Error),
    /// What is to be replaced is damaged: it stays as it is.
    Damaged(Vec<Damage>),
    /// The log ends.
    Ended,
}

impl From<io::Error> for Stopped {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Io(source) => Self::Io(source),
            Failed::Damaged(damage) => Self::Damaged(vec![*damage]),
        }
    }
}

/// Called after each block: waits as long as it must, and answers whether to go on.
pub(crate) type Pace<'p> = dyn FnMut() -> bool + 'p;

/// Seals a file of frames that is written no more.
pub(crate) fn from_frames(
    disk: &dyn Disk,
    segment: &Segment,
    ids: Vec<(i64, BatchId)>,
    pace: &mut Pace<'_>,
) -> Result<Sealed, Stopped> {
    let (extents, written) = segment.with(|contents| (contents.extents.clone(), contents.written));
    let first_seq = segment.header.first_seq;
    let next_seq = extents.last().map_or(first_seq, Extent::next_seq);
    let mut sealing = Sealing::begin(disk, first_seq, next_seq, FAST)?;
    let outcome = (|| {
        for extent in &extents {
            let mut failed = None;
            let damage = segment.visit(extent, |seq, raw| {
                failed = sealing.push(seq, raw).err();
                failed.is_none()
            })?;
            if let Some(failed) = failed {
                return Err(failed.into());
            }
            if !damage.is_empty() {
                return Err(Stopped::Damaged(damage));
            }
            if !pace() {
                return Err(Stopped::Ended);
            }
        }
        Ok(())
    })();
    sealing.end(outcome, written, ids)
}

/// Puts neighbouring segments together, without the blocks that are not to be kept.
pub(crate) fn from_sealed(
    disk: &dyn Disk,
    parts: &[Arc<Sealed>],
    keeps: &dyn Fn(&Sealed, &BlockV1) -> bool,
    ids: Vec<(i64, BatchId)>,
    level: i32,
    pace: &mut Pace<'_>,
) -> Result<Sealed, Stopped> {
    let first_seq = parts.first().map_or(0, |part| part.first_seq);
    let next_seq = parts.last().map_or(0, |part| part.next_seq);
    let written = parts.iter().map(|part| part.footer.written).max().unwrap_or(0);
    let mut sealing = Sealing::begin(disk, first_seq, next_seq, level)?;
    let streams: BTreeSet<&String> = parts.iter().flat_map(|part| part.streams.keys()).collect();
    let outcome = (|| {
        for stream in streams {
            for part in parts {
                let blocks = part.footer.blocks.iter();
                for info in
                    blocks.filter(|info| part.stream_of(info) == stream && keeps(part, info))
                {
                    sealing.take(part, info)?;
                    if !pace() {
                        return Err(Stopped::Ended);
                    }
                }
            }
            sealing.flush(stream)?;
        }
        Ok(())
    })();
    sealing.end(outcome, written, ids)
}

/// A sealed segment that is being written.
struct Sealing<'d> {
    disk: &'d dyn Disk,
    name: String,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Where the next block begins.
    offset: u64,
    footer: FooterV1,
    filters: Vec<u8>,
    names: BTreeSet<String>,
    encoder: Encoder,
    numbers: HashMap<String, u32>,
    waiting: HashMap<u32, Rows>,
    /// How many bytes wait in all.
    pending: usize,
}

fn staged(name: &str) -> String {
    format!("{name}.staged")
}

impl<'d> Sealing<'d> {
    fn begin(disk: &'d dyn Disk, first_seq: u64, next_seq: u64, level: i32) -> io::Result<Self> {
        let name = sealed_name(first_seq);
        let staged = staged(&name);
        if disk.list()?.contains(&staged) {
            disk.remove(&staged)?;
        }
        let header = Header { version: VERSION, first_seq, next_seq };
        Ok(Self {
            disk,
            file: disk.open(&staged, true)?,
            name,
            buffer: header.encode(),
            offset: HEADER as u64,
            footer: FooterV1 { packed: level, ..FooterV1::default() },
            filters: Vec::new(),
            names: BTreeSet::new(),
            encoder: Encoder::new(level)?,
            numbers: HashMap::new(),
            waiting: HashMap::new(),
            pending: 0,
        })
    }

    /// Ends well or gives up, as `outcome` says.
    fn end(
        mut self,
        outcome: Result<(), Stopped>,
        written: i64,
        ids: Vec<(i64, BatchId)>,
    ) -> Result<Sealed, Stopped> {
        let finished = outcome.and_then(|()| self.finish(written, ids));
        if finished.is_err() {
            // A stage that cannot be removed now is removed at the next start.
            let _left = self.disk.remove(&staged(&self.name));
        }
        finished
    }

    fn finish(&mut self, written: i64, ids: Vec<(i64, BatchId)>) -> Result<Sealed, Stopped> {
        let waiting: Vec<u32> = self.waiting.keys().copied().collect();
        for stream in waiting {
            self.flush_number(stream)?;
        }
        self.footer.written = written;
        self.footer.ids = ids;
        self.footer.more_names |= self.names.len() > NAMES_MAX;
        self.footer.names = std::mem::take(&mut self.names).into_iter().take(NAMES_MAX).collect();
        let filters = std::mem::take(&mut self.filters);
        let footer = self.footer.encode().map_err(io::Error::other)?;
        let trailer = Trailer {
            filters: self.offset,
            footer: self.offset + filters.len() as u64,
            length: u32::try_from(footer.len()).map_err(io::Error::other)?,
        };
        for bytes in [&filters, &footer, &footer, &trailer.encode()] {
            self.write(bytes)?;
        }
        self.file.append(&std::mem::take(&mut self.buffer))?;
        self.file.sync().map_err(Stopped::Unsynced)?;
        // Read back before it takes the place of anything.
        let staged = staged(&self.name);
        let mut sealed = match Sealed::open(self.disk, &staged)? {
            Opened::Sealed(sealed, damage) if damage.is_empty() => *sealed,
            _ => return Err(io::Error::other(format!("{staged} cannot be read back")).into()),
        };
        sealed.name.clone_from(&self.name);
        sealed.footer.ids = Vec::new();
        self.disk.rename(&staged, &self.name)?;
        self.disk.sync_folder().map_err(Stopped::Unsynced)?;
        Ok(sealed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Remembers names of fields, as many as are kept and one more.
    fn name<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        for name in names {
            if self.names.len() <= NAMES_MAX && !self.names.contains(name) {
                self.names.insert(name.clone());
            }
        }
    }

    fn number(&mut self, stream: &str) -> u32 {
        if let Some(number) = self.numbers.get(stream) {
            return *number;
        }
        let number = u32::try_from(self.footer.streams.len()).unwrap_or(u32::MAX);
        self.footer.streams.push(stream.to_owned());
        self.numbers.insert(stream.to_owned(), number);
        number
    }

    /// Adds a record to the block of its stream.
    fn push(&mut self, seq: u64, raw: &Raw<'_>) -> io::Result<()> {
        let stream = self.number(raw.stream);
        let rows = self.waiting.entry(stream).or_default();
        let before = rows.bytes();
        rows.push(seq, raw);
        self.pending += rows.bytes() - before;
        if rows.is_full() {
            return self.flush_number(stream);
        }
        if self.pending > PENDING_BYTES {
            let largest = self.waiting.iter().max_by_key(|(_, rows)| rows.bytes());
            if let Some(stream) = largest.map(|(stream, _)| *stream) {
                return self.flush_number(stream);
            }
        }
        Ok(())
    }

    /// Adds a block of another segment: as it is when it is large, else row by row.
    fn take(&mut self, part: &Sealed, info: &BlockV1) -> Result<(), Stopped> {
        let block = Block::open(part, info)?;
        let stream = part.stream_of(info);
        let is_large = info.raw >= LARGE || info.tally.count >= BLOCK_ROWS as u64 / 2;
        let waits =
            self.numbers.get(stream).is_some_and(|number| self.waiting.contains_key(number));
        if is_large && !waits {
            return Ok(self.copy(part, info, &block)?);
        }
        let whole = Whole::read(&block)?;
        let mut scratch = Vec::new();
        for (row, seq) in whole.seqs.iter().enumerate() {
            self.push(*seq, &whole.raw(row, &mut scratch))?;
        }
        Ok(())
    }

    /// Writes the block that waits for a stream.
    fn flush(&mut self, stream: &str) -> io::Result<()> {
        self.numbers.get(stream).copied().map_or(Ok(()), |number| self.flush_number(number))
    }

    fn flush_number(&mut self, stream: u32) -> io::Result<()> {
        let Some(rows) = self.waiting.remove(&stream).filter(|rows| rows.len() > 0) else {
            return Ok(());
        };
        self.pending = self.pending.saturating_sub(rows.bytes());
        let encoded = self.encoder.encode(&rows)?;
        self.name(rows.names.iter().chain(&rows.rest_names));
        let mut tally = Tally::EMPTY;
        rows.times.iter().for_each(|time| tally.note(*time));
        let info = BlockV1 {
            stream,
            offset: 0,
            bytes: 0,
            directory: encoded.directory,
            tally,
            first_seq: rows.seqs.first().copied().unwrap_or_default(),
            last_seq: rows.seqs.last().copied().unwrap_or_default(),
            levels: rows.level_counts(),
            raw: rows.bytes() as u64,
            filter: 0,
            lines: 0,
            has_ints: encoded.has_ints,
        };
        self.add(info, &encoded)
    }

    /// Takes a block over, its columns packed anew, its filter as it is.
    fn copy(&mut self, part: &Sealed, info: &BlockV1, block: &Block<'_>) -> Result<(), Failed> {
        let bloom = part.filter(info)?;
        if let Some(bad) = bloom.chunks(bloom::LINE).position(|line| !bloom::is_sound(line)) {
            let offset = part.trailer.filters + (info.filter + bad as u64) * bloom::LINE as u64;
            let damage = part.damage(info, offset, bloom::LINE as u64, "its filter");
            return Err(Failed::Damaged(Box::new(damage)));
        }
        let mut body = Vec::new();
        let mut columns = Vec::new();
        for column in &block.directory.columns {
            let mut parts = Vec::new();
            for part in &column.parts {
                let raw = block.stored(column, part)?;
                parts.push(self.encoder.packer().put(&raw, &mut body)?);
            }
            columns.push(Column { parts, ..column.clone() });
        }
        self.name(part.footer.names.iter());
        self.footer.more_names |= part.footer.more_names;
        let directory = Directory { columns, ..block.directory.clone() };
        let mut bytes = directory.encode();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&body);
        let stream = self.number(part.stream_of(info));
        let encoded = Encoded { bytes, directory: length, bloom, has_ints: info.has_ints };
        self.add(BlockV1 { stream, directory: length, ..*info }, &encoded)?;
        Ok(())
    }

    fn add(&mut self, info: BlockV1, encoded: &Encoded) -> io::Result<()> {
        let line = bloom::LINE as u64;
        self.footer.blocks.push(BlockV1 {
            offset: self.offset,
            bytes: u32::try_from(encoded.bytes.len()).map_err(io::Error::other)?,
            filter: self.filters.len() as u64 / line,
            lines: u32::try_from(encoded.bloom.len() / bloom::LINE).map_err(io::Error::other)?,
            ..info
        });
        self.filters.extend_from_slice(&encoded.bloom);
        self.offset += encoded.bytes.len() as u64;
        self.write(&encoded.bytes)
    }
}
