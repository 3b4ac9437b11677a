//! Cards as files: read in every usual form, compared with what there is, and saved all or none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{CardDraft, show};
use crate::fiche::client::FicheClient;
use crate::fiche::diff::{Changed, between};
use crate::fiche::error;
use crate::fiche::model::{Card, Stage};
use crate::kernel::cli::{Output, read_input};
use crate::kernel::{Error, Fault, Kind, Result, Time};

/// How deep folders are gone into.
const DEPTH_MAX: usize = 16;

/// A card, and where it was read.
struct Placed {
    place: String,
    draft: CardDraft,
}

pub(super) async fn run(
    fiche: &FicheClient,
    files: &[String],
    dry_run: bool,
    out: Output,
) -> Result<()> {
    let placed = read_all(files)?;
    if placed.is_empty() {
        return out.done("no cards there", &json!({"items": []}));
    }
    if dry_run {
        return compare(fiche, &placed, out).await;
    }
    let drafts: Vec<CardDraft> = placed.iter().map(|placed| placed.draft.clone()).collect();
    let done = fiche.batch(&drafts).await.map_err(|refused| in_files(refused, &placed))?;
    let count = |what: &str| done.get(what).and_then(Value::as_u64).unwrap_or(0);
    let said = format!(
        "{} cards: {} new, {} updated, {} as they were",
        drafts.len(),
        count("created"),
        count("updated"),
        count("unchanged")
    );
    out.done(&said, &done)
}

/// The daemon counts the cards it was sent; people know them by their files.
fn in_files(refused: Error, placed: &[Placed]) -> Error {
    let place = |fault: &Fault| {
        let pointer = fault.pointer.trim_start_matches('/');
        let (number, field) = pointer.split_once('/').unwrap_or((pointer, ""));
        let card = number.parse().ok().and_then(|number: usize| placed.get(number));
        card.map_or_else(
            || fault.clone(),
            |card| Fault::new(format!("{} /{field}", card.place), &fault.detail),
        )
    };
    let faults: Vec<Fault> = refused.faults().iter().map(place).collect();
    Error::new(refused.kind(), refused.code(), refused.detail()).with_faults(faults)
}

/// Shows what saving them would change, and which of them would be refused.
async fn compare(fiche: &FicheClient, placed: &[Placed], out: Output) -> Result<()> {
    let (mut told, mut faults) = (Vec::new(), Vec::new());
    for Placed { place, draft } in placed {
        let card = fiche.find(draft.key()).await?;
        let has = card.as_ref().map_or(Stage::default(), |card| card.stage);
        let refusal = draft.stage.filter(|wanted| *wanted != has).map(|wanted| {
            error::stage_is_moved_apart(draft.key(), has, wanted).detail().to_owned()
        });
        let (word, changes) = match &card {
            _ if refusal.is_some() => ("refused", Vec::new()),
            None => ("new", Vec::new()),
            Some(card) => {
                let changes = differences(draft, card);
                (if changes.is_empty() { "unchanged" } else { "changed" }, changes)
            }
        };
        if !out.is_json() {
            out.line(&format!("{}  {word}", out.bold(&draft.key().reference())))?;
            show::changed(&changes, out)?;
        }
        told.push(json!({"card": draft.key().reference(), "would_be": word, "changes": changes}));
        faults.extend(refusal.map(|why| Fault::new(format!("{place} /stage"), why)));
    }
    if out.is_json() {
        out.rows(&told, &[], "")?;
    } else {
        out.line("nothing was saved")?;
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::invalid("stage_not_moved_by_save", "nothing of it would be saved", faults))
}

fn differences(draft: &CardDraft, card: &Card) -> Vec<Changed> {
    let after = Card {
        key: draft.key().clone(),
        stage: card.stage,
        fields: draft.fields().clone(),
        revision: 0,
        created_at: Time::default(),
        updated_at: Time::default(),
        saved_by: String::new(),
        node: None,
    };
    between(card, &after)
}

/// Every card in the files; every fault of every file is named at once.
fn read_all(files: &[String]) -> Result<Vec<Placed>> {
    let (mut paths, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        gather(Path::new(file), 0, &mut paths, &mut faults);
    }
    let mut read: Vec<Placed> = Vec::new();
    let mut places = HashMap::new();
    for path in paths {
        let shown = path.display().to_string();
        let documents = match read_file(&shown) {
            Ok(documents) => documents,
            Err(refused) => {
                faults.push(Fault::new(shown, refused.to_string()));
                continue;
            }
        };
        for (at, document) in documents.into_iter().enumerate() {
            let place = format!("{shown} card {}", at + 1);
            match CardDraft::for_daemon(document) {
                Ok(draft) => {
                    if let Some(other) = places.insert(draft.key().clone(), place.clone()) {
                        let why = format!("`{}` is in {other} already", draft.key().reference());
                        faults.push(Fault::new(place.clone(), why));
                    }
                    read.push(Placed { place, draft });
                }
                Err(refused) => faults.extend(placed_faults(&place, &refused)),
            }
        }
    }
    if faults.is_empty() {
        return Ok(read);
    }
    Err(Error::invalid("bad_card", "nothing was saved: not all of it is cards", faults))
}

/// The faults of one card with its place in front; a refusal without faults is one.
fn placed_faults(place: &str, refused: &Error) -> Vec<Fault> {
    if refused.faults().is_empty() {
        return vec![Fault::new(place, refused.detail())];
    }
    let placed = |fault: &Fault| {
        let is_name = matches!(fault.pointer.as_str(), "/name" | "/version");
        // YAML and TOML take 1.0 for a number.
        let hint =
            if is_name && fault.detail == "must be text" { ": put it in quotes" } else { "" };
        Fault::new(format!("{place} {}", fault.pointer), format!("{}{hint}", fault.detail))
    };
    refused.faults().iter().map(placed).collect()
}

