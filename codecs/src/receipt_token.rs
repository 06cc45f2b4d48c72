//! Receipt tokens: what lets an app speak for one push on one device, and for nothing else.
//!
//! ```text
//!  token = "rct_" base64url( device u8 · mac )     27 characters
//!  mac   = the first 16 octets of HMAC-SHA256( key, "trunkline receipt 1" · message u64 · device u8 )
//! ```
//! The message is not in it: it is in the path of the request, and in the MAC. No time is in it
//! either: how long it is good for follows from the message.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Leads a token.
pub const PREFIX: &str = "rct_";

/// Characters of a token: the prefix, and 17 octets in base64.
pub const CHARS: usize = PREFIX.len() + 23;

/// Octets of a key: SHA-256's own (RFC 2104 §3: no less than those of the hash).
pub const KEY_OCTETS: usize = 32;

/// Octets of a MAC: half of the hash (RFC 2104 §5: no less), as every octet counts in a push.
const MAC_OCTETS: usize = 16;

/// Octets of a block of SHA-256 (FIPS 180-4 §1).
const BLOCK_OCTETS: usize = 64;

/// So that no MAC that is made for something else is a token.
const CONTEXT: &[u8] = b"trunkline receipt 1";

/// A secret that signs tokens, held as the state of an HMAC that has taken in the key.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// Without the secret.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key of these octets.
    #[must_use]
    pub fn new(octets: &[u8; KEY_OCTETS]) -> Self {
        // The key as SHA-256's block: zeros follow it (RFC 2104 §2).
        let mut block = [0; BLOCK_OCTETS];
        block[..KEY_OCTETS].copy_from_slice(octets);
        Self(Hmac::new(&block.into()))
    }

    /// The token of a device of a message.
    #[must_use]
    pub fn token(&self, message: u64, device: u8) -> String {
        let mut octets = [0; 1 + MAC_OCTETS];
        octets[0] = device;
        octets[1..].copy_from_slice(&self.mac(message, device));
        let mut token = String::with_capacity(CHARS);
        token.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(octets, &mut token);
        token
    }

    /// The device of this message that a token speaks for; `None`: it is another message's, another
    /// key's, or none at all. Takes the same time whatever its MAC is.
    #[must_use]
    pub fn device(&self, token: &str, message: u64) -> Option<u8> {
        let encoded = token.strip_prefix(PREFIX)?;
        let mut octets = [0; 1 + MAC_OCTETS];
        let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut octets).ok()?;
        let (device, mac) = octets.split_first()?;
        let good = mac.ct_eq(&self.mac(message, *device));
        (length == octets.len() && bool::from(good)).then_some(*device)
    }

    fn mac(&self, message: u64, device: u8) -> [u8; MAC_OCTETS] {
        let mut mac = self.0.clone();
        mac.update(CONTEXT);
        mac.update(&message.to_be_bytes());
        mac.update(&[device]);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; MAC_OCTETS];
        half.copy_from_slice(&whole[..MAC_OCTETS]);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_own_message_and_names_its_device() {
        let (key, other) = (Key::new(&[7; 32]), Key::new(&[8; 32]));
        let token = key.token(41, 3);
        assert_eq!(token.len(), CHARS);
        assert_eq!(key.device(&token, 41), Some(3));
        assert_eq!(key.device(&token, 42), None);
        assert_eq!(other.device(&token, 41), None);
        assert_ne!(token, key.token(41, 4));
    }

    /// Made with Python's hmac and base64: others can make and check tokens from the page above.
    #[test]
    fn a_known_token_comes_out() {
        let token = Key::new(&[7; 32]).token(0x0102_0304_0506_0708, 9);
        assert_eq!(token, KNOWN);
    }

    const KNOWN: &str = "rct_CUWxES764hu8m3YZvH4UzTQ";

    #[test]
    fn nothing_else_is_a_token() {
        let key = Key::new(&[7; 32]);
        let token = key.token(41, 3);
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(key.device(&other, 41), None, "{at}");
        }
        for length in 0..token.len() {
            assert_eq!(key.device(&token[..length], 41), None);
        }
        for text in [
            format!("{token}A"),
            format!("{token}="),
            format!("{token} "),
            token.replace("rct_", "tlk_"),
            format!("rct_{}", "A".repeat(1_000)),
        ] {
            assert_eq!(key.device(&text, 41), None, "{text}");
        }
    }
}
