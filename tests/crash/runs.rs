#![cfg(test)]
//! Runs under `kill -9`: ten nodes in parallel, started by a schedule every second. No slot is lost or
//! fired twice, no run stays behind, and no node that was known as done is run again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;
use crate::support::rng::Rng;
use crate::support::{number_from_env, pause};

/// How long the last runs may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A node of a run.
type Place = (String, String);

/// How long the process of a run sleeps: nothing else on the machine does just so.
const SLEEP: &str = "0.2407";

/// One node, eight that take its value, one that takes theirs; each leaves a mark in the log. One of
/// the eight is a process.
fn pipeline() -> String {
    let body = |name: &str| {
        format!(
            "log::info(\"mark\", #{{node: \"{name}\"}}); let n = 0; while n < 60_000 {{ n += 1; }}"
        )
    };
    let mut script = format!("fn first(a) {{ {} a }}\n", body("first"));
    let mut nodes = vec!["node(first, \"a\", \"v\", \"first\")".to_owned()];
    for n in 1..8 {
        let name = format!("middle{n}");
        writeln!(script, "fn {name}(v) {{ {} v + {n} }}", body(&name)).unwrap();
        nodes.push(format!("node({name}, \"v\", \"m{n}\", \"{name}\")"));
    }
    let work = format!("echo mark; sleep {SLEEP}; cp inputs/v.json outputs/m0.json");
    nodes.push(format!("process([\"sh\", \"-c\", \"{work}\"], \"v\", \"m0\", \"middle0\")"));
    let names: Vec<_> = (0..8).map(|n| format!("m{n}")).collect();
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let (taken, sum) = (names.join(", "), names.join(" + "));
    writeln!(script, "fn last({taken}) {{ {} {sum} }}", body("last")).unwrap();
    nodes.push(format!("node(last, [{}], \"sum\", \"last\")", quoted.join(", ")));
    format!("{script}pipeline([{}], #{{resume: true}})", nodes.join(", "))
}

/// The runs whose process is alive just now, one entry for each that sleeps.
fn alive() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap();
    let run = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let line = std::fs::read(path.join("cmdline")).ok()?;
        if line != format!("sleep\0{SLEEP}\0").as_bytes() {
            return None;
        }
        let environ = std::fs::read(path.join("environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ).into_owned();
        environ.split('\0').find_map(|pair| Some(pair.strip_prefix("DRIP_RUN_ID=")?.to_owned()))
    };
    all.filter_map(run).collect()
}

/// Looks again and again whether two attempts of one run are alive; answers how many were seen.
fn look_for_twins(over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut seen, mut twins) = (BTreeSet::new(), Vec::new());
    while !over.load(Ordering::SeqCst) {
        let mut now = alive();
        now.sort();
        twins.extend(now.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()));
        seen.extend(now);
        pause(Duration::from_millis(5));
    }
    (seen.len(), twins)
}

fn http(daemon: &Daemon) -> Http {
    daemon.http().with_token(&daemon.make_admin_token())
}

/// Every run, the newest first; nothing when the daemon is gone.
fn runs(http: &Http, query: &str) -> Option<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = http.get(&format!("/api/v1/runs?limit=200{query}{cursor}")).ok()?;
        let mut page = answer.expect(200).json();
        items.append(page["items"].as_array_mut()?);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(items),
        }
    }
}

/// How often each node of a run left its mark.
fn marks(http: &Http, run: &str) -> Option<BTreeMap<String, usize>> {
    let answer = http.get(&format!("/api/v1/logs?limit=1000&q=mark&run_id={run}")).ok()?;
    let mut counts = BTreeMap::new();
    for record in answer.expect(200).json()["items"].as_array()? {
        let node = record["fields"]["node"].as_str()?.to_owned();
        *counts.entry(node).or_default() += 1;
    }
    Some(counts)
}

/// Notes which nodes are known as done, and how often they had run by then.
fn watch(http: &Http, known: &mut BTreeMap<Place, usize>) -> Option<()> {
    let answer = http.get("/api/v1/runs?limit=4").ok()?;
    let newest = answer.expect(200).json();
    for run in newest["items"].as_array()? {
        let id = run["id"].as_str()?;
        let counts = marks(http, id)?;
        for node in run["nodes"].as_array()?.iter().filter(|node| node["state"] == "succeeded") {
            let name = node["name"].as_str()?.to_owned();
            let count = counts.get(&name).copied().unwrap_or(0);
            known.entry((id.to_owned(), name)).or_insert(count);
        }
    }
    Some(())
}

