//! Who does not exist looks like who does, to a client with PreventUserExistenceErrors: S01 and S03 of
//! the security checklist.

use super::*;
use conclave_crypto::ids;

/// Pools in which users are called in different ways, with the names of a user who exists (as one signs
/// in) and of nobody.
fn pools() -> BoxFuture<'static, Vec<(Fixture, &'static str, &'static str)>> {
    Box::pin(make_pools())
}

async fn make_pools() -> Vec<(Fixture, &'static str, &'static str)> {
    let plain = Fixture::new().await;
    plain.user("ada", &[]).await;

    let folding = Fixture::with(types::CreateUserPoolRequest {
        username_configuration: Some(types::UsernameConfigurationType {
            case_sensitive: Some(false),
        }),
        ..Default::default()
    })
    .await;
    folding.user("ada", &[]).await;

    let alias = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    alias
        .user(
            "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e",
            &[("email", "ada@example.com"), ("email_verified", "true")],
        )
        .await;

    let email = Fixture::with(types::CreateUserPoolRequest {
        username_attributes: strings(&["email"]),
        auto_verified_attributes: strings(&["email"]),
        username_configuration: Some(types::UsernameConfigurationType {
            case_sensitive: Some(false),
        }),
        ..Default::default()
    })
    .await;
    email.user("ada@example.com", &[]).await;

    vec![
        (plain, "ada", "eve"),
        (folding, "ADA", "EVE"),
        (alias, "ada@example.com", "eve@example.com"),
        (email, "Ada@example.com", "Eve@example.com"),
    ]
}

/// What a name that the server shows looks like.
fn form(name: &str, asked: &str) -> &'static str {
    if ids::uuid_to_bytes(name).is_some() {
        "uuid"
    } else if name == asked {
        "asked"
    } else if name == asked.to_lowercase() {
        "lower case"
    } else {
        "other"
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answers_for_ever() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        let mut answers = Vec::new();
        for name in [real, nobody] {
            let mut log = Vec::new();
            for seconds in [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 900, 3_600, 0] {
                pool.advance(seconds);
                pool.store.take_trips();
                let refusal = refusal(pool.sign_in(&client, name, WRONG).await);
                log.push((refusal, pool.store.take_trips()));
            }
            answers.push(log);
        }
        assert_eq!(answers[0], answers[1], "{real}");
        assert!(answers[0].iter().any(|(text, _)| text == LOCKED));
    }
}

#[tokio::test]
async fn srp_with_a_wrong_password_and_an_unknown_user_get_the_same_answers_for_ever() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        let mut answers = Vec::new();
        for name in [real, nobody] {
            let mut log = Vec::new();
            for seconds in [0, 0, 0, 0, 0, 0, 1, 1, 900] {
                pool.advance(seconds);
                pool.store.take_trips();
                let challenge = pool.start_srp(&client, name, &[]).await.unwrap();
                assert_eq!(pool.store.take_trips(), trips(1, 0));
                let result = pool.answer_srp(&client, pool.claim(&challenge, WRONG)).await;
                log.push((refusal(result), pool.store.take_trips()));
            }
            answers.push(log);
        }
        assert_eq!(answers[0], answers[1], "{real}");
        assert_eq!(answers[0][0], (INCORRECT.to_owned(), trips(1, 1)));
        assert!(answers[0].iter().any(|(text, _)| text == LOCKED));
    }
}

#[tokio::test]
async fn the_challenge_of_an_unknown_user_looks_like_a_real_one() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        let mut shown = Vec::new();
        for name in [real, nobody] {
            let challenge = pool.start_srp(&client, name, &[]).await.unwrap();
            let again = pool.start_srp(&client, name, &[]).await.unwrap();
            let other_client = pool.start_srp(&pool.hiding().await, name, &[]).await.unwrap();
            for same in ["SALT", "USERNAME", "USER_ID_FOR_SRP"] {
                assert_eq!(challenge.get(same), again.get(same), "{same}");
                assert_eq!(challenge.get(same), other_client.get(same), "{same}");
            }
            for fresh in ["SRP_B", "SECRET_BLOCK"] {
                assert_ne!(challenge.get(fresh), again.get(fresh), "{fresh}");
            }
            shown.push((
                challenge.parameters.keys().cloned().collect::<Vec<_>>(),
                challenge.get("SALT").len(),
                challenge.get("SECRET_BLOCK").len(),
                form(challenge.get("USERNAME"), name),
                form(challenge.get("USER_ID_FOR_SRP"), name),
            ));
        }
        assert_eq!(shown[0], shown[1], "{real}");
    }
}

