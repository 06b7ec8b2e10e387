//! How a sign-in begins: what InitiateAuth and AdminInitiateAuth have in common. An administrator's
//! server may send passwords that an app may not, and proves itself by its signature.

use std::collections::BTreeMap;

use async_trait::async_trait;
use conclave_api::{ApiError, enums::AuthFlowType};
use conclave_crypto::secret::SecretString;

use super::{
    attempts,
    challenge_session::{self, SignIn},
    choice, custom_auth, device_auth, flows,
    machine::First,
    password, refresh, srp,
    step::{self, Answer, Step, required},
    tokens,
};
use crate::{
    call::Call,
    client_pool,
    config::ClientConfig,
    errors, passkeys, pool_access,
    threat_protection::{
        compromised::GivenPassword,
        context::Context,
        enforcement,
        record::{self, SignInStep},
    },
    triggers::{self, Circumstances, Trigger, authentication, user_migration::Wanted},
    tx::{Decision, Failure, Query, Transaction, Tx, transact_until},
    users::{
        lookup,
        migrate::{self, Migrate},
        secret_hash,
    },
    world::World,
};

/// A sign-in that begins.
pub struct Begin<'a> {
    /// The pool.
    pub pool_id: String,
    /// The app client.
    pub client_id: &'a str,
    /// AuthFlow
    pub flow: AuthFlowType,
    /// AuthParameters
    pub parameters: &'a BTreeMap<String, String>,
    /// Session
    pub session: Option<&'a str>,
    /// ClientMetadata: what PreAuthentication is told, and no other trigger of the request.
    pub client_metadata: Option<&'a BTreeMap<String, String>>,
    /// The other directory has been asked, if there is one.
    pub is_migration_over: bool,
    /// Who calls.
    pub call: &'a Call,
    /// Where the sign-in comes from.
    pub context: Context,
    /// Whether the call is signed, and so the pool must be the caller's.
    pub is_admin: bool,
}

/// Begins a sign-in. Whom another directory knows is made first.
///
/// # Errors
/// As the API declares them.
pub async fn begin(world: &World, mut begin: Begin<'_>) -> Result<Answer, ApiError> {
    let until = triggers::until();
    let answer = transact_until(world, &begin, until).await?;
    if !answer.is_migration {
        return Ok(answer);
    }
    let given = |name: &str| begin.parameters.get(name).cloned().unwrap_or_default();
    let (username, password) = (given("USERNAME"), SecretString::new(given("PASSWORD")));
    let migrate = Migrate {
        pool_id: &begin.pool_id,
        client_id: begin.client_id,
        username: &username,
        wanted: Wanted::SignIn(&password, begin.client_metadata),
        circumstances: Circumstances::default(),
    };
    Box::pin(transact_until(world, &migrate, until)).await?;
    begin.is_migration_over = true;
    transact_until(world, &begin, until).await
}

#[async_trait]
impl Transaction for Begin<'_> {
    type Output = Answer;

    fn scope(&self) -> &str {
        &self.pool_id
    }

    fn scope_is_gone(&self) -> ApiError {
        if self.is_admin {
            errors::user_pool_not_found(&self.pool_id)
        } else {
            errors::client_not_found(self.client_id)
        }
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Self::Output> {
        let query = self.query(tx);
        let client = if self.is_admin {
            tx.load(query.client(self.client_id)).await?;
            pool_access::owned_pool(tx, self.call)?;
            tx.client().ok_or_else(|| errors::client_not_found(self.client_id))?
        } else {
            client_pool::load(tx, query, self.client_id).await?.client
        };
        self.check_flow(&client)?;
        let Some(watched) = self.watched(tx, &client)? else {
            return Ok(self.step(tx, &client).await?.into_reply());
        };
        let known = enforcement::look_ahead(tx, &watched).await?;
        let step = self.step(tx, &client).await;
        Ok(record::sign_in(tx, watched, known, step).await?.into_reply())
    }
}

