//! The ways to sign in beside what they are made of: one node, one way after the other.

use std::{
    collections::VecDeque,
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use conclave_crypto::{
    encoding,
    srp::{
        self,
        client::{Challenge, Session},
    },
    totp::TotpSeed,
};
use conclave_testkit::{
    http::Connection,
    request::{self, AccessKey},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Scratch, functions,
    limits::Limits,
    load::{self, Measured, Pace, Worker},
    measure_limits, progress,
    servers::Servers,
    workload::{self, PASSWORD, SRP_PRIVATE, text},
};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:challenges";
/// Seconds of a step of TOTP, RFC 6238.
const STEP_S: u64 = 30;
const DEVICE_PASSWORD: &str = "a password that the device keeps for itself";
const DEVICE_SALT: [u8; 16] = [0x1d; 16];

/// Options of `conclave-bench flows`.
#[derive(Debug, Clone, Args)]
pub struct FlowArgs {
    /// The server's binary.
    #[arg(long, default_value = "target/release/conclave")]
    conclave: PathBuf,
    /// How long each way is measured, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections with one request under way each.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Users with a TOTP: each can sign in once in 30 seconds.
    #[arg(long, default_value_t = 800)]
    totp_users: usize,
    /// Where data are kept while it runs; on the disk that is to be measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A way to sign in, or to go on being signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// USER_PASSWORD_AUTH
    Password,
    /// USER_AUTH with the password as the preferred challenge
    ByChoice,
    /// USER_PASSWORD_AUTH and SOFTWARE_TOKEN_MFA
    Totp,
    /// USER_PASSWORD_AUTH, DEVICE_SRP_AUTH and DEVICE_PASSWORD_VERIFIER
    Device,
    /// CUSTOM_AUTH with one challenge: four calls of functions
    Custom,
    /// GetTokensFromRefreshToken of a client whose refresh tokens rotate
    Rotation,
}

const FLOWS: [Flow; 6] =
    [Flow::Password, Flow::ByChoice, Flow::Totp, Flow::Device, Flow::Custom, Flow::Rotation];

impl Flow {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::ByChoice => "password by choice",
            Self::Totp => "password, TOTP",
            Self::Device => "password, device",
            Self::Custom => "custom challenge",
            Self::Rotation => "refresh, rotation",
        }
    }

    /// What cannot be left out, in ms of processor time.
    fn parts_ms(self, limits: &Limits) -> f64 {
        let (hash, sign) = (limits.argon2.cpu_ms, 2.0 * limits.rsa_sign.cpu_ms);
        let (power, floor) = (limits.mod_exp.cpu_ms, limits.floor.cpu_ms);
        match self {
            Self::Password | Self::ByChoice => hash + sign + floor,
            Self::Totp => hash + sign + 2.0 * floor,
            Self::Device => hash + 3.0 * power + sign + 3.0 * floor,
            // a call of a function costs about what an answer does
            Self::Custom => sign + (2.0 + 4.0) * floor,
            Self::Rotation => sign + floor,
        }
    }

    /// The pool that it is tried in.
    fn pool(self, prefix: &str, arn: &str) -> Value {
        let mut pool = json!({ "PoolName": prefix });
        let more = match self {
            Self::Device => json!({ "DeviceConfiguration": {
                "ChallengeRequiredOnNewDevice": true, "DeviceOnlyRememberedOnUserPrompt": false,
            }}),
            Self::Custom => json!({ "LambdaConfig": {
                "DefineAuthChallenge": arn, "CreateAuthChallenge": arn,
                "VerifyAuthChallengeResponse": arn,
            }}),
            _ => json!({}),
        };
        if let (Some(pool), Value::Object(more)) = (pool.as_object_mut(), more) {
            pool.extend(more);
        }
        pool
    }
}

/// One who signs in in a way.
#[derive(Debug, Default)]
struct User {
    name: String,
    totp: Option<TotpSeed>,
    /// The step of the last code that was taken.
    step: u64,
    device_key: String,
    device_group: String,
    refresh_token: String,
}

