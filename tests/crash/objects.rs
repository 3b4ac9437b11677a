#![cfg(test)]
//! Objects and packages under `kill -9`: put, assembled from parts, copied, moved, deleted, pushed,
//! and swept while they are. What was acknowledged is there with its digest, nothing dangles, and
//! what a crash left behind goes with the next sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use drip::cask::package::{Metadata, Parcel, Section};
use drip::kernel::{Clock as _, Digest, SystemClock};
use serde_json::{Value, json};

use super::catalogue::Alive;
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;
use crate::support::kill_loop::{KillLoop, Work, look_twice};
use crate::support::number_from_env;
use crate::support::oracle::{Oracle, Visible};
use crate::support::pause;
use crate::support::rng::Rng;
use crate::support::shim::{Class, Fault, Shim};
use crate::support::sigv4::{S3, elements};
use crate::support::sync_walk::at_its_syncs;

const PAIR: (&str, &str) = ("crash-access", "crash-secret-0123456789");
/// The least size of a part that is not the last.
const PART: usize = 5 << 20;
/// How long a sweep may take to come round on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with an admin and an S3 listener, whose sweeper takes whatever is older than a minute.
fn start() -> (Home, String) {
    let home = Home::with_admin();
    home.settings(&settings());
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    daemon.stop();
    (home, token)
}

fn settings() -> String {
    format!(
        "[cask]\ntidy_every = \"1s\"\ngrace = \"60s\"\n[cask.s3]\nlisten = \"127.0.0.1:0\"\n\
         access_key = \"{}\"\nsecret_key = \"{}\"\n",
        PAIR.0, PAIR.1
    )
}

/// The objects of one folder, seen by one admin. Two keys make a pair: what is moved or copied from
/// one to the other changes both at once or neither, so the oracle knows them as one.
struct Objects {
    admin: String,
    /// The chunks of every content that was ever sent, by its digest.
    chunks: Mutex<BTreeMap<String, Vec<Digest>>>,
}

/// What a pair holds: the digests under `a` and `b`.
type Pair = (Option<String>, Option<String>);

fn value_of(pair: &Pair) -> Option<Value> {
    (pair.0.is_some() || pair.1.is_some()).then(|| json!({"a": pair.0, "b": pair.1}))
}

impl Objects {
    fn new(admin: String) -> Self {
        Self { admin, chunks: Mutex::default() }
    }

    fn http(&self, daemon: &Daemon) -> Http {
        daemon.http().with_token(&self.admin)
    }

    fn s3(daemon: &Daemon) -> S3 {
        S3::new(daemon.s3().unwrap(), PAIR)
    }

    /// Remembers a content and answers its digest.
    fn know(&self, parts: &[&[u8]]) -> String {
        let whole = Digest::of(&parts.concat()).to_hex();
        let inline = 32 << 10;
        let is_inline = parts.len() == 1 && parts[0].len() <= inline;
        let chunks =
            if is_inline { Vec::new() } else { parts.iter().map(|p| Digest::of(p)).collect() };
        self.chunks.lock().unwrap().insert(whole.clone(), chunks);
        whole
    }

    fn digest(http: &Http, key: &str) -> Alive<Option<String>> {
        let answer = http.get(&path(key)).ok()?;
        Some((answer.status == 200).then(|| answer.header("drip-sha256").unwrap().to_owned()))
    }

    fn pair(http: &Http, name: &str) -> Alive<Pair> {
        let side = |side: &str| Self::digest(http, &format!("{name}/{side}"));
        Some((side("a")?, side("b")?))
    }

    /// Sends what makes a pair become another, by way of the oracle.
    fn change(
        oracle: &Oracle,
        name: &str,
        pair: &Pair,
        send: impl FnOnce() -> Option<u16>,
    ) -> Alive<()> {
        let sent = oracle.invoke(&format!("pair/{name}"), value_of(pair));
        let status = send();
        oracle.answered(sent, status);
        status.filter(|status| *status < 500).map(drop)
    }

    fn put(&self, http: &Http, oracle: &Oracle, name: &str, bytes: &[u8]) -> Alive<()> {
        let (_, b) = Self::pair(http, name)?;
        let after = (Some(self.know(&[bytes])), b);
        Self::change(oracle, name, &after, || {
            let path = path(&format!("{name}/a"));
            Some(http.send("PUT", &path, None, bytes).ok()?.status)
        })
    }

