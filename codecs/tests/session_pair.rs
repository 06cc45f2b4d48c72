//! An ESME and an SMSC session, back to back, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::link::encode_bare;
use codecs::smpp::session::{
    CloseReason, Config, Esme, Event, Fault, Odd, Reply, Session, SubmitRefused,
};
use codecs::smpp::{
    Address, BindKind, CommandId, CommandStatus, DeliverSm, Header, Limits, Quirks, Speaks,
    SubmitSm,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two sessions whose octets are carried at once, unless the line is cut.
struct Pair {
    now: Instant,
    esme: Session,
    smsc: Session,
    esme_events: Vec<Event>,
    smsc_events: Vec<Event>,
    /// Octets towards the ESME / towards the SMSC are dropped.
    cut: (bool, bool),
}

impl Pair {
    fn new(kind: BindKind, change: impl FnOnce(&mut Config, &mut Config)) -> Self {
        let mut esme = Config::esme(Esme::new(kind, b"acme", b"secret"));
        let mut smsc = Config::smsc(b"SMSC");
        change(&mut esme, &mut smsc);
        let now = Instant::now();
        Self {
            now,
            esme: Session::new(esme, now).unwrap(),
            smsc: Session::new(smsc, now).unwrap(),
            esme_events: Vec::new(),
            smsc_events: Vec::new(),
            cut: (false, false),
        }
    }

    fn bound(kind: BindKind, change: impl FnOnce(&mut Config, &mut Config)) -> Self {
        let mut pair = Self::new(kind, change);
        pair.carry();
        assert!(matches!(pair.smsc_events[0], Event::BindRequest(_)));
        pair.smsc.respond_bind(pair.now, CommandStatus::OK).unwrap();
        pair.carry();
        assert!(pair.esme.is_bound() && pair.smsc.is_bound());
        pair.esme_events.clear();
        pair.smsc_events.clear();
        pair
    }

    /// Carries octets until neither side has any.
    fn carry(&mut self) {
        let mut out = BytesMut::new();
        loop {
            out.clear();
            let sent = self.esme.poll_transmit(&mut out);
            if sent && !self.cut.1 {
                self.smsc.handle_bytes(self.now, &out);
            }
            out.clear();
            let answered = self.smsc.poll_transmit(&mut out);
            if answered && !self.cut.0 {
                self.esme.handle_bytes(self.now, &out);
            }
            self.esme_events
                .extend(std::iter::from_fn(|| self.esme.poll_event()));
            self.smsc_events
                .extend(std::iter::from_fn(|| self.smsc.poll_event()));
            if !sent && !answered {
                return;
            }
        }
    }

    /// Lets time pass, stopping at every timer on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [self.esme.poll_timeout(), self.smsc.poll_timeout()]
                .into_iter()
                .flatten();
            let Some(next) = next.min().filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.esme.handle_timeout(self.now);
            self.smsc.handle_timeout(self.now);
            self.carry();
        }
        self.now = end;
    }

    fn submit(&mut self, token: u64) -> Result<(), SubmitRefused> {
        self.esme.submit(self.now, token, &sm())
    }

    fn submitted(&self) -> Vec<Reply> {
        let replies = self.smsc_events.iter().filter_map(|event| match event {
            Event::Submitted { reply, .. } => Some(*reply),
            _ => None,
        });
        replies.collect()
    }

    fn esme_closed(&self) -> Option<CloseReason> {
        closed(&self.esme_events)
    }

    fn smsc_closed(&self) -> Option<CloseReason> {
        closed(&self.smsc_events)
    }
}

fn closed(events: &[Event]) -> Option<CloseReason> {
    events.iter().find_map(|event| match event {
        Event::Closed(reason) => Some(*reason),
        _ => None,
    })
}

fn sm() -> SubmitSm<'static> {
    SubmitSm {
        source: Address {
            ton: 5,
            npi: 0,
            addr: b"Trunkline",
        },
        dest: Address {
            ton: 1,
            npi: 1,
            addr: b"447700900123",
        },
        short_message: b"hello",
        ..SubmitSm::default()
    }
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap();
    let mut octets = Vec::new();
    for word in [length, command, status, sequence] {
        octets.extend_from_slice(&word.to_be_bytes());
    }
    octets.extend_from_slice(body);
    octets
}