/// What all callers of a way share.
struct Place {
    flow: Flow,
    authority: String,
    key: AccessKey,
    pool_id: String,
    client_id: String,
    srp: Session,
}

struct Caller {
    place: Arc<Place>,
    connection: Connection,
    /// Taken from the front, put back at the end.
    users: VecDeque<User>,
}

/// Measures all of them, and prints.
pub async fn run(args: &FlowArgs) -> Result<()> {
    ensure!((0.5..=20.0).contains(&args.seconds), "--seconds is not between 0.5 and 20");
    ensure!((1..=256).contains(&args.connections), "--connections is not between 1 and 256");
    let users = args.connections..=100_000;
    ensure!(
        users.contains(&args.totp_users),
        "--totp-users is not between --connections and 100000"
    );
    let binary = args
        .conclave
        .canonicalize()
        .with_context(|| format!("{} is not there: build it first", args.conclave.display()))?;
    let scratch = Scratch::new(&args.dir)?;
    let cores = std::thread::available_parallelism()?.get();
    let window = Duration::from_secs_f64(args.seconds);
    let limits =
        async |dir: PathBuf| measure_limits(false, window, args.connections, cores, &dir).await;
    let before = limits(scratch.sub("limits")?).await?;
    let hook = format!("{FUNCTION}=http://{}/", functions::serve().await?);
    let servers = Servers::dev(&binary, &scratch.sub("flows")?, &["--webhook", &hook]).await?;
    let mut measured = Vec::new();
    for flow in FLOWS {
        progress(flow.name())?;
        measured.push((flow, measure(args, &servers, flow, window).await?));
    }
    servers.stop().await?;
    let limits = before.mean(&limits(scratch.sub("limits")?).await?);
    print(&measured, &limits)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&as_json(&measured, &limits))?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match measured.iter().find_map(|(flow, m)| Some((flow, m.first_bad.as_ref()?))) {
        Some((flow, bad)) => Err(anyhow!("{}: {bad}", flow.name())),
        None => Ok(()),
    }
}

async fn measure(
    args: &FlowArgs,
    servers: &Servers,
    flow: Flow,
    window: Duration,
) -> Result<Measured> {
    let place = Arc::new(Place::prepare(servers, flow).await?);
    let users = if flow == Flow::Totp { args.totp_users } else { 4 * args.connections };
    let mut making = Vec::new();
    for first in 0..args.connections {
        let connection = Connection::open(&place.authority).await?;
        let caller = Caller { place: Arc::clone(&place), connection, users: VecDeque::new() };
        let numbers = (first..users).step_by(args.connections);
        making.push(tokio::spawn(caller.with_users(numbers)));
    }
    let mut callers = Vec::new();
    for caller in making {
        callers.push(caller.await??);
    }
    let mut pace = Pace { warm_up: window / 10, window };
    if flow == Flow::Totp {
        // each has used the code of this step up to prove that it has the secret
        pace.warm_up = Duration::ZERO;
        sleep(Duration::from_secs(STEP_S - request::now_s() % STEP_S)).await;
        for caller in &mut callers {
            // the server has closed the others: nothing was asked for long
            caller.connection = Connection::open(&place.authority).await?;
        }
    }
    load::run_workers(callers, &servers.pids(), pace).await
}

