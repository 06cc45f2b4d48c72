//! Keywords: what a handset's message asks for, when all of it is a keyword (smpp.md §5).
//!
//! A message and a keyword are compared without case, without what is neither letter nor digit
//! (punctuation, quotes, emoji, zero-width characters), and with one space where there were several.
//! The whole message has to be the keyword: "please stop" is for people to read.

use rustc_hash::FxHashMap;
use unicode_normalization::UnicodeNormalization as _;

use super::{Intent, Piece};

pub mod own;

/// Characters of the longest message that is looked at. Chosen: far above every keyword, so that a
/// long message costs nothing.
const CHARS_MAX: usize = 64;

/// A language's keywords.
struct Language {
    /// ISO 639-1.
    code: &'static str,
    opt_out: &'static [&'static str],
    opt_in: &'static [&'static str],
    help: &'static [&'static str],
}

/// The keywords of each language. The English ones for opting out are those of 47 CFR
/// 64.1200(a)(10) and what carriers add (smpp.md §5); the others are the words that carriers' and
/// aggregators' pages name for these languages, and their plain imperatives (chosen).
const LANGUAGES: [Language; 6] = [
    Language {
        code: "en",
        opt_out: &[
            "STOP",
            "QUIT",
            "END",
            "REVOKE",
            "OPT OUT",
            "OPTOUT",
            "CANCEL",
            "UNSUBSCRIBE",
            "STOPALL",
            "STOP ALL",
            "REMOVE",
        ],
        opt_in: &["START", "UNSTOP", "YES", "SUBSCRIBE"],
        help: &["HELP", "INFO"],
    },
    Language {
        code: "fr",
        opt_out: &[
            "ARRET",
            "ARRÊT",
            "TD",
            "ARRETER",
            "ARRÊTER",
            "DÉSABONNER",
            "DESABONNER",
        ],
        opt_in: &["REPRENDRE", "ABONNER", "OUI"],
        help: &["AIDE"],
    },
    Language {
        code: "es",
        opt_out: &["ALTO", "BAJA", "PARAR", "CANCELAR", "DETENER"],
        opt_in: &["ALTA", "INICIAR", "COMENZAR"],
        help: &["AYUDA"],
    },
    Language {
        code: "pt",
        opt_out: &["PARE", "PARAR", "SAIR", "CANCELAR", "REMOVER"],
        opt_in: &["VOLTAR", "INICIAR", "COMEÇAR", "COMECAR"],
        help: &["AJUDA"],
    },
    Language {
        code: "de",
        opt_out: &[
            "STOPP",
            "ABMELDEN",
            "ABBESTELLEN",
            "ENDE",
            "KÜNDIGEN",
            "KUENDIGEN",
        ],
        opt_in: &["ANMELDEN", "STARTEN"],
        help: &["HILFE"],
    },
    Language {
        code: "sv",
        opt_out: &["STOPP", "STOPPA", "AVSLUTA", "AVREGISTRERA", "SLUTA"],
        opt_in: &["STARTA", "BÖRJA"],
        help: &["HJÄLP", "HJALP"],
    },
];

/// Words that count whichever languages are chosen, because handsets are told everywhere to send them:
/// the first of 47 CFR 64.1200(a)(10), what carriers' own pages name beside them, and the contract's
/// START and HELP (smpp.md §5).
const ALWAYS: [(Intent, &str); 6] = [
    (Intent::Help, "HELP"),
    (Intent::OptIn, "START"),
    (Intent::OptOut, "STOP"),
    (Intent::OptOut, "STOPALL"),
    (Intent::OptOut, "STOP ALL"),
    (Intent::OptOut, "UNSUBSCRIBE"),
];

/// The codes of the languages that there are lists for.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|language| language.code)
}

/// The keywords as the config gives them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which built-in lists count beside those that always do, by ISO 639-1 code; `None`: all of them.
    pub languages: Option<Vec<String>>,
    /// Further words, which win over the lists.
    pub words: Vec<(Intent, String)>,
}

/// The keywords, ready to be looked up.
#[derive(Clone, Debug, Default)]
pub struct Keywords(FxHashMap<Box<str>, (Intent, Box<str>)>);

