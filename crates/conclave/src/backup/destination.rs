//! Where backups are kept: files under the name of each backup, its manifest last.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use conclave_crypto::mac::Sha256;
use futures::{StreamExt as _, stream::BoxStream};

use super::{
    directory,
    manifest::{self, Manifest, Stored, hex},
    s3,
};
use crate::failure::Failure;

/// Bytes of one part of a file: what is sent at once, and in memory.
pub const PART_BYTES: usize = 8 << 20;

/// See the module.
pub enum Destination {
    Directory(PathBuf),
    S3(s3::Bucket),
}

impl Destination {
    /// As it is typed.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("s3", _)) => Ok(Self::S3(s3::Bucket::at(text)?)),
            Some((scheme, _)) => Err(Failure::usage(format!(
                "backups are kept in a directory or under s3://BUCKET/PREFIX, not {scheme}://"
            ))
            .into()),
            None => Ok(Self::Directory(PathBuf::from(text))),
        }
    }

    /// Ids of the backups that are there, complete, the oldest first.
    pub async fn list(&self) -> Result<Vec<String>> {
        let mut ids = match self {
            Self::Directory(dir) => directory::list(dir)?,
            Self::S3(bucket) => bucket.list().await?,
        };
        ids.retain(|id| is_id(id));
        ids.sort();
        Ok(ids)
    }

    /// The manifest of a backup, or of the latest one, and the SHA-256 of its file.
    pub async fn manifest(&self, backup: &str) -> Result<(Manifest, String)> {
        let backup_id = match backup {
            "latest" => {
                let ids = self.list().await?;
                ids.last().cloned().ok_or_else(|| Failure::failed("there is no backup there"))?
            }
            id => id.to_owned(),
        };
        if !is_id(&backup_id) {
            return Err(Failure::usage(format!("{backup_id} is not the id of a backup")).into());
        }
        let mut file = self.open(&backup_id, manifest::FILE).await?;
        let mut json = Vec::new();
        while let Some(piece) = file.next().await {
            json.extend_from_slice(&piece?);
            ensure!(json.len() <= manifest::BYTES_MAX, "the manifest is too large");
        }
        let manifest = Manifest::parse(&json, &backup_id)
            .with_context(|| format!("the manifest of {backup_id} cannot be used"))?;
        Ok((manifest, manifest::sha256(&json)))
    }

    /// A file of a backup, piece by piece.
    pub async fn open(
        &self,
        backup_id: &str,
        file: &str,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        match self {
            Self::Directory(dir) => directory::open(dir, backup_id, file),
            Self::S3(bucket) => bucket.open(backup_id, file).await,
        }
    }

    /// A file of a backup, compared with its manifest as it is read. The last piece comes only when all is as it was.
    pub async fn read(
        &self,
        backup_id: &str,
        stored: &Stored,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let name = &stored.file;
        let mut file = self.open(backup_id, name).await?;
        let (mut hash, mut bytes) = (Sha256::default(), 0_u64);
        let mut held: Option<Bytes> = None;
        while let Some(piece) = file.next().await {
            let piece = piece.with_context(|| format!("{name} cannot be read"))?;
            hash.update(&piece);
            bytes += piece.len() as u64;
            if let Some(held) = held.replace(piece) {
                take(&held)?;
            }
        }
        if bytes != stored.bytes {
            bail!("{name} has {bytes} bytes, and was made with {}", stored.bytes);
        }
        ensure!(hex(&hash.finish()) == stored.sha256, "{name} is not the file that it was made as");
        held.map_or(Ok(()), |held| take(&held))
    }

    /// Begins a backup.
    pub async fn begin(&self, backup_id: &str) -> Result<Writing<'_>> {
        ensure!(is_id(backup_id), "{backup_id} is not the id of a backup");
        let place = match self {
            Self::Directory(dir) => Place::Directory(directory::Writing::begin(dir, backup_id)?),
            Self::S3(bucket) => Place::S3(bucket.begin(backup_id)),
        };
        Ok(Writing { place })
    }
}

/// Ids are made by nodes; what is read from elsewhere must not lead elsewhere.
fn is_id(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (1..=64).contains(&text.len()) && plain
}

/// A backup in the making. Dropped before it is published, it is none.
pub struct Writing<'d> {
    place: Place<'d>,
}

enum Place<'d> {
    Directory(directory::Writing),
    S3(s3::Writing<'d>),
}

enum FilePlace {
    Directory(directory::File),
    S3(s3::Upload),
}

impl Writing<'_> {
    /// A new file of it.
    pub async fn file(&mut self, name: &str) -> Result<FileWriter> {
        let place = match &mut self.place {
            Place::Directory(writing) => FilePlace::Directory(writing.file(name)?),
            Place::S3(writing) => FilePlace::S3(writing.file(name).await?),
        };
        Ok(FileWriter {
            place,
            name: name.to_owned(),
            held: Vec::with_capacity(PART_BYTES),
            hash: Sha256::default(),
            bytes: 0,
            parts: Vec::new(),
        })
    }

    /// Writes the manifest. When this returns, the backup is where it is kept, and has been seen there.
    pub async fn publish(self, manifest: &Manifest) -> Result<String> {
        let json = manifest.to_json()?;
        match self.place {
            Place::Directory(writing) => writing.publish(&json)?,
            Place::S3(writing) => writing.publish(&json, manifest).await?,
        }
        Ok(manifest::sha256(&json))
    }

    /// Takes away what there is of it, as far as that is possible.
    pub async fn abandon(self) {
        match self.place {
            Place::Directory(writing) => drop(writing),
            Place::S3(writing) => writing.abandon().await,
        }
    }
}

/// A file in the making.
pub struct FileWriter {
    place: FilePlace,
    name: String,
    held: Vec<u8>,
    hash: Sha256,
    bytes: u64,
    parts: Vec<String>,
}

impl FileWriter {
    /// Takes more.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<()> {
        self.hash.update(data);
        self.bytes += data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(PART_BYTES - self.held.len()));
            self.held.extend_from_slice(now);
            data = later;
            if self.held.len() == PART_BYTES {
                self.part().await?;
            }
        }
        Ok(())
    }

    /// The file is complete.
    pub async fn finish(mut self) -> Result<Stored> {
        if !self.held.is_empty() {
            self.part().await?;
        }
        match self.place {
            FilePlace::Directory(file) => file.finish()?,
            FilePlace::S3(upload) => upload.finish().await?,
        }
        Ok(Stored {
            file: self.name,
            bytes: self.bytes,
            sha256: hex(&self.hash.finish()),
            part_bytes: PART_BYTES as u64,
            parts: self.parts,
        })
    }

    async fn part(&mut self) -> Result<()> {
        self.parts.push(manifest::sha256(&self.held));
        match &mut self.place {
            FilePlace::Directory(file) => {
                file.write(&self.held)?;
                self.held.clear();
            }
            FilePlace::S3(upload) => {
                let held = std::mem::replace(&mut self.held, Vec::with_capacity(PART_BYTES));
                upload.part(held).await?;
            }
        }
        Ok(())
    }
}
