//! Steps: the channels a message may take, one after the other, and which of its parts goes where.
//!
//! ```text
//!  message ─┬─ step 0: push ─┬─ leg: parts 0, 1 (devices of one app)  over APNs routes
//!           │                └─ leg: part 2     (a device of another) over FCM routes
//!           └─ step 1: sms ──── leg: parts 3, 4 (segments)            over SMPP routes
//! ```
//! One step is active at a time; its legs go out side by side, each in the queue of its own route. Parts
//! are numbered through the whole message, so that an answer names one of them for good. A message that is
//! one SMS, as nearly all are, has no [`Steps`]: its one step and leg follow from its own fields.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::message::{FailoverOn, Message, Parts, Phone, RouteIx};

/// Parts that a message may have in all its steps together: what a [`Parts`] holds.
pub const PARTS_MAX: usize = 32;

/// Devices of one message (contract.md §1: `to.devices`).
pub const DEVICES_MAX: usize = 10;

/// A way to reach somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// SMS.
    #[default]
    Sms,
    /// Push notifications to apps: APNs and FCM.
    Push,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sms, Self::Push];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Push => "push",
        }
    }

    /// The channel of a contract word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Whether its parts stand for themselves: a step has succeeded when one was taken, and what is
    /// refused of one says nothing of the others. Segments of an SMS are all needed.
    #[must_use]
    pub fn any_part_does(self) -> bool {
        self == Self::Push
    }

    /// Whether a provider's receipts name the id that it answered with. A push service sends none, and an
    /// app's name the message and the device (contract.md §2).
    #[must_use]
    pub fn is_receipted_by_id(self) -> bool {
        self == Self::Sms
    }
}

/// Why a step may give way to the next one: `step.on` of contract.md §1, as far as this version has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FallbackOn(pub u8);

impl FallbackOn {
    /// No route leads there.
    pub const NO_ROUTE: Self = Self(1);
    /// Nobody took it.
    pub const REJECTED: Self = Self(2);
    /// Both: the contract's default, but for `undelivered`, which push has not and SMS comes last for.
    pub const DEFAULT: Self = Self(3);

    /// Whether `one` is among them.
    #[must_use]
    pub fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    /// The contract's word for one of them.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NO_ROUTE => "no_route",
            _ => "rejected",
        }
    }
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its channel.
    pub channel: Channel,
    /// When the next one follows.
    pub on: FallbackOn,
    /// When the next route is tried.
    pub failover_on: FailoverOn,
}

/// Parts of one step that go over the same routes. No route is in two legs of a step, so that a queue
/// holds a message once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Its step.
    pub step: u8,
    /// Its first part.
    pub first: u8,
    /// How many parts it has.
    pub count: u8,
    /// Its routes in failover order. Empty: nobody takes it.
    pub routes: SmallVec<[RouteIx; 4]>,
}

/// Where a device's app gets its notifications from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// APNs.
    Ios,
    /// FCM.
    Android,
}

impl Platform {
    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
        }
    }
}

/// Whom a push goes to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushTarget {
    /// Apps on devices, each of which is a part.
    Devices(Vec<Device>),
    /// All that listen to an FCM topic: one part.
    Topic(Box<str>),
    /// All that listen to a combination of FCM topics: one part.
    Condition(Box<str>),
}

/// Without tokens, which are addresses.
impl std::fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Devices(devices) => write!(f, "{devices:?}"),
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Condition(condition) => write!(f, "condition {condition}"),
        }
    }
}

/// An app on a device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Whose service it is.
    pub platform: Platform,
    /// The app, as routes name it.
    pub app: Box<str>,
    /// Its address. APNs': lower-case hexadecimal digits.
    pub token: Box<str>,
    /// When the app gave the token to the customer, as the customer says; zero: not said.
    pub registered_at: UnixMs,
}

impl Device {
    /// Whether a token is its own. Apple's are the same in capitals.
    #[must_use]
    pub fn is_named(&self, token: &str) -> bool {
        match self.platform {
            Platform::Ios => self.token.eq_ignore_ascii_case(token),
            Platform::Android => *self.token == *token,
        }
    }
}

