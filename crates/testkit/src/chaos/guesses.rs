//! Passwords that are guessed, one user after another: failures that have been told are counted, through any crash and any
//! change of leader, and so are the locks that follow from them.
//!
//! The rule is Cognito's: five failures, and each from the fifth on locks for 1, 2, 4 ... seconds. A lock is measured
//! between sending the attempt that began it and the answer to a later one, so a slow answer is never taken for a short lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    acks::{Acks, Class, End},
    api::{Api, Pool, Reply},
    gate::Gate,
};
use crate::dice::Dice;

const RIGHT: &str = "Correct-horse-1";
const WRONG: &str = "Wrong-horse-1";
/// The failure that brings the first lock.
const LOCKS_FROM: u32 = 5;
/// The last failure of a user: it locks for four seconds.
const FAILURES: u32 = 7;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(120);
/// Attempts for one user at most, those during locks among them.
const ATTEMPTS_MAX: u32 = 150;
const VIOLATIONS_MAX: usize = 20;

/// The load.
pub struct Guesses {
    api: Api,
    pools: Vec<Pool>,
    acks: Arc<Acks>,
    gate: Arc<Gate>,
    next: AtomicU64,
    /// A clock jumps: how long locks last cannot be told.
    pub suspended: AtomicBool,
    /// What was counted.
    pub counts: Counts,
    /// Promises that were broken, in words.
    pub violations: Mutex<Vec<String>>,
}

/// What guesses have come to.
#[derive(Debug, Default)]
pub struct Counts {
    /// Failures that were told.
    pub failures: AtomicU64,
    /// Attempts that were refused by a lock.
    pub locked: AtomicU64,
    /// Users from beginning to end.
    pub whole: AtomicU64,
}

impl Counts {
    /// By name.
    pub fn figures(&self) -> BTreeMap<&'static str, u64> {
        let all = [
            ("wrong passwords told", &self.failures),
            ("attempts locked out", &self.locked),
            ("users guessed to the end", &self.whole),
        ];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

/// What one attempt has come to.
enum Attempt {
    /// The password was wrong, and that is counted.
    Failed,
    Locked,
    SignedIn,
    /// Nobody knows, and it may have been counted.
    NotKnown,
    /// The load has ended.
    Over,
}

/// The lock of a user, as a client that has seen every answer knows it.
#[derive(Debug, Default)]
struct Lock {
    failures: u32,
    /// When the last failure that was told was sent.
    sent: Option<Instant>,
}

impl Lock {
    fn failed(&mut self, sent: Instant) {
        self.failures += 1;
        self.sent = Some(sent);
    }

    /// For how long nothing is taken after the last failure, at least.
    fn length(&self) -> Duration {
        match self.failures.checked_sub(LOCKS_FROM) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1 << doublings.min(10)),
        }
    }

    /// Whether an attempt that is answered at `now` came too early to be taken.
    fn holds(&self, now: Instant) -> bool {
        self.sent.is_some_and(|sent| now.duration_since(sent) < self.length())
    }
}

