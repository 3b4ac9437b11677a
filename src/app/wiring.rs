//! The ports, plugged. Read this first: everything that one slice does for another is here.
//!
//! - a package pushed to cask, a dataset put into atom → a card in fiche;
//! - rows of atom's datasets → dashare's channels and SQL, and the scripts' `table` module;
//! - lines of liquid's runs → trajectory;
//! - what scripts may call: `fiche`, `cask`, `log`, `atom`, `table`.

use std::sync::Arc;

use super::records_of;
use crate::kernel::access::{Access, Caller};
use crate::kernel::blobs::Blobs;
use crate::kernel::clock::Clock;
use crate::kernel::config::Settings;
use crate::kernel::disk::DataFolder;
use crate::kernel::error::Result;
use crate::kernel::{Bus, Event};

/// What opening needs.
pub(super) struct Opening<'a> {
    pub(super) settings: &'a Settings,
    pub(super) folder: &'a DataFolder,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bus: Bus,
    pub(super) access: Access,
    pub(super) modules: Vec<&'static str>,
}

/// What was opened.
#[derive(Default)]
pub(super) struct Opened {
    #[cfg(feature = "fiche")]
    pub(super) fiche: Option<crate::fiche::Fiche>,
    #[cfg(feature = "cask")]
    pub(super) cask: Option<crate::cask::Cask>,
    #[cfg(feature = "trajectory")]
    pub(super) trajectory: Option<crate::trajectory::Trajectory>,
    #[cfg(feature = "atom")]
    pub(super) atom: Option<crate::atom::Atom>,
    #[cfg(feature = "dashare")]
    pub(super) dashare: Option<crate::dashare::Dashare>,
    #[cfg(feature = "liquid")]
    pub(super) liquid: Option<crate::liquid::Liquid>,
}

