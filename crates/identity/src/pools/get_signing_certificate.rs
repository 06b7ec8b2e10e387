//! GetSigningCertificate.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use conclave_api::{ApiError, types};
use conclave_store::keys;

use crate::{
    call::Call,
    pool_access::owned_pool,
    saml_key,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// The certificate of the key that signs the pool's SAML requests: base64 without the lines around it. It is made when it is first asked
/// for, and the same ever after; the service issues another one every year.
///
/// Source: API reference, `GetSigningCertificate`.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool. OperationNotEnabledException is about replicas in other regions, and does
/// not occur.
pub async fn get_signing_certificate(
    world: &World,
    call: &Call,
    input: types::GetSigningCertificateRequest,
) -> Result<types::GetSigningCertificateResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Get { call, pool_id: &pool_id }).await
}

struct Get<'a> {
    call: &'a Call,
    pool_id: &'a str,
}

#[async_trait]
impl Transaction for Get<'_> {
    type Output = types::GetSigningCertificateResponse;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        tx.load(Query::new().get(keys::saml_key())).await?;
        let pool = owned_pool(tx, self.call)?;
        let record = saml_key::find_or_make(tx, &pool).await?;
        let certificate = Some(STANDARD.encode(&record.certificate));
        Ok(types::GetSigningCertificateResponse { certificate }.into())
    }
}

#[cfg(test)]
mod tests {
    use conclave_store::memory::Trips;

    use super::*;
    use crate::{
        errors,
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    async fn get(world: &World, call: &Call, pool_id: &str) -> Result<String, ApiError> {
        let input = types::GetSigningCertificateRequest { user_pool_id: Some(pool_id.to_owned()) };
        Ok(get_signing_certificate(world, call, input).await?.certificate.unwrap())
    }

    #[tokio::test]
    async fn a_pool_has_one_certificate_of_its_own() {
        let world = test_world().await;
        let (pool_id, other) = (new_pool(&world).await, new_pool(&world).await);
        // whoever comes first
        let call = signed_call();
        let (one, two) = tokio::join!(get(&world, &call, &pool_id), get(&world, &call, &pool_id));
        let certificate = one.unwrap();
        assert_eq!(two.unwrap(), certificate);
        assert_ne!(get(&world, &signed_call(), &other).await.unwrap(), certificate);
        world.store.take_trips();
        assert_eq!(get(&world, &signed_call(), &pool_id).await.unwrap(), certificate);
        assert_eq!(world.store.take_trips(), Trips { reads: 1, ..Default::default() });
    }

    /// What the certificate verifies is shown in `conclave_crypto::saml`; here, that key and certificate belong together.
    #[tokio::test]
    async fn the_pool_signs_with_the_key_of_the_certificate() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let signed = saml_key::of_pool(&world, &pool_id).await.unwrap();
        let certificate = get(&world, &signed_call(), &pool_id).await.unwrap();
        assert_eq!(certificate, STANDARD.encode(&signed.certificate));
        assert!(!certificate.contains("BEGIN") && !certificate.contains('\n'));
        let again = saml_key::of_pool(&world, &pool_id).await.unwrap();
        let sign = |key: &saml_key::SamlKey| key.signing.sign(b"SAMLRequest=x").unwrap();
        assert_eq!(sign(&signed), sign(&again));
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let gone = errors::user_pool_not_found(&pool_id);
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            assert_eq!(get(&world, &call, &pool_id).await.unwrap_err(), gone);
        }
    }
}
