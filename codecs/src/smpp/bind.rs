//! bind_receiver, bind_transmitter, bind_transceiver, their responses, and outbind.

use std::fmt;

use bytes::BytesMut;

use super::fields::{Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::tlv::{Scan, Tag, Tlvs};

/// Which way messages flow on a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindKind {
    /// The ESME only receives deliver_sm.
    Receiver,
    /// The ESME only sends submit_sm.
    Transmitter,
    /// Both.
    Transceiver,
}

impl BindKind {
    /// The request's command_id.
    #[must_use]
    pub fn command(self) -> CommandId {
        match self {
            Self::Receiver => CommandId::BIND_RECEIVER,
            Self::Transmitter => CommandId::BIND_TRANSMITTER,
            Self::Transceiver => CommandId::BIND_TRANSCEIVER,
        }
    }

    /// The kind that a request's command_id asks for.
    #[must_use]
    pub fn of(command: CommandId) -> Option<Self> {
        match command {
            CommandId::BIND_RECEIVER => Some(Self::Receiver),
            CommandId::BIND_TRANSMITTER => Some(Self::Transmitter),
            CommandId::BIND_TRANSCEIVER => Some(Self::Transceiver),
            _ => None,
        }
    }

    /// Says whether the ESME may send submit_sm.
    #[must_use]
    pub fn submits(self) -> bool {
        self != Self::Receiver
    }

    /// Says whether the SMSC may send deliver_sm.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Self::Transmitter
    }
}

/// A bind request's body. SMPP v3.4 §4.1.1.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Who binds.
    pub system_id: &'a [u8],
    /// Its password.
    pub password: &'a [u8],
    /// Kind of system, as agreed.
    pub system_type: &'a [u8],
    /// 0x33, 0x34 or 0x50.
    pub interface_version: u8,
    /// TON of the addresses served.
    pub addr_ton: u8,
    /// NPI of the addresses served.
    pub addr_npi: u8,
    /// The addresses served, as a pattern.
    pub address_range: &'a [u8],
}

/// Leaves the password out.
impl fmt::Debug for Bind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bind")
            .field("system_id", &String::from_utf8_lossy(self.system_id))
            .field("interface_version", &self.interface_version)
            .finish_non_exhaustive()
    }
}

impl<'a> Bind<'a> {
    /// Reads a body. The last NUL may be missing.
    ///
    /// # Errors
    /// Fails when a field before address_range is cut short or has no NUL.
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let spec = Limits::SPEC;
        let mut body = Body::new(body);
        let system_id = body.cstring(Field::SystemId, spec.system_id)?;
        let password = body.cstring(Field::Password, spec.password)?;
        let system_type = body.cstring(Field::SystemType, spec.system_type)?;
        let [interface_version, addr_ton, addr_npi] = body.array(Field::InterfaceVersion)?;
        let address_range = body.last_cstring(spec.address_range);
        if !body.rest().is_empty() {
            body.quirks.insert(Quirks::TRAILING);
        }
        let bind = Self {
            system_id,
            password,
            system_type,
            interface_version,
            addr_ton,
            addr_npi,
            address_range,
        };
        Ok((bind, body.quirks))
    }

    /// Appends the whole PDU.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    pub fn encode(
        &self,
        kind: BindKind,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: kind.command(),
            status: CommandStatus::OK,
            sequence,
        };
        header.encode(self, limits, out)
    }
}

impl Fields for Bind<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::SystemId, self.system_id, limits.system_id);
        to.cstring(Field::Password, self.password, limits.password);
        to.cstring(Field::SystemType, self.system_type, limits.system_type);
        to.fixed([self.interface_version, self.addr_ton, self.addr_npi]);
        to.cstring(
            Field::AddressRange,
            self.address_range,
            limits.address_range,
        );
    }
}

/// A bind response's body; empty when the bind is refused. SMPP v3.4 §4.1.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindResp<'a> {
    /// Who was bound to.
    pub system_id: &'a [u8],
    /// sc_interface_version, if the SMSC told.
    pub sc_interface_version: Option<u8>,
}

impl<'a> BindResp<'a> {
    /// Reads a body. It never fails: what a carrier puts here does not decide about a bind.
    #[must_use]
    pub fn decode(body: &'a [u8]) -> (Self, Quirks) {
        let mut body = Body::new(body);
        let system_id = body.last_cstring(Limits::SPEC.system_id);
        let tlvs = body.tlvs(Scan::Tolerant).unwrap_or_default();
        (
            Self {
                system_id,
                sc_interface_version: tlvs.sc_interface_version(),
            },
            body.quirks,
        )
    }

    /// Appends the whole PDU; the body is left out when `status` is an error.
    ///
    /// # Errors
    /// Refuses a system_id that is longer than `limits` or contains a NUL.
    pub fn encode(
        &self,
        kind: BindKind,
        status: CommandStatus,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: kind.command().response(),
            status,
            sequence,
        };
        if !status.is_ok() {
            header.encode_bare(out);
            return Ok(());
        }
        header.encode(self, limits, out)
    }
}

impl Fields for BindResp<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::SystemId, self.system_id, limits.system_id);
        if let Some(version) = self.sc_interface_version {
            let [high, low] = Tag::SC_INTERFACE_VERSION.0.to_be_bytes();
            to.fixed([high, low, 0, 1, version]);
        }
    }
}

/// The SMSC's request to be bound to. SMPP v3.4 §4.1.7.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Outbind<'a> {
    /// The SMSC's name.
    pub system_id: &'a [u8],
    /// Its password.
    pub password: &'a [u8],
}

/// Leaves the password out.
impl fmt::Debug for Outbind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbind")
            .field("system_id", &String::from_utf8_lossy(self.system_id))
            .finish_non_exhaustive()
    }
}

impl<'a> Outbind<'a> {
    /// Reads a body. The last NUL may be missing.
    ///
    /// # Errors
    /// Fails when system_id has no NUL.
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let mut body = Body::new(body);
        let system_id = body.cstring(Field::SystemId, Limits::SPEC.system_id)?;
        let password = body.last_cstring(Limits::SPEC.password);
        Ok((
            Self {
                system_id,
                password,
            },
            body.quirks,
        ))
    }

    /// Appends the whole PDU.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    pub fn encode(
        &self,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: CommandId::OUTBIND,
            status: CommandStatus::OK,
            sequence,
        };
        header.encode(self, limits, out)
    }
}

impl Fields for Outbind<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::SystemId, self.system_id, limits.system_id);
        to.cstring(Field::Password, self.password, limits.password);
    }
}

/// TLVs of a bind response, for a caller that wants more than the version.
#[must_use]
pub fn bind_resp_tlvs(body: &[u8]) -> Tlvs<'_> {
    let mut body = Body::new(body);
    body.last_cstring(Limits::SPEC.system_id);
    body.tlvs(Scan::Tolerant).unwrap_or_default()
}
