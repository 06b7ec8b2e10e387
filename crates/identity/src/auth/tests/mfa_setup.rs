//! Setting second factors up: with an access token, in the middle of a sign-in, and by preference.

use super::mfa::{App, EMAIL, EXPIRED_SESSION, INVALID, PHONE, USED, asking};
use super::*;

const CODE_MISMATCH: &str = "EnableSoftwareTokenMFAException: Code mismatch";

impl Fixture {
    async fn associate(
        &self,
        token: Option<&str>,
        session: Option<&str>,
    ) -> Result<types::AssociateSoftwareTokenResponse, ApiError> {
        let request = types::AssociateSoftwareTokenRequest {
            access_token: token.map(str::to_owned),
            session: session.map(str::to_owned),
        };
        let answer =
            super::super::associate_software_token(&self.world, &unsigned_call(), request).await;
        declared("AssociateSoftwareToken", answer)
    }

    /// SetUserMFAPreference for the app.
    async fn switch_app(&self, token: &str, enabled: bool) -> Result<(), ApiError> {
        let request = types::SetUserMfaPreferenceRequest {
            access_token: Some(token.to_owned()),
            software_token_mfa_settings: Some(types::SoftwareTokenMfaSettingsType {
                enabled: Some(enabled),
                preferred_mfa: Some(enabled),
            }),
            ..Default::default()
        };
        let answer = users::set_user_mfa_preference(&self.world, &unsigned_call(), request).await;
        declared("SetUserMFAPreference", answer).map(|_| ())
    }

    async fn set_options(
        &self,
        token: &str,
        options: &[(&str, &str)],
    ) -> Result<types::SetUserSettingsResponse, ApiError> {
        let option = |(medium, attribute): &(&str, &str)| types::MfaOptionType {
            delivery_medium: Some((*medium).to_owned()),
            attribute_name: Some((*attribute).to_owned()),
        };
        let request = types::SetUserSettingsRequest {
            access_token: Some(token.to_owned()),
            mfa_options: Some(types::MfaOptionTypeList {
                items: options.iter().map(option).collect(),
            }),
        };
        declared(
            "SetUserSettings",
            users::set_user_settings(&self.world, &unsigned_call(), request).await,
        )
    }
}

