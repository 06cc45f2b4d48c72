//! Septets packed into octets, as on the air; some SMSCs want them so over SMPP too.
//!
//! 3GPP TS 23.038 §6.1.2: septet n takes bits 7n to 7n + 6, counted from the low bit of the first
//! octet. After a header the septets start at a septet boundary of the whole user data, so up to
//! six fill bits come first (3GPP TS 23.040 §9.2.3.24).

use bytes::BufMut;

/// Pads seven spare bits, which would else be read as `@`. 3GPP TS 23.038 §6.1.2.3.1.
const CARRIAGE_RETURN: u8 = 0x0d;

/// Zero bits between a header of so many octets, its length octet included, and the first septet.
#[must_use]
pub const fn fill_bits(header_octets: usize) -> u32 {
    match header_octets * 8 % 7 {
        0 => 0,
        over => 7 - over as u32,
    }
}

/// Octets that so many septets take after so many fill bits.
#[must_use]
pub const fn octets(septets: usize, fill_bits: u32) -> usize {
    (septets * 7 + fill_bits as usize).div_ceil(8)
}

/// Packs septets; `fill_bits` zero bits come first. A carriage return fills seven spare bits, and
/// follows a last carriage return that would else be taken for such a filler.
///
/// The second of these may take one octet more than [`octets`] says.
pub fn pack(septets: impl IntoIterator<Item = u8>, fill_bits: u32, out: &mut impl BufMut) {
    let mut held: u32 = 0;
    let mut bits = fill_bits;
    let mut last = 0;
    let mut put = |septet: u8, held: &mut u32, bits: &mut u32| {
        *held |= u32::from(septet & 0x7f) << *bits;
        *bits += 7;
        if *bits >= 8 {
            let [low, ..] = held.to_le_bytes();
            out.put_u8(low);
            *held >>= 8;
            *bits -= 8;
        }
    };
    for septet in septets {
        put(septet, &mut held, &mut bits);
        last = septet;
    }
    if bits == 1 || (bits == 0 && last == CARRIAGE_RETURN) {
        put(CARRIAGE_RETURN, &mut held, &mut bits);
    }
    if bits > 0 {
        let [low, ..] = held.to_le_bytes();
        out.put_u8(low);
    }
}

/// Unpacks as many septets as the octets hold after the fill bits. A carriage return that ends
/// exactly with the last octet is a filler and left out.
#[must_use]
pub fn unpack(octets: &[u8], fill_bits: u32) -> Vec<u8> {
    let mut septets = Vec::with_capacity(octets.len() * 8 / 7);
    let mut held: u32 = 0;
    let mut bits: u32 = 0;
    let mut skip = fill_bits;
    for &octet in octets {
        held |= u32::from(octet) << bits;
        bits += 8;
        if skip > 0 {
            held >>= skip;
            bits -= skip;
            skip = 0;
        }
        while bits >= 7 {
            let [low, ..] = held.to_le_bytes();
            septets.push(low & 0x7f);
            held >>= 7;
            bits -= 7;
        }
    }
    if bits == 0 && septets.last() == Some(&CARRIAGE_RETURN) {
        septets.pop();
    }
    septets
}
