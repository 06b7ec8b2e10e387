//! The operations under load, and the pool, users and tokens that they need.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use conclave_crypto::srp::{
    self,
    client::{Challenge, Session},
};
use conclave_testkit::{
    http::Connection,
    request::{self, AccessKey},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::servers::Servers;

/// Of every user.
pub const PASSWORD: &str = "Correct-horse-7";
/// A client's private value costs the client time in proportion to its length, and the server none:
/// a short one leaves the machine to the server.
pub const SRP_PRIVATE: [u8; 8] = [0x9b, 0x1c, 0x53, 0x07, 0xe4, 0x2a, 0x6d, 0xf1];
const SETUP_TASKS: usize = 16;
/// A new cluster elects leaders while the first requests arrive.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(20);
const EXCERPT: usize = 300;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// InitiateAuth with USER_PASSWORD_AUTH
    PasswordSignIn,
    /// InitiateAuth with USER_SRP_AUTH, and RespondToAuthChallenge: one operation, two requests
    SrpSignIn,
    /// InitiateAuth with REFRESH_TOKEN_AUTH
    Refresh,
    GetUser,
    SignUp,
    AdminCreateUser,
    /// AdminConfirmSignUp of those who signed up under load: a write without a hash
    ConfirmSignUp,
}

impl Operation {
    /// How it is called in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::PasswordSignIn => "password sign-in",
            Self::SrpSignIn => "SRP sign-in",
            Self::Refresh => "refresh",
            Self::GetUser => "GetUser",
            Self::SignUp => "SignUp",
            Self::AdminCreateUser => "AdminCreateUser",
            Self::ConfirmSignUp => "AdminConfirmSignUp",
        }
    }
}

/// A pool with users, on running servers.
pub struct Target {
    authorities: Vec<String>,
    access_key: AccessKey,
    pool_id: String,
    client_id: String,
    users: Vec<User>,
    srp: Session,
    /// Numbers for new names.
    next_new: AtomicUsize,
    /// Who signed up under load and is not confirmed yet.
    unconfirmed: Mutex<Vec<String>>,
}

#[derive(Default)]
struct User {
    name: String,
    access_token: String,
    refresh_token: String,
}

/// One who sends requests, over a connection of its own.
pub struct Caller {
    target: Arc<Target>,
    connection: Connection,
    authority: String,
    /// The users that only this caller signs in: every caller has some, so that no two writes meet.
    users: Vec<usize>,
    turn: usize,
}

impl Target {
    /// Makes a pool and `users` confirmed users, all signed in once.
    pub async fn prepare(servers: &Servers, users: usize) -> Result<Arc<Self>> {
        let mut target = Self {
            authorities: servers.authorities(),
            access_key: servers.access_key.clone(),
            pool_id: String::new(),
            client_id: String::new(),
            users: Vec::new(),
            srp: Session::with_private(&SRP_PRIVATE)?,
            next_new: AtomicUsize::new(0),
            unconfirmed: Mutex::default(),
        };
        let authority = target.authorities.first().context("no servers")?.clone();
        let mut connection = Connection::open(&authority).await?;
        let deadline = Instant::now() + FIRST_CALL_WITHIN;
        let pool = loop {
            let body = json!({ "PoolName": "bench" });
            let answer = target.admin(&mut connection, &authority, "CreateUserPool", &body).await;
            match answer {
                Ok(pool) => break pool,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        };
        target.pool_id = text(&pool, "/UserPool/Id")?;
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let body = json!({
            "UserPoolId": target.pool_id, "ClientName": "bench", "ExplicitAuthFlows": flows,
            "PreventUserExistenceErrors": "ENABLED",
        });
        let client =
            target.admin(&mut connection, &authority, "CreateUserPoolClient", &body).await?;
        target.client_id = text(&client, "/UserPoolClient/ClientId")?;
        let target = Arc::new(target);
        let tasks: Vec<_> = (0..SETUP_TASKS)
            .map(|first| tokio::spawn(Arc::clone(&target).add_users(first, users)))
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            made.extend(task.await??);
        }
        made.sort_by(|a, b| a.name.cmp(&b.name));
        let mut target = Arc::into_inner(target).context("a task still runs")?;
        target.users = made;
        Ok(Arc::new(target))
    }

