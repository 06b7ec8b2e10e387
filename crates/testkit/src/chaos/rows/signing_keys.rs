//! F27: signing keys rotate while tokens are issued and nodes fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use conclave_crypto::encoding::base64url_decode;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use super::{Evidence, disks, links, processes};
use crate::chaos::{
    api::{Api, Pool, Reply},
    cluster::Cluster,
    command::until,
    lab::Lab,
    report::ms,
};

/// Of every node: keys live fast, and change by order only.
pub const SETTINGS: &str = "\n[signing_keys]\nrotate_after_days = 0\npublish_seconds = 6\n\
    lease_seconds = 2\ncheck_seconds = 1\n";
const PUBLISH: Duration = Duration::from_secs(6);
const LEASE: Duration = Duration::from_secs(2);
/// How old the JWKS of a verifier may be when a token is issued: a key is published for longer before it signs, by as much as
/// a gateway may be behind with what it publishes.
const STALE_MAX: Duration = PUBLISH.saturating_sub(LEASE);
/// Twenty rounds make ten thousand.
const TOKENS_A_ROUND: usize = 500;
/// Tokens that are verified again in every later round.
const TOKENS_MAX: usize = 20_000;
const WORKERS: usize = 4;
const PASSWORD: &str = "Correct-horse-1";
const FETCH_EVERY: Duration = Duration::from_millis(250);
/// Of the JWKS that were fetched.
const CACHED_MAX: usize = 64;
const VIOLATIONS_MAX: usize = 20;
/// Tokens of a round that are shown to every gateway.
const SHOWN: u64 = 9;
const ROTATED_WITHIN: Duration = Duration::from_secs(90);

/// What the rounds of a run have issued.
#[derive(Debug, Default)]
pub struct Issued {
    rounds: usize,
    user: Option<User>,
    tokens: Vec<String>,
    /// Keys that have signed, by id.
    kids: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct User {
    pool: Pool,
    name: String,
    refresh: String,
}

/// Public keys by their ids: modulus and exponent.
#[derive(Debug)]
struct Jwks(BTreeMap<String, RsaPublicKeyComponents<Vec<u8>>>);

impl Jwks {
    fn parse(body: &[u8]) -> Option<Self> {
        let parsed: Value = serde_json::from_slice(body).ok()?;
        let key = |key: &Value| {
            let text = |name: &str| key[name].as_str();
            let (n, e) = (base64url_decode(text("n")?)?, base64url_decode(text("e")?)?);
            Some((text("kid")?.to_owned(), RsaPublicKeyComponents { n, e }))
        };
        parsed["keys"].as_array()?.iter().map(key).collect::<Option<_>>().map(Self)
    }

    /// The id of the key that has signed a token; or why the token is not good.
    fn verify(&self, token: &str) -> Result<String, String> {
        let (signed, signature) = token.rsplit_once('.').ok_or("not a token")?;
        let header = signed.split('.').next().and_then(base64url_decode).ok_or("no header")?;
        let header: Value = serde_json::from_slice(&header).map_err(|e| e.to_string())?;
        let kid = header["kid"].as_str().ok_or("no kid")?;
        let key = self.0.get(kid).ok_or_else(|| format!("key {kid} is not in the JWKS"))?;
        let signature = base64url_decode(signature).ok_or("no signature")?;
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .map_err(|_| format!("the signature with key {kid} is wrong"))?;
        Ok(kid.to_owned())
    }
}

/// What issues tokens and verifies them at once shares.
#[derive(Default)]
struct Desk {
    over: AtomicBool,
    /// When each was asked for, oldest first.
    cached: Mutex<VecDeque<(Instant, Arc<Jwks>)>>,
    tokens: Mutex<Vec<String>>,
    kids: Mutex<BTreeSet<String>>,
    violations: Mutex<Vec<String>>,
    /// Tokens that were verified with a JWKS of before.
    judged: AtomicU64,
    /// Tokens of answers that took so long that no JWKS of before had to know the key.
    late: AtomicU64,
    oldest_ms: AtomicU64,
}

impl Desk {
    fn broken(&self, what: String) {
        let mut violations = self.violations.lock();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
    }

