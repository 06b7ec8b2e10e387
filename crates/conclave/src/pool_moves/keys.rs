//! The keys of a pool that is exported. Nodes may have no key-encryption key, so whoever exports the pool opens them, and
//! encrypts them to the recipients of the configuration that is used for it. Whoever imports it wraps them by the keys of
//! the other cluster.

use anyhow::{Context as _, Result, ensure};
use conclave_crypto::{
    age::{Identity, Recipient},
    entropy::SystemEntropy,
    secret::Key256,
};
use conclave_identity::pool_moves::{PoolKeys, keys};
use zeroize::Zeroize as _;

use super::manifest::Manifest;
use crate::{
    backup::{
        destination::{Destination, Writing},
        files::{self, Reader, Writer},
        manifest::Stored,
        proto::{self, ClusterKey, Header},
    },
    cluster_admin::{Connection, proto::PoolCut},
    config::ServeConfig,
    failure::Failure,
    serve,
};

const FILE: &str = "keys.age";

/// The keys of a pool of a running cluster.
pub struct Read {
    keys: PoolKeys,
    /// Whom they are for.
    recipients: Vec<Recipient>,
}

/// Asks the cluster, and opens what it answers.
pub async fn read(connection: &Connection, pool_id: &str) -> Result<Read> {
    let usage = |text: &str| Failure::usage(text);
    let path = connection.config.as_ref().ok_or_else(|| {
        usage("the pool's keys are opened here: give a --config with [kek] and a certificate of its own")
    })?;
    let config = ServeConfig::read(path)?;
    let kek = config.kek.as_ref().ok_or_else(|| {
        usage("the pool's keys are opened here: --config needs [kek], as a gateway's has")
    })?;
    let recipients = config.export_recipients()?;
    if recipients.is_empty() {
        return Err(usage(
            "whom is the pool for? Set export.recipients, or backup.recipients, in --config and on all nodes",
        )
        .into());
    }
    let kek = kek.open()?;
    let store = serve::connect_store(&config)?;
    let keys = keys::read(&*store, &*kek, pool_id).await;
    Ok(Read { keys: keys.map_err(|error| Failure::failed(error.to_string()))?, recipients })
}

impl Read {
    /// Writes them to a file of their own.
    pub async fn write(
        self,
        cut: &PoolCut,
        pool_id: &str,
        writing: &mut Writing<'_>,
    ) -> Result<Stored> {
        let named: Vec<String> = self.recipients.iter().map(Recipient::to_string).collect();
        ensure!(
            named == cut.recipients,
            "the nodes encrypt to other recipients than --config says: the pool's keys are not given to them"
        );
        let mut writer = Writer::new(header(cut, pool_id), &self.recipients, &SystemEntropy)?;
        let keys = self
            .keys
            .iter()
            .map(|(version, key)| ClusterKey { version: *version, key: key.expose().to_vec() });
        writer.pool_keys(proto::PoolKeys { keys: keys.collect() })?;
        let mut file = writing.file(FILE).await?;
        let (content, ..) = writer.finish()?;
        file.write(&content).await?;
        file.finish().await
    }
}

/// Of both files.
pub fn header(cut: &PoolCut, pool_id: &str) -> Header {
    Header {
        format: files::FORMAT,
        backup_id: cut.export_id.clone(),
        cluster_id: cut.cluster_id.clone(),
        group: cut.group,
        term: cut.term,
        index: cut.index,
        pool_id: pool_id.to_owned(),
    }
}

/// That a file is one of this export.
pub fn check_header(header: &Header, manifest: &Manifest, file: &str) -> Result<()> {
    ensure!(
        header.backup_id == manifest.export_id
            && header.cluster_id == manifest.cluster_id
            && header.pool_id == manifest.pool_id
            && (header.group, header.term, header.index)
                == (manifest.group, manifest.term, manifest.index),
        "{file} is of another export"
    );
    Ok(())
}

/// The keys that an export holds.
pub async fn open(
    destination: &Destination,
    manifest: &Manifest,
    identities: &[Identity],
) -> Result<PoolKeys> {
    let mut reader = Reader::new(identities);
    let mut none = |_: &[u8], _: &[u8]| -> Result<()> { Ok(()) };
    let feed = |piece: &[u8]| reader.feed(piece, &mut none);
    destination.read(&manifest.export_id, &manifest.keys, feed).await?;
    let contents = reader.finish(&mut |_, _| Ok(()))?;
    check_header(&contents.header, manifest, FILE)?;
    let mut keys = contents.pool_keys.context("it holds no keys")?.keys;
    let opened = keys.iter().map(|key| {
        let bytes: [u8; 32] = key.key.as_slice().try_into().context("a key has another length")?;
        Ok((key.version, Key256::new(bytes)))
    });
    let opened = opened.collect::<Result<PoolKeys>>();
    keys.iter_mut().for_each(|key| key.key.zeroize());
    opened
}
