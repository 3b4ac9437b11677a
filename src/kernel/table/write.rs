//! Tables into bytes: as JSON, NDJSON, CSV, Parquet or an Arrow stream, batch by batch, so that what
//! is large can be sent while it is read.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::cell::{CellRef, ColumnArray};
use super::rows::{BATCH_ROWS, typed};
use super::{Batches, Format, Scan, Table, error, time_text};
use crate::kernel::{Error, Result};

/// Writes a table as a whole.
pub fn to_bytes(table: &Table, format: Format) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    to_writer(table, format, &mut bytes)?;
    Ok(bytes)
}

/// Writes a table as a whole into `to`.
pub fn to_writer(table: &Table, format: Format, mut to: impl Write) -> Result<()> {
    for chunk in chunks(format, table.batches_of(&Scan::all())?)? {
        to.write_all(&chunk?).map_err(|source| Error::io("write the table", source))?;
    }
    Ok(())
}

/// Writes batches as they are asked for; an item of `{"items": […]}` is a row.
pub fn chunks(format: Format, batches: Batches) -> Result<Chunks> {
    Chunks::new(format, batches.schema(), batches)
}

/// A table being written, one piece of bytes at a time.
pub struct Chunks {
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    encoder: Encoder,
    /// Large batches are cut, so that a piece stays small.
    waiting: VecDeque<RecordBatch>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Rows,
    Done,
}

enum Encoder {
    Json(TextEncoder),
    Ndjson(TextEncoder),
    Csv(CsvEncoder),
    Parquet(Box<Option<ArrowWriter<Shared>>>, Shared),
    Arrow(Box<StreamWriter<Shared>>, Shared),
}

impl Chunks {
    fn new(
        format: Format,
        schema: SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Result<Self> {
        let encoder = Encoder::new(format, &schema)?;
        Ok(Self {
            batches: Box::new(batches),
            encoder,
            waiting: VecDeque::new(),
            state: State::Start,
        })
    }

    /// The next piece; an empty one where the writer still gathers, none at the end.
    fn step(&mut self) -> Result<Option<Vec<u8>>> {
        match self.state {
            State::Done => Ok(None),
            State::Start => {
                self.state = State::Rows;
                self.encoder.start().map(Some)
            }
            State::Rows => {
                if let Some(batch) = self.next_batch()? {
                    return self.encoder.batch(&batch).map(Some);
                }
                self.state = State::Done;
                self.encoder.end().map(Some)
            }
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        const ROWS: usize = 4_096;
        if self.waiting.is_empty() {
            let Some(batch) = self.batches.next().transpose()? else {
                return Ok(None);
            };
            let cut = if self.encoder.binary() { BATCH_ROWS } else { ROWS };
            for start in (0..batch.num_rows()).step_by(cut) {
                self.waiting.push_back(batch.slice(start, cut.min(batch.num_rows() - start)));
            }
            if self.waiting.is_empty() {
                self.waiting.push_back(batch);
            }
        }
        Ok(self.waiting.pop_front())
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => return Some(Ok(bytes.into())),
                Ok(None) => return None,
                Err(error) => {
                    self.state = State::Done;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let shared = Shared::default();
        Ok(match format {
            Format::Json => Self::Json(TextEncoder::new(schema)?),
            Format::Ndjson => Self::Ndjson(TextEncoder::new(schema)?),
            Format::Csv => Self::Csv(CsvEncoder { schema: Arc::clone(schema) }),
            Format::Parquet => {
                let writer = parquet_writer(shared.clone(), schema)?;
                Self::Parquet(Box::new(Some(writer)), shared)
            }
            Format::Arrow => {
                let writer = StreamWriter::try_new(shared.clone(), schema).map_err(broken)?;
                Self::Arrow(Box::new(writer), shared)
            }
        })
    }

    fn binary(&self) -> bool {
        matches!(self, Self::Parquet(..) | Self::Arrow(..))
    }

    fn start(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::Json(_) => Ok(b"{\"items\":[".to_vec()),
            Self::Ndjson(_) => Ok(Vec::new()),
            Self::Csv(csv) => csv.header(),
            Self::Parquet(_, shared) | Self::Arrow(_, shared) => Ok(shared.take()),
        }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Self::Json(json) => Ok(json.rows(batch, true)),
            Self::Ndjson(json) => Ok(json.rows(batch, false)),
            Self::Csv(_) => CsvEncoder::rows(batch),
            Self::Parquet(writer, shared) => {
                if let Some(writer) = writer.as_mut() {
                    writer.write(batch).map_err(error::bad_parquet)?;
                }
                Ok(shared.take())
            }
            Self::Arrow(writer, shared) => {
                writer.write(batch).map_err(broken)?;
                Ok(shared.take())
            }
        }
    }

    fn end(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::Json(_) => Ok(b"]}".to_vec()),
            Self::Ndjson(_) | Self::Csv(_) => Ok(Vec::new()),
            Self::Parquet(writer, shared) => {
                if let Some(writer) = writer.take() {
                    writer.close().map_err(error::bad_parquet)?;
                }
                Ok(shared.take())
            }
            Self::Arrow(writer, shared) => {
                writer.finish().map_err(broken)?;
                Ok(shared.take())
            }
        }
    }
}

