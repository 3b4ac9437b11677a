//! Looks for what other daemons write, where the cards stand in a store that several share: nothing
//! else tells of it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Inner;
use crate::kernel::feed;
use crate::kernel::{Error, Result};

/// How long another daemon's change may go unnoticed: one small read each time.
const PAUSE: Duration = Duration::from_millis(250);

/// The thread that looks. It ends with the cards, or when it is told to.
#[derive(Default)]
pub(super) struct Lookout {
    stop: Mutex<Option<Sender<()>>>,
}

impl Lookout {
    /// Starts to look; where nobody else writes, there is nothing to see.
    pub(super) fn start(&self, cards: Weak<Inner>) -> Result<()> {
        let (stop, stopped) = channel();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
        std::thread::Builder::new()
            .name("fiche-lookout".into())
            .spawn(move || {
                while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                    let Some(inner) = cards.upgrade() else { return };
                    inner.look();
                }
            })
            .map(drop)
            .map_err(|source| Error::io("start the thread that looks for others' changes", source))
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inner {
    /// Tells of what others wrote.
    fn look(&self) {
        match feed::last_number(self.records.as_ref()) {
            Ok(number) => self.heard(number),
            // The store says itself that it is away; what is missed now is seen next time.
            Err(error) => tracing::debug!(%error, "others' changes cannot be looked for"),
        }
    }
}
