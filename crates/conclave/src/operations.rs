//! Which operations are built: each is handed its decoded input and the world.

use std::sync::Arc;

use conclave_api::ops;
use conclave_gateway::{
    dispatch::{CallContext, Dispatcher, Identity},
    metrics::Metrics,
};
use conclave_identity::{
    auth, branding,
    call::{Call, CallPrincipal},
    clients, devices, domains, groups, identity_providers, log_delivery, passkeys, pools,
    resource_servers, risk_configuration, terms, threat_protection, ui_customization, user_import,
    users,
    world::World,
};

use crate::auth_metrics;

/// Registers every operation that is built. The others answer 501 by name.
pub fn register(mut dispatcher: Dispatcher, world: &Arc<World>, metrics: &Metrics) -> Dispatcher {
    macro_rules! on {
        ($($operation:ident => $($handler:ident)::+,)*) => {
            $(
                let world_of = Arc::clone(world);
                dispatcher = dispatcher.on::<ops::$operation, _, _>(move |context: CallContext, input| {
                    let world = Arc::clone(&world_of);
                    async move { $($handler)::+(&world, &call(&context), input).await }
                });
            )*
        };
    }
    macro_rules! counted {
        ($($operation:ident => $($handler:ident)::+,)*) => {
            $(
                let (world_of, metrics_of) = (Arc::clone(world), metrics.clone());
                dispatcher = dispatcher.on::<ops::$operation, _, _>(move |context: CallContext, input| {
                    let (world, metrics) = (Arc::clone(&world_of), metrics_of.clone());
                    async move { $($handler)::+(&metrics, &world, &call(&context), input).await }
                });
            )*
        };
    }
    on! {
        CreateUserPool => pools::create_user_pool,
        DescribeUserPool => pools::describe_user_pool,
        ListUserPools => pools::list_user_pools,
        DeleteUserPool => pools::delete_user_pool,
        UpdateUserPool => pools::update_user_pool,
        GetUserPoolMfaConfig => pools::get_user_pool_mfa_config,
        SetUserPoolMfaConfig => pools::set_user_pool_mfa_config,
        AddCustomAttributes => pools::add_custom_attributes,
        TagResource => pools::tag_resource,
        UntagResource => pools::untag_resource,
        ListTagsForResource => pools::list_tags_for_resource,
        CreateUserPoolClient => clients::create_user_pool_client,
        DescribeUserPoolClient => clients::describe_user_pool_client,
        ListUserPoolClients => clients::list_user_pool_clients,
        DeleteUserPoolClient => clients::delete_user_pool_client,
        UpdateUserPoolClient => clients::update_user_pool_client,
        AddUserPoolClientSecret => clients::add_user_pool_client_secret,
        DeleteUserPoolClientSecret => clients::delete_user_pool_client_secret,
        ListUserPoolClientSecrets => clients::list_user_pool_client_secrets,
        CreateUserPoolDomain => domains::create_user_pool_domain,
        DescribeUserPoolDomain => domains::describe_user_pool_domain,
        UpdateUserPoolDomain => domains::update_user_pool_domain,
        DeleteUserPoolDomain => domains::delete_user_pool_domain,
        CreateResourceServer => resource_servers::create_resource_server,
        DescribeResourceServer => resource_servers::describe_resource_server,
        UpdateResourceServer => resource_servers::update_resource_server,
        DeleteResourceServer => resource_servers::delete_resource_server,
        ListResourceServers => resource_servers::list_resource_servers,
        CreateIdentityProvider => identity_providers::create_identity_provider,
        DescribeIdentityProvider => identity_providers::describe_identity_provider,
        UpdateIdentityProvider => identity_providers::update_identity_provider,
        DeleteIdentityProvider => identity_providers::delete_identity_provider,
        ListIdentityProviders => identity_providers::list_identity_providers,
        GetIdentityProviderByIdentifier => identity_providers::get_identity_provider_by_identifier,
        CreateManagedLoginBranding => branding::create_managed_login_branding,
        DescribeManagedLoginBranding => branding::describe_managed_login_branding,
        DescribeManagedLoginBrandingByClient => branding::describe_managed_login_branding_by_client,
        UpdateManagedLoginBranding => branding::update_managed_login_branding,
        DeleteManagedLoginBranding => branding::delete_managed_login_branding,
        GetUiCustomization => ui_customization::get_ui_customization,
        SetUiCustomization => ui_customization::set_ui_customization,
        CreateTerms => terms::create_terms,
        DescribeTerms => terms::describe_terms,
        UpdateTerms => terms::update_terms,
        DeleteTerms => terms::delete_terms,
        ListTerms => terms::list_terms,
        GetSigningCertificate => pools::get_signing_certificate,
        DescribeRiskConfiguration => risk_configuration::describe_risk_configuration,
        SetRiskConfiguration => risk_configuration::set_risk_configuration,
        AdminListUserAuthEvents => threat_protection::admin_list_user_auth_events,
        AdminUpdateAuthEventFeedback => threat_protection::admin_update_auth_event_feedback,
        UpdateAuthEventFeedback => threat_protection::update_auth_event_feedback,
        GetLogDeliveryConfiguration => log_delivery::get_log_delivery_configuration,
        SetLogDeliveryConfiguration => log_delivery::set_log_delivery_configuration,
        SignUp => users::sign_up,
        ConfirmSignUp => users::confirm_sign_up,
        ResendConfirmationCode => users::resend_confirmation_code,
        AdminConfirmSignUp => users::admin_confirm_sign_up,
        AdminCreateUser => users::admin_create_user,
        AdminGetUser => users::admin_get_user,
        AdminSetUserPassword => users::admin_set_user_password,
        AdminDeleteUser => users::admin_delete_user,
        AdminUpdateUserAttributes => users::admin_update_user_attributes,
        AdminDeleteUserAttributes => users::admin_delete_user_attributes,
        AdminDisableUser => users::admin_disable_user,
        AdminLinkProviderForUser => users::admin_link_provider_for_user,
        AdminDisableProviderForUser => users::admin_disable_provider_for_user,
        AdminEnableUser => users::admin_enable_user,
        AdminResetUserPassword => users::admin_reset_user_password,
        ForgotPassword => users::forgot_password,
        ConfirmForgotPassword => users::confirm_forgot_password,
        ChangePassword => users::change_password,
        ListUsers => users::list_users,
        CreateGroup => groups::create_group,
        GetGroup => groups::get_group,
        UpdateGroup => groups::update_group,
        DeleteGroup => groups::delete_group,
        ListGroups => groups::list_groups,
        AdminAddUserToGroup => groups::admin_add_user_to_group,
        AdminRemoveUserFromGroup => groups::admin_remove_user_from_group,
        AdminListGroupsForUser => groups::admin_list_groups_for_user,
        ListUsersInGroup => groups::list_users_in_group,
        ConfirmDevice => devices::confirm_device,
        GetDevice => devices::get_device,
        ListDevices => devices::list_devices,
        ForgetDevice => devices::forget_device,
        UpdateDeviceStatus => devices::update_device_status,
        AdminGetDevice => devices::admin_get_device,
        AdminListDevices => devices::admin_list_devices,
        AdminForgetDevice => devices::admin_forget_device,
        AdminUpdateDeviceStatus => devices::admin_update_device_status,
        GlobalSignOut => users::global_sign_out,
        AdminUserGlobalSignOut => users::admin_user_global_sign_out,
        RevokeToken => auth::revoke_token,
        AssociateSoftwareToken => auth::associate_software_token,
        VerifySoftwareToken => auth::verify_software_token,
        SetUserMfaPreference => users::set_user_mfa_preference,
        AdminSetUserMfaPreference => users::admin_set_user_mfa_preference,
        SetUserSettings => users::set_user_settings,
        AdminSetUserSettings => users::admin_set_user_settings,
        GetUserAuthFactors => users::get_user_auth_factors,
        StartWebAuthnRegistration => passkeys::start_web_authn_registration,
        CompleteWebAuthnRegistration => passkeys::complete_web_authn_registration,
        ListWebAuthnCredentials => passkeys::list_web_authn_credentials,
        DeleteWebAuthnCredential => passkeys::delete_web_authn_credential,
        GetUser => users::get_user,
        UpdateUserAttributes => users::update_user_attributes,
        DeleteUserAttributes => users::delete_user_attributes,
        GetUserAttributeVerificationCode => users::get_user_attribute_verification_code,
        VerifyUserAttribute => users::verify_user_attribute,
        DeleteUser => users::delete_user,
        GetCsvHeader => user_import::get_csv_header,
        CreateUserImportJob => user_import::create_user_import_job,
        DescribeUserImportJob => user_import::describe_user_import_job,
        ListUserImportJobs => user_import::list_user_import_jobs,
        StartUserImportJob => user_import::start_user_import_job,
        StopUserImportJob => user_import::stop_user_import_job,
    }
    counted! {
        InitiateAuth => auth_metrics::initiate_auth,
        RespondToAuthChallenge => auth_metrics::respond_to_auth_challenge,
        GetTokensFromRefreshToken => auth_metrics::get_tokens_from_refresh_token,
        AdminInitiateAuth => auth_metrics::admin_initiate_auth,
        AdminRespondToAuthChallenge => auth_metrics::admin_respond_to_auth_challenge,
    }
    dispatcher
}

/// What the domain learns of a call.
fn call(context: &CallContext) -> Call {
    let principal = match &context.caller {
        Identity::Principal(principal) => Some(CallPrincipal {
            account_id: principal.account_id.clone(),
            region: principal.region.clone(),
            arn: principal.arn.clone(),
        }),
        Identity::Anonymous => None,
    };
    Call { principal, request_id: context.request_id.to_string(), peer: context.peer }
}
