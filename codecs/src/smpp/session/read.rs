//! What a session does with the PDUs that come in.

use std::mem;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::event::{Answer, BindRequest, CloseReason, Event, MessageId, Odd, Reply};
use super::state::State;
use super::timer::Timer;
use super::unread::Unread;
use super::{READ_OCTETS, Role, Session, TLV_VERSION_MIN};
use crate::smpp::alert::AlertNotification;
use crate::smpp::bind::{Bind, BindKind, BindResp, Outbind};
use crate::smpp::deliver::{DataSm, DeliverSm};
use crate::smpp::fields::{DecodeError, Quirks};
use crate::smpp::frame::{CommandId, Frame, Framing, HEADER_OCTETS, Header, next_frame};
use crate::smpp::link::{encode_bare, encode_nack};
use crate::smpp::status::CommandStatus;
use crate::smpp::submit::{SubmitSm, SubmitSmResp};
use crate::smpp::tlv::Tlvs;

/// SMPP 4.0 is another protocol (20-octet header).
const VERSION_4: u8 = 0x40;

/// The versions that there are. SMPP v3.4 §5.2.4, v5.0 §4.7.13.
const VERSIONS: [u8; 3] = [0x33, 0x34, 0x50];

/// Greatest sequence_number that the specification allows.
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

impl Session {
    /// Works on what was appended to `read_buffer`: every whole PDU in it.
    pub fn handle_read(&mut self, now: Instant) {
        if !self.state.reads() {
            self.input.clear();
            return;
        }
        self.heard(now);
        if self.input.len() == self.input.capacity() {
            self.read_octets = (self.read_octets * 2).min(READ_OCTETS);
        }
        let mut input = mem::take(&mut self.input);
        let mut consumed = 0;
        let mut whole = false;
        self.need = 0;
        while self.state.reads() {
            let rest = input.get(consumed..).unwrap_or_default();
            let octets = match next_frame(rest, self.pdu_octets_max()) {
                Ok(Framing::Complete { octets }) => octets,
                Ok(Framing::Incomplete { need }) => {
                    self.need = need;
                    break;
                }
                Err(error) => {
                    encode_nack(CommandStatus::INVALID_COMMAND_LENGTH, 0, &mut self.output);
                    self.begin_close(CloseReason::Framing(error));
                    break;
                }
            };
            whole = true;
            let pdu = rest.get(..octets).unwrap_or_default();
            let Some(header) = Header::decode(pdu) else {
                break;
            };
            match header.command {
                CommandId::SUBMIT_SM | CommandId::DELIVER_SM | CommandId::DATA_SM => {
                    input.advance(consumed);
                    consumed = 0;
                    let pdu = input.split_to(octets);
                    self.on_message(header, pdu);
                }
                _ => {
                    let body = pdu.get(HEADER_OCTETS..).unwrap_or_default();
                    if header.command.is_response() {
                        self.on_response(now, header, body);
                    } else {
                        self.on_request(now, header, body);
                    }
                    consumed += octets;
                }
            }
        }
        if self.state.reads() {
            input.advance(consumed);
            if input.is_empty() {
                self.timers.stop(Timer::Partial);
            } else if whole || !self.partial {
                self.timers
                    .set(Timer::Partial, now + self.config.partial_timeout);
            }
            self.partial = !input.is_empty();
        } else {
            input.clear();
        }
        self.input = input;
    }

