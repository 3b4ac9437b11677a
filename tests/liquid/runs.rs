//! Runs: inputs, failures, rights, cancelling, crashes, hostile scripts.

use super::*;
use drip::kernel::access::Needs;
use drip::kernel::feed::{self, Idempotency};
use drip::kernel::name::Digest;
use drip::kernel::script::{Fence, ScriptContext, raise};
use drip::liquid::{Config, NodeState, RunFilter, RunState};
use rhai::{FuncRegistration, Module};
use serde_json::json;

const ENDLESS: &str = r#"fn spin(a) { loop { a += 1; } } pipeline([node(spin, "a", "b", "spin")])"#;
const THROWS: &str = "fn ok(a) { a }\nfn bad(b) {\n    throw \"no wind\";\n}\npipeline([node(ok, \"a\", \"b\", \"ok\"), node(bad, \"b\", \"c\", \"bad\"), node(ok, \"c\", \"d\", \"after\")])";

#[test]
fn missing_inputs_are_refused_before_the_run_with_all_their_names() {
    let liquid = open();
    save(&liquid, "readme", README);
    let start = |body| liquid.start(&name("readme"), request(body), &ada(), None).unwrap_err();
    let missing = start(json!({"inputs": {"b": 1}}));
    assert_eq!((missing.code(), missing.kind().status()), ("missing_inputs", 422));
    let named: Vec<_> = missing.faults().iter().map(|f| f.pointer.as_str()).collect();
    assert_eq!(named, ["/inputs/a", "/inputs/d"]);
    let wrong = start(json!({"inputs": {"a": 1, "b": 1, "dd": 1, "c": 1}, "outputs": ["zz"]}));
    let named: Vec<_> = wrong.faults().iter().map(|f| f.pointer.as_str()).collect();
    assert_eq!(named, ["/inputs/dd", "/inputs/c", "/outputs/0", "/inputs/d"]);
    assert!(liquid.runs(&RunFilter::default(), None, 10).unwrap().is_empty());
    let slice = start(json!({"from": ["secondfun"]}));
    assert!(slice.to_string().contains("did you mean `secondfunc`?"), "{slice}");
}

#[test]
fn a_slice_is_given_what_it_does_not_make() {
    let liquid = open();
    save(&liquid, "readme", README);
    let run =
        finished(&liquid, "readme", json!({"inputs": {"c": 11, "d": 7}, "from": ["secondfunc"]}));
    assert_eq!((run.nodes.len(), &run.outputs["f"]), (2, &json!(78)));
    let inputs = json!({"a": 5, "b": 6, "d": 7});
    let run = finished(&liquid, "readme", json!({"inputs": inputs, "to": "firstfunc"}));
    assert_eq!(Value::Object(run.outputs), json!({"c": 11}));
}

