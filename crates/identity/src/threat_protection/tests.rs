//! The history from outside: what is in it, and what made the risk.

use std::collections::BTreeMap;

use conclave_api::{ApiError, types};
use conclave_store::keys::UserChild;

use super::{admin_list_user_auth_events, admin_update_auth_event_feedback, history};
use crate::{
    auth::{initiate_auth, respond_to_auth_challenge},
    call::Call,
    pools::update_user_pool,
    risk_configuration::set_risk_configuration,
    testing::{signed_call, signed_call_of, unsigned_call},
    users::{
        self,
        fixtures::{PASSWORD, TestPool, pool, refusal, trips},
    },
};

pub(super) const HOME: &str = "192.0.2.1";
pub(super) const ABROAD: &str = "198.51.100.1";

pub(super) fn audited() -> types::CreateUserPoolRequest {
    types::CreateUserPoolRequest {
        // users confirm themselves by a code
        auto_verified_attributes: vec!["email".to_owned()],
        user_pool_tier: Some("PLUS".to_owned()),
        user_pool_add_ons: Some(types::UserPoolAddOnsType {
            advanced_security_mode: Some("AUDIT".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A request of its own, from an address.
pub(super) fn call(number: u32, address: &str) -> Call {
    Call {
        request_id: format!("{:08x}-0000-4000-8000-000000000001", number.wrapping_mul(0x1357_9bdf)),
        peer: Some(address.parse().unwrap()),
        ..unsigned_call()
    }
}

pub(super) async fn sign_in(
    pool: &TestPool,
    call: &Call,
    name: &str,
    password: &str,
) -> Result<(), ApiError> {
    let pairs = [("USERNAME", name), ("PASSWORD", password)];
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        client_id: Some(pool.client_id.clone()),
        ..Default::default()
    };
    initiate_auth(pool, call, request).await.map(|_| ())
}

pub(super) async fn list(
    pool: &TestPool,
    max: Option<i32>,
    next: Option<String>,
) -> Result<types::AdminListUserAuthEventsResponse, ApiError> {
    let request = types::AdminListUserAuthEventsRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        max_results: max,
        next_token: next,
    };
    admin_list_user_auth_events(pool, &signed_call(), request).await
}

pub(super) async fn events(pool: &TestPool) -> Vec<types::AuthEventType> {
    list(pool, None, None).await.unwrap().auth_events
}

/// Type, response, level and answers of an event.
pub(super) fn form(event: &types::AuthEventType) -> String {
    let risk = event.event_risk.as_ref().unwrap();
    let answers = event.challenge_responses.iter().map(|answer| {
        format!(
            " {} {}",
            answer.challenge_name.as_deref().unwrap(),
            answer.challenge_response.as_deref().unwrap()
        )
    });
    format!(
        "{} {} {} {}{}",
        event.event_type.as_deref().unwrap(),
        event.event_response.as_deref().unwrap(),
        risk.risk_decision.as_deref().unwrap(),
        risk.risk_level.as_deref().unwrap_or("-"),
        answers.collect::<String>()
    )
}

#[tokio::test]
async fn each_sign_in_is_in_the_history_with_its_risk() {
    let pool = pool(audited()).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    pool.clock.advance(std::time::Duration::from_secs(1));
    pool.store.take_trips();
    sign_in(&pool, &call(2, ABROAD), "ada", PASSWORD).await.unwrap();
    // one read more than without
    assert_eq!(pool.store.take_trips(), trips(2, 1));
    pool.clock.advance(std::time::Duration::from_secs(1));
    assert!(sign_in(&pool, &call(3, ABROAD), "ada", "Wrong-Horse-9").await.is_err());
    let events = events(&pool).await;
    let forms: Vec<_> = events.iter().map(form).collect();
    assert_eq!(
        forms,
        [
            "SignIn Fail NoRisk - Password Failure",
            "SignIn Pass AccountTakeover Low Password Success",
            "SignIn Pass NoRisk - Password Success",
            "SignUp Pass NoRisk -",
        ]
    );
    let context = events[1].event_context_data.as_ref().unwrap();
    assert_eq!(context.ip_address.as_deref(), Some(ABROAD));
    assert_eq!(events[1].event_id.as_deref(), Some(&*call(2, ABROAD).request_id));
    assert_eq!(events[1].event_risk.as_ref().unwrap().compromised_credentials_detected, None);
    let first = list(&pool, Some(2), None).await.unwrap();
    let second = list(&pool, Some(2), first.next_token).await.unwrap();
    assert_eq!((first.auth_events.len(), second.auth_events.len()), (2, 2));
    assert_eq!(second.next_token, None);
    assert_eq!(second.auth_events[0].event_id, events[2].event_id);
}

#[tokio::test]
async fn other_things_are_events_too() {
    let pool = pool(audited()).await;
    pool.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
    let request = types::ResendConfirmationCodeRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    pool.clock.advance(std::time::Duration::from_secs(1));
    users::resend_confirmation_code(&pool, &call(4, HOME), request).await.unwrap();
    let request = types::AdminConfirmSignUpRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::admin_confirm_sign_up(&pool, &signed_call(), request).await.unwrap();
    let request = types::AdminUpdateUserAttributesRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        user_attributes: Some(types::AttributeTypeList {
            items: users::fixtures::attributes(&[("email_verified", "true")]),
        }),
        ..Default::default()
    };
    users::admin_update_user_attributes(&pool, &signed_call(), request).await.unwrap();
    pool.clock.advance(std::time::Duration::from_secs(1));
    let token = pool.token("ada").await;
    let request = types::ChangePasswordRequest {
        access_token: Some(token),
        previous_password: Some(PASSWORD.to_owned()),
        proposed_password: Some("Other-Horse-2".to_owned()),
    };
    pool.clock.advance(std::time::Duration::from_secs(1));
    users::change_password(&pool, &call(2, HOME), request).await.unwrap();
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    pool.clock.advance(std::time::Duration::from_secs(1));
    users::forgot_password(&pool, &call(3, HOME), request).await.unwrap();
    let kinds: Vec<_> =
        events(&pool).await.into_iter().map(|event| event.event_type.unwrap()).collect();
    // the sign-in of the token has the id of the sign-up, as only tests' requests do
    assert_eq!(kinds, ["ForgotPassword", "PasswordChange", "ResendCode", "SignUp"]);
}

/// S01: that there is a history does not show in what a sign-in costs.
#[tokio::test]
async fn s01_nobody_costs_as_much_as_somebody() {
    let mut pool = pool(audited()).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let hiding = crate::testing::new_client_with(
        &pool,
        &pool.id,
        types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_PASSWORD_AUTH".to_owned()],
            prevent_user_existence_errors: Some("ENABLED".to_owned()),
            ..Default::default()
        },
    )
    .await;
    pool.client_id = hiding.client_id.unwrap();
    let _ = sign_in(&pool, &call(1, HOME), "warm", "x").await;
    let mut seen = Vec::new();
    for name in ["ada", "nobody"] {
        pool.store.take_trips();
        let refused = refusal(sign_in(&pool, &call(2, HOME), name, "Wrong-Horse-9").await);
        seen.push((refused, pool.store.take_trips()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1, trips(2, 1));
}

#[tokio::test]
async fn feedback_is_kept_and_counts_for_the_next_time() {
    let pool = pool(audited()).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    let give = async |number: u32, value: &str| {
        let request = types::AdminUpdateAuthEventFeedbackRequest {
            user_pool_id: Some(pool.id.clone()),
            username: Some("ada".to_owned()),
            event_id: Some(call(number, HOME).request_id),
            feedback_value: Some(value.to_owned()),
        };
        admin_update_auth_event_feedback(&pool, &signed_call(), request).await
    };
    give(1, "Invalid").await.unwrap();
    let given = events(&pool).await.remove(0).event_feedback.unwrap();
    assert_eq!(given.feedback_value.as_deref(), Some("Invalid"));
    assert_eq!(given.provider.as_deref(), Some("Admin"));
    pool.clock.advance(std::time::Duration::from_secs(1));
    sign_in(&pool, &call(2, HOME), "ada", PASSWORD).await.unwrap();
    assert_eq!(form(&events(&pool).await[0]), "SignIn Pass AccountTakeover Low Password Success");
    assert_eq!(
        refusal(give(9, "Valid").await),
        "ResourceNotFoundException: The auth event does not exist."
    );
}

#[tokio::test]
async fn exceptions_by_address_are_kept_to() {
    let pool = pool(audited()).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let request = types::SetRiskConfigurationRequest {
        user_pool_id: Some(pool.id.clone()),
        risk_exception_configuration: Some(types::RiskExceptionConfigurationType {
            blocked_ip_range_list: vec!["203.0.113.0/24".to_owned()],
            skipped_ip_range_list: vec!["198.51.100.0/24".to_owned()],
        }),
        ..Default::default()
    };
    set_risk_configuration(&pool, &signed_call(), request).await.unwrap();
    for (number, address) in [(1, HOME), (2, ABROAD), (3, "203.0.113.9")] {
        sign_in(&pool, &call(number, address), "ada", PASSWORD).await.unwrap();
        pool.clock.advance(std::time::Duration::from_secs(1));
    }
    let events = events(&pool).await;
    assert_eq!(form(&events[0]), "SignIn Pass AccountTakeover High Password Success");
    assert_eq!(form(&events[1]), "SignIn Pass NoRisk - Password Success");
}

#[tokio::test]
async fn the_history_is_bounded_expires_and_goes_with_the_user() {
    let pool = pool(audited()).await;
    let sub = pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let rows = || {
        let under = conclave_store::keys::user_child(&sub, UserChild::AuthEvent, &[]);
        let prefix = conclave_store::keys::row(&pool.id, &under);
        pool.store.physical_keys().iter().filter(|key| key.starts_with(&prefix)).count()
    };
    // all in one bucket
    for number in 0..40_u32 {
        let request_id = format!("0{number:07x}-0000-4000-8000-000000000001");
        let call = Call { request_id, ..call(0, HOME) };
        sign_in(&pool, &call, "ada", PASSWORD).await.unwrap();
        pool.clock.advance(std::time::Duration::from_secs(1));
    }
    assert_eq!(rows(), 16);
    let newest = events(&pool).await.remove(0).event_id.unwrap();
    assert!(newest.starts_with("00000027"), "{newest}");
    pool.clock.advance(std::time::Duration::from_millis(u64::try_from(history::KEPT_MS).unwrap()));
    assert!(events(&pool).await.is_empty());
    sign_in(&pool, &call(7, HOME), "ada", PASSWORD).await.unwrap();
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
    };
    users::admin_delete_user(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(rows(), 0);
}

#[tokio::test]
async fn threat_protection_has_to_be_on_and_belongs_to_the_plus_plan() {
    let request =
        types::CreateUserPoolRequest { user_pool_tier: None, user_pool_add_ons: None, ..audited() };
    let pool = pool(request).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let off =
        "UserPoolAddOnNotEnabledException: Threat protection is not enabled for the user pool.";
    assert_eq!(refusal(list(&pool, None, None).await), off);
    let update = |tier: &str| types::UpdateUserPoolRequest {
        user_pool_id: Some(pool.id.clone()),
        user_pool_tier: Some(tier.to_owned()),
        user_pool_add_ons: audited().user_pool_add_ons,
        ..Default::default()
    };
    for tier in ["LITE", "ESSENTIALS"] {
        let refused = refusal(update_user_pool(&pool, &signed_call(), update(tier)).await);
        assert!(refused.starts_with("FeatureUnavailableInTierException"), "{refused}");
    }
    update_user_pool(&pool, &signed_call(), update("PLUS")).await.unwrap();
    assert!(events(&pool).await.is_empty());
    let foreign = signed_call_of("444455556666", "us-east-1");
    let request = types::AdminListUserAuthEventsRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    let refused = refusal(admin_list_user_auth_events(&pool, &foreign, request).await);
    assert!(refused.starts_with("ResourceNotFoundException"), "{refused}");
}

/// A user who goes in the middle of a sign-in leaves nothing behind, and the answer is as ever.
#[tokio::test]
async fn s14_a_sign_in_of_somebody_who_is_gone_is_refused_as_ever() {
    let pool = pool(audited()).await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let client = crate::testing::new_client_with(
        &pool,
        &pool.id,
        types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_AUTH".to_owned()],
            ..Default::default()
        },
    )
    .await;
    let client_id = client.client_id.unwrap();
    let parameters = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_AUTH".to_owned()),
        auth_parameters: parameters(&[("USERNAME", "ada"), ("PREFERRED_CHALLENGE", "PASSWORD")]),
        client_id: Some(client_id.clone()),
        ..Default::default()
    };
    let begun = initiate_auth(&pool, &call(1, HOME), request).await.unwrap();
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
    };
    users::admin_delete_user(&pool, &signed_call(), request).await.unwrap();
    let request = types::RespondToAuthChallengeRequest {
        client_id: Some(client_id),
        challenge_name: Some("PASSWORD".to_owned()),
        session: begun.session,
        challenge_responses: parameters(&[("USERNAME", "ada"), ("PASSWORD", PASSWORD)]),
        ..Default::default()
    };
    let answer = respond_to_auth_challenge(&pool, &call(2, HOME), request).await.map(|_| ());
    assert_eq!(refusal(answer), "NotAuthorizedException: Invalid session for the user.");
}

