//! `conclave backup DESTINATION`.
//!
//! All groups are cut first, the directory last, each by the node that leads it; what nodes then send waits until it is
//! its turn, each on a connection of its own. Memory is a few parts of a file, whatever the size of the cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use conclave_crypto::mac::Sha256;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Streaming, transport::Channel};

use super::{
    args::CreateArgs,
    destination::{Destination, Writing},
    keys,
    manifest::{self, Manifest, hex},
};
use crate::{
    cluster_admin::{
        Client,
        proto::{self, backups_client::BackupsClient, copy_group_response::Part},
    },
    failure::Failure,
    output,
};

/// A leader may move while it is looked for.
const HOPS_MAX: usize = 8;
/// A node that sends nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(250);

/// A group that has been cut, and waits to be read.
struct Cut {
    cut: proto::GroupCut,
    stream: Streaming<proto::CopyGroupResponse>,
}

pub async fn run(args: &CreateArgs) -> Result<()> {
    let Some(text) = &args.destination else {
        return Err(Failure::usage(
            "where is the backup to be kept? Give a directory, or s3://BUCKET/PREFIX",
        )
        .into());
    };
    let destination = Destination::parse(text)?;
    let mut client = Client::new(&args.connection)?;
    let mut sealed_keys = match args.with_keys {
        true => Some(keys::read(&args.connection).await?),
        false => None,
    };
    let started = client
        .ask(async |channel| {
            BackupsClient::new(channel).start_backup(proto::StartBackupRequest {}).await
        })
        .await?;
    let backup_id = started.backup_id.clone();
    let mut writing = destination.begin(&backup_id).await?;
    let copied = copy(&mut client, &started, &mut writing, args, sealed_keys.take()).await;
    let manifest = match copied {
        Ok(manifest) => manifest,
        Err(error) => {
            writing.abandon().await;
            return Err(error);
        }
    };
    let sha256 = writing.publish(&manifest).await?;
    let completed = proto::CompleteBackupRequest { backup_id, bytes: manifest.bytes() };
    client
        .ask(async |channel| BackupsClient::new(channel).complete_backup(completed.clone()).await)
        .await
        .context("the backup is complete, and the cluster could not be told so")?;
    output::line(&match args.json {
        true => serde_json::to_string_pretty(&json!({
            "backup_id": manifest.backup_id,
            "cluster_id": manifest.cluster_id,
            "manifest_sha256": sha256,
            "cut_ms": manifest.cut_ms,
            "groups": manifest.groups.len(),
            "rows": manifest.rows(),
            "bytes": manifest.bytes(),
        }))?,
        false => format!(
            "Backup {} of {}: {} groups, {} rows, {} bytes.\nIts manifest has the SHA-256 {sha256}: keep \
             it elsewhere, and nobody can put another backup in its place.",
            manifest.backup_id,
            manifest.cluster_id,
            manifest.groups.len(),
            manifest.rows(),
            manifest.bytes()
        ),
    })?;
    Ok(())
}

async fn copy(
    client: &mut Client,
    started: &proto::StartBackupResponse,
    writing: &mut Writing<'_>,
    args: &CreateArgs,
    keys: Option<keys::Read>,
) -> Result<Manifest> {
    let backup_id = &started.backup_id;
    // the directory last: a pool that it does not know has been deleted meanwhile, or not been made
    let mut cuts = Vec::new();
    for group in (1..started.groups).chain([0]) {
        let cut = cut(client, backup_id, group).await?;
        ensure!(
            cut.cut.recipients == started.recipients,
            "nodes encrypt to different recipients: backup.recipients must be the same on all of them"
        );
        cuts.push(cut);
    }
    let sealed = proto::SealBackupRequest { backup_id: backup_id.clone() };
    let sealed = client
        .ask(async |channel| BackupsClient::new(channel).seal_backup(sealed.clone()).await)
        .await?;
    let mut pace = Pace::new(args.rate);
    let (mut groups, mut key_ids) = (Vec::new(), Vec::new());
    for cut in cuts {
        let (group, ids) = receive(cut, writing, &mut pace).await?;
        progress(&group, args.json);
        groups.push(group);
        key_ids.extend(ids);
    }
    groups.sort_by_key(|group| group.group);
    let keys = match keys {
        Some(keys) => Some(keys.write(started, writing).await?),
        None => None,
    };
    Ok(Manifest {
        format: manifest::FORMAT,
        backup_id: backup_id.clone(),
        cluster_id: started.cluster_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        began_ms: started.began_ms,
        cut_ms: sealed.cut_ms,
        groups,
        keys,
        key_ids,
        recipients: started.recipients.clone(),
    })
}

