//! Every case of a sign-in: state of the user, flow, what the pool asks, what the user has set up. What follows is
//! printed from the challenge machine into `testdata/sign_in.txt`, where a person can read it, and every line
//! is then walked through the operations.

use super::*;
use super::{custom_auth, mfa::App};
use crate::auth::{
    admin_initiate_auth, admin_respond_to_auth_challenge, associate_software_token, factors,
    machine::{self, AfterPassword, Factor, First, PoolSide, Second, UserSide},
    software_token, step, verify_software_token,
};
use conclave_store::records::UserMfa;

const STATES: [&str; 5] =
    ["CONFIRMED", "FORCE_CHANGE_PASSWORD", "RESET_REQUIRED", "UNCONFIRMED", "disabled"];
const FLOWS: [&str; 7] = [
    "USER_PASSWORD_AUTH",
    "USER_SRP_AUTH",
    "ADMIN_USER_PASSWORD_AUTH",
    "USER_AUTH PASSWORD",
    "USER_AUTH EMAIL_OTP",
    "CUSTOM_AUTH",
    "CUSTOM_AUTH SRP_A",
];
const ASKS: [&str; 3] = ["OFF", "OPTIONAL", "ON"];
const HAS: [&str; 9] = [
    "nothing",
    "a number",
    "an app, off",
    "an app",
    "SMS",
    "e-mail",
    "an app and SMS",
    "an app and SMS, prefers the app",
    "SMS, and the number is gone",
];

#[derive(Clone, Copy)]
struct Case {
    state: &'static str,
    flow: &'static str,
    asks: &'static str,
    has: &'static str,
}

/// Where the state alone decides, one of [`HAS`] stands for all.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for state in STATES {
        let decides = matches!(state, "RESET_REQUIRED" | "UNCONFIRMED" | "disabled");
        for flow in FLOWS {
            for asks in ASKS {
                for has in HAS {
                    if !decides || has == "an app" {
                        cases.push(Case { state, flow, asks, has });
                    }
                }
            }
        }
    }
    cases
}

/// All have a verified e-mail address, which signs in by itself where the flow wants it to.
fn set_up(user: &mut UserRecord, case: Case) {
    let mut mfa = UserMfa::default();
    let sms = Factor::Sms.as_str();
    let app = Factor::SoftwareToken.as_str();
    mfa.has_software_token = case.has.contains("an app");
    mfa.enabled = match case.has {
        "an app" => strings(&[app]),
        "SMS" | "SMS, and the number is gone" => strings(&[sms]),
        "e-mail" => strings(&[Factor::Email.as_str()]),
        "an app and SMS" | "an app and SMS, prefers the app" => strings(&[app, sms]),
        _ => Vec::new(),
    };
    if case.has.contains("prefers the app") {
        app.clone_into(&mut mfa.preferred);
    }
    users::attributes::set(user, "email", "ada@example.com");
    users::attributes::set(user, "email_verified", "true");
    if matches!(case.has, "a number" | "SMS" | "an app and SMS" | "an app and SMS, prefers the app")
    {
        users::attributes::set(user, "phone_number", "+12065550100");
    }
    user.mfa = Some(mfa);
    match case.state {
        "disabled" => user.enabled = false,
        state => state.clone_into(&mut user.status),
    }
}

// ---- what the machine says ------------------------------------------------------------------

fn pool_of(asks: &str) -> PoolSide {
    let mut pool = PoolSide {
        email_otp: asks != "ON",
        offers: machine::Factors {
            sms: asks != "OFF",
            software_token: asks != "OFF",
            email: false,
        },
        ..Default::default()
    };
    pool.asks = match asks {
        "ON" => machine::Asks::Everybody,
        "OPTIONAL" => machine::Asks::WhoHasOne,
        _ => machine::Asks::Never,
    };
    pool
}

