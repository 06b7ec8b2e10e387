//! What operations call when something has been done, or has failed: the event is judged and goes into the history with the commit.

use std::net::IpAddr;

use conclave_store::{
    keys::{self, UserChild},
    records::{AuthEventChallenge, AuthEventRecord, RiskConfigurationRecord, RiskProfileRecord},
};

use super::{
    Mode,
    compromised::{self, GivenPassword},
    context::Context,
    enforcement, history, mode, notification,
    risk::{self, Level, Risk},
    standard_mode,
};
use crate::{
    auth::step::Step,
    config::ClientConfig,
    log_delivery,
    tx::{Failure, Query, Tx},
};

/// Answers of one sign-in that are kept: wrong ones can be many.
const ANSWERS_MAX: usize = 16;

/// A step of a sign-in.
pub struct SignInStep<'a> {
    /// The app client.
    pub client: &'a ClientConfig,
    /// The flow.
    pub flow: &'a str,
    /// Where it comes from.
    pub context: &'a Context,
    /// Whether the call is signed.
    pub is_signed: bool,
    /// Who signs in; `None`: nobody of this name exists.
    pub sub: Option<String>,
    /// The name that was given.
    pub name: &'a str,
    /// The request that began the sign-in.
    pub event_id: &'a str,
    /// What was asked for: "Password" or "Mfa". Source: API reference, `ChallengeResponseType`.
    pub challenge: Option<&'static str>,
    /// A password that the step has sent as it is.
    pub password: Option<GivenPassword<'a>>,
}

/// What an event is judged by.
pub struct Known {
    profile: RiskProfileRecord,
    /// What is done about it.
    pub configuration: RiskConfigurationRecord,
}

impl Known {
    fn judge(&self, address: Option<IpAddr>, context: &Context, now_ms: i64) -> Risk {
        let exceptions = self.configuration.exceptions.clone().unwrap_or_default();
        risk::judge(&self.profile, &exceptions, address, &context.device_hash, now_ms)
    }

    /// How risky a sign-in is that is to take a step: what it was judged to be before counts.
    pub fn level(&self, tx: &Tx<'_>, step: &SignInStep<'_>) -> Option<Level> {
        let address = step.context.address(step.client, step.is_signed);
        let now = self.judge(address, step.context, tx.now_ms());
        let event = step.sub.as_deref().and_then(|sub| history::get(tx, sub, step.event_id));
        enforcement::higher(event.as_ref().map_or("", |event| &event.risk_level), &now)
    }
}

