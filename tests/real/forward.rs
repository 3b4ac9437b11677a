#![cfg(test)]
//! Logs that go on to MongoDB as Drip 0.1 wrote them, and logs of 0.1 that are taken in from there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;
use crate::support::mongo::{self, MongoServer};
use crate::support::{pause, real_venv};

/// Every document of a collection in the order of its ids, as Python's own driver reads it.
const READ: &str = "
import json, sys, pymongo
url, database, collection = sys.argv[1:]
found = pymongo.MongoClient(url)[database][collection].find().sort('_id', 1)
print(json.dumps([{**one, '_id': str(one['_id'])} for one in found]))
";

/// What 0.1's handler left: lines in local time, one of them no line at all; and something else.
const WRITE: &str = "
import sys, pymongo
url, database = sys.argv[1:]
db = pymongo.MongoClient(url)[database]
lines = [
    {'filename': 'train.py', 'lineno': n, 'module': 'train', 'msg': f'第 {n} 轮', 'levelname': ['INFO', 'WARNING'][n % 2],
     'time': f'2022-05-30 {n // 60:02}:{n % 60:02}:00.{n % 1000:03}'}
    for n in range(1440)
]
lines.insert(700, {'filename': 'x', 'lineno': 1, 'module': 'x', 'msg': 'x', 'levelname': 'LOUD', 'time': 'yesterday'})
db['wind logs'].insert_many(lines)
db['algorithm_info'].insert_one({'name': 'no line'})
";

fn python(venv: &Path, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(venv.join("bin/python"))
        .args(["-B", "-c", script])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python: {complained}");
    String::from_utf8(output.stdout).unwrap()
}

fn documents(venv: &Path, server: &MongoServer, database: &str, name: &str) -> Vec<Value> {
    let read = python(venv, READ, &[&server.url(database), database, name]);
    serde_json::from_str(&read).unwrap()
}

/// Waits until a stream says that it is forwarded to its last record.
fn wait_forwarded(http: &Http, stream: &str, records: u64) -> Value {
    let start = Instant::now();
    loop {
        let told = http.get(&format!("/api/v1/streams/{stream}")).unwrap().expect(200).json();
        if told["forwarded"]["error"].is_null() && told["forwarded"]["records"] == json!(records) {
            return told;
        }
        assert!(start.elapsed() < Duration::from_secs(90), "{told}");
        pause(Duration::from_millis(100));
    }
}

fn log(http: &Http, stream: &str, range: std::ops::Range<u64>) {
    let records: Vec<Value> = range
        .map(|n| json!({"stream": stream, "level": "WARNING", "message": format!("record {n}"), "file": "a.py", "line": n, "module": "a", "n": n}))
        .collect();
    let kept = http.post("/api/v1/logs", &json!(records)).unwrap().expect(200).json();
    assert_eq!(kept["accepted"], json!(records.len()));
}

fn settings(home: &Home, server: &MongoServer, database: &str) {
    home.settings(&format!("[trajectory]\nforward = \"{}\"\n", server.url(database)));
}

fn http(daemon: &Daemon) -> Http {
    daemon.http().with_token(&daemon.make_admin_token())
}

/// The numbers in the messages, in the order in which the documents are.
fn numbers(documents: &[Value]) -> Vec<u64> {
    let number =
        |one: &Value| one["msg"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    documents.iter().map(number).collect()
}

#[test]
fn a_stream_is_forwarded_in_order_over_every_end() {
    let Some(venv) = real_venv("forward") else { return };
    let server = MongoServer::start(&venv);
    let database = server.new_database();
    let home = Home::with_admin();
    let daemon = home.serve();
    let refused = http(&daemon).put("/api/v1/streams/wind", &json!({"forward": "logs"})).unwrap();
    let refused = refused.expect(422).json();
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("drip.toml"), "{refused}");
    daemon.stop();

    settings(&home, &server, &database);
    let daemon = home.serve();
    let client = http(&daemon);
    log(&client, "wind", 0..700);
    log(&client, "other", 0..10);
    let set = json!({"forward": "logs", "retention": "30d"});
    let set = client.put("/api/v1/streams/wind", &set).unwrap().expect(201).json();
    assert_eq!(set["forward"], json!("logs"));
    wait_forwarded(&client, "wind", 700);
    let found = documents(&venv, &server, &database, "logs");
    assert_eq!(numbers(&found), (0..700).collect::<Vec<_>>());
    let first = &found[0];
    assert_eq!(
        (&first["filename"], &first["lineno"], &first["module"], &first["levelname"]),
        (&json!("a.py"), &json!(0), &json!("a"), &json!("WARNING")),
        "{first}"
    );
    assert_eq!(first["fields"], json!({"n": 0}));
    let time = first["time"].as_str().unwrap();
    assert!(time.len() == 23 && time.as_bytes()[10] == b' ', "{time}");

    // The server goes away under load, and the daemon with it; both come back.
    server.kill();
    log(&client, "wind", 700..1400);
    pause(Duration::from_secs(2));
    let copy = home.copy();
    daemon.kill();
    server.start_again();
    let daemon = home.serve();
    let client = http(&daemon);
    wait_forwarded(&client, "wind", 700);
    for round in 0..3 {
        log(&client, "wind", 1400 + round * 200..1600 + round * 200);
        daemon_pause(round);
    }
    wait_forwarded(&client, "wind", 1300);
    let found = documents(&venv, &server, &database, "logs");
    assert_eq!(numbers(&found), (0..2000).collect::<Vec<_>>(), "once and in order");
    daemon.stop();

    // A folder from before goes its own way under numbers that were given: nothing is taken for sent.
    settings(&copy, &server, &database);
    let daemon = copy.serve();
    let client = http(&daemon);
    wait_forwarded(&client, "wind", 700);
    log(&client, "wind", 5000..5100);
    wait_forwarded(&client, "wind", 800);
    let mut found = numbers(&documents(&venv, &server, &database, "logs"));
    found.sort_unstable();
    assert_eq!(found, (0..2000).chain(5000..5100).collect::<Vec<_>>());
}

