//! Syslog over UDP, where the settings give an address. Nobody is answered and nobody can be told to
//! wait: what there is no room for is lost, and counted.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::active::payload::Batch;
use super::intake::syslog::line_of;
use super::{Trajectory, error, figures};
use crate::kernel::error::Result;

/// No datagram is larger.
const DATAGRAM: usize = 64 << 10;
/// So many datagrams are kept together at most.
const TOGETHER: usize = 500;
/// How long a turn waits for the first one.
const PATIENCE: Duration = Duration::from_millis(250);

/// An address where syslog is taken in.
pub struct Syslog {
    log: Trajectory,
    socket: UdpSocket,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Syslog({:?})", self.socket.local_addr())
    }
}

impl Syslog {
    /// Takes the address.
    pub fn listen(log: Trajectory, address: &str) -> Result<Self> {
        let failed = |source| error::io(format!("listen for syslog at {address}"), source);
        let socket = UdpSocket::bind(address).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { log, socket })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().map_err(|source| error::io("ask for the address", source))
    }

    /// Waits a moment for datagrams and keeps them; answers whether there were any.
    pub fn turn(&self) -> Result<bool> {
        let mut datagram = vec![0; DATAGRAM];
        let mut batch = Batch::default();
        let mut gate = self.log.0.streams.gate();
        let mut taken = 0_usize;
        while taken < TOGETHER {
            match self.socket.recv(&mut datagram) {
                Ok(length) => {
                    let bytes = datagram.get(..length).unwrap_or_default();
                    let line = line_of(bytes, self.log.clock().now());
                    self.log.admit(&mut gate, &mut batch, line);
                    taken += 1;
                    if taken == 1 {
                        // What else has come is taken along, and nothing more is waited for.
                        self.waits(false)?;
                    }
                }
                Err(none) if matches!(none.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break;
                }
                Err(source) => {
                    self.waits(true)?;
                    return Err(error::io("receive syslog", source));
                }
            }
        }
        self.waits(true)?;
        if taken > 0
            && let Err(refused) = self.log.write(batch)
        {
            figures::syslog_lost(taken);
            return Err(refused);
        }
        Ok(taken > 0)
    }

    fn waits(&self, waits: bool) -> Result<()> {
        let set = self.socket.set_nonblocking(!waits);
        set.map_err(|source| error::io("receive syslog", source))
    }
}
