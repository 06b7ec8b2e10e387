//! A batch of rows: the users that come of it, the counts and the place to go on from, in one transaction.

use std::collections::BTreeSet;

use async_trait::async_trait;
use conclave_crypto::ids;
use conclave_store::{
    keys,
    records::{UserImportJobRecord, UserImportOutcome, UserRecord, user_import_job_record::State},
};
use prost::Message as _;

use super::{
    REPORTED_ROWS_MAX, csv, job, report,
    row::{self, NewUser},
    source::Line,
};
use crate::{
    config::PoolConfig,
    tx::{Decision, Failure, Query, Transaction, Tx},
    users::{aliases, credentials, index, lookup, username},
};

/// Rows of a batch that are looked at, at most; how many fit into a commit depends on the pool.
pub(super) const LINES_MAX: usize = 64;
/// How long a worker is left alone with a job after it was heard of, in milliseconds.
pub(super) const LEASE_MS: i64 = 10_000;
/// Of the limits of one commit and one read (`conclave_store::limits`), what is left to users.
const CHECKS_MAX: usize = 110;
const WRITES_MAX: usize = 240;
const GETS_MAX: usize = 120;
const BYTES_MAX: usize = 512 << 10;

/// What a batch came to.
pub(super) enum Progress {
    /// The job goes on from here.
    On { job: Box<UserImportJobRecord>, told: Vec<UserImportOutcome> },
    /// It has been asked to stop.
    Stopping,
    /// Somebody else works on it, or it has ended: the lines were another place's.
    NotOurs,
    /// The first line of the file is no header.
    BadHeader(String),
}

/// Takes a job, or keeps it.
pub(super) struct Claim<'a> {
    pub pool_id: &'a str,
    pub job_id: &'a str,
    pub worker: &'a [u8],
}

#[async_trait]
impl Transaction for Claim<'_> {
    type Output = Progress;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Progress> {
        tx.load(job::query(Query::new(), self.job_id)).await?;
        let mut job = job::find(tx, self.job_id)?.record;
        if let Some(other) = refuse(&job, self.worker, tx.now_ms()) {
            return Ok(other.into());
        }
        hold(&mut job, self.worker, tx.now_ms());
        tx.put(keys::user_import_job(self.job_id), &job);
        Ok(Progress::On { job: Box::new(job), told: Vec::new() }.into())
    }
}

fn refuse(job: &UserImportJobRecord, worker: &[u8], now_ms: i64) -> Option<Progress> {
    match job.state() {
        _ if job.worker != worker && job.worker_until_ms > now_ms => Some(Progress::NotOurs),
        State::Pending | State::InProgress => None,
        State::Stopping => Some(Progress::Stopping),
        _ => Some(Progress::NotOurs),
    }
}

fn hold(job: &mut UserImportJobRecord, worker: &[u8], now_ms: i64) {
    job.set_state(State::InProgress);
    job.worker = worker.to_vec().into();
    job.worker_until_ms = now_ms + LEASE_MS;
}

/// Works on lines of the file, as many of them as fit into one commit.
pub(super) struct ImportRows<'a> {
    pub pool_id: &'a str,
    pub job_id: &'a str,
    pub worker: &'a [u8],
    /// Where `lines` begin.
    pub from_byte: u64,
    pub lines: &'a [Line],
    /// The first line is not looked at, and counts as failed: nothing else has helped.
    pub give_up: bool,
}

#[async_trait]
impl Transaction for ImportRows<'_> {
    type Output = Progress;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Progress> {
        tx.load(job::query(Query::new(), self.job_id)).await?;
        let mut job = job::find(tx, self.job_id)?.record;
        if let Some(other) = refuse(&job, self.worker, tx.now_ms()) {
            return Ok(other.into());
        }
        if job.next_byte != self.from_byte {
            return Ok(Progress::NotOurs.into());
        }
        let pool = tx.pool()?;
        let mut lines = self.lines;
        if job.columns.is_empty()
            && let Some((first, rest)) = lines.split_first()
        {
            let has_algorithm = job.password_hashing_algorithm.is_some();
            match csv::columns(&pool.record, &first.text, has_algorithm) {
                Ok(columns) => job.columns = columns,
                Err(why) => return Ok(Progress::BadHeader(why).into()),
            }
            pass(&mut job, first);
            lines = rest;
        }
        let told = if self.give_up {
            lines.first().map(|line| give_up(&mut job, line)).into_iter().collect()
        } else {
            import(tx, &pool, &mut job, lines).await?
        };
        // a pool that changes meanwhile may have other rules
        tx.rely_on_config();
        let room = REPORTED_ROWS_MAX.saturating_sub(job.reported);
        let reported = told.get(..told.len().min(room as usize)).unwrap_or_default();
        report::write(tx, &job, reported);
        job.reported += reported.len() as u64;
        let told = reported.to_vec();
        hold(&mut job, self.worker, tx.now_ms());
        tx.put(keys::user_import_job(self.job_id), &job);
        Ok(Progress::On { job: Box::new(job), told }.into())
    }
}

