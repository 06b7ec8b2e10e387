//! Exceptions on the wire.

use std::collections::BTreeSet;

use conclave_api::{ApiError, ExceptionName};

#[test]
fn the_body_names_the_exception_and_gives_its_text() {
    let error =
        ExceptionName::NotAuthorizedException.because("Incorrect \"username\" or password.");
    assert_eq!(
        String::from_utf8(error.to_json()).expect("UTF-8"),
        r#"{"__type":"NotAuthorizedException","message":"Incorrect \"username\" or password."}"#
    );
    let error = ApiError { reason_code: Some("why"), ..ApiError::invalid_parameter("no") };
    assert_eq!(
        String::from_utf8(error.to_json()).expect("UTF-8"),
        r#"{"__type":"InvalidParameterException","message":"no","reasonCode":"why"}"#
    );
}

#[test]
fn names_are_distinct_and_those_of_the_model_are_all_there() {
    let names: BTreeSet<_> = ExceptionName::ALL.iter().map(|e| e.as_str()).collect();
    assert_eq!(names.len(), ExceptionName::ALL.len());
    assert_eq!(names.len(), 59 + 11);
    assert!(
        names.contains("UserImportInProgressException")
            && names.contains("MFAMethodNotFoundException")
    );
}

#[test]
fn clients_get_400_for_what_they_can_mend_and_5xx_for_what_they_cannot() {
    for &code in ExceptionName::ALL {
        let expected = match code {
            ExceptionName::InternalErrorException | ExceptionName::InternalServerException => 500,
            ExceptionName::NotImplemented => 501,
            ExceptionName::ServiceUnavailable => 503,
            ExceptionName::RequestEntityTooLargeException => 413,
            _ => 400,
        };
        assert_eq!(code.http_status(), expected, "{code}");
        let error = code.because("x");
        assert_eq!(error.is_our_fault(), matches!(expected, 500 | 503), "{code}");
        // 0 is OK, 1 and 2 say nothing, 4 and 15 are not ours to say.
        assert!(matches!(error.grpc_code(), 3 | 5..=14 | 16), "{code}");
        assert_ne!(error.grpc_code(), 11, "{code}");
    }
    assert_eq!(ExceptionName::InternalErrorException.grpc_code(), 13);
    assert_eq!(ExceptionName::TooManyRequestsException.grpc_code(), 8);
    assert_eq!(ExceptionName::UserNotFoundException.grpc_code(), 5);
    assert_eq!(ExceptionName::NotAuthorizedException.grpc_code(), 16);
}
