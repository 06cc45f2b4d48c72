//! How the archive is read: by id, and as lists.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;
use crate::message::MessageId;
use crate::store::archive::file::{Kind, PENDING};
use crate::store::archive::{Archive, history, pending};
use crate::store::listing::matches;
use crate::store::{Page, Query, Record, keys};

/// Messages that are looked at in one go while listing.
const CHUNK: usize = 512;
/// Ids are made from a clock that never steps back, `accepted_at` is the wall clock: an id may be
/// later than its time by as much as the clock has stepped back.
const STEP_BACK_MS: u64 = 3_600_000;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Pending,
    Day(u64),
}

impl Source {
    fn name(self) -> String {
        match self {
            Self::Pending => PENDING.to_owned(),
            Self::Day(day) => Kind::History.name(day),
        }
    }
}

impl Archive {
    /// Reads messages, from pending and then from history. In no order; unknown ones are left out.
    pub(crate) fn get(&self, ids: &[MessageId]) -> Vec<Record> {
        self.locate(ids)
            .into_iter()
            .map(|(record, _)| record)
            .collect()
    }

    /// The same, each with the batch as of which it stands there.
    pub(crate) fn locate(&self, ids: &[MessageId]) -> Vec<(Record, u64)> {
        let mut left = ids.to_vec();
        left.sort_unstable();
        left.dedup();
        if left.is_empty() || self.is_untouched() {
            return Vec::new();
        }
        let mut found = self.read_from(Source::Pending, &mut left);
        let days: Vec<u64> = self.history.read().iter().copied().collect();
        for day in days {
            if left.is_empty() {
                break;
            }
            // Nothing is finished before it is accepted.
            let split = left.partition_point(|id| Kind::History.span(id.made_at()) <= day);
            let mut here = left[..split].to_vec();
            if here.is_empty() {
                continue;
            }
            let later = left.split_off(split);
            found.extend(self.read_from(Source::Day(day), &mut here));
            left = here;
            left.extend(later);
        }
        found
    }

