//! USER_SRP_AUTH and PASSWORD_VERIFIER.

use super::*;

#[tokio::test]
async fn srp_signs_in_with_a_read_and_then_a_read_and_a_commit() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 0));
    let keys: Vec<_> = challenge.parameters.keys().map(String::as_str).collect();
    assert_eq!(keys, ["SALT", "SECRET_BLOCK", "SRP_B", "USERNAME", "USER_ID_FOR_SRP"]);
    assert_eq!((challenge.get("USERNAME"), challenge.get("USER_ID_FOR_SRP")), ("ada", "ada"));
    let response =
        pool.answer_srp(&pool.client_id, pool.claim(&challenge, PASSWORD)).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
    assert_eq!((response.challenge_name, response.session), (None, None));
    let tokens = response.authentication_result.unwrap();
    assert!(pool.get_user(access(&tokens)).await.is_ok());
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
}

#[tokio::test]
async fn a_client_with_a_random_secret_of_full_length_signs_in() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let session = client::Session::new(&*pool.entropy).unwrap();
    let public = session.public_hex().to_uppercase();
    let parameters = [("USERNAME", "ada"), ("SRP_A", public.as_str())];
    let response = pool.initiate(&pool.client_id, "USER_SRP_AUTH", &parameters).await.unwrap();
    let challenge = Challenge { session, parameters: response.challenge_parameters };
    assert!(pool.answer_srp(&pool.client_id, pool.claim(&challenge, PASSWORD)).await.is_ok());
}

#[tokio::test]
async fn the_salt_stays_until_the_password_changes() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let salt =
        async || pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap().get("SALT").to_owned();
    let before = salt().await;
    assert_eq!(before, salt().await);
    set_password(&pool.test, &pool.pool_id, "ada", NEW).await;
    assert_ne!(before, salt().await);
    assert!(pool.srp(&pool.client_id, "ada", NEW).await.is_ok());
    assert_eq!(refusal(pool.srp(&pool.client_id, "ada", PASSWORD).await), INCORRECT);
}

#[tokio::test]
async fn a_public_value_that_would_give_the_key_away_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let n =
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08\
             798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637\
             ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598\
             DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E\
             4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52\
             C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A855\
             21ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A\
             25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200CBBE117577A615D6C\
             770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF"
            .replace(' ', "");
    let above = n.replace("A93AD2CAFFFFFFFFFFFFFFFF", "A93AD2CBFFFFFFFFFFFFFFFF");
    let twice = "1FFFFFFFFFFFFFFFF921FB54442D18469898CC51701B839A252049C1114CF98E8";
    for (srp_a, text) in [
        ("", "Missing required parameter SRP_A"),
        ("0", "Invalid SRP_A"),
        ("000000", "Invalid SRP_A"),
        (&n, "Invalid SRP_A"),
        (&format!("00{n}"), "Invalid SRP_A"),
        (&above, "Invalid SRP_A"),
        (&format!("{n}0000"), "Invalid SRP_A"),
        (&format!("{twice}{}", "0".repeat(720)), "Invalid SRP_A"),
        ("xyz", "Invalid SRP_A"),
        ("-1", "Invalid SRP_A"),
        ("0x12", "Invalid SRP_A"),
        (" 12", "Invalid SRP_A"),
        ("\u{0661}", "Invalid SRP_A"),
        (&"a".repeat(10_000), "Invalid SRP_A"),
    ] {
        for username in ["ada", "nobody"] {
            let parameters = [("USERNAME", username), ("SRP_A", srp_a)];
            assert_eq!(
                refusal(pool.initiate(&pool.client_id, "USER_SRP_AUTH", &parameters).await),
                format!("InvalidParameterException: {text}"),
                "{srp_a}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for missing in
        ["USERNAME", "PASSWORD_CLAIM_SECRET_BLOCK", "PASSWORD_CLAIM_SIGNATURE", "TIMESTAMP"]
    {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let mut claim = pool.claim(&challenge, PASSWORD);
        for value in [None, Some(String::new())] {
            claim.remove(missing);
            claim.extend(value.map(|value| (missing.to_owned(), value)));
            assert_eq!(
                refusal(pool.answer_srp(&pool.client_id, claim.clone()).await),
                format!("InvalidParameterException: Missing required parameter {missing}")
            );
        }
    }
}

#[tokio::test]
async fn who_does_not_exist_is_disabled_or_not_confirmed_is_told_so() {
    let pool = Fixture::new().await;
    assert_eq!(
        refusal(pool.start_srp(&pool.client_id, "nobody", &[]).await),
        "UserNotFoundException: User does not exist."
    );
    pool.unconfirmed_user("eve").await;
    assert_eq!(
        refusal(pool.srp(&pool.client_id, "eve", WRONG).await),
        "UserNotConfirmedException: User is not confirmed."
    );
    let sub = pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    pool.disable(&sub).await;
    let disabled = "NotAuthorizedException: User is disabled.";
    assert_eq!(refusal(pool.start_srp(&pool.client_id, "ada", &[]).await), disabled);
    let claim = pool.claim(&challenge, PASSWORD);
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), disabled);
}

