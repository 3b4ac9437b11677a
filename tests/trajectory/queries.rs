//! Queries, compared with a plain scan.

use std::collections::BTreeSet;
use std::time::Duration;

use drip::kernel::Time;
use drip::kernel::access::{Caller, Role};
use drip::trajectory::{Filter, Kept, Level, Record, StreamSettings, Trajectory};
use proptest::prelude::*;
use serde_json::json;

use super::{NOW, Rig, messages, query, record};

/// What a text query means, said as plainly as possible.
#[derive(Debug, Clone)]
enum Ask {
    Word(String),
    Beginning(String),
    Text(String),
    Regex(String),
    Not(Box<Ask>),
    And(Box<Ask>, Box<Ask>),
    Or(Box<Ask>, Box<Ask>),
}

impl Ask {
    fn written(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Beginning(word) => format!("{word}*"),
            Self::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Regex(regex) => format!("/{regex}/"),
            Self::Not(inner) => format!("NOT ({})", inner.written()),
            Self::And(left, right) => format!("({}) ({})", left.written(), right.written()),
            Self::Or(left, right) => format!("({}) OR ({})", left.written(), right.written()),
        }
    }

    fn holds(&self, message: &str) -> bool {
        let tokens = || {
            message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_lowercase)
        };
        match self {
            Self::Word(word) => tokens().any(|token| token == word.to_lowercase()),
            Self::Beginning(word) => tokens().any(|token| token.starts_with(&word.to_lowercase())),
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(pattern) => regex::Regex::new(pattern).unwrap().is_match(message),
            Self::Not(inner) => !inner.holds(message),
            Self::And(left, right) => left.holds(message) && right.holds(message),
            Self::Or(left, right) => left.holds(message) || right.holds(message),
        }
    }
}

fn words() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "wind", "Wind", "windy", "error", "IOError", "a1", "x_y", "10", "turbine",
    ])
    .prop_map(str::to_owned)
}

fn asks() -> impl Strategy<Value = Ask> {
    let leaf = prop_oneof![
        words().prop_map(Ask::Word),
        words().prop_map(|word| Ask::Beginning(word.chars().take(3).collect())),
        prop::sample::select(vec!["ind", "Err", "d-e", "\\", "\" ", "10."])
            .prop_map(|text| Ask::Text(text.into())),
        prop::sample::select(vec!["w.nd\\b", "^x", "[0-9]+$", "(?i)ioe"])
            .prop_map(|text| Ask::Regex(text.into())),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Ask::Not(Box::new(one))),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| Ask::And(Box::new(l), Box::new(r))),
            (inner.clone(), inner).prop_map(|(l, r)| Ask::Or(Box::new(l), Box::new(r))),
        ]
    })
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let text = prop::collection::vec(
        (words(), prop::sample::select(vec![" ", "-", ".", "\" ", "\\", ""])),
        0..5,
    )
    .prop_map(|parts| {
        parts.into_iter().flat_map(|(word, gap)| [word, gap.to_owned()]).collect::<String>()
    });
    let one = (0..20_i64, 0..5_usize, 0..3_usize, text, prop::option::of(0..3_i64)).prop_map(
        |(time, level, stream, message, n)| {
            let mut record = Record::new(
                Time(NOW.0 + time),
                Level::ALL[level],
                ["default", "a", "b"][stream],
                message,
            );
            if let Some(n) = n {
                record.fields.insert("n".into(), json!(n));
                record.run_id = Some(format!("r{n}"));
            }
            record
        },
    );
    prop::collection::vec(one, 0..60)
}

fn newest_first(kept: &mut [Kept]) {
    kept.sort_by_key(|kept| std::cmp::Reverse((kept.record.time, kept.seq)));
}

