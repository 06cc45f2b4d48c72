//! Carrier message ids: the forms in which one comes back, and a key to keep it under.
//!
//! A carrier may answer a submit with an id in hex and send the receipt with it in decimal, in
//! another case, or with zeros in front. [`canonical_key`] takes away what never tells two messages
//! apart (case and leading zeros). The number base does: hex `10` is decimal `16`, and both may be
//! ids of live messages, so [`id_forms`] gives the readings in order, each with its [`Rung`], and
//! who matches learns for each connection which rung holds.

use smallvec::SmallVec;

/// A message id; as long as a UUID without a heap allocation.
pub type IdKey = SmallVec<[u8; 36]>;

/// How a form was made from the id as received. Earlier rungs are tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// As received.
    Exact,
    /// In lower case (ASCII).
    CaseFolded,
    /// In lower case, leading zeros removed; numbers only.
    ZerosStripped,
    /// Read as decimal, written as hex.
    DecimalToHex,
    /// Read as hex, written as decimal.
    HexToDecimal,
    /// Equal after the connection's [`Transform`].
    Transformed,
}

impl Rung {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Exact,
        Self::CaseFolded,
        Self::ZerosStripped,
        Self::DecimalToHex,
        Self::HexToDecimal,
        Self::Transformed,
    ];

    /// Its word in metrics and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::CaseFolded => "case",
            Self::ZerosStripped => "zeros",
            Self::DecimalToHex => "hex-to-dec",
            Self::HexToDecimal => "dec-to-hex",
            Self::Transformed => "transform",
        }
    }
}

/// What a connection does to its ids between answer and receipt, where no rung tells it: the parts
/// that both have in common. Applied to the answer's id as well as to the receipt's, so that it does
/// not matter which of them carries the decoration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transform {
    /// Taken away at the front, where it is there, in any case.
    pub strip_prefix: Box<[u8]>,
    /// Taken away at the end, where it is there, in any case.
    pub strip_suffix: Box<[u8]>,
    /// Of what is left, no more than so many octets from the front.
    pub first: Option<usize>,
    /// Of what is left then, no more than so many octets from the end.
    pub last: Option<usize>,
}

impl Transform {
    /// Whether it changes no id.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// The id without what the transform takes away; the id itself where nothing would be left.
    #[must_use]
    pub fn apply<'a>(&self, id: &'a [u8]) -> &'a [u8] {
        let mut rest = id;
        if let Some((start, after)) = rest.split_at_checked(self.strip_prefix.len())
            && start.eq_ignore_ascii_case(&self.strip_prefix)
        {
            rest = after;
        }
        let end = rest.len().saturating_sub(self.strip_suffix.len());
        if let Some((before, suffix)) = rest.split_at_checked(end)
            && suffix.eq_ignore_ascii_case(&self.strip_suffix)
        {
            rest = before;
        }
        let first = self.first.unwrap_or(usize::MAX).min(rest.len());
        rest = rest.get(..first).unwrap_or(rest);
        let last = self.last.unwrap_or(usize::MAX).min(rest.len());
        rest = rest.get(rest.len() - last..).unwrap_or(rest);
        if rest.is_empty() { id } else { rest }
    }
}

/// The first rung on which an answer's id and a receipt's are the same; `None` where none is.
/// Allocates nothing where they are equal but for case.
#[must_use]
pub fn relate(answer: &[u8], receipt: &[u8], transform: &Transform) -> Option<Rung> {
    if answer == receipt {
        return Some(Rung::Exact);
    }
    if answer.eq_ignore_ascii_case(receipt) {
        return Some(Rung::CaseFolded);
    }
    let (ours, theirs) = (canonical_key(answer), canonical_key(receipt));
    if ours == theirs {
        return Some(Rung::ZerosStripped);
    }
    let same = |one: Option<u128>, other: Option<u128>| one.is_some() && one == other;
    if same(number(&theirs, 10), number(&ours, 16)) {
        return Some(Rung::DecimalToHex);
    }
    if same(number(&theirs, 16), number(&ours, 10)) {
        return Some(Rung::HexToDecimal);
    }
    if transform.is_identity() {
        return None;
    }
    let (left, right) = (transform.apply(answer), transform.apply(receipt));
    (canonical_key(left) == canonical_key(right)).then_some(Rung::Transformed)
}

/// One form of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdForm {
    /// How it was made.
    pub rung: Rung,
    /// The id in this form.
    pub key: IdKey,
}

/// The id in lower case and, if it is all hex digits, without leading zeros. Two ids of one
/// connection that differ only in these share the key.
#[must_use]
pub fn canonical_key(raw: &[u8]) -> IdKey {
    let mut key = folded(raw);
    if all_hex(&key) {
        let zeros = key
            .iter()
            .take_while(|octet| **octet == b'0')
            .count()
            .min(key.len() - 1);
        key.drain(..zeros);
    }
    key
}

/// Every distinct form of an id, in the order of [`Rung`]; at most five. The last three are
/// canonical keys; a number above 128 bits has no form in the other base.
#[must_use]
pub fn id_forms(raw: &[u8]) -> SmallVec<[IdForm; 5]> {
    let mut forms: SmallVec<[IdForm; 5]> = SmallVec::new();
    let mut add = |rung, key: IdKey| {
        if !forms.iter().any(|form| form.key == key) {
            forms.push(IdForm { rung, key });
        }
    };
    add(Rung::Exact, IdKey::from_slice(raw));
    add(Rung::CaseFolded, folded(raw));
    let canonical = canonical_key(raw);
    let decimal = number(&canonical, 10);
    let hex = number(&canonical, 16);
    add(Rung::ZerosStripped, canonical);
    if let Some(number) = decimal {
        add(Rung::DecimalToHex, written(number, 16));
    }
    if let Some(number) = hex {
        add(Rung::HexToDecimal, written(number, 10));
    }
    forms
}

fn folded(raw: &[u8]) -> IdKey {
    raw.iter().map(u8::to_ascii_lowercase).collect()
}

fn all_hex(key: &[u8]) -> bool {
    !key.is_empty() && key.iter().all(u8::is_ascii_hexdigit)
}

fn number(digits: &[u8], base: u32) -> Option<u128> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u128, |number, octet| {
        let digit = char::from(*octet).to_digit(base)?;
        number
            .checked_mul(u128::from(base))?
            .checked_add(u128::from(digit))
    })
}

fn written(number: u128, base: u128) -> IdKey {
    let mut key = IdKey::new();
    let mut rest = number;
    loop {
        key.push(b"0123456789abcdef"[(rest % base) as usize]);
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    key.reverse();
    key
}
