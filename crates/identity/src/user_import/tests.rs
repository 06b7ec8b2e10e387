//! Whole jobs: from the header to the report.

use std::time::Duration;

use bytes::Bytes;
use conclave_api::{ApiError, types};
use conclave_store::{Store as _, proto};
use futures::stream;

use super::*;
use crate::{
    pools::{delete_user_pool, update_user_pool},
    testing::{START_MS, signed_call, signed_call_of},
    user_import::{
        link::Link,
        upload::LinkError,
        worker::{WorkerId, look},
    },
    users::fixtures::{
        PASSWORD, TestPool, alias_pool, email_name_pool, plain_pool, pool, refusal, strings,
        verifying, verifying_pool,
    },
};

const WORKER: WorkerId = [1; 16];
const OTHER_WORKER: WorkerId = [2; 16];
const BCRYPT: &str = "$2b$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW";
const BCRYPT_PASSWORD: &str = "correct horse – battery";

async fn create_with(
    pool: &TestPool,
    algorithm: Option<&str>,
) -> Result<types::UserImportJobType, ApiError> {
    let request = types::CreateUserImportJobRequest {
        job_name: Some("people".to_owned()),
        user_pool_id: Some(pool.id.clone()),
        cloud_watch_logs_role_arn: Some("arn:aws:iam::111122223333:role/logs".to_owned()),
        password_hashing_algorithm: algorithm.map(str::to_owned),
    };
    let response = create_user_import_job(pool, &signed_call(), request).await?;
    Ok(response.user_import_job.expect("answers the job"))
}

async fn create(pool: &TestPool) -> types::UserImportJobType {
    create_with(pool, None).await.expect("makes a job")
}

fn id(job: &types::UserImportJobType) -> String {
    job.job_id.clone().expect("a job has an id")
}

async fn describe(pool: &TestPool, job_id: &str) -> Result<types::UserImportJobType, ApiError> {
    let request = types::DescribeUserImportJobRequest {
        user_pool_id: Some(pool.id.clone()),
        job_id: Some(job_id.to_owned()),
    };
    let response = describe_user_import_job(pool, &signed_call(), request).await?;
    Ok(response.user_import_job.expect("answers the job"))
}

async fn start(pool: &TestPool, job_id: &str) -> Result<types::UserImportJobType, ApiError> {
    let request = types::StartUserImportJobRequest {
        user_pool_id: Some(pool.id.clone()),
        job_id: Some(job_id.to_owned()),
    };
    let response = start_user_import_job(pool, &signed_call(), request).await?;
    Ok(response.user_import_job.expect("answers the job"))
}

async fn stop(pool: &TestPool, job_id: &str) -> Result<types::UserImportJobType, ApiError> {
    let request = types::StopUserImportJobRequest {
        user_pool_id: Some(pool.id.clone()),
        job_id: Some(job_id.to_owned()),
    };
    let response = stop_user_import_job(pool, &signed_call(), request).await?;
    Ok(response.user_import_job.expect("answers the job"))
}

async fn list(
    pool: &TestPool,
    max: i32,
    token: Option<String>,
) -> types::ListUserImportJobsResponse {
    let request = types::ListUserImportJobsRequest {
        user_pool_id: Some(pool.id.clone()),
        max_results: Some(max),
        pagination_token: token,
    };
    list_user_import_jobs(pool, &signed_call(), request).await.expect("lists")
}

fn link(job: &types::UserImportJobType) -> Link {
    let url = job.pre_signed_url.as_deref().expect("a job has a link");
    let rest = url.strip_prefix("https://id.example.com/_conclave/user-import/").expect("our path");
    let (path, query) = rest.split_once('?').expect("a signature");
    let (pool_id, job_id) = path.split_once('/').expect("two parts");
    let (expires, signature) = query.split_once('&').expect("two parameters");
    Link {
        pool_id: pool_id.to_owned(),
        job_id: job_id.to_owned(),
        expires_s: expires.strip_prefix("expires=").expect("expires").parse().expect("a number"),
        signature: signature.strip_prefix("signature=").expect("signature").to_owned(),
    }
}

async fn send(pool: &TestPool, link: &Link, parts: &[&[u8]]) -> Result<u64, LinkError> {
    let parts = parts.iter().map(|part| Ok::<_, ()>(Bytes::copy_from_slice(part)));
    upload::receive(pool, link, &mut stream::iter(parts.collect::<Vec<_>>())).await
}

async fn put(pool: &TestPool, job: &types::UserImportJobType, file: &str) {
    send(pool, &link(job), &[file.as_bytes()]).await.expect("takes the file");
}

