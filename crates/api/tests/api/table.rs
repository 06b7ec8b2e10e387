//! The table of operations.

use std::collections::{BTreeMap, BTreeSet};

use conclave_api::{Caller, Category, ExceptionName, OPERATIONS, Op, Operation, ops, types};
use prost::Message as _;

use crate::operation;

#[test]
fn all_141_operations_are_there_and_found_by_every_name() {
    assert_eq!(OPERATIONS.len(), 141);
    for (index, operation) in OPERATIONS.iter().enumerate() {
        let name = operation.name;
        let same =
            |found: Option<&'static Operation>| found.is_some_and(|o| std::ptr::eq(o, operation));
        assert!(same(Operation::by_name(name)), "{name}");
        assert!(
            same(Operation::by_target(&format!("AWSCognitoIdentityProviderService.{name}"))),
            "{name}"
        );
        assert!(same(Operation::by_path(operation.path)), "{name}");
        assert_eq!(operation.index(), index);
    }
}

#[test]
fn names_that_are_only_similar_are_not_found() {
    for target in [
        "",
        ".",
        "SignUp",
        "AWSCognitoIdentityProviderService.signUp",
        "AWSCognitoIdentityProviderService.SignUp ",
        "AWSCognitoIdentityProviderService.",
        "AWSCognitoIdentityProviderServiceSignUp",
        "Other.SignUp",
    ] {
        assert!(Operation::by_target(target).is_none(), "{target}");
    }
    for path in [
        "",
        "/",
        "/SignUp",
        "conclave.cognito.v1.CognitoIdentityProvider/SignUp",
        "/conclave.cognito.v1.CognitoIdentityProvider/SignUp/",
        "/conclave.cognito.v1.CognitoIdentityProvider/",
    ] {
        assert!(Operation::by_path(path).is_none(), "{path}");
    }
}

#[test]
fn the_reflected_service_has_the_same_operations_and_types() {
    let set = prost_types::FileDescriptorSet::decode(conclave_api::FILE_DESCRIPTOR_SET)
        .expect("a descriptor set");
    let services: Vec<_> = set.file.iter().flat_map(|file| &file.service).collect();
    assert_eq!(services.len(), 1);
    let methods: BTreeMap<&str, (&str, &str)> =
        services[0].method.iter().map(|m| (m.name(), (m.input_type(), m.output_type()))).collect();
    assert_eq!(methods.len(), OPERATIONS.len());
    for operation in OPERATIONS {
        let full = |name: &str| format!(".conclave.cognito.v1.{name}");
        let (input, output) = methods[operation.name];
        assert_eq!(input, full(operation.new_input().shape().name));
        assert_eq!(output, full(operation.new_output().shape().name));
    }
}

#[test]
fn operation_types_agree_with_the_table() {
    fn check<O: Op>(name: &str) {
        assert_eq!(O::NAME, name);
        assert_eq!(OPERATIONS[O::INDEX].name, name);
        OPERATIONS[O::INDEX].new_input().downcast::<O::Input>().expect("the input type");
        OPERATIONS[O::INDEX].new_output().downcast::<O::Output>().expect("the output type");
    }
    check::<ops::AddCustomAttributes>("AddCustomAttributes");
    check::<ops::GetCsvHeader>("GetCSVHeader");
    check::<ops::AdminSetUserMfaPreference>("AdminSetUserMFAPreference");
    check::<ops::SignUp>("SignUp");
    check::<ops::VerifyUserAttribute>("VerifyUserAttribute");
    assert!(operation("SignUp").new_input().downcast::<types::GetUserRequest>().is_err());
}

#[test]
fn callers_are_those_of_the_model() {
    let of = |caller: Caller| -> Vec<&str> {
        OPERATIONS.iter().filter(|o| o.caller == caller).map(|o| o.name).collect()
    };
    assert_eq!(of(Caller::SigV4).len(), 107);
    assert_eq!(of(Caller::AccessToken).len(), 22);
    assert_eq!(of(Caller::AccessTokenOrSession), ["AssociateSoftwareToken", "VerifySoftwareToken"]);
    assert_eq!(of(Caller::ClientSecret), ["GetTokensFromRefreshToken", "RevokeToken"]);
    assert_eq!(of(Caller::FeedbackToken), ["UpdateAuthEventFeedback"]);
    assert_eq!(
        of(Caller::ClientSecretHash),
        [
            "ConfirmForgotPassword",
            "ConfirmSignUp",
            "ForgotPassword",
            "InitiateAuth",
            "ResendConfirmationCode",
            "RespondToAuthChallenge",
            "SignUp",
        ]
    );
}

/// Whoever calls with something in the request must be able to send it there.
#[test]
fn requests_have_the_member_that_proves_their_caller() {
    for operation in OPERATIONS {
        let input = operation.new_input();
        let has = |name: &str| input.shape().find(name.as_bytes()).is_some();
        match operation.caller {
            Caller::SigV4 => assert!(!has("AccessToken"), "{}", operation.name),
            Caller::AccessToken => assert!(has("AccessToken"), "{}", operation.name),
            Caller::AccessTokenOrSession => {
                assert!(has("AccessToken") && has("Session"), "{}", operation.name)
            }
            Caller::ClientSecretHash => {
                assert!(
                    has("ClientId")
                        && (has("SecretHash")
                            || has("AuthParameters")
                            || has("ChallengeResponses"))
                );
            }
            Caller::ClientSecret => {
                assert!(has("ClientId") && has("ClientSecret"), "{}", operation.name)
            }
            Caller::FeedbackToken => assert!(has("FeedbackToken"), "{}", operation.name),
        }
    }
}

#[test]
fn operations_without_an_output_are_those_of_the_model() {
    let without: Vec<&str> = OPERATIONS.iter().filter(|o| !o.has_output).map(|o| o.name).collect();
    assert_eq!(
        without,
        [
            "AdminAddUserToGroup",
            "AdminDeleteUser",
            "AdminForgetDevice",
            "AdminRemoveUserFromGroup",
            "DeleteGroup",
            "DeleteIdentityProvider",
            "DeleteManagedLoginBranding",
            "DeleteResourceServer",
            "DeleteTerms",
            "DeleteUser",
            "DeleteUserPool",
            "DeleteUserPoolClient",
            "ForgetDevice",
        ]
    );
    for name in without {
        assert!(operation(name).new_output().shape().members.is_empty());
    }
}

#[test]
fn every_operation_can_answer_bad_parameters_and_has_a_category() {
    for operation in OPERATIONS {
        assert!(operation.declares(ExceptionName::InvalidParameterException), "{}", operation.name);
        let distinct: BTreeSet<_> = operation.errors.iter().collect();
        assert_eq!(
            distinct.len(),
            operation.errors.len(),
            "{} declares an error twice",
            operation.name
        );
    }
    let category = |name: &str| operation(name).category;
    assert_eq!(category("InitiateAuth"), Category::UserAuthentication);
    assert_eq!(category("SignUp"), Category::UserCreation);
    assert_eq!(category("GetUser"), Category::UserRead);
    assert_eq!(category("ListUsers"), Category::UserList);
    assert_eq!(category("CreateUserPool"), Category::UserPoolUpdate);
    assert_eq!(category("DescribeUserPoolClient"), Category::UserPoolClientRead);
    assert_eq!(category("AdminSetUserPassword"), Category::UserAccountRecovery);
    let used: BTreeSet<_> = OPERATIONS.iter().map(|o| o.category).collect();
    let unused: Vec<_> = Category::ALL.iter().filter(|c| !used.contains(c)).collect();
    assert_eq!(unused, [&Category::UserFederation]);
}
