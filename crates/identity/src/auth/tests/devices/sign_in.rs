//! Devices that prove themselves in a sign-in, and in a refresh.

use super::*;

#[tokio::test]
async fn a_remembered_device_proves_itself_and_is_no_new_one() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    pool.advance(60);
    let session = pool.device_session("ada", &device).await;
    let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    let claim = pool.device_claim(&challenge, &device);
    let tokens = pool.answer_device(claim).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!(tokens.new_device_metadata, None);
    assert_eq!(claims(access(&tokens))["device_key"], device.key.as_str());
    let described = pool.get_device(access(&tokens), &device.key).await.unwrap();
    assert_eq!(described.device_last_authenticated_date, Some(pool.clock.now_ms()));
    assert_ne!(described.device_create_date, described.device_last_authenticated_date);
}

#[tokio::test]
async fn a_device_proves_itself_after_the_pool_s_key_was_exchanged() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    pool.order_reseal().await;
    for _ in 0..2 {
        pool.reseal_on().await;
        pool.clock.advance(super::super::reseal::LATER);
    }
    pool.reseal_on().await;
    assert_eq!(pool.versions().await, [2]);
    assert!(pool.on_device("ada", &device).await.is_ok());
}

#[tokio::test]
async fn a_device_proves_itself_after_srp_too() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    let start =
        pool.start_srp(&pool.client_id, "ada", &[("DEVICE_KEY", &device.key)]).await.unwrap();
    let mut claim = pool.claim(&start, PASSWORD);
    // a key that nobody has is refused, and the same block is good without it
    let mut forged = claim.clone();
    forged.insert("DEVICE_KEY".to_owned(), "us-east-1_0".to_owned());
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, forged.clone()).await), NO_DEVICE);
    claim.insert("DEVICE_KEY".to_owned(), device.key.clone());
    let response = pool.answer_srp(&pool.client_id, claim).await.unwrap();
    assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
    assert!(response.authentication_result.is_none());
    let session = response.session.unwrap();
    let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    assert!(pool.answer_device(pool.device_claim(&challenge, &device)).await.is_ok());

    let start = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    forged = pool.claim(&start, PASSWORD);
    forged.insert("DEVICE_KEY".to_owned(), "us-east-1_0".to_owned());
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, forged.clone()).await), NO_DEVICE);
    forged.remove("DEVICE_KEY");
    let response = pool.answer_srp(&pool.client_id, forged).await.unwrap();
    assert!(response.authentication_result.unwrap().new_device_metadata.is_some());
}

/// `security.md` S50, for what there is without second factors.
#[tokio::test]
async fn s50_what_a_device_says_of_itself_counts_for_nothing_before_it_is_proved() {
    let pool = tracking(false).await;
    let sub = pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let (device, _) = pool.device("ada").await;
    let (theirs, _) = pool.device("eve").await;
    let impostor = Device { password: "guessed".to_owned(), ..device.clone() };
    let sessions = pool.sessions(&sub).await.len();

    // the right key with the wrong secret
    let session = pool.device_session("ada", &device).await;
    let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    assert_eq!(
        refusal(pool.answer_device(pool.device_claim(&challenge, &impostor)).await),
        INCORRECT
    );
    // the block is used up
    assert_eq!(refusal(pool.answer_device(pool.device_claim(&challenge, &device)).await), USED);

    // another device than the one that was named with the password
    let session = pool.device_session("ada", &device).await;
    let answer = pool.answer_device_srp(&session, "ada", &theirs.key).await;
    assert_eq!(refusal(answer.map(|_| ())), INVALID_SESSION);
    // a user who has not shown the password, with a device of one's own
    let answer = pool.answer_device_srp(&session, "eve", &theirs.key).await;
    assert_eq!(refusal(answer.map(|_| ())), INVALID_SESSION);
    // without a session, with one of another kind
    let block = encoding::base64(challenge_session_of("x"));
    for session in ["", "x", &block] {
        let answer = pool.answer_device_srp(session, "ada", &device.key).await;
        assert_eq!(refusal(answer.map(|_| ())), INVALID_SESSION);
    }
    // straight to the last step, with the block of the first factor
    let start = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let mut claim = pool.claim(&start, PASSWORD);
    claim.insert("DEVICE_KEY".to_owned(), device.key.clone());
    let answer = pool.respond(&pool.client_id, "DEVICE_PASSWORD_VERIFIER", None, claim).await;
    assert_eq!(refusal(answer), INVALID_SESSION);
    // and the block of a device in the place of the first factor's
    let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    let claim = pool.device_claim(&challenge, &device);
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim.clone()).await), INCORRECT);
    assert_eq!(pool.sessions(&sub).await.len(), sessions);
    // through another client
    let other = pool.client(types::CreateUserPoolClientRequest::default()).await;
    let answer = pool.respond(&other, "DEVICE_PASSWORD_VERIFIER", None, claim.clone()).await;
    assert_eq!(refusal(answer), INVALID_SESSION);
    // what it was good for
    assert!(pool.answer_device(claim).await.is_ok());
}

