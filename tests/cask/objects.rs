//! Objects beyond put and get: copied, moved, kept in versions, evicted, assembled from parts.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use drip::cask::{BucketSettings, CopyOptions, Guard, Listing, PART_MIN, Place, PutOptions};
use drip::kernel::blobs::Blobs;
use drip::kernel::{Digest, Kind, wait_for};
use serde_json::json;
use tokio::task::block_in_place;

use super::http::Web;
use super::{Store, ada, noise};

fn read(store: &Store, bucket: &str, key: &str) -> bytes::Bytes {
    futures::executor::block_on(store.cask.get(bucket, key).unwrap().bytes()).unwrap()
}

fn set(store: &Store, bucket: &str, settings: &BucketSettings) {
    store.cask.save_bucket(&ada(), bucket, settings).unwrap();
}

fn used(store: &Store, bucket: &str) -> (u64, u64) {
    let info = store.cask.bucket(bucket).unwrap();
    (info.objects, info.used_bytes)
}

fn chunk_files(folder: &std::path::Path) -> usize {
    let entries = |path: &std::path::Path| std::fs::read_dir(path).unwrap().flatten();
    entries(folder).filter(|shard| shard.path().is_dir()).flat_map(|s| entries(&s.path())).count()
}

fn keys(store: &Store, bucket: &str) -> Vec<String> {
    let listing = Listing { limit: 1000, ..Listing::default() };
    let list = store.cask.list(bucket, &listing).unwrap().0;
    list.items.into_iter().map(|item| item.key).collect()
}

#[test]
fn a_copy_is_another_name_for_the_same_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::over(Blobs::folder(folder.path()).unwrap());
    let options = PutOptions {
        content_type: Some("text/csv".into()),
        meta: BTreeMap::from([("site".to_owned(), "XJJX".to_owned())]),
        ..PutOptions::default()
    };
    store.cask.put_now(&ada(), "models", "a", options, noise(100_000, 1).into()).unwrap();
    let (from, to) = (Place::new("models", "a"), Place::new("datasets", "b/c"));
    let copied = store.cask.copy(&ada(), &from, &to, &CopyOptions::default()).unwrap();
    assert!(copied.created);
    assert_eq!((copied.item.content_type.as_str(), copied.item.meta.len()), ("text/csv", 1));
    assert_eq!(chunk_files(folder.path()), 1, "no byte is written again");
    assert_eq!((used(&store, "models"), used(&store, "datasets")), ((1, 100_000), (1, 100_000)));
    store.cask.delete(&ada(), "models", "a", &Guard::None).unwrap();
    store.later(Duration::from_hours(2));
    assert_eq!(store.cask.sweep(Duration::from_hours(1)).unwrap().removed, 0);
    assert_eq!(read(&store, "datasets", "b/c"), noise(100_000, 1));
    let gone = store.cask.copy(&ada(), &from, &to, &CopyOptions::default()).unwrap_err();
    assert_eq!(gone.code(), "object_not_found");
    let there = CopyOptions { target: Guard::Absent, ..CopyOptions::default() };
    store.put("models", "a", vec![1]);
    let refused = store.cask.copy(&ada(), &from, &to, &there).unwrap_err();
    assert_eq!(refused.code(), "condition_failed");
}

#[test]
fn a_move_is_there_and_gone_at_once() {
    let store = Store::new();
    store.put("models", "a", noise(100_000, 1));
    set(&store, "small", &BucketSettings { max_bytes: Some(1000), ..Default::default() });
    let a = Place::new("models", "a");
    let how = CopyOptions::default();
    let full = store.cask.relocate(&ada(), &a, &Place::new("small", "a"), &how).unwrap_err();
    assert_eq!(full.code(), "quota_reached");
    assert_eq!(read(&store, "models", "a"), noise(100_000, 1));
    let itself = store.cask.relocate(&ada(), &a, &a, &how).unwrap_err();
    assert_eq!(itself.code(), "onto_itself");
    store.cask.relocate(&ada(), &a, &Place::new("models", "b"), &how).unwrap();
    assert_eq!(keys(&store, "models"), ["b"]);
    // In a full bucket too: what is moved within it needs no room.
    set(&store, "models", &BucketSettings { max_bytes: Some(100_000), ..Default::default() });
    store.cask.relocate(&ada(), &Place::new("models", "b"), &a, &how).unwrap();
    assert_eq!((keys(&store, "models"), used(&store, "models")), (vec!["a".into()], (1, 100_000)));
    assert_eq!(read(&store, "models", "a"), noise(100_000, 1));
}

