//! USER_AUTH for users who are shown: what is offered, and each way in.

use super::mfa::{App, EMAIL, INVALID, PHONE, USED, WRONG_SENT_CODE};
use super::*;

/// A pool whose users may begin with a code, and a client that lets them choose.
pub fn choosing(request: types::CreateUserPoolRequest) -> BoxFuture<'static, (Fixture, String)> {
    Box::pin(make_choosing(request))
}

async fn make_choosing(request: types::CreateUserPoolRequest) -> (Fixture, String) {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        auto_verified_attributes: strings(&["email"]),
        policies: Some(types::UserPoolPolicyType {
            sign_in_policy: Some(types::SignInPolicyType {
                allowed_first_auth_factors: Some(types::StringList {
                    items: strings(&["PASSWORD", "EMAIL_OTP", "SMS_OTP"]),
                }),
            }),
            ..Default::default()
        }),
        sms_configuration: Some(types::SmsConfigurationType {
            sns_caller_arn: Some("arn:aws:iam::111122223333:role/sms".to_owned()),
            ..Default::default()
        }),
        ..request
    })
    .await;
    let client = pool.choice_client(false).await;
    (pool, client)
}

impl Fixture {
    pub async fn choice_client(&self, hides: bool) -> String {
        self.client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]),
            prevent_user_existence_errors: hides.then(|| "ENABLED".to_owned()),
            ..Default::default()
        })
        .await
    }

    pub async fn choose(
        &self,
        client: &str,
        name: &str,
        more: &[(&str, &str)],
    ) -> Result<types::InitiateAuthResponse, ApiError> {
        let parameters = [&[("USERNAME", name)], more].concat();
        self.initiate(client, "USER_AUTH", &parameters).await
    }

    pub async fn reply(
        &self,
        client: &str,
        name: &str,
        (challenge, session): (&str, &str),
        responses: &[(&str, &str)],
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let responses = [&[("USERNAME", name)], responses].concat();
        self.respond(client, challenge, Some(session), map(&responses)).await
    }
}

#[tokio::test]
async fn a_user_is_offered_what_the_user_can_use() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[&EMAIL[..], &PHONE].concat()).await;
    pool.user("eve", &[("email", "eve@example.com")]).await;
    let offered = async |name: &str| {
        let answer = pool.choose(&client, name, &[]).await.unwrap();
        assert_eq!(answer.challenge_name.as_deref(), Some("SELECT_CHALLENGE"));
        assert!(answer.session.is_some());
        answer.available_challenges
    };
    pool.store.take_trips();
    assert_eq!(offered("ada").await, ["PASSWORD", "PASSWORD_SRP", "EMAIL_OTP", "SMS_OTP"]);
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    assert_eq!(offered("eve").await, ["PASSWORD", "PASSWORD_SRP"]);
    assert_eq!(
        refusal(pool.choose(&client, "nobody", &[]).await),
        "UserNotFoundException: User does not exist."
    );
    // what is not open is not begun, but can be chosen from
    let answer = pool.choose(&client, "eve", &[("PREFERRED_CHALLENGE", "EMAIL_OTP")]).await;
    assert_eq!(answer.unwrap().challenge_name.as_deref(), Some("SELECT_CHALLENGE"));
    assert!(pool.outbox.take().is_empty());
    let answer = pool.choose(&client, "ada", &[("PREFERRED_CHALLENGE", "WEB_AUTHN")]).await;
    assert_eq!(answer.unwrap().challenge_name.as_deref(), Some("SELECT_CHALLENGE"));
}

/// S19.
#[tokio::test]
async fn s19_a_choice_needs_the_flow() {
    let (pool, _) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &EMAIL).await;
    assert_eq!(
        refusal(pool.choose(&pool.client_id, "ada", &[]).await),
        "InvalidParameterException: USER_AUTH flow not enabled for this client"
    );
}

