//! Signing in, from outside: a pool with an app client and users on a store in memory, short forms of
//! requests, and a way to do something between the read and the commit of a request. Every refusal
//! that comes by is checked to be one that the model declares for its operation.

mod admin;
mod any_request;
mod choice;
mod choice_hidden;
mod claims;
mod custom_auth;
mod devices;
mod enumeration;
mod get_user;
mod groups;
mod lockout;
mod mfa;
mod mfa_codes;
mod mfa_setup;
mod migration;
mod new_password;
mod passkeys;
mod password;
mod races;
mod refresh;
mod reseal;
mod restored;
mod revocation;
mod rotation;
mod sessions;
mod signing_keys;
mod srp;
mod table;
mod token_paths;
mod triggers;

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use conclave_api::{ApiError, ExceptionName, Operation, types};
use conclave_crypto::{
    encoding, mac,
    srp::{self as srp_math, client},
};
use conclave_store::{
    Clock as _, Store, StoreError, keys,
    memory::Trips,
    proto,
    records::{ClientRecord, SessionRecord, UserRecord},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{
    get_tokens_from_refresh_token, initiate_auth, respond_to_auth_challenge, revoke_token,
};
use crate::{
    config_cache::ConfigCache,
    cpu::CpuPool,
    testing::{
        TestStore, TestWorld, new_client_with, new_pool_with, signed_call, test_world,
        unsigned_call,
    },
    tx::{Decision, Query, Transaction, Tx, transact},
    users,
    world::World,
};

/// Satisfies the default policy, as the two below do.
const PASSWORD: &str = "Correct-Horse-1";
const WRONG: &str = "Wrong-Horse-9";
const NEW: &str = "Other-Horse-2";

const INCORRECT: &str = "NotAuthorizedException: Incorrect username or password.";
const LOCKED: &str = "NotAuthorizedException: Password attempts exceeded";

/// A gateway with one pool and one client that may use every flow and shows who exists.
struct Fixture {
    world: World,
    test: TestWorld,
    hooked: Arc<HookedStore>,
    pool_id: String,
    client_id: String,
}

impl Deref for Fixture {
    type Target = TestWorld;

    fn deref(&self) -> &TestWorld {
        &self.test
    }
}

/// Does something just before the next commit of the gateway under test.
struct HookedStore {
    inner: Arc<TestStore>,
    before_commit: Mutex<Option<BoxFuture<'static, ()>>>,
    after_commit: Mutex<Option<BoxFuture<'static, ()>>>,
    is_down: AtomicBool,
    faults: Mutex<Vec<Fault>>,
}

/// What becomes of a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is not done, and nobody can tell.
    RequestLost,
    /// It is refused for its age.
    Stale,
}

#[async_trait]
impl Store for HookedStore {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { detail: "as the test wants it".to_owned() });
        }
        self.inner.read(read).await
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        let hook = self.before_commit.lock().take();
        if let Some(hook) = hook {
            hook.await;
        }
        let fault = self.faults.lock().pop();
        if fault == Some(Fault::Stale) {
            let stale = proto::outcome::Result::Stale(proto::Stale {});
            return Ok(proto::Outcome { result: Some(stale) });
        }
        if fault != Some(Fault::RequestLost) {
            let answer = self.inner.commit(commit).await;
            let hook = self.after_commit.lock().take();
            if let Some(hook) = hook {
                hook.await;
            }
            if fault.is_none() {
                return answer;
            }
        }
        Err(StoreError::Unknown { detail: "as the test wants it".to_owned() })
    }
}