fn headers(mut octets: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while !octets.is_empty() {
        let length = u32::from_be_bytes(octets[..4].try_into().unwrap()) as usize;
        headers.push(Header::decode(octets).unwrap());
        octets = &octets[length..];
    }
    headers
}

/// A bound SMSC session without its ESME, and a probe's answer.
fn probe(octets: &[u8]) -> (Session, Vec<Header>) {
    let mut pair = Pair::bound(BindKind::Transceiver, |_, _| {});
    pair.smsc.handle_bytes(pair.now, octets);
    let mut out = BytesMut::new();
    pair.smsc.poll_transmit(&mut out);
    (pair.smsc, headers(&out))
}

fn answer(command: CommandId, status: CommandStatus, sequence: u32) -> Vec<Header> {
    vec![Header {
        command,
        status,
        sequence,
    }]
}

#[test]
fn bind_tells_names_and_version() {
    let mut pair = Pair::new(BindKind::Transceiver, |_, _| {});
    assert_eq!(pair.submit(1), Err(SubmitRefused::NotBound));
    pair.carry();
    let [Event::BindRequest(request)] = &pair.smsc_events[..] else {
        panic!("one request")
    };
    assert_eq!(
        (&request.system_id[..], &request.password[..]),
        (&b"acme"[..], &b"secret"[..])
    );
    assert_eq!(request.interface_version, 0x34);
    pair.smsc.respond_bind(pair.now, CommandStatus::OK).unwrap();
    pair.carry();
    let [
        Event::Bound {
            system_id,
            interface_version,
            ..
        },
    ] = &pair.esme_events[..]
    else {
        panic!("one event")
    };
    assert_eq!(
        (&system_id[..], *interface_version),
        (&b"SMSC"[..], Some(0x34))
    );
}

#[test]
fn refused_bind_closes_both_sides() {
    let mut pair = Pair::new(BindKind::Transmitter, |_, _| {});
    pair.carry();
    pair.smsc
        .respond_bind(pair.now, CommandStatus::INVALID_PASSWORD)
        .unwrap();
    pair.carry();
    let status = CommandStatus::INVALID_PASSWORD;
    assert_eq!(pair.esme_events[0], Event::BindRefused { status });
    assert_eq!(pair.esme_closed(), Some(CloseReason::BindRefused(status)));
    assert_eq!(pair.smsc_closed(), Some(CloseReason::RefusedByUs(status)));
}

#[test]
fn bind_without_answer_times_out_on_both_sides() {
    let mut pair = Pair::new(BindKind::Transmitter, |_, _| {});
    pair.cut = (true, true);
    pair.pass(10 * SECOND);
    assert_eq!(pair.smsc_closed(), Some(CloseReason::BindTimeout));
    assert_eq!(pair.esme_closed(), None);
    pair.pass(5 * SECOND);
    assert_eq!(pair.esme_closed(), Some(CloseReason::BindTimeout));
}

#[test]
fn answers_find_their_tokens_in_any_order() {
    let mut pair = Pair::bound(BindKind::Transceiver, |esme, _| esme.window = 5);
    for token in 100..105 {
        pair.submit(token).unwrap();
    }
    assert_eq!(pair.submit(105), Err(SubmitRefused::WindowFull));
    assert_eq!((pair.esme.in_flight(), pair.esme.window_free()), (5, 0));
    pair.carry();
    pair.now += 20 * MS;
    for (at, reply) in pair.submitted().into_iter().enumerate().rev() {
        let status = if at == 2 {
            CommandStatus::THROTTLED
        } else {
            CommandStatus::OK
        };
        pair.smsc
            .respond_submit(reply, status, format!("id{at}").as_bytes())
            .unwrap();
    }
    pair.carry();
    let answers = pair.esme_events.iter().filter_map(|event| match event {
        Event::Answered(answer) => {
            assert_eq!(answer.latency, 20 * MS);
            let id = String::from_utf8_lossy(&answer.message_id);
            Some((answer.token, answer.status.0, id))
        }
        Event::Odd(Odd::Quirks(_, Quirks::ERROR_WITH_ID)) => None,
        other => panic!("{other:?}"),
    });
    let answers: Vec<_> = answers.collect();
    assert_eq!(answers[0], (104, 0, "id4".into()));
    assert_eq!(answers[2], (102, 0x58, "id2".into()));
    assert_eq!(answers.len(), 5);
    assert_eq!((pair.esme.in_flight(), pair.smsc.unanswered()), (0, 0));
}

