//! What keeps a query to reading, and to its limits: SQLite's authorizer, its progress handler, its
//! own limits, and counts of what is held outside of it.

use std::collections::HashSet;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use super::SqlLimits;
use crate::kernel::Error;

/// Steps between two looks at the clock.
const STEPS: u16 = 1_000;
/// SQLite's memory, for all queries together.
const HEAP: i64 = 512 << 20;
/// The longest text or row that SQLite builds.
const LONGEST_VALUE: i32 = 8 << 20;
/// Values that aggregates of ours keep at once: sixteen bytes each.
const MOST_SAMPLES: u64 = 20_000_000;

/// Why a query was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Late,
    Steps,
    Stopped,
}

/// The fence around one query.
pub(super) struct Fence {
    pub limits: SqlLimits,
    deadline: Instant,
    stop: Arc<AtomicBool>,
    steps: AtomicU64,
    samples: AtomicU64,
    held: AtomicU64,
    notes: Mutex<Notes>,
}

/// What happened inside SQLite's callbacks, which can answer with numbers only.
#[derive(Default)]
pub(super) struct Notes {
    pub ended: Option<Ended>,
    pub denied: Option<String>,
    pub failure: Option<Error>,
    pub tables: HashSet<String>,
    pub columns: HashSet<String>,
}

impl Fence {
    pub(super) fn new(limits: SqlLimits, stop: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self {
            deadline: now.checked_add(limits.time).unwrap_or(now),
            limits,
            stop,
            steps: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            held: AtomicU64::new(0),
            notes: Mutex::default(),
        }
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the query must end now.
    pub(super) fn must_end(&self, steps: u64) -> bool {
        let taken = self.steps.fetch_add(steps, Ordering::Relaxed).saturating_add(steps);
        let ended = if self.stop.load(Ordering::Relaxed) {
            Ended::Stopped
        } else if Instant::now() >= self.deadline {
            Ended::Late
        } else if taken > self.limits.operations {
            Ended::Steps
        } else {
            return false;
        };
        self.notes().ended.get_or_insert(ended);
        true
    }

    /// Counts a value that an aggregate keeps; false when there are too many.
    pub(super) fn keep_sample(&self) -> bool {
        self.samples.fetch_add(1, Ordering::Relaxed) < MOST_SAMPLES
    }

    pub(super) fn drop_sample(&self) {
        self.samples.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts bytes of tables held for a join; false when there are too many.
    pub(super) fn hold(&self, bytes: u64) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limits.held
    }

    /// Keeps an error of ours for later, and gives SQLite one of its own.
    pub(super) fn fail(&self, error: Error) -> rusqlite::Error {
        let shown = error.detail().to_owned();
        self.notes().failure.get_or_insert(error);
        rusqlite::Error::ModuleError(shown)
    }

    fn decide(&self, action: AuthAction<'_>) -> Authorization {
        let allowed = match action {
            AuthAction::Function { function_name } => !forbidden(function_name),
            // A read without a column asks only whether there are rows; SQLite asks so for a `WITH`.
            AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Read { column_name: "", .. } => true,
            AuthAction::Read { table_name, .. } => {
                let name = table_name.to_lowercase();
                matches!(name.as_str(), "json_each" | "json_tree")
                    || self.notes().tables.contains(&name)
            }
            _ => false,
        };
        if allowed {
            return Authorization::Allow;
        }
        self.notes().denied.get_or_insert_with(|| spell(action));
        Authorization::Deny
    }
}

/// Functions that reach outside, or into SQLite's own memory.
fn forbidden(name: &str) -> bool {
    ["load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// What was refused, in SQL's words.
fn spell(action: AuthAction<'_>) -> String {
    match action {
        AuthAction::Read { table_name, .. } => format!("reading `{table_name}`"),
        AuthAction::Function { function_name } => format!("the function `{function_name}`"),
        AuthAction::Pragma { pragma_name, .. } => format!("PRAGMA {pragma_name}"),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => "ATTACH".to_owned(),
        AuthAction::Insert { .. } => "writing (INSERT, CREATE)".to_owned(),
        AuthAction::Update { .. } => "UPDATE".to_owned(),
        AuthAction::Delete { .. } => "writing (DELETE, DROP)".to_owned(),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "a transaction".to_owned(),
        other => {
            let name = format!("{other:?}");
            let end = name.find([' ', '{', '(']).unwrap_or(name.len());
            name.get(..end).unwrap_or("this").to_owned()
        }
    }
}

/// Closes the fence: from here on the database only reads what it is given.
pub(super) fn close(database: &mut Connection, fence: &Arc<Fence>) -> rusqlite::Result<()> {
    // Sorting must not spill into files.
    database.pragma_update(None, "temp_store", "MEMORY")?;
    database.pragma_update_and_check(None, "hard_heap_limit", HEAP, |_| Ok(()))?;
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        // A mistyped "column" in double quotes is an error, not a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        database.set_db_config(setting, on)?;
    }
    let small = |size: usize| c_int::try_from(size).unwrap_or(c_int::MAX);
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, LONGEST_VALUE),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, small(fence.limits.text)),
        // One more than the answer may have: a table with all its columns must still be known.
        (Limit::SQLITE_LIMIT_COLUMN, small(fence.limits.columns.max(1_000))),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, small(fence.limits.depth)),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 10_000),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        database.set_limit(limit, value)?;
    }
    let watch = Arc::clone(fence);
    let handler = move || watch.must_end(u64::from(STEPS));
    database.progress_handler(c_int::from(STEPS.cast_signed()), Some(handler))?;
    let guard = Arc::clone(fence);
    database.authorizer(Some(move |context: AuthContext<'_>| guard.decide(context.action)))
}
