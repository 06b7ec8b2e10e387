//! UpdateUserPool.

use conclave_api::{ApiError, types};

use super::{change::change_pool_without_import, settings};
use crate::{call::Call, world::World};

/// Sets a pool's settings anew: what the request leaves out goes back to its default, except for the
/// tier and the name. Sign-in options, the schema and case sensitivity stay for good.
///
/// Source: API reference, `UpdateUserPool`; developer guide, "Updating user pool configuration".
///
/// # Errors
/// ResourceNotFoundException when the caller has no such pool; UserImportInProgressException; what [`settings::updated_pool`] refuses.
pub async fn update_user_pool(
    world: &World,
    call: &Call,
    input: types::UpdateUserPoolRequest,
) -> Result<types::UpdateUserPoolResponse, ApiError> {
    let pool_id = input.user_pool_id.clone().unwrap_or_default();
    let update = |present: &_| settings::updated_pool(present, input.clone());
    change_pool_without_import(world, call, &pool_id, update).await?;
    Ok(types::UpdateUserPoolResponse::default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        errors,
        pools::{delete_user_pool, describe_user_pool, list_user_pools},
        testing::{
            ACCOUNT, START_MS, TestWorld, new_pool, new_pool_with, signed_call, signed_call_of,
            test_world,
        },
    };

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn of(pool_id: &str) -> types::UpdateUserPoolRequest {
        types::UpdateUserPoolRequest { user_pool_id: text(pool_id), ..Default::default() }
    }

    async fn described(world: &World, pool_id: &str) -> types::UserPoolType {
        let input = types::DescribeUserPoolRequest { user_pool_id: text(pool_id) };
        describe_user_pool(world, &signed_call(), input).await.unwrap().user_pool.unwrap()
    }

    async fn update(world: &World, input: types::UpdateUserPoolRequest) -> Result<(), ApiError> {
        update_user_pool(world, &signed_call(), input).await.map(|_| ())
    }

    /// A pool in which nothing is as by default, and the request that says so.
    async fn unusual_pool(world: &World) -> String {
        let input = types::CreateUserPoolRequest {
            pool_name: text("unusual"),
            policies: Some(types::UserPoolPolicyType {
                password_policy: Some(types::PasswordPolicyType {
                    minimum_length: Some(12),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            deletion_protection: text("ACTIVE"),
            auto_verified_attributes: vec!["email".to_owned()],
            alias_attributes: vec!["email".to_owned()],
            email_verification_message: text("mail {####}"),
            sms_authentication_message: text("sms {####}"),
            user_pool_tags: [("team".to_owned(), "blue".to_owned())].into(),
            admin_create_user_config: Some(types::AdminCreateUserConfigType {
                allow_admin_create_user_only: Some(true),
                ..Default::default()
            }),
            username_configuration: Some(types::UsernameConfigurationType {
                case_sensitive: Some(false),
            }),
            schema: Some(types::SchemaAttributeTypeList {
                items: vec![types::SchemaAttributeType {
                    name: text("team"),
                    attribute_data_type: text("String"),
                    ..Default::default()
                }],
            }),
            account_recovery_setting: Some(types::AccountRecoverySettingType {
                recovery_mechanisms: Some(types::RecoveryOptionTypeList {
                    items: vec![types::RecoveryOptionType {
                        priority: Some(1),
                        name: text("admin_only"),
                    }],
                }),
            }),
            user_pool_tier: text("LITE"),
            user_pool_add_ons: Some(types::UserPoolAddOnsType {
                advanced_security_mode: text("OFF"),
                ..Default::default()
            }),
            ..Default::default()
        };
        new_pool_with(world, input).await
    }

    #[tokio::test]
    async fn what_is_left_out_goes_back_to_its_default_and_what_cannot_change_stays() {
        let world = test_world().await;
        let plain = described(&world, &new_pool(&world).await).await;
        let pool_id = unusual_pool(&world).await;
        let before = described(&world, &pool_id).await;
        update(&world, of(&pool_id)).await.unwrap();
        let after = described(&world, &pool_id).await;
        let expected = types::UserPoolType {
            // its own
            id: before.id,
            arn: before.arn,
            creation_date: before.creation_date,
            name: text("unusual"),
            user_pool_tier: text("LITE"),
            // for good
            schema_attributes: before.schema_attributes,
            alias_attributes: vec!["email".to_owned()],
            username_configuration: before.username_configuration,
            ..plain
        };
        assert_eq!(after, expected);
    }

    #[tokio::test]
    async fn every_setting_is_described_back() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.clock.advance(Duration::from_secs(60));
        let input = types::UpdateUserPoolRequest {
            policies: Some(types::UserPoolPolicyType {
                password_policy: Some(types::PasswordPolicyType {
                    minimum_length: Some(16),
                    require_symbols: Some(true),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            deletion_protection: text("ACTIVE"),
            auto_verified_attributes: vec!["phone_number".to_owned()],
            sms_configuration: Some(types::SmsConfigurationType {
                sns_caller_arn: text("arn:aws:iam::111122223333:role/sms"),
                ..Default::default()
            }),
            verification_message_template: Some(types::VerificationMessageTemplateType {
                email_message: text("mail {####}"),
                ..Default::default()
            }),
            user_pool_tags: [("team".to_owned(), "green".to_owned())].into(),
            user_pool_tier: text("PLUS"),
            pool_name: text("another name"),
            ..of(&pool_id)
        };
        update(&world, input).await.unwrap();
        let pool = described(&world, &pool_id).await;
        assert_eq!(pool.name, text("another name"));
        assert_eq!(pool.deletion_protection, text("ACTIVE"));
        assert_eq!(pool.user_pool_tier, text("PLUS"));
        assert_eq!(pool.auto_verified_attributes, ["phone_number"]);
        assert_eq!(pool.email_verification_message, text("mail {####}"));
        assert_eq!(pool.user_pool_tags.unwrap().items["team"], "green");
        let policy = pool.policies.unwrap().password_policy.unwrap();
        assert_eq!((policy.minimum_length, policy.require_symbols), (Some(16), Some(true)));
        assert_eq!(policy.require_numbers, Some(false));
        assert_eq!(pool.creation_date, Some(START_MS));
        assert_eq!(pool.last_modified_date, Some(START_MS + 60_000));
    }

    #[tokio::test]
    async fn the_list_of_pools_shows_the_new_name() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        world.clock.advance(Duration::from_secs(60));
        update(&world, types::UpdateUserPoolRequest { pool_name: text("new"), ..of(&pool_id) })
            .await
            .unwrap();
        let pools = list(&world).await;
        assert_eq!(pools[0].name, text("new"));
        assert_eq!(pools[0].last_modified_date, Some(START_MS + 60_000));
        assert_eq!(pools[0].creation_date, Some(START_MS));
    }

    async fn list(world: &TestWorld) -> Vec<types::UserPoolDescriptionType> {
        let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
        list_user_pools(world, &signed_call(), input).await.unwrap().user_pools
    }

    #[tokio::test]
    async fn a_pool_that_is_no_longer_protected_can_be_deleted() {
        let world = test_world().await;
        let pool_id = unusual_pool(&world).await;
        let request = || types::DeleteUserPoolRequest { user_pool_id: text(&pool_id) };
        assert!(delete_user_pool(&world, &signed_call(), request()).await.is_err());
        let off =
            types::UpdateUserPoolRequest { deletion_protection: text("INACTIVE"), ..of(&pool_id) };
        update(&world, off).await.unwrap();
        delete_user_pool(&world, &signed_call(), request()).await.unwrap();
    }

    #[tokio::test]
    async fn the_rules_between_members_are_those_of_a_new_pool() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        let before = described(&world, &pool_id).await;
        let input = types::UpdateUserPoolRequest {
            auto_verified_attributes: vec!["phone_number".to_owned()],
            ..of(&pool_id)
        };
        let text =
            "SMS configuration is required when phone_number is selected for auto verification";
        assert_eq!(update(&world, input).await, Err(errors::invalid_parameter(text)));
        let input = types::UpdateUserPoolRequest {
            user_pool_tags: [("aws:x".to_owned(), String::new())].into(),
            ..of(&pool_id)
        };
        let error = update(&world, input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "UserPoolTaggingException");
        assert_eq!(described(&world, &pool_id).await, before);
    }

    #[tokio::test]
    async fn a_pool_of_another_account_or_region_looks_like_none() {
        let world = test_world().await;
        let pool_id = new_pool(&world).await;
        for call in
            [signed_call_of("444455556666", "us-east-1"), signed_call_of(ACCOUNT, "eu-west-1")]
        {
            let error = update_user_pool(&world, &call, of(&pool_id)).await.unwrap_err();
            assert_eq!(error, errors::user_pool_not_found(&pool_id));
        }
    }
}
