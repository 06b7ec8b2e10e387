//! What operations call when something has been done, or has failed: the event is judged and goes into the history with the commit.

use std::net::IpAddr;

use conclave_store::{
    keys::{self, UserChild},
    records::{
        AuthEventChallenge, AuthEventRecord, RiskConfigurationRecord, RiskExceptions,
        RiskProfileRecord,
    },
};

use super::{context::Context, history, is_on, risk};
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
}

/// Adds a step to the history, where it commits anything. One read more, of somebody as of nobody.
///
/// # Errors
/// The step's own; the store's.
pub async fn sign_in(
    tx: &mut Tx<'_>,
    step: SignInStep<'_>,
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
    let counts = is_on(&pool.record) && tx.has_writes();
    let Some(response) = response.filter(|_| counts) else { return result };
    let shown = step.sub.clone().unwrap_or_else(|| pool.fake_users.sub(step.name));
    let (profile, exceptions) = load(tx, step.client, &shown, step.event_id).await?;
    let Some(sub) = step.sub.as_deref() else { return result };
    let now_ms = tx.now_ms();
    let address = step.context.address(step.client, step.is_signed);
    let mut event = match history::get(tx, sub, step.event_id) {
        Some(event) => event,
        None => {
            let event = new(&step, address, "SignIn", now_ms);
            let hash = &step.context.device_hash;
            judged(event, &risk::judge(&profile, &exceptions, address, hash, now_ms))
        }
    };
    response.clone_into(&mut event.response);
    if let Some(name) = step.challenge.filter(|_| event.challenges.len() < ANSWERS_MAX) {
        let succeeded = response != "Fail";
        event.challenges.push(AuthEventChallenge { name: name.to_owned(), succeeded });
    }
    let mut changed = profile;
    match response {
        "Pass" => risk::passed(&mut changed, address, &step.context.device_hash, now_ms),
        "Fail" => risk::failed(&mut changed, now_ms),
        _ => {}
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
) -> Result<(), Failure> {
    let pool = tx.pool()?;
    if !is_on(&pool.record) {
        return Ok(());
    }
    let shown = sub.map_or_else(|| pool.fake_users.sub(name), str::to_owned);
    let (profile, exceptions) = load(tx, client, &shown, event_id).await?;
    let Some(sub) = sub else { return Ok(()) };
    let (now_ms, address) = (tx.now_ms(), context.address(client, false));
    let step = SignInStep {
        client,
        context,
        is_signed: false,
        sub: None,
        name: "",
        event_id,
        challenge: None,
    };
    let event =
        AuthEventRecord { response: "Pass".to_owned(), ..new(&step, address, kind, now_ms) };
    let risk = risk::judge(&profile, &exceptions, address, &context.device_hash, now_ms);
    keep(tx, sub, judged(event, &risk));
    Ok(())
}

/// The row of a user's profile.
pub(super) fn profile_key(sub: &str) -> Vec<u8> {
    keys::user_child(sub, UserChild::RiskProfile, &[])
}

/// What an event is judged by. The configuration of the app client comes before that of the pool.
async fn load(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    sub: &str,
    event_id: &str,
) -> Result<(RiskProfileRecord, RiskExceptions), Failure> {
    let client_id = &client.record.client_id;
    let configurations = [keys::risk_configuration(client_id), keys::risk_configuration("")];
    let mut query = Query::new().client(client_id).get(profile_key(sub));
    for key in &configurations {
        query = query.get(key.clone());
    }
    tx.load(history::query(query, sub, event_id)).await?;
    let profile = tx.get::<RiskProfileRecord>(&profile_key(sub))?;
    let mut exceptions = RiskExceptions::default();
    for key in &configurations {
        if let Some(stored) = tx.get::<RiskConfigurationRecord>(key)? {
            exceptions = stored.record.exceptions.unwrap_or_default();
            break;
        }
    }
    Ok((profile.map(|stored| stored.record).unwrap_or_default(), exceptions))
}

fn new(step: &SignInStep<'_>, address: Option<IpAddr>, kind: &str, now_ms: i64) -> AuthEventRecord {
    AuthEventRecord {
        event_id: step.event_id.to_owned(),
        r#type: kind.to_owned(),
        created_ms: now_ms,
        client_id: step.client.record.client_id.clone(),
        ip_address: address.map(|address| address.to_string()),
        device_name: step.context.device_name.clone(),
        timezone: step.context.timezone.clone(),
        device_hash: step.context.device_hash.clone().into(),
        ..Default::default()
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
                    ip_address = event.ip_address,
                    "user auth event"
                );
            });
        }));
    }
}
