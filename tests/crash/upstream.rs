#![cfg(test)]
//! Edge to centre with two real daemons: the link is cut and restored at random, in the middle of
//! requests and answers, and either daemon is killed, while both sides save. Once it settles, what
//! the model says is there and nothing else.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::http::Http;
use crate::support::proxy::Proxy;
use crate::support::rng::Rng;
use crate::support::{number_from_env, pause};

/// How long settling may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many names of each class there are.
const NAMES: usize = 8;

/// A home, its token, and its daemon, which may be killed and come again.
struct Side {
    home: Home,
    token: String,
    daemon: Mutex<Option<Daemon>>,
}

impl Side {
    fn new(node: &str, upstream: Option<(&str, &str)>) -> Self {
        let home = Home::with_admin();
        let to = upstream.map_or_else(String::new, |(address, token)| {
            let file = home.path().join("token");
            std::fs::write(&file, token).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            format!("url = \"http://{address}\"\ntoken_file = \"token\"\n")
        });
        let settings = format!("[fiche.upstream]\nnode = \"{node}\"\n{to}");
        std::fs::write(home.path().join("drip.toml"), settings).unwrap();
        let daemon = home.serve();
        let token = daemon.make_admin_token();
        Self { home, token, daemon: Mutex::new(Some(daemon)) }
    }

    /// Calls to wherever it is now; none while it is away.
    fn http(&self) -> Option<Http> {
        self.daemon.lock().unwrap().as_ref().map(|daemon| daemon.http().with_token(&self.token))
    }

    fn address(&self) -> String {
        self.daemon.lock().unwrap().as_ref().unwrap().address().to_owned()
    }

    /// `kill -9`, and a new life.
    fn kill_and_serve(&self) {
        self.daemon.lock().unwrap().take().unwrap().kill();
        let daemon = self.home.serve();
        *self.daemon.lock().unwrap() = Some(daemon);
    }

    fn get(&self, path: &str) -> Value {
        self.http().unwrap().get(&format!("/api/v1{path}")).unwrap().expect(200).json()
    }