    /// Takes a token of an answer to a request that began at `began`. The JWKS that it is verified with is the oldest that has to know
    /// the key, whenever between the two the token was made.
    fn take(&self, token: &str, began: Instant, answered: Instant) {
        let stale = {
            let cached = self.cached.lock();
            let fits = |(at, _): &&(Instant, Arc<Jwks>)| {
                answered.duration_since(*at) < STALE_MAX && *at <= began
            };
            cached.iter().find(fits).cloned()
        };
        match stale {
            Some((at, jwks)) => {
                let age = answered.duration_since(at);
                self.judged.fetch_add(1, Ordering::Relaxed);
                self.oldest_ms.fetch_max(ms(age), Ordering::Relaxed);
                match jwks.verify(token) {
                    Ok(kid) => {
                        self.kids.lock().insert(kid);
                    }
                    Err(why) => self.broken(format!("with a JWKS of {} ms before: {why}", ms(age))),
                }
            }
            None => {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.tokens.lock().push(token.to_owned());
    }

    async fn issue(self: Arc<Self>, api: Api, user: User, worker: usize) {
        let body = json!({
            "ClientId": user.pool.client_id, "AuthFlow": "REFRESH_TOKEN_AUTH",
            "AuthParameters": { "REFRESH_TOKEN": user.refresh },
        });
        for number in worker.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            let reply = api.unsigned(number, "InitiateAuth", &body).await;
            let answered = Instant::now();
            match &reply {
                Reply::Ok(answer) => {
                    for name in ["IdToken", "AccessToken"] {
                        match answer["AuthenticationResult"][name].as_str() {
                            Some(token) => self.take(token, began, answered),
                            None => self.broken(format!("an answer without {name}")),
                        }
                    }
                }
                Reply::Refused { .. } => self.broken(format!("refused: {}", reply.words())),
                Reply::NotDone | Reply::Unknown(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn fetch(self: Arc<Self>, api: Api, pool: Pool) {
        for gateway in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            if let Some(jwks) = fetch(&api, gateway, &pool).await {
                let mut cached = self.cached.lock();
                cached.push_back((began, Arc::new(jwks)));
                if cached.len() > CACHED_MAX {
                    cached.pop_front();
                }
            }
            sleep(FETCH_EVERY).await;
        }
    }
}

async fn fetch(api: &Api, gateway: usize, pool: &Pool) -> Option<Jwks> {
    let body = api.get(gateway, &format!("/{}/.well-known/jwks.json", pool.id)).await?;
    Jwks::parse(&body)
}

/// F27: the keys of a pool rotate by order, and one of F01, F05, F11 and F17 comes meanwhile, each in turn. Every token verifies: when
/// it is issued, with a JWKS that was fetched before; at the end of each round those of all rounds, with the JWKS of every gateway;
/// and some of them at GetUser.
pub async fn rotate(lab: &mut Lab) -> Result<Evidence> {
    let user = user(lab).await?;
    let pool = user.pool.clone();
    wait_spare(&lab.cluster, &pool).await?;
    let old = active(&keys(&lab.cluster, &pool).await?);
    let (desk, api) = (Arc::new(Desk::default()), lab.api.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&desk).fetch(api.clone(), pool.clone()));
    until("a JWKS is there", ROTATED_WITHIN, async || !desk.cached.lock().is_empty()).await?;
    for worker in 0..WORKERS {
        tasks.spawn(Arc::clone(&desk).issue(api.clone(), user.clone(), worker));
    }
    // so that verifiers have a JWKS of before
    lab.hold(STALE_MAX).await;
    lab.cluster.operate(&["keys", "rotate", "--pool", &pool.id, "--no-wait"], &[]).await?;
    lab.hold(Duration::from_millis(lab.dice.below(1_000))).await;
    let mut kinds = vec!["F01", "F11", "F17"];
    if lab.tools.disks {
        kinds.insert(1, "F05");
    }
    let kind = kinds[lab.issued.rounds % kinds.len()];
    let fault = match kind {
        "F01" => processes::leader_is_killed(lab).await?,
        "F05" => disks::power_cut_of_one(lab).await?,
        "F11" => links::leader_is_cut_off(lab).await?,
        _ => processes::leader_stands_still(lab).await?,
    };
    let cluster = &lab.cluster;
    let carried_out = async || {
        keys(cluster, &pool).await.is_ok_and(|keys| {
            let now = active(&keys);
            now.len() == 2 && now.is_disjoint(&old)
        })
    };
    until("the rotation is carried out", ROTATED_WITHIN, carried_out).await?;
    let enough = async || {
        let signed = desk.kids.lock();
        desk.tokens.lock().len() >= TOKENS_A_ROUND && signed.iter().any(|kid| !old.contains(kid))
    };
    until("tokens are issued", ROTATED_WITHIN, enough).await?;
    desk.over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }

    let mut evidence = fault;
    evidence.violations.append(&mut desk.violations.lock());
    let fresh = std::mem::take(&mut *desk.tokens.lock());
    show(lab, &user, &fresh, &mut evidence).await?;
    let round = fresh.len();
    let issued = &mut lab.issued;
    issued.rounds += 1;
    issued.kids.append(&mut desk.kids.lock());
    issued.tokens.extend(fresh);
    let too_many = issued.tokens.len().saturating_sub(TOKENS_MAX);
    issued.tokens.drain(..too_many);
    verify_all(lab, &pool, &mut evidence).await?;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let figures = [
        ("tokens", round as f64),
        ("tokens_verified_with_a_jwks_of_before", count(&desk.judged)),
        ("tokens_of_late_answers", count(&desk.late)),
        ("oldest_jwks_ms", count(&desk.oldest_ms)),
        ("tokens_verified_at_the_end", lab.issued.tokens.len() as f64),
        ("keys_that_have_signed", lab.issued.kids.len() as f64),
    ];
    evidence.figures.extend(figures);
    evidence.what = format!(
        "{kind}, {}; {round} tokens, {} of all rounds, by {} keys; a JWKS up to {} ms old",
        evidence.what,
        lab.issued.tokens.len(),
        lab.issued.kids.len(),
        count(&desk.oldest_ms),
    );
    evidence.bit &= count(&desk.judged) > 0.0;
    Ok(evidence)
}

/// Somebody who has signed in once, for all rounds.
async fn user(lab: &mut Lab) -> Result<User> {
    if let Some(user) = &lab.issued.user {
        return Ok(user.clone());
    }
    let (api, pool) = (lab.api.clone(), lab.some_pool()?);
    let name = format!("rotating-{}", lab.round);
    let create = json!({ "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS" });
    let password = json!({
        "UserPoolId": pool.id, "Username": name, "Password": PASSWORD, "Permanent": true,
    });
    let mut signed_in = Reply::NotDone;
    let there = until("a user has signed in", ROTATED_WITHIN, async || {
        api.signed(0, "AdminCreateUser", &create).await;
        api.signed(0, "AdminSetUserPassword", &password).await;
        signed_in = api.sign_in(0, &pool, &name, PASSWORD).await;
        signed_in.is_ok()
    });
    there.await.with_context(|| signed_in.words())?;
    let refresh = signed_in.text("/AuthenticationResult/RefreshToken");
    let user = User { pool, name, refresh: refresh.context("no refresh token")? };
    lab.issued.user = Some(user.clone());
    Ok(user)
}

/// What `conclave keys list` says.
async fn keys(cluster: &Cluster, pool: &Pool) -> Result<Value> {
    let printed = cluster.operate(&["keys", "list", "--pool", &pool.id, "--json"], &[]).await?;
    serde_json::from_str(&printed).context("the list of keys")
}

fn of_state<'a>(keys: &'a Value, state: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = keys["keys"].as_array().into_iter().flatten();
    all.filter(move |key| key["state"] == state)
}

/// The ids of the keys that sign.
fn active(keys: &Value) -> BTreeSet<String> {
    of_state(keys, "ACTIVE").filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
}

/// Waits until the next keys are there and may sign.
async fn wait_spare(cluster: &Cluster, pool: &Pool) -> Result<()> {
    let published = async || {
        let Ok(keys) = keys(cluster, pool).await else { return false };
        let due = |key: &Value| Some(key["created_ms"].as_u64()? + ms(PUBLISH));
        let due: Option<Vec<u64>> = of_state(&keys, "PENDING").map(due).collect();
        let now = keys["now_ms"].as_u64().unwrap_or(0);
        due.is_some_and(|due| due.len() == 2 && due.iter().all(|due| now >= *due))
    };
    until("the next keys are published", ROTATED_WITHIN, published).await.map(|_| ())
}

/// Shows some tokens of a round to every gateway.
async fn show(lab: &Lab, user: &User, tokens: &[String], evidence: &mut Evidence) -> Result<()> {
    // they come in pairs, the access token second
    let pairs = tokens.len() as u64 / 2;
    for _ in 0..SHOWN.min(pairs) {
        let token = &tokens[2 * lab.dice.below(pairs) as usize + 1];
        for gateway in 0..lab.api.count() {
            let body = json!({ "AccessToken": token });
            let mut reply = Reply::NotDone;
            let answered = until("GetUser answers", ROTATED_WITHIN, async || {
                reply = lab.api.unsigned(gateway, "GetUser", &body).await;
                matches!(reply, Reply::Ok(_) | Reply::Refused { .. })
            });
            answered.await.with_context(|| reply.words())?;
            if reply.text("/Username").as_ref() != Some(&user.name) {
                evidence.violations.push(format!("GetUser at {gateway}: {}", reply.words()));
            }
        }
    }
    Ok(())
}

/// Verifies the tokens of all rounds with the JWKS of every gateway.
async fn verify_all(lab: &mut Lab, pool: &Pool, evidence: &mut Evidence) -> Result<()> {
    let mut published = Vec::new();
    for gateway in 0..lab.api.count() {
        let there = until("a gateway publishes its JWKS", ROTATED_WITHIN, async || {
            let found = fetch(&lab.api, gateway, pool).await;
            let is_there = found.is_some();
            published.extend(found);
            is_there
        });
        there.await?;
    }
    let tokens = std::mem::take(&mut lab.issued.tokens);
    let verify = spawn_blocking(move || {
        let mut violations = Vec::new();
        for (jwks, gateway) in published.iter().zip(0..) {
            for token in &tokens {
                if let Err(why) = jwks.verify(token)
                    && violations.len() < VIOLATIONS_MAX
                {
                    violations.push(format!("with the JWKS of gateway {gateway}: {why}"));
                }
            }
        }
        (tokens, violations)
    });
    let (tokens, violations) = verify.await?;
    if tokens.is_empty() {
        bail!("no tokens");
    }
    lab.issued.tokens = tokens;
    evidence.violations.extend(violations);
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        rsa::{KeyPair, KeySize},
        signature::{KeyPair as _, RSA_PKCS1_SHA256},
    };
    use conclave_crypto::encoding::base64url;

