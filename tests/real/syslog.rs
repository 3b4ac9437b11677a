#![cfg(test)]
//! Syslog over UDP, as `logger` sends it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::Home;
use crate::support::pause;

#[test]
fn what_logger_sends_is_found() {
    let home = Home::with_admin();
    // A free port, as far as one can know.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    home.settings(&format!("[trajectory.syslog]\nlisten = \"127.0.0.1:{port}\"\n"));
    let daemon = home.serve();
    let http = daemon.http().with_token(&daemon.make_admin_token());
    let found = || -> Vec<Value> {
        let mut page =
            http.get("/api/v1/logs?stream=pitch&order=asc&limit=1000").unwrap().expect(200).json();
        std::mem::take(page["items"].as_array_mut().unwrap())
    };
    let wanted = if let Ok(status) = Command::new("logger")
        .args([
            "-d",
            "-n",
            "127.0.0.1",
            "-P",
            &port.to_string(),
            "-t",
            "pitch",
            "-p",
            "local0.warning",
            "blade hot",
        ])
        .status()
    {
        assert!(status.success());
        1
    } else {
        println!("SKIPPED real::syslog: there is no `logger` here");
        0
    };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..50 {
        let line = format!("<11>Oct 11 22:14:15 mast pitch[7]: line {number}");
        socket.send_to(line.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
    for _ in 0..200 {
        if found().len() >= wanted + 50 {
            break;
        }
        pause(Duration::from_millis(50));
    }
    let all = found();
    assert_eq!(all.len(), wanted + 50);
    if wanted == 1 {
        let first = all.iter().find(|one| one["message"] == "blade hot").unwrap();
        assert_eq!(
            (&first["level"], &first["fields"]["facility"]),
            (&"WARNING".into(), &"local0".into())
        );
    }
    let numbered: Vec<_> = all
        .iter()
        .filter_map(|one| one["message"].as_str().unwrap().strip_prefix("line "))
        .collect();
    assert_eq!(numbered, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    daemon.stop();
}