    /// One that must be refused: its bytes are not those that were said.
    fn put_wrongly(&self, http: &Http, oracle: &Oracle, name: &str) -> Alive<()> {
        let wrong = (Some("never".to_owned()), None);
        Self::change(oracle, name, &wrong, || {
            let body = vec![7; 50_000];
            let head = format!(
                "PUT {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\
                 drip-sha256: {}\r\nconnection: close\r\n\r\n",
                path(&format!("{name}/a")),
                http.address(),
                self.admin,
                body.len(),
                "0".repeat(64)
            );
            let status = http.raw(&[head.as_bytes(), &body].concat()).ok()?.status;
            assert_eq!(status, 422);
            Some(status)
        })
    }

    /// Assembles `a` from two parts.
    fn assemble(
        &self,
        daemon: &Daemon,
        oracle: &Oracle,
        name: &str,
        parts: [&[u8]; 2],
    ) -> Alive<()> {
        let (http, s3) = (self.http(daemon), Self::s3(daemon));
        let (_, b) = Self::pair(&http, name)?;
        let after = (Some(self.know(&parts)), b);
        let path = format!("/models/{name}/a");
        let begun = s3.send("POST", &path, "uploads=", b"").ok()?.expect(200);
        let id = elements(&begun, "UploadId").remove(0);
        let mut named = String::new();
        for (at, part) in parts.iter().enumerate() {
            let query = format!("partNumber={}&uploadId={id}", at + 1);
            let put = s3.send("PUT", &path, &query, part).ok()?;
            (put.status == 200).then_some(())?;
            let etag = put.header("etag").unwrap();
            let number = at + 1;
            write!(named, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
                .unwrap();
        }
        let body = format!("<CompleteMultipartUpload>{named}</CompleteMultipartUpload>");
        Self::change(oracle, name, &after, || {
            Some(s3.send("POST", &path, &format!("uploadId={id}"), body.as_bytes()).ok()?.status)
        })
    }

    /// Copies `a` to `b`, or moves it there.
    fn transfer(http: &Http, oracle: &Oracle, name: &str, moves: bool) -> Alive<()> {
        let (a, _) = Self::pair(http, name)?;
        if a.is_none() {
            return Some(());
        }
        let after = (a.clone().filter(|_| !moves), a);
        let place = |side: &str| json!({"bucket": "models", "key": format!("{name}/{side}")});
        let body = json!({"from": place("a"), "to": place("b")});
        let verb = if moves { "move" } else { "copy" };
        Self::change(oracle, name, &after, || {
            Some(http.post(&format!("/api/v1/objects:{verb}"), &body).ok()?.status)
        })
    }

    fn delete(http: &Http, oracle: &Oracle, name: &str) -> Alive<()> {
        let (a, _) = Self::pair(http, name)?;
        Self::change(oracle, name, &(a, None), || {
            Some(match http.delete(&path(&format!("{name}/b"))).ok()?.status {
                // It was gone before: then it is as it was asked to be.
                404 => 204,
                status => status,
            })
        })
    }

    fn push(&self, http: &Http, oracle: &Oracle, name: &str, seed: u64) -> Alive<()> {
        let bytes = parcel(name, seed);
        let digest = self.know(&[&bytes]);
        let sent = oracle.invoke(&format!("package/{name}"), Some(json!(digest)));
        let path = format!("/api/v1/packages/{name}/1.0.0");
        let status = http.send("PUT", &path, None, &bytes).ok().map(|answer| answer.status);
        oracle.answered(sent, status);
        status.filter(|status| *status < 500).map(drop)
    }

    /// One thing or another, by chance.
    fn some(&self, daemon: &Daemon, oracle: &Oracle, lane: usize, rng: &mut Rng) -> Alive<()> {
        let http = self.http(daemon);
        let name = format!("{lane}-{}", rng.below(2));
        // A few contents come again, so that chunks are shared, and swept ones return.
        let seed = rng.below(4) as u64;
        match rng.below(20) {
            0..=2 => self.put(&http, oracle, &name, &Rng::new(seed).bytes(1000)),
            3..=7 => self.put(&http, oracle, &name, &Rng::new(seed).bytes(60_000)),
            8..=9 => {
                let (first, last) = (Rng::new(seed).bytes(PART), Rng::new(seed + 9).bytes(60_000));
                self.assemble(daemon, oracle, &name, [&first, &last])
            }
            10..=12 => Self::transfer(&http, oracle, &name, false),
            13..=14 => Self::transfer(&http, oracle, &name, true),
            15..=17 => Self::delete(&http, oracle, &name),
            18 => self.push(&http, oracle, &format!("p{lane}x{:x}", rng.next()), rng.next()),
            _ => self.put_wrongly(&http, oracle, &name),
        }
    }

    /// The chunks that what is there is made of.
    fn named(&self, visible: &Visible) -> BTreeSet<Digest> {
        let known = self.chunks.lock().unwrap();
        let digests = visible.values().flat_map(|value| match value {
            Value::Object(pair) => pair.values().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect::<Vec<_>>(),
        });
        digests.flat_map(|digest| known[digest].clone()).collect()
    }
}

fn path(key: &str) -> String {
    format!("/api/v1/objects/models/{key}")
}

fn parcel(name: &str, seed: u64) -> Vec<u8> {
    let mut parcel = Parcel::new(Metadata::new(name, "1.0.0"));
    parcel.add_bytes(Section::Objects, "model.bin", Rng::new(seed).bytes(60_000)).unwrap();
    parcel.to_bytes().unwrap()
}

impl Work for Objects {
    fn work(&self, daemon: &Daemon, lane: usize, rng: &mut Rng, oracle: &Oracle) {
        while self.some(daemon, oracle, lane, rng).is_some() {}
    }

