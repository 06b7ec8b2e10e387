//! The transit engine of HashiCorp Vault, which OpenBao has too: the key-encryption key never leaves it.
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit>
//!
//! The key has to be of a type that takes associated data, such as `aes256-gcm96`: what is wrapped is bound to its place.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use conclave_crypto::{
    encoding,
    entropy::Entropy,
    seal::{KekError, KekProvider, WrappedByKek},
    secret::{Key256, SecretString},
};
use conclave_outbound::json_client::Client;
use http::{Method, StatusCode};
use serde_json::{Value, json};

const NAME_BYTES_MAX: usize = 128;

/// Where the token is.
pub enum Token {
    /// Read again for each request: agents write it anew.
    File(PathBuf),
    /// Given once.
    Value(SecretString),
}

/// A key of a transit engine.
pub struct Vault {
    client: Client,
    mount: String,
    key: String,
    namespace: Option<String>,
    token: Token,
}

impl Vault {
    /// Connects when it is asked.
    pub fn new(
        client: Client,
        mount: &str,
        key: &str,
        namespace: Option<String>,
        token: Token,
    ) -> Result<Self> {
        for (what, name) in [("mount", mount), ("key", key)] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            ensure!(
                !name.is_empty()
                    && name.len() <= NAME_BYTES_MAX
                    && name.bytes().all(plain)
                    && !name.contains(".."),
                "the {what} has to be a name of letters, digits, '-', '_' and '.'"
            );
        }
        let mount = mount.trim_matches('/').to_owned();
        Ok(Self { client, mount, key: key.to_owned(), namespace, token })
    }

    async fn ask(
        &self,
        method: Method,
        operation: &str,
        body: Option<&Value>,
    ) -> Result<Value, KekError> {
        let unavailable = |why: String| KekError::Unavailable(format!("Vault: {why}"));
        let token = match &self.token {
            Token::Value(token) => token.clone(),
            Token::File(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()));
                SecretString::new(text.map_err(|error| unavailable(format!("{error:#}")))?)
            }
        };
        let mut headers =
            vec![("x-vault-token", token.expose().trim()), ("x-vault-request", "true")];
        if let Some(namespace) = &self.namespace {
            headers.push(("x-vault-namespace", namespace));
        }
        let path = format!("/v1/{}/{operation}/{}", self.mount, self.key);
        let answer = self.client.send(method, &path, &headers, body).await;
        let (status, answer) = answer.map_err(|error| unavailable(error.to_string()))?;
        if status.is_success() {
            return Ok(answer["data"].clone());
        }
        // what it says can name the key and the policy, never what was sent
        let errors = answer["errors"].as_array().into_iter().flatten();
        let said: Vec<&str> = errors.filter_map(Value::as_str).take(3).collect();
        let said: String = said.join("; ").chars().take(300).collect();
        if status == StatusCode::BAD_REQUEST && operation == "decrypt" {
            return Err(
                match said.contains("authentication failed") || said.contains("invalid ciphertext")
                {
                    true => KekError::NotAuthentic,
                    false => unavailable(format!("{status}: {said}")),
                },
            );
        }
        Err(unavailable(format!("{status}: {said}")))
    }

    fn id(&self, version: &str) -> String {
        format!("vault:{}/{}:{version}", self.mount, self.key)
    }
}

/// `vault:v3:...`: which version of the key has wrapped.
fn version(ciphertext: &str) -> Option<&str> {
    let (version, _) = ciphertext.strip_prefix("vault:")?.split_once(':')?;
    let digits = version.strip_prefix('v')?;
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(version)
}

fn associated(scope: &[&[u8]]) -> String {
    // each part with its length, so that none can slide into the next
    let mut framed = Vec::new();
    for part in scope {
        framed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        framed.extend_from_slice(part);
    }
    encoding::base64(framed)
}

fn odd(what: &str) -> KekError {
    KekError::Unavailable(format!("Vault: the answer has no {what}"))
}

#[async_trait]
impl KekProvider for Vault {
    async fn status(&self) -> Result<String, KekError> {
        let data = self.ask(Method::GET, "keys", None).await?;
        let latest = data["latest_version"].as_u64().ok_or_else(|| odd("latest_version"))?;
        Ok(self.id(&format!("v{latest}")))
    }

    async fn encrypt(
        &self,
        scope: &[&[u8]],
        key: &Key256,
        _entropy: &dyn Entropy,
    ) -> Result<WrappedByKek, KekError> {
        let body = json!({
            "plaintext": encoding::base64(key.expose()),
            "associated_data": associated(scope),
        });
        let data = self.ask(Method::POST, "encrypt", Some(&body)).await?;
        let ciphertext = data["ciphertext"].as_str().ok_or_else(|| odd("ciphertext"))?;
        let version = version(ciphertext).ok_or_else(|| odd("version in its ciphertext"))?;
        Ok(WrappedByKek { key_id: self.id(version), ciphertext: ciphertext.as_bytes().to_vec() })
    }

    async fn decrypt(&self, scope: &[&[u8]], wrapped: &[u8]) -> Result<Key256, KekError> {
        let ciphertext = std::str::from_utf8(wrapped).ok().filter(|text| version(text).is_some());
        let ciphertext = ciphertext
            .ok_or_else(|| KekError::UnknownKek("which is not one of Vault's".to_owned()))?;
        let body = json!({ "ciphertext": ciphertext, "associated_data": associated(scope) });
        let data = self.ask(Method::POST, "decrypt", Some(&body)).await?;
        let plaintext = data["plaintext"].as_str().ok_or_else(|| odd("plaintext"))?;
        let bytes = encoding::base64_decode(plaintext).ok_or_else(|| odd("base64 plaintext"))?;
        let key: [u8; 32] = bytes.try_into().map_err(|_| KekError::NotAuthentic)?;
        Ok(Key256::new(key))
    }
}

#[cfg(test)]
mod tests;