impl Place {
    async fn prepare(servers: &Servers, flow: Flow) -> Result<Self> {
        let authority = servers.authorities().first().context("no servers")?.clone();
        let key = servers.access_key.clone();
        let mut connection = Connection::open(&authority).await?;
        let mut place = Self {
            flow,
            authority,
            key,
            pool_id: String::new(),
            client_id: String::new(),
            srp: Session::with_private(&SRP_PRIVATE)?,
        };
        let pool = flow.pool("flows", FUNCTION);
        let pool = place.admin(&mut connection, "CreateUserPool", &pool).await?;
        place.pool_id = text(&pool, "/UserPool/Id")?;
        if flow == Flow::Totp {
            let settings = json!({
                "UserPoolId": place.pool_id, "MfaConfiguration": "OPTIONAL",
                "SoftwareTokenMfaConfiguration": { "Enabled": true },
            });
            place.admin(&mut connection, "SetUserPoolMfaConfig", &settings).await?;
        }
        let mut client = json!({
            "UserPoolId": place.pool_id, "ClientName": "flows",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_AUTH", "ALLOW_CUSTOM_AUTH"],
        });
        if let (Flow::Rotation, Some(client)) = (flow, client.as_object_mut()) {
            let rotation = json!({ "Feature": "ENABLED", "RetryGracePeriodSeconds": 0 });
            client.insert("RefreshTokenRotation".to_owned(), rotation);
        }
        let client = place.admin(&mut connection, "CreateUserPoolClient", &client).await?;
        place.client_id = text(&client, "/UserPoolClient/ClientId")?;
        Ok(place)
    }

    async fn admin(
        &self,
        connection: &mut Connection,
        operation: &str,
        body: &Value,
    ) -> Result<Value> {
        let request = request::signed(&self.authority, operation, body, &self.key);
        workload::call(connection, &request).await.with_context(|| operation.to_owned())
    }

    fn initiate(&self, flow: &str, parameters: &Value) -> Value {
        json!({ "ClientId": self.client_id, "AuthFlow": flow, "AuthParameters": parameters })
    }

    fn respond(&self, challenge: &str, session: &str, responses: &Value) -> Value {
        json!({
            "ClientId": self.client_id, "ChallengeName": challenge, "Session": session,
            "ChallengeResponses": responses,
        })
    }
}

impl Caller {
    async fn with_users(mut self, numbers: impl Iterator<Item = usize>) -> Result<Self> {
        for number in numbers {
            let user = self.make(format!("user-{number:06}")).await?;
            self.users.push_back(user);
        }
        Ok(self)
    }

    async fn ask(&mut self, operation: &str, body: &Value) -> Result<(Value, Duration)> {
        let request = request::unsigned(&self.place.authority, operation, body);
        let (answer, took) = workload::timed(&mut self.connection, &request).await?;
        Ok((answer, took))
    }

    async fn make(&mut self, name: String) -> Result<User> {
        let place = Arc::clone(&self.place);
        let body = json!({ "ClientId": place.client_id, "Username": name, "Password": PASSWORD });
        self.ask("SignUp", &body).await.context("SignUp")?;
        let body = json!({ "UserPoolId": place.pool_id, "Username": name });
        place.admin(&mut self.connection, "AdminConfirmSignUp", &body).await?;
        let mut user = User { name, ..User::default() };
        if ![Flow::Totp, Flow::Device, Flow::Rotation].contains(&place.flow) {
            return Ok(user);
        }
        let tokens = self.password(&user, None).await?.0;
        let access_token = text(&tokens, "/AuthenticationResult/AccessToken")?;
        user.refresh_token = text(&tokens, "/AuthenticationResult/RefreshToken")?;
        match place.flow {
            Flow::Totp => self.enrol(&mut user, &access_token).await?,
            Flow::Device => {
                let of = |name: &str| {
                    text(&tokens, &format!("/AuthenticationResult/NewDeviceMetadata/{name}"))
                };
                (user.device_key, user.device_group) = (of("DeviceKey")?, of("DeviceGroupKey")?);
                self.remember(&user, &access_token).await?;
            }
            _ => {}
        }
        Ok(user)
    }

