//! `conclave restore`: the data of a new cluster's first node.
//!
//! Rows are written as the backup has them, read back and compared with the hash of the state; only then is changed
//! what a restore changes. Nothing serves before all of that is done: see `conclave_shard::DataBuilder`.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use conclave_crypto::{
    age::Identity,
    entropy::{self, SystemEntropy},
    seal::KekProvider,
};
use conclave_identity::{
    directory::{ClusterKeys, relocate, unwrap_cluster_keys},
    restore::{Fate, Found, Keep, Restore},
};
use conclave_shard::{DataBuilder, GroupBuilder, NewData, holds_data};
use conclave_store::{
    Clock as _, DIRECTORY_GROUP, NODES_SCOPE, keys as store_keys,
    proto::StoredRow,
    records::{BackupRecord, ClusterRecord},
};
use prost::Message as _;

use super::{
    args::RestoreArgs,
    destination::Destination,
    files::StateHash,
    identity, keys,
    manifest::{Group, Manifest, hex},
    verify,
};
use crate::{
    clock::SystemClock,
    config::{Kek, Role, ServeConfig},
    failure::Failure,
    output,
};

pub async fn run(args: &RestoreArgs) -> Result<()> {
    let config = ServeConfig::read(&args.config)?;
    if args.if_empty
        && let Some(why) = nothing_to_restore(&config)?
    {
        return Ok(output::line(&why)?);
    }
    let identities = identity::read(&args.identity)?;
    let destination = Destination::parse(&args.destination)?;
    let (manifest, sha256) = destination.manifest(&args.backup).await?;
    if let Some(expected) = &args.manifest_sha256
        && !expected.eq_ignore_ascii_case(&sha256)
    {
        return Err(Failure::failed(format!(
            "the manifest has the SHA-256 {sha256}: it is not the one that is expected"
        ))
        .into());
    }
    let new = new_data(&config, &manifest)?;
    let kek = new_kek(args, &config)?;
    let data_dir = new.data_dir.clone();
    let mut data = DataBuilder::begin(new)?;
    let restoring = Restoring { args, destination, manifest, identities };
    let directory = restoring.first(DIRECTORY_GROUP)?;
    let mut builder = data.group(DIRECTORY_GROUP)?;
    let mut found = Found::default();
    restoring.write(directory, &mut builder, &mut |key, value| Ok(found.look(key, value)?)).await?;
    restoring.check_marker(&mut builder)?;
    let restore = restoring.restore(found, &config, &*kek).await?;
    change(&restore, builder)?;
    for group in restoring.manifest.groups.iter().skip(1) {
        let mut builder = data.group(group.group)?;
        restoring.write(group, &mut builder, &mut |_, _| Ok(())).await?;
        change(&restore, builder)?;
    }
    data.finish()?;
    // tokens that are issued in the second of the cut-off are refused with those of before
    SystemClock::start().rest_of_second().await;
    let manifest = &restoring.manifest;
    output::line(
        "Signing keys that were revoked, and access keys that were deleted, after the backup are good again: see the runbook.",
    )?;
    output::line(&format!(
        "Backup {} of {} is restored to {}: {} groups, {} rows, with the hashes of its manifest.\nStart the \
         node; others join it with empty data directories and join = [\"{}\"].{}",
        manifest.backup_id,
        manifest.cluster_id,
        data_dir.display(),
        manifest.groups.len(),
        manifest.rows(),
        config.own_address()?,
        match restore.keep {
            Keep::Nothing => " Everybody signs in again.",
            Keep::RefreshTokens => " Refresh tokens are good that were when the backup was made.",
            Keep::Tokens => " Tokens are good that were when the backup was made.",
        }
    ))?;
    Ok(())
}

/// Why there is nothing to do, where that is so.
fn nothing_to_restore(config: &ServeConfig) -> Result<Option<String>> {
    if !config.join.is_empty() {
        return Ok(Some("This node joins others, which give it its data.".to_owned()));
    }
    let data_dir = config.data_dir.as_ref().context("data_dir is missing")?;
    let holds_data =
        holds_data(data_dir).with_context(|| format!("cannot look into {}", data_dir.display()))?;
    Ok(holds_data.then(|| format!("{} holds data already.", data_dir.display())))
}

/// The configuration has to be that of a cluster that is not there yet.
fn new_data(config: &ServeConfig, manifest: &Manifest) -> Result<NewData> {
    let usage = |text: String| Err(Failure::usage(text).into());
    if !config.has(Role::Shard) {
        return usage("the configuration is not that of a node with the role shard".to_owned());
    }
    if config.cluster_id == manifest.cluster_id {
        return usage(format!(
            "the configuration has the cluster_id {} of the cluster that was backed up: a restored \
             cluster is a new one, with a new cluster_id and certificates for it",
            config.cluster_id
        ));
    }
    if !matches!(config.members.as_slice(), [only] if only.node_id == config.node_id) {
        return usage(
            "the configuration must have this node alone in members: the others join it, so that there is \
             one restored state"
                .to_owned(),
        );
    }
    let groups = config.pool_groups + 1;
    if groups as usize != manifest.groups.len() {
        return usage(format!(
            "pool_groups is {}, and the cluster that was backed up has {}",
            config.pool_groups,
            manifest.groups.len() - 1
        ));
    }
    Ok(NewData {
        data_dir: config.data_dir.clone().context("data_dir is missing")?,
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        address: config.own_address()?.to_owned(),
        groups,
        incarnation: entropy::bytes(&SystemEntropy),
    })
}

