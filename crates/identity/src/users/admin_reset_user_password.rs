//! AdminResetUserPassword: an administrator makes a user set a new password.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    admin_user,
    codes::{self, CodePurpose, Limited},
    delivery, forgot_password, index, sign_out, status,
};
use crate::{
    call::Call,
    triggers::{
        Circumstances,
        custom_message::{self, Reason},
    },
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Lets nobody in by the present password, ends every session, and sends the code that sets another. One
/// read and one commit.
///
/// # Errors
/// Those of the API reference.
pub async fn admin_reset_user_password(
    world: &World,
    call: &Call,
    input: types::AdminResetUserPasswordRequest,
) -> Result<types::AdminResetUserPasswordResponse, ApiError> {
    let reset = AdminResetUserPassword {
        call,
        pool_id: input.user_pool_id.unwrap_or_default(),
        username: input.username.unwrap_or_default(),
        client_metadata: input.client_metadata,
    };
    transact(world, &reset).await
}

struct AdminResetUserPassword<'a> {
    call: &'a Call,
    pool_id: String,
    username: String,
    client_metadata: BTreeMap<String, String>,
}

#[async_trait]
impl Transaction for AdminResetUserPassword<'_> {
    type Output = types::AdminResetUserPasswordResponse;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client_metadata: Some(&self.client_metadata), ..Default::default() }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let user = admin_user::load(tx, self.call, &self.username).await?;
        let pool = tx.pool()?;
        if user.status == status::UNCONFIRMED {
            return Err(status::cannot_be_reset().into());
        }
        let destination = forgot_password::destination(&pool, &user)?;
        let mut reset = user.clone();
        status::RESET_REQUIRED.clone_into(&mut reset.status);
        reset.modified_ms = tx.now_ms();
        reset.sessions_valid_from_ms = sign_out::valid_from_ms(&user, tx.now_ms());
        index::write_user(tx, Some(&user), &reset)?;
        codes::count(tx, &user.sub, Limited::AdminResetUserPassword);
        let code = codes::issue(tx, &reset, CodePurpose::ResetPassword, &destination)?;
        let message = delivery::password_reset(&pool, &reset, &destination, &code);
        tx.send(custom_message::draft(tx, Reason::ForgotPassword, &reset, message, None)?);
        Ok(types::AdminResetUserPasswordResponse::default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{signed_call, signed_call_of, unsigned_call},
        users::{
            confirm_forgot_password,
            fixtures::{PASSWORD, TestPool, refusal, trips, verifying_pool},
        },
    };

    const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

    async fn reset(pool: &TestPool, call: &Call, username: &str) -> Result<(), ApiError> {
        let request = types::AdminResetUserPasswordRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some(username.to_owned()),
            ..Default::default()
        };
        admin_reset_user_password(pool, call, request).await.map(|_| ())
    }

    #[tokio::test]
    async fn the_password_lets_nobody_in_until_the_code_sets_another() {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        let tokens = pool.sign_in("ada", PASSWORD).await.unwrap();
        reset(&pool, &signed_call(), "ada").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(pool.status_of("ada").await, "RESET_REQUIRED");
        let required = "PasswordResetRequiredException: Password reset required for the user";
        assert_eq!(refusal(pool.sign_in("ada", PASSWORD).await), required);
        assert_eq!(refusal(pool.refresh(&tokens).await), required);

        let request = types::ConfirmForgotPasswordRequest {
            client_id: Some(pool.client_id.clone()),
            username: Some("ada".to_owned()),
            confirmation_code: Some(pool.code()),
            password: Some("Other-Horse-2".to_owned()),
            ..Default::default()
        };
        confirm_forgot_password(&pool, &unsigned_call(), request).await.unwrap();
        assert_eq!(pool.status_of("ada").await, "CONFIRMED");
        assert!(pool.sign_in("ada", "Other-Horse-2").await.is_ok());
        assert_eq!(
            refusal(pool.refresh(&tokens).await),
            "NotAuthorizedException: Refresh Token has been revoked"
        );
    }

    #[tokio::test]
    async fn it_can_be_asked_for_again() {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        for _ in 0..2 {
            reset(&pool, &signed_call(), "ada").await.unwrap();
            assert_eq!(pool.outbox.take().len(), 1);
        }
    }

    #[tokio::test]
    async fn twenty_codes_an_hour_are_sent() {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &EMAIL).await;
        for _ in 0..20 {
            reset(&pool, &signed_call(), "ada").await.unwrap();
        }
        assert_eq!(
            refusal(reset(&pool, &signed_call(), "ada").await),
            "LimitExceededException: Attempt limit exceeded, please try after some time."
        );
        assert_eq!(pool.outbox.take().len(), 20);
        pool.clock.advance(std::time::Duration::from_secs(60 * 60));
        reset(&pool, &signed_call(), "ada").await.unwrap();
    }

    #[tokio::test]
    async fn who_cannot_reset_is_left_alone() {
        let pool = verifying_pool().await;
        pool.create("invited", &EMAIL).await.unwrap();
        pool.sign_up("unconfirmed", &EMAIL).await.unwrap();
        pool.sign_up("mute", &[]).await.unwrap();
        let confirm = types::AdminConfirmSignUpRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("mute".to_owned()),
            ..Default::default()
        };
        crate::users::admin_confirm_sign_up(&pool, &signed_call(), confirm).await.unwrap();
        pool.outbox.take();
        let state = "NotAuthorizedException: User password cannot be reset in the current state.";
        for (username, text) in [
            ("invited", state),
            ("unconfirmed", state),
            (
                "mute",
                "InvalidParameterException: Cannot reset password for the user as there is no \
                 registered/verified email or phone_number",
            ),
            ("nobody", "UserNotFoundException: User does not exist."),
        ] {
            assert_eq!(refusal(reset(&pool, &signed_call(), username).await), text);
        }
        let foreign = signed_call_of("999999999999", "us-east-1");
        assert_eq!(
            refusal(reset(&pool, &foreign, "mute").await),
            format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
        );
        assert!(pool.outbox.take().is_empty());
        assert_eq!(pool.status_of("mute").await, "CONFIRMED");
    }
}
