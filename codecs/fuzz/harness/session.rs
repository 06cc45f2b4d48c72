//! A session under any octets, calls and times: bounded, never wedged, each request told once.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::session::{
    Config, Esme, Event, OUTPUT_OCTETS_HIGH, READ_OCTETS, Reply, Session, SubmitRefused,
};
use codecs::smpp::{BindKind, CommandStatus, DataSm, DeliverSm, Pdu, SubmitSm};

/// Commands of framed input; the response bit is picked apart.
const COMMANDS: [u32; 16] = [
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0B, 0x15, 0x21, 0x23, 0x102, 0x103, 0x999, 0,
];

/// What a session may hold on the heap whatever it is sent: output, events, input, tables.
const HEAP_OCTETS_MAX: usize = 8 << 20;

struct Steps<'a> {
    data: &'a [u8],
    session: Session,
    esme: bool,
    now: Instant,
    token_next: u64,
    /// Sent and neither answered, timed out nor lost.
    waiting: HashSet<u64>,
    timed_out: HashSet<u64>,
    replies: VecDeque<Reply>,
    closed: bool,
}

/// Interprets the octets as a set-up and steps, and checks after each.
pub(crate) fn session(data: &[u8]) {
    let [setup, version, steps @ ..] = data else {
        return;
    };
    let kind = [
        BindKind::Transceiver,
        BindKind::Transmitter,
        BindKind::Receiver,
    ][usize::from(setup >> 1) % 3];
    let esme = setup & 1 == 0;
    let mut config = if esme {
        let mut esme = Esme::new(kind, b"a", b"b");
        esme.interface_version = *version;
        Config::esme(esme)
    } else {
        Config::smsc(b"s")
    };
    config.strict_tlv = setup & 8 != 0;
    config.window = if setup & 16 != 0 { 2 } else { 100 };
    config.inbound_window = if setup & 32 != 0 { 3 } else { 1_000 };
    config.inactivity = (setup & 64 != 0).then_some(Duration::from_secs(90));
    config.seed = u64::from(*version);
    let now = Instant::now();
    let Ok(session) = Session::new(config, now) else {
        panic!("the names are short")
    };
    let mut run = Steps {
        data: steps,
        session,
        esme,
        now,
        token_next: 0,
        waiting: HashSet::new(),
        timed_out: HashSet::new(),
        replies: VecDeque::new(),
        closed: false,
    };
    while run.step() {
        run.check();
    }
    run.end();
}

