//! A pool's configuration, decoded and unsealed, as it stood at one epoch.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{
    fake::FakeUsers,
    seal::Keyring,
    secret::{Key256, SecretString},
    token::{Jwk, Jwks, SigningKey, VerifyingKey},
};
use conclave_store::{
    keys, proto,
    records::{
        ClientRecord, GroupRecord, KeySetRecord, PoolFreezeRecord, PoolKeysRecord, PoolRecord,
        SigningKeyRecord, WrappedKey, signing_key_record::State,
    },
};
use parking_lot::RwLock;
use prost::Message;

use crate::{
    errors,
    sealed::{self, Place},
    signing_keys::set,
    world::World,
};

/// App clients of one pool that are kept decoded.
const CLIENTS_KEPT_MAX: usize = 1_000;
/// Groups of one pool that are kept decoded, or known to be gone.
const GROUPS_KEPT_MAX: usize = 1_000;

/// What a token key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenUse {
    /// ID tokens.
    Id,
    /// Access tokens.
    Access,
}

impl TokenUse {
    /// As in `token_use` and in stored records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Access => "access",
        }
    }

    /// The inverse of [`TokenUse::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "access" => Some(Self::Access),
            _ => None,
        }
    }
}

/// A pool's configuration at one epoch.
pub struct PoolConfig {
    /// The epoch at which all of this was true.
    pub epoch: u64,
    /// As stored.
    pub record: PoolRecord,
    /// The pool's own keys.
    pub keyring: Keyring,
    /// Answers for users that do not exist.
    pub fake_users: FakeUsers,
    /// Nothing is written in it: it is being moved to another cluster.
    pub is_frozen: bool,
    key_set: KeySetRecord,
    signing: Vec<TokenKey>,
    clients: RwLock<HashMap<String, Arc<ClientConfig>>>,
    groups: RwLock<HashMap<String, Option<Arc<GroupRecord>>>>,
}

/// One signing key of a pool.
pub struct TokenKey {
    /// What it signs.
    pub token_use: TokenUse,
    /// `kid` of the tokens it signs.
    pub kid: String,
    /// Whether it will sign, signs, or has signed.
    pub state: State,
    /// As the JWKS shows it.
    pub jwk: Jwk,
    /// For checking tokens.
    pub verifying: VerifyingKey,
    /// For signing; `None` when it does not sign now.
    pub signing: Option<Arc<SigningKey>>,
}

/// An app client, with its secrets unsealed.
pub struct ClientConfig {
    /// As stored.
    pub record: ClientRecord,
    /// Empty for a public client.
    pub secrets: Vec<SecretString>,
}

impl PoolConfig {
    /// The rows that a configuration is made of, beside [`PoolConfig::scan`].
    pub(crate) fn gets() -> [Bytes; 4] {
        let root = Bytes::from_static(keys::ROOT);
        [root, keys::pool_keys().into(), keys::key_set().into(), keys::pool_freeze().into()]
    }

    pub(crate) fn scan() -> proto::Scan {
        proto::Scan {
            prefix: keys::signing_keys().into(),
            after: Bytes::new(),
            limit: set::ROWS_MAX,
        }
    }

