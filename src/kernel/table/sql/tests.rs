//! Queries as people write them, against tables in memory and in Parquet.

use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{CsvOptions, Format, ParquetTable, Tables, read, write};
use super::*;
use crate::kernel::{Error, Kind};

fn rows(values: &Value) -> Table {
    Table::from_rows(values.as_array().unwrap()).unwrap()
}

fn wind() -> Table {
    rows(&json!([
        {"t": "2014-01-01T00:00:00Z", "turbine": "A", "power": 10.0, "n": 1, "ok": true},
        {"t": "2014-01-01T00:00:00Z", "turbine": "B", "power": 20.0, "n": 2, "ok": false},
        {"t": "2014-01-01T00:10:00Z", "turbine": "A", "power": null, "n": 3, "ok": true},
        {"t": "2014-01-01T00:10:00Z", "turbine": "B", "power": 40.0, "n": 4, "ok": null},
        {"t": "2014-01-01T01:00:00Z", "turbine": "A", "power": 50.0, "n": 5, "ok": true},
        {"t": null, "turbine": null, "power": 60.5, "n": null, "ok": false},
    ]))
}

fn parquet(table: &Table) -> ParquetTable {
    let bytes = write::to_bytes(table, Format::Parquet).unwrap();
    ParquetTable::open(Arc::new(Bytes::from(bytes))).unwrap()
}

fn turbines() -> Table {
    rows(
        &json!([{"name": "A", "rated": 2050}, {"name": "B", "rated": 2000}, {"name": "C", "rated": 1}]),
    )
}

fn catalog() -> Tables {
    Tables::new()
        .with("wind", wind())
        .with("stored", parquet(&wind()))
        .with("wind@2014", wind().slice(0, 2).unwrap())
        .with("turbines", turbines())
}

fn sql() -> Sql {
    Sql::new(Arc::new(catalog()))
}

fn ask(query: &str) -> Value {
    Value::Array(sql().query(query, &Value::Null).unwrap().to_rows())
}

fn refuse(query: &str) -> Error {
    sql().query(query, &Value::Null).unwrap_err()
}

#[test]
fn tables_are_found_by_name_and_versions_in_quotes() {
    assert_eq!(ask("SELECT count(*) AS n FROM wind"), json!([{"n": 6}]));
    assert_eq!(ask("SELECT count(*) AS n FROM \"wind@2014\""), json!([{"n": 2}]));
    assert_eq!(ask("SELECT count(*) AS n FROM main.wind"), json!([{"n": 6}]));
    assert_eq!(ask("SELECT 1 + 1 AS two"), json!([{"two": 2}]));
    let error = refuse("SELECT * FROM wnid");
    assert_eq!((error.kind(), error.code()), (Kind::Invalid, "table_not_found"));
    assert!(error.detail().contains("did you mean `wind`"), "{}", error.detail());
}

#[test]
fn memory_and_parquet_answer_alike() {
    for query in [
        "SELECT * FROM {} ORDER BY n",
        "SELECT turbine, avg(power) AS p FROM {} GROUP BY turbine ORDER BY turbine",
        "SELECT n FROM {} WHERE turbine = 'A' AND t >= '2014-01-01T00:10:00Z' ORDER BY n",
        "SELECT n FROM {} WHERE turbine IN ('A', 'C', NULL) ORDER BY n",
        "SELECT n FROM {} WHERE power > 15 AND power <= 40 ORDER BY n",
        "SELECT n FROM {} WHERE n BETWEEN 1.5 AND 4 ORDER BY n",
        "SELECT n FROM {} WHERE n = 2.0 OR n = 2.5",
        "SELECT n FROM {} WHERE n = '3'",
        "SELECT n FROM {} WHERE ok = true",
        "SELECT n FROM {} WHERE turbine IS NULL",
        "SELECT count(*) AS c FROM {} WHERE power = NULL",
        "SELECT max(t) AS last, min(power) AS least FROM {}",
        "SELECT a.n FROM {} a JOIN {} b ON a.t = b.t AND a.turbine <> b.turbine ORDER BY a.n",
        "SELECT t, sum(power) OVER (PARTITION BY turbine ORDER BY t) AS s FROM {} ORDER BY n",
    ] {
        assert_eq!(
            ask(&query.replace("{}", "wind")),
            ask(&query.replace("{}", "stored")),
            "{query}"
        );
    }
}

