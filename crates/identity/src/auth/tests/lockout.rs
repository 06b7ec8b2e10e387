//! Lock-out after failed sign-ins: S08 of the security checklist, on the group's clock.

use super::*;

#[tokio::test]
async fn locks_double_on_the_group_s_clock_and_attempts_during_a_lock_do_not_count() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for _ in 0..5 {
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    }
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        // the right password is refused too, and nothing is written
        pool.store.take_trips();
        for password in [PASSWORD, WRONG, PASSWORD] {
            assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", password).await), LOCKED);
        }
        assert_eq!(pool.store.take_trips(), trips(3, 0));
        pool.clock.advance(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
        pool.clock.advance(Duration::from_millis(1));
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    }
    pool.advance(900);
    assert!(pool.sign_in(&pool.client_id, "ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_success_forgets_the_failures() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
        }
        assert!(pool.sign_in(&pool.client_id, "ada", PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn fifteen_minutes_without_an_attempt_forget_the_failures() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
        }
        pool.advance(15 * 60);
    }
}

#[tokio::test]
async fn both_flows_and_all_names_of_a_user_count_together() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    pool.user("ada", &[("email", "a@example.com"), ("email_verified", "true")]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    for name in ["ada", "a@example.com"] {
        assert_eq!(refusal(pool.sign_in(&pool.client_id, name, WRONG).await), INCORRECT);
        assert_eq!(refusal(pool.srp(&pool.client_id, name, WRONG).await), INCORRECT);
    }
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "a@example.com", PASSWORD).await), LOCKED);
    let claim = pool.claim(&challenge, PASSWORD);
    assert_eq!(refusal(pool.answer_srp(&pool.client_id, claim.clone()).await), LOCKED);
    // what was refused by the lock alone is not used up
    pool.advance(1);
    assert!(pool.answer_srp(&pool.client_id, claim).await.is_ok());
}

#[tokio::test]
async fn a_hundred_guesses_at_once_get_no_more_verdicts_than_one_after_another() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let guesses = (0..100).map(|number| {
        let password = if number % 20 == 19 { PASSWORD } else { WRONG };
        pool.sign_in(&pool.client_id, "ada", password)
    });
    let mut verdicts = 0;
    let mut successes = 0;
    for result in futures::future::join_all(guesses).await {
        if result.is_ok() {
            successes += 1;
            continue;
        }
        match refusal(result).as_str() {
            INCORRECT => verdicts += 1,
            LOCKED | "TooManyRequestsException: Too many requests" => {}
            other => panic!("{other}"),
        }
    }
    // five failures lock; each success forgets those before it
    assert!(verdicts <= 5 * (successes + 1), "{verdicts} failures, {successes} successes");
    assert!(verdicts >= 1);
}

#[tokio::test]
async fn wrong_guesses_at_once_are_all_counted() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let guesses = (0..100).map(|_| pool.sign_in(&pool.client_id, "ada", WRONG));
    let results = futures::future::join_all(guesses).await;
    let verdicts = results.into_iter().filter(
        |result| matches!(result, Err(error) if error.message == "Incorrect username or password."),
    );
    assert_eq!(verdicts.count(), 5);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
}

#[tokio::test]
async fn a_locked_user_does_not_lock_others_and_keeps_the_tokens() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.user("eve", &[]).await;
    let tokens = pool.tokens("ada").await;
    for _ in 0..5 {
        let _ = pool.sign_in(&pool.client_id, "ada", WRONG).await;
    }
    assert!(pool.sign_in(&pool.client_id, "eve", PASSWORD).await.is_ok());
    assert!(pool.refresh(&pool.client_id, refresh_token(&tokens)).await.is_ok());
    assert!(pool.get_user(access(&tokens)).await.is_ok());
}

#[tokio::test]
async fn no_verdict_leaves_when_the_commit_that_counts_it_fails() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for password in [WRONG, PASSWORD] {
        pool.store.fail_commit(1);
        assert!(
            refusal(pool.sign_in(&pool.client_id, "ada", password).await)
                .starts_with("ServiceUnavailable: ")
        );
        let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
        pool.store.fail_commit(1);
        assert!(
            refusal(pool.answer_srp(&pool.client_id, pool.claim(&challenge, password)).await)
                .starts_with("ServiceUnavailable: ")
        );
    }
}

#[tokio::test]
async fn failures_through_all_gateways_count_together() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for _ in 0..2 {
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    }
    let request = types::InitiateAuthRequest {
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: map(&[("USERNAME", "ada"), ("PASSWORD", WRONG)]),
        client_id: Some(pool.client_id.clone()),
        ..Default::default()
    };
    pool.meanwhile(|other, _| async move {
        for _ in 0..2 {
            let refused = initiate_auth(&other, &unsigned_call(), request.clone()).await;
            assert_eq!(refusal(refused), INCORRECT);
        }
    });
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
}