fn challenge_session_of(text: &str) -> Vec<u8> {
    text.repeat(600).into_bytes()
}

/// As pycognito does it: no session, and the A of the first factor once more.
#[tokio::test]
async fn a_client_that_sends_no_session_is_known_by_its_srp() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let (device, _) = pool.device("ada").await;
    let (theirs, _) = pool.device("eve").await;
    let client_id = pool.client_id.clone();
    let first_factor = async || {
        let start = pool.start_srp(&client_id, "ada", &[]).await.unwrap();
        let mut claim = pool.claim(&start, PASSWORD);
        claim.insert("DEVICE_KEY".to_owned(), device.key.clone());
        let response = pool.answer_srp(&client_id, claim).await.unwrap();
        assert_eq!(response.challenge_name.as_deref(), Some("DEVICE_SRP_AUTH"));
        start.session.public_hex()
    };
    let answer = async |username: &str, key: &str, srp_a: &str| {
        let responses = map(&[("USERNAME", username), ("DEVICE_KEY", key), ("SRP_A", srp_a)]);
        pool.respond(&client_id, "DEVICE_SRP_AUTH", None, responses).await
    };
    let other = client::Session::with_private(&[8; 32]).unwrap().public_hex();
    let srp_a = first_factor().await;
    for (username, key, srp_a) in [
        ("ada", &device.key, &other),
        ("eve", &theirs.key, &srp_a),
        ("ada", &theirs.key, &srp_a),
        ("nobody", &device.key, &srp_a),
    ] {
        assert_eq!(refusal(answer(username, key, srp_a).await), INVALID_SESSION);
    }
    let response = answer("ada", &device.key, &srp_a).await.unwrap();
    let session = client::Session::with_private(&[7; 32]).unwrap();
    let challenge = Challenge { session, parameters: response.challenge_parameters };
    let again = Challenge {
        session: client::Session::with_private(&[7; 32]).unwrap(),
        parameters: answer("ada", &device.key, &srp_a).await.unwrap().challenge_parameters,
    };
    assert!(pool.answer_device(pool.device_claim(&challenge, &device)).await.is_ok());
    // once
    assert_eq!(refusal(pool.answer_device(pool.device_claim(&again, &device)).await), USED);
    // and not for long
    let srp_a = first_factor().await;
    pool.advance(180);
    assert_eq!(refusal(answer("ada", &device.key, &srp_a).await), INVALID_SESSION);
}

#[tokio::test]
async fn one_password_leads_to_tokens_once() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (device, _) = pool.device("ada").await;
    let session = pool.device_session("ada", &device).await;
    let (first, second) = (
        pool.answer_device_srp(&session, "ada", &device.key).await.unwrap(),
        pool.answer_device_srp(&session, "ada", &device.key).await.unwrap(),
    );
    assert!(pool.answer_device(pool.device_claim(&first, &device)).await.is_ok());
    for challenge in [&first, &second] {
        let claim = pool.device_claim(challenge, &device);
        assert_eq!(refusal(pool.answer_device(claim).await), USED);
    }
    let answer = pool.answer_device_srp(&session, "ada", &device.key).await;
    assert_eq!(refusal(answer.map(|_| ())), USED);
}

/// Something that happens between the steps of a sign-in.
#[derive(Clone, Copy, Debug)]
enum Between {
    Forgotten,
    NotRemembered,
    Disabled,
    PasswordChanged,
    TrackingOff,
    Expired,
}

#[tokio::test]
async fn what_happens_between_the_steps_counts() {
    use Between::*;
    let expired = "NotAuthorizedException: Invalid session for the user, session is expired.";
    let disabled = "NotAuthorizedException: User is disabled.";
    for (between, expected) in [
        (Forgotten, NO_DEVICE),
        (NotRemembered, INVALID_SESSION),
        (Disabled, disabled),
        (PasswordChanged, INVALID_SESSION),
        (TrackingOff, INVALID_SESSION),
        (Expired, expired),
    ] {
        for last_step in [false, true] {
            let pool = tracking(false).await;
            let sub = pool.user("ada", &[]).await;
            let (device, tokens) = pool.device("ada").await;
            let session = pool.device_session("ada", &device).await;
            let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
            pool.advance(1);
            match between {
                Forgotten => pool.forget(access(&tokens), &device.key).await.unwrap(),
                NotRemembered => {
                    let token = access(&tokens);
                    pool.set_remembered(token, &device.key, "not_remembered").await.unwrap();
                }
                Disabled => pool.disable(&sub).await,
                PasswordChanged => set_password(&pool.test, &pool.pool_id, "ada", NEW).await,
                TrackingOff => {
                    let request = types::UpdateUserPoolRequest {
                        user_pool_id: Some(pool.pool_id.clone()),
                        ..Default::default()
                    };
                    let updated =
                        crate::pools::update_user_pool(&pool.test, &signed_call(), request).await;
                    updated.unwrap();
                }
                Expired => pool.advance(180),
            }
            let answer = if last_step {
                pool.answer_device(pool.device_claim(&challenge, &device)).await.map(|_| ())
            } else {
                pool.answer_device_srp(&session, "ada", &device.key).await.map(|_| ())
            };
            assert_eq!(refusal(answer), expected, "{between:?} {last_step}");
        }
    }
}

