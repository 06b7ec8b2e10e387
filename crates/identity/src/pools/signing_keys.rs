//! The keys that a pool begins with: its own, under which everything of it is sealed, and one key pair
//! each for ID and access tokens.

use conclave_api::ApiError;
use conclave_crypto::seal::Keyring;
use conclave_crypto::{entropy, seal, secret::SecretBytes, token::SigningKey};
use conclave_store::{
    keys,
    records::{PoolKeysRecord, SigningKeyRecord, WrappedKey, signing_key_record::State},
};
use prost::Message;

use crate::{
    config::{self, TokenUse},
    errors,
    sealed::{self, Place},
    tx::Tx,
    world::World,
};

const FIRST_VERSION: u32 = 1;

/// The key pairs of a new pool.
pub(super) struct TokenKeys([(TokenUse, SigningKey, SecretBytes); 2]);

/// Makes both key pairs, on the threads for such work.
///
/// # Errors
/// TooManyRequestsException when too much is waiting for the processor.
pub(super) async fn generate(world: &World) -> Result<TokenKeys, ApiError> {
    let pair = |token_use| async move {
        let pair = world.cpu.run(SigningKey::generate).await.map_err(errors::cpu)?;
        let (key, pkcs8) = pair.map_err(|_| errors::internal("a signing key could not be made"))?;
        Ok::<_, ApiError>((token_use, key, pkcs8))
    };
    let (id, access) = tokio::try_join!(pair(TokenUse::Id), pair(TokenUse::Access))?;
    Ok(TokenKeys([id, access]))
}

/// Writes the keys of a new pool.
///
/// # Errors
/// InternalErrorException when the cluster's keys cannot be used.
pub(super) fn put(tx: &mut Tx<'_>, pool_id: &str, token_keys: &TokenKeys) -> Result<(), ApiError> {
    let world = tx.world();
    let created_ms = tx.now_ms();
    let key = seal::generate_key(&*world.entropy);
    let wrapped = config::wrap_pool_key(world, pool_id, FIRST_VERSION, &key)?;
    let keyring = Keyring::new(FIRST_VERSION, [(FIRST_VERSION, key)])
        .map_err(|_| errors::internal("a new pool key cannot be used"))?;

    let row = keys::pool_keys();
    let secret: [u8; 32] = entropy::bytes(&*world.entropy);
    let secret = SecretBytes::new(secret.to_vec());
    let place = Place { scope: pool_id, key: &row, field: "unknown_user_secret" };
    let record = PoolKeysRecord {
        keys: vec![WrappedKey {
            version: FIRST_VERSION,
            wrapped_by: format!("cluster key {}", world.cluster_keys.get().current()),
            wrapped: wrapped.into(),
            created_ms,
        }],
        sealed_unknown_user_secret: sealed::seal(world, &keyring, place, secret.expose())?.into(),
    };
    tx.put_new(row, record.encode_to_vec().into(), None);

    for (token_use, pair, pkcs8) in &token_keys.0 {
        let row = keys::signing_key(pair.kid());
        let place = Place { scope: pool_id, key: &row, field: "private_key" };
        let record = SigningKeyRecord {
            r#use: token_use.as_str().to_owned(),
            kid: pair.kid().to_owned(),
            state: State::Active.into(),
            sealed_private_key: sealed::seal(world, &keyring, place, pkcs8.expose())?.into(),
            n: pair.jwk().n.clone(),
            e: pair.jwk().e.clone(),
            created_ms,
            activated_ms: created_ms,
            ..Default::default()
        };
        tx.put_new(row, record.encode_to_vec().into(), None);
    }
    Ok(())
}
