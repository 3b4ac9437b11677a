//! The keeper of a process: `dripctl` itself, started anew with a hidden word. It fences itself in,
//! starts the program, and outlives it only to end whatever the program left behind. Its standard
//! input is its lifeline: when that closes, because the run was stopped or the daemon is no more,
//! everything ends.

use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, set_child_subreaper, setsid,
    waitpid,
};

use super::sandbox;
use super::spec::{REPORT, Report, Spec};

/// How long the program may take to end by itself when it is told to.
const GRACE: Duration = Duration::from_millis(500);
/// How often the keeper looks at the program's processes.
const LOOK: Duration = Duration::from_millis(50);
/// The exit code when the program was not started.
pub(super) const NOT_STARTED: i32 = 125;
/// The exit code when it had too many processes.
pub(super) const TOO_MANY: i32 = 124;

/// Keeps one process, which standard input describes. Answers the exit code.
pub fn keep() -> u8 {
    let mut report = Report::default();
    let code = match start(&mut report) {
        Ok((child, spec, over, _lock)) => watch(child, &spec, &over),
        Err(why) => {
            report.refused = Some(why);
            tell(&report);
            NOT_STARTED
        }
    };
    u8::try_from(code & 0xFF).unwrap_or(1)
}

fn tell(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    // Who does not listen any more has closed the lifeline, too.
    let _gone = writeln!(std::io::stderr(), "{REPORT}{line}");
}

type Started = (Child, Spec, Arc<AtomicBool>, File);

fn start(report: &mut Report) -> Result<Started, String> {
    let mut line = String::new();
    let mut input = std::io::BufReader::new(std::io::stdin());
    input.read_line(&mut line).map_err(|why| format!("its description was not read: {why}"))?;
    let spec: Spec =
        serde_json::from_str(&line).map_err(|why| format!("its description is damaged: {why}"))?;
    let over = Arc::new(AtomicBool::new(false));
    let lifeline = over.clone();
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while input.read(&mut rest).is_ok_and(|read| read > 0) {}
        lifeline.store(true, Ordering::SeqCst);
    });
    let lock = alone(&spec.lock)?;
    if over.load(Ordering::SeqCst) {
        return Err("its run was stopped".to_owned());
    }
    let session = setsid().is_ok();
    let adopts = set_child_subreaper(rustix::process::getpid().into()).is_ok();
    for (what, active) in [("own session", session), ("no orphans", adopts)] {
        let place = if active { &mut report.active } else { &mut report.missing };
        place.push(what.to_owned());
    }
    sandbox::limit(&spec, report);
    // Only the thread that starts the program is fenced in: the keeper must see what it started.
    let (answer, answered) = mpsc::channel();
    let (fenced, mut told) = (spec.clone(), std::mem::take(report));
    std::thread::spawn(move || {
        let whole = sandbox::fence(&fenced, &mut told);
        let child = if whole || fenced.best_effort {
            tell(&told);
            program(&fenced)
                .map_err(|why| format!("`{}` cannot be started: {why}", fenced.program.display()))
        } else {
            Err("the kernel cannot fence it in: `[liquid] sandbox = \"best-effort\"` starts it all the same".to_owned())
        };
        let _gone = answer.send((child, told));
    });
    let (child, told) = answered.recv().map_err(|_gone| "its thread ended".to_owned())?;
    *report = told;
    Ok((child?, spec, over, lock))
}

/// Waits until no earlier attempt is alive: its keeper holds the lock as long as anything of it is.
fn alone(path: &Path) -> Result<File, String> {
    let failed = |why| format!("its lock was not taken: {why}");
    let file =
        File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|why| failed(why.into()))?;
    Ok(file)
}

fn program(spec: &Spec) -> std::io::Result<Child> {
    Command::new(&spec.program)
        .args(&spec.arguments)
        .current_dir(&spec.folder)
        .env_clear()
        .envs(spec.environment.iter().cloned())
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Waits for the end of the program, or ends it; then ends what it left behind.
fn watch(mut child: Child, spec: &Spec, over: &AtomicBool) -> i32 {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (mut told_at, mut too_many) = (None::<Instant>, false);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) => {}
            Err(_lost) => break None,
        }
        let alive = descendants();
        too_many |= alive.len() > spec.processes;
        if too_many || told_at.is_some_and(|told| told.elapsed() > GRACE) {
            end_all(group);
        } else if over.load(Ordering::SeqCst) && told_at.is_none() {
            told_at = Some(Instant::now());
            if let Some(group) = group {
                let _gone = kill_process_group(group, Signal::TERM);
            }
        }
        reap(&alive, group);
        rest(LOOK);
    };
    let left = Instant::now();
    loop {
        let alive = descendants();
        if alive.is_empty() || left.elapsed() > Duration::from_secs(10) {
            break;
        }
        end_all(group);
        reap(&alive, None);
        rest(Duration::from_millis(5));
    }
    if too_many { TOO_MANY } else { status.map_or(1, code) }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

#[expect(clippy::disallowed_methods, reason = "nothing tells of the end of a grandchild")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Ends the program's group, then one by one what left it.
fn end_all(group: Option<Pid>) {
    if let Some(group) = group {
        let _gone = kill_process_group(group, Signal::KILL);
    }
    for process in descendants() {
        let _gone = kill_process(process, Signal::KILL);
    }
}

/// Takes the exit of adopted processes; that of the program is not taken here while it is waited for.
fn reap(alive: &[Pid], program: Option<Pid>) {
    for process in alive {
        if Some(*process) != program && is_dead(*process) {
            let _taken = waitpid(Some(*process), WaitOptions::NOHANG);
        }
    }
}

/// The state and the parent of a process.
fn stat(process: Pid) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // The name before them may hold anything, also brackets and spaces.
    let mut rest = text.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

fn is_dead(process: Pid) -> bool {
    stat(process).is_some_and(|(state, _)| state == 'Z')
}

/// Everything that came of the program, but for the keeper itself.
fn descendants() -> Vec<Pid> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let processes: Vec<(Pid, i32)> = all
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter_map(|process| Some((process, stat(process)?.1)))
        .collect();
    let mut found = vec![rustix::process::getpid()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let parent = parent.as_raw_nonzero().get();
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    found.swap_remove(0);
    found
}
