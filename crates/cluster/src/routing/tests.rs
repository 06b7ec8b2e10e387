//! The routing client over a shard that answers what a test says.

use std::collections::VecDeque;

use conclave_store::proto::{CommitReply, GroupsReply, ReadReply, commit_reply, read_reply};
use tonic::Response;

use super::*;

/// Answers in order; the last answer again and again.
#[derive(Default)]
struct Script {
    commits: Mutex<VecDeque<Result<commit_reply::Result, Status>>>,
    reads: Mutex<VecDeque<Result<read_reply::Result, Status>>>,
    asked: Mutex<Vec<proto::Commit>>,
}

fn next<T: Clone>(script: &Mutex<VecDeque<T>>) -> T {
    let mut script = script.lock();
    let first = script.pop_front().expect("an answer");
    if script.is_empty() {
        script.push_back(first.clone());
    }
    first
}

#[async_trait]
impl Shard for Script {
    async fn read(&self, _: Request<proto::ReadRequest>) -> Result<Response<ReadReply>, Status> {
        next(&self.reads).map(|result| Response::new(ReadReply { result: Some(result) }))
    }

    async fn commit(
        &self,
        request: Request<proto::CommitRequest>,
    ) -> Result<Response<CommitReply>, Status> {
        self.asked.lock().push(request.into_inner().commit.expect("a commit"));
        next(&self.commits).map(|result| Response::new(CommitReply { result: Some(result) }))
    }

    async fn groups(
        &self,
        _: Request<proto::GroupsRequest>,
    ) -> Result<Response<GroupsReply>, Status> {
        Ok(Response::new(GroupsReply { node_id: 1, groups: Vec::new() }))
    }
}

struct Everywhere;

impl Placement for Everywhere {
    fn group_of(&self, _: &str) -> Option<u32> {
        Some(1)
    }
}

fn store(script: &Arc<Script>) -> RoutingStore {
    RoutingStore::new(RoutingOptions {
        cluster_id: "c".to_owned(),
        seeds: Vec::new(),
        tls: None,
        groups: 2,
        placement: Arc::new(Everywhere),
        local: Some(script.clone()),
        limits: RoutingLimits {
            read_deadline: Duration::from_millis(200),
            commit_deadline: Duration::from_millis(200),
            ..RoutingLimits::default()
        },
    })
    .expect("has a node")
}

fn commits(answers: impl IntoIterator<Item = Result<commit_reply::Result, Status>>) -> Arc<Script> {
    let script = Script::default();
    script.commits.lock().extend(answers);
    Arc::new(script)
}

fn commit() -> proto::Commit {
    let id = vec![7; 16].into();
    proto::Commit { id, scope: "pool".to_owned(), ..proto::Commit::default() }
}

fn done() -> commit_reply::Result {
    let committed = proto::outcome::Result::Committed(proto::Committed { seq: 9 });
    commit_reply::Result::Outcome(proto::Outcome { result: Some(committed) })
}

fn refused(reason: Reason) -> commit_reply::Result {
    let detail = "told".to_owned();
    commit_reply::Result::Refused(proto::Refused {
        reason: reason.into(),
        detail,
        retry_after_ms: 7,
        others: Vec::new(),
    })
}

#[tokio::test]
async fn a_commit_whose_fate_is_unknown_is_repeated_with_the_same_id_and_bytes() {
    let script = commits([
        Ok(refused(Reason::Unknown)),
        Err(Status::unavailable("the connection was lost")),
        Ok(done()),
    ]);
    let outcome = store(&script).commit(commit()).await.expect("answers");
    let Some(proto::outcome::Result::Committed(committed)) = outcome.result else {
        panic!("committed")
    };
    assert_eq!(committed.seq, 9);
    assert_eq!(*script.asked.lock(), vec![commit(); 3]);
}

#[tokio::test]
async fn once_a_commit_may_have_happened_no_refusal_makes_it_certain_that_it_has_not() {
    for refusal in [Reason::Unavailable, Reason::Overloaded] {
        let script = commits([Ok(refused(Reason::Unknown)), Ok(refused(refusal))]);
        let answer = store(&script).commit(commit()).await;
        assert!(matches!(answer, Err(StoreError::Unknown { .. })), "{refusal:?}: {answer:?}");
    }
}

