//! Content: esm_class, data_coding, user data and TLVs of what the plain path does not write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecs::smpp::{EncodeError, Sar, Tag, TlvBuf};
use codecs::text::{
    self, Dialect, ESM_CLASS_UDHI, Flash, Layout, Long, Part, Reference, ReferenceWidth, Shifts,
    TextError, Tie,
};

use crate::message::{Encoding, Message, SmsOptions, Text};

/// dest_addr_subunit: the mobile equipment's display. SMPP v3.4 §5.3.2.1.
const SUBUNIT_DISPLAY: u8 = 0x01;

/// What a part is on the wire.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) esm_class: u8,
    pub(super) data_coding: u8,
    /// Header and text; empty where message_payload has the text.
    pub(super) short_message: Vec<u8>,
    pub(super) tlvs: TlvBuf,
}

/// The content cannot be written as it was planned.
#[derive(Debug)]
pub(super) struct Unwritable;

impl From<TextError> for Unwritable {
    fn from(_: TextError) -> Self {
        Self
    }
}

impl From<EncodeError> for Unwritable {
    fn from(_: EncodeError) -> Self {
        Self
    }
}

/// Writes one part in a route's dialect. What the message's options decided at acceptance stands,
/// also where the route is configured otherwise by now.
pub(super) fn write(
    message: &Message,
    encoding: Encoding,
    part: u8,
    dialect: &Dialect,
) -> Result<Content, Unwritable> {
    let plain = SmsOptions::default();
    let options = message.sms.as_deref().unwrap_or(&plain);
    let body = message.text(Text::Body);
    let mut content = Content::default();
    for tlv in &options.tlvs {
        content.tlvs.push(Tag(tlv.tag), &tlv.value)?;
    }
    let told = content.tlvs.as_tlvs().find(Tag::DEST_ADDR_SUBUNIT);
    if options.flash && dialect.flash == Flash::Tlv && told.is_none() {
        let display = [SUBUNIT_DISPLAY];
        content.tlvs.push(Tag::DEST_ADDR_SUBUNIT, &display)?;
    }
    let layout = layout(encoding, options, dialect);
    if options.payload_segments.is_some() {
        content.data_coding = dialect.data_coding(layout.encoding, options.flash);
        let charset = dialect.charset_of(content.data_coding);
        let mut octets = Vec::with_capacity(body.len());
        layout.write_whole(body, charset, &mut octets)?;
        content.tlvs.push(Tag::MESSAGE_PAYLOAD, &octets)?;
        return Ok(content);
    }
    let place = Part {
        index: part,
        total: message.segments,
        tie: tie(message, &layout, dialect),
    };
    if place.total > 1 && place.tie == Tie::Elsewhere {
        content.tlvs.push_sar(Sar {
            reference: message.concat_ref,
            total: place.total,
            number: part.saturating_add(1),
        })?;
    }
    let out = &mut content.short_message;
    let header = if encoding == Encoding::Binary {
        content.data_coding = dialect.octets_data_coding(options.flash);
        let data = STANDARD.decode(body).map_err(|_| Unwritable)?;
        layout.write_octets(&data, place, out)?
    } else {
        content.data_coding = dialect.data_coding(layout.encoding, options.flash);
        let charset = dialect.charset_of(content.data_coding);
        layout.write(body, place, charset, out)?
    };
    if header {
        content.esm_class = ESM_CLASS_UDHI;
    }
    Ok(content)
}

/// Latin-1 goes out as UCS-2 where the route does not take it (any more), if it has as many parts so:
/// else the carrier would drop letters.
fn layout<'a>(encoding: Encoding, options: &'a SmsOptions, dialect: &Dialect) -> Layout<'a> {
    Layout {
        encoding: match encoding {
            Encoding::Gsm7 => text::Encoding::Gsm7,
            Encoding::Latin1 if dialect.latin1 => text::Encoding::Latin1,
            Encoding::Ucs2 | Encoding::Latin1 | Encoding::Binary => text::Encoding::Ucs2,
        },
        shifts: Shifts::of_ids(options.locking_shift, options.single_shift),
        elements: &options.udh,
        width: if options.wide_reference {
            ReferenceWidth::Sixteen
        } else {
            ReferenceWidth::Eight
        },
    }
}

/// A header, unless the route wants TLVs and no part has another reason for a header. A 16-bit
/// reference needs the room that was left for it.
fn tie(message: &Message, layout: &Layout<'_>, dialect: &Dialect) -> Tie {
    let headless = layout.shifts.is_none() && layout.elements.is_empty();
    match dialect.long {
        Long::Sar if headless => Tie::Elsewhere,
        Long::Udh16 if layout.width == ReferenceWidth::Sixteen => {
            Tie::Header(Reference::Sixteen(message.concat_ref))
        }
        _ => {
            let [low, _] = message.concat_ref.to_le_bytes();
            Tie::Header(Reference::Eight(low))
        }
    }
}

#[cfg(test)]
mod tests;