/// Another gateway of the same cluster, with a cache of its own.
fn gateway(world: &World, store: Arc<dyn Store>) -> World {
    World {
        store,
        entropy: Arc::clone(&world.entropy),
        cpu: world.cpu.clone(),
        passwords: Arc::clone(&world.passwords),
        messenger: Arc::clone(&world.messenger),
        triggers: Arc::clone(&world.triggers),
        data_keys: Arc::clone(&world.data_keys),
        cluster_keys: Arc::clone(&world.cluster_keys),
        hint_key: world.hint_key.clone(),
        configs: ConfigCache::new(100),
        compromised_passwords: world.compromised_passwords.clone(),
        settings: world.settings.clone(),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<types::AttributeType> {
    let attribute = |(name, value): &(&str, &str)| types::AttributeType {
        name: Some((*name).to_owned()),
        value: Some((*value).to_owned()),
    };
    pairs.iter().map(attribute).collect()
}

fn trips(reads: u64, commits: u64) -> Trips {
    Trips { reads, commits }
}

/// Exception and text of a refusal, as `Name: text`.
fn refusal<T>(result: Result<T, ApiError>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => format!("{}: {}", error.code.as_str(), error.message),
    }
}

/// Holds an operation to the model: it answers its own exceptions and those of the protocol.
fn declared<T>(operation: &str, result: Result<T, ApiError>) -> Result<T, ApiError> {
    if let Err(error) = &result {
        let of_the_protocol =
            matches!(error.code, ExceptionName::ServiceUnavailable | ExceptionName::NotImplemented);
        let operation = Operation::by_name(operation).expect("is in the table");
        assert!(
            of_the_protocol || operation.declares(error.code),
            "{} does not declare {}",
            operation.name,
            error.code.as_str()
        );
    }
    result
}

/// The header or the claims of a token, in their order.
fn part(token: &str, number: usize) -> Map<String, Value> {
    let part = token.split('.').nth(number).expect("has the part");
    serde_json::from_slice(&encoding::base64url_decode(part).expect("base64url"))
        .expect("an object")
}

fn claims(token: &str) -> Map<String, Value> {
    part(token, 1)
}

fn names(claims: &Map<String, Value>) -> String {
    claims.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn access(tokens: &types::AuthenticationResultType) -> &str {
    tokens.access_token.as_deref().expect("an access token")
}

fn id(tokens: &types::AuthenticationResultType) -> &str {
    tokens.id_token.as_deref().expect("an ID token")
}

fn refresh_token(tokens: &types::AuthenticationResultType) -> &str {
    tokens.refresh_token.as_deref().expect("a refresh token")
}

/// What a client remembers between the two steps of SRP.
struct Challenge {
    session: client::Session,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::with(types::CreateUserPoolRequest::default()).await
    }

    async fn with(request: types::CreateUserPoolRequest) -> Self {
        let test = test_world().await;
        let pool_id = new_pool_with(&test, request).await;
        let hooked = Arc::new(HookedStore {
            inner: Arc::clone(&test.store),
            before_commit: Mutex::new(None),
            after_commit: Mutex::new(None),
            is_down: AtomicBool::new(false),
            faults: Mutex::default(),
        });
        let world = gateway(&test, Arc::clone(&hooked) as Arc<dyn Store>);
        let mut fixture = Self { world, test, hooked, pool_id, client_id: String::new() };
        fixture.client_id = fixture.client(types::CreateUserPoolClientRequest::default()).await;
        fixture
    }

    /// Makes a client, with every flow unless the request names some, and answers its id.
    async fn client(&self, request: types::CreateUserPoolClientRequest) -> String {
        self.whole_client(request).await.client_id.expect("has an id")
    }

    async fn whole_client(
        &self,
        mut request: types::CreateUserPoolClientRequest,
    ) -> types::UserPoolClientType {
        if request.explicit_auth_flows.is_empty() {
            request.explicit_auth_flows = strings(&[
                "ALLOW_USER_PASSWORD_AUTH",
                "ALLOW_USER_SRP_AUTH",
                "ALLOW_REFRESH_TOKEN_AUTH",
            ]);
        }
        let client = new_client_with(&self.test, &self.pool_id, request).await;
        // the client is cached, and round trips are counted from here
        let _ = self.sign_in(client.client_id.as_deref().unwrap(), "nobody", "").await;
        self.store.take_trips();
        client
    }

    /// A client that hides who exists.
    async fn hiding(&self) -> String {
        self.client(types::CreateUserPoolClientRequest {
            prevent_user_existence_errors: Some("ENABLED".to_owned()),
            ..Default::default()
        })
        .await
    }

    /// A client with a secret, and the secret.
    async fn confidential(&self, hides: bool) -> (String, String) {
        let client = self
            .whole_client(types::CreateUserPoolClientRequest {
                generate_secret: Some(true),
                prevent_user_existence_errors: hides.then(|| "ENABLED".to_owned()),
                ..Default::default()
            })
            .await;
        (client.client_id.unwrap(), client.client_secret.unwrap())
    }

    // ---- users ------------------------------------------------------------------------------

    /// Makes a user who must change the password, and answers its sub.
    async fn temporary_user(&self, username: &str, pairs: &[(&str, &str)]) -> String {
        let request = types::AdminCreateUserRequest {
            user_pool_id: Some(self.pool_id.clone()),
            username: Some(username.to_owned()),
            user_attributes: attributes(pairs),
            temporary_password: Some(PASSWORD.to_owned()),
            message_action: Some("SUPPRESS".to_owned()),
            ..Default::default()
        };
        let response = users::admin_create_user(&self.test, &signed_call(), request).await;
        let attributes = response.expect("makes a user").user.expect("answers it").attributes;
        let sub = attributes.into_iter().find(|held| held.name.as_deref() == Some("sub"));
        self.store.take_trips();
        sub.expect("has a sub").value.expect("with a value")
    }

    /// Makes a user whose password is [`PASSWORD`], and answers its sub.
    async fn user(&self, username: &str, pairs: &[(&str, &str)]) -> String {
        let sub = self.temporary_user(username, pairs).await;
        set_password(&self.test, &self.pool_id, username, PASSWORD).await;
        self.store.take_trips();
        sub
    }

    async fn unconfirmed_user(&self, username: &str) {
        let request = types::SignUpRequest {
            client_id: Some(self.client_id.clone()),
            username: Some(username.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..Default::default()
        };
        users::sign_up(&self.test, &unsigned_call(), request).await.expect("signs up");
    }

    /// What operations that are not built yet do to a user.
    async fn edit(&self, sub: &str, edit: impl Fn(&mut UserRecord) + Send + Sync) {
        edit_user(&self.test, &self.pool_id, sub, edit).await;
        self.store.take_trips();
    }

    async fn disable(&self, sub: &str) {
        self.edit(sub, |user| user.enabled = false).await;
    }

    async fn sign_out_everywhere(&self, sub: &str) {
        let now_ms = self.clock.now_ms();
        self.edit(sub, |user| user.sessions_valid_from_ms = now_ms + 1).await;
    }

    /// The first thousand sessions of a user.
    async fn sessions(&self, sub: &str) -> Vec<SessionRecord> {
        let read = ReadSessions { pool_id: &self.pool_id, sub, after: Vec::new() };
        transact(&self.test.world, &read).await.expect("reads")
    }

    /// The ids of all sessions of a user.
    async fn session_ids(&self, sub: &str) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        loop {
            let after = ids.last().map(|id| super::access_token::session_key(sub, id));
            let read =
                ReadSessions { pool_id: &self.pool_id, sub, after: after.unwrap_or_default() };
            let sessions = transact(&self.test.world, &read).await.expect("reads");
            if sessions.is_empty() {
                return ids;
            }
            ids.extend(sessions.into_iter().map(|session| session.origin_jti));
        }
    }

    // ---- requests ---------------------------------------------------------------------------

    async fn initiate(
        &self,
        client_id: &str,
        flow: &str,
        parameters: &[(&str, &str)],
    ) -> Result<types::InitiateAuthResponse, ApiError> {
        let request = types::InitiateAuthRequest {
            auth_flow: Some(flow.to_owned()),
            auth_parameters: map(parameters),
            client_id: Some(client_id.to_owned()),
            ..Default::default()
        };
        declared("InitiateAuth", initiate_auth(&self.world, &unsigned_call(), request).await)
    }

    async fn sign_in(
        &self,
        client_id: &str,
        username: &str,
        password: &str,
    ) -> Result<types::InitiateAuthResponse, ApiError> {
        let parameters = [("USERNAME", username), ("PASSWORD", password)];
        self.initiate(client_id, "USER_PASSWORD_AUTH", &parameters).await
    }

    async fn tokens(&self, username: &str) -> types::AuthenticationResultType {
        let response = self.sign_in(&self.client_id, username, PASSWORD).await.expect("signs in");
        self.store.take_trips();
        response.authentication_result.expect("answers tokens")
    }

    async fn refresh(
        &self,
        client_id: &str,
        token: &str,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let response =
            self.initiate(client_id, "REFRESH_TOKEN_AUTH", &[("REFRESH_TOKEN", token)]).await?;
        Ok(response.authentication_result.expect("answers tokens"))
    }

    async fn respond(
        &self,
        client_id: &str,
        challenge: &str,
        session: Option<&str>,
        responses: BTreeMap<String, String>,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let request = types::RespondToAuthChallengeRequest {
            client_id: Some(client_id.to_owned()),
            challenge_name: Some(challenge.to_owned()),
            session: session.map(str::to_owned),
            challenge_responses: responses,
            ..Default::default()
        };
        let result = respond_to_auth_challenge(&self.world, &unsigned_call(), request).await;
        declared("RespondToAuthChallenge", result)
    }

    async fn get_tokens(
        &self,
        client_id: &str,
        token: &str,
    ) -> Result<types::AuthenticationResultType, ApiError> {
        let request = get_tokens_request(client_id, token);
        let result = get_tokens_from_refresh_token(&self.world, &unsigned_call(), request).await;
        let response = declared("GetTokensFromRefreshToken", result)?;
        Ok(response.authentication_result.expect("answers tokens"))
    }

    async fn revoke(&self, client_id: &str, token: &str) -> Result<(), ApiError> {
        let request = types::RevokeTokenRequest {
            client_id: Some(client_id.to_owned()),
            token: Some(token.to_owned()),
            ..Default::default()
        };
        let result = revoke_token(&self.world, &unsigned_call(), request).await;
        declared("RevokeToken", result).map(|_| ())
    }

    async fn global_sign_out(&self, token: &str) -> Result<(), ApiError> {
        let request = types::GlobalSignOutRequest { access_token: Some(token.to_owned()) };
        let result = users::global_sign_out(&self.world, &unsigned_call(), request).await;
        declared("GlobalSignOut", result).map(|_| ())
    }

    async fn get_user(&self, token: &str) -> Result<types::GetUserResponse, ApiError> {
        let request = types::GetUserRequest { access_token: Some(token.to_owned()) };
        declared("GetUser", users::get_user(&self.world, &unsigned_call(), request).await)
    }

    async fn start_srp(
        &self,
        client_id: &str,
        username: &str,
        more: &[(&str, &str)],
    ) -> Result<Challenge, ApiError> {
        let session = client::Session::with_private(&[7; 32]).expect("computes");
        let public = session.public_hex();
        let parameters = [&[("USERNAME", username), ("SRP_A", public.as_str())], more].concat();
        let response = self.initiate(client_id, "USER_SRP_AUTH", &parameters).await?;
        assert_eq!(response.challenge_name.as_deref(), Some("PASSWORD_VERIFIER"));
        assert_eq!(response.session, None);
        assert!(response.authentication_result.is_none());
        Ok(Challenge { session, parameters: response.challenge_parameters })
    }

    fn timestamp(&self) -> String {
        srp_math::format_timestamp(self.clock.now_ms() as u64 / 1_000)
    }

    /// What a client answers that takes `password` for the user's.
    fn claim(&self, challenge: &Challenge, password: &str) -> BTreeMap<String, String> {
        self.claim_at(challenge, password, &self.timestamp())
    }

    fn claim_at(
        &self,
        challenge: &Challenge,
        password: &str,
        timestamp: &str,
    ) -> BTreeMap<String, String> {
        let pool_name = self.pool_id.split_once('_').expect("a pool id").1;
        let parameters = client::Challenge {
            srp_b: challenge.get("SRP_B"),
            salt: challenge.get("SALT"),
            secret_block: challenge.get("SECRET_BLOCK"),
            user_id: challenge.get("USER_ID_FOR_SRP"),
        };
        let signature =
            challenge.session.answer(pool_name, password.as_bytes(), &parameters, timestamp);
        map(&[
            ("USERNAME", challenge.get("USERNAME")),
            ("PASSWORD_CLAIM_SECRET_BLOCK", challenge.get("SECRET_BLOCK")),
            ("PASSWORD_CLAIM_SIGNATURE", &signature.expect("computes")),
            ("TIMESTAMP", timestamp),
        ])
    }

    async fn answer_srp(
        &self,
        client_id: &str,
        claim: BTreeMap<String, String>,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        self.respond(client_id, "PASSWORD_VERIFIER", None, claim).await
    }

    async fn srp(
        &self,
        client_id: &str,
        username: &str,
        password: &str,
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let challenge = self.start_srp(client_id, username, &[]).await?;
        self.answer_srp(client_id, self.claim(&challenge, password)).await
    }

    /// The session of NEW_PASSWORD_REQUIRED.
    async fn new_password_session(&self, client_id: &str, username: &str) -> String {
        let response = self.sign_in(client_id, username, PASSWORD).await.expect("is challenged");
        assert_eq!(response.challenge_name.as_deref(), Some("NEW_PASSWORD_REQUIRED"));
        self.store.take_trips();
        response.session.expect("has a session")
    }

    async fn answer_new_password(
        &self,
        session: &str,
        responses: &[(&str, &str)],
    ) -> Result<types::RespondToAuthChallengeResponse, ApiError> {
        let challenge = "NEW_PASSWORD_REQUIRED";
        self.respond(&self.client_id, challenge, Some(session), map(responses)).await
    }

    // ---- circumstances ----------------------------------------------------------------------

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// What another gateway does between this one's next read and its commit.
    fn meanwhile<F>(&self, act: impl FnOnce(World, String) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let other = gateway(&self.test, Arc::clone(&self.store) as Arc<dyn Store>);
        *self.hooked.before_commit.lock() = Some(Box::pin(act(other, self.pool_id.clone())));
    }

    /// What another gateway does between this one's next commit and its answer.
    fn after_commit<F>(&self, act: impl FnOnce(World, String) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let other = gateway(&self.test, Arc::clone(&self.store) as Arc<dyn Store>);
        *self.hooked.after_commit.lock() = Some(Box::pin(act(other, self.pool_id.clone())));
    }

    /// What becomes of the next commits of the gateway under test, in turn.
    fn commits_meet(&self, faults: &[Fault]) {
        *self.hooked.faults.lock() = faults.iter().rev().copied().collect();
    }

    /// Changes a client, as an operation does that is not built yet.
    async fn edit_client(&self, client_id: &str, edit: impl Fn(&mut ClientRecord) + Send + Sync) {
        let edit = EditClient { pool_id: &self.pool_id, client_id, edit };
        transact(&self.test.world, &edit).await.expect("edits a client");
    }

    /// From now on whatever takes the processor for long is refused.
    fn without_processor(mut self) -> Self {
        self.world.cpu = CpuPool::new(0, 0, Duration::ZERO);
        self
    }
}

fn get_tokens_request(client_id: &str, token: &str) -> types::GetTokensFromRefreshTokenRequest {
    types::GetTokensFromRefreshTokenRequest {
        client_id: Some(client_id.to_owned()),
        refresh_token: Some(token.to_owned()),
        ..Default::default()
    }
}

fn secret_hash(secret: &str, username: &str, client_id: &str) -> String {
    mac::secret_hash(secret, username, client_id)
}

async fn set_password(world: &World, pool_id: &str, username: &str, password: &str) {
    let request = types::AdminSetUserPasswordRequest {
        user_pool_id: Some(pool_id.to_owned()),
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        permanent: Some(true),
    };
    users::admin_set_user_password(world, &signed_call(), request).await.expect("sets a password");
}

async fn delete_user(world: &World, pool_id: &str, username: &str) {
    let request = types::AdminDeleteUserRequest {
        user_pool_id: Some(pool_id.to_owned()),
        username: Some(username.to_owned()),
    };
    users::admin_delete_user(world, &signed_call(), request).await.expect("deletes a user");
}

async fn edit_user(
    world: &World,
    pool_id: &str,
    sub: &str,
    edit: impl Fn(&mut UserRecord) + Send + Sync,
) {
    transact(world, &EditUser { pool_id, sub, edit }).await.expect("edits a user");
}

struct EditUser<'a, F> {
    pool_id: &'a str,
    sub: &'a str,
    edit: F,
}

