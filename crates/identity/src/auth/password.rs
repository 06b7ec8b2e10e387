//! USER_PASSWORD_AUTH: the password itself, over the wire.

use conclave_crypto::secret::SecretString;

use super::{
    attempts, device_auth,
    step::{self, Step},
};
use crate::{
    config::ClientConfig,
    errors,
    tx::{Failure, Tx},
    users::{
        credentials,
        lookup::{self, FoundUser},
    },
};

/// Signs in by user name and password. The rows of the name's lookup, and of its unknown attempts,
/// must have been loaded.
///
/// # Errors
/// See [`step::may_try`] and [`step::after_password`].
pub async fn sign_in(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    username: &str,
    password: &SecretString,
    found: Option<FoundUser>,
    device_key: Option<&str>,
    event_id: &str,
) -> Result<Step, Failure> {
    let named = device_auth::check_named(tx, &*tx.pool()?, found.as_ref(), device_key, None)?;
    let Some(found) = found else {
        return Err(unknown_user(tx, client, username, password).await);
    };
    step::may_try(client, &found.user.record)?;
    let counter = attempts::of_user(found.sub());
    attempts::check_lock(tx, &counter)?;

    let config = tx.pool()?;
    let hash = match &found.credentials {
        Some(stored) => credentials::open_password_hash(&config, found.sub(), &stored.record)?,
        None => None,
    };
    let verdict = tx.memo().verify_password(tx.world(), password, hash.as_deref()).await?;
    if !verdict {
        return Err(attempts::failed(tx, counter));
    }
    rely_on_credentials(tx, &found);
    step::after_password(tx, client, &found, &named, event_id).await
}

/// A password that is changed while it is checked must not sign in.
fn rely_on_credentials(tx: &mut Tx<'_>, found: &FoundUser) {
    tx.rely_on(&credentials::key(found.sub()));
}

/// The same work and the same counting as for a user who exists, unless the client is told anyway.
async fn unknown_user(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    username: &str,
    password: &SecretString,
) -> Failure {
    if !client.hides_users() {
        return errors::user_not_found().into();
    }
    let config = match tx.pool() {
        Ok(config) => config,
        Err(error) => return error.into(),
    };
    let folded = lookup::folded(&config, username);
    let counter = attempts::of_unknown(tx.world(), config.id(), &folded);
    if let Err(error) = attempts::check_lock(tx, &counter) {
        return error.into();
    }
    if let Err(error) = tx.memo().verify_password(tx.world(), password, None).await {
        return error.into();
    }
    attempts::failed(tx, counter)
}