fn broken(source: arrow::error::ArrowError) -> Error {
    error::arrow("write the table", source)
}

/// zstd at its quickest, row groups small enough to be skipped one by one, statistics for that.
fn parquet_writer(to: Shared, schema: &SchemaRef) -> Result<ArrowWriter<Shared>> {
    let level = ZstdLevel::try_new(1).map_err(error::bad_parquet)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(BATCH_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(format!("drip {}", env!("CARGO_PKG_VERSION")))
        .build();
    ArrowWriter::try_new(to, Arc::clone(schema), Some(properties)).map_err(error::bad_parquet)
}

/// A buffer that a writer fills and [`Chunks`] empties.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Rows as JSON objects.
struct TextEncoder {
    /// `{"first":` and then `,"second":` …
    keys: Vec<Vec<u8>>,
    any: bool,
}

impl TextEncoder {
    fn new(schema: &SchemaRef) -> Result<Self> {
        let keys = schema.fields().iter().enumerate().map(|(at, field)| {
            let mut key = vec![if at == 0 { b'{' } else { b',' }];
            serde_json::to_writer(&mut key, field.name())
                .map_err(|source| Error::internal(format!("write a column's name: {source}")))?;
            key.push(b':');
            Ok(key)
        });
        Ok(Self { keys: keys.collect::<Result<_>>()?, any: false })
    }

    fn rows(&mut self, batch: &RecordBatch, items: bool) -> Vec<u8> {
        let columns = typed(batch);
        let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 16);
        for row in 0..batch.num_rows() {
            if items && self.any {
                out.push(b',');
            }
            self.any = true;
            self.object(&mut out, &columns, row);
            if !items {
                out.push(b'\n');
            }
        }
        out
    }

    fn object(&self, out: &mut Vec<u8>, columns: &[ColumnArray], row: usize) {
        if self.keys.is_empty() {
            out.push(b'{');
        }
        for (key, column) in self.keys.iter().zip(columns) {
            out.extend_from_slice(key);
            json_cell(out, column.get(row));
        }
        out.push(b'}');
    }
}

fn json_cell(out: &mut Vec<u8>, cell: CellRef<'_>) {
    // Writing into memory cannot fail.
    let _infallible = match cell {
        CellRef::Null => out.write_all(b"null"),
        CellRef::Bool(true) => out.write_all(b"true"),
        CellRef::Bool(false) => out.write_all(b"false"),
        CellRef::Int(number) => write!(out, "{number}"),
        CellRef::Float(number) => serde_json::to_writer(out, &number).map_err(std::io::Error::from),
        CellRef::Text(text) => serde_json::to_writer(out, text).map_err(std::io::Error::from),
        CellRef::Time(micros) => time_text::with_text(micros, |text| write!(out, "\"{text}\"")),
    };
}

struct CsvEncoder {
    schema: SchemaRef,
}

impl CsvEncoder {
    fn header(&self) -> Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer
            .write_record(self.schema.fields().iter().map(|field| field.name().as_bytes()))
            .map_err(csv_fault)?;
        finish(writer)
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<u8>> {
        let columns = typed(batch);
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        let mut scratch = Vec::new();
        for row in 0..batch.num_rows() {
            for column in &columns {
                scratch.clear();
                csv_cell(&mut scratch, column.get(row));
                writer.write_field(&scratch).map_err(csv_fault)?;
            }
            writer.write_record(None::<&[u8]>).map_err(csv_fault)?;
        }
        finish(writer)
    }
}

