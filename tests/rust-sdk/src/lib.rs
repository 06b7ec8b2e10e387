//! What the tests of the AWS SDK for Rust share: a client for the server at `CONCLAVE_ENDPOINT`.

use aws_sdk_cognitoidentityprovider::Client;
use aws_sdk_cognitoidentityprovider::config::{BehaviorVersion, Config, Credentials, Region};

/// The SDK's client, with nothing changed but the endpoint.
///
/// # Panics
/// When `CONCLAVE_ENDPOINT` is not set.
#[must_use]
pub fn client() -> Client {
    let endpoint =
        std::env::var("CONCLAVE_ENDPOINT").expect("CONCLAVE_ENDPOINT: run `make test-rust-sdk`");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "fixed"))
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}
