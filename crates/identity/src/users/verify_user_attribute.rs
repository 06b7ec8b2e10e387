//! VerifyUserAttribute: a user who is signed in shows the code that was sent to an address.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_crypto::secret::SecretString;
use conclave_outbound::Channel;
use conclave_store::{
    keys::UserChild,
    records::{CodeRecord, UserRecord},
};

use super::{
    aliases,
    attributes::{self, Values},
    codes::{self, CodePurpose, Limited},
    get_user_attribute_verification_code::channel,
    index, lookup, token_user,
};
use crate::{
    auth::access_token::PresentedToken,
    call::Call,
    tx::{Decision, Failure, Query, Stored, Transaction, Tx, transact},
    world::World,
};

/// Verifies an address; one that is pending becomes the user's. One read and one commit; one read more
/// where the address becomes a name to sign in by.
///
/// # Errors
/// Those of the API reference.
pub async fn verify_user_attribute(
    world: &World,
    _call: &Call,
    input: types::VerifyUserAttributeRequest,
) -> Result<types::VerifyUserAttributeResponse, ApiError> {
    let verify = VerifyUserAttribute {
        token: PresentedToken::parse(input.access_token.as_deref().unwrap_or_default())?,
        channel: channel(&input.attribute_name.unwrap_or_default())?,
        code: SecretString::new(input.code.unwrap_or_default()),
    };
    transact(world, &verify).await
}

struct VerifyUserAttribute<'a> {
    token: PresentedToken<'a>,
    channel: Channel,
    code: SecretString,
}

#[async_trait]
impl Transaction for VerifyUserAttribute<'_> {
    type Output = types::VerifyUserAttributeResponse;

    fn scope(&self) -> &str {
        &self.token.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let purpose = CodePurpose::verify(self.channel);
        let query = Query::new().get(codes::key(self.token.sub(), purpose));
        let (user, _) = token_user::load(tx, &self.token, query).await?;
        let pool = tx.pool()?;
        codes::count(tx, &user.sub, Limited::VerifyUserAttribute);
        let sent = lookup::child::<CodeRecord>(tx, &user.sub, UserChild::Code, purpose.row())?;
        let Some(Stored { record: sent, .. }) = sent else {
            return Err(Failure::RefusedAfterCommit(codes::expired()));
        };
        codes::check(&pool, &user, purpose, &sent, self.code.expose())
            .map_err(Failure::RefusedAfterCommit)?;
        let verified = verified(&user, &sent, tx.now_ms());
        aliases::take(tx, &pool, (&user, &verified), &Values::new(), false)
            .await
            .map_err(Failure::after_commit)?;
        index::write_user(tx, Some(&user), &verified)?;
        tx.delete(codes::key(&user.sub, purpose));
        Ok(types::VerifyUserAttributeResponse::default().into())
    }
}

