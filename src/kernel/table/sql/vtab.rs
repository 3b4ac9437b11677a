//! Tables as SQLite's virtual tables. The first scan of a table goes to its source, with the columns
//! of the query and its conditions pushed down. SQLite runs the inner side of a join once per row of
//! the outer one: from the second scan on the table is held in memory, sorted by what it is looked
//! up by, so that a join takes a binary search per row.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Result};

use super::demand::Demand;
use super::error;
use super::fence::Fence;
use super::index::{Held, Index};
use super::shape::{Op, Shape};
use crate::kernel::Error;
use crate::kernel::table::catalog::SqlTable;
use crate::kernel::table::cell::{Cell, CellRef, ColumnArray};
use crate::kernel::table::scan::{Batches, Filter, Scan};
use crate::kernel::table::schema::{Column, ColumnType};
use crate::kernel::table::{number, time_text};

/// The collation of columns of times.
const TIME: &str = "drip_time";

/// The declared type of a column; the words decide SQLite's affinity as well.
fn declaration(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int => "INTEGER",
        ColumnType::Float => "REAL",
        ColumnType::Bool => "BOOLEAN",
        ColumnType::Text => "TEXT",
        ColumnType::Time => "TIME_TEXT COLLATE drip_time",
    }
}

/// The type behind a declared type.
pub(super) fn declared(word: &str) -> Option<ColumnType> {
    match word {
        "INTEGER" => Some(ColumnType::Int),
        "REAL" => Some(ColumnType::Float),
        "BOOLEAN" => Some(ColumnType::Bool),
        "TEXT" => Some(ColumnType::Text),
        "TIME_TEXT" => Some(ColumnType::Time),
        _ => None,
    }
}

/// Times compare as points in time, however they are written; what is no time comes after them.
pub(super) fn register_collation(database: &Connection) -> Result<()> {
    database.create_collation(TIME, |one, two| {
        let canonical = |text: &str| text.len() == 27 && text.ends_with('Z');
        if canonical(one) && canonical(two) {
            return one.cmp(two);
        }
        match (time_text::parse_partial(one), time_text::parse_partial(two)) {
            (Some(one), Some(two)) => one.cmp(&two),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => one.cmp(two),
        }
    })
}

/// Makes a table known to a database under a name.
pub(super) fn register_table(
    database: &Connection,
    name: &str,
    table: Arc<dyn SqlTable>,
    fence: &Arc<Fence>,
) -> Result<()> {
    const MODULE: &Module<'static, Tab> = &Module::eponymous_only_module();
    let mut notes = fence.notes();
    notes.tables.insert(name.to_lowercase());
    notes.columns.extend(table.columns().into_iter().map(|column| column.name));
    drop(notes);
    database.create_module(name, MODULE, Some(Source { table, fence: Arc::clone(fence) }))
}

/// What SQLite hands to a table when it is first used.
pub(super) struct Source {
    table: Arc<dyn SqlTable>,
    fence: Arc<Fence>,
}

/// A table as its cursors share it.
struct Shared {
    table: Arc<dyn SqlTable>,
    columns: Vec<Column>,
    rows: u64,
    fence: Arc<Fence>,
    /// How often each shape of scan was started.
    started: RefCell<HashMap<String, u32>>,
    held: RefCell<HashMap<u64, Rc<Held>>>,
    indexes: RefCell<HashMap<String, Rc<Index>>>,
}

impl Shared {
    fn fail(&self, error: Error) -> rusqlite::Error {
        self.fence.fail(error)
    }

    /// The columns that a scan reads; one at least, so that rows can be counted.
    fn wanted(&self, shape: &Shape) -> Vec<usize> {
        let mut wanted: Vec<usize> =
            (0..self.columns.len()).filter(|column| shape.uses(*column)).collect();
        if wanted.is_empty() && !self.columns.is_empty() {
            wanted.push(0);
        }
        wanted
    }

    fn names(&self, wanted: &[usize]) -> Vec<String> {
        wanted
            .iter()
            .filter_map(|at| self.columns.get(*at))
            .map(|column| column.name.clone())
            .collect()
    }

