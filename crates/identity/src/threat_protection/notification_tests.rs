//! Messages about risky sign-ins, and what users say of them, from outside.

use std::time::Duration;

use conclave_api::{ApiError, types};
use conclave_outbound::Message;

use super::{
    enforcement_tests::{ADA, BLOCKED, answer, begin, configure, email_codes, enforced, second},
    feedback,
    tests::{ABROAD, HOME, call, events, form, sign_in},
    update_auth_event_feedback,
};
use crate::{
    testing::{signed_call, unsigned_call},
    users::{
        self,
        fixtures::{PASSWORD, TestPool, pool, refusal},
    },
};

const INVALID: &str = "NotAuthorizedException: Invalid feedback token.";

/// The same action at all levels, which is told.
async fn tell(pool: &TestPool, action: &str) {
    configure(pool, telling(action)).await;
}

fn telling(action: &str) -> types::SetRiskConfigurationRequest {
    let template = |subject: &str| {
        Some(types::NotifyEmailType {
            subject: Some(subject.to_owned()),
            html_body: None,
            text_body: Some(
                "{username} {event-id} {feedback-token} {one-click-link-valid}".to_owned(),
            ),
        })
    };
    let action = Some(types::AccountTakeoverActionType {
        event_action: Some(action.to_owned()),
        notify: Some(true),
    });
    types::SetRiskConfigurationRequest {
        account_takeover_risk_configuration: Some(types::AccountTakeoverRiskConfigurationType {
            actions: Some(types::AccountTakeoverActionsType {
                low_action: action.clone(),
                medium_action: action.clone(),
                high_action: action,
            }),
            notify_configuration: Some(types::NotifyConfigurationType {
                from: Some("security@example.com".to_owned()),
                reply_to: Some("help@example.com".to_owned()),
                source_arn: Some(
                    "arn:aws:ses:us-east-1:111122223333:identity/example.com".to_owned(),
                ),
                block_email: template("Block"),
                mfa_email: template("Mfa"),
                no_action_email: template("NoAction"),
            }),
        }),
        ..Default::default()
    }
}

/// The subjects of the messages since the last call.
fn subjects(pool: &TestPool) -> Vec<String> {
    pool.outbox.take().into_iter().filter_map(|message| message.subject).collect()
}

/// The one message since the last call, as user name, event and token.
fn told(pool: &TestPool) -> (Message, [String; 3]) {
    let mut messages = pool.outbox.take();
    let message = messages.pop().expect("a message was sent");
    assert!(messages.is_empty());
    let mut words = message.body.split(' ').map(str::to_owned);
    let words = [(); 3].map(|()| words.next().expect("has three words"));
    (message, words)
}

async fn give(
    pool: &TestPool,
    (name, event, token): (&str, &str, &str),
    value: &str,
) -> Result<(), ApiError> {
    let request = types::UpdateAuthEventFeedbackRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some(name.to_owned()),
        event_id: Some(event.to_owned()),
        feedback_token: Some(token.to_owned()),
        feedback_value: Some(value.to_owned()),
    };
    update_auth_event_feedback(pool, &unsigned_call(), request).await.map(|_| ())
}

/// Ada, who has signed in at home, in a pool that tells.
async fn ada(action: &str) -> TestPool {
    let pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    tell(&pool, action).await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    second(&pool);
    pool.outbox.take();
    pool
}

#[tokio::test]
async fn a_blocked_sign_in_is_told_and_a_guess_is_not() {
    let pool = ada("BLOCK").await;
    assert!(sign_in(&pool, &call(2, ABROAD), "ada", "Wrong-Horse-9").await.is_err());
    assert_eq!(subjects(&pool), [""; 0]);
    assert_eq!(refusal(sign_in(&pool, &call(3, ABROAD), "ada", PASSWORD).await), BLOCKED);
    let (message, [name, event, _]) = told(&pool);
    assert_eq!(message.subject.as_deref(), Some("Block"));
    assert_eq!(message.to, "ada@example.com");
    assert_eq!(message.sender.from.as_deref(), Some("security@example.com"));
    assert_eq!(message.sender.reply_to.as_deref(), Some("help@example.com"));
    assert_eq!((name.as_str(), event), ("ada", call(3, ABROAD).request_id));
    // no risk, no message
    sign_in(&pool, &call(4, HOME), "ada", PASSWORD).await.unwrap();
    assert_eq!(subjects(&pool), [""; 0]);
}

/// Source: API reference, `NotifyConfigurationType`: which template is for what.
#[tokio::test]
async fn each_outcome_has_its_template_and_a_sign_in_is_told_once() {
    let pool = ada("MFA_IF_CONFIGURED").await;
    // there is no second factor, so nothing is done
    sign_in(&pool, &call(2, "198.51.1.1"), "ada", PASSWORD).await.unwrap();
    assert_eq!(subjects(&pool), ["NoAction"]);
    email_codes(&pool).await;
    let begun = begin(&pool, &call(3, "198.51.2.1"), PASSWORD).await.unwrap();
    let messages = pool.outbox.take();
    let code = messages.iter().find_map(|message| message.code.clone()).expect("a code was sent");
    assert!(messages.iter().any(|message| message.subject.as_deref() == Some("Mfa")));
    assert_eq!(messages.len(), 2);
    let given = ("EMAIL_OTP_CODE", code.as_str());
    answer(&pool, &call(4, "198.51.2.1"), &begun, given).await.unwrap();
    assert_eq!(subjects(&pool), [""; 0]);
    tell(&pool, "NO_ACTION").await;
    begin(&pool, &call(5, "198.51.3.1"), PASSWORD).await.unwrap();
    assert_eq!(subjects(&pool), ["NoAction"]);
}

