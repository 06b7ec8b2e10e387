//! The directory: what the cluster was made with, its accounts, and who may sign requests.
//!
//! [`open`] is the first thing that a process does with a store: it makes the directory of a new
//! cluster, or reads that of an old one, and hands out the keys that everything else is sealed with.

mod relocate;

pub use relocate::{ClusterKeys, relocate, unwrap_cluster_keys};

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_crypto::{
    entropy::{self, Entropy},
    ids,
    seal::{self, KekError, KekProvider, Keyring},
    secret::{Key256, SecretString},
};
use conclave_store::{
    DIRECTORY_SCOPE, Store, StoreError, keys, proto,
    records::{AccessKeyRecord, AccountRecord, ClusterRecord},
};
use prost::Message;

use crate::{
    cluster_key, errors,
    sealed::{self, Place},
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// The keys of a cluster, as the directory holds them.
pub struct Directory {
    /// Chosen when the cluster was made.
    pub cluster_id: String,
    /// Wraps the pools' keys, and seals what the directory holds.
    pub cluster_keys: Keyring,
    /// Authenticates the hints in pool and client ids.
    pub hint_key: Key256,
    /// Groups that hold pools, numbered from 1.
    pub pool_groups: u32,
}

/// What a new cluster is made with.
#[derive(Debug, Clone)]
pub struct NewCluster {
    /// A name that no other cluster has.
    pub cluster_id: String,
    /// Groups that hold pools; it cannot be changed later.
    pub pool_groups: u32,
}

/// Why the directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key-encryption key is not the one that the cluster was made with, or is out of reach.
    #[error("the cluster's keys cannot be unwrapped")]
    Kek(#[from] KekError),
    /// What is stored is not what this version writes.
    #[error("the directory is damaged: {0}")]
    Damaged(&'static str),
    /// This process is configured for another cluster.
    #[error(
        "the store belongs to cluster {found}, and this process is configured for {configured}"
    )]
    OtherCluster {
        /// In the directory.
        found: String,
        /// In the configuration.
        configured: String,
    },
}

/// Opens the directory of the cluster, and makes it when there is none yet.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(
    store: &dyn Store,
    kek: &dyn KekProvider,
    entropy: &dyn Entropy,
    new: &NewCluster,
) -> Result<Directory, OpenError> {
    // the second round reads what the first has written, or another process has in the meantime
    for _ in 0..4 {
        let read = proto::Read {
            scope: DIRECTORY_SCOPE.to_owned(),
            gets: vec![keys::cluster().into()],
            ..Default::default()
        };
        let result = store.read(read).await?;
        let record = result.rows.first().and_then(|row| row.value.clone());
        match record {
            Some(record) => {
                let record = ClusterRecord::decode(record)
                    .map_err(|_| OpenError::Damaged("the cluster's record cannot be decoded"))?;
                return unlock(&record, kek, new).await;
            }
            None if result.scope_exists => {
                return Err(OpenError::Damaged("there is no cluster record"));
            }
            None => create(store, kek, entropy, new, result.now_ms).await?,
        }
    }
    Err(OpenError::Damaged("the directory cannot be made"))
}

async fn unlock(
    record: &ClusterRecord,
    kek: &dyn KekProvider,
    new: &NewCluster,
) -> Result<Directory, OpenError> {
    if record.cluster_id != new.cluster_id {
        return Err(OpenError::OtherCluster {
            found: record.cluster_id.clone(),
            configured: new.cluster_id.clone(),
        });
    }
    if cluster_key::current(record).is_none() {
        return Err(OpenError::Damaged("the cluster has no key"));
    }
    let cluster_keys = cluster_key::unwrap(record, kek).await?;
    let hint_key = cluster_keys
        .unwrap_key(&[record.cluster_id.as_bytes(), b"hint key"], &record.sealed_hint_key)
        .map_err(|_| OpenError::Damaged("the hint key does not open"))?;
    Ok(Directory {
        cluster_id: record.cluster_id.clone(),
        cluster_keys,
        hint_key,
        pool_groups: record.pool_groups,
    })
}

