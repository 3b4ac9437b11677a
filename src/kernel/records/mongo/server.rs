//! What a server is asked: rows, counts, and at the start that the collections are there.

use std::future::IntoFuture;
use std::time::Duration;

use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::{Client, Collection, Database};
use tokio::sync::watch;

use super::commit::NUMBERS;
use super::error::{Trouble, is_away, no_primary};
use super::rows;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::records::{Row, Scan};

/// How the collections are laid out; a newer layout is refused.
const LAYOUT: i64 = 1;
/// How many rows come in one batch. A server ends a batch at 16 MiB besides.
const BATCH: u32 = 1000;
/// After how long the mark of a writer that died is swept away.
const MARK_KEPT: Duration = Duration::from_hours(24 * 30);
/// How long one call may take. The driver has no limit of its own for an answer that does not come.
pub(super) const CALL: Duration = Duration::from_secs(10);
/// How often the server is looked at, and how long it may take to answer that.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_TIME: Duration = Duration::from_secs(3);

const EXISTS_ALREADY: i32 = 48;
const DUPLICATE: i32 = 11000;

/// The server as calls see it.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) database: Database,
    /// The rows of this store.
    pub(super) rows: Collection<RawDocumentBuf>,
    /// The numbers that its logs gave out, and the marks of its writers.
    pub(super) commits: Collection<Document>,
    /// The servers, for people.
    pub(super) place: String,
    /// The server's time when it was greeted.
    pub(super) opened: DateTime,
    /// Why it is away; none while it answers.
    pub(super) away: watch::Sender<Option<String>>,
}

impl Server {
    /// Makes the collections, where they are not there, and the document of the numbers.
    pub(super) async fn make(&self) -> Result<(), Trouble> {
        for name in [self.rows.name(), self.commits.name()] {
            let made = self.call(self.database.create_collection(name)).await;
            unless_there(made, EXISTS_ALREADY)?;
        }
        let numbers = doc! { "_id": NUMBERS, "layout": LAYOUT, "commits": 0_i64, "logs": {} };
        let made = self.call(self.commits.insert_one(numbers)).await.map(drop);
        unless_there(made, DUPLICATE)?;
        let found = self.call(self.commits.find_one(doc! { "_id": NUMBERS })).await?;
        let layout = found.and_then(|numbers| numbers.get_i64("layout").ok());
        match layout {
            Some(layout) if layout > LAYOUT => Err(newer(&self.place, layout).into()),
            _ => Ok(()),
        }
    }

    /// Sweeps the marks of writers away that died long ago.
    pub(super) async fn sweep_marks(&self) -> Result<(), Trouble> {
        let kept = i64::try_from(MARK_KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = DateTime::from_millis(self.opened.timestamp_millis().saturating_sub(kept));
        let old = doc! { "_id": { "$gt": "writer/", "$lt": "writer0" }, "at": { "$lt": before } };
        self.call(self.commits.delete_many(old)).await.map(drop)
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Row>, Trouble> {
        let found = self.call(self.rows.find_one(doc! { "_id": key })).await?;
        Ok(found.as_deref().map(rows::row).transpose()?)
    }

    /// All batches as of one moment, which is that of the first.
    pub(super) async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, Trouble> {
        let mut session = self.call(self.client.start_session().snapshot(true)).await?;
        let order = if scan.reverse { -1 } else { 1 };
        let limit = u32::try_from(scan.limit).unwrap_or(u32::MAX);
        // One more than is wanted: then the server knows with the first batch that it is the last.
        let batch = if limit == 0 { BATCH } else { BATCH.min(limit.saturating_add(1)) };
        let find = self
            .rows
            .find(rows::filter(scan))
            .sort(doc! { "_id": order })
            .limit(i64::from(limit))
            .batch_size(batch)
            .session(&mut session)
            .into_future();
        let mut cursor = self.call(find).await?;
        let mut found = Vec::new();
        while self.call(cursor.advance(&mut session)).await? {
            found.push(rows::row(cursor.current())?);
        }
        Ok(found)
    }

    pub(super) async fn count(&self, scan: &Scan) -> Result<u64, Trouble> {
        self.call(self.rows.count_documents(rows::filter(scan))).await
    }

    /// How many groups were committed, by all writers; none when that cannot be told.
    pub(super) async fn count_commits(&self) -> Option<i64> {
        let found = self.call(self.commits.find_one(doc! { "_id": NUMBERS })).await;
        found.ok()??.get_i64("commits").ok()
    }

    /// One call, with a limit in time; it is given up when the server is found to be away.
    pub(super) async fn call<T>(
        &self,
        call: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Trouble> {
        let mut news = self.away.subscribe();
        let away = async {
            // The sender lives in `self`, so this cannot end for want of one.
            let why = news.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            why.unwrap_or_default()
        };
        let outcome = tokio::select! {
            biased;
            outcome = within(CALL, call) => outcome,
            why = away => return Err(Trouble::Away(why)),
        };
        if let Err(trouble) = &outcome
            && trouble.is_no_primary()
        {
            // The driver has looked for a while: others need not. The next look that finds one says so.
            self.note(Some(no_primary(&self.place)));
        }
        outcome
    }

    /// Whether the server answers, as far as is known, and why not. Never waits.
    pub(super) fn health(&self) -> Result<()> {
        self.away.borrow().as_ref().map_or(Ok(()), |why| Err(is_away(why.clone())))
    }

    /// Looks at the server every second, for as long as its runtime lives.
    pub(super) async fn watch(&self) {
        loop {
            let ping = within(LOOK_TIME, self.database.run_command(doc! { "ping": 1 })).await;
            self.note(ping.err().map(|trouble| trouble.tell(&self.place).detail().to_owned()));
            tokio::time::sleep(LOOK).await;
        }
    }

    fn note(&self, why: Option<String>) {
        let was_away = self.away.borrow().is_some();
        match (was_away, &why) {
            (false, Some(why)) => tracing::warn!(%why, "the record store is away"),
            (true, None) => tracing::info!(place = %self.place, "the record store is back"),
            _ => {}
        }
        self.away.send_replace(why);
    }
}

/// One call, with a limit in time.
pub(super) async fn within<T>(
    time: Duration,
    call: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(time, call.into_future()).await {
        Ok(outcome) => outcome.map_err(Trouble::from),
        Err(_elapsed) => Err(Trouble::Late(time)),
    }
}

/// What is there already need not be made; two daemons may start at once.
fn unless_there(made: Result<(), Trouble>, there: i32) -> Result<(), Trouble> {
    match made {
        Err(trouble) if trouble.code() == Some(there) => Ok(()),
        other => other,
    }
}

fn newer(place: &str, layout: i64) -> Error {
    let detail = format!(
        "the rows at {place} are laid out in version {layout}, which this build cannot read"
    );
    Error::new(Kind::Newer, "store_format", detail)
}
