//! ConfirmForgotPassword: a person shows the code, and sets a new password.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::secret::SecretString;
use conclave_store::{
    keys::UserChild,
    records::{CodeRecord, UserRecord},
};

use super::{
    app_request::AppRequest,
    attributes,
    codes::{self, CodePurpose, Limited},
    confirm_sign_up::combination_not_found,
    credentials, index,
    lookup::{self, With},
    password_history,
    password_policy::{self, Wording},
    sign_out, status,
};
use crate::{
    auth::attempts,
    call::Call,
    config::PoolConfig,
    threat_protection::{compromised::GivenPassword, context::Context, record},
    triggers::{
        Circumstances,
        post_confirmation::{self, Confirmed},
    },
    tx::{Decision, Failure, Query, Stored, Transaction, Tx, transact},
    world::World,
};

/// Sets a new password, confirms the user, and ends every session: whoever took the account over is out.
/// One read and one commit. A wrong code and a user who does not exist cost the same, where the client
/// hides who exists.
///
/// # Errors
/// Those of the API reference.
pub async fn confirm_forgot_password(
    world: &World,
    call: &Call,
    input: types::ConfirmForgotPasswordRequest,
) -> Result<types::ConfirmForgotPasswordResponse, ApiError> {
    let context = Context::of_app(call.peer, input.user_context_data.as_ref());
    let request =
        AppRequest::new(world, input.client_id, input.username, input.secret_hash).await?;
    let confirm = ConfirmForgotPassword {
        request: request.with_metadata(input.client_metadata),
        code: SecretString::new(input.confirmation_code.unwrap_or_default()),
        password: SecretString::new(input.password.unwrap_or_default()),
        event_id: &call.request_id,
        context,
    };
    transact(world, &confirm).await
}

struct ConfirmForgotPassword<'a> {
    event_id: &'a str,
    context: Context,
    request: AppRequest,
    code: SecretString,
    password: SecretString,
}

#[async_trait]
impl Transaction for ConfirmForgotPassword<'_> {
    type Output = types::ConfirmForgotPasswordResponse;

    fn scope(&self) -> &str {
        &self.request.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.request.circumstances()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = self.query(tx);
        let (pool, client) = self.request.load(tx, query).await?;
        let username = &self.request.username;
        // before the user is looked at, so that it does not tell who exists
        let policy = password_policy::of(&pool);
        password_policy::check(&policy, self.password.expose(), Wording::NewPassword)?;
        let given = GivenPassword::Change(self.password.expose());
        record::at_the_door(tx, &client, &self.context, Some(given)).await?;

        let hides_users = client.hides_users();
        let found = lookup::find(tx, &pool, username)?;
        let Some(found) = found.filter(|found| found.user.record.enabled || !hides_users) else {
            if !hides_users {
                return Err(combination_not_found().into());
            }
            codes::count_unknown(tx, &pool, username, Limited::ConfirmForgotPassword);
            return Err(self.without_code(tx, &pool));
        };
        let user = found.user.record;
        status::check_enabled(user.enabled)?;

        codes::count(tx, &user.sub, Limited::ConfirmForgotPassword);
        let purpose = CodePurpose::ResetPassword;
        let sent: Option<Stored<CodeRecord>> =
            lookup::child(tx, &user.sub, UserChild::Code, purpose.row())?;
        let Some(Stored { record: sent, .. }) = sent else {
            return Err(if hides_users {
                self.without_code(tx, &pool)
            } else {
                Failure::RefusedAfterCommit(codes::expired())
            });
        };
        // an address that another user has verified since proves nothing any more
        if !attributes::is_verified(&user, &sent.attribute) {
            return Err(Failure::RefusedAfterCommit(codes::expired()));
        }
        codes::check(&pool, &user, purpose, &sent, self.code.expose())
            .map_err(Failure::RefusedAfterCommit)?;
        status::check_can_be_reset(&user.status).map_err(Failure::RefusedAfterCommit)?;

        password_history::replace(tx, &user, &self.password)
            .await
            .map_err(Failure::RefusedAfterCommit)?;
        let changed = reset(&user, tx.now_ms());
        credentials::set_password(tx, &changed, &self.password, 0).await?;
        index::write_user(tx, Some(&user), &changed)?;
        tx.delete(codes::key(&user.sub, purpose));
        attempts::succeeded(tx, attempts::of_user(&user.sub));
        let who = (Some(user.sub.as_str()), "");
        let event = ("PasswordChange", self.event_id);
        let password = GivenPassword::Change(self.password.expose());
        record::done(tx, &client, who, event, &self.context, Some(password)).await?;
        post_confirmation::tell(tx, Confirmed::ForgotPassword, &changed)?;
        Ok(types::ConfirmForgotPasswordResponse::default().into())
    }
}

