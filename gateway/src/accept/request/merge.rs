//! Merging: a batch's `defaults` under each of its items; and the sugar turned into the full form.

use crate::accept::problem::FieldError;
use crate::accept::request::{ContentIn, Metadata, OverlayIn, PlanIn, PushIn, Request, StepIn};

/// Turns sugar into the full form, so that both are the same request to an idempotency key, and
/// reports sugar that stands beside what it is sugar for; what says its default is taken out. Returns whether `text` was sugar.
pub(crate) fn expand(request: &mut Request<'_>, errors: &mut Vec<FieldError>) -> bool {
    if request.channel.is_some() && request.plan.is_some() {
        errors.push(FieldError::at("/channel", "exclusive", "excludes plan"));
    }
    if request.ttl.is_some() && request.expires_at.is_some() {
        errors.push(FieldError::at("/ttl", "exclusive", "excludes expires_at"));
    }
    if let Some(plan) = &mut request.plan {
        plan.steps.iter_mut().for_each(StepIn::without_defaults);
    }
    let Some(text) = request.text.take() else {
        return false;
    };
    if request.content.is_some() {
        errors.push(FieldError::at("/text", "exclusive", "excludes content"));
        return true;
    }
    request.content = Some(ContentIn {
        text: Some(text),
        ..ContentIn::default()
    });
    true
}

/// Puts `defaults` under `item`: what the item says wins, objects are merged, lists are replaced.
/// Both have been expanded. Of two fields that exclude each other, the item's stands.
pub(crate) fn under<'a>(item: &mut Request<'a>, defaults: &Request<'a>) {
    if item.ttl.is_none() && item.expires_at.is_none() {
        item.ttl = defaults.ttl;
        item.expires_at.clone_from(&defaults.expires_at);
    }
    if item.channel.is_none() && item.plan.is_none() {
        item.channel.clone_from(&defaults.channel);
        item.plan.clone_from(&defaults.plan);
    } else if let (Some(plan), Some(base)) = (&mut item.plan, &defaults.plan) {
        merge_plan(plan, base);
    }
    fill(&mut item.class, &defaults.class);
    fill(&mut item.client_ref, &defaults.client_ref);
    fill(&mut item.from, &defaults.from);
    fill(&mut item.priority, &defaults.priority);
    fill(&mut item.receipts, &defaults.receipts);
    fill(&mut item.tags, &defaults.tags);
    fill(&mut item.to, &defaults.to);
    merge(&mut item.callback, &defaults.callback, |own, base| {
        if own.endpoint_id.is_none() && own.url.is_none() {
            own.endpoint_id.clone_from(&base.endpoint_id);
            own.url.clone_from(&base.url);
        }
        fill(&mut own.types, &base.types);
    });
    merge(&mut item.content, &defaults.content, |own, base| {
        fill(&mut own.text, &base.text);
        merge(&mut own.push, &base.push, merge_push);
        merge(&mut own.sms, &base.sms, |own, base| {
            fill(&mut own.encoding, &base.encoding);
            fill(&mut own.flash, &base.flash);
            fill(&mut own.max_segments, &base.max_segments);
            fill(&mut own.on_too_long, &base.on_too_long);
            fill(&mut own.smart_encoding, &base.smart_encoding);
            merge(&mut own.tlv, &base.tlv, |own, base| {
                for entry in &base.0 {
                    if !own.0.iter().any(|known| known.0 == entry.0) {
                        own.0.push(entry.clone());
                    }
                }
                own.0.sort_by(|a, b| a.0.0.cmp(&b.0.0));
            });
            // One of the two says what is sent: an item's text is not that of the defaults' data.
            if own.text.is_none() && own.data.is_none() {
                own.text.clone_from(&base.text);
                own.data.clone_from(&base.data);
                fill(&mut own.udh, &base.udh);
            }
        });
    });
    merge(&mut item.policy, &defaults.policy, |own, base| {
        fill(&mut own.on_ambiguous, &base.on_ambiguous);
        fill(&mut own.suppressions, &base.suppressions);
    });
    merge(&mut item.metadata, &defaults.metadata, merge_texts);
    merge(&mut item.tracking, &defaults.tracking, |own, base| {
        fill(&mut own.campaign_id, &base.campaign_id);
        fill(&mut own.correlation_id, &base.correlation_id);
        fill(&mut own.journey_id, &base.journey_id);
        fill(&mut own.journey_step, &base.journey_step);
        fill(&mut own.template_id, &base.template_id);
        fill(&mut own.template_version, &base.template_version);
        fill(&mut own.trigger_id, &base.trigger_id);
    });
}

