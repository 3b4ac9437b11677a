#![cfg(test)]
//! A server that speaks MongoDB's protocol, with user and password, started from `REAL_VENV`: killed,
//! held, started again. It ends with the tests, also when they do not end well.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::pause;

/// The user that may do everything.
pub(crate) const USER: &str = "app";
/// Its password.
pub(crate) const PASSWORD: &str = "s3cret-of-tests";
/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts the server and ends it when its own input ends, which is when the tests are gone. A static
/// is never dropped, so the tests themselves could not.
const KEEPER: &str = "
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
server.kill()
server.wait()
";

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
    running: Mutex<Option<Running>>,
}

struct Running {
    keeper: Child,
    input: Option<ChildStdin>,
    pid: Pid,
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
        // Its keeper has not waited for it, so its id is still its own.
        kill_process(running.as_ref().expect("it runs").pid, signal).unwrap();
    }

    fn run(&self, flags: &[&str]) {
        let mut keeper = Command::new(self.venv.join("bin/python"))
            .args(["-c", KEEPER])
            .arg(self.venv.join("bin/secantusd-py"))
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--storage-path"])
            .arg(self.folder.path().join("data"))
            .args(["--sync-on-commit", "--cache-size", "256M", "--log-level", "ERROR"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = keeper.stdin.take();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        let mut running = Running { keeper, input, pid };
        let start = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            assert_eq!(running.keeper.try_wait().unwrap(), None, "the server's keeper ended");
            assert!(start.elapsed() < PATIENCE, "the server does not start");
            pause(Duration::from_millis(50));
        }
        *self.running.lock().unwrap() = Some(running);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A server that is held would not end by anything less; the keeper reaps it.
        let _gone = kill_process(self.pid, Signal::KILL);
        drop(self.input.take());
        let _reaped = self.keeper.wait();
    }
}