/// What the cluster's keys will be wrapped by.
fn new_kek(args: &RestoreArgs, config: &ServeConfig) -> Result<Arc<dyn KekProvider>> {
    if let Some(file) = &args.kek_file {
        return kek_of(file);
    }
    let other = args.kek_config.as_deref().map(ServeConfig::read).transpose()?;
    let Some(kek) = &other.as_ref().unwrap_or(config).kek else {
        return Err(Failure::usage(
            "the configuration has no [kek]: give the key-encryption key of the new cluster's gateways by \
             --kek-file, or their configuration by --kek-config",
        )
        .into());
    };
    kek.open()
}

fn kek_of(file: &Path) -> Result<Arc<dyn KekProvider>> {
    Kek::of_file(file).open()
}

struct Restoring<'a> {
    args: &'a RestoreArgs,
    destination: Destination,
    manifest: Manifest,
    identities: Vec<Identity>,
}

impl Restoring<'_> {
    fn first(&self, group: u32) -> Result<&Group> {
        self.manifest.groups.iter().find(|g| g.group == group).context("a group is missing")
    }

    /// Writes a group's rows, and compares what has been written with the manifest.
    async fn write(
        &self,
        group: &Group,
        builder: &mut GroupBuilder,
        look: &mut Look<'_>,
    ) -> Result<()> {
        let write = |key: &[u8], value: &[u8]| {
            look(key, value)?;
            Ok(builder.put(key, value)?)
        };
        let (destination, manifest) = (&self.destination, &self.manifest);
        verify::read_group(destination, manifest, group, &self.identities, write)
            .await
            .map_err(|error| Failure::failed(format!("the backup cannot be used: {error:#}")))?;
        let (mut hash, mut rows) = (StateHash::default(), 0);
        builder.rows(|_, key, value| {
            hash.row(key, value);
            rows += 1;
            Ok(())
        })?;
        ensure!(
            rows == group.rows && hex(&hash.finish()) == group.state_sha256,
            "group {} reads back as something else than was written: check the disk",
            group.group
        );
        Ok(())
    }

    /// The directory was cut between the two marks of this backup.
    fn check_marker(&self, directory: &mut GroupBuilder) -> Result<()> {
        let key = store_keys::row(NODES_SCOPE, &store_keys::backup(&self.manifest.backup_id));
        let row =
            directory.get(&key)?.context("the backup does not hold the mark of its beginning")?;
        let marker = BackupRecord::decode(StoredRow::decode(&row[..])?.value)?;
        ensure!(
            marker.began_ms == self.manifest.began_ms && marker.cut_ms == 0,
            "the directory was not cut between the marks of this backup"
        );
        Ok(())
    }

    async fn restore(
        &self,
        found: Found,
        config: &ServeConfig,
        kek: &dyn KekProvider,
    ) -> Result<Restore> {
        let now_ms = SystemClock::start().now_ms();
        ensure!(
            now_ms > self.manifest.cut_ms,
            "the clock of this machine is before the time of the backup: what was issued until then could not be told apart"
        );
        let record = found.cluster.context("no gateway was ever started in the cluster")?;
        let keys = self.cluster_keys(&record, kek).await?;
        let cluster = relocate(&record, keys, kek, &config.cluster_id, &SystemEntropy, now_ms);
        let cluster = cluster.await?;
        let keep = match (self.args.keep_tokens, self.args.keep_refresh_tokens) {
            (true, _) => Keep::Tokens,
            (_, true) => Keep::RefreshTokens,
            _ => Keep::Nothing,
        };
        Ok(Restore { now_ms, keep, cluster, pools: found.pools })
    }

    /// By the key-encryption key that there was, or from the backup.
    async fn cluster_keys(
        &self,
        record: &ClusterRecord,
        new_kek: &dyn KekProvider,
    ) -> Result<ClusterKeys> {
        if let Some(file) = &self.args.old_kek_file {
            return unwrap_cluster_keys(record, &*kek_of(file)?)
                .await
                .context("--old-kek-file is not the key-encryption key of the backup");
        }
        if let Some(keys) = keys::open(&self.destination, &self.manifest, &self.identities).await? {
            return Ok(keys);
        }
        unwrap_cluster_keys(record, new_kek).await.map_err(|error| {
            Failure::failed(format!(
                "the cluster's keys are wrapped by the key-encryption key {}: give it by --old-kek-file ({error})",
                self.manifest.key_ids.join(", ")
            ))
            .into()
        })
    }
}

/// Sees every row, by its physical key, as it is written.
type Look<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Changes what a restore changes. The group is complete then.
fn change(restore: &Restore, mut builder: GroupBuilder) -> Result<()> {
    builder.rows(|changes, key, value| {
        match restore.fate(key, value).map_err(std::io::Error::other)? {
            Fate::Stays => Ok(()),
            Fate::Goes => changes.delete(key),
            Fate::Becomes(value) => changes.put(key, &value),
        }
    })?;
    Ok(builder.finish()?)
}
