//! The release daemon on a folder: started, asked what it costs, stopped or killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Client;
use super::{Outcome, pause};

const PASSWORD: &str = "a long enough passphrase";
/// How long a start may take before it is a failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running daemon. Dropping it kills it, and no other.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: String,
    /// Where S3 clients are answered, where the settings in the folder ask for them.
    pub(crate) s3: Option<String>,
    /// From the start of the process until the first 200 of `/readyz`.
    pub(crate) ready: Duration,
}

/// What the system says of the process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// User and system time of all its threads, in seconds.
    pub(crate) cpu: f64,
    /// `VmRSS`, in bytes.
    pub(crate) resident: u64,
    /// The part of it that is no file of the page cache.
    pub(crate) own: u64,
    /// The largest `VmRSS` so far.
    pub(crate) peak: u64,
}

fn program() -> PathBuf {
    std::env::var_os("LOAD_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_dripctl").into(), PathBuf::from)
}

fn dripctl(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DRIP_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder).env("XDG_CONFIG_HOME", folder).env("NO_COLOR", "1");
    command
}

/// Makes the account `admin` in the folder's `data`.
pub(crate) fn create_admin(folder: &Path) -> Outcome<()> {
    let arguments = ["create-admin", "--username", "admin", "--password-stdin", "--data", "data"];
    let mut child = dripctl(folder, &arguments).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{PASSWORD}")?;
    }
    if child.wait()?.success() { Ok(()) } else { Err("no account was made".into()) }
}

/// What the system says of a process.
pub(crate) fn cost_of(process: u32) -> Outcome<Cost> {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let stat = std::fs::read_to_string(folder.join("stat"))?;
    // The second field is a name in brackets, which may hold anything.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = std::fs::read_to_string(folder.join("status"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    Ok(Cost {
        cpu: super::number(ticks) / super::number(rustix::param::clock_ticks_per_second()),
        resident: bytes("VmRSS"),
        own: bytes("RssAnon"),
        peak: bytes("VmHWM"),
    })
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(folder: &Path) -> Outcome<Self> {
        let begun = Instant::now();
        let log = std::fs::File::create(folder.join("daemon.log"))?;
        let mut child = dripctl(folder, &["serve", "--data", "data", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut daemon = Self { child, address: String::new(), s3: None, ready: Duration::ZERO };
        let mut line = String::new();
        while daemon.address.is_empty() {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Err(std::fs::read_to_string(folder.join("daemon.log"))?.into());
            }
            if let Some((_, address)) = line.trim_end().split_once(" are answered at http://") {
                daemon.s3 = Some(address.to_owned());
            }
            if let Some((_, address)) = line.trim_end().split_once(" on http://") {
                address.clone_into(&mut daemon.address);
            }
        }
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let mut client = Client::connect(&daemon.address, None)?;
        while client.get("/readyz")? != 200 {
            if begun.elapsed() > PATIENCE {
                return Err("it does not become ready".into());
            }
            pause(Duration::from_millis(1));
        }
        daemon.ready = begun.elapsed();
        Ok(daemon)
    }

    /// An API token of the admin.
    pub(crate) fn token(&self) -> Outcome<String> {
        let text = |client: &Client| -> Outcome<String> {
            Ok(client
                .json()?
                .get("token")
                .and_then(|token| token.as_str())
                .ok_or("no token")?
                .to_owned())
        };
        let mut client = Client::connect(&self.address, None)?;
        let login = format!("{{\"username\": \"admin\", \"password\": \"{PASSWORD}\"}}");
        client.post("/api/v1/login", &login)?;
        let login = text(&client)?;
        let mut client = Client::connect(&self.address, Some(&login))?;
        client.post("/api/v1/tokens", r#"{"name": "load", "scopes": ["*:write"]}"#)?;
        text(&client)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cost(&self) -> Outcome<Cost> {
        cost_of(self.id())
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?);
        rustix::process::kill_process(pid.ok_or("no process")?, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(begun.elapsed())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
