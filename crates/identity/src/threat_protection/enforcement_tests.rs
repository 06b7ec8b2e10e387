//! What ENFORCED does, from outside.

use std::{collections::BTreeMap, time::Duration};

use conclave_api::{ApiError, types};

use super::{
    Mode, mode, standard_mode,
    tests::{ABROAD, HOME, LEAKED, audited, call, events, form, sign_in},
};
use crate::{
    auth::{initiate_auth, respond_to_auth_challenge},
    call::Call,
    pools::set_user_pool_mfa_config,
    risk_configuration::set_risk_configuration,
    testing::signed_call,
    users::{
        self,
        fixtures::{PASSWORD, TestPool, pool, refusal, trips},
    },
};

pub(super) const ADA: [(&str, &str); 1] = [("email", "ada@example.com")];
pub(super) const BLOCKED: &str =
    "NotAuthorizedException: Unable to login because of security reasons.";
const NOT_ALLOWED: &str = "NotAuthorizedException: Request not allowed due to security reasons.";
const INCORRECT: &str = "NotAuthorizedException: Incorrect username or password.";
const RESET: &str = "PasswordResetRequiredException: Password reset required for the user";
const KNOWN: &str =
    "InvalidPasswordException: Provided password cannot be used for security reasons.";

pub(super) fn enforced() -> types::CreateUserPoolRequest {
    types::CreateUserPoolRequest {
        user_pool_add_ons: Some(types::UserPoolAddOnsType {
            advanced_security_mode: Some("ENFORCED".to_owned()),
            ..Default::default()
        }),
        ..audited()
    }
}

pub(super) fn second(pool: &TestPool) {
    pool.clock.advance(Duration::from_secs(1));
}

pub(super) async fn configure(pool: &TestPool, request: types::SetRiskConfigurationRequest) {
    let request =
        types::SetRiskConfigurationRequest { user_pool_id: Some(pool.id.clone()), ..request };
    set_risk_configuration(pool, &signed_call(), request).await.unwrap();
}

/// Codes by e-mail are the second factor of whoever has an address.
pub(super) async fn email_codes(pool: &TestPool) {
    let request = types::SetUserPoolMfaConfigRequest {
        user_pool_id: Some(pool.id.clone()),
        mfa_configuration: Some("OPTIONAL".to_owned()),
        email_mfa_configuration: Some(types::EmailMfaConfigType::default()),
        ..Default::default()
    };
    set_user_pool_mfa_config(pool, &signed_call(), request).await.unwrap();
}

/// Somebody with a temporary password.
async fn invite(pool: &TestPool, password: &str, attributes: &[(&str, &str)]) {
    let request = types::AdminCreateUserRequest {
        temporary_password: Some(password.to_owned()),
        message_action: Some("SUPPRESS".to_owned()),
        ..pool.create_request("ada", attributes)
    };
    pool.send_create(request).await.unwrap();
}

