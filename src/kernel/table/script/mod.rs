//! Tables in scripts: the Rhai module `table`.
//!
//! ```rhai
//! let scada = table::read("scada", #{columns: ["t", "turbine", "power"], time: "t", from: "2014-03"});
//! let hours = table::resample(scada, #{time: "t", every: "1h", by: ["turbine"]});
//! let best  = table::sql("SELECT turbine, max(power) AS p FROM hours WHERE power > :least GROUP BY 1",
//!                        #{hours: hours, least: 100});
//! for row in best.rows() { print(row.turbine + ": " + row.p); }
//! ```
//!
//! A table is a value that never changes: `len`, `columns()`, `schema()`, `rows()`, `column(name)`,
//! `head(n)`, `slice(offset, n)`, `select([…])`, `sort_by(name)`, `between(time, from, to)`,
//! `having(column, values)`, `stats()`. Times are texts in their canonical form. What becomes Rhai
//! arrays is bounded by [`ScriptLimits`].

mod convert;

use std::sync::Arc;

use rhai::{Array, Dynamic, EvalAltResult, FuncRegistration, INT, ImmutableString, Map, Module};

use self::convert::{
    array_of, cells, columns_of, from_array, options, refuse, row_maps, schema_maps, stats_maps,
    text, texts, wrong,
};
use super::catalog::{TableCatalog, find};
use super::ops::{self, Aggregate, AsOf, Function, Resample};
use super::read::Limits;
use super::{Cell, ColumnType, Order, Scan, Table, error, number, time_text};
use crate::kernel::clock::parse_duration;
use crate::kernel::{Result, Time};

type Answer<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How much of a table a script may hold.
#[derive(Debug, Clone)]
pub struct ScriptLimits {
    /// Rows that become Rhai arrays at once.
    pub rows: usize,
    /// Values that become Rhai values at once.
    pub values: usize,
    /// Bytes of a table that is read.
    pub bytes: u64,
    /// What a query may take.
    #[cfg(feature = "sql")]
    pub sql: super::sql::SqlLimits,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            rows: 100_000,
            values: 2_000_000,
            bytes: 512 << 20,
            #[cfg(feature = "sql")]
            sql: super::sql::SqlLimits::default(),
        }
    }
}

/// The Rhai module `table` over a catalog, within the usual limits.
pub fn module(catalog: Arc<dyn TableCatalog>) -> Module {
    module_within(catalog, ScriptLimits::default())
}

/// As [`module`], within other limits.
pub fn module_within(catalog: Arc<dyn TableCatalog>, limits: ScriptLimits) -> Module {
    let limits = Arc::new(limits);
    let mut module = Module::new();
    module.set_id("table");
    module.set_custom_type::<Table>("Table");
    reading(&mut module, &catalog, &limits);
    #[cfg(feature = "sql")]
    asking(&mut module, &catalog, &limits);
    making(&mut module);
    combining(&mut module);
    joining(&mut module);
    looking(&mut module, &limits);
    cutting(&mut module);
    module
}

fn function(name: &str) -> FuncRegistration {
    FuncRegistration::new(name).with_purity(true)
}

/// A function that is called as a method, too.
fn method(name: &str) -> FuncRegistration {
    function(name).in_global_namespace()
}

fn reading(module: &mut Module, catalog: &Arc<dyn TableCatalog>, limits: &Arc<ScriptLimits>) {
    let (from, bound) = (Arc::clone(catalog), Arc::clone(limits));
    function("read").set_into_module(module, move |name: ImmutableString| {
        read(from.as_ref(), &name, &Scan::all(), &bound).map_err(refuse)
    });
    let (from, bound) = (Arc::clone(catalog), Arc::clone(limits));
    function("read").set_into_module(
        module,
        move |name: ImmutableString, how: Map| -> Answer<Table> {
            read(from.as_ref(), &name, &scan_of(&how)?, &bound).map_err(refuse)
        },
    );
}

fn read(
    catalog: &dyn TableCatalog,
    name: &str,
    scan: &Scan,
    limits: &ScriptLimits,
) -> Result<Table> {
    let table = find(catalog, name)?;
    let memory = Limits { memory: limits.bytes, ..Limits::default() };
    let batches = table.scan(scan)?;
    let schema = batches.schema();
    let mut kept = Vec::new();
    let mut bytes = 0;
    for batch in batches {
        let batch = batch?;
        bytes += number::size(batch.get_array_memory_size());
        memory.check_memory(bytes)?;
        kept.push(batch);
    }
    Table::of_conforming(schema, kept)
}

