//! What runs beside the requests.

use std::time::Duration;

use super::App;
use crate::kernel::config::Settings;
use crate::kernel::error::Result;
use crate::kernel::feed;

/// How long the workers rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    #[cfg(feature = "cask")]
    cask: crate::cask::Config,
    grace: Duration,
}

impl Pauses {
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "cask")]
            cask: crate::cask::Config::read(settings)?,
            grace: settings.duration("server.shutdown_grace")?,
        })
    }
}

const HOUR: Duration = Duration::from_hours(1);
#[cfg(feature = "trajectory")]
const MINUTE: Duration = Duration::from_mins(1);

impl App {
    /// Starts what runs beside the requests.
    pub fn start_workers(&self) {
        let access = self.access.clone();
        self.workers.every("access.forget", HOUR, move || access.forget_old().map(|_| false));
        let (stores, clock) = (self.stores(), self.clock.clone());
        self.workers.every("idempotency.forget", HOUR, move || {
            for (_, records) in &stores {
                feed::forget_old(records.as_ref(), clock.now())?;
            }
            Ok(false)
        });
        self.start_cards();
        #[cfg(all(feature = "fiche", feature = "client"))]
        self.start_pushing();
        self.start_care();
        #[cfg(feature = "liquid")]
        self.start_schedules();
    }

    /// Cards of packages and datasets whose own commit a crash cut off from their card's.
    fn start_cards(&self) {
        #[cfg(all(feature = "fiche", feature = "cask"))]
        if let (Some(fiche), Some(cask)) = (&self.fiche, &self.cask) {
            let (cards, records) = (super::wiring::Cards(fiche.clone()), cask.records().clone());
            self.workers.every("cask.cards", Duration::from_secs(10), move || {
                feed::follow(records.as_ref(), "cards", |event| cards.of_package(event))
                    .map(|_| false)
            });
        }
        #[cfg(all(feature = "fiche", feature = "atom"))]
        if let (Some(fiche), Some(atom)) = (&self.fiche, &self.atom) {
            let (cards, atom) = (super::wiring::Cards(fiche.clone()), atom.clone());
            self.workers.every("atom.cards", Duration::from_secs(10), move || {
                let card = |event: &_| cards.of_dataset(&atom, event);
                feed::follow(atom.records().as_ref(), "cards", card).map(|_| false)
            });
        }
    }

    /// Cards that are pushed to another Drip, whenever there is a network.
    #[cfg(all(feature = "fiche", feature = "client"))]
    fn start_pushing(&self) {
        match self.fiche.as_ref().map(crate::fiche::upstream::Pusher::new) {
            Some(Ok(Some(pusher))) => {
                tokio::spawn(pusher.run(self.workers.shutdown().clone()));
            }
            Some(Err(error)) => tracing::error!(%error, "cards are not pushed to the upstream"),
            Some(Ok(None)) | None => {}
        }
    }

    /// What keeps the stores tidy.
    fn start_care(&self) {
        #[cfg(feature = "cask")]
        if let Some(cask) = self.cask.clone() {
            let crate::cask::Config { tidy_every, grace } = self.settings.cask;
            self.workers.every("cask.tidy", tidy_every, move || cask.tidy(grace).map(|_| false));
        }
        #[cfg(feature = "trajectory")]
        if let Some(log) = self.trajectory.clone() {
            #[cfg(feature = "mongo")]
            self.start_forwarding(&log);
            self.workers.every("trajectory.tidy", MINUTE, move || log.tidy().map(|_| false));
        }
        #[cfg(feature = "atom")]
        if let Some(atom) = self.atom.clone() {
            self.workers.every("atom.sweep", HOUR, move || atom.sweep(HOUR).map(|_| false));
        }
    }

    /// Streams that go on to a MongoDB.
    #[cfg(all(feature = "trajectory", feature = "mongo"))]
    fn start_forwarding(&self, log: &crate::trajectory::Trajectory) {
        use crate::trajectory::Forwarder;
        if let Some(forwarder) = Forwarder::new(log, self.workers.shutdown().clone()) {
            let pause = Duration::from_millis(250);
            self.workers.every("trajectory.forward", pause, move || forwarder.round());
        }
    }

    /// Schedules fire on the second; an idle one costs a look at the earliest of them.
    #[cfg(feature = "liquid")]
    fn start_schedules(&self) {
        let Some(liquid) = self.liquid.clone() else {
            return;
        };
        let tidied = liquid.clone();
        self.workers.every("liquid.tidy", HOUR, move || tidied.tidy().map(|_| false));
        let clock = self.clock.clone();
        self.workers.every("liquid.tick", Duration::from_millis(250), move || {
            liquid.tick(clock.now()).map(|_| false)
        });
    }

    /// Ends what runs beside the requests: runs are stopped, waiting writes are made.
    pub async fn close(self) {
        self.workers.shutdown().begin();
        #[cfg(feature = "liquid")]
        if let Some(liquid) = self.liquid.clone() {
            let grace = self.settings.grace;
            let ended = crate::kernel::off_thread(move || Ok(liquid.close(grace))).await;
            if !matches!(ended, Ok(true)) {
                tracing::warn!("runs were still going on after the grace period");
            }
        }
        #[cfg(feature = "fiche")]
        if let Some(fiche) = &self.fiche {
            fiche.close();
        }
    }
}
