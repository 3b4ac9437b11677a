//! Sets that wait are taken together: many callers, one commit, an answer for each.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::{ChangeSet, Receipt};
use crate::kernel::error::{Error, Kind, Result};

/// How many sets one commit takes at most: enough to amortise it, few enough to answer soon.
const GROUP_MAX: usize = 1024;
/// How many sets may wait. Beyond it a caller waits in line, which is the backpressure.
const QUEUE_MAX: usize = 4096;

/// The queue of a store, and the one thread that commits what waits. Dropping it ends the thread once
/// it has answered whoever waits.
pub(super) struct Group {
    queue: Option<SyncSender<Waiting>>,
    writer: Option<JoinHandle<()>>,
}

struct Waiting {
    set: ChangeSet,
    answer: SyncSender<Result<Receipt>>,
}

impl Group {
    /// Starts the thread. `commit` makes a group durable and answers for each of its sets, in order;
    /// a group is full at some `bytes` of keys and values.
    pub(super) fn start(
        bytes: usize,
        commit: impl FnMut(&[ChangeSet]) -> Vec<Result<Receipt>> + Send + 'static,
    ) -> Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || write_groups(&waiting, bytes, commit))
            .map_err(|source| Error::io("start the writer thread", source))?;
        Ok(Self { queue: Some(queue), writer: Some(writer) })
    }

    /// Waits in line, then for the commit; answers what it answered.
    pub(super) fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        let (answer, receipt) = sync_channel(1);
        let queue = self.queue.as_ref().ok_or_else(|| door_is_closed("it was shut"))?;
        match queue.try_send(Waiting { set, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(waiting)) => {
                queue.send(waiting).map_err(|_gone| door_is_closed("its writer is gone"))?;
            }
            Err(TrySendError::Disconnected(_)) => return Err(door_is_closed("its writer is gone")),
        }
        receipt.recv().map_err(|_gone| door_is_closed("its writer is gone"))?
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

/// The writer thread: as long as someone may write.
fn write_groups(
    waiting: &Receiver<Waiting>,
    bytes: usize,
    mut commit: impl FnMut(&[ChangeSet]) -> Vec<Result<Receipt>>,
) {
    while let Ok(first) = waiting.recv() {
        let mut size = first.set.bytes();
        let (mut sets, mut callers) = (vec![first.set], vec![first.answer]);
        while sets.len() < GROUP_MAX && size < bytes {
            let Ok(next) = waiting.try_recv() else { break };
            size = size.saturating_add(next.set.bytes());
            sets.push(next.set);
            callers.push(next.answer);
        }
        let mut answers = commit(&sets).into_iter();
        for caller in callers {
            let missing = || Err(Error::internal("an answer is missing"));
            // A caller that is gone needs no answer; its set is written all the same.
            let _gone = caller.send(answers.next().unwrap_or_else(missing));
        }
    }
}

/// What a store says that has given up.
pub(super) fn door_is_closed(why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "store_closed",
        format!("the store accepts no more writes until it is opened again: {why}"),
    )
}
