//! Against a small fake of the transit engine.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    routing::{get, post},
};
use conclave_crypto::entropy::SystemEntropy;

use super::*;

/// Answers as Vault does. A ciphertext is the plaintext and what it is bound to, which is good enough here.
#[derive(Clone)]
struct Transit {
    latest: Arc<AtomicU64>,
    oldest: Arc<AtomicU64>,
}

type Answer = (StatusCode, String);

fn errors(status: StatusCode, text: &str) -> Answer {
    (status, json!({ "errors": [text] }).to_string())
}

fn data(data: &Value) -> Answer {
    (StatusCode::OK, json!({ "data": data }).to_string())
}

fn may(headers: &HeaderMap) -> bool {
    headers.get("x-vault-token").is_some_and(|token| token == "s.token")
        && headers.contains_key("x-vault-request")
}

async fn keys(State(transit): State<Transit>, headers: HeaderMap) -> Answer {
    if !may(&headers) {
        return errors(StatusCode::FORBIDDEN, "permission denied");
    }
    let latest = transit.latest.load(Ordering::SeqCst);
    data(&json!({ "latest_version": latest, "type": "aes256-gcm96" }))
}

async fn encrypt(State(transit): State<Transit>, headers: HeaderMap, body: String) -> Answer {
    if !may(&headers) {
        return errors(StatusCode::FORBIDDEN, "permission denied");
    }
    let version = transit.latest.load(Ordering::SeqCst);
    let sealed = encoding::base64(body);
    data(&json!({ "ciphertext": format!("vault:v{version}:{sealed}") }))
}

async fn decrypt(State(transit): State<Transit>, headers: HeaderMap, body: String) -> Answer {
    if !may(&headers) {
        return errors(StatusCode::FORBIDDEN, "permission denied");
    }
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = body["ciphertext"].as_str().unwrap_or_default();
    let mut parts = text.splitn(3, ':');
    let (version, sealed) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
    let number: u64 = version.trim_start_matches('v').parse().unwrap_or(0);
    if number < transit.oldest.load(Ordering::SeqCst) {
        return errors(
            StatusCode::BAD_REQUEST,
            "ciphertext or signature version is disallowed by policy (too old)",
        );
    }
    let opened = encoding::base64_decode(sealed)
        .and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    match opened {
        Some(opened) if opened["associated_data"] == body["associated_data"] => {
            data(&json!({ "plaintext": opened["plaintext"] }))
        }
        _ => errors(StatusCode::BAD_REQUEST, "cipher: message authentication failed"),
    }
}

async fn serve() -> (Transit, String) {
    let transit =
        Transit { latest: Arc::new(AtomicU64::new(1)), oldest: Arc::new(AtomicU64::new(1)) };
    let router = Router::new()
        .route("/v1/secrets/transit/keys/conclave", get(keys))
        .route("/v1/secrets/transit/encrypt/conclave", post(encrypt))
        .route("/v1/secrets/transit/decrypt/conclave", post(decrypt))
        .with_state(transit.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("has one");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (transit, format!("http://{address}"))
}

fn vault(address: &str, token: &str) -> Vault {
    let client = Client::new(address, None).expect("is good");
    let token = Token::Value(SecretString::new(token.to_owned()));
    Vault::new(client, "secrets/transit", "conclave", None, token).expect("is good")
}

#[tokio::test]
async fn a_key_is_wrapped_by_the_latest_version_and_unwrapped_by_any() {
    let (transit, address) = serve().await;
    let vault = vault(&address, "s.token\n");
    assert_eq!(vault.status().await.expect("is well"), "vault:secrets/transit/conclave:v1");
    let key = Key256::new([5; 32]);
    let scope: [&[u8]; 2] = [b"cluster", b"1"];
    let first = vault.encrypt(&scope, &key, &SystemEntropy).await.expect("wraps");
    assert_eq!(first.key_id, "vault:secrets/transit/conclave:v1");
    transit.latest.store(2, Ordering::SeqCst);
    assert_eq!(vault.status().await.expect("is well"), "vault:secrets/transit/conclave:v2");
    let second = vault.encrypt(&scope, &key, &SystemEntropy).await.expect("wraps");
    assert_eq!(second.key_id, "vault:secrets/transit/conclave:v2");
    for wrapped in [&first, &second] {
        let open = vault.decrypt(&scope, &wrapped.ciphertext).await.expect("unwraps");
        assert_eq!(open.expose(), key.expose());
        let other: [&[u8]; 2] = [b"cluster", b"2"];
        let moved = vault.decrypt(&other, &wrapped.ciphertext).await;
        assert_eq!(moved.err(), Some(KekError::NotAuthentic));
    }
    transit.oldest.store(2, Ordering::SeqCst);
    let gone = vault.decrypt(&scope, &first.ciphertext).await.expect_err("is refused");
    assert!(gone.to_string().contains("too old"), "{gone}");
}

#[tokio::test]
async fn what_vault_refuses_is_told_without_the_token() {
    let (_, address) = serve().await;
    let refused = vault(&address, "s.wrong").status().await.expect_err("is refused");
    let text = refused.to_string();
    assert!(text.contains("permission denied") && !text.contains("s.wrong"), "{text}");
    let nobody = vault("http://127.0.0.1:1", "s.token").status().await.expect_err("is refused");
    assert!(matches!(nobody, KekError::Unavailable(_)));
    let foreign = vault(&address, "s.token").decrypt(&[b"a"], &[1, 2, 3]).await;
    assert!(matches!(foreign, Err(KekError::UnknownKek(_))));
}

#[test]
fn keys_leave_the_machine_encrypted_only_and_names_stay_in_the_path() {
    assert!(Client::new("https://vault.example.com:8200", None).is_ok());
    for bad in ["http://vault.example.com:8200", "vault:8200", "ftp://a", "https://a/b", ""] {
        assert!(Client::new(bad, None).is_err(), "{bad}");
    }
    for (mount, key) in
        [("transit", "../sys"), ("a b", "k"), ("", "k"), ("transit", ""), ("t?x", "k")]
    {
        let client = Client::new("http://127.0.0.1:1", None).expect("is good");
        let token = Token::Value(SecretString::new(String::new()));
        assert!(Vault::new(client, mount, key, None, token).is_err(), "{mount} {key}");
    }
}
