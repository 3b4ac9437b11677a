#![cfg(test)]
//! Arrows: `kernel ← slices, plugins ← app ← server, web, cli ← main`. No slice names another, and
//! the kernel names none. The program is put together in `cli`, which may name `server` and `web`.

use super::tokens::Token;
use super::{Source, fault};

const SLICES: [&str; 6] = ["fiche", "cask", "trajectory", "liquid", "atom", "dashare"];
/// `src/lib.rs` and `src/main.rs`: they name everything.
const ROOT: &str = "";

/// Which parts a part may name beside itself; none for a part that has no place in the house yet.
fn may_name(part: &str) -> Option<Vec<&'static str>> {
    let below_app = || [&["kernel", "plugins"][..], &SLICES].concat();
    let below_surfaces = || [below_app(), vec!["app"]].concat();
    Some(match part {
        "kernel" => vec![],
        "plugins" => vec!["kernel"],
        "app" => below_app(),
        "server" | "web" => below_surfaces(),
        "cli" => [below_surfaces(), vec!["server", "web"]].concat(),
        slice if SLICES.contains(&slice) => vec!["kernel"],
        _ => return None,
    })
}

/// The modules from the root of the crate to a file: `src/cask/store.rs` is `cask`, `store`.
fn modules(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

pub(super) fn faults(source: &Source) -> Vec<String> {
    let here = modules(&source.path);
    let part = here.first().map_or(ROOT, String::as_str);
    if part == ROOT {
        return Vec::new();
    }
    let Some(allowed) = may_name(part) else {
        let what = format!("`{part}` has no place in the house: give it one in tests/architecture");
        return vec![fault(source, 1, &what)];
    };
    let mut named = named(&source.tokens(), &here);
    // A path names its first part once, however deep it goes.
    named.dedup();
    named
        .into_iter()
        .filter(|(name, _)| name != part && !allowed.contains(&name.as_str()))
        .map(|(name, line)| {
            let what = format!("`{part}` names `{name}`, which it must not know");
            fault(source, line, &what)
        })
        .collect()
}

/// The first parts, counted from the root of the crate, of all paths that leave their own module.
fn named(tokens: &[Token], file: &[String]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let renames_to_drip = renames_to_drip(tokens);
    // Modules written inside the file, with the depth of their braces: `super` counts from them.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(at + n);
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                inline.retain(|(_, inside)| *inside < depth);
                depth -= 1;
            }
            "mod" if next(2).is_some_and(|t| t.is("{")) => {
                inline.push((tokens[at + 1].text.clone(), depth + 1));
            }
            "drip" if renames_to_drip => {}
            "crate" | "drip" | "self" | "super"
                if next(1).is_some_and(|t| t.is("::")) && !follows_path(tokens, at) =>
            {
                let here = file.iter().chain(inline.iter().map(|(name, _)| name));
                let base: Vec<String> = match token.text.as_str() {
                    "crate" | "drip" => Vec::new(),
                    _ => here.cloned().collect(),
                };
                walk(tokens, at, base, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Whether the file gives something else the crate's name, as `use crate::kernel::http as drip` does:
/// then `drip::…` is that, and the line that names it is looked at like any other.
fn renames_to_drip(tokens: &[Token]) -> bool {
    let is_rename = |four: &[Token]| {
        let is_own_name = four[0].is("crate") && four[1].is("self");
        four[2].is("as") && four[3].is("drip") && !is_own_name
    };
    tokens.windows(4).any(is_rename)
}

/// Whether a path goes on here that began before: `super` in the middle of `self::super::x`.
fn follows_path(tokens: &[Token], at: usize) -> bool {
    at > 0 && tokens[at - 1].is("::")
}

/// Follows a path from its first word, and into the branches of a `{…}`; notes where it leads from
/// the root. `base` is the module that the path has reached. Answers the place after it.
fn walk(
    tokens: &[Token],
    mut at: usize,
    mut base: Vec<String>,
    found: &mut Vec<(String, usize)>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "crate" | "drip" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is("}")) {
                    at = walk(tokens, at, base.clone(), found).max(at + 1);
                }
                return at + 1;
            }
            "*" if base.is_empty() => {
                found.push(("*".to_owned(), token.line));
                return at + 1;
            }
            _ if token.is_word() => {
                let first = base.first().unwrap_or(&token.text).clone();
                found.push((first, token.line));
                base.push(token.text.clone());
            }
            _ => return at,
        }
        if !tokens.get(at + 1).is_some_and(|t| t.is("::")) {
            return at + 1;
        }
        at += 2;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, text: &str) -> Vec<String> {
        faults(&Source { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_slice_that_names_another_is_found_however_it_says_it() {
        for line in [
            "use crate::cask;",
            "use crate::cask::Cask;",
            "use crate::{kernel::Error, cask::Cask};",
            "use crate::{\n    kernel::{Error, Kind},\n    fiche::model,\n    cask,\n};",
            "use super::super::cask::Cask;",
            "use super::super::{kernel, cask};",
            "fn f() { crate::cask::open() }",
            "fn f(cask: &drip::cask::Cask) {}",
            "extern crate self as drip; use drip::cask;",
            "use crate::cask as drip; fn f(cask: drip::Cask) {}",
            "mod inner { use super::super::super::cask; }",
            "use self::super::super::cask;",
            "use crate::*;",
            "use crate::Cask;",
        ] {
            let faults = faults_of("src/fiche/store.rs", line);
            assert_eq!(faults.len(), 1, "{line}: {faults:?}");
            assert!(faults[0].starts_with("src/fiche/store.rs:"), "{faults:?}");
        }
        let told = faults_of("src/fiche/mod.rs", "//! Cards.\n\nuse super::cask;\n");
        let expected = "src/fiche/mod.rs:3: `fiche` names `cask`, which it must not know";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn what_a_slice_may_say_is_no_fault() {
        for line in [
            "use crate::kernel::{Error, Result};",
            "use crate::fiche::model::Card;",
            "use super::model::{self, Card};",
            "use super::super::kernel::clock;",
            "// crate::cask\nlet text = \"crate::cask\";",
            "mod tests { use super::*; use super::super::model; }",
            "mod one { mod two { use super::super::error; } } use super::query;",
            "let cask = cask::open();",
            "use crate::kernel::http as drip; fn f(sent: drip::Conditions) {}",
            "use crate::kernel::http::{self as drip}; fn f(sent: drip::Conditions) {}",
        ] {
            let faults = faults_of("src/fiche/store.rs", line);
            assert!(faults.is_empty(), "{line}: {faults:?}");
        }
    }

    #[test]
    fn arrows_point_one_way() {
        for (path, line, is_fault) in [
            ("src/kernel/http/mod.rs", "use crate::fiche::Fiche;", true),
            ("src/kernel/http/mod.rs", "use crate::server;", true),
            ("src/kernel/http/mod.rs", "use super::error::Error;", false),
            ("src/plugins/mod.rs", "use crate::liquid;", true),
            ("src/app/mod.rs", "use crate::server::Server;", true),
            ("src/app/wiring.rs", "use crate::{cask, fiche};", false),
            ("src/server/mod.rs", "use crate::app::App;", false),
            ("src/server/mod.rs", "use crate::web;", true),
            ("src/web/mod.rs", "use crate::cli;", true),
            ("src/cli/serve.rs", "use crate::{app, server, web};", false),
            ("src/main.rs", "fn main() { drip::cli::main() }", false),
            ("src/attic/mod.rs", "", true),
        ] {
            assert_eq!(!faults_of(path, line).is_empty(), is_fault, "{path}: {line}");
        }
    }
}