/// `#{columns: […], time: "t", from: …, to: …, where: #{turbine: "A"}, limit: 10, offset: 0}`
fn scan_of(how: &Map) -> Answer<Scan> {
    options(how, &["columns", "time", "from", "to", "where", "limit", "offset"])?;
    let mut scan = Scan::all();
    if let Some(columns) = how.get("columns") {
        scan = scan.columns(texts("columns", columns)?);
    }
    let bound = |name: &str| how.get(name).map(|bound| time(name, bound)).transpose();
    let (from, to) = (bound("from")?, bound("to")?);
    match how.get("time") {
        Some(column) => scan = scan.time(text("time", column)?, from, to),
        None if from.is_some() || to.is_some() => {
            return Err(wrong("`from` and `to` need `time`, the column that they bound"));
        }
        None => {}
    }
    if let Some(entities) = how.get("where") {
        let entities = entities
            .as_map_ref()
            .map_err(|_kind| wrong("`where` is a map of columns and values"))?;
        for (column, values) in entities.iter() {
            scan = scan.entity(column.to_string(), cells(column, values)?);
        }
    }
    if let Some(limit) = how.get("limit") {
        scan = scan.limit(count("limit", limit.as_int().unwrap_or(-1))?);
    }
    if let Some(offset) = how.get("offset") {
        scan = scan.offset(count("offset", offset.as_int().unwrap_or(-1))?);
    }
    Ok(scan)
}

fn time(name: &str, value: &Dynamic) -> Answer<Time> {
    let shown = text(name, value)?;
    let micros = time_text::parse_partial(&shown);
    micros
        .map(Time)
        .ok_or_else(|| wrong(format!("`{name}`: `{}` is not a time", error::short(&shown))))
}

fn count(name: &str, number: INT) -> Answer<usize> {
    usize::try_from(number).map_err(|_over| wrong(format!("`{name}` is a whole number from 0 on")))
}

#[cfg(feature = "sql")]
fn asking(module: &mut Module, catalog: &Arc<dyn TableCatalog>, limits: &Arc<ScriptLimits>) {
    use serde_json::Value;

    use super::Tables;
    use super::sql::Sql;

    let engine = Sql::new(Arc::clone(catalog)).with_limits(limits.sql.clone());
    function("sql").set_into_module(module, move |query: ImmutableString| {
        engine.query(&query, &Value::Null).map_err(refuse)
    });
    let (behind, bound) = (Arc::clone(catalog), Arc::clone(limits));
    function("sql").set_into_module(
        module,
        move |query: ImmutableString, with: Map| -> Answer<Table> {
            let mut tables = Tables::before(Arc::clone(&behind));
            let mut params = serde_json::Map::new();
            for (name, value) in &with {
                match convert::table_of(value)? {
                    Some(table) => tables = tables.with(name.to_string(), table),
                    None => drop(params.insert(name.to_string(), convert::json_of(name, value)?)),
                }
            }
            let params = if params.is_empty() { Value::Null } else { Value::Object(params) };
            let engine = Sql::new(Arc::new(tables)).with_limits(bound.sql.clone());
            engine.query(&query, &params).map_err(refuse)
        },
    );
}

fn making(module: &mut Module) {
    function("from_rows").set_into_module(module, |rows: Array| from_array(&rows));
    function("concat").set_into_module(module, |tables: Array| -> Answer<Table> {
        let tables: Option<Vec<Table>> =
            tables.into_iter().map(|table| table.flatten().try_cast::<Table>()).collect();
        let tables = tables.ok_or_else(|| wrong("`concat` takes an array of tables"))?;
        Table::concat(&tables).map_err(refuse)
    });
    function("concat").set_into_module(module, |one: Table, two: Table| {
        Table::concat(&[one, two]).map_err(refuse)
    });
}

fn combining(module: &mut Module) {
    function("resample").set_into_module(module, |table: Table, how: Map| -> Answer<Table> {
        options(&how, &["time", "every", "by", "aggregates"])?;
        let needed =
            |name: &str| how.get(name).ok_or_else(|| wrong(format!("`resample` needs `{name}`")));
        let by = how.get("by").map_or_else(|| Ok(Vec::new()), |by| texts("by", by))?;
        let time = text("time", needed("time")?)?;
        let width = text("every", needed("every")?)?;
        let micros = ops::bucket_width(&width)
            .and_then(|micros| u64::try_from(micros).ok())
            .ok_or_else(|| {
                wrong(format!("`every`: `{}` is not a width such as `10m`", error::short(&width)))
            })?;
        let keys = by.iter().chain(std::iter::once(&time)).map(String::as_str).collect::<Vec<_>>();
        let aggregates = aggregates(&table, &keys, how.get("aggregates"))?;
        let every = std::time::Duration::from_micros(micros);
        ops::resample(&table, &Resample { time, every, by, aggregates }).map_err(refuse)
    });
    function("group").set_into_module(
        module,
        |table: Table, keys: Dynamic, how: Map| -> Answer<Table> {
            let keys = texts("keys", &keys)?;
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let aggregates = aggregates(&table, &keys, Some(&Dynamic::from_map(how)))?;
            ops::group(&table, &keys, &aggregates).map_err(refuse)
        },
    );
}

