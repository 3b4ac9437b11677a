//! What goes over the wire, for the description of the API; and the few bodies that are read.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A card. Further fields are kept as they come.
#[derive(Serialize, ToSchema)]
#[schema(as = Card)]
pub(super) struct CardShape {
    /// `algorithm`, `model`, `parameter`, `application`, `dataset`, or a kind that `drip.toml`
    /// declares; the path's wins.
    kind: String,
    /// Its name; the path's wins.
    name: String,
    /// Its version; the path's wins.
    version: String,
    /// What it is, in a sentence.
    summary: String,
    /// Text, or any JSON.
    #[schema(value_type = Object)]
    config: serde_json::Value,
    /// What else there is to say.
    remark: String,
    /// How far it has come; a save never moves it.
    stage: String,
    /// Texts by name.
    labels: BTreeMap<String, String>,
    /// What an algorithm, a model or an application needs: `kind:name@version`.
    requires: Option<Vec<String>>,
    /// What needs an algorithm, a parameter or a dataset.
    requiredby: Option<Vec<String>>,
    /// The datasets that a model was made from.
    data: Option<Vec<String>>,
    /// The algorithm that a model was made by.
    algorithm: Option<String>,
    /// Counted from 1.
    revision: u64,
    /// When the first revision was made.
    created_at: String,
    /// When this one was made.
    updated_at: String,
    /// Who made this one.
    saved_by: String,
}

/// One revision: the card as it stood, and where the revision came from.
#[derive(Serialize, ToSchema)]
#[schema(as = CardRevision)]
pub(super) struct RevisionShape {
    #[serde(flatten)]
    card: CardShape,
    /// Where it came from.
    change: OriginShape,
}

/// Where a revision came from.
#[derive(Serialize, ToSchema)]
#[schema(as = CardOrigin)]
pub(super) struct OriginShape {
    /// `card.saved` or `card.staged`.
    event: String,
    /// When.
    at: String,
    /// Who.
    by: String,
    /// Why.
    comment: String,
    /// The stage it was moved from.
    from_stage: Option<String>,
    /// When and by whom the card was deleted in this revision.
    #[schema(value_type = Option<Object>)]
    deleted: Option<serde_json::Value>,
}

/// What changed between two revisions.
#[derive(Serialize, ToSchema)]
#[schema(as = CardDiff)]
pub(super) struct DiffShape {
    /// The earlier revision.
    from: u64,
    /// The later one.
    to: u64,
    /// Every field that differs.
    changes: Vec<ChangedShape>,
}

/// One field that differs.
#[derive(Serialize, ToSchema)]
#[schema(as = CardFieldChange)]
pub(super) struct ChangedShape {
    /// Where: a JSON pointer.
    path: String,
    /// `added`, `removed` or `changed`.
    change: String,
    /// What was there.
    #[schema(value_type = Object)]
    from: serde_json::Value,
    /// What is there now.
    #[schema(value_type = Object)]
    to: serde_json::Value,
}

/// Cards, and what is made from what.
#[derive(Serialize, ToSchema)]
#[schema(as = Lineage)]
pub(super) struct LineageShape {
    /// The cards.
    nodes: Vec<NodeShape>,
    /// What is made from what.
    edges: Vec<EdgeShape>,
    /// Whether there is more than is shown.
    truncated: bool,
}

/// What breaks if a card is retired or deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = CardImpact)]
pub(super) struct ImpactShape {
    /// The card itself.
    card: NodeShape,
    /// The other versions of it that are there.
    other_versions: Vec<String>,
    /// How many of the cards below are deployed or accepted, and break.
    in_use: usize,
    /// What refers to the card itself.
    directly: Vec<AffectedShape>,
    /// What is made from those.
    indirectly: Vec<AffectedShape>,
    /// Whether there is more than is shown.
    truncated: bool,
}

/// A card that depends on another.
#[derive(Serialize, ToSchema)]
#[schema(as = AffectedCard)]
pub(super) struct AffectedShape {
    kind: String,
    name: String,
    version: String,
    stage: String,
    /// The card through which it depends.
    through: String,
    /// The field that says so.
    field: String,
    /// What stands there.
    reference: String,
    /// The card that the reference would mean instead.
    instead: Option<String>,
    /// Whether nothing would take the place.
    breaks: bool,
}

/// A card of a lineage.
#[derive(Serialize, ToSchema)]
#[schema(as = LineageNode)]
pub(super) struct NodeShape {
    kind: String,
    name: String,
    version: String,
    stage: String,
}

/// That one card is made from another.
#[derive(Serialize, ToSchema)]
#[schema(as = LineageEdge)]
pub(super) struct EdgeShape {
    /// What was made: `kind:name@version`.
    from: String,
    /// What it was made from.
    to: String,
    /// The field that says so.
    field: String,
    /// Whether one end is not there.
    missing: bool,
}

/// What a search found.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundCards)]
pub(super) struct FoundShape {
    /// The cards of this page.
    items: Vec<HitShape>,
    /// How many there are.
    total: usize,
    /// How many there are by `kind`, by `stage`, and of the most frequent labels by `label_key` and
    /// by `label` (as `key:value`).
    facets: BTreeMap<String, BTreeMap<String, u64>>,
    /// Where nothing was found as it was typed: the words that found nothing, and what was looked
    /// for instead.
    instead: Option<BTreeMap<String, Vec<String>>>,
    /// How many changes the index has yet to take in.
    behind: u64,
    /// What to send as `cursor` for the next page.
    next_cursor: Option<String>,
}

/// A card that was found.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundCard)]
pub(super) struct HitShape {
    card: CardShape,
    /// How well it fits.
    score: f32,
    /// By field, the passage that fits, with `<mark>` around the words and HTML escaped.
    highlights: BTreeMap<String, String>,
}

/// What a batch did.
#[derive(Serialize, ToSchema)]
#[schema(as = CardBatch)]
pub(super) struct BatchShape {
    /// The cards as they stand now, in the order they were sent.
    items: Vec<CardShape>,
    created: usize,
    updated: usize,
    unchanged: usize,
}

/// What an import did.
#[derive(Serialize, ToSchema)]
#[schema(as = CardImport)]
pub(super) struct ImportedShape {
    /// How many lines hold a card that now stands as the line says.
    accepted: usize,
    created: usize,
    updated: usize,
    unchanged: usize,
    /// How many lines were refused.
    refused: usize,
    /// The refused lines.
    #[schema(value_type = Vec<Object>)]
    rejected: Vec<serde_json::Value>,
}

/// One change of one card.
#[derive(Serialize, ToSchema)]
#[schema(as = CardChange)]
pub(super) struct ChangeShape {
    /// Its number: no gaps, no repeats.
    number: u64,
    /// `card.saved`, `card.deleted` or `card.staged`.
    event: String,
    /// The card as it stood after the change; before it, when it was deleted.
    card: CardShape,
    /// When.
    at: String,
}

/// A move to another stage.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StageBody {
    /// Where to: experiment, development, testing, deployed, accepted or retired.
    pub(super) stage: String,
    /// Why.
    #[serde(default)]
    pub(super) comment: String,
}
