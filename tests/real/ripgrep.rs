//! The log against ripgrep: random words, phrases, texts inside words, expressions, in any case, also
//! such as are nowhere, give exactly what ripgrep finds in the same lines as plain text.
//!
//! `RIPGREP_LINES` says how many lines, `RIPGREP_QUERIES` how many questions.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::daemon::Home;
use crate::support::http::Http;
use crate::support::rng::Rng;
use crate::support::{number_from_env, real_venv};

#[path = "../../benches/load/lines.rs"]
#[allow(dead_code, reason = "the bench uses more of it")]
mod lines;

/// A question to both.
struct Question {
    /// As Drip is asked.
    q: String,
    /// As ripgrep is asked.
    rg: Vec<String>,
}

fn escaped(text: &str) -> String {
    regex::escape(text).replace('/', "\\/")
}

/// Some characters of a line, on the borders of its characters.
fn slice(line: &str, rng: &mut Rng, most: usize) -> String {
    let chars: Vec<char> = line.chars().collect();
    let from = rng.below(chars.len());
    let length = 1 + rng.below(most);
    chars.iter().skip(from).take(length).collect()
}

fn other_case(text: &str, rng: &mut Rng) -> String {
    text.chars()
        .map(|c| match rng.below(2) {
            0 => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        })
        .collect()
}

/// A word, whole and in any case.
fn word(line: &str, rng: &mut Rng) -> Option<Question> {
    let tokens: Vec<&str> = line
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|t| !t.is_empty())
        .collect();
    let token = tokens.get(rng.below(tokens.len().max(1)))?;
    let token = if rng.percent(20) { format!("{token}q") } else { other_case(token, rng) };
    if ["AND", "OR", "NOT"].contains(&token.as_str()) {
        return None;
    }
    let pattern = format!("(?i:^|[^a-z0-9_]){token}(?i:$|[^a-z0-9_])");
    Some(Question { q: token, rg: vec!["-i".into(), "-e".into(), pattern] })
}

/// An exact text: a phrase, or a piece of one that begins and ends inside words.
fn text(line: &str, rng: &mut Rng) -> Question {
    let mut piece = slice(line, rng, 24);
    if rng.percent(15) {
        piece = other_case(&piece, rng);
    }
    let quoted = piece.replace('\\', "\\\\").replace('"', "\\\"");
    Question { q: format!("\"{quoted}\""), rg: vec!["-F".into(), "-e".into(), piece] }
}

/// An expression made of pieces of a line.
fn expression(line: &str, rng: &mut Rng) -> Question {
    let (left, right) = (escaped(&slice(line, rng, 8)), escaped(&slice(line, rng, 6)));
    let between = [".", ".*", "\\w+", "[0-9]+", " ", "\\d{2,4}"][rng.below(6)];
    let pattern = match rng.below(5) {
        0 => format!("{left}{between}"),
        1 => format!("^{left}"),
        2 => format!("(?i){left}"),
        3 => format!("({left}|{right})"),
        _ => format!("{left}{between}{right}"),
    };
    Question { q: format!("/{pattern}/"), rg: vec!["-e".into(), pattern.replace("\\/", "/")] }
}

fn question(line: &str, rng: &mut Rng) -> Option<Question> {
    match rng.below(3) {
        0 => word(line, rng),
        1 => Some(text(line, rng)),
        _ => Some(expression(line, rng)),
    }
}

/// The lines that ripgrep finds.
fn ripgrep(question: &Question, file: &Path) -> Vec<String> {
    let output = Command::new("rg")
        .args(["--no-config", "--no-line-number", "--no-filename", "--color=never", "-j1"])
        .args(&question.rg)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "rg {:?}: {output:?}", question.rg);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn ask(http: &Http, path: &str) -> Value {
    let answer = http.get(path).unwrap();
    let text = answer.text();
    assert_eq!(answer.status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// How many records the log finds, and their messages where they are few.
fn drip(http: &Http, question: &Question) -> (u64, Option<Vec<String>>) {
    let q = percent(&question.q);
    let counted = ask(http, &format!("/api/v1/logs/histogram?buckets=1&q={q}"));
    assert_eq!(counted["incomplete"], false);
    let total = counted["total"].as_u64().unwrap();
    let listed = (total <= 300).then(|| {
        let page = ask(http, &format!("/api/v1/logs?limit=1000&q={q}"));
        let mut all: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["message"].as_str().unwrap().to_owned())
            .collect();
        all.sort();
        all
    });
    (total, listed)
}

fn fill(http: &Http, file: &Path, count: u64) {
    let mut plain = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    for first in (0..count).step_by(2_000) {
        let mut body = String::new();
        for number in first..(first + 2_000).min(count) {
            let line = lines::line(number);
            line.put(&mut body);
            writeln!(plain, "{}", line.message).unwrap();
        }
        let answer =
            http.send("POST", "/api/v1/logs", Some("application/x-ndjson"), body.as_bytes());
        answer.unwrap().expect(200);
    }
    plain.flush().unwrap();
}

#[test]
fn the_log_finds_what_ripgrep_finds() {
    // Its name is among the suites that need more than Rust.
    if real_venv("ripgrep").is_none() {
        return;
    }
    let count = number_from_env("RIPGREP_LINES", 60_000) as u64;
    let questions = number_from_env("RIPGREP_QUERIES", 300);
    let seed = Rng::seed_from_env("RIPGREP_SEED");
    let mut rng = Rng::new(seed);
    let home = Home::with_admin();
    home.settings("[trajectory]\nsegment_bytes = \"4MiB\"\nquery_time = \"60s\"\n");
    let daemon = home.serve();
    let http = daemon.http().with_token(&daemon.make_admin_token());
    let file = home.path().join("lines.txt");
    fill(&http, &file, count);
    let (mut asked, mut nowhere, mut most) = (0, 0, 0);
    while asked < questions {
        let line = lines::line(rng.below(usize::try_from(count).unwrap()) as u64).message;
        let Some(question) = question(&line, &mut rng) else { continue };
        let mut expected = ripgrep(&question, &file);
        let (total, listed) = drip(&http, &question);
        let told = format!(
            "RIPGREP_SEED={seed}, question {asked}: {} as rg {:?}",
            question.q, question.rg
        );
        assert_eq!(total, expected.len() as u64, "{told}");
        if let Some(listed) = listed {
            expected.sort();
            assert_eq!(listed, expected, "{told}");
        }
        asked += 1;
        nowhere += usize::from(total == 0);
        most = most.max(total);
    }
    println!(
        "{asked} questions over {count} lines: no difference; {nowhere} found nothing, one found {most}"
    );
    assert!(nowhere > 0 && nowhere < asked);
    daemon.stop();
}