/// The files of a folder that can hold cards, in the order of their names. What is hidden is left.
fn gather(path: &Path, depth: usize, found: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    if !path.is_dir() {
        found.push(path.to_owned());
        return;
    }
    let listed = std::fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut inside = match listed {
        Ok(inside) => inside,
        Err(source) => {
            let why = format!("the folder cannot be read: {source}");
            return faults.push(Fault::new(path.display().to_string(), why));
        }
    };
    inside.sort();
    for path in inside.into_iter().filter(|path| !is_hidden(path)) {
        if path.is_dir() {
            if depth < DEPTH_MAX {
                gather(&path, depth + 1, found, faults);
            } else {
                let why = format!("folders are gone into {DEPTH_MAX} deep and no deeper");
                faults.push(Fault::new(path.display().to_string(), why));
            }
        } else if form_of(&path.display().to_string()).is_some() {
            found.push(path);
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Lines,
    Toml,
    Yaml,
}

fn form_of(path: &str) -> Option<Form> {
    match Path::new(path).extension()?.to_str()? {
        "json" => Some(Form::Json),
        "ndjson" | "jsonl" => Some(Form::Lines),
        "toml" => Some(Form::Toml),
        "yaml" | "yml" => Some(Form::Yaml),
        _ => None,
    }
}

/// The one card of a file, as far as it says.
pub(super) fn read_one(path: &str) -> Result<Map<String, Value>> {
    let mut documents = read_file(path)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(Value::Object(fields)), true) => Ok(fields),
        _ => Err(Error::new(
            Kind::Usage,
            "not_one_card",
            format!("`{path}` does not hold one card: `dripctl fiche apply -f` takes several"),
        )),
    }
}

/// The documents of a file: one card, a list of cards, or a table with `cards` or `items`.
fn read_file(path: &str) -> Result<Vec<Value>> {
    let bytes = read_input(path)?;
    let text = String::from_utf8(bytes).map_err(|_bytes| bad_file(path, "it is not UTF-8 text"))?;
    let text = text.trim_start_matches('\u{FEFF}');
    let documents: Vec<Value> = match form_of(path).unwrap_or(Form::Json) {
        Form::Json => vec![serde_json::from_str(text).map_err(|why| bad_file(path, why))?],
        Form::Lines => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| serde_json::from_str(line).map_err(|why| bad_file(path, why)))
            .collect::<Result<_>>()?,
        Form::Toml => vec![toml::from_str(text).map_err(|why| bad_file(path, why))?],
        Form::Yaml => serde_yaml_ng::Deserializer::from_str(text)
            .map(|document| {
                serde::Deserialize::deserialize(document).map_err(|why| bad_file(path, why))
            })
            .collect::<Result<_>>()?,
    };
    Ok(documents.into_iter().flat_map(spread).collect())
}

fn spread(document: Value) -> Vec<Value> {
    match document {
        Value::Array(items) => items,
        Value::Object(mut fields) if !fields.contains_key("name") => {
            match fields.remove("cards").or_else(|| fields.remove("items")) {
                Some(Value::Array(items)) => items,
                _ => vec![Value::Object(fields)],
            }
        }
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

fn bad_file(path: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, "bad_file", format!("`{path}` cannot be read as cards: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_files_is_read_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write("a.json", r#"{"cards": [{"kind": "model", "name": "a", "version": "1"}]}"#);
        write("b.ndjson", "{\"kind\": \"model\", \"name\": \"b\", \"version\": \"1\"}\n\n");
        write("c.toml", "kind = 'dataset'\nname = 'c'\nversion = '1'\n[labels]\nsite = 'x'");
        write(
            "d.yaml",
            "kind: model\nname: d\nversion: '1'\n---\nkind: model\nname: e\nversion: '1'\n",
        );
        write("notes.txt", "not a card");
        let read = read_all(&[folder.path().display().to_string()]).ok().unwrap();
        let names: Vec<_> = read.iter().map(|read| read.draft.key().name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        write("f.json", r#"[{"kind": "no kind", "name": "f"}]"#);
        write("g.toml", "kind = ");
        let refused = read_all(&[folder.path().display().to_string()]).err().unwrap();
        assert_eq!(refused.faults().len(), 3, "{refused}");
    }

    #[test]
    fn every_faulty_file_is_named_with_what_is_wrong_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        write(".git/config.json", "no card");
        write("a.yaml", "kind: model\nname: a\nversion: 1.0\n");
        write("b.yaml", "kind: model\nname: b\nversion: '1'\n---\n- kind: model\n---\n");
        let large = format!(
            "{{\"kind\": \"model\", \"name\": \"c\", \"version\": \"1\", \"remark\": \"{}\"}}",
            "x".repeat(2 << 20)
        );
        write("c.json", &large);
        write("d.json", r#"{"kind": "model", "name": "b", "version": "1"}"#);
        write("e.toml", "kind = ");
        let all = [folder.path().display().to_string(), path("missing.json")];
        let refused = read_all(&all).err().unwrap();
        let told: Vec<_> = refused.faults().iter().map(|fault| fault.pointer.clone()).collect();
        let places = [
            "a.yaml card 1 /version",
            "b.yaml card 2 /name",
            "b.yaml card 2 /version",
            "c.json card 1",
            "d.json card 1",
            "e.toml",
            "missing.json",
        ];
        assert_eq!(told, places.map(path), "{refused}");
        let details: Vec<_> = refused.faults().iter().map(|fault| &fault.detail).collect();
        assert!(details[0].ends_with("quotes"), "{}", details[0]);
        assert!(details[4].contains("b.yaml card 1"), "{}", details[4]);
    }
}
