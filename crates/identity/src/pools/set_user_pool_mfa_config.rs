//! SetUserPoolMfaConfig.

use conclave_api::{ApiError, types};

use super::{change::change_pool, mfa};
use crate::{call::Call, world::World};

/// Sets which second factors the pool asks for. What is left out is off.
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; what [`mfa::set`] refuses.
pub async fn set_user_pool_mfa_config(
    world: &World,
    call: &Call,
    input: types::SetUserPoolMfaConfigRequest,
) -> Result<types::SetUserPoolMfaConfigResponse, ApiError> {
    let pool_id = input.user_pool_id.clone().unwrap_or_default();
    let record = change_pool(world, call, &pool_id, |present| mfa::set(present, &input)).await?;
    Ok(mfa::described(&record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        errors,
        pools::{create_user_pool, describe_user_pool, get_user_pool_mfa_config, update_user_pool},
        testing::{ACCOUNT, new_pool, new_pool_with, signed_call, signed_call_of, test_world},
    };

    const OFF: &str = "OFF";

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

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn app() -> Option<types::SoftwareTokenMfaConfigType> {
        Some(types::SoftwareTokenMfaConfigType { enabled: Some(true) })
    }

    fn sms() -> types::SmsConfigurationType {
        types::SmsConfigurationType {
            sns_caller_arn: text("arn:aws:iam::111122223333:role/sms"),
            ..Default::default()
        }
    }

    async fn set(
        world: &World,
        input: types::SetUserPoolMfaConfigRequest,
    ) -> Result<types::SetUserPoolMfaConfigResponse, String> {
        let answer = set_user_pool_mfa_config(world, &signed_call(), input).await;
        answer.map_err(|error| format!("{}: {}", error.code.as_str(), error.message))
    }

    async fn setting(world: &World, pool_id: &str) -> String {
        let input = types::DescribeUserPoolRequest { user_pool_id: text(pool_id) };
        let pool = describe_user_pool(world, &signed_call(), input).await.unwrap().user_pool;
        pool.unwrap().mfa_configuration.unwrap()
    }

    /// Measured at the service: also a factor that is configured as off, and MfaConfiguration left out.
    #[tokio::test]
    async fn off_and_a_factor_do_not_go_together() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let token = |enabled| Some(types::SoftwareTokenMfaConfigType { enabled: Some(enabled) });
        let inputs = [
            types::SetUserPoolMfaConfigRequest {
                sms_mfa_configuration: Some(types::SmsMfaConfigType::default()),
                ..off(&pool_id)
            },
            types::SetUserPoolMfaConfigRequest {
                software_token_mfa_configuration: token(false),
                ..off(&pool_id)
            },
            types::SetUserPoolMfaConfigRequest {
                email_mfa_configuration: Some(types::EmailMfaConfigType::default()),
                mfa_configuration: None,
                ..off(&pool_id)
            },
        ];
        for input in inputs {
            assert_eq!(
                set(&world, input).await.unwrap_err(),
                "InvalidParameterException: Invalid MFA configuration given, can't turn off MFA and \
                 configure an MFA together."
            );
        }
    }

    #[tokio::test]
    async fn a_pool_that_asks_has_something_to_ask_for() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        for configuration in ["ON", "OPTIONAL"] {
            let input = types::SetUserPoolMfaConfigRequest {
                mfa_configuration: text(configuration),
                ..off(&pool_id)
            };
            assert_eq!(
                set(&world, input).await.unwrap_err(),
                "InvalidParameterException: Invalid MFA Configuration given. SMS MFA, Email MFA, or \
                 Software Token MFA must be enabled."
            );
        }
        let request = types::CreateUserPoolRequest {
            pool_name: text("asks"),
            mfa_configuration: text("ON"),
            ..Default::default()
        };
        let error = create_user_pool(&world, &signed_call(), request).await.unwrap_err();
        assert_eq!(
            error.message,
            "SMS configuration and Auto verification for phone_number are required when MFA is \
             required/optional"
        );
    }

    #[tokio::test]
    async fn what_is_set_is_answered_and_replaced_as_a_whole() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::SetUserPoolMfaConfigRequest {
            user_pool_id: text(&pool_id),
            mfa_configuration: text("OPTIONAL"),
            software_token_mfa_configuration: app(),
            sms_mfa_configuration: Some(types::SmsMfaConfigType {
                sms_authentication_message: text("{####} it is"),
                sms_configuration: Some(sms()),
            }),
            email_mfa_configuration: Some(types::EmailMfaConfigType {
                message: text("mail {####}"),
                subject: text("subject"),
            }),
            ..Default::default()
        };
        let answer = set(&world, input.clone()).await.unwrap();
        assert_eq!(answer.mfa_configuration.as_deref(), Some("OPTIONAL"));
        assert_eq!(answer.sms_mfa_configuration, input.sms_mfa_configuration);
        assert_eq!(answer.email_mfa_configuration, input.email_mfa_configuration);
        assert_eq!(answer.software_token_mfa_configuration, app());
        let got = get_user_pool_mfa_config(&world, &signed_call(), get(&pool_id)).await.unwrap();
        assert_eq!(got.sms_mfa_configuration, answer.sms_mfa_configuration);
        assert_eq!(got.email_mfa_configuration, answer.email_mfa_configuration);
        assert_eq!(setting(&world, &pool_id).await, "OPTIONAL");
        // text messages stay a factor, because the pool can still send them
        let input = types::SetUserPoolMfaConfigRequest {
            user_pool_id: text(&pool_id),
            mfa_configuration: text("ON"),
            ..Default::default()
        };
        let answer = set(&world, input).await.unwrap();
        assert!(answer.sms_mfa_configuration.is_some());
        assert!(answer.email_mfa_configuration.is_none());
        let off = set(&world, off(&pool_id)).await.unwrap();
        assert!(off.sms_mfa_configuration.is_none());
        assert_eq!(setting(&world, &pool_id).await, OFF);
    }

    /// S50: the setting does not end by an update of something else.
    #[tokio::test]
    async fn s50_an_update_of_the_pool_leaves_the_setting_alone_unless_it_names_it() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let input = types::SetUserPoolMfaConfigRequest {
            user_pool_id: text(&pool_id),
            mfa_configuration: text("ON"),
            software_token_mfa_configuration: app(),
            ..Default::default()
        };
        set(&world, input).await.unwrap();
        let update = |mfa_configuration: Option<&str>| types::UpdateUserPoolRequest {
            user_pool_id: text(&pool_id),
            mfa_configuration: mfa_configuration.map(str::to_owned),
            ..Default::default()
        };
        for (named, expected) in [(None, "ON"), (Some("OPTIONAL"), "OPTIONAL"), (Some(OFF), OFF)] {
            update_user_pool(&world, &signed_call(), update(named)).await.unwrap();
            assert_eq!(setting(&world, &pool_id).await, expected);
        }
        let error = update_user_pool(&world, &signed_call(), update(Some("ON"))).await.unwrap_err();
        assert!(error.message.starts_with("Invalid MFA Configuration given."), "{error:?}");
    }

    /// Measured at the service: codes by message begin no sign-in where a second factor is asked of all.
    #[tokio::test]
    async fn where_everybody_is_asked_nobody_begins_with_a_code() {
        let world = test_world().await;
        let policies = |firsts: &[&str]| {
            Some(types::UserPoolPolicyType {
                sign_in_policy: Some(types::SignInPolicyType {
                    allowed_first_auth_factors: Some(types::StringList {
                        items: firsts.iter().map(|first| (*first).to_owned()).collect(),
                    }),
                }),
                ..Default::default()
            })
        };
        let pool_id = new_pool_with(
            &world,
            types::CreateUserPoolRequest {
                policies: policies(&["PASSWORD", "EMAIL_OTP"]),
                ..Default::default()
            },
        )
        .await;
        let input = |configuration: &str| types::SetUserPoolMfaConfigRequest {
            user_pool_id: text(&pool_id),
            mfa_configuration: text(configuration),
            software_token_mfa_configuration: app(),
            ..Default::default()
        };
        set(&world, input("OPTIONAL")).await.unwrap();
        assert_eq!(
            set(&world, input("ON")).await.unwrap_err(),
            "InvalidParameterException: Only PASSWORD and WEB_AUTHN (if configured) can be enabled as \
             an auth factor if MFA is enabled"
        );
        let request = types::CreateUserPoolRequest {
            pool_name: text("none"),
            policies: policies(&["EMAIL_OTP"]),
            ..Default::default()
        };
        let error = create_user_pool(&world, &signed_call(), request).await.unwrap_err();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
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
