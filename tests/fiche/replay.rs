//! Any sequence of saves, deletions and moves gives the same state from the records, from the feed
//! replayed, from an export taken in elsewhere, and from the index.

use std::collections::BTreeMap;

use drip::fiche::{Card, CardDraft, CardKind, Conditions, Filter, Outcome, Search, Stage};
use drip::kernel::access::Caller;
use proptest::prelude::*;
use serde_json::json;

use super::{key, open, settle};

#[derive(Debug, Clone)]
enum Act {
    Save { name: usize, text: usize },
    Delete { name: usize },
    Move { name: usize, to: usize },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..4_usize, 0..3_usize).prop_map(|(name, text)| Act::Save { name, text }),
        1 => (0..4_usize).prop_map(|name| Act::Delete { name }),
        2 => (0..4_usize, 0..6_usize).prop_map(|(name, to)| Act::Move { name, to }),
    ];
    proptest::collection::vec(act, 0..40)
}

/// What must hold of a card: its text, its stage, its revision.
type State = BTreeMap<String, (String, Stage, u64)>;

fn state(cards: impl IntoIterator<Item = Card>) -> State {
    cards
        .into_iter()
        .map(|card| {
            let text = card.text("summary").to_owned();
            (card.key.name.to_string(), (text, card.stage, card.revision))
        })
        .collect()
}

/// The model: the state, and the last revision that each name ever had.
fn expect(acts: &[Act]) -> (State, u64) {
    let (mut state, mut last, mut events) = (State::new(), BTreeMap::<String, u64>::new(), 0);
    for act in acts {
        let name = match act {
            Act::Save { name, .. } | Act::Delete { name } | Act::Move { name, .. } => {
                format!("n{name}")
            }
        };
        let revision = last.entry(name.clone()).or_insert(0);
        let changed = match (act, state.get_mut(&name)) {
            (Act::Save { text, .. }, None) => {
                *revision += 1;
                state.insert(name, (format!("t{text}"), Stage::Experiment, *revision));
                true
            }
            (Act::Save { text, .. }, Some(card)) if card.0 != format!("t{text}") => {
                *revision += 1;
                (card.0, card.2) = (format!("t{text}"), *revision);
                true
            }
            (Act::Delete { .. }, Some(_)) => state.remove(&name).is_some(),
            (Act::Move { to, .. }, Some(card)) if card.1.may_move_to(Stage::ALL[*to]) => {
                *revision += 1;
                (card.1, card.2) = (Stage::ALL[*to], *revision);
                true
            }
            _ => false,
        };
        events += u64::from(changed);
    }
    (state, events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_way_to_the_cards_gives_the_same(acts in acts()) {
        let fiche = open();
        let caller = Caller::system();
        for act in &acts {
            match act {
                Act::Save { name, text } => {
                    let draft = CardDraft::new(CardKind::MODEL, &format!("n{name}"), "1").unwrap()
                        .with("summary", format!("t{text}")).unwrap()
                        .with("requires", format!("n{text}")).unwrap();
                    fiche.save(&caller, &draft, Conditions::default()).unwrap();
                    let again = fiche.save(&caller, &draft, Conditions::default()).unwrap();
                    prop_assert_eq!(again.outcome, Outcome::Unchanged);
                }
                Act::Delete { name } => {
                    let _absent = fiche.delete(&caller, &key("model", &format!("n{name}"), "1"), Conditions::default());
                }
                Act::Move { name, to } => {
                    let card = key("model", &format!("n{name}"), "1");
                    let _refused = fiche.stage(&caller, &card, Stage::ALL[*to], "");
                }
            }
        }
        let (expected, events) = expect(&acts);
        let listed = fiche.list(&Filter::default(), None, 100).unwrap();
        prop_assert_eq!(&state(listed.clone()), &expected);

        let changes = fiche.changes(0, 1000).unwrap();
        let numbers: Vec<_> = changes.iter().map(|change| change.number).collect();
        prop_assert_eq!(numbers, (1..=events).collect::<Vec<_>>());
        let mut replayed = BTreeMap::new();
        for change in changes {
            match change.event.as_str() {
                "card.deleted" => replayed.remove(&change.card.key),
                _ => replayed.insert(change.card.key.clone(), change.card),
            };
        }
        prop_assert_eq!(state(replayed.into_values()), expected.clone());

        let other = open();
        let lines: Vec<String> = listed.iter().map(|card| card.document().to_string()).collect();
        let ndjson = lines.join("\n");
        other.import(&caller, ndjson.as_bytes(), None).unwrap();
        let content = |state: &State| -> BTreeMap<String, (String, Stage)> {
            state.iter().map(|(name, (text, stage, _))| (name.clone(), (text.clone(), *stage))).collect()
        };
        let imported = other.list(&Filter::default(), None, 100).unwrap();
        prop_assert_eq!(content(&state(imported)), content(&expected));

        settle(&fiche);
        let found = fiche.search(&Search { limit: 100, ..Search::default() }).unwrap();
        prop_assert_eq!(found.total, expected.len());
        prop_assert_eq!(state(found.items.into_iter().map(|hit| hit.card)), expected.clone());
        for name in expected.keys() {
            let lineage = fiche.lineage(&key("model", name, "1"), drip::fiche::Direction::Up, Some(1)).unwrap();
            let text = &expected[name].0;
            let there = expected.contains_key(&text.replace('t', "n"));
            prop_assert_eq!(lineage.edges.len(), 1);
            prop_assert_eq!(lineage.edges[0].missing, !there);
        }
    }
}

#[test]
fn what_an_old_build_wrote_is_read() {
    let fiche = open();
    super::save(&fiche, json!({"kind": "model", "name": "a", "version": "1"})).unwrap();
    let row = fiche.store().get("card/model/a/1").unwrap().unwrap();
    assert_eq!(&row.value[..8], b"\x07card.v1");
}
