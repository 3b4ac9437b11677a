//! `dripctl serve`: the daemon.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::memory;
#[cfg(feature = "trajectory")]
use super::own_log;
use crate::app::{self, App};
use crate::kernel::cli::Output;
use crate::kernel::clock::SystemClock;
use crate::kernel::config::Settings;
use crate::kernel::disk::DataFolder;
use crate::kernel::error::{Error, Kind, Result};
#[cfg(feature = "trajectory")]
use crate::kernel::off_thread;
use crate::kernel::work::Shutdown;
use crate::server::{self, Server};
#[cfg(feature = "web")]
use crate::web;

/// How often freed memory is given back: some is freed a little after the start, when the index is open.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// How long syslog is left to the kernel when none came, or none could be kept.
#[cfg(feature = "trajectory")]
const SYSLOG_PAUSE: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub(super) struct Serve {
    /// The data folder
    #[arg(long, env = "DRIP_DATA")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

pub(super) async fn run(arguments: Serve, context: &Context) -> Result<()> {
    let settings = context.settings(flags(arguments.data.as_deref(), arguments.listen))?;
    start_log(&settings)?;
    let shutdown = Shutdown::new();
    end_on_signal(shutdown.clone())?;
    let daemon = Daemon::open(&settings, shutdown).await?;
    if !daemon.app.access.has_users()? {
        tracing::warn!("there is no account yet: stop the daemon and run `dripctl create-admin`");
    }
    daemon.announce(context.out)?;
    daemon.serve().await
}

/// Takes the data folder. From here on this process makes files that their owner alone reads.
pub(super) fn hold(settings: &Settings) -> Result<DataFolder> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    DataFolder::hold(&settings.path("server.data")?)
}

/// The flags that every command which opens a data folder has.
pub(super) fn flags(data: Option<&Path>, listen: Option<String>) -> Vec<(&'static str, String)> {
    let mut flags = app::data_flag(data);
    flags.extend(listen.map(|address| ("server.listen", address)));
    flags
}

/// A daemon that holds its folder and its port, and has not begun to serve.
pub(super) struct Daemon {
    pub(super) app: App,
    pub(super) address: SocketAddr,
    listener: TcpListener,
    server: Server,
    /// Further listeners, where the settings ask for them: the paths of Drip 0.1, the S3 protocol.
    beside: Vec<server::Listening>,
    /// Where syslog is taken in.
    #[cfg(feature = "trajectory")]
    syslog: Option<SocketAddr>,
    shutdown: Shutdown,
}

impl Daemon {
    /// Takes the folder, opens the stores, takes the port: in this order, so that a second daemon
    /// on the same folder is told who holds it rather than that its port is in use.
    pub(super) async fn open(settings: &Settings, shutdown: Shutdown) -> Result<Self> {
        let folder = hold(settings)?;
        let app = App::open(settings, folder, Arc::new(SystemClock), shutdown.clone())?;
        let config = server::Config::read(settings)?;
        let listener = server::listen(settings.text("server.listen")?, config.behind_proxy).await?;
        let address =
            listener.local_addr().map_err(|source| Error::io("ask for the port", source))?;
        let mut beside = Vec::new();
        if let Some(compat) = server::Compat::read(settings, &config)? {
            for (setting, routes) in app.compat_routes() {
                beside.push(compat.listen(settings, setting, routes).await?);
            }
            if beside.is_empty() {
                tracing::warn!("compat.enabled is on, and no module that has old paths is open");
            }
        }
        #[cfg(feature = "s3")]
        beside.extend(server::listen_s3(settings, app.cask.as_ref(), &config).await?);
        #[cfg(feature = "trajectory")]
        let syslog = listen_for_syslog(&app)?;
        app.folder.announce(&address.to_string())?;
        app.start_workers();
        #[cfg(feature = "trajectory")]
        own_log::keep(&app);
        app.workers.every("memory.give_back", GIVE_BACK, || {
            memory::give_back();
            Ok(false)
        });
        #[cfg(feature = "web")]
        let behind_proxy = config.behind_proxy;
        let server = Server::over(&app, config);
        #[cfg(feature = "web")]
        let pages = web::Web::of(&app, server.table(), behind_proxy);
        #[cfg(feature = "web")]
        let server = server.with_pages(web::routes(pages));
        Ok(Self {
            app,
            address,
            listener,
            server,
            beside,
            #[cfg(feature = "trajectory")]
            syslog,
            shutdown,
        })
    }