fn predicted(case: Case) -> String {
    let mut user =
        UserRecord { enabled: true, status: "CONFIRMED".to_owned(), ..Default::default() };
    set_up(&mut user, case);
    let (pool, side) = (pool_of(case.asks), factors::of_user(&user));
    let mut steps: Vec<String> = Vec::new();
    if let Err(refusal) = step::may_sign_in(&user) {
        if case.flow == "USER_SRP_AUTH" && user.enabled {
            steps.push("PASSWORD_VERIFIER".to_owned());
        }
        steps.push(refusal.code.as_str().to_owned());
        return steps.join(" > ");
    }
    if case.flow == "USER_SRP_AUTH" || case.flow == "CUSTOM_AUTH SRP_A" {
        steps.push("PASSWORD_VERIFIER".to_owned());
    }
    if case.flow == "CUSTOM_AUTH" {
        steps.push("CUSTOM_CHALLENGE".to_owned());
        match machine::after_custom_challenges(&user.status) {
            AfterPassword::ResetRequired => steps.push("PasswordResetRequiredException".to_owned()),
            AfterPassword::NewPassword => steps.push("NotAuthorizedException".to_owned()),
            AfterPassword::SecondFactor => steps.extend(second(&pool, &side)),
        }
        return steps.join(" > ");
    }
    if case.flow == "USER_AUTH EMAIL_OTP" {
        let is_confirmed = factors::is_confirmed(&user);
        let open = |first: &First| machine::is_open(&pool, &side, is_confirmed, *first);
        if open(&First::EmailOtp) {
            return "EMAIL_OTP > tokens".to_owned();
        }
        let offered: Vec<_> = First::ALL.into_iter().filter(open).map(First::as_str).collect();
        return format!("SELECT_CHALLENGE of {}", offered.join(", "));
    }
    match machine::after_password(&user.status) {
        AfterPassword::ResetRequired => {
            steps.push("PasswordResetRequiredException".to_owned());
            return steps.join(" > ");
        }
        AfterPassword::NewPassword => steps.push("NEW_PASSWORD_REQUIRED".to_owned()),
        AfterPassword::SecondFactor => {}
    }
    if case.flow == "CUSTOM_AUTH SRP_A" {
        steps.push("CUSTOM_CHALLENGE".to_owned());
    }
    steps.extend(second(&pool, &side));
    steps.join(" > ")
}

fn second(pool: &PoolSide, user: &UserSide) -> Vec<String> {
    let names = |factors: &[Factor]| {
        factors.iter().map(|factor| factor.as_str()).collect::<Vec<_>>().join(", ")
    };
    let tokens = "tokens".to_owned();
    match machine::second_factor(pool, user) {
        Second::Nothing => vec![tokens],
        Second::One(factor) => vec![factor.as_str().to_owned(), tokens],
        Second::Select(several) => vec![
            format!("SELECT_MFA_TYPE of {}", names(&several)),
            several.first().expect("is not empty").as_str().to_owned(),
            tokens,
        ],
        Second::Setup(offered) => vec![format!("MFA_SETUP of {}", names(&offered)), tokens],
        Second::Unusable => vec!["NotAuthorizedException".to_owned()],
    }
}

fn line(case: Case, steps: &str) -> String {
    format!(
        "{:<21} | {:<24} | {:<8} | {:<31} | {steps}",
        case.state, case.flow, case.asks, case.has
    )
}

fn listing() -> String {
    let head = "# Which step of a sign-in follows which. Printed from the challenge machine and walked through by the tests of\n\
                # `auth`; run them with CONCLAVE_UPDATE_GOLDEN=1 after a change, and look at the difference.\n\
                # In CUSTOM_AUTH the functions ask one question. The pool offers text messages and authenticator apps; users have a verified e-mail address.\n\
                # user is | flow | pool asks | user has set up | steps\n";
    let lines = cases().into_iter().map(|case| line(case, &predicted(case)) + "\n");
    head.to_owned() + &lines.collect::<String>()
}

#[test]
fn the_table_of_sign_in_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/sign_in.txt");
    let listing = listing();
    if std::env::var_os("CONCLAVE_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &listing).expect("the golden file is written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file");
    assert_eq!(listing, golden, "run with CONCLAVE_UPDATE_GOLDEN=1 and look at the difference");
}

// ---- what the operations do -----------------------------------------------------------------

/// What the operations of either kind answer.
struct Told {
    tokens: Option<types::AuthenticationResultType>,
    challenge: String,
    parameters: BTreeMap<String, String>,
    session: Option<String>,
    available: Vec<String>,
}

macro_rules! told {
    ($answer:expr) => {
        $answer.map(|answer| Told {
            tokens: answer.authentication_result,
            challenge: answer.challenge_name.unwrap_or_default(),
            parameters: answer.challenge_parameters,
            session: answer.session,
            available: answer.available_challenges,
        })
    };
}

struct Walk<'a> {
    pool: &'a Fixture,
    client: &'a str,
    case: Case,
    seed: &'a conclave_crypto::totp::TotpSeed,
}