#[tokio::test]
async fn a_device_that_is_not_remembered_is_not_asked() {
    let pool = tracking(true).await;
    pool.user("ada", &[]).await;
    let (device, tokens) = pool.device("ada").await;
    for remembered in [false, true, false] {
        if remembered {
            pool.set_remembered(access(&tokens), &device.key, "remembered").await.unwrap();
            assert!(pool.on_device("ada", &device).await.is_ok());
            pool.set_remembered(access(&tokens), &device.key, "not_remembered").await.unwrap();
        }
        let response = pool.sign_in_on("ada", PASSWORD, &device.key).await.unwrap();
        let tokens = response.authentication_result.unwrap();
        assert_eq!(tokens.new_device_metadata, None);
        assert!(!claims(access(&tokens)).contains_key("device_key"));
    }
}

#[tokio::test]
async fn a_device_that_is_not_there_looks_the_same_whoever_signs_in() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let hiding = pool.hiding().await;
    for (username, password) in [("ada", PASSWORD), ("ada", WRONG), ("nobody", PASSWORD)] {
        let parameters =
            [("USERNAME", username), ("PASSWORD", password), ("DEVICE_KEY", "us-east-1_0")];
        let answer = pool.initiate(&hiding, "USER_PASSWORD_AUTH", &parameters).await;
        assert_eq!(refusal(answer), NO_DEVICE);
        let challenge = pool.start_srp(&hiding, username, &[]).await.unwrap();
        let mut claim = pool.claim(&challenge, password);
        claim.insert("DEVICE_KEY".to_owned(), "us-east-1_0".to_owned());
        assert_eq!(refusal(pool.answer_srp(&hiding, claim).await), NO_DEVICE);
    }
}

/// `security.md` S36.
#[tokio::test]
async fn s36_the_refresh_token_of_a_device_is_good_for_that_device() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let unconfirmed = pool.tokens("ada").await;
    assert!(pool.refresh_on(refresh_token(&unconfirmed), None).await.is_ok());
    let (other, _) = pool.device("ada").await;
    let (device, first) = pool.device("ada").await;
    let second = pool.on_device("ada", &device).await.unwrap();
    for tokens in [&first, &second] {
        let token = refresh_token(tokens);
        for key in [None, Some("us-east-1_0"), Some(other.key.as_str())] {
            assert_eq!(refusal(pool.refresh_on(token, key).await), INVALID_REFRESH);
        }
        pool.store.take_trips();
        assert!(pool.refresh_on(token, Some(&device.key)).await.is_ok());
        assert_eq!(pool.store.take_trips(), trips(1, 0));
        let request = types::GetTokensFromRefreshTokenRequest {
            device_key: Some(device.key.clone()),
            ..get_tokens_request(&pool.client_id, token)
        };
        let world = &pool.world;
        let got = get_tokens_from_refresh_token(world, &unsigned_call(), request.clone()).await;
        assert!(got.is_ok());
        assert_eq!(refusal(pool.get_tokens(&pool.client_id, token).await), INVALID_REFRESH);
    }
    // a device that is forgotten gets no new tokens, and nobody else does by its token
    pool.forget(access(&second), &device.key).await.unwrap();
    for tokens in [&first, &second] {
        for key in [None, Some(device.key.as_str())] {
            assert_eq!(refusal(pool.refresh_on(refresh_token(tokens), key).await), INVALID_REFRESH);
        }
    }
}

#[tokio::test]
async fn a_device_that_is_forgotten_between_the_read_and_the_commit_does_not_sign_in() {
    let pool = tracking(false).await;
    pool.user("ada", &[]).await;
    let (device, tokens) = pool.device("ada").await;
    let session = pool.device_session("ada", &device).await;
    let challenge = pool.answer_device_srp(&session, "ada", &device.key).await.unwrap();
    let (token, key) = (access(&tokens).to_owned(), device.key.clone());
    pool.meanwhile(|other, _| async move {
        let request =
            types::ForgetDeviceRequest { access_token: Some(token), device_key: Some(key) };
        devices::forget_device(&other, &unsigned_call(), request).await.unwrap();
    });
    assert_eq!(
        refusal(pool.answer_device(pool.device_claim(&challenge, &device)).await),
        NO_DEVICE
    );
}