    fn look(&self, daemon: &Daemon) -> Visible {
        let http = self.http(daemon);
        let mut visible = Visible::new();
        for object in super::cards::whole(&http, "/api/v1/objects/models").unwrap() {
            let key = object["key"].as_str().unwrap();
            let (name, side) = key.rsplit_once('/').unwrap();
            let pair = visible
                .entry(format!("pair/{name}"))
                .or_insert_with(|| json!({"a": null, "b": null}));
            pair[side] = object["sha256"].clone();
        }
        for package in super::cards::whole(&http, "/api/v1/packages").unwrap() {
            let name = package["name"].as_str().unwrap();
            visible.insert(format!("package/{name}"), package["sha256"].clone());
        }
        visible
    }

    /// Every byte that is named is there.
    fn also(&self, daemon: &Daemon) -> Vec<String> {
        let answer = self.http(daemon).get("/api/v1/objects:verify").unwrap().expect(200);
        let text = answer.text();
        let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let damaged = report["damaged"].as_array().unwrap();
        damaged.iter().map(|damage| format!("it dangles: {damage}")).collect()
    }
}

/// Makes every chunk look as if it had been written two hours ago, also those that nothing names.
fn make_old(home: &Home) {
    let now: SystemTime = SystemClock.now().to_chrono().into();
    let old = now - Duration::from_hours(2);
    for file in chunk_files(&home.data()) {
        // The sweeper may have been quicker.
        if let Ok(file) = std::fs::File::options().write(true).open(file) {
            file.set_modified(old).unwrap();
        }
    }
}

fn chunk_files(data: &Path) -> Vec<std::path::PathBuf> {
    let folders = |path: &Path| {
        let read = std::fs::read_dir(path).into_iter().flatten();
        read.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect::<Vec<_>>()
    };
    let shards = folders(&data.join("cask/blobs")).into_iter().filter(|path| path.is_dir());
    shards.flat_map(|shard| folders(&shard)).collect()
}

/// After the last crash: uploads under way are given up, and a sweep leaves what is named and no more.
fn sweeps_clean(home: &Home, objects: &Objects) {
    let daemon = home.serve();
    let s3 = Objects::s3(&daemon);
    let listed = s3.send("GET", "/models", "uploads=", b"").unwrap().expect(200);
    for (key, id) in elements(&listed, "Key").iter().zip(elements(&listed, "UploadId")) {
        let gone = s3.send("DELETE", &format!("/models/{key}"), &format!("uploadId={id}"), b"");
        gone.unwrap().expect(204);
    }
    make_old(home);
    let named: BTreeSet<_> =
        objects.named(&objects.look(&daemon)).iter().map(|chunk| chunk.to_hex()).collect();
    let begun = Instant::now();
    loop {
        let there: BTreeSet<String> = chunk_files(&home.data())
            .iter()
            .map(|path| path.iter().rev().take(2).map(|part| part.to_str().unwrap()))
            .map(|parts| parts.collect::<Vec<_>>().into_iter().rev().collect())
            .collect();
        if there == named {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "there are {there:?} and named are {named:?}");
        pause(Duration::from_millis(50));
    }
    assert!(objects.also(&daemon).is_empty());
    daemon.kill();
}

/// A fixed piece of work; it ends early when the daemon is gone.
fn piece(objects: &Objects, daemon: &Daemon, oracle: &Oracle) -> Option<()> {
    let http = objects.http(daemon);
    let bytes = |seed: u64, count| Rng::new(seed).bytes(count);
    objects.put(&http, oracle, "x", &bytes(1, 1000))?;
    objects.put(&http, oracle, "x", &bytes(1, 60_000))?;
    Objects::transfer(&http, oracle, "x", false)?;
    objects.put_wrongly(&http, oracle, "x")?;
    objects.assemble(daemon, oracle, "y", [&bytes(2, PART), &bytes(3, 60_000)])?;
    Objects::transfer(&http, oracle, "y", true)?;
    objects.put(&http, oracle, "y", &bytes(1, 60_000))?;
    Objects::delete(&http, oracle, "x")?;
    Objects::delete(&http, oracle, "y")?;
    objects.push(&http, oracle, "pushed", 4)
}

#[test]
fn kill_at_the_nth_sync_of_objects_loses_nothing_that_was_acknowledged() {
    let (origin, token) = start();
    let counts = at_its_syncs(&origin, || Objects::new(token.clone()), piece);
    assert_eq!((counts.sent, counts.ok, counts.failed), (10, 9, 1));
}

#[test]
fn kill_at_random_moments_of_objects_loses_nothing_and_leaves_nothing() {
    let (home, token) = start();
    let objects = Objects::new(token);
    let counts = KillLoop::default().run(&home, &objects);
    assert!(counts.ok > 0, "nothing was acknowledged: nothing was shown");
    sweeps_clean(&home, &objects);
}

/// Work beside a sweeper for which every chunk is old: what is put again while it is swept stays.
struct Swept<'a> {
    objects: Objects,
    home: &'a Home,
}

