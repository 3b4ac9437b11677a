//! A table in a Parquet file, wherever its bytes are. The footer is read once; a scan then reads the
//! columns it needs of the row groups whose statistics do not rule them out, one group at a time, and
//! filters the rows exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader, Length};
use ::parquet::file::statistics::Statistics;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes};

use super::Table;
use super::cell::{Cell, ColumnArray};
use super::error;
use super::number;
use super::read::{Limits, guarded};
use super::scan::{Batches, Plan, Scan, Test};
use super::schema::{Column, ColumnType, arrow_schema, columns_of, conform, flat_text_bytes};
use super::stats::{self, ColumnStats};
use crate::kernel::{Error, Result};

/// Rows that are decoded at a time: few enough that long texts do not pile up.
const DECODE_ROWS: usize = 8_192;

/// Bytes that can be read at any place.
pub trait ByteSource: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// `len` bytes from `offset` on; fewer are an error.
    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ByteSource for Bytes {
    fn len(&self) -> u64 {
        number::size(Bytes::len(self))
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let start = number::index(offset);
        let end = start.saturating_add(len);
        if end > Bytes::len(self) {
            return Err(error::bad_parquet(format!("it ends before byte {end}")));
        }
        Ok(self.slice(start..end))
    }
}

/// A table in a Parquet file that stays where it is; see the module's text.
#[derive(Clone)]
pub struct ParquetTable(Arc<Inner>);

struct Inner {
    source: Counted,
    metadata: ArrowReaderMetadata,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Per column, per row group.
    bounds: Vec<Vec<Bounds>>,
    memory: u64,
}

/// What the statistics say of one column in one row group.
#[derive(Debug, Clone, PartialEq)]
enum Bounds {
    Unknown,
    /// Every value is null.
    Nothing,
    Between(Cell, Cell),
}

impl ParquetTable {
    /// Opens a file: its footer is read, and nothing else.
    pub fn open(source: Arc<dyn ByteSource>) -> Result<Self> {
        let unlimited = Limits { bytes: u64::MAX, rows: u64::MAX, ..Limits::default() };
        Self::open_within(source, &unlimited)
    }

    /// As [`ParquetTable::open`], unless the file says that it holds more than the limits.
    pub fn open_within(source: Arc<dyn ByteSource>, limits: &Limits) -> Result<Self> {
        limits.check_bytes(source.len())?;
        let source = Counted { source, read: Arc::default() };
        guarded("Parquet", || Self::load(source, limits))
    }

