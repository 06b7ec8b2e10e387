//! Requests put together at random from good and bad parts: whatever comes, an answer or a refusal that
//! the model declares ([`declared`] looks at each), and never a fault of ours.

use super::*;
use conclave_crypto::{entropy, testing::SeededEntropy};

/// Draws parts of requests.
struct Draw(SeededEntropy);

impl Draw {
    fn one<'a>(&self, of: &[&'a str]) -> &'a str {
        of.get(entropy::below(&self.0, of.len() as u32) as usize).copied().unwrap_or_default()
    }

    /// Some of the names, each with any of the values.
    fn some(&self, names: &[&str], values: &[&str]) -> BTreeMap<String, String> {
        let named = names.iter().filter(|_| entropy::below(&self.0, 4) > 0);
        named.map(|name| ((*name).to_owned(), self.one(values).to_owned())).collect()
    }
}

fn is_no_fault_of_ours<T>(result: Result<T, ApiError>, request: &str) {
    if let Err(error) = result {
        assert_ne!(error.code, ExceptionName::InternalErrorException, "{request}");
    }
}

#[tokio::test]
async fn no_request_is_answered_with_a_fault_of_ours() {
    let pool = Fixture::with(types::CreateUserPoolRequest {
        alias_attributes: strings(&["email", "phone_number", "preferred_username"]),
        auto_verified_attributes: strings(&["email"]),
        ..Default::default()
    })
    .await;
    let sub = pool.user("ada", &[("email", "ada@example.com"), ("email_verified", "true")]).await;
    pool.temporary_user("new", &[]).await;
    pool.unconfirmed_user("eve").await;
    let hiding = pool.hiding().await;
    let (confidential, secret) = pool.confidential(true).await;
    let tokens = pool.tokens("ada").await;
    let session = pool.new_password_session(&pool.client_id, "new").await;
    let challenge = pool.start_srp(&hiding, "nobody", &[]).await.unwrap();
    let hash = secret_hash(&secret, "ada", &confidential);
    let long = "\u{10ffff}".repeat(2_000);
    let timestamp = pool.timestamp();
    let draw = Draw(SeededEntropy::new(20));
    let clients = [&*pool.client_id, &hiding, &confidential, "unknown", &long];
    let values = [
        "",
        " ",
        "\0",
        "ada",
        "ADA",
        "new",
        "eve",
        "nobody",
        "ada@example.com",
        "+15550100",
        "@",
        "+",
        "2",
        "0",
        PASSWORD,
        WRONG,
        NEW,
        &sub,
        &hash,
        &long,
        &timestamp,
        &session,
        refresh_token(&tokens),
        access(&tokens),
        challenge.get("SECRET_BLOCK"),
        challenge.get("SRP_B"),
        "Thu Jan 1 00:00:00 UTC 9999",
        "AAAA",
        "true",
    ];
    for _ in 0..400 {
        let flow = draw.one(&[
            "USER_PASSWORD_AUTH",
            "USER_SRP_AUTH",
            "REFRESH_TOKEN_AUTH",
            "REFRESH_TOKEN",
            "CUSTOM_AUTH",
            "USER_AUTH",
            "ADMIN_USER_PASSWORD_AUTH",
            "",
            "\0",
        ]);
        let names = ["USERNAME", "PASSWORD", "SRP_A", "REFRESH_TOKEN", "SECRET_HASH", "DEVICE_KEY"];
        let parameters = draw.some(&names, &values);
        let pairs: Vec<_> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let result = pool.initiate(draw.one(&clients), flow, &pairs).await;
        is_no_fault_of_ours(result, &format!("{flow} {parameters:?}"));

        let name = draw.one(&[
            "PASSWORD_VERIFIER",
            "NEW_PASSWORD_REQUIRED",
            "SMS_MFA",
            "SOFTWARE_TOKEN_MFA",
            "SELECT_MFA_TYPE",
            "MFA_SETUP",
            "SELECT_CHALLENGE",
            "PASSWORD",
            "PASSWORD_SRP",
            "EMAIL_OTP",
            "",
            "\0",
        ]);
        let names = [
            "USERNAME",
            "PASSWORD_CLAIM_SECRET_BLOCK",
            "PASSWORD_CLAIM_SIGNATURE",
            "TIMESTAMP",
            "NEW_PASSWORD",
            "SECRET_HASH",
            "ANSWER",
            "PASSWORD",
            "SRP_A",
            "EMAIL",
            "SMS_MFA_CODE",
            "SOFTWARE_TOKEN_MFA_CODE",
            "EMAIL_OTP_CODE",
            "userAttributes.email",
            "userAttributes.",
            "userAttributes",
            "userAttributes.preferred_username",
            "userAttributes.phone_number",
            "userAttributes.sub",
            "userAttributes.email_verified",
            "userAttributes.custom:x",
            "userAttributes.updated_at",
        ];
        let responses = draw.some(&names, &values);
        let shown = format!("{name} {responses:?}");
        let session = Some(draw.one(&values));
        let result = pool.respond(draw.one(&clients), name, session, responses).await;
        is_no_fault_of_ours(result, &shown);

        let token = draw.one(&values);
        is_no_fault_of_ours(pool.get_user(token).await, token);
    }
}