#[tokio::test]
async fn a_password_signs_in_at_once_or_when_it_is_asked_for_or_chosen() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[]).await;
    let direct = [("PREFERRED_CHALLENGE", "PASSWORD"), ("PASSWORD", PASSWORD)];
    assert!(pool.choose(&client, "ada", &direct).await.unwrap().authentication_result.is_some());

    let asked = pool.choose(&client, "ada", &[("PREFERRED_CHALLENGE", "PASSWORD")]).await.unwrap();
    assert_eq!(asked.challenge_name.as_deref(), Some("PASSWORD"));
    let session = asked.session.unwrap();
    let step = ("PASSWORD", &*session);
    assert_eq!(refusal(pool.reply(&client, "ada", step, &[("PASSWORD", WRONG)]).await), INCORRECT);
    let answer = pool.reply(&client, "ada", step, &[("PASSWORD", PASSWORD)]).await.unwrap();
    assert!(answer.authentication_result.is_some());
    let again = pool.reply(&client, "ada", step, &[("PASSWORD", PASSWORD)]).await;
    assert_eq!(refusal(again), USED);

    let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
    let step = ("SELECT_CHALLENGE", &*session);
    let wrong = pool.reply(&client, "ada", step, &[("ANSWER", "EMAIL_OTP")]).await;
    assert!(refusal(wrong).starts_with("InvalidParameterException"));
    let chosen = [("ANSWER", "PASSWORD"), ("PASSWORD", PASSWORD)];
    let answer = pool.reply(&client, "ada", step, &chosen).await.unwrap();
    assert!(answer.authentication_result.is_some());
    assert_eq!(refusal(pool.reply(&client, "ada", step, &chosen).await), USED);
}

#[tokio::test]
async fn srp_can_be_chosen_and_goes_on_as_ever() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[]).await;
    let public = client::Session::with_private(&[7; 32]).unwrap().public_hex();
    let direct = [("PREFERRED_CHALLENGE", "PASSWORD_SRP"), ("SRP_A", &*public)];
    let begun = pool.choose(&client, "ada", &direct).await.unwrap();
    assert_eq!(begun.challenge_name.as_deref(), Some("PASSWORD_VERIFIER"));
    let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
    let chosen = [("ANSWER", "PASSWORD_SRP"), ("SRP_A", &*public)];
    let step = ("SELECT_CHALLENGE", &*session);
    let next = pool.reply(&client, "ada", step, &chosen).await.unwrap();
    assert_eq!(next.challenge_name.as_deref(), Some("PASSWORD_VERIFIER"));
    for parameters in [begun.challenge_parameters, next.challenge_parameters] {
        let session = client::Session::with_private(&[7; 32]).unwrap();
        let claim = pool.claim(&Challenge { session, parameters }, PASSWORD);
        let answer = pool.respond(&client, "PASSWORD_VERIFIER", None, claim).await.unwrap();
        assert!(answer.authentication_result.is_some());
    }
    // CVE-2026-7571: the flow is looked at again at the end
    let begun = pool.choose(&client, "ada", &direct).await.unwrap();
    pool.edit_client(&client, |client| {
        client.explicit_auth_flows = strings(&["ALLOW_USER_SRP_AUTH"]);
    })
    .await;
    let session = client::Session::with_private(&[7; 32]).unwrap();
    let challenge = Challenge { session, parameters: begun.challenge_parameters };
    let answer = pool.answer_srp(&client, pool.claim(&challenge, PASSWORD)).await;
    assert!(refusal(answer).starts_with("InvalidParameterException: USER_AUTH flow not enabled"));
}

#[tokio::test]
async fn a_code_signs_in_once() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[&EMAIL[..], &PHONE].concat()).await;
    for (challenge, medium, masked) in
        [("EMAIL_OTP", "EMAIL", "a***@e***"), ("SMS_OTP", "SMS", "+*******0100")]
    {
        pool.store.take_trips();
        let preferred = [("PREFERRED_CHALLENGE", challenge)];
        let begun = pool.choose(&client, "ada", &preferred).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert_eq!(begun.challenge_name.as_deref(), Some(challenge));
        assert_eq!(
            begun.challenge_parameters,
            map(&[
                ("CODE_DELIVERY_DELIVERY_MEDIUM", medium),
                ("CODE_DELIVERY_DESTINATION", masked),
                ("USERNAME", "ada"),
            ])
        );
        let code = pool.sent_code();
        let session = begun.session.unwrap();
        let key = format!("{challenge}_CODE");
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let step = (challenge, &*session);
        assert_eq!(
            refusal(pool.reply(&client, "ada", step, &[(&key, wrong)]).await),
            WRONG_SENT_CODE
        );
        pool.store.take_trips();
        let answer = pool.reply(&client, "ada", step, &[(&key, &code)]).await.unwrap();
        assert_eq!(pool.store.take_trips(), trips(1, 1));
        assert!(answer.authentication_result.is_some());
        assert_eq!(refusal(pool.reply(&client, "ada", step, &[(&key, &code)]).await), USED);
    }
    // chosen, and then answered under another name
    let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
    let chosen = [("ANSWER", "EMAIL_OTP")];
    let next = pool.reply(&client, "ada", ("SELECT_CHALLENGE", &session), &chosen).await.unwrap();
    let (code, session) = (pool.sent_code(), next.session.unwrap());
    pool.user("eve", &EMAIL_OF_EVE).await;
    let answer = [("EMAIL_OTP_CODE", &*code)];
    for name in ["eve", "nobody"] {
        let answer = pool.reply(&client, name, ("EMAIL_OTP", &session), &answer).await;
        assert_eq!(refusal(answer), INVALID);
    }
    assert!(pool.reply(&client, "ada", ("EMAIL_OTP", &session), &answer).await.is_ok());
}