async fn create(
    store: &dyn Store,
    kek: &dyn KekProvider,
    entropy: &dyn Entropy,
    new: &NewCluster,
    now_ms: i64,
) -> Result<(), OpenError> {
    const FIRST: u32 = 1;
    let cluster_key = seal::generate_key(entropy);
    let (id, version) = (&new.cluster_id, FIRST);
    let wrapped = cluster_key::wrap(id, version, &cluster_key, kek, entropy, now_ms).await?;
    let unusable = |_| OpenError::Damaged("a new key cannot be used");
    let cluster_keys = Keyring::new(FIRST, [(FIRST, cluster_key)]).map_err(unusable)?;
    let hint_key = seal::generate_key(entropy);
    let hint_scope: [&[u8]; 2] = [new.cluster_id.as_bytes(), b"hint key"];
    let record = ClusterRecord {
        cluster_id: new.cluster_id.clone(),
        created_ms: now_ms,
        keys: vec![wrapped],
        current_key: FIRST,
        pool_groups: new.pool_groups,
        sealed_hint_key: cluster_keys
            .wrap_key(&hint_scope, &hint_key, entropy)
            .map_err(unusable)?
            .into(),
    };
    let put = |key: &[u8], value: Vec<u8>| proto::Write {
        key: Bytes::copy_from_slice(key),
        action: Some(proto::write::Action::Put(proto::Put {
            value: value.into(),
            expires_at_ms: None,
        })),
    };
    let id: [u8; 16] = entropy::bytes(entropy);
    let commit = proto::Commit {
        id: Bytes::copy_from_slice(&id),
        scope: DIRECTORY_SCOPE.to_owned(),
        decided_ms: now_ms,
        epoch: None,
        checks: vec![proto::Check {
            key: Bytes::from_static(keys::ROOT),
            expect: Some(proto::check::Expect::Absent(true)),
        }],
        writes: vec![put(keys::ROOT, Vec::new()), put(&keys::cluster(), record.encode_to_vec())],
    };
    // a conflict or an unknown outcome shows at the next read
    match store.commit(commit).await {
        Ok(_) | Err(StoreError::Unknown { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A principal's access key, unsealed.
pub struct AccessKey {
    /// As stored.
    pub record: AccessKeyRecord,
    /// What requests are signed with.
    pub secret: SecretString,
}

impl AccessKey {
    /// `arn:aws:iam::<account>:<user/name>`.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:{}", self.record.account_id, self.record.principal)
    }
}

/// The active access key of that id, in one read.
///
/// # Errors
/// The store's.
pub async fn find_access_key(
    world: &World,
    access_key_id: &str,
) -> Result<Option<AccessKey>, ApiError> {
    if access_key_id.is_empty() || access_key_id.len() > ACCESS_KEY_ID_LEN_MAX {
        return Ok(None);
    }
    transact(world, &FindAccessKey { access_key_id }).await
}

/// Longer ids are not looked up.
const ACCESS_KEY_ID_LEN_MAX: usize = 128;

struct FindAccessKey<'a> {
    access_key_id: &'a str,
}

#[async_trait]
impl Transaction for FindAccessKey<'_> {
    type Output = Option<AccessKey>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let key = keys::access_key(self.access_key_id);
        tx.load(Query::new().get(key.clone())).await?;
        let Some(stored) = tx.get::<AccessKeyRecord>(&key)? else { return Ok(None.into()) };
        if !stored.record.active {
            return Ok(None.into());
        }
        let place = Place { scope: DIRECTORY_SCOPE, key: &key, field: "secret" };
        let secret =
            sealed::open(&tx.world().cluster_keys.get(), place, &stored.record.sealed_secret)?;
        let secret = String::from_utf8(secret.expose().clone())
            .map_err(|_| errors::internal("an access key's secret is not a text"))?;
        Ok(Some(AccessKey { record: stored.record, secret: SecretString::new(secret) }).into())
    }
}

/// Makes an account. Its id is given, or drawn.
///
/// # Errors
/// InvalidParameterException when the id is taken or is not 12 digits.
pub async fn create_account(
    world: &World,
    account_id: Option<&str>,
    name: &str,
) -> Result<AccountRecord, ApiError> {
    let account_id = match account_id {
        Some(id) => id.to_owned(),
        None => ids::random_text(&*world.entropy, b"0123456789", 12),
    };
    if account_id.len() != 12 || !account_id.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(ApiError::invalid_parameter("an account id has 12 digits"));
    }
    transact(world, &CreateAccount { account_id: &account_id, name }).await
}

