//! Arrow's own formats: the stream, and the file.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::super::schema::{arrow_schema, columns_of, conform, flat_text_bytes};
use super::super::{Table, error, number};
use super::{Limits, guarded};
use crate::kernel::Result;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Table> {
    guarded("Arrow", || {
        let source = Cursor::new(bytes);
        if bytes.starts_with(b"ARROW1") {
            let reader = FileReader::try_new(source, None).map_err(error::bad_arrow)?;
            let schema = reader.schema();
            gather(&schema, reader, limits)
        } else {
            let reader = StreamReader::try_new(source, None).map_err(error::bad_arrow)?;
            let schema = reader.schema();
            gather(&schema, reader, limits)
        }
    })
}

fn gather(
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    limits: &Limits,
) -> Result<Table> {
    limits.check_columns(schema.fields().len())?;
    let canonical = arrow_schema(&columns_of(schema)?);
    let (mut rows, mut memory) = (0_u64, 0_u64);
    let mut kept = Vec::new();
    for batch in batches {
        let batch = batch.map_err(error::bad_arrow)?;
        rows = rows.saturating_add(number::size(batch.num_rows()));
        limits.check_rows(rows)?;
        let texts = batch.columns().iter().map(|array| flat_text_bytes(array.as_ref()));
        memory = texts.fold(memory, u64::saturating_add);
        limits.check_memory(memory)?;
        let batch = conform(&batch, &canonical)?;
        memory = memory.saturating_add(number::size(batch.get_array_memory_size()));
        limits.check_memory(memory)?;
        if batch.num_rows() > 0 {
            kept.push(batch);
        }
    }
    Table::of_conforming(canonical, kept)
}
