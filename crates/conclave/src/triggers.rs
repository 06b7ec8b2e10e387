//! Where the functions of pools are: the table `triggers` of a node's configuration, and the flags of `dev`.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use conclave_crypto::{
    encoding,
    entropy::SystemEntropy,
    secret::{Key256, SecretBytes, SecretString},
};
use conclave_outbound::{
    DataKeys, Triggers as Functions,
    triggers::{
        Caller, Keyring, KmsEndpoint, LambdaEndpoint, LocalKey, TriggerSettings, Webhook as Hook,
        egress::Network,
    },
};
use serde::Deserialize;

use crate::{
    clock::SystemClock,
    config::{read_key, variable},
};

/// `[triggers]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Triggers {
    /// How long one try may take, in seconds.
    pub timeout_seconds: u64,
    /// How often a call is tried that is not answered.
    pub tries: u32,
    /// Calls under way at once, in this process.
    pub concurrency: u32,
    /// Networks that calls may go to beside the public internet, such as `10.0.0.0/8`.
    pub allow_networks: Vec<String>,
    /// Whether `http://` will do for an address of this machine.
    pub allow_plain_http: bool,
    /// Authorities of the certificates of what is called, in PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// What answers to the invoke API of AWS Lambda.
    pub lambda: Option<Lambda>,
    /// Functions that are called by HTTP alone.
    pub webhooks: Vec<Webhook>,
    /// What answers to GenerateDataKey of AWS KMS.
    pub kms: Option<Kms>,
    /// Keys of custom senders that are in files.
    pub keys: Vec<Key>,
}

impl Default for Triggers {
    fn default() -> Self {
        let settings = TriggerSettings::new();
        Self {
            timeout_seconds: settings.timeout.as_secs(),
            tries: settings.tries,
            concurrency: settings.concurrency,
            allow_networks: Vec::new(),
            allow_plain_http: false,
            ca: None,
            lambda: None,
            webhooks: Vec::new(),
            kms: None,
            keys: Vec::new(),
        }
    }
}

/// `[triggers.lambda]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lambda {
    /// Such as `https://lambda.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The region of signatures.
    pub region: String,
    /// Whose key signs.
    pub access_key_id: String,
    /// A file that holds the secret of the key.
    pub secret_access_key_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub secret_access_key_env: Option<String>,
    /// The functions that may be called with the key: ARNs, in which `*` stands for anything.
    pub functions: Vec<String>,
}

/// `[[triggers.webhooks]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The ARN by which pools name the function.
    pub arn: String,
    /// Where it is.
    pub url: String,
    /// A file that holds the secret by which calls are signed.
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub secret_env: Option<String>,
}

/// `[triggers.kms]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kms {
    /// Such as `https://kms.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The region of signatures.
    pub region: String,
    /// Whose key signs.
    pub access_key_id: String,
    /// A file that holds the secret of the key.
    pub secret_access_key_file: Option<PathBuf>,
    /// An environment variable that holds it.
    pub secret_access_key_env: Option<String>,
    /// The keys that may be used: ARNs, in which `*` stands for anything.
    pub keys: Vec<String>,
}

/// `[[triggers.keys]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The ARN by which pools name the key.
    pub arn: String,
    /// A file that holds 256 bits in base64.
    pub key_file: Option<PathBuf>,
    /// An environment variable that holds them.
    pub key_env: Option<String>,
}

impl Triggers {
    /// What can be checked without reading secrets.
    ///
    /// # Errors
    /// When something cannot be used.
    pub fn check(&self) -> Result<()> {
        self.networks()?;
        let total = self.timeout_seconds.saturating_mul(u64::from(self.tries));
        ensure!(self.timeout_seconds > 0 && self.tries > 0, "timeout_seconds and tries are not 0");
        ensure!(total <= 60, "timeout_seconds times tries is more than a minute");
        if let Some(lambda) = &self.lambda {
            ensure!(
                !lambda.functions.is_empty(),
                "lambda.functions is empty: it says which functions may be called with the key"
            );
        }
        if let Some(kms) = &self.kms {
            ensure!(
                !kms.keys.is_empty(),
                "kms.keys is empty: it says which keys of the KMS may be used"
            );
        }
        Ok(())
    }

    fn networks(&self) -> Result<Vec<Network>> {
        let parse = |text: &String| text.parse().context("allow_networks");
        self.allow_networks.iter().map(parse).collect()
    }

    /// What calls the functions, and what makes keys for those that send messages.
    ///
    /// # Errors
    /// When a secret cannot be read, or the settings cannot be used.
    pub fn open(&self, clock: &Arc<SystemClock>) -> Result<Opened> {
        let mut settings = TriggerSettings {
            timeout: Duration::from_secs(self.timeout_seconds),
            tries: self.tries,
            concurrency: self.concurrency,
            networks: self.networks()?,
            allows_plain_http: self.allow_plain_http,
            ..TriggerSettings::new()
        };
        if let Some(path) = &self.ca {
            let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            settings.ca = Some(pem);
        }
        if let Some(lambda) = &self.lambda {
            let (file, name) = (&lambda.secret_access_key_file, &lambda.secret_access_key_env);
            settings.lambda = Some(LambdaEndpoint {
                url: lambda.endpoint.clone(),
                region: lambda.region.clone(),
                access_key_id: lambda.access_key_id.clone(),
                secret_access_key: secret(file.as_ref(), name.as_deref())
                    .context("triggers.lambda takes one of secret_access_key_file and _env")?,
                functions: lambda.functions.clone(),
            });
        }
        for hook in &self.webhooks {
            settings.webhooks.push(Hook {
                arn: hook.arn.clone(),
                url: hook.url.clone(),
                secret: secret(hook.secret_file.as_ref(), hook.secret_env.as_deref())
                    .context("triggers.webhooks takes one of secret_file and secret_env")?,
            });
        }
        if let Some(kms) = &self.kms {
            let (file, name) = (&kms.secret_access_key_file, &kms.secret_access_key_env);
            settings.kms = Some(KmsEndpoint {
                url: kms.endpoint.clone(),
                region: kms.region.clone(),
                access_key_id: kms.access_key_id.clone(),
                secret_access_key: secret(file.as_ref(), name.as_deref())
                    .context("triggers.kms takes one of secret_access_key_file and _env")?,
                keys: kms.keys.clone(),
            });
        }
        for key in &self.keys {
            let text = secret(key.key_file.as_ref(), key.key_env.as_deref())
                .context("triggers.keys takes one of key_file and key_env")?;
            let text = SecretString::new(text);
            settings.keys.push(local_key(key.arn.clone(), text.expose())?);
        }
        opened(settings, clock).context("triggers cannot be used")
    }
}

