//! What stands inside a frame: the ids of the batches in it, then the records.
//!
//! ```text
//! payload = ids | record*
//! ids     = n varint | n × ( key 16 bytes | request u64 | count varint | accepted varint )
//! record  = length u32 | time i64 | level u8 | has u8 | stream text | message text
//!           | module text? | file text? | line varint? | run_id text? | fields?
//! fields  = n varint | n × ( name text | value )
//! text    = length varint | UTF-8
//! ```
//!
//! Integers are little-endian, a varint is LEB128. `has` tells which of the last five are there, from
//! bit 0. An empty stream is `default`. What a value is, `scalar` says. The n-th record of a frame has
//! the frame's first number plus n. Frames of before have the length as a varint and the fields as one
//! JSON object in a text: [`Shape::Json`].

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde_json::{Map, Value};

use super::super::intake::line::Line;
use super::super::model::{DEFAULT_STREAM, Level, Record};
use super::super::scalar::Scalar;
use super::super::varint::{Reader, put_text, put_varint};
use crate::kernel::clock::Time;

const MODULE: u8 = 1;
const FILE: u8 = 2;
const LINE: u8 = 4;
const RUN_ID: u8 = 8;
const FIELDS: u8 = 16;

/// How many records of a stream there are, and from when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Tally {
    pub(crate) const EMPTY: Self = Self { count: 0, min: i64::MAX, max: i64::MIN };

    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(crate) fn note(&mut self, time: i64) {
        self.count += 1;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }
}

/// Adds tallies by stream.
pub(crate) fn merge(into: &mut BTreeMap<String, Tally>, from: &BTreeMap<String, Tally>) {
    for (stream, tally) in from {
        match into.get_mut(stream) {
            Some(sum) => sum.add(tally),
            None => {
                into.insert(stream.clone(), *tally);
            }
        }
    }
}

/// What is known about some records without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) whole: Tally,
    pub(crate) levels: u8,
    pub(crate) streams: BTreeMap<String, Tally>,
}

impl Default for Summary {
    fn default() -> Self {
        Self { whole: Tally::EMPTY, levels: 0, streams: BTreeMap::new() }
    }
}

impl Summary {
    pub(crate) fn note(&mut self, time: i64, level: Level, stream: &str) {
        self.whole.note(time);
        self.levels |= level.bit();
        if let Some(tally) = self.streams.get_mut(stream) {
            tally.note(time);
        } else {
            let mut tally = Tally::EMPTY;
            tally.note(time);
            self.streams.insert(stream.to_owned(), tally);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.levels |= other.levels;
        merge(&mut self.streams, &other.streams);
    }
}

/// The id that a client gave to a batch, so that sending it again does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BatchId {
    /// The digest of the caller and its key.
    pub(crate) key: [u8; 16],
    /// The digest of what it was sent with.
    pub(crate) request: u64,
    /// How many records were kept.
    pub(crate) count: u64,
    /// How many lines were accepted, as the first answer said.
    pub(crate) accepted: u64,
}

/// Records on their way to disk, encoded as they come so that a batch costs what its bytes cost.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) summary: Summary,
}

impl Batch {
    pub(crate) fn count(&self) -> u64 {
        self.summary.whole.count
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, line: &Line<'_>) {
        let to = &mut self.bytes;
        let start = to.len();
        to.extend_from_slice(&[0; 4]);
        to.extend_from_slice(&line.time.0.to_le_bytes());
        to.push(line.level.code());
        to.push(
            flag(line.module.is_some(), MODULE)
                | flag(line.file.is_some(), FILE)
                | flag(line.line.is_some(), LINE)
                | flag(line.run_id.is_some(), RUN_ID)
                | flag(!line.fields.is_empty(), FIELDS),
        );
        put_text(to, if line.stream == DEFAULT_STREAM { "" } else { &line.stream });
        put_text(to, &line.message);
        for text in [&line.module, &line.file].into_iter().flatten() {
            put_text(to, text);
        }
        if let Some(number) = line.line {
            put_varint(to, number);
        }
        if let Some(run_id) = &line.run_id {
            put_text(to, run_id);
        }
        if !line.fields.is_empty() {
            put_varint(to, line.fields.len() as u64);
            for (name, value) in &line.fields {
                put_text(to, name);
                value.put(to);
            }
        }
        let length = u32::try_from(to.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(place) = to.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.summary.note(line.time.0, line.level, &line.stream);
    }
}

fn flag(is: bool, bit: u8) -> u8 {
    if is { bit } else { 0 }
}

/// Writes the ids that stand before the records.
pub(crate) fn put_ids(to: &mut Vec<u8>, ids: &[BatchId]) {
    put_varint(to, ids.len() as u64);
    for id in ids {
        to.extend_from_slice(&id.key);
        to.extend_from_slice(&id.request.to_le_bytes());
        put_varint(to, id.count);
        put_varint(to, id.accepted);
    }
}

/// How the records of a frame are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Fields as one JSON text.
    Json,
    /// Fields one by one, with their types.
    Typed,
}

