//! A world for tests: a store in memory, seeded randomness, a clock that moves when it is told to, and
//! messages that stay here.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use conclave_api::types;
use conclave_crypto::{
    password::{Params, PasswordHasher},
    seal::StaticKek,
    secret::Key256,
    testing::SeededEntropy,
};
use conclave_outbound::{Channel, DataKeys, Message, Messenger, SendError, Triggers};
use conclave_store::{
    Clock, Store, StoreError,
    memory::{MemoryStore, Trips},
    proto,
};
use parking_lot::Mutex;

mod data_keys;
mod functions;

pub(crate) use data_keys::TestKeys;
pub(crate) use functions::Functions;

use crate::{
    call::{Call, CallPrincipal},
    clients::create_user_pool_client,
    cluster_key::ClusterKeys,
    config_cache::ConfigCache,
    cpu::CpuPool,
    directory::{self, NewCluster},
    limits::Limits,
    pools::create_user_pool,
    signing_keys,
    world::{Settings, World},
};

/// The account of [`signed_call`].
pub(crate) const ACCOUNT: &str = "111122223333";
/// The region of [`signed_call`].
pub(crate) const REGION: &str = "us-east-1";
/// The time at which every test begins: 2026-01-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

/// A world, and the handles on what is fake in it.
pub(crate) struct TestWorld {
    /// What operations take.
    pub world: World,
    /// Counts round trips, and fails when it is told to.
    pub store: Arc<TestStore>,
    /// The group clock follows it.
    pub clock: Arc<TestClock>,
    /// What was sent.
    pub outbox: Arc<Outbox>,
    /// What pools' functions were asked, and what they answer.
    pub functions: Arc<Functions>,
    /// Where senders' data keys come from.
    pub data_keys: Arc<TestKeys>,
}

impl Deref for TestWorld {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// A new cluster with three pool groups, and nothing in it.
pub(crate) async fn test_world() -> TestWorld {
    test_world_of(1).await
}

/// One whose keys, and all that is drawn, follow from a seed.
pub(crate) async fn test_world_of(seed: u64) -> TestWorld {
    let clock = Arc::new(TestClock(AtomicI64::new(START_MS)));
    let store = Arc::new(TestStore {
        memory: MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>),
        commits_until_failure: AtomicU64::new(0),
    });
    let entropy = Arc::new(SeededEntropy::new(seed));
    let outbox = Arc::new(Outbox::default());
    let functions = Arc::new(Functions::default());
    let data_keys = Arc::new(TestKeys::new(Arc::new(SeededEntropy::new(2))));
    let kek = StaticKek::new(Key256::new([7; 32]), Vec::new());
    let new = NewCluster { cluster_id: "test".to_owned(), pool_groups: 3 };
    let directory = directory::open(&*store, &kek, &*entropy, &new).await.expect("opens");
    store.take_trips();
    let passwords = PasswordHasher::new(Params::INSECURE_FOR_TESTS, 4).expect("valid parameters");
    let world = World {
        store: Arc::clone(&store) as Arc<dyn Store>,
        entropy,
        cpu: CpuPool::new(4, 1_000, Duration::from_secs(60)),
        passwords: Arc::new(passwords),
        messenger: Arc::clone(&outbox) as Arc<dyn Messenger>,
        triggers: Arc::clone(&functions) as Arc<dyn Triggers>,
        data_keys: Arc::clone(&data_keys) as Arc<dyn DataKeys>,
        cluster_keys: Arc::new(ClusterKeys::new(directory.cluster_keys, Duration::MAX)),
        hint_key: directory.hint_key,
        configs: ConfigCache::new(100),
        compromised_passwords: None,
        settings: Settings {
            public_url: "https://id.example.com".to_owned(),
            pool_groups: directory.pool_groups,
            pools_per_account_max: 1_000,
            clients_per_pool_max: 1_000,
            limits: Limits::default(),
            sender_domains: None,
            signing_keys: signing_keys::Timing::default(),
        },
    };
    TestWorld { world, store, clock, outbox, functions, data_keys }
}

/// A principal of `account_id` in [`REGION`].
pub(crate) fn principal(account_id: &str) -> CallPrincipal {
    CallPrincipal {
        account_id: account_id.to_owned(),
        region: REGION.to_owned(),
        arn: format!("arn:aws:iam::{account_id}:user/tester"),
    }
}

