//! What functions of a pool make of sign-ups, confirmations and messages.

use conclave_api::types;
use conclave_outbound::Channel;
use serde_json::json;

use super::*;
use crate::{
    auth::initiate_auth,
    testing::{signed_call, unsigned_call},
    tx::{transact, transact_until},
    users::{
        self,
        fixtures::{PASSWORD, TestPool, attributes, pool, refusal, strings, verifying},
    },
};

const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:";
const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

fn arn(name: &str) -> Option<String> {
    Some(format!("{ARN}{name}"))
}

async fn with(config: types::LambdaConfigType) -> TestPool {
    let pool = pool(types::CreateUserPoolRequest {
        lambda_config: Some(config),
        alias_attributes: strings(&["email"]),
        ..verifying(&["email"])
    })
    .await;
    pool.functions.take();
    pool
}

fn everything() -> types::LambdaConfigType {
    types::LambdaConfigType {
        pre_sign_up: arn("sign-up"),
        post_confirmation: arn("confirmed"),
        custom_message: arn("message"),
        ..Default::default()
    }
}

fn throws(event: &Value) -> Result<Value, InvokeError> {
    let source = event["triggerSource"].as_str().unwrap_or_default();
    Err(InvokeError::Failed(format!("no {source}")))
}

fn words(
    member: &'static str,
    text: &'static str,
) -> impl Fn(&Value) -> Result<Value, InvokeError> {
    move |event| match event["triggerSource"].as_str().unwrap().starts_with("CustomMessage") {
        true => Ok(json!({ member: text })),
        false => Ok(event["response"].clone()),
    }
}

#[tokio::test]
async fn a_sign_up_asks_first_and_tells_of_the_confirmation() {
    let pool = with(everything()).await;
    let request = types::SignUpRequest {
        validation_data: attributes(&[("captcha", "ok")]),
        client_metadata: [("from".to_owned(), "app".to_owned())].into(),
        ..pool.sign_up_request("ada", &EMAIL)
    };
    let answer = pool.send_sign_up(request).await.unwrap();
    let sub = answer.user_sub.unwrap();
    let events = pool.functions.take();
    let event = json!({
        "version": "1", "region": "us-east-1", "userPoolId": pool.id, "userName": "ada",
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": pool.client_id},
        "triggerSource": "PreSignUp_SignUp",
        "request": {
            "userAttributes": {"email": "ada@example.com"},
            "validationData": {"captcha": "ok"}, "clientMetadata": {"from": "app"},
        },
        "response": {"autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false},
    });
    assert_eq!(events[0], event);
    assert_eq!(events[1]["triggerSource"], "CustomMessage_SignUp");
    assert_eq!(
        events[1]["request"],
        json!({
            "userAttributes": {
                "sub": sub, "cognito:user_status": "UNCONFIRMED", "email": "ada@example.com",
                "email_verified": "false",
            },
            "codeParameter": "{####}", "linkParameter": "{##Click Here##}", "usernameParameter": null,
            "clientMetadata": {"from": "app"},
        })
    );
    pool.confirm("ada", &pool.code()).await.unwrap();
    let events = pool.functions.take();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["triggerSource"], "PostConfirmation_ConfirmSignUp");
    let shown = &events[0]["request"]["userAttributes"];
    assert_eq!(shown["cognito:user_status"], "CONFIRMED");
    assert_eq!(shown["email_verified"], "true");
}

#[tokio::test]
async fn a_sign_up_that_is_refused_leaves_nothing() {
    let pool = with(everything()).await;
    pool.functions.answer(throws);
    assert_eq!(
        refusal(pool.sign_up("ada", &EMAIL).await),
        "UserLambdaValidationException: PreSignUp failed with error no PreSignUp_SignUp."
    );
    assert!(pool.user("ada").await.is_err());
    assert_eq!(pool.functions.sources(), ["PreSignUp_SignUp"]);
    assert!(pool.outbox.take().is_empty());
    let created = pool.send_create(pool.create_request("ada", &EMAIL)).await;
    assert_eq!(
        refusal(created),
        "UserLambdaValidationException: PreSignUp failed with error no PreSignUp_AdminCreateUser."
    );
    assert!(pool.user("ada").await.is_err());
}

