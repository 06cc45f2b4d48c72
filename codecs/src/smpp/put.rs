//! Writing PDUs: a body says its fields once, in wire order; who checks, counts or writes listens.
//!
//! Nearly every PDU is a few short fields and then, maybe, a text and TLVs. Such a one is written in
//! place, checked while it is written, and taken back when something is wrong with it. What is wrong,
//! and what does not fit that form, is for the general way: check and count, then append.

use bytes::{BufMut as _, BytesMut};

use super::fields::{Address, EncodeError, Field, Limits};
use super::frame::{HEADER_OCTETS, Header};
use super::tlv::Tlvs;

/// Octets in which a request's header and its short fields are written in place: submit_sm's are at
/// most 110 (SMPP v3.4 §4.4.1). Of a size known here, so that clearing them is no call.
const REQUEST_OCTETS: usize = 128;
/// The same of a response: a UUID as message_id takes 53.
const RESPONSE_OCTETS: usize = 64;

/// A body, as something that says its fields.
pub(crate) trait Fields {
    /// Says every field, in wire order.
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>);
}

/// Who listens to the fields of a body.
pub(crate) trait Put<'a> {
    /// Octets that are right whatever they are.
    fn fixed<const OCTETS: usize>(&mut self, value: [u8; OCTETS]);

    /// A C-octet string of at most `octets_max` octets, the NUL included.
    fn cstring(&mut self, field: Field, value: &'a [u8], octets_max: usize);

    /// Octets as they are, at most `octets_max` of them.
    fn octets(&mut self, field: Field, value: &'a [u8], octets_max: usize);

    /// TON, NPI and a C-octet string of at most `octets_max` octets.
    #[inline(always)]
    fn address(&mut self, field: Field, value: &Address<'a>, octets_max: usize) {
        self.fixed([value.ton, value.npi]);
        self.cstring(field, value.addr, octets_max);
    }

    /// sm_length and as many octets. SMPP v3.4 §5.2.21.
    #[inline(always)]
    fn short_message(&mut self, value: &'a [u8], octets_max: usize) {
        let octets_max = octets_max.min(usize::from(u8::MAX));
        self.fixed([u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        self.octets(Field::ShortMessage, value, octets_max);
    }

    /// Optional parameters.
    #[inline(always)]
    fn tlvs(&mut self, value: Tlvs<'a>) {
        self.octets(Field::Tlvs, value.raw(), usize::MAX);
    }
}

impl Header {
    /// Appends a whole PDU.
    ///
    /// # Errors
    /// Refuses values that are longer than they may be or contain a NUL; nothing is written then.
    #[inline]
    pub(crate) fn encode(
        self,
        body: &impl Fields,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let done = if self.command.is_response() {
            in_place::<RESPONSE_OCTETS>(self, body, limits, out)
        } else {
            in_place::<REQUEST_OCTETS>(self, body, limits, out)
        };
        if done {
            return Ok(());
        }
        in_general(self, body, limits, out)
    }

    /// Appends a PDU without body.
    #[inline]
    pub(crate) fn encode_bare(self, out: &mut BytesMut) {
        out.extend_from_slice(&self.words(HEADER_OCTETS));
    }

    /// Appends a PDU with a body that is there already.
    #[inline]
    pub(crate) fn encode_octets(self, body: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(&self.words(HEADER_OCTETS + body.len()));
        out.extend_from_slice(body);
    }
}

/// Writes a PDU that is short fields, then at most two longer ones. Says whether it did; nothing is
/// written if not.
#[inline(always)]
fn in_place<const OCTETS: usize>(
    header: Header,
    body: &impl Fields,
    limits: &Limits,
    out: &mut BytesMut,
) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; OCTETS]);
    let Some(window) = out.last_chunk_mut::<OCTETS>() else {
        return false;
    };
    let mut front = Front {
        window,
        at: HEADER_OCTETS,
        wrong: 0,
        behind: [&[]; 2],
    };
    body.put(limits, &mut front);
    let Front {
        window,
        at,
        wrong,
        behind: [first, second],
    } = front;
    if let Some(slot) = window.first_chunk_mut() {
        *slot = header.words(at + first.len() + second.len());
    }
    if wrong != 0 {
        out.truncate(start);
        return false;
    }
    out.truncate(start + at);
    // Mostly there is nothing, and a copy of nothing is a call all the same.
    if !first.is_empty() {
        out.extend_from_slice(first);
        if !second.is_empty() {
            out.extend_from_slice(second);
        }
    }
    true
}

