//! Shown: the routes as `GET /v1/routes` tells of them.

use std::sync::Arc;

use crate::clock::{Clock, UnixMs};
use crate::config::push::PushService;
use crate::config::{Bind, Config, IdFormat};
use crate::connect::smpp;
use crate::dispatch::limit::pace::LimitedBy;
use crate::dispatch::view::{LinkState, Refusal, RouteStates, Standing};
use crate::link::{Carries, Then};
use crate::message::{Phone, RouteIx};
use crate::outcome::{FormWords, PartRule, Reason};
use crate::route_view::{
    Depths, HitsView, Hold, IdsView, KeepAliveView, LinkView, OrphanView, PartsView, QueueView,
    RateView, ReceiptsView, RefusalView, RouteState, RouteView, ThrottleView,
};
use crate::store::{Learned, Orphan, Store, Stray};

/// The connectors' words for the forms that they write messages in, by the protocols of the timeline.
pub(super) const FORM_WORDS: FormWords = FormWords(&[("smpp", smpp::form::WORDS)]);

/// What is shown of the routes, and where it comes from.
pub(super) struct Shown {
    routes: Vec<Configured>,
    states: Arc<RouteStates>,
    store: Store,
    clock: Clock,
}

/// What the config says of a route.
struct Configured {
    name: String,
    kind: Kind,
    route: RouteIx,
    per_second: Option<f64>,
}

/// What it leads to, and what there is to show of such a one alone.
#[derive(Clone, Copy)]
enum Kind {
    Smpp {
        receipts: bool,
        id_format: IdFormat,
        parts: PartRule,
        /// Messages are to go over some of its links.
        sends: bool,
    },
    Apns,
    Fcm,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Smpp { .. } => "smpp",
            Self::Apns => "apns",
            Self::Fcm => "fcm",
        }
    }

    /// A link that is up, in the peers' own word: SMPP binds, one way or both (SMPP v3.4 §2.2).
    fn up(self, carries: Carries) -> &'static str {
        match (self, carries) {
            (Self::Smpp { .. }, Carries::Both) => "bound_trx",
            (Self::Smpp { .. }, Carries::Attempts) => "bound_tx",
            (Self::Smpp { .. }, Carries::Receipts) => "bound_rx",
            (Self::Apns | Self::Fcm, _) => "connected",
        }
    }

    /// A peer's code, as its documents write it: a command_status, an HTTP status.
    fn code(self, code: u32) -> String {
        match self {
            Self::Smpp { .. } => format!("0x{code:08X}"),
            Self::Apns | Self::Fcm => code.to_string(),
        }
    }
}

