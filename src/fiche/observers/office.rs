//! Where couriers are kept: one for each observer, all on one thread, which is there only while there
//! are observers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};

use super::courier::Courier;
use super::format::{OBSERVERS, ObserverStateV1};
use crate::kernel::clock::Clock;
use crate::kernel::name::new_id;
use crate::kernel::push::{Pusher, Terms};
use crate::kernel::records::{Records, Scan, SharedRecords};
use crate::kernel::work::off_thread;
use crate::kernel::{Error, Result};

/// How the scout is called: no observer has this name.
const SCOUT: &str = "";
/// How long what another daemon saved may go unnoticed.
const LOOK: Duration = Duration::from_secs(5);

/// What couriers stand on.
pub(super) struct Ground {
    pub(super) records: SharedRecords,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pusher: Pusher,
    pub(super) terms: Terms,
    /// What names this daemon to others that share its store; none when it has the store for itself.
    pub(super) holder: Option<String>,
    /// How each courier is called, by the observer's name. Who is not called any more, ends.
    calls: Mutex<HashMap<String, watch::Sender<u64>>>,
    /// How far each courier is, ahead of what is written, by the observer's id.
    live: Mutex<HashMap<String, ObserverStateV1>>,
}

impl Ground {
    /// Tells how far a courier is. Where daemons share a store, another one's may be further: there
    /// what is written counts.
    pub(super) fn show(&self, id: &str, state: &ObserverStateV1) {
        if self.holder.is_some() {
            return;
        }
        lock(&self.live).insert(id.to_owned(), state.clone());
    }

    /// Lets a courier go, unless it was called meanwhile; answers whether it may.
    pub(super) fn dismiss(&self, name: &str, calls: &watch::Receiver<u64>) -> bool {
        let mut all = lock(&self.calls);
        if matches!(calls.has_changed(), Ok(true)) {
            return false;
        }
        all.remove(name);
        true
    }
}

/// How couriers are called and hired.
#[derive(Clone)]
struct Desk {
    ground: Arc<Ground>,
    news: watch::Receiver<Option<u64>>,
    runtime: Handle,
    /// The thread lives as long as someone holds one of these.
    present: mpsc::Sender<()>,
}

/// The desk and its thread.
struct Room {
    desk: Desk,
    thread: JoinHandle<()>,
}

/// The couriers of one fiche.
pub(in crate::fiche) struct Office {
    pub(super) terms: Terms,
    records: SharedRecords,
    clock: Arc<dyn Clock>,
    news: watch::Receiver<Option<u64>>,
    room: Mutex<Option<Room>>,
}

impl Office {
    /// Couriers for all observers that there are.
    pub(in crate::fiche) fn open(
        records: SharedRecords,
        clock: Arc<dyn Clock>,
        news: watch::Receiver<Option<u64>>,
        terms: Terms,
    ) -> Result<Self> {
        let office = Self { terms, records, clock, news, room: Mutex::default() };
        let known = observers(office.records.as_ref())?;
        for name in known.keys() {
            office.call(name)?;
        }
        if office.records.is_shared() {
            office.with_desk(|desk| desk.hire_scout(known))?;
        }
        Ok(office)
    }

    /// Calls the courier of an observer: it looks at what is kept of it. There is one from now on.
    pub(super) fn call(&self, name: &str) -> Result<()> {
        if self.news.borrow().is_none() {
            // It is closed: whoever opens fiche next will look.
            return Ok(());
        }
        self.with_desk(|desk| desk.call(name))
    }

    fn with_desk(&self, work: impl FnOnce(&Desk)) -> Result<()> {
        let mut room = lock(&self.room);
        let room = match &mut *room {
            Some(room) => room,
            none => none.insert(self.furnish()?),
        };
        work(&room.desk);
        Ok(())
    }

    fn furnish(&self) -> Result<Room> {
        let ground = Ground {
            records: self.records.clone(),
            clock: self.clock.clone(),
            pusher: Pusher::new(self.terms)?,
            terms: self.terms,
            holder: self.records.is_shared().then(new_id),
            calls: Mutex::default(),
            live: Mutex::default(),
        };
        let failed = |source| Error::io("start the thread of observers", source);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (present, absent) = mpsc::channel(1);
        let desk = Desk {
            ground: Arc::new(ground),
            news: self.news.clone(),
            runtime: runtime.handle().clone(),
            present,
        };
        let thread = std::thread::Builder::new()
            .name("fiche-observers".into())
            .spawn(move || host(runtime, absent))
            .map_err(failed)?;
        Ok(Room { desk, thread })
    }

    /// How far the courier of an observer is, if it has one.
    pub(super) fn live(&self, id: &str) -> Option<ObserverStateV1> {
        let room = lock(&self.room);
        room.as_ref().and_then(|room| lock(&room.desk.ground.live).get(id).cloned())
    }

    /// Forgets how far the courier of a deleted observer was.
    pub(super) fn forget(&self, id: &str) {
        if let Some(room) = lock(&self.room).as_ref() {
            lock(&room.desk.ground.live).remove(id);
        }
    }

    /// Ends all couriers. What they delivered is on record then, or will be delivered again.
    pub(in crate::fiche) fn close(&self) {
        let Some(Room { desk, thread }) = lock(&self.room).take() else {
            return;
        };
        lock(&desk.ground.calls).clear();
        drop(desk);
        let _panicked = thread.join();
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.close();
    }
}

impl Desk {
    /// Calls the courier of an observer, or hires one.
    fn call(&self, name: &str) {
        let mut calls = lock(&self.ground.calls);
        if let Some(courier) = calls.get(name) {
            courier.send_modify(|calls| *calls += 1);
            return;
        }
        let (sender, receiver) = watch::channel(0);
        calls.insert(name.to_owned(), sender);
        let courier = Courier {
            ground: self.ground.clone(),
            name: name.to_owned(),
            calls: receiver,
            news: self.news.clone(),
        };
        let present = self.present.clone();
        self.runtime.spawn(async move {
            courier.run().await;
            drop(present);
        });
    }

    /// Looks for what other daemons save and delete: nothing else tells of it.
    fn hire_scout(&self, mut known: BTreeMap<String, u64>) {
        let (sender, mut over) = watch::channel(0);
        lock(&self.ground.calls).insert(SCOUT.to_owned(), sender);
        let desk = self.clone();
        self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    _called = over.changed() => return,
                }
                let records = desk.ground.records.clone();
                match off_thread(move || observers(records.as_ref())).await {
                    Ok(found) => {
                        let is_other = |(name, at): &(&String, &u64)| known.get(*name) != Some(*at);
                        let saved = found.iter().filter(is_other).map(|(name, _)| name);
                        let deleted = known.keys().filter(|name| !found.contains_key(*name));
                        saved.chain(deleted).for_each(|name| desk.call(name));
                        known = found;
                    }
                    Err(error) => tracing::debug!(%error, "others' observers cannot be seen"),
                }
            }
        });
    }
}

/// The observers that there are, each with its row's revision.
fn observers(records: &dyn Records) -> Result<BTreeMap<String, u64>> {
    let rows = records.scan(&Scan::prefix(OBSERVERS))?;
    let name = |key: &str| key.trim_start_matches(OBSERVERS).to_owned();
    Ok(rows.iter().map(|row| (name(&row.key), row.revision)).collect())
}

/// Drives the couriers until the last one has left.
fn host(runtime: Runtime, mut absent: mpsc::Receiver<()>) {
    runtime.block_on(async { while absent.recv().await.is_some() {} });
    // A lookup of a name that hangs keeps nobody.
    runtime.shutdown_background();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion or removal: a panic leaves nothing half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
