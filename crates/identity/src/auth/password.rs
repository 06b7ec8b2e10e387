//! USER_PASSWORD_AUTH: the password itself, over the wire.

use conclave_api::ExceptionName;
use conclave_crypto::secret::SecretString;

use super::{
    attempts,
    challenge_session::SignIn,
    device_auth,
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
    sign_in: SignIn<'_>,
) -> Result<Step, Failure> {
    device_auth::check_named(tx, found.as_ref(), sign_in.device_key)?;
    let Some(mut found) = found else {
        return Err(unknown_user(tx, client, username, password).await);
    };
    step::may_try(client, &found.user.record)?;
    step::has_password(client, &found)?;
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
    replace_imported(tx, &mut found, password).await?;
    step::after_password(tx, client, &found, sign_in).await
}

/// The first sign-in with a password that was imported as a hash: it is hashed as all others are, and SRP
/// can be used from then on. When the processor has no time for that, the next sign-in does it.
async fn replace_imported(
    tx: &mut Tx<'_>,
    found: &mut FoundUser,
    password: &SecretString,
) -> Result<(), Failure> {
    let Some(stored) = &mut found.credentials else { return Ok(()) };
    if !credentials::is_imported(&stored.record) {
        return Ok(());
    }
    let until_ms = stored.record.temporary_until_ms;
    match credentials::set_password(tx, &found.user.record, password, until_ms).await {
        Err(error) if error.code != ExceptionName::TooManyRequestsException => Err(error.into()),
        Err(_) => Ok(()),
        // the rest of the sign-in is bound to the password as it is now
        Ok(()) => {
            stored.record.set_ms = tx.now_ms();
            Ok(())
        }
    }
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
