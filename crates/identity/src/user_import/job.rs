//! A job: its record, its states, and how it is described.

use conclave_api::{ApiError, ExceptionName, types::UserImportJobType};
use conclave_crypto::{entropy, entropy::Entropy};
use conclave_store::{
    keys,
    records::{UserImportJobRecord, user_import_job_record::State},
};

use super::{START_WITHIN_MS, link};
use crate::{
    tx::{Query, Stored, Tx},
    world::World,
};

/// What ids are made of, in the order of keys.
const ID_CHARACTERS: [u8; 62] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest number that seven of them can write, plus one.
const ID_TIMES: i64 = 62_i64.pow(7);

/// A new id: `import-` and ten characters, as Cognito's have. The first seven are the time, counted back
/// from the end, so that the jobs of a pool lie in its store newest first.
pub(super) fn new_id(now_ms: i64, randomness: &dyn Entropy) -> String {
    let mut rest = (ID_TIMES - 1).saturating_sub(now_ms).rem_euclid(ID_TIMES);
    let mut characters = Vec::with_capacity(10);
    for _ in 0..7 {
        characters.push(character(rest % 62));
        rest /= 62;
    }
    characters.reverse();
    for _ in 0..3 {
        characters.push(character(i64::from(entropy::below(randomness, 62))));
    }
    format!("import-{}", String::from_utf8_lossy(&characters))
}

fn character(number: i64) -> u8 {
    let number = usize::try_from(number).unwrap_or(0);
    ID_CHARACTERS.get(number).copied().unwrap_or(b'0')
}

/// Adds a job's row to `query`.
#[must_use]
pub(super) fn query(query: Query, job_id: &str) -> Query {
    query.get(keys::user_import_job(job_id))
}

/// The job. The row of [`query`] must have been loaded.
///
/// # Errors
/// ResourceNotFoundException.
pub(super) fn find(tx: &Tx<'_>, job_id: &str) -> Result<Stored<UserImportJobRecord>, ApiError> {
    tx.get(&keys::user_import_job(job_id))?.ok_or_else(|| not_found(job_id))
}

/// There is no such job in the pool.
pub(super) fn not_found(job_id: &str) -> ApiError {
    ApiError::resource_not_found(format!("User import job {job_id} does not exist."))
}

/// PreconditionNotMetException. Cognito's texts are not documented; these are ours.
pub(super) fn precondition(message: &'static str) -> ApiError {
    ExceptionName::PreconditionNotMetException.because(message)
}

/// Whether a job that was never started can no longer be.
pub(super) fn has_expired(job: &UserImportJobRecord, now_ms: i64) -> bool {
    job.state() == State::Created && now_ms - job.created_ms >= START_WITHIN_MS
}

/// Whether some node works on the job, or is to.
pub(super) fn is_active(job: &UserImportJobRecord) -> bool {
    matches!(job.state(), State::Pending | State::InProgress | State::Stopping)
}

/// Whether nothing will happen to the job any more.
pub(super) fn has_ended(job: &UserImportJobRecord) -> bool {
    matches!(job.state(), State::Stopped | State::Failed | State::Succeeded)
}

/// The job as it is answered, with a link that is good for a while from now.
pub(super) fn describe(
    world: &World,
    pool_id: &str,
    job: &UserImportJobRecord,
    now_ms: i64,
) -> UserImportJobType {
    let expired = has_expired(job, now_ms);
    let status = match job.state() {
        _ if expired => "Expired",
        State::Created => "Created",
        State::Pending => "Pending",
        State::InProgress => "InProgress",
        State::Stopping => "Stopping",
        State::Stopped => "Stopped",
        State::Succeeded => "Succeeded",
        State::Failed | State::Unspecified => "Failed",
    };
    let completed_ms = if expired { job.created_ms + START_WITHIN_MS } else { job.completed_ms };
    let message =
        if expired { "The user import job has expired." } else { &job.completion_message };
    let count = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    UserImportJobType {
        job_name: Some(job.name.clone()),
        job_id: Some(job.job_id.clone()),
        user_pool_id: Some(pool_id.to_owned()),
        pre_signed_url: Some(link::make(world, pool_id, &job.job_id, now_ms)),
        creation_date: Some(job.created_ms),
        start_date: (job.started_ms != 0).then_some(job.started_ms),
        completion_date: (completed_ms != 0).then_some(completed_ms),
        status: Some(status.to_owned()),
        cloud_watch_logs_role_arn: Some(job.log_role_arn.clone()),
        imported_users: count(job.imported),
        skipped_users: count(job.skipped),
        failed_users: count(job.failed),
        completion_message: (!message.is_empty()).then(|| message.to_owned()),
        password_hashing_algorithm: job.password_hashing_algorithm.clone(),
    }
}

#[cfg(test)]
mod tests {
    use conclave_crypto::testing::SeededEntropy;

    use super::*;

    #[test]
    fn later_ids_come_first() {
        let entropy = SeededEntropy::new(3);
        let now_ms = 1_767_225_600_000;
        let ids = [now_ms + 1_000_000, now_ms + 1, now_ms].map(|at| new_id(at, &entropy));
        assert!(ids.is_sorted());
        for id in ids {
            assert!(id.len() == 17 && id[7..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