    async fn enrol(&mut self, user: &mut User, access_token: &str) -> Result<()> {
        let body = json!({ "AccessToken": access_token });
        let secret = self.ask("AssociateSoftwareToken", &body).await?.0;
        let seed = TotpSeed::from_secret_code(&text(&secret, "/SecretCode")?)
            .context("SecretCode is not a secret")?;
        user.step = request::now_s() / STEP_S;
        let body = json!({ "AccessToken": access_token, "UserCode": seed.code(user.step) });
        self.ask("VerifySoftwareToken", &body).await?;
        user.totp = Some(seed);
        let body = json!({
            "AccessToken": access_token,
            "SoftwareTokenMfaSettings": { "Enabled": true, "PreferredMfa": true },
        });
        self.ask("SetUserMFAPreference", &body).await?;
        Ok(())
    }

    async fn remember(&mut self, user: &User, access_token: &str) -> Result<()> {
        let (group, key) = (&user.device_group, &user.device_key);
        let verifier = srp::compute_verifier(group, key, DEVICE_PASSWORD.as_bytes(), &DEVICE_SALT)?;
        let body = json!({
            "AccessToken": access_token, "DeviceKey": key,
            "DeviceSecretVerifierConfig": {
                "PasswordVerifier": encoding::base64(verifier.to_bytes().expose()),
                "Salt": encoding::base64(DEVICE_SALT),
            },
        });
        self.ask("ConfirmDevice", &body).await?;
        Ok(())
    }

    async fn password(
        &mut self,
        user: &User,
        device_key: Option<&str>,
    ) -> Result<(Value, Duration)> {
        let mut parameters = json!({ "USERNAME": user.name, "PASSWORD": PASSWORD });
        if let (Some(key), Some(parameters)) = (device_key, parameters.as_object_mut()) {
            parameters.insert("DEVICE_KEY".to_owned(), key.into());
        }
        let body = self.place.initiate("USER_PASSWORD_AUTH", &parameters);
        self.ask("InitiateAuth", &body).await
    }

    async fn sign_in(&mut self, user: &mut User) -> Result<(Value, Duration)> {
        let place = Arc::clone(&self.place);
        match place.flow {
            Flow::Password => self.password(user, None).await,
            Flow::ByChoice => {
                let parameters = json!({
                    "USERNAME": user.name, "PREFERRED_CHALLENGE": "PASSWORD", "PASSWORD": PASSWORD,
                });
                let body = place.initiate("USER_AUTH", &parameters);
                self.ask("InitiateAuth", &body).await
            }
            Flow::Totp => {
                let (challenge, first) = self.password(user, None).await?;
                user.step = request::now_s() / STEP_S;
                let code = user.totp.as_ref().context("no TOTP")?.code(user.step);
                let responses = json!({ "USERNAME": user.name, "SOFTWARE_TOKEN_MFA_CODE": code });
                let session = text(&challenge, "/Session")?;
                let body = place.respond("SOFTWARE_TOKEN_MFA", &session, &responses);
                let (tokens, second) = self.ask("RespondToAuthChallenge", &body).await?;
                Ok((tokens, first + second))
            }
            Flow::Device => self.by_device(&place, user).await,
            Flow::Custom => {
                let body = place.initiate("CUSTOM_AUTH", &json!({ "USERNAME": user.name }));
                let (challenge, first) = self.ask("InitiateAuth", &body).await?;
                let responses = json!({ "USERNAME": user.name, "ANSWER": "this one" });
                let session = text(&challenge, "/Session")?;
                let body = place.respond("CUSTOM_CHALLENGE", &session, &responses);
                let (tokens, second) = self.ask("RespondToAuthChallenge", &body).await?;
                Ok((tokens, first + second))
            }
            Flow::Rotation => {
                let body =
                    json!({ "ClientId": place.client_id, "RefreshToken": user.refresh_token });
                let (tokens, took) = self.ask("GetTokensFromRefreshToken", &body).await?;
                user.refresh_token = text(&tokens, "/AuthenticationResult/RefreshToken")?;
                Ok((tokens, took))
            }
        }
    }