/// Adds a step to the history, where it commits anything. One read more, of somebody as of nobody, unless it has been taken ahead of
/// the step.
///
/// # Errors
/// The step's own; InvalidPasswordException for a new password that others know; the store's.
pub async fn sign_in(
    tx: &mut Tx<'_>,
    step: SignInStep<'_>,
    known: Option<Known>,
    result: Result<Step, Failure>,
) -> Result<Step, Failure> {
    let pool = tx.pool()?;
    let response = match &result {
        Ok(Step::Tokens(_)) => Some("Pass"),
        Ok(Step::Challenge { .. }) => Some("InProgress"),
        Err(Failure::RefusedAfterCommit(_)) => Some("Fail"),
        // whoever another directory is asked about begins once more
        Ok(Step::Migrate) | Err(_) => None,
    };
    let counts = mode(&pool.record, step.flow) != Mode::Off && tx.has_writes();
    let Some(response) = response.filter(|_| counts) else { return result };
    let is_enforced = known.is_some();
    let known = match known {
        Some(known) => known,
        None => load_step(tx, &step).await?,
    };
    if let Some(given @ GivenPassword::Change(_)) = step.password
        && is_enforced
        // where something else fails, the password is set all the same
        && !tx.enforcement().is_blocked()
    {
        enforcement::check_password(tx, &known.configuration, given)?;
    }
    let is_blocked = tx.enforcement().is_blocked();
    let Some(sub) = step.sub.as_deref() else { return result };
    let now_ms = tx.now_ms();
    let address = step.context.address(step.client, step.is_signed);
    let risk = known.judge(address, step.context, now_ms);
    let mut event = match history::get(tx, sub, step.event_id) {
        Some(event) if is_enforced && risk.level > Level::named(&event.risk_level) => {
            judged(at_place(event, &step, address), &risk)
        }
        // the place that becomes a known one, which feedback may take back
        Some(event) if response == "Pass" => at_place(event, &step, address),
        Some(event) => event,
        None => judged(new(&step, address, "SignIn", now_ms), &risk),
    };
    if is_blocked {
        "Block".clone_into(&mut event.risk_decision);
    }
    // a wrong guess is nobody's password
    if let Some(given) = step.password.filter(|_| response != "Fail" || is_blocked) {
        let found = compromised::look(tx.world(), &known.configuration, given);
        event.compromised_credentials = compromised::either(event.compromised_credentials, found);
    }
    response.clone_into(&mut event.response);
    // of who is blocked, the password was right, and nothing else has been looked at
    let challenge = step.challenge.filter(|name| !is_blocked || *name == "Password");
    if let Some(name) = challenge.filter(|_| event.challenges.len() < ANSWERS_MAX) {
        let succeeded = response != "Fail" || is_blocked;
        event.challenges.push(AuthEventChallenge { name: name.to_owned(), succeeded });
    }
    let mut changed = known.profile;
    match response {
        "Pass" => risk::passed(&mut changed, address, &step.context.device_hash, now_ms),
        "Fail" if !is_blocked => risk::failed(&mut changed, now_ms),
        _ => {}
    }
    if is_enforced {
        let told = notification::of_step(&step, &result, tx.enforcement());
        if let Some(told) = told {
            let about = (&known.configuration, &mut event, &mut changed);
            notification::send(tx, sub, told, about)?;
        }
    }
    tx.put(profile_key(sub), &changed);
    keep(tx, sub, event);
    result
}

/// Adds something else that a user has done: a kind of event and the id of the request. For a name that nobody has there is
/// the read, and nothing is kept.
///
/// # Errors
/// The store's.
pub async fn done(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    (sub, name): (Option<&str>, &str),
    (kind, event_id): (&str, &str),
    context: &Context,
    password: Option<GivenPassword<'_>>,
) -> Result<(), Failure> {
    let pool = tx.pool()?;
    if standard_mode(&pool.record) == Mode::Off {
        return Ok(());
    }
    let shown = sub.map_or_else(|| pool.fake_users.sub(name), str::to_owned);
    let known = load(tx, client, &shown, event_id).await?;
    let (now_ms, address) = (tx.now_ms(), context.address(client, false));
    let Some(sub) = sub else { return Ok(()) };
    let step = SignInStep {
        client,
        flow: "",
        context,
        is_signed: false,
        sub: None,
        name: "",
        event_id,
        challenge: None,
        password,
    };
    let event = AuthEventRecord {
        response: "Pass".to_owned(),
        compromised_credentials: password
            .and_then(|given| compromised::look(tx.world(), &known.configuration, given)),
        ..new(&step, address, kind, now_ms)
    };
    let risk = known.judge(address, context, now_ms);
    keep(tx, sub, judged(event, &risk));
    Ok(())
}

/// Refuses before anything else that [`done`] is called for, where the mode is ENFORCED: whoever there is or is not, a code or a
/// password cannot be tried from a blocked address. Takes one read then.
///
/// # Errors
/// NotAuthorizedException for a blocked address, InvalidPasswordException for a password that others know; the store's.
pub async fn at_the_door(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    context: &Context,
    password: Option<GivenPassword<'_>>,
) -> Result<(), Failure> {
    if standard_mode(&tx.pool()?.record) != Mode::Enforced {
        return Ok(());
    }
    tx.load(query_configuration(Query::new(), client)).await?;
    let configuration = configuration(tx, client)?;
    enforcement::check_address(&configuration, context.address(client, false))?;
    match password {
        Some(given) => Ok(enforcement::check_password(tx, &configuration, given)?),
        None => Ok(()),
    }
}

