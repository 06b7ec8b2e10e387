//! Backups in a directory: each is a directory, which gets its name when all that is in it is on disk.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};

use super::manifest;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Names of the backups that have a manifest.
pub fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.path().join(manifest::FILE).is_file()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// A file, piece by piece.
pub fn open(dir: &Path, backup_id: &str, name: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
    let path = dir.join(backup_id).join(name);
    let file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(stream::iter(Pieces(file)).boxed())
}

struct Pieces(fs::File);

impl Iterator for Pieces {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match (&mut self.0).take(PIECE_BYTES as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// A backup in the making, under another name.
pub struct Writing {
    dir: PathBuf,
    partial: PathBuf,
    backup_id: String,
}

impl Writing {
    pub fn begin(dir: &Path, backup_id: &str) -> Result<Self> {
        let partial = dir.join(format!(".{backup_id}.partial"));
        fs::create_dir_all(dir)
            .and_then(|()| fs::create_dir(&partial))
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), partial, backup_id: backup_id.to_owned() })
    }

    pub fn file(&self, name: &str) -> Result<File> {
        let path = self.partial.join(name);
        let file = fs::File::create_new(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(File { file, path })
    }

    pub fn publish(self, name: &str, manifest: &[u8]) -> Result<()> {
        let mut file = self.file(name)?;
        file.write(manifest)?;
        file.finish()?;
        let publish = || {
            sync_dir(&self.partial)?;
            fs::rename(&self.partial, self.dir.join(&self.backup_id))?;
            sync_dir(&self.dir)
        };
        publish().with_context(|| format!("cannot write to {}", self.dir.display()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // it has another name when it was published
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// A file of it.
pub struct File {
    file: fs::File,
    path: PathBuf,
}

impl File {
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(data).with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub fn finish(self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
