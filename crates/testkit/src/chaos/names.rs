//! Clients of users as registers, through the public API: a name holds a user with a nickname that nobody else gives, or
//! nobody. AdminCreateUser writes if nobody is there, AdminDeleteUser deletes if somebody is, AdminGetUser reads.
//!
//! Several clients share a name, at different gateways. That the name is given once, that who was acknowledged is there and
//! that who was refused is not, all follow from the history having an explanation.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use anyhow::{Result, anyhow, bail};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Duration, Instant, sleep},
};

use super::{
    acks::{Acks, Class, End},
    api::{Api, Pool, Reply},
    gate::Gate,
    objects::Judged,
};
use crate::{
    dice::Dice,
    history::{Answer, Call, Check, Observed, Pending, Recorder},
    linearizability,
};

/// Names that are used at a time.
const NAMES: usize = 8;
const STEPS_MAX: u64 = 1_000_000;
/// Between two operations of a client: every creation costs the server a password hash.
const PAUSE: Duration = Duration::from_millis(60);

struct Name {
    name: String,
    pool: Pool,
    recorder: Arc<Recorder>,
    operations: AtomicU32,
    most: u32,
}

/// The load.
pub struct Names {
    api: Api,
    pools: Vec<Pool>,
    names: Mutex<Vec<Arc<Name>>>,
    full: Mutex<Vec<Arc<Name>>>,
    acks: Arc<Acks>,
    gate: Arc<Gate>,
    dice: Dice,
    next: AtomicU64,
    /// What has been judged so far.
    pub judged: Judged,
    /// Operations that have begun.
    pub begun: AtomicU64,
}

impl Names {
    /// Names in `pools`.
    pub fn create(
        api: Api,
        pools: Vec<Pool>,
        acks: Arc<Acks>,
        gate: Arc<Gate>,
        seed: u64,
    ) -> Arc<Self> {
        let names = Self {
            api,
            pools,
            names: Mutex::default(),
            full: Mutex::default(),
            acks,
            gate,
            dice: Dice::new(seed, 0x0a3e_5000),
            next: AtomicU64::new(0),
            judged: Judged::default(),
            begun: AtomicU64::new(0),
        };
        *names.names.lock() = (0..NAMES).map(|_| names.fresh()).collect();
        Arc::new(names)
    }

