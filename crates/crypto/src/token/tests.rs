use std::sync::OnceLock;

use serde_json::json;

use super::*;

/// Two key pairs for all tests, as making one takes its time.
fn keys() -> &'static [(SigningKey, SecretBytes); 2] {
    static KEYS: OnceLock<[(SigningKey, SecretBytes); 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| SigningKey::generate().unwrap()))
}

fn key() -> &'static SigningKey {
    &keys()[0].0
}

fn claims() -> Value {
    json!({"sub": "alice", "token_use": "access", "iat": 1000, "exp": 2000})
}

fn set() -> KeySet {
    KeySet::new([key().jwk()]).unwrap()
}

/// A token with any header and payload, properly signed.
fn forge(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encoding::base64url(header), encoding::base64url(payload));
    sign_with(key(), &signed)
}

fn sign_with(key: &SigningKey, signed: &str) -> String {
    let mut signature = vec![0; 256];
    key.pair
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .unwrap();
    format!("{signed}.{}", encoding::base64url(signature))
}

fn header(text: &str) -> String {
    text.replace("KID", key().kid())
}

#[test]
fn a_signed_token_verifies() {
    let token = key().sign(&claims()).unwrap();
    assert_eq!(Value::Object(set().verify(&token).unwrap()), claims());
}

#[test]
fn the_header_is_that_of_cognito() {
    let token = key().sign(&claims()).unwrap();
    let first = token.split('.').next().unwrap();
    let text = String::from_utf8(encoding::base64url_decode(first).unwrap()).unwrap();
    assert_eq!(text, format!(r#"{{"kid":"{}","alg":"RS256"}}"#, key().kid()));
}

#[test]
fn the_key_set_is_that_of_cognito() {
    let jwk = key().jwk();
    assert_eq!((jwk.e.as_str(), jwk.n.len(), jwk.kid.len()), ("AQAB", 342, 44));
    let text = serde_json::to_string(&Jwks { keys: vec![jwk.clone()] }).unwrap();
    let expected = format!(
        r#"{{"keys":[{{"alg":"RS256","e":"AQAB","kid":"{}","kty":"RSA","n":"{}","use":"sig"}}]}}"#,
        jwk.kid, jwk.n
    );
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Jwks>(&text).unwrap().keys, std::slice::from_ref(jwk));
}

#[test]
fn the_key_id_is_the_standard_thumbprint() {
    // RFC 7638, section 3.1
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1\
        L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4\
        QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO\
        pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF\
        Cur-kEgU8awapJzKnqDKgw";
    assert_eq!(thumbprint(n, "AQAB"), "NzbLsXh8uDCcd+6MNwXF4W/7noWXFZAfHkxZsRGC9Xs=");
}

#[test]
fn a_stored_key_signs_as_before() {
    let (first, pkcs8) = &keys()[0];
    let restored = SigningKey::from_pkcs8(pkcs8).unwrap();
    assert_eq!(restored.jwk(), first.jwk());
    assert_eq!(restored.sign(&claims()).unwrap(), first.sign(&claims()).unwrap());
    assert_eq!(
        SigningKey::from_pkcs8(&SecretBytes::new(vec![1, 2, 3])).err(),
        Some(TokenError::Key)
    );
    let cut = SecretBytes::new(pkcs8.expose()[..pkcs8.expose().len() - 1].to_vec());
    assert_eq!(SigningKey::from_pkcs8(&cut).err(), Some(TokenError::Key));
}

#[test]
fn any_change_breaks_the_token() {
    let token = key().sign(&claims()).unwrap();
    let set = set();
    for position in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        assert!(set.verify(&String::from_utf8(altered).unwrap()).is_err(), "{position}");
    }
    for len in [0, 1, token.len() / 2, token.len() - 1] {
        assert!(set.verify(&token[..len]).is_err());
    }
    for altered in [
        format!("{token}A"),
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        token.replace('.', ""),
    ] {
        assert!(set.verify(&altered).is_err());
    }
}

#[test]
fn a_token_of_another_key_is_refused() {
    let other = &keys()[1].0;
    assert_eq!(set().verify(&other.sign(&claims()).unwrap()), Err(TokenError::UnknownKey));
    // signed by the other key under our id
    let signed = format!("{}{}", key().header, encoding::base64url(claims().to_string()));
    assert_eq!(set().verify(&sign_with(other, &signed)), Err(TokenError::Signature));
    let token = other.sign(&claims()).unwrap();
    let ours = VerifyingKey::from_jwk(key().jwk()).unwrap();
    assert_eq!(UnverifiedToken::parse(&token).unwrap().verify(&ours), Err(TokenError::UnknownKey));
}

