//! Opening what is there: whole segments by their index, the last one by reading it.
//!
//! A frame that was being written when the power went is at the very end of the last segment: it is
//! cut off, and how much was cut is told. A bad place with sound frames behind it is damage: it stays
//! where it is, is listed, and the segment is closed, so that nothing is ever written behind it.
//! Opening twice finds the same as opening once.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, read_full};
use super::error;
use super::frame::{HEADER, Header, VERSION};
use super::index::{self, index_name};
use super::payload::BatchId;
use super::segment::{Contents, Damage, Segment, segment_name};
use crate::kernel::error::{Error, Result};

/// How far numbers jump when nobody can tell how many records a lost segment had.
const JUMP: u64 = 1 << 32;
const DAMAGED: &str = ".damaged";

/// What was found.
pub(super) struct Recovered {
    /// All segments by number; the last one is written to.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) next_seq: u64,
    pub(super) ids: Vec<(i64, BatchId)>,
    pub(super) damage: Vec<Damage>,
    /// The bytes of unfinished frames that were cut off.
    pub(super) dropped: u64,
}

/// Opens the segments of a disk.
pub(super) fn recover(disk: &Arc<dyn Disk>) -> Result<Recovered> {
    let mut found = Recovered {
        segments: Vec::new(),
        next_seq: 1,
        ids: Vec::new(),
        damage: Vec::new(),
        dropped: 0,
    };
    let names = sweep(disk.as_ref(), &mut found)
        .and_then(|names| drop_unmade(disk.as_ref(), names, &mut found))
        .map_err(|source| error::io("list the segments", source))?;
    let last = names.last().cloned();
    for name in names {
        let is_last = Some(&name) == last.as_ref();
        take(disk, &name, is_last, &mut found)?;
    }
    let writable = found.segments.last().is_some_and(|segment| {
        Some(&segment.name) == last.as_ref() && segment.with(|contents| contents.damage.is_empty())
    });
    if !writable {
        let segment = create(disk.as_ref(), found.next_seq)
            .map_err(|source| error::io("make a segment", source))?;
        found.segments.push(Arc::new(segment));
    }
    if found.dropped > 0 {
        tracing::warn!(
            bytes = found.dropped,
            "an unfinished frame at the end of the log was cut off"
        );
    }
    for damage in &found.damage {
        tracing::error!(segment = %damage.segment, offset = damage.offset, bytes = damage.bytes, "the log is damaged: {}", damage.what);
    }
    Ok(found)
}

/// Removes what a crash left half made, lists what was set aside before, and answers the segments
/// in order.
fn sweep(disk: &dyn Disk, found: &mut Recovered) -> io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.sort();
    for name in &names {
        let orphan = name.strip_suffix(".idx").is_some_and(|stem| {
            let segment = format!("{stem}.log");
            names.binary_search(&segment).is_err()
        });
        if orphan || name.ends_with(".staged") {
            disk.remove(name)?;
        }
        if let Some(first) = name.strip_suffix(DAMAGED).and_then(number) {
            found.damage.push(lost(name, disk.open(name, false)?.len()?));
            found.next_seq = found.next_seq.max(first.saturating_add(JUMP));
        }
    }
    names.retain(|name| name.strip_suffix(".log").and_then(number).is_some());
    Ok(names)
}

fn number(stem: &str) -> Option<u64> {
    (stem.len() == 20).then(|| stem.parse().ok()).flatten()
}

fn lost(name: &str, bytes: u64) -> Damage {
    Damage {
        segment: name.to_owned(),
        offset: 0,
        bytes,
        what: "neither copy of the header is sound: the file was set aside".to_owned(),
    }
}