/// The fields of a record as they stand in a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Fields<'a> {
    #[default]
    None,
    Json(&'a str),
    /// How many, and their names and values.
    Typed(usize, &'a [u8]),
}

impl Fields<'_> {
    pub(crate) fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// Every name with its value, in the order they were sent. It ends where the bytes make no sense.
    pub(crate) fn each(self, mut each: impl FnMut(&str, Scalar<'_>)) {
        match self {
            Self::None => {}
            Self::Json(text) => {
                let fields: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                for (name, value) in &fields {
                    each(name, Scalar::of(value));
                }
            }
            Self::Typed(count, bytes) => {
                let mut reader = Reader(bytes);
                for _ in 0..count {
                    let Some((name, value)) = field(&mut reader) else { return };
                    each(name, value);
                }
            }
        }
    }

    pub(crate) fn to_map(self) -> Map<String, Value> {
        let mut map = Map::new();
        self.each(|name, value| drop(map.insert(name.to_owned(), value.into_value())));
        map
    }

    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Json(text) => text.len(),
            Self::Typed(_, bytes) => bytes.len(),
        }
    }
}

fn field<'a>(reader: &mut Reader<'a>) -> Option<(&'a str, Scalar<'a>)> {
    Some((reader.text()?, Scalar::read(reader)?))
}

/// A record as it stands in a frame: nothing is copied until someone wants it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) time: Time,
    pub(crate) level: Level,
    pub(crate) stream: &'a str,
    pub(crate) message: &'a str,
    pub(crate) module: Option<&'a str>,
    pub(crate) file: Option<&'a str>,
    pub(crate) line: Option<u64>,
    pub(crate) run_id: Option<&'a str>,
    pub(crate) fields: Fields<'a>,
}

impl Raw<'_> {
    pub(crate) fn to_record(self) -> Record {
        Record {
            time: self.time,
            level: self.level,
            stream: self.stream.to_owned(),
            message: self.message.to_owned(),
            module: self.module.map(str::to_owned),
            file: self.file.map(str::to_owned),
            line: self.line,
            run_id: self.run_id.map(str::to_owned),
            fields: self.fields.to_map(),
        }
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        400 + self.message.len() + self.fields.len() * 3
    }
}

/// Reads the ids of a payload; answers them and the records behind them.
pub(crate) fn split_ids(payload: &[u8]) -> Option<(Vec<BatchId>, &[u8])> {
    let mut reader = Reader(payload);
    let count = reader.varint()?;
    // Each id has at least 26 bytes: a count beyond that is damage, and no reason to allocate.
    if count > payload.len() as u64 / 26 {
        return None;
    }
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(BatchId {
            key: reader.array()?,
            request: u64::from_le_bytes(reader.array()?),
            count: reader.varint()?,
            accepted: reader.varint()?,
        });
    }
    Some((ids, reader.0))
}

/// The records of a payload. An item is none where the bytes make no sense, and then it ends.
pub(crate) struct Records<'a> {
    rest: Reader<'a>,
    shape: Shape,
}

impl<'a> Records<'a> {
    /// The records behind the ids.
    pub(crate) fn new(records: &'a [u8], shape: Shape) -> Self {
        Self { rest: Reader(records), shape }
    }

    fn read(&mut self) -> Option<Raw<'a>> {
        let length = match self.shape {
            Shape::Json => self.rest.count()?,
            Shape::Typed => usize::try_from(u32::from_le_bytes(self.rest.array()?)).ok()?,
        };
        let mut reader = Reader(self.rest.take(length)?);
        let time = Time(i64::from_le_bytes(reader.array()?));
        let level = Level::from_code(reader.byte()?)?;
        let has = reader.byte()?;
        let stream = match reader.text()? {
            "" => DEFAULT_STREAM,
            stream => stream,
        };
        Some(Raw {
            time,
            level,
            stream,
            message: reader.text()?,
            module: if has & MODULE == 0 { None } else { Some(reader.text()?) },
            file: if has & FILE == 0 { None } else { Some(reader.text()?) },
            line: if has & LINE == 0 { None } else { Some(reader.varint()?) },
            run_id: if has & RUN_ID == 0 { None } else { Some(reader.text()?) },
            fields: if has & FIELDS == 0 { Fields::None } else { self.fields(reader)? },
        })
    }

    fn fields(&self, mut reader: Reader<'a>) -> Option<Fields<'a>> {
        match self.shape {
            Shape::Json => Some(Fields::Json(reader.text()?)),
            Shape::Typed => Some(Fields::Typed(reader.count()?, reader.0)),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Raw<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_none() {
            self.rest = Reader(&[]);
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn whole() -> Record {
        Record {
            module: Some("m".into()),
            file: Some("f.py".into()),
            line: Some(300),
            run_id: Some("r".into()),
            fields: json!({"a": 1, "b": {"c": [true]}}).as_object().unwrap().clone(),
            ..Record::new(Time(-5), Level::Error, "wind", "überhitzt")
        }
    }

    #[test]
    fn records_and_ids_come_back_as_they_were() {
        let bare = Record::new(Time(i64::MAX), Level::Debug, DEFAULT_STREAM, "");
        let mut batch = Batch::default();
        batch.push(&Line::of(&whole()));
        batch.push(&Line::of(&bare));
        let id = BatchId { key: [7; 16], request: 9, count: 2, accepted: 300 };
        let mut payload = Vec::new();
        put_ids(&mut payload, &[id]);
        payload.extend_from_slice(&batch.bytes);
        let (ids, records) = split_ids(&payload).unwrap();
        assert_eq!(ids, [id]);
        let back: Vec<_> =
            Records::new(records, Shape::Typed).map(|raw| raw.unwrap().to_record()).collect();
        assert_eq!(back, [whole(), bare]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for shape in [Shape::Json, Shape::Typed] {
                for records in [split_ids(&bytes).map(|(_, records)| records), Some(&bytes[..])] {
                    for raw in Records::new(records.unwrap_or_default(), shape).flatten() {
                        let _record = raw.to_record();
                    }
                }
            }
        }
    }
}