/// Has the group's leader cut it.
async fn cut(client: &mut Client, backup_id: &str, group: u32) -> Result<Cut> {
    let request = proto::CopyGroupRequest { backup_id: backup_id.to_owned(), group };
    for _ in 0..HOPS_MAX {
        let ask =
            async |channel: Channel| BackupsClient::new(channel).copy_group(request.clone()).await;
        let mut stream = client.ask(ask).await?;
        match next(&mut stream, group).await? {
            Part::Cut(cut) => return Ok(Cut { cut, stream }),
            Part::Ask(leader) => client.turn_to(&leader.address),
            Part::Data(_) | Part::End(_) => bail!("group {group} began in the middle"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::failed(format!("the leader of group {group} keeps moving: try again")).into())
}

async fn next(stream: &mut Streaming<proto::CopyGroupResponse>, group: u32) -> Result<Part> {
    let message = timeout(SILENCE_MAX, stream.message()).await;
    let message = message.map_err(|_| Failure::failed(format!("group {group} comes no more")))?;
    let message = message.map_err(|status| {
        Failure::failed(format!("group {group} could not be copied: {}", status.message()))
    })?;
    message
        .and_then(|message| message.part)
        .ok_or_else(|| Failure::failed(format!("the copy of group {group} ends early")).into())
}

/// Writes a group's file.
async fn receive(
    mut cut: Cut,
    writing: &mut Writing<'_>,
    pace: &mut Pace,
) -> Result<(manifest::Group, Vec<String>)> {
    let group = cut.cut.group;
    let mut file = writing.file(&format!("group-{group:03}.age")).await?;
    let mut hash = Sha256::default();
    let end = loop {
        match next(&mut cut.stream, group).await? {
            Part::Data(data) => {
                hash.update(&data);
                file.write(&data).await?;
                pace.pass(data.len()).await;
            }
            Part::End(end) => break end,
            Part::Cut(_) | Part::Ask(_) => bail!("the copy of group {group} begins twice"),
        }
    };
    let stored = file.finish().await?;
    ensure!(
        stored.bytes == end.file_bytes && hash.finish().as_slice() == end.file_sha256,
        "the copy of group {group} was damaged on the way"
    );
    let read = manifest::Group {
        group,
        term: cut.cut.term,
        index: cut.cut.index,
        rows: end.rows,
        state_sha256: hex(&end.state_sha256),
        stored,
    };
    Ok((read, end.key_ids))
}

fn progress(group: &manifest::Group, quiet: bool) {
    if !quiet {
        let text =
            format!("group {}: {} rows, {} bytes\n", group.group, group.rows, group.stored.bytes);
        // what cannot be shown is no reason to stop
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }
}

/// Lets bytes pass at a bounded rate.
pub struct Pace {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Pace {
    /// At most so many a second; 0: without a bound.
    pub fn new(mebibytes: u32) -> Self {
        Self { bytes_per_second: u64::from(mebibytes) << 20, free_at: Instant::now() }
    }

    /// Waits until these may pass.
    pub async fn pass(&mut self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
        // time that was not used is not saved up
        self.free_at = self.free_at.max(Instant::now()) + Duration::from_micros(micros);
        sleep_until(self.free_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_and_not_faster_after_a_pause() {
        let start = Instant::now();
        let mut pace = Pace::new(2);
        for _ in 0..4 {
            pace.pass(1 << 20).await;
        }
        assert_eq!(start.elapsed().as_millis(), 2_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.pass(4 << 20).await;
        assert_eq!(start.elapsed().as_millis(), 2_000);
        let mut unbounded = Pace::new(0);
        unbounded.pass(usize::MAX).await;
        assert_eq!(start.elapsed().as_millis(), 2_000);
    }
}
