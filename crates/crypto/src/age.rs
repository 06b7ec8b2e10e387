//! Files that only the holder of an offline key can read, in the format of age, version 1
//! (<https://c2sp.org/age>): what is written here opens with any age tool, and the other way round.
//!
//! A file has a random key of its own, wrapped once for each [`Recipient`] (X25519, HKDF-SHA256,
//! ChaCha20-Poly1305). Its content is a STREAM of chunks of 64 KiB: a chunk that is altered, missing, moved or
//! the last one cut off does not open. Whoever writes needs recipients only, and cannot read what has been
//! written.
//!
//! Why not the crate `age`: it brings some sixty crates and a second implementation of every primitive. What is
//! used here of the format is small, and aws-lc has all of it.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroize;

use crate::{
    bech32,
    entropy::{self, Entropy},
    mac,
    secret::{Secret, SecretBytes, SecretString},
};

/// Bytes of content in a chunk.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Recipients of one file.
pub const RECIPIENTS_MAX: usize = 32;
/// Bytes of a header that is read.
const HEADER_BYTES_MAX: usize = 64 << 10;

const INTRO: &str = "age-encryption.org/v1";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const RECIPIENT_HRP: &str = "age";
const IDENTITY_HRP: &str = "age-secret-key-";
const NONCE_LEN: usize = 16;
const TAG_LEN: usize = 16;
const FILE_KEY_LEN: usize = 16;

type FileKey = Secret<[u8; FILE_KEY_LEN]>;

/// Why a file cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// Not the text of a recipient.
    #[error("not an age recipient: one begins with age1 and is 62 characters long")]
    Recipient,
    /// Not the text of an identity.
    #[error("not an age identity: one begins with AGE-SECRET-KEY-1")]
    Identity,
    /// None, or more than [`RECIPIENTS_MAX`].
    #[error("a file has 1 to 32 recipients")]
    Recipients,
    /// Not an age file, or of a kind that is not read here.
    #[error("the header of the encrypted file is malformed")]
    Header,
    /// None of the identities is one that the file was written for.
    #[error("the file is encrypted to other recipients")]
    NotARecipient,
    /// Altered, reordered, or cut off.
    #[error("the encrypted file is damaged or incomplete")]
    Damaged,
}

/// Whom a file is written for: a public key.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        // upper case is for identities
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let key = bech32::decode(RECIPIENT_HRP, text).filter(|_| lower);
        key.and_then(|key| key.try_into().ok()).map(Self).ok_or(AgeError::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT_HRP, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What opens files that were written for its recipient: a private key.
pub struct Identity {
    key: PrivateKey,
    secret: SecretBytes,
    public: [u8; 32],
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// [`AgeError::Identity`], which random bytes do not give.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, AgeError> {
        Self::from_bytes(&entropy::bytes::<32>(entropy))
    }

    fn from_bytes(secret: &[u8]) -> Result<Self, AgeError> {
        let key = PrivateKey::from_private_key(&X25519, secret).map_err(|_| AgeError::Identity)?;
        let public = key.compute_public_key().map_err(|_| AgeError::Identity)?;
        let public = public.as_ref().try_into().map_err(|_| AgeError::Identity)?;
        Ok(Self { key, secret: SecretBytes::new(secret.to_vec()), public })
    }

    /// Every identity of a key file, as `age-keygen` writes it: one in a line, `#` begins a comment.
    ///
    /// # Errors
    /// [`AgeError::Identity`] when a line is none, or there is none.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let found = lines.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if found.is_empty() { Err(AgeError::Identity) } else { Ok(found) }
    }

    /// Whom files have to be written for so that this opens them.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }

    /// As a key file holds it.
    pub fn to_text(&self) -> SecretString {
        SecretString::new(bech32::encode(IDENTITY_HRP, self.secret.expose()).to_uppercase())
    }

    fn unwrap(&self, stanza: &Stanza) -> Option<FileKey> {
        let [kind, share] = stanza.args.as_slice() else { return None };
        if kind != "X25519" {
            return None;
        }
        let share: [u8; 32] = STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
        let key = wrapping_key(&self.key, &share, &share, &self.public)?;
        let mut body = stanza.body.clone();
        let plain = open_in_place(&key, zero_nonce(), &mut body)?;
        plain.try_into().ok().map(FileKey::new)
    }
}

