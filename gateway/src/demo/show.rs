//! What the demo sends, and the webhooks that have to come of it.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::SHOW_MAX;
use super::stage::Stage;

/// One message of the show.
struct Turn {
    label: &'static str,
    body: Value,
    /// The event that it has to end with.
    end: &'static str,
    /// What has to be told of it beside.
    also: &'static [&'static str],
}

const LONG: &str = "A long message: it does not fit the 160 characters of one segment, so it goes out \
    as two, under one concatenation reference, and it counts as delivered only when the receipts of \
    both are here.";

/// The turn that is posted twice, under one idempotency key.
const TWICE: &str = "duplicate key";

/// Tokens of devices that are there, and of two that are not: what these start with is gone, for the
/// simulators (push.md §1.5, §2: 410 Unregistered, 404 UNREGISTERED).
const PHONE: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const TABLET: &str = "demo-tablet:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ";
const GONE_PHONE: &str = "4100000000000000000000000000000000000000000000000000000000000001";
const GONE_TABLET: &str = "40400000-demo-tablet:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx";

fn sms(label: &'static str, to: &str, text: &str, end: &'static str) -> Turn {
    Turn {
        label,
        body: json!({ "to": to, "from": "DEMO", "text": text, "client_ref": label }),
        end,
        also: &[],
    }
}

fn ios(token: &str) -> Value {
    json!({ "platform": "ios", "app": "shop-ios", "token": token })
}

fn android(token: &str) -> Value {
    json!({ "platform": "android", "app": "shop-android", "token": token })
}

