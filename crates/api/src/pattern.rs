//! The patterns of the model: Java's regular expressions, which a whole string must match.

use std::sync::OnceLock;

use regex::Regex;

/// One pattern. It is compiled when it is first used.
pub struct Pattern {
    source: &'static str,
    regex: &'static str,
    one_class: bool,
    not_at_end: Option<char>,
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    /// `None` when the pattern does not compile; then nothing matches. A test compiles every pattern.
    regex: Option<Regex>,
    /// For a pattern that is one character class, repeated: which ASCII characters are in the class.
    ascii: Option<[bool; 128]>,
}

impl Pattern {
    pub(crate) const fn new(
        source: &'static str,
        regex: &'static str,
        one_class: bool,
        not_at_end: Option<char>,
    ) -> Self {
        Self { source, regex, one_class, not_at_end, compiled: OnceLock::new() }
    }

    /// As the model writes it.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| self.compile());
        if let Some(ascii) = &compiled.ascii
            && !text.is_empty()
        {
            let in_class = |b: &u8| ascii.get(usize::from(*b)).copied().unwrap_or(false);
            if text.as_bytes().iter().all(in_class) {
                return true;
            }
            if text.is_ascii() {
                return false;
            }
        }
        if self.not_at_end.is_some_and(|c| text.ends_with(c)) {
            return false;
        }
        compiled.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    fn compile(&self) -> Compiled {
        let regex = Regex::new(self.regex).ok();
        debug_assert!(regex.is_some(), "{} does not compile", self.source);
        let ascii = regex.as_ref().filter(|_| self.one_class).map(|regex| {
            let mut ascii = [false; 128];
            for (code, known) in (0u8..).zip(ascii.iter_mut()) {
                *known = regex.is_match(char::from(code).encode_utf8(&mut [0; 4]));
            }
            ascii
        });
        Compiled { regex, ascii }
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.source)
    }
}