/// The same action at all levels.
async fn act(pool: &TestPool, action: &str) {
    let action = Some(types::AccountTakeoverActionType {
        event_action: Some(action.to_owned()),
        notify: Some(false),
    });
    let request = types::SetRiskConfigurationRequest {
        account_takeover_risk_configuration: Some(types::AccountTakeoverRiskConfigurationType {
            actions: Some(types::AccountTakeoverActionsType {
                low_action: action.clone(),
                medium_action: action.clone(),
                high_action: action,
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    configure(pool, request).await;
}

fn about_passwords(action: &str, filter: &[&str]) -> types::SetRiskConfigurationRequest {
    types::SetRiskConfigurationRequest {
        compromised_credentials_risk_configuration: Some(
            types::CompromisedCredentialsRiskConfigurationType {
                event_filter: filter.iter().map(|name| (*name).to_owned()).collect(),
                actions: Some(types::CompromisedCredentialsActionsType {
                    event_action: Some(action.to_owned()),
                }),
            },
        ),
        ..Default::default()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// Shows a password, and answers the challenge after it.
pub(super) async fn begin(
    pool: &TestPool,
    call: &Call,
    password: &str,
) -> Result<types::InitiateAuthResponse, ApiError> {
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: pairs(&[("USERNAME", "ada"), ("PASSWORD", password)]),
        client_id: Some(pool.client_id.clone()),
        ..Default::default()
    };
    initiate_auth(pool, call, request).await
}

pub(super) async fn answer(
    pool: &TestPool,
    call: &Call,
    begun: &types::InitiateAuthResponse,
    (name, value): (&str, &str),
) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
    let request = types::RespondToAuthChallengeRequest {
        client_id: Some(pool.client_id.clone()),
        challenge_name: begun.challenge_name.clone(),
        session: begun.session.clone(),
        challenge_responses: pairs(&[("USERNAME", "ada"), (name, value)]),
        ..Default::default()
    };
    respond_to_auth_challenge(pool, call, request).await
}

async fn change(pool: &TestPool, token: &str, from: &str, to: &str) -> Result<(), ApiError> {
    let request = types::ChangePasswordRequest {
        access_token: Some(token.to_owned()),
        previous_password: Some(from.to_owned()),
        proposed_password: Some(to.to_owned()),
    };
    users::change_password(pool, &call(90, HOME), request).await.map(|_| ())
}

async fn recover(pool: &TestPool) -> String {
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::forgot_password(pool, &call(91, HOME), request).await.unwrap();
    pool.code()
}

async fn confirm(pool: &TestPool, code: &str, password: &str) -> Result<(), ApiError> {
    let request = types::ConfirmForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        confirmation_code: Some(code.to_owned()),
        password: Some(password.to_owned()),
        ..Default::default()
    };
    users::confirm_forgot_password(pool, &call(92, HOME), request).await.map(|_| ())
}

#[tokio::test]
async fn nobody_takes_a_password_that_others_know() {
    let mut pool = pool(enforced()).await;
    pool.compromise(&[LEAKED]);
    let request = types::SignUpRequest {
        password: Some(LEAKED.to_owned()),
        ..pool.sign_up_request("ada", &ADA)
    };
    assert_eq!(refusal(pool.send_sign_up(request).await), KNOWN);
    assert!(pool.outbox.take().is_empty());
    // nothing is left of it: the name is free
    pool.confirmed_user("ada", &ADA).await;
    let token = pool.token("ada").await;
    assert_eq!(refusal(change(&pool, &token, PASSWORD, LEAKED).await), KNOWN);
    assert!(pool.password_is("ada", PASSWORD).await.1);
    let code = recover(&pool).await;
    assert_eq!(refusal(confirm(&pool, &code, LEAKED).await), KNOWN);
    // the code has not been used up
    confirm(&pool, &code, "Other-Horse-2").await.unwrap();
    assert!(pool.password_is("ada", "Other-Horse-2").await.1);
}

#[tokio::test]
async fn a_new_password_that_others_know_leaves_the_challenge_open() {
    let mut pool = pool(enforced()).await;
    pool.compromise(&[LEAKED]);
    invite(&pool, PASSWORD, &ADA).await;
    let begun = begin(&pool, &call(1, HOME), PASSWORD).await.unwrap();
    let refused = answer(&pool, &call(2, HOME), &begun, ("NEW_PASSWORD", LEAKED)).await;
    assert_eq!(refusal(refused), KNOWN);
    answer(&pool, &call(3, HOME), &begun, ("NEW_PASSWORD", "Other-Horse-2")).await.unwrap();
    assert_eq!(pool.status_of("ada").await, "CONFIRMED");
}

/// Source: developer guide, "Working with compromised-credentials detection": who is blocked is set to RESET_REQUIRED.
#[tokio::test]
async fn who_signs_in_with_a_password_that_others_know_sets_another_one_first() {
    let mut pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    let tokens = pool.sign_in("ada", PASSWORD).await.unwrap();
    pool.compromise(&[PASSWORD]);
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await), RESET);
    assert_eq!(pool.status_of("ada").await, "RESET_REQUIRED");
    let event = events(&pool).await.remove(0);
    assert_eq!(form(&event), "SignIn Fail Block Low Password Success");
    let detected = event.event_risk.unwrap().compromised_credentials_detected;
    assert_eq!(detected, Some(true));
    // whoever was in before is out
    assert_eq!(refusal(pool.refresh(&tokens).await), RESET);
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(2, HOME), "ada", LEAKED).await), INCORRECT);
    let code = recover(&pool).await;
    assert_eq!(refusal(confirm(&pool, &code, PASSWORD).await), KNOWN);
    confirm(&pool, &code, "Other-Horse-2").await.unwrap();
    sign_in(&pool, &call(3, HOME), "ada", "Other-Horse-2").await.unwrap();
    let refused = refusal(pool.refresh(&tokens).await);
    assert_eq!(refused, "NotAuthorizedException: Refresh Token has been revoked");
}

