//! The codes of second factors: right ones, wrong ones, used ones, and how often one may guess.

use super::mfa::{App, EMAIL, PHONE, USED, WRONG_APP_CODE, WRONG_SENT_CODE, asking};
use super::*;

const USED_CODE: &str = "ExpiredCodeException: Your software token has already been used once.";

fn other(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

/// S13: also one that is older than the last, and the one that verified the app.
#[tokio::test]
async fn s13_a_code_of_an_app_is_good_once() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let app = pool.set_up_app(&token).await;
    pool.prefer("ada", [None, Some(true), None]).await.unwrap();
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let verified_with = app.code(&pool);
    assert_eq!(refusal(pool.answer_app("ada", &session, &verified_with).await), USED_CODE);
    pool.advance(30);
    let (before, now) = (app.code_at(&pool, -1), app.code(&pool));
    assert_eq!(refusal(pool.answer_app("ada", &session, &before).await), USED_CODE);
    assert!(pool.answer_app("ada", &session, &now).await.is_ok());
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    for used in [&before, &now] {
        assert_eq!(refusal(pool.answer_app("ada", &session, used).await), USED_CODE);
    }
    // the next step, which a fast phone shows already
    assert!(pool.answer_app("ada", &session, &app.code_at(&pool, 1)).await.is_ok());
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    assert_eq!(refusal(pool.answer_app("ada", &session, &now).await), USED_CODE);
}

#[tokio::test]
async fn a_phone_may_be_half_a_minute_off_and_not_more() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    for (steps, good) in [(-2, false), (2, false), (-1, true), (1, true)] {
        let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
        let answer = pool.answer_app("ada", &session, &app.code_at(&pool, steps)).await;
        assert_eq!(answer.is_ok(), good, "{steps}");
        pool.advance(120);
    }
}

/// S13: two gateways, one code, one sign-in.
#[tokio::test]
async fn s13_of_two_sign_ins_at_once_with_one_code_one_succeeds() {
    let pool = asking("OPTIONAL").await;
    let (sub, app) = pool.user_with_app("ada", &[]).await;
    let before = pool.sessions(&sub).await.len();
    let (one, two) = (
        pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await,
        pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await,
    );
    let code = app.code(&pool);
    let (client_id, elsewhere) = (pool.client_id.clone(), code.clone());
    pool.meanwhile(|other, _| async move {
        let request = types::RespondToAuthChallengeRequest {
            client_id: Some(client_id),
            challenge_name: Some("SOFTWARE_TOKEN_MFA".to_owned()),
            session: Some(two),
            challenge_responses: map(&[
                ("USERNAME", "ada"),
                ("SOFTWARE_TOKEN_MFA_CODE", &elsewhere),
            ]),
            ..Default::default()
        };
        respond_to_auth_challenge(&other, &unsigned_call(), request).await.expect("signs in");
    });
    assert_eq!(refusal(pool.answer_app("ada", &one, &code).await), USED_CODE);
    assert_eq!(pool.sessions(&sub).await.len(), before + 1);
}

/// S12: guesses of all sessions count together, of all kinds, and a right password does not forget them.
#[tokio::test]
async fn s12_guesses_are_counted_by_user_and_end_the_session() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &PHONE).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await);
    }
    for session in &sessions[..5] {
        let wrong = app.wrong(&pool);
        assert_eq!(refusal(pool.answer_app("ada", session, &wrong).await), WRONG_APP_CODE);
    }
    // now it is locked, in every session, and for the right code too
    let right = app.code(&pool);
    assert_eq!(refusal(pool.answer_app("ada", &sessions[5], &right).await), LOCKED);
    pool.challenged("ada").await;
    assert_eq!(refusal(pool.answer_app("ada", &sessions[5], &right).await), LOCKED);
    pool.advance(1);
    // the session of the guess that locked is over
    assert_eq!(refusal(pool.answer_app("ada", &sessions[4], &right).await), USED);
    let wrong = app.wrong(&pool);
    assert_eq!(refusal(pool.answer_app("ada", &sessions[5], &wrong).await), WRONG_APP_CODE);
    pool.advance(1);
    assert_eq!(refusal(pool.answer_app("ada", &sessions[0], &right).await), LOCKED);
    pool.advance(1);
    assert!(pool.answer_app("ada", &sessions[0], &app.code(&pool)).await.is_ok());
    // and a success forgets them
    pool.advance(60);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    for _ in 0..4 {
        let wrong = app.wrong(&pool);
        assert_eq!(refusal(pool.answer_app("ada", &session, &wrong).await), WRONG_APP_CODE);
    }
    assert!(pool.answer_app("ada", &session, &app.code(&pool)).await.is_ok());
}

