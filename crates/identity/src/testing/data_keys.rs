//! The key of pools' senders, in the test itself.

use std::sync::Arc;

use async_trait::async_trait;
use conclave_crypto::{
    encoding,
    encryption_sdk::{self, Context, reader},
    entropy::{self, Entropy},
    secret::Key256,
};
use conclave_outbound::{DataKey, DataKeyError, DataKeys, KeyRequest};
use parking_lot::Mutex;
use serde_json::Value;

const KEY: [u8; 32] = [9; 32];

/// Makes data keys under one key, until it is told to fail.
pub(crate) struct TestKeys {
    entropy: Arc<dyn Entropy>,
    failure: Mutex<Option<DataKeyError>>,
}

impl TestKeys {
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, failure: Mutex::default() }
    }

    /// From now on there is no data key.
    pub fn fail(&self, error: DataKeyError) {
        *self.failure.lock() = Some(error);
    }

    /// The code in an event of a sender, the pairs that belong to it, and the ARN of the key.
    pub fn open(event: &Value) -> (String, Context, String) {
        let code = event["request"]["code"].as_str().expect("has a code");
        let message = encoding::base64_decode(code).expect("is base64");
        let parsed = reader::parse(&message).expect("is a message");
        let key = Key256::new(KEY);
        let key = reader::unwrap(&parsed.encrypted, &parsed.context, &key).expect("is our key");
        let code = String::from_utf8(parsed.decrypt(&key).expect("is whole")).expect("is a text");
        let info = String::from_utf8_lossy(&parsed.encrypted.provider_info).into_owned();
        (code, parsed.context, info)
    }
}

#[async_trait]
impl DataKeys for TestKeys {
    async fn generate(&self, request: KeyRequest<'_>) -> Result<DataKey, DataKeyError> {
        let KeyRequest { key, context, .. } = request;
        if let Some(error) = self.failure.lock().clone() {
            return Err(error);
        }
        let plaintext = Key256::new(entropy::bytes(&*self.entropy));
        let (wrapping, name) = (Key256::new(KEY), ("test", key));
        let wrapped = encryption_sdk::wrap(&plaintext, context, name, &wrapping, &*self.entropy);
        Ok(DataKey { plaintext, encrypted: wrapped.expect("is short") })
    }
}
