//! The log store from outside: openraft's conformance suite, and a model with restarts.

use std::{collections::BTreeMap, path::Path};

use openraft::{
    EntryPayload, StorageError,
    testing::log::{StoreBuilder, Suite},
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    state_db::SharedMemory,
    state_machine::{State, StateMachine},
    types::{Command, log_id},
};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().expect("a directory");
        let writer = LogWriter::open(dir.path()).expect("opens");
        let log = LogStore::open(writer, 3).expect("opens");
        let memory = SharedMemory::new(8 << 20, 4 << 20);
        let state = State::open("c", 3, &dir.path().join("group"), memory, 1).expect("opens");
        let applier = Arc::new(tokio::sync::Mutex::new(())).lock_owned().await;
        Ok((dir, log, StateMachine::new(state, applier)))
    }
}

#[test]
fn the_store_passes_the_conformance_suite() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(Suite::test_all(Builder)).expect("passes");
}

fn entry(term: u64, index: u64) -> LogEntry {
    let command = Command(format!("{term}-{index}").into_bytes().into());
    LogEntry { log_id: log_id(term, 1, index), payload: EntryPayload::Normal(command) }
}

fn open(dir: &Path, group: u32) -> LogStore {
    LogStore::open(LogWriter::open(dir).expect("opens"), group).expect("opens")
}

async fn append(log: &mut LogStore, entries: Vec<LogEntry>) -> io::Result<()> {
    let (sender, synced) = oneshot_of_openraft();
    log.append(entries, IOFlushed::signal(sender)).await?;
    synced.await.map_err(io::Error::other)?
}

type OpenraftOneshot =
    <<Types as openraft::RaftTypeConfig>::AsyncRuntime as openraft::AsyncRuntime>::Oneshot;

fn oneshot_of_openraft() -> (
    <OpenraftOneshot as openraft::async_runtime::Oneshot>::Sender<io::Result<()>>,
    <OpenraftOneshot as openraft::async_runtime::Oneshot>::Receiver<io::Result<()>>,
) {
    use openraft::async_runtime::Oneshot as _;
    OpenraftOneshot::channel()
}

#[derive(Debug, Clone)]
enum Op {
    Append { entries: u64 },
    Truncate { back: u64 },
    Purge { forward: u64 },
    Vote,
    Committed,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..5u64).prop_map(|entries| Op::Append { entries }),
        2 => (0..4u64).prop_map(|back| Op::Truncate { back }),
        1 => (1..6u64).prop_map(|forward| Op::Purge { forward }),
        1 => Just(Op::Vote),
        1 => Just(Op::Committed),
        2 => Just(Op::Restart),
    ]
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.values().next_back().copied().or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |id| id.index + 1)
    }
}

async fn agree(log: &mut LogStore, model: &Model) {
    let state = log.get_log_state().await.expect("reads");
    assert_eq!(state.last_log_id, model.last());
    assert_eq!(state.last_purged_log_id, model.purged);
    assert_eq!(log.read_vote().await.expect("reads"), model.vote);
    assert_eq!(log.read_committed().await.expect("reads"), model.committed);
    let found = log.try_get_log_entries(0..).await.expect("reads");
    let ids: Vec<LogId> = found.iter().map(|entry| entry.log_id).collect();
    assert_eq!(ids, model.entries.values().copied().collect::<Vec<_>>());
    for entry in found {
        let EntryPayload::Normal(command) = entry.payload else { panic!("a command") };
        let (term, index) = (entry.log_id.leader_id.term, entry.log_id.index);
        assert_eq!(command.0, format!("{term}-{index}").into_bytes());
    }
}