/// A job that has been started with a file.
async fn started(pool: &TestPool, algorithm: Option<&str>, file: &str) -> String {
    let job = create_with(pool, algorithm).await.expect("makes a job");
    put(pool, &job, file).await;
    let job_id = id(&job);
    let job = start(pool, &job_id).await.expect("starts");
    assert_eq!(job.status.as_deref(), Some("Pending"));
    job_id
}

/// A job that has been worked on to its end.
async fn done(pool: &TestPool, algorithm: Option<&str>, file: &str) -> types::UserImportJobType {
    let job_id = started(pool, algorithm, file).await;
    assert_eq!(look(pool, &WORKER).await, Ok(1));
    describe(pool, &job_id).await.expect("describes")
}

fn counts(job: &types::UserImportJobType) -> [i64; 3] {
    [job.imported_users, job.skipped_users, job.failed_users].map(|count| count.unwrap_or(-1))
}

async fn report_of(pool: &TestPool, job: &types::UserImportJobType) -> String {
    report::read(pool, &link(job)).await.expect("reads")
}

/// Rows of the pool whose keys begin with any of these bytes.
async fn rows(pool: &TestPool, tags: std::ops::RangeInclusive<u8>) -> usize {
    let mut count = 0;
    for tag in tags {
        let scan = proto::Scan { prefix: vec![tag].into(), limit: 1_000, ..Default::default() };
        let read = proto::Read { scope: pool.id.clone(), scans: vec![scan], ..Default::default() };
        let result = pool.store.read(read).await.expect("reads");
        count += result.rows.iter().filter(|row| row.value.is_some()).count();
    }
    count
}

#[tokio::test]
async fn the_header_has_the_pool_s_attributes_in_cognito_s_order() {
    let request = types::CreateUserPoolRequest {
        schema: Some(types::SchemaAttributeTypeList {
            items: vec![types::SchemaAttributeType {
                name: Some("team".to_owned()),
                attribute_data_type: Some("String".to_owned()),
                ..Default::default()
            }],
        }),
        ..Default::default()
    };
    let pool = pool(request).await;
    let request = types::GetCsvHeaderRequest { user_pool_id: Some(pool.id.clone()) };
    let header = get_csv_header(&pool, &signed_call(), request).await.unwrap();
    assert_eq!(header.user_pool_id, Some(pool.id.clone()));
    assert_eq!(
        header.csv_header.join(","),
        "name,given_name,family_name,middle_name,nickname,preferred_username,profile,picture,website,email,\
         email_verified,gender,birthdate,zoneinfo,locale,phone_number,phone_number_verified,address,updated_at,\
         custom:team,cognito:mfa_enabled,cognito:username"
    );
}

#[tokio::test]
async fn a_job_imports_users_who_have_to_set_a_password() {
    let pool = verifying_pool().await;
    let header = types::GetCsvHeaderRequest { user_pool_id: Some(pool.id.clone()) };
    let header = get_csv_header(&pool, &signed_call(), header).await.unwrap().csv_header;
    let row = |values: &[(&str, &str)]| {
        let value = |name: &String| values.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v);
        header.iter().map(value).collect::<Vec<_>>().join(",")
    };
    let ada = row(&[
        ("cognito:username", "ada"),
        ("email", "ada@example.com"),
        ("email_verified", "TRUE"),
        ("birthdate", "12/10/1815"),
        ("address", " 12 St James's Square\\, London "),
        ("phone_number", "+12065550100"),
        ("updated_at", "1471453471"),
        ("cognito:mfa_enabled", "FALSE"),
    ]);
    let file = format!("{}\r\n{ada}\r\n\r\n", header.join(","));
    let job = done(&pool, None, &file).await;
    assert_eq!(job.status.as_deref(), Some("Succeeded"));
    assert_eq!(job.completion_message.as_deref(), Some("Import Job Completed Successfully."));
    assert_eq!(counts(&job), [1, 0, 0]);
    assert_eq!((job.start_date, job.completion_date), (Some(START_MS), Some(START_MS)));
    let user = pool.user("ada").await.unwrap();
    assert_eq!(user.user_status.as_deref(), Some("RESET_REQUIRED"));
    assert_eq!((user.enabled, user.user_create_date), (Some(true), Some(START_MS)));
    assert_eq!(
        pool.attributes_of("ada").await,
        [
            "email=ada@example.com",
            "email_verified=true",
            "phone_number=+12065550100",
            "phone_number_verified=false",
            "birthdate=1815-12-10",
            "address=12 St James's Square, London",
            "updated_at=1471453471",
        ]
    );
    // any password is answered alike, and the user can reset it
    assert_eq!(
        refusal(pool.sign_in("ada", PASSWORD).await),
        "PasswordResetRequiredException: Password reset required for the user"
    );
    let request = types::ForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        ..Default::default()
    };
    crate::users::forgot_password(&pool, &crate::testing::unsigned_call(), request).await.unwrap();
    let request = types::ConfirmForgotPasswordRequest {
        client_id: Some(pool.client_id.clone()),
        username: Some("ada".to_owned()),
        confirmation_code: Some(pool.code()),
        password: Some(PASSWORD.to_owned()),
        ..Default::default()
    };
    let call = crate::testing::unsigned_call();
    crate::users::confirm_forgot_password(&pool, &call, request).await.unwrap();
    pool.sign_in("ada", PASSWORD).await.unwrap();
    assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    // the file is gone, and the directory says that nothing is left to do
    assert_eq!(rows(&pool, 0x52..=0x53).await, 0);
    assert_eq!(look(&pool, &WORKER).await, Ok(0));
}

