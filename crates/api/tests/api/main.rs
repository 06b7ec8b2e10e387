//! The API from outside: JSON, validation, redaction, refusals and the table of operations.

mod codec;
mod errors;
mod fill;
mod protos;
mod refusals;
mod secrets;
mod strictness;
mod table;
mod validation;

use conclave_api::{ApiError, Decoded, ExceptionName, Operation};

fn operation(name: &str) -> &'static Operation {
    Operation::by_name(name).unwrap_or_else(|| panic!("there is no operation {name}"))
}

/// Reads a request and checks it, as a front does.
fn request(name: &str, body: &str) -> Result<Decoded, ApiError> {
    let decoded = operation(name).decode_json(body.as_bytes())?;
    operation(name).check(&*decoded.message)?;
    Ok(decoded)
}

/// The error that a request is answered with.
#[track_caller]
fn refused(name: &str, body: &str) -> ApiError {
    match request(name, body) {
        Ok(decoded) => panic!("{name} took {body}: {decoded:?}"),
        Err(error) => error,
    }
}

#[track_caller]
fn expect(name: &str, body: &str, code: ExceptionName, message: &str) {
    let error = refused(name, body);
    assert_eq!((error.code, &*error.message), (code, message));
}