#[async_trait]
impl<F: Fn(&mut UserRecord) + Send + Sync> Transaction for EditUser<'_, F> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new().get(keys::user(self.sub))).await?;
        let old = tx.get::<UserRecord>(&keys::user(self.sub))?.expect("the user exists").record;
        let mut new = old.clone();
        (self.edit)(&mut new);
        users::index::write_user(tx, Some(&old), &new)?;
        Ok(().into())
    }
}

struct EditClient<'a, F> {
    pool_id: &'a str,
    client_id: &'a str,
    edit: F,
}

#[async_trait]
impl<F: Fn(&mut ClientRecord) + Send + Sync> Transaction for EditClient<'_, F> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let key = keys::client(self.client_id);
        tx.load(Query::new().get(key.clone())).await?;
        let mut record = tx.get::<ClientRecord>(&key)?.expect("the client exists").record;
        (self.edit)(&mut record);
        tx.put(key, &record);
        tx.bump_epoch();
        Ok(().into())
    }
}

struct ReadSessions<'a> {
    pool_id: &'a str,
    sub: &'a str,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ReadSessions<'_> {
    type Output = Vec<SessionRecord>;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Vec<SessionRecord>> {
        let prefix = keys::user_child(self.sub, keys::UserChild::Session, &[]);
        let pages = tx.load(Query::new().scan(prefix, self.after.clone(), 1_000)).await?;
        let rows = pages.into_iter().flat_map(|page| page.rows);
        let decode = |value| prost::Message::decode(value).expect("a session");
        Ok(rows.map(|(_, value)| decode(value)).collect::<Vec<SessionRecord>>().into())
    }
}