    pub(crate) fn from_rows(
        world: &World,
        scope: &str,
        result: &proto::ReadResult,
    ) -> Result<Self, ApiError> {
        let record: PoolRecord =
            decode(result, keys::ROOT)?.ok_or_else(|| errors::internal("a pool has no root"))?;
        let pool_keys: PoolKeysRecord = decode(result, &keys::pool_keys())?
            .ok_or_else(|| errors::internal("a pool has no keys"))?;
        let keyring = unwrap_pool_keys(world, scope, &pool_keys)?;
        let place = Place { scope, key: &keys::pool_keys(), field: "unknown_user_secret" };
        let secret = sealed::open(&keyring, place, &pool_keys.sealed_unknown_user_secret)?;
        let secret: [u8; 32] = secret
            .expose()
            .as_slice()
            .try_into()
            .map_err(|_| errors::internal("the secret for unknown users has another length"))?;
        let mut signing = Vec::new();
        for row in &result.rows {
            if !row.key.starts_with(&keys::signing_keys()) {
                continue;
            }
            if let Some(value) = &row.value {
                let key = SigningKeyRecord::decode(value.clone()).map_err(|_| undecodable())?;
                // a read that asks for these rows for another reason too answers them twice
                if !signing.iter().any(|known: &TokenKey| known.kid == key.kid) {
                    signing.extend(TokenKey::open(&keyring, scope, &row.key, &key)?);
                }
            }
        }
        // the JWKS lists the key of ID tokens first and that of access tokens next, as Cognito's does: there are programs
        // that rely on it. The others follow in an order that is the same on all gateways.
        signing.sort_by_key(|key| {
            let rank = match key.state {
                State::Active => 0,
                State::Pending => 1,
                _ => 2,
            };
            (rank, key.token_use != TokenUse::Id)
        });
        Ok(Self {
            epoch: result.epoch,
            record,
            keyring,
            fake_users: FakeUsers::new(Key256::new(secret)),
            is_frozen: decode::<PoolFreezeRecord>(result, &keys::pool_freeze())?.is_some(),
            key_set: decode(result, &keys::key_set())?.unwrap_or_default(),
            signing,
            clients: RwLock::default(),
            groups: RwLock::default(),
        })
    }

    /// The pool's id.
    pub fn id(&self) -> &str {
        &self.record.pool_id
    }

    /// The part of the pool's id after `_`: what SRP calls the pool's name.
    pub fn srp_pool_name(&self) -> &str {
        self.id().split_once('_').map_or("", |(_, name)| name)
    }

    /// `iss` of the pool's tokens.
    pub fn issuer(&self, world: &World) -> String {
        format!("{}/{}", world.settings.public_url, self.id())
    }

    /// Whether user names and aliases differ by case.
    pub fn is_case_sensitive(&self) -> bool {
        self.record.case_sensitive.unwrap_or(true)
    }

    /// Whether a user of this pool can sign in by `attribute` beside the user name.
    pub fn signs_in_by(&self, attribute: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == attribute);
        named(&self.record.alias_attributes) || named(&self.record.username_attributes)
    }

    /// Every key whose tokens are accepted: what `jwks.json` shows, those that sign first.
    pub fn jwks(&self) -> Jwks {
        let dropped = |key: &&TokenKey| {
            key.state == State::Retiring && conclave_fault::bug("retiring-key-dropped")
        };
        let keys = self.signing.iter().filter(|key| !dropped(key));
        Jwks { keys: keys.map(|key| key.jwk.clone()).collect() }
    }

    /// The key of `token_use` with `kid`.
    pub fn verifying_key(&self, token_use: TokenUse, kid: &str) -> Option<&VerifyingKey> {
        let mut keys = self.signing.iter();
        keys.find(|key| key.token_use == token_use && key.kid == kid).map(|key| &key.verifying)
    }

    /// The key that signs tokens of `token_use` now.
    ///
    /// # Errors
    /// InternalErrorException when the pool has none.
    pub fn active_key(&self, token_use: TokenUse) -> Result<Arc<SigningKey>, ApiError> {
        let mut keys = self.signing.iter().filter(|key| key.token_use == token_use);
        keys.find_map(|key| key.signing.clone())
            .ok_or_else(|| errors::internal("a pool has no active signing key"))
    }

    /// Tokens of `token_use` that were issued before this time count no more, in milliseconds since 1970.
    pub fn tokens_not_before_ms(&self, token_use: TokenUse) -> i64 {
        set::use_of(&self.key_set, token_use).map_or(0, |entry| entry.tokens_not_before_ms)
    }

    /// A group, once [`Self::learn_group`] has been told what there is.
    pub(crate) fn group(&self, group_id: &str) -> Option<Option<Arc<GroupRecord>>> {
        self.groups.read().get(group_id).cloned()
    }

    /// Keeps what was read of a group at this epoch: every change of a group begins another one.
    pub(crate) fn learn_group(
        &self,
        group_id: &str,
        group: Option<GroupRecord>,
    ) -> Option<Arc<GroupRecord>> {
        let group = group.map(Arc::new);
        let mut groups = self.groups.write();
        if groups.len() >= GROUPS_KEPT_MAX {
            groups.clear();
        }
        groups.insert(group_id.to_owned(), group.clone());
        group
    }

    pub(crate) fn client(&self, client_id: &str) -> Option<Arc<ClientConfig>> {
        self.clients.read().get(client_id).cloned()
    }

    /// Keeps the client that `result`, read at this epoch, holds.
    pub(crate) fn learn_client(
        &self,
        client_id: &str,
        result: &proto::ReadResult,
    ) -> Result<Option<Arc<ClientConfig>>, ApiError> {
        let key = keys::client(client_id);
        let Some(record) = decode::<ClientRecord>(result, &key)? else { return Ok(None) };
        let client = Arc::new(ClientConfig::open(&self.keyring, self.id(), record)?);
        let mut clients = self.clients.write();
        if clients.len() >= CLIENTS_KEPT_MAX {
            clients.clear();
        }
        clients.insert(client_id.to_owned(), Arc::clone(&client));
        Ok(Some(client))
    }
}