    /// Takes submit_sm, deliver_sm or data_sm: checked here, answered when the caller says.
    fn on_message(&mut self, header: Header, pdu: BytesMut) {
        let Header {
            command, sequence, ..
        } = header;
        let esme = matches!(self.config.role, Role::Esme(_));
        let fits = self.state.receiving().is_some_and(|kind| match command {
            CommandId::SUBMIT_SM => !esme && kind.submits(),
            CommandId::DELIVER_SM => esme && kind.receives(),
            _ => {
                if esme {
                    kind.receives()
                } else {
                    kind.submits()
                }
            }
        });
        if !fits {
            self.odd(Odd::WrongState(command));
            return self.refuse(header, CommandStatus::WRONG_BIND_STATE);
        }
        let body = pdu.get(HEADER_OCTETS..).unwrap_or_default();
        let checked = match command {
            CommandId::SUBMIT_SM => SubmitSm::decode(body).map(|(sm, quirks)| (sm.tlvs, quirks)),
            CommandId::DELIVER_SM => DeliverSm::decode(body).map(|(sm, quirks)| (sm.tlvs, quirks)),
            _ => DataSm::decode(body).map(|(data, quirks)| (data.tlvs, quirks)),
        };
        let (tlvs, mut quirks) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                self.unread(header, body, error);
                return self.refuse(header, error.status());
            }
        };
        if !tlvs.is_empty() {
            if let Some(status) = self.breach(command, tlvs) {
                self.odd(Odd::BadTlvs(command, status));
                return self.refuse(header, status);
            }
            quirks.insert(self.oddities(command, tlvs));
        }
        if sequence == 0 || sequence > SEQUENCE_MAX {
            quirks.insert(Quirks::ODD_SEQUENCE);
        }
        self.quirks(command, quirks);
        let reply = Reply { command, sequence };
        if !esme && !self.held.take(reply) {
            self.odd(Odd::Reused(command));
            return self.refuse(header, CommandStatus::SYSTEM_ERROR);
        }
        self.unanswered += 1;
        let frame = Frame::with_header(header, pdu.freeze());
        self.events.push_back(if esme {
            Event::Delivered { reply, frame }
        } else {
            Event::Submitted { reply, frame }
        });
    }

    /// The status with which these TLVs are refused, where the session is strict about them.
    fn breach(&self, command: CommandId, tlvs: Tlvs<'_>) -> Option<CommandStatus> {
        let strict = self.config.strict_tlv && matches!(self.config.role, Role::Smsc { .. });
        strict.then(|| tlvs.breach(command)).flatten()
    }

    fn oddities(&self, command: CommandId, tlvs: Tlvs<'_>) -> Quirks {
        let mut quirks = tlvs.oddities(command);
        let version = match &self.config.role {
            Role::Esme(esme) => esme.interface_version,
            Role::Smsc { .. } => self.peer_version,
        };
        if version < TLV_VERSION_MIN {
            quirks.insert(Quirks::TLV_IN_33);
        }
        quirks
    }

    fn on_request(&mut self, now: Instant, header: Header, body: &[u8]) {
        let Header {
            command, sequence, ..
        } = header;
        match command {
            CommandId::ENQUIRE_LINK => {
                if self.budget.enquire(now) {
                    return self.begin_close(CloseReason::Flood(command));
                }
                self.enquiries.push_back(sequence);
                self.answer_enquiries(now);
                if !body.is_empty() {
                    self.quirks(command, Quirks::UNEXPECTED_BODY);
                }
            }
            CommandId::UNBIND => self.on_unbind(now, sequence),
            CommandId::BIND_RECEIVER
            | CommandId::BIND_TRANSMITTER
            | CommandId::BIND_TRANSCEIVER => self.on_bind(header, body),
            CommandId::OUTBIND => self.ignore(header, body, Outbind::decode(body).err()),
            CommandId::ALERT_NOTIFICATION => {
                self.ignore(header, body, AlertNotification::decode(body).err());
            }
            _ if command.name().is_none() || command.only_in_33() => {
                self.odd(Odd::UnknownCommand(command));
                if self.budget.unknown(now) {
                    return self.begin_close(CloseReason::Flood(command));
                }
                encode_nack(CommandStatus::INVALID_COMMAND, sequence, &mut self.output);
            }
            _ if self.state.receiving().is_none() => {
                self.odd(Odd::WrongState(command));
                self.refuse(header, CommandStatus::WRONG_BIND_STATE);
            }
            _ => {
                self.odd(Odd::Unsupported(command));
                self.refuse(header, CommandStatus::INVALID_COMMAND);
            }
        }
    }

    /// Counts a request that has no response, and whether it could be read.
    fn ignore(&mut self, header: Header, body: &[u8], error: Option<DecodeError>) {
        match error {
            None => self.odd(Odd::Ignored(header.command)),
            Some(error) => self.unread(header, body, error),
        }
    }

    /// Counts a request that cannot be read, and keeps it to be shown if nobody else waits for that.
    #[cold]
    fn unread(&mut self, header: Header, body: &[u8], error: DecodeError) {
        self.odd(Odd::BadBody(header.command, error));
        self.unread
            .get_or_insert_with(|| Box::new(Unread::new(header, body, error)));
    }

    /// Answers enquire_link in the order they came, as many as a second has answers.
    pub(super) fn answer_enquiries(&mut self, now: Instant) {
        while let Some(&sequence) = self.enquiries.front() {
            if let Err(again) = self.budget.answer_enquire(now) {
                self.timers.set(Timer::Enquiry, again);
                return;
            }
            self.enquiries.pop_front();
            let response = CommandId::ENQUIRE_LINK_RESP;
            encode_bare(response, CommandStatus::OK, sequence, &mut self.output);
        }
    }

    /// Answers a request with an error. However many there are, the bind is kept.
    fn refuse(&mut self, header: Header, status: CommandStatus) {
        encode_bare(
            header.command.response(),
            status,
            header.sequence,
            &mut self.output,
        );
    }

    fn on_unbind(&mut self, now: Instant, sequence: u32) {
        encode_bare(
            CommandId::UNBIND_RESP,
            CommandStatus::OK,
            sequence,
            &mut self.output,
        );
        match self.state {
            State::Bound(_) => {
                self.events.push_back(Event::PeerUnbind);
                self.state = State::Parting;
                self.timers.stop(Timer::Idle);
                self.timers.set(Timer::Unbind, now + self.config.parting);
                self.part_if_done();
            }
            // Both sides unbind at once: our own response is still awaited.
            State::Unbinding(_) | State::Parting => {}
            State::Open | State::Binding(_) => {
                self.events.push_back(Event::PeerUnbind);
                self.begin_close(CloseReason::PeerUnbound);
            }
            State::Closing(_) | State::Closed => {}
        }
    }

    fn on_bind(&mut self, header: Header, body: &[u8]) {
        let esme = matches!(self.config.role, Role::Esme(_));
        if esme || self.state != State::Open {
            self.odd(Odd::WrongState(header.command));
            let status = if esme {
                CommandStatus::WRONG_BIND_STATE
            } else {
                CommandStatus::ALREADY_BOUND
            };
            return self.refuse(header, status);
        }
        let (bind, quirks) = match Bind::decode(body) {
            Ok(bind) => bind,
            Err(error) => {
                self.unread(header, body, error);
                return self.refuse(header, error.status());
            }
        };
        self.quirks(header.command, quirks);
        self.judge_version(header.command, Some(bind.interface_version));
        let kind = BindKind::of(header.command).unwrap_or(BindKind::Transceiver);
        self.bind_sequence = header.sequence;
        self.peer_version = bind.interface_version;
        if bind.interface_version == VERSION_4 {
            self.refuse(header, CommandStatus::BIND_FAILED);
            return self.begin_close(CloseReason::RefusedByUs(CommandStatus::BIND_FAILED));
        }
        self.timers.stop(Timer::Bind);
        self.state = State::Binding(kind);
        self.events
            .push_back(Event::BindRequest(Box::new(BindRequest {
                kind,
                system_id: MessageId::from_slice(bind.system_id),
                password: MessageId::from_slice(bind.password),
                system_type: MessageId::from_slice(bind.system_type),
                interface_version: bind.interface_version,
                address_range: MessageId::from_slice(bind.address_range),
            })));
    }

    fn on_response(&mut self, now: Instant, header: Header, body: &[u8]) {
        match header.command {
            CommandId::SUBMIT_SM_RESP => {
                self.on_answer(now, header, Some(CommandId::SUBMIT_SM), body);
            }
            CommandId::DELIVER_SM_RESP => {
                self.on_answer(now, header, Some(CommandId::DELIVER_SM), body);
            }
            CommandId::DATA_SM_RESP => self.on_answer(now, header, Some(CommandId::DATA_SM), body),
            CommandId::ENQUIRE_LINK_RESP if self.is_enquire(now, header.sequence) => {}
            CommandId::UNBIND_RESP if self.is_unbind(header.sequence) => {
                self.begin_close(CloseReason::Unbound);
            }
            CommandId::BIND_RECEIVER_RESP
            | CommandId::BIND_TRANSMITTER_RESP
            | CommandId::BIND_TRANSCEIVER_RESP
                if self.is_bind(header.sequence) =>
            {
                self.on_bind_resp(now, header, body);
            }
            CommandId::GENERIC_NACK => self.on_nack(now, header),
            _ => self.unsolicited(now, header),
        }
    }

    /// Says whether it is an enquire_link of ours that has no answer yet; it has one now.
    fn is_enquire(&mut self, now: Instant, sequence: u32) -> bool {
        let mut out = self.enquiries_out.iter_mut();
        let Some(enquiry) = out.find(|one| sequence != 0 && one.sequence == sequence) else {
            return false;
        };
        enquiry.sequence = 0;
        let took = now.saturating_duration_since(enquiry.at);
        self.round_trip = Some(took);
        self.events.push_back(Event::Alive { round_trip: took });
        true
    }

    /// Counts a version that no specification has. It never decides about a bind.
    fn judge_version(&mut self, command: CommandId, version: Option<u8>) {
        if version.is_some_and(|version| !VERSIONS.contains(&version)) {
            self.quirks(command, Quirks::ODD_VERSION);
        }
    }

    fn is_unbind(&self, sequence: u32) -> bool {
        matches!(self.state, State::Unbinding(_)) && sequence == self.unbind_sequence
    }

    fn is_bind(&self, sequence: u32) -> bool {
        let esme = matches!(self.config.role, Role::Esme(_));
        esme && matches!(self.state, State::Binding(_)) && sequence == self.bind_sequence
    }

    fn on_bind_resp(&mut self, now: Instant, header: Header, body: &[u8]) {
        let State::Binding(kind) = self.state else {
            return;
        };
        if header.command != kind.command().response() {
            return self.unsolicited(now, header);
        }
        if !header.status.is_ok() {
            return self.bind_refused(header.status);
        }
        let (resp, quirks) = BindResp::decode(body);
        self.quirks(header.command, quirks);
        self.judge_version(header.command, resp.sc_interface_version);
        let system_id = MessageId::from_slice(resp.system_id);
        self.become_bound(now, kind, system_id, resp.sc_interface_version);
    }

    fn bind_refused(&mut self, status: CommandStatus) {
        self.events.push_back(Event::BindRefused { status });
        self.begin_close(CloseReason::BindRefused(status));
    }

    fn on_nack(&mut self, now: Instant, header: Header) {
        if self.is_bind(header.sequence) {
            self.bind_refused(header.status);
        } else if self.is_unbind(header.sequence) {
            self.begin_close(CloseReason::Unbound);
        } else if !self.is_enquire(now, header.sequence) {
            self.on_answer(now, header, None, &[]);
        }
    }

    /// Matches a response with its request; `request` is `None` for generic_nack.
    fn on_answer(&mut self, now: Instant, header: Header, request: Option<CommandId>, body: &[u8]) {
        let (waiting, late) = match self.window.remove(header.sequence, request) {
            Some(waiting) => (waiting, false),
            None => match self.window.recall(now, header.sequence, request) {
                Some(waiting) => (waiting, true),
                None => return self.unsolicited(now, header),
            },
        };
        let mut answer = Answer {
            token: waiting.token,
            status: header.status,
            message_id: MessageId::new(),
            info: None,
            congestion: None,
            nacked: request.is_none(),
            latency: now.saturating_duration_since(waiting.sent),
        };
        if !answer.nacked {
            let (resp, quirks) = if waiting.command == CommandId::DELIVER_SM {
                SubmitSmResp::decode_deliver(header.status, body)
            } else {
                SubmitSmResp::decode(header.status, body)
            };
            answer.message_id = MessageId::from_slice(resp.message_id);
            let mut quirks = quirks;
            if !resp.tlvs.is_empty() {
                quirks.insert(self.oddities(header.command, resp.tlvs));
                answer.info = resp.tlvs.additional_status_info_text().map(Box::from);
                answer.congestion = resp.tlvs.congestion_state();
            }
            self.quirks(header.command, quirks);
        }
        self.events.push_back(if late {
            Event::LateAnswer(answer)
        } else {
            Event::Answered(answer)
        });
        self.part_if_done();
    }

    fn unsolicited(&mut self, now: Instant, header: Header) {
        self.odd(Odd::Unsolicited(header.command));
        if self.budget.unsolicited(now) {
            self.begin_close(CloseReason::Flood(header.command));
        }
    }

    #[inline]
    fn quirks(&mut self, command: CommandId, quirks: Quirks) {
        if !quirks.is_empty() {
            self.odd(Odd::Quirks(command, quirks));
        }
    }

    fn odd(&mut self, odd: Odd) {
        self.events.push_back(Event::Odd(odd));
    }
}
