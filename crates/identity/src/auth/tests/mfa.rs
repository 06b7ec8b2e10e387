//! Second factors: what they have in common. A pool that asks, users who have set something up, and every way to
//! the tokens that must not lead past it.

use super::*;
use conclave_crypto::totp::TotpSeed;

pub const EXPIRED_SESSION: &str =
    "NotAuthorizedException: Invalid session for the user, session is expired.";
pub const USED: &str =
    "NotAuthorizedException: Invalid session for the user, session can only be used once.";
pub const INVALID: &str = "NotAuthorizedException: Invalid session for the user.";
pub const WRONG_APP_CODE: &str = "CodeMismatchException: Invalid code received for user";
pub const WRONG_SENT_CODE: &str = "CodeMismatchException: Invalid code or auth state for the user.";

pub const PHONE: [(&str, &str); 2] =
    [("phone_number", "+12065550100"), ("phone_number_verified", "true")];
pub const EMAIL: [(&str, &str); 2] = [("email", "ada@example.com"), ("email_verified", "true")];

/// An authenticator app, as the phone has it.
pub struct App(TotpSeed);

impl App {
    pub fn scan(secret_code: &str) -> Self {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let (mut buffer, mut bits, mut seed) = (0_u32, 0, Vec::new());
        for digit in secret_code.bytes() {
            let value = DIGITS.iter().position(|known| *known == digit).expect("is base32");
            buffer = (buffer << 5 | value as u32) & 0xffff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                seed.push((buffer >> bits) as u8);
            }
        }
        Self(TotpSeed::from_bytes(&seed).expect("has the length"))
    }

    /// The code of the step that is `steps` away from now.
    pub fn code_at(&self, pool: &Fixture, steps: i64) -> String {
        let step = pool.clock.now_ms() / 30_000 + steps;
        self.0.code(step as u64)
    }

    pub fn code(&self, pool: &Fixture) -> String {
        self.code_at(pool, 0)
    }

    /// A code that is none of the present steps.
    pub fn wrong(&self, pool: &Fixture) -> String {
        let right: Vec<_> = (-1..=1).map(|steps| self.code_at(pool, steps)).collect();
        (0..10).map(|digit| format!("{digit}00000")).find(|code| !right.contains(code)).unwrap()
    }
}

/// A pool that asks as `configuration` says, and offers every factor.
pub async fn asking(configuration: &str) -> Fixture {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.set_mfa(configuration, true, true, true).await;
    pool
}