#[tokio::test]
async fn a_client_that_hides_users_is_not_told_of_imported_ones() {
    let pool = verifying_pool().await;
    let job =
        done(&pool, None, "cognito:username,email,email_verified\nada,ada@example.com,true\n");
    assert_eq!(counts(&job.await), [1, 0, 0]);
    let request = types::CreateUserPoolClientRequest {
        prevent_user_existence_errors: Some("ENABLED".to_owned()),
        explicit_auth_flows: strings(&["ALLOW_USER_PASSWORD_AUTH"]),
        ..Default::default()
    };
    let client = pool.new_client(request).await.client_id.unwrap();
    for name in ["ada", "nobody"] {
        let parameters = [("USERNAME", name), ("PASSWORD", PASSWORD)];
        let request = types::InitiateAuthRequest {
            client_id: Some(client.clone()),
            auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
            auth_parameters: parameters.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            ..Default::default()
        };
        let call = crate::testing::unsigned_call();
        assert_eq!(
            refusal(crate::auth::initiate_auth(&pool, &call, request).await),
            "NotAuthorizedException: Incorrect username or password.",
            "{name}"
        );
    }
}

#[tokio::test]
async fn imported_hashes_sign_in_and_become_our_own() {
    let pool = verifying_pool().await;
    let file = format!(
        "cognito:username,email,email_verified,password_hash\n\
         ada,ada@example.com,true,{BCRYPT}\n\
         eve,eve@example.com,true,\n"
    );
    let job = done(&pool, Some("BCRYPT"), &file).await;
    assert_eq!(job.password_hashing_algorithm.as_deref(), Some("BCRYPT"));
    assert_eq!(counts(&job), [2, 0, 0]);
    assert_eq!(pool.status_of("ada").await, "CONFIRMED");
    assert_eq!(pool.status_of("eve").await, "RESET_REQUIRED");
    assert_eq!(
        refusal(pool.sign_in("ada", PASSWORD).await),
        "NotAuthorizedException: Incorrect username or password."
    );
    pool.sign_in("ada", BCRYPT_PASSWORD).await.unwrap();
    // the hash is ours now, and there is a verifier for SRP
    assert!(pool.password_is("ada", BCRYPT_PASSWORD).await.1);
    pool.sign_in("ada", BCRYPT_PASSWORD).await.unwrap();
    assert!(pool.sign_in("ada", PASSWORD).await.is_err());
}

#[tokio::test]
async fn a_hash_of_any_kind_may_stand_in_our_own_column() {
    let pool = verifying_pool().await;
    // commas belong to the value
    let argon2 = "$argon2id$v=19$m=19456\\,t=2\\,p=1$MDEyMzQ1Njc4OWFiY2RlZg$7SlCfo9adWc+lLRuZE7uNTwePDqfLfg6e7CdLv8jGSw";
    let sha512 = "$pbkdf2-sha512$1000$MDEyMzQ1Njc4OWFiY2RlZg$ykxYClkWSalguKof7L7fnNOv4VoCwCjPG843Qq79lFX6CfKAcasjeCsYkuCXoPbZI0AuRvDDwoT/0jHyLFmUCQ";
    let file = format!(
        "cognito:username,email,email_verified,conclave:password_hash\n\
         ada,ada@example.com,true,{argon2}\n\
         alan,alan@example.com,true,{sha512}\n\
         barbara,barbara@example.com,true,{BCRYPT}\n\
         eve,eve@example.com,true,5f4dcc3b5aa765d61d8327deb882cf99\n\
         mallory,m@example.com,true,$2b$31$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW\n"
    );
    let job = done(&pool, None, &file).await;
    assert_eq!(counts(&job), [3, 0, 2]);
    for name in ["ada", "alan", "barbara"] {
        pool.sign_in(name, BCRYPT_PASSWORD).await.unwrap();
        assert!(pool.password_is(name, BCRYPT_PASSWORD).await.1);
    }
    assert_eq!(
        report_of(&pool, &job).await,
        "[FAILED] Line Number 5 - The column conclave:password_hash has a malformed hash.\n\
         [FAILED] Line Number 6 - The column conclave:password_hash has a hash with a parameter that is out of bounds.\n"
    );
}