#[test]
fn two_movers_of_one_object_leave_one_of_it() {
    for _ in 0..20 {
        let store = Store::new();
        store.put("models", "a", noise(40_000, 1));
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let movers: Vec<_> = ["b", "c"]
                .into_iter()
                .map(|to| {
                    let cask = &store.cask;
                    scope.spawn(move || {
                        let (from, to) = (Place::new("models", "a"), Place::new("models", to));
                        cask.relocate(&ada(), &from, &to, &CopyOptions::default()).is_ok()
                    })
                })
                .collect();
            movers.into_iter().map(|mover| mover.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|moved| **moved).count(), 1);
        assert_eq!(used(&store, "models"), (1, 40_000));
    }
}

#[test]
fn a_bucket_keeps_as_many_versions_as_it_says() {
    let store = Store::new();
    set(&store, "kept", &BucketSettings { versions: Some(2), ..Default::default() });
    for n in 0..4 {
        store.put("kept", "a", noise(40_000, n));
    }
    store.put("kept", "b", vec![1]);
    let listing = Listing { limit: 100, ..Listing::default() };
    let (list, end) = store.cask.versions("kept", &listing).unwrap();
    assert_eq!(end, None);
    let of_a: Vec<_> = list.items.iter().filter(|item| item.object.key == "a").collect();
    let latest: Vec<_> = of_a.iter().map(|item| item.is_latest).collect();
    assert_eq!(latest, [true, false, false]);
    assert_eq!(used(&store, "kept"), (2, 3 * 40_000 + 1));
    for (item, seed) in of_a.iter().zip([3, 2, 1]) {
        let version = Some(item.object.version.as_str());
        let found = store.cask.get_version("kept", "a", version).unwrap();
        assert_eq!(wait_for(found.bytes()).unwrap(), noise(40_000, seed));
    }
    // The same in pages of one.
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let listing = Listing { limit: 1, after: after.take(), ..Listing::default() };
        let (page, end) = store.cask.versions("kept", &listing).unwrap();
        seen.extend(page.items);
        after = end;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, list.items);

    store.cask.delete(&ada(), "kept", "a", &Guard::None).unwrap();
    let gone = store.cask.get("kept", "a").err().unwrap();
    assert_eq!(gone.code(), "object_not_found");
    let last = of_a[0].object.version.as_str();
    assert!(store.cask.get_version("kept", "a", Some(last)).is_ok(), "deleted is not lost");
    let not_empty = store.cask.delete_bucket(&ada(), "kept").unwrap_err();
    assert_eq!(not_empty.code(), "bucket_not_empty");
    let (list, _) = store.cask.versions("kept", &listing).unwrap();
    for item in &list.items {
        let version = &item.object.version;
        store.cask.delete_version(&ada(), "kept", &item.object.key, version).unwrap();
    }
    let again = store.cask.delete_version(&ada(), "kept", "a", last).unwrap_err();
    assert_eq!(again.code(), "version_not_found");
    assert_eq!(used(&store, "kept"), (0, 0));
    store.cask.delete_bucket(&ada(), "kept").unwrap();
    store.later(Duration::from_hours(2));
    assert_eq!(store.cask.sweep(Duration::from_hours(1)).unwrap().waiting, 0);
}

#[test]
fn versions_grow_old_as_objects_do() {
    let store = Store::new();
    let settings =
        BucketSettings { versions: Some(9), ttl: Some("2h".into()), ..Default::default() };
    set(&store, "kept", &settings);
    store.put("kept", "a", noise(40_000, 1));
    store.later(Duration::from_hours(1));
    store.put("kept", "a", noise(40_000, 2));
    store.later(Duration::from_hours(1));
    assert_eq!(store.cask.expire().unwrap(), 1, "the previous one");
    assert_eq!(used(&store, "kept"), (1, 40_000));
    store.later(Duration::from_hours(1));
    assert_eq!(store.cask.expire().unwrap(), 1);
    assert_eq!(used(&store, "kept"), (0, 0), "what is too old becomes no version");
}

