//! What DaShare needs of others and names by what it does.

use std::sync::Arc;

use serde_json::Value;

use crate::kernel::Result;
use crate::kernel::table::{SqlTable, Table};

/// Where rows come from.
pub trait RowSource: Send + Sync {
    /// The dataset of that name (`scada` for its latest version, `scada@2014` for that one), ready
    /// to be scanned; none when there is no such dataset.
    fn open(&self, dataset: &str) -> Result<Option<Arc<dyn SqlTable>>>;

    /// The rows of a read-only SQL query over datasets, at most `max_rows` of them: more are an
    /// error. `params` is an array for `?1` or an object for `:name`; null for none.
    fn sql(&self, query: &str, params: &Value, max_rows: usize) -> Result<Table>;

    /// The names of datasets, to suggest one near to a mistyped one.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Who knows the accounts.
pub trait Accounts: Send + Sync {
    /// Whether there is an account of that name.
    fn exists(&self, name: &str) -> Result<bool>;
}