#[test]
fn unanswered_submit_times_out_and_its_late_answer_is_told_apart() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(7).unwrap();
    pair.carry();
    pair.pass(30 * SECOND);
    assert!(pair.esme_events.contains(&Event::TimedOut { token: 7 }));
    assert_eq!(pair.esme.in_flight(), 0);
    pair.pass(500 * SECOND);
    let reply = pair.submitted()[0];
    pair.smsc
        .respond_submit(reply, CommandStatus::OK, b"late")
        .unwrap();
    pair.carry();
    let Some(Event::LateAnswer(answer)) = pair.esme_events.last() else {
        panic!("late answer")
    };
    assert_eq!((answer.token, &answer.message_id[..]), (7, &b"late"[..]));
    assert_eq!(answer.latency, 530 * SECOND);
}

#[test]
fn answer_more_than_ten_minutes_late_is_unsolicited() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(7).unwrap();
    pair.carry();
    // It was due within 30 seconds.
    pair.pass(631 * SECOND);
    let reply = pair.submitted()[0];
    pair.smsc
        .respond_submit(reply, CommandStatus::OK, b"late")
        .unwrap();
    pair.carry();
    let odd = Event::Odd(Odd::Unsolicited(CommandId::SUBMIT_SM_RESP));
    assert_eq!(pair.esme_events.last(), Some(&odd));
}

#[test]
fn generic_nack_answers_any_pending_request() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(7).unwrap();
    pair.carry();
    let sequence = pair.submitted()[0].sequence();
    pair.esme
        .handle_bytes(pair.now, &pdu(0x8000_0000, 3, sequence, b""));
    let Some(Event::Answered(answer)) = pair.esme.poll_event() else {
        panic!("an answer")
    };
    assert!(answer.nacked);
    assert_eq!(
        (answer.token, answer.status),
        (7, CommandStatus::INVALID_COMMAND)
    );
}

#[test]
fn response_of_another_command_is_unsolicited() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(7).unwrap();
    pair.carry();
    let sequence = pair.submitted()[0].sequence();
    pair.esme
        .handle_bytes(pair.now, &pdu(0x8000_0103, 0, sequence, b"id\0"));
    let odd = Odd::Unsolicited(CommandId::DATA_SM_RESP);
    assert_eq!(pair.esme.poll_event(), Some(Event::Odd(odd)));
    assert_eq!(pair.esme.in_flight(), 1);
}

#[test]
fn deliver_is_answered_only_when_the_caller_says() {
    let mut pair = Pair::bound(BindKind::Receiver, |_, _| {});
    let deliver = DeliverSm {
        esm_class: 4,
        short_message: b"id:1",
        ..DeliverSm::default()
    };
    pair.smsc.deliver(pair.now, 9, &deliver).unwrap();
    pair.carry();
    assert!(pair.smsc_events.is_empty());
    let Some(Event::Delivered { reply, frame }) = pair.esme_events.pop() else {
        panic!("one")
    };
    assert_eq!(frame.deliver_sm().unwrap(), (deliver, Quirks::NONE));
    pair.esme.respond_deliver(reply, CommandStatus::OK);
    pair.carry();
    assert!(matches!(&pair.smsc_events[..], [Event::Answered(answer)] if answer.token == 9));
    assert_eq!(
        pair.submit(1),
        Err(SubmitRefused::NotBound),
        "a receiver cannot submit"
    );
}

#[test]
fn reading_stops_when_the_caller_does_not_answer() {
    let mut pair = Pair::bound(BindKind::Transceiver, |esme, smsc| {
        esme.inbound_window = 3;
        smsc.window = 10;
    });
    for token in 0..3 {
        assert!(pair.esme.wants_read());
        pair.smsc
            .deliver(pair.now, token, &DeliverSm::default())
            .unwrap();
        pair.carry();
    }
    assert!(!pair.esme.wants_read());
    let Some(Event::Delivered { reply, .. }) = pair.esme_events.pop() else {
        panic!("one")
    };
    pair.esme
        .respond_deliver(reply, CommandStatus::RECEIVER_TEMPORARY);
    assert!(pair.esme.wants_read());
}

