//! Data keys of AWS KMS, or of what speaks like it.
//!
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html>

use std::{sync::Arc, time::Duration};

use ::http::StatusCode;
use bytes::Bytes;
use conclave_crypto::{
    encoding,
    encryption_sdk::EncryptedDataKey,
    secret::{Key256, SecretBytes},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    Time,
    caller::SHARE,
    data_keys::{DataKey, DataKeyError, KeyRequest},
    egress::Egress,
    http::{Answer, Client, Target},
    settings::{KmsEndpoint, SettingsError, TriggerSettings, matches},
    shares::Shares,
};
use crate::{Clock, aws::Signer};

const JSON: &str = "application/x-amz-json-1.1";
const TARGET: &str = "TrentService.GenerateDataKey";
/// As the Encryption SDK calls data keys of KMS.
const PROVIDER: &str = "aws-kms";
/// A name that the KMS gives to its refusal is passed on up to so many characters.
const KIND_CHARS_MAX: usize = 128;
/// An answer has at most so many bytes: two keys and an ARN.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module. Connects when the first key is wanted.
pub(super) struct Kms {
    client: Client,
    clock: Arc<dyn Clock>,
    target: Target,
    signer: Signer,
    keys: Vec<String>,
    places: Semaphore,
    /// By pool: one whose keys are slow leaves places to all others.
    shares: Shares,
    timeout: Duration,
    tries: u32,
}

impl Kms {
    /// Within the time, and as often, as functions are called.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(
        endpoint: KmsEndpoint,
        settings: &TriggerSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let egress = Egress::new(settings.networks.clone());
        let concurrency = settings.concurrency as usize;
        Ok(Self {
            client: Client::new(egress, settings.ca.as_deref(), ANSWER_BYTES_MAX)?,
            clock,
            target: Target::parse(endpoint.url.trim_end_matches('/'), settings.allows_plain_http)?,
            signer: Signer {
                access_key_id: endpoint.access_key_id,
                secret_access_key: endpoint.secret_access_key,
                region: endpoint.region,
                service: "kms",
            },
            keys: endpoint.keys,
            places: Semaphore::new(concurrency),
            shares: Shares::new(concurrency.div_ceil(SHARE)),
            timeout: settings.timeout,
            tries: settings.tries,
        })
    }

    /// A data key.
    ///
    /// # Errors
    /// See [`DataKeyError`].
    pub async fn generate(&self, request: KeyRequest<'_>) -> Result<DataKey, DataKeyError> {
        let KeyRequest { key, context, pool, time } = request;
        if !self.keys.iter().any(|pattern| matches(pattern, key)) {
            return Err(DataKeyError::NotConfigured);
        }
        let request = json!({ "KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context });
        let share = self.shares.take(pool, time.patience()).await;
        let _share = share.ok_or(DataKeyError::Overloaded)?;
        let request = request.to_string();
        let tried = tokio::time::timeout_at(time.until, self.tried(&request, time)).await;
        tried.unwrap_or(Err(DataKeyError::TimedOut))
    }

    async fn tried(&self, request: &str, time: Time) -> Result<DataKey, DataKeyError> {
        let (mut pause, mut left) = (PAUSE, self.tries);
        loop {
            left -= 1;
            let patience = self.timeout.max(time.patience());
            let place = tokio::time::timeout(patience, self.places.acquire()).await;
            let Ok(Ok(place)) = place else { return Err(DataKeyError::Overloaded) };
            let answer = tokio::time::timeout(self.timeout, self.once(request)).await;
            drop(place);
            let error = match answer {
                Ok(Ok(answer)) => return data_key(&answer.body),
                Ok(Err(error @ DataKeyError::Unreachable(_))) => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => DataKeyError::TimedOut,
            };
            if left == 0 {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn once(&self, request: &str) -> Result<Answer, DataKeyError> {
        let target = &self.target;
        let extra = [("x-amz-target", TARGET)];
        let signed = self.signer.sign_with(
            &target.authority,
            &target.path,
            JSON,
            &extra,
            request,
            self.clock.now_ms(),
        );
        let headers = [
            ("content-type", JSON.to_owned()),
            ("x-amz-date", signed.date),
            ("x-amz-target", TARGET.to_owned()),
            ("authorization", signed.authorization),
        ];
        let body = Bytes::copy_from_slice(request.as_bytes());
        let answer = self.client.post(target, &target.path, &headers, body).await?.whole().await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(refused(answer.status, &answer.body))
    }
}

fn refused(status: StatusCode, body: &[u8]) -> DataKeyError {
    let kind = kind(body);
    let is_throttled = kind.as_deref() == Some("ThrottlingException");
    if status == StatusCode::TOO_MANY_REQUESTS || is_throttled {
        return DataKeyError::Unreachable("it is throttled");
    }
    if status.is_server_error() {
        return DataKeyError::Unreachable("it answers with an error");
    }
    DataKeyError::Refused(kind.unwrap_or_else(|| format!("HTTP {}", status.as_u16())))
}

/// `__type`, which can have a name space before it.
fn kind(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let kind = body.get("__type")?.as_str()?;
    let kind = kind.rsplit('#').next().unwrap_or_default();
    let is_name = |kind: &str| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name(kind).then(|| kind.chars().take(KIND_CHARS_MAX).collect())
}

fn data_key(body: &[u8]) -> Result<DataKey, DataKeyError> {
    parse(body).ok_or(DataKeyError::NoKey)
}

fn parse(body: &[u8]) -> Option<DataKey> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let plaintext = SecretBytes::new(encoding::base64_decode(text("Plaintext")?)?);
    let plaintext = Key256::new(plaintext.expose().as_slice().try_into().ok()?);
    let ciphertext = encoding::base64_decode(text("CiphertextBlob")?)?;
    // an alias leads to a key, and readers are told which
    let arn = text("KeyId")?;
    if ciphertext.is_empty() || !arn.starts_with("arn:") {
        return None;
    }
    let provider_info = arn.as_bytes().to_vec();
    let encrypted =
        EncryptedDataKey { provider_id: PROVIDER.to_owned(), provider_info, ciphertext };
    Some(DataKey { plaintext, encrypted })
}
