//! One attempt of a process node, from the files it is given to the values it made.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rhai::Dynamic;

use super::keeper::{NOT_STARTED, TOO_MANY};
use super::spec::{REPORT, Report, Spec};
use super::{Processes, RunToken, Sandbox, files};
use crate::kernel::access::Caller;
use crate::kernel::disk::make_folder;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::{Digest, new_id};
use crate::liquid::node::Node;
use crate::liquid::runner::Stopper;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The longest line of what a process prints; a longer one is cut into several.
const LINE_MAX: u64 = 64 << 10;
/// How long the keeper may take to end everything.
const END: Duration = Duration::from_secs(15);
/// How many of its last lines are told with a failure.
const LAST_LINES: usize = 5;
/// How many lines wait to be written to the log.
const WAITING: usize = 1024;

/// What to run.
pub(in crate::liquid) struct Task<'t> {
    pub(in crate::liquid) run: &'t str,
    pub(in crate::liquid) node: &'t Node,
    pub(in crate::liquid) command: &'t [String],
    pub(in crate::liquid) values: Vec<Dynamic>,
    pub(in crate::liquid) caller: &'t Caller,
    pub(in crate::liquid) attempt: u32,
    pub(in crate::liquid) stopper: &'t Stopper,
    /// Where lines go: level and text, several at once.
    pub(in crate::liquid) log: &'t dyn Fn(Vec<(&'static str, String)>),
}

/// What an attempt is started with.
struct Start<'s> {
    program: &'s Path,
    folder: &'s Path,
    time: Duration,
    token: Option<&'s RunToken>,
}

/// A run directory; it goes when the attempt is over.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a run directory could not be removed");
        }
    }
}

/// How it ended.
enum End {
    Exit(ExitStatus),
    Stopped,
    TooLong(Duration),
    TooMuch(u64),
}

impl Processes {
    /// Runs a process to its end, and answers what its node's function would have returned.
    pub(in crate::liquid) fn run(&self, task: Task<'_>) -> Result<Dynamic> {
        let name = task.command.first().map(String::as_str).unwrap_or_default();
        let program = self.program(name)?;
        let place = self.place()?;
        for (name, value) in files::names(&task.node.inputs, &task.values).iter().zip(&task.values)
        {
            files::write(&place.0.join("inputs"), name, value)?;
        }
        let time = task.node.timeout.unwrap_or(self.limits.time);
        let token = self.token(&task, time);
        let start = Start { program, folder: &place.0, time, token: token.as_ref() };
        let outcome = self.attempt(&task, &start);
        if let (Some(token), Some(tokens)) = (&token, &self.tokens)
            && let Err(error) = tokens.revoke(task.caller, &token.id)
        {
            tracing::warn!(run = task.run, %error, "the token of a process was not revoked");
        }
        outcome?;
        files::take(&place.0.join("outputs"), &task.node.outputs)
    }

    /// A run directory of its own.
    fn place(&self) -> Result<Place> {
        let place = Place(self.folder.join(new_id()));
        for folder in ["inputs", "outputs", "tmp"] {
            make_folder(&place.0.join(folder))?;
        }
        Ok(place)
    }

    /// A token for the process; without one it runs, and is told so.
    fn token(&self, task: &Task<'_>, time: Duration) -> Option<RunToken> {
        let tokens = self.tokens.as_ref()?;
        match tokens.make(task.caller, task.run, time.saturating_add(END)) {
            Ok(token) => Some(token),
            Err(error) => {
                let why = format!("the process has no token for the daemon: {}", error.detail());
                (task.log)(vec![("WARNING", why)]);
                None
            }
        }
    }

    fn spec(&self, task: &Task<'_>, start: &Start<'_>) -> Spec {
        let Start { program, folder, time, token } = *start;
        let port = token.and_then(|token| token.url.rsplit_once(':')?.1.parse().ok());
        Spec {
            program: program.to_owned(),
            arguments: task.command.iter().skip(1).cloned().collect(),
            folder: folder.to_owned(),
            environment: environment(task, start),
            read: self.limits.read.iter().cloned().chain(own_folders(program)).collect(),
            port,
            lock: self.folder.join(format!("{}.lock", one_of(task))),
            memory: self.limits.memory,
            cpu: time.as_secs().saturating_mul(64).max(1),
            file: self.limits.file,
            processes: self.limits.processes,
            best_effort: self.limits.sandbox == Sandbox::BestEffort,
        }
    }