/// Without the token.
impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.app, self.platform.name())
    }
}

/// What a message does that is more than one SMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The steps, in order; at most five (contract.md §1), none with another's channel.
    pub steps: SmallVec<[Step; 2]>,
    /// The legs, by step and part.
    pub legs: Vec<Leg>,
    /// Whom its push goes to; `None`: no step is push.
    pub push: Option<PushTarget>,
    /// The app tells what became of its push (`receipts: "app"`): `sent` is not its end.
    pub app_receipts: bool,
}

impl Steps {
    /// What it takes on the heap, with itself.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let devices = match &self.push {
            Some(PushTarget::Devices(devices)) => devices
                .iter()
                .map(|one| size_of::<Device>() + one.app.len() + one.token.len())
                .sum(),
            Some(PushTarget::Topic(text) | PushTarget::Condition(text)) => text.len(),
            None => 0,
        };
        size_of::<Self>() + self.legs.len() * size_of::<Leg>() + devices
    }
}

/// A leg as seen from its message, whether it has [`Steps`] or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegView<'a> {
    /// Its place among the message's legs.
    pub at: u8,
    /// Its step.
    pub step: u8,
    /// Its channel.
    pub channel: Channel,
    /// Its first part.
    pub first: u8,
    /// How many parts it has.
    pub count: u8,
    /// Its routes in failover order.
    pub routes: &'a [RouteIx],
    /// When the next route is tried.
    pub failover_on: FailoverOn,
}

impl LegView<'_> {
    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> Parts {
        Parts::range(self.first, self.count)
    }

    /// The route after one of its own, if it has one.
    #[must_use]
    pub fn route_after(&self, route: RouteIx) -> Option<RouteIx> {
        let at = self.routes.iter().position(|known| *known == route)?;
        self.routes.get(at + 1).copied()
    }
}

