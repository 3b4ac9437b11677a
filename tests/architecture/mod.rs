#![cfg(test)]
//! The order of the house, read from the sources: which part may name which, and a few habits that
//! no lint looks for. Each fault is told with its file and line.

mod house;
mod tidy;
mod tokens;

use std::path::{Path, PathBuf};

use tokens::{Token, tokens};

/// One file.
struct Source {
    /// From the root of the crate: `src/cask/store.rs`.
    path: String,
    text: String,
}

impl Source {
    fn tokens(&self) -> Vec<Token> {
        tokens(&self.text)
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
            || self.text.starts_with("#![cfg(test)]")
    }
}

/// A broken rule: `file:line: what`.
fn fault(source: &Source, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", source.path)
}

/// Every Rust file under `folder`, which is relative to the root of the crate.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(root).unwrap().display().to_string(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

fn check(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    assert!(sources.len() > 3, "the sources were not found");
    let faults: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_part_of_the_house_names_one_that_it_must_not_know() {
    check(&sources("src"), house::faults);
}

#[test]
fn sources_are_tidy() {
    check(&sources("src"), tidy::faults);
    check(&sources("tests"), tidy::faults);
}
