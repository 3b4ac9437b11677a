//! What stands inside a frame: the ids of the batches in it, then the records.
//!
//! ```text
//! payload = ids | record*
//! ids     = n varint | n × ( key 16 bytes | request u64 | count varint | accepted varint )
//! record  = length varint | time i64 | level u8 | has u8 | stream text | message text
//!           | module text? | file text? | line varint? | run_id text? | fields text?
//! text    = length varint | UTF-8
//! ```
//!
//! Integers are little-endian, a varint is LEB128. `has` tells which of the last five are there, from
//! bit 0. An empty stream is `default`. Fields are one JSON object as text. The n-th record of a
//! frame has the frame's first number plus n.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde_json::{Map, Value};

use super::model::{DEFAULT_STREAM, Level, Record};
use crate::kernel::clock::Time;

const MODULE: u8 = 1;
const FILE: u8 = 2;
const LINE: u8 = 4;
const RUN_ID: u8 = 8;
const FIELDS: u8 = 16;

/// How many records of a stream there are, and from when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Tally {
    pub(super) const EMPTY: Self = Self { count: 0, min: i64::MAX, max: i64::MIN };

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn note(&mut self, time: i64) {
        self.count += 1;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }
}

/// Adds tallies by stream.
pub(super) fn merge(into: &mut BTreeMap<String, Tally>, from: &BTreeMap<String, Tally>) {
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
pub(super) struct Summary {
    pub(super) whole: Tally,
    pub(super) levels: u8,
    pub(super) streams: BTreeMap<String, Tally>,
}

impl Default for Summary {
    fn default() -> Self {
        Self { whole: Tally::EMPTY, levels: 0, streams: BTreeMap::new() }
    }
}

impl Summary {
    pub(super) fn note(&mut self, time: i64, level: Level, stream: &str) {
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

    pub(super) fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.levels |= other.levels;
        merge(&mut self.streams, &other.streams);
    }
}

/// The id that a client gave to a batch, so that sending it again does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct BatchId {
    /// The digest of the caller and its key.
    pub(super) key: [u8; 16],
    /// The digest of what it was sent with.
    pub(super) request: u64,
    /// How many records were kept.
    pub(super) count: u64,
    /// How many lines were accepted, as the first answer said.
    pub(super) accepted: u64,
}

/// Records on their way to disk, encoded as they come so that a batch costs what its bytes cost.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) summary: Summary,
}

impl Batch {
    pub(super) fn count(&self) -> u64 {
        self.summary.whole.count
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &Record) {
        let fields = if record.fields.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&record.fields).unwrap_or_default()
        };
        let mut body = Vec::with_capacity(64 + record.message.len() + fields.len());
        body.extend_from_slice(&record.time.0.to_le_bytes());
        body.push(record.level.code());
        body.push(
            flag(record.module.is_some(), MODULE)
                | flag(record.file.is_some(), FILE)
                | flag(record.line.is_some(), LINE)
                | flag(record.run_id.is_some(), RUN_ID)
                | flag(!fields.is_empty(), FIELDS),
        );
        let stream = if record.stream == DEFAULT_STREAM { "" } else { &record.stream };
        put_text(&mut body, stream);
        put_text(&mut body, &record.message);
        for text in [&record.module, &record.file].into_iter().flatten() {
            put_text(&mut body, text);
        }
        if let Some(line) = record.line {
            put_varint(&mut body, line);
        }
        if let Some(run_id) = &record.run_id {
            put_text(&mut body, run_id);
        }
        if !fields.is_empty() {
            put_text(&mut body, &fields);
        }
        put_varint(&mut self.bytes, body.len() as u64);
        self.bytes.extend_from_slice(&body);
        self.summary.note(record.time.0, record.level, &record.stream);
    }
}

fn flag(is: bool, bit: u8) -> u8 {
    if is { bit } else { 0 }
}

/// Writes the ids that stand before the records.
pub(super) fn put_ids(to: &mut Vec<u8>, ids: &[BatchId]) {
    put_varint(to, ids.len() as u64);
    for id in ids {
        to.extend_from_slice(&id.key);
        to.extend_from_slice(&id.request.to_le_bytes());
        put_varint(to, id.count);
        put_varint(to, id.accepted);
    }
}

/// A record as it stands in a frame: nothing is copied until someone wants it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) time: Time,
    pub(super) level: Level,
    pub(super) stream: &'a str,
    pub(super) message: &'a str,
    pub(super) module: Option<&'a str>,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u64>,
    pub(super) run_id: Option<&'a str>,
    fields: Option<&'a str>,
}

impl Raw<'_> {
    pub(super) fn fields(&self) -> Map<String, Value> {
        self.fields.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(super) fn has_fields(&self) -> bool {
        self.fields.is_some()
    }

    pub(super) fn to_record(self) -> Record {
        Record {
            time: self.time,
            level: self.level,
            stream: self.stream.to_owned(),
            message: self.message.to_owned(),
            module: self.module.map(str::to_owned),
            file: self.file.map(str::to_owned),
            line: self.line,
            run_id: self.run_id.map(str::to_owned),
            fields: self.fields(),
        }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        400 + self.message.len() + self.fields.map_or(0, |text| text.len() * 3)
    }
}

/// Reads the ids of a payload; answers them and the records behind them.
pub(super) fn split_ids(payload: &[u8]) -> Option<(Vec<BatchId>, &[u8])> {
    let mut reader = Reader(payload);
    let count = reader.varint()?;
    // Each id has at least 26 bytes: a count beyond that is damage, and no reason to allocate.
    if count > payload.len() as u64 / 26 {
        return None;
    }
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(BatchId {
            key: reader.take(16)?.try_into().ok()?,
            request: u64::from_le_bytes(reader.take(8)?.try_into().ok()?),
            count: reader.varint()?,
            accepted: reader.varint()?,
        });
    }
    Some((ids, reader.0))
}

/// The records of a payload. An item is none where the bytes make no sense, and then it ends.
pub(super) struct Records<'a>(Reader<'a>);

impl<'a> Records<'a> {
    /// The records behind the ids.
    pub(super) fn new(records: &'a [u8]) -> Self {
        Self(Reader(records))
    }

    fn read(&mut self) -> Option<Raw<'a>> {
        let length = usize::try_from(self.0.varint()?).ok()?;
        let mut reader = Reader(self.0.take(length)?);
        let time = Time(i64::from_le_bytes(reader.take(8)?.try_into().ok()?));
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
            fields: if has & FIELDS == 0 { None } else { Some(reader.text()?) },
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Raw<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_none() {
            self.0.0 = &[];
        }
        Some(record)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_varint(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
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
        batch.push(&whole());
        batch.push(&bare);
        let id = BatchId { key: [7; 16], request: 9, count: 2, accepted: 300 };
        let mut payload = Vec::new();
        put_ids(&mut payload, &[id]);
        payload.extend_from_slice(&batch.bytes);
        let (ids, records) = split_ids(&payload).unwrap();
        assert_eq!(ids, [id]);
        let back: Vec<_> = Records::new(records).map(|raw| raw.unwrap().to_record()).collect();
        assert_eq!(back, [whole(), bare]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some((_, records)) = split_ids(&bytes) {
                let _count = Records::new(records).count();
            }
            let _count = Records::new(&bytes).count();
        }
    }
}
