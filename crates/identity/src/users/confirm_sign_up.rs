//! ConfirmSignUp: a person shows the code, and with it the address that it was sent to.

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, types};
use conclave_crypto::secret::SecretString;
use conclave_store::{
    keys::UserChild,
    records::{CodeRecord, UserRecord},
};

use super::{
    aliases,
    app_request::AppRequest,
    attributes::{self, Values},
    codes::{self, CodePurpose, Limited},
    delivery, index,
    lookup::{self, FoundUser, With},
    status,
};
use crate::{
    auth::{challenge_session, sign_up_session},
    call::Call,
    config::ClientConfig,
    triggers::{
        Circumstances,
        post_confirmation::{self, Confirmed},
    },
    tx::{Decision, Failure, Query, Stored, Transaction, Tx, transact},
    world::World,
};

/// Confirms a user. One read and one commit; one read more where the address becomes an alias. A wrong
/// code and a user who does not exist cost the same, where the client hides who exists.
///
/// # Errors
/// Those of the API reference.
pub async fn confirm_sign_up(
    world: &World,
    _call: &Call,
    input: types::ConfirmSignUpRequest,
) -> Result<types::ConfirmSignUpResponse, ApiError> {
    confirm(world, input, false).await
}

/// [`confirm_sign_up`] by the link that was sent in the place of a code. Who follows it has no secret of the
/// app: as in Cognito, the code in it is proof enough. There are links where the pool has a domain.
///
/// # Errors
/// As [`confirm_sign_up`]; InvalidParameterException in a pool without a domain.
pub async fn confirm_sign_up_by_link(
    world: &World,
    input: types::ConfirmSignUpRequest,
) -> Result<(), ApiError> {
    confirm(world, input, true).await.map(|_| ())
}

async fn confirm(
    world: &World,
    input: types::ConfirmSignUpRequest,
    by_link: bool,
) -> Result<types::ConfirmSignUpResponse, ApiError> {
    let request =
        AppRequest::new(world, input.client_id, input.username, input.secret_hash).await?;
    let confirm = ConfirmSignUp {
        request: request.with_metadata(input.client_metadata),
        by_link,
        code: SecretString::new(input.confirmation_code.unwrap_or_default()),
        force_alias_creation: input.force_alias_creation.unwrap_or(false),
        is_session_given: input.session.is_some(),
        session: sign_up_session::sealed(input.session.as_deref()),
    };
    transact(world, &confirm).await
}

struct ConfirmSignUp {
    request: AppRequest,
    by_link: bool,
    code: SecretString,
    force_alias_creation: bool,
    is_session_given: bool,
    /// What is sealed in the session of SignUp.
    session: Option<Vec<u8>>,
}

#[async_trait]
impl Transaction for ConfirmSignUp {
    type Output = types::ConfirmSignUpResponse;

