//! Lists over memory and archive: messages, a route's queue, the event log.
//!
//! What moves from memory to the archive is in both for a while, and the younger copy wins. So memory
//! is looked at first: what is not there any more by then is in the archive.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::UnixMs;
use crate::event::render::{self, Lookup, suppressed};
use crate::event::{Event, EventKind, EventKinds, Subject};
use crate::inbound::Inbound;
use crate::message::life::Life;
use crate::message::{Message, MessageId, Text};
use crate::store::archive::is_indexed;
use crate::store::depths::Place;
use crate::store::shared::{Entry, Shared};
use crate::store::young::Row;
use crate::store::{
    Callback, EventPage, EventQuery, Page, Query, Record, Rendered, inbound, suppressions,
};
use crate::suppression::{Ended, Suppression};

/// Rows that one list request looks at, at most (design.md: a row budget).
const FIND_ROWS_MAX: usize = 50_000;
/// How far back a list goes when neither an indexed field nor `since` bounds it (contract.md §2).
const SINCE_MS: u64 = 86_400_000;
/// A list is begun again when a generation is archived meanwhile (one is every few seconds at most, and
/// a list takes milliseconds), at most so often.
const FIND_TRIES: u32 = 3;
/// Events rendered under one hold of the memory's lock: about 0.1 ms.
const RENDER_LOCKED: usize = 64;

fn wanted(query: &EventQuery, event: &Event) -> bool {
    query.kinds.has(event.kind)
        && query.tenant.is_none_or(|tenant| tenant == event.tenant)
        && query.message.is_none_or(|message| message == event.subject)
}