pub(super) const LEAKED: &str = "Leaked-Horse-1";

/// A pool whose operator has a list with [`LEAKED`] on it.
async fn with_a_list() -> TestPool {
    let mut pool = pool(audited()).await;
    pool.compromise(&[LEAKED]);
    pool
}

/// Type and `CompromisedCredentialsDetected` of each event, the newest first.
async fn detected(pool: &TestPool) -> Vec<String> {
    let of = |event: types::AuthEventType| {
        let detected = event.event_risk.unwrap().compromised_credentials_detected;
        format!("{} {detected:?}", event.event_type.unwrap())
    };
    pool.clock.advance(std::time::Duration::from_secs(1));
    events(pool).await.into_iter().map(of).collect()
}

#[tokio::test]
async fn compromised_passwords_are_told_wherever_one_arrives_and_nothing_is_refused() {
    let pool = with_a_list().await;
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    assert_eq!(detected(&pool).await, ["SignUp Some(false)"]);
    let token = pool.token("ada").await;
    let request = types::ChangePasswordRequest {
        access_token: Some(token),
        previous_password: Some(PASSWORD.to_owned()),
        proposed_password: Some(LEAKED.to_owned()),
    };
    users::change_password(&pool, &call(2, HOME), request).await.unwrap();
    assert_eq!(detected(&pool).await[0], "PasswordChange Some(true)");
    sign_in(&pool, &call(3, HOME), "ada", LEAKED).await.unwrap();
    assert_eq!(detected(&pool).await[0], "SignIn Some(true)");
    // somebody else's guess is not the user's password
    assert!(sign_in(&pool, &call(4, HOME), "ada", PASSWORD).await.is_err());
    assert_eq!(detected(&pool).await[0], "SignIn None");
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    users::forgot_password(&pool, &call(5, HOME), request).await.unwrap();
    assert_eq!(detected(&pool).await[0], "ForgotPassword None");
    let request = types::ConfirmForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        confirmation_code: pool.outbox.take().pop().unwrap().code,
        password: Some(LEAKED.to_owned()),
        ..Default::default()
    };
    users::confirm_forgot_password(&pool, &call(6, HOME), request).await.unwrap();
    assert_eq!(detected(&pool).await[0], "PasswordChange Some(true)");
    let described = events(&pool).await.remove(0);
    // the API has no decision for it: the risk is that of the place
    assert_eq!(form(&described), "PasswordChange Pass NoRisk -");
}

