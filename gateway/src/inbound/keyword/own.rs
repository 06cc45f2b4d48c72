//! Own: a tenant's own keywords, which choose who is told of a message (smpp.md §5).
//!
//! A message has an own keyword when all of it is the keyword, compared as STOP is, or when its first
//! words are: "pizza, two please" has PIZZA. Of several keywords that fit the longest one counts.

use rustc_hash::FxHashMap;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{CHARS_MAX, folded};

/// Characters at the front of a message in which its first words are looked for. Chosen: room for the
/// longest keyword among signs that do not count.
const FRONT_CHARS: usize = 4 * CHARS_MAX;

/// Own keywords, ready to be looked up, with what each leads to.
#[derive(Clone, Debug)]
pub struct Own<T> {
    whole: FxHashMap<Box<str>, Word<T>>,
    first: FxHashMap<Box<str>, Word<T>>,
    /// Words of the longest one.
    words_max: usize,
}

/// An own keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<T> {
    /// As the config spells it.
    pub spelled: Box<str>,
    /// What it leads to.
    pub to: T,
}

impl<T> Default for Own<T> {
    fn default() -> Self {
        Self {
            whole: FxHashMap::default(),
            first: FxHashMap::default(),
            words_max: 0,
        }
    }
}

impl<T: Clone> FromIterator<(Box<str>, T)> for Own<T> {
    fn from_iter<I: IntoIterator<Item = (Box<str>, T)>>(all: I) -> Self {
        let mut own = Self::default();
        for (spelled, to) in all {
            let [whole, first] = forms(&spelled);
            own.words_max = own.words_max.max(first.split(' ').count());
            let word = Word { spelled, to };
            own.whole.insert(whole, word.clone());
            own.first.insert(first, word);
        }
        own.whole.remove("");
        own.first.remove("");
        own
    }
}

impl<T> Own<T> {
    /// The keyword that a text has, among those for which `counts` holds.
    pub fn find(&self, text: &str, counts: impl Fn(&T) -> bool) -> Option<&Word<T>> {
        if self.first.is_empty() {
            return None;
        }
        let counting = |word: &&Word<T>| counts(&word.to);
        let whole = || {
            let short = text.chars().nth(CHARS_MAX).is_none();
            short.then(|| self.whole.get(&folded(text)))?
        };
        let first = || {
            let words = words(text);
            let mut ends = words.match_indices(' ').map(|(at, _)| at);
            let end = ends.nth(self.words_max.saturating_sub(1));
            let mut front = words.get(..end.unwrap_or(words.len()))?;
            loop {
                if let Some(word) = self.first.get(front).filter(counting) {
                    return Some(word);
                }
                front = front.rsplit_once(' ')?.0;
            }
        };
        whole().filter(counting).or_else(first)
    }
}

/// A keyword as it is compared with a whole message, and with its first words. Two keywords are the
/// same when either is.
#[must_use]
pub fn forms(keyword: &str) -> [Box<str>; 2] {
    [folded(keyword), words(keyword).into_boxed_str()]
}

/// The words at the front of a text, in lower case, with one space between: a word ends at what is
/// neither letter nor digit. A word that is cut off there is left out.
fn words(text: &str) -> String {
    let mut words = String::new();
    let mut apart = false;
    let mut characters = text.chars();
    let front = characters.by_ref().take(FRONT_CHARS);
    for character in front.nfkc().flat_map(char::to_lowercase) {
        match character {
            letter if letter.is_alphanumeric() => {
                if std::mem::take(&mut apart) && !words.is_empty() {
                    words.push(' ');
                }
                words.push(if letter == 'ς' { 'σ' } else { letter });
            }
            mark if is_combining_mark(mark) || is_unseen(mark) => {}
            _ => apart = true,
        }
    }
    if characters.next().is_some() {
        let end = words.rfind(' ').unwrap_or(0);
        words.truncate(end);
    }
    words
}

/// What has no width, and so ends no word: the soft hyphen, zero-width spaces and joiners, marks of
/// direction, the byte order mark.
const fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(u8, String)> {
        let words = [("PIZZA", 1), ("Pizza now", 2), ("Été", 3), ("L'EAU", 4)];
        let own: Own<u8> = words
            .map(|(word, to)| (Box::from(word), to))
            .into_iter()
            .collect();
        let word = own.find(text, |to| *to != 9)?;
        Some((word.to, word.spelled.to_string()))
    }

    #[test]
    fn the_whole_message_or_its_first_words_are_the_keyword() {
        for text in [
            "pizza",
            " Pizza! ",
            "PIZZA 2 Margherita",
            "pizza,2",
            "«Pizza»: two",
            "p\u{200B}izza please",
            "\u{FEFF}ＰＩＺＺＡ",
            "@P@I@Z@Z@A",
            "pizza\nnow", // Two words of which both are one keyword: the longer one, below.
        ] {
            let expected = if text.contains('\n') { 2 } else { 1 };
            assert_eq!(found(text).map(|found| found.0), Some(expected), "{text:?}");
        }
        assert_eq!(found("pizza NOW please"), Some((2, "Pizza now".to_owned())));
        assert_eq!(found("pizza nowhere").map(|found| found.0), Some(1));
        assert_eq!(found("e\u{301}te\u{301} 2027").map(|f| f.0), Some(3));
        assert_eq!(found("l’eau, s'il vous plaît").map(|f| f.0), Some(4));
    }

    #[test]
    fn what_only_holds_a_keyword_has_none() {
        for text in ["no pizza", "pizzas", "pizzeria", "", " !", "now", "🍕"] {
            assert_eq!(found(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_front_of_a_long_message_is_looked_at_and_no_word_is_cut() {
        let long = format!("pizza {}", "x".repeat(10_000));
        assert_eq!(found(&long).map(|found| found.0), Some(1));
        // The 256th character falls into a word that begins as a keyword does.
        let cut = format!("{}pizzanini", "!".repeat(FRONT_CHARS - 5));
        assert_eq!(found(&cut), None);
        let whole = format!("{}pizza", "!".repeat(FRONT_CHARS - 5));
        assert_eq!(found(&whole).map(|found| found.0), Some(1));
    }

    #[test]
    fn a_keyword_that_does_not_count_hides_no_shorter_one() {
        let own: Own<u8> = [("PIZZA", 1), ("PIZZA NOW", 2)]
            .map(|(word, to)| (Box::from(word), to))
            .into_iter()
            .collect();
        let word = own.find("Pizza now", |to| *to == 1).expect("the shorter");
        assert_eq!(word.to, 1);
    }
}
