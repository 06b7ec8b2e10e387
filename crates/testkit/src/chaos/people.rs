//! Users from their sign-up to their end, one after another, through the public API: what must never be accepted again is
//! tried again, at another gateway.
//!
//! A call of unknown fate may take effect at any later time. So a user of whom something is not known is left alone: sharp
//! questions are asked only where every answer is known.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use super::{
    acks::{Acks, Class, End},
    api::{Api, Pool, Reply},
    gate::Gate,
    names::nickname,
};
use crate::dice::Dice;

/// Between two calls: nearly each costs the server a password hash.
const PAUSE: Duration = Duration::from_millis(40);
const VIOLATIONS_MAX: usize = 20;
/// Reasons that are kept apart.
const REASONS_MAX: usize = 50;
/// Changes of one user's password.
const CHANGES_MAX: u64 = 3;

/// The load.
pub struct People {
    api: Api,
    pools: Vec<Pool>,
    acks: Arc<Acks>,
    gate: Arc<Gate>,
    next: AtomicU64,
    /// What was counted.
    pub counts: Counts,
    /// Promises that were broken, in words.
    pub violations: Mutex<Vec<String>>,
    /// Why users were left alone, and how many.
    pub left: Mutex<BTreeMap<String, u64>>,
}

/// What people have come to.
#[derive(Debug, Default)]
pub struct Counts {
    /// Calls.
    pub calls: AtomicU64,
    /// Users from beginning to end.
    pub whole: AtomicU64,
    /// Users that were left alone, because something was not known.
    pub left: AtomicU64,
    /// Names that two clients wanted at once.
    pub contended: AtomicU64,
    /// Old passwords and tokens that were tried after they had ended.
    pub stale_tries: AtomicU64,
    /// Sessions that were used twice at once.
    pub races: AtomicU64,
}

impl Counts {
    /// By name.
    pub fn figures(&self) -> BTreeMap<&'static str, u64> {
        let all = [
            ("calls", &self.calls),
            ("whole lives", &self.whole),
            ("left alone", &self.left),
            ("names wanted twice", &self.contended),
            ("stale secrets tried", &self.stale_tries),
            ("sessions raced", &self.races),
        ];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

/// Why a story ends early.
enum Stop {
    /// What is not known.
    NotKnown(String),
    /// The load has ended.
    Over,
}

struct Story<'a> {
    people: &'a People,
    pool: &'a Pool,
    name: String,
    dice: &'a Dice,
}

impl People {
    /// People in `pools`.
    pub fn create(api: Api, pools: Vec<Pool>, acks: Arc<Acks>, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            api,
            pools,
            acks,
            gate,
            next: AtomicU64::new(0),
            counts: Counts::default(),
            violations: Mutex::default(),
            left: Mutex::default(),
        })
    }

    /// Starts tasks, each with one user at a time.
    pub fn start(self: &Arc<Self>, tasks: u32, seed: u64, all: &mut JoinSet<()>) {
        for number in 0..tasks {
            let dice = Dice::new(seed, 0x0e0e_0000 + u64::from(number));
            all.spawn(Arc::clone(self).live(dice));
        }
    }

    async fn live(self: Arc<Self>, dice: Dice) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let pool = &self.pools[number as usize % self.pools.len()];
            let name = format!("person-{number}");
            let story = Story { people: &self, pool, name, dice: &dice };
            let end =
                if dice.happens(300) { story.invited().await } else { story.signed_up().await };
            match end {
                Ok(()) => self.counts.whole.fetch_add(1, Ordering::Relaxed),
                Err(Stop::NotKnown(why)) => self.leave(why),
                Err(Stop::Over) => return,
            };
        }
    }

    fn leave(&self, why: String) -> u64 {
        let mut left = self.left.lock();
        let why = if left.len() < REASONS_MAX { why } else { "other".to_owned() };
        *left.entry(why).or_default() += 1;
        self.counts.left.fetch_add(1, Ordering::Relaxed)
    }

    fn broken(&self, what: String) {
        let mut violations = self.violations.lock();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
    }
}