#[tokio::test]
async fn the_report_says_why_rows_were_not_imported() {
    let pool = alias_pool().await;
    pool.confirmed_user("taken", &[("email", "taken@example.com")]).await;
    let file = "\u{feff}email,cognito:username,email_verified,cognito:mfa_enabled,birthdate,preferred_username\n\
        ada@example.com,ada,TRUE,FALSE,,\n\
        taken2@example.com,taken,TRUE,,,\n\
        b@example.com,has space,TRUE,,,\n\
        \n\
        b@example.com,,TRUE,,,\n\
        b@example.com,b,FALSE,,,\n\
        ,b,TRUE,,,\n\
        no address,b,TRUE,,,\n\
        b@example.com,b,yes,,,\n\
        b@example.com,b,TRUE,TRUE,,\n\
        b@example.com,b,TRUE,,31/01/1985,\n\
        b@example.com,b,TRUE,\n\
        b@example.com,b@example.com,TRUE,,,\n\
        taken@example.com,b,TRUE,,,\n\
        c@example.com,c,TRUE,,,taken\n\
        d@example.com,ada,TRUE,,,\n\
        d@example.com,d,TRUE,,,\n\
        d@example.com,e,TRUE,,,";
    let job = done(&pool, None, file).await;
    assert_eq!(
        report_of(&pool, &job).await,
        "[SKIPPED] Line Number 3 - The user already exists.\n\
         [FAILED] Line Number 4 - The column cognito:username must not contain spaces or tabs.\n\
         [FAILED] Line Number 6 - The column cognito:username has no value.\n\
         [FAILED] Line Number 7 - The User Record does not set any of the auto verified attributes to true. (Example: email_verified to true).\n\
         [FAILED] Line Number 8 - The column email has no value, and email_verified is true.\n\
         [FAILED] Line Number 9 - Invalid email address format.\n\
         [FAILED] Line Number 10 - Attributes did not conform to the schema: email_verified: Attribute must be a boolean\n\
         [FAILED] Line Number 11 - The column cognito:mfa_enabled must be false or empty, because the user pool has MFA off.\n\
         [FAILED] Line Number 12 - The column birthdate is not a date of the form mm/dd/yyyy.\n\
         [FAILED] Line Number 13 - The row has 4 values, and the header 6 columns.\n\
         [FAILED] Line Number 14 - Username cannot be of email format, since user pool is configured for email alias.\n\
         [FAILED] Line Number 15 - Another user has the email of the row.\n\
         [FAILED] Line Number 16 - Another user has the preferred_username of the row.\n\
         [SKIPPED] Line Number 17 - The user already exists.\n\
         [FAILED] Line Number 19 - Another user has the email of the row.\n"
    );
    assert_eq!(counts(&job), [2, 2, 13]);
    assert_eq!(job.status.as_deref(), Some("Failed"));
    assert_eq!(
        job.completion_message.as_deref(),
        Some("Too many users have failed or been skipped during the import.")
    );
    assert_eq!(pool.user("ada@example.com").await.unwrap().username.as_deref(), Some("ada"));
    assert_eq!(pool.user("d@example.com").await.unwrap().username.as_deref(), Some("d"));
}

#[tokio::test]
async fn required_attributes_and_names_by_address_are_held() {
    let pool = email_name_pool().await;
    let file = "cognito:username,email,email_verified,phone_number,phone_number_verified\n\
        Ada@example.com,,true,,\n\
        ada@example.com,,true,,\n\
        +12065550100,eve@example.com,true,,true\n\
        bob,bob@example.com,true,,\n";
    let job = done(&pool, None, file).await;
    assert_eq!(
        report_of(&pool, &job).await,
        "[SKIPPED] Line Number 3 - The user already exists.\n\
         [FAILED] Line Number 5 - Username should be either an email or a phone number.\n"
    );
    assert_eq!(counts(&job), [2, 1, 1]);
    assert_eq!(job.status.as_deref(), Some("Succeeded"));
    let user = pool.user("ada@EXAMPLE.com").await.unwrap();
    let sub = user.user_attributes.last().unwrap().value.clone();
    assert_eq!(user.username, sub);
    assert_eq!(pool.user("eve@example.com").await.unwrap().user_attributes.len(), 5);
}

