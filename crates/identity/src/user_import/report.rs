//! What became of rows that were not imported, by line and with no data of users, as Cognito writes it to
//! CloudWatch Logs. The report of a job can be read through its link; what happened to rows also goes to the
//! log of the node that worked on them.

use std::fmt::Write as _;

use async_trait::async_trait;
use conclave_api::ApiError;
use conclave_store::{
    keys,
    records::{UserImportJobRecord, UserImportOutcome, UserImportReportRecord},
};
use prost::Message;

use super::{
    REPORT_KEPT_MS, job,
    link::{self, Link},
    upload::LinkError,
};
use crate::{
    errors,
    tx::{Decision, Query, Transaction, Tx, transact},
    world::World,
};

/// Rows of the store in one read: each speaks of a batch.
const ROWS_READ_MAX: u32 = 500;

/// Writes outcomes down under the job, in the order of lines.
pub(super) fn write(tx: &mut Tx<'_>, job: &UserImportJobRecord, outcomes: &[UserImportOutcome]) {
    let Some(first) = outcomes.first() else { return };
    let key = keys::user_import_report(&job.job_id, first.line);
    let record = UserImportReportRecord { outcomes: outcomes.to_vec() };
    tx.put_expiring(key, &record, tx.now_ms() + REPORT_KEPT_MS);
}

/// Tells the log what became of rows, once that is certain.
pub(super) fn log(pool_id: &str, job_id: &str, outcomes: &[UserImportOutcome]) {
    for UserImportOutcome { line, skipped, reason } in outcomes {
        let outcome = if *skipped { "SKIPPED" } else { "FAILED" };
        tracing::info!(pool_id, job_id, line, outcome, reason, "row of a user import");
    }
}

/// The report of the job behind a link, as text: a line for each row that was skipped or failed, and one
/// more when there are rows that it does not speak of.
///
/// # Errors
/// [`LinkError`]
pub async fn read(world: &World, link: &Link) -> Result<String, LinkError> {
    if !link::is_authentic(world, link) {
        return Err(LinkError::BadSignature);
    }
    let mut text = String::new();
    let mut after = Vec::new();
    loop {
        let page = transact(world, &ReadPage { link, after }).await.map_err(LinkError::from)?;
        if page.has_expired {
            return Err(LinkError::Expired);
        }
        for outcome in page.outcomes {
            let word = if outcome.skipped { "SKIPPED" } else { "FAILED" };
            // writing to a text does not fail
            let _ = writeln!(text, "[{word}] Line Number {} - {}", outcome.line, outcome.reason);
        }
        match page.next {
            Some(next) => after = next,
            None => {
                let unsaid = (page.skipped + page.failed).saturating_sub(page.reported);
                if unsaid > 0 {
                    let _ = writeln!(text, "{unsaid} more rows were skipped or failed.");
                }
                return Ok(text);
            }
        }
    }
}

struct Page {
    has_expired: bool,
    outcomes: Vec<UserImportOutcome>,
    next: Option<Vec<u8>>,
    skipped: u64,
    failed: u64,
    reported: u64,
}

struct ReadPage<'a> {
    link: &'a Link,
    after: Vec<u8>,
}

#[async_trait]
impl Transaction for ReadPage<'_> {
    type Output = Page;

    fn scope(&self) -> &str {
        &self.link.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<Page> {
        let job_id = &self.link.job_id;
        let prefix = keys::user_import_reports(job_id);
        let query = Query::new().scan(prefix, self.after.clone(), ROWS_READ_MAX);
        let pages = tx.load(job::query(query, job_id)).await?;
        let job = job::find(tx, job_id)?.record;
        let mut page = Page {
            has_expired: !link::is_good(self.link, tx.now_ms()),
            outcomes: Vec::new(),
            next: None,
            skipped: job.skipped,
            failed: job.failed,
            reported: job.reported,
        };
        for rows in pages {
            for (_, value) in rows.rows {
                let record = UserImportReportRecord::decode(value).map_err(|_| undecodable())?;
                page.outcomes.extend(record.outcomes);
            }
            page.next = rows.next.map(|key| key.to_vec());
        }
        Ok(page.into())
    }
}

fn undecodable() -> ApiError {
    errors::internal("a stored record cannot be decoded")
}
