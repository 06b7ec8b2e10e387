//! A page of something that a pool has many of.

use bytes::Bytes;
use conclave_api::ApiError;
use prost::Message;

use crate::{
    call::Call,
    errors,
    page_token::{self, List},
    pool_access::{owned_pool, principal},
    tx::{Failure, Query, Tx},
};

/// What a request says about its page.
pub(crate) struct Wanted<'a> {
    /// `ListResourceServers`: a token is good for nothing else.
    pub operation: &'static str,
    /// The prefix of the rows.
    pub prefix: Vec<u8>,
    pub next_token: Option<&'a str>,
    pub max_results: Option<i32>,
    /// When the request does not say, or says 0.
    pub limit_default: u32,
}

/// One page, and the token of the next one.
pub(crate) struct PoolPage<R> {
    pub records: Vec<R>,
    pub next_token: Option<String>,
}

/// Loads a page of the caller's pool, in two reads: the pool's key, which opens the token, comes first.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a token of
/// another list.
pub(crate) async fn load<R: Message + Default>(
    tx: &mut Tx<'_>,
    call: &Call,
    wanted: Wanted<'_>,
) -> Result<PoolPage<R>, Failure> {
    tx.load(Query::new()).await?;
    let pool = owned_pool(tx, call)?;
    let principal = principal(call)?;
    let list = List { operation: wanted.operation, principal, of: &[pool.id()] };
    let after = page_token::open(&pool.keyring, list, wanted.next_token)?;
    // the model limits it from above
    let limit = wanted.max_results.and_then(|max| u32::try_from(max).ok());
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(wanted.limit_default);
    let mut page = PoolPage { records: Vec::new(), next_token: None };
    for rows in tx.load(Query::new().scan(wanted.prefix, after, limit)).await? {
        for (_, value) in rows.rows {
            page.records.push(decode(value)?);
        }
        if let Some(last) = rows.next {
            page.next_token = Some(page_token::seal(tx.world(), &pool.keyring, list, &last)?);
        }
    }
    Ok(page)
}

fn decode<R: Message + Default>(value: Bytes) -> Result<R, ApiError> {
    R::decode(value).map_err(|_| errors::internal("a stored record cannot be decoded"))
}
