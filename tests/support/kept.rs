#![cfg(test)]
//! A server of somebody else's that ends with the tests, also when they do not end well.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Starts the server and ends it when its own input ends, which is when the tests are gone. A static
/// is never dropped, so the tests themselves could not.
const KEEPER: &str = "
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr)
print(server.pid, flush=True)
sys.stdin.read()
server.kill()
server.wait()
";

/// The server and its keeper. Dropping it is `kill -9`, and its end.
pub(crate) struct Kept {
    keeper: Child,
    input: Option<ChildStdin>,
    pid: Pid,
}

impl Kept {
    /// Starts `program` with the Python of `venv` as its keeper. What it says is thrown away when
    /// `is_silent`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        venv: &Path,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
        is_silent: bool,
    ) -> Self {
        let mut keeper = Command::new(venv.join("bin/python"))
            .args(["-c", KEEPER])
            .arg(venv.join("bin").join(program))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if is_silent { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .unwrap();
        let input = keeper.stdin.take();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        Self { keeper, input, pid }
    }

    /// Whether its keeper still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.keeper.try_wait().unwrap().is_none()
    }

    /// The keeper has not waited for it, so its id is still its own.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A server that is held would not end by anything less; the keeper reaps it.
        let _gone = kill_process(self.pid, Signal::KILL);
        drop(self.input.take());
        let _reaped = self.keeper.wait();
    }
}
