//! The composition root: opens the stores, builds the handles, and plugs them together.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kernel::Bus;
use crate::kernel::access::{self, Access};
use crate::kernel::clock::Clock;
use crate::kernel::config::{KERNEL_KEYS, Key, Settings};
use crate::kernel::disk::DataFolder;
use crate::kernel::error::Result;
use crate::kernel::http::Routes;
use crate::kernel::records::{self, SharedRecords};
use crate::kernel::work::{Shutdown, Workers};
use crate::server::{self, Check, Health, Server};

/// Every setting that this build knows.
pub fn schema() -> Vec<&'static [Key]> {
    vec![KERNEL_KEYS]
}

/// The flag `--data` as a setting.
pub fn data_flag(data: Option<&Path>) -> Vec<(&'static str, String)> {
    data.map(|path| ("server.data", path.display().to_string()))
        .into_iter()
        .collect()
}

/// Opens the accounts of a data folder.
pub fn open_access(
    settings: &Settings,
    folder: &DataFolder,
    clock: Arc<dyn Clock>,
) -> Result<Access> {
    Access::open(
        records_of(folder, "access")?,
        clock,
        access::Config::read(settings)?,
    )
}

/// The settings of the daemon's frame.
pub fn server_config(settings: &Settings) -> Result<server::Config> {
    Ok(server::Config {
        max_body: usize::try_from(settings.bytes("server.max_body")?).unwrap_or(usize::MAX),
        allowed_hosts: settings.list("server.allowed_hosts")?.to_vec(),
        behind_proxy: settings.bool("server.behind_proxy")?,
        grace: settings.duration("server.shutdown_grace")?,
    })
}

/// The record store of one module, in the module's own folder.
fn records_of(folder: &DataFolder, module: &str) -> Result<SharedRecords> {
    let path = folder.part(module)?.join(format!("{module}.redb"));
    records::open(&path.display().to_string())
}

/// Everything that is open.
pub struct App {
    /// The folder that all is kept in, held against other daemons.
    pub folder: DataFolder,
    /// Who is who.
    pub access: Access,
    /// The modules that `modules.enabled` names.
    pub modules: Vec<String>,
    /// What happens in the background.
    pub workers: Workers,
}

impl App {
    /// Opens every enabled module in `folder`.
    pub fn open(
        settings: &Settings,
        folder: DataFolder,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Result<Self> {
        let modules = settings.list("modules.enabled")?.to_vec();
        let access = open_access(settings, &folder, clock)?;
        let _bus = Bus::new();
        Ok(Self {
            folder,
            access,
            modules,
            workers: Workers::new(shutdown),
        })
    }

    /// Starts what runs beside the requests.
    pub fn start_workers(&self) {
        let access = self.access.clone();
        let hour = std::time::Duration::from_hours(1);
        self.workers.every("access.forget", hour, move || {
            access.forget_old().map(|_| false)
        });
    }

    /// The daemon over these stores.
    pub fn server(&self, config: server::Config) -> Server {
        Server {
            pages: self.pages(&config),
            routes: self.routes(),
            access: self.access.clone(),
            health: self.health(),
            config,
        }
    }

    #[cfg(feature = "web")]
    fn pages(&self, config: &server::Config) -> Option<Routes> {
        Some(crate::web::routes(crate::web::Web {
            access: self.access.clone(),
            counts: self.health().counts,
            api: Arc::new(self.routes().table().to_vec()),
            behind_proxy: config.behind_proxy,
        }))
    }

    #[cfg(not(feature = "web"))]
    fn pages(&self, _config: &server::Config) -> Option<Routes> {
        None
    }

    fn routes(&self) -> Routes {
        access::http::routes(
            self.access.clone(),
            vec![("access", self.access.records().clone())],
        )
    }

    fn health(&self) -> Health {
        let records = self.access.records().clone();
        let check: Check = Arc::new(move || records.health());
        Health {
            modules: self.modules.clone(),
            checks: vec![("access", check)],
            workers: self.workers.clone(),
            counts: Arc::new(|| Ok::<Value, _>(json!({}))),
        }
    }

    /// Ends what runs beside the requests.
    pub async fn close(self) {
        self.workers.shutdown().begin();
    }
}
