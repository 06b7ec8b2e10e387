use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::ids;
use crate::testing::SeededEntropy;

/// One sign-in with all intermediate values, computed with pycognito 2024.5.1 on the client's side
/// and with plain integers on the server's; amazon-cognito-identity-js 6.3.21 gives the same A, k,
/// key and signature. The cases cover what padding can get wrong: odd and short numbers, high first
/// bits.
#[derive(Deserialize)]
struct Vector {
    name: String,
    pool_id: String,
    user_id: String,
    password: String,
    salt: String,
    a: String,
    b: String,
    x: String,
    v: String,
    k: String,
    srp_a: String,
    srp_b: String,
    salt_hex: String,
    u: String,
    s: String,
    key: String,
    secret_block: String,
    timestamp: String,
    signature: String,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../../testdata/srp.json")).unwrap()
    }

    fn group(&self) -> &str {
        ids::pool_name(&self.pool_id).unwrap()
    }

    fn salt(&self) -> Vec<u8> {
        hex::decode(&self.salt).unwrap()
    }

    fn verifier(&self) -> Verifier {
        compute_verifier(self.group(), &self.user_id, self.password.as_bytes(), &self.salt())
            .unwrap()
    }

    fn ephemeral(&self) -> ServerEphemeral {
        ServerEphemeral::new(&self.verifier(), &Fixed(hex::decode(&self.b).unwrap())).unwrap()
    }

    fn client_public(&self) -> ClientPublic {
        ClientPublic::parse(&self.srp_a).unwrap()
    }
}

struct Fixed(Vec<u8>);

impl Entropy for Fixed {
    fn fill(&self, buf: &mut [u8]) {
        buf.copy_from_slice(&self.0);
    }
}

fn modulus_times(factor: u8, plus: i8) -> String {
    let mut carry = i32::from(plus);
    let mut out: Vec<u8> = Vec::new();
    for byte in bignum::MODULUS.iter().rev() {
        let value = i32::from(*byte) * i32::from(factor) + carry;
        out.push(value as u8);
        carry = value >> 8;
    }
    out.push(carry as u8);
    out.reverse();
    to_hex(&out)
}

#[test]
fn the_server_computes_what_pycognito_computes() {
    let vectors = Vector::all();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let name = &vector.name;
        let (verifier, ephemeral, client) =
            (vector.verifier(), vector.ephemeral(), vector.client_public());
        let x = private_exponent(
            vector.group(),
            &vector.user_id,
            vector.password.as_bytes(),
            &vector.salt(),
        );
        assert_eq!(hex::encode(x.as_slice()), vector.x, "{name}");
        assert_eq!(hex::encode(verifier.to_bytes().expose()), vector.v, "{name}");
        assert_eq!(to_hex(multiplier().unwrap().minimal_bytes()), vector.k, "{name}");
        assert_eq!(ephemeral.public_hex(), vector.srp_b, "{name}");
        assert_eq!(salt_hex(&vector.salt()), vector.salt_hex, "{name}");
        let u = scramble(&client.0, &ephemeral.public).unwrap();
        assert_eq!(hex::encode(u), vector.u, "{name}");
        let shared = Element::from_bytes(&decode_hex(&vector.s).unwrap()).unwrap();
        assert_eq!(hex::encode(claim_key(&shared, &u).expose()), vector.key, "{name}");
        let key = server_key(&client, &ephemeral, &verifier).unwrap();
        assert_eq!(hex::encode(key.expose()), vector.key, "{name}");
        let block = encoding::base64_decode(&vector.secret_block).unwrap();
        assert!(
            check_claim(
                &key,
                vector.group(),
                &vector.user_id,
                &block,
                &vector.timestamp,
                &vector.signature
            ),
            "{name}"
        );
    }
}