#[tokio::test]
async fn a_function_confirms_a_sign_up_and_vouches_for_addresses() {
    let pool = with(everything()).await;
    pool.sign_up("eve", &EMAIL).await.unwrap();
    pool.confirm("eve", &pool.code()).await.unwrap();
    pool.functions.take();
    pool.functions.answer(|_| Ok(json!({"autoConfirmUser": true, "autoVerifyEmail": true})));
    let answer = pool.sign_up("ada", &EMAIL).await.unwrap();
    assert_eq!(answer.user_confirmed, Some(true));
    assert_eq!(answer.code_delivery_details, None);
    assert!(pool.outbox.take().is_empty());
    assert_eq!(pool.functions.sources(), ["PreSignUp_SignUp", "PostConfirmation_ConfirmSignUp"]);
    assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    // "the alias will be moved to the new user"
    assert_eq!(pool.attributes_of("ada").await, ["email=ada@example.com", "email_verified=true"]);
    assert_eq!(pool.attributes_of("eve").await, ["email=ada@example.com", "email_verified=false"]);
    assert_eq!(
        refusal(pool.sign_up("bob", &[]).await),
        "InvalidLambdaResponseException: Invalid lambda function output : autoVerifyEmail is set for \
         a user without email"
    );
    assert!(pool.user("bob").await.is_err());
    // of what an administrator makes, the state is the administrator's
    pool.send_create(pool.create_request("joe", &[])).await.unwrap();
    assert_eq!(pool.status_of("joe").await, "FORCE_CHANGE_PASSWORD");
}

#[tokio::test]
async fn what_is_told_of_a_confirmation_undoes_nothing() {
    let pool =
        with(types::LambdaConfigType { post_confirmation: arn("confirmed"), ..Default::default() })
            .await;
    pool.functions.answer(throws);
    pool.sign_up("ada", &EMAIL).await.unwrap();
    assert_eq!(
        refusal(pool.confirm("ada", &pool.code()).await),
        "UserLambdaValidationException: PostConfirmation failed with error no \
         PostConfirmation_ConfirmSignUp."
    );
    assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    pool.sign_up("eve", &[]).await.unwrap();
    let request = types::AdminConfirmSignUpRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("eve".to_owned()),
        ..Default::default()
    };
    let told = users::admin_confirm_sign_up(&pool, &signed_call(), request).await;
    assert!(refusal(told).starts_with("UserLambdaValidationException: PostConfirmation"));
    assert_eq!(pool.status_of("eve").await, "CONFIRMED");
    let event = pool.functions.take().pop().unwrap();
    assert_eq!(event["callerContext"]["clientId"], "CLIENT_ID_NOT_APPLICABLE");
}

#[tokio::test]
async fn a_message_goes_out_in_the_words_of_the_function() {
    let pool = with(everything()).await;
    pool.functions.answer(|event| {
        Ok(json!({
            "emailSubject": format!("For {}", event["userName"].as_str().unwrap()),
            "emailMessage": "<b>{####}</b> {username}",
        }))
    });
    pool.sign_up("a<b", &EMAIL).await.unwrap();
    let message = pool.outbox.take().pop().unwrap();
    let code = message.code.unwrap();
    assert_eq!(message.subject.as_deref(), Some("For a<b"));
    assert_eq!((message.body, message.is_html), (format!("<b>{code}</b> a&lt;b"), true));
    pool.confirm("a<b", &code).await.unwrap();
    // the function has not seen the code
    let seen = format!("{:?}", pool.functions.take());
    assert!(!seen.contains(&code));
    // what it leaves out is as the pool has it
    pool.functions.answer(words("smsMessage", "not for e-mail {####}"));
    pool.sign_up("eve", &EMAIL).await.unwrap();
    let message = pool.outbox.take().pop().unwrap();
    assert_eq!(message.body, format!("Your confirmation code is {}", message.code.unwrap()));
}

#[tokio::test]
async fn words_that_cannot_be_sent_are_refused_and_the_code_can_be_asked_for_again() {
    let pool = with(everything()).await;
    let invalid = |why: &str| {
        format!("InvalidLambdaResponseException: Invalid lambda function output : {why}")
    };
    for (name, text, why) in [
        ("ada", "no code at all", "emailMessage has no place for the code".to_owned()),
        ("bob", "{##Click##}", "emailMessage has no place for the code".to_owned()),
        (
            "joe",
            Box::leak("x".repeat(20_001).into()),
            "emailMessage is longer than 20000 characters".into(),
        ),
    ] {
        pool.functions.answer(words("emailMessage", text));
        assert_eq!(refusal(pool.sign_up(name, &EMAIL).await), invalid(&why));
        assert!(pool.outbox.take().is_empty());
        assert_eq!(pool.status_of(name).await, "UNCONFIRMED");
    }
    pool.functions.answer(words("emailMessage", "{####}"));
    let request = types::ResendConfirmationCodeRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    pool.functions.take();
    users::resend_confirmation_code(&pool, &unsigned_call(), request).await.unwrap();
    assert_eq!(pool.functions.sources(), ["CustomMessage_ResendCode"]);
    pool.confirm("ada", &pool.code()).await.unwrap();
}