/// Writes fields one behind the other into a window of zeros, so that a NUL is a step over it.
struct Front<'w, 'a, const OCTETS: usize> {
    window: &'w mut [u8; OCTETS],
    at: usize,
    /// Not 0: something does not fit or is not right, and the window is worth nothing.
    wrong: u64,
    /// What comes behind the window.
    behind: [&'a [u8]; 2],
}

impl<const OCTETS: usize> Front<'_, '_, OCTETS> {
    /// The next octets of the window, if nothing stands behind it yet and there are so many.
    #[inline(always)]
    fn next(&mut self, octets: usize) -> Option<&mut [u8]> {
        let [first, _] = self.behind;
        if !first.is_empty() {
            return None;
        }
        self.window.get_mut(self.at..)?.get_mut(..octets)
    }
}

impl<'a, const WINDOW: usize> Put<'a> for Front<'_, 'a, WINDOW> {
    #[inline(always)]
    fn fixed<const OCTETS: usize>(&mut self, value: [u8; OCTETS]) {
        match self.next(OCTETS).and_then(<[u8]>::first_chunk_mut) {
            Some(slot) => *slot = value,
            None => self.wrong = 1,
        }
        self.at += OCTETS;
    }

    #[inline(always)]
    fn cstring(&mut self, _: Field, value: &'a [u8], octets_max: usize) {
        let octets = value.len() + 1;
        let Some(slot) = self.next(octets).filter(|_| octets <= octets_max) else {
            self.wrong = 1;
            return;
        };
        let wrong = copy(slot, value);
        self.wrong |= wrong;
        self.at += octets;
    }

    #[inline(always)]
    fn octets(&mut self, _: Field, value: &'a [u8], octets_max: usize) {
        self.wrong |= u64::from(value.len() > octets_max);
        match &mut self.behind {
            [first, _] if first.is_empty() => *first = value,
            [_, second] if second.is_empty() => *second = value,
            _ => self.wrong |= u64::from(!value.is_empty()),
        }
    }
}

/// Copies a short string to the front of `slot`, eight octets at a time: a call of memcpy costs more.
/// Not 0: there is a NUL in it.
#[inline(always)]
fn copy(slot: &mut [u8], value: &[u8]) -> u64 {
    let mut nuls = 0;
    let (Some(slot), Some(first), Some(last)) = (
        slot.get_mut(..value.len()),
        value.first_chunk(),
        value.last_chunk(),
    ) else {
        for (slot, octet) in slot.iter_mut().zip(value) {
            nuls |= u64::from(*octet == 0);
            *slot = *octet;
        }
        return nuls;
    };
    if value.len() > 16 {
        let words = slot.as_chunks_mut().0.iter_mut();
        for (slot, word) in words.zip(value.as_chunks().0) {
            nuls |= has_nul(*word);
            *slot = *word;
        }
    }
    // The last word overlaps the one before it: no octets are left over.
    for word in [first, last] {
        nuls |= has_nul(*word);
    }
    if let Some(slot) = slot.first_chunk_mut() {
        *slot = *first;
    }
    if let Some(slot) = slot.last_chunk_mut() {
        *slot = *last;
    }
    nuls
}

/// Not 0: one of eight octets is NUL.
#[inline(always)]
fn has_nul(word: [u8; 8]) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word);
    word.wrapping_sub(LOW) & !word & HIGH
}

/// Checks a PDU, then writes it.
#[cold]
fn in_general(
    header: Header,
    body: &impl Fields,
    limits: &Limits,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let mut check = Check {
        octets: HEADER_OCTETS,
        error: None,
    };
    body.put(limits, &mut check);
    if let Some(error) = check.error {
        return Err(error);
    }
    out.reserve(check.octets);
    out.put_slice(&header.words(check.octets));
    body.put(limits, &mut Append(out));
    Ok(())
}

/// Counts octets and finds the first field that is not right.
struct Check {
    octets: usize,
    error: Option<EncodeError>,
}

impl Check {
    fn value(&mut self, field: Field, octets: usize, octets_max: usize) {
        self.octets += octets;
        if octets > octets_max {
            self.error.get_or_insert(EncodeError::TooLong {
                field,
                octets,
                octets_max,
            });
        }
    }
}

impl<'a> Put<'a> for Check {
    fn fixed<const OCTETS: usize>(&mut self, _: [u8; OCTETS]) {
        self.octets += OCTETS;
    }

    fn cstring(&mut self, field: Field, value: &'a [u8], octets_max: usize) {
        self.value(field, value.len() + 1, octets_max);
        if value.contains(&0) {
            self.error.get_or_insert(EncodeError::Nul { field });
        }
    }

    fn octets(&mut self, field: Field, value: &'a [u8], octets_max: usize) {
        self.value(field, value.len(), octets_max);
    }
}

/// Appends what was checked.
struct Append<'w>(&'w mut BytesMut);

