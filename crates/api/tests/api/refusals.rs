//! What is not built is refused by name.

use conclave_api::ExceptionName::NotImplemented;

use crate::{expect, request};

/// A line may leave the golden file when its member is built. A new line means that something stopped working, or that an
/// operation came with members that it does not honour: then it belongs in the release notes too.
#[test]
fn the_list_of_refusals_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/refusals.txt");
    let listing = conclave_api::refusals_listing();
    if std::env::var_os("CONCLAVE_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &listing).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file");
    assert_eq!(
        listing, golden,
        "proto/model/refusals.toml has changed: run with CONCLAVE_UPDATE_GOLDEN=1 and look at the difference"
    );
}

#[test]
fn a_member_that_is_not_built_is_refused_by_name() {
    let suffix = "is not supported by this version of Conclave";
    for (name, members, what) in [
        (
            "CreateUserPool",
            r#""LambdaConfig":{"InboundFederation":{"LambdaVersion":"V1_0","LambdaArn":"arn:aws:lambda:us-east-1:123456789012:function:f"}}"#,
            "LambdaConfig.InboundFederation",
        ),
        (
            "CreateUserPool",
            r#""Policies":{"SignInPolicy":{"AllowedFirstAuthFactors":["PASSWORD","SOFTWARE_TOKEN"]}}"#,
            "Policies.SignInPolicy.AllowedFirstAuthFactors = SOFTWARE_TOKEN",
        ),
        (
            "CreateUserPool",
            r#""EmailConfiguration":{"ConfigurationSet":"set"}"#,
            "EmailConfiguration.ConfigurationSet",
        ),
        (
            "CreateUserPool",
            r#""Schema":[{"Name":"a"},{"Name":"b","DeveloperOnlyAttribute":true}]"#,
            "Schema.DeveloperOnlyAttribute = true",
        ),
        ("CreateUserPool", r#""AcrConfiguration":{"Level1":{"AcrValue":"a"}}"#, "AcrConfiguration"),
        (
            "CreateUserPoolClient",
            r#""UserPoolId":"p_1","ClientName":"c","ExplicitAuthFlows":["ALLOW_USER_SRP_AUTH","ALLOW_TOKEN_EXCHANGE_DELEGATION"]"#,
            "ExplicitAuthFlows = ALLOW_TOKEN_EXCHANGE_DELEGATION",
        ),
    ] {
        let body = match name {
            "CreateUserPool" => format!(r#"{{"PoolName":"p",{members}}}"#),
            _ => format!("{{{members}}}"),
        };
        expect(name, &body, NotImplemented, &format!("{name}.{what} {suffix}"));
    }
}

#[test]
fn values_that_ask_for_nothing_are_taken() {
    request(
        "CreateUserPool",
        r#"{"PoolName":"p","LambdaConfig":{},"MfaConfiguration":"OFF","SmsConfiguration":null,
            "EmailConfiguration":{"EmailSendingAccount":"COGNITO_DEFAULT"},"UserPoolTier":"ESSENTIALS",
            "UserPoolAddOns":{"AdvancedSecurityMode":"OFF"},"DcrConfiguration":{"EnableStatus":"Disabled"},
            "UserAttributeUpdateSettings":{"AttributesRequireVerificationBeforeUpdate":[]},
            "Policies":{"PasswordPolicy":{"MinimumLength":8,"PasswordHistorySize":0},
                        "SignInPolicy":{"AllowedFirstAuthFactors":["PASSWORD"]}},
            "VerificationMessageTemplate":{"DefaultEmailOption":"CONFIRM_WITH_CODE"},
            "Schema":[{"Name":"a","DeveloperOnlyAttribute":false}],"AutoVerifiedAttributes":["email"]}"#,
    )
    .expect("nothing that is not built");
    request(
        "CreateUserPoolClient",
        r#"{"UserPoolId":"p_1","ClientName":"c","AllowedOAuthFlowsUserPoolClient":false,"CallbackURLs":[],"AllowedOAuthFlows":[],
            "SupportedIdentityProviders":["COGNITO"],"RefreshTokenRotation":{"Feature":"DISABLED"},
            "ExplicitAuthFlows":["ALLOW_USER_SRP_AUTH","ALLOW_REFRESH_TOKEN_AUTH","ALLOW_USER_PASSWORD_AUTH"]}"#,
    )
    .expect("nothing that is not built");
    request(
        "SignUp",
        r#"{"ClientId":"c","Username":"u","Password":"p1","AnalyticsMetadata":{"AnalyticsEndpointId":"a"},
            "UserContextData":{"EncodedData":"e"},"ClientMetadata":{"a":"b"},"ValidationData":[{"Name":"a"}]}"#,
    )
    .expect("what only feeds triggers and reports");
}
