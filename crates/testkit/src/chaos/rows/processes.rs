//! Processes that die or stand still.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::Evidence;
use crate::chaos::{api::Reply, command::until, lab::Lab, report::ms};

const DEAD_FOR: Duration = Duration::from_secs(3);
/// Requests that are under way when their gateway dies.
const REQUESTS: u64 = 16;

/// F01: the leader of a group is killed, and started again after 3 s.
pub async fn leader_is_killed(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    lab.cluster.node_mut(leader)?.kill();
    lab.hold(DEAD_FOR).await;
    let next = lab.cluster.leader(group, &lab.others(leader)).await?;
    lab.cluster.start_node(leader)?;
    lab.cluster.wait_ready().await?;
    Ok(Evidence::new(next != leader, format!("group {group}: from node {leader} to {next}")))
}

/// F02: a node that leads nothing is killed. Where every node leads something, one that does not lead the
/// group that is looked at.
pub async fn follower_is_killed(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let follower = lab.some_other(leader)?;
    let leads_another = lab.leads_anything(follower).await;
    lab.cluster.node_mut(follower)?.kill();
    lab.hold(DEAD_FOR).await;
    let behind = lab.is_behind_without(follower, group).await;
    lab.cluster.start_node(follower)?;
    lab.cluster.wait_ready().await?;
    let mut evidence =
        Evidence::new(behind, format!("node {follower}, a follower of group {group}"));
    let failed = lab.failed_in(group);
    evidence.figures.insert("failed_in_the_group", failed as f64);
    if failed > 0 && !leads_another {
        evidence.slow.push(format!("{failed} operations of group {group} failed"));
    }
    Ok(evidence)
}

/// F03: all nodes are killed at once.
pub async fn all_are_killed(lab: &mut Lab) -> Result<Evidence> {
    let ids = lab.cluster.ids();
    for id in &ids {
        lab.cluster.node_mut(*id)?.kill();
    }
    let ended = ids.iter().all(|id| lab.cluster.node(*id).is_ok_and(|node| node.pid().is_none()));
    for id in &ids {
        lab.cluster.start_node(*id)?;
    }
    lab.acks.watch_for_first(&["read", "commit"]);
    lab.cluster.wait_ready().await?;
    let served = async || lab.acks.slowest_first().is_some();
    let what = "the cluster serves again";
    until(what, Duration::from_secs(60), served).await?;
    let took = lab.acks.slowest_first().unwrap_or_default();
    let mut evidence = Evidence::new(ended, "all nodes".to_owned());
    evidence.figures.insert("serving_after_ms", ms(took) as f64);
    if took > lab.patient(Duration::from_secs(5)) {
        evidence.slow.push(format!("serving after {} ms, at most 5000", ms(took)));
    }
    Ok(evidence)
}

/// F04: a gateway is killed while 16 requests are under way. What it had acknowledged is there; who asks
/// another gateway again is served, and nobody exists twice.
pub async fn gateway_is_killed(lab: &mut Lab) -> Result<Evidence> {
    let gateway = lab.some_other(0)?;
    let place = lab.gateway(gateway);
    let api = lab.api.clone();
    let pool = lab.some_pool()?;
    let mut calls = JoinSet::new();
    for number in 0..REQUESTS {
        let name = format!("killed-{}-{number}", lab.round);
        let (api, pool) = (api.clone(), pool.clone());
        calls.spawn(async move {
            let body = json!({
                "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS",
                "UserAttributes": [{ "Name": "nickname", "Value": "first" }],
            });
            let first = api.signed(place, "AdminCreateUser", &body).await;
            (name, first)
        });
    }
    // in the midst of them, on a machine of any speed
    let mut firsts = Vec::new();
    for _ in 0..1 + lab.dice.below(REQUESTS / 2) {
        firsts.extend(calls.join_next().await.transpose()?);
    }
    lab.cluster.node_mut(gateway)?.kill();
    while let Some(call) = calls.join_next().await {
        firsts.push(call?);
    }
    let mut evidence = Evidence::default();
    let (mut cut, mut done, mut errors) = (0_u32, 0_u32, 0_u32);
    for (name, first) in firsts {
        let elsewhere = place + 1;
        let body = json!({
            "UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS",
            "UserAttributes": [{ "Name": "nickname", "Value": "second" }],
        });
        let again = repeat(&lab.api, elsewhere, "AdminCreateUser", &body).await;
        let exists = again.is("UsernameExistsException");
        match &first {
            Reply::Ok(_) => {
                done += 1;
                if !exists {
                    let said = again.words();
                    evidence.violations.push(format!("{name} was acknowledged, and then: {said}"));
                }
            }
            _ => cut += 1,
        }
        // the repetition may itself have been repeated
        if !exists && !again.is_ok() {
            errors += 1;
        }
    }
    lab.cluster.start_node(gateway)?;
    lab.cluster.wait_ready().await?;
    evidence.bit = cut > 0;
    evidence.what = format!("node {gateway}: {done} of 16 acknowledged, {cut} cut off");
    evidence.figures.insert("requests_cut", f64::from(cut));
    if errors > 0 {
        evidence.slow.push(format!("{errors} of 16 failed at another gateway too"));
    }
    Ok(evidence)
}

