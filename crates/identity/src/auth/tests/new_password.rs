//! NEW_PASSWORD_REQUIRED.

use super::*;

const USED: &str =
    "NotAuthorizedException: Invalid session for the user, session can only be used once.";
const EXPIRED: &str = "NotAuthorizedException: Invalid session for the user, session is expired.";
const INVALID: &str = "NotAuthorizedException: Invalid session for the user.";
const ANSWER: [(&str, &str); 2] = [("USERNAME", "ada"), ("NEW_PASSWORD", NEW)];

async fn pool_that_requires(names: &[&str]) -> Fixture {
    let schema = names.iter().map(|name| types::SchemaAttributeType {
        name: Some((*name).to_owned()),
        attribute_data_type: Some("String".to_owned()),
        required: Some(true),
        mutable: Some(true),
        ..Default::default()
    });
    let schema = Some(types::SchemaAttributeTypeList { items: schema.collect() });
    Fixture::with(types::CreateUserPoolRequest { schema, ..Default::default() }).await
}

#[tokio::test]
async fn the_challenge_says_what_is_there_and_what_is_missing() {
    let pool = pool_that_requires(&["email", "given_name"]).await;
    pool.temporary_user("ada", &[("email", "ada@example.com")]).await;
    let response = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert!(response.authentication_result.is_none());
    let parameters: Vec<_> = response.challenge_parameters.into_iter().collect();
    assert_eq!(
        parameters,
        [
            ("USER_ID_FOR_SRP".to_owned(), "ada".to_owned()),
            ("requiredAttributes".to_owned(), r#"["userAttributes.given_name"]"#.to_owned()),
            ("userAttributes".to_owned(), r#"{"email":"ada@example.com"}"#.to_owned()),
        ]
    );
    let session = response.session.unwrap();
    assert!((20..=2_048).contains(&session.len()), "{}", session.len());
}

#[tokio::test]
async fn a_new_password_signs_in_and_lasts() {
    let pool = Fixture::new().await;
    let sub = pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    let response = pool.answer_new_password(&session, &ANSWER).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!((response.challenge_name, response.session), (None, None));
    assert!(pool.get_user(access(&response.authentication_result.unwrap())).await.is_ok());
    assert_eq!(pool.sessions(&sub).await.len(), 1);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), INCORRECT);
    pool.advance(8 * 24 * 3_600);
    assert!(pool.sign_in(&pool.client_id, "ada", NEW).await.is_ok());
    assert!(pool.srp(&pool.client_id, "ada", NEW).await.is_ok());
}

#[tokio::test]
async fn a_weak_password_leaves_the_session_usable() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    for (password, rule) in [
        ("Aa1!", "Password not long enough"),
        ("OTHER-HORSE-2", "Password must have lowercase characters"),
        ("other-horse-2", "Password must have uppercase characters"),
        ("Other-Horse-Two", "Password must have numeric characters"),
        ("OtherHorse2", "Password must have symbol characters"),
    ] {
        let answer = [("USERNAME", "ada"), ("NEW_PASSWORD", password)];
        assert_eq!(
            refusal(pool.answer_new_password(&session, &answer).await),
            format!("InvalidPasswordException: Password does not conform to policy: {rule}")
        );
    }
    let long = format!("Aa1!{}", "x".repeat(253));
    let answer = [("USERNAME", "ada"), ("NEW_PASSWORD", long.as_str())];
    assert_eq!(
        refusal(pool.answer_new_password(&session, &answer).await),
        "InvalidParameterException: 1 validation error detected: Value at 'password' failed to \
         satisfy constraint: Member must have length less than or equal to 256"
    );
    assert!(pool.answer_new_password(&session, &ANSWER).await.is_ok());
}

#[tokio::test]
async fn a_session_is_good_once() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    let answers = (0..5).map(|_| pool.answer_new_password(&session, &ANSWER));
    let results = futures::future::join_all(answers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for refused in results.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(refused), USED);
    }
    assert_eq!(refusal(pool.answer_new_password(&session, &ANSWER).await), USED);
    pool.advance(3_600);
    assert_eq!(refusal(pool.answer_new_password(&session, &ANSWER).await), EXPIRED);
}