#[test]
fn times_compare_however_they_are_written() {
    let count = |condition: &str| {
        ask(&format!("SELECT count(*) AS c FROM stored WHERE {condition}"))[0]["c"]
            .as_i64()
            .unwrap()
    };
    for one in [
        "2014-01-01T00:10:00Z",
        "2014-01-01T01:10:00+01:00",
        "2014-01-01 00:10:00",
        "2014-01-01T00:10:00.000000Z",
    ] {
        assert_eq!(count(&format!("t = '{one}'")), 2, "{one}");
        assert_eq!(count(&format!("t < '{one}'")), 2, "{one}");
        assert_eq!(count(&format!("t > '{one}'")), 1, "{one}");
        assert_eq!(count(&format!("t <= '{one}'")), 4, "{one}");
        assert_eq!(count(&format!("t IN ('{one}', '2014')")), 4, "{one}");
    }
    assert_eq!(count("t >= '2014-01' AND t < '2014-01-01T01'"), 4);
    assert_eq!(count("t LIKE '2014-01-01T00:1%'"), 2);
    assert_eq!(count("strftime('%H', t) = '01'"), 1);
    assert_eq!(count("julianday(t) > julianday('2014-01-01 00:30')"), 1);
    assert_eq!(count("t = datetime('2014-01-01', '+10 minutes')"), 2);
    assert_eq!(count("t > 'never'"), 0);
}

#[test]
fn answers_have_the_types_of_their_values() {
    let table = sql()
        .query(
            "SELECT t, turbine, power, n, ok, t AS t, n + 0.5 AS half, time_bucket('1h', t) AS hour,
                    CASE n WHEN 1 THEN 1 ELSE 1.5 END AS mixed, NULL AS void,
                    CASE n WHEN 1 THEN 1 ELSE 'x' END AS words
             FROM wind",
            &Value::Null,
        )
        .unwrap();
    let kinds: Vec<_> =
        table.schema().iter().map(|column| (column.name.as_str(), column.kind.name())).collect();
    assert_eq!(
        kinds,
        [
            ("t", "time"),
            ("turbine", "text"),
            ("power", "float"),
            ("n", "int"),
            ("ok", "bool"),
            ("t_2", "time"),
            ("half", "float"),
            ("hour", "time"),
            ("mixed", "float"),
            ("void", "text"),
            ("words", "text"),
        ]
    );
    let empty = sql().query("SELECT t, power, ok FROM wind WHERE n > 99", &Value::Null).unwrap();
    let kinds: Vec<_> = empty.schema().iter().map(|column| column.kind.name()).collect();
    assert_eq!((empty.rows(), kinds), (0, vec!["time", "float", "bool"]));
    assert_eq!(
        ask("SELECT CAST(1 AS TEXT) AS a UNION ALL SELECT 2.5"),
        json!([{"a": "1"}, {"a": "2.5"}])
    );
    assert!(refuse("SELECT x'00ff' AS b").detail().contains("bytes"));
}

