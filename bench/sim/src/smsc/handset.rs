//! Handsets: messages that they write, handed to the binds as deliver_sm.

use codecs::smpp::{Address, DeliverSm};
use tokio::sync::oneshot;

/// A handset's message, or one part of it: one deliver_sm.
#[derive(Clone, Debug, Default)]
pub struct FromHandset {
    /// Who writes: an international number, digits alone.
    pub from: String,
    /// To which number: a short code, or digits.
    pub to: String,
    /// 0x40 when a header leads the octets. SMPP v3.4 §5.2.12.
    pub esm_class: u8,
    /// Alphabet. SMPP v3.4 §5.2.19.
    pub data_coding: u8,
    /// User data, header first; at most 254 octets.
    pub octets: Vec<u8>,
}

impl FromHandset {
    /// A short text in the default alphabet.
    #[must_use]
    pub fn text(from: &str, to: &str, text: &str) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            octets: text.as_bytes().to_vec(),
            ..Self::default()
        }
    }

    /// The same as one part of several: with an 8-bit reference in its header (3GPP TS 23.040
    /// §9.2.3.24.1).
    #[must_use]
    pub fn part(mut self, reference: u8, total: u8, sequence: u8) -> Self {
        let mut octets = vec![5, 0, 3, reference, total, sequence];
        octets.append(&mut self.octets);
        self.octets = octets;
        self.esm_class = 0x40;
        self
    }

    /// As a PDU.
    pub(super) fn pdu(&self) -> DeliverSm<'_> {
        let address = |ton, addr| Address { ton, npi: 1, addr };
        DeliverSm {
            source: address(1, self.from.as_bytes()),
            dest: address(0, self.to.as_bytes()),
            esm_class: self.esm_class,
            data_coding: self.data_coding,
            short_message: &self.octets,
            ..DeliverSm::default()
        }
    }
}

/// A message on its way, and whom to tell how it was answered.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) message: FromHandset,
    pub(super) answered: oneshot::Sender<u32>,
}
