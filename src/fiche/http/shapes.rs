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
    /// The node that pushed this content here; absent when it was written here.
    node: Option<String>,
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
    /// `card.saved`, `card.deleted`, `card.staged`; `card.conflicted` when a node pushed another one.
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

/// What happened in a node's feed after one number and up to another.
#[derive(Serialize, ToSchema)]
#[schema(as = CardPush)]
pub(super) struct PushShape {
    /// The node's name.
    node: String,
    /// The id of the node's feed.
    feed: String,
    /// The number that the centre has the feed up to.
    after: u64,
    /// The number that it has it up to afterwards; none to only ask where it stands.
    to: Option<u64>,
    /// The digest of event `to`.
    mark: Option<String>,
    /// What happened, in order.
    events: Vec<PushEventShape>,
}

/// One change of one card, as a node pushes it.
#[derive(Serialize, ToSchema)]
#[schema(as = CardPushEvent)]
pub(super) struct PushEventShape {
    /// Its number in the node's feed.
    number: u64,
    /// `card.saved`, `card.staged` or `card.deleted`.
    event: String,
    /// The card as it stood after the change; only its name when it was deleted.
    card: CardShape,
    /// The digest of its content.
    digest: Option<String>,
    /// How it stood right before: `stage` and `digest`; null when it was not there.
    #[schema(value_type = Option<Object>)]
    base: Option<serde_json::Value>,
    /// Its revision at the node.
    revision: u64,
    /// Who made the change.
    by: String,
    /// Why.
    comment: String,
    /// The feeds that the change came through before.
    through: Vec<String>,
}

/// What became of a push.
#[derive(Serialize, ToSchema)]
#[schema(as = CardPushed)]
pub(super) struct PushedShape {
    /// The centre's own name.
    node: String,
    /// The id of the centre's own feed.
    feed: String,
    /// The number that the centre has the node's feed up to.
    cursor: u64,
    /// The mark of that event.
    mark: Option<String>,
    /// How many conflicts of the node are open.
    conflicts: u64,
    /// For each event its `number`, `card`, `outcome` (applied, unchanged, conflict, known), `reason`
    /// and the `revision` of the card here.
    #[schema(value_type = Vec<Object>)]
    outcomes: Vec<serde_json::Value>,
}

/// What a node pushed beside a card that stands otherwise here.
#[derive(Serialize, ToSchema)]
#[schema(as = CardConflict)]
pub(super) struct ConflictShape {
    kind: String,
    name: String,
    version: String,
    /// The node that pushed.
    node: String,
    /// `exists_here`, `changed_here`, `deleted_here` or `deleted_there`.
    reason: String,
    /// When it was pushed.
    at: String,
    /// Who made the change at the node.
    by: String,
    /// The number of the change in the node's feed.
    number: u64,
    /// The revision of the node's card.
    revision: u64,
    /// The card as it stands here; null when it was deleted.
    mine: Option<CardShape>,
    /// The card as the node has it; null when it was deleted there.
    theirs: Option<CardShape>,
}

/// The end of a conflict.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolveBody {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: String,
    /// The node whose conflict it is.
    pub(super) node: String,
    /// `mine`, the card as it stands here; or `theirs`, the card as the node has it.
    pub(super) keep: String,
    /// Only if the conflict is still about this change of the node.
    #[serde(default)]
    pub(super) number: Option<u64>,
}

/// A conflict that ended.
#[derive(Serialize, ToSchema)]
#[schema(as = CardResolved)]
pub(super) struct ResolvedShape {
    /// `mine` or `theirs`.
    kept: String,
    /// The card as it stands now; null when it is deleted.
    card: Option<CardShape>,
}

/// How pushing to the upstream fares.
#[derive(Serialize, ToSchema)]
#[schema(as = CardUpstream)]
pub(super) struct StandingShape {
    /// The Drip that this one pushes to; null when it pushes to none.
    url: Option<String>,
    /// The name of this node.
    node: String,
    /// The number that the upstream has this feed up to, as it last said.
    cursor: u64,
    /// How many changes it does not have yet.
    behind: u64,
    /// When it last answered well.
    last_success_at: Option<String>,
    /// Why the last try failed: `code`, `detail`, `at`.
    #[schema(value_type = Option<Object>)]
    last_error: Option<serde_json::Value>,
    /// When the next try is due.
    next_try_at: Option<String>,
    /// How many of this node's cards stand otherwise there.
    conflicts: u64,
    /// Those cards: `card`, `reason`, `number`, `at`; the first hundred.
    #[schema(value_type = Vec<Object>)]
    conflicting: Vec<serde_json::Value>,
    /// Cards that the upstream refused, in the same shape. They are tried again.
    #[schema(value_type = Vec<Object>)]
    refused: Vec<serde_json::Value>,
}
