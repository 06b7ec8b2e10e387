//! CreateUserPool.

use async_trait::async_trait;
use conclave_api::{ApiError, types};
use conclave_store::{keys, records::PoolRecord};
use prost::Message;

use super::{
    Shown, describe,
    directory_rows::{Reserve, make_ms_max},
    email, settings,
    signing_keys::{self, TokenKeys},
};
use crate::{
    call::Call,
    errors,
    pool_access::principal,
    tx::{Decision, Transaction, Tx, transact},
    world::World,
};

/// Makes a pool with its keys. The pool lives in a group that is chosen at random, and its id says in
/// which.
///
/// # Errors
/// What [`settings::new_pool`] refuses; LimitExceededException when the account has too many pools.
pub async fn create_user_pool(
    world: &World,
    call: &Call,
    input: types::CreateUserPoolRequest,
) -> Result<types::CreateUserPoolResponse, ApiError> {
    let principal = principal(call)?;
    email::check(input.email_configuration.as_ref(), &world.settings)?;
    let mut record = settings::new_pool(&input)?;
    let token_keys = signing_keys::generate(world).await?;
    let reserved = transact(world, &Reserve { principal, name: &record.name }).await?;
    conclave_fault::point("create.after_directory");
    record.pool_id = reserved.pool_id;
    record.account_id = principal.account_id.clone();
    record.region = principal.region.clone();
    record.created_ms = reserved.created_ms;
    record.modified_ms = reserved.created_ms;
    transact(world, &Make { record: &record, token_keys: &token_keys }).await?;
    let user_pool = describe(&record, Shown::Created);
    Ok(types::CreateUserPoolResponse { user_pool: Some(user_pool) })
}

/// Makes the scope of a pool that is entered in the directory.
struct Make<'a> {
    record: &'a PoolRecord,
    token_keys: &'a TokenKeys,
}

#[async_trait]
impl Transaction for Make<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        &self.record.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.begin_scope().await?;
        if tx.now_ms() - self.record.created_ms > make_ms_max() {
            return Err(errors::unavailable().into());
        }
        tx.put_new(keys::ROOT.to_vec(), self.record.encode_to_vec().into(), None);
        signing_keys::put(tx, &self.record.pool_id, self.token_keys)?;
        tx.bump_epoch();
        Ok(().into())
    }
}

#[cfg(test)]
mod tests {
    use conclave_crypto::ids;
    use conclave_store::memory::Trips;

    use super::*;
    use crate::{
        config::TokenUse,
        pools::{describe_user_pool, list_user_pools},
        testing::{ACCOUNT, START_MS, new_pool, signed_call, signed_call_of, test_world},
        tx::Query,
    };

    fn named() -> types::CreateUserPoolRequest {
        types::CreateUserPoolRequest { pool_name: Some("users".to_owned()), ..Default::default() }
    }

    async fn create(world: &World, input: types::CreateUserPoolRequest) -> types::UserPoolType {
        let response = create_user_pool(world, &signed_call(), input).await.unwrap();
        response.user_pool.unwrap()
    }

    async fn refusal(input: types::CreateUserPoolRequest) -> (&'static str, String) {
        let world = test_world().await;
        let error = create_user_pool(&world, &signed_call(), input).await.unwrap_err();
        assert_eq!(world.store.take_trips(), Default::default(), "refused before anything is done");
        (error.code.as_str(), error.message.into_owned())
    }

    fn invalid(text: &str) -> (&'static str, String) {
        ("InvalidParameterException", text.to_owned())
    }

    fn json(pool: &types::UserPoolType) -> serde_json::Value {
        let response = types::CreateUserPoolResponse { user_pool: Some(pool.clone()) };
        let mut body = Vec::new();
        conclave_api::Message::encode_json(&response, &mut body);
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["UserPool"].take()
    }

