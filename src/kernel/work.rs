//! Work in the background: a [`Shutdown`] that everyone can wait for, workers that run until then
//! and remember how they fared, and the one door from async to sync.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::error::{Error, Result};

/// Runs sync work off the async threads: the one door between the two.
///
/// # Errors
/// What the work answers; [`Kind::Internal`](super::Kind::Internal) when it panicked.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(outcome) => outcome,
        Err(failed) => Err(Error::internal(format!("a piece of work panicked: {failed}"))),
    }
}

/// Waits for a future on a thread that may block: one of the runtime's blocking threads, or a
/// thread that knows no runtime at all.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.block_on(future),
        Err(_none) => futures::executor::block_on(future),
    }
}

/// Tells everyone that it is over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    over: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { over: Arc::new(watch::channel(false).0) }
    }
}

impl Shutdown {
    /// Nothing is over yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// It is over now.
    pub fn begin(&self) {
        self.over.send_replace(true);
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until it is over.
    pub async fn wait(&self) {
        let mut over = self.over.subscribe();
        // The sender lives in `self`, so this cannot end for want of one.
        let _closed = over.wait_for(|over| *over).await;
    }

    /// Waits for `time`, or until it is over; answers whether it is over.
    pub async fn sleep(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.wait()).await.is_ok()
    }
}

/// How a worker fares.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// How often it did a unit of work.
    pub done: u64,
    /// How often a unit failed.
    pub failed: u64,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// The workers of a daemon. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    status: Arc<Mutex<BTreeMap<&'static str, Status>>>,
    shutdown: Shutdown,
}

impl Workers {
    /// Workers that end when `shutdown` begins.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { status: Arc::default(), shutdown }
    }

    /// Runs `unit` every `pause`, off the async threads, until the end. A unit answers whether more
    /// waits, and is then called again at once. A failing unit is reported and tried again later.
    pub fn every(
        &self,
        name: &'static str,
        pause: Duration,
        unit: impl Fn() -> Result<bool> + Send + Sync + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let (workers, unit) = (self.clone(), Arc::new(unit));
        tokio::spawn(async move {
            while !workers.shutdown.is_over() {
                let work = unit.clone();
                let outcome = off_thread(move || work()).await;
                let more = matches!(outcome, Ok(true));
                workers.note(name, outcome.err());
                if !more && workers.shutdown.sleep(pause).await {
                    break;
                }
            }
        })
    }

    fn note(&self, name: &'static str, error: Option<Error>) {
        let mut all = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let status = all.entry(name).or_default();
        status.done += 1;
        if let Some(error) = error {
            status.failed += 1;
            tracing::warn!(worker = name, %error, "a unit of work failed");
            status.last_error = Some(error.to_string());
        }
    }

    /// How every worker fares.
    pub fn status(&self) -> BTreeMap<&'static str, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The end that these workers wait for.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }
}

/// Runs sync work that cannot fail off the async threads, or here where there is no runtime.
pub async fn off_thread_or_here<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => off_thread(move || Ok(work())).await,
        Err(_none) => Ok(work()),
    }
}