#[tokio::test]
async fn no_action_only_tells_and_a_filter_is_kept_to() {
    let mut pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    pool.compromise(&[PASSWORD, LEAKED]);
    configure(&pool, about_passwords("NO_ACTION", &[])).await;
    second(&pool);
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    let detected = events(&pool).await.remove(0).event_risk.unwrap();
    assert_eq!(detected.compromised_credentials_detected, Some(true));
    configure(&pool, about_passwords("BLOCK", &["PASSWORD_CHANGE"])).await;
    sign_in(&pool, &call(2, HOME), "ada", PASSWORD).await.unwrap();
    let token = pool.token("ada").await;
    assert_eq!(refusal(change(&pool, &token, PASSWORD, LEAKED).await), KNOWN);
    // an app client's configuration comes before the pool's
    let of_client = types::SetRiskConfigurationRequest {
        client_id: Some(pool.client_id.clone()),
        ..about_passwords("NO_ACTION", &[])
    };
    configure(&pool, about_passwords("BLOCK", &[])).await;
    configure(&pool, of_client).await;
    sign_in(&pool, &call(3, HOME), "ada", PASSWORD).await.unwrap();
    let other = pool
        .new_client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_PASSWORD_AUTH".to_owned()],
            ..Default::default()
        })
        .await;
    pool.client_id = other.client_id.unwrap();
    assert_eq!(refusal(sign_in(&pool, &call(4, HOME), "ada", PASSWORD).await), RESET);
}

