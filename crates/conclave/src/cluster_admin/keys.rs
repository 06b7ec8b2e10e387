//! `conclave keys`: the signing keys of pools. The keys that everything is sealed with are in `encryption_keys`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    args::{Connection, View},
    client::Client,
    commands::Asked,
    encryption_keys::{self, Reseal, Wait},
    json::document,
    proto::{self, ListSigningKeysResponse, SigningKey, SigningKeyState},
    table::table,
};
use crate::{
    failure::{self, Failure},
    output,
};

/// How often a rotation is looked at that is waited for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// The signing keys of a pool: which one signs, which one follows, which ones are on their way out.
    #[command(after_help = failure::CODES)]
    List(PoolView),
    /// Has the signing keys of a pool rotated. The new keys sign when they have been published for long enough.
    #[command(after_help = failure::CODES)]
    Rotate(Rotate),
    /// Revokes a signing key that may be in wrong hands: its tokens are refused at once, and its successor signs.
    ///
    /// Whoever verifies tokens without asking accepts them until it reads the JWKS again.
    #[command(after_help = failure::CODES)]
    Revoke(Revoke),
    /// What the cluster's keys are wrapped by, and how far a rotation of them is.
    #[command(after_help = failure::CODES)]
    Status(View),
    /// Has the cluster's keys wrapped by the key-encryption key that the gateways have now.
    #[command(after_help = failure::CODES)]
    RotateKek(Wait),
    /// Has the cluster's key rotated: everything is sealed again in the background, and older versions are deleted.
    #[command(after_help = failure::CODES)]
    RotateClusterKey(Wait),
    /// Has the keys of pools exchanged: what they have sealed is sealed again in the background, and older versions are deleted
    /// when nothing needs them any more.
    #[command(after_help = failure::CODES)]
    Reseal(Reseal),
}

/// Something of a pool to look at.
#[derive(Debug, Args)]
pub struct PoolView {
    #[command(flatten)]
    pub connection: Connection,
    /// The pool's id.
    #[arg(long)]
    pub pool: String,
    /// One JSON document instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What keys sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Use {
    /// ID tokens.
    Id,
    /// Access tokens.
    Access,
}

impl Use {
    fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Access => "access",
        }
    }
}

#[derive(Debug, Args)]
pub struct Rotate {
    #[command(flatten)]
    pub view: PoolView,
    /// Only the keys of one use; both by default.
    #[arg(long = "use", value_name = "USE")]
    pub token_use: Option<Use>,
    /// The version of the keys that is meant, as `keys list` shows it: of two orders for one version, one is refused.
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<u64>,
    /// Do not wait until the new keys sign.
    #[arg(long)]
    pub no_wait: bool,
    /// For how many seconds to wait.
    #[arg(long, default_value_t = 7_200, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    pub view: PoolView,
    /// The id of the key, as `keys list` shows it.
    #[arg(long)]
    pub kid: String,
    /// The version of the keys that is meant, as `keys list` shows it.
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<u64>,
}

/// Runs one command to its end.
pub async fn run(command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::List(view) => {
            let mut client = Client::new(&view.connection)?;
            show(&view, &keys(&mut client, &view.pool).await?)
        }
        KeysCommand::Rotate(rotate) => rotate_keys(&rotate).await,
        KeysCommand::Revoke(revoke) => revoke_key(&revoke).await,
        KeysCommand::Status(view) => encryption_keys::status(&view).await,
        KeysCommand::RotateKek(wait) => encryption_keys::rotate_kek(&wait).await,
        KeysCommand::RotateClusterKey(wait) => encryption_keys::rotate_cluster_key(&wait).await,
        KeysCommand::Reseal(reseal) => encryption_keys::reseal(&reseal).await,
    }
}

async fn keys(client: &mut Client, pool_id: &str) -> Result<ListSigningKeysResponse> {
    let request = proto::ListSigningKeysRequest { pool_id: pool_id.to_owned() };
    client.call(async |mut client: Asked| client.list_signing_keys(request.clone()).await).await
}

async fn rotate_keys(rotate: &Rotate) -> Result<()> {
    let pool_id = &rotate.view.pool;
    let mut client = Client::new(&rotate.view.connection)?;
    // without a version that is meant, the present one: an order that is repeated for want of an answer is one order
    let expected_version = match rotate.expect {
        Some(version) => version,
        None => keys(&mut client, pool_id).await?.version,
    };
    let request = proto::RotateSigningKeysRequest {
        pool_id: pool_id.clone(),
        r#use: rotate.token_use.map(Use::as_str).unwrap_or_default().to_owned(),
        expected_version: Some(expected_version),
    };
    client
        .call(async |mut client: Asked| client.rotate_signing_keys(request.clone()).await)
        .await?;
    if rotate.no_wait {
        return show(&rotate.view, &keys(&mut client, pool_id).await?);
    }
    let deadline = Instant::now() + Duration::from_secs(rotate.timeout);
    loop {
        let now = keys(&mut client, pool_id).await?;
        if !now.uses.iter().any(|entry| entry.rotation_asked_ms > 0) {
            return show(&rotate.view, &now);
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "the keys of {pool_id} have not been rotated within {} s. The order stands: the new keys sign when \
                 they have been published for long enough. `conclave keys list` shows when they were made.",
                rotate.timeout
            ))
            .into());
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn revoke_key(revoke: &Revoke) -> Result<()> {
    let mut client = Client::new(&revoke.view.connection)?;
    let request = proto::RevokeSigningKeyRequest {
        pool_id: revoke.view.pool.clone(),
        kid: revoke.kid.clone(),
        expected_version: revoke.expect,
    };
    client.call(async |mut client: Asked| client.revoke_signing_key(request.clone()).await).await?;
    show(&revoke.view, &keys(&mut client, &revoke.view.pool).await?)
}

