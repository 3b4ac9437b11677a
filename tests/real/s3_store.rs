#![cfg(test)]
//! Blobs in a real S3 store, SeaweedFS: what blobs promise holds there too, a store that is away is told
//! as such and comes back by itself, and two daemons share one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drip::kernel::blobs::{Blobs, CHUNK_BYTES, S3Place};
use drip::kernel::config::Secret;
use drip::kernel::{Clock as _, Digest, Kind, SystemClock};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::{Answer, Http};
use crate::support::mongo;
use crate::support::proxy::Proxy;
use crate::support::rng::Rng;
use crate::support::sigv4::S3;
use crate::support::weed::{PAIR, Weed, shared};
use crate::support::{pause, real_venv};

const HOUR: Duration = Duration::from_hours(1);

fn place(endpoint: &str, bucket: &str, secret: &str) -> S3Place {
    S3Place {
        url: format!("s3://{bucket}/blobs"),
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".to_owned(),
        access_key: Some(PAIR.0.to_owned()),
        secret_key: Some(Secret::new(secret)),
        timeout: Duration::from_secs(5),
    }
}

fn noise(size: usize, seed: u64) -> Bytes {
    Rng::new(seed).bytes(size).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_keep_their_promises_in_an_s3_store() {
    let Some(venv) = real_venv("s3_store") else { return };
    let weed = shared(&venv);
    let blobs = Blobs::s3(&place(&weed.url(), &weed.new_bucket(), PAIR.1)).unwrap();
    for size in [1, 40_000, CHUNK_BYTES + 5] {
        let bytes = noise(size, 1);
        let written = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(written.blob.digest, Digest::of(&bytes));
        assert!(blobs.read_to_bytes(&written.blob, 0..u64::MAX).await.unwrap() == bytes);
        let (from, to) = (size / 3, size / 2);
        let part = blobs.read_to_bytes(&written.blob, from as u64..to as u64).await.unwrap();
        assert!(part == bytes.slice(from..to));
        blobs.verify(&written.blob).await.unwrap();
    }
    let parts =
        [blobs.put(noise(50_000, 2)).await.unwrap(), blobs.put(noise(60_000, 3)).await.unwrap()];
    let refs = [parts[0].blob.clone(), parts[1].blob.clone()];
    let (joined, ()) = blobs.join(&refs, (), |(), _| {}).await.unwrap();
    let whole = [noise(50_000, 2), noise(60_000, 3)].concat();
    assert!(blobs.read_to_bytes(&joined.blob, 0..u64::MAX).await.unwrap() == whole);
    drop((parts, joined));
    // The store has seconds; the chunks of the first blobs are shared with nobody.
    let later = SystemClock.now().after(2 * HOUR);
    let keep: Vec<Digest> = refs[0].chunks().collect();
    let swept = blobs.sweep(|chunk| Ok(keep.contains(&chunk)), later, HOUR).await.unwrap();
    assert_eq!((swept.removed, swept.waiting), (4, 0));
    blobs.verify(&refs[0]).await.unwrap();
    let gone = blobs.verify(&refs[1]).await.unwrap_err();
    assert_eq!(gone.code(), "blob_missing");
    let wrong = Blobs::s3(&place(&weed.url(), &weed.new_bucket(), "wrong")).unwrap();
    let refused = wrong.put(noise(40_000, 1)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Config, "blob_store"));
}

/// A daemon whose bytes lie in an S3 store, and its rows in a database where there is one.
struct Node {
    home: Home,
    daemon: Daemon,
    http: Http,
}

