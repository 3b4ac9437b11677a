//! Cards as files: read in every usual form, compared with what there is, and saved all or none.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{CardDraft, show};
use crate::fiche::client::FicheClient;
use crate::fiche::diff::{Changed, between};
use crate::fiche::model::Card;
use crate::kernel::cli::{Output, read_input};
use crate::kernel::{Error, Fault, Kind, Result, Time};

/// How deep folders are gone into.
const DEPTH_MAX: usize = 16;

pub(super) async fn run(
    fiche: &FicheClient,
    files: &[String],
    dry_run: bool,
    out: Output,
) -> Result<()> {
    let drafts = read_all(files)?;
    if drafts.is_empty() {
        return out.done("no cards there", &json!({"items": []}));
    }
    if dry_run {
        return compare(fiche, &drafts, out).await;
    }
    let done = fiche.batch(&drafts).await?;
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

/// Shows what saving them would change.
async fn compare(fiche: &FicheClient, drafts: &[CardDraft], out: Output) -> Result<()> {
    let mut told = Vec::new();
    for draft in drafts {
        let card = fiche.find(draft.key()).await?;
        let (word, changes) = match &card {
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
    }
    if out.is_json() {
        return out.rows(&told, &[], "");
    }
    out.line("nothing was saved")
}

fn differences(draft: &CardDraft, card: &Card) -> Vec<Changed> {
    let after = Card {
        key: draft.key().clone(),
        stage: draft.stage.unwrap_or(card.stage),
        fields: draft.fields().clone(),
        revision: 0,
        created_at: Time::default(),
        updated_at: Time::default(),
        saved_by: String::new(),
    };
    between(card, &after)
}

/// Every card in the files; every fault of every file is named at once.
fn read_all(files: &[String]) -> Result<Vec<CardDraft>> {
    let mut paths = Vec::new();
    for file in files {
        gather(Path::new(file), 0, &mut paths)?;
    }
    let (mut drafts, mut faults) = (Vec::new(), Vec::new());
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
            match CardDraft::parse(document) {
                Ok(draft) => drafts.push(draft),
                Err(refused) => {
                    let place = |fault: &Fault| {
                        Fault::new(
                            format!("{shown} card {} {}", at + 1, fault.pointer),
                            &fault.detail,
                        )
                    };
                    faults.extend(refused.faults().iter().map(place));
                }
            }
        }
    }
    if faults.is_empty() {
        return Ok(drafts);
    }
    Err(Error::invalid("bad_card", "nothing was saved: not all of it is cards", faults))
}

/// The files of a folder that can hold cards, in the order of their names.
fn gather(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let unreadable = |source| Error::io(format!("read the folder {}", path.display()), source);
    let entries = std::fs::read_dir(path).map_err(unreadable)?;
    let mut inside = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(unreadable)?;
    inside.sort();
    for path in inside {
        if path.is_dir() && depth < DEPTH_MAX {
            gather(&path, depth + 1, found)?;
        } else if form_of(&path.display().to_string()).is_some() {
            found.push(path);
        }
    }
    Ok(())
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
        let read = read_all(&[folder.path().display().to_string()]).unwrap();
        let names: Vec<_> = read.iter().map(|draft| draft.key().name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
        write("f.json", r#"[{"kind": "gadget", "name": "f"}]"#);
        write("g.toml", "kind = ");
        let refused = read_all(&[folder.path().display().to_string()]).unwrap_err();
        assert_eq!(refused.faults().len(), 3, "{refused}");
    }
}
