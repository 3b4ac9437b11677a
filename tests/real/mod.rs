#![cfg(test)]
//! The real daemon with the demo's content, driven by what its users bring: a browser, Python's
//! data packages, a generator of requests made from the API's description; S3 clients; MongoDB; and an S3 store.
//!
//! The suites need `REAL_VENV`, a Python virtual environment with `requirements.txt` installed, and
//! the browser suite Chromium with its driver: `scripts/install-test-components.sh` installs both.
//! Without it each suite says that it was skipped.

#[cfg(feature = "mongo")]
mod collections;
#[cfg(feature = "liquid")]
mod cron;
#[cfg(all(feature = "mongo", feature = "trajectory"))]
mod forward;
#[cfg(feature = "mongo")]
mod mongo;
#[cfg(feature = "trajectory")]
mod ripgrep;
#[cfg(feature = "s3")]
mod s3;
#[cfg(all(feature = "s3", feature = "s3-store", feature = "mongo"))]
mod s3_store;
#[cfg(feature = "trajectory")]
mod syslog;
#[cfg(feature = "demo")]
mod training;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::support::daemon::{Daemon, Home, program};
use super::support::real_venv;

/// A folder that the demo filled, and the password it printed.
struct Filled {
    home: Home,
    password: String,
}

impl Filled {
    fn new() -> Self {
        let home = Home::new();
        // The demo reads what ships from where it is started.
        let mut demo = home.dripctl(&["demo", "--once", "--listen", "127.0.0.1:0", "--data"]);
        let root = env!("CARGO_MANIFEST_DIR");
        let output = demo.arg(home.data()).current_dir(root).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "demo: {said}\n{complained}");
        let line = said.lines().find_map(|line| line.strip_prefix("password: "));
        let password = line.expect("the demo prints a password").to_owned();
        Self { home, password }
    }

    /// The demo runs once for all suites, and each has a copy of its folder.
    fn copy() -> (Home, String) {
        static FILLED: OnceLock<Filled> = OnceLock::new();
        let filled = FILLED.get_or_init(Self::new);
        (filled.home.copy(), filled.password.clone())
    }
}

/// An API token with every scope, for `user`.
fn token(daemon: &Daemon, admin: &str, user: &str) -> String {
    let body = json!({"name": "suite", "scopes": ["*:write"], "user": user});
    let http = daemon.http().with_token(admin);
    let answer = http.post("/api/v1/tokens", &body).unwrap().expect(201);
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// Runs one script against a daemon of its own.
fn run(suite: &str) {
    let Some(venv) = real_venv(suite) else { return };
    let (home, password) = Filled::copy();
    let daemon = home.serve();
    let body = json!({"username": "admin", "password": password});
    let login = daemon.http().post("/api/v1/login", &body).unwrap();
    let jwt = login.expect(200).json()["token"].as_str().unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/real/{suite}.py"));
    let status = Command::new(venv.join("bin/python"))
        .arg("-B")
        .arg(script)
        .env("SUITE_URL", format!("http://{}", daemon.address()))
        .env("SUITE_PASSWORD", password)
        .env("SUITE_TOKEN", token(&daemon, &jwt, "admin"))
        .env("SUITE_FOLDER", home.path())
        .env("SUITE_PROGRAM", program())
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .status()
        .unwrap();
    assert!(status.success(), "{suite}: {status}\n{}", daemon.log());
    let ended = daemon.stop();
    assert!(ended.status.success(), "{suite}: the daemon ended with {ended:?}");
}

#[test]
fn pages_in_a_browser() {
    run("pages");
}

#[test]
fn an_outside_consumer() {
    run("consumer");
}

#[test]
fn the_python_client() {
    run("client");
}

#[test]
fn logs_from_everywhere() {
    run("logs");
}

#[test]
fn what_the_description_promises() {
    run("contract");
}
