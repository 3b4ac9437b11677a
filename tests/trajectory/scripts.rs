//! What scripts may write into the log.

use drip::kernel::access::{Caller, Role};
use drip::kernel::script::{Call, Fence, ScriptContext, ScriptEngine};
use drip::trajectory::script::module;
use drip::trajectory::{Level, Trajectory};
use serde_json::json;

use super::{Rig, query};

fn run(log: &Trajectory, role: Role) -> drip::kernel::Result<()> {
    let engine = ScriptEngine::builder()
        .fence(Fence::pipeline())
        .module("log", module(log.clone()))
        .build()?;
    let program = engine
        .compile(r#"log::info("begun"); log::error("hot", #{turbine: "R80711", t: 91.5}); 0"#)?;
    let context = ScriptContext { caller: Caller::new("ada", role), run_id: Some("run-1".into()) };
    engine.eval(&program, Vec::new(), &Call::new().tagged(context.into_tag())).map(drop)
}

#[test]
fn a_script_logs_with_its_run_and_only_as_its_caller_may() {
    let log = Rig::new().open().unwrap();
    run(&log, Role::Publisher).unwrap();
    let found = log.query(&query(&[("run_id", "run-1"), ("stream", "pipeline")])).unwrap().items;
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].record.level, found[0].record.message.as_str()), (Level::Error, "hot"));
    assert_eq!(json!(found[0].record.fields), json!({"t": 91.5, "turbine": "R80711"}));
    assert_eq!(run(&log, Role::Viewer).unwrap_err().code(), "not_allowed");
}
