#![cfg(test)]
//! A receiver of pushes that behaves as it is told: takes them, refuses, hangs, is slow, hangs up, or
//! is not there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::super::PATIENCE;

/// How it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// Answers with this status at once.
    Answers(u16),
    /// The same with a header of its own.
    Says(u16, &'static str, String),
    /// Takes the request and answers nothing until it behaves otherwise.
    Hangs,
    /// Takes its time, then answers 200.
    IsSlow(Duration),
    /// Closes the connection without an answer.
    HangsUp,
}

/// A request that came wholly.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// The status that was answered; none when there was no answer.
    pub(super) answered: Option<u16>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let same = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn number(&self) -> u64 {
        self.json()["number"].as_u64().unwrap()
    }

    /// Whether the signature is the one that the interface describes.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let Some((time, mac)) = self
            .header("drip-signature")
            .and_then(|text| text.strip_prefix("t="))
            .and_then(|text| text.split_once(",v1="))
        else {
            return false;
        };
        let mut expected = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        expected.update(format!("{time}.{}", self.body).as_bytes());
        let expected = expected.finalize().into_bytes();
        mac == drip::kernel::name::hex(&expected) && time.parse::<u64>().is_ok()
    }
}

struct State {
    mode: Mode,
    seen: Vec<Seen>,
    /// Rises when it goes away: connections of before are closed.
    life: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The receiver. Dropping it makes it go away.
pub(super) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(super) fn new(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { mode, seen: Vec::new(), life: 0 };
        let mut receiver = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }),
            thread: None,
        };
        receiver.accept(listener);
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn behave(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
    }

    /// Nothing listens at its port any more, and its connections are closed.
    pub(super) fn go_away(&mut self) {
        self.shared.lock().life += 1;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Whoever waits for a connection is given one.
            drop(TcpStream::connect(self.address));
            thread.join().unwrap();
        }
    }

    pub(super) fn come_back(&mut self) {
        self.accept(TcpListener::bind(self.address).unwrap());
    }

    fn accept(&mut self, listener: TcpListener) {
        let shared = self.shared.clone();
        let life = shared.lock().life;
        self.thread = Some(std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if shared.lock().life != life {
                    return;
                }
                let shared = shared.clone();
                std::thread::spawn(move || serve(socket, &shared, life));
            }
        }));
    }

    /// Every request so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// The numbers of the changes that it took, repeats included.
    pub(super) fn taken(&self) -> Vec<u64> {
        taken(&self.shared.lock().seen)
    }

    /// Waits until what it has seen is enough.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) {
        let state = self.shared.lock();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !enough(&state.seen))
            .unwrap();
        let numbers = taken(&state.seen);
        assert!(!waited.timed_out(), "waited in vain for {what}; it took {numbers:?}");
    }

    /// Waits until it took this change.
    #[track_caller]
    pub(super) fn wait_taken(&self, number: u64) {
        self.wait(&format!("change {number}"), |seen| taken(seen).contains(&number));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn taken(seen: &[Seen]) -> Vec<u64> {
    let is_taken = |seen: &&Seen| seen.answered.is_some_and(|status| (200..300).contains(&status));
    seen.iter().filter(is_taken).map(Seen::number).collect()
}

/// Serves one connection, request by request.
fn serve(mut socket: TcpStream, shared: &Shared, life: u64) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = Vec::new();
    loop {
        let Some(mut seen) = next_request(&mut socket, &mut bytes, shared, life) else {
            return;
        };
        let mode = shared.lock().mode.clone();
        let (status, header) = match &mode {
            Mode::Answers(status) => (Some(*status), String::new()),
            Mode::Says(status, name, value) => (Some(*status), format!("{name}: {value}\r\n")),
            Mode::IsSlow(time) => {
                let state = shared.lock();
                let unless = |state: &mut State| state.life == life;
                drop(shared.changed.wait_timeout_while(state, *time, unless).unwrap());
                (Some(200), String::new())
            }
            Mode::Hangs | Mode::HangsUp => (None, String::new()),
        };
        seen.answered = status;
        shared.lock().seen.push(seen);
        shared.changed.notify_all();
        let Some(status) = status else {
            if mode == Mode::Hangs {
                let state = shared.lock();
                let hangs = |state: &mut State| state.mode == Mode::Hangs && state.life == life;
                drop(shared.changed.wait_timeout_while(state, PATIENCE, hangs).unwrap());
            }
            return;
        };
        let answer = format!("HTTP/1.1 {status} Said\r\n{header}content-length: 2\r\n\r\nok");
        // Whoever asked may have gone.
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next whole request; none when the connection or the receiver is at its end.
fn next_request(
    socket: &mut TcpStream,
    bytes: &mut Vec<u8>,
    shared: &Shared,
    life: u64,
) -> Option<Seen> {
    loop {
        if let Some((seen, length)) = parse(bytes) {
            bytes.drain(..length);
            return Some(seen);
        }
        if shared.lock().life != life {
            return None;
        }
        let mut piece = [0; 8192];
        match socket.read(&mut piece) {
            Ok(0) => return None,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {}
                _ => return None,
            },
        }
    }
}

/// A request and how many bytes it has, if it is there wholly.
fn parse(bytes: &[u8]) -> Option<(Seen, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("POST /hook HTTP/1.1"));
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { headers, body: String::new(), answered: None };
    let length: usize = seen.header("content-length").unwrap().parse().unwrap();
    let body = bytes.get(end + 4..end + 4 + length)?;
    seen.body = std::str::from_utf8(body).unwrap().to_owned();
    Some((seen, end + 4 + length))
}