#[test]
fn silence_is_broken_by_enquire_link_and_any_octet_resets_it() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, smsc| {
        smsc.enquire_link = 3600 * SECOND
    });
    let due = pair.esme.poll_timeout().unwrap() - pair.now;
    assert!(
        due >= 27 * SECOND && due <= 33 * SECOND,
        "30 s give or take 10 %: {due:?}"
    );
    pair.pass(300 * SECOND);
    assert!(pair.esme.is_bound() && pair.esme_closed().is_none());
    let before = pair.esme.poll_timeout().unwrap();
    pair.now += SECOND;
    pair.esme.handle_bytes(pair.now, &[0]);
    let partial = pair.now + 10 * SECOND;
    assert_eq!(pair.esme.poll_timeout(), Some(partial.min(before + SECOND)));
}

#[test]
fn two_missed_enquire_links_close() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, smsc| {
        smsc.enquire_link = 3600 * SECOND
    });
    pair.cut = (true, true);
    pair.pass(54 * SECOND);
    let reason = CloseReason::EnquireLinkUnanswered;
    assert_eq!(pair.esme_closed(), Some(reason));
    assert_eq!(reason.fault(), Fault::Transport);
}

/// "Half-open links found in seconds", with the settings that everybody has.
#[test]
fn a_busy_link_that_stalls_is_found_within_twenty_seconds() {
    // Just bound, and before, at and after the time at which silence alone is asked about.
    for quiet in [0, 20, 26, 33] {
        let mut pair = Pair::bound(BindKind::Transceiver, |_, smsc| {
            smsc.enquire_link = 3600 * SECOND;
        });
        pair.pass(quiet * SECOND);
        pair.cut = (true, true);
        pair.submit(5).unwrap();
        pair.carry();
        pair.pass(SECOND * 20);
        let reason = CloseReason::EnquireLinkUnanswered;
        assert_eq!(pair.esme_closed(), Some(reason), "{quiet}");
        let lost = Event::Lost {
            unknown: vec![5],
            unsent: vec![],
        };
        assert!(pair.esme_events.contains(&lost));
    }
    // It was asked for its silence, patiently, and is busy from then on.
    let mut pair = Pair::bound(BindKind::Transceiver, |_, smsc| {
        smsc.enquire_link = 3600 * SECOND;
    });
    pair.cut = (true, true);
    pair.pass(33 * SECOND);
    assert_eq!(pair.esme.keep_alive().misses, 1);
    pair.submit(5).unwrap();
    pair.carry();
    pair.pass(20 * SECOND);
    assert!(pair.esme_closed().is_some());
}

/// Its answers are slow, but it is there: nothing is given up, and so nothing sent twice.
#[test]
fn a_peer_that_is_slow_with_answers_but_answers_enquire_link_is_kept() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, smsc| {
        smsc.enquire_link = 3600 * SECOND;
    });
    pair.submit(5).unwrap();
    pair.carry();
    pair.pass(5 * SECOND - MS);
    assert_eq!(pair.esme.keep_alive().round_trip, None, "not yet asked");
    pair.pass(MS);
    let kept = pair.esme.keep_alive();
    assert_eq!((kept.round_trip, kept.misses), (Some(Duration::ZERO), 0));
    assert_eq!(kept.heard_at, pair.now);
    pair.pass(24 * SECOND);
    assert!(pair.esme.is_bound());
    let alive = Event::Alive {
        round_trip: Duration::ZERO,
    };
    let asked = pair.esme_events.iter().filter(|event| **event == alive);
    assert_eq!(asked.count(), 5, "every five seconds, no more");
    let reply = pair.submitted()[0];
    pair.smsc
        .respond_submit(reply, CommandStatus::OK, b"1")
        .unwrap();
    pair.carry();
    let answered = |event: &Event| matches!(event, Event::Answered(answer) if answer.token == 5);
    assert!(pair.esme_events.iter().any(answered));
}

/// It may be storing what it was handed, and read nothing meanwhile.
#[test]
fn an_smsc_is_as_patient_with_a_busy_esme_as_with_a_silent_one() {
    let mut pair = Pair::bound(BindKind::Transceiver, |esme, _| {
        esme.enquire_link = 3600 * SECOND;
    });
    let deliver = DeliverSm::default();
    pair.smsc.deliver(pair.now, 5, &deliver).unwrap();
    pair.carry();
    pair.pass(26 * SECOND);
    assert_eq!(pair.smsc.keep_alive().round_trip, None, "not asked");
    pair.pass(8 * SECOND);
    assert!(pair.smsc.keep_alive().round_trip.is_some());
}

