//! Data keys, of files and of a KMS that does what the test says.

use std::sync::Arc;

use conclave_crypto::{
    encoding,
    encryption_sdk::{Context, reader},
    secret::Key256,
    testing::SeededEntropy,
};

use super::{
    data_keys::*,
    settings::{KmsEndpoint, SettingsError, TriggerSettings},
    tests::{Does, Server, answer, local, time},
};
use crate::clock::ManualClock;

const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/codes";
const ALIAS: &str = "arn:aws:kms:us-east-1:111122223333:alias/codes";

fn context() -> Context {
    [("userpool-id".to_owned(), "us-east-1_abc".to_owned())].into()
}

fn keyring(mut settings: TriggerSettings) -> Result<Keyring, SettingsError> {
    // 2015-08-30T12:36:00Z
    let clock = Arc::new(ManualClock::at(1_440_938_160_000));
    Keyring::new(&mut settings, clock, Arc::new(SeededEntropy::new(1)))
}

fn in_file(arn: &str, byte: u8) -> LocalKey {
    LocalKey { arn: arn.to_owned(), key: Key256::new([byte; 32]) }
}

fn at(server: &Server) -> KmsEndpoint {
    KmsEndpoint {
        url: format!("http://{}/", server.address),
        region: "us-east-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        keys: vec!["arn:aws:kms:us-east-1:111122223333:*".to_owned()],
    }
}

async fn made(keyring: &Keyring, key: &str) -> Result<DataKey, DataKeyError> {
    made_for(keyring, key, "us-east-1_abc").await
}

async fn made_for(keyring: &Keyring, key: &str, pool: &str) -> Result<DataKey, DataKeyError> {
    let context = context();
    keyring.generate(KeyRequest { key, context: &context, pool, time: time() }).await
}

/// A pool whose keys are slow must not keep those of others waiting.
#[tokio::test]
async fn a_pool_has_its_share_of_the_calls() {
    let server = Server::start(&[Does::Waits]).await;
    let settings = TriggerSettings { kms: Some(at(&server)), concurrency: 8, ..local() };
    let keyring = keyring(settings).expect("can be used");
    let (a, b, c, d) = tokio::join!(
        made_for(&keyring, ARN, "us-east-1_abc"),
        made_for(&keyring, ARN, "us-east-1_abc"),
        made_for(&keyring, ARN, "us-east-1_abc"),
        made_for(&keyring, ARN, "us-east-1_def"),
    );
    let errors = [a, b, c, d].map(|made| made.map(|_| ()).expect_err("there is no key"));
    let late = DataKeyError::TimedOut;
    assert_eq!(errors, [late.clone(), late.clone(), DataKeyError::Overloaded, late]);
}

async fn generate(server: &Server, key: &str) -> Result<DataKey, DataKeyError> {
    let settings = TriggerSettings { kms: Some(at(server)), ..local() };
    made(&keyring(settings).expect("can be used"), key).await
}

