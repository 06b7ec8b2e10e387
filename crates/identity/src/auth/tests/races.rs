//! What changes between a request's read and its commit: nobody gets in on what is no longer so.

use super::*;
use crate::{clients, pools};

/// Every way to tokens that commits, each up to its last request.
async fn sign_ins(pool: &Fixture) -> Vec<(&'static str, Result<bool, String>)> {
    let mut results = Vec::new();
    let outcome = |result: Result<Option<types::AuthenticationResultType>, ApiError>| {
        result
            .map(|tokens| tokens.is_some())
            .map_err(|error| format!("{}: {}", error.code.as_str(), error.message))
    };
    let by_password = pool.sign_in(&pool.client_id, "ada", PASSWORD).await;
    results.push(("password", outcome(by_password.map(|response| response.authentication_result))));
    results
}

async fn delete_client(world: World, pool_id: String, client_id: String) {
    let request = types::DeleteUserPoolClientRequest {
        user_pool_id: Some(pool_id),
        client_id: Some(client_id),
    };
    clients::delete_user_pool_client(&world, &signed_call(), request).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_deleted_meanwhile_gets_no_tokens() {
    let gone = |client: &str| {
        format!("ResourceNotFoundException: User pool client {client} does not exist.")
    };
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.temporary_user("new", &[]).await;
    for way in ["password", "srp", "new password"] {
        let client = pool.client(types::CreateUserPoolClientRequest::default()).await;
        let session = pool.new_password_session(&client, "new").await;
        let challenge = pool.start_srp(&client, "ada", &[]).await.unwrap();
        let doomed = client.clone();
        pool.meanwhile(|other, pool_id| delete_client(other, pool_id, doomed));
        let refused = match way {
            "password" => refusal(pool.sign_in(&client, "ada", PASSWORD).await),
            "srp" => refusal(pool.answer_srp(&client, pool.claim(&challenge, PASSWORD)).await),
            _ => {
                let answer = map(&[("USERNAME", "new"), ("NEW_PASSWORD", NEW)]);
                let challenge = "NEW_PASSWORD_REQUIRED";
                refusal(pool.respond(&client, challenge, Some(&session), answer).await)
            }
        };
        assert_eq!(refused, gone(&client), "{way}");
    }
    assert!(pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn a_pool_that_is_deleted_meanwhile_looks_like_a_client_that_is_gone() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.meanwhile(|other, pool_id| async move {
        let request = types::DeleteUserPoolRequest { user_pool_id: Some(pool_id) };
        pools::delete_user_pool(&other, &signed_call(), request).await.unwrap();
    });
    assert_eq!(
        refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await),
        format!("ResourceNotFoundException: User pool client {} does not exist.", pool.client_id)
    );
}

#[tokio::test]
async fn a_user_who_is_disabled_meanwhile_gets_no_tokens() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    let disabled = sub.clone();
    pool.meanwhile(|other, pool_id| async move {
        edit_user(&other, &pool_id, &disabled, |user| user.enabled = false).await;
    });
    for (_, result) in sign_ins(&pool).await {
        assert_eq!(result, Err("NotAuthorizedException: User is disabled.".to_owned()));
    }
    assert!(pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn a_user_who_is_deleted_meanwhile_gets_no_tokens_and_leaves_no_rows() {
    let pool = Fixture::new().await;
    for password in [PASSWORD, WRONG] {
        let sub = pool.user("ada", &[]).await;
        pool.meanwhile(|other, pool_id| async move {
            delete_user(&other, &pool_id, "ada").await;
        });
        assert_eq!(
            refusal(pool.sign_in(&pool.client_id, "ada", password).await),
            "UserNotFoundException: User does not exist."
        );
        let children = ReadChildren { pool_id: &pool.pool_id, sub: &sub };
        assert_eq!(transact(&pool.test.world, &children).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_password_that_is_changed_meanwhile_does_not_sign_in() {
    let pool = Fixture::new().await;
    let sub = pool.user("ada", &[]).await;
    pool.meanwhile(|other, pool_id| async move {
        set_password(&other, &pool_id, "ada", NEW).await;
    });
    for (_, result) in sign_ins(&pool).await {
        assert_eq!(result, Err(INCORRECT.to_owned()));
    }
    assert!(pool.sessions(&sub).await.is_empty());
}

#[tokio::test]
async fn a_name_that_moves_meanwhile_leads_to_its_new_user() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    pool.meanwhile(|other, pool_id| async move {
        delete_user(&other, &pool_id, "ada").await;
        let request = types::AdminCreateUserRequest {
            user_pool_id: Some(pool_id.clone()),
            username: Some("ada".to_owned()),
            message_action: Some("SUPPRESS".to_owned()),
            ..Default::default()
        };
        users::admin_create_user(&other, &signed_call(), request).await.unwrap();
        set_password(&other, &pool_id, "ada", NEW).await;
    });
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), INCORRECT);
}

#[tokio::test]
async fn a_flow_that_is_taken_from_the_client_between_the_steps_does_not_go_on() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let challenge = pool.start_srp(&pool.client_id, "ada", &[]).await.unwrap();
    let flows = strings(&["ALLOW_USER_PASSWORD_AUTH"]);
    pool.edit_client(&pool.client_id, |client| client.explicit_auth_flows = flows.clone()).await;
    assert_eq!(
        refusal(pool.answer_srp(&pool.client_id, pool.claim(&challenge, PASSWORD)).await),
        "InvalidParameterException: USER_SRP_AUTH flow not enabled for this client"
    );
}

#[tokio::test]
async fn a_client_that_changes_meanwhile_counts_as_it_is_at_the_commit() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    let client_id = pool.client_id.clone();
    pool.meanwhile(|other, pool_id| async move {
        let shorter = EditClient {
            pool_id: &pool_id,
            client_id: &client_id,
            edit: |client: &mut ClientRecord| {
                client.access_token_validity = Some(300);
                client.access_token_unit = Some("seconds".to_owned());
            },
        };
        transact(&other, &shorter).await.unwrap();
    });
    let response = pool.sign_in(&pool.client_id, "ada", PASSWORD).await.unwrap();
    assert_eq!(response.authentication_result.unwrap().expires_in, Some(300));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_signs_in_once() {
    use Fault::{AnswerLost, RequestLost, Stale};
    for (faults, sessions, signs_in) in [
        (&[AnswerLost][..], 1, true),
        (&[RequestLost], 1, true),
        (&[AnswerLost, RequestLost, AnswerLost, RequestLost], 1, true),
        (&[RequestLost; 5], 0, false),
        (&[AnswerLost; 5], 1, false),
        // too old before anybody has seen it: decided again
        (&[Stale], 1, true),
        // too old when it is repeated: it may have been done
        (&[AnswerLost, Stale], 1, false),
        (&[Stale; 8], 0, false),
    ] {
        let pool = Fixture::new().await;
        let sub = pool.user("ada", &[]).await;
        pool.commits_meet(faults);
        let result = pool.sign_in(&pool.client_id, "ada", PASSWORD).await;
        assert_eq!(result.is_ok(), signs_in);
        assert_eq!(pool.sessions(&sub).await.len(), sessions);
    }
}

#[tokio::test]
async fn a_failure_whose_answer_is_lost_counts_once_and_tells_nothing_uncertain() {
    let pool = Fixture::new().await;
    pool.user("ada", &[]).await;
    for _ in 0..4 {
        pool.commits_meet(&[Fault::AnswerLost, Fault::AnswerLost]);
        assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await), INCORRECT);
    }
    // four, so the fifth still gets a verdict, and it locks
    pool.commits_meet(&[Fault::AnswerLost; 5]);
    let uncertain = refusal(pool.sign_in(&pool.client_id, "ada", WRONG).await);
    assert!(uncertain.starts_with("ServiceUnavailable: "), "{uncertain}");
    assert_eq!(refusal(pool.sign_in(&pool.client_id, "ada", PASSWORD).await), LOCKED);
}

/// How many rows live under a user.
pub(super) struct ReadChildren<'a> {
    pub pool_id: &'a str,
    pub sub: &'a str,
}

#[async_trait]
impl Transaction for ReadChildren<'_> {
    type Output = usize;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<usize> {
        let prefix = keys::user_children(self.sub);
        let pages = tx.load(Query::new().scan(prefix, Vec::new(), 100)).await?;
        Ok(pages.iter().map(|page| page.rows.len()).sum::<usize>().into())
    }
}
