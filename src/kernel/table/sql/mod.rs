//! SQL over tables: SQLite in memory, one fresh database per query, which sees the tables of a catalog
//! and nothing else.
//!
//! A table is found by the name a query uses (`scada`, `"scada@2014"`) and scanned as far as the
//! query needs: its columns, and the row groups that its conditions may match. Times are text in
//! their canonical form, `2014-01-01T00:00:00.000000Z`, and a column of times compares with any way
//! of writing one. Beside SQLite's own functions there are those of `functions.rs` and `aggregates.rs`.
//!
//! It is not a database: a query only reads, within [`SqlLimits`].

mod aggregates;
mod answer;
mod demand;
mod error;
mod fence;
mod functions;
mod index;
mod params;
mod shape;
mod vtab;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::{Connection, Statement};
use serde_json::Value;

use self::fence::Fence;
use super::Table;
use super::catalog::TableCatalog;
use crate::kernel::Result;

/// How many tables one query may mention; SQLite joins no more.
const MOST_TABLES: usize = 64;

/// How much a query may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlLimits {
    /// Bytes of its text.
    pub text: usize,
    /// Columns of its answer.
    pub columns: usize,
    /// How deep its expressions may be nested.
    pub depth: usize,
    /// Rows of its answer.
    pub rows: usize,
    /// Bytes of values of its answer.
    pub bytes: usize,
    /// Bytes of table that it may hold at once for a join.
    pub held: u64,
    /// Steps of SQLite's machine.
    pub operations: u64,
    /// How long it may take.
    pub time: Duration,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            text: 64 << 10,
            columns: 1_000,
            depth: 100,
            rows: 1_000_000,
            bytes: 256 << 20,
            held: 512 << 20,
            operations: 4_000_000_000,
            time: Duration::from_secs(30),
        }
    }
}

/// SQL over the tables of a catalog.
#[derive(Clone)]
pub struct Sql {
    catalog: Arc<dyn TableCatalog>,
    limits: SqlLimits,
    stop: Arc<AtomicBool>,
}

impl Sql {
    /// SQL over `catalog`, within the usual limits.
    pub fn new(catalog: Arc<dyn TableCatalog>) -> Self {
        Self { catalog, limits: SqlLimits::default(), stop: Arc::default() }
    }

    /// Within other limits.
    pub fn with_limits(mut self, limits: SqlLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Ends queries soon after `stop` becomes true.
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Runs one `SELECT`. Parameters are an array for `?`, an object for `:name`, or null for none.
    pub fn query(&self, text: &str, params: &Value) -> Result<Table> {
        error::check_text(text, &self.limits)?;
        let fence = Arc::new(Fence::new(self.limits.clone(), Arc::clone(&self.stop)));
        let database = open(&fence).map_err(|why| error::explain(why, &fence))?;
        let mut statement = self.prepare(&database, text, &fence)?;
        params::bind(&mut statement, params, &fence)?;
        answer::gather(&mut statement, &fence)
    }

    /// Prepares a query. SQLite names the first table that it does not know; it is looked up in the
    /// catalog, and the query is prepared again.
    fn prepare<'db>(
        &self,
        database: &'db Connection,
        text: &str,
        fence: &Arc<Fence>,
    ) -> Result<Statement<'db>> {
        for _ in 0..=MOST_TABLES {
            let why = match database.prepare(text) {
                Ok(statement) if statement.column_count() == 0 => return Err(error::empty()),
                Ok(statement) => return Ok(statement),
                Err(why) => why,
            };
            let Some(name) = error::missing_table(&why) else {
                return Err(error::explain(why, fence));
            };
            let name = name.strip_prefix("main.").unwrap_or(name);
            let table = self
                .catalog
                .table(name)?
                .ok_or_else(|| error::no_table(name, self.catalog.as_ref()))?;
            vtab::register_table(database, name, table, fence)
                .map_err(|why| error::explain(why, fence))?;
        }
        Err(error::too_many_tables(MOST_TABLES))
    }
}

/// A database that knows our functions and no table, behind its fence.
fn open(fence: &Arc<Fence>) -> rusqlite::Result<Connection> {
    let mut database = Connection::open_in_memory()?;
    functions::register(&database)?;
    aggregates::register(&database, fence)?;
    vtab::register_collation(&database)?;
    fence::close(&mut database, fence)?;
    Ok(database)
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sql").field("limits", &self.limits).finish_non_exhaustive()
    }
}
