//! Ten million lines in a release daemon, over HTTP: what taking them in costs, how large they become,
//! how fast they are found, how long a start takes; beside ripgrep and zstd on the same lines. CPU
//! times are the daemon's process's own, and those of the programs it is compared with.
//!
//! `LOAD_LINES` says how many, `LOAD_BINARY` which daemon.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod client;
mod daemon;
mod lines;

use client::Client;
use daemon::{Cost, Daemon};

/// What a measurement answers; whatever fails ends the bench.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A count as a float; none here is so large that it matters.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Waits for what another process does, of which nothing tells.
#[expect(clippy::disallowed_methods, reason = "no condition reaches over from another process")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The lines of one request.
const BATCH: u64 = 1_000;
const CLIENTS: u64 = 4;

struct Load<'a> {
    folder: &'a Path,
    lines: u64,
    /// How long single posts are measured.
    time: Duration,
    /// How often each question is asked.
    asks: u32,
    daemon: Daemon,
    token: String,
}

fn main() -> Outcome<()> {
    let is_real = std::env::args().any(|argument| argument == "--bench");
    let lines = std::env::var("LOAD_LINES").ok().map(|text| text.parse()).transpose()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    std::fs::create_dir(folder.path().join("data"))?;
    daemon::create_admin(folder.path())?;
    let daemon = Daemon::start(folder.path())?;
    let token = daemon.token()?;
    let (lines, asks, time) = if is_real {
        (lines.unwrap_or(10_000_000), 20, Duration::from_secs(10))
    } else {
        (lines.unwrap_or(5_000), 2, Duration::from_millis(200))
    };
    let mut load = Load { folder: folder.path(), lines, time, asks, daemon, token };
    pause(if is_real { Duration::from_secs(10) } else { Duration::ZERO });
    tell_memory("idle", load.daemon.cost()?);
    load.singles()?;
    load.take_in()?;
    load.ask_all()?;
    load.start_again()?;
    load.others()
}

fn tell_memory(when: &str, cost: Cost) {
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "memory {when}: {} MiB, {} its own, {} at most",
        mib(cost.resident),
        mib(cost.own),
        mib(cost.peak)
    );
}