const EMAIL_OF_EVE: [(&str, &str); 2] = [("email", "eve@example.com"), ("email_verified", "true")];

/// S12: guesses at codes and at passwords add up, and end the session.
#[tokio::test]
async fn s12_guesses_at_a_code_count_with_those_at_the_password() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &EMAIL).await;
    for _ in 0..3 {
        let wrong = [("PREFERRED_CHALLENGE", "PASSWORD"), ("PASSWORD", WRONG)];
        assert_eq!(refusal(pool.choose(&client, "ada", &wrong).await), INCORRECT);
    }
    let preferred = [("PREFERRED_CHALLENGE", "EMAIL_OTP")];
    let session = pool.choose(&client, "ada", &preferred).await.unwrap().session.unwrap();
    let code = pool.sent_code();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let step = ("EMAIL_OTP", &*session);
    for _ in 0..2 {
        let answer = pool.reply(&client, "ada", step, &[("EMAIL_OTP_CODE", wrong)]).await;
        assert_eq!(refusal(answer), WRONG_SENT_CODE);
    }
    pool.advance(1);
    let answer = pool.reply(&client, "ada", step, &[("EMAIL_OTP_CODE", &code)]).await;
    assert_eq!(refusal(answer), USED);
}

/// S50: who has a second factor does not sign in by a code alone, whatever was begun before.
#[tokio::test]
async fn s50_a_code_alone_is_no_way_in_for_who_has_a_second_factor() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.set_mfa("OPTIONAL", false, true, false).await;
    pool.user("ada", &EMAIL).await;
    let preferred = [("PREFERRED_CHALLENGE", "EMAIL_OTP")];
    let session = pool.choose(&client, "ada", &preferred).await.unwrap().session.unwrap();
    let code = pool.sent_code();
    let token = access(&pool.tokens("ada").await).to_owned();
    let app: App = pool.set_up_app(&token).await;
    pool.prefer("ada", [None, Some(true), None]).await.unwrap();
    let answer = [("EMAIL_OTP_CODE", &*code)];
    assert_eq!(
        refusal(pool.reply(&client, "ada", ("EMAIL_OTP", &session), &answer).await),
        WRONG_SENT_CODE
    );
    let answer = pool.choose(&client, "ada", &preferred).await.unwrap();
    assert_eq!(answer.available_challenges, ["PASSWORD", "PASSWORD_SRP"]);
    pool.advance(60);
    let direct = [("PREFERRED_CHALLENGE", "PASSWORD"), ("PASSWORD", PASSWORD)];
    let begun = pool.choose(&client, "ada", &direct).await.unwrap();
    assert_eq!(begun.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
    let (session, code) = (begun.session.unwrap(), app.code(&pool));
    let answer = [("SOFTWARE_TOKEN_MFA_CODE", &*code)];
    let done = pool.reply(&client, "ada", ("SOFTWARE_TOKEN_MFA", &session), &answer).await;
    assert!(done.unwrap().authentication_result.is_some());
}

/// From sign-up to tokens with one code.
#[tokio::test]
async fn the_code_of_the_sign_up_is_the_code_of_the_first_sign_in() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    let sign_up = |client: &str, name: &str| types::SignUpRequest {
        client_id: Some(client.to_owned()),
        username: Some(name.to_owned()),
        password: Some(PASSWORD.to_owned()),
        user_attributes: attributes(&[("email", "ada@example.com")]),
        ..Default::default()
    };
    let confirm = |name: &str, code: &str, session: Option<&str>| types::ConfirmSignUpRequest {
        client_id: Some(client.clone()),
        username: Some(name.to_owned()),
        confirmation_code: Some(code.to_owned()),
        session: session.map(str::to_owned),
        ..Default::default()
    };
    let begin = async |name: &str, session: &str| {
        let request = types::InitiateAuthRequest {
            auth_flow: Some("USER_AUTH".to_owned()),
            auth_parameters: map(&[("USERNAME", name)]),
            client_id: Some(client.clone()),
            session: Some(session.to_owned()),
            ..Default::default()
        };
        declared("InitiateAuth", initiate_auth(&pool.world, &unsigned_call(), request).await)
    };
    // a client that could not use a session gets none
    let answer =
        users::sign_up(&pool.test, &unsigned_call(), sign_up(&pool.client_id, "eve")).await;
    assert_eq!(answer.unwrap().session, None);
    pool.outbox.take();

    let answer = users::sign_up(&pool.test, &unsigned_call(), sign_up(&client, "ada")).await;
    let session = answer.unwrap().session.unwrap();
    let code = pool.sent_code();
    assert_eq!(refusal(begin("ada", &session).await), INVALID);
    let wrong = users::confirm_sign_up(
        &pool.test,
        &unsigned_call(),
        confirm("ada", &code, Some("a session of some kind")),
    )
    .await;
    assert_eq!(refusal(wrong), INVALID);
    let request = confirm("ada", &code, Some(&session));
    let answer = users::confirm_sign_up(&pool.test, &unsigned_call(), request).await.unwrap();
    let session = answer.session.unwrap();
    pool.user("grace", &[]).await;
    assert_eq!(refusal(begin("grace", &session).await), INVALID);
    let done = begin("ada", &session).await.unwrap();
    assert!(done.authentication_result.is_some());
    assert_eq!(refusal(begin("ada", &session).await), USED);
}

