//! Reading a block: its directory first, then the columns that are asked for and no others.

use std::cell::OnceCell;
use std::io;

use super::super::active::payload::{Fields, Raw};
use super::super::active::segment::Damage;
use super::super::figures;
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::super::varint::{Reader, put_text, unzigzag};
use super::column::{Coding, Column, Directory, Kind, Part, What, unpack};
use super::layout::BlockV1;
use super::texts::Texts;
use super::{Sealed, read};
use crate::kernel::clock::Time;

/// Why a block cannot be read.
#[derive(Debug)]
pub(crate) enum Failed {
    Io(io::Error),
    /// It is not as it was written.
    Damaged(Box<Damage>),
}

impl From<io::Error> for Failed {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// A block whose directory was read.
pub(crate) struct Block<'s> {
    pub(crate) sealed: &'s Sealed,
    pub(crate) info: &'s BlockV1,
    pub(crate) directory: Directory,
    shape_of: OnceCell<Vec<u16>>,
}

/// The texts of a column.
pub(crate) enum TextColumn {
    One(String),
    Dictionary { words: Texts, codes: Vec<u16> },
    Plain(Texts),
}

impl TextColumn {
    pub(crate) fn get(&self, at: usize) -> &str {
        match self {
            Self::One(text) => text,
            Self::Dictionary { words, codes } => {
                codes.get(at).map_or("", |code| words.get(usize::from(*code)))
            }
            Self::Plain(texts) => texts.get(at),
        }
    }
}

/// The values of a field.
pub(crate) enum Values {
    Texts(TextColumn),
    Json(TextColumn),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl Values {
    pub(crate) fn get(&self, at: usize) -> Scalar<'_> {
        match self {
            Self::Texts(texts) => Scalar::Text(texts.get(at).into()),
            Self::Json(texts) => {
                let text = texts.get(at);
                match text.as_bytes().first() {
                    Some(b'[' | b'{') => Scalar::Json(text.into()),
                    _ => small(text),
                }
            }
            Self::Ints(all) => Scalar::Int(all.get(at).copied().unwrap_or_default()),
            Self::Floats(all) => Scalar::Float(all.get(at).copied().unwrap_or_default()),
        }
    }
}

/// A value that stands as JSON and is neither an array nor an object.
fn small(text: &str) -> Scalar<'static> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    Scalar::of(&value).into_owned()
}

impl<'s> Block<'s> {
    pub(crate) fn open(sealed: &'s Sealed, info: &'s BlockV1) -> Result<Self, Failed> {
        let bytes = read(sealed.file.as_ref(), info.offset, info.directory as usize)?;
        figures::block_read();
        let directory = Directory::decode(&bytes)
            .filter(|directory| directory.rows as u64 == info.tally.count)
            .ok_or_else(|| {
                let length = u64::from(info.directory);
                Failed::Damaged(Box::new(sealed.damage(info, info.offset, length, "its directory")))
            })?;
        Ok(Self { sealed, info, directory, shape_of: OnceCell::new() })
    }

    pub(crate) fn rows(&self) -> usize {
        self.directory.rows
    }

    /// The number of a column, if the block has it.
    pub(crate) fn find(&self, what: &What) -> Option<usize> {
        self.directory.columns.iter().position(|column| column.what == *what)
    }

    fn bad(&self, column: &Column) -> Failed {
        let offset = column.parts.first().map_or(0, |part| part.offset);
        let bytes = column.parts.iter().map(|part| u64::from(part.stored)).sum();
        let what = format!("column `{}`", column.what.name());
        Failed::Damaged(Box::new(self.sealed.damage(
            self.info,
            self.info.offset + offset,
            bytes,
            &what,
        )))
    }

    fn part(&self, column: &Column, part: &Part) -> Result<Vec<u8>, Failed> {
        let offset = self.info.offset + part.offset;
        let stored = read(self.sealed.file.as_ref(), offset, part.stored as usize)?;
        unpack(part, stored).ok_or_else(|| self.bad(column))
    }