struct CreateAccount<'a> {
    account_id: &'a str,
    name: &'a str,
}

#[async_trait]
impl Transaction for CreateAccount<'_> {
    type Output = AccountRecord;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let key = keys::account(self.account_id);
        tx.load(Query::new().get(key.clone())).await?;
        if tx.get::<AccountRecord>(&key)?.is_some() {
            return Err(ApiError::invalid_parameter("there is an account with this id").into());
        }
        let record = AccountRecord {
            account_id: self.account_id.to_owned(),
            name: self.name.to_owned(),
            created_ms: tx.now_ms(),
        };
        tx.put(key, &record);
        Ok(record.into())
    }
}

/// What a new access key is made with.
#[derive(Clone, Default)]
pub struct NewAccessKey {
    /// The account, which must exist.
    pub account_id: String,
    /// The part of the ARN behind the account: `user/name`.
    pub principal: String,
    /// An IAM policy document; empty: everything within the account.
    pub policy_json: String,
    /// A fixed id and secret, for developers; otherwise both are drawn.
    pub given: Option<(String, SecretString)>,
}

/// Makes an access key. Its secret is shown here and never again.
///
/// # Errors
/// ResourceNotFoundException without the account; InvalidParameterException when the id is taken.
pub async fn create_access_key(world: &World, new: NewAccessKey) -> Result<AccessKey, ApiError> {
    let (access_key_id, secret) = new.given.clone().unwrap_or_else(|| {
        const ID: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let id = format!("AKIA{}", ids::random_text(&*world.entropy, ID, 16));
        (id, SecretString::new(ids::alphanumeric(&*world.entropy, 40)))
    });
    transact(world, &CreateAccessKey { new: &new, access_key_id: &access_key_id, secret: &secret })
        .await
}

struct CreateAccessKey<'a> {
    new: &'a NewAccessKey,
    access_key_id: &'a str,
    secret: &'a SecretString,
}

#[async_trait]
impl Transaction for CreateAccessKey<'_> {
    type Output = AccessKey;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let account_key = keys::account(&self.new.account_id);
        let key = keys::access_key(self.access_key_id);
        tx.load(Query::new().get(account_key.clone()).get(key.clone())).await?;
        if tx.get::<AccountRecord>(&account_key)?.is_none() {
            return Err(ApiError::resource_not_found("there is no account with this id").into());
        }
        if tx.get::<AccessKeyRecord>(&key)?.is_some() {
            return Err(ApiError::invalid_parameter("there is an access key with this id").into());
        }
        let place = Place { scope: DIRECTORY_SCOPE, key: &key, field: "secret" };
        let world = tx.world();
        let plain = self.secret.expose().as_bytes();
        let keyring = world.cluster_keys.for_sealing()?;
        let record = AccessKeyRecord {
            access_key_id: self.access_key_id.to_owned(),
            account_id: self.new.account_id.clone(),
            principal: self.new.principal.clone(),
            sealed_secret: sealed::seal(world, &keyring, place, plain)?.into(),
            active: true,
            policy_json: self.new.policy_json.clone(),
            created_ms: tx.now_ms(),
        };
        tx.rely_on_root(account_key);
        tx.put(key, &record);
        Ok(AccessKey { record, secret: self.secret.clone() }.into())
    }
}

/// The account of that id.
///
/// # Errors
/// The store's.
pub async fn find_account(
    world: &World,
    account_id: &str,
) -> Result<Option<AccountRecord>, ApiError> {
    transact(world, &FindAccount { account_id }).await
}

struct FindAccount<'a> {
    account_id: &'a str,
}

#[async_trait]
impl Transaction for FindAccount<'_> {
    type Output = Option<AccountRecord>;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let key = keys::account(self.account_id);
        tx.load(Query::new().get(key.clone())).await?;
        Ok(tx.get::<AccountRecord>(&key)?.map(|stored| stored.record).into())
    }
}

/// Calls an account otherwise.
///
/// # Errors
/// ResourceNotFoundException without the account.
pub async fn rename_account(world: &World, account_id: &str, name: &str) -> Result<(), ApiError> {
    transact(world, &RenameAccount { account_id, name }).await
}

struct RenameAccount<'a> {
    account_id: &'a str,
    name: &'a str,
}