    fn attempt(&self, task: &Task<'_>, start: &Start<'_>) -> Result<()> {
        let spec = self.spec(task, start);
        let failed = |source| Error::io("start the keeper of a process", source);
        let (keeper, words) = self.keeper.split_first().ok_or_else(no_keeper)?;
        let mut child = Command::new(keeper)
            .args(words)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let lifeline = child.stdin.take();
        let outcome = self.keep(&mut child, lifeline, &spec, task, start.time);
        end(&mut child, task);
        let _gone = std::fs::remove_file(&spec.lock);
        outcome
    }

    fn keep(
        &self,
        child: &mut Child,
        mut lifeline: Option<ChildStdin>,
        spec: &Spec,
        task: &Task<'_>,
        time: Duration,
    ) -> Result<()> {
        let mut line = serde_json::to_vec(spec)
            .map_err(|why| Error::internal(format!("describe a process: {why}")))?;
        line.push(b'\n');
        let sent = lifeline.as_mut().map(|lifeline| lifeline.write_all(&line));
        sent.transpose().map_err(|source| Error::io("describe a process to its keeper", source))?;
        let mut heard = Heard::new(child);
        let until = Instant::now() + time;
        let mut end = None;
        let status = loop {
            heard.pass_on(task);
            if let Some(status) =
                child.try_wait().map_err(|e| Error::io("wait for a process", e))?
            {
                break Some(status);
            }
            match &end {
                None => {
                    end = self.over(task, &heard, until, time);
                    if end.is_some() {
                        lifeline = None;
                    }
                }
                Some((_, since)) if Instant::now().duration_since(*since) > END => break None,
                Some(_) => {}
            }
            task.stopper.wait_at_most(LOOK);
        };
        drop(lifeline);
        heard.finish(task);
        let end = match (end, status) {
            (Some((end, _)), _) => end,
            (None, Some(status)) => End::Exit(status),
            (None, None) => End::Stopped,
        };
        judge(&end, &heard)
    }

    /// Why the process must end now.
    fn over(
        &self,
        task: &Task<'_>,
        heard: &Heard,
        until: Instant,
        time: Duration,
    ) -> Option<(End, Instant)> {
        let now = Instant::now();
        if task.stopper.is_stopped() {
            return Some((End::Stopped, now));
        }
        if now >= until {
            return Some((End::TooLong(time), now));
        }
        let printed = heard.printed.load(Ordering::Relaxed) > self.limits.output;
        printed.then_some((End::TooMuch(self.limits.output), now))
    }
}

/// Waits until the keeper is gone, which without its lifeline ends everything; one that does not is
/// ended in its turn.
fn end(child: &mut Child, task: &Task<'_>) {
    let until = Instant::now() + END;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        task.stopper.wait_at_most(LOOK);
    }
    if matches!(child.try_wait(), Ok(None)) {
        tracing::error!(run = task.run, "the keeper of a process did not end and is killed");
        let _gone = child.kill();
        let _taken = child.wait();
    }
}

fn no_keeper() -> Error {
    Error::internal("there is no keeper of processes")
}

/// What tells this node of this run from all others.
fn one_of(task: &Task<'_>) -> String {
    let text = Digest::of(format!("{}/{}", task.run, task.node.name).as_bytes()).to_string();
    text.chars().take(32).collect()
}

/// The folders that a program is made of: its own, and where its links lead.
fn own_folders(program: &Path) -> Vec<PathBuf> {
    let mut found = vec![program.to_owned()];
    found.extend(program.canonicalize());
    found.iter().filter_map(|path| prefix(path)).collect()
}

/// `/opt/venv` of `/opt/venv/bin/python`; the program's own folder where that would be too much.
fn prefix(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let whole = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "bin"));
    let whole = whole.filter(|path| path.components().count() > 2);
    Some(whole.unwrap_or(folder).to_owned())
}

fn environment(task: &Task<'_>, start: &Start<'_>) -> Vec<(String, String)> {
    let Start { program, folder, token, .. } = *start;
    let own = program.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let tmp = folder.join("tmp").display().to_string();
    let mut all: Vec<(String, String)> = task.node.environment.clone();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    add("PATH", format!("{own}:/usr/local/bin:/usr/bin:/bin"));
    add("LANG", "C.UTF-8".to_owned());
    add("HOME", tmp.clone());
    add("TMPDIR", tmp);
    add("DRIP_RUN_ID", task.run.to_owned());
    add("DRIP_NODE", task.node.name.clone());
    add("DRIP_ATTEMPT", task.attempt.to_string());
    if let Some(RunToken { url, token, .. }) = token {
        add("DRIP_URL", url.clone());
        add("DRIP_TOKEN", token.clone());
    }
    all
}

