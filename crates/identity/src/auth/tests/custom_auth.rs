//! CUSTOM_AUTH: the functions of the test ask one question, whose answer is [`ANSWER`].

use conclave_outbound::InvokeError;
use serde_json::json;

use super::*;
use crate::auth::custom_auth::ROUNDS_MAX;

pub(super) const ANSWER: &str = "42";
const ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:";
const INVALID: &str = "NotAuthorizedException: Invalid session for the user.";

/// The three functions.
pub(super) fn functions() -> types::LambdaConfigType {
    let arn = |name: &str| Some(format!("{ARN}{name}"));
    types::LambdaConfigType {
        define_auth_challenge: arn("define"),
        create_auth_challenge: arn("create"),
        verify_auth_challenge_response: arn("verify"),
        ..Default::default()
    }
}

/// One question after the password, where there is one; three wrong answers are too many.
pub(super) fn one_question(event: &Value) -> Result<Value, InvokeError> {
    let request = &event["request"];
    let source = event["triggerSource"].as_str().unwrap();
    Ok(match source.split('_').next().unwrap() {
        "DefineAuthChallenge" => {
            let session = request["session"].as_array().unwrap();
            let last = session.last().map(|result| {
                (result["challengeName"].as_str().unwrap(), &result["challengeResult"] == true)
            });
            let wrong = session.iter().filter(|result| result["challengeResult"] == false).count();
            match last {
                Some(("SRP_A", _)) => json!({"challengeName": "PASSWORD_VERIFIER"}),
                Some(("CUSTOM_CHALLENGE", true)) => json!({"issueTokens": true}),
                _ if wrong >= 3 => json!({"failAuthentication": true}),
                _ => json!({"challengeName": "CUSTOM_CHALLENGE"}),
            }
        }
        "CreateAuthChallenge" => json!({
            "publicChallengeParameters": {"question": "what is it?"},
            "privateChallengeParameters": {"answer": ANSWER},
            "challengeMetadata": "QUESTION",
        }),
        "VerifyAuthChallengeResponse" => {
            let expected = &request["privateChallengeParameters"]["answer"];
            json!({"answerCorrect": &request["challengeAnswer"] == expected})
        }
        _ => event["response"].clone(),
    })
}

struct Asked {
    pool: Fixture,
    client: String,
}

async fn asked(hides: bool) -> Asked {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        lambda_config: Some(functions()),
        ..Default::default()
    })
    .await;
    let client = pool
        .client(types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_CUSTOM_AUTH", "ALLOW_USER_PASSWORD_AUTH"]),
            prevent_user_existence_errors: hides.then(|| "ENABLED".to_owned()),
            ..Default::default()
        })
        .await;
    pool.functions.answer(one_question);
    Asked { pool, client }
}

impl Asked {
    async fn begin(&self, name: &str) -> Result<types::InitiateAuthResponse, ApiError> {
        self.pool.initiate(&self.client, "CUSTOM_AUTH", &[("USERNAME", name)]).await
    }

    async fn session(&self, name: &str) -> String {
        self.begin(name).await.expect("is asked").session.expect("has a session")
    }

    async fn answer(
        &self,
        name: &str,
        session: &str,
        answer: &str,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let responses = map(&[("USERNAME", name), ("ANSWER", answer)]);
        self.pool.respond(&self.client, "CUSTOM_CHALLENGE", Some(session), responses).await
    }
}

