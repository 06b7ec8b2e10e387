//! Whose pool it is: the rule that keeps tenants apart in signed operations.

use std::sync::Arc;

use conclave_api::ApiError;

use crate::{
    call::{Call, CallPrincipal},
    config::PoolConfig,
    errors,
    tx::Tx,
};

/// Who has signed the call.
///
/// # Errors
/// InternalErrorException when the operation was called without a signature.
pub fn principal(call: &Call) -> Result<&CallPrincipal, ApiError> {
    let unsigned = || errors::internal("a signed operation was called without a principal");
    call.principal.as_ref().ok_or_else(unsigned)
}

/// The pool that was loaded, when it belongs to the caller's account and region.
///
/// # Errors
/// ResourceNotFoundException as for a pool that does not exist, so that nobody learns which ids are
/// in use elsewhere; InternalErrorException when the operation was called without a signature.
pub fn owned_pool(tx: &Tx<'_>, call: &Call) -> Result<Arc<PoolConfig>, ApiError> {
    let pool = tx.pool()?;
    let principal = principal(call)?;
    let owned =
        pool.record.account_id == principal.account_id && pool.record.region == principal.region;
    if owned { Ok(pool) } else { Err(errors::user_pool_not_found(pool.id())) }
}
