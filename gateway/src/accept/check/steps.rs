//! The channels that a message takes, one after the other: `plan`, `channel`, or what follows from
//! `content` and `to`; and which of its parts goes where.

use smallvec::{SmallVec, smallvec};

use super::recipient::Audience;
use super::{Check, ROUTES_DEFAULT, below};
use crate::accept::problem::{Code, FieldError};
use crate::accept::request::{FailoverIn, Request, StepIn, Str};
use crate::accept::shape::not_available;
use crate::accept::{Door, PushRequest, PushRoutes};
use crate::message::steps::{
    DEVICES_MAX, Device, FallbackOn, Leg, PARTS_MAX, Platform, PushTarget, Step, Steps,
};
use crate::message::{Channel, Class, FailoverOn, Message, ROUTES_MAX, RouteIx};

/// Steps of a plan (contract.md §1).
const STEPS_MAX: usize = 5;
/// Parts that an SMS may have: `max_segments` of contract.md §1.
const SEGMENTS_MAX: usize = 20;

// Each channel comes once, so that no plan has more parts than a message holds.
const _: () = assert!(DEVICES_MAX + SEGMENTS_MAX <= PARTS_MAX);

/// Which channels ask something of the rest of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) sms: bool,
    pub(super) push: bool,
}

impl Wanted {
    pub(super) const NONE: Self = Self {
        sms: false,
        push: false,
    };
}

/// A step, and the most routes that each of its parts may try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) step: Step,
    pub(super) max_routes: usize,
}

type AskedSteps = SmallVec<[Asked; 2]>;

/// An app that a push goes to, and why over these routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushApp {
    pub(crate) platform: Platform,
    pub(crate) app: Box<str>,
    /// How many parts.
    pub(crate) parts: usize,
    /// Of the message's legs, the one that they are in.
    pub(crate) leg: usize,
    pub(crate) why: PushRoutes,
}