/// S12: waiting a quarter of an hour, as with passwords, buys no more guesses.
#[tokio::test]
async fn s12_guesses_are_remembered_for_a_day() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let guess = async || {
        let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
        refusal(pool.answer_app("ada", &session, &app.wrong(&pool)).await)
    };
    for _ in 0..5 {
        assert_eq!(guess().await, WRONG_APP_CODE);
    }
    pool.advance(16 * 60);
    assert_eq!(guess().await, WRONG_APP_CODE);
    assert_eq!(guess().await, LOCKED);
    pool.advance(24 * 3_600 + 60);
    for _ in 0..5 {
        assert_eq!(guess().await, WRONG_APP_CODE);
    }
}

/// S12: a hundred guesses at once are a hundred.
#[tokio::test]
async fn s12_a_verdict_waits_for_its_commit() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.store.fail_commit(1);
    let verdict = refusal(pool.answer_app("ada", &session, &app.wrong(&pool)).await);
    assert!(verdict.starts_with("ServiceUnavailable"), "{verdict}");
    let guesses = (0..40).map(|_| pool.answer_app("ada", &session, "000000"));
    let verdicts = futures::future::join_all(guesses).await;
    let looked_at = verdicts.into_iter().map(refusal).filter(|text| text == WRONG_APP_CODE);
    assert!(looked_at.count() <= 5);
}

#[tokio::test]
async fn a_code_by_text_message_signs_in_once_and_verifies_the_number() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &[("phone_number", "+12065550100")]).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    pool.store.take_trips();
    let begun = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!(begun.challenge_name.as_deref(), Some("SMS_MFA"));
    assert_eq!(
        begun.challenge_parameters,
        map(&[
            ("CODE_DELIVERY_DELIVERY_MEDIUM", "SMS"),
            ("CODE_DELIVERY_DESTINATION", "+*******0100"),
            ("USER_ID_FOR_SRP", "ada"),
        ])
    );
    let session = begun.session.unwrap();
    let message = pool.outbox.take().pop().unwrap();
    let code = message.code.unwrap();
    assert_eq!(message.to, "+12065550100");
    assert_eq!(message.body, format!("Your authentication code is {code}."));
    let wrong = [("SMS_MFA_CODE", other(&code))];
    assert_eq!(refusal(pool.answer("ada", "SMS_MFA", &session, &wrong).await), WRONG_SENT_CODE);
    let right = [("SMS_MFA_CODE", &*code)];
    pool.store.take_trips();
    let answer = pool.answer("ada", "SMS_MFA", &session, &right).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    let tokens = answer.authentication_result.unwrap();
    assert_eq!(claims(id(&tokens))["phone_number_verified"], Value::from(true));
    assert_eq!(refusal(pool.answer("ada", "SMS_MFA", &session, &right).await), USED);
}

/// ASVS 6.6.2: a code belongs to the request that sent it.
#[tokio::test]
async fn a_code_of_one_session_is_none_of_another_s() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    let first = pool.session_of("ada", "SMS_MFA").await;
    let first_code = pool.sent_code();
    let second = pool.session_of("ada", "SMS_MFA").await;
    let second_code = pool.sent_code();
    assert_ne!(first_code, second_code);
    let crossed = [("SMS_MFA_CODE", &*first_code)];
    assert_eq!(refusal(pool.answer("ada", "SMS_MFA", &second, &crossed).await), WRONG_SENT_CODE);
    assert!(pool.answer("ada", "SMS_MFA", &first, &crossed).await.is_ok());
    let own = [("SMS_MFA_CODE", &*second_code)];
    assert!(pool.answer("ada", "SMS_MFA", &second, &own).await.is_ok());
}

/// A number that is changed meanwhile: the code went to the old one.
#[tokio::test]
async fn a_code_ends_with_the_address_that_it_was_sent_to() {
    let pool = asking("OPTIONAL").await;
    let sub = pool.user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    let session = pool.session_of("ada", "SMS_MFA").await;
    let code = pool.sent_code();
    pool.edit(&sub, |user| users::attributes::set(user, "phone_number", "+12065550199")).await;
    let right = [("SMS_MFA_CODE", &*code)];
    assert_eq!(refusal(pool.answer("ada", "SMS_MFA", &session, &right).await), WRONG_SENT_CODE);
}

#[tokio::test]
async fn a_code_by_email_comes_in_the_pool_s_words() {
    let pool = asking("OPTIONAL").await;
    let request = types::SetUserPoolMfaConfigRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        mfa_configuration: Some("OPTIONAL".to_owned()),
        email_mfa_configuration: Some(types::EmailMfaConfigType {
            message: Some("<b>{####}</b> for {username}".to_owned()),
            subject: Some("Come in".to_owned()),
        }),
        ..Default::default()
    };
    crate::pools::set_user_pool_mfa_config(&pool.test, &signed_call(), request).await.unwrap();
    pool.user("ada", &EMAIL).await;
    pool.prefer("ada", [None, None, Some(true)]).await.unwrap();
    let begun = pool.challenged("ada").await;
    assert_eq!(begun.challenge_name.as_deref(), Some("EMAIL_OTP"));
    assert_eq!(begun.challenge_parameters["CODE_DELIVERY_DELIVERY_MEDIUM"], "EMAIL");
    assert_eq!(begun.challenge_parameters["CODE_DELIVERY_DESTINATION"], "a***@e***");
    let message = pool.outbox.take().pop().unwrap();
    let code = message.code.unwrap();
    assert_eq!(message.subject.as_deref(), Some("Come in"));
    assert_eq!(message.body, format!("<b>{code}</b> for ada"));
    let right = [("EMAIL_OTP_CODE", &*code)];
    let session = begun.session.unwrap();
    assert!(pool.answer("ada", "EMAIL_OTP", &session, &right).await.is_ok());
}