impl FromStr for Identity {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let mut secret = bech32::decode(IDENTITY_HRP, text).ok_or(AgeError::Identity)?;
        let identity = Self::from_bytes(&secret);
        secret.zeroize();
        identity
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity of {}", self.recipient())
    }
}

struct Stanza {
    args: Vec<String>,
    body: Vec<u8>,
}

/// Writes a file, a piece at a time.
pub struct Encryptor {
    key: LessSafeKey,
    counter: u64,
    /// Less than a chunk and a byte: which chunk is the last one is known when nothing comes after it.
    held: Vec<u8>,
}

impl Encryptor {
    /// A new file, and its first bytes.
    ///
    /// # Errors
    /// [`AgeError::Recipients`].
    pub fn new(
        recipients: &[Recipient],
        entropy: &dyn Entropy,
    ) -> Result<(Self, Vec<u8>), AgeError> {
        if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
            return Err(AgeError::Recipients);
        }
        let file_key = FileKey::new(entropy::bytes(entropy));
        let mut header = format!("{INTRO}\n");
        for recipient in recipients {
            let ephemeral = Identity::generate(entropy)?;
            let share = ephemeral.public;
            let key = wrapping_key(&ephemeral.key, &recipient.0, &share, &recipient.0)
                .ok_or(AgeError::Recipient)?;
            let mut body = file_key.expose().to_vec();
            seal_in_place(&key, zero_nonce(), &mut body)?;
            header += &format!("-> X25519 {}\n", STANDARD_NO_PAD.encode(share));
            // shorter than a line of 64, which ends a body
            header += &format!("{}\n", STANDARD_NO_PAD.encode(body));
        }
        header += "---";
        let mac = header_mac(&file_key, header.as_bytes());
        header += &format!(" {}\n", STANDARD_NO_PAD.encode(mac));
        let nonce: [u8; NONCE_LEN] = entropy::bytes(entropy);
        let key = payload_key(&file_key, &nonce)?;
        let mut begin = header.into_bytes();
        begin.extend(nonce);
        Ok((Self { key, counter: 0, held: Vec::with_capacity(CHUNK_BYTES + 1) }, begin))
    }

    /// Takes more content; what can be written of the file is added to `out`.
    ///
    /// # Errors
    /// [`AgeError::Damaged`], which content does not give.
    pub fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
        while !content.is_empty() {
            if self.held.len() == CHUNK_BYTES {
                self.seal(false, out)?;
            }
            let room = CHUNK_BYTES - self.held.len();
            let (now, later) = content.split_at(room.min(content.len()));
            self.held.extend_from_slice(now);
            content = later;
        }
        Ok(())
    }

    /// The end of the file. Without it the file does not open.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), AgeError> {
        self.seal(true, out)
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), AgeError> {
        let nonce = chunk_nonce(self.counter, last);
        self.counter = self.counter.checked_add(1).ok_or(AgeError::Damaged)?;
        seal_in_place(&self.key, nonce, &mut self.held)?;
        out.extend_from_slice(&self.held);
        self.held.zeroize();
        Ok(())
    }
}

/// Reads a file, a piece at a time. Content is authentic chunk by chunk, and whole after [`Self::finish`].
pub struct Decryptor<'a> {
    identities: &'a [Identity],
    state: State,
    held: Vec<u8>,
}

enum State {
    Header,
    Chunks { key: LessSafeKey, counter: u64 },
}