#[tokio::test]
async fn a_right_answer_signs_in_in_a_read_and_a_commit() {
    let Asked { pool, client } = asked(false).await;
    let sub = pool.user("ada", &[("email", "ada@example.com")]).await;
    pool.functions.take();
    let asked = Asked { pool, client };
    let begun = asked.begin("ada").await.unwrap();
    assert_eq!(asked.pool.store.take_trips(), trips(1, 0));
    assert_eq!(begun.challenge_name.as_deref(), Some("CUSTOM_CHALLENGE"));
    let shown = map(&[("USERNAME", "ada"), ("question", "what is it?")]);
    assert_eq!(begun.challenge_parameters, shown);
    let session = begun.session.unwrap();
    let told = asked.answer("ada", &session, ANSWER).await.unwrap();
    assert_eq!(asked.pool.store.take_trips(), trips(1, 1));
    let tokens = told.authentication_result.expect("tokens");
    assert_eq!(claims(access(&tokens))["sub"], sub.as_str());

    let events = asked.pool.functions.take();
    let event = json!({
        "version": "1", "region": "us-east-1", "userPoolId": asked.pool.pool_id, "userName": "ada",
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": asked.client},
        "triggerSource": "DefineAuthChallenge_Authentication",
        "request": {
            "userAttributes": {
                "sub": sub, "cognito:user_status": "CONFIRMED", "email": "ada@example.com",
            },
            "session": [],
        },
        "response": {"challengeName": null, "issueTokens": null, "failAuthentication": null},
    });
    assert_eq!(events[0], event);
    assert_eq!(events[1]["request"]["challengeName"], "CUSTOM_CHALLENGE");
    assert_eq!(events[2]["request"]["privateChallengeParameters"], json!({"answer": ANSWER}));
    assert_eq!(events[2]["request"]["challengeAnswer"], ANSWER);
    let session = json!([{
        "challengeName": "CUSTOM_CHALLENGE", "challengeResult": true, "challengeMetadata": "QUESTION",
    }]);
    assert_eq!(events[3]["request"]["session"], session);
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_session_is_good_once_for_its_user_client_and_challenge() {
    let asked = asked(false).await;
    for name in ["ada", "eve"] {
        asked.pool.user(name, &[]).await;
    }
    let session = asked.session("ada").await;
    assert_eq!(refusal(asked.answer("eve", &session, ANSWER).await), INVALID);
    let request = types::CreateUserPoolClientRequest {
        explicit_auth_flows: strings(&["ALLOW_CUSTOM_AUTH"]),
        ..Default::default()
    };
    let other = asked.pool.client(request).await;
    let responses = map(&[("USERNAME", "ada"), ("ANSWER", ANSWER)]);
    let taken = asked.pool.respond(&other, "CUSTOM_CHALLENGE", Some(&session), responses).await;
    assert_eq!(refusal(taken), INVALID);
    let told = asked.answer("ada", &session, "41").await.unwrap();
    assert_eq!(
        refusal(asked.answer("ada", &session, ANSWER).await),
        "NotAuthorizedException: Invalid session for the user, session can only be used once."
    );
    // the next round goes on, and ends with the right answer
    let session = told.session.unwrap();
    asked.pool.advance(180);
    assert_eq!(
        refusal(asked.answer("ada", &session, ANSWER).await),
        "NotAuthorizedException: Invalid session for the user, session is expired."
    );
    let session = asked.session("ada").await;
    let mut altered = session.clone().into_bytes();
    let last = altered.len() - 2;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    assert_eq!(refusal(asked.answer("ada", &altered, ANSWER).await), INVALID);
    assert!(asked.answer("ada", &session, ANSWER).await.unwrap().authentication_result.is_some());
}

#[tokio::test]
async fn the_functions_end_a_sign_in_and_wrong_answers_lock() {
    let asked = asked(false).await;
    asked.pool.user("ada", &[]).await;
    let mut session = asked.session("ada").await;
    for _ in 0..2 {
        session = asked.answer("ada", &session, "41").await.unwrap().session.unwrap();
    }
    assert_eq!(refusal(asked.answer("ada", &session, "41").await), INCORRECT);
    // the answers of all sessions add up, with wrong passwords too
    let session = asked.session("ada").await;
    let session = asked.answer("ada", &session, "41").await.unwrap().session.unwrap();
    assert_eq!(refusal(asked.answer("ada", &session, "41").await), INCORRECT);
    let session = asked.session("ada").await;
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), LOCKED);
    assert_eq!(refusal(asked.pool.sign_in(&asked.client, "ada", PASSWORD).await), LOCKED);
}

