//! Scripts that mean harm: each ends at its limit, with the right word, and the process lives.

use std::time::{Duration, Instant};

use rhai::{Dynamic, Module};

use super::hostile_scripts::{DEPTH, FAILED, GROWTH, Hostile, LOOPS, NESTING, SIZE, deep_sources};
use super::*;
use crate::kernel::error::{Error, Result};

/// A fence as an operator has it, with time enough that a slow machine reaches the limit that a
/// script is meant to reach, and few variables.
fn engine() -> ScriptEngine {
    let mut module = Module::new();
    module.set_native_fn("one", || Ok::<i64, Box<rhai::EvalAltResult>>(1));
    let fence = Fence { time: Duration::from_millis(500), variables: 20, ..Fence::operator() };
    ScriptEngine::builder().fence(fence).module("m", module).build().unwrap()
}

fn eval(engine: &ScriptEngine, source: &str) -> Result<Dynamic> {
    let program = engine.compile(source)?;
    engine.eval(&program, Vec::new(), &Call::new().printing_to(|_| {}))
}

fn each_ends(scripts: &[Hostile]) {
    let engine = engine();
    for (name, codes, source) in scripts {
        let before = (Instant::now(), meter::live());
        let ended = eval(&engine, source);
        let took = before.0.elapsed();
        let error = ended.map(|value| value.to_string()).expect_err(name);
        println!("{name}: {} after {took:?}: {error}", error.code());
        assert!(codes.contains(&error.code()), "{name}: {} {error}", error.code());
        assert!(error.detail().len() < 2_000, "{name}");
        let ok = eval(&engine, "m::one() + 1").unwrap();
        assert_eq!(ok.as_int().unwrap(), 2, "the engine goes on after {name}");
    }
}

#[test]
fn scripts_that_do_not_end_are_ended() {
    each_ends(LOOPS);
}

#[test]
fn scripts_that_grow_are_ended() {
    each_ends(GROWTH);
}

#[test]
fn scripts_that_nest_are_ended() {
    each_ends(NESTING);
}

#[test]
fn sources_that_nest_are_refused_or_run_and_never_end_the_process() {
    for fence in [Fence::operator(), Fence::pipeline()] {
        let engine = ScriptEngine::builder().fence(fence).build().unwrap();
        for times in [10, 60, 5_000, 40_000] {
            for (name, source) in deep_sources(times) {
                let ended = eval(&engine, &source).err();
                println!("{times} {name}: {:?}", ended.as_ref().map(Error::code));
                let deep = ["parentheses", "arrays", "blocks", "sums", "closures", "indices"];
                if times >= 5_000 && deep.contains(&name) {
                    assert!(ended.is_some(), "{times} {name}");
                }
                if let Some(error) = ended {
                    let fit =
                        ["script_syntax", DEPTH, SIZE, FAILED, "script_source", "not_a_value"];
                    assert!(fit.contains(&error.code()), "{times} {name}: {error}");
                }
            }
        }
    }
}

