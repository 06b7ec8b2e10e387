//! The key pair with which a pool signs SAML requests, and its certificate.
//!
//! It is made when it is first asked for, so that pools of any age have one and only those that need it: who is first writes it, and
//! everybody else finds it.

use async_trait::async_trait;
use conclave_api::ApiError;
use conclave_crypto::saml::{self, SamlSigningKey};
use conclave_store::{keys, records::SamlKeyRecord};
use prost::Message;

use crate::{
    config::PoolConfig,
    errors,
    sealed::{self, Place},
    tx::{Decision, Failure, Query, Transaction, Tx, transact},
    world::World,
};

pub(crate) const PRIVATE_KEY: &str = "private_key";

/// A pool's key pair.
pub struct SamlKey {
    /// X.509, DER.
    pub certificate: Vec<u8>,
    /// Signs what the certificate's key verifies.
    pub signing: SamlSigningKey,
}

/// The key pair of a pool, for who signs in its name.
///
/// # Errors
/// ResourceNotFoundException when there is no such pool; TooManyRequestsException when too much is waiting for the processor.
pub async fn of_pool(world: &World, pool_id: &str) -> Result<SamlKey, ApiError> {
    transact(world, &OfPool { pool_id }).await
}

struct OfPool<'a> {
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for OfPool<'_> {
    type Output = SamlKey;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<SamlKey> {
        let row = keys::saml_key();
        tx.load(Query::new().get(row.clone())).await?;
        let pool = tx.pool()?;
        let record = find_or_make(tx, &pool).await?;
        let place = Place { scope: pool.id(), key: &row, field: PRIVATE_KEY };
        let pkcs8 = sealed::open(&pool.keyring, place, &record.sealed_private_key)?;
        let signing = SamlSigningKey::from_pkcs8(&pkcs8)
            .map_err(|_| errors::internal("a SAML key does not parse"))?;
        Ok(SamlKey { certificate: record.certificate.to_vec(), signing }.into())
    }
}

/// The record, or a new one that is written. The row must have been loaded.
///
/// # Errors
/// TooManyRequestsException when too much is waiting for the processor.
pub(crate) async fn find_or_make(
    tx: &mut Tx<'_>,
    pool: &PoolConfig,
) -> Result<SamlKeyRecord, Failure> {
    let row = keys::saml_key();
    if let Some(present) = tx.get::<SamlKeyRecord>(&row)? {
        return Ok(present.record);
    }
    let world = tx.world();
    let (name, now_ms) = (pool.id().to_owned(), tx.now_ms());
    let entropy = std::sync::Arc::clone(&world.entropy);
    let made = world.cpu.run(move || saml::generate(&name, now_ms, &*entropy)).await;
    let made =
        made.map_err(errors::cpu)?.map_err(|_| errors::internal("a SAML key could not be made"))?;
    let place = Place { scope: pool.id(), key: &row, field: PRIVATE_KEY };
    let sealed = sealed::seal(world, &pool.keyring, place, made.pkcs8.expose())?;
    let record = SamlKeyRecord {
        sealed_private_key: sealed.into(),
        certificate: made.certificate.into(),
        created_ms: now_ms,
    };
    tx.put_new(row, record.encode_to_vec().into(), None);
    Ok(record)
}
