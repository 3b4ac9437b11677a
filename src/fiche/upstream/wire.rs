//! What goes over the wire between a node and its centre; and the reading of it, which names every
//! fault at once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::decide::{Reason, Stand};
use crate::fiche::draft::CardDraft;
use crate::fiche::error;
use crate::fiche::kinds::Kinds;
use crate::fiche::model::CardKey;
use crate::fiche::plan::{CARD_DELETED, CARD_SAVED, CARD_STAGED};
use crate::kernel::name::{Digest, Name};
use crate::kernel::{Error, Fault, Kind, Result};

/// How many events one push may have.
pub(super) const EVENTS_MAX: usize = 1000;
/// How many Drips a change may come through.
const THROUGH_MAX: usize = 32;
/// The longest text beside the card: an author, a comment.
const TEXT_MAX: usize = 10_000;
/// How many faults are named.
const FAULTS_MAX: usize = 1000;

/// What happened in a node's feed after one number and up to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// The node's name.
    pub node: Name,
    /// The id of the node's feed.
    pub feed: String,
    /// The number that the centre has the feed up to, as the node believes.
    pub after: u64,
    /// The number that it has it up to afterwards, and the mark of that event; none to only ask.
    pub to: Option<(u64, Digest)>,
    /// What happened.
    pub events: Vec<PushedEvent>,
}

/// One change of one card.
#[derive(Debug, Clone, PartialEq)]
pub struct PushedEvent {
    /// Its number in the node's feed.
    pub number: u64,
    /// `card.saved`, `card.staged` or `card.deleted`.
    pub event: String,
    /// Which card.
    pub key: CardKey,
    /// Its revision at the node.
    pub revision: u64,
    /// The card as it stood after the change, and the digest of its content; none when it was deleted.
    pub card: Option<(CardDraft, Digest)>,
    /// How it stood right before; none when it was not there.
    pub base: Option<Stand>,
    /// Who made the change.
    pub by: String,
    /// Why, where it was said.
    pub comment: String,
    /// The node that the content came from, where it is not the one that pushes.
    pub origin: Option<Name>,
    /// The feeds that the change came through before.
    pub through: Vec<String>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// The centre's own name.
    pub node: String,
    /// The id of the centre's own feed.
    pub feed: String,
    /// The number that the centre has the node's feed up to.
    pub cursor: u64,
    /// The mark of that event.
    pub mark: Option<Digest>,
    /// How many conflicts of the node are open.
    pub conflicts: u64,
    /// What became of each event.
    pub outcomes: Vec<Outcome>,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The event's number.
    pub number: u64,
    /// The card: `model/wind-power/1.2.0`.
    pub card: String,
    /// What became of it.
    pub outcome: Verdict,
    /// Why it is a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The revision of the centre's card now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// What became of an event, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The centre's card stands so now.
    Applied,
    /// It stood so already.
    Unchanged,
    /// Both are kept.
    Conflict,
    /// It came from the centre itself.
    Known,
}

impl PushedEvent {
    /// How the card stands after the change.
    pub(super) fn pushed(&self) -> Option<Stand> {
        let (draft, digest) = self.card.as_ref()?;
        Some(Stand { stage: draft.stage.unwrap_or_default(), digest: *digest })
    }
}

impl Push {
    /// As it goes over the wire.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "node": self.node, "feed": self.feed, "after": self.after,
            "events": self.events.iter().map(event_document).collect::<Vec<_>>(),
        });
        if let (Some((to, mark)), Some(fields)) = (self.to, document.as_object_mut()) {
            fields.insert("to".to_owned(), to.into());
            fields.insert("mark".to_owned(), mark.to_hex().into());
        }
        document
    }
}

/// One event as it goes over the wire.
pub(super) fn event_document(event: &PushedEvent) -> Value {
    let key = &event.key;
    let (mut card, digest) = match &event.card {
        Some((draft, digest)) => (draft.document(), json!(digest)),
        None => (json!({"kind": key.kind, "name": key.name, "version": key.version}), Value::Null),
    };
    if let (Some(origin), Some(fields)) = (&event.origin, card.as_object_mut()) {
        fields.insert("node".to_owned(), json!(origin));
    }
    json!({
        "number": event.number, "event": event.event, "revision": event.revision,
        "by": event.by, "comment": event.comment, "base": event.base,
        "through": event.through, "digest": digest, "card": card,
    })
}

