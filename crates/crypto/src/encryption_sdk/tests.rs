use super::{reader::*, *};
use crate::{encoding, testing::SeededEntropy};

const KEY_NAME: (&str, &str) = ("conclave", "arn:aws:kms:us-east-1:111122223333:key/local");

fn context() -> Context {
    [("userpool-id", "us-east-1_abc"), ("ä", "z")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn message(plaintext: &[u8], context: &Context) -> Vec<u8> {
    let (entropy, wrapping) = (SeededEntropy::new(7), Key256::new([9; 32]));
    let data_key = Key256::new([5; 32]);
    let encrypted = wrap(&data_key, context, KEY_NAME, &wrapping, &entropy).expect("is wrapped");
    encrypt(plaintext, context, &data_key, &encrypted, &entropy).expect("is written")
}

fn read(message: &[u8]) -> Option<Vec<u8>> {
    let parsed = parse(message)?;
    let key = unwrap(&parsed.encrypted, &parsed.context, &Key256::new([9; 32]))?;
    parsed.decrypt(&key)
}

/// aws-encryption-sdk 4.0.7 for Python decrypts these bytes, by a raw key of 32 bytes of 9, under all of its
/// commitment policies.
#[test]
fn the_library_s_messages_stay_as_they_are() {
    assert_eq!(encoding::base64(message(b"123456", &context())), KNOWN);
}

const KNOWN: &str = "AgR4WLlUFgfn+I7k7xqqukFdwhcTJUlYBs8gMmRkxNVMbVEAJQACAAt1c2VycG9vbC1pZAANdXMtZWFzdC0x\
    X2FiYwACw6QAAXoAAQAIY29uY2xhdmUAQGFybjphd3M6a21zOnVzLWVhc3QtMToxMTExMjIyMjMzMzM6a2V5\
    L2xvY2FsAAAAgAAAAAz1cSjl2x7jdhEuPjAAMEJR6qw9QRwCwRVSBcECdkgFxODU5h471oTgPEOpkBo38HpP\
    Y2QkFVVjhP6yKvVcqwIAABAAuRKiGymC58vqffmk1ny3ySEgAalGWOdmnimkbutthGDWTt7C2+1UUnf1UexI\
    ch/2/////wAAAAEAAAAAAAAAAAAAAAEAAAAG/op/9+atu3EroiBTK7VGHpTlR1Dq6w==";

#[test]
fn what_is_written_is_read_and_a_changed_byte_is_noticed() {
    for (plaintext, context) in
        [(&b""[..], Context::new()), (b"123456", context()), (&[b'x'; 4_096], context())]
    {
        let written = message(plaintext, &context);
        assert_eq!(read(&written).as_deref(), Some(plaintext));
        assert_eq!(parse(&written).map(|parsed| parsed.context), Some(context));
        for at in 0..written.len().min(400) {
            let mut changed = written.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), None, "byte {at}");
        }
        assert_eq!(read(&written[..written.len() - 1]), None);
    }
}

#[test]
fn a_message_is_of_its_data_key_alone() {
    let parsed = parse(&message(b"123456", &context())).expect("is one");
    assert_eq!(parsed.decrypt(&Key256::new([6; 32])), None);
    assert!(unwrap(&parsed.encrypted, &Context::new(), &Key256::new([9; 32])).is_none());
    assert!(unwrap(&parsed.encrypted, &context(), &Key256::new([8; 32])).is_none());
}

#[test]
fn what_does_not_fit_the_format_is_refused() {
    let (entropy, key) = (SeededEntropy::new(7), Key256::new([9; 32]));
    let encrypted = wrap(&key, &Context::new(), KEY_NAME, &key, &entropy).expect("is wrapped");
    let long = "x".repeat(1 << 16);
    let context = Context::from([("a".to_owned(), long.clone())]);
    assert_eq!(wrap(&key, &context, KEY_NAME, &key, &entropy), Err(MessageError::TooLong));
    let write = |text: &[u8], context: &Context, encrypted: &EncryptedDataKey| {
        encrypt(text, context, &key, encrypted, &entropy).map(|_| ())
    };
    let too_long = Err(MessageError::TooLong);
    assert_eq!(write(&[0; 4_097], &Context::new(), &encrypted), too_long);
    assert_eq!(write(b"", &context, &encrypted), too_long);
    let longer = EncryptedDataKey { provider_info: long.into(), ..encrypted };
    assert_eq!(write(b"", &Context::new(), &longer), too_long);
}
