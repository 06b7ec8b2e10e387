//! Reading CBOR as authenticators write it (CTAP2 canonical form): definite lengths, no key twice, no end
//! but the real one. Nothing here recurses or allocates by what a length claims.

use minicbor::Decoder;

use super::Refusal;

/// Members of a map, at most: attestation objects have 3, keys up to 7, extensions a few.
const MEMBERS_MAX: u64 = 32;

/// A reader of `bytes`.
pub(super) struct Reader<'b> {
    decoder: Decoder<'b>,
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { decoder: Decoder::new(bytes), bytes }
    }

    /// How many members the map has that begins here.
    pub fn map(&mut self) -> Result<u64, Refusal> {
        match self.decoder.map() {
            Ok(Some(members)) if members <= MEMBERS_MAX => Ok(members),
            _ => Err(Refusal::Malformed("a map")),
        }
    }

    pub fn text(&mut self) -> Result<&'b str, Refusal> {
        self.decoder.str().map_err(|_| Refusal::Malformed("a text"))
    }

    pub fn bytes(&mut self) -> Result<&'b [u8], Refusal> {
        self.decoder.bytes().map_err(|_| Refusal::Malformed("a byte string"))
    }

    pub fn integer(&mut self) -> Result<i64, Refusal> {
        self.decoder.i64().map_err(|_| Refusal::Malformed("an integer"))
    }

    /// Steps over one value, and answers its bytes.
    pub fn value(&mut self) -> Result<&'b [u8], Refusal> {
        let begin = self.decoder.position();
        self.decoder.skip().map_err(|_| Refusal::Malformed("a value"))?;
        self.bytes.get(begin..self.decoder.position()).ok_or(Refusal::Malformed("a value"))
    }

    /// What follows.
    pub fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.decoder.position()..).unwrap_or_default()
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.rest().is_empty() { Ok(()) } else { Err(Refusal::Malformed("something follows")) }
    }
}

/// Puts a member that may come once.
pub(super) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    if slot.replace(value).is_some() {
        return Err(Refusal::Malformed("a member comes twice"));
    }
    Ok(())
}