#[test]
fn other_algorithms_are_refused() {
    let payload = claims().to_string();
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS256", "RS384", "PS256", "ES256", "rs256", "RS256 "]
    {
        let token = forge(&header(&format!(r#"{{"kid":"KID","alg":"{alg}"}}"#)), &payload);
        assert_eq!(set().verify(&token), Err(TokenError::Header), "{alg}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(set().verify(&unsigned), Err(TokenError::Header), "{alg}");
    }
    // HS256 with the public key as the secret
    let head = encoding::base64url(header(r#"{"kid":"KID","alg":"HS256"}"#));
    let signed = format!("{head}.{}", encoding::base64url(&payload));
    let tag = mac::hmac_sha256(key().jwk().n.as_bytes(), &[signed.as_bytes()]);
    assert_eq!(
        set().verify(&format!("{signed}.{}", encoding::base64url(tag))),
        Err(TokenError::Header)
    );
    // the right algorithm without a signature
    let unsigned = format!("{}{}.", key().header, encoding::base64url(&payload));
    assert_eq!(set().verify(&unsigned), Err(TokenError::Signature));
}

#[test]
fn headers_with_anything_else_are_refused() {
    let payload = claims().to_string();
    let jwk = serde_json::to_string(key().jwk()).unwrap();
    assert!(set().verify(&forge(&header(r#"{"kid":"KID","alg":"RS256"}"#), &payload)).is_ok());
    assert!(
        set()
            .verify(&forge(&header(r#"{"typ":"JWT","alg":"RS256","kid":"KID"}"#), &payload))
            .is_ok()
    );
    for head in [
        r#"{"kid":"KID","alg":"RS256","jku":"https://evil.example/jwks"}"#.to_owned(),
        r#"{"kid":"KID","alg":"RS256","x5u":"https://evil.example/cert"}"#.to_owned(),
        format!(r#"{{"kid":"KID","alg":"RS256","jwk":{jwk}}}"#),
        r#"{"kid":"KID","alg":"RS256","crit":["exp"]}"#.to_owned(),
        r#"{"kid":"KID","alg":"RS256","b64":false}"#.to_owned(),
        r#"{"kid":"KID","alg":"RS256","zip":"DEF"}"#.to_owned(),
        r#"{"kid":"KID","alg":"RS256","typ":"at+jwt"}"#.to_owned(),
        r#"{"kid":["KID"],"alg":"RS256"}"#.to_owned(),
        r#"{"kid":"KID","alg":["RS256"]}"#.to_owned(),
        r#"{"kid":"KID"}"#.to_owned(),
        r#"{"alg":"RS256"}"#.to_owned(),
        "{}".to_owned(),
    ] {
        assert_eq!(
            set().verify(&forge(&header(&head), &payload)),
            Err(TokenError::Header),
            "{head}"
        );
    }
}

#[test]
fn key_ids_are_only_ever_looked_up() {
    for kid in ["", "../../etc/passwd", "' OR 1=1 --", "https://evil.example", "\u{0}"] {
        let head = json!({"kid": kid, "alg": "RS256"}).to_string();
        assert_eq!(
            set().verify(&forge(&head, &claims().to_string())),
            Err(TokenError::UnknownKey),
            "{kid}"
        );
    }
}

#[test]
fn duplicate_members_are_refused() {
    let good = header(r#"{"kid":"KID","alg":"RS256"}"#);
    for head in [
        r#"{"kid":"KID","kid":"KID","alg":"RS256"}"#,
        r#"{"alg":"none","kid":"KID","alg":"RS256"}"#,
    ] {
        assert_eq!(set().verify(&forge(&header(head), "{}")), Err(TokenError::Malformed));
    }
    for payload in
        [r#"{"sub":"a","sub":"b"}"#, r#"{"sub":"a","s\u0075b":"b"}"#, r#"{"a":[{"b":1,"b":2}]}"#]
    {
        assert_eq!(set().verify(&forge(&good, payload)), Err(TokenError::Malformed), "{payload}");
    }
}

#[test]
fn payloads_that_are_not_objects_are_refused() {
    let good = header(r#"{"kid":"KID","alg":"RS256"}"#);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = format!(r#"{{"a":{deep}}}"#);
    for payload in
        ["", "null", "[]", "1", "\"x\"", "{", "{} ", "{}x", "{}{}", "\u{feff}{}", deep.as_str()]
    {
        let result = set().verify(&forge(&good, payload));
        // white space after the object is JSON still
        assert_eq!(result.is_ok(), payload == "{} ", "{}", &payload[..payload.len().min(20)]);
    }
}

#[test]
fn oversized_tokens_are_refused_unread() {
    let large = key().sign(&json!({"x": "y".repeat(TOKEN_LEN_MAX)})).unwrap();
    assert_eq!(set().verify(&large), Err(TokenError::Malformed));
}

#[test]
fn claims_keep_values_of_every_kind() {
    let claims = json!({
        "z": null, "b": true, "n": -5, "u": u64::MAX, "f": 1.5, "s": "é\n", "a": [1, {"k": []}],
    });
    let token = key().sign(&claims).unwrap();
    assert_eq!(Value::Object(set().verify(&token).unwrap()), claims);
}

#[test]
fn a_claim_can_be_read_before_verification_for_routing() {
    let token = key().sign(&claims()).unwrap();
    let unverified = UnverifiedToken::parse(&token).unwrap();
    assert_eq!(unverified.unverified_claim("sub"), Some(&json!("alice")));
    assert_eq!(unverified.unverified_claim("iss"), None);
    assert!(!format!("{unverified:?}").contains("alice"));
}

#[test]
fn a_key_set_takes_only_proper_keys() {
    let jwk = key().jwk();
    assert_eq!(KeySet::new([jwk, jwk]).err(), Some(TokenError::Key));
    let with = |change: fn(&mut Jwk)| {
        let mut jwk = jwk.clone();
        change(&mut jwk);
        VerifyingKey::from_jwk(&jwk).err()
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|k| k.kty = "oct".into()), Some(TokenError::Key));
    assert_eq!(with(|k| k.alg = "HS256".into()), Some(TokenError::Key));
    assert_eq!(with(|k| k.usage = "enc".into()), Some(TokenError::Key));
    assert_eq!(with(|k| k.n = encoding::base64url([0xff; 128])), Some(TokenError::Key));
    assert_eq!(with(|k| k.n = "!".into()), Some(TokenError::Key));
    assert_eq!(with(|k| k.e = String::new()), Some(TokenError::Key));
}

#[test]
fn times_are_checked_against_the_given_now() {
    let check = |claims: Value, now| check_times(claims.as_object().unwrap(), now, 5);
    let claims = json!({"iat": 1000, "exp": 2000});
    assert_eq!(check(claims.clone(), 1500), Ok(()));
    assert_eq!(check(claims.clone(), 1999), Ok(()));
    assert_eq!(check(claims.clone(), 2000), Err(TokenError::Expired));
    assert_eq!(check(claims.clone(), 995), Ok(()));
    assert_eq!(check(claims, 994), Err(TokenError::NotYetValid));
    assert_eq!(check(json!({"iat": 1000, "exp": 2000, "nbf": 1505}), 1500), Ok(()));
    assert_eq!(
        check(json!({"iat": 1000, "exp": 2000, "nbf": 1506}), 1500),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(check(json!({"iat": 1000, "exp": i64::MAX}), i64::MAX - 1), Ok(()));
    for broken in [
        json!({"iat": 1000}),
        json!({"exp": 2000}),
        json!({"iat": 1000, "exp": "2000"}),
        json!({"iat": 1000, "exp": 2000.5}),
        json!({"iat": 1000, "exp": u64::MAX}),
        json!({"iat": 1000, "exp": null}),
        json!({"iat": 1000, "exp": 2000, "nbf": "soon"}),
    ] {
        assert_eq!(check(broken.clone(), 1500), Err(TokenError::Times), "{broken}");
    }
}

#[test]
fn at_hash_is_the_standard_one() {
    // OpenID Connect Core, appendix A.3
    assert_eq!(at_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
}

#[test]
fn debug_shows_no_private_key() {
    let shown = format!("{:?}", key());
    assert_eq!(shown, format!("SigningKey {{ kid: {:?}, .. }}", key().kid()));
}