impl Message {
    /// One of its legs.
    #[must_use]
    pub fn leg(&self, at: u8) -> Option<LegView<'_>> {
        let Some(steps) = &self.steps else {
            return (at == 0).then_some(LegView {
                at,
                step: 0,
                channel: Channel::Sms,
                first: 0,
                count: self.segments,
                routes: &self.routes,
                failover_on: self.failover_on,
            });
        };
        let leg = steps.legs.get(usize::from(at))?;
        let step = steps.steps.get(usize::from(leg.step))?;
        Some(LegView {
            at,
            step: leg.step,
            channel: step.channel,
            first: leg.first,
            count: leg.count,
            routes: &leg.routes,
            failover_on: step.failover_on,
        })
    }

    /// Its legs, by step and part.
    pub fn legs(&self) -> impl Iterator<Item = LegView<'_>> {
        (0..u8::MAX).map_while(|at| self.leg(at))
    }

    /// The leg that a part belongs to.
    #[must_use]
    pub fn leg_of(&self, part: u8) -> Option<LegView<'_>> {
        self.legs()
            .find(|leg| (leg.first..leg.first.saturating_add(leg.count)).contains(&part))
    }

    /// The leg of its SMS, if it has one.
    #[must_use]
    pub fn sms_leg(&self) -> Option<LegView<'_>> {
        self.legs().find(|leg| leg.channel == Channel::Sms)
    }

    /// The place of a part among the segments of its SMS.
    #[must_use]
    pub fn segment(&self, part: u8) -> u8 {
        let first = match &self.steps {
            None => 0,
            Some(_) => self.sms_leg().map_or(0, |leg| leg.first),
        };
        part.saturating_sub(first)
    }

    /// The step that it begins with: the first one that a route leads to, if those before it give way to
    /// others for want of one.
    #[must_use]
    pub fn first_step(&self) -> Option<u8> {
        if self.leads(0) {
            return Some(0);
        }
        self.step_after(0, FallbackOn::NO_ROUTE)
    }

    /// The step after one that has ended for this reason, if the plan has one that a route leads to.
    #[must_use]
    pub fn step_after(&self, ended: u8, trigger: FallbackOn) -> Option<u8> {
        let steps = &self.steps.as_ref()?.steps;
        let mut on = trigger;
        for (at, step) in (0..u8::MAX).zip(steps).skip(usize::from(ended)) {
            if at > ended && self.leads(at) {
                return Some(at);
            }
            if !step.on.has(on) {
                return None;
            }
            on = FallbackOn::NO_ROUTE;
        }
        None
    }

    /// Whether a route leads to a step.
    fn leads(&self, step: u8) -> bool {
        let mut legs = self.legs().filter(|leg| leg.step == step);
        legs.any(|leg| !leg.routes.is_empty())
    }

    /// How many parts it has in all.
    #[must_use]
    pub fn part_count(&self) -> u8 {
        match &self.steps {
            None => self.segments,
            Some(steps) => steps.legs.iter().map(|leg| leg.count).sum(),
        }
    }

    /// The same message with other routes for one of its legs.
    #[must_use]
    pub fn over(&self, leg: u8, routes: SmallVec<[RouteIx; 4]>) -> Self {
        let mut message = self.clone();
        match &mut message.steps {
            None => message.routes = routes,
            Some(steps) => {
                if let Some(leg) = steps.legs.get_mut(usize::from(leg)) {
                    leg.routes = routes;
                }
            }
        }
        message
    }

    /// The channel of a step.
    #[must_use]
    pub fn channel(&self, step: u8) -> Channel {
        let steps = self.steps.as_ref();
        let step = steps.and_then(|steps| steps.steps.get(usize::from(step)));
        step.map_or(Channel::Sms, |step| step.channel)
    }

    /// Whether any of its steps is of a channel.
    #[must_use]
    pub fn has_channel(&self, channel: Channel) -> bool {
        match &self.steps {
            None => channel == Channel::Sms,
            Some(steps) => steps.steps.iter().any(|step| step.channel == channel),
        }
    }

    /// The device that is a part of it.
    #[must_use]
    pub fn device(&self, part: u8) -> Option<&Device> {
        let leg = self.leg_of(part)?;
        if leg.channel != Channel::Push {
            return None;
        }
        match self.steps.as_ref()?.push.as_ref()? {
            PushTarget::Devices(devices) => {
                // Devices stand in the order of their parts.
                let first = self.legs().find(|leg| leg.channel == Channel::Push)?.first;
                devices.get(usize::from(part.checked_sub(first)?))
            }
            PushTarget::Topic(_) | PushTarget::Condition(_) => None,
        }
    }

    /// The place of a part among its devices, as the API counts them.
    #[must_use]
    pub fn device_place(&self, part: u8) -> u8 {
        let first = self.legs().find(|leg| leg.channel == Channel::Push);
        part.saturating_sub(first.map_or(0, |leg| leg.first))
    }

    /// The part that a device is; `None`: it has none there.
    #[must_use]
    pub fn device_part(&self, place: u8) -> Option<u8> {
        let first = self.legs().find(|leg| leg.channel == Channel::Push)?.first;
        let part = first.checked_add(place)?;
        self.device(part).map(|_| part)
    }

    /// What its parts of one leg count against a route's rate, in units: a unit is a segment of an SMS, as
    /// it reaches the handset, or a device (or the topic) of a push.
    #[must_use]
    pub fn units(&self, parts: Parts) -> u8 {
        match &self.steps {
            None => self.segments_of(parts.count()),
            Some(_) => match parts.iter().next().and_then(|part| self.leg_of(part)) {
                Some(leg) if leg.channel == Channel::Sms => self.segments_of(parts.count()),
                _ => parts.count(),
            },
        }
    }

    /// Where a part goes. One of a plain SMS costs nothing to tell.
    #[must_use]
    pub fn destination(&self, part: u8) -> Destination {
        let is_push = || {
            let leg = self.leg_of(part);
            leg.is_some_and(|leg| leg.channel == Channel::Push)
        };
        if self.steps.is_some() && is_push() {
            // No device is in two messages that this gateway knows of: each stands for itself.
            let at = self.line();
            return Destination { at, part };
        }
        Destination::of(self.to)
    }

    /// Whom it goes to, for the order between messages: the number of a plain SMS. Messages with steps
    /// wait for nobody: no push service keeps an order, and what falls back is late as it is.
    #[must_use]
    pub fn line(&self) -> u64 {
        match &self.steps {
            None => self.to.number(),
            // E.164 numbers are below 10^15.
            Some(_) => 1 << 63 | self.id.0,
        }
    }
}