/// Whoever can make a function fail must not guess for nothing.
#[tokio::test]
async fn an_answer_counts_also_where_a_function_fails_after_it() {
    let asked = asked(false).await;
    asked.pool.user("ada", &[]).await;
    for trigger in ["VerifyAuthChallengeResponse", "DefineAuthChallenge"] {
        asked.pool.functions.answer(one_question);
        let session = asked.session("ada").await;
        asked.pool.functions.answer(move |event| {
            let source = event["triggerSource"].as_str().unwrap();
            if source.starts_with(trigger) {
                return Err(InvokeError::Failed("no".to_owned()));
            }
            one_question(event)
        });
        for expected in [
            format!("UserLambdaValidationException: {trigger} failed with error no."),
            "NotAuthorizedException: Invalid session for the user, session can only be used once."
                .to_owned(),
        ] {
            assert_eq!(refusal(asked.answer("ada", &session, "41").await), expected);
        }
    }
    asked.pool.functions.answer(one_question);
    for _ in 0..3 {
        let session = asked.session("ada").await;
        let _ = asked.answer("ada", &session, "41").await;
    }
    let session = asked.session("ada").await;
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), LOCKED);
}

#[tokio::test]
async fn of_two_answers_at_once_one_counts() {
    let asked = asked(false).await;
    let sub = asked.pool.user("ada", &[]).await;
    let session = asked.session("ada").await;
    let (a, b) =
        tokio::join!(asked.answer("ada", &session, ANSWER), asked.answer("ada", &session, ANSWER));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    assert_eq!(asked.pool.sessions(&sub).await.len(), 1);
}

#[tokio::test]
async fn a_name_that_no_user_has_is_asked_like_one_that_a_user_has() {
    let asked = asked(true).await;
    asked.pool.user("ada", &[]).await;
    asked.pool.functions.take();
    let mut lengths = Vec::new();
    for (name, is_not_found) in [("ada", false), ("nobody", true)] {
        let begun = asked.begin(name).await.unwrap();
        assert_eq!(asked.pool.store.take_trips(), trips(1, 0));
        let shown = map(&[("USERNAME", name), ("question", "what is it?")]);
        assert_eq!(begun.challenge_parameters, shown);
        let mut session = begun.session.unwrap();
        lengths.push(session.len());
        for event in asked.pool.functions.take() {
            assert_eq!(event["request"]["userNotFound"], is_not_found);
            assert_eq!(event["userName"], name);
        }
        for _ in 0..2 {
            let told = asked.answer(name, &session, "41").await.unwrap();
            assert_eq!(asked.pool.store.take_trips(), trips(1, 1));
            session = told.session.unwrap();
            lengths.push(session.len());
        }
        assert_eq!(refusal(asked.answer(name, &session, "41").await), INCORRECT);
        asked.pool.store.take_trips();
        asked.pool.functions.take();
    }
    assert!(lengths.iter().all(|length| *length == lengths[0] && *length <= 2_048), "{lengths:?}");
    // whatever the functions say, nobody gets no tokens
    let session = asked.session("nobody").await;
    assert_eq!(refusal(asked.answer("nobody", &session, ANSWER).await), INCORRECT);
    let asked = self::asked(false).await;
    assert_eq!(refusal(asked.begin("nobody").await), "UserNotFoundException: User does not exist.");
}

impl Asked {
    /// Begins with the password, for which the challenge is this.
    async fn start(&self) -> Challenge {
        let session = client::Session::with_private(&[7; 32]).unwrap();
        let public = session.public_hex();
        let parameters =
            [("USERNAME", "ada"), ("CHALLENGE_NAME", "SRP_A"), ("SRP_A", public.as_str())];
        let begun = self.pool.initiate(&self.client, "CUSTOM_AUTH", &parameters).await.unwrap();
        assert_eq!(begun.challenge_name.as_deref(), Some("PASSWORD_VERIFIER"));
        Challenge { session, parameters: begun.challenge_parameters }
    }

    /// The session of the question after the password.
    async fn session_after_password(&self) -> String {
        let right = self.pool.claim(&self.start().await, PASSWORD);
        let told = self.pool.answer_srp(&self.client, right).await.unwrap();
        assert_eq!(told.challenge_name.as_deref(), Some("CUSTOM_CHALLENGE"));
        told.session.unwrap()
    }

