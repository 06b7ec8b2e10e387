//! SetUserPoolMfaConfig.

use conclave_api::{ApiError, types};

use super::get_user_pool_mfa_config::{Find, OFF};
use crate::{call::Call, errors, tx::transact, world::World};

/// Switches second factors off, which they are: everything else is refused by name before
/// (`proto/model/refusals.toml`), because sign-in does not ask for them yet.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; InvalidParameterException for a factor
/// beside OFF (the text is another implementation's, moto, from the service).
pub async fn set_user_pool_mfa_config(
    world: &World,
    call: &Call,
    input: types::SetUserPoolMfaConfigRequest,
) -> Result<types::SetUserPoolMfaConfigResponse, ApiError> {
    let pool_id = input.user_pool_id.unwrap_or_default();
    transact(world, &Find { call, pool_id: &pool_id }).await?;
    if input.sms_mfa_configuration.is_some() {
        return Err(errors::invalid_parameter(
            "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.",
        ));
    }
    Ok(types::SetUserPoolMfaConfigResponse {
        mfa_configuration: Some(OFF.to_owned()),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pools::get_user_pool_mfa_config,
        testing::{ACCOUNT, new_pool, signed_call, signed_call_of, test_world},
    };

    fn off(pool_id: &str) -> types::SetUserPoolMfaConfigRequest {
        types::SetUserPoolMfaConfigRequest {
            user_pool_id: Some(pool_id.to_owned()),
            mfa_configuration: Some(OFF.to_owned()),
            ..Default::default()
        }
    }

    fn get(pool_id: &str) -> types::GetUserPoolMfaConfigRequest {
        types::GetUserPoolMfaConfigRequest { user_pool_id: Some(pool_id.to_owned()) }
    }

    #[tokio::test]
    async fn second_factors_are_off() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let set = set_user_pool_mfa_config(&world, &signed_call(), off(&pool_id)).await.unwrap();
        assert_eq!(set.mfa_configuration.as_deref(), Some(OFF));
        let got = get_user_pool_mfa_config(&world, &signed_call(), get(&pool_id)).await.unwrap();
        let expected = types::GetUserPoolMfaConfigResponse {
            mfa_configuration: Some(OFF.to_owned()),
            ..Default::default()
        };
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn off_and_a_factor_do_not_go_together() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::SetUserPoolMfaConfigRequest {
            sms_mfa_configuration: Some(types::SmsMfaConfigType::default()),
            ..off(&pool_id)
        };
        let error = set_user_pool_mfa_config(&world, &signed_call(), input).await.unwrap_err();
        let text =
            "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.";
        assert_eq!(error, errors::invalid_parameter(text));
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let gone = errors::user_pool_not_found(&pool_id);
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let set = set_user_pool_mfa_config(&world, &call, off(&pool_id)).await;
            assert_eq!(set.unwrap_err(), gone);
            let got = get_user_pool_mfa_config(&world, &call, get(&pool_id)).await;
            assert_eq!(got.unwrap_err(), gone);
        }
    }
}