impl Work for Swept<'_> {
    fn work(&self, daemon: &Daemon, lane: usize, rng: &mut Rng, oracle: &Oracle) {
        loop {
            make_old(self.home);
            let http = self.objects.http(daemon);
            let name = format!("{lane}-0");
            let bytes = Rng::new(rng.below(2) as u64).bytes(60_000);
            let put = self.objects.put(&http, oracle, &name, &bytes);
            let moved = put.and_then(|()| Objects::transfer(&http, oracle, &name, true));
            if moved.and_then(|()| Objects::delete(&http, oracle, &name)).is_none() {
                return;
            }
        }
    }

    fn look(&self, daemon: &Daemon) -> Visible {
        self.objects.look(daemon)
    }

    fn also(&self, daemon: &Daemon) -> Vec<String> {
        self.objects.also(daemon)
    }
}

#[test]
fn a_sweeper_that_races_with_the_same_bytes_and_is_killed_loses_nothing() {
    let (home, token) = start();
    let swept = Swept { objects: Objects::new(token), home: &home };
    let cycles = number_from_env("CRASH_CYCLES", 3).min(10);
    // Long enough for some sweeps: they come once a second.
    let kills = KillLoop { cycles, lanes: 2, life: Duration::from_millis(2500) };
    let counts = kills.run(&home, &swept);
    assert!(counts.ok > 0, "nothing was acknowledged: nothing was shown");
    sweeps_clean(&home, &swept.objects);
}

/// A disk that is full in the middle of an upload refuses it, and nothing of it is left behind.
#[test]
fn a_full_disk_in_the_middle_of_an_upload_leaves_nothing_behind() {
    let (home, token) = start();
    let objects = Objects::new(token);
    let oracle = Oracle::open(&home.path().join("journal"));
    let shim = Shim::new(&home.data(), Class::Write, Fault::EnospcForever);
    let daemon = home.serve_under(&shim).unwrap();
    let http = objects.http(&daemon);
    assert!(objects.put(&http, &oracle, "x", &Rng::new(1).bytes(60_000)).is_some());
    let before = chunk_files(&home.data());
    // Once in its first write, once when some of it is written.
    for at in [1, 3] {
        shim.arm(at);
        let large = Rng::new(at).bytes(40 << 20);
        let refused = http.send("PUT", &path("x/b"), None, &large).unwrap().expect(507);
        assert_eq!(refused.json()["code"], "disk_full", "{}", refused.text());
        assert_eq!(http.get(&path("x/b")).unwrap().status, 404);
        http.get(&path("x/a")).unwrap().expect(200);
    }
    let staged = |path: &std::path::PathBuf| path.display().to_string().contains('#');
    let left: Vec<_> = chunk_files(&home.data()).into_iter().filter(staged).collect();
    assert!(left.is_empty(), "half-written: {left:?}");
    daemon.kill();
    let broken = look_twice(&home, &objects, &oracle);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    sweeps_clean(&home, &objects);
    assert_eq!(chunk_files(&home.data()), before);
}