#[test]
fn a_missed_enquire_link_shows_until_the_peer_is_heard() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, smsc| {
        smsc.enquire_link = 3600 * SECOND;
    });
    let bound_at = pair.now;
    pair.cut = (true, true);
    pair.pass(34 * SECOND);
    let kept = pair.esme.keep_alive();
    assert_eq!((kept.misses, kept.heard_at), (1, bound_at));
    pair.cut = (false, false);
    pair.pass(10 * SECOND);
    let kept = pair.esme.keep_alive();
    assert_eq!((kept.misses, kept.round_trip), (0, Some(Duration::ZERO)));
}

#[test]
fn enquire_link_is_answered_before_a_bind_and_behind_a_full_window() {
    let now = Instant::now();
    let mut smsc = Session::new(Config::smsc(b"s"), now).unwrap();
    smsc.handle_bytes(now, &pdu(0x15, 0, 77, b""));
    let mut out = BytesMut::new();
    smsc.poll_transmit(&mut out);
    assert_eq!(
        headers(&out),
        answer(CommandId::ENQUIRE_LINK_RESP, CommandStatus::OK, 77)
    );
    let mut pair = Pair::bound(BindKind::Transceiver, |esme, _| esme.window = 1);
    pair.submit(1).unwrap();
    out.clear();
    pair.esme.poll_transmit(&mut out);
    pair.esme.handle_bytes(pair.now, &pdu(0x15, 0, 78, b"\0"));
    out.clear();
    pair.esme.poll_transmit(&mut out);
    assert_eq!(
        headers(&out),
        answer(CommandId::ENQUIRE_LINK_RESP, CommandStatus::OK, 78)
    );
}

#[test]
fn our_unbind_waits_for_answers_and_ends_well() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(1).unwrap();
    pair.carry();
    pair.esme.unbind(pair.now);
    assert_eq!(pair.submit(2), Err(SubmitRefused::NotBound));
    pair.carry();
    assert!(pair.smsc_events.contains(&Event::PeerUnbind));
    let reply = pair.submitted()[0];
    pair.smsc
        .respond_submit(reply, CommandStatus::OK, b"1")
        .unwrap();
    pair.carry();
    assert_eq!(pair.esme_closed(), Some(CloseReason::Unbound));
    assert_eq!(pair.smsc_closed(), Some(CloseReason::PeerUnbound));
}

#[test]
fn end_of_file_after_our_unbind_is_success() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.esme.unbind(pair.now);
    let mut out = BytesMut::new();
    pair.esme.poll_transmit(&mut out);
    pair.esme.handle_eof(pair.now);
    assert_eq!(
        pair.esme.poll_event(),
        Some(Event::Closed(CloseReason::Unbound))
    );
}

#[test]
fn unbind_without_answer_times_out() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.cut = (true, true);
    pair.esme.unbind(pair.now);
    pair.carry();
    pair.pass(5 * SECOND);
    assert_eq!(pair.esme_closed(), Some(CloseReason::UnbindTimeout));
}

#[test]
fn peer_unbind_is_answered_and_flight_gets_two_seconds() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(1).unwrap();
    pair.submit(2).unwrap();
    pair.carry();
    let replies = pair.submitted();
    pair.smsc
        .respond_submit(replies[0], CommandStatus::OK, b"1")
        .unwrap();
    pair.smsc.unbind(pair.now);
    pair.carry();
    assert!(pair.esme_events.contains(&Event::PeerUnbind));
    assert!(matches!(pair.esme_events[0], Event::Answered(_)));
    assert_eq!(pair.esme_closed(), None);
    assert_eq!(pair.smsc_closed(), Some(CloseReason::Unbound));
    pair.pass(2 * SECOND);
    let lost = Event::Lost {
        unknown: vec![2],
        unsent: vec![],
    };
    assert!(pair.esme_events.contains(&lost));
    assert_eq!(pair.esme_closed(), Some(CloseReason::PeerUnbound));
}

#[test]
fn lost_link_tells_what_left_from_what_did_not() {
    let mut pair = Pair::bound(BindKind::Transmitter, |_, _| {});
    pair.submit(1).unwrap();
    pair.submit(2).unwrap();
    pair.carry();
    pair.submit(3).unwrap();
    pair.esme.handle_eof(pair.now);
    pair.carry();
    let lost = Event::Lost {
        unknown: vec![1, 2],
        unsent: vec![3],
    };
    assert_eq!(
        pair.esme_events[..],
        [lost, Event::Closed(CloseReason::Eof)]
    );
    assert_eq!(pair.esme.poll_timeout(), None);
}