/// The line has been worked on.
fn pass(job: &mut UserImportJobRecord, line: &Line) {
    job.next_byte = line.next_byte;
    job.next_line = line.number + 1;
}

fn give_up(job: &mut UserImportJobRecord, line: &Line) -> UserImportOutcome {
    pass(job, line);
    job.failed += 1;
    outcome(line, false, "The user couldn't be imported due to an internal error.".to_owned())
}

fn outcome(line: &Line, skipped: bool, reason: String) -> UserImportOutcome {
    UserImportOutcome { line: line.number, skipped, reason }
}

/// What a user takes of the limits of a commit.
#[derive(Default)]
struct Load {
    checks: usize,
    writes: usize,
    gets: usize,
    bytes: usize,
}

impl Load {
    /// Whether another user fits; the first one always does.
    fn take(&mut self, pool: &PoolConfig, new: &NewUser, names: usize) -> bool {
        let is_first = self.writes == 0;
        let writes = index::rows_of(pool, &new.user) + 2;
        let bytes = 2 * new.user.encoded_len() + 1_024;
        self.checks += 1 + names;
        self.writes += writes;
        self.gets += names;
        self.bytes += bytes;
        let fits = self.checks <= CHECKS_MAX
            && self.writes <= WRITES_MAX
            && self.gets <= GETS_MAX
            && self.bytes <= BYTES_MAX;
        is_first || fits
    }
}

/// Makes users of lines, until no more fit, or one has a name that an earlier one of the batch has got: that
/// one is looked at when the earlier one is there. Answers what became of the others.
async fn import(
    tx: &mut Tx<'_>,
    pool: &PoolConfig,
    job: &mut UserImportJobRecord,
    lines: &[Line],
) -> Result<Vec<UserImportOutcome>, Failure> {
    let world = tx.world();
    let mut load = Load::default();
    let mut claimed: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut rows = Vec::new();
    for line in lines {
        if line.text.trim().is_empty() {
            rows.push((line, None));
            continue;
        }
        let read = row::read(pool, job, &line.text, &ids::uuid(&*world.entropy));
        if let Ok(new) = &read {
            let names = names(pool, &new.user);
            if names.iter().any(|name| claimed.contains(name)) || !load.take(pool, new, names.len())
            {
                break;
            }
            claimed.extend(names);
        }
        rows.push((line, Some(read)));
    }
    if !claimed.is_empty() {
        tx.load(claimed.into_iter().fold(Query::new(), Query::get)).await?;
    }
    let mut told = Vec::new();
    let mut imported = 0;
    for (line, read) in rows {
        pass(job, line);
        let Some(read) = read else { continue };
        match read {
            Ok(new) => match create(tx, pool, new)? {
                None => imported += 1,
                Some((skipped, reason)) => told.push(outcome(line, skipped, reason)),
            },
            Err(reason) => told.push(outcome(line, false, reason)),
        }
    }
    let skipped = told.iter().filter(|outcome| outcome.skipped).count() as u64;
    job.imported += imported;
    job.skipped += skipped;
    job.failed += told.len() as u64 - skipped;
    if imported > 0 {
        tx.add(keys::user_count(), i64::try_from(imported).unwrap_or(i64::MAX), None, None);
    }
    Ok(told)
}

/// The rows that decide whether a new user's names are free.
fn names(pool: &PoolConfig, user: &UserRecord) -> Vec<Vec<u8>> {
    let folded = lookup::folded(pool, &user.username);
    let mut names = vec![keys::username(&folded)];
    if pool.signs_in_by("preferred_username") {
        names.push(keys::alias(keys::IndexedAttribute::PreferredUsername, &folded));
    }
    for alias in aliases::held(pool, user) {
        names.push(alias.key());
        if alias.indexed == keys::IndexedAttribute::PreferredUsername {
            names.push(keys::username(&alias.folded));
        }
    }
    names
}

/// Makes the user, or answers whether it is skipped, and why.
fn create(
    tx: &mut Tx<'_>,
    pool: &PoolConfig,
    new: NewUser,
) -> Result<Option<(bool, String)>, Failure> {
    let NewUser { mut user, password_hash } = new;
    (user.created_ms, user.modified_ms) = (tx.now_ms(), tx.now_ms());
    // the text is Cognito's
    let exists = || Some((true, "The user already exists.".to_owned()));
    if username::is_taken(tx, pool, &user) {
        return Ok(exists());
    }
    if let Some(taken) = aliases::taken_names(tx, pool, &user).first() {
        // where addresses are names, the address is the user
        let is_name = !pool.record.username_attributes.is_empty();
        return Ok(if is_name {
            exists()
        } else {
            Some((false, format!("Another user has the {} of the row.", taken.attribute)))
        });
    }
    if let Some(hash) = &password_hash {
        credentials::set_imported_hash(tx, &user, hash)?;
    }
    index::write_user(tx, None, &user)?;
    Ok(None)
}