impl Walk<'_> {
    async fn begin(&self, parameters: &[(&str, &str)]) -> Result<Told, ApiError> {
        let flow = self.case.flow.split(' ').next().unwrap();
        if flow != "ADMIN_USER_PASSWORD_AUTH" {
            return told!(self.pool.initiate(self.client, flow, parameters).await);
        }
        let request = types::AdminInitiateAuthRequest {
            user_pool_id: Some(self.pool.pool_id.clone()),
            client_id: Some(self.client.to_owned()),
            auth_flow: Some(flow.to_owned()),
            auth_parameters: map(parameters),
            ..Default::default()
        };
        let answer = admin_initiate_auth(&self.pool.world, &signed_call(), request).await;
        told!(declared("AdminInitiateAuth", answer))
    }

    async fn respond(
        &self,
        challenge: &str,
        session: Option<&str>,
        responses: BTreeMap<String, String>,
    ) -> Result<Told, ApiError> {
        if self.case.flow != "ADMIN_USER_PASSWORD_AUTH" {
            return told!(self.pool.respond(self.client, challenge, session, responses).await);
        }
        let request = types::AdminRespondToAuthChallengeRequest {
            user_pool_id: Some(self.pool.pool_id.clone()),
            client_id: Some(self.client.to_owned()),
            challenge_name: Some(challenge.to_owned()),
            session: session.map(str::to_owned),
            challenge_responses: responses,
            ..Default::default()
        };
        let answer =
            admin_respond_to_auth_challenge(&self.pool.world, &signed_call(), request).await;
        told!(declared("AdminRespondToAuthChallenge", answer))
    }

    /// The steps, each challenge answered as it wants to be.
    async fn steps(&self, name: &str) -> Vec<String> {
        let public = client::Session::with_private(&[7; 32]).unwrap().public_hex();
        let mut parameters = vec![("USERNAME", name)];
        match self.case.flow {
            "USER_SRP_AUTH" => parameters.push(("SRP_A", &public)),
            "CUSTOM_AUTH" => {}
            "CUSTOM_AUTH SRP_A" => {
                parameters.push(("CHALLENGE_NAME", "SRP_A"));
                parameters.push(("SRP_A", &public));
            }
            "USER_AUTH EMAIL_OTP" => parameters.push(("PREFERRED_CHALLENGE", "EMAIL_OTP")),
            "USER_AUTH PASSWORD" => {
                parameters.push(("PREFERRED_CHALLENGE", "PASSWORD"));
                parameters.push(("PASSWORD", PASSWORD));
            }
            _ => parameters.push(("PASSWORD", PASSWORD)),
        }
        let mut steps = Vec::new();
        let mut answer = self.begin(&parameters).await;
        loop {
            let told = match answer {
                Ok(told) => told,
                Err(error) => {
                    steps.push(error.code.as_str().to_owned());
                    return steps;
                }
            };
            if told.tokens.is_some() {
                steps.push("tokens".to_owned());
                return steps;
            }
            let list = |name: &str| {
                let list: Vec<String> =
                    serde_json::from_str(told.parameters.get(name).map_or("[]", String::as_str))
                        .unwrap();
                list
            };
            let (challenge, session) = (told.challenge.clone(), told.session.clone());
            let mut responses = map(&[("USERNAME", name)]);
            let mut give = |key: &str, value: String| drop(responses.insert(key.to_owned(), value));
            let mut session = session;
            steps.push(match challenge.as_str() {
                "SELECT_MFA_TYPE" => {
                    let list = list("MFAS_CAN_CHOOSE");
                    give("ANSWER", list[0].clone());
                    format!("SELECT_MFA_TYPE of {}", list.join(", "))
                }
                "MFA_SETUP" => {
                    session = Some(self.set_up(session.as_deref().unwrap()).await);
                    format!("MFA_SETUP of {}", list("MFAS_CAN_SETUP").join(", "))
                }
                "SELECT_CHALLENGE" => {
                    steps.push(format!("SELECT_CHALLENGE of {}", told.available.join(", ")));
                    return steps;
                }
                other => other.to_owned(),
            });
            match challenge.as_str() {
                "NEW_PASSWORD_REQUIRED" => give("NEW_PASSWORD", NEW.to_owned()),
                "CUSTOM_CHALLENGE" => give("ANSWER", custom_auth::ANSWER.to_owned()),
                "SMS_MFA" => give("SMS_MFA_CODE", self.pool.sent_code()),
                "EMAIL_OTP" => give("EMAIL_OTP_CODE", self.pool.sent_code()),
                "SOFTWARE_TOKEN_MFA" => give("SOFTWARE_TOKEN_MFA_CODE", self.code()),
                "PASSWORD_VERIFIER" => {
                    let challenge = Challenge {
                        session: client::Session::with_private(&[7; 32]).unwrap(),
                        parameters: told.parameters.clone(),
                    };
                    responses = self.pool.claim(&challenge, PASSWORD);
                }
                _ => {}
            }
            answer = self.respond(&challenge, session.as_deref(), responses).await;
        }
    }

    fn code(&self) -> String {
        self.seed.code((self.pool.clock.now_ms() / 30_000) as u64)
    }

    /// Sets an app up in the middle of the sign-in, to the session that goes on.
    async fn set_up(&self, session: &str) -> String {
        let request = types::AssociateSoftwareTokenRequest {
            session: Some(session.to_owned()),
            ..Default::default()
        };
        let answer = associate_software_token(&self.pool.world, &unsigned_call(), request).await;
        let answer = answer.expect("hands a seed out");
        let app = App::scan(&answer.secret_code.unwrap());
        let request = types::VerifySoftwareTokenRequest {
            session: answer.session,
            user_code: Some(app.code(self.pool)),
            ..Default::default()
        };
        let answer = verify_software_token(&self.pool.world, &unsigned_call(), request).await;
        answer.expect("verifies").session.expect("goes on")
    }
}