#[tokio::test]
async fn a_user_is_told_how_to_sign_in() {
    let (pool, _) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &EMAIL).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let request = types::GetUserAuthFactorsRequest { access_token: Some(token) };
    pool.store.take_trips();
    let answer = users::get_user_auth_factors(&pool.world, &unsigned_call(), request).await;
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    let answer = declared("GetUserAuthFactors", answer).unwrap();
    assert_eq!(answer.username.as_deref(), Some("ada"));
    assert_eq!(answer.configured_user_auth_factors, ["PASSWORD", "EMAIL_OTP"]);
    assert_eq!(answer.user_mfa_setting_list, Vec::<String>::new());
}

/// S16: what is no public value begins nothing, also where SRP was chosen.
#[tokio::test]
async fn s16_a_chosen_srp_refuses_what_is_no_public_value() {
    let (pool, client) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[]).await;
    let long = "f".repeat(10_000);
    for srp_a in ["0", "xyz", &*long] {
        let direct = [("PREFERRED_CHALLENGE", "PASSWORD_SRP"), ("SRP_A", srp_a)];
        let answer = pool.choose(&client, "ada", &direct).await;
        assert_eq!(refusal(answer), "InvalidParameterException: Invalid SRP_A");
        let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
        let chosen = [("ANSWER", "PASSWORD_SRP"), ("SRP_A", srp_a)];
        let answer = pool.reply(&client, "ada", ("SELECT_CHALLENGE", &session), &chosen).await;
        assert_eq!(refusal(answer), "InvalidParameterException: Invalid SRP_A");
    }
}

/// S18: SELECT_CHALLENGE shows no name, so the hash may be over the one that was given.
#[tokio::test]
async fn s18_a_secret_is_proved_at_every_step_of_a_choice() {
    let (pool, _) = choosing(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user("ada", &EMAIL).await;
    let client = pool
        .whole_client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_USER_AUTH"]),
            generate_secret: Some(true),
            ..Default::default()
        })
        .await;
    let (client, secret) = (client.client_id.unwrap(), client.client_secret.unwrap());
    let hash = |name: &str| secret_hash(&secret, name, &client);
    let (alias, canonical, wrong) = (hash("ada@example.com"), hash("ada"), hash("eve"));
    let begin = [("SECRET_HASH", &*alias)];
    for given in [&alias, &canonical] {
        let begun = pool.choose(&client, "ada@example.com", &begin).await.unwrap();
        let session = begun.session.unwrap();
        let step = ("SELECT_CHALLENGE", &*session);
        let answer = |hash| [("ANSWER", "PASSWORD"), ("PASSWORD", PASSWORD), ("SECRET_HASH", hash)];
        let refused = pool.reply(&client, "ada@example.com", step, &answer(&wrong)).await;
        assert_eq!(
            refusal(refused),
            format!("NotAuthorizedException: Unable to verify secret hash for client {client}")
        );
        let done = pool.reply(&client, "ada@example.com", step, &answer(given)).await;
        assert!(done.unwrap().authentication_result.is_some());
    }
}

/// A session is of the flow that a choice begins, and of no other.
#[tokio::test]
async fn a_session_is_not_taken_by_flows_that_know_none() {
    let (pool, _) = choosing(types::CreateUserPoolRequest::default()).await;
    pool.user("ada", &[]).await;
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: map(&[("USERNAME", "ada"), ("PASSWORD", PASSWORD)]),
        client_id: Some(pool.client_id.clone()),
        session: Some("a session of some kind".to_owned()),
        ..Default::default()
    };
    let answer = initiate_auth(&pool.world, &unsigned_call(), request).await;
    assert!(refusal(answer).starts_with("InvalidParameterException"));
}