/// Every page of a query.
fn pages(log: &Trajectory, pairs: &[(&str, &str)]) -> Vec<Kept> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut pairs = pairs.to_vec();
        pairs.push(("cursor", &cursor));
        let page = log.query(&query(&pairs)).unwrap();
        assert!(!page.incomplete);
        found.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]
    #[test]
    fn a_query_finds_what_a_plain_scan_finds(
        records in records(), ask in asks(), level in 0..5_usize, bounds in (0..20_i64, 0..20_i64),
        stream in prop::option::of(0..3_usize), n in prop::option::of(0..3_i64), limit in 1..9_usize, cut in 1..10_usize, oldest in any::<bool>(), seals in 0..3_usize,
    ) {
        let rig = Rig::new().small_segments();
        let log = rig.open().unwrap();
        let mut kept = Vec::new();
        for chunk in records.chunks(cut) {
            let first = log.append(chunk.to_vec()).unwrap().first_seq;
            kept.extend((first..).zip(chunk.iter().cloned()).map(|(seq, record)| Kept { seq, record }));
            // Nothing is sealed, all but the newest, or everything.
            if seals == 1 { log.seal().unwrap(); }
        }
        if seals == 2 {
            log.rotate().unwrap();
            log.seal().unwrap();
        }
        let (from, to) = (Time(NOW.0 + bounds.0), Time(NOW.0 + bounds.1));
        let stream = stream.map(|at| ["default", "a", "b"][at]);
        kept.retain(|kept| {
            let r = &kept.record;
            r.time >= from && r.time < to && r.level >= Level::ALL[level] && stream.is_none_or(|s| r.stream == s)
                && n.is_none_or(|n| r.fields.get("n") == Some(&json!(n)) && r.run_id == Some(format!("r{n}")))
                && ask.holds(&r.message)
        });
        newest_first(&mut kept);
        if oldest { kept.reverse(); }
        let (from, to, q, limit, text) = (from.to_string(), to.to_string(), ask.written(), limit.to_string(), n.map(|n| n.to_string()).unwrap_or_default());
        let run = format!("r{text}");
        let mut pairs = vec![("from", from.as_str()), ("to", &to), ("level", Level::ALL[level].as_str()), ("q", &q), ("limit", &limit), ("order", if oldest { "asc" } else { "desc" })];
        pairs.extend(stream.map(|stream| ("stream", stream)));
        if n.is_some() { pairs.push(("field.n", &text)); pairs.push(("run_id", &run)); }
        prop_assert_eq!(pages(&log, &pairs), kept.clone());
        let filter: Vec<_> = pairs.iter().filter(|(name, _)| !["limit", "order"].contains(name)).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (filter, _) = Filter::from_pairs(&filter, &[]).unwrap();
        let histogram = log.histogram(&filter, 7).unwrap();
        prop_assert_eq!(histogram.total, kept.len() as u64);
        for level in Level::ALL {
            let counted: u64 = histogram.items.iter().filter_map(|bucket| bucket.counts.get(level.as_str())).sum();
            prop_assert_eq!(counted, kept.iter().filter(|kept| kept.record.level == level).count() as u64);
        }
    }
}

#[test]
fn a_cursor_stays_right_while_records_come_in() {
    for order in ["desc", "asc"] {
        let rig = Rig::new().small_segments();
        let log = rig.open().unwrap();
        for n in 0..40 {
            log.append(vec![record(n % 7, &format!("old {n}"))]).unwrap();
        }
        let (mut found, mut cursor, mut round) = (Vec::new(), String::new(), 0);
        loop {
            let page = log
                .query(&query(&[("limit", "3"), ("cursor", &cursor), ("order", order)]))
                .unwrap();
            found.extend(page.items.into_iter().map(|kept| kept.record.message));
            // Some before, some behind the place where the reader is.
            log.append(vec![record(round % 9 - 1, "new"), record(100, "new"), record(-100, "new")])
                .unwrap();
            round += 1;
            match page.next_cursor {
                Some(next) if round < 200 => cursor = next,
                _ => break,
            }
        }
        let old: Vec<_> = found.iter().filter(|message| message.starts_with("old")).collect();
        let once: BTreeSet<_> = old.iter().collect();
        assert_eq!((old.len(), once.len()), (40, 40), "{order}");
    }
}

