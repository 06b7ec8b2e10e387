//! Every operation of the table is called without credentials, and with wrong ones, through both
//! fronts.

use conclave_api::{Caller, OPERATIONS};

use crate::support::{World, grpc, private, sign, signed_by, unsigned};

/// gRPC's UNAUTHENTICATED.
const UNAUTHENTICATED: i32 = 16;

#[test]
fn the_table_has_every_operation_and_the_model_s_unsigned_ones() {
    assert_eq!(OPERATIONS.len(), 141);
    assert_eq!(OPERATIONS.iter().filter(|operation| operation.caller != Caller::SigV4).count(), 34);
}

#[tokio::test]
async fn without_a_signature_no_signed_operation_is_reached_and_every_other_gets_past_authentication()
 {
    let world = World::with(|setup| setup.in_flight = 1_000);
    for operation in OPERATIONS {
        let name = operation.name;
        // The slow one and the one that panics have tests of their own.
        if matches!(name, "GlobalSignOut" | "ForgotPassword") {
            continue;
        }
        let answer = world.send(unsigned(name, "{}")).await;
        let call = world.send(grpc(operation, b"", private())).await;
        if operation.caller == Caller::SigV4 {
            assert_eq!(
                (answer.status, answer.exception().as_str()),
                (400, "MissingAuthenticationTokenException"),
                "{name}"
            );
            assert_eq!(answer.message(), "Missing Authentication Token");
            assert_eq!(call.grpc_status(), UNAUTHENTICATED, "{name}");
            assert_eq!(
                call.header("x-amzn-errortype"),
                "MissingAuthenticationTokenException",
                "{name}"
            );
        } else if answer.status == 200 {
            assert_eq!(call.grpc_status(), 0, "{name}");
        } else {
            // Its constraints, its refusals or its own handler answered, and both fronts say the
            // same.
            let exception = answer.exception();
            assert!(operation.declares_or_refuses(&exception), "{name}: {exception}");
            assert_eq!(call.header("x-amzn-errortype"), exception, "{name}");
        }
    }
    let reached = world.reached.lock();
    assert!(!reached.is_empty());
    for name in reached.iter() {
        let operation = OPERATIONS.iter().find(|operation| operation.name == name).unwrap();
        assert_ne!(operation.caller, Caller::SigV4, "{name} was reached without a signature");
    }
}

#[tokio::test]
async fn a_wrong_signature_reaches_no_signed_operation() {
    let world = World::with(|setup| setup.in_flight = 1_000);
    for operation in OPERATIONS.iter().filter(|operation| operation.caller == Caller::SigV4) {
        let name = operation.name;
        let answer = world.send(signed_by("stranger", name, "{}")).await;
        assert_eq!(answer.exception(), "UnrecognizedClientException", "{name}");

        let mut changed = signed_by("root", name, "{}");
        *changed.body_mut() = axum::body::Body::from("{ }");
        assert_eq!(world.send(changed).await.exception(), "InvalidSignatureException", "{name}");

        // The signature of another operation.
        let mut other = signed_by("root", "ListUserPools", "{}");
        if name != "ListUserPools" {
            let target = format!("AWSCognitoIdentityProviderService.{name}");
            other.headers_mut().insert("x-amz-target", target.parse().unwrap());
            assert_eq!(world.send(other).await.exception(), "InvalidSignatureException", "{name}");
        }

        let mut call = grpc(operation, b"", private());
        sign(&mut call, "root", "UNSIGNED-PAYLOAD");
        let path = call.uri().path().replace(name, "Other");
        let mut elsewhere = grpc(operation, b"", private());
        *elsewhere.uri_mut() = path.parse().unwrap();
        sign(&mut elsewhere, "root", "UNSIGNED-PAYLOAD");
        let wrong = elsewhere.headers()["authorization"].clone();
        call.headers_mut().insert("authorization", wrong);
        let answer = world.send(call).await;
        assert_eq!(
            (answer.grpc_status(), answer.header("x-amzn-errortype")),
            (UNAUTHENTICATED, "InvalidSignatureException"),
            "{name}"
        );
    }
    assert!(world.reached.lock().is_empty());
}

#[tokio::test]
async fn a_principal_without_the_permission_reaches_nothing_but_what_it_may() {
    let world = World::with(|setup| setup.in_flight = 1_000);
    let body = r#"{"UserPoolId":"us-east-1_ANOTHER00"}"#;
    for operation in OPERATIONS.iter().filter(|operation| operation.caller == Caller::SigV4) {
        let answer = world.send(signed_by("reader", operation.name, body)).await;
        assert_eq!(answer.exception(), "AccessDeniedException", "{}", operation.name);
    }
    assert!(world.reached.lock().is_empty());
}

trait Expected {
    fn declares_or_refuses(&self, exception: &str) -> bool;
}

impl Expected for conclave_api::Operation {
    fn declares_or_refuses(&self, exception: &str) -> bool {
        matches!(exception, "InvalidParameterException" | "NotImplemented")
            || self.errors.iter().any(|error| error.as_str() == exception)
    }
}
