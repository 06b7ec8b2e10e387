//! What is computed once for a request, however often it is decided: a conflict must not make a
//! password be hashed again.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use conclave_api::ApiError;
use conclave_crypto::{
    entropy,
    ids::{self, TemporaryPasswordRules},
    secret::{SecretBytes, SecretString},
    srp,
};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::{errors, world::World};

/// See the module.
#[derive(Default)]
pub struct Memo {
    password_hash: OnceCell<String>,
    password_verdict: tokio::sync::Mutex<Option<(String, bool)>>,
    history_verdict: tokio::sync::Mutex<Option<(Vec<String>, bool)>>,
    srp_verifier: tokio::sync::Mutex<Option<(String, SecretBytes)>>,
    claim_verdict: parking_lot::Mutex<Option<(bool, bool)>>,
    sub: OnceLock<String>,
    origin_jti: OnceLock<String>,
    codes: parking_lot::Mutex<BTreeMap<&'static [u8], SecretString>>,
    temporary_password: OnceLock<SecretString>,
    answers: tokio::sync::Mutex<Answers>,
}

/// What functions have answered, by `triggerSource`, each with the event that it answers.
type Answers = BTreeMap<&'static str, (Bytes, Result<Map<String, Value>, ApiError>)>;

impl Memo {
    /// What functions have answered in this request.
    pub(crate) fn answers(&self) -> &tokio::sync::Mutex<Answers> {
        &self.answers
    }

    /// The id of the user that this request makes.
    pub fn sub(&self, world: &World) -> &str {
        self.sub.get_or_init(|| ids::uuid(&*world.entropy))
    }

    /// The id of the sign-in that this request completes.
    pub fn origin_jti(&self, world: &World) -> &str {
        self.origin_jti.get_or_init(|| ids::uuid(&*world.entropy))
    }

    /// Whether the request's SRP claim holds, once that is known; with the user's verifier, or without.
    pub fn claim_verdict(&self, with_verifier: bool) -> Option<bool> {
        let known = *self.claim_verdict.lock();
        known.filter(|(of, _)| *of == with_verifier).map(|(_, verdict)| verdict)
    }

    /// Keeps what [`Self::claim_verdict`] answers.
    pub fn keep_claim_verdict(&self, with_verifier: bool, verdict: bool) {
        *self.claim_verdict.lock() = Some((with_verifier, verdict));
    }

    /// The confirmation code that this request sends for `purpose`: six digits.
    pub fn code(&self, world: &World, purpose: &'static [u8]) -> SecretString {
        const DIGITS: u32 = 6;
        let draw = || SecretString::new(ids::numeric_code(&*world.entropy, DIGITS));
        self.codes.lock().entry(purpose).or_insert_with(draw).clone()
    }

    /// The temporary password that this request draws.
    pub fn temporary_password(
        &self,
        world: &World,
        rules: &TemporaryPasswordRules,
    ) -> &SecretString {
        self.temporary_password.get_or_init(|| ids::temporary_password(rules, &*world.entropy))
    }

    /// Salt and SRP verifier of a new password, for clients that are told `user_id` in USER_ID_FOR_SRP.
    ///
    /// # Errors
    /// TooManyRequestsException when too much is waiting for the processor.
    pub async fn srp_verifier(
        &self,
        world: &World,
        pool_name: &str,
        user_id: &str,
        password: &SecretString,
    ) -> Result<SecretBytes, ApiError> {
        let mut known = self.srp_verifier.lock().await;
        if let Some((of, verifier)) = &*known
            && of == user_id
        {
            return Ok(verifier.clone());
        }
        let salt = srp::generate_salt(&*world.entropy);
        let (pool, user, password) = (pool_name.to_owned(), user_id.to_owned(), password.clone());
        let verifier = world
            .cpu
            .run(move || {
                let password = password.expose().as_bytes();
                srp::compute_verifier(&pool, &user, password, &salt)
            })
            .await
            .map_err(errors::cpu)?
            .map_err(|_| errors::internal("an SRP verifier could not be computed"))?;
        let mut bytes = salt.to_vec();
        bytes.extend_from_slice(verifier.to_bytes().expose());
        let bytes = SecretBytes::new(bytes);
        *known = Some((user_id.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    /// The Argon2id hash of a new password, as a PHC string. One request sets one password.
    ///
    /// # Errors
    /// TooManyRequestsException when too much is waiting for the processor.
    pub async fn hash_password(
        &self,
        world: &World,
        password: &SecretString,
    ) -> Result<String, ApiError> {
        let hash = self.password_hash.get_or_try_init(|| async {
            let passwords = Arc::clone(&world.passwords);
            let password = password.clone();
            let salt = entropy::bytes(&*world.entropy);
            let hash = world
                .cpu
                .run_long(move || passwords.hash(password.expose().as_bytes(), &salt))
                .await;
            hash.map_err(errors::cpu)?
                .map_err(|_| errors::internal("a password could not be hashed"))
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
        let verdict = verify(world, password, encoded).await?;
        *known = Some((encoded.to_owned(), verdict));
        Ok(verdict)
    }

    /// Whether the new `password` is the one that any of `hashes` was made of.
    ///
    /// # Errors
    /// TooManyRequestsException when too much is waiting for the processor.
    pub async fn is_one_of(
        &self,
        world: &World,
        password: &SecretString,
        hashes: &[String],
    ) -> Result<bool, ApiError> {
        let mut known = self.history_verdict.lock().await;
        if let Some((of, verdict)) = &*known
            && of == hashes
        {
            return Ok(*verdict);
        }
        let mut verdict = false;
        // one admission for each: others come in between
        for hash in hashes {
            verdict = verify(world, password, hash).await?;
            if verdict {
                break;
            }
        }
        *known = Some((hashes.to_vec(), verdict));
        Ok(verdict)
    }
}

/// Whether `password` is the one that `encoded` was made of; the same work where that is empty.
async fn verify(world: &World, password: &SecretString, encoded: &str) -> Result<bool, ApiError> {
    let passwords = Arc::clone(&world.passwords);
    let (password, hash) = (password.clone(), encoded.to_owned());
    let work = move || {
        if hash.is_empty() {
            passwords.dummy_verify(password.expose().as_bytes());
            return false;
        }
        passwords.verify(password.expose().as_bytes(), &hash)
    };
    world.cpu.run_long(work).await.map_err(errors::cpu)
}
