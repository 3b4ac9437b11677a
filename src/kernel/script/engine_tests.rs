//! What the engine does for those who mean well.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, FnPtr, Module, NativeCallContext};
use serde_json::{Value, json};

use super::*;
use crate::kernel::error::{Error, Fault, Kind, Result};

fn engine() -> ScriptEngine {
    ScriptEngine::builder().build().unwrap()
}

fn eval(engine: &ScriptEngine, source: &str) -> Result<Value> {
    let program = engine.compile(source)?;
    from_dynamic(&engine.eval(&program, Vec::new(), &Call::new())?)
}

fn said(source: &str) -> Value {
    eval(&engine(), source).unwrap()
}

fn fails(source: &str) -> Error {
    eval(&engine(), source).unwrap_err()
}

#[test]
fn a_script_sees_its_variables_and_answers_its_last_value() {
    let engine = engine();
    let program = engine.compile("rows.map(|row| row.power * factor)").unwrap();
    let rows = to_dynamic(&json!([{ "power": 2 }, { "power": 3.5 }]));
    let variables = vec![("rows".into(), rows), ("factor".into(), Dynamic::from_int(2))];
    let answer = engine.eval(&program, variables, &Call::new()).unwrap();
    assert_eq!(from_dynamic(&answer).unwrap(), json!([4, 7.0]));
}

#[test]
fn a_function_is_called_without_running_the_top_level() {
    let engine = engine();
    let program = engine.compile("throw \"top\"; fn f(a, b) { a + b * 2 + 1 }").unwrap();
    let arguments = vec![Dynamic::from_int(1), Dynamic::from_int(2)];
    let answer = engine.call(&program, "f", arguments, &Call::new()).unwrap();
    assert_eq!(answer.as_int().unwrap(), 6);
}

#[test]
fn many_rows_answer_one_by_one_and_a_bad_one_fails_alone() {
    let engine = engine();
    let program = engine.compile("fn f(x) { if x == 2 { throw \"two\" } else { x * x } }").unwrap();
    let rows = (0..4).map(|x| vec![Dynamic::from_int(x)]);
    let answers = engine.call_many(&program, "f", rows, &Call::new()).unwrap();
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map(|value| value.as_int().unwrap()).map_err(|e| e.code()))
        .collect();
    assert_eq!(answers, [Ok(0), Ok(1), Err("script_failed"), Ok(9)]);
}

#[test]
fn each_of_many_rows_has_operations_of_its_own() {
    let engine = engine();
    let program = engine.compile("fn f(n) { let s = 0; for i in 0..n { s += i } s }").unwrap();
    let rows = [10_000, 1_000_000, 10_000].map(|n| vec![Dynamic::from_int(n)]);
    let answers = engine.call_many(&program, "f", rows, &Call::new().operations(60_000)).unwrap();
    let codes: Vec<_> = answers.iter().map(|a| a.as_ref().err().map(Error::code)).collect();
    assert_eq!(codes, [None, Some("script_operations"), None]);
}

#[test]
fn the_functions_of_a_program_are_listed_with_their_parameters() {
    let program = engine().compile("fn b(x, y) { x } private fn a() { [1].map(|v| v) }").unwrap();
    let listed: Vec<_> = program.functions().iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["a()", "b(x, y)"]);
    assert!(program.function("a").unwrap().private);
    assert!(program.function("c").is_none());
}

#[test]
fn an_unknown_function_is_told_with_what_there_is() {
    let engine = engine();
    let program = engine.compile("fn density(t, p) { t }").unwrap();
    let call = |name: &str, count: usize| {
        let arguments = vec![Dynamic::UNIT; count];
        engine.call(&program, name, arguments, &Call::new()).unwrap_err()
    };
    assert!(call("densty", 2).detail().contains("did you mean `density`?"));
    assert!(call("density", 1).detail().contains("`density(t, p)` takes 2"));
    assert!(call("other", 0).detail().contains("it has density(t, p)"));
    assert_eq!(call("other", 0).code(), "script_no_function");
}

#[test]
fn a_source_that_does_not_parse_has_line_and_column() {
    let error = fails("let a = 1;\nlet b = ;\n");
    assert_eq!((error.kind(), error.code()), (Kind::Invalid, "script_syntax"));
    assert_eq!(error.faults()[0].pointer, "line 2, column 9");
    assert!(!error.faults()[0].detail.is_empty());
}

