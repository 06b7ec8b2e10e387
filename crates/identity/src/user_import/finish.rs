//! The end of a job: its state, and what goes with it.

use async_trait::async_trait;
use conclave_store::{
    keys,
    records::{UserImportJobRecord, UserImportsRecord, user_import_job_record::State},
};

use super::{job, upload};
use crate::tx::{Decision, Failure, Query, Transaction, Tx};

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The whole file has been worked on.
    Done,
    /// It was asked to.
    Stopped,
    /// It cannot go on.
    Failed(String),
}

impl End {
    /// What becomes of the record.
    fn apply(&self, job: &mut UserImportJobRecord) {
        let (state, message) = match self {
            // the text is Cognito's, which does not say how many are too many: here more than half
            Self::Done if job.skipped + job.failed > job.imported => (
                State::Failed,
                "Too many users have failed or been skipped during the import.".to_owned(),
            ),
            Self::Done => (State::Succeeded, "Import Job Completed Successfully.".to_owned()),
            // Cognito's text: developer guide, "Stopping a user import job"
            Self::Stopped => {
                (State::Stopped, "The Import Job was stopped by the developer.".to_owned())
            }
            Self::Failed(why) => (State::Failed, why.clone()),
        };
        job.set_state(state);
        job.completion_message = message;
    }
}

/// Ends a job that is active, and deletes its file. Answers it as it is then.
pub(super) struct Finish<'a> {
    pub pool_id: &'a str,
    pub job_id: &'a str,
    pub end: End,
}

#[async_trait]
impl Transaction for Finish<'_> {
    type Output = UserImportJobRecord;

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<UserImportJobRecord> {
        tx.load(job::query(Query::new().get(keys::user_imports()), self.job_id)).await?;
        let mut job = job::find(tx, self.job_id)?.record;
        if !job::is_active(&job) {
            return Ok(job.into());
        }
        if job.state() == State::Stopping && self.end == End::Done {
            // the file was worked on to its end before it was asked to stop
            job.set_state(State::InProgress);
        }
        self.end.apply(&mut job);
        write(tx, &mut job)?;
        Ok(job.into())
    }
}

fn write(tx: &mut Tx<'_>, job: &mut UserImportJobRecord) -> Result<(), Failure> {
    job.completed_ms = tx.now_ms();
    job.worker.clear();
    job.worker_until_ms = 0;
    if let Some(file) = &job.file {
        upload::delete(tx, &file.upload_id);
    }
    let key = keys::user_imports();
    if let Some(imports) = tx.get::<UserImportsRecord>(&key)?
        && imports.record.active_job_id == job.job_id
    {
        tx.put(key, &UserImportsRecord { active_job_id: String::new(), ..imports.record });
    }
    tx.put(keys::user_import_job(&job.job_id), job);
    Ok(())
}
