//! Nodes that are processes: files in and out, fenced in, ended at their limits and with their run.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::support::daemon::program;
use crate::support::pause;
use drip::liquid::process::{KEEPER, Limits, Processes, Sandbox};
use drip::liquid::{NodeState, RunState};
use serde_json::json;
use tempfile::TempDir;

/// A liquid that may start `sh`, and what its runs logged.
struct Rig {
    liquid: Liquid,
    lines: Arc<Lines>,
    folder: TempDir,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits {
            allow: vec!["sh".into(), "sleep".into()],
            // A kernel without landlock runs these tests, too; what it cannot do is said.
            sandbox: Sandbox::BestEffort,
            ..Limits::default()
        };
        change(&mut limits);
        let keeper = vec![program().into(), KEEPER.into()];
        let processes = Processes::open(limits, folder.path().join("runs"), keeper, None).unwrap();
        let lines = Arc::new(Lines::default());
        let parts = Parts {
            processes: Some(processes),
            log: Some(lines.clone()),
            ..Parts::new(memory(), Arc::new(SystemClock))
        };
        Self { liquid: Liquid::open(parts).unwrap(), lines, folder }
    }

    fn run(&self, source: &str, body: Value) -> Run {
        run_script(&self.liquid, source, body)
    }

    fn said(&self, text: &str) -> bool {
        self.lines.0.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Whether the kernel fences processes in.
    fn is_fenced(&self) -> bool {
        let fenced = self.said("landlock: files, network and signals in full");
        let missing = self.said("the kernel has no") && self.said("landlock");
        if missing {
            println!("SKIPPED in part: this kernel has no landlock in full");
        }
        fenced && !missing
    }

    /// Run directories that are left.
    fn left(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("runs")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// A pipeline of one `sh -c`.
fn sh(script: &str, inputs: &str, outputs: &str, options: &str) -> String {
    format!(
        "pipeline([process([\"sh\", \"-c\", `{script}`], {inputs}, {outputs}, \"one\", {options})])"
    )
}

/// Whether a process with this argument is alive.
fn is_alive(argument: &str) -> bool {
    let all = std::fs::read_dir("/proc").unwrap();
    let mut lines = all.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// A number of seconds that no other test sleeps.
fn odd_sleep() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{}.{:05}", 7000 + NEXT.fetch_add(1, Ordering::SeqCst), std::process::id() % 100_000)
}

#[test]
fn values_go_in_as_files_and_come_back_as_values() {
    let rig = Rig::new(|_| {});
    let script = "set -e; test $DRIP_NODE = one; test -n $DRIP_RUN_ID; test $DRIP_ATTEMPT = 1; test $MODE = fast; \
        echo from stdout; echo from stderr >&2; cp inputs/a.json outputs/b.json; cp inputs/a.json outputs/b2.json; \
        printf 风电 > outputs/text.txt; printf 'x' > $TMPDIR/scratch";
    let source = sh(script, "[\"a\"]", "[\"b\", \"b2\", \"text\"]", "#{env: #{MODE: \"fast\"}}");
    let run = rig.run(&source, json!({"inputs": {"a": {"k": [1, 2.5]}}}));
    assert_eq!(run.error, None);
    let a = json!({"k": [1, 2.5]});
    assert_eq!(Value::Object(run.outputs), json!({"b": a, "b2": a, "text": "风电"}));
    assert!(rig.said("INFO from stdout") && rig.said("WARNING from stderr"));
    assert!(rig.said("INFO the process is fenced in: own session, no orphans, memory"));
    assert!(rig.left().is_empty(), "{:?}", rig.left());
}

#[test]
fn files_may_be_named_and_a_script_may_come_as_one() {
    let rig = Rig::new(|_| {});
    let source = r#"
fn text() { "cat inputs/rows.csv > outputs/out.csv; wc -l < inputs/rows.csv > outputs/count.json" }
fn rows(a) { "x,y\n" + a + ",2\n" }
pipeline([
    node(text, [], "script", "text"), node(rows, "a", "csv", "rows"),
    process(["sh", "inputs/work.sh"], #{"work.sh": "script", "rows.csv": "csv"}, #{"out.csv": "table", "count.json": "n"}, "work"),
])"#;
    let run = rig.run(source, json!({"inputs": {"a": 7}, "outputs": ["table"]}));
    assert_eq!(run.error, None);
    assert_eq!(run.outputs["n"], json!(2));
    #[cfg(feature = "table")]
    assert_eq!(run.outputs["table"], json!({"type": "table", "rows": 1, "columns": ["x", "y"]}));
}

#[test]
fn only_allowed_programs_are_started_and_the_line_is_told() {
    let rig = Rig::new(|_| {});
    let source = "fn f(a) { a }\npipeline([\n  process([\"python3\", \"x.py\"], \"a\", \"b\"),\n  process([], \"a\", \"c\", \"none\"),\n  process([\"sh\"], #{\"../x\": \"a\"}, \"d\", \"e\", #{env: #{DRIP_URL: \"x\"}}),\n])";
    let refused = rig.liquid.check(source).unwrap_err();
    let told: Vec<_> =
        refused.faults().iter().map(|f| format!("{} {}", f.pointer, f.detail)).collect();
    let told = told.join("\n");
    for part in [
        "line 3 `python3`: the program `python3` is not among `[liquid] allow_process` of drip.toml: it names sh, sleep",
        "line 4 `none`: its command names no program",
        "line 5 `e`: `../x` is no name of a file",
        "line 5 `e`: its `env` may not set `DRIP_URL`",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let refused = open().check(&sh("true", "[]", "()", "#{}")).unwrap_err();
    assert!(refused.to_string().contains("it names none"), "{refused}");
    let wrong = Limits { allow: vec!["no-such-program".into()], ..Limits::default() };
    let refused = Processes::open(wrong, rig.folder.path().join("x"), vec![], None).unwrap_err();
    assert_eq!(refused.code(), "no_program");
}

#[test]
fn a_failure_says_the_code_and_the_last_lines_and_is_tried_again() {
    let rig = Rig::new(|_| {});
    let script = "echo attempt $DRIP_ATTEMPT; echo no wind >&2; exit 3";
    let run = rig.run(&sh(script, "[]", "()", "#{retries: 1, backoff: \"10ms\"}"), json!({}));
    let error = run.error.unwrap();
    assert_eq!((run.state, run.nodes[0].tries), (RunState::Failed, 2));
    assert!(error.contains("ended with code 3; it last said: no wind"), "{error}");
    assert!(rig.said("attempt 1") && rig.said("attempt 2"));
    let run = rig.run(&sh("echo {} > outputs/other.json", "[]", "\"model\"", "#{}"), json!({}));
    assert!(run.error.unwrap().contains("it made other.json"));
    let run = rig.run(&sh("kill -9 $$", "[]", "()", "#{}"), json!({}));
    assert!(run.error.unwrap().contains("ended by signal 9"));
    let way = "rm -r outputs; ln -s /etc outputs";
    let run = rig.run(&sh(way, "[]", "\"hostname\"", "#{}"), json!({}));
    assert!(run.error.unwrap().contains("put something else in its place"));
    assert!(rig.left().is_empty());
}

#[test]
fn a_process_sees_nothing_outside_and_changes_nothing() {
    let rig = Rig::new(|_| {});
    let canary = rig.folder.path().join("canary");
    std::fs::write(&canary, "the canary sings").unwrap();
    let outside = rig.folder.path().join("outside");
    let script = format!(
        "cat {0} > outputs/seen.txt; cat /etc/passwd >> outputs/seen.txt; ls {1} >> outputs/seen.txt; ls / >> outputs/seen.txt; \
         echo x > {2}; echo x >> {0}; rm -f {0}; ln -s {0} outputs/link.txt; cat outputs/link.txt >> outputs/seen.txt; \
         env >> outputs/seen.txt; cat /proc/$PPID/environ >> outputs/seen.txt; true",
        canary.display(),
        rig.folder.path().display(),
        outside.display()
    );
    let run = rig.run(&sh(&script, "[]", "\"seen\"", "#{}"), json!({}));
    assert_eq!(run.error, None);
    if !rig.is_fenced() {
        return;
    }
    let seen = run.outputs["seen"].as_str().unwrap();
    for word in ["canary sings", "root:", "canary\n", "etc\n", "CARGO"] {
        assert!(!seen.contains(word), "{word}: {seen}");
    }
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "the canary sings");
    assert!(!outside.exists());
}

#[test]
fn a_process_is_ended_at_its_limits() {
    let odd = odd_sleep();
    let rig = Rig::new(|limits| {
        limits.output = 100_000;
        limits.processes = 20;
        limits.memory = 256 << 20;
        limits.file = 1 << 20;
    });
    for (script, options, word) in [
        (format!("sleep {odd}"), "#{timeout: \"300ms\"}", "took longer than 300ms"),
        ("while :; do echo 0123456789012345678901234567890123456789; done".into(), "#{}", "printed more than 100000 bytes"),
        (format!("while :; do sleep {odd} & done"), "#{}", "too many processes"),
        ("head -c 600000000 /dev/zero | tail -c 500000000 | wc -c; test $(head -c 600000000 /dev/zero | tail -c 500000000 | wc -c) = 500000000".into(), "#{timeout: \"20s\"}", "ended with code 1"),
        ("head -c 5000000 /dev/zero > outputs/b.bin".into(), "#{}", "process"),
    ] {
        let run = rig.run(&sh(&script, "[]", "()", options), json!({}));
        let error = run.error.unwrap_or_default();
        assert!(run.state == RunState::Failed && error.contains(word), "{script}: {error}");
        assert!(!is_alive(&odd), "{script}");
    }
    assert!(rig.left().is_empty());
}

#[test]
fn what_ignores_its_end_and_hides_is_ended_with_its_run() {
    let rig = Rig::new(|_| {});
    let (one, two) = (odd_sleep(), odd_sleep());
    let script = format!(
        "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM; sleep {one}' &); echo ready; sleep {two}; sleep {two}"
    );
    save(&rig.liquid, "script", &sh(&script, "[]", "()", "#{}"));
    let run = start(&rig.liquid, "script", json!({}));
    until_true(|| rig.said("ready") && is_alive(&one) && is_alive(&two));
    rig.liquid.cancel(&run.id, &ada()).unwrap();
    let run = rig.liquid.wait(&run.id, Duration::from_secs(5)).unwrap();
    assert_eq!((run.state, run.nodes[0].state), (RunState::Cancelled, NodeState::Cancelled));
    assert!(!is_alive(&one) && !is_alive(&two));
    // One that ends by itself leaves nothing behind either.
    let script = format!("(setsid sleep {one} &); true");
    let run = rig.run(&sh(&script, "[]", "()", "#{}"), json!({}));
    assert_eq!(run.error, None);
    assert!(!is_alive(&one));
    assert!(rig.left().is_empty());
}

fn until_true(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        pause(Duration::from_millis(10));
    }
    panic!("it did not come so far");
}

#[cfg(feature = "sql")]
#[test]
fn sql_is_a_node_over_tables() {
    use drip::kernel::table::{Tables, script};
    let mut parts = Parts::new(memory(), Arc::new(SystemClock));
    parts.modules = vec![("table".into(), script::module(Arc::new(Tables::new())).into())];
    let liquid = Liquid::open(parts).unwrap();
    let source = r#"
fn readings() { table::from_rows([#{t: "R1", p: 1.0}, #{t: "R2", p: 2.0}, #{t: "R1", p: 5.0}]) }
fn first(best) { best.rows()[0].t }
pipeline([
    node(readings, [], "scada", "readings"),
    sql("select t, avg(p) as p from scada where p > :least group by t order by p desc", ["scada", "least"], "best", "mean"),
    sql("select count(*) as n from x", #{x: "scada"}, "counted"),
    node(first, "best", "name", "first"),
])"#;
    let run = run_script(&liquid, source, json!({"inputs": {"least": 0.5}}));
    assert_eq!(run.error, None);
    assert_eq!(run.outputs["name"], json!("R1"));
    assert_eq!(run.outputs["counted"]["rows"], json!(1));
    let bad = "pipeline([sql(\"select * from nothing\", [], \"x\")])";
    assert!(run_script(&liquid, bad, json!({})).error.unwrap().contains("nothing"));
    assert!(
        liquid
            .check("pipeline([sql(7, [], \"x\")])")
            .unwrap_err()
            .to_string()
            .contains("begins with a text")
    );
}

#[test]
fn the_folder_of_processes_is_tidied_at_the_start() {
    let rig = Rig::new(|_| {});
    let folder = rig.folder.path().join("runs");
    std::fs::create_dir_all(folder.join("left/outputs")).unwrap();
    std::fs::write(folder.join("left/outputs/x"), "x").unwrap();
    let limits = Limits { allow: vec!["sh".into()], ..Limits::default() };
    Processes::open(limits, folder.clone(), vec![], None).unwrap();
    assert!(!Path::new(&folder.join("left")).exists());
}