    fn load(source: Counted, limits: &Limits) -> Result<Self> {
        let given = ArrowReaderMetadata::load(&source, ArrowReaderOptions::new())
            .map_err(|why| source.blame(why))?;
        let columns = columns_of(given.schema())?;
        limits.check_columns(columns.len())?;
        let groups = given.metadata().row_groups();
        let rows = groups.iter().fold(0, |sum: i64, group| sum.saturating_add(group.num_rows()));
        let unpacked =
            groups.iter().fold(0, |sum: i64, group| sum.saturating_add(group.total_byte_size()));
        let (Ok(rows), Ok(unpacked)) = (u64::try_from(rows), u64::try_from(unpacked)) else {
            return Err(error::bad_parquet("it counts fewer rows than none"));
        };
        limits.check_rows(rows)?;
        if limits.rows != u64::MAX {
            limits.check_memory(unpacked)?;
        }
        let options = ArrowReaderOptions::new().with_schema(with_views(given.schema()));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(given.metadata()), options)
            .map_err(error::bad_parquet)?;
        let schema = arrow_schema(&columns);
        let bounds = (0..columns.len()).map(|at| bounds_of(&metadata, &schema, at)).collect();
        let memory = limits.memory;
        Ok(Self(Arc::new(Inner { source, metadata, columns, schema, bounds, memory })))
    }

    /// The columns.
    pub fn schema(&self) -> &[Column] {
        &self.0.columns
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        let groups = self.0.metadata.metadata().row_groups();
        groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum()
    }

    /// How large the file is.
    pub fn bytes(&self) -> u64 {
        self.0.source.source.len()
    }

    /// How much of the file was read since it was opened, the footer included.
    pub fn bytes_read(&self) -> u64 {
        self.0.source.read.load(Ordering::Relaxed)
    }

    /// The rows and columns that a scan asks for.
    pub fn scan(&self, scan: &Scan) -> Result<Table> {
        self.batches(scan)?.collect_table()
    }

    /// As [`ParquetTable::scan`], batch by batch, reading on as they are asked for.
    pub fn batches(&self, scan: &Scan) -> Result<Batches> {
        let plan = Plan::new(scan, &self.0.columns)?;
        let groups: Vec<usize> = (0..self.0.metadata.metadata().num_row_groups())
            .filter(|group| self.may_match(*group, &plan.tests))
            .collect();
        let fields: Vec<Field> = plan
            .read
            .iter()
            .filter_map(|at| self.0.schema.fields().get(*at).map(|field| field.as_ref().clone()))
            .collect();
        let reader = GroupReader {
            table: Arc::clone(&self.0),
            read: plan.read.clone(),
            schema: Arc::new(Schema::new(fields)),
            groups: groups.into_iter(),
            current: None,
        };
        Ok(plan.run(reader))
    }

    /// The first rows.
    pub fn preview(&self, rows: usize) -> Result<Table> {
        self.scan(&Scan::all().limit(rows))
    }

    /// Count, nulls, least, greatest and mean of every column; reads the whole file once.
    pub fn stats(&self) -> Result<Vec<ColumnStats>> {
        stats::of(&self.0.columns, self.batches(&Scan::all())?)
    }

    fn may_match(&self, group: usize, tests: &[Test]) -> bool {
        tests.iter().all(|test| {
            let bounds = self.0.bounds.get(test.column).and_then(|column| column.get(group));
            match bounds {
                Some(Bounds::Nothing) => false,
                Some(Bounds::Between(least, most)) => test.may_meet(least.view(), most.view()),
                Some(Bounds::Unknown) | None => true,
            }
        })
    }
}

impl std::fmt::Debug for ParquetTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetTable").field("columns", &self.0.columns).finish_non_exhaustive()
    }
}

