#![cfg(test)]
//! Habits: a page at the head of each file, no glob imports outside tests, nothing left over,
//! nothing asserted by a bare `matches!`, no function that needs scrolling.

use super::tokens::Token;
use super::{Source, fault};

/// The longest function, from `fn` to its last brace. It may come down, not go up.
const LONGEST_FUNCTION: usize = 100;
/// Words of work that was not ended. Written so that this file has none of them.
const MARKERS: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
const MACROS: [&str; 3] = [concat!("to", "do"), "dbg", "unimplemented"];

pub(super) fn faults(source: &Source) -> Vec<String> {
    let tokens = source.tokens();
    let mut faults = Vec::new();
    faults.extend(header(source));
    faults.extend(leftovers(source, &tokens));
    if !source.is_test() {
        faults.extend(globs(source, &tokens));
    }
    faults.extend(bare_matches(source, &tokens));
    faults.extend(long_functions(source, &tokens));
    faults
}

fn header(source: &Source) -> Option<String> {
    let body = source.text.trim_start_matches("#![cfg(test)]").trim_start();
    let is_there = body.starts_with("//!");
    // A file of tests beside its source is told of there.
    let is_exempt = source.path.starts_with("src/") && source.is_test();
    (!is_there && !is_exempt).then(|| fault(source, 1, "begin with a `//!` that says what this is"))
}

fn leftovers(source: &Source, tokens: &[Token]) -> Vec<String> {
    let has_word = |line: &str, marker: &str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word == marker)
    };
    let mut faults = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for marker in MARKERS.iter().filter(|marker| has_word(line, marker)) {
            let what = format!("`{marker}` is left over: do it, or open an issue");
            faults.push(fault(source, at + 1, &what));
        }
    }
    for pair in tokens.windows(2) {
        if pair[1].is("!") && MACROS.iter().any(|name| pair[0].is(name)) {
            let what = format!("`{}!` is left over", pair[0].text);
            faults.push(fault(source, pair[0].line, &what));
        }
    }
    faults
}

/// `use x::*` outside modules named `tests`.
fn globs(source: &Source, tokens: &[Token]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut depth = 0_usize;
    let mut tests_at = None;
    for (at, token) in tokens.iter().enumerate() {
        let next_is = |n: usize, text: &str| tokens.get(at + n).is_some_and(|t| t.is(text));
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                tests_at = tests_at.filter(|start| depth > *start);
            }
            "mod" if next_is(2, "{") && tokens[at + 1].text.ends_with("tests") => {
                tests_at = tests_at.or(Some(depth));
            }
            "::" if next_is(1, "*") && tests_at.is_none() => {
                let what = "a glob import hides where names come from: name them";
                faults.push(fault(source, token.line, what));
            }
            _ => {}
        }
    }
    faults
}

/// A statement `matches!(…);` looks like an assertion and asserts nothing.
fn bare_matches(source: &Source, tokens: &[Token]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || [";", "{", "}"].iter().any(|sign| tokens[at - 1].is(sign));
        let is_macro = token.is("matches") && tokens.get(at + 1).is_some_and(|t| t.is("!"));
        if !begins || !is_macro {
            continue;
        }
        let mut depth = 0_usize;
        let close = tokens[at + 2..].iter().position(|t| {
            if t.is("(") {
                depth += 1;
            } else if t.is(")") {
                depth = depth.saturating_sub(1);
            }
            depth == 0
        });
        let ends = close.and_then(|close| tokens.get(at + 2 + close + 1));
        if ends.is_some_and(|t| t.is(";")) {
            let what = "a bare `matches!` asserts nothing: write `assert!(matches!(…))`";
            faults.push(fault(source, token.line, what));
        }
    }
    faults
}

fn long_functions(source: &Source, tokens: &[Token]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(at + 1).filter(|t| token.is("fn") && t.is_word()) else {
            continue;
        };
        let Some(end) = body_end(&tokens[at..]) else {
            continue;
        };
        let lines = end - token.line + 1;
        if lines > LONGEST_FUNCTION {
            let what =
                format!("`{}` has {lines} lines, and {LONGEST_FUNCTION} are enough", name.text);
            faults.push(fault(source, token.line, &what));
        }
    }
    faults
}

/// The line of the brace that ends a function's body; none for one without a body.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let mut round = 0_usize;
    let mut curly = 0_usize;
    for token in tokens {
        match token.text.as_str() {
            "(" | "[" => round += 1,
            ")" | "]" => round = round.saturating_sub(1),
            ";" if round == 0 && curly == 0 => return None,
            "{" => curly += 1,
            "}" => {
                curly = curly.saturating_sub(1);
                if curly == 0 {
                    return Some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, text: &str) -> Vec<String> {
        faults(&Source { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn each_untidiness_is_found_at_its_line() {
        for (line, text) in [
            (1, "use std::fmt;".to_owned()),
            (3, "//! A page.\n\nuse crate::kernel::*;".into()),
            (4, "//! A page.\nuse std::{\n    fmt,\n    io::*,\n};".into()),
            (2, format!("//! A page.\n// {}: later", MARKERS[0])),
            (2, format!("//! A page.\nfn f() {{ {}!() }}", MACROS[0])),
            (3, "//! A page.\nfn f() {\n    matches!(a, Some(_));\n}".into()),
            (2, format!("//! A page.\nfn f() {{{}}}", "\n".repeat(100))),
            (5, "//! A page.\nmod tests {\n}\n\nuse super::*;".into()),
        ] {
            let faults = faults_of("src/kernel/x.rs", &text);
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
            let place = format!("src/kernel/x.rs:{line}: ");
            assert!(faults[0].starts_with(&place), "{faults:?}");
        }
    }

    #[test]
    fn tidy_sources_have_no_fault() {
        for (path, text) in [
            ("src/kernel/x.rs", "//! A page.\nmod tests {\n    use super::*;\n}"),
            ("src/kernel/x_tests.rs", "use super::*;"),
            ("tests/x.rs", "#![cfg(test)]\n//! A page.\nuse proptest::prelude::*;"),
            ("src/kernel/x.rs", "//! A page.\nfn f() -> bool {\n    matches!(a, Some(_))\n}"),
            ("src/kernel/x.rs", "//! A page.\nfn f() { assert!(matches!(a, Some(_))); }"),
            ("src/kernel/x.rs", "//! A page.\nfn f(x: [u8; 3]) -> u8 { x[0] * y::z * 2 }"),
        ] {
            let faults = faults_of(path, text);
            assert!(faults.is_empty(), "{text}: {faults:?}");
        }
        let short = format!("//! A page.\nfn f() {{{}}}", "\n".repeat(99));
        assert!(faults_of("src/kernel/x.rs", &short).is_empty());
    }
}
