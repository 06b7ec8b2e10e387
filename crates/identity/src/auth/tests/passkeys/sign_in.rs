//! WEB_AUTHN.

use super::super::mfa::{INVALID, USED};
use super::*;

#[tokio::test]
async fn a_passkey_signs_in() {
    let (pool, client) = with_passkeys().await;
    let (sub, mut ada, token) = pool.user_with_passkey("ada", 1).await;
    let (session, options) = pool.asked(&client, "ada").await;
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    assert_eq!(text(&options, "/rpId"), RP_ID);
    assert_eq!(text(&options, "/userVerification"), "preferred");
    let allowed = serde_json::json!([{
        "type": "public-key",
        "id": encoding::base64url(&ada.id),
        "transports": ["internal", "hybrid"],
    }]);
    assert_eq!(options["allowCredentials"], allowed);
    let credential = ada.assert(&text(&options, "/challenge"));
    let answer = pool.show(&client, "ada", &session, &credential).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    let tokens = answer.authentication_result.unwrap();
    assert_eq!(claims(access(&tokens))["sub"], sub.as_str());
    assert!(tokens.refresh_token.is_some());
    let again = pool.show(&client, "ada", &session, &credential).await;
    assert_eq!(refusal(again), USED);
    // one that was given up signs nobody in
    pool.delete_passkey(&token, &encoding::base64url(&ada.id)).await.unwrap();
    let prefers = [("PREFERRED_CHALLENGE", "WEB_AUTHN")];
    let answer = pool.choose(&client, "ada", &prefers).await.unwrap();
    assert_eq!(answer.available_challenges, ["PASSWORD", "PASSWORD_SRP"]);
}

#[tokio::test]
async fn a_passkey_can_be_chosen_and_shown_at_once_or_when_it_is_asked_for() {
    let (pool, client) = with_passkeys().await;
    let (_, mut ada, _) = pool.user_with_passkey("ada", 1).await;
    let offered = pool.choose(&client, "ada", &[]).await.unwrap();
    assert_eq!(offered.available_challenges, ["PASSWORD", "PASSWORD_SRP", "WEB_AUTHN"]);
    let session = offered.session.unwrap();
    let options = &offered.challenge_parameters["CREDENTIAL_REQUEST_OPTIONS"];
    let options: Value = serde_json::from_str(options).unwrap();
    let credential = ada.assert(&text(&options, "/challenge")).to_string();
    let step = ("SELECT_CHALLENGE", &*session);
    let shown = [("ANSWER", "WEB_AUTHN"), ("CREDENTIAL", &*credential)];
    let answer = pool.reply(&client, "ada", step, &shown).await.unwrap();
    assert!(answer.authentication_result.is_some());
    assert_eq!(refusal(pool.reply(&client, "ada", step, &shown).await), USED);

    let session = pool.choose(&client, "ada", &[]).await.unwrap().session.unwrap();
    let step = ("SELECT_CHALLENGE", &*session);
    let asked = pool.reply(&client, "ada", step, &[("ANSWER", "WEB_AUTHN")]).await.unwrap();
    assert_eq!(asked.challenge_name.as_deref(), Some("WEB_AUTHN"));
    let options = &asked.challenge_parameters["CREDENTIAL_REQUEST_OPTIONS"];
    let options: Value = serde_json::from_str(options).unwrap();
    let credential = ada.assert(&text(&options, "/challenge"));
    let session = asked.session.unwrap();
    assert!(pool.show(&client, "ada", &session, &credential).await.is_ok());
}