#[test]
fn the_client_computes_what_pycognito_computes() {
    for vector in Vector::all() {
        let session = client::Session::with_private(&hex::decode(&vector.a).unwrap()).unwrap();
        assert_eq!(session.public_hex(), vector.srp_a);
        let challenge = client::Challenge {
            srp_b: &vector.srp_b,
            salt: &vector.salt_hex,
            secret_block: &vector.secret_block,
            user_id: &vector.user_id,
        };
        let signature = session
            .answer(vector.group(), vector.password.as_bytes(), &challenge, &vector.timestamp)
            .unwrap();
        assert_eq!(signature, vector.signature, "{}", vector.name);
    }
}

#[test]
fn a_device_verifier_made_by_pycognito_is_the_one_we_compute() {
    // from generate_hash_device("-devgrp", "us-east-1_dev")
    let password = b"UM9WHyVLi/KI6j72h0xCeJn4x8HtiCsgkjxGy3Vfrm90bOU81H+3+g==";
    let salt = encoding::base64_decode("CjpE8mKcp3UlLzqoGKqG3w==").unwrap();
    let verifier = "\
        AMYG4swlhx3KAo+4GlvepD+Vr97hZ+LwYuAVNUusOS/TWpZxY6Z4h6UX12Kfw54FYKYa7wtD008Uy9Rx\
        dNmXAyeNr4mY2PYcxAN/y4pv0ulraOlG/es3MVCsWIM+BZOYFGEF3feWdVhvQXwK2ge8YWz9QTj2ituf\
        NTvL+b5lNb19YRDSJ7HG1AbC36P3FrKAuZw3i2LsugVrYi7SBJcCiDLCengTxHklknB7Scmghgw7I95R\
        kZTiX9XN8zMBcJje74xClyxL2016kpv3oD0712ngPdHy8IcrMSTLg3juin1cc8uwH/269d2KE1LrbyfY\
        sb3gXowUUUB+9nOJZejATMpx2osGb7G//ccnxGxKZaBBcDCvH0gs976LEsG5EbCy+gEroGTRaUQBbLLz\
        BY9fmbXLrbceGWKzZ7P1lB5oH5nySdv8gU26zQK8b2D1Q4aXmW6eY6ud6WG8HUfvf8cYhCb5AwkQ1ofg\
        c47FFw5DiBWDApuWjDIYAso0yJsQgzwmLQ==";
    let given = Verifier::from_bytes(&encoding::base64_decode(verifier).unwrap()).unwrap();
    assert!(given == compute_verifier("-devgrp", "us-east-1_dev", password, &salt).unwrap());
}

#[test]
fn a_right_password_signs_in_and_a_wrong_one_does_not() {
    let entropy = SeededEntropy::new(5);
    let salt = generate_salt(&entropy);
    let verifier = compute_verifier("pool", "user", b"right", &salt).unwrap();
    let session = client::Session::new(&entropy).unwrap();
    let client = ClientPublic::parse(&session.public_hex()).unwrap();
    let ephemeral = ServerEphemeral::new(&verifier, &entropy).unwrap();
    let key = server_key(&client, &ephemeral, &verifier).unwrap();
    let (srp_b, salt) = (ephemeral.public_hex(), salt_hex(&salt));
    let challenge =
        client::Challenge { srp_b: &srp_b, salt: &salt, secret_block: "AAEC", user_id: "user" };
    let time = "Wed Sep 5 00:09:40 UTC 2018";
    let accepted = |group: &str, password: &[u8]| {
        let signature = session.answer(group, password, &challenge, time).unwrap();
        check_claim(&key, "pool", "user", &[0, 1, 2], time, &signature)
    };
    assert!(accepted("pool", b"right"));
    assert!(!accepted("pool", b"wrong"));
    assert!(!accepted("pool", b"right "));
    assert!(!accepted("pool2", b"right"));
}

