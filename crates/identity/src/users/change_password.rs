//! ChangePassword: a user who is signed in sets another password.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::secret::SecretString;
use conclave_store::{keys::UserChild, records::CredentialsRecord};

use super::{
    codes::{self, Limited},
    credentials, index, lookup, password_history,
    password_policy::{self, Wording},
    status,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    errors,
    threat_protection::{compromised::GivenPassword, context::Context, record},
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// Sets another password, when the present one is shown. Tokens stay valid, as in Cognito. One read and
/// one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn change_password(
    world: &World,
    call: &Call,
    input: types::ChangePasswordRequest,
) -> Result<types::ChangePasswordResponse, ApiError> {
    let change = ChangePassword {
        call,
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        previous: SecretString::new(input.previous_password.unwrap_or_default()),
        proposed: SecretString::new(input.proposed_password.unwrap_or_default()),
    };
    transact(world, &change).await
}

struct ChangePassword<'a> {
    call: &'a Call,
    token: PresentedToken<'a>,
    previous: SecretString,
    proposed: SecretString,
}

#[async_trait]
impl Transaction for ChangePassword<'_> {
    type Output = types::ChangePasswordResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let sub = self.token.sub();
        let query = Query::new().get(credentials::key(sub)).get(password_history::key(sub));
        self.token.load_with(tx, query).await?;
        let user = self.token.check(tx)?.record;
        status::check_acts(&user.status)?;
        let pool = tx.pool()?;
        let policy = password_policy::of(&pool);
        password_policy::check(&policy, self.proposed.expose(), Wording::NewPassword)?;
        if let Some(client) = tx.client() {
            let context = Context::of_app(self.call.peer, None);
            let given = GivenPassword::Change(self.proposed.expose());
            record::at_the_door(tx, &client, &context, Some(given)).await?;
        }

        codes::count(tx, &user.sub, Limited::ChangePassword);
        let stored =
            lookup::child::<CredentialsRecord>(tx, &user.sub, UserChild::Credentials, &[])?;
        let hash = match &stored {
            Some(stored) => credentials::open_password_hash(&pool, &user.sub, &stored.record)?,
            None => None,
        };
        let (world, memo) = (tx.world(), tx.memo());
        if !memo.verify_password(world, &self.previous, hash.as_deref()).await? {
            return Err(Failure::RefusedAfterCommit(errors::incorrect_username_or_password()));
        }
        password_history::replace(tx, &user, &self.proposed)
            .await
            .map_err(Failure::RefusedAfterCommit)?;
        let mut changed = user.clone();
        changed.modified_ms = tx.now_ms();
        credentials::set_password(tx, &changed, &self.proposed, 0).await?;
        index::write_user(tx, Some(&user), &changed)?;
        if let Some(client) = tx.client() {
            let context = Context::of_app(self.call.peer, None);
            let event = ("PasswordChange", self.call.request_id.as_str());
            let who = (Some(user.sub.as_str()), "");
            let password = GivenPassword::Change(self.proposed.expose());
            record::done(tx, &client, who, event, &context, Some(password)).await?;
        }
        Ok(types::ChangePasswordResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::unsigned_call,
        users::fixtures::{PASSWORD, TestPool, refusal, trips, verifying_pool},
    };

    const NEW: &str = "Other-Horse-2";

    async fn change(
        pool: &TestPool,
        token: &str,
        previous: Option<&str>,
        proposed: &str,
    ) -> Result<(), ApiError> {
        let request = types::ChangePasswordRequest {
            access_token: Some(token.to_owned()),
            previous_password: previous.map(str::to_owned),
            proposed_password: Some(proposed.to_owned()),
        };
        change_password(pool, &unsigned_call(), request).await.map(|_| ())
    }

    async fn signed_in() -> (TestPool, String) {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        let token = pool.token("ada").await;
        (pool, token)
    }

    #[tokio::test]
    async fn the_present_password_sets_another() {
        let (pool, token) = signed_in().await;
        change(&pool, &token, Some(PASSWORD), NEW).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert!(pool.sign_in("ada", PASSWORD).await.is_err());
        assert!(pool.sign_in("ada", NEW).await.is_ok());
        // the token is still good
        change(&pool, &token, Some(NEW), PASSWORD).await.unwrap();
        assert!(pool.password_is("ada", PASSWORD).await.1);
    }

    #[tokio::test]
    async fn s09_five_attempts_an_hour_are_judged() {
        let (pool, token) = signed_in().await;
        for previous in [Some("Wrong-Horse-9"), None, Some(NEW), Some(""), Some("Aa1!")] {
            assert_eq!(
                refusal(change(&pool, &token, previous, NEW).await),
                "NotAuthorizedException: Incorrect username or password."
            );
            assert_eq!(pool.store.take_trips(), trips(1, 1));
        }
        assert_eq!(
            refusal(change(&pool, &token, Some(PASSWORD), NEW).await),
            "LimitExceededException: Attempt limit exceeded, please try after some time."
        );
        assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
        pool.clock.advance(std::time::Duration::from_secs(60 * 60 - 1));
        let token = pool.token("ada").await;
        pool.clock.advance(std::time::Duration::from_secs(1));
        change(&pool, &token, Some(PASSWORD), NEW).await.unwrap();
    }

    #[tokio::test]
    async fn a_verdict_waits_for_its_commit() {
        let (pool, token) = signed_in().await;
        pool.store.fail_commit(1);
        let verdict = refusal(change(&pool, &token, Some("Wrong-Horse-9"), NEW).await);
        assert!(!verdict.starts_with("NotAuthorized"), "{verdict}");
    }

    #[tokio::test]
    async fn of_two_changes_at_once_one_wins() {
        let (mut pool, token) = signed_in().await;
        pool.race(1);
        let (a, b) = tokio::join!(
            change(&pool, &token, Some(PASSWORD), "First-Horse-1"),
            change(&pool, &token, Some(PASSWORD), "Second-Horse-2"),
        );
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }

    #[tokio::test]
    async fn weak_passwords_and_other_tokens_are_refused() {
        let (pool, token) = signed_in().await;
        assert_eq!(
            refusal(change(&pool, &token, Some(PASSWORD), "Aa1!").await),
            "InvalidPasswordException: Password does not conform to policy: Password not long \
             enough"
        );
        let id = pool.sign_in("ada", PASSWORD).await.unwrap().id_token.unwrap();
        for other in [id.as_str(), "x", &token[..token.len() - 4]] {
            assert!(
                refusal(change(&pool, other, Some(PASSWORD), NEW).await)
                    .starts_with("NotAuthorizedException: "),
                "{other}"
            );
        }
        assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
    }
}
