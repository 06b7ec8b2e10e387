//! Where the functions of pools are: the table `triggers` of a node's configuration, and the flags of `dev`.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use conclave_outbound::{
    Triggers as Functions,
    triggers::{Caller, LambdaEndpoint, TriggerSettings, Webhook as Hook, egress::Network},
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
        Ok(())
    }

    fn networks(&self) -> Result<Vec<Network>> {
        let parse = |text: &String| text.parse().context("allow_networks");
        self.allow_networks.iter().map(parse).collect()
    }

    /// What calls the functions.
    ///
    /// # Errors
    /// When a secret cannot be read, or the settings cannot be used.
    pub fn open(&self, clock: Arc<SystemClock>) -> Result<Arc<dyn Functions>> {
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
        let caller = Caller::new(settings, clock).context("triggers cannot be used")?;
        Ok(Arc::new(caller))
    }
}

fn secret(file: Option<&PathBuf>, name: Option<&str>) -> Result<String> {
    match (file, name) {
        (Some(file), None) => Ok(read_key(file)?.expose().trim_end().to_owned()),
        (None, Some(name)) => Ok(variable(name)?.expose().clone()),
        _ => bail!("there are none, or two"),
    }
}

/// What calls functions in `dev`: any function at `lambda`, and webhooks by `ARN=URL`, on this machine and in
/// private networks too.
///
/// # Errors
/// When the flags cannot be used.
pub fn of_dev(
    lambda: Option<String>,
    webhooks: &[String],
    secret: String,
    clock: &Arc<SystemClock>,
) -> Result<Arc<dyn Functions>> {
    const NETWORKS: [&str; 6] =
        ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
    let key = || "test".to_owned();
    let mut settings = TriggerSettings {
        networks: NETWORKS.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        allows_plain_http: true,
        lambda: lambda.map(|url| LambdaEndpoint {
            url,
            region: "us-east-1".to_owned(),
            access_key_id: key(),
            secret_access_key: key(),
            functions: vec!["*".to_owned()],
        }),
        ..TriggerSettings::new()
    };
    for webhook in webhooks {
        let (arn, url) = webhook
            .split_once('=')
            .with_context(|| format!("--webhook {webhook} is not of the form ARN=URL"))?;
        let (arn, url) = (arn.to_owned(), url.to_owned());
        settings.webhooks.push(Hook { arn, url, secret: secret.clone() });
    }
    let caller = Caller::new(settings, clock.clone()).context("--lambda or --webhook")?;
    Ok(Arc::new(caller))
}
