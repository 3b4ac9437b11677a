//! A hundred thousand cards in a release daemon, over HTTP: what a save costs, how fast cards are
//! found, how long a start takes, how much memory it holds. CPU times are the daemon's process's own.
//!
//! `LOAD_CARDS` says how many cards, `LOAD_BINARY` which daemon.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod client;
mod corpus;
mod daemon;
mod report;

use client::Client;
use daemon::{Cost, Daemon};
use report::{Sample, ms, tell_memory, tell_times};

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

/// Asks for one path after the other; answers how long each took.
fn ask<'a>(client: &mut Client, paths: impl Iterator<Item = &'a String>) -> Outcome<Vec<Duration>> {
    paths
        .map(|path| {
            let begun = Instant::now();
            let status = client.get(path)?;
            let took = begun.elapsed();
            if status == 200 { Ok(took) } else { Err(format!("{status} for {path}").into()) }
        })
        .collect()
}

/// How much is done: a real measurement, or a try.
struct Plan {
    cards: u64,
    /// How long each measurement of saves takes.
    time: Duration,
    /// How often each search is asked.
    asks: usize,
    /// How long nothing is done before idle memory is read: the index lets its writer go meanwhile.
    rest: Duration,
}

impl Plan {
    fn from_args() -> Outcome<Self> {
        let is_real = std::env::args().any(|argument| argument == "--bench");
        let cards = std::env::var("LOAD_CARDS").ok().map(|text| text.parse()).transpose()?;
        Ok(if is_real {
            Self {
                cards: cards.unwrap_or(100_000),
                time: Duration::from_secs(10),
                asks: 1000,
                rest: Duration::from_secs(40),
            }
        } else {
            Self {
                cards: cards.unwrap_or(200),
                time: Duration::from_millis(50),
                asks: 20,
                rest: Duration::ZERO,
            }
        })
    }
}

/// A daemon with cards, and who calls it.
struct Load<'a> {
    folder: &'a Path,
    plan: Plan,
    daemon: Daemon,
    token: String,
    /// The number of the next card that is new.
    next: AtomicU64,
}

fn main() -> Outcome<()> {
    let plan = Plan::from_args()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    std::fs::create_dir(folder.path().join("data"))?;
    daemon::create_admin(folder.path())?;
    let daemon = Daemon::start(folder.path())?;
    println!("empty: ready after {}", ms(daemon.ready));
    let token = daemon.token()?;
    let mut load = Load { folder: folder.path(), plan, daemon, token, next: AtomicU64::new(0) };
    load.fill()?;
    load.saves()?;
    load.reads()?;
    load.rest()?;
    load.starts()
}

