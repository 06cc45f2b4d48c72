//! PDUs that are a header and nothing else: enquire_link, unbind, generic_nack, bare errors.

use bytes::BytesMut;

use super::frame::{CommandId, Header};
use super::status::CommandStatus;

/// Appends a PDU without body.
#[inline]
pub fn encode_bare(command: CommandId, status: CommandStatus, sequence: u32, out: &mut BytesMut) {
    let header = Header {
        command,
        status,
        sequence,
    };
    header.encode_bare(out);
}

/// Appends generic_nack. `sequence` is the offender's, 0 if it could not be read.
pub fn encode_nack(status: CommandStatus, sequence: u32, out: &mut BytesMut) {
    encode_bare(CommandId::GENERIC_NACK, status, sequence, out);
}
