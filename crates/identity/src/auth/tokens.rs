//! Issuing tokens: claims are decided with everything else, signatures are made after the commit.

use bytes::Bytes;
use conclave_api::{ApiError, types};
use conclave_crypto::{ids, refresh::RefreshToken};
use conclave_store::{
    keys::{self, UserChild},
    records::{GroupRecord, SessionRecord, UserRecord},
};
use prost::Message;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::time::Instant;

use super::{
    claims,
    device_auth::Over,
    gate::{self, Occasion, Permit},
};
use crate::{
    clients::validity,
    config::{ClientConfig, PoolConfig, TokenUse},
    devices, errors,
    groups::membership,
    issuer,
    threat_protection::enforcement,
    triggers::{
        self, Event, Occasion as Why, authentication,
        token_generation::{self, Claims, Generation},
    },
    tx::{Failure, Finish, Query, Tx},
    world::World,
};

/// How long a session's row stays behind the end of its refresh token, so that an expired token is
/// told from one that never was, in milliseconds.
const SESSION_KEPT_MS: i64 = 24 * 3_600_000;

/// When a session that has been revoked began: before every time from which sessions count, so that it
/// counts for no version of this code.
pub const REVOKED_MS: i64 = -1;

/// Sessions of one user, at most; beyond that old ones end. They lie in buckets by the beginning of
/// their random origin_jti, and a new session makes room in its own, so that a sign-in reads a few of
/// them and never all. A user with fewer than about half as many hardly loses any.
pub const SESSIONS_MAX: usize = SESSIONS_PER_BUCKET * 256;
const SESSIONS_PER_BUCKET: usize = 8;
/// How often a gateway signs that is held up each time for longer than its lease.
const SIGN_TRIES_MAX: u32 = 3;
/// Digits of an origin_jti that name its bucket.
const BUCKET_DIGITS: usize = 2;
/// More than a bucket can hold, but for sign-ins at the same moment.
const BUCKET_ROWS_READ: u32 = 64;

/// Adds to `query`, for every user that it looks for, the groups, and the sessions beside the one that
/// may begin.
#[must_use]
pub fn query(query: Query, tx: &Tx<'_>) -> Query {
    let bucket = bucket(tx.memo().origin_jti(tx.world()));
    let (before, after) = keys::user_child_hop(UserChild::Session, bucket);
    query.under_each_follow(before, after, BUCKET_ROWS_READ).of_each_follow(membership::hop())
}

fn bucket(origin_jti: &str) -> &[u8] {
    origin_jti.as_bytes().get(..BUCKET_DIGITS).unwrap_or_default()
}

/// Ends the oldest sessions beside a new one, where there are too many.
fn make_room(tx: &mut Tx<'_>, sub: &str, origin_jti: &str) {
    let prefix = keys::user_child(sub, UserChild::Session, bucket(origin_jti));
    let mut sessions: Vec<(i64, Bytes)> = tx
        .loaded_under(&prefix)
        .map(|(key, value)| {
            // one that cannot be read is as good as none
            let session = SessionRecord::decode(value.clone()).unwrap_or_default();
            (session.created_ms, key.clone())
        })
        .collect();
    sessions.sort();
    let surplus = (sessions.len() + 1).saturating_sub(SESSIONS_PER_BUCKET);
    for (_, key) in sessions.into_iter().take(surplus) {
        tx.delete(key.to_vec());
    }
}

/// Claims that wait for the commit, to be signed then.
pub struct UnsignedTokens {
    config: Arc<PoolConfig>,
    /// When `config` was the present one.
    asked_at: Instant,
    id: Arc<Map<String, Value>>,
    access: Arc<Map<String, Value>>,
    refresh: Option<String>,
    expires_in: i64,
    new_device: Option<types::NewDeviceMetadataType>,
    functions: Option<Box<Functions>>,
}

/// The functions that a sign-in tells and asks, once it is committed.
struct Functions {
    after: Option<Event>,
    generation: Option<Generation>,
    /// When the time for them is over.
    until: Instant,
}

/// The device that a sign-in comes from.
#[derive(Clone, Copy)]
pub enum Device<'a> {
    /// None that is known: it is given a key, where the pool tracks devices.
    New,
    /// It says that it is one that is known, and has not proved it.
    Unproved,
    /// It has proved that it is this one.
    Proved(&'a str),
}

/// Begins a session and states what its tokens say. Checks that nothing of the configuration, the user, nor
/// the user's groups, has changed when the commit takes effect. [`query`] and the user must have been
/// loaded; `user` is as the commit leaves it.
///
/// # Errors
/// What [`gate::may_issue_tokens`] and [`enforcement::check`] refuse; InternalErrorException when a token cannot be made; the store's.
pub async fn begin_session(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    event_id: &str,
    second_factor: Over,
) -> Result<UnsignedTokens, Failure> {
    begin_session_on(tx, client, user, event_id, (Device::New, second_factor)).await
}