    /// The stored bytes of a part, checked.
    pub(crate) fn stored(&self, column: &Column, part: &Part) -> Result<Vec<u8>, Failed> {
        self.part(column, part)
    }

    fn parts<const N: usize>(&self, column: &Column) -> Result<[Vec<u8>; N], Failed> {
        let mut parts = Vec::new();
        for part in &column.parts {
            parts.push(self.part(column, part)?);
        }
        parts.try_into().map_err(|_other| self.bad(column))
    }

    fn fixed<T>(
        &self,
        what: &What,
        decode: impl FnOnce(&Self, &Column) -> Result<Vec<T>, Failed>,
    ) -> Result<Vec<T>, Failed> {
        let Some(column) = self.find(what).and_then(|at| self.directory.columns.get(at)) else {
            let length = u64::from(self.info.directory);
            let damage = self.sealed.damage(self.info, self.info.offset, length, "its directory");
            return Err(Failed::Damaged(Box::new(damage)));
        };
        let values = decode(self, column)?;
        if values.len() == self.rows() { Ok(values) } else { Err(self.bad(column)) }
    }

    pub(crate) fn times(&self) -> Result<Vec<i64>, Failed> {
        self.fixed(&What::Time, Self::ints)
    }

    pub(crate) fn seqs(&self) -> Result<Vec<u64>, Failed> {
        let seqs = self.fixed(&What::Seq, Self::ints)?;
        Ok(seqs.into_iter().map(i64::cast_unsigned).collect())
    }

    pub(crate) fn levels(&self) -> Result<Vec<u16>, Failed> {
        self.fixed(&What::Level, |block, column| block.codes(column, block.rows()))
    }

    fn shape_of(&self) -> Result<&[u16], Failed> {
        if let Some(known) = self.shape_of.get() {
            return Ok(known);
        }
        let read = self.fixed(&What::Shape, |block, column| block.codes(column, block.rows()))?;
        Ok(self.shape_of.get_or_init(|| read))
    }

    /// Which value of a column each row has: none for rows without one.
    pub(crate) fn places(&self, column: usize) -> Result<Vec<Option<u32>>, Failed> {
        let number = u16::try_from(column).unwrap_or(u16::MAX);
        let has: Vec<bool> =
            self.directory.shapes.iter().map(|shape| shape.0.contains(&number)).collect();
        let mut next = 0;
        let places = self.shape_of()?.iter().map(|shape| {
            has.get(usize::from(*shape)).is_some_and(|has| *has).then(|| {
                next += 1;
                next - 1
            })
        });
        Ok(places.collect())
    }

    /// Small numbers, one for each row.
    fn codes(&self, column: &Column, rows: usize) -> Result<Vec<u16>, Failed> {
        let [raw] = self.parts(column)?;
        let words =
            |raw: &[u8]| raw.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two)).collect();
        match column.coding {
            Coding::One => {
                let first: Vec<u16> = words(&raw);
                Ok(vec![first.first().copied().unwrap_or(0); rows])
            }
            Coding::Bytes => Ok(raw.into_iter().map(u16::from).collect()),
            Coding::Words => Ok(words(&raw)),
            _ => Err(self.bad(column)),
        }
    }

    pub(crate) fn ints(&self, column: &Column) -> Result<Vec<i64>, Failed> {
        let decoded = match column.coding {
            Coding::Steps => from_steps(&self.parts::<1>(column)?[0]),
            Coding::Steps2 => from_steps2(&self.parts::<1>(column)?[0]),
            Coding::Dictionary => {
                let [words, codes] = self.parts(column)?;
                from_dictionary(&words, &codes).and_then(|(words, codes)| {
                    let numbers: Vec<i64> =
                        words.iter().map(|word| word.parse().ok()).collect::<Option<_>>()?;
                    codes.iter().map(|code| numbers.get(usize::from(*code)).copied()).collect()
                })
            }
            _ => None,
        };
        decoded.ok_or_else(|| self.bad(column))
    }

    fn floats(&self, column: &Column) -> Result<Vec<f64>, Failed> {
        let [raw] = self.parts(column)?;
        let decoded = match column.coding {
            Coding::Floats => Some(from_planes(&raw)),
            Coding::Decimals => from_decimals(&raw),
            _ => None,
        };
        decoded.ok_or_else(|| self.bad(column))
    }

    pub(crate) fn texts(&self, column: &Column) -> Result<TextColumn, Failed> {
        let decoded = match column.coding {
            Coding::One => {
                let [text] = self.parts(column)?;
                String::from_utf8(text).ok().map(TextColumn::One)
            }
            Coding::Dictionary => {
                let [words, codes] = self.parts(column)?;
                from_dictionary(&words, &codes)
                    .map(|(words, codes)| TextColumn::Dictionary { words, codes })
            }
            Coding::Texts => {
                let [lengths, bytes] = self.parts(column)?;
                from_texts(&lengths, bytes).map(TextColumn::Plain)
            }
            _ => None,
        };
        decoded.ok_or_else(|| self.bad(column))
    }

    /// The values of a field's column.
    pub(crate) fn values(&self, column: &Column) -> Result<Values, Failed> {
        Ok(match column.kind {
            Kind::Text => Values::Texts(self.texts(column)?),
            Kind::Json => Values::Json(self.texts(column)?),
            Kind::Int => Values::Ints(self.ints(column)?),
            Kind::Float => Values::Floats(self.floats(column)?),
        })
    }

    /// Reads everything, and sees whether it makes sense.
    pub(crate) fn check(&self) -> Result<(), Failed> {
        let whole = Whole::read(self)?;
        let mut scratch = Vec::new();
        for row in 0..self.rows() {
            let _raw = whole.raw(row, &mut scratch);
        }
        Ok(())
    }
}

