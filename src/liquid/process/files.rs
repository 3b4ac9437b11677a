//! Values as files, and files as values: what a process is given lies in `inputs/`, what it makes is
//! taken from `outputs/`. The end of a name says the form: `.json`, `.csv`, `.parquet`, `.ndjson`,
//! `.txt`; anything else is bytes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rhai::{Blob, Dynamic, Map};

use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::script::{from_dynamic, to_dynamic};
use crate::liquid::node::{Inputs, Outputs};

/// The most bytes of one file that is taken back.
const FILE_MAX: u64 = 64 << 20;
/// The ends that are tried for a value whose file is not named.
const ENDS: &[&str] = &["json", "csv", "parquet", "ndjson", "txt"];

/// The files that a node's inputs become, in the order of its arguments.
pub(super) fn names(inputs: &Inputs, values: &[Dynamic]) -> Vec<String> {
    match inputs {
        Inputs::InOrder(names) => {
            let named = names.iter().zip(values);
            named.map(|(name, value)| format!("{name}.{}", end_for(value))).collect()
        }
        Inputs::ByName(pairs) => pairs.iter().map(|(file, _)| file.clone()).collect(),
    }
}

fn end_for(value: &Dynamic) -> &'static str {
    if value.is_blob() {
        return "bin";
    }
    #[cfg(feature = "table")]
    if value.is::<crate::kernel::table::Table>() {
        return "csv";
    }
    "json"
}

/// Whether a name stays in its folder.
pub(in crate::liquid) fn is_plain(name: &str) -> bool {
    let odd = |c: char| matches!(c, '/' | '\\' | '\0') || c.is_control();
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains(odd)
}

/// Writes a value.
pub(super) fn write(folder: &Path, name: &str, value: &Dynamic) -> Result<()> {
    if !is_plain(name) {
        return Err(bad_name(name));
    }
    let path = folder.join(name);
    let bytes = bytes_of(name, value)?;
    std::fs::write(&path, bytes)
        .map_err(|source| Error::io(format!("write the input {name}"), source))
}

fn bad_name(name: &str) -> Error {
    let detail = format!(
        "`{name}` is no name of a file: leave out `/`, a dot at its front and control characters"
    );
    Error::invalid("bad_file_name", detail, Vec::new())
}

fn end(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, end)| end)
}

fn bytes_of(name: &str, value: &Dynamic) -> Result<Vec<u8>> {
    if let Some(bytes) = value.read_lock::<Blob>() {
        return Ok(bytes.clone());
    }
    #[cfg(feature = "table")]
    if let Some(table) = value.read_lock::<crate::kernel::table::Table>() {
        use crate::kernel::table::{Format, write};
        let format = Format::from_file_name(name).unwrap_or(Format::Csv);
        return write::to_bytes(&table, format);
    }
    if let (Ok(text), false) = (value.as_immutable_string_ref(), end(name) == "json") {
        return Ok(text.as_bytes().to_vec());
    }
    let json = from_dynamic(value).map_err(|why| {
        Error::invalid("bad_input", format!("the input {name}: {}", why.detail()), Vec::new())
    })?;
    serde_json::to_vec(&json).map_err(|why| Error::internal(format!("write {name}: {why}")))
}

/// What the process made, as its node's function would have returned it.
pub(super) fn take(folder: &Path, outputs: &Outputs) -> Result<Dynamic> {
    // The process may have put a way to somewhere else in its place: what is there is not its own.
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        let detail = "the process removed its folder `outputs`, or put something else in its place";
        return Err(Error::invalid("output_missing", detail, Vec::new()));
    }
    match outputs {
        Outputs::Whole(None) => Ok(Dynamic::UNIT),
        Outputs::Whole(Some(name)) => read_any(folder, name),
        Outputs::Several(names) => {
            let mut made = Map::new();
            for name in names {
                made.insert(name.into(), read_any(folder, name)?);
            }
            Ok(Dynamic::from_map(made))
        }
        Outputs::ByField(pairs) => {
            let mut made = Map::new();
            for (file, _) in pairs {
                made.insert(file.into(), read(folder, file)?);
            }
            Ok(Dynamic::from_map(made))
        }
    }
}

