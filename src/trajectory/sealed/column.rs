//! The columns of a block: what they hold, how their values are written, and the parts that a
//! directory lists.

use std::cell::RefCell;
use std::io;

use super::super::varint::{Reader, put_text, put_varint};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    Time,
    Seq,
    Level,
    Shape,
    Module,
    File,
    Line,
    RunId,
    Message,
    /// The values of a field.
    Field(String),
    /// All fields of a record as one JSON object, where a block has more names than it takes.
    Rest,
}

impl What {
    const fn code(&self) -> u8 {
        match self {
            Self::Time => 0,
            Self::Seq => 1,
            Self::Level => 2,
            Self::Shape => 3,
            Self::Module => 4,
            Self::File => 5,
            Self::Line => 6,
            Self::RunId => 7,
            Self::Message => 8,
            Self::Field(_) => 9,
            Self::Rest => 10,
        }
    }

    /// What a report calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Time => "time",
            Self::Seq => "seq",
            Self::Level => "level",
            Self::Shape => "shape",
            Self::Module => "module",
            Self::File => "file",
            Self::Line => "line",
            Self::RunId => "run_id",
            Self::Message => "message",
            Self::Field(name) => name,
            Self::Rest => "fields",
        }
    }
}

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// One text for all: its bytes.
    One = 0,
    /// Different texts once, then which one each row has: u8 up to 256 of them, else u16.
    Dictionary = 1,
    /// Lengths as varints, then the bytes.
    Texts = 2,
    /// Integers: zigzag varints of the steps from one to the next.
    Steps = 3,
    /// Integers that grow evenly: the same of the steps' steps.
    Steps2 = 4,
    /// f64, the first byte of all of them, then the second, and so on.
    Floats = 5,
    /// One byte each.
    Bytes = 6,
    /// One little-endian u16 each.
    Words = 7,
    /// Numbers with few decimals: how many, then as integers of that unit, in steps.
    Decimals = 8,
}

impl Coding {
    const ALL: [Self; 9] = [
        Self::One,
        Self::Dictionary,
        Self::Texts,
        Self::Steps,
        Self::Steps2,
        Self::Floats,
        Self::Bytes,
        Self::Words,
        Self::Decimals,
    ];

    const fn parts(self) -> usize {
        match self {
            Self::Dictionary | Self::Texts => 2,
            _ => 1,
        }
    }
}

/// What the values of a field are, beside how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text = 0,
    Int = 1,
    Float = 2,
    /// Any value as JSON.
    Json = 3,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Text, Self::Int, Self::Float, Self::Json];
}

/// A stretch of a block's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from the beginning of the block.
    pub(crate) offset: u64,
    pub(crate) stored: u32,
    pub(crate) raw: u32,
    pub(crate) is_packed: bool,
    pub(crate) crc: u32,
}

/// A column as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) what: What,
    pub(crate) kind: Kind,
    pub(crate) coding: Coding,
    pub(crate) parts: Vec<Part>,
}

/// Which columns the rows of one shape have beside those that all have, in the order of their fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shape(pub(crate) Vec<u16>);

/// What a block says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) rows: usize,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) columns: Vec<Column>,
}

/// A block never has more than it could need.
const ROWS_MAX: usize = 1 << 24;

impl Directory {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        put_varint(&mut to, self.rows as u64);
        put_varint(&mut to, self.shapes.len() as u64);
        for Shape(columns) in &self.shapes {
            put_varint(&mut to, columns.len() as u64);
            for column in columns {
                put_varint(&mut to, u64::from(*column));
            }
        }
        put_varint(&mut to, self.columns.len() as u64);
        for column in &self.columns {
            to.extend([column.what.code(), column.kind as u8, column.coding as u8]);
            if let What::Field(name) = &column.what {
                put_text(&mut to, name);
            }
            for part in &column.parts {
                to.push(u8::from(part.is_packed));
                put_varint(&mut to, u64::from(part.stored));
                put_varint(&mut to, u64::from(part.raw));
                to.extend_from_slice(&part.crc.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&to);
        to.extend_from_slice(&crc.to_le_bytes());
        to
    }

    /// Reads what [`Self::encode`] wrote; none when it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut reader = Reader(body);
        let rows = reader.count().filter(|rows| *rows <= ROWS_MAX)?;
        let mut shapes = Vec::new();
        for _ in 0..reader.count()? {
            let mut columns = Vec::new();
            for _ in 0..reader.count()? {
                columns.push(u16::try_from(reader.varint()?).ok()?);
            }
            shapes.push(Shape(columns));
        }
        let mut offset = bytes.len() as u64;
        let mut columns = Vec::new();
        for _ in 0..reader.count()? {
            columns.push(column(&mut reader, &mut offset)?);
        }
        reader.is_empty().then_some(Self { rows, shapes, columns })
    }
}