impl Check<'_> {
    /// The channels of a request; of a plan those that it names, whatever else is wrong with it. Where it
    /// names none that there is, that is what is wrong, and nothing follows from it.
    pub(super) fn wanted(&mut self, request: &Request<'_>) -> Wanted {
        let named = |name: &str| Wanted {
            sms: name == Channel::Sms.name(),
            push: name == Channel::Push.name(),
        };
        match (&request.channel, &request.plan) {
            (Some(channel), _) => named(channel),
            (None, Some(plan)) => {
                let channels = plan.steps.iter().filter_map(|step| step.channel.as_deref());
                channels.map(named).fold(Wanted::NONE, |all, one| Wanted {
                    sms: all.sms || one.sms,
                    push: all.push || one.push,
                })
            }
            (None, None) => self.inferred(request),
        }
    }

    /// The only channel that is possible: one that has an address and something to say. Where nothing is,
    /// the one that there is anything of.
    fn inferred(&mut self, request: &Request<'_>) -> Wanted {
        let (to, content) = (request.to.as_ref(), request.content.as_ref());
        let text = content.is_some_and(|content| content.text.is_some());
        let says_sms = content.is_some_and(|content| content.sms.is_some());
        let says_push = content.is_some_and(|content| content.push.is_some());
        let to_sms = to.is_some_and(|to| to.phone.is_some());
        // What has the wrong shape was taken out, but its place says what was meant.
        let meant = |root: &str| {
            let mut places = self
                .errors
                .iter()
                .filter_map(|known| known.pointer.as_deref());
            places.any(|place| below(place, root))
        };
        let meant_push = ["/to/devices", "/to/topic", "/to/condition"]
            .into_iter()
            .any(meant);
        let to_push = meant_push || to.is_some_and(|to| to.is_pushed_to());
        let sms = to_sms && (text || says_sms);
        let push = to_push && (text || says_push);
        if sms && push {
            let detail = "sms and push are both possible: say channel, or plan.steps";
            let error = FieldError::at("/plan", "required", detail);
            self.add(error.alone(Code::PlanRequired));
        }
        if sms || push {
            return Wanted { sms, push };
        }
        let push = (to_push && !to_sms) || (!to_sms && says_push && !says_sms);
        Wanted { sms: !push, push }
    }

    /// The steps of a request, in order.
    pub(super) fn steps(
        &mut self,
        request: &Request<'_>,
        class: Class,
        wanted: Wanted,
    ) -> AskedSteps {
        if let Some(channel) = request.channel.as_deref() {
            self.channel(|| "/channel".into(), Some(channel));
        }
        let Some(plan) = &request.plan else {
            let channel = if wanted.push {
                Channel::Push
            } else {
                Channel::Sms
            };
            return smallvec![Asked {
                step: Step {
                    channel,
                    on: FallbackOn::DEFAULT,
                    failover_on: failover_by_class(class),
                },
                max_routes: ROUTES_DEFAULT,
            }];
        };
        if !(1..=STEPS_MAX).contains(&plan.steps.len()) {
            let detail = format!("must have 1..{STEPS_MAX} steps");
            self.wrong("/plan/steps", "out_of_range", detail);
            return AskedSteps::new();
        }
        let mut asked = AskedSteps::new();
        for (index, step) in plan.steps.iter().enumerate() {
            let at = |field: &str| format!("/plan/steps/{index}/{field}");
            let Some(channel) = self.channel(|| at("channel"), step.channel.as_deref()) else {
                continue;
            };
            if asked.iter().any(|known| known.step.channel == channel) {
                let detail = "a channel comes once in a plan, in this version";
                let error = FieldError::at(at("channel"), "not_available", detail);
                self.add(error.alone(Code::NotAvailable));
                continue;
            }
            self.until(&at, channel, step);
            let is_last = index + 1 == plan.steps.len();
            let on = self.fallback_on(&at, channel, step, is_last);
            let (max_routes, failover_on) = self.failover(&at, step.failover.as_ref(), class);
            asked.push(Asked {
                step: Step {
                    channel,
                    on,
                    failover_on,
                },
                max_routes,
            });
        }
        asked
    }

    fn channel(&mut self, at: impl Fn() -> String, channel: Option<&str>) -> Option<Channel> {
        let error = match channel {
            Some("email" | "rcs") => {
                FieldError::at(at(), "channel_not_enabled", "").alone(Code::ChannelNotEnabled)
            }
            Some(word) => match Channel::from_name(word) {
                Some(channel) => return Some(channel),
                None => FieldError::at(at(), "not_one_of", "must be sms or push"),
            },
            None => FieldError::at(at(), "required", "sms or push"),
        };
        self.add(error);
        None
    }

    /// `until`: a step ends with the best that its channel tells of, and that is all this version has.
    fn until(&mut self, at: &impl Fn(&str) -> String, channel: Channel, step: &StepIn<'_>) {
        match step.until.as_deref() {
            None => {}
            Some(word) if word == StepIn::until_default(channel) => {}
            Some("sent" | "delivered" | "read") => self.add(not_available(at("until"))),
            Some(_) => {
                let detail = "must be sent, delivered or read";
                self.wrong(&at("until"), "not_one_of", detail);
            }
        }
    }

    fn fallback_on(
        &mut self,
        at: &impl Fn(&str) -> String,
        channel: Channel,
        step: &StepIn<'_>,
        is_last: bool,
    ) -> FallbackOn {
        // What was sent as SMS stays with it: a later `undelivered` does not begin the next step.
        let stays = channel == Channel::Sms && !is_last;
        let later = "a step that follows an sms which was not delivered is not in this version: say \
                     on: no_route, rejected";
        let Some(words) = &step.on else {
            if stays {
                let error = FieldError::at(at("on"), "not_available", later);
                self.add(error.alone(Code::NotAvailable));
            }
            return FallbackOn::DEFAULT;
        };
        let mut on = FallbackOn(0);
        for (index, word) in words.iter().enumerate() {
            let at = || at(&format!("on/{index}"));
            match &**word {
                "no_route" => on.0 |= FallbackOn::NO_ROUTE.0,
                "rejected" => on.0 |= FallbackOn::REJECTED.0,
                // No push is ever undelivered, and after the last step nothing follows.
                "undelivered" if !stays => {}
                "undelivered" => {
                    let error = FieldError::at(at(), "not_available", later);
                    self.add(error.alone(Code::NotAvailable));
                }
                "expired" | "unknown" | "timeout" => self.add(not_available(at())),
                _ => {
                    let detail =
                        "must be no_route, rejected, undelivered, expired, unknown or timeout";
                    self.wrong(&at(), "not_one_of", detail);
                }
            }
        }
        on
    }

    fn failover(
        &mut self,
        at: &impl Fn(&str) -> String,
        failover: Option<&FailoverIn<'_>>,
        class: Class,
    ) -> (usize, FailoverOn) {
        let by_class = failover_by_class(class);
        let Some(failover) = failover else {
            return (ROUTES_DEFAULT, by_class);
        };
        let most = i64::try_from(ROUTES_MAX).unwrap_or(i64::MAX);
        let max = self.integer(&at("failover/max_routes"), failover.max_routes, 1..=most);
        let max = max.and_then(|max| usize::try_from(max).ok());
        let on = failover
            .on
            .as_ref()
            .map_or(by_class, |words| self.failover_on(at, words));
        (max.unwrap_or(ROUTES_DEFAULT), on)
    }

    fn failover_on(&mut self, at: &impl Fn(&str) -> String, words: &[Str<'_>]) -> FailoverOn {
        let mut on = FailoverOn(0);
        for (index, word) in words.iter().enumerate() {
            let named = match &**word {
                "route_down" => FailoverOn::ROUTE_DOWN,
                "throttled" => FailoverOn::THROTTLED,
                "transient" => FailoverOn::TRANSIENT,
                "no_response" => FailoverOn::NO_RESPONSE,
                _ => {
                    let at = at(&format!("failover/on/{index}"));
                    let detail = "must be route_down, throttled, transient or no_response";
                    self.wrong(&at, "not_one_of", detail);
                    continue;
                }
            };
            on.0 |= named.0;
        }
        on
    }
}

