//! `dripctl fiche import` of what Drip 0.1 kept in MongoDB: from the server itself, from a folder
//! that `mongodump` made, or from files of `mongoexport`.
//!
//! Everything is read before anything is saved, because only the whole of a collection says which
//! document of a card is the newest. Taking the same in again changes nothing, so an import that
//! was cut off is simply run again.

mod files;
mod report;
mod send;
#[cfg(feature = "mongo")]
mod server;

use std::path::Path;

use report::Report;

use crate::fiche::client::FicheClient;
use crate::fiche::old::merge::{Collection, Merge};
use crate::kernel::Result;
use crate::kernel::cli::Output;
use crate::kernel::mongo;

/// Whether a source is one of these, and not a file of cards.
pub(super) fn is_meant(source: &str) -> bool {
    mongo::is_url(source) || files::is_meant(Path::new(source))
}

pub(super) async fn import(
    fiche: &FicheClient,
    source: &str,
    dry_run: bool,
    out: Output,
) -> Result<()> {
    let mut merge = Merge::default();
    let from = if mongo::is_url(source) {
        read_server(source, &mut merge, out).await?
    } else {
        files::read(Path::new(source), &mut merge, out)?
    };
    let mut report = Report::new(from, dry_run);
    for collection in Collection::ALL {
        let Some(tally) = merge.tallies().get(&collection).copied() else {
            continue;
        };
        let mut row = report::Row::new(collection, tally);
        match collection.kind {
            Some(kind) if dry_run => send::compare(fiche, &merge, kind, &mut row).await?,
            Some(kind) => {
                for (id, refused) in send::send(fiche, &merge, kind, &mut row, out).await? {
                    row.rejected += 1;
                    merge.reject(collection, id, &refused);
                }
            }
            None => row.left = merge.observers(),
        }
        report.collections.push(row);
    }
    report.rejected = merge.rejected().to_vec();
    report.show(out)?;
    report.outcome()
}

#[cfg(feature = "mongo")]
async fn read_server(url: &str, merge: &mut Merge, out: Output) -> Result<String> {
    server::read(url, merge, out).await
}

#[cfg(not(feature = "mongo"))]
#[expect(clippy::unused_async, reason = "the whole build waits for the server here")]
async fn read_server(_url: &str, _merge: &mut Merge, _out: Output) -> Result<String> {
    Err(mongo::not_built(INSTEAD))
}

/// What a build without MongoDB advises.
#[cfg(not(feature = "mongo"))]
const INSTEAD: &str = "import files of `mongoexport` instead";