impl Story<'_> {
    fn gateway(&self) -> usize {
        self.dice.below(self.people.api.count() as u64) as usize
    }

    async fn call(
        &self,
        kind: &'static str,
        call: impl Future<Output = Reply>,
    ) -> Result<Reply, Stop> {
        sleep(PAUSE).await;
        let pass = self.people.gate.pass().await.ok_or(Stop::Over)?;
        let began = Instant::now();
        let reply = call.await;
        drop(pass);
        self.people.counts.calls.fetch_add(1, Ordering::Relaxed);
        let end = match &reply {
            Reply::Ok(_) | Reply::Refused { .. } => End::Acknowledged,
            Reply::NotDone => End::Failed,
            Reply::Unknown(_) => End::Unknown,
        };
        self.people.acks.ended(Class { kind, group: 0 }, began, end);
        Ok(reply)
    }

    async fn signed(&self, operation: &str, body: Value) -> Result<Reply, Stop> {
        let api = &self.people.api;
        self.call("api write", api.signed(self.gateway(), operation, &body)).await
    }

    async fn sign_in(&self, password: &str) -> Result<Reply, Stop> {
        let api = &self.people.api;
        self.call("sign-in", api.sign_in(self.gateway(), self.pool, &self.name, password)).await
    }

    /// Two clients sign up under one name at once; then the one who has it lives with it.
    async fn signed_up(&self) -> Result<(), Stop> {
        let (api, counts) = (&self.people.api, &self.people.counts);
        let sign_up = |nickname: &str, password: &str| {
            json!({
                "ClientId": self.pool.client_id, "Username": self.name, "Password": password,
                "UserAttributes": [{ "Name": "nickname", "Value": nickname }],
            })
        };
        let bodies = [sign_up("one", "Correct-horse-1"), sign_up("two", "Correct-horse-2")];
        let gateways = [self.gateway(), self.gateway()];
        let both = async {
            let (one, two) = tokio::join!(
                api.unsigned(gateways[0], "SignUp", &bodies[0]),
                api.unsigned(gateways[1], "SignUp", &bodies[1]),
            );
            Reply::Ok(json!([words(&one), words(&two), one.text("/UserSub"), two.text("/UserSub")]))
        };
        let answers = pair(self.call("sign-up", both).await?);
        counts.contended.fetch_add(1, Ordering::Relaxed);
        let at = |i: usize| answers.get(i).and_then(|v| v.as_str()).map(str::to_owned);
        let (one, two) = (at(0).unwrap_or_default(), at(1).unwrap_or_default());
        let (winner, password) = match (one.as_str(), two.as_str()) {
            ("ok", "ok") => {
                return self.broken(format!("{} was given twice", self.name));
            }
            ("ok", "exists") => (2, "Correct-horse-1"),
            ("exists", "ok") => (3, "Correct-horse-2"),
            ("exists", "exists") => {
                return self.broken(format!("{} was refused to both who wanted it", self.name));
            }
            (
                "ok" | "exists" | "not done" | "unknown",
                "ok" | "exists" | "not done" | "unknown",
            ) => return Err(Stop::NotKnown("SignUp".to_owned())),
            other => {
                return self.broken(format!("sign-up of {}: {other:?}", self.name));
            }
        };
        let body = json!({ "UserPoolId": self.pool.id, "Username": self.name });
        let found =
            self.call("api read", api.signed(self.gateway(), "AdminGetUser", &body)).await?;
        match &found {
            Reply::Ok(user) => {
                let (owner, sub) = (nickname(user), found.text("/UserAttributes/0/Value"));
                let wanted = if winner == 2 { "one" } else { "two" };
                if owner.as_deref() != Some(wanted) {
                    self.people
                        .broken(format!("{} is {owner:?}'s, and was given to {wanted}", self.name));
                }
                let attributes = user.get("UserAttributes").map(ToString::to_string);
                if at(winner).is_some_and(|sub| !attributes.unwrap_or_default().contains(&sub)) {
                    self.people
                        .broken(format!("{} has another sub than was told: {sub:?}", self.name));
                }
            }
            Reply::Refused { .. } => {
                self.people.broken(format!("{} was acknowledged: {}", self.name, found.words()));
            }
            _ => return self.unexpected("AdminGetUser", &found),
        }
        let confirmed = self.signed("AdminConfirmSignUp", body.clone()).await?;
        if !confirmed.is_ok() {
            return self.unexpected("AdminConfirmSignUp", &confirmed);
        }
        self.live_with(password.to_owned()).await
    }

    /// An administrator makes the user; both halves of a couple use the one session that sets the password.
    async fn invited(&self) -> Result<(), Stop> {
        let api = &self.people.api;
        let temporary = "Temporary-horse-1";
        let body = json!({
            "UserPoolId": self.pool.id, "Username": self.name, "MessageAction": "SUPPRESS",
            "TemporaryPassword": temporary,
        });
        let made = self.signed("AdminCreateUser", body).await?;
        if !made.is_ok() {
            return self.unexpected("AdminCreateUser", &made);
        }
        let challenge = self.sign_in(temporary).await?;
        let Some(session) = challenge.text("/Session") else {
            return self.unexpected("InitiateAuth", &challenge);
        };
        let answers = [
            new_password(self.pool, &self.name, &session, "Correct-horse-1"),
            new_password(self.pool, &self.name, &session, "Correct-horse-2"),
        ];
        let gateways = [self.gateway(), self.gateway()];
        let both = async {
            let (one, two) = tokio::join!(
                api.unsigned(gateways[0], "RespondToAuthChallenge", &answers[0]),
                api.unsigned(gateways[1], "RespondToAuthChallenge", &answers[1]),
            );
            Reply::Ok(json!([words(&one), words(&two)]))
        };
        let both = pair(self.call("sign-in", both).await?);
        self.people.counts.races.fetch_add(1, Ordering::Relaxed);
        let at = |i: usize| both.get(i).and_then(|v| v.as_str()).unwrap_or_default();
        let password = match (at(0), at(1)) {
            ("ok", "ok") => {
                return self.broken(format!("the session of {} was used twice", self.name));
            }
            ("ok", "refused") => "Correct-horse-1",
            ("refused", "ok") => "Correct-horse-2",
            ("refused", "refused") => {
                return self.broken(format!("the session of {} was refused to both", self.name));
            }
            (one, two) => return Err(Stop::NotKnown(format!("a session: {one}, {two}"))),
        };
        let again = new_password(self.pool, &self.name, &session, "Correct-horse-3");
        let again = api.unsigned(self.gateway(), "RespondToAuthChallenge", &again);
        self.is_refused("a session that was used", self.call("sign-in", again).await?)?;
        self.live_with(password.to_owned()).await
    }

    /// Passwords change, and the user ends.
    async fn live_with(&self, mut password: String) -> Result<(), Stop> {
        let api = &self.people.api;
        let mut tokens = None;
        for change in 0..=self.dice.below(CHANGES_MAX) {
            let signed_in = self.sign_in(&password).await?;
            if !signed_in.is_ok() {
                return self.unexpected(
                    "InitiateAuth with the password that was acknowledged",
                    &signed_in,
                );
            }
            tokens = signed_in.text("/AuthenticationResult/AccessToken");
            let next = format!("Changed-horse-{change}");
            let body = json!({
                "UserPoolId": self.pool.id, "Username": self.name, "Password": next, "Permanent": true,
            });
            let changed = self.signed("AdminSetUserPassword", body).await?;
            if !changed.is_ok() {
                return self.unexpected("AdminSetUserPassword", &changed);
            }
            self.is_refused("the old password", self.sign_in(&password).await?)?;
            password = next;
        }
        let signed_in = self.sign_in(&password).await?;
        if !signed_in.is_ok() {
            return self
                .unexpected("InitiateAuth with the password that was acknowledged", &signed_in);
        }
        let body = json!({ "UserPoolId": self.pool.id, "Username": self.name });
        let deleted = self.signed("AdminDeleteUser", body).await?;
        if !deleted.is_ok() {
            return self.unexpected("AdminDeleteUser", &deleted);
        }
        let newest = signed_in.text("/AuthenticationResult/AccessToken");
        for token in [tokens, newest].into_iter().flatten() {
            let body = json!({ "AccessToken": token });
            let get = self.call("api read", api.unsigned(self.gateway(), "GetUser", &body)).await?;
            self.is_refused("the token of a deleted user", get)?;
        }
        if let Some(token) = signed_in.text("/AuthenticationResult/RefreshToken") {
            let body = json!({
                "ClientId": self.pool.client_id, "AuthFlow": "REFRESH_TOKEN_AUTH",
                "AuthParameters": { "REFRESH_TOKEN": token },
            });
            let refreshed = api.unsigned(self.gateway(), "InitiateAuth", &body);
            self.is_refused(
                "the refresh token of a deleted user",
                self.call("sign-in", refreshed).await?,
            )?;
        }
        self.is_refused("the password of a deleted user", self.sign_in(&password).await?)
    }

    fn is_refused(&self, what: &str, reply: Reply) -> Result<(), Stop> {
        self.people.counts.stale_tries.fetch_add(1, Ordering::Relaxed);
        if reply.is_ok() {
            return self.broken(format!("{what} was accepted: {}", self.name));
        }
        Ok(())
    }

    /// A refusal of what must be granted is a broken promise; anything else is merely not known.
    fn unexpected(&self, what: &str, reply: &Reply) -> Result<(), Stop> {
        if let Reply::Refused { .. } = reply {
            self.people.broken(format!("{what} of {}: {}", self.name, reply.words()));
        }
        Err(Stop::NotKnown(format!("{what}: {}", reply.words())))
    }

    fn broken(&self, what: String) -> Result<(), Stop> {
        self.people.broken(what);
        Err(Stop::NotKnown("a broken promise".to_owned()))
    }
}

/// Two answers in one, as [`Story::call`] takes it.
fn pair(reply: Reply) -> Value {
    match reply {
        Reply::Ok(value) => value,
        _ => Value::Null,
    }
}

/// RespondToAuthChallenge with a new password.
pub fn new_password(pool: &Pool, name: &str, session: &str, password: &str) -> Value {
    json!({
        "ClientId": pool.client_id, "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": session,
        "ChallengeResponses": { "USERNAME": name, "NEW_PASSWORD": password },
    })
}

fn words(reply: &Reply) -> String {
    match reply {
        Reply::Ok(_) => "ok".to_owned(),
        _ if reply.is("UsernameExistsException") => "exists".to_owned(),
        _ if reply.is("NotAuthorizedException") => "refused".to_owned(),
        Reply::Refused { .. } => reply.words(),
        Reply::NotDone => "not done".to_owned(),
        Reply::Unknown(_) => "unknown".to_owned(),
    }
}