#[test]
fn lying_command_length_is_nacked_with_sequence_0_and_closes() {
    for length in [0_u32, 4, 15, 0x7FFF_FFFF, 72 * 1024 + 1] {
        let (mut session, answers) = probe(&length.to_be_bytes());
        let status = CommandStatus::INVALID_COMMAND_LENGTH;
        assert_eq!(
            answers,
            answer(CommandId::GENERIC_NACK, status, 0),
            "length {length}"
        );
        let Some(Event::Closed(CloseReason::Framing(error))) = session.poll_event() else {
            panic!("closed")
        };
        assert_eq!((error.length, error.speaks), (length, Speaks::Unknown));
    }
}

#[test]
fn what_is_not_smpp_is_named() {
    let cases: [(&[u8], Speaks); 7] = [
        (b"HTTP/1.1 400 Bad Request", Speaks::Http),
        (b"GET / HTTP/1.1\r\n", Speaks::Http),
        (b"\x16\x03\x01\x02\x00", Speaks::Tls),
        (b"AMQP\x00\x00\x09\x01", Speaks::Amqp),
        (b"220 mail.example.org ESMTP", Speaks::Greeting),
        (b"SSH-2.0-OpenSSH_9.2", Speaks::Ssh),
        (b"INFO {\"server_id\"", Speaks::Text),
    ];
    for (octets, speaks) in cases {
        let (mut session, _) = probe(octets);
        let Some(Event::Closed(CloseReason::Framing(error))) = session.poll_event() else {
            panic!("closed")
        };
        assert_eq!(error.speaks, speaks);
        assert!(error.to_string().contains(&speaks.to_string()));
    }
}

#[test]
fn large_pdu_is_refused_before_a_bind_and_taken_after() {
    let now = Instant::now();
    let mut smsc = Session::new(Config::smsc(b"s"), now).unwrap();
    smsc.handle_bytes(now, &2_000_u32.to_be_bytes());
    assert!(smsc.poll_transmit(&mut BytesMut::new()));
    assert!(matches!(
        smsc.poll_event(),
        Some(Event::Closed(CloseReason::Framing(_)))
    ));
    let (mut session, answers) = probe(&70_000_u32.to_be_bytes());
    assert!(answers.is_empty() && session.wants_read());
    assert!(session.read_buffer().capacity() >= 70_000);
}

#[test]
fn unknown_command_is_nacked_and_the_bind_kept() {
    for command in [0x999, 0x23] {
        let (session, answers) = probe(&pdu(command, 0, 42, b"body"));
        let status = CommandStatus::INVALID_COMMAND;
        assert_eq!(answers, answer(CommandId::GENERIC_NACK, status, 42));
        assert!(session.is_bound());
    }
}

#[test]
fn known_but_unsupported_command_is_answered_with_0x03() {
    let (session, answers) = probe(&pdu(0x03, 0, 42, b"id\0\0\0\0"));
    let status = CommandStatus::INVALID_COMMAND;
    assert_eq!(answers, answer(CommandId::QUERY_SM_RESP, status, 42));
    assert!(session.is_bound());
}

#[test]
fn broken_submit_is_answered_and_the_bind_kept() {
    let mut lying = BytesMut::new();
    sm().encode(9, &Limits::SPEC, &mut lying).unwrap();
    let at = lying.len() - 6;
    lying[at] = 255;
    let (session, answers) = probe(&lying);
    let status = CommandStatus::INVALID_MESSAGE_LENGTH;
    assert_eq!(answers, answer(CommandId::SUBMIT_SM_RESP, status, 9));
    assert!(session.is_bound());
    let (session, answers) = probe(&pdu(4, 0, 10, b"no nul anywhere"));
    let status = CommandStatus::INVALID_COMMAND_LENGTH;
    assert_eq!(answers, answer(CommandId::SUBMIT_SM_RESP, status, 10));
    assert!(session.is_bound());
}