/// What pools' functions take.
pub struct Opened {
    /// Calls them.
    pub functions: Arc<dyn Functions>,
    /// Makes keys for those that send messages.
    pub data_keys: Arc<dyn DataKeys>,
}

fn opened(mut settings: TriggerSettings, clock: &Arc<SystemClock>) -> Result<Opened> {
    let keyring = Keyring::new(&mut settings, clock.clone(), Arc::new(SystemEntropy))?;
    let caller = Caller::new(settings, clock.clone())?;
    Ok(Opened { functions: Arc::new(caller), data_keys: Arc::new(keyring) })
}

/// A key from its text: 32 bytes in base64.
fn local_key(arn: String, text: &str) -> Result<LocalKey> {
    let bytes = encoding::base64_decode(text.trim()).map(SecretBytes::new);
    let key = bytes.and_then(|bytes| bytes.expose().as_slice().try_into().ok());
    let key = key.with_context(|| format!("the key for {arn} is not 32 bytes in base64"))?;
    Ok(LocalKey { arn, key: Key256::new(key) })
}

fn secret(file: Option<&PathBuf>, name: Option<&str>) -> Result<String> {
    match (file, name) {
        (Some(file), None) => Ok(read_key(file)?.expose().trim_end().to_owned()),
        (None, Some(name)) => Ok(variable(name)?.expose().clone()),
        _ => bail!("there are none, or two"),
    }
}

/// Flags of `dev`: where functions and keys are.
pub struct DevFlags<'a> {
    /// `--lambda`
    pub lambda: Option<String>,
    /// `--webhook`, each `ARN=URL`
    pub webhooks: &'a [String],
    /// `--webhook-secret`
    pub webhook_secret: String,
    /// `--kms`
    pub kms: Option<String>,
    /// `--kms-key`, each `ARN=FILE`
    pub kms_keys: &'a [String],
}

/// What calls functions in `dev`: any function at `--lambda`, any key at `--kms`, and webhooks, on this machine and
/// in private networks too.
///
/// # Errors
/// When the flags cannot be used.
pub fn of_dev(flags: DevFlags<'_>, clock: &Arc<SystemClock>) -> Result<Opened> {
    const NETWORKS: [&str; 6] =
        ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
    let key = || "test".to_owned();
    let region = || "us-east-1".to_owned();
    let any = || vec!["*".to_owned()];
    let mut settings = TriggerSettings {
        networks: NETWORKS.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        allows_plain_http: true,
        lambda: flags.lambda.map(|url| LambdaEndpoint {
            url,
            region: region(),
            access_key_id: key(),
            secret_access_key: key(),
            functions: any(),
        }),
        kms: flags.kms.map(|url| KmsEndpoint {
            url,
            region: region(),
            access_key_id: key(),
            secret_access_key: key(),
            keys: any(),
        }),
        ..TriggerSettings::new()
    };
    for webhook in flags.webhooks {
        let (arn, url) = webhook
            .split_once('=')
            .with_context(|| format!("--webhook {webhook} is not of the form ARN=URL"))?;
        let (arn, url) = (arn.to_owned(), url.to_owned());
        settings.webhooks.push(Hook { arn, url, secret: flags.webhook_secret.clone() });
    }
    for flag in flags.kms_keys {
        let (arn, file) = flag
            .split_once('=')
            .with_context(|| format!("--kms-key {flag} is not of the form ARN=FILE"))?;
        let text = read_key(&PathBuf::from(file))?;
        settings.keys.push(local_key(arn.to_owned(), text.expose())?);
    }
    opened(settings, clock).context("--lambda, --webhook, --kms or --kms-key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_file_has_32_bytes() {
        let arn = || "arn:aws:kms:us-east-1:000000000000:key/codes".to_owned();
        let text = encoding::base64([7; 32]);
        let key = local_key(arn(), &format!("{text}\n")).expect("is one");
        assert_eq!(key.key.expose(), &[7; 32]);
        for text in ["", "not base64", &encoding::base64([7; 31]), &encoding::base64([7; 33])] {
            let refused = local_key(arn(), text).map(|_| ()).expect_err("is none").to_string();
            assert!(refused.ends_with("is not 32 bytes in base64") && !refused.contains("BwcH"));
        }
    }

    #[test]
    fn a_kms_says_which_keys_may_be_used() {
        let text = r#"kms = { endpoint = "https://kms.example", region = "r", access_key_id = "A", keys = [] }"#;
        let triggers: Triggers = toml::from_str(text).expect("is readable");
        assert!(triggers.check().is_err());
        let triggers: Triggers =
            toml::from_str(&text.replace("[]", "[\"*\"]")).expect("is readable");
        assert!(triggers.check().is_ok());
    }
}
