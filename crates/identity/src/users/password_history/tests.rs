use conclave_api::types;

use super::*;
use crate::{
    auth::{initiate_auth, respond_to_auth_challenge},
    testing::{signed_call, unsigned_call},
    tx::{Decision, Query, Transaction, transact},
    users::{
        admin_delete_user, admin_set_user_password, change_password, confirm_forgot_password,
        fixtures::{PASSWORD, TestPool, pool, refusal, trips, verifying},
        forgot_password,
    },
};

const VIOLATION: &str = "PasswordHistoryPolicyViolationException: Password does not conform to policy: \
                         Password has been used before";
const EMAIL: [(&str, &str); 1] = [("email", "ada@example.com")];

fn remembering(size: i32, tier: Option<&str>) -> types::CreateUserPoolRequest {
    types::CreateUserPoolRequest {
        policies: Some(types::UserPoolPolicyType {
            password_policy: Some(types::PasswordPolicyType {
                password_history_size: Some(size),
                ..Default::default()
            }),
            ..Default::default()
        }),
        user_pool_tier: tier.map(str::to_owned),
        ..verifying(&["email"])
    }
}

async fn with_ada(size: i32) -> TestPool {
    let pool = pool(remembering(size, None)).await;
    pool.confirmed_user("ada", &EMAIL).await;
    pool.store.take_trips();
    pool
}

async fn set(pool: &TestPool, password: &str, permanent: bool) -> Result<(), ApiError> {
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
        password: Some(password.to_owned()),
        permanent: Some(permanent),
    };
    admin_set_user_password(pool, &signed_call(), request).await.map(|_| ())
}

