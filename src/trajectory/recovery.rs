//! Opening what is there: sealed segments by their footers, closed files of frames by their index,
//! the last one by reading it.
//!
//! A frame that was being written when the power went is at the very end of the last file: it is cut
//! off, and how much was cut is told. A bad place with sound frames behind it is damage: it stays
//! where it is, is listed, and the file is closed, so that nothing is ever written behind it. What a
//! sealed segment holds already goes: a crash came between writing the one and removing the other.
//! Opening twice finds the same as opening once.

use std::io;
use std::sync::Arc;

use super::active::frame::{HEADER, Header, VERSION};
use super::active::index::{self, index_name};
use super::active::payload::BatchId;
use super::active::segment::{Contents, Damage, Segment, segment_name};
use super::disk::{Disk, read_full};
use super::error;
use super::sealed::{Opened, SUFFIX, Sealed};
use super::shelf::Part;
use crate::kernel::error::{Error, Result};

/// How far numbers jump when nobody can tell how many records a lost segment had.
const JUMP: u64 = 1 << 32;
const DAMAGED: &str = ".damaged";
const FRAMES: &str = ".log";

/// What was found.
pub(super) struct Recovered {
    /// All parts by number; the last one is written to.
    pub(super) parts: Vec<Part>,
    pub(super) next_seq: u64,
    pub(super) ids: Vec<(i64, BatchId)>,
    pub(super) damage: Vec<Damage>,
    /// The bytes of unfinished frames that were cut off.
    pub(super) dropped: u64,
}

/// Opens the segments of a disk.
pub(super) fn recover(disk: &Arc<dyn Disk>) -> Result<Recovered> {
    let mut found = Recovered {
        parts: Vec::new(),
        next_seq: 1,
        ids: Vec::new(),
        damage: Vec::new(),
        dropped: 0,
    };
    let listed = |source| error::io("list the segments", source);
    let names = sweep(disk.as_ref(), &mut found).map_err(listed)?;
    let sealed = take_sealed(disk.as_ref(), &names, &mut found)?;
    let frames = names.into_iter().filter(|name| name.ends_with(FRAMES)).collect();
    let frames = drop_unmade(disk.as_ref(), frames, &mut found).map_err(listed)?;
    let frames = drop_sealed(disk.as_ref(), frames, &sealed).map_err(listed)?;
    let after = sealed.last().map_or(0, |sealed| sealed.next_seq);
    found.parts.extend(sealed.into_iter().map(Part::Sealed));
    let last =
        frames.last().filter(|name| number(name, FRAMES).is_some_and(|n| n >= after)).cloned();
    for name in frames {
        let is_last = Some(&name) == last.as_ref();
        take(disk, &name, is_last, &mut found)?;
    }
    found.parts.sort_by_key(Part::first_seq);
    if !ends_writable(disk.as_ref(), last.as_deref(), &mut found)? {
        let segment = create(disk.as_ref(), found.next_seq)
            .map_err(|source| error::io("make a segment", source))?;
        found.parts.push(Part::Frames(Arc::new(segment)));
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

/// Whether the last part can be written on: it is whole, and as this build writes. An empty one of
/// another version makes room for a new one.
fn ends_writable(disk: &dyn Disk, last: Option<&str>, found: &mut Recovered) -> Result<bool> {
    let Some(Part::Frames(segment)) = found.parts.last().cloned() else { return Ok(false) };
    if Some(segment.name.as_str()) != last || !segment.with(|contents| contents.damage.is_empty()) {
        return Ok(false);
    }
    if segment.header.version == VERSION {
        return Ok(true);
    }
    if segment.with(Contents::count) == 0 {
        remove(disk, &Part::Frames(segment))?;
        found.parts.pop();
    }
    Ok(false)
}

/// Removes what a crash left half made, lists what was set aside before, and answers the segments
/// in order.
fn sweep(disk: &dyn Disk, found: &mut Recovered) -> io::Result<Vec<String>> {
    let mut names = disk.list()?;
    names.sort();
    for name in &names {
        let orphan = name.strip_suffix(".idx").is_some_and(|stem| {
            let segment = format!("{stem}{FRAMES}");
            names.binary_search(&segment).is_err()
        });
        if orphan || name.ends_with(".staged") {
            disk.remove(name)?;
        }
        let first = name
            .strip_suffix(DAMAGED)
            .and_then(|name| number(name, "").or_else(|| number(name, SUFFIX)));
        if let Some(first) = first {
            found.damage.push(lost(name, disk.open(name, false)?.len()?));
            found.next_seq = found.next_seq.max(first.saturating_add(JUMP));
        }
    }
    names.retain(|name| number(name, FRAMES).is_some() || number(name, SUFFIX).is_some());
    Ok(names)
}

/// The number in the name of a segment.
fn number(name: &str, suffix: &str) -> Option<u64> {
    let stem = name.strip_suffix(suffix)?;
    (stem.len() == 20).then(|| stem.parse().ok()).flatten()
}

fn lost(name: &str, bytes: u64) -> Damage {
    Damage {
        segment: name.to_owned(),
        offset: 0,
        bytes,
        what: "what says what is in it is not sound: the file was set aside".to_owned(),
    }
}

/// Takes the sealed segments in, in order, without those that another one holds.
fn take_sealed(
    disk: &dyn Disk,
    names: &[String],
    found: &mut Recovered,
) -> Result<Vec<Arc<Sealed>>> {
    let mut all: Vec<Sealed> = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(SUFFIX)) {
        let failed = |source| error::io(format!("read {name}"), source);
        match Sealed::open(disk, name).map_err(failed)? {
            Opened::Sealed(sealed, damage) => {
                found.damage.extend(damage);
                all.push(*sealed);
            }
            Opened::Newer(version) => return Err(error::newer(name, version)),
            Opened::Lost(length) => {
                lose_sealed(disk, name, length, names, found).map_err(failed)?;
            }
        }
    }
    all.sort_by_key(|sealed| (sealed.first_seq, std::cmp::Reverse(sealed.next_seq)));
    let mut kept: Vec<Arc<Sealed>> = Vec::new();
    let mut removed = false;
    for mut sealed in all {
        if kept.last().is_some_and(|cover| sealed.next_seq <= cover.next_seq) {
            disk.remove(&sealed.name).map_err(|source| error::io("remove a segment", source))?;
            removed = true;
            continue;
        }
        found.next_seq = found.next_seq.max(sealed.next_seq);
        found.ids.append(&mut sealed.footer.ids);
        kept.push(Arc::new(sealed));
    }
    if removed {
        disk.sync_folder().map_err(|source| error::io("sync the folder", source))?;
    }
    Ok(kept)
}

/// A sealed segment that cannot be read: made again where its frames are still there, else set aside.
fn lose_sealed(
    disk: &dyn Disk,
    name: &str,
    length: u64,
    names: &[String],
    found: &mut Recovered,
) -> io::Result<()> {
    let frames = name.replace(SUFFIX, FRAMES);
    if names.contains(&frames) {
        disk.remove(name)?;
        return disk.sync_folder();
    }
    let aside = format!("{name}{DAMAGED}");
    disk.rename(name, &aside)?;
    disk.sync_folder()?;
    found.damage.push(lost(&aside, length));
    let first = number(name, SUFFIX).unwrap_or(0);
    found.next_seq = found.next_seq.max(first.saturating_add(JUMP));
    Ok(())
}

/// Removes the files of frames that a sealed segment holds already.
fn drop_sealed(
    disk: &dyn Disk,
    mut frames: Vec<String>,
    sealed: &[Arc<Sealed>],
) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    frames.retain(|name| {
        let first = number(name, FRAMES).unwrap_or(0);
        let holds = |sealed: &Arc<Sealed>| (sealed.first_seq..sealed.next_seq).contains(&first);
        let keep = !sealed.iter().any(holds);
        if !keep {
            removed.push(name.clone());
        }
        keep
    });
    for name in &removed {
        disk.remove(name)?;
        gone(disk.remove(&index_name(name)))?;
    }
    if !removed.is_empty() {
        disk.sync_folder()?;
    }
    Ok(frames)
}

