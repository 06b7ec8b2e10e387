//! ResendConfirmationCode: a person asks for the code of the sign-up again.

use async_trait::async_trait;
use conclave_api::{ApiError, types};

use super::{
    app_request::AppRequest,
    codes::{self, CodePurpose, Limited},
    confirm_sign_up::combination_not_found,
    delivery,
    lookup::{self, With},
    status,
};
use crate::{
    call::Call,
    config::{ClientConfig, PoolConfig},
    errors,
    threat_protection::{context::Context, record},
    triggers::{
        Circumstances,
        custom_message::{self, Reason},
    },
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

/// Sends a new code in place of the earlier one. One read and one commit, for users who do not exist
/// as well, where the client hides who does.
///
/// # Errors
/// Those of the API reference.
pub async fn resend_confirmation_code(
    world: &World,
    call: &Call,
    input: types::ResendConfirmationCodeRequest,
) -> Result<types::ResendConfirmationCodeResponse, ApiError> {
    let context = Context::of_app(call.peer, input.user_context_data.as_ref());
    let request =
        AppRequest::new(world, input.client_id, input.username, input.secret_hash).await?;
    let request = request.with_metadata(input.client_metadata);
    transact(world, &ResendConfirmationCode { request, event_id: &call.request_id, context }).await
}

struct ResendConfirmationCode<'a> {
    request: AppRequest,
    event_id: &'a str,
    context: Context,
}

#[async_trait]
impl Transaction for ResendConfirmationCode<'_> {
    type Output = types::ResendConfirmationCodeResponse;

    fn scope(&self) -> &str {
        &self.request.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        self.request.circumstances()
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let username = &self.request.username;
        let query = lookup::query(Query::new(), username, &[With::Nothing]);
        let (pool, client) = self.request.load(tx, query).await?;
        record::at_the_door(tx, &client, &self.context, None).await?;
        // before the user is looked at, so that it does not tell who exists
        if pool.record.auto_verified_attributes.is_empty() {
            return Err(verification_is_off().into());
        }
        delivery::check_links(&pool)?;
        let found = lookup::find(tx, &pool, username)?;
        let hides_users = client.hides_users();
        let Some(found) = found.filter(|found| found.user.record.enabled || !hides_users) else {
            if hides_users {
                return self.simulate(tx, &pool, &client).await;
            }
            return Err(combination_not_found().into());
        };
        let user = found.user.record;
        status::check_enabled(user.enabled)?;
        if user.status != status::UNCONFIRMED {
            return Err(errors::invalid_parameter("User is already confirmed.").into());
        }
        let Some(destination) = delivery::of_sign_up(&pool, &user) else {
            if hides_users {
                return self.simulate(tx, &pool, &client).await;
            }
            return Err(verification_is_off().into());
        };
        codes::count(tx, &user.sub, Limited::ResendConfirmationCode);
        let code = codes::issue(tx, &user, CodePurpose::SignUp, &destination)?;
        let link = delivery::confirmation_link(tx.world(), &client, &user, &code);
        let message = delivery::confirmation(&pool, &user, &destination, &code, &link);
        let link = delivery::link_of(&message, &pool, link);
        let draft = custom_message::draft(tx, Reason::ResendCode, &user, message, link.as_ref())?;
        delivery::hand_over(tx, &client, draft);
        self.record(tx, &client, Some(&user.sub)).await?;
        let details = Some(destination.details());
        Ok(types::ResendConfirmationCodeResponse { code_delivery_details: details }.into())
    }
}

impl ResendConfirmationCode<'_> {
    async fn record(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
        sub: Option<&str>,
    ) -> Result<(), Failure> {
        let who = (sub, self.request.username.as_str());
        record::done(tx, client, who, ("ResendCode", self.event_id), &self.context, None).await
    }

    /// Answers as if there were such a user, and sends nothing.
    async fn simulate(
        &self,
        tx: &mut Tx<'_>,
        pool: &PoolConfig,
        client: &ClientConfig,
    ) -> Decision<types::ResendConfirmationCodeResponse> {
        codes::count_unknown(tx, pool, &self.request.username, Limited::ResendConfirmationCode);
        let details = delivery::simulated(pool, &self.request.username);
        tx.pretend(delivery::channel_of(&details));
        self.record(tx, client, None).await?;
        let code_delivery_details = Some(details);
        Ok(types::ResendConfirmationCodeResponse { code_delivery_details }.into())
    }
}

