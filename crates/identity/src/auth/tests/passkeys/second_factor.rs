//! Passkeys where a second factor is asked for.

use super::*;
use crate::users::{get_user_auth_factors, set_user_mfa_preference};

/// Asks as `configuration` says, with apps on offer and passkeys as two factors where `multi` says so.
async fn asking(configuration: &str, multi: bool) -> (Fixture, String) {
    let (pool, client) = with_passkeys_only().await;
    let result = pool.ask(configuration, multi).await;
    result.expect("configures");
    (pool, client)
}

async fn with_passkeys_only() -> (Fixture, String) {
    let pool = Fixture::with(allowing(&["PASSWORD", "WEB_AUTHN"])).await;
    pool.configure(web_authn(Some(RP_ID))).await.expect("configures");
    let client = pool.choice_client(false).await;
    (pool, client)
}

impl Fixture {
    async fn ask(
        &self,
        configuration: &str,
        multi: bool,
    ) -> Result<types::SetUserPoolMfaConfigResponse, ApiError> {
        let factor = if multi { "MULTI_FACTOR_WITH_USER_VERIFICATION" } else { "SINGLE_FACTOR" };
        let request = types::SetUserPoolMfaConfigRequest {
            user_pool_id: Some(self.pool_id.clone()),
            mfa_configuration: Some(configuration.to_owned()),
            software_token_mfa_configuration: Some(types::SoftwareTokenMfaConfigType {
                enabled: Some(true),
            }),
            web_authn_configuration: Some(types::WebAuthnConfigurationType {
                factor_configuration: Some(factor.to_owned()),
                ..web_authn(Some(RP_ID))
            }),
            ..Default::default()
        };
        set_user_pool_mfa_config(&self.test, &signed_call(), request).await
    }

    async fn prefer_passkeys(&self, token: &str, enabled: bool) -> Result<(), ApiError> {
        let request = types::SetUserMfaPreferenceRequest {
            access_token: Some(token.to_owned()),
            web_authn_mfa_settings: Some(types::WebAuthnMfaSettingsType { enabled: Some(enabled) }),
            ..Default::default()
        };
        let result = set_user_mfa_preference(&self.world, &unsigned_call(), request).await;
        declared("SetUserMFAPreference", result).map(|_| ())
    }

    async fn factors(&self, token: &str) -> (Vec<String>, Vec<String>) {
        let request = types::GetUserAuthFactorsRequest { access_token: Some(token.to_owned()) };
        let answer = get_user_auth_factors(&self.world, &unsigned_call(), request).await.unwrap();
        (answer.configured_user_auth_factors, answer.user_mfa_setting_list)
    }
}

/// Gives a user an app without a sign-in that would ask for it.
async fn switch_app_on(pool: &Fixture, sub: &str) {
    pool.edit(sub, |user| {
        let mfa = user.mfa.get_or_insert_default();
        mfa.has_software_token = true;
        mfa.enabled = strings(&["SOFTWARE_TOKEN_MFA"]);
    })
    .await;
}

/// S50: a passkey alone does not get whoever has two factors past the second.
#[tokio::test]
async fn s50_a_passkey_is_one_factor_unless_pool_and_user_say_otherwise() {
    let (pool, client) = asking("OPTIONAL", false).await;
    let (sub, mut ada, token) = pool.user_with_passkey("ada", 1).await;
    assert_eq!(pool.factors(&token).await.0, ["PASSWORD", "WEB_AUTHN"]);
    pool.by_passkey(&client, "ada", &mut ada).await.unwrap();
    // a challenge from before counts no more
    let (session, options) = pool.asked(&client, "ada").await;
    switch_app_on(&pool, &sub).await;
    let credential = ada.assert(&text(&options, "/challenge"));
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INCORRECT);
    let offered = pool.choose(&client, "ada", &[]).await.unwrap().available_challenges;
    assert_eq!(offered, ["PASSWORD", "PASSWORD_SRP"]);
    assert_eq!(
        refusal(pool.prefer_passkeys(&token, true).await),
        "InvalidParameterException: The user pool is not configured for passkeys with user verification as MFA."
    );

    // the pool lets passkeys be two factors; the user has not said so
    pool.ask("OPTIONAL", true).await.unwrap();
    let offered = pool.choose(&client, "ada", &[]).await.unwrap().available_challenges;
    assert_eq!(offered, ["PASSWORD", "PASSWORD_SRP"]);
    pool.prefer_passkeys(&token, true).await.unwrap();
    assert_eq!(
        pool.factors(&token).await,
        (strings(&["PASSWORD", "WEB_AUTHN"]), strings(&["SOFTWARE_TOKEN_MFA", "WEB_AUTHN_MFA"]))
    );
    let (_, options) = pool.asked(&client, "ada").await;
    assert_eq!(text(&options, "/userVerification"), "required");
    pool.by_passkey(&client, "ada", &mut ada).await.unwrap();
    // and only if the user is verified
    ada.flags &= !0x04;
    assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut ada).await), INCORRECT);
    let hiding = pool.choice_client(true).await;
    assert_eq!(refusal(pool.by_passkey(&hiding, "ada", &mut ada).await), INCORRECT);
    ada.flags |= 0x04;
    pool.by_passkey(&hiding, "ada", &mut ada).await.unwrap();
    pool.prefer_passkeys(&token, false).await.unwrap();
    let offered = pool.choose(&client, "ada", &[]).await.unwrap().available_challenges;
    assert_eq!(offered, ["PASSWORD", "PASSWORD_SRP"]);
}

#[tokio::test]
async fn where_everybody_is_asked_passkeys_are_two_factors_or_none() {
    let (pool, client) = with_passkeys_only().await;
    assert_eq!(
        refusal(pool.ask("ON", false).await),
        "InvalidParameterException: Only PASSWORD and WEB_AUTHN (if configured) can be enabled as an auth factor if MFA is enabled"
    );
    let (sub, mut ada, token) = pool.user_with_passkey("ada", 1).await;
    pool.ask("ON", true).await.unwrap();
    let offered = pool.choose(&client, "ada", &[]).await.unwrap().available_challenges;
    assert_eq!(offered, ["PASSWORD", "PASSWORD_SRP"]);
    assert_eq!(
        refusal(pool.prefer_passkeys(&token, true).await),
        "InvalidParameterException: User must have at least one other MFA method enabled for passkey MFA."
    );
    switch_app_on(&pool, &sub).await;
    pool.prefer_passkeys(&token, true).await.unwrap();
    pool.by_passkey(&client, "ada", &mut ada).await.unwrap();
    // the last passkey takes the setting along
    pool.delete_passkey(&token, &encoding::base64url(&ada.id)).await.unwrap();
    assert_eq!(pool.factors(&token).await.1, ["SOFTWARE_TOKEN_MFA"]);
    pool.register(&token, &mut ada).await.unwrap();
    let offered = pool.choose(&client, "ada", &[]).await.unwrap().available_challenges;
    assert_eq!(offered, ["PASSWORD", "PASSWORD_SRP"]);
}