/// S51: whatever is wrong with it, the answer is the same, and the challenge is used up.
#[tokio::test]
async fn s51_what_is_not_as_it_must_be_signs_nobody_in() {
    let (pool, client) = with_passkeys().await;
    let (sub, ada, _) = pool.user_with_passkey("ada", 1).await;
    pool.user_with_passkey("eve", 2).await;
    let (handle, eve_handle) = (ada.user_handle, authenticator(2).user_handle);
    drop(eve_handle);
    type Change = fn(&mut Authenticator);
    let table: [Change; 10] = [
        |a| a.origin = "https://evil.example".to_owned(),
        |a| a.origin = "http://example.com".to_owned(),
        |a| a.rp_id = "evil.example".to_owned(),
        |a| drop(a.more_client_data.insert("type".to_owned(), "webauthn.create".into())),
        |a| drop(a.more_client_data.insert("challenge".to_owned(), "AAAA".into())),
        |a| drop(a.more_client_data.insert("crossOrigin".to_owned(), true.into())),
        |a| a.flags &= !0x01,
        // BS without BE, and BE that has changed
        |a| a.flags &= !0x08,
        |a| a.flags &= !0x18,
        |a| a.user_handle = b"somebody else".to_vec(),
    ];
    for change in table {
        let mut changed = authenticator(1);
        changed.user_handle.clone_from(&handle);
        change(&mut changed);
        assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut changed).await), INCORRECT);
    }
    // somebody else's passkey; the right id with another key; an id that there is not
    let mut others = authenticator(2);
    others.user_handle.clone_from(&handle);
    assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut others).await), INCORRECT);
    others.id = authenticator(1).id;
    assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut others).await), INCORRECT);
    others.id = vec![7; 32];
    assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut others).await), INCORRECT);
    assert!(pool.sessions(&sub).await.len() <= 1, "only the one that registered");

    let mut right = authenticator(1);
    right.user_handle.clone_from(&handle);
    let (session, options) = pool.asked(&client, "ada").await;
    let wrong = others.assert(&text(&options, "/challenge"));
    assert_eq!(refusal(pool.show(&client, "ada", &session, &wrong).await), INCORRECT);
    let credential = right.assert(&text(&options, "/challenge"));
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), USED);
    pool.by_passkey(&client, "ada", &mut right).await.unwrap();
}

/// S51.
#[tokio::test]
async fn s51_a_counter_that_goes_back_signs_nobody_in() {
    let (pool, client) = with_passkeys().await;
    pool.user("ada", &[]).await;
    let token = access(&pool.tokens("ada").await).to_owned();
    let mut counting = authenticator(1);
    counting.sign_count = 5;
    pool.register(&token, &mut counting).await.unwrap();
    pool.by_passkey(&client, "ada", &mut counting).await.unwrap();
    pool.by_passkey(&client, "ada", &mut counting).await.unwrap();
    // a copy that was made before those two
    let mut copy = authenticator(1);
    copy.user_handle.clone_from(&counting.user_handle);
    copy.sign_count = 5;
    assert_eq!(refusal(pool.by_passkey(&client, "ada", &mut copy).await), INCORRECT);
    pool.by_passkey(&client, "ada", &mut counting).await.unwrap();
}

/// S14: the session of a passkey is good for its user, client, challenge and time.
#[tokio::test]
async fn s14_a_session_is_good_for_nobody_else() {
    let (pool, client) = with_passkeys().await;
    let (sub, mut ada, _) = pool.user_with_passkey("ada", 1).await;
    let (_, mut eve, _) = pool.user_with_passkey("eve", 2).await;
    let other_client = pool.choice_client(false).await;
    let (session, options) = pool.asked(&client, "ada").await;
    let challenge = text(&options, "/challenge");
    let credential = ada.assert(&challenge);
    let foreign = pool.show(&other_client, "ada", &session, &credential).await;
    assert_eq!(refusal(foreign), INVALID);
    let foreign = pool.show(&client, "eve", &session, &eve.assert(&challenge)).await;
    assert_eq!(refusal(foreign), INVALID);
    let none = pool.respond(
        &client,
        "WEB_AUTHN",
        None,
        map(&[("USERNAME", "ada"), ("CREDENTIAL", &credential.to_string())]),
    );
    assert_eq!(refusal(none.await), INVALID);
    // the session of another challenge
    let password = [("PREFERRED_CHALLENGE", "PASSWORD")];
    let other = pool.choose(&client, "ada", &password).await.unwrap().session.unwrap();
    assert_eq!(refusal(pool.show(&client, "ada", &other, &credential).await), INVALID);
    for (answer, refused) in [
        (Value::from("{}"), "InvalidParameterException"),
        (Value::Null, "InvalidParameterException"),
    ] {
        let refusal = refusal(pool.show(&client, "ada", &session, &answer).await);
        assert!(refusal.starts_with(refused), "{refusal}");
    }
    pool.sign_out_everywhere(&sub).await;
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INVALID);
    pool.advance(1);
    let (session, options) = pool.asked(&client, "ada").await;
    let credential = ada.assert(&text(&options, "/challenge"));
    pool.advance(3 * 60);
    assert_eq!(
        refusal(pool.show(&client, "ada", &session, &credential).await),
        "NotAuthorizedException: Invalid session for the user, session is expired."
    );
}

