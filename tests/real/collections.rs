#![cfg(test)]
//! The collections of Drip 0.1 taken in: from a MongoDB server, from a dump, from exported files.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Home};
use crate::support::mongo::{self, MongoServer};
use crate::support::real_venv;

/// A server with what 0.1 left, the same as files, and what an import must make of it.
struct Left {
    folder: tempfile::TempDir,
    server: &'static MongoServer,
    database: String,
    expected: Value,
}

impl Left {
    fn write(venv: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = mongo::shared(venv);
        let database = server.new_database();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/left_by_01.py");
        let status = Command::new(venv.join("bin/python"))
            .arg("-B")
            .arg(script)
            .args([&server.url(&database), &database])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "left_by_01.py: {status}");
        let expected = std::fs::read(folder.path().join("expected.json")).unwrap();
        Self { expected: serde_json::from_slice(&expected).unwrap(), folder, server, database }
    }

    fn sources(&self) -> [String; 4] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let dump = format!("dump/{}", self.database);
        [self.server.url(&self.database), path("dump"), path(&dump), path("export")]
    }
}

/// A daemon with nothing in it yet.
struct Empty {
    home: Home,
    daemon: Daemon,
    token: String,
}

impl Empty {
    fn new() -> Self {
        let home = Home::with_admin();
        let daemon = home.serve();
        let token = daemon.make_admin_token();
        Self { home, daemon, token }
    }

    /// What `dripctl fiche import` reports, and the code that it ends with.
    fn import(&self, more: &[&str]) -> (Value, Option<i32>) {
        let url = format!("http://{}", self.daemon.address());
        let words = ["--url", &url, "--token", &self.token, "--json", "fiche", "import"];
        let output = self.home.run(&[&words[..], more].concat());
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!format!("{said}{complained}").contains(mongo::PASSWORD), "{said}{complained}");
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|why| panic!("{why}: {said}\n{complained}"));
        (report, output.status.code())
    }

    /// The summaries of a kind's cards, by name and version.
    fn cards(&self, kind: &str) -> Value {
        let http = self.daemon.http().with_token(&self.token);
        let answer = http.get(&format!("/api/v1/cards/{kind}?limit=1000")).unwrap();
        let list = answer.expect(200).json();
        let cards = list["items"].as_array().unwrap().iter().map(|card| {
            let text = |field: &str| card[field].as_str().unwrap().to_owned();
            (format!("{}@{}", text("name"), text("version")), card["summary"].clone())
        });
        Value::Object(cards.collect())
    }
}

fn row<'a>(report: &'a Value, collection: &str) -> &'a Value {
    let rows = report["collections"].as_array().unwrap();
    rows.iter().find(|row| row["collection"] == collection).unwrap()
}

/// The report says of every collection what became of each document.
fn check_report(report: &Value, expected: &Value, taken: &str) {
    let sum: Vec<_> = ["taken", "unchanged", "merged", "rejected", "left"].into();
    for (kind, expected) in expected.as_object().unwrap() {
        let row = row(report, &format!("{kind}_info"));
        let cards = expected["cards"].as_object().unwrap().len();
        let refused = expected["rejected"].as_array().unwrap();
        assert_eq!(row["read"], expected["read"], "{kind}");
        assert_eq!(row["merged"], expected["merged"], "{kind}");
        assert_eq!(row["rejected"], json!(refused.len()), "{kind}");
        assert_eq!(row[taken], json!(cards), "{kind}: {row}");
        let all: u64 = sum.iter().map(|part| row[*part].as_u64().unwrap()).sum();
        assert_eq!(row["read"], json!(all), "{kind}: {row}");
        let told: Vec<&Value> = report["rejected"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rejected| rejected["collection"] == format!("{kind}_info"))
            .map(|rejected| &rejected["id"])
            .collect();
        assert_eq!(json!(told), expected["rejected"], "{kind}");
    }
    let observers = row(report, "observer_info");
    assert_eq!((&observers["read"], &observers["left"]), (&json!(3), &json!(1)));
}

#[test]
fn the_newest_of_each_card_is_taken_from_a_server_a_dump_and_an_export() {
    let Some(venv) = real_venv("collections") else { return };
    let left = Left::write(&venv);
    let mut exports = Vec::new();
    for source in left.sources() {
        let empty = Empty::new();
        let (report, code) = empty.import(&[&source, "--dry-run"]);
        assert_eq!((code, &report["dry_run"]), (Some(1), &json!(true)));
        check_report(&report, &left.expected, "created");
        assert_eq!(empty.cards("model"), json!({}), "a dry run saves nothing");

        let (report, code) = empty.import(&[&source]);
        assert_eq!(code, Some(1), "documents that are no cards are no success");
        check_report(&report, &left.expected, "taken");
        for (kind, expected) in left.expected.as_object().unwrap() {
            assert_eq!(empty.cards(kind), expected["cards"], "{source}: {kind}");
        }
        let (again, _) = empty.import(&[&source]);
        check_report(&again, &left.expected, "unchanged");
        let (dry, _) = empty.import(&[&source, "--dry-run"]);
        check_report(&dry, &left.expected, "unchanged");
        exports.push(contents(&empty));
    }
    assert!(exports.windows(2).all(|pair| pair[0] == pair[1]), "all sources give the same cards");
}

/// Every card as it is exported, but for who saved it when.
fn contents(empty: &Empty) -> Vec<Value> {
    let http = empty.daemon.http().with_token(&empty.token);
    let export = http.get("/api/v1/cards:export").unwrap().expect(200).text();
    let cards = export.lines().map(|line| {
        let mut card: Value = serde_json::from_str(line).unwrap();
        let fields = card.as_object_mut().unwrap();
        fields.retain(|field, _| !field.ends_with("_at"));
        card
    });
    let cards: Vec<Value> = cards.collect();
    assert!(cards.iter().all(|card| card["imported_time"].is_string()));
    cards
}

#[test]
fn an_import_without_the_right_password_or_without_collections_says_so() {
    let Some(venv) = real_venv("collections") else { return };
    let server = mongo::shared(&venv);
    let empty = Empty::new();
    let url = format!("http://{}", empty.daemon.address());
    let import = |source: &str| {
        let words = ["--url", &url, "--token", &empty.token, "fiche", "import", source];
        let output = empty.home.run(&words);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let wrong = server.url("fiche").replace(mongo::PASSWORD, "hunter2");
    let (code, said) = import(&wrong);
    assert_eq!(code, Some(77), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let unasked = server.url("fiche").replace(&format!(":{}", mongo::PASSWORD), "");
    let (code, said) = import(&unasked);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no terminal"), "{said}");
    let (code, said) = import(&server.url("nothing_there"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing_there") && said.contains("model_info"), "{said}");
}