#[tokio::test]
async fn unknown_users_differ_from_each_other() {
    let pool = Fixture::new().await;
    let client = pool.hiding().await;
    let salt =
        async |name: &str| pool.start_srp(&client, name, &[]).await.unwrap().get("SALT").to_owned();
    assert_ne!(salt("nobody").await, salt("nobody2").await);
    assert_ne!(salt("nobody").await, salt("Nobody").await);
}

#[tokio::test]
async fn names_in_another_case_are_others_where_the_pool_says_so_also_to_the_lock() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.user("ADA", &[]).await;
    let client = pool.hiding().await;
    for (locked, other) in [("ADA", "ada"), ("NOBODY", "nobody")] {
        for _ in 0..5 {
            assert_eq!(refusal(pool.sign_in(&client, locked, WRONG).await), INCORRECT);
        }
        assert_eq!(refusal(pool.sign_in(&client, locked, WRONG).await), LOCKED);
        assert_eq!(refusal(pool.sign_in(&client, other, WRONG).await), INCORRECT, "{other}");
    }
}

#[tokio::test]
async fn both_flows_count_together_for_unknown_users_too() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        for name in [real, nobody] {
            for _ in 0..3 {
                assert_eq!(refusal(pool.srp(&client, name, WRONG).await), INCORRECT, "{name}");
            }
            for _ in 0..2 {
                assert_eq!(refusal(pool.sign_in(&client, name, WRONG).await), INCORRECT, "{name}");
            }
            assert_eq!(refusal(pool.sign_in(&client, name, WRONG).await), LOCKED, "{name}");
            assert_eq!(refusal(pool.srp(&client, name, WRONG).await), LOCKED, "{name}");
        }
    }
}

#[tokio::test]
async fn an_answer_under_the_name_that_was_asked_for_counts_like_one_under_the_name_that_was_shown()
{
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        for name in [real, nobody] {
            for _ in 0..5 {
                let challenge = pool.start_srp(&client, name, &[]).await.unwrap();
                let mut claim = pool.claim(&challenge, WRONG);
                claim.insert("USERNAME".to_owned(), name.to_owned());
                pool.store.take_trips();
                assert_eq!(refusal(pool.answer_srp(&client, claim).await), INCORRECT);
                assert_eq!(pool.store.take_trips(), trips(1, 1), "{name}");
            }
            assert_eq!(refusal(pool.srp(&client, name, WRONG).await), LOCKED, "{name}");
        }
    }
}

#[tokio::test]
async fn an_answer_under_another_name_is_refused_the_same_way() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        let mut answers = Vec::new();
        for name in [real, nobody] {
            let challenge = pool.start_srp(&client, name, &[]).await.unwrap();
            let mut claim = pool.claim(&challenge, WRONG);
            claim.insert("USERNAME".to_owned(), "mallory".to_owned());
            pool.store.take_trips();
            let refusal = refusal(pool.answer_srp(&client, claim).await);
            answers.push((refusal, pool.store.take_trips()));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
async fn a_secret_is_proved_for_the_same_name_whether_the_user_exists_or_not() {
    for (pool, real, nobody) in pools().await {
        let (client, secret) = pool.confidential(true).await;
        for hash_over_shown in [true, false] {
            let mut answers = Vec::new();
            for name in [real, nobody] {
                let hash = secret_hash(&secret, name, &client);
                let challenge =
                    pool.start_srp(&client, name, &[("SECRET_HASH", &hash)]).await.unwrap();
                let mut claim = pool.claim(&challenge, WRONG);
                let over = if hash_over_shown { challenge.get("USERNAME") } else { name };
                claim.insert("SECRET_HASH".to_owned(), secret_hash(&secret, over, &client));
                for username in [challenge.get("USERNAME"), name] {
                    claim.insert("USERNAME".to_owned(), username.to_owned());
                    answers.push(refusal(pool.answer_srp(&client, claim.clone()).await));
                }
            }
            assert_eq!(answers[..2], answers[2..], "{real}, {hash_over_shown}");
            if hash_over_shown {
                assert_eq!(answers[0], INCORRECT);
            }
        }
    }
}

#[tokio::test]
async fn a_gateway_that_knows_nothing_yet_answers_the_same() {
    for (pool, real, nobody) in pools().await {
        let client = pool.hiding().await;
        let mut seen = Vec::new();
        for name in [real, nobody] {
            let challenge = pool.start_srp(&client, name, &[]).await.unwrap();
            let claim = pool.claim(&challenge, WRONG);
            pool.world.configs.remove(&pool.pool_id);
            pool.store.take_trips();
            let refusal = refusal(pool.answer_srp(&client, claim).await);
            seen.push((refusal, pool.store.take_trips()));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].0, INCORRECT);
    }
}
