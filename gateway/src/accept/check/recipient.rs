//! Whom a message goes to: a number, and what a push goes to.

use std::time::Duration;

use codecs::apns::DeviceToken;
use codecs::fcm::Target;

use super::{Check, NOT_RFC3339, timestamp};
use crate::accept::problem::{Code, FieldError};
use crate::accept::request::{DeviceIn, Request, To};
use crate::clock::UnixMs;
use crate::message::Phone;
use crate::message::steps::{DEVICES_MAX, Device, Platform, PushTarget};

/// Characters of an app's name (contract.md §1).
const APP_MAX: usize = 64;
const APP_RANGE: &str = "must have 1..64 characters";

/// How far ahead of our clock a `registered_at` may be (chosen: phones' clocks are wrong by less, or by
/// so much that what they say means nothing).
const REGISTERED_AHEAD: Duration = Duration::from_secs(300);

/// What a push goes to, checked.
#[derive(Debug)]
pub(super) struct Audience<'r> {
    pub(super) to: PushTarget,
    /// The app of a topic or condition; empty with devices, which have their own.
    pub(super) app: &'r str,
}

impl Check<'_> {
    /// The number; `None` where it is wrong, or left out and not `wanted`.
    pub(super) fn phone(&mut self, request: &Request<'_>, wanted: bool) -> Option<Phone> {
        let at = match &request.to {
            Some(to) if !to.bare => "/to/phone",
            _ => "/to",
        };
        let phone = request.to.as_ref().and_then(|to| to.phone.as_deref());
        let Some(phone) = phone else {
            if wanted {
                let error = FieldError::at(at, "required", "a phone number in E.164");
                self.add(error.alone(Code::InvalidRecipient));
            }
            return None;
        };
        let read = Phone::parse(phone);
        if read.is_none() {
            let error = FieldError::at(at, "not_e164", "must be + and 7 to 15 digits");
            self.add(error.alone(Code::InvalidRecipient));
        }
        read
    }

    /// What a push goes to; `None` where any of it is wrong, or left out and not `wanted`.
    pub(super) fn audience<'r>(
        &mut self,
        request: &'r Request<'_>,
        wanted: bool,
    ) -> Option<Audience<'r>> {
        let Some(to) = request.to.as_ref().filter(|to| to.is_pushed_to()) else {
            if request.to.as_ref().is_some_and(|to| to.app.is_some()) {
                self.wrong("/to/app", "exclusive", "goes with topic or condition only");
            }
            if wanted {
                let detail = "a push needs devices, or a topic or condition";
                let error = FieldError::at("/to/devices", "required", detail);
                self.add(error.alone(Code::InvalidRecipient));
            }
            return None;
        };
        if to.devices.is_some() {
            for (at, other) in [
                ("/to/topic", &to.topic),
                ("/to/condition", &to.condition),
                ("/to/app", &to.app),
            ] {
                if other.is_some() {
                    self.wrong(
                        at,
                        "exclusive",
                        "excludes devices, which name their own apps",
                    );
                }
            }
        } else if to.topic.is_some() && to.condition.is_some() {
            self.wrong("/to/condition", "exclusive", "excludes topic");
        }
        match &to.devices {
            Some(devices) => self.devices(devices).map(|devices| Audience {
                to: PushTarget::Devices(devices),
                app: "",
            }),
            None => self.listeners(to),
        }
    }

    /// A topic or condition.
    fn listeners<'r>(&mut self, to: &'r To<'_>) -> Option<Audience<'r>> {
        let app = to.app.as_deref();
        self.app("/to/app", app);
        let (at, target, push) = match (to.topic.as_deref(), to.condition.as_deref()) {
            (Some(topic), _) => {
                let push = PushTarget::Topic(topic.into());
                ("/to/topic", Target::Topic(topic), push)
            }
            (None, Some(condition)) => {
                let push = PushTarget::Condition(condition.into());
                ("/to/condition", Target::Condition(condition), push)
            }
            (None, None) => return None,
        };
        if let Err(error) = target.check() {
            let error = FieldError::at(at, "invalid", error.to_string());
            self.add(error.alone(Code::InvalidRecipient));
            return None;
        }
        Some(Audience {
            to: push,
            app: app?,
        })
    }

    fn app(&mut self, at: &str, app: Option<&str>) {
        match app.map(|app| app.chars().count()) {
            None => self.wrong(at, "required", "the app, as routes name it"),
            Some(1..=APP_MAX) => {}
            Some(_) => self.wrong(at, "out_of_range", APP_RANGE),
        }
    }

    fn devices(&mut self, devices: &[DeviceIn<'_>]) -> Option<Vec<Device>> {
        if !(1..=DEVICES_MAX).contains(&devices.len()) {
            let detail = format!("must have 1..{DEVICES_MAX} devices");
            let error = FieldError::at("/to/devices", "out_of_range", detail);
            self.add(error.alone(Code::InvalidRecipient));
            return None;
        }
        let mut read: Vec<Device> = Vec::with_capacity(devices.len());
        for (index, device) in devices.iter().enumerate() {
            let Some(device) = self.device(index, device) else {
                continue;
            };
            // The same notification twice on one screen is nobody's wish.
            let same = |known: &Device| {
                known.platform == device.platform
                    && known.app == device.app
                    && known.token == device.token
            };
            if read.iter().any(same) {
                let at = format!("/to/devices/{index}/token");
                self.wrong(&at, "duplicate_device", "comes twice");
            }
            read.push(device);
        }
        (read.len() == devices.len()).then_some(read)
    }

    fn device(&mut self, index: usize, device: &DeviceIn<'_>) -> Option<Device> {
        let at = |field: &str| format!("/to/devices/{index}/{field}");
        let platform = match device.platform.as_deref() {
            Some("ios") => Some(Platform::Ios),
            Some("android") => Some(Platform::Android),
            Some("web") => {
                let error = FieldError::at(at("platform"), "channel_not_enabled", "");
                self.add(error.alone(Code::ChannelNotEnabled));
                None
            }
            Some(_) => {
                self.wrong(&at("platform"), "not_one_of", "must be ios or android");
                None
            }
            None => {
                self.wrong(&at("platform"), "required", "ios or android");
                None
            }
        };
        let app = device.app.as_deref();
        if app.is_none_or(|app| !(1..=APP_MAX).contains(&app.chars().count())) {
            self.app(&at("app"), app);
        }
        let token = self.token(index, platform, device.token.as_deref());
        let registered_at = match device.registered_at.as_deref() {
            None => Some(UnixMs::ZERO),
            Some(text) => {
                let time = timestamp(text);
                if time.is_none() {
                    self.wrong(&at("registered_at"), "not_rfc3339", NOT_RFC3339);
                } else if time > Some(self.origin.now.plus(REGISTERED_AHEAD)) {
                    let detail = "must not be more than 5 minutes in the future";
                    self.wrong(&at("registered_at"), "out_of_range", detail);
                }
                time
            }
        };
        Some(Device {
            platform: platform?,
            app: app?.into(),
            token: token?,
            registered_at: registered_at?,
        })
    }

    /// The token as its service has it. What is wrong never repeats it.
    fn token(
        &mut self,
        index: usize,
        platform: Option<Platform>,
        token: Option<&str>,
    ) -> Option<Box<str>> {
        let at = || format!("/to/devices/{index}/token");
        let Some(token) = token else {
            self.wrong(&at(), "required", "the device's token");
            return None;
        };
        let read: Result<Box<str>, String> = match platform? {
            Platform::Ios => match DeviceToken::parse(token) {
                Ok(token) => Ok(token.as_str().into()),
                Err(error) => Err(error.to_string()),
            },
            Platform::Android => match Target::Token(token).check() {
                Ok(()) => Ok(token.into()),
                Err(error) => Err(error.to_string()),
            },
        };
        match read {
            Ok(token) => Some(token),
            Err(detail) => {
                let error = FieldError::at(at(), "invalid_token", detail);
                self.add(error.alone(Code::InvalidRecipient));
                None
            }
        }
    }
}