    /// Two wrong answers of a sign-in, which may have that many.
    async fn two_wrong_answers(&self) -> String {
        let mut session = self.session_after_password().await;
        for _ in 0..2 {
            session = self.answer("ada", &session, "41").await.unwrap().session.unwrap();
        }
        session
    }
}

/// Or whoever mistypes now and then is locked out in the end, by mistakes of a day.
#[tokio::test]
async fn a_right_answer_after_the_password_forgets_wrong_ones() {
    let asked = asked(false).await;
    asked.pool.user("ada", &[]).await;
    for _ in 0..3 {
        asked.two_wrong_answers().await;
        let session = asked.two_wrong_answers().await;
        let told = asked.answer("ada", &session, ANSWER).await.unwrap();
        assert!(told.authentication_result.is_some());
    }
    // those of sign-ins that do not come to an end add up, and a right password forgets none
    asked.two_wrong_answers().await;
    asked.two_wrong_answers().await;
    let session = asked.session_after_password().await;
    assert_eq!(refusal(asked.answer("ada", &session, "41").await), INCORRECT);
    let session = asked.session_after_password().await;
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), LOCKED);
}

/// Whoever knows password and answer has not shown the second factor, and must not guess it for ever.
#[tokio::test]
async fn s12_a_right_answer_does_not_forget_guesses_at_the_second_factor() {
    let asked = asked(false).await;
    asked.pool.set_mfa("OPTIONAL", false, true, false).await;
    let (_, app) = asked.pool.user_with_app("ada", &[]).await;
    let challenged = async || {
        let session = asked.session_after_password().await;
        let told = asked.answer("ada", &session, ANSWER).await?;
        assert_eq!(told.challenge_name.as_deref(), Some("SOFTWARE_TOKEN_MFA"));
        Ok::<_, ApiError>(told.session.unwrap())
    };
    let guess = async |session: &str, code: &str| {
        let responses = map(&[("USERNAME", "ada"), ("SOFTWARE_TOKEN_MFA_CODE", code)]);
        asked.pool.respond(&asked.client, "SOFTWARE_TOKEN_MFA", Some(session), responses).await
    };
    let mut session = challenged().await.unwrap();
    for _ in 0..4 {
        assert!(guess(&session, &app.wrong(&asked.pool)).await.is_err());
        session = challenged().await.unwrap();
    }
    assert!(guess(&session, &app.wrong(&asked.pool)).await.is_err());
    assert_eq!(refusal(challenged().await), LOCKED);
    asked.pool.advance(1);
    let session = challenged().await.unwrap();
    assert!(guess(&session, &app.code(&asked.pool)).await.is_ok());
}

