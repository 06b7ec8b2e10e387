//! `conclave backup list`.

use anyhow::Result;
use serde_json::json;

use super::{destination::Destination, manifest::Manifest};
use crate::{cluster_admin::table, output};

pub async fn run(destination: &str, as_json: bool) -> Result<()> {
    let destination = Destination::parse(destination)?;
    let mut backups = Vec::new();
    for id in destination.list().await? {
        backups.push(destination.manifest(&id).await?);
    }
    output::line(&match as_json {
        true => serde_json::to_string_pretty(
            &json!({ "backups": backups.iter().map(|(m, sha)| line_json(m, sha)).collect::<Vec<_>>() }),
        )?,
        false => {
            let rows: Vec<_> = backups.iter().map(|(manifest, _)| line(manifest)).collect();
            table(&["BACKUP", "CLUSTER", "GROUPS", "ROWS", "BYTES", "KEYS"], &rows)
        }
    })?;
    Ok(())
}

fn line(manifest: &Manifest) -> Vec<String> {
    vec![
        manifest.backup_id.clone(),
        manifest.cluster_id.clone(),
        manifest.groups.len().to_string(),
        manifest.rows().to_string(),
        manifest.bytes().to_string(),
        if manifest.keys.is_some() { "in it" } else { "by the KEK" }.to_owned(),
    ]
}

/// The names of members are a promise: they are added, never renamed.
fn line_json(manifest: &Manifest, sha256: &str) -> serde_json::Value {
    json!({
        "backup_id": manifest.backup_id,
        "cluster_id": manifest.cluster_id,
        "manifest_sha256": sha256,
        "began_ms": manifest.began_ms,
        "cut_ms": manifest.cut_ms,
        "groups": manifest.groups.len(),
        "rows": manifest.rows(),
        "bytes": manifest.bytes(),
        "with_keys": manifest.keys.is_some(),
        "key_ids": manifest.key_ids,
        "recipients": manifest.recipients,
    })
}
