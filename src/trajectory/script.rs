//! What scripts may call: `log::info("…")`, `log::warning("…", #{turbine: "R80711"})`, and the same
//! for `debug`, `error` and `critical`. The run's id comes from whoever runs the script.

use rhai::{EvalAltResult, FuncRegistration, ImmutableString, Map, Module};
use serde_json::Value;

use super::{Level, Record, Trajectory};
use crate::kernel::access::Needs;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::script::{ScriptContext, from_dynamic, raise};

/// The stream of what scripts log.
pub const STREAM: &str = "pipeline";

/// The module `log`. A line is durable when its function returns.
pub fn module(log: Trajectory) -> Module {
    let mut module = Module::new();
    for (name, level) in [
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("warning", Level::Warning),
        ("error", Level::Error),
        ("critical", Level::Critical),
    ] {
        let plain = log.clone();
        FuncRegistration::new(name).set_into_module(
            &mut module,
            move |message: ImmutableString| -> Result<(), Box<EvalAltResult>> {
                write(&plain, level, &message, Map::new()).map_err(raise)
            },
        );
        let with_fields = log.clone();
        FuncRegistration::new(name).set_into_module(
            &mut module,
            move |message: ImmutableString, fields: Map| -> Result<(), Box<EvalAltResult>> {
                write(&with_fields, level, &message, fields).map_err(raise)
            },
        );
    }
    module
}

fn write(log: &Trajectory, level: Level, message: &str, fields: Map) -> Result<()> {
    ScriptContext::caller_with(Needs::Write("trajectory"))?;
    let run_id = ScriptContext::current().and_then(|context| context.run_id.clone());
    let Value::Object(fields) = from_dynamic(&fields.into())? else {
        return Err(Error::new(Kind::Invalid, "bad_fields", "the fields of a log line are a map"));
    };
    let record =
        Record { run_id, fields, ..Record::new(log.clock().now(), level, STREAM, message) };
    log.append(vec![record]).map(drop)
}