#[tokio::test]
async fn every_message_says_why_it_is_sent() {
    let pool =
        with(types::LambdaConfigType { custom_message: arn("m"), ..Default::default() }).await;
    let verified = [("email", "ada@example.com"), ("email_verified", "true")];
    let request = types::AdminCreateUserRequest {
        desired_delivery_mediums: strings(&["EMAIL"]),
        ..pool.create_request("ada", &verified)
    };
    pool.send_create(request).await.unwrap();
    let event = pool.functions.take().pop().unwrap();
    assert_eq!(event["triggerSource"], "CustomMessage_AdminCreateUser");
    assert_eq!(event["request"]["usernameParameter"], "{username}");
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        password: Some(PASSWORD.to_owned()),
        permanent: Some(true),
    };
    users::admin_set_user_password(&pool, &signed_call(), request).await.unwrap();
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: [("USERNAME", "ada"), ("PASSWORD", PASSWORD)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        client_id: Some(pool.client_id.clone()),
        ..Default::default()
    };
    let answer = initiate_auth(&pool, &unsigned_call(), request).await.unwrap();
    let token = answer.authentication_result.unwrap().access_token;
    assert!(pool.functions.take().is_empty());
    let request = types::GetUserAttributeVerificationCodeRequest {
        access_token: token.clone(),
        attribute_name: Some("email".to_owned()),
        client_metadata: [("a".to_owned(), "b".to_owned())].into(),
    };
    users::get_user_attribute_verification_code(&pool, &unsigned_call(), request).await.unwrap();
    let event = pool.functions.take().pop().unwrap();
    assert_eq!(event["triggerSource"], "CustomMessage_VerifyUserAttribute");
    assert_eq!(event["request"]["clientMetadata"], json!({"a": "b"}));
    assert_eq!(event["callerContext"]["clientId"], pool.client_id.as_str());
    let request = types::UpdateUserAttributesRequest {
        access_token: token,
        user_attributes: Some(types::AttributeTypeList {
            items: attributes(&[("email", "new@example.com")]),
        }),
        ..Default::default()
    };
    users::update_user_attributes(&pool, &unsigned_call(), request).await.unwrap();
    assert_eq!(pool.functions.sources(), ["CustomMessage_UpdateUserAttribute"]);
    let request = types::AdminUpdateUserAttributesRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        user_attributes: Some(types::AttributeTypeList { items: attributes(&verified) }),
        ..Default::default()
    };
    users::admin_update_user_attributes(&pool, &signed_call(), request).await.unwrap();
    assert!(pool.functions.take().is_empty());
    let request = types::AdminResetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::admin_reset_user_password(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(pool.functions.sources(), ["CustomMessage_ForgotPassword"]);
}

/// The time that a function takes, and what it says, must not tell who exists.
#[tokio::test]
async fn where_users_are_hidden_words_are_found_later() {
    let pool = with(everything()).await;
    pool.functions.answer(|_| Ok(json!({"autoConfirmUser": true, "autoVerifyEmail": true})));
    pool.sign_up("ada", &EMAIL).await.unwrap();
    let request = types::CreateUserPoolClientRequest {
        prevent_user_existence_errors: Some("ENABLED".to_owned()),
        ..Default::default()
    };
    let hiding = pool.new_client(request).await.client_id.unwrap();
    let forget = async |name: &str| {
        let request = types::ForgotPasswordRequest {
            client_id: Some(hiding.clone()),
            username: Some(name.to_owned()),
            ..Default::default()
        };
        users::forgot_password(&pool, &unsigned_call(), request).await
    };
    let sent = async || {
        for _ in 0..1_000 {
            if let Some(message) = pool.outbox.take().pop() {
                return Some(message);
            }
            tokio::task::yield_now().await;
        }
        None
    };
    pool.functions.answer(words("emailMessage", "later {####}"));
    forget("ada").await.unwrap();
    let message = sent().await.expect("is sent");
    assert_eq!((message.channel, message.body.starts_with("later ")), (Channel::Email, true));
    pool.functions.answer(throws);
    for name in ["ada", "nobody"] {
        forget(name).await.unwrap();
        assert!(sent().await.is_none());
    }
    // where there is no place for the call, nobody is told apart either
    pool.functions.fill();
    let refusals = [refusal(forget("ada").await), refusal(forget("nobody").await)];
    assert!(refusals[0].starts_with("CodeDeliveryFailureException"));
    assert_eq!(refusals[0], refusals[1]);
}