/// Rounds of forwarding fall between the batches, differently each time.
fn daemon_pause(round: u64) {
    pause(Duration::from_millis(150 * round));
}

#[test]
fn a_server_that_is_away_holds_up_nobody_and_is_told() {
    let Some(venv) = real_venv("forward") else { return };
    let server = MongoServer::start(&venv);
    let home = Home::with_admin();
    settings(&home, &server, "away");
    server.hold();
    let daemon = home.serve();
    let client = http(&daemon);
    client.put("/api/v1/streams/wind", &json!({"forward": "drip.logs"})).unwrap().expect(201);
    log(&client, "wind", 0..100);
    let ended = {
        pause(Duration::from_secs(1));
        log(&client, "wind", 100..200);
        let start = Instant::now();
        daemon.stop();
        start.elapsed()
    };
    assert!(ended < Duration::from_secs(8), "the end waited for MongoDB: {ended:?}");
    server.go_on();
    let daemon = home.serve();
    let client = http(&daemon);
    wait_forwarded(&client, "wind", 200);
    assert_eq!(documents(&venv, &server, "drip", "logs").len(), 200);
    server.kill();
    log(&client, "wind", 200..300);
    let start = Instant::now();
    loop {
        let told = client.get("/api/v1/streams/wind").unwrap().expect(200).json();
        if let Some(error) = told["forwarded"]["error"].as_str() {
            assert!(!error.contains(mongo::PASSWORD), "{error}");
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{told}");
        pause(Duration::from_millis(200));
    }
}

/// Runs `dripctl trajectory import` against a daemon; its report.
fn import(home: &Home, daemon: &Daemon, client: &Http, more: &[&str]) -> Value {
    let address = format!("http://{}", daemon.address());
    let token = client.token().unwrap();
    let words = ["--url", &address, "--token", token, "--json", "trajectory", "import"];
    let output = home.run(&[&words[..], more].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!format!("{said}{complained}").contains(mongo::PASSWORD), "{said}{complained}");
    serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}\n{complained}"))
}

/// What became of the documents of a report's only collection.
fn counts(report: &Value) -> [u64; 4] {
    let rows = report["collections"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "cards are no lines: {report}");
    ["read", "taken", "already_there", "rejected"].map(|name| rows[0][name].as_u64().unwrap())
}

#[test]
fn logs_of_01_are_taken_in_once() {
    let Some(venv) = real_venv("forward") else { return };
    let server = mongo::shared(&venv);
    let database = server.new_database();
    let url = server.url(&database);
    python(&venv, WRITE, &[&url, &database]);
    let home = Home::with_admin();
    settings(&home, server, &database);
    let daemon = home.serve();
    let client = http(&daemon);
    let zone = [url.as_str(), "--timezone", "Asia/Shanghai"];
    let dry = import(&home, &daemon, &client, &[&zone[..], &["--dry-run"]].concat());
    assert_eq!(counts(&dry), [1441, 1440, 0, 1], "{dry}");
    assert!(dry["rejected"][0]["reason"].as_str().unwrap().contains("time"), "{dry}");
    client.get("/api/v1/streams/wind%20logs").unwrap().expect(404);
    assert_eq!(counts(&import(&home, &daemon, &client, &zone)), [1441, 1440, 0, 1]);
    assert_eq!(counts(&import(&home, &daemon, &client, &zone)), [1441, 0, 1440, 1]);
    let seventh = "/api/v1/logs?stream=wind%20logs&q=%22%E7%AC%AC%207%20%E8%BD%AE%22";
    let found = client.get(seventh).unwrap().expect(200).json();
    let record = &found["items"][0];
    assert_eq!(
        (&record["time"], &record["level"], &record["message"], &record["file"], &record["line"]),
        (
            &json!("2022-05-29T16:07:00.007000Z"),
            &json!("WARNING"),
            &json!("第 7 轮"),
            &json!("train.py"),
            &json!(7)
        ),
        "{record}"
    );

    // Forwarded from here and taken in elsewhere, the records are the same.
    let set = client.put("/api/v1/streams/wind%20logs", &json!({"forward": "back"})).unwrap();
    set.expect(201);
    wait_forwarded(&client, "wind%20logs", 1440);
    let other = Home::with_admin();
    let other_daemon = other.serve();
    let other_client = http(&other_daemon);
    let back = [url.as_str(), "--collection", "back"];
    let report = import(&other, &other_daemon, &other_client, &back);
    assert_eq!(counts(&report), [1440, 1440, 0, 0]);
    assert_eq!(all(&other_client), all(&client));
}

/// Every record of the stream, but for where it is from and its number.
fn all(client: &Http) -> Vec<Value> {
    let mut cursor = String::new();
    let mut all = Vec::new();
    loop {
        let path = format!("/api/v1/logs?stream=wind%20logs&order=asc&limit=1000{cursor}");
        let page = client.get(&path).unwrap().expect(200).json();
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for record in &mut all {
        for field in ["imported_from", "imported_id"] {
            record["fields"].as_object_mut().unwrap().remove(field);
        }
        record.as_object_mut().unwrap().remove("seq");
    }
    all
}