impl<'a> Put<'a> for Append<'_> {
    fn fixed<const OCTETS: usize>(&mut self, value: [u8; OCTETS]) {
        self.0.put_slice(&value);
    }

    fn cstring(&mut self, _: Field, value: &'a [u8], _: usize) {
        self.0.put_slice(value);
        self.0.put_u8(0);
    }

    fn octets(&mut self, _: Field, value: &'a [u8], _: usize) {
        self.0.put_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smpp::frame::CommandId;
    use crate::smpp::status::CommandStatus;

    /// Fields of any kind and in any order.
    #[derive(Debug)]
    struct Any(Vec<Said>);

    #[derive(Clone, Debug)]
    enum Said {
        Fixed([u8; 3]),
        CString(Vec<u8>, usize),
        Octets(Vec<u8>, usize),
    }

    impl Fields for Any {
        fn put<'a>(&'a self, _: &Limits, to: &mut impl Put<'a>) {
            for said in &self.0 {
                match said {
                    Said::Fixed(value) => to.fixed(*value),
                    Said::CString(value, max) => to.cstring(Field::MessageId, value, *max),
                    Said::Octets(value, max) => to.octets(Field::ShortMessage, value, *max),
                }
            }
        }
    }

    fn said() -> impl Strategy<Value = Said> {
        let text = || prop::collection::vec(1_u8.., 0..40);
        let with_nul = (text(), text()).prop_map(|(a, b)| [a, vec![0], b].concat());
        prop_oneof![
            3 => any::<[u8; 3]>().prop_map(Said::Fixed),
            8 => text().prop_map(|value| Said::CString(value, 65)),
            1 => (text(), 0..40_usize).prop_map(|(value, max)| Said::CString(value, max)),
            1 => with_nul.prop_map(|value| Said::CString(value, 128)),
            3 => prop::collection::vec(any::<u8>(), 0..200).prop_map(|value| Said::Octets(value, 254)),
            1 => (text(), 0..40_usize).prop_map(|(value, max)| Said::Octets(value, max)),
        ]
    }

    proptest! {
        #[test]
        fn in_place_is_as_in_general_or_nothing(
            all in prop::collection::vec(said(), 0..8),
            response in any::<bool>(),
        ) {
            let command = if response { CommandId::SUBMIT_SM_RESP } else { CommandId::SUBMIT_SM };
            let header = Header { command, status: CommandStatus::OK, sequence: 7 };
            let (limits, body) = (&Limits::SPEC, Any(all));
            let (mut general, mut out) = (BytesMut::from("before"), BytesMut::from("before"));
            let wanted = in_general(header, &body, limits, &mut general);
            // What is written in place is what the general way writes, and what that refuses leaves
            // nothing behind.
            let in_place = in_place::<REQUEST_OCTETS>(header, &body, limits, &mut out);
            prop_assert!(!in_place || wanted.is_ok());
            prop_assert_eq!(&out[..], if in_place { &general[..] } else { &b"before"[..] });
            let mut out = BytesMut::from("before");
            prop_assert_eq!(header.encode(&body, limits, &mut out), wanted);
            prop_assert_eq!(&out, &general);
        }

        #[test]
        fn a_nul_anywhere_in_a_string_of_any_length_is_seen(octets in 1..100_usize, at in any::<prop::sample::Index>()) {
            let mut value = vec![b'x'; octets];
            let mut slot = vec![0; octets + 1];
            prop_assert_eq!(copy(&mut slot, &value), 0);
            prop_assert_eq!(&slot[..octets], &value[..]);
            *at.get_mut(&mut value) = 0;
            prop_assert_ne!(copy(&mut slot, &value), 0);
        }
    }

    #[test]
    fn what_carriers_send_is_written_in_place() {
        let header = Header {
            command: CommandId::SUBMIT_SM,
            status: CommandStatus::OK,
            sequence: 1,
        };
        // submit_sm with every field as long as the specification lets it be.
        let body = Any(vec![
            Said::CString(vec![b'x'; 5], 6),
            Said::Fixed([1; 3]),
            Said::CString(vec![b'x'; 20], 21),
            Said::Fixed([1; 3]),
            Said::CString(vec![b'x'; 20], 21),
            Said::CString(vec![b'x'; 16], 17),
            Said::CString(vec![b'x'; 16], 17),
            Said::Fixed([1; 3]),
            Said::Octets(vec![0; 254], 254),
            Said::Octets(vec![0; 65_535], 65_535),
        ]);
        let mut out = BytesMut::new();
        assert!(in_place::<REQUEST_OCTETS>(
            header,
            &body,
            &Limits::SPEC,
            &mut out
        ));
        // A response with a UUID.
        let body = Any(vec![Said::CString(vec![b'x'; 36], 65)]);
        assert!(in_place::<RESPONSE_OCTETS>(
            header,
            &body,
            &Limits::SPEC,
            &mut out
        ));
    }
}
