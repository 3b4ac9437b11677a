//! Any sequence of saves, deletions and moves gives the same state from the records, from the feed
//! replayed, from an export taken in elsewhere, and from the index.

use std::collections::BTreeMap;

use drip::fiche::{Card, CardDraft, Conditions, Direction, Fiche, Filter, Outcome, Search, Stage};
use drip::kernel::access::Caller;
use proptest::prelude::*;
use serde_json::json;

use super::{key, open, settle};

/// A save: which card, with which text, at which site.
type Put = (usize, usize, usize);

#[derive(Debug, Clone)]
enum Act {
    Save(Put),
    /// Several saves, all or none: none where one of them is bad.
    Batch(Vec<Put>, bool),
    Delete(usize),
    Move(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let put = || (0..4_usize, 0..3_usize, 0..2_usize);
    let act = prop_oneof![
        3 => put().prop_map(Act::Save),
        1 => (proptest::collection::vec(put(), 0..5), proptest::bool::weighted(0.3))
            .prop_map(|(puts, bad)| Act::Batch(puts, bad)),
        1 => (0..4_usize).prop_map(Act::Delete),
        2 => (0..4_usize, 0..6_usize).prop_map(|(name, to)| Act::Move(name, to)),
    ];
    proptest::collection::vec(act, 0..40)
}

/// What must hold of a card.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    text: String,
    site: String,
    stage: Stage,
    revision: u64,
}

type State = BTreeMap<String, Known>;

fn state(cards: impl IntoIterator<Item = Card>) -> State {
    cards
        .into_iter()
        .map(|card| {
            let site = card.labels().find(|(key, _)| *key == "site").unwrap().1.to_owned();
            let known = Known {
                text: card.text("summary").to_owned(),
                site,
                stage: card.stage,
                revision: card.revision,
            };
            (card.key.name.to_string(), known)
        })
        .collect()
}

/// The model: the state, the last revision that each name ever had, and how many events there are.
#[derive(Default)]
struct Model {
    state: State,
    last: BTreeMap<String, u64>,
    events: u64,
}

impl Model {
    fn save(&mut self, (name, text, site): Put) {
        let (name, text, site) = (format!("n{name}"), format!("t{text}"), format!("s{site}"));
        let known = self.state.get(&name);
        if known.is_some_and(|known| known.text == text && known.site == site) {
            return;
        }
        let stage = known.map_or(Stage::Experiment, |known| known.stage);
        let revision = self.next(&name);
        self.state.insert(name, Known { text, site, stage, revision });
    }

    fn next(&mut self, name: &str) -> u64 {
        self.events += 1;
        let last = self.last.entry(name.to_owned()).or_insert(0);
        *last += 1;
        *last
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Save(put) => self.save(*put),
            Act::Batch(_, true) => {}
            Act::Batch(puts, false) => puts.iter().for_each(|put| self.save(*put)),
            Act::Delete(name) => {
                self.events += u64::from(self.state.remove(&format!("n{name}")).is_some());
            }
            Act::Move(name, to) => {
                let (name, to) = (format!("n{name}"), Stage::ALL[*to]);
                if self.state.get(&name).is_some_and(|known| known.stage.may_move_to(to)) {
                    let revision = self.next(&name);
                    let known = self.state.get_mut(&name).unwrap();
                    (known.stage, known.revision) = (to, revision);
                }
            }
        }
    }
}

fn draft((name, text, site): Put) -> CardDraft {
    CardDraft::parse(json!({"kind": "model", "name": format!("n{name}"), "version": "1",
        "summary": format!("t{text}"), "labels": {"site": format!("s{site}")},
        "requires": format!("n{text}")}))
    .unwrap()
}

fn act(fiche: &Fiche, act: &Act) {
    let caller = Caller::system();
    let none = Conditions::default();
    let of = |name: &usize| key("model", &format!("n{name}"), "1");
    match act {
        Act::Save(put) => {
            fiche.save(&caller, &draft(*put), none).unwrap();
            let again = fiche.save(&caller, &draft(*put), none).unwrap();
            assert_eq!(again.outcome, Outcome::Unchanged);
        }
        Act::Batch(puts, bad) => {
            let mut drafts: Vec<_> = puts.iter().map(|put| draft(*put)).collect();
            if *bad {
                let moved =
                    json!({"kind": "model", "name": "n9", "version": "1", "stage": "retired"});
                drafts.push(CardDraft::parse(moved).unwrap());
            }
            assert_eq!(fiche.batch(&caller, &drafts, None).is_err(), *bad);
        }
        Act::Delete(name) => {
            let _absent = fiche.delete(&caller, &of(name), none);
        }
        Act::Move(name, to) => {
            let _refused = fiche.stage(&caller, &of(name), Stage::ALL[*to], "");
        }
    }
}

