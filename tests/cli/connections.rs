#![cfg(test)]
//! Connections to the real daemon: those that stand still are ended, those that are kept go on.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::daemon::{Daemon, Home, PASSWORD};
use crate::support::pause;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A daemon with these lines in its section `server`.
fn serve_with(lines: &str) -> (Home, Daemon) {
    let home = Home::with_admin();
    std::fs::write(home.path().join("drip.toml"), format!("[server]\n{lines}\n")).unwrap();
    let daemon = home.serve();
    (home, daemon)
}

/// A connection that is kept.
struct Line {
    socket: BufReader<TcpStream>,
    host: String,
}

/// What came over a connection that is kept.
#[derive(Debug)]
struct Came {
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

impl Line {
    fn to(daemon: &Daemon) -> Self {
        let socket = TcpStream::connect(daemon.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket: BufReader::new(socket), host: daemon.address().to_owned() }
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.get_ref().write_all(bytes).unwrap();
    }

    /// The head of a request, of whose body `length` bytes are announced.
    fn head(&self, call: &str, token: &str, length: usize, more: &str) {
        let head = format!(
            "{call} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             content-length: {length}\r\n{more}\r\n",
            self.host
        );
        self.send(head.as_bytes());
    }

    /// The next answer, which must say how long it is.
    fn answer(&mut self) -> Came {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.socket.read_line(&mut line).unwrap() > 0, "it ended after {head:?}");
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_ascii_lowercase()),
            }
        }
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.socket.read_exact(&mut body).unwrap();
        let closes = head.iter().any(|line| line == "connection: close");
        Came { status, closes, body }
    }

    /// Waits until the daemon ends it; answers what came before.
    fn end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it is still open: {error}"),
        }
        rest
    }

    /// Whether it is open, with nothing to read.
    fn is_quiet(&self) -> bool {
        let socket = self.socket.get_ref();
        socket.set_nonblocking(true).unwrap();
        let peeked = socket.peek(&mut [0; 1]);
        socket.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn a_connection_that_asks_nothing_is_ended() {
    let (_home, daemon) = serve_with("idle_timeout = \"500ms\"");
    let (mut idle, mut half, mut used) = (Line::to(&daemon), Line::to(&daemon), Line::to(&daemon));
    half.send(b"GET /livez HTTP/1.1\r\nHost: 127");
    used.head("GET /livez", "", 0, "");
    assert_eq!(used.answer().status, 200);
    assert!(idle.end().is_empty() && half.end().is_empty() && used.end().is_empty());
}

#[test]
fn a_body_that_stands_still_is_given_up() {
    let (_home, daemon) = serve_with("stall_timeout = \"500ms\"");
    let token = daemon.login();
    let mut lines = Vec::new();
    for call in ["POST /api/v1/login", "PUT /api/v1/users/eve", "PUT /api/v1/datasets/slow/1"] {
        let line = Line::to(&daemon);
        line.head(call, &token, 1000, "content-type: text/csv\r\n");
        line.send(b"{");
        lines.push(line);
    }
    for line in &mut lines {
        let came = line.answer();
        assert_eq!((came.status, came.closes), (408, true));
        let problem: serde_json::Value = serde_json::from_slice(&came.body).unwrap();
        assert_eq!(problem["code"], "body_stalled");
        assert!(line.end().is_empty());
    }
}

#[test]
fn a_body_that_comes_slowly_is_taken() {
    let (_home, daemon) = serve_with("stall_timeout = \"2s\"");
    let token = daemon.login();
    let mut line = Line::to(&daemon);
    let body = json!({"password": PASSWORD, "role": "viewer"}).to_string();
    let body = body + " ".repeat(2000).as_str();
    line.head("PUT /api/v1/users/ada", &token, body.len(), "");
    for piece in body.as_bytes().chunks(200) {
        line.send(piece);
        pause(Duration::from_millis(300));
    }
    let came = line.answer();
    assert_eq!((came.status, came.closes), (201, false));
}

#[cfg(feature = "atom")]
#[test]
fn datasets_that_stand_still_keep_no_other_from_being_put() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.login();
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let line = Line::to(&daemon);
            line.head("PUT /api/v1/datasets/slow/1", &token, 3 << 20, "content-type: text/csv\r\n");
            line.send(&[b"a,b\n".as_slice(), &b"1,2\n".repeat(400_000)].concat());
            line
        })
        .collect();
    let http = daemon.http().with_token(&token);
    http.send("PUT", "/api/v1/datasets/ok/1", Some("text/csv"), b"a\n1\n").unwrap().expect(201);
    assert!(stalled.iter().all(Line::is_quiet), "they were ended, which proves nothing");
    // What came in pieces, over memory and file, is whole.
    stalled[0].send(&b"3,4\n".repeat(((3 << 20) - 4 - 1_600_000) / 4));
    let mut first = stalled.into_iter().next().unwrap();
    let came = first.answer();
    let info: serde_json::Value = serde_json::from_slice(&came.body).unwrap();
    assert_eq!((came.status, &info["rows"]), (201, &json!((3 << 20) / 4 - 1)));
}

