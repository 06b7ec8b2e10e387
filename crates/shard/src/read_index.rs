//! Linearizable reads: one round of the ReadIndex protocol (Raft dissertation, section 6.4) for all
//! who wait.
//!
//! A read may use a round only when the round began after the read did. So there is one round in
//! flight and one queued: who comes while a round is in flight shares the next one.

use std::{sync::Arc, time::Duration};

use conclave_fault as fault;
use conclave_store::Clock;
use openraft::{
    LinearizerOption, Raft,
    errors::{LinearizableReadError, RaftError},
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::{group::GroupError, state_machine::StateMachine, types::Types};

/// The index that the state has to have applied, or why there is none.
type Answer = Result<u64, GroupError>;

#[derive(Default)]
struct Waiting {
    in_flight: bool,
    next: Vec<oneshot::Sender<Answer>>,
}

/// Shares rounds. Clones share the same rounds.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    raft: Raft<Types, StateMachine>,
    round_timeout: Duration,
    waiting: Arc<Mutex<Waiting>>,
    clock: Arc<dyn Clock>,
    /// For a bug on purpose: the last answer, and when it came.
    lease: Arc<Mutex<Option<(i64, u64)>>>,
    runtime: tokio::runtime::Handle,
}

impl ReadIndex {
    pub(crate) fn new(
        raft: Raft<Types, StateMachine>,
        round_timeout: Duration,
        clock: Arc<dyn Clock>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let (waiting, lease) = Default::default();
        Self { raft, round_timeout, waiting, clock, lease, runtime }
    }

    /// The index up to which the state must have been applied for a read that begins now.
    pub(crate) async fn get(&self) -> Answer {
        let (sender, answer) = oneshot::channel();
        let start = {
            let mut waiting = self.waiting.lock();
            waiting.next.push(sender);
            !std::mem::replace(&mut waiting.in_flight, true)
        };
        if start {
            let this = self.clone();
            self.runtime.spawn(async move { this.run().await });
        }
        let stopped = || Err(GroupError::Unavailable("the replica has stopped".into()));
        // the round under way, one's own, and some time to spare: the task that runs them may be gone
        match timeout(self.round_timeout * 3, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| stopped()),
            Err(_) => stopped(),
        }
    }

    async fn run(&self) {
        loop {
            let round = {
                let mut waiting = self.waiting.lock();
                let round = std::mem::take(&mut waiting.next);
                if round.is_empty() {
                    waiting.in_flight = false;
                    return;
                }
                round
            };
            let answer = self.round().await;
            for sender in round {
                // who has stopped waiting needs no answer
                let _ = sender.send(answer.clone());
            }
        }
    }

    async fn round(&self) -> Answer {
        if !fault::bug("wall-clock-lease") {
            return self.ask_quorum().await;
        }
        let now_ms = self.clock.now_ms();
        let lease = *self.lease.lock();
        if let Some((_, index)) = lease.filter(|(since_ms, _)| now_ms - since_ms < 1_000) {
            return Ok(index);
        }
        let index = self.ask_quorum().await?;
        *self.lease.lock() = Some((now_ms, index));
        Ok(index)
    }

    async fn ask_quorum(&self) -> Answer {
        // a quorum must answer to what is sent after this moment: no lease
        let option =
            LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(self.round_timeout);
        match self.raft.get_read_log_id(option).await {
            Ok((read_log_id, _)) => Ok(read_log_id.index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(GroupError::not_leader(forward))
            }
            Err(RaftError::APIError(error)) => Err(GroupError::Unavailable(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(GroupError::Unavailable(fatal.to_string())),
        }
    }
}
