//! Pushing without a network: whatever is sent twice, cut, or sent late has the effect of once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::gather::Batch;
use super::{ConflictFilter, Push, Pushed, Verdict};
use crate::fiche::{
    CARD_CONFLICTED, CardDraft, CardKey, Conditions, Config, Fiche, Filter, Parts, Stage, Upstream,
};
use crate::kernel::access::{Caller, Role};
use crate::kernel::clock::{ManualClock, Time};
use crate::kernel::records::MemoryRecords;
use crate::kernel::{Bus, Name, Result};

fn open(node: &str) -> Fiche {
    let upstream = Upstream { node: Some(Name::new(node).unwrap()), ..Upstream::default() };
    Fiche::open(Parts {
        records: Arc::new(MemoryRecords::new()),
        clock: ManualClock::at(Time(1_700_000_000_000_000)),
        bus: Bus::new(),
        folder: None,
        config: Config { upstream, ..Config::default() },
    })
    .unwrap()
}

fn ada() -> Caller {
    Caller::new("ada", Role::Publisher)
}

fn key(name: &str) -> CardKey {
    CardKey::new("model", name, "1").unwrap()
}

fn save(fiche: &Fiche, name: &str, text: &str) {
    let card = json!({"kind": "model", "name": name, "version": "1", "summary": text});
    fiche.save(&ada(), &CardDraft::parse(card).unwrap(), Conditions::default()).unwrap();
}

fn as_push(edge: &Fiche, batch: &Batch) -> Push {
    Push {
        node: edge.node().clone(),
        feed: edge.feed_id().unwrap(),
        after: batch.after,
        to: Some((batch.to, batch.mark)),
        events: batch.events.clone(),
    }
}

/// The push, over the wire and read again.
fn send(centre: &Fiche, push: &Push) -> Result<Pushed> {
    let read = super::read_push(
        centre.kinds(),
        serde_json::from_str(&push.document().to_string()).unwrap(),
    )?;
    centre.receive(&Caller::new("edge-token", Role::Publisher), &read)
}

/// Pushes everything there is after `after`, and answers what was said of it.
fn push_all(edge: &Fiche, centre: &Fiche, mut after: u64) -> Vec<(String, Verdict)> {
    let mut told = Vec::new();
    while let Some(batch) = edge.gather(after, &centre.feed_id().unwrap()).unwrap() {
        let answer = send(centre, &as_push(edge, &batch)).unwrap();
        assert_eq!(answer.cursor, batch.to);
        edge.note_pushed(&batch, &answer.outcomes).unwrap();
        after = batch.to;
        told.extend(answer.outcomes.into_iter().map(|outcome| (outcome.card, outcome.outcome)));
    }
    told
}

/// The first `count` events of a batch, as a batch of their own.
fn cut(edge: &Fiche, batch: &Batch, to: u64) -> Batch {
    let events = batch.events.iter().filter(|event| event.number <= to).cloned().collect();
    let mark = edge.mark_at(to).unwrap().unwrap();
    Batch { to, mark, events, ..batch.clone() }
}

