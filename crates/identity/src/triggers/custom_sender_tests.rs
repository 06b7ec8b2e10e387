//! Messages that a function sends in the place of the operator's ways.

use conclave_api::types;
use conclave_outbound::{Channel, DataKeyError};
use serde_json::json;

use super::*;
use crate::{
    testing::{TestKeys, signed_call, unsigned_call},
    users::{
        self,
        fixtures::{PASSWORD, TestPool, attributes, pool, refusal, strings, verifying},
    },
};

const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];
const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/codes";

fn arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:111122223333:function:{name}")
}

fn email_sender() -> types::LambdaConfigType {
    types::LambdaConfigType {
        custom_email_sender: Some(types::CustomEmailLambdaVersionConfigType {
            lambda_version: Some("V1_0".to_owned()),
            lambda_arn: Some(arn("email")),
        }),
        kms_key_id: Some(KEY.to_owned()),
        custom_message: Some(arn("words")),
        ..Default::default()
    }
}

fn both() -> types::LambdaConfigType {
    types::LambdaConfigType {
        custom_sms_sender: Some(types::CustomSmsLambdaVersionConfigType {
            lambda_version: Some("V1_0".to_owned()),
            lambda_arn: Some(arn("sms")),
        }),
        ..email_sender()
    }
}

async fn with(config: types::LambdaConfigType, verified: &[&str]) -> TestPool {
    let request =
        types::CreateUserPoolRequest { lambda_config: Some(config), ..verifying(verified) };
    let pool = pool(request).await;
    pool.functions.take();
    pool
}

/// The one event since the last one, and the code in it; nothing was sent in any other way.
fn sent(pool: &TestPool) -> (Value, String) {
    let mut events = pool.functions.take();
    let event = events.pop().expect("a function was called");
    assert!(events.is_empty() && pool.outbox.take().is_empty());
    let (code, context, info) = TestKeys::open(&event);
    assert_eq!(context, [("userpool-id".to_owned(), pool.id.clone())].into());
    assert!(info.starts_with(KEY), "{info}");
    (event, code)
}

#[tokio::test]
async fn a_sender_gets_the_code_encrypted_and_nothing_else_is_sent() {
    let pool = with(email_sender(), &["email"]).await;
    let request = types::SignUpRequest {
        client_metadata: [("lang".to_owned(), "en".to_owned())].into(),
        ..pool.sign_up_request("ada", &EMAIL)
    };
    pool.send_sign_up(request).await.unwrap();
    let (event, code) = sent(&pool);
    let sub = pool.user("ada").await.unwrap();
    let sub = sub.user_attributes.iter().find(|pair| pair.name.as_deref() == Some("sub"));
    assert_eq!(
        event,
        json!({
            "version": "1",
            "region": event["region"],
            "userPoolId": pool.id,
            "userName": "ada",
            "callerContext": {
                "awsSdkVersion": "aws-sdk-unknown-unknown",
                "clientId": pool.client_id,
            },
            "triggerSource": "CustomEmailSender_SignUp",
            "request": {
                "type": "customEmailSenderRequestV1",
                "code": event["request"]["code"],
                "clientMetadata": {"lang": "en"},
                "userAttributes": {
                    "sub": sub.and_then(|pair| pair.value.clone()),
                    "cognito:user_status": "UNCONFIRMED",
                    "email": "ada@example.com",
                    "email_verified": "false",
                },
            },
        }),
    );
    assert!(!event.to_string().contains(&code), "the code is encrypted");
    pool.confirm("ada", &code).await.unwrap();
}

#[tokio::test]
async fn e_mail_and_text_messages_have_senders_of_their_own() {
    let phone = [("phone_number", "+12065550100")];
    let pool = with(both(), &["phone_number"]).await;
    pool.sign_up("ada", &phone).await.unwrap();
    let (event, code) = sent(&pool);
    assert_eq!(event["triggerSource"], "CustomSMSSender_SignUp");
    assert_eq!(event["request"]["type"], "customSMSSenderRequestV1");
    assert_eq!(event["request"]["clientMetadata"], Value::Null);
    pool.confirm("ada", &code).await.unwrap();
    let pool = with(email_sender(), &["phone_number"]).await;
    pool.sign_up("ada", &phone).await.unwrap();
    assert_eq!(pool.functions.sources(), ["CustomMessage_SignUp"]);
    assert_eq!(pool.outbox.take().pop().map(|message| message.channel), Some(Channel::Sms));
}

