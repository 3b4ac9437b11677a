//! The typed client and the commands, against routes that listen on a port.

use axum::Extension;
use clap::{CommandFactory as _, Parser};
use drip::fiche::cli::Command;
use drip::fiche::client::FicheClient;
use drip::fiche::{CardDraft, CardKind, Conditions, Direction, Filter, Outcome, Search, Stage};
use drip::kernel::access::{Caller, Role};
use drip::kernel::cli::Output;
use drip::kernel::client::Client;
use drip::kernel::{Kind, Result};
use serde_json::json;

use super::{PATIENCE, key, open};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

struct Remote {
    fiche: drip::fiche::Fiche,
    client: Client,
}

impl Remote {
    async fn new() -> Self {
        Self::over(open()).await
    }

    async fn over(fiche: drip::fiche::Fiche) -> Self {
        let caller = Caller::new("ada", Role::Publisher);
        let router =
            drip::fiche::http::routes(fiche.clone()).into_router().layer(Extension(caller));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { fiche, client: Client::new(&url, None).unwrap() }
    }

    async fn run(&self, line: &[&str]) -> Result<()> {
        let words = std::iter::once("fiche").chain(line.iter().copied());
        let parsed = Line::try_parse_from(words).unwrap_or_else(|why| panic!("{line:?}: {why}"));
        drip::fiche::cli::run(parsed.command, &self.client, Output::new(false)).await
    }

    async fn settle(&self) {
        let fiche = self.fiche.clone();
        let there = tokio::task::spawn_blocking(move || {
            fiche.wait_indexed(fiche.last_number().unwrap(), PATIENCE)
        });
        assert!(there.await.unwrap());
    }
}

