#![cfg(test)]
//! Cards under `kill -9`: what was acknowledged is there, the feed and the revisions are numbered
//! without gaps, references and the search index agree with the records.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::catalogue::{Alive, Catalogue, algorithm, shape};
use super::daemon::start;
use crate::support::daemon::Daemon;
use crate::support::http::Http;
use crate::support::kill_loop::{KillLoop, look_twice};
use crate::support::oracle::Oracle;
use crate::support::pause;
use crate::support::rng::Rng;
use crate::support::shim::{Class, Fault, Shim};
use crate::support::sync_walk::walk;

/// How long the index may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A list with all its pages; empty where there is nothing at the path.
pub(super) fn whole(http: &Http, path: &str) -> Alive<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = http.get(&format!("{path}?limit=1000{cursor}")).ok()?;
        if answer.status == 404 {
            return Some(items);
        }
        let mut page = answer.expect(200).json();
        items.append(page["items"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(items),
        }
    }
}

/// Every card that is there, in order of kind and name.
pub(super) fn export(http: &Http) -> Vec<Value> {
    let answer = http.get("/api/v1/cards:export").unwrap().expect(200);
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `kind:name@version`.
fn reference(card: &Value) -> String {
    let text = |field: &str| card[field].as_str().unwrap();
    format!("{}:{}@{}", text("kind"), text("name"), text("version"))
}

fn path(card: &Value) -> String {
    let text = |field: &str| card[field].as_str().unwrap();
    format!("/api/v1/cards/{}/{}/{}", text("kind"), text("name"), text("version"))
}

/// What must hold after a crash beside what the oracle knows.
pub(super) fn check(cards: &Catalogue, daemon: &Daemon) -> Vec<String> {
    let begun = Instant::now();
    let http = cards.http(daemon);
    let there = export(&http);
    let mut broken = check_index(&http, &there);
    let mut slowest = cards.slowest.lock().unwrap();
    *slowest = (*slowest).max(begun.elapsed());
    let feed = whole(&http, "/api/v1/changes").unwrap();
    broken.extend(check_feed(&feed, &there));
    let mut before = cards.feed.lock().unwrap();
    if !feed.starts_with(&before) {
        broken.push("the feed tells its past otherwise than before".to_owned());
    }
    broken.extend(check_histories(&http, &feed));
    broken.extend(check_lineage(&http, &there));
    *before = feed;
    broken
}

/// The feed has no gaps and no repeats, counts every revision of every card, and what it tells is
/// what is there.
fn check_feed(feed: &[Value], there: &[Value]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut replayed = BTreeMap::new();
    let mut revisions = BTreeMap::<String, u64>::new();
    for (at, change) in feed.iter().enumerate() {
        let (number, event) = (at as u64 + 1, change["event"].as_str().unwrap());
        if change["number"] != number {
            broken.push(format!("the feed has {} at place {number}", change["number"]));
        }
        let card = &change["card"];
        let (key, found) = (reference(card), card["revision"].as_u64().unwrap());
        let last = revisions.entry(key.clone()).or_default();
        *last += u64::from(event != "card.deleted");
        if *last != found {
            broken.push(format!("{event} {number} of {key} tells revision {found}, not {last}"));
        }
        let was_there = match event {
            "card.deleted" => replayed.remove(&key),
            _ => replayed.insert(key.clone(), shape(card)),
        };
        if event != "card.saved" && was_there.is_none() {
            broken.push(format!("{event} {number} of {key}, which was not there"));
        }
    }
    let there: BTreeMap<_, _> = there.iter().map(|card| (reference(card), shape(card))).collect();
    if replayed != there {
        broken.push(format!("the feed replayed gives {replayed:?}, and there is {there:?}"));
    }
    broken
}

/// Every card that the feed knows, deleted or not, has all its revisions.
fn check_histories(http: &Http, feed: &[Value]) -> Vec<String> {
    let mut last = BTreeMap::new();
    for change in feed {
        let card = &change["card"];
        // Of batches there are too many to ask for each, and they are judged by the oracle.
        if !card["name"].as_str().unwrap().starts_with('b') {
            last.insert(path(card), card["revision"].as_u64().unwrap());
        }
    }
    let mut broken = Vec::new();
    for (path, last) in last {
        let history = whole(http, &format!("{path}/history")).unwrap();
        let numbers: Vec<_> = history.iter().map(|one| one["revision"].as_u64().unwrap()).collect();
        if numbers != (1..=last).collect::<Vec<_>>() {
            broken.push(format!("{path} has the revisions {numbers:?} of {last}"));
        }
    }
    broken
}

/// The rows that lead back from an algorithm to its models agree with what the models say.
fn check_lineage(http: &Http, there: &[Value]) -> Vec<String> {
    let requires = |card: &Value, wanted: &str| {
        card["requires"].as_array().is_some_and(|list| list.iter().any(|one| one == wanted))
    };
    let mut broken = Vec::new();
    for card in there.iter().filter(|card| card["kind"] == "algorithm") {
        let key = reference(card);
        let wanted: BTreeSet<_> =
            there.iter().filter(|other| requires(other, &key)).map(reference).collect();
        let path = format!("{}/lineage?direction=down&depth=1", path(card));
        let lineage = http.get(&path).unwrap().expect(200).json();
        let found: BTreeSet<_> = lineage["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["from"].as_str().unwrap().to_owned())
            .collect();
        if found != wanted {
            broken.push(format!("of {key} are made {found:?}, and {wanted:?} say so"));
        }
    }
    broken
}

/// The index holds what the records hold, and of each card what it says now.
fn check_index(http: &Http, there: &[Value]) -> Vec<String> {
    let found = wait_for_index(http).unwrap();
    let mut broken = Vec::new();
    let mut kinds = BTreeMap::<_, u64>::new();
    for card in there {
        *kinds.entry(card["kind"].as_str().unwrap()).or_default() += 1;
    }
    if found["total"] != there.len() || found["facets"]["kind"] != json!(kinds) {
        broken.push(format!("{} cards are there, {kinds:?}, and found are {found}", there.len()));
    }
    for card in there.iter().filter(|card| !card["name"].as_str().unwrap().starts_with('b')) {
        let words = whole(http, &format!("{}/history", path(card))).unwrap();
        let words = words.iter().rev().take(4).map(|one| one["summary"].as_str().unwrap());
        for word in words.collect::<BTreeSet<_>>() {
            let path = format!("/api/v1/cards?limit=10&q={word}");
            let found = http.get(&path).unwrap().expect(200).json();
            let wanted = u64::from(card["summary"] == word);
            if found["total"] != wanted {
                broken.push(format!("{word} of {} finds {}", reference(card), found["total"]));
            }
        }
    }
    broken
}

/// What a search for everything answers once the index is up to date; none when the daemon is gone.
fn wait_for_index(http: &Http) -> Alive<Value> {
    let begun = Instant::now();
    loop {
        let answer = http.get("/api/v1/cards?limit=1").ok()?;
        let found = answer.json();
        if answer.status == 200 && found["behind"] == 0 {
            return Some(found);
        }
        assert!(begun.elapsed() < PATIENCE, "the index does not catch up: {found}");
        pause(Duration::from_millis(5));
    }
}

/// A fixed piece of work; it ends early when the daemon is gone.
fn piece(cards: &Catalogue, daemon: &Daemon, oracle: &Oracle) -> Alive<()> {
    let http = cards.http(daemon);
    let model = json!({"summary": "w0x1", "requires": [algorithm(0, 0)]});
    Catalogue::save(&http, oracle, "card/algorithm/a0-0", &json!({"summary": "w0x0"}))?;
    Catalogue::save(&http, oracle, "card/model/m0-0", &model)?;
    wait_for_index(&http)?;
    cards.stage(&http, oracle, 0, "card/model/m0-0", "one")?;
    cards.batch(&http, oracle, 0, "0x2")?;
    Catalogue::touch(&http, oracle, "0x2")?;
    Catalogue::delete(&http, oracle, "card/algorithm/a0-0")?;
    Catalogue::save(&http, oracle, "card/model/m0-0", &json!({"summary": "w0x3"}))?;
    cards.stage(&http, oracle, 0, "card/model/m0-0", "two")?;
    Catalogue::delete(&http, oracle, "card/model/m0-0")?;
    Catalogue::save(&http, oracle, "card/model/m0-0", &model)?;
    for seed in 0..3 {
        cards.repeat(&http, oracle, 0, &mut Rng::new(seed))?;
    }
    wait_for_index(&http).map(drop)
}

#[test]
fn cards_survive_a_kill_at_the_nth_sync() {
    let (origin, token) = start();
    let count = {
        let home = origin.copy();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let daemon = home.serve_under(&shim).unwrap();
        let oracle = Oracle::open(&home.path().join("journal"));
        let done = piece(&Catalogue::new(token.clone()), &daemon, &oracle);
        assert!(done.is_some(), "nothing kills here: {}", daemon.log());
        let counts = oracle.counts();
        assert_eq!((counts.sent, counts.ok, counts.failed), (13, 13, 0));
        shim.count(Class::Sync)
    };
    assert!(count >= 10, "{count} syncs for 10 acknowledged changes");
    let mut killed = 0;
    for at in walk(count) {
        let home = origin.copy();
        let cards = Catalogue::new(token.clone());
        let oracle = Oracle::open(&home.path().join("journal"));
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        let ended = match home.serve_under(&shim) {
            Ok(daemon) if piece(&cards, &daemon, &oracle).is_none() => Some(daemon.ended()),
            // Syncs that were shared are fewer: then it comes to no harm this time.
            Ok(daemon) => {
                daemon.kill();
                None
            }
            Err(ended) => Some(ended),
        };
        if let Some(ended) = ended {
            assert_eq!(ended.status.signal(), Some(9), "sync {at}: {}", ended.log);
            killed += 1;
        }
        let broken = look_twice(&home, &cards, &oracle);
        assert!(broken.is_empty(), "sync {at}:\n{}", broken.join("\n"));
        // What was left open is sent again: it has one effect, before the kill or now.
        let daemon = home.serve();
        cards.settle(&cards.http(&daemon), &oracle, 0).unwrap();
        daemon.kill();
        let broken = look_twice(&home, &cards, &oracle);
        assert!(broken.is_empty(), "sync {at}, sent again:\n{}", broken.join("\n"));
    }
    assert!(killed > 3, "only {killed} of {count} syncs were hit");
    println!("killed at {killed} of {count} syncs");
}

#[test]
fn cards_survive_kills_at_random_moments() {
    let (home, token) = start();
    let cards = Catalogue::new(token);
    let counts = KillLoop::default().run(&home, &cards);
    assert!(counts.ok > 0, "nothing was acknowledged: nothing was shown");
    let slowest = cards.slowest.lock().unwrap();
    println!(
        "{counts:?}; the index was equal to the records {slowest:?} after ready at the latest"
    );
}

#[test]
fn a_feed_that_does_not_add_up_is_found() {
    let card =
        |revision: u64| json!({"kind": "model", "name": "m", "version": "1", "revision": revision});
    let change = |number: u64, event: &str, revision: u64| json!({"number": number, "event": event, "card": card(revision)});
    let saved = |number, revision| change(number, "card.saved", revision);
    let whole = [saved(1, 1), saved(2, 2), change(3, "card.deleted", 2), saved(4, 3)];
    assert_eq!(check_feed(&whole, &[card(3)]), [""; 0]);
    assert_eq!(check_feed(&whole[..3], &[]), [""; 0]);
    for (feed, there, why) in [
        (vec![saved(1, 1), saved(3, 2)], vec![card(2)], "a gap"),
        (vec![saved(1, 1), saved(1, 2)], vec![card(2)], "a repeat"),
        (vec![saved(1, 1), saved(2, 3)], vec![card(3)], "a lost revision"),
        (vec![saved(1, 1), saved(2, 2)], vec![card(1)], "another end"),
        (vec![saved(1, 1)], vec![], "a lost card"),
        (vec![change(1, "card.deleted", 0)], vec![], "a deletion of nothing"),
    ] {
        assert_eq!(check_feed(&feed, &there).len(), 1, "{why}");
    }
}