#[tokio::test]
async fn every_message_goes_to_the_sender() {
    let pool = with(both(), &["email"]).await;
    let verified = [("email", "ada@example.com"), ("email_verified", "true")];
    let request = types::AdminCreateUserRequest {
        desired_delivery_mediums: strings(&["EMAIL"]),
        ..pool.create_request("ada", &verified)
    };
    pool.send_create(request).await.unwrap();
    let (event, temporary) = sent(&pool);
    assert_eq!(event["triggerSource"], "CustomEmailSender_AdminCreateUser");
    assert_eq!(event["callerContext"]["clientId"], "CLIENT_ID_NOT_APPLICABLE");
    assert!(pool.password_is("ada", &temporary).await.1);
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        password: Some(PASSWORD.to_owned()),
        permanent: Some(true),
    };
    users::admin_set_user_password(&pool, &signed_call(), request).await.unwrap();
    let token = pool.token("ada").await;
    let request = types::GetUserAttributeVerificationCodeRequest {
        access_token: Some(token.clone()),
        attribute_name: Some("email".to_owned()),
        ..Default::default()
    };
    users::get_user_attribute_verification_code(&pool, &unsigned_call(), request).await.unwrap();
    assert_eq!(sent(&pool).0["triggerSource"], "CustomEmailSender_VerifyUserAttribute");
    let request = types::UpdateUserAttributesRequest {
        access_token: Some(token.clone()),
        user_attributes: Some(types::AttributeTypeList {
            items: attributes(&[("email", "new@example.com")]),
        }),
        ..Default::default()
    };
    users::update_user_attributes(&pool, &unsigned_call(), request).await.unwrap();
    let (event, code) = sent(&pool);
    assert_eq!(event["triggerSource"], "CustomEmailSender_UpdateUserAttribute");
    assert_eq!(event["request"]["userAttributes"]["email"], "new@example.com");
    let request = types::VerifyUserAttributeRequest {
        access_token: Some(token),
        attribute_name: Some("email".to_owned()),
        code: Some(code),
    };
    users::verify_user_attribute(&pool, &unsigned_call(), request).await.unwrap();
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::forgot_password(&pool, &unsigned_call(), request).await.unwrap();
    assert_eq!(sent(&pool).0["triggerSource"], "CustomEmailSender_ForgotPassword");
    let request = types::AdminResetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::admin_reset_user_password(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(sent(&pool).0["triggerSource"], "CustomEmailSender_ForgotPassword");
}

/// Nothing is sent in the operator's way in the place of a function that fails, and nothing is silent.
#[tokio::test]
async fn a_message_that_was_not_handed_over_is_an_error_and_can_be_asked_for_again() {
    let delivery = "CodeDeliveryFailureException: Unable to deliver message to user";
    let unexpected = |why: &str| {
        format!(
            "UnexpectedLambdaException: CustomEmailSender invocation failed due to error {why}."
        )
    };
    let cases = [
        (InvokeError::Failed("the provider's key is sk-4711".to_owned()), delivery.to_owned()),
        (InvokeError::NotConfigured, unexpected("no endpoint is configured for the function")),
        (
            InvokeError::Refused("ResourceNotFoundException".to_owned()),
            unexpected("ResourceNotFoundException"),
        ),
        (InvokeError::TimedOut, unexpected("Socket timeout while invoking Lambda function")),
    ];
    for (error, text) in cases {
        let pool = with(email_sender(), &["email"]).await;
        pool.functions.answer(move |_| Err(error.clone()));
        assert_eq!(refusal(pool.sign_up("ada", &EMAIL).await), text);
        assert!(pool.outbox.take().is_empty());
        pool.functions.take();
        pool.functions.answer(|event| Ok(event["response"].clone()));
        resend(&pool, &pool.client_id).await.unwrap();
        let (event, code) = sent(&pool);
        assert_eq!(event["triggerSource"], "CustomEmailSender_ResendCode");
        pool.confirm("ada", &code).await.unwrap();
    }
    for error in [
        DataKeyError::NotConfigured,
        DataKeyError::Refused("AccessDeniedException".to_owned()),
        DataKeyError::TimedOut,
        DataKeyError::NoKey,
    ] {
        let pool = with(email_sender(), &["email"]).await;
        pool.data_keys.fail(error);
        assert_eq!(refusal(pool.sign_up("ada", &EMAIL).await), delivery);
        assert!(pool.functions.take().is_empty() && pool.outbox.take().is_empty());
    }
}