#[test]
fn many_nested_parentheses_are_too_deep_and_say_where() {
    let source = format!("let a = 1;\n{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let error = engine().compile(&source).unwrap_err();
    assert_eq!(error.code(), DEPTH);
    assert!(error.faults()[0].pointer.starts_with("line 2, column "), "{error}");
}

/// An engine whose scripts can ask how much of the stack is used, and get nested values for free.
fn probing(fence: Fence) -> ScriptEngine {
    let mut module = Module::new();
    module.set_native_fn("used", || {
        Ok::<_, Box<rhai::EvalAltResult>>(i64::try_from(stack::used()).unwrap())
    });
    module.set_native_fn("nest", |levels: i64| {
        let deep = (0..levels).fold(Dynamic::UNIT, |inner, _| Dynamic::from_array(vec![inner]));
        Ok::<_, Box<rhai::EvalAltResult>>(deep)
    });
    module.set_native_fn("nest_maps", |levels: i64| {
        let deep = (0..levels).fold(Dynamic::UNIT, |inner, _| {
            Dynamic::from_map([("m".into(), inner)].into_iter().collect())
        });
        Ok::<_, Box<rhai::EvalAltResult>>(deep)
    });
    ScriptEngine::builder().fence(fence).global(module).build().unwrap()
}

#[test]
fn the_deepest_calls_leave_half_of_the_stack() {
    for fence in [Fence::operator(), Fence::pipeline()] {
        let expressions = (fence.expressions - 12) / 5;
        let half = i64::try_from(BIG_STACK / 2).unwrap();
        let engine = probing(Fence { array: 10_000, map: 1_000, ..fence.clone() });
        let (open, close) = ("abs([".repeat(expressions), "][0])".repeat(expressions));
        for source in [
            format!("fn f(n) {{ if n > 0 {{ {open} f(n - 1) {close} }} else {{ used() }} }}"),
            format!(
                "fn g(x) {{ {open} f(x - 1) {close} }}
                fn f(n) {{ if n > 0 {{ [n].map(Fn(\"g\"))[0] }} else {{ used() }} }}"
            ),
        ] {
            let program = engine.compile(&source).unwrap();
            let call = Call::new().within(Duration::from_secs(20));
            let used = (1..=fence.calls).rev().find_map(|levels| {
                let levels = Dynamic::from_int(i64::try_from(levels).unwrap());
                engine.call(&program, "f", vec![levels], &call).ok()
            });
            let used = used.unwrap().as_int().unwrap();
            println!("{} KiB of stack", used >> 10);
            assert!(used < half, "{used}");
        }
    }
}

#[test]
fn the_deepest_value_can_be_cloned_measured_compared_printed_and_dropped() {
    let fence = Fence { array: 100_000, map: 20_000, ..Fence::pipeline() };
    let engine = probing(fence.clone());
    let arrays = i64::try_from(fence.array).unwrap() - 2;
    let maps = i64::try_from(fence.map).unwrap() - 2;
    for (value, levels) in [("nest", arrays), ("nest_maps", maps)] {
        for (code, use_of) in [
            (None, "let b = a; let c = b; c = 0; b = 0; a = 0; 1"),
            (None, "const B = a; a = 0; 1"),
            (None, "fn f(x) { 1 } f(a)"),
            (None, "let x = [0]; x[0] = a; 1"),
            (None, "type_of(a); switch a { 1 => 2, _ => 3 }"),
            (Some(SIZE), "[a, a, a]"),
            (Some(DEPTH), "a == a"),
            (Some(DEPTH), "[a, 1].index_of(a)"),
            (Some(DEPTH), "print(a)"),
            (Some(DEPTH), "debug(a)"),
            (Some(DEPTH), "`${a}`"),
            (Some(DEPTH), "\"\" + a"),
            (Some(DEPTH), "a.to_string()"),
            (Some(DEPTH), "#{ a: a }.to_json()"),
            (Some(DEPTH), "a"),
            (Some(FAILED), "throw a"),
            (Some(FAILED), "[1].map(|x| a)"),
            (None, "let f = |x| 1; f.call(a)"),
            (None, "try { throw a } catch (e) { 1 }"),
        ] {
            let source = format!("let a = {value}({levels}); {use_of}");
            let ended = eval(&engine, &source).err();
            println!("{source}: {ended:?}");
            let found = ended.as_ref().map(Error::code);
            assert!(found == code || found == Some(SIZE), "{source}: {ended:?}");
        }
    }
}

/// The largest resident set that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// Started by the next test: other tests in the same process would be measured too.
#[test]
#[ignore = "measures its whole process: run by the_process_stays_small"]
fn alone_with_hostile_scripts() {
    let measure = || {
        let engine = engine();
        let _warm = eval(&engine, "[1, 2].map(|x| `${x}`)").unwrap();
        let (before, live) = (peak(), meter::live());
        for round in 0..2 {
            for (name, _, source) in LOOPS.iter().chain(GROWTH).chain(NESTING) {
                let _ended = eval(&engine, source).unwrap_err();
                let grown = peak() - before;
                assert!(grown <= 64 << 20, "{name}, round {round}: {} MiB", grown >> 20);
            }
        }
        println!("grew by {} MiB", (peak() - before) >> 20);
        meter::live() - live
    };
    // On a marked thread the scripts run on it, so its meter sees what they leave behind: the
    // programs that the engine keeps.
    let kept = on_big_stack(measure).unwrap();
    println!("{} KiB are kept", kept >> 10);
    assert!(kept < 2 << 20, "{kept} bytes are kept");
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_stays_small() {
    let test = format!("{}::alone_with_hostile_scripts", module_path!());
    let test = test.split_once("::").unwrap().1;
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("grew by"), "it did not run: {said}");
    println!("{said}");
}