/// Where a part goes, for what holds for one destination alone: all parts and messages to one number have
/// the same; a device of a push has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The number, or the line of the message.
    at: u64,
    /// The device's part.
    part: u8,
}

impl Destination {
    /// A number.
    #[must_use]
    pub fn of(phone: Phone) -> Self {
        let at = phone.number();
        Self { at, part: 0 }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::message::MessageId;

    fn push_then_sms() -> Message {
        let step = |channel| Step {
            channel,
            on: FallbackOn::DEFAULT,
            failover_on: FailoverOn::ALL,
        };
        let device = |platform, app: &str| Device {
            platform,
            app: app.into(),
            token: "ab".into(),
            registered_at: UnixMs::ZERO,
        };
        let leg = |step, first, count, route| Leg {
            step,
            first,
            count,
            routes: smallvec![RouteIx(route)],
        };
        Message {
            segments: 2,
            steps: Some(Box::new(Steps {
                steps: smallvec![step(Channel::Push), step(Channel::Sms)],
                legs: vec![leg(0, 0, 2, 1), leg(0, 2, 1, 2), leg(1, 3, 2, 3)],
                push: Some(PushTarget::Devices(vec![
                    device(Platform::Ios, "a"),
                    device(Platform::Ios, "b"),
                    device(Platform::Android, "c"),
                ])),
                app_receipts: false,
            })),
            ..Message::default()
        }
    }

    #[test]
    fn parts_belong_to_legs_and_devices() {
        let message = push_then_sms();
        assert_eq!(message.part_count(), 5);
        let app = |part| message.device(part).map(|device| &*device.app);
        assert_eq!(
            [0, 1, 2, 3].map(app),
            [Some("a"), Some("b"), Some("c"), None]
        );
        let leg = message.leg_of(4).unwrap();
        assert_eq!((leg.step, leg.channel, leg.first), (1, Channel::Sms, 3));
        assert_eq!(leg.parts(), Parts(0b11000));
        assert_eq!((message.segment(3), message.segment(4)), (0, 1));
        assert_eq!(message.leg_of(5), None);
        assert_eq!(message.units(Parts(0b11)), 2);
        assert_eq!(
            (message.channel(0), message.channel(1)),
            (Channel::Push, Channel::Sms)
        );
    }

    #[test]
    fn a_number_is_one_destination_and_a_device_is_one_of_its_own() {
        let to = Phone::parse("+46701234567").unwrap();
        let with = |id, steps| Message {
            id: MessageId(id),
            to,
            ..if steps {
                push_then_sms()
            } else {
                Message::default()
            }
        };
        let (plain, stepped, other) = (with(1, false), with(2, true), with(3, true));
        assert_eq!(plain.destination(0), Destination::of(to));
        assert_eq!(plain.destination(1), Destination::of(to));
        // Its SMS.
        assert_eq!(stepped.destination(3), Destination::of(to));
        assert_eq!(stepped.destination(4), Destination::of(to));
        let devices = [0, 1, 2].map(|part| stepped.destination(part));
        assert!(devices[0] != devices[1] && devices[1] != devices[2]);
        assert!(!devices.contains(&Destination::of(to)));
        assert!(!devices.contains(&other.destination(0)));
    }

    #[test]
    fn a_plain_sms_is_one_leg_of_its_own_fields() {
        let message = Message {
            segments: 3,
            routes: smallvec![RouteIx(7), RouteIx(8)],
            ..Message::default()
        };
        let leg = message.leg(0).unwrap();
        assert_eq!((leg.parts(), leg.channel), (Parts(0b111), Channel::Sms));
        assert_eq!(leg.route_after(RouteIx(7)), Some(RouteIx(8)));
        assert_eq!(leg.route_after(RouteIx(8)), None);
        assert_eq!((message.legs().count(), message.part_count()), (1, 3));
    }
}
