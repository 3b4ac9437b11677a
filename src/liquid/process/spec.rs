//! What the daemon tells the keeper of a process, and what it hears back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// With this a keeper's first line on its standard error begins.
pub(super) const REPORT: &str = "drip-keeper ";

/// What to start, and within which bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The run directory: where it works, and the only place it may write to.
    pub(super) folder: PathBuf,
    pub(super) environment: Vec<(String, String)>,
    /// Folders and files that it may read.
    pub(super) read: Vec<PathBuf>,
    /// The one port that it may connect to: the daemon's.
    pub(super) port: Option<u16>,
    /// The file that is locked while the process or anything of it lives.
    pub(super) lock: PathBuf,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Seconds of processor time.
    pub(super) cpu: u64,
    /// Bytes of one file.
    pub(super) file: u64,
    /// Processes at the same time.
    pub(super) processes: usize,
    /// Whether it starts where the kernel cannot fence it in.
    pub(super) best_effort: bool,
}

/// What the keeper says before it starts the program, or why it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The protections that are active.
    pub(super) active: Vec<String>,
    /// Those that the kernel does not have.
    pub(super) missing: Vec<String>,
    /// Why the program was not started.
    pub(super) refused: Option<String>,
}
