use proptest::prelude::*;
use serde_json::{Value, json};

use super::authenticator::{Attestation, Authenticator, byte_string};
use super::authenticator_data::{AttestationObject, AuthenticatorData};
use super::cose::{ALGORITHMS, PublicKey};
use super::*;
use crate::encoding::{base64url, base64url_decode};

const CHALLENGE: [u8; 32] = [9; 32];

fn expected() -> Expected<'static> {
    Expected { rp_id: "example.com", challenge: &CHALLENGE, user_verification: true }
}

fn authenticator() -> Authenticator {
    Authenticator::ed25519([3; 32]).unwrap()
}

fn challenge() -> String {
    base64url(CHALLENGE)
}

fn register(authenticator: &Authenticator) -> Result<Registered, Refusal> {
    register_as(authenticator, &expected())
}

fn register_as(
    authenticator: &Authenticator,
    expected: &Expected<'_>,
) -> Result<Registered, Refusal> {
    let json = authenticator.register(&challenge()).to_string();
    registration::verify(&RegistrationResponse::parse(json.as_bytes())?, expected)
}

fn assert_with(authenticator: &mut Authenticator, of: &Registered) -> Result<Asserted, Refusal> {
    let json = authenticator.assert(&challenge()).to_string();
    verify_assertion(&json, of, &expected())
}

fn verify_assertion(
    json: &str,
    of: &Registered,
    expected: &Expected<'_>,
) -> Result<Asserted, Refusal> {
    let credential = Credential {
        public_key: &of.public_key,
        sign_count: of.sign_count,
        is_backup_eligible: of.is_backup_eligible,
    };
    assertion::verify(&AuthenticationResponse::parse(json.as_bytes())?, &credential, expected)
}

#[test]
fn each_kind_of_key_registers_and_signs_in() {
    let all = [authenticator(), Authenticator::p256().unwrap(), Authenticator::rsa().unwrap()];
    let mut algorithms = Vec::new();
    for mut authenticator in all {
        for attestation in [Attestation::None, Attestation::SelfSigned] {
            authenticator.attestation = attestation;
            let registered = register(&authenticator).unwrap();
            assert_eq!(registered.id, authenticator.id);
            assert_eq!(registered.public_key, authenticator.public_key());
            assert!(registered.is_user_verified && registered.is_backed_up);
            let asserted = assert_with(&mut authenticator, &registered).unwrap();
            assert!(asserted.is_user_verified && asserted.is_backed_up);
        }
        algorithms.push(PublicKey::parse(&authenticator.public_key()).unwrap().algorithm());
        // another key has not signed this
        let mut other = Authenticator::ed25519([4; 32]).unwrap();
        let registered = register(&authenticator).unwrap();
        assert_eq!(assert_with(&mut other, &registered), Err(Refusal::Signature));
    }
    algorithms.sort_unstable_by_key(|algorithm| std::cmp::Reverse(*algorithm));
    assert_eq!(algorithms, ALGORITHMS);
}

