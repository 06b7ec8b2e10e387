//! AdminSetUserPassword: an administrator sets a password, for good or until the next sign-in.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::secret::SecretString;

use super::{
    admin_user, credentials, index,
    lookup::With,
    password_history,
    password_policy::{self, Wording},
    status,
};
use crate::{
    call::Call,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Sets a password, whatever state the user is in; one that the user has had lately is refused here as well.
/// Tokens stay valid, the lock-out stays, and no address becomes verified. One read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_set_user_password(
    world: &World,
    call: &Call,
    input: types::AdminSetUserPasswordRequest,
) -> Result<types::AdminSetUserPasswordResponse, ApiError> {
    let set = AdminSetUserPassword {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        password: SecretString::new(input.password.unwrap_or_default()),
        permanent: input.permanent.unwrap_or(false),
    };
    transact(world, &set).await
}

struct AdminSetUserPassword<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    password: SecretString,
    permanent: bool,
}

#[async_trait]
impl Transaction for AdminSetUserPassword<'_> {
    type Output = types::AdminSetUserPasswordResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let with = [With::Credentials, password_history::WITH];
        let user = admin_user::load_with(tx, self.call, &self.username, &with).await?;
        let policy = password_policy::of(&*tx.pool()?);
        password_policy::check(&policy, self.password.expose(), Wording::NewPassword)?;
        let (status, temporary_until_ms) = if self.permanent {
            (status::CONFIRMED, 0)
        } else {
            let until_ms = password_policy::temporary_until_ms(&policy, tx.now_ms());
            (status::FORCE_CHANGE_PASSWORD, until_ms)
        };
        password_history::replace(tx, &user, &self.password).await?;
        let mut changed = user.clone();
        status.clone_into(&mut changed.status);
        changed.modified_ms = tx.now_ms();
        credentials::set_password(tx, &changed, &self.password, temporary_until_ms).await?;
        index::write_user(tx, Some(&user), &changed)?;
        Ok(types::AdminSetUserPasswordResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{START_MS, signed_call, signed_call_of},
        users::fixtures::{PASSWORD, TestPool, email_name_pool, plain_pool, refusal, trips},
    };

    const OTHER: &str = "Other-Horse-2";
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    async fn set(
        pool: &TestPool,
        call: &Call,
        username: &str,
        password: &str,
        permanent: Option<bool>,
    ) -> Result<(), ApiError> {
        let request = types::AdminSetUserPasswordRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            password: Some(password.to_owned()),
            permanent,
        };
        admin_set_user_password(pool, call, request).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_permanent_password_confirms_the_user() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        pool.store.take_trips();
        pool.clock.advance(Duration::from_secs(1));
        set(&pool, &signed_call(), "ada", OTHER, Some(true)).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
        assert_eq!(pool.user("ada").await.unwrap().user_last_modified_date, Some(START_MS + 1_000));
        assert!(pool.attributes_of("ada").await.contains(&"email_verified=false".to_owned()));
        let (record, is_new) = pool.password_is("ada", OTHER).await;
        assert!(is_new);
        assert_eq!(record.temporary_until_ms, 0);
        assert!(!pool.password_is("ada", PASSWORD).await.1);
    }

    #[tokio::test]
    async fn a_temporary_password_must_be_changed_within_the_pool_s_time() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        set(&pool, &signed_call(), "ada", OTHER, Some(true)).await.unwrap();
        set(&pool, &signed_call(), "ada", PASSWORD, None).await.unwrap();
        assert_eq!(pool.status_of("ada").await, "FORCE_CHANGE_PASSWORD");
        let (record, is_new) = pool.password_is("ada", PASSWORD).await;
        assert!(is_new);
        assert_eq!(record.temporary_until_ms, START_MS + 7 * DAY_MS);
    }

    #[tokio::test]
    async fn a_verifier_is_made_for_the_name_that_clients_are_told() {
        let pool = email_name_pool().await;
        pool.sign_up("ada@example.com", &[]).await.unwrap();
        set(&pool, &signed_call(), "ada@example.com", OTHER, Some(true)).await.unwrap();
        let (record, is_new) = pool.password_is("ada@example.com", OTHER).await;
        assert!(is_new);
        assert_eq!(Some(record.srp_user_id), pool.user("ada@example.com").await.unwrap().username);
    }

    #[tokio::test]
    async fn weak_passwords_unknown_users_and_foreign_pools_are_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[]).await.unwrap();
        assert_eq!(
            refusal(set(&pool, &signed_call(), "ada", "Aa1!", Some(true)).await),
            "InvalidPasswordException: Password does not conform to policy: Password not long enough"
        );
        assert_eq!(
            refusal(set(&pool, &signed_call(), "nobody", OTHER, Some(true)).await),
            "UserNotFoundException: User does not exist."
        );
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(set(&pool, &foreign, "ada", OTHER, Some(true)).await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        assert!(pool.password_is("ada", PASSWORD).await.1);
        assert_eq!(pool.status_of("ada").await, "UNCONFIRMED");
    }
}