/// The schema with texts as views into the pages they stand in. A file can name one long text a
/// million times; views show how much that is before it is copied out.
fn with_views(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let text = ColumnType::of(field.data_type()) == Some(ColumnType::Text)
                && *field.data_type() != DataType::Null;
            let field = field.as_ref().clone();
            if text { field.with_data_type(DataType::Utf8View) } else { field }
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// What the statistics say of a column, for every row group. Statistics that cannot be understood
/// rule nothing out.
fn bounds_of(metadata: &ArrowReaderMetadata, schema: &SchemaRef, at: usize) -> Vec<Bounds> {
    let groups = metadata.metadata().row_groups();
    let unknown = || vec![Bounds::Unknown; groups.len()];
    let Some(field) = schema.fields().get(at) else {
        return unknown();
    };
    let read = || -> Option<(ColumnArray, ColumnArray, Vec<Option<u64>>)> {
        let converter = StatisticsConverter::try_new(
            field.name(),
            metadata.schema(),
            metadata.parquet_schema(),
        )
        .ok()?
        .with_missing_null_counts_as_zero(false);
        let one = Arc::new(Schema::new(vec![field.as_ref().clone()]));
        let fit = |array: ArrayRef| {
            let given =
                Schema::new(vec![Field::new(field.name(), array.data_type().clone(), true)]);
            let batch = RecordBatch::try_new(Arc::new(given), vec![array]).ok()?;
            ColumnArray::of(conform(&batch, &one).ok()?.columns().first()?).ok()
        };
        let least = fit(converter.row_group_mins(groups.iter()).ok()?)?;
        let most = fit(converter.row_group_maxes(groups.iter()).ok()?)?;
        let nulls = converter.row_group_null_counts(groups.iter()).ok()?;
        Some((least, most, nulls.iter().collect()))
    };
    let Some((least, most, nulls)) = read() else {
        return unknown();
    };
    let of_group = |(group, meta): (usize, &RowGroupMetaData)| {
        let rows = u64::try_from(meta.num_rows()).unwrap_or(0);
        if nulls.get(group).copied().flatten() == Some(rows) {
            return Bounds::Nothing;
        }
        // Old writers compared texts as signed bytes, and wrote that into fields now deprecated.
        let stats = meta.columns().get(at).and_then(ColumnChunkMetaData::statistics);
        if stats.is_none_or(Statistics::is_min_max_deprecated) {
            return Bounds::Unknown;
        }
        match (least.get(group).to_cell(), most.get(group).to_cell()) {
            (Cell::Null, _) | (_, Cell::Null) => Bounds::Unknown,
            (least, most) => Bounds::Between(least, most),
        }
    };
    groups.iter().enumerate().map(of_group).collect()
}

/// Reads the chosen columns of the chosen row groups, one group after the other.
struct GroupReader {
    table: Arc<Inner>,
    read: Vec<usize>,
    schema: SchemaRef,
    groups: std::vec::IntoIter<usize>,
    current: Option<ParquetRecordBatchReader>,
}

impl GroupReader {
    /// A reader of one row group whose bytes have been fetched, one read per column.
    fn open(&self, group: usize) -> Result<ParquetRecordBatchReader> {
        let metadata = &self.table.metadata;
        let row_group = metadata
            .metadata()
            .row_groups()
            .get(group)
            .ok_or_else(|| Error::internal("a row group is not there"))?;
        let mut parts = Vec::with_capacity(self.read.len());
        for at in &self.read {
            let chunk = row_group
                .columns()
                .get(*at)
                .ok_or_else(|| error::bad_parquet("a column is missing"))?;
            let (start, length) = chunk.byte_range();
            if start.saturating_add(length) > self.table.source.source.len() {
                return Err(error::bad_parquet("a column lies beyond its end"));
            }
            parts.push((start, self.table.source.fetch(start, number::index(length))?));
        }
        let fetched = Fetched { length: self.table.source.source.len(), parts: parts.into() };
        let mask = ProjectionMask::roots(metadata.parquet_schema(), self.read.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(DECODE_ROWS)
            .build()
            .map_err(error::bad_parquet)
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut reader = match self.current.take() {
                Some(reader) => reader,
                None => match self.groups.next() {
                    Some(group) => self.open(group)?,
                    None => return Ok(None),
                },
            };
            let Some(batch) = reader.next() else { continue };
            let batch = batch.map_err(error::bad_parquet)?;
            self.current = Some(reader);
            let texts = batch.columns().iter().map(|array| flat_text_bytes(array.as_ref()));
            let texts = texts.fold(0, u64::saturating_add);
            if texts > self.table.memory {
                return Err(error::too_large(
                    "a few rows of text",
                    format!("{} bytes", self.table.memory),
                ));
            }
            return conform(&batch, &self.schema).map(Some);
        }
    }
}

impl Iterator for GroupReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = guarded("Parquet", || self.step());
        if step.is_err() {
            // What panicked or failed once is not asked again.
            self.groups = Vec::new().into_iter();
            self.current = None;
        }
        step.transpose()
    }
}

/// A source that counts what is read of it.
#[derive(Clone)]
struct Counted {
    source: Arc<dyn ByteSource>,
    read: Arc<AtomicU64>,
}

impl Counted {
    fn fetch(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.read.fetch_add(number::size(length), Ordering::Relaxed);
        self.source.read_at(offset, length)
    }

