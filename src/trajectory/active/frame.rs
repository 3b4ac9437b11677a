//! Segments on disk: a header, then frames. One frame is one group commit.
//!
//! ```text
//! segment = header copy | header copy | frame*
//!
//! header copy, 32 bytes            frame, 40 bytes and the payload
//!  0  magic     8  "DRIPSEG\0"      0  mark       u32  "FRM1"
//!  8  version   u16  2              4  length     u32  of the payload as stored
//! 10  zero      u16                 8  crc32c     u32  of salt, length, bytes 12.., payload
//! 12  first     u64  record number 12  flags      u8   bit 0: payload is zstd; bit 1: typed fields
//! 20  salt      u64  random        13  zero       3 bytes
//! 28  crc32c    u32  of 0..28      16  first      u64  number of the first record
//!                                  24  count      u32  of records
//!                                  28  raw        u32  length of the payload unpacked
//!                                  32  written    i64  microseconds since 1970
//!                                  40  payload
//! ```
//!
//! Integers are little-endian. The salt is mixed into every checksum: a message that holds the bytes
//! of a frame can never pass for one, wherever a search for the next good frame comes upon it.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::super::copies;
use super::super::disk::{DiskFile, read_full};
use super::super::varint::{u32_at, u64_at};
use super::payload::Shape;
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Result};

/// The version of the format that this build writes.
pub(crate) const VERSION: u16 = 2;
/// The bytes before the first frame.
pub(crate) const HEADER: usize = 64;
/// The bytes of a frame before its payload.
pub(crate) const FRAME: usize = 40;
/// Payloads up to this size are not worth packing.
const PACK_ABOVE: usize = 4 << 10;
/// No payload is larger, packed or not: what says so is damaged.
pub(crate) const PAYLOAD_MAX: usize = 128 << 20;

/// How hard frames are packed: they live until their file is sealed, which packs better.
const LEVEL: i32 = -3;
/// So much memory is kept from one frame to the next.
const KEPT: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"DRIPSEG\0";
const MARK: [u8; 4] = *b"FRM1";
const PACKED: u8 = 1;
const TYPED: u8 = 2;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) first_seq: u64,
    pub(crate) salt: u64,
}

impl Header {
    /// Both copies.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(HEADER);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&self.version.to_le_bytes());
        copy.extend_from_slice(&[0; 2]);
        copy.extend_from_slice(&self.first_seq.to_le_bytes());
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copies::both(copy)
    }

    /// The header, and where a copy of it is damaged; nothing when both are.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Option<usize>)> {
        copies::either(bytes, MAGIC, |copy| {
            Some(Self {
                version: u16::from_le_bytes(*copy.get(8..)?.first_chunk()?),
                first_seq: u64_at(copy, 12)?,
                salt: u64_at(copy, 20)?,
            })
        })
    }
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The bytes of the whole frame.
    pub(crate) total: usize,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    pub(crate) written: Time,
    pub(crate) raw: usize,
    packed: bool,
    pub(crate) shape: Shape,
    crc: u32,
}

impl Head {
    /// Reads the first bytes of a frame; nothing when they cannot be that.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.get(12)?;
        let sound =
            bytes.starts_with(&MARK) && flags <= PACKED | TYPED && bytes.get(13..16)? == [0; 3];
        let length = usize::try_from(u32_at(bytes, 4)?).ok()?;
        let raw = usize::try_from(u32_at(bytes, 28)?).ok()?;
        let (count, first_seq) = (u32_at(bytes, 24)?, u64_at(bytes, 16)?);
        let possible = length <= PAYLOAD_MAX
            && raw <= PAYLOAD_MAX
            && count > 0
            && first_seq.checked_add(u64::from(count)).is_some();
        (sound && possible).then_some(Self {
            total: FRAME + length,
            first_seq,
            count,
            written: Time(i64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)),
            raw,
            packed: flags & PACKED != 0,
            shape: if flags & TYPED == 0 { Shape::Json } else { Shape::Typed },
            crc: u32_at(bytes, 8)?,
        })
    }

    /// Whether `frame`, all of its bytes, is what was written.
    pub(crate) fn is_sound(&self, salt: u64, frame: &[u8]) -> bool {
        frame.len() == self.total && checksum(salt, frame) == Some(self.crc)
    }

    /// The payload of a sound frame.
    pub(crate) fn payload<'a>(&self, frame: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let stored = frame.get(FRAME..)?;
        if !self.packed {
            return (stored.len() == self.raw).then_some(Cow::Borrowed(stored));
        }
        let raw = zstd::bulk::decompress(stored, self.raw).ok()?;
        (raw.len() == self.raw).then_some(Cow::Owned(raw))
    }
}

fn checksum(salt: u64, frame: &[u8]) -> Option<u32> {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    let length = crc32c::crc32c_append(seed, frame.get(4..8)?);
    Some(crc32c::crc32c_append(length, frame.get(12..)?))
}

/// Builds frames, with the memory of the last one.
pub(crate) struct Builder {
    packer: zstd::bulk::Compressor<'static>,
    frame: Vec<u8>,
}

impl Builder {
    pub(crate) fn new() -> Result<Self> {
        let packer = zstd::bulk::Compressor::new(LEVEL)
            .map_err(|source| Error::internal(format!("make a packer for frames: {source}")))?;
        Ok(Self { packer, frame: Vec::new() })
    }