#[async_trait]
impl Transaction for RenameAccount<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let key = keys::account(self.account_id);
        tx.load(Query::new().get(key.clone())).await?;
        let Some(present) = tx.get::<AccountRecord>(&key)? else {
            return Err(ApiError::resource_not_found("there is no account with this id").into());
        };
        tx.put(key, &AccountRecord { name: self.name.to_owned(), ..present.record });
        Ok(().into())
    }
}

/// Gives an access key another secret, principal or policy. Gateways take them over within a second.
///
/// # Errors
/// ResourceNotFoundException when the account has no such key.
pub async fn replace_access_key(world: &World, new: NewAccessKey) -> Result<(), ApiError> {
    transact(world, &ReplaceAccessKey { new: &new }).await
}

struct ReplaceAccessKey<'a> {
    new: &'a NewAccessKey,
}

#[async_trait]
impl Transaction for ReplaceAccessKey<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        let not_found = || ApiError::resource_not_found("there is no access key with this id");
        let (access_key_id, secret) = self.new.given.as_ref().ok_or_else(not_found)?;
        let key = keys::access_key(access_key_id);
        tx.load(Query::new().get(key.clone())).await?;
        let present = tx.get::<AccessKeyRecord>(&key)?.ok_or_else(not_found)?.record;
        if present.account_id != self.new.account_id {
            return Err(not_found().into());
        }
        let world = tx.world();
        let place = Place { scope: DIRECTORY_SCOPE, key: &key, field: "secret" };
        let plain = secret.expose().as_bytes();
        let keyring = world.cluster_keys.for_sealing()?;
        let record = AccessKeyRecord {
            principal: self.new.principal.clone(),
            policy_json: self.new.policy_json.clone(),
            sealed_secret: sealed::seal(world, &keyring, place, plain)?.into(),
            ..present
        };
        tx.put(key, &record);
        Ok(().into())
    }
}

/// Ends an access key. Gateways stop accepting it within a second.
///
/// # Errors
/// ResourceNotFoundException when there is no such key.
pub async fn delete_access_key(world: &World, access_key_id: &str) -> Result<(), ApiError> {
    transact(world, &DeleteAccessKey { access_key_id }).await
}

struct DeleteAccessKey<'a> {
    access_key_id: &'a str,
}

#[async_trait]
impl Transaction for DeleteAccessKey<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let key = keys::access_key(self.access_key_id);
        tx.load(Query::new().get(key.clone())).await?;
        if tx.get::<AccessKeyRecord>(&key)?.is_none() {
            return Err(ApiError::resource_not_found("there is no access key with this id").into());
        }
        tx.delete(key);
        Ok(().into())
    }
}

/// Accounts, or access keys, as an administrator lists them: without secrets.
///
/// # Errors
/// The store's.
pub async fn list_accounts(world: &World) -> Result<Vec<AccountRecord>, ApiError> {
    list(world, keys::accounts()).await
}

/// Every access key. The secrets stay sealed.
///
/// # Errors
/// The store's.
pub async fn list_access_keys(world: &World) -> Result<Vec<AccessKeyRecord>, ApiError> {
    list(world, keys::access_keys()).await
}

async fn list<R: Message + Default>(world: &World, prefix: Vec<u8>) -> Result<Vec<R>, ApiError> {
    const PAGE: u32 = 500;
    const PAGES_MAX: usize = 2_000;
    let mut records = Vec::new();
    let mut after = Vec::new();
    for _ in 0..PAGES_MAX {
        let page =
            transact(world, &ScanDirectory { prefix: &prefix, after: &after, limit: PAGE }).await?;
        for (_, value) in &page.rows {
            let record = R::decode(value.clone())
                .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
            records.push(record);
        }
        match page.next {
            Some(next) => after = next.to_vec(),
            None => return Ok(records),
        }
    }
    Err(ExceptionName::LimitExceededException.because("there are too many to list"))
}

struct ScanDirectory<'a> {
    prefix: &'a [u8],
    after: &'a [u8],
    limit: u32,
}

#[async_trait]
impl Transaction for ScanDirectory<'_> {
    type Output = crate::tx::Page;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = Query::new().scan(self.prefix.to_vec(), self.after.to_vec(), self.limit);
        let mut pages = tx.load(query).await?;
        let page = pages.pop().ok_or_else(|| errors::internal("a scan has no page"))?;
        Ok(page.into())
    }
}