/// What happens between the challenge and the answer counts.
#[tokio::test]
async fn s34_a_passkey_does_not_lead_past_the_state_of_the_user() {
    for hides in [false, true] {
        let (pool, _) = with_passkeys().await;
        let client = pool.choice_client(hides).await;
        let (sub, mut ada, token) = pool.user_with_passkey("ada", 1).await;
        for status in ["UNCONFIRMED", "RESET_REQUIRED", "FORCE_CHANGE_PASSWORD", "COMPROMISED"] {
            let (session, options) = pool.asked(&client, "ada").await;
            pool.edit(&sub, move |user| user.status = status.to_owned()).await;
            let credential = ada.assert(&text(&options, "/challenge"));
            assert!(pool.show(&client, "ada", &session, &credential).await.is_err(), "{status}");
            pool.edit(&sub, |user| user.status = "CONFIRMED".to_owned()).await;
        }
        let (session, options) = pool.asked(&client, "ada").await;
        pool.edit(&sub, |user| user.enabled = false).await;
        let credential = ada.assert(&text(&options, "/challenge"));
        assert!(pool.show(&client, "ada", &session, &credential).await.is_err());
        pool.edit(&sub, |user| user.enabled = true).await;

        let (session, options) = pool.asked(&client, "ada").await;
        pool.delete_passkey(&token, &encoding::base64url(&ada.id)).await.unwrap();
        let credential = ada.assert(&text(&options, "/challenge"));
        assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INCORRECT);
        assert_eq!(pool.sessions(&sub).await.len(), 1, "the one that registered");
    }
}

/// The same answer twice at once signs in once; so does one beside the deletion of the passkey.
#[tokio::test]
async fn an_answer_counts_once_under_races() {
    let (pool, client) = with_passkeys().await;
    let (sub, mut ada, token) = pool.user_with_passkey("ada", 1).await;
    let (session, options) = pool.asked(&client, "ada").await;
    let credential = ada.assert(&text(&options, "/challenge"));
    let (same, its_session, its_client) = (credential.clone(), session.clone(), client.clone());
    pool.meanwhile(|world, _| async move {
        let request = types::RespondToAuthChallengeRequest {
            client_id: Some(its_client),
            challenge_name: Some("WEB_AUTHN".to_owned()),
            session: Some(its_session),
            challenge_responses: map(&[("USERNAME", "ada"), ("CREDENTIAL", &same.to_string())]),
            ..Default::default()
        };
        respond_to_auth_challenge(&world, &unsigned_call(), request).await.unwrap();
    });
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), USED);
    assert_eq!(pool.sessions(&sub).await.len(), 2);

    let (session, options) = pool.asked(&client, "ada").await;
    let credential = ada.assert(&text(&options, "/challenge"));
    let id = encoding::base64url(&ada.id);
    pool.meanwhile(|world, _| async move {
        let request = types::DeleteWebAuthnCredentialRequest {
            access_token: Some(token),
            credential_id: Some(id),
        };
        passkeys::delete_web_authn_credential(&world, &unsigned_call(), request).await.unwrap();
    });
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INCORRECT);
    assert_eq!(pool.sessions(&sub).await.len(), 2);
}

/// S08: who locks a password does not lock a passkey.
#[tokio::test]
async fn s08_a_passkey_comes_through_while_the_password_is_locked() {
    let (pool, client) = with_passkeys().await;
    let (_, mut ada, _) = pool.user_with_passkey("ada", 1).await;
    for _ in 0..6 {
        let _ = pool.sign_in(&pool.client_id, "ada", WRONG).await;
    }
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
    pool.by_passkey(&client, "ada", &mut ada).await.unwrap();
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
}