    /// The frame around a payload.
    pub(crate) fn build(
        &mut self,
        salt: u64,
        first_seq: u64,
        count: u64,
        written: Time,
        raw: &[u8],
    ) -> Result<&[u8]> {
        let too_large = |_over| Error::internal("a frame of the log is too large");
        let count = u32::try_from(count).map_err(too_large)?;
        let raw_length = u32::try_from(raw.len()).map_err(too_large)?;
        self.frame.clear();
        self.frame.resize(FRAME, 0);
        let packed = raw.len() > PACK_ABOVE && self.pack(raw)?;
        if !packed {
            self.frame.truncate(FRAME);
            self.frame.extend_from_slice(raw);
        }
        let length = u32::try_from(self.frame.len() - FRAME).map_err(too_large)?;
        let mut head = Vec::with_capacity(FRAME);
        head.extend_from_slice(&MARK);
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.push(TYPED | if packed { PACKED } else { 0 });
        head.extend_from_slice(&[0; 3]);
        head.extend_from_slice(&first_seq.to_le_bytes());
        head.extend_from_slice(&count.to_le_bytes());
        head.extend_from_slice(&raw_length.to_le_bytes());
        head.extend_from_slice(&written.0.to_le_bytes());
        self.put(0, &head);
        let crc = checksum(salt, &self.frame).unwrap_or_default();
        self.put(8, &crc.to_le_bytes());
        Ok(&self.frame)
    }

    /// Packs behind the head; answers whether that is worth it.
    fn pack(&mut self, raw: &[u8]) -> Result<bool> {
        self.frame.resize(FRAME + zstd::zstd_safe::compress_bound(raw.len()), 0);
        let room = self.frame.get_mut(FRAME..).unwrap_or_default();
        let length = self
            .packer
            .compress_to_buffer(raw, room)
            .map_err(|source| Error::internal(format!("pack a frame of the log: {source}")))?;
        self.frame.truncate(FRAME + length);
        // What one large batch needed is not kept for the small ones after it.
        self.frame.shrink_to(KEPT);
        Ok(length < raw.len())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// A stretch of a file that is walked frame by frame, holding one frame and a window in memory.
pub(crate) struct Walk {
    file: Arc<dyn DiskFile>,
    salt: u64,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What stands at a place of a segment.
pub(crate) enum Step {
    /// A sound frame.
    Frame {
        /// Where it begins.
        offset: u64,
        /// What it says of itself.
        head: Head,
        /// Its payload, unpacked.
        payload: Vec<u8>,
    },
    /// No frame, up to where the next one begins; nothing when there is none.
    Bad {
        /// Where it begins.
        offset: u64,
        /// Where the next sound frame begins.
        next: Option<u64>,
    },
}

const WINDOW: usize = 256 << 10;

impl Walk {
    /// Walks `file` from `at` to `end`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, salt: u64, at: u64, end: u64) -> Self {
        Self { file, salt, at, end, window: Vec::new(), window_at: at }
    }

    /// The next step; nothing at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        if let Some((head, payload)) = self.frame_at(offset)? {
            self.at += head.total as u64;
            return Ok(Some(Step::Frame { offset, head, payload }));
        }
        let next = self.search(offset + 1)?;
        self.at = next.unwrap_or(self.end);
        Ok(Some(Step::Bad { offset, next }))
    }

    fn frame_at(&mut self, offset: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
        let Some(head) = Head::read(self.bytes(offset, FRAME)?) else {
            return Ok(None);
        };
        if offset + head.total as u64 > self.end {
            return Ok(None);
        }
        let salt = self.salt;
        let frame = self.bytes(offset, head.total)?;
        if !head.is_sound(salt, frame) {
            return Ok(None);
        }
        Ok(head.payload(frame).map(|payload| (head, payload.into_owned())))
    }

    /// Where the next sound frame begins, at `from` or later.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at + (FRAME as u64) <= self.end {
            let window = self.bytes(at, WINDOW)?;
            let found = window
                .windows(MARK.len())
                .position(|bytes| bytes == MARK)
                .map(|position| at + position as u64);
            let beyond = at + (window.len().saturating_sub(MARK.len() - 1)).max(1) as u64;
            match found {
                Some(candidate) if self.frame_at(candidate)?.is_some() => {
                    return Ok(Some(candidate));
                }
                Some(candidate) => at = candidate + 1,
                None => at = beyond,
            }
        }
        Ok(None)
    }

    /// The bytes at `offset`, at most `length`, fewer at the end.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let inside = offset
            .checked_sub(self.window_at)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start.saturating_add(length) <= self.window.len());
        let start = if let Some(start) = inside {
            start
        } else {
            self.window.clear();
            self.window.resize(length.max(WINDOW.min(left)), 0);
            let read = read_full(self.file.as_ref(), offset, &mut self.window)?;
            self.window.truncate(read);
            self.window_at = offset;
            0
        };
        let end = (start + length).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_of_a_frame_is_detected() {
        for raw in [b"short".to_vec(), b"a longer text ".repeat(600)] {
            let frame = Builder::new().unwrap().build(42, 7, 3, Time(5), &raw).unwrap().to_vec();
            let head = Head::read(&frame).unwrap();
            assert!(head.is_sound(42, &frame));
            assert_eq!(head.payload(&frame).unwrap().as_ref(), raw);
            assert_eq!((head.first_seq, head.count, head.written), (7, 3, Time(5)));
            assert!(!head.is_sound(43, &frame), "another salt is another segment");
            for at in 0..frame.len() {
                let mut flipped = frame.clone();
                flipped[at] ^= 0x10;
                let sound = Head::read(&flipped).is_some_and(|head| head.is_sound(42, &flipped));
                assert!(!sound, "byte {at}");
            }
        }
    }

    #[test]
    fn a_header_survives_one_damaged_copy_and_tells() {
        let header = Header { version: VERSION, first_seq: 9, salt: 77 };
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(Header::decode(&bytes), Some((header, None)));
        for at in 0..HEADER {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Header::decode(&flipped), Some((header, Some(at / 32 * 32))));
        }
        assert_eq!(Header::decode(&bytes[..31]), None);
    }
}