#[tokio::test]
async fn a_block_is_good_for_one_answer() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for password in [PASSWORD, WRONG] {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let first = pool.answer_srp(&pool.client_id, pool.claim(&challenge, password)).await;
        assert_eq!(first.is_ok(), password == PASSWORD);
        let again = pool.answer_srp(&pool.client_id, pool.claim(&challenge, PASSWORD)).await;
        assert_eq!(refusal(again), INCORRECT);
    }
}

#[tokio::test]
async fn of_two_answers_at_once_one_counts() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let claim = pool.claim(&challenge, PASSWORD);
    let answers = (0..10).map(|_| pool.answer_srp(&pool.client_id, claim.clone()));
    let results = futures::future::join_all(answers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(pool.sessions(&sub).await.len(), 1);
}

#[tokio::test]
async fn a_block_that_is_altered_or_another_s_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let other_client = pool.client(types::CreateUserPoolClientRequest::default()).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let claim = pool.claim(&challenge, PASSWORD);

    let block = encoding::base64_decode(challenge.get("SECRET_BLOCK")).unwrap();
    for position in [0, 1, 5, 40, block.len() / 2, block.len() - 1] {
        let mut altered = block.clone();
        altered[position] ^= 1;
        let mut claim = claim.clone();
        claim.insert("PASSWORD_CLAIM_SECRET_BLOCK".to_owned(), encoding::base64(&altered));
        assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
    }
    for garbage in ["AAAA", "!", "\u{e9}", &encoding::base64(&block[..60])] {
        let mut claim = claim.clone();
        claim.insert("PASSWORD_CLAIM_SECRET_BLOCK".to_owned(), garbage.to_owned());
        assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
    }
    for garbage in ["AAAA", "!", &encoding::base64([0; 32])] {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let mut claim = pool.claim(&challenge, PASSWORD);
        claim.insert("PASSWORD_CLAIM_SIGNATURE".to_owned(), garbage.to_owned());
        assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
    }
    pool.advance(3_600);

    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let claim = pool.claim(&challenge, PASSWORD);
    assert_eq!(refusal(pool.answer_srp(&other_client, claim.clone()).await), INCORRECT);
    let mut for_eve = claim.clone();
    for_eve.insert("USERNAME".to_owned(), "eve".to_owned());
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, for_eve).await), INCORRECT);

    // a session of another challenge is no block
    pool.temporary_user("new", &[]).await;
    let session = pool.new_password_session(&pool.client_id, "new").await;
    let sealed = encoding::base64url_decode(&session).unwrap();
    let mut claim_of_session = claim.clone();
    claim_of_session.insert("PASSWORD_CLAIM_SECRET_BLOCK".to_owned(), encoding::base64(&sealed));
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim_of_session).await), INCORRECT);

    assert!(pool.answer_srp(&pool.client_id, claim).await.is_ok());
}

#[tokio::test]
async fn a_block_of_another_pool_is_refused() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let claim = pool.claim(&challenge, PASSWORD);
    let other_pool = new_pool_with(&pool.test, types::CreateUserPoolRequest::default()).await;
    let request = types::CreateUserPoolClientRequest::default();
    let client = new_client_with(&pool.test, &other_pool, request).await.client_id.unwrap();
    assert_eq!(refusal(pool.answer_srp(&client, claim).await), INCORRECT);
}

#[tokio::test]
async fn a_block_lasts_as_long_as_the_client_says() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let patient = pool
        .client(types::CreateUserPoolClientRequest {
            auth_session_validity: Some(15),
            ..Default::default()
        })
        .await;
    for (client, minutes) in [(pool.client_id.clone(), 3), (patient, 15)] {
        let challenge = pool.start_srp(&client, "ada", &[]).await.unwrap();
        let later = pool.start_srp(&client, "ada", &[]).await.unwrap();
        pool.advance(minutes * 60 - 1);
        assert!(pool.answer_srp(&client, pool.claim(&challenge, PASSWORD)).await.is_ok());
        pool.advance(1);
        let result = pool.answer_srp(&client, pool.claim(&later, PASSWORD)).await;
        assert_eq!(refusal(result), INCORRECT);
    }
}