impl Steps<'_> {
    fn octet(&mut self) -> Option<u8> {
        let (&octet, rest) = self.data.split_first()?;
        self.data = rest;
        Some(octet)
    }

    fn step(&mut self) -> bool {
        let (Some(step), Some(pick)) = (self.octet(), self.octet()) else {
            return false;
        };
        match step % 12 {
            0 | 1 => {
                let octets = self.octets(pick);
                self.feed(&octets);
            }
            2..=4 => self.feed_framed(step, pick),
            5 => self.pass(Duration::from_millis(u64::from(pick) * u64::from(pick) * 5)),
            6 | 7 => self.send(pick),
            8 => self.respond(pick),
            9 => {
                let status = if pick % 8 == 0 {
                    CommandStatus::BIND_FAILED
                } else {
                    CommandStatus::OK
                };
                let answered = self.session.respond_bind(self.now, status);
                assert!(answered.is_ok());
            }
            10 => {
                // Many of the same: floods.
                let command = COMMANDS[usize::from(pick % 16)];
                let pdu = framed(
                    command | (u32::from(pick & 0x80) << 24),
                    0,
                    u32::from(pick),
                    &[],
                );
                self.feed(&pdu.repeat(usize::from(pick) * 4));
            }
            _ => match pick % 16 {
                0 => self.session.unbind(self.now),
                1 => self.session.close(),
                2 => self.session.handle_eof(self.now),
                size => self.session.set_window(usize::from(size)),
            },
        }
        true
    }

    fn octets(&mut self, count: u8) -> Vec<u8> {
        let (octets, rest) = self.data.split_at(self.data.len().min(usize::from(count)));
        self.data = rest;
        octets.to_vec()
    }

    /// A framed PDU with a body from the data; responses under small numbers meet ours.
    fn feed_framed(&mut self, step: u8, pick: u8) {
        let command = COMMANDS[usize::from(pick % 16)] | (u32::from(pick & 0x80) << 24);
        let sequence = u32::from(self.octet().unwrap_or(1) % 12);
        let status = if step % 12 == 4 { 0x58 } else { 0 };
        let count = self.octet().unwrap_or_default();
        let body = self.octets(count);
        self.feed(&framed(command, status, sequence, &body));
    }

    fn feed(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(READ_OCTETS) {
            if self.session.wants_read() {
                self.session.handle_bytes(self.now, chunk);
            }
            self.check();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000 {
            let Some(next) = self.session.poll_timeout().filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.session.handle_timeout(self.now);
            let later = self.session.poll_timeout();
            assert!(
                later.is_none_or(|later| later > self.now),
                "a timer that stands still"
            );
            self.check();
        }
        self.now = end;
    }

    fn send(&mut self, pick: u8) {
        let token = self.token_next;
        self.token_next += 1;
        let text = [b'x'; 160];
        let short_message = &text[..usize::from(pick % 161)];
        let sent = match (pick % 4, self.esme) {
            (0, _) => self.session.send_data(self.now, token, &DataSm::default()),
            (_, true) => {
                let sm = SubmitSm {
                    short_message,
                    ..SubmitSm::default()
                };
                self.session.submit(self.now, token, &sm)
            }
            (_, false) => {
                let sm = DeliverSm {
                    short_message,
                    ..DeliverSm::default()
                };
                self.session.deliver(self.now, token, &sm)
            }
        };
        match sent {
            Ok(()) => assert!(self.waiting.insert(token)),
            Err(SubmitRefused::Encode(error)) => panic!("{error}"),
            Err(SubmitRefused::WindowFull) => assert_eq!(self.session.window_free(), 0),
            Err(SubmitRefused::NotBound | SubmitRefused::OutputFull) => {}
        }
    }

    fn respond(&mut self, pick: u8) {
        for _ in 0..pick % 8 {
            let Some(reply) = self.replies.pop_front() else {
                return;
            };
            match (pick >> 3 & 3, self.esme) {
                (0, _) => self.session.forget(reply),
                (1, true) => self.session.respond_deliver(reply, CommandStatus::OK),
                (_, true) => {
                    let status = CommandStatus::RECEIVER_TEMPORARY;
                    self.session.respond_deliver_with(reply, status, b"id");
                }
                (_, false) => {
                    let answered = self.session.respond_submit(reply, CommandStatus::OK, b"id");
                    assert!(answered.is_ok());
                }
            }
        }
    }

    fn check(&mut self) {
        self.drain();
        assert!(self.session.heap_octets() <= HEAP_OCTETS_MAX);
        let mut out = BytesMut::new();
        assert!(self.session.output_octets() <= OUTPUT_OCTETS_HIGH + 2 * READ_OCTETS);
        self.session.poll_transmit(&mut out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let Some(&[a, b, c, d]) = rest.first_chunk::<4>() else {
                panic!("a cut length")
            };
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).expect("64 bits");
            assert!(length >= 16 && length <= rest.len());
            let decoded = Pdu::decode(&rest[..length]);
            assert!(decoded.is_ok(), "our own octets");
            rest = &rest[length..];
        }
        self.drain();
        assert_eq!(self.session.in_flight(), self.waiting.len());
        assert_eq!(self.closed, self.session.is_closed());
        if self.closed {
            assert!(!self.session.wants_read() && self.session.poll_timeout().is_none());
            assert!(self.waiting.is_empty(), "each request is told once");
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert!(!self.closed, "nothing comes behind Closed: {event:?}");
            match event {
                Event::Answered(answer) => assert!(self.waiting.remove(&answer.token)),
                Event::TimedOut { token } => {
                    assert!(self.waiting.remove(&token) && self.timed_out.insert(token));
                }
                Event::LateAnswer(answer) => assert!(self.timed_out.remove(&answer.token)),
                Event::Lost { unknown, unsent } => {
                    for token in unknown.iter().chain(&unsent) {
                        assert!(self.waiting.remove(token));
                    }
                }
                Event::Delivered { reply, .. } => {
                    assert!(self.esme);
                    self.replies.push_back(reply);
                }
                Event::Submitted { reply, .. } => {
                    assert!(!self.esme);
                    self.replies.push_back(reply);
                }
                Event::Closed(_) => self.closed = true,
                Event::Bound { .. }
                | Event::BindRefused { .. }
                | Event::BindRequest(_)
                | Event::PeerUnbind
                | Event::Alive { .. }
                | Event::Odd(_) => {}
            }
        }
    }

    /// Whatever happened before, time ends a session that nobody speaks on.
    fn end(&mut self) {
        self.check();
        self.session.unbind(self.now);
        self.check();
        self.pass(Duration::from_secs(600));
        assert!(self.closed, "wedged");
    }
}

fn framed(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).expect("short");
    let words = [length, command, status, sequence];
    let mut octets: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    octets.extend_from_slice(body);
    octets
}
