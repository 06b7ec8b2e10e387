//! WebAuthnConfiguration of a pool.
//! Source: API reference, `WebAuthnConfigurationType`.

use conclave_api::{ApiError, types};
use conclave_crypto::webauthn::origin;
use conclave_store::records::{PoolRecord, PoolWebAuthn};

use crate::{domains, errors, world::World};

/// FactorConfiguration with which a passkey stands for a second factor, too.
pub(crate) const MULTI_FACTOR: &str = "MULTI_FACTOR_WITH_USER_VERIFICATION";
const PREFERRED: &str = "preferred";

/// What a pool keeps of its WebAuthnConfiguration.
///
/// # Errors
/// InvalidParameterException for a relying party that no browser would take. The text is ours.
pub(crate) fn given(
    given: &types::WebAuthnConfigurationType,
) -> Result<Option<PoolWebAuthn>, ApiError> {
    if given.relying_party_id.as_deref().is_some_and(|id| !origin::is_rp_id(id)) {
        return Err(errors::invalid_parameter(
            "RelyingPartyId must be a fully qualified domain name.",
        ));
    }
    let settings = PoolWebAuthn {
        relying_party_id: given.relying_party_id.clone(),
        user_verification: given.user_verification.clone(),
        factor_configuration: given.factor_configuration.clone(),
    };
    Ok(Some(settings).filter(|settings| *settings != PoolWebAuthn::default()))
}

/// As GetUserPoolMfaConfig and SetUserPoolMfaConfig answer it.
pub(crate) fn described(record: &PoolRecord) -> Option<types::WebAuthnConfigurationType> {
    let settings = record.web_authn.as_ref()?;
    let verification = settings.user_verification.as_deref().unwrap_or(PREFERRED);
    Some(types::WebAuthnConfigurationType {
        relying_party_id: settings.relying_party_id.clone(),
        user_verification: Some(verification.to_owned()),
        factor_configuration: settings.factor_configuration.clone(),
    })
}

/// The relying party of a pool: the one that is set, else its own domain, else, where its pages are under a
/// prefix, the gateways' host.
pub(crate) fn relying_party_id(world: &World, record: &PoolRecord) -> Option<String> {
    let set = record.web_authn.as_ref().and_then(|settings| settings.relying_party_id.clone());
    if set.is_some() {
        return set;
    }
    let own = record.domains.iter().find(|domain| domain.certificate_arn.is_some());
    let host = match own {
        Some(domain) => domain.domain.clone(),
        None if record.domains.is_empty() => return None,
        None => domains::target(world),
    };
    Some(host).filter(|host| origin::is_rp_id(host))
}
