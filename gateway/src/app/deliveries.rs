//! Deliveries: where a message's events stand with the endpoints, as its timeline tells.

use std::sync::Arc;

use crate::clock::UnixMs;
use crate::delivery_view::{DeliveryStatus, DeliveryView};
use crate::event::{EventKind, EventKinds};
use crate::message::{EndpointIx, TenantIx};
use crate::names::Names;
use crate::store::{Record, Store, callback_of};
use crate::webhook;

/// What is told of deliveries, and where it comes from.
pub(super) struct Deliveries {
    /// Endpoints with their tenants and what they want.
    endpoints: Vec<(EndpointIx, TenantIx, EventKinds)>,
    names: Arc<Names>,
    store: Store,
}

impl Deliveries {
    pub(super) fn new(config: &webhook::Config, store: &Store) -> Self {
        let endpoints = config.endpoints.iter();
        Self {
            endpoints: endpoints
                .map(|one| (one.ix, one.tenant, one.kinds))
                .collect(),
            names: store.names(),
            store: store.clone(),
        }
    }

    /// A message's events with each endpoint that wants them, in the order of events.
    pub(super) fn of(&self, record: &Record) -> Vec<DeliveryView> {
        let (message, life) = (&record.message, &record.life);
        let accepted = (
            EventKind::MessageAccepted,
            life.accepted_seq,
            message.accepted_at,
        );
        let log = life.log.iter();
        let changes = log.filter_map(|change| Some((change.event?, change.seq, change.at)));
        let events = std::iter::once(accepted).chain(changes);
        let callback = callback_of(message);
        let wants = |(ix, tenant, kinds): (EndpointIx, TenantIx, EventKinds), kind| {
            let kinds = match &callback {
                Some(callback) if callback.endpoint == ix => callback.kinds.unwrap_or(kinds),
                Some(_) => return false,
                None => kinds,
            };
            tenant == message.tenant && kinds.has(kind)
        };
        let mut told = Vec::new();
        for (kind, seq, at) in events.filter(|(_, seq, _)| *seq > 0) {
            let wanting = self.endpoints.iter().filter(|one| wants(**one, kind));
            told.extend(wanting.map(|(ix, ..)| self.delivery(*ix, kind, seq, at)));
        }
        told
    }

    fn delivery(&self, ix: EndpointIx, kind: EventKind, seq: u64, at: UnixMs) -> DeliveryView {
        let standing = self.store.standing(ix, seq);
        let retry = standing.and_then(|standing| standing.retry);
        let status = match standing {
            Some(standing) if retry.is_none() && standing.passed => DeliveryStatus::Settled,
            Some(standing) if standing.disabled => DeliveryStatus::Disabled,
            _ if retry.is_some() => DeliveryStatus::Retrying,
            _ => DeliveryStatus::Pending,
        };
        DeliveryView {
            event: self.store.ids().event(at, seq),
            r#type: kind.name(),
            endpoint: self.names.endpoint(ix).to_owned(),
            status,
            attempts: retry.map(|retry| retry.attempts),
            next_at: retry.map(|retry| retry.due),
            first_at: retry.map(|retry| retry.since),
            endpoint_exhausted: standing.map_or(0, |standing| standing.exhausted),
        }
    }
}
