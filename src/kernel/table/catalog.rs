//! Where SQL and scripts find tables by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scan::{Batches, Scan};
use super::schema::Column;
use super::{ParquetTable, Table, error, number};
use crate::kernel::Result;

/// A table that can be scanned, in memory or on disk.
pub trait SqlTable: Send + Sync {
    /// Its columns.
    fn columns(&self) -> Vec<Column>;
    /// How many rows it has.
    fn rows(&self) -> u64;
    /// The rows and columns that `scan` asks for, batch by batch.
    fn scan(&self, scan: &Scan) -> Result<Batches>;
}

/// Tables by name. What a caller may not see, its catalog does not have.
pub trait TableCatalog: Send + Sync {
    /// The table of that name (`scada`, `scada@2014`), if there is one.
    fn table(&self, name: &str) -> Result<Option<Arc<dyn SqlTable>>>;

    /// The names there are, to suggest one near to a mistyped one.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl SqlTable for Table {
    fn columns(&self) -> Vec<Column> {
        self.schema().to_vec()
    }

    fn rows(&self) -> u64 {
        number::size(Table::rows(self))
    }

    fn scan(&self, scan: &Scan) -> Result<Batches> {
        Table::batches_of(self, scan)
    }
}

impl SqlTable for ParquetTable {
    fn columns(&self) -> Vec<Column> {
        self.schema().to_vec()
    }

    fn rows(&self) -> u64 {
        ParquetTable::rows(self)
    }

    fn scan(&self, scan: &Scan) -> Result<Batches> {
        ParquetTable::batches(self, scan)
    }
}

/// A catalog of a few tables at hand, in front of another one.
#[derive(Clone, Default)]
pub struct Tables {
    own: BTreeMap<String, Arc<dyn SqlTable>>,
    behind: Option<Arc<dyn TableCatalog>>,
}

impl Tables {
    /// No tables yet, and none behind.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tables yet, in front of `behind`.
    pub fn before(behind: Arc<dyn TableCatalog>) -> Self {
        Self { own: BTreeMap::new(), behind: Some(behind) }
    }

    /// Adds a table; it hides one of the same name behind.
    pub fn with(mut self, name: impl Into<String>, table: impl SqlTable + 'static) -> Self {
        self.own.insert(name.into(), Arc::new(table));
        self
    }
}

impl TableCatalog for Tables {
    fn table(&self, name: &str) -> Result<Option<Arc<dyn SqlTable>>> {
        match (self.own.get(name), &self.behind) {
            (Some(table), _) => Ok(Some(Arc::clone(table))),
            (None, Some(behind)) => behind.table(name),
            (None, None) => Ok(None),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.own.keys().cloned().collect();
        names.extend(self.behind.iter().flat_map(|behind| behind.names()));
        names
    }
}

/// The table of that name, or an error that suggests another.
pub(super) fn find(catalog: &dyn TableCatalog, name: &str) -> Result<Arc<dyn SqlTable>> {
    catalog.table(name)?.ok_or_else(|| error::no_table(name, &catalog.names()))
}
