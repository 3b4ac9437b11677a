//! Tables from bytes. Whatever comes in is read within [`Limits`], and every fault is named with its
//! line, not just the first.

mod csv;
pub(super) mod infer;
mod ipc;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

pub use self::csv::CsvOptions;
use super::{Format, ParquetTable, Scan, Table, error, json};
use crate::kernel::{Error, Kind, Result};

/// How much is read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as they come.
    pub bytes: u64,
    /// Bytes of values once they are unpacked.
    pub memory: u64,
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 20, memory: 1 << 30, rows: 20_000_000, columns: 1_000 }
    }
}

impl Limits {
    pub(super) fn check_rows(&self, rows: u64) -> Result<()> {
        if rows > self.rows {
            return Err(error::too_large(format!("{rows} rows"), format!("{} rows", self.rows)));
        }
        Ok(())
    }

    pub(super) fn check_columns(&self, columns: usize) -> Result<()> {
        if columns > self.columns {
            let limit = format!("{} columns", self.columns);
            return Err(error::too_large(format!("{columns} columns"), limit));
        }
        Ok(())
    }

    pub(super) fn check_memory(&self, bytes: u64) -> Result<()> {
        if bytes > self.memory {
            return Err(error::too_large("the unpacked table", format!("{} bytes", self.memory)));
        }
        Ok(())
    }

    pub(super) fn check_bytes(&self, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            return Err(error::too_large(
                format!("{bytes} bytes"),
                format!("{} bytes", self.bytes),
            ));
        }
        Ok(())
    }
}

/// Reads a table of any format.
pub fn table(format: Format, bytes: Bytes, limits: &Limits) -> Result<Table> {
    match format {
        Format::Csv => csv_bytes(&bytes, &CsvOptions { limits: *limits, ..CsvOptions::default() }),
        Format::Ndjson => ndjson(&bytes, limits),
        Format::Json => json_rows(&bytes, limits),
        Format::Parquet => parquet(bytes, limits),
        Format::Arrow => arrow(bytes, limits),
    }
}

/// Reads CSV: comma-, semicolon- or tab-separated, in UTF-8, with a header.
pub fn csv(source: impl Read, options: &CsvOptions) -> Result<Table> {
    csv_bytes(&take(source, &options.limits)?, options)
}

/// As [`csv()`], of bytes at hand.
pub fn csv_bytes(bytes: &[u8], options: &CsvOptions) -> Result<Table> {
    options.limits.check_bytes(super::number::size(bytes.len()))?;
    csv::read(bytes, options)
}

/// Reads one JSON object per line.
pub fn ndjson(bytes: &[u8], limits: &Limits) -> Result<Table> {
    limits.check_bytes(super::number::size(bytes.len()))?;
    json::from_lines(bytes, limits)
}

/// Reads a JSON array of objects, or `{"items": [{…}, …]}`.
pub fn json_rows(bytes: &[u8], limits: &Limits) -> Result<Table> {
    limits.check_bytes(super::number::size(bytes.len()))?;
    json::from_document(bytes, limits)
}

/// Reads Parquet as a whole. To read parts of it, open a [`ParquetTable`].
pub fn parquet(bytes: Bytes, limits: &Limits) -> Result<Table> {
    limits.check_bytes(super::number::size(bytes.len()))?;
    let table = ParquetTable::open_within(Arc::new(bytes), limits)?;
    let mut memory = 0_u64;
    let mut batches = Vec::new();
    let scan = table.batches(&Scan::all())?;
    let schema = scan.schema();
    for batch in scan {
        let batch = batch?;
        memory += super::number::size(batch.get_array_memory_size());
        limits.check_memory(memory)?;
        batches.push(batch);
    }
    limits.check_rows(super::rows::count(&batches))?;
    Table::of_conforming(schema, batches)
}

/// Reads an Arrow stream or file.
pub fn arrow(bytes: Bytes, limits: &Limits) -> Result<Table> {
    limits.check_bytes(super::number::size(bytes.len()))?;
    ipc::read(&bytes, limits)
}

/// Reads a source to its end, unless that lies beyond the limit.
fn take(source: impl Read, limits: &Limits) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source
        .take(limits.bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("read the table", source))?;
    limits.check_bytes(super::number::size(bytes.len()))?;
    Ok(bytes)
}

/// Runs a decoder of foreign bytes. Decoders are careful, and yet a hostile file now and then finds
/// an assertion in them: it ends the reading, not the program.
pub(super) fn guarded<T>(what: &'static str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Error::new(
            Kind::Invalid,
            "damaged_table",
            format!("the {what} data is damaged: {}", error::short(&why)),
        ))
    })
}
