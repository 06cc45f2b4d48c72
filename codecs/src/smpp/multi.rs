//! submit_multi: one text to many recipients, and the response that names those it was refused for.

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Kind, Limits, Quirks, check};
use super::frame::{CommandId, Header};
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::submit::SubmitSm;
use super::tlv::{Scan, Tlvs};

/// Recipients of one submit_multi that we send. SMPP v3.4 §4.5.1; v5.0 allows 255, which is read.
pub const DESTS_MAX: usize = 254;

/// dest_flag of a single recipient. SMPP v3.4 §5.2.25.
const SME: u8 = 1;
/// dest_flag of a distribution list.
const LIST: u8 = 2;
/// Octets of a distribution list's name with its NUL. SMPP v3.4 §4.5.1.2.
const LIST_NAME_OCTETS_MAX: usize = 21;

/// One recipient of submit_multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dest<'a> {
    /// A number.
    Sme(Address<'a>),
    /// A distribution list that the SMSC keeps, by name.
    List(&'a [u8]),
}

/// The recipients of submit_multi, in wire form; what was decoded is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dests<'a> {
    raw: &'a [u8],
    count: u8,
}

impl<'a> Dests<'a> {
    fn decode(body: &mut Body<'a>) -> Result<Self, DecodeError> {
        let count = body.u8(Field::NumberOfDests)?;
        if count == 0 {
            return Err(body.error(Field::NumberOfDests, Kind::BadValue));
        }
        let all = body.rest();
        for _ in 0..count {
            dest(body)?;
        }
        let octets = all.len() - body.rest().len();
        Ok(Self {
            raw: all.get(..octets).unwrap_or_default(),
            count,
        })
    }

    /// number_of_dests: 1..=255, 0 only where nothing was decoded.
    #[must_use]
    pub fn count(self) -> u8 {
        self.count
    }

    /// Walks the recipients in wire order.
    pub fn iter(self) -> impl Iterator<Item = Dest<'a>> {
        let mut body = Body::new(self.raw);
        (0..self.count).map_while(move |_| dest(&mut body).ok())
    }
}

fn dest<'a>(body: &mut Body<'a>) -> Result<Dest<'a>, DecodeError> {
    match body.u8(Field::DestFlag)? {
        SME => Ok(Dest::Sme(
            body.address(Field::DestAddr, Limits::SPEC.address)?,
        )),
        LIST => Ok(Dest::List(
            body.cstring(Field::ListName, LIST_NAME_OCTETS_MAX)?,
        )),
        _ => Err(body.error(Field::DestFlag, Kind::BadValue)),
    }
}

/// Builds recipients to send; four without allocating.
#[derive(Clone, Debug, Default)]
pub struct DestBuf {
    raw: SmallVec<[u8; 96]>,
    count: u8,
}

impl DestBuf {
    /// Appends a recipient.
    ///
    /// # Errors
    /// Refuses the 255th, and names that are longer than `limits` or contain a NUL.
    pub fn push(&mut self, dest: Dest<'_>, limits: &Limits) -> Result<(), EncodeError> {
        if usize::from(self.count) >= DESTS_MAX {
            return Err(EncodeError::TooLong {
                field: Field::NumberOfDests,
                octets: DESTS_MAX + 1,
                octets_max: DESTS_MAX,
            });
        }
        match dest {
            Dest::Sme(address) => {
                check(Field::DestAddr, address.addr, limits.address)?;
                self.raw.extend_from_slice(&[SME, address.ton, address.npi]);
                self.raw.extend_from_slice(address.addr);
            }
            Dest::List(name) => {
                check(Field::ListName, name, LIST_NAME_OCTETS_MAX)?;
                self.raw.push(LIST);
                self.raw.extend_from_slice(name);
            }
        }
        self.raw.push(0);
        self.count += 1;
        Ok(())
    }

    /// Lends them to a PDU.
    #[must_use]
    pub fn as_dests(&self) -> Dests<'_> {
        Dests {
            raw: &self.raw,
            count: self.count,
        }
    }
}

/// submit_multi's body. SMPP v3.4 §4.5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitMulti<'a> {
    /// To whom.
    pub dests: Dests<'a>,
    /// All the rest; its `dest` stays empty.
    pub sm: SubmitSm<'a>,
}

impl<'a> SubmitMulti<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// As [`SubmitSm::decode`]; also on no recipients at all and on a dest_flag nobody knows.
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let mut body = Body::new(body);
        let (service_type, source) = SubmitSm::decode_head(&mut body)?;
        let dests = Dests::decode(&mut body)?;
        let dest = Address::default();
        let (sm, quirks) = SubmitSm::decode_rest(body, service_type, source, dest, Scan::Strict)?;
        Ok((Self { dests, sm }, quirks))
    }

    /// Appends the whole PDU; `sm.dest` is not written.
    ///
    /// # Errors
    /// Refuses no recipients, and values that are longer than `limits` or contain a NUL; nothing is
    /// written then.
    pub fn encode(
        &self,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.dests.count == 0 {
            return Err(EncodeError::Missing {
                field: Field::NumberOfDests,
            });
        }
        let header = Header {
            command: CommandId::SUBMIT_MULTI,
            status: CommandStatus::OK,
            sequence,
        };
        header.encode(self, limits, out)
    }
}

