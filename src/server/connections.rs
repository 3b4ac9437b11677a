//! Connections: how many there are at once, and how long one may stand still.
//!
//! Whoever sends nothing, or reads nothing, must not hold what others wait for: a request's head has a
//! deadline, which also ends connections that are kept open and not used, and an answer that is not
//! taken is given up. Bodies on their way in are watched where they are read, in `bodies`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::wire::{Linger, Wire};
use crate::kernel::config::Settings;
use crate::kernel::error::Result;
use crate::kernel::work::Shutdown;

/// How many connections there may be, and how long they may stand still.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a connection may take until the head of its next request is there.
    pub idle: Duration,
    /// How long a body on its way in, or an answer on its way out, may stand still.
    pub stall: Duration,
    /// How many connections a listener holds at once; further ones wait.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_mins(1), stall: Duration::from_secs(30), connections: 4096 }
    }
}

impl Limits {
    /// As the settings say.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            idle: settings.duration("server.idle_timeout")?,
            stall: settings.duration("server.stall_timeout")?,
            connections: settings.integer("server.max_connections")?,
        })
    }

    /// How many connections there is room for: the stores need files too.
    fn room(self) -> usize {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        self.connections.min(files / 2).max(1)
    }
}

/// Serves on `listener` until `shutdown` begins, then lets requests end for the grace period.
pub(super) async fn serve_until(
    router: Router,
    mut listener: TcpListener,
    shutdown: Shutdown,
    (grace, limits): (Duration, Limits),
) -> Result<()> {
    let router = router.with_state(());
    let room = limits.room();
    let mut open = JoinSet::new();
    let mut over = Box::pin(shutdown.wait());
    loop {
        tokio::select! {
            () = &mut over => break,
            Some(_ended) = open.join_next() => {}
            (socket, peer) = Listener::accept(&mut listener), if open.len() < room => {
                open.spawn(serve_one(router.clone(), socket, peer, limits, shutdown.clone()));
                if open.len() == room {
                    tracing::warn!("{room} connections are open, as many as may be: new ones wait");
                }
            }
        }
    }
    drop(listener);
    let all_ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::warn!("requests were still open after the grace period and were cut");
    }
    Ok(())
}

async fn serve_one(
    router: Router,
    socket: TcpStream,
    peer: SocketAddr,
    limits: Limits,
    shutdown: Shutdown,
) {
    let linger = Linger::default();
    let wire = Wire::new(socket, limits.stall, linger.clone());
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(linger.clone());
        request.map(Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .serve_connection(TokioIo::new(wire), TowerToHyperService::new(service));
    let mut connection = Box::pin(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}
