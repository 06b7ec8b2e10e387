//! `conclave keys status`, `rotate-kek`, `rotate-cluster-key` and `reseal`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    args::View,
    client::Client,
    commands::Asked,
    json::document,
    keys::{LOOK_EVERY, age},
    proto::{self, GetKeyStatusResponse},
    table::table,
};
use crate::{failure::Failure, output};

/// Something that takes its time. The cluster goes on with it when the command is interrupted.
#[derive(Debug, Args)]
pub struct Wait {
    #[command(flatten)]
    pub view: View,
    /// Do not wait until it is done.
    #[arg(long)]
    pub no_wait: bool,
    /// For how many seconds to wait.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

#[derive(Debug, Args)]
pub struct Reseal {
    /// One pool; all of them by default.
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,
    #[command(flatten)]
    pub wait: Wait,
}

pub async fn status(view: &View) -> Result<()> {
    let mut client = Client::new(&view.connection)?;
    show(view, &ask(&mut client).await?)
}

pub async fn rotate_kek(wait: &Wait) -> Result<()> {
    let mut client = Client::new(&wait.view.connection)?;
    let request = proto::RewrapClusterKeysRequest {};
    client.call(async |mut client: Asked| client.rewrap_cluster_keys(request).await).await?;
    let done = |now: &GetKeyStatusResponse| !now.rewrap_asked;
    let why = "No gateway has wrapped the keys: their logs say whether the key-encryption key can be used.";
    until(&mut client, wait, &done, why).await
}

pub async fn rotate_cluster_key(wait: &Wait) -> Result<()> {
    let mut client = Client::new(&wait.view.connection)?;
    let request = proto::RotateClusterKeyRequest {};
    client.call(async |mut client: Asked| client.rotate_cluster_key(request).await).await?;
    let done = |now: &GetKeyStatusResponse| !now.rotation_asked && now.rotation.is_none();
    until(&mut client, wait, &done, "The rotation goes on.").await
}

pub async fn reseal(reseal: &Reseal) -> Result<()> {
    let mut client = Client::new(&reseal.wait.view.connection)?;
    let request = proto::ResealPoolsRequest { pool_id: reseal.pool.clone().unwrap_or_default() };
    client.call(async |mut client: Asked| client.reseal_pools(request.clone()).await).await?;
    let done = |now: &GetKeyStatusResponse| {
        !now.reseal_asked && now.reseal.as_ref().is_none_or(waits_for_what_expires)
    };
    until(&mut client, &reseal.wait, &done, "It goes on.").await?;
    if reseal.wait.no_wait {
        return Ok(());
    }
    let now = ask(&mut client).await?;
    if now.reseal.is_none() && (now.last_resealed_kept > 0 || now.last_resealed_damaged > 0) {
        return Err(Failure::failed("not every pool has another key.").into());
    }
    Ok(())
}

/// Whether nothing is left to do but to wait until codes and files have expired: days, perhaps.
fn waits_for_what_expires(reseal: &proto::PoolReseal) -> bool {
    reseal.pass == 3 && reseal.waits && reseal.failed == 0 && reseal.waiting > 0
}

async fn ask(client: &mut Client) -> Result<GetKeyStatusResponse> {
    let request = proto::GetKeyStatusRequest {};
    client.call(async |mut client: Asked| client.get_key_status(request).await).await
}

async fn until(
    client: &mut Client,
    wait: &Wait,
    done: &dyn Fn(&GetKeyStatusResponse) -> bool,
    otherwise: &str,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(wait.timeout);
    loop {
        let now = ask(client).await?;
        if wait.no_wait || done(&now) {
            return show(&wait.view, &now);
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!(
                "it is not done within {} s. {otherwise} `conclave keys status` shows how far it is.",
                wait.timeout
            ))
            .into());
        }
        sleep(LOOK_EVERY).await;
    }
}

fn show(view: &View, status: &GetKeyStatusResponse) -> Result<()> {
    output::line(&match view.json {
        true => document(&as_json(status)),
        false => as_table(status),
    })?;
    Ok(())
}

fn as_json(status: &GetKeyStatusResponse) -> Value {
    let key = |key: &proto::ClusterKey| {
        json!({
            "version": key.version,
            "wrapped_by": key.wrapped_by,
            "created_ms": key.created_ms,
            "seals": key.version == status.current,
        })
    };
    let rotation = status.rotation.map(|rotation| {
        json!({
            "version": rotation.version,
            "started_ms": rotation.started_ms,
            "pass": rotation.pass,
            "waits": rotation.waits,
            "looked_at": rotation.looked_at,
            "resealed": rotation.resealed,
            "failed": rotation.failed,
        })
    });
    let reseal = status.reseal.as_ref().map(|reseal| {
        json!({
            "started_ms": reseal.started_ms,
            "pool_id": (!reseal.pool_id.is_empty()).then_some(&reseal.pool_id),
            "pass": reseal.pass,
            "waits": reseal.waits,
            "pools": reseal.pools,
            "waiting": reseal.waiting,
            "failed": reseal.failed,
            "kept": reseal.kept,
            "damaged": reseal.damaged,
            "looked_at": reseal.looked_at,
            "resealed": reseal.resealed,
        })
    });
    json!({
        "keys": status.keys.iter().map(key).collect::<Vec<_>>(),
        "now_ms": status.now_ms,
        "rotation_asked": status.rotation_asked,
        "rewrap_asked": status.rewrap_asked,
        "rotation": rotation,
        "reseal_asked": status.reseal_asked,
        "reseal": reseal,
        "last_resealed_ms": (status.last_resealed_ms > 0).then_some(status.last_resealed_ms),
        "last_resealed_pool": (!status.last_resealed_pool.is_empty()).then_some(&status.last_resealed_pool),
        "last_resealed_kept": status.last_resealed_kept,
        "last_resealed_damaged": status.last_resealed_damaged,
        "last_finished_ms": (status.last_finished_ms > 0).then_some(status.last_finished_ms),
    })
}

