//! What the operator says about functions: where they are, and how much may be asked of them.

use std::time::Duration;

use super::{data_keys::LocalKey, egress::Network};

/// How functions are called. No `Debug`: it holds secrets.
pub struct TriggerSettings {
    /// How long one try may take. AWS: 5 seconds.
    pub timeout: Duration,
    /// How often a call that is not answered is tried. AWS: 3.
    pub tries: u32,
    /// Calls under way at once, in this process.
    pub concurrency: u32,
    /// An answer has at most so many bytes. AWS Lambda has 6 MB; what a pool can take of it is far less.
    pub answer_bytes_max: usize,
    /// Networks that calls may go to beside the public internet.
    pub networks: Vec<Network>,
    /// Whether `http://` will do for an address of this machine.
    pub allows_plain_http: bool,
    /// Authorities of the other ends' certificates in PEM, in place of the system's.
    pub ca: Option<Vec<u8>>,
    /// Where functions without a webhook are called.
    pub lambda: Option<LambdaEndpoint>,
    /// Functions that are called by HTTP alone.
    pub webhooks: Vec<Webhook>,
    /// Where keys that are not in files are used.
    pub kms: Option<KmsEndpoint>,
    /// Keys of custom senders that are in files.
    pub keys: Vec<LocalKey>,
}

/// What answers to the invoke API of AWS Lambda.
pub struct LambdaEndpoint {
    /// Such as `https://lambda.us-east-1.amazonaws.com`.
    pub url: String,
    /// The region of the signature.
    pub region: String,
    /// Who signs.
    pub access_key_id: String,
    /// And with what.
    pub secret_access_key: String,
    /// The functions that may be called with this key: ARNs, in which `*` stands for anything. Whoever can
    /// make a pool can name any function, and it is the operator's key that calls it.
    pub functions: Vec<String>,
}

/// What answers to GenerateDataKey of AWS KMS.
pub struct KmsEndpoint {
    /// Such as `https://kms.us-east-1.amazonaws.com`.
    pub url: String,
    /// The region of the signature.
    pub region: String,
    /// Who signs.
    pub access_key_id: String,
    /// And with what.
    pub secret_access_key: String,
    /// The keys that may be used: ARNs, in which `*` stands for anything.
    pub keys: Vec<String>,
}

/// A function that is called by a POST of its event.
pub struct Webhook {
    /// The ARN by which pools name it.
    pub arn: String,
    /// Where it is.
    pub url: String,
    /// What calls are signed with.
    pub secret: String,
}

impl TriggerSettings {
    /// AWS's limits, and no function anywhere.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            tries: 3,
            concurrency: 128,
            answer_bytes_max: 512 * 1024,
            networks: Vec::new(),
            allows_plain_http: false,
            ca: None,
            lambda: None,
            webhooks: Vec::new(),
            kms: None,
            keys: Vec::new(),
        }
    }

    /// Whether the numbers are within bounds.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(1..=10).contains(&self.tries) {
            return Err(SettingsError::Bounds("tries"));
        }
        // a commit that follows a call must not be refused for its age
        let total = self.timeout.saturating_mul(self.tries);
        if self.timeout.is_zero() || total > Duration::from_secs(60) {
            return Err(SettingsError::Bounds("the timeout of all tries together"));
        }
        if !(1..=4_096).contains(&self.concurrency) {
            return Err(SettingsError::Bounds("concurrency"));
        }
        Ok(())
    }
}

impl Default for TriggerSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A URL leads nowhere.
    #[error("{0} is no URL that can be called")]
    Url(String),
    /// A URL without TLS, where that is not allowed.
    #[error(
        "{0} is called without encryption, which is allowed on this machine alone, and only by allow_plain_http"
    )]
    Plain(String),
    /// Two webhooks for one function.
    #[error("{0} has more than one webhook")]
    Twice(String),
    /// Two files for one key.
    #[error("{0} is in more than one file")]
    KeyTwice(String),
    /// No number, or one that is out of bounds.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
    /// The authorities cannot be used.
    #[error("the authorities of certificates cannot be used")]
    Authorities,
}

/// Whether `text` is of the form of `pattern`, in which `*` stands for any characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}