impl Opening<'_> {
    /// Opens the enabled modules, each after those whose ports it is plugged into.
    pub(super) fn open(&self) -> Result<Opened> {
        let mut opened = Opened::default();
        #[cfg(feature = "fiche")]
        {
            opened.fiche = self.open_fiche()?;
        }
        #[cfg(feature = "trajectory")]
        {
            opened.trajectory = self.open_trajectory()?;
        }
        #[cfg(feature = "cask")]
        {
            opened.cask = self.open_cask(&opened)?;
        }
        #[cfg(feature = "atom")]
        {
            opened.atom = self.open_atom(&opened)?;
        }
        #[cfg(feature = "dashare")]
        {
            opened.dashare = self.open_dashare(&opened)?;
        }
        #[cfg(feature = "liquid")]
        {
            opened.liquid = self.open_liquid(&opened)?;
        }
        Ok(opened)
    }

    fn is_enabled(&self, module: &str) -> bool {
        self.modules.contains(&module)
    }

    #[cfg(feature = "fiche")]
    fn open_fiche(&self) -> Result<Option<crate::fiche::Fiche>> {
        if !self.is_enabled("fiche") {
            return Ok(None);
        }
        let config = crate::fiche::Config::read(self.settings)?;
        crate::fiche::Fiche::open(crate::fiche::Parts {
            records: match &config.records {
                Some(url) => crate::kernel::records::open_for(url.expose(), "fiche")?,
                None => records_of(self.folder, "fiche")?,
            },
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            folder: Some(self.folder.part("fiche")?),
            config,
        })
        .map(Some)
    }

    #[cfg(feature = "trajectory")]
    fn open_trajectory(&self) -> Result<Option<crate::trajectory::Trajectory>> {
        use crate::trajectory::{Config, Folder, Parts, Trajectory};
        if !self.is_enabled("trajectory") {
            return Ok(None);
        }
        let config = Config::read(self.settings)?;
        let disk = Folder::open(self.folder.part("trajectory")?.join("segments"))?;
        Trajectory::open(Parts {
            disk: Arc::new(disk),
            records: match &config.records {
                Some(url) => crate::kernel::records::open_for(url.expose(), "trajectory")?,
                None => records_of(self.folder, "trajectory")?,
            },
            clock: self.clock.clone(),
            config,
        })
        .map(Some)
    }

    #[cfg(feature = "cask")]
    fn open_cask(&self, opened: &Opened) -> Result<Option<crate::cask::Cask>> {
        use crate::cask::{Cask, PackageListener, Parts, Stores};
        if !self.is_enabled("cask") {
            return Ok(None);
        }
        let stores = Stores::read(self.settings)?;
        let listener = opened.cards().map(|cards| -> Arc<dyn PackageListener> { Arc::new(cards) });
        Cask::open(Parts {
            records: match &stores.records {
                Some(url) => crate::kernel::records::open_for(url.expose(), "cask")?,
                None => records_of(self.folder, "cask")?,
            },
            blobs: stores.open_blobs(|| Ok(self.folder.part("cask")?.join("blobs")))?,
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            listener,
        })
        .map(Some)
    }

    #[cfg(feature = "atom")]
    fn open_atom(&self, opened: &Opened) -> Result<Option<crate::atom::Atom>> {
        use crate::atom::{Atom, Config, DatasetListener, Parts};
        if !self.is_enabled("atom") {
            return Ok(None);
        }
        let listener = opened.cards().map(|cards| -> Arc<dyn DatasetListener> { Arc::new(cards) });
        Atom::open(Parts {
            records: records_of(self.folder, "atom")?,
            blobs: Blobs::folder(&self.folder.part("atom")?.join("blobs"))?,
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            listener,
            modules: std::collections::BTreeMap::new(),
            config: Config {
                fence: operator_fence(self.settings)?,
                ..Config::read(self.settings)?
            },
        })
        .map(Some)
    }

    #[cfg(feature = "dashare")]
    fn open_dashare(&self, opened: &Opened) -> Result<Option<crate::dashare::Dashare>> {
        use crate::dashare::{Config, Dashare, Parts};
        if !self.is_enabled("dashare") {
            return Ok(None);
        }
        Ok(Some(Dashare::open(Parts {
            records: records_of(self.folder, "dashare")?,
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            source: Arc::new(Rows(opened.catalog())),
            accounts: Some(Arc::new(Accounts(self.access.clone()))),
            config: Config::read(self.settings)?,
        })))
    }

    #[cfg(feature = "liquid")]
    fn open_liquid(&self, opened: &Opened) -> Result<Option<crate::liquid::Liquid>> {
        use crate::liquid::{Config, Liquid, Parts};
        if !self.is_enabled("liquid") {
            return Ok(None);
        }
        Liquid::open(Parts {
            records: records_of(self.folder, "liquid")?,
            clock: self.clock.clone(),
            bus: self.bus.clone(),
            fence: pipeline_fence(self.settings)?,
            modules: opened.script_modules(),
            log: opened.run_log(),
            standing: Some(Arc::new(Accounts(self.access.clone()))),
            processes: self.processes()?,
            only_checks: false,
            config: Config::read(self.settings)?,
        })
        .map(Some)
    }

    /// Who starts the processes of pipelines; nobody where the settings name no program.
    #[cfg(feature = "liquid")]
    fn processes(&self) -> Result<Option<crate::liquid::process::Processes>> {
        use crate::liquid::process::{KEEPER, Limits, Processes};
        let limits = Limits::read(self.settings)?;
        if limits.allow.is_empty() {
            return Ok(None);
        }
        let own = std::env::current_exe()
            .map_err(|source| crate::kernel::Error::io("find the running program", source))?;
        let folder = self.folder.part("liquid")?.join("processes");
        let tokens =
            RunTokens { access: self.access.clone(), folder: self.folder.path().to_owned() };
        let keeper = vec![own.into(), KEEPER.into()];
        Processes::open(limits, folder, keeper, Some(Arc::new(tokens))).map(Some)
    }
}

/// Tokens for the processes of runs: they can do what their run can, and no longer than it takes.
#[cfg(feature = "liquid")]
struct RunTokens {
    access: Access,
    folder: std::path::PathBuf,
}