#[tokio::test]
async fn the_last_passwords_are_not_taken_again_and_older_ones_are() {
    let pool = with_ada(3).await;
    assert_eq!(refusal(set(&pool, PASSWORD, true).await), VIOLATION);
    set(&pool, "Second-Horse-2", true).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(2, 1));
    set(&pool, "Third-Horse-3", true).await.unwrap();
    for old in [PASSWORD, "Second-Horse-2", "Third-Horse-3"] {
        assert_eq!(refusal(set(&pool, old, true).await), VIOLATION, "{old}");
        assert_eq!(refusal(set(&pool, old, false).await), VIOLATION, "{old}");
    }
    set(&pool, "Fourth-Horse-4", true).await.unwrap();
    assert_eq!(refusal(set(&pool, "Second-Horse-2", true).await), VIOLATION);
    set(&pool, PASSWORD, true).await.unwrap();
    assert!(pool.sign_in("ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn one_password_to_remember_is_the_present_one() {
    let pool = with_ada(1).await;
    assert_eq!(refusal(set(&pool, PASSWORD, true).await), VIOLATION);
    set(&pool, "Second-Horse-2", true).await.unwrap();
    set(&pool, PASSWORD, true).await.unwrap();
}

#[tokio::test]
async fn without_a_history_a_password_is_taken_again() {
    let pool = with_ada(0).await;
    set(&pool, PASSWORD, true).await.unwrap();
    assert_eq!(pool.store.take_trips(), trips(1, 1));
}

#[tokio::test]
async fn the_lite_tier_remembers_nothing() {
    let world = crate::testing::test_world().await;
    let request = types::CreateUserPoolRequest {
        pool_name: Some("pool".to_owned()),
        ..remembering(3, Some("LITE"))
    };
    assert_eq!(
        refusal(crate::pools::create_user_pool(&world, &signed_call(), request).await),
        "FeatureUnavailableInTierException: The following features need to be disabled for the LITE \
         pricing tier configured: Password History"
    );
    let _ = pool(remembering(0, Some("LITE"))).await;
    let _ = pool(remembering(24, Some("PLUS"))).await;
}

/// S47: who shows the present password learns no more than that the new one was used.
#[tokio::test]
async fn s47_changing_a_password_counts_before_it_is_judged() {
    let pool = with_ada(5).await;
    let token = pool.token("ada").await;
    let change = |previous: &str, proposed: &str| {
        let request = types::ChangePasswordRequest {
            access_token: Some(token.clone()),
            previous_password: Some(previous.to_owned()),
            proposed_password: Some(proposed.to_owned()),
        };
        let world: &TestPool = &pool;
        async move { change_password(world, &unsigned_call(), request).await.map(|_| ()) }
    };
    let incorrect = "NotAuthorizedException: Incorrect username or password.";
    assert_eq!(refusal(change("Wrong-Horse-9", PASSWORD).await), incorrect);
    change(PASSWORD, "Second-Horse-2").await.unwrap();
    assert_eq!(pool.store.take_trips().reads, 2);
    for _ in 0..3 {
        assert_eq!(refusal(change("Second-Horse-2", PASSWORD).await), VIOLATION);
        assert_eq!(pool.store.take_trips(), trips(1, 1));
    }
    assert_eq!(
        refusal(change("Second-Horse-2", "Third-Horse-3").await),
        "LimitExceededException: Attempt limit exceeded, please try after some time."
    );
}

#[tokio::test]
async fn a_reset_that_is_refused_leaves_the_code_good() {
    let pool = with_ada(2).await;
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    forgot_password(&pool, &unsigned_call(), request).await.unwrap();
    let code = pool.code();
    let confirm = |code: &str, password: &str| {
        let request = types::ConfirmForgotPasswordRequest {
            client_id: Some(pool.client_id.clone()),
            username: Some("ada".to_owned()),
            confirmation_code: Some(code.to_owned()),
            password: Some(password.to_owned()),
            ..Default::default()
        };
        let world: &TestPool = &pool;
        async move { confirm_forgot_password(world, &unsigned_call(), request).await.map(|_| ()) }
    };
    // without the code nothing is learnt of the password
    assert!(refusal(confirm("x", PASSWORD).await).starts_with("CodeMismatchException"));
    assert_eq!(refusal(confirm(&code, PASSWORD).await), VIOLATION);
    confirm(&code, "Second-Horse-2").await.unwrap();
    assert_eq!(refusal(set(&pool, PASSWORD, true).await), VIOLATION);
}

/// S48: a temporary password does not become the permanent one where the pool remembers it.
#[tokio::test]
async fn s48_a_temporary_password_is_not_kept() {
    let pool = with_ada(2).await;
    set(&pool, "Temporary-Horse-2", false).await.unwrap();
    let request = types::InitiateAuthRequest {
        client_id: Some(pool.client_id.clone()),
        auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
        auth_parameters: [("USERNAME", "ada"), ("PASSWORD", "Temporary-Horse-2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    };
    let session = initiate_auth(&pool, &unsigned_call(), request).await.unwrap().session;
    let respond = |password: &str| {
        let request = types::RespondToAuthChallengeRequest {
            client_id: Some(pool.client_id.clone()),
            challenge_name: Some("NEW_PASSWORD_REQUIRED".to_owned()),
            session: session.clone(),
            challenge_responses: [("USERNAME", "ada"), ("NEW_PASSWORD", password)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Default::default()
        };
        let world: &TestPool = &pool;
        async move { respond_to_auth_challenge(world, &unsigned_call(), request).await.map(|_| ()) }
    };
    for old in ["Temporary-Horse-2", PASSWORD] {
        assert_eq!(refusal(respond(old).await), VIOLATION);
    }
    pool.store.take_trips();
    // the session is as good as before
    respond("Third-Horse-3").await.unwrap();
    assert!(pool.sign_in("ada", "Third-Horse-3").await.is_ok());
}

struct Stored<'a>(&'a str, &'a str);

#[async_trait::async_trait]
impl Transaction for Stored<'_> {
    type Output = Option<PasswordHistoryRecord>;

    fn scope(&self) -> &str {
        self.0
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(key(self.1))).await?;
        Ok(tx.get::<PasswordHistoryRecord>(&key(self.1))?.map(|stored| stored.record).into())
    }
}

#[tokio::test]
async fn what_is_remembered_is_sealed_and_bounded_and_goes_with_the_user() {
    let pool = with_ada(3).await;
    let sub = pool.user("ada").await.unwrap().user_attributes.pop().unwrap().value.unwrap();
    for number in 0..5 {
        set(&pool, &format!("Other-Horse-{number}"), true).await.unwrap();
    }
    let stored = transact(&pool, &Stored(&pool.id, &sub)).await.unwrap().unwrap();
    assert_eq!(stored.sealed_password_hashes.len(), 2);
    for sealed in &stored.sealed_password_hashes {
        assert!(!sealed.windows(6).any(|bytes| bytes == b"argon2"));
    }
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool.id.clone()),
        username: Some("ada".to_owned()),
    };
    admin_delete_user(&pool, &signed_call(), request).await.unwrap();
    assert!(transact(&pool, &Stored(&pool.id, &sub)).await.unwrap().is_none());
}