/// S03: a client that hides who exists shows everybody the same, without the ids of passkeys.
#[tokio::test]
async fn s03_who_has_a_passkey_is_not_shown() {
    let (pool, _) = with_passkeys().await;
    let hiding = pool.choice_client(true).await;
    let (_, mut ada, _) = pool.user_with_passkey("ada", 1).await;
    pool.user("eve", &[]).await;
    let disabled = pool.user("bob", &[]).await;
    pool.disable(&disabled).await;
    let names = ["ada", "eve", "bob", "nobody"];
    let mut forms = Vec::new();
    for name in names {
        pool.store.take_trips();
        let (session, mut options) = pool.asked(&hiding, name).await;
        assert_eq!(options["allowCredentials"], Value::Array(Vec::new()));
        let challenge = text(&options, "/challenge");
        options["challenge"] = Value::from(challenge.len());
        // whoever it is about, a passkey that is not theirs is refused in one way
        let wrong = authenticator(7).assert(&challenge);
        let refused = refusal(pool.show(&hiding, name, &session, &wrong).await);
        let again = refusal(pool.show(&hiding, name, &session, &wrong).await);
        let selected = pool.choose(&hiding, name, &[]).await.unwrap();
        let parameters: Vec<_> = selected.challenge_parameters.into_keys().collect();
        let trips = pool.store.take_trips();
        forms.push(format!(
            "{options} {} {refused} {again} {:?} {parameters:?} {} {trips:?}",
            session.len(),
            selected.available_challenges,
            selected.session.unwrap().len(),
        ));
    }
    for form in &forms {
        assert_eq!(form, &forms[0]);
    }
    assert!(forms[0].contains(INCORRECT) && forms[0].contains(USED), "{}", forms[0]);
    // the user of the passkey is found by the authenticator
    pool.by_passkey(&hiding, "ada", &mut ada).await.unwrap();
}

/// S02: a client that shows who exists shows it here as well.
#[tokio::test]
async fn s02_nobody_is_told_apart_where_the_client_says_so() {
    let (pool, client) = with_passkeys().await;
    let prefers = [("PREFERRED_CHALLENGE", "WEB_AUTHN")];
    assert_eq!(
        refusal(pool.choose(&client, "nobody", &prefers).await),
        "UserNotFoundException: User does not exist."
    );
    pool.user("eve", &[]).await;
    let offered = pool.choose(&client, "eve", &prefers).await.unwrap();
    assert_eq!(offered.available_challenges, ["PASSWORD", "PASSWORD_SRP"]);
    assert!(offered.challenge_parameters.is_empty());
}

/// Without a relying party nobody can be asked, and nobody is.
#[tokio::test]
async fn what_cannot_be_asked_for_is_not_offered() {
    let pool = Fixture::with(allowing(&["PASSWORD", "WEB_AUTHN"])).await;
    let client = pool.choice_client(true).await;
    pool.user("ada", &[]).await;
    for name in ["ada", "nobody"] {
        let offered = pool.choose(&client, name, &[("PREFERRED_CHALLENGE", "WEB_AUTHN")]).await;
        assert_eq!(offered.unwrap().available_challenges, ["PASSWORD", "PASSWORD_SRP"]);
    }
}

/// A relying party that has changed has none of the passkeys from before.
#[tokio::test]
async fn a_passkey_is_good_for_the_relying_party_that_it_was_made_for() {
    let (pool, client) = with_passkeys().await;
    let (_, mut ada, _) = pool.user_with_passkey("ada", 1).await;
    let (session, options) = pool.asked(&client, "ada").await;
    pool.configure(web_authn(Some("example.org"))).await.unwrap();
    let credential = ada.assert(&text(&options, "/challenge"));
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INCORRECT);
    let (session, options) = pool.asked(&client, "ada").await;
    assert_eq!(options["allowCredentials"], Value::Array(Vec::new()));
    ada.rp_id = "example.org".to_owned();
    ada.origin = "https://example.org".to_owned();
    let credential = ada.assert(&text(&options, "/challenge"));
    assert_eq!(refusal(pool.show(&client, "ada", &session, &credential).await), INCORRECT);
}