/// Whoever waits for a message learns that it has not left, and why: they may come again.
#[tokio::test]
async fn too_many_messages_at_once_are_refused_as_such() {
    let overloaded = "TooManyRequestsException: Too many requests";
    let pool = with(email_sender(), &["email"]).await;
    pool.data_keys.fail(DataKeyError::Overloaded);
    assert_eq!(refusal(pool.sign_up("ada", &EMAIL).await), overloaded);
    let pool = with(email_sender(), &["email"]).await;
    pool.functions.fill();
    assert_eq!(refusal(pool.sign_up("ada", &EMAIL).await), overloaded);
    assert!(pool.functions.take().is_empty());
}

async fn resend(pool: &TestPool, client_id: &str) -> Result<(), ApiError> {
    let request = types::ResendConfirmationCodeRequest {
        client_id: Some(client_id.to_owned()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::resend_confirmation_code(pool, &unsigned_call(), request).await.map(|_| ())
}

/// The time that a sender takes, and what becomes of its message, must not tell who exists.
#[tokio::test]
async fn s06_where_users_are_hidden_a_sender_is_called_later() {
    let pool = with(email_sender(), &["email"]).await;
    pool.sign_up("ada", &EMAIL).await.unwrap();
    let (_, code) = sent(&pool);
    pool.confirm("ada", &code).await.unwrap();
    let hiding = pool.hiding_client().await;
    let forget = async |name: &str| {
        let request = types::ForgotPasswordRequest {
            client_id: Some(hiding.clone()),
            username: Some(name.to_owned()),
            ..Default::default()
        };
        users::forgot_password(&pool, &unsigned_call(), request).await
    };
    let called = async || {
        for _ in 0..1_000 {
            if let Some(event) = pool.functions.take().pop() {
                return Some(event["triggerSource"].clone());
            }
            tokio::task::yield_now().await;
        }
        None
    };
    // what the operator sends with plays no part
    pool.outbox.fail();
    forget("ada").await.unwrap();
    assert_eq!(called().await, Some(json!("CustomEmailSender_ForgotPassword")));
    forget("nobody").await.unwrap();
    assert_eq!(called().await, None);
    pool.functions.answer(|_| Err(InvokeError::NotConfigured));
    forget("ada").await.unwrap();
    assert!(called().await.is_some());
    forget("nobody").await.unwrap();
    pool.functions.fill();
    let refusals = [refusal(forget("ada").await), refusal(forget("nobody").await)];
    assert!(refusals[0].starts_with("CodeDeliveryFailureException"));
    assert_eq!(refusals[0], refusals[1]);
}

#[test]
fn a_sender_needs_a_key() {
    let described = |given: &types::LambdaConfigType| {
        let triggers = settings::record(Some(given), "LITE").unwrap();
        settings::describe(&PoolRecord { triggers, ..Default::default() })
    };
    assert_eq!(described(&both()), both());
    let key_alone =
        types::LambdaConfigType { kms_key_id: Some(KEY.to_owned()), ..Default::default() };
    assert_eq!(described(&key_alone), key_alone);
    for config in [
        types::LambdaConfigType { kms_key_id: None, ..both() },
        types::LambdaConfigType { kms_key_id: None, custom_sms_sender: None, ..both() },
        types::LambdaConfigType { kms_key_id: None, custom_email_sender: None, ..both() },
    ] {
        assert_eq!(
            refusal(settings::record(Some(&config), "LITE").map(|_| ())),
            "InvalidParameterException: KMSKeyID is required when CustomEmailSender or CustomSMSSender \
             is configured."
        );
    }
}
