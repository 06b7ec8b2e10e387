//! The work on jobs. Every node looks for jobs in the directory; a job is worked on by the node that has its
//! lease, one batch after another. When a node is gone, its lease ends, and another goes on where the last
//! batch was committed.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use conclave_api::{ApiError, ExceptionName};
use conclave_store::{
    DIRECTORY_SCOPE, keys,
    records::{ActiveImportRecord, UserImportJobRecord},
};
use prost::Message;
use tokio::time::Instant;

use super::{
    active,
    batch::{Claim, ImportRows, LINES_MAX, Progress},
    finish::{End, Finish},
    report,
    source::Source,
};
use crate::{
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Rows of one job that are worked on in a second, at most: sign-ins go through the same log.
const ROWS_PER_SECOND: u32 = 5_000;
/// Jobs of the directory that are looked at together.
const JOBS_AT_ONCE: u32 = 100;
/// Between two tries while the store does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// Tries before another node may have the job.
const TRIES_MAX: u32 = 10;

/// Who works: random, made when a process starts.
pub type WorkerId = [u8; 16];

/// How the work on a job ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The job has ended.
    Over,
    /// Another node has it, or will.
    Left,
}

/// Looks for jobs once, and works on those that nobody works on, until they have ended. Dropped at any time,
/// it leaves nothing undone that another node does not do. Answers how many jobs it has ended.
///
/// # Errors
/// The directory's; what a single pool answers stops nothing.
pub async fn look(world: &World, worker: &WorkerId) -> Result<u64, ApiError> {
    let mut after = Vec::new();
    let mut ended = 0;
    loop {
        let page = transact(world, &Jobs { after }).await?;
        for (key, active) in &page.jobs {
            match work(world, worker, key, active, page.now_ms).await {
                Ok(Ended::Over) => ended += 1,
                Ok(Ended::Left) => {}
                Err(error) => tracing::warn!(
                    code = error.code.as_str(),
                    pool_id = active.pool_id,
                    job_id = active.job_id,
                    "a user import could not be worked on"
                ),
            }
        }
        match page.next {
            Some(next) => after = next.to_vec(),
            None => return Ok(ended),
        }
    }
}

async fn work(
    world: &World,
    worker: &WorkerId,
    key: &[u8],
    active: &ActiveImportRecord,
    now_ms: i64,
) -> Result<Ended, ApiError> {
    let run = Run { world, worker, pool_id: &active.pool_id, job_id: &active.job_id };
    let ended = match run.run().await {
        Err(error) if error.code == ExceptionName::ResourceNotFoundException => Ended::Over,
        ended => ended?,
    };
    if ended == Ended::Over || active::may_be_taken_over(world, active, now_ms).await? {
        active::leave(world, key, active).await?;
    }
    Ok(ended)
}

struct Run<'a> {
    world: &'a World,
    worker: &'a WorkerId,
    pool_id: &'a str,
    job_id: &'a str,
}

impl Run<'_> {
    async fn run(&self) -> Result<Ended, ApiError> {
        let (pool_id, job_id, worker) = (self.pool_id, self.job_id, &self.worker[..]);
        let claimed = transact(self.world, &Claim { pool_id, job_id, worker }).await?;
        let mut job = match claimed {
            Progress::On { job, .. } => job,
            Progress::Stopping => return self.end(End::Stopped).await,
            Progress::NotOurs | Progress::BadHeader(_) => return Ok(Ended::Left),
        };
        let Some(file) = job.file.clone() else {
            return self.end(End::Failed("The CSV file is not there.".to_owned())).await;
        };
        tracing::info!(pool_id, job_id, next_line = job.next_line, "works on a user import");
        let bytes = file.bytes;
        let mut source = Source::new(self.world, pool_id, file);
        let (began, mut rows) = (Instant::now(), 0);
        while job.next_byte < bytes {
            source.seek(job.next_byte, job.next_line.max(1));
            let before = job.next_line;
            match self.batch(&mut source, job.next_byte).await? {
                Some(Progress::On { job: next, told }) => {
                    report::log(pool_id, job_id, &told);
                    job = next;
                }
                Some(Progress::Stopping) => return self.end(End::Stopped).await,
                Some(Progress::NotOurs) => return Ok(Ended::Left),
                Some(Progress::BadHeader(why)) => return self.end(End::Failed(why)).await,
                None => {
                    let why = "The CSV file is not there any more.".to_owned();
                    return self.end(End::Failed(why)).await;
                }
            }
            rows += job.next_line.saturating_sub(before);
            let due = Duration::from_millis(rows * 1_000 / u64::from(ROWS_PER_SECOND));
            tokio::time::sleep_until(began + due).await;
        }
        self.end(End::Done).await
    }

    /// One batch. What the store does not answer is tried again; what is wrong with a row must not hold up the
    /// others, and fails that row. `None` when the file is gone.
    async fn batch(
        &self,
        source: &mut Source<'_>,
        from_byte: u64,
    ) -> Result<Option<Progress>, ApiError> {
        let (mut tries, mut max, mut give_up) = (0, LINES_MAX, false);
        loop {
            tries += 1;
            let done = async {
                let Some(lines) = source.lines(max).await? else { return Ok(None) };
                let import = ImportRows {
                    pool_id: self.pool_id,
                    job_id: self.job_id,
                    worker: &self.worker[..],
                    from_byte,
                    lines: &lines,
                    give_up,
                };
                transact(self.world, &import).await.map(Some)
            };
            let error: ApiError = match done.await {
                Ok(progress) => return Ok(progress),
                Err(error) => error,
            };
            match error.code {
                ExceptionName::ServiceUnavailable | ExceptionName::TooManyRequestsException
                    if tries < TRIES_MAX =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                ExceptionName::InternalErrorException
                | ExceptionName::InvalidParameterException
                    if !give_up =>
                {
                    // the header is a line of its own, which does not fail in this way
                    (give_up, max) = (max == 1, 1);
                }
                _ => return Err(error),
            }
        }
    }

    async fn end(&self, end: End) -> Result<Ended, ApiError> {
        let finish = Finish { pool_id: self.pool_id, job_id: self.job_id, end };
        let UserImportJobRecord { imported, skipped, failed, completion_message, .. } =
            transact(self.world, &finish).await?;
        tracing::info!(
            pool_id = self.pool_id,
            job_id = self.job_id,
            imported,
            skipped,
            failed,
            completion_message,
            "a user import has ended"
        );
        Ok(Ended::Over)
    }
}

struct ActiveJobs {
    jobs: Vec<(Bytes, ActiveImportRecord)>,
    next: Option<Bytes>,
    now_ms: i64,
}

struct Jobs {
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for Jobs {
    type Output = ActiveJobs;

    fn scope(&self) -> &str {
        DIRECTORY_SCOPE
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<ActiveJobs> {
        let query = Query::new().scan(keys::active_imports(), self.after.clone(), JOBS_AT_ONCE);
        let mut jobs = Vec::new();
        let mut next = None;
        for page in tx.load(query).await? {
            for (key, value) in page.rows {
                let record = ActiveImportRecord::decode(value)
                    .map_err(|_| errors::internal("a stored record cannot be decoded"))?;
                jobs.push((key, record));
            }
            next = page.next;
        }
        Ok(ActiveJobs { jobs, next, now_ms: tx.now_ms() }.into())
    }
}