    /// Everything in some columns, held in memory.
    fn hold(&self, shape: &Shape, filters: Vec<Filter>) -> Result<Held> {
        let wanted = self.wanted(shape);
        let scan = Scan { filters, ..Scan::all().columns(self.names(&wanted)) };
        let batches = self.table.scan(&scan).map_err(|error| self.fail(error))?;
        let mut kept = Vec::new();
        let schema = batches.schema();
        for batch in batches {
            let batch = batch.map_err(|error| self.fail(error))?;
            let bytes = number::size(batch.get_array_memory_size());
            if !self.fence.hold(bytes) || batch.num_rows() > u32::MAX as usize {
                return Err(self.fail(error::too_large(
                    "the tables of the query are too large to be joined: add conditions",
                )));
            }
            self.check()?;
            kept.push(batch);
        }
        let whole = arrow::compute::concat_batches(&schema, &kept)
            .map_err(|source| self.fail(Error::internal(format!("hold a table: {source}"))))?;
        let columns = self.place(&wanted, whole.columns())?;
        Ok(Held { columns, rows: whole.num_rows() })
    }

    /// Typed columns at their places in the table.
    fn place(
        &self,
        wanted: &[usize],
        arrays: &[arrow::array::ArrayRef],
    ) -> Result<Vec<Option<ColumnArray>>> {
        let mut columns = vec![None; self.columns.len()];
        for (at, array) in wanted.iter().zip(arrays) {
            let array = ColumnArray::of(array).map_err(|error| self.fail(error))?;
            if let Some(place) = columns.get_mut(*at) {
                *place = Some(array);
            }
        }
        Ok(columns)
    }

    fn check(&self) -> Result<()> {
        if self.fence.must_end(1) {
            return Err(rusqlite::Error::ModuleError("interrupted".to_owned()));
        }
        Ok(())
    }

    fn held(&self, shape: &Shape) -> Result<Rc<Held>> {
        if let Some(held) = self.held.borrow().get(&shape.columns) {
            return Ok(Rc::clone(held));
        }
        let held = Rc::new(self.hold(shape, Vec::new())?);
        self.held.borrow_mut().insert(shape.columns, Rc::clone(&held));
        Ok(held)
    }

    fn index(&self, text: &str, held: &Held, keys: Vec<usize>) -> Rc<Index> {
        if let Some(index) = self.indexes.borrow().get(text) {
            return Rc::clone(index);
        }
        let index = Rc::new(Index::new(held, keys));
        self.indexes.borrow_mut().insert(text.to_owned(), Rc::clone(&index));
        index
    }
}

/// Which rows of the columns at hand a cursor goes through.
enum Rows {
    Span(Range<usize>),
    Sorted { index: Rc<Index>, places: Range<usize>, down: bool },
}

impl Rows {
    fn current(&self) -> Option<usize> {
        match self {
            Self::Span(span) => (span.start < span.end).then_some(span.start),
            Self::Sorted { places, .. } if places.is_empty() => None,
            Self::Sorted { index, places, down: false } => Some(index.row(places.start)),
            Self::Sorted { index, places, down: true } => Some(index.row(places.end - 1)),
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Span(span) => span.start += 1,
            Self::Sorted { places, down: false, .. } => places.start += 1,
            Self::Sorted { places, .. } => places.end -= 1,
        }
    }
}

/// A table, as SQLite knows it.
#[repr(C)]
pub(super) struct Tab {
    base: sqlite3_vtab,
    shared: Rc<Shared>,
}

/// One scan of a table.
#[repr(C)]
pub(super) struct Cursor {
    base: sqlite3_vtab_cursor,
    shared: Rc<Shared>,
    /// The last shape, which SQLite gives again for every row of the outer side of a join.
    shape: (String, Shape),
    batches: Option<(Batches, Vec<usize>)>,
    held: Rc<Held>,
    rows: Rows,
    current: Option<usize>,
    count: i64,
}

#[expect(unsafe_code, reason = "SQLite's virtual tables are C structures")]
// SAFETY: `Tab` is `repr(C)` and its first field is the `sqlite3_vtab` that SQLite fills in; nothing
// here touches that field after it was made.
unsafe impl VTab<'_> for Tab {
    type Aux = Source;
    type Cursor = Cursor;

    fn connect(
        _db: &mut VTabConnection,
        aux: Option<&Source>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let source = aux.ok_or_else(|| rusqlite::Error::ModuleError("no table".to_owned()))?;
        let columns = source.table.columns();
        let declared: Vec<String> = columns
            .iter()
            .map(|column| {
                format!("\"{}\" {}", column.name.replace('"', "\"\""), declaration(column.kind))
            })
            .collect();
        let text = CString::new(format!("CREATE TABLE x({})", declared.join(", ")))?;
        let shared = Shared {
            rows: source.table.rows(),
            table: Arc::clone(&source.table),
            columns,
            fence: Arc::clone(&source.fence),
            started: RefCell::default(),
            held: RefCell::default(),
            indexes: RefCell::default(),
        };
        Ok((Cow::Owned(text), Self { base: sqlite3_vtab::default(), shared: Rc::new(shared) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        plan(&self.shared, info)
    }

    fn open(&mut self) -> Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            shared: Rc::clone(&self.shared),
            shape: (String::new(), Shape::default()),
            batches: None,
            held: Rc::new(Held { columns: Vec::new(), rows: 0 }),
            rows: Rows::Span(0..0),
            current: None,
            count: 0,
        })
    }
}