#[tokio::test]
async fn a_custom_sign_in_begins_with_the_password_where_the_app_wants_it() {
    let asked = asked(false).await;
    let sub = asked.pool.user("ada", &[]).await;
    let challenge = asked.start().await;
    let wrong = asked.pool.claim(&challenge, WRONG);
    assert_eq!(refusal(asked.pool.answer_srp(&asked.client, wrong).await), INCORRECT);
    let challenge = asked.start().await;
    asked.pool.functions.take();
    let right = asked.pool.claim(&challenge, PASSWORD);
    let told = asked.pool.answer_srp(&asked.client, right).await.unwrap();
    assert_eq!(told.challenge_name.as_deref(), Some("CUSTOM_CHALLENGE"));
    let history = asked.pool.functions.take()[0]["request"]["session"].clone();
    let names: Vec<_> =
        history.as_array().unwrap().iter().map(|result| result["challengeName"].clone()).collect();
    assert_eq!(names, ["SRP_A", "PASSWORD_VERIFIER"]);
    let session = told.session.unwrap();
    // the password is part of what this sign-in has shown
    asked.pool.advance(1);
    set_password(&asked.pool.test, &asked.pool.pool_id, "ada", NEW).await;
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), INVALID);
    assert!(asked.pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn functions_that_do_not_do_their_part_let_nobody_in() {
    let asked = asked(false).await;
    let sub = asked.pool.user("ada", &[]).await;
    let unrecognizable = "InvalidLambdaResponseException: Unrecognizable lambda output";
    for (response, expected) in [
        (json!({}), unrecognizable),
        (json!({"issueTokens": "maybe"}), unrecognizable),
        (json!({"failAuthentication": true, "issueTokens": true}), INCORRECT),
        (
            json!({"challengeName": "PASSWORD_VERIFIER"}),
            "InvalidLambdaResponseException: Invalid lambda function output : PASSWORD_VERIFIER is no \
             challenge that can follow",
        ),
    ] {
        asked.pool.functions.answer(move |_| Ok(response.clone()));
        assert_eq!(refusal(asked.begin("ada").await), expected);
    }
    asked.pool.functions.answer(|event| match event["request"]["challengeName"].is_null() {
        true => Ok(json!({"challengeName": "CUSTOM_CHALLENGE"})),
        false => Ok(json!({"privateChallengeParameters": {"a": "x".repeat(2_000)}})),
    });
    assert!(refusal(asked.begin("ada").await).ends_with("are too long for a session"));
    // a sign-in that never ends has an end
    asked.pool.functions.answer(|event| match event["triggerSource"].as_str().unwrap() {
        "VerifyAuthChallengeResponse_Authentication" => Ok(json!({"answerCorrect": true})),
        "DefineAuthChallenge_Authentication" => Ok(json!({"challengeName": "CUSTOM_CHALLENGE"})),
        _ => Ok(json!({})),
    });
    let mut session = asked.session("ada").await;
    for _ in 1..ROUNDS_MAX {
        session = asked.answer("ada", &session, ANSWER).await.unwrap().session.unwrap();
    }
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), INCORRECT);
    assert!(asked.pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn a_pool_without_all_three_functions_has_no_custom_sign_in() {
    let missing = "InvalidParameterException: Custom auth lambda trigger is not configured for the user pool.";
    for leave_out in 0..4 {
        let mut config = functions();
        match leave_out {
            0 => config.define_auth_challenge = None,
            1 => config.create_auth_challenge = None,
            2 => config.verify_auth_challenge_response = None,
            _ => config = types::LambdaConfigType::default(),
        }
        let pool = Fixture::with(types::CreateUserPoolRequest {
            lambda_config: Some(config),
            ..Default::default()
        })
        .await;
        let request = types::CreateUserPoolClientRequest {
            explicit_auth_flows: strings(&["ALLOW_CUSTOM_AUTH"]),
            ..Default::default()
        };
        let client = pool.client(request).await;
        pool.user("ada", &[]).await;
        let begun = pool.initiate(&client, "CUSTOM_AUTH", &[("USERNAME", "ada")]).await;
        assert_eq!(refusal(begun), missing);
        assert!(pool.functions.take().is_empty());
    }
}

#[tokio::test]
async fn what_changes_meanwhile_counts() {
    let asked = asked(false).await;
    let sub = asked.pool.user("ada", &[]).await;
    let session = asked.session("ada").await;
    asked.pool.sign_out_everywhere(&sub).await;
    assert_eq!(refusal(asked.answer("ada", &session, ANSWER).await), INVALID);
    asked.pool.advance(1);
    let session = asked.session("ada").await;
    asked.pool.disable(&sub).await;
    assert_eq!(
        refusal(asked.answer("ada", &session, ANSWER).await),
        "NotAuthorizedException: User is disabled."
    );
    asked.pool.edit(&sub, |user| user.enabled = true).await;
    let session = asked.session("ada").await;
    asked
        .pool
        .edit_client(&asked.client, |client| {
            client.explicit_auth_flows.retain(|f| !f.contains("CUSTOM"))
        })
        .await;
    assert_eq!(
        refusal(asked.answer("ada", &session, ANSWER).await),
        "InvalidParameterException: CUSTOM_AUTH flow not enabled for this client"
    );
    assert!(asked.pool.sessions(&sub).await.is_empty());
}