impl Fixture {
    /// SetUserPoolMfaConfig with these factors.
    pub async fn set_mfa(&self, configuration: &str, sms: bool, app: bool, email: bool) {
        let request = types::SetUserPoolMfaConfigRequest {
            user_pool_id: Some(self.pool_id.clone()),
            mfa_configuration: Some(configuration.to_owned()),
            sms_mfa_configuration: sms.then(|| types::SmsMfaConfigType {
                sms_configuration: Some(types::SmsConfigurationType {
                    sns_caller_arn: Some("arn:aws:iam::111122223333:role/sms".to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            software_token_mfa_configuration: app
                .then_some(types::SoftwareTokenMfaConfigType { enabled: Some(true) }),
            email_mfa_configuration: email.then(types::EmailMfaConfigType::default),
            ..Default::default()
        };
        crate::pools::set_user_pool_mfa_config(&self.test, &signed_call(), request)
            .await
            .expect("sets the second factors");
        // the gateway under test learns of it, and round trips are counted from here
        let _ = self.sign_in(&self.client_id, "nobody", "").await;
        self.store.take_trips();
    }

    /// Sets an authenticator app up and verifies it, without switching it on.
    pub async fn set_up_app(&self, token: &str) -> App {
        let request = types::AssociateSoftwareTokenRequest {
            access_token: Some(token.to_owned()),
            ..Default::default()
        };
        let answer =
            super::super::associate_software_token(&self.world, &unsigned_call(), request).await;
        let answer = declared("AssociateSoftwareToken", answer).expect("hands a seed out");
        assert_eq!(answer.session, None);
        let app = App::scan(&answer.secret_code.expect("has a secret"));
        let verified = self.verify_app(Some(token), None, &app.code(self)).await;
        assert_eq!(verified.expect("verifies").status.as_deref(), Some("SUCCESS"));
        app
    }

    pub async fn verify_app(
        &self,
        token: Option<&str>,
        session: Option<&str>,
        code: &str,
    ) -> Result<types::VerifySoftwareTokenResponse, ApiError> {
        let request = types::VerifySoftwareTokenRequest {
            access_token: token.map(str::to_owned),
            session: session.map(str::to_owned),
            user_code: Some(code.to_owned()),
            friendly_device_name: Some("my phone".to_owned()),
        };
        let answer =
            super::super::verify_software_token(&self.world, &unsigned_call(), request).await;
        declared("VerifySoftwareToken", answer)
    }

    /// AdminSetUserMFAPreference: `None` leaves a factor alone, `Some(true)` prefers it.
    pub async fn prefer(
        &self,
        username: &str,
        [sms, app, email]: [Option<bool>; 3],
    ) -> Result<(), ApiError> {
        let request = types::AdminSetUserMfaPreferenceRequest {
            user_pool_id: Some(self.pool_id.clone()),
            username: Some(username.to_owned()),
            sms_mfa_settings: sms.map(|preferred| types::SmsMfaSettingsType {
                enabled: Some(true),
                preferred_mfa: Some(preferred),
            }),
            software_token_mfa_settings: app.map(|preferred| types::SoftwareTokenMfaSettingsType {
                enabled: Some(true),
                preferred_mfa: Some(preferred),
            }),
            email_mfa_settings: email.map(|preferred| types::EmailMfaSettingsType {
                enabled: Some(true),
                preferred_mfa: Some(preferred),
            }),
            ..Default::default()
        };
        let answer =
            users::admin_set_user_mfa_preference(&self.test, &signed_call(), request).await;
        declared("AdminSetUserMFAPreference", answer).map(|_| ())
    }

    /// A user with an authenticator app that is switched on.
    pub async fn user_with_app(&self, username: &str, pairs: &[(&str, &str)]) -> (String, App) {
        let sub = self.user(username, pairs).await;
        let token = access(&self.tokens(username).await).to_owned();
        let app = self.set_up_app(&token).await;
        self.prefer(username, [None, Some(true), None]).await.expect("prefers the app");
        // the code that verified it is used
        self.advance(60);
        self.store.take_trips();
        (sub, app)
    }

    /// Signs in by password, to the challenge that follows.
    pub async fn challenged(&self, username: &str) -> types::InitiateAuthResponse {
        let response = self.sign_in(&self.client_id, username, PASSWORD).await;
        let response = response.expect("is challenged");
        assert!(response.authentication_result.is_none(), "tokens without a second factor");
        self.store.take_trips();
        response
    }

    /// The session of the challenge that follows a password.
    pub async fn session_of(&self, username: &str, challenge: &str) -> String {
        let response = self.challenged(username).await;
        assert_eq!(response.challenge_name.as_deref(), Some(challenge));
        let session = response.session.expect("has a session");
        assert!((20..=2048).contains(&session.len()));
        session
    }

    pub async fn answer(
        &self,
        username: &str,
        challenge: &str,
        session: &str,
        responses: &[(&str, &str)],
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let responses = [&[("USERNAME", username)], responses].concat();
        self.respond(&self.client_id, challenge, Some(session), map(&responses)).await
    }

    pub async fn answer_app(
        &self,
        username: &str,
        session: &str,
        code: &str,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let responses = [("SOFTWARE_TOKEN_MFA_CODE", code)];
        self.answer(username, "SOFTWARE_TOKEN_MFA", session, &responses).await
    }

    /// The code that was sent last.
    pub fn sent_code(&self) -> String {
        self.outbox.take().pop().expect("a message was sent").code.expect("it has a code")
    }
}

fn other(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

/// S15, S50: no way to sign in leads past a second factor that is switched on.
#[tokio::test]
async fn s50_no_first_step_of_any_flow_gives_tokens_to_who_has_a_second_factor() {
    for configuration in ["OPTIONAL", "ON"] {
        let pool = asking(configuration).await;
        let client = pool
            .client(types::CreateUserPoolClientRequest {
                explicit_auth_flows: strings(&[
                    "ALLOW_USER_PASSWORD_AUTH",
                    "ALLOW_USER_SRP_AUTH",
                    "ALLOW_ADMIN_USER_PASSWORD_AUTH",
                    "ALLOW_USER_AUTH",
                    "ALLOW_REFRESH_TOKEN_AUTH",
                ]),
                ..Default::default()
            })
            .await;
        // the app is set up while nobody is asked
        pool.set_mfa("OPTIONAL", true, true, true).await;
        let (sub, _app) = pool.user_with_app("ada", &[]).await;
        pool.set_mfa(configuration, true, true, true).await;
        let sessions = pool.sessions(&sub).await.len();
        let password = [("USERNAME", "ada"), ("PASSWORD", PASSWORD)];
        let direct = [&password[..], &[("PREFERRED_CHALLENGE", "PASSWORD")]].concat();
        for (flow, parameters) in [("USER_PASSWORD_AUTH", &password[..]), ("USER_AUTH", &direct)] {
            let answer = pool.initiate(&client, flow, parameters).await.unwrap();
            assert_eq!(answer.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"), "{flow}");
            assert!(answer.authentication_result.is_none());
        }
        let answer = pool.srp(&client, "ada", PASSWORD).await.unwrap();
        assert_eq!(answer.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
        for flow in ["ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"] {
            let request = types::AdminInitiateAuthRequest {
                user_pool_id: Some(pool.pool_id.clone()),
                client_id: Some(client.clone()),
                auth_flow: Some(flow.to_owned()),
                auth_parameters: map(&password),
                ..Default::default()
            };
            let answer =
                super::super::admin_initiate_auth(&pool.world, &signed_call(), request).await;
            let answer = declared("AdminInitiateAuth", answer).unwrap();
            assert_eq!(answer.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"), "{flow}");
        }
        assert_eq!(pool.sessions(&sub).await.len(), sessions);
    }
}

/// S15: the session of one challenge answers no other, and without a session there is nothing.
#[tokio::test]
async fn s15_a_session_is_good_for_its_challenge_only() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &PHONE).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let code = app.code(&pool);
    let responses = map(&[
        ("USERNAME", "ada"),
        ("NEW_PASSWORD", NEW),
        ("ANSWER", "SMS_MFA"),
        ("SMS_MFA_CODE", &code),
        ("EMAIL_OTP_CODE", &code),
        ("SMS_OTP_CODE", &code),
        ("PASSWORD", PASSWORD),
        ("SRP_A", "2"),
    ]);
    for challenge in [
        "NEW_PASSWORD_REQUIRED",
        "SMS_MFA",
        "EMAIL_OTP",
        "SELECT_MFA_TYPE",
        "MFA_SETUP",
        "SELECT_CHALLENGE",
        "PASSWORD",
        "PASSWORD_SRP",
        "SMS_OTP",
    ] {
        let answer = pool.respond(&pool.client_id, challenge, Some(&session), responses.clone());
        assert_eq!(refusal(answer.await), INVALID, "{challenge}");
    }
    let answer = [("USERNAME", "ada"), ("SOFTWARE_TOKEN_MFA_CODE", &code)];
    let without = pool.respond(&pool.client_id, "SOFTWARE_TOKEN_MFA", None, map(&answer)).await;
    assert_eq!(refusal(without), INVALID);
    assert!(pool.answer_app("ada", &session, &code).await.is_ok());
}

/// S14: after success, after its end, under another name, with another client.
#[tokio::test]
async fn s14_a_session_is_good_once_for_its_user_and_client_and_for_a_while() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    pool.user_with_app("eve", &[]).await;
    let other_client = pool.client(types::CreateUserPoolClientRequest::default()).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let code = app.code(&pool);
    for name in ["eve", "nobody"] {
        assert_eq!(refusal(pool.answer_app(name, &session, &code).await), INVALID);
    }
    let responses = map(&[("USERNAME", "ada"), ("SOFTWARE_TOKEN_MFA_CODE", &code)]);
    let elsewhere =
        pool.respond(&other_client, "SOFTWARE_TOKEN_MFA", Some(&session), responses).await;
    assert_eq!(refusal(elsewhere), INVALID);
    pool.store.take_trips();
    assert!(pool.answer_app("ada", &session, &code).await.unwrap().authentication_result.is_some());
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    pool.advance(60);
    assert_eq!(refusal(pool.answer_app("ada", &session, &app.code(&pool)).await), USED);

    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.advance(180);
    assert_eq!(refusal(pool.answer_app("ada", &session, &app.code(&pool)).await), EXPIRED_SESSION);
}

/// S34: whatever ends a user's sessions ends the sign-in that is under way.
#[tokio::test]
async fn s34_a_sign_in_under_way_ends_with_what_it_began_with() {
    let pool = asking("OPTIONAL").await;
    let (sub, app) = pool.user_with_app("ada", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    set_password(&pool.test, &pool.pool_id, "ada", NEW).await;
    pool.advance(1);
    set_password(&pool.test, &pool.pool_id, "ada", PASSWORD).await;
    assert_eq!(refusal(pool.answer_app("ada", &session, &app.code(&pool)).await), INVALID);

    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.sign_out_everywhere(&sub).await;
    assert_eq!(refusal(pool.answer_app("ada", &session, &app.code(&pool)).await), INVALID);

    pool.advance(1);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.edit_client(&pool.client_id.clone(), |client| {
        client.explicit_auth_flows = strings(&["ALLOW_USER_SRP_AUTH"]);
    })
    .await;
    assert_eq!(
        refusal(pool.answer_app("ada", &session, &app.code(&pool)).await),
        "InvalidParameterException: USER_PASSWORD_AUTH flow not enabled for this client"
    );
    pool.edit_client(&pool.client_id.clone(), |client| {
        client.explicit_auth_flows = strings(&["ALLOW_USER_PASSWORD_AUTH"]);
    })
    .await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.disable(&sub).await;
    assert_eq!(
        refusal(pool.answer_app("ada", &session, &app.code(&pool)).await),
        "NotAuthorizedException: User is disabled."
    );
}

/// What is changed between the password and the code counts.
#[tokio::test]
async fn a_factor_that_is_switched_off_meanwhile_is_not_answered_any_more() {
    let pool = asking("OPTIONAL").await;
    let (sub, app) = pool.user_with_app("ada", &PHONE).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    pool.edit(&sub, |user| {
        let mfa = user.mfa.as_mut().unwrap();
        mfa.enabled = strings(&["SMS_MFA"]);
    })
    .await;
    assert_eq!(refusal(pool.answer_app("ada", &session, &app.code(&pool)).await), INVALID);
    pool.session_of("ada", "SMS_MFA").await;
}

/// An address that is gone does not make a user one without a second factor.
#[tokio::test]
async fn s50_who_cannot_be_asked_any_more_gets_no_tokens() {
    let pool = asking("OPTIONAL").await;
    let sub = pool.user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    pool.edit(&sub, |user| {
        user.attributes.retain(|held| !held.name.starts_with("phone"));
    })
    .await;
    assert_eq!(
        refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await),
        "NotAuthorizedException: User has no usable MFA method. Contact administrator."
    );
    // and after an administrator has mended it
    pool.edit(&sub, |user| users::attributes::set(user, "phone_number", "+12065550101")).await;
    let session = pool.session_of("ada", "SMS_MFA").await;
    let code = pool.sent_code();
    let wrong = [("SMS_MFA_CODE", other(&code))];
    assert_eq!(refusal(pool.answer("ada", "SMS_MFA", &session, &wrong).await), WRONG_SENT_CODE);
    assert!(pool.answer("ada", "SMS_MFA", &session, &[("SMS_MFA_CODE", &code)]).await.is_ok());
}

#[tokio::test]
async fn a_refresh_needs_no_second_factor() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let answer = pool.answer_app("ada", &session, &app.code(&pool)).await.unwrap();
    let tokens = answer.authentication_result.unwrap();
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
}

/// A temporary password, then a new one, and then the second factor.
#[tokio::test]
async fn s15_a_new_password_leads_to_the_second_factor() {
    let pool = asking("OPTIONAL").await;
    let sub = pool.temporary_user("ada", &PHONE).await;
    pool.prefer("ada", [Some(true), None, None]).await.unwrap();
    let session = pool.new_password_session(&pool.client_id, "ada").await;
    let answer = [("USERNAME", "ada"), ("NEW_PASSWORD", NEW)];
    let answer = pool.answer_new_password(&session, &answer).await.unwrap();
    assert_eq!(answer.challenge_name.as_deref(), Some("SMS_MFA"));
    assert!(answer.authentication_result.is_none() && pool.sessions(&sub).await.is_empty());
    let code = pool.sent_code();
    let session = answer.session.unwrap();
    let done = pool.answer("ada", "SMS_MFA", &session, &[("SMS_MFA_CODE", &code)]).await;
    assert!(done.unwrap().authentication_result.is_some());
}

/// S18: the hash is over the canonical name, as in every later step.
#[tokio::test]
async fn s18_a_client_with_a_secret_proves_it_at_every_step() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let (client, secret) = pool.confidential(false).await;
    let hash = secret_hash(&secret, "ada", &client);
    let parameters = [("USERNAME", "ada"), ("PASSWORD", PASSWORD), ("SECRET_HASH", &hash)];
    let begun = pool.initiate(&client, "USER_PASSWORD_AUTH", &parameters).await.unwrap();
    let code = app.code(&pool);
    let without = [("USERNAME", "ada"), ("SOFTWARE_TOKEN_MFA_CODE", &code)];
    let session = begun.session.as_deref();
    let answer = pool.respond(&client, "SOFTWARE_TOKEN_MFA", session, map(&without)).await;
    assert_eq!(
        refusal(answer),
        format!(
            "NotAuthorizedException: Client {client} is configured with secret but SECRET_HASH was \
             not received"
        )
    );
    let with = [&without[..], &[("SECRET_HASH", &hash)]].concat();
    let answer = pool.respond(&client, "SOFTWARE_TOKEN_MFA", session, map(&with)).await;
    assert!(answer.unwrap().authentication_result.is_some());
}