/// Chooses the comparisons that a scan shall use, and says what that costs.
fn plan(shared: &Shared, info: &mut IndexInfo) -> Result<bool> {
    let mut chosen = Vec::new();
    for (at, constraint) in info.constraints().enumerate() {
        let column = usize::try_from(constraint.column()).ok();
        let op = Op::of(&constraint.operator()).filter(|_| constraint.is_usable());
        if let Some((column, op)) = column.zip(op) {
            chosen.push((at, column, op));
        }
    }
    let mut shape = Shape { columns: info.col_used(), ..Shape::default() };
    let mut outside = false;
    for (at, column, op) in chosen {
        if !comparable(shared, column, info.collation(at)?) {
            continue;
        }
        let list =
            op == Op::Equal && info.is_in_constraint(at)? && info.set_in_constraint(at, true)?;
        outside |= !list && info.rhs_value(at)?.is_none();
        shape.terms.push((column, if list { Op::OneOf } else { op }));
        let place = c_int::try_from(shape.terms.len()).unwrap_or(c_int::MAX);
        info.constraint_usage(at).set_argv_index(place);
    }
    // Sorting here pays where a join looks up the first or the last row before another; elsewhere
    // SQLite sorts with less memory.
    if outside && info.num_of_order_by() == 1 {
        let order = info.order_bys().next().map(|order| (order.column(), order.is_order_by_desc()));
        if let Some((Ok(column), down)) =
            order.map(|(column, down)| (usize::try_from(column), down))
        {
            shape.order = Some((column, down));
            info.set_order_by_consumed(true);
        }
    }
    estimate(shared, &shape, info);
    info.set_idx_str(&shape.encode());
    Ok(true)
}

fn comparable(shared: &Shared, column: usize, collation: &str) -> bool {
    match shared.columns.get(column).map(|column| column.kind) {
        Some(ColumnType::Int | ColumnType::Float) => true,
        Some(ColumnType::Text) => collation.eq_ignore_ascii_case("BINARY"),
        Some(ColumnType::Time) => collation.eq_ignore_ascii_case(TIME),
        Some(ColumnType::Bool) | None => false,
    }
}

fn estimate(shared: &Shared, shape: &Shape, info: &mut IndexInfo) {
    let all = number::count_to_float(number::index(shared.rows.max(1)));
    let of = |wanted: &[Op]| shape.terms.iter().filter(|(_, op)| wanted.contains(op)).count();
    let equal = number::count_to_float(of(&[Op::Equal]));
    let narrowed = number::count_to_float(of(&[Op::OneOf, Op::Above, Op::From, Op::Below, Op::To]));
    let rows = (all.powf(1.0 / (1.0 + equal)) / 2_f64.powf(narrowed)).max(1.0);
    let cost = if equal > 0.0 { all.log2() + 2.0 + rows } else { all.log2() + 2.0 + rows * 2.0 };
    info.set_estimated_cost(cost);
    info.set_estimated_rows(number::to_int(rows.ceil()).unwrap_or(i64::MAX));
}

impl Cursor {
    /// The columns that an index is sorted by: equal ones, then the one with a range or an order.
    fn keys(&self, demand: &Demand) -> Option<Vec<usize>> {
        let shape = &self.shape.1;
        let mut keys: Vec<usize> = Vec::new();
        for (column, op) in &shape.terms {
            if *op == Op::Equal && !keys.contains(column) {
                keys.push(*column);
            }
        }
        let range = shape
            .terms
            .iter()
            .find(|(column, op)| !matches!(op, Op::Equal | Op::OneOf) && !keys.contains(column));
        match (shape.order, range) {
            (Some((column, _)), _) => keys.push(column),
            (None, Some((column, _))) => keys.push(*column),
            (None, None) => {}
        }
        let usable = !keys.is_empty() && !keys.iter().any(|key| demand.open.contains(key));
        usable.then_some(keys)
    }

