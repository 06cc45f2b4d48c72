//! Assembly: rows of smpp.md §2.4, and any order of parts against a plain model.

use proptest::prelude::*;

use super::*;

const TIMEOUT_MS: u64 = 600_000;

fn part(from: &str, (reference, total, sequence): (u16, u8, u8), text: &str) -> InboundPart {
    InboundPart {
        route: RouteIx(0),
        from: from.into(),
        to: "71234".into(),
        concat: Some(Concat {
            width: Width::Eight,
            reference,
            total,
            sequence,
        }),
        data_coding: 0,
        header: 0,
        octets: text.as_bytes().into(),
        tlvs: Box::default(),
        acknowledges: None,
        received_at: UnixMs(1_000),
        in_reply_to: None,
    }
}

/// As the writer does it: what a part makes whole or gives up, by the texts of its parts.
#[derive(Default)]
struct World {
    sets: Sets,
    next: u64,
    delivered: Vec<(u64, String)>,
}

impl World {
    fn close(&mut self, id: MessageId) {
        let set = self.sets.close(id).expect("open").gathered();
        let texts = set.pieces.iter();
        let texts: String = texts
            .map(|piece| String::from_utf8(piece.octets.to_vec()).unwrap())
            .collect();
        self.delivered.push((id.0, texts));
    }

    fn offer(&mut self, part: InboundPart) -> Verdict {
        let verdict = self.sets.judge(&part, TIMEOUT_MS);
        let id = match verdict {
            Verdict::Single | Verdict::Duplicate => return verdict,
            Verdict::Joins(id) => id,
            Verdict::Begins(before) => {
                if let Some(before) = before {
                    self.close(before);
                }
                self.next += 1;
                MessageId(self.next)
            }
        };
        if self.sets.add(id, part) {
            self.close(id);
        }
        while let Some((oldest, _)) = self.sets.over(id) {
            self.close(oldest);
        }
        verdict
    }
}

#[test]
fn the_last_part_may_come_first() {
    let mut world = World::default();
    for sequence in [3, 1, 2] {
        let text = ["a", "b", "c"][usize::from(sequence) - 1];
        world.offer(part("+46701", (7, 3, sequence), text));
    }
    assert_eq!(world.delivered, [(1, "abc".to_owned())]);
    assert_eq!(world.sets.open_count(), 0);
}

#[test]
fn the_same_part_again_is_a_duplicate_also_after_the_message_is_whole() {
    let mut world = World::default();
    let first = part("+46701", (7, 2, 1), "a");
    assert_eq!(world.offer(first.clone()), Verdict::Begins(None));
    assert_eq!(world.offer(first.clone()), Verdict::Duplicate);
    world.offer(part("+46701", (7, 2, 2), "b"));
    assert_eq!(world.offer(first), Verdict::Duplicate);
    assert_eq!(world.delivered, [(1, "ab".to_owned())]);
}

#[test]
fn the_same_place_with_other_octets_begins_a_new_set_and_loses_nothing_of_the_old_one() {
    let mut world = World::default();
    world.offer(part("+46701", (7, 2, 1), "a"));
    let verdict = world.offer(part("+46701", (7, 2, 1), "x"));
    assert_eq!(verdict, Verdict::Begins(Some(MessageId(1))));
    world.offer(part("+46701", (7, 2, 2), "y"));
    assert_eq!(world.delivered, [(1, "a".to_owned()), (2, "xy".to_owned())]);
}

#[test]
fn a_part_ten_minutes_later_begins_a_new_set() {
    let mut world = World::default();
    world.offer(part("+46701", (7, 2, 1), "a"));
    let mut late = part("+46701", (7, 2, 2), "b");
    late.received_at = UnixMs(1_000 + TIMEOUT_MS + 1);
    assert_eq!(world.offer(late), Verdict::Begins(Some(MessageId(1))));
    assert_eq!(world.delivered, [(1, "a".to_owned())]);
}

#[test]
fn route_sender_receiver_reference_width_and_total_all_tell_messages_apart() {
    let first = part("+46701", (7, 2, 1), "a");
    let mut other_route = part("+46701", (7, 2, 2), "b");
    other_route.route = RouteIx(1);
    let mut other_to = part("+46701", (7, 2, 2), "b");
    other_to.to = "71235".into();
    let mut other_width = part("+46701", (7, 2, 2), "b");
    other_width.concat.as_mut().unwrap().width = Width::Sixteen;
    let others = [
        other_route,
        other_to,
        other_width,
        part("+46702", (7, 2, 2), "b"),
        part("+46701", (8, 2, 2), "b"),
        part("+46701", (7, 3, 2), "b"),
    ];
    for other in others {
        let mut world = World::default();
        world.offer(first.clone());
        assert_eq!(
            world.offer(other.clone()),
            Verdict::Begins(None),
            "{other:?}"
        );
        assert!(world.delivered.is_empty());
    }
}

