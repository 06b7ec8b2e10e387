//! The section `[threat_protection]`.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use conclave_identity::threat_protection::compromised::CompromisedPasswords;
use serde::Deserialize;
use tokio::time::Instant;

/// A list of hundreds of millions of lines is read in large pieces.
const BUFFER_BYTES: usize = 1 << 20;

/// What pools with threat protection are looked after with. The same on all gateways; others do not read it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreatProtection {
    /// A file of SHA-1 hashes of passwords that are known to be compromised, in hex, one a line, each with `:count` or without.
    pub compromised_passwords: Option<PathBuf>,
}

impl ThreatProtection {
    /// Reads the list, where there is one. It takes a while for a long one.
    ///
    /// # Errors
    /// When the file cannot be read, holds no hash, or has a line that is none.
    pub async fn open(&self) -> Result<Option<Arc<CompromisedPasswords>>> {
        let Some(path) = self.compromised_passwords.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || read(&path));
        Ok(Some(Arc::new(read.await.context("reading has ended early")??)))
    }
}

fn read(path: &Path) -> Result<CompromisedPasswords> {
    let shown = path.display();
    let began = Instant::now();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let metadata = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    // how long a list is has to be known before it is read
    ensure!(metadata.is_file(), "{shown} is not a regular file");
    let reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let passwords = CompromisedPasswords::read(reader, metadata.len())
        .with_context(|| format!("{shown} cannot be used"))?;
    tracing::info!(
        file = %shown,
        passwords = passwords.entries(),
        memory_bytes = passwords.memory_bytes(),
        seconds = began.elapsed().as_secs_f64(),
        "compromised passwords are known"
    );
    Ok(passwords)
}