    async fn add_users(self: Arc<Self>, first: usize, users: usize) -> Result<Vec<User>> {
        let authority =
            self.authorities.get(first % self.authorities.len()).context("no servers")?.clone();
        let mut connection = Connection::open(&authority).await?;
        let mut made = Vec::new();
        for number in (first..users).step_by(SETUP_TASKS) {
            let name = format!("user-{number:06}");
            let sign_up = request::unsigned(&authority, "SignUp", &self.sign_up(&name));
            call(&mut connection, &sign_up).await.context("SignUp")?;
            let body = json!({ "UserPoolId": self.pool_id, "Username": name });
            self.admin(&mut connection, &authority, "AdminConfirmSignUp", &body).await?;
            let sign_in = request::unsigned(&authority, "InitiateAuth", &self.password(&name));
            let tokens = call(&mut connection, &sign_in).await.context("InitiateAuth")?;
            made.push(User {
                name,
                access_token: text(&tokens, "/AuthenticationResult/AccessToken")?,
                refresh_token: text(&tokens, "/AuthenticationResult/RefreshToken")?,
            });
        }
        Ok(made)
    }

    async fn admin(
        &self,
        connection: &mut Connection,
        authority: &str,
        operation: &str,
        body: &Value,
    ) -> Result<Value> {
        let request = request::signed(authority, operation, body, &self.access_key);
        call(connection, &request).await.with_context(|| operation.to_owned())
    }

    /// One of `callers` callers.
    pub async fn caller(self: &Arc<Self>, number: usize, callers: usize) -> Result<Caller> {
        let authority =
            self.authorities.get(number % self.authorities.len()).context("no servers")?.clone();
        let users: Vec<usize> = (number..self.users.len()).step_by(callers).collect();
        ensure!(!users.is_empty(), "fewer users than connections: raise --users");
        let connection = Connection::open(&authority).await?;
        Ok(Caller { target: Arc::clone(self), connection, authority, users, turn: number })
    }

    /// Users who signed up under load and are not confirmed yet.
    pub fn unconfirmed(&self) -> MutexGuard<'_, Vec<String>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign_up(&self, name: &str) -> Value {
        json!({ "ClientId": self.client_id, "Username": name, "Password": PASSWORD })
    }

    fn password(&self, name: &str) -> Value {
        json!({
            "ClientId": self.client_id, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": name, "PASSWORD": PASSWORD },
        })
    }

    /// What follows the underscore of a pool's id.
    fn group_name(&self) -> &str {
        self.pool_id.split_once('_').map_or("", |(_, name)| name)
    }
}

impl Caller {
    /// Does the operation once. Returns how long its requests took, without what the client
    /// computes; `None` when there is nothing left to do it on.
    pub async fn perform(&mut self, operation: Operation) -> Result<Option<Duration>> {
        let target = Arc::clone(&self.target);
        self.turn += 1;
        let turn = self.users.get(self.turn % self.users.len()).copied().unwrap_or_default();
        let user = target.users.get(turn).context("no users")?;
        let (answered, proof, took) = match operation {
            Operation::PasswordSignIn => {
                let (answer, took) =
                    self.unsigned("InitiateAuth", &target.password(&user.name)).await?;
                (answer, "/AuthenticationResult/RefreshToken", took)
            }
            Operation::SrpSignIn => {
                let (answer, took) = self.srp_sign_in(&target, &user.name).await?;
                (answer, "/AuthenticationResult/RefreshToken", took)
            }
            Operation::Refresh => {
                let body = json!({
                    "ClientId": target.client_id, "AuthFlow": "REFRESH_TOKEN_AUTH",
                    "AuthParameters": { "REFRESH_TOKEN": user.refresh_token },
                });
                let (answer, took) = self.unsigned("InitiateAuth", &body).await?;
                (answer, "/AuthenticationResult/AccessToken", took)
            }
            Operation::GetUser => {
                let body = json!({ "AccessToken": user.access_token });
                let (answer, took) = self.unsigned("GetUser", &body).await?;
                ensure!(text(&answer, "/Username")? == user.name, "another user was answered");
                (answer, "/Username", took)
            }
            Operation::SignUp => {
                let number = target.next_new.fetch_add(1, Ordering::Relaxed);
                let name = format!("new-{number:08}");
                let (answer, took) = self.unsigned("SignUp", &target.sign_up(&name)).await?;
                target.unconfirmed().push(name);
                (answer, "/UserSub", took)
            }
            Operation::AdminCreateUser => {
                let number = target.next_new.fetch_add(1, Ordering::Relaxed);
                let body = json!({
                    "UserPoolId": target.pool_id, "Username": format!("made-{number:08}"),
                    "MessageAction": "SUPPRESS",
                });
                let (answer, took) = self.signed("AdminCreateUser", &body).await?;
                (answer, "/User/Username", took)
            }
            Operation::ConfirmSignUp => {
                let Some(name) = target.unconfirmed().pop() else { return Ok(None) };
                let body = json!({ "UserPoolId": target.pool_id, "Username": name });
                let (answer, took) = self.signed("AdminConfirmSignUp", &body).await?;
                ensure!(answer.as_object().is_some(), "not an object");
                return Ok(Some(took));
            }
        };
        text(&answered, proof)?;
        Ok(Some(took))
    }