impl<'a> Decryptor<'a> {
    /// Opens what was written for one of `identities`.
    pub fn new(identities: &'a [Identity]) -> Self {
        Self { identities, state: State::Header, held: Vec::new() }
    }

    /// Takes more of the file; what can be read of the content is added to `out`.
    ///
    /// # Errors
    /// Every [`AgeError`] of reading.
    pub fn write(&mut self, file: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
        self.held.extend_from_slice(file);
        if matches!(self.state, State::Header) && !self.read_header()? {
            return Ok(());
        }
        let State::Chunks { key, counter } = &mut self.state else { return Ok(()) };
        let sealed = CHUNK_BYTES + TAG_LEN;
        let mut from = 0;
        // the last chunk is another kind, and is known by the end of the file
        while self.held.len() - from > sealed {
            let chunk = self.held.get_mut(from..from + sealed).ok_or(AgeError::Damaged)?;
            let plain = open_in_place(key, chunk_nonce(*counter, false), chunk);
            out.extend_from_slice(plain.ok_or(AgeError::Damaged)?);
            *counter = counter.checked_add(1).ok_or(AgeError::Damaged)?;
            from += sealed;
        }
        self.held.drain(..from);
        Ok(())
    }

    /// The file has ended: the rest of its content.
    ///
    /// # Errors
    /// [`AgeError::Damaged`] when it has ended too early.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), AgeError> {
        let State::Chunks { key, counter } = &self.state else { return Err(AgeError::Header) };
        let plain = open_in_place(key, chunk_nonce(*counter, true), &mut self.held);
        let plain = plain.ok_or(AgeError::Damaged)?;
        if plain.is_empty() && *counter > 0 {
            return Err(AgeError::Damaged);
        }
        out.extend_from_slice(plain);
        self.held.zeroize();
        Ok(())
    }

    /// True when the header and the nonce behind it have come.
    fn read_header(&mut self) -> Result<bool, AgeError> {
        let Some(end) = find(&self.held, b"\n---") else {
            return if self.held.len() > HEADER_BYTES_MAX {
                Err(AgeError::Header)
            } else {
                Ok(false)
            };
        };
        let mac_line = self.held.get(end + 1..).unwrap_or_default();
        let Some(line_end) = mac_line.iter().position(|byte| *byte == b'\n') else {
            return if mac_line.len() > 128 { Err(AgeError::Header) } else { Ok(false) };
        };
        let header_end = end + 1 + line_end + 1;
        if end > HEADER_BYTES_MAX {
            return Err(AgeError::Header);
        }
        if self.held.len() < header_end + NONCE_LEN {
            return Ok(false);
        }
        let header = self.held.get(..header_end).ok_or(AgeError::Header)?;
        let file_key = open_header(header, end, self.identities)?;
        let nonce = self.held.get(header_end..header_end + NONCE_LEN).ok_or(AgeError::Header)?;
        let key = payload_key(&file_key, nonce)?;
        self.state = State::Chunks { key, counter: 0 };
        self.held.drain(..header_end + NONCE_LEN);
        Ok(true)
    }
}

/// The key of the file whose header this is; the line of its MAC begins behind `end`.
fn open_header(header: &[u8], end: usize, identities: &[Identity]) -> Result<FileKey, AgeError> {
    let text = std::str::from_utf8(header).map_err(|_| AgeError::Header)?;
    let (stanzas, mac_line) = text.split_at_checked(end + 1).ok_or(AgeError::Header)?;
    let mac = mac_line.strip_prefix("--- ").and_then(|rest| rest.strip_suffix('\n'));
    let mac = mac.and_then(|mac| STANDARD_NO_PAD.decode(mac).ok()).ok_or(AgeError::Header)?;
    let stanzas = parse_stanzas(stanzas)?;
    let unwrap = |stanza: &Stanza| identities.iter().find_map(|identity| identity.unwrap(stanza));
    let file_key = stanzas.iter().find_map(unwrap).ok_or(AgeError::NotARecipient)?;
    let authenticated = header.get(..end + 1 + 3).ok_or(AgeError::Header)?;
    match mac::ct_eq(&header_mac(&file_key, authenticated), &mac) {
        true => Ok(file_key),
        false => Err(AgeError::Damaged),
    }
}

