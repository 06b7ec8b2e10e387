//! `conclave dev`: everything in one process, on groups of one voter each. The data is as durable as a
//! cluster's node; what is for development is the fixed principal, the inbox, and that the key is kept
//! beside the data.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use conclave_api::ExceptionName;
use conclave_crypto::{
    encoding,
    entropy::{self, SystemEntropy},
    password::Params,
    seal::{StaticKek, generate_key, parse_key},
    secret::SecretString,
};
use conclave_identity::{
    directory::{self, NewAccessKey, NewCluster},
    signing_keys::Timing,
    world::World,
};
use conclave_outbound::{
    Messenger,
    copied::Copied,
    inbox::DevInbox,
    lanes::{Lane, Lanes},
    smtp::{Smtp, SmtpSettings},
};
use conclave_shard::{GroupHost, GroupHostOptions};

use crate::{
    certificates::Certificates,
    cli::DevArgs,
    clock::SystemClock,
    compose::Parts,
    config::{Limits, ThreatProtection, check_public_url},
    dev_certificate,
    kek::KekTiming,
    node::{self, GroupsReady},
    placement::HintPlacement,
    process::{Ports, Process},
    seed::{self, Report, Seed},
    triggers::{self, DevFlags},
};

const CLUSTER_ID: &str = "dev";
const POOL_GROUPS: u32 = 3;
const ACCOUNT_ID: &str = "000000000000";
const ACCESS_KEY: &str = "test";
const REGION: &str = "us-east-1";
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);
/// A new data directory is ready in less than a second; a machine under load takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs until it is told to stop.
pub async fn run(args: DevArgs) -> Result<()> {
    if let Some(url) = &args.public_url {
        check_public_url(url).context("--public-url")?;
    }
    if args.tls && args.public_url.as_ref().is_some_and(|url| url.starts_with("http://")) {
        bail!("--public-url begins with http://, and --tls serves https");
    }
    let seed = args.seed.as_deref().map(Seed::read).transpose()?;
    let list = ThreatProtection { compromised_passwords: args.compromised_passwords.clone() };
    let compromised_passwords = list.open().await.context("--compromised-passwords")?;
    let clock = Arc::new(SystemClock::start());
    let public = node::listen(args.listen, "public").await?;
    let listen = public.local_addr()?;
    let ports = Ports {
        public: Some(public),
        management: node::listen(args.management, "management").await?,
    };
    let endpoint = format!("{}://{listen}", if args.tls { "https" } else { "http" });
    let management = ports.management.local_addr()?;
    let kek = Arc::new(open_kek(&args.data_dir)?);
    let certificate = if args.tls {
        let now_ms = conclave_store::Clock::now_ms(&*clock);
        let url = args.public_url.as_deref();
        let opened = dev_certificate::open(&args.data_dir, listen.ip(), url, now_ms);
        Some(opened.context("the certificate for --tls cannot be made")?)
    } else {
        None
    };
    let placement = Arc::new(HintPlacement::default());
    let mut options = GroupHostOptions::alone(
        CLUSTER_ID.to_owned(),
        args.data_dir.clone(),
        POOL_GROUPS + 1,
        entropy::bytes(&SystemEntropy),
    );
    options.limits.cache_bytes = (args.cache_mebibytes as usize) << 20;
    let host = Arc::new(GroupHost::start(options, clock.clone(), placement.clone()).await?);
    let inbox = Arc::new(DevInbox::new(clock.clone()));
    let mut messenger: Arc<dyn Messenger> = inbox.clone();
    let mut deliveries = Vec::new();
    if let Some(url) = &args.smtp {
        let lanes = mail_lane(url, &args.smtp_from).context("--smtp cannot be used")?;
        deliveries = lanes.tallies();
        messenger = Arc::new(Copied { inbox: inbox.clone(), lanes });
    }
    let flags = DevFlags {
        lambda: args.lambda,
        webhooks: &args.webhooks,
        webhook_secret: args.webhook_secret,
        kms: args.kms,
        kms_keys: &args.kms_keys,
    };
    let opened = triggers::of_dev(flags, &clock)?;
    let parts = Parts {
        store: host.store(),
        placement,
        kek,
        kek_timing: KekTiming::default(),
        cluster: NewCluster { cluster_id: CLUSTER_ID.to_owned(), pool_groups: POOL_GROUPS },
        public_url: args.public_url.unwrap_or_else(|| endpoint.clone()),
        messenger,
        triggers: opened.functions,
        data_keys: opened.data_keys,
        deliveries,
        sender_domains: None,
        password_params: Params::DEFAULT,
        limits: Limits::default(),
        signing_keys: Timing::default(),
        audit: None,
        compromised_passwords,
    };
    let authority = certificate.as_ref().map(|made| made.authority.clone());
    let certificates = Certificates {
        internal: None,
        public: certificate.map(|made| made.public),
        check_interval: CERTIFICATE_CHECK,
    };
    let process = Process {
        clock,
        ports,
        certificates,
        inbox: Some(inbox),
        ready_within: READY_WITHIN,
        ready: vec![Arc::new(GroupsReady(host.clone()))],
        host: Some(host),
    };
    Box::pin(process.run(parts, async |world| {
        ensure_principal(&world).await?;
        let report = match &seed {
            Some(seed) => Some(seed::apply(&world, seed).await?),
            None => None,
        };
        Ok(welcome(&endpoint, management, authority.as_deref(), report.as_ref()))
    }))
    .await
}

