//! Calls of the API's operations from a seed: the same decoding, constraints and refusals as through a front, and the same handlers.

use conclave_api::{ApiError, Message, Op, Operation};
use conclave_crypto::ids;
use conclave_identity::{
    call::{Call, CallPrincipal},
    world::World,
};
use serde_json::{Map, Value as Json};

/// Who calls: an account, in a region.
pub struct Caller<'w> {
    pub world: &'w World,
    pub call: Call,
}

impl<'w> Caller<'w> {
    pub fn new(world: &'w World, account_id: &str, region: &str) -> Self {
        let principal = CallPrincipal {
            account_id: account_id.to_owned(),
            region: region.to_owned(),
            arn: format!("arn:aws:iam::{account_id}:root"),
        };
        let request_id = ids::uuid(&*world.entropy);
        Self { world, call: Call { principal: Some(principal), request_id, peer: None } }
    }
}

/// Whether a body is good: an operation's constraints, and what is refused by name.
pub fn check(operation: &'static Operation, body: &Json) -> Result<(), ApiError> {
    let decoded = operation.decode_json(body.to_string().as_bytes())?;
    operation.check(&*decoded.message)
}

/// The input of an operation, checked.
pub fn input<O: Op>(body: &Map<String, Json>) -> Result<O::Input, ApiError> {
    let operation = Operation::by_name(O::NAME)
        .ok_or_else(|| ApiError::internal("an operation is not in the table"))?;
    let body = serde_json::to_vec(body).map_err(|_| ApiError::internal("a body is not JSON"))?;
    let decoded = operation.decode_json(&body)?;
    operation.check(&*decoded.message)?;
    decoded.message.downcast()
}

/// A member of an output that is a structure, as JSON.
pub fn member(output: &impl Message, name: &str) -> Map<String, Json> {
    let mut json = Vec::new();
    output.encode_json(&mut json);
    let mut whole: Map<String, Json> = serde_json::from_slice(&json).unwrap_or_default();
    match whole.remove(name) {
        Some(Json::Object(members)) => members,
        _ => Map::new(),
    }
}

/// An output as JSON.
pub fn whole(output: &impl Message) -> Map<String, Json> {
    let mut json = Vec::new();
    output.encode_json(&mut json);
    serde_json::from_slice(&json).unwrap_or_default()
}

/// Calls an operation with a body.
macro_rules! submit {
    ($caller:expr, $operation:ident, $($handler:ident)::+, $body:expr) => {
        match $crate::seed::call::input::<conclave_api::ops::$operation>($body) {
            Ok(input) => {
                let caller = $caller;
                conclave_identity::$($handler)::+(caller.world, &caller.call, input).await
            }
            Err(error) => Err(error),
        }
    };
}

pub(super) use submit;
