//! Which channels a message takes, and what a plan may say.

use super::push::{ANDROID, IOS, push_to};
use super::*;
use crate::message::steps::FallbackOn;

/// A message for both channels with this plan.
fn plan(steps: &str) -> Result<Message, Problem> {
    check(&format!(
        r#"{{"to":{{"phone":"+46701234567","devices":[{IOS}]}},"from":"ACME",
            "content":{{"text":"hi"}},"plan":{{"steps":{steps}}}}}"#
    ))
}

fn channels(message: &Message) -> Vec<Channel> {
    match &message.steps {
        None => vec![Channel::Sms],
        Some(steps) => steps.steps.iter().map(|step| step.channel).collect(),
    }
}

#[test]
fn a_plan_has_one_to_five_steps_of_known_channels() {
    one(
        with(r#""plan":{"steps":[]}"#),
        "/plan/steps",
        "out_of_range",
    );
    one(with(r#""plan":{}"#), "/plan/steps", "out_of_range");
    let six = [r#"{"channel":"sms"}"#; 6].join(",");
    one(plan(&format!("[{six}]")), "/plan/steps", "out_of_range");
    one(
        with(r#""plan":{"steps":[{}]}"#),
        "/plan/steps/0/channel",
        "required",
    );
    for (channel, code) in [
        ("push", Code::InvalidRecipient),
        ("email", Code::ChannelNotEnabled),
        ("rcs", Code::ChannelNotEnabled),
        ("fax", Code::InvalidRequest),
    ] {
        let plan = with(&format!(
            r#""plan":{{"steps":[{{"channel":"{channel}"}}]}}"#
        ));
        assert_eq!(plan.unwrap_err().code, code);
        let sugar = with(&format!(r#""channel":"{channel}""#));
        assert_eq!(sugar.unwrap_err().code, code);
    }
}

/// Nothing else is asked of the request: whoever mends the word is not to look for a phone number, too.
#[test]
fn an_unknown_channel_is_all_that_is_wrong_with_it() {
    let pushed = format!(
        r#""to":{{"devices":[{IOS}]}},"content":{{"push":{{"title":"hi"}}}},"receipts":"app""#
    );
    for (rest, at) in [
        (
            r#""plan":{"steps":[{"channel":"fax"}]}"#,
            "/plan/steps/0/channel",
        ),
        (r#""plan":{"steps":[{}]}"#, "/plan/steps/0/channel"),
        (r#""channel":"fax""#, "/channel"),
    ] {
        let problem = check(&format!("{{{pushed},{rest}}}")).unwrap_err();
        let told: Vec<_> = problem
            .errors
            .iter()
            .map(|error| error.pointer.as_deref())
            .collect();
        assert_eq!(told, [Some(at)], "{rest}");
    }
    // A known one beside it asks for what it needs.
    let both = format!(
        r#"{{{pushed},"plan":{{"steps":[{{"channel":"sms","on":["rejected"]}},{{"channel":"fax"}}]}}}}"#
    );
    let told = check(&both).unwrap_err().errors;
    assert!(
        told.iter()
            .any(|error| error.pointer.as_deref() == Some("/to/phone"))
    );
}

#[test]
fn one_sms_step_is_a_plain_message() {
    for json in [
        r#""channel":"sms""#,
        r#""plan":{"steps":[{"channel":"sms"}]}"#,
        r#""plan":{"steps":[{"channel":"sms","on":["no_route","undelivered"],"until":"delivered"}]}"#,
    ] {
        let message = with(json).unwrap();
        assert_eq!(message, with(r#""tags":[]"#).unwrap(), "{json}");
        assert!(message.steps.is_none());
    }
}

#[test]
fn a_channel_comes_once() {
    let twice = r#"[{"channel":"push"},{"channel":"sms"},{"channel":"push"}]"#;
    // The sms stands before another step, which its default `on` does not do either.
    let twice = twice.replace(r#""sms""#, r#""sms","on":["rejected"]"#);
    let problem = plan(&twice).unwrap_err();
    assert_eq!(problem.code, Code::NotAvailable);
    let told = &problem.errors[0];
    assert_eq!(told.pointer.as_deref(), Some("/plan/steps/2/channel"));
    assert!(told.detail.contains("once"), "{}", told.detail);
}

#[test]
fn what_a_step_waits_for_is_its_channels_default() {
    for (step, field) in [
        (r#""wait":30"#, "wait"),
        (r#""until":"delivered""#, "until"),
        (r#""until":"read""#, "until"),
        (r#""on":["no_route","timeout"]"#, "on/1"),
        (r#""on":["expired"]"#, "on/0"),
        (r#""on":["rejected","unknown"]"#, "on/1"),
        (r#""revoke":false"#, "revoke"),
    ] {
        let result = plan(&format!(
            r#"[{{"channel":"push",{step}}},{{"channel":"sms"}}]"#
        ));
        let problem = result.unwrap_err();
        assert_eq!(problem.code, Code::NotAvailable, "{step}");
        let at = format!("/plan/steps/0/{field}");
        assert_eq!(problem.errors[0].pointer, Some(at), "{step}");
        assert_eq!(problem.errors.len(), 1, "{step}");
    }
    for (step, field) in [
        (r#""until":"seen""#, "until"),
        (r#""on":["no_route","rain"]"#, "on/1"),
    ] {
        let result = plan(&format!(
            r#"[{{"channel":"push",{step}}},{{"channel":"sms"}}]"#
        ));
        one(result, &format!("/plan/steps/0/{field}"), "not_one_of");
    }
    let sms = plan(r#"[{"channel":"push"},{"channel":"sms","until":"sent"}]"#);
    one(sms, "/plan/steps/1/until", "not_available");
}

#[test]
fn a_push_gives_way_as_its_plan_says() {
    for (on, expected) in [
        ("", FallbackOn::DEFAULT),
        (
            r#","on":["undelivered","rejected","no_route"]"#,
            FallbackOn::DEFAULT,
        ),
        (r#","on":["no_route"]"#, FallbackOn::NO_ROUTE),
        (r#","on":["rejected","undelivered"]"#, FallbackOn::REJECTED),
        (r#","on":[]"#, FallbackOn(0)),
    ] {
        let message = plan(&format!(
            r#"[{{"channel":"push","until":"sent"{on}}},{{"channel":"sms"}}]"#
        ));
        let message = message.unwrap();
        assert_eq!(channels(&message), [Channel::Push, Channel::Sms]);
        let steps = message.steps.unwrap();
        assert_eq!(steps.steps[0].on, expected, "{on}");
    }
}

#[test]
fn an_sms_before_another_step_does_not_pretend_to_follow_receipts() {
    for (on, field) in [
        ("", "on"),
        (r#","on":["no_route","rejected","undelivered"]"#, "on"),
        (r#","on":["rejected","undelivered"]"#, "on/1"),
    ] {
        let result = plan(&format!(
            r#"[{{"channel":"sms"{on}}},{{"channel":"push"}}]"#
        ));
        let problem = result.unwrap_err();
        assert_eq!(problem.code, Code::NotAvailable, "{on}");
        let at = format!("/plan/steps/0/{field}");
        assert_eq!(problem.errors[0].pointer, Some(at), "{on}");
    }
    let sound = plan(r#"[{"channel":"sms","on":["no_route","rejected"]},{"channel":"push"}]"#);
    let message = sound.unwrap();
    assert_eq!(channels(&message), [Channel::Sms, Channel::Push]);
    let legs: Vec<_> = message.legs().collect();
    assert_eq!((legs[0].first, legs[0].count), (0, 1));
    assert_eq!(legs[0].routes, [RouteIx(0), RouteIx(1)]);
    assert_eq!((legs[1].first, legs[1].count), (1, 1));
    assert_eq!(legs[1].routes, [RouteIx(2)]);
    assert_eq!(message.device(1).unwrap().platform, Platform::Ios);
}

#[test]
fn the_only_possible_channel_needs_no_plan() {
    let push = push_to(&format!(r#""devices":[{IOS}]"#), r#""text":"hi""#);
    assert_eq!(channels(&push.unwrap()), [Channel::Push]);
    let both = r#""phone":"+46701234567","devices":["#;
    let sms =
        format!(r#"{{"to":{{{both}{IOS}]}},"from":"ACME","content":{{"sms":{{"text":"x"}}}}}}"#);
    assert_eq!(channels(&check(&sms).unwrap()), [Channel::Sms]);
    let push = push_to(&format!("{both}{IOS}]"), r#""push":{"title":"x"}"#);
    assert_eq!(channels(&push.unwrap()), [Channel::Push]);
    let unclear = check(&format!(
        r#"{{"to":{{{both}{IOS}]}},"from":"ACME","content":{{"text":"x"}}}}"#
    ));
    let problem = unclear.unwrap_err();
    assert_eq!(problem.code, Code::PlanRequired);
    assert_eq!(problem.errors[0].pointer.as_deref(), Some("/plan"));
    // Of a push without an address, that is what is missing.
    let nowhere = check(r#"{"content":{"push":{"title":"x"}}}"#);
    one(nowhere, "/to/devices", "required");
}

#[test]
fn sugar_for_push_is_a_one_step_plan() {
    let to = format!(r#""phone":"+46701234567","devices":[{ANDROID}]"#);
    let message = check(&format!(
        r#"{{"to":{{{to}}},"channel":"push","text":"hi","priority":"low"}}"#
    ));
    let message = message.unwrap();
    assert_eq!(channels(&message), [Channel::Push]);
    assert_eq!(message.to.to_string(), "+46701234567", "who opted out is");
    assert_eq!((message.text(Text::Body), message.segments), ("", 0));
    assert_eq!(message.text(Text::Push), r#"{"body":"hi"}"#);
    assert_eq!(message.priority, Priority::Low);
}

#[test]
fn failover_is_checked() {
    let failover = |json: &str| {
        with(&format!(
            r#""plan":{{"steps":[{{"channel":"sms","failover":{json}}}]}}"#
        ))
    };
    one(
        failover(r#"{"max_routes":6}"#),
        "/plan/steps/0/failover/max_routes",
        "out_of_range",
    );
    one(
        failover(r#"{"on":["throttled","rain"]}"#),
        "/plan/steps/0/failover/on/1",
        "not_one_of",
    );
    assert_eq!(failover(r#"{"on":[]}"#).unwrap().failover_on, FailoverOn(0));
    let second = plan(r#"[{"channel":"push"},{"channel":"sms","failover":{"max_routes":0}}]"#);
    one(second, "/plan/steps/1/failover/max_routes", "out_of_range");
    let each = r#"[{"channel":"push","failover":{"on":["route_down"]}},
        {"channel":"sms","failover":{"on":["throttled"],"max_routes":1}}]"#;
    let message = plan(each).unwrap();
    let legs: Vec<_> = message.legs().map(|leg| leg.failover_on).collect();
    assert_eq!(legs, [FailoverOn::ROUTE_DOWN, FailoverOn::THROTTLED]);
    assert_eq!(message.legs().nth(1).unwrap().routes, [RouteIx(0)]);
}