#[tokio::test]
async fn a_new_password_counts_in_the_sign_in_that_asks_for_it() {
    let pool = with_a_list().await;
    let request = types::AdminCreateUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        temporary_password: Some(PASSWORD.to_owned()),
        message_action: Some("SUPPRESS".to_owned()),
        ..Default::default()
    };
    users::admin_create_user(&pool, &signed_call(), request).await.unwrap();
    let begin = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: BTreeMap::from([
            ("USERNAME".to_owned(), "ada".to_owned()),
            ("PASSWORD".to_owned(), PASSWORD.to_owned()),
        ]),
        client_id: Some(pool.client_id.clone()),
        ..Default::default()
    };
    let begun = initiate_auth(&pool, &call(1, HOME), begin).await.unwrap();
    assert_eq!(detected(&pool).await, ["SignIn Some(false)"]);
    let answer = types::RespondToAuthChallengeRequest {
        client_id: Some(pool.client_id.clone()),
        challenge_name: begun.challenge_name,
        session: begun.session,
        challenge_responses: BTreeMap::from([
            ("USERNAME".to_owned(), "ada".to_owned()),
            ("NEW_PASSWORD".to_owned(), LEAKED.to_owned()),
        ]),
        ..Default::default()
    };
    respond_to_auth_challenge(&pool, &call(2, HOME), answer).await.unwrap();
    assert_eq!(detected(&pool).await, ["SignIn Some(true)"]);
}