impl Shown {
    pub(super) fn new(
        config: &Config,
        store: &Store,
        states: Arc<RouteStates>,
        clock: Clock,
    ) -> Self {
        let names = store.names();
        let push = config.push.iter().filter_map(|(name, route)| {
            Some(Configured {
                name: name.clone(),
                kind: match route.service {
                    PushService::Apns(_) => Kind::Apns,
                    PushService::Fcm(_) => Kind::Fcm,
                },
                route: names.route_ix(name)?,
                per_second: super::push::configured(route),
            })
        });
        let smpp = config.routes.iter().filter_map(|(name, route)| {
            Some(Configured {
                name: name.clone(),
                kind: Kind::Smpp {
                    receipts: route.receipts.enabled,
                    id_format: route.receipts.id_format,
                    parts: route.receipts.parts,
                    sends: route.bind != Bind::Receiver,
                },
                route: names.route_ix(name)?,
                per_second: super::map::limits(route).rate.map(|rate| rate.per_second),
            })
        });
        let mut routes: Vec<_> = smpp.chain(push).collect();
        routes.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            routes,
            states,
            store: store.clone(),
            clock,
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

    /// What keeps a route from sending; nothing for one that is not in the config.
    pub(super) fn hold(&self, route: RouteIx) -> Hold {
        let state = self.states.state(route);
        state.map_or_else(Hold::default, |state| Hold {
            reason: state.hold,
            in_flight: state.in_flight,
        })
    }

    fn route(&self, configured: &Configured) -> Option<RouteView> {
        let state = self.states.state(configured.route)?;
        let now = self.clock.now();
        let kind = configured.kind;
        let pace = state.pace;
        Some(RouteView {
            name: configured.name.clone(),
            r#type: kind.name(),
            state: standing(&state.links, kind),
            links: state.links.iter().map(|one| link(one, kind, now)).collect(),
            window: whole(state.window),
            window_effective: whole(pace.window_now),
            in_flight: whole(state.in_flight),
            rate: pace
                .rate_now
                .or(configured.per_second)
                .map(|effective| RateView {
                    configured: configured.per_second,
                    effective,
                    limited_by: pace.limited_by.map(LimitedBy::name),
                }),
            throttle: ThrottleView {
                paused_until: pace.paused_until,
                last_minute: pace.throttled_last_minute,
                destinations_waiting: whole(pace.destinations_waiting),
                messages_behind: whole(pace.behind),
            },
            queue: QueueView {
                depth: Depths::by_lane(self.store.depths(configured.route)),
                oldest: state.oldest,
            },
            hold_reason: state.hold,
            receipts: self.receipts(configured, &state.links),
            last_refusal: state.refusal.as_ref().map(|one| refusal(one, kind)),
        })
    }

    /// A route's receipts; push services send none.
    fn receipts(&self, configured: &Configured, links: &[LinkState]) -> Option<ReceiptsView> {
        let Kind::Smpp {
            receipts,
            id_format,
            parts,
            ..
        } = configured.kind
        else {
            return None;
        };
        let counts = self.store.receipt_counts(configured.route);
        let learned = self.store.learned(configured.route);
        let mut carries = links.iter().filter_map(LinkState::carries);
        Some(ReceiptsView {
            enabled: receipts,
            reachable: carries.any(Carries::receipts),
            matched: counts.matched,
            parked: counts.parked,
            orphans: u64::try_from(self.store.orphan_count(configured.route)).unwrap_or(0),
            ids: ids(id_format, &learned),
            parts: PartsView {
                configured: parts.name(),
                looks_like: learned
                    .looks_like()
                    .filter(|_| parts == PartRule::All)
                    .map(PartRule::name),
            },
            last: counts.last.known(),
        })
    }
}

fn refusal(refusal: &Refusal, kind: Kind) -> RefusalView {
    RefusalView {
        at: refusal.at,
        code: kind.code(refusal.code),
        reason: refusal.reason.map(Reason::code),
        text: refusal.text.as_deref().map(str::to_owned),
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
    let of = |id: &[u8], recipient: Option<Phone>, received_at| OrphanView {
        provider_message_id: id.escape_ascii().to_string(),
        recipient: recipient.map(|phone| phone.number().to_string()),
        state: None,
        error: String::new(),
        text: String::new(),
        pdu: String::new(),
        received_at,
        given_up_at: orphan.at,
        why: orphan.why.name(),
    };
    match &orphan.receipt {
        Stray::Read(receipt) => OrphanView {
            state: Some(receipt.state.name()),
            error: receipt.err.to_string(),
            text: receipt.raw.to_string(),
            pdu: hex(receipt.pdu.octets()),
            ..of(&receipt.provider_id, receipt.recipient, receipt.received_at)
        },
        Stray::Unreadable(receipt) => OrphanView {
            text: receipt.text.to_string(),
            pdu: hex(&receipt.pdu),
            ..of(&receipt.provider_id, receipt.recipient, receipt.received_at)
        },
    }
}

/// Two digits an octet.
fn hex(octets: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let pair = |octet: &u8| [digit(octet >> 4), digit(octet & 0xF)];
    octets.iter().flat_map(pair).collect()
}

/// How a route stands by its links.
fn standing(links: &[LinkState], kind: Kind) -> RouteState {
    let sends = !matches!(kind, Kind::Smpp { sends: false, .. });
    let needed = links
        .iter()
        .filter(|link| link.carries().is_some() || link.standing.is_needed());
    let (mut works, mut whole) = (false, true);
    for link in needed {
        match link.carries() {
            Some(carries) => works |= carries.attempts() || !sends,
            None => whole = false,
        }
    }
    match (works, whole) {
        (false, _) => RouteState::Down,
        (true, false) => RouteState::Degraded,
        (true, true) => RouteState::Up,
    }
}

fn link(link: &LinkState, kind: Kind, now: UnixMs) -> LinkView {
    let (state, retry_at) = match link.standing {
        Standing::Up(carries) => (kind.up(carries), None),
        Standing::New => ("waiting", None),
        Standing::Down(Then::Again(at)) => ("waiting", Some(at)),
        Standing::Down(Then::TooMany(at)) => ("too_many", Some(at)),
        Standing::Down(Then::Stopped) => ("stopped", None),
        Standing::Unused => ("unused", None),
        Standing::Listening => ("listening", None),
    };
    LinkView {
        host: link.host.clone(),
        state,
        window: whole(link.window),
        in_flight: whole(link.in_flight),
        since: link.since,
        // A link that waits for a token is tried again when that comes, and not at a time that is known.
        retry_at: retry_at.filter(|at| *at > now),
        last_error: link.last_error.clone(),
        last_goaway: link.last_goaway.clone(),
        keep_alive: link.pulse.as_ref().and_then(|pulse| {
            let beat = pulse.beat()?;
            Some(KeepAliveView {
                heard_at: beat.heard_at,
                silent_ms: now.0.saturating_sub(beat.heard_at.0),
                round_trip_ms: beat.round_trip.map(|took| took.as_secs_f64() * 1_000.0),
                misses: beat.misses,
            })
        }),
    }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(standings: &[Standing]) -> Vec<LinkState> {
        let link = |standing: &Standing| LinkState {
            standing: *standing,
            ..LinkState::default()
        };
        standings.iter().map(link).collect()
    }

    #[test]
    fn a_route_stands_by_the_links_that_send() {
        let (tx, rx) = (
            Standing::Up(Carries::Attempts),
            Standing::Up(Carries::Receipts),
        );
        let smpp = |sends| Kind::Smpp {
            receipts: true,
            id_format: IdFormat::Auto,
            parts: PartRule::All,
            sends,
        };
        let of = |standings: &[Standing]| standing(&links(standings), smpp(true));
        assert_eq!(of(&[tx, rx]), RouteState::Up);
        assert_eq!(of(&[tx, Standing::New]), RouteState::Degraded);
        assert_eq!(of(&[Standing::Down(Then::Stopped), rx]), RouteState::Down);
        let both = Standing::Up(Carries::Both);
        assert_eq!(of(&[both, Standing::Unused]), RouteState::Up);
        assert_eq!(of(&[tx, Standing::Listening]), RouteState::Up);
        assert_eq!(of(&[]), RouteState::Down);
        assert_eq!(standing(&links(&[rx]), smpp(false)), RouteState::Up);
    }
}
