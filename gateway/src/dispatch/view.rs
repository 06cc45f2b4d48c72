//! View: what the routes' dispatchers show of themselves, to each other and to whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::limit::pace::LimitedBy;
use crate::clock::UnixMs;
use crate::link::{Carries, LinkIx, Pulse, Then};
use crate::message::RouteIx;
use crate::outcome::{HoldReason, Reason};

/// The states of all routes, by [`RouteIx`].
#[derive(Debug, Default)]
pub struct RouteStates {
    routes: Vec<Route>,
}

#[derive(Debug, Default)]
struct Route {
    up: AtomicBool,
    state: Mutex<RouteState>,
}

/// One route.
#[derive(Clone, Debug, Default)]
pub struct RouteState {
    /// Its links.
    pub links: Vec<LinkState>,
    /// When the message was accepted that has waited longest and is not out.
    pub oldest: Option<UnixMs>,
    /// Entries that wait for their next try.
    pub retries: usize,
    /// Attempts out.
    pub in_flight: usize,
    /// The windows of all links that are up together.
    pub window: usize,
    /// What keeps it from sending.
    pub hold: Option<HoldReason>,
    /// How it is paced.
    pub pace: PaceState,
    /// The last attempt that its peer refused.
    pub refusal: Option<Refusal>,
}

/// An attempt that a peer refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: UnixMs,
    /// The peer's own code.
    pub code: u32,
    /// Our word for it.
    pub reason: Option<Reason>,
    /// What the peer said in words.
    pub text: Option<Box<str>>,
}

/// How a route is paced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PaceState {
    /// Units per second that it sends at most when it does not pause; `None`: no limit.
    pub rate_now: Option<f64>,
    /// What makes that less than the configured rate.
    pub limited_by: Option<LimitedBy>,
    /// What its links that are up may have out now, together.
    pub window_now: usize,
    /// Until when it pauses, if it does.
    pub paused_until: Option<UnixMs>,
    /// Attempts that the peer throttled in the last minute.
    pub throttled_last_minute: u64,
    /// Destinations that wait because their queue at the peer is full.
    pub destinations_waiting: usize,
    /// Entries in memory that wait for another one to the same destination.
    pub behind: usize,
}

/// One link.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// Where it leads.
    pub host: String,
    /// Whether it is up, and what it does about it.
    pub standing: Standing,
    /// Its window.
    pub window: usize,
    /// Attempts out on it.
    pub in_flight: usize,
    /// Since when it is as it is.
    pub since: UnixMs,
    /// Why it went down last.
    pub last_error: Option<String>,
    /// What made the peer end a connection of it last.
    pub last_goaway: Option<String>,
    /// How it shows that the peer is there, while it is up.
    pub pulse: Option<Arc<Pulse>>,
}

/// How a link stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Up.
    Up(Carries),
    /// Down; what it does next.
    Down(Then),
    /// Down, and trying for the first time.
    #[default]
    New,
    /// Not needed as the account stands now.
    Unused,
    /// The peer is to connect.
    Listening,
}

impl Standing {
    /// Whether the route misses something while the link is not up.
    #[must_use]
    pub fn is_needed(self) -> bool {
        !matches!(self, Self::Unused | Self::Listening)
    }
}

impl LinkState {
    /// What it carries now, if it is up.
    #[must_use]
    pub fn carries(&self) -> Option<Carries> {
        match self.standing {
            Standing::Up(carries) => Some(carries),
            Standing::Down(_) | Standing::New | Standing::Unused | Standing::Listening => None,
        }
    }
}

impl RouteStates {
    /// For the routes of a name table, with the hosts of the links of each.
    #[must_use]
    pub fn new(hosts: Vec<Vec<String>>, now: UnixMs) -> Self {
        let route = |hosts: Vec<String>| {
            let link = |host| LinkState {
                host,
                since: now,
                ..LinkState::default()
            };
            let links = hosts.into_iter().map(link).collect();
            let state = RouteState {
                links,
                ..RouteState::default()
            };
            Route {
                up: AtomicBool::new(false),
                state: Mutex::new(state),
            }
        };
        Self {
            routes: hosts.into_iter().map(route).collect(),
        }
    }

    fn route(&self, route: RouteIx) -> Option<&Route> {
        self.routes.get(usize::from(route.0))
    }

    /// Whether a route has a link that attempts can go over.
    #[must_use]
    pub fn is_up(&self, route: RouteIx) -> bool {
        self.route(route)
            .is_some_and(|route| route.up.load(Ordering::Acquire))
    }

    /// A copy of a route's state.
    #[must_use]
    pub fn state(&self, route: RouteIx) -> Option<RouteState> {
        self.route(route).map(|route| route.state.lock().clone())
    }

    pub(super) fn publish(&self, route: RouteIx, change: impl FnOnce(&mut RouteState)) {
        if let Some(route) = self.route(route) {
            let mut state = route.state.lock();
            change(&mut state);
            let sends = |link: &LinkState| link.carries().is_some_and(Carries::attempts);
            let up = state.links.iter().any(sends);
            route.up.store(up, Ordering::Release);
        }
    }

    pub(super) fn link_up(&self, route: RouteIx, link: LinkIx, up: Up, now: UnixMs) {
        self.publish(route, |state| {
            if let Some(link) = state.links.get_mut(usize::from(link.0)) {
                let last_error = link.last_error.take();
                let last_goaway = link.last_goaway.take();
                *link = LinkState {
                    host: up.peer,
                    standing: Standing::Up(up.carries),
                    window: up.window,
                    in_flight: 0,
                    since: now,
                    last_error,
                    last_goaway,
                    pulse: Some(up.pulse),
                };
            }
        });
    }

    pub(super) fn link_down(
        &self,
        route: RouteIx,
        link: LinkIx,
        (why, then): (String, Then),
        now: UnixMs,
    ) {
        self.publish(route, |state| {
            if let Some(link) = state.links.get_mut(usize::from(link.0)) {
                let stopped = |standing| standing == Standing::Down(Then::Stopped);
                let next = Standing::Down(then);
                if link.carries().is_some() || stopped(link.standing) != stopped(next) {
                    link.since = now;
                }
                link.standing = next;
                link.window = 0;
                link.pulse = None;
                link.last_error = Some(why);
            }
        });
    }

    /// The link takes another number of attempts.
    pub(super) fn link_window(
        &self,
        route: RouteIx,
        link: LinkIx,
        window: usize,
        goaway: Option<String>,
    ) {
        self.publish(route, |state| {
            if let Some(link) = state.links.get_mut(usize::from(link.0)) {
                link.window = window;
                link.last_goaway = goaway.or_else(|| link.last_goaway.take());
            }
        });
    }

    pub(super) fn link_idle(&self, route: RouteIx, link: LinkIx, standing: Standing) {
        self.publish(route, |state| {
            if let Some(link) = state.links.get_mut(usize::from(link.0)) {
                link.standing = standing;
            }
        });
    }
}

/// What a link that came up says of itself.
#[derive(Debug)]
pub(super) struct Up {
    /// Where it leads.
    pub(super) peer: String,
    /// Its window.
    pub(super) window: usize,
    /// Which way.
    pub(super) carries: Carries,
    /// How it shows that the peer is there.
    pub(super) pulse: Arc<Pulse>,
}