impl Load<'_> {
    fn client(&self) -> Outcome<Client> {
        Ok(Client::connect(&self.daemon.address, Some(&self.token))?)
    }

    /// Saves cards from so many connections until `number` gives no more; answers what it cost.
    fn save(
        &self,
        clients: usize,
        number: impl Fn() -> Option<(u64, u64)> + Sync,
    ) -> Outcome<Sample> {
        let (before, begun) = (self.daemon.cost()?, Instant::now());
        let one = || -> Outcome<Vec<Duration>> {
            let mut client = self.client()?;
            let mut times = Vec::new();
            while let Some((number, edition)) = number() {
                let sheet = corpus::sheet(number, edition);
                let asked = Instant::now();
                let status = client.put(&format!("/api/v1/cards/{}", sheet.path), &sheet.body)?;
                times.push(asked.elapsed());
                if !matches!(status, 200 | 201) {
                    return Err(
                        format!("{status}: {}", String::from_utf8_lossy(&client.body)).into()
                    );
                }
            }
            Ok(times)
        };
        let times = std::thread::scope(|scope| -> Outcome<Vec<Duration>> {
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
            let mut all = Vec::new();
            for thread in threads {
                all.extend(thread.join().map_err(|_panic| "a client panicked")??);
            }
            Ok(all)
        })?;
        let wall = begun.elapsed();
        let answered = self.daemon.cost()?.cpu - before.cpu;
        let behind = self.wait_indexed()?;
        let cpu = self.daemon.cost()?.cpu - before.cpu;
        Ok(Sample { times, wall, answered, cpu, behind })
    }

    /// The next card that is new, while there is to be one.
    fn new_card(&self, goes_on: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        goes_on(number).then_some((number, 1))
    }

    /// Waits until a search finds all; answers how long that took.
    fn wait_indexed(&self) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut client = self.client()?;
        loop {
            let status = client.get("/api/v1/cards?limit=1")?;
            let found = client.json()?;
            if status == 200 && found.get("behind").and_then(serde_json::Value::as_u64) == Some(0) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > Duration::from_mins(10) {
                return Err("the index does not catch up".into());
            }
            pause(Duration::from_millis(20));
        }
    }

    fn fill(&self) -> Outcome<()> {
        let sample = self.save(32, || self.new_card(|number| number < self.plan.cards))?;
        self.next.store(self.plan.cards, Ordering::Relaxed);
        sample.tell("the first cards, 32 clients");
        tell_memory("after them", self.daemon.cost()?);
        Ok(())
    }

    fn saves(&self) -> Outcome<()> {
        for (clients, what) in [(32, "new cards, 32 clients"), (1, "new cards, 1 client")] {
            let begun = Instant::now();
            let number = || self.new_card(|_| begun.elapsed() < self.plan.time);
            self.save(clients, number)?.tell(what);
        }
        let (begun, step) = (Instant::now(), AtomicU64::new(0));
        // Each card once, far from the one before.
        let number = || {
            let step = step.fetch_add(1, Ordering::Relaxed);
            let number = step.wrapping_mul(48_271) % self.plan.cards;
            (begun.elapsed() < self.plan.time && step < self.plan.cards).then_some((number, 2))
        };
        self.save(32, number)?.tell("second revisions, 32 clients");
        tell_memory("after them", self.daemon.cost()?);
        Ok(())
    }

    fn reads(&self) -> Outcome<()> {
        let mut client = self.client()?;
        let paths = (0..self.plan.asks as u64).map(|at| {
            let (kind, name) = corpus::name(at.wrapping_mul(7919) % self.plan.cards);
            format!("/api/v1/cards/{kind}/{name}/1.0.0")
        });
        let paths: Vec<_> = paths.collect();
        tell_times("get by name", ask(&mut client, paths.iter())?);
        for (what, queries) in corpus::searches() {
            let paths: Vec<_> =
                queries.iter().map(|query| format!("/api/v1/cards?{query}&limit=20")).collect();
            let found = paths.iter().cycle().take(self.plan.asks);
            let times = ask(&mut client, found)?;
            tell_times(&format!("search: {what}"), times);
        }
        Ok(())
    }

    fn rest(&self) -> Outcome<()> {
        pause(self.plan.rest);
        tell_memory("at rest", self.daemon.cost()?);
        Ok(())
    }

    /// Starts after a clean end, after `kill -9` amid saves, and without an index.
    fn starts(&mut self) -> Outcome<()> {
        for _ in 0..3 {
            let ended = self.daemon.stop()?;
            println!("ended in {}", ms(ended));
            self.again("after a clean end")?;
        }
        for _ in 0..3 {
            let begun = Instant::now();
            let number = || self.new_card(|_| begun.elapsed() < self.plan.time / 5);
            self.save(32, number)?;
            self.daemon.kill()?;
            self.again("after kill -9")?;
        }
        self.daemon.stop()?;
        std::fs::remove_dir_all(self.folder.join("data/fiche/index"))?;
        self.again("without an index")?;
        pause(self.plan.rest);
        tell_memory("at rest after that", self.daemon.cost()?);
        self.daemon.stop()?;
        self.daemon = Daemon::start(self.folder)?;
        pause(self.plan.rest);
        tell_memory("at rest after a start", self.daemon.cost()?);
        Ok(())
    }

    /// Starts once more, and tells how long what takes.
    fn again(&mut self, what: &str) -> Outcome<()> {
        self.daemon = Daemon::start(self.folder)?;
        let whole = self.wait_indexed()?;
        let Cost { cpu, .. } = self.daemon.cost()?;
        println!(
            "{what}: ready after {}, the index whole {} later, {cpu:.2} s CPU until then",
            ms(self.daemon.ready),
            ms(whole)
        );
        Ok(())
    }
}