fn show(view: &PoolView, keys: &ListSigningKeysResponse) -> Result<()> {
    output::line(&match view.json {
        true => document(&as_json(&view.pool, keys)),
        false => as_table(&view.pool, keys),
    })?;
    Ok(())
}

fn state(key: &SigningKey) -> &'static str {
    match key.state() {
        SigningKeyState::Pending => "PENDING",
        SigningKeyState::Active => "ACTIVE",
        SigningKeyState::Retiring => "RETIRING",
        SigningKeyState::Revoked => "REVOKED",
        SigningKeyState::Unspecified => "UNKNOWN",
    }
}

/// As they follow each other: what signs, what will, what has.
fn sorted(keys: &ListSigningKeysResponse) -> Vec<&SigningKey> {
    let mut sorted: Vec<_> = keys.keys.iter().collect();
    sorted.sort_by_key(|key| {
        let rank = match key.state() {
            SigningKeyState::Active => 0,
            SigningKeyState::Pending => 1,
            SigningKeyState::Retiring => 2,
            SigningKeyState::Revoked => 3,
            SigningKeyState::Unspecified => 4,
        };
        (key.r#use != "id", rank, -key.created_ms)
    });
    sorted
}

fn as_json(pool_id: &str, keys: &ListSigningKeysResponse) -> Value {
    let time = |ms: i64| (ms > 0).then_some(ms);
    let key = |key: &&SigningKey| {
        json!({
            "kid": key.kid,
            "use": key.r#use,
            "state": state(key),
            "created_ms": time(key.created_ms),
            "activated_ms": time(key.activated_ms),
            "retired_ms": time(key.retired_ms),
            "revoked_ms": time(key.revoked_ms),
        })
    };
    let of_use = |entry: &proto::SigningKeyUse| {
        json!({
            "use": entry.r#use,
            "tokens_not_before_ms": time(entry.tokens_not_before_ms),
            "rotation_asked_ms": time(entry.rotation_asked_ms),
        })
    };
    json!({
        "pool_id": pool_id,
        "version": keys.version,
        "now_ms": keys.now_ms,
        "keys": sorted(keys).iter().map(key).collect::<Vec<_>>(),
        "uses": keys.uses.iter().map(of_use).collect::<Vec<_>>(),
    })
}

fn as_table(pool_id: &str, keys: &ListSigningKeysResponse) -> String {
    let rows: Vec<Vec<String>> = sorted(keys)
        .into_iter()
        .map(|key| {
            let since_ms = match key.state() {
                SigningKeyState::Active if key.activated_ms > 0 => key.activated_ms,
                SigningKeyState::Retiring => key.retired_ms,
                SigningKeyState::Revoked => key.revoked_ms,
                _ => key.created_ms,
            };
            vec![
                key.r#use.clone(),
                state(key).to_owned(),
                age(keys.now_ms - since_ms),
                key.kid.clone(),
            ]
        })
        .collect();
    let mut text = format!("Signing keys of {pool_id}, version {}\n\n", keys.version);
    text += &table(&["USE", "STATE", "SINCE", "KEY"], &rows);
    for entry in keys.uses.iter().filter(|entry| entry.rotation_asked_ms > 0) {
        text += &format!(
            "\n\nA rotation of the {} keys has been asked for {} ago, and waits until the pending key has been \
             published for long enough.",
            entry.r#use,
            age(keys.now_ms - entry.rotation_asked_ms)
        );
    }
    text
}

pub(super) fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_comes_before_what_follows_and_what_has_signed() {
        let key = |kid: &str, token_use: &str, state: SigningKeyState| SigningKey {
            kid: kid.to_owned(),
            r#use: token_use.to_owned(),
            state: state.into(),
            created_ms: 1,
            ..Default::default()
        };
        let keys = ListSigningKeysResponse {
            version: 7,
            now_ms: 90_000,
            keys: vec![
                key("a", "access", SigningKeyState::Active),
                key("b", "id", SigningKeyState::Revoked),
                key("c", "id", SigningKeyState::Pending),
                key("d", "id", SigningKeyState::Active),
            ],
            uses: vec![proto::SigningKeyUse {
                r#use: "id".to_owned(),
                rotation_asked_ms: 30_000,
                ..Default::default()
            }],
        };
        let kids: Vec<_> = sorted(&keys).iter().map(|key| key.kid.as_str()).collect();
        assert_eq!(kids, ["d", "c", "b", "a"]);
        let text = as_table("us-east-1_pool", &keys);
        assert!(text.contains("version 7") && text.contains("asked for 60 s ago"), "{text}");
        let json = as_json("us-east-1_pool", &keys);
        assert_eq!(json["keys"][0]["state"], "ACTIVE");
        assert_eq!(json["keys"][0]["revoked_ms"], Value::Null);
    }
}
