//! `conclave backup verify`.

use anyhow::{Context as _, Result, ensure};
use conclave_crypto::age::Identity;
use serde_json::json;

use super::{
    args::VerifyArgs,
    destination::Destination,
    files::{Contents, Reader},
    identity,
    manifest::{Group, Manifest, hex},
};
use crate::{failure::Failure, output};

pub async fn run(args: &VerifyArgs) -> Result<()> {
    let destination = Destination::parse(&args.destination)?;
    let identities = args.identity.as_deref().map(identity::read).transpose()?;
    let (manifest, sha256) = destination.manifest(&args.backup).await?;
    for group in &manifest.groups {
        let checked = check(&destination, &manifest, group, identities.as_deref()).await;
        checked.map_err(|error| damaged(&manifest, &error))?;
    }
    if let Some(keys) = &manifest.keys {
        let read = destination.read(&manifest.backup_id, keys, |_| Ok(())).await;
        read.map_err(|error| damaged(&manifest, &error))?;
    }
    let decrypted = identities.is_some();
    output::line(&match args.json {
        true => serde_json::to_string_pretty(&json!({
            "backup_id": manifest.backup_id,
            "manifest_sha256": sha256,
            "whole": true,
            "decrypted": decrypted,
            "rows": manifest.rows(),
        }))?,
        false => format!(
            "Backup {} is whole: {} files, {} bytes{}.",
            manifest.backup_id,
            manifest.files().count(),
            manifest.bytes(),
            match decrypted {
                true => format!(", {} rows with the hashes of the state", manifest.rows()),
                false => "; what is in them was not looked at: --identity".to_owned(),
            }
        ),
    })?;
    Ok(())
}

fn damaged(manifest: &Manifest, error: &anyhow::Error) -> Failure {
    Failure::failed(format!("backup {} cannot be used: {error:#}", manifest.backup_id))
}

async fn check(
    destination: &Destination,
    manifest: &Manifest,
    group: &Group,
    identities: Option<&[Identity]>,
) -> Result<()> {
    match identities {
        Some(identities) => {
            read_group(destination, manifest, group, identities, |_, _| Ok(())).await
        }
        None => destination.read(&manifest.backup_id, &group.stored, |_| Ok(())).await,
    }
}

/// Reads a group's rows in order. What they are is known to be what was backed up when this returns, not before.
pub async fn read_group(
    destination: &Destination,
    manifest: &Manifest,
    group: &Group,
    identities: &[Identity],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new(identities);
    let read = destination
        .read(&manifest.backup_id, &group.stored, |piece| reader.feed(piece, &mut visit));
    read.await?;
    let contents = reader.finish(&mut visit);
    let contents = contents.with_context(|| group.stored.file.clone())?;
    check_contents(manifest, group, &contents)
}

fn check_contents(manifest: &Manifest, group: &Group, contents: &Contents) -> Result<()> {
    let header = &contents.header;
    ensure!(
        header.backup_id == manifest.backup_id
            && header.cluster_id == manifest.cluster_id
            && (header.group, header.term, header.index) == (group.group, group.term, group.index),
        "{} is of another backup or group",
        group.stored.file
    );
    ensure!(
        contents.rows == group.rows && hex(&contents.state_sha256) == group.state_sha256,
        "the state of group {} is not the one of the manifest",
        group.group
    );
    Ok(())
}
