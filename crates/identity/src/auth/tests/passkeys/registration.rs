//! The four operations of passkeys.

use conclave_crypto::webauthn::authenticator::Attestation;

use super::*;

const NOT_FOUND: &str = "WebAuthnChallengeNotFoundException: The challenge from StartWebAuthnRegistration was not found or has expired.";

#[tokio::test]
async fn a_passkey_is_registered_listed_and_deleted() {
    let (pool, _) = with_passkeys().await;
    let sub = pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let options = pool.start_registration(&token).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    assert_eq!(options["rp"], serde_json::json!({ "id": RP_ID, "name": RP_ID }));
    assert_eq!(text(&options, "/user/id"), encoding::base64url(&sub));
    assert_eq!(text(&options, "/user/name"), "ada");
    assert_eq!(options["excludeCredentials"], Value::Array(Vec::new()));
    assert_eq!(options["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(options["authenticatorSelection"]["userVerification"], "preferred");
    let kinds = options["pubKeyCredParams"].as_array().unwrap();
    let kinds: Vec<_> = kinds.iter().map(|kind| kind["alg"].as_i64().unwrap()).collect();
    assert_eq!(kinds, [-7, -8, -257]);

    let first = authenticator(1);
    let credential = first.register(&text(&options, "/challenge"));
    pool.complete_registration(&token, &credential).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    pool.advance(1);
    pool.register(&token, &mut authenticator(2)).await.unwrap();
    let listed = pool.passkeys(&token, None, None).await.unwrap();
    assert!(listed.next_token.is_none());
    let shown = &listed.credentials[0];
    assert_eq!(shown.credential_id.as_deref(), Some(&*encoding::base64url(&first.id)));
    assert_eq!(shown.friendly_credential_name.as_deref(), Some("Platform passkey"));
    assert_eq!(shown.relying_party_id.as_deref(), Some(RP_ID));
    assert_eq!(shown.authenticator_attachment.as_deref(), Some("platform"));
    assert_eq!(shown.authenticator_transports, ["internal", "hybrid"]);
    assert_eq!(listed.credentials.len(), 2);

    let options = pool.start_registration(&token).await.unwrap();
    assert_eq!(options["excludeCredentials"].as_array().unwrap().len(), 2);
    let id = shown.credential_id.clone().unwrap();
    pool.delete_passkey(&token, &id).await.unwrap();
    assert_eq!(pool.passkeys(&token, None, None).await.unwrap().credentials.len(), 1);
    for id in [&*id, "", "not base64!"] {
        assert_eq!(
            refusal(pool.delete_passkey(&token, id).await),
            "ResourceNotFoundException: The passkey does not exist."
        );
    }
    assert_eq!(pool.index_rows().await, 1);
}

#[tokio::test]
async fn a_list_goes_on_where_it_ended_also_when_passkeys_go() {
    let (pool, _) = with_passkeys().await;
    let (_, _, token) = pool.user_with_passkey("ada", 1).await;
    for number in 2..=5 {
        pool.advance(1);
        pool.register(&token, &mut authenticator(number)).await.unwrap();
    }
    let first = pool.passkeys(&token, Some(2), None).await.unwrap();
    assert_eq!(first.credentials.len(), 2);
    let last = first.credentials[1].credential_id.clone().unwrap();
    pool.delete_passkey(&token, &last).await.unwrap();
    let second = pool.passkeys(&token, Some(2), first.next_token.clone()).await.unwrap();
    let third = pool.passkeys(&token, Some(2), second.next_token.clone()).await.unwrap();
    assert_eq!((second.credentials.len(), third.credentials.len()), (2, 1));
    assert!(third.next_token.is_none());
    // a page of one user is none of another
    let (_, _, other) = pool.user_with_passkey("eve", 9).await;
    let foreign = pool.passkeys(&other, None, first.next_token).await;
    assert!(refusal(foreign).starts_with("InvalidParameterException"));
}

#[tokio::test]
async fn a_user_has_twenty_passkeys_at_most() {
    let (pool, _) = with_passkeys().await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let early = pool.start_registration(&token).await.unwrap();
    for number in 1..=20 {
        pool.register(&token, &mut authenticator(number)).await.unwrap();
    }
    let limit = "LimitExceededException: A user can have at most 20 passkeys.";
    assert_eq!(refusal(pool.start_registration(&token).await), limit);
    // nor with a challenge from before
    let credential = authenticator(21).register(&text(&early, "/challenge"));
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), limit);
    let pages = pool.passkeys(&token, Some(20), None).await.unwrap();
    assert_eq!((pages.credentials.len(), pages.next_token), (20, None));
}