    /// Every item of a list.
    fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}limit=500&cursor={cursor}"));
            items.extend(page["items"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return items,
            }
        }
    }

    /// Every card, by name: what it says and the node that it came from.
    fn cards(&self) -> BTreeMap<String, (String, Value)> {
        let entry = |card: Value| {
            let text = |field: &str| card[field].as_str().unwrap().to_owned();
            (text("name"), (text("summary"), card["node"].clone()))
        };
        self.all("/cards/model?").into_iter().map(entry).collect()
    }

    /// Saves a card until it is acknowledged: the same again is no other revision.
    fn save(&self, name: &str, text: &str) {
        let start = Instant::now();
        loop {
            let answer = self.http().and_then(|http| {
                let path = format!("/api/v1/cards/model/{name}/1");
                http.put(&path, &json!({"summary": text})).ok()
            });
            match answer {
                Some(answer) if answer.status < 300 => return,
                Some(answer) => panic!("{} {}", answer.status, answer.text()),
                None => pause(Duration::from_millis(20)),
            }
            assert!(start.elapsed() < PATIENCE, "{name} cannot be saved");
        }
    }

    fn delete(&self, name: &str) {
        let path = format!("/api/v1/cards/model/{name}/1");
        self.http().unwrap().delete(&path).unwrap().expect(204);
    }

    /// The feed, whose numbers have no gaps.
    fn feed(&self) -> Vec<Value> {
        let (mut feed, mut after) = (Vec::<Value>::new(), 0);
        loop {
            let page = self.get(&format!("/changes?limit=1000&after={after}"));
            let items = page["items"].as_array().unwrap();
            if items.is_empty() {
                break;
            }
            feed.extend(items.clone());
            after = feed.len();
        }
        let numbers: Vec<u64> = feed.iter().map(|c| c["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=feed.len() as u64).collect::<Vec<_>>());
        feed
    }

    /// What each revision of a card said, oldest first.
    fn texts(&self, name: &str) -> Vec<String> {
        let history = self.all(&format!("/cards/model/{name}/1/history?"));
        history.iter().map(|card| card["summary"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until the edge has nothing left to push.
fn settle(edge: &Side) -> Value {
    let start = Instant::now();
    loop {
        let standing = edge.get("/upstream");
        if standing["behind"] == 0 && standing["last_error"].is_null() {
            return standing;
        }
        assert!(start.elapsed() < PATIENCE, "it does not settle: {standing}");
        pause(Duration::from_millis(20));
    }
}

/// The classes of names, by who saves what:
/// `edge` on the edge alone, `centre` at the centre alone, `same` the same text on both sides,
/// `clash` different texts on both sides, and `peace` likewise until the edge takes the centre's.
const ON_EDGE: [&str; 4] = ["edge", "same", "clash", "peace"];
const AT_CENTRE: [&str; 4] = ["centre", "same", "clash", "peace"];

fn text(side: &str, class: &str, number: usize) -> String {
    if class == "same" { "as agreed".to_owned() } else { format!("{side} {number}") }
}

/// Saves on one side, over and over, through whatever happens.
fn work(side: &Side, who: &str, classes: [&str; 4], saves: usize, seed: u64, done: &AtomicUsize) {
    let mut rng = Rng::new(seed);
    for number in 0..saves {
        let class = classes[rng.below(4)];
        let name = format!("{class}{}", rng.below(NAMES));
        side.save(&name, &text(who, class, number));
        pause(Duration::from_millis(rng.below(20) as u64));
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Cuts and restores the link at random, and kills each side twice on the way, until the work is
/// done. Answers how often the link was cut.
fn trouble(edge: &Side, centre: &Side, link: &Proxy, seed: u64, progress: &Progress) -> u32 {
    let mut rng = Rng::new(seed);
    let (mut cuts, mut kills) = (0, 0);
    let start = Instant::now();
    while kills < 4 || !progress.is_over() {
        assert!(start.elapsed() < PATIENCE * 2, "the saves do not come to an end");
        // At a fifth, two fifths, … of the work.
        if kills < 4 && progress.fifths() > kills {
            if kills % 2 == 0 {
                edge.kill_and_serve();
            } else {
                centre.kill_and_serve();
                link.lead_to(&centre.address());
            }
            kills += 1;
        }
        pause(Duration::from_millis(rng.below(300) as u64));
        link.cut();
        pause(Duration::from_millis(rng.below(100) as u64));
        link.restore();
        cuts += 1;
    }
    cuts
}

/// How much of the work is done.
struct Progress {
    done: AtomicUsize,
    all: usize,
}

impl Progress {
    fn fifths(&self) -> usize {
        self.done.load(Ordering::SeqCst) * 5 / self.all
    }

    fn is_over(&self) -> bool {
        self.done.load(Ordering::SeqCst) == self.all
    }
}

/// What is done once nothing is cut any more: each name gets its last word.
fn last_words(edge: &Side, centre: &Side) {
    for n in 0..NAMES {
        edge.save(&format!("edge{n}"), "edge last");
        centre.save(&format!("centre{n}"), "centre last");
        edge.save(&format!("same{n}"), "as agreed");
        centre.save(&format!("same{n}"), "as agreed");
        for class in ["clash", "peace"] {
            centre.save(&format!("{class}{n}"), "centre last");
            edge.save(&format!("{class}{n}"), "edge last");
        }
    }
    settle(edge);
    for n in 0..NAMES {
        edge.save(&format!("peace{n}"), "centre last");
    }
    edge.save("gone", "soon");
    edge.delete("gone");
}

fn check(edge: &Side, centre: &Side) {
    let (here, there) = (edge.cards(), centre.cards());
    for n in 0..NAMES {
        let name = format!("edge{n}");
        assert_eq!(there[&name], ("edge last".to_owned(), json!("edge-7")), "{name}");
        assert_eq!(centre.texts(&name), edge.texts(&name), "{name}: every revision, in order");
        assert_eq!(here[&name].1, Value::Null);
        assert_eq!(there[&format!("centre{n}")], ("centre last".to_owned(), Value::Null));
        for class in ["same", "peace"] {
            let name = format!("{class}{n}");
            assert_eq!(here[&name].0, there[&name].0, "{name}");
        }
    }
    assert!(!there.contains_key("gone") && !here.contains_key("gone"));
    assert_eq!(there.len(), NAMES * 5, "{there:?}");
    // The conflicts are those that the model predicts: each with both sides, and nothing else.
    let told: Vec<_> = centre
        .all("/cards:conflicts?")
        .iter()
        .map(|conflict| {
            let text =
                |pointer: &str| conflict.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (text("/name"), text("/node"), text("/mine/summary"), text("/theirs/summary"))
        })
        .collect();
    let meant: Vec<_> = (0..NAMES)
        .map(|n| {
            let of = |text: &str| text.to_owned();
            (format!("clash{n}"), of("edge-7"), of("centre last"), of("edge last"))
        })
        .collect();
    assert_eq!(told, meant);
}

#[test]
fn two_daemons_come_to_agree_over_a_link_that_is_cut_at_random() {
    let saves = number_from_env("CRASH_SAVES", 60);
    let seed = Rng::seed_from_env("CRASH_SEED");
    println!("CRASH_SEED={seed}");
    let mut rng = Rng::new(seed);
    let centre = Side::new("centre", None);
    let link = Proxy::new(&centre.address(), rng.next());
    let edge = Side::new("edge-7", Some((link.address(), &centre.token)));
    link.cut_by_chance(50);
    let progress = Progress { done: AtomicUsize::new(0), all: saves * 2 };
    let seeds = [rng.next(), rng.next(), rng.next()];
    let cuts = std::thread::scope(|scope| {
        scope.spawn(|| work(&edge, "edge", ON_EDGE, saves, seeds[0], &progress.done));
        scope.spawn(|| work(&centre, "centre", AT_CENTRE, saves, seeds[1], &progress.done));
        let trouble = scope.spawn(|| trouble(&edge, &centre, &link, seeds[2], &progress));
        trouble.join().unwrap()
    });
    assert!(progress.is_over());
    link.cut_by_chance(0);
    last_words(&edge, &centre);
    let standing = settle(&edge);
    println!("{saves} saves on each side, {cuts} cuts, {} in the middle, 4 kills", link.cuts());
    assert_eq!(standing["conflicts"], NAMES, "{standing}");
    check(&edge, &centre);
    // Another life of the pusher finds nothing to do, and what was settled stays.
    let (before, own) = (centre.feed(), edge.feed());
    edge.kill_and_serve();
    centre.kill_and_serve();
    link.lead_to(&centre.address());
    settle_again(&edge);
    assert_eq!((centre.feed(), edge.feed()), (before, own));
    check(&edge, &centre);
    let standing = edge.get("/upstream");
    assert_eq!(standing["conflicts"], NAMES, "{standing}");
}

/// Waits until the pusher of a new life has heard from the centre.
fn settle_again(edge: &Side) {
    let started = edge.get("/upstream")["last_success_at"].clone();
    let start = Instant::now();
    loop {
        let standing = settle(edge);
        // The first word of a new life is newer than what the old one kept.
        if standing["last_success_at"] != started || start.elapsed() > Duration::from_secs(5) {
            return;
        }
        pause(Duration::from_millis(20));
    }
}

/// Nothing reaches the centre for a while, and saving goes on as if nothing were amiss.
#[test]
fn saving_never_waits_for_the_centre() {
    let centre = Side::new("centre", None);
    let link = Proxy::new(&centre.address(), 1);
    link.cut();
    let edge = Side::new("edge-7", Some((link.address(), &centre.token)));
    let start = Instant::now();
    for n in 0..30 {
        edge.save("a", &format!("{n}"));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "saves took {:?}", start.elapsed());
    let start = Instant::now();
    let standing = loop {
        let standing = edge.get("/upstream");
        if !standing["last_error"].is_null() {
            break standing;
        }
        assert!(start.elapsed() < PATIENCE, "no failure is told of");
        pause(Duration::from_millis(20));
    };
    assert_eq!((&standing["behind"], &standing["cursor"]), (&json!(30), &json!(0)));
    assert!(!standing["next_try_at"].is_null());
    let shown = edge.home.run(&[
        "--url",
        &format!("http://{}", edge.address()),
        "--token",
        &edge.token,
        "fiche",
        "upstream",
    ]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("edge-7") && shown.contains("the last try failed"), "{shown}");
    link.restore();
    settle(&edge);
    assert_eq!(centre.texts("a").len(), 30);
}
