//! A pool with an app client, and short forms of requests, for the tests of operations on users.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{Store, StoreError, memory::Trips, proto, records::CredentialsRecord};
use tokio::sync::Barrier;

use super::{
    admin_create_user, admin_get_user, confirm_sign_up, credentials,
    lookup::{self, With},
    sign_up,
};
use crate::{
    auth::initiate_auth,
    client_pool,
    testing::{TestWorld, new_client_with, new_pool_with, signed_call, test_world, unsigned_call},
    threat_protection::compromised::CompromisedPasswords,
    tx::{Decision, Query, Transaction, Tx, transact},
};

/// Satisfies the default policy.
pub(crate) const PASSWORD: &str = "Correct-Horse-1";

/// A world with one pool and one client.
pub(crate) struct TestPool {
    world: TestWorld,
    pub id: String,
    pub client_id: String,
}

impl Deref for TestPool {
    type Target = TestWorld;

    fn deref(&self) -> &TestWorld {
        &self.world
    }
}

impl TestPool {
    /// From now on these passwords are known to be compromised.
    pub(crate) fn compromise(&mut self, passwords: &[&str]) {
        let line = |password: &&str| {
            let hash = conclave_crypto::mac::sha1_of_lists(password.as_bytes());
            hash.iter()
                .map(|byte| format!("{byte:02x}"))
                .chain(["\n".to_owned()])
                .collect::<String>()
        };
        let list: String = passwords.iter().map(line).collect();
        let read = CompromisedPasswords::read(list.as_bytes(), list.len() as u64);
        self.world.world.compromised_passwords = Some(Arc::new(read.expect("is a list")));
    }
}

/// A pool with nothing set, and a client that shows who exists.
pub(crate) async fn plain_pool() -> TestPool {
    pool(types::CreateUserPoolRequest::default()).await
}

/// A pool that verifies e-mail addresses.
pub(crate) async fn verifying_pool() -> TestPool {
    pool(verifying(&["email"])).await
}

/// A pool that verifies e-mail addresses, by which users can sign in once they are verified.
pub(crate) async fn alias_pool() -> TestPool {
    let alias_attributes = strings(&["email", "preferred_username"]);
    pool(types::CreateUserPoolRequest { alias_attributes, ..verifying(&["email"]) }).await
}

/// A pool whose users are called by e-mail address or phone number, in any case.
pub(crate) async fn email_name_pool() -> TestPool {
    let request = types::CreateUserPoolRequest {
        username_attributes: strings(&["email", "phone_number"]),
        username_configuration: Some(types::UsernameConfigurationType {
            case_sensitive: Some(false),
        }),
        ..verifying(&["email"])
    };
    pool(request).await
}

pub(crate) async fn pool(request: types::CreateUserPoolRequest) -> TestPool {
    let world = test_world().await;
    let id = new_pool_with(&world, request).await;
    let request = types::CreateUserPoolClientRequest {
        explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]),
        ..Default::default()
    };
    let client = new_client_with(&world, &id, request).await;
    let client_id = client.client_id.unwrap();
    let pool = TestPool { world, id, client_id };
    // the configuration is cached, and round trips are counted from here
    let _ = pool.user("nobody").await;
    pool.store.take_trips();
    pool
}

/// What verifies these attributes.
pub(crate) fn verifying(attributes: &[&str]) -> types::CreateUserPoolRequest {
    let sms = attributes.contains(&"phone_number").then(|| types::SmsConfigurationType {
        sns_caller_arn: Some("arn:aws:iam::111122223333:role/sms".to_owned()),
        ..Default::default()
    });
    types::CreateUserPoolRequest {
        auto_verified_attributes: strings(attributes),
        sms_configuration: sms,
        ..Default::default()
    }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Attributes of a request.
pub(crate) fn attributes(pairs: &[(&str, &str)]) -> Vec<types::AttributeType> {
    let attribute = |(name, value): &(&str, &str)| types::AttributeType {
        name: Some((*name).to_owned()),
        value: Some((*value).to_owned()),
    };
    pairs.iter().map(attribute).collect()
}

/// Attributes of an answer, without `sub`, as `name=value`.
pub(crate) fn shown(attributes: &[types::AttributeType]) -> Vec<String> {
    let text = |attribute: &types::AttributeType| {
        let (name, value) = (attribute.name.as_deref()?, attribute.value.as_deref()?);
        (name != "sub").then(|| format!("{name}={value}"))
    };
    attributes.iter().filter_map(text).collect()
}

/// Exception and text of a refusal, as `Name: text`.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    let error = result.expect_err("is refused");
    format!("{}: {}", error.code.as_str(), error.message)
}