impl Begin<'_> {
    async fn step(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        match self.flow {
            AuthFlowType::UserPasswordAuth
            | AuthFlowType::AdminUserPasswordAuth
            | AuthFlowType::AdminNoSrpAuth => self.by_password(tx, client).await,
            AuthFlowType::UserSrpAuth => self.by_srp(tx, client).await,
            AuthFlowType::UserAuth => self.by_choice(tx, client).await,
            AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth => {
                self.by_refresh_token(tx, client).await
            }
            AuthFlowType::CustomAuth => self.by_functions(tx, client).await,
            _ => Err(not_supported().into()),
        }
    }

    /// What threat protection is told of the step. A refresh is no event.
    fn watched<'a>(
        &'a self,
        tx: &Tx<'_>,
        client: &'a ClientConfig,
    ) -> Result<Option<SignInStep<'a>>, ApiError> {
        let is_refresh =
            matches!(self.flow, AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth);
        let Some(name) = self.parameters.get("USERNAME").filter(|_| !is_refresh) else {
            return Ok(None);
        };
        let password = self.shown_password();
        Ok(Some(SignInStep {
            client,
            flow: self.flow.as_str(),
            context: &self.context,
            is_signed: self.is_admin,
            sub: self.find(tx, name)?.map(|found| found.sub().to_owned()),
            name,
            event_id: &self.call.request_id,
            challenge: password.map(|_| "Password"),
            password: password.map(GivenPassword::SignIn),
        }))
    }

    /// The password, where it is what proves the user: others may send one that nobody looks at.
    fn shown_password(&self) -> Option<&str> {
        let is_shown = match self.flow {
            AuthFlowType::UserPasswordAuth
            | AuthFlowType::AdminUserPasswordAuth
            | AuthFlowType::AdminNoSrpAuth => true,
            AuthFlowType::UserAuth => {
                let preferred = self.parameters.get("PREFERRED_CHALLENGE").map(String::as_str);
                preferred == Some(First::Password.as_str()) && self.session.is_none()
            }
            _ => false,
        };
        let password = self.parameters.get("PASSWORD").filter(|text| is_shown && !text.is_empty());
        password.map(String::as_str)
    }

    /// All that the flow needs, in one read: what a request means is checked when the rules are known.
    fn query(&self, tx: &Tx<'_>) -> Query {
        let mut query = Query::new();
        let parameters = &self.parameters;
        match self.flow {
            AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth => {
                let token = parameters.get("REFRESH_TOKEN").map_or("", String::as_str);
                return match refresh::parse(token, &self.pool_id) {
                    Ok(token) => refresh::query(query, &token, device_auth::named(parameters)),
                    Err(_) => query,
                };
            }
            AuthFlowType::Unknown(_) => return query,
            _ => {}
        }
        let name = parameters.get("USERNAME").map_or("", String::as_str);
        query = attempts::query_unknown(query, tx.world(), &self.pool_id, name);
        if !within_limits(name) {
            return query;
        }
        let mut with = vec![lookup::With::Credentials];
        if self.flow == AuthFlowType::UserAuth {
            with.push(passkeys::rows::WITH);
        }
        query = lookup::query(query, name, &with);
        if self.flow == AuthFlowType::UserAuth
            && let Some(sealed) = self.sealed()
        {
            query = query.get(challenge_session::used_key(&sealed));
        }
        match self.flow {
            AuthFlowType::UserSrpAuth => query,
            _ => device_auth::query(tokens::query(query, tx), parameters),
        }
    }

    fn check_flow(&self, client: &ClientConfig) -> Result<(), ApiError> {
        let is_admins =
            matches!(self.flow, AuthFlowType::AdminNoSrpAuth | AuthFlowType::AdminUserPasswordAuth);
        let is_apps = self.flow == AuthFlowType::UserPasswordAuth;
        if (is_admins && !self.is_admin) || (is_apps && self.is_admin) {
            return Err(not_supported());
        }
        flows::check_enabled(client, &self.flow)?;
        if self.session.is_some() && self.flow != AuthFlowType::UserAuth {
            // the text is ours
            return Err(ApiError::invalid_parameter("Session is for the USER_AUTH flow only."));
        }
        Ok(())
    }

    fn sign_in(&self) -> SignIn<'_> {
        SignIn::begun(&self.call.request_id, self.flow.as_str())
    }

    async fn by_password(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.parameters, "USERNAME")?;
        let password = SecretString::new(required(self.parameters, "PASSWORD")?.to_owned());
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        if found.is_none() && !self.is_migration_over && migrate::is_possible(&*tx.pool()?) {
            return Ok(Step::Migrate);
        }
        self.ask_before(tx, client, (username, found.as_ref())).await?;
        let device_key = device_auth::named(self.parameters);
        let sign_in = SignIn { device_key, ..self.sign_in() };
        password::sign_in(tx, client, username, &password, found, sign_in).await
    }

    async fn by_srp(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.parameters, "USERNAME")?;
        let srp_a = required(self.parameters, "SRP_A")?;
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        self.ask_before(tx, client, (username, found.as_ref())).await?;
        srp::challenge(tx, client, username, srp_a, found, self.sign_in()).await
    }

    async fn by_choice(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.parameters, "USERNAME")?;
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        // a passkey comes through while the password is locked; what can be guessed looks at the lock itself
        self.ask_function(tx, client, (username, found.as_ref())).await?;
        let somebody = choice::Somebody { username, found, event_id: &self.call.request_id };
        if self.session.is_none() {
            return choice::begin(tx, client, somebody, self.parameters).await;
        }
        let sealed = self.sealed();
        choice::begin_confirmed(tx, client, somebody, sealed.as_deref(), self.parameters).await
    }

    async fn by_functions(&self, tx: &mut Tx<'_>, client: &ClientConfig) -> Result<Step, Failure> {
        let username = required(self.parameters, "USERNAME")?;
        self.check_secret(client, username)?;
        let found = self.find(tx, username)?;
        self.ask_before(tx, client, (username, found.as_ref())).await?;
        let device_key = device_auth::named(self.parameters);
        let sign_in = SignIn { device_key, ..self.sign_in() };
        custom_auth::begin(tx, client, username, found, (sign_in, self.parameters)).await
    }

    /// PreAuthentication, of whom nobody is asked about while the lock lasts.
    async fn ask_before(
        &self,
        tx: &Tx<'_>,
        client: &ClientConfig,
        (username, found): (&str, Option<&lookup::FoundUser>),
    ) -> Result<(), ApiError> {
        let config = tx.pool()?;
        if Trigger::PreAuthentication.function(&config.record).is_none() {
            return Ok(());
        }
        let counter = match found {
            None if !client.hides_users() => return Ok(()),
            None => {
                let folded = lookup::folded(&config, username);
                attempts::of_unknown(tx.world(), config.id(), &folded)
            }
            Some(found) => attempts::of_user(found.sub()),
        };
        if let Some(found) = found {
            step::may_try(client, &found.user.record)?;
        }
        attempts::check_lock(tx, &counter)?;
        self.ask_function(tx, client, (username, found)).await
    }

    /// PreAuthentication. Who is refused without it is not asked about.
    async fn ask_function(
        &self,
        tx: &Tx<'_>,
        client: &ClientConfig,
        (username, found): (&str, Option<&lookup::FoundUser>),
    ) -> Result<(), ApiError> {
        if Trigger::PreAuthentication.function(&tx.pool()?.record).is_none() {
            return Ok(());
        }
        let user = found.map(|found| &found.user.record);
        match user {
            None if !client.hides_users() => return Ok(()),
            None => {}
            Some(user) => step::may_try(client, user)?,
        }
        authentication::before(tx, client, username, user, self.client_metadata).await
    }

    async fn by_refresh_token(
        &self,
        tx: &mut Tx<'_>,
        client: &ClientConfig,
    ) -> Result<Step, Failure> {
        let token = required(self.parameters, "REFRESH_TOKEN")?;
        let secret_hash = self.parameters.get("SECRET_HASH").map(String::as_str);
        secret_hash::check_presence(client, secret_hash)?;
        let token = refresh::parse(token, &self.pool_id)?;
        let device_key = device_auth::named(self.parameters);
        refresh::refresh(tx, client, &token, device_key, secret_hash).await
    }

    fn sealed(&self) -> Option<Vec<u8>> {
        self.session.and_then(challenge_session::from_text).map(|(_, sealed)| sealed)
    }

    fn check_secret(&self, client: &ClientConfig, username: &str) -> Result<(), ApiError> {
        let given = self.parameters.get("SECRET_HASH").map(String::as_str);
        secret_hash::check(client, username, given)
    }

    fn find(&self, tx: &Tx<'_>, name: &str) -> Result<Option<lookup::FoundUser>, ApiError> {
        if within_limits(name) { lookup::find(tx, &*tx.pool()?, name) } else { Ok(None) }
    }
}

fn not_supported() -> ApiError {
    ApiError::invalid_parameter("Initiate Auth method not supported.")
}

/// Whether anybody can have this name.
pub(super) fn within_limits(name: &str) -> bool {
    !name.is_empty() && name.len() <= lookup::NAME_BYTES_MAX
}