    async fn unsigned(&mut self, operation: &str, body: &Value) -> Result<(Value, Duration)> {
        let request = request::unsigned(&self.authority, operation, body);
        self.timed(&request).await
    }

    async fn signed(&mut self, operation: &str, body: &Value) -> Result<(Value, Duration)> {
        let key = &self.target.access_key;
        let request = request::signed(&self.authority, operation, body, key);
        self.timed(&request).await
    }

    async fn timed(&mut self, request: &[u8]) -> Result<(Value, Duration)> {
        timed(&mut self.connection, request).await
    }

    async fn srp_sign_in(&mut self, target: &Target, name: &str) -> Result<(Value, Duration)> {
        let body = json!({
            "ClientId": target.client_id, "AuthFlow": "USER_SRP_AUTH",
            "AuthParameters": { "USERNAME": name, "SRP_A": target.srp.public_hex() },
        });
        let (challenge, first) = self.unsigned("InitiateAuth", &body).await?;
        let parameter = |name: &str| text(&challenge, &format!("/ChallengeParameters/{name}"));
        let user_id = parameter("USER_ID_FOR_SRP")?;
        let secret_block = parameter("SECRET_BLOCK")?;
        let timestamp = srp::format_timestamp(request::now_s());
        let signature = target.srp.answer(
            target.group_name(),
            PASSWORD.as_bytes(),
            &Challenge {
                srp_b: &parameter("SRP_B")?,
                salt: &parameter("SALT")?,
                secret_block: &secret_block,
                user_id: &user_id,
            },
            &timestamp,
        )?;
        let body = json!({
            "ClientId": target.client_id, "ChallengeName": "PASSWORD_VERIFIER",
            "ChallengeResponses": {
                "USERNAME": user_id, "TIMESTAMP": timestamp,
                "PASSWORD_CLAIM_SECRET_BLOCK": secret_block, "PASSWORD_CLAIM_SIGNATURE": signature,
            },
        });
        let (answer, second) = self.unsigned("RespondToAuthChallenge", &body).await?;
        Ok((answer, first + second))
    }
}

/// Sends a request and reads the JSON of a good answer; any other is an error.
pub async fn call(connection: &mut Connection, request: &[u8]) -> Result<Value> {
    let answer = connection.send(request).await?;
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body);
        let excerpt: String = text.chars().take(EXCERPT).collect();
        return Err(anyhow!("status {}: {excerpt}", answer.status));
    }
    serde_json::from_slice(&answer.body).context("the answer is not JSON")
}

/// The same, and how long it took.
pub async fn timed(connection: &mut Connection, request: &[u8]) -> Result<(Value, Duration)> {
    let began = Instant::now();
    let answer = call(connection, request).await?;
    Ok((answer, began.elapsed()))
}

/// A text that an answer has to have.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).with_context(|| format!("the answer has no {pointer}"))
}
