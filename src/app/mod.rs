//! The composition root: opens the stores, builds the handles, and plugs them together. The only
//! code that lets one slice reach another, in `wiring.rs`.

#![cfg_attr(
    not(all(
        feature = "fiche",
        feature = "cask",
        feature = "trajectory",
        feature = "liquid",
        feature = "atom",
        feature = "dashare"
    )),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        clippy::unused_self,
        clippy::unused_async,
        clippy::unnecessary_wraps,
        reason = "a build with fewer slices plugs fewer ports; the whole build has no such leave"
    )
)]

use std::sync::Arc;

use serde_json::{Map, Value};

mod settings;
mod wiring;
mod work;

pub use settings::{data_flag, schema};

use crate::kernel::Bus;
use crate::kernel::access::{self, Access};
use crate::kernel::clock::Clock;
use crate::kernel::config::Settings;
use crate::kernel::disk::DataFolder;
use crate::kernel::error::Result;
use crate::kernel::http::Routes;
use crate::kernel::records::{self, SharedRecords};
use crate::kernel::work::{Shutdown, Workers};

/// Asks one store whether it is open.
pub type Check = Arc<dyn Fn() -> Result<()> + Send + Sync>;
/// Counts what there is, by module.
pub type Counts = Arc<dyn Fn() -> Result<Value> + Send + Sync>;

/// Opens the accounts of a data folder.
pub fn open_access(
    settings: &Settings,
    folder: &DataFolder,
    clock: Arc<dyn Clock>,
) -> Result<Access> {
    Access::open(records_of(folder, "access")?, clock, access::Config::read(settings)?)
}

/// The record store of one module, in the module's own folder.
fn records_of(folder: &DataFolder, module: &str) -> Result<SharedRecords> {
    records::open(&folder.store(module)?.display().to_string())
}

/// Everything that is open. A module that `modules.enabled` does not name is not.
pub struct App {
    /// The folder that all is kept in, held against other daemons.
    pub folder: DataFolder,
    /// Who is who.
    pub access: Access,
    /// The modules that are open, by name.
    pub modules: Vec<String>,
    /// What happens in the background.
    pub workers: Workers,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Cards.
    #[cfg(feature = "fiche")]
    pub fiche: Option<crate::fiche::Fiche>,
    /// Artifacts and packages.
    #[cfg(feature = "cask")]
    pub cask: Option<crate::cask::Cask>,
    /// Logs.
    #[cfg(feature = "trajectory")]
    pub trajectory: Option<crate::trajectory::Trajectory>,
    /// Datasets and operators.
    #[cfg(feature = "atom")]
    pub atom: Option<crate::atom::Atom>,
    /// Data channels.
    #[cfg(feature = "dashare")]
    pub dashare: Option<crate::dashare::Dashare>,
    /// Pipelines.
    #[cfg(feature = "liquid")]
    pub liquid: Option<crate::liquid::Liquid>,
    settings: work::Pauses,
}