    fn fresh(&self) -> Arc<Name> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // every pool has the same names: what one pool shows of another's has no explanation in its history
        let pools = self.pools.len() as u64;
        let pool = self.pools[(number % pools) as usize].clone();
        let number = number / pools;
        let most = 25 + self.dice.below(50) as u32;
        let (recorder, operations) = (Recorder::new(), AtomicU32::new(0));
        Arc::new(Name { name: format!("name-{number}"), pool, recorder, operations, most })
    }

    /// Starts clients.
    pub fn start(self: &Arc<Self>, clients: u32, seed: u64, tasks: &mut JoinSet<()>) {
        for number in 0..clients {
            let dice = Dice::new(seed, 0x0a3e_0000 + u64::from(number));
            tasks.spawn(Arc::clone(self).client(number, dice));
        }
    }

    async fn client(self: Arc<Self>, number: u32, dice: Dice) {
        let mut values = 0;
        while let Some(pass) = self.gate.pass().await {
            let name = self.choose(&dice);
            self.begun.fetch_add(1, Ordering::Relaxed);
            values += 1;
            self.operate(&name, number, &dice, &format!("{number}-{values}")).await;
            drop(name);
            drop(pass);
            sleep(PAUSE).await;
        }
    }

    fn choose(&self, dice: &Dice) -> Arc<Name> {
        let mut names = self.names.lock();
        let at = dice.below(names.len() as u64) as usize;
        if names[at].operations.fetch_add(1, Ordering::Relaxed) >= names[at].most {
            let full = std::mem::replace(&mut names[at], self.fresh());
            self.full.lock().push(full);
        }
        Arc::clone(&names[at])
    }

    async fn operate(&self, name: &Name, client: u32, dice: &Dice, value: &str) {
        let gateway = dice.below(self.api.count() as u64) as usize;
        let key = name.name.clone();
        let began = Instant::now();
        let (kind, end) = match dice.below(10) {
            0..4 => ("api read", self.get(name, client, gateway).await),
            4..8 => {
                let body = json!({
                    "UserPoolId": name.pool.id, "Username": name.name, "MessageAction": "SUPPRESS",
                    "UserAttributes": [{ "Name": "nickname", "Value": value }],
                });
                let writes = vec![(key.clone(), Some(value.to_owned()))];
                let checks = vec![(key.clone(), Check::Absent)];
                let pending = name.recorder.invoke(client, Call::Transaction { checks, writes });
                let reply = self.api.signed(gateway, "AdminCreateUser", &body).await;
                ("api write", created(key, pending, &reply))
            }
            _ => {
                let body = json!({ "UserPoolId": name.pool.id, "Username": name.name });
                let writes = vec![(key.clone(), None)];
                let checks = vec![(key.clone(), Check::Exists)];
                let pending = name.recorder.invoke(client, Call::Transaction { checks, writes });
                let reply = self.api.signed(gateway, "AdminDeleteUser", &body).await;
                ("api write", deleted(key, pending, &reply))
            }
        };
        self.acks.ended(Class { kind, group: 0 }, began, end);
    }

    async fn get(&self, name: &Name, client: u32, gateway: usize) -> End {
        let key = name.name.clone();
        let pending = name.recorder.invoke(client, Call::Read { keys: vec![key.clone()] });
        let body = json!({ "UserPoolId": name.pool.id, "Username": name.name });
        let reply = self.api.signed(gateway, "AdminGetUser", &body).await;
        let value = match &reply {
            Reply::Ok(user) => nickname(user),
            _ if reply.is("UserNotFoundException") => None,
            _ => {
                pending.failed();
                return End::Failed;
            }
        };
        let rows = vec![Observed { key, value, version: None }];
        pending.answered(Answer::Rows { rows, seq: None });
        End::Acknowledged
    }

    /// As [`Objects::settle`](super::objects::Objects::settle).
    ///
    /// # Errors
    /// A name cannot be read although the cluster is healthy.
    pub async fn settle(&self, all: bool) -> Result<()> {
        let mut full = std::mem::take(&mut *self.full.lock());
        if all {
            full.append(
                &mut self
                    .names
                    .lock()
                    .iter_mut()
                    .map(|name| std::mem::replace(name, self.fresh()))
                    .collect(),
            );
        }
        let mut histories = Vec::new();
        for (name, gateway) in full.into_iter().zip(0..) {
            let name = match Arc::try_unwrap(name) {
                Ok(name) => name,
                Err(busy) => {
                    self.full.lock().push(busy);
                    continue;
                }
            };
            if self.get(&name, u32::MAX, gateway).await != End::Acknowledged {
                bail!("{} cannot be read", name.name);
            }
            self.begun.fetch_add(1, Ordering::Relaxed);
            histories.push(name.recorder.history());
        }
        let judge = move || {
            let judged = histories
                .iter()
                .map(|history| (history.len() as u64, linearizability::check(history, STEPS_MAX)));
            judged.collect::<Vec<_>>()
        };
        for (operations, verdict) in spawn_blocking(judge).await.map_err(|e| anyhow!(e))? {
            self.judged.take(operations, verdict);
        }
        Ok(())
    }
}

fn created(key: String, pending: Pending, reply: &Reply) -> End {
    match reply {
        Reply::Ok(_) => {
            pending.answered(Answer::Committed { seq: None });
            End::Acknowledged
        }
        _ if reply.is("UsernameExistsException") => {
            // somebody is there, and the answer does not say who
            let checks = vec![(key, Check::Exists)];
            let call = Call::Transaction { checks, writes: Vec::new() };
            pending.answered_as(call, Answer::Committed { seq: None });
            End::Acknowledged
        }
        other => ended(pending, other),
    }
}

fn deleted(key: String, pending: Pending, reply: &Reply) -> End {
    match reply {
        Reply::Ok(_) => {
            pending.answered(Answer::Committed { seq: None });
            End::Acknowledged
        }
        _ if reply.is("UserNotFoundException") => {
            let rows = vec![Observed { key: key.clone(), value: None, version: None }];
            pending.answered_as(Call::Read { keys: vec![key] }, Answer::Rows { rows, seq: None });
            End::Acknowledged
        }
        other => ended(pending, other),
    }
}

fn ended(pending: Pending, reply: &Reply) -> End {
    if reply.is_unknown() {
        pending.unknown();
        End::Unknown
    } else {
        pending.failed();
        End::Failed
    }
}

/// The nickname of a user in an answer of AdminGetUser.
pub fn nickname(user: &Value) -> Option<String> {
    let attributes = user.get("UserAttributes")?.as_array()?;
    let named = |name: &str| {
        let of_name = attributes.iter().find(|a| a.get("Name").is_some_and(|n| n == name));
        of_name?.get("Value")?.as_str().map(str::to_owned)
    };
    // a user without one is a user all the same
    Some(named("nickname").unwrap_or_else(|| "nobody's".to_owned()))
}