/// [`begin_session`] on a device.
///
/// # Errors
/// As [`begin_session`].
pub async fn begin_session_on(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    event_id: &str,
    (device, second_factor): (Device<'_>, Over),
) -> Result<UnsignedTokens, Failure> {
    enforcement::check(tx, user, second_factor)?;
    let permit = gate::may_issue_tokens(client, user, Occasion::SignIn, tx.now_ms())?;
    let groups = membership::groups(tx, &user.sub).await?;
    tx.rely_on(&membership::key(&user.sub));
    let config = tx.pool()?;
    let world = tx.world();
    // a session begins after the sign-out before it, also when both are in one millisecond
    let now_ms = tx.now_ms().max(user.sessions_valid_from_ms);
    let origin_jti = tx.memo().origin_jti(world).to_owned();
    let refresh = RefreshToken::new(config.id(), &user.sub, &origin_jti, &*world.entropy)
        .ok_or_else(|| errors::internal("a refresh token could not be made"))?;
    let session = SessionRecord {
        origin_jti: origin_jti.clone(),
        client_id: client.record.client_id.clone(),
        created_ms: now_ms,
        auth_time_ms: auth_time_ms(client, user, now_ms),
        refresh_hash: Bytes::copy_from_slice(&refresh.hash()),
        expires_ms: now_ms + validity::of(&client.record).refresh_s * 1_000,
        event_id: event_id.to_owned(),
        device_key: match device {
            Device::Proved(key) => key.to_owned(),
            Device::New if config.record.device_configuration.is_some() => {
                devices::device_key(&config, &ids::uuid(&*world.entropy))
            }
            Device::New | Device::Unproved => String::new(),
        },
        is_device_confirmed: matches!(device, Device::Proved(_)),
        ..Default::default()
    };
    tx.rely_on(&keys::user(&user.sub));
    tx.rely_on_config();
    make_room(tx, &user.sub, &origin_jti);
    put_session(tx, &user.sub, &session);
    let refresh = Some(refresh.encode().expose().clone());
    let known = (&config, tx.asked_at());
    let mut tokens =
        unsigned(world, known, client, (user, &groups), &session, refresh, (permit, now_ms));
    if !session.device_key.is_empty() && !session.is_device_confirmed {
        tokens.new_device = Some(types::NewDeviceMetadataType {
            device_key: Some(session.device_key),
            device_group_key: Some(devices::group_key(&config)),
        });
    }
    // the session is there before its functions are asked: a refusal leaves a token that nobody has
    let after = authentication::after(tx, client, user, tokens.new_device.is_some())?;
    let occasion = tx.circumstances().occasion;
    let generation = token_generation::of(tx, client, user, &groups, occasion, tokens.scope())?;
    if after.is_some() || generation.is_some() {
        tokens.functions = Some(Box::new(Functions { after, generation, until: tx.until() }));
    }
    Ok(tokens)
}

/// `auth_time` has whole seconds, and where there is no `origin_jti` it is all that tells an access token
/// from one before the last sign-out: then it is not before that.
fn auth_time_ms(client: &ClientConfig, user: &UserRecord, now_ms: i64) -> i64 {
    let second_ms = now_ms.div_euclid(1_000) * 1_000;
    if client.record.enable_token_revocation || second_ms >= user.sessions_valid_from_ms {
        now_ms
    } else {
        second_ms + 1_000
    }
}

/// Writes a session. The user must exist when the commit takes effect.
pub fn put_session(tx: &mut Tx<'_>, sub: &str, session: &SessionRecord) {
    let key = keys::user_child(sub, UserChild::Session, session.origin_jti.as_bytes());
    tx.rely_on_root(keys::user(sub));
    tx.put_expiring(key, session, session.expires_ms + SESSION_KEPT_MS);
}

/// Ends a session, which must have been loaded: no refresh token of it and no access token is good for
/// anything after the commit. It is remembered for as long as an access token of it can live, so that it
/// is told from one that never was.
pub fn revoke_session(tx: &mut Tx<'_>, sub: &str, session: &SessionRecord) {
    let mut revoked = session.clone();
    revoked.created_ms = REVOKED_MS;
    revoked.expires_ms = revoked.expires_ms.min(tx.now_ms());
    put_session(tx, sub, &revoked);
}

/// States what new tokens of a session say, with the refresh token that replaces the present one, if any.
/// The row of [`membership::key`] must have been loaded.
///
/// # Errors
/// What [`gate::may_issue_tokens`] refuses; InternalErrorException when the row was not loaded; the store's.
pub async fn renew(
    tx: &mut Tx<'_>,
    client: &ClientConfig,
    user: &UserRecord,
    session: &SessionRecord,
    refresh: Option<String>,
) -> Result<UnsignedTokens, Failure> {
    let now_ms = tx.now_ms();
    let permit = gate::may_issue_tokens(client, user, Occasion::Renewal(session), now_ms)?;
    let groups = membership::groups(tx, &user.sub).await?;
    let (world, config) = (tx.world(), tx.pool()?);
    let known = (&config, tx.asked_at());
    let mut tokens =
        unsigned(world, known, client, (user, &groups), session, refresh, (permit, now_ms));
    let generation = token_generation::of(tx, client, user, &groups, Why::Refresh, tokens.scope())?;
    if let Some(generation) = generation {
        // before the commit: where it fails, the refresh token is not replaced
        let answer = triggers::ask(tx, &generation.event).await?;
        tokens.customize(&generation, &answer)?;
    }
    Ok(tokens)
}

fn unsigned(
    world: &World,
    (config, asked_at): (&Arc<PoolConfig>, Instant),
    client: &ClientConfig,
    (user, groups): (&UserRecord, &[Arc<GroupRecord>]),
    session: &SessionRecord,
    refresh: Option<String>,
    (_permit, now_ms): (Permit, i64),
) -> UnsignedTokens {
    let issuer = config.issuer(world);
    let issued_at = now_ms.div_euclid(1_000);
    let revocable = client.record.enable_token_revocation;
    let common = claims::Common {
        issuer: &issuer,
        client_id: &client.record.client_id,
        origin_jti: revocable.then_some(session.origin_jti.as_str()),
        event_id: &session.event_id,
        auth_time: session.auth_time_ms.div_euclid(1_000),
        issued_at,
        device_key: Some(session.device_key.as_str()).filter(|key| !key.is_empty()),
        groups,
    };
    let validity = validity::of(&client.record);
    let jti = || ids::uuid(&*world.entropy);
    UnsignedTokens {
        config: Arc::clone(config),
        asked_at,
        id: claims::id(&common, user, client, &jti(), issued_at + validity.id_s).into(),
        access: claims::access(&common, user, &jti(), issued_at + validity.access_s).into(),
        refresh,
        expires_in: validity.access_s,
        new_device: None,
        functions: None,
    }
}

impl UnsignedTokens {
    /// The signatures, and around them an answer.
    pub fn finish<T: Send + 'static>(
        self,
        answer: impl FnOnce(types::AuthenticationResultType) -> T + Send + 'static,
    ) -> Finish<T> {
        Box::new(move |world| {
            Box::pin(async move { Ok(answer(self.customized(world).await?.sign(world).await?)) })
        })
    }

    fn scope(&self) -> &str {
        self.access.get("scope").and_then(Value::as_str).unwrap_or_default()
    }

    /// Tells and asks the functions that a sign-in has.
    async fn customized(mut self, world: &World) -> Result<Self, ApiError> {
        let Some(functions) = self.functions.take() else { return Ok(self) };
        if let Some(event) = &functions.after {
            triggers::call(world, event, functions.until).await?;
        }
        if let Some(generation) = &functions.generation {
            let answer = triggers::call(world, &generation.event, functions.until).await?;
            self.customize(generation, &answer)?;
        }
        Ok(self)
    }

    fn customize(
        &mut self,
        generation: &Generation,
        answer: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let claims =
            Claims { id: Arc::make_mut(&mut self.id), access: Arc::make_mut(&mut self.access) };
        generation.apply(answer, claims)
    }

    async fn sign(mut self, world: &World) -> Result<types::AuthenticationResultType, ApiError> {
        let (id_token, access_token) = self.signatures(world).await?;
        let Self { refresh, expires_in, new_device, .. } = self;
        Ok(types::AuthenticationResultType {
            access_token: Some(access_token),
            expires_in: i32::try_from(expires_in).ok(),
            token_type: Some("Bearer".to_owned()),
            refresh_token: refresh,
            id_token: Some(id_token),
            new_device_metadata: new_device,
        })
    }

    /// The ID token and the access token. Whoever has been away for longer than the lease on what it knows of the keys,
    /// before or while it signs, does not hand out what it has signed: the key may have been revoked meanwhile.
    async fn signatures(&mut self, world: &World) -> Result<(String, String), ApiError> {
        let lease = world.settings.signing_keys.lease;
        for _ in 0..SIGN_TRIES_MAX {
            if self.asked_at.elapsed() >= lease {
                let pool_id = self.config.id().to_owned();
                (self.config, self.asked_at) = issuer::fresh(world, &pool_id).await?;
            }
            let id_key = self.config.active_key(TokenUse::Id)?;
            let access_key = self.config.active_key(TokenUse::Access)?;
            let (id, access) = (Arc::clone(&self.id), Arc::clone(&self.access));
            let sign = move || Ok((id_key.sign(&*id)?, access_key.sign(&*access)?));
            let signed = world.cpu.run(sign).await.map_err(errors::cpu)?;
            let signed = signed.map_err(|_: conclave_crypto::token::TokenError| {
                errors::internal("a token could not be signed")
            })?;
            if self.asked_at.elapsed() < lease {
                return Ok(signed);
            }
        }
        Err(errors::unavailable())
    }
}
