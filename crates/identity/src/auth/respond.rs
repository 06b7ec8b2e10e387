//! The next step of a sign-in: what RespondToAuthChallenge and AdminRespondToAuthChallenge have in common.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use conclave_api::{
    ApiError,
    enums::{AuthFlowType, ChallengeNameType},
};
use conclave_crypto::encoding;
use conclave_store::{
    keys::{self, UserChild},
    records::ChallengeSession,
};

use super::{
    attempts,
    begin::within_limits,
    challenge_session, choice, custom_auth, device_auth, flows,
    machine::{Factor, First},
    new_password, passkey, second_factor, srp,
    step::{Answer, Step, required},
    tokens, unknown,
};
use crate::{
    call::Call,
    client_pool,
    config::{ClientConfig, PoolConfig},
    errors, passkeys, pool_access,
    threat_protection::{
        compromised::GivenPassword,
        context::Context,
        enforcement,
        record::{self, SignInStep},
    },
    triggers::{Circumstances, Occasion},
    tx::{Decision, Failure, Query, Transaction, Tx},
    users::{
        lookup::{self, FoundUser, With},
        password_history, secret_hash,
    },
};

/// An answer to a challenge.
pub struct Respond<'a> {
    /// The pool.
    pub pool_id: String,
    /// The app client.
    pub client_id: &'a str,
    /// ChallengeName
    pub challenge: ChallengeNameType,
    /// ChallengeResponses
    pub responses: &'a BTreeMap<String, String>,
    /// What is sealed in Session, or in the secret block of SRP.
    sealed: Option<Vec<u8>>,
    /// ClientMetadata
    pub client_metadata: Option<&'a BTreeMap<String, String>>,
    /// Who calls.
    pub call: &'a Call,
    /// Where the answer comes from.
    pub context: Context,
    /// Whether the call is signed, and so the pool must be the caller's.
    pub is_admin: bool,
}

impl<'a> Respond<'a> {
    /// An answer with these responses.
    pub fn new(
        call: &'a Call,
        (pool_id, client_id): (String, &'a str),
        challenge: ChallengeNameType,
        session: Option<&str>,
        responses: &'a BTreeMap<String, String>,
    ) -> Self {
        let sealed = match challenge {
            // Cognito's SRP clients carry the session in the secret block, and send no other
            ChallengeNameType::PasswordVerifier | ChallengeNameType::DevicePasswordVerifier => {
                let block = responses.get("PASSWORD_CLAIM_SECRET_BLOCK");
                block.and_then(|block| encoding::base64_decode(block))
            }
            _ => session.and_then(challenge_session::from_text).map(|(_, sealed)| sealed),
        };
        Self {
            pool_id,
            client_id,
            challenge,
            responses,
            sealed,
            client_metadata: None,
            call,
            context: Context::default(),
            is_admin: false,
        }
    }
}

#[async_trait]
impl Transaction for Respond<'_> {
    type Output = Answer;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn circumstances(&self) -> Circumstances<'_> {
        let occasion = match self.challenge {
            ChallengeNameType::NewPasswordRequired => Occasion::NewPassword,
            ChallengeNameType::DevicePasswordVerifier => Occasion::Device,
            _ => Occasion::Authentication,
        };
        Circumstances { client_metadata: self.client_metadata, occasion }
    }

    fn scope_is_gone(&self) -> ApiError {
        if self.is_admin {
            errors::user_pool_not_found(&self.pool_id)
        } else {
            errors::client_not_found(self.client_id)
        }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let client = self.load(tx).await?;
        let session = self.session(&*tx.pool()?);
        let Some(watched) = self.watched(tx, &client, session.as_ref()) else {
            return Ok(self.step(tx, &client).await?.into_reply());
        };
        let known = enforcement::look_ahead(tx, &watched).await?;
        let step = match tx.enforcement().blocks() && self.follows_a_first_factor(tx)? {
            true => Err(self.blocked(tx, &client)),
            false => self.step(tx, &client).await,
        };
        Ok(record::sign_in(tx, watched, known, step).await?.into_reply())
    }
}