/// A signed call of [`ACCOUNT`].
pub(crate) fn signed_call() -> Call {
    signed_call_of(ACCOUNT, REGION)
}

/// A signed call of another account, or to another region.
pub(crate) fn signed_call_of(account_id: &str, region: &str) -> Call {
    let principal = CallPrincipal { region: region.to_owned(), ..principal(account_id) };
    Call { principal: Some(principal), ..unsigned_call() }
}

/// A call that carries a token, or nothing.
pub(crate) fn unsigned_call() -> Call {
    Call {
        principal: None,
        request_id: "00000000-0000-4000-8000-000000000001".to_owned(),
        peer: None,
    }
}

/// Makes a pool with a name alone, and answers its id.
pub(crate) async fn new_pool(world: &World) -> String {
    new_pool_with(world, types::CreateUserPoolRequest::default()).await
}

/// Makes a pool. A request without a name gets one.
pub(crate) async fn new_pool_with(world: &World, request: types::CreateUserPoolRequest) -> String {
    let pool_name = request.pool_name.clone().or_else(|| Some("pool".to_owned()));
    let request = types::CreateUserPoolRequest { pool_name, ..request };
    let response = create_user_pool(world, &signed_call(), request).await.expect("makes a pool");
    response.user_pool.and_then(|pool| pool.id).expect("a pool has an id")
}

/// Makes an app client of a pool. A request without a name gets one.
pub(crate) async fn new_client_with(
    world: &World,
    pool_id: &str,
    request: types::CreateUserPoolClientRequest,
) -> types::UserPoolClientType {
    let request = types::CreateUserPoolClientRequest {
        user_pool_id: Some(pool_id.to_owned()),
        client_name: request.client_name.clone().or_else(|| Some("client".to_owned())),
        ..request
    };
    let response = create_user_pool_client(world, &signed_call(), request).await;
    response.expect("makes a client").user_pool_client.expect("answers the client")
}

/// See [`TestWorld::clock`].
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// One that stands at a time, in milliseconds since 1970.
    pub fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A store in memory that fails when it is told to.
pub(crate) struct TestStore {
    memory: MemoryStore,
    /// 0: never.
    commits_until_failure: AtomicU64,
}

impl TestStore {
    /// The `nth` commit from now on (the next one is 1) is not done and answers that the store is
    /// unavailable, as when the gateway dies before it.
    pub fn fail_commit(&self, nth: u64) {
        self.commits_until_failure.store(nth, Ordering::SeqCst);
    }

    /// Requests answered since the last call.
    pub fn take_trips(&self) -> Trips {
        self.memory.take_trips()
    }

    /// Rows that reads have looked at since the last call.
    pub fn take_rows_read(&self) -> u64 {
        self.memory.take_rows_read()
    }

    /// Every row of the store.
    pub fn physical_rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.memory.physical_rows()
    }

    /// Every key of the store.
    pub fn physical_keys(&self) -> Vec<Vec<u8>> {
        self.memory.physical_keys()
    }
}

#[async_trait]
impl Store for TestStore {
    async fn read(&self, read: proto::Read) -> Result<proto::ReadResult, StoreError> {
        self.memory.read(read).await
    }

    async fn commit(&self, commit: proto::Commit) -> Result<proto::Outcome, StoreError> {
        let count_down = |left: u64| left.checked_sub(1);
        let left =
            self.commits_until_failure.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down);
        if left == Ok(1) {
            return Err(StoreError::Unavailable { detail: "as the test wants it".to_owned() });
        }
        self.memory.commit(commit).await
    }
}

/// Messages that were sent.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Vec<Message>>, AtomicBool);

impl Outbox {
    /// From now on nothing can be sent, as when the mail server is gone.
    pub fn fail(&self) {
        self.1.store(true, Ordering::SeqCst);
    }

    /// The messages since the last call, oldest first.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.0.lock())
    }
}

#[async_trait]
impl Messenger for Outbox {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        self.post(message)
    }

    fn post(&self, message: Message) -> Result<(), SendError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(SendError::Unavailable("as the test wants it".to_owned()));
        }
        self.0.lock().push(message);
        Ok(())
    }

    fn pretend(&self, _channel: Channel) -> Result<(), SendError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(SendError::Unavailable("as the test wants it".to_owned()));
        }
        Ok(())
    }
}