/// What is heard of a process.
struct Heard {
    lines: Receiver<(&'static str, String)>,
    printed: Arc<AtomicU64>,
    report: Option<Report>,
    /// The last lines of its standard error, for who looks at a failure.
    last: Vec<String>,
}

impl Heard {
    fn new(child: &mut Child) -> Self {
        let (sender, lines) = sync_channel(WAITING);
        let printed = Arc::new(AtomicU64::new(0));
        if let Some(out) = child.stdout.take() {
            listen(out, "INFO", sender.clone(), printed.clone());
        }
        if let Some(err) = child.stderr.take() {
            listen(err, "WARNING", sender, printed.clone());
        }
        Self { lines, printed, report: None, last: Vec::new() }
    }

    /// Writes to the log what was heard since.
    fn pass_on(&mut self, task: &Task<'_>) {
        let mut lines = Vec::new();
        while lines.len() < WAITING
            && let Ok(line) = self.lines.try_recv()
        {
            self.take(line, &mut lines);
        }
        if !lines.is_empty() {
            (task.log)(lines);
        }
    }

    fn take(&mut self, line: (&'static str, String), lines: &mut Vec<(&'static str, String)>) {
        // The keeper speaks first, and again where the program could not be started after all.
        if let Some(report) = line.1.strip_prefix(REPORT)
            && let Ok(report) = serde_json::from_str::<Report>(report)
            && (self.report.is_none() || report.refused.is_some())
        {
            lines.push(("INFO", in_words(&report)));
            self.report = Some(report);
            return;
        }
        if line.0 == "WARNING" {
            if self.last.len() == LAST_LINES {
                self.last.remove(0);
            }
            self.last.push(line.1.chars().take(300).collect());
        }
        lines.push(line);
    }

    /// Passes on the rest. Whoever still holds the pipes is not waited for.
    fn finish(&mut self, task: &Task<'_>) {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let mut lines = Vec::new();
            let ended = loop {
                match self.lines.try_recv() {
                    Ok(line) => self.take(line, &mut lines),
                    Err(TryRecvError::Empty) => break false,
                    Err(TryRecvError::Disconnected) => break true,
                }
                if lines.len() == WAITING {
                    break false;
                }
            };
            let none = lines.is_empty();
            if !none {
                (task.log)(lines);
            }
            if ended || Instant::now() > until {
                return;
            }
            if none {
                Stopper::default().pause(Duration::from_millis(5));
            }
        }
    }
}

/// The protections, for people.
fn in_words(report: &Report) -> String {
    let Report { active, missing, refused } = report;
    if let Some(why) = refused {
        return format!("the process was not started: {why}");
    }
    let missing = if missing.is_empty() {
        String::new()
    } else {
        format!("; the kernel has no {}", missing.join(", "))
    };
    format!("the process is fenced in: {}{missing}", active.join(", "))
}

/// Reads lines until the pipe closes.
fn listen(
    pipe: impl Read + Send + 'static,
    level: &'static str,
    lines: SyncSender<(&'static str, String)>,
    printed: Arc<AtomicU64>,
) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(read) => printed.fetch_add(read as u64, Ordering::Relaxed),
            };
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']).to_owned();
            if !text.is_empty() && lines.send((level, text)).is_err() {
                return;
            }
        }
    });
}

/// Whether the process did what it should.
fn judge(end: &End, heard: &Heard) -> Result<()> {
    let refused = heard.report.as_ref().and_then(|report| report.refused.as_deref());
    let why = match end {
        End::Exit(status) if status.success() => return Ok(()),
        End::Exit(status) if status.code() == Some(NOT_STARTED) && refused.is_some() => {
            format!("the process was not started: {}", refused.unwrap_or_default())
        }
        End::Exit(status) if status.code() == Some(TOO_MANY) => {
            "the process had too many processes (`liquid.process_count`) and was ended".to_owned()
        }
        End::Exit(status) => match status.code() {
            Some(code @ 129..=192) => format!("the process was ended by signal {}", code - 128),
            Some(code) => format!("the process ended with code {code}"),
            None => "the keeper of the process was ended".to_owned(),
        },
        End::Stopped => "the process was stopped with its run".to_owned(),
        End::TooLong(time) => format!(
            "the process took longer than {} and was ended",
            crate::kernel::clock::show_duration(*time)
        ),
        End::TooMuch(most) => {
            format!(
                "the process printed more than {most} bytes (`liquid.process_output`) and was ended"
            )
        }
    };
    let last = heard.last.join("\n");
    let detail = if last.is_empty() { why } else { format!("{why}; it last said: {last}") };
    let code = match end {
        End::TooLong(_) => "process_timeout",
        _ => "process_failed",
    };
    Err(Error::new(Kind::Invalid, code, detail))
}