impl Respond<'_> {
    async fn step(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        match self.challenge {
            ChallengeNameType::PasswordVerifier => self.password_verifier(tx, client).await,
            ChallengeNameType::NewPasswordRequired => self.new_password(tx, client).await,
            ChallengeNameType::SmsMfa
            | ChallengeNameType::SoftwareTokenMfa
            | ChallengeNameType::SelectMfaType
            | ChallengeNameType::MfaSetup => self.second_factor(tx, client).await,
            ChallengeNameType::EmailOtp if self.follows_a_password(tx)? => {
                self.second_factor(tx, client).await
            }
            ChallengeNameType::SelectChallenge
            | ChallengeNameType::Password
            | ChallengeNameType::PasswordSrp
            | ChallengeNameType::EmailOtp
            | ChallengeNameType::SmsOtp
            | ChallengeNameType::WebAuthn => self.choice(tx, client).await,
            ChallengeNameType::DeviceSrpAuth | ChallengeNameType::DevicePasswordVerifier => {
                self.device(tx, client).await
            }
            ChallengeNameType::CustomChallenge => self.custom(tx, client).await,
            // nothing of this version opens such a challenge, so no session can be one of it
            _ => Err(challenge_session::invalid().into()),
        }
    }

    /// Whether whoever has this session has proved the first factor.
    fn follows_a_first_factor(&self, tx: &Tx<'_>) -> Result<bool, ApiError> {
        Ok(match self.challenge {
            ChallengeNameType::NewPasswordRequired
            | ChallengeNameType::SmsMfa
            | ChallengeNameType::SoftwareTokenMfa
            | ChallengeNameType::SelectMfaType
            | ChallengeNameType::MfaSetup => true,
            ChallengeNameType::EmailOtp => self.follows_a_password(tx)?,
            _ => false,
        })
    }

    /// Ends a sign-in that has become too risky, before its answer is looked at: no password is set, and no code counts.
    fn blocked(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Failure {
        match self.answered(tx, client) {
            Ok(session) => {
                let sealed = self.sealed.as_deref().unwrap_or_default();
                challenge_session::consume(tx, sealed, &session);
                enforcement::blocked(tx)
            }
            Err(error) => error.into(),
        }
    }

    /// What threat protection is told of the step.
    fn watched<'a>(
        &'a self,
        tx: &Tx<'_>,
        client: &'a ClientConfig,
        session: Option<&'a ChallengeSession>,
    ) -> Option<SignInStep<'a>> {
        let session = session?;
        let password = self.shown_password();
        let challenge = match self.challenge {
            ChallengeNameType::PasswordVerifier | ChallengeNameType::Password => Some("Password"),
            ChallengeNameType::SelectChallenge => password.map(|_| "Password"),
            ChallengeNameType::SmsMfa | ChallengeNameType::SoftwareTokenMfa => Some("Mfa"),
            ChallengeNameType::EmailOtp if session.credentials_set_ms != 0 => Some("Mfa"),
            _ => None,
        };
        Some(SignInStep {
            client,
            flow: &session.flow,
            context: &self.context,
            is_signed: self.is_admin,
            // whoever is gone has no history
            sub: Some(session.sub.clone())
                .filter(|sub| !sub.is_empty() && tx.get_bytes(&keys::user(sub)).is_some()),
            name: &session.username,
            event_id: &session.event_id,
            challenge,
            password,
        })
    }

    /// The password, where it is what answers: others may send one that nobody looks at.
    fn shown_password(&self) -> Option<GivenPassword<'_>> {
        let given = |name: &str| self.responses.get(name).filter(|text| !text.is_empty());
        let is_chosen = || given("ANSWER").is_some_and(|answer| answer == First::Password.as_str());
        match self.challenge {
            ChallengeNameType::Password => {
                given("PASSWORD").map(|text| GivenPassword::SignIn(text))
            }
            ChallengeNameType::SelectChallenge if is_chosen() => {
                given("PASSWORD").map(|text| GivenPassword::SignIn(text))
            }
            ChallengeNameType::NewPasswordRequired => {
                given("NEW_PASSWORD").map(|text| GivenPassword::Change(text))
            }
            _ => None,
        }
    }

    /// Loads what the answer needs in one read. Whose failures an answer may count among is in the
    /// sealed session, so a pool that this gateway does not know yet, or not as it is now, takes a read
    /// more, whoever the answer is about.
    async fn load(&self, tx: &mut Tx<'_>) -> Result<Arc<ClientConfig>, Failure> {
        let known = tx.world().configs.get(&self.pool_id);
        let session = known.and_then(|config| self.session(&config));
        let client = self.load_with(tx, session.as_ref()).await?;
        let opened = self.session(&*tx.pool()?);
        if session.is_some() || opened.is_none() {
            return Ok(client);
        }
        self.load_with(tx, opened.as_ref()).await
    }

    async fn load_with(
        &self,
        tx: &mut Tx<'_>,
        session: Option<&ChallengeSession>,
    ) -> Result<Arc<ClientConfig>, Failure> {
        let query = self.query(tx, session);
        if !self.is_admin {
            return Ok(client_pool::load(tx, query, self.client_id).await?.client);
        }
        tx.load(query.client(self.client_id)).await?;
        pool_access::owned_pool(tx, self.call)?;
        Ok(tx.client().ok_or_else(|| errors::client_not_found(self.client_id))?)
    }

    fn session(&self, config: &PoolConfig) -> Option<ChallengeSession> {
        challenge_session::open(config, self.sealed.as_deref()?)
    }

    fn query(&self, tx: &Tx<'_>, session: Option<&ChallengeSession>) -> Query {
        let mut query = Query::new();
        if let Some(sealed) = &self.sealed {
            query = query.get(challenge_session::used_key(sealed));
        }
        if let Some(session) = session {
            let (world, name) = (tx.world(), &session.username);
            query = attempts::query_unknown(query, world, &self.pool_id, name);
        }
        let name = self.responses.get("USERNAME").map_or("", String::as_str);
        if within_limits(name) {
            let mut with = vec![With::Credentials];
            match self.challenge {
                ChallengeNameType::SmsMfa
                | ChallengeNameType::EmailOtp
                | ChallengeNameType::SoftwareTokenMfa => with.extend(second_factor::ROWS),
                ChallengeNameType::CustomChallenge => {
                    with.push(With::Child(UserChild::MfaAttempts, &[]));
                }
                ChallengeNameType::NewPasswordRequired => with.push(password_history::WITH),
                ChallengeNameType::SelectChallenge | ChallengeNameType::WebAuthn => {
                    with.push(passkeys::rows::WITH);
                }
                _ => {}
            }
            query = lookup::query(query, name, &with);
            query = device_auth::query(tokens::query(query, tx), self.responses);
        }
        query = device_auth::query_session(query, session);
        match self.challenge {
            ChallengeNameType::NewPasswordRequired => new_password::query(query, self.responses),
            _ => query,
        }
    }

    /// EMAIL_OTP asks for a second factor in one sign-in and for the first in another.
    fn follows_a_password(&self, tx: &Tx<'_>) -> Result<bool, ApiError> {
        let session = self.session(&*tx.pool()?);
        Ok(session.is_some_and(|session| {
            session.credentials_set_ms != 0 || session.flow == custom_auth::FLOW
        }))
    }

    async fn password_verifier(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        let config = tx.pool()?;
        let session = self.session(&config);
        // a flow that has been taken from the client meanwhile does not go on
        match &session {
            Some(session) => flows::check_still_enabled(client, &session.flow)?,
            None => flows::check_enabled(client, &AuthFlowType::UserSrpAuth)?,
        }
        let username = required(self.responses, "USERNAME")?;
        required(self.responses, "PASSWORD_CLAIM_SECRET_BLOCK")?;
        let signature = required(self.responses, "PASSWORD_CLAIM_SIGNATURE")?;
        let timestamp = required(self.responses, "TIMESTAMP")?;
        let found = self.find(tx, username)?;
        match (&found, &session) {
            (None, Some(session)) if srp::is_answer_of_unknown(&config, session, username) => {
                let shown = unknown::shown_name(&config, &session.username);
                self.check_secret(client, &shown)?;
            }
            _ => self.check_secret_of(&config, client, username, found.as_ref())?,
        }
        let (Some(secret_block), Some(session)) = (&self.sealed, session) else {
            return Err(errors::incorrect_username_or_password().into());
        };
        let device_key = device_auth::named(self.responses);
        let claim =
            srp::Claim { session: &session, secret_block, signature, timestamp, device_key };
        srp::verify(tx, client, username, &claim, found).await
    }

    async fn new_password(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.responses, "USERNAME")?;
        required(self.responses, "NEW_PASSWORD")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        new_password::answer(tx, client, self.sealed.as_deref(), self.responses, found).await
    }

    async fn second_factor(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.responses, "USERNAME")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        let session = self.answered(tx, client)?;
        let sealed = self.sealed.as_deref().unwrap_or_default();
        let given = second_factor::Given { sealed, session: &session, responses: self.responses };
        match Factor::named(self.challenge.as_str()) {
            Some(factor) => second_factor::answer_code(tx, client, factor, &given, found).await,
            None if self.challenge == ChallengeNameType::SelectMfaType => {
                second_factor::answer_select(tx, client, &given, found)
            }
            None => second_factor::answer_setup(tx, client, &given, found).await,
        }
    }

    async fn device(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.responses, "USERNAME")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        let (sealed, responses) = (self.sealed.as_deref(), self.responses);
        if self.challenge == ChallengeNameType::DeviceSrpAuth {
            device_auth::answer_srp_auth(tx, client, sealed, responses, found).await
        } else {
            device_auth::answer_password_verifier(tx, client, sealed, responses, found).await
        }
    }

    async fn choice(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.responses, "USERNAME")?;
        let found = self.find(tx, username)?;
        let shown = match &found {
            Some(found) => found.user.record.username.clone(),
            None => unknown::shown_name(&*tx.pool()?, username),
        };
        // SELECT_CHALLENGE shows no name, so the one that was given is as good as the canonical one
        self.check_secret(client, username).or_else(|_| self.check_secret(client, &shown))?;
        let session = self.answered(tx, client)?;
        let sealed = self.sealed.as_deref().unwrap_or_default();
        let responses = self.responses;
        let given = choice::Given { sealed, session: &session, username, responses };
        match First::named(self.challenge.as_str()) {
            Some(first @ (First::Password | First::PasswordSrp)) => {
                choice::answer_password(tx, client, first, &given, found).await
            }
            Some(First::WebAuthn) => passkey::answer(tx, client, &given, found).await,
            Some(first) => choice::answer_code(tx, client, first, &given, found).await,
            None => choice::answer_select(tx, client, &given, found).await,
        }
    }

    async fn custom(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.responses, "USERNAME")?;
        let found = self.find(tx, username)?;
        self.check_secret_of(&*tx.pool()?, client, username, found.as_ref())?;
        let session = self.answered(tx, client)?;
        let given = required(self.responses, "ANSWER")?;
        let sealed = self.sealed.as_deref().unwrap_or_default();
        custom_auth::respond(tx, client, (sealed, &session), (username, given), found).await
    }

    fn answered(&self, tx: &Tx<'_>, client: &ClientConfig) -> Result<ChallengeSession, ApiError> {
        let challenge = self.challenge.as_str();
        challenge_session::answered(tx, client, self.sealed.as_deref(), challenge)
    }

    /// From the second step on, SECRET_HASH is over the canonical user name.
    fn check_secret_of(
        &self,
        config: &PoolConfig,
        client: &ClientConfig,
        username: &str,
        found: Option<&FoundUser>,
    ) -> Result<(), ApiError> {
        match found {
            Some(found) => self.check_secret(client, &found.user.record.username),
            None => self.check_secret(client, &unknown::shown_name(config, username)),
        }
    }

    fn check_secret(&self, client: &ClientConfig, canonical: &str) -> Result<(), ApiError> {
        let given = self.responses.get("SECRET_HASH").map(String::as_str);
        secret_hash::check(client, canonical, given)
    }

    fn find(&self, tx: &Tx<'_>, name: &str) -> Result<Option<FoundUser>, ApiError> {
        if within_limits(name) { lookup::find(tx, &*tx.pool()?, name) } else { Ok(None) }
    }
}
