//! How cards look to people.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Card, Direction, texts};
use crate::fiche::Change;
use crate::fiche::diff::{Changed, Diff};
use crate::fiche::impact::Impact;
use crate::fiche::lineage::{Edge, Lineage};
use crate::fiche::search::Found;
use crate::kernel::cli::Output;
use crate::kernel::{Name, Result};

const RED: &str = "31";
const GREEN: &str = "32";
const GREY: &str = "90";

pub(super) fn card(card: &Card, out: Output) -> Result<()> {
    out.object(card)
}

pub(super) fn found(found: &Found, out: Output) -> Result<()> {
    if out.is_json() {
        return out.object(found);
    }
    let rows: Vec<Value> = found
        .items
        .iter()
        .map(|hit| {
            let passage =
                ["summary", "remark", "config"].iter().find_map(|field| hit.highlights.get(*field));
            let passage = passage
                .map_or_else(|| hit.card.text("summary").to_owned(), |html| plain(html, out));
            json!({
                "card": hit.card.key.reference(),
                "stage": hit.card.stage,
                "about": passage,
            })
        })
        .collect();
    out.rows(&rows, &["card", "stage", "about"], "nothing found; fewer words find more")?;
    for (typed, meant) in &found.instead {
        out.line(&format!("nothing has `{typed}`; shown is what has {}", meant.join(", ")))?;
    }
    if found.total > rows.len() {
        out.line(&format!("{} of {} shown; --limit shows more", rows.len(), found.total))?;
    }
    if found.behind > 0 {
        out.line(&format!("the index has yet to take in {} changes", found.behind))?;
    }
    Ok(())
}

/// A marked passage for a terminal.
fn plain(html: &str, out: Output) -> String {
    let mut text = String::new();
    for (at, part) in html.split("<mark>").enumerate() {
        match part.split_once("</mark>") {
            Some((word, rest)) if at > 0 => {
                text.push_str(&out.bold(word));
                text.push_str(rest);
            }
            _ => text.push_str(part),
        }
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (code, sign)| text.replace(code, sign))
}

pub(super) fn history(revisions: &[Value], out: Output) -> Result<()> {
    if out.is_json() {
        return out.rows(revisions, &[], "");
    }
    let rows: Vec<Value> = revisions.iter().map(revision_row).collect();
    let fields = ["revision", "at", "by", "event", "stage", "comment"];
    out.rows(&rows, &fields, "no revisions")
}

fn revision_row(revision: &Value) -> Value {
    let of = |pointer: &str| revision.pointer(pointer).cloned().unwrap_or_default();
    let mut comment = of("/change/comment").as_str().unwrap_or_default().to_owned();
    if let Some(who) = of("/change/deleted/by").as_str() {
        let at = of("/change/deleted/at");
        comment = format!("{comment} deleted by {who}, {}", at.as_str().unwrap_or_default());
    }
    json!({
        "revision": of("/revision"),
        "at": of("/change/at"),
        "by": of("/change/by"),
        "event": of("/change/event"),
        "stage": of("/stage"),
        "comment": comment.trim(),
    })
}

pub(super) fn diff(diff: &Diff, out: Output) -> Result<()> {
    if out.is_json() {
        return out.object(diff);
    }
    out.line(&format!("revision {} → {}", diff.from, diff.to))?;
    if diff.changes.is_empty() {
        return out.line("nothing changed");
    }
    changed(&diff.changes, out)
}

pub(super) fn changed(changes: &[Changed], out: Output) -> Result<()> {
    for Changed { path, change, from, to } in changes {
        out.line(&out.bold(path))?;
        let (old, new) = match change.as_str() {
            "added" => (None, Some(texts::short(to))),
            "removed" => (Some(texts::short(from)), None),
            _ => {
                let (old, new) = texts::differing(from, to);
                (Some(old), Some(new))
            }
        };
        for (style, sign, text) in [(RED, '-', old), (GREEN, '+', new)] {
            if let Some(text) = text {
                out.line(&out.paint(style, &format!("  {sign} {text}")))?;
            }
        }
    }
    Ok(())
}

pub(super) fn changes(changes: &[Change], out: Output) -> Result<()> {
    if out.is_json() {
        return out.rows(changes, &[], "");
    }
    let rows: Vec<Value> = changes.iter().map(change_row).collect();
    let fields = ["number", "at", "event", "card", "revision", "stage", "by"];
    out.rows(&rows, &fields, "no changes")
}