#[test]
fn a_failure_names_the_node_and_the_line() {
    let lines = Arc::new(Lines::default());
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.log = Some(lines.clone());
    let liquid = Liquid::open(parts).unwrap();
    let run = run_script(&liquid, THROWS, json!({"inputs": {"a": 1}}));
    assert_eq!(run.state, RunState::Failed);
    let error = run.error.unwrap();
    for part in ["`bad`", "no wind", "line 3, column 5"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let states: Vec<_> = run.nodes.iter().map(|node| node.state).collect();
    assert_eq!(states, [NodeState::Succeeded, NodeState::Failed, NodeState::Skipped]);
    assert!(run.nodes[1].error.as_ref().unwrap().contains("no wind"));
    assert!(run.finished_at >= run.started_at && run.started_at.is_some());
    let said = lines.0.lock().unwrap().join("\n");
    for part in [
        "INFO the run of `script` began",
        "INFO the node `ok` is done",
        "ERROR the node `bad` failed",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn what_a_script_prints_becomes_lines_of_its_run() {
    let lines = Arc::new(Lines::default());
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.log = Some(lines.clone());
    let source = "fn f(a) { print(`a is ${a}`); a } pipeline([node(f, \"a\", \"b\")])";
    run_script(&Liquid::open(parts).unwrap(), source, json!({"inputs": {"a": 5}}));
    assert!(lines.0.lock().unwrap().contains(&"INFO a is 5".to_owned()));
}

#[test]
fn a_run_acts_with_the_rights_of_its_caller() {
    let mut module = Module::new();
    FuncRegistration::new("save").set_into_module(&mut module, || {
        let caller = ScriptContext::caller_with(Needs::Write("fiche")).map_err(raise)?;
        let run = ScriptContext::current().and_then(|context| context.run_id.clone());
        Ok::<String, Box<rhai::EvalAltResult>>(format!("{} {}", caller.name, run.is_some()))
    });
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.modules = vec![("fiche".into(), module.into())];
    let liquid = Liquid::open(parts).unwrap();
    let source = "fn f() { fiche::save() } pipeline([node(f, [], \"b\")])";
    assert_eq!(run_script(&liquid, source, json!({})).outputs["b"], json!("ada true"));
    let scoped = Caller { scopes: Some(["liquid:write".parse().unwrap()].into()), ..ada() };
    let run = liquid.start(&name("script"), request(json!({})), &scoped, None).unwrap();
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.unwrap().contains("fiche:write"));
}

#[test]
fn an_endless_loop_is_cancelled_within_a_moment() {
    let liquid = open();
    save(&liquid, "endless", ENDLESS);
    for runner in ["sequential", "parallel"] {
        let run = start(&liquid, "endless", json!({"inputs": {"a": 1}, "runner": runner}));
        begun(&liquid, &run.id);
        // Cancel waits at most a second; a busy machine may need a little more.
        liquid.cancel(&run.id, &ada()).unwrap();
        let run = liquid.wait(&run.id, LONG).unwrap();
        assert_eq!((run.state, run.nodes[0].state), (RunState::Cancelled, NodeState::Cancelled));
        assert_eq!(liquid.cancel(&run.id, &ada()).unwrap().state, RunState::Cancelled);
    }
}

#[test]
fn a_run_that_is_over_cannot_be_cancelled_and_an_unknown_one_is_not_found() {
    let liquid = open();
    save(&liquid, "readme", README);
    let run = finished(&liquid, "readme", json!({"inputs": {"a": 1, "b": 1, "d": 1}}));
    assert_eq!(liquid.cancel(&run.id, &ada()).unwrap_err().code(), "run_finished");
    assert_eq!(liquid.cancel("nobody", &ada()).unwrap_err().code(), "run_not_found");
}

#[test]
fn runs_wait_for_their_turn_and_a_waiting_one_can_be_cancelled() {
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.config = Config { max_runs: 1, max_queued: 2, ..Config::default() };
    let liquid = Liquid::open(parts).unwrap();
    save(&liquid, "endless", ENDLESS);
    save(&liquid, "readme", README);
    let first = start(&liquid, "endless", json!({"inputs": {"a": 1}}));
    begun(&liquid, &first.id);
    let inputs = json!({"inputs": {"a": 1, "b": 1, "d": 1}});
    let second = start(&liquid, "readme", inputs.clone());
    let third = start(&liquid, "readme", inputs.clone());
    assert_eq!(second.state, RunState::Queued);
    let full = liquid.start(&name("readme"), request(inputs), &ada(), None).unwrap_err();
    assert_eq!((full.code(), full.kind().status()), ("too_many_queued", 429));
    assert_eq!(liquid.cancel(&third.id, &ada()).unwrap().state, RunState::Cancelled);
    liquid.cancel(&first.id, &ada()).unwrap();
    assert_eq!(liquid.wait(&second.id, LONG).unwrap().state, RunState::Succeeded);
    let filter = RunFilter { pipeline: Some("readme".into()), state: Some(RunState::Cancelled) };
    let found = liquid.runs(&filter, None, 10).unwrap();
    assert_eq!(found.iter().map(|run| &run.id).collect::<Vec<_>>(), [&third.id]);
    let newest = liquid.runs(&RunFilter::default(), None, 2).unwrap();
    assert_eq!(newest.iter().map(|run| &run.id).collect::<Vec<_>>(), [&third.id, &second.id]);
    let older = liquid.runs(&RunFilter::default(), Some(&second.id), 2).unwrap();
    assert_eq!(older.iter().map(|run| &run.id).collect::<Vec<_>>(), [&first.id]);
}

#[test]
fn a_run_of_a_dead_daemon_is_interrupted_and_a_waiting_one_runs() {
    let records = memory();
    let mut parts = Parts::new(records.clone(), Arc::new(SystemClock));
    parts.config.max_runs = 1;
    let dead = Liquid::open(parts).unwrap();
    save(&dead, "endless", ENDLESS);
    save(&dead, "readme", README);
    let cut = start(&dead, "endless", json!({"inputs": {"a": 1}}));
    begun(&dead, &cut.id);
    let waiting = start(&dead, "readme", json!({"inputs": {"a": 5, "b": 6, "d": 7}}));
    // The first one is as good as dead: it holds its run while a second one opens.
    let next = open_over(&records, Arc::new(SystemClock));
    let run = next.run(&cut.id).unwrap();
    assert_eq!(
        (run.state, run.nodes[0].state.as_str()),
        (RunState::Interrupted, run.nodes[0].state.as_str())
    );
    assert!(matches!(run.nodes[0].state, NodeState::Interrupted | NodeState::Skipped));
    assert_eq!(next.wait(&waiting.id, LONG).unwrap().outputs["f"], json!(78));
    // When it comes back to life it does not touch what was decided without it.
    assert!(dead.close(LONG));
    assert_eq!(next.run(&cut.id).unwrap().state, RunState::Interrupted);
}

#[test]
fn a_graceful_end_interrupts_what_runs() {
    let liquid = open();
    save(&liquid, "endless", ENDLESS);
    let run = start(&liquid, "endless", json!({"inputs": {"a": 1}}));
    begun(&liquid, &run.id);
    assert!(liquid.close(LONG));
    assert_eq!(liquid.run(&run.id).unwrap().state, RunState::Interrupted);
}

#[test]
fn a_retry_with_the_same_key_starts_no_second_run() {
    let liquid = open();
    save(&liquid, "readme", README);
    let retry = Idempotency { key: "ada/1".into(), request: Digest::of(b"x") };
    let again = || {
        let body = request(json!({"inputs": {"a": 1, "b": 1, "d": 1}}));
        liquid.start(&name("readme"), body, &ada(), Some(&retry)).unwrap().id
    };
    let first = again();
    assert_eq!(first, again());
    assert_eq!(liquid.runs(&RunFilter::default(), None, 10).unwrap().len(), 1);
}

#[test]
fn changes_are_told_in_the_feed_and_in_the_audit() {
    let liquid = open();
    save(&liquid, "readme", README);
    finished(&liquid, "readme", json!({"inputs": {"a": 1, "b": 1, "d": 1}}));
    let events = feed::read(&**liquid.records(), 0, 10).unwrap();
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["pipeline.saved", "run.queued", "run.finished"]);
    assert_eq!(events[2].payload["state"], json!("succeeded"));
    let audit = feed::read_audit(&**liquid.records(), None, 10).unwrap();
    let lines: Vec<_> =
        audit.iter().map(|(_, line)| (line.who.as_str(), line.action.as_str())).collect();
    assert_eq!(lines, [("ada", "run.start"), ("ada", "pipeline.save")]);
}

#[test]
fn hostile_scripts_end_at_their_limit_and_harm_nobody() {
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.fence = Fence { operations: 200_000, time: Duration::from_secs(5), ..Fence::pipeline() };
    let liquid = Liquid::open(parts).unwrap();
    for (body, word) in [
        ("loop { }", "operations"),
        ("f(a)", "deep"),
        ("let s = \"xxxxxxxx\"; loop { s += s; }", "too large"),
        ("let l = [1]; loop { l += l; }", "too large"),
        ("let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }", ""),
        ("throw #{a: 1}", "failed"),
        ("a.b.c", ""),
        ("1 / 0", "zero"),
        ("9223372036854775807 + 1", "overflow"),
        ("|x| x", "cannot be kept"),
        ("[|x| x]", "cannot be kept"),
    ] {
        let source = format!("fn f(a) {{ {body} }} pipeline([node(f, \"a\", \"b\", \"n\")])");
        let run = run_script(&liquid, &source, json!({"inputs": {"a": 1}}));
        assert_eq!(run.state, RunState::Failed, "{body}");
        let error = run.error.unwrap();
        assert!(error.to_lowercase().contains(word), "{body}: {error}");
    }
    // Also when they are only checked.
    for source in [
        "loop { }",
        "fn f() { f() } f()",
        "let p = pipeline([node(|a| a, \"a\", \"b\", \"n\")]); loop { p = p + p; }",
        "let s = \"xxxxxxxx\"; loop { s += s; }",
        "import \"/etc/passwd\" as p; pipeline([])",
    ] {
        assert!(liquid.check(source).unwrap_err().kind().status() < 600, "{source}");
    }
    save(&liquid, "readme", README);
    let run = finished(&liquid, "readme", json!({"inputs": {"a": 5, "b": 6, "d": 7}}));
    assert_eq!(run.outputs["f"], json!(78));
}

#[test]
fn a_node_has_its_own_time_limit() {
    let source = ENDLESS.replace("\"spin\")", "\"spin\", #{timeout: \"100ms\"})");
    let run = run_script(&open(), &source, json!({"inputs": {"a": 1}}));
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.unwrap().contains("100ms"));
}