fn failover_by_class(class: Class) -> FailoverOn {
    match class {
        Class::Promotional => FailoverOn(FailoverOn::ALL.0 & !FailoverOn::NO_RESPONSE.0),
        _ => FailoverOn::ALL,
    }
}

/// Lays a message with a push out in legs, after its SMS, if it has one, was planned. Tells why.
pub(super) fn lay_out(
    door: &Door,
    message: &mut Message,
    asked: &[Asked],
    (audience, app_receipts): (Audience<'_>, bool),
) -> Vec<PushApp> {
    let mut legs: Vec<Leg> = Vec::new();
    let mut told = Vec::new();
    let mut push = None;
    let mut audience = Some(audience);
    for (step, one) in (0..u8::MAX).zip(asked) {
        match one.step.channel {
            Channel::Sms => {
                let routes = std::mem::take(&mut message.routes);
                add(&mut legs, step, message.segments.into(), routes);
            }
            Channel::Push => {
                let Some(audience) = audience.take() else {
                    continue;
                };
                let (to, mut apps) = apps(door, message, one.max_routes, audience);
                let shared = share(&mut apps);
                for (place, routes) in shared.into_iter().enumerate() {
                    let of_leg = apps.iter().filter(|app| app.leg == place);
                    let parts = of_leg.map(|app| app.parts).sum();
                    add(&mut legs, step, parts, routes);
                }
                push = Some(in_order(to, &apps));
                let before = legs.iter().filter(|leg| leg.step < step).count();
                apps.iter_mut().for_each(|app| app.leg += before);
                told = apps;
            }
        }
    }
    message.steps = Some(Box::new(Steps {
        steps: asked.iter().map(|one| one.step).collect(),
        legs,
        push,
        app_receipts,
    }));
    told
}

/// Adds the next parts.
fn add(legs: &mut Vec<Leg>, step: u8, parts: usize, routes: Routes) {
    let last = legs.last();
    legs.push(Leg {
        step,
        first: last.map_or(0, |last| last.first.saturating_add(last.count)),
        count: u8::try_from(parts).unwrap_or(u8::MAX),
        routes,
    });
}

/// The apps that a push goes to, each with the routes that it would have alone.
fn apps(
    door: &Door,
    message: &Message,
    max_routes: usize,
    audience: Audience<'_>,
) -> (PushTarget, Vec<PushApp>) {
    let app = |platform, app: &str| PushApp {
        platform,
        app: app.into(),
        parts: 1,
        leg: 0,
        why: door.planner.push(PushRequest {
            tenant: message.tenant,
            class: message.class,
            platform,
            app,
            max_routes,
        }),
    };
    let mut found: Vec<PushApp> = Vec::new();
    if let PushTarget::Devices(devices) = &audience.to {
        for device in devices {
            match found.iter_mut().find(|known| known.is_of(device)) {
                Some(known) => known.parts += 1,
                None => found.push(app(device.platform, &device.app)),
            }
        }
    } else {
        found.push(app(Platform::Android, audience.app));
    }
    (audience.to, found)
}

impl PushApp {
    fn is_of(&self, device: &Device) -> bool {
        self.platform == device.platform && self.app == device.app
    }
}

/// Shares the routes out among legs, so that none is in two of them, as a queue holds a message once:
/// apps with the same routes are one leg, and of what two others have in common the first keeps it. An
/// app that would be left without any goes with the first in one leg, over what both have.
fn share(apps: &mut [PushApp]) -> Vec<Routes> {
    let mut legs: Vec<Routes> = Vec::new();
    for app in apps {
        let own = &app.why.routes;
        let taken = |route: &RouteIx| legs.iter().position(|leg| leg.contains(route));
        let free: Routes = own
            .iter()
            .filter(|route| taken(route).is_none())
            .copied()
            .collect();
        let same = legs.iter().position(|leg| leg == own);
        let common = own.iter().find_map(taken).filter(|_| free.is_empty());
        match same.or(common) {
            Some(place) => {
                if let Some(leg) = legs.get_mut(place) {
                    leg.retain(|route| own.contains(route));
                }
                app.leg = place;
            }
            None => {
                app.leg = legs.len();
                legs.push(free);
            }
        }
    }
    legs
}

/// Devices in the order of their legs; those of one leg stay as the client has them.
fn in_order(to: PushTarget, apps: &[PushApp]) -> PushTarget {
    match to {
        PushTarget::Devices(mut devices) => {
            let leg = |device: &Device| {
                let app = apps.iter().find(|app| app.is_of(device));
                app.map_or(0, |app| app.leg)
            };
            devices.sort_by_key(leg);
            PushTarget::Devices(devices)
        }
        to => to,
    }
}

type Routes = SmallVec<[RouteIx; 4]>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared(lists: &[&[u16]]) -> (Vec<usize>, Vec<Vec<u16>>) {
        let app = |routes: &&[u16]| PushApp {
            platform: Platform::Ios,
            app: "a".into(),
            parts: 1,
            leg: 0,
            why: PushRoutes {
                routes: routes.iter().map(|route| RouteIx(*route)).collect(),
                ..PushRoutes::default()
            },
        };
        let mut apps: Vec<_> = lists.iter().map(app).collect();
        let legs = share(&mut apps);
        (
            apps.iter().map(|app| app.leg).collect(),
            legs.iter()
                .map(|leg| leg.iter().map(|route| route.0).collect())
                .collect(),
        )
    }

    #[test]
    fn routes_are_shared_out_so_that_nobody_is_left_without() {
        for (lists, places, legs) in [
            (&[&[1, 2][..], &[1, 2]][..], &[0, 0][..], &[&[1, 2][..]][..]),
            (&[&[1], &[2]], &[0, 1], &[&[1], &[2]]),
            (&[&[], &[1], &[]], &[0, 1, 0], &[&[], &[1]]),
            (&[&[1], &[1, 2]], &[0, 1], &[&[1], &[2]]),
            (&[&[1, 2], &[2]], &[0, 0], &[&[2]]),
            (&[&[1, 2], &[2, 1]], &[0, 0], &[&[1, 2]]),
        ] {
            let told = shared(lists);
            assert_eq!(told.0, places, "{lists:?}");
            assert_eq!(told.1, legs, "{lists:?}");
        }
    }

    proptest! {
        #[test]
        fn no_route_is_in_two_legs_and_each_app_keeps_one_of_its_own(
            lists in prop::collection::vec(prop::collection::btree_set(0u16..5, 0..4), 1..6)
        ) {
            let lists: Vec<Vec<u16>> = lists.into_iter().map(|l| l.into_iter().collect()).collect();
            let slices: Vec<&[u16]> = lists.iter().map(|list| &list[..]).collect();
            let (places, legs) = shared(&slices);
            let mut all: Vec<u16> = legs.iter().flatten().copied().collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), count);
            for (list, place) in lists.iter().zip(places) {
                let leg = &legs[place];
                prop_assert!(leg.iter().all(|route| list.contains(route)));
                prop_assert_eq!(leg.is_empty(), list.is_empty());
            }
        }
    }
}
