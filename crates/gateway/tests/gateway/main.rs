//! The gateway from outside: requests go in, answers come out, and a fake handler stands where the
//! identity service would be.

mod aws_json;
mod coverage;
mod grpc;
mod secrets;
mod server;
mod support;