#[test]
fn a_full_cache_drops_what_was_not_used_for_longest() {
    let store = Store::new();
    set(&store, "cache", &BucketSettings { max_bytes: Some(10_000), ..Default::default() });
    for n in 0..10 {
        store.put("cache", &format!("k{n}"), noise(1000, n));
        store.later(Duration::from_secs(1));
    }
    // The two oldest are used again.
    for key in ["k0", "k1"] {
        assert_eq!(read(&store, "cache", key).len(), 1000);
        store.later(Duration::from_secs(1));
    }
    store.put("cache", "new", noise(1000, 20));
    // One had to go, and a tenth goes with it so that not every write has to evict.
    assert_eq!(keys(&store, "cache"), ["k0", "k1", "k4", "k5", "k6", "k7", "k8", "k9", "new"]);
    assert_eq!(used(&store, "cache"), (9, 9000));
    let large = store.try_put("cache", "large", noise(10_001, 1)).unwrap_err();
    assert_eq!(large.code(), "quota_reached", "what is larger than the bucket is refused");
    assert_eq!(used(&store, "cache").0, 9, "and nothing goes for it");
    store.put("cache", "whole", noise(10_000, 1));
    assert_eq!(keys(&store, "cache"), ["whole"]);
    // A bucket of another name does so when it is told to, and `cache` does not when it is told not to.
    let strict =
        BucketSettings { max_bytes: Some(10_000), evict: Some(false), ..Default::default() };
    set(&store, "cache", &strict);
    assert_eq!(store.try_put("cache", "x", vec![1]).unwrap_err().code(), "quota_reached");
    let told = BucketSettings { max_bytes: Some(1000), evict: Some(true), ..Default::default() };
    set(&store, "mine", &told);
    store.put("mine", "a", noise(1000, 1));
    store.put("mine", "b", noise(1000, 2));
    assert_eq!(keys(&store, "mine"), ["b"]);
}

