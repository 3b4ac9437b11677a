#![cfg(test)]
//! A server that speaks MongoDB's protocol, with user and password, started from `REAL_VENV`: killed,
//! held, started again. It ends with the tests, also when they do not end well.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::kept::Kept;
use super::pause;

/// The user that may do everything.
pub(crate) const USER: &str = "app";
/// Its password.
pub(crate) const PASSWORD: &str = "s3cret-of-tests";
/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Makes the user: there is no other way in before the server asks for one.
const MAKE_USER: &str = "
import sys, pymongo
admin = pymongo.MongoClient('127.0.0.1', int(sys.argv[1])).admin
admin.command('createUser', sys.argv[2], pwd=sys.argv[3], roles=[{'role': 'root', 'db': 'admin'}])
";

/// A server on a folder of its own. Dropping it ends it.
pub(crate) struct MongoServer {
    venv: PathBuf,
    folder: TempDir,
    port: u16,
    databases: AtomicUsize,
    running: Mutex<Option<Kept>>,
}

/// The one that all tests share who do not harm it: a start takes seconds.
pub(crate) fn shared(venv: &Path) -> &'static MongoServer {
    static SHARED: OnceLock<MongoServer> = OnceLock::new();
    SHARED.get_or_init(|| MongoServer::start(venv))
}

impl MongoServer {
    /// A new server that asks for user and password.
    pub(crate) fn start(venv: &Path) -> Self {
        let server = Self::stopped(venv);
        server.run(&[]);
        let status = Command::new(venv.join("bin/python"))
            .args(["-c", MAKE_USER, &server.port.to_string(), USER, PASSWORD])
            .status()
            .unwrap();
        assert!(status.success(), "no user could be made: {status}");
        server.kill();
        server.start_again();
        server
    }

    /// A new server without replication, as a lone `mongod` is: it has no transactions.
    pub(crate) fn start_standalone(venv: &Path) -> Self {
        let server = Self::stopped(venv);
        server.run(&["--standalone"]);
        server
    }

    fn stopped(venv: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            venv: venv.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            port: free.local_addr().unwrap().port(),
            databases: AtomicUsize::new(0),
            running: Mutex::new(None),
        }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The name of a database that no one has used.
    pub(crate) fn new_database(&self) -> String {
        format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst))
    }

    /// The URL of a database, with user and password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mongodb://{USER}:{PASSWORD}@{}/{database}?authSource=admin", self.address())
    }

    /// `kill -9`, and its end.
    pub(crate) fn kill(&self) {
        let running = self.running.lock().unwrap().take();
        drop(running.expect("it runs"));
    }

    /// Starts it again on what it has.
    pub(crate) fn start_again(&self) {
        self.run(&["--auth"]);
    }

    /// Holds it, as a machine that hangs would: connections stay, nothing answers.
    pub(crate) fn hold(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.lock().unwrap();
        running.as_ref().expect("it runs").signal(signal);
    }

    fn run(&self, flags: &[&str]) {
        let (port, data) = (self.port.to_string(), self.folder.path().join("data"));
        let mut arguments = vec!["--host", "127.0.0.1", "--port", &port, "--storage-path"];
        arguments.push(data.to_str().unwrap());
        arguments.extend(["--sync-on-commit", "--cache-size", "256M", "--log-level", "ERROR"]);
        arguments.extend(flags);
        let mut running = Kept::start(&self.venv, "secantusd-py", arguments, false);
        let start = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            assert!(running.runs(), "the server's keeper ended");
            assert!(start.elapsed() < PATIENCE, "the server does not start");
            pause(Duration::from_millis(50));
        }
        *self.running.lock().unwrap() = Some(running);
    }
}