#[tokio::test]
async fn a_risky_sign_in_is_blocked_when_the_password_was_right() {
    let pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    act(&pool, "BLOCK").await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    second(&pool);
    pool.store.take_trips();
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    assert_eq!(pool.store.take_trips(), trips(2, 1));
    assert_eq!(form(&events(&pool).await[0]), "SignIn Fail Block Low Password Success");
    // a guess learns nothing of the risk
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(3, ABROAD), "ada", "Wrong-Horse-9").await), INCORRECT);
    // who was blocked has not made the place known
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(4, ABROAD), "ada", PASSWORD).await), BLOCKED);
    sign_in(&pool, &call(5, HOME), "ada", PASSWORD).await.unwrap();
    act(&pool, "NO_ACTION").await;
    sign_in(&pool, &call(6, ABROAD), "ada", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn from_a_blocked_address_nothing_can_be_tried() {
    let pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    act(&pool, "BLOCK").await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    let exceptions = types::RiskExceptionConfigurationType {
        blocked_ip_range_list: vec!["203.0.113.0/24".to_owned()],
        skipped_ip_range_list: vec!["198.51.100.0/24".to_owned()],
    };
    configure(
        &pool,
        types::SetRiskConfigurationRequest {
            risk_exception_configuration: Some(exceptions),
            ..Default::default()
        },
    )
    .await;
    let from = || call(2, "203.0.113.9");
    let _ = sign_in(&pool, &from(), "warm", "x").await;
    for (name, password) in [("ada", PASSWORD), ("ada", "Wrong-Horse-9"), ("nobody", "x")] {
        pool.store.take_trips();
        assert_eq!(refusal(sign_in(&pool, &from(), name, password).await), NOT_ALLOWED);
        assert_eq!(pool.store.take_trips(), trips(2, 0));
    }
    let sign_up = pool.sign_up_request("bob", &[("email", "bob@example.com")]);
    assert_eq!(refusal(users::sign_up(&pool, &from(), sign_up).await), NOT_ALLOWED);
    assert!(pool.user("bob").await.is_err());
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    assert_eq!(refusal(users::forgot_password(&pool, &from(), request).await), NOT_ALLOWED);
    assert!(pool.outbox.take().is_empty());
    for name in ["ada", "nobody"] {
        let request = types::ConfirmForgotPasswordRequest {
            client_id: Some(pool.client_id.clone()),
            username: Some(name.to_owned()),
            confirmation_code: Some("123456".to_owned()),
            password: Some("Other-Horse-2".to_owned()),
            ..Default::default()
        };
        let refused = users::confirm_forgot_password(&pool, &from(), request).await;
        assert_eq!(refusal(refused), NOT_ALLOWED);
    }
    // an address that is always let in is no risk
    sign_in(&pool, &call(3, ABROAD), "ada", PASSWORD).await.unwrap();
}

/// Source: API reference, `AccountTakeoverActionType`.
#[tokio::test]
async fn a_second_factor_is_asked_for_where_there_is_one() {
    let pool = pool(enforced()).await;
    email_codes(&pool).await;
    pool.confirmed_user("ada", &ADA).await;
    act(&pool, "MFA_IF_CONFIGURED").await;
    assert!(begin(&pool, &call(1, HOME), PASSWORD).await.unwrap().challenge_name.is_none());
    for (number, action) in [(10, "MFA_IF_CONFIGURED"), (20, "MFA_REQUIRED")] {
        act(&pool, action).await;
        second(&pool);
        // nobody has been there before
        let from = format!("198.51.{number}.1");
        let begun = begin(&pool, &call(number, &from), PASSWORD).await.unwrap();
        assert_eq!(begun.challenge_name.as_deref(), Some("EMAIL_OTP"));
        assert_eq!(
            form(&events(&pool).await[0]),
            "SignIn InProgress AccountTakeover Low Password Success"
        );
        let code = pool.code();
        let given = ("EMAIL_OTP_CODE", code.as_str());
        let done = answer(&pool, &call(number + 1, &from), &begun, given).await.unwrap();
        assert!(done.authentication_result.is_some());
        assert_eq!(
            form(&events(&pool).await[0]),
            "SignIn Pass AccountTakeover Low Password Success Mfa Success"
        );
        // the place is known from now on
        let again = begin(&pool, &call(number + 2, &from), PASSWORD).await.unwrap();
        assert!(again.challenge_name.is_none());
    }
}

/// A sign-in that becomes too risky on its way ends there.
#[tokio::test]
async fn a_challenge_is_not_answered_from_a_place_that_is_blocked() {
    let pool = pool(enforced()).await;
    invite(&pool, PASSWORD, &ADA).await;
    let begun = begin(&pool, &call(1, HOME), PASSWORD).await.unwrap();
    // five guesses by somebody else
    for number in 10..15 {
        assert!(sign_in(&pool, &call(number, HOME), "ada", "Wrong-Horse-9").await.is_err());
    }
    act(&pool, "BLOCK").await;
    let refused = answer(&pool, &call(2, HOME), &begun, ("NEW_PASSWORD", "Other-Horse-2")).await;
    assert_eq!(refusal(refused), BLOCKED);
    assert_eq!(pool.status_of("ada").await, "FORCE_CHANGE_PASSWORD");
    act(&pool, "NO_ACTION").await;
    let again = answer(&pool, &call(3, HOME), &begun, ("NEW_PASSWORD", "Other-Horse-2")).await;
    assert!(refusal(again).contains("session can only be used once"));
}

/// Who has a temporary password and no second factor neither names one in a risky sign-in nor sets a password.
#[tokio::test]
async fn a_first_password_is_not_set_by_who_is_refused() {
    let pool = pool(enforced()).await;
    invite(&pool, PASSWORD, &[]).await;
    email_codes(&pool).await;
    for number in 10..15 {
        assert!(sign_in(&pool, &call(number, HOME), "ada", "Wrong-Horse-9").await.is_err());
    }
    second(&pool);
    act(&pool, "MFA_REQUIRED").await;
    let begun = begin(&pool, &call(1, HOME), PASSWORD).await.unwrap();
    let request = types::RespondToAuthChallengeRequest {
        client_id: Some(pool.client_id.clone()),
        challenge_name: begun.challenge_name.clone(),
        session: begun.session.clone(),
        challenge_responses: pairs(&[
            ("USERNAME", "ada"),
            ("NEW_PASSWORD", "Other-Horse-2"),
            ("userAttributes.email", "mallory@example.com"),
        ]),
        ..Default::default()
    };
    let refused = respond_to_auth_challenge(&pool, &call(2, HOME), request).await;
    assert_eq!(refusal(refused), BLOCKED);
    assert_eq!(pool.status_of("ada").await, "FORCE_CHANGE_PASSWORD");
    assert!(pool.outbox.take().is_empty());
    assert!(pool.password_is("ada", PASSWORD).await.1);
}

/// An invitation is not ended by a temporary password that others know: another one is asked for anyway.
#[tokio::test]
async fn a_temporary_password_that_others_know_leads_to_another_one() {
    let mut pool = pool(enforced()).await;
    pool.compromise(&[LEAKED]);
    invite(&pool, LEAKED, &ADA).await;
    let begun = begin(&pool, &call(1, HOME), LEAKED).await.unwrap();
    assert_eq!(begun.challenge_name.as_deref(), Some("NEW_PASSWORD_REQUIRED"));
    assert_eq!(pool.status_of("ada").await, "FORCE_CHANGE_PASSWORD");
    assert!(answer(&pool, &call(2, HOME), &begun, ("NEW_PASSWORD", PASSWORD)).await.is_ok());
}

#[tokio::test]
async fn who_has_no_second_factor_is_let_in_or_not() {
    let pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    act(&pool, "MFA_REQUIRED").await;
    second(&pool);
    assert_eq!(refusal(sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await), BLOCKED);
    assert_eq!(form(&events(&pool).await[0]), "SignIn Fail Block Low Password Success");
    act(&pool, "MFA_IF_CONFIGURED").await;
    sign_in(&pool, &call(3, ABROAD), "ada", PASSWORD).await.unwrap();
}

/// S01: nobody costs as much as somebody, and is told the same.
#[tokio::test]
async fn s01_nobody_is_told_apart() {
    let mut pool = pool(enforced()).await;
    pool.confirmed_user("ada", &ADA).await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    act(&pool, "BLOCK").await;
    let hiding = pool
        .new_client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_PASSWORD_AUTH".to_owned()],
            prevent_user_existence_errors: Some("ENABLED".to_owned()),
            ..Default::default()
        })
        .await;
    pool.client_id = hiding.client_id.unwrap();
    let _ = sign_in(&pool, &call(2, HOME), "warm", "x").await;
    let mut seen = Vec::new();
    for name in ["ada", "nobody"] {
        pool.store.take_trips();
        let refused = refusal(sign_in(&pool, &call(3, ABROAD), name, "Wrong-Horse-9").await);
        seen.push((refused, pool.store.take_trips()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], (INCORRECT.to_owned(), trips(2, 1)));
}