fn push(label: &'static str, devices: [Value; 2], also: &'static [&'static str]) -> Turn {
    Turn {
        label,
        body: json!({
            "to": { "devices": devices },
            "content": { "push": { "title": "Order 1182", "body": "Ready for pickup" } },
            "client_ref": label,
        }),
        end: "message.sent",
        also,
    }
}

fn turns() -> Vec<Turn> {
    let delivered = "message.delivered";
    vec![
        sms("single", "+46700000100", "Your code is 481920", delivered),
        sms("long", "+46700000101", LONG, delivered),
        sms(TWICE, "+46700000102", "Order 1182 is ready", delivered),
        sms(
            "carrier rejects",
            "+46700000002",
            "To a number that does not exist",
            "message.failed",
        ),
        sms(
            "first route is down",
            "+47990000103",
            "Another way",
            delivered,
        ),
        sms(
            "handset refuses",
            "+46700000001",
            "To a phone that is gone",
            "message.undelivered",
        ),
        push("push", [ios(PHONE), android(TABLET)], &[]),
        push(
            "a device is gone",
            [ios(PHONE), android(GONE_TABLET)],
            &["device.unregistered"],
        ),
        Turn {
            label: "push, then sms",
            body: json!({
                "to": { "phone": "+46700000104", "devices": [ios(GONE_PHONE)] },
                "from": "DEMO",
                "content": { "text": "Order 1182 is ready", "push": { "title": "Order 1182" } },
                "plan": { "steps": [
                    { "channel": "push", "on": ["no_route", "rejected"] },
                    { "channel": "sms" },
                ] },
                "client_ref": "push, then sms",
            }),
            end: delivered,
            also: &["device.unregistered", "message.fallback_started"],
        },
    ]
}

/// Events that are still to come, by message.
type Expected = BTreeMap<String, Awaited>;

struct Awaited {
    label: &'static str,
    end: &'static str,
    /// Types of events.
    to_come: Vec<&'static str>,
}

impl Awaited {
    fn new(label: &'static str, end: &'static str, also: &[&'static str]) -> Self {
        let to_come = also.iter().copied().chain([end]).collect();
        Self {
            label,
            end,
            to_come,
        }
    }
}

/// Submits everything and shows each verified webhook as it comes.
pub(super) async fn show(stage: &mut Stage, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut expected = submit(stage, out).await?;
    writeln!(out, "\nwebhooks, each with its signature verified:")?;
    let mut seen = 0;
    while !expected.is_empty() {
        let events = seen;
        let waiting = stage
            .receiver
            .wait_until(move |report| report.events > events, SHOW_MAX);
        if waiting.await.is_err() {
            anyhow::bail!("no event for {} messages", expected.len());
        }
        let kept = stage.receiver.kept();
        let skip = usize::try_from(seen).unwrap_or(0);
        for request in kept.iter().skip(skip) {
            seen += 1;
            let event: Value = serde_json::from_slice(&request.body)?;
            let data = &event["data"];
            let id = data["message_id"].as_str().unwrap_or_default();
            let kind = event["type"].as_str().unwrap_or_default();
            let awaited = expected.get_mut(id);
            let label = awaited.as_ref().map_or("", |awaited| awaited.label);
            writeln!(out, "  {kind:<24} {label:<20} {}", what(data))?;
            out.flush()?;
            let Some(awaited) = awaited else { continue };
            anyhow::ensure!(
                data["final"] != true || kind == awaited.end,
                "{label} ended as {kind}, not as {}",
                awaited.end
            );
            // A multipart message is sent before it is at its end, a push ends so.
            if kind != awaited.end || data["final"] == true {
                awaited.to_come.retain(|to_come| *to_come != kind);
            }
            if awaited.to_come.is_empty() {
                expected.remove(id);
            }
        }
    }
    let report = stage.receiver.report();
    anyhow::ensure!(
        report.unverified == 0,
        "{} signatures did not hold",
        report.unverified
    );
    Ok(())
}

/// An event in a few words.
fn what(data: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reason = text(&data["reason"]["code"]);
    if let Some(devices) = data["devices"].as_array() {
        let devices = devices.iter().map(|device| {
            let told = |name: &str| text(&device[name]);
            let reason = text(&device["reason"]["code"]);
            format!("{} {} {reason}", told("platform"), told("result"))
                .trim_end()
                .to_owned()
        });
        return devices.collect::<Vec<_>>().join(", ");
    }
    let via = |name: &str| data[name].as_str();
    let via = via("route").or_else(|| via("platform")).unwrap_or("-");
    // A fallback is told of with the step that failed, whatever the next one is.
    let segments = data["sms"]["segments"].as_u64();
    let told = match segments.filter(|_| data["trigger"].is_null()) {
        Some(segments) => format!("{via:<10} {segments} segment(s) {reason}"),
        None => format!("{via:<10} {reason}"),
    };
    told.trim_end().to_owned()
}

async fn submit(stage: &Stage, out: &mut dyn Write) -> anyhow::Result<Expected> {
    let mut expected = Expected::new();
    for turn in turns() {
        let label = turn.label;
        let key = (label == TWICE).then_some("order-1182-ready");
        let first = stage.client.post("/v1/messages", key, &turn.body).await?;
        let id = first.json["id"].as_str().unwrap_or_default().to_owned();
        writeln!(out, "POST /v1/messages  {label:<20} {} {id}", first.status)?;
        anyhow::ensure!(first.status == 202, "{label}: {}", first.json);
        if key.is_some() {
            let again = stage.client.post("/v1/messages", key, &turn.body).await?;
            let same = again.json["id"] == first.json["id"];
            let replayed = if again.replayed {
                "Idempotent-Replayed: true"
            } else {
                ""
            };
            writeln!(
                out,
                "POST /v1/messages  {label:<20} {} {replayed}",
                again.status
            )?;
            anyhow::ensure!(same && again.replayed, "the second one was not a replay");
        }
        expected.insert(id, Awaited::new(label, turn.end, turn.also));
    }
    let items: Vec<Value> = (0..3)
        .map(|item| json!({ "to": format!("+4670000020{item}"), "text": "One of three" }))
        .collect();
    let body = json!({ "defaults": { "from": "DEMO", "class": "promotional" }, "messages": items });
    let batch = stage.client.post("/v1/batches", None, &body).await?;
    writeln!(
        out,
        "POST /v1/batches   {:<20} {} {}",
        "batch of 3",
        batch.status,
        batch.json["id"].as_str().unwrap_or_default()
    )?;
    anyhow::ensure!(batch.status == 200, "the batch: {}", batch.json);
    for result in batch.json["results"].as_array().into_iter().flatten() {
        let id = result["id"].as_str().unwrap_or_default().to_owned();
        expected.insert(id, Awaited::new("batch", "message.delivered", &[]));
    }
    Ok(expected)
}
