//! The collections as files: `algorithm_info.bson` of `mongodump`, `algorithm_info.json` of
//! `mongoexport`, one by one or in a folder.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fiche::old::merge::{Collection, Merge};
use crate::kernel::cli::Output;
use crate::kernel::mongo;
use crate::kernel::{Error, Kind, Result};

/// The longest document in JSON; MongoDB's own limit is 16 MiB.
const LINE_MAX: u64 = 64 << 20;
/// The databases of the original, where a dump holds several.
const DATABASES: [&str; 2] = ["fiche", "drip"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bson,
    Json,
    /// Either of them, packed.
    Packed,
}

/// A file, and what it holds.
type Found = (PathBuf, Collection, Form);

/// Whether a path is a folder, or a file that only MongoDB's tools make.
pub(super) fn is_meant(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.as_deref().unwrap_or_default().trim_end_matches(".gz");
    let is_of_tools = matches!(name.rsplit_once('.'), Some((_, "bson" | "archive")));
    path.is_dir() || what_is(path).is_some() || is_of_tools
}

/// Reads what is there; answers where it was found.
pub(super) fn read(path: &Path, merge: &mut Merge, out: Output) -> Result<String> {
    let (folder, found) = find(path)?;
    for (path, collection, form) in found {
        merge.begin(collection);
        let file = File::open(&path).map_err(|source| unreadable(&path, source))?;
        let length = file.metadata().map_err(|source| unreadable(&path, source))?.len();
        let bar = out.progress(collection.name, Some(length));
        let reader = BufReader::new(bar.wrap_read(file));
        match form {
            Form::Bson => read_bson(reader, &path, collection, merge)?,
            Form::Json => read_json(reader, &path, collection, merge)?,
            Form::Packed => return Err(packed(&path)),
        }
        bar.finish_and_clear();
    }
    Ok(folder.display().to_string())
}

/// The files of a source, in the order of their names, and the folder that has them.
fn find(path: &Path) -> Result<(PathBuf, Vec<Found>)> {
    if let Some((collection, form)) = what_is(path).filter(|_| !path.is_dir()) {
        return Ok((path.to_owned(), vec![(path.to_owned(), collection, form)]));
    }
    if !path.is_dir() {
        return Err(no_collection(path));
    }
    let mut inside: Vec<PathBuf> = DATABASES.iter().map(|name| path.join(name)).collect();
    inside.extend(entries(path)?);
    let folders = inside.into_iter().filter(|inside| inside.is_dir());
    for folder in std::iter::once(path.to_owned()).chain(folders) {
        let found: Vec<Found> = entries(&folder)?
            .into_iter()
            .filter(|path| path.is_file())
            .filter_map(|path| what_is(&path).map(|(collection, form)| (path, collection, form)))
            .collect();
        if !found.is_empty() {
            return Ok((folder, found));
        }
    }
    Err(Error::new(
        Kind::NotFound,
        "no_collections",
        format!(
            "neither `{}` nor a folder in it has a collection of Drip 0.1: {}, or the same as .json",
            path.display(),
            names()
        ),
    ))
}

fn no_collection(path: &Path) -> Error {
    Error::new(
        Kind::Usage,
        "unknown_collection",
        format!(
            "`{}` is named for no collection of Drip 0.1 ({}); of an archive make a folder first, with `mongorestore` and `mongodump --out`",
            path.display(),
            names()
        ),
    )
}

fn names() -> String {
    Collection::ALL.map(|collection| format!("{collection}.bson")).join(", ")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut paths = listed
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|source| unreadable(folder, source))?;
    paths.sort();
    Ok(paths)
}

/// What a file holds by its name: `model_info.bson`, and `fiche.model_info.json` as Compass has it.
fn what_is(path: &Path) -> Option<(Collection, Form)> {
    let name = path.file_name()?.to_str()?;
    let (name, is_packed) = match name.strip_suffix(".gz") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (stem, ending) = name.rsplit_once('.')?;
    let form = match ending {
        "bson" => Form::Bson,
        "json" | "jsonl" | "ndjson" => Form::Json,
        _ => return None,
    };
    let name = stem.rsplit_once('.').map_or(stem, |(_, name)| name);
    Some((Collection::known(name)?, if is_packed { Form::Packed } else { form }))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        let detail = format!("there is no `{}`", path.display());
        return Error::new(Kind::NotFound, "file_unreadable", detail);
    }
    Error::io(format!("read {}", path.display()), source)
}

fn packed(path: &Path) -> Error {
    let shown = path.display();
    Error::new(
        Kind::Unsupported,
        "packed_dump",
        format!("`{shown}` is packed: unpack it first, with `gunzip {shown}`"),
    )
}

