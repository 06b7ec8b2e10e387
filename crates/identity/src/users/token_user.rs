//! The user whose access token an operation carries.

use std::sync::Arc;

use conclave_store::records::UserRecord;

use super::status;
use crate::{
    auth::access_token::PresentedToken,
    config::ClientConfig,
    errors,
    tx::{Failure, Page, Query, Tx},
};

/// Loads and checks the token's user, and the app client that the token was issued to. One read.
///
/// # Errors
/// Those of a token that is not good; UserNotConfirmedException, PasswordResetRequiredException.
pub async fn load(
    tx: &mut Tx<'_>,
    token: &PresentedToken<'_>,
    more: Query,
) -> Result<(UserRecord, Arc<ClientConfig>), Failure> {
    let (user, client, _) = load_pages(tx, token, more).await?;
    Ok((user, client))
}

/// [`load`], with the pages of what is scanned.
///
/// # Errors
/// As [`load`].
pub async fn load_pages(
    tx: &mut Tx<'_>,
    token: &PresentedToken<'_>,
    more: Query,
) -> Result<(UserRecord, Arc<ClientConfig>, Vec<Page>), Failure> {
    let pages = token.load_with(tx, more).await?;
    let user = token.check(tx)?.record;
    status::check_acts(&user.status)?;
    let client = tx.client().ok_or_else(|| errors::internal("the client is not loaded"))?;
    Ok((user, client, pages))
}
