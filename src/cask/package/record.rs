//! `.cask/RECORD`: one line `path,sha256,size` for every file but itself, sorted by path. A path
//! with a comma or a quote stands in quotes, as CSV has it.

use std::collections::BTreeMap;

use super::RECORD_PATH;
use super::read::FileInfo;
use crate::cask::error;
use crate::kernel::{Digest, Fault, Result};

/// The most bytes of a RECORD: 100 000 lines of usual length.
pub(super) const RECORD_MAX: u64 = 32 << 20;

/// Writes the record of `files`, which are sorted.
pub(super) fn write(files: &[FileInfo]) -> String {
    use std::fmt::Write as _;
    files.iter().fold(String::new(), |mut text, file| {
        let path = if file.path.contains([',', '"']) {
            format!("\"{}\"", file.path.replace('"', "\"\""))
        } else {
            file.path.clone()
        };
        let _infallible = writeln!(text, "{path},{},{}", file.sha256, file.size);
        text
    })
}

/// Compares a record with what the archive holds; every difference is named.
pub(super) fn compare(record: &[u8], files: &[FileInfo]) -> Result<()> {
    let text = std::str::from_utf8(record)
        .map_err(|_bad| error::record_differs(vec![Fault::new(RECORD_PATH, "is not UTF-8")]))?;
    let mut faults = Vec::new();
    let mut listed = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        match parse(line) {
            Some((path, _, _)) if listed.contains_key(&path) => {
                faults.push(Fault::new(path, "is listed twice"));
            }
            Some((path, digest, size)) => {
                listed.insert(path, (digest, size));
            }
            None => {
                faults
                    .push(Fault::new(format!("line {}", number + 1), "is not `path,sha256,size`"));
            }
        }
    }
    for file in files.iter().filter(|file| file.path != RECORD_PATH) {
        match listed.remove(&file.path) {
            None => faults.push(Fault::new(&file.path, "is not in RECORD")),
            Some(said) if said != (file.sha256, file.size) => {
                faults.push(Fault::new(&file.path, "differs from what RECORD says"));
            }
            Some(_) => {}
        }
    }
    listed.remove(RECORD_PATH);
    faults.extend(
        listed.into_keys().map(|path| Fault::new(path, "is in RECORD and not in the package")),
    );
    if faults.is_empty() {
        return Ok(());
    }
    faults.truncate(100);
    Err(error::record_differs(faults))
}

fn parse(line: &str) -> Option<(String, Digest, u64)> {
    let mut parts = line.rsplitn(3, ',');
    let size = parts.next()?.trim().parse().ok()?;
    let digest = parts.next()?.trim();
    let digest = Digest::parse(digest.strip_prefix("sha256=").unwrap_or(digest)).ok()?;
    let path = parts.next()?;
    let path = match path.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => path.to_owned(),
    };
    Some((path, digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> FileInfo {
        FileInfo { path: path.to_owned(), size: bytes.len() as u64, sha256: Digest::of(bytes) }
    }

    #[test]
    fn a_record_agrees_with_the_files_it_was_written_for() {
        let files = [file("a,b", b"1"), file("c\"d", b"22"), file("\"q\"", b""), file("z", b"x")];
        assert!(compare(write(&files).as_bytes(), &files).is_ok());
    }

    #[test]
    fn every_difference_is_named() {
        let said = [file("a", b"1"), file("b", b"2"), file("gone", b"3")];
        let found = [file("a", b"1"), file("b", b"other"), file("new", b"4")];
        let record = [write(&said), "rubbish\n".to_owned(), write(&said[..1])].concat();
        let refused = compare(record.as_bytes(), &found).unwrap_err();
        let told: Vec<_> = refused.faults().iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(told, ["line 4", "a", "b", "new", "gone"]);
    }
}