/// The steps of 7.1 and 7.2 that both ceremonies have.
#[test]
fn what_is_not_as_expected_is_refused_by_name() {
    type Change = fn(&mut Authenticator);
    let table: [(Change, Refusal); 10] = [
        (|a| a.origin = "https://evil.example".to_owned(), Refusal::Origin),
        (|a| a.origin = "http://example.com".to_owned(), Refusal::Origin),
        (|a| drop(a.more_client_data.insert("crossOrigin".into(), true.into())), Refusal::Origin),
        (
            |a| drop(a.more_client_data.insert("topOrigin".into(), "https://evil.example".into())),
            Refusal::Origin,
        ),
        (|a| drop(a.more_client_data.insert("type".into(), "payment.get".into())), Refusal::Type),
        (
            |a| drop(a.more_client_data.insert("challenge".into(), base64url([8; 32]).into())),
            Refusal::Challenge,
        ),
        (|a| a.rp_id = "evil.example".to_owned(), Refusal::RelyingParty),
        (|a| a.flags &= !0x01, Refusal::UserPresence),
        (|a| a.flags &= !0x04, Refusal::UserVerification),
        (|a| a.flags &= !0x08, Refusal::Backup),
    ];
    let registered = register(&authenticator()).unwrap();
    for (change, refusal) in table {
        let mut changed = authenticator();
        change(&mut changed);
        assert_eq!(register(&changed), Err(refusal));
        assert_eq!(assert_with(&mut changed, &registered), Err(refusal));
    }
    let mut below = authenticator();
    below.origin = "https://login.example.com:8443".to_owned();
    register(&below).unwrap();
    // nobody takes the answer to one ceremony for one to the other
    let json = authenticator().register(&challenge()).to_string();
    assert!(AuthenticationResponse::parse(json.as_bytes()).is_err());
    // an empty challenge is none
    let nothing = Expected { challenge: &[], ..expected() };
    let json = authenticator().register("").to_string();
    let response = RegistrationResponse::parse(json.as_bytes()).unwrap();
    assert_eq!(registration::verify(&response, &nothing), Err(Refusal::Challenge));
}

#[test]
fn a_user_is_verified_where_that_is_asked_for() {
    let mut present = authenticator();
    present.flags &= !0x04;
    let relaxed = Expected { user_verification: false, ..expected() };
    let registered = register_as(&present, &relaxed).unwrap();
    assert!(!registered.is_user_verified);
    let json = present.assert(&challenge()).to_string();
    assert!(!verify_assertion(&json, &registered, &relaxed).unwrap().is_user_verified);
    assert_eq!(verify_assertion(&json, &registered, &expected()), Err(Refusal::UserVerification));
}

#[test]
fn a_counter_goes_up_or_stays_at_zero() {
    let mut counting = authenticator();
    counting.sign_count = 7;
    let mut registered = register(&counting).unwrap();
    assert_eq!(registered.sign_count, 7);
    let asserted = assert_with(&mut counting, &registered).unwrap();
    assert_eq!(asserted.sign_count, 8);
    registered.sign_count = 8;
    // the copy of the authenticator is one behind
    counting.sign_count = 7;
    assert_eq!(assert_with(&mut counting, &registered), Err(Refusal::Counter));
    counting.sign_count = 0;
    assert_eq!(assert_with(&mut counting, &registered), Err(Refusal::Counter));
    counting.sign_count = u32::MAX - 1;
    assert_eq!(assert_with(&mut counting, &registered).unwrap().sign_count, u32::MAX);
}

#[test]
fn backup_eligibility_never_changes() {
    let mut synced = authenticator();
    let registered = register(&synced).unwrap();
    synced.flags &= !0x18;
    assert_eq!(assert_with(&mut synced, &registered), Err(Refusal::Backup));
    let bound = register(&synced).unwrap();
    assert!(!bound.is_backup_eligible);
    synced.flags |= 0x08;
    assert_eq!(assert_with(&mut synced, &bound), Err(Refusal::Backup));
}

#[test]
fn an_attestation_that_cannot_be_checked_is_refused() {
    let mut authenticator = authenticator();
    for attestation in [
        Attestation::Certificate,
        Attestation::Other("fido-u2f"),
        Attestation::Other("tpm"),
        Attestation::Other("android-key"),
        Attestation::Other("apple"),
        Attestation::Other("None"),
    ] {
        authenticator.attestation = attestation;
        assert_eq!(register(&authenticator), Err(Refusal::Attestation), "{attestation:?}");
    }
    // one's own signature is looked at
    authenticator.attestation = Attestation::SelfSigned;
    let mut json = authenticator.register(&challenge());
    let other = Authenticator::ed25519([5; 32]).unwrap().register(&challenge());
    json["response"]["clientDataJSON"] = other["response"]["clientDataJSON"].clone();
    authenticator.origin = "https://www.example.com".to_owned();
    json["response"]["clientDataJSON"] =
        authenticator.register(&challenge())["response"]["clientDataJSON"].clone();
    let response = RegistrationResponse::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(registration::verify(&response, &expected()), Err(Refusal::Attestation));
}

