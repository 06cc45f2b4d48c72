//! The harness of the scenarios: the real binary, simulated and real peers, and how to wait for them.
//!
//! ```text
//!  scenario ──► http::Client ──► gateway::Gateway (a process) ──► sim::smsc::Smsc (in this process)
//!      ▲                                  │                        or peers::CarrierProcess (node)
//!      └────── sim::receiver::Receiver ◄──┘ signed events
//! ```
//!
//! Ports are free ones, directories are temporary, and nothing waits by sleeping: [`wait_for`] polls
//! a state until a deadline and then fails with what it was waiting for.

#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::time::{Duration, Instant};

#[path = "harness/ahead.rs"]
pub mod ahead;
#[path = "harness/config.rs"]
pub mod config;
#[path = "harness/disk.rs"]
pub mod disk;
#[path = "harness/gateway.rs"]
pub mod gateway;
#[path = "harness/http.rs"]
pub mod http;
#[path = "harness/kannel.rs"]
pub mod kannel;
#[path = "harness/life.rs"]
mod life;
#[path = "harness/nobody.rs"]
mod nobody;
#[path = "harness/peers.rs"]
pub mod peers;
#[path = "harness/powercut.rs"]
pub mod powercut;
#[path = "harness/process.rs"]
pub mod process;
#[path = "harness/push.rs"]
pub mod push;
#[path = "harness/push_strict.rs"]
pub mod push_strict;
#[path = "harness/scene.rs"]
pub mod scene;
#[path = "harness/shim.rs"]
mod shim;

pub use config::{Endpoint, Route, Setup};
pub use gateway::{Directory, Gateway};
pub use http::{Answer, Client};
pub use nobody::Nobody;
pub use scene::{Scene, message};

/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long an ordinary step may take. Chosen: far above what it takes on two busy cores.
pub const SOON: Duration = Duration::from_secs(30);

/// Looks at a state until it is there, at most for `timeout`, and only while the test's peers live.
///
/// # Panics
/// When it is not there in time: says what was waited for. Or when a peer has ended by itself: says how.
pub async fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        life::check();
        assert!(Instant::now() < deadline, "waited {timeout:?} for {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Looks at something until it is done, for as long as it moves: `Err` tells how far it is. For what takes
/// as long as the machine is slow.
///
/// # Panics
/// When it is as far as it was `stuck_after` ago; says what was waited for. Or when a peer has ended.
pub async fn wait_while_moving<T, P: PartialEq + Debug>(
    what: &str,
    stuck_after: Duration,
    mut look: impl AsyncFnMut() -> Result<T, P>,
) -> T {
    let mut last = None;
    let mut since = Instant::now();
    loop {
        let far = match look().await {
            Ok(done) => return done,
            Err(far) => Some(far),
        };
        life::check();
        if far != last {
            (last, since) = (far, Instant::now());
        }
        let stuck = since.elapsed();
        assert!(
            stuck < stuck_after,
            "{what} stands at {last:?} since {stuck:?}"
        );
        tokio::time::sleep(POLL).await;
    }
}