fn column(reader: &mut Reader<'_>, offset: &mut u64) -> Option<Column> {
    let [what, kind, coding] = reader.array()?;
    let kind = *Kind::ALL.get(usize::from(kind))?;
    let coding = *Coding::ALL.get(usize::from(coding))?;
    let what = match what {
        0 => What::Time,
        1 => What::Seq,
        2 => What::Level,
        3 => What::Shape,
        4 => What::Module,
        5 => What::File,
        6 => What::Line,
        7 => What::RunId,
        8 => What::Message,
        9 => What::Field(reader.text()?.to_owned()),
        10 => What::Rest,
        _ => return None,
    };
    let mut parts = Vec::new();
    for _ in 0..coding.parts() {
        let is_packed = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let stored = u32::try_from(reader.varint()?).ok()?;
        let raw = u32::try_from(reader.varint()?).ok()?;
        let crc = u32::from_le_bytes(reader.array()?);
        parts.push(Part { offset: *offset, stored, raw, is_packed, crc });
        *offset += u64::from(stored);
    }
    Some(Column { what, kind, coding, parts })
}

/// Packs parts, with the memory of the last one.
pub(crate) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    room: Vec<u8>,
}

/// Less than this is not worth packing.
const PACK_ABOVE: usize = 48;

impl Packer {
    pub(crate) fn new(level: i32) -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)?, room: Vec::new() })
    }

    /// Adds a part to a block's body; where it begins is the directory's to say.
    pub(crate) fn put(&mut self, raw: &[u8], body: &mut Vec<u8>) -> io::Result<Part> {
        let packed = if raw.len() > PACK_ABOVE { self.pack(raw)? } else { None };
        let stored = packed.map_or(raw, |length| self.room.get(..length).unwrap_or_default());
        body.extend_from_slice(stored);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        Ok(Part {
            offset: 0,
            stored: length(stored)?,
            raw: length(raw)?,
            is_packed: packed.is_some(),
            crc: crc32c::crc32c(stored),
        })
    }

    fn pack(&mut self, raw: &[u8]) -> io::Result<Option<usize>> {
        self.room.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
        let length = self.zstd.compress_to_buffer(raw, self.room.as_mut_slice())?;
        Ok(Some(length).filter(|length| *length < raw.len()))
    }
}

thread_local! {
    static UNPACKER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The bytes of a part as they were before packing; none when they are not as they were written.
pub(crate) fn unpack(part: &Part, stored: Vec<u8>) -> Option<Vec<u8>> {
    if stored.len() != part.stored as usize || crc32c::crc32c(&stored) != part.crc {
        return None;
    }
    let raw = if part.is_packed {
        UNPACKER.with_borrow_mut(|place| {
            if place.is_none() {
                *place = zstd::bulk::Decompressor::new().ok();
            }
            place.as_mut()?.decompress(&stored, part.raw as usize).ok()
        })?
    } else {
        stored
    };
    (raw.len() == part.raw as usize).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_back_and_every_flipped_byte_is_noticed() {
        let part = Part { offset: 0, stored: 10, raw: 300, is_packed: true, crc: 7 };
        let column = |what, coding: Coding| Column {
            what,
            kind: Kind::Json,
            coding,
            parts: vec![part; coding.parts()],
        };
        let directory = Directory {
            rows: 1000,
            shapes: vec![Shape(vec![]), Shape(vec![3, 300])],
            columns: vec![
                column(What::Time, Coding::Steps2),
                column(What::Field("风速".into()), Coding::Texts),
                column(What::Rest, Coding::Dictionary),
            ],
        };
        let bytes = directory.encode();
        let back = Directory::decode(&bytes).unwrap();
        let offsets: Vec<u64> =
            back.columns.iter().flat_map(|column| &column.parts).map(|part| part.offset).collect();
        let first = bytes.len() as u64;
        assert_eq!(offsets, (0..5).map(|n| first + n * 10).collect::<Vec<_>>());
        assert_eq!((back.rows, &back.shapes), (directory.rows, &directory.shapes));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Directory::decode(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn parts_come_back_packed_or_not() {
        let mut packer = Packer::new(1).unwrap();
        for raw in [b"".to_vec(), b"short".to_vec(), b"longer and longer ".repeat(500)] {
            let mut body = Vec::new();
            let part = packer.put(&raw, &mut body).unwrap();
            assert_eq!(part.is_packed, raw.len() > 100);
            assert_eq!(unpack(&part, body.clone()), Some(raw));
            if let Some(byte) = body.first_mut() {
                *byte ^= 1;
                assert_eq!(unpack(&part, body), None);
            }
        }
    }
}
