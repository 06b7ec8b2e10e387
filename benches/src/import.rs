//! A large pool beside a small one: both are made by user imports in one run of one node, and the same
//! requests are sent to both in turn. What counts are ratios: a request should not cost more because there
//! are more users.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use conclave_crypto::password::{Params, PasswordHasher};
use conclave_testkit::{
    http::Connection,
    request::{self, AccessKey},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Scratch, proc, progress, servers::Servers, stats, workload};

/// Users of the small pool.
const SMALL: usize = 1_000;
/// Users of one job, at most. AWS: "Quotas in Amazon Cognito".
const JOB_USERS_MAX: usize = 500_000;
/// Users of each pool who have a password, and sign in.
const WITH_PASSWORD: usize = 50;
const PASSWORD: &str = "Correct-horse-7";
const POLL: Duration = Duration::from_millis(200);
/// For as many users as this a second, at the slowest.
const USERS_PER_SECOND_MIN: usize = 100;
/// After the large pool is deleted, how long the disk is watched.
const FREED_WITHIN: Duration = Duration::from_secs(120);
/// What a request to the large pool may take, as a multiple of the same to the small one.
const RATIO_AIM: f64 = 1.2;

/// Options of `conclave-bench import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The server's binary.
    #[arg(long, default_value = "target/release/conclave")]
    conclave: PathBuf,
    /// Users of the large pool.
    #[arg(long, default_value_t = 1_000_000)]
    users: usize,
    /// How often each request is sent to each pool.
    #[arg(long, default_value_t = 300)]
    samples: usize,
    /// Memory that the server has for blocks, in mebibytes.
    #[arg(long, default_value_t = 128)]
    cache_mebibytes: u32,
    /// Where data are kept while it runs; on the disk that is to be measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Makes both pools, measures, and prints.