#[test]
fn a_search_that_ends_at_its_bound_says_so_and_can_go_on() {
    let mut rig = Rig::new().small_segments();
    rig.config.query_rows = 5;
    let log = rig.open().unwrap();
    for n in 0..60 {
        log.append(vec![record(n, if n == 3 { "needle" } else { "hay" })]).unwrap();
    }
    for order in ["desc", "asc"] {
        let (mut found, mut cursor, mut incomplete) = (Vec::new(), String::new(), 0);
        loop {
            let page = log
                .query(&query(&[("q", "needle"), ("cursor", &cursor), ("order", order)]))
                .unwrap();
            found.extend(page.items);
            incomplete += usize::from(page.incomplete);
            match page.next_cursor {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(found.len(), 1);
        assert!(incomplete > 2, "{incomplete}");
    }
    let (filter, _) = Filter::from_pairs(&[], &[]).unwrap();
    assert!(log.histogram(&filter, 10).unwrap().incomplete);
}

#[test]
fn fields_are_found_by_dotted_names_and_compared() {
    let log = Rig::new().open().unwrap();
    log.ingest(
        br#"{"msg":"a","fields":{"http":{"code":404},"a.b":"x","p":12.5,"n":-7,"s":"R80711"}}"#,
        None,
    )
    .unwrap();
    log.ingest(b"{\"msg\":\"bare\"}", None).unwrap();
    for round in ["frames", "sealed"] {
        for (name, value, count) in [
            ("field.http.code", "404", 1),
            ("field.http.code>", "400", 1),
            ("field.http.code>404", "", 0),
            ("field.a.b", "x", 1),
            ("field.http.code", "40", 0),
            ("field.http", "404", 0),
            ("field.q", "", 0),
            ("field.p", "12.5", 1),
            ("field.p<", "12.5", 1),
            ("field.n", "-7", 1),
            ("field.n<0", "", 1),
            ("field.s", "R807*", 1),
            ("field.s!", "R807*", 1),
            ("field.s!", "other", 2),
        ] {
            let found = log.query(&query(&[(name, value)])).unwrap().items.len();
            assert_eq!(found, count, "{round}: {name} {value}");
        }
        log.rotate().unwrap();
        log.seal().unwrap();
    }
}

#[test]
fn the_values_of_a_field_are_counted() {
    let log = Rig::new().open().unwrap();
    for n in 0..50 {
        let turbine = format!("R{}", n % 4);
        let body =
            json!({"msg": "a", "turbine": turbine, "n": n, "deep": {"x": n % 2}}).to_string();
        log.ingest(body.as_bytes(), None).unwrap();
    }
    log.ingest(b"{\"msg\":\"bare\"}", None).unwrap();
    for _ in 0..2 {
        let all = Filter::default();
        let top = log.values(&all, "turbine", 3).unwrap();
        let items: Vec<_> = top.items.iter().map(|one| (one.value.as_str(), one.count)).collect();
        assert_eq!(items, [("R0", 13), ("R1", 13), ("R2", 12)]);
        assert_eq!((top.distinct, top.total, top.without, top.incomplete), (4, 50, 1, false));
        assert_eq!(log.values(&all, "deep.x", 9).unwrap().items[0].count, 25);
        let some = Filter::default().with_field("n<10", "");
        assert_eq!(log.values(&some, "turbine", 9).unwrap().total, 10);
        assert_eq!(log.values(&all, "none", 9).unwrap().without, 51);
        log.rotate().unwrap();
        log.seal().unwrap();
    }
}

#[test]
fn a_stream_keeps_what_its_settings_say_also_after_opening_again() {
    let rig = Rig::new();
    let admin = Caller::new("ada", Role::Admin);
    let name = "wind".parse().unwrap();
    let settings = StreamSettings::read(
        &json!({"levels": ["WARNING", "error"], "keep": ["turbine"], "retention": "1h"}),
    )
    .unwrap();
    let log = rig.open().unwrap();
    assert!(log.set_stream(&admin, &name, settings.clone()).unwrap().1);
    assert!(!log.set_stream(&admin, &name, settings).unwrap().1);
    drop(log);
    let log = rig.open().unwrap();
    let body = br#"{"msg":"quiet","stream":"wind"}
        {"msg":"loud","stream":"wind","level":"ERROR","turbine":"R1","other":1}
        {"msg":"elsewhere"}"#;
    assert_eq!(log.ingest(body, None).unwrap().accepted, 3);
    assert_eq!(messages(&log), ["loud", "elsewhere"]);
    let kept = log.query(&query(&[("stream", "wind")])).unwrap().items.remove(0);
    assert_eq!(json!(kept.record.fields), json!({"turbine": "R1"}));
    let stream = log.stream("wind").unwrap();
    assert_eq!(
        (stream.records, stream.settings.levels),
        (1, Some(vec![Level::Warning, Level::Error]))
    );
    rig.clock.advance(Duration::from_hours(2));
    assert_eq!(log.tidy().unwrap(), 0, "the other stream in the segment is kept for ever");
    log.delete_stream(&admin, &name).unwrap();
    assert_eq!(log.stream("wind").unwrap().settings, StreamSettings::default());
    assert_eq!(log.delete_stream(&admin, &name).unwrap_err().code(), "stream_not_found");
    assert_eq!(log.stream("none").unwrap_err().code(), "stream_not_found");
}

#[test]
fn records_of_a_program_are_checked_too() {
    let log = Rig::new().open().unwrap();
    let bad = vec![
        record(0, "ok"),
        record(0, &"x".repeat(300 << 10)),
        Record { stream: "a/b".into(), ..record(0, "y") },
    ];
    let error = log.append(bad).unwrap_err();
    let pointers: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/1", "/2"]);
    assert!(messages(&log).is_empty());
    assert_eq!(log.append(Vec::new()).unwrap().count, 0);
}

#[test]
fn heavy_records_make_shorter_pages_and_none_is_lost() {
    let log = Rig::new().open().unwrap();
    for n in 0..170 {
        log.append(vec![record(n, &"x".repeat(250 << 10))]).unwrap();
    }
    let first = log.query(&query(&[("limit", "1000")])).unwrap();
    assert!(first.items.len() < 170 && first.next_cursor.is_some());
    assert_eq!(pages(&log, &[("limit", "1000")]).len(), 170);
}