#[test]
fn a_failure_names_the_function_the_line_and_the_column() {
    let error = fails("fn inner(x) {\n  x / 0\n}\nfn outer(x) { inner(x) }\nouter(1)");
    assert_eq!((error.kind(), error.code()), (Kind::Invalid, "script_failed"));
    assert_eq!(error.faults()[0].pointer, "line 2, column 5");
    assert!(error.faults()[0].detail.starts_with("in `inner`: "), "{error}");
    let error = fails("[1].map(|x| x.y.z)");
    assert!(error.faults()[0].detail.starts_with("in a closure: "), "{error}");
}

#[test]
fn what_a_script_throws_is_told_in_its_words() {
    assert_eq!(fails("throw \"no wind\"").detail(), "the script failed: no wind");
    assert_eq!(
        fails("throw #{ message: \"no wind\", code: 3 }").detail(),
        "the script failed: no wind"
    );
    assert_eq!(fails("throw [1, 2]").detail(), "the script failed: [1,2]");
    assert!(fails("throw \"x\".to_chars()").detail().len() < 100);
    let long = fails("let s = \"x\"; s.pad(100000, \"x\"); throw s");
    assert!(long.detail().len() < 2_000);
}

fn raising() -> Module {
    let mut module = Module::new();
    let fail = |context: NativeCallContext<'_>| -> std::result::Result<(), Box<EvalAltResult>> {
        let faults = vec![Fault::new("/stage", "is missing")];
        let error = Error::new(Kind::NotFound, "card_not_found", "no card `a`").with_faults(faults);
        Err(raise_at(&context, error.retry_after(Duration::from_secs(3))))
    };
    module.set_native_fn("get", fail);
    module.set_native_fn("panic", || -> std::result::Result<i64, Box<EvalAltResult>> {
        panic!("a native function is broken")
    });
    module
}

#[test]
fn an_error_of_a_native_function_comes_back_as_it_was() {
    let engine = ScriptEngine::builder().module("fiche", raising()).build().unwrap();
    for source in [
        "fn f() { fiche::get() }\nf()",
        "try { fiche::get() } catch (e) { throw e }",
        "import \"fiche\" as f; f::get()",
    ] {
        let error = eval(&engine, source).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::NotFound, "card_not_found"), "{source}");
        assert_eq!(error.detail(), "no card `a`");
        assert_eq!(error.wait(), Some(Duration::from_secs(3)));
        assert_eq!(error.faults()[0], Fault::new("/stage", "is missing"));
        assert!(error.faults()[1].pointer.starts_with("line "), "{error}");
    }
    let caught = "let r = 0; try { fiche::get() } catch (e) {
        r = [e.code, e.message, e.status, \"\" + e] } r";
    let expected =
        json!(["card_not_found", "no card `a`", 404, "no card `a`\n  /stage: is missing"]);
    assert_eq!(eval(&engine, caught).unwrap(), expected);
}

#[test]
fn a_panic_of_a_native_function_is_an_internal_error_and_the_engine_goes_on() {
    let engine = ScriptEngine::builder().module("fiche", raising()).build().unwrap();
    let error = eval(&engine, "let a = [1]; a.push(fiche::panic()); a").unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.detail().contains("a native function is broken"), "{error}");
    assert_eq!(eval(&engine, "1 + 1").unwrap(), json!(2));
}

#[test]
fn import_finds_registered_modules_only() {
    let engine = ScriptEngine::builder().module("fiche", raising()).build().unwrap();
    assert_eq!(eval(&engine, "import \"fiche\" as f; 1").unwrap(), json!(1));
    for source in ["import \"Cargo\" as c;", "import \"/etc/passwd\" as c;"] {
        let error = eval(&engine, source).unwrap_err();
        assert!(error.detail().contains("Module not found"), "{error}");
    }
}

