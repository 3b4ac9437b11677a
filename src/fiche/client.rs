//! Fiche over the wire: typed calls on a daemon.

mod observers;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use serde::Deserialize;
use serde_json::{Value, json};

use super::diff::Diff;
use super::draft::CardDraft;
use super::impact::Impact;
use super::lineage::{Direction, Lineage};
use super::model::{Card, CardKey, Conditions, Outcome, Saved, Stage};
use super::search::{Found, Search};
use super::store::Filter;
use super::upstream::{ConflictFilter, Keep, Standing};
use super::{Change, Imported};
use crate::kernel::client::{Client, segment};
use crate::kernel::{Kind, Result};

/// The most bytes that one call of an import carries.
const IMPORT_PIECE: usize = 8 << 20;

/// The cards of a daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FicheClient {
    client: Client,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

impl FicheClient {
    /// The cards behind `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Saves a card. Whether the content was as it is already cannot be told from afar: it counts as
    /// updated.
    pub async fn save(&self, draft: &CardDraft, conditions: Conditions) -> Result<Saved> {
        let mut request =
            self.client.request(Method::PUT, &path(draft.key(), "")).json(&draft.document());
        if let Some(revision) = conditions.revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        if conditions.create_only {
            request = request.header(IF_NONE_MATCH, "*");
        }
        let response = self.client.send(request).await?;
        let outcome =
            if response.status().as_u16() == 201 { Outcome::Created } else { Outcome::Updated };
        let card = response.json().await.map_err(bad_answer)?;
        Ok(Saved { card, outcome })
    }

    /// A card; `latest` may stand for its version.
    pub async fn get(&self, key: &CardKey, revision: Option<u64>) -> Result<Card> {
        let query = revision.map_or_else(String::new, |number| format!("?revision={number}"));
        self.client.get(&path(key, &query)).await
    }