/// Reads a push. Every fault of every event is named, with its place in front.
pub(in crate::fiche) fn read_push(kinds: &Kinds, body: Value) -> Result<Push> {
    let Value::Object(mut given) = body else {
        return Err(bad_push(vec![Fault::new("", "a push is a JSON object")]));
    };
    let mut read = Reader { kinds, faults: Vec::new() };
    let node = read.name(&given, "node");
    let feed = read.feed(given.get("feed"), "/feed");
    let after = read.number(&given, "", "after");
    let to = match given.get("to") {
        None | Some(Value::Null) => None,
        Some(_) => read.number(&given, "", "to").zip(read.digest(given.get("mark"), "/mark")),
    };
    if let (Some(after), Some((to, _))) = (after, to)
        && to < after
    {
        read.fault("/to", "is less than `after`: numbers only go forward");
    }
    let events = read.events(given.remove("events"), to.map(|(to, _)| to));
    match (node, feed, after) {
        (Some(node), Some(feed), Some(after)) if read.faults.is_empty() => {
            Ok(Push { node, feed, after, to, events })
        }
        _ => Err(bad_push(read.faults)),
    }
}

fn bad_push(mut faults: Vec<Fault>) -> Error {
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(Fault::new("", format!("and {more} faults more")));
    }
    let detail = match faults.as_slice() {
        [only] => format!("nothing was taken in: `{}`: {}", only.pointer, only.detail),
        many => format!("nothing was taken in: the push is wrong in {} places", many.len()),
    };
    Error::new(Kind::Invalid, "bad_push", detail).with_faults(faults)
}

