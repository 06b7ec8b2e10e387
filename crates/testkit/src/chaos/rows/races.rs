//! What may be used once is used twice at once, while the leader dies in between.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::{sync::Barrier, task::JoinSet, time::sleep};

use super::Evidence;
use crate::chaos::{api::Reply, lab::Lab, people::new_password};

/// Sessions that are used twice in one round.
const SESSIONS: u64 = 40;
const TEMPORARY: &str = "Temporary-horse-1";
const DEAD_FOR: Duration = Duration::from_secs(2);
/// Answers come over about this time when nothing happens.
const SPREAD_MS: u64 = 1_500;

/// F28: sessions that set a first password are used at two gateways at once, and a leader is killed meanwhile.
pub async fn sessions(lab: &mut Lab) -> Result<Evidence> {
    let api = lab.api.clone();
    let (_, leader) = lab.some_leader().await?;
    let mut making = JoinSet::new();
    for number in 0..SESSIONS {
        let (api, pool) = (api.clone(), lab.some_pool()?);
        let name = format!("raced-{}-{number}", lab.round);
        making.spawn(async move {
            let body = json!({
                "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS",
                "TemporaryPassword": TEMPORARY,
            });
            let made = api.signed(number as usize, "AdminCreateUser", &body).await;
            let challenge = api.sign_in(number as usize, &pool, &name, TEMPORARY).await;
            let session = challenge.text("/Session");
            let said = format!("{}, then {}", made.words(), challenge.words());
            Ok::<_, anyhow::Error>((pool, name, session.context(said)?))
        });
    }
    let mut sessions = Vec::new();
    while let Some(made) = making.join_next().await {
        sessions.extend(made?.ok());
    }
    sessions.sort_by(|a, b| a.1.cmp(&b.1));
    // two gateways that stay: the third node dies
    let stay: Vec<usize> = lab.others(leader).iter().map(|id| lab.gateway(*id)).collect();
    let start = std::sync::Arc::new(Barrier::new(sessions.len() * 2 + 1));
    let mut racing = JoinSet::new();
    for (index, (pool, name, session)) in sessions.iter().cloned().enumerate() {
        let wait = Duration::from_millis(lab.dice.below(SPREAD_MS));
        for (half, gateway) in stay.iter().copied().enumerate() {
            let (api, start) = (api.clone(), std::sync::Arc::clone(&start));
            let body = new_password(&pool, &name, &session, &password(half));
            racing.spawn(async move {
                start.wait().await;
                sleep(wait).await;
                (index, half, api.unsigned(gateway, "RespondToAuthChallenge", &body).await)
            });
        }
    }
    start.wait().await;
    lab.hold(Duration::from_millis(SPREAD_MS / 4 + lab.dice.below(SPREAD_MS / 2))).await;
    lab.cluster.node_mut(leader)?.kill();
    let mut replies = vec![[Reply::NotDone, Reply::NotDone]; sessions.len()];
    while let Some(raced) = racing.join_next().await {
        let (index, half, reply) = raced?;
        replies[index][half] = reply;
    }
    lab.hold(DEAD_FOR).await;
    lab.cluster.start_node(leader)?;
    lab.cluster.wait_ready().await?;
    let mut evidence = Evidence::default();
    let (mut won, mut unknown) = (0_u32, 0_u32);
    for ((pool, name, _), replies) in sessions.iter().zip(&replies) {
        let successes = replies.iter().filter(|reply| reply.is_ok()).count();
        let unknowns = replies
            .iter()
            .filter(|reply| !matches!(reply, Reply::Ok(_) | Reply::Refused { .. }))
            .count();
        let said = || format!("{}, {}", replies[0].words(), replies[1].words());
        match (successes, unknowns) {
            (2, _) => evidence.violations.push(format!("the session of {name} was used twice")),
            (1, _) => won += 1,
            (0, 0) => evidence.violations.push(format!("{name}: refused to both: {}", said())),
            _ => unknown += 1,
        }
        // the password is that of the winner; where nobody knows, of one of them or neither
        let works = |half: usize| api.sign_in(stay[0], pool, name, PASSWORDS[half]);
        let (first, second) = (works(0).await, works(1).await);
        if first.is_ok() && second.is_ok() {
            evidence.violations.push(format!("{name} has two passwords"));
        }
        for (half, reply) in [&first, &second].into_iter().enumerate() {
            let acknowledged = replies[half].is_ok();
            let refused = matches!(reply, Reply::Refused { .. });
            if acknowledged && refused {
                let words = reply.words();
                evidence.violations.push(format!(
                    "{name} cannot sign in with the password that was acknowledged: {words}"
                ));
            }
            if reply.is_ok() && successes == 1 && !acknowledged {
                evidence.violations.push(format!("{name} has the password of the one who lost"));
            }
        }
    }
    evidence.bit = unknown > 0
        || lab.acks.tallies().values().any(|tally| tally.gap > Duration::from_millis(250));
    evidence.what =
        format!("node {leader}, {} sessions: {won} won once, {unknown} not known", sessions.len());
    evidence.figures.insert("races", sessions.len() as f64);
    evidence.figures.insert("not_known", f64::from(unknown));
    Ok(evidence)
}

const PASSWORDS: [&str; 2] = ["Correct-horse-1", "Correct-horse-2"];

fn password(half: usize) -> String {
    PASSWORDS[half % 2].to_owned()
}