#[tokio::test]
async fn an_app_counts_once_it_is_verified_and_switched_on() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    assert_eq!(
        refusal(pool.switch_app(&token, true).await),
        "InvalidParameterException: User has not set up software token mfa"
    );
    pool.store.take_trips();
    let answer = pool.associate(Some(&token), None).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    let secret = answer.secret_code.unwrap();
    assert_eq!(secret.len(), 52);
    assert_eq!(
        refusal(pool.switch_app(&token, true).await),
        "InvalidParameterException: User has not verified software token mfa"
    );
    let app = App::scan(&secret);
    let wrong = app.wrong(&pool);
    assert_eq!(refusal(pool.verify_app(Some(&token), None, &wrong).await), CODE_MISMATCH);
    assert!(pool.tokens("ada").await.access_token.is_some());
    pool.store.take_trips();
    let verified = pool.verify_app(Some(&token), None, &app.code(&pool)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!((verified.status.as_deref(), verified.session), (Some("SUCCESS"), None));
    // as in Cognito, verified is not yet switched on
    assert!(pool.tokens("ada").await.access_token.is_some());
    pool.switch_app(&token, true).await.unwrap();
    let shown = pool.get_user(&token).await.unwrap();
    assert_eq!(shown.user_mfa_setting_list, ["SOFTWARE_TOKEN_MFA"]);
    assert_eq!(shown.preferred_mfa_setting.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
    assert_eq!(shown.mfa_options, []);
    let begun = pool.challenged("ada").await;
    assert_eq!(begun.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
    assert_eq!(
        begun.challenge_parameters,
        map(&[("FRIENDLY_DEVICE_NAME", "my phone"), ("USER_ID_FOR_SRP", "ada")])
    );
    pool.switch_app(&token, false).await.unwrap();
    let shown = pool.get_user(&token).await.unwrap();
    assert_eq!(shown.user_mfa_setting_list, Vec::<String>::new());
    assert_eq!(shown.preferred_mfa_setting, None);
    assert!(pool.tokens("ada").await.access_token.is_some());
}

/// S49: with an access token alone, another app does not take the place of the one that counts until a code
/// of it has been shown.
#[tokio::test]
async fn s49_a_new_seed_counts_only_when_it_is_verified() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let answer = pool.answer_app("ada", &session, &app.code(&pool)).await.unwrap();
    let tokens = answer.authentication_result.unwrap();
    let token = access(&tokens);
    let secret = pool.associate(Some(token), None).await.unwrap().secret_code.unwrap();
    let new = App::scan(&secret);
    pool.advance(60);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let early = pool.answer_app("ada", &session, &new.code(&pool)).await;
    assert_eq!(refusal(early), super::mfa::WRONG_APP_CODE);
    assert_eq!(refusal(pool.verify_app(Some(token), None, &app.code(&pool)).await), CODE_MISMATCH);
    assert!(pool.answer_app("ada", &session, &app.code(&pool)).await.is_ok());
    pool.verify_app(Some(token), None, &new.code(&pool)).await.unwrap();
    pool.advance(60);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let old = pool.answer_app("ada", &session, &app.code(&pool)).await;
    assert_eq!(refusal(old), super::mfa::WRONG_APP_CODE);
    assert!(pool.answer_app("ada", &session, &new.code(&pool)).await.is_ok());
    // a seed is verified once
    assert!(
        refusal(pool.verify_app(Some(token), None, &new.code(&pool)).await)
            .starts_with("SoftwareTokenMFANotFoundException")
    );
}

#[tokio::test]
async fn what_proves_the_caller_is_one_of_two_and_the_pool_must_offer_apps() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    for (token, session) in [(None, None), (Some(&*token), Some("a session of some kind"))] {
        let refused = refusal(pool.associate(token, session).await);
        assert!(refused.starts_with("InvalidParameterException"), "{refused}");
        let refused = refusal(pool.verify_app(token, session, "123456").await);
        assert!(refused.starts_with("InvalidParameterException"), "{refused}");
    }
    let long = "A".repeat(300);
    for session in ["", "x", "a session of some kind", &long] {
        assert_eq!(refusal(pool.associate(None, Some(session)).await), INVALID);
        assert_eq!(refusal(pool.verify_app(None, Some(session), "123456").await), INVALID);
    }
    assert_eq!(
        refusal(pool.verify_app(Some(&token), None, "123456").await),
        "SoftwareTokenMFANotFoundException: Software Token MFA does not exist for the user."
    );
    pool.set_mfa("OPTIONAL", true, false, false).await;
    let not_offered = "SoftwareTokenMFANotFoundException: Software Token MFA has not been enabled by the userPool.";
    assert_eq!(refusal(pool.associate(Some(&token), None).await), not_offered);
    assert_eq!(refusal(pool.verify_app(Some(&token), None, "123456").await), not_offered);
}

