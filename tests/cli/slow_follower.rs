#![cfg(test)]
//! A follower of the log that stops reading costs nobody anything but its own gap.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::Home;

/// More than a follower may be behind.
const RECORDS: u64 = 260_000;

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_follower_that_stops_reading_costs_nothing_but_its_own_gap() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    let http = daemon.http().with_token(&token);
    let mut follower = TcpStream::connect(daemon.address()).unwrap();
    follower.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(
        follower,
        "GET /api/v1/logs/tail?stream=many HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
        daemon.address()
    )
    .unwrap();
    let mut lines = BufReader::new(follower).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("200"));
    // It has been answered, and reads no more while all of this comes in.
    let before = resident(daemon.pid());
    for first in (0..RECORDS).step_by(10_000) {
        let line = |n: u64| {
            json!({"msg": format!("record {n} {}", "x".repeat(60)), "stream": "many"}).to_string()
        };
        let body = (first..first + 10_000).map(line).collect::<Vec<_>>().join("\n");
        let answer =
            http.send("POST", "/api/v1/logs", Some("application/x-ndjson"), body.as_bytes());
        answer.unwrap().expect(200);
    }
    let grown = resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 150, "the daemon holds {grown} MiB more");
    let (mut seen, mut skipped, mut is_gap) = (0_u64, 0_u64, false);
    for line in lines {
        if line.starts_with("event: gap") {
            is_gap = true;
        } else if let Some(data) =
            line.strip_prefix("data: ").or_else(|| line.strip_prefix("data:"))
        {
            let data: Value = serde_json::from_str(data).unwrap();
            if std::mem::take(&mut is_gap) {
                skipped += data["skipped"].as_u64().unwrap();
            } else {
                seen += 1;
            }
            if seen + skipped >= RECORDS {
                break;
            }
        }
    }
    assert!(skipped > 0 && seen > 0, "{seen} seen, {skipped} skipped");
    daemon.stop();
}
