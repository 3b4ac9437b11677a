#![cfg(test)]
//! Two daemons on one database, and one whose database goes away.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;
use crate::support::mongo::{MongoServer, PASSWORD, shared};
use crate::support::{pause, real_venv};

/// How soon another daemon's card must be found by a search, on a busy machine.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// A daemon whose cards are in a database.
struct Node {
    home: Home,
    daemon: Daemon,
    http: Http,
}

impl Node {
    fn start(url: &str) -> Self {
        let home = Home::with_admin();
        std::fs::write(home.path().join("url"), url).unwrap();
        std::fs::write(home.path().join("drip.toml"), "[fiche]\nrecords_file = \"url\"\n").unwrap();
        let daemon = home.serve();
        let http = daemon.http().with_token(&daemon.make_admin_token());
        Self { home, daemon, http }
    }

    fn save(&self, name: &str, summary: &str) -> u64 {
        let body = json!({"summary": summary});
        let answer = self.http.put(&format!("/api/v1/cards/model/{name}/1"), &body).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        answer.json()["revision"].as_u64().unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.http.get(&format!("/api/v1{path}")).unwrap().expect(200).json()
    }

    /// The names that a search finds, sorted.
    fn find(&self, q: &str) -> Vec<String> {
        let found = self.get(&format!("/cards?limit=500&q={q}"));
        let name = |hit: &Value| hit["card"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = found["items"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    }

    /// Waits until a search finds so many; answers how long it took.
    fn wait_found(&self, q: &str, count: usize) -> Duration {
        let start = Instant::now();
        // Where the database was away, the search may say so a moment longer than the cards do.
        let is_back = || self.http.get("/api/v1/cards?limit=1").unwrap().status != 503;
        while !is_back() || self.find(q).len() != count {
            assert!(start.elapsed() < FOUND_WITHIN, "{q}: {:?}, not {count}", self.find(q));
            pause(Duration::from_millis(20));
        }
        start.elapsed()
    }

    /// Number and card of each change.
    fn changes(&self) -> Vec<(u64, String)> {
        let page = self.get("/changes?limit=500");
        let of = |change: &Value| {
            let name = change["card"]["name"].as_str().unwrap().to_owned();
            (change["number"].as_u64().unwrap(), name)
        };
        page["items"].as_array().unwrap().iter().map(of).collect()
    }

    /// The stream of changes, from now on.
    fn listen(&self, token: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.daemon.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let address = self.daemon.address();
        let request = format!(
            "GET /api/v1/changes/stream HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        assert!(heard(&mut socket, "200 OK"), "the stream does not begin");
        socket
    }
}

/// Reads until `word` comes.
fn heard(socket: &mut TcpStream, word: &str) -> bool {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(word) {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(read) => text.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
    true
}

fn two(venv: &Path) -> [Node; 2] {
    let server = shared(venv);
    let url = server.url(&server.new_database());
    [Node::start(&url), Node::start(&url)]
}

#[test]
fn two_daemons_find_each_others_cards() {
    let Some(venv) = real_venv("mongo") else { return };
    let [a, b] = two(&venv);
    let mut stream = b.listen(&b.daemon.make_admin_token());
    a.save("wind-power", "功率预测 of turbines");
    assert_eq!(b.get("/cards/model/wind-power/1")["summary"], "功率预测 of turbines");
    println!("found by a search after {:?}", b.wait_found("turbines", 1));
    assert!(heard(&mut stream, "wind-power"), "the stream does not tell of it");
    assert_eq!(b.save("wind-power", "of solar panels"), 2);
    a.wait_found("solar", 1);
    a.wait_found("turbines", 0);
    let history = a.get("/cards/model/wind-power/1/history");
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    assert_eq!(a.get("/cards/model")["items"].as_array().unwrap().len(), 1);
    let gone = b.http.delete("/api/v1/cards/model/wind-power/1").unwrap();
    assert_eq!(gone.status, 204);
    assert_eq!(a.http.get("/api/v1/cards/model/wind-power/1").unwrap().status, 404);
    a.wait_found("solar", 0);
    for node in [a, b] {
        assert!(!node.daemon.log().contains(PASSWORD), "{}", node.daemon.log());
        assert!(node.daemon.stop().status.success());
    }
}

#[test]
fn two_daemons_write_one_feed_without_gaps() {
    const WRITERS: usize = 3;
    const EACH: usize = 12;
    let Some(venv) = real_venv("mongo") else { return };
    let nodes = two(&venv);
    std::thread::scope(|scope| {
        for (at, node) in nodes.iter().enumerate() {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    for n in 0..EACH {
                        node.save(&format!("card-{at}-{writer}-{n}"), "written together");
                    }
                });
            }
        }
    });
    let count = 2 * WRITERS * EACH;
    let changes = nodes[0].changes();
    assert_eq!(changes, nodes[1].changes(), "both tell the same");
    let numbers: Vec<_> = changes.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=count as u64).collect::<Vec<_>>());
    for node in &nodes {
        node.wait_found("together", count);
    }
    assert_eq!(nodes[0].find("together"), nodes[1].find("together"));
}

#[test]
fn a_daemon_whose_database_goes_away_says_so_and_goes_on_when_it_is_back() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = MongoServer::start(&venv);
    let node = Node::start(&server.url("cards"));
    node.save("before", "kept");
    server.kill();
    let start = Instant::now();
    let refused = node.http.put("/api/v1/cards/model/lost/1", &json!({"summary": "x"})).unwrap();
    println!("refused after {:?}: {}", start.elapsed(), refused.text());
    let refused = refused.expect(503);
    assert!(refused.json()["detail"].as_str().unwrap().contains(&server.address()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let ready = node.http.get("/readyz").unwrap().expect(503);
    let why = ready.json()["stores"]["fiche"].as_str().unwrap().to_owned();
    assert!(why.contains("MongoDB at") && !why.contains(PASSWORD), "{why}");
    server.start_again();
    let start = Instant::now();
    while node.http.get("/readyz").unwrap().status != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "not ready again");
        pause(Duration::from_millis(50));
    }
    node.save("after", "kept, too");
    assert_eq!(node.http.get("/api/v1/cards/model/lost/1").unwrap().status, 404);
    // The index is opened again within a second.
    let start = Instant::now();
    while node.http.get("/api/v1/cards?q=kept").unwrap().status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "no search again");
        pause(Duration::from_millis(50));
    }
    node.wait_found("kept", 2);
    let shown = node.home.run(&["config", "show"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("fiche.records") && !shown.contains(PASSWORD), "{shown}");
    let ended = node.daemon.stop();
    assert!(ended.status.success() && !ended.log.contains(PASSWORD), "{ended:?}");
    server.kill();
    let start = Instant::now();
    let ended = node.home.run(&["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(said.contains("is it running") && !said.contains(PASSWORD), "{said}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}