#[tokio::test]
async fn a_timestamp_is_of_now_and_in_the_one_form() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let now_s = pool.clock.now_ms() / 1_000;
    let at = |seconds: i64| srp_math::format_timestamp((now_s + seconds) as u64);
    for timestamp in [at(-601), at(601), at(-301), at(301)] {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let claim = pool.claim_at(&challenge, PASSWORD, &timestamp);
        assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
    }
    for timestamp in ["Thu Jan 01 00:00:00 UTC 2026", "Fri Jan 1 00:00:00 UTC 2026", "now", "\0"] {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let claim = pool.claim_at(&challenge, PASSWORD, timestamp);
        assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim).await), INCORRECT);
    }
    // none of them was a guess at the password
    for timestamp in [at(-299), at(299), "Thu Jan 1 00:00:00 UTC 2026".to_owned()] {
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        let claim = pool.claim_at(&challenge, PASSWORD, &timestamp);
        assert!(pool.answer_srp(&pool.client_id, claim).await.is_ok());
    }
}

#[tokio::test]
async fn a_password_that_changes_between_the_steps_does_not_sign_in() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    set_password(&pool.test, &pool.pool_id, "ada", NEW).await;
    for password in [PASSWORD, NEW] {
        let result = pool.answer_srp(&pool.client_id, pool.claim(&challenge, password)).await;
        assert_eq!(refusal(result), INCORRECT);
    }
}

#[tokio::test]
async fn from_the_second_step_on_the_secret_is_proved_for_the_name_in_the_challenge() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user("ada", &[("email", "a@example.com"), ("email_verified", "true")]).await;
    let (client, secret) = pool.confidential(false).await;
    let hash = |name: &str| secret_hash(&secret, name, &client);
    let wrong = format!("NotAuthorizedException: Unable to verify secret hash for client {client}");
    assert_eq!(
        refusal(pool.start_srp(&client, "a@example.com", &[("SECRET_HASH", &hash("ada"))]).await),
        wrong
    );
    let first = hash("a@example.com");
    let challenge =
        pool.start_srp(&client, "a@example.com", &[("SECRET_HASH", &first)]).await.unwrap();
    assert_eq!((challenge.get("USERNAME"), challenge.get("USER_ID_FOR_SRP")), ("ada", "ada"));
    let mut claim = pool.claim(&challenge, PASSWORD);
    assert_eq!(
        refusal(pool.answer_srp(&client, claim.clone()).await),
        format!(
            "NotAuthorizedException: Client {client} is configured with secret but SECRET_HASH was \
             not received"
        )
    );
    claim.insert("SECRET_HASH".to_owned(), first);
    assert_eq!(refusal(pool.answer_srp(&client, claim.clone()).await), wrong);
    claim.insert("SECRET_HASH".to_owned(), hash("ada"));
    assert!(pool.answer_srp(&client, claim).await.is_ok());
}

#[tokio::test]
async fn a_temporary_password_leads_to_the_next_challenge() {
    let pool = Fixture::new().await;
    pool.temporary_user("ada", &[]).await;
    let response = pool.srp(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert!(response.authentication_result.is_none());
    assert_eq!(response.challenge_name.as_deref(), Some("NEW_PASSWORD_REQUIRED"));
    let session = response.session.unwrap();
    let answer = [("USERNAME", "ada"), ("NEW_PASSWORD", NEW)];
    assert!(pool.answer_new_password(&session, &answer).await.is_ok());
    assert!(pool.srp(&pool.client_id, "ada", NEW).await.is_ok());
}

#[tokio::test]
async fn a_user_called_by_an_address_proves_the_password_under_the_sub() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        username_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    let sub = pool.user("ada@example.com", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada@example.com", &[]).await.unwrap();
    assert_eq!((challenge.get("USERNAME"), challenge.get("USER_ID_FOR_SRP")), (&*sub, &*sub));
    let claim = pool.claim(&challenge, PASSWORD);
    let response = pool.answer_srp(&pool.client_id, claim).await.unwrap();
    let tokens = response.authentication_result.unwrap();
    assert_eq!(claims(id(&tokens))["cognito:username"], sub.as_str());
}