pub(crate) fn trips(reads: u64, commits: u64) -> Trips {
    Trips { reads, commits }
}

impl TestPool {
    /// The next two requests run at once: each of them decides after `reads` reads of both.
    pub fn race(&mut self, reads: usize) {
        self.world.world.store = Arc::new(RacingStore {
            store: Arc::clone(&self.world.world.store),
            barrier: Barrier::new(2),
            reads: AtomicUsize::new(2 * reads),
        });
    }

    /// Another client of the pool.
    pub async fn new_client(
        &self,
        request: types::CreateUserPoolClientRequest,
    ) -> types::UserPoolClientType {
        let client = new_client_with(&self.world, &self.id, request).await;
        let _ = self.user("nobody").await;
        self.store.take_trips();
        client
    }

    /// Another client of the pool, which hides who exists.
    pub async fn hiding_client(&self) -> String {
        let request = types::CreateUserPoolClientRequest {
            prevent_user_existence_errors: Some("ENABLED".to_owned()),
            ..Default::default()
        };
        self.new_client(request).await.client_id.unwrap()
    }

    pub fn sign_up_request(&self, username: &str, pairs: &[(&str, &str)]) -> types::SignUpRequest {
        types::SignUpRequest {
            client_id: Some(self.client_id.clone()),
            username: Some(username.to_owned()),
            password: Some(PASSWORD.to_owned()),
            user_attributes: attributes(pairs),
            ..Default::default()
        }
    }

    pub async fn send_sign_up(
        &self,
        request: types::SignUpRequest,
    ) -> Result<types::SignUpResponse, ApiError> {
        sign_up(&self.world, &unsigned_call(), request).await
    }

    pub async fn sign_up(
        &self,
        username: &str,
        pairs: &[(&str, &str)],
    ) -> Result<types::SignUpResponse, ApiError> {
        self.send_sign_up(self.sign_up_request(username, pairs)).await
    }

    /// The code that was sent last.
    pub fn code(&self) -> String {
        self.outbox.take().pop().expect("a message was sent").code.expect("it has a code")
    }

    pub fn confirm_request(&self, username: &str, code: &str) -> types::ConfirmSignUpRequest {
        types::ConfirmSignUpRequest {
            client_id: Some(self.client_id.clone()),
            username: Some(username.to_owned()),
            confirmation_code: Some(code.to_owned()),
            ..Default::default()
        }
    }

    pub async fn send_confirm(
        &self,
        request: types::ConfirmSignUpRequest,
    ) -> Result<types::ConfirmSignUpResponse, ApiError> {
        confirm_sign_up(&self.world, &unsigned_call(), request).await
    }

    pub async fn confirm(
        &self,
        username: &str,
        code: &str,
    ) -> Result<types::ConfirmSignUpResponse, ApiError> {
        self.send_confirm(self.confirm_request(username, code)).await
    }

    /// Signs a user up and confirms it by the code.
    pub async fn confirmed_user(&self, username: &str, pairs: &[(&str, &str)]) -> String {
        let response = self.sign_up(username, pairs).await.expect("signs up");
        let code = self.code();
        self.confirm(username, &code).await.expect("confirms");
        response.user_sub.unwrap()
    }

    /// Signs in by the password.
    pub async fn sign_in(
        &self,
        username: &str,
        password: &str,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let parameters = [("USERNAME", username), ("PASSWORD", password)];
        self.initiate("USER_PASSWORD_AUTH", &parameters).await
    }

    /// Refreshes tokens.
    pub async fn refresh(
        &self,
        tokens: &types::AuthenticationResultType,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let token = tokens.refresh_token.as_deref().expect("a refresh token");
        self.initiate("REFRESH_TOKEN_AUTH", &[("REFRESH_TOKEN", token)]).await
    }

    async fn initiate(
        &self,
        flow: &str,
        parameters: &[(&str, &str)],
    ) -> Result<types::AuthenticationResultType, ApiError> {
        self.initiate_at(&self.client_id, flow, parameters).await
    }

    async fn initiate_at(
        &self,
        client_id: &str,
        flow: &str,
        parameters: &[(&str, &str)],
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let pairs = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let request = types::InitiateAuthRequest {
            client_id: Some(client_id.to_owned()),
            auth_flow: Some(flow.to_owned()),
            auth_parameters: pairs.collect(),
            ..Default::default()
        };
        let response = initiate_auth(&self.world, &unsigned_call(), request).await?;
        self.store.take_trips();
        Ok(response.authentication_result.expect("answers tokens"))
    }