#[tokio::test]
async fn passkeys_need_the_sign_in_policy_and_a_relying_party() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let disabled =
        "WebAuthnNotEnabledException: The passkey feature is not enabled for the user pool.";
    assert_eq!(refusal(pool.start_registration(&token).await), disabled);
    let credential = authenticator(1).register("AAAA");
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), disabled);
    // what there is can be seen and deleted all the same
    assert!(pool.passkeys(&token, None, None).await.unwrap().credentials.is_empty());

    let pool = Fixture::with(allowing(&["PASSWORD", "WEB_AUTHN"])).await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    assert_eq!(
        refusal(pool.start_registration(&token).await),
        "WebAuthnConfigurationMissingException: The user pool has no configured relying party ID and no user pool domain."
    );
    // a domain is one
    let request = types::CreateUserPoolDomainRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        domain: Some("auth.example.org".to_owned()),
        custom_domain_config: Some(types::CustomDomainConfigType {
            certificate_arn: Some(
                "arn:aws:acm:us-east-1:111122223333:certificate/6c22d2f5".to_owned(),
            ),
            ..Default::default()
        }),
        ..Default::default()
    };
    crate::domains::create_user_pool_domain(&pool.test, &signed_call(), request).await.unwrap();
    let options = pool.start_registration(&token).await.unwrap();
    assert_eq!(text(&options, "/rp/id"), "auth.example.org");
    // and what is set comes first
    pool.configure(web_authn(Some(RP_ID))).await.unwrap();
    let options = pool.start_registration(&token).await.unwrap();
    assert_eq!(text(&options, "/rp/id"), RP_ID);
}

/// S51.
#[tokio::test]
async fn s51_a_challenge_is_good_once_for_its_user_and_client_in_its_time() {
    let (pool, _) = with_passkeys().await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let eve = access(&pool.tokens("eve").await).to_owned();
    let other_client = pool.client(types::CreateUserPoolClientRequest::default()).await;
    let elsewhere = pool.sign_in(&other_client, "ada", PASSWORD).await.unwrap();
    let elsewhere = access(&elsewhere.authentication_result.unwrap()).to_owned();
    let challenge = text(&pool.start_registration(&token).await.unwrap(), "/challenge");
    let credential = authenticator(1).register(&challenge);

    assert_eq!(refusal(pool.complete_registration(&eve, &credential).await), NOT_FOUND);
    assert_eq!(
        refusal(pool.complete_registration(&elsewhere, &credential).await),
        "WebAuthnClientMismatchException: The access token is for a different client than the one in the original StartWebAuthnRegistration request."
    );
    pool.complete_registration(&token, &credential).await.unwrap();
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), NOT_FOUND);
    let again = authenticator(2).register(&challenge);
    assert_eq!(refusal(pool.complete_registration(&token, &again).await), NOT_FOUND);
    for made_up in ["", "AAAA", &encoding::base64url([7; 200])] {
        let credential = authenticator(3).register(made_up);
        assert_eq!(refusal(pool.complete_registration(&token, &credential).await), NOT_FOUND);
    }
    // the session of a sign-in is none of a registration
    let client = pool.choice_client(false).await;
    let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
    let (_, sealed) = crate::auth::challenge_session::from_text(&session).unwrap();
    let credential = authenticator(4).register(&encoding::base64url(sealed));
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), NOT_FOUND);

    let challenge = text(&pool.start_registration(&token).await.unwrap(), "/challenge");
    let credential = authenticator(5).register(&challenge);
    pool.advance(3 * 60);
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), NOT_FOUND);
}