impl Fields for SubmitMulti<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        self.sm.put_head(limits, to);
        to.fixed([self.dests.count]);
        to.octets(Field::DestAddr, self.dests.raw, usize::MAX);
        self.sm.put_rest(limits, to);
    }
}

/// A recipient that the SMSC refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuccess<'a> {
    /// Whom.
    pub dest: Address<'a>,
    /// Why.
    pub status: CommandStatus,
}

/// submit_multi_resp's body. SMPP v3.4 §4.5.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitMultiResp<'a> {
    /// The SMSC's id, raw; empty if it gave none.
    pub message_id: &'a [u8],
    /// How many recipients are told as refused; those that a cut PDU lacks are not counted.
    no_unsuccess: u8,
    unsuccess: &'a [u8],
    /// Optional parameters: v5.0.
    pub tlvs: Tlvs<'a>,
}

impl<'a> SubmitMultiResp<'a> {
    /// Describes a response with `unsuccess` from [`UnsuccessBuf`].
    #[must_use]
    pub fn new(message_id: &'a [u8], unsuccess: &'a UnsuccessBuf, tlvs: Tlvs<'a>) -> Self {
        Self {
            message_id,
            no_unsuccess: unsuccess.count,
            unsuccess: &unsuccess.raw,
            tlvs,
        }
    }

    /// Reads a body. It never fails: what is whole is kept.
    #[must_use]
    pub fn decode(status: CommandStatus, body: &'a [u8]) -> (Self, Quirks) {
        if body.is_empty() && !status.is_ok() {
            return (Self::default(), Quirks::NONE);
        }
        let mut body = Body::new(body);
        let message_id = body.last_cstring(Limits::SPEC.message_id);
        if message_id.is_empty() && status.is_ok() {
            body.quirks.insert(Quirks::NO_MESSAGE_ID);
        }
        let told = body.u8(Field::Unsuccess).ok();
        let all = body.rest();
        let mut no_unsuccess = 0;
        let mut octets = 0;
        for _ in 0..told.unwrap_or_default() {
            if unsuccess(&mut body).is_err() {
                break;
            }
            no_unsuccess += 1;
            octets = all.len() - body.rest().len();
        }
        let mut tlvs = Tlvs::NONE;
        if told == Some(no_unsuccess) {
            tlvs = body.tlvs(Scan::Tolerant).unwrap_or_default();
        } else {
            body.quirks.insert(Quirks::MISSING_FIELDS);
        }
        let resp = Self {
            message_id,
            no_unsuccess,
            unsuccess: all.get(..octets).unwrap_or_default(),
            tlvs,
        };
        (resp, body.quirks)
    }

    /// The recipients that were refused, in wire order.
    pub fn unsuccess(&self) -> impl Iterator<Item = Unsuccess<'a>> + use<'a> {
        let mut body = Body::new(self.unsuccess);
        (0..self.no_unsuccess).map_while(move |_| unsuccess(&mut body).ok())
    }

    /// Appends the whole PDU; an error status without an id has no body.
    ///
    /// # Errors
    /// Refuses a message_id that is longer than `limits` or contains a NUL.
    pub fn encode(
        &self,
        status: CommandStatus,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: CommandId::SUBMIT_MULTI_RESP,
            status,
            sequence,
        };
        if !status.is_ok() && *self == Self::default() {
            header.encode_bare(out);
            return Ok(());
        }
        header.encode(self, limits, out)
    }
}

impl Fields for SubmitMultiResp<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::MessageId, self.message_id, limits.message_id);
        to.fixed([self.no_unsuccess]);
        to.octets(Field::Unsuccess, self.unsuccess, usize::MAX);
        to.tlvs(self.tlvs);
    }
}

fn unsuccess<'a>(body: &mut Body<'a>) -> Result<Unsuccess<'a>, DecodeError> {
    let dest = body.address(Field::Unsuccess, Limits::SPEC.address)?;
    let status = u32::from_be_bytes(body.array(Field::Unsuccess)?);
    Ok(Unsuccess {
        dest,
        status: CommandStatus(status),
    })
}

/// Builds the refused recipients of a response.
#[derive(Clone, Debug, Default)]
pub struct UnsuccessBuf {
    raw: BytesMut,
    count: u8,
}

impl UnsuccessBuf {
    /// Appends a refused recipient.
    ///
    /// # Errors
    /// Refuses the 256th, and an address that is longer than `limits` or contains a NUL.
    pub fn push(&mut self, unsuccess: Unsuccess<'_>, limits: &Limits) -> Result<(), EncodeError> {
        let field = Field::Unsuccess;
        check(field, unsuccess.dest.addr, limits.address)?;
        self.count = self
            .count
            .checked_add(1)
            .ok_or_else(|| EncodeError::TooLong {
                field,
                octets: usize::from(u8::MAX) + 1,
                octets_max: usize::from(u8::MAX),
            })?;
        let Address { ton, npi, addr } = unsuccess.dest;
        self.raw.put_slice(&[ton, npi]);
        self.raw.put_slice(addr);
        self.raw.put_u8(0);
        self.raw.put_u32(unsuccess.status.0);
        Ok(())
    }
}