    fn scope(&self) -> &str {
        &self.request.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.request.circumstances()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let code = With::Child(UserChild::Code, CodePurpose::SignUp.row());
        let username = &self.request.username;
        let mut query = lookup::query(Query::new(), username, &[code]);
        if let Some(sealed) = &self.session {
            query = query.get(challenge_session::used_key(sealed));
        }
        let (pool, client) = if self.by_link {
            let loaded = self.request.load_unproved(tx, query).await?;
            delivery::check_domain(&loaded.0)?;
            loaded
        } else {
            self.request.load(tx, query).await?
        };
        let Some(FoundUser { user: Stored { record: user, .. }, .. }) =
            lookup::find(tx, &pool, username)?
        else {
            if !client.hides_users() {
                return Err(combination_not_found().into());
            }
            codes::count_unknown(tx, &pool, username, Limited::ConfirmSignUp);
            return Err(Failure::RefusedAfterCommit(codes::expired()));
        };
        status::check_enabled(user.enabled)?;
        status::check_can_be_confirmed(&user.status)?;

        codes::count(tx, &user.sub, Limited::ConfirmSignUp);
        let sent: Option<Stored<CodeRecord>> =
            lookup::child(tx, &user.sub, UserChild::Code, CodePurpose::SignUp.row())?;
        let Some(Stored { record: sent, .. }) = sent else {
            return Err(Failure::RefusedAfterCommit(codes::expired()));
        };
        codes::check(&pool, &user, CodePurpose::SignUp, &sent, self.code.expose())
            .map_err(Failure::RefusedAfterCommit)?;

        let confirmed = confirmed(&user, &sent.attribute, tx.now_ms());
        // the code was right, and stays good for another attempt with ForceAliasCreation
        let change = (&user, &confirmed);
        let taken = aliases::take(tx, &pool, change, &Values::new(), self.force_alias_creation)
            .await
            .map_err(Failure::after_commit)?;
        let session =
            self.session(tx, &client, &user, &sent).map_err(Failure::RefusedAfterCommit)?;
        let mut changes = vec![(Some(&user), &confirmed)];
        changes.extend(taken.iter().map(|(owner, without)| (Some(owner), without)));
        index::write_users(tx, &changes)?;
        tx.delete(codes::key(&user.sub, CodePurpose::SignUp));
        post_confirmation::tell(tx, Confirmed::SignUp, &confirmed)?;
        Ok(types::ConfirmSignUpResponse { session }.into())
    }
}

impl ConfirmSignUp {
    /// The session that goes on to a sign-in, for the one that was given.
    fn session(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
        user: &UserRecord,
        sent: &CodeRecord,
    ) -> Result<Option<String>, ApiError> {
        if !self.is_session_given {
            return Ok(None);
        }
        let sealed = self.session.as_deref().ok_or_else(challenge_session::invalid)?;
        sign_up_session::confirmed(tx, client, user, sealed, sent).map(Some)
    }
}

/// The user with the address verified that the code was sent to.
fn confirmed(user: &UserRecord, attribute: &str, now_ms: i64) -> UserRecord {
    let mut confirmed = user.clone();
    status::CONFIRMED.clone_into(&mut confirmed.status);
    confirmed.modified_ms = now_ms;
    if let Some(flag) = attributes::verified_flag(attribute) {
        attributes::set(&mut confirmed, flag, "true");
    }
    confirmed
}