    /// A failure of the source is its own; everything else is the file's.
    fn blame(&self, why: ParquetError) -> Error {
        match why {
            ParquetError::External(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => error::bad_parquet(&other),
            },
            other if self.source.len() < 12 => {
                error::bad_parquet(format!("it is too short ({other})"))
            }
            other => error::bad_parquet(other),
        }
    }
}

impl Length for Counted {
    fn len(&self) -> u64 {
        self.source.len()
    }
}

impl ChunkReader for Counted {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let rest = number::index(self.source.len().saturating_sub(start));
        self.get_bytes(start, rest).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.saturating_add(number::size(length)) > self.source.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie beyond its end")));
        }
        self.fetch(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// The parts of a file that have been fetched. Asking for another part is a fault of the file.
#[derive(Clone)]
struct Fetched {
    length: u64,
    parts: Arc<[(u64, Bytes)]>,
}

impl Fetched {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let within =
            |(at, bytes): &&(u64, Bytes)| *at <= start && start - *at <= number::size(bytes.len());
        // Parts may touch: the one that goes on from here is meant, not the one that ends here.
        let part = self.parts.iter().filter(within).min_by_key(|(at, _)| start - *at);
        let (at, bytes) = part
            .ok_or_else(|| ParquetError::EOF(format!("byte {start} is outside of its column")))?;
        Ok(bytes.slice(number::index(start - at)..))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let rest = self.from(start)?;
        if length > rest.len() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} lie outside of their column"
            )));
        }
        Ok(rest.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use serde_json::json;

    use super::super::{CsvOptions, Format, read, write};
    use super::*;
    use crate::kernel::{Kind, Time};

    /// 300 000 rows: five row groups.
    fn many() -> Table {
        let count = 300_000_i64;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let times =
            TimestampMicrosecondArray::from_iter_values((0..count).map(|at| at * 600_000_000));
        let groups =
            StringArray::from_iter_values((0..count).map(|at| format!("g{}", at / 100_000)));
        let powers: Float64Array =
            (0..count).map(|at| (at % 10 != 0).then(|| number::to_float(at) / 8.0)).collect();
        let columns: [(&str, ArrayRef); 4] = [
            ("t", Arc::new(times)),
            ("group", Arc::new(groups)),
            ("p", Arc::new(powers)),
            ("n", numbers),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Table::from_batches(&batch.schema(), vec![batch.clone()]).unwrap()
    }

    fn store(table: &Table) -> ParquetTable {
        let bytes = write::to_bytes(table, Format::Parquet).unwrap();
        ParquetTable::open(Arc::new(Bytes::from(bytes))).unwrap()
    }

    #[test]
    fn a_slice_reads_less_than_the_whole_and_finds_the_same() {
        let (table, stored) = (many(), store(&many()));
        assert_eq!((stored.rows(), stored.schema()), (300_000, table.schema()));
        let footer = stored.bytes_read();
        assert!(footer * 20 < stored.bytes(), "the footer is {footer} of {}", stored.bytes());
        let at = |text: &str| Some(Time::parse(text).unwrap());
        for (scan, share) in [
            (Scan::all().time("t", at("1971-01-01"), at("1971-01-03")), 4),
            (Scan::all().columns(["n"]).entity("group", ["g2"]), 4),
            (
                Scan::all().columns(["p"]).range(
                    "n",
                    Some((Cell::Int(70_000), true)),
                    Some((Cell::Int(70_010), false)),
                ),
                6,
            ),
            (Scan::all().columns(["n"]).time("t", at("1990-01-01"), None), 1_000_000),
            (Scan::all().limit(3), 4),
            (Scan::all().columns(["n", "group"]).limit(5).offset(250_000), 1),
        ] {
            let before = stored.bytes_read();
            assert_eq!(stored.scan(&scan).unwrap(), table.scan(&scan).unwrap(), "{scan:?}");
            let read = stored.bytes_read() - before;
            assert!(read * share <= stored.bytes(), "{scan:?} read {read} of {}", stored.bytes());
        }
        assert_eq!(stored.scan(&Scan::all()).unwrap(), table);
        assert_eq!(stored.stats().unwrap(), table.stats().unwrap());
        assert_eq!(stored.preview(2).unwrap(), table.slice(0, 2).unwrap());
        assert_eq!(stored.scan(&Scan::all().columns(["n"; 0])).unwrap().rows(), 300_000);
    }

    #[test]
    fn real_turbine_data_is_kept_small_and_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/wind/scada-2014q1.csv");
        let table = read::csv(std::fs::File::open(path).unwrap(), &CsvOptions::default()).unwrap();
        let stored = store(&table);
        assert!(stored.bytes() * 4 < std::fs::metadata(path).unwrap().len());
        assert_eq!(stored.scan(&Scan::all()).unwrap(), table);
        let day = Scan::all()
            .columns(["Date_time", "P_avg"])
            .time("Date_time", Time::parse("2014-03-30").ok(), Time::parse("2014-03-31").ok())
            .entity("Wind_turbine_name", ["R80711"]);
        assert_eq!(stored.scan(&day).unwrap(), table.scan(&day).unwrap());
    }

    #[test]
    fn one_long_text_named_many_times_is_noticed_before_it_is_copied() {
        let long = "x".repeat(1 << 20);
        let table = Table::from_rows(&[json!({ "s": long })]).unwrap();
        let batch = table.as_batch().unwrap();
        let many = arrow::compute::take_record_batch(
            &batch,
            &arrow::array::UInt32Array::from_value(0, 500),
        )
        .unwrap();
        let many = Table::from_batches(&many.schema(), vec![many.clone()]).unwrap();
        let bytes = write::to_bytes(&many, Format::Parquet).unwrap();
        assert!(bytes.len() < 1 << 20);
        let limits = Limits { memory: 100 << 20, ..Limits::default() };
        let error = read::parquet(Bytes::from(bytes), &limits).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
    }

    #[test]
    fn a_source_that_fails_says_so_itself() {
        struct Broken;
        impl ByteSource for Broken {
            fn len(&self) -> u64 {
                1_000
            }
            fn read_at(&self, _offset: u64, _len: usize) -> Result<Bytes> {
                Err(Error::new(Kind::Io, "disk", "the disk is gone"))
            }
        }
        let error = ParquetTable::open(Arc::new(Broken)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Io, "disk"));
    }

    #[test]
    fn damaged_files_are_refused_and_never_panic() {
        let table = many().slice(0, 2_000).unwrap();
        for format in [Format::Parquet, Format::Arrow] {
            let bytes = write::to_bytes(&table, format).unwrap();
            for cut in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
                let cut = Bytes::copy_from_slice(&bytes[..cut]);
                let error = read::table(format, cut, &Limits::default());
                // An Arrow stream may end after any batch.
                assert!(error.is_err() || format == Format::Arrow);
            }
            let mut seed = 0x2545_F491_4F6C_DD1D_u64;
            for _ in 0..1_000 {
                let mut damaged = bytes.clone();
                for _ in 0..3 {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    let tail = damaged.len().min(1_500);
                    let near_end = usize::try_from(seed % 3).unwrap() > 0;
                    let span = if near_end { tail } else { damaged.len() };
                    let at = damaged.len() - 1 - usize::try_from(seed >> 8).unwrap() % span;
                    damaged[at] = u8::try_from(seed & 0xFF).unwrap();
                }
                // It is refused, or something is read: what counts is that it ends.
                if let Ok(read) = read::table(format, damaged.into(), &Limits::default()) {
                    assert!(read.rows() <= 20_000_000);
                }
            }
        }
        for short in [&b""[..], b"PAR1", b"PAR1PAR1", b"ARROW1", b"not a table at all"] {
            let parquet = read::parquet(Bytes::from_static(short), &Limits::default()).unwrap_err();
            assert_eq!(parquet.kind(), Kind::Invalid);
            assert!(read::arrow(Bytes::from_static(short), &Limits::default()).is_err());
        }
    }
}
