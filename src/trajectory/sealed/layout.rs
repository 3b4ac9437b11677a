//! The frame of a sealed segment: what stands before its blocks, and what stands behind them.
//!
//! ```text
//! sealed  = header copy | header copy | block* | filters | footer | footer | trailer | trailer
//!
//! header copy, 32 bytes            trailer, 32 bytes
//!  0  magic     8  "DRIPCOL\0"      0  magic     8  "DRIPEND\0"
//!  8  version   u16  1              8  filters   u64  where they begin
//! 10  zero      u16                16  footer    u64  where the first one begins
//! 12  first     u64  record number 24  length    u32  of one footer
//! 20  next      u64  after the last 28  crc32c   u32  of 0..28
//! 28  crc32c    u32  of 0..28
//! ```
//!
//! Integers are little-endian. Everything that is needed to find the rest is there twice, so that no
//! single bad place takes a segment away.

use bincode::{Decode, Encode};

use super::super::active::payload::{BatchId, Tally};
use super::super::copies;
use super::super::model::Level;
use super::super::varint::{u32_at, u64_at};
use crate::kernel::format::{Nothing, Versioned, decode, encode};

/// The version of the format that this build writes.
pub(crate) const VERSION: u16 = 1;
/// The bytes before the first block.
pub(crate) const HEADER: usize = 64;
/// The bytes of both trailers.
pub(crate) const TRAILERS: usize = 64;
const MAGIC: &[u8; 8] = b"DRIPCOL\0";
const END: &[u8; 8] = b"DRIPEND\0";
/// No footer is larger: what says so is damaged.
const FOOTER_MAX: u32 = 256 << 20;

/// What a sealed segment says of itself first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) first_seq: u64,
    pub(crate) next_seq: u64,
}

impl Header {
    /// Both copies.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(HEADER);
        copy.extend_from_slice(MAGIC);
        copy.extend_from_slice(&self.version.to_le_bytes());
        copy.extend_from_slice(&[0; 2]);
        copy.extend_from_slice(&self.first_seq.to_le_bytes());
        copy.extend_from_slice(&self.next_seq.to_le_bytes());
        copies::both(copy)
    }

    /// The header, and where a copy of it is damaged; nothing when both are.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Option<usize>)> {
        copies::either(bytes, MAGIC, |copy| {
            Some(Self {
                version: u16::from_le_bytes(*copy.get(8..)?.first_chunk()?),
                first_seq: u64_at(copy, 12)?,
                next_seq: u64_at(copy, 20)?,
            })
        })
    }
}

/// Where the footers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) filters: u64,
    pub(crate) footer: u64,
    pub(crate) length: u32,
}

impl Trailer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(TRAILERS);
        copy.extend_from_slice(END);
        copy.extend_from_slice(&self.filters.to_le_bytes());
        copy.extend_from_slice(&self.footer.to_le_bytes());
        copy.extend_from_slice(&self.length.to_le_bytes());
        copies::both(copy)
    }

    /// The trailer, and where a copy of it is damaged; nothing when both are.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Option<usize>)> {
        copies::either(bytes, END, |copy| {
            let (filters, footer) = (u64_at(copy, 8)?, u64_at(copy, 16)?);
            let length = u32_at(copy, 24).filter(|length| *length <= FOOTER_MAX)?;
            Some(Self { filters, footer, length })
        })
    }
}

/// What the footer says of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BlockV1 {
    /// The number of its stream in the footer's list.
    pub(crate) stream: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    /// How many of them are the directory.
    pub(crate) directory: u32,
    /// How many rows, and from when to when.
    pub(crate) tally: Tally,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// How many rows of each level.
    pub(crate) levels: [u32; Level::ALL.len()],
    /// About how many bytes the rows take unpacked.
    pub(crate) raw: u64,
    /// The first line of its filter, counted from the first line of all, and how many it has.
    pub(crate) filter: u64,
    pub(crate) lines: u32,
    /// Whether integers are in the filter.
    pub(crate) has_ints: bool,
}

/// What is known of a sealed segment without reading it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FooterV1 {
    pub(crate) streams: Vec<String>,
    pub(crate) blocks: Vec<BlockV1>,
    /// The names of the fields, in order; the first thousand of them.
    pub(crate) names: Vec<String>,
    pub(crate) more_names: bool,
    /// When the last of its records came in.
    pub(crate) written: i64,
    /// How hard it is packed.
    pub(crate) packed: i32,
    /// The ids of its batches, with when they were written.
    pub(crate) ids: Vec<(i64, BatchId)>,
}

impl Versioned for FooterV1 {
    const MARKER: &'static str = "sealed-footer.v1";
    type Previous = Nothing;
}

impl FooterV1 {
    /// One copy, with its checksum.
    pub(crate) fn encode(&self) -> crate::kernel::error::Result<Vec<u8>> {
        let mut bytes = encode(self)?;
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads one copy; none when it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        decode(body).ok()
    }
}