/// What an event is rendered from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A message and its life up to now.
    Message(&'a Message, &'a Life),
    /// A handset's message.
    Inbound(&'a Inbound),
    /// A suppression that began.
    Begun(&'a Suppression),
    /// One that ended.
    Ended(&'a Ended),
    /// The event itself tells all.
    Nothing,
}

impl<'a> Source<'a> {
    /// Which of a suppression's two ends an event tells of.
    fn of_suppression(
        kind: EventKind,
        begun: Option<&'a Suppression>,
        ended: Option<&'a Ended>,
    ) -> Option<Self> {
        match kind {
            EventKind::RecipientOptedOut | EventKind::SuppressionCreated => begun.map(Self::Begun),
            _ => ended.map(Self::Ended),
        }
    }
}

pub(crate) fn render_event(shared: &Shared, event: &Event, source: Source<'_>) -> Option<Rendered> {
    let lookup = Lookup {
        ids: shared.ids,
        names: &shared.names,
    };
    let mut json = Vec::with_capacity(1024);
    let mut callback = None;
    match source {
        Source::Message(message, life) => {
            let then = life.as_of(message, usize::from(event.changes));
            render::message_event(&mut json, event, message, &then, lookup).ok()?;
            callback = callback_of(message);
        }
        Source::Inbound(inbound) => {
            render::inbound_event(&mut json, event, inbound, lookup).ok()?;
            callback = inbound::callback_of(inbound).map(Arc::new);
        }
        Source::Nothing => render::endpoint_event(&mut json, event, lookup).ok()?,
        Source::Begun(one) => suppressed::began(&mut json, event, one, lookup).ok()?,
        Source::Ended(one) => suppressed::ended(&mut json, event, one, lookup).ok()?,
    }
    Some(Rendered {
        event: *event,
        callback,
        json: Bytes::from(json),
    })
}

/// A message's callback, if it has one.
pub(crate) fn callback_of(message: &Message) -> Option<Arc<Callback>> {
    let endpoint = message.callback?;
    let url = message.text(Text::CallbackUrl);
    let types = message.text(Text::CallbackTypes);
    let kinds = types
        .split(' ')
        .filter(|pattern| !pattern.is_empty())
        .map(EventKinds::matching)
        .reduce(EventKinds::with);
    let url = (!url.is_empty()).then(|| url.to_owned());
    Some(Arc::new(Callback {
        endpoint,
        url,
        kinds,
    }))
}

/// Events of memory after `query.after`, up to `head`, and how far was read. When the archive has
/// some of them, the first one that memory has.
pub(crate) fn young_events(
    shared: &Shared,
    query: &EventQuery,
    head: u64,
) -> Result<(Vec<Event>, u64), u64> {
    let young = shared.young.read();
    let first = young
        .events
        .front()
        .map_or(young.next_seq, |event| event.seq);
    if query.after + 1 < first && !shared.archive.is_empty() {
        return Err(first);
    }
    let mut read_to = query.after.max(first - 1);
    let mut events = Vec::new();
    while read_to < head && events.len() < query.limit {
        let Some(event) = young.event(read_to + 1) else {
            break;
        };
        read_to += 1;
        if wanted(query, event) {
            events.push(*event);
        }
    }
    Ok((events, read_to))
}

/// Renders what memory can tell; the rest is left open, with its place.
pub(crate) fn render_young(
    shared: &Shared,
    events: Vec<Event>,
) -> (Vec<Option<Rendered>>, Vec<(usize, Event)>) {
    let mut missing = Vec::new();
    let mut rendered = Vec::with_capacity(events.len());
    let mut events = events.into_iter().enumerate();
    loop {
        // The writer waits for this lock: it is given back every now and then.
        let young = shared.young.read();
        let mut stretch = 0;
        for (place, event) in events.by_ref().take(RENDER_LOCKED) {
            stretch += 1;
            let kind = event.kind;
            let suppression = match kind.subject() {
                Subject::Suppression => young.suppressions.get(event.subject),
                _ => (None, None),
            };
            let source = match kind.subject() {
                Subject::Endpoint => Some(Source::Nothing),
                Subject::Message => young
                    .row(event.subject)
                    .map(|row| Source::Message(&row.message, &row.life)),
                Subject::Inbound => young
                    .inbound(event.subject)
                    .map(|inbound| Source::Inbound(inbound)),
                Subject::Suppression => {
                    let (begun, ended) = &suppression;
                    Source::of_suppression(kind, begun.as_ref(), ended.as_ref())
                }
            };
            if source.is_none() {
                missing.push((place, event));
            }
            rendered.push(source.and_then(|source| render_event(shared, &event, source)));
        }
        if stretch == 0 {
            return (rendered, missing);
        }
    }
}

/// Renders what only the archive can tell.
pub(crate) fn render_archived(
    shared: &Shared,
    mut rendered: Vec<Option<Rendered>>,
    missing: Vec<(usize, Event)>,
) -> Vec<Rendered> {
    let ids = |subject: Subject| -> Vec<MessageId> {
        let events = missing.iter().map(|(_, event)| event);
        let theirs = events.filter(|event| event.kind.subject() == subject);
        theirs.map(|event| event.subject).collect()
    };
    let found = shared.archive.get(&ids(Subject::Message)).into_iter();
    let records: FxHashMap<MessageId, Record> =
        found.map(|record| (record.message.id, record)).collect();
    let found = shared.archive.inbound(&ids(Subject::Inbound)).into_iter();
    let inbound: FxHashMap<MessageId, Inbound> = found.map(|one| (one.id, one)).collect();
    for (place, event) in missing {
        if event.kind.subject() == Subject::Suppression {
            rendered[place] = render_suppression(shared, &event);
            continue;
        }
        let message = records.get(&event.subject);
        let message = message.map(|record| Source::Message(&record.message, &record.life));
        let source = message.or_else(|| inbound.get(&event.subject).map(Source::Inbound));
        rendered[place] = source.and_then(|source| render_event(shared, &event, source));
    }
    rendered.into_iter().flatten().collect()
}

/// An event of a suppression that is in the archive, at least in part.
fn render_suppression(shared: &Shared, event: &Event) -> Option<Rendered> {
    let record = suppressions::read(shared, event.subject)?;
    let (begun, ended) = (Some(&record.suppression), record.ended.as_ref());
    render_event(
        shared,
        event,
        Source::of_suppression(event.kind, begun, ended)?,
    )
}

/// A message's events, from its life.
pub(crate) fn events_of(
    shared: &Shared,
    query: &EventQuery,
    record: &Record,
    head: u64,
) -> EventPage {
    let (message, life) = (record.message.as_ref(), &record.life);
    let event = |seq, at, kind, version, changes: usize| Event {
        seq,
        at,
        tenant: message.tenant,
        kind,
        version,
        subject: message.id,
        changes: u16::try_from(changes).unwrap_or(u16::MAX),
    };
    let accepted = (life.accepted_seq > 0).then(|| {
        let kind = EventKind::MessageAccepted;
        event(life.accepted_seq, message.accepted_at, kind, 1, 0)
    });
    let later = life.log.iter().enumerate().filter_map(|(index, change)| {
        let kind = change.event?;
        Some(event(
            change.seq,
            change.at,
            kind,
            change.version,
            index + 1,
        ))
    });
    let asked =
        |event: &Event| event.seq > query.after && event.seq <= head && wanted(query, event);
    let events: Vec<Event> = accepted.into_iter().chain(later).filter(asked).collect();
    let more = events.len() > query.limit;
    let events: Vec<Rendered> = events
        .iter()
        .take(query.limit)
        .filter_map(|event| render_event(shared, event, Source::Message(message, life)))
        .collect();
    let last = events.last().map_or(query.after, |last| last.event.seq);
    EventPage {
        events,
        read_to: if more { last } else { head.max(query.after) },
    }
}

/// Queued messages of a route, lane and tenant after an order key, in order, and those of them that are in
/// the archive alone.
pub(crate) fn ready(
    shared: &Shared,
    place: Place,
    after: u64,
    limit: usize,
) -> (Vec<Entry>, Vec<Record>) {
    let early = ready_young(shared, place, after, limit);
    ready_with(shared, place, after, limit, early)
}

/// What memory has of it, and the largest order key that was visible then.
fn ready_young(shared: &Shared, place: Place, after: u64, limit: usize) -> (Vec<Entry>, u64) {
    let young = shared.young.read();
    let visible = shared.visible.load(Ordering::Acquire);
    let rows = young.queued_after(place, (after, visible), limit);
    let entries = rows.into_iter();
    let entries = entries.filter_map(|row| Entry::of(&row.message, &row.life, place.route));
    (entries.collect(), visible)
}

/// Adds what the archive has.
fn ready_with(
    shared: &Shared,
    place: Place,
    after: u64,
    limit: usize,
    (mut entries, visible): (Vec<Entry>, u64),
) -> (Vec<Entry>, Vec<Record>) {
    let here: FxHashSet<MessageId> = entries.iter().map(|entry| entry.message.id).collect();
    // Taken back into memory since memory was looked at: the younger copy says whether it waits.
    let since = RefCell::new(Vec::new());
    let shadowed = |id: MessageId| {
        here.contains(&id) || {
            let young = shared.young.read();
            let row = young.row(id);
            let waits = row.filter(|row| {
                let order = place.order_of(&row.message, &row.life);
                order.is_some_and(|order| (after + 1..=visible).contains(&order))
            });
            let mut since = since.borrow_mut();
            since.extend(waits.and_then(|row| Entry::of(&row.message, &row.life, place.route)));
            row.is_some()
        }
    };
    let mut records = shared.archive.queued_after(place, after, limit, shadowed);
    entries.append(&mut since.into_inner());
    // What memory was not asked for must not be overtaken.
    let upto = |last: u64| {
        move |record: &Record| {
            let order = place.order_of(&record.message, &record.life);
            order.is_some_and(|order| order <= last)
        }
    };
    records.retain(upto(visible));
    let read = records.iter();
    entries.extend(read.filter_map(|r| Entry::of(&r.message, &r.life, place.route)));
    entries.sort_unstable_by_key(|entry| entry.order);
    entries.truncate(limit);
    let last = entries.last().map_or(0, |entry| entry.order);
    records.retain(upto(last));
    (entries, records)
}

/// Whether a route is one of those that the message's step goes over now.
fn is_over(message: &Message, life: &Life, route: crate::message::RouteIx) -> bool {
    let legs = life.legs.iter().zip(0..u8::MAX);
    let mut here = legs.filter(|(leg, _)| leg.step == life.step);
    here.any(|(_, at)| life.route_of(message, at) == Some(route))
}

/// Whether a message is what a list asks for.
pub(crate) fn matches(query: &Query, message: &Message, life: &Life) -> bool {
    let tags = || message.text(Text::Tags);
    query.tenant.is_none_or(|tenant| tenant == message.tenant)
        && query.before.is_none_or(|before| message.id < before)
        && query.since.is_none_or(|since| message.accepted_at >= since)
        && query.until.is_none_or(|until| message.accepted_at < until)
        && query.status.is_none_or(|status| status == life.status)
        && query
            .sending
            .is_none_or(|sending| sending != life.parts_out().is_empty())
        && query.class.is_none_or(|class| class == message.class)
        && query.to.is_none_or(|to| to == message.to)
        && query
            .sent_from
            .as_ref()
            .is_none_or(|from| from.is(message.text(Text::From), life.sent_at))
        && query.batch.is_none_or(|batch| message.batch == Some(batch))
        && query
            .route
            .is_none_or(|route| is_over(message, life, route))
        && query
            .reason
            .is_none_or(|reason| life.reason == Some(reason))
        && query
            .client_ref
            .as_ref()
            .is_none_or(|wanted| message.text(Text::ClientRef) == wanted)
        && query
            .tag
            .as_ref()
            .is_none_or(|tag| tags().split(' ').any(|one| one == tag))
}

/// The newest messages of memory that a list asks for, one more than it wants.
fn young_matches(shared: &Shared, query: &Query) -> Vec<Record> {
    let young = shared.young.read();
    let visible = shared.visible.load(Ordering::Acquire);
    let rows = young.rows().filter(|row| row.message.id.0 <= visible);
    let mut rows: Vec<&Row> = rows
        .filter(|row| matches(query, &row.message, &row.life))
        .collect();
    let wanted = query.limit + 1;
    if rows.len() > wanted {
        rows.select_nth_unstable_by_key(wanted, |row| std::cmp::Reverse(row.message.id));
        rows.truncate(wanted);
    }
    rows.into_iter()
        .map(|row| Record {
            message: row.message.clone(),
            life: row.life.clone(),
        })
        .collect()
}

/// Lists messages, newest first.
pub(crate) fn find(shared: &Shared, mut query: Query) -> Page {
    if query.since.is_none() && !is_indexed(&query) {
        query.since = Some(UnixMs(shared.clock.now().0.saturating_sub(SINCE_MS)));
    }
    // A generation that was archived in between may have taken with it what had come back to memory
    // only then: in neither of the two reads.
    for _ in 1..FIND_TRIES {
        let archived = shared.archived_count.load(Ordering::Acquire);
        let early = young_matches(shared, &query);
        let page = find_with(shared, &query, early);
        if shared.archived_count.load(Ordering::Acquire) == archived {
            return page;
        }
    }
    let early = young_matches(shared, &query);
    find_with(shared, &query, early)
}

/// Adds what the archive has to what memory has.
fn find_with(shared: &Shared, query: &Query, early: Vec<Record>) -> Page {
    let mut page = shared.archive.find(query, FIND_ROWS_MAX);
    let known: FxHashSet<MessageId> = early.iter().map(|record| record.message.id).collect();
    page.records
        .retain(|record| !known.contains(&record.message.id));
    {
        // Taken back into memory since memory was looked at: the younger copy wins.
        let young = shared.young.read();
        page.records.retain_mut(|record| {
            let Some(row) = young.row(record.message.id) else {
                return true;
            };
            record.message = row.message.clone();
            record.life = row.life.clone();
            matches(query, &record.message, &record.life)
        });
    }
    // What the archive has not looked at yet must not be overtaken by younger pages.
    let above = |record: &Record| page.next.is_none_or(|floor| record.message.id >= floor);
    let early: Vec<Record> = early.into_iter().filter(above).collect();
    page.records.extend(early);
    page.records
        .sort_unstable_by_key(|record| std::cmp::Reverse(record.message.id));
    if page.records.len() > query.limit {
        page.records.truncate(query.limit);
        page.next = page.records.last().map(|record| record.message.id);
    }
    page
}

#[cfg(test)]
mod tests;