/// A plan's steps are a list, so the item's replace the defaults'; an empty plan takes them over.
fn merge_plan<'a>(plan: &mut PlanIn<'a>, base: &PlanIn<'a>) {
    if plan.steps.is_empty() {
        plan.steps.clone_from(&base.steps);
    }
}

fn merge_push<'a>(own: &mut PushIn<'a>, base: &PushIn<'a>) {
    fill(&mut own.badge, &base.badge);
    fill(&mut own.body, &base.body);
    fill(&mut own.category, &base.category);
    fill(&mut own.collapse_key, &base.collapse_key);
    fill(&mut own.deep_link, &base.deep_link);
    fill(&mut own.image_url, &base.image_url);
    fill(&mut own.push_type, &base.push_type);
    fill(&mut own.silent, &base.silent);
    fill(&mut own.sound, &base.sound);
    fill(&mut own.thread_id, &base.thread_id);
    fill(&mut own.title, &base.title);
    merge(&mut own.data, &base.data, merge_texts);
    merge(&mut own.apns, &base.apns, OverlayIn::over);
    merge(&mut own.fcm, &base.fcm, OverlayIn::over);
}

/// Texts by their keys; the own ones win.
fn merge_texts<'a>(own: &mut Metadata<'a>, base: &Metadata<'a>) {
    for entry in &base.0 {
        if !own.0.iter().any(|known| known.0 == entry.0) {
            own.0.push(entry.clone());
        }
    }
    own.0.sort_by(|a, b| a.0.0.cmp(&b.0.0));
}

fn fill<T: Clone>(own: &mut Option<T>, base: &Option<T>) {
    if own.is_none() {
        own.clone_from(base);
    }
}

fn merge<T: Clone>(own: &mut Option<T>, base: &Option<T>, deep: impl FnOnce(&mut T, &T)) {
    match (own.as_mut(), base) {
        (Some(own), Some(base)) => deep(own, base),
        (None, Some(base)) => *own = Some(base.clone()),
        (_, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::request::parse;

    fn merged(item: &str, defaults: &str) -> String {
        let mut errors = Vec::new();
        let (mut item, _) = parse(item.as_bytes()).unwrap();
        let (mut defaults, _) = parse(defaults.as_bytes()).unwrap();
        expand(&mut item, &mut errors);
        expand(&mut defaults, &mut errors);
        assert_eq!(errors, []);
        under(&mut item, &defaults);
        serde_json::to_string(&item).unwrap()
    }

    #[test]
    fn the_item_wins_and_objects_are_merged() {
        assert_eq!(
            merged(
                r#"{"to":"+46701234567","text":"hi","metadata":{"b":"2"},"tags":["x"]}"#,
                r#"{"from":"ACME","to":"+1","metadata":{"a":"1","b":"9"},"tags":["y"],
                    "content":{"sms":{"max_segments":2}}}"#
            ),
            r#"{"content":{"sms":{"max_segments":2},"text":"hi"},"from":"ACME","metadata":{"a":"1","b":"2"},"tags":["x"],"to":{"phone":"+46701234567"}}"#
        );
    }

    #[test]
    fn of_two_that_exclude_each_other_the_items_stands() {
        assert_eq!(
            merged(r#"{"ttl":60}"#, r#"{"expires_at":"2026-11-21T08:00:00Z"}"#),
            r#"{"ttl":60}"#
        );
        assert_eq!(
            merged(
                r#"{"callback":{"url":"https://a"}}"#,
                r#"{"callback":{"endpoint_id":"crm","types":["message.*"]}}"#
            ),
            r#"{"callback":{"types":["message.*"],"url":"https://a"}}"#
        );
        assert_eq!(
            merged(
                r#"{"channel":"sms"}"#,
                r#"{"plan":{"steps":[{"channel":"sms"}]}}"#
            ),
            r#"{"channel":"sms"}"#
        );
    }

    #[test]
    fn tracking_is_merged_field_by_field() {
        assert_eq!(
            merged(
                r#"{"tracking":{"journey_id":"j"}}"#,
                r#"{"tracking":{"journey_id":"x","template_id":"t"}}"#
            ),
            r#"{"tracking":{"journey_id":"j","template_id":"t"}}"#
        );
    }

    #[test]
    fn sugar_beside_the_full_form_is_refused() {
        let (mut request, _) = parse(
            br#"{"text":"a","content":{"text":"b"},"channel":"sms","plan":{"steps":[]},"ttl":1,
                "expires_at":"x"}"#,
        )
        .unwrap();
        let mut errors = Vec::new();
        expand(&mut request, &mut errors);
        let pointers: Vec<_> = errors.iter().map(|e| e.pointer.clone().unwrap()).collect();
        assert_eq!(pointers, ["/channel", "/ttl", "/text"]);
    }
}
