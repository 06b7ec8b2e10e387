//! Keys by which functions get what only they may read: the codes that custom senders send. A pool names a key
//! by its ARN; the operator says where it is: at a KMS, or in a file.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use conclave_crypto::{
    encryption_sdk::{self, Context, EncryptedDataKey},
    entropy::{self, Entropy},
    secret::Key256,
};

use super::{
    InvokeError, Time,
    kms::Kms,
    settings::{SettingsError, TriggerSettings},
};
use crate::Clock;

/// The name space of keys that are in files. Their names are ARNs.
pub const NAME_SPACE: &str = "conclave";

/// A key for one message.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// The key.
    pub plaintext: Key256,
    /// The key as readers get it.
    pub encrypted: EncryptedDataKey,
}

/// Why there is no data key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataKeyError {
    /// The operator has not said where the key is.
    #[error("no KMS and no file is configured for the key")]
    NotConfigured,
    /// Calls may not go to the address of the KMS.
    #[error("calls may not go to the address of the KMS")]
    NotAllowed,
    /// The KMS has not answered in time, in any of the tries.
    #[error("the KMS did not answer in time")]
    TimedOut,
    /// It cannot be reached; the text names no address.
    #[error("the KMS cannot be reached: {0}")]
    Unreachable(&'static str),
    /// It refuses, by this name.
    #[error("the KMS refused: {0}")]
    Refused(String),
    /// Its answer holds no key.
    #[error("the KMS answered with something that is no key")]
    NoKey,
    /// Too many calls are under way, of this pool or of all.
    #[error("too many calls of the KMS are under way")]
    Overloaded,
}

impl From<InvokeError> for DataKeyError {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::NotConfigured => Self::NotConfigured,
            InvokeError::NotAllowed => Self::NotAllowed,
            InvokeError::TimedOut => Self::TimedOut,
            InvokeError::Unreachable(why) => Self::Unreachable(why),
            InvokeError::Refused(kind) => Self::Refused(kind),
            InvokeError::Failed(_) | InvokeError::TooLong => Self::NoKey,
            InvokeError::Overloaded => Self::Overloaded,
        }
    }
}

/// What a data key is for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    /// The ARN of the key that encrypts it.
    pub key: &'a str,
    /// What belongs to it.
    pub context: &'a Context,
    /// The pool, which has a part of the calls that may be under way.
    pub pool: &'a str,
    /// How long it may take.
    pub time: Time,
}

/// Something that makes data keys.
#[async_trait]
pub trait DataKeys: Send + Sync {
    /// A new data key.
    ///
    /// # Errors
    /// See [`DataKeyError`].
    async fn generate(&self, request: KeyRequest<'_>) -> Result<DataKey, DataKeyError>;
}

/// A key in a file.
pub struct LocalKey {
    /// The ARN by which pools name it.
    pub arn: String,
    /// The key.
    pub key: Key256,
}

/// The keys in files, and a KMS for all others.
pub struct Keyring {
    local: HashMap<String, Key256>,
    kms: Option<Kms>,
    entropy: Arc<dyn Entropy>,
}

impl Keyring {
    /// Takes `keys` and `kms` out of the settings. Signatures are made at the time of `clock`.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(
        settings: &mut TriggerSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SettingsError> {
        let mut local = HashMap::new();
        for LocalKey { arn, key } in std::mem::take(&mut settings.keys) {
            if local.insert(arn.clone(), key).is_some() {
                return Err(SettingsError::KeyTwice(arn));
            }
        }
        let endpoint = settings.kms.take();
        let kms = endpoint.map(|endpoint| Kms::new(endpoint, settings, clock)).transpose()?;
        Ok(Self { local, kms, entropy })
    }
}

#[async_trait]
impl DataKeys for Keyring {
    async fn generate(&self, request: KeyRequest<'_>) -> Result<DataKey, DataKeyError> {
        let KeyRequest { key, context, .. } = request;
        if let Some(wrapping) = self.local.get(key) {
            let plaintext = Key256::new(entropy::bytes(&*self.entropy));
            let name = (NAME_SPACE, key);
            let wrapped = encryption_sdk::wrap(&plaintext, context, name, wrapping, &*self.entropy);
            let encrypted = wrapped.map_err(|_| DataKeyError::NoKey)?;
            return Ok(DataKey { plaintext, encrypted });
        }
        let kms = self.kms.as_ref().ok_or(DataKeyError::NotConfigured)?;
        kms.generate(request).await
    }
}