#[test]
fn impossible_places_make_a_message_of_their_own() {
    for place in [(7, 1, 1), (7, 0, 0), (7, 2, 0), (7, 2, 3), (7, 0, 1)] {
        let part = part("+46701", place, "a");
        assert_eq!(Sets::default().judge(&part, TIMEOUT_MS), Verdict::Single);
    }
}

#[test]
fn one_sender_has_so_many_open_sets_and_the_oldest_is_delivered_as_it_is() {
    let mut world = World::default();
    let most = u16::try_from(SOURCE_SETS_MAX).unwrap();
    for reference in 0..=most {
        world.offer(part("+46701", (reference, 2, 1), "a"));
    }
    assert_eq!(world.sets.open_count(), SOURCE_SETS_MAX);
    assert_eq!(world.delivered, [(1, "a".to_owned())]);
    world.offer(part("+46702", (0, 2, 1), "a"));
    assert_eq!(world.delivered.len(), 1, "another sender's");
}

#[test]
fn octets_are_bounded_and_the_oldest_is_delivered_as_it_is() {
    let mut world = World::default();
    let text = "x".repeat(60_000);
    let mut sender = 0;
    while world.delivered.is_empty() {
        sender += 1;
        world.offer(part(&sender.to_string(), (7, 2, 1), &text));
    }
    assert!(sender > SETS_BYTES_MAX / 61_000);
    assert!(world.sets.bytes <= SETS_BYTES_MAX);
    assert_eq!(world.delivered[0].0, 1);
}

#[test]
fn finished_sets_are_forgotten_when_their_time_is_over() {
    let mut world = World::default();
    world.offer(part("+46701", (7, 2, 1), "a"));
    world.offer(part("+46701", (7, 2, 2), "b"));
    world.sets.forget_done(UnixMs(999));
    assert_eq!(world.sets.sets.len(), 1);
    world.sets.forget_done(UnixMs(1_000));
    assert!(world.sets.sets.is_empty() && world.sets.done.is_empty());
}

proptest! {
    #[test]
    fn every_order_with_repeats_gives_each_message_once_and_whole(
        messages in proptest::collection::vec((2..5u8, 0..3u8), 1..6),
        order in any::<u64>(),
    ) {
        let mut parts = Vec::new();
        for (index, (total, repeats)) in messages.iter().enumerate() {
            let reference = u16::try_from(index).unwrap();
            for sequence in 1..=*total {
                let text = format!("{index}.{sequence} ");
                let one = part("+46701", (reference, *total, sequence), &text);
                parts.extend(std::iter::repeat_n(one, usize::from(*repeats) + 1));
            }
        }
        // Shuffled by a stretch of xorshift.
        let mut state = order | 1;
        for last in (1..parts.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let other = usize::try_from(state % (last as u64 + 1)).unwrap();
            parts.swap(last, other);
        }
        let mut world = World::default();
        for part in parts {
            world.offer(part);
            let again = Sets::from_snapshot(world.sets.to_snapshot());
            prop_assert_eq!(again.to_snapshot(), world.sets.to_snapshot());
            prop_assert_eq!(again.bytes, world.sets.bytes);
            world.sets = again;
        }
        let mut texts: Vec<String> = world.delivered.iter().map(|(_, text)| text.clone()).collect();
        texts.sort();
        let mut expected: Vec<String> = messages
            .iter()
            .enumerate()
            .map(|(index, (total, _))| (1..=*total).map(|s| format!("{index}.{s} ")).collect())
            .collect();
        expected.sort();
        prop_assert_eq!(texts, expected);
        prop_assert_eq!(world.sets.open_count(), 0);
    }
}

#[test]
fn the_same_octets_in_another_coding_are_another_part() {
    let mut world = World::default();
    let first = part("a", (1, 2, 1), "x");
    assert_eq!(world.offer(first.clone()), Verdict::Begins(None));
    let other = InboundPart {
        data_coding: 8,
        ..first
    };
    let verdict = world.offer(other);
    assert!(matches!(verdict, Verdict::Begins(Some(_))), "{verdict:?}");
}