/// S51.
#[tokio::test]
async fn s51_what_a_passkey_must_be() {
    let (pool, _) = with_passkeys().await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    type Change = fn(&mut Authenticator);
    let table: [(Change, &str); 8] = [
        (|a| a.origin = "https://evil.example".to_owned(), "WebAuthnOriginNotAllowedException"),
        (|a| a.origin = "http://example.com".to_owned(), "WebAuthnOriginNotAllowedException"),
        (|a| a.rp_id = "evil.example".to_owned(), "WebAuthnRelyingPartyMismatchException"),
        (|a| a.flags &= !0x01, "WebAuthnCredentialNotSupportedException"),
        (|a| a.flags &= !0x08, "WebAuthnCredentialNotSupportedException"),
        (|a| a.attestation = Attestation::Certificate, "WebAuthnCredentialNotSupportedException"),
        (|a| a.attestation = Attestation::Other("tpm"), "WebAuthnCredentialNotSupportedException"),
        (
            |a| drop(a.more_client_data.insert("type".to_owned(), "webauthn.get".into())),
            "WebAuthnChallengeNotFoundException",
        ),
    ];
    for (change, exception) in table {
        let mut changed = authenticator(1);
        change(&mut changed);
        let refused = refusal(pool.register(&token, &mut changed).await);
        assert!(refused.starts_with(exception), "{refused}");
    }
    let malformed = pool.complete_registration(&token, &Value::from("passkey")).await;
    assert_eq!(
        refusal(malformed),
        "InvalidParameterException: Credential is not a RegistrationResponseJSON that can be read."
    );
    assert!(pool.passkeys(&token, None, None).await.unwrap().credentials.is_empty());

    let mut unverified = authenticator(2);
    unverified.flags &= !0x04;
    pool.register(&token, &mut unverified).await.unwrap();
    let required = types::WebAuthnConfigurationType {
        user_verification: Some("required".to_owned()),
        ..web_authn(Some(RP_ID))
    };
    pool.configure(required).await.unwrap();
    let mut unverified = authenticator(3);
    unverified.flags &= !0x04;
    assert_eq!(
        refusal(pool.register(&token, &mut unverified).await),
        "WebAuthnCredentialNotSupportedException: The passkey is not supported: the user was not verified."
    );
}

/// S51: one passkey has one user.
#[tokio::test]
async fn s51_a_passkey_has_one_user_until_it_is_given_up() {
    let (pool, _) = with_passkeys().await;
    let (_, ada, ada_token) = pool.user_with_passkey("ada", 1).await;
    pool.user("eve", &[]).await;
    let eve = access(&pool.tokens("eve").await).to_owned();
    let taken = "InvalidParameterException: The passkey is already registered.";
    assert_eq!(refusal(pool.register(&eve, &mut authenticator(1)).await), taken);
    assert_eq!(refusal(pool.register(&ada_token, &mut authenticator(1)).await), taken);
    let id = encoding::base64url(&ada.id);
    assert!(pool.delete_passkey(&eve, &id).await.is_err());
    pool.delete_passkey(&ada_token, &id).await.unwrap();
    pool.register(&eve, &mut authenticator(1)).await.unwrap();
    // and goes with the user
    assert_eq!(pool.index_rows().await, 1);
    delete_user(&pool.test, &pool.pool_id, "eve").await;
    assert_eq!(pool.index_rows().await, 0);
    pool.register(&ada_token, &mut authenticator(1)).await.unwrap();
    let request = types::DeleteUserRequest { access_token: Some(ada_token) };
    users::delete_user(&pool.world, &unsigned_call(), request).await.unwrap();
    assert_eq!(pool.index_rows().await, 0);
}