#[tokio::test]
async fn nobody_is_told_by_an_address_that_is_not_verified() {
    let pool = pool(enforced()).await;
    pool.sign_up("ada", &ADA).await.unwrap();
    let request = types::AdminConfirmSignUpRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::admin_confirm_sign_up(&pool, &signed_call(), request).await.unwrap();
    tell(&pool, "BLOCK").await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    second(&pool);
    pool.outbox.take();
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    assert_eq!(subjects(&pool), [""; 0]);
}

#[tokio::test]
async fn a_user_is_told_five_times_in_an_hour_and_a_full_queue_changes_no_answer() {
    let pool = ada("BLOCK").await;
    for number in 10..20 {
        assert_eq!(refusal(sign_in(&pool, &call(number, ABROAD), "ada", PASSWORD).await), BLOCKED);
        second(&pool);
    }
    assert_eq!(subjects(&pool).len(), 5);
    pool.clock.advance(Duration::from_secs(3_600));
    assert_eq!(refusal(sign_in(&pool, &call(30, ABROAD), "ada", PASSWORD).await), BLOCKED);
    assert_eq!(subjects(&pool).len(), 1);
    pool.outbox.fail();
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(31, ABROAD), "ada", PASSWORD).await), BLOCKED);
    tell(&pool, "NO_ACTION").await;
    sign_in(&pool, &call(32, ABROAD), "ada", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_user_says_what_a_sign_in_was_and_it_counts_for_the_next() {
    let pool = ada("BLOCK").await;
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    let (_, [name, event, token]) = told(&pool);
    give(&pool, (&name, &event, &token), "Invalid").await.unwrap();
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(3, ABROAD), "ada", PASSWORD).await), BLOCKED);
    give(&pool, (&name, &event, &token), "Valid").await.unwrap();
    let given = events(&pool).await.remove(1).event_feedback.unwrap();
    assert_eq!(given.feedback_value.as_deref(), Some("Valid"));
    assert_eq!(given.provider.as_deref(), Some("User"));
    second(&pool);
    sign_in(&pool, &call(4, ABROAD), "ada", PASSWORD).await.unwrap();
    assert_eq!(form(&events(&pool).await[0]), "SignIn Pass NoRisk - Password Success");
}

/// Whoever has the password and the second factor may begin in one place and end in another.
#[tokio::test]
async fn what_was_not_the_user_takes_back_the_place_that_the_tokens_went_to() {
    const ELSEWHERE: &str = "198.51.9.1";
    let pool = ada("MFA_IF_CONFIGURED").await;
    email_codes(&pool).await;
    let begun = begin(&pool, &call(3, "198.51.2.1"), PASSWORD).await.unwrap();
    let messages = pool.outbox.take();
    let code = messages.iter().find_map(|message| message.code.clone()).expect("a code was sent");
    let notice = messages.iter().find(|message| message.subject.as_deref() == Some("Mfa"));
    let words: Vec<&str> = notice.expect("is told").body.split(' ').collect();
    answer(&pool, &call(4, ELSEWHERE), &begun, ("EMAIL_OTP_CODE", &code)).await.unwrap();
    let event = events(&pool).await.remove(0);
    let place = event.event_context_data.and_then(|place| place.ip_address);
    assert_eq!(place.as_deref(), Some(ELSEWHERE));
    give(&pool, (words[0], words[1], words[2]), "Invalid").await.unwrap();
    second(&pool);
    let _ = begin(&pool, &call(5, ELSEWHERE), PASSWORD).await;
    let shown = form(&events(&pool).await[0]);
    assert!(shown.contains("AccountTakeover"), "{shown}");
}

#[tokio::test]
async fn a_token_is_of_its_pool_user_and_event_and_good_for_a_week() {
    let pool = ada("BLOCK").await;
    pool.confirmed_user("bob", &[("email", "bob@example.com")]).await;
    pool.outbox.take();
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    let (_, [_, event, token]) = told(&pool);
    let other_event = call(1, HOME).request_id;
    for (name, event, token) in [
        ("bob", event.as_str(), token.as_str()),
        ("nobody", &event, &token),
        ("ada", &other_event, &token),
        ("ada", &event, "x"),
        ("nobody", &event, "x"),
        ("ada", &event, &token[..token.len() - 4]),
    ] {
        assert_eq!(refusal(give(&pool, (name, event, token), "Valid").await), INVALID, "{name}");
    }
    let good = ("ada", event.as_str(), token.as_str());
    pool.clock.advance(Duration::from_millis(feedback::GOOD_FOR_MS as u64 - 2_000));
    give(&pool, good, "Valid").await.unwrap();
    pool.clock.advance(Duration::from_secs(2));
    let expired = "NotAuthorizedException: The feedback token has expired.";
    assert_eq!(refusal(give(&pool, good, "Valid").await), expired);
}

#[tokio::test]
async fn who_is_gone_says_nothing() {
    let pool = ada("BLOCK").await;
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    let (_, [_, event, token]) = told(&pool);
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
    };
    users::admin_delete_user(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(
        refusal(give(&pool, ("ada", &event, &token), "Valid").await),
        "UserNotFoundException: User does not exist."
    );
    let elsewhere = types::UpdateAuthEventFeedbackRequest {
        user_pool_id: Some("us-east-1_AAAAAAAAA".to_owned()),
        username: Some("ada".to_owned()),
        event_id: Some(event),
        feedback_token: Some(token),
        feedback_value: Some("Valid".to_owned()),
    };
    let refused = update_auth_event_feedback(&pool, &unsigned_call(), elsewhere).await;
    assert!(refusal(refused).starts_with("ResourceNotFoundException"));
}
