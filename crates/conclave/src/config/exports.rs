//! Whom pools may be exported for.

use anyhow::Result;
use conclave_crypto::age::Recipient;
use serde::Deserialize;

use super::{ServeConfig, recipients};

/// Exports of single pools. The same on all nodes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// age recipients, each of whom can open every pool that is exported; where there are none, those of backups. So
    /// somebody can be given one pool who must not have the identity of the backups.
    pub recipients: Vec<String>,
}

impl ServeConfig {
    /// The recipients of exported pools.
    pub fn export_recipients(&self) -> Result<Vec<Recipient>> {
        // a mistake in either of them is found at the start
        let of_backups = self.backup.recipients()?;
        let of_exports = recipients(&self.export.recipients, "export.recipients")?;
        Ok(if of_exports.is_empty() { of_backups } else { of_exports })
    }
}