#[test]
fn a_claim_holds_for_its_own_values_only() {
    let vector = &Vector::all()[0];
    let key = ClaimKey::new(hex::decode(&vector.key).unwrap().try_into().unwrap());
    let block = encoding::base64_decode(&vector.secret_block).unwrap();
    let (group, user, time, signature) =
        (vector.group(), &vector.user_id, &vector.timestamp, &vector.signature);
    assert!(check_claim(&key, group, user, &block, time, signature));
    assert!(!check_claim(&key, "other", user, &block, time, signature));
    assert!(!check_claim(&key, group, "other", &block, time, signature));
    assert!(!check_claim(&key, group, user, &block[1..], time, signature));
    assert!(!check_claim(&key, group, user, &block, "Wed Sep 5 00:09:41 UTC 2018", signature));
    assert!(!check_claim(&ClaimKey::new([0; 16]), group, user, &block, time, signature));
    for wrong in
        ["", "AAAA", "not base64!", &signature[..signature.len() - 4], &format!("{signature}AAAA")]
    {
        assert!(!check_claim(&key, group, user, &block, time, wrong), "{wrong}");
    }
}

#[test]
fn public_values_that_fix_the_key_are_refused() {
    for hex in [
        "0",
        "00",
        &"0".repeat(770),
        &modulus_times(1, 0),
        &modulus_times(2, 0),
        &modulus_times(255, 0),
    ] {
        assert_eq!(ClientPublic::parse(hex), Err(SrpError::InvalidPublicValue), "{hex}");
    }
    for hex in [&modulus_times(1, 1), &modulus_times(2, 1), &"f".repeat(768)] {
        assert_eq!(ClientPublic::parse(hex), Err(SrpError::InvalidPublicValue), "{hex}");
    }
    assert!(ClientPublic::parse(&modulus_times(1, -1)).is_ok());
}

#[test]
fn public_values_that_are_not_numbers_are_refused() {
    let long = "1".repeat(771);
    let huge = "1".repeat(10_000);
    let zeros = format!("{}abc", "0".repeat(10_000));
    for hex in ["", " ", "x", "0x12", "-1", "12 ", "12\n", "é", "１２", &long, &huge, &zeros] {
        assert_eq!(ClientPublic::parse(hex), Err(SrpError::InvalidPublicValue), "{hex}");
    }
}

#[test]
fn public_values_are_read_in_every_notation_of_clients() {
    let expected = ClientPublic::parse("abc").unwrap();
    for hex in ["ABC", "0abc", "0ABC", "00abc", "0000AbC"] {
        assert_eq!(ClientPublic::parse(hex).unwrap(), expected);
    }
    let padded = format!("00{}", modulus_times(1, -1));
    assert_eq!(padded.len(), PUBLIC_HEX_LEN_MAX);
    let restored =
        ClientPublic::from_bytes(&ClientPublic::parse(&padded).unwrap().to_bytes()).unwrap();
    assert_eq!(restored, ClientPublic::parse(&padded).unwrap());
}

#[test]
fn the_server_side_survives_being_stored() {
    let vector = &Vector::all()[0];
    let (verifier, ephemeral) = (vector.verifier(), vector.ephemeral());
    let stored = ephemeral.to_bytes();
    assert_eq!(stored.expose().len(), EPHEMERAL_LEN);
    assert_eq!(verifier.to_bytes().expose().len(), VERIFIER_LEN);
    let verifier = Verifier::from_bytes(verifier.to_bytes().expose()).unwrap();
    let restored = ServerEphemeral::from_bytes(stored.expose()).unwrap();
    let key = server_key(&vector.client_public(), &restored, &verifier).unwrap();
    assert_eq!(hex::encode(key.expose()), vector.key);
    for len in [0, 31, 32, 415] {
        assert!(ServerEphemeral::from_bytes(&stored.expose()[..len]).is_err());
    }
    assert!(ServerEphemeral::from_bytes(&[stored.expose().as_slice(), &[0]].concat()).is_err());
    assert!(ServerEphemeral::from_bytes(&[0; EPHEMERAL_LEN]).is_err());
    assert!(ServerEphemeral::from_bytes(&[0xff; EPHEMERAL_LEN]).is_err());
}

#[test]
fn verifiers_that_let_anybody_in_are_refused() {
    let modulus = bignum::MODULUS;
    for bytes in [&[][..], &[0], &[1], &[0, 1], &[0; 385], &modulus, &[0xff; 384], &[1; 385]] {
        assert_eq!(Verifier::from_bytes(bytes).err(), Some(SrpError::InvalidStoredValue));
    }
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let vector = &Vector::all()[0];
    let shown = format!("{:?} {:?}", vector.verifier(), vector.ephemeral());
    assert!(!shown.contains(&vector.b) && !shown.contains(&vector.v[..64]), "{shown}");
}