/// Reads the value `name` from the file that has it, whatever its end.
fn read_any(folder: &Path, name: &str) -> Result<Dynamic> {
    let ended = ENDS.iter().map(|end| format!("{name}.{end}"));
    let there = |file: &String| is_plain(file) && is_file(&folder.join(file));
    let mut names = std::iter::once(name.to_owned()).chain(ended);
    let Some(file) = names.find(there) else { return Err(missing(folder, name)) };
    read(folder, &file)
}

/// Whether a file is there, and is one: a process could have made a way out of its folder of it.
fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

fn missing(folder: &Path, name: &str) -> Error {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut there: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).take(20).collect();
    there.sort();
    let found = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
    let detail = format!(
        "the process made no `outputs/{name}`, with or without .json, .csv, .parquet, .ndjson, .txt; it made {found}"
    );
    Error::invalid("output_missing", detail, Vec::new())
}

fn read(folder: &Path, name: &str) -> Result<Dynamic> {
    if !is_plain(name) {
        return Err(bad_name(name));
    }
    let path: PathBuf = folder.join(name);
    if !is_file(&path) {
        return Err(missing(folder, name));
    }
    let failed = |source| Error::io(format!("read the output {name}"), source);
    let file = File::open(&path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        let detail = format!(
            "the output {name} is larger than {} MiB: put it into an artifact",
            FILE_MAX >> 20
        );
        return Err(Error::new(Kind::TooLarge, "output_too_large", detail));
    }
    value_of(name, bytes)
}

fn value_of(name: &str, bytes: Vec<u8>) -> Result<Dynamic> {
    let bad = |why: String| {
        Error::invalid("bad_output", format!("the output {name} cannot be read: {why}"), Vec::new())
    };
    match end(name) {
        "json" => {
            let value: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|why| bad(why.to_string()))?;
            Ok(to_dynamic(&value))
        }
        "txt" => String::from_utf8(bytes).map(Dynamic::from).map_err(|why| bad(why.to_string())),
        #[cfg(feature = "table")]
        "csv" | "parquet" | "ndjson" => {
            use crate::kernel::table::{Format, Limits, read};
            let format = Format::from_file_name(name).unwrap_or(Format::Csv);
            let table = read::table(format, bytes.into(), &Limits::default());
            table.map(Dynamic::from).map_err(|why| bad(why.detail().to_owned()))
        }
        _ => Ok(Dynamic::from_blob(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_files_and_files_values() {
        let folder = tempfile::tempdir().unwrap();
        let back = |name: &str, value: Dynamic| {
            write(folder.path(), name, &value).unwrap();
            read(folder.path(), name).unwrap()
        };
        let map = to_dynamic(&json!({"a": [1, 2.5, "风"]}));
        assert_eq!(
            from_dynamic(&back("m.json", map.clone())).unwrap(),
            from_dynamic(&map).unwrap()
        );
        assert_eq!(back("t.txt", "a\nb".into()).into_string().unwrap(), "a\nb");
        assert_eq!(back("train.py", "print(1)".into()).cast::<Blob>(), b"print(1)");
        assert_eq!(back("m.bin", Dynamic::from_blob(vec![0, 255])).cast::<Blob>(), [0, 255]);
        assert_eq!(back("s.json", "text".into()).into_string().unwrap(), "text");
        for name in ["../m.json", "a/b", "", ".hidden", "a\0b", &"x".repeat(300)] {
            assert!(
                write(folder.path(), name, &map).is_err() && read(folder.path(), name).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_leads_elsewhere_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let one = Outputs::Whole(Some("model".into()));
        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        let refused = take(folder.path(), &one).unwrap_err();
        assert!(refused.detail().contains("it made other.json"), "{refused}");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("model.txt")).unwrap();
        assert_eq!(take(folder.path(), &one).unwrap_err().code(), "output_missing");
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("model.json"), "1").unwrap();
        let way = folder.path().join("outputs");
        std::os::unix::fs::symlink(elsewhere.path(), &way).unwrap();
        assert_eq!(take(&way, &one).unwrap_err().code(), "output_missing");
        std::fs::write(folder.path().join("model.json"), "{").unwrap();
        assert_eq!(take(folder.path(), &one).unwrap_err().code(), "bad_output");
        std::fs::write(folder.path().join("model.json"), "{\"k\": 1}").unwrap();
        assert_eq!(from_dynamic(&take(folder.path(), &one).unwrap()).unwrap(), json!({"k": 1}));
    }
}