#[test]
fn submit_before_bind_is_answered_with_0x04_and_second_bind_with_0x05() {
    let now = Instant::now();
    let mut smsc = Session::new(Config::smsc(b"s"), now).unwrap();
    let mut octets = BytesMut::new();
    sm().encode(3, &Limits::SPEC, &mut octets).unwrap();
    smsc.handle_bytes(now, &octets);
    let mut out = BytesMut::new();
    smsc.poll_transmit(&mut out);
    let status = CommandStatus::WRONG_BIND_STATE;
    assert_eq!(headers(&out), answer(CommandId::SUBMIT_SM_RESP, status, 3));
    let (session, answers) = probe(&pdu(0x09, 0, 4, b"a\0b\0\0\x34\0\0\0"));
    let status = CommandStatus::ALREADY_BOUND;
    assert_eq!(answers, answer(CommandId::BIND_TRANSCEIVER_RESP, status, 4));
    assert!(session.is_bound());
}

#[test]
fn smpp_4_is_refused_with_0x0d() {
    let now = Instant::now();
    let mut smsc = Session::new(Config::smsc(b"s"), now).unwrap();
    smsc.handle_bytes(now, &pdu(0x02, 0, 4, b"a\0b\0\0\x40\0\0\0"));
    let mut out = BytesMut::new();
    smsc.poll_transmit(&mut out);
    let status = CommandStatus::BIND_FAILED;
    assert_eq!(
        headers(&out),
        answer(CommandId::BIND_TRANSMITTER_RESP, status, 4)
    );
    assert!(smsc.is_closed());
}

#[test]
fn sequence_zero_and_above_the_maximum_are_echoed() {
    let mut pair = Pair::bound(BindKind::Transceiver, |_, _| {});
    for sequence in [0, 0, u32::MAX] {
        let mut octets = BytesMut::new();
        sm().encode(sequence, &Limits::SPEC, &mut octets).unwrap();
        pair.smsc.handle_bytes(pair.now, &octets);
    }
    let events: Vec<_> = std::iter::from_fn(|| pair.smsc.poll_event()).collect();
    pair.smsc_events = events;
    for reply in pair.submitted() {
        pair.smsc
            .respond_submit(reply, CommandStatus::OK, b"x")
            .unwrap();
    }
    let mut out = BytesMut::new();
    pair.smsc.poll_transmit(&mut out);
    let sequences: Vec<_> = headers(&out).iter().map(|header| header.sequence).collect();
    assert_eq!(sequences, [0, 0, u32::MAX]);
}

#[test]
fn begun_pdu_that_never_ends_closes() {
    let mut pair = Pair::bound(BindKind::Transceiver, |_, _| {});
    pair.smsc
        .handle_bytes(pair.now, &[0, 0, 0, 100, 0, 0, 0, 4]);
    for _ in 0..9 {
        pair.pass(SECOND);
        pair.smsc.handle_bytes(pair.now, &[0]);
    }
    assert_eq!(pair.smsc_closed(), None);
    pair.pass(SECOND);
    assert_eq!(
        pair.smsc_closed(),
        Some(CloseReason::PartialPdu),
        "a slow drip does not help"
    );
}

#[test]
fn floods_close() {
    let (mut session, _) = probe(&pdu(0x15, 0, 1, b"").repeat(101));
    assert_eq!(
        session.poll_event(),
        Some(Event::Closed(CloseReason::Flood(CommandId::ENQUIRE_LINK)))
    );
    let (session, answers) = probe(&pdu(0x999, 0, 1, b"").repeat(500));
    assert!(session.is_closed() && answers.len() == 100);
    let (session, _) = probe(&pdu(0x8000_0004, 0, 1, b"").repeat(1_001));
    assert!(session.is_closed());
}

#[test]
fn octet_by_octet_is_the_same_as_at_once() {
    let mut octets = BytesMut::new();
    for sequence in 1..=3 {
        sm().encode(sequence, &Limits::SPEC, &mut octets).unwrap();
    }
    encode_bare(CommandId::UNBIND, CommandStatus::OK, 4, &mut octets);
    let mut at_once = Pair::bound(BindKind::Transceiver, |_, _| {});
    at_once.smsc.handle_bytes(at_once.now, &octets);
    let mut dripped = Pair::bound(BindKind::Transceiver, |_, _| {});
    for octet in &octets {
        dripped.smsc.handle_bytes(dripped.now, &[*octet]);
    }
    let mut count = 0;
    loop {
        let (one, other) = (at_once.smsc.poll_event(), dripped.smsc.poll_event());
        assert_eq!(one, other);
        if one.is_none() {
            break;
        }
        count += 1;
    }
    assert_eq!(count, 4);
}