/// MFA_SETUP, from the password to the tokens and to the next sign-in.
#[tokio::test]
async fn where_everybody_is_asked_who_has_nothing_sets_an_app_up_first() {
    let pool = asking("OPTIONAL").await;
    pool.set_mfa("ON", false, true, false).await;
    let sub = pool.user("ada", &[]).await;
    let begun = pool.challenged("ada").await;
    assert_eq!(begun.challenge_name.as_deref(), Some("MFA_SETUP"));
    // text messages are still configured in the pool
    assert_eq!(
        begun.challenge_parameters,
        map(&[
            ("MFAS_CAN_SETUP", r#"["SMS_MFA","SOFTWARE_TOKEN_MFA"]"#),
            ("USER_ID_FOR_SRP", "ada"),
        ])
    );
    let first = begun.session.unwrap();
    assert_eq!(
        refusal(pool.answer("ada", "MFA_SETUP", &first, &[]).await),
        "InvalidParameterException: User has not verified software token mfa"
    );
    pool.store.take_trips();
    let associated = pool.associate(None, Some(&first)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!(refusal(pool.associate(None, Some(&first)).await), USED);
    let app = App::scan(&associated.secret_code.unwrap());
    let second = associated.session.unwrap();
    let wrong = app.wrong(&pool);
    assert_eq!(refusal(pool.verify_app(None, Some(&second), &wrong).await), CODE_MISMATCH);
    let refused = refusal(pool.answer("ada", "MFA_SETUP", &second, &[]).await);
    assert!(refused.starts_with("InvalidParameterException"), "{refused}");
    let verified = pool.verify_app(None, Some(&second), &app.code(&pool)).await.unwrap();
    let third = verified.session.unwrap();
    assert!(pool.sessions(&sub).await.is_empty());
    assert_eq!(refusal(pool.verify_app(None, Some(&second), &app.code(&pool)).await), USED);
    let done = pool.answer("ada", "MFA_SETUP", &third, &[]).await.unwrap();
    let tokens = done.authentication_result.unwrap();
    assert_eq!(refusal(pool.answer("ada", "MFA_SETUP", &third, &[]).await), USED);
    let shown = pool.get_user(access(&tokens)).await.unwrap();
    assert_eq!(shown.user_mfa_setting_list, ["SOFTWARE_TOKEN_MFA"]);
    pool.advance(60);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    assert!(pool.answer_app("ada", &session, &app.code(&pool)).await.is_ok());
}

/// S49: a session of MFA_SETUP that was kept does not put another app in the place of one that counts.
#[tokio::test]
async fn s49_a_kept_session_of_the_setup_is_worth_nothing_once_something_is_set_up() {
    let pool = asking("ON").await;
    pool.set_mfa("ON", false, true, false).await;
    pool.user("ada", &[]).await;
    let kept = pool.session_of("ada", "MFA_SETUP").await;
    let also_kept = pool.session_of("ada", "MFA_SETUP").await;
    let associated = pool.associate(None, Some(&also_kept)).await.unwrap();
    let eves = App::scan(&associated.secret_code.unwrap());
    let also_kept = associated.session.unwrap();

    let session = pool.session_of("ada", "MFA_SETUP").await;
    let associated = pool.associate(None, Some(&session)).await.unwrap();
    let app = App::scan(&associated.secret_code.unwrap());
    let session = associated.session.unwrap();
    pool.verify_app(None, Some(&session), &app.code(&pool)).await.unwrap();

    assert_eq!(refusal(pool.associate(None, Some(&kept)).await), INVALID);
    assert_eq!(refusal(pool.verify_app(None, Some(&also_kept), &eves.code(&pool)).await), INVALID);
    assert_eq!(refusal(pool.answer("ada", "MFA_SETUP", &kept, &[]).await), INVALID);
}

#[tokio::test]
async fn a_session_of_the_setup_ends() {
    let pool = asking("ON").await;
    pool.set_mfa("ON", false, true, false).await;
    pool.user("ada", &[]).await;
    let session = pool.session_of("ada", "MFA_SETUP").await;
    pool.advance(180);
    assert_eq!(refusal(pool.associate(None, Some(&session)).await), EXPIRED_SESSION);
    let session = pool.session_of("ada", "MFA_SETUP").await;
    set_password(&pool.test, &pool.pool_id, "ada", PASSWORD).await;
    assert_eq!(refusal(pool.associate(None, Some(&session)).await), INVALID);
}

/// MFA_SETUP with an e-mail address: the code makes it the user's.
#[tokio::test]
async fn an_address_can_be_set_up_in_the_middle_of_a_sign_in() {
    let pool = asking("ON").await;
    let sub = pool.user("ada", &[]).await;
    let session = pool.session_of("ada", "MFA_SETUP").await;
    for bad in ["nobody", "a@b", "<a@b.co>"] {
        assert_eq!(
            refusal(pool.answer("ada", "MFA_SETUP", &session, &[("EMAIL", bad)]).await),
            "InvalidParameterException: Invalid email address format."
        );
    }
    let given = [("EMAIL", "ada@example.com")];
    let next = pool.answer("ada", "MFA_SETUP", &session, &given).await.unwrap();
    assert_eq!(next.challenge_name.as_deref(), Some("EMAIL_OTP"));
    assert_eq!(next.challenge_parameters["CODE_DELIVERY_DESTINATION"], "a***@e***");
    let code = pool.sent_code();
    let session = next.session.unwrap();
    let answer = [("EMAIL_OTP_CODE", &*code)];
    let done = pool.answer("ada", "EMAIL_OTP", &session, &answer).await.unwrap();
    let tokens = done.authentication_result.unwrap();
    assert_eq!(claims(id(&tokens))["email"], "ada@example.com");
    let shown = pool.get_user(access(&tokens)).await.unwrap();
    assert_eq!(shown.user_mfa_setting_list, ["EMAIL_OTP"]);
    pool.session_of("ada", "EMAIL_OTP").await;
    assert_eq!(pool.sessions(&sub).await.len(), 1);
}

/// S50: with everybody asked, a user cannot get rid of an app with an access token, but an administrator can
/// when it is lost.
#[tokio::test]
async fn s50_only_an_administrator_takes_an_app_away_where_everybody_is_asked() {
    let pool = asking("OPTIONAL").await;
    let (_, app) = pool.user_with_app("ada", &[]).await;
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let answer = pool.answer_app("ada", &session, &app.code(&pool)).await.unwrap();
    let token = access(&answer.authentication_result.unwrap()).to_owned();
    pool.set_mfa("ON", false, true, false).await;
    pool.switch_app(&token, false).await.unwrap();
    pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    let request = types::AdminSetUserMfaPreferenceRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some("ada".to_owned()),
        software_token_mfa_settings: Some(types::SoftwareTokenMfaSettingsType::default()),
        ..Default::default()
    };
    users::admin_set_user_mfa_preference(&pool.test, &signed_call(), request).await.unwrap();
    pool.session_of("ada", "MFA_SETUP").await;
    // and gives it back
    pool.prefer("ada", [None, Some(false), None]).await.unwrap();
    pool.advance(60);
    let session = pool.session_of("ada", "SOFTWARE_TOKEN_MFA").await;
    assert!(pool.answer_app("ada", &session, &app.code(&pool)).await.is_ok());
}

#[tokio::test]
async fn a_preference_is_one_and_for_what_can_be_asked() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &EMAIL).await;
    let no_config = |name: &str| {
        format!(
            "InvalidParameterException: User does not have delivery config set to turn on {name}"
        )
    };
    assert_eq!(refusal(pool.prefer("ada", [Some(true), None, None]).await), no_config("SMS_MFA"));
    assert_eq!(
        refusal(pool.prefer("ada", [None, Some(true), None]).await),
        no_config("SOFTWARE_TOKEN_MFA")
    );
    pool.user("eve", &[&PHONE[..], &EMAIL].concat()).await;
    assert!(
        refusal(pool.prefer("eve", [Some(true), None, Some(true)]).await)
            .starts_with("InvalidParameterException")
    );
    let request = types::AdminSetUserMfaPreferenceRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some("eve".to_owned()),
        sms_mfa_settings: Some(types::SmsMfaSettingsType {
            enabled: Some(false),
            preferred_mfa: Some(true),
        }),
        ..Default::default()
    };
    let answer = users::admin_set_user_mfa_preference(&pool.test, &signed_call(), request).await;
    assert!(refusal(answer).starts_with("InvalidParameterException"));
    pool.prefer("eve", [Some(true), None, Some(false)]).await.unwrap();
    pool.session_of("eve", "SMS_MFA").await;
    // preferring another takes the preference away, and leaving it out does not
    pool.prefer("eve", [None, None, Some(true)]).await.unwrap();
    pool.session_of("eve", "EMAIL_OTP").await;
    assert!(
        refusal(pool.prefer("nobody", [Some(true), None, None]).await)
            .starts_with("UserNotFoundException")
    );
}

