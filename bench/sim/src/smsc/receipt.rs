//! Receipts as carriers write them: the text of SMPP v3.4 appendix B, and TLVs.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codecs::smpp::deliver::ESM_RECEIPT;
use codecs::smpp::{Address, DeliverSm, EncodeError, Tag, TlvBuf};

use super::IdForm;
use super::faults::{FinalState, ReceiptId, Receipts};

/// Octets of the message that a receipt repeats. SMPP v3.4 appendix B.
const TEXT_OCTETS_MAX: usize = 20;

/// A receipt that waits to be sent.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) id: u64,
    pub(super) state: FinalState,
    /// Sender and recipient of the message; the receipt has them swapped.
    pub(super) source: (u8, u8, Box<[u8]>),
    pub(super) dest: (u8, u8, Box<[u8]>),
    pub(super) text: Box<[u8]>,
    pub(super) submitted: SystemTime,
}

impl Receipt {
    /// Keeps no more of the text than a receipt repeats, and only what is printable.
    pub(super) fn new(
        id: u64,
        state: FinalState,
        source: Address<'_>,
        dest: Address<'_>,
        text: &[u8],
    ) -> Self {
        let printable = text
            .iter()
            .filter(|octet| octet.is_ascii_graphic() || **octet == b' ');
        Self {
            id,
            state,
            source: (source.ton, source.npi, source.addr.into()),
            dest: (dest.ton, dest.npi, dest.addr.into()),
            text: printable.take(TEXT_OCTETS_MAX).copied().collect(),
            submitted: SystemTime::now(),
        }
    }

    /// Lends the receipt as a PDU.
    pub(super) fn with_pdu<T>(
        &self,
        form: IdForm,
        how: Receipts,
        use_pdu: impl FnOnce(&DeliverSm<'_>) -> T,
    ) -> Result<T, EncodeError> {
        let id = written(self.id, form, how.id);
        let FinalState {
            code,
            text: stat,
            err,
        } = self.state;
        let mut text = String::new();
        if !how.without_text {
            let delivered = u8::from(code == 2);
            let submitted = stamp(self.submitted);
            let done = stamp(SystemTime::now());
            // Writing to a String cannot fail.
            write!(
                text,
                "id:{id} sub:001 dlvrd:{delivered:03} submit date:{submitted} done date:{done} \
                 stat:{stat} err:{err:03} text:{}",
                String::from_utf8_lossy(&self.text),
            )
            .unwrap_or_default();
        }
        let mut tlvs = TlvBuf::new();
        if !how.without_tlvs {
            tlvs.push_cstring(Tag::RECEIPTED_MESSAGE_ID, id.as_bytes())?;
            tlvs.push(Tag::MESSAGE_STATE, &[code])?;
            // Octet 1: network type 3 = GSM. SMPP v3.4 §5.3.2.31.
            tlvs.push(Tag::NETWORK_ERROR_CODE, &[3, 0, err])?;
        }
        Ok(use_pdu(&DeliverSm {
            source: Address {
                ton: self.dest.0,
                npi: self.dest.1,
                addr: &self.dest.2,
            },
            dest: Address {
                ton: self.source.0,
                npi: self.source.1,
                addr: &self.source.2,
            },
            esm_class: ESM_RECEIPT,
            short_message: text.as_bytes(),
            tlvs: tlvs.as_tlvs(),
            ..DeliverSm::default()
        }))
    }
}

/// The id as the answer, or as a receipt, writes it.
pub(super) fn written(id: u64, form: IdForm, how: ReceiptId) -> String {
    match (form, how) {
        (IdForm::Decimal, ReceiptId::OtherBase) => format!("{id:x}"),
        (IdForm::Hex, ReceiptId::OtherBase) => id.to_string(),
        (IdForm::Decimal, ReceiptId::Padded) => format!("{id:020}"),
        (IdForm::Hex, ReceiptId::Padded) => format!("{id:016x}"),
        (IdForm::Hex, ReceiptId::UpperCase) => format!("{id:X}"),
        (IdForm::Hex, ReceiptId::Same) => format!("{id:x}"),
        (IdForm::Decimal, ReceiptId::Same | ReceiptId::UpperCase) => id.to_string(),
    }
}

/// `YYMMDDhhmm`, UTC.
fn stamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    // Days to date, by Howard Hinnant's civil_from_days.
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{:02}{month:02}{day:02}{hour:02}{minute:02}", year % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_dates() {
        let at = |seconds| stamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "7001010000");
        assert_eq!(at(951_782_400), "0002290000");
        assert_eq!(at(1_795_201_500), "2611201905");
    }

    #[test]
    fn ids_change_base_case_and_width() {
        let dec = |how| written(0xabcd, IdForm::Decimal, how);
        assert_eq!(
            (dec(ReceiptId::Same), dec(ReceiptId::OtherBase)),
            ("43981".into(), "abcd".into())
        );
        let hex = |how| written(0xabcd, IdForm::Hex, how);
        assert_eq!(
            (hex(ReceiptId::UpperCase), hex(ReceiptId::OtherBase)),
            ("ABCD".into(), "43981".into())
        );
        assert_eq!(hex(ReceiptId::Padded), "000000000000abcd");
    }
}
