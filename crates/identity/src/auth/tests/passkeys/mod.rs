//! Passkeys: registering them and signing in with them, by an authenticator in software.

mod registration;
mod second_factor;
mod sign_in;

use conclave_crypto::webauthn::authenticator::Authenticator;
use conclave_store::keys::Tag;

use super::*;
use crate::{passkeys, pools::set_user_pool_mfa_config};

const RP_ID: &str = "example.com";

/// What a pool says of passkeys.
fn web_authn(rp_id: Option<&str>) -> types::WebAuthnConfigurationType {
    types::WebAuthnConfigurationType {
        relying_party_id: rp_id.map(str::to_owned),
        user_verification: Some("preferred".to_owned()),
        factor_configuration: None,
    }
}

/// A pool whose users may sign in with passkeys, and a client that lets them choose.
fn with_passkeys() -> BoxFuture<'static, (Fixture, String)> {
    Box::pin(async {
        let pool = Fixture::with(allowing(&["PASSWORD", "EMAIL_OTP", "WEB_AUTHN"])).await;
        pool.configure(web_authn(Some(RP_ID))).await.expect("configures");
        let client = pool.choice_client(false).await;
        (pool, client)
    })
}

/// A pool that allows these first factors.
fn allowing(firsts: &[&str]) -> types::CreateUserPoolRequest {
    types::CreateUserPoolRequest {
        policies: Some(types::UserPoolPolicyType {
            sign_in_policy: Some(types::SignInPolicyType {
                allowed_first_auth_factors: Some(types::StringList { items: strings(firsts) }),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// An authenticator with a passkey of its own for each number.
fn authenticator(number: u8) -> Authenticator {
    Authenticator::ed25519([number; 32]).expect("makes a key")
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Fixture {
    async fn configure(
        &self,
        configuration: types::WebAuthnConfigurationType,
    ) -> Result<types::SetUserPoolMfaConfigResponse, ApiError> {
        let request = types::SetUserPoolMfaConfigRequest {
            user_pool_id: Some(self.pool_id.clone()),
            web_authn_configuration: Some(configuration),
            ..Default::default()
        };
        let result = set_user_pool_mfa_config(&self.test, &signed_call(), request).await;
        declared("SetUserPoolMfaConfig", result)
    }

    async fn start_registration(&self, token: &str) -> Result<Value, ApiError> {
        let request =
            types::StartWebAuthnRegistrationRequest { access_token: Some(token.to_owned()) };
        let result =
            passkeys::start_web_authn_registration(&self.world, &unsigned_call(), request).await;
        let options = declared("StartWebAuthnRegistration", result)?.credential_creation_options;
        Ok(serde_json::from_slice(&options.expect("answers options")).expect("is JSON"))
    }

    async fn complete_registration(&self, token: &str, credential: &Value) -> Result<(), ApiError> {
        let request = types::CompleteWebAuthnRegistrationRequest {
            access_token: Some(token.to_owned()),
            credential: Some(credential.to_string().into_bytes()),
        };
        let result =
            passkeys::complete_web_authn_registration(&self.world, &unsigned_call(), request).await;
        declared("CompleteWebAuthnRegistration", result).map(|_| ())
    }

    /// Registers the passkey of `authenticator` for whoever the token is of.
    async fn register(
        &self,
        token: &str,
        authenticator: &mut Authenticator,
    ) -> Result<(), ApiError> {
        let options = self.start_registration(token).await?;
        let handle = text(&options, "/user/id");
        authenticator.user_handle = encoding::base64url_decode(&handle).expect("base64url");
        let credential = authenticator.register(&text(&options, "/challenge"));
        self.complete_registration(token, &credential).await
    }

    async fn passkeys(
        &self,
        token: &str,
        max: Option<i32>,
        next: Option<String>,
    ) -> Result<types::ListWebAuthnCredentialsResponse, ApiError> {
        let request = types::ListWebAuthnCredentialsRequest {
            access_token: Some(token.to_owned()),
            max_results: max,
            next_token: next,
        };
        let result =
            passkeys::list_web_authn_credentials(&self.world, &unsigned_call(), request).await;
        declared("ListWebAuthnCredentials", result)
    }

    async fn delete_passkey(&self, token: &str, id: &str) -> Result<(), ApiError> {
        let request = types::DeleteWebAuthnCredentialRequest {
            access_token: Some(token.to_owned()),
            credential_id: Some(id.to_owned()),
        };
        let result =
            passkeys::delete_web_authn_credential(&self.world, &unsigned_call(), request).await;
        declared("DeleteWebAuthnCredential", result).map(|_| ())
    }

    /// A user with a passkey, the authenticator, and an access token.
    async fn user_with_passkey(&self, name: &str, number: u8) -> (String, Authenticator, String) {
        let sub = self.user(name, &[]).await;
        let token = access(&self.tokens(name).await).to_owned();
        let mut authenticator = authenticator(number);
        self.register(&token, &mut authenticator).await.expect("registers");
        self.store.take_trips();
        (sub, authenticator, token)
    }

    /// The challenge of WEB_AUTHN: the session, and the options.
    async fn asked(&self, client: &str, name: &str) -> (String, Value) {
        let prefers = [("PREFERRED_CHALLENGE", "WEB_AUTHN")];
        let answer = self.choose(client, name, &prefers).await.expect("begins");
        assert_eq!(answer.challenge_name.as_deref(), Some("WEB_AUTHN"));
        let options = &answer.challenge_parameters["CREDENTIAL_REQUEST_OPTIONS"];
        (answer.session.expect("has a session"), serde_json::from_str(options).expect("is JSON"))
    }

    async fn show(
        &self,
        client: &str,
        name: &str,
        session: &str,
        credential: &Value,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let responses = [("CREDENTIAL", credential.to_string())];
        let responses = responses.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.reply(client, name, ("WEB_AUTHN", session), &responses).await
    }

    /// Asks, and shows the passkey.
    async fn by_passkey(
        &self,
        client: &str,
        name: &str,
        authenticator: &mut Authenticator,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let (session, options) = self.asked(client, name).await;
        let credential = authenticator.assert(&text(&options, "/challenge"));
        let answer = self.show(client, name, &session, &credential).await?;
        Ok(answer.authentication_result.expect("answers tokens"))
    }

    /// How many rows lead from a passkey to a user.
    async fn index_rows(&self) -> usize {
        let row = keys::row(&self.pool_id, &[Tag::Passkey as u8]);
        let is_index = |key: &Vec<u8>| key.starts_with(&row);
        self.store.physical_keys().iter().filter(|key| is_index(key)).count()
    }
}