fn joining(module: &mut Module) {
    function("asof_join").set_into_module(
        module,
        |left: Table, right: Table, how: Map| -> Answer<Table> {
            options(&how, &["on", "right_on", "by", "right_by", "tolerance"])?;
            let named = |name: &str| how.get(name).map(|value| text(name, value)).transpose();
            let left_time =
                named("on")?.ok_or_else(|| wrong("`asof_join` needs `on`, the column of times"))?;
            let right_time = named("right_on")?.unwrap_or_else(|| left_time.clone());
            let by = match (named("by")?, named("right_by")?) {
                (Some(by), right) => Some((by.clone(), right.unwrap_or(by))),
                (None, _) => None,
            };
            let tolerance = named("tolerance")?
                .map(|span| parse_duration(&span).map_err(refuse))
                .transpose()?;
            let how = AsOf { left_time, right_time, by, tolerance };
            ops::asof_join(&left, &right, &how).map_err(refuse)
        },
    );
}

/// `#{power: "mean", wind: ["min", "max"]}`; without it the mean of every column of numbers.
fn aggregates(table: &Table, keys: &[&str], how: Option<&Dynamic>) -> Answer<Vec<Aggregate>> {
    let Some(how) = how else {
        let numbers = table.schema().iter().filter(|column| {
            matches!(column.kind, ColumnType::Int | ColumnType::Float)
                && !keys.contains(&column.name.as_str())
        });
        return Ok(numbers.map(|column| Aggregate::new(&column.name, Function::Mean)).collect());
    };
    let how = how
        .as_map_ref()
        .map_err(|_kind| wrong("`aggregates` is a map of columns and functions"))?;
    let mut all = Vec::new();
    for (column, functions) in how.iter() {
        let names = texts(column, functions)?;
        for name in &names {
            let function = Function::from_name(name).map_err(refuse)?;
            let aggregate = Aggregate::new(column.as_str(), function);
            let several = names.len() > 1;
            all.push(if several { aggregate.named(format!("{column}_{name}")) } else { aggregate });
        }
    }
    Ok(all)
}

fn looking(module: &mut Module, limits: &Arc<ScriptLimits>) {
    let length = |table: &mut Table| INT::try_from(table.rows()).unwrap_or(INT::MAX);
    method("len").set_into_module(module, length);
    FuncRegistration::new_getter("len").with_purity(true).set_into_module(module, length);
    method("is_empty").set_into_module(module, |table: &mut Table| table.rows() == 0);
    method("columns").set_into_module(module, |table: &mut Table| columns_of(table));
    method("schema").set_into_module(module, |table: &mut Table| schema_maps(table));
    let bound = Arc::clone(limits);
    method("rows").set_into_module(module, move |table: &mut Table| row_maps(table, &bound));
    let bound = Arc::clone(limits);
    let column = move |table: &mut Table, name: ImmutableString| array_of(table, &name, &bound);
    method("column").set_into_module(module, column.clone());
    FuncRegistration::new_index_getter().with_purity(true).set_into_module(module, column);
    method("stats").set_into_module(module, |table: &mut Table| stats_maps(table));
    method("to_string").set_into_module(module, |table: &mut Table| shown(table));
    method("to_debug").set_into_module(module, |table: &mut Table| shown(table));
}

fn shown(table: &Table) -> String {
    let names = error::listed(table.schema().iter().map(|column| column.name.as_str()));
    format!("table of {} rows with {names}", table.rows())
}

fn cutting(module: &mut Module) {
    method("head").set_into_module(module, |table: &mut Table, rows: INT| -> Answer<Table> {
        table.slice(0, count("head", rows)?).map_err(refuse)
    });
    method("slice").set_into_module(
        module,
        |table: &mut Table, offset: INT, rows: INT| -> Answer<Table> {
            table.slice(count("offset", offset)?, count("slice", rows)?).map_err(refuse)
        },
    );
    method("select").set_into_module(
        module,
        |table: &mut Table, columns: Array| -> Answer<Table> {
            table.select(&texts("select", &columns.into())?).map_err(refuse)
        },
    );
    method("sort_by").set_into_module(module, |table: &mut Table, column: ImmutableString| {
        table.sort_by(&[Order::by(column.as_str())]).map_err(refuse)
    });
    method("sort_by").set_into_module(
        module,
        |table: &mut Table, column: ImmutableString, descending: bool| {
            table.sort_by(&[Order { column: column.to_string(), descending }]).map_err(refuse)
        },
    );
    method("between").set_into_module(
        module,
        |table: &mut Table, column: ImmutableString, from: Dynamic, to: Dynamic| -> Answer<Table> {
            let bound = |name: &str, value: &Dynamic| {
                if value.is_unit() { Ok(None) } else { time(name, value).map(Some) }
            };
            table.between(&column, bound("from", &from)?, bound("to", &to)?).map_err(refuse)
        },
    );
    method("having").set_into_module(
        module,
        |table: &mut Table, column: ImmutableString, values: Dynamic| -> Answer<Table> {
            let wanted: Vec<Cell> = cells(&column, &values)?;
            table.having(&column, wanted).map_err(refuse)
        },
    );
}

#[cfg(test)]
mod tests;