#[tokio::test]
async fn the_client_says_and_hears_what_the_handle_does() {
    let remote = Remote::new().await;
    let fiche = FicheClient::new(remote.client.clone());
    let draft = CardDraft::new(CardKind::MODEL, "风 电/x".replace('/', "-").as_str(), "1.0.0+a")
        .unwrap()
        .with("data", "scada")
        .unwrap();
    let saved = fiche.save(&draft, Conditions::default()).await.unwrap();
    assert_eq!((saved.outcome, saved.card.revision), (Outcome::Created, 1));
    let key = draft.key();
    let only_new = Conditions { create_only: true, ..Conditions::default() };
    assert_eq!(fiche.save(&draft, only_new).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(fiche.get(key, None).await.unwrap(), saved.card);
    assert_eq!(fiche.stage(key, Stage::Testing, "why").await.unwrap().stage, Stage::Testing);
    assert_eq!(fiche.history(key).await.unwrap()[1]["change"]["comment"], "why");
    assert_eq!(fiche.diff(key, None, None).await.unwrap().changes[0].path, "/stage");
    let lineage = fiche.lineage(key, Direction::Up, None).await.unwrap();
    assert_eq!(lineage.edges[0].to, "dataset:scada");
    let models = Filter { kinds: vec![CardKind::MODEL], ..Filter::default() };
    assert_eq!(fiche.list(&models).await.unwrap().len(), 1);
    remote.settle().await;
    let search = Search { q: "电".into(), limit: 5, ..Search::default() };
    assert_eq!(fiche.search(&search).await.unwrap().items[0].card.key, *key);
    let export = fiche.export(&Filter::default()).await.unwrap().bytes().await.unwrap();
    fiche.delete(key).await.unwrap();
    assert_eq!(fiche.find(key).await.unwrap(), None);
    assert_eq!(fiche.import(&export).await.unwrap().created, 1);
    assert_eq!(fiche.get(key, None).await.unwrap().stage, Stage::Testing);
    let events: Vec<_> = fiche.changes(1, 10).await.unwrap().into_iter().map(|c| c.event).collect();
    assert_eq!(events, ["card.staged", "card.deleted", "card.saved"]);
}

#[test]
fn the_commands_are_well_formed() {
    Line::command().debug_assert();
}

#[tokio::test]
async fn every_command_does_what_it_says() {
    let remote = Remote::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let config = file("config.json");
    std::fs::write(&config, r#"{"depth": 3}"#).unwrap();
    remote
        .run(&[
            "save",
            "model",
            "wind",
            "1.0.0",
            "--summary",
            "风电",
            "--config",
            &format!("@{config}"),
            "--label",
            "site=x",
            "--data",
            "scada@1,other",
            "--set",
            "own={\"a\":1}",
            "--create",
        ])
        .await
        .unwrap();
    let wind = key("model", "wind", "1.0.0");
    let card = remote.fiche.get(CardKind::MODEL, "wind", "latest").unwrap();
    assert_eq!(card.fields["config"], json!({"depth": 3}));
    assert_eq!(card.fields["data"], json!(["scada@1", "other"]));
    assert_eq!(card.fields["own"], json!({"a": 1}));
    assert!(card.has_label("site:x"));
    remote.run(&["save", "model:wind@1.0.0", "--summary", "new", "--if-match", "1"]).await.unwrap();
    let stale =
        remote.run(&["save", "model:wind@1.0.0", "--summary", "x", "--if-match", "1"]).await;
    assert_eq!(stale.unwrap_err().code(), "stale_revision");
    for line in [
        vec!["get", "model", "wind"],
        vec!["get", "model:wind@1.0.0", "--revision", "1"],
        vec!["get", "model/wind/1.0.0"],
        vec!["list", "model", "--label", "site:x", "--stage", "experiment"],
        vec!["history", "model", "wind@1.0.0"],
        vec!["diff", "model", "wind", "1.0.0", "--from", "1"],
        vec!["lineage", "model:wind", "--direction", "up", "--depth", "2"],
        vec!["lineage", "model:wind"],
        vec!["search", "wind", "--kind", "model", "--sort", "-updated"],
        vec!["changes", "--after", "0"],
        vec!["stage", "model", "wind", "1.0.0", "testing", "-m", "why"],
        vec!["stage", "model:wind@1.0.0", "deployed"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    assert_eq!(remote.fiche.get(CardKind::MODEL, "wind", "1.0.0").unwrap().stage, Stage::Deployed);
    let export = file("export.ndjson");
    remote.run(&["export", "-o", &export]).await.unwrap();
    remote.run(&["delete", "model", "wind", "1.0.0"]).await.unwrap();
    remote.run(&["import", &export]).await.unwrap();
    assert_eq!(remote.fiche.history(&wind, 0, 10).unwrap().len(), 5);

    let cards = file("cards.toml");
    std::fs::write(&cards, "[[cards]]\nkind = 'dataset'\nname = 'scada'\nversion = '1'\n").unwrap();
    remote.run(&["apply", "-f", &cards, "--dry-run"]).await.unwrap();
    assert!(remote.fiche.get(CardKind::DATASET, "scada", "1").is_err());
    remote.run(&["apply", "-f", &cards]).await.unwrap();
    assert!(remote.fiche.get(CardKind::DATASET, "scada", "1").is_ok());
    std::fs::write(file("bad.ndjson"), "nonsense\n").unwrap();
    let refused = remote.run(&["import", &file("bad.ndjson")]).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind().exit_code()), ("lines_refused", 1));
    let missing = remote.run(&["get", "model", "none", "1"]).await.unwrap_err();
    assert_eq!((missing.code(), missing.kind().exit_code()), ("card_not_found", 1));
    let usage = remote.run(&["get", "wind"]).await.unwrap_err();
    assert_eq!((usage.code(), usage.kind().exit_code()), ("bad_card_name", 2));
}

#[tokio::test]
async fn the_collections_of_0_1_are_taken_in_from_files_and_again_without_a_change() {
    let remote = Remote::new().await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    std::fs::create_dir_all(dump.join("fiche")).unwrap();
    let path = dump.display().to_string();
    let write = |documents: &[serde_json::Value]| {
        let lines: Vec<String> = documents.iter().map(ToString::to_string).collect();
        std::fs::write(dump.join("fiche/model_info.json"), lines.join("\n")).unwrap();
    };
    let save = |name: &str, day: u32, summary: &str| {
        let time = json!({"$date": format!("2022-05-{day:02}T08:00:00Z")});
        json!({
            "_id": {"$oid": format!("{day:024x}")}, "name": name, "version": "1", "time": time,
            "summary": summary, "config": "{}", "remark": "", "data": "scada, 见 https://x.org",
        })
    };
    // More than one call carries, and each twice.
    let mut documents = Vec::new();
    for number in 0..1200 {
        let name = format!("m{number}");
        documents.push(save(&name, 30, "new"));
        documents.push(save(&name, 1, "old"));
    }
    write(&documents);
    remote.run(&["import", "--dry-run", &path]).await.unwrap();
    assert_eq!(remote.fiche.last_number().unwrap(), 0);
    remote.run(&["import", &path]).await.unwrap();
    assert_eq!(remote.fiche.last_number().unwrap(), 1200);
    let card = remote.fiche.get(CardKind::MODEL, "m7", "1").unwrap();
    assert_eq!((card.text("summary"), &card.fields["data"]), ("new", &json!(["scada"])));
    assert_eq!(card.fields["as_written"]["data"], "scada, 见 https://x.org");
    assert_eq!(card.fields["imported_time"], "2022-05-30T08:00:00.000000");
    remote.run(&["import", &path]).await.unwrap();
    remote.run(&["import", "--dry-run", &path]).await.unwrap();
    assert_eq!(remote.fiche.last_number().unwrap(), 1200);

    // A card that moved on in its life stays where it is; what is no card keeps nothing else out.
    remote.fiche.stage(&Caller::system(), &card.key, Stage::Deployed, "").unwrap();
    write(&[json!({"name": "a/b", "version": "1"}), save("m7", 31, "newer")]);
    let refused = remote.run(&["import", &path]).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind().exit_code()), ("documents_refused", 1));
    let card = remote.fiche.get(CardKind::MODEL, "m7", "1").unwrap();
    assert_eq!((card.text("summary"), card.stage), ("newer", Stage::Deployed));

    let nothing = folder.path().join("nothing").display().to_string();
    std::fs::create_dir(&nothing).unwrap();
    assert_eq!(remote.run(&["import", &nothing]).await.unwrap_err().code(), "no_collections");
    let usage = remote.run(&["import", "--dry-run", "cards.ndjson"]).await.unwrap_err();
    assert_eq!(usage.kind().exit_code(), 2);
}