impl Keywords {
    /// Of a config. Where two lists have a word for different things, opting out wins.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut all = FxHashMap::default();
        let chosen = |language: &&Language| {
            let wanted = config.languages.as_ref();
            wanted.is_none_or(|codes| codes.iter().any(|code| code == language.code))
        };
        // The later ones win.
        for intent in [Intent::Help, Intent::OptIn, Intent::OptOut] {
            for language in LANGUAGES.iter().filter(chosen) {
                let words = match intent {
                    Intent::OptOut => language.opt_out,
                    Intent::OptIn => language.opt_in,
                    Intent::Help => language.help,
                };
                for word in words {
                    all.insert(folded(word), (intent, Box::from(*word)));
                }
            }
        }
        for (intent, word) in ALWAYS {
            all.insert(folded(word), (intent, word.into()));
        }
        for (intent, word) in &config.words {
            all.insert(folded(word), (*intent, word.as_str().into()));
        }
        all.remove("");
        Self(all)
    }

    /// What a text asks for, and the keyword in its list's own spelling.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<(Intent, Box<str>)> {
        if text.chars().nth(CHARS_MAX).is_some() {
            return None;
        }
        self.0.get(&folded(text)).cloned()
    }

    /// The same for a message of one part, whose text may have been read by the wrong alphabet: a
    /// word in ASCII is one whatever its data_coding says.
    #[must_use]
    pub fn find_in(&self, text: Option<&str>, pieces: &[Piece]) -> Option<(Intent, Box<str>)> {
        text.and_then(|text| self.find(text))
            .or_else(|| self.find(ascii(pieces)?))
    }
}

/// A message of one part read as ASCII, if it is.
#[must_use]
pub fn ascii(pieces: &[Piece]) -> Option<&str> {
    let [piece] = pieces else { return None };
    let octets = piece.octets.get(usize::from(piece.header)..)?;
    str::from_utf8(octets).ok().filter(|text| text.is_ascii())
}

/// A text as keywords are compared.
#[must_use]
pub fn folded(text: &str) -> Box<str> {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    // Lower case first: what it takes apart (İ is i and a dot above) is filtered with the rest.
    for character in text.nfkc().flat_map(char::to_lowercase) {
        match character {
            // The two small sigmas are one letter.
            'ς' => push(&mut folded, &mut space, 'σ'),
            letter if letter.is_alphanumeric() => push(&mut folded, &mut space, letter),
            white if white.is_whitespace() => space = true,
            _ => {}
        }
    }
    // Neighbours that only met because what stood between them is gone may be one letter now.
    folded.nfkc().collect::<String>().into_boxed_str()
}

