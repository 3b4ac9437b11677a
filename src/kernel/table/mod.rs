//! Tables: rows with named, typed columns, in Arrow's memory layout, read from and written to CSV,
//! NDJSON, Parquet and Arrow streams.
//!
//! A [`Table`] is held in memory, never changes, and costs nothing to clone. A [`ParquetTable`] stays
//! where its bytes are: a [`Scan`] of it reads only the columns and the row groups that it needs. SQL
//! over both is SQLite's, behind a fence (feature `sql`).
//!
//! It is not a store: it keeps nothing on disk and has nothing to recover after a crash. Columns are
//! of five types ([`ColumnType`]); what else Arrow and Parquet know is brought into these or refused
//! by name. Whatever comes from outside is read within [`Limits`].

#![cfg_attr(
    not(all(feature = "sql", feature = "script")),
    allow(dead_code, reason = "some parts serve SQL and scripts only")
)]

mod catalog;
mod cell;
mod error;
mod format;
mod json;
mod number;
pub mod ops;
mod parquet;
pub mod read;
mod rows;
mod scan;
mod schema;
#[cfg(feature = "script")]
pub mod script;
#[cfg(feature = "sql")]
pub mod sql;
mod stats;
mod time_text;
pub mod write;

pub use catalog::{SqlTable, TableCatalog, Tables};
pub use cell::Cell;
pub use format::Format;
pub use parquet::{ByteSource, ParquetTable};
pub use read::{CsvOptions, Limits};
pub use rows::{Order, Table};
pub use scan::{Batches, Filter, Scan};
pub use schema::{Column, ColumnType};
pub use stats::ColumnStats;
