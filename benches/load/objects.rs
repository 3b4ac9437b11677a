//! Objects over S3 in a release daemon, beside SeaweedFS and beside plain files with the same syncs:
//! small and large, one client and 32, lists, parts; then a million small objects, and four GiB in
//! one. CPU times are each server's process's own.
//!
//! `LOAD_WEED` names SeaweedFS's `weed`; without it Drip is measured alone. `LOAD_OBJECTS` says how many
//! small objects, `LOAD_GIB` how large the large one is, `LOAD_BINARY` which daemon.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drip::kernel::{Digest, disk};

#[allow(dead_code, reason = "the daemon is asked for a token alone")]
mod client;
#[allow(dead_code, reason = "the other bench kills it, too")]
mod daemon;
mod s3;

use daemon::{Daemon, cost_of};
use s3::{PAIR, S3};

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

const BUCKET: &str = "bench";
const SMALL: usize = 4 << 10;
const LARGE: usize = 16 << 20;
const PART: usize = 8 << 20;
/// So many ports behind the first one are SeaweedFS's, too.
const PORTS: u16 = 15;

/// How much is done: a real measurement, or a try.
struct Plan {
    rounds: usize,
    time: Duration,
    objects: u64,
    gib: u64,
}

impl Plan {
    fn from_args() -> Outcome<Self> {
        let is_real = std::env::args().any(|argument| argument == "--bench");
        let from_env = |name: &str| -> Outcome<Option<u64>> {
            Ok(std::env::var(name).ok().map(|text| text.parse()).transpose()?)
        };
        let (objects, gib) = (from_env("LOAD_OBJECTS")?, from_env("LOAD_GIB")?);
        Ok(if is_real {
            Self {
                rounds: 3,
                time: Duration::from_secs(3),
                objects: objects.unwrap_or(1_000_000),
                gib: gib.unwrap_or(4),
            }
        } else {
            Self {
                rounds: 1,
                time: Duration::from_millis(50),
                objects: objects.unwrap_or(2000),
                gib: gib.unwrap_or(0),
            }
        })
    }
}

/// A server under measurement.
struct Server {
    name: &'static str,
    address: String,
    process: u32,
}

/// What each line found, round by round: operations a second, and CPU milliseconds of each.
type Found = BTreeMap<(&'static str, &'static str), Vec<(f64, f64)>>;

fn main() -> Outcome<()> {
    let plan = Plan::from_args()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut daemon = start_drip(folder.path())?;
    let weed = Weed::start(&folder.path().join("weed"))?;
    let mut servers = vec![Server {
        name: "drip",
        address: daemon.s3.clone().ok_or("no S3 address")?,
        process: daemon.id(),
    }];
    match &weed {
        Some(weed) => servers.push(Server {
            name: "weed",
            address: weed.address.clone(),
            process: weed.child.id(),
        }),
        None => println!("LOAD_WEED is not set: Drip alone"),
    }
    for server in &servers {
        expect(&mut S3::connect(&server.address)?, "PUT", &format!("/{BUCKET}"), "", b"")?;
    }
    let mut found = Found::new();
    for round in 0..plan.rounds {
        files(folder.path(), &plan, &mut found)?;
        for server in &servers {
            server.round(&plan, round, &mut found)?;
        }
    }
    tell(&found);
    drop(weed);
    if let Some(drip) = servers.first() {
        drip.large(&plan, &daemon)?;
        drip.many(&plan)?;
    }
    println!(
        "memory after them: {} MiB, {} at most",
        daemon.cost()?.resident >> 20,
        daemon.cost()?.peak >> 20
    );
    daemon.stop()?;
    let again = Daemon::start(folder.path())?;
    println!(
        "a start with {} objects: ready after {:.0} ms, {} MiB",
        plan.objects,
        again.ready.as_secs_f64() * 1e3,
        again.cost()?.resident >> 20
    );
    Ok(())
}

fn start_drip(folder: &Path) -> Outcome<Daemon> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::create_dir(folder.join("data"))?;
    daemon::create_admin(folder)?;
    let mut settings = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("drip.toml"))?;
    write!(
        settings,
        "[cask.s3]\nlisten = \"127.0.0.1:0\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n",
        PAIR.0, PAIR.1
    )?;
    Daemon::start(folder)
}