    fn start(&mut self, demand: Demand) -> Result<()> {
        let shape = self.shape.1.clone();
        let text = self.shape.0.clone();
        let first = {
            let mut started = self.shared.started.borrow_mut();
            let count = started.entry(text.clone()).or_default();
            *count += 1;
            *count == 1
        };
        let keyed = self.keys(&demand);
        if first || (keyed.is_none() && shape.order.is_none() && !shape.terms.is_empty()) {
            return self.stream(&shape, &demand);
        }
        let mut widened = shape.clone();
        for key in keyed.iter().flatten().chain(shape.order.iter().map(|(column, _)| column)) {
            widened.columns |= 1_u64 << (*key).min(63);
        }
        self.held = self.shared.held(&widened)?;
        self.rows = match keyed {
            Some(keys) => {
                let equal: Vec<Cell> = keys
                    .iter()
                    .map_while(|key| demand.equal.iter().find(|(column, _)| column == key))
                    .map(|(_, cell)| cell.clone())
                    .collect();
                let (from, to) =
                    keys.get(equal.len()).map_or((None, None), |column| demand.bounds(*column));
                let index = self.shared.index(&text, &self.held, keys);
                let places = index.find(&self.held, &equal, &from, &to);
                Rows::Sorted { index, places, down: shape.order.is_some_and(|(_, down)| down) }
            }
            None => match shape.order {
                Some((column, down)) => self.sorted(column, down),
                None => Rows::Span(0..self.held.rows),
            },
        };
        Ok(())
    }

    /// Everything held, in the order of one column.
    fn sorted(&self, column: usize, down: bool) -> Rows {
        let index = Rc::new(Index::new(&self.held, vec![column]));
        let places = 0..index.len();
        Rows::Sorted { index, places, down }
    }

    /// Reads from the source, with all conditions pushed down.
    fn stream(&mut self, shape: &Shape, demand: &Demand) -> Result<()> {
        let filters = demand.filters(&self.shared.columns);
        if let Some((column, down)) = shape.order {
            let mut widened = shape.clone();
            widened.columns |= 1_u64 << column.min(63);
            self.held = Rc::new(self.shared.hold(&widened, filters)?);
            self.rows = self.sorted(column, down);
            return Ok(());
        }
        let wanted = self.shared.wanted(shape);
        let scan = Scan { filters, ..Scan::all().columns(self.shared.names(&wanted)) };
        let batches = self.shared.table.scan(&scan).map_err(|error| self.shared.fail(error))?;
        self.batches = Some((batches, wanted));
        self.rows = Rows::Span(0..0);
        Ok(())
    }

    /// Goes to the current row, reading the next batch where this one is at its end.
    fn settle(&mut self) -> Result<()> {
        loop {
            self.current = self.rows.current();
            if self.current.is_some() {
                return Ok(());
            }
            let Some((batches, wanted)) = &mut self.batches else {
                return Ok(());
            };
            let Some(batch) = batches.next() else {
                self.batches = None;
                return Ok(());
            };
            self.shared.check()?;
            let batch = batch.map_err(|error| self.shared.fail(error))?;
            let columns = self.shared.place(wanted, batch.columns())?;
            self.held = Rc::new(Held { columns, rows: batch.num_rows() });
            self.rows = Rows::Span(0..batch.num_rows());
        }
    }
}

#[expect(unsafe_code, reason = "SQLite's virtual tables are C structures")]
// SAFETY: `Cursor` is `repr(C)` and its first field is the `sqlite3_vtab_cursor` that SQLite fills
// in; nothing here touches that field after it was made. What a cursor shares with its table is
// counted, so that neither outlives it.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _number: c_int, text: Option<&str>, args: &Filters<'_>) -> Result<()> {
        let text = text.unwrap_or_default();
        if self.shape.0 != text {
            let shape = Shape::decode(text)
                .ok_or_else(|| rusqlite::Error::ModuleError("a plan was lost".to_owned()))?;
            self.shape = (text.to_owned(), shape);
        }
        self.count = 0;
        self.batches = None;
        self.rows = Rows::Span(0..0);
        self.current = None;
        if let Some(demand) = Demand::read(&self.shape.1, &self.shared.columns, args)? {
            self.start(demand)?;
            self.settle()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.count += 1;
        self.rows.advance();
        self.settle()
    }

    fn eof(&self) -> bool {
        self.current.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let at = usize::try_from(column).unwrap_or(usize::MAX);
        let cell = self.current.map_or(CellRef::Null, |row| self.held.cell(at, row));
        let value = match cell {
            CellRef::Null => ValueRef::Null,
            CellRef::Int(whole) => ValueRef::Integer(whole),
            CellRef::Float(number) => ValueRef::Real(number),
            CellRef::Bool(truth) => ValueRef::Integer(i64::from(truth)),
            CellRef::Text(text) => ValueRef::Text(text.as_bytes()),
            CellRef::Time(micros) => {
                return time_text::with_text(micros, |text| {
                    context.set_result(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
                });
            }
        };
        context.set_result(ToSqlOutput::Borrowed(value))
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.count)
    }
}
