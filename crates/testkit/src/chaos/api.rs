//! Calls of the public API, and what an answer lets a client know.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    http::Connection,
    request::{self, AccessKey},
};

/// Longer than a gateway tries.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A new cluster elects leaders while the first requests arrive.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(60);

/// What a client knows after a call.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It was done.
    Ok(Value),
    /// It was not done, and will not be: an exception and its message.
    Refused {
        /// Such as `UsernameExistsException`.
        kind: String,
        /// Its words.
        message: String,
    },
    /// Nothing was sent, or too much was asked: it was not done.
    NotDone,
    /// Nobody knows.
    Unknown(String),
}

impl Reply {
    /// Whether it is this exception.
    pub fn is(&self, exception: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == exception)
    }

    /// Whether it was done.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether nobody knows.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// A text in an answer.
    pub fn text(&self, pointer: &str) -> Option<String> {
        match self {
            Self::Ok(value) => value.pointer(pointer)?.as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// In a few words, for a report. Answers may hold tokens: they are not shown.
    pub fn words(&self) -> String {
        match self {
            Self::Ok(_) => "ok".to_owned(),
            Self::Refused { kind, message } => format!("{kind}: {message}"),
            Self::NotDone => "not done".to_owned(),
            Self::Unknown(why) => format!("unknown: {why}"),
        }
    }
}

/// A pool and an app client of it.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The pool.
    pub id: String,
    /// Its app client.
    pub client_id: String,
}

/// `host:port` of each node's public port, by the node's number.
pub type Gateways = Arc<RwLock<BTreeMap<u32, String>>>;

/// A cluster as its clients see it.
#[derive(Clone)]
pub struct Api {
    gateways: Gateways,
    access_key: AccessKey,
}

impl Api {
    /// Calls go to `gateways`, by their place in this list; past its end it begins again.
    pub fn new(gateways: Gateways, access_key: AccessKey) -> Self {
        Self { gateways, access_key }
    }

    /// How many gateways there are.
    pub fn count(&self) -> usize {
        self.gateways.read().len()
    }

    /// The place of a node's gateway; one past the end where it has none.
    pub fn place(&self, node: u32) -> usize {
        let gateways = self.gateways.read();
        gateways.keys().position(|known| *known == node).unwrap_or(gateways.len())
    }

    fn authority(&self, gateway: usize) -> String {
        let gateways = self.gateways.read();
        let place = gateway % gateways.len().max(1);
        gateways.values().nth(place).cloned().unwrap_or_default()
    }

    /// An operation of an administrator.
    pub async fn signed(&self, gateway: usize, operation: &str, body: &Value) -> Reply {
        let authority = self.authority(gateway);
        let request = request::signed(&authority, operation, body, &self.access_key);
        send(&authority, &request).await
    }

    /// An operation that anybody may call.
    pub async fn unsigned(&self, gateway: usize, operation: &str, body: &Value) -> Reply {
        let authority = self.authority(gateway);
        send(&authority, &request::unsigned(&authority, operation, body)).await
    }

    /// What is published at a path; `None` when it is not, or nobody answers.
    pub async fn get(&self, gateway: usize, path: &str) -> Option<Vec<u8>> {
        let authority = self.authority(gateway);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
        let opened = timeout(CONNECT_WITHIN, Connection::open(&authority)).await;
        let mut connection = opened.ok()?.ok()?;
        let answer =
            timeout(ANSWER_WITHIN, connection.send(request.as_bytes())).await.ok()?.ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    /// Makes a pool with a client that may sign in with passwords.
    ///
    /// # Errors
    /// What the cluster says, after a time.
    pub async fn make_pool(&self, name: &str) -> Result<Pool> {
        let pool = self.insist("CreateUserPool", &json!({ "PoolName": name })).await?;
        let id = pool.text("/UserPool/Id").context("no id of a pool")?;
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let body = json!({ "UserPoolId": id, "ClientName": name, "ExplicitAuthFlows": flows });
        let client = self.insist("CreateUserPoolClient", &body).await?;
        let client_id = client.text("/UserPoolClient/ClientId").context("no id of a client")?;
        Ok(Pool { id, client_id })
    }

    async fn insist(&self, operation: &str, body: &Value) -> Result<Reply> {
        let deadline = Instant::now() + FIRST_CALL_WITHIN;
        loop {
            let reply = self.signed(0, operation, body).await;
            if reply.is_ok() {
                return Ok(reply);
            }
            if Instant::now() > deadline {
                bail!("{operation}: {}", reply.words());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// InitiateAuth with a password.
    pub async fn sign_in(&self, gateway: usize, pool: &Pool, name: &str, password: &str) -> Reply {
        let body = json!({
            "ClientId": pool.client_id, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": name, "PASSWORD": password },
        });
        self.unsigned(gateway, "InitiateAuth", &body).await
    }
}

async fn send(authority: &str, request: &[u8]) -> Reply {
    let Ok(Ok(mut connection)) = timeout(CONNECT_WITHIN, Connection::open(authority)).await else {
        return Reply::NotDone;
    };
    let answer = match timeout(ANSWER_WITHIN, connection.send(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Reply::Unknown(format!("{error:#}")),
        Err(_) => return Reply::Unknown("no answer".to_owned()),
    };
    // an operation without output answers with nothing
    let body = if answer.body.is_empty() { b"{}" } else { &answer.body[..] };
    let parsed = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => return Reply::Unknown(format!("status {}: {error}", answer.status)),
    };
    let text = |name: &str| parsed.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match answer.status {
        200 => Reply::Ok(parsed),
        400..=499 => {
            let kind = text("__type");
            let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
            let message = parsed.get("message").or_else(|| parsed.get("Message"));
            let message = message.and_then(Value::as_str).unwrap_or_default().to_owned();
            // a gateway whose clock is off refuses what is signed with the right time
            let clock = message.starts_with("Signature expired")
                || message.starts_with("Signature not yet");
            if kind == "TooManyRequestsException" || clock {
                return Reply::NotDone;
            }
            Reply::Refused { kind, message }
        }
        status => Reply::Unknown(format!("status {status} {}", text("__type"))),
    }
}
