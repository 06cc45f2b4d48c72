//! A session without its peer: octets in, octets and events out.

use std::time::Instant;

use bytes::BytesMut;
use codecs::smpp::session::{Config, Esme, Event, Odd, Session};
use codecs::smpp::{Address, BindKind, CommandId, CommandStatus, Header, Limits, Quirks, SubmitSm};

/// A PDU with this body.
pub(crate) fn pdu(
    command: CommandId,
    status: CommandStatus,
    sequence: u32,
    body: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap();
    let words = [length, command.0, status.0, sequence];
    let mut octets: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    octets.extend_from_slice(body);
    octets
}

pub(crate) fn request(command: CommandId, sequence: u32, body: &[u8]) -> Vec<u8> {
    pdu(command, CommandStatus::OK, sequence, body)
}

/// submit_sm with a short text.
pub(crate) fn sm() -> SubmitSm<'static> {
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
        short_message: b"hello world",
        ..SubmitSm::default()
    }
}

/// submit_sm's octets.
pub(crate) fn submit(sequence: u32) -> Vec<u8> {
    let mut out = BytesMut::new();
    sm().encode(sequence, &Limits::SPEC, &mut out).unwrap();
    out.to_vec()
}

/// submit_sm or deliver_sm with octets behind its text.
pub(crate) fn message_with(command: CommandId, sequence: u32, tail: &[u8]) -> Vec<u8> {
    let mut body = submit(sequence).split_off(16);
    body.extend_from_slice(tail);
    request(command, sequence, &body)
}

/// One side, in virtual time.
pub(crate) struct Side {
    pub(crate) session: Session,
    pub(crate) now: Instant,
}

impl Side {
    pub(crate) fn smsc_open(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::smsc(b"SMSC");
        change(&mut config);
        let now = Instant::now();
        Self {
            session: Session::new(config, now).unwrap(),
            now,
        }
    }

    /// An SMSC bound by an ESME of this kind and version.
    pub(crate) fn smsc_version(
        kind: BindKind,
        version: u8,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut side = Self::smsc_open(change);
        let body = [b"a\0b\0\0".as_slice(), &[version], b"\0\0\0"].concat();
        side.takes(&request(kind.command(), 1, &body));
        let now = side.now;
        side.session.respond_bind(now, CommandStatus::OK).unwrap();
        assert!(side.session.is_bound());
        side.writes();
        side.events();
        side
    }

    pub(crate) fn smsc(change: impl FnOnce(&mut Config)) -> Self {
        Self::smsc_version(BindKind::Transceiver, 0x34, change)
    }

    /// An ESME whose SMSC accepted its bind; the next sequence_number is 2.
    pub(crate) fn esme(kind: BindKind, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::esme(Esme::new(kind, b"acme", b"secret"));
        change(&mut config);
        let now = Instant::now();
        let mut side = Self {
            session: Session::new(config, now).unwrap(),
            now,
        };
        side.writes();
        let command = kind.command().response();
        side.takes(&request(command, 1, b"SMSC\0"));
        assert!(side.session.is_bound());
        side.events();
        side
    }

    pub(crate) fn takes(&mut self, octets: &[u8]) {
        self.session.handle_bytes(self.now, octets);
    }

    /// The headers of all that waits to be written.
    pub(crate) fn writes(&mut self) -> Vec<Header> {
        let mut out = BytesMut::new();
        self.session.poll_transmit(&mut out);
        let mut rest = &out[..];
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            headers.push(Header::decode(rest).unwrap());
            rest = &rest[length..];
        }
        headers
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// Events, with the quirks among them gathered.
    pub(crate) fn events_and_quirks(&mut self) -> (Vec<Event>, Quirks) {
        let mut quirks = Quirks::NONE;
        let mut events = self.events();
        events.retain(|event| match event {
            Event::Odd(Odd::Quirks(_, odd)) => {
                quirks.insert(*odd);
                false
            }
            _ => true,
        });
        (events, quirks)
    }

    /// Lets time pass, stopping at every timer; gives what was written on the way.
    pub(crate) fn pass(&mut self, time: std::time::Duration) -> Vec<Header> {
        let end = self.now + time;
        let mut headers = Vec::new();
        while let Some(next) = self.session.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.session.handle_timeout(self.now);
            headers.extend(self.writes());
        }
        self.now = end;
        headers
    }
}

pub(crate) fn header(command: CommandId, status: CommandStatus, sequence: u32) -> Header {
    Header {
        command,
        status,
        sequence,
    }
}
