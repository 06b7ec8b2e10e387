//! The reader's side, for tests: of messages that [`super::encrypt`] writes, and of keys that [`super::wrap`]
//! does.

use super::*;

/// A message that has been taken apart, and not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The pairs in it.
    pub context: Context,
    /// The data key in it.
    pub encrypted: EncryptedDataKey,
    id: Vec<u8>,
    header: Vec<u8>,
    commitment: Vec<u8>,
    header_tag: Vec<u8>,
    /// Ciphertext and tag.
    content: Vec<u8>,
}

/// Takes a message apart; `None` for anything else.
pub fn parse(message: &[u8]) -> Option<Parsed> {
    let mut rest = message;
    if take(&mut rest, 1)? != [VERSION] || take(&mut rest, 2)? != SUITE {
        return None;
    }
    let id = take(&mut rest, ID_LEN)?.to_vec();
    let mut pairs = take_field(&mut rest)?;
    let mut context = Context::new();
    if !pairs.is_empty() {
        for _ in 0..u16::from_be_bytes(take(&mut pairs, 2)?.try_into().ok()?) {
            let name = String::from_utf8(take_field(&mut pairs)?.to_vec()).ok()?;
            let value = String::from_utf8(take_field(&mut pairs)?.to_vec()).ok()?;
            context.insert(name, value);
        }
    }
    if take(&mut rest, 2)? != 1_u16.to_be_bytes() {
        return None;
    }
    let encrypted = EncryptedDataKey {
        provider_id: String::from_utf8(take_field(&mut rest)?.to_vec()).ok()?,
        provider_info: take_field(&mut rest)?.to_vec(),
        ciphertext: take_field(&mut rest)?.to_vec(),
    };
    if take(&mut rest, 1)? != [FRAMED] || take(&mut rest, 4)? != FRAME_BYTES.to_be_bytes() {
        return None;
    }
    let commitment = take(&mut rest, 32)?.to_vec();
    let header = message.get(..message.len() - rest.len())?.to_vec();
    let header_tag = take(&mut rest, TAG_LEN)?.to_vec();
    if take(&mut rest, 4)? != LAST_FRAME || take(&mut rest, 4)? != FIRST.to_be_bytes() {
        return None;
    }
    if take(&mut rest, IV_LEN)? != frame_iv(FIRST) {
        return None;
    }
    let length = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let content = take(&mut rest, usize::try_from(length).ok()? + TAG_LEN)?.to_vec();
    let parsed = Parsed { context, encrypted, id, header, commitment, header_tag, content };
    rest.is_empty().then_some(parsed)
}

impl Parsed {
    /// What the message holds; `None` when anything in it is not of this data key.
    pub fn decrypt(&self, data_key: &Key256) -> Option<Vec<u8>> {
        let keys = Keys::derive(data_key, &self.id).ok()?;
        if keys.commitment.as_slice() != self.commitment {
            return None;
        }
        open(&keys.content, [0; IV_LEN], &self.header, &self.header_tag)?;
        let length = self.content.len().checked_sub(TAG_LEN)?;
        open(&keys.content, frame_iv(FIRST), &frame_aad(&self.id, length), &self.content)
    }
}

/// The data key that a raw AES key has encrypted; `None` when it was another one.
pub fn unwrap(
    encrypted: &EncryptedDataKey,
    context: &Context,
    wrapping_key: &Key256,
) -> Option<Key256> {
    let at = encrypted.provider_info.len().checked_sub(IV_LEN)?;
    let iv = encrypted.provider_info.get(at..)?.try_into().ok()?;
    let aad = serialized(context).ok()?;
    let key = open(&aes(wrapping_key).ok()?, iv, &aad, &encrypted.ciphertext)?;
    Some(Key256::new(key.try_into().ok()?))
}

fn open(key: &LessSafeKey, iv: [u8; IV_LEN], aad: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let mut content = content.to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    let plain = key.open_in_place(nonce, Aad::from(aad), &mut content).ok()?;
    Some(plain.to_vec())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, usize::from(length))
}