pub(super) fn change_row(change: &Change) -> Value {
    json!({
        "number": change.number,
        "at": change.at,
        "event": change.event,
        "card": change.card.key.reference(),
        "revision": change.card.revision,
        "stage": change.card.stage,
        "by": change.card.saved_by,
    })
}

/// An indented tree, each way from the card.
pub(super) fn lineage(lineage: &Lineage, direction: Direction, out: Output) -> Result<()> {
    if out.is_json() {
        return out.object(lineage);
    }
    let Some(root) = lineage.nodes.first() else {
        return Ok(());
    };
    let root = format!("{}:{}@{}", root.kind, root.name, root.version);
    let tree = Tree { lineage, out };
    out.line(&tree.label(&root))?;
    for (way, title, none) in [
        (Direction::Up, "made from", "nothing that it names"),
        (Direction::Down, "used by", "nothing"),
    ] {
        if direction != way && direction != Direction::Both {
            continue;
        }
        if tree.next(&root, way).is_empty() {
            out.line(&out.paint(GREY, &format!("{title}: {none}")))?;
            continue;
        }
        out.line(&format!("{title}:"))?;
        tree.branches(&root, way, "", &mut HashSet::from([root.clone()]))?;
    }
    if lineage.truncated {
        out.line("there is more than is shown; --depth narrows it")?;
    }
    Ok(())
}

/// What breaks, and what does not, nearest first.
pub(super) fn impact(impact: &Impact, out: Output) -> Result<()> {
    if out.is_json() {
        return out.object(impact);
    }
    out.line(&format!("{} ({})", out.bold(&impact.card.reference()), impact.card.stage))?;
    if impact.directly.is_empty() {
        return out.line("nothing is made from it");
    }
    for (title, affected) in [("directly", &impact.directly), ("indirectly", &impact.indirectly)] {
        if !affected.is_empty() {
            out.line(&format!("{title}:"))?;
        }
        for one in affected {
            let label = format!("{} ({})", out.bold(&one.node.reference()), one.node.stage);
            let fate = match &one.instead {
                Some(instead) if !one.breaks => format!("goes on with {instead}"),
                _ if one.breaks => out.paint(RED, "breaks"),
                _ => "goes on".to_owned(),
            };
            let why = out.paint(GREY, &format!("{} {}", one.field, one.reference));
            out.line(&format!("  {label}  {fate}  {why}"))?;
        }
    }
    if !impact.other_versions.is_empty() {
        let versions: Vec<_> = impact.other_versions.iter().map(Name::as_str).collect();
        out.line(&format!("other versions: {}", versions.join(", ")))?;
    }
    let of = if impact.truncated { "at least " } else { "" };
    out.line(&format!("{of}{} deployed or accepted cards would break", impact.in_use))
}

struct Tree<'a> {
    lineage: &'a Lineage,
    out: Output,
}

impl Tree<'_> {
    fn next(&self, at: &str, way: Direction) -> Vec<(&Edge, &str)> {
        let edges = self.lineage.edges.iter();
        edges
            .filter_map(|edge| match way {
                Direction::Up => (edge.from == at).then_some((edge, edge.to.as_str())),
                _ => (edge.to == at).then_some((edge, edge.from.as_str())),
            })
            .collect()
    }

    /// What lies beyond a card. A card that was shown is not gone into again, so circles end.
    fn branches(
        &self,
        at: &str,
        way: Direction,
        indent: &str,
        seen: &mut HashSet<String>,
    ) -> Result<()> {
        let next = self.next(at, way);
        for (place, (edge, end)) in next.iter().enumerate() {
            let is_last = place + 1 == next.len();
            let (branch, deeper) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let is_new = seen.insert((*end).to_owned());
            let label = if edge.missing {
                self.out.paint(RED, &format!("{end} — missing"))
            } else {
                self.label(end)
            };
            let again = if is_new || edge.missing { "" } else { " (see above)" };
            let field = self.out.paint(GREY, &edge.field);
            self.out.line(&format!("{indent}{branch}{label}  {field}{again}"))?;
            if is_new && !edge.missing {
                self.branches(end, way, &format!("{indent}{deeper}"), seen)?;
            }
        }
        Ok(())
    }

    fn label(&self, reference: &str) -> String {
        let node = self
            .lineage
            .nodes
            .iter()
            .find(|node| format!("{}:{}@{}", node.kind, node.name, node.version) == reference);
        let stage = node.map_or_else(String::new, |node| format!(" ({})", node.stage));
        format!("{}{stage}", self.out.bold(reference))
    }
}
