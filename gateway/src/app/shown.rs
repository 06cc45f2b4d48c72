//! Shown: the routes as `GET /v1/routes` tells of them.

use std::sync::Arc;

use crate::config::{Config, IdFormat};
use crate::dispatch::view::{LinkState, RouteStates};
use crate::message::RouteIx;
use crate::outcome::HoldReason;
use crate::route_view::{
    Depths, HitsView, IdsView, LinkView, OrphanView, QueueView, RateView, ReceiptsView, RouteState,
    RouteView,
};
use crate::store::{Learned, Orphan, Store};

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
    id_format: IdFormat,
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
                    id_format: route.receipts.id_format,
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

    /// A route's receipts without a message, the newest first; `None` for a route that is not in the
    /// config.
    pub(super) fn orphans(&self, name: &str) -> Option<Vec<OrphanView>> {
        let route = self.routes.iter().find(|route| route.name == name)?;
        Some(self.store.orphans(route.route).iter().map(orphan).collect())
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
                orphans: u64::try_from(self.store.orphan_count(configured.route)).unwrap_or(0),
                ids: ids(configured.id_format, &self.store.learned(configured.route)),
                last: counts.last.known(),
            },
        })
    }
}

fn ids(configured: IdFormat, learned: &Learned) -> IdsView {
    let [exact, case, zeros, hex_to_dec, dec_to_hex, transform] = learned.hits;
    // What was learned under `auto` says nothing where the config says it.
    let pinned = learned.pinned.filter(|_| configured == IdFormat::Auto);
    IdsView {
        configured: configured.name(),
        learned: pinned.map(|(rule, _)| rule.name()),
        pinned_since: pinned.map(|(_, since)| since),
        hits: HitsView {
            exact,
            case,
            zeros,
            hex_to_dec,
            dec_to_hex,
            transform,
        },
        missed: learned.missed,
        unpinned: learned.unpinned,
    }
}

fn orphan(orphan: &Orphan) -> OrphanView {
    let receipt = &orphan.receipt;
    OrphanView {
        provider_message_id: receipt.provider_id.escape_ascii().to_string(),
        recipient: receipt.recipient.map(|phone| phone.number().to_string()),
        state: receipt.state.name(),
        error: receipt.err.to_string(),
        text: receipt.raw.to_string(),
        received_at: receipt.received_at,
        given_up_at: orphan.at,
        why: orphan.why.name(),
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
