//! Runs that go on where they were: after a failure, a crash, a stop; and values taken again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use drip::kernel::clock::ManualClock;
use drip::kernel::records::Scan;
use drip::kernel::script::raise;
use drip::liquid::{NodeState, RunFilter, RunState};
use rhai::{FuncRegistration, Module};
use serde_json::json;

/// What nodes can do to the world of a test: be counted, fail, and wait.
#[derive(Clone, Default)]
struct World {
    calls: Arc<Mutex<Vec<String>>>,
    broken: Arc<AtomicBool>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl World {
    fn module(&self) -> Module {
        let mut module = Module::new();
        let (calls, broken) = (self.calls.clone(), self.broken.clone());
        FuncRegistration::new("mark").set_into_module(&mut module, move |name: &str| {
            calls.lock().unwrap().push(name.to_owned());
        });
        FuncRegistration::new("mend").set_into_module(&mut module, move || {
            if broken.load(Ordering::SeqCst) {
                return Err(raise(drip::kernel::Error::internal("the world is broken")));
            }
            Ok(true)
        });
        let (inside, most) = (self.inside.clone(), self.most.clone());
        FuncRegistration::new("alone").set_into_module(&mut module, move || {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::park_timeout(Duration::from_millis(20));
            inside.fetch_sub(1, Ordering::SeqCst);
        });
        module
    }

    fn open(&self, records: &SharedRecords, clock: Arc<dyn Clock>) -> Liquid {
        let mut parts = Parts::new(records.clone(), clock);
        parts.modules = vec![("world".into(), self.module().into())];
        Liquid::open(parts).unwrap()
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

const CHAIN: &str = r#"
fn one(a) { world::mark("one"); a + 1 }
fn two(b) { world::mark("two"); [b, b * 2] }
fn three(c, d) { world::mark("three"); world::mend(); c + d }
fn four(e, a) { world::mark("four"); e + a }
pipeline([
    node(one, "a", "b", "one"), node(two, "b", ["c", "d"], "two"),
    node(three, ["c", "d"], "e", "three"), node(four, ["e", "a"], "f", "four"),
])"#;

/// The rows that are kept of values.
fn kept(liquid: &Liquid) -> usize {
    liquid.records().scan(&Scan::prefix("run-value/")).unwrap().len()
}

#[test]
fn a_failed_run_goes_on_from_the_nodes_that_are_done() {
    let world = World::default();
    let liquid = world.open(&memory(), Arc::new(SystemClock));
    save(&liquid, "chain", CHAIN);
    world.broken.store(true, Ordering::SeqCst);
    let run = finished(&liquid, "chain", json!({"inputs": {"a": 1}}));
    assert_eq!((run.state, world.calls()), (RunState::Failed, names(&["one", "two", "three"])));
    assert!(kept(&liquid) >= 2, "what the next node takes is kept");
    let again = liquid.resume(&run.id, &ada()).unwrap();
    assert!(!again.state.is_over() || again.resumes == 1);
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!((run.state, run.resumes, world.calls()), (RunState::Failed, 1, names(&["three"])));
    world.broken.store(false, Ordering::SeqCst);
    // A newer revision changes nothing for a run that began with this one.
    save(&liquid, "chain", &CHAIN.replace("c + d", "c - d"));
    liquid.resume(&run.id, &ada()).unwrap();
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!((run.state, &run.outputs["f"], run.revision), (RunState::Succeeded, &json!(7), 1));
    assert_eq!(world.calls(), names(&["three", "four"]));
    assert!(run.nodes.iter().all(|node| node.state == NodeState::Succeeded));
    let tries: Vec<_> = run.nodes.iter().map(|node| node.tries).collect();
    assert_eq!(tries, [1, 1, 3, 1], "each try has a number of its own, over all resumes");
    assert_eq!(run.nodes[1].made["d"], json!({"type": "int", "value": 4}));
    assert_eq!(kept(&liquid), 0, "after success nothing is kept");
    let refused = liquid.resume(&run.id, &ada()).unwrap_err();
    assert_eq!((refused.code(), refused.kind().status()), ("run_not_resumable", 409));
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_value_that_cannot_be_kept_is_made_again_where_it_is_needed() {
    let world = World::default();
    let liquid = world.open(&memory(), Arc::new(SystemClock));
    let source = r#"
fn add(x) { x + 1 }
fn one() { world::mark("one"); 7 }
fn two(n) { world::mark("two"); Fn("add") }
fn three(f, n) { world::mark("three"); world::mend(); f.call(n) }
pipeline([node(one, [], "n", "one"), node(two, "n", "f", "two"), node(three, ["f", "n"], "x", "three")])"#;
    save(&liquid, "script", source);
    world.broken.store(true, Ordering::SeqCst);
    let run = finished(&liquid, "script", json!({}));
    assert_eq!(world.calls(), names(&["one", "two", "three"]));
    world.broken.store(false, Ordering::SeqCst);
    liquid.resume(&run.id, &ada()).unwrap();
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!((run.error, &run.outputs["x"]), (None, &json!(8)));
    assert_eq!(world.calls(), names(&["two", "three"]), "a number is kept, a function is not");
}

#[test]
fn a_cancelled_run_goes_on_and_only_one_attempt_is_alive() {
    let world = World::default();
    let liquid = world.open(&memory(), Arc::new(SystemClock));
    let source = r#"
fn one(a) { world::mark("one"); a }
fn spin(b, turns) { for i in 0..turns { } b }
pipeline([node(one, "a", "b", "one"), node(spin, ["b", "turns"], "c", "spin")])"#;
    save(&liquid, "script", source);
    let run = start(&liquid, "script", json!({"inputs": {"a": 1, "turns": 4_000_000}}));
    until(&liquid, &run.id, |run| run.nodes[0].state == NodeState::Succeeded);
    for _ in 0..3 {
        liquid.cancel(&run.id, &ada()).unwrap();
        over(&liquid, &run.id);
        liquid.resume(&run.id, &ada()).unwrap();
    }
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!((run.state, run.resumes), (RunState::Succeeded, 3), "{run:?}");
    assert_eq!(world.calls(), names(&["one"]));
}

#[test]
fn a_run_that_was_cut_off_goes_on_by_itself_where_its_pipeline_says_so() {
    let (world, records) = (World::default(), memory());
    let dead = world.open(&records, Arc::new(SystemClock));
    let endless = r#"
fn one(a) { world::mark("one"); a }
fn wait(b) { while b < 0 { } b }
fn spin(b) { world::mark("spin"); if !world::mend() { } let n = 0; while n < 60_000_000 { n += 1; } n }
pipeline([node(one, "a", "b", "one"), node(spin, "b", "c", "spin")], #{resume: true})"#;
    save(&dead, "by_itself", endless);
    save(&dead, "not", &endless.replace(", #{resume: true}", ""));
    let goes_on = start(&dead, "by_itself", json!({"inputs": {"a": 1}}));
    let stays = start(&dead, "not", json!({"inputs": {"a": 1}}));
    for run in [&goes_on, &stays] {
        until(&dead, &run.id, |run| run.nodes[0].state == NodeState::Succeeded);
    }
    // The first is as good as dead: what it holds is carried on by the second.
    let next = world.open(&records, Arc::new(SystemClock));
    assert_eq!(next.run(&stays.id).unwrap().state, RunState::Interrupted);
    assert_eq!(next.run(&goes_on.id).unwrap().resumes, 1);
    assert!(dead.close(LONG));
    begun(&next, &goes_on.id);
    assert!(next.close(LONG));
    // A daemon that was asked to end leaves it to the next one as well.
    let last = world.open(&records, Arc::new(SystemClock));
    assert_eq!(last.run(&goes_on.id).unwrap().resumes, 2);
    last.cancel(&goes_on.id, &ada()).unwrap();
    over(&last, &goes_on.id);
    assert!(last.close(LONG));
    assert_eq!(
        world.open(&records, Arc::new(SystemClock)).run(&goes_on.id).unwrap().state,
        RunState::Cancelled
    );
    let ones = world.calls().iter().filter(|name| *name == "one").count();
    assert_eq!(ones, 2, "once for each run");
}

#[test]
fn cached_values_are_taken_again_until_something_changes() {
    let (world, records) = (World::default(), memory());
    let clock = clock_at("2026-03-01T00:00:00Z");
    let liquid = world.open(&records, clock.clone());
    let source = r#"
fn slow(a) { world::mark("slow"); #{v: a * 2, list: [a]} }
fn free(v) { world::mark("free"); v + 1 }
pipeline([node(slow, "a", #{v: "v", list: "l"}, "slow", #{cache: "1h"}), node(free, "v", "w", "free")])"#;
    save(&liquid, "script", source);
    let run = |a: i64| {
        let run = finished(&liquid, "script", json!({"inputs": {"a": a}}));
        assert_eq!((run.error.as_deref(), &run.outputs["w"]), (None, &json!(a * 2 + 1)));
        (run.nodes[0].cached, run.nodes[1].cached, world.calls().len())
    };
    assert_eq!(run(1), (false, false, 2));
    assert_eq!(run(1), (true, false, 1));
    assert_eq!(run(2), (false, false, 2), "another input");
    assert_eq!(run(1), (true, false, 1));
    let eve = Caller::new("eve", Role::Publisher);
    let body = request(json!({"inputs": {"a": 1}}));
    let other = liquid.start(&name("script"), body, &eve, None).unwrap();
    let other = liquid.wait(&other.id, LONG).unwrap();
    assert!(!other.nodes[0].cached, "what one's rights made is not given to another");
    world.calls();
    save(&liquid, "script", &source.replace("a * 2", "2 * a"));
    assert_eq!(run(1), (false, false, 2), "another script");
    clock.advance(Duration::from_hours(1));
    assert_eq!(run(1), (false, false, 2), "too old");
    clock.advance(Duration::from_hours(2));
    liquid.tidy().unwrap();
    assert!(records.scan(&Scan::prefix("cache/")).unwrap().is_empty());
}

#[test]
fn nodes_that_share_a_word_never_run_at_the_same_time() {
    let world = World::default();
    let liquid = world.open(&memory(), Arc::new(SystemClock));
    let node = |n: usize| format!("node(f, \"a\", \"v{n}\", \"n{n}\", #{{concurrency: \"gpu\"}})");
    let nodes: Vec<_> = (0..6).map(node).collect();
    let source = format!("fn f(a) {{ world::alone(); a }} pipeline([{}])", nodes.join(", "));
    save(&liquid, "script", &source);
    let body = json!({"inputs": {"a": 1}, "runner": "parallel"});
    let runs: Vec<_> = (0..2).map(|_| start(&liquid, "script", body.clone()).id).collect();
    for id in runs {
        assert_eq!(liquid.wait(&id, LONG).unwrap().state, RunState::Succeeded);
    }
    assert_eq!(world.most.load(Ordering::SeqCst), 1);
}

#[test]
fn old_runs_go_with_everything_of_theirs_and_young_ones_stay() {
    let records = memory();
    let clock: Arc<ManualClock> = clock_at("2026-03-01T00:00:00Z");
    let mut parts = Parts::new(records.clone(), clock.clone());
    parts.config.retention = Some(Duration::from_hours(48));
    let liquid = Liquid::open(parts).unwrap();
    save(&liquid, "readme", README);
    let old = finished(&liquid, "readme", json!({"inputs": {"a": 1, "b": 1, "d": 1}}));
    save(&liquid, "fails", "fn f(a) { throw a } pipeline([node(f, \"a\", \"b\")])");
    let failed = finished(&liquid, "fails", json!({"inputs": {"a": 1}}));
    clock.advance(Duration::from_hours(24));
    let young = finished(&liquid, "readme", json!({"inputs": {"a": 1, "b": 1, "d": 1}}));
    assert_eq!(liquid.tidy().unwrap(), 0);
    clock.advance(Duration::from_hours(24));
    assert_eq!(liquid.tidy().unwrap(), 2);
    assert!(liquid.run(&old.id).is_err() && liquid.run(&failed.id).is_err());
    let left = liquid.runs(&RunFilter::default(), None, 10).unwrap();
    assert_eq!(left.iter().map(|run| &run.id).collect::<Vec<_>>(), [&young.id]);
    for prefix in ["run/", "run-state/", "run-node/", "run-of/", "run-in/", "run-value/"] {
        let keys = records.scan(&Scan::prefix(prefix)).unwrap();
        assert!(keys.iter().all(|row| row.key.contains(&young.id)), "{prefix}");
    }
}

#[cfg(feature = "table")]
#[test]
fn a_table_is_there_again_after_a_failure() {
    use drip::kernel::table::{Tables, script};
    let world = World::default();
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.modules = vec![
        ("world".into(), world.module().into()),
        ("table".into(), script::module(Arc::new(Tables::new())).into()),
    ];
    let liquid = Liquid::open(parts).unwrap();
    let source = r#"
fn make() { world::mark("make"); table::from_rows([#{x: 1, y: 2.5}, #{x: 3, y: 4.5}]) }
fn sum(t) { world::mend(); let s = 0.0; for row in t.rows() { s += row.x * row.y; } s }
pipeline([node(make, [], "t", "make"), node(sum, "t", "s", "sum")])"#;
    save(&liquid, "script", source);
    world.broken.store(true, Ordering::SeqCst);
    let run = finished(&liquid, "script", json!({}));
    world.broken.store(false, Ordering::SeqCst);
    liquid.resume(&run.id, &ada()).unwrap();
    let run = liquid.wait(&run.id, LONG).unwrap();
    assert_eq!((run.error, &run.outputs["s"]), (None, &json!(16.0)));
    assert_eq!(world.calls(), names(&["make"]));
    assert_eq!(run.nodes[0].made["t"]["rows"], json!(2));
}