#[test]
fn custom_sign_ins_have_a_mode_of_their_own() {
    let modes = |standard: Option<&str>, custom: Option<&str>| {
        let pool = conclave_store::records::PoolRecord {
            advanced_security_mode: standard.map(str::to_owned),
            custom_auth_mode: custom.map(str::to_owned),
            ..Default::default()
        };
        assert_eq!(standard_mode(&pool), mode(&pool, "USER_AUTH"));
        (mode(&pool, "USER_SRP_AUTH"), mode(&pool, "CUSTOM_AUTH"))
    };
    assert_eq!(modes(None, None), (Mode::Off, Mode::Off));
    assert_eq!(modes(Some("OFF"), None), (Mode::Off, Mode::Off));
    assert_eq!(modes(Some("AUDIT"), None), (Mode::Audit, Mode::Audit));
    assert_eq!(modes(Some("ENFORCED"), None), (Mode::Enforced, Mode::Audit));
    assert_eq!(modes(Some("ENFORCED"), Some("AUDIT")), (Mode::Enforced, Mode::Audit));
    assert_eq!(modes(Some("AUDIT"), Some("ENFORCED")), (Mode::Audit, Mode::Enforced));
    assert_eq!(modes(Some("OFF"), Some("ENFORCED")), (Mode::Off, Mode::Enforced));
}