#[tokio::test]
async fn only_events_of_the_filter_are_looked_at() {
    let pool = with_a_list().await;
    let request = types::SetRiskConfigurationRequest {
        user_pool_id: Some(pool.id.clone()),
        compromised_credentials_risk_configuration: Some(
            types::CompromisedCredentialsRiskConfigurationType {
                event_filter: vec!["SIGN_IN".to_owned()],
                actions: Some(types::CompromisedCredentialsActionsType {
                    event_action: Some("BLOCK".to_owned()),
                }),
            },
        ),
        ..Default::default()
    };
    set_risk_configuration(&pool, &signed_call(), request).await.unwrap();
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    // AUDIT blocks nobody
    sign_in(&pool, &call(1, HOME), "ada", PASSWORD).await.unwrap();
    assert_eq!(detected(&pool).await, ["SignIn Some(false)", "SignUp None"]);
}

/// A password that proves nothing says nothing of the user, whoever sends it.
#[tokio::test]
async fn a_password_that_nobody_asked_for_is_not_looked_at() {
    let request = types::CreateUserPoolRequest {
        policies: Some(types::UserPoolPolicyType {
            sign_in_policy: Some(types::SignInPolicyType {
                allowed_first_auth_factors: Some(types::StringList {
                    items: vec!["PASSWORD".to_owned(), "EMAIL_OTP".to_owned()],
                }),
            }),
            ..Default::default()
        }),
        ..audited()
    };
    let mut pool = pool(request).await;
    pool.compromise(&[LEAKED]);
    pool.confirmed_user("ada", &[("email", "ada@example.com")]).await;
    let client = crate::testing::new_client_with(
        &pool,
        &pool.id,
        types::CreateUserPoolClientRequest {
            explicit_auth_flows: vec!["ALLOW_USER_AUTH".to_owned()],
            ..Default::default()
        },
    )
    .await;
    let begin = async |number: u32, preferred: &str, password: &str| {
        let pairs =
            [("USERNAME", "ada"), ("PREFERRED_CHALLENGE", preferred), ("PASSWORD", password)];
        let request = types::InitiateAuthRequest {
            auth_flow: Some("USER_AUTH".to_owned()),
            auth_parameters: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            client_id: client.client_id.clone(),
            ..Default::default()
        };
        initiate_auth(&pool, &call(number, HOME), request).await.unwrap();
        pool.clock.advance(std::time::Duration::from_secs(1));
        let event = events(&pool).await.remove(0);
        (form(&event), event.event_risk.unwrap().compromised_credentials_detected)
    };
    let code = begin(1, "EMAIL_OTP", LEAKED).await;
    assert_eq!(code, ("SignIn InProgress NoRisk -".to_owned(), None));
    let password = begin(2, "PASSWORD", PASSWORD).await;
    assert_eq!(password, ("SignIn Pass NoRisk - Password Success".to_owned(), Some(false)));
}