    async fn by_device(&mut self, place: &Place, user: &User) -> Result<(Value, Duration)> {
        let key = &user.device_key;
        let (challenge, first) = self.password(user, Some(key)).await?;
        let session = text(&challenge, "/Session")?;
        let responses = json!({
            "USERNAME": user.name, "DEVICE_KEY": key, "SRP_A": place.srp.public_hex(),
        });
        let body = place.respond("DEVICE_SRP_AUTH", &session, &responses);
        let (challenge, second) = self.ask("RespondToAuthChallenge", &body).await?;
        let parameter = |name: &str| text(&challenge, &format!("/ChallengeParameters/{name}"));
        let secret_block = parameter("SECRET_BLOCK")?;
        let timestamp = srp::format_timestamp(request::now_s());
        let signature = place.srp.answer(
            &user.device_group,
            DEVICE_PASSWORD.as_bytes(),
            &Challenge {
                srp_b: &parameter("SRP_B")?,
                salt: &parameter("SALT")?,
                secret_block: &secret_block,
                user_id: key,
            },
            &timestamp,
        )?;
        let responses = json!({
            "USERNAME": user.name, "DEVICE_KEY": key, "TIMESTAMP": timestamp,
            "PASSWORD_CLAIM_SECRET_BLOCK": secret_block, "PASSWORD_CLAIM_SIGNATURE": signature,
        });
        let session = challenge.get("Session").and_then(Value::as_str).unwrap_or_default();
        let mut body = place.respond("DEVICE_PASSWORD_VERIFIER", session, &responses);
        if let (true, Some(body)) = (session.is_empty(), body.as_object_mut()) {
            body.remove("Session");
        }
        let (tokens, third) = self.ask("RespondToAuthChallenge", &body).await?;
        Ok((tokens, first + second + third))
    }
}

impl Worker for Caller {
    async fn work(&mut self) -> Result<Option<Duration>> {
        let Some(mut user) = self.users.pop_front() else { return Ok(None) };
        if self.place.flow == Flow::Totp && user.step == request::now_s() / STEP_S {
            return Ok(None);
        }
        let (tokens, took) = self.sign_in(&mut user).await?;
        text(&tokens, "/AuthenticationResult/AccessToken")?;
        self.users.push_back(user);
        Ok(Some(took))
    }
}

fn print(measured: &[(Flow, Measured)], limits: &Limits) -> Result<()> {
    let mut lines = vec![format!(
        "  {:<19} {:>8} {:>8} {:>8} {:>4} {:>8} {:>8} {:>7} {:>9} {:>6}",
        "flow",
        "per s",
        "p50 ms",
        "p99 ms",
        "bad",
        "CPU ms",
        "parts ms",
        "by CPU",
        "client ms",
        "others"
    )];
    for (flow, m) in measured {
        let parts = flow.parts_ms(limits);
        lines.push(format!(
            "  {:<19} {:>8.0} {:>8.2} {:>8.2} {:>4} {:>8.3} {:>8.3} {:>7.2} {:>9.3} {:>6.2}",
            flow.name(),
            m.per_second,
            m.p50_ms,
            m.p99_ms,
            m.bad,
            m.server_cpu_ms,
            parts,
            parts / m.server_cpu_ms,
            m.client_cpu_ms,
            m.other_cores
        ));
    }
    let mut out = stdout().lock();
    writeln!(out, "{}", lines.join("\n"))?;
    Ok(out.flush()?)
}

fn as_json(measured: &[(Flow, Measured)], limits: &Limits) -> Value {
    let row = |(flow, m): &(Flow, Measured)| {
        json!({
            "flow": flow.name(), "connections": m.connections, "count": m.count, "bad": m.bad,
            "per_second": m.per_second, "p50_ms": m.p50_ms, "p99_ms": m.p99_ms,
            "server_cpu_ms": m.server_cpu_ms, "client_cpu_ms": m.client_cpu_ms,
            "parts_ms": flow.parts_ms(limits), "by_cpu": flow.parts_ms(limits) / m.server_cpu_ms,
            "other_cores": m.other_cores,
        })
    };
    measured.iter().map(row).collect()
}