fn from_steps(raw: &[u8]) -> Option<Vec<i64>> {
    let mut reader = Reader(raw);
    let mut numbers = Vec::new();
    let mut last = 0_i64;
    while !reader.is_empty() {
        last = last.wrapping_add(unzigzag(reader.varint()?));
        numbers.push(last);
    }
    Some(numbers)
}

fn from_steps2(raw: &[u8]) -> Option<Vec<i64>> {
    let mut numbers = from_steps(raw)?;
    let mut last = 0_i64;
    for number in &mut numbers {
        last = last.wrapping_add(*number);
        *number = last;
    }
    Some(numbers)
}

fn from_planes(raw: &[u8]) -> Vec<f64> {
    let count = raw.len() / 8;
    let mut bits = vec![0_u64; count];
    if count > 0 {
        for (byte, plane) in raw.chunks(count).take(8).enumerate() {
            for (bits, one) in bits.iter_mut().zip(plane) {
                *bits |= u64::from(*one) << (8 * byte);
            }
        }
    }
    bits.into_iter().map(f64::from_bits).collect()
}

#[expect(clippy::cast_precision_loss, reason = "only what is exact was written")]
fn from_decimals(raw: &[u8]) -> Option<Vec<f64>> {
    let (decimals, steps) = raw.split_first()?;
    let unit = 10_f64.powi(i32::from(*decimals));
    Some(from_steps(steps)?.into_iter().map(|whole| whole as f64 / unit).collect())
}

fn from_dictionary(words: &[u8], codes: &[u8]) -> Option<(Texts, Vec<u16>)> {
    let mut reader = Reader(words);
    let mut all = Texts::default();
    while !reader.is_empty() {
        all.push(reader.text()?);
    }
    let codes = if all.len() <= 256 {
        codes.iter().map(|code| u16::from(*code)).collect()
    } else {
        codes.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two)).collect()
    };
    Some((all, codes))
}

fn from_texts(lengths: &[u8], bytes: Vec<u8>) -> Option<Texts> {
    let mut reader = Reader(lengths);
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(reader.varint()?);
    }
    Texts::from_parts(String::from_utf8(bytes).ok()?, all.into_iter())
}

/// All columns of a block, for those who want whole records.
pub(crate) struct Whole<'b> {
    block: &'b Block<'b>,
    times: Vec<i64>,
    pub(crate) seqs: Vec<u64>,
    levels: Vec<u16>,
    messages: TextColumn,
    columns: Vec<Option<Own>>,
}