async fn run(ops: Vec<Op>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Append { entries } => {
                let from = model.next_index();
                let new: Vec<_> = (from..from + entries).map(|i| entry(model.term, i)).collect();
                model.entries.extend(new.iter().map(|entry| (entry.log_id.index, entry.log_id)));
                append(&mut log, new).await.expect("appends");
            }
            Op::Truncate { back } => {
                let from = model.purged.map_or(0, |id| id.index + 1);
                let keep_below = model.next_index().saturating_sub(back).max(from);
                model.entries.retain(|index, _| *index < keep_below);
                log.truncate_after(model.last()).await.expect("truncates");
                model.term += 1;
            }
            Op::Purge { forward } => {
                let from = model.purged.map_or(0, |id| id.index + 1);
                let upto = model.entries.get(&(from + forward - 1)).copied().or(model.last());
                let Some(upto) = upto else { continue };
                model.entries.retain(|index, _| *index > upto.index);
                model.purged = Some(upto);
                log.purge(upto).await.expect("purges");
            }
            Op::Vote => {
                model.term += 1;
                let vote = Vote::new(model.term, 1);
                model.vote = Some(vote);
                log.save_vote(&vote).await.expect("saves");
            }
            Op::Committed => {
                model.committed = model.last();
                log.save_committed(model.committed).await.expect("saves");
            }
            Op::Restart => {
                drop(log);
                log = open(dir.path(), 1);
            }
        }
        agree(&mut log, &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_map_that_survives_restarts(ops in prop::collection::vec(op(), 1..30)) {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(run(ops));
    }
}

#[tokio::test]
async fn groups_of_one_database_do_not_see_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let writer = LogWriter::open(dir.path()).expect("opens");
    let mut one = LogStore::open(writer.clone(), 1).expect("opens");
    let mut two = LogStore::open(writer, 2).expect("opens");
    append(&mut one, vec![entry(1, 0), entry(1, 1)]).await.expect("appends");
    append(&mut two, vec![entry(5, 0)]).await.expect("appends");
    two.purge(log_id(5, 1, 0)).await.expect("purges");
    one.truncate_after(Some(log_id(1, 1, 0))).await.expect("truncates");
    assert_eq!(one.last_log_id(), Some(log_id(1, 1, 0)));
    assert_eq!(two.last_log_id(), Some(log_id(5, 1, 0)));
    assert_eq!(one.try_get_log_entries(0..).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn a_replication_batch_ends_at_its_size_and_is_never_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    let large = |index| LogEntry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Command(vec![7; 700 << 10].into())),
    };
    append(&mut log, (0..4).map(large).collect()).await.expect("appends");
    for _ in 0..2 {
        assert_eq!(log.limited_get_log_entries(1, 4).await.expect("reads").len(), 1);
        drop(log);
        log = open(dir.path(), 1);
    }
}

#[tokio::test]
async fn a_long_range_is_read_in_pieces_and_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    let large = |index| LogEntry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Command(vec![7; 1 << 20].into())),
    };
    for index in 0..12 {
        append(&mut log, vec![large(index)]).await.expect("appends");
    }
    let read: Vec<_> = log.entries_stream(1..11).await.try_collect().await.expect("reads");
    let indexes: Vec<_> = read.iter().map(|entry| entry.log_id.index).collect();
    assert_eq!(indexes, (1..11).collect::<Vec<_>>());
}

/// The newest file of the write-ahead log.
fn wal(dir: &Path) -> std::path::PathBuf {
    let files =
        std::fs::read_dir(dir.join("log")).expect("lists").map(|f| f.expect("reads").path());
    let mut files: Vec<_> = files
        .filter(|f| f.extension().is_some_and(|e| e == "log"))
        .filter(|f| f.metadata().expect("reads").len() > 0)
        .collect();
    files.sort();
    files.pop().expect("a log file")
}

/// What is left of the directory when the process is killed now, without closing anything.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(to.path().join("log")).expect("makes");
    for file in std::fs::read_dir(from.join("log")).expect("lists") {
        let file = file.expect("reads");
        std::fs::copy(file.path(), to.path().join("log").join(file.file_name())).expect("copies");
    }
    std::fs::copy(from.join("high-water"), to.path().join("high-water")).expect("copies");
    to
}

#[tokio::test]
async fn a_log_that_has_lost_synced_entries_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    append(&mut log, (0..20).map(|i| entry(1, i)).collect()).await.expect("appends");
    append(&mut log, vec![entry(1, 20)]).await.expect("appends");

    let whole = copy(dir.path());
    assert_eq!(open(whole.path(), 1).last_log_id(), Some(log_id(1, 1, 20)));

    let cut = copy(dir.path());
    let wal = wal(cut.path());
    let bytes = std::fs::read(&wal).expect("reads");
    std::fs::write(&wal, &bytes[..bytes.len() - 5]).expect("writes");
    let writer = LogWriter::open(cut.path()).expect("RocksDB itself sees nothing wrong");
    let error = LogStore::open(writer, 1).err().expect("is refused");
    assert!(error.to_string().contains("replace the node"), "{error}");
}