struct Reader<'a> {
    kinds: &'a Kinds,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, at: impl Into<String>, why: &str) {
        self.faults.push(Fault::new(at, why));
    }

    fn name(&mut self, given: &Map<String, Value>, field: &str) -> Option<Name> {
        let pointer = format!("/{field}");
        match given.get(field) {
            Some(Value::String(text)) => match Name::new(text) {
                Ok(name) => return Some(name),
                Err(refused) => {
                    refused.faults().iter().for_each(|f| self.fault(&pointer, &f.detail));
                }
            },
            Some(_) => self.fault(pointer, "must be text"),
            None => self.fault(pointer, "is missing"),
        }
        None
    }

    fn feed(&mut self, given: Option<&Value>, at: &str) -> Option<String> {
        let text = given.and_then(Value::as_str);
        let is_id = |text: &&str| {
            (8..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let feed = text.filter(is_id).map(str::to_owned);
        if feed.is_none() {
            self.fault(at, "must be the id of a feed: 8 to 64 letters, digits and `-`");
        }
        feed
    }

    fn number(&mut self, given: &Map<String, Value>, at: &str, field: &str) -> Option<u64> {
        let number = given.get(field).and_then(Value::as_u64);
        if number.is_none() {
            self.fault(format!("{at}/{field}"), "must be a whole number");
        }
        number
    }

    fn digest(&mut self, given: Option<&Value>, at: &str) -> Option<Digest> {
        let digest = given.and_then(Value::as_str).and_then(|text| Digest::parse(text).ok());
        if digest.is_none() {
            self.fault(at, "must be a SHA-256 of 64 hexadecimal digits");
        }
        digest
    }

    fn text(&mut self, given: &Map<String, Value>, at: &str, field: &str) -> String {
        match given.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) if text.len() <= TEXT_MAX => text.clone(),
            Some(_) => {
                let why = format!("must be text of at most {TEXT_MAX} bytes");
                self.fault(format!("{at}/{field}"), &why);
                String::new()
            }
        }
    }

    fn events(&mut self, given: Option<Value>, to: Option<u64>) -> Vec<PushedEvent> {
        let items = match given {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.fault("/events", "must be a list");
                Vec::new()
            }
        };
        if items.len() > EVENTS_MAX {
            let why = format!("has {} events and may have {EVENTS_MAX}", items.len());
            self.fault("/events", &why);
            return Vec::new();
        }
        if !items.is_empty() && to.is_none() {
            self.fault("/to", "is missing: it says up to where these events go");
        }
        let mut events = Vec::with_capacity(items.len());
        let mut last = 0;
        for (at, item) in items.into_iter().enumerate() {
            let at = format!("/events/{at}");
            if let Some(number) = item.get("number").and_then(Value::as_u64) {
                self.order(number, last, to, &at);
                last = number;
            }
            events.extend(self.event(item, &at));
        }
        events
    }

    fn order(&mut self, number: u64, last: u64, to: Option<u64>, at: &str) {
        if number <= last {
            let why = format!("{number} does not come after {last}: numbers only go up");
            self.fault(format!("{at}/number"), &why);
        }
        if to.is_some_and(|to| number > to) {
            self.fault(format!("{at}/number"), "lies beyond `to`");
        }
    }

    fn event(&mut self, item: Value, at: &str) -> Option<PushedEvent> {
        let Value::Object(mut given) = item else {
            self.fault(at, "must be an object");
            return None;
        };
        let number = self.number(&given, at, "number");
        let revision = self.number(&given, at, "revision");
        let event = given.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_gone = event == CARD_DELETED;
        if !is_gone && event != CARD_SAVED && event != CARD_STAGED {
            let why = format!("must be {CARD_SAVED}, {CARD_STAGED} or {CARD_DELETED}");
            self.fault(format!("{at}/event"), &why);
        }
        let (by, comment) = (self.text(&given, at, "by"), self.text(&given, at, "comment"));
        let base = self.base(given.get("base"), &format!("{at}/base"));
        let through = self.through(given.get("through"), &format!("{at}/through"));
        let digest = match given.get("digest") {
            _ if is_gone => None,
            digest => self.digest(digest, &format!("{at}/digest")),
        };
        let (draft, origin) = self.card(given.remove("card"), &format!("{at}/card"))?;
        let key = draft.key().clone();
        let card = digest.map(|digest| (draft, digest));
        Some(PushedEvent {
            number: number?,
            event,
            key,
            revision: revision?,
            card,
            base,
            by,
            comment,
            origin,
            through,
        })
    }

    fn card(&mut self, given: Option<Value>, at: &str) -> Option<(CardDraft, Option<Name>)> {
        let given = given.unwrap_or_default();
        let origin = given.get("node").and_then(Value::as_str).map(Name::new);
        let origin = match origin.transpose() {
            Ok(origin) => origin,
            Err(refused) => {
                self.fault(format!("{at}/node"), refused.detail());
                None
            }
        };
        match CardDraft::read(given, None, self.kinds) {
            Ok(draft) => Some((draft, origin)),
            Err(refused) if refused.faults().is_empty() => {
                self.fault(at, refused.detail());
                None
            }
            Err(refused) => {
                for fault in refused.faults() {
                    self.fault(format!("{at}{}", fault.pointer), &fault.detail);
                }
                None
            }
        }
    }

    fn base(&mut self, given: Option<&Value>, at: &str) -> Option<Stand> {
        let given = given.filter(|given| !given.is_null())?;
        let stand = Stand::deserialize(given);
        if let Err(source) = &stand {
            self.fault(at, &format!("must be null, or a stage and a digest: {source}"));
        }
        stand.ok()
    }

    fn through(&mut self, given: Option<&Value>, at: &str) -> Vec<String> {
        let items = match given {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= THROUGH_MAX => items,
            Some(_) => {
                self.fault(at, &format!("must be a list of at most {THROUGH_MAX} feeds"));
                return Vec::new();
            }
        };
        let feed = |(n, item)| self.feed(Some(item), &format!("{at}/{n}"));
        items.iter().enumerate().filter_map(feed).collect()
    }
}

/// A push from this very Drip, by way of its own upstream.
pub(super) fn own_upstream() -> Error {
    Error::new(
        Kind::Conflict,
        "own_upstream",
        "this Drip is its own upstream: let fiche.upstream.url name another one",
    )
}

/// A push from a node of the same name.
pub(super) fn same_node_name(name: &Name) -> Error {
    Error::new(
        Kind::Conflict,
        "same_node_name",
        format!(
            "`{name}` is the name of the centre itself: give the node another fiche.upstream.node"
        ),
    )
}

/// A push that does not begin where the centre is.
pub(super) fn out_of_step(after: u64, cursor: u64) -> Error {
    Error::new(
        Kind::Conflict,
        "push_out_of_step",
        format!(
            "nothing was taken in: the push begins after {after}, and this feed is here up to {cursor}"
        ),
    )
}

