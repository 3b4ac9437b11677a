//! The calls for cards.

mod bundle;
mod cards;
mod changes;
mod find;
#[cfg(feature = "client")]
mod observers;
mod shapes;
mod upstream;

use super::Fiche;
use crate::kernel::access::Needs;
use crate::kernel::http::{List, Route, Routes, delete, get, post, put};
use shapes::{
    BatchShape, CardShape, ChangeShape, ConflictShape, DiffShape, FoundShape, ImpactShape,
    ImportedShape, LineageShape, PushShape, PushedShape, ResolveBody, ResolvedShape, RevisionShape,
    StageBody, StandingShape,
};

const READ: Needs = Needs::Read("fiche");
const WRITE: Needs = Needs::Write("fiche");

/// The table of fiche.
pub fn routes(fiche: Fiche) -> Routes {
    let table = Routes::new("fiche");
    let table = nodes(changes(many(history(one(table)))));
    #[cfg(feature = "client")]
    let table = observers::routes(table);
    table.with_state(fiche)
}

fn one(table: Routes<Fiche>) -> Routes<Fiche> {
    const CARD: &str = "/api/v1/cards/{kind}/{name}/{version}";
    table
        .add(
            put(CARD, WRITE, cards::save)
                .says("Save a card: a new revision when the content differs, none when it does not")
                .takes::<CardShape>()
                .answers::<CardShape>(200)
                .answers::<CardShape>(201),
        )
        .add(
            get(CARD, READ, cards::read)
                .says("Read a card; `latest` is the highest version by semver, else the newest")
                .query("revision", "an earlier revision, also of a deleted card")
                .answers::<CardShape>(200),
        )
        .add(
            delete(CARD, WRITE, cards::remove)
                .says("Delete a card; its history stays readable")
                .answers::<()>(204),
        )
        .add(
            post("/api/v1/cards/{kind}/{name}/{version}/stage", WRITE, cards::stage)
                .says("Move a card to another stage")
                .takes::<StageBody>()
                .answers::<CardShape>(200),
        )
}

fn history(table: Routes<Fiche>) -> Routes<Fiche> {
    table
        .add(
            get("/api/v1/cards/{kind}/{name}/{version}/history", READ, cards::history)
                .says("Every revision of a card, oldest first")
                .paged()
                .answers::<List<RevisionShape>>(200),
        )
        .add(
            get("/api/v1/cards/{kind}/{name}/{version}/diff", READ, cards::diff)
                .says("What changed between two revisions, field by field")
                .query("from", "the earlier revision; the one before `to` unless told")
                .query("to", "the later revision; the newest unless told")
                .answers::<DiffShape>(200),
        )
        .add(
            get("/api/v1/cards/{kind}/{name}/{version}/lineage", READ, cards::lineage)
                .says("What a card is made from, and what is made from it")
                .query("direction", "up, down or both; both unless told")
                .query("depth", "at most so many steps")
                .answers::<LineageShape>(200),
        )
        .add(
            get("/api/v1/cards/{kind}/{name}/{version}/impact", READ, cards::impact)
                .says("What breaks if a card is retired or deleted, what is in use first")
                .answers::<ImpactShape>(200),
        )
}

/// The parameters that a list, a search and an export have in common.
fn filtered(route: Route<Fiche>) -> Route<Fiche> {
    route
        .query("stage", "only cards in this stage; several with commas or more than once")
        .query(
            "label",
            "only cards with this label, as key:value, or key for any value; more than once: values of one key are alternatives, several keys must all be there",
        )
        .query("updated_after", "only cards changed at this time or later: RFC 3339, or a date")
        .query("updated_before", "only cards changed before this time")
        .query("created_after", "only cards first made at this time or later")
        .query("created_before", "only cards first made before this time")
}

fn many(table: Routes<Fiche>) -> Routes<Fiche> {
    const KIND: &str = "only cards of this kind; several with commas or more than once";
    const NAME: &str = "only cards of this name";
    table
        .add(
            filtered(get("/api/v1/cards/{kind}", READ, find::list).query("name", NAME))
                .says("List the cards of a kind")
                .paged()
                .answers::<List<CardShape>>(200),
        )
        .add(
            filtered(
                get("/api/v1/cards", READ, find::search)
                    .query("q", "words, \"a phrase\", field:word, word*, word~, AND, OR, NOT, ( )")
                    .query("kind", KIND)
                    .query("name", NAME),
            )
            .says("Search cards by words, in Chinese and English")
            .query(
                "sort",
                "relevance, name, -name, updated, -updated, created or -created; - is the last first",
            )
            .paged()
            .answers::<FoundShape>(200),
        )
        .add(
            post("/api/v1/cards:batch", WRITE, bundle::batch)
                .says("Save many cards, all or none")
                .takes::<Vec<CardShape>>()
                .answers::<BatchShape>(200),
        )
        .add(
            filtered(
                get("/api/v1/cards:export", READ, bundle::export)
                    .query("kind", KIND)
                    .query("name", NAME),
            )
            .says("All cards as NDJSON, one a line")
            .answers_bytes(200, bundle::NDJSON),
        )
        .add(
            post("/api/v1/cards:import", WRITE, bundle::import)
                .says("Take in cards as NDJSON, with their stages; bad lines are told")
                .takes_bytes(bundle::NDJSON)
                .answers::<ImportedShape>(200),
        )
}

fn changes(table: Routes<Fiche>) -> Routes<Fiche> {
    table
        .add(
            get("/api/v1/changes", READ, changes::list)
                .says("What changed, in order, numbered without gaps")
                .query("after", "only changes after this number")
                .paged()
                .answers::<List<ChangeShape>>(200),
        )
        .add(
            get("/api/v1/changes/stream", READ, changes::stream)
                .says("What changes, as server-sent events; `Last-Event-ID` goes on from there")
                .query("after", "begin after this number; with what comes next unless told")
                .query("kinds", "only cards of these kinds, with commas between several")
                .query(
                    "events",
                    "only these of card.saved, card.deleted, card.staged, card.conflicted",
                )
                .query("names", "only cards whose names fit one of these, such as wind-*")
                .query("stages", "only cards that are in one of these stages then")
                .answers_bytes(200, "text/event-stream"),
        )
}

fn nodes(table: Routes<Fiche>) -> Routes<Fiche> {
    table
        .add(
            post("/api/v1/cards:push", WRITE, upstream::push)
                .says(
                    "Take in what changed at a node; without events, tell how far its feed is here",
                )
                .takes::<PushShape>()
                .answers::<PushedShape>(200),
        )
        .add(
            get("/api/v1/cards:conflicts", READ, upstream::conflicts)
                .says("What nodes pushed beside cards that stand otherwise here")
                .query("node", "only of this node")
                .query("kind", "only cards of this kind")
                .query("name", "only cards of this name")
                .query("brief", "true leaves out the cards themselves")
                .paged()
                .answers::<List<ConflictShape>>(200),
        )
        .add(
            post("/api/v1/cards:resolve", WRITE, upstream::resolve)
                .says("End a conflict: the card here stays, or becomes what the node has")
                .takes::<ResolveBody>()
                .answers::<ResolvedShape>(200),
        )
        .add(
            get("/api/v1/upstream", READ, upstream::standing)
                .says("How pushing cards to the upstream fares")
                .answers::<StandingShape>(200),
        )
}