impl TokenKey {
    fn open(
        keyring: &Keyring,
        scope: &str,
        row_key: &[u8],
        record: &SigningKeyRecord,
    ) -> Result<Option<Self>, ApiError> {
        // a use or a state of a later version is good for nothing here
        let Some(token_use) = TokenUse::parse(&record.r#use) else { return Ok(None) };
        let state = record.state();
        if matches!(state, State::Unspecified | State::Revoked) {
            return Ok(None);
        }
        let jwk = Jwk {
            alg: "RS256".to_owned(),
            e: record.e.clone(),
            kid: record.kid.clone(),
            kty: "RSA".to_owned(),
            n: record.n.clone(),
            usage: "sig".to_owned(),
        };
        let verifying = VerifyingKey::from_jwk(&jwk)
            .map_err(|_| errors::internal("a signing key's public part does not parse"))?;
        let signing = if state != State::Active || record.sealed_private_key.is_empty() {
            None
        } else {
            let place = Place { scope, key: row_key, field: "private_key" };
            let pkcs8 = sealed::open(keyring, place, &record.sealed_private_key)?;
            let key = SigningKey::from_pkcs8(&pkcs8)
                .map_err(|_| errors::internal("a signing key does not parse"))?;
            // a token would name a key that is not in the JWKS
            if key.jwk() != &jwk {
                return Err(errors::internal("the halves of a signing key do not fit"));
            }
            Some(Arc::new(key))
        };
        Ok(Some(Self { token_use, kid: record.kid.clone(), state, jwk, verifying, signing }))
    }
}

impl ClientConfig {
    fn open(keyring: &Keyring, scope: &str, record: ClientRecord) -> Result<Self, ApiError> {
        let key = keys::client(&record.client_id);
        let mut secrets = Vec::with_capacity(record.secrets.len());
        for secret in &record.secrets {
            let place = Place { scope, key: &key, field: &secret.id };
            let plain = sealed::open(keyring, place, &secret.sealed)?;
            let plain = String::from_utf8(plain.expose().clone())
                .map_err(|_| errors::internal("a client secret is not a text"))?;
            secrets.push(SecretString::new(plain));
        }
        Ok(Self { record, secrets })
    }