fn as_table(status: &GetKeyStatusResponse) -> String {
    let rows: Vec<Vec<String>> = status
        .keys
        .iter()
        .map(|key| {
            let seals = if key.version == status.current { "yes" } else { "no" };
            vec![
                key.version.to_string(),
                seals.to_owned(),
                age(status.now_ms - key.created_ms),
                key.wrapped_by.clone(),
            ]
        })
        .collect();
    let mut text = "Keys of the cluster\n\n".to_owned();
    text += &table(&["VERSION", "SEALS", "AGE", "WRAPPED BY"], &rows);
    if status.rewrap_asked {
        text += "\n\nThey are to be wrapped again, which no gateway has done yet.";
    }
    if status.rotation_asked {
        text += "\n\nA rotation has been asked for, which no gateway has begun yet.";
    }
    if let Some(rotation) = &status.rotation {
        let step = match (rotation.pass, rotation.waits) {
            (0, _) => "it seals when every gateway knows it".to_owned(),
            (pass, false) => format!("pass {pass} of 2"),
            (pass, true) => format!("pass {pass} of 2 is over, what was under way is waited for"),
        };
        text += &format!(
            "\n\nVersion {} is being introduced: {step}; {} rows looked at, {} sealed again",
            rotation.version, rotation.looked_at, rotation.resealed
        );
        if rotation.failed > 0 {
            text += &format!(", {} pools failed and are tried again", rotation.failed);
        }
        text.push('.');
    } else if status.last_finished_ms > 0 {
        let since = age(status.now_ms - status.last_finished_ms);
        text += &format!("\n\nThe last rotation was completed {since} ago.");
    }
    text + &pools_as_text(status)
}

fn pools_as_text(status: &GetKeyStatusResponse) -> String {
    if status.reseal_asked {
        return "\n\nPools are to be sealed again, which no gateway has begun yet.".to_owned();
    }
    let Some(reseal) = &status.reseal else {
        if status.last_resealed_ms == 0 {
            return String::new();
        }
        let since = age(status.now_ms - status.last_resealed_ms);
        let what = match status.last_resealed_pool.as_str() {
            "" => "Pools were",
            pool_id => &format!("{pool_id} was"),
        };
        let mut text = format!("\n\n{what} sealed again last {since} ago");
        text += &exceptions(status.last_resealed_kept, status.last_resealed_damaged);
        return text + ".";
    };
    let what = match reseal.pool_id.as_str() {
        "" => "Pools are".to_owned(),
        pool_id => format!("{pool_id} is"),
    };
    let waits = if reseal.waits { " is over, what was sealed before is waited for" } else { "" };
    let mut text = format!(
        "\n\n{what} being sealed again: pass {} of 3{waits}; {} pools done in it, {} rows looked at, {} sealed again",
        reseal.pass, reseal.pools, reseal.looked_at, reseal.resealed
    );
    if reseal.waiting > 0 {
        text += &format!(
            ", {} pools keep an older key until codes and files have expired",
            reseal.waiting
        );
    }
    if reseal.failed > 0 {
        text += &format!(", {} pools failed and are tried again", reseal.failed);
    }
    text += &exceptions(reseal.kept, reseal.damaged);
    text + "."
}

/// Pools that are left as they are.
fn exceptions(kept: u64, damaged: u64) -> String {
    let mut text = String::new();
    if kept > 0 {
        text += &format!(
            ", {kept} pools keep their key, because they are frozen or have come meanwhile"
        );
    }
    if damaged > 0 {
        text += &format!(
            ", {damaged} pools keep their older keys, because something in them does not open: see the logs"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_says_how_far_it_is() {
        let key = |version| proto::ClusterKey {
            version,
            wrapped_by: "abcd".to_owned(),
            created_ms: 1_000,
        };
        let status = GetKeyStatusResponse {
            keys: vec![key(1), key(2)],
            current: 2,
            now_ms: 61_000,
            rotation: Some(proto::ClusterKeyRotation {
                version: 2,
                pass: 1,
                looked_at: 7,
                resealed: 5,
                failed: 1,
                ..Default::default()
            }),
            ..Default::default()
        };
        let text = as_table(&status);
        for part in
            ["2        yes    60 s  abcd", "pass 1 of 2; 7 rows", "5 sealed again, 1 pools failed"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(as_json(&status)["rotation"]["resealed"], 5);
        assert_eq!(as_json(&status)["keys"][0]["seals"], false);
    }
}
