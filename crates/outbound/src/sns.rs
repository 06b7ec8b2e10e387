//! Requests to Amazon SNS, or to what speaks like it: `Publish` to a phone number, signed with Signature
//! Version 4.
//!
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use conclave_crypto::mac;
use time::OffsetDateTime;

/// The form of a `Publish`, before it is encoded. Codes are worth their price: `Transactional`.
pub(crate) fn publish<'a>(
    to: &'a str,
    text: &'a str,
    sender_id: &'a str,
) -> Vec<(String, &'a str)> {
    let mut form: Vec<(String, &str)> =
        [("Action", "Publish"), ("Version", "2010-03-31"), ("PhoneNumber", to), ("Message", text)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    let mut attribute = |number: u32, name, value| {
        let prefix = format!("MessageAttributes.entry.{number}");
        form.push((format!("{prefix}.Name"), name));
        form.push((format!("{prefix}.Value.DataType"), "String"));
        form.push((format!("{prefix}.Value.StringValue"), value));
    };
    attribute(1, "AWS.SNS.SMS.SMSType", "Transactional");
    if !sender_id.is_empty() {
        attribute(2, "AWS.SNS.SMS.SenderID", sender_id);
    }
    form
}

/// Who signs. No `Debug`: it holds a secret.
pub(crate) struct Signer {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub region: String,
}

/// The headers of a signature.
pub(crate) struct Signature {
    /// `X-Amz-Date`
    pub date: String,
    /// `Authorization`
    pub authorization: String,
}

impl Signer {
    /// Signs a form that is posted to `path` of `host`.
    pub(crate) fn sign(
        &self,
        host: &str,
        path: &str,
        content_type: &str,
        body: &str,
        now_ms: i64,
    ) -> Signature {
        const SIGNED: &str = "content-type;host;x-amz-date";
        let now = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let date = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
        let hash = |text: &str| hex::encode(mac::sha256(&[text.as_bytes()]));
        let canonical = format!(
            "POST\n{path}\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n\n{SIGNED}\n{}",
            hash(body)
        );
        let scope = format!("{day}/{}/sns/aws4_request", self.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
        let secret = format!("AWS4{}", self.secret_access_key);
        let mut key = mac::hmac_sha256(secret.as_bytes(), &[day.as_bytes()]);
        for part in [self.region.as_str(), "sns", "aws4_request"] {
            key = mac::hmac_sha256(&key, &[part.as_bytes()]);
        }
        let signature = hex::encode(mac::hmac_sha256(&key, &[to_sign.as_bytes()]));
        let credential = format!("{}/{scope}", self.access_key_id);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={SIGNED}, Signature={signature}"
        );
        Signature { date, authorization }
    }
}