fn verification_is_off() -> ApiError {
    errors::invalid_parameter("Cannot resend codes. Auto verification not turned on.")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::unsigned_call,
        users::fixtures::{TestPool, plain_pool, pool, refusal, trips, verifying, verifying_pool},
    };

    async fn resend(
        pool: &TestPool,
        client_id: &str,
        username: &str,
    ) -> Result<types::CodeDeliveryDetailsType, ApiError> {
        let request = types::ResendConfirmationCodeRequest {
            client_id: Some(client_id.to_owned()),
            username: Some(username.to_owned()),
            ..Default::default()
        };
        let response = resend_confirmation_code(pool, &unsigned_call(), request).await?;
        Ok(response.code_delivery_details.expect("says where the code went"))
    }

    #[tokio::test]
    async fn a_new_code_takes_the_place_of_the_old_one() {
        let pool = verifying_pool().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        let old = pool.code();
        pool.store.take_trips();
        let details = resend(&pool, &pool.client_id, "ada").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(details.destination.as_deref(), Some("a***@e***"));
        assert_eq!(details.delivery_medium.as_deref(), Some("EMAIL"));
        assert_eq!(details.attribute_name.as_deref(), Some("email"));
        let new = pool.code();
        assert_ne!(old, new);
        assert!(refusal(pool.confirm("ada", &old).await).starts_with("CodeMismatchException"));
        pool.confirm("ada", &new).await.unwrap();
    }

    #[tokio::test]
    async fn five_codes_an_hour_are_sent() {
        let pool = verifying_pool().await;
        let hiding = pool.hiding_client().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        for name in ["ada", "nobody"] {
            for _ in 0..5 {
                resend(&pool, &hiding, name).await.unwrap();
            }
            assert_eq!(
                refusal(resend(&pool, &hiding, name).await),
                "LimitExceededException: Attempt limit exceeded, please try after some time."
            );
        }
        assert_eq!(pool.outbox.take().len(), 1 + 5);
        pool.clock.advance(Duration::from_secs(60 * 60));
        assert!(resend(&pool, &hiding, "ada").await.is_ok());
    }

    #[tokio::test]
    async fn a_confirmed_user_needs_no_code() {
        let pool = verifying_pool().await;
        pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
        assert_eq!(
            refusal(resend(&pool, &pool.client_id, "ada").await),
            "InvalidParameterException: User is already confirmed."
        );
    }

    #[tokio::test]
    async fn a_pool_that_verifies_nothing_sends_nothing_whoever_asks() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
        for name in ["ada", "nobody"] {
            assert_eq!(
                refusal(resend(&pool, &pool.client_id, name).await),
                "InvalidParameterException: Cannot resend codes. Auto verification not turned on."
            );
        }
    }

    #[tokio::test]
    async fn an_unknown_user_is_told_where_the_client_tells() {
        let pool = verifying_pool().await;
        assert_eq!(
            refusal(resend(&pool, &pool.client_id, "nobody").await),
            "UserNotFoundException: Username/client id combination not found."
        );
    }

    #[tokio::test]
    async fn s06_an_unknown_user_looks_like_a_real_one_where_the_client_hides_them() {
        let pool = verifying_pool().await;
        let hiding = pool.hiding_client().await;
        pool.sign_up("mute", &[]).await.unwrap();
        pool.store.take_trips();
        for name in ["nobody", "mute", "nobody2"] {
            let details = resend(&pool, &hiding, name).await.unwrap();
            assert_eq!(pool.store.take_trips(), trips(1, 1));
            assert_eq!(details.attribute_name.as_deref(), Some("email"));
            assert_eq!(details.delivery_medium.as_deref(), Some("EMAIL"));
            let destination = details.destination.clone().unwrap();
            assert!(
                destination.len() == 9 && destination[1..].starts_with("***@"),
                "{destination}"
            );
            assert_eq!(resend(&pool, &hiding, name).await.unwrap(), details);
            pool.store.take_trips();
        }
        assert!(pool.outbox.take().is_empty());
        let details = resend(&pool, &hiding, "bob@corp.example").await.unwrap();
        assert_eq!(details.destination.as_deref(), Some("b***@c***"));
    }

    #[tokio::test]
    async fn an_unknown_user_of_a_pool_that_verifies_phone_numbers_gets_a_simulated_sms() {
        let pool = pool(verifying(&["phone_number"])).await;
        let hiding = pool.hiding_client().await;
        let details = resend(&pool, &hiding, "nobody").await.unwrap();
        assert_eq!(details.delivery_medium.as_deref(), Some("SMS"));
        let destination = details.destination.unwrap();
        let digits = destination.strip_prefix("+*******").unwrap();
        assert!(digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit()));
    }
}
