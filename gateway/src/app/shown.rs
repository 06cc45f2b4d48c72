//! Shown: the routes as `GET /v1/routes` tells of them.

use std::sync::Arc;

use crate::config::Config;
use crate::dispatch::view::{LinkState, RouteStates};
use crate::message::RouteIx;
use crate::outcome::HoldReason;
use crate::route_view::{
    Depths, LinkView, QueueView, RateView, ReceiptsView, RouteState, RouteView,
};
use crate::store::Store;

/// What is shown of the routes, and where it comes from.
pub(super) struct Shown {
    routes: Vec<Configured>,
    states: Arc<RouteStates>,
    store: Store,
}

/// What the config says of a route.
struct Configured {
    name: String,
    route: RouteIx,
    per_second: Option<f64>,
    receipts: bool,
}

impl Shown {
    pub(super) fn new(config: &Config, store: &Store, states: Arc<RouteStates>) -> Self {
        let names = store.names();
        let routes = config
            .routes
            .iter()
            .filter_map(|(name, route)| {
                Some(Configured {
                    name: name.clone(),
                    route: names.route_ix(name)?,
                    per_second: route
                        .rate
                        .as_ref()
                        .map(|rate| super::map::rate(rate).per_second()),
                    receipts: route.receipts.enabled,
                })
            })
            .collect();
        Self {
            routes,
            states,
            store: store.clone(),
        }
    }

    /// Every route of the config, in the order of their names.
    pub(super) fn routes(&self) -> Vec<RouteView> {
        self.routes
            .iter()
            .filter_map(|route| self.route(route))
            .collect()
    }

    fn route(&self, configured: &Configured) -> Option<RouteView> {
        let state = self.states.state(configured.route)?;
        let up = state.links.iter().filter(|link| link.up).count();
        let counts = self.store.receipt_counts(configured.route);
        let throttled = state.hold == Some(HoldReason::Throttled);
        Some(RouteView {
            name: configured.name.clone(),
            r#type: "smpp",
            state: match up {
                0 => RouteState::Down,
                up if up < state.links.len() => RouteState::Degraded,
                _ => RouteState::Up,
            },
            links: state.links.iter().map(link).collect(),
            window: whole(state.window),
            in_flight: whole(state.in_flight),
            rate: configured.per_second.map(|configured| RateView {
                configured,
                effective: if throttled { 0.0 } else { configured },
                limited_by: throttled.then_some("throttled"),
            }),
            queue: QueueView {
                depth: Depths::by_lane(self.store.depths(configured.route)),
                oldest: state.oldest,
            },
            hold_reason: state.hold,
            receipts: ReceiptsView {
                enabled: configured.receipts,
                matched: counts.matched,
                parked: counts.parked,
                last: counts.last.known(),
            },
        })
    }
}

fn link(link: &LinkState) -> LinkView {
    LinkView {
        host: link.host.clone(),
        state: if link.up { "bound" } else { "down" }.to_owned(),
        window: whole(link.window),
        in_flight: whole(link.in_flight),
        since: link.since,
        last_error: link.last_error.clone(),
    }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