impl Load<'_> {
    fn client(&self) -> Outcome<Client> {
        Ok(Client::connect(&self.daemon.address, Some(&self.token))?)
    }

    /// A figure of `/metrics`.
    fn metric(&self, name: &str) -> Outcome<f64> {
        let mut client = self.client()?;
        client.get("/metrics")?;
        let text = String::from_utf8_lossy(&client.body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.map(str::parse).transpose()?.unwrap_or(0.0))
    }

    /// Single records from 64 connections, each durable before the next.
    fn singles(&self) -> Outcome<()> {
        let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (before, syncs, begun) =
            (self.daemon.cost()?, self.metric("drip_log_syncs_total")?, Instant::now());
        std::thread::scope(|scope| -> Outcome<()> {
            let one = || -> Outcome<()> {
                let mut client = self.client()?;
                while !over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let body = format!(
                        "{{\"message\":\"single {number}\",\"stream\":\"single\",\"level\":\"INFO\"}}"
                    );
                    if client.post("/api/v1/logs", &body)? != 200 {
                        return Err(String::from_utf8_lossy(&client.body).into_owned().into());
                    }
                }
                Ok(())
            };
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(one)).collect();
            pause(self.time);
            over.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().map_err(|_panic| "a client panicked")??;
            }
            Ok(())
        })?;
        let wall = begun.elapsed().as_secs_f64();
        let count = number(sent.into_inner());
        let syncs = self.metric("drip_log_syncs_total")? - syncs;
        println!(
            "single records, 64 clients: {:.0} /s, {:.1} in each sync, {:.1} µs CPU each",
            count / wall,
            count / syncs,
            (self.daemon.cost()?.cpu - before.cpu) / count * 1e6
        );
        Ok(())
    }

    /// All lines, in batches, from a few clients; then until everything that is closed is sealed.
    fn take_in(&self) -> Outcome<()> {
        let next = AtomicU64::new(0);
        let bytes = AtomicU64::new(0);
        let (before, begun) = (self.daemon.cost()?, Instant::now());
        std::thread::scope(|scope| -> Outcome<()> {
            let one = || -> Outcome<()> {
                let mut client = self.client()?;
                let mut body = String::new();
                loop {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    if first >= self.lines {
                        return Ok(());
                    }
                    body.clear();
                    for number in first..(first + BATCH).min(self.lines) {
                        lines::line(number).put(&mut body);
                    }
                    bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                    while client.post("/api/v1/logs", &body)? == 429 {
                        pause(Duration::from_millis(20));
                    }
                }
            };
            let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                thread.join().map_err(|_panic| "a client panicked")??;
            }
            Ok(())
        })?;
        let wall = begun.elapsed().as_secs_f64();
        let answered = self.daemon.cost()?.cpu - before.cpu;
        while self.frames()? > 1 {
            pause(Duration::from_millis(20));
        }
        let after = self.daemon.cost()?;
        let (count, cpu) = (number(self.lines), after.cpu - before.cpu);
        let raw = number(bytes.into_inner());
        println!(
            "taken in: {count} records of {:.0} bytes; {:.0} /s, {:.0} per CPU second until answered, \
             {:.0} until sealed, {:.1} MB/s of CPU",
            raw / count,
            count / wall,
            count / answered,
            count / cpu,
            raw / cpu / 1e6
        );
        tell_memory("after taking in", after);
        let stored = self.stored()?;
        println!(
            "on the disk: {:.1} bytes each, {:.2} of what came in",
            number(stored) / count,
            number(stored) / raw
        );
        Ok(())
    }

    fn segments(&self) -> Outcome<Vec<(String, u64)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("data/trajectory/segments"))? {
            let entry = entry?;
            // What is being put together goes while it is looked at.
            if let Ok(about) = entry.metadata() {
                all.push((entry.file_name().to_string_lossy().into_owned(), about.len()));
            }
        }
        Ok(all)
    }

    fn frames(&self) -> Outcome<usize> {
        Ok(self.segments()?.iter().filter(|(name, _)| name.strip_suffix(".log").is_some()).count())
    }

    fn stored(&self) -> Outcome<u64> {
        Ok(self.segments()?.iter().map(|(_, bytes)| bytes).sum())
    }

    fn ask_all(&self) -> Outcome<()> {
        pause(Duration::from_secs(1));
        let span = self.lines / 1000;
        let at = |number: u64| lines::line(number).time;
        let middle = self.lines / 2;
        let window = format!(
            "from={}&to={}&level=ERROR&limit=1000",
            at(middle) + 1000,
            at(middle + span) + 1000
        );
        let one =
            (0..self.lines).rev().find(|number| lines::line(*number).stream == "forecast-serve");
        let rare = lines::rare_word(one.unwrap_or(0) / 2 * 2);
        let needle = (0..self.lines / 3)
            .rev()
            .find(|number| lines::line(*number).stream == "forecast-serve")
            .map_or(rare, lines::rare_word);
        for (what, path) in [
            ("a rare word", format!("/api/v1/logs?q={needle}&limit=1000")),
            ("a word that is nowhere", "/api/v1/logs?q=reqzzzzzzzzzz&limit=1000".into()),
            (
                "a phrase of one source",
                "/api/v1/logs/histogram?buckets=1&q=%22of%20pipeline%20forecast-7%20entered%22"
                    .into(),
            ),
            (
                "a text inside words, all of them",
                "/api/v1/logs/histogram?buckets=1&q=%22Exceptio%22".into(),
            ),
            (
                "a text that is nowhere, all of them",
                "/api/v1/logs/histogram?buckets=1&q=%22zzqzz%22".into(),
            ),
            (
                "an expression, all of them",
                "/api/v1/logs/histogram?buckets=1&q=/%5Bqz%5D%7B3%7D/".into(),
            ),
            ("0.1 % of the time, ERROR", format!("/api/v1/logs?{window}")),
            ("counted by level", "/api/v1/logs/histogram?buckets=1".into()),
            ("counted in 60 stretches", "/api/v1/logs/histogram?buckets=60".into()),
            ("the newest 50", "/api/v1/logs".into()),
        ] {
            self.ask(what, &path)?;
        }
        tell_memory("after the questions", self.daemon.cost()?);
        Ok(())
    }

    fn ask(&self, what: &str, path: &str) -> Outcome<()> {
        let mut client = self.client()?;
        client.get(path)?;
        let (before, blocks, read) = (
            self.daemon.cost()?,
            self.metric("drip_log_blocks_read_total")?,
            self.metric("drip_log_read_bytes_total")?,
        );
        let mut times = Vec::new();
        for _ in 0..self.asks {
            let begun = Instant::now();
            if client.get(path)? != 200 {
                return Err(format!("{what}: {}", String::from_utf8_lossy(&client.body)).into());
            }
            times.push(begun.elapsed());
        }
        let asks = f64::from(self.asks);
        let cpu = (self.daemon.cost()?.cpu - before.cpu) / asks * 1e3;
        times.sort();
        let answer = client.json()?;
        let member = |name: &str| answer.get(name).cloned().unwrap_or_default();
        let items = member("items").as_array().map_or(0, |items| items.len() as u64);
        let found = member("total").as_u64().unwrap_or(items);
        println!(
            "{what}: {found} found, median {:.1} ms, {cpu:.1} ms CPU, {:.0} blocks and {:.2} MB read{}",
            times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3,
            (self.metric("drip_log_blocks_read_total")? - blocks) / asks,
            (self.metric("drip_log_read_bytes_total")? - read) / asks / 1e6,
            if member("incomplete") == true { ", INCOMPLETE" } else { "" }
        );
        Ok(())
    }

    fn start_again(&mut self) -> Outcome<()> {
        let segments = self.segments()?.len();
        self.daemon.kill()?;
        self.daemon = Daemon::start(self.folder)?;
        println!(
            "a start after kill -9 with {segments} segments: ready after {:.0} ms",
            self.daemon.ready.as_secs_f64() * 1e3
        );
        pause(Duration::from_secs(2));
        tell_memory("after it", self.daemon.cost()?);
        self.daemon.stop()?;
        Ok(())
    }

    /// The same messages as plain text, and packed, under ripgrep and zstd.
    fn others(&self) -> Outcome<()> {
        let (plain, packed) = (self.folder.join("lines.txt"), self.folder.join("lines.txt.zst"));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&plain)?);
        for number in 0..self.lines {
            writeln!(file, "{}", lines::line(number).message)?;
        }
        file.flush()?;
        let size = std::fs::metadata(&plain)?.len();
        let zstd = timed(
            Command::new("zstd").args(["-1", "-q", "-f", "-T1"]).arg(&plain).arg("-o").arg(&packed),
        );
        let small = std::fs::metadata(&packed)?.len();
        println!(
            "zstd -1 of {:.0} MB of messages: {zstd:.2} s CPU, {:.1} bytes each",
            number(size) / 1e6,
            number(small) / number(self.lines)
        );
        for (what, arguments) in [
            ("rg, a text", vec!["-c", "-F", "Exceptio"]),
            ("rg -z, a text", vec!["-z", "-c", "-F", "Exceptio"]),
            ("rg, an expression", vec!["-c", "[qz]{3}"]),
            ("rg -z, an expression", vec!["-z", "-c", "[qz]{3}"]),
        ] {
            let file = if arguments.contains(&"-z") { &packed } else { &plain };
            let cpu = timed(Command::new("rg").args(arguments).arg(file));
            println!("{what}: {:.0} ms CPU", cpu * 1e3);
        }
        Ok(())
    }
}

/// The CPU time that a program and those it starts take; no number where it is not there.
fn timed(command: &mut Command) -> f64 {
    let before = children();
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => children() - before,
        Err(missing) => {
            println!("{} is not there: {missing}", command.get_program().display());
            f64::NAN
        }
    }
}

/// The CPU time of all children that have ended.
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind.split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    number(ticks) / number(rustix::param::clock_ticks_per_second())
}
