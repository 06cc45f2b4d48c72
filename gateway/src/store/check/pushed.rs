//! To whom a push goes, as an export tells it: whoever sends it anew needs the tokens.

use serde::Serialize;

use crate::message::Message;
use crate::message::life::{Life, PartState};
use crate::message::steps::PushTarget;

/// The targets of one exported message; nothing of them when it has no push.
#[derive(Debug, Default, Serialize)]
pub(super) struct Targets<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<Device<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Device<'a> {
    platform: &'static str,
    app: &'a str,
    token: &'a str,
    /// What is known of its part: `sent`, `rejected`, `unknown`, or `open`.
    result: &'static str,
}

impl<'a> Targets<'a> {
    /// Of a message, as of a life.
    pub(super) fn of(message: &'a Message, life: &Life) -> Self {
        let mut targets = Self::default();
        let steps = message.steps.as_ref();
        match steps.and_then(|steps| steps.push.as_ref()) {
            None => {}
            Some(PushTarget::Topic(topic)) => targets.topic = Some(topic),
            Some(PushTarget::Condition(condition)) => targets.condition = Some(condition),
            Some(PushTarget::Devices(_)) => {
                let parts = message.legs().flat_map(|leg| leg.parts().iter());
                let device = |part| {
                    let device = message.device(part)?;
                    let state = life.parts.get(usize::from(part)).copied();
                    let result = match state.unwrap_or_default() {
                        PartState::Accepted | PartState::Receipted(_) => "sent",
                        PartState::Refused(crate::outcome::Retry::Never) => "rejected",
                        PartState::Unknown | PartState::Out => "unknown",
                        _ => "open",
                    };
                    Some(Device {
                        platform: device.platform.name(),
                        app: &device.app,
                        token: &device.token,
                        result,
                    })
                };
                targets.devices = parts.filter_map(device).collect();
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use smallvec::smallvec;

    use super::*;
    use crate::message::steps::{self, FallbackOn, Leg, Platform, Step, Steps};
    use crate::message::{Channel, FailoverOn, RouteIx};

    fn exported(push: PushTarget, count: u8) -> serde_json::Value {
        let message = Message {
            steps: Some(Box::new(Steps {
                steps: smallvec![Step {
                    channel: Channel::Push,
                    on: FallbackOn::DEFAULT,
                    failover_on: FailoverOn::ALL,
                }],
                legs: vec![Leg {
                    step: 0,
                    first: 0,
                    count,
                    routes: smallvec![RouteIx(0)],
                }],
                push: Some(push),
                app_receipts: false,
            })),
            ..Message::default()
        };
        let mut life = Life::begin(&message);
        if let Some(part) = life.parts.first_mut() {
            *part = PartState::Accepted;
        }
        serde_json::to_value(Targets::of(&message, &life)).unwrap()
    }

    #[test]
    fn an_export_names_each_device_by_its_token_and_what_became_of_it() {
        let device = |token: &str| steps::Device {
            platform: Platform::Ios,
            app: "shop".into(),
            token: token.into(),
            registered_at: crate::clock::UnixMs::ZERO,
        };
        let devices = PushTarget::Devices(vec![device("aa"), device("bb")]);
        assert_eq!(
            exported(devices, 2),
            json!({"devices": [
                {"platform": "ios", "app": "shop", "token": "aa", "result": "sent"},
                {"platform": "ios", "app": "shop", "token": "bb", "result": "open"},
            ]})
        );
        let topic = PushTarget::Topic("news".into());
        assert_eq!(exported(topic, 1), json!({"topic": "news"}));
    }

    #[test]
    fn an_export_of_an_sms_says_nothing_of_devices() {
        let (message, life) = (Message::default(), Life::begin(&Message::default()));
        let targets = serde_json::to_value(Targets::of(&message, &life)).unwrap();
        assert_eq!(targets, json!({}));
    }
}