fn parse_stanzas(text: &str) -> Result<Vec<Stanza>, AgeError> {
    const LINE: usize = 64;
    let mut lines = text.split_terminator('\n');
    if lines.next() != Some(INTRO) {
        return Err(AgeError::Header);
    }
    let mut stanzas = Vec::new();
    while let Some(line) = lines.next() {
        let args = line.strip_prefix("-> ").ok_or(AgeError::Header)?;
        let mut body = Vec::new();
        loop {
            let line = lines.next().ok_or(AgeError::Header)?;
            if line.len() > LINE {
                return Err(AgeError::Header);
            }
            body.extend(STANDARD_NO_PAD.decode(line).map_err(|_| AgeError::Header)?);
            if line.len() < LINE {
                break;
            }
        }
        stanzas.push(Stanza { args: args.split(' ').map(str::to_owned).collect(), body });
    }
    Ok(stanzas)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// HKDF-SHA256 (RFC 5869) over what two X25519 keys agree on; the salt is the ephemeral share and the recipient.
fn wrapping_key(
    own: &PrivateKey,
    peer: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Option<LessSafeKey> {
    let peer = UnparsedPublicKey::new(&X25519, peer);
    // fails for a point of small order, as it must
    agree(own, peer, AgeError::Header, |shared| {
        let salt = [share.as_slice(), recipient].concat();
        aead_key(&mac::hkdf_extract(&salt, shared), X25519_INFO)
    })
    .ok()
}

fn header_mac(file_key: &FileKey, header: &[u8]) -> [u8; 32] {
    let key: [u8; 32] = mac::hkdf_expand(&mac::hkdf_extract(&[], file_key.expose()), &[b"header"]);
    mac::hmac_sha256(&key, &[header])
}

fn payload_key(file_key: &FileKey, nonce: &[u8]) -> Result<LessSafeKey, AgeError> {
    aead_key(&mac::hkdf_extract(nonce, file_key.expose()), b"payload")
}

fn aead_key(prk: &[u8; 32], info: &[u8]) -> Result<LessSafeKey, AgeError> {
    let mut key: [u8; 32] = mac::hkdf_expand(prk, &[info]);
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| AgeError::Damaged);
    key.zeroize();
    unbound.map(LessSafeKey::new)
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// 11 bytes of a counter, and whether the chunk is the last one.
fn chunk_nonce(counter: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().skip(3).zip(counter.to_be_bytes()) {
        *to = from;
    }
    if let Some(flag) = nonce.last_mut() {
        *flag = u8::from(last);
    }
    Nonce::assume_unique_for_key(nonce)
}

fn seal_in_place(key: &LessSafeKey, nonce: Nonce, text: &mut Vec<u8>) -> Result<(), AgeError> {
    key.seal_in_place_append_tag(nonce, Aad::empty(), text).map_err(|_| AgeError::Damaged)
}

fn open_in_place<'t>(key: &LessSafeKey, nonce: Nonce, text: &'t mut [u8]) -> Option<&'t [u8]> {
    key.open_in_place(nonce, Aad::empty(), text).ok().map(|plain| &*plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    fn encrypt(recipients: &[Recipient], content: &[u8]) -> Vec<u8> {
        let (mut encryptor, mut file) =
            Encryptor::new(recipients, &SeededEntropy::new(1)).expect("begins");
        for piece in content.chunks(10_007) {
            encryptor.write(piece, &mut file).expect("writes");
        }
        encryptor.finish(&mut file).expect("ends");
        file
    }

    fn decrypt(identity: &Identity, file: &[u8], piece: usize) -> Result<Vec<u8>, AgeError> {
        let mut content = Vec::new();
        let mut decryptor = Decryptor::new(std::slice::from_ref(identity));
        for piece in file.chunks(piece) {
            decryptor.write(piece, &mut content)?;
        }
        decryptor.finish(&mut content)?;
        Ok(content)
    }

    fn identity(seed: u64) -> Identity {
        Identity::generate(&SeededEntropy::new(seed)).expect("is made")
    }

    #[test]
    fn what_is_written_for_several_opens_for_each_of_them_and_for_nobody_else() {
        let (a, b, c) = (identity(10), identity(11), identity(12));
        for length in [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let content: Vec<u8> = (0..length).map(|i| i.to_le_bytes()[0]).collect();
            let file = encrypt(&[a.recipient(), b.recipient()], &content);
            assert_eq!(decrypt(&a, &file, 1_000).as_ref(), Ok(&content), "{length}");
            assert_eq!(decrypt(&b, &file, 70_001).as_ref(), Ok(&content), "{length}");
            assert_eq!(decrypt(&c, &file, 4_096), Err(AgeError::NotARecipient));
        }
        assert!(Encryptor::new(&[], &SeededEntropy::new(1)).is_err());
    }

    #[test]
    fn a_file_that_is_cut_off_reordered_or_altered_does_not_open() {
        let own = identity(10);
        let content = vec![7; 3 * CHUNK_BYTES + 5];
        let file = encrypt(&[own.recipient()], &content);
        let sealed = CHUNK_BYTES + TAG_LEN;
        let begin = file.len() - 3 * sealed - 5 - TAG_LEN;
        for end in [0, begin - 1, begin, begin + sealed, begin + 3 * sealed, file.len() - 1] {
            assert!(decrypt(&own, &file[..end], 999).is_err(), "{end}");
        }
        let mut swapped = file.clone();
        let (first, second) = swapped[begin..].split_at_mut(sealed);
        first.swap_with_slice(&mut second[..sealed]);
        assert_eq!(decrypt(&own, &swapped, 5_000), Err(AgeError::Damaged));
        let without = [&file[..begin], &file[begin + sealed..]].concat();
        assert_eq!(decrypt(&own, &without, 5_000), Err(AgeError::Damaged));
        for at in (0..begin).chain([begin, begin + sealed + 9, file.len() - 1]) {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(decrypt(&own, &altered, 100_000).is_err(), "{at}");
        }
        assert!(decrypt(&own, &[&file[..], &[0]].concat(), 5_000).is_err());
    }

    #[test]
    fn identities_and_recipients_have_the_texts_of_age() {
        let own = identity(10);
        let text = own.to_text();
        assert!(text.expose().starts_with("AGE-SECRET-KEY-1"));
        let again: Identity = text.expose().parse().expect("parses");
        assert_eq!(again.recipient(), own.recipient());
        let recipient = own.recipient().to_string();
        assert_eq!(recipient.len(), 62);
        assert_eq!(recipient.parse(), Ok(own.recipient()));
        assert!(recipient.to_uppercase().parse::<Recipient>().is_err());
        assert!(text.expose().parse::<Recipient>().is_err());
        let file = format!("# created: today\n# public key: {recipient}\n{}\n", text.expose());
        assert_eq!(Identity::parse_file(&file).expect("parses").len(), 1);
        assert!(Identity::parse_file("# nothing\n").is_err());
        assert!(Identity::parse_file(&recipient).is_err());
        assert_eq!(format!("{own:?}"), format!("Identity of {recipient}"));
    }

    /// The key pair of the example in age's README.
    #[test]
    fn a_known_identity_has_its_known_recipient() {
        let known: Identity =
            "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33"
                .parse()
                .expect("parses");
        assert_eq!(
            known.recipient().to_string(),
            "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa"
        );
    }
}
