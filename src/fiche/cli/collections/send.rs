//! Cards on their way to the daemon: sent in pieces, or only compared with what is there.

use std::collections::HashMap;

use super::report::Row;
use crate::fiche::cli::bulk::cut_off;
use crate::fiche::client::FicheClient;
use crate::fiche::model::{Card, CardKey, CardKind};
use crate::fiche::old::merge::{Merge, Newest};
use crate::fiche::store::Filter;
use crate::kernel::cli::Output;
use crate::kernel::{Error, Result};

/// How many cards, and how many bytes of them, one call carries.
const PIECE_CARDS: usize = 500;
const PIECE_BYTES: usize = 4 << 20;

/// Saves the cards of a kind; answers those that the daemon refuses, by their ids.
pub(super) async fn send(
    fiche: &FicheClient,
    merge: &Merge,
    kind: CardKind,
    row: &mut Row,
    out: Output,
) -> Result<Vec<(String, Error)>> {
    let total = merge.cards(kind).count();
    let bar = out.counting(row.collection, total as u64);
    let mut refused = Vec::new();
    let mut piece = Piece::default();
    let mut sent = 0;
    for newest in merge.cards(kind) {
        piece.add(newest);
        if piece.is_full() {
            sent += piece.ids.len();
            let of = Progress { sent, total };
            refused.extend(piece.send(fiche, row).await.map_err(|error| of.cut_off(error))?);
            bar.set_position(sent as u64);
            piece = Piece::default();
        }
    }
    let of = Progress { sent, total };
    refused.extend(piece.send(fiche, row).await.map_err(|error| of.cut_off(error))?);
    bar.finish_and_clear();
    Ok(refused)
}

struct Progress {
    sent: usize,
    total: usize,
}

impl Progress {
    fn cut_off(&self, error: Error) -> Error {
        let Self { sent, total } = self;
        error.context(format!(
            "the import was cut off before card {sent} of {total}: run it again, and it goes on"
        ))
    }
}

#[derive(Default)]
struct Piece {
    lines: String,
    ids: Vec<String>,
}

impl Piece {
    fn add(&mut self, newest: &Newest) {
        self.lines.push_str(&newest.draft.document().to_string());
        self.lines.push('\n');
        self.ids.push(newest.id.clone());
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= PIECE_CARDS || self.lines.len() >= PIECE_BYTES
    }

    async fn send(&self, fiche: &FicheClient, row: &mut Row) -> Result<Vec<(String, Error)>> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let done = fiche.import(self.lines.as_bytes()).await?;
        row.count(done.created, done.updated, done.unchanged);
        let refused = done.rejected.into_iter().map(|rejected| {
            let id = self.ids.get(rejected.line.saturating_sub(1)).cloned().unwrap_or_default();
            (id, Error::invalid("bad_card", rejected.reason, rejected.errors))
        });
        Ok(refused.collect())
    }
}

/// Counts what saving the cards of a kind would do.
pub(super) async fn compare(
    fiche: &FicheClient,
    merge: &Merge,
    kind: CardKind,
    row: &mut Row,
) -> Result<()> {
    let mut left: HashMap<&CardKey, &Newest> =
        merge.cards(kind).map(|newest| (newest.draft.key(), newest)).collect();
    let filter = Filter { kinds: vec![kind], ..Filter::default() };
    let mut coming = fiche.export(&filter).await?;
    let mut waiting = Vec::new();
    while let Some(bytes) = coming.chunk().await.map_err(cut_off)? {
        waiting.extend_from_slice(&bytes);
        for line in whole_lines(&mut waiting) {
            let card: Card = serde_json::from_slice(&line).map_err(|source| {
                Error::internal(format!("a card of the daemon's export: {source}"))
            })?;
            match left.remove(&card.key) {
                Some(newest) if newest.draft.differs(&card) => row.count(0, 1, 0),
                Some(_) => row.count(0, 0, 1),
                None => {}
            }
        }
    }
    row.count(left.len(), 0, 0);
    Ok(())
}

/// Takes the whole lines out of what has come so far.
fn whole_lines(waiting: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let Some(end) = waiting.iter().rposition(|byte| *byte == b'\n') else {
        return Vec::new();
    };
    let whole: Vec<u8> = waiting.drain(..=end).collect();
    let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}