    /// An access token of a user with the usual password.
    pub async fn token(&self, username: &str) -> String {
        let tokens = self.sign_in(username, PASSWORD).await.expect("signs in");
        tokens.access_token.expect("an access token")
    }

    /// The same through another client.
    pub async fn token_at(&self, client_id: &str, username: &str) -> String {
        let parameters = [("USERNAME", username), ("PASSWORD", PASSWORD)];
        let tokens = self.initiate_at(client_id, "USER_PASSWORD_AUTH", &parameters).await;
        tokens.expect("signs in").access_token.expect("an access token")
    }

    pub async fn user(&self, username: &str) -> Result<types::AdminGetUserResponse, ApiError> {
        let request = types::AdminGetUserRequest {
            user_pool_id: Some(self.id.clone()),
            username: Some(username.to_owned()),
        };
        admin_get_user(&self.world, &signed_call(), request).await
    }

    /// The attributes of a user, as `name=value`.
    pub async fn attributes_of(&self, username: &str) -> Vec<String> {
        shown(&self.user(username).await.expect("exists").user_attributes)
    }

    pub async fn status_of(&self, username: &str) -> String {
        self.user(username).await.expect("exists").user_status.unwrap()
    }

    pub fn create_request(
        &self,
        username: &str,
        pairs: &[(&str, &str)],
    ) -> types::AdminCreateUserRequest {
        types::AdminCreateUserRequest {
            user_pool_id: Some(self.id.clone()),
            username: Some(username.to_owned()),
            user_attributes: attributes(pairs),
            ..Default::default()
        }
    }

    pub async fn send_create(
        &self,
        request: types::AdminCreateUserRequest,
    ) -> Result<types::UserType, ApiError> {
        let response = admin_create_user(&self.world, &signed_call(), request).await?;
        Ok(response.user.expect("answers the user"))
    }

    pub async fn create(
        &self,
        username: &str,
        pairs: &[(&str, &str)],
    ) -> Result<types::UserType, ApiError> {
        self.send_create(self.create_request(username, pairs)).await
    }

    /// What is stored of a user's password, and whether `password` is it, for both kinds of sign-in.
    pub async fn password_is(&self, username: &str, password: &str) -> (CredentialsRecord, bool) {
        let check =
            CheckPassword { pool_id: &self.id, client_id: &self.client_id, username, password };
        transact(&self.world, &check).await.expect("checks")
    }
}

/// Lets two requests run at once for certain: each of the first `reads` reads of either waits for the
/// same read of the other, so that both decide on what was there before either committed.
struct RacingStore {
    store: Arc<dyn Store>,
    barrier: Barrier,
    reads: AtomicUsize,
}

#[async_trait]
impl Store for RacingStore {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        let result = self.store.read(read).await;
        let count_down = |left: usize| left.checked_sub(1);
        if self.reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok() {
            self.barrier.wait().await;
        }
        result
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        self.store.commit(commit).await
    }
}

struct CheckPassword<'a> {
    pool_id: &'a str,
    client_id: &'a str,
    username: &'a str,
    password: &'a str,
}

#[async_trait]
impl Transaction for CheckPassword<'_> {
    type Output = (CredentialsRecord, bool);

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = lookup::query(Query::new(), self.username, &[With::Credentials]);
        let pool = client_pool::load(tx, query, self.client_id).await?.pool;
        let found = lookup::find(tx, &pool, self.username)?.expect("the user exists");
        let record = found.credentials.expect("the user has credentials").record;
        let sub = &found.user.record.sub;
        let hash = credentials::open_password_hash(&pool, sub, &record)?.expect("has a hash");
        let by_hash = tx.world().passwords.verify(self.password.as_bytes(), &hash);
        let srp = credentials::open_srp(&pool, sub, &record)?.expect("has a verifier");
        assert_eq!(srp.user_id, found.user.record.username);
        let verifier = conclave_crypto::srp::compute_verifier(
            pool.srp_pool_name(),
            &srp.user_id,
            self.password.as_bytes(),
            &srp.salt,
        );
        let by_srp = verifier.expect("computes") == srp.verifier;
        assert_eq!(by_hash, by_srp);
        Ok((record, by_hash).into())
    }
}
