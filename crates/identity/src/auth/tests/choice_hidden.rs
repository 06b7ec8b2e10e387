//! USER_AUTH where the client hides who exists: whoever is asked about, the answers are the same.

use super::choice::choosing;
use super::mfa::{EMAIL, WRONG_SENT_CODE};
use super::*;

/// Pools in which names look different, each with the name of a user who can sign in by a code, of one who
/// cannot, and of nobody.
fn pools() -> BoxFuture<'static, Vec<(Fixture, [&'static str; 3])>> {
    Box::pin(make_pools())
}

async fn make_pools() -> Vec<(Fixture, [&'static str; 3])> {
    let (plain, _) = choosing(types::CreateUserPoolRequest::default()).await;
    plain.user("ada", &EMAIL).await;
    plain.user("eve", &[]).await;
    let (email, _) = choosing(types::CreateUserPoolRequest {
        username_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    email.user("ada@example.com", &[("email_verified", "true")]).await;
    email.user("eve@example.com", &[]).await;
    vec![
        (plain, ["ada", "eve", "nobody"]),
        (email, ["ada@example.com", "eve@example.com", "nobody@example.com"]),
    ]
}

/// What an answer looks like from outside.
fn form(answer: types::InitiateAuthResponse, name: &str) -> (String, Vec<String>, usize, String) {
    let shown = answer.challenge_parameters.get("USERNAME").map_or("", String::as_str);
    let kind = if shown == name { "asked" } else { "other" };
    (
        format!("{:?} {:?} {kind}", answer.challenge_name, answer.available_challenges),
        answer.challenge_parameters.keys().cloned().collect(),
        answer.session.map_or(0, |session| session.len()),
        answer
            .challenge_parameters
            .get("CODE_DELIVERY_DELIVERY_MEDIUM")
            .cloned()
            .unwrap_or_default(),
    )
}

/// S03: what is offered does not say who exists, nor in how many round trips.
#[tokio::test]
async fn s03_everybody_is_offered_the_same() {
    for (pool, names) in pools().await {
        let client = pool.choice_client(true).await;
        let public = client::Session::with_private(&[7; 32]).unwrap().public_hex();
        for more in [
            &[][..],
            &[("PREFERRED_CHALLENGE", "EMAIL_OTP")],
            &[("PREFERRED_CHALLENGE", "SMS_OTP")],
            &[("PREFERRED_CHALLENGE", "PASSWORD")],
            &[("PREFERRED_CHALLENGE", "PASSWORD_SRP")],
            &[("PREFERRED_CHALLENGE", "PASSWORD_SRP"), ("SRP_A", &*public)],
            &[("PREFERRED_CHALLENGE", "WEB_AUTHN")],
        ] {
            let mut seen = Vec::new();
            for name in names {
                pool.store.take_trips();
                let answer = pool.choose(&client, name, more).await.unwrap();
                assert!(answer.session.as_ref().is_none_or(|session| session.len() <= 2_048));
                seen.push((form(answer, name), pool.store.take_trips()));
            }
            assert_eq!(seen[0], seen[1], "{more:?}");
            assert_eq!(seen[0], seen[2], "{more:?}");
        }
    }
}

/// S01: wrong codes and wrong passwords, for ever.
#[tokio::test]
async fn s01_wrong_answers_are_the_same_for_everybody_for_ever() {
    for (pool, names) in pools().await {
        let client = pool.choice_client(true).await;
        let mut seen = Vec::new();
        for name in names {
            let mut log = Vec::new();
            for seconds in [0, 0, 0, 1, 1, 2, 900] {
                pool.advance(seconds);
                for challenge in ["EMAIL_OTP", "PASSWORD"] {
                    let preferred = [("PREFERRED_CHALLENGE", challenge)];
                    let begun = pool.choose(&client, name, &preferred).await.unwrap();
                    let session = begun.session.unwrap();
                    let code = pool.outbox.take().pop().and_then(|message| message.code);
                    let wrong = if code.as_deref() == Some("000000") { "000001" } else { "000000" };
                    let answer = [("EMAIL_OTP_CODE", wrong), ("PASSWORD", WRONG)];
                    pool.store.take_trips();
                    let step = (challenge, &*session);
                    let refused = refusal(pool.reply(&client, name, step, &answer).await);
                    log.push((refused, pool.store.take_trips()));
                }
            }
            seen.push(log);
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
        assert!(seen[0].iter().any(|(text, _)| text == LOCKED));
        assert_eq!(seen[0][0].0, WRONG_SENT_CODE);
    }
}

/// Only the user who can sign in by a code gets one, later than the answer.
#[tokio::test]
async fn a_code_goes_to_whom_it_is_open_to_and_to_nobody_else() {
    for (pool, names) in pools().await {
        let client = pool.choice_client(true).await;
        for (name, expected) in names.into_iter().zip([1, 0, 0]) {
            let preferred = [("PREFERRED_CHALLENGE", "EMAIL_OTP")];
            let begun = pool.choose(&client, name, &preferred).await.unwrap();
            let messages = pool.outbox.take();
            assert_eq!(messages.len(), expected, "{name}");
            let Some(code) = messages.into_iter().find_map(|message| message.code) else {
                continue;
            };
            let (session, answer) = (begun.session.unwrap(), [("EMAIL_OTP_CODE", &*code)]);
            let done = pool.reply(&client, name, ("EMAIL_OTP", &session), &answer).await;
            assert!(done.unwrap().authentication_result.is_some());
        }
        // S04: a mail server that is down is down for everybody
        pool.outbox.fail();
        let preferred = [("PREFERRED_CHALLENGE", "EMAIL_OTP")];
        let mut seen = Vec::new();
        for name in names {
            seen.push(refusal(pool.choose(&client, name, &preferred).await));
        }
        assert!(seen.iter().all(|text| text == &seen[0] && text.starts_with("ServiceUnavailable")));
    }
}

/// S12: how often codes are sent is limited for everybody alike.
#[tokio::test]
async fn s12_codes_are_limited_for_who_exists_and_who_does_not() {
    for (pool, names) in pools().await {
        let client = pool.choice_client(true).await;
        for name in names {
            let preferred = [("PREFERRED_CHALLENGE", "EMAIL_OTP")];
            for _ in 0..30 {
                pool.choose(&client, name, &preferred).await.unwrap();
            }
            assert_eq!(
                refusal(pool.choose(&client, name, &preferred).await),
                "TooManyRequestsException: Too many requests",
                "{name}"
            );
        }
    }
}