/// There is no such user, in the mode that says so.
pub(super) fn combination_not_found() -> ApiError {
    ExceptionName::UserNotFoundException.because("Username/client id combination not found.")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::users::fixtures::{
        TestPool, alias_pool, email_name_pool, plain_pool, refusal, trips, verifying_pool,
    };

    const MISMATCH: &str =
        "CodeMismatchException: Invalid verification code provided, please try again.";
    const EXPIRED: &str =
        "ExpiredCodeException: Invalid code provided, please request a code again.";
    const LIMIT: &str =
        "LimitExceededException: Attempt limit exceeded, please try after some time.";
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

    async fn signed_up() -> (TestPool, String) {
        let pool = verifying_pool().await;
        pool.sign_up("ada", &EMAIL).await.unwrap();
        let code = pool.code();
        pool.store.take_trips();
        (pool, code)
    }

    fn other(code: &str) -> &'static str {
        if code == "000000" { "000001" } else { "000000" }
    }

    #[tokio::test]
    async fn the_code_confirms_the_user_and_verifies_the_address() {
        let (pool, code) = signed_up().await;
        pool.clock.advance(Duration::from_secs(1));
        assert_eq!(pool.confirm("ada", &code).await.unwrap().session, None);
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        let user = pool.user("ada").await.unwrap();
        assert_eq!(user.user_status.as_deref(), Some("CONFIRMED"));
        assert_eq!(user.user_last_modified_date.unwrap() - user.user_create_date.unwrap(), 1_000);
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=true"]
        );
    }

    #[tokio::test]
    async fn a_code_is_good_once() {
        let (pool, code) = signed_up().await;
        pool.confirm("ada", &code).await.unwrap();
        assert_eq!(
            refusal(pool.confirm("ada", &code).await),
            "NotAuthorizedException: User cannot be confirmed. Current status is CONFIRMED"
        );
    }

    #[tokio::test]
    async fn of_two_confirmations_at_once_one_wins() {
        let (mut pool, code) = signed_up().await;
        pool.race(1);
        let (a, b) = tokio::join!(pool.confirm("ada", &code), pool.confirm("ada", &code));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }

    #[tokio::test]
    async fn other_codes_are_refused() {
        let (pool, code) = signed_up().await;
        let longer = format!("{code}0");
        for wrong in [other(&code), &longer, &code[..5], "é"] {
            assert_eq!(refusal(pool.confirm("ada", wrong).await), MISMATCH);
            assert_eq!(pool.store.take_trips(), trips(1, 1));
        }
        // a code is that of one user
        pool.sign_up("eve", &[("email", "eve@example.com")]).await.unwrap();
        let eves = pool.code();
        assert_ne!(eves, code);
        assert_eq!(refusal(pool.confirm("ada", &eves).await), MISMATCH);
        assert_eq!(pool.status_of("ada").await, "UNCONFIRMED");
    }

    #[tokio::test]
    async fn s11_a_code_ends_after_a_day() {
        let (pool, code) = signed_up().await;
        pool.clock.advance(24 * HOUR);
        assert_eq!(refusal(pool.confirm("ada", &code).await), EXPIRED);
        let pool = plain_pool().await;
        pool.sign_up("ada", &EMAIL).await.unwrap();
        assert_eq!(refusal(pool.confirm("ada", "123456").await), EXPIRED);
    }

    #[tokio::test]
    async fn s09_after_fifteen_guesses_the_right_code_is_refused_until_the_hour_is_over() {
        let (pool, code) = signed_up().await;
        for _ in 0..15 {
            assert_eq!(refusal(pool.confirm("ada", other(&code)).await), MISMATCH);
        }
        for _ in 0..5 {
            assert_eq!(refusal(pool.confirm("ada", &code).await), LIMIT);
        }
        assert_eq!(pool.status_of("ada").await, "UNCONFIRMED");
        pool.clock.advance(HOUR);
        assert!(pool.confirm("ada", &code).await.is_ok());
    }

    #[tokio::test]
    async fn guesses_at_once_are_counted_each() {
        let (pool, code) = signed_up().await;
        let wrong = other(&code);
        let guesses = (0..40).map(|_| pool.confirm("ada", wrong));
        let verdicts = futures::future::join_all(guesses).await;
        let told = verdicts.into_iter().filter(|verdict| refusal(verdict.clone()) == MISMATCH);
        assert_eq!(told.count(), 15);
        assert_eq!(refusal(pool.confirm("ada", &code).await), LIMIT);
    }

    #[tokio::test]
    async fn a_verdict_waits_for_its_commit() {
        let (pool, code) = signed_up().await;
        pool.store.fail_commit(1);
        assert!(!refusal(pool.confirm("ada", other(&code)).await).starts_with("CodeMismatch"));
    }

    #[tokio::test]
    async fn an_unknown_user_is_told_where_the_client_tells() {
        let (pool, code) = signed_up().await;
        assert_eq!(
            refusal(pool.confirm("nobody", &code).await),
            "UserNotFoundException: Username/client id combination not found."
        );
    }

    #[tokio::test]
    async fn an_unknown_user_looks_like_one_without_a_code_where_the_client_hides_them() {
        let (pool, _) = signed_up().await;
        let client_id = pool.hiding_client().await;
        let attempt = |name: &str| {
            let client_id = Some(client_id.clone());
            pool.send_confirm(types::ConfirmSignUpRequest {
                client_id,
                ..pool.confirm_request(name, "123456")
            })
        };
        pool.sign_up("mute", &[]).await.unwrap();
        pool.store.take_trips();
        for name in ["mute", "nobody"] {
            for _ in 0..15 {
                assert_eq!(refusal(attempt(name).await), EXPIRED, "{name}");
                assert_eq!(pool.store.take_trips(), trips(1, 1), "{name}");
            }
            assert_eq!(refusal(attempt(name).await), LIMIT, "{name}");
            assert_eq!(pool.store.take_trips(), trips(1, 1), "{name}");
        }
        pool.clock.advance(HOUR);
        assert_eq!(refusal(attempt("nobody").await), EXPIRED);
    }

    #[tokio::test]
    async fn a_secret_is_asked_for_before_the_user() {
        let (pool, code) = signed_up().await;
        let request = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            ..Default::default()
        };
        let client_id = pool.new_client(request).await.client_id;
        for name in ["ada", "nobody"] {
            let request = types::ConfirmSignUpRequest {
                client_id: client_id.clone(),
                ..pool.confirm_request(name, &code)
            };
            assert!(
                refusal(pool.send_confirm(request).await).contains("SECRET_HASH was not received")
            );
        }
    }

    #[tokio::test]
    async fn a_user_made_by_an_administrator_is_not_confirmed_by_a_code() {
        let pool = verifying_pool().await;
        pool.create("ada", &EMAIL).await.unwrap();
        assert_eq!(
            refusal(pool.confirm("ada", "123456").await),
            "NotAuthorizedException: User cannot be confirmed. Current status is \
             FORCE_CHANGE_PASSWORD"
        );
    }

    #[tokio::test]
    async fn a_confirmed_address_is_a_name_to_sign_in_by() {
        let pool = alias_pool().await;
        pool.sign_up("ada", &EMAIL).await.unwrap();
        let code = pool.code();
        assert!(pool.user("ada@example.com").await.is_err());
        pool.store.take_trips();
        pool.confirm("ada", &code).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(2, 1));
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
    }

    #[tokio::test]
    async fn where_addresses_are_names_the_address_confirms() {
        let pool = email_name_pool().await;
        let sub = pool.confirmed_user("Ada@example.com", &[]).await;
        assert_eq!(
            pool.attributes_of(&sub).await,
            ["email=Ada@example.com", "email_verified=true"]
        );
    }

    #[tokio::test]
    async fn an_address_that_another_has_verified_is_refused_and_can_be_taken() {
        let pool = alias_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        pool.sign_up("eve", &EMAIL).await.unwrap();
        let code = pool.code();
        let forced = |code: &str| types::ConfirmSignUpRequest {
            force_alias_creation: Some(true),
            ..pool.confirm_request("eve", code)
        };
        assert_eq!(
            refusal(pool.confirm("eve", &code).await),
            "AliasExistsException: An account with the given email already exists."
        );
        assert_eq!(pool.status_of("eve").await, "UNCONFIRMED");
        // who does not have the code gets nothing by force
        assert_eq!(refusal(pool.send_confirm(forced(other(&code))).await), MISMATCH);
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));

        pool.send_confirm(forced(&code)).await.unwrap();
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("eve"));
        assert_eq!(
            pool.attributes_of("ada").await,
            ["email=ada@example.com", "email_verified=false"]
        );
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
        assert_eq!(
            pool.attributes_of("eve").await,
            ["email=ada@example.com", "email_verified=true"]
        );
    }

    #[tokio::test]
    async fn of_two_who_confirm_one_address_at_once_one_gets_it() {
        let mut pool = alias_pool().await;
        let mut codes = Vec::new();
        for name in ["ada", "eve"] {
            pool.sign_up(name, &EMAIL).await.unwrap();
            codes.push(pool.code());
        }
        pool.race(2);
        let (ada, eve) =
            tokio::join!(pool.confirm("ada", &codes[0]), pool.confirm("eve", &codes[1]));
        let (winner, loser) = if ada.is_ok() { ("ada", eve) } else { ("eve", ada) };
        assert!(refusal(loser).starts_with("AliasExistsException"));
        assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some(winner));
    }
}