#[tokio::test]
async fn an_apply_that_the_daemon_refuses_names_the_files() {
    let remote = Remote::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("a.yaml"), "kind: model\nname: a\nversion: '1'\n").unwrap();
    let staged = "kind: model\nname: b\nversion: '1'\n---\nkind: model\nname: c\nversion: '1'\nstage: deployed\n";
    std::fs::write(path("b.yaml"), staged).unwrap();
    let all = folder.path().display().to_string();
    for line in [&["apply", "-f", &all][..], &["apply", "--dry-run", "-f", &all]] {
        let refused = remote.run(line).await.unwrap_err();
        assert_eq!(refused.code(), "stage_not_moved_by_save", "{refused}");
        let places: Vec<_> = refused.faults().iter().map(|fault| &fault.pointer).collect();
        assert_eq!(places, [&format!("{} card 2 /stage", path("b.yaml"))]);
    }
    assert_eq!(remote.fiche.last_number().unwrap(), 0);
}

#[tokio::test]
async fn what_is_in_use_is_not_taken_away_unless_it_is_meant() {
    let remote = Remote::new().await;
    for line in [
        vec!["save", "algorithm", "curve", "1.0.0"],
        vec!["save", "model", "wind", "1", "--set", "algorithm=curve@1.0.0"],
        vec!["save", "application", "desk", "1", "--requires", "wind"],
        vec!["stage", "application", "desk", "1", "deployed"],
        vec!["impact", "algorithm:curve"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    for line in [
        vec!["stage", "algorithm:curve@1.0.0", "retired"],
        vec!["delete", "algorithm:curve@1.0.0"],
        vec!["delete", "model", "wind", "1"],
    ] {
        let refused = remote.run(&line).await.unwrap_err();
        assert_eq!((refused.code(), refused.kind().exit_code()), ("card_in_use", 1), "{line:?}");
        assert_eq!(refused.faults()[0].pointer, "application:desk@1");
    }
    remote.run(&["stage", "algorithm:curve@1.0.0", "testing"]).await.unwrap();
    remote.run(&["stage", "algorithm:curve@1.0.0", "retired", "--force"]).await.unwrap();
    remote.run(&["stage", "application", "desk", "1", "retired"]).await.unwrap();
    remote.run(&["delete", "model", "wind", "1"]).await.unwrap();
    let curve = remote.fiche.get(CardKind::ALGORITHM, "curve", "1.0.0").unwrap();
    assert_eq!(curve.stage, Stage::Retired);
}

#[tokio::test]
async fn commands_take_times_as_dates_and_as_how_long_ago() {
    let remote = Remote::new().await;
    remote.run(&["save", "model", "wind", "1"]).await.unwrap();
    for line in [
        vec!["search", "--since", "2023-11-01", "--until", "2030-01-01", "--stage", "experiment"],
        vec!["search", "wind", "--kind", "model", "--kind", "dataset", "--sort", "-created"],
        vec!["list", "model", "--since", "10000d", "--created-until", "2030-01-01"],
        vec!["export", "--created-since", "2023-11-14", "--label", "site:x"],
        vec!["impact", "model", "wind"],
        vec!["impact", "model:wind@1"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    let when = remote.run(&["search", "--since", "yesterday"]).await.unwrap_err();
    assert_eq!((when.code(), when.kind().exit_code()), ("bad_time", 2));
}

#[tokio::test]
async fn the_commands_take_kinds_that_only_the_daemon_knows() {
    let toml =
        "[fiche.kinds.site]\nfields = [\"region\"]\nreferences = { turbines = [\"dataset\"] }\n";
    let remote = Remote::over(super::kinds::open_with(toml)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cards.toml").display().to_string();
    let cards = "[[cards]]\nkind = 'site'\nname = 'north'\nversion = '1'\nturbines = 'scada, lost@1'\n\
                 [[cards]]\nkind = 'model'\nname = 'wind'\nversion = '1'\nrequires = 'site:north@1'\n";
    std::fs::write(&file, cards).unwrap();
    for line in [
        vec!["save", "site", "xjjx", "1", "--set", "turbines=scada", "--set", "region=north"],
        vec!["save", "site:xjjx@1", "--summary", "farm"],
        vec!["apply", "-f", &file],
        vec!["list", "site"],
        vec!["search", "--kind", "site", "--kind", "model"],
        vec!["lineage", "site:north", "--direction", "both"],
        vec!["impact", "site:north@1"],
        vec!["stage", "site", "xjjx", "1", "testing"],
        vec!["delete", "site:xjjx@1"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    let site = remote.fiche.kind("site").unwrap();
    let north = remote.fiche.get(site, "north", "1").unwrap();
    assert_eq!(north.fields["turbines"], json!(["scada", "lost@1"]));
    let refused = remote.run(&["save", "gadget", "a", "1"]).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_kind");
    assert!(refused.detail().contains("dataset, site"), "{refused}");
    let bad = remote.run(&["save", "site", "b", "1", "--set", "region=3"]).await.unwrap_err();
    assert_eq!((bad.code(), bad.faults()[0].pointer.as_str()), ("bad_card", "/region"));
}

#[tokio::test(flavor = "multi_thread")]
async fn observers_are_kept_by_the_client_and_by_commands() {
    let remote = Remote::new().await;
    let fiche = FicheClient::new(remote.client.clone());
    let url = "http://nowhere.invalid/hook";
    let words = ["observe", "总部 hq", url, "--kinds", "model,dataset", "--names", "wind-*"];
    let more = ["--events", "card.saved", "--stages", "testing", "--paused", "--summary", "s"];
    remote.run(&[&words[..], &more].concat()).await.unwrap();
    let made = fiche.observer("总部 hq").await.unwrap();
    assert_eq!(
        (made.which.kinds.join(" "), made.which.names.join(" ")),
        ("model dataset".into(), "wind-*".into())
    );
    assert_eq!((made.enabled, made.has_secret, made.summary.as_str()), (false, false, "s"));
    let signed = json!({"url": url, "secret": "x", "enabled": false});
    let signed = fiche.observe("signed", &signed, None).await.unwrap();
    assert_eq!((signed.has_secret, signed.revision), (true, 1));
    let stale = fiche.observe("signed", &json!({"url": url}), Some(9)).await.unwrap_err();
    assert_eq!(stale.kind(), Kind::Stale);
    for line in [
        vec!["observers"],
        vec!["observer", "show", "signed"],
        vec!["observer", "resume", "signed"],
        vec!["observer", "pause", "signed"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    let paused = fiche.observer("signed").await.unwrap();
    assert_eq!((paused.revision, paused.enabled, paused.has_secret), (3, false, true));
    let card = CardDraft::new(CardKind::MODEL, "wind-a", "1").unwrap();
    fiche.save(&card, Conditions::default()).await.unwrap();
    let pending = Some(drip::fiche::DeliveryState::Pending);
    assert_eq!(fiche.deliveries("signed", pending, 10).await.unwrap()[0].card, "model:wind-a@1");
    assert!(fiche.deliveries("signed", None, 10).await.unwrap().is_empty());
    assert_eq!(fiche.redeliver("signed", 1, None).await.unwrap().events, 0);
    for line in [
        vec!["observer", "deliveries", "signed"],
        vec!["observer", "deliveries", "signed", "--state", "pending", "--limit", "5"],
        vec!["observer", "redeliver", "signed", "--from", "1", "--to", "1"],
        vec!["observer", "rm", "signed"],
        vec!["observer", "delete", "总部 hq"],
    ] {
        remote.run(&line).await.unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    assert!(fiche.observers().await.unwrap().is_empty());
    let missing = remote.run(&["observer", "show", "signed"]).await.unwrap_err();
    assert_eq!((missing.code(), missing.kind().exit_code()), ("observer_not_found", 1));
    let inside = remote.run(&["observe", "hq", "http://127.0.0.1:1/"]).await.unwrap_err();
    assert_eq!((inside.code(), inside.kind().exit_code()), ("address_refused", 1));
}