impl ConfirmForgotPassword<'_> {
    fn query(&self, tx: &Tx<'_>) -> Query {
        let mut query = Query::new();
        let AppRequest { username, pool_id, .. } = &self.request;
        for form in lookup::forms(username) {
            query = query.get(codes::simulated_reset_key(tx.world(), pool_id, &form));
        }
        let code = With::Child(UserChild::Code, CodePurpose::ResetPassword.row());
        let with = [With::Credentials, password_history::WITH, code];
        lookup::query(query, username, &with)
    }

    /// What is said where no code was sent: the code is wrong when one was asked for, and has expired
    /// otherwise. Source: developer guide, "Managing user existence error responses".
    fn without_code(&self, tx: &Tx<'_>, pool: &PoolConfig) -> Failure {
        let folded = lookup::folded(pool, &self.request.username);
        let asked = codes::simulated_reset_key(tx.world(), pool.id(), &folded);
        Failure::RefusedAfterCommit(match tx.get_bytes(&asked) {
            Some(_) => codes::mismatch(),
            None => codes::expired(),
        })
    }
}

/// The user whose password is new.
fn reset(user: &UserRecord, now_ms: i64) -> UserRecord {
    let mut changed = user.clone();
    status::CONFIRMED.clone_into(&mut changed.status);
    changed.modified_ms = now_ms;
    changed.sessions_valid_from_ms = sign_out::valid_from_ms(user, now_ms);
    changed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{signed_call, unsigned_call},
        users::{
            admin_disable_user,
            fixtures::{
                PASSWORD, TestPool, alias_pool, pool, refusal, strings, trips, verifying,
                verifying_pool,
            },
            forgot_password,
        },
    };

    const NEW: &str = "Other-Horse-2";
    const MISMATCH: &str =
        "CodeMismatchException: Invalid verification code provided, please try again.";
    const EXPIRED: &str =
        "ExpiredCodeException: Invalid code provided, please request a code again.";
    const LIMIT: &str =
        "LimitExceededException: Attempt limit exceeded, please try after some time.";
    const NOT_FOUND: &str = "UserNotFoundException: Username/client id combination not found.";
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

    async fn forget_at(
        pool: &TestPool,
        client_id: &str,
        username: &str,
    ) -> Result<types::CodeDeliveryDetailsType, ApiError> {
        let request = types::ForgotPasswordRequest {
            client_id: Some(client_id.to_owned()),
            username: Some(username.to_owned()),
            ..Default::default()
        };
        let response = forgot_password(pool, &unsigned_call(), request).await?;
        Ok(response.code_delivery_details.expect("says where the code went"))
    }

    async fn forget(
        pool: &TestPool,
        username: &str,
    ) -> Result<types::CodeDeliveryDetailsType, ApiError> {
        forget_at(pool, &pool.client_id, username).await
    }

    async fn confirm_at(
        pool: &TestPool,
        client_id: &str,
        username: &str,
        code: &str,
        password: &str,
    ) -> Result<(), ApiError> {
        let request = types::ConfirmForgotPasswordRequest {
            client_id: Some(client_id.to_owned()),
            username: Some(username.to_owned()),
            confirmation_code: Some(code.to_owned()),
            password: Some(password.to_owned()),
            ..Default::default()
        };
        confirm_forgot_password(pool, &unsigned_call(), request).await.map(|_| ())
    }

    async fn confirm(pool: &TestPool, username: &str, code: &str) -> Result<(), ApiError> {
        confirm_at(pool, &pool.client_id, username, code, NEW).await
    }

    fn other(code: &str) -> &'static str {
        if code == "000000" { "000001" } else { "000000" }
    }

    async fn disable(pool: &TestPool, username: &str) {
        let request = types::AdminDisableUserRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_disable_user(pool, &signed_call(), request).await.unwrap();
    }

    /// A user who has asked for a code, and the code.
    async fn forgotten() -> (TestPool, String) {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        pool.store.take_trips();
        let details = forget(&pool, "ada").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(details.attribute_name.as_deref(), Some("email"));
        assert_eq!(details.delivery_medium.as_deref(), Some("EMAIL"));
        assert_eq!(details.destination.as_deref(), Some("a***@e***"));
        let message = pool.outbox.take().pop().unwrap();
        let code = message.code.unwrap();
        assert_eq!(message.subject.as_deref(), Some("Your verification code"));
        assert_eq!(message.body, format!("Your password reset code is {code}"));
        (pool, code)
    }

    #[tokio::test]
    async fn the_code_sets_a_new_password_and_ends_every_session() {
        let (pool, code) = forgotten().await;
        let tokens = pool.sign_in("ada", PASSWORD).await.unwrap();
        confirm(&pool, "ada", &code).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(
            refusal(pool.sign_in("ada", PASSWORD).await),
            "NotAuthorizedException: Incorrect username or password."
        );
        pool.clock.advance(Duration::from_millis(1));
        let fresh = pool.sign_in("ada", NEW).await.unwrap();
        assert_eq!(
            refusal(pool.refresh(&tokens).await),
            "NotAuthorizedException: Refresh Token has been revoked"
        );
        assert!(pool.refresh(&fresh).await.is_ok());
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    }

    #[tokio::test]
    async fn s10_a_code_is_good_once_for_one_thing_and_one_user() {
        let (pool, code) = forgotten().await;
        assert_eq!(refusal(confirm(&pool, "ada", other(&code)).await), MISMATCH);
        pool.confirmed_user("eve", &[("email", "eve@example.com")]).await;
        assert_eq!(refusal(confirm(&pool, "eve", &code).await), EXPIRED);
        forget(&pool, "ada").await.unwrap();
        let newer = pool.code();
        if newer != code {
            assert_eq!(refusal(confirm(&pool, "ada", &code).await), MISMATCH);
        }
        confirm(&pool, "ada", &newer).await.unwrap();
        assert_eq!(refusal(confirm(&pool, "ada", &newer).await), EXPIRED);
    }

    #[tokio::test]
    async fn s11_a_code_ends_after_an_hour() {
        let (pool, code) = forgotten().await;
        pool.clock.advance(HOUR);
        assert_eq!(refusal(confirm(&pool, "ada", &code).await), EXPIRED);
        assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
    }

    #[tokio::test]
    async fn s09_after_fifteen_guesses_the_right_code_is_refused() {
        let (pool, code) = forgotten().await;
        for _ in 0..15 {
            assert_eq!(refusal(confirm(&pool, "ada", other(&code)).await), MISMATCH);
        }
        assert_eq!(refusal(confirm(&pool, "ada", &code).await), LIMIT);
        assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
    }

    #[tokio::test]
    async fn of_two_confirmations_at_once_one_wins() {
        let (mut pool, code) = forgotten().await;
        pool.race(1);
        let client_id = pool.client_id.clone();
        let (a, b) = tokio::join!(
            confirm_at(&pool, &client_id, "ada", &code, "First-Horse-1"),
            confirm_at(&pool, &client_id, "ada", &code, "Second-Horse-2"),
        );
        let (won, lost) = if a.is_ok() {
            (("First-Horse-1", a), ("Second-Horse-2", b))
        } else {
            (("Second-Horse-2", b), ("First-Horse-1", a))
        };
        assert_eq!((won.1.is_ok(), refusal(lost.1)), (true, EXPIRED.to_owned()));
        assert!(pool.sign_in("ada", won.0).await.is_ok());
        assert!(pool.sign_in("ada", lost.0).await.is_err());
    }

    #[tokio::test]
    async fn a_verdict_waits_for_its_commit() {
        let (pool, code) = forgotten().await;
        pool.store.fail_commit(1);
        assert!(!refusal(confirm(&pool, "ada", other(&code)).await).starts_with("CodeMismatch"));
    }

    #[tokio::test]
    async fn a_weak_password_costs_no_attempt() {
        let (pool, code) = forgotten().await;
        let client_id = pool.client_id.clone();
        for username in ["ada", "nobody"] {
            for _ in 0..20 {
                assert_eq!(
                    refusal(confirm_at(&pool, &client_id, username, &code, "Aa1!").await),
                    "InvalidPasswordException: Password does not conform to policy: Password not \
                     long enough"
                );
            }
        }
        assert_eq!(pool.store.take_trips().commits, 0);
        assert!(confirm(&pool, "ada", &code).await.is_ok());
    }

    #[tokio::test]
    async fn five_codes_an_hour_are_sent() {
        let (pool, _) = forgotten().await;
        for _ in 0..4 {
            forget(&pool, "ada").await.unwrap();
        }
        assert_eq!(refusal(forget(&pool, "ada").await), LIMIT);
        assert_eq!(pool.outbox.take().len(), 4);
        pool.clock.advance(HOUR);
        assert!(forget(&pool, "ada").await.is_ok());
    }

    #[tokio::test]
    async fn who_cannot_reset_is_told_where_the_client_tells() {
        let pool = verifying_pool().await;
        pool.create("invited", &EMAIL).await.unwrap();
        pool.sign_up("unconfirmed", &EMAIL).await.unwrap();
        pool.confirmed_user("disabled", &EMAIL).await;
        disable(&pool, "disabled").await;
        pool.outbox.take();
        for (username, text) in [
            ("nobody", NOT_FOUND),
            (
                "invited",
                "NotAuthorizedException: User password cannot be reset in the current state.",
            ),
            (
                "unconfirmed",
                "InvalidParameterException: Cannot reset password for the user as there is no \
                 registered/verified email or phone_number",
            ),
            ("disabled", "NotAuthorizedException: User is disabled."),
        ] {
            assert_eq!(refusal(forget(&pool, username).await), text, "{username}");
        }
        assert!(pool.outbox.take().is_empty());
        assert_eq!(refusal(confirm(&pool, "nobody", "123456").await), NOT_FOUND);
        assert_eq!(
            refusal(confirm(&pool, "disabled", "123456").await),
            "NotAuthorizedException: User is disabled."
        );
    }

    /// S04 and S05: whoever cannot reset the password looks like a user who can, by what is answered and
    /// by how often the store is asked.
    #[tokio::test]
    async fn s04_s05_nobody_is_told_apart_where_the_client_hides_them() {
        let pool = verifying_pool().await;
        let client_id = pool.hiding_client().await;
        pool.confirmed_user("real", &[("email", "real@example.com")]).await;
        pool.create("invited", &EMAIL).await.unwrap();
        pool.sign_up("unconfirmed", &EMAIL).await.unwrap();
        pool.confirmed_user("disabled", &[("email", "d@example.com")]).await;
        disable(&pool, "disabled").await;
        pool.outbox.take();
        pool.store.take_trips();
        for username in ["real", "nobody", "invited", "unconfirmed", "disabled"] {
            let guess = || confirm_at(&pool, &client_id, username, "wrong", NEW);
            assert_eq!(refusal(guess().await), EXPIRED, "{username}");
            assert_eq!(pool.store.take_trips(), trips(1, 1), "{username}");
            let mut seen = Vec::new();
            for _ in 0..5 {
                seen.push(forget_at(&pool, &client_id, username).await.unwrap());
                assert_eq!(pool.store.take_trips(), trips(1, 1), "{username}");
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "the same at all times");
            assert_eq!(seen[0].delivery_medium.as_deref(), Some("EMAIL"), "{username}");
            assert_eq!(seen[0].attribute_name.as_deref(), Some("email"), "{username}");
            assert_eq!(refusal(forget_at(&pool, &client_id, username).await), LIMIT);
            assert_eq!(pool.store.take_trips(), trips(1, 1), "{username}");
            for _ in 0..14 {
                assert_eq!(refusal(guess().await), MISMATCH, "{username}");
                assert_eq!(pool.store.take_trips(), trips(1, 1), "{username}");
            }
            assert_eq!(refusal(guess().await), LIMIT, "{username}");
            assert_eq!(pool.store.take_trips(), trips(1, 1), "{username}");
        }
        assert!(pool.outbox.take().iter().all(|message| message.to == "real@example.com"));
        pool.clock.advance(HOUR);
        for username in ["real", "nobody", "invited"] {
            let guess = confirm_at(&pool, &client_id, username, "wrong", NEW);
            assert_eq!(refusal(guess.await), EXPIRED, "{username}");
        }
    }

    /// What cannot be delivered fails alike for users who exist and users who do not, and nothing that was
    /// committed is lost by it: the code can be asked for again.
    #[tokio::test]
    async fn undeliverable_codes_tell_nobody_apart() {
        let pool = verifying_pool().await;
        let client_id = pool.hiding_client().await;
        pool.confirmed_user("ada", &EMAIL).await;
        pool.outbox.fail();
        let failure = "CodeDeliveryFailureException: Unable to deliver message to user";
        for username in ["ada", "nobody"] {
            assert_eq!(refusal(forget_at(&pool, &client_id, username).await), failure);
        }
        assert_eq!(refusal(forget(&pool, "ada").await), failure);
        assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
    }

    #[tokio::test]
    async fn the_pool_says_by_which_address_an_account_is_recovered() {
        let with = |mechanisms: &[&str]| {
            let items =
                mechanisms.iter().zip(1..).map(|(name, priority)| types::RecoveryOptionType {
                    priority: Some(priority),
                    name: Some((*name).to_owned()),
                });
            types::CreateUserPoolRequest {
                account_recovery_setting: Some(types::AccountRecoverySettingType {
                    recovery_mechanisms: Some(types::RecoveryOptionTypeList {
                        items: items.collect(),
                    }),
                }),
                ..verifying(&["email", "phone_number"])
            }
        };
        let both = [
            ("email", "ada@example.com"),
            ("email_verified", "true"),
            ("phone_number", "+12065550100"),
            ("phone_number_verified", "true"),
        ];
        let phone_first = ["verified_phone_number", "verified_email"];
        for (mechanisms, medium) in [
            (&phone_first[..], Some("SMS")),
            (&phone_first[1..], Some("EMAIL")),
            (&["admin_only"], None),
        ] {
            let pool = pool(with(mechanisms)).await;
            let hiding = pool.hiding_client().await;
            let request = pool.create_request("ada", &both);
            pool.send_create(request).await.unwrap();
            let permanent = types::AdminSetUserPasswordRequest {
                user_pool_id: Some(pool.id.clone()),
                username: Some("ada".to_owned()),
                password: Some(PASSWORD.to_owned()),
                permanent: Some(true),
            };
            crate::users::admin_set_user_password(&pool, &signed_call(), permanent).await.unwrap();
            for (client_id, username) in
                [(&pool.client_id, "ada"), (&hiding, "ada"), (&hiding, "nobody")]
            {
                let answer = forget_at(&pool, client_id, username).await;
                match medium {
                    Some(medium) => {
                        assert_eq!(answer.unwrap().delivery_medium.as_deref(), Some(medium));
                    }
                    // no text is documented
                    None => assert_eq!(
                        refusal(answer),
                        "NotAuthorizedException: Contact administrator to reset password."
                    ),
                }
            }
        }
    }

    /// S25 and S27: an address that is not verified, or is another user's by now, resets nothing.
    #[tokio::test]
    async fn s25_s27_an_address_that_was_lost_resets_nothing() {
        let pool = alias_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        forget(&pool, "ada@example.com").await.unwrap();
        let code = pool.code();
        pool.create("eve", &[]).await.unwrap();
        let request = types::AdminUpdateUserAttributesRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("eve".to_owned()),
            user_attributes: Some(types::AttributeTypeList {
                items: crate::users::fixtures::attributes(&[
                    ("email", "ada@example.com"),
                    ("email_verified", "true"),
                ]),
            }),
            ..Default::default()
        };
        crate::users::admin_update_user_attributes(&pool, &signed_call(), request).await.unwrap();
        assert_eq!(refusal(confirm(&pool, "ada", &code).await), EXPIRED);
        assert!(refusal(forget(&pool, "ada").await).starts_with("InvalidParameterException"));
    }

    #[tokio::test]
    async fn a_secret_is_asked_for_before_the_user() {
        let (pool, code) = forgotten().await;
        let request = types::CreateUserPoolClientRequest {
            generate_secret: Some(true),
            explicit_auth_flows: strings(&["ALLOW_REFRESH_TOKEN_AUTH"]),
            ..Default::default()
        };
        let client_id = pool.new_client(request).await.client_id.unwrap();
        for username in ["ada", "nobody"] {
            let text = "SECRET_HASH was not received";
            assert!(refusal(forget_at(&pool, &client_id, username).await).contains(text));
            let confirmed = confirm_at(&pool, &client_id, username, &code, NEW).await;
            assert!(refusal(confirmed).contains(text));
        }
    }
}