pub async fn run(args: &ImportArgs) -> Result<()> {
    ensure!((SMALL..=5_000_000).contains(&args.users), "--users is not between 1000 and 5000000");
    ensure!((1..=100_000).contains(&args.samples), "--samples is not between 1 and 100000");
    let binary = args
        .conclave
        .canonicalize()
        .with_context(|| format!("{} is not there: build it first", args.conclave.display()))?;
    let scratch = Scratch::new(&args.dir)?;
    let dir = scratch.sub("import")?;
    let cache = args.cache_mebibytes.to_string();
    let servers = Servers::dev(&binary, &dir, &["--cache-mebibytes", &cache]).await?;
    let authority = servers.authorities().first().context("no servers")?.clone();
    let mut bench = Bench {
        connection: Connection::open(&authority).await?,
        pid: servers.pids().first().copied().context("no servers")?,
        data: dir.join("data"),
        key: servers.access_key.clone(),
        authority,
    };
    let hasher = PasswordHasher::new(Params::DEFAULT, 1)?;
    let hash = hasher.hash(PASSWORD.as_bytes(), b"0123456789abcdef")?;
    let small = bench.make_pool(SMALL, &hash).await?;
    let large = bench.make_pool(args.users, &hash).await?;
    let mut rows = Vec::new();
    for question in QUESTIONS {
        progress(&format!("{question:?}"))?;
        rows.push(bench.compare(*question, &small, &large, args.samples).await?);
    }
    let deletion = bench.delete(&large).await?;
    servers.stop().await?;
    let figures = json!({
        "imports": [small.made, large.made],
        "requests": rows,
        "deletion": deletion,
    });
    print(&figures)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is asked of both pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// ListUsers without a filter: the first page, and the second.
    FirstPage,
    SecondPage,
    /// ListUsers with a filter on this attribute, with `=` or `^=`.
    Equal(&'static str),
    Starts(&'static str),
    AdminGetUser,
    SignIn,
}

const QUESTIONS: &[Question] = &[
    Question::FirstPage,
    Question::SecondPage,
    Question::Equal("username"),
    Question::Starts("username"),
    Question::Equal("email"),
    Question::Starts("email"),
    Question::Equal("phone_number"),
    Question::Starts("phone_number"),
    Question::Equal("name"),
    Question::Starts("name"),
    Question::Equal("given_name"),
    Question::Starts("given_name"),
    Question::Equal("family_name"),
    Question::Starts("family_name"),
    Question::Equal("preferred_username"),
    Question::Starts("preferred_username"),
    Question::Equal("cognito:user_status"),
    Question::Starts("cognito:user_status"),
    Question::Equal("status"),
    Question::Starts("status"),
    Question::Equal("sub"),
    Question::Starts("sub"),
    Question::AdminGetUser,
    Question::SignIn,
];

/// A page of ListUsers, so that a question is answered by as many users in both pools.
const PAGE: usize = 10;

impl Question {
    fn name(self) -> String {
        match self {
            Self::FirstPage => "ListUsers, first page".to_owned(),
            Self::SecondPage => "ListUsers, next page".to_owned(),
            Self::Equal(name) => format!("ListUsers {name} ="),
            Self::Starts(name) => format!("ListUsers {name} ^="),
            Self::AdminGetUser => "AdminGetUser".to_owned(),
            Self::SignIn => "password sign-in".to_owned(),
        }
    }

    /// How many users answer it.
    fn found(self) -> usize {
        match self {
            Self::Equal("cognito:user_status" | "status" | "family_name")
            | Self::Starts("cognito:user_status" | "status" | "family_name" | "username")
            | Self::FirstPage
            | Self::SecondPage => PAGE,
            _ => 1,
        }
    }
}

struct Pool {
    id: String,
    client_id: String,
    users: usize,
    /// The sub of the user in the middle.
    sub: String,
    /// Where the second page begins.
    token: String,
    made: Value,
}

/// What is said of the user with a number.
fn value(number: usize, attribute: &str) -> String {
    match attribute {
        "email" => format!("user-{number:07}@example.com"),
        "phone_number" => format!("+1206{number:07}"),
        "name" => format!("Name {number:07}"),
        "given_name" => format!("Given{number:07}"),
        // shared by as many as a page has
        "family_name" => format!("Family{:07}", number / PAGE),
        "preferred_username" => format!("preferred-{number:07}"),
        _ => format!("user-{number:07}"),
    }
}

const COLUMNS: [&str; 7] = [
    "cognito:username",
    "email",
    "phone_number",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
];

fn csv(from: usize, to: usize, hash: &str) -> String {
    let mut file = COLUMNS.join(",");
    file.push_str(",email_verified,conclave:password_hash\n");
    let hash = hash.replace(',', "\\,");
    for number in from..to {
        for column in COLUMNS {
            file.push_str(&value(number, column));
            file.push(',');
        }
        file.push_str("true,");
        if number < WITH_PASSWORD {
            file.push_str(&hash);
        }
        file.push('\n');
    }
    file
}

struct Bench {
    connection: Connection,
    authority: String,
    key: AccessKey,
    pid: u32,
    data: PathBuf,
}

impl Bench {
    async fn admin(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let request = request::signed(&self.authority, operation, body, &self.key);
        workload::call(&mut self.connection, &request).await.with_context(|| operation.to_owned())
    }

    async fn make_pool(&mut self, users: usize, hash: &str) -> Result<Pool> {
        let body = json!({ "PoolName": "import", "AutoVerifiedAttributes": ["email"] });
        let pool = self.admin("CreateUserPool", &body).await?;
        let id = text(&pool, "/UserPool/Id")?;
        let body = json!({
            "UserPoolId": id, "ClientName": "import",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        });
        let client = self.admin("CreateUserPoolClient", &body).await?;
        let client_id = text(&client, "/UserPoolClient/ClientId")?;
        let disk_before = disk_mb(&self.data);
        let cpu_before = proc::cpu_ms(self.pid)?;
        let (mut upload_s, mut import_s) = (0.0, 0.0);
        for from in (0..users).step_by(JOB_USERS_MAX) {
            let to = users.min(from + JOB_USERS_MAX);
            progress(&format!("imports users {from} to {to} of {users}"))?;
            let (uploaded, imported) = self.import(&id, from, to, hash).await?;
            upload_s += uploaded;
            import_s += imported;
        }
        let made = json!({
            "users": users,
            "upload_s": upload_s,
            "import_s": import_s,
            "users_per_second": users as f64 / import_s,
            "cpu_ms_per_user": (proc::cpu_ms(self.pid)? - cpu_before) / users as f64,
            "rss_mb": proc::rss_mb(self.pid)?,
            "disk_mb": disk_mb(&self.data) - disk_before,
        });
        let mut pool =
            Pool { id, client_id, users, sub: String::new(), token: String::new(), made };
        let page =
            self.admin("ListUsers", &json!({ "UserPoolId": pool.id, "Limit": PAGE })).await?;
        pool.token = text(&page, "/PaginationToken")?;
        let name = value(users / 2, "username");
        let body = json!({ "UserPoolId": pool.id, "Username": name });
        let user = self.admin("AdminGetUser", &body).await?;
        let attributes = user.pointer("/UserAttributes").and_then(Value::as_array);
        let sub = attributes.into_iter().flatten().find(|a| a["Name"] == "sub");
        pool.sub = text(sub.context("no sub")?, "/Value")?;
        // the first sign-in makes the hash ours
        for number in 0..WITH_PASSWORD {
            self.sign_in(&pool, number).await?;
        }
        Ok(pool)
    }

    /// One job. Answers how long upload and import took, in seconds.
    async fn import(
        &mut self,
        pool_id: &str,
        from: usize,
        to: usize,
        hash: &str,
    ) -> Result<(f64, f64)> {
        let body = json!({
            "UserPoolId": pool_id, "JobName": "bench",
            "CloudWatchLogsRoleArn": "arn:aws:iam::000000000000:role/logs",
        });
        let job = self.admin("CreateUserImportJob", &body).await?;
        let job_id = text(&job, "/UserImportJob/JobId")?;
        let url = text(&job, "/UserImportJob/PreSignedUrl")?;
        let path = url.splitn(4, '/').nth(3).context("a link without a path")?;
        let file = csv(from, to, hash);
        let mut put = format!(
            "PUT /{path} HTTP/1.1\r\nhost: {}\r\nx-amz-server-side-encryption: aws:kms\r\n\
             content-length: {}\r\n\r\n",
            self.authority,
            file.len()
        )
        .into_bytes();
        put.extend_from_slice(file.as_bytes());
        drop(file);
        let began = Instant::now();
        let answer = self.connection.send(&put).await?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "the upload answered {}: {said}", answer.status);
        let upload_s = began.elapsed().as_secs_f64();
        let body = json!({ "UserPoolId": pool_id, "JobId": job_id });
        self.admin("StartUserImportJob", &body).await?;
        let began = Instant::now();
        let patience = Duration::from_secs(60 + ((to - from) / USERS_PER_SECOND_MIN) as u64);
        loop {
            let job = self.admin("DescribeUserImportJob", &body).await?;
            match text(&job, "/UserImportJob/Status")?.as_str() {
                "Pending" | "InProgress" => {}
                "Succeeded" => {
                    let imported = job.pointer("/UserImportJob/ImportedUsers");
                    let imported = imported.and_then(Value::as_u64);
                    ensure!(imported == Some((to - from) as u64), "imported {imported:?}");
                    break;
                }
                other => anyhow::bail!("the job has ended as {other}: {job}"),
            }
            ensure!(began.elapsed() < patience, "the job takes too long: {job}");
            sleep(POLL).await;
        }
        Ok((upload_s, began.elapsed().as_secs_f64()))
    }

    async fn sign_in(&mut self, pool: &Pool, number: usize) -> Result<()> {
        let body = json!({
            "ClientId": pool.client_id, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": value(number, "username"), "PASSWORD": PASSWORD },
        });
        let request = request::unsigned(&self.authority, "InitiateAuth", &body);
        let answer = workload::call(&mut self.connection, &request).await?;
        text(&answer, "/AuthenticationResult/AccessToken")?;
        Ok(())
    }

    /// Asks once, and answers how long it took, in ms.
    async fn ask(&mut self, question: Question, pool: &Pool, turn: usize) -> Result<f64> {
        // another user each time, of those that a question of this kind has answers for
        let number = (turn * 7_919) % (pool.users / PAGE - 1) * PAGE;
        let list = |filter: Option<String>| {
            let mut body = json!({ "UserPoolId": pool.id, "Limit": PAGE });
            if let Some(filter) = filter {
                body["Filter"] = filter.into();
            }
            body
        };
        let (operation, body) = match question {
            Question::FirstPage => ("ListUsers", list(None)),
            Question::SecondPage => {
                let mut body = list(None);
                body["PaginationToken"] = pool.token.as_str().into();
                ("ListUsers", body)
            }
            Question::Equal(name) => {
                let wanted = wanted(pool, name, number);
                ("ListUsers", list(Some(format!("{name} = \"{wanted}\""))))
            }
            Question::Starts(name) => {
                let wanted = wanted(pool, name, number);
                // of names the last digit is left open
                let cut = usize::from(name == "username");
                let wanted = wanted.get(..wanted.len() - cut).unwrap_or_default();
                ("ListUsers", list(Some(format!("{name} ^= \"{wanted}\""))))
            }
            Question::AdminGetUser => {
                let name = value(number, "username");
                ("AdminGetUser", json!({ "UserPoolId": pool.id, "Username": name }))
            }
            Question::SignIn => {
                let began = Instant::now();
                self.sign_in(pool, turn % WITH_PASSWORD).await?;
                return Ok(began.elapsed().as_secs_f64() * 1e3);
            }
        };
        let request = request::signed(&self.authority, operation, &body, &self.key);
        let began = Instant::now();
        let answer = workload::call(&mut self.connection, &request).await?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        let found = match answer.pointer("/Users").and_then(Value::as_array) {
            Some(users) => users.len(),
            None => usize::from(answer.pointer("/Username").is_some()),
        };
        ensure!(found == question.found(), "{}: {found} users found", question.name());
        Ok(took)
    }

    async fn compare(
        &mut self,
        question: Question,
        small: &Pool,
        large: &Pool,
        samples: usize,
    ) -> Result<Value> {
        let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
        // in turn, so that what else the machine does falls on both
        for turn in 0..samples {
            of_small.push(self.ask(question, small, turn).await?);
            of_large.push(self.ask(question, large, turn).await?);
        }
        stats::sort(&mut of_small);
        stats::sort(&mut of_large);
        let p50 = [&of_small, &of_large].map(|times| stats::percentile(times, 0.5));
        let p99 = [&of_small, &of_large].map(|times| stats::percentile(times, 0.99));
        let [small, large] = p50;
        Ok(json!({
            "request": question.name(), "p50_ms": p50, "p99_ms": p99, "ratio": large / small,
        }))
    }

    /// Deletes the large pool, and watches the files of the groups' states. The log keeps its last entries
    /// whatever they say.
    async fn delete(&mut self, pool: &Pool) -> Result<Value> {
        progress("deletes the large pool")?;
        let before = states_mb(&self.data);
        let began = Instant::now();
        let body = json!({ "UserPoolId": pool.id });
        let request = request::signed(&self.authority, "DeleteUserPool", &body, &self.key);
        let answer = self.connection.send(&request).await?;
        ensure!(answer.status == 200, "DeleteUserPool answered {}", answer.status);
        let took = began.elapsed().as_secs_f64() * 1e3;
        let mut after = before;
        while began.elapsed() < FREED_WITHIN && after > before / 2.0 {
            sleep(POLL).await;
            after = states_mb(&self.data);
        }
        Ok(json!({
            "answered_ms": took, "states_before_mb": before, "states_after_mb": after,
            "watched_s": began.elapsed().as_secs_f64(),
            "log_mb": disk_mb(&self.data.join("log")),
        }))
    }
}

/// What the states of all groups take, snapshots included.
fn states_mb(data: &Path) -> f64 {
    let groups = fs::read_dir(data).into_iter().flatten().flatten();
    let groups = groups.filter(|entry| entry.file_name().to_string_lossy().starts_with("group-"));
    groups.map(|entry| disk_mb(&entry.path())).sum()
}

fn wanted(pool: &Pool, name: &str, number: usize) -> String {
    match name {
        "sub" => pool.sub.clone(),
        "cognito:user_status" => "RESET_REQUIRED".to_owned(),
        "status" => "Enabled".to_owned(),
        name => value(number, name),
    }
}

/// What the files below a directory take.
fn disk_mb(dir: &Path) -> f64 {
    let mut bytes = 0;
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        // files come and go while the server runs
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes as f64 / 1e6
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).with_context(|| format!("the answer has no {pointer}"))
}

