//! The cluster's keys in a backup, for the case that the key-encryption key is lost.
//!
//! Nodes may have no key-encryption key, so whoever makes the backup adds them. Without this, a backup holds the
//! cluster's keys as the directory does, wrapped by the key-encryption key: then an identity alone opens no password
//! hash, no signing key and no client secret.

use anyhow::{Context as _, Result, ensure};
use conclave_crypto::{
    age::{Identity, Recipient},
    entropy::SystemEntropy,
    secret::Key256,
};
use conclave_identity::directory::{ClusterKeys, unwrap_cluster_keys};
use conclave_store::{DIRECTORY_SCOPE, keys, proto, records::ClusterRecord};
use prost::Message as _;
use zeroize::Zeroize as _;

use super::{
    destination::{Destination, Writing},
    files::{self, Reader, Writer},
    manifest::{Manifest, Stored},
    proto::{ClusterKey, Header},
};
use crate::{
    cluster_admin::{Connection, proto as admin},
    config::ServeConfig,
    failure::Failure,
    serve,
};

const FILE: &str = "keys.age";

/// The keys of a running cluster.
pub struct Read {
    keys: ClusterKeys,
    /// Whom they are for, as the configuration beside the key-encryption key says: a node may be one that is not to have them.
    recipients: Vec<Recipient>,
}

/// Asks the cluster, and opens what it answers.
pub async fn read(connection: &Connection) -> Result<Read> {
    let path = connection.config.as_ref().ok_or_else(|| {
        Failure::usage("--with-keys needs a --config with [kek] and a certificate of its own")
    })?;
    let config = ServeConfig::read(path)?;
    let kek =
        config.kek.as_ref().ok_or_else(|| Failure::usage("--with-keys needs [kek] in --config"))?;
    let kek = kek.open()?;
    let recipients = config.backup.recipients()?;
    if recipients.is_empty() {
        return Err(Failure::usage("--with-keys needs backup.recipients in --config").into());
    }
    let store = serve::connect_store(&config)?;
    let get = proto::Read {
        scope: DIRECTORY_SCOPE.to_owned(),
        gets: vec![keys::cluster().into()],
        ..proto::Read::default()
    };
    let row =
        store.read(get).await.context("the directory does not answer")?.rows.into_iter().next();
    let value = row.and_then(|row| row.value).context("no gateway has been started yet")?;
    let record = ClusterRecord::decode(value).context("the directory is damaged")?;
    Ok(Read { keys: unwrap_cluster_keys(&record, &*kek).await?, recipients })
}

impl Read {
    /// Writes them to a file of their own.
    pub async fn write(
        self,
        started: &admin::StartBackupResponse,
        writing: &mut Writing<'_>,
    ) -> Result<Stored> {
        let named: Vec<String> = self.recipients.iter().map(Recipient::to_string).collect();
        ensure!(
            named == started.recipients,
            "the nodes encrypt to other recipients than backup.recipients of --config says: the cluster's keys are not given \
             to them"
        );
        let header = Header {
            format: files::FORMAT,
            backup_id: started.backup_id.clone(),
            cluster_id: started.cluster_id.clone(),
            ..Header::default()
        };
        let mut writer = Writer::new(header, &self.recipients, &SystemEntropy)?;
        let keys = self
            .keys
            .iter()
            .map(|(version, key)| ClusterKey { version: *version, key: key.expose().to_vec() });
        writer.cluster_keys(super::proto::ClusterKeys { keys: keys.collect() })?;
        let mut file = writing.file(FILE).await?;
        let (content, ..) = writer.finish()?;
        file.write(&content).await?;
        file.finish().await
    }
}

/// The keys that a backup holds; `None` when it was made without.
pub async fn open(
    destination: &Destination,
    manifest: &Manifest,
    identities: &[Identity],
) -> Result<Option<ClusterKeys>> {
    let Some(stored) = &manifest.keys else { return Ok(None) };
    let mut reader = Reader::new(identities);
    let mut none = |_: &[u8], _: &[u8]| -> Result<()> { Ok(()) };
    let feed = |piece: &[u8]| reader.feed(piece, &mut none);
    destination.read(&manifest.backup_id, stored, feed).await?;
    let contents = reader.finish(&mut |_, _| Ok(()))?;
    ensure!(
        contents.header.backup_id == manifest.backup_id
            && contents.header.cluster_id == manifest.cluster_id,
        "{FILE} is of another backup"
    );
    let mut keys = contents.cluster_keys.context("it holds no keys")?.keys;
    let opened = keys.iter().map(|key| {
        let bytes: [u8; 32] = key.key.as_slice().try_into().context("a key has another length")?;
        Ok((key.version, Key256::new(bytes)))
    });
    let opened = opened.collect::<Result<ClusterKeys>>();
    keys.iter_mut().for_each(|key| key.key.zeroize());
    opened.map(Some)
}