#[test]
fn a_pipeline_under_a_schedule_finishes_what_it_started() {
    let seed = Rng::seed_from_env("CRASH_SEED");
    let mut rng = Rng::new(seed);
    let home = Home::with_admin();
    home.settings("[liquid]\nallow_process = [\"sh\"]\nsandbox = \"best-effort\"\n");
    let over = Arc::new(AtomicBool::new(false));
    let twins = std::thread::spawn({
        let over = over.clone();
        move || look_for_twins(&over)
    });
    let cycles = number_from_env("CRASH_CYCLES", 3);
    let mut known = BTreeMap::new();
    for cycle in 0..cycles {
        let daemon = home.serve();
        let client = http(&daemon);
        if cycle == 0 {
            set_up(&client);
        }
        let life = Duration::from_millis(if cycle == 0 { 2500 } else { rng.below(1800) as u64 });
        std::thread::scope(|scope| {
            let known = &mut known;
            scope.spawn(move || while watch(&client, known).is_some() {});
            pause(life);
            daemon.kill_now();
        });
        daemon.ended();
    }
    let daemon = home.serve();
    let client = http(&daemon);
    let all = wait_for_all(&client);
    let mut broken = check(&client, &all, &known);
    over.store(true, Ordering::SeqCst);
    let (seen, twins) = twins.join().unwrap();
    broken.extend(twins.iter().map(|run| format!("two attempts of {run} were alive")));
    broken.extend(alive().iter().map(|run| format!("a process of {run} was left")));
    let resumed = all.iter().filter(|run| run["resumes"] != json!(0)).count();
    println!(
        "{cycles} cycles: {} runs, {resumed} of them resumed, {} nodes seen as done, {seen} processes",
        all.len(),
        known.len()
    );
    assert!(known.len() > 10, "next to nothing was seen: {}", known.len());
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
}

fn set_up(client: &Http) {
    client.put("/api/v1/pipelines/ten", &json!({"source": pipeline()})).unwrap().expect(201);
    let schedule = json!({
        "pipeline": "ten", "cron": "* * * * * *", "inputs": {"a": 1}, "catchup": "all",
        "catchup_window": "1h", "catchup_max": 1000, "overlap": {"allow": 1000}, "runner": "parallel",
    });
    client.put("/api/v1/schedules/every_second", &schedule).unwrap().expect(201);
}

/// Stops the schedule and waits until no run is left that is not over.
fn wait_for_all(client: &Http) -> Vec<Value> {
    client.delete("/api/v1/schedules/every_second").unwrap().expect(204);
    let start = Instant::now();
    loop {
        let all = runs(client, "").unwrap();
        let open = |run: &&Value| matches!(run["state"].as_str(), Some("queued" | "running"));
        let open = all.iter().filter(open).count();
        if open == 0 {
            return all;
        }
        assert!(start.elapsed() < PATIENCE, "{open} runs are not over");
        pause(Duration::from_millis(200));
    }
}

/// What must hold; each broken promise as a sentence.
fn check(client: &Http, all: &[Value], known: &BTreeMap<Place, usize>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut slots = BTreeSet::new();
    for run in all {
        let (id, slot) = (run["id"].as_str().unwrap(), run["scheduled_at"].as_str().unwrap());
        if !slots.insert(slot.to_owned()) {
            broken.push(format!("the slot {slot} has two runs"));
        }
        if run["state"] != "succeeded" || run["outputs"]["sum"] != json!(36) {
            broken.push(format!("{id} ended otherwise: {} {}", run["state"], run["error"]));
        }
        let counts = marks(client, id).unwrap();
        for node in run["nodes"].as_array().unwrap() {
            let name = node["name"].as_str().unwrap();
            let count = counts.get(name).copied().unwrap_or(0);
            if count == 0 {
                broken.push(format!("{id}: {name} is done and never ran"));
            }
            let before = known.get(&(id.to_owned(), name.to_owned()));
            if before.is_some_and(|before| *before != count) {
                broken
                    .push(format!("{id}: {name} was done after {before:?} and ran again: {count}"));
            }
        }
    }
    let seconds: Vec<i64> = slots
        .iter()
        .map(|slot| drip::kernel::clock::Time::parse(slot).unwrap().0 / 1_000_000)
        .collect();
    for pair in seconds.windows(2) {
        if pair[1] != pair[0] + 1 {
            broken.push(format!("slots are missing between {} and {}", pair[0], pair[1]));
        }
    }
    broken
}