/// Two registrations of one credential, and one beside the deletion of its user.
#[tokio::test]
async fn registrations_hold_under_races() {
    let (pool, _) = with_passkeys().await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let challenge = text(&pool.start_registration(&token).await.unwrap(), "/challenge");
    let credential = authenticator(1).register(&challenge);
    let again = credential.clone();
    let second = token.clone();
    pool.meanwhile(|world, _| async move {
        let request = types::CompleteWebAuthnRegistrationRequest {
            access_token: Some(second),
            credential: Some(again.to_string().into_bytes()),
        };
        passkeys::complete_web_authn_registration(&world, &unsigned_call(), request).await.unwrap();
    });
    assert_eq!(refusal(pool.complete_registration(&token, &credential).await), NOT_FOUND);
    assert_eq!(pool.passkeys(&token, None, None).await.unwrap().credentials.len(), 1);

    let challenge = text(&pool.start_registration(&token).await.unwrap(), "/challenge");
    let credential = authenticator(2).register(&challenge);
    pool.meanwhile(|world, pool_id| async move { delete_user(&world, &pool_id, "ada").await });
    assert!(pool.complete_registration(&token, &credential).await.is_err());
    assert_eq!(pool.index_rows().await, 0);
}

#[tokio::test]
async fn the_configuration_is_described_and_stays_through_other_changes() {
    let (pool, _) = with_passkeys().await;
    let wrong = pool.configure(web_authn(Some("https://example.com"))).await;
    assert_eq!(
        refusal(wrong),
        "InvalidParameterException: RelyingPartyId must be a fully qualified domain name."
    );
    pool.set_mfa("OPTIONAL", true, true, false).await;
    let request = types::UpdateUserPoolRequest {
        user_pool_id: Some(pool.pool_id.clone()),
        ..Default::default()
    };
    crate::pools::update_user_pool(&pool.test, &signed_call(), request).await.unwrap();
    let get = async || {
        let request =
            types::GetUserPoolMfaConfigRequest { user_pool_id: Some(pool.pool_id.clone()) };
        crate::pools::get_user_pool_mfa_config(&pool.test, &signed_call(), request).await.unwrap()
    };
    assert_eq!(get().await.web_authn_configuration, Some(web_authn(Some(RP_ID))));
    // and leaves the second factors alone
    let multi = types::WebAuthnConfigurationType {
        factor_configuration: Some("MULTI_FACTOR_WITH_USER_VERIFICATION".to_owned()),
        ..web_authn(Some("example.org"))
    };
    pool.configure(multi.clone()).await.unwrap();
    let got = get().await;
    assert_eq!(got.web_authn_configuration, Some(multi));
    assert_eq!(got.mfa_configuration.as_deref(), Some("OPTIONAL"));
}

/// S34: a token of whoever is gone, disabled, or has to set a password is good for nothing here.
#[tokio::test]
async fn s34_nobody_registers_past_the_state_of_the_user() {
    let (pool, _) = with_passkeys().await;
    let (sub, _, token) = pool.user_with_passkey("ada", 1).await;
    let refused = async || {
        let mut refused = vec![
            refusal(pool.start_registration(&token).await),
            refusal(pool.complete_registration(&token, &authenticator(2).register("AAAA")).await),
            refusal(pool.passkeys(&token, None, None).await),
            refusal(pool.delete_passkey(&token, "AAAA").await),
        ];
        refused.dedup();
        assert_eq!(refused.len(), 1, "{refused:?}");
        refused.remove(0)
    };
    pool.edit(&sub, |user| user.status = "RESET_REQUIRED".to_owned()).await;
    assert!(refused().await.starts_with("PasswordResetRequiredException"));
    pool.edit(&sub, |user| user.status = "UNCONFIRMED".to_owned()).await;
    assert!(refused().await.starts_with("NotAuthorizedException"));
    pool.disable(&sub).await;
    assert!(refused().await.starts_with("NotAuthorizedException"));
    delete_user(&pool.test, &pool.pool_id, "ada").await;
    assert_eq!(refused().await, "NotAuthorizedException: User does not exist.");
}
