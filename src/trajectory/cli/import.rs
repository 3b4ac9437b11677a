//! `dripctl trajectory import mongodb://…`: the logs that Drip 0.1's handler wrote, and those that a
//! stream of ours was forwarded to. Records that an import before took in are not taken in again, so
//! one that was cut off is simply run again.

#[cfg(feature = "mongo")]
mod old;
#[cfg(feature = "mongo")]
mod source;

use clap::Args;

use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::error::Result;

/// What to take in.
#[derive(Debug, Args)]
pub struct Import {
    /// mongodb://user@host/database; a password that it leaves out is asked for
    #[arg(value_name = "URL")]
    source: String,
    /// The collections; without it, all whose documents are lines of a log
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// The stream that records go to; without it, theirs, else one named like the collection
    #[arg(long)]
    stream: Option<String>,
    /// The zone of the times, which 0.1 wrote without one, such as Asia/Shanghai; this machine's unless told
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Only say what would be taken in
    #[arg(long)]
    dry_run: bool,
}

#[cfg(feature = "mongo")]
pub(super) async fn import(asked: Import, client: &Client, output: Output) -> Result<()> {
    source::import(asked, client, output).await
}

#[cfg(not(feature = "mongo"))]
#[expect(clippy::unused_async, reason = "the whole build waits for the server here")]
pub(super) async fn import(asked: Import, _client: &Client, _output: Output) -> Result<()> {
    let Import { source: _, collections: _, stream: _, timezone: _, dry_run: _ } = asked;
    let instead = "send what `mongoexport` writes with `dripctl trajectory push`";
    Err(crate::kernel::mongo::not_built(instead))
}
