//! Assets of a style, in pieces, because a value and a commit have limits (`store::limits`).
//!
//! What fits into the commit of the record is written with it. Otherwise the pieces are written before, under ids
//! that nobody knows, with a row that tells of them; the commit of the record takes that row away. So an asset is
//! whole, or it is not there. A row that has been left goes with its pieces by the reconciler, and all of it goes
//! with the client.

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{entropy, mac};
use conclave_store::{
    keys,
    records::{AssetPieces, AssetUploadRecord, BrandingAsset},
};
use prost::Message;

use crate::{
    call::Call,
    clients::client_not_found,
    errors,
    pool_access::owned_pool,
    pools::make_ms_max,
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// Bytes of a piece: the largest asset has four.
const PIECE_BYTES: usize = 250_000;
/// Bytes of pieces in one commit. Beside them is the record; all of it stays below `COMMIT_BYTES_MAX`.
const COMMIT_BYTES: usize = 3 * PIECE_BYTES;
/// Pieces that one read asks for: less than `READ_BYTES_MAX`.
const READ_PIECES: usize = 12;
/// Uploads that are cleared away at one look of the reconciler.
const UPLOADS_AT_ONCE: u32 = 20;

/// An asset of a request.
pub(super) struct NewAsset {
    /// As it is going to be in the record.
    pub asset: BrandingAsset,
    pub bytes: Vec<u8>,
}

/// Names new pieces for an asset's bytes.
pub(super) fn new_pieces(world: &World, bytes: &[u8]) -> AssetPieces {
    let id: [u8; 16] = entropy::bytes(&*world.entropy);
    AssetPieces {
        asset_id: Bytes::copy_from_slice(&id),
        size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        sha256: Bytes::copy_from_slice(&mac::sha256(&[bytes])),
        count: u32::try_from(bytes.len().div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX),
    }
}

fn pieces(asset: &BrandingAsset) -> Result<&AssetPieces, ApiError> {
    asset.pieces.as_ref().ok_or_else(|| errors::internal("an asset has no pieces"))
}

fn rows<'a>(client_id: &'a str, pieces: &'a AssetPieces) -> impl Iterator<Item = Vec<u8>> + 'a {
    (0..pieces.count).map(|number| keys::asset_piece(client_id, &pieces.asset_id, number))
}

/// The bytes of assets of a record that was loaded in the same decision, in their order.
///
/// # Errors
/// The store's; it is decided again when the style has changed meanwhile.
pub(super) async fn load(
    tx: &mut Tx<'_>,
    client_id: &str,
    assets: &[BrandingAsset],
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut wanted = Vec::new();
    for asset in assets {
        wanted.extend(rows(client_id, pieces(asset)?));
    }
    for keys in wanted.chunks(READ_PIECES) {
        tx.load(keys.iter().fold(Query::new(), |query, key| query.get(key.clone()))).await?;
    }
    let mut all = Vec::with_capacity(assets.len());
    for asset in assets {
        let pieces = pieces(asset)?;
        let mut bytes = Vec::with_capacity(pieces.size as usize);
        for row in rows(client_id, pieces) {
            bytes.extend_from_slice(&tx.get_bytes(&row).unwrap_or_default());
        }
        if mac::sha256(&[&bytes])[..] != pieces.sha256[..] {
            return Err(errors::internal("an asset is not whole").into());
        }
        all.push(bytes);
    }
    Ok(all)
}

/// Deletes the pieces of assets that the record names no more.
///
/// # Errors
/// InternalErrorException for a record that is broken.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    client_id: &str,
    assets: &[BrandingAsset],
) -> Result<(), ApiError> {
    for asset in assets {
        for row in rows(client_id, pieces(asset)?) {
            tx.delete(row);
        }
    }
    Ok(())
}

/// The assets of a request on their way into the store.
pub(super) struct Upload<'a> {
    pool_id: &'a str,
    client_id: &'a str,
    pub assets: &'a [NewAsset],
    /// The row of the upload, where the pieces are written before the record.
    ahead: Option<Vec<u8>>,
}

impl<'a> Upload<'a> {
    /// Decides whether the pieces go with the record or before it. Nothing is written.
    pub fn new(
        world: &World,
        pool_id: &'a str,
        client_id: &'a str,
        assets: &'a [NewAsset],
    ) -> Self {
        let bytes: usize = assets.iter().map(|new| new.bytes.len()).sum();
        let id: [u8; 16] = entropy::bytes(&*world.entropy);
        let ahead = (bytes > COMMIT_BYTES).then(|| keys::asset_upload(client_id, &id));
        Self { pool_id, client_id, assets, ahead }
    }

    /// Whether [`Self::write_ahead`] writes anything.
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Writes the pieces that do not go with the record.
    ///
    /// # Errors
    /// ResourceNotFoundException when the caller has no such pool, or the pool no such client; the store's.
    pub async fn write_ahead(&self, world: &World, call: &Call) -> Result<(), ApiError> {
        let Some(upload_row) = &self.ahead else { return Ok(()) };
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut is_first = true;
        for (row, piece) in self.pieces()? {
            if bytes + piece.len() > COMMIT_BYTES {
                let batch = std::mem::take(&mut batch);
                transact(world, &WriteAhead { upload: self, upload_row, call, batch, is_first })
                    .await?;
                (bytes, is_first) = (0, false);
            }
            bytes += piece.len();
            batch.push((row, piece));
        }
        transact(world, &WriteAhead { upload: self, upload_row, call, batch, is_first }).await
    }