    /// Whether the client has to prove a secret.
    pub fn has_secret(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Whether unknown users and wrong passwords look alike.
    pub fn hides_users(&self) -> bool {
        self.record.prevent_user_existence_errors.as_deref() == Some("ENABLED")
    }
}

fn unwrap_pool_keys(
    world: &World,
    scope: &str,
    record: &PoolKeysRecord,
) -> Result<Keyring, ApiError> {
    let mut keys = Vec::with_capacity(record.keys.len());
    let cluster_keys = world.cluster_keys.get();
    for key in &record.keys {
        keys.push((key.version, unwrap_pool_key(&cluster_keys, scope, key)?));
    }
    let current = keys.last().map(|(version, _)| *version).ok_or_else(unusable)?;
    Keyring::new(current, keys).map_err(|_| unusable())
}

fn unusable() -> ApiError {
    errors::internal("a pool's keys do not unwrap")
}

/// One version of a pool's key.
///
/// # Errors
/// InternalErrorException when it was not wrapped for this pool, or by a key that is not known.
pub(crate) fn unwrap_pool_key(
    cluster_keys: &Keyring,
    scope: &str,
    key: &WrappedKey,
) -> Result<Key256, ApiError> {
    let place = wrapping_place(scope, key.version);
    let parts = [place.0.as_bytes(), place.1.as_bytes()];
    cluster_keys.unwrap_key(&parts, &key.wrapped).map_err(|_| unusable())
}

/// Wraps a pool's key of `version` under the cluster's key.
///
/// # Errors
/// InternalErrorException when the cluster's keys cannot be used; ServiceUnavailable when they may not be the present ones.
pub fn wrap_pool_key(
    world: &World,
    scope: &str,
    version: u32,
    key: &Key256,
) -> Result<Vec<u8>, ApiError> {
    let place = wrapping_place(scope, version);
    world
        .cluster_keys
        .for_sealing()?
        .wrap_key(&[place.0.as_bytes(), place.1.as_bytes()], key, &*world.entropy)
        .map_err(|_| errors::internal("a pool's key could not be wrapped"))
}

/// What a wrapped pool key is bound to.
fn wrapping_place(scope: &str, version: u32) -> (String, String) {
    (scope.to_owned(), format!("pool key {version}"))
}

fn decode<R: Message + Default>(
    result: &proto::ReadResult,
    key: &[u8],
) -> Result<Option<R>, ApiError> {
    let row = result.rows.iter().find(|row| row.key == key);
    let value = row.and_then(|row| row.value.clone());
    value.map(|value| R::decode(value).map_err(|_| undecodable())).transpose()
}

fn undecodable() -> ApiError {
    errors::internal("a stored record cannot be decoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{new_pool, test_world},
        tx,
    };

    #[tokio::test]
    async fn a_key_of_an_unknown_use_or_state_is_neither_shown_nor_accepted() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let read = proto::Read {
            scope: pool_id.clone(),
            gets: PoolConfig::gets().into(),
            scans: vec![PoolConfig::scan()],
            ..Default::default()
        };
        let result = tx::read(&world, read).await.unwrap();
        let change = |change: fn(&mut SigningKeyRecord)| {
            let mut result = result.clone();
            for row in &mut result.rows {
                if row.key.starts_with(&keys::signing_keys()) {
                    let mut record = SigningKeyRecord::decode(row.value.clone().unwrap()).unwrap();
                    change(&mut record);
                    row.value = Some(record.encode_to_vec().into());
                }
            }
            PoolConfig::from_rows(&world, &pool_id, &result).unwrap()
        };
        assert_eq!(change(|_| {}).jwks().keys.len(), 2);
        for config in [
            change(|record| record.state = 77),
            change(|record| record.state = 0),
            change(|record| record.set_state(State::Revoked)),
            change(|record| record.r#use = "something".to_owned()),
        ] {
            assert_eq!(config.jwks().keys, []);
            assert!(config.active_key(TokenUse::Access).is_err());
        }
        // a retired key's tokens are accepted, and it signs no more
        let retired = change(|record| record.set_state(State::Retiring));
        let jwks = retired.jwks();
        assert_eq!(jwks.keys.len(), 2);
        assert!(retired.verifying_key(TokenUse::Id, &jwks.keys[0].kid).is_some());
        assert!(retired.verifying_key(TokenUse::Access, &jwks.keys[0].kid).is_none());
        assert!(retired.active_key(TokenUse::Id).is_err());
    }
}