fn all(fiche: &Fiche) -> Vec<Card> {
    fiche.list(&Filter::default(), None, 100).unwrap()
}

/// The feed, event by event.
fn replayed(fiche: &Fiche, events: u64) -> State {
    let changes = fiche.changes(0, 1000).unwrap();
    let numbers: Vec<_> = changes.iter().map(|change| change.number).collect();
    assert_eq!(numbers, (1..=events).collect::<Vec<_>>());
    let mut cards = BTreeMap::new();
    for change in changes {
        match change.event.as_str() {
            "card.deleted" => cards.remove(&change.card.key),
            _ => cards.insert(change.card.key.clone(), change.card),
        };
    }
    state(cards.into_values())
}

/// The export taken in by a store that is empty, and by one that has other cards of these names in
/// other stages: the content, the labels and the stages are the same. Revisions are each store's own.
fn imported(listed: &[Card], expected: &State) {
    let caller = Caller::system();
    let lines: Vec<String> = listed.iter().map(|card| card.document().to_string()).collect();
    let content = |state: State| -> BTreeMap<String, (String, String, Stage)> {
        let content = |known: Known| (known.text, known.site, known.stage);
        state.into_iter().map(|(name, known)| (name, content(known))).collect()
    };
    for is_empty in [true, false] {
        let other = open();
        for name in (0..4).filter(|_| !is_empty) {
            if expected.contains_key(&format!("n{name}")) {
                act(&other, &Act::Save((name, 2 - name % 3, 1 - name % 2)));
                act(&other, &Act::Move(name, name));
            }
        }
        other.import(&caller, lines.join("\n").as_bytes(), None).unwrap();
        assert_eq!(content(state(all(&other))), content(expected.clone()));
        let events = other.last_number().unwrap();
        other.import(&caller, lines.join("\n").as_bytes(), None).unwrap();
        assert_eq!(other.last_number().unwrap(), events, "taken in again it changes nothing");
    }
}

/// What the index knows: all cards, and those of each label and each stage.
fn indexed(fiche: &Fiche, expected: &State) {
    settle(fiche);
    let search =
        |filter: Filter| fiche.search(&Search { filter, limit: 100, ..Search::default() }).unwrap();
    let found = search(Filter::default());
    assert_eq!(found.total, expected.len());
    let mut counts = BTreeMap::<String, u64>::new();
    for known in expected.values() {
        *counts.entry(known.stage.to_string()).or_insert(0) += 1;
    }
    assert_eq!(found.facets["stage"], counts);
    assert_eq!(state(found.items.into_iter().map(|hit| hit.card)), *expected);
    for site in ["s0", "s1"] {
        let filter = Filter { labels: vec![format!("site:{site}")], ..Filter::default() };
        let there = expected.values().filter(|known| known.site == site).count();
        assert_eq!(search(filter.clone()).total, there);
        assert_eq!(fiche.list(&filter, None, 100).unwrap().len(), there);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_way_to_the_cards_gives_the_same(acts in acts()) {
        let (fiche, mut model) = (open(), Model::default());
        for one in &acts {
            act(&fiche, one);
            model.act(one);
        }
        let expected = model.state;
        let listed = all(&fiche);
        prop_assert_eq!(&state(listed.clone()), &expected);
        prop_assert_eq!(&replayed(&fiche, model.events), &expected);
        imported(&listed, &expected);
        indexed(&fiche, &expected);
        for (name, known) in &expected {
            let lineage = fiche.lineage(&key("model", name, "1"), Direction::Up, Some(1)).unwrap();
            let there = expected.contains_key(&known.text.replace('t', "n"));
            prop_assert_eq!(lineage.edges.len(), 1);
            prop_assert_eq!(lineage.edges[0].missing, !there);
        }
    }
}

#[test]
fn a_card_is_kept_in_the_newest_format() {
    let fiche = open();
    super::save(&fiche, json!({"kind": "model", "name": "a", "version": "1"})).unwrap();
    let row = fiche.store().get("card/model/a/1").unwrap().unwrap();
    assert_eq!(&row.value[..8], b"\x07card.v2");
}
