#![cfg(test)]
//! `dripctl trajectory …` against a daemon, and what the daemon says of itself.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};

/// What a command says; it must go well.
fn said(home: &Home, daemon: &Daemon, token: &str, arguments: &[&str]) -> String {
    let url = format!("http://{}", daemon.address());
    let mut command = home.dripctl(&["--url", &url]);
    let output = command.args(arguments).env("DRIP_TOKEN", token).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complained}");
    String::from_utf8(output.stdout).unwrap()
}

fn push(daemon: &Daemon, token: &str, lines: &str) {
    let http = daemon.http().with_token(token);
    let kind = Some("application/x-ndjson");
    http.send("POST", "/api/v1/logs", kind, lines.as_bytes()).unwrap().expect(200);
}

#[test]
fn values_are_ranked_and_the_records_around_one_are_shown() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    let line = |n: u32| {
        let turbine = if n.is_multiple_of(3) { "R80711" } else { "R80736" };
        json!({"stream": "wind", "msg": format!("reading {n}"), "turbine": turbine}).to_string()
    };
    let lines = (0..30).map(line).collect::<Vec<_>>().join("\n");
    push(&daemon, &token, &lines);
    let run = |arguments: &[&str]| said(&home, &daemon, &token, arguments);

    let ranked = run(&["trajectory", "values", "turbine", "--stream", "wind"]);
    let first: Vec<Vec<&str>> =
        ranked.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(first[1][..3], ["20", "R80736", "66"], "{ranked}");
    assert_eq!(first[2][..3], ["10", "R80711", "33"], "{ranked}");
    assert!(ranked.contains("2 different values in 30 records"), "{ranked}");
    let none = run(&["trajectory", "values", "nowhere", "--stream", "wind"]);
    assert!(none.contains("no record has the field `nowhere`"), "{none}");

    let found = run(&["trajectory", "query", "\"reading 15\"", "--numbers"]);
    let number = found.split_whitespace().next().unwrap();
    let around = run(&["trajectory", "context", number, "-n", "2", "--alone"]);
    let shown: Vec<_> = around.lines().collect();
    assert_eq!(shown.len(), 5, "{around}");
    for (line, n) in shown.iter().zip(13..) {
        assert!(line.contains(&format!("reading {n} ")), "{line}");
        assert_eq!(line.starts_with('>'), n == 15, "{line}");
    }
    let around = run(&["--json", "trajectory", "context", number, "-n", "1", "--alone"]);
    let around: Value = serde_json::from_str(&around).unwrap();
    assert_eq!(around["items"].as_array().unwrap().len(), 3);
}

/// What is in the stream `drip`, the oldest first.
fn own(daemon: &Daemon, token: &str) -> Vec<Value> {
    let http = daemon.http().with_token(token);
    let path = "/api/v1/logs?stream=drip&order=asc&limit=1000";
    let found = http.get(path).unwrap().expect(200).json();
    found["items"].as_array().unwrap().clone()
}

fn count(records: &[Value], message: &str) -> usize {
    records.iter().filter(|record| record["message"].as_str().unwrap().contains(message)).count()
}

#[test]
fn what_the_daemon_says_of_itself_is_kept_over_its_end() {
    let home = Home::new();
    // Nobody has an account: that is worth a warning, and the end is said as well.
    home.serve().stop();
    home.create_admin();
    let daemon = home.serve();
    let told = own(&daemon, &daemon.make_admin_token());
    assert_eq!(count(&told, "there is no account yet"), 1, "{told:?}");
    assert_eq!(count(&told, "stopping"), 1, "{told:?}");
    let warning = told.iter().find(|record| record["level"] == "WARNING").unwrap();
    assert_eq!(warning["module"], "drip::cli::serve");
    assert!(warning["line"].as_u64().unwrap() > 0);
    assert!(daemon.stop().log.contains("stopping"), "stderr has it too");
}
