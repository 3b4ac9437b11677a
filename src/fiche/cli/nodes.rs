//! Edge to centre: how pushing fares, and the conflicts that nodes pushed.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{read_card, show};
use crate::fiche::client::FicheClient;
use crate::fiche::diff::{Changed, between};
use crate::fiche::model::{Card, CardKey};
use crate::fiche::upstream::{ConflictFilter, Keep, Standing, Trouble};
use crate::kernel::cli::Output;
use crate::kernel::{Error, Kind, Result};

/// Conflicts that nodes pushed.
#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// List them
    List {
        /// Only those of this node
        #[arg(long)]
        node: Option<String>,
        /// Only about cards of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only about cards of this name
        #[arg(long)]
        name: Option<String>,
    },
    /// Show both sides of the conflicts about a card
    Show {
        /// KIND NAME VERSION, or KIND:NAME@VERSION
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// Only that of this node
        #[arg(long)]
        node: Option<String>,
    },
    /// End a conflict
    Resolve {
        /// KIND NAME VERSION, or KIND:NAME@VERSION
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// The node whose conflict it is, where there are several
        #[arg(long)]
        node: Option<String>,
        /// mine, the card as it stands here; or theirs, the card as the node has it
        #[arg(long)]
        keep: String,
    },
}

pub(super) async fn upstream(fiche: &FicheClient, out: Output) -> Result<()> {
    let standing = fiche.upstream().await?;
    if out.is_json() {
        return out.object(&standing);
    }
    let Standing { url, node, cursor, behind, conflicts, .. } = &standing;
    let Some(url) = url else {
        return out.line(&format!(
            "the node {node} pushes its cards nowhere: fiche.upstream.url names another Drip"
        ));
    };
    out.object(&json!({
        "node": node, "upstream": url, "pushed up to": cursor, "behind": behind,
        "last success": standing.last_success_at, "conflicts": conflicts,
        "refused": standing.refused.len(),
    }))?;
    if let Some(failure) = &standing.last_error {
        let next = standing.next_try_at.map(|at| format!("; next try {at}")).unwrap_or_default();
        out.line(&format!("the last try failed, {}: {}{next}", failure.at, failure.detail))?;
    }
    troubles("stand otherwise there", &standing.conflicting, out)?;
    troubles("are refused there", &standing.refused, out)
}

fn troubles(what: &str, cards: &[Trouble], out: Output) -> Result<()> {
    if cards.is_empty() {
        return Ok(());
    }
    out.line(&format!("these cards {what}:"))?;
    out.rows(cards, &["card", "reason", "number", "at"], "")
}

pub(super) async fn conflicts(
    fiche: &FicheClient,
    command: Option<Conflicts>,
    out: Output,
) -> Result<()> {
    let all = Conflicts::List { node: None, kind: None, name: None };
    match command.unwrap_or(all) {
        Conflicts::List { node, kind, name } => {
            let kind = kind.as_deref().map(str::parse).transpose()?;
            let filter = ConflictFilter { node, kind, name, brief: !out.is_json() };
            let fields = ["kind", "name", "version", "node", "reason", "by", "number", "at"];
            out.rows(&fiche.conflicts(&filter).await?, &fields, "no conflicts")
        }
        Conflicts::Show { card, node } => {
            let found = about(fiche, &read_card(&card)?, node, false).await?;
            if out.is_json() {
                return out.rows(&found, &[], "");
            }
            found.iter().try_for_each(|conflict| both_sides(conflict, out))
        }
        Conflicts::Resolve { card, node, keep } => {
            let (key, keep) = (read_card(&card)?, keep.parse()?);
            resolve(fiche, &key, node, keep, out).await
        }
    }
}

/// The conflicts about one card.
async fn about(
    fiche: &FicheClient,
    key: &CardKey,
    node: Option<String>,
    brief: bool,
) -> Result<Vec<Value>> {
    let (kind, name) = (Some(key.kind), Some(key.name.to_string()));
    let mut found = fiche.conflicts(&ConflictFilter { node, kind, name, brief }).await?;
    found.retain(|conflict| text(conflict, "version") == key.version.as_str());
    if found.is_empty() {
        let why = format!("there is no conflict about {}", key.reference());
        return Err(Error::new(Kind::NotFound, "conflict_not_found", why));
    }
    Ok(found)
}

fn text<'a>(conflict: &'a Value, field: &str) -> &'a str {
    conflict.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn both_sides(conflict: &Value, out: Output) -> Result<()> {
    let of = |field| text(conflict, field);
    out.line(&out.bold(&format!("{}:{}@{}", of("kind"), of("name"), of("version"))))?;
    out.line(&format!("{}: {} by {}, {}", of("node"), of("reason"), of("by"), of("at")))?;
    let side = |field: &str| conflict.get(field).cloned().unwrap_or_default();
    match (side("mine"), side("theirs")) {
        (Value::Null, _) => out.line("it was deleted here; the node has it"),
        (_, Value::Null) => out.line("the node deleted it; it stands here"),
        (mine, theirs) => {
            out.line("- as it stands here, + as the node has it")?;
            show::changed(&differences(mine, theirs)?, out)
        }
    }
}

/// What differs between the sides, beside what each Drip writes itself.
fn differences(mine: Value, theirs: Value) -> Result<Vec<Changed>> {
    let bad = |source| Error::new(Kind::Internal, "bad_answer", format!("a conflict: {source}"));
    let mine: Card = serde_json::from_value(mine).map_err(bad)?;
    let mut theirs = theirs;
    if let Some(fields) = theirs.as_object_mut() {
        for field in ["created_at", "updated_at"] {
            fields.insert(field.to_owned(), json!(mine.updated_at));
        }
    }
    Ok(between(&mine, &serde_json::from_value(theirs).map_err(bad)?))
}

async fn resolve(
    fiche: &FicheClient,
    key: &CardKey,
    node: Option<String>,
    keep: Keep,
    out: Output,
) -> Result<()> {
    let found = about(fiche, key, node, true).await?;
    let [conflict] = found.as_slice() else {
        let nodes: Vec<_> = found.iter().map(|conflict| text(conflict, "node")).collect();
        let why = format!("{} has conflicts of {}: name one with --node", key, nodes.join(", "));
        return Err(Error::new(Kind::Usage, "which_node", why));
    };
    let (node, number) = (text(conflict, "node"), conflict.get("number").and_then(Value::as_u64));
    let done = fiche.resolve(key, node, keep, number).await?;
    let kept = if keep == Keep::Mine { "as it stands here" } else { "as the node has it" };
    out.done(&format!("kept {} {kept}", key.reference()), &done)
}
