//! An address at which nobody listens.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of this machine that refuses connections, and that no other test gets while this is held: a
/// port that was free a moment ago is not kept free. A carrier can listen at it later all the same, as
/// what listens sets SO_REUSEADDR (socket(7): only a socket that listens is in the way then).
#[derive(Debug)]
pub struct Nobody {
    /// Where it is.
    pub addr: SocketAddr,
    _held: TcpSocket,
}

impl Nobody {
    /// A new one.
    ///
    /// # Errors
    /// No port is free.
    pub fn new() -> std::io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self {
            addr: held.local_addr()?,
            _held: held,
        })
    }
}