fn print(figures: &Value) -> Result<()> {
    use std::{fmt::Write as _, io::Write as _};
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let mut out = String::from(
        "imports\n      users  users/s  CPU ms/user  upload s  import s   RSS MB  disk MB\n",
    );
    for made in figures["imports"].as_array().into_iter().flatten() {
        let of = |name: &str| number(&made[name]);
        writeln!(
            out,
            "{:>11} {:>8.0} {:>12.3} {:>9.1} {:>9.1} {:>8.0} {:>8.0}",
            of("users"),
            of("users_per_second"),
            of("cpu_ms_per_user"),
            of("upload_s"),
            of("import_s"),
            of("rss_mb"),
            of("disk_mb"),
        )?;
    }
    writeln!(out, "\n{:<36} {:>9} {:>9} {:>6}  aim", "p50, ms", "small", "large", "ratio")?;
    for row in figures["requests"].as_array().into_iter().flatten() {
        let ratio = number(&row["ratio"]);
        writeln!(
            out,
            "{:<36} {:>9.3} {:>9.3} {:>6.2}  {}",
            row["request"].as_str().unwrap_or_default(),
            number(&row["p50_ms"][0]),
            number(&row["p50_ms"][1]),
            ratio,
            if ratio <= RATIO_AIM { "yes" } else { "no" },
        )?;
    }
    let of = |name: &str| number(&figures["deletion"][name]);
    writeln!(
        out,
        "\nDeleteUserPool of the large pool: {:.1} ms; states {:.0} MB before, {:.0} MB after {:.1} s; \
         log {:.0} MB",
        of("answered_ms"),
        of("states_before_mb"),
        of("states_after_mb"),
        of("watched_s"),
        of("log_mb"),
    )?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(out.as_bytes())?;
    stdout.flush()?;
    Ok(())
}