impl App {
    /// Opens every enabled module in `folder`.
    pub fn open(
        settings: &Settings,
        folder: DataFolder,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Result<Self> {
        let access = open_access(settings, &folder, clock.clone())?;
        let opening = wiring::Opening {
            settings,
            folder: &folder,
            clock: clock.clone(),
            bus: Bus::new(),
            access: access.clone(),
            modules: settings::enabled(settings)?,
        };
        let opened = opening.open()?;
        folder.note_stores(std::iter::once("access").chain(opening.modules.iter().copied()))?;
        Ok(Self {
            access,
            modules: opening.modules.iter().map(ToString::to_string).collect(),
            workers: Workers::new(shutdown),
            clock,
            #[cfg(feature = "fiche")]
            fiche: opened.fiche,
            #[cfg(feature = "cask")]
            cask: opened.cask,
            #[cfg(feature = "trajectory")]
            trajectory: opened.trajectory,
            #[cfg(feature = "atom")]
            atom: opened.atom,
            #[cfg(feature = "dashare")]
            dashare: opened.dashare,
            #[cfg(feature = "liquid")]
            liquid: opened.liquid,
            settings: work::Pauses::read(settings)?,
            folder,
        })
    }

    /// The record stores that are open, by module.
    pub fn stores(&self) -> Vec<(&'static str, SharedRecords)> {
        let mut stores = vec![("access", self.access.records().clone())];
        #[cfg(feature = "fiche")]
        stores.extend(self.fiche.iter().map(|fiche| ("fiche", fiche.records().clone())));
        #[cfg(feature = "cask")]
        stores.extend(self.cask.iter().map(|cask| ("cask", cask.records().clone())));
        #[cfg(feature = "trajectory")]
        stores.extend(self.trajectory.iter().map(|log| ("trajectory", log.records().clone())));
        #[cfg(feature = "atom")]
        stores.extend(self.atom.iter().map(|atom| ("atom", atom.records().clone())));
        #[cfg(feature = "dashare")]
        stores.extend(self.dashare.iter().map(|share| ("dashare", share.records().clone())));
        #[cfg(feature = "liquid")]
        stores.extend(self.liquid.iter().map(|liquid| ("liquid", liquid.records().clone())));
        stores
    }

    /// Every route of every enabled module.
    pub fn routes(&self) -> Routes {
        let mut all = vec![access::http::routes(self.access.clone(), self.stores())];
        #[cfg(feature = "fiche")]
        all.extend(self.fiche.clone().map(crate::fiche::http::routes));
        #[cfg(feature = "cask")]
        all.extend(self.cask.clone().map(crate::cask::http::routes));
        #[cfg(feature = "trajectory")]
        all.extend(
            self.trajectory
                .clone()
                .map(|log| crate::trajectory::routes(log, self.workers.shutdown().clone())),
        );
        #[cfg(feature = "liquid")]
        all.extend(self.liquid.clone().map(crate::liquid::routes));
        #[cfg(feature = "atom")]
        all.extend(self.atom.clone().map(crate::atom::routes));
        #[cfg(feature = "dashare")]
        all.extend(self.dashare.clone().map(crate::dashare::routes));
        all.into_iter().fold(Routes::new("system"), Routes::and)
    }

    /// The paths that the clients of Drip 0.1 call, by the setting that says where they are.
    pub fn compat_routes(&self) -> Vec<(&'static str, Routes)> {
        let mut all = Vec::new();
        #[cfg(feature = "fiche")]
        all.extend(
            self.fiche.clone().map(|fiche| ("compat.fiche", crate::fiche::compat::routes(fiche))),
        );
        all
    }

    /// Asks each store whether it is open, by name.
    pub fn checks(&self) -> Vec<(&'static str, Check)> {
        let check = |(name, records): (&'static str, SharedRecords)| -> (&'static str, Check) {
            (name, Arc::new(move || records.health()))
        };
        let checks = self.stores().into_iter().map(check);
        #[cfg(feature = "trajectory")]
        let checks = checks.chain(
            self.trajectory
                .clone()
                .map(|log| -> (&'static str, Check) { ("log", Arc::new(move || log.health())) }),
        );
        checks.collect()
    }

    /// Counts what there is, by module.
    pub fn counts(&self) -> Counts {
        let stores = self.stores();
        #[cfg(feature = "trajectory")]
        let log = self.trajectory.clone();
        Arc::new(move || {
            let mut counts = Map::new();
            for (module, records) in &stores {
                let mut counted = Map::new();
                for (noun, prefix) in settings::counted(module) {
                    counted.insert((*noun).to_owned(), records.count(prefix)?.into());
                }
                // Streams with records and no settings have no row; the log itself knows them.
                #[cfg(feature = "trajectory")]
                if let Some(log) = log.as_ref().filter(|_| *module == "trajectory") {
                    counted.insert("records".into(), log.stats().records.into());
                    counted.insert("streams".into(), log.streams().len().into());
                }
                counts.insert((*module).to_owned(), Value::Object(counted));
            }
            Ok(Value::Object(counts))
        })
    }
}