#[tokio::test]
async fn a_question_is_asked_once_for_a_request() {
    struct Asks<'a>(&'a str);

    #[async_trait::async_trait]
    impl crate::tx::Transaction for Asks<'_> {
        type Output = ();

        fn scope(&self) -> &str {
            self.0
        }

        async fn decide(&self, tx: &mut Tx<'_>) -> crate::tx::Decision<()> {
            tx.load(crate::tx::Query::new()).await?;
            let who = Who { username: "ada", client_id: None };
            let source = ("PreSignUp_SignUp", "1");
            let event =
                Event::new(&*tx.pool()?, Trigger::PreSignUp, source, who, Map::new(), json!({}));
            let refused = ask(tx, &event.unwrap()).await.unwrap_err();
            assert_eq!(refused.code, ExceptionName::UserLambdaValidationException);
            Err(crate::tx::Failure::Again)
        }
    }

    let pool = with(everything()).await;
    pool.functions.answer(throws);
    transact(&pool, &Asks(&pool.id)).await.unwrap_err();
    assert_eq!(pool.functions.take().len(), 1);
}

/// A client is answered within 30 seconds, so what its functions may take is bounded together, and not one by one.
#[tokio::test]
async fn the_functions_of_a_request_have_one_time_together() {
    struct Asks<'a>(&'a str);

    #[async_trait::async_trait]
    impl crate::tx::Transaction for Asks<'_> {
        type Output = ();

        fn scope(&self) -> &str {
            self.0
        }

        async fn decide(&self, tx: &mut Tx<'_>) -> crate::tx::Decision<()> {
            tx.load(crate::tx::Query::new()).await?;
            for name in ["ada", "bob", "eve"] {
                let who = Who { username: name, client_id: None };
                let source = ("PreSignUp_SignUp", "1");
                let event = Event::new(
                    &*tx.pool()?,
                    Trigger::PreSignUp,
                    source,
                    who,
                    Map::new(),
                    json!({}),
                );
                ask(tx, &event.unwrap()).await?;
            }
            Ok(().into())
        }
    }

    let pool = with(everything()).await;
    pool.functions.take_time(Duration::from_millis(400));
    let until = Instant::now() + Duration::from_secs(1);
    let error = transact_until(&pool, &Asks(&pool.id), until).await.unwrap_err();
    assert_eq!(
        refusal::<()>(Err(error)),
        "UnexpectedLambdaException: PreSignUp invocation failed due to error Socket timeout while \
         invoking Lambda function."
    );
    assert_eq!(pool.functions.take().len(), 3, "each of them alone would have had the time");
}

// ---- LambdaConfig ---------------------------------------------------------------------------

fn versioned(version: &str) -> types::LambdaConfigType {
    types::LambdaConfigType {
        pre_token_generation_config: Some(types::PreTokenGenerationVersionConfigType {
            lambda_version: Some(version.to_owned()),
            lambda_arn: arn("tokens"),
        }),
        ..Default::default()
    }
}

#[test]
fn what_is_set_is_described() {
    let full = types::LambdaConfigType {
        pre_sign_up: arn("a"),
        custom_message: arn("b"),
        post_confirmation: arn("c"),
        pre_authentication: arn("d"),
        post_authentication: arn("e"),
        define_auth_challenge: arn("f"),
        create_auth_challenge: arn("g"),
        verify_auth_challenge_response: arn("h"),
        pre_token_generation: arn("tokens"),
        user_migration: arn("i"),
        ..versioned("V3_0")
    };
    let described = |given: &types::LambdaConfigType| {
        let triggers = settings::record(Some(given), "ESSENTIALS").unwrap();
        settings::describe(&PoolRecord { triggers, ..Default::default() })
    };
    assert_eq!(described(&full), full);
    // the older member is the newer one's first version, and the other way round
    let older =
        types::LambdaConfigType { pre_token_generation: arn("tokens"), ..Default::default() };
    let both = types::LambdaConfigType { pre_token_generation: arn("tokens"), ..versioned("V1_0") };
    assert_eq!(described(&older), both);
    assert_eq!(described(&versioned("V1_0")), both);
    assert_eq!(described(&types::LambdaConfigType::default()), Default::default());
    assert!(settings::record(None, "LITE").unwrap().is_none());
}

#[test]
fn what_does_not_go_together_is_refused() {
    let other = types::LambdaConfigType { pre_token_generation: arn("other"), ..versioned("V1_0") };
    assert_eq!(
        refusal(settings::record(Some(&other), "ESSENTIALS").map(|_| ())),
        "InvalidParameterException: PreTokenGeneration and the LambdaArn of PreTokenGenerationConfig \
         must be the same."
    );
    for version in ["V2_0", "V3_0"] {
        assert_eq!(
            refusal(settings::record(Some(&versioned(version)), "LITE").map(|_| ())),
            "FeatureUnavailableInTierException: The following features need to be disabled for the LITE \
             pricing tier configured: Access Token Customization"
        );
        assert!(settings::record(Some(&versioned(version)), "PLUS").is_ok());
    }
    assert!(settings::record(Some(&versioned("V1_0")), "LITE").is_ok());
}
