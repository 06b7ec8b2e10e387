//! Bech32 (BIP 173), in which age writes recipients and identities. Without the limit of 90 characters, as age.

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_LEN: usize = 6;

/// `data` under the human-readable part `hrp`, in lower case.
pub(crate) fn encode(hrp: &str, data: &[u8]) -> String {
    let mut values = to_fives(data);
    let checksum = checksum(hrp, &values);
    values.extend(checksum);
    let letters = values.iter().filter_map(|value| CHARSET.get(usize::from(*value)));
    format!("{hrp}1{}", letters.map(|letter| char::from(*letter)).collect::<String>())
}

/// What [`encode`] has made under `hrp`, in lower or upper case.
pub(crate) fn decode(hrp: &str, text: &str) -> Option<Vec<u8>> {
    let mixed = text.bytes().any(|b| b.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_uppercase());
    if mixed {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let letters = text.strip_prefix(hrp)?.strip_prefix('1')?;
    let value = |letter: u8| {
        CHARSET.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok())
    };
    let values = letters.bytes().map(value).collect::<Option<Vec<u8>>>()?;
    let (data, given) = values.split_at_checked(values.len().checked_sub(CHECKSUM_LEN)?)?;
    if checksum(hrp, data) != given {
        return None;
    }
    from_fives(data)
}

fn checksum(hrp: &str, data: &[u8]) -> [u8; CHECKSUM_LEN] {
    let high = hrp.bytes().map(|b| b >> 5);
    let low = hrp.bytes().map(|b| b & 31);
    let zeros = std::iter::repeat_n(0, CHECKSUM_LEN);
    let all = high.chain([0]).chain(low).chain(data.iter().copied()).chain(zeros);
    let sum = polymod(all) ^ 1;
    let mut out = [0; CHECKSUM_LEN];
    for (to, shift) in out.iter_mut().zip([25, 20, 15, 10, 5, 0]) {
        *to = ((sum >> shift) & 31).to_le_bytes()[0];
    }
    out
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        let bits = GENERATOR.iter().enumerate().filter(|(bit, _)| (top >> bit) & 1 == 1);
        bits.fold(shifted, |sum, (_, generator)| sum ^ generator)
    })
}

fn to_fives(data: &[u8]) -> Vec<u8> {
    let (mut held, mut bits, mut out) = (0_u32, 0, Vec::with_capacity(data.len() * 8 / 5 + 1));
    for byte in data {
        held = ((held << 8) | u32::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(((held >> bits) & 31).to_le_bytes()[0]);
        }
    }
    if bits > 0 {
        out.push(((held << (5 - bits)) & 31).to_le_bytes()[0]);
    }
    out
}

fn from_fives(values: &[u8]) -> Option<Vec<u8>> {
    let (mut held, mut bits, mut out) = (0_u32, 0, Vec::with_capacity(values.len() * 5 / 8));
    for value in values {
        held = ((held << 5) | u32::from(*value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(((held >> bits) & 255).to_le_bytes()[0]);
        }
    }
    // what is left over is padding: less than a byte's worth, and zero
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_and_one_changed_letter_does_not() {
        let data: Vec<u8> = (0..32).map(|i| i * 7).collect();
        let text = encode("age", &data);
        assert_eq!(text.len(), "age1".len() + 52 + 6);
        assert_eq!(decode("age", &text), Some(data.clone()));
        assert_eq!(decode("age", &text.to_uppercase()), Some(data));
        assert_eq!(decode("other", &text), None);
        let mut mixed = text.clone();
        mixed.replace_range(0..1, "A");
        assert_eq!(decode("age", &mixed), None);
        for at in 4..text.len() {
            let letter = if text.as_bytes()[at] == b'q' { "p" } else { "q" };
            let mut other = text.clone();
            other.replace_range(at..=at, letter);
            assert_eq!(decode("age", &other), None, "{at}");
        }
    }

    /// From BIP 173, "Test vectors".
    #[test]
    fn the_vectors_of_bip_173_decode() {
        assert_eq!(decode("a", "A12UEL5L"), Some(Vec::new()));
        assert_eq!(decode("a", "a12uel5l"), Some(Vec::new()));
        assert_eq!(encode("a", &[]), "a12uel5l");
        assert_eq!(
            decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw").map(|d| d.len()),
            Some(20)
        );
        assert_eq!(decode("a", "a12uel5m"), None);
    }
}
