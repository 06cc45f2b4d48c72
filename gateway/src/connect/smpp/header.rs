//! The user data header that stands before a handset's or a receipt's text.

use codecs::smpp::Quirks;
use codecs::smpp::deliver::ESM_UDHI;
use codecs::text::Udh;

/// The header that `esm_class` announces, and what was wrong with it: [`Quirks::BAD_UDH`] or nothing.
///
/// A header that does not fit is no header: all of `user_data` is text then. Of one with an element that
/// reaches past its end, the elements before count.
pub(super) fn header(esm_class: u8, user_data: &[u8]) -> (Option<Udh<'_>>, Quirks) {
    if esm_class & ESM_UDHI == 0 {
        return (None, Quirks::NONE);
    }
    match Udh::split(user_data) {
        Ok((udh, _)) if !udh.overrun => (Some(udh), Quirks::NONE),
        Ok((udh, _)) => (Some(udh), Quirks::BAD_UDH),
        Err(_) => (None, Quirks::BAD_UDH),
    }
}