    /// A card, if it is there.
    pub async fn find(&self, key: &CardKey) -> Result<Option<Card>> {
        match self.get(key, None).await {
            Ok(card) => Ok(Some(card)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every card that a filter holds; the filter must name one kind.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Value>> {
        let kind = filter.kinds.first().map_or("", |kind| kind.as_str());
        let query = query_of(&pairs_of(&Filter { kinds: Vec::new(), ..filter.clone() }));
        self.client.all(&format!("/api/v1/cards/{kind}{query}")).await
    }

    /// What is found. Only the first page: `search.limit` sets how long it is.
    pub async fn search(&self, search: &Search) -> Result<Found> {
        let mut pairs = pairs_of(&search.filter);
        pairs.push(("q", search.q.clone()));
        pairs.push(("sort", search.sort.as_str().to_owned()));
        pairs.push(("limit", search.limit.to_string()));
        self.client.get(&format!("/api/v1/cards{}", query_of(&pairs))).await
    }

    /// Every revision, oldest first.
    pub async fn history(&self, key: &CardKey) -> Result<Vec<Value>> {
        self.client.all(&path(key, "/history")).await
    }

    /// What changed between two revisions.
    pub async fn diff(&self, key: &CardKey, from: Option<u64>, to: Option<u64>) -> Result<Diff> {
        let text = |name, number: Option<u64>| number.map(|number| (name, number.to_string()));
        let pairs: Vec<_> = [text("from", from), text("to", to)].into_iter().flatten().collect();
        self.client.get(&path(key, &format!("/diff{}", query_of(&pairs)))).await
    }

    /// What a card is made from, and what is made from it.
    pub async fn lineage(
        &self,
        key: &CardKey,
        direction: Direction,
        depth: Option<usize>,
    ) -> Result<Lineage> {
        let mut pairs = vec![("direction", direction.as_str().to_owned())];
        pairs.extend(depth.map(|depth| ("depth", depth.to_string())));
        self.client.get(&path(key, &format!("/lineage{}", query_of(&pairs)))).await
    }

    /// What breaks if a card is retired or deleted.
    pub async fn impact(&self, key: &CardKey) -> Result<Impact> {
        self.client.get(&path(key, "/impact")).await
    }

    /// Moves a card to another stage.
    pub async fn stage(&self, key: &CardKey, to: Stage, comment: &str) -> Result<Card> {
        let body = json!({"stage": to, "comment": comment});
        self.client.post(&path(key, "/stage"), &body).await
    }

    /// Deletes a card.
    pub async fn delete(&self, key: &CardKey) -> Result<()> {
        self.client.delete(&path(key, "")).await
    }

    /// Saves many cards, all or none: the answer of the call.
    pub async fn batch(&self, drafts: &[CardDraft]) -> Result<Value> {
        let cards: Vec<Value> = drafts.iter().map(CardDraft::document).collect();
        self.client.post("/api/v1/cards:batch", &cards).await
    }

    /// Up to `limit` changes after number `after`.
    pub async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Change>> {
        let path = format!("/api/v1/changes?after={after}&limit={limit}");
        Ok(self.client.get::<Page<Change>>(&path).await?.items)
    }

    /// The changes after number `after` as they come, as server-sent events.
    pub async fn follow(&self, after: Option<u64>) -> Result<reqwest::Response> {
        let query = after.map_or_else(String::new, |number| format!("?after={number}"));
        let path = format!("/api/v1/changes/stream{query}");
        self.client.send(self.client.request(Method::GET, &path)).await
    }

    /// Every card that a filter holds, as NDJSON that is still coming.
    pub async fn export(&self, filter: &Filter) -> Result<reqwest::Response> {
        let path = format!("/api/v1/cards:export{}", query_of(&pairs_of(filter)));
        self.client.send(self.client.request(Method::GET, &path)).await
    }

    /// How pushing to the upstream fares.
    pub async fn upstream(&self) -> Result<Standing> {
        self.client.get("/api/v1/upstream").await
    }

    /// Every conflict that a filter holds.
    pub async fn conflicts(&self, filter: &ConflictFilter) -> Result<Vec<Value>> {
        let mut pairs = Vec::new();
        pairs.extend(filter.node.clone().map(|node| ("node", node)));
        pairs.extend(filter.kind.map(|kind| ("kind", kind.to_string())));
        pairs.extend(filter.name.clone().map(|name| ("name", name)));
        pairs.extend(filter.brief.then(|| ("brief", "true".to_owned())));
        self.client.all(&format!("/api/v1/cards:conflicts{}", query_of(&pairs))).await
    }

    /// Ends a conflict.
    pub async fn resolve(
        &self,
        key: &CardKey,
        node: &str,
        keep: Keep,
        number: Option<u64>,
    ) -> Result<Value> {
        let body = json!({
            "kind": key.kind, "name": key.name, "version": key.version,
            "node": node, "keep": keep, "number": number,
        });
        self.client.post("/api/v1/cards:resolve", &body).await
    }

    /// Takes in NDJSON, in pieces that end with a line. Line numbers are those of the whole.
    pub async fn import(&self, ndjson: &[u8]) -> Result<Imported> {
        let mut sum = Imported::default();
        let mut line = 0;
        for piece in pieces(ndjson) {
            let request = self
                .client
                .request(Method::POST, "/api/v1/cards:import")
                .header(CONTENT_TYPE, "application/x-ndjson")
                .body(piece.to_vec());
            let mut done: Imported = self.client.json(request).await?;
            done.rejected.iter_mut().for_each(|rejected| rejected.line += line);
            line += lines_of(piece);
            sum.add(done);
        }
        Ok(sum)
    }
}

fn bad_answer(source: reqwest::Error) -> crate::kernel::Error {
    crate::kernel::Error::new(
        Kind::Internal,
        "bad_answer",
        format!("the daemon's answer: {source}"),
    )
}

fn path(key: &CardKey, rest: &str) -> String {
    let (name, version) = (segment(key.name.as_str()), segment(key.version.as_str()));
    format!("/api/v1/cards/{}/{name}/{version}{rest}", key.kind)
}

fn pairs_of(filter: &Filter) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    pairs.extend(filter.kinds.iter().map(|kind| ("kind", kind.to_string())));
    pairs.extend(filter.name.clone().map(|name| ("name", name)));
    pairs.extend(filter.stages.iter().map(|stage| ("stage", stage.to_string())));
    pairs.extend(filter.labels.iter().map(|label| ("label", label.clone())));
    for (name, time) in [
        ("updated_after", filter.updated.from),
        ("updated_before", filter.updated.until),
        ("created_after", filter.created.from),
        ("created_before", filter.created.until),
    ] {
        pairs.extend(time.map(|time| (name, time.to_string())));
    }
    pairs
}

fn query_of(pairs: &[(&str, String)]) -> String {
    let texts: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if texts.is_empty() { String::new() } else { format!("?{}", texts.join("&")) }
}

/// How many lines end in these bytes.
pub(super) fn lines_of(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// Pieces of whole lines, none longer than a call carries unless one line alone is.
fn pieces(ndjson: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = ndjson;
    while rest.len() > IMPORT_PIECE {
        let within = rest.get(..IMPORT_PIECE).unwrap_or_default();
        let end = within
            .iter()
            .rposition(|byte| *byte == b'\n')
            .or_else(|| rest.iter().position(|byte| *byte == b'\n'));
        let Some((piece, left)) = end.and_then(|end| rest.split_at_checked(end + 1)) else {
            break;
        };
        pieces.push(piece);
        rest = left;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_cut_at_the_ends_of_lines() {
        let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
        let all = line.repeat(20);
        let pieces = pieces(&all);
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") && piece.len() <= IMPORT_PIECE));
        assert_eq!(pieces.concat(), all);
        let one = vec![b'x'; IMPORT_PIECE * 2];
        assert_eq!(super::pieces(&one), [one.as_slice()]);
    }
}