/// A call that is made again while nothing was done or nobody knows, at the other gateways in turn.
async fn repeat(
    api: &crate::chaos::api::Api,
    gateway: usize,
    operation: &str,
    body: &serde_json::Value,
) -> Reply {
    let mut reply = Reply::NotDone;
    for attempt in 0..6 {
        reply = api.signed(gateway + attempt % 2, operation, body).await;
        if matches!(reply, Reply::Ok(_) | Reply::Refused { .. }) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    reply
}

/// F17: the leader of a group stands still, and goes on. A read that it answers from before must not be.
pub async fn leader_stands_still(lab: &mut Lab) -> Result<Evidence> {
    let (group, leader) = lab.some_leader().await?;
    let pauses = [200, 1_000, 2_000, 5_000];
    let pause = *lab.dice.pick(&pauses).unwrap_or(&1_000);
    let before = lab.cluster.terms().await;
    lab.cluster.node(leader)?.freeze().await?;
    lab.hold(Duration::from_millis(pause)).await;
    lab.cluster.node(leader)?.thaw()?;
    lab.cluster.wait_ready().await?;
    lab.cluster.leader(group, &lab.cluster.ids()).await?;
    let after = lab.cluster.terms().await;
    let elected = after.get(&group) > before.get(&group);
    // a short pause need not be noticed: that every thread stood still has been seen
    let bit = elected || pause <= 1_000;
    let what = format!("group {group}, node {leader} for {pause} ms, elected: {elected}");
    Ok(Evidence::new(bit, what))
}

/// F18: a gateway stands still with requests under way; meanwhile passwords change and users go, through
/// the others. When it goes on, it must know.
pub async fn gateway_stands_still(lab: &mut Lab) -> Result<Evidence> {
    let pause = if lab.long_holds { 60 } else { 4 + lab.dice.below(4) };
    let gateway = lab.some_other(0)?;
    let still = lab.gateway(gateway);
    let elsewhere = still + 1;
    let api = lab.api.clone();
    let pool = lab.some_pool()?;
    let old = "Correct-horse-1";
    let mut users = Vec::new();
    for number in 0..4 {
        let name = format!("still-{}-{number}", lab.round);
        let body = json!({ "ClientId": pool.client_id, "Username": name, "Password": old });
        api.unsigned(elsewhere, "SignUp", &body).await;
        let body = json!({ "UserPoolId": pool.id, "Username": name });
        api.signed(elsewhere, "AdminConfirmSignUp", &body).await;
        let signed_in = api.sign_in(still, &pool, &name, old).await;
        let token = signed_in.text("/AuthenticationResult/AccessToken");
        users.push((name, token.with_context(|| signed_in.words())?));
    }
    lab.cluster.node(gateway)?.freeze().await?;
    // sent now, and read by the gateway when it goes on
    let mut queued = JoinSet::new();
    for (number, (name, token)) in users.iter().cloned().enumerate() {
        let (first, second, pool) = (api.clone(), api.clone(), pool.clone());
        let named = name.clone();
        queued.spawn(async move {
            let reply = first.sign_in(still, &pool, &named, old).await;
            (format!("the old password of {named}"), reply)
        });
        // every second user goes
        if number % 2 == 0 {
            queued.spawn(async move {
                let body = json!({ "AccessToken": token });
                let reply = second.unsigned(still, "GetUser", &body).await;
                (format!("the token of {name}, who was deleted"), reply)
            });
        }
    }
    let mut ended = 0;
    for (number, (name, _)) in users.iter().enumerate() {
        let body = json!({
            "UserPoolId": pool.id, "Username": name, "Password": "Changed-horse-1", "Permanent": true,
        });
        let changed = repeat(&api, elsewhere, "AdminSetUserPassword", &body).await;
        ensure!(changed.is_ok(), "AdminSetUserPassword: {}", changed.words());
        if number % 2 == 0 {
            let body = json!({ "UserPoolId": pool.id, "Username": name });
            let deleted = repeat(&api, elsewhere, "AdminDeleteUser", &body).await;
            // the first attempt may have done it
            let gone = deleted.is_ok() || deleted.is("UserNotFoundException");
            ensure!(gone, "AdminDeleteUser: {}", deleted.words());
            ended += 1;
        }
    }
    lab.hold(Duration::from_secs(pause)).await;
    lab.cluster.node(gateway)?.thaw()?;
    let mut evidence = Evidence::new(ended > 0, format!("node {gateway} for more than {pause} s"));
    let mut answered = 0;
    while let Some(call) = queued.join_next().await {
        let (what, reply) = call?;
        answered += u32::from(matches!(reply, Reply::Ok(_) | Reply::Refused { .. }));
        if reply.is_ok() {
            evidence.violations.push(format!("{what} was accepted after the pause"));
        }
    }
    evidence.figures.insert("queued_requests_answered", f64::from(answered));
    lab.cluster.wait_ready().await?;
    Ok(evidence)
}