#[test]
fn a_key_of_another_kind_or_none_at_all_is_refused() {
    let p256 = Authenticator::p256().unwrap().public_key();
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut key = p256.clone();
        change(&mut key);
        PublicKey::parse(&key).unwrap_err()
    };
    // ES384 by number; a key for P-384; the last coordinate changed, so that it is no point
    assert_eq!(refused(|key| key[4] = 0x27), Refusal::Algorithm);
    assert_eq!(refused(|key| key[6] = 0x02), Refusal::Algorithm);
    assert_eq!(refused(|key| *key.last_mut().unwrap() ^= 1), Refusal::Algorithm);
    assert!(matches!(refused(|key| key.truncate(key.len() - 1)), Refusal::Malformed(_)));
    assert!(matches!(refused(|key| key.push(0)), Refusal::Malformed(_)));
    // all coordinates 0; a compressed point
    let point =
        |x: &[u8], y: &[u8]| [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21][..], x, &[0x22], y].concat();
    let zero = byte_string(&[0; 32]);
    assert_eq!(PublicKey::parse(&point(&zero, &zero)), Err(Refusal::Algorithm));
    assert!(PublicKey::parse(&point(&zero, &[0xf5])).is_err());
    // RSA that is too short, too long, even, or encrypts nothing
    let rsa = |n: &[u8], e: &[u8]| {
        let head = [0xa4, 1, 3, 3, 0x39, 1, 0, 0x20];
        PublicKey::parse(&[&head[..], &byte_string(n), &[0x21], &byte_string(e)].concat())
            .map(|_| ())
    };
    let modulus = [0xff; 256];
    rsa(&modulus, &[1, 0, 1]).unwrap();
    for (n, e) in [
        (&[0xff; 128][..], &[1, 0, 1][..]),
        (&[0xff; 513], &[1, 0, 1]),
        (&[0xfe; 256], &[1, 0, 1]),
        (&modulus, &[1]),
        (&modulus, &[2]),
        (&modulus, &[]),
        (&modulus, &[0, 3]),
        (&modulus, &[1, 0, 0, 0, 1]),
    ] {
        assert_eq!(rsa(n, e), Err(Refusal::Algorithm), "{} {e:?}", n.len());
    }
}

#[test]
fn what_comes_twice_or_after_the_end_is_refused() {
    let json = authenticator().register(&challenge());
    let object = json["response"]["attestationObject"].as_str().unwrap();
    let object = base64url_decode(object).unwrap();
    AttestationObject::parse(&object).unwrap();
    let more = [object.as_slice(), &[0]].concat();
    assert!(AttestationObject::parse(&more).is_err());
    // one member more: `fmt` again
    let mut twice = object.clone();
    twice[0] = 0xa4;
    twice.extend([0x63, b'f', b'm', b't', 0x60]);
    assert!(AttestationObject::parse(&twice).is_err());
    // a length that is not there, and one that nobody has
    let mut long = object.clone();
    long[0] = 0xbb;
    assert!(AttestationObject::parse(&long).is_err());
    assert!(AttestationObject::parse(&[0xbf, 0xff]).is_err());
    assert!(
        AttestationObject::parse(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err()
    );
}

#[test]
fn json_that_is_no_response_is_refused() {
    let good = authenticator().register(&challenge());
    let changed = |pointer: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        RegistrationResponse::parse(json.to_string().as_bytes())
    };
    for (pointer, value) in [
        ("/id", json!("")),
        ("/id", json!("AAAA")),
        ("/id", json!("not base64!")),
        ("/rawId", json!("AAAA")),
        ("/type", json!("password")),
        ("/authenticatorAttachment", json!("soldered")),
        ("/response/clientDataJSON", json!(base64url(b"{}"))),
        ("/response/clientDataJSON", json!(base64url(vec![b' '; 10_000]))),
        ("/response/clientDataJSON", json!(7)),
        ("/response/attestationObject", Value::Null),
        ("/response/transports", json!(["x".repeat(33)])),
        ("/response/transports", json!(vec!["usb"; 9])),
        ("/response", json!([])),
    ] {
        let refused = changed(pointer, value.clone());
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{pointer} {value}");
    }
    assert!(RegistrationResponse::parse(b"null").is_err());
    assert!(RegistrationResponse::parse(&vec![b'['; 100_000]).is_err());
}

