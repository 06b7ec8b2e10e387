//! Whether a user has a given password, for who declares it rather than signs in: an operator's seed.

use async_trait::async_trait;
use conclave_api::ApiError;
use conclave_crypto::secret::SecretString;
use conclave_store::{keys::UserChild, records::CredentialsRecord};

use super::{admin_user, credentials, lookup, lookup::With, status};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// What is known of a user's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordState {
    /// It is the given one.
    pub matches: bool,
    /// It has to be changed at the next sign-in, or reset.
    pub is_temporary: bool,
}

/// Compares. It counts as no attempt and needs no lock-out, because nobody calls it through the API. One
/// read.
///
/// # Errors
/// ResourceNotFoundException when the pool is not the caller's; UserNotFoundException;
/// TooManyRequestsException when too much is waiting for the processor.
pub async fn compare_password(
    world: &World,
    call: &Call,
    pool_id: &str,
    username: &str,
    password: &SecretString,
) -> Result<PasswordState, ApiError> {
    transact(world, &ComparePassword { call, pool_id, username, password }).await
}

struct ComparePassword<'a> {
    call: &'a Call,
    pool_id: &'a str,
    username: &'a str,
    password: &'a SecretString,
}

#[async_trait]
impl Transaction for ComparePassword<'_> {
    type Output = PasswordState;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<PasswordState> {
        let with = [With::Child(UserChild::Credentials, &[])];
        let user = admin_user::load_with(tx, self.call, self.username, &with).await?;
        let is_temporary = user.status != status::CONFIRMED;
        let stored =
            lookup::child::<CredentialsRecord>(tx, &user.sub, UserChild::Credentials, &[])?;
        let pool = tx.pool()?;
        let hash = match stored {
            Some(stored) => credentials::open_password_hash(&pool, &user.sub, &stored.record)?,
            None => None,
        };
        let world = tx.world();
        let matches = match hash {
            Some(hash) => tx.memo().verify_password(world, self.password, Some(&hash)).await?,
            None => false,
        };
        Ok(PasswordState { matches, is_temporary }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{signed_call, signed_call_of},
        users::fixtures::{PASSWORD, plain_pool},
    };

    #[tokio::test]
    async fn a_password_is_compared_with_the_one_that_is_set() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        let compare = async |call: &Call, password: &str| {
            let password = SecretString::new(password.to_owned());
            compare_password(&pool, call, &pool.id, "ada", &password).await
        };
        let state = compare(&signed_call(), PASSWORD).await.unwrap();
        assert_eq!(state, PasswordState { matches: true, is_temporary: true });
        let state = compare(&signed_call(), "Another-Horse-3").await.unwrap();
        assert!(!state.matches);
        let other = signed_call_of("444455556666", "us-east-1");
        assert!(compare(&other, PASSWORD).await.is_err());
    }
}
