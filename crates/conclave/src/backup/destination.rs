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
        let json = self.json(&backup_id, manifest::FILE).await?;
        let manifest = Manifest::parse(&json, &backup_id)
            .with_context(|| format!("the manifest of {backup_id} cannot be used"))?;
        Ok((manifest, manifest::sha256(&json)))
    }

    /// A manifest, as it is kept.
    pub async fn json(&self, backup_id: &str, name: &str) -> Result<Vec<u8>> {
        ensure!(is_id(backup_id), "{backup_id} is not a name that is given to what is kept");
        let mut file = self.open(backup_id, name).await?;
        let mut json = Vec::new();
        while let Some(piece) = file.next().await {
            json.extend_from_slice(&piece?);
            ensure!(json.len() <= manifest::BYTES_MAX, "the manifest is too large");
        }
        Ok(json)
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
        let mut file = self.checked(backup_id, stored).await?;
        while let Some(piece) = file.next().await? {
            take(&piece)?;
        }
        Ok(())
    }

    /// The same, for whoever has to wait between two pieces.
    pub async fn checked<'s>(&self, backup_id: &str, stored: &'s Stored) -> Result<Checked<'s>> {
        let file = self.open(backup_id, &stored.file).await?;
        Ok(Checked { file, stored, hash: Some(Sha256::default()), bytes: 0, held: None })
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

/// A file that is compared with its manifest as it is read.
pub struct Checked<'s> {
    file: BoxStream<'static, Result<Bytes>>,
    stored: &'s Stored,
    /// `None` when all of it has come.
    hash: Option<Sha256>,
    bytes: u64,
    held: Option<Bytes>,
}

impl Checked<'_> {
    /// The next piece. The last one comes only when all is as it was.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Stored { file: name, bytes, sha256, .. } = self.stored;
        while let Some(hash) = &mut self.hash {
            if let Some(piece) = self.file.next().await {
                let piece = piece.with_context(|| format!("{name} cannot be read"))?;
                hash.update(&piece);
                self.bytes += piece.len() as u64;
                if let Some(held) = self.held.replace(piece) {
                    return Ok(Some(held));
                }
                continue;
            }
            if self.bytes != *bytes {
                bail!("{name} has {} bytes, and was made with {bytes}", self.bytes);
            }
            let hash = self.hash.take().map(Sha256::finish).unwrap_or_default();
            ensure!(hex(&hash) == *sha256, "{name} is not the file that it was made as");
        }
        Ok(self.held.take())
    }
}

/// Ids are made by nodes; what is read from elsewhere must not lead elsewhere.
pub fn is_id(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (1..=128).contains(&text.len()) && plain
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
        let files: Vec<_> = manifest.files().collect();
        self.publish_as(manifest::FILE, &manifest.to_json()?, &files).await
    }

    /// The same, with a manifest of another kind.
    pub async fn publish_as(self, name: &str, json: &[u8], files: &[&Stored]) -> Result<String> {
        match self.place {
            Place::Directory(writing) => writing.publish(name, json)?,
            Place::S3(writing) => writing.publish(name, json, files).await?,
        }
        Ok(manifest::sha256(json))
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