#[test]
fn extensions_are_stepped_over() {
    let mut data = crate::mac::sha256(&[b"example.com"]).to_vec();
    data.push(0x81);
    data.extend([0; 4]);
    assert!(AuthenticatorData::parse(&data).is_err());
    data.extend([0xa1, 0x61, b'x', 0x82, 0x01, 0xa1, 0x01, 0x02]);
    AuthenticatorData::parse(&data).unwrap();
    data.push(0);
    assert!(AuthenticatorData::parse(&data).is_err());
}

/// A string of bytes that is CBOR here and there.
fn almost_cbor() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop::sample::select(vec![
        0x00, 0x18, 0x1b, 0x20, 0x38, 0x40, 0x58, 0x5b, 0x5f, 0x60, 0x78, 0x7f, 0x80, 0x9b, 0x9f,
        0xa0, 0xa3, 0xbb, 0xbf, 0xc0, 0xdb, 0xf4, 0xf6, 0xf8, 0xf9, 0xfb, 0xff,
    ]);
    prop::collection::vec(prop_oneof![heads, any::<u8>()], 0..200)
}

proptest! {
    /// Whatever the bytes are: no panic, no endless loop, and never a registration.
    #[test]
    fn malformed_cbor_is_refused(bytes in almost_cbor()) {
        let _ = AttestationObject::parse(&bytes);
        let _ = AuthenticatorData::parse(&bytes);
        prop_assert!(PublicKey::parse(&bytes).is_err());
    }

    /// An attestation object with some bytes changed, cut or added is refused or says the same: none
    /// registers another key under this id without the change showing in what is answered.
    #[test]
    fn a_damaged_registration_registers_nothing_unseen(
        at in 0usize..400, byte in any::<u8>(), cut in prop::option::of(0usize..400),
    ) {
        let mut authenticator = authenticator();
        authenticator.attestation = Attestation::SelfSigned;
        let mut json = authenticator.register(&challenge());
        let object = json["response"]["attestationObject"].as_str().unwrap();
        let mut object = base64url_decode(object).unwrap();
        let at = at % object.len();
        object[at] = byte;
        if let Some(cut) = cut {
            object.truncate(cut % (object.len() + 1));
        }
        json["response"]["attestationObject"] = base64url(&object).into();
        let whole = register(&authenticator).unwrap();
        let response = RegistrationResponse::parse(json.to_string().as_bytes()).unwrap();
        // the key's own signature is over all that is answered
        if let Ok(registered) = registration::verify(&response, &expected()) {
            prop_assert_eq!(registered, whole);
        }
    }

    /// Likewise for what signs in: every byte of it is signed.
    #[test]
    fn a_damaged_assertion_signs_nobody_in(
        member in prop::sample::select(vec!["clientDataJSON", "authenticatorData", "signature"]),
        at in 0usize..400, bit in 0u8..8,
    ) {
        let mut authenticator = authenticator();
        let registered = register(&authenticator).unwrap();
        let mut json = authenticator.assert(&challenge());
        let mut bytes = base64url_decode(json["response"][member].as_str().unwrap()).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        json["response"][member] = base64url(&bytes).into();
        prop_assert!(verify_assertion(&json.to_string(), &registered, &expected()).is_err());
    }
}