#[tokio::test]
async fn a_file_without_its_columns_fails_the_job() {
    let pool = verifying_pool().await;
    for (algorithm, header, expected) in [
        (None, "email,email_verified", "The CSV header has no column cognito:username."),
        (None, "cognito:username,shoe_size", "Column 2 of the CSV header is not known."),
        (None, "cognito:username,sub", "Column 2 of the CSV header is not known."),
        (None, "cognito:username,email,email", "Column 3 of the CSV header occurs twice."),
        (Some("SCRYPT"), "cognito:username", "The CSV header has no column password_hash."),
    ] {
        let job = done(&pool, algorithm, &format!("{header}\nada\n")).await;
        assert_eq!(job.status.as_deref(), Some("Failed"), "{header}");
        assert_eq!(job.completion_message.as_deref(), Some(expected));
        assert_eq!(counts(&job), [0, 0, 0]);
    }
}

#[tokio::test]
async fn a_job_is_started_once_with_a_file_within_a_day() {
    let pool = verifying_pool().await;
    let job = create(&pool).await;
    let job_id = id(&job);
    assert_eq!(job.status.as_deref(), Some("Created"));
    assert_eq!(job.creation_date, Some(START_MS));
    assert_eq!((job.start_date, job.completion_date, &job.completion_message), (None, None, &None));
    assert_eq!(counts(&job), [0, 0, 0]);
    assert_eq!(
        refusal(start(&pool, &job_id).await),
        "PreconditionNotMetException: The CSV file of the user import job has not been uploaded."
    );
    assert_eq!(
        refusal(stop(&pool, &job_id).await),
        "PreconditionNotMetException: The user import job is not in progress."
    );
    put(&pool, &job, "cognito:username\n").await;
    let late = create(&pool).await;
    start(&pool, &job_id).await.unwrap();
    assert_eq!(
        refusal(start(&pool, &job_id).await),
        "PreconditionNotMetException: The user import job has already been started."
    );
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert_eq!(describe(&pool, &job_id).await.unwrap().status.as_deref(), Some("Succeeded"));
    assert!(refusal(start(&pool, &job_id).await).starts_with("PreconditionNotMetException"));
    assert!(refusal(stop(&pool, &job_id).await).starts_with("PreconditionNotMetException"));

    put(&pool, &late, "cognito:username\n").await;
    pool.clock.advance(Duration::from_secs(24 * 60 * 60));
    let expired = describe(&pool, &id(&late)).await.unwrap();
    assert_eq!(expired.status.as_deref(), Some("Expired"));
    assert_eq!(expired.completion_message.as_deref(), Some("The user import job has expired."));
    assert_eq!(
        refusal(start(&pool, &id(&late)).await),
        "PreconditionNotMetException: The user import job has expired."
    );
    assert_eq!(
        send(&pool, &link(&expired), &[b"cognito:username\n"]).await,
        Err(LinkError::NotWaiting)
    );
}

#[tokio::test]
async fn a_pool_that_verifies_nothing_imports_nobody() {
    let pool = plain_pool().await;
    let job = create(&pool).await;
    put(&pool, &job, "cognito:username\nada\n").await;
    assert_eq!(
        refusal(start(&pool, &id(&job)).await),
        "PreconditionNotMetException: The user pool must have at least one auto verified attribute to import users."
    );
}

#[tokio::test]
async fn one_job_of_an_account_is_active_at_a_time() {
    let pool = verifying_pool().await;
    let file = "cognito:username,email,email_verified\nada,ada@example.com,true\n";
    let first = started(&pool, None, file).await;
    let second = create(&pool).await;
    put(&pool, &second, file).await;
    let active = "PreconditionNotMetException: Only one user import job can be active at a time per account.";
    assert_eq!(refusal(start(&pool, &id(&second)).await), active);
    // in another pool of the account too
    let other = crate::testing::new_pool_with(&pool, verifying(&["email"])).await;
    let request = types::CreateUserImportJobRequest {
        job_name: Some("other".to_owned()),
        user_pool_id: Some(other.clone()),
        cloud_watch_logs_role_arn: Some("arn:aws:iam::111122223333:role/logs".to_owned()),
        ..Default::default()
    };
    let third = create_user_import_job(&pool, &signed_call(), request).await.unwrap();
    let third = third.user_import_job.unwrap();
    put(&pool, &third, file).await;
    let start_third = || async {
        let request = types::StartUserImportJobRequest {
            user_pool_id: Some(other.clone()),
            job_id: third.job_id.clone(),
        };
        start_user_import_job(&pool, &signed_call(), request).await
    };
    assert_eq!(refusal(start_third().await), active);
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert_eq!(describe(&pool, &first).await.unwrap().status.as_deref(), Some("Succeeded"));
    start_third().await.unwrap();
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    start(&pool, &id(&second)).await.unwrap();
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert_eq!(counts(&describe(&pool, &id(&second)).await.unwrap()), [0, 1, 0]);
}