/// Puts the row of an app that nobody has used yet.
struct PutApp<'a> {
    pool_id: &'a str,
    sub: &'a str,
    seed: &'a conclave_crypto::totp::TotpSeed,
}

#[async_trait]
impl Transaction for PutApp<'_> {
    type Output = ();

    fn scope(&self) -> &str {
        self.pool_id
    }

    async fn decide(&self, tx: &mut Tx<'_>) -> Decision<()> {
        tx.load(Query::new()).await?;
        software_token::put(tx, &*tx.pool()?, self.sub, self.seed, 0)?;
        Ok(().into())
    }
}

#[tokio::test]
async fn s15_every_line_of_the_table_is_what_the_operations_do() {
    let seed = conclave_crypto::totp::TotpSeed::from_bytes(&[5; 32]).unwrap();
    let mut wrong = Vec::new();
    for asks in ASKS {
        let firsts: &[&str] = if asks == "ON" { &["PASSWORD"] } else { &["PASSWORD", "EMAIL_OTP"] };
        let pool = Fixture::with(types::CreateUserPoolRequest {
            policies: Some(types::UserPoolPolicyType {
                sign_in_policy: Some(types::SignInPolicyType {
                    allowed_first_auth_factors: Some(types::StringList { items: strings(firsts) }),
                }),
                ..Default::default()
            }),
            lambda_config: Some(custom_auth::functions()),
            ..Default::default()
        })
        .await;
        pool.functions.answer(custom_auth::one_question);
        if asks != "OFF" {
            pool.set_mfa(asks, true, true, false).await;
        }
        let client = pool
            .client(types::CreateUserPoolClientRequest {
                explicit_auth_flows: strings(&[
                    "ALLOW_USER_PASSWORD_AUTH",
                    "ALLOW_USER_SRP_AUTH",
                    "ALLOW_ADMIN_USER_PASSWORD_AUTH",
                    "ALLOW_USER_AUTH",
                    "ALLOW_CUSTOM_AUTH",
                ]),
                ..Default::default()
            })
            .await;
        for (number, case) in cases().into_iter().enumerate() {
            if case.asks != asks {
                continue;
            }
            let name = format!("user{number}");
            let sub = match case.state {
                "FORCE_CHANGE_PASSWORD" => pool.temporary_user(&name, &[]).await,
                _ => pool.user(&name, &[]).await,
            };
            pool.edit(&sub, |user| set_up(user, case)).await;
            let put = PutApp { pool_id: &pool.pool_id, sub: &sub, seed: &seed };
            transact(&pool.test.world, &put).await.unwrap();
            pool.outbox.take();
            let walk = Walk { pool: &pool, client: &client, case, seed: &seed };
            let steps = walk.steps(&name).await.join(" > ");
            if steps != predicted(case) {
                wrong.push(format!("{}\n    instead of {}", line(case, &steps), predicted(case)));
            }
            // nothing but what the table says ends in tokens
            let sessions = pool.sessions(&sub).await.len();
            assert_eq!(sessions, usize::from(steps.ends_with("tokens")), "{}", line(case, &steps));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