fn push(folded: &mut String, space: &mut bool, character: char) {
    if std::mem::take(space) && !folded.is_empty() {
        folded.push(' ');
    }
    folded.push(character);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Option<(Intent, String)> {
        let found = Keywords::new(&Config::default()).find(text);
        found.map(|(intent, word)| (intent, word.into_string()))
    }

    #[test]
    fn a_keyword_is_known_through_case_punctuation_emoji_and_spaces() {
        for text in [
            "STOP",
            "stop",
            " Stop. ",
            "\"stop\"",
            "«STOP»",
            "S\u{200B}TOP",
            "\u{FEFF}stop",
            "stop 🛑",
            "ＳＴＯＰ",
            "stop\r\n",
            "@S@T@O@P",
            "\0S\0T\0O\0P",
            "*stop*!!!",
            "st‑op",
        ] {
            assert_eq!(
                found(text),
                Some((Intent::OptOut, "STOP".into())),
                "{text:?}"
            );
        }
        assert_eq!(found("Opt-out"), Some((Intent::OptOut, "OPTOUT".into())));
        assert_eq!(found("opt   out"), Some((Intent::OptOut, "OPT OUT".into())));
        assert_eq!(found("help?"), Some((Intent::Help, "HELP".into())));
        assert_eq!(found("start"), Some((Intent::OptIn, "START".into())));
    }

    #[test]
    fn only_the_whole_message_counts() {
        for text in [
            "please stop",
            "stop it",
            "stopping",
            "non-stop flight",
            "",
            "   ",
            "🛑",
            "the end",
            "stop\u{301}x",
        ] {
            assert_eq!(found(text), None, "{text:?}");
        }
        assert_eq!(
            found(&format!("stop{}", " ".repeat(100))),
            None,
            "too long to look at"
        );
    }

    #[test]
    fn every_language_has_its_words() {
        for (text, intent) in [
            ("Arrêt", Intent::OptOut),
            ("arre\u{302}t", Intent::OptOut),
            ("Aide", Intent::Help),
            ("baja", Intent::OptOut),
            ("Ayuda", Intent::Help),
            ("SAIR", Intent::OptOut),
            ("ajuda", Intent::Help),
            ("Stopp", Intent::OptOut),
            ("abmelden", Intent::OptOut),
            ("Hilfe", Intent::Help),
            ("Hjälp!", Intent::Help),
            ("starta", Intent::OptIn),
        ] {
            assert_eq!(found(text).map(|found| found.0), Some(intent), "{text}");
        }
        assert_eq!(languages().count(), LANGUAGES.len());
    }

    #[test]
    fn no_list_has_a_word_for_two_things() {
        let mut seen: FxHashMap<Box<str>, Intent> = FxHashMap::default();
        for language in &LANGUAGES {
            let lists = [
                (Intent::OptOut, language.opt_out),
                (Intent::OptIn, language.opt_in),
                (Intent::Help, language.help),
            ];
            for (intent, words) in lists {
                for word in words {
                    let before = seen.insert(folded(word), intent);
                    assert!(before.is_none_or(|before| before == intent), "{word}");
                }
            }
        }
    }

    #[test]
    fn a_config_chooses_languages_and_its_own_words_win() {
        let keywords = Keywords::new(&Config {
            languages: Some(vec!["en".into()]),
            words: vec![
                (Intent::OptOut, "SLUT-NU".into()),
                (Intent::Help, "YES".into()),
                (Intent::Help, "!!".into()),
            ],
        });
        let intent = |text: &str| keywords.find(text).map(|found| found.0);
        assert_eq!(intent("slut nu"), None, "another word than slut-nu");
        assert_eq!(intent("slutnu"), Some(Intent::OptOut));
        assert_eq!(intent("yes"), Some(Intent::Help));
        assert_eq!(intent("stopp"), None);
        assert_eq!(intent("!"), None, "a word of no letters is none");
    }

    #[test]
    fn stop_start_and_help_count_in_every_language() {
        let none = std::iter::once(Vec::new());
        for chosen in none.chain(languages().map(|code| vec![code.to_owned()])) {
            let config = Config {
                languages: Some(chosen.clone()),
                words: vec![(Intent::Help, "unsubscribe".into())],
            };
            let keywords = Keywords::new(&config);
            for (text, intent) in [
                ("STOP", Intent::OptOut),
                ("Stop all", Intent::OptOut),
                ("stopall", Intent::OptOut),
                ("Start", Intent::OptIn),
                ("Help!", Intent::Help),
                ("unsubscribe", Intent::Help),
            ] {
                let found = keywords.find(text).map(|found| found.0);
                assert_eq!(found, Some(intent), "{text} in {chosen:?}");
            }
        }
    }

    #[test]
    fn ascii_that_was_read_as_something_else_is_known_by_its_octets() {
        let keywords = Keywords::new(&Config::default());
        let piece = |octets: &[u8]| Piece {
            sequence: 1,
            data_coding: 8,
            header: 0,
            octets: octets.into(),
            tlvs: Box::default(),
            acknowledges: None,
        };
        // "STOP" as UCS-2 is two Chinese characters.
        let found = keywords.find_in(Some("协佐"), &[piece(b"STOP")]);
        assert_eq!(found.map(|found| found.0), Some(Intent::OptOut));
        let two = [piece(b"ST"), piece(b"OP")];
        assert_eq!(keywords.find_in(None, &two), None);
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = folded(&text);
            prop_assert_eq!(folded(&once), once);
        }
    }
}