#[tokio::test]
async fn a_log_that_has_lost_its_vote_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    append(&mut log, vec![entry(1, 0)]).await.expect("appends");
    log.save_vote(&Vote::new(7, 2)).await.expect("saves");
    let cut = copy(dir.path());
    let wal = wal(cut.path());
    let bytes = std::fs::read(&wal).expect("reads");
    std::fs::write(&wal, &bytes[..bytes.len() - 3]).expect("writes");
    let writer = LogWriter::open(cut.path()).expect("opens");
    assert!(LogStore::open(writer, 1).is_err());
}

#[tokio::test]
async fn an_unsynced_torn_tail_is_dropped_without_complaint() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    append(&mut log, vec![entry(1, 0)]).await.expect("appends");
    let synced = copy(dir.path());
    // written behind the last sync, and torn by the power cut
    let wal = wal(synced.path());
    let mut bytes = std::fs::read(&wal).expect("reads");
    bytes.extend_from_slice(&[0x5a; 100]);
    std::fs::write(&wal, bytes).expect("writes");
    assert_eq!(open(synced.path(), 1).last_log_id(), Some(log_id(1, 1, 0)));
}

#[tokio::test]
async fn truncating_behind_the_end_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    append(&mut log, vec![entry(1, 0)]).await.expect("appends");
    log.truncate_after(Some(log_id(1, 1, 9))).await.expect("truncates");
    assert_eq!(log.last_log_id(), Some(log_id(1, 1, 0)));
    let crashed = copy(dir.path());
    assert_eq!(open(crashed.path(), 1).last_log_id(), Some(log_id(1, 1, 0)));
}

#[tokio::test]
async fn a_truncated_log_is_not_taken_for_a_lost_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path(), 1);
    append(&mut log, (0..9).map(|i| entry(1, i)).collect()).await.expect("appends");
    log.truncate_after(Some(log_id(1, 1, 3))).await.expect("truncates");
    let crashed = copy(dir.path());
    assert_eq!(open(crashed.path(), 1).last_log_id(), Some(log_id(1, 1, 3)));
}

/// As on a node that has started with a group, is relieved of it, and is given it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_deleted_on_purpose_is_not_taken_for_a_lost_one() {
    let dir = tempfile::tempdir().expect("a directory");
    append(&mut open(dir.path(), 1), vec![entry(1, 0), entry(1, 1)]).await.expect("appends");

    let writer = LogWriter::open(dir.path()).expect("opens");
    let log = LogStore::open(writer.clone(), 1).expect("opens");
    log.delete_entries().await.expect("deletes");
    drop(log);
    let mut log = LogStore::open(writer, 1).expect("opens in the same process");
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, None);
    append(&mut log, vec![entry(2, 0)]).await.expect("appends");
    drop(log);
    let mut log = open(dir.path(), 1);
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, Some(log_id(2, 1, 0)));
}

#[tokio::test]
async fn a_deleted_log_opens_empty_with_its_vote_at_once_and_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let vote = Vote::new(4, 2);
    let mut log = open(dir.path(), 1);
    log.save_vote(&vote).await.expect("saves");
    append(&mut log, (0..9).map(|i| entry(1, i)).collect()).await.expect("appends");
    log.purge(log_id(1, 1, 2)).await.expect("purges");
    drop(log);

    // the marks of this process are those of the log that is deleted
    let log = open(dir.path(), 1);
    log.delete_entries().await.expect("deletes");
    let check = |log: &mut LogStore| {
        assert_eq!((log.last_log_id(), log.last_purged()), (None, None));
        assert_eq!(log.state.lock().vote, Some(vote));
    };
    let mut again = LogStore::open(log.writer.clone(), 1).expect("opens");
    check(&mut again);
    let crashed = copy(dir.path());
    check(&mut open(crashed.path(), 1));
    append(&mut again, vec![entry(5, 0)]).await.expect("appends");
    assert_eq!(open(copy(dir.path()).path(), 1).last_log_id(), Some(log_id(5, 1, 0)));
}
