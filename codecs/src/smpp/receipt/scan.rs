//! The text of a receipt: `id:.. sub:.. dlvrd:.. submit date:.. done date:.. stat:.. err:.. text:`.

/// The fields of a receipt's text, as written, without the blanks around them. An empty field is
/// `None`. SMPP v3.4 appendix B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt<'a> {
    /// The carrier's message id.
    pub id: Option<&'a [u8]>,
    /// Short messages submitted.
    pub sub: Option<&'a [u8]>,
    /// Short messages delivered. Says nothing about the state: `000` comes with DELIVRD.
    pub dlvrd: Option<&'a [u8]>,
    /// See [`date_ms`].
    pub submit_date: Option<&'a [u8]>,
    /// See [`date_ms`].
    pub done_date: Option<&'a [u8]>,
    /// See [`super::State::from_text`].
    pub stat: Option<&'a [u8]>,
    /// The carrier's own code.
    pub err: Option<&'a [u8]>,
    /// The start of the message; whatever follows the first `text:`.
    pub text: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Id,
    Sub,
    Dlvrd,
    SubmitDate,
    DoneDate,
    Stat,
    Err,
    Text,
}

/// First word of each key; the two dates go on with [`DATE`].
const KEYS: [(&[u8], Key); 8] = [
    (b"id", Key::Id),
    (b"sub", Key::Sub),
    (b"dlvrd", Key::Dlvrd),
    (b"submit", Key::SubmitDate),
    (b"done", Key::DoneDate),
    (b"stat", Key::Stat),
    (b"err", Key::Err),
    (b"text", Key::Text),
];

const DATE: &[u8] = b"date";

/// Reads the text of a receipt: keys in any order and case, any of them missing, blanks or NULs
/// around names and values, `submit date`, `submit_date` or `submitdate`. A value goes on to the
/// next key, so it may hold blanks; the first `text:` takes all that follows. Of a repeated key
/// the first counts. Copies nothing; text that is no receipt gives an empty one.
#[must_use]
pub fn scan(raw: &[u8]) -> Receipt<'_> {
    let mut receipt = Receipt::default();
    let mut open: Option<(Key, usize)> = None;
    let mut at = 0;
    while at < raw.len() {
        let Some((key, value_at)) = key_at(raw, at) else {
            at = next_word(raw, at);
            continue;
        };
        if let Some((key, from)) = open.replace((key, value_at)) {
            receipt.put(key, &raw[from..at]);
        }
        if key == Key::Text {
            break;
        }
        // The next key may follow at once where the value is missing.
        at = value_at;
    }
    if let Some((key, from)) = open {
        receipt.put(key, &raw[from..]);
    }
    receipt.mend();
    receipt
}

impl<'a> Receipt<'a> {
    /// What no key separates: `err:000 IMSI:..` and `err:000 the text` are one word of `err` (observed:
    /// HLR look-ups, jSMPP), and a state may stand bare behind the date (kneodev/ksmppd #108).
    fn mend(&mut self) {
        let word = |value: &'a [u8]| value.split(|octet| separates(*octet)).next();
        self.err = self.err.and_then(word);
        if self.stat.is_none()
            && let Some(date) = self.done_date
            && let Some(blank) = date.iter().rposition(|octet| separates(*octet))
            && let (date, Some(word)) = (trim(&date[..blank]), date.get(blank + 1..))
            && super::State::from_text(word).is_some()
        {
            (self.done_date, self.stat) = (Some(date), Some(word));
        }
    }

    pub(super) fn put(&mut self, key: Key, value: &'a [u8]) {
        let field = match key {
            Key::Id => &mut self.id,
            Key::Sub => &mut self.sub,
            Key::Dlvrd => &mut self.dlvrd,
            Key::SubmitDate => &mut self.submit_date,
            Key::DoneDate => &mut self.done_date,
            Key::Stat => &mut self.stat,
            Key::Err => &mut self.err,
            Key::Text => &mut self.text,
        };
        let value = trim(value);
        if field.is_none() && !value.is_empty() {
            *field = Some(value);
        }
    }
}

/// The key that starts at `at`, and where its value starts.
fn key_at(raw: &[u8], at: usize) -> Option<(Key, usize)> {
    let rest = raw.get(at..)?;
    let (name, key) = KEYS.iter().find(|(name, key)| {
        starts_with(rest, name)
            && match key {
                Key::SubmitDate | Key::DoneDate => true,
                _ => matches!(rest.get(name.len()), Some(b':' | b' ' | b'\t')),
            }
    })?;
    let mut end = at + name.len();
    if matches!(key, Key::SubmitDate | Key::DoneDate) {
        while matches!(raw.get(end), Some(b' ' | b'_' | b'-')) {
            end += 1;
        }
        if !starts_with(raw.get(end..)?, DATE) {
            return None;
        }
        end += DATE.len();
    }
    while matches!(raw.get(end), Some(b' ' | b'\t')) {
        end += 1;
    }
    if raw.get(end) != Some(&b':') {
        return None;
    }
    end += 1;
    while raw.get(end).is_some_and(|octet| blank(*octet)) {
        end += 1;
    }
    Some((*key, end))
}

