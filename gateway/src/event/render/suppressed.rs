//! Events about suppressions as JSON: `recipient.opted_out` and `opted_in`, `suppression.*`.

use std::io;

use serde::Serialize;

use super::{Lookup, Shown, ToText, write};
use crate::event::{Event, EventKind};
use crate::message::MessageId;
use crate::message::id::PublicId;
use crate::suppression::{Cause, Ended, Key, Scope, Suppression};

/// What a suppression covers, as users see it.
#[derive(Serialize)]
pub struct ScopeView<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
}

impl<'a> From<&'a Scope> for ScopeView<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self {
            kind: scope.kind(),
            value: scope.value(),
        }
    }
}

#[derive(Serialize)]
struct Data<'a> {
    phone: ToText,
    scope: ScopeView<'a>,
    source: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    keyword: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_id: Option<PublicId>,
    suppression_id: PublicId,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    audit: Option<Audit<'a>>,
}

/// What the tenant's own staff is told beside that.
#[derive(Serialize)]
struct Audit<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Shown>,
}

/// Writes the event of a suppression that began.
///
/// # Errors
/// Those of `out`; writing into a `Vec` has none.
pub fn began(
    out: impl io::Write,
    event: &Event,
    suppression: &Suppression,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    let Suppression {
        id,
        key,
        cause,
        expires_at,
        ..
    } = suppression;
    let audit = audit(event, EventKind::SuppressionCreated, cause);
    let audit = audit.map(|audit| Audit {
        expires_at: expires_at.map(Shown),
        ..audit
    });
    write(out, event, lookup, data(*id, key, cause, audit, lookup))
}

/// Writes the event of one that ended.
///
/// # Errors
/// As [`began`].
pub fn ended(
    out: impl io::Write,
    event: &Event,
    ended: &Ended,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    let Ended { id, key, cause, .. } = ended;
    let audit = audit(event, EventKind::SuppressionDeleted, cause);
    write(out, event, lookup, data(*id, key, cause, audit, lookup))
}

fn audit<'a>(event: &Event, operational: EventKind, cause: &'a Cause) -> Option<Audit<'a>> {
    (event.kind == operational).then_some(Audit {
        by: &cause.by,
        text: &cause.text,
        expires_at: None,
    })
}

fn data<'a>(
    id: MessageId,
    key: &'a Key,
    cause: &'a Cause,
    audit: Option<Audit<'a>>,
    lookup: Lookup<'_>,
) -> Data<'a> {
    Data {
        phone: ToText(key.phone),
        scope: (&key.scope).into(),
        source: cause.source.name(),
        keyword: &cause.keyword,
        inbound_id: cause.inbound.map(|id| lookup.ids.inbound(id)),
        suppression_id: lookup.ids.suppression(id),
        audit,
    }
}
