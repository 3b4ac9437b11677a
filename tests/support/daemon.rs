#![cfg(test)]
//! The real program on a temporary folder: started, asked, killed, started again.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::http::Http;
use super::pause;
use super::shim::Shim;

/// The password of the account `admin` that [`Home::create_admin`] makes.
pub(crate) const PASSWORD: &str = "a long enough passphrase";
/// How long a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder with everything that a daemon and its user have.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        Self { folder }
    }

    /// One with the account `admin`.
    pub(crate) fn with_admin() -> Self {
        let home = Self::new();
        home.create_admin();
        home
    }

    /// Another one with a copy of this one's data and settings, as a starting point for many crashes.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.data(), &copy.data());
        if let Ok(settings) = std::fs::read_to_string(self.folder.path().join("drip.toml")) {
            copy.settings(&settings);
        }
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `dripctl` with nothing of the environment that could change what it does.
    pub(crate) fn dripctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DRIP_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Writes the `drip.toml` that everything in this folder goes by.
    pub(crate) fn settings(&self, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join("drip.toml");
        std::fs::write(&path, text).unwrap();
        // It may hold secrets.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs `dripctl` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.dripctl(arguments).output().unwrap()
    }

    /// Makes the account `admin`.
    pub(crate) fn create_admin(&self) {
        self.make_admin("admin");
    }

    /// Makes an admin, or gives one the password that tests know; with the daemon stopped.
    pub(crate) fn make_admin(&self, name: &str) {
        let mut command = self.dripctl(&["create-admin", "--username", name]);
        let mut child = command
            .args(["--password-stdin", "--data", "data"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{PASSWORD}").unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "create-admin: {said}");
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn serve(&self) -> Daemon {
        self.try_serve(None).unwrap_or_else(|ended| panic!("the daemon ended: {ended:?}"))
    }

    /// Starts the daemon under a shim; it may end before it is ready.
    pub(crate) fn serve_under(&self, shim: &Shim) -> Result<Daemon, Ended> {
        self.try_serve(Some(shim))
    }

    fn try_serve(&self, shim: Option<&Shim>) -> Result<Daemon, Ended> {
        let mut command = self.dripctl(&["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
        if let Some(shim) = shim {
            shim.put_on(&mut command);
        }
        let log = self.folder.path().join("daemon.log");
        let child =
            command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut daemon = Daemon { child, address: String::new(), old: None, s3: None, log };
        match daemon.read_address() {
            Some(address) => daemon.address = address,
            None => return Err(daemon.ended()),
        }
        daemon.wait_until_ready()
    }
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    // Long runs take a binary that was built for speed.
    std::env::var_os("CRASH_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_dripctl").into(), Into::into)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How a daemon came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote to stderr.
    pub(crate) log: String,
}

/// A running daemon. Dropping it kills it, and no other.
pub(crate) struct Daemon {
    child: Child,
    address: String,
    /// Where the paths of Drip 0.1 are, if they are anywhere.
    old: Option<String>,
    /// Where S3 clients are answered, if they are anywhere.
    s3: Option<String>,
    log: PathBuf,
}

impl Daemon {
    /// The address from the line that tells it; none when the daemon ended before.
    fn read_address(&mut self) -> Option<String> {
        let mut lines = BufReader::new(self.child.stdout.take()?);
        let mut line = String::new();
        while lines.read_line(&mut line).ok()? > 0 {
            if let Some((_, address)) = line.trim_end().split_once(" on http://") {
                let address = address.to_owned();
                // Whatever it says later must find a reader.
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return Some(address);
            }
            if let Some((_, address)) = line.trim_end().split_once(" are at http://") {
                self.old = Some(address.to_owned());
            }
            if let Some((_, address)) = line.trim_end().split_once(" are answered at http://") {
                self.s3 = Some(address.to_owned());
            }
            line.clear();
        }
        None
    }

    fn wait_until_ready(mut self) -> Result<Self, Ended> {
        let start = Instant::now();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return Err(self.ended());
            }
            if self.http().get("/readyz").is_ok_and(|a| a.status == 200) {
                return Ok(self);
            }
            assert!(start.elapsed() < PATIENCE, "not ready: {}", self.log());
            pause(Duration::from_millis(5));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Calls to it, as no one.
    pub(crate) fn http(&self) -> Http {
        Http::new(&self.address)
    }

    /// Calls to the paths of Drip 0.1, where the settings ask for them.
    pub(crate) fn old(&self) -> Option<Http> {
        self.old.as_deref().map(Http::new)
    }

    /// Where S3 clients are answered, where the settings ask for them: `host:port`.
    pub(crate) fn s3(&self) -> Option<&str> {
        self.s3.as_deref()
    }

    /// Signs in and answers the JWT.
    pub(crate) fn login(&self) -> String {
        self.login_as("admin")
    }

    /// Signs in as an account that [`Home::make_admin`] made.
    pub(crate) fn login_as(&self, name: &str) -> String {
        let body = json!({"username": name, "password": PASSWORD});
        let answer = self.http().post("/api/v1/login", &body).unwrap();
        let token = answer.expect(200).json()["token"].clone();
        token.as_str().unwrap().to_owned()
    }

    /// Calls to it as `admin`, by an API token that outlives restarts.
    pub(crate) fn make_admin_token(&self) -> String {
        let http = self.http().with_token(&self.login());
        let body = json!({"name": "harness", "scopes": ["*:write"]});
        let answer = http.post("/api/v1/tokens", &body).unwrap();
        let token = answer.expect(201).json()["token"].clone();
        token.as_str().unwrap().to_owned()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        let mut file = File::open(&self.log).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        // It may be dead already: then there is nothing to kill.
        let _dead = self.child.kill();
        self.child.wait().unwrap();
    }

    /// `kill -9` while others still call it.
    pub(crate) fn kill_now(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// The child is not waited for before, so its id is still its own.
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended { status, log: self.log() };
            }
            assert!(start.elapsed() < PATIENCE, "it goes on: {}", self.log());
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}
