//! What is done to keys. A node does it that may have no key-encryption key.

use conclave_crypto::entropy::SystemEntropy;
use conclave_identity::{
    cluster_key,
    config::TokenUse,
    pool_keys,
    signing_keys::{
        order::{self, OrderError},
        set::{Refused, USES},
    },
};
use conclave_store::{
    Store, StoreError,
    records::{SigningKeyRecord, signing_key_record::State},
};
use tonic::Status;

use super::proto::{self, SigningKeyState};

fn status(error: OrderError) -> Status {
    match &error {
        OrderError::NoSuchPool(_) | OrderError::Refused(Refused::NoSuchKey(_)) => {
            Status::not_found(error.to_string())
        }
        OrderError::Refused(Refused::Changed(_))
        | OrderError::UnderWay
        | OrderError::ResealUnderWay => Status::failed_precondition(error.to_string()),
        OrderError::Contended => Status::aborted(error.to_string()),
        OrderError::Damaged(_) | OrderError::Store(StoreError::Invalid { .. }) => {
            Status::internal(error.to_string())
        }
        OrderError::Store(_) => {
            Status::unavailable(format!("the pool's group does not answer: {error}"))
        }
    }
}

pub async fn list(
    store: &dyn Store,
    pool_id: &str,
) -> Result<proto::ListSigningKeysResponse, Status> {
    let (set, now_ms) = order::list(store, pool_id).await.map_err(status)?;
    let uses = set.record().uses.iter().map(|entry| proto::SigningKeyUse {
        r#use: entry.r#use.clone(),
        tokens_not_before_ms: entry.tokens_not_before_ms,
        rotation_asked_ms: entry.rotation_asked_ms,
    });
    Ok(proto::ListSigningKeysResponse {
        version: set.record().version,
        keys: set.keys().iter().map(key).collect(),
        now_ms,
        uses: uses.collect(),
    })
}

fn key(key: &SigningKeyRecord) -> proto::SigningKey {
    let state = match key.state() {
        State::Pending => SigningKeyState::Pending,
        State::Active => SigningKeyState::Active,
        State::Retiring => SigningKeyState::Retiring,
        State::Revoked => SigningKeyState::Revoked,
        State::Unspecified => SigningKeyState::Unspecified,
    };
    proto::SigningKey {
        kid: key.kid.clone(),
        r#use: key.r#use.clone(),
        state: state.into(),
        created_ms: key.created_ms,
        activated_ms: key.activated_ms,
        retired_ms: key.retired_ms,
        revoked_ms: key.revoked_ms,
    }
}

pub async fn rotate(
    store: &dyn Store,
    request: &proto::RotateSigningKeysRequest,
) -> Result<proto::RotateSigningKeysResponse, Status> {
    let uses = match request.r#use.as_str() {
        "" => USES.to_vec(),
        other => vec![
            TokenUse::parse(other)
                .ok_or_else(|| Status::invalid_argument("use is id or access"))?,
        ],
    };
    let (pool_id, expected) = (&request.pool_id, request.expected_version);
    let version = order::rotate(store, &SystemEntropy, pool_id, &uses, expected).await;
    Ok(proto::RotateSigningKeysResponse { version: version.map_err(status)? })
}

pub async fn revoke(
    store: &dyn Store,
    request: &proto::RevokeSigningKeyRequest,
) -> Result<proto::RevokeSigningKeyResponse, Status> {
    let (pool_id, expected) = (&request.pool_id, request.expected_version);
    let version = order::revoke(store, &SystemEntropy, pool_id, &request.kid, expected).await;
    Ok(proto::RevokeSigningKeyResponse { version: version.map_err(status)? })
}

pub async fn status_of_keys(store: &dyn Store) -> Result<proto::GetKeyStatusResponse, Status> {
    let now = cluster_key::order::status(store).await.map_err(status)?;
    let rotation = &now.rotation;
    let pools = pool_keys::order::status(store).await.map_err(status)?;
    let reseal = (pools.started_ms > 0).then(|| proto::PoolReseal {
        started_ms: pools.started_ms,
        pool_id: pools.only_pool.clone(),
        pass: pools.pass,
        waits: pools.is_over,
        pools: pools.pools,
        waiting: pools.waiting,
        failed: pools.failed,
        kept: pools.kept,
        damaged: pools.damaged,
        looked_at: pools.looked_at,
        resealed: pools.resealed,
    });
    let under_way = (rotation.target != 0).then_some(proto::ClusterKeyRotation {
        version: rotation.target,
        started_ms: rotation.started_ms,
        pass: rotation.pass,
        waits: rotation.pass == 0 || rotation.is_over,
        looked_at: rotation.looked_at,
        resealed: rotation.resealed,
        failed: rotation.failed,
    });
    let keys = now.cluster.keys.iter().map(|key| proto::ClusterKey {
        version: key.version,
        wrapped_by: key.wrapped_by.clone(),
        created_ms: key.created_ms,
    });
    Ok(proto::GetKeyStatusResponse {
        keys: keys.collect(),
        current: cluster_key::current(&now.cluster).unwrap_or_default(),
        now_ms: now.now_ms,
        rotation_asked: rotation.asked_ms > 0,
        rewrap_asked: rotation.rewrap_asked_ms > 0,
        rotation: under_way,
        last_finished_ms: rotation.finished_ms,
        last_version: rotation.last_target,
        reseal_asked: pools.started_ms == 0 && pools.asked_ms > 0,
        reseal,
        last_resealed_ms: pools.finished_ms,
        last_resealed_kept: if pools.started_ms == 0 { pools.kept } else { 0 },
        last_resealed_damaged: if pools.started_ms == 0 { pools.damaged } else { 0 },
        last_resealed_pool: pools.finished_pool,
    })
}

pub async fn rewrap(store: &dyn Store) -> Result<(), Status> {
    cluster_key::order::rewrap(store, &SystemEntropy).await.map_err(status)
}

pub async fn rotate_cluster_key(store: &dyn Store) -> Result<(), Status> {
    cluster_key::order::rotate(store, &SystemEntropy).await.map_err(status)
}

pub async fn reseal_pools(store: &dyn Store, pool_id: &str) -> Result<(), Status> {
    let pool_id = Some(pool_id).filter(|pool_id| !pool_id.is_empty());
    pool_keys::order::reseal(store, &SystemEntropy, pool_id).await.map_err(status)
}