#[test]
fn a_native_function_reads_the_tag_of_its_call() {
    let mut module = Module::new();
    module.set_native_fn("run", || {
        Ok::<_, Box<EvalAltResult>>(
            tag().and_then(|tag| tag.into_string().ok()).unwrap_or_default(),
        )
    });
    let engine = ScriptEngine::builder().global(module).build().unwrap();
    let program = engine.compile("fn f() { [1].map(|x| run()) } f()").unwrap();
    let call = Call::new().tagged("run-7".into());
    let answer = engine.eval(&program, Vec::new(), &call).unwrap();
    assert_eq!(from_dynamic(&answer).unwrap(), json!(["run-7"]));
    let answer = engine.call(&program, "f", Vec::new(), &call).unwrap();
    assert_eq!(from_dynamic(&answer).unwrap(), json!(["run-7"]));
    let answer = engine.eval(&program, Vec::new(), &Call::new()).unwrap();
    assert_eq!(from_dynamic(&answer).unwrap(), json!([""]));
}

#[test]
fn a_call_within_a_call_counts_for_both_and_keeps_the_tighter_limit() {
    let inner = Arc::new(engine());
    let program = inner.compile("fn f(n) { for i in 0..n { } tagged() }").unwrap();
    assert!(inner.call(&program, "f", vec![Dynamic::from_int(1)], &Call::new()).is_err());
    let program = inner.compile("fn f(n) { let s = 0; for i in 0..n { s += 1 } s }").unwrap();
    let mut module = Module::new();
    let shared = Arc::clone(&inner);
    module.set_native_fn("inner", move |n: i64| {
        let arguments = vec![Dynamic::from_int(n)];
        let call = Call::new().operations(u64::MAX).within(Duration::from_mins(1));
        shared.call(&program, "f", arguments, &call).map_err(raise)
    });
    let outer = ScriptEngine::builder().global(module).build().unwrap();
    assert_eq!(eval(&outer, "inner(100) + inner(200)").unwrap(), json!(300));
    let ended = eval(&outer, "inner(10000000)").unwrap_err();
    assert!(["script_operations", "script_timeout"].contains(&ended.code()), "{ended}");
    let caught = "let n = 0; loop { try { inner(100000) } catch { n += 1 } }";
    let ended = eval(&outer, caught).unwrap_err();
    assert!(["script_operations", "script_timeout"].contains(&ended.code()), "{ended}");
}

#[test]
fn calls_within_calls_without_end_are_too_deep() {
    let slot: Arc<Mutex<Option<Arc<ScriptEngine>>>> = Arc::default();
    let mut module = Module::new();
    let own = Arc::clone(&slot);
    module.set_native_fn("again", move || {
        let engine = own.lock().unwrap().clone().unwrap();
        let program = engine.compile("again()").map_err(raise)?;
        engine.eval(&program, Vec::new(), &Call::new()).map_err(raise)
    });
    let engine = Arc::new(ScriptEngine::builder().global(module).build().unwrap());
    *slot.lock().unwrap() = Some(Arc::clone(&engine));
    assert_eq!(eval(&engine, "again()").unwrap_err().code(), "script_depth");
    *slot.lock().unwrap() = None;
}

#[test]
fn a_cancelled_call_ends() {
    let flag = Arc::new(AtomicBool::new(true));
    let engine = engine();
    let program = engine.compile("let n = 0;\nloop { n += 1 }").unwrap();
    let error = engine
        .eval(&program, Vec::new(), &Call::new().cancelled_by(Arc::clone(&flag)))
        .unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Conflict, "script_cancelled"));
    assert!(error.faults()[0].pointer.starts_with("line "), "{error}");
}

#[test]
fn print_and_debug_go_to_the_sink_up_to_their_limit() {
    type Lines = Vec<(String, Option<usize>)>;
    let lines: Arc<Mutex<Lines>> = Arc::default();
    let kept = Arc::clone(&lines);
    let call = Call::new().printing_to(move |printed| {
        kept.lock().unwrap().push((printed.text.to_owned(), printed.line));
    });
    let engine = engine();
    let program = engine.compile("print(\"a\");\ndebug([1, \"b\", #{ c: 1.0 }]);").unwrap();
    let _ = engine.eval(&program, Vec::new(), &call).unwrap();
    let expected = [("a".to_owned(), None), ("[1, \"b\", #{\"c\": 1.0}]".to_owned(), Some(2))];
    assert_eq!(*lines.lock().unwrap(), expected);
    lines.lock().unwrap().clear();
    let program = engine.compile("for i in 0..2000 { print(\"é\".len() + `${i} é`.to_upper()) }");
    let loud = engine.compile("let s = \"é\"; s.pad(3000, 'é'); for i in 0..100 { print(s) }");
    let _ = engine.eval(&program.unwrap(), Vec::new(), &call).unwrap();
    lines.lock().unwrap().clear();
    let _ = engine.eval(&loud.unwrap(), Vec::new(), &call).unwrap();
    let lines = lines.lock().unwrap();
    let bytes: usize = lines.iter().map(|(text, _)| text.len()).sum();
    assert!(bytes < engine.fence().printed + 100, "{bytes}");
    assert!(lines.last().unwrap().0.contains("no more is printed"));
}