fn starts_with(rest: &[u8], name: &[u8]) -> bool {
    rest.get(..name.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// Where the next word after `at` starts: past a run of anything, then past a run of blanks.
fn next_word(raw: &[u8], at: usize) -> usize {
    let mut at = at;
    while raw.get(at).is_some_and(|octet| !separates(*octet)) {
        at += 1;
    }
    while raw.get(at).is_some_and(|octet| separates(*octet)) {
        at += 1;
    }
    at
}

/// Octets that may stand around a value: blanks, line ends and other control characters.
const fn blank(octet: u8) -> bool {
    octet <= b' '
}

/// Octets after which a key may start.
const fn separates(octet: u8) -> bool {
    blank(octet) || matches!(octet, b',' | b';' | b'|')
}

pub(super) fn trim(value: &[u8]) -> &[u8] {
    let start = value
        .iter()
        .position(|octet| !separates(*octet))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|octet| !separates(*octet))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

/// Most digits of a date: milliseconds since 1970 have 13, `YYYYMMDDhhmmss` 14, SMPP's own 15.
const DATE_DIGITS_MAX: usize = 15;

/// Reads a receipt's date as milliseconds since 1970 UTC. `offset_min` is what the carrier's clock
/// is ahead of UTC, in minutes; seconds or milliseconds since 1970 are taken without it.
///
/// Takes `YYMMDDhhmm`, the same with seconds or with a four-digit year, and both since 1970, with
/// any punctuation between the digits, and SMPP's own `YYMMDDhhmmsstnnp`, which tells its offset
/// (v3.4 §7.1.1; seen in receipts: funbox/smppex #46). `None` for zeros and for what is no date. Ten digits that
/// are a calendar date are read as one, else as seconds; 12 digits that start with a sound
/// `YYMMDDhhmmss` are read as that.
#[must_use]
pub fn date_ms(raw: &[u8], offset_min: i32) -> Option<i64> {
    let mut digits = [0; DATE_DIGITS_MAX];
    let mut len = 0;
    for octet in raw {
        if octet.is_ascii_digit() {
            *digits.get_mut(len)? = i64::from(octet - b'0');
            len += 1;
        } else if octet.is_ascii_alphabetic() && *octet != b'T' && *octet != b'Z' {
            return None;
        }
    }
    let digits = &digits[..len];
    let number = digits.iter().fold(0, |number, digit| number * 10 + digit);
    if number == 0 {
        return None;
    }
    let calendar = match len {
        10 => calendar_ms(2000, digits),
        12 => calendar_ms(2000, digits).or_else(|| full_year_ms(digits)),
        14 => full_year_ms(digits),
        15 => return smpp_time_ms(raw, digits),
        _ => None,
    };
    match (calendar, len) {
        (Some(ms), _) => Some(ms - i64::from(offset_min) * 60_000),
        (None, 10) => Some(number * 1000),
        (None, 13) => Some(number),
        _ => None,
    }
}

/// `YYMMDDhhmmsstnnp`: tenths of a second, and quarters of an hour from UTC.
fn smpp_time_ms(raw: &[u8], digits: &[i64]) -> Option<i64> {
    let (date, rest) = digits.split_at_checked(12)?;
    let [tenths, high, low] = *rest else {
        return None;
    };
    let quarters = match raw.last()? {
        b'+' => high * 10 + low,
        b'-' => -(high * 10 + low),
        _ => return None,
    };
    Some(calendar_ms(2000, date)? + tenths * 100 - quarters * 15 * 60_000)
}

fn full_year_ms(digits: &[i64]) -> Option<i64> {
    let century = digits[0] * 1000 + digits[1] * 100;
    (century >= 1900)
        .then(|| calendar_ms(century, &digits[2..]))
        .flatten()
}

/// `digits` are YYMMDDhhmm or YYMMDDhhmmss.
fn calendar_ms(century: i64, digits: &[i64]) -> Option<i64> {
    let pair = |at: usize| match digits.get(at..at + 2) {
        Some(pair) => pair[0] * 10 + pair[1],
        None => 0,
    };
    let (year, month, day) = (century + pair(0), pair(2), pair(4));
    let (hour, minute, second) = (pair(6), pair(8), pair(10));
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    sound.then(|| {
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        seconds * 1000
    })
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant, days_from_civil).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
