//! Reads an uploaded file from a byte on, one stored part at a time.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use conclave_api::ApiError;
use conclave_store::{keys, records::UserImportFile};

use super::upload::{self, CHUNK_BYTES};
use crate::{
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// A line of the file.
pub(super) struct Line {
    /// From 1.
    pub number: u64,
    /// Without its end.
    pub text: String,
    /// The byte behind it.
    pub next_byte: u64,
}

/// See the module. What has been read and not been taken is kept.
pub(super) struct Source<'a> {
    world: &'a World,
    pool_id: &'a str,
    file: UserImportFile,
    /// Where `ahead` begins in the file, and in which line.
    at: u64,
    line: u64,
    ahead: BytesMut,
}

impl<'a> Source<'a> {
    pub(super) fn new(world: &'a World, pool_id: &'a str, file: UserImportFile) -> Self {
        Self { world, pool_id, file, at: 0, line: 1, ahead: BytesMut::new() }
    }

    /// Goes on at a byte, which begins a line.
    pub(super) fn seek(&mut self, byte: u64, line: u64) {
        match byte.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok()) {
            Some(skip) if skip <= self.ahead.len() => {
                let _ = self.ahead.split_to(skip);
            }
            _ => self.ahead.clear(),
        }
        (self.at, self.line) = (byte, line);
    }

    /// The next lines, without taking them: `max` at most, and at least one unless the file ends here.
    ///
    /// # Errors
    /// The store's; `None` when the file is not there any more.
    pub(super) async fn lines(&mut self, max: usize) -> Result<Option<Vec<Line>>, ApiError> {
        let mut lines = Vec::new();
        let mut from = 0;
        while lines.len() < max {
            let rest = self.ahead.get(from..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n');
            let has_all = self.at + self.ahead.len() as u64 >= self.file.bytes;
            let (length, next) = match end {
                Some(length) => (length, length + 1),
                None if !has_all && lines.is_empty() => {
                    if !self.read_on().await? {
                        return Ok(None);
                    }
                    continue;
                }
                None if !has_all || rest.is_empty() => break,
                None => (rest.len(), rest.len()),
            };
            let text = rest.get(..length).unwrap_or_default();
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            from += next;
            lines.push(Line {
                number: self.line + lines.len() as u64,
                text: String::from_utf8_lossy(text).into_owned(),
                next_byte: self.at + from as u64,
            });
        }
        Ok(Some(lines))
    }

    async fn read_on(&mut self) -> Result<bool, ApiError> {
        let from = self.at + self.ahead.len() as u64;
        let number = u32::try_from(from / CHUNK_BYTES as u64)
            .map_err(|_| errors::internal("an uploaded file is too long"))?;
        let skip = (from % CHUNK_BYTES as u64) as usize;
        let read = ReadChunk { pool_id: self.pool_id, upload_id: &self.file.upload_id, number };
        let Some(chunk) = transact(self.world, &read).await? else { return Ok(false) };
        match chunk.get(skip..) {
            Some(rest) if !rest.is_empty() => self.ahead.extend_from_slice(rest),
            _ => return Err(errors::internal("a part of an uploaded file is too short")),
        }
        Ok(true)
    }
}

struct ReadChunk<'a> {
    pool_id: &'a str,
    upload_id: &'a [u8],
    number: u32,
}

#[async_trait]
impl Transaction for ReadChunk<'_> {
    type Output = Option<Bytes>;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Option<Bytes>> {
        let key = keys::user_import_chunk(self.upload_id, self.number);
        tx.load(Query::new().get(key.clone())).await?;
        let Some(sealed) = tx.get_bytes(&key) else { return Ok(None.into()) };
        Ok(Some(upload::open_chunk(&*tx.pool()?, &key, &sealed)?).into())
    }
}