/// The row of a user's profile.
pub(super) fn profile_key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::RiskProfile, &[])
}

/// What a step is judged by.
pub(super) async fn load_step(tx: &mut Tx<'_>, step: &SignInStep<'_>) -> Result<Known, Failure> {
    let pool = tx.pool()?;
    let shown = step.sub.clone().unwrap_or_else(|| pool.fake_users.sub(step.name));
    load(tx, step.client, &shown, step.event_id).await
}

fn query_configuration(query: Query, client: &ClientConfig) -> Query {
    let client_id = &client.record.client_id;
    let query = query.client(client_id).get(keys::risk_configuration(client_id));
    query.get(keys::risk_configuration(""))
}

/// That of the app client comes before that of the pool.
fn configuration(tx: &Tx<'_>, client: &ClientConfig) -> Result<RiskConfigurationRecord, Failure> {
    for of in [client.record.client_id.as_str(), ""] {
        if let Some(stored) = tx.get::<RiskConfigurationRecord>(&keys::risk_configuration(of))? {
            return Ok(stored.record);
        }
    }
    Ok(RiskConfigurationRecord::default())
}

/// What an event is judged by.
async fn load(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    sub: &str,
    event_id: &str,
) -> Result<Known, Failure> {
    let query = query_configuration(Query::new().get(profile_key(sub)), client);
    tx.load(history::query(query, sub, event_id)).await?;
    let profile = tx.get::<RiskProfileRecord>(&profile_key(sub))?;
    let configuration = configuration(tx, client)?;
    let profile = profile.map(|stored| stored.record).unwrap_or_default();
    Ok(Known { profile, configuration })
}

fn new(step: &SignInStep<'_>, address: Option<IpAddr>, kind: &str, now_ms: i64) -> AuthEventRecord {
    let event = AuthEventRecord {
        event_id: step.event_id.to_owned(),
        r#type: kind.to_owned(),
        created_ms: now_ms,
        client_id: step.client.record.client_id.clone(),
        ..Default::default()
    };
    at_place(event, step, address)
}

/// Where the step was taken, by what it says of its device.
fn at_place(
    event: AuthEventRecord,
    step: &SignInStep<'_>,
    address: Option<IpAddr>,
) -> AuthEventRecord {
    AuthEventRecord {
        ip_address: address.map(|address| address.to_string()),
        device_name: step.context.device_name.clone(),
        timezone: step.context.timezone.clone(),
        device_hash: step.context.device_hash.clone().into(),
        ..event
    }
}

fn judged(event: AuthEventRecord, risk: &risk::Risk) -> AuthEventRecord {
    AuthEventRecord {
        risk_level: risk.level.map(risk::Level::as_str).unwrap_or_default().to_owned(),
        risk_decision: if risk.level.is_some() { "AccountTakeover" } else { "NoRisk" }.to_owned(),
        risk_reasons: risk.reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        ..event
    }
}

fn keep(tx: &mut Tx<'_>, sub: &str, event: AuthEventRecord) {
    history::put(tx, sub, &event);
    let sub = sub.to_owned();
    if let Some(log) = tx.pool().ok().and_then(|pool| log_delivery::auth_event_span(&pool.record)) {
        tx.on_commit(Box::new(move || {
            log.in_scope(|| {
                tracing::info!(
                    event_id = event.event_id,
                    event_type = event.r#type,
                    user_sub = sub,
                    client_id = event.client_id,
                    event_response = event.response,
                    risk_decision = event.risk_decision,
                    risk_level = event.risk_level,
                    risk_reasons = event.risk_reasons.join(","),
                    compromised_credentials_detected = event.compromised_credentials,
                    ip_address = event.ip_address,
                    "user auth event"
                );
            });
        }));
    }
}
