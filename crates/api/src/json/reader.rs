//! A pull parser for JSON (RFC 8259) that copies only strings with escapes.

use std::borrow::Cow;

use super::MOST_DEPTH;
use crate::error::ApiError;

/// What the next value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Null,
    True,
    False,
    Number,
    String,
    List,
    Object,
}

pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

type Result<T> = std::result::Result<T, ApiError>;

fn malformed(what: &'static str) -> ApiError {
    ApiError::serialization(what)
}

impl<'a> Reader<'a> {
    /// # Errors
    /// When the bytes are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| malformed("the body is not valid UTF-8"))?;
        Ok(Self { text, at: 0, depth: 0 })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// Whether nothing but space is left.
    pub fn at_end(&mut self) -> bool {
        self.skip_space();
        self.at >= self.text.len()
    }

    /// The position of the next value or of the end.
    pub fn position(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The bytes from an earlier position to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.text.as_bytes().get(start..self.at).unwrap_or_default()
    }

    /// Looks at the next value without taking it.
    pub fn peek(&mut self) -> Result<Token> {
        self.skip_space();
        Ok(match self.byte() {
            Some(b'"') => Token::String,
            Some(b'{') => Token::Object,
            Some(b'[') => Token::List,
            Some(b'-' | b'0'..=b'9') => Token::Number,
            Some(b't') => Token::True,
            Some(b'f') => Token::False,
            Some(b'n') => Token::Null,
            Some(_) => return Err(malformed("the body is not valid JSON")),
            None => return Err(malformed("the body ends too early")),
        })
    }

    /// Takes the word of a `null`, `true` or `false` that `peek` has seen.
    pub fn word(&mut self, word: &'static str) -> Result<()> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(malformed("the body is not valid JSON"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a number that `peek` has seen, as it is written.
    pub fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(malformed("a number is not valid JSON")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { Err(malformed("a number is not valid JSON")) } else { Ok(()) }
    }

    /// Takes a string that `peek` has seen.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let mut start = self.at;
        let mut copied: Option<String> = None;
        loop {
            match self.byte() {
                None => return Err(malformed("a string ends too early")),
                Some(0..=0x1f) => return Err(malformed("a string has a control character")),
                Some(b'"') => {
                    let tail = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(match copied {
                        None => Cow::Borrowed(tail),
                        Some(mut text) => {
                            text.push_str(tail);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = copied.get_or_insert_default();
                    text.push_str(self.text.get(start..self.at).unwrap_or_default());
                    self.at += 1;
                    let c = self.escape()?;
                    copied.get_or_insert_default().push(c);
                    start = self.at;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let c = self.byte();
        self.at += 1;
        Ok(match c {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four_digits()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        self.expect(b'\\')?;
                        self.expect(b'u')?;
                        let second = self.four_digits()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(malformed("a string has half a surrogate pair"));
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    other => other,
                };
                char::from_u32(code)
                    .ok_or_else(|| malformed("a string has half a surrogate pair"))?
            }
            _ => return Err(malformed("a string has an unknown escape")),
        })
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.byte() != Some(byte) {
            return Err(malformed("a string has half a surrogate pair"));
        }
        self.at += 1;
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        // from_str_radix alone would take a sign.
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(malformed("a string has an unknown escape"));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| malformed("a string has an unknown escape"))
    }

    /// Enters an object or list that `peek` has seen. Every entry is left again when `next_key` or `next_item` says that
    /// it has ended.
    pub fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(malformed("the body is nested too deeply"));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes the next key of the object that was entered, with its colon; `None` at the end.
    pub fn next_key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>> {
        if self.ended(b'}', first)? {
            return Ok(None);
        }
        if self.peek()? != Token::String {
            return Err(malformed("the body is not valid JSON"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.byte() != Some(b':') {
            return Err(malformed("the body is not valid JSON"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Moves to the next item of the list that was entered; false at the end.
    pub fn next_item(&mut self, first: &mut bool) -> Result<bool> {
        Ok(!self.ended(b']', first)?)
    }

    fn ended(&mut self, end: u8, first: &mut bool) -> Result<bool> {
        self.skip_space();
        let is_first = std::mem::replace(first, false);
        match self.byte() {
            Some(b) if b == end => {
                self.at += 1;
                self.depth -= 1;
                Ok(true)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if is_first => Ok(false),
            Some(_) => Err(malformed("the body is not valid JSON")),
            None => Err(malformed("the body ends too early")),
        }
    }

    /// Takes the next value, whatever it is.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Token::Null => self.word("null"),
            Token::True => self.word("true"),
            Token::False => self.word("false"),
            Token::Number => self.number().map(|_| ()),
            Token::String => self.string().map(|_| ()),
            Token::List => {
                self.enter()?;
                let mut first = true;
                while self.next_item(&mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            Token::Object => {
                self.enter()?;
                let mut first = true;
                while self.next_key(&mut first)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
        }
    }
}