#[test]
fn a_program_is_parsed_once_and_old_ones_are_forgotten() {
    let engine = engine();
    let first = engine.compile("1").unwrap();
    assert!(Arc::ptr_eq(&first, &engine.compile("1").unwrap()));
    for number in 0..600 {
        engine.compile(&number.to_string()).unwrap();
    }
    assert_eq!(engine.kept(), 256);
    assert!(!Arc::ptr_eq(&first, &engine.compile("1").unwrap()));
    assert_eq!(first.digest(), crate::kernel::name::Digest::of(b"1"));
}

#[test]
fn a_closure_gets_a_copy_that_it_may_read_and_not_change() {
    assert_eq!(said("let k = 3; let f = |x| x * k; k = 100; f.call(2)"), json!(6));
    assert_eq!(said("let k = [1, 2]; [1, 5].filter(|x| x in k)"), json!([1]));
    assert_eq!(said("let m = #{ a: 1 }; [1].map(|x| m.a + x)"), json!([2]));
    assert_eq!(said("let k = 2; [1].map(|x| [x].map(|y| y * k))"), json!([[2]]));
    assert_eq!(said("const K = 5; [1].map(|x| x * K)"), json!([5]));
    assert_eq!(said("fn f(k) { [1, 2].map(|x| x + k) } f(10)"), json!([11, 12]));
    let twice = "let k = [3, 4]; [1].map(|x| { let c = k; k.map(|y| y + c.len()) })";
    assert_eq!(said(twice), json!([[5, 6]]));
    let race = fails("let k = [3, 4]; [1].map(|x| k.map(|y| y + k.len()))");
    assert!(race.detail().contains("give the inner closure a copy"), "{race}");
    assert_eq!(said("for i in 0..2 { let f = |x| x + i; print(f.call(1)); } 1"), json!(1));
    assert!(fails("let n = 0; [1].for_each(|x| n += x); n").detail().contains("constant"));
    let lost = fails("let a = []; [1].for_each(|x| a.push(x)); a");
    assert!(lost.detail().contains("constant"), "{lost}");
}

#[test]
fn a_closure_that_was_handed_out_can_be_called() {
    let engine = engine();
    let program = engine.compile("let k = 4; [|x| x * k, |x| x + 1]").unwrap();
    let answer = engine.eval(&program, Vec::new(), &Call::new()).unwrap();
    let pointers: Vec<FnPtr> =
        answer.into_array().unwrap().into_iter().map(Dynamic::cast::<FnPtr>).collect();
    let answers: Vec<_> = pointers
        .iter()
        .map(|pointer| engine.call_pointer(&program, pointer, vec![5.into()], &Call::new()))
        .map(|answer| answer.unwrap().as_int().unwrap())
        .collect();
    assert_eq!(answers, [20, 6]);
}

