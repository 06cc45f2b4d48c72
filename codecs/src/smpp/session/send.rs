//! Messages that a session sends when asked to, and its answers to the peer's.

use std::time::Instant;

use bytes::BytesMut;

use super::event::Reply;
use super::window::Waiting;
use super::{OUTPUT_OCTETS_HIGH, Role, Session};
use crate::smpp::bind::BindKind;
use crate::smpp::deliver::{DataSm, DeliverSm, encode_deliver_resp};
use crate::smpp::fields::{EncodeError, Limits};
use crate::smpp::frame::CommandId;
use crate::smpp::link::encode_bare;
use crate::smpp::status::CommandStatus;
use crate::smpp::submit::{SubmitSm, SubmitSmResp};
use crate::smpp::tlv::Tlvs;

/// Why a request was not sent. Nothing was written; the caller still has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitRefused {
    /// As many requests as allowed are unanswered.
    WindowFull,
    /// The transport does not take what is queued already.
    OutputFull,
    /// There is no bind that lets this pass.
    NotBound,
    /// It cannot be put on the wire.
    Encode(EncodeError),
}

impl Session {
    /// ESME: sends submit_sm; its answer, timeout or loss is told with `token`.
    ///
    /// # Errors
    /// Nothing was sent, and the caller still has it.
    pub fn submit(
        &mut self,
        now: Instant,
        token: u64,
        sm: &SubmitSm<'_>,
    ) -> Result<(), SubmitRefused> {
        let esme = matches!(self.config.role, Role::Esme(_));
        let may = esme && self.state.bound().is_some_and(BindKind::submits);
        self.send(
            now,
            token,
            may,
            CommandId::SUBMIT_SM,
            |sequence, limits, out| sm.encode(sequence, limits, out),
        )
    }

    /// SMSC: sends deliver_sm; its answer, timeout or loss is told with `token`.
    ///
    /// # Errors
    /// Nothing was sent, and the caller still has it.
    pub fn deliver(
        &mut self,
        now: Instant,
        token: u64,
        sm: &DeliverSm<'_>,
    ) -> Result<(), SubmitRefused> {
        let smsc = matches!(self.config.role, Role::Smsc { .. });
        let may = smsc && self.state.bound().is_some_and(BindKind::receives);
        self.send(
            now,
            token,
            may,
            CommandId::DELIVER_SM,
            |sequence, limits, out| sm.encode(sequence, limits, out),
        )
    }

    /// Either side: sends data_sm; its answer, timeout or loss is told with `token`.
    ///
    /// # Errors
    /// Nothing was sent, and the caller still has it.
    pub fn send_data(
        &mut self,
        now: Instant,
        token: u64,
        data: &DataSm<'_>,
    ) -> Result<(), SubmitRefused> {
        let may = self
            .state
            .bound()
            .is_some_and(|kind| match self.config.role {
                Role::Esme(_) => kind.submits(),
                Role::Smsc { .. } => kind.receives(),
            });
        self.send(
            now,
            token,
            may,
            CommandId::DATA_SM,
            |sequence, limits, out| data.encode(sequence, limits, out),
        )
    }

    #[inline]
    fn send(
        &mut self,
        now: Instant,
        token: u64,
        may: bool,
        command: CommandId,
        encode: impl FnOnce(u32, &Limits, &mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), SubmitRefused> {
        if !may {
            return Err(SubmitRefused::NotBound);
        }
        if self.window.free() == 0 {
            return Err(SubmitRefused::WindowFull);
        }
        if self.output.len() >= OUTPUT_OCTETS_HIGH {
            return Err(SubmitRefused::OutputFull);
        }
        let sequence = self.window.sequence();
        encode(sequence, &self.config.limits, &mut self.output).map_err(SubmitRefused::Encode)?;
        self.window.insert(Waiting {
            sequence,
            command,
            token,
            sent: now,
            write: self.write,
        });
        Ok(())
    }

    /// ESME: answers deliver_sm or data_sm. Without effect once the session has ended.
    pub fn respond_deliver(&mut self, reply: Reply, status: CommandStatus) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if !self.state.was_bound() {
            return;
        }
        if reply.command == CommandId::DELIVER_SM {
            encode_deliver_resp(status, reply.sequence, &mut self.output);
        } else {
            self.respond_data(reply, status, &[]);
        }
    }

    /// ESME: answers deliver_sm or data_sm with a message_id, which some carriers want although the
    /// specification has none in deliver_sm_resp. An id that cannot be sent is left out.
    pub fn respond_deliver_with(&mut self, reply: Reply, status: CommandStatus, id: &[u8]) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.state.was_bound() {
            self.respond_data(reply, status, id);
        }
    }

    fn respond_data(&mut self, reply: Reply, status: CommandStatus, id: &[u8]) {
        let command = reply.command.response();
        let limits = &self.config.limits;
        for message_id in [id, &[]] {
            let resp = SubmitSmResp {
                message_id,
                tlvs: Tlvs::NONE,
            };
            let output = &mut self.output;
            if resp
                .encode(command, status, reply.sequence, limits, output)
                .is_ok()
            {
                return;
            }
        }
        // Not even an empty id fits: then nothing could be answered at all.
        encode_bare(command, status, reply.sequence, &mut self.output);
    }

    /// SMSC: answers submit_sm or data_sm. Without effect once the session has ended.
    ///
    /// # Errors
    /// Refuses a message_id that is too long or contains a NUL; the request stays unanswered.
    pub fn respond_submit(
        &mut self,
        reply: Reply,
        status: CommandStatus,
        message_id: &[u8],
    ) -> Result<(), EncodeError> {
        self.respond_submit_with(reply, status, message_id, Tlvs::NONE)
    }

    /// As [`Self::respond_submit`], with TLVs: congestion_state, additional_status_info_text.
    ///
    /// # Errors
    /// As there.
    pub fn respond_submit_with(
        &mut self,
        reply: Reply,
        status: CommandStatus,
        message_id: &[u8],
        tlvs: Tlvs<'_>,
    ) -> Result<(), EncodeError> {
        if self.state.was_bound() {
            let resp = SubmitSmResp { message_id, tlvs };
            let command = reply.command.response();
            let limits = &self.config.limits;
            resp.encode(command, status, reply.sequence, limits, &mut self.output)?;
        }
        self.forget(reply);
        Ok(())
    }

    /// Gives up a request without answering it: a simulator's silence.
    pub fn forget(&mut self, reply: Reply) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.held.free(reply);
    }
}