/// An earlier copy may have been committed before the group's clock went on and its id was forgotten.
#[tokio::test]
async fn once_a_commit_may_have_happened_stale_does_not_say_that_it_has_not() {
    let stale = || {
        let stale = proto::outcome::Result::Stale(proto::Stale {});
        commit_reply::Result::Outcome(proto::Outcome { result: Some(stale) })
    };
    let answer = store(&commits([Ok(stale())])).commit(commit()).await;
    assert!(matches!(answer, Ok(proto::Outcome { result: Some(_) })), "{answer:?}");
    let script = commits([Ok(refused(Reason::Unknown)), Ok(stale())]);
    let answer = store(&script).commit(commit()).await;
    assert!(matches!(answer, Err(StoreError::Unknown { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_says_what_the_caller_may_do() {
    let script = commits([Ok(refused(Reason::Overloaded))]);
    let answer = store(&script).commit(commit()).await;
    assert_eq!(answer, Err(StoreError::Overloaded { retry_after_ms: 7 }));
    assert_eq!(script.asked.lock().len(), 1);

    let script = commits([Ok(refused(Reason::Invalid))]);
    let answer = store(&script).commit(commit()).await;
    assert!(matches!(answer, Err(StoreError::Invalid { .. })), "{answer:?}");
    assert_eq!(script.asked.lock().len(), 1);

    let script = commits([Ok(refused(Reason::Unavailable))]);
    let answer = store(&script).commit(commit()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    assert!(script.asked.lock().len() > 1, "it has tried until the deadline");
}

/// The leader answers reads all the same: who takes it for dead asks in vain for who else may lead.
#[tokio::test]
async fn a_leader_whose_disk_is_full_is_not_taken_for_dead() {
    let script = commits([Ok(refused(Reason::Full))]);
    let store = store(&script);
    let answer = store.commit(commit()).await;
    assert_eq!(answer, Err(StoreError::Unavailable { detail: "told".to_owned() }));
    assert!(script.asked.lock().len() > 1, "another one might lead in a moment");
    assert!(store.suspects.lock().is_empty());
    assert_eq!(store.leaders.lock().get(&1), Some(&Node::Local));
}

#[tokio::test]
async fn a_connection_that_was_never_made_leaves_no_doubt() {
    let script = commits([Err(Status::unavailable("tcp connect error"))]);
    let answer = store(&script).commit(commit()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
}

#[tokio::test]
async fn that_a_node_is_of_another_cluster_is_said_although_others_are_down() {
    let script =
        commits([Ok(refused(Reason::Misrouted)), Err(Status::unavailable("tcp connect error"))]);
    let answer = store(&script).commit(commit()).await;
    assert_eq!(answer, Err(StoreError::Unavailable { detail: "told".to_owned() }));
}

#[tokio::test]
async fn a_node_that_does_not_hold_the_group_is_asked_again_until_it_does() {
    let script = commits([Ok(refused(Reason::NotHere)), Ok(refused(Reason::NotHere)), Ok(done())]);
    let outcome = store(&script).commit(commit()).await.expect("answers");
    assert!(matches!(outcome.result, Some(proto::outcome::Result::Committed(_))));
}

#[tokio::test]
async fn a_read_waits_for_a_leader_to_be_elected() {
    let script = Script::default();
    let not_leader = read_reply::Result::NotLeader(proto::NotLeader { leader: None });
    let result = proto::ReadResult { seq: 3, ..proto::ReadResult::default() };
    script.reads.lock().extend([
        Ok(not_leader.clone()),
        Ok(not_leader),
        Ok(read_reply::Result::Read(result)),
    ]);
    let read = proto::Read { scope: "pool".to_owned(), ..proto::Read::default() };
    let answer = store(&Arc::new(script)).read(read).await.expect("answers");
    assert_eq!(answer.seq, 3);
}

/// Of the nodes that a gateway was told of, some may be gone for good: they must not cost every search for a leader an
/// attempt.
#[tokio::test(start_paused = true)]
async fn a_node_that_never_answers_is_asked_less_and_less() {
    let store = store(&Arc::new(Script::default()));
    let node = || Node::At("gone:1".to_owned());
    let suspected_for = || store.suspects.lock()[&node()].length;
    let mut lengths = Vec::new();
    for _ in 0..7 {
        store.suspect(1, node());
        // of the same moment
        store.suspect(1, node());
        lengths.push(suspected_for());
        tokio::time::advance(suspected_for()).await;
    }
    assert_eq!(
        lengths,
        [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000].map(Duration::from_millis)
    );
    // it has a leader's job again: whoever says so is believed
    store.suspect(1, node());
    tokio::time::advance(Duration::from_millis(500)).await;
    let leader = proto::Member { node_id: 9, address: "gone:1".to_owned() };
    assert!(store.follow(1, &Node::Local, Some(leader)).await);
}

#[tokio::test]
async fn a_store_without_a_node_to_ask_is_refused() {
    let options = RoutingOptions {
        cluster_id: "c".to_owned(),
        seeds: Vec::new(),
        tls: None,
        groups: 2,
        placement: Arc::new(Everywhere),
        local: None,
        limits: RoutingLimits::default(),
    };
    assert!(RoutingStore::new(options).is_err());
}
