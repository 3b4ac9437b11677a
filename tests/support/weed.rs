#![cfg(test)]
//! A distributed S3 store, SeaweedFS, started from `REAL_VENV`: killed, held, started again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::Http;
use super::kept::Kept;
use super::pause;
use super::sigv4::S3;

/// The pair of keys that may do everything.
pub(crate) const PAIR: (&str, &str) = ("weed-access", "weed-secret-of-tests");
/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// So many ports behind the first one are the server's, too.
const PORTS: u16 = 15;

/// A server on a folder of its own. Dropping it ends it.
pub(crate) struct Weed {
    venv: PathBuf,
    folder: TempDir,
    port: u16,
    buckets: AtomicUsize,
    running: Mutex<Option<Kept>>,
}

/// The one that all tests share who do not harm it: a start takes seconds.
pub(crate) fn shared(venv: &Path) -> &'static Weed {
    static SHARED: OnceLock<Weed> = OnceLock::new();
    SHARED.get_or_init(|| Weed::start(venv))
}

/// The first of so many ports in a row that nobody has.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if first < u16::MAX - PORTS && (first..first + PORTS).all(is_free) {
            return first;
        }
    }
}

impl Weed {
    pub(crate) fn start(venv: &Path) -> Self {
        let weed = Self {
            venv: venv.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            port: free_ports(),
            buckets: AtomicUsize::new(0),
            running: Mutex::new(None),
        };
        let config = serde_json::json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": PAIR.0, "secretKey": PAIR.1}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::write(weed.folder.path().join("s3.json"), config.to_string()).unwrap();
        std::fs::create_dir(weed.folder.path().join("data")).unwrap();
        weed.start_again();
        weed
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A bucket that no one has used.
    pub(crate) fn new_bucket(&self) -> String {
        let bucket = format!("tests-{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        let s3 = S3::new(&self.address(), PAIR);
        s3.send("PUT", &format!("/{bucket}"), "", b"").unwrap().expect(200);
        bucket
    }

    /// `kill -9`, and its end.
    pub(crate) fn kill(&self) {
        let running = self.running.lock().unwrap().take();
        drop(running.expect("it runs"));
    }

    /// Holds it, as a machine that hangs would: connections stay, nothing answers.
    pub(crate) fn hold(&self) {
        self.running.lock().unwrap().as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.running.lock().unwrap().as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// Starts it again on what it has.
    pub(crate) fn start_again(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let port = |behind: u16| (self.port + behind).to_string();
        let arguments = [
            "server".to_owned(),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-dir={}", path("data")),
            "-s3".to_owned(),
            format!("-s3.port={}", port(0)),
            format!("-s3.config={}", path("s3.json")),
            format!("-s3.port.grpc={}", port(14)),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-master.port={}", port(1)),
            format!("-master.port.grpc={}", port(11)),
            format!("-volume.port={}", port(2)),
            format!("-volume.port.grpc={}", port(12)),
            format!("-filer.port={}", port(3)),
            format!("-filer.port.grpc={}", port(13)),
            "-master.telemetry=false".to_owned(),
            "-master.electionTimeout=1s".to_owned(),
            "-master.heartbeatInterval=100ms".to_owned(),
            "-master.volumeSizeLimitMB=256".to_owned(),
            // Each bucket takes several.
            "-volume.max=200".to_owned(),
        ];
        let mut running = Kept::start(&self.venv, "weed", arguments, true);
        let http = Http::new(&self.address());
        let start = Instant::now();
        while !http.get("/healthz").is_ok_and(|answer| answer.status == 200) {
            assert!(running.runs(), "the server's keeper ended");
            assert!(start.elapsed() < PATIENCE, "the server does not start");
            pause(Duration::from_millis(100));
        }
        *self.running.lock().unwrap() = Some(running);
    }
}
