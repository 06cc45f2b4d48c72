//! Retention: whole files go when their time is over. Pending has none.

use std::time::Duration;

use crate::clock::UnixMs;
use crate::store::archive::Archive;
use crate::store::archive::file::{self, ArchiveError, Kind, PENDING};
use crate::store::archive::history::GENERATIONS_PER_SEGMENT;
use crate::store::archive::pending;
use crate::store::archive::suppressed::{self, SUPPRESSIONS};
use crate::store::archive::write::Writers;
use crate::store::shared::Shared;

/// How long a carrier id is known beyond the longest receipt timeout, whatever became of the message
/// (design.md: 72 h).
const CARRIERS_EXTRA: Duration = Duration::from_hours(72);

/// A day's events go when the whole day is over.
const EVENTS_EXTRA: Duration = Duration::from_hours(48);

/// Removes what is over. What a full disk prevents, the next sweep does.
///
/// # Errors
/// Pending cannot be written.
pub(crate) fn sweep(
    archive: &Archive,
    shared: &Shared,
    writers: &mut Writers,
) -> Result<(), ArchiveError> {
    let now = shared.clock.now();
    let config = &shared.config;
    let timeouts = config.routes.iter().map(|route| route.receipt_timeout);
    let carriers = timeouts.max().unwrap_or_default() + CARRIERS_EXTRA;
    for kind in Kind::ALL {
        let (kept, spans): (_, Vec<u64>) = match kind {
            Kind::History => (
                config.retention_messages,
                archive.history.read().iter().copied().collect(),
            ),
            Kind::Content => (
                config.retention_content,
                archive.content.read().iter().copied().collect(),
            ),
            Kind::Events => (config.retention_events, archive.events.from(0)),
            // Their events are rendered from them.
            Kind::Inbound => (
                config.retention_events,
                archive.inbound.read().iter().copied().collect(),
            ),
            Kind::Idempotency => (config.retention_idempotency, archive.idempotency.spans()),
            Kind::Carriers => (carriers, archive.carriers.spans()),
        };
        for span in spans {
            if kind.end(span).plus(kept) > now {
                continue;
            }
            // Out of sight first, so that nobody opens it again.
            match kind {
                Kind::History => drop(archive.history.write().remove(&span)),
                Kind::Content => drop(archive.content.write().remove(&span)),
                Kind::Events => archive.events.remove(span),
                Kind::Inbound => drop(archive.inbound.write().remove(&span)),
                Kind::Idempotency => archive.idempotency.remove(span),
                Kind::Carriers => archive.carriers.remove(span),
            }
            let name = kind.name(span);
            writers.forget(&name);
            archive.pool.forget(&name);
            file::remove(&archive.directory, &name);
            tracing::info!(file = name, "its retention is over: removed");
        }
    }
    purge_suppressions(archive, shared, writers)?;
    let number = shared
        .young
        .read()
        .live
        .front()
        .map_or(0, |open| open.number);
    let swept = writers.fill(PENDING, &pending::schema(), |connection| {
        pending::drop_segments(connection, number / GENERATIONS_PER_SEGMENT)
    });
    match swept {
        Err(error @ ArchiveError::Full) => {
            tracing::warn!(%error, "old lookup entries are still there");
            Ok(())
        }
        other => other,
    }
}

/// Forgets suppressions that have ended or run out, when the events that tell of them are gone.
fn purge_suppressions(
    archive: &Archive,
    shared: &Shared,
    writers: &mut Writers,
) -> Result<(), ArchiveError> {
    let now = shared.clock.now();
    shared.suppressions.sweep(now);
    if archive.suppressed_as_of() == 0 {
        return Ok(());
    }
    let kept = shared.config.retention_events + EVENTS_EXTRA;
    let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
    let before = UnixMs(now.0.saturating_sub(kept));
    let purged = writers.fill(SUPPRESSIONS, suppressed::SCHEMA, |connection| {
        suppressed::purge(connection, before)
    });
    match purged {
        Ok(_) => Ok(()),
        Err(error @ ArchiveError::Full) => {
            tracing::warn!(%error, "suppressions that have ended are still there");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