/// A conflict that there is not.
pub(super) fn conflict_not_found(key: &CardKey, node: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "conflict_not_found",
        format!(
            "the node `{node}` has no conflict about `{key}`: `GET /api/v1/cards:conflicts` lists those there are"
        ),
    )
}

/// A conflict that was looked at, and is another by now.
pub(super) fn conflict_moved_on(key: &CardKey, node: &str) -> Error {
    Error::new(
        Kind::Stale,
        "conflict_moved_on",
        format!("the node `{node}` changed `{key}` again meanwhile: look at the conflict anew"),
    )
}

/// A word that is no side of a conflict.
pub(super) fn bad_side(word: &str) -> Error {
    let shown: String = word.chars().take(60).collect();
    error::bad_parameter("bad_side", "/keep", format!("`{shown}` is no side: mine or theirs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = "0197f1d2-7c1e-7000-8000-000000000001";

    fn digest(text: &str) -> String {
        Digest::of(text.as_bytes()).to_hex()
    }

    fn event(number: u64, card: Value) -> Value {
        json!({"number": number, "event": "card.saved", "revision": 1, "by": "ada",
               "card": card, "digest": digest("x"), "base": null})
    }

    fn push(events: Vec<Value>) -> Value {
        json!({"node": "edge", "feed": FEED, "after": 0, "to": 9, "mark": digest("m"),
               "events": events})
    }

    fn places(body: Value) -> Vec<String> {
        let refused = read_push(&Kinds::default(), body).unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("bad_push", Kind::Invalid));
        refused.faults().iter().map(|fault| fault.pointer.clone()).collect()
    }

    fn card(name: &str) -> Value {
        json!({"kind": "model", "name": name, "version": "1"})
    }

    #[test]
    fn a_push_is_read_as_it_was_written() {
        let mut gone = event(3, card("b"));
        gone["event"] = json!("card.deleted");
        gone["base"] = json!({"stage": "testing", "digest": digest("y")});
        gone["through"] = json!([FEED]);
        let mut relayed = event(2, card("a"));
        relayed["card"]["node"] = json!("far");
        let read_push = |body| read_push(&Kinds::default(), body);
        let read = read_push(push(vec![relayed, gone])).unwrap();
        assert_eq!(read.events[0].origin, Some(Name::new("far").unwrap()));
        assert_eq!(read.events[1].card, None);
        assert_eq!(read_push(read.document()).unwrap(), read);
        let ask = json!({"node": "edge", "feed": FEED, "after": 0});
        assert_eq!(read_push(ask).unwrap().to, None);
    }

    #[test]
    fn every_fault_of_every_event_is_named_at_once() {
        let bad_card = json!({"kind": "gadget", "name": "a/b", "version": "1", "labels": {"x": 1}});
        let mut strange = event(2, card("a"));
        strange["event"] = json!("card.eaten");
        strange["digest"] = json!("zz");
        strange["base"] = json!({"stage": "paused"});
        strange["through"] = json!(["?"]);
        let body = json!({"node": "a\u{7}b", "feed": "/", "after": -1, "to": 1, "mark": digest("m"),
                          "events": [event(1, bad_card), strange, 7]});
        assert_eq!(
            places(body),
            [
                "/node",
                "/feed",
                "/after",
                "/events/0/card/kind",
                "/events/0/card/name",
                "/events/0/card/labels/x",
                "/events/1/number",
                "/events/1/event",
                "/events/1/base",
                "/events/1/through/0",
                "/events/1/digest",
                "/events/2",
            ]
        );
    }

    #[test]
    fn numbers_that_go_back_and_too_many_events_are_refused() {
        let events = vec![event(3, card("a")), event(3, card("b")), event(2, card("c"))];
        assert_eq!(places(push(events)), ["/events/1/number", "/events/2/number"]);
        let mut back = push(Vec::new());
        back["after"] = json!(10);
        assert_eq!(places(back), ["/to"]);
        let many = (1..=100_000).map(|n| event(n, card("a"))).collect();
        assert_eq!(places(push(many)), ["/events"]);
        let mut large = card("a");
        large["config"] = json!("x".repeat(2 << 20));
        assert_eq!(places(push(vec![event(1, large)])), ["/events/0/card"]);
        assert_eq!(places(json!([])), [""]);
        let without_end =
            json!({"node": "e", "feed": FEED, "after": 0, "events": [event(1, card("a"))]});
        assert_eq!(places(without_end), ["/to"]);
    }
}
