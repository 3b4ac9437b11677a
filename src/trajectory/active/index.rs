//! The index beside a segment that is no longer written: what a scan of it would find, so that
//! opening reads no data. It is derived: one that is missing, damaged or of another file is made
//! again from the segment.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::super::disk::{Disk, read_full};
use super::payload::{BatchId, Tally};
use super::segment::{Contents, Damage, Extent, Segment};
use crate::kernel::format::{Nothing, Versioned, decode, encode};

/// No index is larger: what says so is damaged.
const INDEX_MAX: u64 = 256 << 20;

#[derive(Debug, Encode, Decode)]
struct IndexV1 {
    salt: u64,
    end: u64,
    written: i64,
    extents: Vec<Extent>,
    streams: BTreeMap<String, Tally>,
    ids: Vec<(i64, BatchId)>,
    damage: Vec<Damage>,
}

impl Versioned for IndexV1 {
    const MARKER: &'static str = "segment-index.v1";
    type Previous = Nothing;
}

/// The name of a segment's index.
pub(crate) fn index_name(segment: &str) -> String {
    segment.replace(".log", ".idx")
}

/// Writes the index of a segment: beside it, synced, renamed, the folder synced.
pub(crate) fn write(disk: &dyn Disk, segment: &Segment) -> io::Result<()> {
    let index = segment.with(|contents| IndexV1 {
        salt: segment.header.salt,
        end: contents.end,
        written: contents.written,
        extents: contents.extents.clone(),
        streams: contents.streams.clone(),
        ids: contents.ids.clone(),
        damage: contents.damage.clone(),
    });
    let mut bytes = encode(&index).map_err(io::Error::other)?;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let name = index_name(&segment.name);
    let staged = format!("{name}.staged");
    if disk.list()?.contains(&staged) {
        disk.remove(&staged)?;
    }
    let file = disk.open(&staged, true)?;
    file.append(&bytes)?;
    file.sync()?;
    disk.rename(&staged, &name)?;
    disk.sync_folder()
}

/// Reads the index of a segment, if it is there, sound, and of this very file.
pub(crate) fn read(disk: &Arc<dyn Disk>, segment: &Segment, length: u64) -> Option<Contents> {
    let file = disk.open(&index_name(&segment.name), false).ok()?;
    let size = file.len().ok().filter(|size| *size <= INDEX_MAX)?;
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    let read = read_full(file.as_ref(), 0, &mut bytes).ok()?;
    bytes.truncate(read);
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let index: IndexV1 = decode(body).ok()?;
    if index.salt != segment.header.salt || index.end != length {
        return None;
    }
    Some(Contents {
        extents: index.extents,
        streams: index.streams,
        ids: index.ids,
        damage: index.damage,
        end: index.end,
        raw: 0,
        written: index.written,
    })
}
