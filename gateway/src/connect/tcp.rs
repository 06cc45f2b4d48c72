//! TCP to carriers and push services: what it does about silence.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Silence after which TCP asks whether the peer is there, how often, and how many times. Chosen: a
/// minute's look at a link that nothing else would look at, as enquire_link and PING do sooner.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// Sets keepalive, how long octets may stay unacknowledged, and that each write goes out at once.
pub(super) fn tune(socket: impl AsFd, user_timeout: Duration) -> io::Result<()> {
    let (idle, between, times) = KEEPALIVE;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, idle)?;
    sockopt::set_tcp_keepintvl(&socket, between)?;
    sockopt::set_tcp_keepcnt(&socket, times)?;
    let unacknowledged = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&socket, unacknowledged)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(())
}