impl Guesses {
    /// Guesses in `pools`.
    pub fn create(api: Api, pools: Vec<Pool>, acks: Arc<Acks>, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self {
            api,
            pools,
            acks,
            gate,
            next: AtomicU64::new(0),
            suspended: AtomicBool::new(false),
            counts: Counts::default(),
            violations: Mutex::default(),
        })
    }

    /// Starts tasks, each with one user at a time.
    pub fn start(self: &Arc<Self>, tasks: u32, seed: u64, all: &mut JoinSet<()>) {
        for number in 0..tasks {
            let dice = Dice::new(seed, 0x6e55_0000 + u64::from(number));
            all.spawn(Arc::clone(self).guess(dice));
        }
    }

    async fn guess(self: Arc<Self>, dice: Dice) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let pool = self.pools[number as usize % self.pools.len()].clone();
            let name = format!("guessed-{number}");
            let Some(made) = self.make(&pool, &name, &dice).await else { return };
            if !made {
                continue;
            }
            match self.attack(&pool, &name, &dice).await {
                Some(true) => self.counts.whole.fetch_add(1, Ordering::Relaxed),
                Some(false) => 0,
                None => return,
            };
        }
    }

    fn gateway(&self, dice: &Dice) -> usize {
        dice.below(self.api.count() as u64) as usize
    }

    /// Makes a user; `None` when the load has ended.
    async fn make(&self, pool: &Pool, name: &str, dice: &Dice) -> Option<bool> {
        let create = json!({
            "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS",
        });
        let password = json!({
            "UserPoolId": pool.id, "Username": name, "Password": RIGHT, "Permanent": true,
        });
        for (operation, body) in [("AdminCreateUser", create), ("AdminSetUserPassword", password)] {
            sleep(PAUSE).await;
            let pass = self.gate.pass().await?;
            let began = Instant::now();
            let reply = self.api.signed(self.gateway(dice), operation, &body).await;
            drop(pass);
            self.note("api write", began, &reply);
            if !reply.is_ok() {
                return Some(false);
            }
        }
        Some(true)
    }

    fn note(&self, kind: &'static str, began: Instant, reply: &Reply) {
        let end = match reply {
            Reply::Ok(_) | Reply::Refused { .. } => End::Acknowledged,
            Reply::NotDone => End::Failed,
            Reply::Unknown(_) => End::Unknown,
        };
        self.acks.ended(Class { kind, group: 0 }, began, end);
    }

    async fn attempt(&self, pool: &Pool, name: &str, password: &str, dice: &Dice) -> Attempt {
        let Some(pass) = self.gate.pass().await else { return Attempt::Over };
        let began = Instant::now();
        let reply = self.api.sign_in(self.gateway(dice), pool, name, password).await;
        drop(pass);
        self.note("sign-in", began, &reply);
        match &reply {
            Reply::Ok(_) => Attempt::SignedIn,
            Reply::Refused { message, .. } if message.starts_with("Incorrect username") => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                Attempt::Failed
            }
            Reply::Refused { message, .. } if message.starts_with("Password attempts exceeded") => {
                self.counts.locked.fetch_add(1, Ordering::Relaxed);
                Attempt::Locked
            }
            _ => Attempt::NotKnown,
        }
    }

    /// Guesses until the last lock, tries the right password during it, and signs in after it. Whether the user was
    /// guessed to the end; `None` when the load has ended.
    async fn attack(&self, pool: &Pool, name: &str, dice: &Dice) -> Option<bool> {
        let mut lock = Lock::default();
        let mut suspended = self.suspended.load(Ordering::Relaxed);
        for _ in 0..ATTEMPTS_MAX {
            sleep(PAUSE).await;
            let last = lock.failures >= FAILURES;
            let password = if last { RIGHT } else { WRONG };
            let sent = Instant::now();
            let attempt = self.attempt(pool, name, password, dice).await;
            let early = lock.holds(Instant::now());
            suspended |= self.suspended.load(Ordering::Relaxed);
            match attempt {
                Attempt::Over => return None,
                Attempt::Failed | Attempt::SignedIn if early && !suspended => {
                    let (count, length) = (lock.failures, lock.length().as_secs());
                    self.broken(format!(
                        "{name}: an attempt was taken less than {length} s after failure {count}"
                    ));
                    return Some(false);
                }
                Attempt::Failed if last => {
                    self.broken(format!("{name}: the right password is wrong"));
                    return Some(false);
                }
                Attempt::Failed => lock.failed(sent),
                Attempt::SignedIn if last => return Some(true),
                Attempt::SignedIn => {
                    self.broken(format!("{name}: a wrong password is right"));
                    return Some(false);
                }
                Attempt::Locked | Attempt::NotKnown => {}
            }
        }
        Some(false)
    }

    fn broken(&self, what: String) {
        let mut violations = self.violations.lock();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_begin_with_the_fifth_failure_and_double() {
        let sent = Instant::now();
        let mut lock = Lock::default();
        let lengths: Vec<u64> = (0..FAILURES)
            .map(|_| {
                lock.failed(sent);
                lock.length().as_secs()
            })
            .collect();
        assert_eq!(lengths, [0, 0, 0, 0, 1, 2, 4]);
        assert!(lock.holds(sent + Duration::from_millis(3_999)));
        assert!(!lock.holds(sent + Duration::from_secs(4)));
    }
}