#[test]
fn deep_inputs_and_outputs_are_carried_or_refused() {
    let liquid = open();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let source = "fn f(a) { a } pipeline([node(f, \"a\", \"b\")])";
    let run = run_script(&liquid, source, json!({"inputs": {"a": deep}}));
    assert_eq!(run.outputs["b"], deep);
    let source = "fn f(a) { for i in 0..1000 { a = [a]; } a } pipeline([node(f, \"a\", \"b\")])";
    let run = run_script(&liquid, source, json!({"inputs": {"a": 1}}));
    assert_eq!(run.state, RunState::Failed, "{run:?}");
}

#[cfg(feature = "table")]
#[test]
fn a_table_goes_from_node_to_node_and_leaves_as_its_size() {
    use drip::kernel::table::{Tables, script};
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.modules = vec![("table".into(), script::module(Arc::new(Tables::new())).into())];
    let liquid = Liquid::open(parts).unwrap();
    let source = r#"
fn make() { table::from_rows([#{x: 1, y: 2}, #{x: 3, y: 4}]) }
fn count(t) { t.len() }
pipeline([node(make, [], "t", "make"), node(count, "t", "n", "count"), node(make, (), "u", "last")])"#;
    let run = run_script(&liquid, source, json!({}));
    assert_eq!(run.error, None);
    let table = json!({"type": "table", "rows": 2, "columns": ["x", "y"]});
    assert_eq!(Value::Object(run.outputs), json!({"n": 2, "u": table}));
}