/// The user with the address verified that the code was sent to.
fn verified(user: &UserRecord, sent: &CodeRecord, now_ms: i64) -> UserRecord {
    let mut verified = user.clone();
    attributes::set(&mut verified, &sent.attribute, &sent.destination);
    if let Some(flag) = attributes::verified_flag(&sent.attribute) {
        attributes::set(&mut verified, flag, "true");
    }
    verified.modified_ms = now_ms;
    verified
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        testing::{signed_call, unsigned_call},
        users::{
            admin_update_user_attributes,
            fixtures::{TestPool, attributes, plain_pool, pool, refusal, trips, verifying},
            get_user_attribute_verification_code,
        },
    };

    const MISMATCH: &str =
        "CodeMismatchException: Invalid verification code provided, please try again.";
    const EXPIRED: &str =
        "ExpiredCodeException: Invalid code provided, please request a code again.";
    const LIMIT: &str =
        "LimitExceededException: Attempt limit exceeded, please try after some time.";
    const HOUR: Duration = Duration::from_secs(60 * 60);

    async fn ask(
        pool: &TestPool,
        token: &str,
        name: &str,
    ) -> Result<types::CodeDeliveryDetailsType, ApiError> {
        let request = types::GetUserAttributeVerificationCodeRequest {
            access_token: Some(token.to_owned()),
            attribute_name: Some(name.to_owned()),
            ..Default::default()
        };
        let response =
            get_user_attribute_verification_code(pool, &unsigned_call(), request).await?;
        Ok(response.code_delivery_details.expect("says where the code went"))
    }

    async fn verify(pool: &TestPool, token: &str, name: &str, code: &str) -> Result<(), ApiError> {
        let request = types::VerifyUserAttributeRequest {
            access_token: Some(token.to_owned()),
            attribute_name: Some(name.to_owned()),
            code: Some(code.to_owned()),
        };
        verify_user_attribute(pool, &unsigned_call(), request).await.map(|_| ())
    }

    fn other(code: &str) -> &'static str {
        if code == "000000" { "000001" } else { "000000" }
    }

    /// A user with two addresses that nobody has verified, and a token.
    async fn unverified() -> (TestPool, String) {
        let pool = pool(verifying(&["email", "phone_number"])).await;
        pool.confirmed_user("ada", &[("phone_number", "+12065550199")]).await;
        let request = types::AdminUpdateUserAttributesRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            user_attributes: Some(types::AttributeTypeList {
                items: attributes(&[
                    ("email", "ada@example.com"),
                    ("phone_number", "+12065550100"),
                ]),
            }),
            ..Default::default()
        };
        admin_update_user_attributes(&pool, &signed_call(), request).await.unwrap();
        pool.outbox.take();
        let token = pool.token("ada").await;
        (pool, token)
    }

    #[tokio::test]
    async fn a_code_verifies_the_address_that_it_was_sent_to() {
        let (pool, token) = unverified().await;
        let details = ask(&pool, &token, "email").await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(details.destination.as_deref(), Some("a***@e***"));
        let email = pool.code();
        ask(&pool, &token, "phone_number").await.unwrap();
        let phone = pool.code();
        pool.store.take_trips();
        // S10: the code of one is none of the other's, and is good once
        if email != phone {
            assert_eq!(refusal(verify(&pool, &token, "email", &phone).await), MISMATCH);
            assert_eq!(pool.store.take_trips(), trips(1, 1));
        }
        verify(&pool, &token, "email", &email).await.unwrap();
        verify(&pool, &token, "phone_number", &phone).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(2, 2));
        let verified = pool.attributes_of("ada").await;
        for flag in ["email_verified=true", "phone_number_verified=true"] {
            assert!(verified.contains(&flag.to_owned()), "{verified:?}");
        }
        assert_eq!(refusal(verify(&pool, &token, "email", &email).await), EXPIRED);
    }

    #[tokio::test]
    async fn s09_guesses_and_codes_are_limited() {
        let (pool, token) = unverified().await;
        for _ in 0..5 {
            ask(&pool, &token, "email").await.unwrap();
        }
        assert_eq!(refusal(ask(&pool, &token, "phone_number").await), LIMIT);
        let code = pool.code();
        for _ in 0..15 {
            assert_eq!(refusal(verify(&pool, &token, "email", other(&code)).await), MISMATCH);
        }
        assert_eq!(refusal(verify(&pool, &token, "email", &code).await), LIMIT);
        pool.clock.advance(HOUR);
        let token = pool.token("ada").await;
        verify(&pool, &token, "email", &code).await.unwrap();
    }

    #[tokio::test]
    async fn s11_a_code_ends_after_a_day() {
        let (pool, token) = unverified().await;
        ask(&pool, &token, "email").await.unwrap();
        let code = pool.code();
        pool.clock.advance(24 * HOUR);
        let token_now = pool.token("ada").await;
        assert_eq!(refusal(verify(&pool, &token_now, "email", &code).await), EXPIRED);
        assert_eq!(
            refusal(verify(&pool, &token, "email", &code).await),
            "NotAuthorizedException: Access Token has expired"
        );
    }

    #[tokio::test]
    async fn a_verdict_waits_for_its_commit() {
        let (pool, token) = unverified().await;
        ask(&pool, &token, "email").await.unwrap();
        let code = pool.code();
        pool.store.fail_commit(1);
        let verdict = refusal(verify(&pool, &token, "email", other(&code)).await);
        assert!(!verdict.starts_with("CodeMismatch"), "{verdict}");
    }

    #[tokio::test]
    async fn of_two_verifications_at_once_one_wins() {
        let (mut pool, token) = unverified().await;
        ask(&pool, &token, "email").await.unwrap();
        let code = pool.code();
        pool.race(1);
        let (a, b) = tokio::join!(
            verify(&pool, &token, "email", &code),
            verify(&pool, &token, "email", &code)
        );
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }

    // no texts are documented
    #[tokio::test]
    async fn what_cannot_be_verified_is_refused() {
        let pool = plain_pool().await;
        pool.sign_up("ada", &[("name", "Ada")]).await.unwrap();
        let request = types::AdminConfirmSignUpRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            ..Default::default()
        };
        crate::users::admin_confirm_sign_up(&pool, &signed_call(), request).await.unwrap();
        let token = pool.token("ada").await;
        let name = "InvalidParameterException: Attribute name cannot be verified. Only email and \
                    phone_number can be.";
        assert_eq!(refusal(ask(&pool, &token, "name").await), name);
        assert_eq!(refusal(verify(&pool, &token, "name", "123456").await), name);
        assert_eq!(
            refusal(ask(&pool, &token, "email").await),
            "InvalidParameterException: User does not have an attribute email."
        );
        assert_eq!(refusal(verify(&pool, &token, "email", "123456").await), EXPIRED);
        assert!(refusal(ask(&pool, "x", "email").await).starts_with("NotAuthorizedException"));
    }
}