#[test]
fn joins_subqueries_and_recursion_work() {
    assert_eq!(
        ask("SELECT w.n, r.rated FROM stored w JOIN turbines r ON r.name = w.turbine
             WHERE w.power IS NOT NULL ORDER BY w.n"),
        json!([{"n": 1, "rated": 2050}, {"n": 2, "rated": 2000}, {"n": 4, "rated": 2000}, {"n": 5, "rated": 2050}])
    );
    assert_eq!(
        ask("WITH best AS (SELECT turbine, max(power) AS p FROM stored GROUP BY turbine)
             SELECT name, p FROM turbines LEFT JOIN best ON turbine = name ORDER BY name"),
        json!([{"name": "A", "p": 50.0}, {"name": "B", "p": 40.0}, {"name": "C", "p": null}])
    );
    assert_eq!(
        ask("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5)
             SELECT sum(i) AS s FROM c"),
        json!([{"s": 15}])
    );
    assert_eq!(
        ask("SELECT value FROM json_each('[1,2]') ORDER BY value DESC"),
        json!([{"value": 2}, {"value": 1}])
    );
}

#[test]
fn the_last_row_before_another_is_found() {
    for table in ["wind", "stored"] {
        let last = ask(&format!(
            "SELECT a.n, (SELECT b.n FROM {table} b WHERE b.turbine = a.turbine AND b.t < a.t
                          ORDER BY b.t DESC LIMIT 1) AS before,
                    (SELECT min(b.t) FROM {table} b WHERE b.turbine = a.turbine AND b.t > a.t) AS after
             FROM {table} a WHERE a.turbine = 'A' ORDER BY a.n"
        ));
        assert_eq!(
            last,
            json!([
                {"n": 1, "before": null, "after": "2014-01-01T00:10:00.000000Z"},
                {"n": 3, "before": 1, "after": "2014-01-01T01:00:00.000000Z"},
                {"n": 5, "before": 3, "after": null},
            ])
        );
    }
}

#[test]
fn our_functions_compute() {
    let close = |query: &str, wanted: f64| {
        let found = ask(&format!("SELECT {query} AS x FROM wind"))[0]["x"].as_f64().unwrap();
        assert!((found - wanted).abs() < 1e-9, "{query}: {found}");
    };
    close("median(power)", 40.0);
    close("percentile(power, 0.25)", 20.0);
    close("percentile(power, 0.9)", 56.3);
    close("stddev(n)", 2.5_f64.sqrt());
    close("regr_slope(3 * n + 2, n)", 3.0);
    close("regr_intercept(3 * n + 2, n)", 2.0);
    close("corr(-n, n)", -1.0);
    close("sqrt(2) * pow(2, 0.5)", 2.0);
    close("degrees(atan2(1, 1)) + radians(180) - pi()", 45.0);
    close("exp(ln(5)) + log10(100) + log(2, 8) + mod(7, 4)", 13.0);
    close("floor(-1.5) + ceil(1.2) + sin(0) + cos(0)", 1.0);
    assert_eq!(
        ask("SELECT median(x) AS m, stddev(x) AS s, regr_slope(x, x) AS r, sqrt(NULL) AS q, ln(-1) AS l
             FROM (SELECT NULL AS x)"),
        json!([{"m": null, "s": null, "r": null, "q": null, "l": null}])
    );
    assert_eq!(
        ask("SELECT time_bucket('10m', '2014-03-30T03:19:59+02:00') AS a, time_bucket('1 hour', NULL) AS b,
             to_time('2014-03-30 01:00') AS c"),
        json!([{"a": "2014-03-30T01:10:00.000000Z", "b": null, "c": "2014-03-30T01:00:00.000000Z"}])
    );
    assert!(
        refuse("SELECT time_bucket('1 fortnight', '2014-01-01')").detail().contains("1 fortnight")
    );
    assert!(refuse("SELECT time_bucket('1h', 'noon')").detail().contains("`noon` is not a time"));
    assert!(refuse("SELECT percentile(n, 50) FROM wind").detail().contains("between 0 and 1"));
    assert_eq!(
        ask("SELECT n, median(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m
             FROM wind WHERE n <= 3 ORDER BY n"),
        json!([{"n": 1, "m": 1.0}, {"n": 2, "m": 1.5}, {"n": 3, "m": 2.5}])
    );
}

#[test]
fn parameters_are_bound_by_place_and_by_name() {
    let query = |text: &str, params: Value| sql().query(text, &params);
    let table = query(
        "SELECT n FROM wind WHERE turbine = ? AND t >= ? ORDER BY n",
        json!(["A", "2014-01-01T00:10Z"]),
    );
    assert_eq!(Value::Array(table.unwrap().to_rows()), json!([{"n": 3}, {"n": 5}]));
    let table =
        query("SELECT n FROM stored WHERE turbine = :who AND n > :n", json!({"who": "B", "n": 2}));
    assert_eq!(Value::Array(table.unwrap().to_rows()), json!([{"n": 4}]));
    let table = query(
        "SELECT n FROM wind WHERE turbine IN (SELECT value FROM json_each(:all)) ORDER BY n",
        json!({"all": ["B"]}),
    );
    assert_eq!(Value::Array(table.unwrap().to_rows()), json!([{"n": 2}, {"n": 4}]));
    let error = query("SELECT :site", json!({"sit": 1})).unwrap_err();
    let faults: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(faults, ["/params/sit", "/params/site"]);
    assert!(query("SELECT ?", json!([])).unwrap_err().detail().contains("1 parameters"));
    assert!(query("SELECT 1", json!(7)).is_err());
}

#[test]
fn a_query_only_reads() {
    for (query, word) in [
        ("ATTACH DATABASE '/tmp/x.db' AS x", "ATTACH"),
        ("PRAGMA table_info(wind)", "PRAGMA"),
        ("SELECT * FROM pragma_table_info('wind')", "not"),
        ("CREATE TABLE x(a)", "writing"),
        ("INSERT INTO wind(n) VALUES (1)", "not"),
        ("UPDATE wind SET n = 1", "not"),
        ("DELETE FROM wind", "not"),
        ("DROP TABLE wind", "not"),
        ("CREATE VIRTUAL TABLE f USING fts5(a)", "not"),
        ("BEGIN", "transaction"),
        ("SAVEPOINT a", "transaction"),
        ("VACUUM INTO '/tmp/x.db'", "not"),
        ("SELECT load_extension('x')", "load_extension"),
        ("SELECT * FROM sqlite_master", "sqlite_master"),
        ("SELECT * FROM sqlite_schema", "not"),
        ("SELECT * FROM dbstat", "dbstat"),
        ("SELECT 1; DROP TABLE wind", "not"),
        ("REINDEX", "not"),
        ("ANALYZE", "not"),
    ] {
        let error = sql().query(query, &Value::Null).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{query}: {error:?}");
        assert!(
            error.detail().contains(word) || error.code() != "sql_not_allowed",
            "{query}: {error:?}"
        );
        assert!(!std::path::Path::new("/tmp/x.db").exists());
    }
    assert_eq!(refuse("PRAGMA journal_mode").code(), "sql_not_allowed");
    assert_eq!(refuse("ATTACH 'x' AS y").code(), "sql_not_allowed");
}

#[test]
fn mistakes_are_told_in_sqlites_words() {
    let error = refuse("SELEC 1");
    assert_eq!((error.kind(), error.code()), (Kind::Invalid, "bad_sql"));
    assert!(error.detail().contains("near \"SELEC\": syntax error"), "{}", error.detail());
    assert!(refuse("SELECT powr FROM wind").detail().contains("did you mean `power`"));
    assert!(refuse("SELECT \"powr\" FROM wind").detail().contains("no such column"));
    assert!(refuse("SELECT 1; SELECT 2").detail().contains("Multiple statements"));
    for empty in ["", "  ", "-- nothing"] {
        assert!(refuse(empty).detail().contains("empty"), "{empty:?}");
    }
    assert_eq!(refuse("SELECT '\0'").code(), "bad_sql");
}

fn within(limits: SqlLimits, query: &str) -> Error {
    sql().with_limits(limits).query(query, &Value::Null).unwrap_err()
}

#[test]
fn endless_and_huge_queries_end_at_their_limit() {
    const ENDLESS: &str =
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c";
    let short = SqlLimits { time: Duration::from_millis(50), ..SqlLimits::default() };
    let error = within(short, ENDLESS);
    assert_eq!((error.kind(), error.code()), (Kind::TimedOut, "sql_timeout"));
    let steps = SqlLimits { operations: 100_000, ..SqlLimits::default() };
    assert!(within(steps.clone(), ENDLESS).detail().contains("steps"));
    let cross = "SELECT count(*) FROM wind a, wind b, wind c, wind d, wind e, wind f, wind g";
    assert_eq!(within(steps, cross).code(), "sql_timeout");
    let rows = SqlLimits { rows: 1_000, ..SqlLimits::default() };
    let many = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c";
    assert_eq!(within(rows, many).kind(), Kind::TooLarge);
    let bytes = SqlLimits { bytes: 1 << 20, ..SqlLimits::default() };
    let wide = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT hex(zeroblob(1000)) FROM c";
    assert_eq!(within(bytes, wide).kind(), Kind::TooLarge);
    for bomb in [
        "SELECT zeroblob(1000000000)",
        "SELECT hex(zeroblob(8000000))",
        "SELECT printf('%.*c', 99999999, 'x')",
    ] {
        assert_eq!(refuse(bomb).kind(), Kind::TooLarge, "{bomb}");
    }
    let held = SqlLimits { held: 100, ..SqlLimits::default() };
    assert_eq!(
        within(held, "SELECT count(*) FROM wind a JOIN wind b ON a.t = b.t").code(),
        "sql_too_large"
    );
    let stop = Arc::new(AtomicBool::new(true));
    let error = sql().with_stop(stop).query(ENDLESS, &Value::Null).unwrap_err();
    assert!(error.detail().contains("stopped"));
}

#[test]
fn long_and_deep_queries_are_refused() {
    assert_eq!(refuse(&format!("SELECT '{}'", "x".repeat(100_000))).kind(), Kind::TooLarge);
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(refuse(&deep).kind(), Kind::Invalid);
    let deep = format!("SELECT {}1", "-".repeat(5_000).replace('-', "- "));
    assert_eq!(refuse(&deep).kind(), Kind::Invalid);
    let wide = vec!["1"; 2_000].join(", ");
    assert_eq!(refuse(&format!("SELECT {wide}")).kind(), Kind::Invalid);
}

#[test]
fn a_slice_by_sql_reads_less_than_the_whole() {
    let times =
        TimestampMicrosecondArray::from_iter_values((0..200_000).map(|at| at * 600_000_000));
    let columns: [(&str, ArrayRef); 3] = [
        ("t", Arc::new(times)),
        ("x", Arc::new(Int64Array::from_iter_values(0..200_000))),
        ("y", Arc::new(Int64Array::from_iter_values((0..200_000).map(|at| at * 7 % 1_000)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let table = parquet(&Table::from_batches(&batch.schema(), vec![batch.clone()]).unwrap());
    let engine = Sql::new(Arc::new(Tables::new().with("many", table.clone())));
    let before = table.bytes_read();
    let query = "SELECT count(*) AS c, min(x) AS least FROM many WHERE t >= '1971-06-01' AND t < '1971-06-02'";
    let answer = engine.query(query, &Value::Null).unwrap();
    let read = table.bytes_read() - before;
    assert_eq!(answer.to_rows()[0]["c"], json!(144));
    assert!(read * 3 < table.bytes(), "read {read} of {}", table.bytes());
}

fn scada() -> Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/wind/scada-2014q1.csv");
    read::csv(std::fs::File::open(path).unwrap(), &CsvOptions::default()).unwrap()
}

#[test]
fn real_turbine_data_is_read_and_asked() {
    let scada = scada();
    assert_eq!(scada.rows(), 51_816);
    let kinds: Vec<_> = scada.schema().iter().map(|column| column.kind.name()).collect();
    assert_eq!(
        kinds,
        ["text", "time", "float", "float", "float", "float", "float", "float", "float"]
    );
    let stored = parquet(&scada);
    let engine =
        Sql::new(Arc::new(Tables::new().with("scada", scada.clone()).with("stored", stored)));
    let start = Instant::now();
    let query = "SELECT s.Wind_turbine_name AS turbine, count(*) AS n, avg(s.P_avg) AS p, median(s.Ws_avg) AS ws
                 FROM scada s JOIN {} o ON o.Wind_turbine_name = s.Wind_turbine_name AND o.Date_time = s.Date_time
                 GROUP BY 1 ORDER BY 1";
    let twice = engine.query(&query.replace("{}", "scada"), &Value::Null).unwrap();
    eprintln!("self-join in memory: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(engine.query(&query.replace("{}", "stored"), &Value::Null).unwrap(), twice);
    eprintln!("join with Parquet: {:?}", start.elapsed());
    let start = Instant::now();
    let hours = engine
        .query(
            "SELECT Wind_turbine_name, time_bucket('1h', Date_time) AS hour, avg(P_avg), min(Ws_avg), max(Ws_avg),
                    avg(Ot_avg), avg(Va_avg), avg(Ya_avg), avg(Wa_avg), avg(Ba_avg)
             FROM stored GROUP BY 1, 2",
            &Value::Null,
        )
        .unwrap();
    eprintln!("group by turbine and hour: {:?}", start.elapsed());
    // Four turbines, and a quarter year of hours, of which the clock change takes two.
    assert_eq!(hours.rows(), 4 * (90 * 24 - 2));
    // An hour at the clock change stands there twice.
    let doubles = engine
        .query(
            "SELECT count(*) AS c FROM (SELECT 1 FROM scada GROUP BY Wind_turbine_name, Date_time HAVING count(*) > 1)",
            &Value::Null,
        )
        .unwrap();
    assert_eq!(doubles.to_rows(), [json!({"c": 24})]);
}
