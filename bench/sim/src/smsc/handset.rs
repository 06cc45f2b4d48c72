//! Handsets: messages that they write, handed to the binds as deliver_sm.

use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::{Address, DeliverSm};
use codecs::text::{self, ESM_CLASS_UDHI, Options, Reference, TextError, segment};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::Shared;

/// How long a carrier waits before it sends again what was refused or had no bind to go over. Chosen:
/// as for receipts.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Slowest writing, so that a rate near 0 is no endless wait. Chosen: an hour.
const EVERY_MAX: Duration = Duration::from_secs(3_600);

/// Handsets that write by themselves, as long as the SMSC runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handsets {
    /// Who writes: an international number, digits alone.
    pub from: String,
    /// To which number.
    pub to: String,
    /// What: GSM 7-bit when that holds it, else UCS-2; in parts, over the binds in turn, when it is long.
    pub text: String,
    /// At most so many messages a second; the next one waits for the answer to the one before.
    pub per_second: f64,
    /// So many messages; 0 = without end.
    pub count: u64,
}

impl Default for Handsets {
    fn default() -> Self {
        Self {
            from: "46701234567".into(),
            to: String::new(),
            text: "Hello".into(),
            per_second: 1.0,
            count: 0,
        }
    }
}

impl Handsets {
    /// A message's parts, the last part first where there are several: the way carriers do at their
    /// worst.
    pub(super) fn parts(&self, reference: u8) -> Result<Vec<FromHandset>, TextError> {
        let options = Options {
            max_segments: u8::MAX,
            ..Options::default()
        };
        let plan = text::plan(&self.text, options)?;
        let reference = Reference::Eight(reference);
        let part = |index| {
            let mut octets = Vec::new();
            segment(
                &self.text,
                plan.encoding,
                index,
                plan.segments,
                reference,
                &mut octets,
            )?;
            Ok(FromHandset {
                from: self.from.clone(),
                to: self.to.clone(),
                esm_class: if plan.segments > 1 { ESM_CLASS_UDHI } else { 0 },
                data_coding: plan.encoding.data_coding(),
                octets,
            })
        };
        (0..plan.segments).rev().map(part).collect()
    }

    fn every(&self) -> Duration {
        let every = Duration::try_from_secs_f64(self.per_second.recip());
        every
            .unwrap_or(EVERY_MAX)
            .clamp(Duration::from_micros(1), EVERY_MAX)
    }

    /// Writes. A message that is refused, or has no bind to go over, is sent again, as carriers do.
    pub(super) async fn write(self, shared: Arc<Shared>) {
        let mut ticks = tokio::time::interval(self.every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reference = 0_u8;
        let mut written = 0;
        while self.count == 0 || written < self.count {
            ticks.tick().await;
            // That it can be written was seen when the SMSC was started.
            let Ok(parts) = self.parts(reference) else {
                return;
            };
            for (bind, part) in parts.into_iter().enumerate() {
                while shared.hand(bind, part.clone()).await != Some(0) {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
            reference = reference.wrapping_add(1);
            written += 1;
        }
    }
}

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