    /// The answer of the service itself, recorded in September 2026.
    #[tokio::test]
    async fn a_pool_with_a_name_alone_has_the_defaults_of_the_service() {
        let world = test_world().await;
        let pool = create(&world, named()).await;
        let id = pool.id.clone().unwrap();
        let mut shown = json(&pool);
        let schema = shown["SchemaAttributes"].take();
        let now = START_MS as f64 / 1_000.0;
        let expected = serde_json::json!({
            "AccountRecoverySetting": {"RecoveryMechanisms": [
                {"Name": "verified_email", "Priority": 1},
                {"Name": "verified_phone_number", "Priority": 2}]},
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": false, "UnusedAccountValidityDays": 7},
            "Arn": format!("arn:aws:cognito-idp:us-east-1:{ACCOUNT}:userpool/{id}"),
            "DeletionProtection": "INACTIVE",
            "EmailConfiguration": {"EmailSendingAccount": "COGNITO_DEFAULT"},
            "EstimatedNumberOfUsers": 0,
            "Id": id,
            "IssuerConfiguration": {"Type": "ORIGINAL"},
            "KeyConfiguration": {"KeyType": "AWS_OWNED_KEY"},
            "LambdaConfig": {},
            "MfaConfiguration": "OFF",
            "Name": "users",
            "Policies": {
                "PasswordPolicy": {"MinimumLength": 8, "RequireLowercase": true,
                    "RequireNumbers": true, "RequireSymbols": true, "RequireUppercase": true,
                    "TemporaryPasswordValidityDays": 7},
                "SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD"]}},
            "SchemaAttributes": null,
            "UserPoolTier": "ESSENTIALS",
            "VerificationMessageTemplate": {"DefaultEmailOption": "CONFIRM_WITH_CODE"},
        });
        for date in ["CreationDate", "LastModifiedDate"] {
            assert_eq!(shown[date].as_f64(), Some(now), "{date}");
            shown.as_object_mut().unwrap().remove(date);
        }
        // how empty members are written is the codec's affair
        for member in ["UserAttributeUpdateSettings", "UserPoolTags"] {
            shown.as_object_mut().unwrap().remove(member);
        }
        assert_eq!(shown, expected);

        let schema = schema.as_array().unwrap();
        assert_eq!(schema.len(), 20);
        assert_eq!(
            schema[1],
            serde_json::json!({"AttributeDataType": "String", "DeveloperOnlyAttribute": false,
                "Mutable": true, "Name": "name", "Required": false,
                "StringAttributeConstraints": {"MaxLength": "2048", "MinLength": "0"}})
        );
        assert_eq!(schema[19]["NumberAttributeConstraints"], serde_json::json!({"MinValue": "0"}));
    }

    #[tokio::test]
    async fn the_id_has_the_region_and_says_where_the_pool_lives() {
        let world = test_world().await;
        let call = signed_call_of(ACCOUNT, "eu-central-1");
        let pool = create_user_pool(&world, &call, named()).await.unwrap().user_pool.unwrap();
        let id = pool.id.unwrap();
        let (region, name) = id.split_once('_').unwrap();
        assert_eq!((region, name.len()), ("eu-central-1", 9));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let group = ids::pool_group(&id, &world.hint_key).unwrap();
        assert!((1..=3).contains(&group));
    }

    #[tokio::test]
    async fn a_new_pool_can_sign_and_unseal() {
        struct Load(String);
        #[async_trait]
        impl Transaction for Load {
            type Output = std::sync::Arc<crate::config::PoolConfig>;
            fn scope(&self) -> &str {
                &self.0
            }
            async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
                tx.load(Query::new()).await?;
                Ok(tx.pool()?.into())
            }
        }
        let world = test_world().await;
        let config = transact(&world, &Load(new_pool(&world).await)).await.unwrap();
        let kids: Vec<_> = config.jwks().keys.into_iter().map(|key| key.kid).collect();
        assert_eq!(kids.len(), 2);
        assert_ne!(kids[0], kids[1]);
        assert_eq!(config.active_key(TokenUse::Id).unwrap().kid(), kids[0]);
        assert_eq!(config.active_key(TokenUse::Access).unwrap().kid(), kids[1]);
        assert_eq!(config.epoch, 1);
        let other = transact(&world, &Load(new_pool(&world).await)).await.unwrap();
        assert_ne!(config.fake_users.salt("ada"), other.fake_users.salt("ada"));
    }

    #[tokio::test]
    async fn every_setting_is_described_back() {
        let world = test_world().await;
        let text = |text: &str| Some(text.to_owned());
        let input = types::CreateUserPoolRequest {
            policies: Some(types::UserPoolPolicyType {
                password_policy: Some(types::PasswordPolicyType {
                    minimum_length: Some(12),
                    require_numbers: Some(true),
                    temporary_password_validity_days: Some(3),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            deletion_protection: text("ACTIVE"),
            auto_verified_attributes: vec!["email".to_owned(), "phone_number".to_owned()],
            alias_attributes: vec!["email".to_owned(), "email".to_owned()],
            sms_authentication_message: text("code {####}"),
            user_pool_tags: [("team".to_owned(), "blue".to_owned())].into(),
            username_configuration: Some(types::UsernameConfigurationType {
                case_sensitive: Some(false),
            }),
            user_pool_tier: text("LITE"),
            sms_configuration: Some(types::SmsConfigurationType {
                sns_caller_arn: text("arn:aws:iam::111122223333:role/sms"),
                external_id: text("external"),
                sns_region: text("us-east-1"),
                ..Default::default()
            }),
            user_pool_add_ons: Some(types::UserPoolAddOnsType {
                advanced_security_mode: text("OFF"),
                ..Default::default()
            }),
            admin_create_user_config: Some(types::AdminCreateUserConfigType {
                allow_admin_create_user_only: Some(true),
                invite_message_template: Some(types::MessageTemplateType {
                    sms_message: text("{username} {####}"),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            account_recovery_setting: Some(types::AccountRecoverySettingType {
                recovery_mechanisms: Some(types::RecoveryOptionTypeList {
                    items: vec![types::RecoveryOptionType {
                        priority: Some(1),
                        name: text("admin_only"),
                    }],
                }),
            }),
            email_configuration: Some(types::EmailConfigurationType {
                email_sending_account: text("COGNITO_DEFAULT"),
                ..Default::default()
            }),
            ..named()
        };
        let pool = create(&world, input).await;
        let shown = json(&pool);
        assert_eq!(
            shown["Policies"]["PasswordPolicy"],
            serde_json::json!({"MinimumLength": 12, "RequireUppercase": false, "RequireLowercase": false,
                "RequireNumbers": true, "RequireSymbols": false, "TemporaryPasswordValidityDays": 3})
        );
        assert_eq!(shown["DeletionProtection"], "ACTIVE");
        assert_eq!(shown["AutoVerifiedAttributes"], serde_json::json!(["email", "phone_number"]));
        assert_eq!(shown["AliasAttributes"], serde_json::json!(["email"]));
        assert_eq!(shown["SmsAuthenticationMessage"], "code {####}");
        assert_eq!(shown["UserPoolTags"], serde_json::json!({"team": "blue"}));
        assert_eq!(shown["UsernameConfiguration"], serde_json::json!({"CaseSensitive": false}));
        assert_eq!(shown["UserPoolTier"], "LITE");
        assert_eq!(shown["SmsConfiguration"]["ExternalId"], "external");
        assert_eq!(shown["UserPoolAddOns"], serde_json::json!({"AdvancedSecurityMode": "OFF"}));
        assert_eq!(
            shown["AdminCreateUserConfig"],
            serde_json::json!({"AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 3,
                "InviteMessageTemplate": {"SMSMessage": "{username} {####}"}})
        );
        assert_eq!(
            shown["AccountRecoverySetting"],
            serde_json::json!({"RecoveryMechanisms": [{"Name": "admin_only", "Priority": 1}]})
        );
        let input = types::DescribeUserPoolRequest { user_pool_id: pool.id.clone() };
        let described = describe_user_pool(&world, &signed_call(), input).await.unwrap();
        let described = types::UserPoolType {
            schema_attributes: pool.schema_attributes.clone(),
            ..described.user_pool.unwrap()
        };
        assert_eq!(described, pool);
    }

    #[tokio::test]
    async fn the_older_messages_and_the_template_mirror_each_other() {
        let world = test_world().await;
        let text = |text: &str| Some(text.to_owned());
        let older = types::CreateUserPoolRequest {
            email_verification_message: text("mail {####}"),
            email_verification_subject: text("subject"),
            sms_verification_message: text("sms {####}"),
            ..named()
        };
        let template = types::VerificationMessageTemplateType {
            email_message: text("mail {####}"),
            email_subject: text("subject"),
            sms_message: text("sms {####}"),
            default_email_option: text("CONFIRM_WITH_CODE"),
            ..Default::default()
        };
        let newer = types::CreateUserPoolRequest {
            verification_message_template: Some(template.clone()),
            ..named()
        };
        for input in [older, newer] {
            let pool = create(&world, input).await;
            assert_eq!(pool.verification_message_template.as_ref(), Some(&template));
            assert_eq!(pool.email_verification_message.as_deref(), Some("mail {####}"));
            assert_eq!(pool.email_verification_subject.as_deref(), Some("subject"));
            assert_eq!(pool.sms_verification_message.as_deref(), Some("sms {####}"));
        }
    }

    #[tokio::test]
    async fn aliases_and_username_attributes_exclude_each_other() {
        let input = types::CreateUserPoolRequest {
            alias_attributes: vec!["email".to_owned()],
            username_attributes: vec!["phone_number".to_owned()],
            ..named()
        };
        let text =
            "Only one of the aliasAttributes or usernameAttributes can be set in a User pool.";
        assert_eq!(refusal(input).await, invalid(text));
    }

    #[tokio::test]
    async fn verifying_phone_numbers_needs_an_sms_configuration() {
        let input = types::CreateUserPoolRequest {
            auto_verified_attributes: vec!["phone_number".to_owned()],
            ..named()
        };
        let text =
            "SMS configuration is required when phone_number is selected for auto verification";
        assert_eq!(refusal(input).await, invalid(text));
    }

    #[tokio::test]
    async fn temporary_passwords_have_one_validity() {
        let with = |days, unused| types::CreateUserPoolRequest {
            policies: Some(types::UserPoolPolicyType {
                password_policy: Some(types::PasswordPolicyType {
                    temporary_password_validity_days: days,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            admin_create_user_config: Some(types::AdminCreateUserConfigType {
                unused_account_validity_days: unused,
                ..Default::default()
            }),
            ..named()
        };
        let text = "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays";
        assert_eq!(refusal(with(Some(3), Some(3))).await, invalid(text));
        for (input, expected) in
            [(with(Some(3), None), 3), (with(None, Some(5)), 5), (with(Some(0), None), 7)]
        {
            let record = settings::new_pool(&input).unwrap();
            let policy = record.password_policy.unwrap();
            assert_eq!(policy.temporary_password_validity_days, expected);
            assert_eq!(record.admin_create_user.unwrap().unused_account_validity_days, expected);
        }
    }

    #[tokio::test]
    async fn an_invitation_holds_the_password() {
        let input = types::CreateUserPoolRequest {
            admin_create_user_config: Some(types::AdminCreateUserConfigType {
                invite_message_template: Some(types::MessageTemplateType {
                    email_message: Some("Welcome aboard.".to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..named()
        };
        let text = r"1 validation error detected: Value 'Welcome aboard.' at 'adminCreateUserConfig.inviteMessage.emailMessage' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{M}\p{S}\p{N}\p{P}\s*]*\{####\}[\p{L}\p{M}\p{S}\p{N}\p{P}\s*]*";
        assert_eq!(refusal(input).await, invalid(text));
    }

    #[tokio::test]
    async fn a_message_by_link_has_a_link() {
        let with = |message: &str| types::CreateUserPoolRequest {
            verification_message_template: Some(types::VerificationMessageTemplateType {
                email_message_by_link: Some(message.to_owned()),
                ..Default::default()
            }),
            ..named()
        };
        assert_eq!(refusal(with("click {####}")).await, invalid("The message is invalid."));
        assert!(settings::new_pool(&with("click {##here##}")).is_ok());
    }

    #[tokio::test]
    async fn recovery_mechanisms_differ_and_admin_only_stands_alone() {
        let with = |options: &[(i32, &str)]| types::CreateUserPoolRequest {
            account_recovery_setting: Some(types::AccountRecoverySettingType {
                recovery_mechanisms: Some(types::RecoveryOptionTypeList {
                    items: options
                        .iter()
                        .map(|(priority, name)| types::RecoveryOptionType {
                            priority: Some(*priority),
                            name: Some((*name).to_owned()),
                        })
                        .collect(),
                }),
            }),
            ..named()
        };
        let duplicate =
            "Account Recovery Setting cannot have duplicate priorities or recovery mechanisms.";
        let alone = "Account Recovery Setting cannot use admin_only setting with any other recovery mechanisms.";
        let same_name = with(&[(1, "verified_email"), (2, "verified_email")]);
        let same_priority = with(&[(1, "verified_email"), (1, "verified_phone_number")]);
        assert_eq!(refusal(same_name).await, invalid(duplicate));
        assert_eq!(refusal(same_priority).await, invalid(duplicate));
        assert_eq!(
            refusal(with(&[(1, "verified_email"), (2, "admin_only")])).await,
            invalid(alone)
        );
    }

    #[tokio::test]
    async fn tags_of_the_provider_are_not_for_callers() {
        let tagged = |tags: Vec<(String, String)>| types::CreateUserPoolRequest {
            user_pool_tags: tags.into_iter().collect(),
            ..named()
        };
        let reserved = tagged(vec![("aws:team".to_owned(), "x".to_owned())]);
        assert_eq!(refusal(reserved).await.0, "UserPoolTaggingException");
        let many = (0..51).map(|number| (format!("key{number}"), String::new())).collect();
        assert_eq!(refusal(tagged(many)).await.0, "UserPoolTaggingException");
    }

    #[tokio::test]
    async fn a_schema_that_is_not_allowed_is_refused() {
        let input = types::CreateUserPoolRequest {
            schema: Some(types::SchemaAttributeTypeList {
                items: vec![types::SchemaAttributeType {
                    name: Some("team".to_owned()),
                    attribute_data_type: Some("String".to_owned()),
                    required: Some(true),
                    ..Default::default()
                }],
            }),
            ..named()
        };
        let text = "Required custom attributes are not supported currently.";
        assert_eq!(refusal(input).await, invalid(text));
    }

    #[tokio::test]
    async fn an_account_has_a_limit_of_pools() {
        let mut world = test_world().await;
        world.world.settings.pools_per_account_max = 1;
        create(&world, named()).await;
        let error = create_user_pool(&world, &signed_call(), named()).await.unwrap_err();
        assert_eq!(error.code.as_str(), "LimitExceededException");
        let other = signed_call_of("444455556666", "us-east-1");
        create_user_pool(&world, &other, named()).await.expect("another account has its own limit");
    }

    #[tokio::test]
    async fn the_limit_holds_when_two_come_at_once() {
        let mut world = test_world().await;
        world.world.settings.pools_per_account_max = 1;
        let call = signed_call();
        let (one, two) = tokio::join!(
            create_user_pool(&world, &call, named()),
            create_user_pool(&world, &call, named())
        );
        assert_eq!([one, two].iter().filter(|answer| answer.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn it_takes_a_read_and_a_commit_in_the_directory_and_in_the_pool() {
        let world = test_world().await;
        create(&world, named()).await;
        assert_eq!(world.store.take_trips(), Trips { reads: 2, commits: 2 });
    }

    #[tokio::test]
    async fn a_crash_after_the_directory_leaves_an_entry_without_a_pool() {
        let world = test_world().await;
        world.store.fail_commit(2);
        let error = create_user_pool(&world, &signed_call(), named()).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ServiceUnavailable");
        let input = types::ListUserPoolsRequest { max_results: Some(60), ..Default::default() };
        let listed = list_user_pools(&world, &signed_call(), input).await.unwrap().user_pools;
        let input = types::DescribeUserPoolRequest { user_pool_id: listed[0].id.clone() };
        let error = describe_user_pool(&world, &signed_call(), input).await.unwrap_err();
        assert_eq!(error.code.as_str(), "ResourceNotFoundException");
    }
}