fn key_answer(plaintext: &[u8]) -> Does {
    let (plaintext, blob) = (encoding::base64(plaintext), encoding::base64(b"encrypted"));
    let body =
        format!(r#"{{"CiphertextBlob":"{blob}","Plaintext":"{plaintext}","KeyId":"{ARN}"}}"#);
    answer("200 OK", "", &body)
}

#[tokio::test]
async fn a_key_in_a_file_needs_no_kms() {
    let settings = TriggerSettings { keys: vec![in_file(ARN, 9)], ..local() };
    let keyring = keyring(settings).expect("can be used");
    let key = made(&keyring, ARN).await.expect("is made");
    assert_eq!(key.encrypted.provider_id, "conclave");
    assert!(key.encrypted.provider_info.starts_with(ARN.as_bytes()));
    let unwrapped = reader::unwrap(&key.encrypted, &context(), &Key256::new([9; 32]));
    assert_eq!(unwrapped, Some(key.plaintext.clone()));
    let next = made(&keyring, ARN).await.expect("is made");
    assert_ne!(next.plaintext, key.plaintext);
    let refused = made(&keyring, ALIAS).await;
    assert_eq!(refused.map(|_| ()), Err(DataKeyError::NotConfigured));
}

#[tokio::test]
async fn a_kms_is_asked_for_a_key_of_256_bits() {
    let server = Server::start(&[key_answer(&[5; 32])]).await;
    let made = generate(&server, ALIAS).await.expect("is made");
    assert_eq!(made.plaintext.expose(), &[5; 32]);
    assert_eq!(made.encrypted.provider_id, "aws-kms");
    assert_eq!(made.encrypted.provider_info, ARN.as_bytes(), "the key, and not its alias");
    assert_eq!(made.encrypted.ciphertext, b"encrypted");
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").expect("has both");
    let head = head.to_lowercase();
    assert!(head.starts_with("post / http/1.1\r\n"), "{head}");
    for line in [
        "content-type: application/x-amz-json-1.1",
        "x-amz-target: trentservice.generatedatakey",
        "x-amz-date: 20150830t123600z",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("is JSON");
    let pairs = serde_json::json!({ "userpool-id": "us-east-1_abc" });
    let asked =
        serde_json::json!({ "KeyId": ALIAS, "KeySpec": "AES_256", "EncryptionContext": pairs });
    assert_eq!(body, asked);
}

/// The signature is that of botocore for the same request.
#[test]
fn a_request_is_signed_as_botocore_signs_it() {
    let signer = crate::aws::Signer {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        region: "us-east-1".to_owned(),
        service: "kms",
    };
    let target = [("x-amz-target", "TrentService.GenerateDataKey")];
    let signed = signer.sign_with(
        "127.0.0.1:4566",
        "/",
        "application/x-amz-json-1.1",
        &target,
        "{\"a\":1}",
        1_440_938_160_000,
    );
    assert!(
        signed.authorization.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,")
    );
    assert!(signed.authorization.ends_with(BOTOCORE), "{}", signed.authorization);
}

const BOTOCORE: &str = "Signature=9c618af95eb8fbfd42d51832de01cbe61b88437aeb9fa3de3ec2a75cef649446";

#[tokio::test]
async fn what_passes_is_tried_again_and_what_is_final_is_not() {
    let throttled = answer("400 Bad Request", "", r#"{"__type":"ThrottlingException"}"#);
    let broken = answer("500 Internal Server Error", "", "");
    let server = Server::start(&[throttled, broken, key_answer(&[5; 32])]).await;
    assert!(generate(&server, ARN).await.is_ok());
    let server = Server::start(&[Does::Waits]).await;
    assert_eq!(generate(&server, ARN).await.map(|_| ()), Err(DataKeyError::TimedOut));
    assert_eq!(server.requests().len(), 3);
    let denied = r#"{"__type":"com.amazonaws.kms#AccessDeniedException","message":"no"}"#;
    for (body, kind) in [(denied, "AccessDeniedException"), ("<html>", "HTTP 400")] {
        let server = Server::start(&[answer("400 Bad Request", "", body)]).await;
        let refused = Err(DataKeyError::Refused(kind.to_owned()));
        assert_eq!(generate(&server, ARN).await.map(|_| ()), refused);
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_without_a_key_is_none() {
    let long = "x".repeat(100_000);
    for does in [
        answer("200 OK", "", "{}"),
        answer("200 OK", "", "no JSON"),
        answer("200 OK", "", &long),
        key_answer(&[5; 31]),
        answer("200 OK", "", r#"{"CiphertextBlob":"","Plaintext":"","KeyId":"x"}"#),
    ] {
        let server = Server::start(&[does]).await;
        let made = generate(&server, ARN).await.map(|_| ());
        assert_eq!(made, Err(DataKeyError::NoKey));
    }
}

#[tokio::test]
async fn s55_a_kms_is_called_only_where_the_operator_says_so() {
    let server = Server::start(&[key_answer(&[5; 32])]).await;
    let foreign = "arn:aws:kms:us-east-1:999999999999:key/codes";
    let refused = generate(&server, foreign).await.map(|_| ());
    assert_eq!(refused, Err(DataKeyError::NotConfigured));
    let settings = TriggerSettings { kms: Some(at(&server)), networks: Vec::new(), ..local() };
    let keyring_of = keyring(settings).expect("can be used");
    let refused = made(&keyring_of, ARN).await.map(|_| ());
    assert_eq!(refused, Err(DataKeyError::NotAllowed));
    assert!(server.requests().is_empty());
    let plain = TriggerSettings { kms: Some(at(&server)), ..TriggerSettings::new() };
    assert!(matches!(keyring(plain).map(|_| ()), Err(SettingsError::Plain(_))));
    let twice = TriggerSettings { keys: vec![in_file(ARN, 1), in_file(ARN, 2)], ..local() };
    assert_eq!(keyring(twice).map(|_| ()), Err(SettingsError::KeyTwice(ARN.to_owned())));
}
