//! A listener beside the daemon's own, with its port taken: the old paths of a module, or the S3
//! protocol.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use super::connections::{Limits, serve_until};
use crate::kernel::error::{Error, Result};
use crate::kernel::work::Shutdown;

/// A router at an address of its own.
pub struct Listening {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    listener: TcpListener,
    router: Router,
    limits: Limits,
}

impl Listening {
    pub(super) fn over(
        setting: &'static str,
        listener: TcpListener,
        router: Router,
        limits: Limits,
    ) -> Result<Self> {
        let address =
            listener.local_addr().map_err(|source| Error::io("ask for the port", source))?;
        Ok(Self { setting, address, listener, router, limits })
    }

    /// Serves until `shutdown` begins, and for the grace period after.
    pub async fn serve(self, shutdown: Shutdown, grace: Duration) -> Result<()> {
        serve_until(self.router, self.listener, shutdown, (grace, self.limits)).await
    }
}