fn csv_cell(out: &mut Vec<u8>, cell: CellRef<'_>) {
    let _infallible = match cell {
        CellRef::Bool(truth) => write!(out, "{truth}"),
        CellRef::Int(number) => write!(out, "{number}"),
        // With its point, so that it is read back as a float.
        CellRef::Float(number) if number.is_finite() => write!(out, "{number:?}"),
        CellRef::Null | CellRef::Float(_) => Ok(()),
        CellRef::Text(text) => out.write_all(text.as_bytes()),
        CellRef::Time(micros) => {
            time_text::with_text(micros, |text| out.write_all(text.as_bytes()))
        }
    };
}

fn csv_fault(source: csv::Error) -> Error {
    Error::internal(format!("write CSV: {source}")).caused_by(source)
}

fn finish(writer: csv::Writer<Vec<u8>>) -> Result<Vec<u8>> {
    writer.into_inner().map_err(|source| Error::internal(format!("write CSV: {source}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::super::read::{self, Limits};
    use super::*;

    fn sample() -> Table {
        Table::from_rows(&[
            json!({"t": "2014-01-01T00:00:00Z", "n": 1, "x": 2.0, "ok": true, "s": "a,\"b\"\nc"}),
            json!({"t": null, "n": null, "x": null, "ok": null, "s": null}),
            json!({"t": "2014-01-01T00:10:00.5Z", "n": -3, "x": 1e-9, "ok": false, "s": "x é 风"}),
        ])
        .unwrap()
        .with_unit("x", "m/s")
        .unwrap()
    }

    #[test]
    fn every_format_reads_back_as_it_was_written() {
        for format in [Format::Json, Format::Csv, Format::Ndjson, Format::Parquet, Format::Arrow] {
            let bytes = to_bytes(&sample(), format).unwrap();
            let back = read::table(format, Bytes::from(bytes), &Limits::default()).unwrap();
            assert_eq!(back.to_rows(), sample().to_rows(), "{format:?}");
        }
    }

    #[test]
    fn units_survive_in_parquet_and_arrow() {
        for format in [Format::Parquet, Format::Arrow] {
            let bytes = to_bytes(&sample(), format).unwrap();
            let back = read::table(format, Bytes::from(bytes), &Limits::default()).unwrap();
            assert_eq!(back.schema(), sample().schema(), "{format:?}");
            assert_eq!(back, sample(), "{format:?}");
        }
    }

    #[test]
    fn json_and_csv_are_as_documented() {
        let table = sample().slice(0, 2).unwrap();
        let document: Value =
            serde_json::from_slice(&to_bytes(&table, Format::Json).unwrap()).unwrap();
        assert_eq!(document, json!({ "items": table.to_rows() }));
        let text = String::from_utf8(to_bytes(&table, Format::Csv).unwrap()).unwrap();
        assert_eq!(
            text,
            "t,n,x,ok,s\n2014-01-01T00:00:00.000000Z,1,2.0,true,\"a,\"\"b\"\"\nc\"\n,,,,\n"
        );
        let empty = table.slice(2, 0).unwrap();
        assert_eq!(to_bytes(&empty, Format::Json).unwrap(), b"{\"items\":[]}");
        assert_eq!(to_bytes(&empty, Format::Csv).unwrap(), b"t,n,x,ok,s\n");
    }

    #[test]
    fn what_json_has_no_number_for_is_null() {
        let floats: arrow::array::ArrayRef =
            Arc::new(arrow::array::Float64Array::from(vec![f64::NAN, f64::INFINITY, 1.5]));
        let batch = RecordBatch::try_from_iter([("x", floats)]).unwrap();
        let table = Table::from_batches(&batch.schema(), vec![batch.clone()]).unwrap();
        assert_eq!(
            to_bytes(&table, Format::Json).unwrap(),
            b"{\"items\":[{\"x\":null},{\"x\":null},{\"x\":1.5}]}"
        );
        assert_eq!(Value::Array(table.to_rows()), json!([{"x": null}, {"x": null}, {"x": 1.5}]));
    }

    #[test]
    fn large_tables_come_in_pieces() {
        let rows: Vec<_> = (0..10_000).map(|at| json!({ "at": at })).collect();
        let table = Table::from_rows(&rows).unwrap();
        let batches = table.batches_of(&Scan::all()).unwrap();
        let pieces: Vec<Bytes> =
            chunks(Format::Ndjson, batches).unwrap().collect::<Result<_>>().unwrap();
        assert!(pieces.len() >= 3, "{} pieces", pieces.len());
        assert_eq!(read::ndjson(&pieces.concat(), &Limits::default()).unwrap(), table);
    }
}