fn mail_lane(url: &str, from: &str) -> Result<Lanes> {
    let settings = SmtpSettings::from_url(url, from)?;
    let (connections, timeout) = (settings.connections as usize, settings.timeout);
    let lane = Lane::start(Arc::new(Smtp::new(&settings)?), connections, timeout);
    Ok(Lanes { email: Some(lane), sms: None })
}

/// The fixed principal, unless it is there.
async fn ensure_principal(world: &World) -> Result<()> {
    let exists =
        |error: &conclave_api::ApiError| error.code == ExceptionName::InvalidParameterException;
    match directory::create_account(world, Some(ACCOUNT_ID), "dev").await {
        Err(error) if !exists(&error) => return Err(error).context("the account cannot be made"),
        _ => {}
    }
    let key = NewAccessKey {
        account_id: ACCOUNT_ID.to_owned(),
        principal: "user/dev".to_owned(),
        policy_json: String::new(),
        given: Some((ACCESS_KEY.to_owned(), SecretString::new(ACCESS_KEY.to_owned()))),
    };
    match directory::create_access_key(world, key).await {
        Err(error) if !exists(&error) => Err(error).context("the access key cannot be made"),
        _ => Ok(()),
    }
}

/// The key-encryption key, kept beside the data: good enough for data that is for development.
fn open_kek(data_dir: &Path) -> Result<StaticKek> {
    let path = data_dir.join("kek");
    fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot create {}", data_dir.display()))?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = encoding::base64(generate_key(&SystemEntropy).expose());
            // written whole under another name first: half a key would lock the data up
            let draft = data_dir.join("kek.new");
            let _ = fs::remove_file(&draft);
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            fs::File::open(data_dir)?.sync_all()?;
            text
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let key = parse_key(&text).with_context(|| format!("{} holds no key", path.display()))?;
    Ok(StaticKek::new(key, Vec::new()))
}

/// What a newcomer needs.
fn welcome(
    endpoint: &str,
    management: std::net::SocketAddr,
    authority: Option<&Path>,
    seeded: Option<&Report>,
) -> String {
    let seeded = seeded.map_or_else(String::new, |report| {
        let ids = report.ids.iter().map(|id| format!("\x20              {id}\n"));
        format!("\x20 seed         {}\n{}", report.summary(), ids.collect::<String>())
    });
    let trust = authority.map_or_else(String::new, |path| {
        let path = path.display();
        format!(
            "\x20 authority    {path}\n\
             \n\
             Trust the authority where you use the endpoint:\n\
             \n\
             \x20 export AWS_CA_BUNDLE={path}          # AWS CLI, boto3\n\
             \x20 export NODE_EXTRA_CA_CERTS={path}    # Node.js\n\
             \x20 curl --cacert {path} {endpoint}/\n"
        )
    });
    format!(
        "Conclave is ready.\n\
         \n\
         \x20 endpoint     {endpoint}\n\
         \x20 credentials  access key {ACCESS_KEY}, secret key {ACCESS_KEY}, region {REGION}\n\
         \x20 inbox        {endpoint}/_conclave/inbox\n\
         \x20 health       http://{management}/readyz\n\
         {seeded}{trust}\
         \n\
         Try it:\n\
         \n\
         \x20 AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={ACCESS_KEY} AWS_DEFAULT_REGION={REGION} \
         aws cognito-idp create-user-pool --pool-name demo --endpoint-url {endpoint}\n"
    )
}
