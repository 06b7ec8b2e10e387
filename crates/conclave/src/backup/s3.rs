//! Backups in a bucket of S3, or of what speaks like it. Where it is and who asks is in the environment, as for any
//! client of AWS: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP for an
//! endpoint without TLS, or what a pod is given.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use super::manifest::{self, Stored};
use crate::failure::Failure;

/// A bucket, and a prefix in it.
pub struct Bucket {
    store: AmazonS3,
    prefix: Path,
    url: String,
}

impl Bucket {
    /// `s3://BUCKET/PREFIX`
    pub fn at(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("s3://").unwrap_or(url);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Failure::usage(format!("{url} names no bucket")).into());
        }
        let prefix = Path::parse(prefix).with_context(|| format!("{url} cannot be used"))?;
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .build()
            .with_context(|| format!("{url} cannot be used"))?;
        Ok(Self { store, prefix, url: url.to_owned() })
    }

    fn path(&self, backup_id: &str, name: &str) -> Path {
        self.prefix.clone().join(backup_id).join(name)
    }

    /// Names of the backups that have a manifest.
    pub async fn list(&self) -> Result<Vec<String>> {
        let prefix = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let depth = self.prefix.parts().count();
        let mut objects = self.store.list(prefix);
        let mut names = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object.with_context(|| format!("{} cannot be listed", self.url))?;
            let parts: Vec<_> = object.location.parts().skip(depth).collect();
            if let [id, file] = parts.as_slice()
                && file.as_ref() == manifest::FILE
            {
                names.push(id.as_ref().to_owned());
            }
        }
        Ok(names)
    }

    /// A file, piece by piece.
    pub async fn open(
        &self,
        backup_id: &str,
        name: &str,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let path = self.path(backup_id, name);
        let found = self.store.get(&path).await;
        let found = found.with_context(|| format!("cannot read {path} in {}", self.url))?;
        Ok(found.into_stream().map_err(anyhow::Error::from).boxed())
    }

    pub fn begin(&self, backup_id: &str) -> Writing<'_> {
        Writing { bucket: self, backup_id: backup_id.to_owned(), names: Vec::new() }
    }
}

/// A backup in the making. Without a manifest, its files are none.
pub struct Writing<'b> {
    bucket: &'b Bucket,
    backup_id: String,
    names: Vec<String>,
}

impl Writing<'_> {
    pub async fn file(&mut self, name: &str) -> Result<Upload> {
        let path = self.bucket.path(&self.backup_id, name);
        let upload = self.bucket.store.put_multipart(&path).await;
        let upload = upload.with_context(|| format!("cannot write {path}"))?;
        self.names.push(name.to_owned());
        Ok(Upload { upload, path })
    }

    /// The files have to be there with their sizes, and the manifest has to read back as it was written.
    pub async fn publish(self, name: &str, json: &[u8], files: &[&Stored]) -> Result<()> {
        let store = &self.bucket.store;
        for stored in files {
            let path = self.bucket.path(&self.backup_id, &stored.file);
            let seen = store.head(&path).await.with_context(|| format!("{path} is not there"))?;
            ensure!(
                seen.size == stored.bytes,
                "{path} has {} bytes, and {} were sent",
                seen.size,
                stored.bytes
            );
        }
        let path = self.bucket.path(&self.backup_id, name);
        let put = store.put(&path, PutPayload::from(json.to_vec())).await;
        put.with_context(|| format!("cannot write {path}"))?;
        let read = async { store.get(&path).await?.bytes().await };
        let read = read.await.with_context(|| format!("cannot read {path} back"))?;
        ensure!(read == json, "{path} reads back as something else");
        Ok(())
    }

    pub async fn abandon(self) {
        for name in &self.names {
            let path = self.bucket.path(&self.backup_id, name);
            // what stays is no backup
            let _ = self.bucket.store.delete(&path).await;
        }
    }
}

/// A file of it.
pub struct Upload {
    upload: Box<dyn MultipartUpload>,
    path: Path,
}

impl Upload {
    /// Sends one part, and waits until it has been taken.
    pub async fn part(&mut self, part: Vec<u8>) -> Result<()> {
        let sent = self.upload.put_part(PutPayload::from(part)).await;
        if sent.is_err() {
            // what has been sent would be kept, and paid for
            let _ = self.upload.abort().await;
        }
        sent.with_context(|| format!("cannot write {}", self.path))
    }

    pub async fn finish(mut self) -> Result<()> {
        let done = self.upload.complete().await;
        done.map(drop).with_context(|| format!("cannot write {}", self.path))
    }
}