/// A column that not every row has.
struct Own {
    values: Values,
    places: Vec<Option<u32>>,
}

impl<'b> Whole<'b> {
    pub(crate) fn read(block: &'b Block<'b>) -> Result<Self, Failed> {
        let mut columns = Vec::new();
        let mut messages = None;
        for (at, column) in block.directory.columns.iter().enumerate() {
            columns.push(match column.what {
                What::Time | What::Seq | What::Level | What::Shape => None,
                What::Message => {
                    messages = Some(block.texts(column)?);
                    None
                }
                _ => Some(Own { values: block.values(column)?, places: block.places(at)? }),
            });
        }
        let lost = || {
            let length = u64::from(block.info.bytes);
            let damage =
                block.sealed.damage(block.info, block.info.offset, length, "its directory");
            Failed::Damaged(Box::new(damage))
        };
        Ok(Self {
            block,
            times: block.times()?,
            seqs: block.seqs()?,
            levels: block.levels()?,
            messages: messages.ok_or_else(lost)?,
            columns,
        })
    }

    /// A record; its fields are written into `scratch`.
    pub(crate) fn raw<'a>(&'a self, row: usize, scratch: &'a mut Vec<u8>) -> Raw<'a> {
        let level =
            self.levels.get(row).and_then(|code| Level::from_code(u8::try_from(*code).ok()?));
        let mut raw = Raw {
            time: Time(self.times.get(row).copied().unwrap_or_default()),
            level: level.unwrap_or(Level::Info),
            stream: self.block.sealed.stream_of(self.block.info),
            message: self.messages.get(row),
            module: None,
            file: None,
            line: None,
            run_id: None,
            fields: Fields::None,
        };
        let shape = self.block.shape_of().ok().and_then(|shapes| shapes.get(row).copied());
        let shape = shape.and_then(|shape| self.block.directory.shapes.get(usize::from(shape)));
        scratch.clear();
        let mut fields = 0;
        for number in shape.map_or(&[][..], |shape| &shape.0) {
            let at = usize::from(*number);
            let Some((column, own)) = self
                .block
                .directory
                .columns
                .get(at)
                .zip(self.columns.get(at).and_then(Option::as_ref))
            else {
                continue;
            };
            let place = own.places.get(row).copied().flatten().unwrap_or(u32::MAX) as usize;
            match (&column.what, &own.values) {
                (What::Module, Values::Texts(texts)) => raw.module = Some(texts.get(place)),
                (What::File, Values::Texts(texts)) => raw.file = Some(texts.get(place)),
                (What::RunId, Values::Texts(texts)) => raw.run_id = Some(texts.get(place)),
                (What::Rest, Values::Texts(texts)) => raw.fields = Fields::Json(texts.get(place)),
                (What::Line, Values::Ints(all)) => {
                    raw.line = all.get(place).map(|line| line.cast_unsigned());
                }
                (What::Field(name), values) => {
                    put_text(scratch, name);
                    values.get(place).put(scratch);
                    fields += 1;
                }
                _ => {}
            }
        }
        if fields > 0 {
            raw.fields = Fields::Typed(fields, scratch);
        }
        raw
    }
}

/// Writes lengths the way [`Coding::Texts`] has them.
#[cfg(test)]
fn lengths_of(texts: &[&str]) -> Vec<u8> {
    let mut raw = Vec::new();
    for text in texts {
        super::super::varint::put_varint(&mut raw, text.len() as u64);
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_behind_a_sound_checksum_is_refused() {
        assert!(from_steps(&[0x80]).is_none());
        assert!(from_dictionary(&[5, b'a'], &[0]).is_none());
        assert!(from_texts(&lengths_of(&["a", "bc"]), b"abc".to_vec()).is_some());
        assert!(from_texts(&lengths_of(&["a", "bcd"]), b"abc".to_vec()).is_none());
        assert!(from_texts(&lengths_of(&["a", "b"]), "ü".as_bytes().to_vec()).is_none());
        assert!(from_decimals(&[]).is_none());
        assert!(from_planes(&[1, 2, 3]).is_empty());
    }
}
