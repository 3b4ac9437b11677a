//! Sealed segments: records by stream and column, packed, never changed again.
//!
//! `layout` is what stands around the blocks, `rows` and `encode` make a block, `column` says how it
//! is laid out, `block` reads one, `bloom` tells which need not be read. `seal` writes a whole
//! segment, from a file of frames or from others of its kind.

pub(super) mod block;
pub(super) mod bloom;
mod check;
pub(super) mod column;
mod encode;
pub(super) mod layout;
mod rows;
pub(super) mod seal;
pub(super) mod texts;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::active::payload::{BatchId, Tally};
use super::active::segment::Damage;
use super::disk::{Disk, DiskFile, read_full};
use super::figures;
use layout::{BlockV1, FooterV1, HEADER, Header, TRAILERS, Trailer};

/// What a sealed segment's file is called.
pub(crate) const SUFFIX: &str = ".seg";

/// The name of the sealed segment whose first record has this number.
pub(crate) fn sealed_name(first_seq: u64) -> String {
    format!("{first_seq:020}{SUFFIX}")
}

/// A sealed segment, open for reading.
pub(crate) struct Sealed {
    pub(crate) name: String,
    pub(crate) first_seq: u64,
    pub(crate) next_seq: u64,
    pub(crate) footer: FooterV1,
    pub(crate) streams: BTreeMap<String, Tally>,
    pub(crate) bytes: u64,
    trailer: Trailer,
    file: Arc<dyn DiskFile>,
}

/// What opening a file found.
pub(crate) enum Opened {
    /// A segment, and what is damaged of what is there twice.
    Sealed(Box<Sealed>, Vec<Damage>),
    /// A version that this build does not know.
    Newer(u16),
    /// Nothing that can be read.
    Lost(u64),
}

impl Sealed {
    /// Opens a file.
    pub(crate) fn open(disk: &dyn Disk, name: &str) -> io::Result<Opened> {
        let file = disk.open(name, false)?;
        let length = file.len()?;
        let start = read(file.as_ref(), 0, HEADER)?;
        let mut damage = Vec::new();
        let header = Header::decode(&start);
        if let Some((header, _)) = header.filter(|(header, _)| header.version > layout::VERSION) {
            return Ok(Opened::Newer(header.version));
        }
        let told = |offset: u64, bytes: usize, what: &str| Damage {
            segment: name.to_owned(),
            offset,
            bytes: bytes as u64,
            what: what.to_owned(),
        };
        let Some((header, bad)) = header else { return Ok(Opened::Lost(length)) };
        damage.extend(bad.map(|at| told(at as u64, HEADER / 2, "a copy of the header")));
        let end = length.saturating_sub(TRAILERS as u64);
        let Some((trailer, bad)) = Trailer::decode(&read(file.as_ref(), end, TRAILERS)?) else {
            return Ok(Opened::Lost(length));
        };
        damage.extend(bad.map(|at| told(end + at as u64, TRAILERS / 2, "a copy of the trailer")));
        let mut footer = None;
        for copy in 0..2 {
            let offset = trailer.footer + copy * u64::from(trailer.length);
            let bytes = read(file.as_ref(), offset, trailer.length as usize)?;
            match FooterV1::decode(&bytes) {
                Some(found) => footer = footer.or(Some(found)),
                None => damage.push(told(offset, bytes.len(), "a copy of the footer")),
            }
        }
        let Some(footer) = footer else { return Ok(Opened::Lost(length)) };
        for damage in &mut damage {
            damage.what.push_str(" is not as it was written");
        }
        let sealed = Self {
            name: name.to_owned(),
            first_seq: header.first_seq,
            next_seq: header.next_seq,
            streams: streams(&footer),
            footer,
            bytes: length,
            trailer,
            file,
        };
        Ok(Opened::Sealed(Box::new(sealed), damage))
    }

    pub(crate) fn count(&self) -> u64 {
        self.footer.blocks.iter().map(|block| block.tally.count).sum()
    }

    /// Whether some of its numbers are not there: their streams were kept for a shorter time.
    pub(crate) fn has_holes(&self) -> bool {
        self.count() < self.next_seq - self.first_seq
    }

    pub(crate) fn stream_of(&self, block: &BlockV1) -> &str {
        self.footer.streams.get(block.stream as usize).map_or("", String::as_str)
    }

    /// Whether records may have a field whose name another one's begins with: `a` of `a.b`.
    pub(crate) fn may_have_name(&self, name: &str) -> bool {
        self.footer.more_names
            || self.footer.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }

    /// Whether a block may hold a hash; none, with what is damaged, where its filter is.
    pub(crate) fn may_hold(&self, block: &BlockV1, hash: u64) -> io::Result<Result<bool, Damage>> {
        let line = block.filter + u64::from(bloom::line_of(hash, block.lines));
        let offset = self.trailer.filters + line * bloom::LINE as u64;
        let bytes = read(self.file.as_ref(), offset, bloom::LINE)?;
        Ok(bloom::may_hold(&bytes, hash)
            .ok_or_else(|| self.damage(block, offset, bloom::LINE as u64, "its filter")))
    }

    /// The filter of a block.
    fn filter(&self, block: &BlockV1) -> io::Result<Vec<u8>> {
        let offset = self.trailer.filters + block.filter * bloom::LINE as u64;
        read(self.file.as_ref(), offset, block.lines as usize * bloom::LINE)
    }

    /// A report that names the block.
    pub(crate) fn damage(&self, block: &BlockV1, offset: u64, bytes: u64, part: &str) -> Damage {
        let number = self.footer.blocks.iter().position(|other| other.offset == block.offset);
        let number = number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let stream = self.stream_of(block);
        let what = format!("block {number} (stream {stream}): {part} is not as it was written");
        Damage { segment: self.name.clone(), offset, bytes, what }
    }

    /// The ids of its batches, read anew: nobody keeps them in memory.
    pub(crate) fn read_ids(&self) -> io::Result<Vec<(i64, BatchId)>> {
        for copy in 0..2 {
            let offset = self.trailer.footer + copy * u64::from(self.trailer.length);
            let bytes = read(self.file.as_ref(), offset, self.trailer.length as usize)?;
            if let Some(footer) = FooterV1::decode(&bytes) {
                return Ok(footer.ids);
            }
        }
        Ok(Vec::new())
    }
}

/// Reads what is there of a stretch.
fn read(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let filled = read_full(file, offset, &mut bytes)?;
    bytes.truncate(filled);
    figures::bytes_read(filled);
    Ok(bytes)
}

fn streams(footer: &FooterV1) -> BTreeMap<String, Tally> {
    let mut streams: BTreeMap<String, Tally> = BTreeMap::new();
    for block in &footer.blocks {
        if let Some(name) = footer.streams.get(block.stream as usize) {
            streams.entry(name.clone()).or_insert(Tally::EMPTY).add(&block.tally);
        }
    }
    streams
}
