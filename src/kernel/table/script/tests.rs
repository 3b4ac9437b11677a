//! Scripts over tables.

#![expect(clippy::float_cmp, reason = "the numbers are exact")]

use rhai::{Dynamic, Engine};
use serde_json::json;

use super::super::Tables;
use super::*;

fn wind() -> Table {
    Table::from_rows(&[
        json!({"t": "2014-01-01T00:00:00Z", "turbine": "A", "p": 10.0, "n": 1}),
        json!({"t": "2014-01-01T00:10:00Z", "turbine": "B", "p": null, "n": 2}),
        json!({"t": "2014-01-01T01:00:00Z", "turbine": "A", "p": 30.0, "n": 3}),
    ])
    .unwrap()
}

fn engine_within(limits: ScriptLimits) -> Engine {
    let mut engine = Engine::new();
    let catalog = Tables::new().with("wind", wind());
    engine.register_static_module("table", module_within(Arc::new(catalog), limits).into());
    engine
}

fn run<T: Clone + Send + Sync + 'static>(script: &str) -> T {
    engine_within(ScriptLimits::default())
        .eval::<T>(script)
        .unwrap_or_else(|why| panic!("{script}: {why}"))
}

fn fails(script: &str) -> String {
    engine_within(ScriptLimits::default()).eval::<Dynamic>(script).unwrap_err().to_string()
}

#[test]
fn tables_are_read_and_looked_at() {
    assert_eq!(run::<INT>("table::read(\"wind\").len"), 3);
    assert_eq!(run::<INT>("let w = table::read(\"wind\"); w.len() + w.head(2).len"), 5);
    assert_eq!(
        run::<String>("table::read(\"wind\").columns().reduce(|a, c| a + c, \"\")"),
        "tturbinepn"
    );
    assert_eq!(run::<String>("table::read(\"wind\").rows()[0].t"), "2014-01-01T00:00:00.000000Z");
    assert!(run::<bool>("table::read(\"wind\").column(\"p\")[1] == ()"));
    assert_eq!(run::<f64>("table::read(\"wind\")[\"p\"][2]"), 30.0);
    assert_eq!(run::<f64>("const W = table::read(\"wind\"); W.stats().p.mean"), 20.0);
    assert_eq!(run::<String>("table::read(\"wind\").schema()[3].type"), "int");
    assert!(run::<String>("table::read(\"wind\").to_string()").starts_with("table of 3 rows"));
    assert!(fails("table::read(\"wnid\")").contains("did you mean `wind`"));
    assert!(fails("table::read(\"wind\").column(\"q\")").contains("no column `q`"));
}

#[test]
fn parts_of_tables_are_taken() {
    let count = |script: &str| run::<INT>(&format!("let w = table::read(\"wind\"); {script}"));
    assert_eq!(
        count(
            "table::read(\"wind\", #{columns: [\"n\"], time: \"t\", from: \"2014-01-01T00:10\",
             to: \"2014-01-02\", where: #{turbine: [\"A\", \"C\"]}, limit: 5}).column(\"n\")[0]"
        ),
        3
    );
    assert_eq!(count("w.select([\"n\", \"p\"]).columns().len"), 2);
    assert_eq!(count("w.sort_by(\"n\", true).column(\"n\")[0]"), 3);
    assert_eq!(count("w.sort_by(\"p\").column(\"n\")[0]"), 2);
    assert_eq!(count("w.between(\"t\", (), \"2014-01-01T00:10\").len"), 1);
    assert_eq!(count("w.having(\"turbine\", \"A\").len"), 2);
    assert_eq!(count("w.having(\"n\", [1, 3.0, 4]).len"), 2);
    assert_eq!(count("w.slice(1, 5).len"), 2);
    assert_eq!(count("table::concat([w, w, w.head(1)]).len"), 7);
    assert_eq!(count("table::concat(w, w).len"), 6);
    assert!(fails("table::read(\"wind\", #{colums: []})").contains("did you mean `columns`"));
    assert!(fails("table::read(\"wind\").head(-1)").contains("from 0 on"));
    assert!(fails("table::read(\"wind\", #{from: \"2014\"})").contains("need `time`"));
}

#[test]
fn tables_are_made_of_rows_and_combined() {
    assert_eq!(
        run::<f64>("table::from_rows([#{a: 1, b: \"x\"}, #{a: 2.5}]).column(\"a\")[0]"),
        1.0
    );
    assert!(fails("table::from_rows([1])").contains("row 0 is i64"));
    assert!(fails("table::from_rows([#{a: [1]}])").contains("`a`: a table holds no array"));
    assert_eq!(
        run::<f64>(
            "let w = table::read(\"wind\");
             table::resample(w, #{time: \"t\", every: \"1 hour\", by: [\"turbine\"]}).column(\"p\")[1]"
        ),
        30.0
    );
    assert_eq!(
        run::<f64>(
            "let w = table::read(\"wind\");
             table::resample(w, #{time: \"t\", every: \"1d\", aggregates: #{p: [\"min\", \"sum\"]}}).column(\"p_sum\")[0]"
        ),
        40.0
    );
    assert_eq!(
        run::<INT>(
            "table::group(table::read(\"wind\"), \"turbine\", #{n: \"sum\"}).column(\"n\")[0]"
        ),
        4
    );
    assert_eq!(
        run::<INT>(
            "let w = table::read(\"wind\");
             let r = table::from_rows([#{at: \"2014-01-01T00:05:00Z\", x: 7}]);
             table::asof_join(w, r, #{on: \"t\", right_on: \"at\", tolerance: \"10m\"}).column(\"x\")[1]"
        ),
        7
    );
}

#[cfg(feature = "sql")]
#[test]
fn queries_take_tables_and_values() {
    assert_eq!(run::<f64>("table::sql(\"SELECT sum(p) AS s FROM wind\").column(\"s\")[0]"), 40.0);
    assert_eq!(
        run::<f64>(
            "let w = table::read(\"wind\").head(2);
             let rated = [#{name: \"A\", rated: 2050.0}];
             table::sql(\"SELECT rated - p AS d FROM own JOIN rated ON name = turbine WHERE n >= :least\",
                        #{own: w, rated: rated, least: 1}).column(\"d\")[0]"
        ),
        2040.0
    );
    assert_eq!(
        run::<INT>(
            "table::sql(\"SELECT count(*) AS c FROM wind WHERE n IN (SELECT value FROM json_each(:all))\",
                        #{all: [1, 3]}).column(\"c\")[0]"
        ),
        2
    );
    assert!(fails("table::sql(\"SELECT x FROM wind\")").contains("no such column: x"));
    assert!(run::<bool>(
        "let why = \"\"; try { table::sql(\"DROP TABLE wind\"); } catch (e) { why = e; } why.contains(\"not allowed\")"
    ));
}

#[test]
fn large_tables_do_not_become_arrays() {
    let limits = ScriptLimits { rows: 2, ..ScriptLimits::default() };
    let engine = engine_within(limits);
    for script in ["table::read(\"wind\").rows()", "table::read(\"wind\").column(\"n\")"] {
        let why = engine.eval::<Dynamic>(script).unwrap_err().to_string();
        assert!(why.contains("too many for an array"), "{why}");
    }
    assert_eq!(engine.eval::<INT>("table::read(\"wind\").head(2).rows().len").unwrap(), 2);
    let engine = engine_within(ScriptLimits { bytes: 10, ..ScriptLimits::default() });
    assert!(
        engine.eval::<Dynamic>("table::read(\"wind\")").unwrap_err().to_string().contains("limit")
    );
}