/// Takes one segment in.
fn take(disk: &Arc<dyn Disk>, name: &str, is_last: bool, found: &mut Recovered) -> Result<()> {
    let failed = |source| error::io(format!("read {name}"), source);
    let file = disk.open(name, false).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    let mut start = vec![0; HEADER];
    let read = read_full(file.as_ref(), 0, &mut start).map_err(failed)?;
    start.truncate(read);
    let Some((header, bad_copy)) = Header::decode(&start) else {
        return set_aside(disk.as_ref(), name, length, found).map_err(failed);
    };
    if header.version > VERSION {
        return Err(error::newer(name, header.version));
    }
    let segment = Segment::new(name.to_owned(), header, file);
    if let Some(at) = bad_copy {
        found.damage.push(segment.damage(
            at as u64,
            32,
            "a copy of the header is not as it was written",
        ));
    }
    let mut contents = contents(disk, &segment, length, is_last, found)?;
    found.next_seq = found.next_seq.max(header.first_seq).max(contents.next_seq().unwrap_or(0));
    found.ids.extend_from_slice(&contents.ids);
    found.damage.extend_from_slice(&contents.damage);
    let whole = is_last && contents.damage.is_empty();
    let ids = std::mem::take(&mut contents.ids);
    if whole {
        // Still written to: its index will need them.
        contents.ids = ids;
    }
    segment.change(|place| *place = contents);
    found.segments.push(Arc::new(segment));
    Ok(())
}

fn contents(
    disk: &Arc<dyn Disk>,
    segment: &Segment,
    length: u64,
    is_last: bool,
    found: &mut Recovered,
) -> Result<Contents> {
    let failed = |source| error::io(format!("read {}", segment.name), source);
    if !is_last && let Some(contents) = index::read(disk, segment, length) {
        return Ok(contents);
    }
    let mut contents = segment.scan(length).map_err(failed)?;
    let behind = length - contents.end.min(length);
    if behind > 0 && is_last {
        // Sound frames before, none behind: the write that was cut off.
        segment.file.truncate(contents.end).map_err(failed)?;
        segment.file.sync().map_err(failed)?;
        found.dropped += behind;
    } else if behind > 0 {
        let at = contents.end;
        contents.damage.push(segment.damage(at, behind, "the end of a whole segment is no frame"));
        contents.end = length;
    }
    if !is_last || !contents.damage.is_empty() {
        segment.change(|place| place.clone_from(&contents));
        keep_index(disk.as_ref(), segment);
    }
    Ok(contents)
}

/// Keeps the index of a segment that is no longer written. It is derived, so that failing costs
/// only time at the next start.
pub(super) fn keep_index(disk: &dyn Disk, segment: &Segment) {
    if let Err(error) = index::write(disk, segment) {
        tracing::warn!(segment = %segment.name, %error, "the index of a segment could not be kept");
        return;
    }
    segment.change(|contents| contents.ids = Vec::new());
}

/// Removes newest segments that were cut off while they were made: the header is synced before the
/// first frame, so that nothing was ever in them.
fn drop_unmade(
    disk: &dyn Disk,
    mut names: Vec<String>,
    found: &mut Recovered,
) -> io::Result<Vec<String>> {
    while let Some(name) = names.last() {
        let file = disk.open(name, false)?;
        let length = file.len()?;
        let mut start = vec![0; HEADER];
        let read = read_full(file.as_ref(), 0, &mut start)?;
        let made = length > HEADER as u64 || (read == HEADER && Header::decode(&start).is_some());
        if made {
            break;
        }
        disk.remove(name)?;
        disk.sync_folder()?;
        found.dropped += length;
        names.pop();
    }
    Ok(names)
}

/// A segment without a header cannot be read: it is kept under another name, and told.
fn set_aside(disk: &dyn Disk, name: &str, length: u64, found: &mut Recovered) -> io::Result<()> {
    let aside = name.replace(".log", DAMAGED);
    disk.rename(name, &aside)?;
    disk.sync_folder()?;
    found.damage.push(lost(&aside, length));
    let first = number(name.trim_end_matches(".log")).unwrap_or(0);
    found.next_seq = found.next_seq.max(first.saturating_add(JUMP));
    Ok(())
}

/// Makes an empty segment, durable before it is used.
pub(super) fn create(disk: &dyn Disk, first_seq: u64) -> io::Result<Segment> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    let header = Header { version: VERSION, first_seq, salt: u64::from_le_bytes(salt) };
    let name = segment_name(first_seq);
    let file = disk.open(&name, true)?;
    file.append(&header.encode())?;
    file.sync()?;
    disk.sync_folder()?;
    Ok(Segment::new(name, header, file))
}

/// Removes a segment and its index: the segment first, for an index alone is swept away.
pub(super) fn remove(disk: &dyn Disk, segment: &Segment) -> Result<(), Error> {
    let failed = |source| error::io(format!("remove {}", segment.name), source);
    disk.remove(&segment.name).map_err(failed)?;
    match disk.remove(&index_name(&segment.name)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    disk.sync_folder().map_err(failed)
}
