//! The session of MFA_SETUP as the proof of who calls: in the middle of a sign-in, an authenticator app is set
//! up by operations that name neither client nor user.

use std::sync::Arc;

use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    keys,
    records::{ChallengeSession, CredentialsRecord, UserRecord},
};

use super::{challenge_session, machine::Second, second_factor, software_token};
use crate::{
    config::{ClientConfig, PoolConfig},
    errors,
    tx::{Failure, Query, Stored, Tx},
    users::{credentials, lookup::FoundUser, status},
};

/// A session that was presented.
pub struct Presented {
    /// The pool that it says it is of.
    pub pool_id: String,
    /// What is sealed in it.
    pub sealed: Vec<u8>,
}

/// A session that holds.
pub struct Checked {
    /// The session.
    pub session: ChallengeSession,
    /// Its client.
    pub client: Arc<ClientConfig>,
    /// Its user.
    pub user: UserRecord,
}

impl Presented {
    /// Takes a `Session` apart.
    ///
    /// # Errors
    /// NotAuthorizedException when it is none.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let (pool_id, sealed) =
            challenge_session::from_text(text).ok_or_else(challenge_session::invalid)?;
        Ok(Self { pool_id, sealed })
    }

    /// Loads and checks what decides about the session, with the row of the user's authenticator app: one
    /// read, and one more where the pool is not known yet.
    ///
    /// # Errors
    /// NotAuthorizedException; the store's.
    pub async fn load(&self, tx: &mut Tx<'_>) -> Result<Checked, Failure> {
        let known = tx.world().configs.get(&self.pool_id);
        let mut session = known.and_then(|config| self.open(&config));
        if session.is_none() {
            tx.load(Query::new()).await.map_err(as_invalid)?;
            session = self.open(&*tx.pool()?);
        }
        let session = session.ok_or_else(challenge_session::invalid)?;
        let query = Query::new()
            .get(challenge_session::used_key(&self.sealed))
            .get(keys::user(&session.sub))
            .get(credentials::key(&session.sub))
            .get(software_token::key(&session.sub))
            .client(&session.client_id);
        tx.load(query).await.map_err(as_invalid)?;
        let client = tx.client().ok_or_else(|| errors::client_not_found(&session.client_id))?;
        let sealed = Some(self.sealed.as_slice());
        let session = challenge_session::answered(tx, &client, sealed, "MFA_SETUP")?;
        let user = tx.get::<UserRecord>(&keys::user(&session.sub))?;
        let credentials = tx.get::<CredentialsRecord>(&credentials::key(&session.sub))?;
        let found = user.map(|user| FoundUser { user, credentials, attempts: None, alias: None });
        challenge_session::check_user(&session, found.as_ref())?;
        let user = found.map(|found| found.user).filter(is_confirmed);
        let user = user.ok_or_else(challenge_session::invalid)?.record;
        // whoever has a factor by now does not get another one by a password alone
        if session.is_set_up || !matches!(second_factor::of(tx, &user)?, Second::Setup(_)) {
            return Err(challenge_session::invalid().into());
        }
        Ok(Checked { session, client, user })
    }

    fn open(&self, config: &PoolConfig) -> Option<ChallengeSession> {
        challenge_session::open(config, &self.sealed)
    }
}

fn is_confirmed(user: &Stored<UserRecord>) -> bool {
    user.record.status == status::CONFIRMED
}

/// A session names its pool before anybody has checked it: this says nothing of pools.
fn as_invalid(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(error) if error.code == ExceptionName::ResourceNotFoundException => {
            challenge_session::invalid().into()
        }
        other => other,
    }
}