/// Documents in JSON, one a line, or all in one array.
fn read_json(
    mut reader: BufReader<impl std::io::Read>,
    path: &Path,
    collection: Collection,
    merge: &mut Merge,
) -> Result<()> {
    let failed = |source| unreadable(path, source);
    if is_array(&mut reader).map_err(failed)? {
        let documents: Vec<Value> = serde_json::from_reader(reader).map_err(|source| {
            let detail = format!("`{}` is no array of JSON documents: {source}", path.display());
            Error::new(Kind::Invalid, "bad_file", detail)
        })?;
        for (at, document) in documents.into_iter().enumerate() {
            merge.take(collection, &format!("document {}", at + 1), Ok(document));
        }
        return Ok(());
    }
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut bounded = reader.by_ref().take(LINE_MAX);
        if bounded.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            let document = serde_json::from_slice(text).map_err(mongo::damaged);
            merge.take(collection, &format!("line {number}"), document);
        }
    }
    Ok(())
}

/// Looks at the first byte that says something, past blanks and a mark of the byte order.
fn is_array(reader: &mut BufReader<impl std::io::Read>) -> std::io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        let Some(first) = buffer.first().copied() else {
            return Ok(false);
        };
        if !first.is_ascii_whitespace() && !matches!(first, 0xEF | 0xBB | 0xBF) {
            return Ok(first == b'[');
        }
        reader.consume(1);
    }
}

#[cfg(feature = "mongo")]
fn read_bson(
    reader: BufReader<impl std::io::Read>,
    path: &Path,
    collection: Collection,
    merge: &mut Merge,
) -> Result<()> {
    mongo::bson::each(reader, |at, document| {
        merge.take(collection, &format!("byte {at}"), document);
    })
    .map_err(|source| unreadable(path, source))
}

#[cfg(not(feature = "mongo"))]
fn read_bson(
    _reader: BufReader<impl std::io::Read>,
    _path: &Path,
    _collection: Collection,
    _merge: &mut Merge,
) -> Result<()> {
    Err(mongo::not_built(super::INSTEAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fiche::model::CardKind;

    fn read_folder(folder: &Path) -> Merge {
        let mut merge = Merge::default();
        read(folder, &mut merge, Output::new(true)).unwrap();
        merge
    }

    #[test]
    fn files_are_known_by_their_names() {
        for (name, known) in [
            ("model_info.bson", Some(("model_info", Form::Bson))),
            ("fiche.model_info.json", Some(("model_info", Form::Json))),
            ("dataset_info.bson.gz", Some(("dataset_info", Form::Packed))),
            ("observer_info.jsonl", Some(("observer_info", Form::Json))),
            ("model_info.metadata.json", None),
            ("model_info.txt", None),
            ("cards.ndjson", None),
            ("model_info", None),
        ] {
            let found = what_is(Path::new(name)).map(|(collection, form)| (collection.name, form));
            assert_eq!(found, known, "{name}");
        }
    }

    #[test]
    fn lines_and_arrays_of_mongoexport_are_read_and_bad_lines_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        write(
            "model_info.json",
            "{\"name\": \"a\", \"version\": \"1\"}\r\n\nnonsense\n{\"name\": \"b\", \"version\": \"1\"}",
        );
        write("fiche.dataset_info.json", "\u{FEFF} [{\"name\": \"d\", \"version\": \"1\"}, 7]");
        write("parameter_info.json", "");
        let merge = read_folder(folder.path());
        assert_eq!(merge.cards(CardKind::MODEL).count(), 2);
        assert_eq!(merge.cards(CardKind::DATASET).count(), 1);
        let told: Vec<_> = merge.rejected().iter().map(|r| (r.collection, r.id.as_str())).collect();
        assert_eq!(told, [("dataset_info", "document 2"), ("model_info", "line 3")]);
        assert_eq!(merge.tallies().len(), 3);
    }

    #[test]
    fn the_database_of_the_original_is_found_in_a_dump_of_several() {
        let folder = tempfile::tempdir().unwrap();
        for (database, name) in [("admin", "x"), ("drip", "second"), ("fiche", "first")] {
            std::fs::create_dir(folder.path().join(database)).unwrap();
            let document = format!("{{\"name\": \"{name}\", \"version\": \"1\"}}");
            let file = folder.path().join(database).join("model_info.json");
            std::fs::write(file, document).unwrap();
        }
        let (found, files) = find(folder.path()).unwrap();
        assert_eq!((found, files.len()), (folder.path().join("fiche"), 1));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(find(empty.path()).unwrap_err().code(), "no_collections");
        std::fs::write(empty.path().join("model_info.bson.gz"), "x").unwrap();
        let refused = read(empty.path(), &mut Merge::default(), Output::new(true)).unwrap_err();
        assert_eq!(refused.code(), "packed_dump");
        for name in ["dump.archive", "dump.archive.gz", "cards.bson"] {
            let path = empty.path().join(name);
            std::fs::write(&path, "x").unwrap();
            assert!(is_meant(&path));
            assert_eq!(find(&path).unwrap_err().code(), "unknown_collection", "{name}");
        }
        assert!(!is_meant(&empty.path().join("cards.ndjson")));
    }
}