#[cfg(feature = "liquid")]
impl RunTokens {
    /// Where the daemon serves, as the folder's lock says. A run that goes on by itself at the start
    /// may begin a little before.
    fn address(&self) -> Result<String> {
        for _look in 0..100 {
            let holder = crate::kernel::disk::holder(&self.folder);
            if let Some((_, address)) = holder.filter(|(_, address)| !address.is_empty()) {
                return Ok(address);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        let detail = "the daemon does not serve yet";
        Err(crate::kernel::Error::new(crate::kernel::Kind::Unavailable, "not_serving", detail))
    }
}

#[cfg(feature = "liquid")]
impl crate::liquid::process::RunTokens for RunTokens {
    fn make(
        &self,
        caller: &Caller,
        run_id: &str,
        lifetime: std::time::Duration,
    ) -> Result<crate::liquid::process::RunToken> {
        use crate::kernel::access::{Scope, TokenDraft};
        let url = format!("http://{}", self.address()?);
        let everything = || Scope { module: "*".to_owned(), write: true };
        let scopes = caller.scopes.clone().unwrap_or_else(|| [everything()].into());
        let name = format!("run-{run_id}");
        let draft = TokenDraft { name, user: None, scopes, lifetime: Some(lifetime) };
        let made = self.access.make_token(caller, draft)?;
        Ok(crate::liquid::process::RunToken { url, token: made.token, id: made.id })
    }

    fn revoke(&self, caller: &Caller, id: &str) -> Result<()> {
        self.access.revoke_token(caller, id)
    }
}

/// The limits of operators, as the settings say.
#[cfg(feature = "atom")]
fn operator_fence(settings: &Settings) -> Result<crate::kernel::script::Fence> {
    Ok(crate::kernel::script::Fence {
        operations: settings.integer("script.operator_operations")?,
        time: settings.duration("script.operator_deadline")?,
        memory: settings.bytes("script.operator_memory")?,
        ..crate::kernel::script::Fence::operator()
    })
}

/// The limits of pipelines, as the settings say.
#[cfg(feature = "liquid")]
fn pipeline_fence(settings: &Settings) -> Result<crate::kernel::script::Fence> {
    Ok(crate::kernel::script::Fence {
        operations: settings.integer("script.operations")?,
        time: settings.duration("script.deadline")?,
        memory: settings.bytes("script.memory")?,
        ..crate::kernel::script::Fence::pipeline()
    })
}

impl Opened {
    #[cfg(feature = "fiche")]
    fn cards(&self) -> Option<Cards> {
        self.fiche.clone().map(Cards)
    }

    #[cfg(all(not(feature = "fiche"), any(feature = "cask", feature = "atom")))]
    fn cards(&self) -> Option<Cards> {
        None
    }

    /// The datasets as tables by name; none where atom is not open.
    #[cfg(feature = "table")]
    fn catalog(&self) -> Arc<dyn crate::kernel::table::TableCatalog> {
        #[cfg(feature = "atom")]
        if let Some(atom) = self.atom.clone() {
            return Arc::new(atom);
        }
        Arc::new(crate::kernel::table::Tables::new())
    }

    /// What pipelines may call, as `name::function`.
    #[cfg(feature = "liquid")]
    fn script_modules(&self) -> Vec<(String, rhai::Shared<rhai::Module>)> {
        let mut modules: Vec<(&str, rhai::Module)> = Vec::new();
        #[cfg(feature = "fiche")]
        modules
            .extend(self.fiche.clone().map(|fiche| ("fiche", crate::fiche::script::module(fiche))));
        #[cfg(feature = "cask")]
        modules.extend(self.cask.clone().map(|cask| ("cask", crate::cask::script::module(cask))));
        #[cfg(feature = "trajectory")]
        modules.extend(
            self.trajectory.clone().map(|log| ("log", crate::trajectory::script::module(log))),
        );
        #[cfg(feature = "atom")]
        modules.extend(self.atom.clone().map(|atom| ("atom", crate::atom::script::module(atom))));
        #[cfg(feature = "table")]
        modules.push(("table", crate::kernel::table::script::module(self.catalog())));
        modules.into_iter().map(|(name, module)| (name.to_owned(), module.into())).collect()
    }

    #[cfg(all(feature = "liquid", feature = "trajectory"))]
    fn run_log(&self) -> Option<Arc<dyn crate::liquid::RunLog>> {
        let log = self.trajectory.clone()?;
        Some(Arc::new(Lines(log)))
    }

    #[cfg(all(feature = "liquid", not(feature = "trajectory")))]
    fn run_log(&self) -> Option<Arc<dyn crate::liquid::RunLog>> {
        None
    }
}

/// Makes cards of what other slices keep.
#[derive(Clone)]
pub(super) struct Cards(
    #[cfg(feature = "fiche")] pub(super) crate::fiche::Fiche,
    #[cfg(not(feature = "fiche"))] std::convert::Infallible,
);

#[cfg(feature = "fiche")]
impl Cards {
    fn save(
        &self,
        caller: &Caller,
        kind: crate::fiche::CardKind,
        name: &str,
        version: &str,
        card: serde_json::Value,
    ) -> Result<()> {
        let draft = crate::fiche::CardDraft::named(card, kind, name, version)?;
        self.0.save(caller, &draft, crate::fiche::Conditions::default()).map(drop)
    }

    #[cfg(feature = "cask")]
    fn package(&self, caller: &Caller, package: &crate::cask::PackageInfo) -> Result<()> {
        let crate::cask::PackageInfo { item, metadata } = package;
        let card = serde_json::json!({
            "summary": metadata.summary, "author": metadata.author,
            "authoremail": metadata.authoremail, "homepage": metadata.homepage,
            "license": metadata.license,
            "requires": metadata.requires,
            "config": {
                "package": format!("packages/{}/{}", item.name, item.version),
                "sha256": item.sha256, "size": item.size, "entry": metadata.entry,
            },
        });
        self.save(caller, crate::fiche::CardKind::ALGORITHM, &item.name, &item.version, card)
    }

    /// The card of a package that the feed tells of.
    #[cfg(feature = "cask")]
    pub(super) fn of_package(&self, event: &Event) -> Result<()> {
        if event.event != crate::cask::PACKAGE_PUSHED {
            return Ok(());
        }
        let package: crate::cask::PackageInfo = told(event)?;
        self.package(&publisher(&package.item.pushed_by), &package)
    }

    #[cfg(feature = "atom")]
    fn dataset(&self, caller: &Caller, dataset: &crate::atom::DatasetInfo) -> Result<()> {
        let label = &dataset.label;
        let card = serde_json::json!({
            "summary": label.remarks, "datatype": "table", "project": label.belong,
            "labels": labels(&[("tag", label.tag.as_deref()), ("belong", label.belong.as_deref())]),
            "config": {
                "rows": dataset.rows, "bytes": dataset.bytes, "sha256": dataset.sha256,
                "schema": dataset.schema,
            },
        });
        self.save(caller, crate::fiche::CardKind::DATASET, &dataset.name, &dataset.version, card)
    }

    /// The card of a dataset that the feed tells of, as the dataset stands now.
    #[cfg(feature = "atom")]
    pub(super) fn of_dataset(&self, atom: &crate::atom::Atom, event: &Event) -> Result<()> {
        let text = |field: &str| event.payload.get(field).and_then(serde_json::Value::as_str);
        let (Some(name), Some(version)) = (text("name"), text("version")) else {
            return Ok(());
        };
        if event.event != crate::atom::DATASET_PUT {
            return Ok(());
        }
        match atom.dataset(&Caller::system(), name, version) {
            Ok(dataset) => self.dataset(&publisher(&dataset.saved_by), &dataset),
            // It was deleted since; its card is history.
            Err(error) if error.kind() == crate::kernel::Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whoever made it, with the rights that making it took.
#[cfg(feature = "fiche")]
fn publisher(name: &str) -> Caller {
    Caller::new(name, crate::kernel::access::Role::Publisher)
}

#[cfg(all(feature = "fiche", feature = "cask"))]
fn told<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T> {
    serde_json::from_value(event.payload.clone()).map_err(|source| {
        crate::kernel::Error::internal(format!("event {} of the feed: {source}", event.number))
    })
}

#[cfg(feature = "fiche")]
fn labels(pairs: &[(&str, Option<&str>)]) -> serde_json::Map<String, serde_json::Value> {
    let told =
        pairs.iter().filter_map(|(name, value)| Some((*name, value.filter(|v| !v.is_empty())?)));
    told.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

#[cfg(feature = "cask")]
impl crate::cask::PackageListener for Cards {
    #[cfg(feature = "fiche")]
    fn pushed(&self, caller: &Caller, package: &crate::cask::PackageInfo) -> Result<()> {
        self.package(caller, package)
    }

    #[cfg(not(feature = "fiche"))]
    fn pushed(&self, _caller: &Caller, _package: &crate::cask::PackageInfo) -> Result<()> {
        match self.0 {}
    }
}

#[cfg(feature = "atom")]
impl crate::atom::DatasetListener for Cards {
    #[cfg(feature = "fiche")]
    fn put(&self, caller: &Caller, dataset: &crate::atom::DatasetInfo) -> Result<()> {
        self.dataset(caller, dataset)
    }

    #[cfg(not(feature = "fiche"))]
    fn put(&self, _caller: &Caller, _dataset: &crate::atom::DatasetInfo) -> Result<()> {
        match self.0 {}
    }
}

/// Rows for channels and for SQL: the datasets.
#[cfg(feature = "dashare")]
struct Rows(Arc<dyn crate::kernel::table::TableCatalog>);

#[cfg(feature = "dashare")]
impl crate::dashare::RowSource for Rows {
    fn open(&self, dataset: &str) -> Result<Option<Arc<dyn crate::kernel::table::SqlTable>>> {
        self.0.table(dataset)
    }

    #[cfg(feature = "sql")]
    fn sql(
        &self,
        query: &str,
        params: &serde_json::Value,
        max_rows: usize,
    ) -> Result<crate::kernel::table::Table> {
        let limits = crate::kernel::table::sql::SqlLimits {
            rows: max_rows,
            ..crate::kernel::table::sql::SqlLimits::default()
        };
        crate::kernel::table::sql::Sql::new(self.0.clone()).with_limits(limits).query(query, params)
    }

    #[cfg(not(feature = "sql"))]
    fn sql(
        &self,
        _query: &str,
        _params: &serde_json::Value,
        _max_rows: usize,
    ) -> Result<crate::kernel::table::Table> {
        Err(crate::kernel::Error::new(
            crate::kernel::Kind::Invalid,
            "sql_not_built",
            "this build leaves SQL out: read the dataset by time, entity and columns",
        ))
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

/// What other slices ask of the accounts.
struct Accounts(Access);

#[cfg(feature = "dashare")]
impl crate::dashare::Accounts for Accounts {
    fn exists(&self, name: &str) -> Result<bool> {
        match self.0.user(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == crate::kernel::Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(feature = "liquid")]
impl crate::liquid::Standing for Accounts {
    fn today(&self, caller: &Caller) -> Result<Caller> {
        let user = self.0.user(&caller.name)?;
        Ok(Caller { role: user.role.min(caller.role), ..caller.clone() })
    }
}

/// Lines of runs, in the log.
#[cfg(all(feature = "liquid", feature = "trajectory"))]
struct Lines(crate::trajectory::Trajectory);

#[cfg(all(feature = "liquid", feature = "trajectory"))]
impl crate::liquid::RunLog for Lines {
    fn line(&self, run_id: &str, level: &str, message: &str, fields: serde_json::Value) {
        self.append(run_id, vec![self.record(run_id, level, message, &fields)]);
    }

    fn lines(&self, run_id: &str, lines: Vec<(&'static str, String)>, fields: &serde_json::Value) {
        let record =
            |(level, message): &(&str, String)| self.record(run_id, level, message, fields);
        self.append(run_id, lines.iter().map(record).collect());
    }
}

#[cfg(all(feature = "liquid", feature = "trajectory"))]
impl Lines {
    fn record(
        &self,
        run_id: &str,
        level: &str,
        message: &str,
        fields: &serde_json::Value,
    ) -> crate::trajectory::Record {
        use crate::trajectory::{Level, Record};
        let level = Level::parse(level).unwrap_or(Level::Info);
        let now = self.0.clock().now();
        let mut record = Record::new(now, level, crate::trajectory::script::STREAM, message);
        record.run_id = Some(run_id.to_owned());
        if let serde_json::Value::Object(fields) = fields {
            record.fields.clone_from(fields);
        }
        record
    }

    fn append(&self, run_id: &str, records: Vec<crate::trajectory::Record>) {
        if let Err(error) = self.0.append(records) {
            tracing::warn!(%run_id, %error, "lines of a run could not be kept");
        }
    }
}