#[tokio::test]
async fn a_session_ends_when_the_client_says() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    pool.advance(180);
    assert_eq!(refusal(pool.answer_new_password(&session, &ANSWER).await), EXPIRED);
}

#[tokio::test]
async fn a_session_is_bound_to_its_user_client_pool_and_challenge() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    pool.temporary_user("eve", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    for username in ["eve", "nobody"] {
        let answer = [("USERNAME", username), ("NEW_PASSWORD", NEW)];
        assert_eq!(refusal(pool.answer_new_password(&session, &answer).await), INVALID);
    }
    let other = pool.client(types::CreateUserPoolClientRequest::default()).await;
    let challenge = "NEW_PASSWORD_REQUIRED";
    assert_eq!(
        refusal(pool.respond(&other, challenge, Some(&session), map(&ANSWER)).await),
        INVALID
    );
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let request = types::CreateUserPoolClientRequest::default();
    let other = new_client_with(&pool.test, &other_pool, request).await.client_id.unwrap();
    assert_eq!(
        refusal(pool.respond(&other, challenge, Some(&session), map(&ANSWER)).await),
        INVALID
    );
    for challenge in ["SMS_MFA", "SOFTWARE_TOKEN_MFA", "CUSTOM_CHALLENGE", "NO_SUCH_CHALLENGE"] {
        assert_eq!(
            refusal(pool.respond(&pool.client_id, challenge, Some(&session), map(&ANSWER)).await),
            INVALID
        );
    }
    assert!(pool.answer_new_password(&session, &ANSWER).await.is_ok());
}

#[tokio::test]
async fn nobody_gets_in_by_a_session_that_was_not_given() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    let mut altered = encoding::base64url_decode(&session).unwrap();
    altered[60] ^= 1;
    let altered = encoding::base64url(&altered);
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let block = encoding::base64_decode(challenge.get("SECRET_BLOCK")).unwrap();
    let block = encoding::base64url(&block);
    let shortened = &session[..session.len() - 4];
    for forged in [None, Some("x"), Some(&*altered), Some(&*block), Some(shortened)] {
        let challenge = "NEW_PASSWORD_REQUIRED";
        assert_eq!(
            refusal(pool.respond(&pool.client_id, challenge, forged, map(&ANSWER)).await),
            INVALID
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    for (answer, missing) in [
        (&[("NEW_PASSWORD", NEW)][..], "USERNAME"),
        (&[("USERNAME", "ada")], "NEW_PASSWORD"),
        (&[("USERNAME", "ada"), ("NEW_PASSWORD", "")], "NEW_PASSWORD"),
    ] {
        assert_eq!(
            refusal(pool.answer_new_password(&session, answer).await),
            format!("InvalidParameterException: Missing required parameter {missing}")
        );
    }
}

#[tokio::test]
async fn missing_attributes_are_given_with_the_password() {
    let pool = pool_that_requires(&["email", "given_name"]).await;
    pool.temporary_user("ada", &[("email", "ada@example.com")]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    let answer = |more: &[(&'static str, &'static str)]| [&ANSWER[..], more].concat();
    for (more, text) in [
        (&[][..], "InvalidParameterException: Invalid attributes given, given_name is missing"),
        (
            &[("userAttributes.given_name", "Ada"), ("userAttributes.email", "x@example.com")],
            "NotAuthorizedException: Cannot modify an already provided email",
        ),
        (
            &[("userAttributes.given_name", "Ada"), ("userAttributes.email_verified", "true")],
            "InvalidParameterException: Cannot modify the non-mutable attribute email_verified",
        ),
        (
            &[("userAttributes.given_name", "Ada"), ("userAttributes.sub", "x")],
            "InvalidParameterException: Cannot modify the non-mutable attribute sub",
        ),
        (
            &[("userAttributes.given_name", "Ada"), ("userAttributes.custom:role", "admin")],
            "InvalidParameterException: Attributes did not conform to the schema: Type for \
             attribute {custom:role} could not be determined",
        ),
    ] {
        assert_eq!(refusal(pool.answer_new_password(&session, &answer(more)).await), text);
    }
    let more = [("userAttributes.given_name", "Ada"), ("userAttributes.phone_number", "+15550100")];
    let response = pool.answer_new_password(&session, &answer(&more)).await.unwrap();
    let shown = pool.get_user(access(&response.authentication_result.unwrap())).await.unwrap();
    let shown: Vec<_> = shown
        .user_attributes
        .into_iter()
        .map(|held| format!("{}={}", held.name.unwrap(), held.value.unwrap()))
        .collect();
    assert_eq!(
        shown[..4],
        [
            "email=ada@example.com",
            "phone_number=+15550100",
            "phone_number_verified=false",
            "given_name=Ada"
        ]
    );
}

#[tokio::test]
async fn attributes_that_the_client_may_not_write_are_refused() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            write_attributes: strings(&["given_name"]),
            ..Default::default()
        })
        .await;
    let session = pool.new_password_session(&client, "ada").await;
    let answer = [&ANSWER[..], &[("userAttributes.family_name", "King")]].concat();
    let challenge = "NEW_PASSWORD_REQUIRED";
    assert_eq!(
        refusal(pool.respond(&client, challenge, Some(&session), map(&answer)).await),
        "NotAuthorizedException: A client attempted to write unauthorized attribute"
    );
}