/// SeaweedFS on a folder. Dropping it kills it, and no other.
struct Weed {
    child: Child,
    address: String,
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Weed {
    fn start(folder: &Path) -> Outcome<Option<Self>> {
        let Some(program) = std::env::var_os("LOAD_WEED").map(PathBuf::from) else {
            return Ok(None);
        };
        std::fs::create_dir_all(folder)?;
        let config = serde_json::json!({"identities": [{
            "name": "bench",
            "credentials": [{"accessKey": PAIR.0, "secretKey": PAIR.1}],
            "actions": ["Admin", "Read", "Write", "List"],
        }]});
        std::fs::write(folder.join("s3.json"), config.to_string())?;
        let first = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let first = first.min(u16::MAX - PORTS);
        let port = |behind: u16| (first + behind).to_string();
        let child = Command::new(&program)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"])
            .arg(format!("-dir={}", folder.display()))
            .arg(format!("-s3.port={}", port(0)))
            .arg(format!("-s3.config={}", folder.join("s3.json").display()))
            .arg(format!("-s3.port.grpc={}", port(14)))
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"])
            .arg(format!("-master.port={}", port(1)))
            .arg(format!("-master.port.grpc={}", port(11)))
            .arg(format!("-volume.port={}", port(2)))
            .arg(format!("-volume.port.grpc={}", port(12)))
            .arg(format!("-filer.port={}", port(3)))
            .arg(format!("-filer.port.grpc={}", port(13)))
            .args(["-master.volumeSizeLimitMB=1024", "-volume.max=100"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let weed = Self { child, address: format!("127.0.0.1:{first}") };
        let begun = Instant::now();
        while !S3::connect(&weed.address)
            .and_then(|mut s3| s3.call("GET", "/healthz", "", b""))
            .is_ok_and(|status| status == 200)
        {
            if begun.elapsed() > Duration::from_mins(1) {
                return Err("SeaweedFS does not start".into());
            }
            pause(Duration::from_millis(100));
        }
        // Else it answers before anything is synced: then nothing is measured that we promise.
        let mut shell = Command::new(&program)
            .args(["shell", &format!("-master=127.0.0.1:{}.{}", port(1), port(11))])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = shell.stdin.take() {
            writeln!(stdin, "fs.configure -locationPrefix=/buckets/ -fsync -apply\nexit")?;
        }
        if !shell.wait()?.success() {
            return Err("SeaweedFS does not take its setting to sync".into());
        }
        Ok(Some(weed))
    }
}

fn expect(s3: &mut S3, method: &str, path: &str, query: &str, body: &[u8]) -> Outcome<()> {
    let status = s3.call(method, path, query, body)?;
    if matches!(status, 200..=299) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&s3.body).into_owned();
    Err(format!("{status} for {method} {path}: {said}").into())
}

/// Bytes that no other call wrote: equal chunks are kept once.
fn bytes(size: usize, number: u64) -> Vec<u8> {
    let mut bytes = vec![7_u8; size];
    for place in bytes.chunks_mut(1 << 20) {
        for (byte, seed) in place.iter_mut().zip(number.to_le_bytes()) {
            *byte = seed;
        }
    }
    bytes
}

/// What the disk gives without a server: a file written, synced, renamed, its folder synced.
fn files(folder: &Path, plan: &Plan, found: &mut Found) -> Outcome<()> {
    let folder = folder.join("files");
    disk::make_folder(&folder)?;
    for (what, hashed, read, size) in [
        ("put 4 KiB", "put 4 KiB, hashed", "get 4 KiB", SMALL),
        ("put 16 MiB", "put 16 MiB, hashed", "get 16 MiB", LARGE),
    ] {
        let mut at = 0;
        let mut keep = |what, work: &mut dyn FnMut(u64) -> Outcome<()>| -> Outcome<()> {
            let (begun, mut count) = (Instant::now(), 0);
            while begun.elapsed() < plan.time || count == 0 {
                at += 1;
                work(at)?;
                count += 1;
            }
            let rate = number(count) / begun.elapsed().as_secs_f64();
            found.entry((what, "file")).or_default().push((rate, 0.0));
            Ok(())
        };
        let path = folder.join("one");
        keep(what, &mut |at| Ok(disk::replace_file(&path, &bytes(size, at), 0o600)?))?;
        keep(hashed, &mut |at| {
            let bytes = bytes(size, at);
            let _digest = std::hint::black_box(Digest::of(&bytes));
            Ok(disk::replace_file(&path, &bytes, 0o600)?)
        })?;
        keep(read, &mut |_| {
            drop(std::hint::black_box(std::fs::read(&path)?));
            Ok(())
        })?;
    }
    Ok(())
}

impl Server {
    /// Has so many clients do the same again and again; notes what it cost.
    fn keep_doing(
        &self,
        (what, clients): (&'static str, u64),
        plan: &Plan,
        found: &mut Found,
        work: impl Fn(&mut S3, u64) -> Outcome<()> + Sync,
    ) -> Outcome<()> {
        let (before, begun) = (cost_of(self.process)?.cpu, Instant::now());
        let over = AtomicBool::new(false);
        let next = AtomicU64::new(0);
        let one = || -> Outcome<()> {
            let mut s3 = S3::connect(&self.address)?;
            loop {
                work(&mut s3, next.fetch_add(1, Ordering::Relaxed))?;
                if over.load(Ordering::Relaxed) || begun.elapsed() >= plan.time {
                    over.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
        };
        std::thread::scope(|scope| -> Outcome<()> {
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                thread.join().map_err(|_panic| "a client panicked")??;
            }
            Ok(())
        })?;
        let (count, wall) = (number(next.into_inner()), begun.elapsed().as_secs_f64());
        let cpu = cost_of(self.process)?.cpu - before;
        found.entry((what, self.name)).or_default().push((count / wall, cpu / count * 1e3));
        Ok(())
    }

    fn round(&self, plan: &Plan, round: usize, found: &mut Found) -> Outcome<()> {
        let path = |kind: &str, at: u64| format!("/{BUCKET}/{kind}/{round}-{at:07}");
        let seed = |at: u64| at << 8 | round as u64;
        for (what, clients) in [("put 4 KiB", 1), ("put 4 KiB, 32 clients", 32)] {
            self.keep_doing((what, clients), plan, found, |s3, at| {
                let path = format!("{}-{clients}", path("small", at));
                expect(s3, "PUT", &path, "", &bytes(SMALL, seed(at)))
            })?;
        }
        for (what, clients) in [("get 4 KiB", 1), ("get 4 KiB, 32 clients", 32)] {
            self.keep_doing((what, clients), plan, found, |s3, _| {
                expect(s3, "GET", &format!("{}-1", path("small", 0)), "", b"")
            })?;
        }
        self.keep_doing(("put 16 MiB", 1), plan, found, |s3, at| {
            expect(s3, "PUT", &path("large", at), "", &bytes(LARGE, seed(at)))
        })?;
        self.keep_doing(("get 16 MiB", 1), plan, found, |s3, _| {
            expect(s3, "GET", &path("large", 0), "", b"")
        })?;
        self.keep_doing(("list 1000 keys", 1), plan, found, |s3, _| {
            expect(s3, "GET", &format!("/{BUCKET}"), "list-type=2&prefix=small%2F", b"")
        })?;
        self.keep_doing(("64 MiB in 8 parts", 1), plan, found, |s3, at| {
            in_parts(s3, &path("parts", at), 8, seed(at))
        })
    }

    /// One very large object, in parts: how much memory that takes.
    fn large(&self, plan: &Plan, daemon: &Daemon) -> Outcome<()> {
        if plan.gib == 0 {
            return Ok(());
        }
        let idle = daemon.cost()?;
        let mut s3 = S3::connect(&self.address)?;
        let path = format!("/{BUCKET}/huge");
        let begun = Instant::now();
        in_parts(&mut s3, &path, plan.gib * 128, 99)?;
        let (put, peak) = (begun.elapsed(), daemon.cost()?.peak);
        let begun = Instant::now();
        // In ranges that a client takes: the body of one answer is this bench's own memory.
        for part in 0..plan.gib * 16 {
            let status = s3.call("GET", &path, &format!("partNumber={}", part * 8 + 1), b"")?;
            if status != 206 {
                return Err(format!("{status} for part {part}").into());
            }
        }
        let got = begun.elapsed();
        println!(
            "{} GiB in parts: put in {:.1} s, an eighth of it got in {:.1} s; memory {} MiB before, {} MiB at most then, {} MiB at most in the end",
            plan.gib,
            put.as_secs_f64(),
            got.as_secs_f64(),
            idle.resident >> 20,
            peak >> 20,
            daemon.cost()?.peak >> 20
        );
        expect(&mut s3, "DELETE", &path, "", b"")
    }

    /// A million small objects, and whether a page of them costs the same wherever it lies.
    fn many(&self, plan: &Plan) -> Outcome<()> {
        let mut s3 = S3::connect(&self.address)?;
        expect(&mut s3, "PUT", "/many", "", b"")?;
        let (begun, next) = (Instant::now(), AtomicU64::new(0));
        let before = cost_of(self.process)?.cpu;
        let one = || -> Outcome<()> {
            let mut s3 = S3::connect(&self.address)?;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= plan.objects {
                    return Ok(());
                }
                expect(&mut s3, "PUT", &key(at), "", &bytes(100, at))?;
            }
        };
        std::thread::scope(|scope| -> Outcome<()> {
            let threads: Vec<_> = (0..32).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                thread.join().map_err(|_panic| "a client panicked")??;
            }
            Ok(())
        })?;
        let (wall, count) = (begun.elapsed().as_secs_f64(), number(plan.objects));
        let cost = cost_of(self.process)?;
        println!(
            "{} objects of 100 bytes, 32 clients: {:.0} /s, {:.3} ms CPU each; memory {} MiB",
            plan.objects,
            count / wall,
            (cost.cpu - before) / count * 1e3,
            cost.resident >> 20
        );
        // The first connection has stood still for too long by now.
        let mut s3 = S3::connect(&self.address)?;
        for (where_, at) in [("first", 0), ("middle", plan.objects / 2), ("last", plan.objects)] {
            let after = key(at.saturating_sub(1001)).replace("/many/", "").replace('/', "%2F");
            let begun = Instant::now();
            for _ in 0..20 {
                let query = format!("list-type=2&start-after={after}");
                expect(&mut s3, "GET", "/many", &query, b"")?;
            }
            println!("  the {where_} page of 1000: {:.2} ms", begun.elapsed().as_secs_f64() * 50.0);
        }
        let begun = Instant::now();
        expect(&mut s3, "GET", "/many", "delimiter=%2F&list-type=2", b"")?;
        println!("  1000 prefixes: {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }
}

fn key(at: u64) -> String {
    format!("/many/d{:03}/k{at:07}", at / 1000)
}

/// Puts an object in so many parts of 8 MiB.
fn in_parts(s3: &mut S3, path: &str, count: u64, seed: u64) -> Outcome<()> {
    expect(s3, "POST", path, "uploads=", b"")?;
    let said = String::from_utf8_lossy(&s3.body).into_owned();
    let id = said.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next());
    let id = id.ok_or("no upload")?.to_owned();
    let mut named = String::from("<CompleteMultipartUpload>");
    for at in 1..=count {
        let query = format!("partNumber={at}&uploadId={id}");
        expect(s3, "PUT", path, &query, &bytes(PART, seed << 16 | at))?;
        named += "<Part><PartNumber>";
        named += &at.to_string();
        named += "</PartNumber><ETag>";
        named += &s3.etag;
        named += "</ETag></Part>";
    }
    named += "</CompleteMultipartUpload>";
    expect(s3, "POST", path, &format!("uploadId={id}"), named.as_bytes())
}

fn tell(found: &Found) {
    for ((what, name), rounds) in found {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        println!("{what:<24} {name}: {:>9.1} /s {:>8.3} ms CPU", median(|r| r.0), median(|r| r.1));
    }
}