#[tokio::test]
async fn what_a_crash_leaves_in_the_directory_holds_nobody_up() {
    let pool = verifying_pool().await;
    let file = "cognito:username\n";
    let (first, second) = (create(&pool).await, create(&pool).await);
    put(&pool, &first, file).await;
    put(&pool, &second, file).await;
    // it dies when it has entered the job, and has not started it
    pool.store.fail_commit(2);
    assert!(refusal(start(&pool, &id(&first)).await).starts_with("ServiceUnavailable"));
    assert!(refusal(start(&pool, &id(&second)).await).starts_with("PreconditionNotMetException"));
    pool.clock.advance(Duration::from_secs(121));
    assert_eq!(look(&pool, &WORKER).await, Ok(0));
    start(&pool, &id(&second)).await.unwrap();
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    // the first one can still be started
    start(&pool, &id(&first)).await.unwrap();
    // it dies when the job has ended, and before the directory knows
    pool.store.fail_commit(4);
    assert_eq!(look(&pool, &WORKER).await, Ok(0));
    assert_eq!(describe(&pool, &id(&first)).await.unwrap().status.as_deref(), Some("Succeeded"));
    let third = started(&pool, None, file).await;
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert_eq!(describe(&pool, &third).await.unwrap().status.as_deref(), Some("Succeeded"));
}