#[tokio::test]
async fn a_name_that_another_user_signs_in_by_cannot_be_taken() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["preferred_username"]),
        ..Default::default()
    })
    .await;
    pool.user("eve", &[("preferred_username", "boss")]).await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    for taken in ["boss", "eve"] {
        let answer = [&ANSWER[..], &[("userAttributes.preferred_username", taken)]].concat();
        assert_eq!(
            refusal(pool.answer_new_password(&session, &answer).await),
            "AliasExistsException: User account already exists for the alias.",
            "{taken}"
        );
    }
    let answer = [&ANSWER[..], &[("userAttributes.preferred_username", "queen")]].concat();
    assert!(pool.answer_new_password(&session, &answer).await.is_ok());
    assert!(pool.sign_in(&pool.client_id, "queen", NEW).await.is_ok());
}

#[tokio::test]
async fn a_session_does_not_outlive_the_password_that_opened_it() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    set_password(&pool.test, &pool.pool_id, "ada", "Admins-Horse-3").await;
    assert_eq!(refusal(pool.answer_new_password(&session, &ANSWER).await), INVALID);
    assert!(pool.sign_in(&pool.client_id, "ada", "Admins-Horse-3").await.is_ok());
}

#[tokio::test]
async fn a_user_who_is_disabled_meanwhile_sets_no_password() {
    let pool = Fixture::new().await;
    let sub = pool.temporary_user("ada", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    pool.disable(&sub).await;
    assert_eq!(
        refusal(pool.answer_new_password(&session, &ANSWER).await),
        "NotAuthorizedException: User is disabled."
    );
}

#[tokio::test]
async fn a_secret_is_proved_for_the_canonical_name() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let (client, secret) = pool.confidential(false).await;
    let hash = secret_hash(&secret, "ada", &client);
    let parameters = [("USERNAME", "ada"), ("PASSWORD", PASSWORD), ("SECRET_HASH", hash.as_str())];
    let response = pool.initiate(&client, "USER_PASSWORD_AUTH", &parameters).await.unwrap();
    let session = response.session.unwrap();
    let challenge = "NEW_PASSWORD_REQUIRED";
    assert_eq!(
        refusal(pool.respond(&client, challenge, Some(&session), map(&ANSWER)).await),
        format!(
            "NotAuthorizedException: Client {client} is configured with secret but SECRET_HASH was \
             not received"
        )
    );
    let answer = [&ANSWER[..], &[("SECRET_HASH", hash.as_str())]].concat();
    assert!(pool.respond(&client, challenge, Some(&session), map(&answer)).await.is_ok());
}