#[test]
fn generated_salts_have_one_notation() {
    let entropy = SeededEntropy::new(9);
    for _ in 0..300 {
        let salt = generate_salt(&entropy);
        assert!((0x10..0x80).contains(&salt[0]));
        assert_eq!((salt_hex(&salt).len(), pad(&salt)), (32, salt.to_vec()));
    }
}

#[test]
fn numbers_are_padded_as_by_the_clients() {
    // the examples in amazon-cognito-identity-js, AuthenticationHelper.js
    assert_eq!(pad(&[20]), [0x14]);
    assert_eq!(pad(&[56]), [0x38]);
    assert_eq!(pad(&[236]), [0x00, 0xec]);
    assert_eq!(pad(&[0, 200]), [0x00, 0xc8]);
    assert_eq!(pad(&[]), [0]);
    assert_eq!((to_hex(&[]), to_hex(&[0, 0x0a, 0xbc])), ("0".to_owned(), "abc".to_owned()));
}

#[test]
fn timestamps_of_clients_are_read() {
    for (text, expected) in [
        ("Tue Sep 25 00:09:40 UTC 2018", 1_537_834_180),
        ("Wed Sep 5 00:09:40 UTC 2018", 1_536_106_180),
        ("Thu Jan 1 00:00:00 UTC 1970", 0),
        ("Thu Feb 29 23:59:59 UTC 2024", 1_709_251_199),
        ("Fri Mar 1 00:00:00 UTC 2024", 1_709_251_200),
        ("Sat Jan 1 00:00:00 UTC 2000", 946_684_800),
        ("Tue Dec 31 23:59:59 UTC 2069", 3_155_759_999),
    ] {
        assert_eq!(parse_timestamp(text), Some(expected), "{text}");
        assert_eq!(format_timestamp(expected as u64), text);
    }
}

#[test]
fn other_timestamps_are_refused() {
    for text in [
        "",
        "Wed Sep 05 00:09:40 UTC 2018",
        "Thu Sep 5 00:09:40 UTC 2018",
        "wed Sep 5 00:09:40 UTC 2018",
        "Wed sep 5 00:09:40 UTC 2018",
        "Wed Sep  5 00:09:40 UTC 2018",
        "Wed Sep 5 0:09:40 UTC 2018",
        "Wed Sep 5 24:09:40 UTC 2018",
        "Wed Sep 5 00:60:40 UTC 2018",
        "Wed Sep 5 00:09:60 UTC 2018",
        "Wed Sep 5 00:09 UTC 2018",
        "Wed Sep 5 00:09:40:00 UTC 2018",
        "Wed Sep 5 00:09:40 GMT+1 2018",
        "Wed Sep 5 00:09:40 UTC 18",
        "Wed Sep 5 00:09:40 UTC +201",
        "Wed Sep 5 00:09:40 UTC 2018 ",
        " Wed Sep 5 00:09:40 UTC 2018",
        "Thu Feb 29 00:00:00 UTC 2023",
        "Sun Sep 31 00:00:00 UTC 2018",
        "Sun Sep 0 00:00:00 UTC 2018",
        "Wed Dec 31 23:59:59 UTC 1969",
        "2018-09-05T00:09:40Z",
    ] {
        assert_eq!(parse_timestamp(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn timestamps_are_read_as_they_were_written(seconds in 0..253_402_300_800u64) {
        prop_assert_eq!(parse_timestamp(&format_timestamp(seconds)), Some(seconds as i64));
    }

    #[test]
    fn no_text_makes_the_readers_fail(text in "\\PC{0,40}") {
        let _ = (parse_timestamp(&text), ClientPublic::parse(&text));
    }

    #[test]
    fn hexadecimal_is_read_as_it_was_written(bytes: Vec<u8>) {
        prop_assert_eq!(pad(&decode_hex(&to_hex(&bytes)).unwrap()), pad(&bytes));
    }
}
