//! Imports of users from a CSV file: a job is made, the file is uploaded to a link, the job is started, and
//! some node of the cluster works through it.
//!
//! Operations stand in files of their own name. Beside them: what a job is ([`job`]), the link and what
//! comes in through it ([`link`], [`upload`]), how a file is read ([`csv`], [`row`]), the work itself
//! ([`batch`], [`worker`]), and what is told of rows that were not imported ([`report`]).
//!
//! What has been read of the file, the users that came of it and the counts change in one transaction, on
//! the version of the job. So no user is imported twice or passed over, whoever dies in between; the lease
//! of a worker only keeps two nodes from doing the same work.
//!
//! Source: developer guide, "Importing users into user pools from a CSV file".

mod active;
mod batch;
mod create_user_import_job;
pub mod csv;
mod describe_user_import_job;
mod finish;
mod get_csv_header;
mod job;
pub mod link;
mod list_user_import_jobs;
pub mod report;
mod row;
mod source;
mod start_user_import_job;
mod stop_user_import_job;
pub mod upload;
pub mod worker;

pub use active::refuse_while_active;
pub use create_user_import_job::create_user_import_job;
pub use describe_user_import_job::describe_user_import_job;
pub use get_csv_header::get_csv_header;
pub use list_user_import_jobs::list_user_import_jobs;
pub use start_user_import_job::start_user_import_job;
pub use stop_user_import_job::stop_user_import_job;

/// Jobs of one pool, at most. AWS: "Quotas in Amazon Cognito".
const JOBS_PER_POOL_MAX: u32 = 1_000;
/// A job that has not been started for so long has expired. AWS says 24 to 48 hours.
const START_WITHIN_MS: i64 = 24 * 60 * 60 * 1_000;
/// What was uploaded is gone after this time, whatever became of the job.
const UPLOAD_KEPT_MS: i64 = 3 * START_WITHIN_MS;
/// How long the report of a job can be read after a row was written down.
const REPORT_KEPT_MS: i64 = 30 * START_WITHIN_MS;
/// Rows of which a report speaks, at most. The counts are of all.
const REPORTED_ROWS_MAX: u64 = 10_000;

#[cfg(test)]
mod tests;