    /// Nothing was written yet, not even what a crash kept from being finished.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_empty() && self.history.read().is_empty() && self.queued().1 == 0
    }

    /// Reads those of the ids that a source has, and takes them out of the list.
    fn read_from(&self, source: Source, ids: &mut Vec<MessageId>) -> Vec<(Record, u64)> {
        let mut found: Vec<(Record, u64)> = self.pool.read(&source.name(), |connection| {
            let mut found = Vec::new();
            for id in ids.iter() {
                found.extend(match source {
                    Source::Pending => pending::read(connection, *id)?,
                    Source::Day(_) => history::read(connection, *id)?,
                });
            }
            Ok(found)
        });
        if found.is_empty() {
            return found;
        }
        // Both are in the order of ids.
        let mut next = found.iter().map(|(record, _)| record.message.id).peekable();
        ids.retain(|id| next.next_if_eq(id).is_none());
        if let Source::Day(day) = source
            && self.content.read().contains(&day)
        {
            found = self.with_bodies(day, found);
        }
        found
    }

    fn with_bodies(&self, day: u64, found: Vec<(Record, u64)>) -> Vec<(Record, u64)> {
        let ids: Vec<MessageId> = found.iter().map(|(record, _)| record.message.id).collect();
        let bodies = self.pool.read(&Kind::Content.name(day), |connection| {
            history::read_content(connection, &ids)
        });
        let mut bodies = bodies.into_iter();
        found
            .into_iter()
            .map(|(record, as_of)| match bodies.next().flatten() {
                Some((body, push)) => (history::with_content(record, (&body, &push)), as_of),
                None => (record, as_of),
            })
            .collect()
    }

    /// Lists messages, newest first, looking at no more than `rows` of them.
    pub(crate) fn find(&self, query: &Query, rows: usize) -> Page {
        let mut page = Page::default();
        if self.is_untouched() {
            return page;
        }
        let sources = self.sources(query);
        let from = query.since.map_or(0, |since| MessageId::first_of(since).0);
        let until = query.until.map_or(u64::MAX, |until| {
            MessageId::first_of(UnixMs(until.0.saturating_add(STEP_BACK_MS))).0
        });
        let mut before = query.before.map_or(u64::MAX, |before| before.0).min(until);
        let mut looked_at = 0;
        loop {
            let chunk = CHUNK.max(query.limit).min(rows.saturating_sub(looked_at));
            let candidates = self.candidates(query, &sources, (from, before), chunk);
            let Some((last, _)) = candidates.last() else {
                return page;
            };
            before = last.0;
            looked_at += candidates.len();
            let exhausted = candidates.len() < chunk;
            page.records.extend(self.matching(query, candidates));
            if page.records.len() >= query.limit {
                page.records.truncate(query.limit);
                page.next = page.records.last().map(|record| record.message.id);
                return page;
            }
            if exhausted {
                return page;
            }
            if looked_at >= rows {
                page.next = Some(MessageId(before));
                return page;
            }
        }
    }

    fn sources(&self, query: &Query) -> Vec<Source> {
        let first = query.since.map_or(0, |since| Kind::History.span(since));
        let mut sources = vec![Source::Pending];
        let history = self.history.read();
        sources.extend(history.range(first..).rev().map(|day| Source::Day(*day)));
        sources
    }

    /// The newest ids that may be asked for, with where they stand.
    fn candidates(
        &self,
        query: &Query,
        sources: &[Source],
        span: (u64, u64),
        limit: usize,
    ) -> Vec<(MessageId, Source)> {
        let key = indexed_key(query);
        let mut found = Vec::new();
        for source in sources {
            let ids = self.pool.read(&source.name(), |connection| match key {
                Some(key) => history::looked_up(connection, key, span, limit),
                None => history::scanned(connection, span, limit),
            });
            found.extend(ids.into_iter().map(|id| (id, *source)));
        }
        found.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        if key.is_none() {
            found.dedup_by_key(|(id, _)| *id);
        }
        let end = limit.min(found.len());
        // Lookup entries of a message that has left pending lead nowhere: all of an id's go together.
        let end = found[end..]
            .iter()
            .take_while(|(id, _)| end > 0 && *id == found[end - 1].0)
            .count()
            + end;
        found.truncate(end);
        found
    }

    fn matching(&self, query: &Query, candidates: Vec<(MessageId, Source)>) -> Vec<Record> {
        let mut by_source: BTreeMap<Source, Vec<MessageId>> = BTreeMap::new();
        for (id, source) in candidates {
            by_source.entry(source).or_default().push(id);
        }
        let mut found: FxHashMap<MessageId, (Record, u64, Source)> = FxHashMap::default();
        for (source, ids) in by_source {
            let records = self.pool.read(&source.name(), |connection| {
                let mut records = Vec::new();
                for id in ids {
                    let record = match source {
                        Source::Pending => pending::read(connection, id)?,
                        Source::Day(_) => history::read(connection, id)?,
                    };
                    records.extend(record);
                }
                Ok(records)
            });
            for (record, as_of) in records {
                let id = record.message.id;
                let newer = found.get(&id).is_none_or(|(_, known, _)| *known < as_of);
                if newer {
                    found.insert(id, (record, as_of, source));
                }
            }
        }
        let mut days: BTreeMap<Source, Vec<(Record, u64)>> = BTreeMap::new();
        for (record, as_of, source) in found.into_values() {
            if matches(query, &record.message, &record.life) {
                days.entry(source).or_default().push((record, as_of));
            }
        }
        let mut records: Vec<Record> = Vec::new();
        for (source, found) in days {
            let found = match source {
                Source::Day(day) if self.content.read().contains(&day) => {
                    self.with_bodies(day, found)
                }
                _ => found,
            };
            records.extend(found.into_iter().map(|(record, _)| record));
        }
        records.sort_unstable_by_key(|record| std::cmp::Reverse(record.message.id));
        records
    }
}

/// The lookup key of the narrowest indexed field.
fn indexed_key(query: &Query) -> Option<u64> {
    let reference = query.client_ref.as_deref();
    reference
        .map(keys::client_ref)
        .or_else(|| query.to.map(keys::recipient))
        .or_else(|| query.batch.map(keys::batch))
}

/// Whether a list is found by an index, so that it needs no bound in time.
pub(crate) fn is_indexed(query: &Query) -> bool {
    indexed_key(query).is_some()
}