/// A file of `count` users.
fn people(count: usize) -> String {
    let mut file = "cognito:username,email,email_verified\n".to_owned();
    for number in 0..count {
        file.push_str(&format!("user{number},user{number}@example.com,true\n"));
    }
    file
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_anywhere_is_followed_by_another_without_loss_or_repetition() {
    let pool = alias_pool().await;
    let count = 150;
    let job_id = started(&pool, None, &people(count)).await;
    let mut deaths: u8 = 0;
    loop {
        // it is gone after every batch, and comes back as somebody else
        let worker = [deaths + 10; 16];
        let life = Duration::from_millis(2);
        if tokio::time::timeout(life, look(&pool, &worker)).await == Ok(Ok(1)) {
            break;
        }
        deaths += 1;
        // while the lease lasts, nobody else works on it
        assert_eq!(look(&pool, &OTHER_WORKER).await, Ok(0));
        pool.clock.advance(Duration::from_secs(11));
    }
    assert!(deaths >= 3);
    let job = describe(&pool, &job_id).await.unwrap();
    assert_eq!(counts(&job), [count as i64, 0, 0], "after {deaths} deaths");
    for number in 0..count {
        pool.user(&format!("user{number}@example.com")).await.unwrap();
    }
    assert_eq!(rows(&pool, 0x20..=0x20).await, count);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_store_did_not_take_is_tried_again() {
    let pool = verifying_pool().await;
    let job_id = started(&pool, None, &people(60)).await;
    pool.store.fail_commit(2);
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert_eq!(counts(&describe(&pool, &job_id).await.unwrap()), [60, 0, 0]);
    assert_eq!(rows(&pool, 0x20..=0x20).await, 60);
}

#[tokio::test(start_paused = true)]
async fn a_job_can_be_stopped_and_what_it_has_imported_stays() {
    let pool = verifying_pool().await;
    let job_id = started(&pool, None, &people(300)).await;
    assert_eq!(stop(&pool, &job_id).await.unwrap().status.as_deref(), Some("Stopping"));
    assert_eq!(stop(&pool, &job_id).await.unwrap().status.as_deref(), Some("Stopping"));
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    let job = describe(&pool, &job_id).await.unwrap();
    assert_eq!(job.status.as_deref(), Some("Stopped"));
    assert_eq!(
        job.completion_message.as_deref(),
        Some("The Import Job was stopped by the developer.")
    );
    assert_eq!(counts(&job), [0, 0, 0]);

    let job_id = started(&pool, None, &people(300)).await;
    let batches = async {
        // in the middle of the work
        while describe(&pool, &job_id).await.unwrap().imported_users == Some(0) {
            tokio::task::yield_now().await;
        }
        stop(&pool, &job_id).await.unwrap();
    };
    let (looked, ()) = tokio::join!(look(&pool, &WORKER), batches);
    assert_eq!(looked, Ok(1));
    let job = describe(&pool, &job_id).await.unwrap();
    assert_eq!(job.status.as_deref(), Some("Stopped"));
    let imported = job.imported_users.unwrap();
    assert!(imported > 0 && imported < 300, "{imported}");
    assert_eq!(rows(&pool, 0x20..=0x20).await as i64, imported);
    assert_eq!(rows(&pool, 0x52..=0x53).await, 0);
}

#[tokio::test]
async fn a_pool_does_not_change_or_go_while_users_are_imported() {
    let pool = verifying_pool().await;
    started(&pool, None, &people(3)).await;
    let in_progress =
        "UserImportInProgressException: There is a user import job in progress for the user pool.";
    let update = || types::UpdateUserPoolRequest {
        user_pool_id: Some(pool.id.clone()),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    };
    assert_eq!(refusal(update_user_pool(&pool, &signed_call(), update()).await), in_progress);
    let delete = || types::DeleteUserPoolRequest { user_pool_id: Some(pool.id.clone()) };
    assert_eq!(refusal(delete_user_pool(&pool, &signed_call(), delete()).await), in_progress);
    let add = types::AddCustomAttributesRequest {
        user_pool_id: Some(pool.id.clone()),
        custom_attributes: Some(types::SchemaAttributeTypeList {
            items: vec![types::SchemaAttributeType {
                name: Some("team".to_owned()),
                attribute_data_type: Some("String".to_owned()),
                ..Default::default()
            }],
        }),
    };
    let added = crate::pools::add_custom_attributes(&pool, &signed_call(), add).await;
    assert_eq!(refusal(added), in_progress);
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    update_user_pool(&pool, &signed_call(), update()).await.unwrap();
    delete_user_pool(&pool, &signed_call(), delete()).await.unwrap();
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages() {
    let pool = verifying_pool().await;
    assert_eq!(list(&pool, 10, None).await, types::ListUserImportJobsResponse::default());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, id(&create(&pool).await));
        pool.clock.advance(Duration::from_millis(5));
    }
    let first = list(&pool, 3, None).await;
    let second = list(&pool, 3, first.pagination_token.clone()).await;
    let pages = [first.user_import_jobs, second.user_import_jobs];
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(pages.concat().iter().map(id).collect::<Vec<_>>(), made);
    assert_eq!(second.pagination_token, None);
}

#[tokio::test]
async fn jobs_and_links_of_others_are_not_there() {
    let pool = verifying_pool().await;
    let job = create(&pool).await;
    let foreign = signed_call_of("999999999999", "us-east-1");
    let request = types::DescribeUserImportJobRequest {
        user_pool_id: Some(pool.id.clone()),
        job_id: job.job_id.clone(),
    };
    assert_eq!(
        refusal(describe_user_import_job(&pool, &foreign, request).await),
        format!("ResourceNotFoundException: User pool {} does not exist.", pool.id)
    );
    assert_eq!(
        refusal(describe(&pool, "import-0000000000").await),
        "ResourceNotFoundException: User import job import-0000000000 does not exist."
    );
    assert!(refusal(start(&pool, "import-0").await).starts_with("ResourceNotFoundException"));
    assert!(refusal(stop(&pool, "import-0").await).starts_with("ResourceNotFoundException"));
    let good = link(&job);
    let file: &[&[u8]] = &[b"cognito:username\n"];
    for wrong in [
        Link { pool_id: "us-east-1_other".to_owned(), ..good.clone() },
        Link { job_id: "import-0000000000".to_owned(), ..good.clone() },
        Link { expires_s: good.expires_s + 1, ..good.clone() },
        Link { signature: good.signature.to_uppercase(), ..good.clone() },
        Link { signature: String::new(), ..good.clone() },
    ] {
        assert_eq!(send(&pool, &wrong, file).await, Err(LinkError::BadSignature));
        assert_eq!(report::read(&pool, &wrong).await, Err(LinkError::BadSignature));
    }
    assert_eq!(send(&pool, &good, file).await, Ok(0));
    pool.clock.advance(Duration::from_secs(15 * 60 + 1));
    assert_eq!(send(&pool, &good, file).await, Err(LinkError::Expired));
    assert_eq!(report::read(&pool, &good).await, Err(LinkError::Expired));
    // a description has a link that is good again
    let job = describe(&pool, &id(&job)).await.unwrap();
    assert_eq!(send(&pool, &link(&job), file).await, Ok(0));
}

#[tokio::test]
async fn of_several_uploads_the_last_whole_one_counts() {
    let pool = verifying_pool().await;
    let job = create(&pool).await;
    put(&pool, &job, "cognito:username,email,email_verified\nada,ada@example.com,true\n").await;
    put(&pool, &job, "cognito:username,email,email_verified\neve,eve@example.com,true\n").await;
    assert_eq!(rows(&pool, 0x52..=0x53).await, 2, "one root and one part");
    let bad: &[u8] = b"cognito:username\n\xff\n";
    assert!(matches!(send(&pool, &link(&job), &[bad]).await, Err(LinkError::BadFile(_))));
    let cut = [Ok(Bytes::from_static(b"cognito:username\nmallory\n")), Err(())];
    let cut = upload::receive(&pool, &link(&job), &mut stream::iter(cut)).await;
    assert_eq!(cut, Err(LinkError::Incomplete));
    assert_eq!(rows(&pool, 0x52..=0x53).await, 2, "nothing of what was refused is left");
    start(&pool, &id(&job)).await.unwrap();
    assert_eq!(send(&pool, &link(&job), &[b"a\n"]).await, Err(LinkError::NotWaiting));
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    assert!(pool.user("ada").await.is_err());
    pool.user("eve").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_of_many_parts_is_read_across_their_borders() {
    let pool = verifying_pool().await;
    let job = create(&pool).await;
    let mut file = "cognito:username,name,email,email_verified\n".to_owned();
    let count = 40;
    for number in 0..count {
        // two bytes each, so that borders fall into characters too
        let name = "ä".repeat(2_000 + number);
        file.push_str(&format!("user{number},{name},user{number}@example.com,true\n"));
    }
    file.push_str("last,,last@example.com,true");
    assert!(file.len() > upload::CHUNK_BYTES);
    let parts: Vec<&[u8]> = file.as_bytes().chunks(10_000).collect();
    assert_eq!(send(&pool, &link(&job), &parts).await, Ok(count as u64 + 1));
    start(&pool, &id(&job)).await.unwrap();
    assert_eq!(look(&pool, &WORKER).await, Ok(1));
    let job = describe(&pool, &id(&job)).await.unwrap();
    assert_eq!(counts(&job), [count as i64 + 1, 0, 0], "{}", report_of(&pool, &job).await);
    let shown = pool.attributes_of("user39").await;
    assert_eq!(shown[2], format!("name={}", "ä".repeat(2_039)));
    pool.user("last").await.unwrap();
}

#[tokio::test]
async fn a_pool_has_so_many_jobs() {
    let pool = verifying_pool().await;
    for _ in 0..JOBS_PER_POOL_MAX {
        create(&pool).await;
        pool.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(
        refusal(create_with(&pool, None).await),
        "LimitExceededException: The maximum number of user import jobs for this user pool has been reached."
    );
}

/// S50: also while the imported hash is replaced by one of ours.
#[tokio::test]
async fn s50_an_imported_user_is_asked_for_a_second_factor_from_the_first_sign_in_on() {
    use crate::{
        auth::{initiate_auth, respond_to_auth_challenge},
        testing::unsigned_call,
    };
    let pool = pool(types::CreateUserPoolRequest {
        mfa_configuration: Some("OPTIONAL".to_owned()),
        ..verifying(&["phone_number"])
    })
    .await;
    let file = format!(
        "cognito:username,phone_number,phone_number_verified,cognito:mfa_enabled,conclave:password_hash\n\
         ada,+12065550100,true,TRUE,{BCRYPT}\n"
    );
    let job = done(&pool, None, &file).await;
    assert_eq!(counts(&job), [1, 0, 0]);
    for _ in 0..2 {
        let request = types::InitiateAuthRequest {
            auth_flow: Some("USER_PASSWORD_AUTH".to_owned()),
            client_id: Some(pool.client_id.clone()),
            auth_parameters: [("USERNAME", "ada"), ("PASSWORD", BCRYPT_PASSWORD)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Default::default()
        };
        let begun = initiate_auth(&pool, &unsigned_call(), request).await.unwrap();
        assert_eq!(begun.challenge_name.as_deref(), Some("SMS_MFA"));
        let code = pool.code();
        let request = types::RespondToAuthChallengeRequest {
            client_id: Some(pool.client_id.clone()),
            challenge_name: begun.challenge_name,
            session: begun.session,
            challenge_responses: [("USERNAME", "ada"), ("SMS_MFA_CODE", &*code)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Default::default()
        };
        let done = respond_to_auth_challenge(&pool, &unsigned_call(), request).await.unwrap();
        assert!(done.authentication_result.is_some());
    }
}