#[derive(Debug, Clone)]
enum Act {
    Save {
        here: bool,
        name: usize,
        text: usize,
    },
    Delete {
        here: bool,
        name: usize,
    },
    Move {
        here: bool,
        name: usize,
        to: usize,
    },
    /// Push what is new: up to a place, and so many times more.
    Push {
        share: usize,
        again: usize,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let side = any::<bool>;
    let act = prop_oneof![
        4 => (side(), 0..3_usize, 0..3_usize).prop_map(|(here, name, text)| Act::Save { here, name, text }),
        1 => (side(), 0..3_usize).prop_map(|(here, name)| Act::Delete { here, name }),
        2 => (side(), 0..3_usize, 0..6_usize).prop_map(|(here, name, to)| Act::Move { here, name, to }),
        2 => (0..5_usize, 0..3_usize).prop_map(|(share, again)| Act::Push { share, again }),
    ];
    proptest::collection::vec(act, 0..40)
}

fn on(fiche: &Fiche, act: &Act) {
    match act {
        Act::Save { name, text, .. } => save(fiche, &format!("n{name}"), &format!("t{text}")),
        Act::Delete { name, .. } => {
            let _absent = fiche.delete(&ada(), &key(&format!("n{name}")), Conditions::default());
        }
        Act::Move { name, to, .. } => {
            let _refused = fiche.stage(&ada(), &key(&format!("n{name}")), Stage::ALL[*to], "why");
        }
        Act::Push { .. } => {}
    }
}

type State = BTreeMap<String, (String, Stage, Option<String>, String)>;

fn state(fiche: &Fiche) -> State {
    let cards = fiche.list(&Filter::default(), None, 100).unwrap();
    let entry = |card: crate::fiche::Card| {
        let text = card.text("summary").to_owned();
        (card.key.to_string(), (text, card.stage, card.node, card.saved_by))
    };
    cards.into_iter().map(entry).collect()
}

fn conflicts(fiche: &Fiche) -> Vec<Value> {
    let all = fiche.conflicts(&ConflictFilter::default(), None, 100).unwrap();
    all.iter().map(|conflict| serde_json::to_value(conflict).unwrap()).collect()
}

/// Events of the feed without those about conflicts: a conflict that comes and goes may be told of
/// or not, as batches are cut.
fn feed(fiche: &Fiche) -> Vec<(String, String, u64)> {
    let changes = fiche.changes(0, 10_000).unwrap();
    let numbers: Vec<_> = changes.iter().map(|change| change.number).collect();
    assert_eq!(numbers, (1..=changes.len() as u64).collect::<Vec<_>>());
    changes
        .into_iter()
        .filter(|change| change.event != CARD_CONFLICTED)
        .map(|change| (change.event, change.card.key.to_string(), change.card.revision))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One world in which each push goes as it should, and one in which batches are cut anywhere, sent
    /// twice, and sent late: both end alike.
    #[test]
    fn batches_that_are_cut_repeated_or_late_do_what_one_whole_batch_does(acts in acts()) {
        let (edge, smooth, rough) = (open("edge"), open("centre"), open("centre"));
        let (mut at, mut late): (u64, Option<Push>) = (0, None);
        for act in acts.iter().chain([&Act::Push { share: 4, again: 1 }]) {
            match act {
                Act::Save { here, .. } | Act::Delete { here, .. } | Act::Move { here, .. } => {
                    if *here {
                        on(&smooth, act);
                        on(&rough, act);
                    } else {
                        on(&edge, act);
                    }
                }
                Act::Push { share, again } => {
                    push_all(&edge, &smooth, at);
                    while let Some(batch) = edge.gather(at, "none").unwrap() {
                        // A part of it, then the rest; each again and again, and one from before.
                        let part = at + (batch.to - at) * (*share as u64) / 4;
                        let sent = if part > at { cut(&edge, &batch, part) } else { batch };
                        let push = as_push(&edge, &sent);
                        prop_assert_eq!(send(&rough, &push).unwrap().cursor, sent.to);
                        for old in std::iter::repeat_n(&push, *again).chain(&late) {
                            prop_assert_eq!(send(&rough, old).unwrap_err().code(), "push_out_of_step");
                        }
                        late = Some(push);
                        at = sent.to;
                    }
                    prop_assert_eq!(at, edge.last_number().unwrap());
                    prop_assert_eq!(state(&smooth), state(&rough));
                    prop_assert_eq!(feed(&smooth), feed(&rough));
                }
            }
        }
        prop_assert_eq!(conflicts(&smooth), conflicts(&rough));
        let told = push_all(&edge, &rough, at);
        prop_assert!(told.is_empty(), "{:?}", told);
    }

    /// Wherever the sides differ after a push of everything, either the centre changed its card after
    /// the node's last word, or a conflict tells of both sides as they are.
    #[test]
    fn no_difference_goes_untold(acts in acts()) {
        let (edge, centre) = (open("edge"), open("centre"));
        let (mut at, mut since) = (0, std::collections::BTreeSet::new());
        for act in &acts {
            match act {
                Act::Save { here: true, name, .. } | Act::Delete { here: true, name }
                | Act::Move { here: true, name, .. } => {
                    on(&centre, act);
                    since.insert(format!("model/n{name}/1"));
                }
                Act::Push { .. } => {
                    for (card, _) in push_all(&edge, &centre, at) {
                        since.remove(&card);
                    }
                    at = edge.last_number().unwrap();
                }
                other => on(&edge, other),
            }
        }
        for (card, _) in push_all(&edge, &centre, at) {
            since.remove(&card);
        }
        let told: BTreeMap<_, _> = conflicts(&centre)
            .into_iter()
            .map(|conflict| {
                let card = format!("model/{}/1", conflict["name"].as_str().unwrap());
                (card, (conflict["mine"]["summary"].clone(), conflict["theirs"]["summary"].clone()))
            })
            .collect();
        let (here, there) = (state(&centre), state(&edge));
        for name in 0..3 {
            let card = format!("model/n{name}/1");
            let side = |state: &State| state.get(&card).map(|card| (card.0.clone(), card.1));
            let (mine, theirs) = (side(&here), side(&there));
            if mine == theirs {
                prop_assert!(!told.contains_key(&card), "{} is equal and told of", card);
            } else if let Some((told_mine, told_theirs)) = told.get(&card) {
                let text = |side: &Option<(String, Stage)>| json!(side.as_ref().map(|side| &side.0));
                prop_assert_eq!(told_mine, &text(&mine));
                prop_assert_eq!(told_theirs, &text(&theirs));
            } else {
                prop_assert!(since.contains(&card), "{} differs and is not told of", card);
            }
        }
    }
}

#[test]
fn every_revision_arrives_with_its_author_its_stage_and_its_node() {
    let (edge, centre) = (open("风场-7"), open("centre"));
    save(&edge, "a", "one");
    save(&edge, "a", "two");
    edge.stage(&Caller::new("li", Role::Publisher), &key("a"), Stage::Testing, "ready").unwrap();
    save(&edge, "b", "gone");
    edge.delete(&ada(), &key("b"), Conditions::default()).unwrap();
    push_all(&edge, &centre, 0);
    let history = centre.history(&key("a"), 0, 10).unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|r| {
            (r.card.text("summary"), r.card.stage, r.origin.by.as_str(), r.card.node.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("one", Stage::Experiment, "ada", Some("风场-7")),
            ("two", Stage::Experiment, "ada", Some("风场-7")),
            ("two", Stage::Testing, "li", Some("风场-7")),
        ]
    );
    let moved = &history[2].origin;
    assert_eq!((moved.event.as_str(), moved.comment.as_str()), ("card.staged", "ready"));
    assert_eq!(moved.from_stage, Some(Stage::Experiment));
    let gone = centre.revision(&key("b"), 1).unwrap().origin.deleted.unwrap();
    assert_eq!(gone.by, "ada");
    assert_eq!(feed(&centre).last().unwrap().0, "card.deleted");
    // Equal content stays unchanged, and keeps its node; other content is the centre's own.
    save(&centre, "a", "two");
    assert_eq!(centre.history(&key("a"), 0, 10).unwrap().len(), 3);
    centre.stage(&ada(), &key("a"), Stage::Deployed, "").unwrap();
    assert_eq!(state(&centre)["model/a/1"].2.as_deref(), Some("风场-7"));
    save(&centre, "a", "three");
    assert_eq!(state(&centre)["model/a/1"].2, None);
    let document = centre.revision(&key("a"), 1).unwrap().card.document();
    assert_eq!(document["node"], "风场-7");
}

#[test]
fn numbers_that_lose_a_digit_on_the_way_make_no_conflict() {
    let (edge, centre) = (open("edge"), open("centre"));
    let card = |text: &str| -> Value {
        let config = "[2.638344616030823e-256, 0.1234567890123456789, 5e-324, 9007199254740993.0]";
        let card = format!(
            r#"{{"kind": "model", "name": "f", "version": "1", "summary": "{text}", "config": {config}}}"#
        );
        serde_json::from_str(&card).unwrap()
    };
    let mut at = 0;
    for text in ["one", "two", "three"] {
        let draft = CardDraft::parse(card(text)).unwrap();
        edge.save(&ada(), &draft, Conditions::default()).unwrap();
        let told = push_all(&edge, &centre, at);
        assert_eq!(told, [("model/f/1".to_owned(), Verdict::Applied)]);
        at = edge.last_number().unwrap();
    }
}

#[test]
fn a_chain_keeps_the_first_node_and_a_circle_ends() {
    let (a, b, c) = (open("a"), open("b"), open("c"));
    save(&a, "x", "from a");
    push_all(&a, &b, 0);
    push_all(&b, &c, 0);
    assert_eq!(state(&c)["model/x/1"].2.as_deref(), Some("a"));
    // Back to where it came from: nothing is sent, and what is sent all the same makes nothing.
    assert_eq!(push_all(&b, &a, 0), []);
    let batch = c.gather(0, "no feed").unwrap().unwrap();
    let answer = send(&a, &as_push(&c, &batch)).unwrap();
    assert_eq!(answer.outcomes[0].outcome, Verdict::Known);
    assert_eq!((feed(&a).len(), feed(&b).len(), feed(&c).len()), (1, 1, 1));
    // A change on the way back is one that the first node knows the start of.
    save(&c, "x", "from c");
    assert_eq!(push_all(&c, &a, 1), [("model/x/1".to_owned(), Verdict::Applied)]);
    assert_eq!(state(&a)["model/x/1"].2.as_deref(), Some("c"));
    assert_eq!(push_all(&a, &b, 1), [("model/x/1".to_owned(), Verdict::Applied)]);
    assert_eq!(push_all(&b, &c, 1), []);
}

#[test]
fn a_drip_takes_no_push_from_itself_or_its_namesake() {
    let (edge, centre) = (open("same"), open("same"));
    save(&edge, "a", "one");
    let batch = edge.gather(0, "").unwrap().unwrap();
    let refused = send(&centre, &as_push(&edge, &batch)).unwrap_err();
    assert_eq!(refused.code(), "same_node_name");
    let refused = send(&edge, &as_push(&edge, &batch)).unwrap_err();
    assert_eq!(refused.code(), "own_upstream");
    assert_eq!(feed(&centre).len(), 0);
}

#[test]
fn what_the_centre_refuses_holds_up_nobody_and_is_tried_again() {
    let (edge, centre) = (open("edge"), open("centre"));
    for (name, text) in [("a", "1"), ("odd", "1"), ("b", "1"), ("odd", "2")] {
        save(&edge, name, text);
    }
    let mut batch = edge.gather(0, "").unwrap().unwrap();
    batch.put_aside(&BTreeMap::from([(1, "card/kind: unknown".to_owned())]), Time(1));
    let names = |batch: &Batch| -> Vec<_> {
        batch.events.iter().map(|event| event.key.name.to_string()).collect()
    };
    assert_eq!(names(&batch), ["a", "b"]);
    let answer = send(&centre, &as_push(&edge, &batch)).unwrap();
    edge.note_pushed(&batch, &answer.outcomes).unwrap();
    let refused = edge.upstream().unwrap().refused;
    assert_eq!((refused[0].card.as_str(), refused[0].number), ("model/odd/1", 4));
    assert_eq!(refused[0].reason, "card/kind: unknown");
    // What happens to it meanwhile is put aside, too.
    save(&edge, "odd", "3");
    save(&edge, "c", "1");
    let batch = edge.gather(4, "").unwrap().unwrap();
    assert_eq!(names(&batch), ["c"]);
    let answer = send(&centre, &as_push(&edge, &batch)).unwrap();
    edge.note_pushed(&batch, &answer.outcomes).unwrap();
    let again = edge.gather_held(6).unwrap().unwrap();
    assert_eq!((names(&again), again.events[0].base.clone()), (vec!["odd".to_owned()], None));
    let answer = send(&centre, &as_push(&edge, &again)).unwrap();
    edge.note_pushed(&again, &answer.outcomes).unwrap();
    assert_eq!(state(&centre)["model/odd/1"].0, "3");
    assert_eq!((edge.upstream().unwrap().refused, edge.gather_held(6).unwrap()), (vec![], None));
}