    use super::*;

    fn signed(key: &KeyPair, kid: &str) -> String {
        let header = base64url(json!({ "alg": "RS256", "kid": kid }).to_string());
        let signed = format!("{header}.{}", base64url("{}"));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("signs");
        format!("{signed}.{}", base64url(signature))
    }

    fn jwks(keys: &[(&KeyPair, &str)]) -> Jwks {
        let key = |(key, kid): &(&KeyPair, &str)| {
            let public = key.public_key();
            let n = base64url(public.modulus().big_endian_without_leading_zero());
            let e = base64url(public.exponent().big_endian_without_leading_zero());
            json!({ "kid": kid, "n": n, "e": e })
        };
        let keys: Vec<Value> = keys.iter().map(key).collect();
        Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("is a JWKS")
    }

    #[test]
    fn a_token_is_judged_by_the_oldest_jwks_that_has_to_know_its_key() {
        let [old, new] = [(); 2].map(|()| KeyPair::generate(KeySize::Rsa2048).expect("a key"));
        let before = Arc::new(jwks(&[(&old, "old")]));
        let after = Arc::new(jwks(&[(&old, "old"), (&new, "new")]));
        let token = signed(&new, "new");
        assert_eq!(after.verify(&token), Ok("new".to_owned()));
        assert!(before.verify(&token).is_err_and(|why| why.contains("not in the JWKS")));
        assert!(jwks(&[(&old, "new")]).verify(&token).is_err_and(|why| why.contains("is wrong")));

        let began = Instant::now() + Duration::from_secs(60);
        let ago = |seconds| began - Duration::from_secs(seconds);
        let desk = Desk::default();
        let broken = |cached: Vec<_>, took| {
            *desk.cached.lock() = cached.into();
            desk.take(&token, began, began + took);
            std::mem::take(&mut *desk.violations.lock()).len()
        };
        let soon = Duration::ZERO;
        let both = || vec![(ago(5), Arc::clone(&before)), (ago(3), Arc::clone(&after))];
        assert_eq!(broken(both(), soon), 0, "the older one is too old");
        let earlier = vec![(ago(3), Arc::clone(&before)), (ago(1), Arc::clone(&after))];
        assert_eq!(broken(earlier, soon), 1, "it was signed before it was published for long");
        assert_eq!(desk.late.load(Ordering::Relaxed), 0);
        assert_eq!(broken(both(), Duration::from_secs(2)), 0, "none of them has to know it");
        assert_eq!(desk.late.load(Ordering::Relaxed), 1);
    }
}