#[tokio::test]
async fn the_older_settings_know_text_messages_alone() {
    let pool = asking("OPTIONAL").await;
    pool.user("ada", &PHONE).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    for wrong in [("EMAIL", "email"), ("SMS", "email"), ("EMAIL", "phone_number")] {
        let answer = pool.set_options(&token, &[wrong]).await;
        assert!(refusal(answer).starts_with("InvalidParameterException"));
    }
    pool.set_options(&token, &[("SMS", "phone_number")]).await.unwrap();
    let shown = pool.get_user(&token).await.unwrap();
    assert_eq!(shown.mfa_options.len(), 1);
    assert_eq!(shown.mfa_options[0].delivery_medium.as_deref(), Some("SMS"));
    assert_eq!(shown.user_mfa_setting_list, Vec::<String>::new());
    pool.session_of("ada", "SMS_MFA").await;
    pool.set_options(&token, &[]).await.unwrap();
    assert!(pool.tokens("ada").await.access_token.is_some());

    let request = types::AdminSetUserSettingsRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        username: Some("ada".to_owned()),
        mfa_options: Some(types::MfaOptionTypeList {
            items: vec![types::MfaOptionType {
                delivery_medium: Some("SMS".to_owned()),
                attribute_name: Some("phone_number".to_owned()),
            }],
        }),
    };
    let answer = users::admin_set_user_settings(&pool.test, &signed_call(), request).await;
    declared("AdminSetUserSettings", answer).unwrap();
    pool.session_of("ada", "SMS_MFA").await;
}
