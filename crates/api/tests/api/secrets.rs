//! Debug output never shows a secret.

use conclave_api::{Kind, Member, OPERATIONS, SHAPES, types};

use crate::fill;

const CANARY: &str = "canary-0f3b";

fn hidden(member: &Member) -> bool {
    member.sensitive || member.secret
}

#[test]
fn no_secret_member_of_any_message_shows() {
    let mut members = 0;
    for operation in OPERATIONS {
        for mut message in [operation.new_input(), operation.new_output()] {
            fill::message(&mut *message, &|member| hidden(member).then(|| CANARY.to_owned()));
            for shown in [format!("{message:?}"), format!("{message:#?}")] {
                assert!(!shown.contains(CANARY), "{shown}");
                members += shown.matches("***").count();
            }
        }
    }
    assert!(members > 400, "only {members} secrets were hidden");
}

#[test]
fn other_members_show() {
    let request = types::SignUpRequest {
        password: Some(CANARY.into()),
        user_attributes: vec![types::AttributeType {
            name: Some("email".into()),
            value: Some(CANARY.into()),
        }],
        ..Default::default()
    };
    assert_eq!(
        format!("{request:?}"),
        r#"SignUpRequest { Password: ***, UserAttributes: [AttributeType { Name: "email", Value: *** }] }"#
    );
    let request = types::RespondToAuthChallengeRequest {
        challenge_name: Some("PASSWORD_VERIFIER".into()),
        challenge_responses: [("PASSWORD_CLAIM_SIGNATURE".to_owned(), CANARY.to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(
        format!("{request:?}"),
        r#"RespondToAuthChallengeRequest { ChallengeName: "PASSWORD_VERIFIER", ChallengeResponses: *** }"#
    );
}

#[test]
fn wrapped_maps_do_not_show_their_secrets() {
    let request = types::CreateIdentityProviderRequest {
        provider_details: Some(types::StringMap {
            items: [("client_secret".to_owned(), CANARY.to_owned())].into(),
        }),
        ..Default::default()
    };
    assert_eq!(format!("{request:?}"), "CreateIdentityProviderRequest { ProviderDetails: *** }");
    assert_eq!(format!("{:?}", request.provider_details), "Some([1 items])");
}

/// A member that sounds like a secret and is not marked as one is listed here, with the reason that it is none.
#[test]
fn members_that_sound_like_secrets_are_hidden() {
    let harmless = [
        "AuthenticationResultType.TokenType", // "Bearer"
        "LambdaConfigType.PreTokenGeneration",
        "TokenValidityUnitsType.AccessToken", // "hours"
        "TokenValidityUnitsType.IdToken",
        "TokenValidityUnitsType.RefreshToken",
        "ClientAuthenticationResultType.TokenType",
        "ClientSecretDescriptorType.ClientSecretId",
        "DeleteUserPoolClientSecretRequest.ClientSecretId",
        "GetDerivedTokenRequest.ActorTokenProviderName",
        "GetDerivedTokenRequest.ActorTokenType",
        "GetDerivedTokenRequest.RequestedTokenType",
        "GetDerivedTokenRequest.SubjectTokenProviderName",
        "GetDerivedTokenRequest.SubjectTokenType",
        "GetDerivedTokenResponse.IssuedTokenType",
        "GetDerivedTokenResponse.TokenType",
        "CreateUserImportJobRequest.PasswordHashingAlgorithm",
        "UserImportJobType.PasswordHashingAlgorithm",
    ];
    let mut unknown = Vec::new();
    for shape in SHAPES {
        for member in shape
            .members
            .iter()
            .filter(|m| matches!(m.kind, Kind::Text | Kind::TextMap | Kind::TextList))
        {
            let name = format!("{}.{}", shape.name, member.name);
            let suspicious = ["Password", "Secret", "Token", "Session", "Verifier", "Code", "Salt"];
            // Page tokens are sealed and no secret, and sessions have ids that are not.
            let plain = [
                "NextToken",
                "PaginationToken",
                "SessionId",
                "OriginSessionId",
                "SessionType",
                "RevokeAssociatedSessions",
                "UserSessionTracking",
            ];
            if suspicious.iter().any(|s| member.name.contains(s))
                && !plain.contains(&member.name)
                && !hidden(member)
                && !harmless.contains(&&*name)
            {
                unknown.push(name);
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn a_validation_text_repeats_no_secret() {
    let canary = format!("{CANARY} with a space{}", "x".repeat(140_000));
    for operation in OPERATIONS {
        let mut input = operation.new_input();
        fill::message(&mut *input, &|member| hidden(member).then(|| canary.clone()));
        if let Err(error) = operation.check(&*input) {
            assert!(!error.message.contains(CANARY), "{}: {}", operation.name, error.message);
        }
    }
}
