//! Rows in a MongoDB database, which several daemons may share.
//!
//! A module has two collections: `<module>.rows` with a document for each row, and `<module>.commits`
//! with the numbers of its logs and a mark of each writer. Sets are committed in groups, as in a redb
//! file, each group in one transaction (see `commit`). Reads ask the primary for what a majority has,
//! scans as of one moment.
//!
//! The store is never poisoned: while MongoDB is away, every call says so at once, and when it is
//! back they go on, on the same connections.

mod commit;
mod error;
mod fate;
mod hello;
mod link;
mod plan;
mod rows;
mod server;
mod url;

use std::sync::Arc;
use std::time::Duration;

use super::group::Group;
use super::{ChangeSet, Receipt, Records, Row, Scan};
use crate::kernel::error::Result;
use commit::Writer;
use link::Link;

/// At how many bytes of keys and values a group is full: a transaction may not last long.
const GROUP_BYTES: usize = 4 << 20;
/// How often a read is tried again whose moment the server does not have.
const READS: usize = 3;
const READ_PAUSE: Duration = Duration::from_millis(20);

/// A store in a MongoDB database.
pub struct MongoRecords {
    /// First, for it is dropped first: its thread ends what it writes over the link.
    group: Group,
    link: Link,
}

impl MongoRecords {
    /// Opens the rows of `module` in the database that `url` names, or makes them. It waits for a
    /// server for a few seconds, and refuses one that has no transactions.
    pub fn open(url: &str, module: &str) -> Result<Self> {
        let link = Link::open(url, module)?;
        let place = link.server.place.clone();
        // A refusal is told as one of a start: within an answer that is none.
        let start = |server: Arc<server::Server>| async move {
            Ok(match server.make().await {
                Ok(()) => Writer::new(server).await,
                Err(trouble) => Err(trouble),
            })
        };
        let mut writer = link.run(start)?.map_err(|trouble| link::opening(trouble, &place))?;
        let runtime = link.handle()?.clone();
        let group = Group::start(GROUP_BYTES, move |sets| runtime.block_on(writer.write(sets)))?;
        Ok(Self { group, link })
    }
}

impl Records for MongoRecords {
    fn get(&self, key: &str) -> Result<Option<Row>> {
        let key = key.to_owned();
        self.link.run(|server| async move { server.get(key).await })
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>> {
        let scan = scan.clone();
        self.link.run(|server| async move {
            for _ in 1..READS {
                match server.scan(&scan).await {
                    Err(trouble) if trouble.is_no_snapshot() => {}
                    outcome => return outcome,
                }
                tokio::time::sleep(READ_PAUSE).await;
            }
            server.scan(&scan).await
        })
    }

    fn count(&self, prefix: &str) -> Result<u64> {
        let scan = Scan::prefix(prefix);
        self.link.run(|server| async move { server.count(&scan).await })
    }

    fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        rows::check_sizes(&set)?;
        self.health()?;
        self.group.apply(set)
    }

    fn health(&self) -> Result<()> {
        self.link.server.health()
    }

    fn is_shared(&self) -> bool {
        true
    }
}