#[cfg(feature = "cask")]
#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let (_home, daemon) = serve_with("stall_timeout = \"1s\"");
    let http = daemon.http().with_token(&daemon.login());
    http.put("/api/v1/buckets/big", &json!({})).unwrap().expect(201);
    let size = 48 << 20;
    let bytes = vec![7; size];
    http.send("PUT", "/api/v1/objects/big/x", None, &bytes).unwrap().expect(201);
    let mut line = Line::to(&daemon);
    line.head("GET /api/v1/objects/big/x", &daemon.login(), 0, "");
    pause(Duration::from_secs(5));
    assert!(line.end().len() < size, "it waited for its reader");
}

#[test]
fn as_many_connections_are_served_as_the_settings_say_and_others_wait() {
    let (_home, daemon) = serve_with("max_connections = 2");
    let (first, _second) = (Line::to(&daemon), Line::to(&daemon));
    first.send(b"GET /livez HT");
    let mut third = Line::to(&daemon);
    third.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    pause(Duration::from_millis(500));
    assert!(third.is_quiet());
    drop(first);
    assert_eq!(third.answer().status, 200);
}

#[test]
fn a_connection_serves_on_after_writes_that_were_refused() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let admin = daemon.login();
    let ada = json!({"password": PASSWORD, "role": "viewer"});
    daemon.http().with_token(&admin).put("/api/v1/users/ada", &ada).unwrap().expect(201);
    let viewer =
        daemon.http().post("/api/v1/login", &json!({"username": "ada", "password": PASSWORD}));
    let viewer = viewer.unwrap().expect(200).json()["token"].as_str().unwrap().to_owned();
    let mut line = Line::to(&daemon);
    let body = vec![b' '; 100 << 10];
    for _ in 0..10 {
        for (call, token, status) in [
            ("PUT /api/v1/users/q", &*viewer, 403),
            ("PUT /api/v1/nothing", &admin, 404),
            ("PUT /api/v1/users", &admin, 405),
            ("PUT /api/v1/users/q", "drip_wrong", 401),
            ("PUT /api/v1/users/bad%20name", &admin, 422),
            #[cfg(feature = "atom")]
            ("PUT /api/v1/datasets/x/1", &admin, 415),
        ] {
            line.head(call, token, body.len(), "");
            line.send(&body);
            let came = line.answer();
            assert!(!came.closes, "{call}: {came:?}");
            // What is wrong with a name may be found before or after the body was read.
            let either = status == 422 && came.status == 400;
            assert!(came.status == status || either, "{call}: {came:?}");
        }
    }
    line.head("GET /api/v1/whoami", &viewer, 0, "");
    let came = line.answer();
    assert_eq!((came.status, came.closes), (200, false));
}

#[test]
fn a_refusal_that_ends_the_connection_says_so_and_arrives() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.login();
    let large = vec![b' '; 24 << 20];
    let mut line = Line::to(&daemon);
    line.head("PUT /api/v1/nothing", &token, large.len(), "");
    line.send(&large);
    let came = line.answer();
    assert_eq!((came.status, came.closes), (404, true));
    assert!(line.end().is_empty());
    // Who asks before sending is answered without having sent.
    let mut asking = Line::to(&daemon);
    asking.head("PUT /api/v1/nothing", &token, 1000, "expect: 100-continue\r\n");
    let came = asking.answer();
    assert_eq!((came.status, came.closes), (404, true));
}

#[cfg(feature = "trajectory")]
#[test]
fn a_stream_of_events_outlives_the_deadlines() {
    let (_home, daemon) = serve_with("idle_timeout = \"300ms\"\nstall_timeout = \"300ms\"");
    let token = daemon.login();
    let mut line = Line::to(&daemon);
    line.head("GET /api/v1/logs/tail", &token, 0, "");
    pause(Duration::from_secs(1));
    let http = daemon.http().with_token(&token);
    let posted = b"{\"message\": \"after a while\"}\n";
    http.send("POST", "/api/v1/logs", Some("application/x-ndjson"), posted).unwrap().expect(200);
    let mut said = String::new();
    while !said.contains("after a while") {
        assert!(line.socket.read_line(&mut said).unwrap() > 0, "it was cut: {said}");
    }
}