#[test]
fn mathematics_takes_integers_and_floats_as_they_come() {
    for (source, expected) in [
        ("max(1, 2.5)", json!(2.5)),
        ("min(1, 2)", json!(1)),
        ("clamp(5, 1, 3)", json!(3)),
        ("clamp(0.5, 1, 3)", json!(1.0)),
        ("sqrt(9)", json!(3.0)),
        ("pow(2, 10)", json!(1024.0)),
        ("log10(1000)", json!(3.0)),
        ("ln(exp(1))", json!(1.0)),
        ("hypot(3, 4.0)", json!(5.0)),
        ("atan2(0, 1)", json!(0.0)),
        ("degrees(PI())", json!(180.0)),
        ("radians(180) == PI()", json!(true)),
        ("floor(2.7) + ceil(2.2) + round(2.5)", json!(8.0)),
        ("floor(7)", json!(7)),
        ("round(2.345, 2)", json!(2.35)),
        ("is_nan(1) || is_nan(0.0 / 0.0)", json!(true)),
        ("abs(-3) + abs(-1.5)", json!(4.5)),
        ("parse_json(`{\"a\": [1, 2.0, null]}`)", json!({ "a": [1, 2.0, null] })),
        ("#{ a: [1, \"x\"] }.to_json()", json!("{\"a\":[1,\"x\"]}")),
        ("\"a,b,,c\".split(\",\")", json!(["a", "b", "", "c"])),
        ("let s = \"banana\"; s.replace(\"an\", \"-\"); s", json!("b--a")),
        ("[1, [2.0, \"a\"]] == [1, [2, \"a\"]]", json!(true)),
        ("#{ a: [1] } != #{ a: [2] }", json!(true)),
        ("`${[1, 'c', ()]}`", json!("[1, 'c', ()]")),
    ] {
        assert_eq!(said(source), expected, "{source}");
    }
    assert_eq!(fails("clamp(1, 3, 2)").code(), "script_failed");
}

#[test]
fn what_is_not_data_does_not_leave() {
    assert_eq!(fails("|x| x").code(), "not_a_value");
    assert_eq!(fails("let a = []; for i in 0..200 { a = [a] } a").code(), "script_depth");
}

#[test]
fn threads_share_an_engine_and_do_not_disturb_each_other() {
    let count = Arc::new(AtomicU32::new(0));
    let engine = engine();
    let program =
        engine.compile("fn f(n) { let a = []; for i in 0..n { a.push(`${i}`) } a.len() }").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, program, count) = (&engine, &program, Arc::clone(&count));
            scope.spawn(move || {
                let rows = (0..50).map(|row| vec![Dynamic::from_int(row * (thread + 1) % 97)]);
                for answer in engine.call_many(program, "f", rows, &Call::new()).unwrap() {
                    let _ = answer.unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 200);
}

#[test]
fn a_native_function_can_call_back_what_the_script_gave_it() {
    let mut module = Module::new();
    let twice = |context: NativeCallContext<'_>, f: FnPtr, x: i64| {
        let once: i64 = f.call_within_context(&context, (x,))?;
        f.call_within_context::<i64>(&context, (once,))
    };
    module.set_native_fn("twice", twice);
    let engine = ScriptEngine::builder().global(module).build().unwrap();
    assert_eq!(eval(&engine, "let k = 3; twice(|x| x * k, 2)").unwrap(), json!(18));
}

/// Which thread a script runs on, and with which tag.
fn whereabouts() -> Module {
    let mut module = Module::new();
    module.set_native_fn("here", || {
        let thread: Dynamic = format!("{:?}", std::thread::current().id()).into();
        Ok::<_, Box<EvalAltResult>>(vec![thread, tag().unwrap_or_default()])
    });
    module
}

#[test]
fn a_call_that_needs_more_stack_takes_its_watch_along_and_back() {
    let wide = Fence { array: 100_000, ..Fence::operator() };
    let inner = ScriptEngine::builder().fence(wide).global(whereabouts()).build().unwrap();
    let program = inner.compile("fn f(n) { for i in 0..n { } here() }").unwrap();
    let mut module = whereabouts();
    module.set_native_fn("inner", move |n: i64| {
        inner.call(&program, "f", vec![n.into()], &Call::new()).map_err(raise)
    });
    let outer = ScriptEngine::builder().global(module).build().unwrap();
    let call = Call::new().tagged("run-7".into()).within(Duration::from_secs(20));
    let run = |source: &str| {
        let program = outer.compile(source).unwrap();
        outer.eval(&program, Vec::new(), &call).and_then(|answer| from_dynamic(&answer))
    };
    let said = run("[here(), inner(1), here()]").unwrap();
    assert_eq!(said[0], said[2]);
    assert_ne!(said[0][0], said[1][0], "the inner call needs a larger stack");
    assert_eq!(said[1][1], json!("run-7"));
    assert_eq!(run("inner(20000); 1").unwrap(), json!(1));
    let ended = run("loop { try { inner(20000) } catch { } }").unwrap_err();
    assert_eq!(ended.code(), "script_operations", "what the inner call uses counts for the outer");
}
