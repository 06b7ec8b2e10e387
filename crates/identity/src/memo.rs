//! What is computed once for a request, however often it is decided: a conflict must not make a
//! password be hashed again.

use std::sync::Arc;

use conclave_api::ApiError;
use conclave_crypto::{entropy, secret::SecretString};
use tokio::sync::OnceCell;

use crate::{errors, world::World};

/// See the module.
#[derive(Default)]
pub struct Memo {
    password_hash: OnceCell<String>,
    password_verdict: tokio::sync::Mutex<Option<(String, bool)>>,
}

impl Memo {
    /// The Argon2id hash of a new password, as a PHC string. One request sets one password.
    ///
    /// # Errors
    /// TooManyRequestsException when too much is waiting for the processor.
    pub async fn hash_password(&self, world: &World, password: &SecretString) -> Result<String, ApiError> {
        let hash = self.password_hash.get_or_try_init(|| async {
            let passwords = Arc::clone(&world.passwords);
            let password = password.clone();
            let salt = entropy::bytes(&*world.entropy);
            let hash = world.cpu.run(move || passwords.hash(password.expose().as_bytes(), &salt)).await;
            hash.map_err(errors::cpu)?.map_err(|_| errors::internal("a password could not be hashed"))
        });
        hash.await.cloned()
    }

    /// Whether `password` is the one that `encoded` was made of; without `encoded` the same work is
    /// done, and the answer is no.
    ///
    /// # Errors
    /// TooManyRequestsException when too much is waiting for the processor.
    pub async fn verify_password(
        &self,
        world: &World,
        password: &SecretString,
        encoded: Option<&str>,
    ) -> Result<bool, ApiError> {
        let mut known = self.password_verdict.lock().await;
        let encoded = encoded.unwrap_or_default();
        if let Some((of, verdict)) = &*known
            && of == encoded
        {
            return Ok(*verdict);
        }
        let passwords = Arc::clone(&world.passwords);
        let password = password.clone();
        let hash = encoded.to_owned();
        let verdict = world
            .cpu
            .run(move || {
                if hash.is_empty() {
                    passwords.dummy_verify(password.expose().as_bytes());
                    return false;
                }
                passwords.verify(password.expose().as_bytes(), &hash)
            })
            .await
            .map_err(errors::cpu)?;
        *known = Some((encoded.to_owned(), verdict));
        Ok(verdict)
    }
}
