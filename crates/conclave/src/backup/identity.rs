//! Offline keys.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use conclave_crypto::{age::Identity, entropy::SystemEntropy, secret::SecretString};

use crate::{failure::Failure, output};

/// Makes one, in a file that was not there.
pub fn generate(path: &Path) -> Result<()> {
    let identity = Identity::generate(&SystemEntropy)?;
    let recipient = identity.recipient();
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
            |error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    Failure::failed(format!("{} is there already", path.display())).into()
                }
                _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
            },
        )?;
    let text = SecretString::new(format!(
        "# public key: {recipient}\n{}\n",
        identity.to_text().expose().as_str()
    ));
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()?;
    output::line(&recipient.to_string())?;
    Ok(())
}

/// Reads a file of them.
pub fn read(path: &Path) -> Result<Vec<Identity>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = SecretString::new(text);
    Identity::parse_file(text.expose())
        .with_context(|| format!("{} cannot be used", path.display()))
}