#[tokio::test]
async fn who_has_several_factors_chooses() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[&PHONE[..], &EMAIL].concat()).await;
    pool.prefer("ada", [Some(false), Some(false), Some(false)]).await.unwrap();
    let begun = pool.challenged("ada").await;
    assert_eq!(begun.challenge_name.as_deref(), Some("SELECT_MFA_TYPE"));
    assert_eq!(
        begun.challenge_parameters["MFAS_CAN_CHOOSE"],
        r#"["SMS_MFA","SOFTWARE_TOKEN_MFA","EMAIL_OTP"]"#
    );
    let session = begun.session.unwrap();
    for wrong in ["PASSWORD", "SMS_OTP", "nothing"] {
        let answer = pool.answer("ada", "SELECT_MFA_TYPE", &session, &[("ANSWER", wrong)]).await;
        assert!(refusal(answer).starts_with("InvalidParameterException"));
    }
    let chosen = [("ANSWER", "SOFTWARE_TOKEN_MFA")];
    let next = pool.answer("ada", "SELECT_MFA_TYPE", &session, &chosen).await.unwrap();
    assert_eq!(next.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
    assert_eq!(next.challenge_parameters["FRIENDLY_DEVICE_NAME"], "my phone");
    assert_eq!(refusal(pool.answer("ada", "SELECT_MFA_TYPE", &session, &chosen).await), USED);
    let session = next.session.unwrap();
    assert!(pool.answer_app("ada", &session, &app.code(&pool)).await.is_ok());

    let session = pool.session_of("ada", "SELECT_MFA_TYPE").await;
    let chosen = [("ANSWER", "EMAIL_OTP")];
    let next = pool.answer("ada", "SELECT_MFA_TYPE", &session, &chosen).await.unwrap();
    let code = pool.sent_code();
    let answer = [("EMAIL_OTP_CODE", &*code)];
    let session = next.session.unwrap();
    assert!(pool.answer("ada", "EMAIL_OTP", &session, &answer).await.is_ok());
}

/// Not more than a person can want in an hour: nobody's phone is flooded by who knows the password.
#[tokio::test]
async fn s12_codes_are_sent_thirty_times_an_hour() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    for _ in 0..30 {
        pool.session_of("ada", "SMS_MFA").await;
    }
    pool.outbox.take();
    assert_eq!(
        refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await),
        "TooManyRequestsException: Too many requests"
    );
    assert!(pool.outbox.take().is_empty());
    pool.advance(3_600);
    pool.session_of("ada", "SMS_MFA").await;
}

#[tokio::test]
async fn a_code_that_cannot_be_sent_is_told_in_a_way_that_signing_in_declares() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    pool.outbox.fail();
    let answer = refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await);
    assert!(answer.starts_with("ServiceUnavailable"), "{answer}");
}

/// ASVS 6.4.3: a reset does not come by the way of the second factor.
#[tokio::test]
async fn an_address_that_is_a_second_factor_does_not_recover_the_account() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &[&PHONE[..], &EMAIL].concat()).await;
    let forgot = async || {
        let request = types::ForgotPasswordRequest {
            client_id: Some(pool.client_id.clone()),
            username: Some("ada".to_owned()),
            ..Default::default()
        };
        let answer = users::forgot_password(&pool.test, &unsigned_call(), request).await;
        answer.map(|answer| answer.code_delivery_details.unwrap().delivery_medium.unwrap())
    };
    assert_eq!(forgot().await.unwrap(), "EMAIL");
    pool.prefer("ada", [None, None, Some(true)]).await.unwrap();
    assert_eq!(forgot().await.unwrap(), "SMS");
    pool.prefer("ada", [Some(false), None, Some(false)]).await.unwrap();
    assert!(
        refusal(forgot().await).starts_with("InvalidParameterException: Cannot reset password")
    );
}

#[tokio::test]
async fn the_code_of_another_user_s_app_is_wrong() {
    let pool = asking("OPTIONAL").await;
    pool.user_with_app("ada", &[]).await;
    let (_, eves): (_, App) = pool.user_with_app("eve", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    assert_eq!(refusal(pool.answer_app("ada", &session, &eves.code(&pool)).await), WRONG_APP_CODE);
    for malformed in ["1", "abcdef", "1234567", "\u{661}23456"] {
        assert_eq!(refusal(pool.answer_app("ada", &session, malformed).await), WRONG_APP_CODE);
    }
}
