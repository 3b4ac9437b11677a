//! A store of chunks that several programs write to and sweep.
//!
//! Inside one program whoever wants a chunk holds it against the sweeper. Between programs a mark in
//! the records that they share does the same: a chunk that nothing names is marked as doomed, and goes
//! only when it has been so for the whole grace period. Whoever wants the same chunk meanwhile takes
//! the mark away first; both sides change it by its revision, so one of them wins. Once it is marked
//! as going, nobody relies on it until it is gone.

use std::time::Duration;

use super::{Blobs, Hold};
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::Digest;
use crate::kernel::off_thread_or_here;

/// How long is waited for a chunk that is going, and how often it is looked at.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(50));

/// The marks of doomed chunks, in records that all programs share.
pub trait Marks: Send + Sync + 'static {
    /// Takes a mark away because the chunk is wanted; no when it is going already.
    fn spare(&self, chunk: Digest) -> Result<bool>;
    /// Marks a chunk that nothing names; yes when it has been marked for `grace` and may go now.
    fn doom(&self, chunk: Digest, now: Time, grace: Duration) -> Result<bool>;
    /// The chunk is gone, or stays after all.
    fn settle(&self, chunk: Digest) -> Result<()>;
}

impl Blobs {
    /// The same blobs, in a store that other programs write to and sweep as well.
    pub fn shared_by(self, marks: std::sync::Arc<dyn Marks>) -> Self {
        Self { marks: Some(marks), ..self }
    }

    /// Waits until a held chunk may be relied on.
    pub(super) async fn rely_on(&self, hold: &Hold) -> Result<()> {
        let Some(marks) = &self.marks else {
            return Ok(());
        };
        let (patience, pause) = PATIENCE;
        let mut waited = Duration::ZERO;
        while waited < patience {
            let (marks, chunk) = (marks.clone(), hold.digest);
            if off_thread_or_here(move || marks.spare(chunk)).await?? {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
        Err(Error::new(
            Kind::Unavailable,
            "chunk_going",
            "the same bytes are being removed from the store at this moment: try again",
        )
        .retry_after(Duration::from_secs(5)))
    }

    /// Takes the marks of some chunks away, because they are being read, and of all that are held
    /// here. To be called often within a grace period, for a thread that may block.
    pub fn spare(&self, read: &[Digest]) -> Result<()> {
        let Some(marks) = &self.marks else {
            return Ok(());
        };
        let held: Vec<Digest> = self.lock().keys().copied().collect();
        for chunk in held.iter().chain(read) {
            marks.spare(*chunk)?;
        }
        Ok(())
    }
}