    fn pieces(&self) -> Result<Vec<(Vec<u8>, Bytes)>, ApiError> {
        let mut all = Vec::new();
        for new in self.assets {
            let contents = new.bytes.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
            all.extend(rows(self.client_id, pieces(&new.asset)?).zip(contents));
        }
        Ok(all)
    }

    /// Asks for what [`Self::finish`] needs.
    pub fn query(&self, query: Query) -> Query {
        match &self.ahead {
            Some(row) => query.get(row.clone()),
            None => query,
        }
    }

    /// The part of it in the commit of the record.
    ///
    /// # Errors
    /// ServiceUnavailable when it has taken so long that the pieces may have been cleared away.
    pub fn finish(&self, tx: &mut Tx<'_>) -> Result<(), ApiError> {
        tx.rely_on_root(keys::client(self.client_id));
        let Some(row) = &self.ahead else {
            for (row, piece) in self.pieces()? {
                tx.put_bytes(row, piece, None);
            }
            return Ok(());
        };
        let upload = tx.get::<AssetUploadRecord>(row)?.ok_or_else(errors::unavailable)?;
        if tx.now_ms() - upload.record.started_ms > make_ms_max() {
            return Err(errors::unavailable());
        }
        tx.delete(row.clone());
        Ok(())
    }

    /// Clears away what was written ahead, after a refusal. What cannot be cleared now is left to the reconciler.
    pub async fn discard(&self, world: &World) {
        if let Some(row) = &self.ahead {
            let clear = Clear { pool_id: self.pool_id, row, is_left: false };
            if let Err(error) = transact(world, &clear).await {
                tracing::debug!(code = error.code.as_str(), "assets were left");
            }
        }
    }
}

struct WriteAhead<'a> {
    upload: &'a Upload<'a>,
    upload_row: &'a [u8],
    call: &'a Call,
    batch: Vec<(Vec<u8>, Bytes)>,
    is_first: bool,
}

#[async_trait]
impl Transaction for WriteAhead<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.upload.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let client = keys::client(self.upload.client_id);
        tx.load(Query::new().get(client.clone()).get(self.upload_row.to_vec())).await?;
        owned_pool(tx, self.call)?;
        if tx.get_bytes(&client).is_none() {
            return Err(client_not_found().into());
        }
        tx.rely_on_root(client);
        if self.is_first {
            let assets = self.upload.assets.iter().map(|new| pieces(&new.asset).cloned());
            let record = AssetUploadRecord {
                client_id: self.upload.client_id.to_owned(),
                assets: assets.collect::<Result<_, _>>()?,
                started_ms: tx.now_ms(),
            };
            tx.put_new(self.upload_row.to_vec(), record.encode_to_vec().into(), None);
        } else if tx.get_bytes(self.upload_row).is_none() {
            return Err(errors::unavailable().into());
        } else {
            // nothing is added to what has been cleared away
            tx.rely_on(self.upload_row);
        }
        for (row, piece) in &self.batch {
            tx.put_bytes(row.clone(), piece.clone(), None);
        }
        Ok(().into())
    }
}

/// Clears away the uploads of a pool that have been left. Answers how many.
///
/// # Errors
/// The store's.
pub(crate) async fn clear_left(world: &World, pool_id: &str) -> Result<u64, ApiError> {
    let mut cleared = 0;
    for row in transact(world, &Uploads { pool_id }).await? {
        cleared += u64::from(transact(world, &Clear { pool_id, row: &row, is_left: true }).await?);
    }
    Ok(cleared)
}

/// The rows of a pool's uploads, some of them.
struct Uploads<'a> {
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Uploads<'_> {
    type Output = Vec<Bytes>;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let scan = Query::new().scan(keys::asset_uploads(), Vec::new(), UPLOADS_AT_ONCE);
        let pages = tx.load(scan).await?;
        let rows = pages.into_iter().flat_map(|page| page.rows);
        Ok(rows.map(|(key, _)| key).collect::<Vec<_>>().into())
    }
}

/// Answers whether there was such an upload.
struct Clear<'a> {
    pool_id: &'a str,
    row: &'a [u8],
    /// Only one that nobody can be at any more.
    is_left: bool,
}

#[async_trait]
impl Transaction for Clear<'_> {
    type Output = bool;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<bool> {
        tx.load(Query::new().get(self.row.to_vec())).await?;
        let Some(upload) = tx.get::<AssetUploadRecord>(self.row)? else { return Ok(false.into()) };
        let upload = upload.record;
        if self.is_left && tx.now_ms() - upload.started_ms <= 2 * make_ms_max() {
            return Ok(false.into());
        }
        for pieces in &upload.assets {
            for row in rows(&upload.client_id, pieces) {
                tx.delete(row);
            }
        }
        tx.delete(self.row.to_vec());
        Ok(true.into())
    }
}