impl Node {
    fn start(endpoint: &str, bucket: &str, records: Option<&str>) -> Self {
        let home = Home::with_admin();
        let records = records.map(|url| format!("records = \"{url}\"\n")).unwrap_or_default();
        home.settings(&format!(
            "[cask]\ntidy_every = \"1s\"\ngrace = \"60s\"\nblobs = \"s3://{bucket}/drip\"\n{records}\
             [cask.store]\nendpoint = \"{endpoint}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\ntimeout = \"5s\"\n",
            PAIR.0, PAIR.1
        ));
        let daemon = home.serve();
        let http = daemon.http().with_token(&daemon.make_admin_token());
        Self { home, daemon, http }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Answer {
        let path = format!("/api/v1/objects/models/{key}");
        self.http.send("PUT", &path, None, bytes).unwrap()
    }

    fn get(&self, key: &str) -> Answer {
        self.http.get(&format!("/api/v1/objects/models/{key}")).unwrap()
    }

    fn damaged(&self) -> Value {
        let answer = self.http.get("/api/v1/objects:verify").unwrap().expect(200);
        let text = answer.text();
        let report: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        report["damaged"].clone()
    }
}

#[test]
fn a_daemon_whose_store_is_away_says_so_and_goes_on_when_it_is_back() {
    let Some(venv) = real_venv("s3_store") else { return };
    let weed = Weed::start(&venv);
    let node = Node::start(&weed.url(), &weed.new_bucket(), None);
    let bytes = noise(100_000, 1);
    node.put("before", &bytes).expect(201);
    assert!(!node.home.data().join("cask/blobs").exists(), "no byte lies in the folder");
    for gone in [true, false] {
        if gone {
            weed.kill();
        } else {
            weed.hold();
        }
        let refused = node.put("never", &noise(100_000, 2)).expect(503);
        assert_eq!(refused.json()["code"], "blob_store");
        assert!(refused.header("retry-after").is_some(), "it says when to ask again");
        // What needs no byte of the store is answered as ever.
        node.http.get("/api/v1/objects/models").unwrap().expect(200);
        node.put(&format!("small-{gone}"), b"inline").expect(201);
        assert_eq!(node.get("never").status, 404);
        if gone {
            weed.start_again();
        } else {
            weed.go_on();
        }
        let start = Instant::now();
        while node.put("after", &noise(100_000, 3)).status >= 500 {
            assert!(start.elapsed() < Duration::from_mins(1), "it does not come back");
            pause(Duration::from_millis(200));
        }
    }
    assert!(node.get("before").expect(200).body == bytes);
    assert!(node.get("after").expect(200).body == noise(100_000, 3));
    assert_eq!(node.damaged(), json!([]));
}

#[test]
fn a_link_that_is_cut_in_the_middle_loses_nothing_that_was_acknowledged() {
    let Some(venv) = real_venv("s3_store") else { return };
    let weed = shared(&venv);
    let proxy = Proxy::new(&weed.address(), Rng::seed_from_env("CRASH_SEED"));
    let node = Node::start(&format!("http://{}", proxy.address()), &weed.new_bucket(), None);
    let (over, cuts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut kept = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                pause(Duration::from_millis(40));
                proxy.cut();
                proxy.restore();
                cuts.fetch_add(1, Ordering::SeqCst);
            }
        });
        for n in 0..30 {
            let (key, bytes) = (format!("k{n}"), noise(400_000 + n * 1000, n as u64));
            let answer = node.put(&key, &bytes);
            match answer.status {
                201 => kept.push((key, bytes)),
                503 => {}
                other => panic!("{other}: {}", answer.text()),
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    let cuts = cuts.into_inner();
    assert!(cuts > 5, "the link was cut only {cuts} times");
    assert!(kept.len() > 15, "only {} of 30 were kept: it is tried again", kept.len());
    for (key, bytes) in kept {
        assert!(node.get(&key).expect(200).body == bytes, "{key}");
    }
    assert_eq!(node.damaged(), json!([]));
}

#[test]
fn two_daemons_share_a_store_in_mongodb_and_s3() {
    let Some(venv) = real_venv("s3_store") else { return };
    let (weed, database) = (shared(&venv), mongo::shared(&venv));
    let (bucket, records) = (weed.new_bucket(), database.url(&database.new_database()));
    let one = Node::start(&weed.url(), &bucket, Some(&records));
    let two = Node::start(&weed.url(), &bucket, Some(&records));
    let bytes = noise(100_000, 1);
    one.put("from-one", &bytes).expect(201);
    assert!(two.get("from-one").expect(200).body == bytes, "each finds the other's");
    two.put("from-two", &bytes).expect(201);
    let both = [&one, &two].map(|node| {
        let listed = node.http.get("/api/v1/objects/models").unwrap().expect(200).json();
        listed["items"].as_array().unwrap().len()
    });
    assert_eq!(both, [2, 2]);
    // Of two writers who want to be the first, one is.
    let first = |node: &Node, seed| {
        let head = format!(
            "PUT /api/v1/objects/models/first HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-length: 50000\r\nif-none-match: *\r\nconnection: close\r\n\r\n",
            node.daemon.address(),
            node.http.token().unwrap(),
        );
        let request = [head.as_bytes(), &noise(50_000, seed)].concat();
        node.http.raw(&request).unwrap().status
    };
    let mut outcomes: Vec<u16> = std::thread::scope(|scope| {
        let racing =
            [(&one, 2), (&two, 3)].map(|(node, seed)| scope.spawn(move || first(node, seed)));
        racing.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    outcomes.sort_unstable();
    assert_eq!(outcomes, [201, 412]);
    // Deleted at one, it is gone at the other; what the same bytes are named by elsewhere stays.
    let path = "/api/v1/objects/models/from-one";
    one.http.delete(path).unwrap().expect(204);
    assert_eq!(two.get("from-one").status, 404);
    assert!(one.get("from-two").expect(200).body == bytes);
    for node in [&one, &two] {
        assert_eq!(node.damaged(), json!([]));
    }
    let log = format!("{}{}", one.daemon.log(), two.daemon.log());
    assert!(!log.contains("a unit of work failed"), "{log}");
}

#[test]
fn a_bucket_of_another_store_is_taken_in_and_gone_on_with() {
    let Some(venv) = real_venv("s3_store") else { return };
    let weed = shared(&venv);
    let (bucket, s3) = (weed.new_bucket(), S3::new(&weed.address(), PAIR));
    let put = |key: &str, bytes: &[u8]| {
        s3.send("PUT", &format!("/{bucket}/{key}"), "", bytes).unwrap().expect(200);
    };
    let contents: Vec<(String, Bytes)> =
        (0..20).map(|n| (format!("wind/k{n:02}"), noise(1000 + n * 20_000, n as u64))).collect();
    for (key, bytes) in &contents {
        put(key, bytes);
    }
    put("other/x", b"not asked for");
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    let (url, source) = (format!("http://{}", daemon.address()), format!("s3://{bucket}/wind"));
    let import = |more: &[&str]| {
        let line = ["--json", "--url", &url, "cask", "import", &source, "--to", "taken"];
        let mut command = home.dripctl(&line);
        command.args(more).env("DRIP_TOKEN", &token).env("AWS_ENDPOINT_URL", weed.url());
        command.env("AWS_ACCESS_KEY_ID", PAIR.0).env("AWS_SECRET_ACCESS_KEY", PAIR.1);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let would = import(&["--dry-run"]);
    assert_eq!((&would["objects"], &would["skipped"]), (&json!(20), &json!(0)));
    let took = import(&[]);
    assert_eq!((&took["objects"], &took["refused"]), (&json!(20), &json!([])));
    let http = daemon.http().with_token(&token);
    for (key, bytes) in &contents {
        let got = http.get(&format!("/api/v1/objects/taken/{key}")).unwrap().expect(200);
        assert!(got.body == *bytes, "{key}");
    }
    assert_eq!(http.get("/api/v1/objects/taken/other/x").unwrap().status, 404);
    // What changed there, and what is new, is taken; the rest is here already.
    put("wind/k03", b"another model");
    put("wind/new", b"new");
    let took = import(&[]);
    assert_eq!((&took["objects"], &took["skipped"]), (&json!(2), &json!(19)));
    let changed = http.get("/api/v1/objects/taken/wind/k03").unwrap().expect(200);
    assert_eq!(changed.body, b"another model");
}