/// A file that is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Takes one file of frames in.
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
    let contents = contents(disk, &segment, length, is_last, found)?;
    found.next_seq = found.next_seq.max(header.first_seq).max(contents.next_seq().unwrap_or(0));
    found.ids.extend_from_slice(&contents.ids);
    found.damage.extend_from_slice(&contents.damage);
    segment.change(|place| *place = contents);
    found.parts.push(Part::Frames(Arc::new(segment)));
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

/// Keeps the index of a file that is no longer written. It is derived, so that failing costs only
/// time at the next start.
pub(super) fn keep_index(disk: &dyn Disk, segment: &Segment) {
    if let Err(error) = index::write(disk, segment) {
        tracing::warn!(segment = %segment.name, %error, "the index of a segment could not be kept");
    }
}

/// Removes newest files that were cut off while they were made: the header is synced before the
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

/// A file without a header cannot be read: it is kept under another name, and told.
fn set_aside(disk: &dyn Disk, name: &str, length: u64, found: &mut Recovered) -> io::Result<()> {
    let aside = name.replace(FRAMES, DAMAGED);
    disk.rename(name, &aside)?;
    disk.sync_folder()?;
    found.damage.push(lost(&aside, length));
    let first = number(name, FRAMES).unwrap_or(0);
    found.next_seq = found.next_seq.max(first.saturating_add(JUMP));
    Ok(())
}

/// Makes an empty file of frames, durable before it is used.
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

/// Removes a part from the disk, and its index: the part first, for an index alone is swept away.
pub(super) fn remove(disk: &dyn Disk, part: &Part) -> Result<(), Error> {
    let failed = |source| error::io(format!("remove {}", part.name()), source);
    disk.remove(part.name()).map_err(failed)?;
    if let Part::Frames(segment) = part {
        gone(disk.remove(&index_name(&segment.name))).map_err(failed)?;
    }
    disk.sync_folder().map_err(failed)
}