    pub(super) fn folder(&self) -> String {
        self.app.folder.path().display().to_string()
    }

    /// Says where it serves.
    fn announce(&self, out: Output) -> Result<()> {
        let (url, folder) = (format!("http://{}", self.address), self.folder());
        let (mut old, mut s3) = (serde_json::Map::new(), None);
        for listening in &self.beside {
            let (setting, url) = (listening.setting, format!("http://{}", listening.address));
            let is_old = setting.starts_with("compat.");
            if !out.is_json() {
                let what = if is_old { "the paths of Drip 0.1" } else { "S3 clients" };
                let verb = if is_old { "are at" } else { "are answered at" };
                out.line(&format!("{what} ({setting}) {verb} {url}"))?;
            }
            if is_old {
                old.insert(setting.to_owned(), url.into());
            } else {
                s3 = Some(url);
            }
        }
        #[cfg(feature = "trajectory")]
        if let Some(address) = self.syslog.filter(|_| !out.is_json()) {
            out.line(&format!("syslog (trajectory.syslog.listen) is taken in at udp://{address}"))?;
        }
        let said = serde_json::json!({
            "url": url, "data": folder, "pid": std::process::id(), "compat": old, "s3": s3,
        });
        out.done(&format!("dripctl serves {folder} on {url}"), &said)
    }

    /// Serves until the end.
    pub(super) async fn serve(self) -> Result<()> {
        let Self { app, listener, server, beside, shutdown, .. } = self;
        let grace = server.config.grace;
        let beside = beside.into_iter().map(|other| other.serve(shutdown.clone(), grace));
        let beside = futures::future::try_join_all(beside);
        let served = server.serve(listener, shutdown);
        let (outcome, beside) = futures::future::join(served, beside).await;
        #[cfg(feature = "trajectory")]
        let log = app.trajectory.clone();
        app.close().await;
        #[cfg(feature = "trajectory")]
        if let Some(log) = log {
            // What cannot be written now stands on stderr.
            let _said = off_thread(move || {
                own_log::write(&log);
                Ok(())
            })
            .await;
        }
        outcome.and(beside.map(drop))
    }
}

/// Takes syslog in, where the settings give an address.
#[cfg(feature = "trajectory")]
fn listen_for_syslog(app: &App) -> Result<Option<SocketAddr>> {
    let Some(syslog) = app
        .trajectory
        .as_ref()
        .map(crate::trajectory::Trajectory::listen_for_syslog)
        .transpose()?
    else {
        return Ok(None);
    };
    let Some(syslog) = syslog else { return Ok(None) };
    let address = syslog.address()?;
    app.workers.every("trajectory.syslog", SYSLOG_PAUSE, move || syslog.turn());
    Ok(Some(address))
}

/// SIGTERM and Ctrl-C end the daemon gracefully; the second one ends it at once.
pub(super) fn end_on_signal(shutdown: Shutdown) -> Result<()> {
    let hear = |kind| signal(kind).map_err(|source| Error::io("listen for signals", source));
    let mut term = hear(SignalKind::terminate())?;
    let mut interrupt = hear(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_over() {
                end_at_once();
            }
            tracing::info!("stopping");
            shutdown.begin();
        }
    });
    Ok(())
}

#[expect(
    clippy::exit,
    reason = "whoever asks twice does not wait; what was acknowledged is durable"
)]
fn end_at_once() -> ! {
    std::process::exit(130)
}

/// Logs as `server.log` says: to stderr, and into the stream `drip`.
pub(super) fn start_log(settings: &Settings) -> Result<()> {
    use std::io::IsTerminal as _;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let wanted = settings.text("server.log")?;
    // The crate of the S3 protocol logs every refused request as an error; ours are logged here.
    let filter =
        tracing_subscriber::EnvFilter::try_new(format!("s3s=off,{wanted}")).map_err(|source| {
            Error::new(Kind::Config, "bad_log_filter", format!("server.log = `{wanted}`: {source}"))
        })?;
    let on_stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry().with(filter).with(on_stderr);
    #[cfg(feature = "trajectory")]
    let subscriber = subscriber.with(own_log::Tee);
    // A program that embeds Drip may have set its own; then that one stays.
    let _already_set = subscriber.try_init();
    Ok(())
}