#[test]
fn racing_writers_of_a_full_cache_stay_within_it() {
    let store = Store::new();
    set(&store, "cache", &BucketSettings { max_bytes: Some(10_000), ..Default::default() });
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20 {
                    match store.try_put("cache", &format!("{writer}-{n}"), noise(1000, n)) {
                        Ok(_) => {}
                        // What others reserved at the same moment was in the way.
                        Err(error) => assert_eq!(error.kind(), Kind::Full),
                    }
                    assert!(used(store, "cache").1 <= 10_000);
                }
            });
        }
    });
    let listed = keys(&store, "cache").len() as u64;
    assert_eq!(used(&store, "cache"), (listed, listed * 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_comes_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::over(Blobs::folder(folder.path()).unwrap());
    let cask = &store.cask;
    let options = PutOptions { content_type: Some("text/x".into()), ..PutOptions::default() };
    let upload = cask.begin_upload(&ada(), "models", "big", &options).unwrap();
    let part = async |number: u16, bytes: Vec<u8>| {
        let once = futures::stream::iter([Ok(bytes::Bytes::from(bytes))]);
        cask.put_part(&upload, number, PutOptions::default(), once).await
    };
    let min = usize::try_from(PART_MIN).unwrap();
    let second = part(2, noise(70_000, 2)).await.unwrap();
    part(1, noise(40_000, 9)).await.unwrap();
    let first = part(1, noise(min, 1)).await.unwrap();
    part(7, noise(50_000, 7)).await.unwrap();
    assert_eq!(part(0, vec![]).await.unwrap_err().code(), "bad_part");
    let listed: Vec<_> = cask.parts(&upload, 0, 10).unwrap();
    assert_eq!(listed.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 7]);
    assert!(keys(&store, "models").is_empty(), "nothing half-written is seen");
    assert_eq!(used(&store, "models"), (0, min as u64 + 120_000), "and its bytes count");
    let named = [(1, Some(first.etag)), (2, Some(second.etag))];
    let before = chunk_files(folder.path());
    let complete = async |named: &[(u16, Option<String>)]| {
        cask.complete(&ada(), &upload, named, Guard::None).await
    };
    assert_eq!(complete(&[]).await.unwrap_err().code(), "bad_part");
    let wrong = [(1, Some("0".repeat(32))), (2, None)];
    assert_eq!(complete(&wrong).await.unwrap_err().code(), "bad_part");
    let small = [(2, None), (7, None)];
    assert_eq!(complete(&small).await.unwrap_err().code(), "part_too_small");
    let kept = complete(&named).await.unwrap();
    let whole = [noise(min, 1), noise(70_000, 2)].concat();
    assert_eq!((kept.item.sha256, kept.item.size), (Digest::of(&whole), whole.len() as u64));
    assert_eq!(kept.item.content_type, "text/x");
    assert_eq!(chunk_files(folder.path()), before, "the parts are not written again");
    assert!(read(&store, "models", "big") == whole);
    assert_eq!(used(&store, "models"), (1, whole.len() as u64), "part 7 went");
    let again = complete(&named).await.unwrap();
    assert_eq!(again.item, kept.item, "asked again, it answers the same");
    assert_eq!(part(3, vec![1]).await.unwrap_err().code(), "upload_not_found");
    assert!(block_in_place(|| cask.verify(|_| {})).unwrap().damaged.is_empty());
    store.later(Duration::from_hours(2));
    let swept = block_in_place(|| cask.sweep(Duration::from_hours(1))).unwrap();
    assert_eq!(swept.removed, 2, "what was replaced, and what was not named");
    assert!(read(&store, "models", "big") == whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_given_up_and_forgotten() {
    let store = Store::new();
    let cask = &store.cask;
    cask.save_bucket(&ada(), "mine", &BucketSettings::default()).unwrap();
    let begin = |key: &str| cask.begin_upload(&ada(), "mine", key, &PutOptions::default()).unwrap();
    let (one, two, other) = (begin("a/b"), begin("a/b"), begin("c"));
    let once = || futures::stream::iter([Ok(bytes::Bytes::from(noise(40_000, 1)))]);
    cask.put_part(&one, 1, PutOptions::default(), once()).await.unwrap();
    let listed = cask.uploads("mine", "", None, 10).unwrap();
    let shown: Vec<_> = listed.iter().map(|u| (u.key.as_str(), u.id.as_str())).collect();
    assert_eq!(shown, [("a/b", one.id.as_str()), ("a/b", &two.id), ("c", &other.id)]);
    let after = cask.uploads("mine", "", Some(("a/b", &one.id)), 1).unwrap();
    assert_eq!(after[0].id, two.id);
    assert_eq!(cask.uploads("mine", "", Some(("a/b", "")), 9).unwrap().len(), 1);
    cask.abort(&two).unwrap();
    assert_eq!(cask.abort(&two).unwrap_err().code(), "upload_not_found");
    // Who goes on with an upload keeps it; what nobody goes on with for a week is given up.
    store.later(Duration::from_hours(6 * 24));
    cask.put_part(&one, 2, PutOptions::default(), once()).await.unwrap();
    store.later(Duration::from_hours(2 * 24));
    let tidied = block_in_place(|| cask.tidy(Duration::from_hours(1))).unwrap();
    assert_eq!(tidied.abandoned, 1);
    assert_eq!(cask.uploads("mine", "", None, 10).unwrap().len(), 1);
    // A bucket goes with its uploads.
    cask.delete_bucket(&ada(), "mine").unwrap();
    let gone = cask.put_part(&one, 3, PutOptions::default(), once()).await.unwrap_err();
    assert_eq!(gone.code(), "upload_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_comes_while_the_upload_ends_is_refused_or_counts_for_nothing() {
    for _ in 0..10 {
        let store = Store::new();
        let cask = &store.cask;
        let upload = cask.begin_upload(&ada(), "models", "a", &PutOptions::default()).unwrap();
        let once = |seed| futures::stream::iter([Ok(bytes::Bytes::from(noise(40_000, seed)))]);
        cask.put_part(&upload, 1, PutOptions::default(), once(1)).await.unwrap();
        let late = cask.put_part(&upload, 2, PutOptions::default(), once(2));
        let (named, ada) = ([(1, None)], ada());
        let end = cask.complete(&ada, &upload, &named, Guard::None);
        let (late, end) = futures::future::join(late, end).await;
        end.unwrap();
        if let Err(refused) = late {
            assert_eq!(refused.code(), "upload_not_found");
        }
        assert_eq!(used(&store, "models"), (1, 40_000));
    }
}

#[test]
fn a_prefix_with_many_keys_is_shown_once() {
    let store = Store::new();
    for n in 0..600 {
        store.put("models", &format!("d{}/k{n:04}", n % 2), vec![1]);
    }
    let delimiter = Some("/".to_owned());
    for limit in [1, 2, 3, 1000] {
        let (mut after, mut shown) = (None, Vec::new());
        loop {
            let listing = Listing {
                limit,
                delimiter: delimiter.clone(),
                after: after.take(),
                ..Listing::default()
            };
            let (page, end) = store.cask.list("models", &listing).unwrap();
            shown.extend(page.prefixes);
            after = end;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(shown, ["d0/", "d1/"], "in pages of {limit}");
    }
}

#[test]
fn tags_change_without_the_object() {
    let store = Store::new();
    store.put("models", "a", vec![1]);
    let before = store.cask.get("models", "a").unwrap().info;
    let tags = BTreeMap::from([("stage".to_owned(), "试运行".to_owned())]);
    let after = store.cask.set_tags(&ada(), "models", "a", &tags).unwrap();
    assert_eq!((&after.tags, after.updated_at), (&tags, before.updated_at));
    assert_eq!(after.version, before.version);
    let many = (0..11).map(|n| (n.to_string(), String::new())).collect();
    let refused = store.cask.set_tags(&ada(), "models", "a", &many).unwrap_err();
    assert_eq!(refused.code(), "bad_meta");
    assert_eq!(store.cask.get("models", "a").unwrap().info.tags, tags);
}

#[tokio::test]
async fn copies_moves_and_versions_go_over_http() {
    let store = Store::new();
    set(&store, "models", &BucketSettings { versions: Some(1), ..Default::default() });
    let web = Web::over(&store);
    let json_type = [("content-type", "application/json")];
    let ask = async |path: &str, body: serde_json::Value| {
        web.ask("POST", path, &json_type, body.to_string()).await
    };
    for body in ["one", "two"] {
        web.ask("PUT", "/api/v1/objects/models/a", &[], body).await;
    }
    let versions = web.get("/api/v1/versions/models").await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    let old = versions["items"][1]["version"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/objects/models/a?version={old}");
    assert_eq!(web.get(&path).await.body, "one");
    let from = json!({"bucket": "models", "key": "a", "version": old});
    let to = json!({"bucket": "cache", "key": "b"});
    let copied = ask("/api/v1/objects:copy", json!({"from": from, "to": to})).await;
    assert_eq!((copied.status.as_u16(), &copied.json()["size"]), (201, &json!(3)));
    assert_eq!(web.get("/api/v1/objects/cache/b").await.body, "one");
    let back = json!({"bucket": "datasets", "key": "c"});
    let moved = ask("/api/v1/objects:move", json!({"from": to, "to": back})).await;
    assert_eq!(moved.status, 201);
    assert_eq!(web.get("/api/v1/objects/cache/b").await.code().0, 404);
    let odd = ask("/api/v1/objects:copy", json!({"from": from, "too": to})).await;
    assert_eq!(odd.status, 422);
    assert_eq!(web.ask("DELETE", &path, &[], Body::empty()).await.status, 204);
    assert_eq!(web.get(&path).await.code(), (404, "version_not_found".into()));
    let report = web.get("/api/v1/objects:verify").await;
    let text = String::from_utf8(report.body.to_vec()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[3], json!({"count": 2, "bytes": 6, "damaged": []}));
}

#[tokio::test]
async fn an_md5_that_is_sent_is_compared() {
    let store = Store::new();
    let web = Web::over(&store);
    let put = async |md5: &str| {
        web.ask("PUT", "/api/v1/objects/models/a", &[("content-md5", md5)], "bytes").await
    };
    assert_eq!(put("S3Uj5ZFCvQk5gLK5GBijXw==").await.code(), (422, "checksum_mismatch".into()));
    assert_eq!(put("not base64").await.code(), (400, "bad_md5".into()));
    assert_eq!(web.get("/api/v1/objects/models/a").await.code().0, 404);
    assert_eq!(put("SzpiGLs+OnMD6KFxpg/Pkg==").await.status, 201);
}

#[tokio::test]
async fn times_guard_a_read() {
    let store = Store::new();
    let web = Web::over(&store);
    web.ask("PUT", "/api/v1/objects/models/a", &[], "bytes").await;
    let modified = web.get("/api/v1/objects/models/a").await.header("last-modified").to_owned();
    let ask = async |name: &str, value: &str| {
        let headers = [(name, value)];
        let answer = web.ask("GET", "/api/v1/objects/models/a", &headers, Body::empty());
        answer.await.status.as_u16()
    };
    assert_eq!(ask("if-modified-since", &modified).await, 304);
    assert_eq!(ask("if-modified-since", "Tue, 14 Nov 2000 22:13:19 GMT").await, 200);
    assert_eq!(ask("if-unmodified-since", &modified).await, 200);
    assert_eq!(ask("if-unmodified-since", "Tue, 14 Nov 2000 22:13:19 GMT").await, 412);
    assert_eq!(ask("if-modified-since", "never").await, 200);
}
